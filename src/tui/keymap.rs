//! The one table of keys, read by dispatch, footer, help, palette and the man page.

mod table;

use std::borrow::Cow;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use table::EVERYWHERE;
pub use table::KEYMAP;

/// Where a key is pressed: a screen or a popup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of the screens")]
pub enum Place {
    Services,
    Chains,
    Plan,
    History,
    Help,
    Nodes,
    Trace,
    Preview,
    Palette,
    Find,
    Choice,
    Trial,
    Save,
    Guide,
    Flow,
    Text,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table says each in a sentence")]
pub enum Action {
    Protect,
    AllowNode,
    DropAll,
    Trace,
    Follow,
    Back,
    Flow,
    Family,
    Edit,
    Remove,
    MoveUp,
    MoveDown,
    Cycle,
    Undo,
    Rates,
    Compare,
    Preview,
    Apply,
    Keep,
    Revert,
    Extend,
    Save,
    Export,
    Copy,
    Again,
    Pick,
    Accept,
    Cancel,
    NextView,
    NextField,
    Find,
    NextMatch,
    PreviousMatch,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Top,
    Bottom,
    ToServices,
    ToChains,
    ToPlan,
    ToHistory,
    NextTab,
    PreviousTab,
    Trial,
    Guide,
    Notes,
    Refresh,
    Help,
    Palette,
    Redraw,
    Quit,
    Suspend,
}

/// One row: an action, its keys, its places, its word in the footer and a sentence for the help.
#[derive(Clone, Debug)]
pub struct Binding {
    /// What it does.
    pub action: Action,
    /// Keys, separated by spaces; empty when the operator gave them to another action.
    pub keys: Cow<'static, str>,
    /// The places where it works.
    pub places: &'static [Place],
    /// Word in the footer; empty when it is only in the help.
    pub short: &'static str,
    /// One sentence for help, palette and man page.
    pub help: &'static str,
}

/// The name of a place in the help.
pub fn place_name(place: Place) -> &'static str {
    match place {
        Place::Services => "Services",
        Place::Chains => "Chains",
        Place::Plan => "Plan",
        Place::History => "History",
        Place::Help => "Help",
        Place::Nodes => "Nodes",
        Place::Trace => "Trace",
        Place::Preview => "Preview",
        Place::Palette => "All actions",
        Place::Find => "Find",
        Place::Choice => "Question",
        Place::Trial => "Trial",
        Place::Save => "Save",
        Place::Guide => "Guided hardening",
        Place::Flow => "The path of a packet",
        Place::Text => "Text",
    }
}

/// The keys in force: the table, and what the operator changed of it.
#[derive(Clone, Debug)]
pub struct Keymap(Vec<Binding>);

impl Default for Keymap {
    fn default() -> Self {
        Self(KEYMAP.to_vec())
    }
}

/// Keys that cannot be rebound, so that every place can be left.
const FIXED: &[&str] = &["enter", "esc", "up", "down", "left", "right", "ctrl-c", "ctrl-z"];

impl Keymap {
    /// The row for a key in a place.
    pub fn lookup(&self, place: Place, key: KeyEvent) -> Option<&Binding> {
        self.0.iter().find(|b| b.places.contains(&place) && b.keys.split(' ').any(|k| matches(k, key)))
    }

    /// The names of the places where a key does something.
    pub fn places_of(&self, key: KeyEvent) -> Vec<&'static str> {
        let does = |p: &Place| self.lookup(*p, key).is_some();
        EVERYWHERE.iter().filter(|p| does(p)).map(|p| place_name(*p)).collect()
    }

    /// The rows of a place, in order.
    pub fn rows(&self, place: Place) -> impl Iterator<Item = &Binding> {
        self.0.iter().filter(move |b| b.places.contains(&place))
    }

    /// Gives actions other keys: `(line of the file, action, keys)`. Returns what could not be done, by line.
    pub fn rebind(&mut self, given: &[(usize, Action, String)]) -> Vec<(usize, String)> {
        let mut said = Vec::new();
        let mut taken: Vec<(&str, Action)> = Vec::new();
        for (line, action, keys) in given {
            let places: Vec<Place> =
                self.0.iter().filter(|b| b.action == *action).flat_map(|b| b.places).copied().collect();
            let mut good: Vec<&str> = Vec::new();
            for key in keys.split_whitespace() {
                let shares = |other: Action| {
                    KEYMAP.iter().any(|b| b.action == other && b.places.iter().any(|p| places.contains(p)))
                };
                if code(key).is_none() {
                    said.push((
                        *line,
                        format!("{key} is not a key; write a character, or e.g. ctrl-x, alt-x, f1, tab, space, pgdn"),
                    ));
                } else if FIXED.contains(&key) {
                    said.push((*line, format!("{key} cannot be changed, so that every place can be left")));
                } else if let Some((_, other)) =
                    taken.iter().find(|(k, other)| *k == key && other != action && shares(*other))
                {
                    said.push((*line, format!("{key} is already the key of {}", other.name())));
                } else {
                    taken.push((key, *action));
                    good.push(key);
                }
            }
            if good.is_empty() {
                continue;
            }
            for b in self.0.iter_mut().filter(|b| b.action == *action) {
                let stay: Vec<String> = b.keys.split(' ').filter(|k| FIXED.contains(k)).map(str::to_owned).collect();
                let all: Vec<&str> = good.iter().copied().chain(stay.iter().map(String::as_str)).collect();
                b.keys = Cow::Owned(all.join(" "));
            }
        }
        // A key given to one action is removed from the others in the same place.
        for (line, action, _) in given {
            let mine: Vec<&str> = taken.iter().filter(|(_, a)| a == action).map(|(k, _)| *k).collect();
            let places: Vec<Place> =
                KEYMAP.iter().filter(|b| b.action == *action).flat_map(|b| b.places).copied().collect();
            for b in self.0.iter_mut().filter(|b| b.action != *action && b.places.iter().any(|p| places.contains(p))) {
                let (gone, left): (Vec<String>, Vec<String>) = b
                    .keys
                    .split(' ')
                    .filter(|k| !k.is_empty())
                    .map(str::to_owned)
                    .partition(|k| mine.contains(&k.as_str()));
                if gone.is_empty() {
                    continue;
                }
                if left.is_empty() {
                    said.push((
                        *line,
                        format!(
                            "{} was the key of {}, which has none now: give it one, or find it with : (all actions)",
                            gone.join(" "),
                            b.action.name()
                        ),
                    ));
                }
                b.keys = Cow::Owned(left.join(" "));
            }
        }
        said
    }
}

impl Action {
    /// Its name in `config.toml` and the manual page, e.g. `next-tab`.
    pub fn name(self) -> String {
        let mut out = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_uppercase() && !out.is_empty() {
                out.push('-');
            }
            out.push(c.to_ascii_lowercase());
        }
        out
    }
}

/// The action with this name.
pub fn action_named(name: &str) -> Option<Action> {
    KEYMAP.iter().map(|b| b.action).find(|a| a.name() == name)
}

/// The action with the most similar name.
pub fn near(name: &str) -> Option<String> {
    let apart = |a: &str| -> usize {
        let same = |x: &str, y: &str| x.chars().filter(|c| y.contains(*c)).count();
        a.len().max(name.len()) - same(a, name).min(same(name, a))
    };
    KEYMAP.iter().map(|b| b.action.name()).min_by_key(|n| apart(n)).filter(|n| apart(n) <= 2)
}

/// The first key of a row, as shown on the screen.
pub fn shown(binding: &Binding, unicode: bool) -> String {
    let first = binding.keys.split(' ').next().unwrap_or_default();
    match first {
        "enter" if unicode => "⏎".to_owned(),
        other => other.to_owned(),
    }
}

/// Code and modifiers of a key, by its name.
fn code(name: &str) -> Option<(KeyCode, KeyModifiers)> {
    let (mut mods, mut rest) = (KeyModifiers::NONE, name);
    for (prefix, m) in [("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)]
    {
        if let Some(r) = rest.strip_prefix(prefix) {
            (mods, rest) = (mods | m, r);
        }
    }
    let code = match rest {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" if mods.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
        "tab" => KeyCode::Tab,
        "space" => KeyCode::Char(' '),
        "backspace" => KeyCode::Backspace,
        "delete" => KeyCode::Delete,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        one if one.len() > 1
            && one.strip_prefix(['f', 'F']).is_some_and(|n| n.parse::<u8>().is_ok_and(|n| (1..=12).contains(&n))) =>
        {
            KeyCode::F(one[1..].parse().ok()?)
        }
        one => {
            let mut signs = one.chars();
            let c = signs.next().filter(|c| !c.is_control())?;
            if signs.next().is_some() {
                return None;
            }
            KeyCode::Char(c)
        }
    };
    Some((code, mods))
}

fn matches(name: &str, key: KeyEvent) -> bool {
    // Shift is already part of a character.
    let pressed =
        if matches!(key.code, KeyCode::Char(_)) { key.modifiers - KeyModifiers::SHIFT } else { key.modifiers };
    code(name) == Some((key.code, pressed))
}

#[cfg(test)]
mod tests {
    use super::Place::*;
    use super::*;

    #[test]
    fn no_key_means_two_things_at_a_place() {
        for place in EVERYWHERE {
            let mut seen: Vec<(&str, Action)> = Vec::new();
            for b in KEYMAP.iter().filter(|b| b.places.contains(place)) {
                for k in b.keys.split(' ') {
                    assert!(code(k).is_some(), "{k}");
                    assert!(seen.iter().all(|(s, _)| *s != k), "{k} at {place:?}: {:?}", b.action);
                    seen.push((k, b.action));
                }
            }
        }
    }

    #[test]
    fn every_row_is_complete() {
        for b in KEYMAP {
            assert!(!b.keys.is_empty() && !b.places.is_empty() && b.help.len() > 5, "{:?}", b.action);
            assert!(b.short.chars().count() < 20);
        }
    }

    #[test]
    fn keys_are_found() {
        let key = |c, m| KeyEvent::new(c, m);
        let keys = Keymap::default();
        let lookup = |place, key| keys.lookup(place, key);
        assert_eq!(
            lookup(Services, key(KeyCode::Char('p'), KeyModifiers::NONE)).map(|b| b.action),
            Some(Action::Protect)
        );
        assert_eq!(
            lookup(Services, key(KeyCode::Char('p'), KeyModifiers::CONTROL)).map(|b| b.action),
            Some(Action::Palette)
        );
        assert_eq!(lookup(Plan, key(KeyCode::Char('K'), KeyModifiers::SHIFT)).map(|b| b.action), Some(Action::MoveUp));
        assert_eq!(
            lookup(Plan, key(KeyCode::BackTab, KeyModifiers::SHIFT)).map(|b| b.action),
            Some(Action::PreviousTab)
        );
        assert_eq!(lookup(Nodes, key(KeyCode::Char('q'), KeyModifiers::NONE)).map(|b| b.action), None);
    }

    #[test]
    fn a_key_that_clears_a_field_has_no_other_meaning_where_there_is_one() {
        for row in KEYMAP.iter().filter(|r| r.keys.split(' ').any(|k| k == "ctrl-u")) {
            assert!(
                !row.places.iter().any(|p| [Nodes, Trace, Find, Palette, Choice, Save, Trial].contains(p)),
                "{row:?}"
            );
        }
    }
}
