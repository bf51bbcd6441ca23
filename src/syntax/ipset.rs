//! `ipset save` (ipset(8)): sets and their entries.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::model::{Diagnostic, Family, IpSet};

/// Reads the sets in order. An entry keeps all words after the set's name.
pub fn read(text: &str) -> (Vec<IpSet>, Vec<Diagnostic>) {
    let (mut sets, mut diags): (Vec<IpSet>, _) = (Vec::new(), Vec::new());
    let mut at: HashMap<String, usize> = HashMap::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        let mut words = line.splitn(3, char::is_whitespace);
        let (command, name, rest) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default().trim(),
        );
        match command {
            "" => {}
            c if c.starts_with('#') => {}
            "create" | "-N" if !rest.is_empty() => {
                at.insert(name.to_owned(), sets.len());
                sets.push(create(name, rest));
            }
            "add" | "-A" if !rest.is_empty() => {
                let index = *at.entry(name.to_owned()).or_insert_with(|| {
                    diags.push(Diagnostic::at(
                        n + 1,
                        format!("set {name} is filled but not created in this text; its type is not known"),
                    ));
                    sets.push(create(name, ""));
                    sets.len() - 1
                });
                if let Some(set) = sets.get_mut(index) {
                    set.entries.push(rest.to_owned());
                }
            }
            _ => diags.push(Diagnostic::at(n + 1, format!("not a line of ipset save; left out: {line}"))),
        }
    }
    (sets, diags)
}

fn create(name: &str, rest: &str) -> IpSet {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let kind = words.first().copied().unwrap_or_default().to_owned();
    let family = words.iter().position(|w| *w == "family").and_then(|i| words.get(i + 1)).and_then(|f| match *f {
        "inet" => Some(Family::V4),
        "inet6" => Some(Family::V6),
        _ => None,
    });
    // IPv4 unless stated otherwise; bitmap types never state a family (ipset(8)).
    let addresses = kind.starts_with("bitmap:ip") || kind.starts_with("hash:");
    let family = family.or_else(|| addresses.then_some(Family::V4));
    IpSet {
        name: name.to_owned(),
        kind,
        family,
        options: words.get(1..).unwrap_or_default().join(" "),
        entries: Vec::new(),
    }
}

/// Writes sets in the form that `read` accepts.
pub fn write(sets: &[IpSet]) -> String {
    let mut out = String::new();
    for set in sets {
        let _ = writeln!(out, "create {} {} {}", set.name, set.kind, set.options);
        for entry in &set.entries {
            let _ = writeln!(out, "add {} {entry}", set.name);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_entries() {
        let text = "create blocked hash:net family inet hashsize 1024 maxelem 65536\nadd blocked 192.0.2.0/24\nadd \
            blocked 198.51.100.7 timeout 60\n\
            create six hash:ip family inet6\ncreate ports bitmap:port range 0-1024\n";
        let (sets, diags) = read(text);
        assert_eq!(diags, []);
        assert_eq!(sets[0].entries, ["192.0.2.0/24", "198.51.100.7 timeout 60"]);
        assert_eq!(sets.iter().map(|s| s.family).collect::<Vec<_>>(), [Some(Family::V4), Some(Family::V6), None]);
        assert_eq!(read(&write(&sets)).0, sets);
    }

    #[test]
    fn an_entry_of_an_unknown_set_is_kept_and_reported() {
        let (sets, diags) = read("add x 10.0.0.1\nwhat\n");
        assert_eq!(sets[0].entries, ["10.0.0.1"]);
        assert_eq!(diags.len(), 2);
    }
}
