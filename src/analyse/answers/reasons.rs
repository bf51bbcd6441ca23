//! Why each part of the address space fares as it does.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::analyse::answers::explain::{Explained, Passes, explain};
use crate::analyse::answers::reach::{Because, Reach};
use crate::analyse::inventory::endpoint::Endpoint;
use crate::analyse::walk::chains::Walk;
use crate::analyse::walk::outcomes::{End, Pass};
use crate::analyse::walk::verdict::{RuleRef, Verdict};
use crate::model::AddrSet;

/// The reasons, each once, with all senders that share it.
#[derive(Default)]
struct Reasons {
    list: Vec<Because>,
    known: HashMap<(Verdict, String, Option<RuleRef>), usize>,
}

impl Reasons {
    fn add(&mut self, set: AddrSet, outcome: Verdict, text: &str, rule: Option<&RuleRef>) {
        if set.is_empty() {
            return;
        }
        match self.known.entry((outcome, text.to_owned(), rule.cloned())) {
            Entry::Occupied(at) => self.list[*at.get()].set.unite(set),
            Entry::Vacant(at) => {
                at.insert(self.list.len());
                self.list.push(Because { set, outcome, text: text.to_owned(), rule: rule.cloned() });
            }
        }
    }
}

/// Why each part of an endpoint's senders fares as it does. `others`: something else filters too.
pub fn reasons(walk: &Walk, reach: &Reach, endpoint: &Endpoint, others: bool) -> Vec<Because> {
    let mut out = Reasons::default();
    let mut ordered = Passes::new(walk);
    let passes: Vec<&Pass> = ordered.all.iter().filter(|p| p.src.meets(&reach.accepted)).copied().collect();
    // A published port may have two doors, and the same words at both mean different things.
    let two = passes.iter().any(|p| p.nat) && passes.iter().any(|p| !p.nat);
    let proxy = endpoint.process.as_deref().is_some_and(|p| p.starts_with("docker-proxy"));
    for p in &passes {
        let door = if p.nat {
            "through NAT: "
        } else if proxy {
            "through docker-proxy: "
        } else {
            "without NAT: "
        };
        let text = format!("{}{}", if two { door } else { "" }, p.text);
        out.add(p.src.and(&reach.accepted), Verdict::Accept, &text, Some(&p.rule));
    }
    if walk.out.passes.is_empty() {
        for e in walk.out.ends.iter().filter(|e| e.verdict == Verdict::Accept) {
            out.add(e.cell.src.and(&reach.accepted), Verdict::Accept, &e.text, e.rule.as_ref());
        }
    }
    // What gets in by some interface is said before what is blocked, what nobody can be sure of behind it.
    let mut unsure = Vec::new();
    for (set, here) in groups(&walk.out.ends, &reach.depends) {
        match explain(walk, &mut ordered, set, &here, others) {
            Explained::OpenOn(reasons) => {
                for (set, text, rule) in reasons {
                    out.add(set, Verdict::Depends, &text, rule.as_ref());
                }
            }
            Explained::Unsure(reason) => unsure.push(reason),
        }
    }
    // What decides for most senders first, a side path behind it.
    let mut closed: Vec<&End> =
        walk.out.ends.iter().filter(|e| matches!(e.verdict, Verdict::Drop | Verdict::Reject)).collect();
    let size = |e: &End| e.cell.src.spans().map(|(from, to)| (to - from) as f64 + 1.0).sum::<f64>();
    closed.sort_by(|a, b| {
        let side = |e: &End| e.cell.rest.doubt.chance;
        let ports = |e: &End| std::cmp::Reverse(e.cell.rest.sport.len());
        side(a).cmp(&side(b)).then(size(b).total_cmp(&size(a))).then(ports(a).cmp(&ports(b)))
    });
    for e in closed {
        out.add(e.cell.src.and(&reach.blocked), e.verdict, &e.text, e.rule.as_ref());
    }
    for (set, text, rule) in unsure {
        out.add(set, Verdict::Depends, &text, rule.as_ref());
    }
    out.list
}

/// Senders grouped by the ends that they came to: one sweep over the bounds of all ranges, so that many ends stay
/// cheap.
fn groups<'e>(ends: &'e [End], of: &AddrSet) -> Vec<(AddrSet, Vec<&'e End>)> {
    let mut bounds: Vec<(u128, usize)> = Vec::new();
    for (i, e) in ends.iter().enumerate() {
        for (from, to) in e.cell.src.and(of).spans() {
            bounds.push((from, i));
            bounds.extend(to.checked_add(1).map(|behind| (behind, i)));
        }
    }
    bounds.sort_unstable();
    // A set of ends is known by the sum of its members' marks.
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mark = |i: usize| (u128::from(hasher.hash_one(i)) << 64) | u128::from(hasher.hash_one((i, 1)));
    let (mut here, mut key) = (BTreeSet::new(), 0);
    let mut spans: Vec<Vec<(u128, u128)>> = Vec::new();
    let mut members: Vec<Vec<&End>> = Vec::new();
    let mut known: HashMap<u128, usize> = HashMap::new();
    for (n, (at, i)) in bounds.iter().enumerate() {
        if !here.remove(i) {
            here.insert(*i);
        }
        key ^= mark(*i);
        let next = bounds.get(n + 1).map(|b| b.0);
        if here.is_empty() || next == Some(*at) {
            continue;
        }
        let to = next.map_or(of.family().max(), |behind| behind - 1);
        let group = *known.entry(key).or_insert_with(|| {
            spans.push(Vec::new());
            members.push(here.iter().map(|i| &ends[*i]).collect());
            spans.len() - 1
        });
        spans[group].push((*at, to));
    }
    spans.into_iter().map(|s| AddrSet::from_spans(of.family(), s)).zip(members).collect()
}
