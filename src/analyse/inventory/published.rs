//! Ports that NAT publishes (Docker, Podman, CNI, Kubernetes NodePort, REDIRECT), and ports that rules name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::analyse::inventory::endpoint::{Endpoint, EndpointKind};
use crate::analyse::inventory::named::listed;
use crate::analyse::inventory::ownership::{Manager, rule_owner};
use crate::analyse::inventory::sockets::{add_doors, name_of};
use crate::model::{Chain, Family, Match, Net, Proto, Rule, Spec, Table, Target, View};

/// Published ports of both families, one per (protocol, port).
pub fn endpoints(view: &View) -> Vec<Endpoint> {
    let mut out: BTreeMap<(u16, Proto), Endpoint> = BTreeMap::new();
    for family in Family::BOTH {
        let Some(nat) = view.rules(family).and_then(|r| r.table("nat")) else { continue };
        for chain in &nat.chains {
            for rule in &chain.rules {
                publish(view, family, nat, chain, rule, &mut out);
            }
        }
    }
    let mut list: Vec<Endpoint> = out.into_values().collect();
    for e in &mut list {
        add_doors(view, e);
        e.listens.sort();
        e.listens.dedup();
    }
    list
}

/// Only these rules can publish a port: a look at their words avoids parsing every rule of a large nat table.
fn may_publish(chain: &Chain, rule: &Rule) -> bool {
    let translates = || rule.jumps_to().is_some_and(|to| matches!(&*to, "DNAT" | "REDIRECT"));
    (rule.has("--dport") || rule.has("--dports")) && (chain.name == "KUBE-NODEPORTS" || translates())
}

fn publish(
    view: &View,
    family: Family,
    nat: &Table,
    chain: &Chain,
    rule: &Rule,
    out: &mut BTreeMap<(u16, Proto), Endpoint>,
) {
    if !may_publish(chain, rule) || chain.name == "OUTPUT" {
        return;
    }
    let spec = rule.spec(family);
    let Some((proto, ports, dst)) = asked(&spec) else { return };
    // A rule for the loopback interface alone serves only the host itself.
    if spec.matches.iter().any(|m| matches!(m, Match::InInterface(false, i) if i.0 == "lo")) {
        return;
    }
    let owner = rule_owner(&chain.name, rule);
    for port in ports {
        let to = destinations(nat, &spec, family, port, 0);
        let named = view
            .published_names
            .iter()
            .find(|n| n.proto == proto && n.host_port == port && n.addr.is_none_or(|a| to.iter().any(|(t, _)| *t == a)))
            .map(|n| n.name.clone());
        let name = named
            .or_else(|| name_of(view, port, proto))
            .or_else(|| rule.comment().map(|c| short(&c)))
            .or_else(|| redirect_name(&spec))
            .or_else(|| to.first().map(|(a, p)| show(*a, *p)))
            .unwrap_or_else(|| owner.map_or("published", Manager::label).to_owned());
        let e = out
            .entry((port, proto))
            .or_insert_with(|| Endpoint { owner, ..Endpoint::new(EndpointKind::Published, &name, proto, port) });
        let listen = dst.map_or(any(family), |n| n.ip());
        if !e.listens.contains(&listen) {
            e.listens.push(listen);
        }
        for t in to {
            if !e.dnat_to.contains(&t) {
                e.dnat_to.push(t);
            }
        }
    }
}

fn any(family: Family) -> IpAddr {
    Net::any(family).ip()
}

fn show(addr: IpAddr, port: u16) -> String {
    match addr {
        IpAddr::V4(a) => format!("{a}:{port}"),
        IpAddr::V6(a) => format!("[{a}]:{port}"),
    }
}

fn redirect_name(spec: &Spec) -> Option<String> {
    match &spec.target {
        Target::Redirect(ports) => {
            Some(ports.as_ref().map_or("redirect".to_owned(), |p| format!("redirect to {}", p.start())))
        }
        _ => None,
    }
}

/// kube-proxy writes `ns/service:port`, portmap `dnat name: "net" id: "..."`.
fn short(comment: &str) -> String {
    comment.split_whitespace().next().unwrap_or("published").to_owned()
}

/// Protocol, ports and destination that a rule matches on.
fn asked(spec: &Spec) -> Option<(Proto, Vec<u16>, Option<Net>)> {
    let (mut proto, mut ports, mut dst) = (None, None, None);
    for m in &spec.matches {
        match m {
            Match::Protocol(false, p) => proto = Some(*p),
            Match::DestinationPorts(false, p) => ports = Some(listed(p)),
            Match::Destination(false, n) if n.mask != 0 => dst = Some(*n),
            _ => {}
        }
    }
    Some((proto?, ports?, dst))
}

/// Where a rule sends packets: by its own DNAT, or by those of the chains it jumps to (Kubernetes).
fn destinations(nat: &Table, spec: &Spec, family: Family, port: u16, depth: usize) -> Vec<(IpAddr, u16)> {
    match &spec.target {
        Target::Dnat(Some(to)) => {
            let p = to.ports.as_ref().map_or(port, |r| *r.start());
            to.addrs.map(|(a, _)| vec![(a, p)]).unwrap_or_default()
        }
        Target::Jump(name, _) | Target::Goto(name) if depth < 6 => nat
            .chain(name)
            .map(|c| {
                c.rules
                    .iter()
                    .flat_map(|r| destinations(nat, &r.spec(family), family, port, depth + 1))
                    .take(16)
                    .collect()
            })
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}
