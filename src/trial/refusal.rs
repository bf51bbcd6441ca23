//! Why something was not done.

use super::machine::OutOfTurn;
use super::record;
use crate::host::{Host, Rights};
use crate::model::Code;
use crate::model::trial::State;

/// A refusal or a failure: one sentence and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// Its kind, which decides JSON's word and the exit code.
    pub code: Code,
    /// One sentence.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl From<OutOfTurn> for Refusal {
    /// An event that no longer fits: the trial ended first.
    fn from(e: OutOfTurn) -> Self {
        Self::ended(e.state)
    }
}

impl Refusal {
    /// Something was not done.
    pub fn new(code: Code, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: hint.into() }
    }

    /// Only root may do this.
    pub fn not_root(rights: Rights) -> Self {
        if rights == Rights::RootElsewhere {
            return Self::new(
                Code::NotRoot,
                "root may not read or change the firewall here: this network namespace is not its own",
                "CAP_NET_ADMIN is missing, as under `unshare -Ur` and in containers: run it as root of the host itself",
            );
        }
        Self::new(
            Code::NotRoot,
            "only root can look at or change a trial and the firewall",
            "run it with sudo; `portcullis demo` and `portcullis FILE...` need no root",
        )
    }

    /// There is no trial to end.
    pub fn no_trial() -> Self {
        Self::no_such_trial("no trial is pending")
    }

    /// The last trial has ended.
    pub fn ended(state: State) -> Self {
        Self::no_such_trial(format!("no trial is pending; the last one was {state}"))
    }

    fn no_such_trial(what: impl Into<String>) -> Self {
        Self::new(Code::NoTrial, what, "`portcullis status` shows the last trial; `portcullis apply PLAN` begins one")
    }

    /// The files describe a trial that is not ours to touch.
    pub fn elsewhere(state: State) -> Self {
        Self::new(
            Code::Pending,
            format!(
                "a trial is pending in another network namespace that shares this run directory ({})",
                state.word()
            ),
            "end it there with `portcullis keep` or `portcullis revert`, or give this namespace a PORTCULLIS_RUN_DIR \
            of its own",
        )
    }

    /// Another portcullis process is changing the firewall.
    pub fn busy(host: &dyn Host) -> Self {
        let who = record::holder(host).map_or_else(|| "another portcullis".to_owned(), |h| h.to_string());
        Self::new(
            Code::Busy,
            format!("{who} is changing the firewall right now"),
            "try again in a few seconds; `portcullis status` shows what is going on",
        )
    }
}
