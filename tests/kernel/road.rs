//! An administrator's way through a real firewall, by commands: look while tools are missing, then save.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Output;

use common::{Backend, Lab, ours};

/// Allows the first client's addresses, drops everybody else, on a port of the host and on a published one.
const CURE: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.2\", \"2001:db8::2\"]\n\
    to = [\"111\", \"published:9042/tcp\"]\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\n\
    to = [\"111\", \"published:9042/tcp\"]\n";

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[track_caller]
fn good(lab: &Lab, args: &[&str]) -> String {
    let out = lab.portcullis(args);
    assert!(out.status.success(), "{:?} {args:?}: {}", lab.backend, said(&out));
    said(&out)
}

#[track_caller]
fn bad(lab: &Lab, args: &[&str], code: i32) -> String {
    let out = lab.portcullis(args);
    assert_eq!(out.status.code(), Some(code), "{:?} {args:?}: {}", lab.backend, said(&out));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("error: ") && text.contains("\nhint: "), "{args:?}: {text}");
    text
}

fn docker_host(lab: &Lab) {
    lab.server.restore("", include_str!("../../assets/demo/iptables-save.txt"));
    lab.server.restore("6", "*filter\n-A INPUT -s 2001:db8:ffff::/48 -j DROP\nCOMMIT\n");
}

#[test]
fn looking_loads_no_table() {
    let Some(lab) = Lab::new(Backend::Legacy, 0, &[]) else { return };
    let tables = || lab.server.sh("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names");
    assert_eq!(tables(), "");
    good(&lab, &["report"]);
    good(&lab, &["report", "--json"]);
    good(&lab, &["status"]);
    good(&lab, &["save", "--all", "--dry-run"]);
    bad(&lab, &["revert"], 1);
    bad(&lab, &["keep"], 1);
    assert_eq!(tables(), "");
}

/// Hides tools behind directories of links that lack them.
fn without(lab: &Lab, tools: &str) {
    lab.server.sh(&format!(
        "for d in sbin bin; do [ -e /run/all$d ] || {{ mkdir /run/all$d; mount --bind /usr/$d /run/all$d; }}; umount \
        -q /usr/$d || true; mkdir -p /run/some$d; find /run/some$d -type l -delete; ln -s /run/all$d/* /run/some$d/; \
        for t in {tools}; do rm -f /run/some$d/$t; done; done; for d in sbin bin; do mount --bind /run/some$d \
        /usr/$d; done"
    ));
}

#[test]
fn what_is_missing_is_named_and_the_rest_is_shown() {
    let Some(lab) = Lab::new(Backend::Nft, 1, &["rpcbind", "rpcinfo", "rpc.statd"]) else { return };
    lab.start_rpcbind();
    let plan = lab.file("plan.toml", CURE);
    let before = lab.server.rules();
    for (tools, needs, rest) in [
        ("rpcinfo", "rpcinfo is not installed (Debian package rpcbind)", "rpcbind 111/tcp"),
        ("ss", "ss is not installed (Debian package iproute2)", "portmapper 111/tcp"),
        ("nft", "nft is not installed (Debian package nftables)", "portmapper 111/tcp"),
        (
            "ip6tables ip6tables-save ip6tables-restore",
            "ip6tables-save is not installed (Debian package iptables)",
            "IPv4  accept",
        ),
        (
            "iptables iptables-save iptables-restore",
            "iptables-save is not installed (Debian package iptables)",
            "IPv6  accept",
        ),
    ] {
        without(&lab, tools);
        let report = good(&lab, &["report"]);
        assert!(report.contains(needs) && report.contains(rest), "without {tools}:\n{report}");
        if tools.contains("tables") {
            assert!(report.contains("not known: the rules were not read"), "without {tools}:\n{report}");
            assert!(bad(&lab, &["apply", &plan, "--yes"], 3).contains(needs));
            assert!(bad(&lab, &["save", "--all", "--yes"], 1).contains(needs));
        }
    }
    without(&lab, "");
    assert_eq!(lab.server.rules(), before);
}

#[test]
fn rules_that_cannot_be_read_are_a_warning_and_without_any_a_failure() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        let codes = |json: &str| {
            let report: serde_json::Value = serde_json::from_str(json).unwrap();
            let all: Vec<String> =
                report["warnings"].as_array().unwrap().iter().map(|w| w["code"].as_str().unwrap().to_owned()).collect();
            all.into_iter().filter(|c| c.ends_with("-unknown")).collect::<Vec<_>>()
        };
        let packets = lab.file("packets", "{\"proto\":\"tcp\",\"src\":\"203.0.113.9\",\"dport\":22}\n");
        let trace = ["trace", "--proto", "tcp", "--src", "203.0.113.9", "--dport", "22"];
        for (tool, code) in [("iptables-save", "ipv4-unknown"), ("ip6tables-save", "ipv6-unknown")] {
            lab.break_here(tool, "-c");
            let out = lab.portcullis(&["report", "--json"]);
            assert_eq!(
                (out.status.code(), codes(&String::from_utf8_lossy(&out.stdout))),
                (Some(0), vec![code.to_owned()]),
                "{}",
                said(&out)
            );
            if code == "ipv4-unknown" {
                assert!(bad(&lab, &trace, 1).contains("the IPv4 rules could not be read: iptables-save failed"));
                let out = lab.portcullis(&["trace", "--packets", &packets]);
                assert!(
                    out.status.code() == Some(1) && said(&out).contains("\"verdict\":\"depends\""),
                    "{}",
                    said(&out)
                );
            } else {
                good(&lab, &trace);
            }
            lab.mend(tool);
        }
        lab.break_here("iptables-save", "-c");
        lab.break_here("ip6tables-save", "-c");
        // On iptables-nft `status` asks for our own chains alone.
        lab.break_here("iptables", "-S");
        lab.break_here("ip6tables", "-S");
        let out = lab.portcullis(&["report", "--json"]);
        assert_eq!(
            (out.status.code(), codes(&String::from_utf8_lossy(&out.stdout))),
            (Some(1), vec!["ipv4-unknown".to_owned(), "ipv6-unknown".to_owned()])
        );
        let error: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
        assert_eq!(error["error"]["code"], "unreadable", "{error}");
        let text = bad(&lab, &["report"], 1);
        assert!(text.contains("broken for the test"), "{text}");
        // No state file does not mean that there is no trial.
        let out = lab.portcullis(&["status"]);
        assert!(
            out.status.code() == Some(1) && said(&out).contains("the IPv6 rules could not be read, so it is not known"),
            "{}",
            said(&out)
        );
        let out = lab.portcullis(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((out.status.code(), &status["unread"]), (Some(1), &serde_json::json!(["ipv4", "ipv6"])));
        lab.mend("iptables-save");
        lab.mend("iptables");
        assert!(good(&lab, &["status"]).contains("warning: the IPv6 rules could not be read"));
    }
}

#[test]
fn tools_that_hang_or_fail_cost_their_own_time_only() {
    let Some(lab) = Lab::new(Backend::Nft, 1, &["rpcbind", "rpcinfo", "rpc.statd"]) else { return };
    lab.start_rpcbind();
    lab.server.sh(
        "printf '#!/bin/sh\\nexec sleep 600\\n' > /run/hangs; printf '#!/bin/sh\\necho broken for the test >&2; exit \
        1\\n' > /run/fails; chmod 755 /run/hangs /run/fails; mount --bind /run/hangs /usr/bin/rpcinfo; mount --bind \
        /run/fails /usr/bin/ss",
    );
    let report = good(&lab, &["report"]);
    for words in ["rpcinfo did not answer within 3 s", "ss failed: broken for the test"] {
        assert!(report.contains(words), "{words}:\n{report}");
    }
    assert!(lab.server.pids("sleep 600").is_empty(), "what hung was ended");
}

#[test]
fn without_ipv6_the_other_family_is_all_there_is() {
    let Some(lab) = Lab::new(Backend::Nft, 1, &["rpcbind", "rpcinfo", "rpc.statd"]) else { return };
    lab.start_rpcbind();
    lab.server.sh("for c in all default lo lan0; do echo 1 > /proc/sys/net/ipv6/conf/$c/disable_ipv6; done");
    let report = good(&lab, &["report"]);
    assert!(report.contains("IPv6  none: the host has no") && !report.contains("IPv6 rules are not known"), "{report}");
    let plan = lab.file("plan.toml", CURE);
    good(&lab, &["apply", &plan, "--yes"]);
    good(&lab, &["revert"]);
}

#[test]
fn a_save_is_shown_proven_and_whole() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        docker_host(&lab);
        let plan = lab.file("plan.toml", CURE);
        let rules = [lab.dir.path().join("rules.v4"), lab.dir.path().join("rules.v6")];
        let is_there = || rules.iter().map(|r| r.exists()).collect::<Vec<_>>();
        good(&lab, &["apply", &plan, "--yes"]);
        assert!(bad(&lab, &["save", "--all", "--yes"], 3).contains("a trial is pending"));
        good(&lab, &["keep", "--without-proof"]);
        assert!(bad(&lab, &["save"], 3).contains("--unmanaged or --all"));
        assert!(bad(&lab, &["save", "--all"], 3).contains("say --yes"));
        let shown = good(&lab, &["save", "--all", "--dry-run"]);
        assert!(
            shown.contains("+-A DOCKER ")
                && shown.contains("+-A PORTCULLIS -j PORTCULLIS-A")
                && shown.contains(" at boot"),
            "{shown}"
        );
        assert_eq!(is_there(), [false, false], "so far nothing is written");

        // An old file keeps its mode and owner; a backup is next to it afterwards.
        fs::write(&rules[0], "# old\n").unwrap();
        fs::set_permissions(&rules[0], fs::Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::chown(&rules[0], Some(1), Some(2)).unwrap();
        let done = good(&lab, &["save", "--unmanaged", "--yes"]);
        let meta = fs::metadata(&rules[0]).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o604, 1, 2));
        assert_eq!(fs::metadata(&rules[1]).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_to_string(lab.dir.path().join("rules.v4.before-portcullis")).unwrap(), "# old\n");
        assert!(done.contains("was loaded into a fresh namespace"), "{done}");

        // It loads on its own in a fresh namespace, with our rules and without Docker's.
        let fresh = lab.loaded_afresh();
        assert_eq!(ours(&fresh), ours(&lab.server.rules()), "{backend:?}");
        assert!(!fresh.contains("DOCKER-ISOLATION") && fresh.contains("-A DOCKER-USER -j PORTCULLIS-FWD"), "{fresh}");
        assert!(good(&lab, &["save", "--unmanaged", "--yes"]).contains("exactly this already"));
        good(&lab, &["save", "--all", "--yes"]);
        assert!(fs::read_to_string(&rules[0]).unwrap().contains("-A DOCKER-ISOLATION-STAGE-1"));

        // Both families or neither: the second file cannot be written.
        let kept = fs::read_to_string(&rules[0]).unwrap();
        lab.server.restore("", "*filter\n-A INPUT -s 203.0.113.9/32 -j DROP\nCOMMIT\n");
        lab.server.restore("6", "*filter\n-A INPUT -s 2001:db8:9::/48 -j DROP\nCOMMIT\n");
        lab.server.sh(&format!("mount --bind {0} {0}", rules[1].display()));
        assert!(bad(&lab, &["save", "--all", "--yes"], 1).contains("could not be written"));
        assert_eq!(fs::read_to_string(&rules[0]).unwrap(), kept, "{backend:?}");
    }
}
