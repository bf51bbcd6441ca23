//! Filters besides the iptables in use are found on the real kernel: native nft tables, the other variant, and native
//! rules in iptables' own tables. Nothing that they may block is called open.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::time::Duration;

use common::net::Echo;
use common::outlive::LOCK_OUT;
use common::ssh::{remote, start_sshd};
use common::{Backend, Lab, PORTCULLIS, wait_for};
use serde_json::Value;

/// The port on which the server of the tests listens.
const PORT: u16 = 4000;
const DROP: &str = "*filter\n-A INPUT -p tcp -m tcp --dport 4000 -j DROP\nCOMMIT\n";

/// The exposure of the port in a family according to `report`: the one part that contains all addresses.
#[track_caller]
fn fares(report: &Value, family: &str) -> String {
    let endpoint = report["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["port"] == PORT && e["proto"] == "tcp")
        .unwrap_or_else(|| panic!("{report:#}"));
    let exposure = &endpoint["exposure"][family];
    let all = if family == "ipv4" { "0.0.0.0/0" } else { "::/0" };
    let parts = ["accepted", "blocked", "depends"]
        .into_iter()
        .filter(|p| exposure[p].as_array().is_some_and(|a| a.iter().any(|n| n == all)));
    parts.collect::<Vec<_>>().join(" ")
}

/// The messages of all warnings with this code.
fn warned(report: &Value, code: &str) -> Vec<String> {
    report["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|w| w["code"] == code)
        .map(|w| w["message"].as_str().unwrap().to_owned())
        .collect()
}

fn report(lab: &Lab) -> Value {
    let out = lab.portcullis(&["report", "--json"]);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

/// The verdict for both families in `report`, which must be that of `trace`.
#[track_caller]
fn both(lab: &Lab) -> [String; 2] {
    let r = report(lab);
    let said = ["ipv4", "ipv6"].map(|f| fares(&r, f));
    for (said, client) in said.iter().zip([Lab::client4(0), Lab::client6(0)]) {
        let out = lab.portcullis(&[
            "trace",
            "--proto",
            "tcp",
            "--src",
            &client.to_string(),
            "--dport",
            &PORT.to_string(),
            "--json",
        ]);
        let t: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
        let as_part = match t["verdict"].as_str().unwrap() {
            "accept" => "accepted",
            "drop" | "reject" => "blocked",
            other => other,
        };
        assert_eq!(as_part, said, "trace: {t:#}");
    }
    said
}

/// A host that listens, and one client.
fn host(backend: Backend, tools: &[&str]) -> Option<(Lab, Echo)> {
    let lab = Lab::new(backend, 1, tools)?;
    let echo = Echo::start(&lab.server, PORT);
    Some((lab, echo))
}

#[test]
fn native_tables_make_accept_depend_and_drop_only_where_they_rewrite() {
    let Some((lab, echo)) = host(Backend::Nft, &["nft"]) else { return };
    let passes = || [Lab::server4(0), Lab::server6(0)].map(|to| echo.tcp(&lab.clients[0], to));
    assert_eq!((both(&lab), passes()), (["accepted".into(), "accepted".into()], [true, true]));
    let (acc, blo, dep) = ("accepted", "blocked", "depends");
    // A table, whether iptables drops the port (IPv4 only), what is reported, which packets pass, how many warnings
    // there are.
    for (nft, dropped, said, pass, warnings) in [
        // A table without a hook, or without a rule, decides nothing.
        ("table inet t { set s { type ipv4_addr; }; chain c { drop; }; }", false, [acc, acc], [true, true], 0),
        (
            "table inet t { chain i { type filter hook input priority 0; policy accept; }; }",
            false,
            [acc, acc],
            [true, true],
            0,
        ),
        (
            "table inet t { chain o { type filter hook output priority 0; udp dport 9 drop; }; }",
            false,
            [acc, acc],
            [true, true],
            0,
        ),
        (
            "table inet t { chain i { type filter hook input priority 0; tcp dport 4000 drop; }; }",
            false,
            [dep, dep],
            [false, false],
            2,
        ),
        (
            "table inet t { chain i { type filter hook input priority 0; policy drop; ip6 nexthdr icmpv6 accept; }; }",
            true,
            [blo, dep],
            [false, false],
            2,
        ),
        (
            "table ip t { chain i { type filter hook input priority 0; tcp dport 4000 drop; }; }",
            false,
            [dep, acc],
            [false, true],
            1,
        ),
        (
            "table ip6 t { chain i { type filter hook prerouting priority -300; tcp dport 4000 drop; }; }",
            false,
            [acc, dep],
            [true, false],
            1,
        ),
        (
            "table netdev t { chain i { type filter hook ingress device lan0 priority 0; tcp dport 4000 drop; }; }",
            false,
            [dep, dep],
            [false, false],
            2,
        ),
        (
            "table ip t { chain p { type nat hook prerouting priority -100; tcp dport 9 redirect to :4000; }; }",
            true,
            [dep, acc],
            [false, true],
            1,
        ),
        (
            "table ip t { chain p { type filter hook prerouting priority -300; tcp dport 9 notrack; }; }",
            true,
            [dep, acc],
            [false, true],
            1,
        ),
        (
            "table ip t { chain p { type filter hook prerouting priority -300; tcp dport 9 meta mark set 5; }; }",
            true,
            [dep, acc],
            [false, true],
            1,
        ),
        // firewalld's is one of them; many hooks give one warning.
        (
            "table inet firewalld { chain a { type filter hook input priority 10; ct state invalid drop; }; chain b { \
            type filter hook forward priority 10; drop; }; chain c { type nat hook prerouting priority -90; }; }",
            true,
            [blo, dep],
            [false, true],
            2,
        ),
        // A native base chain in iptables' own table, which iptables skips.
        (
            "table ip filter { chain mine { type filter hook input priority 5; policy drop; }; }",
            false,
            [dep, acc],
            [false, true],
            1,
        ),
    ] {
        lab.server.sh("nft flush ruleset");
        if dropped {
            lab.server.restore("", DROP);
        }
        lab.server.run(&["nft", nft]);
        assert_eq!(both(&lab), said, "{nft}");
        assert_eq!(passes(), pass, "{nft}");
        let messages = warned(&report(&lab), "other-filter");
        assert_eq!(messages.len(), warnings, "{nft}: {messages:?}");
        let name = ["firewalld", "ip filter"].into_iter().find(|n| nft.contains(n)).unwrap_or(" t ");
        assert!(messages.iter().all(|m| m.contains(name) && m.contains("nft list table")), "{messages:?}");
    }
}

#[test]
fn native_rules_in_the_tables_of_iptables_are_never_open() {
    let Some((lab, _echo)) = host(Backend::Nft, &["nft"]) else { return };
    let plan = lab.file(
        "plan.toml",
        "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"198.51.100.1\"]\nto = [\"4000/tcp\"]\n",
    );
    for (f, table, chain, rule) in [
        // iptables itself says that it cannot read these.
        ("ip", "filter", "INPUT", "ct state new drop"),
        ("ip", "filter", "FORWARD", "ct state new drop"),
        ("ip", "nat", "PREROUTING", "ct state new tcp dport 4000 redirect to :9"),
        ("ip", "mangle", "PREROUTING", "ct state new drop"),
        ("ip6", "filter", "INPUT", "ct state new drop"),
        ("ip6", "nat", "PREROUTING", "ct state new tcp dport 4000 redirect to :9"),
        // iptables prints these without their match, as if they applied to all packets.
        ("ip", "filter", "INPUT", "ip saddr != { 192.0.2.2, 192.0.2.3 } accept"),
        ("ip", "filter", "INPUT", "tcp dport { 9, 10 } drop"),
        ("ip", "filter", "INPUT", "ip saddr 198.51.100.1-198.51.100.9 drop"),
        ("ip", "filter", "INPUT", "ip saddr > 198.51.100.1 drop"),
        ("ip", "filter", "INPUT", "udp dport vmap { 9 : drop }"),
        ("ip6", "filter", "INPUT", "ip6 saddr { 2001:db8::2, 2001:db8::3 } accept"),
    ] {
        lab.server.sh("nft flush ruleset");
        let tool = if f == "ip" { "iptables" } else { "ip6tables" };
        // A chain created first makes the tables, so that each is one of iptables'.
        lab.server
            .sh(&format!("{tool} -t {table} -I {chain} -s $([ {f} = ip ] && echo 203.0.113.9 || echo 2001:db8:9::9)"));
        lab.server.sh(&format!("nft 'add rule {f} {table} {chain} {rule}'"));
        let context = format!("{f} {table} {chain} {rule}\n{}", lab.server.run(&[&format!("{tool}-save")]));
        let said = both(&lab);
        let (hit, other) = if f == "ip" { (&said[0], &said[1]) } else { (&said[1], &said[0]) };
        // Packets to the host do not pass FORWARD, but the table is not known.
        assert_eq!((hit.as_str(), other.as_str()), ("depends", "accepted"), "{context}");
        let messages = warned(&report(&lab), "unreadable-table");
        assert!(messages.len() == 1 && messages[0].contains(table), "{messages:?} {context}");
        let before = lab.server.run(&["nft", "list", "ruleset"]);
        for (args, concerned) in
            [(&["apply", plan.as_str(), "--yes"][..], table == "filter"), (&["save", "--all", "--yes"], true)]
        {
            if concerned {
                let out = lab.portcullis(args);
                assert_eq!(out.status.code(), Some(3), "{args:?} {out:?} {context}");
            }
        }
        assert_eq!(lab.server.run(&["nft", "list", "ruleset"]), before, "{context}");
    }
    // A plan changes only the filter table: if another one is not known, the trial still runs, with a warning.
    lab.server.sh(
        "nft flush ruleset; iptables -t nat -A PREROUTING -s 203.0.113.9; nft add rule ip nat PREROUTING ct state new \
        tcp dport 9 redirect to :22; nft 'table inet t { chain i { type filter hook input priority 0; tcp dport 9 \
        drop; }; }'",
    );
    let out = lab.portcullis(&["apply", &plan, "--yes", "--confirm-within", "60s"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success()
            && said.contains("cannot read the IPv4 table nat")
            && said.contains("IPv6 is also filtered by the native nft table inet t"),
        "{out:?}"
    );
    assert!(lab.portcullis(&["revert"]).status.success());
    assert!(lab.server.run(&["nft", "list", "table", "ip", "nat"]).contains("redirect to :22"));
    // A rule that iptables cannot print at all makes it fail: then nothing is known.
    lab.server
        .sh("nft flush ruleset; iptables -A INPUT -s 203.0.113.9; nft add rule ip filter INPUT meta skuid 0 drop");
    let r = report(&lab);
    assert_eq!((fares(&r, "ipv4"), fares(&r, "ipv6")), (String::new(), "accepted".to_owned()), "{r:#}");
    assert!(r["diagnostics"].to_string().contains("could not be read"), "{r:#}");
    assert_eq!(lab.portcullis(&["apply", &plan, "--yes"]).status.code(), Some(3));
}

#[test]
fn what_iptables_prints_right_is_judged_though_sets_and_ranges_are_in_it() {
    let Some((lab, _echo)) = host(Backend::Nft, &["nft"]) else { return };
    lab.server.restore(
        "",
        "*filter\n-A INPUT -p tcp -m multiport --dports 1,2,5:7 -j DROP\n\
        -A INPUT -m iprange --src-range 1.2.3.4-1.2.3.9\n\
        -A INPUT -s 10.0.0.0/255.0.255.0 -p udp -m udp --dport 5:7 -m comment --comment \"{\\\"set\\\": [ @x\"\n\
        -A INPUT -m time --datestop 2031-01-01T00:00:00\n-A INPUT -p tcp -m tcp --dport 4000 -j DROP\nCOMMIT\n",
    );
    assert_eq!(both(&lab), ["blocked", "accepted"]);
    // ufw's chains are chains of iptables: they are judged, not warned about.
    lab.server.sh("nft flush ruleset");
    for (f, dash) in [("", ""), ("6", "6")] {
        lab.server.restore(
            f,
            &format!(
                "*filter\n:INPUT DROP [0:0]\n:ufw{dash}-before-input - [0:0]\n:ufw{dash}-user-input - [0:0]\n\
                -A INPUT -j ufw{dash}-before-input\n-A ufw{dash}-before-input -j ufw{dash}-user-input\n\
                -A ufw{dash}-user-input -p tcp -m tcp --dport 4000 -j ACCEPT\nCOMMIT\n"
            ),
        );
    }
    assert_eq!(both(&lab), ["accepted", "accepted"]);
    assert_eq!(warned(&report(&lab), "other-filter"), Vec::<String>::new());
}

#[test]
fn the_other_backend_filters_too() {
    for (backend, other, own) in [(Backend::Nft, "legacy", "nft"), (Backend::Legacy, "nft", "legacy")] {
        let Some((lab, echo)) = host(backend, &["nft", "xtables-legacy-multi"]) else { return };
        let restore = |f: &str, word: &str, script: &str| {
            let out = lab.server.with_input(&[&format!("ip{f}tables-{word}-restore"), "--noflush"], script);
            assert!(out.status.success(), "{out:?}");
        };
        // Tables that merely exist accept everything.
        for f in ["", "6"] {
            restore(f, other, "*filter\nCOMMIT\n");
        }
        assert_eq!(both(&lab), ["accepted", "accepted"], "{backend:?}");
        restore("", other, DROP);
        assert_eq!(both(&lab), ["depends", "accepted"], "{backend:?}");
        assert!(!echo.tcp(&lab.clients[0], Lab::server4(0)) && echo.tcp(&lab.clients[0], Lab::server6(0)));
        let messages = warned(&report(&lab), "other-filter");
        assert!(messages.len() == 1 && messages[0].contains(&format!("iptables-{other}")), "{messages:?}");
        restore("", own, DROP);
        assert_eq!(both(&lab), ["blocked", "accepted"], "{backend:?}: filters only take away");
        restore("", other, "*nat\n-A PREROUTING -p tcp -m tcp --dport 9 -j REDIRECT --to-ports 4000\nCOMMIT\n");
        assert_eq!(both(&lab), ["depends", "accepted"], "{backend:?}: NAT may lead elsewhere");
        restore("6", other, "*filter\n:INPUT DROP [0:0]\nCOMMIT\n");
        assert_eq!(both(&lab), ["depends", "depends"], "{backend:?}: a policy filters, too");
        // Without nft, the tools of the two variants still report each other; the warning says that native tables are
        // not known.
        lab.server.sh("for t in /usr/sbin/nft /sbin/nft; do [ ! -e $t ] || mount --bind /dev/null $t; done");
        assert_eq!(both(&lab), ["depends", "depends"], "{backend:?}");
        let note = report(&lab)["diagnostics"].to_string();
        assert_eq!(
            note.contains("whether native nft tables filter too is not known"),
            backend == Backend::Nft,
            "{note}"
        );
    }
}

#[test]
fn a_lock_out_is_refused_though_what_is_not_known_may_rewrite() {
    let Some(lab) = Lab::new(Backend::Nft, 1, &["nft", "sshd", "ssh", "ssh-keygen"]) else { return };
    start_sshd(&lab);
    let plan = lab.file("plan.toml", LOCK_OUT);
    for other in [
        "nft 'table inet firewalld { chain p { type nat hook prerouting priority -90; tcp dport 9 redirect to :22; }; \
            chain i { type filter hook input priority 10; ct state invalid drop; }; }'",
        "iptables -t nat -A PREROUTING -s 203.0.113.9; nft 'add rule ip nat PREROUTING ct state new tcp dport 9 \
        redirect to :22'",
    ] {
        lab.server.sh(&format!("nft flush ruleset; {other}"));
        let before = lab.server.rules();
        let (_, said) =
            remote(&lab, 0, Lab::server4(0), &format!("{PORTCULLIS} apply {plan} --yes 2>&1; echo exit $?"));
        assert!(said.contains("would cut a new SSH login") && said.contains("exit 3"), "{other}: {said}");
        assert_eq!(lab.server.rules(), before);
    }
}

#[test]
fn a_native_rule_put_in_during_a_trial_cannot_keep_the_plan_alive() {
    let Some((lab, echo)) = host(Backend::Nft, &["nft"]) else { return };
    let opens = || echo.tcp(&lab.clients[0], Lab::server4(0));
    // What was kept before stays in force all the time.
    let kept = "[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"4001/tcp\"]\n";
    let first = lab.file("first.toml", &format!("version = 1\n{kept}"));
    assert!(
        lab.portcullis(&["apply", &first, "--yes"]).status.success()
            && lab.portcullis(&["keep", "--without-proof"]).status.success()
    );
    let shut = |port: &str| {
        let rules = lab.server.run(&["nft", "list", "chain", "ip", "filter", "PORTCULLIS"]);
        let slot = rules.split("jump ").nth(1).and_then(|r| r.split_whitespace().next()).map(str::to_owned);
        slot.is_some_and(|s| {
            lab.server.run(&["nft", "list", "chain", "ip", "filter", &s]).contains(&format!("dport {port} "))
        })
    };
    let plan = lab.file(
        "plan.toml",
        &format!("version = 1\n{kept}[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"4000/tcp\"]\n"),
    );
    let out = lab.portcullis(&["apply", &plan, "--yes", "--confirm-within", "60s"]);
    assert!(out.status.success() && !opens(), "{out:?}");
    lab.server.sh("nft add rule ip filter INPUT ct state invalid drop");
    let out = lab.portcullis(&["revert"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("cannot read the IPv4 filter table any more"), "{said}");
    assert!(opens(), "the old plan is back, though nothing can be verified");
    for _ in 0..30 {
        assert!(shut("4001"), "{}", lab.server.run(&["nft", "list", "ruleset"]));
    }
    let there = lab.server.run(&["nft", "list", "ruleset"]);
    assert!(there.contains("ct state invalid drop"), "{there}");
    lab.server.sh("nft delete rule ip filter INPUT handle $(nft -a list chain ip filter INPUT | sed -n 's/.*ct state \
        invalid.*handle //p')");
    wait_for("the guard or the operator removes the rest", Duration::from_secs(20), || {
        let _ = lab.portcullis(&["revert"]);
        !lab.server.rules().contains("--dport 4000")
    });
    assert!(opens() && shut("4001"));
}

#[test]
fn a_captured_text_tells_of_what_it_does_not_show() {
    let Some(lab) = Lab::new(Backend::Nft, 0, &["nft", "xtables-legacy-multi"]) else { return };
    for (setup, verdict, why) in [
        ("for t in filter nat mangle; do iptables -t $t -A INPUT -s 203.0.113.9; done", "accept", ""),
        (
            "nft 'add chain ip filter mine { type filter hook input priority 5; policy drop; }'",
            "depends",
            "native base chain of table filter",
        ),
        (
            "nft 'delete chain ip filter mine'; nft add rule ip filter INPUT ct state new drop",
            "depends",
            "table filter cannot be read",
        ),
        ("nft flush chain ip filter INPUT; iptables-legacy -A INPUT -s 203.0.113.9", "depends", "iptables-legacy"),
    ] {
        lab.server.sh(setup);
        for listing in ["iptables-save", "iptables -S", "iptables -L -n -v"] {
            // What a terminal shows: the commands and their messages.
            let each = if listing == "iptables-save" { "''" } else { "filter nat mangle" };
            let file = lab.file(
                "rules",
                &lab.server.sh(&format!(
                    "for t in {each}; do echo \"root@host:~# {listing} \
                ${{t:+-t $t}}\"; {listing} ${{t:+-t $t}} 2>&1 || true; done"
                )),
            );
            let out =
                lab.portcullis(&["trace", &file, "--proto", "tcp", "--src", "198.51.100.1", "--dport", "80", "--json"]);
            let t: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
            assert!(t["verdict"] == verdict && t["why"].as_str().unwrap().contains(why), "{listing}, {setup}: {t:#}");
        }
    }
}
