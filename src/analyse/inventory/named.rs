//! Ports that rules name, used if nothing else shows what can be reached.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::analyse::inventory::endpoint::{Endpoint, EndpointKind};
use crate::analyse::surroundings::Surroundings;
use crate::model::names::services;
use crate::model::{AddrSet, Family, Match, Net, PortSet, Proto, Rule, Table, View};

/// A match with more ports than this is a range rather than a list of services: only its ends are used.
const MAX_PORTS: u128 = 16;

/// The ports of a match that are taken as services.
pub fn listed(set: &PortSet) -> Vec<u16> {
    if u128::from(set.len()) <= MAX_PORTS {
        return set.iter().collect();
    }
    set.ranges().flat_map(|r| [*r.start(), *r.end()]).collect()
}

/// Ports named by the rules that incoming packets can reach.
pub fn named_by_rules(view: &View) -> Vec<Endpoint> {
    let mut out: BTreeMap<(u16, Proto), Endpoint> = BTreeMap::new();
    for family in Family::BOTH {
        let Some(world) = Surroundings::new(view, family, &[]) else { continue };
        for (rule, plain) in world.rules.tables.iter().flat_map(|table| naming_ports(table, &world)) {
            if plain.is_some_and(|k| out.contains_key(&k)) {
                continue;
            }
            let spec = rule.spec(family);
            let proto = spec.matches.iter().find_map(|m| match m {
                Match::Protocol(false, p) => Some(*p),
                _ => None,
            });
            let protos = proto.map_or_else(|| vec![Proto::TCP, Proto::UDP], |p| vec![p]);
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
    out.into_values().collect()
}

/// A quick reading of a rule's words, for large hosts where most rules name no new port.
#[derive(Default)]
struct Look {
    /// It matches on destination ports.
    names_ports: bool,
    /// The single port and protocol that it asks for.
    port: Option<u16>,
    proto: Option<Proto>,
    /// It is only about packets to other hosts, so its ports are not this host's.
    elsewhere: bool,
}

/// Reads a rule quickly, and returns the chain it jumps to.
fn look<'r>(rule: &'r Rule, world: &Surroundings) -> (Look, Option<Cow<'r, str>>) {
    let (mut seen, mut leads_to) = (Look::default(), None);
    for option in rule.options() {
        match (&*option.name, option.value) {
            ("--dport", Some(v)) => (seen.names_ports, seen.port) = (true, v.parse().ok()),
            ("--dports" | "--ports", _) => seen.names_ports = true,
            ("-p", Some(v)) => seen.proto = Proto::parse(&v),
            ("-d", Some(v)) if !option.negated => {
                let dst = Net::parse(&v, world.family).and_then(AddrSet::from_net);
                seen.elsewhere = dst.is_some_and(|dst| world.is_elsewhere(&dst));
            }
            ("-j" | "-g", to) => leads_to = to,
            _ => {}
        }
    }
    (seen, leads_to)
}

/// The rules that name ports, in chains that incoming packets to the host can reach; with the port and protocol if
/// there is only one.
fn naming_ports<'t>(table: &'t Table, world: &Surroundings) -> Vec<(&'t Rule, Option<(u16, Proto)>)> {
    let mut todo: Vec<&str> = vec!["PREROUTING", "INPUT"];
    let mut seen: HashSet<&str> = HashSet::new();
    let mut out = Vec::new();
    while let Some(name) = todo.pop() {
        let Some(chain) = table.chain(name) else { continue };
        if !seen.insert(&chain.name) {
            continue;
        }
        for rule in &chain.rules {
            let (said, to) = look(rule, world);
            if said.elsewhere {
                continue;
            }
            if let Some(c) = to.and_then(|to| table.chain(&to)).filter(|c| !seen.contains(c.name.as_str())) {
                todo.push(&c.name);
            }
            if said.names_ports {
                out.push((rule, said.port.zip(said.proto)));
            }
        }
    }
    out
}

/// The service name of a port, for ports that users of this program know by name; other numbers may mean anything.
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
        let kube = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-A - [0:0]\n\
            -A PREROUTING -j KUBE-SERVICES\n-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-A\n\
            -A KUBE-SERVICES ! -s 10.244.0.0/16 -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-A\n\
            -A KUBE-SVC-A ! -s 10.244.0.0/16 -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j MARK --set-xmark \
            0x4000/0x4000\n-A KUBE-SVC-A -p tcp -m tcp --dport 8443 -j RETURN\nCOMMIT\n";
        assert_eq!(named(kube), [""; 0]);
        // A rule in INPUT is about the host, and so is one about multicast.
        let input = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -d 192.0.2.1/32 -p tcp -m tcp --dport 443 -j ACCEPT\n-A \
            INPUT ! -d 10.96.0.1/32 -p tcp -m tcp --dport 444 -j ACCEPT\n\
            -A INPUT -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT\nCOMMIT\n";
        assert_eq!(named(&format!("{kube}{input}")), ["https 443/tcp", "port 444/tcp", "port 5353/udp"]);
    }
}
