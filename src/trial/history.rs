//! Earlier trials and how they ended, and the rules that were loaded before each: `history/` and `snapshots/` in the
//! state directory.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use super::machine::Event;
use super::record::{self, Record};
use crate::host::Host;
use crate::model::trial::{By, State};
use crate::model::{Family, Plan, Ruleset};
use crate::plan::FamilyChange;
use crate::syntax::plan;

/// This many trials stay in the history, whatever their age.
pub const LAST_KEPT: usize = 50;

/// All trials of this many days stay in the history, whatever their number.
pub const DAYS_KEPT: i64 = 30;

fn file(host: &dyn Host, id: &str) -> PathBuf {
    host.paths().state.join("history").join(format!("{id}.json"))
}

/// Records a trial: as soon as it is armed, so that a power loss does not make us forget it, and when it has ended. A
/// kept one also becomes the kept plan.
pub fn write(host: &dyn Host, record: &Record) -> Result<(), String> {
    put(host, record).inspect_err(|_| {
        if !record.state().is_pending() {
            // No entry is better than one that says that the trial still runs.
            let _ = host.remove(&file(host, &record.id));
        }
    })
}

/// Writes the file; after an error its content is unchanged.
fn put(host: &dyn Host, record: &Record) -> Result<(), String> {
    let dir = host.paths().state.join("history");
    let bytes = serde_json::to_vec_pretty(record).map_err(|e| e.to_string())?;
    host.make_dir(&host.paths().state)
        .and_then(|()| host.make_dir(&dir))
        .and_then(|()| host.write(&file(host, &record.id), &bytes, 0o600))
        .map_err(|e| format!("the history was not written: {e}"))
}

fn read(host: &dyn Host) -> impl Iterator<Item = Record> {
    host.list(&host.paths().state.join("history"))
        .into_iter()
        .filter_map(move |n| serde_json::from_slice(&host.read(&file(host, n.strip_suffix(".json")?)).ok()?).ok())
}

/// A trial that was pending when the machine went down: boot loads nothing of it.
pub(super) fn ended_by_boot(mut record: Record) -> Record {
    if record.advance(Event::FoundOver).is_err() {
        return record;
    }
    record.by = Some(By::Boot);
    let deadline =
        jiff::Timestamp::from_second(record.deadline_on_the_wall()).map(|t| format!(" ({t})")).unwrap_or_default();
    record.why = Some(format!("the machine went down before the deadline{deadline}; boot loads nothing of a trial"));
    record
}

/// Records the end of every trial of this boot that still counts as pending though it is over.
pub(super) fn end_lost(host: &dyn Host, by: Option<By>, why: &str) {
    for mut record in read(host).filter(|r| r.is_here(host)) {
        if record.advance(Event::FoundOver).is_err() {
            continue;
        }
        record.by = by;
        record.ended = by.map(|_| host.now().wall);
        record.why = Some(why.to_owned());
        let _ = write(host, &record);
    }
}

/// The last trial begun here whose end is not recorded.
pub(super) fn pending(host: &dyn Host) -> Option<Record> {
    let last = read(host).filter(|r| r.is_here(host)).max_by_key(|r| (r.began, r.id.clone()));
    last.filter(|r| r.state().is_pending())
}

/// All trials that have ended, the latest first.
pub fn all(host: &dyn Host) -> Vec<Record> {
    let boot_id = host.identity().boot_id;
    let mut out: Vec<Record> = read(host)
        .filter(|r| !r.state().is_pending() || r.home.boot_id != boot_id)
        .map(|r| if r.state().is_pending() { ended_by_boot(r) } else { r })
        .collect();
    out.sort_by_key(|r| Reverse((r.began, r.id.clone())));
    out
}

/// What was kept, compared with what is loaded.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The trial whose rules are loaded.
    pub trial: Option<Record>,
    /// A trial that was kept later but whose rules are not loaded, e.g. after a boot without a save.
    pub lost: Option<String>,
}

impl Kept {
    /// The kept plan; empty if there is none.
    pub fn plan(&self) -> Plan {
        self.trial.as_ref().and_then(|r| plan::read(&r.plan).ok()).unwrap_or_default()
    }
}

/// The kept trials, the last one first: also by the state file, in case the wall clock was wrong or the history could
/// not be written.
fn kept_ones(host: &dyn Host) -> Vec<Record> {
    let mut kept: Vec<Record> = all(host).into_iter().filter(|r| r.state() == State::Kept).collect();
    if let Some(last) = record::load(host).filter(|r| r.state() == State::Kept) {
        let at = kept.iter().position(|r| r.id == last.id);
        let last = at.map_or(last, |at| kept.remove(at));
        kept.insert(0, last);
    }
    kept
}

/// The trial that was kept last here; one of another network namespace of this boot does not count.
pub(super) fn kept_last(host: &dyn Host) -> Option<Record> {
    let here = host.identity();
    kept_ones(host).into_iter().find(|r| r.home.boot_id != here.boot_id || r.home.netns == here.netns)
}

/// The last kept trial whose rules are in these rulesets: the history alone knows nothing of a boot.
pub fn kept(host: &dyn Host, rules: [Option<&Ruleset>; 2]) -> Kept {
    let kept = kept_ones(host);
    // A trial without dates looks as if it were kept; what counts is what it goes back to.
    let undated = record::load(host).filter(|r| r.state().is_pending() && r.fuse.is_none() && r.is_here(host));
    let back_to = |f: &FamilyChange| {
        undated.as_ref().and_then(|t| t.families.iter().find(|o| o.v6 == f.v6)).is_some_and(|t| f.is_old_of(t))
    };
    let stands = |r: &Record| {
        r.families.iter().all(|f| rules[f.family().index()].is_none_or(|set| f.is_kept_in(set) || back_to(f)))
    };
    let holds = |r: &&Record| r.families.iter().any(|f| f.doors.iter().any(|d| d.new.is_some()));
    let lost = kept.first().filter(|r| !stands(r)).filter(holds).map(|r| r.id.clone());
    Kept { trial: kept.into_iter().find(stands), lost }
}

/// Marks the trial whose rules are in these files as saved for the next boot.
pub(super) fn saved(host: &dyn Host, files: &[Ruleset]) -> Result<(), String> {
    let kept = kept(host, Family::BOTH.map(|f| files.iter().find(|set| set.family == f)));
    if let Some(mut record) = kept.trial {
        record.saved = Some(host.now().wall);
        // The state of the last trial is in the other file.
        if record::load(host).is_some_and(|last| last.id == record.id) {
            record::store(host, &record)?;
        }
        put(host, &record)?;
    }
    kept.lost.map_or(Ok(()), |id| {
        Err(format!(
            "trial {id}, kept last, is not loaded, so it was not saved; the cockpit's History takes its plan up again"
        ))
    })
}

/// Writes what is loaded before a trial, reads it back and compares.
pub fn write_snapshot(host: &dyn Host, id: &str, suffix: &str, text: &str) -> Result<(), String> {
    let dir = host.paths().state.join("snapshots");
    let path = dir.join(format!("{id}.{suffix}"));
    let back = host
        .make_dir(&host.paths().state)
        .and_then(|()| host.make_dir(&dir))
        .and_then(|()| host.write(&path, text.as_bytes(), 0o600))
        .and_then(|()| host.read(&path))
        .map_err(|e| format!("the snapshot {} could not be written: {e}", path.display()))?;
    if back == text.as_bytes() {
        Ok(())
    } else {
        Err(format!("the snapshot {} reads back differently", path.display()))
    }
}

/// The snapshot of a trial, `v4` or `v6`.
pub fn snapshot(host: &dyn Host, id: &str, suffix: &str) -> Option<String> {
    let path = host.paths().state.join("snapshots").join(format!("{id}.{suffix}"));
    host.read(&path).ok().map(|b| String::from_utf8_lossy(&b).into_owned())
}

/// When a trial began, from its id; `None` if the id is not ours.
fn began(id: &str) -> Option<i64> {
    let (second, millis) = id.split_once('-')?;
    (millis.len() == 4 && millis.bytes().all(|b| b.is_ascii_digit())).then(|| second.parse().ok()).flatten()
}

/// Removes from the history what is neither among the last trials nor of the last days, with its snapshots, and
/// snapshots without a trial. What is kept, was saved last or is still pending stays whatever its age, and so do files
/// that are not ours. Only for the holder of the lock; `rules`: what is loaded.
pub(super) fn prune(host: &dyn Host, rules: [Option<&Ruleset>; 2]) -> io::Result<()> {
    let records: Vec<Record> = read(host).collect();
    let kept = kept(host, rules);
    let newest =
        |of: fn(&Record) -> bool| records.iter().filter(|r| of(r)).max_by_key(|r| r.began).map(|r| r.id.clone());
    let needed: HashSet<String> = kept
        .trial
        .map(|r| r.id)
        .into_iter()
        .chain(kept.lost)
        .chain(record::load(host).map(|r| r.id))
        .chain(newest(|r| r.state() == State::Kept))
        .chain(newest(|r| r.saved.is_some()))
        .chain(
            records
                .iter()
                .filter(|r| r.state().is_pending() && r.home.boot_id == host.identity().boot_id)
                .map(|r| r.id.clone()),
        )
        .collect();
    // Entries that this version cannot read have their time in the name, too.
    let mut all: Vec<(i64, String)> = host
        .list(&host.paths().state.join("history"))
        .iter()
        .filter_map(|n| n.strip_suffix(".json"))
        .filter_map(|id| Some((began(id)?, id.to_owned())))
        .collect();
    all.sort_by_key(|a| Reverse(a.clone()));
    let oldest = host.now().wall - DAYS_KEPT * 24 * 3600;
    let (gone, left): (Vec<_>, Vec<_>) = all
        .into_iter()
        .enumerate()
        .partition(|(i, (began, id))| *i >= LAST_KEPT && *began < oldest && !needed.contains(id));
    let left: HashSet<&str> =
        left.iter().map(|(_, (_, id))| id.as_str()).chain(needed.iter().map(String::as_str)).collect();
    let snapshots = host.paths().state.join("snapshots");
    for name in host.list(&snapshots) {
        let orphan = name.split_once('.').is_some_and(|(id, _)| began(id).is_some() && !left.contains(id));
        if orphan {
            host.remove(&snapshots.join(name))?;
        }
    }
    // After its snapshots: if we are interrupted, the next run finds the rest.
    gone.iter().try_for_each(|(_, (_, id))| host.remove(&file(host, id)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::host::demo::Demo;
    use crate::model::Code;
    use crate::model::trial::Allowed;
    use crate::syntax::iptables_save;
    use crate::trial::{Options, apply, guard, keep, kernel, revert, save, status};

    fn keeps(host: &Demo, node: &str) -> (String, Plan) {
        let text = format!("version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{node}\"]\nto = [\"portmapper\"]\n");
        let plan = plan::read(&text).unwrap();
        let id = apply(
            host,
            &plan,
            &Options { allowed: Allowed { replace: true, ..Allowed::default() }, ..Options::default() },
            &mut |_| {},
        )
        .unwrap()
        .id;
        keep(host, true).unwrap();
        (id, plan)
    }

    fn now_kept(host: &Demo) -> (Plan, Option<String>) {
        let rules = Family::BOTH.map(|f| host.loaded(f));
        let kept = kept(host, rules.each_ref().map(Some));
        (kept.plan(), kept.lost)
    }

    #[test]
    fn the_last_trials_and_those_of_the_last_days_stay() {
        let host = Demo::new().with_guard(|host, id| {
            let _ = guard::watch(&host, id, &AtomicBool::new(false));
        });
        let dir = host.paths().state.clone();
        let snapshots = || host.list(&dir.join("snapshots"));
        let ids = || {
            host.list(&dir.join("history"))
                .iter()
                .filter_map(|n| n.strip_suffix(".json").map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let (kept, plan) = keeps(&host, "192.0.2.11");
        saves(&host);
        // As if so many had been reverted since, one a day.
        let last = record::load(&host).unwrap();
        let now = host.now().wall;
        let past = |day: i64| {
            let mut r = last.clone().in_state(State::Reverted);
            (r.id, r.began, r.saved) = (format!("{}-0001", now - day * 86_400 - 60), now - day * 86_400 - 60, None);
            put(&host, &r).unwrap();
            for suffix in ["v4", "v6"] {
                write_snapshot(&host, &r.id, suffix, "*filter\nCOMMIT\n").unwrap();
            }
            r.id
        };
        let mut all: Vec<String> = (1..=80).map(past).collect();
        // The plan in force is older than all of them.
        let old = {
            let mut r = all_of(&host, &kept);
            (r.id, r.began) = (format!("{}-0002", now - 400 * 86_400), now - 400 * 86_400);
            put(&host, &r).unwrap();
            record::store(&host, &r).unwrap();
            host.remove(&file(&host, &kept)).unwrap();
            for suffix in ["v4", "v6"] {
                write_snapshot(&host, &r.id, suffix, &snapshot(&host, &kept, suffix).unwrap()).unwrap();
            }
            r.id
        };
        // Unreadable entries, snapshots without a trial, and files that are not ours.
        let unreadable = format!("{}-0003", now - 500 * 86_400);
        host.write(&file(&host, &unreadable), b"{", 0o600).unwrap();
        write_snapshot(&host, &unreadable, "v4", "x").unwrap();
        write_snapshot(&host, &format!("{}-0004", now - 60), "v4", "of nobody").unwrap();
        for (dir, name) in [("history", "notes.json"), ("snapshots", "README"), ("snapshots", "before-the-move.v4")] {
            host.write(&host.paths().state.join(dir).join(name), b"theirs", 0o600).unwrap();
        }
        let text = "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"7001/tcp\"]\n";
        let options = Options { allowed: Allowed { replace: true, ..Allowed::default() }, ..Options::default() };
        let new = apply(&host, &plan::read(text).unwrap(), &options, &mut |_| {}).unwrap();
        assert!(new.remarks.iter().all(|r| !r.contains("history")), "{:?}", new.remarks);
        // The new one, 49 more, and the plan in force.
        all.truncate(LAST_KEPT - 1);
        all.extend([new.id.clone(), old.clone(), "notes".into()]);
        all.sort();
        assert_eq!(ids(), all);
        let mut left: Vec<String> =
            all.iter().filter(|i| *i != "notes").flat_map(|i| ["v4", "v6"].map(|s| format!("{i}.{s}"))).collect();
        left.extend(["README".into(), "before-the-move.v4".into()]);
        left.sort();
        assert_eq!(snapshots(), left);
        revert(&host).unwrap();
        assert_eq!(now_kept(&host), (plan.clone(), None));
        // More trials than the limit stay if they are recent.
        let recent: Vec<String> = (0..80)
            .map(|i| {
                let mut r = last.clone().in_state(State::Reverted);
                (r.id, r.began) = (format!("{}-{i:04}", now - 1000 - i), now - 1000 - i);
                put(&host, &r).unwrap();
                r.id
            })
            .collect();
        let new = apply(&host, &plan::read(text).unwrap(), &options, &mut |_| {}).unwrap();
        let left = ids();
        assert!(recent.iter().chain([&new.id, &old]).all(|i| left.contains(i)), "{left:?}");
        assert!(
            left.iter().filter_map(|i| began(i)).filter(|b| *b < now - DAYS_KEPT * 86_400).count() == 1,
            "{left:?}"
        );
        revert(&host).unwrap();
        assert_eq!(now_kept(&host), (plan, None));
    }

    fn all_of(host: &Demo, id: &str) -> Record {
        all(host).into_iter().find(|r| r.id == id).unwrap()
    }

    fn saves(host: &Demo) -> String {
        save::save(host, &save::preview(host, save::Mode::All).unwrap()).unwrap().join("\n")
    }

    #[test]
    fn a_plan_that_is_not_loaded_is_not_called_kept() {
        let host = Demo::new().with_guard(|host, id| {
            let _ = guard::watch(&host, id, &AtomicBool::new(false));
        });
        let boot = Family::BOTH.map(|f| host.loaded(f));
        let (first, plan) = keeps(&host, "192.0.2.11");
        assert_eq!(now_kept(&host), (plan, None));
        // Like a boot that loads what was there before.
        for set in &boot {
            kernel::replace_tables(&host, "boot", set.family, &iptables_save::write(set, false)).unwrap();
        }
        assert_eq!(now_kept(&host), (Plan::default(), Some(first.clone())));
        // Files without its rules do not count as a save of it.
        for mode in [save::Mode::All, save::Mode::Unmanaged, save::Mode::Ours] {
            let refused = save::preview(&host, mode).unwrap().refused.unwrap();
            assert!(refused.code == Code::NotInForce && refused.what.contains(&first), "{refused:?}");
            let refused = save::save(&host, &save::preview(&host, mode).unwrap()).unwrap_err();
            assert_eq!(refused.code, Code::NotInForce);
        }
        assert!(all(&host).iter().all(|r| r.saved.is_none()));
        // By the clock it was kept before the first.
        host.step_wall(-3600);
        let (second, plan) = keeps(&host, "192.0.2.12");
        assert_eq!((all(&host)[0].id == first, now_kept(&host)), (true, (plan.clone(), None)));
        assert!(!saves(&host).contains("not saved"));
        assert!(status(&host).trial.is_some_and(|t| t.saved.is_some()));
        assert!(all(&host).iter().all(|r| r.saved.is_some() == (r.id == second)));
        // Its entry in the history could not be written.
        host.remove(&file(&host, &second)).unwrap();
        assert_eq!(now_kept(&host), (plan, None));
    }
}
