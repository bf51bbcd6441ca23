//! The way back: puts the old rules into every family, reads them back, and removes what is no longer needed.

use std::time::Duration;

use super::history;
use super::kernel::{self, Doubt, Failed, Look};
use super::machine::Event;
use super::pending::guard;
use super::proof;
use super::record::{self, Record};
use super::refusal::Refusal;
use super::written;
use crate::host::Host;
use crate::model::names::chains::is_ours;
use crate::model::trial::By;
use crate::model::{Code, Ruleset};
use crate::observe::firewall::READING;
use crate::plan::FamilyChange;
use crate::syntax::iptables_save;

/// After this many failed tries the guard restores the snapshot of the whole table, which nothing else does.
const LAST_RESORT: u32 = 5;

/// How long to keep trying to read the old rules back before the trial ends without it.
const READ_BACK: Duration = Duration::from_secs(15);

/// The minimum time for one reading.
const ONE_READING: Duration = Duration::from_secs(5);

/// How long a look at our own chains may delay the refill of a revert.
const BEFORE: Duration = Duration::from_secs(1);

/// How long a requested revert waits for the xtables lock.
const LOCKED: Duration = Duration::from_secs(20);

/// Who puts the old rules back, and how patiently.
pub enum Caller<'a> {
    /// An apply that failed.
    Applier,
    /// The guard, after this many failed tries: it tries again by itself.
    Guard(u32),
    /// A command that was asked for it, or whose own change failed; it is told what the revert waits for.
    Somebody(&'a mut dyn FnMut(&str)),
}

impl Caller<'_> {
    fn tries(&self) -> u32 {
        match self {
            Self::Guard(tries) => *tries,
            Self::Applier | Self::Somebody(_) => 0,
        }
    }

    /// The event when the old rules are back.
    fn done(&self) -> Event {
        match self {
            Self::Applier => Event::Undone,
            Self::Guard(_) | Self::Somebody(_) => Event::RevertDone,
        }
    }
}

/// The outcome of refilling one family.
enum Refill {
    /// The tool took the old rules.
    Taken,
    /// It did not; the whole table was put back as it was before the trial.
    Snapshot(Touched),
    /// The old rules are not back.
    Failed(String),
}

/// Puts the old rules back and ends the trial.
pub fn put_old_back(host: &dyn Host, record: &mut Record, by: By, who: &mut Caller) -> Result<(), Refusal> {
    // Kernel first, files second: a failed write must not stop a revert.
    let _ = record::store(host, record);
    let mut seen = into_kernel(host, record, who);
    // One xtables lock blocks both families.
    seen.failed.dedup();
    record.jumpless = seen.jumpless;
    record.unverified = (!seen.unseen.is_empty()).then(|| seen.unseen.join("; "));
    let unverified =
        record.unverified.iter().map(|why| format!("the old rules were put back, but could not be read back: {why}"));
    // Each remark is made once, however often the guard tries.
    for said in seen.remarks.into_iter().chain(seen.failed.iter().cloned()).chain(unverified) {
        if !record.remarks.contains(&said) {
            record.remarks.push(said);
        }
    }
    if let Some(last) = record::ended(host, record) {
        // The guard and a command may do the same at the same time.
        *record = last;
        return Ok(());
    }
    if !seen.failed.is_empty() {
        // Other callers may live on, as a cockpit does: only the guard may record that it keeps trying.
        record.holder = None;
        let _ = record::store(host, record);
        return Err(Refusal::new(
            Code::RevertFailed,
            format!("the old rules are not back yet: {}", seen.failed.join("; ")),
            what_next(host, record),
        ));
    }
    record.advance(who.done())?;
    record.by = Some(by);
    record.ended = Some(host.now().wall);
    let stored = record::store(host, record);
    if let Err(e) = stored.and_then(|()| history::write(host, record)) {
        record.remarks.push(e);
    }
    proof::forget(host, &record.id);
    // What boot would load is shown but not recorded: it may be mended in a minute.
    record.remarks.extend(written::remarks(host, record));
    let doubt = if record.unverified.is_some() { ", but could not be read back" } else { "" };
    host.announce(&format!(
        "portcullis: the old firewall rules are back{doubt} (trial {}, by the {})",
        record.id,
        by.word()
    ));
    Ok(())
}

/// The outcome of putting the old rules into the kernel.
#[derive(Default)]
pub struct Seen {
    /// What could not be put in.
    pub failed: Vec<String>,
    /// What was put in but could not be read back.
    pub unseen: Vec<String>,
    /// Whether rules that were put in have no effect because no jump leads to them.
    pub jumpless: bool,
    /// Other remarks.
    pub remarks: Vec<String>,
}

/// Puts the old rules into the kernel and reads them back.
pub fn into_kernel(host: &dyn Host, record: &Record, who: &mut Caller) -> Seen {
    // Renamed chains are recognised by their content: after a refill our own chains no longer show them.
    let looks: Vec<Look> = record
        .families
        .iter()
        .map(|c| if kernel::is_undisturbed(host, c, BEFORE) { Look::Ours } else { Look::All })
        .collect();
    let until = host.now().boot + LOCKED;
    // Every family is refilled before any is read back: a reading may hang.
    let refills: Vec<Refill> = record
        .families
        .iter()
        .zip(&record.revert)
        .map(|(c, script)| refill(host, record, (c, script), until, who))
        .collect();
    let mut seen = Seen::default();
    let until = host.now().boot + READ_BACK;
    for (((change, script), refill), look) in record.families.iter().zip(&record.revert).zip(refills).zip(looks) {
        match refill {
            Refill::Taken => read_back(host, &record.id, (change, script), look, until, who.tries(), &mut seen),
            other => seen.add(other),
        }
    }
    seen
}

impl Seen {
    fn add(&mut self, refill: Refill) {
        match refill {
            Refill::Taken => {}
            Refill::Snapshot(touched) => {
                self.remarks.extend(touched.remarks);
                self.unseen.extend(touched.unseen);
            }
            Refill::Failed(why) => self.failed.push(why),
        }
    }
}

fn refill(
    host: &dyn Host,
    record: &Record,
    (change, script): (&FamilyChange, &str),
    until: Duration,
    who: &mut Caller,
) -> Refill {
    let mark = kernel::back_mark(&record.id);
    let put = |seconds| kernel::restore_waiting(host, &mark, change.family(), script, seconds);
    let mut nobody = |_: &str| {};
    let hears: Option<&mut dyn FnMut(&str)> = match who {
        Caller::Guard(_) => None,
        Caller::Applier => Some(&mut nobody),
        Caller::Somebody(hears) => Some(*hears),
    };
    let done = match hears {
        None => put(5),
        // The caller should soon hear what the revert waits for.
        Some(hears) => put(1).or_else(|failed| {
            let Failed::Locked(why) = &failed else { return Err(failed) };
            if host.now().boot >= until {
                return Err(failed);
            }
            hears(&format!(
                "{why}; waiting for it up to {} s ({})",
                until.saturating_sub(host.now().boot).as_secs(),
                what_next(host, record)
            ));
            let mut last = failed;
            while let (Failed::Locked(_), true) = (&last, host.now().boot < until) {
                match put(2) {
                    Ok(()) => return Ok(()),
                    Err(failed) => last = failed,
                }
            }
            Err(last)
        }),
    };
    let why = match done {
        Ok(()) => return Refill::Taken,
        // No other process of ours would get the lock either.
        Err(Failed::Locked(why)) => return Refill::Failed(why),
        Err(failed) => failed,
    };
    // Of a tool that did not answer only a reading tells what it did.
    if matches!(why, Failed::Unknown(_)) && kernel::check(host, change, script, ONE_READING).is_ok() {
        return Refill::Taken;
    }
    let why = String::from(why);
    fall_back(host, &record.id, change, why, who.tries())
}

/// What happens next if the old rules cannot be put back now.
fn what_next(host: &dyn Host, record: &Record) -> String {
    let guard = guard(host, record).is_some_and(|w| (w.pid, w.started) != host.me());
    let mut out = if guard {
        "the guard keeps trying".to_owned()
    } else {
        "run `portcullis revert` again: no guard is left to keep trying".to_owned()
    };
    let left = record.fuse.map_or(0, |fuse| fuse - host.now().wall + 1);
    if left > 0 {
        out.push_str(&format!("; the kernel itself goes back to the old rules in {left} s"));
    } else if record.fuse.is_some() {
        out.push_str("; the kernel itself has gone back to the old rules");
    }
    out
}

/// The fall-backs if the old rules cannot be put back: our switches are emptied so that they decide nothing; at last,
/// the snapshot.
fn fall_back(host: &dyn Host, id: &str, change: &FamilyChange, why: String, tries: u32) -> Refill {
    if kernel::restore(host, &kernel::back_mark(id), change.family(), &change.empty_script()).is_ok() {
        return Refill::Failed(format!("{why}; our chains were emptied instead"));
    }
    if tries < LAST_RESORT {
        return Refill::Failed(why);
    }
    match snapshot_back(host, id, change) {
        Ok(mut touched) => {
            touched.remarks.insert(
                0,
                format!(
                    "{why}; so the whole {} filter table was put back as it was before the trial",
                    change.family().label()
                ),
            );
            Refill::Snapshot(touched)
        }
        Err(e) => Refill::Failed(format!("{why}; {e}")),
    }
}

/// Reads one family back and removes what is no longer needed. If the reading fails, nothing is undone: the tool took
/// the rules, so only the reading is tried again.
fn read_back(
    host: &dyn Host,
    id: &str,
    (change, script): (&FamilyChange, &str),
    look: Look,
    until: Duration,
    tries: u32,
    seen: &mut Seen,
) {
    loop {
        let left = until.saturating_sub(host.now().boot);
        match look.check(host, change, script, left.clamp(ONE_READING, READING)) {
            Ok(now) => {
                let mark = kernel::back_mark(id);
                match kernel::end_renamed(host, &mark, change, now, true) {
                    Ok((now, said)) => {
                        seen.remarks.extend(said);
                        seen.remarks.extend(kernel::clean_up(host, &mark, change, &now));
                        let lost = kernel::lost_jump(change, &now, true);
                        seen.jumpless |= lost.is_some();
                        seen.remarks.extend(lost);
                    }
                    Err(why) => seen.failed.push(why),
                }
                return;
            }
            Err(Doubt::Unseen(_)) if host.now().boot < until => host.pause(Duration::from_millis(300)),
            Err(Doubt::Unseen(why)) => {
                seen.unseen.push(why);
                return;
            }
            Err(doubt) if tries < LAST_RESORT => {
                seen.failed.push(doubt.into());
                return;
            }
            Err(doubt) => {
                seen.add(fall_back(host, id, change, doubt.into(), tries));
                return;
            }
        }
    }
}

/// Reads again what a revert put back but could not read; `None` if there is no such revert.
pub fn verify(host: &dyn Host, record: &Record) -> Option<Result<Record, Refusal>> {
    let mut record = Some(record).filter(|r| r.unverified.is_some() && r.is_here(host))?.clone();
    let mark = kernel::back_mark(&record.id);
    let mut remarks = Vec::new();
    for (change, script) in record.families.iter().zip(&record.revert) {
        // Refilled once more: where the rules are still there, this changes nothing.
        match kernel::restore_and_check(host, &mark, change, script, Look::All) {
            Ok(now) => match kernel::end_renamed(host, &mark, change, now, true) {
                Ok((now, said)) => {
                    remarks.extend(said);
                    remarks.extend(kernel::clean_up(host, &mark, change, &now));
                }
                Err(why) => return Some(Err(unverified(&why))),
            },
            Err(why) => return Some(Err(unverified(&String::from(why)))),
        }
    }
    record.unverified = None;
    record.remarks.extend(remarks);
    if let Err(e) = record::store(host, &record).and_then(|()| history::write(host, &record)) {
        record.remarks.push(e);
    }
    Some(Ok(record))
}

/// The refusal for a revert that could not be read back.
pub fn unverified(why: &str) -> Refusal {
    Refusal::new(
        Code::Unverified,
        format!("the old rules were put back, but could not be read back: {why}"),
        "no trial is pending any more; see why the rules cannot be read, then `portcullis revert` looks again",
    )
}

/// What restoring a whole table changed besides our rules.
#[derive(Default)]
struct Touched {
    remarks: Vec<String>,
    /// Why it could not be read back.
    unseen: Option<String>,
}

/// Restores a family's filter table as it was before the trial.
fn snapshot_back(host: &dyn Host, id: &str, change: &FamilyChange) -> Result<Touched, String> {
    let family = change.family();
    let text = history::snapshot(host, id, family.suffix()).ok_or("the snapshot cannot be read")?;
    let mut old = iptables_save::read(&text, family).0;
    old.tables.retain(|t| t.name == "filter");
    if old.tables.is_empty() {
        return Err("the snapshot holds no filter table".to_owned());
    }
    let before = kernel::read(host, family, None).ok();
    kernel::replace_tables(host, &kernel::back_mark(id), family, &iptables_save::write(&old, true))?;
    let not_known = || vec!["what others had changed meanwhile is not known".to_owned()];
    let mut now = match kernel::read(host, family, None) {
        Ok(now) => now,
        Err(why) => return Ok(Touched { remarks: not_known(), unseen: Some(why) }),
    };
    now.tables.retain(|t| t.name == "filter");
    if !now.same_rules(&old) {
        return Err("the snapshot reads back differently".to_owned());
    }
    let lines = |r: &Ruleset| -> Vec<String> {
        r.tables
            .iter()
            .filter(|t| t.name == "filter")
            .flat_map(|t| &t.chains)
            .filter(|c| !is_ours(&c.name))
            .flat_map(|c| {
                c.rules.iter().filter(|r| !r.jumps_to().is_some_and(|to| is_ours(&to))).map(|r| r.line_in(&c.name))
            })
            .collect()
    };
    let Some(before) = before.as_ref().map(lines) else { return Ok(Touched { remarks: not_known(), unseen: None }) };
    let after = lines(&now);
    let lost = before.iter().filter(|l| !after.contains(l)).map(|l| format!("lost with it: {l}"));
    let back = after.iter().filter(|l| !before.contains(l)).map(|l| format!("back with it: {l}"));
    Ok(Touched { remarks: lost.chain(back).collect(), unseen: None })
}
