//! What surrounds the rules: the host's addresses, routes and interfaces, known or, for captured text, assumed.

pub mod addresses;
pub mod bridges;
pub mod interfaces;
pub mod place;

use std::cell::Cell;
use std::collections::HashSet;
use std::net::IpAddr;

use self::addresses::{Spoken, anycast, bound, cluster_addresses, link_local, loopback, unreachable};
use self::bridges::{bridges, of_containers};
use self::interfaces::{InterfaceSet, Interfaces};
use self::place::{broadcast, multicast, sent_out};
use crate::model::names::interfaces::is_bridge;
use crate::model::{AddrSet, Family, LocalAddr, Net, Rule, Ruleset, Source, View};

/// The surroundings of one family's rules.
pub struct Surroundings<'a> {
    /// Everything known of the host.
    pub view: &'a View,
    /// Family.
    pub family: Family,
    /// The rules.
    pub rules: &'a Ruleset,
    /// Interfaces.
    pub ifaces: Interfaces,
    /// The time that dates are compared with.
    pub at: Option<i64>,
    /// The host's addresses; `None` if not known.
    pub local: Option<AddrSet>,
    /// For captured text: addresses that are known or assumed not to be the host's.
    pub foreign: AddrSet,
    /// For captured text: addresses that rules, sockets or a partial list give to the host.
    own: AddrSet,
    /// For captured text: addresses that the text lists.
    listed: AddrSet,
    /// For captured text: bridge networks, and others that rules send out through an interface.
    bridges: Vec<(Net, String)>,
    sent: Vec<(Net, String)>,
    /// For captured text: networks that its addresses and routes lead to.
    near: Vec<(Net, String)>,
    /// Multicast, and the broadcast addresses of the host's networks: packets to them also reach the host.
    pub spread: AddrSet,
    /// For captured text: NAT destinations that are only assumed to be on another host.
    pub beyond: AddrSet,
    /// Whether any rule matches on dates.
    pub dated: bool,
    /// ipsets that rules change as packets pass.
    pub changed_sets: HashSet<String>,
    /// Bridges of containers, and the senders that can come by them: those of their own networks.
    pub bridged: Vec<(u16, AddrSet)>,
    /// A rule that packets have met asks whether senders are routed back by the way they came.
    pub way_back: Cell<bool>,
    /// Routes, most specific first; `None` when not known.
    routes: Option<Vec<(Net, InterfaceSet)>>,
}

/// What `-m rpfilter` is taken for.
pub const WAY_BACK: &str = "`-m rpfilter` is taken to hold: senders are taken as routed back by the way they came";

/// Where packets to an address leave the host.
pub enum Way {
    /// Through one of these interfaces.
    Out(InterfaceSet),
    /// There is no route.
    Nowhere,
}

impl<'a> Surroundings<'a> {
    /// The surroundings; `None` if the family's rules are not known. `named`: interfaces that a question names.
    pub fn new(view: &'a View, family: Family, named: &[&str]) -> Option<Self> {
        let rules = view.rules(family)?;
        let ifaces = Interfaces::new(view, Some(rules), named);
        let local = view.local_addrs(family).map(|l| l.or(&loopback(family)).or(&anycast(view, family)));
        let routes = view.routes(family);
        let untold = local.is_none() || routes.is_none();
        let bridges = if untold { bridges(Some(rules)) } else { Vec::new() };
        let sent = if untold { sent_out(rules) } else { Vec::new() };
        let mut foreign = unreachable(family);
        for (net, _) in &bridges {
            if let Some(set) = AddrSet::from_net(*net) {
                foreign = foreign.or(&set);
            }
        }
        // The bridge's own address, by custom the network's first, is the host's.
        for (net, _) in bridges.iter().filter(|(n, _)| n.mask != family.max()) {
            foreign = foreign.minus(&AddrSet::single(net.first_host()));
        }
        let (mut own, mut beyond, mut listed) =
            (AddrSet::empty(family), AddrSet::empty(family), AddrSet::empty(family));
        if local.is_none() {
            foreign = foreign.or(&cluster_addresses(rules));
            // An address that a socket is bound to is the host's, whatever the rules suggest.
            let bound = bound(view, family).minus(&unreachable(family));
            foreign = foreign.minus(&bound);
            let spoken = Spoken::new(rules);
            beyond = spoken.beyond.minus(&spoken.here.or(&bound)).minus(&foreign);
            foreign = foreign.or(&beyond);
            own = spoken.here.minus(&foreign).or(&bound);
            listed = bound;
        }
        // The networks of the host's own addresses.
        let near = |a: &LocalAddr| Family::of(a.addr) == family && !a.addr.is_loopback() && a.prefix < family.bits();
        let mut near: Vec<(Net, String)> = view
            .addrs
            .iter()
            .flatten()
            .filter(|a| near(a))
            .map(|a| (Net::new(a.addr, a.prefix), a.interface.clone()))
            .collect();
        let of_bridges = bridges.iter().chain(sent.iter().filter(|(_, i)| is_bridge(i)));
        let spread = multicast(family).or(&broadcast(family, near.iter().chain(of_bridges).map(|(n, _)| *n)));
        let routes = match routes {
            Some(all) => {
                near.extend(all.iter().filter(|r| r.net.mask != 0).map(|r| (r.net, r.interface.clone())));
                let mut list: Vec<(Net, InterfaceSet)> =
                    all.into_iter().map(|r| (r.net, ifaces.named(&r.interface))).collect();
                // A captured text is no evidence that there is no route at all.
                if view.source == Source::Capture {
                    list.push((Net::any(family), ifaces.outside()));
                }
                Some(list)
            }
            None if !(bridges.is_empty() && near.is_empty() && sent.is_empty()) => {
                let mut list: Vec<(Net, InterfaceSet)> = Vec::new();
                for (net, iface) in near.iter().chain(&bridges).chain(&sent) {
                    let by = ifaces.named(iface);
                    match list.iter_mut().find(|(n, _)| n == net) {
                        // Rules may send one network out through several interfaces.
                        Some((_, ifs)) => *ifs = &*ifs | &by,
                        None => list.push((*net, by)),
                    }
                }
                // The default route does not lead through a bridge.
                let bridged = |i: u16| is_bridge(ifaces.show(i)) && list.iter().any(|(_, by)| by.contains(i));
                let rest: InterfaceSet = ifaces.outside().into_iter().filter(|i| !bridged(*i)).collect();
                list.push((Net::any(family), if rest.is_empty() { ifaces.outside() } else { rest }));
                Some(list)
            }
            None => None,
        };
        let routes = routes.map(|mut list: Vec<(Net, InterfaceSet)>| {
            // A stable sort: of two routes to the same network the first one listed is used.
            list.sort_by_key(|(n, _)| std::cmp::Reverse(n.prefix()));
            list
        });
        let containers = of_containers(rules);
        let told = || near.iter().chain(&bridges).chain(&sent).filter(|(n, _)| n.mask != 0);
        let bridged = ifaces
            .outside()
            .into_iter()
            .filter(|i| containers(ifaces.show(*i)))
            .filter_map(|i| {
                let nets = told().filter(|(_, name)| *name == ifaces.show(i));
                let mine = nets.filter_map(|(n, _)| AddrSet::from_net(*n)).reduce(|a, b| a.or(&b))?;
                Some((i, if family == Family::V6 { mine.or(&link_local(family)) } else { mine }))
            })
            .collect();
        let rest = || rules.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules);
        let dated = rest().any(|r| r.has("--datestart") || r.has("--datestop"));
        let changed_sets =
            if view.ipsets.is_some() { rest().filter_map(changed_set).collect() } else { HashSet::new() };
        Some(Self {
            view,
            family,
            rules,
            ifaces,
            at: (view.at != 0).then_some(view.at),
            local,
            foreign,
            own,
            listed,
            bridges,
            sent,
            near,
            spread,
            beyond,
            dated,
            changed_sets,
            bridged,
            way_back: Cell::new(false),
            routes,
        })
    }

    /// The host's addresses that packets from outside can be sent to: all but loopback. `Err` has every address that
    /// may be one.
    pub fn reachable_local(&self) -> Result<AddrSet, AddrSet> {
        match &self.local {
            Some(l) => Ok(l.minus(&loopback(self.family))),
            None => Err(self.foreign.complement()),
        }
    }

    /// The interfaces on which packets arrive from anything other than containers.
    pub fn not_containers(&self) -> InterfaceSet {
        let containers = of_containers(self.rules);
        self.ifaces.outside().into_iter().filter(|i| !containers(self.ifaces.show(*i))).collect()
    }

    /// The interface that leads to the rest of the world: that of the default route, or the class of all unnamed ones.
    pub fn outer(&self) -> Option<u16> {
        let default = || self.routes.iter().flatten().filter(|(net, _)| net.mask == 0).find_map(|(_, ifs)| ifs.first());
        self.ifaces.others().or_else(default)
    }

    /// Splits destinations by their way out.
    pub fn ways(&self, dst: &AddrSet) -> Vec<(AddrSet, Way)> {
        let Some(routes) = &self.routes else { return vec![(dst.clone(), Way::Out(self.ifaces.outside()))] };
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

    /// Whether rules give all these addresses to the host.
    pub fn is_own(&self, dst: &AddrSet) -> bool {
        dst.minus(&self.own).is_empty()
    }

    /// Whether packets to these addresses are known to leave through a container bridge.
    pub fn is_foreign(&self, dst: &AddrSet) -> bool {
        dst.minus(&self.foreign).is_empty()
    }

    /// Whether none of these is known or assumed to be an address of the host; multicast and the like count as
    /// nobody's.
    pub fn is_elsewhere(&self, dst: &AddrSet) -> bool {
        let dst = dst.minus(&unreachable(self.family));
        !dst.is_empty()
            && match &self.local {
                Some(mine) => !dst.meets(mine),
                None => self.is_foreign(&dst),
            }
    }

    /// The address that REDIRECT sends packets from an interface to: its first (nf_nat_redirect_ipv4,
    /// nf_nat_redirect_ipv6); for packets to a link-local address newer kernels take the first of that scope. `None` if
    /// not known.
    pub fn redirect_to(&self, iface: &str, dst: &AddrSet) -> Option<AddrSet> {
        let addrs = self.view.addrs.as_ref().filter(|_| self.local.is_some())?;
        let near = link_local(self.family);
        let mine: Vec<IpAddr> = addrs
            .iter()
            .filter(|a| a.interface == iface && Family::of(a.addr) == self.family)
            .map(|a| a.addr)
            .collect();
        let scoped = mine
            .iter()
            .find(|a| near.contains(**a))
            .filter(|_| self.family == Family::V6 && dst.minus(&near).is_empty());
        Some(
            mine.first()
                .into_iter()
                .chain(scoped)
                .fold(AddrSet::empty(self.family), |acc, a| acc.or(&AddrSet::single(*a))),
        )
    }

    /// What was assumed because the text does not show it, one sentence each.
    pub fn assumptions(&self) -> Vec<String> {
        let mut out = Vec::new();
        let label = self.family.label();
        if self.local.is_none() {
            out.push(format!(
                "{label}: the host's addresses are not all in the text, `ip addr` shows them; a destination \
                that rules name may or may not be one"
            ));
        }
        if self.view.routes(self.family).is_none() && self.rules.table("nat").is_some() {
            out.push(format!(
                "{label}: routes are not in the text, `ip route` shows them; the way to a network is taken from the \
                rules that send packets there"
            ));
        }
        if let Some(at) = self.at.filter(|_| self.dated && self.view.source == Source::Capture) {
            let at = jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |t| t.to_string());
            out.push(format!("{label}: rules with dates are judged as of {at}"));
        }
        if self.local.is_none() && !self.beyond.is_empty() {
            out.push(format!(
                "{label}: what DNAT sends to an address that no rule calls the host's is taken as sent on to another \
                    host"
            ));
        }
        if self.way_back.get() {
            out.push(format!("{label}: {WAY_BACK}"));
        }
        if let [only] = self.rules.tables.as_slice()
            && self.view.source == Source::Capture
            && only.name == "filter"
        {
            out.push(format!("{label}: only table filter is in the text; nat, mangle and raw are taken as empty"));
        }
        if self.view.forwarding[self.family.index()].is_none() && self.rules.table("nat").is_some() {
            out.push(format!("{label}: forwarding is assumed to be switched on"));
        }
        out
    }
}

/// The set that the `-j SET` target of a rule changes.
fn changed_set(rule: &Rule) -> Option<String> {
    ["--add-set", "--del-set", "--map-set"].into_iter().find_map(|o| rule.value(o)).map(Into::into)
}
