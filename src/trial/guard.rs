//! The guard: a process of its own that puts the old rules back when nobody keeps a trial.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::end;
use super::machine::State;
use super::proof::proof;
use super::record::{self, Record, Who};
use crate::host::Host;
use crate::plan::FamilyChange;

/// How often the guard looks at the clock and at the state file.
const TICK: Duration = Duration::from_millis(100);

fn file(host: &dyn Host, id: &str) -> PathBuf {
    host.paths().run.join(format!("guard-{id}.json"))
}

/// The guard of a trial, once it has said that it is ready.
pub fn ready(host: &dyn Host, id: &str) -> Option<Who> {
    serde_json::from_slice(&host.read(&file(host, id)).ok()?).ok()
}

/// Watches over one trial until it is kept or reverted. `stop`: revert now (SIGTERM, shutdown).
/// The error is one sentence, for a trial that is not there.
pub fn watch(host: &dyn Host, id: &str, stop: &AtomicBool) -> Result<(), String> {
    let mut trial = record::load(host).filter(|r| r.id == id).ok_or_else(|| format!("there is no trial {id}"))?;
    if !trial.is_here(host) {
        return Err(format!("trial {id} was begun in another network namespace or before the last boot"));
    }
    let (pid, started) = host.me();
    let me = serde_json::to_vec(&Who { pid, started }).map_err(|e| e.to_string())?;
    host.write(&file(host, id), &me, 0o600).map_err(|e| format!("the guard cannot say that it is ready: {e}"))?;
    let mut tries = 0_u32;
    loop {
        // The state file may be gone; what was read last still holds.
        if let Some(fresh) = record::load(host).filter(|r| r.id == id) {
            trial = fresh;
        }
        if !trial.state.is_pending() {
            break;
        }
        // Once begun, a revert goes on until it is through.
        if tries > 0 || stop.load(Ordering::Relaxed) || trial.left(host.now().boot) == 0 || abandoned(host, &trial) {
            tries += 1;
            if end::revert_by_guard(host, &mut trial, tries - 1).is_ok() {
                break;
            }
            // Somebody holds the xtables lock, or a tool fails: go on trying.
            host.pause(Duration::from_millis(u64::from(tries.min(10)) * 100));
            continue;
        }
        if !follow_clock(host, &mut trial) {
            // The kernel's own end of the trial cannot be kept right: then it ends now.
            tries = 1;
            continue;
        }
        if trial.state == State::Running {
            // Seen while it lasts: the operator may close the second login before he keeps.
            let _ = proof(host, &trial);
        }
        host.pause(TICK);
    }
    let _ = host.remove(&file(host, id));
    Ok(())
}

/// Somebody who was changing the kernel died half-way.
fn abandoned(host: &dyn Host, trial: &Record) -> bool {
    matches!(trial.state, State::Armed | State::Keeping | State::Reverting)
        && trial.holder.is_some_and(|w| !host.alive(w.pid, w.started))
}

/// The fuse follows the wall clock: when that steps, the fuse is set again, or it would burn too early or too late.
/// `false`: that did not work.
fn follow_clock(host: &dyn Host, trial: &mut Record) -> bool {
    let now = host.now();
    let offset = now.wall - i64::try_from(now.boot.as_secs()).unwrap_or(0);
    let Some(fuse) = trial.fuse.filter(|_| trial.state == State::Running && (offset - trial.offset).abs() > 1) else { return true };
    // Somebody changes the trial right now: the next tick sees to it.
    let Ok(Some(_lock)) = record::lock(host, Duration::from_millis(500)) else { return true };
    if record::load(host).is_some_and(|r| r.id == trial.id && (r.state != State::Running || r.offset != trial.offset)) {
        return true;
    }
    let moved = fuse + offset - trial.offset;
    let script = |c: &FamilyChange| c.extend_script(Some(moved));
    if !trial.families.iter().all(|c| super::kernel::restore_and_check(host, &trial.id, c, &script(c)).is_ok()) {
        return false;
    }
    trial.fuse = Some(moved);
    trial.offset = offset;
    let _ = record::store(host, trial);
    true
}
