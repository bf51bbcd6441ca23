//! Draws the whole cockpit: header, the screen, its popups, the keys, and what was said last.

use std::cell::Cell;

use ratatui::buffer::Buffer;

use super::{App, Picture, SMALLEST};
use crate::model::Source;
use crate::tui::keymap::{Action, shown};
use crate::tui::popups::trial::clock;
use crate::tui::screens::Tab;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, wrap};

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
            let text = format!("portcullis needs {}x{} cells, this is {}x{}. Make the window larger, or press q.", SMALLEST.0, SMALLEST.1, area.width, area.height);
            for (y, l) in wrap(&text, usize::from(area.width)).iter().enumerate() {
                c.put(0, y as u16, Role::Text, l);
            }
            return;
        }
        self.shared.counts.set((0, 0));
        let banner = u16::from(self.shared.trial_runs());
        if banner == 1 {
            let left = self.shared.trial.as_ref().map_or(0, |t| t.left);
            let text = format!(" TRIAL: the old rules come back in {}.  T shows it: keep, revert or more time", clock(left));
            c.put(0, 2, Role::Banner, &format!("{text:<w$}", w = usize::from(area.width)));
        }
        let top = 2 + banner;
        {
            let mut body = c.part(0, top, area.width, area.height - top - 1);
            if self.shared.seen.is_none() {
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
        for p in &mut self.popups {
            p.draw(c, &self.shared);
        }
        self.note(c);
    }

    fn header(&mut self, c: &mut Canvas) {
        let sh = &self.shared;
        let dot = format!(" {} ", c.theme.glyph(Glyph::Dot));
        let mut parts: Vec<String> = Vec::new();
        if let Some(seen) = &sh.seen {
            let v = &seen.view;
            parts.push(v.title.clone());
            parts.push(match v.source {
                Source::Live => "live".into(),
                Source::Capture => "captured text, read-only".into(),
                Source::Demo => "DEMO: nothing real is touched".into(),
            });
            parts.extend(v.ssh_peer.map(|(a, _)| format!("SSH from {a}")));
            // `iptables v1.8.9 (nf_tables)` comes last: on a small screen it is what can be missed.
            let room = usize::from(c.w().saturating_sub(14)).saturating_sub(parts.iter().map(|p| p.chars().count() + 3).sum());
            parts.extend(v.iptables.clone().filter(|i| i.chars().count() <= room));
        }
        let x = c.put(1, 0, Role::Title, "portcullis");
        let busy = sh.busy.clone().unwrap_or_default();
        let end = c.w().saturating_sub(if busy.is_empty() { 0 } else { busy.chars().count() as u16 + 3 });
        c.put_within(x + 2, 0, end, Role::Dim, &parts.join(&dot));
        if !busy.is_empty() {
            c.right(x, 0, Role::Found, &busy);
        }
        self.tabs_at.clear();
        let mut x = 1;
        for (i, tab) in Tab::ALL.iter().enumerate() {
            let mut name = tab.name().to_owned();
            if *tab == Tab::Plan && !sh.plan.rules.is_empty() {
                name = format!("{name} ({}{})", sh.plan.rules.len(), if sh.plan_is_new() { " staged" } else { "" });
            }
            let from = x;
            x = c.put(x, 1, Role::Key, &(i + 1).to_string()) + 1;
            x = if *tab == self.tab { let end = c.put(x, 1, Role::Title, &name); c.underline(x, 1, end - x); end } else { c.put(x, 1, Role::Dim, &name) };
            self.tabs_at.push((from, x, *tab));
            x += 3;
        }
        let (shown, hidden) = sh.counts.get();
        if sh.needle.is_empty() {
            let help = format!("{} help ", sh.key(self.tab.place(), Action::Help));
            c.right(x, 1, Role::Dim, &help);
        } else {
            let dot = c.theme.glyph(Glyph::Dot);
            c.right(x, 1, Role::Found, &format!("/{} {dot} {shown} found, {hidden} hidden ", sh.needle));
        }
    }

    /// What was said last: whole, on as many lines as it takes, for its end says what to do next.
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

    fn footer(&self, c: &mut Canvas) {
        let (w, y) = (c.w(), c.h() - 1);
        if self.shared.note.is_some() {
            return;
        }
        let mut x = 1;
        let quit = self.popups.is_empty();
        let w = if quit { w.saturating_sub(8) } else { w };
        if quit {
            let at = c.put(w + 1, y, Role::Key, "q") + 1;
            c.put(at, y, Role::Text, "quit");
        }
        for b in self.shared.keys.rows(self.place()).filter(|b| !b.short.is_empty() && !b.keys.is_empty() && b.action != Action::Quit) {
            let key = shown(b, self.shared.theme.unicode);
            let width = (key.chars().count() + b.short.chars().count() + 1) as u16;
            if x + width > w {
                break;
            }
            let off = self.available(b.action).is_err();
            x = c.put(x, y, if off { Role::Dim } else { Role::Key }, &key) + 1;
            x = c.put(x, y, if off { Role::Dim } else { Role::Text }, b.short) + 2;
        }
    }
}
