#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::model::{LocalAddr, Source};
use crate::plan::{Change, build};
use crate::syntax::{iptables_save, plan};

const CURE: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = \
    [\"192.0.2.11\", \"198.51.100.0/24\", \"2001:db8::11\"]\nto = [\"111\", \"published:9042/tcp\"]\n\
    [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\", \"published:9042/tcp\"]\n";

const DOCKER: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
    -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
    -A DOCKER ! -i docker0 -p tcp -m tcp --dport 9042 -j DNAT --to-destination 172.17.0.2:9042\nCOMMIT\n*filter\n\
    :INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
    -A DOCKER-USER -j RETURN\nCOMMIT\n";

/// A Docker host on which the plan is kept.
fn kept() -> Change {
    let mut v = View::empty(Source::Live, "test");
    v.v4 = Some(iptables_save::read(DOCKER, Family::V4).0);
    v.v6 = Some(
        iptables_save::read(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n",
            Family::V6,
        )
        .0,
    );
    let addr = |a: &str, prefix, i: &str| LocalAddr { addr: a.parse().unwrap(), prefix, interface: i.into() };
    v.addrs = Some(vec![
        addr("127.0.0.1", 8, "lo"),
        addr("::1", 128, "lo"),
        addr("192.0.2.10", 24, "eth0"),
        addr("2001:db8::10", 64, "eth0"),
        addr("10.8.0.1", 24, "wg0"),
        addr("172.17.0.1", 16, "docker0"),
    ]);
    v.forwarding = [Some(true), Some(true)];
    build(&v, &plan::read(CURE).unwrap()).unwrap()
}

/// The judgement after this was loaded in IPv4.
fn after(script: &str) -> Force {
    let mut change = kept();
    change.after.v4.as_mut().unwrap().apply(script).unwrap();
    judge(&change.families, false, &change.after)
}

fn said(script: &str) -> String {
    let force = after(&format!("*filter\n{script}\nCOMMIT\n"));
    format!("{}: {}", force.extent().says(), force.says().join("; "))
}

#[test]
fn a_kept_plan_whose_rules_are_loaded_is_in_force() {
    assert_eq!(after("*filter\nCOMMIT\n"), Force { faults: Vec::new(), doors: 4 });
    // Counters, and other rules after ours, change nothing.
    assert_eq!(said("-A INPUT -p tcp -m tcp --dport 111 -j ACCEPT\n-A DOCKER-USER -j ACCEPT"), "in force: ");
    // Also with the dates of its trial, next to what was kept before.
    let change = kept();
    let mut before = change.before.clone();
    before.v4.as_mut().unwrap().apply(&change.families[0].apply_script(Some(1_800_000_000))).unwrap();
    before.v6.as_mut().unwrap().apply(&change.families[1].apply_script(Some(1_800_000_000))).unwrap();
    before.at = 1_700_000_000;
    assert!(judge(&change.families, true, &before).holds());
    assert!(!judge(&change.families, false, &before).holds());
}

#[test]
fn missing_rules_are_named_by_family_and_door() {
    assert_eq!(
        said("-D INPUT ! -i lo -j PORTCULLIS"),
        "only partly in force: the IPv4 rules have no effect: our jump to them is gone: `-A INPUT ! -i lo -j \
            PORTCULLIS`"
    );
    assert_eq!(
        said(":DOCKER-USER - [0:0]\n-A DOCKER-USER -j RETURN"),
        "only partly in force: the IPv4 rules have no effect: our jump to them is gone: `-A DOCKER-USER -j \
            PORTCULLIS-FWD`"
    );
    assert_eq!(said("-F PORTCULLIS"), "only partly in force: our IPv4 chain PORTCULLIS leads to no rules");
    let one = said(
        "-D PORTCULLIS-A -p udp -m udp --dport 111 -m comment --comment \"portcullis: drop 111\" -j DROP\n-A \
        PORTCULLIS-A -s 203.0.113.0/24 -j ACCEPT",
    );
    assert!(
        one.starts_with(
            "only partly in force: our IPv4 chain PORTCULLIS holds other rules: gone is -p udp -m udp --dport 111"
        ),
        "{one}"
    );
    assert!(one.ends_with("new is -s 203.0.113.0/24 -j ACCEPT"), "{one}");
    // As left by `firewall-cmd --reload`, or by a boot with old files.
    let change = kept();
    let mut view = change.after.clone();
    view.v4.clone_from(&change.before.v4);
    let force = judge(&change.families, false, &view);
    assert_eq!(
        (force.extent(), force.says()),
        (Extent::Part, vec!["our chains are gone from IPv4 (PORTCULLIS, PORTCULLIS-FWD)".to_owned()])
    );
    assert!(
        force.is_lost()
            && force.cure(false).unwrap().contains("apply the plan again")
            && force.cure(true).unwrap().contains("portcullis-rules")
    );
    let force = judge(&change.families, false, &change.before);
    assert_eq!(
        (force.extent(), force.says().concat()),
        (
            Extent::None,
            "our chains are gone from IPv4 (PORTCULLIS, PORTCULLIS-FWD) and IPv6 (PORTCULLIS, PORTCULLIS-FWD)"
                .to_owned()
        )
    );
}

#[test]
fn unreadable_rules_are_unknown_and_a_family_enabled_later_has_none() {
    let change = kept();
    let mut view = change.after.clone();
    view.v6 = None;
    let force = judge(&change.families, false, &view);
    assert_eq!((force.extent(), force.faults), (Extent::Unknown, vec![Fault::Unreadable(Family::V6)]));
    // If the host has no IPv6, the caller leaves it out.
    assert!(judge(&change.families[..1], false, &view).holds());
    assert_eq!(judge(&change.families[..1], false, &change.after).faults, [Fault::NotCovered(Family::V6)]);
    view.v4.as_mut().unwrap().table_mut("filter").unwrap().unreadable = true;
    assert_eq!(judge(&change.families, false, &view).extent(), Extent::Unknown);
}

#[test]
fn rules_of_an_older_plan_void_one_that_removed_everything() {
    let full = kept();
    let none = build(&full.after, &crate::model::Plan::default()).unwrap();
    assert!(judge(&none.families, false, &none.after).holds());
    let force = judge(&none.families, false, &full.after);
    assert_eq!(force.extent(), Extent::None);
    assert!(force.says()[0].contains("holds rules that are not part of the plan"), "{force:?}");
}

#[test]
fn a_rule_before_our_jump_counts_if_it_decides_packets_of_the_plan() {
    let before = |rule: &str| said(&format!("-I INPUT 1 {rule}"));
    for harmless in [
        "-i lo -j ACCEPT",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-p tcp -m tcp --dport 22 -j ACCEPT",
        "-p icmp -j ACCEPT",
        "-j LOG",
        "-s 192.0.2.11/32 -p tcp -m tcp --dport 111 -j ACCEPT",
        "-s 203.0.113.7/32 -j DROP",
    ] {
        assert_eq!(before(harmless), "in force: ", "{harmless}");
    }
    assert_eq!(
        before("-p tcp -m tcp --dport 111 -j ACCEPT"),
        "only partly in force: before our IPv4 rules, \
        `-A INPUT -p tcp -m tcp --dport 111 -j ACCEPT` lets in somebody whom the plan blocks (111/tcp)"
    );
    assert_eq!(
        before("-i wg0 -j ACCEPT"),
        "only partly in force: before our IPv4 rules, `-A INPUT -i wg0 -j ACCEPT` lets in somebody whom the plan \
        blocks on wg0 (111/tcp, 111/udp)"
    );
    // A rule with an unknown effect may let them in.
    assert!(
        before("-p udp -m limit --limit 5/min -j ACCEPT").contains("-m limit --limit 5/min -j ACCEPT` lets in"),
        "{}",
        before("-p udp -m limit --limit 5/min -j ACCEPT")
    );
    assert!(
        before("-j DROP").contains("before our IPv4 rules, `-A INPUT -j DROP` blocks everybody whom the plan lets in"),
        "{}",
        before("-j DROP")
    );
    // A ban does not void the plan, but is reported.
    let jail = said(
        ":f2b-nfs - [0:0]\n-A f2b-nfs -s 192.0.2.0/24 -j REJECT\n-A f2b-nfs -j RETURN\n-I INPUT 1 -p tcp -m tcp \
        --dport 111 -j f2b-nfs",
    );
    assert_eq!(
        jail,
        "in force: before our IPv4 rules, `-A f2b-nfs -s 192.0.2.0/24 -j REJECT` blocks some whom the plan \
        lets in (111/tcp)"
    );
}

#[test]
fn the_way_to_docker_user_counts_too() {
    let before = |rule: &str| said(&format!("-I FORWARD 1 {rule}"));
    assert_eq!(before("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"), "in force: ");
    assert!(
        before("-i eth0 -j ACCEPT")
            .contains("rules, `-A FORWARD -i eth0 -j ACCEPT` lets in somebody whom the plan blocks on eth0 (9042/tcp)"),
        "{}",
        before("-i eth0 -j ACCEPT")
    );
    // Nothing leads there any more.
    let cut = said("-D FORWARD -j DOCKER-USER");
    assert!(cut.contains("before our IPv4 rules, `-P FORWARD ACCEPT` lets in somebody whom the plan blocks"), "{cut}");
    let own = said("-I DOCKER-USER 1 -p tcp -m conntrack --ctorigdstport 9042 -j ACCEPT");
    assert!(own.contains("--ctorigdstport 9042 -j ACCEPT` lets in somebody whom the plan blocks"), "{own}");
}

#[test]
fn the_sentence_for_all_places() {
    let in_force =
        |on_trial, script: &str| InForce { trial: "1-2".into(), on_trial, force: after(script), saved: false }.says();
    assert_eq!(in_force(false, "*filter\nCOMMIT\n"), None);
    let gone = "*filter\n-D INPUT ! -i lo -j PORTCULLIS\nCOMMIT\n";
    assert!(
        in_force(false, gone)
            .unwrap()
            .starts_with("The kept plan (1-2) is only partly in force: the IPv4 rules have no effect")
    );
    assert!(
        in_force(true, gone).unwrap().contains("The plan on trial (1-2)")
            && in_force(true, gone).unwrap().contains("`portcullis revert` ends the trial")
    );
}

#[test]
fn the_same_rule_in_other_words_is_the_same() {
    let words = |text: &str| vec![text.to_owned()];
    assert!(same(
        &words("-s 192.0.2.1/32 -p tcp -m tcp --dport 111 -j DROP"),
        &words("-s 192.0.2.1 -p 6 -m tcp --dport 111 -j DROP"),
        Family::V4
    ));
    assert!(!same(
        &words("-p tcp -m tcp --dport 111 -j DROP"),
        &words("-p tcp -m tcp --dport 112 -j DROP"),
        Family::V4
    ));
}
