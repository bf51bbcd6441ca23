//! `portcullis status`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Failure, json_line, print, print_exact};
use crate::host::Host;
use crate::host::live::Live;
use crate::host::Home;
use crate::trial::{self, By, Record, State, Status};

/// Shows the pending trial, or what became of the last one.
pub fn run(as_json: bool) -> Result<(), Failure> {
    let host = Live::default();
    // The files of a trial are root's: to anybody else there would seem to be none.
    if !host.is_root() {
        return Err(trial::Refusal::not_root().into());
    }
    let status = trial::status(&host);
    if as_json { print_exact(&json_line(&json_of(&status))) } else { print(&text_of(&status)) }
}

fn instant(second: i64) -> String {
    jiff::Timestamp::from_second(second).map(|t| t.to_string()).unwrap_or_default()
}

fn json_of(s: &Status) -> Value {
    let trial = s.trial.as_ref().map(|r| {
        let proof = s.proof.as_ref().map(|p| json!({"user": p.user, "peer": p.peer, "operator": p.is_from(r.operator)}));
        json!({
            "id": r.id, "state": r.state.word(), "by": r.by.map(By::word), "began": instant(r.began),
            "ended": r.ended.map(instant), "why": r.why,
            "deadline": instant(r.deadline_on_the_wall()), "seconds_left": s.left, "operator": r.operator.to_string(),
            "guarded": s.guard.is_some(), "guard": s.guard.map(|w| json!({"pid": w.pid, "home": r.guard_home})), "proof": proof, "remarks": r.remarks,
            "verified": matches!((r.state, r.by), (State::Reverted, Some(By::Operator | By::Guard))).then_some(r.unverified.is_none()),
        })
    });
    json!({"version": 1, "trial": trial})
}

fn text_of(s: &Status) -> String {
    let Some(r) = &s.trial else { return "no trial was ever begun here\n".to_owned() };
    let mut out = String::new();
    match s.phase() {
        Some(phase) => {
            let _ = writeln!(out, "trial {} is {}: {} (begun {} by {})\n{}", r.id, r.state.word(), phase.says(), instant(r.began), r.operator, phase.commands());
            match &s.proof {
                _ if !phase.keeps() => {}
                Some(p) => { let _ = writeln!(out, "proof of access: {} logged in from {} under these rules{}", p.user, p.peer,
                    if r.operator.peer().is_none_or(|peer| peer == p.peer) { "" } else { ", which is not where the operator comes from" }); }
                None if r.operator.needs_proof() => out.push_str("no proof of access yet: open a new SSH login\n"),
                None => {}
            }
            // Where it is stuck or has expired, the words say who ends it.
            if !s.cut_short && r.state != State::Expired {
                let _ = writeln!(out, "{}", guard_of(s, r));
            }
        }
        None => out.push_str(&ended(r)),
    }
    for r in &r.remarks {
        let _ = writeln!(out, "note: {r}");
    }
    out
}

fn ended(r: &Record) -> String {
    let mut out = format!("no trial is pending; the last one, {}, was {}{}{}{}\n", r.id, r.state.word(),
        r.by.map_or_else(String::new, |b| format!(" by the {}", b.word())),
        r.ended.map_or_else(String::new, |t| format!(" at {}", instant(t))),
        r.why.as_ref().map_or_else(String::new, |w| format!(": {w}")));
    if r.unverified.is_some() {
        out.push_str("the old rules were put back, not verified; `portcullis revert` looks again\n");
    }
    out
}

fn guard_of(s: &Status, r: &Record) -> String {
    match (s.guard, r.guard_home, r.fuse) {
        (Some(w), Some(Home::Service), _) => format!("guard: process {}, a service of systemd, which starts it again if it dies", w.pid),
        (Some(w), ..) => format!("guard: process {}, in a session of its own", w.pid),
        (None, _, Some(fuse)) => format!("guard: dead; the kernel itself goes back to the old rules at {}", instant(fuse + 1)),
        (None, _, None) => "guard: dead, and the trial has no fuse: end it yourself".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::host::demo::Demo;
    use crate::model::Plan;

    #[test]
    fn keep_is_named_only_where_it_is_not_refused() {
        let host = Demo::new().with_guard(|host, id| { let _ = trial::guard::watch(&host, id, &AtomicBool::new(false)); });
        let options = trial::Options { replace: true, ..trial::Options::default() };
        let plan: Plan = crate::syntax::plan::read("version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\"]\n").unwrap();
        trial::apply(&host, &plan, &options, &mut |_| {}).unwrap();
        let now = trial::status(&host);
        trial::revert(&host).unwrap();
        let text = |state, guarded: bool, fuse: bool| {
            let r = now.trial.as_ref().unwrap();
            let trial = Record { state, fuse: r.fuse.filter(|_| fuse), ..r.clone() };
            text_of(&Status { trial: Some(trial), guard: now.guard.filter(|_| guarded), left: 30, ..now.clone() })
        };
        let running = text(State::Running, true, true);
        assert!(running.contains("come back in 30 s") && running.contains("`portcullis keep` keeps"), "{running}");
        for state in [State::Armed, State::Keeping, State::Reverting, State::Expired] {
            assert!(!text(state, true, true).contains("portcullis keep"), "{}", text(state, true, true));
        }
        let unwatched = text(State::Running, false, false);
        assert!(!unwatched.contains("come back in") && unwatched.contains("nothing brings the old rules back"), "{unwatched}");
    }
}
