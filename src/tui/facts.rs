//! What was found out about the host: looks, judgements, trials, and what is under way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::keymap::Action;
use crate::analyse::{Manager, Report, Trace};
use crate::model::trial::{By, State};
use crate::model::{Diagnostic, Family, Operator, Plan, Source, TrialPhase, View};
use crate::plan::{Check, Enforced, FamilyChange, InForce};

/// One look at the host and what it means.
#[derive(Debug)]
pub struct Seen {
    /// The host.
    pub view: Arc<View>,
    /// Who can reach what.
    pub report: Arc<Report>,
    /// Who gets in is still being worked out: the report names what can be reached, and no more.
    pub judging: bool,
    /// Chains of both families, for the tree.
    pub chains: [Vec<ChainRow>; 2],
    /// Rules that can never match: what shadows them.
    pub shadowed: HashMap<RulePlace, usize>,
    /// The plan that is kept on the host and loaded.
    pub kept: Plan,
    /// The trial that it was.
    pub kept_by: Option<String>,
    /// The source shows counters, per family.
    pub counted: [bool; 2],
}

/// Counters of all rules now, and what each gains a second.
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
    /// Packets a second since the reading before.
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

/// A staged plan worked out for the host that was seen.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The host that it was worked out for.
    pub view: Arc<View>,
    /// What went wrong, and what to do; nothing else is filled then.
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
    /// The plan takes kept rules away.
    pub takes_away: bool,
    /// Nothing would change.
    pub nothing: bool,
    /// The operator's own way in would be cut.
    pub lockout: bool,
    /// The change itself.
    pub families: Vec<FamilyChange>,
}

/// A trial as the screens show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialSeen {
    /// Its name.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// It has to be ended still.
    pub pending: bool,
    /// What it comes to, as long as it is pending.
    pub phase: Option<TrialPhase>,
    /// The guard lives.
    pub guarded: bool,
    /// It was not begun at a console: keeping it asks for a new login first.
    pub needs_proof: bool,
    /// The login (user, peer) that shows that the way in is open.
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
    /// The plan; the error is that of the reader.
    pub plan: Result<Plan, Diagnostic>,
    /// What to know about it.
    pub remarks: Vec<String>,
    /// The kernel ends it too.
    pub fuse: bool,
}

impl TrialSeen {
    /// Whether somebody kept it.
    pub fn is_kept(&self) -> bool {
        self.state == State::Kept
    }

    /// The login that shows that the way in is open for whoever began it; where he comes from nowhere, any does.
    pub fn proven(&self) -> Option<&(String, IpAddr)> {
        self.proof.as_ref().filter(|(_, peer)| self.operator.peer().is_none_or(|own| own == *peer))
    }

    /// What a pending trial comes to, half a sentence.
    pub fn stands(&self) -> Option<String> {
        self.phase.map(|p| if p.left().is_some() { p.says() } else { format!("{}: {}", self.state, p.says()) })
    }
}

/// All that the worker has said so far.
#[derive(Debug, Default)]
pub struct Facts {
    /// The last look; none yet at the start.
    pub seen: Option<Arc<Seen>>,
    /// The staged plan worked out; may lag behind.
    pub planned: Option<Arc<Planned>>,
    /// The pending trial, or the last one.
    pub trial: Option<TrialSeen>,
    /// Trials of the past, newest first.
    pub past: Vec<TrialSeen>,
    /// Whether what ought to be in force is, and what boot would load instead, as of the last look.
    pub enforced: Enforced,
    /// Counters that are read again and again; `None`: they are not.
    pub rates: Option<Arc<Rates>>,
    /// The way that is lit on the Chains screen.
    pub lit: Option<Arc<Trace>>,
    /// What is being looked at.
    pub busy: Option<String>,
    /// A change of the firewall or of files is under way: how far it is. Another has to wait.
    pub changing: Option<String>,
    /// What is left to be done so that boot loads what was saved here.
    pub boot_to_do: Option<String>,
}

impl Facts {
    /// Whether a trial is pending.
    pub fn trial_runs(&self) -> bool {
        self.trial.as_ref().is_some_and(|t| t.pending)
    }

    /// The plan that ought to be in force and is not, or not wholly; of another one nothing is known any more.
    pub fn void(&self) -> Option<&InForce> {
        self.enforced.in_force.as_ref().filter(|p| !p.force.holds() && p.on_trial == self.trial_runs())
    }

    /// The same, if it is of a trial that was kept.
    pub fn void_since_kept(&self, id: &str) -> Option<&InForce> {
        self.void().filter(|p| !p.on_trial && p.trial == id)
    }

    /// Somebody saved a trial to the files that boot loads: they have to be written anew.
    pub fn boot_holds_a_trial(&self) -> bool {
        self.enforced.boot_files.iter().any(|f| f.holds.is_bad())
    }

    /// What the pending trial comes to.
    pub fn phase(&self) -> Option<TrialPhase> {
        self.trial.as_ref()?.phase
    }

    /// Why a trial cannot be kept, reverted or extended now.
    pub fn may_end(&self, action: Action) -> Result<(), String> {
        match self.phase() {
            None => Err("no trial runs any more".into()),
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
