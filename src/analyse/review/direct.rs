//! Containers that can be reached at their own address, bypassing their published ports: in Docker's routed mode and,
//! before Docker 28, in other modes too. A neighbour only needs a route to the container's network through this host.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::analyse::Analysis;
use crate::analyse::answers::gets_in::reaches;
use crate::analyse::review::finding::{Finding, FindingCode, Judged, MAX_NAMED};
use crate::analyse::surroundings::bridges::of_containers;
use crate::model::{AddrSet, Family, Match, Net, Proto, Source, Spec, Target};

/// A rule by which Docker opens a container: its number, and what it lets in.
struct Door {
    rule: usize,
    to: Net,
    proto: Proto,
    port: u16,
    bridge: String,
}

/// Reports containers that are more open directly than by their published ports.
pub fn direct(analysis: &Analysis, judged: &[Judged], out: &mut Vec<Finding>) {
    let view = analysis.view();
    for family in Family::BOTH {
        let (Some(rules), Some(engine)) = (view.rules(family), analysis.engine(family)) else { continue };
        // Without the nat table it is unknown what is published; with another filter this one does not decide.
        let unknown = view.source == Source::Capture && rules.table("nat").is_none();
        if unknown || view.other_filters.iter().any(|o| o.family == family) {
            continue;
        }
        // Docker 28 and newer guard there.
        let raw = rules.table("raw").map_or(view.source == Source::Capture, |t| t.partial || t.unreadable);
        let unless = if raw { ", unless the table raw, which is not known, drops it" } else { "" };
        let mut published: HashMap<(Proto, IpAddr, u16), Vec<&Judged>> = HashMap::new();
        for j in judged {
            for (to, port) in &j.endpoint.dnat_to {
                published.entry((j.endpoint.proto, *to, *port)).or_default().push(j);
            }
        }
        let published = |d: &Door| published.get(&(d.proto, d.to.ip(), d.port)).map(Vec::as_slice).unwrap_or_default();
        let containers = of_containers(rules);
        let let_in = |d: &Door| {
            published(d).iter().filter_map(|j| j.exposure[family.index()].as_ref()).fold(
                AddrSet::empty(family),
                |acc, x| {
                    let outer = x.by_interface.iter().filter(|(name, _)| !containers(name)).map(|(_, r)| &r.accepted);
                    outer.fold(acc.or(&x.reach.accepted), |acc, r| acc.or(r))
                },
            )
        };
        let doors: Vec<(Door, AddrSet)> = rules
            .chain("filter", "DOCKER")
            .map(|c| c.rules.as_slice())
            .unwrap_or_default()
            .iter()
            .enumerate()
            .filter(|(_, r)| r.has("--dport"))
            .filter_map(|(at, r)| door(at + 1, &r.spec(family)))
            .map(|d| {
                let known = let_in(&d);
                (d, known)
            })
            .filter(|(_, known)| !known.is_full())
            .collect();
        let asked: Vec<(Proto, u16, Net)> = doors.iter().map(|(d, _)| (d.proto, d.port, d.to)).collect();
        let open: Vec<(&Door, AddrSet)> = doors
            .iter()
            .zip(reaches(engine, &asked))
            .filter(|((_, known), who)| !who.minus(known).is_empty())
            .map(|((d, _), who)| (d, who))
            .collect();
        for (d, who) in open.iter().take(MAX_NAMED) {
            let (addr, bridge) = (d.to.ip(), &d.bridge);
            let who = match who.cidrs().as_slice() {
                _ if who.is_full() => "anyone".to_owned(),
                [only] => only.to_string(),
                all => format!("{} and {} other networks", all[0], all.len() - 1),
            };
            let at = published(d).first().map(|j| j.endpoint.label());
            let how = format!(
                "{} DOCKER rule {} lets {who} reach {addr} port {}/{} directly",
                family.label(),
                d.rule,
                d.port,
                d.proto
            );
            let message = if at.is_some() {
                let tool = family.tool("");
                format!(
                    "{how}, past what guards its published port{unless}: a neighbour needs only a route to it by this \
                    host. Unless that is meant so (routed networks), Docker 28 or `{tool} -t raw -I PREROUTING -d {} \
                    ! -i {bridge} -j DROP` closes it.",
                    d.to
                )
            } else {
                format!(
                    "{how}, without a published port{unless}: a neighbour needs only a route to it by this host. \
                    Filter it in DOCKER-USER by that address."
                )
            };
            out.push(Finding { code: FindingCode::DirectContainer, endpoint: at, message });
        }
        if let Some(more @ 1..) = open.len().checked_sub(MAX_NAMED) {
            out.push(Finding {
                code: FindingCode::DirectContainer,
                endpoint: None,
                message: format!("{more} more ports of containers are reached directly over {}.", family.label()),
            });
        }
    }
}

/// `-d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT`
fn door(rule: usize, spec: &Spec) -> Option<Door> {
    let (mut to, mut proto, mut port, mut bridge) = (None, None, None, None);
    for m in &spec.matches {
        match m {
            Match::Destination(false, n) if n.prefix() == Some(n.family.bits()) => to = Some(*n),
            Match::Protocol(false, p) => proto = Some(*p),
            Match::DestinationPorts(false, p) => port = p.first(),
            Match::OutInterface(false, i) => bridge = Some(i.0.clone()),
            _ => {}
        }
    }
    (spec.target == Target::Accept).then_some(Door { rule, to: to?, proto: proto?, port: port?, bridge: bridge? })
}
