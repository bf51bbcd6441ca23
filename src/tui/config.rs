//! `config.toml`: the operator's own keys and appearance. What is not understood is reported with its line; everything
//! else applies. The machine's file is read first; the operator's own overrides it.
//!
//! ```toml
//! theme = "light"          # auto, dark, light, 16, none
//! ascii = true             # no signs outside ASCII
//! screen-reader = true     # no frames; the terminal's cursor stands where the selection is
//! mouse = false            # leaves the mouse to the terminal
//! trial = "2m"             # how long a trial lasts that is begun here, 10s to 1h
//!
//! [keys]
//! protect = "P ctrl-e"     # the action's name in the manual page, and its keys
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::keymap::{self, Keymap};
use super::theme::Theme;
use crate::model::{Diagnostic, trial_time};

/// The operator's preferences.
#[derive(Clone, Debug)]
pub struct Config {
    /// Colours and glyphs.
    pub theme: Theme,
    /// Keys.
    pub keys: Keymap,
    /// Whether to handle clicks and the wheel; otherwise the terminal keeps them for its own selection.
    pub mouse: bool,
    /// How long a trial lasts.
    pub trial: Duration,
    /// The file that sets the time; `None` if none does.
    pub trial_from: Option<String>,
    /// What was not understood.
    pub remarks: Vec<Diagnostic>,
    /// Files that belong neither to the operator nor to the machine, each with its owner.
    pub of_others: Vec<String>,
    /// Appearance from the environment, before any file.
    usual: Theme,
    looks: Looks,
}

/// What the files say about appearance; the last one wins.
#[derive(Clone, Debug, Default)]
struct Looks {
    theme: Option<String>,
    ascii: Option<bool>,
    reader: Option<bool>,
}

#[derive(Default, Deserialize)]
struct Keys {
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Spanned<Value>>,
}

/// The line number of an offset in a text.
fn line(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

impl Config {
    /// The settings without any file, and the base for one.
    pub fn usual(theme: Theme) -> Self {
        Self {
            theme,
            keys: Keymap::default(),
            mouse: true,
            trial: Duration::from_mins(1),
            trial_from: None,
            remarks: Vec::new(),
            of_others: Vec::new(),
            usual: theme,
            looks: Looks::default(),
        }
    }

    /// Reads one file on top of what the environment says.
    #[cfg(test)]
    pub fn read(theme: Theme, text: &str) -> Self {
        let mut c = Self::usual(theme);
        c.take("config.toml", text);
        c
    }

    /// Applies a file; it overrides those applied before.
    pub fn take(&mut self, file: &str, text: &str) {
        let known = self.remarks.len();
        self.take_all(file, text);
        self.remarks[known..].sort_by_key(|d| d.line);
        let remarks = self.remarks[known..].iter_mut();
        remarks.for_each(|d| d.message = format!("{file}, line {}: {}", d.line, d.message));
    }

    fn take_all(&mut self, file: &str, text: &str) {
        let c = self;
        let top: BTreeMap<Spanned<String>, Spanned<Value>> = match toml::from_str(text) {
            Ok(t) => t,
            Err(e) => {
                c.remark(
                    line(text, e.span().map_or(0, |s| s.start)),
                    format!("this is not TOML: {}", e.message().trim().replace('\n', "; ")),
                );
                return;
            }
        };
        for (name, value) in &top {
            let at = line(text, name.span().start);
            c.set(at, name.get_ref(), value.get_ref(), file);
        }
        c.look();
        let keys: Keys = toml::from_str(text).unwrap_or_default();
        let mut given = Vec::new();
        for (name, value) in &keys.keys {
            let at = line(text, name.span().start);
            match (keymap::action_named(name.get_ref()), value.get_ref().as_str()) {
                (None, _) => {
                    let near = keymap::near(name.get_ref()).map_or_else(
                        || "the manual page lists the actions".to_owned(),
                        |n| format!("did you mean {n}?"),
                    );
                    c.remark(at, format!("{} is not an action; {near}", name.get_ref()));
                }
                (_, None) => c.remark(
                    at,
                    format!("the keys of {} must be text, e.g. {} = \"x ctrl-x\"", name.get_ref(), name.get_ref()),
                ),
                (Some(action), Some(text)) => given.push((at, action, text.to_owned())),
            }
        }
        for (at, what) in c.keys.rebind(&given) {
            c.remark(at, what);
        }
    }

    fn remark(&mut self, line: usize, what: impl Into<String>) {
        self.remarks.push(Diagnostic::at(line, what));
    }

    /// Works out the appearance from scratch: a later file may undo what an earlier one set.
    fn look(&mut self) {
        self.theme = self.usual;
        if let Some(name) = &self.looks.theme {
            self.theme.choose(name);
        }
        self.theme.reader |= self.looks.reader == Some(true);
        self.theme.unicode &= self.looks.ascii != Some(true) && self.looks.reader != Some(true);
    }

    fn set(&mut self, at: usize, name: &str, value: &Value, file: &str) {
        let flag = value.as_bool();
        match (name, value) {
            ("keys", Value::Table(_)) => {}
            ("theme", v) => match v.as_str().filter(|t| self.usual.clone().choose(t)) {
                Some(name) => self.looks.theme = Some(name.to_owned()),
                None => self
                    .remark(at, format!("theme = {v} is not known: \"auto\", \"dark\", \"light\", \"16\" or \"none\"")),
            },
            ("ascii", Value::Boolean(ascii)) => self.looks.ascii = Some(*ascii),
            ("screen-reader", Value::Boolean(reader)) => self.looks.reader = Some(*reader),
            ("mouse", Value::Boolean(mouse)) => self.mouse = *mouse,
            ("trial", v) => match v.as_str().map(trial_time) {
                Some(Ok(time)) => (self.trial, self.trial_from) = (time, Some(file.to_owned())),
                _ => self.remark(at, format!("trial = {v} is not {}", "a time from 10s to 1h, like \"60s\" or \"5m\"")),
            },
            ("ascii" | "screen-reader" | "mouse", _) if flag.is_none() => {
                self.remark(at, format!("{name} must be true or false"));
            }
            _ => self.remark(
                at,
                format!("{name} is not a setting: use theme, ascii, screen-reader, mouse, trial or [keys]"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::tui::keymap::{Action, Place};
    use crate::tui::theme::Depth;

    fn read(text: &str) -> Config {
        Config::read(Theme::from_env(|n| (n == "TERM").then(|| "xterm-256color".to_owned())), text)
    }

    fn does(c: &Config, place: Place, key: char) -> Option<Action> {
        c.keys.lookup(place, KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)).map(|b| b.action)
    }

    #[test]
    fn keys_and_looks_are_the_operators() {
        let c = read("theme = \"none\"\nscreen-reader = true\nmouse = false\n[keys]\nprotect = \"o\"\nup = \"z\"\n");
        assert_eq!(c.remarks, []);
        assert!(c.theme.depth == Depth::Mono && c.theme.reader && !c.theme.unicode && !c.mouse);
        assert_eq!(does(&c, Place::Services, 'o'), Some(Action::Protect));
        assert_eq!(does(&c, Place::Services, 'p'), None);
        // Arrow keys are fixed.
        assert_eq!(
            c.keys.lookup(Place::Services, KeyEvent::new(KeyCode::Up, KeyModifiers::NONE)).map(|b| b.action),
            Some(Action::Up)
        );
        assert_eq!(does(&c, Place::Services, 'z'), Some(Action::Up));
    }

    #[test]
    fn the_operators_own_file_holds_over_that_of_the_machine() {
        let usual = Theme::from_env(|n| (n == "TERM").then(|| "xterm-256color".to_owned()));
        let mut c = Config::usual(usual);
        c.take(
            "/etc/portcullis/config.toml",
            "theme = \"none\"\nascii = true\nscreen-reader = true\nmouse = false\ntrial \
            = \"5m\"\nasci = 1\n[keys]\nprotect = \"o\"\n",
        );
        assert!(c.theme.depth == Depth::Mono && !c.theme.unicode && c.theme.reader && !c.mouse);
        assert_eq!((c.trial.as_secs(), c.trial_from.as_deref()), (300, Some("/etc/portcullis/config.toml")));
        c.take(
            "config.toml",
            "theme = \"auto\"\nascii = false\nscreen-reader = false\nmouse = true\n[keys]\nprotect \
            = \"P\"\nfind = \"o\"\nx = \"y\"\n",
        );
        assert!(c.theme.depth == usual.depth && c.theme.unicode && !c.theme.reader && c.mouse);
        assert_eq!(
            (does(&c, Place::Services, 'P'), does(&c, Place::Services, 'o')),
            (Some(Action::Protect), Some(Action::Find))
        );
        // Settings that it does not mention are unchanged.
        assert_eq!(c.trial.as_secs(), 300);
        let said: Vec<&str> = c.remarks.iter().map(|d| d.message.split(": ").next().unwrap()).collect();
        assert_eq!(said, ["/etc/portcullis/config.toml, line 6", "config.toml, line 8"]);
        c.take("config.toml", "trial = \"20s\"\n");
        assert_eq!((c.trial.as_secs(), c.trial_from.as_deref()), (20, Some("config.toml")));
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        let c = read(
            "theme = \"pink\"\nasci = true\nmouse = 3\n\n[keys]\nprotct = \"o\"\ndrop-all = \"p\"\ntrace \
                = \"hyper-x\"\nfind = 7\nguide = \"enter\"\n",
        );
        let said: Vec<(usize, String)> = c.remarks.iter().map(|d| (d.line, d.message.clone())).collect();
        let has = |line: usize, part: &str| {
            assert!(said.iter().any(|(l, m)| *l == line && m.contains(part)), "{line} {part}: {said:#?}");
        };
        has(1, "theme = \"pink\"");
        has(2, "asci is not a setting");
        has(3, "true or false");
        has(6, "did you mean protect?");
        has(7, "p was the key of protect");
        has(8, "hyper-x is not a key");
        has(9, "must be text");
        has(10, "enter cannot be changed");
        assert_eq!(does(&c, Place::Services, 'p'), Some(Action::DropAll));
        assert_eq!(read("x = [").remarks[0].line, 1);
        let twice = read("[keys]\nprotect = \"o\"\ntrace = \"o\"\n");
        assert!(twice.remarks[0].message.contains("line 3: o is already the key of protect"), "{:?}", twice.remarks);
    }
}
