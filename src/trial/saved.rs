//! What a save writes: one file per family, with or without the rules that managers recreate.

use std::path::PathBuf;

use crate::analyse::{Manager, owner, rule_owner};
use crate::model::names::chains::DOCKER_USER;
use crate::model::{Family, Match, Net, Ruleset, Spec, Target};

/// One file that a save would write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its family.
    pub family: Family,
    /// Its path.
    pub path: PathBuf,
    /// What it will contain.
    pub text: String,
    /// Unified difference to its current content; empty if there is none.
    pub diff: String,
    /// Whether it holds only our own chains; otherwise everything that boot is to load.
    pub part: bool,
}

/// Whether source and destination are the same single address.
fn to_itself(spec: &Spec) -> bool {
    let single = |n: &Net| n.prefix() == Some(n.family.bits());
    let of = |end: fn(&Match) -> Option<Net>| spec.matches.iter().find_map(end).filter(single);
    let source = of(|m| if let Match::Source(false, n) = m { Some(*n) } else { None });
    source.is_some() && source == of(|m| if let Match::Destination(false, n) = m { Some(*n) } else { None })
}

/// Removes rules that managers recreate by themselves.
pub(super) fn leave_managed_out(set: &mut Ruleset) {
    let family = set.family;
    let rebuilt = |m: Option<Manager>| m.is_some_and(Manager::rebuilds);
    for table in &mut set.tables {
        let managed: Vec<String> = table
            .chains
            .iter()
            .filter(|c| c.policy.is_none() && c.name != DOCKER_USER && rebuilt(owner(&c.name)))
            .map(|c| c.name.clone())
            .collect();
        let filter = table.name == "filter";
        for chain in &mut table.chains {
            let (own, built_in) = (chain.name.clone(), chain.policy.is_some());
            chain.rules.retain(|r| {
                let spec = r.spec(family);
                match spec.target {
                    Target::Jump(ref to, _) | Target::Goto(ref to) => {
                        own == DOCKER_USER || to == DOCKER_USER || !managed.contains(to)
                    }
                    // Blocking rules always stay: losing one would open something.
                    Target::Drop | Target::Reject => true,
                    // Docker writes nothing there: a rule about its bridge is the administrator's.
                    _ if filter
                        && matches!(own.as_str(), "INPUT" | "OUTPUT")
                        && rule_owner(&own, r) == Some(Manager::Docker) =>
                    {
                        true
                    }
                    // A container that reaches its own published port: also Docker's.
                    Target::Snat if built_in && to_itself(&spec) => false,
                    _ => !(built_in && rebuilt(rule_owner(&own, r))),
                }
            });
        }
        for chain in managed {
            table.remove(&chain);
        }
    }
}
