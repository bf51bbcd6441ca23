//! Trials whose files are gone, or belong to another boot or network namespace: only the kernel, the history and the
//! running processes can tell about them.

use std::time::Duration;

use super::crash::{Dying, cure, gone, machine, options, rules};
use super::{Options, Reverted, apply, history, keep, record, revert};
use crate::host::demo::Demo;
use crate::host::{Cmd, Host, Identity, Tools};
use crate::model::trial::{Allowed, By, State};
use crate::model::{Code, Family, Ruleset};
use crate::syntax::iptables_save;

#[test]
fn dated_rules_alone_are_a_trial() {
    let host = machine(false, 0, false);
    let before = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.remove(&host.paths().run.join("trial.json")).unwrap();
    let seen = super::status(&host);
    assert_eq!((seen.trial.as_ref().unwrap().state(), seen.trial.unwrap().id.as_str()), (State::Running, "unrecorded"));
    assert!(seen.left > 50 && seen.left <= 66, "{}", seen.left);
    assert_eq!(apply(&host, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap_err().code, Code::Pending);
    assert_eq!(keep(&host, true).unwrap_err().code, Code::NoTrial);
    assert!(history::all(&host).is_empty());
    assert!(matches!(revert(&host), Ok(Reverted::Unrecorded(_))));
    assert_eq!(rules(&host), before);
    let past = history::all(&host);
    assert_eq!((past[0].state(), past[0].by), (State::Reverted, Some(By::Operator)), "{:?}", past[0].remarks);
}

/// The machine loses power: the run directory and the loaded rules are gone, boot loads what was there before.
fn boot(host: &Demo, before: &[Ruleset; 2]) -> Dying {
    let run = &host.paths().run;
    for name in host.list(run) {
        host.remove(&run.join(name)).unwrap();
    }
    for (tool, rules) in ["iptables-restore", "ip6tables-restore"].iter().zip(before) {
        host.run(&Cmd::new(tool, &[]).input(iptables_save::write(rules, true))).unwrap();
    }
    Dying::new(host, 0, false).at_home(Identity { boot_id: "later".to_owned(), ..host.identity() })
}

#[test]
fn a_trial_that_ran_when_the_power_went_is_known_at_the_next_start() {
    let host = machine(false, 0, false);
    let loaded = Family::BOTH.map(|f| host.loaded(f));
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    assert!(history::all(&host).is_empty(), "it still runs");
    let later = boot(&host, &loaded);
    let last = super::status(&later).trial.unwrap();
    for r in [&last, &history::all(&later)[0]] {
        assert_eq!((&r.id, r.state(), r.by), (&trial.id, State::Reverted, Some(By::Boot)));
        assert!(r.why.as_ref().unwrap().starts_with("the machine went down before the deadline (2"), "{:?}", r.why);
    }
}

#[test]
fn a_trial_of_another_namespace_that_shares_our_files_is_left_alone() {
    let host = machine(false, 0, false);
    let loaded = Family::BOTH.map(|f| host.loaded(f));
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let other = Demo::new();
    let copy = |name: &str| {
        other.write(&host.paths().run.join(name), &host.read(&host.paths().run.join(name)).unwrap(), 0o600).unwrap();
    };
    for name in host.list(&host.paths().run).iter().filter(|n| *n != "lock") {
        copy(name);
    }
    let there = Dying::new(&other, 0, false).at_home(Identity { netns: 2, ..host.identity() });
    let refused = [
        apply(&there, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap_err(),
        keep(&there, true).unwrap_err(),
        revert(&there).unwrap_err(),
    ];
    for e in refused {
        assert!(
            e.code == Code::Pending && e.what.starts_with("a trial is pending in another network namespace"),
            "{e:?}"
        );
    }
    assert_eq!((record::load(&there).unwrap().id, Family::BOTH.map(|f| other.loaded(f))), (trial.id, loaded));
    other.pass(Duration::from_secs(70));
    assert_eq!(keep(&there, true).unwrap_err().code, Code::NoTrial, "its guard is dead and its clock has run out");
}

#[test]
fn a_kept_trial_stays_kept_over_a_boot() {
    let host = machine(true, 0, false);
    let later = boot(&host, &Family::BOTH.map(|f| host.loaded(f)));
    let last = super::status(&later).trial.unwrap();
    assert_eq!((last.state(), last.by), (State::Kept, Some(By::Operator)));
}

#[test]
fn a_guard_whose_trial_was_ended_without_it_leaves_a_later_plan_alone() {
    let host = machine(false, 0, false);
    let first = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.remove(&host.paths().run.join("trial.json")).unwrap();
    assert!(matches!(revert(&host), Ok(Reverted::Unrecorded(_))));
    let second = apply(&host, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap();
    let running = rules(&host);
    // It slept until its own deadline, with the second trial running or kept.
    super::end::revert_by_guard(&host, &mut first.clone(), 0, Some("late")).unwrap();
    assert_eq!(rules(&host), running);
    keep(&host, true).unwrap();
    let kept = rules(&host);
    host.pass(Duration::from_secs(70));
    gone(&host, first.guard);
    super::end::revert_by_guard(&host, &mut first.clone(), 0, Some("late")).unwrap();
    let last = record::load(&host).unwrap();
    assert_eq!((&last.id, last.state(), rules(&host)), (&second.id, State::Kept, kept));
}

#[test]
fn a_guard_without_its_file_reverts_at_the_deadline_unless_that_was_done() {
    for done in [false, true] {
        let host = machine(false, 0, false);
        let before = rules(&host);
        let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        host.remove(&host.paths().run.join("trial.json")).unwrap();
        if done {
            assert!(matches!(revert(&host), Ok(Reverted::Unrecorded(_))));
            host.step_wall(3600);
        } else {
            assert_ne!(rules(&host), before);
        }
        host.pass(Duration::from_secs(61));
        gone(&host, trial.guard);
        assert_eq!(rules(&host), before, "{done}");
        assert_eq!(record::load(&host).is_none(), done);
    }
}

#[test]
fn a_trial_without_dates_and_without_its_file_is_known_by_the_history_and_the_kernel() {
    let without_dates = || Options { allowed: Allowed { without_fuse: true, ..options().allowed }, ..options() };
    for (dies, ends_by) in [(false, "keep"), (false, "revert"), (true, "keep"), (true, "revert"), (true, "nobody")] {
        let what = format!("guard dies: {dies}, {ends_by}");
        let host = machine(true, 0, false);
        let before = rules(&host);
        let trial = apply(&host, &cure("192.0.2.13"), &without_dates(), &mut |_| {}).unwrap();
        let file = host.paths().run.join("trial.json");
        if dies {
            // It ends without doing anything if the file belongs to a later trial.
            let mut later = record::load(&host).unwrap();
            "later".clone_into(&mut later.id);
            host.write(&file, &serde_json::to_vec(&later).unwrap(), 0o600).unwrap();
            gone(&host, trial.guard);
        }
        host.remove(&file).unwrap();
        let seen = super::status(&host);
        let shown = seen.trial.clone().unwrap();
        assert_eq!((&shown.id, shown.state(), seen.guard.is_some()), (&trial.id, State::Running, !dies), "{what}");
        assert!(shown.remarks.iter().any(|r| r.contains("its state file is gone")), "{what}: {:?}", shown.remarks);
        assert_eq!(
            apply(&host, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap_err().code,
            Code::Pending,
            "{what}"
        );
        let state = match ends_by {
            "keep" => keep(&host, true).unwrap().state(),
            "revert" => match revert(&host).unwrap() {
                Reverted::Trial(r) => r.state(),
                other => panic!("{what}: {other:?}"),
            },
            _ => State::Running,
        };
        let kept = state != State::Reverted;
        assert_eq!(state, if ends_by == "keep" { State::Kept } else { state }, "{what}");
        assert_eq!(rules(&host) == before, !kept, "{what}");
        assert_eq!(rules(&host).contains("192.0.2.13"), kept, "{what}");
        if ends_by != "nobody" {
            assert!(!super::status(&host).trial.unwrap().state().is_pending(), "{what}");
        }
    }
}

#[test]
fn a_guard_whose_own_file_is_gone_is_not_called_dead() {
    let host = machine(false, 0, false);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let file = host.paths().run.join(format!("guard-{}.json", trial.id));
    host.remove(&file).unwrap();
    assert_eq!(super::status(&host).guard, trial.guard);
    let end = host.now().boot + Duration::from_secs(20);
    while host.read(&file).is_err() {
        assert!(host.now().boot < end, "the guard writes it again");
        host.pause(Duration::from_millis(5));
    }
}
