//! `portcullis save`.

use serde_json::{Value, json};

use super::{Failure, answer, confirm, declined, json_line, note, print, print_exact};
use crate::cli::SaveArgs;
use crate::host::Host;
use crate::host::live::Live;
use crate::trial::Refusal;
use crate::trial::save::{Mode, Preview, preview, save};

/// Writes the rules that boot loads, after showing the difference.
pub fn run(args: SaveArgs) -> Result<(), Failure> {
    let host = Live::default();
    if !host.is_root() {
        return Err(Refusal::not_root().into());
    }
    let mode = match (args.all, args.unmanaged) {
        (true, _) => Mode::All,
        (_, true) => Mode::Unmanaged,
        _ => ask_for_mode()?,
    };
    let what = preview(&host, mode)?;
    if !args.json {
        show(&what)?;
    }
    if args.must_load {
        what.must_load()?;
    }
    let mut done = Vec::new();
    if !args.dry_run {
        if !args.yes {
            confirm("Write these files?", "--yes")?;
        }
        done = save(&host, &what)?;
    }
    if args.json {
        return print_exact(&json_line(&json_of(&what, !args.dry_run, &done)));
    }
    done.push(format!("loaded_at_boot: {}", what.boot.loads()));
    print(&format!("{}\n", done.join("\n")))
}

/// The difference, and beside it what boot does with the files.
fn show(what: &Preview) -> Result<(), Failure> {
    for f in &what.files {
        if f.diff.is_empty() {
            print(&format!("{}: no difference\n", f.path.display()))?;
        } else {
            print(&f.diff)?;
        }
    }
    for line in what.boot.lines() {
        note(format!("note: {line}"));
    }
    Ok(())
}

fn json_of(what: &Preview, written: bool, done: &[String]) -> Value {
    let files: Vec<Value> = what.files.iter().map(|f| {
        let loader = what.boot.loader(f.family);
        json!({
            "family": f.family.label().to_lowercase(), "path": f.path, "changed": !f.diff.is_empty(), "diff": f.diff,
            "loaded_at_boot": what.boot.loads() && loader.is_some(), "loader": loader,
        })
    }).collect();
    json!({
        "version": 1, "written": written, "loaded_at_boot": what.boot.loads(), "to_do": what.boot.to_do(), "files": files,
        "notes": what.boot.lines().collect::<Vec<_>>(), "done": done,
    })
}

fn ask_for_mode() -> Result<Mode, Failure> {
    let question = "Save [a]ll that is loaded, what is [u]nmanaged (without what Docker and other managers make anew themselves), or [n]othing?";
    match answer(question, "--all or --unmanaged")?.as_str() {
        "a" | "all" => Ok(Mode::All),
        "u" | "unmanaged" => Ok(Mode::Unmanaged),
        _ => Err(Failure { hint: "answer all or unmanaged to go on".into(), ..declined() }),
    }
}
