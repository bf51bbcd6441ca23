//! Words for answers: a verdict, the rule that it is about, and the steps that led to it.

use std::fmt;

use crate::model::Family;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The loaded rules let it through.
    Accept,
    /// It is certainly dropped.
    Drop,
    /// It is certainly refused with an answer.
    Reject,
    /// The rules alone do not decide.
    Depends,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Depends => "depends",
        })
    }
}

/// How one rule fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// All matches hold.
    Matched,
    /// A match certainly does not hold.
    Passed,
    /// It may match.
    MayMatch,
    /// The policy of a built-in chain.
    Policy,
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Matched => "matched",
            Self::Passed => "passed",
            Self::MayMatch => "may match",
            Self::Policy => "policy",
        })
    }
}

/// One rule or policy on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// Number in the chain from 1; `None` for the policy.
    pub rule: Option<usize>,
    /// The rule's `-A` text or the policy's `-P` text.
    pub text: String,
    /// How it fared.
    pub result: StepResult,
}

/// Which rule, or the policy of which chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    /// Family.
    pub family: Family,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// Number in the chain from 1; `None` for its policy.
    pub rule: Option<usize>,
}
