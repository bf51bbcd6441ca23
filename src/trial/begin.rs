//! Begins a trial: read, snapshot, arm the guard, apply, read back.

use std::sync::Arc;
use std::time::Duration;

use super::back::{self, Caller};
use super::checks::all_checks;
use super::end::FUSE_AFTER;
use super::half_saved;
use super::history;
use super::kernel::{self, Look};
use super::machine::Event;
use super::moved;
use super::record::{self, Record, Who};
use super::refusal::Refusal;
use super::rehearse::{Failed, Rehearsal, difference, rehearse};
use super::undoers::undoers;
use super::written;
use crate::analyse::{Access, Entrant, WayIn, ways_in};
use crate::host::Host;
use crate::model::trial::{Allowed, By, State};
use crate::model::{Code, Family, Logins, Node, Operator, Plan, TRIAL_LIMITS, View};
use crate::observe::{firewall, live};
use crate::plan::{self, Change, Check, FamilyChange};
use crate::syntax::{iptables_save, plan as plan_file};

/// Options of a trial.
#[derive(Clone, Debug)]
pub struct Options {
    /// The old rules come back after this time unless the trial is kept.
    pub confirm_within: Duration,
    /// What is allowed although a check forbids it.
    pub allowed: Allowed,
    /// The host as it was shown to the operator; `None` if it was not shown.
    pub seen: Option<Arc<View>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { confirm_within: Duration::from_mins(1), allowed: Allowed::default(), seen: None }
    }
}

/// Whether both views show the same rules. Counters are ignored, and so are empty tables: whether those are loaded
/// depends on who looked.
fn same_rules(a: &View, b: &View) -> bool {
    Family::BOTH.into_iter().all(|f| match (a.rules(f), b.rules(f)) {
        (Some(a), Some(b)) => a.same_rules(b),
        (a, b) => a.is_none() && b.is_none(),
    })
}

/// Resolves every name in the plan. Addresses that were stored with it are kept.
pub fn resolve(host: &dyn Host, plan: &mut Plan) -> Result<(), Refusal> {
    for node in plan.rules.iter_mut().flat_map(|r| &mut r.from) {
        if let Node::Name(name, addrs) = node
            && addrs.is_empty()
        {
            *addrs = host.resolve(name).unwrap_or_default();
            if addrs.is_empty() {
                return Err(Refusal::new(
                    Code::Unresolved,
                    format!("{name} does not resolve to an address"),
                    "check the spelling, or write the address itself",
                ));
            }
        }
    }
    Ok(())
}

/// Begins a trial and returns once it runs. `progress` is told each step.
pub fn apply(
    host: &dyn Host,
    plan: &Plan,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Record, Refusal> {
    begin(host, plan, options, progress, None)
}

/// Receives the checks of a plan.
type Tell<'a> = &'a mut dyn FnMut(&[Check]);

/// The same for an operator who has not seen the plan's checks: `tell` gets them before anything is changed or refused
/// because of them, for exactly the rules that will be changed.
pub fn apply_telling(
    host: &dyn Host,
    plan: &Plan,
    options: &Options,
    progress: &mut dyn FnMut(&str),
    tell: Tell,
) -> Result<Record, Refusal> {
    begin(host, plan, options, progress, Some(tell))
}

fn begin(
    host: &dyn Host,
    plan: &Plan,
    options: &Options,
    progress: &mut dyn FnMut(&str),
    tell: Option<Tell>,
) -> Result<Record, Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()));
    }
    let seconds = options.confirm_within.as_secs();
    if !(TRIAL_LIMITS.0..=TRIAL_LIMITS.1).contains(&seconds) {
        return Err(Refusal::new(
            Code::Limits,
            format!("a trial of {seconds} s is not possible"),
            "10 s to 1 h, e.g. --confirm-within 60s",
        ));
    }
    let _lock = record::lock(host, Duration::from_secs(2))
        .map_err(|e| {
            Refusal::new(
                Code::NoRunDir,
                e,
                "nothing was changed; see that the disk is not full and the directory belongs to root",
            )
        })?
        .ok_or_else(|| Refusal::busy(host))?;
    refuse_pending(host)?;
    for said in half_saved::recover(host) {
        progress(&said);
    }
    if let Some(last) = record::load(host) {
        // A killed revert may have left a tool that still waits for the xtables lock.
        host.end_leftovers(&kernel::back_mark(&last.id), &[]);
    }
    progress("reading what is loaded");
    let mut plan = plan.clone();
    resolve(host, &mut plan)?;
    let (view, texts) = look(host)?;
    let change = plan::build(&view, &plan).map_err(|e| Refusal::new(Code::Plan, e.what, e.hint))?;
    if let Some(done) = taken_out(host, &change, &plan, options, &view) {
        return done;
    }
    if let Some(tell) = tell.filter(|_| !change.is_nothing()) {
        tell(&all_checks(host, &plan, &change));
    }
    let ways = way_is_clear(&change, &view, options)?;
    let id = new_id(host);
    let rehearsal = rehearsed(host, &change, &texts, options, progress)?;
    progress("writing the snapshot");
    for (family, text) in &texts {
        history::write_snapshot(host, &id, family.suffix(), text).map_err(|e| {
            Refusal::new(Code::Snapshot, e, "nothing was changed; free some space in the state directory")
        })?;
    }
    let mut record = new_record(host, &id, &plan, change.families.clone(), options, &view);
    record.remarks.extend(rehearsal.left_out.iter().map(|l| format!("not part of the rehearsal: {l}")));
    record.remarks.extend(plan::still_open(&change, &plan));
    record.remarks.extend(view.unknown_filters());
    record.remarks.extend(whose_way_in(&ways, &view));
    let undone = undoers(host, &view, &record.families);
    progress("arming the guard");
    arm(host, &mut record)?;
    if let Err(e) = history::prune(host, Family::BOTH.map(|f| view.rules(f))) {
        record.remarks.push(format!("old entries of the history were not removed: {e}"));
    }
    if !options.allowed.without_rehearsal
        && let Err(moved) = still_the_same(host, &change, &texts)
    {
        record.why = Some(moved.what.clone());
        // If this cannot be recorded, the next look finds out: the kernel shows nothing of the trial.
        let _ = give_up(host, &mut record).and_then(|()| history::write(host, &record));
        return Err(moved);
    }
    progress("applying the plan");
    if let Err(why) = put_in(host, &mut record, options) {
        record.remarks.push(why.clone());
        let undone = undo(host, &mut record);
        return Err(Refusal::new(
            Code::ApplyFailed,
            format!("the plan was not applied: {why}{undone}"),
            "nothing of the plan is live",
        ));
    }
    let stands = record.advance(Event::Applied).map_err(|e| e.to_string());
    record.applied = u64::try_from(host.now().boot.as_millis()).unwrap_or(u64::MAX);
    if let Err(e) = stands.and_then(|()| record::store(host, &record)) {
        let undone = undo(host, &mut record);
        return Err(Refusal::new(
            Code::RunDir,
            format!("the plan was not applied: {e}{undone}"),
            "free some space and apply again",
        ));
    }
    host.announce(&format!(
        "portcullis: new firewall rules on trial for {seconds} s (by {}); `portcullis revert` takes them back",
        record.operator
    ));
    // Shown but not recorded: a save mends some of it.
    record.remarks.extend(undone);
    Ok(record)
}

fn refuse_pending(host: &dyn Host) -> Result<(), Refusal> {
    if let Some(other) = super::pending::elsewhere(host) {
        return Err(Refusal::elsewhere(other.state()));
    }
    let status = super::status::status(host);
    match status.trial.filter(|r| r.state().is_pending()) {
        None => Ok(()),
        Some(r) => {
            let what = match r.state() {
                State::Expired => {
                    "a trial has expired: the kernel switched back by itself, its rules still have to be removed"
                        .to_owned()
                }
                state => format!("a trial is pending ({}, {} s left)", state.word(), status.left),
            };
            Err(Refusal::new(
                Code::Pending,
                what,
                "`portcullis status` shows it; `portcullis keep` or `portcullis revert` ends it",
            ))
        }
    }
}

/// Everything loaded, word for word.
type Texts = Vec<(Family, String)>;

/// Reads the host and everything loaded, with `filter` requested by name.
fn look(host: &dyn Host) -> Result<(View, Texts), Refusal> {
    let (view, read) = live::observe_to_change(host);
    let mut texts = Vec::new();
    for (family, text) in Family::BOTH.into_iter().zip(read) {
        if family == Family::V6 && !live::has_ipv6(host) {
            continue;
        }
        let (Some(text), Some(set)) = (text, view.rules(family)) else {
            let why = view.unread[family.index()].clone().unwrap_or_default();
            return Err(Refusal::new(
                Code::UnreadableRules,
                format!("the {} rules could not be read: {why}", family.label()),
                "both families are changed or neither; install what is missing",
            ));
        };
        if set.table("filter").is_none_or(|t| t.unreadable || t.partial) {
            return Err(Refusal::new(
                Code::UnreadableRules,
                format!("iptables cannot read the {} filter table whole", family.label()),
                "iptables' table contains a native nft rule: see `nft list ruleset`, move that rule to a table of its \
                    own",
            ));
        }
        texts.push((family, text));
    }
    Ok((view, texts))
}

/// Handles removing everything when none of our rules is loaded any more although a plan was kept: there is nothing to
/// try, and from now on no plan has to be in force.
fn taken_out(
    host: &dyn Host,
    change: &Change,
    plan: &Plan,
    options: &Options,
    view: &View,
) -> Option<Result<Record, Refusal>> {
    if !plan.rules.is_empty() || !change.is_nothing() {
        return None;
    }
    let lost = super::enforced_by(host, view).in_force.filter(|p| !p.force.holds())?;
    let mut record = new_record(host, &new_id(host), plan, change.families.clone(), options, view);
    record.by = Some(By::Operator);
    record.ended = Some(record.began);
    record.why =
        Some(format!("no rule of trial {}, kept before, was loaded any more: it counts as removed", lost.trial));
    let stored = record
        .advance(Event::NothingToTry)
        .map_err(|e| e.to_string())
        .and_then(|()| record::store(host, &record))
        .and_then(|()| history::write(host, &record));
    Some(stored.map(|()| record).map_err(|e| Refusal::new(Code::RunDir, e, "free some space and try again")))
}

/// A unique id for a trial, made of both clocks.
fn new_id(host: &dyn Host) -> String {
    format!("{}-{:04}", host.now().wall, host.now().boot.as_millis() % 10_000)
}

/// Refuses a change that must not be applied; otherwise says how it affects every way in that has to stay open.
fn way_is_clear(change: &Change, view: &View, options: &Options) -> Result<Vec<WayIn>, Refusal> {
    if let Some(seen) = options.seen.as_ref().filter(|s| !same_rules(s, view)) {
        let rules = |v| Family::BOTH.into_iter().filter_map(move |f| View::rules(v, f));
        let what = moved::what(rules(seen), rules(view));
        return Err(Refusal::new(
            Code::Moved,
            format!("the firewall changed since you looked at it{what}"),
            "look at the preview again; it shows the rules as they are now",
        ));
    }
    if change.is_nothing() {
        return Err(Refusal::new(Code::Nothing, "this plan is already what is kept", "change the plan, or leave it"));
    }
    if !change.taken_away.is_empty() && !options.allowed.replace {
        let first = &change.taken_away[0];
        return Err(Refusal::new(
            Code::Replace,
            format!("the plan removes {} kept rules, the first is {first}", change.taken_away.len()),
            "a plan is the whole content of our chains: add those rules to it, or use --replace",
        ));
    }
    let ways = ways_in(&change.before, &change.after);
    if !options.allowed.lockout
        && let Some(way) = ways.first()
        && let Access::Worse { why } = &way.access
    {
        // Each needs its own allow rule.
        let cut = ways.iter().filter(|w| w.peer() != way.peer() && matches!(w.access, Access::Worse { .. }));
        let mut others: Vec<String> = cut.filter_map(|w| Some(w.peer()?.to_string())).collect();
        others.sort();
        others.dedup();
        let others = if others.is_empty() { String::new() } else { format!("; {} too", others.join(", ")) };
        let hint = match &way.who {
            Entrant::Operator(_) => "put an allow rule for that address first, or use --allow-lockout".to_owned(),
            Entrant::Login(_) => {
                format!(
                    "{}, so it may be yours: put an allow rule for that address first, or use --allow-lockout",
                    nobody(view)
                )
            }
            Entrant::Anyone(_) => {
                format!(
                    "{}, and no login: leave the SSH ports open to those who can use them now, or use --allow-lockout",
                    nobody(view)
                )
            }
        };
        return Err(Refusal::new(Code::Lockout, format!("the plan would cut {}: {why}{others}", way.what()), hint));
    }
    Ok(ways)
}

/// Says that no SSH session of the operator was found, and where we looked for logins.
fn nobody(view: &View) -> String {
    let read = view.logins.as_ref().map(Logins::sources).unwrap_or_default();
    match view.operator {
        Some(Operator::Unattended) => format!("this job has no terminal and no SSH session of its own (read: {read})"),
        _ => format!("no SSH session was found for this terminal (read: {read})"),
    }
}

/// Says whose way in was checked if the operator's own is not known.
fn whose_way_in(ways: &[WayIn], view: &View) -> Option<String> {
    view.logins.as_ref()?;
    let mut whose: Vec<String> = ways.iter().map(WayIn::what).collect();
    whose.dedup();
    let checked = match whose.join("; ") {
        none if none.is_empty() => "there is no SSH server either, so no way in was checked".to_owned(),
        whose => format!("checked was {whose}"),
    };
    Some(format!("{}: {checked}", nobody(view)))
}

/// Continues only after a successful rehearsal, or if the operator allows going without one.
fn rehearsed(
    host: &dyn Host,
    change: &Change,
    texts: &Texts,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Rehearsal, Refusal> {
    let no_fuse = |why: &str| {
        Refusal::new(
            Code::NoFuse,
            format!("the kernel cannot end a trial by itself: {why}"),
            "nothing was changed; the kernel lacks xt_time: --without-fuse leaves the revert to the guard alone",
        )
    };
    if options.allowed.without_rehearsal {
        if !options.allowed.without_fuse && fuse_is_missing(host) {
            return Err(no_fuse("it takes no rule with a date"));
        }
        return Ok(Rehearsal::default());
    }
    let loaded: Vec<(Family, &str)> = texts.iter().map(|(family, text)| (*family, text.as_str())).collect();
    let fuse = (!options.allowed.without_fuse).then_some(host.now().wall + 3600);
    rehearse(host, &change.families, &loaded, fuse, progress).map_err(|e| match e {
        Failed::NoPlace(why) => Refusal::new(
            Code::NoRehearsal,
            format!("the change cannot be rehearsed: {why}"),
            "nothing was changed; --without-rehearsal skips the rehearsal",
        ),
        Failed::Ours(why) => {
            if fuse.is_some() && fuse_is_missing(host) {
                return no_fuse(&why);
            }
            Refusal::new(Code::Rehearsal, format!("the rehearsal failed: {why}"), "nothing was changed on this host")
        }
    })
}

/// Whether the kernel lacks xt_time. Tested in a namespace of its own, or, where none can be had, with the tool's dry
/// run. A tool that accepts no rule at all tells us nothing.
fn fuse_is_missing(host: &dyn Host) -> bool {
    let stage = host.throwaway();
    let refuses = |dates: &str| {
        let script = format!("*filter\n-A INPUT {dates}-j ACCEPT\nCOMMIT\n");
        match &stage {
            Ok(stage) => kernel::restore(&**stage, "rehearsal", Family::V4, &script).is_err(),
            Err(_) => kernel::test(host, Family::V4, &script).is_err(),
        }
    };
    refuses("-m time --datestop 2030-01-01T00:00:00 ") && !refuses("")
}

fn new_record(
    host: &dyn Host,
    id: &str,
    plan: &Plan,
    families: Vec<FamilyChange>,
    options: &Options,
    view: &View,
) -> Record {
    let now = host.now();
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let left = i64::try_from(options.confirm_within.as_secs()).unwrap_or(0);
    let (pid, started) = host.me();
    let mut record = Record::armed(host, id, families);
    record.deadline = millis(now.boot + options.confirm_within);
    record.latest = millis(now.boot) + TRIAL_LIMITS.1 * 1000;
    record.fuse = (!options.allowed.without_fuse).then_some(now.wall + left + FUSE_AFTER);
    record.plan = plan_file::write(plan);
    record.operator = view.operator.unwrap_or(Operator::Unknown);
    record.holder = Some(Who { pid, started });
    record.boot_files = written::marks(host);
    record
}

/// Writes the state file, starts the guard and waits until it reports that it is ready.
fn arm(host: &dyn Host, record: &mut Record) -> Result<(), Refusal> {
    let refused = |what: String| {
        Refusal::new(Code::NoGuard, what, "nothing was changed; see that the run directory can be written")
    };
    record::store(host, record).map_err(refused)?;
    super::guard::start(host, record).map_err(|why| {
        let _ = give_up(host, record);
        refused(why)
    })
}

/// Records that the trial was given up: this tells the guard that there is nothing to watch.
fn give_up(host: &dyn Host, record: &mut Record) -> Result<(), String> {
    record.advance(Event::GivenUp).map_err(|e| e.to_string())?;
    record::store(host, record)
}

/// A rehearsal takes seconds on a large ruleset. If others changed the rules meanwhile, the plan no longer
/// fits what is loaded.
fn still_the_same(host: &dyn Host, change: &Change, texts: &Texts) -> Result<(), Refusal> {
    for (family, before) in texts {
        let (family, limit) = (*family, firewall::reading_of(before.len()));
        let now = firewall::text_within(host, family, change.before.backend, true, limit).map_err(|e| {
            Refusal::new(
                Code::UnreadableRules,
                format!("the {} rules could not be read: {e}", family.label()),
                "nothing was applied",
            )
        })?;
        if firewall::same_lines(&now, before) {
            continue;
        }
        // A different order of chains, or an empty table that was loaded meanwhile, is not a change.
        let now = iptables_save::read(&now, family).0;
        if let Some(odd) = change.before.rules(family).and_then(|before| difference(&now, before)) {
            return Err(Refusal::new(
                Code::Moved,
                format!("somebody changed the {} rules while the plan was rehearsed{odd}", family.label()),
                "nothing was applied; look at the preview again, or apply again: it begins with the rules as they are \
                    now",
            ));
        }
    }
    Ok(())
}

fn put_in(host: &dyn Host, record: &mut Record, options: &Options) -> Result<(), String> {
    for change in &record.families {
        let script = change.apply_script(if options.allowed.without_fuse { None } else { record.fuse });
        let now = kernel::restore_and_check(host, &record.id, change, &script, Look::Ours)?;
        kernel::need_jump(change, &now)?;
    }
    record::store(host, record)
}

/// Both families or neither: what was applied is reverted at once.
fn undo(host: &dyn Host, record: &mut Record) -> String {
    record.why = Some("the plan could not be applied".to_owned());
    let back = match record.advance(Event::ApplyFailed) {
        Ok(()) => back::put_old_back(host, record, By::Operator, &mut Caller::Applier).map_err(|e| e.what),
        Err(e) => Err(e.to_string()),
    };
    back.err().map_or_else(String::new, |why| format!("; {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::demo::Demo;
    use crate::model::Source;
    use crate::syntax::iptables_save;

    #[test]
    fn a_chain_is_a_difference_and_a_counter_is_not() {
        let of = |text: &str| {
            let mut v = View::empty(Source::Capture, "test");
            v.v4 = Some(iptables_save::read(text, Family::V4).0);
            v
        };
        let loaded = of("*filter\n:INPUT ACCEPT [0:0]\n[1:2] -A INPUT -j ACCEPT\nCOMMIT\n");
        assert!(same_rules(
            &of("*filter\n:INPUT ACCEPT [7:9]\n[3:4] -A INPUT -j ACCEPT\nCOMMIT\n*nat\n:INPUT ACCEPT [5:5]\nCOMMIT\n"),
            &loaded
        ));
        for other in [
            ":INPUT ACCEPT [0:0]\n:theirs - [0:0]\n-A INPUT -j ACCEPT",
            ":INPUT DROP [0:0]\n-A INPUT -j ACCEPT",
            ":INPUT ACCEPT [0:0]\n-A INPUT -j DROP",
        ] {
            assert!(!same_rules(&of(&format!("*filter\n{other}\nCOMMIT\n")), &loaded), "{other}");
        }
    }

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn changes_since_the_preview_are_named() {
        let host = Demo::new();
        let seen = Some(Arc::new(live::observe(&host)));
        kernel::restore(&host, "test", Family::V4, "*filter\n-I INPUT -s 203.0.113.9/32 -j DROP\nCOMMIT\n").unwrap();
        let plan = plan_file::read("version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"7001/tcp\"]\n")
            .unwrap();
        let refused = apply(&host, &plan, &Options { seen, ..Options::default() }, &mut |_| {}).unwrap_err();
        assert_eq!(
            (refused.code, refused.what.as_str()),
            (
                Code::Moved,
                "the firewall changed since you looked at it: new is IPv4 filter: -A INPUT -s 203.0.113.9/32 -j DROP"
            )
        );
    }
}
