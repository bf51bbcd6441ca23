//! Processes of the live machine: where tools are, how they are started, and whether they are still alive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::clock;

/// Where tools are looked for, whatever the caller's `PATH` is.
pub(super) const TOOL_DIRS: [&str; 6] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// The path of a tool; `None` when it is missing.
pub(super) fn find(tool: &str) -> Option<PathBuf> {
    TOOL_DIRS.iter().map(|d| Path::new(d).join(tool)).find(|p| p.is_file())
}

#[allow(clippy::disallowed_methods, reason = "this is the place that starts processes")]
pub(super) fn command(path: &Path) -> Command {
    Command::new(path)
}

/// The start time of a process in clock ticks since boot (proc(5), stat field 22), in the initial time namespace.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok().map(clock::shared_ticks)
}

/// Our own process: pid and start time.
pub(super) fn this_process() -> (u32, u64) {
    let pid = std::process::id();
    (pid, started(pid).unwrap_or(0))
}

/// Whether the process is still the same one (by its start time) and not a zombie.
pub(super) fn alive(pid: u32, start: u64) -> bool {
    // Allows one tick of difference: the offset of a time namespace need not be whole ticks.
    started(pid).is_some_and(|s| s.abs_diff(start) <= 1) && !zombie(pid)
}

fn zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|s| s.rsplit_once(')').map(|(_, r)| r.trim_start().starts_with('Z')))
        .unwrap_or(true)
}
