//! Draws the whole cockpit: header, screen, popups, keys and the last message.

use std::cell::Cell;

use ratatui::buffer::Buffer;

use super::{App, Picture, SMALLEST};
use crate::model::Source;
use crate::tui::facts::TrialSeen;
use crate::tui::keymap::{Action, Binding, Place, shown};
use crate::tui::notes;
use crate::tui::screens::Tab;
use crate::tui::theme::{Glyph, Role, Theme};
use crate::tui::widgets::{Canvas, fit, fit_middle, width, wrap};

impl App {
    /// Draws everything.
    pub fn draw(&mut self) -> Picture {
        let area = self.shared.area;
        let (mut cells, spot) = (Buffer::empty(area), Cell::new(None));
        self.draw_into(&mut Canvas::new(&mut cells, &spot, self.shared.theme));
        Picture { cells, cursor: spot.get().filter(|_| self.shared.theme.reader) }
    }

    fn draw_into(&mut self, c: &mut Canvas) {
        let area = self.shared.area;
        if self.too_small() {
            let text = format!(
                "portcullis needs {}x{} cells, this is {}x{}. Make the window larger, or press q.",
                SMALLEST.0, SMALLEST.1, area.width, area.height
            );
            for (y, l) in wrap(&text, usize::from(area.width)).iter().enumerate() {
                c.put(0, y as u16, Role::Text, l);
            }
            return;
        }
        self.shared.counts.set((0, 0));
        let searched = self.screen_search.clone().map(|n| std::mem::replace(&mut self.shared.search, n));
        let banner = self.banner();
        if let Some((what, shows)) = &banner {
            // The key hint is never cut, however long the text.
            let what = fit(what, usize::from(area.width).saturating_sub(shows.chars().count() + 3), &c.theme);
            let text = format!("{what}{}{shows}", if area.width < 76 { "; " } else { ".  " });
            c.put(0, 2, Role::Banner, &format!("{text:<w$}", w = usize::from(area.width)));
        }
        let top = 2 + u16::from(banner.is_some());
        {
            let mut body = c.part(0, top, area.width, area.height - top - 1);
            if self.shared.facts.seen.is_none() {
                body.put(2, 1, Role::Dim, "Looking at the host: rules of both families, RPC services, sockets, peers.");
            } else {
                match self.tab {
                    Tab::Services => self.services.draw(&mut body, &self.shared),
                    Tab::Chains => self.chains.draw(&mut body, &self.shared),
                    Tab::Plan => self.plan.draw(&mut body, &self.shared),
                    Tab::History => self.history.draw(&mut body, &self.shared),
                }
            }
        }
        self.header(c);
        self.footer(c);
        if let Some(search) = searched {
            self.shared.search = search;
            self.shared.counts.set((0, 0));
        }
        for p in &mut self.popups {
            p.draw(c, &self.shared);
        }
        self.note(c);
    }

    /// The line below the tabs on every screen, and the key that shows more: a pending trial, or a kept plan that is
    /// not in force.
    /// plan that is not in force.
    fn banner(&self) -> Option<(String, String)> {
        let sh = &self.shared;
        let void = sh.facts.void();
        if let Some(stands) = sh.facts.trial.as_ref().and_then(TrialSeen::stands) {
            let all = [Action::Keep, Action::Extend].iter().all(|a| sh.facts.may_end(*a).is_ok());
            let can = if all && void.is_none() && sh.area.width >= 76 { ": keep, revert or more time" } else { "" };
            let but = void.map_or_else(String::new, |p| format!(", and the plan is {}", p.force.extent().says()));
            return Some((
                format!(" TRIAL: {stands}{but}"),
                format!("{} shows it{can}", sh.key(self.tab.place(), Action::Trial)),
            ));
        }
        let void = void?;
        let why = void.force.says().into_iter().next().unwrap_or_default();
        let what = format!(" KEPT, BUT {}: {why}", void.force.extent().says().to_uppercase());
        Some((what, format!("{} shows it", sh.key(self.tab.place(), Action::ToPlan))))
    }

    /// The host, the source and the operator's login, as far as there is room: the least important parts are left out
    /// first.
    fn subject(&self, room: usize, theme: &Theme) -> String {
        let Some(seen) = &self.shared.facts.seen else { return String::new() };
        let dot = format!(" {} ", theme.glyph(Glyph::Dot));
        let v = &seen.view;
        let source = match v.source {
            Source::Live => "live",
            Source::Capture => "captured text, read-only",
            Source::Demo => "DEMO: nothing real is touched",
        };
        if room < source.len() + 12 {
            return fit_middle(&v.title, room, theme);
        }
        // The end of a long path is the most telling part.
        let mut text = format!(
            "{}{dot}{source}",
            fit_middle(&v.title, room.saturating_sub(source.len() + dot.chars().count()), theme)
        );
        for more in v.ssh_peer.map(|(a, _)| format!("SSH from {a}")).into_iter().chain(v.iptables.clone()) {
            let longer = format!("{text}{dot}{more}");
            if longer.chars().count() < room {
                text = longer;
            }
        }
        text
    }

    fn header(&mut self, c: &mut Canvas) {
        let sh = &self.shared;
        let x = c.put(1, 0, Role::Title, "portcullis") + 2;
        let busy = sh.facts.changing.as_deref().or(sh.facts.busy.as_deref()).unwrap_or_default();
        if !busy.is_empty() {
            c.right(x, 0, Role::Found, busy);
        }
        let room =
            usize::from(c.w() - x).saturating_sub(if busy.is_empty() { 0 } else { usize::from(width(busy)) + 2 });
        c.put(x, 0, Role::Dim, &self.subject(room, &c.theme));
        self.tabs_at.clear();
        self.head_at.clear();
        let mut x = 1;
        for (i, tab) in Tab::ALL.iter().enumerate() {
            let mut name = tab.name().to_owned();
            if *tab == Tab::Plan && !sh.staged.plan.rules.is_empty() {
                name =
                    format!("{name} ({}{})", sh.staged.plan.rules.len(), if sh.plan_is_new() { " staged" } else { "" });
            }
            let from = x;
            x = c.put(x, 1, Role::Key, &(i + 1).to_string()) + 1;
            x = if *tab == self.tab {
                let end = c.put(x, 1, Role::Title, &name);
                c.underline(x, 1, end - x);
                end
            } else {
                c.put(x, 1, Role::Dim, &name)
            };
            self.tabs_at.push((from, x, *tab));
            x += 2;
        }
        let (shown, hidden) = sh.counts.get();
        if sh.search.is_empty() {
            let mut end = c.w() - 1;
            let some = sh.facts.seen.as_ref().is_some_and(|s| notes::count(s, &sh.facts.enforced) > 0);
            for (action, word) in [(Action::Help, "help"), (Action::Guide, "guide"), (Action::Notes, "notes")] {
                if action == Action::Notes && !some {
                    continue;
                }
                let key = sh.key(self.tab.place(), action);
                let from = end.saturating_sub(width(&key) + 1 + width(word));
                if from > x {
                    let after = c.put(from, 1, Role::Key, &key);
                    let to = c.put(after + 1, 1, Role::Dim, word);
                    self.head_at.push((from, to, action));
                }
                end = from.saturating_sub(2);
            }
        } else {
            let dot = c.theme.glyph(Glyph::Dot);
            let counts = format!("{shown} found, {hidden} hidden ");
            // The search text is dropped before the counts.
            let room = usize::from(c.w().saturating_sub(x));
            let both = format!("/{} {dot} {counts}", sh.search);
            c.right(x, 1, Role::Found, if both.chars().count() < room { &both } else { &counts });
        }
    }

    /// The last message, on as many lines as it needs: the hint is at its end.
    fn note(&self, c: &mut Canvas) {
        let Some(n) = &self.shared.note else { return };
        let (glyph, role) = if n.bad { (Glyph::No, Role::Error) } else { (Glyph::Yes, Role::Closed) };
        let lines = wrap(&n.text, usize::from(c.w().saturating_sub(4)));
        let (w, h) = (c.w(), (lines.len() as u16).min(c.h() / 3));
        let mut c = c.part(0, c.h() - h, w, h);
        c.clear();
        let glyph = c.theme.glyph(glyph);
        let x = c.put(1, 0, role, glyph) + 1;
        for (y, l) in lines.iter().enumerate() {
            c.put(x, y as u16, Role::Text, l);
        }
    }

    fn footer(&mut self, c: &mut Canvas) {
        self.keys_at.clear();
        if self.shared.note.is_some() {
            return;
        }
        let y = c.h() - 1;
        let mut w = c.w();
        if self.popups.is_empty() {
            let key = self.shared.key(self.tab.place(), Action::Quit);
            w = w.saturating_sub(width(&key) + 7);
            let at = c.put(w + 1, y, Role::Key, &key) + 1;
            let end = c.put(at, y, Role::Text, "quit");
            self.keys_at.push((w + 1, end, Action::Quit));
        }
        let (mut x, mut drawn) = (1, Vec::new());
        let rows = || {
            self.shared
                .keys
                .rows(self.place())
                .filter(|b| !b.short.is_empty() && !b.keys.is_empty() && b.action != Action::Quit)
        };
        let room = |b: &Binding| width(&shown(b, self.shared.theme.unicode)) + width(b.short) + 1;
        let all_fit = rows().map(|b| room(b) + 2).sum::<u16>() <= w;
        for b in rows() {
            let off = self.available(b.action).is_err();
            // When not all keys fit, those that do not work now are left out. A trial that has ended shows only keys
            // that work.
            if off && (!all_fit || self.place() == Place::Trial) {
                continue;
            }
            let key = shown(b, self.shared.theme.unicode);
            if x + room(b) > w {
                break;
            }
            let from = x;
            x = c.put(x, y, if off { Role::Dim } else { Role::Key }, &key) + 1;
            x = c.put(x, y, if off { Role::Dim } else { Role::Text }, b.short) + 2;
            drawn.push((from, x - 2, b.action));
        }
        self.keys_at.extend(drawn);
    }
}
