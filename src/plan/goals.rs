//! What plans are about: which ports a goal means on a host, which goals share them, and how nodes are
//! allowed to reach them.

use super::content;
use crate::analyse::{Endpoint, EndpointKind};
use crate::model::{Action, Family, Goal, Node, Plan, PlanRule, Proto, View};

/// Whether the goals of a plan mean an endpoint.
pub fn concerns(goals: &[Goal], e: &Endpoint) -> bool {
    goals.iter().any(|g| match g {
        Goal::Service(name) => e.kind == EndpointKind::Rpc && e.name == *name,
        Goal::Port(proto, port) => {
            e.kind != EndpointKind::Published && e.port == *port && proto.is_none_or(|p| p == e.proto)
        }
        Goal::Published(proto, port) => {
            e.kind == EndpointKind::Published && e.port == *port && proto.is_none_or(|p| p == e.proto)
        }
    })
}

/// The ports that a goal means on a host, and whether each is meant as a published one.
fn ports(view: &View, goal: &Goal) -> Vec<(bool, Proto, u16)> {
    // A published port is guarded as a port of the host as well.
    let doors: &[bool] = if matches!(goal, Goal::Published(..)) { &[true, false] } else { &[false] };
    content::ports(view, goal)
        .into_iter()
        .flat_map(|(proto, port)| doors.iter().map(move |published| (*published, proto, port)))
        .collect()
}

/// Whether rules for one goal decide about all ports of another: later rules for the other could never match.
pub fn covers(view: &View, goal: &Goal, other: &Goal) -> bool {
    let (mine, others) = (ports(view, goal), ports(view, other));
    goal == other || (!others.is_empty() && others.iter().all(|p| mine.contains(p)))
}

/// The goals without those whose ports another one has, e.g. `nfs_acl` has those of `nfs`.
pub fn merged(view: &View, goals: &[Goal]) -> Vec<Goal> {
    let mut out: Vec<Goal> = Vec::new();
    for g in goals {
        if !out.iter().any(|o| covers(view, o, g)) {
            out.retain(|o| !covers(view, g, o));
            out.push(g.clone());
        }
    }
    out
}

/// The goal that means an endpoint.
pub fn goal_of(e: &Endpoint) -> Goal {
    match e.kind {
        EndpointKind::Rpc => Goal::Service(e.name.clone()),
        EndpointKind::Published => Goal::Published(Some(e.proto), e.port),
        EndpointKind::Socket | EndpointKind::Rule => Goal::Port(Some(e.proto), e.port),
    }
}

/// The rule of a plan that locks its operator out; `None` if none does.
pub fn shuts_out(view: &View, plan: &Plan) -> Option<usize> {
    // If the operator is not known: the first of those who may be the operator.
    let maybe = || {
        let logins = view.logins.as_ref()?;
        let first = logins.found.first()?;
        Some((first.peer, first.port.or(logins.ports.first().copied())?))
    };
    let (peer, port) = view.ssh_peer.or_else(maybe)?;
    let is_peer = |n: &Node| n.nets(Family::of(peer)).is_none_or(|nets| nets.iter().any(|n| n.contains(peer)));
    let first = plan.rules.iter().position(|r| {
        r.from.iter().any(is_peer) && r.to.iter().any(|g| ports(view, g).contains(&(false, Proto::TCP, port)))
    })?;
    (plan.rules[first].action != Action::Allow).then_some(first)
}

/// Adds an allow rule for the nodes to a plan, before the drop rules of the same goal, and if wanted one that drops
/// everybody else.
fn protect(p: &mut Plan, goal: &Goal, nodes: &[Node], drop_rest: bool) {
    let drop_at = p.rules.iter().position(|r| r.action != Action::Allow && r.to.contains(goal));
    match p.rules.iter_mut().find(|r| r.action == Action::Allow && r.to == [goal.clone()]) {
        Some(r) => {
            for n in nodes {
                if !r.from.contains(n) {
                    r.from.push(n.clone());
                }
            }
        }
        None => p.rules.insert(
            drop_at.unwrap_or(p.rules.len()),
            PlanRule { action: Action::Allow, from: nodes.to_vec(), to: vec![goal.clone()] },
        ),
    }
    // A rule that drops only some nodes leaves the others in.
    let rest = p.rules.iter().any(|r| r.action != Action::Allow && r.from.contains(&Node::Any) && r.to.contains(goal));
    if drop_rest && !rest {
        p.rules.push(PlanRule { action: Action::Drop, from: vec![Node::Any], to: vec![goal.clone()] });
    }
}

/// Allows nodes to reach several goals. Services that share ports share the rules: a second set could never match.
pub fn protect_all(p: &mut Plan, view: &View, goals: &[Goal], nodes: &[Node], drop_rest: bool) {
    for goal in merged(view, goals) {
        let staged = |g: &Goal| p.rules.iter().any(|r| r.to.contains(g));
        let same = p.rules.iter().flat_map(|r| &r.to).find(|g| !staged(&goal) && covers(view, g, &goal)).cloned();
        protect(p, &same.unwrap_or(goal), nodes, drop_rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RpcService, Source};

    fn rule(action: Action, from: &str, to: &str) -> PlanRule {
        PlanRule { action, from: vec![Node::parse(from).unwrap()], to: vec![Goal::parse(to).unwrap()] }
    }

    /// NFS and its access lists on one port.
    fn nfs() -> View {
        let mut view = View::empty(Source::Live, "test");
        let service = |program, name: &str, port| RpcService {
            program,
            versions: vec![3],
            proto: Proto::TCP,
            port,
            name: name.into(),
        };
        view.rpc = Some(vec![service(100_003, "nfs", 2049), service(100_227, "nfs_acl", 2049)]);
        view
    }

    #[test]
    fn a_rule_that_drops_one_node_does_not_drop_everybody_else() {
        let goal = Goal::parse("portmapper").unwrap();
        let mut plan = Plan { rules: vec![rule(Action::Drop, "203.0.113.9", "portmapper")] };
        let whole = [
            rule(Action::Allow, "192.0.2.11", "portmapper"),
            rule(Action::Drop, "203.0.113.9", "portmapper"),
            rule(Action::Drop, "any", "portmapper"),
        ];
        for _ in 0..2 {
            protect(&mut plan, &goal, &whole[0].from, true);
            assert_eq!(plan.rules, whole);
        }
    }

    #[test]
    fn services_on_the_same_port_share_their_rules() {
        let (view, goals) = (nfs(), ["nfs_acl", "nfs", "111"].map(|g| Goal::parse(g).unwrap()));
        assert_eq!(merged(&view, &goals), [goals[0].clone(), goals[2].clone()]);
        let mut plan = Plan { rules: vec![rule(Action::Drop, "any", "nfs")] };
        protect_all(&mut plan, &view, &goals[..1], &[Node::parse("192.0.2.11").unwrap()], true);
        assert_eq!(plan.rules, [rule(Action::Allow, "192.0.2.11", "nfs"), rule(Action::Drop, "any", "nfs")]);
    }

    #[test]
    fn the_ports_of_a_published_port_are_the_hosts_own_too() {
        let (view, goal) = (nfs(), |g: &str| Goal::parse(g).unwrap());
        assert!(covers(&view, &goal("published:9042"), &goal("9042/tcp")));
        assert!(!covers(&view, &goal("9042"), &goal("published:9042/tcp")));
        assert!(covers(&view, &goal("2049"), &goal("nfs")) && !covers(&view, &goal("nfs"), &goal("2049")));
        // A service whose ports are not known covers nothing.
        assert!(!covers(&view, &goal("2049"), &goal("mountd")));
    }

    #[test]
    fn the_first_rule_about_the_operator_decides() {
        let mut view = nfs();
        view.ssh_peer = Some(("10.0.0.5".parse().unwrap(), 22));
        let plan =
            |rules: &[(Action, &str)]| Plan { rules: rules.iter().map(|(a, f)| rule(*a, f, "22/tcp")).collect() };
        let (allow, drop) = (Action::Allow, Action::Drop);
        assert_eq!(shuts_out(&view, &plan(&[(allow, "192.0.2.11"), (drop, "any")])), Some(1));
        assert_eq!(shuts_out(&view, &plan(&[(allow, "10.0.0.0/24"), (drop, "any")])), None);
        assert_eq!(shuts_out(&view, &plan(&[(drop, "192.0.2.11")])), None);
    }
}
