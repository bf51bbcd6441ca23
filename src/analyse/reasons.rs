//! Why each part of the address space fares as it does.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::exposure::{Because, Reach};
use super::trace::{Verdict, doubt};
use super::walk::{End, RuleRef, Walk};
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

/// Why each part fares as it does.
pub(super) fn reasons(walk: &Walk, reach: &Reach) -> Vec<Because> {
    let mut out = Reasons::default();
    for p in &walk.passes {
        out.add(p.src.and(&reach.accepted), Verdict::Accept, &p.text, Some(&p.rule));
    }
    if walk.passes.is_empty() {
        for e in walk.ends.iter().filter(|e| e.verdict == Verdict::Accept) {
            out.add(e.cell.src.and(&reach.accepted), Verdict::Accept, &e.text, e.rule.as_ref());
        }
    }
    for e in walk.ends.iter().filter(|e| matches!(e.verdict, Verdict::Drop | Verdict::Reject)) {
        out.add(e.cell.src.and(&reach.blocked), e.verdict, &e.text, e.rule.as_ref());
    }
    for (set, here) in groups(&walk.ends, &reach.depends) {
        let rule = here.iter().find(|e| e.verdict == Verdict::Depends).or_else(|| here.iter().find(|e| e.verdict != Verdict::Accept));
        out.add(set, Verdict::Depends, &doubt(walk, &here), rule.and_then(|e| e.rule.as_ref()));
    }
    out.list
}

/// Senders grouped by the ends that they came to: one sweep over the bounds of all ranges, so that many ends stay cheap.
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
