//! What targets write on packets: marks, tracking, and the new destination of DNAT, REDIRECT and NETMAP.

use range_set_blaze::RangeSetBlaze;

use crate::analyse::packets::cell::{Cell, Track, split_all};
use crate::analyse::packets::test::{Place, Test};
use crate::analyse::surroundings::addresses::link_local;
use crate::analyse::surroundings::place::multicast;
use crate::analyse::walk::outcomes::Outcomes;
use crate::analyse::walk::verdict::Verdict;
use crate::model::{AddrSet, Family, MarkMasks, Net, PortSet, Target};

/// A cell after a target that only marks.
pub fn write(mut cell: Cell, target: &Target) -> Cell {
    let r = &mut cell.rest;
    // Without a connection CONNMARK does nothing (xt_connmark).
    let tracked = r.track == Track::New;
    match target {
        Target::Mark(op) => r.mark = r.mark.map(|m| op.on(m)),
        Target::ConnMark(op) if tracked => r.connmark = r.connmark.map(|m| op.on(m)),
        Target::SaveMark(m) if tracked => r.connmark = copied(r.mark, m.packet, r.connmark, m.connection),
        Target::RestoreMark(MarkMasks { packet, connection }) if tracked => {
            r.mark = copied(r.connmark, *connection, r.mark, *packet);
        }
        Target::RestoreMark(_) if r.track == Track::Template => r.mark = None,
        Target::Continue(_) if r.track == Track::Before => r.track = Track::Template,
        // `CT` leaves alone what is tracked already (xt_ct: packets of the host itself).
        Target::NoTrack if r.track == Track::Before => r.track = Track::Untracked,
        _ => {}
    }
    cell
}

/// `(to & ~clear) ^ (from & take)`: how CONNMARK copies one mark into the other; not known when one of them is not.
fn copied(from: Option<u32>, take: u32, to: Option<u32>, clear: u32) -> Option<u32> {
    let from = if take == 0 { 0 } else { from? & take };
    let to = if clear == u32::MAX { 0 } else { to? & !clear };
    Some(to ^ from)
}

/// Cells after DNAT, REDIRECT or NETMAP.
pub fn translate(outcomes: &mut Outcomes, cells: Vec<Cell>, target: &Target) -> Vec<Cell> {
    let mut out = Vec::new();
    for cell in cells {
        match target {
            Target::Dnat(Some(to)) => {
                let dst = to.addrs.map(|(a, b)| AddrSet::range(a, b));
                if dst.as_ref().is_some_and(AddrSet::is_empty) {
                    outcomes.end(vec![cell], Verdict::Depends, "the destination of DNAT is of the other family", None);
                    continue;
                }
                out.extend(to_ports(outcomes, cell, dst.as_ref(), to.ports.as_ref()));
            }
            // Which address is taken depends on its scope, and on the kernel (nf_nat_redirect_ipv6).
            Target::Redirect(_)
                if outcomes.world.family == Family::V6 && cell.rest.dst.meets(&multicast(Family::V6)) =>
            {
                outcomes.end(vec![cell], Verdict::Depends, "where REDIRECT sends multicast is not judged", None);
            }
            Target::Redirect(to) => {
                for index in cell.rest.iif.clone() {
                    let mut part = cell.clone();
                    part.rest.iif = RangeSetBlaze::from_iter([index]);
                    let iface = outcomes.world.ifaces.show(index);
                    for part in split_all(vec![part], &[Test::Dst(link_local(outcomes.world.family))]).parts() {
                        match outcomes.world.redirect_to(iface, &part.rest.dst) {
                            Some(a) if !a.is_empty() => out.extend(to_ports(outcomes, part, Some(&a), to.as_ref())),
                            Some(_) => outcomes.end(
                                vec![part],
                                Verdict::Drop,
                                "REDIRECT finds no address on the interface",
                                None,
                            ),
                            // Some address of the host: as good as the one it was sent to.
                            None => {
                                let mut moved = to_ports(outcomes, part, None, to.as_ref());
                                for c in &mut moved {
                                    c.rest.place = Place::Here;
                                }
                                out.extend(moved);
                            }
                        }
                    }
                }
            }
            Target::Netmap(to) => out.extend(netmap(outcomes, cell, *to)),
            _ => out.push(cell),
        }
    }
    out
}

/// More destinations than these are mapped all at once.
const MAX_SINGLE: usize = 64;

/// The host's bits stay, the network's change.
fn netmap(outcomes: &mut Outcomes, cell: Cell, to: Net) -> Vec<Cell> {
    let of = cell.rest.dst.ranges();
    let with = |dst: AddrSet| {
        let mut c = cell.clone();
        c.rest.dst = dst;
        c
    };
    if of.len() <= MAX_SINGLE && of.iter().all(|(a, b)| a == b) {
        return of
            .into_iter()
            .flat_map(|(a, _)| {
                let new = AddrSet::single(Net::host(a).within(to));
                to_ports(outcomes, with(AddrSet::single(a)), Some(&new), None)
            })
            .collect();
    }
    let Some(all) = AddrSet::from_net(to) else {
        outcomes.end(vec![cell], Verdict::Depends, "where NETMAP sends it is not judged", None);
        return Vec::new();
    };
    to_ports(outcomes, cell, Some(&all), None)
}

/// Translation to addresses and ports. A port that is in the range already stays (nf_nat_get_unique_tuple).
fn to_ports(
    outcomes: &mut Outcomes,
    cell: Cell,
    dst: Option<&AddrSet>,
    ports: Option<&std::ops::RangeInclusive<u16>>,
) -> Vec<Cell> {
    let Some(range) = ports else { return moved(outcomes, cell, dst, None) };
    let set = PortSet::from_iter([range.clone()]);
    let split = split_all(vec![cell], &[Test::Dport(set.clone())]);
    let mut out = Vec::new();
    for c in split.hit {
        out.extend(moved(outcomes, c, dst, None));
    }
    for c in split.miss {
        out.extend(moved(outcomes, c, dst, Some(&set)));
    }
    out
}

/// A cell sent elsewhere. What is sent to where it went anyway is not translated (nf_nat_setup_info).
fn moved(outcomes: &mut Outcomes, cell: Cell, dst: Option<&AddrSet>, ports: Option<&PortSet>) -> Vec<Cell> {
    let dst = dst.unwrap_or(&cell.rest.dst).clone();
    let same_ports = ports.is_none_or(|p| *p == cell.rest.dport);
    let ports = ports.unwrap_or(&cell.rest.dport).clone();
    if dst == cell.rest.dst && same_ports {
        return vec![cell];
    }
    let mut out = Vec::new();
    let mut rest = vec![cell];
    if same_ports && rest.iter().any(|c| c.rest.dst.meets(&dst)) {
        let split = split_all(rest, &[Test::Dst(dst.clone())]);
        rest = split.miss;
        if dst.only().is_some() {
            out.extend(split.hit);
        } else {
            let why = outcomes.reason("which of its destinations DNAT takes is not known".to_owned(), None);
            for mut c in split.hit {
                c.rest.doubt = c.rest.doubt.behind(why, true);
                out.push(c.clone());
                c.rest.doubt = c.rest.doubt.behind(why, false);
                rest.push(c);
            }
        }
    }
    for mut c in rest {
        if c.rest.orig.is_none() {
            c.rest.orig = Some(Box::new((c.rest.dst.clone(), c.rest.dport.clone())));
        }
        if c.rest.dst != dst {
            c.rest.place = Place::Told;
        }
        c.rest.dst.clone_from(&dst);
        c.rest.dport.clone_from(&ports);
        out.push(c);
    }
    out
}
