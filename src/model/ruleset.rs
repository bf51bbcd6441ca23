//! Tables, chains and policies of one family.

use std::collections::HashMap;
use std::fmt;

use super::{Family, Rule};

/// What happens to a packet for which no rule of a built-in chain decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// `ACCEPT`.
    Accept,
    /// `DROP`.
    Drop,
    /// The text does not show the policy of this built-in chain.
    Unknown,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Unknown => "?",
        })
    }
}

/// A chain: built-in (with a policy) or user-defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Name, case-sensitive.
    pub name: String,
    /// `Some` for built-in chains.
    pub policy: Option<Policy>,
    /// Counters of the policy or of the chain (packets, bytes).
    pub counters: (u64, u64),
    /// The rules in order.
    pub rules: Vec<Rule>,
    /// The source names the chain (a rule jumps to it) but does not show its rules, or only some of them.
    pub partial: bool,
}

impl Chain {
    /// An empty user-defined chain.
    pub fn user(name: &str) -> Self {
        Self { name: name.to_owned(), policy: None, counters: (0, 0), rules: Vec::new(), partial: false }
    }

    /// An empty built-in chain.
    pub fn builtin(name: &str, policy: Policy) -> Self {
        Self { policy: Some(policy), ..Self::user(name) }
    }
}

/// One table: `filter`, `nat`, `mangle`, `raw` or `security`.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Chains in source order.
    pub chains: Vec<Chain>,
    /// The source does not show the whole table (only one chain, truncated, filtered).
    pub partial: bool,
    /// iptables itself cannot read it (`# Table 'x' is incompatible, use 'nft' tool.`).
    pub unreadable: bool,
    index: HashMap<String, usize>,
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.chains == other.chains
            && self.partial == other.partial
            && self.unreadable == other.unreadable
    }
}

/// The built-in chains of each table, in hook order (iptables(8)).
const BUILTIN: &[(&str, &[&str])] = &[
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("security", &["INPUT", "FORWARD", "OUTPUT"]),
];

impl Table {
    /// An empty table without chains.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The names of the built-in chains of a table; empty for an unknown table.
    pub fn builtin_chains(table: &str) -> &'static [&'static str] {
        BUILTIN.iter().find(|(t, _)| *t == table).map_or(&[], |(_, c)| c)
    }

    /// The five tables, in the order in which a packet passes through them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(t, _)| *t)
    }

    /// The table as the kernel creates it: built-in chains, policy ACCEPT, no rules.
    pub fn pristine(name: &str) -> Self {
        let mut t = Self::new(name);
        for c in Self::builtin_chains(name) {
            t.add(Chain::builtin(c, Policy::Accept));
        }
        t
    }

    /// A chain by name.
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.index.get(name).map(|i| &self.chains[*i])
    }

    /// A chain by name, mutable.
    pub fn chain_mut(&mut self, name: &str) -> Option<&mut Chain> {
        self.index.get(name).map(|i| &mut self.chains[*i])
    }

    /// Position of a chain.
    pub fn chain_index(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Adds a chain, or replaces the one with the same name.
    pub fn add(&mut self, chain: Chain) -> &mut Chain {
        let at = if let Some(i) = self.index.get(&chain.name) {
            self.chains[*i] = chain;
            *i
        } else {
            self.index.insert(chain.name.clone(), self.chains.len());
            self.chains.push(chain);
            self.chains.len() - 1
        };
        &mut self.chains[at]
    }

    /// Whether a rule jumps to the chain, not counting the rules in `but` (chain, text).
    pub fn is_referenced(&self, name: &str, but: &[(&str, &str)]) -> bool {
        self.chains.iter().any(|c| {
            c.rules.iter().any(|r| {
                r.text.contains(name)
                    && !but.contains(&(c.name.as_str(), &*r.text))
                    && r.jumps_to().is_some_and(|to| to == name)
            })
        })
    }

    /// The chain with that name; created empty and user-defined if it does not exist.
    pub fn chain_or_new(&mut self, name: &str) -> &mut Chain {
        match self.index.get(name) {
            Some(i) => &mut self.chains[*i],
            None => self.add(Chain::user(name)),
        }
    }

    /// Renames a user-defined chain and the jumps to it; `false` if it does not exist.
    pub fn rename(&mut self, name: &str, to: &str) -> bool {
        let Some(i) = self.index.get(name).copied().filter(|i| self.chains[*i].policy.is_none()) else { return false };
        self.index.remove(name);
        self.index.insert(to.to_owned(), i);
        self.chains[i].name = to.to_owned();
        for rule in self.chains.iter_mut().flat_map(|c| &mut c.rules) {
            rule.rename_jump(name, to);
        }
        true
    }

    /// Removes a chain.
    pub fn remove(&mut self, name: &str) -> Option<Chain> {
        let i = self.index.remove(name)?;
        let gone = self.chains.remove(i);
        for v in self.index.values_mut() {
            if *v > i {
                *v -= 1;
            }
        }
        Some(gone)
    }
}

/// All tables of one family that a source shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruleset {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Tables in source order.
    pub tables: Vec<Table>,
}

/// A chain as its name, policy and rule texts.
type PlainChain = (String, Option<Policy>, Vec<String>);

impl Ruleset {
    /// No tables at all.
    pub fn new(family: Family) -> Self {
        Self { family, tables: Vec::new() }
    }

    /// A table by name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }

    /// A table by name, mutable.
    pub fn table_mut(&mut self, name: &str) -> Option<&mut Table> {
        self.tables.iter_mut().find(|t| t.name == name)
    }

    /// The table with that name; created pristine if it does not exist.
    pub fn table_or_new(&mut self, name: &str) -> &mut Table {
        let at = self.tables.iter().position(|t| t.name == name).unwrap_or_else(|| {
            self.tables.push(Table::pristine(name));
            self.tables.len() - 1
        });
        &mut self.tables[at]
    }

    /// A chain of a table.
    pub fn chain(&self, table: &str, chain: &str) -> Option<&Chain> {
        self.table(table)?.chain(chain)
    }

    /// Number of rules in all tables.
    pub fn rule_count(&self) -> usize {
        self.tables.iter().flat_map(|t| &t.chains).map(|c| c.rules.len()).sum()
    }

    /// Whether both have the same tables, chains, policies and rules in the same order. Ignores counters, line numbers,
    /// the order of chains, and pristine tables.
    pub fn same_rules(&self, other: &Self) -> bool {
        self.without_noise() == other.without_noise()
    }

    fn without_noise(&self) -> Vec<(String, Vec<PlainChain>)> {
        let mut tables: Vec<_> = self
            .tables
            .iter()
            .filter(|t| {
                t.chains.iter().any(|c| !c.rules.is_empty() || c.policy.is_none() || c.policy != Some(Policy::Accept))
            })
            .map(|t| {
                let mut chains: Vec<_> = t
                    .chains
                    .iter()
                    .filter(|c| c.policy != Some(Policy::Accept) || !c.rules.is_empty())
                    .map(|c| (c.name.clone(), c.policy, c.rules.iter().map(|r| r.text.to_string()).collect()))
                    .collect();
                chains.sort_by(|a: &PlainChain, b| a.0.cmp(&b.0));
                (t.name.clone(), chains)
            })
            .collect();
        tables.sort_by(|a, b| a.0.cmp(&b.0));
        tables
    }
}
