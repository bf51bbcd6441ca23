//! Save: writes what was kept to the rules that are loaded at boot, after showing the difference.

use super::{After, WHOLE, find_line, too_long, whole};
use crate::model::SaveMode;
use crate::tui::keymap::{Action, Place};
use crate::tui::protocol::{Change, Reply, Request};
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, beyond};

/// State.
#[derive(Debug)]
pub struct Save {
    /// `None` until the host's usual mode is known.
    mode: Option<SaveMode>,
    usual: Option<SaveMode>,
    text: Option<String>,
    /// The cursor in the difference.
    pub(super) cursor: Cursor,
}

fn label(mode: SaveMode) -> &'static str {
    match mode {
        SaveMode::Ours => "only portcullis' own chains, after whatever loads the rest",
        SaveMode::Unmanaged => "all but what managers like Docker rebuild",
        SaveMode::All => "everything that is loaded",
    }
}

impl Save {
    /// Opens the popup and asks for the difference at once.
    pub fn new(sh: &mut Shared) -> Self {
        Self::showing(None, None, sh)
    }

    fn showing(mode: Option<SaveMode>, usual: Option<SaveMode>, sh: &mut Shared) -> Self {
        sh.ask(Request::Change(Change::SavePreview { mode }));
        Self { mode, usual, text: None, cursor: Cursor::default() }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        if self.cursor.act(action, self.text.as_ref().map_or(0, |t| t.lines().count())) {
            return After::Stay;
        }
        match action {
            Action::NextMatch | Action::PreviousMatch => {
                find_line(
                    &mut self.cursor,
                    &self.text.as_deref().unwrap_or_default().lines().collect::<Vec<_>>(),
                    action,
                    sh,
                );
                After::Stay
            }
            Action::NextView => {
                let at = SaveMode::ALL.iter().position(|m| Some(*m) == self.mode);
                // The first choice waits until the usual mode is known.
                if let Some(at) = at {
                    *self = Self::showing(Some(SaveMode::ALL[(at + 1) % SaveMode::ALL.len()]), self.usual, sh);
                }
                After::Stay
            }
            Action::Cancel => After::Close,
            Action::Accept => match self.mode.filter(|_| self.text.is_some()) {
                Some(mode) => {
                    sh.ask(Request::Change(Change::Save { mode }));
                    After::Close
                }
                None => After::Stay,
            },
            _ => After::Stay,
        }
    }

    /// Handles an answer.
    pub fn reply(&mut self, reply: &Reply) {
        if let Reply::SavePreview { mode, text } = reply
            && self.mode.is_none_or(|m| m == *mode)
        {
            self.mode = Some(*mode);
            self.usual = self.usual.or(Some(*mode));
            self.text = Some(text.clone());
        }
    }

    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w(), c.h().saturating_sub(2));
        let mut area = c.part(0, 1, w, h);
        let mut c = area.frame("Save to the rules that are loaded at boot");
        for (i, m) in SaveMode::ALL.into_iter().enumerate() {
            let chosen = self.mode == Some(m);
            let mark = c.theme.glyph(if chosen { Glyph::Anyone } else { Glyph::Nobody });
            let usual = if self.usual == Some(m) { " (usual here)" } else { "" };
            c.put(
                2,
                i as u16,
                if chosen { Role::Selected } else { Role::Text },
                &format!("{mark} {}{usual}", label(m)),
            );
        }
        let enter = c.theme.glyph(Glyph::Enter);
        let other = sh.key(Place::Save, Action::NextView);
        c.put(
            2,
            3,
            Role::Dim,
            &format!("{enter} writes it, {other} chooses another; the old files stay as .before-portcullis"),
        );
        let staged = sh.plan_is_new() && sh.facts.busy.is_none();
        if staged {
            c.put(
                2,
                4,
                Role::Partial,
                &format!(
                    "The staged plan is not live and is not saved: apply it first ({})",
                    sh.key(Place::Plan, Action::Apply)
                ),
            );
        }
        let top = 4 + u16::from(staged);
        c.rule(top, "what boot does with the files, and how they change");
        let Some(text) = &self.text else {
            c.put(2, top + 1, Role::Dim, "reading the files");
            return;
        };
        let lines: Vec<&str> = text.lines().collect();
        let room = c.w().saturating_sub(2);
        let long = too_long(lines.iter().copied(), room);
        if long {
            whole(&mut c, lines.get(self.cursor.at).unwrap_or(&""), room);
        }
        let height = usize::from(c.h().saturating_sub(top + 1 + if long { WHOLE } else { 0 }));
        self.cursor.stands(c.area().y + top + 1);
        let window = self.cursor.window(lines.len(), height);
        if let Some(text) = beyond(&window, lines.len()) {
            c.right(2, top, Role::Dim, &format!(" {text} "));
        }
        for (y, at) in window.enumerate() {
            let line = lines[at];
            let role = match line.as_bytes().first() {
                Some(b'+') => Role::Added,
                Some(b'-') => Role::Removed,
                Some(b'@') => Role::Dim,
                _ => Role::Text,
            };
            if at == self.cursor.at {
                c.mark(0, y as u16 + top + 1);
            }
            c.put(2, y as u16 + top + 1, role, line);
        }
    }
}
