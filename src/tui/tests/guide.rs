//! Stories of the guided steps.

use super::*;

#[test]
fn what_is_saved_on_another_screen_ends_the_guide_and_is_in_the_history() {
    let mut c = kept_by_the_guide();
    c.press(&["esc", "esc", "4"]);
    assert!(c.picture().contains("not saved it for the next boot: s does"), "{}", c.picture());
    c.press(&["s"]);
    c.until_shown("rules.v4");
    c.press(&["enter"]);
    c.until(|a| a.shared.note.as_ref().is_some_and(|n| n.text.starts_with("saved")));
    c.press(&["down"]);
    assert!(c.picture().contains("saved for the next boot at 2026"), "{}", c.picture());
    c.press(&["g"]);
    assert!(c.picture().contains("step 7 of 7"), "{}", c.picture());
}

#[test]
fn a_wrong_node_is_taken_out_in_the_guide() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.11 192.0.2.99", "enter"]);
    assert!(c.picture().contains("192.0.2.99"), "{}", c.picture());
    c.press(&["down", "x", "up"]);
    let nodes: Vec<String> =
        c.app.shared.staged.plan.rules.iter().flat_map(|r| r.from.iter().map(ToString::to_string)).collect();
    assert!(nodes.contains(&"192.0.2.11".into()) && !nodes.contains(&"192.0.2.99".into()), "{nodes:?}");
    c.press(&["x"]);
    assert!(c.picture().contains("Nobody yet"), "{}", c.picture());
    // What is protected stays so for everybody.
    assert!(
        c.app.shared.staged.plan.rules.iter().all(|r| r.action == crate::model::Action::Drop),
        "{:?}",
        c.app.shared.staged.plan
    );
}

#[test]
fn the_guide_comes_back_where_it_was_left() {
    let mut c = Cockpit::demo(80, 24);
    c.press(&["g", "enter", "down", " ", "esc"]);
    assert!(!c.picture().contains("step 2"));
    let again = c.press(&["g"]).picture();
    assert!(
        again.contains("step 2 of 7") && again.contains("[ ] nfs, nfs_acl ") && again.contains("[x] mountd"),
        "{again}"
    );
}

#[test]
fn the_guide_is_done_when_it_was_saved_on_the_trial_screen() {
    let mut c = kept_by_the_guide();
    c.press(&["s"]);
    c.until_shown("rules.v4");
    c.press(&["enter"]);
    c.until(|a| a.shared.note.as_ref().is_some_and(|n| n.text.starts_with("saved")));
    assert!(c.picture().contains("live, and in the boot-time rules"), "{}", c.picture());
    assert!(c.press(&["esc"]).picture().contains("step 7 of 7"), "{}", c.picture());
    c.press(&["enter", "T"]);
    assert!(c.picture().contains("live, and in the boot-time rules"), "{}", c.picture());
    c.press(&["enter"]);
    assert!(c.press(&["g"]).picture().contains("step 7 of 7"), "{}", c.picture());
    assert!(c.press(&["backspace"]).picture().contains("A plan is kept here already"), "{}", c.picture());
}

#[test]
fn what_the_guide_recommends_has_no_dead_rules() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    assert!(c.press(&["enter"]).picture().contains("[x] nfs, nfs_acl "), "{}", c.picture());
    c.press(&["enter", "enter", "text:192.0.2.11", "enter", "enter"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    let dead = |a: &App| {
        a.shared
            .facts
            .planned
            .as_ref()
            .unwrap()
            .after
            .as_ref()
            .unwrap()
            .shadowed
            .iter()
            .filter(|s| s.at.chain.starts_with("PORTCULLIS"))
            .count()
    };
    assert_eq!(dead(&c.app), 0);
    assert!(c.picture().contains("nfs_acl 2049/tcp       IPv4   ● anyone     → ◐ 1 address"), "{}", c.picture());
    // And what is protected alone later joins the rules that are there.
    c.press(&["esc", "1", "/", "text:nfs_acl", "enter", "p", "text:192.0.2.12", "enter"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    assert_eq!(dead(&c.app), 0);
    let rules: Vec<String> = c
        .app
        .shared
        .staged
        .plan
        .rules
        .iter()
        .map(|r| crate::tui::screens::plan::rule_words(r, "to"))
        .filter(|r| r.contains("nfs"))
        .collect();
    assert_eq!(rules, ["allow 192.0.2.11, 192.0.2.12 to nfs", "drop any to nfs"]);
}

#[test]
fn on_captured_text_the_guide_ends_with_the_script() {
    let texts = [
        ("rules", include_str!("../../../assets/demo/iptables-save.txt")),
        ("rpc", include_str!("../../../assets/demo/rpcinfo-p.txt")),
    ];
    let inputs =
        texts.map(|(name, text)| crate::observe::capture::Input { name: name.into(), text: text.into(), family: None });
    let view = crate::observe::capture::captured(&inputs);
    let mut c = Cockpit::on(Subject::Captured(Box::new(view)), 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.9", "enter", "enter"]);
    assert!(c.picture().contains("This is captured text, not a host."), "{}", c.picture());
    assert!(c.press(&["enter"]).picture().contains("Preview: what the plan"), "{}", c.picture());
}

#[test]
fn the_guide_shows_a_trial_that_another_login_began() {
    let mut other = Cockpit::demo(80, 24);
    on_trial(&mut other);
    let trial = other.app.shared.facts.trial.clone();
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    assert!(c.picture().contains("step 1 of 7"), "{}", c.picture());
    c.app.reply(Reply::Trial(trial));
    let picture = c.picture();
    assert!(picture.contains("step 5 of 7") && picture.contains("The trial runs:"), "{picture}");
}

#[test]
fn the_guide_does_not_end_before_boot_loads_the_rules() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.11", "enter", "enter"]);
    c.until(|a| a.shared.facts.planned.as_ref().is_some_and(|p| p.plan == a.shared.staged.plan));
    c.press(&["enter", "enter"]);
    c.until(|a| a.shared.facts.trial_runs() && a.shared.facts.busy.is_none());
    c.app.reply(Reply::Saved(
        "saved all but what managers rebuild: wrote it".into(),
        Some("Nothing loads these files at boot: install it.".into()),
    ));
    let note = c.app.shared.note.take().unwrap();
    assert!(note.bad, "a tick: {}", note.text);
    let picture = c.press(&["esc"]).picture();
    assert!(picture.contains("step 7 of 7") && picture.contains("these files at boot: install it."), "{picture}");
    assert!(!picture.contains("kept and saved"), "{picture}");
}

#[test]
fn the_guide_shows_all_that_is_open_and_cuts_nothing() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    let first = c.picture();
    assert!(first.contains("below") && !first.contains("Services (1) shows all") && !first.contains('…'), "{first}");
    let seen = c.app.shared.facts.seen.clone().unwrap();
    let mut all = first;
    for _ in 0..seen.report.endpoints.len() {
        all.push_str(&c.press(&["down"]).picture());
    }
    assert!(all.contains("above") && !all.contains('…'), "{all}");
    for j in seen.report.endpoints.iter().filter(|j| j.exposure.iter().flatten().any(|x| !x.reach.accepted.is_empty()))
    {
        assert!(all.contains(&j.endpoint.label()), "{} is not in\n{all}", j.endpoint.label());
    }
}

#[test]
fn no_way_into_an_action_passes_by_the_one_answer_whether_it_works() {
    let mut c = Cockpit::on(Subject::Demo, 80, 24, true);
    c.press(&["enter", "enter", "enter", "text:192.0.2.11", "enter", "enter"]);
    c.until(|a| crate::tui::applying::current(&a.shared).is_some());
    assert!(c.picture().contains("step 4 of 7"), "{}", c.picture());
    let busy = |c: &mut Cockpit, keeping: Option<&str>| c.app.shared.facts.changing = keeping.map(Into::into);
    busy(&mut c, Some("keeping"));
    assert!(c.press(&["enter"]).picture().contains("not now: busy: keeping"), "{}", c.picture());
    assert_eq!(c.app.place(), Place::Guide);
    // By the mouse as well.
    busy(&mut c, None);
    c.press(&["down"]);
    busy(&mut c, Some("keeping"));
    assert!(c.click("apply on trial").picture().contains("not now: busy: keeping"), "{}", c.picture());
    busy(&mut c, None);
    assert_eq!(c.press(&["enter"]).app.place(), Place::Choice);
}
