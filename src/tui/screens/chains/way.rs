//! Finds a packet that shows what the rule at the cursor is for; its path is drawn.

use std::net::IpAddr;

use crate::analyse::{Endpoint, Judged, Packet, RuleRef};
use crate::model::{AddrSet, Chain, Family, IfaceMatch, Match, Net, Proto};
use crate::tui::facts::Seen;
use crate::tui::screens::services::{sample_packet, stranger};

/// A packet and its destination, for a rule (index from 0; the number of rules for the end of the chain) or for a whole
/// chain. Preferably one that reaches something on this host by that rule, otherwise one that the rule names.
pub fn sample(
    seen: &Seen,
    family: Family,
    table: &str,
    chain: &Chain,
    rule: Option<usize>,
) -> Option<(Packet, String)> {
    let endpoints = &seen.report.endpoints;
    let number = rule.map(|n| n + 1).filter(|n| *n <= chain.rules.len());
    let meant = |r: &RuleRef| {
        r.family == family && r.table == table && r.chain == chain.name && (rule.is_none() || r.rule == number)
    };
    let decided = endpoints.iter().find_map(|j| by_rule(j, family, meant));
    decided
        .or_else(|| chain.rules.get(rule?).and_then(|r| spoken_of(&r.spec(family).matches, family, endpoints)))
        .or_else(|| endpoints.first().map(|j| (sample_packet(j), j.endpoint.label())))
}

/// A packet to an endpoint whose verdict comes from such a rule.
fn by_rule(j: &Judged, family: Family, meant: impl Fn(&RuleRef) -> bool) -> Option<(Packet, String)> {
    let because = j.exposure[family.index()].as_ref()?.because.iter().find(|b| b.rule.as_ref().is_some_and(&meant))?;
    Some((Packet::new(somebody(&because.set)?, j.endpoint.proto, Some(j.endpoint.port)), j.endpoint.label()))
}

/// A packet that matches the rule, as far as the rule asks for addresses, a protocol, a port and an interface.
fn spoken_of(matches: &[Match], family: Family, endpoints: &[Judged]) -> Option<(Packet, String)> {
    let (mut src, mut dst, mut proto, mut port, mut interface) = (None, None, None, None, None);
    for m in matches {
        match m {
            Match::Source(false, net) => src = Some(one_of(net)),
            Match::Destination(false, net) => dst = Some(one_of(net)),
            Match::Protocol(false, p) => proto = Some(*p),
            Match::DestinationPorts(false, ports) => port = ports.iter().next(),
            Match::InInterface(false, IfaceMatch(name)) => {
                interface = Some(name.strip_suffix('+').map_or_else(|| name.clone(), |kind| format!("{kind}0")));
            }
            _ => {}
        }
    }
    if src.is_none() && dst.is_none() && port.is_none() && interface.is_none() {
        return None;
    }
    let proto = proto.unwrap_or(Proto::TCP);
    // If the rule names no port, use that of an endpoint.
    let there = || endpoints.iter().find(|j| j.endpoint.proto == proto).map(|j| j.endpoint.port);
    let port = port.or_else(there);
    let label = endpoints
        .iter()
        .map(|j| &j.endpoint)
        .find(|e| e.proto == proto && Some(e.port) == port && dst.is_none())
        .map_or_else(|| format!("{}{proto}", port.map_or_else(String::new, |p| format!("port {p}/"))), Endpoint::label);
    let mut packet = Packet::new(src.unwrap_or_else(|| stranger(family)), proto, port);
    (packet.dst, packet.interface) = (dst, interface);
    Some((packet, label))
}

/// A stranger if the set contains one, otherwise its first address.
fn somebody(set: &AddrSet) -> Option<IpAddr> {
    let anyone = stranger(set.family());
    if set.contains(anyone) { Some(anyone) } else { set.cidrs().first().map(one_of) }
}

/// An address of a network: the first that a host usually has.
fn one_of(net: &Net) -> IpAddr {
    let first = net.first_host();
    if net.contains(first) { first } else { net.ip() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Plan;
    use crate::observe::capture::{Input, captured};
    use crate::tui::planned;

    #[test]
    fn the_packet_is_one_of_the_rule_at_the_cursor() {
        let text = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:OURS - [0:0]\n\
            -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -s 192.0.2.0/24 -p udp -m udp --dport 111 -j ACCEPT\n\
            -A INPUT -p udp -m udp --dport 111 -j DROP\n-A INPUT -i eth+ -p tcp -j OURS\n\
            -A FORWARD -d 172.17.0.2/32 -p tcp -m tcp --dport 9042 -j ACCEPT\nCOMMIT\n";
        let view = captured(&[Input { name: "rules".into(), text: text.into(), family: None }]);
        let seen = planned::seen(Arc::new(view), Plan::default());
        let sampled = |chain: &str, rule: Option<usize>| {
            let chain = seen.view.rules(Family::V4).unwrap().chain("filter", chain).unwrap();
            let (p, label) = sample(&seen, Family::V4, "filter", chain, rule).unwrap();
            let dst = p.dst.map_or_else(String::new, |d| format!(" at {d}"));
            (
                format!(
                    "{} {}/{}{dst}{}",
                    p.src,
                    p.dport.unwrap(),
                    p.proto,
                    p.interface.map_or_else(String::new, |i| format!(" on {i}"))
                ),
                label,
            )
        };
        let decided = |rule| sampled("INPUT", Some(rule)).0;
        assert_eq!(decided(0), "203.0.113.7 22/tcp");
        assert_eq!(decided(1), "192.0.2.1 111/udp");
        assert_eq!(decided(2), "203.0.113.7 111/udp");
        // It decides nothing, but names an interface.
        assert_eq!(decided(3), "203.0.113.7 22/tcp on eth0");
        let (packet, label) = sampled("FORWARD", Some(0));
        assert_eq!((packet.as_str(), label.as_str()), ("203.0.113.7 9042/tcp at 172.17.0.2", "port 9042/tcp"));
        // For a whole chain: the first packet that it decides.
        assert_eq!(sampled("INPUT", None).0, "203.0.113.7 22/tcp");
        assert_eq!(sampled("OUTPUT", Some(0)).0, "203.0.113.7 22/tcp");
    }
}
