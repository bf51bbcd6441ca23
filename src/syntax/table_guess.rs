//! Guesses which table an unnamed listing shows: `iptables -S` and `-L` print one table without its name.

use crate::model::Table;

/// Targets valid only in the nat table, and targets valid only in mangle (iptables-extensions(8)).
const NAT: &[&str] = &["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"];
const MANGLE: &[&str] = &["MARK", "CONNMARK", "TOS", "DSCP", "TTL", "HL", "ECN", "CLASSIFY", "CHECKSUM", "TPROXY"];

/// The likely table of these chains, and whether they leave no doubt.
pub fn of(table: &Table) -> (String, bool) {
    let has = |name: &str| table.chain(name).is_some();
    let uses = |targets: &[&str]| {
        table.chains.iter().flat_map(|c| &c.rules).any(|r| r.jumps_to().is_some_and(|t| targets.contains(&&*t)))
    };
    let (name, sure) = match (has("PREROUTING"), has("INPUT"), has("FORWARD"), has("OUTPUT"), has("POSTROUTING")) {
        (true, _, true, ..) | (_, _, true, _, true) => ("mangle", true),
        _ if uses(NAT) => ("nat", true),
        // Kernels before 2.6.34 have no INPUT chain in nat.
        (true, _, false, true, true) => ("nat", true),
        (true, false, false, true, false) => ("raw", true),
        (_, _, false, _, true) | (true, _, false, _, false) => {
            if uses(MANGLE) {
                ("mangle", false)
            } else {
                ("nat", false)
            }
        }
        (false, false, false, false, false) => ("filter", false),
        (false, _, _, _, false) => ("filter", true),
    };
    (name.to_owned(), sure)
}

/// Gives the table its name.
pub fn rename(table: &mut Table, name: &str) {
    name.clone_into(&mut table.name);
}

/// Built-in chains of the table that the listing lacks. `iptables -L` and `-S` print them all.
pub fn missing_chains(table: &Table) -> Vec<&'static str> {
    Table::builtin_chains(&table.name)
        .iter()
        .copied()
        .filter(|c| table.chain(c).is_none() && !(table.name == "nat" && *c == "INPUT"))
        .collect()
}
