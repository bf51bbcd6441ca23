//! Who reaches an endpoint: a partition of the senders, and why each part fares as it does.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::analyse::surroundings::addresses::net_set;
use crate::analyse::surroundings::interfaces::{OTHERS, in_words};
use crate::analyse::walk::outcomes::End;
use crate::analyse::walk::verdict::{RuleRef, Verdict};
use crate::model::{AddrSet, Family};

/// A partition of the address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// These get in, by every interface, to every address of the endpoint, from every port.
    pub accepted: AddrSet,
    /// These never do.
    pub blocked: AddrSet,
    /// For these the rules alone do not decide.
    pub depends: AddrSet,
}

/// Why a part of the address space fares as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// The part.
    pub set: AddrSet,
    /// How it fares.
    pub outcome: Verdict,
    /// One sentence, e.g. `INPUT policy ACCEPT, no rule matched`.
    pub text: String,
    /// The rule or policy that decides.
    pub rule: Option<RuleRef>,
}

/// Who can reach an endpoint in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Over all interfaces.
    pub reach: Reach,
    /// Why, part by part.
    pub because: Vec<Because>,
    /// Interface by interface, only where they differ.
    pub by_interface: BTreeMap<String, Reach>,
    /// Anyone gets in, by one interface at least that leads to others than containers.
    pub anyone: bool,
    /// By which, where interfaces differ.
    pub anyone_by: Vec<String>,
}

/// Whether so many senders are as good as anyone: three quarters of the addresses used in public, whatever single ones
/// are banned.
pub fn anyone(accepted: &AddrSet) -> bool {
    let family = accepted.family();
    let reserved: &[&str] = match family {
        Family::V4 => &[
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "224.0.0.0/3",
        ],
        Family::V6 => &["::/3", "4000::/2", "8000::/1"],
    };
    let size = |set: &AddrSet| set.spans().map(|(from, to)| (to - from) as f64 + 1.0).sum::<f64>();
    let public = reserved.iter().fold(AddrSet::full(family), |set, n| set.minus(&net_set(n, family)));
    accepted.is_full() || size(&accepted.and(&public)) * 4.0 > size(&public) * 3.0
}

impl Exposure {
    /// Who gets in by the interface that is most open to them: what a sum over the host has to count. In `reach` one
    /// closed bridge makes of the whole Internet *depends*.
    pub fn widest(&self) -> Cow<'_, Reach> {
        if self.by_interface.is_empty() {
            return Cow::Borrowed(&self.reach);
        }
        let family = self.reach.accepted.family();
        let (mut accepted, mut depends) = (AddrSet::empty(family), AddrSet::empty(family));
        for r in self.by_interface.values() {
            accepted.add(&r.accepted);
            depends.add(&r.depends);
        }
        let depends = depends.minus(&accepted);
        Cow::Owned(Reach { blocked: accepted.or(&depends).complement(), accepted, depends })
    }

    /// Whether anyone gets in by one interface at least: the one rule for headlines, counts, findings and JSON. What
    /// two let in together, `widest`, may be everybody, and yet neither lets everybody in.
    pub fn lets_all_in(&self) -> bool {
        self.anyone
    }

    /// By which interfaces anyone gets in, in words; `None` where it is by all.
    pub fn anyone_by_in_words(&self) -> Option<String> {
        let open: Vec<&str> = self.anyone_by.iter().map(String::as_str).collect();
        let rest: Vec<&str> = self.by_interface.keys().map(String::as_str).filter(|n| !open.contains(n)).collect();
        (!open.is_empty()).then(|| in_words(&open, &rest))
    }

    /// How a part of the senders fares by the interface that is most open to it.
    pub fn at_best(&self, part: &Because) -> Verdict {
        // All of a part fare alike.
        let first = part.set.first().filter(|_| part.outcome == Verdict::Depends);
        let by_some = first.is_some_and(|a| self.by_interface.values().any(|r| r.accepted.contains(a)));
        if by_some { Verdict::Accept } else { part.outcome }
    }

    /// Interfaces that fare alike, in words (`any interface but docker0`), the most open first.
    pub fn ways(&self) -> Vec<(String, &Reach)> {
        let mut alike: Vec<(Vec<&str>, &Reach)> = Vec::new();
        for (name, r) in &self.by_interface {
            match alike.iter_mut().find(|(_, other)| *other == r) {
                Some((names, _)) => names.push(name),
                None => alike.push((vec![name], r)),
            }
        }
        alike.sort_by_key(|(names, r)| {
            (r.blocked.is_full(), !r.accepted.is_full(), r.accepted.is_empty(), !names.contains(&OTHERS))
        });
        alike
            .iter()
            .map(|(names, r)| {
                let rest: Vec<&str> =
                    self.by_interface.keys().map(String::as_str).filter(|n| !names.contains(n)).collect();
                (in_words(names, &rest), *r)
            })
            .collect()
    }

    /// By which interfaces those get in that do not by all, in a word or two: `eth0`, `most`, `2 if`.
    pub fn only_by(&self) -> Option<String> {
        let by = |lets: fn(&Reach) -> bool| {
            self.by_interface.iter().filter(|(_, r)| lets(r)).map(|(n, _)| n.as_str()).collect::<Vec<_>>()
        };
        let mut open = by(|r| r.accepted.is_full());
        if open.is_empty() {
            open = by(|r| !r.accepted.is_empty());
        }
        match open.as_slice() {
            [] => None,
            names if names.contains(&OTHERS) => Some("most".to_owned()),
            [one] => Some((*one).to_owned()),
            more => Some(format!("{} if", more.len())),
        }
    }
}

impl Reach {
    /// All senders fare alike.
    pub fn all(family: Family, verdict: Verdict) -> Self {
        let (mut accepted, mut blocked, mut depends) =
            (AddrSet::empty(family), AddrSet::empty(family), AddrSet::empty(family));
        match verdict {
            Verdict::Accept => accepted = AddrSet::full(family),
            Verdict::Depends => depends = AddrSet::full(family),
            Verdict::Drop | Verdict::Reject => blocked = AddrSet::full(family),
        }
        Self { accepted, blocked, depends }
    }

    /// The partition that ends make.
    pub fn of<'e>(family: Family, ends: impl Iterator<Item = &'e End>) -> Self {
        let (mut in_, mut out) = (AddrSet::empty(family), AddrSet::empty(family));
        for e in ends {
            if e.verdict == Verdict::Accept || e.verdict == Verdict::Depends {
                in_.add(&e.cell.src);
            }
            if e.verdict != Verdict::Accept {
                out.add(&e.cell.src);
            }
        }
        Self { accepted: in_.minus(&out), blocked: out.minus(&in_), depends: in_.and(&out) }
    }

    /// Accept becomes *depends* where something else filters too, and so does blocked where it may rewrite.
    #[must_use]
    pub fn under(mut self, others: Option<bool>) -> Self {
        if let Some(rewrites) = others {
            self.depends = self.depends.or(&self.accepted);
            self.accepted = AddrSet::empty(self.accepted.family());
            if rewrites {
                self.depends = self.depends.or(&self.blocked);
                self.blocked = AddrSet::empty(self.blocked.family());
            }
        }
        self
    }
}
