//! What became of earlier trials, and the rules that were there before each: `history/` and `snapshots/` in the
//! state directory.

use std::path::PathBuf;

use super::machine::State;
use super::record::{By, Record};
use crate::host::Host;
use crate::model::Plan;
use crate::syntax::plan;

fn file(host: &dyn Host, id: &str) -> PathBuf {
    host.paths().state.join("history").join(format!("{id}.json"))
}

/// Writes a trial down: as soon as it is armed, so that a power loss does not make it forgotten, and when it has ended;
/// a kept one also becomes the plan that is kept.
pub fn write(host: &dyn Host, record: &Record) -> Result<(), String> {
    let dir = host.paths().state.join("history");
    let bytes = serde_json::to_vec_pretty(record).map_err(|e| e.to_string())?;
    host.make_dir(&host.paths().state)
        .and_then(|()| host.make_dir(&dir))
        .and_then(|()| host.write(&file(host, &record.id), &bytes, 0o600))
        .map_err(|e| {
            if !record.state.is_pending() {
                // No word is better than that of a trial which still ran.
                let _ = host.remove(&file(host, &record.id));
            }
            format!("the history was not written: {e}")
        })
}

fn read(host: &dyn Host) -> impl Iterator<Item = Record> {
    host.list(&host.paths().state.join("history")).into_iter()
        .filter_map(move |n| serde_json::from_slice(&host.read(&file(host, n.strip_suffix(".json")?)).ok()?).ok())
}

/// A trial that was pending when the machine went down: boot loads nothing of it.
pub(super) fn ended_by_boot(mut record: Record) -> Record {
    record.state = State::Reverted;
    record.by = Some(By::Boot);
    let deadline = jiff::Timestamp::from_second(record.deadline_on_the_wall()).map(|t| format!(" ({t})")).unwrap_or_default();
    record.why = Some(format!("the machine went down before the deadline{deadline}; boot loads nothing of a trial"));
    record
}

/// Writes down the end of every trial of this boot that still counts as pending though it is over.
pub(super) fn end_lost(host: &dyn Host, by: Option<By>, why: &str) {
    for mut record in read(host).filter(|r| r.state.is_pending() && r.is_here(host)) {
        record.state = State::Reverted;
        record.by = by;
        record.ended = by.map(|_| host.now().wall);
        record.why = Some(why.to_owned());
        let _ = write(host, &record);
    }
}

/// All trials that have ended, the latest first.
pub fn all(host: &dyn Host) -> Vec<Record> {
    let boot_id = host.identity().boot_id;
    let mut out: Vec<Record> = read(host)
        .filter(|r| !r.state.is_pending() || r.home.boot_id != boot_id)
        .map(|r| if r.state.is_pending() { ended_by_boot(r) } else { r })
        .collect();
    out.sort_by_key(|r| std::cmp::Reverse((r.began, r.id.clone())));
    out
}

/// Notes at the trial that was kept last that its rules are written for the next boot.
pub(super) fn saved(host: &dyn Host) -> Result<(), String> {
    let Some(mut record) = all(host).into_iter().find(|r| r.state == State::Kept) else { return Ok(()) };
    record.saved = Some(host.now().wall);
    write(host, &record)
}

/// The plan that was kept last; empty when none was.
pub fn kept_plan(host: &dyn Host) -> Plan {
    all(host).iter().find(|r| r.state == State::Kept)
        .and_then(|r| plan::read(&r.plan).ok()).unwrap_or_default()
}

/// Writes what is loaded before a trial, reads it back and compares.
pub fn write_snapshot(host: &dyn Host, id: &str, suffix: &str, text: &str) -> Result<(), String> {
    let dir = host.paths().state.join("snapshots");
    let path = dir.join(format!("{id}.{suffix}"));
    let back = host.make_dir(&host.paths().state)
        .and_then(|()| host.make_dir(&dir))
        .and_then(|()| host.write(&path, text.as_bytes(), 0o600))
        .and_then(|()| host.read(&path))
        .map_err(|e| format!("the snapshot {} could not be written: {e}", path.display()))?;
    if back == text.as_bytes() { Ok(()) } else { Err(format!("the snapshot {} reads back differently", path.display())) }
}

/// The snapshot of a trial, `v4` or `v6`.
pub fn snapshot(host: &dyn Host, id: &str, suffix: &str) -> Option<String> {
    let path = host.paths().state.join("snapshots").join(format!("{id}.{suffix}"));
    host.read(&path).ok().map(|b| String::from_utf8_lossy(&b).into_owned())
}
