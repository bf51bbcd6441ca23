//! `portcullis save`.

use serde_json::{Value, json};

use super::{Failure, answer, confirm, declined, json_line, note, print, print_exact};
use crate::cli::SaveArgs;
use crate::host::Host;
use crate::host::live::Live;
use crate::trial::save::{Mode, Preview, prepare, preview, save};
use crate::trial::{Refusal, usual_mode};

/// Writes the rules that boot loads, after showing the difference.
pub fn run(args: SaveArgs) -> anyhow::Result<()> {
    let host = Live::default();
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()).into());
    }
    let mode = match (args.all, args.unmanaged, args.ours) {
        (true, ..) => Mode::All,
        (_, true, _) => Mode::Unmanaged,
        (.., true) => Mode::Ours,
        _ => ask_for_mode(usual_mode(&host))?,
    };
    let what = if args.dry_run { preview(&host, mode) } else { prepare(&host, mode) }?;
    if !args.json {
        show(&what)?;
    }
    if let Some(refused) = &what.refused {
        return Err(refused.clone().into());
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

/// Prints the difference, and what boot does with the files.
fn show(what: &Preview) -> anyhow::Result<()> {
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
    let files: Vec<Value> = what
        .files
        .iter()
        .map(|f| {
            let loader = what.boot.loader(f.family);
            json!({
                "family": f.family.label().to_lowercase(), "path": f.path, "changed": !f.diff.is_empty(),
                "diff": f.diff,
                "loaded_at_boot": what.boot.loads() && loader.is_some(), "loader": loader,
            })
        })
        .collect();
    json!({
        "version": 1, "written": written, "loaded_at_boot": what.boot.loads(), "to_do": what.boot.to_do(),
        "files": files,
        "notes": what.boot.lines().collect::<Vec<_>>(), "done": done,
    })
}

fn ask_for_mode(usual: Mode) -> anyhow::Result<Mode> {
    let mut modes = Mode::ALL;
    modes.sort_by_key(|m| *m != usual);
    let offered = modes.map(|m| match m {
        Mode::All => "[a]ll that is loaded",
        Mode::Unmanaged => "what is [u]nmanaged (without what Docker and other managers rebuild themselves)",
        Mode::Ours => "[o]urs alone (portcullis' own chains, loaded after the manager that builds the rest)",
    });
    let question = format!("Save {} (usual here), {}, or [n]othing?", offered[0], offered[1..].join(", "));
    match answer(&question, "--ours, --unmanaged or --all")?.as_str() {
        "a" | "all" => Ok(Mode::All),
        "u" | "unmanaged" => Ok(Mode::Unmanaged),
        "o" | "ours" => Ok(Mode::Ours),
        _ => Err(Failure { hint: "answer ours, unmanaged or all to go on".into(), ..declined() }.into()),
    }
}
