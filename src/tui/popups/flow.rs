//! The path of a packet from the interface through hooks and chains to the service, with the deciding rule highlighted.
//!
//! ```text
//!   203.0.113.7 sends TCP to port 9042
//!   │
//!   ▼ PREROUTING   as it arrives
//!   │  nat PREROUTING     rule 1 → DOCKER
//!   │  ├─ DOCKER          rule 3 DNAT to 172.17.0.2 port 9042
//!   ▼ routing
//!   ├─ INPUT     to this host itself
//!   ╰─ FORWARD   to containers and other hosts       its way
//!   ▼ FORWARD
//!   │  filter FORWARD     rule 1 → DOCKER-USER
//!   │  ├─ DOCKER-USER     rule 2 accepts
//!   ● accepted: it reaches cassandra 9042/tcp
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use super::{After, middle, nodes};
use crate::analyse::{Packet, Step, StepResult, Trace, Verdict};
use crate::model::{Family, Node, Rule, Table, Target, count};
use crate::tui::facts::RulePlace;
use crate::tui::keymap::Action;
use crate::tui::protocol::{Reply, Request};
use crate::tui::screens::{Tab, services::stranger};
use crate::tui::sentence::columns;
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, fit, wrap};
use crate::tui::wishes::Wish;

/// State.
#[derive(Debug)]
pub struct Flow {
    packet: Packet,
    label: String,
    answer: Option<Arc<Trace>>,
    pub(super) cursor: Cursor,
    /// Possible senders: a stranger, this session, clients of exports, peers.
    senders: Vec<(IpAddr, String)>,
    sender: usize,
}

/// The packet's steps in one chain, from entering to leaving it.
struct Stay<'a> {
    depth: usize,
    steps: Vec<&'a Step>,
}

/// The stays in order; a chain entered from another is one level deeper.
fn stays(t: &Trace) -> Vec<Stay<'_>> {
    let mut out: Vec<Stay> = Vec::new();
    let mut calls: Vec<(&str, &str)> = Vec::new();
    for s in &t.path {
        let here = (s.table.as_str(), s.chain.as_str());
        if calls.last() != Some(&here) {
            if let Some(at) = calls.iter().position(|c| *c == here) {
                calls.truncate(at + 1);
            } else {
                if built_in(s) {
                    calls.clear();
                }
                calls.push(here);
            }
            out.push(Stay { depth: calls.len() - 1, steps: Vec::new() });
        }
        if let Some(last) = out.last_mut() {
            last.steps.push(s);
        }
    }
    out
}

fn built_in(s: &Step) -> bool {
    Table::builtin_chains(&s.table).contains(&s.chain.as_str())
}

/// The interface that leads to an address: packets from there arrive on it unless routing is asymmetric.
fn interface_to(sh: &Shared, addr: IpAddr) -> Option<String> {
    let routes = sh.facts.seen.as_ref()?.view.routes.as_ref()?;
    routes.iter().filter(|r| r.net.contains(addr)).max_by_key(|r| r.net.mask.count_ones()).map(|r| r.interface.clone())
}

/// A line of the drawing.
struct Line {
    /// The name column.
    left: String,
    role: Role,
    /// What happens there.
    right: String,
    /// The rule shown on this line.
    rule: Option<RulePlace>,
}

fn hook_words(hook: &str) -> &'static str {
    match hook {
        "PREROUTING" => "as it arrives, before routing",
        "INPUT" => "to this host's own sockets",
        "FORWARD" => "through this host",
        _ => "",
    }
}

/// What a rule does to the packet, in a few words.
fn does(step: &Step, family: Family, arrow: &str) -> String {
    let text = step.text.strip_prefix(&format!("-A {} ", step.chain)).unwrap_or(&step.text);
    let rule = Rule::new(text);
    match rule.spec(family).target {
        Target::Accept => "accepts".into(),
        Target::Drop => "drops".into(),
        Target::Reject => "rejects".into(),
        Target::Return => "returns".into(),
        Target::Jump(to, _) | Target::Goto(to) => format!("{arrow} {to}"),
        Target::Dnat(Some(_)) => format!(
            "DNAT to{}",
            columns(&rule, family).rest.rsplit_once("to ").map_or_else(String::new, |(_, t)| format!(" {t}"))
        ),
        _ => columns(&rule, family).target,
    }
}

fn picture(t: &Trace, family: Family, glyph: impl Fn(Glyph) -> &'static str) -> Vec<Line> {
    let plain = |left: String, role: Role, right: &str| Line { left, role, right: right.to_owned(), rule: None };
    let (bar, down, into, last, arrow) =
        (glyph(Glyph::Bar), glyph(Glyph::Step), glyph(Glyph::Into), glyph(Glyph::Last), glyph(Glyph::Arrow));
    let mut out = Vec::new();
    let mut hook = "";
    for s in stays(t) {
        let Some(first) = s.steps.first() else { continue };
        if built_in(first) && first.chain != hook {
            if hook == "PREROUTING" || (hook.is_empty() && first.chain != "PREROUTING") {
                let forward = first.chain == "FORWARD";
                out.push(plain(format!("{down} routing"), Role::Text, "the destination decides"));
                for (name, sign, words, taken) in [
                    ("INPUT", into, "to this host itself", !forward),
                    ("FORWARD", last, "to containers and other hosts", forward),
                ] {
                    out.push(plain(
                        format!("{sign} {name}"),
                        if taken { Role::Text } else { Role::Dim },
                        &if taken { format!("{words}: its path") } else { words.to_owned() },
                    ));
                }
            }
            hook = &first.chain;
            out.push(plain(format!("{down} {hook}"), Role::Title, hook_words(hook)));
        }
        let indent =
            if s.depth == 0 { String::new() } else { format!("{}{into} ", format!("{bar}  ").repeat(s.depth - 1)) };
        let name = if s.depth == 0 { format!("{} {}", first.table, first.chain) } else { first.chain.clone() };
        // All rules that may match, then the one that sends it on or decides.
        let mut hits: Vec<&Step> = s.steps.iter().filter(|s| s.result != StepResult::Passed).copied().collect();
        let last_hit = hits.pop();
        hits.retain(|h| h.result == StepResult::MayMatch);
        hits.extend(last_hit);
        if hits.is_empty() {
            out.push(plain(
                format!("{bar}  {indent}{name}"),
                Role::Dim,
                &format!("{} did not match", count(s.steps.len(), "rule")),
            ));
        }
        for h in hits {
            let right = match h.rule {
                Some(n) if h.result == StepResult::MayMatch => {
                    format!("rule {n} may match: {}", does(h, family, arrow))
                }
                Some(n) => format!("rule {n} {}", does(h, family, arrow)),
                None => h
                    .text
                    .strip_prefix("-P ")
                    .map_or(h.text.clone(), |p| format!("policy {}", p.rsplit(' ').next().unwrap_or(p))),
            };
            let rule = Some((family, h.table.clone(), h.chain.clone(), h.rule.unwrap_or(usize::MAX)));
            let role = if h.result == StepResult::MayMatch { Role::Partial } else { Role::Text };
            out.push(Line { left: format!("{bar}  {indent}{name}"), role, right, rule });
        }
    }
    let decides = t
        .decides()
        .and_then(|at| t.path.get(at))
        .map(|s| (family, s.table.clone(), s.chain.clone(), s.rule.unwrap_or(usize::MAX)));
    if let Some(l) = decides.and_then(|place| out.iter_mut().rfind(|l| l.rule.as_ref() == Some(&place))) {
        l.role = Role::Found;
    }
    out
}

impl Flow {
    /// Opens the popup and asks for the path at once.
    pub fn new(mut packet: Packet, label: String, sh: &mut Shared) -> Self {
        if packet.interface.is_none() {
            packet.interface = interface_to(sh, packet.src);
        }
        sh.ask(Request::Trace(packet.clone()));
        let who = if packet.src == stranger(packet.family()) { "a stranger" } else { "a sender that the rule names" };
        let mut senders = vec![(packet.src, who.to_owned())];
        let other = if packet.family() == Family::V4 { Family::V6 } else { Family::V4 };
        if sh.facts.seen.as_ref().is_some_and(|s| s.view.rules(other).is_some()) {
            senders.push((stranger(other), format!("a stranger over {}", other.label())));
        }
        for (node, why) in nodes::picks(sh) {
            let addr = match Node::parse(&node) {
                Ok(Node::Net(n)) => n.ip(),
                _ => continue,
            };
            if !senders.iter().any(|(a, _)| *a == addr) && senders.len() < 12 {
                senders.push((addr, why));
            }
        }
        Self { packet, label, answer: None, cursor: Cursor::default(), senders, sender: 0 }
    }

    /// Whether no other sender is known.
    pub fn alone(&self) -> bool {
        self.senders.len() < 2
    }

    fn lines(&self, sh: &Shared) -> Vec<Line> {
        self.answer.as_ref().map_or_else(Vec::new, |t| picture(t, self.packet.family(), |g| sh.theme.glyph(g)))
    }

    /// Why nothing gets in over this family, whatever the rules do with this packet: nobody listens there.
    fn nobody_takes(&self, sh: &Shared) -> Option<String> {
        let j = sh.facts.seen.as_ref()?.report.endpoints.iter().find(|j| j.endpoint.label() == self.label)?;
        let x = j.exposure[self.packet.family().index()].as_ref().filter(|x| x.reach.blocked.is_full())?;
        x.because.first().map(|b| b.text.clone())
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        let lines = self.lines(sh);
        if self.cursor.act(action, lines.len()) {
            return After::Stay;
        }
        match action {
            Action::Cancel => return After::Close,
            Action::NextView => {
                self.sender = (self.sender + 1) % self.senders.len();
                self.packet.src = self.senders[self.sender].0;
                self.packet.interface = interface_to(sh, self.packet.src);
                self.answer = None;
                sh.ask(Request::Trace(self.packet.clone()));
            }
            Action::Follow => match lines.get(self.cursor.at).and_then(|l| l.rule.clone()) {
                Some(place) => {
                    sh.wishes.push(Wish::ShowRule(place));
                    sh.wishes.push(Wish::Go(Tab::Chains));
                }
                None => sh.complain("no rule decides on this line"),
            },
            _ => {}
        }
        After::Stay
    }

    /// Handles an answer.
    pub fn reply(&mut self, reply: &Reply, sh: &Shared) {
        if let Reply::Traced(t) = reply {
            self.answer = Some(t.clone());
            // The cursor starts at the deciding rule.
            let lines = self.lines(sh);
            self.cursor = Cursor::at(lines.iter().rposition(|l| l.role == Role::Found).unwrap_or(0));
        }
    }

    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w().min(110), c.h().saturating_sub(1));
        let mut area = middle(c, w, h);
        let mut c = area.frame(&format!("The path of a packet to {}", self.label));
        let p = &self.packet;
        let port = p.dport.map_or_else(String::new, |d| format!(" to port {d}"));
        let who = &self.senders[self.sender].1;
        let on = p.interface.as_ref().map_or_else(|| "(not on lo)".to_owned(), |i| format!("on {i}"));
        c.put(1, 0, Role::Text, &format!("{} ({who}) sends {}{port} {on}", p.src, p.proto.to_string().to_uppercase()));
        let Some(t) = self.answer.clone() else {
            c.put(1, 2, Role::Dim, "working it out");
            return;
        };
        let lines = self.lines(sh);
        let bar = c.theme.glyph(Glyph::Bar);
        c.put(1, 1, Role::Dim, bar);
        let end = c.h().saturating_sub(3);
        if lines.is_empty() {
            c.put(1, 2, Role::Text, "No rule on its path is known: capture the whole of iptables-save -c.");
        }
        let column =
            lines.iter().map(|l| l.left.chars().count() as u16).max().unwrap_or(0).clamp(20, (c.w() / 2).clamp(20, 38))
                + 4;
        self.cursor.stands(c.area().y + 2);
        let window = self.cursor.window(lines.len(), usize::from(end.saturating_sub(2)));
        if window.start > 0 {
            c.right(3, 1, Role::Dim, &format!("{} above", count(window.start, "line")));
        }
        if window.end < lines.len() {
            c.right(3, end, Role::Dim, &format!("{} below", count(lines.len() - window.end, "line")));
        }
        for (line, at) in window.enumerate() {
            let (l, y) = (&lines[at], line as u16 + 2);
            if at == self.cursor.at {
                c.mark(0, y);
            }
            c.put(1, y, l.role, &fit(&l.left, usize::from(column - 2), &c.theme));
            c.put(column, y, if l.rule.is_some() { l.role } else { Role::Dim }, &l.right);
        }
        let (glyph, role, word) = match t.verdict {
            // The rules are not everything: nobody may be listening.
            Verdict::Accept => match self.nobody_takes(sh) {
                Some(why) => (Glyph::Nobody, Role::Closed, format!("the rules let it through, but {why}")),
                None => (Glyph::Anyone, Role::Open, format!("accepted, it reaches {}", self.label)),
            },
            Verdict::Drop => (Glyph::Nobody, Role::Closed, "dropped".to_owned()),
            Verdict::Reject => (Glyph::Nobody, Role::Closed, "rejected".to_owned()),
            Verdict::Depends => (Glyph::Unsure, Role::Partial, "depends".to_owned()),
        };
        let glyph = c.theme.glyph(glyph);
        let text = format!("{glyph} {word}: {}", t.why);
        for (i, l) in wrap(&text, usize::from(c.w().saturating_sub(2))).iter().take(2).enumerate() {
            c.put(1, end + 1 + i as u16, role, l);
        }
    }
}
