//! Ends a trial or prolongs it: keep, revert, extend.

use std::time::Duration;

use super::back::{self, Caller, put_old_back};
use super::evidence::{self, Evidence, Shown, dated};
use super::force;
use super::half_saved;
use super::history;
use super::kernel::{self, Look};
use super::loaded::Loaded;
use super::machine::Event;
use super::pending::{elsewhere, expire, guard, is_cut_short};
use super::proof::{self, proof};
use super::record::{self, Record, Who};
use super::refusal::Refusal;
use super::status::{forgotten, shown_by};
use super::undoers::undoers;
use super::written;
use crate::host::{Held, Host};
use crate::model::trial::{By, State};
use crate::model::{Code, KEEP_MARGIN, Operator, Ruleset, View};
use crate::observe::firewall::READING;
use crate::plan::InForce;

/// The fuse lasts this much longer than the guard's deadline.
pub const FUSE_AFTER: i64 = 5;

/// How long a guard without its state file may take to read whether its trial is over: one revert too many does less
/// harm than waiting.
const IS_OVER: Duration = Duration::from_secs(2);

/// Reported of a trial that is running by its file but not in the kernel.
const NOT_SHOWN: &str = "the kernel no longer shows the rules of the trial";

/// Records who is changing the kernel, and the new state; a full disk is no reason to stop a revert.
fn enter(host: &dyn Host, record: &mut Record, event: Event) -> Result<(), Refusal> {
    record.advance(event)?;
    let (pid, started) = host.me();
    record.holder = Some(Who { pid, started });
    Ok(())
}

fn no_trial(last: Option<&Record>) -> Refusal {
    last.map_or_else(Refusal::no_trial, |r| Refusal::ended(r.state()))
}

/// Takes the locks and the pending trial, if both are available.
fn pending(host: &dyn Host) -> Result<(Box<dyn Held>, Record), Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()));
    }
    let lock = record::lock(host, Duration::from_secs(5))
        .map_err(|e| Refusal::new(Code::RunDir, e, "see that the disk is not full and the directory belongs to root"))?
        .ok_or_else(|| Refusal::busy(host))?;
    let mut record = found(host)?;
    // The guard ends a process that holds the lock too long; from now on that is this process, whoever began the trial.
    // A keep or revert that was cut short keeps its dead holder, by which the guard sees it,
    // until somebody continues it.
    if record.state() == State::Running {
        let (pid, started) = host.me();
        let mut ours = record.clone();
        ours.holder = Some(Who { pid, started });
        let _ = record::store(host, &ours);
    }
    expire(&mut record, host.now());
    Ok((lock, record))
}

/// The pending trial.
fn found(host: &dyn Host) -> Result<Record, Refusal> {
    let last = record::load(host);
    if let Some(r) = last.as_ref().filter(|r| r.state().is_pending() && r.is_here(host)) {
        return Ok(r.clone());
    }
    let loaded = Loaded::whole(host);
    if let Some(r) = forgotten(host, &loaded) {
        return Ok(r);
    }
    if shown_by(host, host.now(), &loaded).is_some() {
        return Err(Refusal {
            what: "the kernel holds a trial that no file here describes".to_owned(),
            hint: "`portcullis revert` ends it; it also ends by itself".to_owned(),
            ..no_trial(last.as_ref())
        });
    }
    Err(elsewhere(host).map_or_else(|| no_trial(last.as_ref()), |r| Refusal::elsewhere(r.state())))
}

/// How long a revert waits for another process that is changing the firewall.
const WAITS: Duration = Duration::from_secs(15);

/// The lock for putting the old rules back. `None` if it cannot be taken (a missing directory on a read-only file
/// system) or if another process puts them back too, so that both may: nobody can put a plan in meanwhile.
fn lock_to_go_back(host: &dyn Host, hears: &mut dyn FnMut(&str)) -> Result<Option<Box<dyn Held>>, Refusal> {
    let until = host.now().boot + WAITS;
    let mut said = false;
    loop {
        match record::lock_to_go_back(host, Duration::from_secs(1)) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) if host.now().boot < until => {
                if let Some(holder) = record::holder(host).filter(|_| !said) {
                    hears(&format!(
                        "{holder} is changing the firewall right now; waiting for it up to {} s",
                        WAITS.as_secs()
                    ));
                }
                said = true;
            }
            Ok(None) => match record::plan_holders(host).first() {
                None => return Ok(None),
                Some(holder) => {
                    return Err(Refusal {
                        hint: format!(
                            "`kill -KILL {}` ends it, then revert again; at the deadline the guard does both",
                            holder.pid
                        ),
                        ..Refusal::busy(host)
                    });
                }
            },
            Err(e) => {
                hears(&format!("{e}; going on without it"));
                return Ok(None);
            }
        }
    }
}

/// Why a trial cannot be kept now, if so.
fn refuse_keep(host: &dyn Host, record: &Record, without_proof: bool) -> Result<(), Refusal> {
    if record.state() == State::Reverting {
        return Err(Refusal::new(
            Code::TooLate,
            "the trial is being reverted, or a revert was cut short",
            "`portcullis revert` finishes it; then apply the plan again",
        ));
    }
    let now = host.now();
    // Only the operator may end a keep that was cut short: it may be continued at any time.
    let in_time = is_cut_short(host, record) && guard(host, record).is_none();
    let burns = record.fuse.map_or(u64::MAX, |f| u64::try_from(f - now.wall).unwrap_or(0));
    if !in_time
        && (burns < KEEP_MARGIN
            || record.left(now.boot + Duration::from_secs(KEEP_MARGIN)) == 0
            || record.state() == State::Expired)
    {
        return Err(Refusal::new(
            Code::TooLate,
            "the trial is about to be reverted, too late to keep it",
            "wait for the revert, then apply the plan again",
        ));
    }
    if record.proof.is_none() && !without_proof && record.operator.needs_proof() {
        let why = match record.operator {
            Operator::Unattended => ", and the job that began the trial has no terminal",
            Operator::Ssh(_) => "; the session that began the trial was open before",
            Operator::Console | Operator::Unknown => "",
        };
        return Err(Refusal::new(
            Code::NoProof,
            format!("no new SSH login has shown yet that the way in is open{why}"),
            "open another login and keep from there or from here; `portcullis keep --without-proof` needs none",
        ));
    }
    Ok(())
}

/// Keeps the trial: both families without dates, read back, then recorded.
pub fn keep(host: &dyn Host, without_proof: bool) -> Result<Record, Refusal> {
    let (lock, mut record) = pending(host)?;
    record.proof = proof(host, &record);
    refuse_keep(host, &record, without_proof)?;
    let not_live = |why: &str| Refusal::new(Code::NotLive, why, "`portcullis revert`, then apply the plan again");
    let mut shown = false;
    for change in &record.families {
        let now = kernel::read_ours(host, change.family(), READING, |now| change.is_in_place(now))
            .map_err(|why| not_live(&why))?;
        kernel::renamed(change, &now)
            .map_or(Ok(()), Err)
            .and_then(|()| kernel::need_jump(change, &now))
            .map_err(|why| not_live(&why))?;
        shown |= evidence::family(change, &now, record.fuse) == Shown::Live;
    }
    if record.state() == State::Running && !shown {
        return Err(not_live(NOT_SHOWN));
    }
    // Reading many rules may have taken long.
    refuse_keep(host, &record, without_proof)?;
    enter(host, &mut record, Event::Keep)?;
    record::store(host, &record).map_err(|e| {
        Refusal::new(
            Code::RunDir,
            format!("nothing was kept: {e}"),
            "free some space and keep again; the clock still runs",
        )
    })?;
    let mut done = Ok(());
    for change in &record.families {
        done = done.and_then(|()| {
            kernel::restore_and_check(host, &record.id, change, &change.keep_script(), Look::Ours)
                .map_err(String::from)
                .and_then(|now| kernel::need_jump(change, &now))
        });
    }
    if let Err(why) = done {
        enter(host, &mut record, Event::KeepFailed)?;
        record.why = Some("keeping it failed".to_owned());
        record.remarks.push(format!("keeping failed: {why}"));
        put_old_back(host, &mut record, By::Operator, &mut Caller::Somebody(&mut |_| {}))?;
        let back = if record.unverified.is_some() { "were put back, but could not be read back" } else { "are back" };
        return Err(Refusal::new(
            Code::KeepFailed,
            format!("keeping failed and the old rules {back}: {why}"),
            "apply the plan again",
        ));
    }
    record.advance(Event::KeepDone)?;
    record.by = Some(By::Operator);
    record.why = Some(record.proof.as_ref().map_or_else(
        || "it was kept without proof of access".to_owned(),
        |p| format!("it was kept after a new login of {} from {}", p.user, p.peer),
    ));
    record.ended = Some(host.now().wall);
    record::store(host, &record).map_err(|e| {
        Refusal::new(
            Code::RunDir,
            format!("the plan is live but not marked as kept, so it will be reverted: {e}"),
            "free some space and keep again",
        )
    })?;
    let mut seen = [None, None];
    for change in &record.families {
        let kept = |now: &Ruleset| change.has_jumps(now) && change.holds(now, &change.keep_script());
        let Ok(now) = kernel::read_ours(host, change.family(), READING, kept) else { continue };
        match kernel::end_renamed(host, &record.id, change, now, false) {
            Ok((now, said)) => {
                record.remarks.extend(said);
                record.remarks.extend(kernel::clean_up(host, &record.id, change, &now));
                seen[change.family().index()] = Some(now);
            }
            Err(why) => record.remarks.push(why),
        }
    }
    if let Err(e) = history::write(host, &record) {
        record.remarks.push(e);
    }
    record.remarks.extend(half_saved::recover(host));
    proof::forget(host, &record.id);
    host.announce(&format!("portcullis: trial {} was kept", record.id));
    // Shown but not recorded: it may be mended in a minute. Nothing is changed any more.
    drop(lock);
    let now = kept_how(host, &record, seen);
    record.remarks.extend(now);
    Ok(record)
}

/// Remarks about a plan that was just kept: that it is not in force, what will undo it, and which boot files contain
/// parts of its trial.
fn kept_how(host: &dyn Host, record: &Record, seen: [Option<Ruleset>; 2]) -> Vec<String> {
    let [v4, v6] = seen;
    let view = View { v4, v6, ..View::empty(host.source(), "") };
    let mut undone = undoers(host, &view, &record.families);
    undone.retain(|s| !record.remarks.contains(s));
    let force = force::of_rules(host, &force::there(host, record), false, [view.v4, view.v6]);
    let void = InForce { trial: record.id.clone(), on_trial: false, force, saved: false }.says();
    void.into_iter().chain(undone).chain(written::remarks(host, record)).collect()
}

/// Gives the trial another minute: first the fuses, then the guard's deadline.
pub fn extend(host: &dyn Host) -> Result<Record, Refusal> {
    let (_lock, mut record) = pending(host)?;
    let now = host.now();
    let deadline = (record.deadline + 60_000).min(record.latest);
    if deadline <= record.deadline {
        return Err(Refusal::new(Code::TooLong, "a trial lasts one hour at most", "keep it or let it be reverted"));
    }
    if record.left(now.boot) == 0 || record.state() == State::Expired {
        return Err(Refusal::new(
            Code::TooLate,
            "the trial is about to be reverted",
            "wait for the revert, then apply the plan again",
        ));
    }
    if matches!(evidence::of(host, &record, &Loaded::fresh(host)), Evidence::Back | Evidence::Gone) {
        return Err(Refusal::new(Code::NotLive, NOT_SHOWN, "`portcullis revert`, then apply the plan again"));
    }
    enter(host, &mut record, Event::Extend)?;
    // The holder is recorded first: if the deadline comes meanwhile, the guard ends this process, so that it changes
    // nothing afterwards.
    record::store(host, &record).map_err(|e| Refusal::new(Code::RunDir, e, "the first deadline still holds"))?;
    let left =
        i64::try_from(deadline / 1000).unwrap_or(i64::MAX) - i64::try_from(now.boot.as_secs()).unwrap_or(i64::MAX);
    let fuse = record.fuse.map(|_| now.wall + left + FUSE_AFTER);
    let first = record.clone();
    for (done, change) in record.families.iter().enumerate() {
        let extended = kernel::restore_and_check(host, &record.id, change, &change.extend_script(fuse), Look::Ours)
            .map_err(String::from)
            .and_then(|now| kernel::renamed(change, &now).map_or(Ok(()), Err));
        if let Err(why) = extended {
            // Including the family that failed: what its tool did is unknown.
            let back = fuses_back(host, &first, done + 1);
            return Err(Refusal::new(
                Code::ExtendFailed,
                format!("the time was not extended: {why}{back}"),
                "the first deadline still holds",
            ));
        }
    }
    record.fuse = fuse;
    record.offset = now.wall - i64::try_from(now.boot.as_secs()).unwrap_or(0);
    record.deadline = deadline;
    record.applied = u64::try_from(host.now().boot.as_millis()).unwrap_or(u64::MAX);
    if let Err(e) = record::store(host, &record) {
        let back = fuses_back(host, &first, first.families.len());
        return Err(Refusal::new(
            Code::RunDir,
            format!("the guard does not know of the extension: {e}{back}"),
            "the first deadline still holds",
        ));
    }
    let _ = history::write(host, &record);
    Ok(record)
}

/// Restores the fuse of the state file in the first families; reports what fails.
fn fuses_back(host: &dyn Host, record: &Record, families: usize) -> String {
    record
        .families
        .iter()
        .take(families)
        .filter_map(|c| {
            kernel::restore_and_check(host, &record.id, c, &c.extend_script(record.fuse), Look::Ours)
                .err()
                .map(|e| (c, String::from(e)))
        })
        .map(|(c, e)| {
            format!("; the {} rules may have dates a minute later than the guard's deadline: {e}", c.family().label())
        })
        .collect()
}

/// What a revert found.
#[derive(Clone, Debug)]
pub enum Reverted {
    /// A trial with its state file.
    Trial(Box<Record>),
    /// Dated rules in the kernel that no file describes, with remarks about their end.
    Unrecorded(Vec<String>),
    /// A trial that had ended before.
    EndedBefore(Box<Record>),
}

/// Puts the old rules back now. Without a state file, the kernel's own dated rules tell what to put back.
pub fn revert(host: &dyn Host) -> Result<Reverted, Refusal> {
    revert_telling(host, &mut |_| {})
}

/// The same; `hears` is told what the revert waits for.
pub fn revert_telling(host: &dyn Host, hears: &mut dyn FnMut(&str)) -> Result<Reverted, Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()));
    }
    let lock = lock_to_go_back(host, hears)?;
    let mut record = match found(host) {
        Err(r) if r.code == Code::NoTrial => return revert_from_kernel(host, r, hears),
        other => other?,
    };
    expire(&mut record, host.now());
    enter(host, &mut record, Event::Revert)?;
    record.why = Some("a revert was requested".to_owned());
    host.end_leftovers(&record.id, &[]);
    if let Err(failed) = put_old_back(host, &mut record, By::Operator, &mut Caller::Somebody(hears)) {
        // After the deadline the guard does the same work, and what it removes meanwhile reads back as a difference.
        record = ended_by_guard(host, &record).ok_or(failed)?;
    }
    if record.by == Some(By::Guard) {
        hears("the guard put the old rules back meanwhile");
    }
    if lock.is_some() {
        record.remarks.extend(half_saved::recover(host));
    }
    if let Some(why) = &record.unverified {
        return Err(back::unverified(why));
    }
    Ok(Reverted::Trial(Box::new(record)))
}

/// How long a working guard may take to finish.
const GUARD_FINISHES: Duration = Duration::from_secs(5);

/// The ended trial, if a guard is putting the old rules back and finishes in time.
fn ended_by_guard(host: &dyn Host, record: &Record) -> Option<Record> {
    let end = host.now().boot + GUARD_FINISHES;
    while record.left(host.now().boot) == 0 && guard(host, record).is_some() && host.now().boot < end {
        if record::ended(host, record).is_some() {
            break;
        }
        host.pause(Duration::from_millis(50));
    }
    // It may have finished and gone between two looks.
    record::ended(host, record)
}

/// The outcome of a guard's revert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByGuard {
    /// The trial is over.
    Over,
    /// The trial got more time while the guard waited for the lock.
    Extended,
}

/// The guard's revert: it goes on until it succeeds. A process that does not let go of the lock is ended. `tries`
/// failed before; `why`: the reason, if not the deadline.
pub fn revert_by_guard(
    host: &dyn Host,
    record: &mut Record,
    tries: u32,
    why: Option<&str>,
) -> Result<ByGuard, Refusal> {
    let lock = record::lock_to_go_back(host, Duration::from_secs(3));
    // An error means that we could not wait, not that somebody hangs.
    let hangs = matches!(lock, Ok(None));
    let lock = lock.ok().flatten();
    if is_over(host, record, lock.is_some()) {
        return Ok(ByGuard::Over);
    }
    let refresh = |record: &mut Record| {
        if let Some(fresh) = record::load(host).filter(|r| r.id == record.id) {
            *record = fresh;
        }
    };
    refresh(record);
    if record.state().is_pending() {
        host.end_leftovers(&record.id, &if hangs { who_hangs(host, record) } else { Vec::new() });
        // It may have finished just before it was ended.
        refresh(record);
    }
    if !record.state().is_pending() {
        return Ok(ByGuard::Over);
    }
    if why.is_none() && tries == 0 && record.state() == State::Running && record.left(host.now().boot) > 0 {
        return Ok(ByGuard::Extended);
    }
    enter(host, record, Event::Deadline)?;
    // The reason why a revert was begun stays its reason.
    record.why.get_or_insert_with(|| why.unwrap_or("it was not kept before the deadline").to_owned());
    put_old_back(host, record, By::Guard, &mut Caller::Guard(tries))?;
    Ok(ByGuard::Over)
}

/// Processes that hold the locks too long and could still make the plan stay, including one that has not recorded
/// itself yet. A revert does what the guard does: it may go on.
fn who_hangs(host: &dyn Host, record: &Record) -> Vec<(u32, u64)> {
    let at_work = record.holder.map(|w| (w.pid, w.started));
    let back = at_work.filter(|_| record.state() == State::Reverting);
    let plan = record::plan_holders(host).into_iter().map(|h| (h.pid, h.started));
    at_work.into_iter().chain(plan).filter(|w| Some(*w) != back).collect()
}

/// Whether this trial was ended without its state file: that names a later trial, or both it and the dates in the
/// kernel are gone. A trial without a fuse never had dates; an armed one may still get them unless we hold the lock.
pub fn is_over(host: &dyn Host, record: &Record, locked: bool) -> bool {
    match record::load(host).filter(|r| r.is_here(host)) {
        Some(last) => last.id != record.id,
        None => {
            (record.state() == State::Running || locked && record.state() == State::Armed)
                && record.fuse.is_some()
                && record.families.iter().all(|c| {
                    kernel::read_ours(host, c.family(), IS_OVER, |now| dated(now).is_some())
                        .is_ok_and(|now| dated(&now).is_none())
                })
        }
    }
}

/// Ends a trial that only the kernel shows, using what the kernel shows.
fn revert_from_kernel(host: &dyn Host, none: Refusal, hears: &mut dyn FnMut(&str)) -> Result<Reverted, Refusal> {
    let Some(found) = shown_by(host, host.now(), &Loaded::whole(host)) else {
        let last = record::load(host).ok_or(none)?;
        return back::verify(host, &last).map_or_else(
            || Ok(Reverted::EndedBefore(Box::new(last))),
            |again| again.map(|r| Reverted::Trial(Box::new(r))),
        );
    };
    let seen = back::into_kernel(host, &found, &mut Caller::Somebody(hears));
    if !seen.failed.is_empty() {
        return Err(Refusal::new(Code::RevertFailed, seen.failed.join("; "), "run `portcullis revert` again"));
    }
    history::end_lost(host, Some(By::Operator), "its state file was lost; what the kernel showed of it was reverted");
    if seen.unseen.is_empty() {
        Ok(Reverted::Unrecorded(seen.remarks))
    } else {
        Err(back::unverified(&seen.unseen.join("; ")))
    }
}
