//! The only place that changes the firewall: one `iptables-restore --noflush` per family, with a bounded wait for the
//! lock, and a fresh reading afterwards.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use crate::host::{Cmd, ToolError, Tools};
use crate::model::{Backend, Family, Ruleset};
use crate::observe::{firewall, ours};
use crate::plan::{FamilyChange, named};

/// How many seconds a restore waits for the xtables lock. Without a number `iptables-legacy-restore -w` waits for ever.
const LOCK_WAIT: u32 = 5;

/// What the tools of iptables-legacy call their lock when they do not get it.
const XTABLES_LOCK: &str = "xtables lock";

/// And what they print if they cannot even open its file, e.g. because `/run` is read-only.
const NO_LOCK_FILE: &str = "can't open lock file";

/// That file; iptables-nft has none.
const XTABLES_LOCK_FILE: &str = "/run/xtables.lock";

/// The mark of tools that put old rules back: a guard ends only those that put a plan in.
pub fn back_mark(id: &str) -> String {
    format!("{id}:back")
}

/// Why a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The xtables lock was held all the time: nothing was changed.
    #[error("{0}")]
    Locked(String),
    /// The tool refused: nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// It did not answer in time or was killed: it may have changed everything before that.
    #[error("{0}")]
    Unknown(String),
}

impl From<Failed> for String {
    /// One sentence.
    fn from(failed: Failed) -> Self {
        failed.to_string()
    }
}

/// Runs one of our restore scripts for a family.
pub fn restore(host: &dyn Tools, mark: &str, family: Family, script: &str) -> Result<(), Failed> {
    restore_waiting(host, mark, family, script, LOCK_WAIT)
}

/// The same, waiting this many seconds for the xtables lock.
pub fn restore_waiting(host: &dyn Tools, mark: &str, family: Family, script: &str, seconds: u32) -> Result<(), Failed> {
    run(host, mark, family, &["--noflush", "-w", &seconds.to_string()], script)
}

/// Replaces the tables named in a script completely, including other people's rules: only as a last resort.
pub fn replace_tables(host: &dyn Tools, mark: &str, family: Family, script: &str) -> Result<(), Failed> {
    run(host, mark, family, &["-c", "-w", &LOCK_WAIT.to_string()], script)
}

fn run(host: &dyn Tools, mark: &str, family: Family, args: &[&str], script: &str) -> Result<(), Failed> {
    let tool = family.tool("-restore");
    let cmd = Cmd::new(&tool, args).input(script).within(Duration::from_secs(20)).with_env("PORTCULLIS_TRIAL", mark);
    let ask = |cmd: &Cmd| {
        host.run(cmd).map_err(|e| match e {
            ToolError::Missing { .. } => Failed::Refused(e.to_string()),
            ToolError::TimedOut { .. } | ToolError::Broken { .. } => Failed::Unknown(e.to_string()),
        })
    };
    let mut out = ask(&cmd)?;
    if out.status != 0 && out.says(NO_LOCK_FILE) {
        // Nobody can hold a lock that nobody can open.
        out = ask(&cmd.with_env("XTABLES_LOCKFILE", "/dev/null"))?;
    }
    match out.status {
        0 => Ok(()),
        // 128 + the signal that ended it.
        129.. => Err(Failed::Unknown(format!("{tool} was ended by signal {}", out.status - 128))),
        _ if out.says(XTABLES_LOCK) => Err(Failed::Locked(format!("{} holds the {XTABLES_LOCK}", lock_holder(host)))),
        _ => Err(Failed::Refused(format!("{tool} refused: {}", out.complaint()))),
    }
}

fn lock_holder(host: &dyn Tools) -> String {
    host.lock_holders(Path::new(XTABLES_LOCK_FILE)).first().map_or_else(|| "somebody".to_owned(), ToString::to_string)
}

/// A fresh reading of one family's rules.
pub fn read(host: &dyn Tools, family: Family, backend: Option<Backend>) -> Result<Ruleset, String> {
    firewall::rules(host, family, backend, true).map(|(_, set, _)| set)
}

/// The same within a time limit.
pub fn read_within(host: &dyn Tools, family: Family, limit: Duration) -> Result<Ruleset, String> {
    firewall::rules_within(host, family, None, true, limit).map(|(_, set, _)| set)
}

/// Our chains and the jumps to them if these alone are as they should be (`fits`); otherwise everything that is loaded,
/// within the time limit. However many rules others have, this is cheap as long as nothing is wrong.
pub fn read_ours(
    host: &dyn Tools,
    family: Family,
    limit: Duration,
    fits: impl Fn(&Ruleset) -> bool,
) -> Result<Ruleset, String> {
    ours::read(host, family, limit).filter(fits).map_or_else(|| read_within(host, family, limit), Ok)
}

/// Whether our chains alone show this change with all its jumps, under their own names: then a refill leaves nothing of
/// ours under another name.
pub fn is_undisturbed(host: &dyn Tools, change: &FamilyChange, limit: Duration) -> bool {
    ours::read(host, change.family(), limit).is_some_and(|now| change.is_in_place(&now))
}

/// Why we cannot be sure that a script of ours is in force.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    /// It was refused: the kernel is unchanged.
    #[error("{0}")]
    Refused(String),
    /// The tool took it, but the table could not be read completely. The rules are in force all the same.
    #[error("{0}")]
    Unseen(String),
    /// The tool took it, and a fresh reading shows something else.
    #[error("{0}")]
    Differs(String),
}

impl From<Doubt> for String {
    /// One sentence.
    fn from(doubt: Doubt) -> Self {
        doubt.to_string()
    }
}

/// What is read back after a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Our own chains, as long as they show what they should.
    Ours,
    /// Everything loaded: something of ours may have another name.
    All,
}

impl Look {
    /// Whether a fresh reading shows that the script is in force.
    pub fn check(
        self,
        host: &dyn Tools,
        change: &FamilyChange,
        script: &str,
        limit: Duration,
    ) -> Result<Ruleset, Doubt> {
        match self {
            Self::Ours => check(host, change, script, limit),
            Self::All => check_all(host, change, script, limit),
        }
    }
}

/// Runs the script and checks with a fresh reading that it is in force.
pub fn restore_and_check(
    host: &dyn Tools,
    trial: &str,
    change: &FamilyChange,
    script: &str,
    look: Look,
) -> Result<Ruleset, Doubt> {
    match restore(host, trial, change.family(), script) {
        Ok(()) => look.check(host, change, script, firewall::READING),
        // Only a reading can tell.
        Err(Failed::Unknown(why)) => {
            look.check(host, change, script, firewall::READING).map_err(|_| Doubt::Refused(why))
        }
        Err(failed) => Err(Doubt::Refused(failed.into())),
    }
}

/// Whether our own chains show that the script is in force, with every jump; if they do not, everything loaded is read.
pub fn check(host: &dyn Tools, change: &FamilyChange, script: &str, limit: Duration) -> Result<Ruleset, Doubt> {
    match ours::read(host, change.family(), limit) {
        Some(now) if change.holds(&now, script) && change.has_jumps(&now) => Ok(now),
        _ => check_all(host, change, script, limit),
    }
}

/// Whether a fresh reading of everything shows that the script is in force.
pub fn check_all(host: &dyn Tools, change: &FamilyChange, script: &str, limit: Duration) -> Result<Ruleset, Doubt> {
    let now = read_within(host, change.family(), limit).map_err(Doubt::Unseen)?;
    let label = change.family().label();
    let filter = now.table("filter");
    if change.holds(&now, script) {
        Ok(now)
    } else if filter.is_some_and(|t| t.unreadable) {
        let tool = change.family().tool("");
        Err(Doubt::Unseen(format!(
            "{tool} cannot read the {label} filter table any more: somebody put a native nft rule into it (`nft list \
                ruleset`)"
        )))
    } else if filter.is_none_or(|t| t.partial) {
        Err(Doubt::Unseen(format!("{} printed only a part of the {label} filter table", change.family().tool("-save"))))
    } else {
        Err(Doubt::Differs(format!("the {label} rules read back differ from what was put in")))
    }
}

/// A remark if no jump leads to the new plan's rules or, with `old`, to those that a revert put back.
pub fn lost_jump(change: &FamilyChange, now: &Ruleset, old: bool) -> Option<String> {
    let lost: Vec<String> =
        change.without_jump(now, old).iter().map(|d| format!("`-A {} {}`", d.parent, d.jump)).collect();
    (!lost.is_empty()).then(|| {
        format!("the {} rules have no effect: our jump to them is gone: {}", change.family().label(), lost.join(", "))
    })
}

/// The same as an error.
pub fn need_jump(change: &FamilyChange, now: &Ruleset) -> Result<(), String> {
    lost_jump(change, now, false).map_or(Ok(()), Err)
}

/// Removes, after a refill, chains of ours that somebody renamed. Returns a fresh reading, and remarks.
pub fn end_renamed(
    host: &dyn Tools,
    mark: &str,
    change: &FamilyChange,
    now: Ruleset,
    reverted: bool,
) -> Result<(Ruleset, Vec<String>), String> {
    let scripts = change.renamed_scripts(&now, reverted);
    if scripts.is_empty() {
        return Ok((now, Vec::new()));
    }
    for script in &scripts {
        restore(host, mark, change.family(), script)?;
    }
    let now = read(host, change.family(), None)?;
    let label = change.family().label();
    if change.renamed_scripts(&now, reverted).is_empty() {
        Ok((now, vec![format!("somebody had renamed a chain of ours in the {label} rules: it was removed")]))
    } else {
        Err(format!("a chain of ours that somebody renamed is still in the {label} rules"))
    }
}

/// A remark if our chains have other names.
pub fn renamed(change: &FamilyChange, now: &Ruleset) -> Option<String> {
    let (name, was) = named(now).1.into_iter().next()?;
    Some(format!("somebody renamed our {} chain {was} to {name}", change.family().label()))
}

/// Removes our unused chains and jumps, as far as the fresh reading shows them. Returns remarks about what had to stay,
/// empty and without effect.
pub fn clean_up(host: &dyn Tools, mark: &str, change: &FamilyChange, now: &Ruleset) -> Vec<String> {
    let scripts = change.cleanup_scripts(now);
    let mut said: Vec<String> =
        scripts.iter().filter_map(|s| restore(host, mark, change.family(), s).err().map(String::from)).collect();
    let mut now = Cow::Borrowed(now);
    if !said.is_empty()
        && let Ok(all) = read(host, change.family(), None)
    {
        if change.cleanup_scripts(&all).is_empty() {
            // Somebody else removed it at the same time, e.g. another revert; or it is referred to by a rule that our
            // own chains do not show.
            said.clear();
        }
        now = Cow::Owned(all);
    }
    said.extend(change.held_by_others(&now).into_iter().map(|(chain, rule)| {
        format!("{} chain {chain} stays, empty: somebody else's rule refers to it: {rule}", change.family().label())
    }));
    said
}

/// Whether the tool would accept a whole file; changes nothing.
pub fn test(host: &dyn Tools, family: Family, text: &str) -> Result<(), String> {
    let tool = family.tool("-restore");
    let out = host
        .run(&Cmd::new(&tool, &["--test", "-w", &LOCK_WAIT.to_string()]).input(text).within(Duration::from_secs(20)))
        .map_err(|e| e.to_string())?;
    if out.status == 0 { Ok(()) } else { Err(format!("{tool} would refuse the file: {}", out.complaint())) }
}
