//! What screens and popups want done: one queue that the cockpit works through in order.

use std::collections::VecDeque;

use super::facts::RulePlace;
use super::keymap::Action;
use super::protocol::{Draft, Proposal, Request};
use super::screens::Tab;
use crate::analyse::Packet;
use crate::model::{Goal, Plan};

/// What happens when the operator confirms a question.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Apply a plan.
    Apply(Proposal),
    /// Keep without proof of access.
    Keep,
    /// Stage the draft.
    Draft(Draft),
    /// Stage the plan of a past trial.
    Plan(Plan),
    /// Nothing: it was only a message.
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

/// A request of a screen or popup to the cockpit.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Ask the worker.
    Ask(Request),
    /// Open a popup.
    Open(Open),
    /// Close all popups and go to a screen.
    Go(Tab),
    /// Select a rule on the Plan screen.
    PlanRule(usize),
    /// Show a rule on the Chains screen.
    ShowRule(RulePlace),
    /// Put a text on the clipboard.
    Copy(String),
    /// Perform an action in the place that receives keys then, if it is available there.
    Act(Action),
}

/// Wishes in the order they were made.
#[derive(Debug, Default)]
pub struct Wishes(VecDeque<Wish>);

impl Wishes {
    /// Adds a wish.
    pub fn push(&mut self, wish: Wish) {
        self.0.push_back(wish);
    }

    /// Removes the first wish.
    pub fn take(&mut self) -> Option<Wish> {
        self.0.pop_front()
    }

    /// Removes the wishes that open a popup.
    pub fn opens(&mut self) -> Vec<Open> {
        let (opens, rest) = std::mem::take(&mut self.0).into_iter().partition(|w| matches!(w, Wish::Open(_)));
        self.0 = rest;
        opens.into_iter().filter_map(|w: Wish| if let Wish::Open(open) = w { Some(open) } else { None }).collect()
    }
}
