//! The cockpit and the command line give the same checks of a plan.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::host::demo::Demo;
use crate::host::{Cmd, Host, Tools};
use crate::model::trial::Allowed;
use crate::observe::live::observe;
use crate::plan::{Check, CheckKind, Grade, build};
use crate::trial::{self, Options};

fn rules(rules: &[(&str, &str, &str)]) -> Plan {
    let rules = rules
        .iter()
        .map(|(action, from, to)| format!("[[rule]]\naction = \"{action}\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\n"));
    crate::syntax::plan::read(&format!("version = 1\n{}", rules.collect::<String>())).unwrap()
}

fn demo() -> Demo {
    Demo::new().with_guard(|host, id| drop(trial::guard::watch(&host, id, &AtomicBool::new(false))))
}

/// What the Plan screen shows for a plan on a host.
fn on_screen(host: &Demo, plan: &Plan) -> Vec<Check> {
    let mut c = Cockpit::of(|out| Worker::start_on(Arc::new(host.clone()), out).unwrap(), usual(), 80, 24, false);
    c.app.shared.stage(|p| *p = plan.clone());
    c.until(|a| crate::tui::applying::current(&a.shared).is_some());
    crate::tui::applying::all_checks(&c.app.shared, c.app.shared.facts.planned.as_deref().unwrap())
}

/// What `portcullis apply` prints: before its question, and with `--yes`; the plan is not applied.
fn on_the_command_line(host: &Demo, plan: &Plan) -> [Vec<Check>; 2] {
    let asked = trial::all_checks(host, plan, &build(&observe(host), plan).unwrap());
    let mut told = Vec::new();
    host.break_tool("iptables-restore", 1);
    let begun = trial::apply_telling(host, plan, &Options::default(), &mut |_| (), &mut |c| told = c.to_vec());
    assert!(begun.is_err(), "the rehearsal cannot have gone well");
    [asked, told]
}

/// The same checks on both ways, and what of them is bad.
fn bad(host: &Demo, plan: &Plan) -> Vec<CheckKind> {
    let screen = on_screen(host, plan);
    let [asked, told] = on_the_command_line(host, plan);
    assert_eq!(asked, screen);
    assert_eq!(told, screen);
    screen.into_iter().filter(|c| c.grade == Grade::Bad).map(|c| c.kind).collect()
}

#[test]
fn the_command_line_and_the_cockpit_give_the_same_checks() {
    let cure = rules(&[("allow", "192.0.2.11", "portmapper"), ("drop", "any", "portmapper")]);
    assert_eq!(bad(&demo(), &cure), []);
    assert_eq!(bad(&demo(), &rules(&[("drop", "any", "22/tcp")])), [CheckKind::WayIn, CheckKind::Clients]);
    let twisted = rules(&[("drop", "any", "nlockmgr"), ("allow", "192.0.2.11", "nlockmgr")]);
    let found = bad(&demo(), &twisted);
    assert!(found.contains(&CheckKind::Overruled) && found.contains(&CheckKind::MovingPorts), "{found:?}");
    // Files that boot loads without the plan.
    let managed = demo();
    managed.write(Path::new("/etc/iptables/rules.v4"), b"*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", 0o644).unwrap();
    bad(&managed, &cure);
    assert!(on_screen(&managed, &cure).iter().any(|c| c.kind == CheckKind::Undone));
}

#[test]
fn what_was_kept_and_is_not_in_force_is_said_on_both() {
    let cure = rules(&[("allow", "192.0.2.11", "portmapper"), ("drop", "any", "portmapper")]);
    let host = demo();
    let options = Options { allowed: Allowed { without_rehearsal: true, ..Allowed::default() }, ..Options::default() };
    trial::apply(&host, &cure, &options, &mut |_| ()).unwrap();
    trial::keep(&host, true).unwrap();
    let script = "*filter\n-D INPUT ! -i lo -j PORTCULLIS\nCOMMIT\n";
    assert!(host.run(&Cmd::new("iptables-restore", &["--noflush"]).input(script.to_owned())).unwrap().status == 0);
    assert_eq!(bad(&host, &cure), [CheckKind::InForce]);
    // Another plan: what was kept before does not matter. Its rules go.
    assert_eq!(bad(&host, &rules(&[("drop", "192.0.2.13", "portmapper")])), [CheckKind::TakenAway]);
}
