//! A change for the operator's eyes: commands as one would type them, scripts, and the difference it makes.

use std::fmt::Write as _;

use similar::TextDiff;

use super::change::Change;
use crate::model::{Family, Ruleset};
use crate::syntax::iptables_save;

/// The commands that bring the kept state about, one a line, `iptables` and `ip6tables`.
pub fn commands(change: &Change) -> Vec<String> {
    let mut out = Vec::new();
    for f in &change.families {
        let tool = tool(f.family());
        for line in f.apply_script(None).lines() {
            if let Some(chain) = line.strip_prefix(':').and_then(|l| l.split(' ').next()) {
                let there = change.before.rules(f.family()).is_some_and(|r| r.chain("filter", chain).is_some());
                out.push(format!("{tool} {} {chain}", if there { "-F" } else { "-N" }));
            } else if line.starts_with('-') {
                out.push(format!("{tool} {line}"));
            }
        }
    }
    out
}

/// The same as a shell script that stops at the first error.
pub fn shell_script(change: &Change) -> String {
    let mut out = String::from("#!/bin/sh\n# The rules of a portcullis plan, without trial and without revert.\nset -e\n");
    for c in commands(change) {
        let _ = writeln!(out, "{c}");
    }
    out
}

/// Unified difference of the filter table before and after, both families; empty when there is none.
pub fn diff(change: &Change) -> String {
    let mut out = String::new();
    for family in Family::BOTH {
        let text = |r: Option<&Ruleset>| r.and_then(|r| r.table("filter").map(|t| {
            let mut one = Ruleset::new(family);
            one.tables.push(t.clone());
            iptables_save::write(&one, false)
        })).unwrap_or_default();
        let (a, b) = (text(change.before.rules(family)), text(change.after.rules(family)));
        if a != b {
            let d = TextDiff::from_lines(a.as_str(), b.as_str());
            let _ = write!(out, "{}", d.unified_diff().context_radius(2).header(&format!("{} now", family.label()), &format!("{} with the plan kept", family.label())));
        }
    }
    out
}

fn tool(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}
