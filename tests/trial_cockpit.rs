//! The cockpit in a real `ssh -tt` puts a plan on trial that locks its operator out, and dies: the old rules come back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods,
    reason = "a test fails by panicking and keeps its own time")]

mod common;

use common::outlive::{GUARD, LOCK_OUT, Run, SOON, on_both};
use common::ssh::Terminal;
use common::{Lab, wait_for};

/// Opens the cockpit over SSH with the plan as a draft from before, and applies it, against its warning if need be.
fn apply_in_cockpit(run: &mut Run, client: usize, plan: &str, warned: bool) -> Terminal {
    let dir = run.lab.dir.path();
    let data = dir.join("data/portcullis");
    std::fs::create_dir_all(&data).unwrap();
    let name = run.lab.server.run(&["uname", "-n"]);
    std::fs::write(data.join(format!("draft-host-{}.toml", name.trim())), plan).unwrap();
    run.short_trials();
    let mut session = Terminal::cockpit(&run.lab, client, Lab::server4(client), "");
    session.wait("A draft from before", SOON);
    session.send("\r");
    session.wait(if warned { "a new login would be blocked" } else { "a new login still gets in" }, SOON);
    session.send("y");
    if warned {
        session.wait("type the words", SOON);
        session.send("yes\r");
        session.wait("to go on, or esc", SOON);
        session.send("\x15lock me out\r");
    } else {
        session.wait("Apply on trial for", SOON);
        session.send("\r");
    }
    session.wait("The old rules come back in", SOON);
    assert!(!run.connects(), "{}: the plan locks the client out", run.letter);
    session
}

fn cockpit(run: &Run) -> Vec<u32> {
    let found = run.ours();
    assert!(!found.is_empty());
    found
}

#[test]
#[ignore = "long, run by tests/run"]
fn d_the_cockpit_gets_sigterm() {
    on_both('d', true, |run| {
        let session = apply_in_cockpit(run, 0, LOCK_OUT, true);
        run.lab.server.signal("-TERM", &cockpit(run));
        run.comes_back(GUARD);
        drop(session);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn e_the_cockpit_gets_sigkill() {
    on_both('e', true, |run| {
        let session = apply_in_cockpit(run, 0, LOCK_OUT, true);
        run.lab.server.signal("-KILL", &cockpit(run));
        run.comes_back(GUARD);
        drop(session);
    });
}

#[test]
fn f_the_operator_leaves_during_the_trial() {
    on_both('f', true, |run| {
        // The first client is locked out; the operator comes from another one, so that his keys still arrive.
        let plan = LOCK_OUT.replace("any", &Lab::client4(0).to_string());
        for key in ["\x03", "q"] {
            let mut session = apply_in_cockpit(run, 1, &plan, false);
            if key == "q" {
                session.send("\x1b");
                session.wait("T shows it", SOON);
            }
            session.send(key);
            session.wait("the trial goes on", SOON);
            wait_for("the cockpit is gone", SOON, || run.ours().is_empty());
            run.comes_back(GUARD);
            // The next start says what became of it.
            let said = String::from_utf8(run.lab.portcullis(&["status"]).stdout).unwrap();
            assert!(said.contains("was reverted by the guard"), "{said}");
        }
    });
}
