//! How the content gets into the kernel: a switch chain that jumps to one of two slots. Apply, extend, keep and revert
//! all work the same way: one `iptables-restore --noflush` refills our own chains.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::model::names::chains::SWITCHES;
use crate::model::{Chain, Family, Match, Rule, Ruleset, Target};

pub(super) const INPUT_JUMP: &str = "! -i lo -j PORTCULLIS";
pub(super) const FORWARD_JUMP: &str = "-j PORTCULLIS-FWD";

/// The built-in chain used if Docker's does not exist.
pub(super) const FORWARD: &str = "FORWARD";

/// The chains that may hold the jump to each door. A jump from somebody else's chain is not ours.
pub(super) const PARENTS: [&[&str]; 2] = [&["INPUT"], &["DOCKER-USER", "FORWARD"]];

/// xt_time's latest instant; `iptables-save` adds it to a lone `--datestart`.
const END_OF_DATES: &str = "2038-01-19T03:14:07";

/// One of the two chains that hold a plan's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    /// `…-A`
    A,
    /// `…-B`
    B,
}

impl Slot {
    fn other(self) -> Self {
        if self == Self::A { Self::B } else { Self::A }
    }

    pub(super) fn chain(self, switch: &str) -> String {
        format!("{switch}-{self:?}")
    }
}

/// The state of one of our switches in a ruleset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The slot that is jumped to without dates: what is kept.
    pub kept: Option<Slot>,
    /// A trial's last second, from its fuse (seconds since 1970 UTC).
    pub fuse: Option<i64>,
    /// Whether the switch chain exists.
    pub present: bool,
    /// Where our jump is: (chain, position from 1).
    pub jump: Option<(String, usize)>,
    /// The rules of the slot in force now, or during a trial those of the new slot.
    pub rules: Vec<String>,
}

/// The state of the first (`INPUT`) or second (forwarded) switch.
pub fn standing(set: &Ruleset, forwarded: bool) -> Standing {
    let switch = SWITCHES[usize::from(forwarded)];
    let Some(filter) = set.table("filter") else { return Standing::default() };
    let mut out = Standing::default();
    let mut shown = None;
    if let Some(chain) = filter.chain(switch) {
        out.present = true;
        for rule in &chain.rules {
            let spec = rule.spec(set.family);
            let Target::Jump(to, _) = &spec.target else { continue };
            let slot = [Slot::A, Slot::B].into_iter().find(|s| s.chain(switch) == *to);
            match spec
                .matches
                .iter()
                .find_map(|m| if let Match::Dates(from, to) = m { Some((*from, *to)) } else { None })
            {
                None => {
                    out.kept = slot;
                    shown = shown.or(slot);
                }
                Some((None, Some(stop))) => {
                    out.fuse = Some(stop);
                    shown = slot;
                }
                // The opposite jump to the old slot, for when the fuse has passed. A revert goes back to that slot.
                Some((Some(start), _)) => {
                    out.fuse = out.fuse.or(Some(start - 1));
                    out.kept = slot;
                }
                Some(_) => {}
            }
        }
    }
    if let Some(chain) = shown.and_then(|s| filter.chain(&s.chain(switch))) {
        out.rules = chain.rules.iter().map(|r| r.text.to_string()).collect();
    }
    let jump = if forwarded { FORWARD_JUMP } else { INPUT_JUMP };
    // A narrower jump is not ours; a listing that hides interfaces hides a part of ours as well.
    let is_ours = |r: &Rule| {
        *r.text == *jump
            || r.hidden.interfaces && matches!(r.spec(set.family).target, Target::Jump(ref n, _) if n == switch)
    };
    out.jump = PARENTS[usize::from(forwarded)]
        .iter()
        .filter_map(|p| filter.chain(p))
        .find_map(|c| Some((c.name.clone(), c.rules.iter().position(is_ours)? + 1)));
    out
}

/// The change of one door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorChange {
    /// Name of the switch chain.
    pub switch: String,
    /// The slot in force before; `None` if there was none.
    pub old: Option<Slot>,
    /// The slot of the new plan; `None` if this door is to have no rules.
    pub new: Option<Slot>,
    /// Content of the new slot.
    pub rules: Vec<String>,
    /// Content of the old slot, so that a revert works even if somebody flushed it.
    pub old_rules: Vec<String>,
    /// The chain that is to hold our jump.
    pub parent: String,
    /// Our jump, in its exact words.
    pub jump: String,
    /// Whether our jump was there before.
    pub jump_was_there: bool,
}

/// The change of one family, with everything needed to extend, keep and revert it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyChange {
    /// Whether it is IPv6; otherwise IPv4.
    pub v6: bool,
    /// INPUT first.
    pub doors: Vec<DoorChange>,
}

/// The change that gives this ruleset the content.
pub fn family_change(set: &Ruleset, input: Vec<String>, forward: Vec<String>) -> FamilyChange {
    let mut doors = Vec::new();
    for (forwarded, rules) in [(false, input), (true, forward)] {
        let now = standing(set, forwarded);
        if rules.is_empty() && !now.present {
            continue;
        }
        let (parent, jump) = if forwarded {
            let user = set.table("filter").is_some_and(|t| t.chain("DOCKER-USER").is_some());
            (if user { "DOCKER-USER" } else { "FORWARD" }, FORWARD_JUMP)
        } else {
            ("INPUT", INPUT_JUMP)
        };
        doors.push(DoorChange {
            switch: SWITCHES[usize::from(forwarded)].to_owned(),
            old: now.kept,
            new: (!rules.is_empty()).then(|| now.kept.map_or(Slot::A, Slot::other)),
            rules,
            old_rules: now.rules,
            parent: parent.to_owned(),
            jump: jump.to_owned(),
            jump_was_there: now.jump.is_some(),
        });
    }
    FamilyChange { v6: set.family == Family::V6, doors }
}

/// The purpose of a refill of our chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// The new plan up to and including this second, then the old one automatically; without a fuse if `None`.
    Apply(Option<i64>),
    /// The same with another fuse; the slots stay as they are.
    Extend(Option<i64>),
    /// The new plan for good.
    Keep,
    /// The new plan for good at once, without a trial.
    Whole,
    /// The old plan.
    Revert,
    /// Neither.
    Empty,
}

impl FamilyChange {
    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        if self.v6 { Family::V6 } else { Family::V4 }
    }

    /// Applies the plan: up to the fuse's last second, or without a fuse.
    pub fn apply_script(&self, fuse: Option<i64>) -> String {
        self.script(Act::Apply(fuse))
    }

    /// Moves the fuse; the slots stay as they are.
    pub fn extend_script(&self, fuse: Option<i64>) -> String {
        self.script(Act::Extend(fuse))
    }

    /// Keeps the plan; refills the slot too, so that what is kept is what was planned.
    pub fn keep_script(&self) -> String {
        self.script(Act::Keep)
    }

    /// Puts the plan in for good at once: the result of applying and keeping. `cleanup_scripts` removes
    /// what is unused afterwards.
    pub fn whole_script(&self) -> String {
        self.script(Act::Whole)
    }

    /// Goes back to the old plan.
    pub fn revert_script(&self) -> String {
        self.script(Act::Revert)
    }

    /// The fall-back: empties our switches so that they decide nothing.
    pub fn empty_script(&self) -> String {
        self.script(Act::Empty)
    }

    fn script(&self, act: Act) -> String {
        let (mut head, mut body) = (String::new(), String::new());
        for d in &self.doors {
            d.lines(act, &mut head, &mut body);
        }
        format!("*filter\n{head}{body}COMMIT\n")
    }

    /// Whether a fresh reading shows exactly what a script of ours leaves: a refill would change nothing.
    pub fn holds(&self, now: &Ruleset, script: &str) -> bool {
        let mut again = now.clone();
        let refill: String = script.lines().filter(|l| !l.starts_with("-I ")).flat_map(|l| [l, "\n"]).collect();
        again.apply(&refill).is_ok() && again.same_rules(now)
    }

    /// Whether our jump leads to each door that had rules before or gets some.
    pub fn has_jumps(&self, now: &Ruleset) -> bool {
        let used = self.doors.iter().filter(|d| d.new.is_some() || d.old.is_some());
        used.into_iter().all(|d| standing(now, d.is_forwarded()).jump.is_some())
    }

    /// Whether our chains are as a trial of this change, or its end, left them: the switches with the jumps to them,
    /// containing only jumps to slots with the right content. None of them has been renamed since.
    pub fn is_in_place(&self, now: &Ruleset) -> bool {
        self.has_jumps(now)
            && self.doors.iter().all(|d| {
                let holds = |slot: Option<Slot>, rules: &[String]| {
                    slot.is_none_or(|s| {
                        now.chain("filter", &s.chain(&d.switch))
                            .is_some_and(|c| c.rules.iter().map(|r| &*r.text).eq(rules.iter().map(String::as_str)))
                    })
                };
                holds(d.new, &d.rules) && holds(d.old, &d.old_rules)
            })
    }

    /// The doors whose rules no jump of ours leads to: the rules of the new plan or, with `old`, those that a revert
    /// puts back. They have no effect.
    pub fn without_jump(&self, now: &Ruleset, old: bool) -> Vec<&DoorChange> {
        if now.table("filter").is_some_and(|t| t.unreadable) {
            // Unreadable: unknown.
            return Vec::new();
        }
        self.doors
            .iter()
            .filter(|d| {
                let slot = if old { d.old } else { d.new };
                // A jump added by the apply is removed by the revert.
                slot.is_some() && (old && !d.jump_was_there || standing(now, d.is_forwarded()).jump.is_none())
            })
            .collect()
    }

    /// The trial that the kernel itself shows when no file describes it; a revert goes back to the old slot.
    pub fn from_kernel(set: &Ruleset) -> Self {
        let doors = [false, true]
            .into_iter()
            .filter_map(|forwarded| {
                let now = standing(set, forwarded);
                let switch = SWITCHES[usize::from(forwarded)];
                let rules_of = |s: Option<Slot>| {
                    s.and_then(|s| set.chain("filter", &s.chain(switch)))
                        .map(|c| c.rules.iter().map(|r| r.text.to_string()).collect())
                        .unwrap_or_default()
                };
                let new = if now.fuse.is_some() { Some(now.kept.map_or(Slot::A, Slot::other)) } else { now.kept };
                now.present.then(|| DoorChange {
                    switch: switch.to_owned(),
                    old: now.kept,
                    new,
                    rules: rules_of(new),
                    old_rules: rules_of(now.kept),
                    parent: now
                        .jump
                        .as_ref()
                        .map_or(if forwarded { "FORWARD" } else { "INPUT" }, |j| j.0.as_str())
                        .to_owned(),
                    jump: if forwarded { FORWARD_JUMP } else { INPUT_JUMP }.to_owned(),
                    jump_was_there: true,
                })
            })
            .collect();
        Self { v6: set.family == Family::V6, doors }
    }

    /// Whether a ruleset shows what a revert leaves: the old slots in force, without dates, with their old content.
    pub fn is_back_in(&self, set: &Ruleset) -> bool {
        self.doors.iter().all(|d| {
            let now = standing(set, d.is_forwarded());
            now.fuse.is_none() && now.kept == d.old && (d.old.is_none() || now.rules == d.old_rules)
        })
    }

    /// Whether a ruleset keeps what this change leaves when it is kept. `false` for a table that cannot be read.
    pub fn is_kept_in(&self, set: &Ruleset) -> bool {
        set.table("filter").is_some_and(|t| t.unreadable) || self.is_old_of(&Self::from_kernel(set))
    }

    /// Whether what this change leaves when it is kept is what a later one found and goes back to.
    pub fn is_old_of(&self, later: &Self) -> bool {
        SWITCHES.into_iter().all(|switch| {
            let door = |change: &Self| change.doors.iter().find(|d| d.switch == switch).cloned();
            door(self).map_or_else(Vec::new, |d| d.rules) == door(later).map_or_else(Vec::new, |d| d.old_rules)
        })
    }

    /// Our unused chains that other rules refer to, each with one such rule: they cannot be removed.
    pub fn held_by_others(&self, after: &Ruleset) -> Vec<(String, String)> {
        let Some(filter) = after.table("filter") else { return Vec::new() };
        let ours = |name: &str| self.doors.iter().any(|d| name.starts_with(&d.switch));
        let mut out = Vec::new();
        for empty in filter.chains.iter().filter(|c| ours(&c.name) && c.rules.is_empty()) {
            let refers = |c: &Chain, r: &Rule| match &r.spec(after.family).target {
                Target::Jump(n, _) | Target::Goto(n) => {
                    *n == empty.name
                        && !self.doors.iter().any(|d| *r.text == *d.jump && d.parents().contains(&&*c.name))
                }
                _ => false,
            };
            let mut others = filter.chains.iter().filter(|c| !ours(&c.name));
            let rule = others.find_map(|c| c.rules.iter().find(|r| refers(c, r)).map(|r| r.line_in(&c.name)));
            out.extend(rule.map(|r| (empty.name.clone(), r)));
        }
        out
    }

    /// The scripts that remove what is no longer needed, each in a transaction of its own: our jump, in its exact
    /// words, then our unused chains. `after` is a fresh reading: what it does not show is not removed.
    pub fn cleanup_scripts(&self, after: &Ruleset) -> Vec<String> {
        let Some(filter) = after.table("filter") else { return Vec::new() };
        let mut out = Vec::new();
        let mut gone = Vec::new();
        for d in &self.doors {
            let switch_empty = filter.chain(&d.switch).is_some_and(|c| c.rules.is_empty());
            if !switch_empty {
                // Back to a plan that had already lost its jump.
                if !d.jump_was_there
                    && d.old.is_some()
                    && standing(after, d.is_forwarded()).kept == d.old
                    && filter.chain(&d.parent).is_some_and(|c| c.rules.iter().any(|r| *r.text == *d.jump))
                {
                    out.push(format!("*filter\n-D {} {}\nCOMMIT\n", d.parent, d.jump));
                }
                for slot in [Slot::A, Slot::B].map(|s| s.chain(&d.switch)) {
                    let unused =
                        filter.chain(&slot).is_some_and(|c| c.rules.is_empty()) && !filter.is_referenced(&slot, &[]);
                    if unused {
                        out.push(format!("*filter\n-X {slot}\nCOMMIT\n"));
                    }
                }
                continue;
            }
            for chain in d.parents().iter().filter_map(|p| filter.chain(p)) {
                for _ in chain.rules.iter().filter(|r| *r.text == *d.jump) {
                    out.push(format!("*filter\n-D {} {}\nCOMMIT\n", chain.name, d.jump));
                    gone.push((chain.name.as_str(), d.jump.as_str()));
                }
            }
            for name in [d.switch.clone(), Slot::A.chain(&d.switch), Slot::B.chain(&d.switch)] {
                if filter.chain(&name).is_some_and(|c| c.rules.is_empty()) && !filter.is_referenced(&name, &gone) {
                    out.push(format!("*filter\n-X {name}\nCOMMIT\n"));
                }
            }
        }
        out
    }
}

impl DoorChange {
    /// Whether the door is that of forwarded packets; otherwise that of the host's own ports.
    pub fn is_forwarded(&self) -> bool {
        self.switch == SWITCHES[1]
    }

    pub(super) fn parents(&self) -> &'static [&'static str] {
        PARENTS[usize::from(self.is_forwarded())]
    }

    /// Adds the declarations and rules of one act. Declaring one of our chains empties it.
    fn lines(&self, act: Act, head: &mut String, body: &mut String) {
        let _ = writeln!(head, ":{} - [0:0]", self.switch);
        match act {
            Act::Apply(Some(t)) | Act::Extend(Some(t)) => {
                self.jump_to(body, &format!("-m time --datestop {} ", stamp(t)), self.new);
                self.jump_to(
                    body,
                    &format!("-m time --datestart {} --datestop {END_OF_DATES} ", stamp(t + 1)),
                    self.old,
                );
            }
            Act::Apply(None) | Act::Extend(None) | Act::Keep | Act::Whole => self.jump_to(body, "", self.new),
            Act::Revert => self.jump_to(body, "", self.old),
            Act::Empty => {}
        }
        match act {
            Act::Apply(_) | Act::Keep | Act::Whole => self.fill(self.new, &self.rules, head, body),
            Act::Revert => self.fill(self.old, &self.old_rules, head, body),
            Act::Extend(_) | Act::Empty => {}
        }
        if matches!(act, Act::Apply(_) | Act::Whole) && self.new.is_some() && !self.jump_was_there {
            let _ = writeln!(body, "-I {} 1 {}", self.parent, self.jump);
        }
        match act {
            // The slot that is not in force is emptied.
            Act::Keep | Act::Whole => self.fill(self.old, &[], head, body),
            Act::Revert => self.fill(self.new, &[], head, body),
            _ => {}
        }
    }

    fn jump_to(&self, body: &mut String, dates: &str, slot: Option<Slot>) {
        if let Some(s) = slot {
            let _ = writeln!(body, "-A {} {dates}-j {}", self.switch, s.chain(&self.switch));
        }
    }

    fn fill(&self, slot: Option<Slot>, rules: &[String], head: &mut String, body: &mut String) {
        let Some(chain) = slot.map(|s| s.chain(&self.switch)) else { return };
        let _ = writeln!(head, ":{chain} - [0:0]");
        for r in rules {
            let _ = writeln!(body, "-A {chain} {r}");
        }
    }
}

/// An instant as xt_time writes it, always in UTC.
fn stamp(second: i64) -> String {
    jiff::Timestamp::from_second(second)
        .map(|t| jiff::tz::TimeZone::UTC.to_datetime(t).strftime("%Y-%m-%dT%H:%M:%S").to_string())
        .unwrap_or_default()
}
