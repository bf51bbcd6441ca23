//! `portcullis convert FILE --to save|json`.

use std::path::Path;

use serde_json::{Value, json};

use super::Failure;
use crate::cli::Format;
use crate::model::{Diagnostic, Family, Ruleset};
use crate::syntax::iptables_save;

/// Reads one listing and writes it in the other form; remarks go to stderr.
pub fn run(file: &Path, to: Format) -> Result<(), Failure> {
    let (set, diags) = super::input::rules(file)?;
    let out = match to {
        Format::Save => iptables_save::write(&set, false),
        Format::Json => format!("{:#}\n", as_json(&set, &diags)),
    };
    super::print(&out)
}

fn as_json(set: &Ruleset, diags: &[Diagnostic]) -> Value {
    let tables: Vec<Value> = set.tables.iter().map(|t| {
        let chains: Vec<Value> = t.chains.iter().map(|c| {
            let rules: Vec<Value> = c.rules.iter()
                .map(|r| json!({"text": r.line_in(&c.name), "packets": r.packets, "bytes": r.bytes, "line": r.line}))
                .collect();
            json!({"name": c.name, "policy": c.policy.map(|p| p.to_string()), "rules": rules})
        }).collect();
        json!({"name": t.name, "partial": t.partial, "unreadable": t.unreadable, "chains": chains})
    }).collect();
    let family = match set.family { Family::V4 => "ipv4", Family::V6 => "ipv6" };
    json!({"version": 1, "family": family, "tables": tables, "diagnostics": diags})
}
