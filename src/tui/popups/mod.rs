//! One file per popup: its own state, update and drawing.

pub mod ask;
pub mod find;
pub mod flow;
pub mod guide;
pub mod help;
pub mod nodes;
pub mod palette;
pub mod path;
pub mod preview;
pub mod save;
pub mod text;
pub mod trace;
pub mod trial;

use crossterm::event::KeyEvent;

use super::applying::{can_apply, can_save};
use super::keymap::{Action, Place};
use super::protocol::Reply;
use super::search::{Search, next};
use super::shared::Shared;
use super::theme::Role;
use super::widgets::{Canvas, Cursor, wrap};
use super::wishes::Open;

/// Whether a popup stays open after an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays open.
    Stay,
    /// It closes.
    Close,
}

/// The popups.
#[derive(Debug)]
#[allow(missing_docs, reason = "each is one file")]
pub enum Popup {
    Nodes(nodes::Nodes),
    Trace(trace::Tracer),
    Preview(preview::Preview),
    Palette(palette::Palette),
    Find(find::Find),
    Ask(ask::Ask),
    Trial(trial::TrialPopup),
    Save(save::Save),
    Help(help::Help),
    Guide(guide::Guide),
    Flow(flow::Flow),
    Text(text::Text),
}

macro_rules! each {
    ($self:expr, $p:ident => $body:expr) => {
        match $self {
            Popup::Nodes($p) => $body,
            Popup::Trace($p) => $body,
            Popup::Preview($p) => $body,
            Popup::Palette($p) => $body,
            Popup::Find($p) => $body,
            Popup::Ask($p) => $body,
            Popup::Trial($p) => $body,
            Popup::Save($p) => $body,
            Popup::Help($p) => $body,
            Popup::Guide($p) => $body,
            Popup::Flow($p) => $body,
            Popup::Text($p) => $body,
        }
    };
}

impl Popup {
    /// Opens the popup that was asked for.
    pub fn open(open: Open, below: Place, sh: &mut Shared) -> Self {
        match open {
            Open::Nodes { goals, what, drop_rest, rule } => {
                Self::Nodes(nodes::Nodes::new(goals, what, drop_rest, rule, sh))
            }
            Open::Trace { packet } => Self::Trace(trace::Tracer::new(packet, sh)),
            Open::Preview => Self::Preview(preview::Preview::default()),
            Open::Palette => Self::Palette(palette::Palette::default()),
            Open::Find => Self::Find(find::Find::new(sh)),
            Open::Ask { title, lines, yes, then } => Self::Ask(ask::Ask::new(title, lines, yes, then)),
            Open::Text { title, text, export } => Self::Text(text::Text::new(title, &text, export)),
            Open::Tell { title, lines } => Self::Ask(ask::Ask::tell(title, lines)),
            Open::Trial => Self::Trial(trial::TrialPopup::default()),
            Open::Save => Self::Save(save::Save::new(sh)),
            Open::Help => Self::Help(help::Help::new(below)),
            Open::Guide => Self::Guide(guide::Guide::new(sh)),
            Open::Flow { packet, label } => Self::Flow(flow::Flow::new(packet, label, sh)),
        }
    }

    /// Its place in the keymap.
    pub fn place(&self) -> Place {
        match self {
            Self::Nodes(_) => Place::Nodes,
            Self::Trace(_) => Place::Trace,
            Self::Preview(_) => Place::Preview,
            Self::Palette(_) => Place::Palette,
            Self::Find(_) => Place::Find,
            Self::Ask(_) => Place::Choice,
            Self::Trial(_) => Place::Trial,
            Self::Save(_) => Place::Save,
            Self::Help(_) => Place::Help,
            Self::Guide(_) => Place::Guide,
            Self::Flow(_) => Place::Flow,
            Self::Text(_) => Place::Text,
        }
    }

    /// Why an action does not work now.
    pub fn available(&self, action: Action, sh: &Shared) -> Result<(), String> {
        match (self, action) {
            (_, Action::Apply) => can_apply(sh),
            (Self::Trial(_) | Self::Guide(_), Action::Save) => can_save(sh),
            (Self::Flow(f), Action::NextView) if f.alone() => Err("no other sender is known".into()),
            (Self::Guide(g), _) => g.available(action, sh),
            (Self::Trial(_), Action::Accept) if sh.facts.trial_runs() => {
                let key = |a| sh.key(Place::Trial, a);
                let keeps = if sh.facts.may_end(Action::Keep).is_ok() {
                    format!("{} keeps, ", key(Action::Keep))
                } else {
                    String::new()
                };
                Err(format!("this needs your decision: {keeps}{} reverts", key(Action::Revert)))
            }
            (Self::Trial(_), Action::Keep | Action::Revert | Action::Extend) => sh.facts.may_end(action),
            _ => Ok(()),
        }
    }

    /// Performs an action.
    pub fn act(&mut self, action: Action, sh: &mut Shared) -> After {
        each!(self, p => p.act(action, sh))
    }

    /// Whether it has text that can be searched.
    pub fn searches(&self) -> bool {
        matches!(self, Self::Help(_) | Self::Preview(_) | Self::Save(_) | Self::Text(_))
    }

    /// Moves the cursor to the clicked row. Returns the action of the click, if the cursor was already there or the
    /// line can be ticked.
    pub fn click(&mut self, row: u16) -> Option<Action> {
        if let Self::Guide(p) = self
            && p.goes_on_at(row)
        {
            return Some(Action::Accept);
        }
        let (cursor, at_once, does) = match self {
            Self::Palette(p) => (&mut p.cursor, false, Some(Action::Accept)),
            Self::Ask(p) if !p.takes_text() => (&mut p.cursor, false, Some(Action::Accept)),
            Self::Nodes(p) => (&mut p.cursor, true, Some(Action::NextField)),
            Self::Guide(p) if p.ticks() => (&mut p.cursor, true, Some(Action::Pick)),
            Self::Flow(p) => (&mut p.cursor, false, Some(Action::Follow)),
            Self::Save(p) => (&mut p.cursor, false, None),
            Self::Trace(p) => (&mut p.cursor, false, None),
            Self::Preview(p) => (&mut p.cursor, false, None),
            Self::Help(p) => (&mut p.cursor, false, None),
            Self::Text(p) => (&mut p.cursor, false, None),
            _ => return None,
        };
        let line = cursor.line_in(row)?;
        let there = std::mem::replace(&mut cursor.at, line) == line;
        does.filter(|_| there || at_once)
    }

    /// Handles a key that the keymap does not bind here, as text. Returns whether the popup takes text at all.
    pub fn key(&mut self, key: KeyEvent, sh: &mut Shared) -> bool {
        match self {
            Self::Nodes(p) => p.key(key, sh),
            Self::Trace(p) => p.key(key),
            Self::Palette(p) => p.key(key),
            Self::Find(p) => p.key(key, sh),
            Self::Ask(p) => p.key(key),
            _ => return false,
        }
        true
    }

    /// Handles a key while a file name is being typed; returns whether it was used.
    pub fn path_key(&mut self, key: KeyEvent, sh: &mut Shared) -> bool {
        match self {
            Self::Preview(p) => p.path_key(key, sh),
            Self::Text(p) => p.path_key(key, sh),
            _ => false,
        }
    }

    /// Pasted text.
    pub fn paste(&mut self, text: &str, sh: &mut Shared) {
        match self {
            Self::Nodes(p) => p.paste(text, sh),
            Self::Trace(p) => p.paste(text),
            Self::Palette(p) => p.paste(text),
            Self::Find(p) => p.paste(text, sh),
            Self::Preview(p) => p.paste(text),
            Self::Text(p) => p.paste(text),
            _ => {}
        }
    }

    /// Whether typed characters are text here.
    pub fn takes_text(&self) -> bool {
        match self {
            Self::Nodes(_) | Self::Trace(_) | Self::Palette(_) | Self::Find(_) => true,
            Self::Preview(p) => p.takes_text(),
            Self::Ask(p) => p.takes_text(),
            Self::Text(p) => p.takes_text(),
            _ => false,
        }
    }

    /// Handles an answer of the worker that concerns it.
    pub fn reply(&mut self, reply: &Reply, sh: &mut Shared) {
        match self {
            Self::Nodes(p) => p.reply(reply),
            Self::Trace(p) => p.reply(reply),
            Self::Save(p) => p.reply(reply),
            Self::Flow(p) => p.reply(reply, sh),
            Self::Guide(p) => p.reply(reply),
            _ => {}
        }
    }

    /// Draws it over the screen.
    pub fn draw(&mut self, c: &mut Canvas, sh: &Shared) {
        each!(self, p => p.draw(c, sh));
    }
}

/// An area in the middle of the screen.
pub fn middle<'a>(c: &'a mut Canvas, w: u16, h: u16) -> Canvas<'a> {
    // A screen reader would read what shows on both sides of a popup as part of it.
    let (w, h) = if c.theme.reader { (c.w(), c.h().saturating_sub(1)) } else { (w.min(c.w()), h.min(c.h())) };
    let (x, y) = ((c.w() - w) / 2, (c.h() - h) / 2);
    c.part(x, y, w, h)
}

/// Lines that a list with cut lines reserves for [`whole`].
pub const WHOLE: u16 = 3;

/// Draws the line at the cursor in full, below a list in which lines are cut; nothing when `room` is enough for it.
pub fn whole(c: &mut Canvas, text: &str, room: u16) {
    let y = c.h().saturating_sub(WHOLE);
    c.rule(y, "");
    if !too_long(text.lines(), room) {
        return;
    }
    for (l, y) in wrap(text, usize::from(c.w().saturating_sub(4))).iter().zip(y + 1..) {
        c.put(2, y, Role::Text, l);
    }
}

/// Whether some line is longer than the room for it.
pub fn too_long<'a>(mut lines: impl Iterator<Item = &'a str>, room: u16) -> bool {
    lines.any(|l| l.chars().count() > usize::from(room))
}

/// Goes to the next or previous line that matches the search.
pub fn find_line(cursor: &mut Cursor, lines: &[&str], action: Action, sh: &mut Shared) {
    let Some(search) = Search::new(&sh.search) else {
        sh.complain(format!("no search is active: {} starts one", sh.key(Place::Text, Action::Find)));
        return;
    };
    match next(cursor.at, lines.len(), action == Action::NextMatch, |i| search.in_text(lines[i])) {
        Some(at) => cursor.at = at,
        None => sh.complain(format!("{} is not in this text", sh.search)),
    }
}
