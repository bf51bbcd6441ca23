//! What becomes of one packet: the walk of all packets, with one sender and the path written down.

use std::net::IpAddr;

use crate::analyse::answers::engine::Engine;
use crate::analyse::answers::explain::{Explained, Passes, explain};
use crate::analyse::packets::cell::{Cell, Rest, port};
use crate::analyse::surroundings::Surroundings;
use crate::analyse::surroundings::addresses::loopback;
use crate::analyse::walk::chains::Walk;
use crate::analyse::walk::hooks::{self, Bound};
use crate::analyse::walk::outcomes::End;
use crate::analyse::walk::verdict::{RuleRef, Step, StepResult, Verdict};
use crate::model::{AddrSet, Family, Proto, View};

/// A hypothetical new packet (conntrack NEW, TCP SYN, ICMP echo request) to the host; `None` means *any*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sender.
    pub src: IpAddr,
    /// Destination; absent: one of the host's addresses.
    pub dst: Option<IpAddr>,
    /// Protocol.
    pub proto: Proto,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// Interface it arrives on; any but `lo` when not given.
    pub interface: Option<String>,
    /// The instant, seconds since 1970 UTC; that of the view when not given.
    pub at: Option<i64>,
}

impl Packet {
    /// A new packet from an address to a port.
    pub fn new(src: IpAddr, proto: Proto, dport: Option<u16>) -> Self {
        Self { src, dst: None, proto, sport: None, dport, interface: None, at: None }
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        Family::of(self.src)
    }
}

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
}

impl Trace {
    /// There is nothing that a packet could be followed through.
    pub fn unknown(why: &str) -> Self {
        Self { verdict: Verdict::Depends, why: why.to_owned(), rule: None, path: Vec::new() }
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
    let Some((dst, bound)) = destination(world, packet.dst, own) else {
        return Trace::unknown(&format!(
            "the host has no {} address that packets from outside reach",
            world.family.label()
        ));
    };
    let mut walk = Walk::new(world, &engine.compiled, packet.proto, true);
    let cell = Cell {
        src: AddrSet::single(packet.src),
        rest: Rest::arriving(
            dst,
            port(packet.proto, packet.sport),
            port(packet.proto, packet.dport),
            packet.interface.as_deref().map_or_else(|| world.ifaces.outside(), |i| world.ifaces.named(i)),
        ),
    };
    hooks::run(&mut walk, vec![cell], bound);
    let (verdict, why, rule) = verdict(&walk, world.view, world.family);
    Trace { verdict, why, rule, path: walk.path.unwrap_or_default() }
}

/// The destinations of a question, and how the routing decision is made; `None` when there are none. `own`: it
/// arrives on `lo`.
fn destination(world: &Surroundings, asked: Option<IpAddr>, own: bool) -> Option<(AddrSet, Bound)> {
    match asked {
        // What arrives on lo was sent there because it is for the host.
        Some(a) if own => Some((AddrSet::single(a), Bound::Local)),
        None if own => {
            Some((world.reachable_local().unwrap_or_else(|any| any).or(&loopback(world.family)), Bound::Local))
        }
        // With captured text an explicit destination is the host's unless the rules tell otherwise.
        Some(a) if world.local.is_none() && !world.foreign.contains(a) => Some((AddrSet::single(a), Bound::Local)),
        Some(a) => Some((AddrSet::single(a), Bound::Anywhere)),
        None => {
            let set = world.reachable_local().unwrap_or_else(|any| any);
            (!set.is_empty()).then_some((set, Bound::Local))
        }
    }
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
        let same = ends.iter().all(|e| e.verdict == first.verdict);
        // Dropped or rejected, either way it does not get in.
        return (if same { first.verdict } else { Verdict::Drop }, first.text.clone(), first.rule.clone());
    }
    let all: Vec<&End> = ends.iter().collect();
    let reason = match explain(walk, &mut Passes::new(walk), first.cell.src.clone(), &all, other.is_some()) {
        Explained::OpenOn(reasons) => reasons.into_iter().next(),
        Explained::Unsure(reason) => Some(reason),
    };
    let (why, rule) = reason.map_or_else(Default::default, |r| (r.1, r.2));
    (Verdict::Depends, why, rule)
}
