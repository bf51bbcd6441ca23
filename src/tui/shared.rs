//! What all screens see, and the words between the screen and the worker.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::Rect;

use super::keymap::{Action, Keymap, Place};
use super::theme::Theme;
use crate::analyse::{Manager, Packet, Report, Trace};
use crate::model::trial::{By, State};
use crate::model::{Code, Diagnostic, Family, FileOrigin, Operator, Plan, SaveMode, Source, TrialPhase, View};
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

/// What the worker is asked to do.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is one word of the screens")]
pub enum Request {
    Look,
    Work(Plan),
    Trace(Packet),
    Resolve(String),
    Change(Change),
    /// Counters are read every two seconds, or no longer.
    Rates(bool),
    /// What was loaded before a trial, beside what is loaded now.
    Snapshot(String),
    Export {
        path: String,
        text: String,
    },
    StoreDraft(Plan),
    Stop,
}

/// What is asked of the thread that changes the host.
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
    /// Without a mode, that which is usual on the host.
    SavePreview {
        mode: Option<SaveMode>,
    },
    Save {
        mode: SaveMode,
    },
}

impl Change {
    /// What is said while it is under way; `None`: nothing has to wait for it.
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
    /// How far a look is.
    Progress(String),
    /// How far a change is.
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
    /// What boot loads was written: what was done, and what is left to be done so that boot loads it.
    Saved(String, Option<String>),
    /// A file was written; a change may still be under way.
    Written(String),
    /// What was looked for or written did not work out.
    Failed {
        what: String,
        hint: String,
        of: Task,
    },
    /// A change was not done.
    Refused {
        what: String,
        hint: String,
        code: Code,
    },
}

/// What the worker was at when something did not work out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Anything: the program is at fault.
    Defect,
    /// Counters.
    Rates,
    /// The rules of before a trial.
    Snapshot,
    /// A file for the operator.
    Export,
    /// The draft of the plan.
    Draft,
}

/// A message at the foot of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// It went wrong.
    pub bad: bool,
    /// One sentence.
    pub text: String,
}

/// What the operator allows although a check says no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Kept rules may go.
    pub replace: bool,
    /// The operator may be cut.
    pub lockout: bool,
    /// The kernel may lack dates.
    pub without_fuse: bool,
    /// No throw-away namespace can be had.
    pub without_rehearsal: bool,
}

impl Allowed {
    /// The same and what the refusal with this code asks for; `None`: nobody can allow that.
    pub fn and(mut self, code: Code) -> Option<Self> {
        let before = self;
        match code {
            Code::Replace => self.replace = true,
            Code::Lockout => self.lockout = true,
            Code::NoFuse => self.without_fuse = true,
            Code::NoRehearsal => self.without_rehearsal = true,
            _ => {}
        }
        (self != before).then_some(self)
    }

    /// The words that must be typed before it is done, beside those that were typed before; `None`: a plain yes is
    /// enough.
    pub fn phrase(self, before: Self) -> Option<&'static str> {
        [
            (self.lockout && !before.lockout, "lock me out"),
            (self.without_fuse && !before.without_fuse, "without fuse"),
            (self.without_rehearsal && !before.without_rehearsal, "without rehearsal"),
        ]
        .into_iter()
        .find(|(asked, _)| *asked)
        .map(|(_, words)| words)
    }
}

/// A plan to be applied, as somebody looked at it: what is staged and what is seen may move on while he is asked.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The plan.
    pub plan: Plan,
    /// The host as it was seen; if it has moved since, applying is refused.
    pub seen: Arc<View>,
    /// What is allowed.
    pub allowed: Allowed,
    /// What of it was said before a refusal: that is not asked again.
    pub said: Allowed,
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

/// What a question leads to when the operator says yes.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Apply a plan.
    Apply(Proposal),
    /// Keep without proof of access.
    Keep,
    /// Take the draft up.
    Draft(Draft),
    /// Load a plan of the past.
    Plan(Plan),
    /// It was only said.
    Nothing,
}

/// A popup to open.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is one popup")]
pub enum Open {
    Nodes { goals: Vec<crate::model::Goal>, what: String, drop_rest: bool, rule: Option<usize> },
    Trace { packet: Option<Packet> },
    Preview,
    Palette,
    Find,
    Ask { title: String, lines: Vec<String>, yes: String, then: Asked },
    Tell { title: String, lines: Vec<String> },
    Text { title: String, text: String, export: (String, String) },
    Trial,
    Save,
    Help,
    Guide,
    Flow { packet: Packet, label: String },
}

/// What all screens see and leave wishes in.
#[derive(Debug)]
pub struct Shared {
    /// Colours and glyphs.
    pub theme: Theme,
    /// Keys.
    pub keys: Arc<Keymap>,
    /// The screen's size.
    pub area: Rect,
    /// How long a trial lasts that is begun here.
    pub trial_time: Duration,
    /// What was handed over to be applied last.
    pub proposed: Option<Proposal>,
    /// The last look; none yet at the start.
    pub seen: Option<Arc<Seen>>,
    /// The staged plan.
    pub plan: Plan,
    /// Plans before the last changes, for undo.
    pub before: Vec<Plan>,
    /// The staged plan worked out; may lag behind.
    pub planned: Option<Arc<Planned>>,
    /// The pending trial, or the last one.
    pub trial: Option<TrialSeen>,
    /// Trials of the past, newest first.
    pub past: Vec<TrialSeen>,
    /// Whether what ought to be in force is, and what boot would load instead, as of the last look.
    pub enforced: Enforced,
    /// What is being looked at.
    pub busy: Option<String>,
    /// A change of the firewall or of files is under way: how far it is. Another has to wait.
    pub changing: Option<String>,
    /// Nothing was pressed since the start, or since a plan was handed over to be applied.
    pub untouched: bool,
    /// Message at the foot.
    pub note: Option<Note>,
    /// What is searched for; empty: nothing.
    pub search: String,
    /// What the search left on the screen that is shown, and what it hides.
    pub counts: std::cell::Cell<(usize, usize)>,
    /// Counters that are read again and again; `None`: they are not.
    pub rates: Option<Arc<Rates>>,
    /// Wishes for the worker.
    pub requests: Vec<Request>,
    /// Popups to open.
    pub opens: Vec<Open>,
    /// Screen to show.
    pub go: Option<super::screens::Tab>,
    /// Rule of the plan to stand at on the Plan screen.
    pub plan_rule: Option<usize>,
    /// Rule to show on the Chains screen.
    pub show_rule: Option<RulePlace>,
    /// The way that is lit on the Chains screen.
    pub lit: Option<Arc<Trace>>,
    /// What is left to be done so that boot loads what was saved here.
    pub boot_to_do: Option<String>,
    /// Where the guide was left.
    pub guide: Option<super::popups::guide::Left>,
    /// Text for the clipboard.
    pub copy: Option<String>,
    /// The action that the palette chose.
    pub act: Option<Action>,
}

impl Shared {
    /// Nothing seen yet.
    pub fn new(theme: Theme, keys: Keymap, area: Rect) -> Self {
        Self {
            proposed: None,
            trial_time: Duration::from_mins(1),
            theme,
            keys: Arc::new(keys),
            area,
            seen: None,
            plan: Plan::default(),
            before: Vec::new(),
            planned: None,
            trial: None,
            past: Vec::new(),
            enforced: Enforced::default(),
            busy: None,
            changing: None,
            untouched: true,
            note: None,
            search: String::new(),
            counts: std::cell::Cell::default(),
            rates: None,
            requests: Vec::new(),
            opens: Vec::new(),
            go: None,
            plan_rule: None,
            show_rule: None,
            lit: None,
            boot_to_do: None,
            guide: None,
            copy: None,
            act: None,
        }
    }

    /// The key of an action at a place, as the texts of the screens name it.
    pub fn key(&self, place: Place, action: Action) -> String {
        let found = self.keys.rows(place).find(|b| b.action == action && !b.keys.is_empty());
        found.map_or_else(|| ":".to_owned(), |b| super::keymap::shown(b, self.theme.unicode))
    }

    /// Says something at the foot of the screen.
    pub fn say(&mut self, text: impl Into<String>) {
        self.note = Some(Note { bad: false, text: text.into() });
    }

    /// Says that something does not work.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.note = Some(Note { bad: true, text: text.into() });
    }

    /// Changes the plan: what was before can be had back, the draft is stored, the plan is worked out.
    pub fn stage(&mut self, change: impl FnOnce(&mut Plan)) {
        let before = self.plan.clone();
        change(&mut self.plan);
        if self.plan != before {
            self.before.push(before);
            self.plan_moved();
        }
    }

    /// Takes the last change back.
    pub fn undo(&mut self) {
        if let Some(p) = self.before.pop() {
            self.plan = p;
            self.plan_moved();
            self.say("the last change of the plan is taken back");
        }
    }

    /// Has the plan stored and worked out.
    pub fn plan_moved(&mut self) {
        self.requests.push(Request::StoreDraft(self.plan.clone()));
        self.requests.push(Request::Work(self.plan.clone()));
    }

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

    /// The plan differs from what is kept.
    pub fn plan_is_new(&self) -> bool {
        self.seen.as_ref().is_none_or(|s| s.kept != self.plan)
    }
}
