//! Stories of a plan from its draft over the question and the trial to the save.

use super::*;
use crate::model::trial::State;
use crate::model::{BootFile, BootHolds, Code, View};
use crate::plan::{Enforced, InForce, judge};

/// The judgement of the trial that is shown, were the host as it is in a view.
fn void(c: &Cockpit, view: &View) -> Enforced {
    let sh = &c.app.shared;
    let on_trial = sh.facts.trial_runs();
    let families = crate::plan::build(
        sh.facts.seen.as_ref().map(|s| &s.view).unwrap(),
        sh.facts.trial.as_ref().unwrap().plan.as_ref().unwrap(),
    )
    .unwrap()
    .families;
    let force = judge(&families, on_trial, view);
    Enforced {
        in_force: Some(InForce { trial: sh.facts.trial.as_ref().unwrap().id.clone(), on_trial, force, saved: false }),
        boot_files: Vec::new(),
    }
}

/// The host that was seen last after somebody changed its IPv4 rules.
fn changed(c: &Cockpit, script: &str) -> View {
    let mut view = View::clone(&c.app.shared.facts.seen.as_ref().unwrap().view);
    view.v4.as_mut().unwrap().apply(&format!("*filter\n{script}\nCOMMIT\n")).unwrap();
    view
}

#[test]
fn a_plan_that_is_not_in_force() {
    pictures("void_plan", |c| {
        kept(c);
        c.press(&["esc", "3"]);
        c.until_shown("connected now");
        let view = changed(c, "-I INPUT 1 -p tcp -m tcp --dport 111 -j ACCEPT");
        let enforced = void(c, &view);
        c.app.reply(Reply::Enforced(enforced));
    });
    pictures("void_trial", |c| {
        on_trial(c);
        c.until(|a| {
            a.shared
                .facts
                .seen
                .as_ref()
                .is_some_and(|s| s.view.v4.as_ref().is_some_and(|v4| v4.chain("filter", "PORTCULLIS").is_some()))
        });
        let view = changed(c, "-D INPUT ! -i lo -j PORTCULLIS");
        let files = ["/etc/iptables/rules.v4", "/etc/iptables/rules.v6"]
            .map(|p| BootFile { path: p.into(), holds: BootHolds::Trial })
            .to_vec();
        let enforced = Enforced { boot_files: files, ..void(c, &view) };
        c.app.reply(Reply::Enforced(enforced));
    });
}

#[test]
fn the_guide_does_not_call_done_what_is_not_in_force() {
    let mut c = kept_by_the_guide();
    c.press(&["esc"]);
    let view = changed(&c, "-D INPUT ! -i lo -j PORTCULLIS");
    let enforced = void(&c, &view);
    c.app.reply(Reply::Enforced(enforced));
    assert!(
        c.picture().contains("Kept, but not in force.") && c.picture().contains("our jump to them"),
        "{}",
        c.picture()
    );
}

#[test]
fn what_was_saved_of_a_trial_can_be_written_anew_where_nothing_was_kept() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    c.press(&["r"]);
    c.until(|a| !a.shared.facts.trial_runs() && a.shared.facts.changing.is_none() && a.shared.facts.busy.is_none());
    assert!(c.press(&["esc", "4", "s"]).picture().contains("nothing was kept here"), "{}", c.picture());
    let saved = vec![BootFile { path: "/etc/iptables/rules.v4".into(), holds: BootHolds::Trial }];
    c.app.reply(Reply::Enforced(Enforced { boot_files: saved, ..Enforced::default() }));
    assert!(c.press(&["T"]).picture().contains("✗ /etc/iptables/rules.v4 holds rules of a trial"), "{}", c.picture());
    c.press(&["s"]);
    c.until_shown("Save to the rules that are loaded at boot");
}

#[test]
fn what_a_trial_that_runs_or_has_ended_says_of_its_plan_is_true() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    c.press(&["esc", "4"]);
    assert!(c.picture().contains("No trial has ended yet."), "{}", c.picture());
    // What was staged is taken back meanwhile.
    c.press(&["3", "u", "T", "r"]);
    c.until(|a| a.shared.facts.trial.as_ref().is_some_and(|t| t.state == State::Reverted) && at_rest(a));
    assert!(c.picture().contains("History (4) can stage the plan again"), "{}", c.picture());
}

#[test]
fn what_the_preview_exports_is_the_script_of_the_command_line() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["p", "text:192.0.2.11", "enter"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    c.press(&["3", "v", "e"]);
    // The worker must not write it.
    c.app.input(Input::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)));
    let view = c.app.shared.facts.seen.as_ref().unwrap().view.clone();
    let script = crate::plan::shell_script(&crate::plan::build(&view, &c.app.shared.staged.plan).unwrap());
    let exported = std::mem::take(&mut c.app.requests)
        .iter()
        .find_map(|r| if let Request::Export { text, .. } = r { Some(text.clone()) } else { None });
    assert_eq!(exported, Some(script));
}

#[test]
fn reading_the_difference_does_not_change_what_is_saved() {
    let mut c = Cockpit::demo(80, 24);
    kept(&mut c);
    c.press(&["esc", "4", "s"]);
    c.until_shown("rules.v4");
    c.press(&["down", "down", "pgdn", "up"]);
    assert!(c.picture().contains("● all but what managers"), "{}", c.picture());
    c.press(&["tab"]);
    assert!(c.picture().contains("● everything that is loaded"), "{}", c.picture());
}

#[test]
fn a_trial_that_has_expired_is_stuck_or_unwatched_is_not_shown_as_running() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    let running = c.app.shared.facts.trial.clone().unwrap();
    for (state, phase, says) in [
        (State::Expired, TrialPhase::Expired, "xpired: the kernel has switched back to the old"),
        (State::Reverting, TrialPhase::RevertCut, "everting: stuck half-way, the revert was cut short"),
        (State::Running, TrialPhase::Unwatched(0), "unning: nothing brings the old rules back"),
    ] {
        c.app.reply(Reply::Trial(Some(TrialSeen {
            state,
            phase: Some(phase),
            guarded: false,
            fuse: false,
            ..running.clone()
        })));
        let shown = c.press(&["esc", "esc", "1"]).picture();
        let guided = c.press(&["g"]).picture();
        let popup = c.press(&["enter"]).picture();
        for p in [&shown, &guided, &popup] {
            assert!(p.contains(says) && !p.contains("come back in") && !p.contains("The trial runs"), "{p}");
        }
        assert!(
            popup.contains("r  ")
                && !popup.contains("k  keeps")
                && !popup.contains("+  adds")
                && !popup.contains("the kernel does"),
            "{popup}"
        );
        c.press(&["k"]);
        assert!(c.app.requests.is_empty() && c.picture().contains("not now: "), "{}", c.picture());
    }
}

#[test]
fn a_plan_that_is_not_loaded_is_offered_and_not_called_kept() {
    let mut c = Cockpit::demo(80, 24);
    let view = c.app.shared.facts.seen.as_ref().unwrap().view.clone();
    kept(&mut c);
    c.press(&["esc", "3"]);
    c.until_shown("connected now");
    assert!(
        c.picture().contains("this plan is kept") && c.picture().contains("✓ what was kept is in force"),
        "{}",
        c.picture()
    );
    let enforced = void(&c, &view);
    c.app.reply(Reply::Enforced(enforced));
    c.app.reply(Reply::Seen(std::sync::Arc::new(planned::seen(view, Plan::default()))));
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan.rules.is_empty()));
    let picture = c.picture();
    assert!(picture.contains("A plan was kept that is not in force now: our chains are gone from IPv4"), "{picture}");
    assert!(
        picture.contains(" KEPT, BUT NOT IN FORCE: our chains are gone") && picture.contains("3 shows it"),
        "{picture}"
    );
    c.press(&["4"]);
    assert!(
        c.picture().contains("not in force now: our chains are gone") && !c.picture().contains("has not saved"),
        "{}",
        c.picture()
    );
    assert!(c.press(&["i"]).picture().contains("is not in force: our chains"), "{}", c.picture());
    c.press(&["esc", "T"]);
    assert!(c.picture().contains("✗ The plan is not in force: our chains are gone"), "{}", c.picture());
}

#[test]
fn the_save_popup_says_that_a_staged_plan_is_not_in_it() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["3", "s"]);
    assert!(c.picture().contains("nothing was kept here"), "{}", c.picture());
    c.press(&["4", "s"]);
    assert!(c.picture().contains("nothing was kept here"), "{}", c.picture());
    let mut c = Cockpit::demo(80, 24);
    kept(&mut c);
    c.press(&["esc", "1", "/", "text:cassandra", "enter", "d", "3", "s"]);
    assert!(
        c.picture().contains("The staged plan is not live and is not saved: apply it first (y)"),
        "{}",
        c.picture()
    );
}

#[test]
fn the_question_names_who_is_cut() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["/", "text:2049", "enter", "p", "text:192.0.2.11", "enter", "3"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    assert!(c.press(&["y"]).picture().contains("✗ connected now and blocked after: 192.0.2.12"), "{}", c.picture());
}

#[test]
fn no_key_is_silent_on_the_trial() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    c.until(proven);
    assert!(c.press(&["enter"]).picture().contains("k keeps, r reverts"), "{}", c.picture());
    assert!(c.press(&["esc", "g", "k"]).picture().contains("there k keeps it"), "{}", c.picture());
    assert!(c.picture().contains("root logged in from 10.0.0.5"), "{}", c.picture());
    c.press(&["enter", "r"]);
    c.until(|a| !a.shared.facts.trial_runs() && a.shared.facts.changing.is_none());
    c.app.shared.note = None;
    let ended = c.picture();
    assert!(ended.contains("This trial has ended") && !ended.lines().last().unwrap().contains("keep"), "{ended}");
    assert!(!c.press(&["enter"]).picture().contains("This trial has ended"), "{}", c.picture());
}

#[test]
fn what_was_kept_before_is_not_called_reverted() {
    let mut c = Cockpit::demo(80, 24);
    on_trial(&mut c);
    // As if another login had kept it before the answer to the key.
    for change in [Change::Keep { without_proof: true }, Change::Revert] {
        c.app.shared.ask(Request::Change(change));
    }
    let said = |a: &App| {
        a.shared.note.as_ref().is_some_and(|n| n.bad && n.text.contains("was kept before; nothing was reverted now"))
    };
    c.until(|a| a.shared.facts.trial.as_ref().is_some_and(TrialSeen::is_kept) && said(a));
}

#[test]
fn a_trial_that_begins_takes_no_keys_from_somebody_who_types() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["3", "y", "enter", "1", "p", "text:192.0."]);
    c.until(|a| a.shared.facts.trial_runs() && a.shared.facts.busy.is_none());
    let picture = c.picture();
    assert!(
        c.app.place() == Place::Nodes && picture.contains("192.0.") && picture.contains("the trial runs: T shows it"),
        "{picture}"
    );
    // Neither does it come up under the next keys.
    c.press(&["text:rk", "esc", "r", "k"]);
    assert!(
        c.app.shared.facts.trial_runs() && c.app.shared.facts.changing.is_none() && c.app.place() == Place::Services,
        "{}",
        c.picture()
    );
    assert_eq!(c.press(&["T"]).app.place(), Place::Trial);
}

#[test]
fn a_trial_that_begins_takes_no_keys_from_a_list() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["3", "y", "enter", "v", "j"]);
    c.until(|a| a.shared.facts.trial_runs() && a.shared.facts.busy.is_none());
    assert_eq!(c.press(&["k"]).app.place(), Place::Preview);
    assert!(c.app.shared.facts.changing.is_none());
}

#[test]
fn questions_wait_until_nobody_types() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["3", "y"]);
    c.app.act(Action::Accept);
    c.app.requests.clear();
    c.press(&["1", "p", "text:nfs"]);
    c.app.reply(Reply::Refused { what: "kept rules go".into(), hint: "look".into(), code: Code::Replace });
    assert!(
        c.picture().contains("The change was refused; nothing was changed: more when this is closed"),
        "{}",
        c.picture()
    );
    c.app.reply(drafted(a_draft()));
    assert!(c.app.place() == Place::Nodes && c.picture().contains("nfs"), "{}", c.picture());
    c.press(&["esc"]);
    assert!(c.picture().contains("A draft from an earlier session"), "{}", c.picture());
    c.press(&["esc"]);
    assert!(c.picture().contains("kept rules go"), "{}", c.picture());
    assert_eq!(c.press(&["esc"]).app.place(), Place::Services);
}

#[test]
fn a_plan_worked_out_for_an_older_look_is_not_shown_and_not_applied() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    let seen = c.app.shared.facts.seen.clone().unwrap();
    let view = std::sync::Arc::new((*seen.view).clone());
    c.app.reply(Reply::Seen(std::sync::Arc::new(planned::seen(view, seen.kept.clone()))));
    assert!(c.press(&["v"]).picture().contains("working it out"), "{}", c.picture());
    assert!(c.press(&["y"]).picture().contains("still being worked out"), "{}", c.picture());
}

#[test]
fn the_question_applies_what_it_was_asked_about() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    let (plan, view) = (c.app.shared.staged.plan.clone(), c.app.shared.facts.seen.as_ref().unwrap().view.clone());
    let applies = |c: &mut Cockpit| {
        c.app.act(Action::Accept);
        let found = c
            .app
            .requests
            .drain(..)
            .find_map(|r| if let Request::Change(Change::Apply { what, .. }) = r { Some(what) } else { None })
            .unwrap();
        assert!(found.plan == plan && std::sync::Arc::ptr_eq(&found.seen, &view), "{:?}", found.plan);
    };
    c.press(&["3", "y"]);
    applies(&mut c);
    // More is staged and the host looked at again before the answer is there, a question.
    c.app.shared.stage(|p| p.rules.truncate(1));
    c.press(&["R"]);
    c.until(|a| !std::sync::Arc::ptr_eq(&a.shared.facts.seen.as_ref().unwrap().view, &view));
    c.app.reply(Reply::Refused { what: "kept rules go".into(), hint: "look".into(), code: Code::Replace });
    assert!(c.picture().contains("Later changes to the plan are not part of it"), "{}", c.picture());
    applies(&mut c);
}

#[test]
fn the_plan_on_trial_is_no_draft_from_before() {
    let mut other = Cockpit::demo(80, 24);
    on_trial(&mut other);
    let trial = other.app.shared.facts.trial.clone().unwrap();
    let plan = trial.plan.clone().unwrap();
    let ended = |state| Reply::Trial(Some(TrialSeen { pending: false, phase: None, state, ..trial.clone() }));
    let asks = |c: &mut Cockpit, draft: &Plan, then: State| {
        c.app.reply(Reply::Trial(Some(trial.clone())));
        c.app.reply(drafted(draft.clone()));
        let during = c.picture();
        assert!(
            c.app.place() == Place::Trial && during.contains("comes back") | during.contains("come back"),
            "{during}"
        );
        c.app.reply(ended(then));
        assert_eq!(c.app.place(), Place::Trial, "a question lies over the trial's screen");
        c.press(&["esc"]);
        c.app.place() == Place::Choice
    };
    assert!(!asks(&mut Cockpit::demo(80, 24), &plan, State::Kept));
    let mut c = Cockpit::demo(80, 24);
    assert!(asks(&mut c, &plan, State::Reverted));
    assert!(c.picture().contains("None of its rules is kept."), "{}", c.picture());
    assert!(asks(&mut Cockpit::demo(80, 24), &a_draft(), State::Kept));
}

#[test]
fn a_draft_that_others_may_have_written_says_so_and_is_nobodys_first_choice() {
    let foreign = || {
        let mut reply = drafted(a_draft());
        if let Reply::Draft(d) = &mut reply {
            d.origin.path = "/srv/alice/.local/share/portcullis/draft-host-nfs1.toml".into();
            d.origin.whose = Whose::Other("alice".into());
        }
        reply
    };
    let mut c = Cockpit::demo(80, 24);
    let before = c.app.shared.staged.plan.clone();
    c.app.reply(foreign());
    let said = |c: &mut Cockpit| c.picture().replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = said(&mut c);
    for part in [
        "A draft that is not your own",
        "/srv/alice/.local/share/portcullis/draft-host-nfs1.toml",
        "of alice, 2 hours ago",
        "Others can write to this file",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    c.press(&["enter"]);
    assert!(c.app.shared.staged.plan == before && said(&mut c).contains("not staged"), "{}", c.picture());
    c.app.reply(foreign());
    c.press(&["down", "enter"]);
    assert!(c.app.shared.staged.plan == a_draft() && said(&mut c).contains("the draft is staged"), "{}", c.picture());
    // One's own is offered first, with its place.
    let mut c = Cockpit::demo(80, 24);
    c.app.reply(drafted(a_draft()));
    assert!(
        said(&mut c).contains("/root/.local/share/portcullis/draft-host-nfs1.toml, 2 hours ago"),
        "{}",
        c.picture()
    );
    c.press(&["enter"]);
    assert_eq!(c.app.shared.staged.plan, a_draft());
}

#[test]
fn a_draft_can_be_discarded_and_says_what_of_it_is_live() {
    let asked = |c: &mut Cockpit| c.app.requests.iter().any(|r| matches!(r, Request::StoreDraft(_)));
    let mut c = Cockpit::demo(80, 24);
    kept(&mut c);
    c.press(&["esc"]);
    let mut draft = c.app.shared.staged.plan.clone();
    let kept = draft.rules.len();
    draft.rules.extend(a_draft().rules);
    c.app.reply(drafted(draft.clone()));
    let said = c.picture().replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(&format!("Not all of it is live: {kept} of its rules are kept, 2 are not.")), "{said}");
    c.app.act(Action::Cancel);
    assert!(!asked(&mut c), "later: the draft stays");
    c.app.reply(drafted(draft));
    c.press(&["down"]);
    c.app.act(Action::Accept);
    assert!(asked(&mut c) && c.app.shared.note.as_ref().unwrap().text.contains("discarded"));
    // What is kept is no draft: the worker removes the file.
    assert!(!c.app.shared.plan_is_new());
    assert_eq!(c.app.place(), Place::Plan);
}

#[test]
fn the_way_on_from_a_lock_out_is_at_the_cursor() {
    let mut c = Cockpit::demo(80, 24);
    staged(&mut c);
    c.press(&["/", "text:22/tcp", "enter", "d", "3"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    let asked = c.press(&["y"]).picture();
    assert!(asked.contains("a on the Plan screen allows"), "{asked}");
    c.press(&["esc", "a"]);
    assert!(c.picture().contains("Who may use 22/tcp"), "{}", c.picture());
    c.press(&["tab", "enter"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    assert!(!c.press(&["y"]).picture().contains("lock me out"), "{}", c.picture());
}

#[test]
fn the_rule_that_shuts_the_operator_out() {
    let view = crate::observe::live::observe(&crate::host::demo::Demo::new());
    let at = |rules: &[(&str, &str, &str)]| {
        let text: String = rules
            .iter()
            .map(|(a, from, to)| format!("[[rule]]\naction = \"{a}\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\n"))
            .collect();
        crate::plan::shuts_out(&view, &crate::syntax::plan::read(&format!("version = 1\n{text}")).unwrap())
    };
    assert_eq!(at(&[("drop", "any", "nfs"), ("allow", "192.0.2.11", "22"), ("drop", "10.0.0.0/8", "22")]), Some(2));
    assert_eq!(at(&[("drop", "any", "nfs"), ("allow", "10.0.0.5", "22"), ("drop", "any", "22/tcp")]), None);
    assert_eq!(at(&[("drop", "any", "22/udp"), ("drop", "2001:db8::/32", "22/tcp")]), None);
}

#[test]
fn what_was_kept_and_not_saved_is_said_at_the_start() {
    let mut other = Cockpit::demo(80, 24);
    let fresh = other.app.shared.facts.seen.as_ref().unwrap().view.clone();
    kept(&mut other);
    let trial = other.app.shared.facts.trial.clone().unwrap();
    let said = |trial: &TrialSeen, enforced: Enforced| {
        let config = Config::usual(Theme { depth: Depth::Many, ground: Ground::Either, unicode: true, reader: false });
        let mut app = App::new(config, Rect::new(0, 0, 80, 24), false);
        let seen = other.app.shared.facts.seen.as_ref().unwrap();
        app.reply(Reply::Enforced(enforced));
        app.reply(Reply::Seen(std::sync::Arc::new(planned::seen(seen.view.clone(), seen.kept.clone()))));
        app.reply(Reply::Trial(Some(trial.clone())));
        let note = app.shared.note.unwrap();
        (note.bad, note.text)
    };
    let (bad, text) = said(&trial, Enforced::default());
    assert!(
        bad && text.contains("kept by the operator, but not saved for the next boot; 4 shows it, and s there saves it"),
        "{text}"
    );
    let (bad, text) = said(&trial, void(&other, &fresh));
    assert!(bad && text.contains("kept by the operator, but it is not in force; 4 shows it"), "{text}");
    let saved = BootFile { path: "/etc/iptables/rules.v4".into(), holds: BootHolds::Trial };
    let (bad, text) = said(
        &TrialSeen { saved: Some("2026".into()), ..trial.clone() },
        Enforced { boot_files: vec![saved], ..Enforced::default() },
    );
    assert!(bad && text.contains("4 shows it. /etc/iptables/rules.v4 holds rules of a trial"), "{text}");
    let (bad, text) = said(&TrialSeen { saved: Some("2026".into()), ..trial }, Enforced::default());
    assert!(!bad && text.ends_with("shows it"), "{text}");
}

#[test]
fn what_was_typed_before_a_refusal_is_not_asked_again() {
    let mut c = Cockpit::demo(120, 40);
    c.press(&["/", "text:22/tcp", "enter", "d", "3"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    let applies = |c: &mut Cockpit| {
        c.app.act(Action::Accept);
        c.app.requests.drain(..).any(|r| matches!(r, Request::Change(Change::Apply { .. })))
    };
    c.press(&["y", "text:lock me out"]);
    assert!(applies(&mut c));
    c.app.reply(Reply::Refused { what: "no dates".into(), hint: "look".into(), code: Code::NoFuse });
    let asked = c.picture();
    assert!(asked.contains("\"without fuse\"") && !asked.contains("\"lock me out\""), "{asked}");
    c.press(&["text:without fuse"]);
    assert!(applies(&mut c));
    c.app.reply(Reply::Refused { what: "kept rules go".into(), hint: "look".into(), code: Code::Replace });
    assert!(applies(&mut c), "a plain yes: {}", c.picture());
}
