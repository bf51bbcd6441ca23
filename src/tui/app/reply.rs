//! How the cockpit handles an answer of the worker.

use super::App;
use crate::model::{BootFile, Code, Plan};
use crate::tui::applying::allow_first;
use crate::tui::facts::TrialSeen;
use crate::tui::keymap::{Action, Place};
use crate::tui::popups::Popup;
use crate::tui::protocol::{Proposal, Reply, Request, Task};
use crate::tui::shared::Note;
use crate::tui::wishes::{Asked, Open};

/// When a trial changes, others write to the terminal at once or soon after: the screen is redrawn now and with the
/// next two answers.
const REDRAWS: u8 = 3;

impl App {
    /// Handles an answer of the worker.
    pub fn reply(&mut self, reply: Reply) {
        for p in &mut self.popups {
            p.reply(&reply, &mut self.shared);
        }
        let changes = match &reply {
            Reply::Began(_) | Reply::Done(_) => true,
            Reply::Trial(t) => t.as_ref().map(|t| t.state) != self.shared.facts.trial.as_ref().map(|t| t.state),
            _ => false,
        };
        if changes {
            self.redraws = REDRAWS;
        }
        let sh = &mut self.shared;
        if matches!(reply, Reply::Began(_) | Reply::Done(_) | Reply::Saved(..) | Reply::Refused { .. }) {
            sh.facts.changing = None;
        }
        match reply {
            Reply::Seen(seen) => {
                sh.facts.busy = None;
                let untouched = sh.facts.seen.as_ref().map_or(Plan::default(), |s| s.kept.clone()) == sh.staged.plan;
                if untouched && sh.staged.plan != seen.kept {
                    sh.staged.plan = seen.kept.clone();
                    sh.staged.before.clear();
                }
                let judging = seen.judging;
                sh.facts.seen = Some(seen);
                if !judging {
                    sh.ask(Request::Work(sh.staged.plan.clone()));
                    if !std::mem::replace(&mut self.started, true) && self.guide {
                        sh.open(Open::Guide);
                    }
                }
            }
            Reply::Planned(p) => sh.facts.planned = Some(p),
            Reply::Traced(t) => sh.facts.lit = Some(t),
            Reply::Resolved { .. } | Reply::SavePreview { .. } => {}
            Reply::Progress(what) => sh.facts.busy = Some(what),
            Reply::Changing(what) => sh.facts.changing = Some(what),
            Reply::Rates(r) => {
                if sh.facts.rates.is_some() {
                    sh.facts.rates = Some(r);
                }
            }
            Reply::Trial(t) => self.trial(t),
            // News of a trial that has ended in the meantime is out of date.
            Reply::Enforced(j) => {
                if sh.facts.trial_runs() || !j.in_force.as_ref().is_some_and(|p| p.on_trial) {
                    sh.facts.enforced = j;
                }
            }
            Reply::Began(t) => {
                sh.facts.trial = Some(t);
                if sh.untouched && !self.popups.iter().any(|p| matches!(p, Popup::Guide(_))) {
                    self.popups.clear();
                }
                self.show_trial();
            }
            Reply::Past(past) => sh.facts.past = past,
            Reply::Snapshot { id, diff, whole } => {
                let text = if diff.is_empty() {
                    "No difference: what is loaded now is what was loaded before this trial.".into()
                } else {
                    diff
                };
                sh.open(Open::Text {
                    title: format!("Since before trial {id}"),
                    text,
                    export: (format!("before-{id}.rules"), whole),
                });
            }
            Reply::Draft(draft) => self.draft = Some(draft),
            Reply::Done(text) | Reply::Written(text) => sh.say(text),
            Reply::Saved(text, to_do) => {
                sh.note = Some(Note { bad: to_do.is_some(), text });
                sh.facts.boot_to_do = to_do;
            }
            Reply::Failed { what, hint, of } => {
                // Only a look that panicked leaves its "busy" message up; other failures do not set one.
                if of == Task::Defect {
                    sh.facts.busy = None;
                }
                if of == Task::Rates {
                    sh.facts.rates = None;
                }
                sh.complain(format!("{what}; {hint}"));
            }
            Reply::Refused { what, hint, code } => match sh
                .staged
                .proposed
                .clone()
                .and_then(|p| Some(Proposal { allowed: p.allowed.and(code)?, said: p.allowed, ..p }))
            {
                Some(proposal) => {
                    let mut lines = vec![format!("{what}.")];
                    lines.extend(
                        (proposal.plan != sh.staged.plan)
                            .then(|| "Later changes to the plan are not part of it.".into()),
                    );
                    lines.extend((code == Code::Lockout).then(|| allow_first(sh)));
                    sh.open(Open::Ask {
                        title: "The change was refused; nothing was changed".into(),
                        lines,
                        yes: "To apply anyway".into(),
                        then: Asked::Apply(proposal),
                    });
                }
                None => sh.complain(format!("{what}; {hint}")),
            },
        }
        // The popup was not asked for at this moment, so it must not take keys from an operator who is typing.
        if self.typing() {
            for open in self.shared.wishes.opens() {
                if let Open::Ask { title, then, .. } = &open {
                    let text = format!("{title}: more when this is closed");
                    self.shared.note = Some(Note { bad: matches!(then, Asked::Apply(_)), text });
                }
                self.later.push_back(open);
            }
        }
        let _ = self.settle();
    }

    /// Opens the trial by itself only where no key can be mistaken: one of its keys keeps, another reverts.
    fn show_trial(&mut self) {
        let sh = &mut self.shared;
        if sh.untouched {
            sh.open(Open::Trial);
        } else {
            sh.say(format!(
                "the trial runs: {} shows it, to keep or to revert it",
                sh.key(Place::Services, Action::Trial)
            ));
        }
    }

    fn trial(&mut self, t: Option<TrialSeen>) {
        let sh = &mut self.shared;
        let ran = sh.facts.trial_runs();
        sh.facts.trial = t;
        // The outcome of the last trial is reported at the start.
        let first = !std::mem::replace(&mut self.told, true);
        let files: Vec<String> =
            BootFile::say(&sh.facts.enforced.boot_files).into_iter().map(|(_, said)| said).collect();
        if first && sh.facts.trial.is_none() && !files.is_empty() {
            sh.complain(files.join(". "));
        }
        if first && let Some(t) = sh.facts.trial.as_ref().filter(|t| !t.pending) {
            let void = sh.facts.void_since_kept(&t.id).map(|p| p.force.extent().says());
            let unsaved = t.is_kept() && void.is_none() && t.saved.is_none();
            let lost = void.map(|how| format!(", but it is {how}"));
            let text = format!(
                "the last trial, begun {}, ended: {}{}{}; {} shows it",
                t.began,
                t.state,
                t.by.map_or_else(String::new, |b| format!(" by the {b}")),
                lost.as_deref().unwrap_or(if unsaved { ", but not saved for the next boot" } else { "" }),
                sh.key(Place::Services, Action::ToHistory)
            );
            let text = if unsaved {
                format!("{text}, and {} there saves it", sh.key(Place::History, Action::Save))
            } else {
                text
            };
            let good = t.is_kept() && void.is_none() && !unsaved && files.is_empty();
            sh.note = Some(Note { bad: !good, text: [vec![text], files].concat().join(". ") });
        }
        // When one of our keys ends a trial, the message comes with the answer to that key.
        if let Some(t) = sh.facts.trial.as_ref().filter(|t| ran && !t.pending && sh.facts.changing.is_none()) {
            let text = format!(
                "the trial has ended: {}{}",
                t.state,
                t.by.map_or_else(String::new, |b| format!(" by the {b}"))
            );
            if t.is_kept() {
                sh.say(text);
            } else {
                sh.complain(text);
            }
            sh.ask(Request::Look);
        }
        if !ran && sh.facts.trial_runs() {
            // The trial was pending at the start, or another login began it.
            for p in &mut self.popups {
                if let Popup::Guide(g) = p {
                    g.trial_runs();
                }
            }
            if self.popups.is_empty() {
                self.show_trial();
            }
        }
    }
}
