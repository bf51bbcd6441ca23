//! Everything that can be reached, who reaches it, and the findings.

use super::shadowed;
use crate::analyse::Analysis;
use crate::analyse::inventory::endpoint::{Endpoint, EndpointKind};
use crate::analyse::inventory::endpoints;
use crate::analyse::review::finding::{Finding, Judged};
use crate::analyse::review::findings::findings;
use crate::analyse::review::shadowed::Shadow;
use crate::model::{Diagnostic, Family, Ruleset, View};

/// The answer to "who can get in".
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Endpoints.
    pub endpoints: Vec<Judged>,
    /// Findings, each with what to do.
    pub warnings: Vec<Finding>,
    /// Rules that can never match, of both families.
    pub shadowed: Vec<Shadow>,
    /// What was assumed because it was not known.
    pub assumptions: Vec<Diagnostic>,
    /// How many ports that rules name were too many to be judged.
    pub left_out: usize,
    /// What is not taken into account at all.
    pub not_judged: &'static [&'static str],
}

/// What no verdict takes into account.
pub const NOT_JUDGED: &[&str] = &[
    "martian sources and rp_filter",
    "policy routing and VRF",
    "XDP, tc and netdev ingress",
    "flowtables",
    "bridge and br_netfilter paths",
    "macvlan and ipvlan",
    "other network namespaces",
    "IPVS",
    "TPROXY",
    "conntrack helpers",
    "flows already established",
    "who has joined a multicast group",
    "tcp_wrappers and exports",
    "AF_PACKET readers",
];

/// How many ports that only rules name are judged: the larger of the first number and the second divided by the number
/// of rules. A text of ten thousand rules may name thousands of ports, none of which need be open.
const MAX_NAMED: (usize, usize) = (256, 2_000_000);

/// What is judged, how many ports are left out, and a note about them.
fn asked(view: &View) -> (Vec<Endpoint>, usize, Option<Diagnostic>) {
    let mut list = endpoints(view);
    let rules: usize = Family::BOTH.iter().filter_map(|f| view.rules(*f)).map(Ruleset::rule_count).sum();
    let most = MAX_NAMED.0.max(MAX_NAMED.1 / rules.max(1));
    // These endpoints are last in the list.
    let first = list.partition_point(|e| e.kind != EndpointKind::Rule);
    let named = list.len() - first;
    list.truncate(first + most);
    let left_out = (named > most).then(|| Diagnostic::whole(format!(
        "the rules name {named} ports; only the first {most} are judged, up to {}. Give `ss -lntup` or `rpcinfo -p` \
        of the host too: then what listens is judged",
        list.last().map(Endpoint::label).unwrap_or_default(),
    )));
    (list, named.saturating_sub(most), left_out)
}

/// What can be reached, not yet judged: a screen shows it for a large host until the verdicts are ready.
pub fn outline(view: &View) -> Report {
    let (endpoints, left_out, said) = asked(view);
    let endpoints = endpoints.into_iter().map(|endpoint| Judged { endpoint, exposure: [None, None] }).collect();
    Report {
        endpoints,
        warnings: Vec::new(),
        shadowed: Vec::new(),
        assumptions: said.into_iter().collect(),
        left_out,
        not_judged: NOT_JUDGED,
    }
}

/// Judges everything that can be reached.
pub fn report(analysis: &Analysis) -> Report {
    let view = analysis.view();
    let engines = Family::BOTH.map(|f| analysis.engine(f));
    let (asked, left_out, said) = asked(view);
    let judged: Vec<Judged> = asked
        .into_iter()
        .map(|endpoint| {
            let exposure = Family::BOTH.map(|f| engines[f.index()].and_then(|e| e.exposure(&endpoint)));
            Judged { endpoint, exposure }
        })
        .collect();
    let assumptions =
        engines.iter().flatten().flat_map(|e| e.world.assumptions()).map(Diagnostic::whole).chain(said).collect();
    let shadowed: Vec<Shadow> =
        Family::BOTH.iter().filter_map(|f| view.rules(*f)).flat_map(shadowed::shadowed).collect();
    let warnings = findings(analysis, &judged, &shadowed);
    Report { endpoints: judged, warnings, shadowed, assumptions, left_out, not_judged: NOT_JUDGED }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Rule, Source};

    #[test]
    fn ports_that_are_too_many_to_judge_are_said() {
        let mut set = Ruleset::new(Family::V4);
        let chain = set.table_or_new("filter").chain_or_new("INPUT");
        chain.rules.extend((1..=9_000).map(|p| Rule::new(&format!("-p tcp -m tcp --dport {p} -j ACCEPT"))));
        let mut view = View::empty(Source::Capture, "text");
        view.v4 = Some(set);
        let shown = outline(&view);
        assert_eq!((shown.endpoints.len(), shown.left_out), (256, 9_000 - 256));
        assert!(
            shown.assumptions.iter().any(|d| d.message.contains("name 9000 ports") && d.message.contains("256/tcp")),
            "{:?}",
            shown.assumptions
        );
    }
}
