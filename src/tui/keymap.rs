//! The one table of keys: dispatch, footer, help, palette and man page all read it.

use std::borrow::Cow;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use Place::{
    Chains, Choice, Find, Flow, Guide, Help, History, Nodes, Palette, Plan, Preview, Save, Services, Text, Trace, Trial,
};

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
    Quit,
    Suspend,
}

/// One row: an action, its keys, where it is, the word in the footer (empty: not there), a sentence.
#[derive(Clone, Debug)]
pub struct Binding {
    /// What it does.
    pub action: Action,
    /// Keys, separated by blanks; empty when the operator gave them to another action.
    pub keys: Cow<'static, str>,
    /// Where.
    pub places: &'static [Place],
    /// Word in the footer; empty when it is only in the help.
    pub short: &'static str,
    /// One sentence for help, palette and man page.
    pub help: &'static str,
}

const SCREENS: &[Place] = &[Services, Chains, Plan, History];
const LISTS: &[Place] =
    &[Services, Chains, Plan, History, Help, Trace, Preview, Choice, Save, Flow, Guide, Trial, Text];
const ALL_LISTS: &[Place] =
    &[Services, Chains, Plan, History, Help, Trace, Preview, Choice, Save, Flow, Guide, Trial, Text, Nodes, Palette];
const EVERYWHERE: &[Place] = &[
    Services, Chains, Plan, History, Help, Nodes, Trace, Preview, Palette, Find, Choice, Trial, Save, Guide, Flow, Text,
];
const CLOSING: &[Place] = &[Help, Nodes, Trace, Preview, Palette, Find, Choice, Trial, Save, Guide, Flow, Text];

const fn row(
    action: Action,
    keys: &'static str,
    places: &'static [Place],
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding { action, keys: Cow::Borrowed(keys), places, short, help }
}

/// All keys. The order is that of footer and help.
pub const KEYMAP: &[Binding] = &[
    row(Action::Protect, "p", &[Services], "protect", "Stage: allow the nodes that you name, drop everybody else"),
    row(
        Action::Apply,
        "y",
        &[Plan, Preview],
        "apply on trial",
        "Apply the plan on trial: it reverts by itself unless you keep it",
    ),
    row(
        Action::Preview,
        "v",
        &[Plan],
        "preview",
        "Show what the plan changes: who gets in, the difference, commands and scripts",
    ),
    row(Action::Edit, "e enter", &[Plan], "edit", "Change the nodes of the rule at the cursor"),
    row(Action::Remove, "x delete", &[Plan], "remove", "Remove the rule at the cursor from the plan"),
    row(Action::Save, "s", &[Plan], "save", "Write what was kept to the rules that are loaded at boot"),
    row(
        Action::AllowNode,
        "a",
        &[Services, Plan],
        "allow node",
        "Stage: allow nodes to reach the service at the cursor",
    ),
    row(Action::DropAll, "d", &[Services, Plan], "drop", "Stage: drop everybody who is not allowed before"),
    row(Action::Trace, "t", &[Services, Chains], "trace", "Ask what becomes of one packet, rule by rule"),
    row(Action::Follow, "enter", &[Services], "deciding rule", "Go to the rule that decides, on the Chains screen"),
    row(Action::Follow, "enter l right", &[Chains], "follow jump", "Go into the chain, or follow the jump of the rule"),
    row(Action::Back, "backspace left h", &[Chains], "back", "Go back to where the jump came from"),
    row(
        Action::Find,
        "/",
        &[Services, Chains, Plan, History, Help, Preview, Save, Text],
        "find",
        "Find text, a port, an address (also inside networks), an owner or a verdict",
    ),
    row(Action::Family, "f", &[Chains], "IPv4/IPv6", "Show the rules of the other family"),
    row(Action::Rates, "r", &[Chains], "rates", "Read the counters every 2 s and show what each rule gains a second"),
    row(
        Action::Flow,
        "w",
        &[Services, Chains],
        "way",
        "Draw the way of a packet through hooks and chains to the service; on Chains, of one that meets the rule",
    ),
    row(
        Action::Preview,
        "v",
        &[Services],
        "preview",
        "Show what the plan changes: who gets in, the difference, commands and scripts",
    ),
    row(
        Action::MoveUp,
        "K shift-up alt-up",
        &[Plan],
        "move up",
        "Move the rule up: the first rule that matches decides",
    ),
    row(Action::MoveDown, "J shift-down alt-down", &[Plan], "move down", "Move the rule down"),
    row(Action::Cycle, "c", &[Plan], "", "Change the rule to allow, drop or reject"),
    row(Action::Undo, "u", &[Services, Plan], "undo", "Take back the last change of the plan"),
    row(Action::Again, "enter", &[History], "plan again", "Load the plan of this trial as the new plan"),
    row(Action::Save, "s", &[History], "save", "Write what was kept to the rules that are loaded at boot"),
    row(
        Action::NextView,
        "tab right l",
        &[Preview],
        "next view",
        "The next view: who gets in, difference, side by side, commands, scripts",
    ),
    row(
        Action::NextView,
        "tab",
        &[Save],
        "other choice",
        "Save in another way: our own chains alone, all but what managers rebuild, or everything",
    ),
    row(
        Action::NextView,
        "tab",
        &[Flow],
        "next sender",
        "Let somebody else send it: a stranger, this session, clients, peers",
    ),
    row(
        Action::Follow,
        "enter",
        &[Flow],
        "show the rule",
        "Go to the rule of this line on the Chains screen, with the way lit",
    ),
    row(Action::Export, "e", &[Preview], "export", "Write the change to a shell script"),
    row(
        Action::Compare,
        "v",
        &[History],
        "compare",
        "Show what differs between the rules before this trial and now; e there writes them to a file",
    ),
    row(Action::Export, "e", &[Text], "export", "Write the rules of then to a file, as iptables-save prints them"),
    row(Action::Copy, "c", &[Text], "copy", "Copy this text to the clipboard of your terminal (OSC 52)"),
    row(Action::Copy, "c", &[Preview], "copy", "Copy this view to the clipboard of your terminal (OSC 52)"),
    row(Action::Keep, "k", &[Trial], "keep", "Keep the plan: the clock stops and nothing reverts"),
    row(Action::Revert, "r", &[Trial], "revert", "Revert now: the old rules come back"),
    row(Action::Extend, "+ =", &[Trial], "a minute more", "Add a minute to the clock"),
    row(Action::Save, "s", &[Trial], "save", "Write what was kept to the rules that are loaded at boot"),
    row(Action::Accept, "enter", &[Trial], "", "Close this when the trial has ended"),
    row(Action::Pick, "space", &[Choice], "", "Choose this one"),
    row(Action::NextField, "tab", &[Nodes], "take suggestion", "Take the suggestion at the cursor"),
    row(Action::NextField, "tab", &[Trace], "next field", "Go to the next field"),
    row(Action::Accept, "enter", &[Save], "save", "Write the files"),
    row(Action::Accept, "enter", &[Trace], "ask", "Ask about this packet"),
    row(Action::Accept, "enter", &[Nodes, Palette, Find, Choice, Guide], "ok", "Take what is entered or chosen"),
    row(Action::Pick, "space", &[Guide], "tick", "Tick or untick the line at the cursor"),
    row(Action::AllowNode, "a", &[Guide], "add nodes", "Add nodes that may still use what is protected"),
    row(
        Action::Remove,
        "x delete",
        &[Guide],
        "take out",
        "Take the node at the cursor out: it may no longer use what is protected",
    ),
    row(
        Action::Preview,
        "v",
        &[Guide],
        "preview",
        "Show what the plan changes: who gets in, the difference, commands and scripts",
    ),
    row(Action::Back, "backspace left", &[Guide], "back", "Go back one step"),
    row(Action::Cancel, "esc", CLOSING, "close", "Close this and go back; nothing is lost"),
    row(Action::Cancel, "esc", SCREENS, "", "End the search: everything is shown again"),
    row(Action::Cancel, "q", &[Help, Preview, Flow, Choice, Save, Text], "", "Close this"),
    row(
        Action::NextMatch,
        "n",
        &[Services, Chains, Plan, History, Help, Preview, Save, Text],
        "",
        "Go to the next match",
    ),
    row(
        Action::PreviousMatch,
        "N",
        &[Services, Chains, Plan, History, Help, Preview, Save, Text],
        "",
        "Go to the match before",
    ),
    row(Action::Up, "up", ALL_LISTS, "", "One line up"),
    row(
        Action::Up,
        "k",
        &[Services, Chains, Plan, History, Help, Preview, Choice, Save, Flow, Guide, Text],
        "",
        "One line up",
    ),
    row(Action::Down, "down", ALL_LISTS, "", "One line down"),
    row(
        Action::Down,
        "j",
        &[Services, Chains, Plan, History, Help, Preview, Choice, Save, Flow, Guide, Text],
        "",
        "One line down",
    ),
    row(Action::PageUp, "pgup ctrl-b", ALL_LISTS, "", "One page up"),
    row(Action::PageDown, "pgdn ctrl-f", ALL_LISTS, "", "One page down"),
    row(Action::Top, "home", LISTS, "", "To the first line"),
    row(Action::Bottom, "end G", LISTS, "", "To the last line"),
    row(Action::Left, "left", &[Trace, Nodes, Find, Palette], "", "One character left"),
    row(Action::Right, "right", &[Trace, Nodes, Find, Palette], "", "One character right"),
    row(Action::ToServices, "1", SCREENS, "", "Services: who can reach what"),
    row(Action::ToChains, "2", SCREENS, "", "Chains: all rules, by table and owner"),
    row(Action::ToPlan, "3", SCREENS, "", "Plan: what you have staged"),
    row(Action::ToHistory, "4", SCREENS, "", "History: trials and what became of them"),
    row(Action::NextTab, "tab ]", SCREENS, "", "Next screen"),
    row(Action::PreviousTab, "shift-tab [", SCREENS, "", "Screen before"),
    row(Action::Trial, "T", SCREENS, "", "Show the trial that runs"),
    row(Action::Guide, "g", SCREENS, "", "Guided hardening, one question at a time"),
    row(
        Action::Notes,
        "i",
        SCREENS,
        "",
        "Show all that stands out on this host, and what could not be read or is not judged",
    ),
    row(Action::Refresh, "R ctrl-l f5", SCREENS, "", "Look at the host again"),
    row(
        Action::Help,
        "? f1",
        &[Services, Chains, Plan, History, Preview, Trial, Save, Guide, Flow, Choice, Text],
        "",
        "What the keys do here",
    ),
    row(Action::Palette, ": ctrl-p", &[Services, Chains, Plan, History], "", "Every action by name"),
    row(Action::Quit, "q", SCREENS, "quit", "Leave; a trial that runs still reverts by itself"),
    row(Action::Quit, "ctrl-c", EVERYWHERE, "", "Leave at once; the plan is kept as a draft"),
    row(Action::Suspend, "ctrl-z", EVERYWHERE, "", "Stop and go back to the shell; `fg` comes back"),
];

/// The word for a place in help.
pub fn place_name(place: Place) -> &'static str {
    match place {
        Services => "Services",
        Chains => "Chains",
        Plan => "Plan",
        History => "History",
        Help => "Help",
        Nodes => "Nodes",
        Trace => "Trace",
        Preview => "Preview",
        Palette => "All actions",
        Find => "Find",
        Choice => "Question",
        Trial => "Trial",
        Save => "Save",
        Guide => "Guided hardening",
        Flow => "The way of a packet",
        Text => "Text",
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

/// Keys that nobody can take away or give another meaning: with them every place can be left.
const FIXED: &[&str] = &["enter", "esc", "up", "down", "left", "right", "ctrl-c", "ctrl-z"];

impl Keymap {
    /// The row for a key at a place.
    pub fn lookup(&self, place: Place, key: KeyEvent) -> Option<&Binding> {
        self.0.iter().find(|b| b.places.contains(&place) && b.keys.split(' ').any(|k| matches(k, key)))
    }

    /// The places where a key does something, by their names.
    pub fn places_of(&self, key: KeyEvent) -> Vec<&'static str> {
        let does = |p: &Place| self.lookup(*p, key).is_some();
        EVERYWHERE.iter().filter(|p| does(p)).map(|p| place_name(*p)).collect()
    }

    /// The rows of a place, in order.
    pub fn rows(&self, place: Place) -> impl Iterator<Item = &Binding> {
        self.0.iter().filter(move |b| b.places.contains(&place))
    }

    /// Gives actions other keys: `(line of the file, action, keys)`. Says what could not be done, by line.
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
                        format!("{key} is no key; write a character, or e.g. ctrl-x, alt-x, f1, tab, space, pgdn"),
                    ));
                } else if FIXED.contains(&key) {
                    said.push((*line, format!("{key} stays what it is, so that every place can be left")));
                } else if let Some((_, other)) =
                    taken.iter().find(|(k, other)| *k == key && other != action && shares(*other))
                {
                    said.push((*line, format!("{key} is the key of {} already", other.name())));
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
        // A key that was given away is no longer that of another action at the same place.
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

/// The action of a name.
pub fn action_named(name: &str) -> Option<Action> {
    KEYMAP.iter().map(|b| b.action).find(|a| a.name() == name)
}

/// The action whose name is nearly this.
pub fn near(name: &str) -> Option<String> {
    let apart = |a: &str| -> usize {
        let same = |x: &str, y: &str| x.chars().filter(|c| y.contains(*c)).count();
        a.len().max(name.len()) - same(a, name).min(same(name, a))
    };
    KEYMAP.iter().map(|b| b.action.name()).min_by_key(|n| apart(n)).filter(|n| apart(n) <= 2)
}

/// The first key of a row as the screen shows it.
pub fn shown(binding: &Binding, unicode: bool) -> String {
    let first = binding.keys.split(' ').next().unwrap_or_default();
    match first {
        "enter" if unicode => "⏎".to_owned(),
        other => other.to_owned(),
    }
}

/// Code and modifiers of a key by its name.
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
    // Shift is part of a character already.
    let pressed =
        if matches!(key.code, KeyCode::Char(_)) { key.modifiers - KeyModifiers::SHIFT } else { key.modifiers };
    code(name) == Some((key.code, pressed))
}

#[cfg(test)]
mod tests {
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
}
