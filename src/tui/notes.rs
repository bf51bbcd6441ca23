//! What to know about the host apart from each service: what stands out, what could not be read, what was assumed.

use super::facts::Seen;
use super::widgets::wrap;
use crate::analyse::FindingCode;
use crate::model::Source;
use crate::plan::Enforced;

/// What must be known before the list can be trusted: rules or tools that this program does not know, the worst first.
pub fn gaps(seen: &Seen) -> Vec<&str> {
    // On a live host every diagnostic is a tool that is missing, fails or is not permitted; in captured text most are
    // words around the listings.
    let tools = seen.view.diagnostics.iter().filter(|_| seen.view.source == Source::Live).map(|d| d.message.as_str());
    let rules = seen
        .report
        .warnings
        .iter()
        .filter(|w| w.endpoint.is_none() && w.code != FindingCode::NeverMatches)
        .map(|w| w.message.as_str());
    tools.chain(rules).collect()
}

/// The number of notes, not counting assumptions.
pub fn count(seen: &Seen, enforced: &Enforced) -> usize {
    enforced.findings().len() + seen.report.warnings.len() + seen.view.diagnostics.len()
}

/// All of them as text, wrapped at a width.
pub fn text(seen: &Seen, enforced: &Enforced, cells: usize) -> String {
    let mut out = String::new();
    let mut part = |title: &str, items: Vec<String>| {
        if items.is_empty() {
            return;
        }
        out += &format!("{}{title}\n", if out.is_empty() { "" } else { "\n" });
        for item in items {
            for (i, line) in wrap(&item, cells.saturating_sub(2)).iter().enumerate() {
                out += &format!("{}{line}\n", if i == 0 { "- " } else { "  " });
            }
        }
    };
    let first = enforced.findings();
    let mut warnings: Vec<_> = first.iter().chain(&seen.report.warnings).collect();
    warnings.sort_by_key(|w| w.endpoint.is_some());
    // A note that applies to many services is shown once.
    let mut once: Vec<(String, Vec<&str>)> = Vec::new();
    for w in warnings {
        match once.iter_mut().find(|(m, e)| *m == w.message && !e.is_empty()) {
            Some((_, of)) => of.extend(w.endpoint.as_deref()),
            None => once.push((w.message.clone(), w.endpoint.as_deref().into_iter().collect())),
        }
    }
    part(
        "What stands out",
        once.into_iter().map(|(m, of)| if of.is_empty() { m } else { format!("{}: {m}", of.join(", ")) }).collect(),
    );
    part("What could not be read", seen.view.diagnostics.iter().map(crate::model::Diagnostic::placed).collect());
    part("What was assumed", seen.report.assumptions.iter().map(crate::model::Diagnostic::placed).collect());
    part("What no answer here takes into account", vec![seen.report.not_judged.join(", ")]);
    out
}
