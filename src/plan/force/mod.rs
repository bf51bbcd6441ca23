//! Whether a plan is in force: our chains hold it, our jump leads to them, and nothing before that jump decides packets
//! that the plan is about. Everything that reports this uses this one judgement.

mod overruled;

use super::slots::{FamilyChange, standing};
use crate::analyse::{Finding, FindingCode};
use crate::model::names::chains::SWITCHES;
use crate::model::{BootFile, Family, Proto, Rule, View};

pub use overruled::something_before;

/// A way into the host that our rules guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The host's own ports.
    Input,
    /// What is forwarded to published ports.
    Forward,
}

impl Door {
    const BOTH: [Self; 2] = [Self::Input, Self::Forward];

    /// Our chain for it.
    pub fn chain(self) -> &'static str {
        SWITCHES[usize::from(self == Self::Forward)]
    }
}

/// What somebody else's rule does to the packets of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Lets in, certainly or perhaps, somebody whom the plan blocks.
    Opens,
    /// Blocks everybody whom the plan lets in.
    Closes,
    /// Blocks some of them, like a ban.
    Narrows,
}

/// A reason why a plan, or a part of it, is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The rules cannot be read: unknown.
    Unreadable(Family),
    /// The family was enabled after the plan, which has no rules for it.
    NotCovered(Family),
    /// Our chains are gone.
    ChainsGone(Family, Door),
    /// Our chains exist, but no jump leads to them.
    JumpGone {
        /// Which family.
        family: Family,
        /// Which door.
        door: Door,
        /// The jump that is missing, e.g. `-A INPUT ! -i lo -j PORTCULLIS`.
        jump: String,
    },
    /// Our chains hold something else.
    Differs {
        /// Which family.
        family: Family,
        /// Which door.
        door: Door,
        /// The difference, half a sentence.
        how: String,
    },
    /// Something before our jump decides packets that the plan is about.
    Overruled {
        /// Which family.
        family: Family,
        /// The rule or policy that decides, e.g. `-A INPUT -p tcp -m tcp --dport 111 -j ACCEPT`.
        rule: String,
        /// The ports of the plan that it decides about.
        ports: Vec<(Proto, u16)>,
        /// The interface on which it does, unless on all.
        on: Option<String>,
        /// What it does.
        way: Way,
    },
}

impl Fault {
    /// The stable word in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::NotCovered(_) => "not-covered",
            Self::ChainsGone(..) => "chains-gone",
            Self::JumpGone { .. } => "jump-gone",
            Self::Differs { .. } => "differs",
            Self::Overruled { way: Way::Opens, .. } => "overruled-open",
            Self::Overruled { way: Way::Closes, .. } => "overruled-closed",
            Self::Overruled { way: Way::Narrows, .. } => "narrowed",
        }
    }

    /// The family whose rules it is about.
    pub fn family(&self) -> Family {
        match self {
            Self::Unreadable(f) | Self::NotCovered(f) | Self::ChainsGone(f, _) => *f,
            Self::JumpGone { family, .. } | Self::Differs { family, .. } | Self::Overruled { family, .. } => *family,
        }
    }

    /// Whether it voids the plan: a ban elsewhere of somebody whom the plan lets in does not.
    fn is_grave(&self) -> bool {
        !matches!(self, Self::Overruled { way: Way::Narrows, .. })
    }

    /// Whether nothing of the plan is in force at a door or in a family.
    fn is_whole(&self) -> bool {
        matches!(self, Self::NotCovered(_) | Self::ChainsGone(..) | Self::JumpGone { .. } | Self::Differs { .. })
    }

    /// One sentence, without its full stop.
    pub fn says(&self) -> String {
        let label = self.family().label();
        match self {
            Self::Unreadable(_) => format!("the {label} rules could not be read"),
            Self::NotCovered(_) => format!("{label} was enabled since: the plan has no rules there"),
            Self::ChainsGone(_, door) => format!("our {label} chain {} is gone", door.chain()),
            Self::JumpGone { jump, .. } => {
                format!("the {label} rules have no effect: our jump to them is gone: `{jump}`")
            }
            Self::Differs { door, how, .. } => format!("our {label} chain {} {how}", door.chain()),
            Self::Overruled { rule, ports, on, way, .. } => {
                let ports: Vec<String> = ports.iter().map(|(proto, port)| format!("{port}/{proto}")).collect();
                let on = on.as_ref().map_or_else(String::new, |i| format!(" on {i}"));
                let does = match way {
                    Way::Opens => "lets in somebody whom the plan blocks",
                    Way::Closes => "blocks everybody whom the plan lets in",
                    Way::Narrows => "blocks some whom the plan lets in",
                };
                format!("before our {label} rules, `{rule}` {does}{on} ({})", ports.join(", "))
            }
        }
    }
}

/// How much of a plan is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// A part.
    Part,
    /// Nothing.
    None,
    /// Unknown.
    Unknown,
}

impl Extent {
    /// The words for the screen.
    pub fn says(self) -> &'static str {
        match self {
            Self::Whole => "in force",
            Self::Part => "only partly in force",
            Self::None => "not in force",
            Self::Unknown => "perhaps not in force",
        }
    }
}

/// Whether a plan is in force, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Force {
    /// What is wrong, the worst first.
    pub faults: Vec<Fault>,
    /// For how many doors the plan has rules, over both families.
    doors: usize,
}

impl Force {
    /// How much of it is in force.
    pub fn extent(&self) -> Extent {
        let grave = || self.faults.iter().filter(|f| f.is_grave());
        let whole = grave().filter(|f| f.is_whole()).count();
        match grave().count() {
            0 => Extent::Whole,
            _ if grave().all(|f| matches!(f, Fault::Unreadable(_))) => Extent::Unknown,
            _ if whole > 0 && whole >= self.doors => Extent::None,
            _ => Extent::Part,
        }
    }

    /// Whether there is nothing wrong.
    pub fn holds(&self) -> bool {
        self.extent() == Extent::Whole
    }

    /// Whether the rules themselves are gone, at least in one family: then the plan has to be applied again, not just
    /// its jump.
    pub fn is_lost(&self) -> bool {
        self.faults.iter().any(|f| matches!(f, Fault::ChainsGone(..) | Fault::Differs { .. } | Fault::NotCovered(_)))
    }

    /// Whether the rules, loaded again as they are, would hold the plan; `jumps`: with every jump put in.
    pub fn would_hold(&self, jumps: bool) -> bool {
        !self.faults.iter().any(|f| match f {
            Fault::ChainsGone(..) | Fault::Differs { .. } => true,
            Fault::JumpGone { .. } => !jumps,
            Fault::Unreadable(_) | Fault::NotCovered(_) | Fault::Overruled { .. } => false,
        })
    }

    /// What is wrong, one sentence each; missing chains share one.
    pub fn says(&self) -> Vec<String> {
        let gone = |family: Family| -> Vec<&str> {
            self.faults
                .iter()
                .filter_map(|f| {
                    if let Fault::ChainsGone(of, door) = f { (*of == family).then(|| door.chain()) } else { None }
                })
                .collect()
        };
        let lists: Vec<String> = Family::BOTH
            .into_iter()
            .filter(|f| !gone(*f).is_empty())
            .map(|f| format!("{} ({})", f.label(), gone(f).join(", ")))
            .collect();
        let gone = (!lists.is_empty()).then(|| format!("our chains are gone from {}", lists.join(" and ")));
        gone.into_iter()
            .chain(self.faults.iter().filter(|f| !matches!(f, Fault::ChainsGone(..))).map(Fault::says))
            .collect()
    }

    /// How to fix it, a sentence without its full stop. `saved`: our own unit can load the plan.
    pub fn cure(&self, saved: bool) -> Option<&'static str> {
        if self.faults.iter().any(Fault::is_whole) {
            Some(if saved {
                "`systemctl restart portcullis-rules` (or `portcullis load`) puts in what was saved"
            } else {
                "apply the plan again (the cockpit's History takes it up), and `portcullis save` it; or `portcullis \
                    remove` it for good"
            })
        } else if self.faults.iter().any(|f| matches!(f, Fault::Overruled { .. }) && f.is_grave()) {
            Some("remove that rule, or move it after our jump")
        } else if self.faults.iter().any(|f| matches!(f, Fault::Unreadable(_))) {
            Some("see `nft list ruleset` and `iptables-save`, then look again")
        } else {
            None
        }
    }
}

/// The plan that ought to be in force on a host, and whether it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The id of its trial.
    pub trial: String,
    /// Whether that trial is running; otherwise it was kept.
    pub on_trial: bool,
    /// Whether it is in force.
    pub force: Force,
    /// Whether it is saved as our own part, which our unit loads.
    pub saved: bool,
}

impl InForce {
    /// How to fix it, a sentence without its full stop.
    pub fn cure(&self) -> Option<&'static str> {
        if self.on_trial {
            Some("`portcullis revert` ends the trial; then apply the plan again")
        } else {
            self.force.cure(self.saved)
        }
    }

    /// Everything that is wrong in one sentence; `None` if nothing is.
    pub fn says(&self) -> Option<String> {
        if self.force.holds() {
            return None;
        }
        let whose = if self.on_trial { "The plan on trial" } else { "The kept plan" };
        let cure = self.cure().map_or_else(String::new, |cure| format!(". To mend it: {cure}"));
        Some(format!(
            "{whose} ({}) is {}: {}{cure}.",
            self.trial,
            self.force.extent().says(),
            self.force.says().join("; ")
        ))
    }
}

/// The plan that ought to be in force on a host, and what boot would load instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enforced {
    /// That plan, and whether it is in force; `None` if nothing was kept, or it is being changed right now.
    pub in_force: Option<InForce>,
    /// Files that boot loads and that are not as they should be.
    pub boot_files: Vec<BootFile>,
}

impl Enforced {
    /// The findings about it.
    pub fn findings(&self) -> Vec<Finding> {
        let find = |code, message| Finding { code, endpoint: None, message };
        let void = self.in_force.as_ref().and_then(InForce::says).map(|said| find(FindingCode::NotInForce, said));
        let saved: Vec<BootFile> = self.boot_files.iter().filter(|f| f.holds.is_bad()).cloned().collect();
        let saved =
            BootFile::say(&saved).into_iter().map(|(_, said)| find(FindingCode::TrialInBootFile, format!("{said}.")));
        void.into_iter().chain(saved).collect()
    }
}

/// Judges a trial's plan by a host's current rules. `on_trial`: it is running, with or without dates; otherwise it was
/// kept. Leave out of `families` those that the host does not have.
pub fn judge(families: &[FamilyChange], on_trial: bool, view: &View) -> Force {
    let mut out = Force::default();
    for change in families {
        let family = change.family();
        out.doors += change.doors.iter().filter(|d| d.new.is_some()).count();
        let Some(set) = view.rules(family).filter(|s| !s.table("filter").is_some_and(|t| t.unreadable)) else {
            out.faults.push(Fault::Unreadable(family));
            continue;
        };
        let kernel = FamilyChange::from_kernel(set);
        for door in Door::BOTH {
            let mine = change.doors.iter().find(|d| d.switch == door.chain());
            let wanted: &[String] = mine.map_or(&[], |d| &d.rules);
            let there = kernel.doors.iter().find(|d| d.switch == door.chain());
            let found: &[String] = there.map_or(&[], |d| if on_trial { &d.rules } else { &d.old_rules });
            match mine {
                Some(_) if !wanted.is_empty() && there.is_none() => out.faults.push(Fault::ChainsGone(family, door)),
                _ if !same(wanted, found, family) => {
                    out.faults.push(Fault::Differs { family, door, how: difference(wanted, found) });
                }
                Some(d) if !wanted.is_empty() && standing(set, door == Door::Forward).jump.is_none() => {
                    out.faults.push(Fault::JumpGone { family, door, jump: format!("-A {} {}", d.parent, d.jump) });
                }
                _ => {}
            }
        }
        out.faults.extend(overruled::overruled(change, view));
    }
    if out.doors > 0 {
        let more =
            Family::BOTH.into_iter().filter(|f| view.rules(*f).is_some() && !families.iter().any(|c| c.family() == *f));
        for family in more {
            out.doors += 1;
            out.faults.push(Fault::NotCovered(family));
        }
    }
    out.faults.sort_by_key(|f| !f.is_grave());
    out
}

/// Compares rule lists: another version of iptables may print the same rule in other words.
fn same(wanted: &[String], found: &[String], family: Family) -> bool {
    let means = |text: &String| Rule::new(text).spec(family);
    wanted.len() == found.len() && wanted.iter().zip(found).all(|(a, b)| a == b || means(a) == means(b))
}

/// What one of our chains contains but should not, or lacks.
fn difference(wanted: &[String], found: &[String]) -> String {
    if wanted.is_empty() {
        return format!("holds rules that are not part of the plan, e.g. {}", found.first().map_or("", String::as_str));
    }
    if found.is_empty() {
        return "leads to no rules".to_owned();
    }
    let only = |a: &[String], b: &[String]| a.iter().find(|r| !b.contains(r)).cloned();
    let named: Vec<String> = only(wanted, found)
        .map(|r| format!("gone is {r}"))
        .into_iter()
        .chain(only(found, wanted).map(|r| format!("new is {r}")))
        .collect();
    let named = if named.is_empty() { "the order of rules, or a double of one".to_owned() } else { named.join("; ") };
    format!("holds other rules: {named}")
}

#[cfg(test)]
mod tests;
