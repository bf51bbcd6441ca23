//! Why something was not done.

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
        Self::refused("not-root", "only root can look at or change a trial and the firewall", "run it with sudo; `portcullis demo` and `portcullis FILE...` need no root")
    }

    /// Another of us is at work.
    pub fn busy() -> Self {
        Self::refused("busy", "another portcullis is changing the firewall right now", "try again in a few seconds; `portcullis status` shows what is going on")
    }
}
