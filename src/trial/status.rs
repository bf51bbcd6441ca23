//! The pending trial, or what became of the last one.

use super::history;
use super::kernel;
use super::machine::{Event, State, step};
use super::record::{self, By, Record};
use crate::host::Host;
use crate::model::Family;
use crate::plan::standing;

/// What there is to say about trials on this host.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The pending trial, or the last one; `state` tells which.
    pub trial: Option<Record>,
    /// Seconds left on the clock of a pending trial.
    pub left: u64,
    /// The last second of dated rules in the kernel that no file tells of.
    pub unrecorded: Option<i64>,
}

/// Looks at the state file, the history and (as root) the kernel.
pub fn status(host: &dyn Host) -> Status {
    let now = host.now();
    let mut trial = record::load(host);
    if let Some(r) = trial.as_mut().filter(|r| r.state.is_pending() && r.is_here(host)) {
        let guarded = super::guard::ready(host, &r.id).is_some_and(|w| host.alive(w.pid, w.started));
        let burnt = r.fuse.is_some_and(|f| now.wall > f);
        if burnt && !guarded && let Some((state, _)) = step(r.state, Event::FusePassed) {
            r.state = state;
            r.by = Some(By::Fuse);
        }
    } else if trial.as_ref().is_none_or(|r| r.state.is_pending()) {
        // A trial from before the last boot is gone from the kernel.
        let here = trial.take().filter(|r| r.home.boot_id != host.identity().boot_id);
        trial = here.map(|mut r| {
            r.state = State::Reverted;
            r.by = Some(By::Boot);
            r
        });
    }
    let pending = trial.as_ref().is_some_and(|r| r.state.is_pending());
    let unrecorded = if pending || !host.is_root() { None } else { dated_in_kernel(host) };
    let trial = trial.or_else(|| history::all(host).into_iter().next());
    let left = trial.as_ref().filter(|r| r.state.is_pending() && r.state != State::Expired).map_or(0, |r| r.left(now.boot));
    Status { trial, left, unrecorded }
}

/// A dated rule in our chains is a trial, whatever the files say.
pub(super) fn dated_in_kernel(host: &dyn Host) -> Option<i64> {
    Family::BOTH.into_iter().find_map(|family| {
        let rules = kernel::read(host, family, None).ok()?;
        standing(&rules, false).fuse.or(standing(&rules, true).fuse)
    })
}
