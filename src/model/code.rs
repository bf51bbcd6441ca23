//! Why something was not done, as a code: it has a word in JSON and decides the exit code.

use std::fmt;

/// Exit code for failures.
pub const FAILED: u8 = 1;
/// Exit code for bad usage.
pub const USAGE: u8 = 2;
/// Exit code for refusals by a safety check.
pub const REFUSED: u8 = 3;

/// One table: each code with its meaning, its word and its exit code. Published words are stable.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $exit:ident;)*) => {
        /// Why something was not done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All codes, ordered by exit code and word.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word in JSON. Two codes with different exit codes may share one.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The exit code of the program.
            pub fn exit(self) -> u8 {
                match self {
                    $(Self::$name => $exit,)*
                }
            }
        }
    };
}

codes! {
    /// A family refused the plan, or reads back differently.
    ApplyFailed = "apply-failed", FAILED;
    /// The input is captured text, not a host.
    Capture = "capture", FAILED;
    /// A bug in the program.
    Defect = "defect", FAILED;
    /// The trial could not be extended.
    ExtendFailed = "extend-failed", FAILED;
    /// Unreadable or unknown input, a missing tool, or anything without a code of its own.
    Failed = "failed", FAILED;
    /// The trial could not be kept and was reverted.
    KeepFailed = "keep-failed", FAILED;
    /// The requested time of the trial is too short or too long.
    Limits = "limits", FAILED;
    /// Our saved rules could not be loaded.
    LoadFailed = "load-failed", FAILED;
    /// No trial is pending.
    NoTrial = "no-trial", FAILED;
    /// The plan changes nothing.
    Nothing = "nothing", FAILED;
    /// No rules of ours have been saved.
    NothingSaved = "nothing-saved", FAILED;
    /// The plan cannot be built.
    Plan = "plan", FAILED;
    /// The rehearsal failed.
    Rehearsal = "rehearsal", FAILED;
    /// The old rules are not back yet.
    RevertFailed = "revert-failed", FAILED;
    /// The run directory cannot be used.
    RunDir = "run-dir", FAILED;
    /// The files that boot loads could not be read or written.
    Save = "save", FAILED;
    /// Our boot unit could not be installed.
    Unit = "unit", FAILED;
    /// Rules or files could not be read.
    Unreadable = "unreadable", FAILED;
    /// A name has no address.
    Unresolved = "unresolved", FAILED;
    /// The written files would not load at boot.
    Unproven = "unproven", FAILED;
    /// The old rules were put back, but could not be read back.
    Unverified = "unverified", FAILED;
    /// Bad usage.
    Usage = "usage", USAGE;
    /// Another portcullis is running.
    Busy = "busy", REFUSED;
    /// A file that boot loads contains the dates of a trial.
    Dated = "dated", REFUSED;
    /// The question was not answered with yes.
    Declined = "declined", REFUSED;
    /// A file of ours contains something that portcullis did not write.
    Foreign = "foreign", REFUSED;
    /// The operator would be locked out.
    Lockout = "lockout", REFUSED;
    /// The firewall or the files have changed since they were shown.
    Moved = "moved", REFUSED;
    /// Rules are only written to regular files.
    NoFile = "no-file", REFUSED;
    /// The kernel could not end the trial on its own.
    NoFuse = "no-fuse", REFUSED;
    /// No guard is available.
    NoGuard = "no-guard", REFUSED;
    /// No new login has proved that the way in is open.
    NoProof = "no-proof", REFUSED;
    /// The change cannot be rehearsed.
    NoRehearsal = "no-rehearsal", REFUSED;
    /// Nothing is changed while the run directory cannot be used.
    NoRunDir = "run-dir", REFUSED;
    /// There is no terminal to ask on.
    NoTerminal = "no-terminal", REFUSED;
    /// The guard was given no trial to watch.
    NotGuarding = "no-trial", REFUSED;
    /// The save would not contain the kept plan.
    NotInForce = "not-in-force", REFUSED;
    /// The trial's rules are not loaded in the kernel.
    NotLive = "not-live", REFUSED;
    /// Nothing would load the files at boot.
    NotLoaded = "not-loaded", REFUSED;
    /// Only root may do this.
    NotRoot = "not-root", REFUSED;
    /// A trial is pending.
    Pending = "pending", REFUSED;
    /// The plan removes kept rules.
    Replace = "replace", REFUSED;
    /// Boot would load the rules before the ipsets that they name.
    Sets = "sets", REFUSED;
    /// The old rules could not be stored.
    Snapshot = "snapshot", REFUSED;
    /// The trial is about to be reverted.
    TooLate = "too-late", REFUSED;
    /// A trial lasts one hour at most.
    TooLong = "too-long", REFUSED;
    /// A table that cannot be read completely is not changed.
    UnreadableRules = "unreadable", REFUSED;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Other programs rely on the words: the README lists them by exit code.
    #[test]
    fn the_words_are_those_that_are_published() {
        let (_, list) = include_str!("../../README.md").split_once("| exit | codes |\n|---|---|\n").unwrap();
        let published: BTreeSet<(u8, &str)> = list
            .lines()
            .map_while(|l| l.strip_prefix("| ")?.split_once(" | "))
            .flat_map(|(exit, words)| words.split('`').skip(1).step_by(2).map(|w| (exit.parse().unwrap(), w)))
            .collect();
        let ours: Vec<(u8, &str)> = Code::ALL.iter().map(|c| (c.exit(), c.as_str())).collect();
        assert_eq!(ours.iter().copied().collect::<BTreeSet<_>>(), published);
        assert_eq!(ours.len(), published.len(), "a word occurs twice with the same exit code");
    }
}
