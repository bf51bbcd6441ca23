//! The pending trial, or the end of the last one.

use super::evidence::{self, Evidence, dated};
use super::history;
use super::loaded::Loaded;
use super::machine::Event;
use super::pending::{expire, guard, is_cut_short};
use super::proof::proof;
use super::record::{self, Proof, Record, Who};
use crate::host::{Host, Now};
use crate::model::trial::State;
use crate::model::{Family, Plan, Ruleset, TrialPhase};
use crate::observe::live;
use crate::plan::{FamilyChange, named};
use crate::syntax::plan as plan_file;

/// The id of a trial that only the kernel shows.
pub const UNRECORDED: &str = "unrecorded";

/// The state of trials on this host.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The pending trial, or the last one; `state` tells which.
    pub trial: Option<Record>,
    /// Seconds left on the clock of a pending trial.
    pub left: u64,
    /// Whether a keep or a revert was cut short, and no process will finish it.
    pub cut_short: bool,
    /// The guard of a pending trial, if it is alive; a restarted one is not the one in the state file.
    pub guard: Option<Who>,
    /// The login that proves that the way in is open.
    pub proof: Option<Proof>,
    /// Families of this host whose rules could not be read: whether they contain a trial is unknown.
    pub unread: Vec<Family>,
}

impl Status {
    /// The phase of the pending trial, if there is one.
    pub fn phase(&self) -> Option<TrialPhase> {
        let r = self.trial.as_ref().filter(|r| r.state().is_pending())?;
        Some(match r.state() {
            State::Expired => TrialPhase::Expired,
            State::Lost => TrialPhase::Lost,
            State::Keeping if self.cut_short => TrialPhase::KeepCut,
            State::Keeping => TrialPhase::Keeping,
            State::Reverting if self.cut_short => TrialPhase::RevertCut,
            State::Reverting => TrialPhase::Reverting,
            State::Armed => TrialPhase::Applying,
            _ if self.guard.is_none() && r.fuse.is_none() => TrialPhase::Unwatched(self.left),
            _ if self.left == 0 => TrialPhase::Due,
            _ if r.id == UNRECORDED => TrialPhase::Unrecorded(self.left),
            _ => TrialPhase::Running(self.left),
        })
    }
}

/// Reads the state file, the history and (as root) the kernel.
pub fn status(host: &dyn Host) -> Status {
    by(host, &Loaded::fresh(host))
}

/// The same, using rules that are read at most once.
pub(super) fn by(host: &dyn Host, loaded: &Loaded) -> Status {
    let now = host.now();
    let mut trial = record::load(host);
    let unread = || -> Vec<Family> {
        let rules = loaded.ours();
        Family::BOTH
            .into_iter()
            .filter(|f| rules[f.index()].is_none() && (*f == Family::V4 || live::has_ipv6(host)))
            .collect()
    };
    let mut unknown = Vec::new();
    if let Some(r) = trial.as_mut().filter(|r| r.state().is_pending() && r.is_here(host)) {
        let holder = r.holder.is_some_and(|w| host.alive(w.pid, w.started));
        if r.state() == State::Armed
            && !holder
            && guard(host, r).is_none()
            && shown_by(host, now, loaded).is_none()
            && unread().is_empty()
        {
            // An apply died before it had a guard: the kernel was not touched.
            let _ = r.advance(Event::GivenUp);
        }
        expire(r, now);
        if host.is_root() {
            by_evidence(host, &mut trial, loaded);
        }
    } else if trial.as_ref().is_none_or(|r| r.state().is_pending()) {
        // A trial from before the last boot is no longer in the kernel.
        let here = trial.take().filter(|r| r.home.boot_id != host.identity().boot_id);
        trial = here.map(history::ended_by_boot);
    }
    if host.is_root() && !trial.as_ref().is_some_and(|t| t.state().is_pending()) {
        // The kernel is right, whatever the files say.
        trial = shown_by(host, now, loaded).or_else(|| forgotten(host, loaded)).or(trial);
        unknown = unread();
    }
    let mut trial = trial.or_else(|| history::all(host).into_iter().next());
    let guard = trial.as_ref().and_then(|r| guard(host, r));
    let cut_short = trial.as_ref().is_some_and(|r| guard.is_none() && is_cut_short(host, r));
    if let Some(r) = trial.as_mut().filter(|_| cut_short) {
        let what = if r.state() == State::Keeping {
            "the keep was cut short and nobody is left to finish it, so IPv4 and IPv6 may differ: `portcullis keep` \
                finishes it, `portcullis revert` brings the old rules back"
        } else {
            "the revert was cut short and nobody is left to finish it, so IPv4 and IPv6 may differ: `portcullis \
            revert` finishes it"
        };
        r.remarks.push(what.to_owned());
    }
    let left = trial
        .as_ref()
        .filter(|r| r.state().is_pending() && r.state() != State::Expired && !cut_short)
        .map_or(0, |r| r.left(now.boot));
    let proof = trial.as_ref().and_then(|r| proof(host, r));
    Status { trial, left, cut_short, guard, proof, unread: unknown }
}

/// The kernel is right: if nobody is working on a trial, what its file says is checked against what is loaded.
fn by_evidence(host: &dyn Host, trial: &mut Option<Record>, loaded: &Loaded) {
    let Some(r) = trial.as_mut().filter(|r| {
        matches!(r.state(), State::Running | State::Expired) || r.state() == State::Reverting && is_cut_short(host, r)
    }) else {
        return;
    };
    let evidence = evidence::of(host, r, loaded);
    if let Some(meanwhile) = record::load(host).filter(|m| m.id != r.id || !m.state().is_pending()) {
        // It has just been ended and recorded.
        *r = meanwhile;
        return;
    }
    match evidence {
        Evidence::Live(remarks) => r.remarks.extend(remarks),
        Evidence::Back => {
            r.why = Some(format!(
                "the kernel shows the old rules, though the state file says {}: it could not be written, or somebody \
                else removed the trial's rules",
                r.state().word()
            ));
            if r.advance(Event::FoundOver).is_ok() {
                r.by = None;
            }
        }
        // For a revert that was cut short we have already said that it has to be finished.
        Evidence::Gone => {
            if r.advance(Event::FoundLost).is_ok() {
                r.by = None;
            }
        }
        Evidence::Unseen(why) => {
            r.remarks.push(format!("this is what the state file says; the rules could not be read: {why}"));
        }
    }
}

/// A trial without dates whose state file is gone: the history knows it, and the kernel shows its rules.
pub(super) fn forgotten(host: &dyn Host, loaded: &Loaded) -> Option<Record> {
    if record::load(host).is_some() {
        return None;
    }
    let mut r = history::pending(host).filter(|r| r.fuse.is_none())?;
    let Evidence::Live(remarks) = evidence::of(host, &r, loaded) else { return None };
    // It was recorded before the plan was applied.
    let _ = r.advance(Event::FoundLive);
    r.remarks.push(
        "its state file is gone: the history and the kernel show this trial; if it was given more time, that is not \
            known here"
            .to_owned(),
    );
    r.remarks.extend(remarks);
    Some(r)
}

/// A dated rule in our chains means a trial, whatever the files say. This is what the kernel shows of it.
pub(super) fn shown_by(host: &dyn Host, now: Now, loaded: &Loaded) -> Option<Record> {
    let rules: Vec<Ruleset> = loaded.ours().into_iter().flatten().map(|r| named(r).0).collect();
    let fuse = rules.iter().filter_map(dated).max()?;
    let families: Vec<FamilyChange> =
        rules.iter().filter(|r| dated(r).is_some()).map(FamilyChange::from_kernel).collect();
    let millis = |seconds: i64| u64::try_from(seconds).unwrap_or(0) * 1000;
    let boot = i64::try_from(now.boot.as_secs()).unwrap_or(0);
    let mut r = Record::armed(host, UNRECORDED, families);
    r.advance(Event::FoundLive).ok()?;
    // A guard that knows it may act before the fuse; only the fuse is certain.
    r.deadline = millis(boot + fuse - now.wall);
    r.fuse = Some(fuse);
    (r.began, r.offset) = (now.wall, now.wall - boot);
    r.plan = plan_file::write(&Plan::default());
    r.remarks.push("dated rules in the kernel show this trial; no file here describes it".to_owned());
    expire(&mut r, now);
    Some(r)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::host::demo::{Breakage, Demo};
    use crate::trial::{Options, apply, revert};

    #[test]
    fn unreadable_rules_may_contain_a_trial() {
        let host = Demo::new();
        assert_eq!(status(&host).unread, []);
        host.break_reading(Family::V4, 1, Breakage::Fails);
        assert_eq!(status(&host).unread, [Family::V4]);
        host.break_reading(Family::V4, 1, Breakage::Fails);
        host.break_reading(Family::V6, 1, Breakage::Fails);
        assert_eq!(status(&host).unread, Family::BOTH);
        host.remove(std::path::Path::new("/proc/net/if_inet6")).unwrap();
        host.break_reading(Family::V6, 1, Breakage::Fails);
        assert_eq!(status(&host).unread, []);
    }

    #[test]
    fn only_what_ends_by_itself_has_a_clock() {
        let host = Demo::new().with_guard(|host, id| {
            let _ = crate::trial::guard::watch(&host, id, &AtomicBool::new(false));
        });
        let plan = plan_file::read(
            "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\"]\nto = [\"portmapper\"]\n",
        )
        .unwrap();
        apply(&host, &plan, &Options::default(), &mut |_| {}).unwrap();
        let now = status(&host);
        revert(&host).unwrap();
        assert!(matches!(now.phase(), Some(TrialPhase::Running(_))));
        let with = |state, fuse: bool, guarded: bool, left| {
            let r = now.trial.as_ref().unwrap();
            let mut trial = r.clone().in_state(state);
            trial.fuse = r.fuse.filter(|_| fuse);
            Status {
                trial: Some(trial),
                left,
                guard: now.guard.filter(|_| guarded),
                cut_short: !guarded,
                proof: None,
                unread: Vec::new(),
            }
            .phase()
        };
        assert_eq!(with(State::Running, true, false, 9), Some(TrialPhase::Running(9)));
        assert_eq!(with(State::Running, false, true, 9), Some(TrialPhase::Running(9)));
        assert_eq!(with(State::Running, false, false, 9), Some(TrialPhase::Unwatched(9)));
        assert_eq!(with(State::Running, true, false, 0), Some(TrialPhase::Due));
        assert_eq!(with(State::Expired, true, true, 0), Some(TrialPhase::Expired));
        assert_eq!(with(State::Reverting, true, true, 9), Some(TrialPhase::Reverting));
        assert_eq!(with(State::Keeping, true, false, 0), Some(TrialPhase::KeepCut));
        assert_eq!(with(State::Reverted, true, true, 0), None);
    }
}
