//! What the kernel shows of a trial that a file describes: a file that could no longer be written is out of date.

use std::time::Duration;

use super::kernel;
use super::loaded::Loaded;
use super::record::Record;
use crate::host::Host;
use crate::model::Ruleset;
use crate::plan::{FamilyChange, named, standing};

/// The time limit of one look: somebody looks once a second.
const LOOK: Duration = Duration::from_secs(5);

/// What was found of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The trial's rules are loaded; with remarks about parts that are not.
    Live(Vec<String>),
    /// The old rules are loaded, and none of the trial's.
    Back,
    /// Neither: somebody also removed what was kept before.
    Gone,
    /// The rules could not be read, and why.
    Unseen(String),
}

/// What one family shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The trial's rules, or dates of ours.
    Live,
    /// The old rules.
    Back,
    /// Neither.
    Gone,
}

/// Looks at our own chains, and at everything loaded only if those do not show the trial.
pub fn of(host: &dyn Host, trial: &Record, loaded: &Loaded) -> Evidence {
    if quickly(trial, loaded) {
        return Evidence::Live(Vec::new());
    }
    let (mut shown, mut remarks) = (Vec::new(), Vec::new());
    for change in &trial.families {
        // If the table is missing, the tool may print nothing: then the table is asked for by name.
        let seen = loaded.all()[change.family().index()].filter(|r| r.table("filter").is_some()).cloned();
        match seen.map_or_else(|| kernel::read_within(host, change.family(), LOOK), Ok) {
            Ok(now) if now.table("filter").is_some_and(|t| t.unreadable || t.partial) => {
                return Evidence::Unseen(format!("the {} filter table cannot be read whole", change.family().label()));
            }
            Ok(now) => {
                shown.push((change, family(change, &now, trial.fuse)));
                remarks.extend(kernel::renamed(change, &now).map(|what| format!("{what}: a revert removes it")));
            }
            Err(why) => return Evidence::Unseen(why),
        }
    }
    if shown.iter().any(|(_, s)| *s == Shown::Live) {
        let without = shown.iter().filter(|(_, s)| *s != Shown::Live).map(|(c, _)| {
            format!("the {} rules of the trial are no longer loaded: somebody removed them", c.family().label())
        });
        remarks.extend(without);
        return Evidence::Live(remarks);
    }
    if shown.iter().all(|(_, s)| *s == Shown::Back) { Evidence::Back } else { Evidence::Gone }
}

/// Whether our own chains show the trial in each family.
fn quickly(trial: &Record, loaded: &Loaded) -> bool {
    let ours = loaded.ours();
    trial.fuse.is_some()
        && trial.families.iter().all(|change| {
            ours[change.family().index()]
                .is_some_and(|now| change.doors.iter().all(|d| standing(now, d.is_forwarded()).fuse == trial.fuse))
        })
}

/// What a reading of one family shows.
pub fn family(change: &FamilyChange, now: &Ruleset, fuse: Option<i64>) -> Shown {
    let now = &named(now).0;
    let dated = change.doors.iter().any(|d| standing(now, d.is_forwarded()).fuse.is_some());
    if dated || fuse.is_none() && change.holds(now, &change.apply_script(None)) {
        Shown::Live
    } else if change.is_back_in(now) {
        Shown::Back
    } else {
        Shown::Gone
    }
}

/// A trial's last second, from the dates in our chains.
pub(super) fn dated(rules: &Ruleset) -> Option<i64> {
    let rules = named(rules).0;
    standing(&rules, false).fuse.or(standing(&rules, true).fuse)
}
