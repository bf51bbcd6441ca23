//! `ipset save` (ipset(8)).

use crate::model::{Diagnostic, Family, IpSet};

/// Reads `create NAME TYPE ...` and `add NAME ENTRY ...` lines.
pub fn read(text: &str) -> (Vec<IpSet>, Vec<Diagnostic>) {
    let (mut sets, mut diags) = (Vec::<IpSet>::new(), Vec::new());
    for (i, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let (verb, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let rest: Vec<&str> = words.collect();
        match (verb, rest.first()) {
            ("" | "#", _) => {}
            ("create", Some(kind)) => {
                let family = rest.iter().position(|w| *w == "family").and_then(|at| rest.get(at + 1)).copied();
                let family = match (*kind, family) {
                    ("list:set", _) => None,
                    (_, Some("inet6")) => Some(Family::V6),
                    _ => Some(Family::V4),
                };
                sets.push(IpSet { name: name.to_owned(), kind: (*kind).to_owned(), family, entries: Vec::new() });
            }
            ("add", Some(_)) => match sets.iter_mut().rev().find(|s| s.name == name) {
                Some(set) => set.entries.push(rest.join(" ")),
                None => diags.push(Diagnostic::at(i + 1, format!("an entry of a set that was not created before: {name}"))),
            },
            _ if line.trim_start().starts_with('#') => {}
            _ => diags.push(Diagnostic::at(i + 1, format!("not a line of ipset save: {}", line.trim()))),
        }
    }
    (sets, diags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_entries() {
        let (s, d) = read("create nodes hash:net family inet hashsize 1024 maxelem 65536\nadd nodes 192.0.2.0/24 nomatch\ncreate all list:set size 8\nadd all nodes\nadd gone 1.2.3.4\n");
        assert_eq!((s.len(), s[0].family, s[1].family, s[0].entries[0].as_str()), (2, Some(Family::V4), None, "192.0.2.0/24 nomatch"));
        assert_eq!(d.len(), 1);
    }
}
