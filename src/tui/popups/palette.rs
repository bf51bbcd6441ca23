//! Every action by name, with its key, and why it does not work where it does not.

use crossterm::event::KeyEvent;

use super::{After, middle};
use crate::tui::keymap::{Action, Binding, Keymap, Place, shown};
use crate::tui::shared::Shared;
use crate::tui::theme::Role;
use crate::tui::widgets::{Canvas, Cursor, Field};

/// State.
#[derive(Default, Debug)]
pub struct Palette {
    field: Field,
    cursor: Cursor,
    /// Actions of the screen below and why each does not work; filled by the app before it draws.
    pub entries: Vec<(Action, Option<String>)>,
    /// The screen below.
    pub below: Option<Place>,
}

impl Palette {
    fn matching<'a>(&'a self, keys: &'a Keymap) -> Vec<(&'a Binding, Option<&'a str>)> {
        let words: Vec<String> = self.field.text().to_lowercase().split_whitespace().map(str::to_owned).collect();
        let place = self.below.unwrap_or(Place::Services);
        let mut seen = Vec::new();
        keys.rows(place)
            .filter(|b| words.iter().all(|w| b.help.to_lowercase().contains(w) || b.keys.contains(w.as_str()) || b.short.contains(w.as_str())))
            .filter(|b| {
                let new = !seen.contains(&b.action) && !matches!(b.action, Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom | Action::Palette);
                seen.push(b.action);
                new
            })
            .map(|b| (b, self.entries.iter().find(|e| e.0 == b.action).and_then(|e| e.1.as_deref())))
            .collect()
    }

    /// Acts.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        let keys = sh.keys.clone();
        let found = self.matching(&keys);
        let len = found.len();
        match action {
            Action::Cancel => After::Close,
            Action::Accept => {
                if let Some((b, why)) = found.get(self.cursor.at) {
                    if let Some(why) = why { sh.complain((*why).to_owned()) } else {
                        sh.act = Some(b.action);
                        return After::Close;
                    }
                }
                After::Stay
            }
            Action::Left | Action::Right => After::Stay,
            other => {
                self.cursor.act(other, len);
                After::Stay
            }
        }
    }

    /// A key.
    pub fn key(&mut self, key: KeyEvent) {
        if self.field.key(key) {
            self.cursor = Cursor::default();
        }
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str) {
        self.field.paste(text);
    }

    /// Draws.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w().min(76), c.h().saturating_sub(2).min(26));
        let mut area = middle(c, w, h);
        let mut c = area.frame("All actions");
        let w = c.w();
        self.field.draw(&mut c, 0, 0, w, true);
        let found: Vec<(Binding, Option<String>)> = self.matching(&sh.keys).into_iter().map(|(b, w)| (b.clone(), w.map(str::to_owned))).collect();
        let height = usize::from(c.h().saturating_sub(2));
        for (line, at) in self.cursor.window(found.len(), height).enumerate() {
            let (b, why) = &found[at];
            let y = line as u16 + 2;
            let here = at == self.cursor.at;
            if here {
                c.mark(0, y);
            }
            c.put_within(2, y, 12, if why.is_some() { Role::Dim } else { Role::Key }, &shown(b, sh.theme.unicode));
            match why {
                Some(why) => {
                    let x = c.put(13, y, Role::Dim, b.help);
                    c.put(x + 1, y, Role::Dim, &format!("({why})"));
                    if here {
                        c.put(13, y, Role::Dim, &format!("{:<w$}", format!("not now: {why}"), w = usize::from(w)));
                    }
                }
                None => { c.put(13, y, if here { Role::Selected } else { Role::Text }, b.help); }
            }
        }
        if found.is_empty() {
            c.put(2, 2, Role::Dim, "no action has these words");
        }
    }
}
