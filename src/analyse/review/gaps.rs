//! What is decided outside these rules, and what the text lacks: sets, tables, services decided elsewhere.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::analyse::review::finding::{Finding, FindingCode};
use crate::model::{Family, Ruleset, Source, View};

/// Number of names in one line; the others are only counted.
const MAX_NAMED: usize = 4;

/// Reports what decides elsewhere, and what would complete the text.
pub fn gaps(view: &View, out: &mut Vec<Finding>) {
    let mut say = |code, message| out.push(Finding { code, endpoint: None, message });
    let has = |of: &dyn Fn(&str) -> bool| {
        Family::BOTH
            .iter()
            .filter_map(|f| view.rules(*f))
            .flat_map(|r| &r.tables)
            .flat_map(|t| &t.chains)
            .any(|c| of(&c.name))
    };
    let set = |of: &[&str]| view.ipsets.iter().flatten().any(|s| of.contains(&s.name.as_str()));
    // In its iptables mode kube-proxy calls its chain KUBE-NODEPORTS, and creates no sets.
    if has(&|c| matches!(c, "KUBE-NODE-PORT" | "KUBE-IPVS-FILTER"))
        || set(&["KUBE-CLUSTER-IP", "KUBE-NODE-PORT-TCP", "KUBE-NODE-PORT-UDP"])
    {
        say(
            FindingCode::Ipvs,
            "kube-proxy runs in IPVS mode: its services and NodePorts are decided by IPVS, not by these rules, and \
            are not listed here. Look at them with `ipvsadm -Ln`."
                .to_owned(),
        );
    }
    if has(&|c| c.starts_with("CILIUM_")) {
        say(
            FindingCode::Ebpf,
            "Cilium decides in eBPF: its policies, services and NodePorts are not in these rules, and are not \
            listed here. Look at them with `cilium service list`."
                .to_owned(),
        );
    }
    if view.source != Source::Capture {
        return;
    }
    let shown: Vec<&Ruleset> = Family::BOTH.iter().filter_map(|f| view.rules(*f)).collect();
    let only = |r: &Ruleset| if let [table] = r.tables.as_slice() { Some(table.name.clone()) } else { None };
    for rules in &shown {
        if let Some(name) = only(rules).filter(|n| n != "filter") {
            let (label, tool) = (rules.family.label(), rules.family.tool("-save"));
            say(
                FindingCode::MissingTable,
                format!(
                    "The {label} table filter is not in the text, only {name}: who is kept out is not known. Capture \
                    it with `{tool} -t filter`, or all with `{tool}`."
                ),
            );
        }
    }
    // Another finding already says that Docker needs the nat table.
    let docker = |r: &Ruleset| r.chain("filter", "DOCKER").is_some_and(|c| !c.rules.is_empty());
    if !shown.is_empty() && shown.iter().all(|r| only(r).is_some_and(|n| n == "filter") && !docker(r)) {
        say(
            FindingCode::MissingTable,
            format!(
                "Only the table filter is in the text: ports that the table nat opens or sends elsewhere would be \
                missing here. Capture all tables with `{}`.",
                shown.iter().map(|r| r.family.tool("-save")).collect::<Vec<_>>().join("` and `")
            ),
        );
    }
    let sets: Vec<String> = missing_sets(view).into_iter().collect();
    if !sets.is_empty() {
        let more = if sets.len() > MAX_NAMED { format!(" and {} more", sets.len() - MAX_NAMED) } else { String::new() };
        say(
            FindingCode::UnknownIpsets,
            format!(
                "Rules ask for ipsets whose entries are not in the text: {}{more}. Whom they mean is not known. Give \
                the output of `ipset save` too.",
                sets[..sets.len().min(MAX_NAMED)].join(", ")
            ),
        );
    }
}

/// Sets that rules use and the text does not show.
fn missing_sets(view: &View) -> BTreeSet<String> {
    let known = |name: &str| view.ipsets.iter().flatten().any(|s| s.name == name);
    let mut out = BTreeSet::new();
    for rule in Family::BOTH
        .iter()
        .filter_map(|f| view.rules(*f))
        .flat_map(|r| &r.tables)
        .flat_map(|t| &t.chains)
        .flat_map(|c| &c.rules)
    {
        let names = rule.all(&["--match-set"]).filter_map(|o| o.value);
        out.extend(names.filter(|name| !known(name)).map(Cow::into_owned));
    }
    out
}
