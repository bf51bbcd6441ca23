//! `portcullis export PLAN --to shell|restore`.

use std::path::Path;

use super::{Failure, print_exact};
use crate::analyse::{Access, WayIn, ways_in};
use crate::cli::Script;
use crate::host::Host;
use crate::host::live::Live;
use crate::model::{Code, Family, Plan};
use crate::observe::live::observe;
use crate::plan::{self, Change};
use crate::trial;

/// Writes the change that a plan makes to the loaded rules as a script.
pub fn run(file: &Path, to: Script) -> anyhow::Result<()> {
    let host = Live::default();
    if !host.is_root() {
        return Err(trial::Refusal::not_root(host.rights()).into());
    }
    let mut wanted = super::apply::plan_of(file)?;
    trial::resolve(&host, &mut wanted)?;
    let view = observe(&host);
    for family in Family::BOTH {
        let refused = |what: String, hint| Failure::new(Code::UnreadableRules, what, hint);
        if let Some(why) = &view.unread[family.index()] {
            return Err(refused(
                format!("the {} rules could not be read: {why}", family.label()),
                "both families are changed or neither; install the missing tool",
            )
            .into());
        }
        if view.rules(family).and_then(|r| r.table("filter")).is_some_and(|t| t.unreadable) {
            return Err(refused(
                format!("iptables cannot read the {} filter table whole", family.label()),
                "iptables' table contains a native nft rule: find it with `nft list ruleset` and move it to a table of \
                its own",
            )
            .into());
        }
    }
    let change = plan::build(&view, &wanted).map_err(|e| Failure::failed(e.what, e.hint))?;
    super::apply::warn(&warnings(&change, &wanted));
    print_exact(&match to {
        Script::Shell => plan::shell_script(&change),
        Script::Restore => {
            plan::restore_texts(&change).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
        }
    })
}

/// What the script leaves open and whom it would lock out: a script has no automatic revert.
fn warnings(change: &Change, plan: &Plan) -> Vec<String> {
    let cut = |way: &WayIn| match &way.access {
        Access::Worse { why } => {
            Some(format!("the script would cut {}: {why}; it has no automatic revert", way.what()))
        }
        Access::Same | Access::Unknown { .. } => None,
    };
    plan::still_open(change, plan)
        .into_iter()
        .chain(ways_in(&change.before, &change.after).iter().filter_map(cut))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::host::demo::Demo;
    use crate::syntax;

    #[test]
    fn a_script_that_cuts_the_operator_is_warned_of() {
        let view = observe(&Demo::new());
        let said = |port: &str| {
            let plan = syntax::plan::read(&format!(
                "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"{port}\"]\n"
            ))
            .unwrap();
            warnings(&plan::build(&view, &plan).unwrap(), &plan)
        };
        assert!(
            said("22/tcp").iter().any(|w| w.contains("would cut a new SSH login from 10.0.0.5 to port 22")),
            "{:?}",
            said("22/tcp")
        );
        assert_eq!(said("111"), Vec::<String>::new());
    }
}
