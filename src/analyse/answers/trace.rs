//! What becomes of one packet: the walk of all packets, with one sender and the path written down.

use std::net::IpAddr;

use crate::analyse::answers::engine::Engine;
use crate::analyse::answers::explain::{Explained, Passes, explain};
use crate::analyse::answers::packet::Packet;
use crate::analyse::answers::remarks;
use crate::analyse::packets::cell::{Cell, Rest, SYN, port};
use crate::analyse::packets::test::Place;
use crate::analyse::surroundings::Surroundings;
use crate::analyse::surroundings::addresses::loopback;
use crate::analyse::surroundings::place::Placed;
use crate::analyse::walk::chains::Walk;
use crate::analyse::walk::hooks::{self, Bound};
use crate::analyse::walk::outcomes::End;
use crate::analyse::walk::verdict::{RuleRef, Step, StepResult, Verdict};
use crate::model::{AddrSet, Family, Proto, View};

/// Verdict and way of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Verdict.
    pub verdict: Verdict,
    /// One sentence: what decided.
    pub why: String,
    /// The rule or policy that this is about.
    pub rule: Option<RuleRef>,
    /// Every rule on the way.
    pub path: Vec<Step>,
    /// What was taken for so, because nothing tells.
    pub assumed: Vec<String>,
    /// What the kernel does with such a packet that the rules do not decide.
    pub not_judged: Vec<String>,
}

impl Trace {
    /// There is nothing that a packet could be followed through.
    pub fn unknown(why: &str) -> Self {
        Self {
            verdict: Verdict::Depends,
            why: why.to_owned(),
            rule: None,
            path: Vec::new(),
            assumed: Vec::new(),
            not_judged: Vec::new(),
        }
    }

    /// The step that decides: what the reason is about, else of a packet that gets in the last of the filter that met
    /// it, of another the last at all, and of one that depends the first that nobody can be sure of.
    pub fn decides(&self) -> Option<usize> {
        let met = |s: &Step| s.result != StepResult::Passed;
        let named = |s: &Step| {
            self.rule.as_ref().is_some_and(|r| met(s) && r.table == s.table && r.chain == s.chain && r.rule == s.rule)
        };
        if let Some(at) = self.path.iter().rposition(named) {
            return Some(at);
        }
        match self.verdict {
            Verdict::Accept => self.path.iter().rposition(|s| met(s) && s.table == "filter"),
            Verdict::Depends => self.path.iter().position(|s| s.result == StepResult::MayMatch),
            Verdict::Drop | Verdict::Reject => None,
        }
        .or_else(|| self.path.iter().rposition(met))
    }
}

/// Follows one packet through the rules of its family.
pub fn trace(engine: &Engine, packet: &Packet) -> Trace {
    let world = &engine.world;
    let own = packet.interface.as_deref() == Some("lo");
    let mut walk = Walk::new(world, &engine.compiled, packet.proto, true);
    let mut assumed = Vec::new();
    let (dst, bound, places) = match packet.dst {
        // What arrives on lo was sent there because it is for the host.
        Some(a) if own => (AddrSet::single(a), Bound::Local, vec![Place::Told]),
        Some(a) => (AddrSet::single(a), Bound::Anywhere, places(world, a, &mut assumed)),
        None => {
            let mut set = world.reachable_local().unwrap_or_else(|any| any);
            if own {
                set = set.or(&loopback(world.family));
            }
            (set, Bound::Local, vec![Place::Told])
        }
    };
    if dst.is_empty() {
        let label = world.family.label();
        return Trace::unknown(&format!("the host has no {label} address that packets from outside reach"));
    }
    let iif = packet.interface.as_deref().map_or_else(|| world.ifaces.outside(), |i| world.ifaces.named(i));
    let (sport, dport) = (port(packet.proto, packet.sport), port(packet.proto, packet.dport));
    let mut rest = Rest::arriving(dst, sport, dport, iif);
    rest.flags = packet.flags.filter(|_| packet.proto == Proto::TCP).unwrap_or(SYN);
    let either = places.len() > 1;
    let cells = places
        .into_iter()
        .map(|place| {
            let mut rest = Rest { place, ..rest.clone() };
            if either && let Some(a) = packet.dst {
                let why = walk.out.reason(not_known(a), None);
                rest.doubt = rest.doubt.behind(why, place != Place::Away);
            }
            Cell { src: AddrSet::single(packet.src), rest }
        })
        .collect();
    hooks::run(&mut walk, cells, bound);
    if packet.interface.is_none() {
        walk.out.keep_plausible();
    }
    assumed.extend(remarks::meant(world, packet));
    remarks::assumed(&walk, &mut assumed);
    let not_judged = remarks::not_judged(world, packet);
    let (mut verdict, mut why, rule) = verdict(&walk, world.view, world.family);
    if let Some(first) = not_judged.first().filter(|_| verdict == Verdict::Accept) {
        (verdict, why) = (Verdict::Depends, format!("these rules let it through ({why}), but {first}"));
    }
    Trace { verdict, why, rule, path: walk.path.unwrap_or_default(), assumed, not_judged }
}

/// Where a destination may be, and what is assumed of it.
fn places(world: &Surroundings, a: IpAddr, assumed: &mut Vec<String>) -> Vec<Place> {
    match world.place(a) {
        Placed::Known => vec![Place::Told],
        Placed::Here(why) => {
            assumed.extend(why);
            vec![Place::Here]
        }
        Placed::Away(why) => {
            assumed.push(why);
            vec![Place::Away]
        }
        Placed::Unknown => {
            assumed.push(format!("{}, `ip addr` shows it: both ways were followed", not_known(a)));
            let mut ways = vec![Place::Here, Place::Away];
            // The last address of a network of 24 bits or less.
            if matches!(a, IpAddr::V4(v4) if v4.octets()[3] == u8::MAX) {
                ways.push(Place::Many);
            }
            ways
        }
    }
}

fn not_known(a: IpAddr) -> String {
    format!("whether {a} is an address of this host is not known")
}

/// The one verdict of all ends, or *depends*, with its reason and the rule that this is about.
fn verdict(walk: &Walk, view: &View, family: Family) -> (Verdict, String, Option<RuleRef>) {
    let ends = &walk.out.ends;
    let Some(first) = ends.first() else { return (Verdict::Depends, "the packet has no way".to_owned(), None) };
    let other = view
        .other_filters
        .iter()
        .find(|o| o.family == family && o.rewrites)
        .or_else(|| view.other_filters.iter().find(|o| o.family == family));
    if ends.iter().all(|e| e.verdict == Verdict::Accept) {
        let (text, rule) = walk
            .out
            .passes_in_order()
            .first()
            .map_or((first.text.clone(), first.rule.clone()), |p| (p.text.clone(), Some(p.rule.clone())));
        return match other {
            Some(o) => (Verdict::Depends, format!("these rules let it through, but {} also filters", o.what), rule),
            None => (Verdict::Accept, text, rule),
        };
    }
    if ends.iter().all(|e| matches!(e.verdict, Verdict::Drop | Verdict::Reject)) {
        if let Some(o) = other.filter(|o| o.rewrites) {
            return (
                Verdict::Depends,
                format!("these rules block it, but {} may rewrite packets", o.what),
                first.rule.clone(),
            );
        }
        return closed(walk, ends);
    }
    let all: Vec<&End> = ends.iter().collect();
    let reason = match explain(walk, &mut Passes::new(walk), first.cell.src.clone(), &all, other.is_some()) {
        Explained::OpenOn(reasons) => reasons.into_iter().next(),
        Explained::Unsure(reason) => Some(reason),
    };
    let (why, rule) = reason.map_or_else(Default::default, |r| (r.1, r.2));
    (Verdict::Depends, why, rule)
}

/// Why nobody of these gets in: what decides for ordinary packets by the interface that leads outside. What an earlier
/// rule may do to them is said, and does not hide it.
fn closed(walk: &Walk, ends: &[End]) -> (Verdict, String, Option<RuleRef>) {
    let outer = walk.world.outer();
    let unusual = |e: &&End| {
        let r = &e.cell.rest;
        // One source port of many is a side path.
        (r.doubt.chance, outer.is_some_and(|o| !r.iif.contains(o)), std::cmp::Reverse(r.sport.len()))
    };
    let Some(main) = ends.iter().min_by_key(unusual) else {
        return (Verdict::Depends, "the packet has no way".to_owned(), None);
    };
    let what = |e: &End| match &e.rule {
        Some(RuleRef { chain, rule: Some(n), .. }) => format!("{chain} rule {n}"),
        Some(RuleRef { chain, rule: None, .. }) => format!("{chain} policy"),
        None => e.text.clone(),
    };
    let Some(other) = ends.iter().find(|e| e.verdict != main.verdict) else {
        return (main.verdict, main.text.clone(), main.rule.clone());
    };
    let why = format!(
        "closed: {}, {} at the latest; {} may {} it before",
        main.verdict,
        what(main),
        what(other),
        other.verdict
    );
    (main.verdict, why, main.rule.clone())
}
