//! A trial that locks the operator out ends on its own, whatever dies: a real sshd, a real client, a plan that drops
//! port 22. After the deadline a *new* login must work within two seconds (seven if only the kernel's fuse is left),
//! and the rules must be those of before plus what others added. `tests/run` prints the times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and keeps its own time"
)]

use crate::common;

use common::outlive::{FUSE, GUARD, Home, LOCK_OUT, Run, SOON, THEIRS, boot_millis, everywhere, on_both, trial};
use common::ssh::{Terminal, remote, start_sshd};
use common::{Backend, Lab, PORTCULLIS, wait_for};

#[test]
fn nobody_answers() {
    everywhere("nobody answers", true, |run| {
        run.apply();
        run.comes_back(GUARD);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn the_ssh_client_is_killed() {
    everywhere("the ssh client is killed", true, |run| {
        run.apply();
        let client = &run.lab.clients[0];
        client.signal("-KILL", &client.pids("ssh -tt"));
        run.comes_back(GUARD);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn the_session_gets_sighup() {
    everywhere("the session gets sighup", true, |run| {
        run.apply();
        let session = run.lab.server.pids("sshd: root@pts");
        assert!(!session.is_empty());
        run.lab.server.signal("-HUP", &[session, run.lab.server.pids("cat"), run.ours()].concat());
        run.comes_back(GUARD);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn everything_but_the_guard_is_killed() {
    everywhere("everything but the guard is killed", true, |run| {
        run.apply();
        let session = run.lab.server.pids("sshd: root");
        run.lab.server.signal("-KILL", &[session, run.lab.server.pids("cat"), run.ours()].concat());
        run.comes_back(GUARD);
    });
}

/// For the guard as a service see `tests/trial/systemd.rs`: there systemd starts another one.
#[test]
fn everything_of_ours_is_killed_and_the_fuse_is_left() {
    on_both("everything of ours is killed and the fuse is left", Home::Detached, true, |run| {
        run.apply();
        let deadline = run.deadline();
        let all = run.lab.server.pids(PORTCULLIS);
        assert!(!all.is_empty());
        run.lab.server.signal("-KILL", &[all, run.lab.server.pids("sshd: root"), run.lab.server.pids("cat")].concat());
        wait_for("the guard is dead", SOON, || run.lab.server.pids("portcullis guard").is_empty());
        run.login_comes_back(deadline, FUSE);
        let (_, said) = remote(&run.lab, 0, Lab::server4(0), &format!("{PORTCULLIS} status --json"));
        assert!(said.contains("\"expired\""), "a passed fuse is never shown as running: {said}");
        let (ok, said) = remote(&run.lab, 0, Lab::server4(0), &format!("{PORTCULLIS} revert"));
        assert!(ok, "{said}");
        run.rules_come_to(&run.before);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn the_tool_fails_once_at_the_deadline() {
    everywhere("the tool fails once at the deadline", true, |run| {
        run.apply();
        run.until_deadline(700);
        run.lab.break_here("iptables-restore", "--noflush");
        run.until_deadline(-400);
        run.lab.mend("iptables-restore");
        run.comes_back(GUARD);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn somebody_holds_the_xtables_lock_at_the_deadline() {
    everywhere("somebody holds the xtables lock at the deadline", true, |run| {
        run.apply();
        run.until_deadline(1000);
        run.lab.server.sh("flock /run/xtables.lock sleep 5 >/dev/null 2>&1 &");
        run.comes_back(FUSE);
    });
}

#[test]
fn others_change_their_rules_and_ours_in_the_window() {
    everywhere("others change their rules and ours in the window", true, |run| {
        let lab = &run.lab;
        // What Docker does when a container starts, and when the daemon is restarted.
        let docker = "*nat\n-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.3:80\n\
            COMMIT\n*filter\n-F DOCKER\n\
            -A DOCKER -d 172.17.0.3/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\n\
            -D FORWARD -j DOCKER-USER\n-I FORWARD 1 -j DOCKER-USER\n-I INPUT 1 -s 203.0.113.9/32 -j DROP\n\
            -A INPUT -s 203.0.113.10/32 -j DROP\nCOMMIT\n";
        lab.server.restore("", docker);
        let expected = lab.server.rules();
        lab.server.sh(
            "iptables-restore --noflush < /dev/null; for t in nat filter; do iptables -t $t -F; iptables -t $t -X; \
                done",
        );
        lab.server.restore("", THEIRS);
        assert_eq!(lab.server.rules(), run.before);
        run.apply();
        let lab = &run.lab;
        lab.server.restore("", docker);
        // Somebody moves our jump, empties our switch and refers to our slot.
        let slot = if lab.server.run(&["iptables-save", "-t", "filter"]).contains(":PORTCULLIS-B ") {
            "PORTCULLIS-B"
        } else {
            "PORTCULLIS-A"
        };
        lab.server.sh(&format!(
            "iptables -D INPUT ! -i lo -j PORTCULLIS; iptables -A INPUT ! -i lo -j PORTCULLIS; iptables -N elsewhere; \
            iptables -A elsewhere -j {slot}; ip6tables -F PORTCULLIS"
        ));
        run.login_comes_back(run.deadline(), GUARD);
        wait_for("the guard is done", SOON, || run.lab.server.pids("portcullis guard").is_empty());
        // Once their reference is gone, nothing of ours remains except what could not be removed because of it.
        run.lab.server.sh("iptables -F elsewhere; iptables -X elsewhere");
        run.lab.server.sh("for c in PORTCULLIS PORTCULLIS-A PORTCULLIS-B; do iptables -X $c 2>/dev/null || true; done");
        run.rules_come_to(&expected);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn ipv6_fails_after_ipv4_succeeded() {
    everywhere("ipv6 fails after ipv4 succeeded", true, |run| {
        run.lab.break_here("ip6tables-restore", "--noflush");
        let (ok, said) = remote(&run.lab, 0, Lab::server4(0), &run.apply_command());
        assert!(!ok && said.contains("broken for the test"), "{said}");
        run.lab.mend("ip6tables-restore");
        run.login_comes_back(boot_millis(), GUARD);
        run.rules_come_to(&run.before);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn a_fresh_host() {
    everywhere("a fresh host", false, |run| {
        run.apply();
        run.comes_back(GUARD);
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn the_disk_is_full() {
    everywhere("the disk is full", true, |run| {
        for full in ["run", "state"] {
            let dir = run.lab.dir.path().join(full).display().to_string();
            run.lab.server.sh(&format!(
                "mount -t tmpfs -o size=4k,mode=700 full {dir}; cat /dev/zero > {dir}/filler 2>/dev/null || true"
            ));
            let (ok, said) =
                remote(&run.lab, 0, Lab::server4(0), &format!("{}; echo \"exit $?\"", run.apply_command()));
            assert!(ok && said.contains("exit 3"), "{full}: {said}");
            assert_eq!(run.lab.server.rules(), run.before, "{full}: nothing is applied");
            run.lab.server.sh(&format!("umount {dir}"));
        }
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn two_operators_at_once() {
    everywhere("two operators at once", true, |run| {
        let command = format!("{}; echo \"exit $?\"", run.apply_command());
        let start = || Terminal::ssh(&run.lab, 0, Lab::server4(0), &format!("{command}; exec cat"));
        let both = [start(), start()];
        for session in &both {
            session.wait("exit ", SOON);
        }
        let ends: Vec<String> =
            both.iter().map(|s| s.shows().split("exit ").nth(1).unwrap_or_default().trim().to_owned()).collect();
        assert!(ends.contains(&"0".to_owned()) && ends.contains(&"3".to_owned()), "{ends:?}");
        run.comes_back(GUARD);
    });
}

#[test]
fn started_twice() {
    everywhere("started twice", true, |run| {
        run.apply();
        let deadline = run.deadline();
        // The second one finds the lock-out of the first, and must not take it for the state to restore.
        run.until_deadline((trial() as i64 - 4) * 1000);
        let out = run.lab.portcullis(&[
            "apply",
            &format!("{}/plan.toml", run.lab.dir.path().display()),
            "--yes",
            "--allow-lockout",
            "--confirm-within",
            "60s",
        ]);
        assert_eq!(out.status.code(), Some(3), "{out:?}");
        assert_eq!(run.deadline(), deadline);
        run.comes_back(GUARD);
    });
}

/// The proof in `status --json`: user and peer.
fn proof(run: &Run) -> Option<(String, String)> {
    let out = run.lab.portcullis(&["status", "--json"]);
    let v: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let p = &v["trial"]["proof"];
    Some((p["user"].as_str()?.to_owned(), p["peer"].as_str()?.to_owned()))
}

/// Keeping requires a new, authenticated login: nothing else counts.
#[test]
fn only_a_new_login_proves_access() {
    everywhere("only a new login proves access", true, |run| {
        run.lab.file("plan.toml", "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n");
        let control = run.lab.dir.path().join("mux");
        let mut master = run.lab.master(0, Lab::server4(0), &control);
        let command = format!(
            "{PORTCULLIS} apply {}/plan.toml --yes --confirm-within 5m; exec bash --norc",
            run.lab.dir.path().display()
        );
        let mut session = Terminal::ssh(&run.lab, 0, Lab::server4(0), &command);
        session.wait("the old rules come back", SOON);
        let (keep, status) =
            (format!("{PORTCULLIS} keep; echo \"exit $?\""), format!("{PORTCULLIS} status; echo \"exit $?\""));
        let refused = |run: &Run| {
            let out = run.lab.portcullis(&["keep"]);
            assert_eq!(out.status.code(), Some(3), "{out:?}");
            assert_eq!(proof(run), None);
        };
        refused(run);
        // A scanner's handshake, and a refused login.
        assert!(run.connects());
        run.lab.clients[0].output(&[
            "bash",
            "-c",
            "exec 3<>/dev/tcp/192.0.2.1/22; read -r banner <&3; echo SSH-2.0-scan >&3; sleep 1",
        ]);
        assert!(
            !run.lab.clients[0]
                .output(&[
                    "ssh",
                    "-F",
                    "none",
                    "-o",
                    "BatchMode=yes",
                    "-o",
                    "StrictHostKeyChecking=no",
                    "-o",
                    "UserKnownHostsFile=/dev/null",
                    "nobody@192.0.2.1",
                    "true"
                ])
                .status
                .success()
        );
        refused(run);
        // Another channel of an old connection, and a login of the host to itself.
        let (ok, said) = run.lab.through(&control, 0, Lab::server4(0), &keep);
        assert!(ok && said.contains("exit 3"), "{said}");
        let own = format!(
            "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i {}/user_key \
                root@192.0.2.1 sleep 1",
            run.lab.dir.path().display()
        );
        run.lab.server.run(&["bash", "-c", &own]);
        refused(run);
        // Without sudo's help: the variable is gone, but the ancestors are not.
        session.send(&format!("env -u SSH_CONNECTION {keep}\r"));
        session.wait("exit 3", SOON);
        // A new login, closed again before the keep.
        let (ok, _) = remote(&run.lab, 0, Lab::server6(0), "sleep 0.3");
        assert!(ok);
        wait_for("the guard saw the login", SOON, || proof(run).is_some());
        assert_eq!(proof(run), Some(("root".into(), Lab::client6(0).to_string())), "another peer than the operator's");
        let (_, said) = remote(&run.lab, 0, Lab::server4(0), &status);
        assert!(
            said.contains(&format!("proof of access: root logged in from {} under these rules\n", Lab::client4(0))),
            "{said}"
        );
        // With the proof the old session may keep.
        let rules = run.lab.server.rules();
        session.send(&format!("clear; {keep}\r"));
        session.wait("exit 0", SOON);
        assert!(rules.contains("--date") && !run.lab.server.rules().contains("--date"));
        let out = run.lab.portcullis(&["status", "--json"]);
        assert!(String::from_utf8_lossy(&out.stdout).contains(&format!("\"peer\":\"{}\"", Lab::client4(0))), "{out:?}");
        drop(session);
        master.kill().unwrap();
        master.wait().unwrap();
    });
}

/// In a terminal multiplexer sshd is no ancestor, and `sudo` removes the variable: the operator is found by the
/// terminal that was used last, also on another port and over IPv6.
#[test]
fn the_operator_is_found_behind_a_multiplexer() {
    let Some(lab) = Lab::new(Backend::Nft, 2, &["sshd", "ssh", "ssh-keygen", "tmux"]) else { return };
    start_sshd(&lab);
    lab.server.sh(&format!("/usr/sbin/sshd -f {}/sshd_config -p 2222", lab.dir.path().display()));
    let idle = Terminal::ssh(&lab, 1, Lab::server4(1), "echo here; exec cat");
    idle.wait("here", SOON);
    lab.file("plan.toml", LOCK_OUT.replace("22/tcp", "2222/tcp").as_str());
    let command = format!(
        "env -u SSH_CONNECTION -u SSH_CLIENT {PORTCULLIS} apply {}/plan.toml --yes; echo exit $?; cat",
        lab.dir.path().display()
    );
    let socket = lab.dir.path().join("tmux");
    let session = Terminal::ssh_to_port(
        &lab,
        0,
        Lab::server6(0),
        2222,
        &format!("tmux -S {} -f /dev/null new-session '{command}'", socket.display()),
    );
    session.wait("exit 3", SOON);
    assert!(
        session.shows().replace('\n', " ").contains(&format!("new SSH login from {} to port 2222", Lab::client6(0))),
        "{}",
        session.shows()
    );
}
