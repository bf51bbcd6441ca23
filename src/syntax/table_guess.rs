//! Which table a listing without a name shows: `iptables -S` and `-L` print one table and do not say which.

use crate::model::{Table, Target};
use crate::model::Family;

/// The likely table of these chains, and whether the chains leave no doubt.
pub fn of(table: &Table) -> (String, bool) {
    let has = |name: &str| table.chain(name).is_some();
    let nat_target = || table.chains.iter().flat_map(|c| &c.rules).any(|r| {
        // The family only matters for addresses, which are not asked for here.
        matches!(r.spec(Family::V4).target, Target::Jump(name, _)
            if matches!(name.as_str(), "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP"))
    });
    let (name, sure) = match (has("PREROUTING"), has("INPUT"), has("FORWARD"), has("OUTPUT"), has("POSTROUTING")) {
        (true, _, true, _, _) | (_, _, true, _, true) => ("mangle", true),
        // Kernels before 2.6.34 have no nat INPUT.
        (true, _, false, true, true) => ("nat", true),
        (true, false, false, true, false) => ("raw", !nat_target()),
        (_, _, false, _, true) | (true, _, false, _, false) => ("nat", nat_target()),
        (false, _, true, _, false) => ("filter", true),
        (false, true, false, ..) | (false, false, false, true, false) => ("filter", !nat_target()),
        (false, false, false, false, false) => if nat_target() { ("nat", true) } else { ("filter", false) },
    };
    if nat_target() { ("nat".to_owned(), true) } else { (name.to_owned(), sure) }
}

/// Gives the table its name.
pub fn rename(table: &mut Table, name: &str) {
    name.clone_into(&mut table.name);
}

/// Built-in chains of the table that the listing does not show. `iptables -L` and `-S` print them all.
pub fn missing_chains(table: &Table) -> Vec<&'static str> {
    Table::builtin_chains(&table.name).iter().copied()
        .filter(|c| table.chain(c).is_none() && !(table.name == "nat" && *c == "INPUT"))
        .collect()
}
