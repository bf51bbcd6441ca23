//! Pure answers about rules: no I/O, no clock.
//!
//! Reading order: [`cell`] (sets of packets and how tests split them), [`compile`] (rules to tests), [`world`]
//! (addresses, routes, interfaces), [`walk`] (chains), [`hooks`] (tables in order), then the questions:
//! [`trace()`] (one packet), [`exposure()`] (all senders), [`report()`] (everything that can be reached).

#[cfg(test)]
mod findings_tests;
#[cfg(test)]
mod tests;
mod addrtype;
mod cell;
mod compile;
mod direct;
mod doubt;
mod doors;
mod endpoint;
mod exposure;
mod findings;
mod gaps;
mod hooks;
mod ifaces;
mod ipset;
mod lazy;
mod lockout;
mod ownership;
mod published;
mod reasons;
mod report;
mod rewrite;
mod shadow;
mod takers;
mod trace;
mod walk;
mod world;

pub use doors::{GetsIn, gets_in, nat_leads_here};
pub use endpoint::{Endpoint, EndpointKind, endpoints};
pub use exposure::{Because, Exposure, Reach, exposure, exposures};
pub use findings::{Finding, findings};
pub use lockout::{Access, Entrant, WayIn, alone, lockout, ways_in};
pub use ownership::{Manager, owner, rule_owner};
pub use report::{Judged, NOT_JUDGED, Report, outline, report};
pub use shadow::{Shadow, shadowed};
pub use trace::{Packet, Step, StepResult, Trace, Tracer, Verdict, trace};
pub use walk::RuleRef;
