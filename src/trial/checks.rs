//! The checks of a plan on a host: what the plan itself does, and what on this host affects it.

use super::force::enforced_by;
use super::history;
use super::undoers::undoers;
use crate::analyse::{WayIn, ways_in};
use crate::host::Host;
use crate::model::{Family, Plan};
use crate::plan::{self, Change, Check, CheckKind, in_force_checks};

/// What a plan does, and what on this host will undo it.
pub fn checks(host: &dyn Host, plan: &Plan, change: &Change, ways: &[WayIn]) -> Vec<Check> {
    let undone = undoers(host, &change.before, &change.families);
    let undone = undone.into_iter().map(|text| Check::note(CheckKind::Undone, text));
    plan::checks(plan, change, ways).into_iter().chain(undone).collect()
}

/// The same, preceded by whether what was kept is in force, if this is that plan: what the cockpit shows
/// while no trial runs.
pub fn all_checks(host: &dyn Host, plan: &Plan, change: &Change) -> Vec<Check> {
    let view = &change.before;
    let kept = history::kept(host, Family::BOTH.map(|f| view.rules(f))).plan();
    let mut out = in_force_checks(&enforced_by(host, view), plan, &kept, false);
    out.extend(checks(host, plan, change, &ways_in(view, &change.after)));
    out
}
