//! Exported scripts on the real kernel: they have the same result as apply and keep, running them twice changes
//! nothing, and they change both families or neither.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::process::Output;

use common::{Backend, Lab};

/// Allows the first client's addresses, drops everybody else, on a port of the host and on a published one.
const CURE: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.2\", \"2001:db8::2\"]\n\
    to = [\"111\", \"published:9042/tcp\"]\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\n\
    to = [\"111\", \"published:9042/tcp\"]\n";

/// The shells in which a script must run.
const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[track_caller]
fn good(lab: &Lab, args: &[&str]) -> String {
    let out = lab.portcullis(args);
    assert!(out.status.success(), "{:?} {args:?}: {}", lab.backend, said(&out));
    String::from_utf8(out.stdout).unwrap()
}

#[track_caller]
fn keep(lab: &Lab, plan: &str) {
    good(lab, &["apply", plan, "--yes", "--replace"]);
    good(lab, &["keep", "--without-proof"]);
}

/// Starts with nothing of ours, or with a kept plan.
fn begin_with(lab: &Lab, kept: Option<&String>) -> String {
    if lab.server.rules().contains("PORTCULLIS") {
        good(lab, &["remove", "--yes"]);
        good(lab, &["keep", "--without-proof"]);
    }
    if let Some(kept) = kept {
        keep(lab, kept);
    }
    lab.server.rules()
}

/// A Docker host, a plan, another one, and what is kept before each.
struct Story {
    lab: Lab,
    plans: [(String, Option<String>); 3],
}

fn story(backend: Backend) -> Option<Story> {
    let lab = Lab::new(backend, 0, &["dash", "busybox"])?;
    lab.server.restore("", include_str!("../../assets/demo/iptables-save.txt"));
    lab.server.restore("6", "*filter\n-A INPUT -s 2001:db8:ffff::/48 -j DROP\nCOMMIT\n");
    let plan = lab.file("plan.toml", CURE);
    let other = lab.file("other.toml", &CURE.replace("192.0.2.2", "192.0.2.9").replace(", \"published:9042/tcp\"", ""));
    // On a host without anything of ours; on top of a kept plan; and back to a plan that opens more.
    let plans = [(plan.clone(), None), (other.clone(), Some(plan.clone())), (plan, Some(other))];
    Some(Story { lab, plans })
}

fn run(lab: &Lab, shell: &[&str], script: &str) -> Output {
    // A shell cannot trap signals that its caller ignores, as under nohup(1) and in many CI systems.
    lab.server.output(&[&["env", "--default-signal=HUP,INT,TERM"], shell, &[script]].concat())
}

/// Loads a restore text as its comments say: each family's part, then the commands.
fn load(lab: &Lab, text: &str) {
    let (v4, v6) = text.split_at(text.find("# IPv6").unwrap());
    lab.server.restore("", v4);
    lab.server.restore("6", v6);
    let commands: Vec<&str> = text
        .split("COMMIT\n")
        .skip(1)
        .flat_map(str::lines)
        .filter_map(|l| l.strip_prefix("# "))
        .filter(|l| !l.starts_with("IPv6"))
        .collect();
    assert!(!commands.is_empty());
    lab.server.run(&["sh", "-ec", &commands.join("\n")]);
}

#[test]
fn an_export_has_the_result_of_apply_and_keep_and_is_idempotent() {
    for backend in Backend::BOTH {
        let Some(Story { lab, plans }) = story(backend) else { return };
        for (plan, kept) in &plans {
            let before = begin_with(&lab, kept.as_ref());
            let (shell, restore) =
                (good(&lab, &["export", plan, "--to", "shell"]), good(&lab, &["export", plan, "--to", "restore"]));
            assert_eq!(lab.server.rules(), before, "an export changes nothing");
            keep(&lab, plan);
            let expected = lab.server.rules();
            assert_ne!(expected, before);
            let script = lab.file("script.sh", &shell);
            for sh in SHELLS {
                begin_with(&lab, kept.as_ref());
                for time in ["once", "twice", "three times"] {
                    let out = run(&lab, sh, &script);
                    assert!(out.status.success(), "{backend:?} {sh:?} {time}: {}", said(&out));
                    assert_eq!(lab.server.rules(), expected, "{backend:?} {sh:?} {time}:\n{shell}");
                }
            }
            begin_with(&lab, kept.as_ref());
            for time in ["once", "twice"] {
                load(&lab, &restore);
                assert_eq!(lab.server.rules(), expected, "{backend:?} {time}:\n{restore}");
            }
            // Also if the other slot has come into force since.
            let other = lab.file("third.toml", &CURE.replace("192.0.2.2", "192.0.2.7"));
            keep(&lab, &other);
            assert!(run(&lab, SHELLS[0], &script).status.success());
            assert_eq!(lab.server.rules(), expected, "{backend:?} after another plan");
        }
        // Everything removed.
        let none = begin_with(&lab, None);
        keep(&lab, &plans[0].0);
        let script =
            lab.file("none.sh", &good(&lab, &["export", &lab.file("none.toml", "version = 1\n"), "--to", "shell"]));
        for sh in SHELLS {
            assert!(run(&lab, sh, &script).status.success());
            assert_eq!(lab.server.rules(), none, "{backend:?} {sh:?}");
        }
    }
}

#[test]
fn a_script_that_fails_takes_both_families_back() {
    for backend in Backend::BOTH {
        let Some(Story { lab, plans }) = story(backend) else { return };
        for (plan, kept) in &plans {
            let before = begin_with(&lab, kept.as_ref());
            let script = lab.file("script.sh", &good(&lab, &["export", plan, "--to", "shell"]));
            // Tool, the argument with which it fails, and the message.
            let mut breaks = vec![
                ("ip6tables-restore", "--noflush", "ip6tables-restore did not take the rules"),
                ("iptables-restore", "--noflush", "iptables-restore did not take the rules"),
                ("ip6tables-save", "filter", "ip6tables-save cannot read the filter table: nothing was changed"),
            ];
            if kept.is_none() {
                breaks.extend([
                    ("ip6tables", "-I", "ip6tables did not take the jump"),
                    ("iptables", "-I", "iptables did not take the jump"),
                ]);
            }
            for (tool, argument, words) in breaks {
                for sh in SHELLS {
                    lab.break_here(tool, argument);
                    let out = run(&lab, sh, &script);
                    lab.mend(tool);
                    assert_eq!(out.status.code(), Some(1), "{backend:?} {sh:?} {tool}: {}", said(&out));
                    assert!(said(&out).contains(words), "{backend:?} {sh:?} {tool}: {}", said(&out));
                    assert!(
                        said(&out).contains("nothing was changed")
                            || said(&out).contains("IPv4 and IPv6 are as they were"),
                        "{backend:?} {sh:?} {tool}: {}",
                        said(&out)
                    );
                    assert_eq!(lab.server.rules(), before, "{backend:?} {sh:?} {tool}: {}", said(&out));
                }
            }
            // Terminated while the second family is being loaded.
            for signal in ["TERM", "HUP", "INT"] {
                lab.server.sh(&format!(
                    "real=$(readlink -f /etc/alternatives/ip6tables-restore); \
                    printf '#!/bin/bash\\n[ -e /run/told ] || {{ : > /run/told; kill -{signal} $PPID; }}\\nexec -a \
                    ip6tables-restore %s \"$@\"\\n' \"$real\" > /run/tells; \
                    chmod 755 /run/tells; rm -f /run/told; ln -sfn /run/tells /etc/alternatives/ip6tables-restore"
                ));
                for sh in SHELLS {
                    lab.server.sh("rm -f /run/told");
                    let out = run(&lab, sh, &script);
                    assert!(
                        !out.status.success() && said(&out).contains("interrupted"),
                        "{backend:?} {sh:?} {signal}: {}",
                        said(&out)
                    );
                    assert_eq!(lab.server.rules(), before, "{backend:?} {sh:?} {signal}: {}", said(&out));
                }
                lab.mend("ip6tables-restore");
            }
        }
    }
}

#[test]
fn a_script_looks_before_it_begins() {
    for backend in Backend::BOTH {
        let Some(Story { lab, plans }) = story(backend) else { return };
        let before = lab.server.rules();
        let script = lab.file("script.sh", &good(&lab, &["export", &plans[0].0, "--to", "shell"]));
        let refused = |words: &str, prefix: &[&str]| {
            for sh in SHELLS {
                let out = lab.server.output(&[prefix, sh, &[script.as_str()]].concat());
                assert!(
                    out.status.code() == Some(1)
                        && said(&out).contains(words)
                        && said(&out).contains("nothing was changed"),
                    "{backend:?} {sh:?}: {}",
                    said(&out)
                );
            }
        };
        lab.server.sh(&format!("chmod 755 {} {script}", lab.dir.path().display()));
        refused("only root can change the firewall", &["setpriv", "--reuid=65534", "--clear-groups"]);
        lab.server.sh("ln -sfn /run/nowhere /etc/alternatives/ip6tables-restore");
        refused("ip6tables-restore is not installed", &[]);
        lab.mend("ip6tables-restore");
        assert_eq!(lab.server.rules(), before);
        // While a trial runs, its end would remove the script's rules again.
        good(&lab, &["apply", &plans[0].0, "--yes"]);
        let during = lab.server.rules();
        refused("a trial of portcullis is pending", &[]);
        assert_eq!(lab.server.rules(), during);
        good(&lab, &["revert"]);
        // No script is written for one family if the other cannot be read.
        lab.break_here("ip6tables-save", "-c");
        let out = lab.portcullis(&["export", &plans[0].0, "--to", "shell"]);
        assert!(
            out.status.code() == Some(3)
                && out.stdout.is_empty()
                && said(&out).contains("the IPv6 rules could not be read"),
            "{}",
            said(&out)
        );
        lab.mend("ip6tables-save");
        if backend == Backend::Nft && common::find("nft").is_some() {
            // A native rule in iptables' own table hides its content.
            lab.server.sh("nft add rule ip filter INPUT ct state invalid drop");
            refused("iptables-save cannot read the filter table", &[]);
            let out = lab.portcullis(&["export", &plans[0].0, "--to", "shell"]);
            assert!(
                out.status.code() == Some(3)
                    && out.stdout.is_empty()
                    && said(&out).contains("cannot read the IPv4 filter table whole"),
                "{}",
                said(&out)
            );
        }
    }
}

#[test]
fn apply_says_the_checks_of_a_plan_before_it_changes_anything() {
    let Some(lab) = Lab::new(Backend::Nft, 0, &[]) else { return };
    let twisted = "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111/tcp\"]\n\
        [[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.2\", \"2001:db8::2\"]\nto = [\"111/tcp\"]\n";
    let out = lab.portcullis(&["apply", &lab.file("twisted.toml", twisted), "--yes"]);
    let said = said(&out);
    assert!(out.status.success(), "{said}");
    let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words} is not said: {said}"));
    let applied = at("applying the plan");
    for words in [
        "warning: a rule of this plan can never match, the rules before it take all its packets: -A PORTCULLIS-A -s \
            192.0.2.2/32",
        "checked: IPv6 is covered, and nodes with IPv6 are allowed",
    ] {
        assert!(at(words) < applied, "{words} comes too late: {said}");
        assert_eq!(said.matches(words).count(), 1, "{said}");
    }
    good(&lab, &["revert"]);
    // A plan without problems gives no warnings.
    let cure = CURE.replace(", \"published:9042/tcp\"", "");
    let out = lab.portcullis(&["apply", &lab.file("cure.toml", &cure), "--yes"]);
    let said = self::said(&out);
    assert!(out.status.success() && !said.contains("warning:") && said.contains("checked: "), "{said}");
    good(&lab, &["revert"]);
}
