//! Guided hardening: its steps, and where it was left.

use crate::model::Goal;

/// The steps in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// What others can reach.
    Open,
    /// Which of it is to be protected.
    Which,
    /// Who may still use it.
    Who,
    /// What that changes.
    Change,
    /// The trial.
    Trial,
    /// For the next boot.
    Save,
    /// All is done.
    Done,
}

/// All of them.
pub const STEPS: [Step; 7] = [Step::Open, Step::Which, Step::Who, Step::Change, Step::Trial, Step::Save, Step::Done];

/// Where the guide was left, and what was ticked there.
#[derive(Clone, Debug)]
pub struct Left {
    /// The step.
    pub step: Step,
    /// What may be protected, and whether it was ticked.
    pub ticks: Vec<(Goal, bool)>,
    /// The trial that was the last one then: after another one nothing is done yet.
    pub trial: Option<String>,
}
