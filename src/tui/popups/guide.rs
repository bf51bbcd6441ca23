//! Guided hardening: one question at a time. The answers become the plan on the Plan screen; leaving loses nothing.

mod draw;

use super::After;
use crate::analyse::{Judged, known};
use crate::model::{Goal, Node, Source, count};
use crate::plan::{covers, goal_of, protect_all};
use crate::tui::applying::apply;
use crate::tui::facts::TrialSeen;
use crate::tui::guided::{Left, STEPS, Step};
use crate::tui::keymap::{Action, Place};
use crate::tui::protocol::Reply;
use crate::tui::shared::Shared;
use crate::tui::widgets::Cursor;
use crate::tui::wishes::{Open, Wish};

/// State.
#[derive(Debug)]
pub struct Guide {
    step: Step,
    pub(super) cursor: Cursor,
    /// The screen row of the line that leads to the next step.
    enter_at: Option<u16>,
    /// Goals that may be protected, each with the recommendation and its reason.
    goals: Vec<Choice>,
}

#[derive(Debug)]
struct Choice {
    goal: Goal,
    /// Other services on the same ports: the same rules decide about them.
    with: Vec<Goal>,
    ticked: bool,
    why: &'static str,
}

impl Choice {
    fn all(&self) -> Vec<Goal> {
        std::iter::once(&self.goal).chain(&self.with).cloned().collect()
    }
}

fn trial_id(sh: &Shared) -> Option<String> {
    sh.facts.trial.as_ref().map(|t| t.id.clone())
}

fn is_open(j: &Judged) -> bool {
    j.endpoint.listening
        && j.exposure.iter().flatten().any(|x| !x.reach.accepted.is_empty() || !x.reach.depends.is_empty())
}

/// Endpoints that others can reach.
fn open(sh: &Shared) -> impl Iterator<Item = &Judged> {
    sh.facts.seen.iter().flat_map(|s| &s.report.endpoints).filter(|j| is_open(j))
}

impl Guide {
    /// Resumes where the guide was left, if the plan and the trial are still the same.
    pub fn new(sh: &Shared) -> Self {
        let mut goals: Vec<Choice> = Vec::new();
        for j in open(sh) {
            let goal = goal_of(&j.endpoint);
            let staged = sh.staged.plan.rules.iter().any(|r| r.to.contains(&goal));
            let why = known(&j.endpoint).map(|k| k.why);
            if goals.iter().any(|g| g.goal == goal || g.with.contains(&goal)) || j.endpoint.port == 22 {
                continue;
            }
            let view = sh.facts.seen.as_ref().map(|s| &s.view);
            if let Some(g) = goals.iter_mut().find(|g| view.is_some_and(|v| covers(v, &g.goal, &goal))) {
                g.ticked |= staged;
                g.with.push(goal);
            } else {
                let left = sh.guide.iter().flat_map(|l| &l.ticks).find(|(g, _)| *g == goal).map(|(_, t)| *t);
                let ticked = staged || left.unwrap_or(sh.staged.plan.rules.is_empty() && why.is_some());
                goals.push(Choice { goal, with: Vec::new(), ticked, why: why.unwrap_or("only you know who needs it") });
            }
        }
        let new = !sh.staged.plan.rules.is_empty() && sh.plan_is_new();
        let kept = sh.facts.trial.as_ref().is_some_and(TrialSeen::is_kept);
        let step = match sh.guide.as_ref().map(|l| l.step) {
            _ if sh.facts.trial_runs() => Step::Trial,
            // It may have been saved on another screen.
            Some(Step::Trial | Step::Save) if kept && !new => {
                if sh.facts.trial.as_ref().is_some_and(|t| t.saved.is_some()) { Step::Done } else { Step::Save }
            }
            Some(Step::Done)
                if !new
                    && !sh.staged.plan.rules.is_empty()
                    && sh.guide.as_ref().is_some_and(|l| l.trial == trial_id(sh)) =>
            {
                Step::Done
            }
            Some(step @ (Step::Open | Step::Which | Step::Who)) => step,
            _ if new => Step::Change,
            _ => Step::Open,
        };
        Self { step, cursor: Cursor::default(), enter_at: None, goals }
    }

    /// Whether the current step has lines to tick.
    pub fn ticks(&self) -> bool {
        self.step == Step::Which
    }

    /// Whether the line that leads to the next step is on this row.
    pub fn goes_on_at(&self, row: u16) -> bool {
        self.enter_at == Some(row)
    }

    fn go(&mut self, step: Step) {
        self.step = step;
        self.cursor = Cursor::default();
    }

    fn next(&mut self) {
        let at = STEPS.iter().position(|s| *s == self.step).unwrap_or(0);
        self.go(STEPS[(at + 1).min(STEPS.len() - 1)]);
    }

    fn ticked(&self) -> Vec<Goal> {
        self.goals.iter().filter(|g| g.ticked).flat_map(Choice::all).collect()
    }

    /// The nodes entered so far that may still use what is protected.
    fn nodes(&self, sh: &Shared) -> Vec<Node> {
        let mut out: Vec<Node> = Vec::new();
        for r in sh
            .staged
            .plan
            .rules
            .iter()
            .filter(|r| r.action == crate::model::Action::Allow && r.to.iter().any(|g| self.ticked().contains(g)))
        {
            out.extend(r.from.iter().filter(|n| !out.contains(n)).cloned().collect::<Vec<_>>());
        }
        out
    }

    /// Why an action does not work at this step.
    pub fn available(&self, action: Action, sh: &Shared) -> Result<(), String> {
        match (action, self.step) {
            (Action::Pick, s) if s != Step::Which => Err("this step has nothing to tick".into()),
            (Action::AllowNode | Action::Remove, s) if s != Step::Who => {
                Err("nodes are added and removed in step 3".into())
            }
            (Action::Preview, s) if s != Step::Change => Err("the preview belongs to step 4".into()),
            // The key that keeps a trial is also one of these keys.
            (Action::Up | Action::Down, Step::Trial) if sh.facts.may_end(Action::Keep).is_ok() => {
                let key = |a| sh.key(Place::Trial, a);
                Err(format!(
                    "{} shows the trial; there {} keeps it and {} reverts it",
                    sh.key(Place::Guide, Action::Accept),
                    key(Action::Keep),
                    key(Action::Revert)
                ))
            }
            (Action::Back, Step::Open) => Err("this is the first step".into()),
            _ => Ok(()),
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        let len = match self.step {
            Step::Open => open(sh).count(),
            Step::Which => self.goals.len(),
            Step::Who => self.nodes(sh).len().max(1),
            _ => 40,
        };
        if self.cursor.act(action, len) {
            return After::Stay;
        }
        match (action, self.step) {
            (Action::Cancel, _) | (Action::Accept, Step::Done) => {
                let ticks = self.goals.iter().map(|g| (g.goal.clone(), g.ticked)).collect();
                sh.guide = Some(Left { step: self.step, ticks, trial: trial_id(sh) });
                return After::Close;
            }
            (Action::AllowNode, Step::Who) => self.ask_nodes(sh),
            (Action::Remove, Step::Who) => self.take_out(sh),
            (Action::Preview, Step::Change) => sh.open(Open::Preview),
            // A finished guide is not walked back through: a change starts again at the first step.
            (Action::Back, Step::Done) => self.go(Step::Open),
            (Action::Back, step) => {
                let at = STEPS.iter().position(|s| *s == step).unwrap_or(0);
                self.go(STEPS[at.saturating_sub(1)]);
            }
            (Action::Pick, Step::Which) => {
                if let Some(g) = self.goals.get_mut(self.cursor.at) {
                    g.ticked = !g.ticked;
                }
            }
            (Action::Accept, step) => self.accept(step, sh),
            (Action::Apply, Step::Change) => apply(sh),
            (Action::Save, Step::Save) => sh.open(Open::Save),
            _ => {}
        }
        After::Stay
    }

    fn accept(&mut self, step: Step, sh: &mut Shared) {
        match step {
            Step::Who if self.nodes(sh).is_empty() => self.ask_nodes(sh),
            Step::Open | Step::Who => self.next(),
            Step::Which if self.ticked().is_empty() => {
                sh.complain("tick at least one service with space, or leave with esc");
            }
            Step::Which => {
                let ticked = self.ticked();
                let untouched: Vec<Goal> = self.goals.iter().filter(|g| !g.ticked).flat_map(Choice::all).collect();
                sh.stage(|p| p.rules.retain(|r| !r.to.iter().all(|g| untouched.contains(g))));
                // Nodes entered earlier also apply to what was ticked later.
                let nodes = self.nodes(sh);
                if let Some(seen) = sh.facts.seen.clone().filter(|_| !nodes.is_empty()) {
                    sh.stage(|p| protect_all(p, &seen.view, &ticked, &nodes, true));
                }
                self.next();
            }
            // Captured text is no host: there the guide ends with the script.
            Step::Change if sh.facts.source() == Some(Source::Capture) => sh.open(Open::Preview),
            Step::Change => sh.wishes.push(Wish::Act(Action::Apply)),
            Step::Trial if sh.facts.trial_runs() => sh.open(Open::Trial),
            Step::Trial => {
                let kept = sh.facts.trial.as_ref().is_some_and(TrialSeen::is_kept);
                self.go(if kept { Step::Save } else { Step::Change });
            }
            // The operator first sees what boot does with the files and how they change.
            Step::Save => sh.wishes.push(Wish::Act(Action::Save)),
            Step::Done => {}
        }
    }

    /// Removes the node at the cursor from the rules that the guide staged.
    fn take_out(&self, sh: &mut Shared) {
        let Some(node) = self.nodes(sh).get(self.cursor.at).cloned() else { return };
        let ticked = self.ticked();
        sh.stage(|p| {
            for r in p
                .rules
                .iter_mut()
                .filter(|r| r.action == crate::model::Action::Allow && r.to.iter().all(|g| ticked.contains(g)))
            {
                r.from.retain(|n| *n != node);
            }
            p.rules.retain(|r| !r.from.is_empty());
        });
        sh.say(format!("{node} removed"));
    }

    fn ask_nodes(&self, sh: &mut Shared) {
        let goals = self.ticked();
        let what = if goals.len() == 1 { goals[0].to_string() } else { count(goals.len(), "service") };
        sh.open(Open::Nodes { goals, what, drop_rest: true, rule: None });
    }

    /// A trial comes first, whoever began it: its clock is running.
    pub fn trial_runs(&mut self) {
        self.go(Step::Trial);
    }

    /// Handles an answer.
    pub fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Began(_) => self.trial_runs(),
            // Also when it was requested on the trial's screen.
            Reply::Saved(..) if matches!(self.step, Step::Trial | Step::Save) => self.go(Step::Done),
            _ => {}
        }
    }
}
