//! Who can reach an endpoint: all sender addresses at once, split into accepted, blocked and *depends*.

use std::collections::BTreeMap;

use crate::analyse::answers::engine::Engine;
use crate::analyse::answers::reach::{Because, Exposure, Reach, anyone};
use crate::analyse::answers::reasons::reasons;
use crate::analyse::inventory::endpoint::Endpoint;
use crate::analyse::packets::cell::{Cell, Rest, port, split_all};
use crate::analyse::packets::test::Test;
use crate::analyse::surroundings::addresses::loopback;
use crate::analyse::surroundings::bridges::of_containers;
use crate::analyse::surroundings::interfaces::{InterfaceSet, OTHERS};
use crate::analyse::walk::chains::Walk;
use crate::analyse::walk::hooks::{self, Bound};
use crate::analyse::walk::outcomes::End;
use crate::analyse::walk::verdict::Verdict;
use crate::model::{AddrSet, Family, OtherFilter};

impl Engine<'_> {
    /// Who reaches an endpoint; `None` when the host has no address of the family.
    pub fn exposure(&self, e: &Endpoint) -> Option<Exposure> {
        let (view, family) = (self.world.view, self.world.family);
        let local = match self.world.reachable_local() {
            Ok(set) if set.is_empty() => return None,
            Ok(set) | Err(set) => set,
        };
        let closed = |text: &str| {
            Some(Exposure {
                reach: Reach::all(family, Verdict::Drop),
                because: vec![Because {
                    set: AddrSet::full(family),
                    outcome: Verdict::Drop,
                    text: text.to_owned(),
                    rule: None,
                }],
                by_interface: BTreeMap::new(),
                anyone: false,
                anyone_by: Vec::new(),
            })
        };
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
        let by_interface = self.by_interface(&walk, &iif, other);
        let reach = Reach::of(family, walk.out.ends.iter()).under(other);
        let mut because = reasons(&walk, &reach, e, other.is_some());
        // One that may rewrite comes first: it concerns what these rules block, too.
        if let Some(o) = others.iter().find(|o| o.rewrites).or(others.first())
            && !reach.depends.is_empty()
        {
            let text = format!("{} also filters{}", o.what, if o.rewrites { " and may rewrite packets" } else { "" });
            because.insert(0, Because { set: reach.depends.clone(), outcome: Verdict::Depends, text, rule: None });
        }
        let anyone_by = self.anyone_by(&by_interface);
        let anyone = !anyone_by.is_empty() || by_interface.is_empty() && anyone(&reach.accepted);
        Some(Exposure { reach, because, by_interface, anyone, anyone_by })
    }

    /// The interfaces by which anyone gets in, where they differ. By a bridge of containers come those behind it.
    /// Interfaces that no rule names may not be there: where one that is named keeps strangers out, it leads outside.
    fn anyone_by(&self, by: &BTreeMap<String, Reach>) -> Vec<String> {
        let containers = of_containers(self.world.rules);
        let outside = || by.iter().filter(|(name, _)| !containers(name));
        let guarded = outside().any(|(name, r)| name != OTHERS && !anyone(&r.accepted));
        outside()
            .filter(|(name, r)| anyone(&r.accepted) && !(guarded && *name == OTHERS))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Packets that come to the host where no socket waits for them are not let in: behind NAT, which may not concern
    /// all packets, and where sockets are bound to an interface (SO_BINDTODEVICE, socket(7)).
    fn without_listener(&self, walk: &mut Walk, e: &Endpoint) {
        let Some(sockets) = &self.world.view.sockets else { return };
        let family = self.world.family;
        for end in std::mem::take(&mut walk.out.ends) {
            if end.verdict != Verdict::Accept || end.cell.rest.oif.is_some() {
                walk.out.ends.push(end);
                continue;
            }
            let dports = &end.cell.rest.dport;
            let heard: Vec<Vec<Test>> = sockets
                .iter()
                .filter(|s| s.proto == e.proto && dports.contains(s.port))
                .filter_map(|s| {
                    let address = match (s.local.is_unspecified(), Family::of(s.local) == family) {
                        (true, true) => None,
                        // A dual-stack socket, or one that may be.
                        (true, false) if s.local.is_ipv6() && s.v6only != Some(true) => None,
                        (false, true) => Some(Test::Dst(AddrSet::single(s.local))),
                        _ => return None,
                    };
                    let device = s.device.as_ref().map(|d| Test::In(self.world.ifaces.named(d)));
                    Some(address.into_iter().chain(device).collect())
                })
                .collect();
            if heard.iter().any(Vec::is_empty) {
                walk.out.ends.push(end);
                continue;
            }
            let split = split_all(vec![end.cell], &[Test::OneOf(false, heard)]);
            walk.out.ends.extend(split.hit.into_iter().map(|cell| End {
                cell,
                verdict: end.verdict,
                text: end.text.clone(),
                rule: end.rule.clone(),
            }));
            // Where the interfaces are not known, a socket's may be any of them.
            let verdict =
                if e.devices.is_empty() || self.world.local.is_some() { Verdict::Drop } else { Verdict::Depends };
            let text = match e.devices.as_slice() {
                [] => "nothing listens where the packet arrives".to_owned(),
                names => format!("it listens on interface {} only", names.join(", ")),
            };
            walk.out.end(split.miss, verdict, &text, None);
        }
    }

    fn by_interface(&self, walk: &Walk, iif: &InterfaceSet, other: Option<bool>) -> BTreeMap<String, Reach> {
        let family = self.world.family;
        let mut out = BTreeMap::new();
        if walk.out.ends.iter().all(|e| e.cell.rest.iif == *iif) {
            return out;
        }
        for index in iif {
            let mine = walk.out.ends.iter().filter(|e| e.cell.rest.iif.contains(index));
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
