//! `iptables-save` and `iptables -S` text (iptables-save(8), iptables-restore(8)): reader and writer.

use std::fmt::Write as _;

use crate::model::{Chain, Diagnostic, Family, Policy, Rule, Ruleset, Table};

/// The start of the diagnostic that rules of the other variant are loaded too (`# Warning:` of iptables-nft).
pub const LEGACY_WARNING: &str = "Warning: iptables-legacy tables present";
/// The end of the diagnostic that a table of iptables holds base chains of others (`# Table` of iptables-nft).
pub const FOREIGN_CHAINS: &str = "holds native base chains, which are not in this text";
/// The diagnostic about lines that no `*table` line precedes.
pub const NO_TABLE: &str = "no table is named before this line; taken as table filter";

/// Reads `iptables-save` output, a restore file, or `iptables -S` output of one table.
///
/// Nothing is lost: every line becomes a rule, a chain, part of the frame (`*table`, `COMMIT`, a comment)
/// or a diagnostic.
pub fn read(text: &str, family: Family) -> (Ruleset, Vec<Diagnostic>) {
    let mut reader = Reader {
        set: Ruleset::new(family),
        table: None,
        open: false,
        closed: false,
        twice: Vec::new(),
        diags: Vec::new(),
    };
    for (n, line) in text.lines().enumerate() {
        reader.line(line.trim(), n + 1);
    }
    reader.finish()
}

/// Commands that change the rules of a chain (iptables(8)), and stand in no listing.
const CHANGES: &[&str] = &["-I", "--insert", "-D", "--delete", "-R", "--replace", "-F", "--flush"];

/// Whether these words behind a `*` name a table: one of iptables, of an older one, or of ebtables. Stars mark
/// headings, bullets and bold words, too.
fn is_table(name: &str) -> bool {
    !Table::builtin_chains(name).is_empty() || matches!(name, "rawpost" | "broute")
}

struct Reader {
    set: Ruleset,
    /// Index of the table to which lines belong now.
    table: Option<usize>,
    /// Whether a `*table` still lacks its `COMMIT`.
    open: bool,
    /// Whether a `COMMIT` has not been followed by a `*table`: lines here are in no table, and
    /// iptables-restore refuses them.
    closed: bool,
    /// Tables that begin more than once.
    twice: Vec<String>,
    diags: Vec<Diagnostic>,
}

impl Reader {
    fn line(&mut self, line: &str, n: usize) {
        let Some(first) = line.chars().next() else { return };
        match first {
            '#' => self.comment(line, n),
            '*' if is_table(&line[1..]) => self.begin(&line[1..], n),
            ':' | '[' | '-' if self.closed => {
                self.diags.push(Diagnostic::at(n, "after COMMIT and in no table; left out"));
            }
            ':' => self.chain_line(&line[1..], n),
            '[' | '-' => self.rule_line(line, n),
            // A fence of Markdown around the listing.
            '`' if line.starts_with("```") => {}
            _ if line == "COMMIT" => (self.open, self.closed) = (false, self.closed || self.open),
            _ => self.diags.push(Diagnostic::at(n, "not a line of iptables-save; left out")),
        }
    }

    fn comment(&mut self, line: &str, n: usize) {
        let Some(rest) = line.strip_prefix("# Table `") else {
            if line.starts_with("# Warning:") {
                self.diags
                    .push(Diagnostic::at(n, format!("{}: the other variant's rules are not in this text", &line[2..])));
            }
            return;
        };
        let name = rest.split('\'').next().unwrap_or_default();
        if rest.contains("is incompatible") {
            let mut table = Table::new(name);
            table.unreadable = true;
            self.set.tables.push(table);
            self.diags.push(Diagnostic::at(n, format!("iptables cannot read table {name}: it holds native nft rules")));
        } else if rest.contains("incompatible base-chains") {
            self.diags.push(Diagnostic::at(n, format!("table {name} {FOREIGN_CHAINS}")));
        }
    }

    fn begin(&mut self, name: &str, n: usize) {
        if self.open {
            self.diags.push(Diagnostic::at(n, "the table before this line has no COMMIT"));
        }
        if self.set.table(name).is_some() {
            let said = format!("table {name} appears again; its lines are joined to the first, and none is certain");
            self.diags.push(Diagnostic::at(n, said));
            self.twice.push(name.to_owned());
        }
        self.table = Some(self.place(name));
        (self.open, self.closed) = (true, false);
    }

    fn place(&mut self, name: &str) -> usize {
        self.set.tables.iter().position(|t| t.name == name).unwrap_or_else(|| {
            self.set.tables.push(Table::new(name));
            self.set.tables.len() - 1
        })
    }

    /// The current table; text without `*table` (`iptables -S`, a truncated paste) is taken as `filter`.
    fn current(&mut self, n: usize) -> &mut Table {
        let at = self.table.unwrap_or_else(|| {
            self.diags.push(Diagnostic::at(n, NO_TABLE));
            let at = self.place("filter");
            self.table = Some(at);
            at
        });
        &mut self.set.tables[at]
    }

    fn chain_line(&mut self, rest: &str, n: usize) {
        let mut words = rest.split_whitespace();
        let Some(name) = words.next() else {
            self.diags.push(Diagnostic::at(n, "a chain line without a name; left out"));
            return;
        };
        let policy = match words.next() {
            Some("ACCEPT") => Some(Policy::Accept),
            Some("DROP") => Some(Policy::Drop),
            _ => None,
        };
        let counters = words.next().and_then(counters).unwrap_or_default();
        let chain = self.current(n).chain_or_new(name);
        chain.policy = policy;
        chain.counters = counters;
    }

    fn rule_line(&mut self, line: &str, n: usize) {
        let (count, rest) = match line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            Some((inner, rest)) => (counters(inner), rest.trim_start()),
            None => (None, line),
        };
        let mut parts = rest.splitn(3, char::is_whitespace);
        let (command, chain, args) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if chain.is_empty() {
            self.diags.push(Diagnostic::at(n, "a command without a chain; left out"));
            return;
        }
        match command {
            "-A" | "--append" => {
                let mut rule = Rule::new(args);
                (rule.packets, rule.bytes) = count.unwrap_or_default();
                rule.line = u32::try_from(n).unwrap_or(u32::MAX);
                self.current(n).chain_or_new(chain).rules.push(rule);
            }
            "-P" => {
                let policy = if args.starts_with("DROP") { Policy::Drop } else { Policy::Accept };
                self.current(n).chain_or_new(chain).policy = Some(policy);
            }
            "-N" => {
                self.current(n).chain_or_new(chain);
            }
            _ => {
                self.diags
                    .push(Diagnostic::at(n, format!("{command} is not a line that iptables-save prints; left out")));
                // What it would do to the chain is not worked out: the chain is not what stands here.
                if CHANGES.contains(&command) && !chain.starts_with('-') {
                    self.current(n).chain_or_new(chain).partial = true;
                }
            }
        }
    }

    fn finish(mut self) -> (Ruleset, Vec<Diagnostic>) {
        if self.open {
            self.diags.push(Diagnostic::whole("the last table has no COMMIT: the text may be truncated"));
            if let Some(at) = self.table {
                self.set.tables[at].partial = true;
            }
        }
        for table in &mut self.set.tables {
            if self.twice.contains(&table.name) {
                table.chains.iter_mut().for_each(|c| c.partial = true);
            }
            // A built-in chain that is never declared keeps its current policy (iptables-restore(8)).
            let name = table.name.clone();
            for chain in &mut table.chains {
                if chain.policy.is_none() && Table::builtin_chains(&name).contains(&chain.name.as_str()) {
                    chain.policy = Some(Policy::Unknown);
                }
            }
        }
        (self.set, self.diags)
    }
}

/// `[12:345]` or `12:345`.
fn counters(text: &str) -> Option<(u64, u64)> {
    let (p, b) = text.trim_matches(['[', ']']).split_once(':')?;
    Some((p.parse().ok()?, b.parse().ok()?))
}

/// Writes a ruleset as `iptables-save` prints it, without the comment lines; `with_counters` is its `-c`.
pub fn write(set: &Ruleset, with_counters: bool) -> String {
    let mut out = String::new();
    for table in set.tables.iter().filter(|t| !t.unreadable) {
        let _ = writeln!(out, "*{}", table.name);
        for chain in &table.chains {
            let _ = writeln!(out, ":{} {} [{}:{}]", chain.name, policy_word(chain), chain.counters.0, chain.counters.1);
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                if with_counters {
                    let _ = write!(out, "[{}:{}] ", rule.packets, rule.bytes);
                }
                let _ = writeln!(out, "{}", rule.line_in(&chain.name));
            }
        }
        out.push_str("COMMIT\n");
    }
    out
}

/// `-` keeps the current policy of a built-in chain (iptables-restore(8)).
fn policy_word(chain: &Chain) -> &'static str {
    match chain.policy {
        Some(Policy::Accept) => "ACCEPT",
        Some(Policy::Drop) => "DROP",
        Some(Policy::Unknown) | None => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [1:2]\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A FORWARD -o docker0 -j DOCKER\n-A DOCKER -d 172.17.0.2/32 -p tcp -m tcp --dport 9042 -j ACCEPT\nCOMMIT\n";

    #[test]
    fn what_is_read_is_written_back() {
        let (set, diags) = read(DOCKER, Family::V4);
        assert_eq!(diags, []);
        assert_eq!(write(&set, false), DOCKER);
    }

    #[test]
    fn counters_are_kept() {
        let text = "*filter\n:INPUT ACCEPT [5:6]\n[158668730506:104398930941050] -A INPUT -j DROP\nCOMMIT\n";
        let (set, _) = read(text, Family::V4);
        assert_eq!(set.chain("filter", "INPUT").unwrap().rules[0].bytes, 104_398_930_941_050);
        assert_eq!(write(&set, true), text);
    }

    #[test]
    fn no_line_vanishes() {
        let (set, diags) = read("$ iptables -S\n-P INPUT DROP\n-A INPUT -j ACCEPT\n-Z what\n", Family::V4);
        assert_eq!(set.chain("filter", "INPUT").unwrap().policy, Some(Policy::Drop));
        assert_eq!(diags.iter().map(|d| d.line).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn lines_after_commit_belong_to_no_table() {
        let (set, diags) = read(
            "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n-A INPUT -j DROP\n*nat\n-A PREROUTING -j ACCEPT\nCOMMIT\n\
            :X - [0:0]\n",
            Family::V4,
        );
        assert!(set.chain("filter", "INPUT").is_some_and(|c| c.rules.is_empty()) && set.chain("nat", "X").is_none());
        assert_eq!(set.chain("nat", "PREROUTING").map(|c| c.rules.len()), Some(1));
        assert_eq!(diags.iter().filter(|d| d.message.contains("after COMMIT")).count(), 2, "{diags:?}");
    }

    #[test]
    fn only_a_table_of_iptables_begins_one() {
        for heading in ["**Manager 1**", "*** the firewall ***", "* what it does", "*Note"] {
            let (set, diags) = read(&format!("{heading}\n-P INPUT DROP\n"), Family::V4);
            assert_eq!(set.tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["filter"], "{heading}");
            assert!(diags.iter().any(|d| d.line == 1), "{heading}: {diags:?}");
        }
    }

    #[test]
    fn what_changes_a_chain_makes_it_uncertain() {
        let (set, _) = read("*filter\n:INPUT ACCEPT [0:0]\n-I INPUT 1 -j DROP\nCOMMIT\n", Family::V4);
        assert!(set.chain("filter", "INPUT").is_some_and(|c| c.partial));
        let (set, diags) = read("*filter\n:INPUT ACCEPT\nCOMMIT\n*filter\n:INPUT DROP\nCOMMIT\n", Family::V4);
        assert!(set.chain("filter", "INPUT").is_some_and(|c| c.partial), "{diags:?}");
    }

    #[test]
    fn a_cut_text_is_partial_and_a_missing_policy_unknown() {
        let (set, diags) = read("*filter\n-A INPUT -p tcp --dport 8", Family::V4);
        assert!(set.tables[0].partial);
        assert_eq!(set.chain("filter", "INPUT").unwrap().policy, Some(Policy::Unknown));
        assert_eq!(diags.len(), 1);
    }
}
