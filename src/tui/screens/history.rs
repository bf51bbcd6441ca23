//! History: the trials of this host and how they ended.

use crate::model::trial::{By, State};
use crate::model::{Source, count};
use crate::syntax::plan as plan_file;
use crate::tui::applying::can_save;
use crate::tui::facts::TrialSeen;
use crate::tui::keymap::{Action, Place};
use crate::tui::protocol::Request;
use crate::tui::screens::plan::rule_words;
use crate::tui::search::Search;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, wrap};
use crate::tui::wishes::{Asked, Open};

/// State of the screen.
#[derive(Default, Debug)]
pub struct History {
    cursor: Cursor,
    first_line: u16,
    first_row: usize,
}

fn found(t: &TrialSeen, search: &Search) -> bool {
    [&t.began, t.state.word(), &t.operator.to_string(), &t.id].iter().any(|x| search.in_text(x))
        || t.by.is_some_and(|b| search.in_text(b.word()))
        || t.plan.as_ref().is_ok_and(|p| search.in_text(&plan_file::write(p)))
}

/// The trials that match the search.
fn shown(sh: &Shared) -> Vec<&TrialSeen> {
    let search = Search::new(&sh.search);
    sh.facts.past.iter().filter(|t| search.as_ref().is_none_or(|n| found(t, n))).collect()
}

impl History {
    /// Why an action does not work now.
    pub fn available(&self, action: Action, sh: &Shared) -> Result<(), String> {
        match action {
            Action::Save => can_save(sh),
            Action::Find if sh.facts.past.is_empty() => Err("there is no trial here".into()),
            Action::Again | Action::Compare if shown(sh).is_empty() => Err("there is no trial here".into()),
            _ => Ok(()),
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) {
        if self.cursor.act(action, shown(sh).len()) {
            return;
        }
        let Some(t) = shown(sh).get(self.cursor.at).map(|t| (*t).clone()) else {
            if action == Action::Save {
                sh.open(Open::Save);
            }
            return;
        };
        match action {
            Action::Save => sh.open(Open::Save),
            Action::NextMatch | Action::PreviousMatch => {
                let step = if action == Action::NextMatch { Action::Down } else { Action::Up };
                self.cursor.act(step, shown(sh).len());
            }
            Action::Copy => {
                let by = t.by.map_or_else(String::new, |b| format!(" by the {b}"));
                sh.copy_line(format!("{}  {}: {}{by}", t.began, t.id, t.state));
            }
            Action::Compare => sh.ask(Request::Snapshot(t.id)),
            Action::Again => match t.plan {
                Ok(plan) => {
                    let back = sh.key(Place::Plan, Action::Undo);
                    let lines = vec![format!(
                        "The plan of {} has {}. It replaces what is staged; {back} brings that back. Nothing becomes \
                        live before you apply it on trial.",
                        t.began,
                        count(plan.rules.len(), "rule")
                    )];
                    sh.open(Open::Ask {
                        title: "Stage this plan again".into(),
                        lines,
                        yes: "Stage this plan".into(),
                        then: Asked::Plan(plan),
                    });
                }
                Err(d) => sh.complain(format!("the plan of this trial cannot be read: {}", d.message)),
            },
            _ => {}
        }
    }

    /// Handles a click.
    pub fn click(&mut self, y: u16, sh: &Shared) {
        let at = self.first_row + usize::from(y.saturating_sub(self.first_line));
        if y >= self.first_line && at < shown(sh).len() {
            self.cursor.at = at;
        }
    }

    /// Handles the wheel.
    pub fn wheel(&mut self, lines: i32, sh: &Shared) {
        self.cursor.wheel(lines, shown(sh).len());
    }

    /// Draws the screen.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let past = shown(sh);
        sh.counts.set((past.len(), sh.facts.past.len() - past.len()));
        if sh.facts.past.is_empty() {
            c.put(2, 1, Role::Title, if sh.facts.trial_runs() { "No trial has ended yet." } else { "No trial yet." });
            let text = if sh.facts.trial_runs() {
                format!(
                    "The first one is running: {} shows it. Its outcome will appear here.",
                    sh.key(Place::History, Action::Trial)
                )
            } else if sh.facts.source() == Some(Source::Capture) {
                "This is captured text: trials are made on the host itself. A plan that you stage here can be \
                exported as a script from its preview."
                    .to_owned()
            } else {
                let (one, p) = (sh.key(Place::Services, Action::ToServices), sh.key(Place::Services, Action::Protect));
                let (three, y) = (sh.key(Place::Services, Action::ToPlan), sh.key(Place::Plan, Action::Apply));
                format!("Stage a plan on Services ({one}, then {p}) and apply it from Plan ({three}, then {y}).")
            };
            for (i, l) in wrap(&text, usize::from(c.w().saturating_sub(4))).iter().enumerate() {
                c.put(2, 3 + i as u16, Role::Text, l);
            }
            return;
        }
        let list = c.h() / 2;
        // Where the columns begin: outcome, by whom, the plan.
        let (state, by, plan) = if c.w() < 76 { (28, 39, 50) } else { (28, 50, 62) };
        for (x, name) in [(3, "began"), (state, "outcome"), (by, "by"), (plan, "plan")] {
            c.put(x, 0, Role::Dim, name);
        }
        self.first_line = c.area().y + 1;
        let window = self.cursor.window(past.len(), usize::from(list.saturating_sub(1)));
        self.first_row = window.start;
        for (y, at) in window.enumerate() {
            let (t, y) = (past[at], y as u16 + 1);
            let here = at == self.cursor.at;
            if here {
                c.mark(1, y);
            }
            c.put(3, y, if here { Role::Selected } else { Role::Text }, &t.began);
            let role = match t.state {
                State::Kept => Role::Closed,
                State::Failed => Role::Error,
                _ => Role::Partial,
            };
            c.put(state, y, role, t.state.word());
            c.put(by, y, Role::Dim, t.by.map_or("", By::word));
            let rules = t.plan.as_ref().map_or(0, |p| p.rules.len());
            c.put(plan, y, Role::Text, &count(rules, "rule"));
        }
        let (w, h) = (c.w(), c.h());
        let mut below = c.part(0, list, w, h - list);
        match past.get(self.cursor.at) {
            Some(t) => detail(&mut below, sh, t),
            None => {
                below.put(3, 1, Role::Text, &format!("No trial matches {}; esc shows all again.", sh.search));
            }
        }
    }
}

fn detail(c: &mut Canvas, sh: &Shared, t: &TrialSeen) {
    c.rule(0, &format!("trial {} {}", t.id, t.state));
    let arrow = c.theme.glyph(Glyph::Arrow);
    let mut lines: Vec<(Role, String)> = vec![(Role::Dim, format!("begun by {} at {}", t.operator, t.began))];
    let end = t.ended.as_ref().map_or_else(|| t.state.to_string(), |at| format!("{} at {at}", t.state));
    let why = t.why.as_ref().map_or_else(String::new, |w| format!(": {w}"));
    lines.push((Role::Dim, format!("{end}{why}")));
    let kept_last = sh.facts.past.iter().find(|p| p.is_kept()).is_some_and(|p| p.id == t.id);
    let seen = sh.facts.seen.as_ref();
    match &t.saved {
        _ if sh.facts.void_since_kept(&t.id).is_some() => {
            let key = sh.key(Place::History, Action::Again);
            lines.extend(sh.facts.void_since_kept(&t.id).map(|p| {
                (
                    Role::Error,
                    format!("{} now: {}; {key} stages it again", p.force.extent().says(), p.force.says().join("; ")),
                )
            }));
        }
        Some(at) => lines.push((Role::Closed, format!("saved for the next boot at {at}"))),
        None if seen.and_then(|s| s.kept_by.as_ref()).map_or(kept_last, |k| *k == t.id) => {
            let key = sh.key(Place::History, Action::Save);
            lines.push((Role::Partial, format!("portcullis has not saved it for the next boot: {key} does")));
        }
        None => {}
    }
    if let Ok(p) = &t.plan {
        lines.extend(p.rules.iter().map(|r| (Role::Text, rule_words(r, arrow))));
    }
    lines.extend(t.remarks.iter().map(|r| (Role::Partial, r.clone())));
    let wrapped: Vec<(Role, String)> = lines
        .into_iter()
        .flat_map(|(role, text)| wrap(&text, usize::from(c.w().saturating_sub(4))).into_iter().map(move |l| (role, l)))
        .collect();
    let room = usize::from(c.h().saturating_sub(1));
    let shown = if wrapped.len() > room { room.saturating_sub(1) } else { room };
    for ((role, l), y) in wrapped.iter().take(shown).zip(1..) {
        c.put(2, y, *role, l);
    }
    if wrapped.len() > room {
        let enter = c.theme.glyph(Glyph::Enter);
        c.put(
            2,
            room as u16,
            Role::Dim,
            &format!("and {} more lines: {enter} stages the plan again", wrapped.len() - shown),
        );
    }
}
