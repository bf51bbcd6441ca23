//! One file per screen: its own state, update and drawing.

pub mod chains;
pub mod history;
pub mod plan;
pub mod services;

use super::keymap::Place;

/// The screens, one per tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the tabs")]
pub enum Tab {
    Services,
    Chains,
    Plan,
    History,
}

impl Tab {
    /// In the order of the tabs.
    pub const ALL: [Self; 4] = [Self::Services, Self::Chains, Self::Plan, Self::History];

    /// Name on the tab.
    pub fn name(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Chains => "Chains",
            Self::Plan => "Plan",
            Self::History => "History",
        }
    }

    /// Its place in the keymap.
    pub fn place(self) -> Place {
        match self {
            Self::Services => Place::Services,
            Self::Chains => Place::Chains,
            Self::Plan => Place::Plan,
            Self::History => Place::History,
        }
    }
}
