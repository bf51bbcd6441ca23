//! What the files tell of a pending trial: whose it is, whether somebody still works at it, whether its guard lives.
//! Nothing is read of the kernel.

use std::path::PathBuf;

use super::machine::Event;
use super::record::{self, Record, Who};
use crate::host::{Host, Now};
use crate::model::trial::{By, State};

/// Where the guard of a trial says that it is ready.
pub(super) fn file(host: &dyn Host, id: &str) -> PathBuf {
    host.paths().run.join(format!("guard-{id}.json"))
}

/// The guard of a trial, once it has said that it is ready.
pub(super) fn ready(host: &dyn Host, id: &str) -> Option<Who> {
    serde_json::from_slice(&host.read(&file(host, id)).ok()?).ok()
}

/// Whether whoever was keeping or reverting died half-way.
pub(super) fn is_cut_short(host: &dyn Host, r: &Record) -> bool {
    matches!(r.state(), State::Keeping | State::Reverting) && r.holder.is_none_or(|w| !host.alive(w.pid, w.started))
}

/// The pending trial of another network namespace of this boot that shares our files, as long as its clock runs or its
/// guard lives: those files are all that ends it.
pub(super) fn elsewhere(host: &dyn Host) -> Option<Record> {
    let here = host.identity();
    record::load(host)
        .filter(|r| r.state().is_pending() && r.home.boot_id == here.boot_id && r.home.netns != here.netns)
        .filter(|r| r.left(host.now().boot) > 0 || guard(host, r).is_some())
}

/// The guard of a trial, if it lives: the one that said so, or where its file is gone the one that was written down.
pub(super) fn guard(host: &dyn Host, trial: &Record) -> Option<Who> {
    ready(host, &trial.id).or(trial.guard).filter(|w| host.alive(w.pid, w.started))
}

/// A passed fuse has switched the kernel back: that is never shown as running.
pub(super) fn expire(r: &mut Record, now: Now) {
    if r.fuse.is_some_and(|f| now.wall > f) && r.advance(Event::FusePassed).is_ok() {
        r.by = Some(By::Fuse);
    }
}
