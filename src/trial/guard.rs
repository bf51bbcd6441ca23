//! The guard: a separate process that puts the old rules back unless the trial is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::end::{self, ByGuard};
use super::history;
use super::kernel::{self, Doubt};
use super::pending::{file, ready};
use super::proof::proof;
use super::record::{self, Record, Who};
use crate::host::{Home, Host};
use crate::model::trial::State;
use crate::observe::firewall::READING;
use crate::plan::FamilyChange;

/// How often the guard looks at the clock and at the state file.
const TICK: Duration = Duration::from_millis(100);

/// How long a guard may take to report that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Starts the guard in the best available home and records it once it is ready. One that does not get ready is ended
/// before the next home is tried.
pub(super) fn start(host: &dyn Host, record: &mut Record) -> Result<(), String> {
    let mut why = Vec::new();
    for home in host.guard_homes() {
        let stop = match host.start_guard(&record.id, home) {
            Ok(stop) => stop,
            Err(e) => {
                why.push(format!("{} could not be started: {e}", word(home)));
                continue;
            }
        };
        let Some(who) = wait_until_ready(host, &record.id) else {
            stop();
            let _ = host.remove(&file(host, &record.id));
            why.push(format!("{} did not report that it is ready", word(home)));
            continue;
        };
        record.guard = Some(who);
        record.guard_home = Some(home);
        record.remarks.append(&mut why);
        let stored = record::store(host, record);
        if stored.is_err() {
            stop();
        } else {
            history::end_lost(
                host,
                None,
                "nobody wrote down how it ended; nothing of it was left when the next trial began",
            );
            if let Err(e) = history::write(host, record) {
                record.remarks.push(e);
            }
        }
        return stored;
    }
    Err(format!("the guard did not get ready: {}", why.join("; ")))
}

fn wait_until_ready(host: &dyn Host, id: &str) -> Option<Who> {
    let end = host.now().boot + READY_WITHIN;
    while host.now().boot < end {
        if let Some(who) = ready(host, id).filter(|w| host.alive(w.pid, w.started)) {
            return Some(who);
        }
        host.pause(Duration::from_millis(20));
    }
    None
}

/// The words for a guard in this home.
fn word(home: Home) -> &'static str {
    match home {
        Home::Service => "the guard as a service of systemd",
        Home::Detached => "the guard as a process of its own",
    }
}

/// Why a guard has nothing to watch.
#[derive(Debug, thiserror::Error)]
pub enum NothingToWatch {
    /// No file describes the trial.
    #[error("there is no trial {0}")]
    NoTrial(String),
    /// It belongs to another network namespace or an earlier boot.
    #[error("trial {0} was begun in another network namespace or before the last boot")]
    Elsewhere(String),
    /// The guard's process id cannot be written as JSON.
    #[error(transparent)]
    Word(#[from] serde_json::Error),
}

/// Watches over one trial until it is kept or reverted. `stop`: revert now (SIGTERM, shutdown).
pub fn watch(host: &dyn Host, id: &str, stop: &AtomicBool) -> Result<(), NothingToWatch> {
    let (pid, started) = host.me();
    let me = Who { pid, started };
    let mut trial = record::load(host).filter(|r| r.id == id).ok_or_else(|| NothingToWatch::NoTrial(id.to_owned()))?;
    if !trial.is_here(host) {
        return Err(NothingToWatch::Elsewhere(id.to_owned()));
    }
    if other_guard(host, &trial, me) {
        return Ok(());
    }
    let again = trial.guard.is_some();
    let word = serde_json::to_vec(&me)?;
    if let Err(e) = host.write(&file(host, id), &word, 0o600) {
        // Nobody relies on a guard that did not report; but a restarted one has a trial to end.
        host.log(&format!("portcullis: the guard of trial {id} cannot report that it is ready: {e}"));
    }
    if again && trial.state().is_pending() {
        host.log(&format!(
            "portcullis: the guard of trial {id} was started again, {} s are left",
            trial.left(host.now().boot)
        ));
    }
    let mut tries = 0_u32;
    // A deadline needs no reason.
    let mut why = None;
    let mut said = String::new();
    loop {
        match record::load(host) {
            Some(fresh) if fresh.id == id => trial = fresh,
            // A later trial was begun: this one is over, and we must not touch what is loaded now.
            Some(other) if other.is_here(host) => break,
            // The state file is gone; what was read last still holds.
            _ => {}
        }
        if !trial.state().is_pending() {
            break;
        }
        if other_guard(host, &trial, me) {
            return Ok(());
        }
        if ready(host, id).is_none() {
            // The file was removed: without it nobody would know of a restarted guard.
            let _ = host.write(&file(host, id), &word, 0o600);
        }
        let told = stop.load(Ordering::Relaxed);
        if told && trial.guard.is_none() {
            // Nothing is applied before a guard is acknowledged: this one was given up.
            break;
        }
        // Once begun, a revert continues until it succeeds.
        if tries > 0 || told || trial.left(host.now().boot) == 0 || abandoned(host, &trial) {
            if tries == 0 && told {
                why = Some("the guard was told to end, as at a shutdown");
            } else if tries == 0 && trial.left(host.now().boot) > 0 {
                why = Some("the process that was changing its rules died half-way");
            }
            tries += 1;
            match end::revert_by_guard(host, &mut trial, tries - 1, why) {
                Ok(ByGuard::Over) => break,
                Ok(ByGuard::Extended) => {
                    tries = 0;
                    continue;
                }
                // Somebody holds the xtables lock, or a tool fails: keep trying.
                Err(e) if e.what != said => {
                    host.log(&format!("portcullis: trial {id}: {}; trying again", e.what));
                    said = e.what;
                }
                Err(_) => {}
            }
            host.pause(Duration::from_millis(u64::from(tries.min(10)) * 100));
            continue;
        }
        if !follow_clock(host, &mut trial) {
            // The kernel's own end of the trial cannot be set right: the trial ends now.
            tries = 1;
            why = Some("the clock was set, and the kernel's dates could not follow");
            continue;
        }
        if trial.state() == State::Running {
            // Recorded while it lasts: the operator may close the second login before keeping.
            let _ = proof(host, &trial);
        }
        host.pause(TICK);
    }
    let _ = host.remove(&file(host, id));
    Ok(())
}

/// Whether another acknowledged guard is alive: two must never work at once. One that was restarted in place of a dead
/// one takes over.
fn other_guard(host: &dyn Host, trial: &Record, me: Who) -> bool {
    trial.guard.is_some_and(|w| w != me && host.alive(w.pid, w.started))
}

/// Whether a process died while it was changing the kernel.
fn abandoned(host: &dyn Host, trial: &Record) -> bool {
    matches!(trial.state(), State::Armed | State::Keeping | State::Reverting)
        && trial.holder.is_none_or(|w| !host.alive(w.pid, w.started))
}

/// The fuse follows the wall clock: after a step of the clock it is set again, or it would end the trial too early or
/// too late. Returns `false` if that failed.
fn follow_clock(host: &dyn Host, trial: &mut Record) -> bool {
    let now = host.now();
    let offset = now.wall - i64::try_from(now.boot.as_secs()).unwrap_or(0);
    let Some(fuse) = trial.fuse.filter(|_| trial.state() == State::Running && (offset - trial.offset).abs() > 1) else {
        return true;
    };
    // Somebody is changing the trial right now: the next tick takes care of it.
    let Ok(Some(_lock)) = record::lock(host, Duration::from_millis(500)) else { return true };
    if end::is_over(host, trial, true)
        || record::load(host)
            .is_some_and(|r| r.id == trial.id && (r.state() != State::Running || r.offset != trial.offset))
    {
        return true;
    }
    let moved = fuse + offset - trial.offset;
    let follows = |c: &FamilyChange| {
        let script = c.extend_script(Some(moved));
        // What the tool took is in force, read back or not; no reading may last beyond the deadline.
        let limit = READING.min(Duration::from_millis(trial.deadline).saturating_sub(host.now().boot));
        kernel::restore(host, &trial.id, c.family(), &script).is_ok()
            && match kernel::check(host, c, &script, limit) {
                Ok(now) => kernel::renamed(c, &now).is_none(),
                Err(doubt) => !matches!(doubt, Doubt::Differs(_)),
            }
    };
    if !trial.families.iter().all(follows) {
        return false;
    }
    trial.fuse = Some(moved);
    trial.offset = offset;
    let _ = record::store(host, trial);
    true
}
