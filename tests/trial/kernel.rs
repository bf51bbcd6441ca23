//! Trials on the real kernel: both variants, both families, real rpcbind and real packets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::process::Output;
use std::time::Duration;

use common::net::{portmapper_answers_udp, tcp_connects};
use common::ssh::{Terminal, start_sshd};
use common::{Backend, Lab, PORTCULLIS, wait_for};

/// The shortest trial, and how long after it the old rules may take to come back.
const SHORT: &str = "10s";
const BACK: Duration = Duration::from_secs(10 + 3);

/// Allows the first client's addresses, drops everybody else.
const CURE: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.2\", \"2001:db8::2\"]\n\
    to = [\"111\"]\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n";

/// Loads what a Docker host has, and an administrator's own rules.
fn somebodys_rules(lab: &Lab) {
    lab.server.restore("", include_str!("../../assets/demo/iptables-save.txt"));
    lab.server.restore(
        "",
        "*filter\n-A INPUT -i lo -j ACCEPT\n-A INPUT -s 198.51.100.0/24 -p tcp -m tcp --dport 111 -m \
        comment --comment \"old \\\"friend\\\"\" -j DROP\nCOMMIT\n",
    );
    lab.server.restore(
        "6",
        "*filter\n:INPUT ACCEPT [0:0]\n:theirs - [0:0]\n-A INPUT -j theirs\n-A theirs -s \
        2001:db8:ffff::/48 -j DROP\nCOMMIT\n",
    );
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Applies a plan, which must then be on trial.
#[track_caller]
fn apply(lab: &Lab, time: &str) {
    let plan = lab.file("plan.toml", CURE);
    let out = lab.portcullis(&["apply", &plan, "--yes", "--confirm-within", time]);
    assert!(out.status.success(), "{:?}: {}", lab.backend, said(&out));
    let live = lab.server.rules();
    assert_eq!(live.matches("-j PORTCULLIS\n").count(), 2, "one jump in each family:\n{live}");
    assert_eq!(state(lab), "running");
}

fn state(lab: &Lab) -> String {
    let out = lab.portcullis(&["status", "--json"]);
    let v: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&out)));
    v["trial"]["state"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn a_revert_puts_back_every_byte() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        somebodys_rules(&lab);
        let before = lab.server.rules();
        apply(&lab, "60s");
        let again = lab.portcullis(&["apply", &lab.file("plan.toml", CURE), "--yes"]);
        assert_eq!(again.status.code(), Some(3), "a second trial during the first: {}", said(&again));
        let out = lab.portcullis(&["revert"]);
        assert!(out.status.success(), "{}", said(&out));
        assert_eq!(lab.server.rules(), before, "{backend:?}");
        assert_eq!(state(&lab), "reverted");
        // Reverting a trial that has ended says so and succeeds; keeping it fails.
        assert_eq!(lab.portcullis(&["revert"]).status.code(), Some(0));
        assert_eq!(lab.portcullis(&["keep", "--without-proof"]).status.code(), Some(1));
        wait_for("the guard is done", Duration::from_secs(5), || lab.server.pids("portcullis guard").is_empty());
    }
}

/// As under mosh: the operator is at a pseudo-terminal without an sshd above it.
#[test]
fn an_operator_without_an_address_keeps_with_a_proof_or_the_option() {
    let Some(lab) = Lab::new(Backend::Nft, 0, &["script"]) else { return };
    let command = format!("{PORTCULLIS} apply {} --yes", lab.file("plan.toml", CURE));
    let out = lab.server.output(&["script", "-qec", &command, "/dev/null"]);
    assert!(
        out.status.success() && said(&out).contains("no SSH session was found for this terminal"),
        "{}",
        said(&out)
    );
    let out = lab.portcullis(&["keep"]);
    assert!(out.status.code() == Some(3) && said(&out).contains("--without-proof"), "{}", said(&out));
    let out = lab.portcullis(&["keep", "--without-proof"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(state(&lab), "kept");
}

#[test]
fn nobody_answers_and_a_foreign_rule_survives() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        somebodys_rules(&lab);
        let foreign = "*filter\n-I INPUT 1 -s 203.0.113.9/32 -j DROP\n-I DOCKER-USER 1 -s 203.0.113.9/32 -j DROP\n\
            -A DOCKER -d 172.17.0.3/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\n\
            -D INPUT -i lo -j ACCEPT\nCOMMIT\n";
        // The expected result: the same change without a trial around it.
        let before = lab.server.rules();
        lab.server.restore("", foreign);
        let expected = lab.server.rules();
        lab.server.restore(
            "",
            "*filter\n-D INPUT 1\n-D DOCKER-USER 1\n-D DOCKER -d 172.17.0.3/32 ! -i docker0 -o docker0 \
            -p tcp -m tcp --dport 80 -j ACCEPT\n-I INPUT 1 -i lo -j ACCEPT\nCOMMIT\n",
        );
        assert_eq!(lab.server.rules(), before);
        apply(&lab, SHORT);
        lab.server.restore("", foreign);
        wait_for("the old rules are back", BACK, || lab.server.rules() == expected);
        wait_for("it says so", Duration::from_secs(2), || state(&lab) == "reverted");
    }
}

#[test]
fn a_fresh_host_comes_back_to_its_policies() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        if backend == Backend::Nft {
            assert_eq!(lab.server.run(&["iptables-save"]), "");
        }
        apply(&lab, SHORT);
        let empty = "# family \n*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n# family \
            6\n*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n";
        wait_for("the policies are back and nothing else", BACK, || lab.server.rules() == empty);
    }
}

#[test]
fn port_111_answers_the_listed_node_and_no_other() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 2, &["rpcbind", "rpcinfo", "rpc.statd"]) else { return };
        lab.start_rpcbind();
        let before = lab.server.rules();
        let report = lab.portcullis(&["report", "--json"]);
        let v: serde_json::Value =
            serde_json::from_slice(&report.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&report)));
        let mapper = |proto: &str| {
            v["endpoints"]
                .as_array()
                .unwrap()
                .iter()
                .any(|e| e["name"] == "portmapper" && e["proto"] == proto && e["port"] == 111)
        };
        assert!(mapper("tcp") && mapper("udp"), "{v:#}");
        let reach = |client: usize| {
            [Lab::server4(client), Lab::server6(client)].map(|to| {
                (tcp_connects(&lab.clients[client], to, 111), portmapper_answers_udp(&lab.clients[client], to))
            })
        };
        assert_eq!((reach(0), reach(1)), ([(true, true); 2], [(true, true); 2]));
        let plan = lab.file("plan.toml", &CURE.replace("\"111\"", "\"portmapper\""));
        let out = lab.portcullis(&["apply", &plan, "--yes", "--confirm-within", "60s"]);
        assert!(out.status.success(), "{}", said(&out));
        assert_eq!((reach(0), reach(1)), ([(true, true); 2], [(false, false); 2]), "{backend:?}, on trial");
        // The host's own traffic is never cut.
        assert!(lab.server.run(&["rpcinfo", "-p"]).contains("portmapper"));
        let out = lab.portcullis(&["keep", "--without-proof"]);
        assert!(out.status.success(), "{}", said(&out));
        assert!(!lab.server.rules().contains("--date"), "kept rules have no dates");
        assert_eq!((reach(0), reach(1)), ([(true, true); 2], [(false, false); 2]), "{backend:?}, kept");
        let out = lab.portcullis(&["remove", "--yes"]);
        assert!(out.status.success(), "{}", said(&out));
        let out = lab.portcullis(&["keep", "--without-proof"]);
        assert!(out.status.success(), "{}", said(&out));
        assert_eq!(lab.server.rules(), before, "{backend:?}");
        assert_eq!(reach(1), [(true, true); 2]);
    }
}

#[test]
fn a_second_family_that_fails_takes_the_first_along() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        somebodys_rules(&lab);
        let before = lab.server.rules();
        lab.break_here("ip6tables-restore", "--noflush");
        let out = lab.portcullis(&["apply", &lab.file("plan.toml", CURE), "--yes"]);
        assert!(out.status.code() == Some(1) && said(&out).contains("broken for the test"), "{}", said(&out));
        // The guard keeps trying meanwhile, and refills our chains for that: they come and go.
        wait_for("the first family is back", Duration::from_secs(15), || lab.server.rules() == before);
        // The tool stayed broken, so IPv6 could not be verified: the guard does that once it works again.
        lab.mend("ip6tables-restore");
        wait_for("the guard is through", Duration::from_secs(15), || {
            !["armed", "running", "reverting"].contains(&state(&lab).as_str())
        });
        assert_eq!(lab.server.rules(), before, "{backend:?}");
        apply(&lab, SHORT);
    }
}

#[test]
fn a_trial_ends_when_the_session_is_hung_up() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 1, &["sshd", "ssh", "ssh-keygen"]) else { return };
        start_sshd(&lab);
        somebodys_rules(&lab);
        let before = lab.server.rules();
        let plan = lab.file("plan.toml", CURE);
        let mut session = Terminal::ssh(
            &lab,
            0,
            Lab::server4(0),
            &format!("{PORTCULLIS} apply {plan} --yes --confirm-within {SHORT}; cat"),
        );
        session.wait("the old rules come back", Duration::from_secs(10));
        assert_ne!(lab.server.rules(), before);
        session.hang_up();
        wait_for("the session is gone", Duration::from_secs(5), || lab.server.pids("apply").is_empty());
        wait_for("the old rules are back", BACK, || lab.server.rules() == before);
    }
}

/// A kernel without xt_time, and a machine without namespaces: refused before anything is changed, or allowed by an
/// explicit option.
#[test]
fn without_dates_and_without_a_rehearsal() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        somebodys_rules(&lab);
        let before = lab.server.rules();
        let plan = lab.file("plan.toml", CURE);
        let apply = |more: &[&str]| lab.portcullis(&[&["apply", &plan, "--yes"], more].concat());
        let refused = |more: &[&str], word: &str| {
            let out = apply(more);
            assert!(out.status.code() == Some(3) && said(&out).contains(word), "{backend:?} {more:?}: {}", said(&out));
            assert!(lab.server.rules() == before && state(&lab) != "running", "{backend:?} {more:?}");
            assert!(lab.server.pids("portcullis guard").is_empty(), "{backend:?} {more:?}: a guard was armed");
        };
        let runs = |more: &[&str], dates: bool| {
            let out = apply(more);
            assert!(
                out.status.success() && lab.server.rules().contains("--datestop") == dates,
                "{backend:?} {more:?}: {}",
                said(&out)
            );
            assert!(lab.portcullis(&["revert"]).status.success());
            assert_eq!(lab.server.rules(), before, "{backend:?} {more:?}");
            wait_for("the guard is done", Duration::from_secs(15), || lab.server.pids("portcullis guard").is_empty());
        };
        for family in ["ip", "ip6"] {
            let word = format!("{backend:?}").to_lowercase();
            lab.server.sh(&format!(
                "cat > /run/{family}.dateless <<'END'\n#!/bin/bash\ntext=$(cat)\n\
                if [[ $text == *'-m time'* ]]; then echo \"{family}tables-restore: line 3 failed\" >&2; exit 1; fi\n\
                exec /usr/sbin/{family}tables-{word}-restore \"$@\" <<< \"$text\"\nEND\n\
                chmod 755 /run/{family}.dateless; ln -sfn /run/{family}.dateless \
                /etc/alternatives/{family}tables-restore"
            ));
        }
        refused(&[], "--without-fuse");
        refused(&["--without-rehearsal"], "--without-fuse");
        runs(&["--without-fuse"], false);
        runs(&["--without-rehearsal", "--without-fuse"], false);
        lab.server
            .sh("printf '#!/bin/sh\necho broken for the test >&2\nexit 1\n' > /run/unshare; chmod 755 /run/unshare; \
            mount --bind /run/unshare $(command -v unshare)");
        refused(&["--without-rehearsal"], "--without-fuse");
        for family in ["ip", "ip6"] {
            lab.mend(&format!("{family}tables-restore"));
        }
        refused(&[], "--without-rehearsal");
        runs(&["--without-rehearsal"], true);
    }
}
