//! Bridges of containers or virtual machines, and their networks, as names and rules reveal them.

use std::collections::HashSet;

use crate::model::names::interfaces::is_bridge;
use crate::model::{IfaceMatch, Match, Net, Ruleset, Target};

/// Whether an interface is a container bridge, by its name or by the rules.
pub fn of_containers(rules: &Ruleset) -> impl Fn(&str) -> bool + use<> {
    let known: HashSet<String> = bridges(Some(rules)).into_iter().map(|(_, i)| i).collect();
    move |name| is_bridge(name) || known.contains(name)
}

/// Container networks, recognized by the rules of their manager: `POSTROUTING -s NET ! -o BRIDGE -j MASQUERADE`, and
/// `-d ADDRESS ! -i BRIDGE -o BRIDGE -j ACCEPT` for published ports (Docker).
pub fn bridges(rules: Option<&Ruleset>) -> Vec<(Net, String)> {
    let mut out: Vec<(Net, String)> = Vec::new();
    let mut seen = HashSet::new();
    let Some(rules) = rules else { return out };
    let mut add = |net: Net, iface: String| {
        if seen.insert((net, iface.clone())) {
            out.push((net, iface));
        }
    };
    let docker = rules.chain("nat", "DOCKER").is_some();
    for rule in rules.chain("nat", "POSTROUTING").map(|c| c.rules.as_slice()).unwrap_or_default() {
        if rule.jumps_to().is_none_or(|to| to != "MASQUERADE") {
            continue;
        }
        let spec = rule.spec(rules.family);
        let net = spec.matches.iter().find_map(|m| if let Match::Source(false, n) = m { Some(*n) } else { None });
        let out_of = spec.matches.iter().find_map(|m| match m {
            Match::OutInterface(true, IfaceMatch(i)) if !i.ends_with('+') => Some(i.clone()),
            _ => None,
        });
        // The same rule on any other interface belongs to a gateway, and its network may be anywhere.
        let managed = |i: &str| docker || is_bridge(i);
        if let (Some(net), Some(iface)) = (net, out_of.filter(|i| managed(i))) {
            add(net, iface);
        }
    }
    for rule in rules.chain("filter", "DOCKER").map(|c| c.rules.as_slice()).unwrap_or_default() {
        let spec = rule.spec(rules.family);
        let net = spec.matches.iter().find_map(|m| if let Match::Destination(false, n) = m { Some(*n) } else { None });
        let through = spec
            .matches
            .iter()
            .find_map(|m| if let Match::OutInterface(false, i) = m { Some(i.0.clone()) } else { None });
        if let (Some(net), Some(iface), Target::Accept) = (net, through, &spec.target) {
            add(net, iface);
        }
    }
    out
}
