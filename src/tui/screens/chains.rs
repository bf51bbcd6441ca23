//! Chains: all rules by table and owner; jumps are followed, the path stays visible.
//!
//! ```text
//!  filter              │ INPUT → PORTCULLIS                       IPv4  policy ACCEPT
//!    INPUT           5 │    # hits  target       proto  source        what else
//!  docker              │ ▸  1  12K  ACCEPT       tcp    192.0.2.0/24  port 111
//!    DOCKER-USER     1 │    2    0  DROP         all    any
//!  ─ rule 1 ──────────────────────────────────────────────────────────────────────
//!   Every TCP packet from 192.0.2.0/24, to port 111 is accepted.
//! ```

use std::sync::Arc;

use crate::analyse::{Manager, StepResult};
use crate::model::{Chain, Family, Net};
use crate::tui::keymap::Action;
use crate::tui::planned::count;
use crate::tui::sentence::{columns, leads_to, policy_sentence, sentence};
use crate::tui::shared::{Open, Seen, Shared};
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, fit, wrap};

/// State of the screen.
#[derive(Debug)]
pub struct Chains {
    family: Family,
    tree: Cursor,
    rules: Cursor,
    /// The rules have the keys, not the tree.
    inside: bool,
    /// Where jumps came from: chain and rule.
    path: Vec<(usize, usize)>,
    lines: Vec<Line>,
    made_from: usize,
    matches: Option<(String, usize, usize)>,
    first_line: u16,
    tree_width: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Table(String),
    Owner(&'static str),
    /// Place in the rows of [`Seen::chains`].
    Chain(usize),
}

impl Default for Chains {
    fn default() -> Self {
        Self {
            family: Family::V4, tree: Cursor::default(), rules: Cursor::default(), inside: false, path: Vec::new(), lines: Vec::new(),
            made_from: 0, matches: None, first_line: 0, tree_width: 24,
        }
    }
}

impl Chains {
    fn refresh(&mut self, seen: &Arc<Seen>) {
        let key = Arc::as_ptr(seen) as usize ^ self.family.index();
        if key == self.made_from {
            return;
        }
        if seen.view.rules(self.family).is_none() && seen.view.rules(Family::V6).is_some() && self.made_from == 0 {
            self.family = Family::V6;
        }
        let name = self.current(seen).map(|c| c.1.name.clone());
        self.lines.clear();
        let rows = &seen.chains[self.family.index()];
        let (mut table, mut owner): (&str, Option<Manager>) = ("", None);
        for (i, r) in rows.iter().enumerate() {
            if r.table != table {
                (table, owner) = (&r.table, None);
                self.lines.push(Line::Table(r.table.clone()));
            }
            if r.owner != owner {
                owner = r.owner;
                if let Some(o) = owner {
                    self.lines.push(Line::Owner(o.label()));
                }
            }
            self.lines.push(Line::Chain(i));
        }
        self.made_from = key;
        let again = name.and_then(|n| self.lines.iter().position(|l| matches!(l, Line::Chain(i) if rows[*i].chain == n)));
        let first = || self.lines.iter().position(|l| matches!(l, Line::Chain(i) if rows[*i].chain == "INPUT")).unwrap_or(1);
        self.tree.at = again.unwrap_or_else(first);
        if again.is_none() {
            (self.inside, self.rules) = (false, Cursor::default());
            self.path.clear();
        }
    }

    fn row(&self) -> Option<usize> {
        match self.lines.get(self.tree.at)? {
            Line::Chain(i) => Some(*i),
            _ => None,
        }
    }

    fn current<'a>(&self, seen: &'a Seen) -> Option<(&'a str, &'a Chain)> {
        let row = seen.chains[self.family.index()].get(self.row()?)?;
        Some((row.table.as_str(), seen.view.rules(self.family)?.chain(&row.table, &row.chain)?))
    }

    fn line_of(&self, seen: &Seen, table: &str, chain: &str) -> Option<usize> {
        let rows = &seen.chains[self.family.index()];
        self.lines.iter().position(|l| matches!(l, Line::Chain(i) if rows[*i].table == table && rows[*i].chain == chain))
    }

    /// Shows one rule.
    pub fn show(&mut self, sh: &mut Shared) {
        let (Some(place), Some(seen)) = (sh.show_rule.take(), sh.seen.clone()) else { return };
        self.refresh(&seen);
        self.family = place.0;
        self.refresh(&seen);
        if let Some(at) = self.line_of(&seen, &place.1, &place.2) {
            self.tree.at = at;
            self.path.clear();
            self.inside = true;
            let rules = self.current(&seen).map_or(0, |c| c.1.rules.len());
            self.rules = Cursor::at(place.3.saturating_sub(1).min(rules));
        }
    }

    /// Lines of the rules: the rules and the policy.
    fn len(&self, seen: &Seen) -> usize {
        self.current(seen).map_or(0, |c| c.1.rules.len() + 1)
    }

    /// Why an action does not work now.
    pub fn available(&self, action: Action, sh: &Shared) -> Result<(), String> {
        let Some(seen) = &sh.seen else { return Err("the host is still being looked at".into()) };
        match action {
            Action::Family => {
                let other = if self.family == Family::V4 { Family::V6 } else { Family::V4 };
                seen.view.rules(other).map(|_| ()).ok_or_else(|| format!("no {} rules are known here", other.label()))
            }
            Action::Back if !self.inside && self.path.is_empty() => Err("no jump was followed to get here".into()),
            Action::NextMatch | Action::PreviousMatch if sh.needle.is_empty() => Err("nothing is searched for: / begins".into()),
            _ => Ok(()),
        }
    }

    /// Acts.
    pub fn act(&mut self, action: Action, sh: &mut Shared) {
        let Some(seen) = sh.seen.clone() else { return };
        self.refresh(&seen);
        if self.inside {
            if self.rules.act(action, self.len(&seen)) {
                return;
            }
        } else if self.tree.act(action, self.lines.len()) {
            self.off_headings(!matches!(action, Action::Up | Action::PageUp));
            self.rules = Cursor::default();
            self.path.clear();
            return;
        }
        match action {
            Action::Follow if !self.inside => self.inside = true,
            Action::Follow => {
                let Some((table, chain)) = self.current(&seen) else { return };
                let Some(rule) = chain.rules.get(self.rules.at) else { return };
                match leads_to(rule, self.family).map(|n| (self.line_of(&seen, table, &n), n)) {
                    Some((Some(at), _)) => {
                        self.path.push((self.tree.at, self.rules.at));
                        self.tree.at = at;
                        self.rules = Cursor::default();
                    }
                    Some((None, name)) => sh.complain(format!("{name} is no chain that is shown here")),
                    None => sh.complain("this rule does not jump anywhere"),
                }
            }
            Action::Back => match self.path.pop() {
                Some((tree, rule)) => {
                    self.tree.at = tree;
                    self.rules = Cursor::at(rule);
                }
                None => self.inside = false,
            },
            Action::Family => {
                self.family = if self.family == Family::V4 { Family::V6 } else { Family::V4 };
                self.refresh(&seen);
            }
            Action::Trace => sh.opens.push(Open::Trace { packet: None }),
            Action::Flow => match seen.report.endpoints.first() {
                Some(j) => sh.opens.push(Open::Flow { packet: super::services::sample_packet(j), label: j.endpoint.label() }),
                None => sh.complain("there is no endpoint to draw the way to"),
            },
            Action::NextMatch => self.find(sh, &seen, true),
            Action::PreviousMatch => self.find(sh, &seen, false),
            _ => {}
        }
    }

    /// Goes to the next rule that matches, over all chains of the family.
    fn find(&mut self, sh: &mut Shared, seen: &Seen, forward: bool) {
        let needle = sh.needle.clone();
        let Some(set) = seen.view.rules(self.family) else { return };
        let rows = &seen.chains[self.family.index()];
        let test = Needle::new(&needle);
        let all: Vec<(usize, usize)> = self.lines.iter().enumerate().filter_map(|(at, l)| match l { Line::Chain(i) => Some((at, *i)), _ => None })
            .flat_map(|(at, i)| {
                let chain = set.chain(&rows[i].table, &rows[i].chain);
                let owner = rows[i].owner.map_or("", Manager::label);
                let whole = test.in_text(&rows[i].chain) || (!owner.is_empty() && test.in_text(owner));
                let test = &test;
                chain.into_iter().flat_map(move |c| c.rules.iter().enumerate())
                    .filter(move |(n, r)| (whole && *n == 0) || test.in_rule(&r.text)).map(move |(n, _)| (at, n))
            })
            .collect();
        let here = (self.tree.at, if self.inside { self.rules.at } else { 0 });
        let next = if forward {
            all.iter().position(|p| *p > here).or(if all.is_empty() { None } else { Some(0) })
        } else {
            all.iter().rposition(|p| *p < here).or(all.len().checked_sub(1))
        };
        if let Some(n) = next {
            (self.tree.at, self.rules) = (all[n].0, Cursor::at(all[n].1));
            self.inside = true;
            self.path.clear();
            self.matches = Some((needle, n + 1, all.len()));
        } else {
            self.matches = None;
            sh.complain(format!("no {} rule has {needle} in it", self.family.label()));
        }
    }

    /// Goes to the first match at or behind the cursor.
    pub fn found(&mut self, sh: &mut Shared) {
        if let (Some(seen), false) = (sh.seen.clone(), sh.needle.is_empty()) {
            self.refresh(&seen);
            self.find(sh, &seen, true);
        } else {
            self.matches = None;
        }
    }

    fn off_headings(&mut self, down: bool) {
        let step = |at: usize| if down { (at + 1).min(self.lines.len().saturating_sub(1)) } else { at.saturating_sub(1) };
        let mut at = self.tree.at;
        for _ in 0..3 {
            if !matches!(self.lines.get(at), Some(Line::Table(_) | Line::Owner(_))) {
                break;
            }
            at = step(at);
        }
        if matches!(self.lines.get(at), Some(Line::Table(_) | Line::Owner(_))) {
            at = self.lines.iter().position(|l| matches!(l, Line::Chain(_))).unwrap_or(0);
        }
        self.tree.at = at;
    }

    /// A click.
    pub fn click(&mut self, x: u16, y: u16, sh: &Shared) {
        let Some(seen) = &sh.seen else { return };
        if y < self.first_line {
            return;
        }
        let line = usize::from(y - self.first_line);
        if x < self.tree_width {
            let window = self.tree.window(self.lines.len(), usize::from(self.height(sh)));
            let at = window.start + line;
            if matches!(self.lines.get(at), Some(Line::Chain(_))) {
                (self.tree.at, self.inside, self.rules) = (at, false, Cursor::default());
                self.path.clear();
            }
        } else {
            let len = self.len(seen);
            let window = self.rules.window(len, usize::from(self.height(sh)).saturating_sub(2));
            let at = window.start + line.saturating_sub(2);
            if at < len {
                (self.rules.at, self.inside) = (at, true);
            }
        }
    }

    fn height(&self, sh: &Shared) -> u16 {
        sh.area.height.saturating_sub(3 + detail_height(sh.area.height))
    }

    /// The wheel.
    pub fn wheel(&mut self, x: u16, lines: i32, sh: &Shared) {
        let Some(seen) = &sh.seen else { return };
        if x < self.tree_width {
            self.tree.wheel(lines, self.lines.len());
            self.off_headings(lines > 0);
            self.rules = Cursor::default();
        } else {
            self.inside = true;
            self.rules.wheel(lines, self.len(seen));
        }
    }

    /// Draws tree, rules and the rule at the cursor.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let Some(seen) = &sh.seen else { return };
        self.refresh(seen);
        let below = detail_height(sh.area.height);
        let height = c.h().saturating_sub(below);
        self.first_line = c.area().y;
        self.tree_width = if c.w() >= 110 { 34 } else if c.w() >= 76 { 25 } else { 20 };
        if self.lines.is_empty() {
            c.put(2, 1, Role::Title, &format!("No {} rules were read.", self.family.label()));
            c.put(2, 3, Role::Dim, "On an untouched host there are none; R looks again.");
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
                Line::Table(t) => { c.put(1, y, Role::Title, t); }
                Line::Owner(o) => { c.put(2, y, Role::Owner, o); }
                Line::Chain(i) => {
                    let here = at == self.tree.at;
                    if here {
                        c.mark(1, y);
                    }
                    let number = rows[*i].rules.to_string();
                    let end = c.w().saturating_sub(number.len() as u16 + 1);
                    c.put_within(3, y, end.saturating_sub(1), if here { Role::Selected } else { Role::Text }, &rows[*i].chain);
                    c.put(end, y, Role::Dim, &number);
                }
            }
        }
    }

    fn draw_rules(&mut self, c: &mut Canvas, sh: &Shared, seen: &Seen) {
        let Some((table, chain)) = self.current(seen) else { return };
        let (table, chain_name) = (table.to_owned(), chain.name.clone());
        let rows = &seen.chains[self.family.index()];
        let mut path: Vec<&str> = self.path.iter().filter_map(|(l, _)| match self.lines.get(*l)? { Line::Chain(i) => Some(rows[*i].chain.as_str()), _ => None }).collect();
        path.push(&chain_name);
        let arrow = format!(" {} ", c.theme.glyph(Glyph::Arrow));
        let info = format!("{} {}", self.family.label(), chain.policy.map_or_else(|| count(chain.rules.len(), "rule"), |p| format!("policy {p}")));
        let room = usize::from(c.w()).saturating_sub(info.len() + 3);
        let mut title = path.join(&arrow);
        if title.chars().count() > room {
            let tail: String = title.chars().skip(title.chars().count() + 1 - room.max(1)).collect();
            title = format!("{}{tail}", c.theme.glyph(Glyph::Cut));
        }
        c.put(1, 0, Role::Title, &title);
        c.right(1, 0, Role::Dim, &info);
        let wide = c.w() >= 80;
        let w = RuleColumns::new(c.w());
        for (x, name) in [(w.number, "   # "), (w.hits, " hits"), (w.target, "target"), (w.proto, "proto")] {
            c.put(x, 1, Role::Dim, name);
        }
        if wide {
            for (x, name) in [(w.iface, "in/out"), (w.source, "source"), (w.dest, "destination"), (w.rest, "what else")] {
                c.put(x, 1, Role::Dim, name);
            }
        } else {
            c.put(w.source, 1, Role::Dim, "what it matches");
        }
        if let Some((needle, n, of)) = &self.matches {
            c.right(w.source + 20, 1, Role::Found, &format!("{needle}: {n} of {of}"));
        }
        let len = chain.rules.len() + 1;
        for (y, at) in self.rules.window(len, usize::from(c.h().saturating_sub(2))).enumerate() {
            let y = y as u16 + 2;
            let here = self.inside && at == self.rules.at;
            if here {
                c.mark(w.number, y);
            }
            let Some(rule) = chain.rules.get(at) else {
                let text = chain.policy.map_or_else(|| "back to the rule that called".to_owned(), |p| format!("policy {p}"));
                c.put(w.target, y, Role::Dim, &text);
                continue;
            };
            let shadow = seen.shadowed.contains_key(&(self.family, table.clone(), chain_name.clone(), at + 1));
            let lit = sh.lit.as_ref().and_then(|t| t.path.iter().find(|s| s.table == table && s.chain == chain_name && s.rule == Some(at + 1)).map(|s| s.result));
            draw_rule(c, y, &w, &RuleLine { rule, number: at + 1, here, shadow, lit, family: self.family, wide });
        }
    }

    fn draw_detail(&self, c: &mut Canvas, seen: &Seen) {
        let Some((table, chain)) = self.current(seen) else { return };
        let room = usize::from(c.w().saturating_sub(4));
        if !self.inside {
            let row = self.row().and_then(|i| seen.chains[self.family.index()].get(i));
            let owner = row.and_then(|r| r.owner).map_or("built in, or made by the administrator", Manager::label);
            c.rule(0, &format!("{table} {}", chain.name));
            c.put(2, 1, Role::Text, &policy_sentence(&chain.name, chain.policy));
            c.put(2, 2, Role::Dim, &format!("{}; {}; {} goes into it", owner, count(chain.rules.len(), "rule"), c.theme.glyph(Glyph::Enter)));
            return;
        }
        let Some(rule) = chain.rules.get(self.rules.at) else {
            c.rule(0, &format!("end of {}", chain.name));
            c.put(2, 1, Role::Text, &policy_sentence(&chain.name, chain.policy));
            return;
        };
        let n = self.rules.at + 1;
        c.rule(0, &format!("{} rule {n}", chain.name));
        let mut lines: Vec<(Role, String)> = Vec::new();
        let by = seen.shadowed.get(&(self.family, table.to_owned(), chain.name.clone(), n));
        if let Some(by) = by {
            lines.push((Role::Partial, format!("Can never match: rule {by} takes all its packets before.")));
        }
        lines.extend(wrap(&sentence(rule, self.family), room).into_iter().map(|l| (Role::Text, l)));
        let text = wrap(&rule.line_in(&chain.name), room);
        let space = usize::from(c.h().saturating_sub(1));
        // The exact text always gets its place.
        let keep = space.saturating_sub(text.len().min(space / 2).max(1));
        lines.truncate(keep);
        lines.extend(text.into_iter().map(|l| (Role::Dim, l)));
        for (y, (role, text)) in lines.iter().take(space).enumerate() {
            c.put(2, y as u16 + 1, *role, text);
        }
    }
}

fn detail_height(screen: u16) -> u16 {
    if screen >= 40 { 7 } else if screen >= 20 { 5 } else { 3 }
}

struct RuleColumns {
    number: u16, hits: u16, target: u16, proto: u16, iface: u16, source: u16, dest: u16, rest: u16,
}

impl RuleColumns {
    fn new(w: u16) -> Self {
        if w < 80 {
            return Self { number: 1, hits: 6, target: 12, proto: 25, iface: w, source: 31, dest: w, rest: w };
        }
        let more = (w - 80).min(60);
        let target = 13;
        let proto = target + 16 + more / 6;
        let iface = proto + 6;
        let source = iface + 14 + more / 6;
        let dest = source + 18 + more / 6;
        Self { number: 1, hits: 6, target, proto, iface, source, dest, rest: dest + 18 + more / 6 }
    }
}

struct RuleLine<'a> {
    rule: &'a crate::model::Rule,
    number: usize,
    here: bool,
    shadow: bool,
    lit: Option<StepResult>,
    family: Family,
    wide: bool,
}

fn draw_rule(c: &mut Canvas, y: u16, w: &RuleColumns, r: &RuleLine) {
    let cols = columns(r.rule, r.family);
    let text = if r.shadow { Role::Dim } else if r.here { Role::Selected } else { Role::Text };
    let mark = match r.lit {
        Some(StepResult::Matched) => c.theme.glyph(Glyph::Yes),
        Some(StepResult::MayMatch) => "?",
        Some(_) => c.theme.glyph(Glyph::Dot),
        None if r.shadow => "x",
        None => " ",
    };
    c.put(w.number + 1, y, if r.lit.is_some() { Role::Found } else { Role::Dim }, mark);
    c.put_within(w.number + 2, y, w.hits, Role::Dim, &format!("{:>3}", r.number));
    c.put_within(w.hits, y, w.target, Role::Dim, &format!("{:>5}", scaled(r.rule.packets)));
    let role = if r.shadow { Role::Dim } else {
        match cols.target.as_str() {
            "ACCEPT" => Role::Open,
            "DROP" | "REJECT" => Role::Closed,
            _ => text,
        }
    };
    c.put_within(w.target, y, w.proto - 1, role, &cols.target);
    c.put_within(w.proto, y, w.iface.min(w.source), text, if cols.proto.is_empty() { "all" } else { &cols.proto });
    let any = |s: &str, what: &str| if s.is_empty() { what.to_owned() } else { s.to_owned() };
    if r.wide {
        let iface = if cols.input.is_empty() && cols.output.is_empty() { String::new() } else { format!("{}/{}", any(&cols.input, "*"), any(&cols.output, "*")) };
        c.put_within(w.iface, y, w.source - 1, text, &iface);
        c.put_within(w.source, y, w.dest - 1, text, &any(&cols.source, "any"));
        c.put_within(w.dest, y, w.rest - 1, text, &any(&cols.destination, "any"));
        c.put(w.rest, y, text, &cols.rest);
    } else {
        let mut parts = Vec::new();
        for (word, v) in [("from", &cols.source), ("to", &cols.destination), ("in", &cols.input), ("out", &cols.output)] {
            if !v.is_empty() {
                parts.push(format!("{word} {v}"));
            }
        }
        if !cols.rest.is_empty() {
            parts.push(cols.rest.clone());
        }
        let line = fit(&parts.join(" "), usize::from(c.w().saturating_sub(w.source)), &c.theme);
        c.put(w.source, y, text, &line);
    }
}

/// A count in five places: `12345`, `123K`, `12M`.
fn scaled(n: u64) -> String {
    match n {
        0..=99_999 => n.to_string(),
        100_000..=9_999_999 => format!("{}K", n / 1_000),
        10_000_000..=9_999_999_999 => format!("{}M", n / 1_000_000),
        _ => format!("{}G", n / 1_000_000_000),
    }
}

/// What is searched for in rules: text, or an address that a network of the rule contains.
struct Needle {
    low: String,
    net: Option<Net>,
}

impl Needle {
    fn new(text: &str) -> Self {
        Self { low: text.to_ascii_lowercase(), net: Net::parse_any(text) }
    }

    fn in_text(&self, text: &str) -> bool {
        text.len() >= self.low.len() && text.as_bytes().windows(self.low.len().max(1)).any(|w| w.eq_ignore_ascii_case(self.low.as_bytes()))
    }

    fn in_rule(&self, text: &str) -> bool {
        self.in_text(text) || self.net.is_some_and(|net| {
            text.split(' ').filter(|w| w.contains('/')).filter_map(Net::parse_any).any(|n| n.mask != 0 && n.contains(net.ip()))
        })
    }
}
