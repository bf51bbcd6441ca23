//! The plan that the operator makes.

use super::protocol::Proposal;
use crate::model::Plan;

/// What is staged, and what it was before.
#[derive(Debug, Default)]
pub struct Staged {
    /// The plan.
    pub plan: Plan,
    /// Plans before the last changes, for undo.
    pub before: Vec<Plan>,
    /// What was handed over to be applied last.
    pub proposed: Option<Proposal>,
}

impl Staged {
    /// Changes the plan; whether it is another one now. What was before can be had back.
    pub fn change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let before = self.plan.clone();
        change(&mut self.plan);
        let changed = self.plan != before;
        if changed {
            self.before.push(before);
        }
        changed
    }

    /// Takes the last change back; whether there was one.
    pub fn undo(&mut self) -> bool {
        self.before.pop().map(|plan| self.plan = plan).is_some()
    }
}
