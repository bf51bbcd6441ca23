//! Rulesets as text, and what becomes of packets: one case a line. The kernel judges the same in
//! `tests/kernel/judge.rs`; these say what the kernel cannot be asked.

use std::fmt::Write as _;

use super::*;
use crate::model::{Chain, Family, LocalAddr, Net, OtherFilter, Policy, Proto, Route, Rule, Source, View};

/// A captured view from restore lines; without `*table` they are of the filter table.
fn view(text: &str) -> View {
    let family = if text.contains("::") { Family::V6 } else { Family::V4 };
    let mut set = Ruleset::new(family);
    set.table_or_new("filter");
    let mut table = "filter".to_owned();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
            set.table_or_new(name);
            continue;
        }
        let mut w = line.splitn(3, ' ');
        let (cmd, chain, args) = (w.next().unwrap(), w.next().unwrap(), w.next().unwrap_or_default());
        let t = set.table_or_new(&table);
        match cmd {
            "-P" => t.chain_or_new(chain).policy = Some(if args == "DROP" { Policy::Drop } else { Policy::Accept }),
            "-N" => {
                t.add(Chain::user(chain));
            }
            _ => t.chain_or_new(chain).rules.push(Rule::new(args)),
        }
    }
    let mut v = View::empty(Source::Capture, "case");
    if family == Family::V4 {
        v.v4 = Some(set);
    } else {
        v.v6 = Some(set);
    }
    v
}

/// The same host, live: eth0 and docker0.
fn live(text: &str) -> View {
    let mut v = view(text);
    v.source = Source::Live;
    let addr = |a: &str, prefix, i: &str| LocalAddr { addr: a.parse().unwrap(), prefix, interface: i.to_owned() };
    v.addrs = Some(vec![addr("127.0.0.1", 8, "lo"), addr("10.0.0.1", 24, "eth0"), addr("172.17.0.1", 16, "docker0")]);
    let route = |n: &str, i: &str| Route { net: Net::parse(n, Family::V4).unwrap(), interface: i.to_owned() };
    v.routes = Some(vec![route("0.0.0.0/0", "eth0"), route("10.0.0.0/24", "eth0"), route("172.17.0.0/16", "docker0")]);
    v.forwarding = [Some(true), Some(true)];
    v
}

/// `packet` is `SRC PORT [INTERFACE]`, over TCP.
fn ask(v: &View, packet: &str) -> Trace {
    let w: Vec<&str> = packet.split(' ').collect();
    let mut p = Packet::new(w[0].parse().unwrap(), Proto::TCP, w[1].parse().ok());
    p.interface = w.get(2).map(|i| (*i).to_owned());
    Analysis::new(v).trace(&p)
}

fn check(rules: &str, packet: &str, expected: Verdict) {
    let got = ask(&view(rules), packet);
    assert_eq!(got.verdict, expected, "{got:#?}");
}

fn reach(v: &View, port: u16, family: Family) -> Exposure {
    Analysis::new(v).exposure(&Endpoint::new(EndpointKind::Rule, "x", Proto::TCP, port), family).unwrap()
}

/// How an operator's way in fares in a change.
fn lockout(before: &View, after: &View, peer: std::net::IpAddr, port: u16) -> Access {
    let before = View { ssh_peer: Some((peer, port)), ..before.clone() };
    ways_in(&before, after).remove(0).access
}

fn cidrs(set: &AddrSet) -> Vec<String> {
    set.cidrs().iter().map(ToString::to_string).collect()
}

const CURE: &str = "-A INPUT -s 192.0.2.11/32 -p tcp -m tcp --dport 111 -j ACCEPT
    -A INPUT -p tcp -m tcp --dport 111 -j DROP";

#[test]
fn the_cure_of_the_story() {
    check(CURE, "192.0.2.11 111", Verdict::Accept);
    check(CURE, "192.0.2.12 111", Verdict::Drop);
    check(CURE, "192.0.2.12 22", Verdict::Accept);
    let e = reach(&view(CURE), 111, Family::V4);
    assert_eq!(cidrs(&e.reach.accepted), ["192.0.2.11/32"]);
    assert_eq!(e.reach.blocked, e.reach.accepted.complement());
    assert!(e.reach.depends.is_empty() && e.by_interface.is_empty());
    assert_eq!(e.because.len(), 2);
    assert_eq!(e.because[1].rule.as_ref().and_then(|r| r.rule), Some(2));
}

#[test]
fn a_drop_behind_an_accept_does_nothing() {
    check("-A INPUT -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 111 -j DROP", "198.51.100.1 111", Verdict::Accept);
}

#[test]
fn what_is_not_known_depends_only_where_it_matters() {
    let limit = "-A INPUT -m limit --limit 5/min -j ACCEPT\n";
    check(&format!("{limit}-A INPUT -j DROP"), "198.51.100.1 111", Verdict::Depends);
    check(limit, "198.51.100.1 111", Verdict::Accept);
    check("-A INPUT -i eth0 -j DROP", "198.51.100.1 111", Verdict::Depends);
    check("-A INPUT -i eth0 -j DROP", "198.51.100.1 111 eth0", Verdict::Drop);
    check("-A INPUT -i eth0 -j DROP", "198.51.100.1 111 eth1", Verdict::Accept);
    check("-A INPUT -i lo -j DROP", "198.51.100.1 111", Verdict::Accept);
}

#[test]
fn a_length_decides_only_where_every_packet_has_it() {
    let verdict = |condition: &str, packet: &str, proto| {
        let v = view(&format!("-A INPUT -m length {condition} -j DROP"));
        let v = if packet.contains(':') { view(&format!("-A INPUT -s ::/0 -m length {condition} -j DROP")) } else { v };
        Analysis::new(&v).trace(&Packet::new(packet.parse().unwrap(), proto, None)).verdict
    };
    for (condition, proto, expected) in [
        ("--length 0:65535", Proto::TCP, Verdict::Drop),
        ("! --length 0:65535", Proto::TCP, Verdict::Accept),
        // The headers of IPv4 and TCP are 40 bytes at least, of UDP and an echo request 28.
        ("--length 40:65535", Proto::TCP, Verdict::Drop),
        ("--length 41:65535", Proto::TCP, Verdict::Depends),
        ("--length 0:39", Proto::TCP, Verdict::Accept),
        ("! --length 0:39", Proto::TCP, Verdict::Drop),
        ("--length 40", Proto::TCP, Verdict::Depends),
        ("--length 0:39", Proto::UDP, Verdict::Depends),
        ("--length 0:27", Proto::UDP, Verdict::Accept),
        ("--length 0:27", Proto::ICMP, Verdict::Accept),
        ("--length 0:20", Proto(99), Verdict::Depends),
        ("--length 20:65535", Proto(99), Verdict::Drop),
        ("--length 40:1500", Proto::TCP, Verdict::Depends),
        ("--length 0:65534", Proto::TCP, Verdict::Depends),
        ("--length 100:50", Proto::TCP, Verdict::Accept),
    ] {
        assert_eq!(verdict(condition, "198.51.100.1", proto), expected, "{proto} {condition}");
    }
    // A packet of IPv6 has up to 65575 bytes with its header.
    for (condition, expected) in [
        ("--length 0:65535", Verdict::Depends),
        ("! --length 0:65535", Verdict::Depends),
        ("--length 0:39", Verdict::Depends),
        ("! --length 100:50", Verdict::Drop),
    ] {
        assert_eq!(verdict(condition, "2001:db8::1", Proto::UDP), expected, "IPv6 {condition}");
    }
    let why = ask(&view("-A INPUT -m length --length 0:100 -j DROP"), "198.51.100.1 111").why;
    assert!(why.contains("the packet's length is not part of the question"), "{why}");
}

#[test]
fn chains_return_and_goto_leaves_for_good() {
    check(
        "-P INPUT DROP\n-A INPUT -j A\n-A INPUT -j ACCEPT\n-A A -j RETURN\n-A A -j DROP",
        "198.51.100.1 1",
        Verdict::Accept,
    );
    check("-P INPUT DROP\n-A INPUT -g A\n-A INPUT -j ACCEPT\n-A A -p udp -j ACCEPT", "198.51.100.1 1", Verdict::Drop);
    // What is gone to from a chain comes back to where that chain was called.
    check(
        "-P INPUT DROP\n-A INPUT -j A\n-A INPUT -j ACCEPT\n-A A -g B\n-A A -j DROP\n-A B -p udp -j DROP",
        "198.51.100.1 1",
        Verdict::Accept,
    );
}

#[test]
fn a_chain_that_is_not_shown_depends() {
    check("-A INPUT -j ELSEWHERE", "198.51.100.1 1", Verdict::Depends);
}

#[test]
fn a_loop_ends_and_depth_does_not_matter() {
    check("-A INPUT -j A\n-A A -j B\n-A B -j A", "198.51.100.1 1", Verdict::Depends);
    let mut deep = "-A INPUT -j C0\n".to_owned();
    deep.extend((0..5000).map(|i| format!("-A C{i} -j C{}\n", i + 1)));
    deep.push_str("-A C5000 -j DROP");
    check(&deep, "198.51.100.1 1", Verdict::Drop);
}

#[test]
fn interfaces_are_told_apart() {
    let e = reach(&live("-A INPUT -i eth0 -p tcp --dport 9 -j DROP"), 9, Family::V4);
    assert!(e.reach.depends.is_full());
    assert!(e.by_interface["eth0"].blocked.is_full() && e.by_interface["docker0"].accepted.is_full());
    let because = (e.because[0].text.as_str(), e.because[0].outcome, e.at_best(&e.because[0]));
    assert_eq!(
        because,
        (
            "INPUT policy ACCEPT, no rule matched (on docker0), else INPUT rule 1: DROP",
            Verdict::Depends,
            Verdict::Accept
        )
    );
}

#[test]
fn of_several_interfaces_the_rule_that_lets_in_is_named() {
    let rules = DOCKER.replace("-A DOCKER-USER -s", "-A DOCKER-USER ! -s");
    for v in [live(&rules), view(&rules)] {
        let list = Analysis::new(&v).endpoints();
        let x = Analysis::new(&v)
            .exposure(list.iter().find(|e| e.kind == EndpointKind::Published).unwrap(), Family::V4)
            .unwrap();
        let names = if v.addrs.is_some() { "eth0" } else { "any interface but docker0" };
        let text = format!("DOCKER rule 1: ACCEPT (on {names}), else INPUT policy DROP, no rule matched");
        let first = &x.because[0];
        assert_eq!(
            (cidrs(&first.set), &first.text, first.rule.as_ref().map(|r| r.chain.as_str())),
            (vec!["198.51.100.0/24".to_owned()], &text, Some("DOCKER"))
        );
        assert_eq!(x.because[1].outcome, Verdict::Drop);
        // A stranger does not come by the bridge; of its containers nobody says by what they come.
        assert_eq!(ask(&v, "198.51.100.7 9042").verdict, Verdict::Accept);
    }
    let mut v = live(
        "-P INPUT DROP\n-A INPUT -i docker0 -j ACCEPT\n-A INPUT -s 10.0.0.0/8 -i eth0 -j ACCEPT\n-A INPUT -s \
        10.0.0.0/9 -j DROP",
    );
    v.addrs.as_mut().unwrap().push(LocalAddr {
        addr: "10.9.0.1".parse().unwrap(),
        prefix: 24,
        interface: "wg0".into(),
    });
    let because = reach(&v, 9, Family::V4).because;
    let some = because.iter().find(|b| cidrs(&b.set) == ["10.0.0.0/9"]).unwrap();
    assert_eq!(some.text, "INPUT rule 2: ACCEPT (on eth0; on docker0 by another rule), else INPUT rule 3: DROP");
    // Where it is sure nowhere, the reason is that of the way from outside, not that of a bridge.
    let v = live("-A INPUT -i docker0 -m time --timestart 08:00 -j DROP\n-A INPUT -m limit --limit 1/sec -j DROP");
    assert!(
        reach(&v, 9, Family::V4).because[0].text.starts_with("INPUT rule 2: "),
        "{:#?}",
        reach(&v, 9, Family::V4).because
    );
}

#[test]
fn where_the_interface_decides_a_rule_that_only_moved_is_no_lock_out() {
    let ssh = "-P INPUT DROP\n-A INPUT -i eth0 -p tcp -m tcp --dport 22 -j ACCEPT";
    let with = |rules: &str| live(&format!("-P INPUT DROP\n-N P\n-A INPUT -j P\n{ssh}\n{rules}"));
    let peer = "192.0.2.1".parse().unwrap();
    assert_eq!(lockout(&live(ssh), &with("-A P -p tcp -m tcp --dport 111 -j DROP"), peer, 22), Access::Same);
    assert!(matches!(
        lockout(&live(ssh), &with("-A P -i eth0 -p tcp -m tcp --dport 22 -j DROP"), peer, 22),
        Access::Worse { .. }
    ));
    // By the bridge come its containers alone; by a second line comes anybody.
    let lines = |mut v: View| {
        let (addr, interface) = ("10.9.0.1".parse().unwrap(), "wg0".to_owned());
        v.addrs.as_mut().unwrap().push(LocalAddr { addr, prefix: 24, interface });
        v
    };
    let both = live("-A INPUT -p udp -j ACCEPT");
    assert_eq!(lockout(&both, &with(""), peer, 22), Access::Same);
    assert!(matches!(lockout(&lines(both), &lines(with("")), peer, 22), Access::Unknown { .. }));
}

#[test]
fn what_ordinary_packets_meet_is_the_first_reason() {
    // Cilium: sockets of its proxy are transparent, nobody else's.
    let v = live(
        "*mangle\n-A PREROUTING -m socket --transparent -j MARK --set-xmark 0x200/0xffffffff
        *filter\n-N P\n-A INPUT -j P\n-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT\n\
         -P INPUT DROP\n-A P -m mark --mark 0x200/0xf00 -j ACCEPT",
    );
    let texts: Vec<String> = reach(&v, 9, Family::V4).because.into_iter().map(|b| b.text).collect();
    assert_eq!(texts, ["INPUT rule 2: ACCEPT", "P rule 1: ACCEPT"]);
}

#[test]
fn a_rule_both_of_whose_ways_end_alike_is_no_reason() {
    let pick = "*nat\n-N SVC\n-A PREROUTING -p tcp --dport 80 -j SVC
        -A SVC -m statistic --mode random --probability 0.5 -j DNAT --to-destination 172.17.0.2:80\n\
         -A SVC -j DNAT --to-destination 172.17.0.3:80\n*filter\n";
    let why = |rules: &str, source: &str| {
        let v = live(&format!("{pick}{rules}"));
        let said = reach(&v, 80, Family::V4)
            .because
            .into_iter()
            .find(|b| b.outcome == Verdict::Depends)
            .map(|b| (b.text, b.rule.and_then(|r| r.rule)));
        assert_eq!(ask(&v, &format!("{source} 80 eth0")).why, said.clone().unwrap().0);
        said.unwrap()
    };
    let set = "FORWARD rule 1: the contents of ipset s are not known";
    let way = ask(&live(&format!("{pick}-A FORWARD -m set --match-set s src -j DROP")), "192.0.2.1 80 eth0");
    assert_eq!(way.decides().map(|at| way.path[at].chain.as_str()), Some("FORWARD"), "{way:#?}");
    assert_eq!(why("-A FORWARD -m set --match-set s src -j DROP", "192.0.2.1"), (set.to_owned(), Some(1)));
    // A later rule that is not sure either, and changes nothing, does not take its place.
    let more = "-A FORWARD -m set --match-set s src -j DROP\n-A FORWARD -m limit --limit 1/sec -j MORE\n-N MORE\n-A \
        MORE -p udp -j DROP";
    assert_eq!(why(more, "192.0.2.1").0, set);
    // The pick is the reason where the containers fare differently.
    assert_eq!(
        why("-A FORWARD -d 172.17.0.3/32 -j DROP", "192.0.2.1").0,
        "SVC rule 1: whether -m statistic --mode random --probability 0.5 holds is not known"
    );
    // Neither: the source port decides, for both containers.
    assert_eq!(
        why("-A FORWARD -p tcp -m tcp --sport 0:1023 -j DROP", "192.0.2.1").0,
        "the source port decides: FORWARD rule 1: DROP"
    );
}

#[test]
fn of_two_doors_each_reason_names_its_own() {
    let mut v = live(
        "*nat\n-A PREROUTING ! -i docker0 -p tcp -m tcp --dport 9042 -j DNAT --to-destination 172.17.0.2:9042
        *filter\n-A FORWARD -d 172.17.0.2/32 -j ACCEPT",
    );
    v.sockets = Some(vec![crate::model::Socket {
        proto: Proto::TCP,
        local: "0.0.0.0".parse().unwrap(),
        port: 9042,
        device: None,
        v6only: None,
        process: Some("docker-proxy".into()),
    }]);
    let list = Analysis::new(&v).endpoints();
    let x = Analysis::new(&v).exposure(list.iter().find(|e| e.port == 9042).unwrap(), Family::V4).unwrap();
    let texts: Vec<&str> = x.because.iter().map(|b| b.text.as_str()).collect();
    assert_eq!(
        texts,
        ["through NAT: FORWARD rule 1: ACCEPT", "through docker-proxy: INPUT policy ACCEPT, no rule matched"]
    );
}

#[test]
fn what_one_interface_lets_in_is_summed_up_as_let_in() {
    let open = |x: &Exposure| (cidrs(&x.widest().accepted), x.only_by());
    let words = |x: &Exposure| x.ways().into_iter().map(|(words, _)| words).collect::<Vec<_>>();
    let x = reach(&live("-A INPUT -i docker0 -j DROP"), 9, Family::V4);
    assert_eq!(
        (open(&x), words(&x)),
        ((vec!["0.0.0.0/0".to_owned()], Some("eth0".to_owned())), vec!["eth0".to_owned(), "docker0".to_owned()])
    );
    let x = reach(&view("-A INPUT -i docker0 -j DROP\n-A INPUT -i br-1 -j DROP"), 9, Family::V4);
    assert_eq!(
        (open(&x).1, words(&x)),
        (Some("most".to_owned()), vec!["any interface but br-1, docker0".to_owned(), "br-1, docker0".to_owned()])
    );
    let x = reach(&view("-A INPUT -i cali1 -j ACCEPT\n-A INPUT -i cali+ -j DROP"), 9, Family::V4);
    assert_eq!(words(&x), ["any interface but other cali+", "other cali+"]);
    // What is sure by no interface stays unsure, and nobody is called let in by all that gets in by one.
    let x = reach(&live("-A INPUT -i docker0 -j DROP\n-A INPUT -m limit --limit 1/sec -j DROP"), 9, Family::V4);
    assert_eq!(open(&x), (vec![], None));
    let x = reach(&live("-A INPUT -s 10.0.0.0/8 -i docker0 -j ACCEPT\n-A INPUT -j DROP"), 9, Family::V4);
    assert_eq!(open(&x), (vec!["10.0.0.0/8".to_owned()], Some("docker0".to_owned())));
    let x = reach(&live("-A INPUT -s 10.0.0.0/8 -j DROP"), 9, Family::V4);
    assert_eq!((*x.widest() == x.reach, x.only_by()), (true, None));
}

const DOCKER: &str = "*nat
    -N DOCKER
    -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    -A DOCKER ! -i docker0 -p tcp -m tcp --dport 9042 -j DNAT --to-destination 172.17.0.2:9042
    *filter
    -P INPUT DROP
    -P FORWARD DROP
    -N DOCKER-USER
    -A FORWARD -j DOCKER-USER
    -A FORWARD -o docker0 -j DOCKER
    -A DOCKER-USER -s 198.51.100.0/24 -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 9042 -j DROP
    -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 9042 -j ACCEPT";

#[test]
fn published_ports_go_through_forward() {
    for v in [live(DOCKER), view(DOCKER)] {
        assert_eq!(ask(&v, "192.0.2.1 9042 eth0").verdict, Verdict::Accept, "{:#?}", ask(&v, "192.0.2.1 9042 eth0"));
        assert_eq!(ask(&v, "198.51.100.7 9042 eth0").verdict, Verdict::Drop);
        assert_eq!(ask(&v, "192.0.2.1 22 eth0").verdict, Verdict::Drop);
        let list = Analysis::new(&v).endpoints();
        let e = list.iter().find(|e| e.kind == EndpointKind::Published).unwrap();
        assert_eq!((e.port, e.owner), (9042, Some(Manager::Docker)));
        let x = Analysis::new(&v).exposure(e, Family::V4).unwrap();
        assert_eq!(
            cidrs(&x.by_interface[if v.addrs.is_some() { "eth0" } else { "any other" }].blocked),
            ["198.51.100.0/24"]
        );
    }
}

#[test]
fn captured_text_does_not_tell_which_addresses_are_the_hosts() {
    check("-A INPUT -d 10.0.0.1/32 -j DROP", "192.0.2.1 80", Verdict::Depends);
    assert_eq!(ask(&live("-A INPUT -d 10.9.9.9/32 -j DROP"), "192.0.2.1 80").verdict, Verdict::Accept);
}

#[test]
fn other_filters_and_unreadable_tables_are_never_open() {
    let mut v = live("");
    assert_eq!(ask(&v, "192.0.2.1 80").verdict, Verdict::Accept);
    v.other_filters.push(OtherFilter {
        family: Family::V4,
        what: "table inet firewalld".into(),
        see: "nft list ruleset".into(),
        rewrites: false,
    });
    assert_eq!(ask(&v, "192.0.2.1 80").verdict, Verdict::Depends);
    assert!(reach(&v, 80, Family::V4).reach.depends.is_full());
    let mut v = live("");
    v.v4.as_mut().unwrap().table_mut("filter").unwrap().unreadable = true;
    assert_eq!(ask(&v, "192.0.2.1 80").verdict, Verdict::Depends);
}

#[test]
fn notrack_is_untracked_and_skips_nat() {
    let rules = "*raw\n-A PREROUTING -p tcp --dport 7 -j CT --notrack
        *nat\n-A PREROUTING -p tcp -j DNAT --to-destination 127.0.0.1:9
        *filter\n-A INPUT -m conntrack --ctstate NEW -j ACCEPT\n-A INPUT -m conntrack --ctstate UNTRACKED -j DROP";
    check(rules, "192.0.2.1 7", Verdict::Drop);
}

#[test]
fn marks_are_followed() {
    let rules = "*mangle\n-A PREROUTING -s 10.0.0.0/8 -j MARK --set-xmark 0x1/0xff
        *filter\n-A INPUT -m mark --mark 0x1/0x1 -j ACCEPT\n-A INPUT -j DROP";
    check(rules, "10.1.1.1 7", Verdict::Accept);
    check(rules, "11.1.1.1 7", Verdict::Drop);
}

#[test]
fn redirect_leads_to_another_port_of_the_host() {
    let rules = "*nat\n-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080
        *filter\n-A INPUT -p tcp --dport 8080 -j DROP";
    check(rules, "10.1.1.1 80", Verdict::Drop);
    check(rules, "10.1.1.1 81", Verdict::Accept);
}

#[test]
fn the_bridges_own_address_is_the_hosts() {
    let v = view(&DOCKER.replace("-P INPUT DROP", "-P INPUT ACCEPT"));
    let mut p = Packet::new("192.0.2.1".parse().unwrap(), Proto::TCP, Some(22));
    p.dst = "172.17.0.1".parse().ok();
    assert_eq!(Analysis::new(&v).trace(&p).verdict, Verdict::Accept);
    p.dst = "172.17.0.9".parse().ok();
    assert_eq!(Analysis::new(&v).trace(&p).verdict, Verdict::Drop);
}

const PARTS: &[&str] = &[
    "-s 10.0.0.0/8 ",
    "! -s 10.1.0.0/16 ",
    "-s 192.0.2.11/32 ",
    "-s 0.0.0.1/0.0.0.1 ",
    "-i eth0 ",
    "! -i eth0 ",
    "-d 10.0.0.1/32 ",
    "-p tcp -m tcp --dport 80 ",
    "-p tcp -m tcp ! --sport 1024:65535 ",
    "-m mark --mark 0x1 ",
    "-m limit --limit 1/sec ",
    "-m conntrack --ctstate NEW ",
    "-m conntrack --ctstate DNAT ",
    "-m addrtype --dst-type LOCAL ",
    "",
];
const TARGETS: &[&str] = &["-j ACCEPT", "-j DROP", "-j REJECT", "-j RETURN", "-j A", "-g A", "-j B", "", "-j LOG"];

proptest::proptest! {
    /// What `trace` says of one packet is what the exposure of its port says of its sender.
    #[test]
    fn trace_and_exposure_never_disagree(
        rules in proptest::collection::vec((0..3usize, 0..PARTS.len(), 0..PARTS.len(), 0..TARGETS.len()), 0..12),
        nat in proptest::collection::vec((0..PARTS.len(), 0..3usize), 0..3), drop: bool,
    ) {
        let policy = if drop { "DROP" } else { "ACCEPT" };
        let mut text =
            format!("*nat\n-P PREROUTING ACCEPT\n*filter\n-P INPUT {policy}\n-P FORWARD DROP\n-N A\n-N B\n");
        for (chain, x, y, target) in rules {
            // B jumps nowhere and A only to B, so that nothing loops.
            let target = match (chain, TARGETS[target]) {
                (2, "-j A" | "-g A" | "-j B") | (1, "-j A" | "-g A") => "-j DROP",
                (_, t) => t,
            };
            writeln!(text, "-A {} {}{}{target}", ["INPUT", "A", "B"][chain], PARTS[x], PARTS[y]).unwrap();
        }
        text.push_str("*nat\n");
        for (part, target) in nat {
            let to = [
                "-p tcp -j REDIRECT --to-ports 81", "-p tcp -j DNAT --to-destination 172.17.0.2:80", "-j ACCEPT",
            ][target];
            writeln!(text, "-A PREROUTING {}{to}", PARTS[part].replace("-p tcp ", "")).unwrap();
        }
        let v = live(&text);
        let x = reach(&v, 80, Family::V4);
        for src in ["10.0.0.9", "10.1.0.8", "192.0.2.11", "192.0.2.12", "203.0.113.7"] {
            for interface in ["eth0", "docker0"] {
                for (dst, sport) in [("10.0.0.1", 53), ("172.17.0.1", 40_000)] {
                    let mut p = Packet::new(src.parse().unwrap(), Proto::TCP, Some(80));
                    (p.dst, p.sport, p.interface) = (dst.parse().ok(), Some(sport), Some(interface.to_owned()));
                    let verdict = Analysis::new(&v).trace(&p).verdict;
                    for r in [Some(&x.reach), x.by_interface.get(interface)].into_iter().flatten() {
                        let open = verdict == Verdict::Accept;
                        let closed = matches!(verdict, Verdict::Drop | Verdict::Reject);
                        let case = format!("{src} {interface} {dst}: {verdict}\n{text}\n{x:#?}");
                        proptest::prop_assert!(!r.accepted.contains(p.src) || open, "{case}");
                        proptest::prop_assert!(!r.blocked.contains(p.src) || closed, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn chains_that_branch_at_each_level_are_not_walked_once_for_every_way() {
    for matches in ["", "-m limit --limit 5/min "] {
        let mut rules = "-A INPUT -j L0".to_owned();
        for i in 0..40 {
            rules += &format!("\n-A L{i} {matches}-j L{}\n-A L{i} {matches}-j L{}", i + 1, i + 1);
        }
        let v = live(&format!("{rules}\n-A L40 -p tcp --dport 22 -j DROP"));
        let through = if matches.is_empty() { "blocked" } else { "depends" };
        let r = reach(&v, 22, Family::V4).reach;
        assert!(if through == "blocked" { r.blocked.is_full() } else { r.depends.is_full() }, "{r:?}");
        assert!(reach(&v, 23, Family::V4).reach.accepted.is_full());
        assert_eq!(ask(&v, "192.0.2.1 23").verdict, Verdict::Accept);
    }
}

#[test]
fn a_target_that_may_write_marks_leaves_them_unknown() {
    for target in ["HMARK --hmark-mod 7", "SET --map-set s src --map-mark"] {
        let v = live(&format!("*mangle\n-A PREROUTING -j {target}\n*filter\n-A INPUT -m mark --mark 0x3 -j DROP"));
        assert_eq!(ask(&v, "192.0.2.1 80").verdict, Verdict::Depends, "{target}");
    }
}

#[test]
fn rules_that_mark_do_not_part_packets_where_no_rule_asks() {
    let rules: String = (0..200).map(|i| format!("-A INPUT -s 10.0.{i}.0/24 -j MARK --set-mark {i}\n")).collect();
    let r = reach(&live(&format!("{rules}-A INPUT -s 10.0.7.0/24 -j DROP")), 80, Family::V4).reach;
    assert_eq!(cidrs(&r.blocked), ["10.0.7.0/24"]);
}

#[test]
fn behind_ct_raw_sees_a_template() {
    let raw = |rule: &str| format!("*raw\n-A PREROUTING -p tcp -j CT --zone 3\n-A PREROUTING {rule} -j DROP");
    for (rule, verdict) in [
        ("-m conntrack --ctstate NEW", Verdict::Drop),
        ("-m conntrack --ctstate INVALID", Verdict::Accept),
        ("-m conntrack --ctproto 6", Verdict::Accept),
        ("-m conntrack --ctdir ORIGINAL", Verdict::Drop),
    ] {
        check(&raw(rule), "192.0.2.1 80", verdict);
    }
}

#[test]
fn of_networks_with_interfaces_the_narrowest_decides() {
    let mut v = live("-A INPUT -m set --match-set s src,src -j ACCEPT\n-A INPUT -j DROP");
    let entries = ["10.0.0.2,docker0", "10.0.0.0/24,eth0"].map(str::to_owned).to_vec();
    v.ipsets = Some(vec![crate::model::IpSet {
        name: "s".into(),
        kind: "hash:net,iface".into(),
        family: Some(Family::V4),
        options: String::new(),
        entries,
    }]);
    assert_eq!(ask(&v, "10.0.0.3 80 eth0").verdict, Verdict::Accept);
    assert_eq!(ask(&v, "10.0.0.2 80 eth0").verdict, Verdict::Drop);
    assert_eq!(ask(&v, "10.0.0.2 80 docker0").verdict, Verdict::Accept);
}

#[test]
fn addresses_in_a_text_tell_what_dnat_leads_to() {
    let rules = "*nat\n-P PREROUTING ACCEPT\n-A PREROUTING -p tcp --dport 30643 -j DNAT --to-destination \
        192.168.50.10:6443
        *filter\n-P INPUT DROP\n-P FORWARD ACCEPT\n-A FORWARD -o eth1 -j DROP\n\
         -A INPUT -i eth9 -p tcp --dport 6443 -j ACCEPT";
    let at = |a: &str, prefix, i: &str| LocalAddr { addr: a.parse().unwrap(), prefix, interface: i.to_owned() };
    let with = |addrs: &[LocalAddr], routes: &[(&str, &str)]| {
        let mut v = view(rules);
        v.addrs = (!addrs.is_empty()).then(|| addrs.to_vec());
        v.routes = (!routes.is_empty()).then(|| {
            routes.iter().map(|(n, i)| Route { net: Net::parse_any(n).unwrap(), interface: (*i).to_owned() }).collect()
        });
        v
    };
    let (lo, own, other) = (at("127.0.0.1", 8, "lo"), at("192.168.50.10", 24, "eth0"), at("192.168.50.11", 24, "eth1"));
    let verdict = |v: &View| ask(v, "198.51.100.1 30643").verdict;
    // All addresses: the host's own, or known not to be; the network of an address tells the way out.
    assert_eq!(verdict(&with(&[lo.clone(), own.clone()], &[])), Verdict::Drop);
    assert_eq!(verdict(&with(&[lo.clone(), at("192.168.50.11", 24, "eth0")], &[])), Verdict::Accept);
    assert_eq!(verdict(&with(&[lo.clone(), other], &[])), Verdict::Drop);
    // Not all: by which interfaces packets come is not known then.
    assert_eq!(verdict(&with(std::slice::from_ref(&own), &[])), Verdict::Depends);
    // That there is no route at all is not concluded from a text.
    let v = with(&[lo, at("192.168.51.11", 24, "eth2")], &[("192.168.51.0/24", "eth2")]);
    assert_eq!(verdict(&v), Verdict::Accept);
}
