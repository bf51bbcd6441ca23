//! From what a rule says to tests on cells: what can be answered for certain becomes a [`Test`], the rest a
//! reason why the rule only *may* match.

use std::ops::RangeInclusive;

use super::test::cost;
use super::{addrtype, ipset, plain};
use crate::analyse::packets::test::{Meaning, Place, Test, addrs, states};
use crate::analyse::surroundings::Surroundings;
use crate::analyse::surroundings::place::multicast;
use crate::model::{AddrSet, End, Family, Match, Net, PortSet, Proto, Rule, Spec, Target};

/// A rule ready to be walked.
pub struct Ready {
    /// All must hold, the cheap ones first.
    pub tests: Vec<Test>,
    /// What beside them is not known.
    pub maybe: Option<String>,
    /// Whether ordinary packets meet what is not known: those within a limit.
    pub likely: bool,
    /// What then happens.
    pub target: Target,
    /// The ranges of addresses in the tests: what a look at them costs.
    pub weight: usize,
}

use Meaning::{Sure, Unsure};

/// Compiles one rule for packets of a protocol.
pub fn compile(world: &Surroundings, rule: &Rule, proto: Proto) -> Ready {
    let spec: Spec = rule.spec(world.family);
    let mut tests = Vec::new();
    let mut maybe = None;
    if rule.hidden.interfaces {
        maybe = Some("the listing hides interfaces".to_owned());
    }
    if rule.hidden.cut {
        maybe = Some("the line is cut".to_owned());
    }
    for m in &spec.matches {
        match meaning(world, m, proto) {
            Sure(Test::Always(true)) => {}
            Sure(Test::Always(false)) => {
                return Ready {
                    tests: vec![Test::Always(false)],
                    maybe: None,
                    likely: false,
                    target: Target::None,
                    weight: 0,
                };
            }
            Sure(t) => tests.push(t),
            Unsure(why) => {
                maybe.get_or_insert(why);
            }
        }
    }
    tests.sort_by_key(cost);
    let weight = tests.iter().map(Test::weight).sum();
    let likely = spec.matches.iter().any(|m| matches!(m, Match::Unknown(words) if within_limit(words)));
    Ready { tests, maybe, likely, target: spec.target, weight }
}

fn ports(set: &PortSet, not: bool) -> PortSet {
    if not { !set } else { set.clone() }
}

fn meaning(world: &Surroundings, m: &Match, proto: Proto) -> Meaning {
    // A mask with holes makes many ranges: they are worked out only for packets whose addresses are not few.
    let net = |not: bool, net: Net, make: fn(AddrSet) -> Test, holes: fn(bool, Net) -> Test| {
        Sure(match net.prefix().and_then(|_| AddrSet::from_net(net)) {
            Some(set) => make(addrs(set, not)),
            None => holes(not, net),
        })
    };
    // Without a connection xt_conntrack looks at none of these; of a template (`CT`) it sees zeros.
    let tracked = |t: Test, of_zero: bool| {
        let mut groups = vec![
            vec![Test::State(false, states::NEW), Test::State(true, states::TEMPLATE), t],
            vec![Test::State(true, states::NEW)],
        ];
        if of_zero {
            groups.push(vec![Test::State(false, states::TEMPLATE)]);
        }
        Sure(Test::OneOf(false, groups))
    };
    match m {
        Match::Source(not, n) => net(*not, *n, Test::Src, Test::SrcMask),
        Match::Destination(not, n) => net(*not, *n, Test::Dst, Test::DstMask),
        Match::InInterface(not, i) => {
            let set = world.ifaces.matching(i);
            Sure(Test::In(if *not { &world.ifaces.all() - &set } else { set }))
        }
        Match::OutInterface(not, i) => {
            let set = world.ifaces.matching(i);
            Sure(Test::Out(if *not { &world.ifaces.all() - &set } else { set }, i.matches("") != *not))
        }
        Match::Protocol(not, p) => Sure(Test::Always((*p == proto) != *not)),
        Match::SourcePorts(not, p) => with_ports(proto, Test::Sport(ports(p, *not))),
        Match::DestinationPorts(not, p) => with_ports(proto, Test::Dport(ports(p, *not))),
        Match::EitherPorts(not, p) => {
            with_ports(proto, Test::OneOf(*not, vec![vec![Test::Sport(p.clone())], vec![Test::Dport(p.clone())]]))
        }
        Match::TcpFlags(not, mask, comp) if proto == Proto::TCP => Sure(Test::Flags(*not, *mask, *comp)),
        Match::TcpFlags(..) => Sure(Test::Always(false)),
        Match::TcpOption(..) => Unsure("TCP options are not part of the question".to_owned()),
        Match::Length(not, bytes) => length(world.family, proto, *not, bytes),
        Match::IcmpType(not, kind, codes) => {
            // A new connection over ICMP is an echo request (nf_conntrack_proto_icmp.c knows three more, obsolete).
            let (echo, is) =
                if world.family == Family::V4 { (8, proto == Proto::ICMP) } else { (128, proto == Proto::ICMP6) };
            let any = *kind == 255 && world.family == Family::V4;
            Sure(Test::Always(is && (any || (*kind == echo && codes.contains(&0))) != *not))
        }
        Match::Range(not, end, a, b) => {
            let set = addrs(AddrSet::range(*a, *b), *not);
            Sure(if *end == End::Src { Test::Src(set) } else { Test::Dst(set) })
        }
        Match::AddrType(not, end, types, limit) => addrtype::meaning(world, *not, *end, types, *limit),
        Match::PktType(not, kind) => Sure(frame(world, *not, kind)),
        Match::Set(not, name, ends) => ipset::meaning(world, *not, name, ends, proto),
        Match::Mark(not, value, mask) => Sure(Test::Mark { not: *not, value: *value, mask: *mask, conn: false }),
        Match::ConnMark(not, value, mask) => Sure(Test::Mark { not: *not, value: *value, mask: *mask, conn: true }),
        Match::CtState(not, names) => {
            let bits = names.iter().fold(0, |acc, n| {
                acc | match n.as_str() {
                    "NEW" => states::NEW,
                    "UNTRACKED" => states::UNTRACKED,
                    "INVALID" => states::INVALID,
                    "DNAT" => states::DNAT,
                    _ => 0,
                }
            });
            Sure(Test::State(*not, bits))
        }
        Match::CtTracked => Sure(Test::State(false, states::NEW)),
        Match::CtDirOriginal(original) => tracked(Test::Always(*original), *original),
        Match::CtOrigSrc(not, n) => AddrSet::from_net(*n).map_or_else(
            || Unsure(format!("--ctorigsrc {n}")),
            |s| tracked(Test::Src(addrs(s, *not)), (n.addr == 0) != *not),
        ),
        Match::CtOrigDst(not, n) => AddrSet::from_net(*n).map_or_else(
            || Unsure(format!("--ctorigdst {n}")),
            |s| tracked(Test::OrigDst(addrs(s, *not)), (n.addr == 0) != *not),
        ),
        // Kernels differ in whether they track the ports of these.
        Match::CtOrigSrcPort(..) | Match::CtOrigDstPort(..) if matches!(proto, Proto(33 | 136)) => {
            Unsure(format!("ports of {proto} connections"))
        }
        Match::CtOrigSrcPort(not, p) => match proto {
            _ if proto.has_ports() => {
                tracked(Test::Sport(ports(&PortSet::from_iter([p.clone()]), *not)), p.contains(&0) != *not)
            }
            Proto::ICMP | Proto::ICMP6 => Unsure("--ctorigsrcport compares the number of an echo request".to_owned()),
            _ => tracked(Test::Always(p.contains(&0) != *not), p.contains(&0) != *not),
        },
        // Without ports the tuple holds type and code of ICMP, else zero (nf_conntrack_tuple.h).
        Match::CtOrigDstPort(not, p) => match proto {
            _ if proto.has_ports() => {
                tracked(Test::OrigDport(ports(&PortSet::from_iter([p.clone()]), *not)), p.contains(&0) != *not)
            }
            Proto::ICMP => tracked(Test::Always(p.contains(&(8 << 8)) != *not), p.contains(&0) != *not),
            Proto::ICMP6 => tracked(Test::Always(p.contains(&(128 << 8)) != *not), p.contains(&0) != *not),
            _ => tracked(Test::Always(p.contains(&0) != *not), p.contains(&0) != *not),
        },
        Match::CtProto(not, p) => tracked(Test::Always((*p == proto) != *not), *not),
        Match::Fragment(not) => Sure(Test::Always(*not)),
        Match::Comment(_) => Sure(Test::Always(true)),
        Match::Dates(from, to) => match world.at {
            Some(at) => Sure(Test::Always(from.is_none_or(|f| at >= f) && to.is_none_or(|t| at <= t))),
            None => Unsure("the date decides, and no instant is given".to_owned()),
        },
        Match::Unknown(words) if words.contains("--ctstatus") => match plain::decided(words) {
            Some(yes) => tracked(Test::Always(yes), yes),
            None => Unsure(format!("whether {words} holds is not known")),
        },
        Match::Unknown(words) if plain::decided(words).is_some() => {
            world.way_back.set(world.way_back.get() || words.starts_with("-m rpfilter"));
            Sure(Test::Always(plain::decided(words) == Some(true)))
        }
        Match::Unknown(words) => Unsure(format!("whether {words} holds is not known")),
    }
}

/// The frame of a packet to many is to many, and NAT does not change that.
fn frame(world: &Surroundings, not: bool, kind: &str) -> Test {
    let many = multicast(world.family);
    let (set, placed) = match kind {
        "unicast" | "host" => (world.spread.complement(), false),
        "multicast" => (many, false),
        "broadcast" => (world.spread.minus(&many), true),
        _ => return Test::Always(not),
    };
    if world.local.is_some() {
        return Test::OrigDst(addrs(set, not));
    }
    let place = |p, test| vec![Test::Placed(p), test];
    let told = [Place::Told, Place::Here, Place::Away].map(|p| place(p, Test::OrigDst(set.clone())));
    Test::OneOf(not, told.into_iter().chain([place(Place::Many, Test::Always(placed))]).collect())
}

/// Whether a condition holds for packets at an ordinary rate (iptables-extensions(8)).
fn within_limit(words: &str) -> bool {
    let says = |what: &[&str]| words.split_whitespace().any(|w| what.contains(&w));
    !words.contains('!') && says(&["--limit", "--hashlimit-upto", "--hashlimit", "--connlimit-upto", "--quota"])
}

/// Ports are matched in protocols that have them only.
fn with_ports(proto: Proto, test: Test) -> Meaning {
    Sure(if proto.has_ports() { test } else { Test::Always(false) })
}

/// No question tells how long a packet is. But none is shorter than its headers, and none of IPv4 is longer than 65535
/// bytes. One of IPv6 may be: it has up to 65535 behind its header (RFC 8200, section 3). Of such a packet older
/// kernels see only what is over 65536, later ones the whole, which no range reaches (xt_length.c): in IPv6 nothing is
/// certain.
fn length(family: Family, proto: Proto, not: bool, bytes: &RangeInclusive<u16>) -> Meaning {
    let v4 = family == Family::V4;
    let shortest = match proto {
        Proto::TCP => 40,
        _ if proto.has_ports() || proto == Proto::ICMP => 28,
        _ => 20,
    };
    if bytes.is_empty() || v4 && *bytes.end() < shortest {
        Sure(Test::Always(not))
    } else if v4 && *bytes.start() <= shortest && *bytes.end() == u16::MAX {
        Sure(Test::Always(!not))
    } else {
        Unsure("the packet's length is not part of the question".to_owned())
    }
}
