//! The phase of a pending trial, from its state, its guard and the kernel's dates, in the words shown everywhere.

/// The phase of a pending trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialPhase {
    /// The plan is being applied.
    Applying,
    /// Running; it ends on its own after this many seconds.
    Running(u64),
    /// Running, but without a state file: only the kernel's dates show it. Seconds left.
    Unrecorded(u64),
    /// Running, but the guard is dead and the kernel has no dates, so nothing ends it. Seconds left for a keep.
    Unwatched(u64),
    /// The time is over; the old rules are not back yet.
    Due,
    /// The kernel's dates have passed.
    Expired,
    /// Another program removed its rules, and the previously kept rules too.
    Lost,
    /// It is being kept.
    Keeping,
    /// The old rules are being put back.
    Reverting,
    /// The keep was interrupted.
    KeepCut,
    /// The revert was interrupted.
    RevertCut,
}

/// A keep needs this many seconds left on the clock and on the fuse, so that it completes before the guard or the
/// kernel switches back.
pub const KEEP_MARGIN: u64 = 3;

impl TrialPhase {
    /// Seconds until it ends on its own; `None` if there is no clock to show.
    pub fn left(self) -> Option<u64> {
        match self {
            Self::Running(left) | Self::Unrecorded(left) => Some(left),
            _ => None,
        }
    }

    /// What is happening, as a clause; without a clock it follows the state's word.
    pub fn says(self) -> String {
        match self {
            Self::Applying => "the plan is being applied".to_owned(),
            Self::Running(left) | Self::Unrecorded(left) => format!("the old rules come back in {}", clock(left)),
            Self::Unwatched(_) => {
                "nothing brings the old rules back: the guard is dead, and the kernel has no dates".to_owned()
            }
            Self::Due => "the time is over: the old rules are about to come back".to_owned(),
            Self::Expired => "the kernel has switched back to the old rules".to_owned(),
            Self::Lost => "its rules are no longer loaded, nor are those kept before: somebody removed both".to_owned(),
            Self::Keeping => "the new rules are being kept".to_owned(),
            Self::Reverting => "the old rules are being put back".to_owned(),
            Self::KeepCut => "stuck half-way, the keep was cut short".to_owned(),
            Self::RevertCut => "stuck half-way, the revert was cut short".to_owned(),
        }
    }

    /// Whether it can be kept.
    pub fn keeps(self) -> bool {
        matches!(self, Self::Running(left) | Self::Unwatched(left) if left > KEEP_MARGIN) || self == Self::KeepCut
    }

    /// Whether it can have more time.
    pub fn extends(self) -> bool {
        matches!(self, Self::Running(left) | Self::Unwatched(left) if left > 0)
    }

    /// What a keep does.
    pub fn keep_does(self) -> &'static str {
        if self == Self::KeepCut { "finishes the keep" } else { "keeps the plan and stops the clock" }
    }

    /// What a revert does.
    pub fn revert_does(self) -> &'static str {
        match self {
            Self::Expired => "removes what is left of it",
            Self::Lost => "ends it; then apply the previous plan again",
            Self::RevertCut => "finishes the revert",
            _ => "reverts now",
        }
    }

    /// The commands that end it, as a clause.
    pub fn commands(self) -> String {
        let keep = if self.keeps() { format!("`portcullis keep` {}, ", self.keep_does()) } else { String::new() };
        format!("{keep}`portcullis revert` {}", self.revert_does())
    }
}

/// `43 s`, `2 min 05 s`.
pub fn clock(left: u64) -> String {
    if left < 100 { format!("{left} s") } else { format!("{} min {:02} s", left / 60, left % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_refused_is_not_offered() {
        for phase in [
            TrialPhase::Applying,
            TrialPhase::Unrecorded(30),
            TrialPhase::Due,
            TrialPhase::Expired,
            TrialPhase::Lost,
            TrialPhase::Keeping,
            TrialPhase::Reverting,
            TrialPhase::RevertCut,
        ] {
            assert!(!phase.keeps() && !phase.extends() && !phase.commands().contains("keep"), "{phase:?}");
        }
        assert!(TrialPhase::Running(30).keeps() && TrialPhase::Unwatched(30).keeps() && TrialPhase::KeepCut.keeps());
        assert!(!TrialPhase::Running(KEEP_MARGIN).keeps());
        assert_eq!(TrialPhase::Unwatched(30).left(), None);
        assert_eq!((clock(43), clock(125)), ("43 s".to_owned(), "2 min 05 s".to_owned()));
    }
}
