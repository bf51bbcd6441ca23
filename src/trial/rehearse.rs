//! The whole trial in a throw-away namespace first: load what is loaded, apply, read back, revert, read back. It finds
//! what `iptables-restore --test` misses. Only what our change causes stops it.

use super::kernel::{self, Look};
use super::moved;
use crate::host::{Cmd, Host, Tools};
use crate::model::names::chains::is_ours;
use crate::model::{Family, Ruleset};
use crate::plan::FamilyChange;

/// Lines that are left out, one after the other, before the attempt to load a snapshot whole is given up.
const LEFT_OUT_AT_MOST: usize = 50;

/// What a rehearsal came to.
#[derive(Clone, Debug, Default)]
pub struct Rehearsal {
    /// Rules that cannot load in a new namespace for their own reasons, as they stand.
    pub left_out: Vec<String>,
}

/// A ruleset with more rules takes long enough to say how far the rehearsal is.
const LARGE: usize = 2_000;

/// Rehearses the change of each family. `fuse` is far enough in the future for all of it.
pub fn rehearse(
    host: &dyn Host,
    changes: &[FamilyChange],
    loaded: &[(Family, &str)],
    fuse: Option<i64>,
    progress: &mut dyn FnMut(&str),
) -> Result<Rehearsal, Failed> {
    progress("rehearsing in a throw-away namespace");
    let stage = host.throwaway().map_err(Failed::NoPlace)?;
    let mut out = Rehearsal::default();
    load_sets(host, &*stage);
    for change in changes {
        let family = change.family();
        let text = loaded.iter().find(|(f, _)| *f == family).map_or("", |(_, t)| *t);
        let rules = text.lines().filter(|l| l.starts_with(['-', '['])).count();
        let mut step = |what: &str| {
            if rules > LARGE {
                progress(&format!("rehearsing, {rules} {} rules: {what}", family.label()));
            }
        };
        step("loading them");
        out.left_out.extend(load(&*stage, family, text));
        play(&*stage, change, fuse, &mut step).map_err(Failed::Ours)?;
    }
    Ok(out)
}

/// Why a rehearsal ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// No namespace can be had.
    NoPlace(String),
    /// Our change does not do there what it should.
    Ours(String),
}

fn play(stage: &dyn Tools, change: &FamilyChange, fuse: Option<i64>, step: &mut dyn FnMut(&str)) -> Result<(), String> {
    let read = || kernel::read(stage, change.family(), None);
    step("reading them back");
    let before = read()?;
    let mut expected = before.clone();
    // That the dates switch by themselves no reading shows: the rules are the same before and after the fuse's second.
    // The tests on real kernels send packets for that; here the dates are only loaded.
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

/// Our own chains that are empty and that nothing refers to: a keep that died in its tidying up leaves one, and the
/// next change takes it along.
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

/// Whether rules differ: the first line that does, as the end of a sentence.
pub(super) fn difference(now: &Ruleset, expected: &Ruleset) -> Option<String> {
    if now.same_rules(expected) {
        return None;
    }
    Some(moved::what([expected], [now]))
}

/// The sets that rules may name; a set that cannot load makes its rules fail, and those are listed.
pub(super) fn load_sets(host: &dyn Host, stage: &dyn Tools) {
    if let Ok(sets) = host.run(&Cmd::new("ipset", &["save"]))
        && sets.status == 0
        && !sets.stdout.is_empty()
    {
        make_sets(stage, sets.stdout);
    }
}

/// Makes sets as boot does; what cannot be made makes its rules fail.
pub(super) fn make_sets(stage: &dyn Tools, script: impl Into<Vec<u8>>) {
    let _ =
        stage.run(&Cmd::new("ipset", &["restore", "-exist"]).input(script).within(std::time::Duration::from_secs(30)));
}

/// Loads a snapshot; lines that the tool names as bad are left out and returned.
pub(super) fn load(stage: &dyn Tools, family: Family, text: &str) -> Vec<String> {
    let tool = family.tool("-restore");
    let mut lines: Vec<&str> = text.lines().collect();
    let mut left_out = Vec::new();
    while left_out.len() < LEFT_OUT_AT_MOST {
        let input = lines.iter().flat_map(|l| [l.as_bytes(), b"\n"]).flatten().copied().collect::<Vec<u8>>();
        let Ok(out) = stage.run(&Cmd::new(&tool, &["-c"]).input(input).within(std::time::Duration::from_secs(30)))
        else {
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
    // What is left is the frame that our change needs: the chains without rules.
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
    use super::bad_line;

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
