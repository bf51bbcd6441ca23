//! Plays the whole trial in a throw-away namespace first: load what is loaded, apply, read back, revert, read back.
//! This finds what `iptables-restore --test` misses. Only problems caused by our change stop the trial.

use std::time::Duration;

use super::kernel::{self, Look};
use super::moved;
use crate::host::{Cmd, Host, Tools};
use crate::model::names::chains::is_ours;
use crate::model::{Backend, Family, Ruleset};
use crate::observe::{firewall, ours};
use crate::plan::FamilyChange;
use crate::syntax::iptables_save;

/// How many lines are left out, one by one, before we stop trying to load a snapshot as a whole.
const LEFT_OUT_AT_MOST: usize = 50;

/// The outcome of a rehearsal.
#[derive(Clone, Debug, Default)]
pub struct Rehearsal {
    /// Rules that cannot be loaded in a new namespace for reasons of their own, as they are.
    pub left_out: Vec<String>,
}

/// Rulesets with more rules take long enough to show the rehearsal's progress.
const LARGE: usize = 2_000;

/// Rehearses each family's change. `fuse` is far enough in the future for all of it. Our scripts touch only one table,
/// so only that one is rehearsed: the others have no influence on it.
pub fn rehearse(
    host: &dyn Host,
    changes: &[FamilyChange],
    loaded: &[(Family, &str)],
    fuse: Option<i64>,
    progress: &mut dyn FnMut(&str),
) -> Result<Rehearsal, Failed> {
    progress("rehearsing in a throw-away namespace");
    let new_stage = || {
        let stage = host.throwaway().map_err(Failed::NoPlace)?;
        load_sets(host, &*stage);
        Ok(stage)
    };
    let mut stage = new_stage()?;
    let mut out = Rehearsal::default();
    for change in changes {
        let family = change.family();
        let text = loaded.iter().find(|(f, _)| *f == family).map_or("", |(_, t)| *t);
        let text = table_of(text, "filter");
        let rules = text.lines().filter(|l| l.starts_with(['-', '['])).count();
        let mut step = |what: &str| {
            if rules > LARGE {
                progress(&format!("rehearsing, {rules} {} rules: {what}", family.label()));
            }
        };
        step("loading them");
        let mut left_out = load(&*stage, family, &text);
        let quick = left_out.is_empty() && firewall::version(&*stage).1 == Some(Backend::Nft);
        if !quick || !play_quickly(&*stage, change, &text, fuse, &mut step) {
            if quick {
                // Whatever the reason: step by step, from the beginning.
                stage = new_stage()?;
                step("loading them again");
                left_out = load(&*stage, family, &text);
            }
            play(&*stage, change, fuse, firewall::reading_of(text.len()), &mut step).map_err(Failed::Ours)?;
        }
        out.left_out.extend(left_out);
    }
    Ok(out)
}

/// One table of a listing, word for word.
fn table_of(text: &str, name: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in text.lines() {
        inside |= line.strip_prefix('*') == Some(name);
        if inside {
            out.push_str(line);
            out.push('\n');
        }
        inside &= line != "COMMIT";
    }
    out
}

/// Why a rehearsal ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// No namespace is available.
    #[error("{0}")]
    NoPlace(String),
    /// Our change does not do there what it should.
    #[error("{0}")]
    Ours(String),
}

/// Applies and reverts, and reads everything only once, at the end. If our own chains show the plan in between and
/// everything is back at the end as it was loaded, reading everything after each step would show nothing more. `false`:
/// go step by step instead.
fn play_quickly(
    stage: &dyn Tools,
    change: &FamilyChange,
    text: &str,
    fuse: Option<i64>,
    step: &mut dyn FnMut(&str),
) -> bool {
    let family = change.family();
    let limit = firewall::reading_of(text.len());
    let apply = change.apply_script(fuse);
    step("applying the plan");
    if kernel::restore(stage, "rehearsal", family, &apply).is_err() {
        return false;
    }
    if !ours::read(stage, family, limit)
        .is_some_and(|now| change.holds(&now, &apply) && change.without_jump(&now, false).is_empty())
    {
        return false;
    }
    step("reverting");
    let Ok(now) = kernel::restore_and_check(stage, "rehearsal", change, &change.revert_script(), Look::Ours) else {
        return false;
    };
    kernel::clean_up(stage, "rehearsal", change, &now);
    step("reading them back");
    let Ok(back) = firewall::text_within(stage, family, Some(Backend::Nft), true, limit) else { return false };
    let set = |text: &str| without_leftovers(iptables_save::read(text, family).0);
    firewall::same_lines(&back, text) || set(&back).same_rules(&set(text))
}

fn play(
    stage: &dyn Tools,
    change: &FamilyChange,
    fuse: Option<i64>,
    limit: Duration,
    step: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let read = || kernel::read_within(stage, change.family(), limit);
    step("reading them back");
    let before = read()?;
    let mut expected = before.clone();
    // No reading shows that the dates switch by themselves: the rules are the same before and after the fuse's last
    // second. The tests on real kernels send packets for that; here the dates are only loaded.
    let apply = change.apply_script(fuse);
    expected.apply(&apply).map_err(|e| e.message)?;
    step("applying the plan");
    kernel::restore(stage, "rehearsal", change.family(), &apply)?;
    same(&read()?, &expected, "after applying the plan")?;
    step("reverting");
    let now = kernel::restore_and_check(stage, "rehearsal", change, &change.revert_script(), Look::Ours)?;
    kernel::clean_up(stage, "rehearsal", change, &now);
    same(&without_leftovers(read()?), &without_leftovers(before), "after the revert")
}

/// Removes our empty chains that nothing refers to: a keep that died while cleaning up leaves one, and the next change
/// removes it.
fn without_leftovers(mut rules: Ruleset) -> Ruleset {
    for table in rules.tables.iter_mut().filter(|t| t.name == "filter") {
        let left: Vec<String> = table
            .chains
            .iter()
            .filter(|c| is_ours(&c.name) && c.rules.is_empty() && !table.is_referenced(&c.name, &[]))
            .map(|c| c.name.clone())
            .collect();
        for name in left {
            table.remove(&name);
        }
    }
    rules
}

fn same(now: &Ruleset, expected: &Ruleset, when: &str) -> Result<(), String> {
    difference(now, expected).map_or(Ok(()), |odd| Err(format!("{when} the rules are not what was expected{odd}")))
}

/// The first lines that differ, as the end of a sentence; `None` if the rules are the same.
pub(super) fn difference(now: &Ruleset, expected: &Ruleset) -> Option<String> {
    if now.same_rules(expected) {
        return None;
    }
    Some(moved::what([expected], [now]))
}

/// Makes the sets that the rules may name; if a set cannot be loaded, its rules fail and are reported.
pub(super) fn load_sets(host: &dyn Host, stage: &dyn Tools) {
    if let Ok(sets) = host.run(&Cmd::new("ipset", &["save"]))
        && sets.status == 0
        && !sets.stdout.is_empty()
    {
        make_sets(stage, sets.stdout);
    }
}

/// Makes sets as boot does; rules whose set cannot be made fail.
pub(super) fn make_sets(stage: &dyn Tools, script: impl Into<Vec<u8>>) {
    let _ = stage.run(&Cmd::new("ipset", &["restore", "-exist"]).input(script).within(Duration::from_secs(30)));
}

/// Loads a snapshot; lines that the tool rejects are left out and returned.
pub(super) fn load(stage: &dyn Tools, family: Family, text: &str) -> Vec<String> {
    let tool = family.tool("-restore");
    let mut lines: Vec<&str> = text.lines().collect();
    let mut left_out = Vec::new();
    while left_out.len() < LEFT_OUT_AT_MOST {
        let input = lines.iter().flat_map(|l| [l.as_bytes(), b"\n"]).flatten().copied().collect::<Vec<u8>>();
        let Ok(out) = stage.run(
            &Cmd::new(&tool, &["-c"]).input(input).within(firewall::reading_of(text.len()) + Duration::from_secs(10)),
        ) else {
            break;
        };
        if out.status == 0 {
            return left_out;
        }
        let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
        match bad_line(&complaint)
            .filter(|&n| lines.get(n - 1).is_some_and(|l| l.starts_with("-A") || l.starts_with('[')))
        {
            Some(n) => left_out.push(lines.remove(n - 1).to_owned()),
            None => break,
        }
    }
    // Only the frame that our change needs is left: the chains without rules.
    let frame: String =
        text.lines().filter(|l| !l.starts_with('[') && !l.starts_with("-A")).flat_map(|l| [l, "\n"]).collect();
    let _ = stage.run(&Cmd::new(&tool, &[]).input(frame));
    left_out.push(format!("all {} rules: they could not be loaded together", family.label()));
    left_out
}

/// The line that `iptables-restore` names: `Error occurred at line: 5`, `line 5: RULE_APPEND failed`, `line 7 failed`.
fn bad_line(complaint: &str) -> Option<usize> {
    let at = complaint.find("line")?;
    let digits: String =
        complaint.get(at..)?.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Mutex;

    use super::*;
    use crate::host::demo::Demo;
    use crate::host::{Output, ToolError};
    use crate::plan;
    use crate::trial::crash::cure;

    /// A namespace that counts the tools it runs, and in which the first restore may have a side effect.
    struct Stage {
        inner: Box<dyn Tools>,
        runs: Mutex<Vec<String>>,
        brings: Option<&'static str>,
    }

    impl Tools for Stage {
        fn run(&self, cmd: &Cmd) -> Result<Output, ToolError> {
            let out = self.inner.run(cmd);
            let mut runs = self.runs.lock().unwrap();
            runs.push(cmd.tool.clone());
            if let (true, Some(rule)) = (cmd.args.iter().any(|a| a == "--noflush"), self.brings) {
                self.inner
                    .run(&Cmd::new(&cmd.tool, &["--noflush"]).input(format!("*filter\n{rule}\nCOMMIT\n")))
                    .unwrap();
            }
            out
        }
    }

    #[test]
    fn everything_is_read_once_and_side_effects_of_our_change_are_seen() {
        let host = Demo::new();
        let view = crate::observe::live::observe(&host);
        let change = plan::build(&view, &cure("192.0.2.11")).unwrap().families.swap_remove(0);
        let text = table_of(&iptables_save::write(&host.loaded(Family::V4), true), "filter");
        assert!(text.starts_with("*filter\n") && text.ends_with("COMMIT\n") && !text.contains("MASQUERADE"));
        let play = |brings: Option<&'static str>| {
            let stage = Stage { inner: host.throwaway().unwrap(), runs: Mutex::default(), brings };
            assert_eq!(load(&stage, Family::V4, &text), [""; 0]);
            let well = play_quickly(&stage, &change, &text, Some(2_000_000_000), &mut |_| {});
            let reads = stage.runs.lock().unwrap().iter().filter(|t| t.ends_with("-save")).count();
            (well, reads)
        };
        assert_eq!(play(None), (true, 1));
        assert!(!play(Some("-A DOCKER-USER -s 192.0.2.99/32 -j DROP")).0, "somebody else's chain");
        assert!(!play(Some("-F PORTCULLIS")).0, "our own");
    }

    #[test]
    fn the_bad_line_of_both_backends() {
        assert_eq!(
            bad_line(
                "iptables-restore v1.8.9 (nf_tables): \nline 5: RULE_APPEND failed (No such file): rule in chain INPUT"
            ),
            Some(5)
        );
        assert_eq!(bad_line("iptables-restore: line 7 failed"), Some(7));
        assert_eq!(
            bad_line("iptables-restore v1.8.9 (nf_tables): Set x doesn't exist.\n\nError occurred at line: 3"),
            Some(3)
        );
        assert_eq!(bad_line("Another app is currently holding the xtables lock"), None);
    }
}
