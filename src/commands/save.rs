//! `portcullis save`.

use super::{Failure, confirm, note, print};
use crate::cli::SaveArgs;
use crate::host::live::Live;
use crate::trial::save::{Mode, preview, save};

/// Writes the rules that boot loads, after showing the difference.
pub fn run(args: SaveArgs) -> Result<(), Failure> {
    let host = Live::default();
    let mode = match (args.all, args.unmanaged) {
        (true, _) => Mode::All,
        (_, true) => Mode::Unmanaged,
        _ => {
            confirm("Leave out what Docker and other managers make anew themselves?", "--all or --unmanaged")?;
            Mode::Unmanaged
        }
    };
    let what = preview(&host, mode)?;
    for f in &what.files {
        if f.diff.is_empty() {
            print(&format!("{}: no difference\n", f.path.display()))?;
        } else {
            print(&f.diff)?;
        }
    }
    note(format!("note: {}", what.boot));
    if args.dry_run {
        return Ok(());
    }
    if !args.yes {
        confirm("Write these files?", "--yes")?;
    }
    let done = save(&host, &what)?;
    print(&format!("{}\n", done.join("\n")))
}
