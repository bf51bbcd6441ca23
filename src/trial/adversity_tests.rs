//! Trials under adverse conditions: the clock, the tools, the files, or a second trial. Crashes are tested in
//! [`super::crash`].

use crate::model::Code;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::crash::{Dying, cure, gone, machine, options, rules, settled};
use super::{apply, back, extend, history, keep, record, revert};
use crate::host::demo::{Breakage, Demo};
use crate::host::{Cmd, Host, Tools};
use crate::model::trial::{Allowed, By, State};
use crate::model::{Family, Operator, Ruleset};

#[test]
fn an_extension_needs_a_new_login_and_ends_at_an_hour() {
    let host = machine(false, 0, false).with_second_login(|_| true);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    assert_eq!(keep(&host, false).unwrap_err().code, Code::NoProof);
    host.pass(Duration::from_secs(5));
    assert!(super::proof(&host, &record::load(&host).unwrap()).is_some());
    let longer = extend(&host).unwrap();
    assert_eq!(longer.deadline, trial.deadline + 60_000);
    assert_eq!(longer.fuse.unwrap() - trial.fuse.unwrap(), 60);
    assert_eq!(keep(&host, false).unwrap_err().code, Code::NoProof);
    while extend(&host).is_ok() {}
    assert_eq!(extend(&host).unwrap_err().code, Code::TooLong);
    assert!(record::load(&host).unwrap().left(host.now().boot) <= 3600);
    host.pass(Duration::from_secs(5));
    assert_eq!(keep(&host, false).unwrap().proof.unwrap().peer, IpAddr::from([10, 0, 0, 5]));
}

#[test]
fn the_fuse_follows_the_wall_clock_and_a_passed_one_is_never_shown_as_running() {
    for step in [3600, -3600, 5, -5] {
        let host = machine(false, 0, false);
        let before = rules(&host);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        let set = record::load(&host).unwrap().fuse.unwrap();
        host.step_wall(step);
        let end = host.now().boot + Duration::from_secs(20);
        while record::load(&host).unwrap().fuse != Some(set + step) {
            // A fuse that has passed in the meantime is not a running trial.
            let shown = super::status(&host).trial.unwrap();
            assert!(shown.state() == State::Expired || host.now().wall <= shown.fuse.unwrap());
            assert!(host.now().boot < end, "{step}: {:?}", record::load(&host));
            host.pause(Duration::from_millis(5));
        }
        assert_eq!(super::status(&host).trial.unwrap().state(), State::Running);
        settled(&host);
        assert_eq!(rules(&host), before, "{step}");
    }
}

#[test]
fn a_fuse_that_cannot_follow_the_clock_ends_the_trial() {
    let host = machine(false, 0, false);
    let before = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.break_tool("iptables-restore", 1);
    host.step_wall(-3600);
    let end = host.now().boot + Duration::from_secs(20);
    while record::load(&host).unwrap().state() != State::Reverted {
        assert!(host.now().boot < end, "{:?}", record::load(&host));
        host.pause(Duration::from_millis(5));
    }
    assert_eq!(rules(&host), before);
}

#[test]
fn the_last_resort_is_the_snapshot_and_what_it_touched_is_reported() {
    let host = machine(false, 0, false);
    let before = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.run(
        &Cmd::new("iptables-restore", &["--noflush"]).input("*filter\n-A INPUT -s 203.0.113.9/32 -j DROP\nCOMMIT\n"),
    )
    .unwrap();
    host.break_tool("iptables-restore --noflush", u32::MAX);
    settled(&host);
    let ended = record::load(&host).unwrap();
    assert_eq!((ended.state(), rules(&host)), (State::Reverted, before));
    assert!(
        ended.remarks.iter().any(|r| r == "lost with it: -A INPUT -s 203.0.113.9/32 -j DROP"),
        "{:?}",
        ended.remarks
    );
}

/// The rules without chain declarations: an empty chain decides nothing.
fn put_in(text: &str) -> Vec<&str> {
    text.lines().filter(|l| l.starts_with("-A ")).collect()
}

#[test]
fn old_rules_that_cannot_be_read_back_are_in_force_all_the_same() {
    for how in [Breakage::Fails, Breakage::PrintsNothing, Breakage::Hangs] {
        for by_guard in [true, false] {
            for (family, of) in [("iptables-save", Family::V4), ("ip6tables-save", Family::V6)] {
                let host = machine(true, 0, false);
                let kept = rules(&host);
                let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
                host.break_reading(of, u32::MAX, how);
                let what = format!("{how:?} {family}, guard: {by_guard}");
                thread::scope(|s| {
                    if by_guard {
                        host.pass(Duration::from_secs(61));
                    }
                    s.spawn(|| {
                        for _ in 0..20 {
                            host.pause(Duration::from_millis(20));
                            host.pass(Duration::from_secs(1));
                        }
                    });
                    if by_guard {
                        gone(&host, trial.guard);
                    } else {
                        assert_eq!(revert(&host).unwrap_err().code, Code::Unverified, "{what}");
                    }
                });
                let ended = record::load(&host).unwrap();
                assert_eq!(
                    (ended.state(), ended.by),
                    (State::Reverted, Some(if by_guard { By::Guard } else { By::Operator })),
                    "{what}"
                );
                assert!(ended.unverified.is_some_and(|why| why.contains(family)), "{what}: {:?}", ended.remarks);
                assert!(host.announced().iter().any(|a| a.contains("but could not be read back")), "{what}");
                assert_eq!(put_in(&rules(&host)), put_in(&kept), "{what}: the kept plan is in force");
                assert!(super::status(&host).trial.is_some_and(|t| t.unverified.is_some()), "{what}");
                // Still unreadable, then readable again.
                assert_eq!(revert(&host).unwrap_err().code, Code::Unverified, "{what}");
                host.break_reading(of, 0, how);
                assert!(matches!(revert(&host), Ok(super::Reverted::Trial(r)) if r.unverified.is_none()), "{what}");
                assert_eq!((rules(&host), record::load(&host).unwrap().unverified), (kept, None), "{what}");
                assert!(matches!(revert(&host), Ok(super::Reverted::EndedBefore(_))), "{what}");
            }
        }
    }
}

/// However many rules others have loaded, our own chains are enough.
#[test]
fn a_trial_is_watched_extended_kept_and_reverted_without_reading_the_rules_of_others() {
    for ends in [false, true] {
        let host = machine(ends, 0, false);
        let before = rules(&host);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        for tool in Family::BOTH.map(|f| f.tool("-save")) {
            host.break_tool(&tool, u32::MAX);
        }
        let in_force = |on_trial: bool| {
            let (status, enforced) = super::enforced(&host);
            assert_eq!(status.unread, []);
            let now = enforced.in_force.unwrap();
            assert!(now.on_trial == on_trial && now.force.holds(), "{now:?}");
            status.trial.unwrap()
        };
        assert_eq!((in_force(true).state(), in_force(true).remarks), (State::Running, Vec::<String>::new()));
        extend(&host).unwrap();
        if ends {
            let kept = keep(&host, true).unwrap();
            assert!(!kept.remarks.iter().any(|r| r.contains("could not")), "{:?}", kept.remarks);
            assert_eq!(in_force(false).state(), State::Kept);
        } else {
            revert(&host).unwrap();
            assert_eq!(super::status(&host).trial.unwrap().unverified, None);
            for tool in Family::BOTH.map(|f| f.tool("-save")) {
                host.break_tool(&tool, 0);
            }
            assert_eq!(rules(&host), before);
        }
    }
}

#[test]
fn a_reading_that_fails_for_a_while_is_tried_again() {
    let host = machine(true, 0, false);
    let kept = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.break_reading(Family::V4, 3, Breakage::PrintsNothing);
    revert(&host).unwrap();
    assert_eq!((rules(&host), record::load(&host).unwrap().unverified), (kept, None));
}

#[test]
fn a_reading_that_hangs_does_not_hold_up_the_other_family_or_the_deadline() {
    let host = machine(false, 0, false).with_second_login(|_| true);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    for family in Family::BOTH {
        host.break_reading(family, u32::MAX, Breakage::Hangs);
    }
    // The guard sees the second login and reads whether the trial's rules are live.
    host.pass(Duration::from_secs(58));
    let blocked =
        |host: &Demo, family| host.loaded(family).chain("filter", "PORTCULLIS-A").is_some_and(|c| !c.rules.is_empty());
    while Family::BOTH.iter().any(|&f| blocked(&host, f)) {
        let late = host.now().boot.saturating_sub(Duration::from_millis(trial.deadline));
        assert!(late < Duration::from_secs(5), "{late:?}: {:?}", record::load(&host));
        host.pause(Duration::from_millis(2));
    }
    gone(&host, trial.guard);
    assert!(record::load(&host).unwrap().unverified.is_some());
}

#[test]
fn a_restore_that_is_killed_may_have_done_its_work() {
    let host = machine(true, 0, false);
    let kept = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    // It hangs before it does anything: reading back shows that, and the next attempt succeeds.
    host.break_tool_so("iptables-restore", 1, Breakage::Hangs);
    assert!(revert(&host).unwrap_err().what.contains("did not answer"));
    settled(&host);
    assert_eq!((rules(&host), record::load(&host).unwrap().state()), (kept, State::Reverted));
}

#[test]
fn a_revert_needs_no_file_and_the_kernel_overrides_the_file() {
    for second in [false, true] {
        for by_guard in [false, true] {
            let host = machine(second, 0, false);
            let before = rules(&host);
            let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
            host.read_only(Some(&host.paths().run));
            assert_eq!(keep(&host, true).unwrap_err().code, Code::RunDir);
            assert_eq!(super::status(&host).trial.unwrap().state(), State::Running);
            if by_guard {
                host.pass(Duration::from_secs(61));
                gone(&host, trial.guard);
            } else {
                let Ok(super::Reverted::Trial(r)) = revert(&host) else { panic!("not reverted") };
                assert!(r.remarks.iter().any(|m| m.contains("could not be written")), "{:?}", r.remarks);
            }
            assert_eq!((rules(&host), record::load(&host).unwrap().state()), (before.clone(), State::Running));
            let seen = super::status(&host).trial.unwrap();
            assert_eq!((seen.state(), seen.by), (State::Reverted, None));
            assert!(seen.why.unwrap().contains("though the state file says running"));
            host.read_only(None);
            if !by_guard {
                // The deadline has not passed yet.
                assert_eq!(
                    [keep(&host, true).map(|_| ()), extend(&host).map(|_| ())].map(|r| r.unwrap_err().code),
                    [Code::NotLive; 2]
                );
            }
            assert_eq!((rules(&host), super::status(&host).trial.unwrap().state()), (before.clone(), State::Reverted));
            apply(&host, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap();
            revert(&host).unwrap();
            assert_eq!(rules(&host), before);
        }
    }
}

#[test]
fn a_revert_that_could_not_record_its_end_is_not_shown_as_cut_short() {
    let host = machine(true, 0, false);
    let kept = rules(&host);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    // Steps: the lock, the state, both families.
    let dying = Dying::new(&host, 5, false);
    host.end_process(trial.guard.unwrap().pid);
    assert!(catch_unwind(AssertUnwindSafe(|| revert(&dying))).is_err());
    assert_eq!(record::load(&host).unwrap().state(), State::Reverting);
    assert_eq!((super::status(&host).trial.unwrap().state(), put_in(&rules(&host))), (State::Reverted, put_in(&kept)));
}

#[test]
fn a_trial_whose_rules_were_removed_is_not_running() {
    let wipe = |host: &Demo| {
        for family in Family::BOTH {
            host.run(&Cmd::new(&family.tool("-restore"), &[]).input("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")).unwrap();
        }
    };
    let host = machine(false, 0, false);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.run(&Cmd::new("iptables-restore", &[]).input("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")).unwrap();
    let half = super::status(&host).trial.unwrap();
    assert!(
        half.state() == State::Running
            && half.remarks.iter().any(|r| r.contains("the IPv4 rules of the trial are no longer loaded")),
        "{:?}",
        half.remarks
    );
    wipe(&host);
    assert_eq!(super::status(&host).trial.unwrap().state(), State::Reverted, "nothing was there before");
    let host = machine(true, 0, false);
    let kept = host.loaded(Family::V4);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    wipe(&host);
    let seen = super::status(&host);
    assert_eq!((seen.phase(), seen.trial.unwrap().state()), (Some(crate::model::TrialPhase::Lost), State::Lost));
    assert_eq!(keep(&host, true).unwrap_err().code, Code::NotLive);
    settled(&host);
    let chains = |set: &Ruleset| {
        set.table("filter")
            .unwrap()
            .chains
            .iter()
            .filter(|c| c.name.starts_with("PORTCULLIS"))
            .map(|c| c.rules.len())
            .sum::<usize>()
    };
    assert_eq!(
        (record::load(&host).unwrap().state(), chains(&host.loaded(Family::V4))),
        (State::Reverted, chains(&kept))
    );
}

#[test]
fn a_process_stopped_before_its_first_write_does_not_overwrite_the_end() {
    let host = machine(true, 0, false);
    let before = rules(&host);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let go = Arc::new(AtomicBool::new(false));
    // Both locks are taken; the next step writes down the holder.
    let slow = Dying::stopped(&host, 3, &go);
    thread::scope(|s| {
        let keeps = s.spawn(|| catch_unwind(AssertUnwindSafe(|| keep(&slow, true))));
        while slow.steps() < 3 {
            host.pause(Duration::from_millis(2));
        }
        host.pass(Duration::from_secs(61));
        gone(&host, trial.guard);
        assert_eq!(record::load(&host).unwrap().state(), State::Reverted);
        go.store(true, Ordering::Relaxed);
        assert!(keeps.join().unwrap().is_err(), "the guard ended it");
    });
    assert_eq!((record::load(&host).unwrap().state(), rules(&host)), (State::Reverted, before));
    for late in [State::Running, State::Keeping, State::Kept, State::Reverting] {
        assert!(
            record::store(&host, &trial.clone().in_state(late)).unwrap_err().contains("it is reverted"),
            "{late:?}"
        );
    }
    assert_eq!(record::load(&host).unwrap().state(), State::Reverted);
}

#[test]
fn waiting_for_the_xtables_lock_is_announced_with_what_follows() {
    let host = machine(true, 0, false);
    let kept = rules(&host);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let lock = host.fork().lock(Path::new("/run/xtables.lock"), Duration::ZERO).unwrap();
    host.break_tool_so("iptables-restore", 4, Breakage::Locked);
    let mut messages = Vec::new();
    super::revert_telling(&host, &mut |what| messages.push(what.to_owned())).unwrap();
    assert!(
        messages.len() == 1 && messages[0].contains("(`portcullis`) holds the xtables lock; waiting for it up to 1"),
        "{messages:?}"
    );
    assert!(
        messages[0].contains("(the guard keeps trying; the kernel itself goes back to the old rules in "),
        "{messages:?}"
    );
    assert_eq!((rules(&host), record::load(&host).unwrap().by), (kept.clone(), Some(By::Operator)));
    gone(&host, trial.guard);
    // The lock is held for too long: the guard goes on, and empties nothing.
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let running = rules(&host);
    host.break_tool_so("iptables-restore", u32::MAX, Breakage::Locked);
    host.break_tool_so("ip6tables-restore", u32::MAX, Breakage::Locked);
    let refused = revert(&host).unwrap_err();
    assert!(
        refused.what.contains("holds the xtables lock") && refused.hint.starts_with("the guard keeps trying"),
        "{refused:?}"
    );
    assert_eq!(rules(&host), running);
    drop(lock);
    host.break_tool("iptables-restore", 0);
    host.break_tool("ip6tables-restore", 0);
    gone(&host, trial.guard);
    assert_eq!((rules(&host), record::load(&host).unwrap().state()), (kept, State::Reverted));
}

#[test]
fn a_revert_waits_for_another_change_and_names_its_process() {
    let host = machine(false, 0, false);
    let before = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let other = host.fork();
    let lock = record::lock(&other, Duration::ZERO).unwrap().unwrap();
    let mut messages = Vec::new();
    let refused = thread::scope(|s| {
        s.spawn(|| {
            for _ in 0..16 {
                host.pause(Duration::from_millis(100));
                host.pass(Duration::from_secs(1));
            }
        });
        super::revert_telling(&host, &mut |what| messages.push(what.to_owned())).unwrap_err()
    });
    let name = format!("process {} (`portcullis`) is changing the firewall right now", other.me().0);
    assert!(messages.len() == 1 && messages[0].starts_with(&name), "{messages:?}");
    assert_eq!((refused.code, refused.what), (Code::Busy, name));
    assert_ne!(rules(&host), before);
    drop(lock);
    revert(&host).unwrap();
    assert_eq!(rules(&host), before);
}

#[test]
fn a_guard_does_not_end_another_revert() {
    for (kind, dies) in [(State::Reverting, false), (State::Keeping, true)] {
        let host = machine(true, 0, false);
        let before = rules(&host);
        let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        let other = host.fork();
        let (pid, started) = other.me();
        let lock =
            if dies { record::lock(&other, Duration::ZERO) } else { record::lock_to_go_back(&other, Duration::ZERO) }
                .unwrap()
                .unwrap();
        let mut theirs = trial.clone().in_state(kind);
        theirs.holder = Some(record::Who { pid, started });
        record::store(&other, &theirs).unwrap();
        host.pass(Duration::from_secs(61));
        gone(&host, trial.guard);
        assert_eq!((host.alive(pid, started), rules(&host)), (!dies, before), "{kind:?}");
        // It finishes too: the recorded end is not overwritten.
        drop(lock);
        let mut late = trial.in_state(State::Reverting);
        back::put_old_back(&other, &mut late, By::Operator, &mut back::Caller::Guard(0)).unwrap();
        assert_eq!((late.by, record::load(&host).unwrap().by), (Some(By::Guard), Some(By::Guard)));
    }
}

#[test]
fn an_extension_that_fails_in_one_family_leaves_both_with_the_first_deadline() {
    for tool in ["iptables-restore", "ip6tables-restore"] {
        let host = machine(false, 0, false);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        let (before, first) = (rules(&host), record::load(&host).unwrap());
        host.break_tool(tool, 1);
        assert_eq!(extend(&host).unwrap_err().code, Code::ExtendFailed);
        let still = record::load(&host).unwrap();
        assert_eq!((rules(&host), still.deadline, still.fuse), (before, first.deadline, first.fuse), "{tool}");
        // A tool that keeps failing leaves one family with the later date: the error says so.
        host.break_tool(tool, u32::MAX);
        let why = extend(&host).unwrap_err().what;
        assert!(why.contains("may have dates a minute later than the guard's deadline"), "{why}");
        host.break_tool(tool, 0);
        extend(&host).unwrap();
    }
}

#[test]
fn why_a_trial_ended_is_written_down() {
    let ended = |end: &dyn Fn(&Demo)| {
        let host = machine(false, 0, false);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        end(&host);
        settled(&host);
        let last = history::all(&host).remove(0);
        assert!(last.ended.is_some());
        last.why.unwrap()
    };
    assert_eq!(ended(&|h| h.pass(Duration::from_secs(61))), "it was not kept before the deadline");
    assert_eq!(
        ended(&|h| {
            keep(h, true).unwrap();
        }),
        "it was kept without proof of access"
    );
    assert_eq!(
        ended(&|h| {
            revert(h).unwrap();
        }),
        "a revert was requested"
    );
    let dies = |h: &Demo| {
        // Steps: the locks, the holder, then the state.
        let dying = Dying::new(h, 4, true);
        assert!(catch_unwind(AssertUnwindSafe(|| keep(&dying, true))).is_err());
    };
    assert_eq!(ended(&dies), "the process that was changing its rules died half-way");
    let steps = |h: &Demo| {
        h.break_tool("iptables-restore", 1);
        h.step_wall(-3600);
    };
    assert_eq!(ended(&steps), "the clock was set, and the kernel's dates could not follow");
}

#[test]
fn the_guard_continues_a_failed_revert_at_once() {
    let host = machine(true, 0, false);
    let kept = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    // Both the refill and the emptying of one family fail; the caller lives on, as a cockpit does.
    host.break_tool("ip6tables-restore", 2);
    assert_eq!(revert(&host).unwrap_err().code, Code::RevertFailed);
    let end = host.now().boot + Duration::from_secs(20);
    while record::load(&host).unwrap().state() != State::Reverted {
        assert!(host.now().boot < end, "{:?}", record::load(&host));
        host.pause(Duration::from_millis(5));
    }
    assert_eq!(rules(&host), kept);
    assert!(record::load(&host).unwrap().left(host.now().boot) > 30, "long before the deadline");
}

#[test]
fn an_extension_while_the_guard_waits_for_the_lock_counts() {
    let host = machine(false, 0, false);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let live = rules(&host);
    let mut late = trial.clone();
    let lock = record::lock(&host, Duration::ZERO).unwrap().unwrap();
    host.pass(Duration::from_secs(61));
    thread::scope(|s| {
        let guard = s.spawn(|| super::end::revert_by_guard(&host, &mut late, 0, None));
        let mut longer = trial.clone();
        longer.deadline += 60_000;
        record::store(&host, &longer).unwrap();
        drop(lock);
        assert_eq!(guard.join().unwrap().unwrap(), super::end::ByGuard::Extended);
    });
    let now = record::load(&host).unwrap();
    assert_eq!((now.state(), rules(&host)), (State::Running, live));
    settled(&host);
    assert_eq!(record::load(&host).unwrap().state(), State::Reverted);
}

#[test]
fn a_passed_fuse_gets_no_more_time() {
    let host = machine(false, 0, false);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    // The lock keeps the guard from following the clock.
    let lock = record::lock(&host, Duration::ZERO).unwrap();
    host.step_wall(3600);
    assert_eq!(super::status(&host).trial.unwrap().state(), State::Expired);
    drop(lock);
    host.end_process(trial.guard.unwrap().pid);
    assert_eq!(extend(&host).unwrap_err().code, Code::TooLate);
    revert(&host).unwrap();
}

#[test]
fn too_late_is_too_late() {
    let host = machine(false, 0, false);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.pass(Duration::from_millis(57_500));
    assert_eq!(keep(&host, true).unwrap_err().code, Code::TooLate);
    settled(&host);
    assert_eq!(keep(&host, true).unwrap_err().code, Code::NoTrial);
}

#[test]
fn a_refused_keep_does_not_take_over_one_that_was_cut_short() {
    let host = machine(false, 0, false);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let held = record::lock(&host, Duration::ZERO).unwrap();
    host.end_process(trial.guard.unwrap().pid);
    let mut cut = trial.in_state(State::Keeping);
    (cut.holder, cut.operator) = (None, Operator::Ssh([10, 0, 0, 5].into()));
    record::store(&host, &cut).unwrap();
    drop(held);
    assert!(super::status(&host).cut_short);
    assert_eq!(keep(&host, false).unwrap_err().code, Code::NoProof);
    assert!(super::status(&host).cut_short, "a refused keep does not hold it");
    keep(&host, true).unwrap();
}

#[test]
fn during_a_trial_without_dates_the_kept_plan_is_what_it_goes_back_to() {
    let host = machine(true, 0, false);
    let kept = || history::kept(&host, [Family::V4, Family::V6].map(|f| host.loaded(f)).each_ref().map(Some));
    let first = kept().trial.unwrap().id;
    apply(
        &host,
        &cure("192.0.2.11"),
        &super::Options { allowed: Allowed { without_fuse: true, ..options().allowed }, ..options() },
        &mut |_| {},
    )
    .unwrap();
    let now = kept();
    assert_eq!((now.trial.map(|r| r.id), now.lost), (Some(first), None));
    revert(&host).unwrap();
}
