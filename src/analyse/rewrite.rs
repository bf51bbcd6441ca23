//! What targets write on packets: marks, tracking, and the new destination of DNAT and REDIRECT.

use range_set_blaze::RangeSetBlaze;

use super::cell::{Cell, Track};
use super::trace::Verdict;
use super::walk::Walk;
use crate::model::{AddrSet, PortSet, Target};

/// A cell after a target that only marks.
pub(super) fn write(mut cell: Cell, target: &Target) -> Cell {
    let r = &mut cell.rest;
    match target {
        Target::Mark(op) => r.mark = r.mark.map(|m| op.on(m)),
        // Without a connection CONNMARK does nothing (xt_connmark).
        Target::ConnMark(op) if r.track == Track::New => r.connmark = r.connmark.map(|m| op.on(m)),
        Target::SaveMark if r.track == Track::New => r.connmark = r.mark,
        Target::RestoreMark if r.track == Track::New => r.mark = r.connmark,
        Target::NoTrack => r.track = Track::Untracked,
        _ => {}
    }
    cell
}

/// Cells after DNAT or REDIRECT.
pub(super) fn translate(walk: &mut Walk, cells: Vec<Cell>, target: &Target) -> Vec<Cell> {
    let mut out = Vec::new();
    for cell in cells {
        match target {
            Target::Dnat(Some(to)) => {
                let dst = to.addrs.map(|(a, b)| AddrSet::range(a, b));
                if dst.as_ref().is_some_and(AddrSet::is_empty) {
                    walk.end(vec![cell], Verdict::Depends, "the destination of DNAT is of the other family", None);
                    continue;
                }
                let ports = to.ports.clone().map(|p| PortSet::from_iter([p]));
                out.extend(moved(walk, cell, dst, ports));
            }
            Target::Redirect(to) => {
                let ports = to.clone().map(|p| PortSet::from_iter([p]));
                for index in cell.rest.iif.clone() {
                    let mut part = cell.clone();
                    part.rest.iif = RangeSetBlaze::from_iter([index]);
                    match (walk.world.redirect_to(walk.world.ifaces.show(index)), walk.world.reachable_local()) {
                        (Some(a), _) if !a.is_empty() => out.extend(moved(walk, part, Some(a), ports.clone())),
                        (Some(_), _) => walk.end(vec![part], Verdict::Drop, "REDIRECT finds no address on the interface", None),
                        // Some address of the host: as good as the one it was sent to.
                        (None, _) => out.extend(moved(walk, part, None, ports.clone())),
                    }
                }
            }
            _ => out.push(cell),
        }
    }
    out
}

/// A cell sent elsewhere. What is sent to where it went anyway is not translated (nf_nat_setup_info).
fn moved(walk: &mut Walk, cell: Cell, dst: Option<AddrSet>, ports: Option<PortSet>) -> Vec<Cell> {
    let dst = dst.unwrap_or_else(|| cell.rest.dst.clone());
    let ports = ports.unwrap_or_else(|| cell.rest.dport.clone());
    if dst == cell.rest.dst && ports == cell.rest.dport {
        return vec![cell];
    }
    let single = dst.only().is_some() && ports.len() == 1;
    let mut out = Vec::new();
    let stays = cell.rest.dst.meets(&dst) && !cell.rest.dport.is_disjoint(&ports);
    let mut rest = vec![cell];
    if stays {
        // Only packets that already go to the one new place are certainly not translated.
        let tests = [super::cell::Test::Dst(dst.clone()), super::cell::Test::Dport(ports.clone())];
        let split = super::cell::split_all(rest, &tests);
        rest = split.miss;
        if single {
            out.extend(split.hit);
        } else {
            let why = walk.reason("which of its destinations DNAT takes is not known".to_owned());
            for mut c in split.hit {
                c.rest.doubt.get_or_insert(why);
                out.push(c.clone());
                rest.push(c);
            }
        }
    }
    for mut c in rest {
        c.rest.orig = Some(Box::new((c.rest.dst.clone(), c.rest.dport.clone())));
        c.rest.dst.clone_from(&dst);
        c.rest.dport.clone_from(&ports);
        out.push(c);
    }
    out
}
