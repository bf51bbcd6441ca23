//! One family of a view, ready for questions: its surroundings and its compiled chains, worked out once.

use crate::analyse::surroundings::Surroundings;
use crate::analyse::walk::chains::Compiled;
use crate::model::{Family, View};

/// What all questions about one family share.
pub struct Engine<'a> {
    /// What surrounds the rules.
    pub world: Surroundings<'a>,
    /// Chains as far as questions have reached them.
    pub compiled: Compiled,
}

impl<'a> Engine<'a> {
    /// `None` when the family's rules are not known. `named`: interfaces that questions name; `at`: the instant that
    /// dates are compared with, that of the view when not given.
    pub fn new(view: &'a View, family: Family, named: &[&str], at: Option<i64>) -> Option<Self> {
        let mut world = Surroundings::new(view, family, named)?;
        world.at = at.or(world.at);
        Some(Self { world, compiled: Compiled::default() })
    }

    /// Whether a question about an instant, perhaps naming an interface, has its answer here.
    pub fn fits(&self, interface: Option<&str>, at: Option<i64>) -> bool {
        (at.is_none() || self.world.at == at || !self.world.dated)
            && interface.is_none_or(|i| !self.world.ifaces.named(i).is_empty())
    }
}
