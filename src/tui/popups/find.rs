//! Find: searches as you type.

use crossterm::event::KeyEvent;

use super::After;
use crate::tui::keymap::Action;
use crate::tui::shared::Shared;
use crate::tui::theme::Role;
use crate::tui::widgets::{Canvas, Field};

/// State.
#[derive(Debug)]
pub struct Find {
    field: Field,
    before: String,
}

impl Find {
    /// Starts with the last search.
    pub fn new(sh: &Shared) -> Self {
        Self { field: Field::offering(&sh.search), before: sh.search.clone() }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        match action {
            Action::Cancel => {
                sh.search = std::mem::take(&mut self.before);
                if sh.search == self.field.text() {
                    // A second esc clears the search.
                    sh.search.clear();
                }
                After::Close
            }
            Action::Accept => {
                sh.search = self.field.text().trim().to_owned();
                After::Close
            }
            _ => After::Stay,
        }
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent, sh: &mut Shared) {
        if self.field.key(key) {
            sh.search = self.field.text().trim().to_owned();
        }
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str, sh: &mut Shared) {
        self.field.paste(text);
        sh.search = self.field.text().trim().to_owned();
    }

    /// Draws one line at the bottom.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w(), c.h());
        let mut line = c.part(0, h.saturating_sub(1), w, 1);
        line.put(0, 0, Role::Text, &" ".repeat(usize::from(w)));
        let x = line.put(1, 0, Role::Key, "/ ");
        let room = w.saturating_sub(x + 34).max(10);
        self.field.draw(&mut line, x, 0, room, true);
        let (found, hidden) = sh.counts.get();
        let said = if sh.search.is_empty() || found + hidden == 0 {
            "text, port, address, owner".to_owned()
        } else {
            format!("{found} found, {hidden} hidden")
        };
        line.put(x + room + 1, 0, Role::Dim, &said);
    }
}
