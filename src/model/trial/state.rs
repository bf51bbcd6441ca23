//! The states of a trial; the transitions are in `trial/machine.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The guard is watching; the kernel is unchanged.
    Armed,
    /// The plan is live and the clock runs.
    Running,
    /// The dates are being removed.
    Keeping,
    /// The plan stays.
    Kept,
    /// The old rules are being put back.
    Reverting,
    /// The old rules are back.
    Reverted,
    /// The fuse passed, and there was no guard to clean up.
    Expired,
    /// Nothing was changed, or the change was undone at once.
    Failed,
    /// Another program removed the trial's rules, and with them those kept before. Only detected, never stored.
    Lost,
}

impl State {
    /// Whether the kernel may still hold rules of the trial that must be ended.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Armed | Self::Running | Self::Keeping | Self::Reverting | Self::Expired | Self::Lost)
    }

    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Running => "running",
            Self::Keeping => "keeping",
            Self::Kept => "kept",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
