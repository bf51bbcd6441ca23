//! What may be said of a text that does not tell everything.

use super::{Analysis, Packet, Trace, Verdict};
use crate::model::{Proto, View};
use crate::observe::capture::{Input, captured};

fn paste(text: &str) -> View {
    captured(&[Input { name: "paste".into(), text: text.into(), family: None }])
}

/// A new TCP connection of a stranger to a port.
fn ask(text: &str, port: u16) -> Trace {
    Analysis::new(&paste(text)).trace(&Packet::new([198, 51, 100, 7].into(), Proto::TCP, Some(port)))
}

#[test]
fn nothing_gets_in_where_the_filter_table_is_not_shown() {
    let others = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n\
        -A PREROUTING -p tcp --dport 80 -j DROP\nCOMMIT\n";
    assert_eq!(ask(others, 81).verdict, Verdict::Depends);
    assert!(ask(others, 81).why.contains("the filter table is not in the text"));
    assert_eq!(ask(others, 80).verdict, Verdict::Drop, "what is shown is certain");
}

#[test]
fn a_heading_is_no_table_that_hides_the_rules() {
    for heading in ["**Manager 1**", "*** rules ***", "* first host"] {
        let text = format!("{heading}\n-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n");
        assert_eq!(ask(&text, 80).verdict, Verdict::Drop, "{heading}");
    }
    let list = "* `-P INPUT ACCEPT`\n* `-A INPUT -p tcp -m tcp --dport 80 -j DROP`\n* `-P FORWARD DROP`\n";
    assert_eq!(ask(list, 80).verdict, Verdict::Drop);
}

/// A guest behind virbr0 and a router's LAN, as rules tell of them.
const GUESTS: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
    -A INPUT -d 203.0.113.80/32 -p tcp -m tcp --dport 8080 -j ACCEPT\n\
    -A FORWARD -d 192.168.130.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
    -A FORWARD -o virbr0 -j REJECT --reject-with icmp-port-unreachable\n\
    -A FORWARD -d 10.77.0.0/16 -o eth1 -p tcp -m tcp --dport 443 -j ACCEPT\n\
    -A FORWARD -d 172.30.0.0/16 -o eth2 -j DROP\n-A FORWARD -o eth1 -j DROP\nCOMMIT\n";

/// What becomes of a packet to an address, and what was taken for so.
fn to(text: &str, proto: Proto, dst: &str, port: u16) -> Trace {
    let p = Packet::new([198, 51, 100, 7].into(), proto, Some(port));
    let p = Packet { dst: Some(dst.parse().unwrap()), interface: Some("eth0".into()), ..p };
    Analysis::new(&paste(text)).trace(&p)
}

#[test]
fn where_a_destination_is_the_text_tells_or_both_ways_are_walked() {
    let case = |text: &str, dst: &str, port: u16, verdict: Verdict, said: &str| {
        let t = to(text, Proto::TCP, dst, port);
        assert_eq!(t.verdict, verdict, "{dst} {t:#?}");
        assert!(t.assumed.iter().any(|a| a.contains(said)), "{dst} {:?}", t.assumed);
    };
    case(GUESTS, "192.168.130.5", 22, Verdict::Reject, "a host behind virbr0");
    case(GUESTS, "192.168.130.1", 22, Verdict::Accept, "the first address of 192.168.130.0/24");
    case(GUESTS, "10.77.4.5", 443, Verdict::Accept, "a host behind eth1");
    case(GUESTS, "10.77.4.5", 80, Verdict::Drop, "a host behind eth1");
    case(GUESTS, "203.0.113.80", 80, Verdict::Accept, "a rule for incoming packets names it");
    // What is only kept from leaving there is not there.
    case(GUESTS, "172.30.0.9", 80, Verdict::Depends, "whether 172.30.0.9 is an address of this host");
    // Both ways end alike.
    case("-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n", "192.0.2.9", 80, Verdict::Drop, "both ways");
    case("-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n", "192.0.2.9", 80, Verdict::Accept, "forwarding");
    case("-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n", "192.0.2.9", 80, Verdict::Depends, "192.0.2.9");
}

#[test]
fn addresses_and_routes_in_the_text_decide_before_rules_do() {
    let rules = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n";
    let route = "$ ip route\ndefault via 192.0.2.254 dev eth0\n10.8.0.0/24 via 192.0.2.9 dev eth0\n\
        192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1\n";
    let with = |more: &str, dst: &str| to(&format!("$ iptables -S\n{rules}{more}"), Proto::TCP, dst, 80).verdict;
    assert_eq!(with(route, "192.0.2.1"), Verdict::Accept);
    assert_eq!(with(route, "192.0.2.7"), Verdict::Drop);
    assert_eq!(with(route, "10.8.0.1"), Verdict::Drop);
    assert_eq!(with(route, "203.0.113.1"), Verdict::Depends);
    let one =
        "$ ip addr show eth0\n2: eth0: <BROADCAST,MULTICAST,UP> mtu 1500\n    inet 192.0.2.1/24 scope global eth0\n";
    assert_eq!(with(one, "192.0.2.1"), Verdict::Accept);
    assert_eq!(with(one, "192.0.2.7"), Verdict::Drop);
    let lo = "1: lo: <LOOPBACK,UP> mtu 65536\n    inet 127.0.0.1/8 scope host lo\n";
    assert_eq!(with(&format!("{one}{lo}"), "203.0.113.1"), Verdict::Drop, "all addresses are there");
}

#[test]
fn dnat_for_the_hosts_own_addresses_is_one_of_the_two_ways() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
        -A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:8080\nCOMMIT\n\
        *filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n\
        -A FORWARD -d 172.17.0.2/32 -o docker0 -p tcp -m tcp --dport 8080 -j ACCEPT\nCOMMIT\n";
    let t = to(text, Proto::TCP, "192.0.2.9", 80);
    assert_eq!(t.verdict, Verdict::Depends, "{t:#?}");
    assert_eq!(to(text, Proto::TCP, "192.0.2.9", 81).verdict, Verdict::Drop);
    assert_eq!(to(text, Proto::TCP, "172.17.0.2", 8080).verdict, Verdict::Accept);
}

#[test]
fn what_is_sent_to_many_is_for_the_host_too() {
    let text = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A INPUT -m pkttype --pkt-type broadcast -p udp --dport 111 -j ACCEPT\n\
        -A INPUT -m addrtype --dst-type MULTICAST -p udp --dport 5353 -j ACCEPT\nCOMMIT\n\
        2: eth0: <BROADCAST,MULTICAST,UP> mtu 1500\n    inet 192.0.2.1/24 scope global eth0\n";
    let fate = |dst: &str, port| to(text, Proto::UDP, dst, port).verdict;
    for dst in ["192.0.2.255", "255.255.255.255"] {
        assert_eq!((fate(dst, 111), fate(dst, 112)), (Verdict::Accept, Verdict::Drop), "{dst}");
    }
    for dst in ["224.0.0.251", "239.1.2.3"] {
        assert_eq!((fate(dst, 5353), fate(dst, 111)), (Verdict::Accept, Verdict::Drop), "{dst}");
    }
    assert_eq!(fate("192.0.2.1", 111), Verdict::Drop, "a packet to one host is no broadcast");
    // Of an address that nothing tells the place of, all three are possible.
    let untold = |dst: &str| {
        let only = "-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT\n\
            -A FORWARD -j ACCEPT\n";
        to(only, Proto::UDP, dst, 111).verdict
    };
    assert_eq!((untold("203.0.113.255"), untold("203.0.113.5")), (Verdict::Depends, Verdict::Accept));
    let v6 = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n\
        -A INPUT -d ff02::/16 -p udp --dport 111 -j ACCEPT\nCOMMIT\n";
    let p = Packet::new("2001:db8::7".parse().unwrap(), Proto::UDP, Some(111));
    let t = Analysis::new(&paste(v6)).trace(&Packet { dst: Some("ff02::202".parse().unwrap()), ..p });
    assert_eq!(t.verdict, Verdict::Accept, "{t:#?}");
    assert!(t.assumed.iter().any(|a| a.contains("joined the group")), "{:?}", t.assumed);
}

#[test]
fn a_packet_that_is_not_judged_is_said_to_be_one() {
    let open =
        "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-A INPUT -p tcp --syn -m tcp --dport 80 -j DROP\n";
    let from = |src: &str| Analysis::new(&paste(open)).trace(&Packet::new(src.parse().unwrap(), Proto::UDP, Some(80)));
    for martian in ["127.0.0.1", "224.0.0.5", "255.255.255.255", "0.0.0.0"] {
        let t = from(martian);
        assert_eq!((t.verdict, t.not_judged.len()), (Verdict::Depends, 1), "{martian} {t:#?}");
    }
    assert_eq!((from("192.0.2.7").verdict, from("192.0.2.7").not_judged), (Verdict::Accept, vec![]));
    let tcp = |flags| {
        let p = Packet { flags, ..Packet::new([192, 0, 2, 7].into(), Proto::TCP, Some(80)) };
        Analysis::new(&paste(open)).trace(&p)
    };
    assert_eq!((tcp(None).verdict, tcp(Some(0x02)).verdict), (Verdict::Drop, Verdict::Drop));
    // An ACK is taken up as a connection, a SYN with ACK is none.
    assert_eq!(tcp(Some(0x10)).verdict, Verdict::Accept);
    assert!(tcp(Some(0x10)).assumed.iter().any(|a| a.contains("SYN")));
    let states =
        "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-A INPUT -m conntrack --ctstate INVALID -j DROP\n";
    let of = |flags| {
        let p = Packet { flags: Some(flags), ..Packet::new([192, 0, 2, 7].into(), Proto::TCP, Some(80)) };
        Analysis::new(&paste(states)).trace(&p).verdict
    };
    assert_eq!([0x02, 0x10, 0x12, 0x01, 0x00, 0x29].map(of)[..2], [Verdict::Accept; 2]);
    assert_eq!([0x12, 0x01, 0x00, 0x29].map(of), [Verdict::Drop; 4]);
    let icmp = Analysis::new(&paste(open)).trace(&Packet::new([192, 0, 2, 7].into(), Proto::ICMP, None));
    assert!(icmp.assumed.iter().any(|a| a.contains("echo request")));
}

#[test]
fn what_rejects_at_the_latest_is_not_called_a_drop() {
    let text = "-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N flood\n-A INPUT -p tcp --syn -j flood\n\
        -A INPUT -m recent --rcheck --seconds 60 --name bad --rsource -j DROP\n-A INPUT -p tcp -j REJECT\n\
        -A flood -m limit --limit 25/sec -j RETURN\n-A flood -j DROP\n";
    let t = ask(text, 22);
    assert_eq!(t.verdict, Verdict::Reject, "{t:#?}");
    assert!(t.why.starts_with("closed: reject, INPUT rule 3 at the latest"), "{}", t.why);
    assert_eq!(t.rule.and_then(|r| r.rule), Some(3));
    assert_eq!(ask(&text.replace("REJECT", "DROP"), 22).verdict, Verdict::Drop);
    // A rule for one source port decides for few.
    let side = "-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-A INPUT -p tcp -m tcp --sport 53 -j DROP\n";
    assert_eq!(ask(side, 22).why, "INPUT policy DROP, no rule matched");
}

/// Docker's published port; only a network is let in by the interface that is named.
const PUBLISHED: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
    -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
    -A DOCKER -i docker0 -j RETURN\n\
    -A DOCKER ! -i docker0 -p tcp -m tcp --dport 6379 -j DNAT --to-destination 172.17.0.3:6379\nCOMMIT\n\
    *filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
    -A FORWARD -d 172.17.0.3/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 6379 -j ACCEPT\nGUARD\nCOMMIT\n";

#[test]
fn one_rule_says_what_is_open_to_anyone() {
    let open = |guard: &str| {
        let view = paste(&PUBLISHED.replace("GUARD\n", guard));
        let report = Analysis::new(&view).report();
        let x = report.endpoints.iter().find(|j| j.endpoint.port == 6379).unwrap().exposure[0].clone().unwrap();
        x.lets_all_in()
    };
    assert!(open(""), "what containers meet on their own bridge does not hide it");
    assert!(!open("-A DOCKER-USER ! -s 192.168.7.0/24 -i ens3 -j DROP\n"), "the bridge alone is not anyone");
    assert!(open("-A DOCKER-USER -s 198.51.100.66/32 -j DROP\n"), "all but one are anyone");
    assert!(!open("-A DOCKER-USER ! -s 192.168.7.0/24 -j DROP\n"));
}

#[test]
fn a_stranger_does_not_come_by_a_bridge_of_guests() {
    let text =
        GUESTS.replace(":OUTPUT ACCEPT [0:0]\n", ":OUTPUT ACCEPT [0:0]\n-A FORWARD -i virbr0 -o virbr0 -j ACCEPT\n");
    let from = |src: &str| {
        let p = Packet::new(src.parse().unwrap(), Proto::TCP, Some(22));
        let p = Packet { dst: Some([192, 168, 130, 5].into()), ..p };
        Analysis::new(&paste(&text)).trace(&p).verdict
    };
    assert_eq!(from("198.51.100.7"), Verdict::Reject);
    assert_eq!(from("192.168.130.9"), Verdict::Depends, "who says by what it comes");
}

#[test]
fn what_a_plain_new_packet_decides_is_decided() {
    let rules = "-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-A INPUT -m rt --rt-type 0 -j DROP\n\
        -A INPUT -m policy --dir in --pol ipsec -j DROP\n-A INPUT -m conntrack --ctstatus ASSURED -j DROP\n\
        -A INPUT -m rpfilter --invert -j DROP\n-A INPUT -m statistic --mode random --probability 0 -j DROP\n\
        -A INPUT -p tcp -m tcp --dport 22 -m recent --set --name ssh --mask 255.255.255.255 --rsource -j ACCEPT\n";
    let t = ask(rules, 22);
    assert_eq!(t.verdict, Verdict::Accept, "{t:#?}");
    assert!(t.assumed.iter().any(|a| a.contains("rpfilter")), "{:?}", t.assumed);
    assert_eq!(ask(rules, 23).verdict, Verdict::Drop);
}
