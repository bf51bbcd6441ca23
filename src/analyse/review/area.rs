//! The box around the packets of a rule, used to compare rules without walking them.

use range_set_blaze::RangeSetBlaze;

use crate::model::{AddrSet, End, Family, IfaceMatch, Match, PortSet, Proto, Rule, Spec};

/// The packets of a rule as a box. Conditions outside its dimensions make it inexact.
#[derive(Clone, Debug)]
pub struct Area {
    pub src: AddrSet,
    pub dst: AddrSet,
    pub protos: RangeSetBlaze<u8>,
    pub sport: PortSet,
    pub dport: PortSet,
    /// The pattern of each interface; `None` for any.
    pub iif: Option<String>,
    pub oif: Option<String>,
    /// Nothing outside the box's dimensions matters.
    pub exact: bool,
}

/// The box around a rule's packets; `None` if no packet is certain to match the rule.
pub fn area(rule: &Rule, spec: &Spec, family: Family) -> Option<Area> {
    let all_ports = || PortSet::from_iter([0..=u16::MAX]);
    let mut a = Area {
        src: AddrSet::full(family),
        dst: AddrSet::full(family),
        protos: RangeSetBlaze::from_iter([0..=255]),
        sport: all_ports(),
        dport: all_ports(),
        iif: None,
        oif: None,
        exact: !rule.hidden.interfaces && !rule.hidden.cut,
    };
    let side = |not: bool, set: AddrSet| if not { set.complement() } else { set };
    for m in &spec.matches {
        match m {
            Match::Source(not, n) => a.src = a.src.and(&side(*not, AddrSet::from_net(*n)?)),
            Match::Destination(not, n) => a.dst = a.dst.and(&side(*not, AddrSet::from_net(*n)?)),
            Match::Range(not, End::Src, x, y) => a.src = a.src.and(&side(*not, AddrSet::range(*x, *y))),
            Match::Range(not, End::Dst, x, y) => a.dst = a.dst.and(&side(*not, AddrSet::range(*x, *y))),
            Match::Protocol(not, Proto(p)) => {
                let one = RangeSetBlaze::from_iter([*p]);
                a.protos = if *not { &a.protos - &one } else { &a.protos & &one };
            }
            Match::SourcePorts(not, p) => a.sport = &a.sport & &if *not { !p } else { p.clone() },
            Match::DestinationPorts(not, p) => a.dport = &a.dport & &if *not { !p } else { p.clone() },
            Match::InInterface(false, IfaceMatch(i)) if a.iif.is_none() => a.iif = Some(i.clone()),
            Match::OutInterface(false, IfaceMatch(i)) if a.oif.is_none() => a.oif = Some(i.clone()),
            Match::Comment(_) => {}
            // This narrows the rule: what covers the box covers the rule, but the rule does not fill the box.
            _ => a.exact = false,
        }
    }
    Some(a)
}

impl Area {
    pub fn is_everything(&self) -> bool {
        self.exact
            && self.src.is_full()
            && self.dst.is_full()
            && self.protos.len() == 256
            && self.sport.len() == 65_536
            && self.dport.len() == 65_536
            && self.iif.is_none()
            && self.oif.is_none()
    }

    pub fn is_empty(&self) -> bool {
        self.src.is_empty()
            || self.dst.is_empty()
            || self.protos.is_empty()
            || self.sport.is_empty()
            || self.dport.is_empty()
    }

    /// What remains of this box outside another; interfaces must be covered whole.
    pub fn minus(&self, other: &Self) -> Vec<Self> {
        let within = |mine: &Option<String>, theirs: &Option<String>| match (mine, theirs) {
            (_, None) => true,
            (None, Some(t)) => t == "+",
            (Some(m), Some(t)) => {
                m == t || t.strip_suffix('+').is_some_and(|stem| m.trim_end_matches('+').starts_with(stem))
            }
        };
        if !within(&self.iif, &other.iif) || !within(&self.oif, &other.oif) {
            return vec![self.clone()];
        }
        let mut out = Vec::new();
        let mut rest = self.clone();
        let mut part = |rest: &mut Self, change: &dyn Fn(&mut Self), keep: &dyn Fn(&mut Self)| {
            let mut p = rest.clone();
            change(&mut p);
            if !p.is_empty() {
                out.push(p);
            }
            keep(rest);
        };
        part(&mut rest, &|p| p.src = p.src.minus(&other.src), &|r| r.src = r.src.and(&other.src));
        part(&mut rest, &|p| p.dst = p.dst.minus(&other.dst), &|r| r.dst = r.dst.and(&other.dst));
        part(&mut rest, &|p| p.protos = &p.protos - &other.protos, &|r| r.protos = &r.protos & &other.protos);
        part(&mut rest, &|p| p.sport = &p.sport - &other.sport, &|r| r.sport = &r.sport & &other.sport);
        part(&mut rest, &|p| p.dport = &p.dport - &other.dport, &|r| r.dport = &r.dport & &other.dport);
        if rest.is_empty() { vec![self.clone()] } else { out }
    }
}
