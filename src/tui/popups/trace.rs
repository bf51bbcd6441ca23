//! Trace: what happens to a packet, rule by rule.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{After, WHOLE, middle, too_long, whole};
use crate::analyse::{Packet, StepResult, Trace, Verdict};
use crate::model::Proto;
use crate::tui::keymap::Action;
use crate::tui::protocol::{Reply, Request};
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, Field, beyond, wrap};

const NAMES: [&str; 4] = ["protocol", "from", "to port", "arriving on"];

/// State.
#[derive(Debug)]
pub struct Tracer {
    fields: [Field; 4],
    focus: usize,
    error: Option<String>,
    answer: Option<Arc<Trace>>,
    pub(super) cursor: Cursor,
}

impl Tracer {
    /// Starts with a packet and asks about it at once.
    pub fn new(packet: Option<Packet>, sh: &mut Shared) -> Self {
        let mut fields = [Field::offering("tcp"), Field::offering("203.0.113.7"), Field::default(), Field::default()];
        if let Some(p) = &packet {
            fields[0] = Field::offering(&p.proto.to_string());
            fields[1] = Field::offering(&p.src.to_string());
            fields[2] = Field::offering(&p.dport.map_or_else(String::new, |d| d.to_string()));
        }
        let mut t = Self { fields, focus: 1, error: None, answer: None, cursor: Cursor::default() };
        if packet.is_some() {
            t.ask(sh);
        }
        t
    }

    fn packet(&self) -> Result<Packet, (usize, String)> {
        let text = |i: usize| self.fields[i].text().trim().to_owned();
        let proto = Proto::parse(&text(0))
            .ok_or_else(|| (0, format!("{} is not a protocol: tcp, udp, icmp or a number", text(0))))?;
        let src = text(1)
            .parse()
            .map_err(|_| (1, format!("{} is not an address, e.g. 203.0.113.7 or 2001:db8::7", text(1))))?;
        let port = match text(2) {
            t if t.is_empty() => None,
            t => Some(
                t.parse::<u16>()
                    .ok()
                    .filter(|p| *p > 0)
                    .ok_or((2, format!("{t} is not a port: 1 to 65535, or nothing for any")))?,
            ),
        };
        let interface = Some(text(3)).filter(|t| !t.is_empty());
        Ok(Packet { interface, ..Packet::new(src, proto, port) })
    }

    fn ask(&mut self, sh: &mut Shared) {
        match self.packet() {
            Ok(p) => {
                self.error = None;
                sh.ask(Request::Trace(p));
            }
            Err((field, e)) => {
                self.focus = field;
                self.error = Some(e);
                self.answer = None;
            }
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        let len = self.answer.as_ref().map_or(0, |a| a.path.len());
        match action {
            Action::Cancel => return After::Close,
            Action::NextField => self.focus = (self.focus + 1) % self.fields.len(),
            Action::Accept => self.ask(sh),
            Action::Left | Action::Right => {
                let code = if action == Action::Left { KeyCode::Left } else { KeyCode::Right };
                self.fields[self.focus].key(KeyEvent::new(code, KeyModifiers::NONE));
            }
            other => {
                self.cursor.act(other, len);
            }
        }
        After::Stay
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) {
        self.fields[self.focus].key(key);
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str) {
        self.fields[self.focus].paste(text);
    }

    /// Handles an answer.
    pub fn reply(&mut self, reply: &Reply) {
        if let Reply::Traced(t) = reply {
            self.cursor = Cursor::at(t.decides().unwrap_or(0));
            self.answer = Some(t.clone());
        }
    }

    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, _: &Shared) {
        let (w, h) = (c.w().min(110), c.h().saturating_sub(1));
        let mut area = middle(c, w, h);
        let mut c = area.frame("What happens to one packet");
        let w = c.w();
        let half = w / 2;
        for (i, f) in self.fields.iter().enumerate() {
            let (x, y) = ((i as u16 % 2) * half, i as u16 / 2);
            let here = i == self.focus;
            c.put(x, y, if here { Role::Selected } else { Role::Dim }, NAMES[i]);
            f.draw(&mut c, x + 12, y, half.saturating_sub(15), here);
        }
        let mut y = 3;
        if let Some(e) = &self.error {
            c.put(0, 2, Role::Error, e);
        }
        let Some(t) = &self.answer else {
            c.put(0, y, Role::Dim, "enter asks; an empty field means any");
            return;
        };
        let (glyph, role, word) = match t.verdict {
            Verdict::Accept => (Glyph::Anyone, Role::Open, "accepted"),
            Verdict::Drop => (Glyph::Nobody, Role::Closed, "dropped"),
            Verdict::Reject => (Glyph::Nobody, Role::Closed, "rejected"),
            Verdict::Depends => (Glyph::Unsure, Role::Partial, "depends"),
        };
        let glyph = c.theme.glyph(glyph);
        let x = c.put(0, y, role, &format!("{glyph} {word}: "));
        for (i, l) in wrap(&t.why, usize::from(w.saturating_sub(x))).iter().take(2).enumerate() {
            c.put(x, y + i as u16, Role::Text, l);
        }
        y += 2;
        c.rule(y, "its path");
        y += 1;
        self.cursor.stands(c.area().y + y);
        let room = w.saturating_sub(21);
        let long = too_long(t.path.iter().map(|s| s.text.as_str()), room);
        if long && let Some(s) = t.path.get(self.cursor.at) {
            whole(&mut c, &s.text, room);
        }
        let rows = c.h().saturating_sub(y + if long { WHOLE } else { 0 });
        let window = self.cursor.window(t.path.len(), usize::from(rows));
        if let Some(text) = beyond(&window, t.path.len()) {
            c.right(2, y - 1, Role::Dim, &format!(" {text} "));
        }
        for (line, at) in window.enumerate() {
            let s = &t.path[at];
            let y = y + line as u16;
            let here = at == self.cursor.at;
            if here {
                c.mark(0, y);
            }
            let role = match s.result {
                StepResult::Passed => Role::Dim,
                StepResult::Matched => Role::Found,
                _ => Role::Partial,
            };
            c.put(2, y, role, &s.result.to_string());
            c.put(12, y, Role::Dim, &s.table);
            c.put(
                21,
                y,
                if here {
                    Role::Selected
                } else if s.result == StepResult::Passed {
                    Role::Dim
                } else {
                    Role::Text
                },
                &s.text,
            );
        }
    }
}
