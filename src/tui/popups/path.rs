//! The line where the name of an output file is typed.

use crossterm::event::{KeyCode, KeyEvent};

use crate::tui::protocol::Request;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Field, width};

/// A file name being typed, or none.
#[derive(Default, Debug)]
pub struct PathLine(Option<Field>);

impl PathLine {
    /// Starts with a suggested name that can be edited.
    pub fn begin(&mut self, name: &str) {
        self.0 = Some(Field::offering(name));
    }

    /// Whether a name is being typed.
    pub fn open(&self) -> bool {
        self.0.is_some()
    }

    /// Handles every key while a name is typed: enter writes the text to the file, escape cancels. Returns whether the
    /// key was used.
    pub fn key(&mut self, key: KeyEvent, text: &str, sh: &mut Shared) -> bool {
        let Some(f) = &mut self.0 else { return false };
        match key.code {
            KeyCode::Enter => {
                let path = f.text().trim().to_owned();
                if path.is_empty() {
                    sh.complain("a file name is missing");
                } else {
                    sh.ask(Request::Export { path, text: text.to_owned() });
                    self.0 = None;
                }
                true
            }
            KeyCode::Esc => {
                self.0 = None;
                true
            }
            _ => f.key(key),
        }
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str) {
        if let Some(f) = &mut self.0 {
            f.paste(text);
        }
    }

    /// Draws it on the second-last line.
    pub fn draw(&self, c: &mut Canvas) {
        let Some(f) = &self.0 else { return };
        let (w, h) = (c.w(), c.h());
        let mut line = c.part(0, h.saturating_sub(2), w, 1);
        line.put(0, 0, Role::Text, &" ".repeat(usize::from(w)));
        let x = line.put(1, 0, Role::Key, "write to: ");
        let hint = format!("{} writes, esc goes back ", line.theme.glyph(Glyph::Enter));
        f.draw(&mut line, x, 0, w.saturating_sub(x + 2 + width(&hint)), true);
        line.right(x, 0, Role::Dim, &hint);
    }
}
