//! What screens and popups wish for: one queue, and the cockpit does it in their order.

use std::collections::VecDeque;

use super::facts::RulePlace;
use super::keymap::Action;
use super::protocol::{Draft, Proposal, Request};
use super::screens::Tab;
use crate::analyse::Packet;
use crate::model::{Goal, Plan};

/// What a question leads to when the operator says yes.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Apply a plan.
    Apply(Proposal),
    /// Keep without proof of access.
    Keep,
    /// Take the draft up.
    Draft(Draft),
    /// Load a plan of the past.
    Plan(Plan),
    /// It was only said.
    Nothing,
}

/// A popup to open.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is one popup")]
pub enum Open {
    Nodes { goals: Vec<Goal>, what: String, drop_rest: bool, rule: Option<usize> },
    Trace { packet: Option<Packet> },
    Preview,
    Palette,
    Find,
    Ask { title: String, lines: Vec<String>, yes: String, then: Asked },
    Tell { title: String, lines: Vec<String> },
    Text { title: String, text: String, export: (String, String) },
    Trial,
    Save,
    Help,
    Guide,
    Flow { packet: Packet, label: String },
}

/// What a screen or a popup has the cockpit do.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Ask the worker.
    Ask(Request),
    /// Open a popup.
    Open(Open),
    /// Leave all popups for a screen.
    Go(Tab),
    /// Stand at a rule of the plan on the Plan screen.
    PlanRule(usize),
    /// Show a rule on the Chains screen.
    ShowRule(RulePlace),
    /// Put a text on the clipboard.
    Copy(String),
    /// Do an action where keys go then, if it is available there.
    Act(Action),
}

/// Wishes in the order in which they were made.
#[derive(Debug, Default)]
pub struct Wishes(VecDeque<Wish>);

impl Wishes {
    /// Adds one.
    pub fn push(&mut self, wish: Wish) {
        self.0.push_back(wish);
    }

    /// Takes the first one.
    pub fn take(&mut self) -> Option<Wish> {
        self.0.pop_front()
    }

    /// Takes the popups that are to be opened out of it.
    pub fn opens(&mut self) -> Vec<Open> {
        let (opens, rest) = std::mem::take(&mut self.0).into_iter().partition(|w| matches!(w, Wish::Open(_)));
        self.0 = rest;
        opens.into_iter().filter_map(|w: Wish| if let Wish::Open(open) = w { Some(open) } else { None }).collect()
    }
}
