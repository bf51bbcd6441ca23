//! Processes of the live machine: where tools are, how one is started, and whether one still lives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::clock;

/// Where tools are looked for; the caller's `PATH` does not matter.
pub(super) const TOOL_DIRS: [&str; 6] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// Where a tool is; `None` when it is missing.
pub(super) fn find(tool: &str) -> Option<PathBuf> {
    TOOL_DIRS.iter().map(|d| Path::new(d).join(tool)).find(|p| p.is_file())
}

#[allow(clippy::disallowed_methods, reason = "this is the place that starts processes")]
pub(super) fn command(path: &Path) -> Command {
    Command::new(path)
}

/// The start time of a process in clock ticks since boot (proc(5), stat field 22), by the clock that everybody shares.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok().map(clock::shared_ticks)
}

/// Our own process: pid and start time.
pub(super) fn this_process() -> (u32, u64) {
    let pid = std::process::id();
    (pid, started(pid).unwrap_or(0))
}

/// Whether the process still is the one that it was, and does something: one that waits to be collected does not.
pub(super) fn alive(pid: u32, start: u64) -> bool {
    // A tick more or less: an offset of the time namespace need not be whole ticks.
    started(pid).is_some_and(|s| s.abs_diff(start) <= 1) && !zombie(pid)
}

fn zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|s| s.rsplit_once(')').map(|(_, r)| r.trim_start().starts_with('Z')))
        .unwrap_or(true)
}
