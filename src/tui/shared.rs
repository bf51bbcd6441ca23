//! What all screens see, and what they leave for the cockpit to do.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::Rect;

use super::facts::Facts;
use super::guided::Left;
use super::keymap::{Action, Keymap, Place};
use super::protocol::Request;
use super::staged::Staged;
use super::theme::Theme;
use super::wishes::{Open, Wish, Wishes};
use crate::model::Plan;

/// A message at the foot of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// It went wrong.
    pub bad: bool,
    /// One sentence.
    pub text: String,
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
    /// What was found out about the host.
    pub facts: Facts,
    /// The plan that the operator makes.
    pub staged: Staged,
    /// Where the guide was left.
    pub guide: Option<Left>,
    /// How long a trial lasts that is begun here.
    pub trial_time: Duration,
    /// Nothing was pressed since the start, or since a plan was handed over to be applied.
    pub untouched: bool,
    /// Message at the foot.
    pub note: Option<Note>,
    /// What is searched for; empty: nothing.
    pub search: String,
    /// What the search left on the screen that is shown, and what it hides.
    pub counts: Cell<(usize, usize)>,
    /// What screens and popups wish for, and the cockpit has not done yet.
    pub wishes: Wishes,
}

impl Shared {
    /// Puts a line on the clipboard of the operator's terminal.
    pub fn copy_line(&mut self, line: String) {
        self.say(format!("copied: {line}"));
        self.wishes.push(Wish::Copy(line));
    }

    /// Nothing seen yet.
    pub fn new(theme: Theme, keys: Keymap, area: Rect) -> Self {
        Self {
            facts: Facts::default(),
            staged: Staged::default(),
            guide: None,
            trial_time: Duration::from_mins(1),
            theme,
            keys: Arc::new(keys),
            area,
            untouched: true,
            note: None,
            search: String::new(),
            counts: Cell::default(),
            wishes: Wishes::default(),
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

    /// Asks the worker.
    pub fn ask(&mut self, request: Request) {
        self.wishes.push(Wish::Ask(request));
    }

    /// Has a popup opened.
    pub fn open(&mut self, open: Open) {
        self.wishes.push(Wish::Open(open));
    }

    /// Changes the plan: what was before can be had back, the draft is stored, the plan is worked out.
    pub fn stage(&mut self, change: impl FnOnce(&mut Plan)) {
        if self.staged.change(change) {
            self.plan_moved();
        }
    }

    /// Takes the last change back.
    pub fn undo(&mut self) {
        if self.staged.undo() {
            self.plan_moved();
            self.say("the last change of the plan is taken back");
        }
    }

    /// Has the plan stored and worked out.
    fn plan_moved(&mut self) {
        self.ask(Request::StoreDraft(self.staged.plan.clone()));
        self.ask(Request::Work(self.staged.plan.clone()));
    }

    /// The plan differs from what is kept.
    pub fn plan_is_new(&self) -> bool {
        self.facts.seen.as_ref().is_none_or(|s| s.kept != self.staged.plan)
    }
}
