//! Listings of `nft` (nft(8), libnftables-json(5)): which chains besides those of iptables hook into the packet path,
//! and what the tables of iptables contain that iptables cannot show.

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Diagnostic, Family, Table};

/// A base chain of a table that iptables does not own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeChain {
    /// `ip`, `ip6`, `inet` or `netdev`.
    pub family: String,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// `ingress`, `prerouting`, `input`, `forward` or `postrouting`.
    pub hook: String,
}

impl NativeChain {
    /// The families of the packets that pass through it.
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
    prio: Option<i64>,
}

/// Whether iptables shows the chain: a built-in chain of its own tables, at its usual hook and priority (iptables-nft
/// skips others with a remark).
fn of_iptables(c: &Chain) -> bool {
    let prio = match (c.table.as_str(), c.name.as_str()) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", "PREROUTING" | "OUTPUT") => -100,
        ("nat", _) => 100,
        ("security", _) => 50,
        _ => 0,
    };
    matches!(c.family.as_str(), "ip" | "ip6")
        && Table::builtin_chains(&c.table).contains(&c.name.as_str())
        && c.hook.as_deref().is_some_and(|h| h.eq_ignore_ascii_case(&c.name))
        && c.prio == Some(prio)
}

/// Reads the base chains that packets from outside may pass. `iptables_too`: include those of iptables-nft, for a host
/// whose iptables is the legacy variant.
pub fn chains(text: &str, iptables_too: bool) -> (Vec<NativeChain>, Vec<Diagnostic>) {
    if text.trim().is_empty() {
        return (Vec::new(), Vec::new());
    }
    let objects = match objects(text) {
        Ok(o) => o,
        Err(d) => return (Vec::new(), vec![d]),
    };
    let found = objects
        .into_iter()
        .filter_map(|mut o| serde_json::from_value::<Chain>(o.get_mut("chain")?.take()).ok())
        .filter(|c| matches!(c.family.as_str(), "ip" | "ip6" | "inet" | "netdev"))
        .filter_map(|c| {
            let owned = of_iptables(&c);
            let hook = c
                .hook
                .filter(|h| matches!(h.as_str(), "ingress" | "prerouting" | "input" | "forward" | "postrouting"))?;
            (iptables_too || !owned).then_some(NativeChain { family: c.family, table: c.table, chain: c.name, hook })
        })
        .collect();
    (found, Vec::new())
}

fn objects(text: &str) -> Result<Vec<Value>, Diagnostic> {
    let mut all: Value = serde_json::from_str(text)
        .map_err(|e| Diagnostic::at(e.line(), format!("nft did not print the expected JSON: {e}")))?;
    match all.get_mut("nftables").map(Value::take) {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// Whether a table (`nft list table`) can drop anything: it has a rule, or a drop policy.
pub fn decides(table: &str) -> bool {
    let mut in_chain = false;
    table.lines().map(str::trim).any(|line| {
        let rule = in_chain
            && !matches!(line, "" | "}")
            && !line.starts_with("comment ")
            && (!line.starts_with("type ") || line.contains("policy drop"));
        in_chain = if line.starts_with("chain ") { true } else { in_chain && line != "}" };
        rule
    })
}

/// Statements that do more than accept or drop (nft(8)). `xt target` is one that nft cannot express.
const REWRITING: &[&str] = &[
    "dnat",
    "snat",
    "redirect",
    "masquerade",
    "tproxy",
    "notrack",
    "mark set",
    "saddr set",
    "daddr set",
    "sport set",
    "dport set",
    "pkttype set",
    "zone set",
    "fwd to",
    "queue",
    "xt target",
];

/// Whether the text of a table (`nft list table`) does more than accept and drop: a packet may then end up elsewhere
/// than iptables says.
pub fn rewrites(table: &str) -> bool {
    REWRITING.iter().any(|w| table.contains(w))
}

/// Whether a table has sets (`nft --debug=netlink list sets table FAMILY TABLE`, which also shows anonymous sets).
///
/// iptables makes none. It prints a rule that uses an anonymous set without that match, as if the rule applied to all
/// packets: `ip saddr { 192.0.2.1 } drop` becomes `-A INPUT -j DROP` (seen with 1.8.9).
pub fn has_sets(family: &str, table: &str, listed: &str) -> bool {
    let nameless = format!("{family} {table} @");
    listed.lines().map(str::trim).any(|l| l.starts_with(&nameless) || l.starts_with("set ") || l.starts_with("map "))
}

/// Whether a table (`nft -j list table`) has rules that iptables misprints: address comparisons other than with one
/// network (`ip saddr 192.0.2.1-192.0.2.9` becomes `-s 192.0.2.9/32` with 1.8.9), and raw bytes.
pub fn is_misread(text: &str) -> bool {
    let wrong = |m: &Value| {
        let at = |path| m.pointer(path);
        let is = |path, words: &[&str]| at(path).and_then(Value::as_str).is_some_and(|w| words.contains(&w));
        at("/left/payload/base").is_some()
            || is("/left/payload/field", &["saddr", "daddr"])
                && (!is("/op", &["==", "!="]) || at("/right/range").is_some())
    };
    objects(text)
        .unwrap_or_default()
        .iter()
        .filter_map(|o| o.pointer("/rule/expr")?.as_array())
        .any(|exprs| exprs.iter().filter_map(|e| e.get("match")).any(wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_native_base_chains() {
        let text = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},
            {"chain":{"family":"ip","table":"filter","name":"INPUT","type":"filter","hook":"input","prio":0,
                "policy":"accept"}},
            {"chain":{"family":"inet","table":"firewalld","name":"filter_INPUT","type":"filter",
                "hook":"input","prio":10}},
            {"chain":{"family":"inet","table":"x","name":"helper"}},
            {"chain":{"family":"ip","table":"filter","name":"input","type":"filter","hook":"input","prio":0}},
            {"chain":{"family":"bridge","table":"b","name":"i","type":"filter","hook":"input","prio":0}},
            {"chain":{"family":"ip","table":"mine","name":"out","type":"filter","hook":"output","prio":0}}]}"#;
        let named = |too| {
            chains(text, too)
                .0
                .into_iter()
                .map(|c| (c.table.clone(), c.chain.clone(), c.families().len()))
                .collect::<Vec<_>>()
        };
        let native =
            [("firewalld".to_owned(), "filter_INPUT".to_owned(), 2), ("filter".to_owned(), "input".to_owned(), 1)];
        assert_eq!(named(false), native);
        assert_eq!(named(true).len(), 3, "with the chain of iptables-nft");
        assert!(rewrites("tcp dport 1 dnat to 10.0.0.1") && !rewrites("tcp dport 1 drop"));
    }

    #[test]
    fn a_table_without_rules_decides_nothing() {
        let table = |body: &str| {
            format!(
                "table inet x {{\n\tset s {{\n\t\ttype ipv4_addr\n\t}}\n\n\tchain i {{\n\t\ttype filter hook input \
                    priority filter; policy {body}\n\t}}\n}}\n"
            )
        };
        assert!(!decides(&table("accept;")));
        assert!(decides(&table("drop;")) && decides(&table("accept;\n\t\ttcp dport 1 drop")));
    }

    #[test]
    fn what_iptables_would_misprint() {
        assert!(has_sets("ip", "filter", "ip filter @__set0\n\telement 1 : 0 [end]\ntable ip filter {\n}\n"));
        assert!(!has_sets("ip", "filter", "table ip filter {\n}\n"));
        let rule = |m: &str| format!(r#"{{"nftables":[{{"rule":{{"expr":[{{"match":{m}}},{{"drop":null}}]}}}}]}}"#);
        assert!(is_misread(&rule(
            r#"{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},
                "right":{"range":["1.2.3.4","1.2.3.9"]}}"#
        )));
        assert!(!is_misread(&rule(
            r#"{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},
                "right":{"prefix":{"addr":"10.0.0.0","len":8}}}"#
        )));
        assert!(!is_misread(&rule(
            r#"{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"range":[5,7]}}"#
        )));
    }
}
