//! `portcullis save`.

use super::{Failure, answer, confirm, declined, note, print};
use crate::cli::SaveArgs;
use crate::host::Host;
use crate::host::live::Live;
use crate::trial::Refusal;
use crate::trial::save::{Mode, preview, save};

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
    if args.dry_run {
        return Ok(());
    }
    if !args.yes {
        confirm("Write these files?", "--yes")?;
    }
    let done = save(&host, &what)?;
    print(&format!("{}\n", done.join("\n")))
}

fn ask_for_mode() -> Result<Mode, Failure> {
    let question = "Save [a]ll that is loaded, what is [u]nmanaged (without what Docker and other managers make anew themselves), or [n]othing?";
    match answer(question, "--all or --unmanaged")?.as_str() {
        "a" | "all" => Ok(Mode::All),
        "u" | "unmanaged" => Ok(Mode::Unmanaged),
        _ => Err(Failure { hint: "answer all or unmanaged to go on".into(), ..declined() }),
    }
}
