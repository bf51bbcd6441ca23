//! The operator's plan.

use super::protocol::Proposal;
use crate::model::Plan;

/// The staged plan and its history.
#[derive(Debug, Default)]
pub struct Staged {
    /// The plan.
    pub plan: Plan,
    /// Plans before the last changes, for undo.
    pub before: Vec<Plan>,
    /// The plan handed over last to be applied.
    pub proposed: Option<Proposal>,
}

impl Staged {
    /// Changes the plan so that it can be undone; returns whether it is different now.
    pub fn change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let before = self.plan.clone();
        change(&mut self.plan);
        let changed = self.plan != before;
        if changed {
            self.before.push(before);
        }
        changed
    }

    /// Undoes the last change; returns whether there was one.
    pub fn undo(&mut self) -> bool {
        self.before.pop().map(|plan| self.plan = plan).is_some()
    }
}
