//! Whose an address is: networks with a special meaning, and what sockets and captured rules reveal of the host's own.

use crate::model::{AddrSet, Family, Match, Net, Ruleset, Spec, Target, View};

/// The link-local network.
pub fn link_local(family: Family) -> AddrSet {
    net_set(if family == Family::V4 { "169.254.0.0/16" } else { "fe80::/10" }, family)
}

/// The loopback network.
pub fn loopback(family: Family) -> AddrSet {
    net_set(if family == Family::V4 { "127.0.0.0/8" } else { "::1/128" }, family)
}

/// Addresses that are never the destination of a unicast packet from outside.
pub fn unreachable(family: Family) -> AddrSet {
    let nets: &[&str] = match family {
        Family::V4 => &["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"],
        Family::V6 => &["::/127", "ff00::/8"],
    };
    nets.iter().fold(AddrSet::empty(family), |acc, n| acc.or(&net_set(n, family)))
}

pub fn net_set(text: &str, family: Family) -> AddrSet {
    Net::parse(text, family).and_then(AddrSet::from_net).unwrap_or_else(|| AddrSet::empty(family))
}

/// With forwarding on, the first address of each IPv6 network also belongs to the host (RFC 4291, 2.6.1).
pub fn anycast(view: &View, family: Family) -> AddrSet {
    let mut set = AddrSet::empty(family);
    if family == Family::V6 && view.forwarding[family.index()] == Some(true) {
        for a in view.addrs.iter().flatten().filter(|a| Family::of(a.addr) == family && a.prefix < 127) {
            set.add(&AddrSet::single(Net::new(a.addr, a.prefix).ip()));
        }
    }
    set
}

/// Addresses that sockets are bound to, and those known to be the host's when the list of its addresses is incomplete.
pub fn bound(view: &View, family: Family) -> AddrSet {
    let listed = view.addrs.iter().flatten().map(|a| a.addr);
    let locals = view.sockets.iter().flatten().map(|s| s.local).chain(listed).filter(|a| Family::of(*a) == family);
    locals.fold(AddrSet::empty(family), |mut set, a| {
        set.insert_net(Net::host(a));
        set
    })
}

/// What captured rules reveal about addresses that they do not explicitly give to the host. A DNAT destination is taken
/// as another host, unless INPUT or the translating rule names that address as a destination: then it is the host's.
pub struct Spoken {
    /// The host's addresses.
    pub here: AddrSet,
    /// Addresses assumed to belong to other hosts.
    pub beyond: AddrSet,
}

impl Spoken {
    /// Reads the rules.
    pub fn new(rules: &Ruleset) -> Self {
        let mut spoken = Self { here: AddrSet::empty(rules.family), beyond: AddrSet::empty(rules.family) };
        let host = |n: Net| (n.mask == rules.family.max()).then(|| AddrSet::single(n.ip()));
        let asked = |spec: &Spec| {
            spec.matches.iter().find_map(|m| if let Match::Destination(false, n) = m { host(*n) } else { None })
        };
        for chain in rules.table("nat").map(|t| t.chains.as_slice()).unwrap_or_default() {
            for rule in
                chain.rules.iter().filter(|r| r.jumps_to().is_some_and(|to| matches!(&*to, "DNAT" | "REDIRECT")))
            {
                let spec = rule.spec(rules.family);
                match &spec.target {
                    Target::Dnat(Some(to)) => {
                        spoken
                            .beyond
                            .add(&to.addrs.map_or_else(|| AddrSet::empty(rules.family), |(a, b)| AddrSet::range(a, b)));
                    }
                    Target::Redirect(_) => {}
                    _ => continue,
                }
                spoken.here.unite(asked(&spec).unwrap_or_else(|| AddrSet::empty(rules.family)));
            }
        }
        for table in &rules.tables {
            for rule in
                table.chain("INPUT").map(|c| c.rules.as_slice()).unwrap_or_default().iter().filter(|r| r.has("-d"))
            {
                spoken.here.unite(asked(&rule.spec(rules.family)).unwrap_or_else(|| AddrSet::empty(rules.family)));
            }
        }
        spoken
    }
}

/// Service addresses of a Kubernetes cluster: no host owns them (kube-proxy in its iptables mode).
pub fn cluster_addresses(rules: &Ruleset) -> AddrSet {
    let mut set = AddrSet::empty(rules.family);
    for table in ["nat", "filter"] {
        for rule in rules.chain(table, "KUBE-SERVICES").map(|c| c.rules.as_slice()).unwrap_or_default() {
            if let Some(net) = rule.value("-d").and_then(|n| Net::parse(&n, rules.family)) {
                set.insert_net(net);
            }
        }
    }
    set
}
