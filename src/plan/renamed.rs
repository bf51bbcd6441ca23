//! Our chains under other names: `iptables -E` renames one, and every jump to it follows. They are recognised by their
//! content: jumps to our slots with dates, or rules with our comments.

use super::slots::{DoorChange, FORWARD_JUMP, FamilyChange, INPUT_JUMP, PARENTS, Slot, standing};
use crate::model::names::chains::SWITCHES;
use crate::model::{Chain, Family, Match, Rule, Ruleset, Spec, Table, Target};

/// How the comment of each rule of a slot begins.
const COMMENT: &str = "portcullis: ";

/// What every dated rule of ours contains in a listing.
const DATED: &str = "--datestop";

/// The ruleset with our chains under their own names, and those that were renamed: (current name, our name).
pub fn named(set: &Ruleset) -> (Ruleset, Vec<(String, String)>) {
    let mut out = set.clone();
    let mut found = Vec::new();
    let Some(table) = out.table_mut("filter") else { return (out, found) };
    for forwarded in [false, true] {
        let switch = SWITCHES[usize::from(forwarded)];
        if let Some(name) = renamed_switch(table, forwarded, set.family) {
            // A chain of that name without a jump was made by a refill since.
            table.remove(switch);
            table.rename(&name, switch);
            found.push((name, switch.to_owned()));
        }
        for name in renamed_slots(table, switch) {
            let Some(free) = [Slot::A, Slot::B].map(|s| s.chain(switch)).into_iter().find(|s| table.chain(s).is_none())
            else {
                continue;
            };
            table.rename(&name, &free);
            found.push((name, free));
        }
    }
    (out, found)
}

/// A chain whose content shows that it is our switch, if the one of that name is missing or nothing jumps to it.
fn renamed_switch(table: &Table, forwarded: bool, family: Family) -> Option<String> {
    let switch = SWITCHES[usize::from(forwarded)];
    if table.chain(switch).is_some() && has_jump(table, forwarded, switch) {
        return None;
    }
    let led_to = led_to(table, forwarded);
    let dated = |c: &Chain| c.rules.first().is_some_and(|r| r.has(DATED));
    others(table)
        .filter(|c| dated(c) || led_to.contains(&c.name) && !c.rules.is_empty())
        .find(|c| c.rules.iter().all(|r| of_a_switch(table, switch, r, family).is_some()))
        .map(|c| c.name.clone())
}

/// The chains that our jump leads to, by their current names.
fn led_to(table: &Table, forwarded: bool) -> Vec<String> {
    let rules = parents(table, forwarded).flat_map(|c| &c.rules);
    rules
        .filter_map(|r| r.jumps_to().filter(|to| *r.text == *jump(forwarded, to)).map(std::borrow::Cow::into_owned))
        .collect()
}

/// Whether our jump leads to a chain of that name.
fn has_jump(table: &Table, forwarded: bool, name: &str) -> bool {
    parents(table, forwarded).any(|c| c.rules.iter().any(|r| *r.text == *jump(forwarded, name)))
}

fn parents(table: &Table, forwarded: bool) -> impl Iterator<Item = &Chain> {
    PARENTS[usize::from(forwarded)].iter().filter_map(|p| table.chain(p))
}

fn jump(forwarded: bool, name: &str) -> String {
    let (ours, switch) = (if forwarded { FORWARD_JUMP } else { INPUT_JUMP }, SWITCHES[usize::from(forwarded)]);
    format!("{}{name}", ours.strip_suffix(switch).unwrap_or(ours))
}

/// Whether a rule of a switch has dates.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Dated(bool);

/// A rule as in our switches: a jump to one of this switch's slots, with or without dates.
fn of_a_switch(table: &Table, switch: &str, rule: &Rule, family: Family) -> Option<Dated> {
    let Spec { target: Target::Jump(to, _), matches, .. } = rule.spec(family) else { return None };
    let slot = [Slot::A, Slot::B].iter().any(|s| s.chain(switch) == to)
        || !has_our_name(&to) && table.chain(&to).is_some_and(is_slot);
    match &matches[..] {
        [] => slot.then_some(Dated(false)),
        [Match::Dates(..)] => slot.then_some(Dated(true)),
        _ => None,
    }
}

/// Whether a chain holds the rules of one of our plans.
fn is_slot(chain: &Chain) -> bool {
    let reply = |r: &Rule| r.value("--ctdir").as_deref() == Some("REPLY") && r.jumps_to().as_deref() == Some("RETURN");
    let plan = |r: &Rule| r.comment().is_some_and(|c| c.starts_with(COMMENT));
    chain.policy.is_none() && chain.rules.iter().any(plan) && chain.rules.iter().all(|r| plan(r) || reply(r))
}

/// The slots of our switch that have other names.
fn renamed_slots(table: &Table, switch: &str) -> Vec<String> {
    let to = table
        .chain(switch)
        .into_iter()
        .flat_map(|c| &c.rules)
        .filter_map(|r| r.jumps_to().map(std::borrow::Cow::into_owned));
    to.filter(|to| !has_our_name(to) && table.chain(to).is_some_and(is_slot)).collect()
}

/// Whether a chain has one of our names.
fn has_our_name(chain: &str) -> bool {
    SWITCHES.iter().any(|s| *s == chain || [Slot::A, Slot::B].iter().any(|slot| slot.chain(s) == chain))
}

/// User-defined chains whose names are not ours.
fn others(table: &Table) -> impl Iterator<Item = &Chain> {
    table.chains.iter().filter(|c| c.policy.is_none() && !has_our_name(&c.name))
}

/// Rules that a script removes: chain and text.
type Gone = Vec<(String, String)>;

fn is_referenced(table: &Table, name: &str, gone: &Gone) -> bool {
    table.is_referenced(name, &gone.iter().map(|(c, t)| (c.as_str(), t.as_str())).collect::<Vec<_>>())
}

impl FamilyChange {
    /// Removes our renamed chains, after a refill has restored those with our names. Our jump followed the renamed
    /// chain; if a plan stays in force it leads to the switch again. Each script is a separate transaction.
    pub fn renamed_scripts(&self, after: &Ruleset, reverted: bool) -> Vec<String> {
        let Some(table) = after.table("filter") else { return Vec::new() };
        let mut gone = Gone::new();
        let mut out = Vec::new();
        for door in &self.doors {
            let led_to = led_to(table, door.is_forwarded());
            let maybe = |c: &&Chain| led_to.contains(&c.name) || c.rules.iter().any(|r| r.has(DATED));
            out.extend(
                others(table).filter(maybe).filter_map(|chain| without_switch(after, table, door, chain, &mut gone)),
            );
        }
        out.extend(others(table).filter_map(|chain| {
            let holds = |rules: &[String]| {
                !rules.is_empty() && rules.iter().map(String::as_str).eq(chain.rules.iter().map(|r| &*r.text))
            };
            let (new, old) =
                (self.doors.iter().any(|d| holds(&d.rules)), self.doors.iter().any(|d| holds(&d.old_rules)));
            if !new && !old {
                None
            } else if !is_referenced(table, &chain.name, &gone) {
                Some(format!("*filter\n-F {0}\n-X {0}\nCOMMIT\n", chain.name))
            } else {
                // Somebody jumps to it: what was on trial must not go on, but what was kept belongs
                // to whoever renamed it.
                (reverted && !old).then(|| format!("*filter\n-F {}\nCOMMIT\n", chain.name))
            }
        }));
        out
    }
}

/// The script that removes a renamed switch.
fn without_switch(after: &Ruleset, table: &Table, door: &DoorChange, chain: &Chain, gone: &mut Gone) -> Option<String> {
    let forwarded = door.is_forwarded();
    let ours: Vec<(&Rule, Dated)> =
        chain.rules.iter().filter_map(|r| Some((r, of_a_switch(table, &door.switch, r, after.family)?))).collect();
    let whole = ours.len() == chain.rules.len();
    if ours.is_empty() || ours.iter().all(|(_, dated)| !dated.0) && !(whole && has_jump(table, forwarded, &chain.name))
    {
        return None;
    }
    let mut lines = Vec::new();
    if whole {
        let jump = jump(forwarded, &chain.name);
        let in_force =
            table.chain(&door.switch).is_some_and(|c| !c.rules.is_empty()) && standing(after, forwarded).jump.is_none();
        for parent in parents(table, forwarded) {
            for (at, _) in parent.rules.iter().enumerate().filter(|(_, r)| *r.text == *jump) {
                if in_force && lines.is_empty() {
                    lines.push(format!("-I {} {} {}", parent.name, at + 1, door.jump));
                }
                lines.push(format!("-D {} {jump}", parent.name));
                gone.push((parent.name.clone(), jump.clone()));
            }
        }
        lines.push(format!("-F {}", chain.name));
        if !is_referenced(table, &chain.name, gone) {
            lines.push(format!("-X {}", chain.name));
        }
    } else {
        // It also holds rules of somebody else.
        lines.extend(ours.iter().map(|(rule, _)| format!("-D {} {}", chain.name, rule.text)));
    }
    gone.extend(ours.iter().map(|(rule, _)| (chain.name.clone(), rule.text.to_string())));
    Some(format!("*filter\n{}\nCOMMIT\n", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::slots::family_change;
    use crate::syntax::iptables_save;

    const OURS: &str = "-s 192.0.2.1/32 -m comment --comment \"portcullis: allow portmapper\" -j ACCEPT";

    /// A host with the first plan kept and the second on trial, both guarding INPUT.
    fn on_trial(kept: bool) -> (Ruleset, FamilyChange, Ruleset) {
        let mut set = iptables_save::read(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
            :theirs - [0:0]\n-A INPUT -j theirs\n-A theirs -s 203.0.113.9/32 -j DROP\nCOMMIT\n",
            Family::V4,
        )
        .0;
        if kept {
            let change = family_change(&set, vec![OURS.to_owned()], Vec::new());
            set.apply(&change.whole_script()).unwrap();
        }
        let change = family_change(&set, vec![OURS.replace("2.1/", "2.2/"), OURS.replace("2.1/", "2.3/")], Vec::new());
        let before = set.clone();
        set.apply(&change.apply_script(Some(2_000_000_000))).unwrap();
        (before, change, set)
    }

    fn rename(set: &mut Ruleset, names: &[(&str, &str)]) {
        for (from, to) in names {
            set.apply(&format!("*filter\n-E {from} {to}\nCOMMIT\n")).unwrap();
        }
    }

    #[test]
    fn a_renamed_chain_is_recognised_by_its_content_and_removed_by_the_revert() {
        for kept in [false, true] {
            let (before, change, running) = on_trial(kept);
            let (new, old) = if kept { ("PORTCULLIS-B", "PORTCULLIS-A") } else { ("PORTCULLIS-A", "PORTCULLIS-B") };
            let ways: [&[(&str, &str)]; 6] = [
                &[("PORTCULLIS", "x")],
                &[(new, "y")],
                &[("PORTCULLIS", "x"), (new, "y")],
                &[("PORTCULLIS", "PORTCULLIS-OLD")],
                &[("PORTCULLIS", "x"), (new, "y"), (old, "z")],
                &[(old, "z")],
            ];
            for names in ways.iter().filter(|w| kept || w.iter().all(|(from, _)| *from != old)) {
                let mut now = running.clone();
                rename(&mut now, names);
                let (seen, found) = named(&now);
                assert_eq!((standing(&seen, false).fuse, found.len()), (Some(2_000_000_000), names.len()), "{names:?}");
                // As a revert does: first the refill, whatever it leaves, then renamed chains, then chains that are no
                // longer needed.
                now.apply(&change.revert_script()).unwrap();
                for script in change.renamed_scripts(&now, true) {
                    now.apply(&script).unwrap_or_else(|e| panic!("{names:?}: {e:?}\n{script}"));
                }
                assert_eq!(change.renamed_scripts(&now, true), [""; 0], "{names:?}");
                for script in change.cleanup_scripts(&now) {
                    now.apply(&script).unwrap();
                }
                assert!(now.same_rules(&before), "{names:?}:\n{}", iptables_save::write(&now, false));
            }
        }
    }

    #[test]
    fn chains_of_others_are_not_taken_for_ours() {
        let (_, change, mut now) = on_trial(true);
        now.apply(
            "*filter\n:mine - [0:0]\n-A mine -j PORTCULLIS-B\n-A theirs -j PORTCULLIS\n-A theirs -m time --datestop \
            2033-05-18T03:33:20 -j DROP\nCOMMIT\n",
        )
        .unwrap();
        assert_eq!(named(&now).1, []);
        assert_eq!(change.renamed_scripts(&now, true), [""; 0]);
        // If somebody put a rule into a chain after renaming it, they keep it.
        rename(&mut now, &[("PORTCULLIS", "x")]);
        now.apply("*filter\n-A x -s 203.0.113.7/32 -j DROP\nCOMMIT\n").unwrap();
        now.apply(&change.revert_script()).unwrap();
        for script in change.renamed_scripts(&now, true) {
            now.apply(&script).unwrap();
        }
        let left: Vec<String> = now.chain("filter", "x").unwrap().rules.iter().map(|r| r.text.to_string()).collect();
        assert_eq!(left, ["-s 203.0.113.7/32 -j DROP"]);
    }
}
