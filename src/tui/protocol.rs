//! The messages between the screen and the worker.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::facts::{Planned, Rates, Seen, TrialSeen};
use crate::analyse::{Packet, Trace};
use crate::model::trial::Allowed;
use crate::model::{Code, FileOrigin, Plan, SaveMode, View};
use crate::plan::Enforced;

/// What the worker is asked to do.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is one word of the screens")]
pub enum Request {
    Look,
    Work(Plan),
    Trace(Packet),
    Resolve(String),
    Change(Change),
    /// Start or stop reading the counters every two seconds.
    Rates(bool),
    /// Compare what was loaded before a trial with what is loaded now.
    Snapshot(String),
    Export {
        path: String,
        text: String,
    },
    StoreDraft(Plan),
    Stop,
}

/// Requests to the thread that changes the host.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is one word of the screens")]
pub enum Change {
    Apply {
        what: Proposal,
        within: Duration,
    },
    Keep {
        without_proof: bool,
    },
    Revert,
    Extend,
    /// Without a mode, the usual one on this host.
    SavePreview {
        mode: Option<SaveMode>,
    },
    Save {
        mode: SaveMode,
    },
}

impl Change {
    /// The text shown while it is in progress; `None` if nothing has to wait for it.
    pub fn doing(&self) -> Option<&'static str> {
        match self {
            Self::Apply { .. } => Some("applying"),
            Self::Keep { .. } => Some("keeping"),
            Self::Revert => Some("reverting"),
            Self::Save { .. } => Some("saving"),
            Self::Extend | Self::SavePreview { .. } => None,
        }
    }
}

/// What the worker answers.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is one word of the screens")]
pub enum Reply {
    Seen(Arc<Seen>),
    Planned(Arc<Planned>),
    Traced(Arc<Trace>),
    Resolved {
        name: String,
        addrs: Result<Vec<IpAddr>, String>,
    },
    /// Progress of a look.
    Progress(String),
    /// Progress of a change.
    Changing(String),
    /// Whether what ought to be in force is, and what boot would load instead.
    Enforced(Enforced),
    Rates(Arc<Rates>),
    Snapshot {
        id: String,
        diff: String,
        whole: String,
    },
    Trial(Option<TrialSeen>),
    Began(TrialSeen),
    Past(Vec<TrialSeen>),
    Draft(Draft),
    SavePreview {
        mode: SaveMode,
        text: String,
    },
    /// A change was done.
    Done(String),
    /// What boot loads was written: what was done, and what is left to do so that boot loads it.
    Saved(String, Option<String>),
    /// A file was written; a change may still be under way.
    Written(String),
    /// A look, or writing a file, failed.
    Failed {
        what: String,
        hint: String,
        of: Task,
    },
    /// A change was refused.
    Refused {
        what: String,
        hint: String,
        code: Code,
    },
}

/// What the worker was doing when something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Anything: a bug in the program.
    Defect,
    /// Counters.
    Rates,
    /// The rules from before a trial.
    Snapshot,
    /// A file for the operator.
    Export,
    /// The draft of the plan.
    Draft,
}

/// A plan to be applied, exactly as the operator saw it: the staged plan and the look may change while the question is
/// open.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The plan.
    pub plan: Plan,
    /// The host as it was seen; if it has changed since, applying is refused.
    pub seen: Arc<View>,
    /// What is allowed.
    pub allowed: Allowed,
    /// What was already confirmed before a refusal, and is not asked again.
    pub said: Allowed,
}

impl Proposal {
    /// The words that must be typed to confirm, besides those typed before; `None` if a plain yes is enough.
    pub fn phrase(&self) -> Option<&'static str> {
        let (now, before) = (self.allowed, self.said);
        [
            (now.lockout && !before.lockout, "lock me out"),
            (now.without_fuse && !before.without_fuse, "without fuse"),
            (now.without_rehearsal && !before.without_rehearsal, "without rehearsal"),
        ]
        .into_iter()
        .find(|(asked, _)| *asked)
        .map(|(_, words)| words)
    }
}

/// A plan that was staged in an earlier session.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The plan.
    pub plan: Plan,
    /// The file that holds it.
    pub origin: FileOrigin,
    /// Seconds since it was written.
    pub age: u64,
}

impl Draft {
    /// Where it comes from.
    pub fn whence(&self) -> String {
        let (number, unit) = match self.age {
            0..60 => return format!("{}, just now", self.origin.shown()),
            60..3600 => (self.age / 60, "minute"),
            3600..86_400 => (self.age / 3600, "hour"),
            _ => (self.age / 86_400, "day"),
        };
        format!("{}, {number} {unit}{} ago", self.origin.shown(), if number == 1 { "" } else { "s" })
    }
}
