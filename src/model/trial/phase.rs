//! What a pending trial comes to: its state, its guard and the kernel's dates, in the words of every place that shows
//! it.

/// How a pending trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialPhase {
    /// The plan is being put in.
    Applying,
    /// It runs, and ends by itself after these seconds.
    Running(u64),
    /// The same, but no file tells of it: only the kernel's dates do.
    Unrecorded(u64),
    /// It runs, the guard is dead and the kernel has no dates. The clock runs for whoever wants to keep it: so many
    /// seconds.
    Unwatched(u64),
    /// Its time is over; the old rules are not back yet.
    Due,
    /// The kernel's dates have passed.
    Expired,
    /// Somebody else took its rules out, and those that were kept before with them.
    Lost,
    /// It is being kept.
    Keeping,
    /// The old rules are being put back.
    Reverting,
    /// The keep was cut short.
    KeepCut,
    /// The revert was cut short.
    RevertCut,
}

/// A keep needs this many seconds on the clock and on the fuse, so that it is over before guard or kernel switch back.
pub const KEEP_MARGIN: u64 = 3;

impl TrialPhase {
    /// Seconds until it ends by itself; `None`: no clock is to be shown.
    pub fn left(self) -> Option<u64> {
        match self {
            Self::Running(left) | Self::Unrecorded(left) => Some(left),
            _ => None,
        }
    }

    /// What happens, half a sentence; without a clock it stands behind the state's word.
    pub fn says(self) -> String {
        match self {
            Self::Applying => "the plan is being put in".to_owned(),
            Self::Running(left) | Self::Unrecorded(left) => format!("the old rules come back in {}", clock(left)),
            Self::Unwatched(_) => {
                "nothing brings the old rules back: the guard is dead, and the kernel has no dates".to_owned()
            }
            Self::Due => "the time is over: the old rules are about to come back".to_owned(),
            Self::Expired => "the kernel went back to the old rules by itself".to_owned(),
            Self::Lost => {
                "its rules are not loaded any more, and what was kept before is not either: somebody took both out"
                    .to_owned()
            }
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
            Self::Expired => "takes what is left of it out",
            Self::Lost => "ends it; then apply what was kept before again",
            Self::RevertCut => "finishes the revert",
            _ => "reverts now",
        }
    }

    /// The commands that end it, half a sentence.
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
