//! Why something was not done.

use super::record;
use crate::host::Host;
use crate::model::trial::State;

/// A refusal or a failure: one sentence, what to do about it, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable word for JSON.
    pub code: &'static str,
    /// One sentence.
    pub what: String,
    /// What to do.
    pub hint: String,
    /// 3: a safety check refused; 1: it failed.
    pub exit: u8,
}

impl Refusal {
    /// A safety check said no.
    pub fn refused(code: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: hint.into(), exit: 3 }
    }

    /// It could not be done.
    pub fn failed(code: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: hint.into(), exit: 1 }
    }

    /// Only root may.
    pub fn not_root() -> Self {
        Self::refused(
            "not-root",
            "only root can look at or change a trial and the firewall",
            "run it with sudo; `portcullis demo` and `portcullis FILE...` need no root",
        )
    }

    /// The files tell of a trial that is not ours to touch.
    pub fn elsewhere(state: State) -> Self {
        Self::refused(
            "pending",
            format!(
                "a trial is pending in another network namespace that shares this run directory \
                ({})",
                state.word()
            ),
            "end it there with `portcullis keep` or `portcullis revert`, or give this namespace a PORTCULLIS_RUN_DIR \
                of \
                its own",
        )
    }

    /// Another of us is at work.
    pub fn busy(host: &dyn Host) -> Self {
        let who = record::holder(host).map_or_else(|| "another portcullis".to_owned(), |h| h.to_string());
        Self::refused(
            "busy",
            format!("{who} is changing the firewall right now"),
            "try again in a few seconds; `portcullis status` shows what is going on",
        )
    }
}
