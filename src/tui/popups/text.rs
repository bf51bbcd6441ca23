//! A text to read, copy and write to a file, such as the difference between a snapshot and the current rules.

use crossterm::event::KeyEvent;

use super::path::PathLine;
use super::{After, WHOLE, find_line, too_long, whole};
use crate::tui::keymap::Action;
use crate::tui::shared::Shared;
use crate::tui::theme::Role;
use crate::tui::widgets::{Canvas, Cursor};
use crate::tui::wishes::Wish;

/// State.
#[derive(Debug)]
pub struct Text {
    title: String,
    lines: Vec<String>,
    /// A file name, and the text to write to it.
    export: (String, String),
    pub(super) cursor: Cursor,
    path: PathLine,
}

impl Text {
    /// A text, together with what can be exported from it.
    pub fn new(title: String, text: &str, export: (String, String)) -> Self {
        Self {
            title,
            lines: text.lines().map(str::to_owned).collect(),
            export,
            cursor: Cursor::default(),
            path: PathLine::default(),
        }
    }

    /// Whether typed characters are text here.
    pub fn takes_text(&self) -> bool {
        self.path.open()
    }

    /// Handles a key while the file name is typed.
    pub fn path_key(&mut self, key: KeyEvent, sh: &mut Shared) -> bool {
        self.path.key(key, &self.export.1, sh)
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str) {
        self.path.paste(text);
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        if self.cursor.act(action, self.lines.len()) {
            return After::Stay;
        }
        match action {
            Action::Cancel => return After::Close,
            Action::Copy => {
                sh.wishes.push(Wish::Copy(self.lines.join("\n")));
                sh.say("copied, if your terminal allows it (OSC 52)");
            }
            Action::Export => self.path.begin(&self.export.0),
            Action::NextMatch | Action::PreviousMatch => {
                let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
                find_line(&mut self.cursor, &lines, action, sh);
            }
            _ => {}
        }
        After::Stay
    }

    /// Draws the popup over the whole screen.
    pub fn draw(&mut self, c: &mut Canvas, _: &Shared) {
        let (w, h) = (c.w(), c.h());
        let mut area = c.part(0, 1, w, h.saturating_sub(2));
        let mut inner = area.frame(&self.title);
        self.cursor.stands(inner.area().y);
        let room = inner.w().saturating_sub(2);
        let long = too_long(self.lines.iter().map(String::as_str), room);
        if long && let Some(line) = self.lines.get(self.cursor.at) {
            whole(&mut inner, line, room);
        }
        let height = usize::from(inner.h().saturating_sub(if long { WHOLE } else { 0 }));
        for (y, at) in self.cursor.window(self.lines.len(), height).enumerate() {
            let line = &self.lines[at];
            let role = match line.as_bytes().first() {
                Some(b'+') => Role::Added,
                Some(b'-') if line.starts_with("- ") => Role::Text,
                Some(b'-') => Role::Removed,
                Some(b'@') => Role::Dim,
                _ => Role::Text,
            };
            if at == self.cursor.at {
                inner.mark(0, y as u16);
            }
            inner.put(2, y as u16, role, line);
        }
        self.path.draw(c);
    }
}
