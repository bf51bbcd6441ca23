//! What filters on the host beside the iptables in use: the other backend, and native nft tables.

use std::path::Path;

use super::firewall;
use crate::host::{Cmd, Host};
use crate::model::{Backend, Diagnostic, Family, View};
use crate::syntax::nft;

/// Adds the other filters to the view.
pub fn look(host: &dyn Host, view: &mut View) {
    if view.backend == Some(Backend::Nft) {
        legacy_tables(host, view);
    }
    native_chains(host, view);
}

fn legacy_tables(host: &dyn Host, view: &mut View) {
    for (family, path) in [(Family::V4, "/proc/net/ip_tables_names"), (Family::V6, "/proc/net/ip6_tables_names")] {
        let names = host.read(Path::new(path)).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        let tables: Vec<&str> = names.split_whitespace().collect();
        if !tables.is_empty() {
            let rewrites = tables.iter().any(|t| matches!(*t, "nat" | "mangle" | "raw"));
            let save = firewall::tool(family, "-legacy-save");
            view.other_filters.push((family, format!("legacy iptables tables are loaded too ({}); see `{save}`", tables.join(", ")), rewrites));
        }
    }
}

fn native_chains(host: &dyn Host, view: &mut View) {
    let answer = match host.run(&Cmd::new("nft", &["-j", "list", "chains"])) {
        Ok(out) if out.status == 0 => out.text(),
        Ok(out) => return unknown(view, &out.complaint()),
        // Without nf_tables in use there is nothing that nft could show.
        Err(_) if view.backend == Some(Backend::Legacy) => return,
        Err(e) => return unknown(view, &e.to_string()),
    };
    let (chains, diags) = nft::chains(&answer);
    view.diagnostics.extend(diags.into_iter().map(|d| d.in_file("nft -j list chains")));
    for c in chains {
        let table = host.run(&Cmd::new("nft", &["list", "table", &c.family, &c.table])).map(|o| o.text()).unwrap_or_default();
        let rewrites = table.is_empty() || nft::rewrites(&table);
        for family in c.families() {
            let said = format!("the native nft table {} {} filters too ({} hook, chain {}); see `nft list table {} {}`", c.family, c.table, c.hook, c.chain, c.family, c.table);
            view.other_filters.push((family, said, rewrites));
        }
    }
}

fn unknown(view: &mut View, why: &str) {
    view.diagnostics.push(Diagnostic::whole(format!("whether native nft tables filter too is not known: {why}")));
}
