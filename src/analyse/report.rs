//! Everything that can be reached, who reaches it, and what stands out.

use super::endpoint::{Endpoint, endpoints};
use super::exposure::{Engine, Exposure};
use super::findings::{Finding, findings};
use super::shadow::{Shadow, shadowed};
use crate::model::{Diagnostic, Family, View};

/// An endpoint with its exposure in IPv4 and IPv6.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// By [`Family::index`]; `None` when the family is not known or not there.
    pub exposure: [Option<Exposure>; 2],
}

/// The answer to "who can get in".
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Endpoints.
    pub endpoints: Vec<Judged>,
    /// What stands out, each with what to do.
    pub warnings: Vec<Finding>,
    /// Rules that can never match, of both families.
    pub shadowed: Vec<Shadow>,
    /// What was assumed because it was not known.
    pub assumptions: Vec<Diagnostic>,
    /// What is not judged at all.
    pub not_judged: &'static [&'static str],
}

/// What no verdict takes into account.
pub const NOT_JUDGED: &[&str] = &[
    "martian sources and rp_filter", "policy routing and VRF", "XDP, tc and netdev ingress", "flowtables",
    "bridge and br_netfilter paths", "macvlan and ipvlan", "other network namespaces", "IPVS", "TPROXY",
    "conntrack helpers", "flows already established", "broadcast and multicast", "tcp_wrappers and exports",
    "AF_PACKET readers",
];

/// What can be reached, not judged yet: for a screen that shows a large host before the answers are there.
pub fn outline(view: &View) -> Report {
    let endpoints = endpoints(view).into_iter().map(|endpoint| Judged { endpoint, exposure: [None, None] }).collect();
    Report { endpoints, warnings: Vec::new(), shadowed: Vec::new(), assumptions: Vec::new(), not_judged: NOT_JUDGED }
}

/// Judges everything that can be reached.
pub fn report(view: &View) -> Report {
    let engines = Family::BOTH.map(|f| Engine::new(view, f));
    let judged: Vec<Judged> = endpoints(view).into_iter().map(|endpoint| {
        let exposure = Family::BOTH.map(|f| engines[f.index()].as_ref().and_then(|e| e.exposure(&endpoint)));
        Judged { endpoint, exposure }
    }).collect();
    let assumptions = engines.iter().flatten().flat_map(|e| e.world.assumptions()).map(Diagnostic::whole).collect();
    let shadowed: Vec<Shadow> = Family::BOTH.iter().filter_map(|f| view.rules(*f)).flat_map(shadowed).collect();
    let warnings = findings(view, &judged, &shadowed);
    Report { endpoints: judged, warnings, shadowed, assumptions, not_judged: NOT_JUDGED }
}
