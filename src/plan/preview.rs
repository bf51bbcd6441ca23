//! A change as the operator sees it: commands as one would type them, scripts, and the difference.

use similar::TextDiff;

use super::change::Change;
use super::script::for_shell;
use crate::model::names::chains::SWITCHES;
use crate::model::{Family, Ruleset, words};
use crate::syntax::iptables_save;

/// The scripts that lead to the kept state at once: one text per family, first our chains in one transaction, then the
/// removal of what is no longer needed.
fn whole_scripts(change: &Change) -> Vec<(Family, String)> {
    change
        .families
        .iter()
        .map(|f| {
            let mut script = f.whole_script();
            if let Some(mut after) = change.before.rules(f.family()).cloned()
                && after.apply(&script).is_ok()
            {
                script.extend(f.cleanup_scripts(&after));
            }
            (f.family(), script)
        })
        .collect()
}

/// The commands that lead to the kept state, one per line, `iptables` and `ip6tables`, as typed into a shell.
pub fn commands(change: &Change) -> Vec<String> {
    let mut out = Vec::new();
    for (family, script) in whole_scripts(change) {
        let tool = family.tool("");
        for line in script.lines() {
            if let Some(chain) = line.strip_prefix(':').and_then(|l| l.split(' ').next()) {
                let there = change.before.rules(family).is_some_and(|r| r.chain("filter", chain).is_some());
                out.push(format!("{tool} {} {chain}", if there { "-F" } else { "-N" }));
            } else if line.starts_with('-') {
                let words: Vec<String> = words(line).map(|w| for_shell(&w)).collect();
                out.push(format!("{tool} {}", words.join(" ")));
            }
        }
    }
    out
}

/// Unified difference of the filter table before and after, both families; empty if there is none.
pub fn diff(change: &Change) -> String {
    let mut out = String::new();
    for family in Family::BOTH {
        let text = |r: Option<&Ruleset>| {
            r.and_then(|r| {
                r.table("filter").map(|t| {
                    let mut one = Ruleset::new(family);
                    one.tables.push(t.clone());
                    iptables_save::write(&one, false)
                })
            })
            .unwrap_or_default()
        };
        let (a, b) = (text(change.before.rules(family)), text(change.after.rules(family)));
        out.push_str(&difference(
            (&format!("{} now", family.label()), &a),
            (&format!("{} with the plan kept", family.label()), &b),
        ));
    }
    out
}

/// Unified difference of two named rulesets as text; empty if they are the same. A change of slot alone is not shown:
/// each change of plan uses the other slot.
pub fn difference(a: (&str, &str), b: (&str, &str)) -> String {
    let mut old = a.1.to_owned();
    for switch in SWITCHES {
        for (from, to) in [("A", "B"), ("B", "A")] {
            let has = |text: &str, slot: &str| text.contains(&format!("\n:{switch}-{slot} "));
            if has(a.1, from) && !has(a.1, to) && has(b.1, to) && !has(b.1, from) {
                old = old.replace(&format!("{switch}-{from}"), &format!("{switch}-{to}"));
            }
        }
    }
    unified((a.0, &old), b)
}

fn unified(a: (&str, &str), b: (&str, &str)) -> String {
    if a.1 == b.1 {
        return String::new();
    }
    TextDiff::from_lines(a.1, b.1).unified_diff().context_radius(2).header(a.0, b.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letter_of_a_slot_is_no_difference() {
        let rules = |slot: &str, more: &str| {
            format!(
                "*filter\n:INPUT ACCEPT [0:0]\n:PORTCULLIS - [0:0]\n:PORTCULLIS-{slot} - [0:0]\n\
                -A INPUT ! -i lo -j PORTCULLIS\n-A PORTCULLIS -j PORTCULLIS-{slot}\n-A PORTCULLIS-{slot} -p tcp -m \
                tcp --dport 111 -j DROP\n{more}COMMIT\n"
            )
        };
        let diff = difference(("now", &rules("A", "")), ("then", &rules("B", "-A PORTCULLIS-B -p udp -j DROP\n")));
        let changed: Vec<&str> = diff.lines().filter(|l| l.starts_with(['+', '-'])).collect();
        assert_eq!(changed, ["--- now", "+++ then", "+-A PORTCULLIS-B -p udp -j DROP"]);
        assert_eq!(difference(("now", &rules("A", "")), ("then", &rules("B", ""))), "");
    }
}
