//! State and update of the whole cockpit: the current screen, the open popups, what each key does.

mod available;
mod draft;
mod draw;
mod mouse;
mod reply;

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::config::Config;
use super::input::Input;
use super::keymap::{Action, Place};
use super::notes;
use super::popups::{After, Popup};
use super::protocol::{Draft, Request};
use super::screens::{Tab, chains::Chains, history::History, plan::PlanScreen, services::Services};
use super::shared::Shared;
use super::wishes::{Open, Wish};

/// The smallest usable terminal.
pub const SMALLEST: (u16, u16) = (60, 15);

/// What the loop must do besides drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Carry on.
    On,
    /// Leave.
    Quit,
    /// Suspend like any program on Ctrl-Z.
    Suspend,
    /// Clear the screen and draw it again.
    Redraw,
}

/// What the terminal shows.
pub struct Picture {
    /// The cells.
    pub cells: Buffer,
    /// Position of the terminal's cursor; `None` hides it.
    pub cursor: Option<(u16, u16)>,
}

/// The cockpit.
pub struct App {
    /// What all screens see.
    pub shared: Shared,
    /// Requests that the loop sends to the worker.
    pub requests: Vec<Request>,
    /// Text that the loop puts on the clipboard.
    pub copy: Option<String>,
    /// How many more answers of the worker cause a full redraw: when a trial changes, others write to the terminal
    /// (wall(1)), and not always at once.
    pub redraws: u8,
    /// The row of the last click.
    clicked: Option<u16>,
    tab: Tab,
    services: Services,
    chains: Chains,
    plan: PlanScreen,
    history: History,
    popups: Vec<Popup>,
    /// The screen's search, put aside while a popup has its own.
    screen_search: Option<String>,
    /// Popups that came up while the operator was typing, in order; they open when the typing ends.
    later: VecDeque<Open>,
    tabs_at: Vec<(u16, u16, Tab)>,
    /// Where the keys in the footer were drawn.
    keys_at: Vec<(u16, u16, Action)>,
    /// Where the keys in the header were drawn.
    head_at: Vec<(u16, u16, Action)>,
    /// The first look at the host is done.
    started: bool,
    told: bool,
    guide: bool,
    /// A draft from an earlier session that has yet to be offered.
    draft: Option<Draft>,
}

impl App {
    /// An empty cockpit; with `guide` it opens on the guided steps.
    pub fn new(config: Config, area: Rect, guide: bool) -> Self {
        let mut shared = Shared::new(config.theme, config.keys, area);
        shared.trial_time = config.trial;
        if !config.of_others.is_empty() {
            shared.say(format!("settings are read from: {}", config.of_others.join(", ")));
        }
        if !config.remarks.is_empty() {
            let mut lines: Vec<String> = config.remarks.iter().take(8).map(|d| d.message.clone()).collect();
            if config.remarks.len() > lines.len() {
                lines.push(format!("and {} more", config.remarks.len() - lines.len()));
            }
            lines.push("All other settings are in effect.".into());
            shared.open(Open::Tell { title: "Not understood in your configuration".into(), lines });
        }
        Self {
            shared,
            requests: Vec::new(),
            copy: None,
            redraws: 0,
            clicked: None,
            tab: Tab::Services,
            services: Services::default(),
            chains: Chains::default(),
            plan: PlanScreen::default(),
            history: History::default(),
            popups: Vec::new(),
            screen_search: None,
            later: VecDeque::new(),
            tabs_at: Vec::new(),
            keys_at: Vec::new(),
            head_at: Vec::new(),
            started: false,
            told: false,
            guide,
            draft: None,
        }
    }

    /// The place that receives keys.
    pub fn place(&self) -> Place {
        self.popups.last().map_or(self.tab.place(), Popup::place)
    }

    /// Handles input from the operator.
    pub fn input(&mut self, input: Input) -> Turn {
        self.shared.untouched = false;
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
            Input::Click(x, y) => self.click(x, y),
            Input::Gone => Turn::Quit,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Turn {
        self.shared.note = None;
        self.clicked = None;
        if self.too_small() {
            let leaves = key.code == KeyCode::Char('q')
                || (key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL);
            return if leaves { Turn::Quit } else { Turn::On };
        }
        if let Some(p) = self.popups.last_mut()
            && p.path_key(key, &mut self.shared)
        {
            return self.settle();
        }
        let typing = self.typing();
        let plain = matches!(key.code, KeyCode::Char(_))
            && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
        match self.shared.keys.lookup(self.place(), key).map(|b| b.action) {
            Some(action) if !(typing && plain) => self.act(action),
            _ => {
                if key.modifiers.contains(KeyModifiers::ALT) {
                    return self.escape_and(key);
                }
                let taken = self.popups.last_mut().is_some_and(|p| p.key(key, &mut self.shared));
                if !taken && plain {
                    self.say_where(key);
                }
                self.settle()
            }
        }
    }

    /// A terminal sends Alt and a key as the same bytes as Escape followed by that key. Where the Alt key is not bound,
    /// it is taken as the two keys.
    fn escape_and(&mut self, key: KeyEvent) -> Turn {
        match self.key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)) {
            Turn::On => self.key(KeyEvent::new(key.code, key.modifiers - KeyModifiers::ALT)),
            leaves => leaves,
        }
    }

    fn typing(&self) -> bool {
        self.popups.last().is_some_and(Popup::takes_text)
    }

    /// Says where a key works that does nothing here.
    fn say_where(&mut self, key: KeyEvent) {
        let (places, KeyCode::Char(c)) = (self.shared.keys.places_of(key), key.code) else { return };
        if !places.is_empty() {
            let more = if places.len() > 3 { " and others" } else { "" };
            self.shared.complain(format!(
                "{c} does nothing here; it is a key of {}{more}",
                places[..places.len().min(3)].join(", ")
            ));
        }
    }

    /// Performs an action, or says why it cannot.
    pub fn act(&mut self, action: Action) -> Turn {
        if let Err(why) = self.available(action) {
            self.shared.complain(format!("not now: {why}"));
            return Turn::On;
        }
        match action {
            Action::Quit => return Turn::Quit,
            Action::Suspend => return Turn::Suspend,
            Action::Redraw => return Turn::Redraw,
            Action::Help if self.place() != Place::Help => self.shared.open(Open::Help),
            Action::Palette => self.shared.open(Open::Palette),
            Action::Find if !matches!(self.place(), Place::Find) => self.shared.open(Open::Find),
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
            match self.popups.last() {
                Some(_) if !self.shared.search.is_empty() => self.shared.wishes.push(Wish::Act(Action::NextMatch)),
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
            Action::Cancel if self.tab != Tab::Chains => sh.search.clear(),
            Action::Trial => sh.open(Open::Trial),
            Action::Guide => sh.open(Open::Guide),
            Action::Notes => {
                if let Some(seen) = &sh.facts.seen {
                    let text = notes::text(seen, &sh.facts.enforced, usize::from(sh.area.width.saturating_sub(8)));
                    sh.open(Open::Text {
                        title: "What to know about this host".into(),
                        text: text.clone(),
                        export: ("notes.txt".into(), text),
                    });
                }
            }
            Action::Preview => sh.open(Open::Preview),
            Action::Undo => sh.undo(),
            Action::Refresh => {
                sh.facts.busy = Some("looking at the host".into());
                sh.ask(Request::Look);
            }
            _ => match self.tab {
                Tab::Services => self.services.act(action, sh),
                Tab::Chains => self.chains.act(action, sh),
                Tab::Plan => self.plan.act(action, sh),
                Tab::History => self.history.act(action, sh),
            },
        }
    }

    /// Carries out the wishes of screens and popups.
    pub(super) fn settle(&mut self) -> Turn {
        if let Some(Popup::Nodes(n)) = self.popups.last()
            && n.ready()
        {
            return self.act(Action::Accept);
        }
        let mut chosen = None;
        while let Some(wish) = self.shared.wishes.take() {
            match wish {
                Wish::Ask(request) => self.ask(request),
                Wish::Open(open) => self.open(open),
                Wish::Go(tab) => self.go(tab),
                Wish::PlanRule(at) => self.plan.show(at),
                Wish::ShowRule(place) => self.chains.show(&place, &mut self.shared),
                Wish::Copy(text) => self.copy = Some(text),
                // Last, so that it acts on the screen as the other wishes leave it.
                Wish::Act(action) => chosen = Some(action),
            }
        }
        if self.tab != Tab::Chains && self.shared.facts.rates.take().is_some() {
            // The counters are no longer shown, so stop reading them.
            self.ask(Request::Rates(false));
        }
        while !self.typing()
            && let Some(open) = self.later.pop_front()
        {
            self.open(open);
        }
        if let Some(open) = self.ask_about_draft() {
            self.open(open);
        }
        self.own_search();
        match chosen {
            Some(action) => self.act(action),
            None => Turn::On,
        }
    }

    /// Queues a request for the worker.
    fn ask(&mut self, request: Request) {
        if let Request::Change(change) = &request
            && let Some(doing) = change.doing()
        {
            self.shared.facts.changing = Some(doing.into());
        }
        self.requests.push(request);
    }

    fn go(&mut self, tab: Tab) {
        self.tab = tab;
        // When a draft is restored from the guide, the guide goes on with the new plan.
        let guides = self.popups.iter().any(|p| matches!(p, Popup::Guide(_)));
        self.popups.clear();
        if guides {
            self.open(Open::Guide);
        }
    }

    /// A popup with its own search starts with an empty one; the screen's search comes back when the popup closes.
    fn own_search(&mut self) {
        let searches = self.popups.iter().any(Popup::searches);
        match self.screen_search.take() {
            None if searches => self.screen_search = Some(std::mem::take(&mut self.shared.search)),
            Some(search) if !searches => self.shared.search = search,
            other => self.screen_search = other,
        }
    }

    fn open(&mut self, open: Open) {
        let mut popup = Popup::open(open, self.place(), &mut self.shared);
        if let Popup::Palette(p) = &mut popup {
            p.below = Some(self.tab.place());
            p.entries = self.all_actions();
        }
        self.popups.push(popup);
    }

    fn too_small(&self) -> bool {
        let a = self.shared.area;
        a.width < SMALLEST.0 || a.height < SMALLEST.1
    }
}
