//! What surrounds the rules: the host's addresses, routes and interfaces, known or, for captured text, assumed.

use super::ifaces::{Ifs, Universe};
use crate::model::{AddrSet, End, Family, IfaceMatch, Match, Net, Ruleset, Target, View};

/// The surroundings of one family's rules.
pub(super) struct World<'a> {
    /// Everything known.
    pub(super) view: &'a View,
    /// Family.
    pub(super) family: Family,
    /// The rules.
    pub(super) rules: &'a Ruleset,
    /// Interfaces.
    pub(super) ifaces: Universe,
    /// The instant that dates are compared with.
    pub(super) at: Option<i64>,
    /// The host's addresses; `None` when not known.
    pub(super) local: Option<AddrSet>,
    /// For captured text: addresses that are certainly or by assumption not the host's.
    pub(super) foreign: AddrSet,
    /// Routes, most specific first; `None` when not known.
    routes: Option<Vec<(Net, Ifs)>>,
}

/// Where packets to an address leave the host.
pub(super) enum Way {
    /// Through one of these interfaces.
    Out(Ifs),
    /// There is no route.
    Nowhere,
}

impl<'a> World<'a> {
    /// The surroundings; `None` when the family's rules are not known. `named`: interfaces that a question names.
    pub(super) fn new(view: &'a View, family: Family, named: &[&str]) -> Option<Self> {
        let rules = view.rules(family)?;
        let ifaces = Universe::new(view, Some(rules), named);
        let local = view.local_addrs(family).map(|l| l.or(&loopback(family)));
        let bridges = if view.addrs.is_none() { bridges(Some(rules)) } else { Vec::new() };
        let mut foreign = unreachable(family);
        for (net, _) in &bridges {
            if let Some(set) = AddrSet::from_net(*net) {
                foreign = foreign.or(&set);
            }
        }
        // The bridge's own address, by custom the first behind the network's, is the host's.
        for (net, _) in bridges.iter().filter(|(n, _)| n.mask != family.max()) {
            foreign = foreign.minus(&AddrSet::single(net.first_host()));
        }
        if view.addrs.is_none() {
            foreign = foreign.or(&cluster_addresses(rules));
        }
        let routes = match &view.routes {
            Some(all) => Some(all.iter().filter(|r| r.net.family == family).map(|r| (r.net, ifaces.named(&r.interface))).collect()),
            None if !bridges.is_empty() => {
                let mut list: Vec<(Net, Ifs)> = bridges.into_iter().map(|(n, i)| (n, ifaces.named(&i))).collect();
                list.push((Net::any(family), ifaces.all()));
                Some(list)
            }
            None => None,
        };
        let routes = routes.map(|mut list: Vec<(Net, Ifs)>| {
            // A stable sort: of two routes to one network the first listed is the one that is used.
            list.sort_by_key(|(n, _)| std::cmp::Reverse(n.prefix()));
            list
        });
        Some(Self { view, family, rules, ifaces, at: (view.at != 0).then_some(view.at), local, foreign, routes })
    }

    /// The host's addresses that packets from outside can be sent to: all but loopback. `Err` holds every
    /// address that may be one.
    pub(super) fn reachable_local(&self) -> Result<AddrSet, AddrSet> {
        match &self.local {
            Some(l) => Ok(l.minus(&loopback(self.family))),
            None => Err(self.foreign.complement()),
        }
    }

    /// Splits destinations by the way out.
    pub(super) fn ways(&self, dst: &AddrSet) -> Vec<(AddrSet, Way)> {
        let Some(routes) = &self.routes else { return vec![(dst.clone(), Way::Out(self.ifaces.all()))] };
        let mut left = dst.clone();
        let mut out = Vec::new();
        for (net, ifs) in routes {
            let Some(set) = AddrSet::from_net(*net) else { continue };
            let part = left.and(&set);
            if !part.is_empty() {
                left = left.minus(&set);
                out.push((part, Way::Out(ifs.clone())));
            }
            if left.is_empty() {
                break;
            }
        }
        if !left.is_empty() {
            out.push((left, Way::Nowhere));
        }
        out
    }

    /// Whether the way out of packets to an address is known to lead through a bridge of containers.
    pub(super) fn is_foreign(&self, dst: &AddrSet) -> bool {
        dst.minus(&self.foreign).is_empty()
    }

    /// The addresses of an addrtype(8) type; `None` when not known.
    pub(super) fn addr_type(&self, end: End, types: &[String]) -> Option<AddrSet> {
        // IPv6 compares flags instead of one type (xt_addrtype.c match_type6): only single types are alike.
        if self.family == Family::V6 && types.len() > 1 {
            return None;
        }
        let mut all = AddrSet::empty(self.family);
        for t in types {
            all = all.or(&self.one_type(end, t)?);
        }
        Some(all)
    }

    fn one_type(&self, end: End, name: &str) -> Option<AddrSet> {
        let multicast = net_set(if self.family == Family::V4 { "224.0.0.0/4" } else { "ff00::/8" }, self.family);
        match name {
            "LOCAL" => Some(self.local_as_type(end)),
            "MULTICAST" => Some(multicast),
            "UNICAST" if self.family == Family::V6 => Some(multicast.or(&net_set("::/128", self.family)).complement()),
            "UNICAST" => Some(self.local_as_type(end).or(&multicast).or(&self.broadcast()).complement()),
            "BROADCAST" if self.family == Family::V4 => Some(self.broadcast()),
            "BROADCAST" => Some(AddrSet::empty(self.family)),
            "UNSPEC" => Some(net_set(if self.family == Family::V4 { "0.0.0.0/32" } else { "::/128" }, self.family)),
            _ => None,
        }
    }

    /// Local as the matched end sees it. With captured text: a destination that may be the host's is taken as
    /// the host's (that is where these packets go), and no sender is the host itself.
    fn local_as_type(&self, end: End) -> AddrSet {
        match (&self.local, end) {
            (Some(l), _) => l.clone(),
            (None, End::Dst) => self.foreign.complement().or(&loopback(self.family)),
            (None, End::Src) => loopback(self.family),
        }
    }

    /// 0.0.0.0/8, 255.255.255.255 and the last address of each network of the host (fib_add_ifaddr).
    fn broadcast(&self) -> AddrSet {
        let mut set = net_set("0.0.0.0/8", self.family).or(&net_set("255.255.255.255/32", self.family));
        for a in self.view.addrs.iter().flatten().filter(|a| Family::of(a.addr) == self.family && a.prefix < 31) {
            if let Some((_, last)) = AddrSet::from_net(Net::new(a.addr, a.prefix)).and_then(|s| s.ranges().last().copied()) {
                set = set.or(&AddrSet::single(last));
            }
        }
        set
    }

    /// The address that REDIRECT sends packets to that arrive on an interface: the first in IPv4
    /// (nf_nat_redirect_ipv4), any of them in IPv6. `None` when not known.
    pub(super) fn redirect_to(&self, iface: &str) -> Option<AddrSet> {
        let addrs = self.view.addrs.as_ref()?;
        let mut mine = addrs.iter().filter(|a| a.interface == iface && Family::of(a.addr) == self.family).map(|a| a.addr);
        if self.family == Family::V4 {
            return mine.next().map(AddrSet::single);
        }
        Some(mine.fold(AddrSet::empty(self.family), |acc, a| acc.or(&AddrSet::single(a))))
    }

    /// What was assumed because the text does not tell, one sentence each.
    pub(super) fn assumptions(&self) -> Vec<String> {
        let mut out = Vec::new();
        let label = self.family.label();
        if self.local.is_none() {
            out.push(format!("{label}: the host's addresses are not in the text; a destination that rules name may or may not be one"));
        }
        if self.view.routes.is_none() && self.rules.table("nat").is_some() {
            out.push(format!("{label}: routes are not in the text; container networks are taken from the rules of their bridges"));
        }
        if self.view.forwarding[self.family.index()].is_none() && self.rules.table("nat").is_some() {
            out.push(format!("{label}: forwarding is assumed to be switched on"));
        }
        out
    }
}

/// The loopback network.
pub(super) fn loopback(family: Family) -> AddrSet {
    net_set(if family == Family::V4 { "127.0.0.0/8" } else { "::1/128" }, family)
}

/// Addresses that are never the destination of a unicast packet from outside.
fn unreachable(family: Family) -> AddrSet {
    let nets: &[&str] = match family {
        Family::V4 => &["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"],
        Family::V6 => &["::/127", "ff00::/8"],
    };
    nets.iter().fold(AddrSet::empty(family), |acc, n| acc.or(&net_set(n, family)))
}

fn net_set(text: &str, family: Family) -> AddrSet {
    Net::parse(text, family).and_then(AddrSet::from_net).unwrap_or_else(|| AddrSet::empty(family))
}

/// How managers name their bridges.
const BRIDGES: &[&str] = &["docker", "br-", "cni", "podman", "virbr", "lxcbr", "lxdbr", "incusbr"];

/// Container networks as the rules of their manager tell them: `POSTROUTING -s NET ! -o BRIDGE -j MASQUERADE`, and
/// `-d ADDRESS ! -i BRIDGE -o BRIDGE -j ACCEPT` of published ports (Docker).
pub(super) fn bridges(rules: Option<&Ruleset>) -> Vec<(Net, String)> {
    let mut out: Vec<(Net, String)> = Vec::new();
    let Some(rules) = rules else { return out };
    let mut add = |net: Net, iface: String| {
        if !out.contains(&(net, iface.clone())) {
            out.push((net, iface));
        }
    };
    let docker = rules.chain("nat", "DOCKER").is_some();
    for rule in rules.chain("nat", "POSTROUTING").map(|c| c.rules.as_slice()).unwrap_or_default() {
        if !rule.text.contains("MASQUERADE") {
            continue;
        }
        let spec = rule.spec(rules.family);
        let net = spec.matches.iter().find_map(|m| if let Match::Source(false, n) = m { Some(*n) } else { None });
        let out_of = spec.matches.iter().find_map(|m| match m {
            Match::OutInterface(true, IfaceMatch(i)) if !i.ends_with('+') => Some(i.clone()),
            _ => None,
        });
        // The same words on another interface are a gateway's, and its network may be anywhere.
        let managed = |i: &str| docker || BRIDGES.iter().any(|b| i.starts_with(b));
        if let (Some(net), Some(iface)) = (net, out_of.filter(|i| managed(i))) {
            add(net, iface);
        }
    }
    for rule in rules.chain("filter", "DOCKER").map(|c| c.rules.as_slice()).unwrap_or_default() {
        let spec = rule.spec(rules.family);
        let net = spec.matches.iter().find_map(|m| if let Match::Destination(false, n) = m { Some(*n) } else { None });
        let through = spec.matches.iter().find_map(|m| if let Match::OutInterface(false, i) = m { Some(i.0.clone()) } else { None });
        if let (Some(net), Some(iface), Target::Accept) = (net, through, &spec.target) {
            add(net, iface);
        }
    }
    out
}

/// Addresses of services in a Kubernetes cluster: no host has them (kube-proxy in its iptables mode).
fn cluster_addresses(rules: &Ruleset) -> AddrSet {
    let mut set = AddrSet::empty(rules.family);
    for table in ["nat", "filter"] {
        for rule in rules.chain(table, "KUBE-SERVICES").map(|c| c.rules.as_slice()).unwrap_or_default() {
            let mut words = rule.text.split_whitespace();
            while let Some(w) = words.next() {
                if w == "-d" {
                    if let Some(net) = words.next().and_then(|n| Net::parse(n, rules.family)) {
                        set.insert_net(net);
                    }
                    break;
                }
            }
        }
    }
    set
}

