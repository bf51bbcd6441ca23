//! The content of our chains: one rule text per (node, port) of the plan, as `iptables-save` prints it.

use std::collections::BTreeSet;

use crate::analyse::Analysis;
use crate::model::{Action, Family, Goal, Net, Plan, PlanRule, Proto, View, quote};

/// Why a plan cannot be applied to this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PlanError {
    /// One sentence.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl PlanError {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// The rules of one family, for each door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// For the host's own ports and what NAT sends to the host itself; jumped to from INPUT.
    pub input: Vec<String>,
    /// For published ports; jumped to from DOCKER-USER or FORWARD.
    pub forward: Vec<String>,
}

/// A port and the way to it.
pub(super) struct Target {
    pub(super) proto: Proto,
    pub(super) port: u16,
    pub(super) published: bool,
    name: String,
    /// Whether NAT sends it to the host itself, or may do so.
    here: bool,
}

/// The content for one family.
pub fn content(analysis: &Analysis, plan: &Plan, family: Family) -> Result<Content, PlanError> {
    let view = analysis.view();
    let mut out = Content::default();
    let published: BTreeSet<(Proto, u16)> = plan
        .rules
        .iter()
        .flat_map(|r| &r.to)
        .flat_map(|goal| match goal {
            Goal::Published(proto, port) => Goal::protos(*proto).into_iter().map(|p| (p, *port)).collect(),
            _ => Vec::new(),
        })
        .collect();
    let here = analysis.nat_leads_here(family, published.into_iter().collect());
    for rule in &plan.rules {
        for goal in &rule.to {
            for mut target in targets(view, goal)? {
                target.here = target.published && here.contains(&(target.proto, target.port));
                add(&mut out, rule, &target, family)?;
            }
        }
    }
    if !out.input.is_empty() && uses_conntrack(view) {
        // Replies to the host's own sockets: a former RPC port may be a local port by now.
        out.input.insert(0, REPLIES.to_owned());
    }
    Ok(out)
}

/// The ports that a goal means on a host; none if they are not known.
pub fn ports(view: &View, goal: &Goal) -> Vec<(Proto, u16)> {
    targets(view, goal).unwrap_or_default().into_iter().map(|t| (t.proto, t.port)).collect()
}

pub(super) fn targets(view: &View, goal: &Goal) -> Result<Vec<Target>, PlanError> {
    match goal {
        Goal::Port(proto, port) => Ok(Goal::protos(*proto)
            .into_iter()
            .map(|p| Target { proto: p, port: *port, published: false, name: goal.to_string(), here: false })
            .collect()),
        Goal::Published(proto, port) => Ok(Goal::protos(*proto)
            .into_iter()
            .map(|p| Target { proto: p, port: *port, published: true, name: goal.to_string(), here: false })
            .collect()),
        Goal::Service(name) => {
            let Some(all) = &view.rpc else {
                return Err(PlanError::new(
                    format!("the ports of {name} are not known: rpcinfo was not read"),
                    "name the port instead, e.g. 111/tcp",
                ));
            };
            let found: Vec<Target> = all
                .iter()
                .filter(|s| s.name == *name || (s.program == 100_000 && matches!(name.as_str(), "rpcbind" | "sunrpc")))
                .map(|s| Target { proto: s.proto, port: s.port, published: false, name: name.clone(), here: false })
                .collect();
            if found.is_empty() {
                let mut known: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
                known.sort_unstable();
                known.dedup();
                let hint = if known.is_empty() {
                    "no RPC service is registered; name the port instead, e.g. 111/tcp".to_owned()
                } else {
                    format!("registered are: {}", known.join(", "))
                };
                return Err(PlanError::new(format!("no RPC service is called {name}"), hint));
            }
            Ok(found)
        }
    }
}

fn add(out: &mut Content, rule: &PlanRule, target: &Target, family: Family) -> Result<(), PlanError> {
    for node in &rule.from {
        if let crate::model::Node::Name(name, addrs) = node
            && addrs.is_empty()
        {
            return Err(PlanError::new(format!("{name} is not resolved"), "check the spelling, or give the address"));
        }
        let sources: Vec<Option<Net>> =
            node.nets(family).map_or_else(|| vec![None], |nets| nets.into_iter().map(Some).collect());
        for source in sources {
            let text = format!("portcullis: {} {}", rule.action.word(), target.name);
            // Packets for a port published by a user-space proxy come in through INPUT, as well or instead.
            push(&mut out.input, line(rule.action, source, target, false, &text, family));
            if target.published {
                let translated = line(rule.action, source, target, true, &text, family);
                if target.here {
                    push(&mut out.input, translated.clone());
                }
                push(&mut out.forward, translated);
            }
        }
    }
    Ok(())
}

/// The same text twice in one chain has no effect.
fn push(rules: &mut Vec<String>, line: String) {
    if !rules.contains(&line) {
        rules.push(line);
    }
}

fn line(action: Action, source: Option<Net>, t: &Target, translated: bool, comment: &str, family: Family) -> String {
    let from = source.filter(|n| n.prefix() != Some(0)).map_or_else(String::new, |n| format!("-s {n} "));
    let to = if translated {
        format!("-p {} -m conntrack --ctstate DNAT --ctorigdstport {} --ctdir ORIGINAL", t.proto, t.port)
    } else {
        format!("-p {0} -m {0} --dport {1}", t.proto, t.port)
    };
    let verdict = match (action, family) {
        (Action::Allow, _) => "ACCEPT",
        (Action::Drop, _) => "DROP",
        (Action::Reject, Family::V4) => "REJECT --reject-with icmp-port-unreachable",
        (Action::Reject, Family::V6) => "REJECT --reject-with icmp6-port-unreachable",
    };
    format!("{from}{to} -m comment --comment {} -j {verdict}", quote(comment))
}

/// Our first rule for packets to this host: replies to its own sockets are accepted.
pub(super) const REPLIES: &str = "-m conntrack --ctdir REPLY -j RETURN";

/// Whether the loaded rules use connection tracking; naming it when they do not would switch it on.
fn uses_conntrack(view: &View) -> bool {
    Family::BOTH.iter().filter_map(|&f| view.rules(f)).flat_map(|r| &r.tables).any(|t| {
        let rules = || t.chains.iter().flat_map(|c| &c.rules);
        (t.name == "nat" && rules().next().is_some())
            || rules().any(|r| {
                r.jumps_to().is_some_and(|to| to == "CONNMARK")
                    || r.modules().any(|m| matches!(&*m, "conntrack" | "state" | "connmark" | "connlimit"))
            })
    })
}

/// Advises closing a service where that is better than filtering it: NFS version 4 needs no rpcbind.
pub fn closing_is_better(view: &View) -> Option<&'static str> {
    let rpc = view.rpc.as_ref()?;
    let only_v4 = rpc.iter().any(|s| s.name == "nfs")
        && rpc.iter().filter(|s| s.name == "nfs").all(|s| s.versions.iter().all(|&v| v >= 4))
        && !rpc.iter().any(|s| s.name == "mountd");
    only_v4.then_some(
        "NFS version 4 alone needs no rpcbind: `systemctl disable --now rpcbind.socket rpcbind` closes port 111 for \
            good",
    )
}
