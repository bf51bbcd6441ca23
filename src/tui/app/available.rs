//! Which actions work now, and if not, why.

use super::App;
use crate::tui::keymap::{Action, Binding, Place};
use crate::tui::popups::palette::Entry;
use crate::tui::screens::Tab;

impl App {
    /// Whether an action works now, and if not, why.
    pub fn available(&self, action: Action) -> Result<(), String> {
        match self.popups.last() {
            Some(p) => self.anywhere(action).unwrap_or_else(|| p.available(action, &self.shared)),
            None => self.on_tab(self.tab, action),
        }
    }

    /// The part of the answer that does not depend on the place.
    fn anywhere(&self, action: Action) -> Option<Result<(), String>> {
        let sh = &self.shared;
        match action {
            // These work even before the first look is done.
            Action::Quit
            | Action::Suspend
            | Action::Redraw
            | Action::Help
            | Action::Palette
            | Action::Refresh
            | Action::ToServices
            | Action::ToChains
            | Action::ToPlan
            | Action::ToHistory
            | Action::NextTab
            | Action::PreviousTab => Some(Ok(())),
            Action::Notes if sh.facts.seen.is_none() => Some(Err("the host is still being looked at".into())),
            Action::Guide if sh.facts.seen.as_ref().is_some_and(|s| s.judging) => {
                Some(Err("who gets in is still being worked out".into()))
            }
            Action::Trial if sh.facts.trial.is_none() => Some(Err("no trial was begun here".into())),
            Action::NextMatch | Action::PreviousMatch if sh.search.is_empty() => {
                Some(Err(format!("no search is active: {} starts one", sh.key(self.place(), Action::Find))))
            }
            Action::Undo if sh.staged.before.is_empty() => Some(Err("nothing was changed yet".into())),
            Action::Apply | Action::Keep | Action::Revert | Action::Extend if sh.facts.changing.is_some() => {
                Some(Err(format!("busy: {}", sh.facts.changing.as_deref().unwrap_or_default())))
            }
            _ => None,
        }
    }

    fn on_tab(&self, tab: Tab, action: Action) -> Result<(), String> {
        if let Some(answer) = self.anywhere(action) {
            return answer;
        }
        let sh = &self.shared;
        match tab {
            Tab::Services => self.services.available(action, sh),
            Tab::Chains => self.chains.available(action, sh),
            Tab::Plan => self.plan.available(action, sh),
            Tab::History => self.history.available(action, sh),
        }
    }

    /// Every action: first those of this screen, then those of the other screens, of a trial and of the preview.
    pub(super) fn all_actions(&self) -> Vec<Entry> {
        let mut out: Vec<Entry> = Vec::new();
        let screens = std::iter::once(self.tab).chain(Tab::ALL.into_iter().filter(|t| *t != self.tab));
        let mut add = |place: Place, row: &Binding, why: Option<String>| {
            let moves = matches!(
                row.action,
                Action::Up
                    | Action::Down
                    | Action::PageUp
                    | Action::PageDown
                    | Action::Top
                    | Action::Bottom
                    | Action::Palette
            );
            if !moves && !out.iter().any(|e| e.row.help == row.help) {
                out.push(Entry { place, row: row.clone(), why });
            }
        };
        for tab in screens {
            self.shared
                .keys
                .rows(tab.place())
                .for_each(|row| add(tab.place(), row, self.on_tab(tab, row.action).err()));
        }
        for row in self
            .shared
            .keys
            .rows(Place::Trial)
            .filter(|r| matches!(r.action, Action::Keep | Action::Revert | Action::Extend))
        {
            add(Place::Trial, row, self.shared.facts.may_end(row.action).err());
        }
        for row in self
            .shared
            .keys
            .rows(Place::Preview)
            .filter(|r| matches!(r.action, Action::NextView | Action::Export | Action::Copy))
        {
            add(Place::Preview, row, self.plan.available(Action::Preview, &self.shared).err());
        }
        out
    }
}
