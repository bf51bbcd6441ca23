//! The order of tables for a packet that arrives (`nf_ip_hook_priorities` in the kernel's `netfilter_ipv4.h`):
//! raw, mangle and nat PREROUTING, the routing decision, then mangle, filter and security INPUT and nat INPUT,
//! or mangle, filter and security FORWARD and POSTROUTING.

use super::cell::{Cell, Track};
use super::trace::Verdict;
use super::walk::Walk;
use super::world::{Way, loopback};
use crate::model::AddrSet;

/// Where packets that were not translated go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// To the host: the question says so.
    Local,
    /// Their destination tells.
    Anywhere,
}

/// Sends packets all the way; every packet has an end afterwards.
pub(super) fn run(walk: &mut Walk, cells: Vec<Cell>, bound: Bound) {
    let cells = walk.hook("raw", "PREROUTING", cells);
    let cells = cells.into_iter().map(|mut c| {
        if c.rest.track == Track::Before {
            c.rest.track = Track::New;
        }
        c
    }).collect();
    let cells = walk.hook("mangle", "PREROUTING", cells);
    let cells = tracked_only(walk, "PREROUTING", cells);
    let (mut local, mut forward) = (Vec::new(), Vec::new());
    for cell in cells {
        route(walk, cell, bound, &mut local, &mut forward);
    }
    for table in ["mangle", "filter", "security"] {
        local = walk.hook(table, "INPUT", local);
    }
    local = tracked_only(walk, "INPUT", local);
    walk.end(local, Verdict::Accept, "no rule concerns it", None);
    let mut forward = leave(walk, forward);
    for table in ["mangle", "filter", "security"] {
        forward = walk.hook(table, "FORWARD", forward);
    }
    forward = walk.hook("mangle", "POSTROUTING", forward);
    forward = tracked_only(walk, "POSTROUTING", forward);
    walk.end(forward, Verdict::Accept, "no rule concerns it", None);
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
    // Packets from outside to 127/8 are martians unless route_localnet is set for the interface.
    let inner = cell.rest.dst.and(&loopback(world.family));
    if !inner.is_empty() {
        let outer = with(inner.clone());
        walk.may_end(std::slice::from_ref(&outer), "packets to a loopback address arrive only with route_localnet", None);
    }
    let dst = cell.rest.dst.minus(&inner);
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
        None if world.is_foreign(&dst) => forward.push(with(dst)),
        // REDIRECT keeps the destination, which was one of the host's.
        None if !translated || cell.rest.orig.as_ref().is_some_and(|o| o.0 == dst) => local.push(with(dst)),
        None => {
            let what = dst.only().map_or_else(|| "the new destination".to_owned(), |a| a.to_string());
            let why = walk.reason(format!("whether {what} is an address of this host is not known"));
            let mut c = with(dst);
            c.rest.doubt.get_or_insert(why);
            local.push(c.clone());
            forward.push(c);
        }
    }
}

/// Gives forwarded packets their way out.
fn leave(walk: &mut Walk, cells: Vec<Cell>) -> Vec<Cell> {
    let world = walk.world;
    if world.view.forwarding[world.family.index()] == Some(false) {
        walk.end(cells, Verdict::Drop, "the host does not forward packets", None);
        return Vec::new();
    }
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
                Way::Nowhere => walk.end(vec![part], Verdict::Drop, "there is no route to the destination", None),
            }
        }
    }
    out
}
