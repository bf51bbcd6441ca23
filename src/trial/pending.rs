//! What the files tell about a pending trial: whose it is, whether a process is still working on it, whether its guard
//! is alive. The kernel is not read.

use std::path::PathBuf;

use super::machine::Event;
use super::record::{self, Record, Who};
use crate::host::{Host, Now};
use crate::model::trial::{By, State};

/// The file in which a trial's guard reports that it is ready.
pub(super) fn file(host: &dyn Host, id: &str) -> PathBuf {
    host.paths().run.join(format!("guard-{id}.json"))
}

/// The guard of a trial, once it has reported that it is ready.
pub(super) fn ready(host: &dyn Host, id: &str) -> Option<Who> {
    serde_json::from_slice(&host.read(&file(host, id)).ok()?).ok()
}

/// Whether the process that was keeping or reverting died half-way.
pub(super) fn is_cut_short(host: &dyn Host, r: &Record) -> bool {
    matches!(r.state(), State::Keeping | State::Reverting) && r.holder.is_none_or(|w| !host.alive(w.pid, w.started))
}

/// The pending trial of another network namespace of this boot that shares our files, as long as its clock runs or its
/// guard is alive: only those files can end it.
pub(super) fn elsewhere(host: &dyn Host) -> Option<Record> {
    let here = host.identity();
    record::load(host)
        .filter(|r| r.state().is_pending() && r.home.boot_id == here.boot_id && r.home.netns != here.netns)
        .filter(|r| r.left(host.now().boot) > 0 || guard(host, r).is_some())
}

/// A trial's guard, if it is alive: the one that reported, or if its file is gone the one in the state file.
pub(super) fn guard(host: &dyn Host, trial: &Record) -> Option<Who> {
    ready(host, &trial.id).or(trial.guard).filter(|w| host.alive(w.pid, w.started))
}

/// Once the fuse has passed, the kernel has switched back: such a trial must never be shown as running.
pub(super) fn expire(r: &mut Record, now: Now) {
    if r.fuse.is_some_and(|f| now.wall > f) && r.advance(Event::FusePassed).is_ok() {
        r.by = Some(By::Fuse);
    }
}
