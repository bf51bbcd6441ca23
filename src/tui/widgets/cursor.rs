//! A cursor in a list of any length, of which a window is shown.

use std::ops::Range;

use crate::tui::keymap::Action;

/// The selected line, and the first line of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The line at the cursor, from 0.
    pub at: usize,
    top: usize,
    height: usize,
    /// The screen row where the window begins, for clicks.
    row: u16,
}

impl Cursor {
    /// A cursor at a line.
    pub fn at(at: usize) -> Self {
        Self { at, ..Self::default() }
    }

    /// Moves by an action; returns whether the action is one that moves.
    pub fn act(&mut self, action: Action, len: usize) -> bool {
        let page = self.height.max(2) - 1;
        let last = len.saturating_sub(1);
        self.at = match action {
            Action::Up => self.at.saturating_sub(1),
            Action::Down => self.at + 1,
            Action::PageUp => self.at.saturating_sub(page),
            Action::PageDown => self.at + page,
            Action::Top => 0,
            Action::Bottom => last,
            _ => return false,
        }
        .min(last);
        true
    }

    /// Moves by lines, as the wheel does.
    pub fn wheel(&mut self, lines: i32, len: usize) {
        self.at = self.at.saturating_add_signed(lines as isize).min(len.saturating_sub(1));
    }

    /// Sets the screen row where the window begins.
    pub fn stands(&mut self, row: u16) {
        self.row = row;
    }

    /// The line shown in a screen row.
    pub fn line_in(&self, row: u16) -> Option<usize> {
        let below = usize::from(row.checked_sub(self.row)?);
        (below < self.height).then_some(self.top + below)
    }

    /// The lines to draw. At an edge the window jumps by half its height, which sends fewer bytes over a slow line.
    pub fn window(&mut self, len: usize, height: usize) -> Range<usize> {
        self.height = height;
        self.at = self.at.min(len.saturating_sub(1));
        if self.at < self.top || self.at >= self.top + height.max(1) {
            let near = self.at + height == self.top + height.max(1) - 1 || self.at == self.top + height;
            let half = height / 2;
            self.top = if near && self.at > self.top {
                self.top + half.max(1)
            } else if self.at < self.top && self.top - self.at == 1 {
                self.top.saturating_sub(half.max(1))
            } else {
                self.at.saturating_sub(half)
            };
        }
        self.top = self.top.min(len.saturating_sub(height));
        self.top..(self.top + height).min(len)
    }
}

/// What a list has outside its window, in words; `None` if nothing.
pub fn beyond(window: &Range<usize>, len: usize) -> Option<String> {
    match (window.start, len.saturating_sub(window.end)) {
        (0, 0) => None,
        (above, 0) => Some(format!("{above} above")),
        (0, below) => Some(format!("{below} below")),
        (above, below) => Some(format!("{above} above, {below} below")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_cursor_is_always_in_the_window(steps: Vec<(u8, u8, u16)>) {
            let mut c = Cursor::default();
            for (kind, height, len) in steps {
                let (height, len) = (usize::from(height % 40) + 1, usize::from(len));
                let moves = [Action::Up, Action::Down, Action::PageUp, Action::PageDown, Action::Top, Action::Bottom];
                c.act(moves[usize::from(kind % 6)], len);
                let w = c.window(len, height);
                proptest::prop_assert!(len == 0 || w.contains(&c.at), "{c:?} {w:?} {len}");
                proptest::prop_assert!(w.len() == height.min(len));
            }
        }
    }
}
