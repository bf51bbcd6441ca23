//! Chains: all rules by table and owner. Jumps can be followed; the path stays visible.
//!
//! ```text
//!  filter              │ INPUT → PORTCULLIS                       IPv4  policy ACCEPT
//!    INPUT           5 │    # hits  target       proto  source        what else
//!  docker              │ ▸  1  12K  ACCEPT       tcp    192.0.2.0/24  port 111
//!    DOCKER-USER     1 │    2    0  DROP         all    any
//!  ─ rule 1 ──────────────────────────────────────────────────────────────────────
//!   Every TCP packet from 192.0.2.0/24 to port 111 is accepted.
//! ```

mod draw;
mod way;

use std::collections::HashMap;
use std::sync::Arc;

use crate::analyse::{Manager, Packet};
use crate::model::{Chain, Family, Source, Table};
use crate::tui::facts::{RulePlace, Seen};
use crate::tui::keymap::Action;
use crate::tui::protocol::Request;
use crate::tui::search::Search;
use crate::tui::sentence::leads_to;
use crate::tui::shared::Shared;
use crate::tui::widgets::Cursor;
use crate::tui::wishes::Open;

/// State of the screen.
#[derive(Debug)]
pub struct Chains {
    family: Family,
    tree: Cursor,
    /// The cursor in the list of rules shown, which a search shortens.
    rules: Cursor,
    /// The keys act on the rules rather than the tree.
    inside: bool,
    /// The rules whose jumps were followed: table, chain and number.
    path: Vec<(String, String, usize)>,
    lines: Vec<Line>,
    made_from: Option<(usize, Family, String)>,
    /// Table and chain of each row at the time the lines were built.
    names: Vec<(String, String)>,
    /// The matches of the search.
    hits: Option<Hits>,
    first_line: u16,
    tree_width: u16,
    /// Width of the longest chain name with its number, in cells.
    longest: u16,
    /// Values that drawing the current chain needs again and again.
    looked_up: draw::LookedUp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Table(String),
    Owner(&'static str),
    /// Index into [`Seen::chains`].
    Chain(usize),
}

/// Rules that match the search, by the index of their chain in [`Seen::chains`].
#[derive(Debug, Default)]
struct Hits {
    by_chain: HashMap<usize, Vec<usize>>,
    found: usize,
    all: usize,
}

impl Default for Chains {
    fn default() -> Self {
        Self {
            family: Family::V4,
            tree: Cursor::default(),
            rules: Cursor::default(),
            inside: false,
            path: Vec::new(),
            lines: Vec::new(),
            made_from: None,
            names: Vec::new(),
            hits: None,
            first_line: 0,
            tree_width: 24,
            longest: 0,
            looked_up: draw::LookedUp::default(),
        }
    }
}

impl Hits {
    fn of(search: &Search, seen: &Seen, family: Family) -> Self {
        let mut out = Self::default();
        let Some(set) = seen.view.rules(family) else { return out };
        for (i, row) in seen.chains[family.index()].iter().enumerate() {
            let Some(chain) = set.chain(&row.table, &row.chain) else { continue };
            // A chain whose name or owner matches is shown whole.
            let whole = search.in_text(&row.chain) || row.owner.is_some_and(|o| search.in_text(o.label()));
            let rules: Vec<usize> = chain
                .rules
                .iter()
                .enumerate()
                .filter(|(_, r)| whole || search.in_rule(r, family))
                .map(|(n, _)| n)
                .collect();
            out.all += chain.rules.len();
            out.found += rules.len();
            if !rules.is_empty() || whole {
                out.by_chain.insert(i, rules);
            }
        }
        out
    }
}

impl Chains {
    fn refresh(&mut self, seen: &Arc<Seen>, search: &str) {
        let first = self.made_from.is_none();
        if first && seen.view.rules(Family::V4).is_none() && seen.view.rules(Family::V6).is_some() {
            self.family = Family::V6;
        }
        let key = (Arc::as_ptr(seen) as usize, self.family, search.to_owned());
        if self.made_from.as_ref() == Some(&key) {
            return;
        }
        let rows = &seen.chains[self.family.index()];
        let before = self.row().and_then(|i| self.names.get(i).cloned());
        let rule = self.shown().map_or(Some(self.rules.at), |s| s.get(self.rules.at).copied());
        self.hits = Search::new(search).map(|n| Hits::of(&n, seen, self.family));
        self.lines.clear();
        let (mut table, mut heading): (&str, Option<&str>) = ("", None);
        for (i, r) in rows.iter().enumerate() {
            if self.hits.as_ref().is_some_and(|h| !h.by_chain.contains_key(&i)) {
                continue;
            }
            if r.table != table {
                (table, heading) = (&r.table, None);
                self.lines.push(Line::Table(r.table.clone()));
            }
            let built_in = Table::builtin_chains(&r.table).contains(&r.chain.as_str());
            let now = if built_in { None } else { Some(r.owner.map_or("your own", Manager::label)) };
            if now != heading {
                heading = now;
                self.lines.extend(now.map(Line::Owner));
            }
            self.lines.push(Line::Chain(i));
        }
        self.made_from = Some(key);
        self.looked_up = draw::LookedUp::default();
        self.longest =
            rows.iter().map(|r| r.chain.chars().count() + r.rules.to_string().len()).max().unwrap_or(0) as u16;
        self.names = rows.iter().map(|r| (r.table.clone(), r.chain.clone())).collect();
        let again = before.and_then(|(t, n)| self.line_of(seen, &t, &n));
        let start = || {
            self.lines
                .iter()
                .position(|l| matches!(l, Line::Chain(i) if rows[*i].chain == "INPUT" || self.hits.is_some()))
                .unwrap_or(1)
        };
        self.tree.at = again.unwrap_or_else(start);
        if again.is_some() {
            self.go_to_rule(seen, rule.unwrap_or(0));
        } else {
            (self.inside, self.rules) = (self.inside && self.hits.is_some(), Cursor::default());
            self.path.clear();
        }
    }

    /// Indexes of the current chain's rules that are shown; `None` means all.
    fn shown(&self) -> Option<&[usize]> {
        self.hits.as_ref().and_then(|h| h.by_chain.get(&self.row()?)).map(Vec::as_slice)
    }

    /// Index of the rule at the cursor; the policy follows the last rule.
    fn rule(&self, seen: &Seen) -> Option<usize> {
        let rules = self.current(seen)?.1.rules.len();
        Some(match self.shown() {
            Some(s) => s.get(self.rules.at).copied().unwrap_or(rules),
            None => self.rules.at.min(rules),
        })
    }

    /// Puts the cursor on the rule with this index, or on the next line that is shown.
    fn go_to_rule(&mut self, seen: &Seen, rule: usize) {
        let at = match self.shown() {
            Some(s) => s.partition_point(|n| *n < rule),
            None => rule,
        };
        let len = self.len(seen);
        self.rules.at = at.min(len.saturating_sub(1));
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
        self.lines
            .iter()
            .position(|l| matches!(l, Line::Chain(i) if rows[*i].table == table && rows[*i].chain == chain))
    }

    /// Shows one rule. A search that hides it is cleared.
    pub fn show(&mut self, place: &RulePlace, sh: &mut Shared) {
        let Some(seen) = sh.facts.seen.clone() else { return };
        sh.search.clear();
        self.family = place.0;
        self.refresh(&seen, "");
        if let Some(at) = self.line_of(&seen, &place.1, &place.2) {
            self.tree.at = at;
            self.path.clear();
            self.inside = true;
            self.go_to_rule(&seen, place.3.saturating_sub(1));
        }
    }

    /// Number of lines in the list: the rules shown, and the policy.
    fn len(&self, seen: &Seen) -> usize {
        self.current(seen).map_or(0, |c| self.shown().map_or(c.1.rules.len(), <[usize]>::len) + 1)
    }

    /// Why an action does not work now.
    pub fn available(&self, action: Action, sh: &Shared) -> Result<(), String> {
        let Some(seen) = &sh.facts.seen else { return Err("the host is still being looked at".into()) };
        match action {
            Action::Family => {
                let other = if self.family == Family::V4 { Family::V6 } else { Family::V4 };
                seen.view.rules(other).map(|_| ()).ok_or_else(|| format!("no {} rules are known here", other.label()))
            }
            Action::Back if !self.inside && self.path.is_empty() => Err("no jump was followed to get here".into()),
            Action::Rates if seen.view.source == Source::Capture => {
                Err("this is captured text: its counters do not change".into())
            }
            _ => Ok(()),
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) {
        let Some(seen) = sh.facts.seen.clone() else { return };
        self.refresh(&seen, &sh.search);
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
            Action::Follow => self.follow(&seen, sh),
            Action::Back => match self.path.pop() {
                Some((table, chain, rule)) => {
                    if let Some(at) = self.line_of(&seen, &table, &chain) {
                        self.tree.at = at;
                        self.go_to_rule(&seen, rule);
                    }
                }
                None => self.inside = false,
            },
            Action::Family => {
                self.family = if self.family == Family::V4 { Family::V6 } else { Family::V4 };
                self.refresh(&seen, &sh.search);
            }
            Action::Rates => {
                let on = sh.facts.rates.is_none();
                sh.facts.rates = on.then(Arc::default);
                sh.ask(Request::Rates(on));
                sh.say(if on {
                    "counters are read every 2 s while this screen is shown"
                } else {
                    "counters are no longer read"
                });
            }
            Action::Cancel => {
                sh.search.clear();
                sh.facts.lit = None;
                self.refresh(&seen, "");
            }
            Action::Trace => sh.open(Open::Trace { packet: self.sample(&seen).map(|(packet, _)| packet) }),
            Action::Flow => match self.sample(&seen) {
                Some((packet, label)) => sh.open(Open::Flow { packet, label }),
                None => sh.complain("no service is known that such a packet could reach"),
            },
            Action::Copy => {
                if let Some((_, chain)) = self.current(&seen) {
                    let rule = self.inside.then(|| chain.rules.get(self.rule(&seen)?)).flatten();
                    let policy =
                        chain.policy.map_or_else(|| format!("-N {}", chain.name), |p| format!("-P {} {p}", chain.name));
                    sh.copy_line(rule.map_or(policy, |r| r.line_in(&chain.name)));
                }
            }
            Action::NextMatch => self.find(sh, &seen, true),
            Action::PreviousMatch => self.find(sh, &seen, false),
            _ => {}
        }
    }

    /// A sample packet for the rule at the cursor, or for the chain.
    fn sample(&self, seen: &Seen) -> Option<(Packet, String)> {
        let (table, chain) = self.current(seen)?;
        way::sample(seen, self.family, table, chain, self.rule(seen).filter(|_| self.inside))
    }

    fn follow(&mut self, seen: &Arc<Seen>, sh: &mut Shared) {
        let Some((table, chain)) = self.current(seen) else { return };
        let (table, from, here) = (table.to_owned(), chain.name.clone(), self.rule(seen).unwrap_or(0));
        let Some(to) = chain.rules.get(here).map(|r| leads_to(r, self.family)) else { return };
        let Some(to) = to else {
            sh.complain("this rule does not jump anywhere");
            return;
        };
        if self.line_of(seen, &table, &to).is_none() && !sh.search.is_empty() {
            // The search hides the chain that the jump leads to.
            sh.search.clear();
            self.refresh(seen, "");
        }
        match self.line_of(seen, &table, &to) {
            Some(at) => {
                self.path.push((table, from, here));
                self.tree.at = at;
                self.rules = Cursor::default();
            }
            None => sh.complain(format!("{to} is not among the chains shown here")),
        }
    }

    /// Goes to the next match, across all chains of the family.
    fn find(&mut self, sh: &mut Shared, seen: &Seen, forward: bool) {
        let Some(hits) = &self.hits else { return };
        let all: Vec<(usize, usize)> = self
            .lines
            .iter()
            .enumerate()
            .filter_map(|(at, l)| match l {
                Line::Chain(i) => Some((at, hits.by_chain.get(i)?)),
                _ => None,
            })
            .flat_map(|(at, rules)| rules.iter().map(move |n| (at, *n)))
            .collect();
        let here = (self.tree.at, if self.inside { self.rule(seen).unwrap_or(0) } else { 0 });
        let before = |p: &(usize, usize)| *p < here;
        let at = if forward {
            all.iter().position(|p| *p > here || (*p == here && !self.inside)).or(if all.is_empty() {
                None
            } else {
                Some(0)
            })
        } else {
            all.iter().rposition(before).or(all.len().checked_sub(1))
        };
        let Some(at) = at else {
            sh.complain(format!("no {} rule matches {}", self.family.label(), sh.search));
            return;
        };
        let (line, rule) = all[at];
        if line != self.tree.at {
            self.rules = Cursor::default();
        }
        self.tree.at = line;
        self.go_to_rule(seen, rule);
        self.inside = true;
        self.path.clear();
    }

    /// The search was confirmed: the cursor goes to the first match.
    pub fn found(&mut self, sh: &mut Shared) {
        let Some(seen) = sh.facts.seen.clone() else { return };
        self.refresh(&seen, &sh.search);
        if !sh.search.is_empty() {
            self.inside = false;
            self.find(sh, &seen, true);
        }
    }

    fn off_headings(&mut self, down: bool) {
        let step =
            |at: usize| if down { (at + 1).min(self.lines.len().saturating_sub(1)) } else { at.saturating_sub(1) };
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

    /// Handles a click.
    pub fn click(&mut self, x: u16, y: u16, sh: &Shared) {
        let Some(seen) = &sh.facts.seen else { return };
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
        sh.area.height.saturating_sub(3 + draw::detail_height(sh.area.height))
    }

    /// Handles the wheel.
    pub fn wheel(&mut self, x: u16, lines: i32, sh: &Shared) {
        let Some(seen) = &sh.facts.seen else { return };
        if x < self.tree_width {
            self.tree.wheel(lines, self.lines.len());
            self.off_headings(lines > 0);
            self.rules = Cursor::default();
        } else {
            self.inside = true;
            self.rules.wheel(lines, self.len(seen));
        }
    }
}
