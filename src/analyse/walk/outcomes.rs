//! What has become of packets so far: their ends, where they were let pass, and the reasons of doubt.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::analyse::packets::cell::Cell;
use crate::analyse::surroundings::Surroundings;
use crate::analyse::surroundings::interfaces::InterfaceSet;
use crate::analyse::walk::verdict::{RuleRef, Verdict};
use crate::model::AddrSet;

/// An end of some packets.
#[derive(Clone, Debug)]
pub struct End {
    /// The packets.
    pub cell: Cell,
    /// What becomes of them.
    pub verdict: Verdict,
    /// Why.
    pub text: String,
    /// What decided.
    pub rule: Option<RuleRef>,
}

/// Where the filter table let senders pass.
#[derive(Clone)]
pub struct Pass {
    /// The senders.
    pub src: AddrSet,
    /// The interfaces they came by.
    pub iif: InterfaceSet,
    /// Whether NAT sent them there.
    pub nat: bool,
    /// Whether they come there only if a rule holds that nobody can be sure of.
    pub chance: bool,
    /// Why.
    pub text: String,
    /// The rule or policy.
    pub rule: RuleRef,
}

/// The outcomes of one question.
pub struct Outcomes<'w, 'a> {
    /// What surrounds the rules.
    pub world: &'w Surroundings<'a>,
    /// Ends so far.
    pub ends: Vec<End>,
    /// Where the filter table let packets pass.
    pub passes: Vec<Pass>,
    /// Reasons of doubt, by number, and the rules that they are about.
    pub reasons: Vec<(String, Option<RuleRef>)>,
    known: HashMap<String, u32>,
}

impl<'w, 'a> Outcomes<'w, 'a> {
    /// Nothing has ended yet.
    pub fn new(world: &'w Surroundings<'a>) -> Self {
        Self { world, ends: Vec::new(), passes: Vec::new(), reasons: Vec::new(), known: HashMap::new() }
    }

    /// The number of a reason.
    pub fn reason(&mut self, why: String, rule: Option<RuleRef>) -> u32 {
        let next = u32::try_from(self.reasons.len()).unwrap_or(u32::MAX);
        match self.known.entry(why) {
            Entry::Occupied(at) => *at.get(),
            Entry::Vacant(at) => {
                self.reasons.push((at.key().clone(), rule));
                *at.insert(next)
            }
        }
    }

    /// Ends packets.
    pub fn end(&mut self, cells: Vec<Cell>, verdict: Verdict, text: &str, rule: Option<&RuleRef>) {
        for cell in cells {
            self.ends.push(End { cell, verdict, text: text.to_owned(), rule: rule.cloned() });
        }
    }

    /// Packets that may end here, for a reason, and may go on.
    pub fn may_end(&mut self, cells: &[Cell], why: &str, rule: Option<&RuleRef>) {
        self.end(cells.to_vec(), Verdict::Depends, why, rule);
    }

    /// Leaves only what can be: by a bridge of containers come those behind it. Spoofed senders there are not judged.
    pub fn keep_plausible(&mut self) {
        let bridged = &self.world.bridged;
        if bridged.is_empty() {
            return;
        }
        let all: InterfaceSet = bridged.iter().map(|(i, _)| *i).collect();
        let parts = |src: &AddrSet, iif: &InterfaceSet| -> Vec<(AddrSet, InterfaceSet)> {
            if iif.is_disjoint(&all) {
                return vec![(src.clone(), iif.clone())];
            }
            let mine = bridged.iter().filter(|(i, _)| iif.contains(*i));
            let mut out: Vec<_> = mine.map(|(i, nets)| (src.and(nets), InterfaceSet::from_iter([*i]))).collect();
            out.insert(0, (src.clone(), iif - &all));
            out.retain(|(src, iif)| !src.is_empty() && !iif.is_empty());
            out
        };
        let ends: Vec<End> = self
            .ends
            .iter()
            .flat_map(|e| {
                parts(&e.cell.src, &e.cell.rest.iif).into_iter().map(|(src, iif)| {
                    let mut part = e.clone();
                    (part.cell.src, part.cell.rest.iif) = (src, iif);
                    part
                })
            })
            .collect();
        if ends.is_empty() {
            return;
        }
        self.ends = ends;
        self.passes = std::mem::take(&mut self.passes)
            .into_iter()
            .flat_map(|p| parts(&p.src, &p.iif).into_iter().map(move |(src, iif)| Pass { src, iif, ..p.clone() }))
            .collect();
    }

    /// Where the filter table let packets pass: what ordinary packets from outside meet comes first.
    pub fn passes_in_order(&self) -> Vec<&Pass> {
        let outer = self.world.outer();
        let mut all: Vec<&Pass> = self.passes.iter().collect();
        all.sort_by_key(|p| (p.chance, outer.is_some_and(|o| !p.iif.contains(o))));
        all
    }
}
