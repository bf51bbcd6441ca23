//! A question whose answer has consequences, which it names.

use crossterm::event::KeyEvent;

use super::{After, middle};
use crate::tui::keymap::Action;
use crate::tui::protocol::{Change, Request};
use crate::tui::screens::Tab;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, Field, wrap};
use crate::tui::wishes::{Asked, Wish};

/// State.
#[derive(Debug)]
pub struct Ask {
    title: String,
    lines: Vec<String>,
    answers: Vec<String>,
    then: Asked,
    pub(super) cursor: Cursor,
    /// The words that must be typed to confirm, and the input so far.
    phrase: Option<(&'static str, Field)>,
}

impl Ask {
    /// A question. Where "yes" is dangerous, words have to be typed to confirm.
    pub fn new(title: String, lines: Vec<String>, yes: String, then: Asked) -> Self {
        let phrase = match &then {
            Asked::Apply(what) => what.phrase(),
            Asked::Keep => Some("without proof"),
            _ => None,
        };
        let answers = match &then {
            _ if phrase.is_some() => vec![yes],
            // A draft that others may have written is not the first choice.
            Asked::Draft(d) if !d.origin.is_own() => vec!["Leave it alone".into(), yes],
            Asked::Draft(_) => vec![
                yes,
                "Discard it".into(),
                "Decide later: the next start asks again, unless you stage something else".into(),
            ],
            _ => vec![yes, "No, go back".into()],
        };
        Self { title, lines, answers, then, cursor: Cursor::default(), phrase: phrase.map(|p| (p, Field::default())) }
    }

    /// A message that only has to be closed.
    pub fn tell(title: String, lines: Vec<String>) -> Self {
        Self {
            title,
            lines,
            answers: vec!["Go on".into()],
            then: Asked::Nothing,
            cursor: Cursor::default(),
            phrase: None,
        }
    }

    /// Whether typed characters are text here.
    pub fn takes_text(&self) -> bool {
        self.phrase.is_some()
    }

    /// Typed text.
    pub fn key(&mut self, key: KeyEvent) {
        if let Some((_, field)) = &mut self.phrase {
            field.key(key);
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        if let Some((phrase, field)) = &self.phrase
            && action == Action::Accept
            && field.text().trim() != *phrase
        {
            sh.complain(format!("type the words {phrase} to go on, or esc to go back"));
            return After::Stay;
        }
        if self.cursor.act(action, self.answers.len()) {
            return After::Stay;
        }
        match action {
            Action::Cancel => After::Close,
            Action::Accept | Action::Pick => {
                match (self.cursor.at, &self.then) {
                    (0, Asked::Draft(d)) if !d.origin.is_own() => sh.say(format!("not staged: {}", d.origin.path)),
                    (1, Asked::Draft(d)) if !d.origin.is_own() => self.done(sh),
                    (0, _) => self.done(sh),
                    (1, Asked::Draft(_)) => {
                        // Stores the plan staged by now instead. If that is the kept plan, the draft file is removed.
                        sh.ask(Request::StoreDraft(sh.staged.plan.clone()));
                        sh.say("draft discarded");
                    }
                    _ => {}
                }
                After::Close
            }
            _ => After::Stay,
        }
    }

    fn done(&self, sh: &mut Shared) {
        match self.then.clone() {
            Asked::Apply(what) => {
                sh.staged.proposed = Some(what.clone());
                sh.untouched = true;
                sh.ask(Request::Change(Change::Apply { what, within: sh.trial_time }));
            }
            Asked::Keep => sh.ask(Request::Change(Change::Keep { without_proof: true })),
            Asked::Draft(draft) => {
                sh.stage(|p| *p = draft.plan);
                sh.wishes.push(Wish::Go(Tab::Plan));
                sh.say(if draft.origin.is_own() { "the draft is staged again" } else { "the draft is staged" });
            }
            Asked::Nothing => {}
            Asked::Plan(plan) => {
                sh.stage(|p| *p = plan);
                sh.wishes.push(Wish::Go(Tab::Plan));
            }
        }
    }

    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, _: &Shared) {
        let w = c.w().min(70);
        let mut text: Vec<String> = self.lines.iter().flat_map(|l| wrap(l, usize::from(w - 6))).collect();
        // The words to type are never cut.
        let typed = self.phrase.as_ref().map_or_else(Vec::new, |(phrase, _)| {
            wrap(&format!("{}: type the words \"{phrase}\"", self.answers[0]), usize::from(w - 6))
        });
        let below = if self.phrase.is_some() { typed.len() + 1 } else { self.answers.len() };
        let room = usize::from(c.h()).saturating_sub(below + 3);
        if text.len() > room {
            text.truncate(room.saturating_sub(1));
            text.push(c.theme.glyph(Glyph::Cut).to_owned());
        }
        let h = (text.len() + below) as u16 + 4;
        let mut area = middle(c, w, h);
        let mut c = area.frame(&self.title);
        let mut y = 0;
        for l in &text {
            c.put(1, y, Role::Text, l);
            y += 1;
        }
        if let Some((_, field)) = &self.phrase {
            for l in &typed {
                y += 1;
                c.put(1, y, Role::Partial, l);
            }
            field.draw(&mut c, 1, y + 1, 30, true);
            return;
        }
        self.cursor.stands(c.area().y + y + 1);
        for i in self.cursor.window(self.answers.len(), self.answers.len()) {
            let (answer, y) = (&self.answers[i], y + 1 + i as u16);
            let here = i == self.cursor.at;
            if here {
                c.mark(1, y);
            }
            c.put(3, y, if here { Role::Selected } else { Role::Text }, answer);
        }
    }
}
