//! Which plan ought to be in force on this host (the one on trial, or the last one kept), whether it is, and what boot
//! would load instead. The rules are read once for all these questions.

use super::loaded::Loaded;
use super::record::{self, Record};
use super::status::{self, Status};
use super::written;
use super::{history, load};
use crate::host::Host;
use crate::model::trial::State;
use crate::model::{Family, Ruleset, View};
use crate::observe::live;
use crate::plan::{Enforced, FamilyChange, Force, InForce, judge, something_before};

/// Judges by the loaded rules: by our own chains alone if these show no fault.
fn judged(loaded: Loaded, families: &[FamilyChange], on_trial: bool) -> Force {
    match loaded {
        Loaded::Seen(view) => judge(families, on_trial, view),
        Loaded::Fresh(fresh) => of_ours(fresh.host(), families, on_trial, fresh.ours())
            .unwrap_or_else(|| of_rules(fresh.host(), families, on_trial, fresh.into_all())),
    }
}

/// Judges by our own chains; `None` if they do not show that all is well.
fn of_ours(host: &dyn Host, families: &[FamilyChange], on_trial: bool, ours: &[Option<Ruleset>; 2]) -> Option<Force> {
    let [v4, v6] = ours.clone();
    let view = View { at: host.now().wall, v4, v6, ..View::empty(host.source(), "") };
    let whole = families.iter().all(|c| view.rules(c.family()).is_some());
    let force = (whole && !something_before(families, &view)).then(|| judge(families, on_trial, &view))?;
    force.faults.is_empty().then_some(force)
}

/// Judges by freshly read rules. The rest of the host is read only if something comes before our rules.
pub(super) fn of_rules(
    host: &dyn Host,
    families: &[FamilyChange],
    on_trial: bool,
    rules: [Option<Ruleset>; 2],
) -> Force {
    let mut view = View::empty(host.source(), "");
    view.at = host.now().wall;
    let [v4, v6] = rules;
    (view.v4, view.v6) = (v4, v6.filter(|_| live::has_ipv6(host)));
    if something_before(families, &view) {
        live::surroundings(host, &mut view);
    }
    judge(families, on_trial, &view)
}

/// The pending or last trial, and whether what ought to be in force is: one reading of the rules for both. If the trial
/// moves on meanwhile, file and rules are of different moments and contradict each other: both are read again.
pub fn enforced(host: &dyn Host) -> (Status, Enforced) {
    let stands = || record::load(host).map(|r| (r.id.clone(), r.state()));
    let mut looks = 0;
    loop {
        let before = stands();
        let loaded = Loaded::fresh(host);
        let status = status::by(host, &loaded);
        let enforced = by(host, &status, loaded);
        looks += 1;
        if looks == LOOKS || stands() == before {
            return (status, enforced);
        }
    }
}

/// How often both are read if a trial is being applied, kept or reverted meanwhile.
const LOOKS: u32 = 4;

/// The same for a host that was read just now.
pub fn enforced_by(host: &dyn Host, view: &View) -> Enforced {
    let status = status::by(host, &Loaded::Seen(view));
    by(host, &status, Loaded::Seen(view))
}

fn by(host: &dyn Host, status: &Status, loaded: Loaded) -> Enforced {
    let pending = status.trial.as_ref().filter(|t| t.state().is_pending());
    let boot_files = written::look(host, pending);
    let in_force = due(host, status).map(|(trial, on_trial)| {
        let families = there(host, &trial);
        let force = judged(loaded, &families, on_trial);
        let saved = !force.holds() && load::holds(host, &families);
        InForce { trial: trial.id, on_trial, force, saved }
    });
    Enforced { in_force, boot_files }
}

/// The trial whose plan ought to be in force, and whether it is still running.
fn due(host: &dyn Host, status: &Status) -> Option<(Record, bool)> {
    match &status.trial {
        Some(t) if t.state() == State::Running => Some((t.clone(), true)),
        // It is being applied, kept or reverted.
        Some(t) if t.state().is_pending() && !matches!(t.state(), State::Expired | State::Lost) => None,
        _ => history::kept_last(host).map(|t| (t, false)),
    }
}

/// A trial's change without the families that this host does not have.
pub(super) fn there(host: &dyn Host, trial: &Record) -> Vec<FamilyChange> {
    trial.families.iter().filter(|c| c.family() != Family::V6 || live::has_ipv6(host)).cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;
    use crate::analyse::FindingCode;
    use crate::host::demo::Breakage;
    use crate::host::{Cmd, Host, Identity, Tools};
    use crate::model::{Code, Plan};
    use crate::plan::{Extent, Fault};
    use crate::syntax::iptables_save;
    use crate::trial::crash::{Dying, cure, machine, options, settled};
    use crate::trial::{Reverted, apply, history, keep, revert, save};

    fn extent(host: &dyn Host) -> Option<(bool, Extent)> {
        enforced(host).1.in_force.map(|p| (p.on_trial, p.force.extent()))
    }

    fn load(host: &dyn Tools, tool: &str, script: &str) {
        host.run(&Cmd::new(tool, &["--noflush"]).input(format!("*filter\n{script}\nCOMMIT\n"))).unwrap();
    }

    #[test]
    fn the_plan_on_trial_or_the_last_kept_one_is_judged() {
        let host = machine(false, 0, false);
        assert_eq!(extent(&host), None, "nothing was kept");
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        assert_eq!(extent(&host), Some((true, Extent::Whole)));
        // As `firewall-cmd --reload` does during a trial.
        load(&host, "iptables-restore", "-D INPUT ! -i lo -j PORTCULLIS");
        assert_eq!(extent(&host), Some((true, Extent::Part)));
        load(&host, "iptables-restore", "-I INPUT 1 ! -i lo -j PORTCULLIS");
        keep(&host, true).unwrap();
        assert_eq!(extent(&host), Some((false, Extent::Whole)));
        // Another trial that is reverted restores what was kept before.
        apply(&host, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap();
        assert_eq!(extent(&host), Some((true, Extent::Whole)));
        revert(&host).unwrap();
        settled(&host);
        assert_eq!(extent(&host), Some((false, Extent::Whole)));
        load(&host, "ip6tables-restore", "-I INPUT 1 -p tcp -m tcp --dport 111 -j ACCEPT");
        let now = enforced(&host).1.in_force.unwrap();
        assert!(matches!(now.force.faults.as_slice(), [Fault::Overruled { family: Family::V6, .. }]), "{now:?}");
        assert_eq!(enforced_by(&host, &live::observe(&host)).in_force, Some(now), "a look says the same");
    }

    #[test]
    fn a_revert_to_a_plan_without_its_jump_and_a_save_of_it_say_that_it_is_not_in_force() {
        let host = machine(true, 0, false);
        let all = |mode| save::preview(&host, mode).unwrap().refused;
        assert!([save::Mode::All, save::Mode::Unmanaged, save::Mode::Ours].iter().all(|m| all(*m).is_none()));
        apply(&host, &cure("192.0.2.13"), &options(), &mut |_| {}).unwrap();
        load(&host, "iptables-restore", "-D INPUT ! -i lo -j PORTCULLIS");
        let Reverted::Trial(ended) = revert(&host).unwrap() else { panic!("it was pending") };
        settled(&host);
        assert!(ended.jumpless && ended.reverted().contains("not in force"), "{ended:?}");
        assert_eq!(extent(&host), Some((false, Extent::Part)));
        // Files with the chains but without the jump do not count as a save; our own part brings the jump.
        for mode in [save::Mode::All, save::Mode::Unmanaged] {
            let refused = all(mode).unwrap();
            assert!(
                refused.code == Code::NotInForce && refused.what.contains("our jump to them is gone"),
                "{refused:?}"
            );
        }
        assert_eq!(all(save::Mode::Ours), None);
        load(&host, "iptables-restore", "-I INPUT 1 ! -i lo -j PORTCULLIS");
        assert_eq!(all(save::Mode::All), None);
    }

    #[test]
    fn the_rules_are_read_once() {
        let host = machine(true, 0, false);
        host.break_reading(Family::V4, 1, Breakage::Fails);
        assert_eq!(extent(&host), Some((false, Extent::Unknown)), "a second reading would have succeeded");
        assert_eq!(extent(&host), Some((false, Extent::Whole)));
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        host.break_reading(Family::V4, 1, Breakage::Fails);
        assert_eq!(extent(&host), Some((true, Extent::Unknown)));
        revert(&host).unwrap();
    }

    #[test]
    fn a_boot_without_the_kept_plan_is_reported_with_a_remedy() {
        let before = machine(false, 0, false);
        let loaded = Family::BOTH.map(|f| before.loaded(f));
        let host = machine(true, 0, false);
        for (set, tool) in loaded.iter().zip(["iptables-restore", "ip6tables-restore"]) {
            host.run(&Cmd::new(tool, &[]).input(iptables_save::write(set, false))).unwrap();
        }
        for name in host.list(&host.paths().run) {
            host.remove(&host.paths().run.join(name)).unwrap();
        }
        let later = Dying::new(&host, 0, false).at_home(Identity { boot_id: "later".to_owned(), ..host.identity() });
        assert_eq!(extent(&later), Some((false, Extent::None)));
        // Another namespace of this boot that shares the files kept nothing.
        let other = Dying::new(&host, 0, false).at_home(Identity { netns: 2, ..host.identity() });
        assert_eq!(extent(&other), None);
        let said = enforced(&later).1.findings();
        assert!(
            said[0].code == FindingCode::NotInForce
                && said[0].message.contains("our chains are gone from IPv4 (PORTCULLIS, PORTCULLIS-FWD) and IPv6"),
            "{said:?}"
        );
        // There is nothing to remove, and yet the operator can say that it should stay out.
        let done = apply(&later, &Plan::default(), &options(), &mut |_| {}).unwrap();
        assert_eq!((done.state(), extent(&later)), (State::Kept, Some((false, Extent::Whole))));
        assert_eq!(apply(&later, &Plan::default(), &options(), &mut |_| {}).unwrap_err().code, Code::Nothing);
        assert_eq!(history::all(&later)[0].id, done.id);
    }

    #[test]
    fn a_family_that_the_host_lost_is_not_missed() {
        let host = machine(true, 0, false);
        host.remove("/proc/net/if_inet6".as_ref()).unwrap();
        assert_eq!(extent(&host), Some((false, Extent::Whole)));
    }

    #[test]
    fn keeping_reports_a_void_plan_but_does_not_record_that() {
        let host = machine(false, 0, false);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        load(&host, "iptables-restore", "-I INPUT 1 -p tcp -m tcp --dport 111 -j ACCEPT");
        let kept = keep(&host, true).unwrap();
        let said = kept.remarks.iter().find(|r| r.contains("only partly in force"));
        assert!(
            said.is_some_and(|r| r.contains("`-A INPUT -p tcp -m tcp --dport 111 -j ACCEPT`")),
            "{:?}",
            kept.remarks
        );
        assert!(!record::load(&host).unwrap().remarks.iter().any(|r| r.contains("in force")));
    }
}
