//! `portcullis keep` and `portcullis revert`: the end of a pending trial, from any root login.

use super::{Failure, print};
use crate::host::Host;
use crate::host::live::Live;
use crate::trial::{self, Record, Reverted};

/// Keeps the pending trial.
pub fn keep(without_proof: bool) -> Result<(), Failure> {
    let host = Live::default();
    if !without_proof && host.is_root() && trial::load(&host).is_some_and(|r| r.state.is_pending() && r.operator != "console") {
        return Err(Failure {
            word: "no-proof",
            what: "no new SSH login has shown yet that the way in is open".into(),
            hint: "open a second login; when it works, say `portcullis keep --without-proof`".into(),
            code: 3,
        });
    }
    let record = trial::keep(&host)?;
    say(&record, "kept; `portcullis save` makes it survive a reboot")
}

/// Puts the old rules back.
pub fn revert() -> Result<(), Failure> {
    match trial::revert(&Live::default())? {
        Reverted::Trial(r) => say(&r, "reverted: the old rules are back"),
        Reverted::Unrecorded => print("a trial without a state file was found in the kernel and reverted\n"),
        Reverted::EndedBefore(r) => print(&format!("no trial is pending; trial {} was {} before\n", r.id, r.state.word())),
    }
}

fn say(record: &Record, what: &str) -> Result<(), Failure> {
    for r in &record.remarks {
        eprintln!("note: {r}");
    }
    print(&format!("trial {} {what}\n", record.id))
}
