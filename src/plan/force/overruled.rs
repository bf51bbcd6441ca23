//! Other rules before our jump, and whether they decide packets that a plan is about: compares how the senders to each
//! port fare now with how they would if our rules came first.

use crate::analyse::{Analysis, Endpoint, EndpointKind, Exposure, Packet, Reach, alone};
use crate::model::{AddrSet, Family, Match, Proto, Rule, Ruleset, Target, View};

use super::super::slots::{FamilyChange, standing};
use super::{Fault, Way};

/// The chain where packets start on their way to our jump.
fn base(forwarded: bool) -> &'static str {
    if forwarded { "FORWARD" } else { "INPUT" }
}

/// The doors of a change whose jump exists but is not the first rule that packets meet.
fn behind_others(change: &FamilyChange, set: &Ruleset) -> Vec<(bool, String, usize)> {
    change
        .doors
        .iter()
        .filter(|d| d.new.is_some())
        .filter_map(|d| {
            let (parent, at) = standing(set, d.is_forwarded()).jump?;
            let base = base(d.is_forwarded());
            let to_parent = format!("-j {parent}");
            let first = at == 1
                && (parent == base
                    || set
                        .chain("filter", base)
                        .is_some_and(|c| c.rules.first().is_some_and(|r| *r.text == *to_parent)));
            (!first).then_some((d.is_forwarded(), parent, at))
        })
        .collect()
}

/// Whether anything comes before a jump of ours: only then does the rest of the host matter.
pub fn something_before(families: &[FamilyChange], view: &View) -> bool {
    families.iter().any(|c| view.rules(c.family()).is_some_and(|set| !behind_others(c, set).is_empty()))
}

/// A port that a plan is about, and the senders whom it lets in there.
struct Spoken {
    proto: Proto,
    port: u16,
    allowed: AddrSet,
}

/// The ports that the rules of a change name. A hand-written rule without a port is skipped.
fn spoken(change: &FamilyChange) -> Vec<Spoken> {
    let family = change.family();
    let mut out: Vec<Spoken> = Vec::new();
    for text in change.doors.iter().flat_map(|d| &d.rules) {
        let spec = Rule::new(text).spec(family);
        let proto = spec.matches.iter().find_map(|m| if let Match::Protocol(false, p) = m { Some(*p) } else { None });
        let port = spec.matches.iter().find_map(|m| match m {
            Match::DestinationPorts(false, ports) => ports.first(),
            Match::CtOrigDstPort(false, ports) => Some(*ports.start()),
            _ => None,
        });
        let (Some(proto), Some(port)) = (proto, port) else { continue };
        let at = out.iter().position(|s| (s.proto, s.port) == (proto, port)).unwrap_or_else(|| {
            out.push(Spoken { proto, port, allowed: AddrSet::empty(family) });
            out.len() - 1
        });
        if spec.target == Target::Accept {
            let from = spec
                .matches
                .iter()
                .find_map(|m| if let Match::Source(false, net) = m { AddrSet::from_net(*net) } else { None });
            out[at].allowed.add(&from.unwrap_or_else(|| AddrSet::full(family)));
        }
    }
    out
}

/// What decides before our rules, in one family.
pub(super) fn overruled(change: &FamilyChange, view: &View) -> Vec<Fault> {
    let family = change.family();
    let Some(set) = view.rules(family) else { return Vec::new() };
    let behind = behind_others(change, set);
    let spoken = spoken(change);
    if behind.is_empty() || spoken.is_empty() {
        return Vec::new();
    }
    // Whether a program listens does not matter here: one may at any time.
    let known = View {
        addrs: view.addrs.clone(),
        routes: view.routes.clone(),
        ipsets: view.ipsets.clone(),
        forwarding: view.forwarding,
        route_localnet: view.route_localnet.clone(),
        at: view.at,
        v4: (family == Family::V4).then(|| set.clone()),
        v6: (family == Family::V6).then(|| set.clone()),
        ..View::empty(view.source, "")
    };
    let now = alone(&known).into_owned();
    let first = ours_first(&now, family, &behind);
    let (now, first) = (Analysis::new(&now), Analysis::new(&first));
    let mut out: Vec<Fault> = Vec::new();
    for s in &spoken {
        let port = Endpoint::new(EndpointKind::Rule, "", s.proto, s.port);
        let (Some(is), Some(would)) = (now.exposure(&port, family), first.exposure(&port, family)) else { continue };
        let Some((way, who, on)) = compared(s, &is, &would) else { continue };
        let rule = decider(&now, s, &who, on.as_deref());
        let known = out.iter_mut().find_map(|f| match f {
            Fault::Overruled { rule: r, way: w, on: o, ports, .. } if *r == rule && *w == way && *o == on => {
                Some(ports)
            }
            _ => None,
        });
        match known {
            Some(ports) => ports.push((s.proto, s.port)),
            None => out.push(Fault::Overruled { family, rule, ports: vec![(s.proto, s.port)], on, way }),
        }
    }
    out
}

/// The host as it would be if our jumps were the first rules that packets meet.
fn ours_first(now: &View, family: Family, behind: &[(bool, String, usize)]) -> View {
    let mut first = now.clone();
    let set = match family {
        Family::V4 => first.v4.as_mut(),
        Family::V6 => first.v6.as_mut(),
    };
    let Some(filter) = set.and_then(|s| s.table_mut("filter")) else { return first };
    for (forwarded, parent, at) in behind {
        let Some(jump) = filter.chain_mut(parent).map(|c| c.rules.remove(at - 1)) else { continue };
        if let Some(chain) = filter.chain_mut(base(*forwarded)) {
            chain.rules.insert(0, jump);
        }
    }
    first
}

/// How senders fare on each interface; one entry without a name if they are all alike.
fn by_interface<'x>(x: &'x Exposure, names: &[&'x str]) -> Vec<(Option<&'x str>, &'x Reach)> {
    if names.is_empty() {
        vec![(None, &x.reach)]
    } else {
        names.iter().map(|n| (Some(*n), x.by_interface.get(*n).unwrap_or(&x.reach))).collect()
    }
}

/// What the rules before ours do to a port, an example of a sender, and the interface unless on all.
fn compared(s: &Spoken, is: &Exposure, would: &Exposure) -> Option<(Way, AddrSet, Option<String>)> {
    let mut names: Vec<&str> = is.by_interface.keys().chain(would.by_interface.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let pairs: Vec<_> = by_interface(is, &names)
        .into_iter()
        .zip(by_interface(would, &names))
        .map(|((on, is), (_, would))| (on, is, would))
        .collect();
    let on =
        |some: &[Option<&str>]| some.first().copied().flatten().filter(|_| some.len() < pairs.len()).map(str::to_owned);
    let opened: Vec<_> = pairs.iter().filter(|(_, is, would)| !would.blocked.minus(&is.blocked).is_empty()).collect();
    if let Some((_, is, would)) = opened.first() {
        return Some((
            Way::Opens,
            would.blocked.minus(&is.blocked),
            on(&opened.iter().map(|o| o.0).collect::<Vec<_>>()),
        ));
    }
    // Those whom the plan lets in, and those of them whom an earlier rule blocks.
    let meant = |would: &Reach| would.accepted.and(&s.allowed);
    let cut: Vec<_> = pairs.iter().filter(|(_, is, would)| meant(would).meets(&is.blocked)).collect();
    let (_, is, would) = cut.first()?;
    let all = pairs.iter().all(|(_, is, would)| meant(would).minus(&is.blocked).is_empty());
    Some((
        if all { Way::Closes } else { Way::Narrows },
        meant(would).and(&is.blocked),
        on(&cut.iter().map(|o| o.0).collect::<Vec<_>>()),
    ))
}

/// The rule or policy that decides about one of these senders.
fn decider(now: &Analysis, s: &Spoken, who: &AddrSet, on: Option<&str>) -> String {
    let Some(src) = who.first() else { return String::new() };
    let named = |i: &&str| now.view().addrs.iter().flatten().any(|a| a.interface == *i);
    let packet = Packet { interface: on.filter(named).map(str::to_owned), ..Packet::new(src, s.proto, Some(s.port)) };
    let told = now.trace(&packet);
    told.decides().and_then(|at| told.path.get(at)).map_or(told.why.clone(), |step| step.text.clone())
}
