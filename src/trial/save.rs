//! The rules that boot loads: written only when nothing is on trial, whole or not at all, with the old file beside.

use std::path::PathBuf;

use similar::TextDiff;

use super::kernel;
use super::refusal::Refusal;
use super::status::status;
use crate::analyse::{Manager, owner, rule_owner};
use crate::host::Host;
use crate::model::{Family, Ruleset};
use crate::observe::{firewall, live};
use crate::syntax::iptables_save;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything that is loaded.
    All,
    /// Everything but what managers make anew themselves; DOCKER-USER and our own chains stay.
    Unmanaged,
}

/// One file that a save would write.
#[derive(Clone, Debug)]
pub struct File {
    /// Family.
    pub family: Family,
    /// Where.
    pub path: PathBuf,
    /// What it will hold.
    pub text: String,
    /// Unified difference to what it holds now; empty when there is none.
    pub diff: String,
}

/// What a save would write, and how boot comes to load it.
#[derive(Clone, Debug)]
pub struct Preview {
    /// One file per family.
    pub files: Vec<File>,
    /// Who loads the files at boot, or how to make it so.
    pub boot: String,
}

/// Shows what a save would write. Nothing is written.
pub fn preview(host: &dyn Host, mode: Mode) -> Result<Preview, Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root());
    }
    let now = status(host);
    if now.trial.as_ref().is_some_and(|t| t.state.is_pending()) {
        return Err(Refusal::refused("pending", "a trial is pending; only what was kept is saved", "`portcullis keep` or `portcullis revert` ends the trial"));
    }
    let mut files = Vec::new();
    for (family, path) in Family::BOTH.into_iter().zip(&host.paths().rules) {
        if family == Family::V6 && !live::has_ipv6(host) {
            continue;
        }
        let (_, mut set, _) = firewall::rules(host, family, None, true)
            .map_err(|e| Refusal::failed("unreadable", format!("the {} rules could not be read: {e}", family.label()), "nothing was written"))?;
        if set.tables.iter().any(|t| t.unreadable) {
            return Err(Refusal::refused("unreadable", format!("iptables cannot read a {} table whole, so the file would lack rules", family.label()), "see `nft list ruleset`; nothing was written"));
        }
        if mode == Mode::Unmanaged {
            leave_managed_out(&mut set);
        }
        let text = iptables_save::write(&set, false);
        let old = host.read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        let header = path.display().to_string();
        let diff = if old == text { String::new() } else { TextDiff::from_lines(old.as_str(), text.as_str()).unified_diff().context_radius(2).header(&header, &format!("{header} after saving")).to_string() };
        files.push(File { family, path: path.clone(), text, diff });
    }
    Ok(Preview { files, boot: boot(host) })
}

/// Writes the files; each old one is kept beside as `.before-portcullis`. Says what was done.
pub fn save(host: &dyn Host, preview: &Preview) -> Result<Vec<String>, Refusal> {
    let failed = |e: String| Refusal::failed("save", e, "the old file is as it was; check the disk and the directory");
    let mut done = Vec::new();
    for f in preview.files.iter().filter(|f| !f.diff.is_empty()) {
        // A file that cannot be loaded would leave the host without a firewall at boot.
        kernel::test(host, f.family, &f.text).map_err(&failed)?;
        if let Some(dir) = f.path.parent().filter(|d| host.read(d).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)) {
            host.make_dir(dir).map_err(|e| failed(format!("{} could not be made: {e}", dir.display())))?;
        }
        if let Ok(old) = host.read(&f.path) {
            let mut beside = f.path.clone().into_os_string();
            beside.push(".before-portcullis");
            host.write(&PathBuf::from(beside), &old, 0o600).map_err(|e| failed(format!("the old {} could not be kept: {e}", f.path.display())))?;
        }
        host.write(&f.path, f.text.as_bytes(), 0o640).map_err(|e| failed(format!("{} could not be written: {e}", f.path.display())))?;
        done.push(format!("wrote {}", f.path.display()));
    }
    if done.is_empty() {
        done.push("the files hold exactly this already".to_owned());
    }
    Ok(done)
}

fn leave_managed_out(set: &mut Ruleset) {
    let rebuilt = |m: Option<Manager>| m.is_some_and(|m| m != Manager::Portcullis);
    for table in &mut set.tables {
        let managed: Vec<String> = table.chains.iter()
            .filter(|c| c.policy.is_none() && c.name != "DOCKER-USER" && rebuilt(owner(&c.name)))
            .map(|c| c.name.clone()).collect();
        for chain in &mut table.chains {
            let own = chain.name.clone();
            chain.rules.retain(|r| {
                let jump = managed.iter().any(|m| r.text.split_whitespace().any(|w| w == m));
                own == "DOCKER-USER" || !(jump || (chain.policy.is_some() && rebuilt(rule_owner(&own, r)) && !r.text.contains("DOCKER-USER")))
            });
        }
        for chain in managed {
            table.remove(&chain);
        }
    }
}

/// Who loads the files at boot.
fn boot(host: &dyn Host) -> String {
    let there = |p: &str| host.read(std::path::Path::new(p)).is_ok();
    if there("/usr/share/netfilter-persistent/plugins.d/15-ip4tables") {
        "netfilter-persistent loads these files at boot; reloading them by hand later (`netfilter-persistent reload`) wipes Docker's chains".to_owned()
    } else {
        "nothing loads these files at boot: install iptables-persistent (Debian), or a unit that runs iptables-restore before the network; \
         reloading them by hand later wipes Docker's chains".to_owned()
    }
}
