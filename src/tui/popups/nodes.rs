//! Nodes: who may use a service. Typed, or picked from what the host shows.
//!
//! ```text
//! ╭ Who may use portmapper ─────────────────────────────────╮
//! │ Nodes: 192.0.2.11 nfs2.example.org                      │
//! │   nfs2.example.org → 192.0.2.12, 2001:db8::12           │
//! │ ▸ 10.0.0.5        this SSH session                      │
//! ╰─────────────────────────────────────────────────────────╯
//! ```

use std::collections::HashMap;
use std::net::IpAddr;

use crossterm::event::KeyEvent;

use super::{After, middle};
use crate::model::names::interfaces::is_bridge;
use crate::model::{Action as Does, Goal, Node, count};
use crate::plan::protect_all;
use crate::tui::keymap::{Action, Place};
use crate::tui::protocol::{Reply, Request};
use crate::tui::shared::Shared;
use crate::tui::theme::{Glyph, Role};
use crate::tui::widgets::{Canvas, Cursor, Field, width, wrap};

/// State.
#[derive(Debug)]
pub struct Nodes {
    goals: Vec<Goal>,
    what: String,
    drop_rest: bool,
    /// The rule of the plan being changed; `None` for a new one.
    rule: Option<usize>,
    field: Field,
    picks: Vec<(String, String)>,
    pub(super) cursor: Cursor,
    /// What is wrong with the input, one sentence each.
    errors: Vec<String>,
    names: HashMap<String, Option<Result<Vec<IpAddr>, String>>>,
    /// Enter was pressed while names were still being resolved.
    waiting: bool,
}

/// Suggestions from the host: this session, clients of exports, connected peers, container networks.
pub fn picks(sh: &Shared) -> Vec<(String, String)> {
    let Some(seen) = &sh.facts.seen else { return Vec::new() };
    let v = &seen.view;
    let mut out: Vec<(String, String)> = Vec::new();
    let mut add = |node: String, why: String| {
        match out.iter().position(|(n, _)| *n == node) {
            // All reasons for one suggestion are joined.
            Some(at) if !out[at].1.contains(&why) => out[at].1 = format!("{}, {why}", out[at].1),
            None if out.len() < 200 => out.push((node, why)),
            _ => {}
        }
    };
    if let Some((peer, _)) = v.ssh_peer {
        add(peer.to_string(), "this SSH session".into());
    }
    for l in v.logins.iter().flat_map(|l| &l.found) {
        add(l.peer.to_string(), format!("may be yours ({})", l.which()));
    }
    for e in v.exports.iter().filter(|e| Node::parse(e).is_ok_and(|n| n != Node::Any)) {
        add(e.clone(), "named in /etc/exports".into());
    }
    for p in &v.peers {
        if !p.addr.is_loopback() {
            add(p.addr.to_string(), format!("connected now to port {}/{}", p.port, p.proto));
        }
    }
    for r in v.routes.iter().flatten() {
        let bridge = is_bridge(&r.interface);
        // Link-local addresses are not nodes: every link has the same ones.
        let local = matches!(r.net.ip(), IpAddr::V6(a) if a.is_unicast_link_local());
        if bridge && r.net.mask != 0 && !local {
            add(r.net.to_string(), format!("containers on {}", r.interface));
        }
    }
    out
}

impl Nodes {
    /// A new rule for a goal, or the nodes of an existing rule.
    pub fn new(goals: Vec<Goal>, what: String, drop_rest: bool, rule: Option<usize>, sh: &Shared) -> Self {
        let mut names = HashMap::new();
        let text = rule
            .and_then(|i| sh.staged.plan.rules.get(i))
            .map(|r| {
                for n in &r.from {
                    if let Node::Name(name, addrs) = n
                        && !addrs.is_empty()
                    {
                        names.insert(name.clone(), Some(Ok(addrs.clone())));
                    }
                }
                r.from.iter().map(|n| format!("{n} ")).collect::<String>()
            })
            .unwrap_or_default();
        Self {
            goals,
            what,
            drop_rest,
            rule,
            field: Field::with(&text),
            picks: picks(sh),
            cursor: Cursor::default(),
            errors: Vec::new(),
            names,
            waiting: false,
        }
    }

    fn words(&self) -> Vec<String> {
        self.field.text().split([' ', ',', ';']).filter(|w| !w.is_empty()).map(str::to_owned).collect()
    }

    /// The nodes entered, or a sentence for each word that is not a node.
    fn nodes(&self) -> Result<Vec<Node>, Vec<String>> {
        let words = self.words();
        if words.is_empty() {
            return Err(vec![
                "enter at least one node: an address, a CIDR like 192.0.2.0/24, or a host name (tab takes a suggestion)"
                    .into(),
            ]);
        }
        let (mut nodes, mut errors) = (Vec::new(), Vec::new());
        for w in &words {
            let node = Node::parse(w).and_then(|n| match n {
                Node::Name(name, _) => match self.names.get(&name) {
                    Some(Some(Ok(addrs))) => Ok(Node::Name(name, addrs.clone())),
                    Some(Some(Err(e))) => Err(e.clone()),
                    _ => Ok(Node::Name(name, Vec::new())),
                },
                other => Ok(other),
            });
            match node {
                Ok(n) => nodes.push(n),
                Err(e) => errors.push(e),
            }
        }
        if errors.is_empty() { Ok(nodes) } else { Err(errors) }
    }

    fn resolve(&mut self, sh: &mut Shared) {
        // The word still being typed is not resolved yet.
        let typing = !self.field.text().ends_with([' ', ',', ';']) && !self.waiting;
        let words = self.words();
        let done = words.len() - usize::from(typing && !words.is_empty());
        for w in &words[..done] {
            if let Ok(Node::Name(name, _)) = Node::parse(w)
                && !self.names.contains_key(&name)
            {
                self.names.insert(name.clone(), None);
                sh.ask(Request::Resolve(name));
            }
        }
    }

    fn unresolved(&self) -> bool {
        self.words()
            .iter()
            .any(|w| matches!(Node::parse(w), Ok(Node::Name(n, _)) if !matches!(self.names.get(&n), Some(Some(_)))))
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        match action {
            Action::Cancel => return After::Close,
            Action::NextField => {
                if let Some((node, _)) = self.picks.get(self.cursor.at).cloned() {
                    if self.words().contains(&node) {
                        // A second tab removes it again.
                        let kept: Vec<String> = self.words().into_iter().filter(|w| *w != node).collect();
                        self.field = Field::with(&kept.iter().map(|w| format!("{w} ")).collect::<String>());
                    } else {
                        let text = self.field.text();
                        let gap = if text.is_empty() || text.ends_with(' ') { "" } else { " " };
                        self.field = Field::with(&format!("{text}{gap}{node} "));
                        self.cursor.act(Action::Down, self.picks.len());
                    }
                    self.errors.clear();
                    self.resolve(sh);
                }
            }
            Action::Accept => {
                self.waiting = true;
                self.resolve(sh);
                return self.finish(sh);
            }
            Action::Left | Action::Right => {
                let code = if action == Action::Left {
                    crossterm::event::KeyCode::Left
                } else {
                    crossterm::event::KeyCode::Right
                };
                self.field.key(KeyEvent::new(code, crossterm::event::KeyModifiers::NONE));
            }
            other => {
                self.cursor.act(other, self.picks.len());
            }
        }
        After::Stay
    }

    fn finish(&mut self, sh: &mut Shared) -> After {
        // All errors are shown together, once every name has been looked up.
        if self.unresolved() {
            return After::Stay;
        }
        match self.nodes() {
            Err(errors) => {
                self.errors = errors;
                self.waiting = false;
                After::Stay
            }
            Ok(nodes) => {
                self.stage(nodes, sh);
                After::Close
            }
        }
    }

    fn stage(&self, nodes: Vec<Node>, sh: &mut Shared) {
        let (rule, drop_rest, n) = (self.rule, self.drop_rest, nodes.len());
        let Some(seen) = sh.facts.seen.clone() else { return };
        sh.stage(|p| {
            if let Some(r) = rule.and_then(|i| p.rules.get_mut(i)) {
                r.from = nodes;
                return;
            }
            protect_all(p, &seen.view, &self.goals, &nodes, drop_rest);
        });
        let rest = if self.drop_rest { ", everybody else is dropped" } else { "" };
        let plan = sh.key(Place::Services, Action::ToPlan);
        sh.say(format!("staged: {} may use {}{rest}; {plan} shows the plan", count(n, "node"), self.what));
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent, sh: &mut Shared) {
        if self.field.key(key) {
            self.errors.clear();
            self.waiting = false;
            self.resolve(sh);
        }
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str, sh: &mut Shared) {
        self.field.paste(text);
        self.errors.clear();
        self.resolve(sh);
    }

    /// Handles an answer.
    pub fn reply(&mut self, reply: &Reply) {
        if let Reply::Resolved { name, addrs } = reply {
            self.names.insert(name.clone(), Some(addrs.clone()));
        }
    }

    /// Whether Enter is waiting for names and all of them are resolved now.
    pub fn ready(&self) -> bool {
        self.waiting && !self.unresolved()
    }

    /// Draws the popup.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        let (w, h) = (c.w().min(76), c.h().saturating_sub(2).min(20));
        let title = if self.rule.is_some() {
            format!("Nodes of this rule ({})", self.what)
        } else {
            format!("Who may use {}", self.what)
        };
        let mut area = middle(c, w, h);
        let mut c = area.frame(&title);
        let (w, arrow) = (c.w(), c.theme.glyph(Glyph::Arrow));
        let x = c.put(0, 0, Role::Text, "Nodes: ");
        self.field.draw(&mut c, x, 0, w - x, true);
        let mut y = 1;
        for e in &self.errors {
            let no = c.theme.glyph(Glyph::No);
            for (i, l) in wrap(e, usize::from(w.saturating_sub(4))).iter().enumerate() {
                if i == 0 {
                    c.put(1, y, Role::Error, no);
                }
                c.put(3, y, Role::Error, l);
                y += 1;
            }
        }
        let allows = self.rule.and_then(|i| sh.staged.plan.rules.get(i)).is_none_or(|r| r.action == Does::Allow);
        for word in self.words() {
            let (role, text) = match Node::parse(&word) {
                Ok(Node::Any) if allows => (Role::Partial, format!("{word} is everybody: nobody is kept out")),
                Ok(Node::Net(n)) if allows && n.prefix() == Some(0) => {
                    (Role::Partial, format!("{word} is everybody over {}: nobody is kept out there", n.family.label()))
                }
                Ok(Node::Name(name, _)) => match self.names.get(&name) {
                    None => continue,
                    Some(None) => (Role::Dim, format!("{name} {arrow} looking it up")),
                    Some(Some(Ok(a))) => (
                        Role::Text,
                        format!("{name} {arrow} {}", a.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
                    ),
                    // Already shown above.
                    Some(Some(Err(e))) if self.errors.contains(e) => continue,
                    Some(Some(Err(e))) => (Role::Error, e.clone()),
                },
                _ => continue,
            };
            for l in wrap(&text, usize::from(w.saturating_sub(4))) {
                if y < c.h() / 2 {
                    c.put(3, y, role, &l);
                    y += 1;
                }
            }
        }
        y = y.max(2);
        let help = if self.drop_rest {
            "Addresses, CIDRs or host names; everybody else is dropped."
        } else {
            "Addresses, CIDRs or host names."
        };
        c.put(0, y, Role::Dim, help);
        y += 2;
        if self.picks.is_empty() {
            c.put(0, y, Role::Dim, "No suggestions: no exports, no peers and no SSH session were found.");
            return;
        }
        c.put(0, y - 1, Role::Title, "Seen on this host (tab takes one)");
        let chosen = self.words();
        self.cursor.stands(c.area().y + y);
        for (line, at) in self.cursor.window(self.picks.len(), usize::from(c.h().saturating_sub(y))).enumerate() {
            let (node, why) = &self.picks[at];
            let y = y + line as u16;
            let here = at == self.cursor.at;
            if here {
                c.mark(0, y);
            }
            if chosen.contains(node) {
                c.put(2, y, Role::Closed, c.theme.glyph(Glyph::Yes));
            }
            c.put_within(
                3 + width(c.theme.glyph(Glyph::Yes)),
                y,
                30,
                if here { Role::Selected } else { Role::Text },
                node,
            );
            c.put(31, y, Role::Dim, why);
        }
    }
}
