//! State that all screens share, and the wishes they leave for the cockpit.

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

/// A message at the bottom of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it reports a failure.
    pub bad: bool,
    /// One sentence.
    pub text: String,
}

/// State that all screens see and leave wishes in.
#[derive(Debug)]
pub struct Shared {
    /// Colours and glyphs.
    pub theme: Theme,
    /// Keys.
    pub keys: Arc<Keymap>,
    /// The screen's size.
    pub area: Rect,
    /// What is known of the host.
    pub facts: Facts,
    /// The operator's plan.
    pub staged: Staged,
    /// Where the guide was left.
    pub guide: Option<Left>,
    /// How long a trial begun here lasts.
    pub trial_time: Duration,
    /// No input since the start, or since a plan was handed over to be applied.
    pub untouched: bool,
    /// The message at the bottom.
    pub note: Option<Note>,
    /// The search; empty if there is none.
    pub search: String,
    /// How many lines of the current screen match the search, and how many it hides.
    pub counts: Cell<(usize, usize)>,
    /// Wishes of screens and popups that the cockpit has yet to carry out.
    pub wishes: Wishes,
}

impl Shared {
    /// Puts a line on the clipboard of the operator's terminal.
    pub fn copy_line(&mut self, line: String) {
        self.say(format!("copied: {line}"));
        self.wishes.push(Wish::Copy(line));
    }

    /// The state before the first look.
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

    /// The key of an action in a place, as screen texts name it.
    pub fn key(&self, place: Place, action: Action) -> String {
        let found = self.keys.rows(place).find(|b| b.action == action && !b.keys.is_empty());
        found.map_or_else(|| ":".to_owned(), |b| super::keymap::shown(b, self.theme.unicode))
    }

    /// Shows a message at the bottom of the screen.
    pub fn say(&mut self, text: impl Into<String>) {
        self.note = Some(Note { bad: false, text: text.into() });
    }

    /// Shows a message about something that does not work.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.note = Some(Note { bad: true, text: text.into() });
    }

    /// Sends a request to the worker.
    pub fn ask(&mut self, request: Request) {
        self.wishes.push(Wish::Ask(request));
    }

    /// Opens a popup.
    pub fn open(&mut self, open: Open) {
        self.wishes.push(Wish::Open(open));
    }

    /// Changes the plan so that it can be undone; stores the draft and works the plan out.
    pub fn stage(&mut self, change: impl FnOnce(&mut Plan)) {
        if self.staged.change(change) {
            self.plan_moved();
        }
    }

    /// Undoes the last change.
    pub fn undo(&mut self) {
        if self.staged.undo() {
            self.plan_moved();
            self.say("the last change to the plan is undone");
        }
    }

    /// Stores the plan as a draft and works it out.
    fn plan_moved(&mut self) {
        self.ask(Request::StoreDraft(self.staged.plan.clone()));
        self.ask(Request::Work(self.staged.plan.clone()));
    }

    /// Whether the plan differs from the kept one.
    pub fn plan_is_new(&self) -> bool {
        self.facts.seen.as_ref().is_none_or(|s| s.kept != self.staged.plan)
    }
}
