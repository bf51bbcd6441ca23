//! What filters on the host besides the iptables in use: the other variant, and native nft tables.

use std::path::Path;

use super::firewall;
use crate::host::{Cmd, Host};
use crate::model::{Backend, Diagnostic, Family, OtherFilter, Policy, Ruleset, Table, Target, View};
use crate::syntax::{iptables_save, nft};

/// Adds the other filters to the view.
pub fn look(host: &dyn Host, view: &mut View) {
    if view.backend == Some(Backend::Nft) {
        legacy_tables(host, view);
    }
    nft_chains(host, view);
}

/// Rules of the iptables variant not in use, loaded alongside those of the other and missing from its listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Family.
    pub family: Family,
    /// Their variant.
    pub backend: Backend,
    /// How many; `None` if they cannot be read.
    pub rules: Option<usize>,
    /// The tool that shows them.
    pub see: String,
}

/// The rules of the iptables variant that is not in use.
pub fn beside(host: &dyn Host, backend: Option<Backend>) -> Vec<Beside> {
    let of = |family: Family| match backend? {
        Backend::Nft => {
            let (_, set) = legacy_rules(host, family)?;
            Some((Backend::Legacy, set, family.tool("-legacy-save")))
        }
        Backend::Legacy => {
            let see = family.tool("-nft-save");
            Some((Backend::Nft, Some(listed(host, &see, family).filter(decides)?), see))
        }
    };
    Family::BOTH
        .into_iter()
        .filter_map(|family| {
            let (backend, set, see) = of(family)?;
            let rules = set.map(|s| s.tables.iter().flat_map(|t| &t.chains).map(|c| c.rules.len()).sum());
            Some(Beside { family, backend, rules, see })
        })
        .collect()
}

/// The nftables tables not created by iptables, e.g. `inet mine`.
pub fn native_tables(host: &dyn Host) -> Vec<String> {
    let Some(out) = host.run(&Cmd::new("nft", &["-j", "list", "chains"])).ok().filter(|o| o.status == 0) else {
        return Vec::new();
    };
    let mut names: Vec<String> =
        nft::chains(&out.text(), false).0.iter().map(|c| format!("{} {}", c.family, c.table)).collect();
    names.dedup();
    names
}

/// The loaded iptables-legacy tables, by name, and their rules if they can be read. It is only run if tables are
/// loaded, because running it would load them.
fn legacy_rules(host: &dyn Host, family: Family) -> Option<(String, Option<Ruleset>)> {
    let path = if family == Family::V4 { "/proc/net/ip_tables_names" } else { "/proc/net/ip6_tables_names" };
    let names = host
        .read(Path::new(path))
        .map(|b| String::from_utf8_lossy(&b).into_owned())
        .ok()
        .filter(|n| !n.trim().is_empty())?;
    match listed(host, &family.tool("-legacy-save"), family) {
        Some(set) if !decides(&set) => None,
        set => Some((names, set)),
    }
}

fn legacy_tables(host: &dyn Host, view: &mut View) {
    for family in Family::BOTH {
        let Some((names, set)) = legacy_rules(host, family) else { continue };
        let (what, see) = ("iptables-legacy, whose rules are loaded too,".to_owned(), family.tool("-legacy-save"));
        let rewrites = match set {
            Some(set) => set.tables.iter().any(|t| rewrites(t, family)),
            None => names.split_whitespace().any(|t| matches!(t, "nat" | "mangle" | "raw")),
        };
        view.other_filters.push(OtherFilter { family, what, see, rewrites });
    }
}

/// The rules of iptables-nft alongside those of iptables-legacy, if there is no `nft` to show them.
fn nft_tables(host: &dyn Host, view: &mut View) {
    for family in Family::BOTH {
        let (what, see) = ("iptables-nft, whose rules are loaded too,".to_owned(), family.tool("-nft-save"));
        if let Some(set) = listed(host, &see, family).filter(decides) {
            let rewrites = set.tables.iter().any(|t| t.unreadable || rewrites(t, family));
            view.other_filters.push(OtherFilter { family, what, see, rewrites });
        }
    }
}

/// The output of the other variant's save tool.
fn listed(host: &dyn Host, save: &str, family: Family) -> Option<Ruleset> {
    let out = host.run(&Cmd::new(save, &[]).within(firewall::READING)).ok().filter(|o| o.status == 0)?;
    Some(iptables_save::read(&out.text(), family).0)
}

/// Whether it decides anything: loaded tables without rules let everything through.
fn decides(set: &Ruleset) -> bool {
    set.tables.iter().any(|t| {
        t.unreadable || t.chains.iter().any(|c| !c.rules.is_empty() || !matches!(c.policy, None | Some(Policy::Accept)))
    })
}

/// Whether a table does more than accept and drop.
fn rewrites(table: &Table, family: Family) -> bool {
    table.chains.iter().flat_map(|c| &c.rules).any(|r| match r.spec(family).target {
        Target::None
        | Target::Accept
        | Target::Drop
        | Target::Reject
        | Target::Return
        | Target::Continue(_)
        | Target::Goto(_) => false,
        Target::Jump(chain, _) => table.chain(&chain).is_none(),
        _ => true,
    })
}

fn nft_chains(host: &dyn Host, view: &mut View) {
    let legacy = view.backend == Some(Backend::Legacy);
    let answer = match host.run(&Cmd::new("nft", &["-j", "list", "chains"])) {
        Ok(out) if out.status == 0 => out.text(),
        Ok(out) => return unknown(view, &out.complaint()),
        Err(_) if legacy => return nft_tables(host, view),
        Err(e) => return unknown(view, &e.to_string()),
    };
    let (chains, diags) = nft::chains(&answer, legacy);
    view.diagnostics.extend(diags.into_iter().map(|d| d.in_file("nft -j list chains")));
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for c in &chains {
        let table = (c.family.as_str(), c.table.as_str());
        if seen.contains(&table) {
            continue;
        }
        seen.push(table);
        let text = host
            .run(&Cmd::new("nft", &["list", "table", table.0, table.1]).within(firewall::READING))
            .ok()
            .filter(|o| o.status == 0)
            .map(|o| o.text());
        if text.as_deref().is_some_and(|t| !nft::decides(t)) {
            continue;
        }
        let rewrites = text.is_none_or(|t| nft::rewrites(&t));
        let mut hooks: Vec<&str> =
            chains.iter().filter(|o| (o.family.as_str(), o.table.as_str()) == table).map(|o| o.hook.as_str()).collect();
        hooks.sort_unstable();
        hooks.dedup();
        let whose = if c.family != "inet" && !Table::builtin_chains(&c.table).is_empty() && legacy {
            "iptables-nft with its"
        } else {
            "the native nft"
        };
        for family in c.families() {
            let what = format!("{whose} table {} {} (hooks: {})", table.0, table.1, hooks.join(", "));
            let see = format!("nft list table {} {}", table.0, table.1);
            view.other_filters.push(OtherFilter { family, what, see, rewrites });
        }
    }
}

fn unknown(view: &mut View, why: &str) {
    view.diagnostics.push(Diagnostic::whole(format!("whether native nft tables filter too is not known: {why}")));
}
