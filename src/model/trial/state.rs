//! The states of a trial; what may follow what is `trial/machine.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The guard watches; the kernel is as it was.
    Armed,
    /// The plan is live and the clock runs.
    Running,
    /// The dates are being taken out.
    Keeping,
    /// The plan stays.
    Kept,
    /// The old rules are being put back.
    Reverting,
    /// The old rules are back.
    Reverted,
    /// The fuse passed and no guard was there to clean up.
    Expired,
    /// Nothing was changed, or what was changed was undone at once.
    Failed,
    /// Somebody else took the trial's rules out, and with them those that were kept before; only ever found, never
    /// written.
    Lost,
}

impl State {
    /// Whether the kernel may still hold something that has to be ended.
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
