//! `portcullis keep` and `portcullis revert`: end a pending trial, from any root login.

use super::{note, print};
use crate::host::live::Live;
use crate::trial::{self, Record, Reverted};

/// Keeps the pending trial.
pub fn keep(without_proof: bool) -> anyhow::Result<()> {
    let record = trial::keep(&Live::default(), without_proof)?;
    if let Some(p) = &record.proof {
        note(format!("proof of access: {} logged in from {} under these rules", p.user, p.peer));
    }
    say(&record, "kept; `portcullis save` makes it survive a reboot")
}

/// Puts the old rules back.
pub fn revert() -> anyhow::Result<()> {
    match trial::revert_telling(&Live::default(), &mut |what| note(what))? {
        Reverted::Trial(r) => say(&r, r.reverted()),
        Reverted::Unrecorded(remarks) => {
            for r in &remarks {
                note(format!("note: {r}"));
            }
            print("a trial without a state file was found in the kernel and reverted\n")
        }
        Reverted::EndedBefore(r) => {
            print(&format!("no trial is pending; trial {} was {} before\n", r.id, r.state().word()))
        }
    }
}

fn say(record: &Record, what: &str) -> anyhow::Result<()> {
    for r in &record.remarks {
        note(format!("note: {r}"));
    }
    print(&format!("trial {} {what}\n", record.id))
}
