//! The order of tables for a packet that arrives (`nf_ip_hook_priorities` in the kernel's `netfilter_ipv4.h`):
//! raw, mangle and nat PREROUTING, the routing decision, then mangle, filter and security INPUT and nat INPUT,
//! or mangle, filter and security FORWARD and POSTROUTING.

use crate::analyse::packets::cell::{ACK, Cell, SYN, Track, split_all};
use crate::analyse::packets::test::{Place, Test};
use crate::analyse::surroundings::Way;
use crate::analyse::surroundings::addresses::{link_local, loopback};
use crate::analyse::walk::chains::Walk;
use crate::analyse::walk::verdict::Verdict;
use crate::model::{AddrSet, Family};

/// Where packets that were not translated go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// To the host: the question says so.
    Local,
    /// Their destination tells.
    Anywhere,
}

/// Sends packets all the way; every packet has an end afterwards.
pub fn run(walk: &mut Walk, cells: Vec<Cell>, bound: Bound) {
    let cells = cells
        .into_iter()
        .flat_map(|c| split_all(vec![c], &[Test::In(walk.world.ifaces.named("lo"))]).parts().collect::<Vec<_>>())
        .map(|mut c| {
            // On lo it has passed OUTPUT, where it was tracked.
            if own(walk, &c) {
                c.rest.track = Track::New;
            }
            c
        })
        .collect();
    let cells = walk.hook("raw", "PREROUTING", cells);
    let cells = cells
        .into_iter()
        .map(|mut c| {
            if matches!(c.rest.track, Track::Before | Track::Template) && opens(c.rest.flags) {
                c.rest.track = Track::New;
            }
            c
        })
        .collect();
    let cells = walk.hook("mangle", "PREROUTING", cells);
    // The nat table decided about the host's own packets in OUTPUT.
    let (own, cells): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|c| own(walk, c));
    let mut cells = tracked_only(walk, "PREROUTING", cells);
    cells.extend(own);
    let (mut local, mut forward) = (Vec::new(), Vec::new());
    for cell in cells {
        route(walk, cell, bound, &mut local, &mut forward);
    }
    for table in ["mangle", "filter", "security"] {
        local = walk.hook(table, "INPUT", local);
    }
    local = tracked_only(walk, "INPUT", local);
    walk.out.end(local, Verdict::Accept, "no rule concerns it", None);
    let mut forward = leave(walk, forward);
    for table in ["mangle", "filter", "security"] {
        forward = walk.hook(table, "FORWARD", forward);
    }
    forward = walk.hook("mangle", "POSTROUTING", forward);
    forward = tracked_only(walk, "POSTROUTING", forward);
    walk.out.end(forward, Verdict::Accept, "no rule concerns it", None);
}

/// Whether connection tracking takes up a connection at a packet with these TCP flags: at a SYN, and in the middle at
/// one with an ACK alone (nf_conntrack_proto_tcp.c, tcp_new; `nf_conntrack_tcp_loose` is on by default).
fn opens(flags: u8) -> bool {
    const FIN_SYN_RST_ACK: u8 = 0x17;
    matches!(flags & FIN_SYN_RST_ACK, SYN | ACK)
}

/// Packets of the host itself, which arrive on `lo`.
fn own(walk: &Walk, cell: &Cell) -> bool {
    !cell.rest.iif.is_empty() && cell.rest.iif == walk.world.ifaces.named("lo")
}

/// The nat table sees packets of a connection only.
fn tracked_only(walk: &mut Walk, chain: &str, cells: Vec<Cell>) -> Vec<Cell> {
    let (tracked, mut out): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|c| c.rest.track == Track::New);
    out.extend(walk.hook("nat", chain, tracked));
    out
}

/// The routing decision: to the host or through it.
fn route(walk: &mut Walk, cell: Cell, bound: Bound, local: &mut Vec<Cell>, forward: &mut Vec<Cell>) {
    let world = walk.world;
    let translated = cell.rest.orig.is_some();
    if !translated && bound == Bound::Local {
        local.push(cell);
        return;
    }
    let with = |dst: AddrSet| {
        let mut c = cell.clone();
        c.rest.dst = dst;
        c
    };
    // What is sent to many is delivered to the host (ip_route_input_slow, ip6_route_input).
    let many = cell.rest.dst.and(&world.spread);
    if !many.is_empty() {
        local.push(with(many.clone()));
    }
    let inner = cell.rest.dst.and(&loopback(world.family));
    if !inner.is_empty() {
        to_loopback(walk, with(inner.clone()), local);
    }
    let dst = cell.rest.dst.minus(&inner).minus(&many);
    if dst.is_empty() {
        return;
    }
    match &world.local {
        Some(mine) => {
            let (to_us, on) = (dst.and(mine), dst.minus(mine));
            if !to_us.is_empty() {
                local.push(with(to_us));
            }
            if !on.is_empty() {
                forward.push(with(on));
            }
        }
        None if cell.rest.place == Place::Away => forward.push(with(dst)),
        None if matches!(cell.rest.place, Place::Here | Place::Many) => local.push(with(dst)),
        None if world.is_foreign(&dst) => forward.push(with(dst)),
        None if !translated || world.is_own(&dst) || cell.rest.orig.as_ref().is_some_and(|o| o.0 == dst) => {
            local.push(with(dst));
        }
        None => {
            let what = dst.only().map_or_else(|| "the new destination".to_owned(), |a| a.to_string());
            let why = walk.out.reason(format!("whether {what} is an address of this host is not known"), None);
            let mut c = with(dst);
            c.rest.doubt = c.rest.doubt.behind(why, true);
            local.push(c.clone());
            c.rest.doubt = c.rest.doubt.behind(why, false);
            forward.push(c);
        }
    }
}

/// Packets to 127/8 or ::1. From outside they are martians, unless route_localnet is set for the interface (IPv4).
fn to_loopback(walk: &mut Walk, cell: Cell, local: &mut Vec<Cell>) {
    let world = walk.world;
    let Some(listed) = world.view.route_localnet.as_ref().filter(|_| world.family == Family::V4) else {
        if own(walk, &cell) {
            local.push(cell);
        } else {
            walk.out.may_end(
                std::slice::from_ref(&cell),
                "packets to a loopback address arrive only with route_localnet",
                None,
            );
        }
        return;
    };
    let mut may = world.ifaces.named("lo");
    for name in listed {
        may = if name == "all" { world.ifaces.all() } else { &may | &world.ifaces.named(name) };
    }
    let split = split_all(vec![cell], &[Test::In(may)]);
    local.extend(split.hit);
    walk.out.end(
        split.miss,
        Verdict::Drop,
        "a packet from outside to a loopback address is a martian: route_localnet is off",
        None,
    );
}

/// Gives forwarded packets their way out.
fn leave(walk: &mut Walk, cells: Vec<Cell>) -> Vec<Cell> {
    let world = walk.world;
    if world.view.forwarding[world.family.index()] == Some(false) {
        walk.out.end(cells, Verdict::Drop, "the host does not forward packets", None);
        return Vec::new();
    }
    // ip_forward, ip6_forward: only what is sent to this host's own hardware address, also where NAT has sent it on.
    let split = split_all(cells, &[Test::OrigDst(world.spread.clone())]);
    walk.out.end(split.hit, Verdict::Drop, "a packet to many hosts is never forwarded", None);
    let cells = split.miss;
    // ip6_forward: a link-local sender is answered with an ICMP error.
    let cells = if world.family == Family::V6 {
        let split = split_all(cells, &[Test::Src(link_local(Family::V6))]);
        walk.out.end(split.hit, Verdict::Drop, "a packet of a link-local sender is never forwarded", None);
        split.miss
    } else {
        cells
    };
    let mut out = Vec::new();
    for cell in cells {
        for (dst, way) in world.ways(&cell.rest.dst) {
            let mut part = cell.clone();
            part.rest.dst = dst;
            match way {
                Way::Out(ifs) => {
                    part.rest.oif = Some(ifs);
                    out.push(part);
                }
                Way::Nowhere => walk.out.end(vec![part], Verdict::Drop, "there is no route to the destination", None),
            }
        }
    }
    out
}
