//! What the cockpit does with an answer of the worker.

use super::App;
use crate::model::{BootFile, Code, Plan};
use crate::tui::keymap::{Action, Place};
use crate::tui::popups::Popup;
use crate::tui::screens;
use crate::tui::shared::{Asked, Note, Open, Proposal, Reply, Request, Task, TrialSeen};

impl App {
    /// Takes an answer of the worker.
    pub fn reply(&mut self, reply: Reply) {
        for p in &mut self.popups {
            p.reply(&reply, &mut self.shared);
        }
        let sh = &mut self.shared;
        if matches!(reply, Reply::Began(_) | Reply::Done(_) | Reply::Saved(..) | Reply::Refused { .. }) {
            sh.changing = None;
        }
        match reply {
            Reply::Seen(seen) => {
                sh.busy = None;
                let untouched = sh.seen.as_ref().map_or(Plan::default(), |s| s.kept.clone()) == sh.plan;
                if untouched && sh.plan != seen.kept {
                    sh.plan = seen.kept.clone();
                    sh.before.clear();
                }
                let judging = seen.judging;
                sh.seen = Some(seen);
                if !judging {
                    sh.requests.push(Request::Work(sh.plan.clone()));
                    if !std::mem::replace(&mut self.started, true) && self.guide {
                        sh.opens.push(Open::Guide);
                    }
                }
            }
            Reply::Planned(p) => sh.planned = Some(p),
            Reply::Traced(t) => sh.lit = Some(t),
            Reply::Resolved { .. } | Reply::SavePreview { .. } => {}
            Reply::Progress(what) => sh.busy = Some(what),
            Reply::Changing(what) => sh.changing = Some(what),
            Reply::Rates(r) => {
                if sh.rates.is_some() {
                    sh.rates = Some(r);
                }
            }
            Reply::Trial(t) => self.trial(t),
            // What was found out of a trial that has ended meanwhile is no news.
            Reply::Enforced(j) => {
                if sh.trial_runs() || !j.in_force.as_ref().is_some_and(|p| p.on_trial) {
                    sh.enforced = j;
                }
            }
            Reply::Began(t) => {
                sh.trial = Some(t);
                if sh.untouched && !self.popups.iter().any(|p| matches!(p, Popup::Guide(_))) {
                    self.popups.clear();
                }
                self.show_trial();
            }
            Reply::Past(past) => sh.past = past,
            Reply::Snapshot { id, diff, whole } => {
                let text = if diff.is_empty() {
                    "Nothing differs: what is loaded now is what was loaded before this trial.".into()
                } else {
                    diff
                };
                sh.opens.push(Open::Text {
                    title: format!("From before trial {id} to now"),
                    text,
                    export: (format!("before-{id}.rules"), whole),
                });
            }
            Reply::Draft(draft) => self.draft = Some(draft),
            Reply::Done(text) | Reply::Written(text) => sh.say(text),
            Reply::Saved(text, to_do) => {
                sh.note = Some(Note { bad: to_do.is_some(), text });
                sh.boot_to_do = to_do;
            }
            Reply::Failed { what, hint, of } => {
                // Only a look that died leaves its sign behind; the others do not set it.
                if of == Task::Defect {
                    sh.busy = None;
                }
                if of == Task::Rates {
                    sh.rates = None;
                }
                sh.complain(format!("{what}; {hint}"));
            }
            Reply::Refused { what, hint, code } => match sh
                .proposed
                .clone()
                .and_then(|p| Some(Proposal { allowed: p.allowed.and(code)?, said: p.allowed, ..p }))
            {
                Some(proposal) => {
                    let mut lines = vec![format!("{what}.")];
                    lines.extend((proposal.plan != sh.plan).then(|| "What was staged since is not part of it.".into()));
                    lines.extend((code == Code::Lockout).then(|| screens::plan::allow_first(sh)));
                    sh.opens.push(Open::Ask {
                        title: "The change was refused; nothing was changed".into(),
                        lines,
                        yes: "To apply all the same".into(),
                        then: Asked::Apply(proposal),
                    });
                }
                None => sh.complain(format!("{what}; {hint}")),
            },
        }
        // Nobody asked just now for what an answer opens: it does not take the keys of somebody who types.
        if self.typing() {
            for open in std::mem::take(&mut self.shared.opens) {
                if let Open::Ask { title, then, .. } = &open {
                    let text = format!("{title}: more when this is closed");
                    self.shared.note = Some(Note { bad: matches!(then, Asked::Apply(_)), text });
                }
                self.later.push_back(open);
            }
        }
        let _ = self.settle();
    }

    /// Opens the trial by itself only where no key can be meant for something else: one of its keys keeps, one reverts.
    fn show_trial(&mut self) {
        let sh = &mut self.shared;
        if sh.untouched {
            sh.opens.push(Open::Trial);
        } else {
            sh.say(format!(
                "the trial runs: {} shows it, to keep or to revert it",
                sh.key(Place::Services, Action::Trial)
            ));
        }
    }

    fn trial(&mut self, t: Option<TrialSeen>) {
        let sh = &mut self.shared;
        let ran = sh.trial_runs();
        sh.trial = t;
        // What became of the last trial is said at the start.
        let first = !std::mem::replace(&mut self.told, true);
        let files: Vec<String> = BootFile::say(&sh.enforced.boot_files).into_iter().map(|(_, said)| said).collect();
        if first && sh.trial.is_none() && !files.is_empty() {
            sh.complain(files.join(". "));
        }
        if first && let Some(t) = sh.trial.as_ref().filter(|t| !t.pending) {
            let void = sh.void_since_kept(&t.id).map(|p| p.force.extent().says());
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
        // What ends by a key of ours is said when that is done.
        if let Some(t) = sh.trial.as_ref().filter(|t| ran && !t.pending && sh.changing.is_none()) {
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
            sh.requests.push(Request::Look);
        }
        if !ran && sh.trial_runs() {
            // A trial was pending when we came, or another login began it.
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
