//! The ends of a trial: keep, revert, and more time.

use std::time::Duration;

use super::history;
use super::kernel;
use super::machine::{Act, Event, State, step};
use super::record::{self, By, Record, Who};
use super::refusal::Refusal;
use crate::host::{Held, Host};
use crate::model::Family;
use crate::plan::{FamilyChange, standing};

/// A keep needs this much of the fuse left, so that it is over before the kernel switches by itself.
const KEEP_MARGIN: i64 = 3;

/// The fuse burns this much longer than the guard's deadline.
pub const FUSE_AFTER: i64 = 5;

/// Sets who is changing the kernel and the state; a full disk is no reason to stop a revert.
fn enter(host: &dyn Host, record: &mut Record, event: Event) -> Result<Act, Refusal> {
    let (state, act) = step(record.state, event).ok_or_else(|| no_trial(Some(record)))?;
    let (pid, started) = host.me();
    record.holder = Some(Who { pid, started });
    record.state = state;
    Ok(act)
}

fn no_trial(last: Option<&Record>) -> Refusal {
    let what = last.map_or_else(|| "no trial is pending".to_owned(), |r| format!("no trial is pending; the last one was {}", r.state.word()));
    Refusal::failed("no-trial", what, "`portcullis status` shows the last trial; `portcullis apply PLAN` begins one")
}

/// Takes the lock and the pending trial, if both can be had.
fn pending(host: &dyn Host) -> Result<(Box<dyn Held>, Record), Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root());
    }
    let lock = record::lock(host, Duration::from_secs(5))
        .map_err(|e| Refusal::failed("run-dir", e, "see that the disk is not full and the directory belongs to root"))?
        .ok_or_else(Refusal::busy)?;
    let record = record::load(host);
    match record {
        Some(r) if r.state.is_pending() && r.is_here(host) => Ok((lock, r)),
        other => Err(no_trial(other.as_ref())),
    }
}

/// Keeps the trial: both families without dates, read back, then written down.
pub fn keep(host: &dyn Host) -> Result<Record, Refusal> {
    let (_lock, mut record) = pending(host)?;
    if record.fuse.is_some_and(|f| f - host.now().wall < KEEP_MARGIN) || record.left(host.now().boot) == 0 {
        return Err(Refusal::refused("too-late", "the trial is about to be reverted, too late to keep it", "wait for the revert, then apply the plan again"));
    }
    enter(host, &mut record, Event::Keep)?;
    record::store(host, &record)
        .map_err(|e| Refusal::failed("run-dir", format!("nothing was kept: {e}"), "free some space and keep again; the clock still runs"))?;
    let mut done = Ok(());
    for change in &record.families {
        done = done.and_then(|()| kernel::restore_and_check(host, &record.id, change, &change.keep_script()).map(|_| ()));
    }
    if let Err(why) = done {
        enter(host, &mut record, Event::KeepFailed)?;
        record.remarks.push(format!("keeping failed: {why}"));
        put_old_back(host, &mut record, By::Operator)?;
        return Err(Refusal::failed("keep-failed", format!("keeping failed and the old rules are back: {why}"), "apply the plan again"));
    }
    record.state = step(record.state, Event::KeepDone).map_or(State::Kept, |s| s.0);
    record.by = Some(By::Operator);
    record.ended = Some(host.now().wall);
    record::store(host, &record)
        .map_err(|e| Refusal::failed("run-dir", format!("the plan is live but not marked as kept, so it will be reverted: {e}"), "free some space and keep again"))?;
    for change in &record.families {
        if let Ok(now) = kernel::read(host, change.family(), None) {
            record.remarks.extend(kernel::clean_up(host, &record.id, change, &now));
        }
    }
    if let Err(e) = history::write(host, &record) {
        record.remarks.push(e);
    }
    host.announce(&format!("portcullis: trial {} was kept", record.id));
    Ok(record)
}

/// Gives the trial another minute: the fuses first, then the guard.
pub fn extend(host: &dyn Host) -> Result<Record, Refusal> {
    let (_lock, mut record) = pending(host)?;
    let now = host.now();
    let deadline = (record.deadline + 60_000).min(record.latest);
    if deadline <= record.deadline {
        return Err(Refusal::refused("too-long", "a trial lasts one hour at most", "keep it or let it be reverted"));
    }
    if record.left(now.boot) == 0 {
        return Err(Refusal::refused("too-late", "the trial is about to be reverted", "wait for the revert, then apply the plan again"));
    }
    enter(host, &mut record, Event::Extend)?;
    let left = i64::try_from(deadline / 1000).unwrap_or(i64::MAX) - i64::try_from(now.boot.as_secs()).unwrap_or(i64::MAX);
    let fuse = record.fuse.map(|_| now.wall + left + FUSE_AFTER);
    for change in &record.families {
        if let Err(why) = kernel::restore_and_check(host, &record.id, change, &change.extend_script(fuse)) {
            return Err(Refusal::failed("extend-failed", format!("the time was not extended: {why}"), "the first deadline still holds"));
        }
    }
    record.fuse = fuse;
    record.offset = now.wall - i64::try_from(now.boot.as_secs()).unwrap_or(0);
    record.deadline = deadline;
    record::store(host, &record).map_err(|e| Refusal::failed("run-dir", format!("the guard does not know of the extension: {e}"), "the first deadline still holds"))?;
    Ok(record)
}

/// What a revert found.
#[derive(Clone, Debug)]
pub enum Reverted {
    /// A trial with its state file.
    Trial(Box<Record>),
    /// Dated rules in the kernel that no file told of.
    Unrecorded,
    /// It had ended before.
    EndedBefore(Box<Record>),
}

/// Puts the old rules back, now. Without a state file the kernel's own dated rules tell what to put back.
pub fn revert(host: &dyn Host) -> Result<Reverted, Refusal> {
    let (_lock, mut record) = match pending(host) {
        Err(r) if r.code == "no-trial" => return revert_from_kernel(host, r),
        other => other?,
    };
    enter(host, &mut record, Event::Revert)?;
    host.end_leftovers(&record.id, None);
    put_old_back(host, &mut record, By::Operator)?;
    Ok(Reverted::Trial(Box::new(record)))
}

/// The guard's revert: nothing stops it but success. A holder that does not let go of the lock is ended.
pub fn revert_by_guard(host: &dyn Host, record: &mut Record) -> Result<(), Refusal> {
    let lock = record::lock(host, Duration::from_secs(3)).ok().flatten();
    if let Some(fresh) = record::load(host).filter(|r| r.id == record.id) {
        *record = fresh;
    }
    if !record.state.is_pending() {
        return Ok(());
    }
    let holder = if lock.is_some() { None } else { record.holder.map(|w| (w.pid, w.started)) };
    host.end_leftovers(&record.id, holder);
    enter(host, record, Event::Deadline)?;
    put_old_back(host, record, By::Guard)
}

pub(super) fn put_old_back(host: &dyn Host, record: &mut Record, by: By) -> Result<(), Refusal> {
    // Kernel first, files second: what cannot be written must not stop a revert.
    let _ = record::store(host, record);
    let mut failed = Vec::new();
    for (change, script) in record.families.iter().zip(&record.revert) {
        match kernel::restore_and_check(host, &record.id, change, script) {
            Ok(now) => record.remarks.extend(kernel::clean_up(host, &record.id, change, &now)),
            Err(why) => {
                // The next best: our switches decide nothing.
                let emptied = kernel::restore(host, &record.id, change.family(), &change.empty_script());
                failed.push(format!("{why}{}", if emptied.is_ok() { "; our chains were emptied instead" } else { "" }));
            }
        }
    }
    if !failed.is_empty() {
        record.remarks.extend(failed.iter().cloned());
        let _ = record::store(host, record);
        return Err(Refusal::failed("revert-failed", format!("the old rules are not back yet: {}", failed.join("; ")), "run `portcullis revert` again; the guard goes on trying"));
    }
    record.state = step(record.state, Event::RevertDone).map_or(State::Reverted, |s| s.0);
    record.by = Some(by);
    record.ended = Some(host.now().wall);
    let stored = record::store(host, record);
    if let Err(e) = stored.and_then(|()| history::write(host, record)) {
        record.remarks.push(e);
    }
    host.announce(&format!("portcullis: the old firewall rules are back (trial {}, by the {})", record.id, by.word()));
    Ok(())
}

fn revert_from_kernel(host: &dyn Host, none: Refusal) -> Result<Reverted, Refusal> {
    let mut found = false;
    for family in Family::BOTH {
        let Ok(now) = kernel::read(host, family, None) else { continue };
        if standing(&now, false).fuse.or(standing(&now, true).fuse).is_none() {
            continue;
        }
        found = true;
        let change = FamilyChange::from_kernel(&now);
        kernel::restore_and_check(host, "lost", &change, &change.revert_script())
            .map(|now| kernel::clean_up(host, "lost", &change, &now))
            .map_err(|e| Refusal::failed("revert-failed", e, "run `portcullis revert` again"))?;
    }
    if found {
        return Ok(Reverted::Unrecorded);
    }
    record::load(host).map(|r| Reverted::EndedBefore(Box::new(r))).ok_or(none)
}
