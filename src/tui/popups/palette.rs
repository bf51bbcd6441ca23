//! Every action by name, with its key and, if it does not work now, the reason.

use crossterm::event::KeyEvent;

use super::{After, middle};
use crate::tui::keymap::{Action, Binding, Place, place_name, shown};
use crate::tui::screens::Tab;
use crate::tui::shared::Shared;
use crate::tui::theme::Role;
use crate::tui::widgets::{Canvas, Cursor, Field, wrap};
use crate::tui::wishes::{Open, Wish};

/// State.
#[derive(Default, Debug)]
pub struct Palette {
    field: Field,
    pub(super) cursor: Cursor,
    /// All actions, those of the screen below first; filled in by the app.
    pub entries: Vec<Entry>,
    /// The screen below.
    pub below: Option<Place>,
}

/// One action.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The place it belongs to.
    pub place: Place,
    /// Its row in the keymap.
    pub row: Binding,
    /// Why it does not work now.
    pub why: Option<String>,
}

impl Palette {
    fn matching(&self) -> Vec<&Entry> {
        let words: Vec<String> = self.field.text().to_lowercase().split_whitespace().map(str::to_owned).collect();
        self.entries
            .iter()
            .filter(|e| {
                let text = self.words(e).to_lowercase();
                words
                    .iter()
                    .all(|w| text.contains(w) || e.row.keys.contains(w.as_str()) || e.row.short.contains(w.as_str()))
            })
            .collect()
    }

    /// What an action does, and where, if that is not here.
    fn words(&self, e: &Entry) -> String {
        if Some(e.place) == self.below {
            e.row.help.to_owned()
        } else {
            format!("{}: {}", place_name(e.place), e.row.help)
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        let chosen = self.matching().get(self.cursor.at).map(|e| (e.place, e.row.action, e.why.clone()));
        match action {
            Action::Cancel => return After::Close,
            Action::Accept => match chosen {
                Some((_, _, Some(why))) => sh.complain(format!("not now: {why}")),
                Some((place, action, None)) => {
                    match place {
                        Place::Trial => sh.open(Open::Trial),
                        Place::Preview => sh.open(Open::Preview),
                        place if Some(place) != self.below => {
                            if let Some(tab) = Tab::ALL.into_iter().find(|t| t.place() == place) {
                                sh.wishes.push(Wish::Go(tab));
                            }
                        }
                        _ => {}
                    }
                    sh.wishes.push(Wish::Act(action));
                    return After::Close;
                }
                None => {}
            },
            Action::Left | Action::Right => {}
            other => {
                let len = self.matching().len();
                self.cursor.act(other, len);
            }
        }
        After::Stay
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) {
        if self.field.key(key) {
            self.cursor = Cursor::default();
        }
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str) {
        self.field.paste(text);
    }

    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w().min(76), c.h().saturating_sub(2).min(26));
        let mut area = middle(c, w, h);
        let mut c = area.frame("All actions");
        let w = c.w();
        self.field.draw(&mut c, 0, 0, w, true);
        if self.field.text().is_empty() {
            c.put(2, 0, Role::Dim, "type to filter");
        }
        let found: Vec<Entry> = self.matching().into_iter().cloned().collect();
        // Below the list: the full sentence of the action at the cursor.
        let height = c.h().saturating_sub(5);
        self.cursor.stands(c.area().y + 2);
        for (line, at) in self.cursor.window(found.len(), usize::from(height)).enumerate() {
            let (e, y, here) = (&found[at], line as u16 + 2, at == self.cursor.at);
            if here {
                c.mark(0, y);
            }
            c.put_within(
                2,
                y,
                12,
                if e.why.is_some() { Role::Dim } else { Role::Key },
                &shown(&e.row, sh.theme.unicode),
            );
            c.put(
                13,
                y,
                if e.why.is_some() {
                    Role::Dim
                } else if here {
                    Role::Selected
                } else {
                    Role::Text
                },
                &self.words(e),
            );
        }
        let Some(e) = found.get(self.cursor.at) else {
            c.put(2, 2, Role::Dim, "no action has these words");
            return;
        };
        let (role, text) = match &e.why {
            Some(why) => (Role::Partial, format!("not now: {why}")),
            None => (Role::Text, self.words(e)),
        };
        c.rule(height + 2, "");
        for (y, l) in (height + 3..).zip(wrap(&text, usize::from(w.saturating_sub(2)))) {
            c.put(2, y, role, &l);
        }
    }
}
