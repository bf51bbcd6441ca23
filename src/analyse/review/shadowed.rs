//! Rules that can never match, because earlier rules of their chain match all of their packets.

use std::collections::HashMap;
use std::rc::Rc;

use crate::analyse::review::area::{Area, area};
use crate::analyse::review::nearby::Nearby;
use crate::analyse::walk::verdict::RuleRef;
use crate::model::{Family, Rule, Ruleset, Target};

/// A rule that can never match, and the earlier rules that together match its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The rule.
    pub at: RuleRef,
    /// The rules that shadow it, in order.
    pub by: Vec<RuleRef>,
}

/// In longer chains a rule is compared only with the earlier rules that are [`Nearby::near`] to it, otherwise with all.
const MAX_RULES: usize = 2_000;
/// How many rules of a long chain have their packets kept in memory.
const MAX_READ: usize = 1_000;
/// With more parts than this the question is left open.
const MAX_PARTS: usize = 64;

/// Rules that can never match, chain by chain. Exact sets: several rules may shadow one together.
pub fn shadowed(set: &Ruleset) -> Vec<Shadow> {
    let mut out = Vec::new();
    for table in &set.tables {
        for chain in table.chains.iter().filter(|c| !c.partial) {
            let at = |i: usize| RuleRef {
                family: set.family,
                table: table.name.clone(),
                chain: chain.name.clone(),
                rule: Some(i + 1),
            };
            let long = chain.rules.len() > MAX_RULES;
            let mut enders: Vec<(usize, Rc<Area>)> = Vec::new();
            let (mut index, mut read) = (Nearby::default(), HashMap::new());
            let mut all: Option<usize> = None;
            // Nothing is shadowed before the first rule that can end the chain, and most chains of a large host (a
            // service, its endpoints) have no such rule, or only as their last.
            let first = chain.rules.iter().position(may_end).unwrap_or(chain.rules.len());
            if first + 1 >= chain.rules.len() {
                continue;
            }
            for (i, rule) in chain.rules.iter().enumerate().skip(first) {
                if let Some(end) = all {
                    out.push(Shadow { at: at(i), by: vec![at(end)] });
                    continue;
                }
                let spec = rule.spec(set.family);
                let Some(area) = area(rule, &spec, set.family) else { continue };
                if long {
                    // Read again when needed: keeping them all would take many times the memory of the text.
                    if read.len() > MAX_READ {
                        read.clear();
                    }
                    let mut again = |at: usize| {
                        let area = read
                            .entry(at)
                            .or_insert_with(|| chain.rules.get(at).and_then(|r| box_of(r, set.family)).map(Rc::new));
                        area.clone().map(|a| (at, a))
                    };
                    enders = index.near(&area).into_iter().filter_map(&mut again).collect();
                }
                if let Some(by) = covered(&area, &enders) {
                    out.push(Shadow { at: at(i), by: by.into_iter().map(at).collect() });
                    continue;
                }
                if area.exact && ends(&spec.target) {
                    if area.is_everything() {
                        all = Some(i);
                    }
                    if long { index.add(i, &area) } else { enders.push((i, Rc::new(area))) }
                }
            }
        }
    }
    out
}

/// Whether a rule's target may end the chain; `true` if uncertain.
fn may_end(rule: &Rule) -> bool {
    const GO_ON: &[&str] = &["LOG", "NFLOG", "MARK", "CONNMARK", "CT", "SET", "CLASSIFY", "TCPMSS"];
    rule.options().find(|o| matches!(&*o.name, "-j" | "-g")).is_some_and(|o| {
        let target = o.value.unwrap_or_default();
        // A name in capitals may be an extension that this program does not know.
        o.name == "-g" || !GO_ON.contains(&&*target) && target.bytes().all(|b| b.is_ascii_uppercase())
    })
}

/// Whether a target ends the chain for every packet it gets.
fn ends(target: &Target) -> bool {
    matches!(
        target,
        Target::Accept
            | Target::Drop
            | Target::Reject
            | Target::Return
            | Target::Dnat(Some(_))
            | Target::Redirect(_)
            | Target::Netmap(_)
            | Target::Snat
            | Target::Goto(_)
    )
}

fn box_of(rule: &Rule, family: Family) -> Option<Area> {
    area(rule, &rule.spec(family), family)
}

/// The earlier rules that together cover a box; `None` if part of it is left.
fn covered(area: &Area, enders: &[(usize, Rc<Area>)]) -> Option<Vec<usize>> {
    let mut left = vec![area.clone()];
    let mut by = Vec::new();
    if area.is_empty() {
        return None;
    }
    for (i, taker) in enders {
        let touched = left.iter().any(|p| {
            p.src.meets(&taker.src)
                && !p.dport.is_disjoint(&taker.dport)
                && p.dst.meets(&taker.dst)
                && !p.protos.is_disjoint(&taker.protos)
                && !p.sport.is_disjoint(&taker.sport)
        });
        if !touched {
            continue;
        }
        let count = left.len();
        let next: Vec<Area> = left.iter().flat_map(|p| p.minus(taker)).collect();
        if next.len() != count
            || next.iter().zip(&left).any(|(a, b)| a.src != b.src || a.dport != b.dport || a.dst != b.dst)
        {
            by.push(*i);
        }
        left = next;
        if left.is_empty() {
            return Some(by);
        }
        if left.len() > MAX_PARTS {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &[&str], expected: &[(usize, &[usize])]) {
        let mut set = Ruleset::new(Family::V4);
        set.table_or_new("filter").chain_or_new("INPUT").rules = rules.iter().map(|r| Rule::new(r)).collect();
        let got: Vec<(usize, Vec<usize>)> = shadowed(&set)
            .into_iter()
            .map(|s| (s.at.rule.unwrap(), s.by.iter().filter_map(|r| r.rule).collect()))
            .collect();
        let expected: Vec<(usize, Vec<usize>)> = expected.iter().map(|(a, b)| (*a, b.to_vec())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn two_halves_shadow_the_whole() {
        check(
            &["-s 10.0.0.0/9 -j DROP", "-s 10.128.0.0/9 -j ACCEPT", "-s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT"],
            &[(3, &[1, 2])],
        );
        check(&["-s 10.0.0.0/9 -j DROP", "-s 10.0.0.0/8 -j ACCEPT"], &[]);
    }

    #[test]
    fn a_long_chain_is_answered_like_a_short_one() {
        let mut rules: Vec<String> = (0..MAX_RULES)
            .map(|i| format!("-s 10.{}.{}.0/24 -p tcp -m tcp --dport 111 -j ACCEPT", i / 256, i % 256))
            .collect();
        let at = rules.len();
        rules.extend(
            [
                "-s 10.3.4.5/32 -p tcp -m tcp --dport 111 -j DROP", // by the /24
                "-s 10.3.4.5/32 -p tcp -m tcp --dport 112 -j DROP", // by none
                "-s 10.3.4.0/23 -p tcp -m tcp --dport 111 -j DROP", // by two halves
                "-i eth0 -j ACCEPT",
                "-i eth0 -p udp -m multiport --dports 1,2,7 -j DROP",
                "-m iprange --src-range 192.0.2.3-192.0.2.9 -j DROP",
                "-s 192.0.2.4/31 -p icmp -j ACCEPT",
                "-s 10.3.4.0/23 -j ACCEPT", // more than the rules before it take
                "-j DROP",
                "-p tcp -j ACCEPT",
            ]
            .map(String::from),
        );
        let lines: Vec<&str> = rules.iter().map(String::as_str).collect();
        let of = |a: usize, b: usize| a * 256 + b + 1;
        check(
            &lines,
            &[
                (at + 1, &[of(3, 4)]),
                (at + 3, &[of(3, 4), of(3, 5)]),
                (at + 5, &[at + 4]),
                (at + 7, &[at + 6]),
                (at + 10, &[at + 9]),
            ],
        );
    }

    #[test]
    fn behind_a_catch_all_nothing_matches() {
        check(&["-j ACCEPT", "-p tcp --dport 111 -j DROP"], &[(2, &[1])]);
    }

    #[test]
    fn a_condition_that_is_not_exact_covers_nothing_but_is_covered() {
        check(&["-m limit --limit 5/min -j ACCEPT", "-j DROP"], &[]);
        check(&["-p tcp -j DROP", "-p tcp -m limit --limit 5/min -j ACCEPT", "-p udp -j ACCEPT"], &[(2, &[1])]);
        check(&["-i eth0 -j DROP", "-i eth1 -j ACCEPT", "-i eth0 -p tcp -j ACCEPT"], &[(3, &[1])]);
    }
}
