//! The way of a packet from the interface through hooks and chains to the service, with the deciding rule lit.
//!
//! ```text
//!   203.0.113.7, TCP to port 111
//!   │
//!   ├ nat PREROUTING       2 rules passed
//!   ├ filter INPUT         rule 1 goes into
//!   │  ├ PORTCULLIS        rule 1 goes into
//!   │  │  ├ PORTCULLIS-A   rule 4 decides
//!   ✗ dropped: PORTCULLIS-A rule 4
//! ```

use std::sync::Arc;

use super::{After, middle};
use crate::analyse::{Packet, Step, StepResult, Trace, Verdict};
use crate::tui::keymap::Action;
use crate::tui::planned::count;
use crate::tui::shared::{Reply, Request, Shared};
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, wrap};

/// State.
#[derive(Debug)]
pub struct Flow {
    packet: Packet,
    label: String,
    answer: Option<Arc<Trace>>,
    cursor: Cursor,
}

/// One stay in a chain.
struct Stay<'a> {
    depth: usize,
    steps: Vec<&'a Step>,
}

/// The stays in order; a chain that is entered from another stands deeper.
fn stays(t: &Trace) -> Vec<Stay<'_>> {
    let mut out: Vec<Stay> = Vec::new();
    let mut calls: Vec<(&str, &str)> = Vec::new();
    for s in &t.path {
        let here = (s.table.as_str(), s.chain.as_str());
        if calls.last() != Some(&here) {
            if let Some(at) = calls.iter().position(|c| *c == here) {
                calls.truncate(at + 1);
            } else {
                if crate::model::Table::builtin_chains(&s.table).contains(&s.chain.as_str()) {
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

impl Flow {
    /// Asks for the way at once.
    pub fn new(packet: Packet, label: String, sh: &mut Shared) -> Self {
        sh.requests.push(Request::Trace(packet.clone()));
        Self { packet, label, answer: None, cursor: Cursor::default() }
    }

    /// Acts.
    pub fn act(&mut self, action: Action, _: &mut Shared) -> After {
        let len = self.answer.as_ref().map_or(0, |t| stays(t).len());
        self.cursor.act(action, len);
        if action == Action::Cancel { After::Close } else { After::Stay }
    }

    /// An answer.
    pub fn reply(&mut self, reply: &Reply) {
        if let Reply::Traced(t) = reply {
            self.answer = Some(t.clone());
        }
    }

    /// Draws.
    pub fn draw(&mut self, c: &mut Canvas, _: &Shared) {
        let (w, h) = (c.w().min(100), c.h().saturating_sub(1));
        let mut area = middle(c, w, h);
        let mut c = area.frame(&format!("The way of a packet to {}", self.label));
        let p = &self.packet;
        let port = p.dport.map_or_else(String::new, |d| format!(" to port {d}"));
        c.put(1, 0, Role::Text, &format!("from {}, {}{port}, arriving on any interface but lo", p.src, p.proto.to_string().to_uppercase()));
        let Some(t) = &self.answer else {
            c.put(1, 2, Role::Dim, "following it");
            return;
        };
        let bar = c.theme.glyph(Glyph::Bar);
        c.put(1, 1, Role::Dim, bar);
        let stays = stays(t);
        let end = c.h().saturating_sub(3);
        for (line, at) in self.cursor.window(stays.len(), usize::from(end.saturating_sub(2))).enumerate() {
            let (s, y) = (&stays[at], line as u16 + 2);
            let hit = s.steps.iter().rev().find(|s| s.result != StepResult::Passed);
            let indent = format!("{bar}  ").repeat(s.depth);
            let x = c.put(1, y, Role::Dim, &format!("{indent}{bar} "));
            let Some(first) = s.steps.first() else { continue };
            let role = if hit.is_some_and(|h| h.result == StepResult::Matched) { Role::Found } else { Role::Text };
            let name = if s.depth == 0 { format!("{} {}", first.table, first.chain) } else { first.chain.clone() };
            c.put(x, y, role, &name);
            let what = match hit {
                None => format!("{} passed by", count(s.steps.len(), "rule")),
                Some(h) => match h.rule {
                    Some(n) => format!("rule {n} {}: {}", h.result, h.text),
                    None => h.text.clone(),
                },
            };
            if at == self.cursor.at {
                c.mark(0, y);
            }
            c.put(30.max(x + 24), y, if hit.is_some() { Role::Text } else { Role::Dim }, &what);
        }
        let (glyph, role, word) = match t.verdict {
            Verdict::Accept => (Glyph::Anyone, Role::Open, format!("accepted, it reaches {}", self.label)),
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
