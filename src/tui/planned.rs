//! A staged plan worked out for the host that was seen: change, exposure after, checks. Pure.

use super::shared::{ChainRow, Check, Planned, Seen};
use crate::analyse::{self, Access, EndpointKind, Judged, Packet, Verdict, lockout, owner, report, shadowed, trace};
use crate::model::{Action, Family, Goal, Node, Plan, View};
use crate::plan::{self, Change};

/// What a view means, for the screens.
pub fn seen(view: View, kept: Plan) -> Seen {
    let report = report(&view);
    let chains = Family::BOTH.map(|f| view.rules(f).map(|set| {
        let mut rows: Vec<ChainRow> = set.tables.iter().flat_map(|t| t.chains.iter().map(move |c| ChainRow {
            table: t.name.clone(), chain: c.name.clone(), owner: owner(&c.name), rules: c.rules.len(),
        })).collect();
        // filter first: that is where one looks; built-in chains, then by owner, each in the order of the source.
        let order = |t: &str| ["filter", "nat", "mangle", "raw", "security"].iter().position(|n| *n == t).unwrap_or(9);
        let built_in = |r: &ChainRow| crate::model::Table::builtin_chains(&r.table).contains(&r.chain.as_str());
        rows.sort_by_key(|r| (order(&r.table), !built_in(r), r.owner.map_or("", analyse::Manager::label)));
        rows
    }).unwrap_or_default());
    let mut shadows = std::collections::HashMap::new();
    for set in Family::BOTH.iter().filter_map(|f| view.rules(*f)) {
        for s in shadowed(set) {
            if let (Some(n), Some(by)) = (s.at.rule, s.by.first().and_then(|b| b.rule)) {
                shadows.insert((s.at.family, s.at.table, s.at.chain, n), by);
            }
        }
    }
    let counted = Family::BOTH.map(|f| view.rules(f).is_some_and(|set| {
        set.tables.iter().flat_map(|t| &t.chains).any(|c| c.counters.0 > 0 || c.rules.iter().any(|r| r.packets > 0))
    }));
    Seen { view, report, chains, shadowed: shadows, kept, counted }
}

/// Works a plan out.
pub fn work(view: &View, plan: &Plan) -> Planned {
    let empty = Planned {
        plan: plan.clone(), error: None, after: None, checks: Vec::new(), commands: Vec::new(), scripts: String::new(), diff: String::new(),
        shell: String::new(), takes_away: false, nothing: false, lockout: false,
    };
    match plan::build(view, plan) {
        Err(e) => Planned { error: Some((e.what, e.hint)), ..empty },
        Ok(change) => {
            let after = report(&change.after);
            let scripts = plan::restore_scripts(&change).iter()
                .map(|(family, script)| format!("# {} --noflush\n{script}", match family { Family::V4 => "iptables-restore", Family::V6 => "ip6tables-restore" }))
                .collect::<Vec<_>>().join("\n");
            let ssh = view.ssh_peer.map(|(peer, port)| lockout(&change.before, &change.after, peer, port));
            Planned {
                checks: checks(view, plan, &change, ssh.as_ref()),
                commands: plan::commands(&change),
                scripts,
                diff: plan::diff(&change),
                shell: plan::shell_script(&change),
                takes_away: !change.taken_away.is_empty(),
                nothing: change.is_nothing(),
                lockout: matches!(ssh, Some(Access::Worse { .. })),
                after: Some(after),
                ..empty
            }
        }
    }
}

/// Whether a rule of a plan is about an endpoint.
pub fn concerns(goals: &[Goal], j: &Judged) -> bool {
    let e = &j.endpoint;
    goals.iter().any(|g| match g {
        Goal::Service(name) => e.kind == EndpointKind::Rpc && e.name == *name,
        Goal::Port(proto, port) => e.kind != EndpointKind::Published && e.port == *port && proto.is_none_or(|p| p == e.proto),
        Goal::Published(proto, port) => e.kind == EndpointKind::Published && e.port == *port && proto.is_none_or(|p| p == e.proto),
    })
}

/// What a plan says about an endpoint.
pub fn goal_of(e: &analyse::Endpoint) -> Goal {
    match e.kind {
        EndpointKind::Rpc => Goal::Service(e.name.clone()),
        EndpointKind::Published => Goal::Published(Some(e.proto), e.port),
        EndpointKind::Socket | EndpointKind::Rule => Goal::Port(Some(e.proto), e.port),
    }
}

fn checks(view: &View, plan: &Plan, change: &Change, ssh: Option<&Access>) -> Vec<Check> {
    let mut out = Vec::new();
    let mut say = |good: Option<bool>, text: String| out.push(Check { good, text });
    match (ssh, view.ssh_peer) {
        (Some(Access::Same), Some((peer, port))) => say(Some(true), format!("your SSH session ({peer} to port {port}): a new login still gets in")),
        (Some(Access::Worse { why }), _) => say(Some(false), format!("your SSH session: a new login would be blocked by {why}")),
        (Some(Access::Unknown { why }), _) => say(None, format!("your SSH session: not certain, {why}")),
        _ => say(None, "no SSH session was found: nothing to check there".into()),
    }
    for f in Family::BOTH {
        if view.rules(f).is_none() {
            say(None, format!("{} rules are not known here and are not changed", f.label()));
        }
    }
    let nodes: Vec<&Node> = plan.rules.iter().filter(|r| r.action == Action::Allow).flat_map(|r| &r.from).collect();
    if view.v6.is_some() && !nodes.is_empty() && !plan.rules.is_empty() {
        let six = nodes.iter().any(|n| n.nets(Family::V6).is_none_or(|v| !v.is_empty()));
        if six {
            say(Some(true), "IPv6 is covered, and nodes with IPv6 are allowed".into());
        } else {
            say(None, "IPv6 is covered; none of the nodes has an IPv6 address here, so nobody is allowed over IPv6".into());
        }
    }
    cut_peers(view, change, &mut say);
    for finding in report(&change.after).warnings.iter().filter(|w| w.message.contains("PORTCULLIS") && w.code.contains("shadow")) {
        say(Some(false), finding.message.clone());
    }
    let goals: Vec<Goal> = plan.rules.iter().flat_map(|r| r.to.clone()).collect();
    let moving: Vec<String> = analyse::endpoints(view).iter()
        .filter(|e| e.moves && concerns(&goals, &Judged { endpoint: (*e).clone(), exposure: [None, None] }))
        .map(analyse::Endpoint::label).collect();
    if !moving.is_empty() {
        say(Some(false), format!("the port moves when the service restarts: {} (pin it in /etc/nfs.conf, then plan again)", moving.join(", ")));
    }
    if let Some(better) = plan::closing_is_better(view) {
        say(None, better.to_owned());
    }
    for (f, what, _) in &view.other_filters {
        say(None, format!("{} is also filtered by {what}", f.label()));
    }
    for n in &change.notes {
        say(None, n.clone());
    }
    if !change.taken_away.is_empty() {
        say(Some(false), format!("{} kept rules go away, the first: {}", change.taken_away.len(), change.taken_away[0]));
    }
    out
}

/// Who is connected now and would not get in again.
fn cut_peers(view: &View, change: &Change, say: &mut impl FnMut(Option<bool>, String)) {
    let mut cut: Vec<String> = Vec::new();
    let peers: std::collections::BTreeSet<_> = view.peers.iter().map(|p| (p.addr, p.port, p.proto.0)).collect();
    // A server may have very many peers; a few hundred answer the question.
    for (addr, port, proto) in peers.iter().take(300) {
        let packet = Packet::new(*addr, crate::model::Proto(*proto), Some(*port));
        let blocked = |v| matches!(v, Verdict::Drop | Verdict::Reject);
        if !blocked(trace(&change.before, &packet).verdict) && blocked(trace(&change.after, &packet).verdict) {
            cut.push(format!("{addr} (port {port})"));
        }
    }
    if peers.is_empty() {
        return;
    }
    if cut.is_empty() {
        say(Some(true), format!("{} connected now: none of them would be cut", count(peers.len(), "client")));
    } else {
        let more = if cut.len() > 3 { format!(" and {} more", cut.len() - 3) } else { String::new() };
        say(Some(false), format!("connected now and blocked after: {}{more}", cut[..cut.len().min(3)].join(", ")));
    }
}

/// `1 rule`, `2 rules`.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
