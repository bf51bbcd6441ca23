//! Preview: what a plan changes, as a difference, side by side, as commands and as scripts.

use crossterm::event::KeyEvent;

use super::path::PathLine;
use super::{After, WHOLE, find_line, too_long, whole};
use crate::tui::applying::{apply, current};
use crate::tui::facts::Planned;
use crate::tui::keymap::Action;
use crate::tui::screens::plan;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor};
use crate::tui::wishes::Wish;

/// The views, each with a shorter name for small screens.
const VIEWS: [(&str, &str); 6] = [
    ("Who gets in", "Who"),
    ("Difference", "Diff"),
    ("Side by side", "Columns"),
    ("Commands", "Commands"),
    ("Restore", "Restore"),
    ("Shell", "Shell"),
];
const DIFF: usize = 1;
const COLUMNS: usize = 2;

/// State.
#[derive(Default, Debug)]
pub struct Preview {
    view: usize,
    pub(super) cursor: Cursor,
    path: PathLine,
}

/// A row of the two columns, before and after. If both are the same, nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair<'a> {
    /// A heading over both columns.
    Head(&'a str),
    /// Lines side by side.
    Lines(Option<&'a str>, Option<&'a str>),
}

/// A unified difference as two columns: removed lines are beside the lines that replace them.
fn side_by_side(diff: &str) -> Vec<Pair<'_>> {
    let mut out = Vec::new();
    let (mut gone, mut come): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let pair = |gone: &mut Vec<_>, come: &mut Vec<_>, out: &mut Vec<_>| {
        for i in 0..gone.len().max(come.len()) {
            out.push(Pair::Lines(gone.get(i).copied(), come.get(i).copied()));
        }
        gone.clear();
        come.clear();
    };
    for line in diff.lines() {
        match line.as_bytes().first() {
            Some(b'-') if !line.starts_with("--- ") => gone.push(&line[1..]),
            Some(b'+') if !line.starts_with("+++ ") => come.push(&line[1..]),
            _ => {
                pair(&mut gone, &mut come, &mut out);
                match line.strip_prefix(' ') {
                    Some(same) => out.push(Pair::Lines(Some(same), Some(same))),
                    None => out.push(Pair::Head(line)),
                }
            }
        }
    }
    pair(&mut gone, &mut come, &mut out);
    out
}

impl Preview {
    fn text(&self, sh: &Shared) -> String {
        let Some(p) = current(sh) else { return "working it out".into() };
        if let Some((what, hint)) = &p.error {
            return format!("{what}\n{hint}");
        }
        match self.view {
            0 => plan::in_words(sh, p),
            // Only the slots of our chains would be swapped.
            DIFF | COLUMNS if p.nothing => "Nothing changes: the plan is what is loaded already.".into(),
            DIFF | COLUMNS if p.diff.is_empty() => "Nothing changes: this is what is loaded now.".into(),
            DIFF | COLUMNS => p.diff.clone(),
            3 => p.commands.join("\n"),
            4 => p.scripts.clone(),
            _ => p.shell.clone(),
        }
    }

    /// Whether typed characters are text here.
    pub fn takes_text(&self) -> bool {
        self.path.open()
    }

    fn len(&self, text: &str) -> usize {
        if self.view == COLUMNS { side_by_side(text).len() } else { text.lines().count() }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        let text = self.text(sh);
        if self.cursor.act(action, self.len(&text)) {
            return After::Stay;
        }
        match action {
            Action::Cancel => return After::Close,
            Action::NextView => (self.view, self.cursor) = ((self.view + 1) % VIEWS.len(), Cursor::default()),
            Action::Copy => {
                sh.wishes.push(Wish::Copy(text));
                sh.say("copied, if your terminal allows it (OSC 52)");
            }
            Action::Export if current(sh).is_some_and(|p| p.error.is_none()) => {
                self.path.begin("portcullis-plan.sh");
            }
            Action::Apply => {
                apply(sh);
                return After::Close;
            }
            Action::NextMatch | Action::PreviousMatch => {
                let lines: Vec<&str> = if self.view == COLUMNS {
                    side_by_side(&text)
                        .iter()
                        .map(|p| match p {
                            Pair::Head(h) => *h,
                            Pair::Lines(a, b) => b.or(*a).unwrap_or_default(),
                        })
                        .collect()
                } else {
                    text.lines().collect()
                };
                find_line(&mut self.cursor, &lines, action, sh);
            }
            _ => {}
        }
        After::Stay
    }

    /// Handles a key while the name of the export file is typed; returns whether it was used.
    pub fn path_key(&mut self, key: KeyEvent, sh: &mut Shared) -> bool {
        if !self.path.open() {
            return false;
        }
        let text = current(sh).map_or_else(String::new, |p: &Planned| p.shell.clone());
        self.path.key(key, &text, sh)
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str) {
        self.path.paste(text);
    }

    /// Draws the popup over the whole screen.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w(), c.h());
        let mut area = c.part(0, 1, w, h.saturating_sub(2));
        let mut inner = area.frame("Preview: what the plan changes");
        let mut x = 0;
        for (i, (name, short)) in VIEWS.iter().enumerate() {
            let name = if w < 76 { short } else { name };
            let end = inner.put(x, 0, if i == self.view { Role::Title } else { Role::Dim }, name);
            if i == self.view {
                inner.underline(x, 0, end - x);
            }
            x = end + 2;
        }
        let text = self.text(sh);
        let len = self.len(&text);
        let number = format!("{}/{len}", (self.cursor.at + 1).min(len));
        inner.right(x.saturating_sub(1), 0, Role::Dim, &number);
        let (iw, ih) = (inner.w(), inner.h());
        let mut body = inner.part(0, 2, iw, ih.saturating_sub(2));
        self.cursor.stands(body.area().y);
        let two = self.view == COLUMNS && current(sh).is_some_and(|p| !p.diff.is_empty() && !p.nothing);
        let room = if two { body.w() / 2 } else { body.w() + 2 }.saturating_sub(4);
        let long = too_long(text.lines(), room);
        let window = self.cursor.window(len, usize::from(body.h().saturating_sub(if long { WHOLE } else { 0 })));
        if long {
            let line = match side_by_side(&text).get(self.cursor.at) {
                Some(Pair::Lines(Some(a), Some(b))) if two && a != b => format!("-{a}\n+{b}"),
                Some(Pair::Lines(Some(line), _) | Pair::Lines(None, Some(line)) | Pair::Head(line)) if two => {
                    (*line).to_owned()
                }
                _ => text.lines().nth(self.cursor.at).unwrap_or_default().to_owned(),
            };
            whole(&mut body, &line, room);
        }
        if two {
            columns(&mut body, &side_by_side(&text)[window.clone()], self.cursor.at - window.start);
        } else {
            let lines: Vec<&str> = text.lines().collect();
            for (y, at) in window.enumerate() {
                let role = match (self.view, lines[at].as_bytes().first()) {
                    (DIFF, Some(b'+')) => Role::Added,
                    (DIFF, Some(b'-')) => Role::Removed,
                    (DIFF, Some(b'@')) | (3.., Some(b'#')) => Role::Dim,
                    _ => Role::Text,
                };
                if at == self.cursor.at {
                    body.mark(0, y as u16);
                }
                body.put(2, y as u16, role, lines[at]);
            }
        }
        self.path.draw(c);
    }
}

fn columns(c: &mut Canvas, pairs: &[Pair], selected: usize) {
    let half = (c.w().saturating_sub(5)) / 2;
    let bar = c.theme.glyph(Glyph::Bar);
    for (y, p) in pairs.iter().enumerate() {
        if y == selected {
            c.mark(0, y as u16);
        }
        let y = y as u16;
        match p {
            Pair::Head(text) => {
                c.put(2, y, Role::Dim, text);
            }
            Pair::Lines(a, b) => {
                let changed = a != b;
                if let Some(a) = a {
                    c.put_within(
                        2,
                        y,
                        2 + half,
                        if changed { Role::Removed } else { Role::Text },
                        &format!("{}{a}", if changed { '-' } else { ' ' }),
                    );
                }
                c.put(2 + half, y, Role::Dim, bar);
                if let Some(b) = b {
                    c.put(
                        4 + half,
                        y,
                        if changed { Role::Added } else { Role::Text },
                        &format!("{}{b}", if changed { '+' } else { ' ' }),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_stands_beside_what_comes() {
        let diff = "--- a\n+++ b\n@@ -1,3 +1,4 @@\n same\n-old\n+new\n+more\n last\n";
        assert_eq!(
            side_by_side(diff),
            [
                Pair::Head("--- a"),
                Pair::Head("+++ b"),
                Pair::Head("@@ -1,3 +1,4 @@"),
                Pair::Lines(Some("same"), Some("same")),
                Pair::Lines(Some("old"), Some("new")),
                Pair::Lines(None, Some("more")),
                Pair::Lines(Some("last"), Some("last")),
            ]
        );
    }
}
