//! What `iptables-restore --noflush` does to a ruleset (iptables-restore(8)): one transaction per table.

use super::spec::is_extension;
use super::{Chain, Family, Policy, Rule, Ruleset, Table, Target};

/// Why a table of a restore script was refused; that table is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ApplyError {
    /// Line of the script, counted from 1.
    pub line: usize,
    /// A short form of iptables' own message.
    pub message: String,
}

impl Ruleset {
    /// Applies a restore script as `iptables-restore --noflush` would. The script ends at the first bad line: its table
    /// stays unchanged, and tables committed before it stay committed, as in the kernel.
    pub fn apply(&mut self, script: &str) -> Result<(), ApplyError> {
        let mut draft: Option<Table> = None;
        for (i, line) in script.lines().enumerate() {
            let line = line.trim();
            let fail = |message: String| ApplyError { line: i + 1, message };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('*') {
                if Table::builtin_chains(name).is_empty() {
                    return Err(fail(format!("unknown table {name}")));
                }
                draft = Some(self.table(name).cloned().unwrap_or_else(|| Table::pristine(name)));
                continue;
            }
            let Some(table) = draft.as_mut() else { return Err(fail("no *table before this line".into())) };
            if line == "COMMIT" {
                check_jumps(table).map_err(fail)?;
                if let Some(done) = draft.take() {
                    let name = done.name.clone();
                    *self.table_or_new(&name) = done;
                }
                continue;
            }
            command(table, line).map_err(fail)?;
        }
        Ok(())
    }
}

fn command(table: &mut Table, line: &str) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix(':') {
        return declare(table, rest);
    }
    let mut parts = line.splitn(3, ' ');
    let (command, chain, args) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default().trim());
    let missing = || format!("no chain {chain}");
    match command {
        "-N" if table.chain(chain).is_some() => Err(format!("chain {chain} exists")),
        "-N" => {
            table.add(Chain::user(chain));
            Ok(())
        }
        "-E" if table.chain(args).is_some() => Err(format!("chain {args} exists")),
        "-E" if !table.rename(chain, args) => Err(missing()),
        "-E" => Ok(()),
        "-X" => delete_chain(table, chain),
        "-F" => {
            table.chain_mut(chain).ok_or_else(missing)?.rules.clear();
            Ok(())
        }
        "-A" => {
            table.chain_mut(chain).ok_or_else(missing)?.rules.push(Rule::new(args));
            Ok(())
        }
        "-I" => {
            let (at, text) = match args.split_once(' ') {
                Some((n, rest)) if n.parse::<usize>().is_ok() => (n.parse().unwrap_or(1), rest),
                _ => (1, args),
            };
            let rules = &mut table.chain_mut(chain).ok_or_else(missing)?.rules;
            if at == 0 || at > rules.len() + 1 {
                return Err(format!("index {at} is out of range in {chain}"));
            }
            rules.insert(at - 1, Rule::new(text));
            Ok(())
        }
        "-D" => {
            let rules = &mut table.chain_mut(chain).ok_or_else(missing)?.rules;
            let at = rules.iter().position(|r| *r.text == *args).ok_or_else(|| format!("no such rule in {chain}"))?;
            rules.remove(at);
            Ok(())
        }
        _ => Err(format!("{command} is not a command of a restore script")),
    }
}

/// `:CHAIN POLICY [counters]`: sets a policy; creates a user-defined chain or flushes it.
fn declare(table: &mut Table, rest: &str) -> Result<(), String> {
    let mut words = rest.split_whitespace();
    let name = words.next().ok_or("a chain without a name")?;
    // 28 characters are accepted, 29 refused (XT_EXTENSION_MAXNAMELEN minus the terminator).
    if name.len() > 28 {
        return Err(format!("chain name {name} is longer than 28 characters"));
    }
    let policy = match words.next() {
        Some("ACCEPT") => Some(Policy::Accept),
        Some("DROP") => Some(Policy::Drop),
        _ => None,
    };
    match table.chain_mut(name) {
        Some(chain) if chain.policy.is_some() => chain.policy = policy.or(chain.policy),
        Some(chain) => chain.rules.clear(),
        None => {
            table.add(Chain::user(name));
        }
    }
    Ok(())
}

fn delete_chain(table: &mut Table, name: &str) -> Result<(), String> {
    let chain = table.chain(name).ok_or_else(|| format!("no chain {name}"))?;
    if chain.policy.is_some() {
        return Err(format!("{name} is a built-in chain"));
    }
    if !chain.rules.is_empty() {
        return Err(format!("chain {name} is not empty"));
    }
    if let Some(user) = table.chains.iter().find(|c| c.rules.iter().any(|r| jumps_to(r).as_deref() == Some(name))) {
        return Err(format!("chain {name} is still referenced by {}", user.name));
    }
    table.remove(name);
    Ok(())
}

/// The chain or target that a rule jumps to.
fn jumps_to(rule: &Rule) -> Option<String> {
    // The family only affects addresses, which do not matter here.
    match rule.spec(Family::V4).target {
        Target::Jump(name, _) | Target::Goto(name) => Some(name),
        _ => None,
    }
}

/// The kernel refuses a jump to a chain that does not exist (`--test` with the nft variant does not notice).
fn check_jumps(table: &Table) -> Result<(), String> {
    for chain in &table.chains {
        for name in chain.rules.iter().filter_map(jumps_to) {
            if table.chain(&name).is_none() && !is_extension(&name) {
                return Err(format!("{} jumps to {name}, which does not exist", chain.name));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(set: &Ruleset, chain: &str) -> Vec<String> {
        set.chain("filter", chain).map(|c| c.rules.iter().map(|r| r.text.to_string()).collect()).unwrap_or_default()
    }

    #[test]
    fn a_bad_line_leaves_the_table_as_it_was() {
        let mut set = Ruleset::new(Family::V4);
        set.apply("*filter\n-A INPUT -j ACCEPT\nCOMMIT\n").unwrap();
        let before = set.clone();
        let err = set.apply("*filter\n-A INPUT -j DROP\n-D INPUT -j NOPE\nCOMMIT\n").unwrap_err();
        assert_eq!(err.line, 3);
        assert_eq!(set, before);
    }

    #[test]
    fn declaring_a_chain_empties_it_and_keeps_built_in_rules() {
        let mut set = Ruleset::new(Family::V4);
        set.apply("*filter\n:P - [0:0]\n-A P -j DROP\n-I INPUT 1 -j P\nCOMMIT\n").unwrap();
        set.apply("*filter\n:P - [0:0]\n:INPUT DROP [0:0]\nCOMMIT\n").unwrap();
        assert_eq!(texts(&set, "P"), [""; 0]);
        assert_eq!(texts(&set, "INPUT"), ["-j P"]);
        assert_eq!(set.chain("filter", "INPUT").unwrap().policy, Some(Policy::Drop));
    }

    #[test]
    fn a_jump_to_nowhere_is_refused() {
        let mut set = Ruleset::new(Family::V4);
        assert!(set.apply("*filter\n-A INPUT -j NOWHERE\nCOMMIT\n").is_err());
        assert_eq!(set, Ruleset::new(Family::V4));
        set.apply("*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 22\nCOMMIT\n").unwrap();
    }

    #[test]
    fn a_referenced_chain_is_not_deleted() {
        let mut set = Ruleset::new(Family::V4);
        set.apply("*filter\n:P - [0:0]\n-A INPUT -j P\nCOMMIT\n").unwrap();
        assert!(set.apply("*filter\n-X P\nCOMMIT\n").is_err());
        set.apply("*filter\n-D INPUT -j P\n-X P\nCOMMIT\n").unwrap();
        assert!(set.chain("filter", "P").is_none());
    }
}
