//! Services: who can reach what.
//!
//! ```text
//!  RPC services
//!    service      program  vers   port         IPv4              IPv6
//!  ▸ portmapper    100000  2-4    111/tcp      ● anyone          ● anyone
//!  ─ portmapper 111/tcp ─ who gets in ─────────────────────────────────────
//!    IPv4  0.0.0.0/0   accepted   INPUT policy ACCEPT, no rule matched
//! ```

mod detail;
mod overview;

use std::collections::BTreeMap;
use std::sync::Arc;

use detail::{draw_lines, lines, title};
use overview::{Tally, alert, empty, overview, tallies};

use crate::analyse::{Endpoint, EndpointKind, Exposure, Judged, Packet, Reach, Report};
use crate::model::{Action as Does, AddrSet, Family, Goal, Net, Node, PlanRule, count};
use crate::plan::{covers, goal_of, shuts_out};
use crate::tui::applying::current;
use crate::tui::facts::Seen;
use crate::tui::keymap::{Action, Place};
use crate::tui::search::Search;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, width};
use crate::tui::wishes::{Open, Wish};

/// State of the screen.
#[derive(Default, Debug)]
pub struct Services {
    cursor: Cursor,
    /// The rows of the list: endpoints, as indexes into the report, and the headings between them.
    rows: Vec<Row>,
    made_from: Option<(usize, String)>,
    hidden: usize,
    first_line: u16,
    first_row: usize,
    tallies: Vec<Tally>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Heading(EndpointKind),
    Endpoint(usize),
}

/// A short answer to "who gets in".
pub fn summary(e: &Endpoint, exposure: Option<&Exposure>) -> (Glyph, Role, String) {
    if !e.listening {
        return (Glyph::Nobody, Role::Dim, "not listening".into());
    }
    let Some(x) = exposure else { return (Glyph::Unsure, Role::Dim, "not known".into()) };
    let r = x.widest();
    if x.lets_all_in() {
        let text = x.only_by().map_or("anyone".into(), |by| format!("anyone, {by}"));
        (Glyph::Anyone, Role::Open, text)
    } else if r.accepted.is_full() {
        // Each address gets in by some interface, but no interface lets all of them in.
        (Glyph::Some, Role::Partial, "by interface".into())
    } else if r.blocked.is_full() {
        (Glyph::Nobody, Role::Closed, "nobody".into())
    } else if r.accepted.is_empty() && !r.depends.is_empty() {
        (Glyph::Unsure, Role::Partial, "depends".into())
    } else {
        let (inside, outside) = (r.accepted.cidrs().len(), r.blocked.or(&r.depends).cidrs().len());
        let text = if outside < inside {
            format!("all but {outside} net{}", if outside == 1 { "" } else { "s" })
        } else {
            how_many(&r.accepted)
        };
        (Glyph::Some, Role::Partial, text)
    }
}

/// The size of a set in a few words: two adjacent addresses are two addresses, even if one CIDR covers them.
fn how_many(set: &AddrSet) -> String {
    let free = |net: &Net| net.family.bits() - net.prefix().unwrap_or(0);
    let (few, nets): (Vec<Net>, Vec<Net>) = set.cidrs().into_iter().partition(|n| free(n) <= 2);
    let addrs: usize = few.iter().map(|n| 1 << free(n)).sum();
    match (addrs, nets.len()) {
        (0, n) => count(n, "network"),
        (1, 0) => "1 address".into(),
        (a, 0) => format!("{a} addresses"),
        (a, n) => format!("{a} addr + {n} net{}", if n == 1 { "" } else { "s" }),
    }
}

fn version_range(v: &[u32]) -> String {
    match v {
        [] => String::new(),
        [one] => one.to_string(),
        [first, .., last] if (last - first) as usize + 1 == v.len() => format!("{first}-{last}"),
        more => more.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

/// Whether an endpoint matches the search: a name, a port, an address that gets in, an owner, a verdict.
fn found(j: &Judged, search: &Search) -> bool {
    let e = &j.endpoint;
    let numbers = || search.number().is_some_and(|n| e.port == n || e.program == Some(u32::from(n)));
    let owner = e.owner.map_or("", crate::analyse::Manager::label);
    let texts = [e.name.as_str(), e.process.as_deref().unwrap_or_default(), owner, &e.label()];
    let inside = |n: Net| j.exposure[n.family.index()].as_ref().is_some_and(|x| x.widest().accepted.contains(n.ip()));
    numbers()
        || texts.iter().any(|t| search.in_text(t))
        || search.net().is_some_and(inside)
        || Family::BOTH.iter().any(|f| search.in_text(&summary(e, j.exposure[f.index()].as_ref()).2))
}

impl Services {
    fn refresh(&mut self, sh: &Shared) {
        let Some(seen) = &sh.facts.seen else { return };
        let key = (Arc::as_ptr(seen) as usize, sh.search.clone());
        if self.made_from.as_ref() == Some(&key) {
            return;
        }
        let before = self.selected(seen).map(|j| (j.endpoint.kind, j.endpoint.label()));
        let mut rows = Vec::new();
        self.hidden = 0;
        let search = Search::new(&sh.search);
        for (i, j) in seen.report.endpoints.iter().enumerate() {
            if search.as_ref().is_some_and(|n| !found(j, n)) {
                self.hidden += 1;
                continue;
            }
            let kind = j.endpoint.kind;
            if !rows.contains(&Row::Heading(kind)) {
                rows.push(Row::Heading(kind));
            }
            rows.push(Row::Endpoint(i));
        }
        self.rows = rows;
        self.made_from = Some(key);
        self.tallies = tallies(seen);
        let again = self.rows.iter().position(|r| {
            matches!(r, Row::Endpoint(i) if {
                let e = &seen.report.endpoints[*i].endpoint;
                before.as_ref() == Some(&(e.kind, e.label()))
            })
        });
        self.cursor.at = again.unwrap_or(1).min(self.rows.len().saturating_sub(1));
        self.off_headings(true);
    }

    fn off_headings(&mut self, down: bool) {
        if matches!(self.rows.get(self.cursor.at), Some(Row::Heading(_))) {
            self.cursor.at = if down || self.cursor.at == 0 { self.cursor.at + 1 } else { self.cursor.at - 1 };
        }
    }

    fn selected<'a>(&self, seen: &'a Seen) -> Option<&'a Judged> {
        match self.rows.get(self.cursor.at)? {
            Row::Endpoint(i) => seen.report.endpoints.get(*i),
            Row::Heading(_) => None,
        }
    }

    /// Why an action does not work now.
    pub fn available(&self, action: Action, sh: &Shared) -> Result<(), String> {
        let Some(seen) = &sh.facts.seen else { return Err("the host is still being looked at".into()) };
        match action {
            Action::Protect | Action::AllowNode | Action::DropAll | Action::Follow | Action::Flow
                if self.selected(seen).is_none() =>
            {
                Err("there is no service at the cursor".into())
            }
            _ => Ok(()),
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) {
        self.refresh(sh);
        if self.cursor.act(action, self.rows.len()) {
            self.off_headings(!matches!(action, Action::Up | Action::PageUp));
            return;
        }
        let Some(seen) = sh.facts.seen.clone() else { return };
        if matches!(action, Action::NextMatch | Action::PreviousMatch) {
            self.act(if action == Action::NextMatch { Action::Down } else { Action::Up }, sh);
            return;
        }
        if action == Action::Trace {
            sh.open(Open::Trace { packet: self.selected(&seen).map(sample_packet) });
            return;
        }
        let Some(j) = self.selected(&seen) else { return };
        let e = &j.endpoint;
        let goal = goal_of(e);
        match action {
            Action::Protect | Action::AllowNode => {
                // An RPC service is protected on all its ports.
                let what = if matches!(goal, Goal::Service(_)) { goal.to_string() } else { e.label() };
                sh.open(Open::Nodes { goals: vec![goal], what, drop_rest: action == Action::Protect, rule: None });
            }
            Action::DropAll => {
                let drops = |r: &&PlanRule| r.action != Does::Allow && r.from.contains(&Node::Any);
                let by = sh
                    .staged
                    .plan
                    .rules
                    .iter()
                    .filter(drops)
                    .flat_map(|r| &r.to)
                    .find(|g| covers(&seen.view, g, &goal));
                if let Some(by) = by {
                    // A second rule would never match.
                    sh.say(format!("everybody else to {goal} is dropped already, by the rule for {by}"));
                } else {
                    sh.say(format!("staged: drop everybody else to {goal}"));
                    sh.stage(|p| p.rules.push(PlanRule { action: Does::Drop, from: vec![Node::Any], to: vec![goal] }));
                    if let Some((peer, port)) = seen.view.ssh_peer
                        && shuts_out(&seen.view, &sh.staged.plan).is_some_and(|at| at + 1 == sh.staged.plan.rules.len())
                    {
                        let key = sh.key(Place::Services, Action::AllowNode);
                        sh.complain(format!(
                            "staged: drop everybody to port {port}, also your own SSH session from {peer}: \
                            {key} allows {peer} first"
                        ));
                    }
                }
            }
            Action::Flow => sh.open(Open::Flow { packet: sample_packet(j), label: e.label() }),
            Action::Copy => {
                let side = |f: Family| format!("{}: {}", f.label(), summary(e, j.exposure[f.index()].as_ref()).2);
                sh.copy_line(format!("{}  {}  {}", e.label(), side(Family::V4), side(Family::V6)));
            }
            Action::Follow => {
                let rule = j.exposure.iter().flatten().flat_map(|x| &x.because).find_map(|b| b.rule.clone());
                match rule {
                    Some(r) => {
                        let place = (r.family, r.table, r.chain, r.rule.unwrap_or(usize::MAX));
                        sh.wishes.push(Wish::ShowRule(place));
                        sh.wishes.push(Wish::Go(super::Tab::Chains));
                    }
                    None => sh.complain("no single rule decides here"),
                }
            }
            _ => {}
        }
    }

    /// Handles a click on the list.
    pub fn click(&mut self, y: u16) {
        if y >= self.first_line {
            let at = self.first_row + usize::from(y - self.first_line);
            if matches!(self.rows.get(at), Some(Row::Endpoint(_))) {
                self.cursor.at = at;
            }
        }
    }

    /// Handles the wheel.
    pub fn wheel(&mut self, lines: i32) {
        self.cursor.wheel(lines, self.rows.len());
        self.off_headings(lines > 0);
    }

    /// Draws the list at the top and the detail below it.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        self.refresh(sh);
        let Some(seen) = &sh.facts.seen else { return };
        if seen.report.endpoints.is_empty() {
            empty(c, sh, seen);
            return;
        }
        let (w, h) = (c.w(), c.h());
        let mut top = 0;
        if h >= 14 && !seen.judging {
            overview(c, &self.tallies);
            top = 1 + alert(&mut c.part(0, 1, w, 2), sh, seen);
        }
        // The detail gets the space that the list does not need.
        let free = h.saturating_sub(top + 2).saturating_sub(u16::try_from(self.rows.len()).unwrap_or(u16::MAX));
        let details = (h * 3 / 10).max(free).clamp(3, 9);
        let list = h.saturating_sub(details + 1 + top);
        let hidden_below = self.draw_list(&mut c.part(0, top, w, list), seen, staged(sh, seen));
        let mut below = c.part(0, top + list, w, details + 1);
        let more = if hidden_below > 0 { format!(" {hidden_below} more below ") } else { String::new() };
        if let Some(j) = self.selected(seen) {
            let changes = staged(sh, seen)
                .zip(self.rows.get(self.cursor.at))
                .is_some_and(|(after, row)| matches!(row, Row::Endpoint(i) if changes(after, *i, j)));
            let then = if changes {
                format!(" (* staged: {} shows it)", sh.key(Place::Services, Action::ToPlan))
            } else {
                String::new()
            };
            title(&mut below, &j.endpoint.label(), &then, width(&more));
            let lines = lines(j, seen);
            draw_lines(&mut below, &lines, &sh.key(Place::Services, Action::Notes));
        } else {
            below.rule(0, "");
            below.put(3, 1, Role::Text, &format!("Nothing here matches {}; esc shows everything again.", sh.search));
        }
        below.right(1, 0, Role::Dim, &more);
        sh.counts.set((seen.report.endpoints.len() - self.hidden, self.hidden));
    }

    /// Draws the list; returns how many endpoints are hidden below its end.
    fn draw_list(&mut self, c: &mut Canvas, seen: &Seen, after: Option<&Report>) -> usize {
        let wide = c.w() >= 100;
        let x = Columns::new(c.w());
        let window = self.cursor.window(self.rows.len(), usize::from(c.h().saturating_sub(1)));
        let hidden_below = self.rows[window.end..].iter().filter(|r| matches!(r, Row::Endpoint(_))).count();
        (self.first_line, self.first_row) = (c.area().y + 1, window.start);
        for (column, name) in [
            (x.name, "service"),
            (x.program, "program"),
            (x.versions, "vers"),
            (x.port, "port"),
            (x.v4, "IPv4"),
            (x.v6, "IPv6"),
        ] {
            c.put(column, 0, Role::Dim, name);
        }
        if wide {
            c.put(x.owner, 0, Role::Dim, "by");
        }
        for (line, at) in window.enumerate() {
            let y = line as u16 + 1;
            match self.rows[at] {
                Row::Heading(kind) => {
                    c.put(1, y, Role::Title, heading(kind));
                }
                Row::Endpoint(i) => {
                    let j = &seen.report.endpoints[i];
                    endpoint_row(c, y, &x, j, at == self.cursor.at, seen.judging);
                    if after.is_some_and(|after| changes(after, i, j)) {
                        c.put(2, y, Role::Partial, "*");
                    }
                }
            }
        }
        hidden_below
    }
}

/// The report for the host with the staged plan applied.
fn staged<'a>(sh: &'a Shared, seen: &Seen) -> Option<&'a Report> {
    let planned = current(sh).filter(|p| p.plan != seen.kept)?;
    planned.after.as_deref()
}

/// Whether the plan changes who reaches an endpoint.
fn changes(after: &Report, at: usize, now: &Judged) -> bool {
    fn reach(j: &Judged, f: Family) -> Option<(&Reach, &BTreeMap<String, Reach>)> {
        j.exposure[f.index()].as_ref().map(|x| (&x.reach, &x.by_interface))
    }
    after.endpoints.get(at).is_some_and(|then| {
        then.endpoint == now.endpoint && Family::BOTH.iter().any(|f| reach(then, *f) != reach(now, *f))
    })
}

/// Where the columns begin.
struct Columns {
    name: u16,
    program: u16,
    versions: u16,
    port: u16,
    v4: u16,
    v6: u16,
    owner: u16,
}

impl Columns {
    fn new(w: u16) -> Self {
        if w < 76 {
            return Self { name: 3, program: w, versions: w, port: 16, v4: 28, v6: 28 + (w - 28) / 2, owner: w };
        }
        // Wider screens have wider name columns first, then the owner column.
        let more = (w - 76).min(16);
        let rest = (w - 76).saturating_sub(16).min(24) / 2;
        let port = 31 + more;
        Self {
            name: 3,
            program: 16 + more,
            versions: 25 + more,
            port,
            v4: port + 14 + rest / 2,
            v6: port + 31 + rest,
            owner: port + 49 + rest,
        }
    }
}

fn heading(kind: EndpointKind) -> &'static str {
    match kind {
        EndpointKind::Rpc => "RPC services",
        EndpointKind::Published => "Published container ports",
        EndpointKind::Socket => "Other listening sockets",
        EndpointKind::Rule => "Ports that rules name (no rpcinfo, no sockets read)",
    }
}

fn endpoint_row(c: &mut Canvas, y: u16, x: &Columns, j: &Judged, selected: bool, judging: bool) {
    let e = &j.endpoint;
    if selected {
        c.mark(1, y);
    }
    let name_end = x.program.min(x.port) - 1;
    let name = if e.name.is_empty() { e.process.as_deref().unwrap_or("?") } else { &e.name };
    c.put_within(x.name, y, name_end, if selected { Role::Selected } else { Role::Text }, name);
    match e.program {
        Some(p) => c.put_within(x.program, y, x.versions, Role::Dim, &format!("{p:>7}")),
        None => c.put_within(x.program, y, x.port, Role::Owner, e.owner.map_or("", crate::analyse::Manager::label)),
    };
    c.put_within(x.versions, y, x.port, Role::Dim, &version_range(&e.versions));
    let port = format!("{}/{}{}", e.port, e.proto, if e.moves { " ~" } else { "" });
    c.put_within(x.port, y, x.v4, Role::Text, &port);
    for (column, end, f) in [(x.v4, x.v6 - 1, Family::V4), (x.v6, x.owner.max(x.v6 + 16).min(c.w()), Family::V6)] {
        if judging {
            c.put(column, y, Role::Dim, "...");
            continue;
        }
        let (glyph, role, text) = summary(e, j.exposure[f.index()].as_ref());
        let glyph = c.theme.glyph(glyph);
        c.put_within(column, y, end, role, &format!("{glyph} {text}"));
    }
    if x.owner < c.w() {
        let by = e.process.clone().or_else(|| e.owner.map(|o| o.label().to_owned())).unwrap_or_default();
        c.put(x.owner, y, Role::Owner, &by);
    }
}

/// A sample packet from a stranger to the endpoint.
pub fn sample_packet(j: &Judged) -> Packet {
    let e = &j.endpoint;
    // The family in which something gets in, otherwise one that is known.
    let open = |f: Family| j.exposure[f.index()].as_ref().is_some_and(|x| !x.reach.blocked.is_full());
    let six = if open(Family::V4) == open(Family::V6) {
        j.exposure[0].is_none() && j.exposure[1].is_some()
    } else {
        open(Family::V6)
    };
    Packet::new(stranger(if six { Family::V6 } else { Family::V4 }), e.proto, Some(e.port))
}

/// A documentation address that belongs to nobody (RFC 5737, RFC 3849).
pub fn stranger(family: Family) -> std::net::IpAddr {
    match family {
        Family::V4 => std::net::IpAddr::from([203, 0, 113, 7]),
        Family::V6 => std::net::IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7]),
    }
}
