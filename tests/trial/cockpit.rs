//! The cockpit, in a real `ssh -tt`, applies a plan that locks its operator out, and dies: the old rules come back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and keeps its own time"
)]

use crate::common;

use common::outlive::{GUARD, LOCK_OUT, Run, SOON, everywhere};
use common::ssh::Terminal;
use common::{Backend, Lab, PORTCULLIS, wait_for};

/// Opens the cockpit over SSH with the plan as an earlier draft, and applies it, despite its warning if necessary.
fn apply_in_cockpit(run: &mut Run, client: usize, plan: &str, warned: bool) -> Terminal {
    let dir = run.lab.dir.path();
    let data = dir.join("data/portcullis");
    std::fs::create_dir_all(&data).unwrap();
    let name = run.lab.server.run(&["uname", "-n"]);
    std::fs::write(data.join(format!("draft-host-{}.toml", name.trim())), plan).unwrap();
    run.short_trials();
    let mut session = Terminal::cockpit(&run.lab, client, Lab::server4(client), "");
    session.wait("A draft from an earlier session", SOON);
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
    run.is_on_trial();
    session
}

fn cockpit(run: &Run) -> Vec<u32> {
    let found = run.ours();
    assert!(!found.is_empty());
    found
}

#[test]
#[ignore = "long, run by tests/run"]
fn the_cockpit_gets_sigterm() {
    everywhere("the cockpit gets sigterm", true, |run| {
        let session = apply_in_cockpit(run, 0, LOCK_OUT, true);
        run.lab.server.signal("-TERM", &cockpit(run));
        run.comes_back(GUARD);
        drop(session);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn the_cockpit_gets_sigkill() {
    everywhere("the cockpit gets sigkill", true, |run| {
        let session = apply_in_cockpit(run, 0, LOCK_OUT, true);
        run.lab.server.signal("-KILL", &cockpit(run));
        run.comes_back(GUARD);
        drop(session);
    });
}

#[test]
fn the_operator_leaves_during_the_trial() {
    everywhere("the operator leaves during the trial", true, |run| {
        // The first client is locked out; the operator is on another one, so their keys still arrive.
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

#[test]
fn what_is_under_way_is_finished_before_the_cockpit_is_left() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        let dir = lab.dir.path().display().to_string();
        let data = lab.dir.path().join("data/portcullis");
        std::fs::create_dir_all(&data).unwrap();
        let name = lab.server.run(&["uname", "-n"]);
        let real = format!("/usr/sbin/iptables-{}-restore", backend.word());
        for (n, leave) in ["same read", "\x03", "signal"].into_iter().enumerate() {
            let plan =
                format!("version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"{}/tcp\"]\n", 7001 + n);
            std::fs::write(data.join(format!("draft-host-{}.toml", name.trim())), plan).unwrap();
            let mut cockpit = Terminal::start(
                &lab.server,
                &["env", &format!("XDG_DATA_HOME={dir}/data"), &format!("XDG_CONFIG_HOME={dir}/config"), PORTCULLIS],
            );
            cockpit.wait("A draft from an earlier session", SOON);
            cockpit.send("\r");
            cockpit.wait("no SSH session of yours was found", SOON);
            cockpit.send("y");
            cockpit.wait("Apply on trial for", SOON);
            cockpit.send("\r");
            cockpit.wait("The old rules come back in", SOON);
            cockpit.send("k");
            cockpit.wait("type the words", SOON);
            cockpit.send("without proof");
            if leave == "same read" {
                cockpit.send("\r\x03");
            } else {
                // The tool that keeps waits until the operator has left.
                lab.server.sh(&format!(
                    "rm -f /run/called /run/go; printf '#!/bin/sh\\n: > /run/called\\nuntil [ -e \
                    /run/go ]; do sleep 0.02; done\\nexec {real} \"$@\"\\n' > /run/slow; \
                    chmod 755 /run/slow; ln -sfn /run/slow /etc/alternatives/iptables-restore"
                ));
                cockpit.send("\r");
                wait_for("the keep is under way", SOON, || {
                    lab.server.output(&["test", "-e", "/run/called"]).status.success()
                });
                if leave == "signal" {
                    let guards = lab.server.pids("portcullis guard");
                    let ours: Vec<u32> =
                        lab.server.pids(PORTCULLIS).into_iter().filter(|p| !guards.contains(p)).collect();
                    lab.server.signal("-HUP", &ours);
                } else {
                    cockpit.send(leave);
                }
                cockpit.wait("leaving as soon as this is done: keeping", SOON);
                lab.server.sh(": > /run/go");
            }
            let (code, _) = cockpit.end(SOON);
            lab.mend("iptables-restore");
            let said = String::from_utf8(lab.portcullis(&["status"]).stdout).unwrap();
            assert!(
                said.contains("was kept") && !cockpit.shows().contains("the trial goes on"),
                "{backend:?} {leave}: {said}\n{}",
                cockpit.shows()
            );
            assert_eq!((code, lab.server.rules().contains("datestop")), (0, false), "{backend:?} {leave}");
            lab.portcullis(&["remove", "--yes"]);
            lab.portcullis(&["keep", "--without-proof"]);
        }
    }
}
