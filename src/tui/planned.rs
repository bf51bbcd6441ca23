//! A staged plan worked out for the host that was seen: change, exposure after, checks. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::shared::{ChainRow, Check, Planned, Seen};
use crate::analyse::{
    self, Access, Analysis, EndpointKind, Entrant, Judged, Packet, Report, RuleRef, Shadow, Verdict, WayIn, alone,
    owner, ways_in,
};
use crate::model::names::chains::is_ours;
use crate::model::{Action, Family, Goal, Match, Node, Operator, Plan, PortSet, Proto, Rule, Source, Target, View};
use crate::plan::{self, Change};
use crate::syntax::exports::UNNAMED;

/// What a view means, for the screens.
pub fn seen(view: Arc<View>, kept: Plan) -> Seen {
    let report = Arc::new(Analysis::new(&view).report());
    shown(view, kept, report, false)
}

/// The same before anything is judged: what a large host shows first.
pub fn outlined(view: Arc<View>, kept: Plan) -> Seen {
    let report = Arc::new(Analysis::new(&view).outline());
    shown(view, kept, report, true)
}

fn shown(view: Arc<View>, kept: Plan, report: Arc<Report>, judging: bool) -> Seen {
    let chains = Family::BOTH.map(|f| {
        view.rules(f)
            .map(|set| {
                let mut rows: Vec<ChainRow> = set
                    .tables
                    .iter()
                    .flat_map(|t| {
                        t.chains.iter().map(move |c| ChainRow {
                            table: t.name.clone(),
                            chain: c.name.clone(),
                            owner: owner(&c.name),
                            rules: c.rules.len(),
                        })
                    })
                    .collect();
                // filter first: that is where one looks; built-in chains, then by owner, each in the order of the
                // source.
                let order =
                    |t: &str| ["filter", "nat", "mangle", "raw", "security"].iter().position(|n| *n == t).unwrap_or(9);
                let built_in = |r: &ChainRow| crate::model::Table::builtin_chains(&r.table).contains(&r.chain.as_str());
                rows.sort_by_key(|r| (order(&r.table), !built_in(r), r.owner.map_or("", analyse::Manager::label)));
                rows
            })
            .unwrap_or_default()
    });
    let shadowed = report
        .shadowed
        .iter()
        .filter_map(|s| Some(((s.at.family, s.at.table.clone(), s.at.chain.clone(), s.at.rule?), s.by.first()?.rule?)))
        .collect();
    // A host is read with its counters; captured text shows them for policies, but for rules only if it was taken so.
    let counted = Family::BOTH.map(|f| {
        view.rules(f).is_some_and(|set| {
            view.source != Source::Capture
                || set.tables.iter().flat_map(|t| &t.chains).any(|c| c.rules.iter().any(|r| r.packets > 0))
        })
    });
    Seen { view, report, judging, chains, shadowed, kept, kept_by: None, counted }
}

/// Works a plan out. One that changes nothing needs no second judgement.
pub fn work(seen: &Seen, plan: &Plan) -> Planned {
    let view: &View = &seen.view;
    let empty = Planned {
        plan: plan.clone(),
        view: seen.view.clone(),
        error: None,
        after: None,
        checks: Vec::new(),
        commands: Vec::new(),
        scripts: String::new(),
        diff: String::new(),
        shell: String::new(),
        takes_away: false,
        nothing: false,
        lockout: false,
        families: Vec::new(),
    };
    match plan::build(view, plan) {
        Err(e) => Planned { error: Some((e.what, e.hint)), ..empty },
        Ok(change) => {
            let nothing = change.is_nothing();
            let (world, after) = if nothing {
                (view, seen.report.clone())
            } else {
                (&change.after, Arc::new(Analysis::new(&change.after).report()))
            };
            let overruled = after.shadowed.iter().filter_map(|s| overruled(world, s)).collect();
            let scripts = plan::restore_texts(&change).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
            let ways = ways_in(&change.before, &change.after);
            Planned {
                checks: checks(view, plan, &change, &ways, overruled),
                commands: plan::commands(&change),
                scripts,
                diff: plan::diff(&change),
                shell: plan::shell_script(&change),
                takes_away: !change.taken_away.is_empty(),
                nothing,
                lockout: matches!(ways.first(), Some(WayIn { access: Access::Worse { .. }, .. })),
                after: Some(after),
                families: change.families,
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
    // What is published is guarded as a port of the host as well.
    let doors: &[bool] = if matches!(goal, Goal::Published(..)) { &[true, false] } else { &[false] };
    plan::ports(view, goal)
        .into_iter()
        .flat_map(|(proto, port)| doors.iter().map(move |published| (*published, proto, port)))
        .collect()
}

/// Whether rules for one goal decide about all ports of another: rules for that one behind them could never match.
pub fn covers(view: &View, goal: &Goal, other: &Goal) -> bool {
    let (mine, others) = (ports(view, goal), ports(view, other));
    goal == other || (!others.is_empty() && others.iter().all(|p| mine.contains(p)))
}

/// The rule of a plan that shuts its operator out; `None`: none does.
pub fn shuts_out(view: &View, plan: &Plan) -> Option<usize> {
    // Where the operator is not known, the first of those who may be he.
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

/// The goals without those whose ports another one has, as `nfs_acl` has those of `nfs`.
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

/// What a plan says about an endpoint.
pub fn goal_of(e: &analyse::Endpoint) -> Goal {
    match e.kind {
        EndpointKind::Rpc => Goal::Service(e.name.clone()),
        EndpointKind::Published => Goal::Published(Some(e.proto), e.port),
        EndpointKind::Socket | EndpointKind::Rule => Goal::Port(Some(e.proto), e.port),
    }
}

fn checks(view: &View, plan: &Plan, change: &Change, ways: &[WayIn], overruled: Vec<String>) -> Vec<Check> {
    let mut out = Vec::new();
    let mut say = |good: Option<bool>, text: String| out.push(Check { good, text });
    for way in ways {
        let WayIn { who, port, access } = way;
        match (who, access) {
            (Entrant::Operator(peer), Access::Same) => {
                say(Some(true), format!("your SSH session ({peer} to port {port}): a new login still gets in"));
            }
            (Entrant::Operator(_), Access::Worse { why }) => {
                say(Some(false), format!("your SSH session: a new login would be blocked by {why}"));
            }
            (Entrant::Operator(_), Access::Unknown { why }) => say(
                None,
                format!(
                    "your SSH session: not certain, \
                {why}"
                ),
            ),
            (_, Access::Same) => {}
            (_, Access::Worse { why }) => {
                say(Some(false), format!("no SSH session of yours was found; {} would be cut: {why}", way.what()));
            }
            (_, Access::Unknown { why }) => {
                say(None, format!("no SSH session of yours was found; {}: not certain, {why}", way.what()));
            }
        }
    }
    // Of many logins those that are cut have a line of their own.
    let others = ways.iter().filter(|w| w.access == Access::Same && !matches!(w.who, Entrant::Operator(_)));
    let mut kept: Vec<String> = others.map(WayIn::what).collect();
    kept.dedup();
    if !kept.is_empty() {
        say(Some(true), format!("no SSH session of yours was found; as before: {}", kept.join("; ")));
    }
    if ways.is_empty() && view.operator == Some(Operator::Console) {
        say(None, "you sit at a console of the machine: whether an SSH login gets in is not checked".into());
    } else if ways.is_empty() {
        say(None, "no SSH session of yours was found: whether you can log in again is not checked".into());
    }
    let nodes: Vec<&Node> = plan.rules.iter().filter(|r| r.action == Action::Allow).flat_map(|r| &r.from).collect();
    if view.v6.is_some() && !nodes.is_empty() && !plan.rules.is_empty() {
        let six = nodes.iter().any(|n| n.nets(Family::V6).is_none_or(|v| !v.is_empty()));
        if six {
            say(Some(true), "IPv6 is covered, and nodes with IPv6 are allowed".into());
        } else {
            say(
                None,
                "IPv6 is covered; none of the nodes has an IPv6 address here, so nobody is allowed over \
                IPv6"
                    .into(),
            );
        }
    }
    cut_peers(change, &mut say);
    for open in plan::still_open(change, plan) {
        say(Some(false), open);
    }
    let unnamed = view.diagnostics.iter().filter(|d| d.message.ends_with(UNNAMED) && !nodes.is_empty());
    for d in unnamed {
        say(None, format!("{}: whether they are among the nodes is not known", d.message));
    }
    for text in overruled {
        say(
            Some(false),
            format!(
                "a rule of this plan can never match, the rules before it take all its packets: {text}. Move it \
                up"
            ),
        );
    }
    let goals: Vec<Goal> = plan.rules.iter().flat_map(|r| r.to.clone()).collect();
    let mut moving: Vec<String> = Analysis::new(view)
        .endpoints()
        .into_iter()
        .filter(|e| e.moves && concerns(&goals, &Judged { endpoint: e.clone(), exposure: [None, None] }))
        .map(|e| e.name)
        .collect();
    moving.sort();
    moving.dedup();
    if !moving.is_empty() {
        say(
            Some(false),
            format!(
                "the ports move when the services restart: {} (pin them in /etc/nfs.conf, then plan again)",
                moving.join(", ")
            ),
        );
    }
    if let Some(better) = plan::closing_is_better(view) {
        say(None, better.to_owned());
    }
    for what in view.unknown_filters() {
        say(None, what);
    }
    for n in &change.notes {
        say(None, n.clone());
    }
    if !change.taken_away.is_empty() {
        say(
            Some(false),
            format!(
                "{} rules of the plan that is loaded go away, the first: {}",
                change.taken_away.len(),
                change.taken_away[0]
            ),
        );
    }
    out
}

/// A rule of ours that can never match because earlier ones decide otherwise. The same answer again (two programs
/// on one port) does no harm.
fn overruled(after: &View, s: &Shadow) -> Option<String> {
    let set = after.rules(s.at.family)?;
    let rule = |at: &RuleRef| set.chain(&at.table, &at.chain)?.rules.get(at.rule?.checked_sub(1)?);
    let ours = is_ours(&s.at.chain);
    let mine = rule(&s.at).filter(|_| ours)?;
    let answer = |r: &Rule| r.spec(s.at.family).target;
    s.by.iter().filter_map(rule).all(|r| answer(r) != answer(mine)).then(|| mine.line_in(&s.at.chain))
}

/// How the check begins that names who is cut.
pub const CUT: &str = "connected now and blocked after";

/// How many clients are asked about: a server may have very many, on very many rules.
const MOST_PEERS: usize = 300;

/// The ports that rules of ours name, before or after; `None`: one of them, written by hand, names none.
fn touched(change: &Change) -> Option<PortSet> {
    let mut out = PortSet::new();
    for f in &change.families {
        for rule in f.doors.iter().flat_map(|d| d.rules.iter().chain(&d.old_rules)) {
            let spec = Rule::new(rule).spec(f.family());
            // What leaves our chain is not decided there.
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
fn cut_peers(change: &Change, say: &mut impl FnMut(Option<bool>, String)) {
    let all: BTreeSet<_> = change.before.peers.iter().map(|p| (p.addr, p.port, p.proto.0)).collect();
    if all.is_empty() {
        return;
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
            // Rules of ours decide early; those before the plan may be very many.
            blocked(after.trace(&packet).verdict) && !blocked(before.trace(&packet).verdict)
        })
        .map(|(addr, port, _)| format!("{addr} (port {port})"))
        .collect();
    if !cut.is_empty() {
        let more = if cut.len() > 3 { format!(" and {} more", cut.len() - 3) } else { String::new() };
        say(Some(false), format!("{CUT}: {}{more}", cut[..cut.len().min(3)].join(", ")));
    }
    if peers.len() > MOST_PEERS {
        say(
            None,
            format!(
                "{} connected now to ports of this plan: only the first {MOST_PEERS} were looked at",
                count(peers.len(), "client")
            ),
        );
    } else if cut.is_empty() {
        say(Some(true), format!("{} connected now: none of them would be cut", count(all.len(), "client")));
    }
}

/// `1 rule`, `2 rules`.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::host::demo::Demo;
    use crate::model::{Login, LoginSource, OtherFilter, Peer};
    use crate::observe::live::observe;
    use crate::syntax::plan::read;

    #[test]
    fn clients_that_exports_do_not_name_are_not_vouched_for() {
        let mut view = observe(&Demo::new());
        view.diagnostics.extend(crate::syntax::exports::nodes("/srv *.example.org(ro)\n").1);
        let plan = read(
            "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\"]\nto = \
            [\"nfs\"]\n",
        )
        .unwrap();
        let checks = work(&Arc::new(seen(Arc::new(view), Plan::default())), &plan).checks;
        assert!(checks.iter().any(|c| c.good.is_none() && c.text.contains("*.example.org")), "{checks:?}");
    }

    #[test]
    fn under_mosh_who_is_logged_in_may_be_the_operator() {
        let peer = std::net::IpAddr::from([198, 51, 100, 7]);
        let login = Login { user: "root".into(), peer, port: None, at: None, seen: LoginSource::Utmp };
        let told = |host: Demo, rules: &str| {
            let planned = work(
                &seen(Arc::new(observe(&host)), Plan::default()),
                &read(&format!(
                    "version = \
                    1\n{rules}"
                ))
                .unwrap(),
            );
            let first = planned.checks.first().unwrap();
            (planned.lockout, first.good, first.text.clone())
        };
        let drop = "[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"22/tcp\"]\n";
        let mosh = || Demo::new().used_by(Operator::Unknown, vec![login.clone()]);
        let cut = told(mosh(), drop);
        assert!(cut.0 && cut.1 == Some(false), "{cut:?}");
        assert!(
            cut.2.contains("a new SSH login from 198.51.100.7 (root, logged in now) to port 22 would be cut"),
            "{cut:?}"
        );
        assert_eq!(shuts_out(&observe(&mosh()), &read(&format!("version = 1\n{drop}")).unwrap()), Some(0));
        let kept = told(mosh(), &drop.replace("22/tcp", "111"));
        assert!(
            !kept.0 && kept.1 == Some(true) && kept.2.contains("as before: a new SSH login from 198.51.100.7"),
            "{kept:?}"
        );
        let console = told(Demo::new().used_by(Operator::Console, Vec::new()), drop);
        assert!(!console.0 && console.2.starts_with("you sit at a console of the machine"), "{console:?}");
    }

    #[test]
    fn a_rule_behind_the_one_that_decides_otherwise_is_told_and_a_double_is_not() {
        let view = seen(Arc::new(observe(&Demo::new())), Plan::default());
        let told = |rules: &str| {
            let planned = work(&view, &read(&format!("version = 1\n{rules}")).unwrap());
            planned.checks.iter().any(|c| c.good == Some(false) && c.text.contains("can never match"))
        };
        let allow = "[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\"]\nto = [\"nfs\", \"nfs_acl\"]\n";
        let drop = "[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"nfs\", \"nfs_acl\"]\n";
        assert!(!told(&format!("{allow}{drop}")));
        assert!(told(&format!("{drop}{allow}")));
    }

    #[test]
    fn nobody_is_vouched_for_who_was_not_looked_at() {
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
            let rules = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"portmapper\"]\n\
                [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\"]\n";
            let planned = work(&seen(Arc::new(view), Plan::default()), &read(rules).unwrap());
            planned
                .checks
                .into_iter()
                .filter(|c| c.text.contains("connected now"))
                .map(|c| (c.good, c.text))
                .collect::<Vec<_>>()
        };
        let cut = (Some(false), format!("{CUT}: 198.51.100.1 (port 111)"));
        assert_eq!(told(400, 22, false), std::slice::from_ref(&cut));
        // What is not known of other filters hides nothing of what the plan does.
        assert_eq!(told(3, 111, true), [cut]);
        assert_eq!(
            told(400, 111, false),
            [(None, "401 clients connected now to ports of this plan: only the first 300 were looked at".to_owned())]
        );
    }
}
