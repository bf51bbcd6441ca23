//! `nft -j list chains` (libnftables-json(5)): which chains hook into the packet path besides those of iptables.

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Diagnostic, Family};

/// A base chain of a table that iptables does not own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeChain {
    /// `ip`, `ip6` or `inet`.
    pub family: String,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// `prerouting`, `input`, `forward` or `postrouting`.
    pub hook: String,
}

impl NativeChain {
    /// The families of packets that pass it.
    pub fn families(&self) -> Vec<Family> {
        match self.family.as_str() {
            "ip" => vec![Family::V4],
            "ip6" => vec![Family::V6],
            _ => Family::BOTH.to_vec(),
        }
    }
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
}

/// Reads the native base chains that packets from outside may pass.
pub fn chains(text: &str) -> (Vec<NativeChain>, Vec<Diagnostic>) {
    if text.trim().is_empty() {
        return (Vec::new(), Vec::new());
    }
    let all: Value = match serde_json::from_str(text) {
        Ok(v) => v,
        Err(e) => return (Vec::new(), vec![Diagnostic::at(e.line(), format!("nft answered something else than its JSON: {e}"))]),
    };
    let objects = all.get("nftables").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = objects.into_iter()
        .filter_map(|mut o| serde_json::from_value::<Chain>(o.get_mut("chain")?.take()).ok())
        .filter(|c| matches!(c.family.as_str(), "ip" | "ip6" | "inet"))
        .filter(|c| c.family == "inet" || !matches!(c.table.as_str(), "filter" | "nat" | "mangle" | "raw" | "security"))
        .filter_map(|c| {
            let hook = c.hook.filter(|h| matches!(h.as_str(), "prerouting" | "input" | "forward" | "postrouting"))?;
            Some(NativeChain { family: c.family, table: c.table, chain: c.name, hook })
        })
        .collect();
    (found, Vec::new())
}

/// Whether the text of a table (`nft list table`) does more than let through and drop (nft(8)): then a packet may
/// arrive elsewhere than iptables says.
pub fn rewrites(table: &str) -> bool {
    ["dnat", "snat", "redirect", "masquerade", "tproxy", "notrack", "mark set", "saddr set", "daddr set", "dport set"].iter().any(|w| table.contains(w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_native_base_chains() {
        let text = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"chain":{"family":"ip","table":"filter","name":"INPUT","type":"filter","hook":"input","prio":0,"policy":"accept"}},
            {"chain":{"family":"inet","table":"firewalld","name":"filter_INPUT","type":"filter","hook":"input","prio":10}},{"chain":{"family":"inet","table":"x","name":"helper"}},
            {"chain":{"family":"ip","table":"mine","name":"out","type":"filter","hook":"output","prio":0}}]}"#;
        let (c, d) = chains(text);
        assert!(d.is_empty());
        assert_eq!(c.iter().map(|c| (c.table.as_str(), c.families().len())).collect::<Vec<_>>(), [("firewalld", 2)]);
        assert!(rewrites("tcp dport 1 dnat to 10.0.0.1") && !rewrites("tcp dport 1 drop"));
    }
}
