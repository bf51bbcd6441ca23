//! Pure answers about rules: no I/O, no clock. The one door is [`Analysis`]: made once for a view, asked as often as
//! one likes.
//!
//! The rooms, each using only those before it:
//!
//! - `surroundings`: the host's addresses, routes, interfaces and bridges, known or assumed
//! - `packets`: sets of packets, and the matches of rules as tests that split them
//! - `walk`: hooks in order, chains, what targets rewrite; what becomes of packets on the way
//! - `inventory`: endpoints (RPC services, sockets, published ports); who owns a chain
//! - `answers`: one packet traced, who reaches an endpoint and why, whether a change cuts the operator off
//! - `review`: the report, findings, rules that can never match, gaps in what was given

mod answers;
mod inventory;
mod packets;
#[cfg(test)]
mod pasted_tests;
mod review;
mod surroundings;
#[cfg(test)]
mod tests;
mod walk;

use std::cell::{OnceCell, RefCell};

use crate::model::{AddrSet, Family, Proto, Ruleset, View};
use answers::engine::Engine;
use answers::gets_in;

pub use answers::gets_in::GetsIn;
pub use answers::lockout::{Access, Entrant, WayIn, alone, ways_in};
pub use answers::packet::Packet;
pub use answers::reach::{Because, Exposure, Reach};
pub use answers::trace::Trace;
pub use inventory::endpoint::{Endpoint, EndpointKind};
pub use inventory::known::{Known, ServiceClass, known};
pub use inventory::ownership::{Manager, owner, rule_owner};
pub use review::finding::{Finding, FindingCode, Judged};
pub use review::report::{NOT_JUDGED, Report};
pub use review::shadowed::Shadow;
pub use walk::verdict::{RuleRef, Step, StepResult, Verdict};

/// Questions about one view. What surrounds the rules, and what rules mean, is worked out when the first question needs
/// it, and shared by all.
pub struct Analysis<'a> {
    view: &'a View,
    engines: [OnceCell<Option<Engine<'a>>>; 2],
    /// For packets of another instant, or that name an interface which neither host nor rules do.
    special: RefCell<[Option<Engine<'a>>; 2]>,
    /// The interfaces that packets have named so far.
    named: RefCell<Vec<String>>,
}

impl<'a> Analysis<'a> {
    /// Nothing is worked out yet.
    pub fn new(view: &'a View) -> Self {
        Self { view, engines: Default::default(), special: RefCell::default(), named: RefCell::default() }
    }

    /// What the questions are about.
    pub fn view(&self) -> &'a View {
        self.view
    }

    /// One family, ready for questions; `None` when its rules are not known.
    fn engine(&self, family: Family) -> Option<&Engine<'a>> {
        self.engines[family.index()].get_or_init(|| Engine::new(self.view, family, &[], None)).as_ref()
    }

    /// What becomes of one packet, and every rule on its way.
    pub fn trace(&self, packet: &Packet) -> Trace {
        let family = packet.family();
        let at = packet.at.or((self.view.at != 0).then_some(self.view.at));
        let interface = packet.interface.as_deref();
        let Some(engine) = self.engine(family) else {
            return Trace::unknown(&format!("the {} rules are not known", family.label()));
        };
        if engine.fits(interface, at) {
            return answers::trace::trace(engine, packet);
        }
        let mut named = self.named.borrow_mut();
        if let Some(i) = packet.interface.as_ref().filter(|i| !named.contains(i)) {
            named.push(i.clone());
        }
        let special = &mut self.special.borrow_mut()[family.index()];
        if !special.as_ref().is_some_and(|e| e.fits(interface, at)) {
            *special = Engine::new(self.view, family, &named.iter().map(String::as_str).collect::<Vec<_>>(), at);
        }
        special.as_ref().map_or_else(|| Trace::unknown("the rules are not known"), |e| answers::trace::trace(e, packet))
    }

    /// Everything that can be reached: RPC services first, then published ports, then the rest; each group by port.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        inventory::endpoints(self.view)
    }

    /// Who reaches an endpoint; `None` when the family is not known or not there.
    pub fn exposure(&self, endpoint: &Endpoint, family: Family) -> Option<Exposure> {
        self.engine(family)?.exposure(endpoint)
    }

    /// Judges everything that can be reached.
    pub fn report(&self) -> Report {
        review::report::report(self)
    }

    /// What can be reached, not judged yet: for a screen that shows a large host before the answers are there.
    pub fn outline(&self) -> Report {
        review::report::outline(self.view)
    }

    /// Who of these senders certainly gets in to a port, by whatever interface, address and source port; one answer for
    /// each question. What else filters on the host is left out: this is about these rules.
    pub fn gets_in(&self, family: Family, asked: &[(Proto, u16, AddrSet)]) -> Vec<Option<GetsIn>> {
        self.engine(family).map_or_else(|| vec![None; asked.len()], |e| gets_in::gets_in(e, asked))
    }

    /// Those of the ports for which NAT sends packets to an address of the host itself, or may: they pass INPUT then,
    /// with the port that NAT gave them.
    pub fn nat_leads_here(&self, family: Family, asked: Vec<(Proto, u16)>) -> Vec<(Proto, u16)> {
        if asked.is_empty() {
            return asked;
        }
        self.engine(family).map_or_else(Vec::new, |e| gets_in::nat_leads_here(e, asked))
    }
}

/// Rules that can never match, chain by chain.
pub fn shadowed(set: &Ruleset) -> Vec<Shadow> {
    review::shadowed::shadowed(set)
}
