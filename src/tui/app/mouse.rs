//! The mouse: the wheel scrolls, a click on a key acts like that key.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{App, Turn};
use crate::tui::keymap::Action;
use crate::tui::screens::Tab;

impl App {
    pub(super) fn wheel(&mut self, x: u16, lines: i32) {
        let action = if lines < 0 { Action::Up } else { Action::Down };
        let moves = self.available(action).is_ok();
        if let Some(p) = self.popups.last_mut() {
            for _ in 0..if moves { lines.unsigned_abs() } else { 0 } {
                p.act(action, &mut self.shared);
            }
            return;
        }
        match self.tab {
            Tab::Services => self.services.wheel(lines),
            Tab::Chains => self.chains.wheel(x, lines, &self.shared),
            Tab::Plan => self.plan.wheel(lines, &self.shared),
            Tab::History => self.history.wheel(lines, &self.shared),
        }
    }

    /// A click; a second click on the same line with nothing in between acts like Enter.
    pub(super) fn click(&mut self, x: u16, y: u16) -> Turn {
        if self.too_small() {
            return Turn::On;
        }
        let again = self.clicked.replace(y) == Some(y) && (2..self.shared.area.height.saturating_sub(1)).contains(&y);
        if again && self.popups.is_empty() {
            return self.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
        }
        // A click clears the message, as a key does; keys in the footer can be clicked everywhere.
        let said = self.shared.note.take().is_some();
        if y + 1 == self.shared.area.height && !said {
            let action = self.keys_at.iter().find(|(a, b, _)| (*a..*b).contains(&x)).map(|k| k.2);
            return action.map_or(Turn::On, |a| self.act(a));
        }
        if let Some(p) = self.popups.last_mut() {
            let does = p.click(y);
            return does.map_or(Turn::On, |action| self.act(action));
        }
        if y == 1 {
            if let Some((_, _, action)) = self.head_at.iter().find(|(a, b, _)| (*a..*b).contains(&x)) {
                return self.act(*action);
            }
            if let Some((_, _, tab)) = self.tabs_at.iter().find(|(a, b, _)| (*a..*b).contains(&x)) {
                self.go(*tab);
            }
            return self.settle();
        }
        match self.tab {
            Tab::Services => self.services.click(y),
            Tab::Chains => self.chains.click(x, y, &self.shared),
            Tab::Plan => self.plan.click(y, &self.shared),
            Tab::History => self.history.click(y, &self.shared),
        }
        self.settle()
    }
}
