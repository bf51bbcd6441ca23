//! Ports that rules name, where nothing else tells what can be reached.

use std::collections::{BTreeMap, HashSet};

use crate::model::names::services;
use crate::analyse::inventory::endpoint::{Endpoint, EndpointKind};
use crate::analyse::surroundings::Surroundings;
use crate::model::{AddrSet, Chain, Family, Match, Net, PortSet, Proto, Rule, Table, View};

/// More ports than this in one match are a range, not a list of services: its ends stand for it.
const MAX_PORTS: u128 = 16;

/// The ports of a match that stand for services.
pub fn listed(set: &PortSet) -> Vec<u16> {
    if u128::from(set.len()) <= MAX_PORTS {
        return set.iter().collect();
    }
    set.ranges().flat_map(|r| [*r.start(), *r.end()]).collect()
}

/// The ports that rules on the way of incoming packets name.
pub fn named_by_rules(view: &View) -> Vec<Endpoint> {
    let mut out: BTreeMap<(u16, Proto), Endpoint> = BTreeMap::new();
    for family in Family::BOTH {
        let Some(world) = Surroundings::new(view, family, &[]) else { continue };
        for table in &world.rules.tables {
            for (chain, inherited) in reached(table, &world) {
                for rule in chain.rules.iter().filter(|r| names_ports(r) && !elsewhere(r, &world)) {
                    if plain_port(rule).is_some_and(|k| out.contains_key(&k)) {
                        continue;
                    }
                    let spec = rule.spec(family);
                    let proto = spec.matches.iter().find_map(|m| match m {
                        Match::Protocol(false, p) => Some(*p),
                        _ => None,
                    });
                    let protos = proto.map_or(inherited.clone(), |p| vec![p]);
                    for m in &spec.matches {
                        let (Match::DestinationPorts(_, ports) | Match::EitherPorts(_, ports)) = m else { continue };
                        for port in listed(ports) {
                            for proto in &protos {
                                let e = Endpoint::new(EndpointKind::Rule, service_name(port), *proto, port);
                                out.entry((port, *proto)).or_insert(e);
                            }
                        }
                    }
                }
            }
        }
    }
    out.into_values().collect()
}

/// Whether a rule asks for ports of the destination.
fn names_ports(rule: &Rule) -> bool {
    ["--dport", "--dports", "--ports"].into_iter().any(|o| rule.has(o))
}

/// The port and protocol that a rule's words name: enough to know that it brings nothing new.
fn plain_port(rule: &Rule) -> Option<(u16, Proto)> {
    Some((rule.value("--dport")?.parse().ok()?, Proto::parse(&rule.value("-p")?)?))
}

/// Whether a rule is about packets to another host only: a port that it names is not one of this host.
fn elsewhere(rule: &Rule, world: &Surroundings) -> bool {
    let dst = rule.option("-d").filter(|o| !o.negated).and_then(|o| o.value);
    dst.and_then(|n| Net::parse(&n, world.family)).and_then(AddrSet::from_net).is_some_and(|dst| world.is_elsewhere(&dst))
}

/// The chains that incoming packets to the host can reach, with the protocols asked for on the way.
fn reached<'t>(table: &'t Table, world: &Surroundings) -> Vec<(&'t Chain, Vec<Proto>)> {
    let mut todo: Vec<&str> = vec!["PREROUTING", "INPUT"];
    let mut seen: HashSet<&str> = HashSet::new();
    let mut out = Vec::new();
    while let Some(name) = todo.pop() {
        let Some(chain) = table.chain(name) else { continue };
        if !seen.insert(&chain.name) {
            continue;
        }
        out.push((chain, vec![Proto::TCP, Proto::UDP]));
        for rule in chain.rules.iter().filter(|r| !elsewhere(r, world)) {
            if let Some(c) = rule.jumps_to().and_then(|to| table.chain(&to)).filter(|c| !seen.contains(c.name.as_str())) {
                todo.push(&c.name);
            }
        }
    }
    out
}

/// The name of a port that rules speak of: those that this program's users know by name; other numbers may stand for
/// anything.
fn service_name(port: u16) -> &'static str {
    match port {
        // RPC programs, as rpcinfo(8) calls them.
        111 => "portmapper",
        20048 => "mountd",
        22 | 25 | 53 | 80 | 123 | 443 | 2049 => services::name(port, "tcp").unwrap_or("port"),
        _ => "port",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Source;
    use crate::syntax::iptables_save;

    #[test]
    fn ports_of_other_hosts_are_not_listed_as_this_ones() {
        let named = |rules: &str| {
            let mut v = View::empty(Source::Capture, "test");
            v.v4 = Some(iptables_save::read(rules, Family::V4).0);
            named_by_rules(&v).iter().map(Endpoint::label).collect::<Vec<_>>()
        };
        let kube = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-A - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n\
            -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-A\n-A KUBE-SERVICES ! -s 10.244.0.0/16 -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-A\n-A KUBE-SVC-A ! -s 10.244.0.0/16 -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x4000/0x4000\n\
            -A KUBE-SVC-A -p tcp -m tcp --dport 8443 -j RETURN\nCOMMIT\n";
        assert_eq!(named(kube), [""; 0]);
        // A rule of INPUT speaks of the host, and so does one about multicast.
        let input = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -d 192.0.2.1/32 -p tcp -m tcp --dport 443 -j ACCEPT\n-A INPUT ! -d 10.96.0.1/32 -p tcp -m tcp --dport 444 -j ACCEPT\n\
            -A INPUT -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT\nCOMMIT\n";
        assert_eq!(named(&format!("{kube}{input}")), ["https 443/tcp", "port 444/tcp", "port 5353/udp"]);
    }
}
