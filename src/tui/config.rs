//! `config.toml`: the operator's own keys and looks. What is not understood is said with its line; the rest holds.
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

/// What the operator likes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Colours and glyphs.
    pub theme: Theme,
    /// Keys.
    pub keys: Keymap,
    /// Clicks and the wheel are ours; else the terminal keeps them for its own selection.
    pub mouse: bool,
    /// How long a trial lasts.
    pub trial: Duration,
    /// What was not understood.
    pub remarks: Vec<Diagnostic>,
}

#[derive(Default, Deserialize)]
struct Keys {
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Spanned<Value>>,
}

/// The line of a place in a text.
fn line(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

impl Config {
    /// What holds without a file, and the base for one.
    pub fn usual(theme: Theme) -> Self {
        Self { theme, keys: Keymap::default(), mouse: true, trial: Duration::from_mins(1), remarks: Vec::new() }
    }

    /// Reads a file on top of what the environment says.
    pub fn read(theme: Theme, text: &str) -> Self {
        let mut c = Self::usual(theme);
        let top: BTreeMap<Spanned<String>, Spanned<Value>> = match toml::from_str(text) {
            Ok(t) => t,
            Err(e) => {
                c.remark(line(text, e.span().map_or(0, |s| s.start)), format!("this is not TOML: {}", e.message().trim().replace('\n', "; ")));
                return c;
            }
        };
        for (name, value) in &top {
            let at = line(text, name.span().start);
            c.set(at, name.get_ref(), value.get_ref());
        }
        let keys: Keys = toml::from_str(text).unwrap_or_default();
        let mut given = Vec::new();
        for (name, value) in &keys.keys {
            let at = line(text, name.span().start);
            match (keymap::action_named(name.get_ref()), value.get_ref().as_str()) {
                (None, _) => {
                    let near = keymap::near(name.get_ref()).map_or_else(|| "the manual page lists them".to_owned(), |n| format!("did you mean {n}?"));
                    c.remark(at, format!("{} is no action; {near}", name.get_ref()));
                }
                (_, None) => c.remark(at, format!("the keys of {} must be text, e.g. {} = \"x ctrl-x\"", name.get_ref(), name.get_ref())),
                (Some(action), Some(text)) => given.push((at, action, text.to_owned())),
            }
        }
        for (at, what) in c.keys.rebind(&given) {
            c.remark(at, what);
        }
        c.remarks.sort_by_key(|d| d.line);
        c
    }

    fn remark(&mut self, line: usize, what: impl AsRef<str>) {
        self.remarks.push(Diagnostic::at(line, format!("config.toml, line {line}: {}", what.as_ref())));
    }

    fn set(&mut self, at: usize, name: &str, value: &Value) {
        let flag = value.as_bool();
        match (name, value) {
            ("keys", Value::Table(_)) => {}
            ("theme", v) => if !v.as_str().is_some_and(|t| self.theme.choose(t)) {
                self.remark(at, format!("theme = {v} is not known: \"auto\", \"dark\", \"light\", \"16\" or \"none\""));
            },
            ("ascii", Value::Boolean(ascii)) => self.theme.unicode &= !ascii,
            ("screen-reader", Value::Boolean(reader)) => {
                self.theme.reader |= reader;
                self.theme.unicode &= !reader;
            }
            ("mouse", Value::Boolean(mouse)) => self.mouse = *mouse,
            ("trial", v) => match v.as_str().map(trial_time) {
                Some(Ok(time)) => self.trial = time,
                _ => self.remark(at, format!("trial = {v} is not {}", "a time from 10s to 1h, like \"60s\" or \"5m\"")),
            },
            ("ascii" | "screen-reader" | "mouse", _) if flag.is_none() => self.remark(at, format!("{name} must be true or false")),
            _ => self.remark(at, format!("{name} is not known here: theme, ascii, screen-reader, mouse, trial and [keys] are")),
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
        // Arrows stay what they are.
        assert_eq!(c.keys.lookup(Place::Services, KeyEvent::new(KeyCode::Up, KeyModifiers::NONE)).map(|b| b.action), Some(Action::Up));
        assert_eq!(does(&c, Place::Services, 'z'), Some(Action::Up));
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        let c = read("theme = \"pink\"\nasci = true\nmouse = 3\n\n[keys]\nprotct = \"o\"\ndrop-all = \"p\"\ntrace = \"hyper-x\"\nfind = 7\nguide = \"enter\"\n");
        let said: Vec<(usize, String)> = c.remarks.iter().map(|d| (d.line, d.message.clone())).collect();
        let has = |line: usize, part: &str| assert!(said.iter().any(|(l, m)| *l == line && m.contains(part)), "{line} {part}: {said:#?}");
        has(1, "theme = \"pink\"");
        has(2, "asci is not known");
        has(3, "true or false");
        has(6, "did you mean protect?");
        has(7, "p was the key of protect");
        has(8, "hyper-x is no key");
        has(9, "must be text");
        has(10, "enter stays");
        assert_eq!(does(&c, Place::Services, 'p'), Some(Action::DropAll));
        assert_eq!(read("x = [").remarks[0].line, 1);
        let twice = read("[keys]\nprotect = \"o\"\ntrace = \"o\"\n");
        assert!(twice.remarks[0].message.contains("line 3: o is the key of protect already"), "{:?}", twice.remarks);
    }
}
