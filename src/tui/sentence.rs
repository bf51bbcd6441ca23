//! A rule in columns and in one plain sentence.

use crate::model::{End, Family, Match, NatTo, Policy, PortSet, Rule, Target};

/// A rule in columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// Target, `-` without one.
    pub target: String,
    /// Protocol.
    pub proto: String,
    /// Interface in.
    pub input: String,
    /// Interface out.
    pub output: String,
    /// Source.
    pub source: String,
    /// Destination.
    pub destination: String,
    /// Everything else except the comment.
    pub rest: String,
    /// Comment, as iptables(8) lists it.
    pub comment: String,
}

fn not(n: bool) -> &'static str {
    if n { "!" } else { "" }
}

fn ports(set: &PortSet) -> String {
    set.ranges()
        .take(8)
        .map(|r| if r.start() == r.end() { r.start().to_string() } else { format!("{}-{}", r.start(), r.end()) })
        .collect::<Vec<_>>()
        .join(",")
}

/// The columns of a rule.
pub fn columns(rule: &Rule, family: Family) -> Columns {
    let spec = rule.spec(family);
    let mut c = Columns { target: target_word(&spec.target, rule), ..Columns::default() };
    let mut rest: Vec<String> = Vec::new();
    for m in &spec.matches {
        match m {
            Match::Source(n, net) => c.source = format!("{}{net}", not(*n)),
            Match::Destination(n, net) => c.destination = format!("{}{net}", not(*n)),
            Match::InInterface(n, i) => c.input = format!("{}{}", not(*n), i.0),
            Match::OutInterface(n, i) => c.output = format!("{}{}", not(*n), i.0),
            Match::Protocol(n, p) => c.proto = format!("{}{p}", not(*n)),
            Match::DestinationPorts(n, s) => rest.push(format!("{}port {}", not(*n), ports(s))),
            Match::Comment(text) => c.comment = format!("/* {text} */"),
            other => rest.extend(short(other)),
        }
    }
    if let Target::Dnat(Some(to)) = &spec.target {
        rest.push(format!("to {}", nat(to)));
    }
    c.rest = rest.join(" ");
    c
}

fn target_word(t: &Target, rule: &Rule) -> String {
    match t {
        Target::None => "-".into(),
        Target::Accept => "ACCEPT".into(),
        Target::Drop => "DROP".into(),
        Target::Reject => "REJECT".into(),
        Target::Return => "RETURN".into(),
        Target::Dnat(_) => "DNAT".into(),
        Target::Redirect(_) => "REDIRECT".into(),
        // SNAT or MASQUERADE, as in the rule.
        Target::Snat => rule.jumps_to().map_or_else(|| "SNAT".to_owned(), Into::into),
        Target::Mark(_) => "MARK".into(),
        Target::ConnMark(_) | Target::SaveMark(_) | Target::RestoreMark(_) => "CONNMARK".into(),
        Target::Netmap(_) => "NETMAP".into(),
        Target::NoTrack => "NOTRACK".into(),
        Target::Continue(w) => w.split(' ').next().unwrap_or_default().to_owned(),
        Target::Jump(n, _) => n.clone(),
        Target::Goto(n) => format!("{n} (goto)"),
    }
}

/// The chain that a rule leads to.
pub fn leads_to(rule: &Rule, family: Family) -> Option<String> {
    match rule.spec(family).target {
        Target::Jump(n, _) | Target::Goto(n) => Some(n),
        _ => None,
    }
}

fn nat(to: &NatTo) -> String {
    let addr = to.addrs.map_or_else(
        || "the same address".to_owned(),
        |(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") },
    );
    match &to.ports {
        Some(p) if p.start() == p.end() => format!("{addr} port {}", p.start()),
        Some(p) => format!("{addr} ports {}-{}", p.start(), p.end()),
        None => addr,
    }
}

fn side(e: End) -> &'static str {
    match e {
        End::Src => "source",
        End::Dst => "destination",
    }
}

/// A match that is neither address, interface, protocol nor destination port, in a few words.
fn short(m: &Match) -> Option<String> {
    Some(match m {
        Match::SourcePorts(n, s) => format!("{}from port {}", not(*n), ports(s)),
        Match::EitherPorts(n, s) => format!("{}either port {}", not(*n), ports(s)),
        Match::TcpFlags(n, 0x17, 0x02) => format!("{}first packet (SYN)", not(*n)),
        Match::TcpFlags(n, mask, comp) => format!("{}flags {comp:#04x}/{mask:#04x}", not(*n)),
        Match::TcpOption(n, o) => format!("{}tcp option {o}", not(*n)),
        Match::Length(n, r) if r.start() == r.end() => format!("{}{} bytes long", not(*n), r.start()),
        Match::Length(n, r) => format!("{}{}-{} bytes long", not(*n), r.start(), r.end()),
        Match::IcmpType(n, t, _) => format!("{}icmp type {t}", not(*n)),
        Match::Range(n, e, a, b) => format!("{}{} {a}-{b}", not(*n), side(*e)),
        Match::AddrType(n, e, kinds, _) => format!("{}{} type {}", not(*n), side(*e), kinds.join(",")),
        Match::PktType(n, t) => format!("{}packet type {t}", not(*n)),
        Match::Set(n, name, ends) => {
            format!("{}{} in set {name}", not(*n), ends.iter().map(|e| side(*e)).collect::<Vec<_>>().join(","))
        }
        Match::Mark(n, v, mask) => marked("mark", *n, *v, *mask),
        Match::ConnMark(n, v, mask) => marked("connection mark", *n, *v, *mask),
        Match::CtState(n, states) => format!("{}state {}", not(*n), states.join(",")),
        Match::CtDirOriginal(o) => (if *o { "direction original" } else { "direction reply" }).into(),
        Match::CtOrigSrc(n, net) => format!("{}first source {net}", not(*n)),
        Match::CtOrigDst(n, net) => format!("{}first destination {net}", not(*n)),
        Match::CtOrigSrcPort(n, r) => format!("{}first source port {}-{}", not(*n), r.start(), r.end()),
        Match::CtOrigDstPort(n, r) if r.start() == r.end() => format!("{}host port {}", not(*n), r.start()),
        Match::CtOrigDstPort(n, r) => format!("{}host port {}-{}", not(*n), r.start(), r.end()),
        Match::CtProto(n, p) => format!("{}connection protocol {p}", not(*n)),
        Match::Fragment(n) => format!("{}later fragments", not(*n)),
        Match::Dates(from, to) => match (from, to) {
            (None, Some(t)) => format!("until {}", utc(*t)),
            (Some(f), _) => format!("from {}", utc(*f)),
            (None, None) => return None,
        },
        Match::Unknown(words) => words.clone(),
        // They have a column or a clause of their own, or say nothing. All are named, so that the compiler asks what to
        // say of a new one.
        Match::Source(..)
        | Match::Destination(..)
        | Match::InInterface(..)
        | Match::OutInterface(..)
        | Match::Protocol(..)
        | Match::DestinationPorts(..)
        | Match::CtTracked
        | Match::Comment(_) => return None,
    })
}

/// A whole mark, one bit of it, or the part selected by a mask.
fn marked(name: &str, n: bool, value: u32, mask: u32) -> String {
    let is = if n { "is not" } else { "is" };
    match mask {
        u32::MAX => format!("{name} {is} {value:#x}"),
        bit if bit.is_power_of_two() && value & !bit == 0 => {
            format!("{name} bit {bit:#x} {}", if (value == bit) == n { "not set" } else { "set" })
        }
        _ => format!("{name} & {mask:#x} {is} {value:#x}"),
    }
}

/// A time as text, UTC.
pub fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| seconds.to_string(), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A rule as one plain sentence.
pub fn sentence(rule: &Rule, family: Family) -> String {
    let spec = rule.spec(family);
    let c = columns(rule, family);
    let mut who = String::new();
    who.push_str(match c.proto.as_str() {
        "" => "Every packet",
        _ => "Every",
    });
    if !c.proto.is_empty() {
        who = format!("{who} {} packet", c.proto.replace('!', "non-").to_uppercase());
    }
    let clause = |word: &str, value: &str| match value.strip_prefix('!') {
        Some(v) => format!("not {word} {v}"),
        None => format!("{word} {value}"),
    };
    if !c.source.is_empty() {
        who = format!("{who} {}", clause("from", &c.source));
    }
    // The port is attached to the address when neither is negated.
    let port = spec.matches.iter().find_map(|m| match m {
        Match::DestinationPorts(false, s) => Some(ports(s)),
        _ => None,
    });
    match (c.destination.as_str(), &port) {
        ("", None) => {}
        ("", Some(port)) => who = format!("{who} to port {port}"),
        (d, Some(port)) if !d.starts_with('!') => who = format!("{who} to {d} port {port}"),
        (d, Some(port)) => who = format!("{who} {}, to port {port}", clause("to", d)),
        (d, None) => who = format!("{who} {}", clause("to", d)),
    }
    let ways = [("arriving on", &c.input), ("leaving on", &c.output)]
        .into_iter()
        .filter(|(_, v)| !v.is_empty())
        .map(|(w, v)| clause(w, v));
    let mut more: Vec<String> = ways.collect();
    let only_way = more.len() == 1;
    more.extend(spec.matches.iter().filter_map(|m| match m {
        Match::DestinationPorts(true, s) => Some(format!("not to port {}", ports(s))),
        Match::DestinationPorts(false, _)
        | Match::Comment(_)
        | Match::Source(..)
        | Match::Destination(..)
        | Match::InInterface(..)
        | Match::OutInterface(..)
        | Match::Protocol(..) => None,
        other => short(other).map(|s| s.strip_prefix('!').map_or(s.clone(), |r| format!("not {r}"))),
    }));
    match more.as_slice() {
        [] => {}
        [one] if only_way => who = format!("{who} {one}"),
        more => who = format!("{who}, {},", more.join(", ")),
    }
    let what = match &spec.target {
        Target::None => "is only counted".into(),
        Target::Accept => "is accepted".into(),
        Target::Drop => "is dropped without an answer".into(),
        Target::Reject => "is refused with an answer".into(),
        Target::Return => "goes back to the calling chain".into(),
        Target::Dnat(Some(to)) => format!("gets a new destination: {}", nat(to)),
        Target::Dnat(None) => "gets a new destination".into(),
        Target::Redirect(_) => "is redirected to this host".into(),
        Target::Snat => "gets a new source address on its way out".into(),
        Target::Netmap(to) => format!("gets a new destination: the same host in {to}"),
        Target::Mark(_) | Target::ConnMark(_) | Target::SaveMark(_) | Target::RestoreMark(_) => {
            "is marked and goes on".into()
        }
        Target::NoTrack => "is not tracked and goes on".into(),
        Target::Continue(w) => format!("is handled by {} and goes on", w.split(' ').next().unwrap_or_default()),
        Target::Jump(n, _) => format!("goes through chain {n}"),
        Target::Goto(n) => format!("goes to chain {n} and does not come back here"),
    };
    let note = rule.comment().map_or_else(String::new, |t| format!(" (its comment: {t})"));
    let unsure = if rule.hidden.interfaces { " The listing hides interfaces: it may be narrower." } else { "" };
    format!("{who} {what}{note}.{unsure}")
}

/// A policy as a sentence.
pub fn policy_sentence(chain: &str, policy: Option<Policy>) -> String {
    match policy {
        Some(Policy::Accept) => format!("A packet that no rule of {chain} decides is accepted (policy ACCEPT)."),
        Some(Policy::Drop) => format!("A packet that no rule of {chain} decides is dropped (policy DROP)."),
        Some(Policy::Unknown) => format!("The policy of {chain} is not in the text."),
        None => format!("A packet that no rule of {chain} decides goes back to the rule that called it."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str) -> String {
        sentence(&Rule::new(text), Family::V4)
    }

    #[test]
    fn rules_read_as_sentences() {
        assert_eq!(
            say("-s 192.0.2.11/32 -p tcp -m tcp --dport 111 -j ACCEPT"),
            "Every TCP packet from 192.0.2.11/32 to port 111 is accepted."
        );
        assert_eq!(say("! -i lo -j PORTCULLIS"), "Every packet not arriving on lo goes through chain PORTCULLIS.");
        assert_eq!(
            say("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
            "Every packet, state RELATED,ESTABLISHED, is accepted."
        );
        assert_eq!(
            say("-p tcp -m tcp --dport 9042 -j DNAT --to-destination 172.17.0.2:9042"),
            "Every TCP packet to port 9042 gets a new destination: 172.17.0.2 port 9042."
        );
        assert_eq!(
            say("-m mark --mark 0x40000/0x40000 -m rpfilter --validmark --invert -j DROP"),
            "Every packet, mark bit 0x40000 set, -m rpfilter --validmark --invert, is dropped without an answer."
        );
        assert_eq!(
            say("-m recent --set --name seen --rsource -j DROP"),
            "Every packet, -m recent --set --name seen --rsource, is dropped without an answer."
        );
        let mark = |args: &str| {
            say(&format!("-m {args} -j DROP"))
                .replace("Every packet, ", "")
                .replace(", is dropped without an answer.", "")
        };
        assert_eq!(
            [
                "mark --mark 0x4000",
                "mark ! --mark 0x4000",
                "mark --mark 0x0/0x4000",
                "mark ! --mark 0x0/0x4000",
                "mark ! --mark 0x4000/0x4000",
                "connmark --mark 0x200/0xf00"
            ]
            .map(mark),
            [
                "mark is 0x4000",
                "mark is not 0x4000",
                "mark bit 0x4000 not set",
                "mark bit 0x4000 set",
                "mark bit 0x4000 not set",
                "connection mark & 0xf00 is 0x200"
            ]
        );
        assert_eq!(
            say("-d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 9042 -j ACCEPT"),
            "Every TCP packet to 172.17.0.2/32 port 9042, not arriving on docker0, leaving on docker0, is accepted."
        );
        assert_eq!(
            say("-p udp -m length --length 0:100 -j DROP"),
            "Every UDP packet, 0-100 bytes long, is dropped without an answer."
        );
        assert_eq!(say("-m length ! --length 1500 -j ACCEPT"), "Every packet, not 1500 bytes long, is accepted.");
        assert_eq!(
            say("! -d 192.0.2.0/24 -p udp -m udp ! --dport 53 -j DROP"),
            "Every UDP packet not to 192.0.2.0/24, not to port 53, is dropped without an answer."
        );
        let target = |text: &str| columns(&Rule::new(text), Family::V4).target;
        assert_eq!(
            (target("-o eth0 -j MASQUERADE").as_str(), target("-j SNAT --to-source 192.0.2.1").as_str()),
            ("MASQUERADE", "SNAT")
        );
        let c = columns(
            &Rule::new("-s 192.0.2.11/32 -p tcp -m tcp --dport 111 -m comment --comment \"the mail\" -j ACCEPT"),
            Family::V4,
        );
        assert_eq!((c.rest.as_str(), c.comment.as_str()), ("port 111", "/* the mail */"));
        assert!(say("-m time --datestop 2026-11-23T22:18:34 -j X").contains("until 2026-11-23 22:18:34 UTC"));
    }
}
