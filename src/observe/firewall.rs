//! Reads the loaded rules without loading a table that is not there.

use std::time::Duration;

use crate::host::{Cmd, Tools};
use crate::model::{Backend, Diagnostic, Family, Ruleset, Table};
use crate::syntax::{iptables_save, nft};

/// Time limit for reading a large ruleset.
pub const READING: Duration = Duration::from_secs(20);

/// Time limit of the first look, when the size of the ruleset is not known yet and nobody waits for it to end.
pub const FIRST_READING: Duration = Duration::from_mins(2);

/// Time limit for reading this many bytes: 25 times what an idle machine takes.
pub fn reading_of(bytes: usize) -> Duration {
    READING + Duration::from_micros(u64::try_from(bytes).unwrap_or(u64::MAX / 2) * 2)
}

/// Listings up to this many bytes are also compared with `nft`, rule by rule; that takes longer than reading them.
const LISTED_TWICE: usize = 1 << 20;

/// Reads `iptables v1.8.9 (nf_tables)` and the variant; the words in brackets exist since 1.8.0.
pub fn version(host: &dyn Tools) -> (Option<String>, Option<Backend>) {
    let Ok(out) = host.run(&Cmd::new("iptables", &["--version"])) else { return (None, None) };
    let text = out.text().trim().to_owned();
    let backend = if text.contains("nf_tables") { Backend::Nft } else { Backend::Legacy };
    (Some(text), Some(backend))
}

/// The rules of one family as loaded, as text (byte for byte) and as a value.
///
/// Plain `iptables-save` prints nothing on an untouched nft host, so `filter` is also requested by name; with legacy
/// that would load the table, so it is only done for a table that is going to change (`to_change`).
pub fn rules(
    host: &dyn Tools,
    family: Family,
    backend: Option<Backend>,
    to_change: bool,
) -> Result<(String, Ruleset, Vec<Diagnostic>), String> {
    rules_within(host, family, backend, to_change, READING)
}

/// The same, within a time limit.
pub fn rules_within(
    host: &dyn Tools,
    family: Family,
    backend: Option<Backend>,
    to_change: bool,
    limit: Duration,
) -> Result<(String, Ruleset, Vec<Diagnostic>), String> {
    let text = text_within(host, family, backend, to_change, limit)?;
    let (set, diags) = iptables_save::read(&text, family);
    let diags = diags.into_iter().map(|d| d.in_file(&family.tool("-save"))).collect();
    Ok((text, set, diags))
}

/// The same, as text only.
pub fn text_within(
    host: &dyn Tools,
    family: Family,
    backend: Option<Backend>,
    to_change: bool,
    limit: Duration,
) -> Result<String, String> {
    let save = family.tool("-save");
    let ask = |args: &[&str]| -> Result<String, String> {
        let out = host.run(&Cmd::new(&save, args).within(limit)).map_err(|e| e.to_string())?;
        if out.status != 0 {
            return Err(format!("{save} failed: {}", out.complaint()));
        }
        Ok(out.text())
    };
    let mut text = ask(&["-c"])?;
    if !shows_filter(&text) && (to_change || backend == Some(Backend::Nft)) {
        let nft = backend.map_or_else(|| version(host).1 == Some(Backend::Nft), |b| b == Backend::Nft);
        match untouched(host, family).filter(|_| nft) {
            Some(filter) => text.push_str(&filter),
            None => text.push_str(&ask(&["-c", "-t", "filter"])?),
        }
        if !shows_filter(&text) {
            // A table requested by name is printed even if nobody has touched it: this output is no answer, not even
            // "no rules".
            return Err(format!("{save} did not print the filter table"));
        }
    }
    Ok(text)
}

/// Whether a listing shows the filter table, or says that it cannot be read.
fn shows_filter(text: &str) -> bool {
    text.lines().any(|l| l == "*filter" || l.starts_with("# Table `filter' is incompatible"))
}

/// A filter table that nobody has touched, as iptables-nft would print it by name. Requesting it by name would read all
/// the other tables again; asking for its built-in chains costs nothing.
fn untouched(host: &dyn Tools, family: Family) -> Option<String> {
    let mut text = String::from("*filter\n");
    for chain in Table::builtin_chains("filter") {
        let out = host.nft_chain(family, chain, READING).ok().filter(|o| o.status == 0)?;
        if out.text() != format!("-P {chain} ACCEPT\n") {
            return None;
        }
        text.push_str(&format!(":{chain} ACCEPT [0:0]\n"));
    }
    Some(text + "COMMIT\n")
}

/// Whether two listings have the same lines in the same order, ignoring counters and comments.
pub fn same_lines(a: &str, b: &str) -> bool {
    lines(a).eq(lines(b))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|l| !l.starts_with('#')).map(|l| match l.strip_prefix('[') {
        Some(counted) => counted.split_once("] ").map_or(l, |(_, rule)| rule),
        None if l.starts_with(':') => l.rsplit_once(" [").map_or(l, |(chain, _)| chain),
        None => l,
    })
}

/// The loaded rules of one family; tables that iptables silently prints wrong also count as unreadable.
pub fn rules_checked(
    host: &dyn Tools,
    family: Family,
    backend: Option<Backend>,
    to_change: bool,
) -> Result<(String, Ruleset, Vec<Diagnostic>), String> {
    let (text, mut set, mut diags) = rules_within(host, family, backend, to_change, FIRST_READING)?;
    if backend == Some(Backend::Nft) {
        for table in set.tables.iter_mut().filter(|t| !t.unreadable && misprinted(host, family, &t.name, text.len())) {
            table.unreadable = true;
            let said = format!(
                "table {} cannot be read by iptables; it holds native nft rules that are printed as others",
                table.name
            );
            diags.push(Diagnostic::whole(said).in_file(&family.tool("-save")));
        }
    }
    Ok((text, set, diags))
}

/// Whether a table has native rules that iptables-nft prints as different rules of its own. Without `nft` nobody has
/// added such rules by hand.
fn misprinted(host: &dyn Tools, family: Family, table: &str, size: usize) -> bool {
    let nft_family = match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let ask = |args: &[&str]| {
        host.run(&Cmd::new("nft", &[args, &["table", nft_family, table]].concat()).within(READING))
            .ok()
            .filter(|o| o.status == 0)
    };
    ask(&["--debug=netlink", "list", "sets"]).is_some_and(|o| nft::has_sets(nft_family, table, &o.text()))
        || size < LISTED_TWICE && ask(&["-j", "list"]).is_some_and(|o| nft::is_misread(&o.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_comments_make_no_other_listing() {
        let a = "# Generated today\n*filter\n:INPUT ACCEPT [1:2]\n:x - [0:0]\n[3:4] -A INPUT -j x\nCOMMIT\n";
        let b = "# Generated now\n*filter\n:INPUT ACCEPT [9:9]\n:x - [0:0]\n[0:0] -A INPUT -j x\nCOMMIT\n# Done\n";
        assert!(same_lines(a, b));
        for (from, to) in [(":INPUT ACCEPT", ":INPUT DROP"), ("-j x", "-j y"), (":x - [0:0]\n", "")] {
            assert!(!same_lines(a, &b.replace(from, to)), "{from}");
        }
        let comment = "[1:1] -A INPUT -m comment --comment \"[2:2] a\" -j x";
        assert!(same_lines(comment, &comment.replace("[1:1]", "[7:7]")));
        assert!(!same_lines(comment, &comment.replace("[2:2]", "[7:7]")));
    }
}
