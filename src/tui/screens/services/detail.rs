//! Below the list of services: who reaches the one at the cursor, and why.

use super::how_many;
use crate::analyse::{Because, Judged, Reach, Verdict};
use crate::model::Family;
use crate::tui::facts::Seen;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, fit, width, wrap};

/// Who, and what happens to their packets.
pub(super) struct Line {
    role: Role,
    head: String,
    text: String,
}

impl Line {
    fn new(role: Role, head: String, text: String) -> Self {
        Self { role, head, text }
    }

    fn is_warning(&self) -> bool {
        self.head == "!"
    }

    fn wrapped(&self, w: u16) -> Vec<String> {
        wrap(&self.text, usize::from(w.saturating_sub(6 + width(&self.head))))
    }
}

/// Everything there is to say about an endpoint.
pub(super) fn lines(j: &Judged, seen: &Seen) -> Vec<Line> {
    let mut lines = Vec::new();
    for f in Family::BOTH {
        let Some(x) = &j.exposure[f.index()] else {
            let why = if seen.judging { "being worked out" } else { "not known or not in use" };
            lines.push(Line::new(Role::Dim, f.label().to_owned(), why.into()));
            continue;
        };
        for b in &x.because {
            let (role, word) = match x.at_best(b) {
                Verdict::Accept => (Role::Open, "accepted"),
                Verdict::Drop => (Role::Closed, "dropped"),
                Verdict::Reject => (Role::Closed, "rejected"),
                Verdict::Depends => (Role::Partial, "depends"),
            };
            lines.push(Line::new(role, format!("{}  {}  {word}", f.label(), part_of(b)), b.text.clone()));
        }
        for (ifaces, r) in x.ways() {
            lines.push(Line::new(Role::Dim, format!("{}  {}", f.label(), who(r)), format!("arriving on {ifaces}")));
        }
    }
    let label = j.endpoint.label();
    let warnings = seen.report.warnings.iter().filter(|w| w.endpoint.as_deref() == Some(&label));
    lines.extend(warnings.map(|w| Line::new(Role::Partial, "!".into(), w.message.clone())));
    lines
}

fn who(r: &Reach) -> String {
    if r.accepted.is_full() {
        "anyone".to_owned()
    } else if !r.accepted.is_empty() {
        how_many(&r.accepted)
    } else if r.depends.is_empty() {
        "nobody".to_owned()
    } else {
        "depends".to_owned()
    }
}

/// The title line, leaving room on the right for the count.
pub(super) fn title(c: &mut Canvas, label: &str, then: &str, taken: u16) {
    let room = c.w().saturating_sub(taken + 4);
    let whole = format!("{label} {} who gets in{then}", c.theme.glyph(Glyph::Line));
    let brief = || format!("{}{then}", fit(label, usize::from(room.saturating_sub(width(then))), &c.theme));
    let text = if width(&whole) <= room { whole } else { brief() };
    c.rule(0, &text);
}

/// Draws lines below the title: each gets one row, and longer ones share the rows that are left.
pub(super) fn draw_lines(c: &mut Canvas, lines: &[Line], notes: &str) {
    let room = usize::from(c.h().saturating_sub(1));
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    let mut left = room - shown;
    let mut y = 1u16;
    for line in &lines[..shown] {
        let parts = line.wrapped(c.w());
        let rows = parts.len().min(if shown < lines.len() { 1 } else { left + 1 });
        left -= (rows - 1).min(left);
        let x = c.put(3, y, line.role, &line.head) + 2;
        let more = parts.len() - rows;
        for (at, part) in parts.iter().take(rows).enumerate() {
            if at + 1 < rows || more == 0 {
                c.put(x, y, Role::Text, part);
            } else if line.is_warning() {
                let mark = format!(" {more} more line{}: {notes}", if more == 1 { "" } else { "s" });
                let end = c.w().saturating_sub(width(&mark));
                let end = c.put_within(x, y, end, Role::Text, &parts[at..].join(" "));
                c.put(end, y, Role::Dim, &mark);
            } else {
                // Cut with a mark.
                c.put(x, y, Role::Text, &parts[at..].join(" "));
            }
            y += 1;
        }
    }
    let behind = &lines[shown..];
    if !behind.is_empty() {
        let text = if behind.iter().any(Line::is_warning) {
            format!("{} more, also what stands out: {notes}", behind.len())
        } else {
            format!("{} more: {} shows the deciding rule", behind.len(), c.theme.glyph(Glyph::Enter))
        };
        c.put(3, y, Role::Dim, &text);
    }
}

fn part_of(b: &Because) -> String {
    let nets = b.set.cidrs();
    match nets.as_slice() {
        [] => "-".into(),
        [one] => one.to_string(),
        [a, b] => format!("{a} {b}"),
        // Excluding a few nodes from all addresses leaves many networks, some of them huge.
        [..] if nets.len() > 16 && nets.iter().any(|n| n.prefix().is_some_and(|p| p < 4)) => "everybody else".into(),
        [a, b, ..] => format!("{a} {b} +{}", nets.len() - 2),
    }
}
