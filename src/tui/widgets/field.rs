//! A text input line.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Canvas, clean};
use crate::tui::theme::Role;

/// Longer input is silently refused: no name, address or path is this long.
const MAX: usize = 400;

/// Text and the position of the cursor in it, in characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    text: Vec<char>,
    at: usize,
    /// The text is an untouched suggestion: typing replaces it.
    offered: bool,
}

impl Field {
    /// A field with text in it and the cursor at the end.
    pub fn with(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        Self { at: text.len(), text, offered: false }
    }

    /// A field with a suggestion: typing replaces it, any other key edits it.
    pub fn offering(text: &str) -> Self {
        Self { offered: true, ..Self::with(text) }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// Empties the field.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Inserts pasted text; line ends become spaces, control characters are removed.
    pub fn paste(&mut self, text: &str) {
        if self.offered {
            self.clear();
        }
        for c in clean(&text.replace(['\n', '\r', '\t'], " ")).chars() {
            self.insert(c);
        }
    }

    fn insert(&mut self, c: char) {
        if self.text.len() < MAX {
            self.text.insert(self.at, c);
            self.at += 1;
        }
    }

    /// Handles a key; returns whether it was one for the field.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        if std::mem::take(&mut self.offered)
            && matches!(key.code, KeyCode::Char(_))
            && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
        {
            self.clear();
        }
        match key.code {
            KeyCode::Char('u') if key.modifiers == KeyModifiers::CONTROL => self.clear(),
            KeyCode::Char('a') if key.modifiers == KeyModifiers::CONTROL => self.at = 0,
            KeyCode::Char('e') if key.modifiers == KeyModifiers::CONTROL => self.at = self.text.len(),
            KeyCode::Char('w') if key.modifiers == KeyModifiers::CONTROL => {
                let word = self.text[..self.at]
                    .iter()
                    .rposition(|c| *c != ' ')
                    .map_or(0, |end| self.text[..end].iter().rposition(|c| *c == ' ').map_or(0, |s| s + 1));
                self.text.drain(word..self.at);
                self.at = word;
            }
            KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => self.insert(c),
            KeyCode::Backspace if self.at > 0 => {
                self.at -= 1;
                self.text.remove(self.at);
            }
            KeyCode::Delete if self.at < self.text.len() => {
                self.text.remove(self.at);
            }
            KeyCode::Left => self.at = self.at.saturating_sub(1),
            KeyCode::Right => self.at = (self.at + 1).min(self.text.len()),
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = self.text.len(),
            _ => return false,
        }
        true
    }

    /// Draws the part around the cursor, within a number of cells.
    pub fn draw(&self, c: &mut Canvas, x: u16, y: u16, cells: u16, focus: bool) {
        let room = usize::from(cells.max(2)) - 1;
        let from = self.at.saturating_sub(room);
        let shown: String = self.text.iter().skip(from).take(room + 1).collect();
        let padded = format!("{shown:room$}");
        c.put(x, y, Role::Field, &padded);
        if focus {
            c.caret(x + (self.at - from) as u16, y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_moving_and_pasting() {
        let mut f = Field::default();
        for c in "ab c".chars() {
            f.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        }
        f.key(KeyEvent::new(KeyCode::Home, KeyModifiers::NONE));
        f.key(KeyEvent::new(KeyCode::Delete, KeyModifiers::NONE));
        f.paste("x\ny\x1b[31m");
        assert_eq!(f.text(), "x y[31mb c");
        f.key(KeyEvent::new(KeyCode::End, KeyModifiers::NONE));
        f.key(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
        assert_eq!(f.text(), "x y[31mb ");
        f.key(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
        assert_eq!(f.text(), "x ");
    }
}
