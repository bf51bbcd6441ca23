//! Where the address in a question is: on this host, on another host, or unknown. For captured text the rules and the
//! other listings decide; an assumption is reported as one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use super::Surroundings;
use super::addresses::{loopback, net_set};
use crate::model::names::interfaces::is_bridge;
use crate::model::{AddrSet, Family, Net, Ruleset};

/// Where a destination is.
pub enum Placed {
    /// The routing decision is known.
    Known,
    /// On this host; the sentence gives the reason if that is an assumption.
    Here(Option<String>),
    /// On another host; the sentence gives the reason.
    Away(String),
    /// Either is possible.
    Unknown,
}

/// Networks that rules send out through an interface: `-d NET -o IFACE`, in rules that accept packets or pass them on.
/// A rule that drops them may guard against packets that never leave there.
pub fn sent_out(rules: &Ruleset) -> Vec<(Net, String)> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for rule in rules.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules).filter(|r| r.has("-o")) {
        let (mut net, mut iface, mut passes) = (None, None, false);
        for option in rule.options() {
            let value = option.value.filter(|_| !option.negated);
            match &*option.name {
                "-d" => net = value.and_then(|v| Net::parse(&v, rules.family)).filter(|n| n.prefix().is_some()),
                "-o" => iface = value.filter(|v| v != "lo" && !v.ends_with('+')).map(Cow::into_owned),
                "-j" | "-g" => passes = value.is_some_and(|to| !matches!(&*to, "DROP" | "REJECT")),
                _ => {}
            }
        }
        if let (Some(net), Some(iface), true) = (net.filter(|n| n.mask != 0), iface, passes)
            && seen.insert((net, iface.clone()))
        {
            out.push((net, iface));
        }
    }
    out
}

/// The customary gateway address of a network: its first.
pub fn gateway(net: Net) -> Option<IpAddr> {
    (net.family.bits() - net.prefix()? >= 2).then(|| net.first_host())
}

/// Multicast addresses.
pub fn multicast(family: Family) -> AddrSet {
    net_set(if family == Family::V4 { "224.0.0.0/4" } else { "ff00::/8" }, family)
}

/// 255.255.255.255, and the last address of each of these networks (`fib_add_ifaddr`).
pub fn broadcast(family: Family, nets: impl Iterator<Item = Net>) -> AddrSet {
    let mut set = net_set("255.255.255.255/32", family);
    for net in nets.filter(|n| family == Family::V4 && n.prefix().is_some_and(|p| p < 31)) {
        if let Some((_, last)) = AddrSet::from_net(net).and_then(|s| s.ranges().last().copied()) {
            set = set.or(&AddrSet::single(last));
        }
    }
    set
}

impl Surroundings<'_> {
    /// Whether it is the last address of a network rather than one for all hosts everywhere.
    pub fn nets_end_in(&self, a: IpAddr) -> bool {
        self.spread.contains(a) && !multicast(self.family).contains(a) && a != IpAddr::from([255; 4])
    }

    /// Where a destination is.
    pub fn place(&self, a: IpAddr) -> Placed {
        if self.local.is_some() || self.spread.contains(a) || loopback(self.family).contains(a) {
            return Placed::Known;
        }
        if self.listed.contains(a) {
            return Placed::Here(None);
        }
        let within = |of: &[(Net, String)], by: &str| {
            let found = of.iter().filter(|(n, _)| n.contains(a)).max_by_key(|(n, _)| n.prefix());
            found.map(|(net, iface)| format!("{a} is taken as a host behind {iface}: by the {by} {net} is there"))
        };
        if self.foreign.contains(a) {
            return Placed::Away(within(&self.bridges, "rules").unwrap_or_else(|| {
                if self.beyond.contains(a) {
                    format!("{a} is taken as another host's: NAT sends packets on to it")
                } else {
                    format!("{a} is taken as an address that no host has for its own")
                }
            }));
        }
        if self.own.contains(a) {
            return Placed::Here(Some(format!("{a} is taken as this host's: a rule for incoming packets names it")));
        }
        if let Some(away) = within(&self.near, "addresses and routes in the text") {
            return Placed::Away(away);
        }
        match self.bridges.iter().chain(&self.sent).find(|(n, _)| gateway(*n) == Some(a)) {
            Some((net, iface)) if is_bridge(iface) => {
                Placed::Here(Some(format!("{a} is taken as this host's: the first address of {net} at {iface}")))
            }
            // On a network without containers it may be the host's or its router's.
            Some(_) => Placed::Unknown,
            None => within(&self.sent, "rules").map_or(Placed::Unknown, Placed::Away),
        }
    }
}
