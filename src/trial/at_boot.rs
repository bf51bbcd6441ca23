//! What the files would do if boot loaded them alone, before a manager has built its own rules or when it is gone:
//! whether the operator gets in, and what would be open or closed.

use super::boot::{AtBoot, Boot, Place};
use super::refusal::Refusal;
use super::saved::File;
use crate::analyse::{Access, Analysis, Endpoint, EndpointKind, Exposure, Manager, rule_owner, ways_in};
use crate::host::Host;
use crate::model::{Code, Family, Ruleset, SaveMode, View};
use crate::observe::live;
use crate::plan::Part;
use crate::syntax::iptables_save;

/// How many endpoints one sentence names.
const NAMED: usize = 4;

/// Why these files must not be written, if so; other changes become sentences. `loaded`: what is loaded now.
pub(super) fn check(
    host: &dyn Host,
    mode: SaveMode,
    loaded: &[Ruleset],
    place: &Place,
    files: &[File],
    boot: &mut Boot,
) -> Option<Refusal> {
    let fills = fills(files, boot);
    if mode == SaveMode::All && fills.is_none() {
        // Nothing is left out.
        return None;
    }
    let mut now = live::observe(host);
    if now.ssh_peer.is_none() && now.logins.is_none() {
        // The console was used today; that nobody else gets in after a boot is not what its user asked for.
        now.logins = Some(host.logins());
    }
    let now = with_rules(&now, loaded.iter().cloned());
    let alone = files.iter().filter(|f| f.part == (mode == SaveMode::Ours)).map(as_loaded);
    let mut then = with_rules(&now, alone);
    if let Some(sets) = fills {
        then.ipsets = Some(sets.filled(now.ipsets.as_deref().unwrap_or_default()));
    }
    let ours = place.in_charge(host).map(Manager::label).or_else(|| managers(loaded).first().copied());
    if mode == SaveMode::Unmanaged {
        for line in differences(&now, &then) {
            boot.says(match ours {
                Some(manager) => format!("Until {manager} has built its own, {line}"),
                None => format!("At boot {line}"),
            });
        }
    }
    let way = ways_in(&now, &then).into_iter().next()?;
    let Access::Worse { why } = &way.access else { return None };
    let hint = match (mode, ours) {
        (SaveMode::All, _) => {
            "nothing was written; it gets in by an ipset that boot fills with other entries: add it to what boot loads"
                .to_owned()
        }
        (SaveMode::Ours, _) => "nothing was written; put an allow rule for that address into the plan".to_owned(),
        (_, Some(manager)) => format!(
            "nothing was written; what lets it in is {manager}'s, which this leaves out: `portcullis save --ours` \
            saves portcullis' own chains alone, loaded after {manager}"
        ),
        (_, None) => "nothing was written; `portcullis save --all` leaves nothing out".to_owned(),
    };
    Some(Refusal::new(Code::Lockout, format!("boot would cut {}: {why}", way.what()), hint))
}

/// The sets that boot fills before it loads these files, if their rules name any.
fn fills<'a>(files: &[File], boot: &'a Boot) -> Option<&'a AtBoot> {
    files.iter().filter(|f| !f.part && f.text.contains("-set ")).find_map(|f| boot.sets(f.family))
}

/// The rules of a file as boot loads them when nobody else adds any.
fn as_loaded(file: &File) -> Ruleset {
    let mut set = iptables_save::read(&file.text, file.family).0;
    if file.part
        && let Ok(part) = Part::read(&file.text, file.family)
    {
        set.table_or_new("filter");
        let mut alone = Ruleset::new(file.family);
        alone.table_or_new("filter");
        for script in std::iter::once(part.change(&alone).whole_script()).chain(part.jumps(&alone)) {
            // Cannot fail: the chains are empty.
            let _ = alone.apply(&script);
        }
        set = alone;
    }
    set
}

/// The host with these rules; a family without any keeps what it has.
fn with_rules(now: &View, sets: impl Iterator<Item = Ruleset>) -> View {
    let mut then = now.clone();
    for set in sets {
        match set.family {
            Family::V4 => then.v4 = Some(set),
            Family::V6 => then.v6 = Some(set),
        }
    }
    then
}

/// The managers that have chains in these rulesets and that build the way into the host; Docker and
/// the like only forward.
fn managers(sets: &[Ruleset]) -> Vec<&'static str> {
    let inputs = sets.iter().filter_map(|s| s.chain("filter", "INPUT").map(|c| (s.family, c)));
    let mut found: Vec<Manager> = inputs
        .flat_map(|(_, c)| c.rules.iter().filter_map(|r| rule_owner(&c.name, r)))
        .filter(|m| *m != Manager::Portcullis)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(Manager::label).collect()
}

/// What would be closed to senders who get in now, and open to others, one sentence each. Published ports are left out:
/// their manager recreates them with all that protects them.
fn differences(now: &View, then: &View) -> Vec<String> {
    let (now, then) = (Analysis::new(now), Analysis::new(then));
    let asked: Vec<Endpoint> =
        now.endpoints().into_iter().filter(|e| e.kind != EndpointKind::Published && e.listening).collect();
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    for e in &asked {
        let [old, new] = [&now, &then].map(|host| Family::BOTH.map(|f| host.exposure(e, f)));
        let of = |change: fn(&Exposure, &Exposure) -> bool| -> Vec<&str> {
            let both =
                Family::BOTH.into_iter().filter_map(|f| Some((f, old[f.index()].as_ref()?, new[f.index()].as_ref()?)));
            both.filter(|(_, old, new)| change(old, new)).map(|(f, ..)| f.label()).collect()
        };
        for (list, families) in [(&mut closed, of(|old, new| gains(new, old))), (&mut open, of(gains))] {
            if !families.is_empty() {
                list.push(format!("{} ({})", e.label(), families.join(", ")));
            }
        }
    }
    let line = |list: &[String], what: &str| {
        (!list.is_empty()).then(|| {
            let more = list.len().saturating_sub(NAMED);
            let named = list[..list.len().min(NAMED)].join(", ");
            format!(
                "these rules alone {what}: {named}{}.",
                if more == 0 { String::new() } else { format!(" and {more} more") }
            )
        })
    };
    [line(&closed, "close what is open now"), line(&open, "leave open what is closed now")]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether somebody gets in by the new rules but not by the old ones.
fn gains(old: &Exposure, new: &Exposure) -> bool {
    !new.widest().accepted.minus(&old.widest().accepted).is_empty()
}
