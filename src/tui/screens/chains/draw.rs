//! Draws the Chains screen: tree, rules, and the rule at the cursor.

use std::collections::HashMap;

use super::{Chains, Line};
use crate::analyse::{Manager, StepResult};
use crate::model::{Chain, Family, count};
use crate::tui::facts::Seen;
use crate::tui::keymap::{Action, Place};
use crate::tui::sentence::{Columns, columns, policy_sentence, sentence};
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, fit, fit_middle, wrap};

impl Chains {
    /// Draws the screen.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let Some(seen) = &sh.facts.seen else { return };
        self.refresh(seen, &sh.search);
        if let Some(h) = &self.hits {
            sh.counts.set((h.found, h.all - h.found));
        }
        let below = detail_height(sh.area.height);
        let height = c.h().saturating_sub(below);
        self.first_line = c.area().y;
        // As wide as the longest name, as far as the rules leave room.
        let most = if c.w() >= 110 {
            38
        } else if c.w() >= 76 {
            29
        } else {
            20
        };
        self.tree_width = (self.longest + 6).clamp(20, most);
        if self.lines.is_empty() && self.hits.is_some() {
            c.put(2, 1, Role::Title, &format!("No {} rule matches {}.", self.family.label(), sh.search));
            let other = sh.key(Place::Chains, Action::Family);
            c.put(2, 3, Role::Text, &format!("esc shows all rules again; {other} searches those of the other family."));
            return;
        }
        if self.lines.is_empty() {
            c.put(2, 1, Role::Title, &format!("No {} rules were read.", self.family.label()));
            let again = sh.key(Place::Chains, Action::Refresh);
            c.put(2, 3, Role::Dim, &format!("On an untouched host there are none; {again} looks again."));
            return;
        }
        self.draw_tree(&mut c.part(0, 0, self.tree_width, height), seen);
        for y in 0..height {
            let bar = c.theme.glyph(Glyph::Bar);
            c.put(self.tree_width, y, Role::Dim, bar);
        }
        let (left, w) = (self.tree_width + 1, c.w().saturating_sub(self.tree_width + 1));
        self.draw_rules(&mut c.part(left, 0, w, height), sh, seen);
        let w = c.w();
        self.draw_detail(&mut c.part(0, height, w, below), seen);
    }

    fn draw_tree(&mut self, c: &mut Canvas, seen: &Seen) {
        let rows = &seen.chains[self.family.index()];
        let window = self.tree.window(self.lines.len(), usize::from(c.h()));
        for (y, at) in window.enumerate() {
            let y = y as u16;
            match &self.lines[at] {
                Line::Table(t) => {
                    c.put(1, y, Role::Title, t);
                }
                Line::Owner(o) => {
                    c.put(2, y, Role::Owner, o);
                }
                Line::Chain(i) => {
                    let here = at == self.tree.at;
                    if here {
                        c.mark(1, y);
                    }
                    let number = match self.hits.as_ref().and_then(|h| h.by_chain.get(i)) {
                        Some(found) => format!("{}/{}", found.len(), rows[*i].rules),
                        None => rows[*i].rules.to_string(),
                    };
                    let end = c.w().saturating_sub(number.len() as u16 + 1);
                    let name = fit_middle(&rows[*i].chain, usize::from(end.saturating_sub(4)), &c.theme);
                    c.put(3, y, if here { Role::Selected } else { Role::Text }, &name);
                    c.put(end, y, Role::Dim, &number);
                }
            }
        }
    }

    fn draw_rules(&mut self, c: &mut Canvas, sh: &Shared, seen: &Seen) {
        let Some((table, chain)) = self.current(seen) else { return };
        let (table, chain_name) = (table.to_owned(), chain.name.clone());
        let mut path: Vec<&str> = self.path.iter().map(|(_, chain, _)| chain.as_str()).collect();
        path.push(&chain_name);
        let arrow = format!(" {} ", c.theme.glyph(Glyph::Arrow));
        let info = format!(
            "{} {}",
            self.family.label(),
            chain.policy.map_or_else(|| count(chain.rules.len(), "rule"), |p| format!("policy {p}"))
        );
        let room = usize::from(c.w()).saturating_sub(info.len() + 3);
        let mut title = path.join(&arrow);
        if title.chars().count() > room {
            let tail: String = title.chars().skip(title.chars().count() + 1 - room.max(1)).collect();
            title = format!("{}{tail}", c.theme.glyph(Glyph::Cut));
        }
        c.put(1, 0, Role::Title, &title);
        c.right(1, 0, Role::Dim, &info);
        let wide = c.w() >= WIDE;
        let row = self.row().unwrap_or(usize::MAX);
        self.looked_up.turn_to(row, chain, self.family);
        let w = RuleColumns::new(
            c.w(),
            self.looked_up.widest,
            chain.rules.len().to_string().len() as u16,
            seen.counted[self.family.index()],
        );
        for (x, name) in [
            (w.hits - 2, "#"),
            (w.hits, if w.target > w.hits { " hits" } else { "" }),
            (w.target, "target"),
            (w.proto, "proto"),
        ] {
            c.put(x, 1, Role::Dim, name);
        }
        if wide {
            for (x, name) in [(w.iface, "in/out"), (w.source, "source"), (w.dest, "destination"), (w.rest, "what else")]
            {
                c.put(x, 1, Role::Dim, name);
            }
        } else {
            c.put(w.source, 1, Role::Dim, "matches");
        }
        let shown = self.shown().map(<[usize]>::to_vec);
        let len = self.len(seen);
        let rates =
            sh.facts.rates.as_ref().and_then(|r| r.rules.get(&(self.family, table.clone(), chain_name.clone())));
        for (y, at) in self.rules.window(len, usize::from(c.h().saturating_sub(2))).enumerate() {
            let y = y as u16 + 2;
            let here = self.inside && at == self.rules.at;
            if here {
                c.mark(w.number, y);
            }
            let n = shown.as_ref().map_or(at, |s| s.get(at).copied().unwrap_or(usize::MAX));
            let Some(rule) = chain.rules.get(n) else {
                let mut text =
                    chain.policy.map_or_else(|| "back to the rule that called".to_owned(), |p| format!("policy {p}"));
                if let Some(s) = &shown {
                    text = format!("{text}   ({} not shown)", count(chain.rules.len() - s.len(), "rule"));
                }
                c.put(w.target, y, Role::Dim, &text);
                continue;
            };
            let lit = sh.facts.lit.as_ref().and_then(|t| {
                t.path
                    .iter()
                    .find(|s| s.table == table && s.chain == chain_name && s.rule == Some(n + 1))
                    .map(|s| s.result)
            });
            let hits = match rates.and_then(|r| r.get(n)) {
                Some(r) if r.per_second > 0.0 => (Role::Found, format!("+{}/s", scaled_to(r.per_second, 3))),
                Some(r) => hits(r.packets, true),
                None => hits(rule.packets, seen.counted[self.family.index()]),
            };
            let shadow = seen.shadowed.contains_key(&(self.family, table.clone(), chain_name.clone(), n + 1));
            let cols = self.looked_up.columns.entry(n).or_insert_with(|| columns(rule, self.family));
            draw_rule(c, y, &w, &RuleLine { cols, number: n + 1, here, shadow, lit, hits, wide });
        }
    }

    fn draw_detail(&self, c: &mut Canvas, seen: &Seen) {
        let Some((table, chain)) = self.current(seen) else { return };
        let room = usize::from(c.w().saturating_sub(4));
        if !self.inside {
            let row = self.row().and_then(|i| seen.chains[self.family.index()].get(i));
            let owner = row.and_then(|r| r.owner).map_or("built in, or made by the administrator", Manager::label);
            c.rule(0, &format!("{table} {}", chain.name));
            let policy = wrap(&policy_sentence(&chain.name, chain.policy), room);
            let mut y = 1;
            for l in &policy {
                c.put(2, y, Role::Text, l);
                y += 1;
            }
            c.put(
                2,
                y,
                Role::Dim,
                &format!(
                    "{}; {}; {} jumps to it",
                    owner,
                    count(chain.rules.len(), "rule"),
                    c.theme.glyph(Glyph::Enter)
                ),
            );
            let never = seen
                .shadowed
                .keys()
                .filter(|(f, t, name, _)| *f == self.family && t == table && *name == chain.name)
                .count();
            let mut said = Vec::new();
            if never > 0 {
                said.push(format!("{} can never match (x)", count(never, "rule")));
            }
            let unhit = chain.rules.iter().filter(|r| r.packets == 0).count();
            if seen.counted[self.family.index()] && unhit > 0 {
                said.push(format!("{} never hit so far", count(unhit, "rule")));
            }
            c.put(2, y + 1, Role::Partial, &said.join("; "));
            return;
        }
        let here = self.rule(seen).unwrap_or(usize::MAX);
        let Some(rule) = chain.rules.get(here) else {
            c.rule(0, &format!("end of {}", chain.name));
            for (y, l) in (1..).zip(wrap(&policy_sentence(&chain.name, chain.policy), room)) {
                c.put(2, y, Role::Text, &l);
            }
            return;
        };
        let n = here + 1;
        c.rule(0, &format!("{} rule {n}", chain.name));
        let mut lines: Vec<(Role, String)> = Vec::new();
        let by = seen.shadowed.get(&(self.family, table.to_owned(), chain.name.clone(), n));
        if let Some(by) = by {
            lines.push((Role::Partial, format!("Can never match: rule {by} takes all its packets first.")));
        }
        lines.extend(wrap(&sentence(rule, self.family), room).into_iter().map(|l| (Role::Text, l)));
        let text = wrap(&rule.line_in(&chain.name), room);
        let space = usize::from(c.h().saturating_sub(1));
        // The exact text always keeps its space.
        let keep = space.saturating_sub(text.len().min(space / 2).max(1));
        if lines.len() > keep {
            lines.truncate(keep);
            if let Some((_, last)) = lines.last_mut() {
                let cut = c.theme.glyph(Glyph::Cut);
                *last = fit(&format!("{last} {cut}"), room, &c.theme);
            }
        }
        lines.extend(text.into_iter().map(|l| (Role::Dim, l)));
        for (y, (role, text)) in lines.iter().take(space).enumerate() {
            c.put(2, y as u16 + 1, *role, text);
        }
    }
}

pub(super) fn detail_height(screen: u16) -> u16 {
    if screen >= 40 {
        7
    } else if screen >= 20 {
        5
    } else {
        3
    }
}

/// The width of the target column is measured on this many rules; in a longer chain other targets may be cut.
const WIDEST_OF: usize = 200;

struct RuleColumns {
    number: u16,
    hits: u16,
    target: u16,
    proto: u16,
    iface: u16,
    source: u16,
    dest: u16,
    rest: u16,
}

/// From this width on every column fits; below it, everything but the target is one text.
const WIDE: u16 = 112;

impl RuleColumns {
    /// From the width, the longest target, the digits of the last rule's number, and whether hits were counted.
    fn new(w: u16, longest: u16, digits: u16, counted: bool) -> Self {
        let hits = 4 + digits.max(3);
        let target = if counted { hits + 6 } else { hits };
        if w < WIDE {
            let proto = target + longest.clamp(10, (w / 3).max(12)) + 1;
            return Self { number: 1, hits, target, proto, iface: w, source: proto + 6, dest: w, rest: w };
        }
        let more = ((w - WIDE) / 4).min(12);
        let proto = target + longest.clamp(10, 16 + more) + 1;
        let iface = proto + 6;
        let source = iface + 13 + more;
        let dest = source + 19 + more;
        Self { number: 1, hits, target, proto, iface, source, dest, rest: dest + 19 + more }
    }
}

/// What is worked out once per chain, because every cursor step draws all visible rules again.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    /// Index of the chain's row.
    row: Option<usize>,
    /// Longest target.
    widest: u16,
    /// The rules drawn recently, by their index in the chain.
    columns: HashMap<usize, Columns>,
}

impl LookedUp {
    /// No more are cached: scrolling through a long chain rarely goes back that far.
    const MOST: usize = 1_000;

    fn turn_to(&mut self, row: usize, chain: &Chain, family: Family) {
        if self.row != Some(row) {
            let widest =
                chain.rules.iter().take(WIDEST_OF).map(|r| columns(r, family).target.chars().count() as u16).max();
            *self = Self { row: Some(row), widest: widest.unwrap_or(0), columns: HashMap::new() };
        }
        if self.columns.len() > Self::MOST {
            self.columns.clear();
        }
    }
}

struct RuleLine<'a> {
    cols: &'a Columns,
    number: usize,
    here: bool,
    shadow: bool,
    lit: Option<StepResult>,
    hits: (Role, String),
    wide: bool,
}

fn draw_rule(c: &mut Canvas, y: u16, w: &RuleColumns, r: &RuleLine) {
    let cols = r.cols;
    let text = if r.shadow { Role::Dim } else { Role::Text };
    let mark = match r.lit {
        Some(StepResult::Matched) => c.theme.glyph(Glyph::Hit),
        Some(StepResult::MayMatch) => "?",
        Some(_) => c.theme.glyph(Glyph::Dot),
        None if r.shadow => "x",
        None => " ",
    };
    c.put(w.number + 1, y, if r.lit.is_some() { Role::Found } else { Role::Dim }, mark);
    // As on the other screens the cursor only colours the name of the line: fewer bytes to send at each step.
    let name = if r.here { Role::Selected } else { Role::Dim };
    c.put_within(w.number + 2, y, w.hits, name, &format!("{:>w$}", r.number, w = usize::from(w.hits - w.number - 3)));
    c.put_within(w.hits, y, w.target, r.hits.0, &format!("{:>5}", r.hits.1));
    let role = if r.shadow {
        Role::Dim
    } else {
        match cols.target.as_str() {
            "ACCEPT" => Role::Open,
            "DROP" | "REJECT" => Role::Closed,
            _ => text,
        }
    };
    let target = fit_middle(&cols.target, usize::from(w.proto - 1 - w.target), &c.theme);
    c.put(w.target, y, role, &target);
    c.put_within(w.proto, y, w.iface.min(w.source), text, if cols.proto.is_empty() { "all" } else { &cols.proto });
    let any = |s: &str, what: &str| if s.is_empty() { what.to_owned() } else { s.to_owned() };
    if r.wide {
        let iface = if cols.input.is_empty() && cols.output.is_empty() {
            String::new()
        } else {
            format!("{}/{}", any(&cols.input, "*"), any(&cols.output, "*"))
        };
        c.put_within(w.iface, y, w.source - 1, text, &iface);
        c.put_within(w.source, y, w.dest - 1, text, &any(&cols.source, "any"));
        c.put_within(w.dest, y, w.rest - 1, text, &any(&cols.destination, "any"));
        let end = c.put(w.rest, y, text, &cols.rest);
        c.put(if cols.rest.is_empty() { end } else { end + 1 }, y, Role::Dim, &cols.comment);
    } else {
        // The port comes first, because people look for it and the end may be cut.
        let mut parts: Vec<String> = Some(cols.rest.clone()).filter(|r| !r.is_empty()).into_iter().collect();
        for (word, v) in [("from", &cols.source), ("to", &cols.destination), ("in", &cols.input), ("out", &cols.output)]
        {
            if !v.is_empty() {
                // A single address is shown without its mask, to leave room for the rest of the rule.
                let one =
                    v.strip_suffix("/32").filter(|v| v.contains('.')).or_else(|| v.strip_suffix("/128")).unwrap_or(v);
                parts.push(format!("{word} {one}"));
            }
        }
        let line = fit(&parts.join(" "), usize::from(c.w().saturating_sub(w.source)), &c.theme);
        let end = c.put(w.source, y, text, &line) + u16::from(!line.is_empty());
        let room = usize::from(c.w().saturating_sub(end));
        if room > 4 {
            c.put(end, y, Role::Dim, &fit(&cols.comment, room, &c.theme));
        }
    }
}

/// What the hits column shows: `never` only if the source counts at all.
fn hits(packets: u64, counted: bool) -> (Role, String) {
    match packets {
        0 if counted => (Role::Partial, "never".into()),
        0 => (Role::Dim, String::new()),
        n => (Role::Dim, scaled(n)),
    }
}

/// A count in at most five characters: `12345`, `123K`, `12M`.
fn scaled(n: u64) -> String {
    match n {
        0..=99_999 => n.to_string(),
        100_000..=9_999_999 => format!("{}K", n / 1_000),
        10_000_000..=9_999_999_999 => format!("{}M", n / 1_000_000),
        _ => format!("{}G", n / 1_000_000_000),
    }
}

/// A rate in a few characters: `0.5`, `12`, `3K`.
fn scaled_to(per_second: f64, places: usize) -> String {
    let text = if per_second < 9.95 {
        format!("{per_second:.1}")
    } else if per_second < 1000.0 {
        format!("{per_second:.0}")
    } else if per_second < 1e6 {
        format!("{:.0}K", per_second / 1e3)
    } else {
        format!("{:.0}M", per_second / 1e6)
    };
    text.chars().take(places).collect()
}
