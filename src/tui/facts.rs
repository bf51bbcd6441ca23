//! What is known of the host: looks, verdicts, trials, and what is in progress.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::keymap::Action;
use crate::analyse::{Manager, Report, Trace};
use crate::model::trial::{By, State};
use crate::model::{Diagnostic, Family, Operator, Plan, Source, TrialPhase, View};
use crate::plan::{Check, Enforced, FamilyChange, InForce};

/// One look at the host, and what follows from it.
#[derive(Debug)]
pub struct Seen {
    /// The host.
    pub view: Arc<View>,
    /// Who can reach what.
    pub report: Arc<Report>,
    /// Who gets in is still being worked out; the report only lists what can be reached.
    pub judging: bool,
    /// Chains of both families, for the tree.
    pub chains: [Vec<ChainRow>; 2],
    /// Rules that can never match, and what shadows them.
    pub shadowed: HashMap<RulePlace, usize>,
    /// The plan that is kept on the host and loaded.
    pub kept: Plan,
    /// The trial that it came from.
    pub kept_by: Option<String>,
    /// Whether the source shows counters, per family.
    pub counted: [bool; 2],
}

/// The current counters of all rules, and what each gains per second.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// By family, table and chain, in the order of the rules.
    pub rules: HashMap<(Family, String, String), Vec<Rate>>,
}

/// One rule's counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Packets so far.
    pub packets: u64,
    /// Packets per second since the previous reading.
    pub per_second: f64,
}

/// A rule's place: family, table, chain, number from 1.
pub type RulePlace = (Family, String, String, usize);

/// One chain of the tree.
#[derive(Clone, Debug)]
pub struct ChainRow {
    /// Table.
    pub table: String,
    /// Name.
    pub chain: String,
    /// The program that made it.
    pub owner: Option<Manager>,
    /// Number of rules.
    pub rules: usize,
}

/// A staged plan, worked out for the host as it was seen.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The host that it was worked out for.
    pub view: Arc<View>,
    /// What went wrong, and what to do; nothing else is filled in then.
    pub error: Option<(String, String)>,
    /// Exposure after the plan, of every endpoint.
    pub after: Option<Arc<Report>>,
    /// One line each.
    pub checks: Vec<Check>,
    /// Commands as the operator would type them.
    pub commands: Vec<String>,
    /// Restore scripts.
    pub scripts: String,
    /// Unified difference.
    pub diff: String,
    /// The shell script for export.
    pub shell: String,
    /// The plan removes kept rules.
    pub takes_away: bool,
    /// Nothing would change.
    pub nothing: bool,
    /// The operator's own access would be cut.
    pub lockout: bool,
    /// The change itself.
    pub families: Vec<FamilyChange>,
}

/// A trial as the screens show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialSeen {
    /// Its name.
    pub id: String,
    /// Its state.
    pub state: State,
    /// It still has to be ended.
    pub pending: bool,
    /// Its phase while it is pending.
    pub phase: Option<TrialPhase>,
    /// Whether the guard is alive.
    pub guarded: bool,
    /// It was not begun at a console, so keeping it asks for a new login first.
    pub needs_proof: bool,
    /// The login (user, peer) that proves access.
    pub proof: Option<(String, IpAddr)>,
    /// Who began it.
    pub operator: Operator,
    /// When it began, as text (UTC).
    pub began: String,
    /// When it ended, as text (UTC).
    pub ended: Option<String>,
    /// When its rules were written for the next boot, as text (UTC).
    pub saved: Option<String>,
    /// Why it ended.
    pub why: Option<String>,
    /// Who ended it.
    pub by: Option<By>,
    /// The plan, or the error of its reader.
    pub plan: Result<Plan, Diagnostic>,
    /// What to know about it.
    pub remarks: Vec<String>,
    /// The kernel ends it too.
    pub fuse: bool,
}

impl TrialSeen {
    /// Whether it was kept.
    pub fn is_kept(&self) -> bool {
        self.state == State::Kept
    }

    /// The login that proves access for its operator; if the operator's address is unknown, any login does.
    pub fn proven(&self) -> Option<&(String, IpAddr)> {
        self.proof.as_ref().filter(|(_, peer)| self.operator.peer().is_none_or(|own| own == *peer))
    }

    /// The outlook of a pending trial, as a phrase.
    pub fn stands(&self) -> Option<String> {
        self.phase.map(|p| if p.left().is_some() { p.says() } else { format!("{}: {}", self.state, p.says()) })
    }
}

/// Everything that the worker has reported.
#[derive(Debug, Default)]
pub struct Facts {
    /// The last look; `None` at the start.
    pub seen: Option<Arc<Seen>>,
    /// The staged plan worked out; may lag behind.
    pub planned: Option<Arc<Planned>>,
    /// The pending trial, or the last one.
    pub trial: Option<TrialSeen>,
    /// Past trials, newest first.
    pub past: Vec<TrialSeen>,
    /// Whether what ought to be in force is, and what boot would load instead, as of the last look.
    pub enforced: Enforced,
    /// Counters that are being read repeatedly; `None` if they are not.
    pub rates: Option<Arc<Rates>>,
    /// The path highlighted on the Chains screen.
    pub lit: Option<Arc<Trace>>,
    /// The look in progress.
    pub busy: Option<String>,
    /// Progress of a change to the firewall or to files; another has to wait.
    pub changing: Option<String>,
    /// What is left to do so that boot loads what was saved here.
    pub boot_to_do: Option<String>,
}

impl Facts {
    /// Whether a trial is pending.
    pub fn trial_runs(&self) -> bool {
        self.trial.as_ref().is_some_and(|t| t.pending)
    }

    /// The plan that ought to be in force but is not, or only partly; nothing more is known of any other plan.
    pub fn void(&self) -> Option<&InForce> {
        self.enforced.in_force.as_ref().filter(|p| !p.force.holds() && p.on_trial == self.trial_runs())
    }

    /// The same, if the plan is that of a trial that was kept.
    pub fn void_since_kept(&self, id: &str) -> Option<&InForce> {
        self.void().filter(|p| !p.on_trial && p.trial == id)
    }

    /// Whether somebody saved the rules of a trial to the files that boot loads: they have to be written again.
    pub fn boot_holds_a_trial(&self) -> bool {
        self.enforced.boot_files.iter().any(|f| f.holds.is_bad())
    }

    /// The phase of the pending trial.
    pub fn phase(&self) -> Option<TrialPhase> {
        self.trial.as_ref()?.phase
    }

    /// Why a trial cannot be kept, reverted or extended now.
    pub fn may_end(&self, action: Action) -> Result<(), String> {
        match self.phase() {
            None => Err("no trial is running any more".into()),
            Some(p) if action == Action::Keep && !p.keeps() || action == Action::Extend && !p.extends() => {
                Err(p.says())
            }
            Some(_) => Ok(()),
        }
    }

    /// Where the rules come from.
    pub fn source(&self) -> Option<Source> {
        self.seen.as_ref().map(|s| s.view.source)
    }
}
