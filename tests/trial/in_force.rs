//! A kept plan that is no longer in force, removed by the real programs that do such things: `status` and `report` must
//! agree with what happens to a stranger's packets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::process::Output;
use std::time::Duration;

use common::net::{tcp_connects, within};
use common::{Backend, Lab, layer, wait_for};
use serde_json::Value;

/// Allows the first client's addresses, drops everybody else.
const CURE: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.2\", \"2001:db8::2\"]\n\
    to = [\"111\"]\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n";

/// A published port for one address only.
const PUBLISHED: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.3\"]\n\
    to = [\"published:9042/tcp\"]\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"published:9042/tcp\"]\n";

/// How long a service of the lab may take to start.
const SOON: Duration = Duration::from_secs(20);

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Applies a plan; returns the output of `apply`.
#[track_caller]
fn apply(lab: &Lab, plan: &str) -> String {
    let out = lab.portcullis(&["apply", &lab.file("plan.toml", plan), "--yes", "--confirm-within", "5m"]);
    assert!(out.status.success(), "{:?}: {}", lab.backend, said(&out));
    said(&out)
}

/// Keeps the trial; returns the output of `keep`.
#[track_caller]
fn keep(lab: &Lab) -> String {
    let out = lab.portcullis(&["keep", "--without-proof"]);
    assert!(out.status.success(), "{:?}: {}", lab.backend, said(&out));
    said(&out)
}

/// The answer of `status`: the exit code, the plan in JSON with the boot files, and the text.
#[track_caller]
fn status(lab: &Lab) -> (i32, Value, String) {
    let out = lab.portcullis(&["status", "--json"]);
    let json = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&out)));
    let text = lab.portcullis(&["status"]);
    assert_eq!(out.status.code(), text.status.code());
    (out.status.code().unwrap(), json, said(&text))
}

/// The codes of the faults of the plan that should be in force.
fn faults(status: &Value) -> Vec<(String, String)> {
    let word = |v: &Value| v.as_str().unwrap().to_owned();
    status["plan"]["faults"].as_array().unwrap().iter().map(|f| (word(&f["code"]), word(&f["family"]))).collect()
}

/// The warnings of `report` with this code.
fn warned(lab: &Lab, code: &str) -> Vec<String> {
    let out = lab.portcullis(&["report", "--json"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&out)));
    report["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|w| w["code"] == code)
        .map(|w| w["message"].as_str().unwrap().to_owned())
        .collect()
}

/// Whether the stranger reaches the portmapper, over IPv4 and IPv6.
fn stranger(lab: &Lab) -> [bool; 2] {
    [Lab::server4(1), Lab::server6(1)].map(|to| tcp_connects(&lab.clients[1], to, 111))
}

/// Checks that everything is as it was kept.
#[track_caller]
fn in_force(lab: &Lab) {
    let (code, json, text) = status(lab);
    assert_eq!(
        (code, &json["plan"]["in_force"], warned(lab, "not-in-force")),
        (0, &Value::Bool(true), Vec::new()),
        "{text}"
    );
    assert!(text.contains("is in force"), "{text}");
    assert_eq!((stranger(lab), tcp_connects(&lab.clients[0], Lab::server4(0), 111)), ([false, false], true));
}

/// A revert begins while `status` waits for its tool, and has reverted one family when the tool answers.
#[test]
fn a_status_in_the_middle_of_a_revert_calls_nothing_not_in_force() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        apply(&lab, CURE);
        keep(&lab);
        apply(&lab, &format!("{CURE}[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"2049/tcp\"]\n"));
        let env: String = lab.server.env().iter().map(|(k, v)| format!("{k}={v} ")).collect();
        let word = backend.word();
        // What is read first: our own chains, and on legacy everything.
        let (tool, words) = if backend == Backend::Nft { ("", "*-S*") } else { ("-save", "*") };
        // The first reading lets a revert begin; its second family waits until it may go on.
        lab.server.sh(&format!(
            "cat > /run/read <<'END'\n#!/bin/bash\ncase \"$*\" in {words}) if [ ! -e /run/asked ]; then\n\
             : > /run/asked\nsetsid env {env}{} revert >/run/reverted 2>&1 </dev/null &\n\
             for i in $(seq 400); do [ ! -e /run/between ] || break; sleep 0.02; done\nfi;; esac\n\
             exec -a iptables{tool} /usr/sbin/iptables-{word}{tool} \"$@\"\nEND\n\
             cat > /run/restore <<'END'\n#!/bin/bash\n: > /run/between\n\
             for i in $(seq 400); do [ ! -e /run/go ] || break; sleep 0.02; done\n\
             exec -a ip6tables-restore /usr/sbin/ip6tables-{word}-restore \"$@\"\nEND\n\
             chmod 755 /run/read /run/restore\n\
             ln -sfn /run/read /etc/alternatives/iptables{tool}; ln -sfn /run/restore \
             /etc/alternatives/ip6tables-restore",
            common::PORTCULLIS,
        ));
        let out = lab.portcullis(&["status"]);
        lab.server.sh("test -e /run/between; : > /run/go");
        assert_eq!(out.status.code(), Some(0), "{backend:?}: {}", said(&out));
        assert!(
            said(&out).contains("is reverting") && !said(&out).contains("not in force"),
            "{backend:?}: {}",
            said(&out)
        );
        let reverted = || {
            String::from_utf8_lossy(&lab.server.output(&["cat", "/run/reverted"]).stdout)
                .contains("the old rules are back")
        };
        wait_for("the revert is through", SOON, reverted);
        let (code, json, text) = status(&lab);
        assert_eq!((code, &json["plan"]["in_force"]), (0, &Value::Bool(true)), "{text}");
    }
}

#[test]
fn a_rule_before_the_jump_counts_when_packets_of_the_plan_meet_it() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 2, &["rpcbind", "rpcinfo", "rpc.statd"]) else { return };
        lab.start_rpcbind();
        apply(&lab, CURE);
        keep(&lab);
        in_force(&lab);
        let harmless = "-I INPUT 1 -i lo -j ACCEPT\n-I INPUT 1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
            -I INPUT 1 -p tcp -m tcp --dport 22 -j ACCEPT\n-I INPUT 1 -s 192.0.2.18/32 -j DROP\n";
        lab.server.restore("", &format!("*filter\n{harmless}COMMIT\n"));
        in_force(&lab);
        for (family, opened) in [("", [true, false]), ("6", [false, true])] {
            lab.server.restore("", "*filter\n-D INPUT -s 192.0.2.18/32 -j DROP\nCOMMIT\n");
            lab.server.restore(
                family,
                "*filter\n:theirs - [0:0]\n-A theirs -p tcp -m tcp --dport 111 -j ACCEPT\n-I INPUT \
                1 ! -i lo -j theirs\nCOMMIT\n",
            );
            assert_eq!(stranger(&lab), opened, "{backend:?}");
            let (code, json, text) = status(&lab);
            let label = if family.is_empty() { "IPv4" } else { "IPv6" };
            assert_eq!((code, faults(&json)), (6, vec![("overruled-open".to_owned(), label.to_owned())]), "{text}");
            assert!(
                text.contains("`-A theirs -p tcp -m tcp --dport 111 -j ACCEPT` lets in somebody whom the plan blocks"),
                "{text}"
            );
            assert_eq!(warned(&lab, "not-in-force").len(), 1);
            lab.server.restore(family, "*filter\n-D INPUT ! -i lo -j theirs\n-F theirs\n-X theirs\nCOMMIT\n");
            lab.server.restore("", "*filter\n-I INPUT 1 -s 192.0.2.18/32 -j DROP\nCOMMIT\n");
            in_force(&lab);
        }
        // The jump is removed by hand, then everything of ours.
        lab.server.restore("6", "*filter\n-D INPUT ! -i lo -j PORTCULLIS\nCOMMIT\n");
        assert_eq!(
            (stranger(&lab), faults(&status(&lab).1)),
            ([false, true], vec![("jump-gone".to_owned(), "IPv6".to_owned())])
        );
        lab.server.sh("iptables -F; iptables -X; ip6tables -F; ip6tables -X");
        let (code, json, text) = status(&lab);
        assert_eq!((code, json["plan"]["extent"].as_str(), stranger(&lab)), (6, Some("none"), [true, true]), "{text}");
        assert!(text.contains("our chains are gone from IPv4 (PORTCULLIS) and IPv6 (PORTCULLIS)"), "{text}");
        // Removed on purpose: from now on nothing should be in force.
        let out = lab.portcullis(&["remove", "--yes"]);
        assert!(out.status.success() && said(&out).contains("it counts as removed"), "{}", said(&out));
        assert_eq!(status(&lab).0, 0);
    }
}

#[test]
fn keep_reports_a_rule_inserted_before_ours() {
    let Some(lab) = Lab::new(Backend::Nft, 1, &[]) else { return };
    apply(&lab, CURE);
    lab.server.restore("", "*filter\n-I INPUT 1 -p udp -m udp --dport 111 -j ACCEPT\nCOMMIT\n");
    assert_eq!(status(&lab).0, 6, "of a trial that runs, too");
    let kept = keep(&lab);
    assert!(
        kept.contains("is only partly in force: before our IPv4 rules, `-A INPUT -p udp -m udp --dport 111 -j ACCEPT`"),
        "{kept}"
    );
}

#[test]
fn a_service_that_loads_an_old_file_takes_the_plan_out() {
    for backend in Backend::BOTH {
        let Some(lab) = layer::lab(backend, 2, &["iptables-persistent"]) else { return };
        lab.start_rpcbind();
        lab.server.sh("iptables -A INPUT -p tcp --dport 22 -j ACCEPT; netfilter-persistent save");
        let applied = apply(&lab, CURE);
        assert!(
            applied.contains(
                "netfilter-persistent loads /etc/iptables/rules.v4 and /etc/iptables/rules.v6, without this plan"
            ),
            "{applied}"
        );
        keep(&lab);
        in_force(&lab);
        // Nothing was loaded for IPv6 when it was saved: what netfilter-persistent does with that file is up to it.
        lab.server.sh("netfilter-persistent restart");
        let (open, (code, json, text)) = (stranger(&lab), status(&lab));
        let gone: Vec<String> =
            faults(&json).into_iter().filter(|(code, _)| code == "chains-gone").map(|(_, family)| family).collect();
        let expected: Vec<&str> =
            ["IPv4", "IPv6"].into_iter().zip(open).filter(|(_, open)| *open).map(|(family, _)| family).collect();
        assert_eq!((open[0], code, gone.iter().map(String::as_str).collect::<Vec<_>>()), (true, 6, expected), "{text}");
        assert!(
            text.contains("our chains are gone from IPv4 (PORTCULLIS)") && text.contains("apply the plan again"),
            "{text}"
        );
        assert!(warned(&lab, "not-in-force")[0].contains("our chains are gone"));
        // The command in the hint fixes it, also for the next time.
        apply(&lab, CURE);
        keep(&lab);
        in_force(&lab);
        assert!(lab.portcullis(&["save", "--all", "--yes"]).status.success());
        lab.server.sh("netfilter-persistent restart");
        in_force(&lab);
    }
}

#[test]
fn who_saves_during_a_trial_saves_the_trial() {
    for backend in Backend::BOTH {
        let Some(lab) = layer::lab(backend, 0, &["iptables-persistent"]) else { return };
        lab.server.sh("iptables -A INPUT -p tcp --dport 22 -j ACCEPT; netfilter-persistent save");
        apply(&lab, CURE);
        let files = |status: &Value| -> Vec<(String, String)> {
            let word = |v: &Value| v.as_str().unwrap().to_owned();
            status["boot_files"].as_array().unwrap().iter().map(|f| (word(&f["path"]), word(&f["holds"]))).collect()
        };
        assert_eq!(files(&status(&lab).1), [], "it was saved before");
        lab.server.sh("netfilter-persistent save");
        let both =
            ["/etc/iptables/rules.v4", "/etc/iptables/rules.v6"].map(|f| (f.to_owned(), "trial".to_owned())).to_vec();
        let (code, json, text) = status(&lab);
        assert_eq!((code, files(&json)), (0, both.clone()), "{text}");
        assert!(
            text.contains("/etc/iptables/rules.v4 and /etc/iptables/rules.v6 hold rules of a trial")
                && text.contains("`portcullis save` writes them again"),
            "{text}"
        );
        let out = lab.portcullis(&["revert"]);
        assert!(said(&out).contains("hold rules of a trial"), "{}", said(&out));
        // The next start finds them, and the command in its hint fixes it.
        lab.server.sh("rm /run/portcullis/trial.json");
        assert_eq!((files(&status(&lab).1), warned(&lab, "trial-in-boot-file").len()), (both, 1));
        let out = lab.portcullis(&["save", "--all", "--yes"]);
        assert!(out.status.success(), "{}", said(&out));
        assert_eq!((files(&status(&lab).1), warned(&lab, "trial-in-boot-file").len()), (Vec::new(), 0));
        assert!(!lab.server.sh("cat /etc/iptables/rules.v?").contains("PORTCULLIS"));
    }
}

#[test]
fn a_reload_of_firewalld_takes_the_plan_out() {
    let Some(lab) = layer::lab(Backend::Nft, 2, &["firewalld"]) else { return };
    lab.start_rpcbind();
    lab.server
        .sh("mkdir -p /run/dbus; dbus-daemon --system --fork; setsid /usr/sbin/firewalld --nofork --nopid </dev/null \
        >/run/firewalld.log 2>&1 &");
    wait_for("firewalld runs", SOON, || lab.server.output(&["firewall-cmd", "--state"]).status.success());
    lab.server.sh("firewall-cmd --permanent --add-service=rpc-bind; firewall-cmd --reload");
    let applied = apply(&lab, CURE);
    assert!(applied.contains("firewalld runs here: `firewall-cmd --reload`"), "{applied}");
    assert_eq!(stranger(&lab), [false, false]);
    // During a trial: status reports what the kernel shows, and there is nothing left to keep.
    lab.server.sh("firewall-cmd --reload");
    let (_, _, text) = status(&lab);
    assert!(text.contains("the kernel shows the old rules") && stranger(&lab) == [true, true], "{text}");
    let out = lab.portcullis(&["keep", "--without-proof"]);
    assert!(matches!(out.status.code(), Some(1 | 3)), "{}", said(&out));
    assert!(lab.portcullis(&["revert"]).status.success());
    // And a kept one.
    apply(&lab, CURE);
    let kept = keep(&lab);
    assert!(kept.contains("firewalld runs here: `firewall-cmd --reload`"), "{kept}");
    in_force(&lab);
    lab.server.sh("firewall-cmd --reload");
    let (code, json, text) = status(&lab);
    assert_eq!((code, json["plan"]["extent"].as_str(), stranger(&lab)), (6, Some("none"), [true, true]), "{text}");
    assert!(
        warned(&lab, "not-in-force")[0].contains("our chains are gone from IPv4 (PORTCULLIS) and IPv6 (PORTCULLIS)")
    );
    // Rules saved with `--ours` are loaded again by the command that status then names.
    apply(&lab, CURE);
    keep(&lab);
    let out = lab.portcullis(&["save", "--ours", "--yes"]);
    assert!(out.status.success(), "{}", said(&out));
    lab.server.sh("firewall-cmd --reload");
    let (code, _, text) = status(&lab);
    assert!(
        code == 6
            && text.contains("`systemctl restart portcullis-rules` (or `portcullis load`) puts in what was saved"),
        "{text}"
    );
    assert!(lab.portcullis(&["load"]).status.success());
    in_force(&lab);
}

/// The block of ufw-docker (chaifeng) for /etc/ufw/after.rules.
const UFW_DOCKER: &str = "# BEGIN UFW AND DOCKER
*filter
:ufw-user-forward - [0:0]
:ufw-docker-logging-deny - [0:0]
:DOCKER-USER - [0:0]
-A DOCKER-USER -j ufw-user-forward
-A DOCKER-USER -j RETURN -s 172.16.0.0/12
-A DOCKER-USER -p udp -m udp --sport 53 --dport 1024:65535 -j RETURN
-A DOCKER-USER -j ufw-docker-logging-deny -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -d 172.16.0.0/12
-A DOCKER-USER -j ufw-docker-logging-deny -p udp -m udp --dport 0:32767 -d 172.16.0.0/12
-A DOCKER-USER -j RETURN
-A ufw-docker-logging-deny -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix \"[UFW DOCKER BLOCK] \"
-A ufw-docker-logging-deny -j DROP
COMMIT
# END UFW AND DOCKER
";

#[test]
fn a_reload_of_ufw_empties_docker_user() {
    for backend in Backend::BOTH {
        let Some(lab) = layer::lab(backend, 2, &["ufw"]) else { return };
        let container = Lab::client4(1);
        // As Docker does it: DNAT of a port of the host, and its own chain first in FORWARD.
        let docker = format!(
            "*nat\n-A PREROUTING -p tcp -m tcp --dport 9042 -j DNAT --to-destination {container}:9042\nCOMMIT\n\
            *filter\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\nCOMMIT\n"
        );
        lab.server.restore("", &docker);
        let block = lab.file("after.rules", UFW_DOCKER);
        lab.server.sh(&format!(
            "sysctl -qw net.ipv4.ip_forward=1 || echo 1 > /proc/sys/net/ipv4/ip_forward; cat {block} >> \
            /etc/ufw/after.rules; ufw allow 22/tcp; ufw --force enable; ufw route allow proto tcp from any to any \
            port 9042"
        ));
        let _listens = within(&lab.clients[1], || std::net::TcpListener::bind((container, 9042)).unwrap());
        let gets_in = || tcp_connects(&lab.clients[0], Lab::server4(0), 9042);
        assert!(gets_in(), "{}", lab.server.rules());
        let applied = apply(&lab, PUBLISHED);
        assert!(
            applied.contains("/etc/ufw/after.rules empties the chain DOCKER-USER at each `ufw reload`"),
            "{applied}"
        );
        keep(&lab);
        assert_eq!((gets_in(), status(&lab).0), (false, 0), "{}", lab.server.rules());
        lab.server.sh("ufw reload");
        let (code, json, text) = status(&lab);
        assert_eq!(
            (gets_in(), code, faults(&json)),
            (true, 6, vec![("jump-gone".to_owned(), "IPv4".to_owned())]),
            "{text}"
        );
        assert!(text.contains("our jump to them is gone: `-A DOCKER-USER -j PORTCULLIS-FWD`"), "{text}");
        assert!(warned(&lab, "not-in-force")[0].contains("DOCKER-USER"));
        // Applying it again adds only the jump.
        apply(&lab, PUBLISHED);
        keep(&lab);
        assert_eq!((gets_in(), status(&lab).0), (false, 0));
    }
}
