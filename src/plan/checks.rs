//! The checks of a plan: what to know before it is applied, one sentence each. The cockpit and `portcullis apply` show
//! the same ones.

use std::collections::BTreeSet;

use super::change::Change;
use super::content::closing_is_better;
use super::force::Enforced;
use super::goals::concerns;
use super::still_open::still_open;
use crate::analyse::{Access, Analysis, Entrant, Packet, RuleRef, Verdict, WayIn, alone, shadowed};
use crate::model::names::chains::is_ours;
use crate::model::{
    Action, DiagnosticKind, Family, Goal, Match, Node, Operator, Plan, PortSet, Proto, Rule, Ruleset, Target, View,
    count,
};

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Whether what was kept, or is on trial, is in force.
    InForce,
    /// A new SSH login of the operator, or of anybody who may be the operator.
    WayIn,
    /// Whether somebody is allowed over IPv6.
    Ipv6,
    /// Clients that are connected now.
    Clients,
    /// Ports that stay open to those whom the plan drops.
    StillOpen,
    /// Clients that `/etc/exports` does not name.
    UnnamedClients,
    /// Rules of the plan that can never match.
    Overruled,
    /// Ports that change when services restart.
    MovingPorts,
    /// Closing a service is better than filtering it.
    Closing,
    /// Other filters on the host that could not be judged.
    OtherFilter,
    /// What the change itself leaves out.
    Change,
    /// Loaded rules that are not in the plan.
    TakenAway,
    /// Managers and services that will remove the plan's rules.
    Undone,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Something to know.
    Note,
}

/// A check of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is about.
    pub kind: CheckKind,
    /// Its result.
    pub grade: Grade,
    /// One sentence, without its full stop.
    pub text: String,
}

impl Check {
    /// As it should be.
    pub fn good(kind: CheckKind, text: impl Into<String>) -> Self {
        Self { kind, grade: Grade::Good, text: text.into() }
    }

    /// Not as it should be.
    pub fn bad(kind: CheckKind, text: impl Into<String>) -> Self {
        Self { kind, grade: Grade::Bad, text: text.into() }
    }

    /// Something to know.
    pub fn note(kind: CheckKind, text: impl Into<String>) -> Self {
        Self { kind, grade: Grade::Note, text: text.into() }
    }
}

/// Why the plan that was kept, or is on trial, is not in force; `kept`: the plan that is loaded. While a new plan is
/// staged, the one that was kept does not matter.
pub fn in_force_checks(enforced: &Enforced, staged: &Plan, kept: &Plan, trial_runs: bool) -> Vec<Check> {
    let is_new = staged != kept;
    // Nothing is known about any other plan.
    let Some(plan) = enforced.in_force.as_ref().filter(|p| p.on_trial == trial_runs && (!is_new || trial_runs)) else {
        return Vec::new();
    };
    let kind = CheckKind::InForce;
    if !plan.force.holds() {
        let whose = if plan.on_trial { "the plan on trial" } else { "what was kept" };
        let how = plan.force.extent().says();
        let whys = plan.force.says().into_iter().map(|why| Check::bad(kind, format!("{whose} is {how}: {why}")));
        return whys.chain(plan.cure().map(|cure| Check::note(kind, format!("to mend it: {cure}")))).collect();
    }
    if plan.on_trial || staged.rules.is_empty() {
        return Vec::new();
    }
    let narrowed = plan.force.says().into_iter().map(|text| Check::note(kind, text));
    std::iter::once(Check::good(kind, "what was kept is in force")).chain(narrowed).collect()
}

/// What a plan does to the host that it was made for; `ways`: its effect on every way in that has to stay open.
pub fn checks(plan: &Plan, change: &Change, ways: &[WayIn]) -> Vec<Check> {
    let view = &change.before;
    let mut out = ways_in(view, ways);
    out.extend(ipv6(view, plan));
    out.extend(clients(change));
    out.extend(still_open(change, plan).into_iter().map(|text| Check::bad(CheckKind::StillOpen, text)));
    let unnamed =
        view.diagnostics.iter().filter(|d| d.kind == DiagnosticKind::UnnamedHosts && allowed(plan).next().is_some());
    out.extend(unnamed.map(|d| {
        let text = format!("{}: whether they are among the nodes is not known", d.message);
        Check::note(CheckKind::UnnamedClients, text)
    }));
    out.extend(overruled(&change.after));
    out.extend(moving_ports(view, plan));
    out.extend(closing_is_better(view).map(|better| Check::note(CheckKind::Closing, better)));
    out.extend(view.unknown_filters().into_iter().map(|text| Check::note(CheckKind::OtherFilter, text)));
    out.extend(change.notes.iter().map(|text| Check::note(CheckKind::Change, text)));
    out.extend(change.taken_away.first().map(|first| {
        let n = change.taken_away.len();
        let text = format!("{n} rules of the loaded plan will be removed, the first: {first}");
        Check::bad(CheckKind::TakenAway, text)
    }));
    out
}

fn ways_in(view: &View, ways: &[WayIn]) -> Vec<Check> {
    let kind = CheckKind::WayIn;
    let mut out = Vec::new();
    for way in ways {
        let (what, port) = (way.what(), way.port);
        match (&way.who, &way.access) {
            (Entrant::Operator(peer), Access::Same) => {
                let text = format!("your SSH session ({peer} to port {port}): a new login still gets in");
                out.push(Check::good(kind, text));
            }
            (Entrant::Operator(_), Access::Worse { why }) => {
                out.push(Check::bad(kind, format!("your SSH session: a new login would be blocked by {why}")));
            }
            (Entrant::Operator(_), Access::Unknown { why }) => {
                out.push(Check::note(kind, format!("your SSH session: not certain, {why}")));
            }
            (_, Access::Same) => {}
            (_, Access::Worse { why }) => {
                let text = format!("no SSH session of yours was found; {what} would be cut: {why}");
                out.push(Check::bad(kind, text));
            }
            (_, Access::Unknown { why }) => {
                let text = format!("no SSH session of yours was found; {what}: not certain, {why}");
                out.push(Check::note(kind, text));
            }
        }
    }
    // If there are many logins, those that are cut get a line of their own.
    let others = ways.iter().filter(|w| w.access == Access::Same && !matches!(w.who, Entrant::Operator(_)));
    let mut kept: Vec<String> = others.map(WayIn::what).collect();
    kept.dedup();
    if !kept.is_empty() {
        let text = format!("no SSH session of yours was found; as before: {}", kept.join("; "));
        out.push(Check::good(kind, text));
    }
    if ways.is_empty() {
        let text = if view.operator == Some(Operator::Console) {
            "you sit at a console of the machine: whether an SSH login gets in is not checked"
        } else {
            "no SSH session of yours was found: whether you can log in again is not checked"
        };
        out.push(Check::note(kind, text));
    }
    out
}

/// The nodes that a plan allows something.
fn allowed(plan: &Plan) -> impl Iterator<Item = &Node> {
    plan.rules.iter().filter(|r| r.action == Action::Allow).flat_map(|r| &r.from)
}

fn ipv6(view: &View, plan: &Plan) -> Option<Check> {
    view.v6.as_ref()?;
    allowed(plan).next()?;
    let text = if allowed(plan).any(|n| n.nets(Family::V6).is_none_or(|v| !v.is_empty())) {
        return Some(Check::good(CheckKind::Ipv6, "IPv6 is covered, and nodes with IPv6 are allowed"));
    } else {
        "IPv6 is covered; none of the nodes has an IPv6 address here, so nobody is allowed over IPv6"
    };
    Some(Check::note(CheckKind::Ipv6, text))
}

/// Ports of the plan that change when services restart.
fn moving_ports(view: &View, plan: &Plan) -> Option<Check> {
    let goals: Vec<Goal> = plan.rules.iter().flat_map(|r| r.to.clone()).collect();
    let endpoints = Analysis::new(view).endpoints();
    let mut moving: Vec<String> =
        endpoints.into_iter().filter(|e| e.moves && concerns(&goals, e)).map(|e| e.name).collect();
    moving.sort();
    moving.dedup();
    let names = moving.join(", ");
    let text =
        format!("the ports move when the services restart: {names} (pin them in /etc/nfs.conf, then plan again)");
    (!moving.is_empty()).then(|| Check::bad(CheckKind::MovingPorts, text))
}

/// Rules of ours that can never match because earlier ones decide otherwise. A later rule with the same result (two
/// programs on one port) does no harm.
fn overruled(after: &View) -> Vec<Check> {
    let mut out = Vec::new();
    for set in Family::BOTH.into_iter().filter_map(|f| after.rules(f)) {
        let family = set.family;
        let mut ours = Ruleset::new(family);
        let table = ours.table_or_new("filter");
        for chain in set.table("filter").into_iter().flat_map(|t| &t.chains).filter(|c| is_ours(&c.name)) {
            table.add(chain.clone());
        }
        let rule = |at: &RuleRef| ours.chain(&at.table, &at.chain)?.rules.get(at.rule?.checked_sub(1)?);
        let answer = |r: &Rule| r.spec(family).target;
        for s in shadowed(&ours) {
            let Some(mine) = rule(&s.at) else { continue };
            if s.by.iter().filter_map(rule).all(|r| answer(r) != answer(mine)) {
                let text = mine.line_in(&s.at.chain);
                out.push(Check::bad(
                    CheckKind::Overruled,
                    format!(
                        "a rule of this plan can never match, the rules before it take all its packets: {text}. Move \
                        it up"
                    ),
                ));
            }
        }
    }
    out
}

/// The most clients to check: a server may have very many, with very many rules.
const MOST_PEERS: usize = 300;

/// The ports that our rules name, before or after; `None` if a hand-written rule names none.
fn touched(change: &Change) -> Option<PortSet> {
    let mut out = PortSet::new();
    for f in &change.families {
        for rule in f.doors.iter().flat_map(|d| d.rules.iter().chain(&d.old_rules)) {
            let spec = Rule::new(rule).spec(f.family());
            // A rule that leaves our chain is not decided in it.
            if spec.target != Target::Return {
                out |= spec.matches.iter().find_map(|m| match m {
                    Match::DestinationPorts(false, ports) => Some(ports.clone()),
                    Match::CtOrigDstPort(false, ports) => Some(PortSet::from_iter([ports.clone()])),
                    _ => None,
                })?;
            }
        }
    }
    Some(out)
}

/// Who is connected now and would not get in again.
fn clients(change: &Change) -> Vec<Check> {
    let kind = CheckKind::Clients;
    let all: BTreeSet<_> = change.before.peers.iter().map(|p| (p.addr, p.port, p.proto.0)).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let touched = touched(change);
    let peers: Vec<_> = all.iter().filter(|(_, port, _)| touched.as_ref().is_none_or(|t| t.contains(*port))).collect();
    let (before, after) = (alone(&change.before), alone(&change.after));
    let (before, after) = (Analysis::new(&before), Analysis::new(&after));
    let blocked = |v| matches!(v, Verdict::Drop | Verdict::Reject);
    let cut: Vec<String> = peers
        .iter()
        .take(MOST_PEERS)
        .filter(|(addr, port, proto)| {
            let packet = Packet::new(*addr, Proto(*proto), Some(*port));
            // `after` first: our rules decide early, while `before` may walk very many rules.
            blocked(after.trace(&packet).verdict) && !blocked(before.trace(&packet).verdict)
        })
        .map(|(addr, port, _)| format!("{addr} (port {port})"))
        .collect();
    let mut out = Vec::new();
    if !cut.is_empty() {
        let more = if cut.len() > 3 { format!(" and {} more", cut.len() - 3) } else { String::new() };
        let first = cut[..cut.len().min(3)].join(", ");
        out.push(Check::bad(kind, format!("connected now and blocked after: {first}{more}")));
    }
    if peers.len() > MOST_PEERS {
        let text = format!(
            "{} connected now to ports of this plan: only the first {MOST_PEERS} were looked at",
            count(peers.len(), "client")
        );
        out.push(Check::note(kind, text));
    } else if cut.is_empty() {
        let text = format!("{} connected now: none of them would be cut", count(all.len(), "client"));
        out.push(Check::good(kind, text));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::demo::Demo;
    use crate::model::{Login, LoginSource, OtherFilter, Peer};
    use crate::observe::live::observe;
    use crate::plan::{build, shuts_out};
    use crate::syntax::plan::read;

    fn checked(view: &View, rules: &str) -> Vec<Check> {
        let plan = read(&format!("version = 1\n{rules}")).unwrap();
        let change = build(view, &plan).unwrap();
        checks(&plan, &change, &crate::analyse::ways_in(&change.before, &change.after))
    }

    #[test]
    fn clients_missing_from_exports_are_not_reported_as_covered() {
        let mut view = observe(&Demo::new());
        view.diagnostics.extend(crate::syntax::exports::nodes("/srv *.example.org(ro)\n").1);
        let rules = "[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\"]\nto = [\"nfs\"]\n";
        let checks = checked(&view, rules);
        let unnamed: Vec<_> = checks.iter().filter(|c| c.kind == CheckKind::UnnamedClients).collect();
        assert!(
            matches!(&unnamed[..], [c] if c.grade == Grade::Note && c.text.contains("*.example.org")),
            "{checks:?}"
        );
    }

    #[test]
    fn under_mosh_who_is_logged_in_may_be_the_operator() {
        let peer = std::net::IpAddr::from([198, 51, 100, 7]);
        let login = Login { user: "root".into(), peer, port: None, at: None, seen: LoginSource::Utmp };
        let told = |host: Demo, rules: &str| {
            let first = checked(&observe(&host), rules).remove(0);
            assert_eq!(first.kind, CheckKind::WayIn);
            (first.grade, first.text)
        };
        let drop = "[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"22/tcp\"]\n";
        let mosh = || Demo::new().used_by(Operator::Unknown, vec![login.clone()]);
        let cut = told(mosh(), drop);
        assert_eq!(cut.0, Grade::Bad);
        assert!(
            cut.1.contains("a new SSH login from 198.51.100.7 (root, logged in now) to port 22 would be cut"),
            "{cut:?}"
        );
        assert_eq!(shuts_out(&observe(&mosh()), &read(&format!("version = 1\n{drop}")).unwrap()), Some(0));
        let kept = told(mosh(), &drop.replace("22/tcp", "111"));
        assert_eq!(kept.0, Grade::Good);
        assert!(kept.1.contains("as before: a new SSH login from 198.51.100.7"), "{kept:?}");
        let console = told(Demo::new().used_by(Operator::Console, Vec::new()), drop);
        assert!(console.1.starts_with("you sit at a console of the machine"), "{console:?}");
    }

    #[test]
    fn an_overruled_rule_is_reported_and_a_duplicate_is_not() {
        let view = observe(&Demo::new());
        let told =
            |rules: &str| checked(&view, rules).iter().any(|c| (c.kind, c.grade) == (CheckKind::Overruled, Grade::Bad));
        let allow = "[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\"]\nto = [\"nfs\", \"nfs_acl\"]\n";
        let drop = "[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"nfs\", \"nfs_acl\"]\n";
        assert!(!told(&format!("{allow}{drop}")));
        assert!(told(&format!("{drop}{allow}")));
    }

    #[test]
    fn moving_ports_and_nodes_without_ipv6_are_reported() {
        let view = observe(&Demo::new());
        let told = |from: &str, to: &str| {
            let rules = format!("[[rule]]\naction = \"allow\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\n");
            let kinds = [CheckKind::MovingPorts, CheckKind::Ipv6];
            let all = checked(&view, &rules);
            all.into_iter().filter(|c| kinds.contains(&c.kind)).map(|c| (c.kind, c.grade)).collect::<Vec<_>>()
        };
        let covered = |grade| (CheckKind::Ipv6, grade);
        assert_eq!(told("192.0.2.11", "portmapper"), [covered(Grade::Note)]);
        assert_eq!(told("2001:db8::11", "portmapper"), [covered(Grade::Good)]);
        assert_eq!(told("any", "nlockmgr"), [covered(Grade::Good), (CheckKind::MovingPorts, Grade::Bad)]);
    }

    #[test]
    fn unchecked_clients_are_not_reported_as_safe() {
        let told = |strangers: u32, to: u16, filters: bool| {
            let mut view = observe(&Demo::new());
            let peer = |addr: u32, port| Peer { addr: std::net::Ipv4Addr::from(addr).into(), port, proto: Proto::TCP };
            view.peers = (0..strangers).map(|n| peer(0x0a00_0000 + n, to)).collect();
            view.peers.push(peer(0xc633_6401, 111));
            if filters {
                let other = || OtherFilter {
                    family: Family::V4,
                    what: "nft".into(),
                    see: "nft list ruleset".into(),
                    rewrites: true,
                };
                view.other_filters.push(other());
            }
            let rules = "[[rule]]\naction = \"allow\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"portmapper\"]\n\
                [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\"]\n";
            checked(&view, rules).into_iter().filter(|c| c.kind == CheckKind::Clients).collect::<Vec<_>>()
        };
        let cut = Check::bad(CheckKind::Clients, "connected now and blocked after: 198.51.100.1 (port 111)");
        assert_eq!(told(400, 22, false), std::slice::from_ref(&cut));
        // Unknown facts about other filters hide nothing of what the plan does.
        assert_eq!(told(3, 111, true), [cut]);
        let many = "401 clients connected now to ports of this plan: only the first 300 were looked at";
        assert_eq!(told(400, 111, false), [Check::note(CheckKind::Clients, many)]);
    }
}
