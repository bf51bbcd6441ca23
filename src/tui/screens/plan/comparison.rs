//! Who gets in before and after the plan, for each service that it affects.

use super::sorted;
use crate::analyse::Endpoint;
use crate::model::{Family, count};
use crate::plan::{Grade, fares};
use crate::tui::applying::all_checks;
use crate::tui::facts::Planned;
use crate::tui::keymap::{Action, Place};
use crate::tui::screens::services::summary;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, wrap};

/// Draws who gets in before and after, for each endpoint that the plan affects.
pub fn before_after(c: &mut Canvas, sh: &Shared, planned: Option<&Planned>) {
    let arrow = c.theme.glyph(Glyph::Arrow);
    c.rule(0, &format!("who gets in: before {arrow} after"));
    let Some(p) = planned else {
        c.put(3, 1, Role::Dim, "working it out");
        return;
    };
    let rows = lines(sh, p);
    if rows.is_empty() {
        c.put(3, 1, Role::Dim, "nothing that others can reach now is touched");
    }
    let room = usize::from(c.h().saturating_sub(1));
    if rows.len() > room {
        c.right(
            30,
            0,
            Role::Dim,
            &format!("{} more: {} shows all ", rows.len() - room, sh.key(Place::Plan, Action::Preview)),
        );
    }
    let (family, before) = if c.w() < 70 { (23, 28) } else { (26, 33) };
    for ((r, word), y) in rows.iter().take(room).zip(1..) {
        c.put_within(3, y, family - 1, Role::Text, &r.label());
        c.put(family, y, Role::Dim, if word.is_empty() { r.family.label() } else { word });
        let ((g1, r1, t1), (g2, r2, t2)) = (&r.before, &r.after);
        let (g1, g2) = (c.theme.glyph(*g1), c.theme.glyph(*g2));
        let x = c.put(before, y, *r1, &format!("{g1} {t1}"));
        let x = c.put(x.max(before + 12) + 1, y, Role::Dim, &format!("{arrow} "));
        c.put(x, y, *r2, &format!("{g2} {t2}"));
    }
}

/// The endpoints that the plan affects, one line for those with the same result, and the label of the families.
fn lines<'a>(sh: &'a Shared, p: &'a Planned) -> Vec<(Line<'a>, &'static str)> {
    let (Some(after), Some(seen)) = (&p.after, &sh.facts.seen) else { return Vec::new() };
    // The ports of a service with the same result share a line.
    let mut rows: Vec<Line> = Vec::new();
    for f in fares(&seen.view, (&sh.staged.plan, &seen.kept), &seen.report, after) {
        let (before, after) = (summary(f.endpoint, Some(f.before)), summary(f.endpoint, Some(f.after)));
        let changed = f.is_changed();
        match rows.iter_mut().find(|r| r.changed == changed && r.is(f.endpoint, f.family, &before, &after)) {
            Some(r) => r.ports += 1,
            None => rows.push(Line { of: f.endpoint, ports: 1, family: f.family, before, after, changed }),
        }
    }
    // Changes come first; the two families of a service are adjacent.
    let names: Vec<String> = rows.iter().map(|r| r.of.name.clone()).collect();
    rows.sort_by_key(|r| (!r.changed, names.iter().position(|n| *n == r.of.name), r.family.index()));
    // Families with the same result share a line.
    let mut both: Vec<(Line, &str)> = Vec::new();
    for r in rows {
        match both.iter_mut().find(|(o, word)| {
            *word != "both" && o.label() == r.label() && o.family != r.family && o.texts() == r.texts()
        }) {
            Some((_, word)) => *word = "both",
            None => both.push((r, "")),
        }
    }
    both
}

/// Number of lines needed to show the changes.
pub fn changed_lines(sh: &Shared, p: &Planned) -> u16 {
    lines(sh, p).len().max(1) as u16 + 1
}

/// The whole comparison and the checks as lines of text, to be read where they do not fit on the screen.
pub fn in_words(sh: &Shared, p: &Planned) -> String {
    let glyph = |g| sh.theme.glyph(g);
    let side = |(g, _, text): &(Glyph, Role, String)| format!("{} {text}", glyph(*g));
    let rows = lines(sh, p);
    let (a, b) = if sh.area.width < 76 { (21, 10) } else { (26, 14) };
    let mut out: Vec<String> = rows
        .iter()
        .map(|(r, word)| {
            let family = if word.is_empty() { r.family.label() } else { word };
            format!("{:<a$} {family:<5} {:<b$} {} {}", r.label(), side(&r.before), glyph(Glyph::Arrow), side(&r.after))
        })
        .collect();
    if rows.is_empty() {
        out.push("nothing that others can reach now is touched".into());
    }
    out.push(String::new());
    for k in sorted(&all_checks(sh, p)) {
        let glyph = glyph(match k.grade {
            Grade::Good => Glyph::Yes,
            Grade::Bad => Glyph::No,
            Grade::Note => Glyph::Dot,
        });
        for (i, l) in wrap(&k.text, usize::from(sh.area.width.saturating_sub(10))).iter().enumerate() {
            out.push(if i == 0 { format!("{glyph} {l}") } else { format!("  {l}") });
        }
    }
    out.join("\n")
}

/// The effect of the plan on ports of one service in one family.
struct Line<'a> {
    of: &'a Endpoint,
    ports: usize,
    family: Family,
    before: (Glyph, Role, String),
    after: (Glyph, Role, String),
    changed: bool,
}

impl Line<'_> {
    fn is(&self, e: &Endpoint, family: Family, before: &(Glyph, Role, String), after: &(Glyph, Role, String)) -> bool {
        self.of.kind == e.kind
            && self.of.name == e.name
            && self.family == family
            && self.texts() == (&before.2, &after.2)
    }

    fn texts(&self) -> (&str, &str) {
        (&self.before.2, &self.after.2)
    }

    fn label(&self) -> String {
        if self.ports == 1 { self.of.label() } else { format!("{}, {}", self.of.name, count(self.ports, "port")) }
    }
}
