//! Guided hardening: its steps, and where it was left.

use crate::model::Goal;

/// The steps in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// What others can reach.
    Open,
    /// What to protect.
    Which,
    /// Who may still use it.
    Who,
    /// What the plan changes.
    Change,
    /// The trial.
    Trial,
    /// Saving for the next boot.
    Save,
    /// All is done.
    Done,
}

/// All of them.
pub const STEPS: [Step; 7] = [Step::Open, Step::Which, Step::Who, Step::Change, Step::Trial, Step::Save, Step::Done];

/// Where the guide was left, and what was ticked.
#[derive(Clone, Debug)]
pub struct Left {
    /// The step.
    pub step: Step,
    /// What may be protected, and whether it was ticked.
    pub ticks: Vec<(Goal, bool)>,
    /// The latest trial at that time: after a newer one, nothing is done yet.
    pub trial: Option<String>,
}
