//! State and update of the whole cockpit: which screen, which popups, what a key does.

use std::cell::Cell;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::input::Input;
use super::keymap::{Action, Place, shown};
use super::planned::count;
use super::popups::{After, Popup, trial::clock};
use super::screens::{Tab, chains::Chains, history::History, plan::PlanScreen, services::Services};
use super::shared::{Asked, Open, Reply, Request, Shared};
use super::config::Config;
use super::theme::{Glyph, Role};
use super::widgets::{Canvas, wrap};
use crate::model::{Plan, Source};

/// The smallest screen that can be used.
pub const SMALLEST: (u16, u16) = (60, 15);

/// What the loop must do beside drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Go on.
    On,
    /// Leave.
    Quit,
    /// Stop like any program on Ctrl-Z.
    Suspend,
}

/// What the terminal shows.
pub struct Picture {
    /// The cells.
    pub cells: Buffer,
    /// Where the terminal's cursor stands; `None`: it is hidden.
    pub cursor: Option<(u16, u16)>,
}

/// The cockpit.
pub struct App {
    /// What all screens see.
    pub shared: Shared,
    tab: Tab,
    services: Services,
    chains: Chains,
    plan: PlanScreen,
    history: History,
    popups: Vec<Popup>,
    tabs_at: Vec<(u16, u16, Tab)>,
    /// The first look is in.
    started: bool,
    told: bool,
    guide: bool,
}

impl App {
    /// An empty cockpit; `guide`: opened on the guided steps.
    pub fn new(config: Config, area: Rect, guide: bool) -> Self {
        let mut shared = Shared::new(config.theme, config.keys, area);
        shared.trial_time = config.trial;
        if !config.remarks.is_empty() {
            let mut lines: Vec<String> = config.remarks.iter().take(8).map(|d| d.message.clone()).collect();
            if config.remarks.len() > lines.len() {
                lines.push(format!("and {} more", config.remarks.len() - lines.len()));
            }
            lines.push("All other settings hold.".into());
            shared.opens.push(Open::Tell { title: "Not understood in your configuration".into(), lines });
        }
        Self {
            shared, tab: Tab::Services, services: Services::default(), chains: Chains::default(),
            plan: PlanScreen::default(), history: History::default(), popups: Vec::new(), tabs_at: Vec::new(), started: false, told: false, guide,
        }
    }

    /// Where keys go.
    pub fn place(&self) -> Place {
        self.popups.last().map_or(self.tab.place(), Popup::place)
    }

    /// The one answer to "does this work now, and if not, why".
    pub fn available(&self, action: Action) -> Result<(), String> {
        let sh = &self.shared;
        match action {
            // These work also while the host is still being looked at.
            Action::Quit | Action::Suspend | Action::Help | Action::Palette | Action::Refresh | Action::ToServices | Action::ToChains
            | Action::ToPlan | Action::ToHistory | Action::NextTab | Action::PreviousTab => return Ok(()),
            Action::Guide if sh.seen.as_ref().is_some_and(|s| s.judging) => return Err("who gets in is still being worked out".into()),
            Action::Trial if sh.trial.is_none() => return Err("no trial was begun here".into()),
            Action::Undo if sh.before.is_empty() => return Err("nothing was changed yet".into()),
            Action::Apply | Action::Keep | Action::Revert | Action::Extend if sh.changing => {
                return Err(format!("busy: {}", sh.busy.as_deref().unwrap_or_default()));
            }
            _ => {}
        }
        if let Some(p) = self.popups.last() {
            return p.available(action, sh);
        }
        match self.tab {
            Tab::Services => self.services.available(action, sh),
            Tab::Chains => self.chains.available(action, sh),
            Tab::Plan => self.plan.available(action, sh),
            Tab::History => self.history.available(action, sh),
        }
    }

    /// Takes what the operator did.
    pub fn input(&mut self, input: Input) -> Turn {
        match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => {
                if let Some(p) = self.popups.last_mut() {
                    p.paste(&text, &mut self.shared);
                }
                self.settle()
            }
            Input::Wheel(x, _, lines) => {
                self.wheel(x, lines);
                self.settle()
            }
            Input::Click(x, y) => {
                self.click(x, y);
                self.settle()
            }
            Input::Gone => Turn::Quit,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Turn {
        self.shared.note = None;
        if self.too_small() {
            let leaves = key.code == KeyCode::Char('q') || (key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL);
            return if leaves { Turn::Quit } else { Turn::On };
        }
        if let Some(p) = self.popups.last_mut() && p.path_key(key, &mut self.shared) {
            return self.settle();
        }
        let typing = self.popups.last().is_some_and(Popup::takes_text);
        let plain = matches!(key.code, KeyCode::Char(_)) && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
        match self.shared.keys.lookup(self.place(), key).map(|b| b.action) {
            Some(action) if !(typing && plain) => self.act(action),
            _ => {
                if let Some(p) = self.popups.last_mut() {
                    p.key(key, &mut self.shared);
                }
                self.settle()
            }
        }
    }

    /// Does an action, or says why not.
    pub fn act(&mut self, action: Action) -> Turn {
        if let Err(why) = self.available(action) {
            self.shared.complain(format!("not now: {why}"));
            return Turn::On;
        }
        match action {
            Action::Quit => return Turn::Quit,
            Action::Suspend => return Turn::Suspend,
            Action::Help if self.place() != Place::Help => self.shared.opens.push(Open::Help),
            Action::Palette => self.shared.opens.push(Open::Palette),
            Action::Find if !matches!(self.place(), Place::Find) => self.shared.opens.push(Open::Find),
            _ => {
                if let Some(p) = self.popups.last_mut() {
                    if p.act(action, &mut self.shared) == After::Close {
                        self.closed();
                    }
                } else {
                    self.on_screen(action);
                }
            }
        }
        self.settle()
    }

    fn closed(&mut self) {
        if let Some(Popup::Find(_)) = self.popups.pop() {
            match self.popups.last_mut() {
                Some(below) if !self.shared.needle.is_empty() => { below.act(Action::NextMatch, &mut self.shared); }
                None if self.tab == Tab::Chains => self.chains.found(&mut self.shared),
                _ => {}
            }
        }
    }

    fn on_screen(&mut self, action: Action) {
        let sh = &mut self.shared;
        match action {
            Action::ToServices => self.tab = Tab::Services,
            Action::ToChains => self.tab = Tab::Chains,
            Action::ToPlan => self.tab = Tab::Plan,
            Action::ToHistory => self.tab = Tab::History,
            Action::NextTab | Action::PreviousTab => {
                let at = Tab::ALL.iter().position(|t| *t == self.tab).unwrap_or(0);
                self.tab = Tab::ALL[(at + if action == Action::NextTab { 1 } else { 3 }) % 4];
            }
            Action::Cancel if self.tab != Tab::Chains => sh.needle.clear(),
            Action::Trial => sh.opens.push(Open::Trial),
            Action::Guide => sh.opens.push(Open::Guide),
            Action::Preview => sh.opens.push(Open::Preview),
            Action::Undo => sh.undo(),
            Action::Refresh => {
                sh.busy = Some("looking at the host".into());
                sh.requests.push(Request::Look);
            }
            _ => match self.tab {
                Tab::Services => self.services.act(action, sh),
                Tab::Chains => self.chains.act(action, sh),
                Tab::Plan => self.plan.act(action, sh),
                Tab::History => self.history.act(action, sh),
            },
        }
    }

    /// Does what screens and popups wished for.
    fn settle(&mut self) -> Turn {
        if let Some(Popup::Nodes(n)) = self.popups.last() && n.ready() {
            return self.act(Action::Accept);
        }
        if let Some(tab) = self.shared.go.take() {
            self.tab = tab;
            self.popups.clear();
        }
        if self.tab != Tab::Chains && self.shared.rates.take().is_some() {
            // Nobody looks at the counters any more: nothing reads them.
            self.shared.requests.push(Request::Rates(false));
        }
        if self.shared.show_rule.is_some() {
            self.chains.show(&mut self.shared);
        }
        for open in std::mem::take(&mut self.shared.opens) {
            let mut popup = Popup::open(open, self.place(), &mut self.shared);
            if let Popup::Palette(p) = &mut popup {
                p.below = Some(self.tab.place());
                p.entries = self.shared.keys.rows(self.tab.place()).map(|b| (b.action, self.available(b.action).err())).collect();
            }
            self.popups.push(popup);
        }
        self.shared.changing |= self.shared.requests.iter()
            .any(|r| matches!(r, Request::Apply { .. } | Request::Keep { .. } | Request::Revert | Request::Save { .. }));
        match self.shared.act.take() {
            Some(action) => self.act(action),
            None => Turn::On,
        }
    }

    fn wheel(&mut self, x: u16, lines: i32) {
        if let Some(p) = self.popups.last_mut() {
            for _ in 0..lines.unsigned_abs() {
                p.act(if lines < 0 { Action::Up } else { Action::Down }, &mut self.shared);
            }
            return;
        }
        match self.tab {
            Tab::Services => self.services.wheel(lines),
            Tab::Chains => self.chains.wheel(x, lines, &self.shared),
            Tab::Plan => self.plan.wheel(lines, &self.shared),
            Tab::History => self.history.wheel(lines, &self.shared),
        }
    }

    fn click(&mut self, x: u16, y: u16) {
        if !self.popups.is_empty() {
            return;
        }
        if y == 1 {
            if let Some((_, _, tab)) = self.tabs_at.iter().find(|(a, b, _)| (*a..*b).contains(&x)) {
                self.tab = *tab;
            }
            return;
        }
        match self.tab {
            Tab::Services => self.services.click(y),
            Tab::Chains => self.chains.click(x, y, &self.shared),
            Tab::Plan => self.plan.click(y, &self.shared),
            Tab::History => self.history.click(y, &self.shared),
        }
    }

    /// Takes an answer of the worker.
    pub fn reply(&mut self, reply: Reply) {
        for p in &mut self.popups {
            p.reply(&reply, &mut self.shared);
        }
        let sh = &mut self.shared;
        sh.changing &= !matches!(reply, Reply::Began(_) | Reply::Done(_) | Reply::Failed { .. });
        match reply {
            Reply::Seen(seen) => {
                sh.busy = None;
                let untouched = sh.seen.as_ref().map_or(Plan::default(), |s| s.kept.clone()) == sh.plan;
                if untouched && sh.plan != seen.kept {
                    sh.plan = seen.kept.clone();
                    sh.before.clear();
                }
                let judging = seen.judging;
                sh.seen = Some(seen);
                if judging {
                    return;
                }
                sh.requests.push(Request::Work(sh.plan.clone()));
                if !std::mem::replace(&mut self.started, true) && self.guide {
                    sh.opens.push(Open::Guide);
                }
            }
            Reply::Planned(p) => sh.planned = Some(p),
            Reply::Traced(t) => sh.lit = Some(t),
            Reply::Resolved { .. } | Reply::SavePreview { .. } => {}
            Reply::Progress(what) => sh.busy = Some(what),
            Reply::Rates(r) => if sh.rates.is_some() {
                sh.rates = Some(r);
            },
            Reply::Trial(t) => self.trial(t),
            Reply::Began(t) => {
                sh.busy = None;
                sh.trial = Some(t);
                if !self.popups.iter().any(|p| matches!(p, Popup::Guide(_))) {
                    self.popups.clear();
                    self.shared.opens.push(Open::Trial);
                }
            }
            Reply::Past(past) => sh.past = past,
            Reply::Snapshot { id, diff, whole } => {
                let text = if diff.is_empty() { "Nothing differs: what is loaded now is what was loaded before this trial.".into() } else { diff };
                sh.opens.push(Open::Text { title: format!("From before trial {id} to now"), text, export: (format!("before-{id}.rules"), whole) });
            }
            Reply::Draft(plan) => {
                let lines = vec![format!("A plan of {} was staged earlier and not kept. Nothing of it is live.", count(plan.rules.len(), "rule"))];
                sh.opens.push(Open::Ask { title: "A draft from before".into(), lines, yes: "Stage it again".into(), then: Asked::Draft(plan) });
            }
            Reply::Done(text) => {
                sh.busy = None;
                sh.say(text);
            }
            Reply::Failed { what, hint, code } => {
                sh.busy = None;
                if code == "rates" {
                    sh.rates = None;
                }
                match sh.allowed.and(code) {
                    Some(allowed) => sh.opens.push(Open::Ask {
                        title: "The change was refused; nothing was changed".into(), lines: vec![format!("{what}.")],
                        yes: "To apply all the same".into(), then: Asked::Apply(allowed),
                    }),
                    None => sh.complain(format!("{what}; {hint}")),
                }
            }
        }
        let _ = self.settle();
    }

    fn trial(&mut self, t: Option<super::shared::TrialSeen>) {
        let sh = &mut self.shared;
        let ran = sh.trial_runs();
        sh.trial = t;
        // What became of the last trial is said at the start.
        if !std::mem::replace(&mut self.told, true) && let Some(t) = sh.trial.as_ref().filter(|t| !t.pending) {
            let text = format!("the last trial, begun {}, ended: {}{}; {} shows it", t.began, t.state, t.by.map_or_else(String::new, |b| format!(" by the {b}")),
                sh.key(Place::Services, Action::ToHistory));
            if t.state == "kept" { sh.say(text) } else { sh.complain(text) }
        }
        if let Some(t) = sh.trial.as_ref().filter(|t| ran && !t.pending) {
            let text = format!("the trial has ended: {}{}", t.state, t.by.map_or_else(String::new, |b| format!(" by the {b}")));
            if t.state == "kept" { sh.say(text) } else { sh.complain(text) }
            sh.requests.push(Request::Look);
        }
        if !ran && sh.trial_runs() && self.popups.is_empty() {
            // A trial was pending when we came.
            sh.opens.push(Open::Trial);
        }
    }

    fn too_small(&self) -> bool {
        let a = self.shared.area;
        a.width < SMALLEST.0 || a.height < SMALLEST.1
    }

    /// Draws everything.
    pub fn draw(&mut self) -> Picture {
        let area = self.shared.area;
        let (mut cells, spot) = (Buffer::empty(area), Cell::new(None));
        self.draw_into(&mut Canvas::new(&mut cells, &spot, self.shared.theme));
        Picture { cells, cursor: spot.get().filter(|_| self.shared.theme.reader) }
    }

    fn draw_into(&mut self, c: &mut Canvas) {
        let area = self.shared.area;
        if self.too_small() {
            let text = format!("portcullis needs {}x{} cells, this is {}x{}. Make the window larger, or press q.", SMALLEST.0, SMALLEST.1, area.width, area.height);
            for (y, l) in wrap(&text, usize::from(area.width)).iter().enumerate() {
                c.put(0, y as u16, Role::Text, l);
            }
            return;
        }
        self.shared.counts.set((0, 0));
        let banner = u16::from(self.shared.trial_runs());
        if banner == 1 {
            let left = self.shared.trial.as_ref().map_or(0, |t| t.left);
            let text = format!(" TRIAL: the old rules come back in {}.  T shows it: keep, revert or more time", clock(left));
            c.put(0, 2, Role::Banner, &format!("{text:<w$}", w = usize::from(area.width)));
        }
        let top = 2 + banner;
        {
            let mut body = c.part(0, top, area.width, area.height - top - 1);
            if self.shared.seen.is_none() {
                body.put(2, 1, Role::Dim, "Looking at the host: rules of both families, RPC services, sockets, peers.");
            } else {
                match self.tab {
                    Tab::Services => self.services.draw(&mut body, &self.shared),
                    Tab::Chains => self.chains.draw(&mut body, &self.shared),
                    Tab::Plan => self.plan.draw(&mut body, &self.shared),
                    Tab::History => self.history.draw(&mut body, &self.shared),
                }
            }
        }
        self.header(c);
        self.footer(c);
        for p in &mut self.popups {
            p.draw(c, &self.shared);
        }
    }

    fn header(&mut self, c: &mut Canvas) {
        let sh = &self.shared;
        let dot = format!(" {} ", c.theme.glyph(Glyph::Dot));
        let mut parts: Vec<String> = Vec::new();
        if let Some(seen) = &sh.seen {
            let v = &seen.view;
            parts.push(v.title.clone());
            parts.push(match v.source {
                Source::Live => "live".into(),
                Source::Capture => "captured text, read-only".into(),
                Source::Demo => "DEMO: nothing real is touched".into(),
            });
            parts.extend(v.ssh_peer.map(|(a, _)| format!("SSH from {a}")));
            // `iptables v1.8.9 (nf_tables)` comes last: on a small screen it is what can be missed.
            let room = usize::from(c.w().saturating_sub(14)).saturating_sub(parts.iter().map(|p| p.chars().count() + 3).sum());
            parts.extend(v.iptables.clone().filter(|i| i.chars().count() <= room));
        }
        let x = c.put(1, 0, Role::Title, "portcullis");
        let busy = sh.busy.clone().unwrap_or_default();
        let end = c.w().saturating_sub(if busy.is_empty() { 0 } else { busy.chars().count() as u16 + 3 });
        c.put_within(x + 2, 0, end, Role::Dim, &parts.join(&dot));
        if !busy.is_empty() {
            c.right(x, 0, Role::Found, &busy);
        }
        self.tabs_at.clear();
        let mut x = 1;
        for (i, tab) in Tab::ALL.iter().enumerate() {
            let mut name = tab.name().to_owned();
            if *tab == Tab::Plan && !sh.plan.rules.is_empty() {
                name = format!("{name} ({}{})", sh.plan.rules.len(), if sh.plan_is_new() { " staged" } else { "" });
            }
            let from = x;
            x = c.put(x, 1, Role::Key, &(i + 1).to_string()) + 1;
            x = if *tab == self.tab { let end = c.put(x, 1, Role::Title, &name); c.underline(x, 1, end - x); end } else { c.put(x, 1, Role::Dim, &name) };
            self.tabs_at.push((from, x, *tab));
            x += 3;
        }
        let (shown, hidden) = sh.counts.get();
        if sh.needle.is_empty() {
            let help = format!("{} help ", sh.key(self.tab.place(), Action::Help));
            c.right(x, 1, Role::Dim, &help);
        } else {
            let dot = c.theme.glyph(Glyph::Dot);
            c.right(x, 1, Role::Found, &format!("/{} {dot} {shown} found, {hidden} hidden ", sh.needle));
        }
    }

    fn footer(&self, c: &mut Canvas) {
        let (w, y) = (c.w(), c.h() - 1);
        if let Some(n) = &self.shared.note {
            let (glyph, role) = if n.bad { (Glyph::No, Role::Error) } else { (Glyph::Yes, Role::Closed) };
            let glyph = c.theme.glyph(glyph);
            let x = c.put(1, y, role, glyph) + 1;
            c.put(x, y, Role::Text, &n.text);
            return;
        }
        let mut x = 1;
        let quit = self.popups.is_empty();
        let w = if quit { w.saturating_sub(8) } else { w };
        if quit {
            let at = c.put(w + 1, y, Role::Key, "q") + 1;
            c.put(at, y, Role::Text, "quit");
        }
        for b in self.shared.keys.rows(self.place()).filter(|b| !b.short.is_empty() && !b.keys.is_empty() && b.action != Action::Quit) {
            let key = shown(b, self.shared.theme.unicode);
            let width = (key.chars().count() + b.short.chars().count() + 1) as u16;
            if x + width > w {
                break;
            }
            let off = self.available(b.action).is_err();
            x = c.put(x, y, if off { Role::Dim } else { Role::Key }, &key) + 1;
            x = c.put(x, y, if off { Role::Dim } else { Role::Text }, b.short) + 2;
        }
    }
}
