//! The key bindings, one row per action and its places, in the order of footer and help.

use std::borrow::Cow;

use super::Place::{
    self, Chains, Choice, Find, Flow, Guide, Help, History, Nodes, Palette, Plan, Preview, Save, Services, Text, Trace,
    Trial,
};
use super::{Action, Binding};

const SCREENS: &[Place] = &[Services, Chains, Plan, History];
const LISTS: &[Place] =
    &[Services, Chains, Plan, History, Help, Trace, Preview, Choice, Save, Flow, Guide, Trial, Text];
/// Lists in which nothing is typed.
const READING: &[Place] = &[Services, Chains, Plan, History, Help, Preview, Flow, Guide];
const ALL_LISTS: &[Place] =
    &[Services, Chains, Plan, History, Help, Trace, Preview, Choice, Save, Flow, Guide, Trial, Text, Nodes, Palette];
/// All places.
pub(super) const EVERYWHERE: &[Place] = &[
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

/// All bindings, in the order of footer and help.
pub const KEYMAP: &[Binding] = &[
    row(Action::Protect, "p", &[Services], "protect", "Stage: allow the nodes you name, drop everybody else"),
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
    row(Action::DropAll, "d", &[Services, Plan], "drop", "Stage: drop everybody not allowed earlier in the plan"),
    row(Action::Trace, "t", &[Services, Chains], "trace", "Ask what happens to a packet, rule by rule"),
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
        "Draw the path of a packet through hooks and chains to the service; on Chains, of one that matches the rule",
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
    row(Action::Undo, "u", &[Services, Plan], "undo", "Undo the last change to the plan"),
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
        "Choose what to save: only our own chains, all but what managers rebuild, or everything",
    ),
    row(
        Action::NextView,
        "tab",
        &[Flow],
        "next sender",
        "Choose another sender: a stranger, this session, clients, peers",
    ),
    row(
        Action::Follow,
        "enter",
        &[Flow],
        "show the rule",
        "Go to the rule of this line on the Chains screen, with the path highlighted",
    ),
    row(Action::Export, "e", &[Preview], "export", "Write the change to a shell script"),
    row(
        Action::Compare,
        "v",
        &[History],
        "compare",
        "Show what differs between the rules before this trial and now; e there writes them to a file",
    ),
    row(
        Action::Export,
        "e",
        &[Text],
        "export",
        "Write the rules from before the trial to a file, as iptables-save prints them",
    ),
    row(
        Action::Copy,
        "c",
        &[Services, Chains, History],
        "",
        "Copy the line at the cursor to the clipboard of your terminal (OSC 52)",
    ),
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
        "Remove the node at the cursor: it may no longer use what is protected",
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
    row(Action::Cancel, "esc", SCREENS, "", "Clear the search: everything is shown again"),
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
        "Go to the previous match",
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
    row(Action::PageUp, "ctrl-u", READING, "", "One page up"),
    row(Action::PageDown, "ctrl-d", READING, "", "One page down"),
    row(Action::Top, "home", LISTS, "", "To the first line"),
    row(Action::Bottom, "end G", LISTS, "", "To the last line"),
    row(Action::Left, "left", &[Trace, Nodes, Find, Palette], "", "One character left"),
    row(Action::Right, "right", &[Trace, Nodes, Find, Palette], "", "One character right"),
    row(Action::ToServices, "1", SCREENS, "", "Services: who can reach what"),
    row(Action::ToChains, "2", SCREENS, "", "Chains: all rules, by table and owner"),
    row(Action::ToPlan, "3", SCREENS, "", "Plan: what you have staged"),
    row(Action::ToHistory, "4", SCREENS, "", "History: trials and how they ended"),
    row(Action::NextTab, "tab ]", SCREENS, "", "Next screen"),
    row(Action::PreviousTab, "shift-tab [", SCREENS, "", "Previous screen"),
    row(Action::Trial, "T", SCREENS, "", "Show the trial that is running"),
    row(Action::Guide, "g", SCREENS, "", "Guided hardening, one question at a time"),
    row(
        Action::Notes,
        "i",
        SCREENS,
        "",
        "Show all that stands out on this host, and what could not be read or is not judged",
    ),
    row(Action::Refresh, "R f5", SCREENS, "", "Look at the host again"),
    row(
        Action::Help,
        "? f1",
        &[Services, Chains, Plan, History, Preview, Trial, Save, Guide, Flow, Choice, Text],
        "",
        "What the keys do here",
    ),
    row(Action::Palette, ": ctrl-p", &[Services, Chains, Plan, History], "", "Every action by name"),
    row(Action::Quit, "q", SCREENS, "quit", "Leave; a running trial still reverts by itself"),
    row(
        Action::Redraw,
        "ctrl-l",
        EVERYWHERE,
        "",
        "Clear the screen and draw it again, e.g. after somebody wrote a message on it",
    ),
    row(Action::Quit, "ctrl-c", EVERYWHERE, "", "Leave at once; the plan is kept as a draft"),
    row(Action::Suspend, "ctrl-z", EVERYWHERE, "", "Suspend and go back to the shell; `fg` comes back"),
];
