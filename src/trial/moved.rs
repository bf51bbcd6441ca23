//! Names what was added or removed between two readings of the rules, for a refusal.

use std::collections::HashSet;

use crate::model::{Policy, Ruleset};

/// How many lines are named; the others are counted.
const NAMED: usize = 2;

/// The first lines that were added and removed, as the end of a sentence.
pub fn what<'a>(then: impl IntoIterator<Item = &'a Ruleset>, now: impl IntoIterator<Item = &'a Ruleset>) -> String {
    let (then, now) = (lines(then), lines(now));
    let mut found: Vec<String> = only(&now, &then).map(|l| format!("new is {l}")).collect();
    let new = found.len();
    found.extend(only(&then, &now).map(|l| format!("gone is {l}")));
    match found.len() {
        0 => ": the order of rules, or a double of one".to_owned(),
        n if n <= NAMED => format!(": {}", found.join("; ")),
        n => {
            // One of each, if there are both.
            let second = if (1..n).contains(&new) { new } else { 1 };
            format!(": {}; {}; and {} more", found[0], found[second], n - NAMED)
        }
    }
}

fn only<'a>(all: &'a [String], but: &'a [String]) -> impl Iterator<Item = &'a String> {
    let but: HashSet<&String> = but.iter().collect();
    all.iter().filter(move |l| !but.contains(l))
}

/// Rules and chains as the tool would print them, without what [`Ruleset::same_rules`] ignores.
fn lines<'a>(sets: impl IntoIterator<Item = &'a Ruleset>) -> Vec<String> {
    let mut out = Vec::new();
    for set in sets {
        for table in &set.tables {
            let at = format!("{} {}", set.family.label(), table.name);
            for chain in &table.chains {
                match chain.policy {
                    Some(Policy::Accept) => {}
                    Some(Policy::Drop) => out.push(format!("{at}: -P {} DROP", chain.name)),
                    Some(Policy::Unknown) | None => out.push(format!("{at}: -N {}", chain.name)),
                }
                out.extend(chain.rules.iter().map(|r| format!("{at}: {}", r.line_in(&chain.name))));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;
    use crate::syntax::iptables_save::read;

    #[test]
    fn added_and_removed_lines_are_named() {
        let of = |rules: &str| read(&format!("*filter\n:INPUT {rules}COMMIT\n"), Family::V4).0;
        let said = |a: &str, b: &str| what([&of(a)], [&of(b)]);
        let (a, b, c) = (
            "-A INPUT -s 192.0.2.1/32 -j DROP\n",
            "-A INPUT -s 192.0.2.2/32 -j DROP\n",
            "-A INPUT -s 192.0.2.3/32 -j DROP\n",
        );
        let policy = "ACCEPT [0:0]\n";
        assert_eq!(said(policy, &format!("{policy}{a}")), ": new is IPv4 filter: -A INPUT -s 192.0.2.1/32 -j DROP");
        assert_eq!(said(&format!("DROP [1:2]\n{a}"), &format!("{policy}{a}")), ": gone is IPv4 filter: -P INPUT DROP");
        let changed = said(&format!("{policy}{c}"), &format!("{policy}{a}{b}"));
        assert_eq!(
            changed,
            ": new is IPv4 filter: -A INPUT -s 192.0.2.1/32 -j DROP; gone is IPv4 filter: -A INPUT -s 192.0.2.3/32 -j \
                DROP; and 1 more"
        );
        assert_eq!(
            said(&format!("{policy}{a}{b}"), &format!("{policy}{b}{a}")),
            ": the order of rules, or a double of one"
        );
    }
}
