//! What the keys do in the place below, and what the glyphs mean.

use super::{After, find_line, middle};
use crate::tui::keymap::{Action, Binding, Place, place_name};
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, wrap};

/// State.
#[derive(Debug)]
pub struct Help {
    place: Place,
    pub(super) cursor: Cursor,
}

impl Help {
    /// Help for a place.
    pub fn new(place: Place) -> Self {
        Self { place, cursor: Cursor::default() }
    }

    fn lines(&self, sh: &Shared, w: usize) -> Vec<(String, String, Role)> {
        let theme = &sh.theme;
        let mut out = Vec::new();
        let rows: Vec<&Binding> = sh.keys.rows(self.place).collect();
        for (n, b) in rows.iter().enumerate() {
            // All keys of an action share one line.
            if rows[..n].iter().any(|o| o.action == b.action) {
                continue;
            }
            let keys: Vec<&str> = rows
                .iter()
                .filter(|o| o.action == b.action)
                .flat_map(|o| o.keys.split(' '))
                .filter(|k| !k.is_empty())
                .collect();
            for (i, l) in wrap(b.help, w.saturating_sub(22)).into_iter().enumerate() {
                out.push((if i == 0 { keys.join(" ") } else { String::new() }, l, Role::Key));
            }
        }
        out.push((String::new(), String::new(), Role::Text));
        for (g, role, text) in [
            (
                Glyph::Anyone,
                Role::Open,
                "anyone gets in; after a comma: by one interface, by some or by most, the detail names them",
            ),
            (Glyph::Some, Role::Partial, "some get in: the detail below says who"),
            (Glyph::Nobody, Role::Closed, "nobody gets in"),
            (Glyph::Unsure, Role::Partial, "depends: the rules alone do not decide; the detail says on what"),
        ] {
            out.push((theme.glyph(g).to_owned(), text.to_owned(), role));
        }
        out.push(("~".into(), "an RPC port that moves when its service restarts".into(), Role::Text));
        out.push((String::new(), String::new(), Role::Text));
        for text in [
            "Not judged: martian sources and rp_filter, policy routing, XDP and tc, bridges, other namespaces, IPVS, \
            flows already established, broadcast and multicast, tcp_wrappers and exports.",
            "A trial reverts by itself at its deadline, whatever dies: this screen, the SSH session, the machine. Only \
                keep ends that. From another login: portcullis status, keep, revert.",
        ] {
            out.extend(wrap(text, w.saturating_sub(2)).into_iter().map(|l| (String::new(), l, Role::Dim)));
        }
        out
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        let lines = self.lines(sh, usize::from(sh.area.width.min(86)));
        if matches!(action, Action::NextMatch | Action::PreviousMatch) {
            let texts: Vec<String> = lines.iter().map(|l| format!("{} {}", l.0, l.1)).collect();
            find_line(&mut self.cursor, &texts.iter().map(String::as_str).collect::<Vec<_>>(), action, sh);
            return After::Stay;
        }
        self.cursor.act(action, lines.len());
        if matches!(action, Action::Cancel | Action::Help) { After::Close } else { After::Stay }
    }

    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w().min(90), c.h().saturating_sub(1));
        let mut area = middle(c, w, h);
        let mut c = area.frame(&format!("Help: {}", place_name(self.place)));
        let lines = self.lines(sh, usize::from(c.w()));
        let height = usize::from(c.h());
        self.cursor.stands(c.area().y);
        for (y, at) in self.cursor.window(lines.len(), height).enumerate() {
            let (keys, text, role) = &lines[at];
            let y = y as u16;
            if *role == Role::Dim {
                c.put(1, y, Role::Dim, text);
                continue;
            }
            if at == self.cursor.at {
                c.mark(0, y);
            }
            c.put_within(1, y, 20, *role, keys);
            c.put(21, y, Role::Text, text);
        }
        if lines.len() > height {
            let more = format!(" {} of {} lines ", self.cursor.at + 1, lines.len());
            area.put(w.saturating_sub(more.len() as u16 + 2), h - 1, Role::Dim, &more);
        }
    }
}
