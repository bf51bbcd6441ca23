//! Types of addresses as the routing table tells them (iptables-extensions(8), addrtype; the kernel's `xt_addrtype.c`).

use crate::analyse::packets::test::{Meaning, Place, Test, addrs};
use crate::analyse::surroundings::Surroundings;
use crate::analyse::surroundings::addresses::{loopback, net_set};
use crate::analyse::surroundings::interfaces::InterfaceSet;
use crate::analyse::surroundings::place::{broadcast as last_addresses, multicast};
use crate::model::{AddrSet, End, Family, IfaceLimit, Net};

/// The meaning of `--src-type` or `--dst-type`, perhaps limited to the addresses of the packet's own interface.
pub fn meaning(world: &Surroundings, not: bool, end: End, types: &[String], limit: IfaceLimit) -> Meaning {
    let test = |set: AddrSet| if end == End::Src { Test::Src(set) } else { Test::Dst(set) };
    let Some(all) = set_of(world, Side::of(end), types, None) else {
        return Meaning::Unsure(format!("address type {} is not known", types.join(",")));
    };
    if limit == IfaceLimit::None {
        let away = set_of(world, Side::Away, types, None).filter(|_| end == End::Dst && world.local.is_none());
        let Some(away) = away else { return Meaning::Sure(test(addrs(all, not))) };
        let many = types.iter().any(|t| t == "BROADCAST");
        let groups = vec![
            vec![Test::Placed(Place::Told), Test::Dst(all.clone())],
            vec![Test::Placed(Place::Here), Test::Dst(all)],
            vec![Test::Placed(Place::Away), Test::Dst(away)],
            vec![Test::Placed(Place::Many), Test::Always(many)],
        ];
        return Meaning::Sure(Test::OneOf(not, groups));
    }
    if world.local.is_none() && types.iter().any(|t| matches!(t.as_str(), "LOCAL" | "UNICAST" | "BROADCAST")) {
        return Meaning::Unsure("which interface has the address is not known".to_owned());
    }
    let mut groups = Vec::new();
    for index in &world.ifaces.all() {
        let Some(set) = set_of(world, Side::of(end), types, Some(world.ifaces.show(index))) else { continue };
        let one = InterfaceSet::from_iter([index]);
        groups.push(vec![if limit == IfaceLimit::In { Test::In(one) } else { Test::Out(one, false) }, test(set)]);
    }
    if limit == IfaceLimit::Out {
        // Without an interface of departure the limit is none.
        groups.push(vec![Test::Out(InterfaceSet::new(), true), test(all)]);
    }
    Meaning::Sure(Test::OneOf(not, groups))
}

/// The addresses of any of the types; `None` when not known. IPv4 gives each address one type; IPv6 compares flags,
/// all of which must be there, and then asks for a route (`match_type6`).
fn set_of(world: &Surroundings, side: Side, types: &[String], iface: Option<&str>) -> Option<AddrSet> {
    let family = world.family;
    let mut set = if family == Family::V4 { AddrSet::empty(family) } else { AddrSet::full(family) };
    for name in types {
        let one = match (name.as_str(), family) {
            ("LOCAL", _) => local(world, side, iface),
            ("MULTICAST", _) => multicast(family),
            ("UNICAST", Family::V4) => {
                local(world, side, iface).or(&multicast(family)).or(&broadcast(world, iface)).complement()
            }
            ("BROADCAST", Family::V4) => broadcast(world, iface),
            // The local table, the only one that is asked, holds none of these.
            (_, Family::V4) => AddrSet::empty(family),
            ("UNICAST", Family::V6) => multicast(family).or(&net_set("::/128", family)).complement(),
            ("UNSPEC", Family::V6) => net_set("::/128", family),
            (_, Family::V6) => return None,
        };
        set = if family == Family::V4 { set.or(&one) } else { set.and(&one) };
    }
    Some(set)
}

/// Whose address is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The sender's.
    Sender,
    /// The destination.
    Here,
    /// A destination that is assumed to be another host's.
    Away,
}

impl Side {
    fn of(end: End) -> Self {
        if end == End::Src { Self::Sender } else { Self::Here }
    }
}

/// Local as the matched end sees it. With captured text: a destination that may be the host's is taken as the
/// host's (that is where these packets go), and no sender is the host itself.
fn local(world: &Surroundings, side: Side, iface: Option<&str>) -> AddrSet {
    let family = world.family;
    match (&world.local, iface) {
        (Some(l), None) => l.clone(),
        (Some(_), Some(i)) => {
            let mine = if i == "lo" { loopback(family) } else { AddrSet::empty(family) };
            on(world, i).fold(mine, |acc, a| acc.or(&AddrSet::single(a.addr)))
        }
        (None, _) if side == Side::Here => world.foreign.complement().minus(&world.spread).or(&loopback(family)),
        (None, _) => loopback(family),
    }
}

fn on<'w>(world: &'w Surroundings, iface: &'w str) -> impl Iterator<Item = &'w crate::model::LocalAddr> {
    world.view.addrs.iter().flatten().filter(move |a| Family::of(a.addr) == world.family && a.interface == iface)
}

/// 0.0.0.0/8, 255.255.255.255 and the last address of each network of the host (`fib_add_ifaddr`).
fn broadcast(world: &Surroundings, iface: Option<&str>) -> AddrSet {
    let family = world.family;
    let all = match iface {
        None => world.spread.minus(&multicast(family)),
        Some(i) => last_addresses(family, on(world, i).map(|a| Net::new(a.addr, a.prefix))),
    };
    all.or(&net_set("0.0.0.0/8", family))
}
