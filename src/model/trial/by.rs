//! Who ended a trial.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who ended a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The operator, with `keep` or `revert`.
    Operator,
    /// The guard, at the deadline or when told to stop.
    Guard,
    /// The kernel, by the dates in the rules.
    Fuse,
    /// A reboot.
    Boot,
}

impl By {
    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Guard => "guard",
            Self::Fuse => "fuse",
            Self::Boot => "boot",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
