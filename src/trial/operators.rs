//! Tests of whose way in a trial has to leave open, and who may keep it: an operator over SSH, at a console,
//! a job, or unknown.

use std::net::IpAddr;
use std::time::Duration;

use super::crash::{machine, options};
use super::{Options, Refusal, apply, keep, proof, record, revert};
use crate::host::Host;
use crate::host::demo::Demo;
use crate::model::trial::Allowed;
use crate::model::{Code, Login, LoginSource, Operator, Plan};
use crate::syntax::plan;

const NOW: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
const LAST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

fn of(rules: &[(&str, &str, &str)]) -> Plan {
    let rules: String = rules
        .iter()
        .map(|(action, from, to)| format!("[[rule]]\naction = \"{action}\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\n"))
        .collect();
    plan::read(&format!("version = 1\n{rules}")).unwrap()
}

fn login(peer: IpAddr, port: Option<u16>, at: Option<i64>, seen: LoginSource) -> Login {
    Login { user: "root".into(), peer, port, at, seen }
}

fn host(operator: Operator, logins: Vec<Login>) -> Demo {
    machine(false, 0, false).used_by(operator, logins)
}

fn refused(host: &Demo, plan: &Plan) -> Refusal {
    let refused = apply(host, plan, &options(), &mut |_| {}).unwrap_err();
    assert_eq!(refused.code, Code::Lockout, "{refused:?}");
    refused
}

#[test]
fn a_job_must_not_cut_who_is_logged_in_nor_the_last_who_was() {
    for operator in [Operator::Unattended, Operator::Unknown] {
        let host = host(
            operator,
            vec![login(NOW, Some(22), None, LoginSource::Sessions), login(LAST, None, Some(9), LoginSource::Wtmp)],
        );
        let all = refused(&host, &of(&[("drop", "any", "22/tcp")]));
        assert!(
            all.what
                .starts_with("the plan would cut a new SSH login from 198.51.100.7 (root, logged in now) to port 22: "),
            "{}",
            all.what
        );
        let hint = if operator == Operator::Unattended {
            "this job has no terminal and no SSH session of its own (read: sshd's connections), so it may be yours"
        } else {
            "no SSH session was found for this terminal (read: sshd's connections), so it may be yours"
        };
        assert!(all.hint.starts_with(hint) && all.hint.contains("--allow-lockout"), "{}", all.hint);
        assert!(all.what.ends_with("; 203.0.113.7 too"), "{}", all.what);
        let second = refused(&host, &of(&[("allow", "198.51.100.7", "22/tcp"), ("drop", "any", "22/tcp")]));
        assert!(
            second.what.starts_with(
                "the plan would cut a new SSH login from 203.0.113.7 (root, the last login: wtmp) to port 22: "
            ),
            "{}",
            second.what
        );
        // Once a login is known, others need no way in.
        let both =
            of(&[("allow", "198.51.100.7", "22/tcp"), ("allow", "203.0.113.7", "22/tcp"), ("drop", "any", "22/tcp")]);
        let trial = apply(&host, &both, &options(), &mut |_| {}).unwrap();
        assert_eq!(trial.operator, operator);
        let said = trial.remarks.iter().find(|r| r.contains("checked was")).unwrap();
        assert!(
            said.contains("198.51.100.7 (root, logged in now)")
                && said.contains("203.0.113.7 (root, the last login: wtmp)"),
            "{said}"
        );
        revert(&host).unwrap();
    }
}

#[test]
fn where_no_login_is_known_the_ssh_ports_keep_every_sender() {
    let host = host(Operator::Unattended, Vec::new());
    for (plan, first) in [
        (of(&[("drop", "192.0.2.0/24", "22/tcp")]), "over IPv4: 192.0.2.0/24 would"),
        (of(&[("drop", "2001:db8::/32", "22")]), "over IPv6: 2001:db8::/32 would"),
        (of(&[("allow", "10.0.0.0/8", "22/tcp"), ("drop", "any", "22/tcp")]), "over IPv4: 0.0.0.0/5 and "),
    ] {
        let refused = refused(&host, &plan);
        assert!(
            refused.what.starts_with("the plan would cut who may log in to the SSH port 22 ")
                && refused.what.contains(first),
            "{}",
            refused.what
        );
        assert!(refused.hint.contains("and no login: leave the SSH ports open"), "{}", refused.hint);
        apply(
            &host,
            &plan,
            &Options { allowed: Allowed { lockout: true, ..options().allowed }, ..options() },
            &mut |_| {},
        )
        .unwrap();
        revert(&host).unwrap();
    }
    // A plan that does not touch SSH is no lock-out.
    apply(&host, &of(&[("drop", "any", "111")]), &options(), &mut |_| {}).unwrap();
    revert(&host).unwrap();
}

#[test]
fn a_login_that_gets_in_no_more_tells_nothing() {
    let host = host(Operator::Unattended, Vec::new());
    apply(
        &host,
        &of(&[("drop", "203.0.113.0/24", "22/tcp")]),
        &Options { allowed: Allowed { lockout: true, ..options().allowed }, ..options() },
        &mut |_| {},
    )
    .unwrap();
    keep(&host, true).unwrap();
    let host = host.used_by(Operator::Unattended, vec![login(LAST, None, Some(9), LoginSource::Journal)]);
    let refused = refused(&host, &of(&[("drop", "203.0.113.0/24", "22/tcp"), ("drop", "192.0.2.0/24", "22/tcp")]));
    assert!(refused.what.contains("who may log in to the SSH port 22 over IPv4: 192.0.2.0/24"), "{}", refused.what);
}

#[test]
fn only_at_a_console_a_trial_is_kept_without_a_login() {
    for (operator, asked) in [
        (Operator::Ssh([10, 0, 0, 5].into()), true),
        (Operator::Unattended, true),
        (Operator::Unknown, true),
        (Operator::Console, false),
    ] {
        let host = host(operator, Vec::new());
        apply(&host, &of(&[("drop", "any", "111")]), &options(), &mut |_| {}).unwrap();
        let kept = keep(&host, false);
        assert_eq!(kept.as_ref().err().map(|e| e.code), asked.then_some(Code::NoProof), "{operator}: {kept:?}");
        if asked {
            keep(&host, true).unwrap();
        }
    }
    // At a console nobody's way in is checked either.
    let host = host(Operator::Console, Vec::new());
    apply(&host, &of(&[("drop", "any", "22/tcp")]), &options(), &mut |_| {}).unwrap();
    revert(&host).unwrap();
}

#[test]
fn a_job_is_kept_with_any_login() {
    let host = host(Operator::Unattended, Vec::new());
    apply(&host, &of(&[("drop", "any", "111")]), &options(), &mut |_| {}).unwrap();
    host.pass(Duration::from_millis(20));
    host.log_in("ann", NOW);
    assert_eq!(keep(&host, false).unwrap().proof.unwrap().peer, NOW);
}

#[test]
fn a_login_from_where_the_rules_let_nobody_in_proves_nothing() {
    let host = host(Operator::Ssh([10, 0, 0, 5].into()), Vec::new());
    apply(&host, &of(&[("drop", "198.51.100.0/24", "22/tcp")]), &options(), &mut |_| {}).unwrap();
    host.pass(Duration::from_millis(20));
    // Its connection was made before the rules were, and sshd accepted it late.
    host.log_in("ann", NOW);
    assert_eq!(proof(&host, &record::load(&host).unwrap()), None);
    host.log_in("ann", LAST);
    assert_eq!(proof(&host, &record::load(&host).unwrap()).map(|p| p.peer), Some(LAST));
    revert(&host).unwrap();
}

#[test]
fn the_state_file_of_an_older_version_is_read() {
    let host = host(Operator::Console, Vec::new());
    apply(&host, &of(&[("drop", "any", "111")]), &options(), &mut |_| {}).unwrap();
    let file = host.paths().run.join("trial.json");
    for (word, operator) in [
        ("console", Operator::Console),
        ("unknown", Operator::Unknown),
        ("192.0.2.2", Operator::Ssh([192, 0, 2, 2].into())),
    ] {
        let mut json: serde_json::Value = serde_json::from_slice(&host.read(&file).unwrap()).unwrap();
        json["operator"] = word.into();
        host.write(&file, &serde_json::to_vec(&json).unwrap(), 0o600).unwrap();
        assert_eq!(record::load(&host).unwrap().operator, operator);
    }
    revert(&host).unwrap();
}
