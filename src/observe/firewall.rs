//! The loaded rules, read without loading a table that is not there.

use std::time::Duration;

use crate::host::{Cmd, Tools};
use crate::model::{Backend, Diagnostic, Family, Ruleset};
use crate::syntax::{iptables_save, nft};

/// How long a reading of a large ruleset may take.
pub const READING: Duration = Duration::from_secs(20);

/// Bytes of a listing up to which each rule is looked at by `nft` as well; that takes longer than the reading itself.
const LISTED_TWICE: usize = 1 << 20;

/// `iptables v1.8.9 (nf_tables)` and what it talks to; the words in brackets came with 1.8.0.
pub fn version(host: &dyn Tools) -> (Option<String>, Option<Backend>) {
    let Ok(out) = host.run(&Cmd::new("iptables", &["--version"])) else { return (None, None) };
    let text = out.text().trim().to_owned();
    let backend = if text.contains("nf_tables") { Backend::Nft } else { Backend::Legacy };
    (Some(text), Some(backend))
}

/// The rules of one family as loaded, as text (byte for byte) and as a value.
///
/// Plain `iptables-save` prints nothing on an untouched nft host, so that `filter` is asked for by name as well; on
/// legacy that would load the table, so that it is only done for a table that is going to change (`to_change`).
pub fn rules(
    host: &dyn Tools,
    family: Family,
    backend: Option<Backend>,
    to_change: bool,
) -> Result<(String, Ruleset, Vec<Diagnostic>), String> {
    rules_within(host, family, backend, to_change, READING)
}

/// The same in a time of the caller's.
pub fn rules_within(
    host: &dyn Tools,
    family: Family,
    backend: Option<Backend>,
    to_change: bool,
    limit: Duration,
) -> Result<(String, Ruleset, Vec<Diagnostic>), String> {
    let save = family.tool("-save");
    let ask = |args: &[&str]| -> Result<String, String> {
        let out = host.run(&Cmd::new(&save, args).within(limit)).map_err(|e| e.to_string())?;
        if out.status != 0 {
            return Err(format!("{save} failed: {}", out.complaint()));
        }
        Ok(out.text())
    };
    let mut text = ask(&["-c"])?;
    let (set, _) = iptables_save::read(&text, family);
    if set.table("filter").is_none() && (to_change || backend == Some(Backend::Nft)) {
        text.push_str(&ask(&["-c", "-t", "filter"])?);
    }
    let (set, diags) = iptables_save::read(&text, family);
    if set.table("filter").is_none() && (to_change || backend == Some(Backend::Nft)) {
        // A table that is named is printed, also when nobody has touched it: this is no answer, not even "no rules".
        return Err(format!("{save} did not print the filter table"));
    }
    let diags = diags.into_iter().map(|d| d.in_file(&save)).collect();
    Ok((text, set, diags))
}

/// The rules of one family as loaded; tables that iptables prints wrong, without a word, count as unreadable as well.
pub fn rules_checked(
    host: &dyn Tools,
    family: Family,
    backend: Option<Backend>,
    to_change: bool,
) -> Result<(String, Ruleset, Vec<Diagnostic>), String> {
    let (text, mut set, mut diags) = rules(host, family, backend, to_change)?;
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

/// Whether a table has native rules that iptables-nft takes for others of its own. Where there is no `nft`, nobody has
/// put them there by hand.
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
