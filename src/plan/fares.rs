//! Who gets in before and after a plan, for each endpoint that it affects.

use super::goals::{concerns, covers, goal_of};
use crate::analyse::{Endpoint, Exposure, Report};
use crate::model::{Family, Goal, Plan, View};

/// How an endpoint fares over one family.
#[derive(Clone, Copy, Debug)]
pub struct Fare<'a> {
    /// The endpoint.
    pub endpoint: &'a Endpoint,
    /// The family.
    pub family: Family,
    /// Who gets in now.
    pub before: &'a Exposure,
    /// Who gets in after the change.
    pub after: &'a Exposure,
}

impl Fare<'_> {
    /// Whether the plan changes who gets in.
    pub fn is_changed(&self) -> bool {
        self.before.reach != self.after.reach
    }
}

/// How the endpoints fare that this plan, or the kept one, is about; endpoints that nobody reaches before or after are
/// left out.
pub fn fares<'a>(view: &View, (plan, kept): (&Plan, &Plan), before: &'a Report, after: &'a Report) -> Vec<Fare<'a>> {
    let mut goals: Vec<Goal> = plan.rules.iter().chain(&kept.rules).flat_map(|r| r.to.clone()).collect();
    // Services on another one's ports fare with it.
    let others: Vec<Goal> = before
        .endpoints
        .iter()
        .map(|j| goal_of(&j.endpoint))
        .filter(|g| goals.iter().any(|o| covers(view, o, g)))
        .collect();
    goals.extend(others);
    let mut out = Vec::new();
    for j in before.endpoints.iter().filter(|j| concerns(&goals, &j.endpoint)) {
        let same = |e: &Endpoint| e.kind == j.endpoint.kind && e.label() == j.endpoint.label();
        let Some(then) = after.endpoints.iter().find(|a| same(&a.endpoint)) else { continue };
        for family in Family::BOTH {
            let (Some(a), Some(b)) = (&j.exposure[family.index()], &then.exposure[family.index()]) else { continue };
            if !(a.reach.blocked.is_full() && b.reach.blocked.is_full()) {
                out.push(Fare { endpoint: &j.endpoint, family, before: a, after: b });
            }
        }
    }
    out
}
