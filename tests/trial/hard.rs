//! What is hard on a trial, on the real kernel: traffic while it begins and ends, death at each call that changes the
//! kernel, and dates that have passed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and keeps its own time"
)]

use crate::common;

use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::net::{tcp_connects_within, within};
use common::outlive::{SOON, THEIRS, THEIRS6};
use common::{Backend, Lab, holds_within, not_run_here, wait_for};
use socket2::{Domain, Socket, Type};

/// Ports that the old and the new plan close, and leave open.
const CLOSED: u16 = 7000;
const OPEN: u16 = 7001;
/// Datagrams per second to each port.
const RATE: u64 = 2000;

fn plan(more: &str) -> String {
    format!("version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"{CLOSED}/udp\"{more}]\n")
}

fn lab(backend: Backend) -> Option<Lab> {
    let lab = Lab::new(backend, 1, &[])?;
    lab.server.restore("", THEIRS);
    lab.server.restore("6", THEIRS6);
    Some(lab)
}

#[track_caller]
fn does(lab: &Lab, args: &[&str]) -> String {
    let out = lab.portcullis(args);
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{:?} {args:?}: {said}", lab.backend);
    said
}

/// Counts what arrives at a port until it is told to stop and nothing more comes.
fn count(socket: UdpSocket, stop: &AtomicBool) -> u64 {
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut n = 0;
    loop {
        match socket.recv(&mut [0; 64]) {
            Ok(_) => n += 1,
            Err(_) if stop.load(Ordering::Relaxed) => return n,
            Err(_) => {}
        }
    }
}

fn listener(port: u16) -> UdpSocket {
    let s = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
    s.set_only_v6(false).unwrap();
    // The test must not lose what the kernel let through.
    s.set_recv_buffer_size(16 << 20).unwrap();
    s.bind(&std::net::SocketAddr::new(IpAddr::from([0; 16]), port).into()).unwrap();
    s.into()
}

/// When dropped, stops the sender, and then the counters.
struct Ends<'a> {
    sending: &'a AtomicBool,
    stop: &'a AtomicBool,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.sending.store(false, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_packet_is_lost_and_none_leaks_while_a_trial_begins_and_ends() {
    for backend in Backend::BOTH {
        let Some(lab) = lab(backend) else { return };
        let first = lab.file("first.toml", &plan(""));
        let second = lab.file("second.toml", &plan(", \"9999\", \"111\""));
        does(&lab, &["apply", &first, "--yes"]);
        does(&lab, &["keep", "--without-proof"]);
        let (sent, stop, sending) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(true));
        let sockets = within(&lab.server, || [listener(OPEN), listener(CLOSED)]);
        let [came, leaked] = std::thread::scope(|s| {
            let counters = sockets.map(|socket| s.spawn(|| count(socket, &stop)));
            let sender = s.spawn(|| {
                within(&lab.clients[0], || {
                    let sockets = [Lab::server4(0), Lab::server6(0)].map(|to| {
                        (
                            UdpSocket::bind((if to.is_ipv4() { IpAddr::from([0; 4]) } else { [0; 16].into() }, 0))
                                .unwrap(),
                            to,
                        )
                    });
                    let begun = Instant::now();
                    while sending.load(Ordering::Relaxed) {
                        let due = begun.elapsed().as_micros() as u64 * RATE / 1_000_000;
                        while sent.load(Ordering::Relaxed) < due {
                            let (socket, to) = &sockets[(sent.load(Ordering::Relaxed) % 2) as usize];
                            for port in [OPEN, CLOSED] {
                                socket.send_to(b"?", (*to, port)).unwrap();
                            }
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                        std::thread::sleep(Duration::from_micros(300));
                    }
                });
            });
            // A failure below must end the threads, or the scope would wait for them forever.
            let _end = Ends { sending: &sending, stop: &stop };
            wait_for("traffic flows", SOON, || sent.load(Ordering::Relaxed) > RATE / 4);
            does(&lab, &["apply", &second, "--yes"]);
            does(&lab, &["keep", "--without-proof"]);
            does(&lab, &["apply", &first, "--yes", "--replace"]);
            does(&lab, &["revert"]);
            does(&lab, &["apply", &first, "--yes", "--replace", "--confirm-within", "10s"]);
            wait_for("the guard reverts", Duration::from_secs(20), || {
                does(&lab, &["status"]).contains("reverted by the guard")
            });
            sending.store(false, Ordering::Relaxed);
            sender.join().unwrap();
            stop.store(true, Ordering::Relaxed);
            counters.map(|c| c.join().unwrap())
        });
        let sent = sent.load(Ordering::Relaxed);
        let _ = std::io::stderr().lock().write_all(
            format!("traffic {backend:?}: {sent} datagrams to each port, {} lost, {leaked} leaked\n", sent - came)
                .as_bytes(),
        );
        assert!((came, leaked) == (sent, 0), "{backend:?}: of {sent} came {came}, leaked {leaked}");
    }
}

/// Replaces a restore tool by a bash script, for changes of the server's own firewall, or with `other` for all others;
/// `$real "$@"` runs the tool.
fn instead(lab: &Lab, family: &str, other: bool, script: &str) {
    let is = if other { "!=" } else { "=" };
    let real =
        format!("/usr/sbin/{family}tables-{}-restore", if lab.backend == Backend::Nft { "nft" } else { "legacy" });
    lab.server.sh(&format!(
        "cat > /run/{family}.instead <<'END'\n#!/bin/bash\nreal={real}\n\
        if [ \"$(readlink /proc/self/ns/net)\" {is} \"$(cat /run/home)\" ] && [ \"$1\" = --noflush ]; then\n{script}\n\
        fi\nexec $real \"$@\"\nEND\n\
        readlink /proc/self/ns/net > /run/home; chmod 755 /run/{family}.instead; ln -sfn /run/{family}.instead \
        /etc/alternatives/{family}tables-restore"
    ));
}

/// Makes the restore tools kill their caller at the `nth` change, before or after it is done.
fn kill_at(lab: &Lab, nth: u32, after: bool) {
    lab.server.sh(": > /run/calls");
    for family in ["ip", "ip6"] {
        let (before, behind) = if after { ("", "kill -9 $PPID;") } else { ("kill -9 $PPID; exit 1;", "") };
        instead(
            lab,
            family,
            false,
            &format!(
                "echo x >> /run/calls\nif [ \"$(wc -l < /run/calls)\" = {nth} ]; then {before} $real \"$@\"; {behind} \
                exit 0; fi"
            ),
        );
    }
}

fn no_longer(lab: &Lab) {
    for family in ["ip", "ip6"] {
        lab.mend(&format!("{family}tables-restore"));
    }
}

/// Whether the program was killed at that call; `false`: it makes fewer calls.
fn dies(lab: &Lab, args: &[&str], nth: u32, after: bool) -> bool {
    kill_at(lab, nth, after);
    let out = lab.portcullis(args);
    // A killed process cannot say why it failed.
    !out.status.success() && !String::from_utf8_lossy(&out.stderr).contains("error:")
}

#[test]
fn killed_at_any_call_that_changes_the_kernel() {
    for backend in Backend::BOTH {
        let Some(lab) = lab(backend) else { return };
        let first = lab.file("first.toml", &plan(""));
        let second = lab.file("second.toml", &plan(", \"9999\", \"111\""));
        does(&lab, &["apply", &first, "--yes"]);
        does(&lab, &["keep", "--without-proof"]);
        let before = lab.server.rules();
        let mut cases = 0;
        for op in ["apply", "keep", "revert"] {
            for after in [false, true] {
                for nth in 1..30 {
                    if op != "apply" {
                        does(&lab, &["apply", &second, "--yes"]);
                    }
                    let args: &[&str] = match op {
                        "apply" => &["apply", &second, "--yes"],
                        "keep" => &["keep", "--without-proof"],
                        other => &[other],
                    };
                    let died = dies(&lab, args, nth, after);
                    no_longer(&lab);
                    let ended = holds_within(SOON, || {
                        lab.server.pids("portcullis guard").is_empty() || (op == "apply" && !died)
                    });
                    let what =
                        format!("{backend:?}: {op} killed {} call {nth}", if after { "after" } else { "before" });
                    assert!(ended, "{what}: the guard does not come to its end: {}", does(&lab, &["status"]));
                    if !died && op == "apply" {
                        does(&lab, &["revert"]);
                    }
                    let now = lab.server.rules();
                    let status = does(&lab, &["status"]);
                    if op == "keep" && status.contains("was kept") {
                        // Killed while cleaning up after a keep: the kept plan is complete, and can be removed.
                        assert!(now.contains("--dport 9999") && !now.contains("--date"), "{what}:\n{now}");
                        does(&lab, &["apply", &first, "--yes", "--replace"]);
                        does(&lab, &["keep", "--without-proof"]);
                        // The slots may have been swapped.
                        does(&lab, &["apply", &second, "--yes"]);
                        does(&lab, &["keep", "--without-proof"]);
                        does(&lab, &["apply", &first, "--yes", "--replace"]);
                        does(&lab, &["keep", "--without-proof"]);
                    }
                    let now = lab.server.rules();
                    assert_eq!(same_slot(&now), same_slot(&before), "{what}: {status}");
                    if !died {
                        break;
                    }
                    cases += 1;
                }
            }
        }
        assert!(cases >= 12, "{backend:?}: only {cases} calls were found to die at");
        let _ = std::io::stderr()
            .lock()
            .write_all(format!("killed {backend:?}: at {cases} calls, each came to its end\n").as_bytes());
    }
}

/// The rules with both slots called the same: which one holds a plan does not matter, and an empty one is neutral.
fn same_slot(rules: &str) -> String {
    let mut lines: Vec<String> = rules
        .lines()
        .filter(|l| !l.starts_with(":PORTCULLIS-"))
        .map(|l| l.replace("PORTCULLIS-B", "PORTCULLIS-A"))
        .collect();
    lines.dedup();
    lines.join("\n")
}

/// At the first change of a family's rules, somebody removes our jump just before or just after it.
fn jump_goes(lab: &Lab, family: &str, after: bool) {
    let gone = format!("{family}tables -D INPUT ! -i lo -j PORTCULLIS");
    let script = if after { format!("$real \"$@\"; {gone}; exit") } else { gone };
    lab.server.sh("rm -f /run/done");
    instead(lab, family, false, &format!("if [ ! -e /run/done ]; then : > /run/done; {script}; fi"));
}

#[test]
fn a_lost_jump_is_noticed() {
    const JUMP: &str = "-A INPUT ! -i lo -j PORTCULLIS\n";
    for backend in Backend::BOTH {
        let Some(lab) = lab(backend) else { return };
        let first = lab.file("first.toml", &plan(""));
        let second = lab.file("second.toml", &plan(", \"9999\", \"111\""));
        let refused = |args: &[&str], code: i32| {
            let out = lab.portcullis(args);
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(
                out.status.code() == Some(code) && said.contains("our jump to them is gone"),
                "{backend:?} {args:?}: {out:?}"
            );
        };
        let untouched = lab.server.rules();
        jump_goes(&lab, "ip6", true);
        refused(&["apply", &first, "--yes"], 1);
        no_longer(&lab);
        assert_eq!(lab.server.rules(), untouched, "{backend:?}");
        does(&lab, &["apply", &first, "--yes"]);
        does(&lab, &["keep", "--without-proof"]);
        let before = lab.server.rules();
        jump_goes(&lab, "ip", false);
        refused(&["apply", &second, "--yes"], 1);
        no_longer(&lab);
        let without = before.replacen(JUMP, "", 1);
        assert!(without != before && lab.server.rules() == without, "{backend:?}:\n{}", lab.server.rules());
        // Applying the kept plan again is now a change. Its revert removes what the apply added, and says
        // what that means.
        does(&lab, &["apply", &first, "--yes"]);
        assert_eq!(lab.server.rules().matches(JUMP).count(), 2);
        let said = does(&lab, &["revert"]);
        assert!(said.contains("the IPv4 rules have no effect") && lab.server.rules() == without, "{backend:?}: {said}");
        does(&lab, &["apply", &first, "--yes"]);
        does(&lab, &["keep", "--without-proof"]);
        assert_eq!(same_slot(&lab.server.rules()).lines().count(), same_slot(&before).lines().count(), "{backend:?}");
        // During a trial.
        for family in ["ip", "ip6"] {
            does(&lab, &["apply", &second, "--yes"]);
            lab.server.sh(&format!("{family}tables -D INPUT ! -i lo -j PORTCULLIS"));
            refused(&["keep", "--without-proof"], 3);
            let status = lab.portcullis(&["status"]);
            let said = String::from_utf8_lossy(&status.stdout);
            assert!(
                status.status.code() == Some(6)
                    && said.contains("running")
                    && said.contains("our jump to them is gone"),
                "{backend:?}: {said}"
            );
            assert!(lab.server.rules().contains("--datestop"), "{backend:?}");
            let said = does(&lab, &["revert"]);
            assert!(said.contains("rules have no effect"), "{backend:?}: {said}");
            does(&lab, &["apply", &first, "--yes"]);
            does(&lab, &["keep", "--without-proof"]);
        }
    }
}

/// The fuse is a date: once it has passed, it decides nothing; until then it holds. Stepping the clock would affect the
/// whole machine, so only the dates are moved here; the guard's part is tested on a clock in memory.
#[test]
fn dates_in_the_past_and_in_the_future() {
    not_run_here("a real step of the wall clock (it is the whole machine's)");
    for backend in Backend::BOTH {
        let Some(lab) = lab(backend) else { return };
        let _echo = common::net::Echo::start(&lab.server, 7002);
        let open = || {
            tcp_connects_within(&lab.clients[0], Lab::server4(0), 7002, Duration::from_millis(300))
                && tcp_connects_within(&lab.clients[0], Lab::server6(0), 7002, Duration::from_millis(300))
        };
        assert!(open());
        let file =
            lab.file("plan.toml", "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"7002/tcp\"]\n");
        does(&lab, &["apply", &file, "--yes", "--confirm-within", "5m"]);
        assert!(!open());
        let state = || {
            let v: serde_json::Value = serde_json::from_str(&does(&lab, &["status", "--json"])).unwrap();
            (v["trial"]["state"].as_str().unwrap().to_owned(), v["trial"]["by"].as_str().map(str::to_owned))
        };
        assert_eq!(state(), ("running".into(), None));
        // The effect of a step of one hour forward on the dates, as the kernel sees it; the guard is not there to
        // correct it.
        lab.server.signal("-KILL", &lab.server.pids("portcullis guard"));
        for family in ["", "6"] {
            let tool = format!("ip{family}tables");
            let shift = format!(
                "{tool}-save -t filter | sed -n 's/^-A PORTCULLIS \\(.*--datestop\\) [0-9T:-]* -j/-A PORTCULLIS \\1 \
                    2020-01-01T00:00:00 -j/p'"
            );
            let rule = lab.server.sh(&shift);
            assert_eq!(rule.lines().count(), 1, "{rule}");
            lab.server.restore(family, &format!("*filter\n:PORTCULLIS - [0:0]\n{rule}COMMIT\n"));
        }
        assert!(open(), "{backend:?}: a fuse in the past");
        // The kernel is right: a dated rule whose date has passed is not a running trial.
        std::fs::remove_file(lab.dir.path().join("run/trial.json")).unwrap();
        assert_eq!(state(), ("expired".into(), Some("fuse".into())));
        let out = lab.portcullis(&["apply", &file, "--yes"]);
        assert_eq!(out.status.code(), Some(3), "{out:?}");
        does(&lab, &["revert"]);
        assert!(!lab.server.rules().contains("PORTCULLIS"));
        assert_eq!(lab.portcullis(&["keep", "--without-proof"]).status.code(), Some(1));
    }
}

/// Docker starts a container during the rehearsal: the plan was made for other rules.
#[test]
fn rules_that_move_during_the_rehearsal() {
    for backend in Backend::BOTH {
        let Some(lab) = lab(backend) else { return };
        let first = lab.file("first.toml", &plan(""));
        for theirs in ["-A INPUT -s 203.0.113.9/32 -j DROP", "-N empty", "-P FORWARD ACCEPT"] {
            let before = lab.server.rules();
            lab.server.sh("rm -f /run/done");
            instead(
                &lab,
                "ip",
                true,
                &format!(
                    "if [ ! -e /run/done ]; then : > /run/done; nsenter --net=/proc/1/ns/net iptables {theirs}; fi"
                ),
            );
            let out = lab.portcullis(&["apply", &first, "--yes"]);
            no_longer(&lab);
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(
                out.status.code() == Some(3) && said.contains("somebody changed the IPv4 rules"),
                "{backend:?} {theirs}: {out:?}"
            );
            let now = lab.server.rules();
            assert!(now != before && !now.contains("PORTCULLIS"), "{backend:?} {theirs}:\n{now}");
            assert!(
                holds_within(SOON, || lab.server.pids("portcullis guard").is_empty()),
                "{backend:?}: the guard stays"
            );
            does(&lab, &["apply", &first, "--yes"]);
            does(&lab, &["revert"]);
            assert_eq!(lab.server.rules(), now, "{backend:?} {theirs}");
        }
    }
}

/// A chain of somebody else may jump to ours: that rule is theirs, and our empty chain stays for it.
#[test]
fn a_jump_of_others_to_our_chain_survives() {
    for backend in Backend::BOTH {
        let Some(lab) = lab(backend) else { return };
        // Docker's own chain first, then a host where our jump is in FORWARD.
        let published = lab.file(
            "published.toml",
            "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"published:9042/tcp\"]\n",
        );
        lab.server.restore("6", "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n");
        let before = lab.server.rules();
        for ends in ["revert", "keep"] {
            does(&lab, &["apply", &published, "--yes"]);
            for family in ["", "6"] {
                lab.server.restore(
                    family,
                    "*filter\n:mine - [0:0]\n-A mine -j PORTCULLIS-FWD\n-A mine -j PORTCULLIS\nCOMMIT\n",
                );
            }
            let mut said = does(&lab, if ends == "keep" { &["keep", "--without-proof"] } else { &["revert"] });
            if ends == "keep" {
                does(&lab, &["remove", "--yes"]);
                said = does(&lab, &["keep", "--without-proof"]);
            }
            assert!(
                said.contains(
                    "chain PORTCULLIS-FWD stays, empty: somebody else's rule refers to it: -A mine -j PORTCULLIS-FWD"
                ),
                "{backend:?}: {said}"
            );
            // Without their rules, and what those need, everything is as before.
            let theirs =
                [":mine -", "-A mine -j PORTCULLIS-FWD", "-A mine -j PORTCULLIS", ":PORTCULLIS -", ":PORTCULLIS-FWD -"];
            let now = lab.server.rules();
            let rest: String = now.lines().filter(|l| !theirs.contains(l)).flat_map(|l| [l, "\n"]).collect();
            assert_eq!(rest, before, "{backend:?} {ends}");
            assert!(theirs.iter().all(|l| now.lines().filter(|n| n == l).count() == 2), "{backend:?} {ends}:\n{now}");
            for family in ["", "6"] {
                lab.server.restore(family, "*filter\n-F mine\n-X mine\n-X PORTCULLIS\n-X PORTCULLIS-FWD\nCOMMIT\n");
            }
        }
    }
}
