//! The loaded rules, read without loading a table that is not there.

use std::time::Duration;

use crate::host::{Cmd, Tools};
use crate::model::{Backend, Diagnostic, Family, Ruleset};
use crate::syntax::iptables_save;

/// How long a reading of a large ruleset may take.
const READING: Duration = Duration::from_secs(20);

/// The save and restore tools of a family.
pub fn tool(family: Family, what: &str) -> String {
    match family {
        Family::V4 => format!("iptables{what}"),
        Family::V6 => format!("ip6tables{what}"),
    }
}

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
pub fn rules(host: &dyn Tools, family: Family, backend: Option<Backend>, to_change: bool) -> Result<(String, Ruleset, Vec<Diagnostic>), String> {
    let save = tool(family, "-save");
    let ask = |args: &[&str]| -> Result<String, String> {
        let out = host.run(&Cmd::new(&save, args).within(READING)).map_err(|e| e.to_string())?;
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
    let diags = diags.into_iter().map(|d| d.in_file(&save)).collect();
    Ok((text, set, diags))
}
