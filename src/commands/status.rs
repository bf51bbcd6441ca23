//! `portcullis status`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Failure, json_line, print, print_exact};
use crate::host::Home;
use crate::host::Host;
use crate::host::live::Live;
use crate::model::trial::{By, State};
use crate::model::{BootFile, Code, Family};
use crate::observe::live::has_ipv6;
use crate::plan::{Enforced, Extent, InForce};
use crate::trial::{self, Record, Status};

/// The exit code if what is kept, or on trial, is not in force.
const NOT_IN_FORCE: u8 = 6;

/// The hint if the kernel's rules could not be read.
const UNREAD_HINT: &str =
    "`portcullis report` says why; until they can be read it is not known whether they contain a trial";

/// Shows the pending trial or how the last one ended, and whether the kept plan is in force. Returns the exit code.
pub fn run(as_json: bool) -> anyhow::Result<u8> {
    let host = Live::default();
    // A trial's files are readable only by root: to other users there would seem to be none.
    if !host.is_root() {
        return Err(trial::Refusal::not_root(host.rights()).into());
    }
    let (status, enforced) = trial::enforced(&host);
    let half_saved = trial::half_saved(&host);
    if as_json {
        print_exact(&json_line(&json_of(&status, &enforced, half_saved)))?;
    } else {
        let warning = half_saved.map_or_else(String::new, |h| format!("warning: {h}\n"));
        print(&(text_of(&status, &enforced) + &warning))?;
    }
    if status.unread.contains(&Family::V4) && (status.unread.contains(&Family::V6) || !has_ipv6(&host)) {
        return Err(Failure::new(Code::Unreadable, "the rules of this host could not be read", UNREAD_HINT).into());
    }
    Ok(exit_of(&enforced))
}

fn exit_of(enforced: &Enforced) -> u8 {
    if enforced.in_force.as_ref().is_none_or(|p| p.force.holds()) { 0 } else { NOT_IN_FORCE }
}

fn instant(second: i64) -> String {
    jiff::Timestamp::from_second(second).map(|t| t.to_string()).unwrap_or_default()
}

/// The plan that should be in force, in JSON: `in_force` is null if that is not known.
fn plan_of(p: &InForce) -> Value {
    let extent = p.force.extent();
    let (word, in_force) = match extent {
        Extent::Whole => ("whole", Some(true)),
        Extent::Part => ("part", Some(false)),
        Extent::None => ("none", Some(false)),
        Extent::Unknown => ("unknown", None),
    };
    let faults: Vec<Value> = p
        .force
        .faults
        .iter()
        .map(|f| json!({"code": f.code(), "family": f.family().label(), "message": f.says()}))
        .collect();
    json!({"trial": p.trial, "on_trial": p.on_trial, "in_force": in_force, "extent": word, "faults": faults})
}

fn json_of(s: &Status, enforced: &Enforced, half_saved: Option<String>) -> Value {
    let trial = s.trial.as_ref().map(|r| {
        let proof = s.proof.as_ref();
        let proof = proof.map(|p| json!({"user": p.user, "peer": p.peer, "operator": p.is_from(r.operator)}));
        json!({
            "id": r.id, "state": r.state().word(), "by": r.by.map(By::word), "began": instant(r.began),
            "ended": r.ended.map(instant), "why": r.why,
            "deadline": instant(r.deadline_on_the_wall()), "seconds_left": s.left, "operator": r.operator.to_string(),
            "guarded": s.guard.is_some(), "guard": s.guard.map(|w| json!({"pid": w.pid, "home": r.guard_home})),
            "proof": proof,
            "remarks": r.remarks,
            "verified": matches!((r.state(), r.by), (State::Reverted, Some(By::Operator | By::Guard)))
                .then_some(r.unverified.is_none()),
        })
    });
    let files: Vec<Value> =
        enforced.boot_files.iter().map(|f| json!({"path": f.path, "holds": f.holds.word()})).collect();
    json!({"version": 1, "trial": trial, "plan": enforced.in_force.as_ref().map(plan_of), "boot_files": files,
        "half_saved": half_saved,
        "unread": s.unread.iter().map(|f| if *f == Family::V4 { "ipv4" } else { "ipv6" }).collect::<Vec<_>>()})
}

fn text_of(s: &Status, enforced: &Enforced) -> String {
    let mut out = match &s.trial {
        Some(r) => trial_of(s, r),
        None => "no trial has been started here yet\n".to_owned(),
    };
    for family in &s.unread {
        let _ = writeln!(
            out,
            "warning: the {} rules could not be read, so it is not known whether they contain a trial",
            family.label()
        );
    }
    if let Some(p) = &enforced.in_force {
        match p.says() {
            Some(not) => {
                let _ = writeln!(out, "warning: {not}");
            }
            None if !p.on_trial => {
                let _ = writeln!(out, "the kept plan ({}) is in force", p.trial);
            }
            None => {}
        }
        if p.force.holds() {
            p.force.says().iter().for_each(|said| {
                let _ = writeln!(out, "note: {said}");
            });
        }
    }
    for (_, said) in BootFile::say(&enforced.boot_files) {
        let _ = writeln!(out, "warning: {said}");
    }
    out
}

fn trial_of(s: &Status, r: &Record) -> String {
    let mut out = String::new();
    match s.phase() {
        Some(phase) => {
            let _ = writeln!(
                out,
                "trial {} is {}: {} (begun {} by {})\n{}",
                r.id,
                r.state().word(),
                phase.says(),
                instant(r.began),
                r.operator,
                phase.commands()
            );
            match &s.proof {
                _ if !phase.keeps() => {}
                Some(p) => {
                    let _ = writeln!(
                        out,
                        "proof of access: {} logged in from {} under these rules{}",
                        p.user,
                        p.peer,
                        if r.operator.peer().is_none_or(|peer| peer == p.peer) {
                            ""
                        } else {
                            ", which is not where the operator comes from"
                        }
                    );
                }
                None if r.operator.needs_proof() => out.push_str("no proof of access yet: open a new SSH login\n"),
                None => {}
            }
            // If it is stuck or expired, the sentence already names the commands that end it.
            if !s.cut_short && !matches!(r.state(), State::Expired | State::Lost) {
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
    let mut out = format!(
        "no trial is pending; the last one, {}, was {}{}{}{}\n",
        r.id,
        r.state().word(),
        r.by.map_or_else(String::new, |b| format!(" by the {}", b.word())),
        r.ended.map_or_else(String::new, |t| format!(" at {}", instant(t))),
        r.why.as_ref().map_or_else(String::new, |w| format!(": {w}"))
    );
    if r.unverified.is_some() {
        out.push_str("the old rules were put back, but not verified; `portcullis revert` checks again\n");
    }
    out
}

fn guard_of(s: &Status, r: &Record) -> String {
    match (s.guard, r.guard_home, r.fuse) {
        (Some(w), Some(Home::Service), _) => {
            format!("guard: process {}, a systemd service, restarted if it dies", w.pid)
        }
        (Some(w), ..) => format!("guard: process {}, detached in its own session", w.pid),
        (None, _, Some(fuse)) => {
            format!("guard: dead; the kernel switches back to the old rules at {}", instant(fuse + 1))
        }
        (None, _, None) => "guard: dead, and the trial has no fuse: end it yourself".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::host::demo::{Breakage, Demo};
    use crate::host::{Cmd, Tools};
    use crate::model::Plan;
    use crate::model::trial::Allowed;

    #[test]
    fn keep_is_named_only_where_it_is_not_refused() {
        let host = Demo::new().with_guard(|host, id| {
            let _ = trial::guard::watch(&host, id, &AtomicBool::new(false));
        });
        let allowed = Allowed { replace: true, ..Allowed::default() };
        let options = trial::Options { allowed, ..trial::Options::default() };
        let plan: Plan = crate::syntax::plan::read(
            "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\"]\n",
        )
        .unwrap();
        trial::apply(&host, &plan, &options, &mut |_| {}).unwrap();
        let now = trial::status(&host);
        trial::revert(&host).unwrap();
        let text = |state, guarded: bool, fuse: bool| {
            let r = now.trial.as_ref().unwrap();
            let mut trial = r.clone().in_state(state);
            trial.fuse = r.fuse.filter(|_| fuse);
            text_of(
                &Status { trial: Some(trial), guard: now.guard.filter(|_| guarded), left: 30, ..now.clone() },
                &Enforced::default(),
            )
        };
        let running = text(State::Running, true, true);
        assert!(running.contains("come back in 30 s") && running.contains("`portcullis keep` keeps"), "{running}");
        for state in [State::Armed, State::Keeping, State::Reverting, State::Expired] {
            assert!(!text(state, true, true).contains("portcullis keep"), "{}", text(state, true, true));
        }
        let unwatched = text(State::Running, false, false);
        assert!(
            !unwatched.contains("come back in") && unwatched.contains("nothing brings the old rules back"),
            "{unwatched}"
        );
    }

    #[test]
    fn a_kept_plan_not_in_force_is_reported_in_text_json_and_exit_code() {
        let host = Demo::new().with_guard(|host, id| {
            let _ = trial::guard::watch(&host, id, &AtomicBool::new(false));
        });
        let plan: Plan = crate::syntax::plan::read(
            "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\"]\n",
        )
        .unwrap();
        let answer = || {
            let (status, enforced) = trial::enforced(&host);
            (exit_of(&enforced), text_of(&status, &enforced), json_of(&status, &enforced, None))
        };
        let (code, text, json) = answer();
        assert_eq!(
            (code, text.as_str(), &json["plan"], &json["boot_files"]),
            (0, "no trial has been started here yet\n", &Value::Null, &json!([]))
        );
        trial::apply(&host, &plan, &trial::Options::default(), &mut |_| {}).unwrap();
        assert_eq!((answer().0, answer().2["plan"]["on_trial"].as_bool()), (0, Some(true)));
        let id = trial::keep(&host, true).unwrap().id;
        let (code, text, json) = answer();
        assert!(code == 0 && text.ends_with(&format!("the kept plan ({id}) is in force\n")), "{text}");
        assert_eq!(
            json["plan"],
            json!({"trial": id, "on_trial": false, "in_force": true, "extent": "whole", "faults": []})
        );
        let load = |script: &str| {
            host.run(&Cmd::new("iptables-restore", &["--noflush"]).input(format!("*filter\n{script}\nCOMMIT\n")))
                .unwrap()
        };
        load("-I INPUT 1 -p tcp -m tcp --dport 111 -j ACCEPT");
        let (code, text, json) = answer();
        assert_eq!(
            (code, json["plan"]["in_force"].as_bool(), json["plan"]["faults"][0]["code"].as_str()),
            (6, Some(false), Some("overruled-open"))
        );
        assert!(
            text.contains(&format!(
                "warning: The kept plan ({id}) is only partly in force: before our IPv4 rules, \
            `-A INPUT -p tcp -m tcp --dport 111 -j ACCEPT`"
            )),
            "{text}"
        );
        load("-D INPUT -p tcp -m tcp --dport 111 -j ACCEPT");
        assert_eq!(answer().0, 0);
        host.break_reading(Family::V4, 1, Breakage::Fails);
        let (code, _, json) = answer();
        assert_eq!(
            (code, &json["plan"]["in_force"], json["plan"]["extent"].as_str()),
            (6, &Value::Null, Some("unknown"))
        );
    }
}
