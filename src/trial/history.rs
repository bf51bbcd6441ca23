//! What became of earlier trials, and the rules that were there before each: `history/` and `snapshots/` in the
//! state directory.

use std::path::PathBuf;

use super::record::Record;
use crate::host::Host;
use crate::model::Plan;
use crate::syntax::plan;

fn file(host: &dyn Host, id: &str) -> PathBuf {
    host.paths().state.join("history").join(format!("{id}.json"))
}

/// Writes a trial that has ended; a kept one also becomes the plan that is kept.
pub fn write(host: &dyn Host, record: &Record) -> Result<(), String> {
    let dir = host.paths().state.join("history");
    let bytes = serde_json::to_vec_pretty(record).map_err(|e| e.to_string())?;
    host.make_dir(&host.paths().state)
        .and_then(|()| host.make_dir(&dir))
        .and_then(|()| host.write(&file(host, &record.id), &bytes, 0o600))
        .map_err(|e| format!("the history was not written: {e}"))
}

/// All trials that have ended, the latest first.
pub fn all(host: &dyn Host) -> Vec<Record> {
    let mut out: Vec<Record> = host.list(&host.paths().state.join("history")).iter()
        .filter_map(|n| serde_json::from_slice(&host.read(&file(host, n.strip_suffix(".json")?)).ok()?).ok())
        .collect();
    out.sort_by_key(|r| std::cmp::Reverse((r.began, r.id.clone())));
    out
}

/// The plan that was kept last; empty when none was.
pub fn kept_plan(host: &dyn Host) -> Plan {
    all(host).iter().find(|r| r.state == super::machine::State::Kept)
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
