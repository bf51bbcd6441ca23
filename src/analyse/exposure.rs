//! Who can reach an endpoint: all sender addresses at once, split into accepted, blocked and *depends*.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cell::{Cell, Rest, Test, split_all};
use super::endpoint::Endpoint;
use super::hooks::{self, Bound};
use super::ifaces::{Ifs, OTHERS, in_words};
use super::reasons::reasons;
use super::trace::{Verdict, port};
use super::walk::{Compiled, End, RuleRef, Walk};
use super::world::{World, loopback};
use crate::model::{AddrSet, Family, OtherFilter, View};

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

    /// Whether everybody gets in by one interface at least. What two let in together, `widest`, may be everybody, and yet
    /// neither lets everybody in.
    pub fn lets_all_in(&self) -> bool {
        self.reach.accepted.is_full() || self.by_interface.values().any(|r| r.accepted.is_full())
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
        alike.sort_by_key(|(names, r)| (r.blocked.is_full(), !r.accepted.is_full(), r.accepted.is_empty(), !names.contains(&OTHERS)));
        alike.iter().map(|(names, r)| {
            let rest: Vec<&str> = self.by_interface.keys().map(String::as_str).filter(|n| !names.contains(n)).collect();
            (in_words(names, &rest), *r)
        }).collect()
    }

    /// By which interfaces those get in that do not by all, in a word or two: `eth0`, `most`, `2 if`.
    pub fn only_by(&self) -> Option<String> {
        let by = |lets: fn(&Reach) -> bool| self.by_interface.iter().filter(|(_, r)| lets(r)).map(|(n, _)| n.as_str()).collect::<Vec<_>>();
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
    fn all(family: Family, verdict: Verdict) -> Self {
        let (mut accepted, mut blocked, mut depends) = (AddrSet::empty(family), AddrSet::empty(family), AddrSet::empty(family));
        match verdict {
            Verdict::Accept => accepted = AddrSet::full(family),
            Verdict::Depends => depends = AddrSet::full(family),
            Verdict::Drop | Verdict::Reject => blocked = AddrSet::full(family),
        }
        Self { accepted, blocked, depends }
    }

    /// The partition that ends make.
    fn of<'e>(family: Family, ends: impl Iterator<Item = &'e End>) -> Self {
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
    fn under(mut self, others: Option<bool>) -> Self {
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

/// Questions about one family of a view; compiled rules are shared between them.
pub(super) struct Engine<'a> {
    pub(super) world: World<'a>,
    compiled: Compiled,
}

impl<'a> Engine<'a> {
    /// `None` when the family's rules are not known.
    pub(super) fn new(view: &'a View, family: Family) -> Option<Self> {
        Some(Self { world: World::new(view, family, &[])?, compiled: Compiled::default() })
    }

    /// Who reaches an endpoint; `None` when the host has no address of the family.
    pub(super) fn exposure(&self, e: &Endpoint) -> Option<Exposure> {
        let (view, family) = (self.world.view, self.world.family);
        let local = match self.world.reachable_local() {
            Ok(set) if set.is_empty() => return None,
            Ok(set) | Err(set) => set,
        };
        let closed = |text: &str| Some(Exposure {
            reach: Reach::all(family, Verdict::Drop),
            because: vec![Because { set: AddrSet::full(family), outcome: Verdict::Drop, text: text.to_owned(), rule: None }],
            by_interface: BTreeMap::new(),
        });
        if !e.listening {
            return closed("nothing listens on this port");
        }
        let Some(dst) = listened(e, family, &local) else {
            return closed(&format!("it does not listen on {}", family.label()));
        };
        if dst.is_empty() {
            return closed("it listens on the loopback address only");
        }
        let mut walk = Walk::new(&self.world, &self.compiled, e.proto, false);
        let iif = self.world.ifaces.outside();
        let cell = Cell {
            src: AddrSet::full(family),
            rest: Rest::arriving(dst, port(e.proto, None), port(e.proto, Some(e.port)), iif.clone()),
        };
        hooks::run(&mut walk, vec![cell], Bound::Local);
        self.without_listener(&mut walk, e);
        let others: Vec<&OtherFilter> = view.other_filters.iter().filter(|o| o.family == family).collect();
        let other = (!others.is_empty()).then(|| others.iter().any(|o| o.rewrites));
        let reach = Reach::of(family, walk.ends.iter()).under(other);
        let mut because = reasons(&walk, &reach, e, other.is_some());
        // One that may rewrite comes first: it concerns what these rules block, too.
        if let Some(o) = others.iter().find(|o| o.rewrites).or(others.first())
            && !reach.depends.is_empty() {
                let text = format!("{} also filters{}", o.what, if o.rewrites { " and may rewrite packets" } else { "" });
                because.insert(0, Because { set: reach.depends.clone(), outcome: Verdict::Depends, text, rule: None });
            }
        let by_interface = self.by_interface(&walk, &iif, other);
        Some(Exposure { reach, because, by_interface })
    }

    /// Packets that come to the host where no socket waits for them are not let in: behind NAT, which may not concern
    /// all packets, and where sockets are bound to an interface (SO_BINDTODEVICE, socket(7)).
    fn without_listener(&self, walk: &mut Walk, e: &Endpoint) {
        let Some(sockets) = &self.world.view.sockets else { return };
        let family = self.world.family;
        for end in std::mem::take(&mut walk.ends) {
            if end.verdict != Verdict::Accept || end.cell.rest.oif.is_some() {
                walk.ends.push(end);
                continue;
            }
            let dports = &end.cell.rest.dport;
            let heard: Vec<Vec<Test>> = sockets.iter().filter(|s| s.proto == e.proto && dports.contains(s.port)).filter_map(|s| {
                let address = match (s.local.is_unspecified(), Family::of(s.local) == family) {
                    (true, true) => None,
                    // A dual-stack socket, or one that may be.
                    (true, false) if s.local.is_ipv6() && s.v6only != Some(true) => None,
                    (false, true) => Some(Test::Dst(AddrSet::single(s.local))),
                    _ => return None,
                };
                let device = s.device.as_ref().map(|d| Test::In(self.world.ifaces.named(d)));
                Some(address.into_iter().chain(device).collect())
            }).collect();
            if heard.iter().any(Vec::is_empty) {
                walk.ends.push(end);
                continue;
            }
            let split = split_all(vec![end.cell], &[Test::OneOf(false, heard)]);
            walk.ends.extend(split.hit.into_iter().map(|cell| End { cell, verdict: end.verdict, text: end.text.clone(), rule: end.rule.clone() }));
            // Where the interfaces are not known, a socket's may be any of them.
            let verdict = if e.devices.is_empty() || self.world.local.is_some() { Verdict::Drop } else { Verdict::Depends };
            let text = match e.devices.as_slice() {
                [] => "nothing listens where the packet arrives".to_owned(),
                names => format!("it listens on interface {} only", names.join(", ")),
            };
            walk.end(split.miss, verdict, &text, None);
        }
    }

    fn by_interface(&self, walk: &Walk, iif: &Ifs, other: Option<bool>) -> BTreeMap<String, Reach> {
        let family = self.world.family;
        let mut out = BTreeMap::new();
        if walk.ends.iter().all(|e| e.cell.rest.iif == *iif) {
            return out;
        }
        for index in iif {
            let mine = walk.ends.iter().filter(|e| e.cell.rest.iif.contains(index));
            out.insert(self.world.ifaces.show(index).to_owned(), Reach::of(family, mine).under(other));
        }
        let first = out.values().next().cloned();
        if out.values().all(|r| Some(r) == first.as_ref()) { BTreeMap::new() } else { out }
    }
}

/// The addresses of the host that the endpoint listens on: `None` for none of this family.
fn listened(e: &Endpoint, family: Family, local: &AddrSet) -> Option<AddrSet> {
    if e.listens.is_empty() {
        return Some(local.clone());
    }
    let mine: Vec<_> = e.listens.iter().filter(|a| Family::of(**a) == family).collect();
    if mine.is_empty() {
        return None;
    }
    if mine.iter().any(|a| a.is_unspecified()) {
        return Some(local.clone());
    }
    let set = mine.iter().fold(AddrSet::empty(family), |acc, a| acc.or(&AddrSet::single(**a)));
    Some(set.minus(&loopback(family)))
}

/// Who reaches each of these, by [`Family::index`]; `None` when the family is not known or not there.
pub fn exposures(view: &View, asked: &[Endpoint]) -> Vec<[Option<Exposure>; 2]> {
    let engines = Family::BOTH.map(|f| Engine::new(view, f));
    asked.iter().map(|e| engines.each_ref().map(|engine| engine.as_ref().and_then(|x| x.exposure(e)))).collect()
}

/// Who reaches an endpoint; `None` when the family is not known or not there.
pub fn exposure(view: &View, endpoint: &Endpoint, family: Family) -> Option<Exposure> {
    Engine::new(view, family)?.exposure(endpoint)
}
