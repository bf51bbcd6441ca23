//! What surrounds the rules: the host's addresses, routes and interfaces, known or, for captured text, assumed.

use std::collections::HashSet;
use std::net::IpAddr;

use super::ifaces::{Ifs, Universe};
use crate::model::names::interfaces::is_bridge;
use crate::model::{AddrSet, Family, IfaceMatch, LocalAddr, Match, Net, Rule, Ruleset, Source, Spec, Target, View};

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
    /// For captured text: addresses that rules, sockets or a part of the list speak of as the host's.
    own: AddrSet,
    /// For captured text: destinations of NAT that only an assumption calls another host's.
    pub(super) beyond: AddrSet,
    /// Whether any rule asks for a date.
    pub(super) dated: bool,
    /// ipsets that rules change as packets pass.
    pub(super) changed_sets: HashSet<String>,
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
        let local = view.local_addrs(family).map(|l| l.or(&loopback(family)).or(&anycast(view, family)));
        let routes = view.routes(family);
        let bridges = if local.is_none() || routes.is_none() { bridges(Some(rules)) } else { Vec::new() };
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
        let (mut own, mut beyond) = (AddrSet::empty(family), AddrSet::empty(family));
        if local.is_none() {
            foreign = foreign.or(&cluster_addresses(rules));
            // What a socket is bound to is the host's, whatever else speaks of it.
            let bound = bound(view, family).minus(&unreachable(family));
            foreign = foreign.minus(&bound);
            let said = Said::new(rules);
            beyond = said.beyond.minus(&said.here.or(&bound)).minus(&foreign);
            foreign = foreign.or(&beyond);
            own = said.here.minus(&foreign).or(&bound);
        }
        // The networks that the host's own addresses are in.
        let near = |a: &LocalAddr| Family::of(a.addr) == family && !a.addr.is_loopback() && a.prefix < family.bits();
        let mut near: Vec<(Net, String)> = view.addrs.iter().flatten().filter(|a| near(a)).map(|a| (Net::new(a.addr, a.prefix), a.interface.clone())).collect();
        let routes = match routes {
            Some(all) => {
                let mut list: Vec<(Net, Ifs)> = all.into_iter().map(|r| (r.net, ifaces.named(&r.interface))).collect();
                // That there is no route at all is not concluded from a text.
                if view.source == Source::Capture {
                    list.push((Net::any(family), ifaces.outside()));
                }
                Some(list)
            }
            None if !(bridges.is_empty() && near.is_empty()) => {
                near.extend(bridges);
                let mut list: Vec<(Net, Ifs)> = near.into_iter().map(|(n, i)| (n, ifaces.named(&i))).collect();
                list.push((Net::any(family), ifaces.outside()));
                Some(list)
            }
            None => None,
        };
        let routes = routes.map(|mut list: Vec<(Net, Ifs)>| {
            // A stable sort: of two routes to one network the first listed is the one that is used.
            list.sort_by_key(|(n, _)| std::cmp::Reverse(n.prefix()));
            list
        });
        let rest = || rules.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules);
        let dated = rest().any(|r| r.has("--datestart") || r.has("--datestop"));
        let changed_sets = if view.ipsets.is_some() { rest().filter_map(changed_set).collect() } else { HashSet::new() };
        Some(Self { view, family, rules, ifaces, at: (view.at != 0).then_some(view.at), local, foreign, own, beyond, dated, changed_sets, routes })
    }

    /// The host's addresses that packets from outside can be sent to: all but loopback. `Err` holds every
    /// address that may be one.
    pub(super) fn reachable_local(&self) -> Result<AddrSet, AddrSet> {
        match &self.local {
            Some(l) => Ok(l.minus(&loopback(self.family))),
            None => Err(self.foreign.complement()),
        }
    }

    /// The interfaces that packets of others than containers arrive on.
    pub(super) fn not_containers(&self) -> Ifs {
        let containers = of_containers(self.rules);
        self.ifaces.outside().into_iter().filter(|i| !containers(self.ifaces.show(*i))).collect()
    }

    /// The interface that leads to the rest of the world: that of the default route, or every one that nothing names.
    pub(super) fn outer(&self) -> Option<u16> {
        let default = || self.routes.iter().flatten().filter(|(net, _)| net.mask == 0).find_map(|(_, ifs)| ifs.first());
        self.ifaces.others().or_else(default)
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

    /// Whether rules speak of all these as addresses of the host.
    pub(super) fn is_own(&self, dst: &AddrSet) -> bool {
        dst.minus(&self.own).is_empty()
    }

    /// Whether the way out of packets to an address is known to lead through a bridge of containers.
    pub(super) fn is_foreign(&self, dst: &AddrSet) -> bool {
        dst.minus(&self.foreign).is_empty()
    }

    /// Whether none of these is an address of the host, known or assumed; multicast and the like are nobody's.
    pub(super) fn is_elsewhere(&self, dst: &AddrSet) -> bool {
        let dst = dst.minus(&unreachable(self.family));
        !dst.is_empty() && match &self.local {
            Some(mine) => !dst.meets(mine),
            None => self.is_foreign(&dst),
        }
    }

    /// The address that REDIRECT sends packets to that arrive on an interface: its first (nf_nat_redirect_ipv4,
    /// nf_nat_redirect_ipv6); for packets to a link-local address newer kernels take the first of that scope. `None`
    /// when not known.
    pub(super) fn redirect_to(&self, iface: &str, dst: &AddrSet) -> Option<AddrSet> {
        let addrs = self.view.addrs.as_ref().filter(|_| self.local.is_some())?;
        let near = link_local(self.family);
        let mine: Vec<IpAddr> = addrs.iter().filter(|a| a.interface == iface && Family::of(a.addr) == self.family).map(|a| a.addr).collect();
        let scoped = mine.iter().find(|a| near.contains(**a)).filter(|_| self.family == Family::V6 && dst.minus(&near).is_empty());
        Some(mine.first().into_iter().chain(scoped).fold(AddrSet::empty(self.family), |acc, a| acc.or(&AddrSet::single(*a))))
    }

    /// What was assumed because the text does not tell, one sentence each.
    pub(super) fn assumptions(&self) -> Vec<String> {
        let mut out = Vec::new();
        let label = self.family.label();
        if self.local.is_none() {
            out.push(format!("{label}: the host's addresses are not all in the text, `ip addr` shows them; a destination that rules name may or may not be one"));
        }
        if self.view.routes(self.family).is_none() && self.rules.table("nat").is_some() {
            out.push(format!("{label}: routes are not in the text, `ip route` shows them; container networks are taken from the rules of their bridges"));
        }
        if let Some(at) = self.at.filter(|_| self.dated && self.view.source == Source::Capture) {
            let at = jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |t| t.to_string());
            out.push(format!("{label}: rules with dates are judged as of {at}"));
        }
        if self.local.is_none() && !self.beyond.is_empty() {
            out.push(format!("{label}: what DNAT sends to an address that no rule calls the host's is taken as sent on to another host"));
        }
        if let [only] = self.rules.tables.as_slice() && self.view.source == Source::Capture && only.name == "filter" {
            out.push(format!("{label}: only table filter is in the text; nat, mangle and raw are taken as empty"));
        }
        if self.view.forwarding[self.family.index()].is_none() && self.rules.table("nat").is_some() {
            out.push(format!("{label}: forwarding is assumed to be switched on"));
        }
        out
    }
}

/// The set that `-j SET` of a rule changes.
fn changed_set(rule: &Rule) -> Option<String> {
    ["--add-set", "--del-set", "--map-set"].into_iter().find_map(|o| rule.value(o)).map(Into::into)
}

/// With forwarding on, the first address of each IPv6 network is the host's too (RFC 4291, 2.6.1).
fn anycast(view: &View, family: Family) -> AddrSet {
    let mut set = AddrSet::empty(family);
    if family == Family::V6 && view.forwarding[family.index()] == Some(true) {
        for a in view.addrs.iter().flatten().filter(|a| Family::of(a.addr) == family && a.prefix < 127) {
            set.add(&AddrSet::single(Net::new(a.addr, a.prefix).ip()));
        }
    }
    set
}

/// The addresses that sockets are bound to, and those of the host that are known beside others that are not.
pub(super) fn bound(view: &View, family: Family) -> AddrSet {
    let listed = view.addrs.iter().flatten().map(|a| a.addr);
    let locals = view.sockets.iter().flatten().map(|s| s.local).chain(listed).filter(|a| Family::of(*a) == family);
    locals.fold(AddrSet::empty(family), |mut set, a| {
        set.insert_net(Net::host(a));
        set
    })
}

/// What captured rules say of addresses that they do not call the host's outright. DNAT sends packets on to another
/// host, unless INPUT or the rule that translates speaks of that address as a destination: then it is one of ours.
struct Said {
    here: AddrSet,
    beyond: AddrSet,
}

impl Said {
    fn new(rules: &Ruleset) -> Self {
        let mut said = Self { here: AddrSet::empty(rules.family), beyond: AddrSet::empty(rules.family) };
        let host = |n: Net| (n.mask == rules.family.max()).then(|| AddrSet::single(n.ip()));
        let asked = |spec: &Spec| spec.matches.iter().find_map(|m| if let Match::Destination(false, n) = m { host(*n) } else { None });
        for chain in rules.table("nat").map(|t| t.chains.as_slice()).unwrap_or_default() {
            for rule in chain.rules.iter().filter(|r| r.jumps_to().is_some_and(|to| matches!(&*to, "DNAT" | "REDIRECT"))) {
                let spec = rule.spec(rules.family);
                match &spec.target {
                    Target::Dnat(Some(to)) => {
                        said.beyond.add(&to.addrs.map_or_else(|| AddrSet::empty(rules.family), |(a, b)| AddrSet::range(a, b)));
                    }
                    Target::Redirect(_) => {}
                    _ => continue,
                }
                said.here.unite(asked(&spec).unwrap_or_else(|| AddrSet::empty(rules.family)));
            }
        }
        if said.beyond.is_empty() {
            return said;
        }
        for table in &rules.tables {
            for rule in table.chain("INPUT").map(|c| c.rules.as_slice()).unwrap_or_default().iter().filter(|r| r.has("-d")) {
                said.here.unite(asked(&rule.spec(rules.family)).unwrap_or_else(|| AddrSet::empty(rules.family)));
            }
        }
        said
    }
}

/// The link-local network.
pub(super) fn link_local(family: Family) -> AddrSet {
    net_set(if family == Family::V4 { "169.254.0.0/16" } else { "fe80::/10" }, family)
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

pub(super) fn net_set(text: &str, family: Family) -> AddrSet {
    Net::parse(text, family).and_then(AddrSet::from_net).unwrap_or_else(|| AddrSet::empty(family))
}

/// Whether an interface is a bridge of containers, by its name or by the rules.
pub(super) fn of_containers(rules: &Ruleset) -> impl Fn(&str) -> bool + use<> {
    let known: HashSet<String> = bridges(Some(rules)).into_iter().map(|(_, i)| i).collect();
    move |name| is_bridge(name) || known.contains(name)
}

/// Container networks as the rules of their manager tell them: `POSTROUTING -s NET ! -o BRIDGE -j MASQUERADE`, and
/// `-d ADDRESS ! -i BRIDGE -o BRIDGE -j ACCEPT` of published ports (Docker).
pub(super) fn bridges(rules: Option<&Ruleset>) -> Vec<(Net, String)> {
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
        // The same words on another interface are a gateway's, and its network may be anywhere.
        let managed = |i: &str| docker || is_bridge(i);
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
            if let Some(net) = rule.value("-d").and_then(|n| Net::parse(&n, rules.family)) {
                set.insert_net(net);
            }
        }
    }
    set
}

