//! Preview: what a plan makes different, as difference, commands and scripts.

use crossterm::event::{KeyCode, KeyEvent};

use super::After;
use crate::tui::keymap::Action;
use crate::tui::screens::plan;
use crate::tui::shared::{Request, Shared};
use crate::tui::theme::Role;
use crate::tui::widgets::{Canvas, Cursor, Field};

const VIEWS: [&str; 3] = ["Difference", "Commands", "Restore scripts"];

/// State.
#[derive(Default, Debug)]
pub struct Preview {
    view: usize,
    cursor: Cursor,
    /// The file name that is being typed for the export.
    path: Option<Field>,
}

impl Preview {
    fn text(&self, sh: &Shared) -> String {
        let Some(p) = plan::current(sh) else { return "working it out".into() };
        if let Some((what, hint)) = &p.error {
            return format!("{what}\n{hint}");
        }
        match self.view {
            0 if p.diff.is_empty() => "Nothing changes: this is what is loaded now.".into(),
            0 => p.diff.clone(),
            1 => p.commands.join("\n"),
            _ => p.scripts.clone(),
        }
    }

    /// Whether keys are text here.
    pub fn takes_text(&self) -> bool {
        self.path.is_some()
    }

    /// Acts.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        let text = self.text(sh);
        if self.cursor.act(action, text.lines().count()) {
            return After::Stay;
        }
        match action {
            Action::Cancel if self.path.take().is_some() => {}
            Action::Cancel => return After::Close,
            Action::NextView => (self.view, self.cursor) = ((self.view + 1) % VIEWS.len(), Cursor::default()),
            Action::Copy => {
                sh.copy = Some(text);
                sh.say("copied, if your terminal allows it (OSC 52)");
            }
            Action::Export
                if plan::current(sh).is_some_and(|p| p.error.is_none()) => {
                    self.path = Some(Field::with("portcullis-plan.sh"));
                }
            Action::Apply => {
                plan::apply(sh);
                return After::Close;
            }
            Action::NextMatch | Action::PreviousMatch | Action::Find => find(&mut self.cursor, &text, action, sh),
            _ => {}
        }
        After::Stay
    }

    /// A key while the file name is typed.
    pub fn key(&mut self, key: KeyEvent) {
        if let Some(f) = &mut self.path {
            f.key(key);
        }
    }

    /// Enter and escape while the file name is typed; whether it was one of them.
    pub fn path_key(&mut self, key: KeyEvent, sh: &mut Shared) -> bool {
        let Some(f) = &self.path else { return false };
        match key.code {
            KeyCode::Enter => {
                let path = f.text().trim().to_owned();
                if path.is_empty() {
                    sh.complain("a file name is missing");
                } else if let Some(p) = plan::current(sh) {
                    let text = p.shell.clone();
                    sh.requests.push(Request::Export { path, text });
                    self.path = None;
                }
                true
            }
            KeyCode::Esc => {
                self.path = None;
                true
            }
            _ => false,
        }
    }

    /// Draws, over the whole screen.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w(), c.h().saturating_sub(1));
        let mut area = c.part(0, 1, w, h.saturating_sub(1));
        let mut inner = area.frame("Preview: what the plan makes different");
        let mut x = 0;
        for (i, name) in VIEWS.iter().enumerate() {
            x = inner.put(x, 0, if i == self.view { Role::Title } else { Role::Dim }, name) + 3;
        }
        let here = x.saturating_sub(3);
        let _ = here;
        let text = self.text(sh);
        let lines: Vec<&str> = text.lines().collect();
        let (iw, ih) = (inner.w(), inner.h());
        let mut body = inner.part(0, 2, iw, ih.saturating_sub(2));
        let height = usize::from(body.h());
        let number = format!("{} of {}", (self.cursor.at + 1).min(lines.len()), lines.len());
        for (y, at) in self.cursor.window(lines.len(), height).enumerate() {
            let line = lines[at];
            let role = match (self.view, line.as_bytes().first()) {
                (0, Some(b'+')) => Role::Added,
                (0, Some(b'-')) => Role::Removed,
                (0, Some(b'@')) | (_, Some(b'#')) => Role::Dim,
                _ => Role::Text,
            };
            if at == self.cursor.at {
                body.mark(0, y as u16);
            }
            body.put(2, y as u16, role, line);
        }
        inner.right(x, 0, Role::Dim, &number);
        if let Some(f) = &self.path {
            let mut line = c.part(0, h - 2, w, 1);
            line.put(0, 0, Role::Text, &" ".repeat(usize::from(w)));
            let x = line.put(1, 0, Role::Key, "write the script to: ");
            f.draw(&mut line, x, 0, w.saturating_sub(x + 1), true);
        }
    }
}

/// Goes to the next line with what is searched for.
fn find(cursor: &mut Cursor, text: &str, action: Action, sh: &mut Shared) {
    if sh.needle.is_empty() {
        return;
    }
    let low = sh.needle.to_lowercase();
    let hits: Vec<usize> = text.lines().enumerate().filter(|(_, l)| l.to_lowercase().contains(&low)).map(|(i, _)| i).collect();
    let next = if action == Action::PreviousMatch { hits.iter().rev().find(|h| **h < cursor.at).or(hits.last()) }
        else { hits.iter().find(|h| **h > cursor.at).or(hits.first()) };
    match next {
        Some(h) => cursor.at = *h,
        None => sh.complain(format!("{low} is not in this view")),
    }
}
