//! Reads our own part of iptables-nft's filter table, chain by chain: the cost does not depend on how many rules others
//! have, as long as the built-in chains are short. It answers only if nothing is out of the ordinary; otherwise
//! everything has to be read.

use std::time::Duration;

use super::firewall;
use crate::host::Tools;
use crate::model::names::chains::{DOCKER_USER, SWITCHES, is_ours};
use crate::model::{Backend, Family, Ruleset, Target};
use crate::syntax::iptables_save;

/// Chains that may contain our jumps; the built-in ones always exist.
const PARENTS: [&str; 3] = ["INPUT", "FORWARD", DOCKER_USER];

/// How many other chains are checked for being ours under another name before everything is read instead.
const STRANGERS: usize = 16;

/// The time limit of one question: a slower answer is no better than reading everything.
const QUESTION: Duration = Duration::from_secs(3);

/// Our chains and those that contain the jumps to them; other chains that these jump to are included without their
/// rules. `None`: this is not iptables-nft, something could not be read, or the chains do not fit together, as after a
/// rename.
pub fn read(host: &dyn Tools, family: Family, limit: Duration) -> Option<Ruleset> {
    if firewall::version(host).1 != Some(Backend::Nft) {
        return None;
    }
    let limit = limit.min(QUESTION);
    let mut text = String::new();
    for chain in PARENTS {
        match ask(host, family, chain, limit)? {
            Some(lines) => text.push_str(&lines),
            // Without that chain, the name does not belong to Docker.
            None if chain == DOCKER_USER => {}
            None => return None,
        }
    }
    for switch in SWITCHES {
        // Slots without their switch decide nothing; a renamed switch is found by the jump to it.
        let Some(lines) = ask(host, family, switch, limit)? else { continue };
        text.push_str(&lines);
        for slot in ["-A", "-B"] {
            text.push_str(&ask(host, family, &format!("{switch}{slot}"), limit)?.unwrap_or_default());
        }
    }
    let (mut set, _) = iptables_save::read(&text, family);
    belongs_together(host, &mut set, limit).then_some(set)
}

/// The content of a chain; `Some(None)`: there is no such chain, or iptables cannot read it, which some versions report
/// in the same words.
#[allow(clippy::option_option, reason = "no answer, and the answer that there is none")]
fn ask(host: &dyn Tools, family: Family, chain: &str, limit: Duration) -> Option<Option<String>> {
    let out = host.nft_chain(family, chain, limit).ok()?;
    match out.status {
        // Each chain has a line of its own: its policy, or `-N`.
        0 => Some(out.text()).filter(|t| t.starts_with('-')).map(Some),
        // 128 + a signal; 4: out of memory, or another resource problem.
        1 if out.says("incompatible") || out.says("No chain") => Some(None),
        _ => None,
    }
}

/// Whether every chain of ours that is jumped to exists, and none was renamed. Other chains are added without rules.
fn belongs_together(host: &dyn Tools, set: &mut Ruleset, limit: Duration) -> bool {
    let family = set.family;
    let Some(filter) = set.table_mut("filter") else { return false };
    filter.partial = true;
    let mut missing = Vec::new();
    let mut strangers = Vec::new();
    for chain in &filter.chains {
        for rule in &chain.rules {
            let (Target::Jump(to, _) | Target::Goto(to)) = rule.spec(family).target else { continue };
            let parent = PARENTS.contains(&chain.name.as_str());
            if is_ours(&to) || !parent || to == DOCKER_USER {
                // All names in our chains and in a switch are known.
                if filter.chain(&to).is_none() {
                    return false;
                }
                continue;
            }
            let like_ours = if chain.name == "INPUT" {
                *rule.text == *format!("! -i lo -j {to}")
            } else {
                *rule.text == *format!("-j {to}") && filter.chain(SWITCHES[1]).is_none()
            };
            if like_ours && !strangers.contains(&to) {
                strangers.push(to.clone());
            }
            missing.push(to);
        }
    }
    if strangers.len() > STRANGERS {
        return false;
    }
    for name in &strangers {
        let Some(Some(lines)) = ask(host, family, name, limit) else { return false };
        let (there, _) = iptables_save::read(&lines, family);
        let rules = || there.chain("filter", name).into_iter().flat_map(|c| &c.rules);
        if rules().any(|r| r.has("--datestop") || r.jumps_to().is_some_and(|to| is_ours(&to))) {
            return false;
        }
    }
    for name in missing {
        filter.chain_or_new(&name).partial = true;
    }
    true
}
