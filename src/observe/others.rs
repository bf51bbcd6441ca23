//! What filters on the host beside the iptables in use: the other backend, and native nft tables.

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

/// The rules of iptables-legacy. Only where tables are loaded it is asked, so that none is loaded by looking.
fn legacy_tables(host: &dyn Host, view: &mut View) {
    for (family, path) in [(Family::V4, "/proc/net/ip_tables_names"), (Family::V6, "/proc/net/ip6_tables_names")] {
        let names = host.read(Path::new(path)).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        if names.trim().is_empty() {
            continue;
        }
        let (what, see) = ("iptables-legacy, whose rules are loaded too,".to_owned(), family.tool("-legacy-save"));
        let rewrites = match listed(host, &see, family) {
            Some(set) if !decides(&set) => continue,
            Some(set) => set.tables.iter().any(|t| rewrites(t, family)),
            None => names.split_whitespace().any(|t| matches!(t, "nat" | "mangle" | "raw")),
        };
        view.other_filters.push(OtherFilter { family, what, see, rewrites });
    }
}

/// The rules of iptables-nft beside those of iptables-legacy, where there is no `nft` to show them.
fn nft_tables(host: &dyn Host, view: &mut View) {
    for family in Family::BOTH {
        let (what, see) = ("iptables-nft, whose rules are loaded too,".to_owned(), family.tool("-nft-save"));
        if let Some(set) = listed(host, &see, family).filter(decides) {
            let rewrites = set.tables.iter().any(|t| t.unreadable || rewrites(t, family));
            view.other_filters.push(OtherFilter { family, what, see, rewrites });
        }
    }
}

/// What a save tool of the other backend prints.
fn listed(host: &dyn Host, save: &str, family: Family) -> Option<Ruleset> {
    let out = host.run(&Cmd::new(save, &[]).within(firewall::READING)).ok().filter(|o| o.status == 0)?;
    Some(iptables_save::read(&out.text(), family).0)
}

/// Whether anything is decided: tables that are loaded without a rule let everything through.
fn decides(set: &Ruleset) -> bool {
    set.tables.iter().any(|t| t.unreadable || t.chains.iter().any(|c| !c.rules.is_empty() || !matches!(c.policy, None | Some(Policy::Accept))))
}

/// Whether a table does more than let through and drop.
fn rewrites(table: &Table, family: Family) -> bool {
    table.chains.iter().flat_map(|c| &c.rules).any(|r| match r.spec(family).target {
        Target::None | Target::Accept | Target::Drop | Target::Reject | Target::Return | Target::Continue(_) | Target::Goto(_) => false,
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
        let text = host.run(&Cmd::new("nft", &["list", "table", table.0, table.1]).within(firewall::READING)).ok().filter(|o| o.status == 0).map(|o| o.text());
        if text.as_deref().is_some_and(|t| !nft::decides(t)) {
            continue;
        }
        let rewrites = text.is_none_or(|t| nft::rewrites(&t));
        let mut hooks: Vec<&str> = chains.iter().filter(|o| (o.family.as_str(), o.table.as_str()) == table).map(|o| o.hook.as_str()).collect();
        hooks.sort_unstable();
        hooks.dedup();
        let whose = if c.family != "inet" && !Table::builtin_chains(&c.table).is_empty() && legacy { "iptables-nft with its" } else { "the native nft" };
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
