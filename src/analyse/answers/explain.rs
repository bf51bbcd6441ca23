//! Why packets of one sender do not all fare alike, and which rule somebody has to look at then.

use std::collections::{BTreeMap, HashMap};

use crate::analyse::packets::cell::Rest;
use crate::analyse::surroundings::interfaces::InterfaceSet;
use crate::analyse::walk::chains::Walk;
use crate::analyse::walk::outcomes::{End, Pass};
use crate::analyse::walk::verdict::{RuleRef, Verdict};
use crate::model::AddrSet;

/// Some senders, why they fare as they do, and what decides.
pub type Reason = (AddrSet, String, Option<RuleRef>);

/// Why senders fare differently: on one interface they surely get in, or nobody can be sure on any.
pub enum Explained {
    /// They surely get in where they arrive on these interfaces.
    OpenOn(Vec<Reason>),
    /// It is sure nowhere.
    Unsure(Reason),
}

/// Where packets were let pass, in order, and those of them by each set of interfaces that was asked for: thousands of
/// senders are explained by the same few.
pub struct Passes<'w> {
    pub all: Vec<&'w Pass>,
    by: HashMap<Vec<u16>, Vec<&'w Pass>>,
}

impl<'w> Passes<'w> {
    pub fn new(walk: &'w Walk) -> Self {
        Self { all: walk.out.passes_in_order(), by: HashMap::new() }
    }

    fn on(&mut self, ifs: &InterfaceSet) -> &[&'w Pass] {
        let all = &self.all;
        self.by
            .entry(ifs.iter().collect())
            .or_insert_with(|| all.iter().filter(|p| !p.iif.is_disjoint(ifs)).copied().collect())
    }
}

/// Why senders with these ends fare differently. `others`: something else filters too, so nothing is sure.
pub fn explain(walk: &Walk, passes: &mut Passes, senders: AddrSet, ends: &[&End], others: bool) -> Explained {
    let all = interfaces(ends.iter().copied());
    let shut = interfaces(ends.iter().copied().filter(|e| e.verdict != Verdict::Accept));
    let open = &all - &shut;
    if others || open.is_empty() || shut.is_empty() {
        let (text, rule) = unsure(walk, ends);
        return Explained::Unsure((senders, text, rule));
    }
    let elsewhere: Vec<&End> = ends.iter().filter(|e| !e.cell.rest.iif.is_disjoint(&shut)).copied().collect();
    let blocked = |e: &&End| matches!(e.verdict, Verdict::Drop | Verdict::Reject);
    let shut_by = match elsewhere.first() {
        Some(first) if elsewhere.iter().all(blocked) => first.text.clone(),
        _ => unsure(walk, &elsewhere).0,
    };
    let names = |of: &InterfaceSet| walk.world.ifaces.in_words(of, &(&all - of));
    // What lets them in on one of these interfaces need not be what does on the next.
    let said = |text: &str, by: &InterfaceSet| {
        let (mine, next) = (&open & by, &open - by);
        let others = if next.is_empty() { String::new() } else { format!("; on {} by another rule", names(&next)) };
        format!("{text} (on {}{others}), else {shut_by}", names(&mine))
    };
    let (mut out, mut left) = (Vec::new(), senders);
    for p in passes.on(&open) {
        if left.is_empty() {
            break;
        }
        let part = left.and(&p.src);
        if !part.is_empty() {
            left = left.minus(&part);
            out.push((part, said(&p.text, &p.iif), Some(p.rule.clone())));
        }
    }
    if !left.is_empty() {
        out.push((left, said("no rule concerns it", &open), None));
    }
    Explained::OpenOn(out)
}

/// The interfaces that packets with these ends came by.
fn interfaces<'e>(ends: impl Iterator<Item = &'e End>) -> InterfaceSet {
    ends.fold(InterfaceSet::new(), |all, e| all | &e.cell.rest.iif)
}

/// Why it is not sure on one interface: of several, on the one that leads outside.
fn unsure(walk: &Walk, ends: &[&End]) -> (String, Option<RuleRef>) {
    let on = |i: u16| ends.iter().filter(|e| e.cell.rest.iif.contains(i)).copied().collect::<Vec<_>>();
    let differ = |ends: &Vec<&End>| {
        let passed = ends.iter().filter(|e| e.verdict == Verdict::Accept).count();
        ends.iter().any(|e| e.verdict == Verdict::Depends) || (passed > 0 && passed < ends.len())
    };
    let all = interfaces(ends.iter().copied());
    match walk.world.outer().into_iter().chain(&all).map(on).find(differ) {
        Some(ends) => doubt(walk, &ends),
        None => doubt(walk, ends),
    }
}

/// The rule that nobody can be sure of and that makes a difference, else the side on which packets differ.
fn doubt(walk: &Walk, ends: &[&End]) -> (String, Option<RuleRef>) {
    if let Some(e) = ends.iter().find(|e| e.verdict == Verdict::Depends) {
        return (e.text.clone(), e.rule.clone());
    }
    if let Some(why) = cause(ends).and_then(|d| walk.out.reasons.get(d as usize)) {
        return why.clone();
    }
    let blocked = ends.iter().find(|e| e.verdict != Verdict::Accept);
    let passed = ends.iter().find(|e| e.verdict == Verdict::Accept);
    let (Some(b), Some(a)) = (blocked, passed) else { return ("the rules alone do not decide".to_owned(), None) };
    let (x, y) = (&a.cell.rest, &b.cell.rest);
    let first_dst = |r: &Rest| r.orig.as_ref().map_or_else(|| r.dst.clone(), |o| o.0.clone());
    let first_port = |r: &Rest| r.orig.as_ref().map_or_else(|| r.dport.clone(), |o| o.1.clone());
    let what = if x.iif.is_disjoint(&y.iif) {
        "the interface it arrives on"
    } else if !first_dst(x).meets(&first_dst(y)) {
        "which address of the host it is sent to"
    } else if x.sport.is_disjoint(&y.sport) {
        "the source port"
    } else if first_port(x).is_disjoint(&first_port(y)) {
        "the destination port"
    } else if x.oif.as_ref().zip(y.oif.as_ref()).is_some_and(|(p, q)| p.is_disjoint(q)) {
        "the interface it leaves through (not known)"
    } else {
        "where NAT sends it"
    };
    (format!("{what} decides: {}", b.text), b.rule.clone())
}

/// The reason that parts packets which get in from packets which do not. Each end knows the last rule on its way that
/// nobody can be sure of: one behind which both its ways end alike (a random pick of containers) is no reason.
fn cause(ends: &[&End]) -> Option<u32> {
    // Whether some pass and some are blocked where it does not hold, and where it does.
    let mut behind: BTreeMap<u32, [(bool, bool); 2]> = BTreeMap::new();
    for e in ends {
        let doubt = e.cell.rest.doubt;
        if let Some(why) = doubt.why {
            let (passed, blocked) = &mut behind.entry(why).or_default()[usize::from(doubt.held)];
            *(if e.verdict == Verdict::Accept { passed } else { blocked }) = true;
        }
    }
    let any = |of: fn(&(bool, bool)) -> bool| behind.values().flatten().any(of);
    if !(any(|b| b.0) && any(|b| b.1)) {
        return None;
    }
    let none = (false, false);
    let parts = |[miss, held]: &[(bool, bool); 2]| *miss != none && *held != none && miss != held;
    // Of one way nothing is left where a later rule is not sure either.
    let one_way = |[miss, held]: &[(bool, bool); 2]| {
        (*miss == none) != (*held == none) && (miss.0 || held.0) != (miss.1 || held.1)
    };
    behind.iter().find(|(_, b)| parts(b)).or_else(|| behind.iter().find(|(_, b)| one_way(b))).map(|(why, _)| *why)
}
