//! A throw-away network namespace on the live machine: a rehearsal in it changes nothing on the host.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::clock::pause;
use super::process::{command, find};
use super::{Cmd, Output, ToolError, Tools, child};

/// Runs tools in a namespace of its own, held open by a process that ends when we do, however that happens.
pub struct Nested {
    /// A `cat` that reads from a pipe of ours until we close it.
    holder: Child,
    /// Its own xtables lock: a rehearsal must neither wait for the host's lock nor hold it.
    lock: tempfile::TempDir,
}

impl Nested {
    /// Creates a namespace.
    pub fn new() -> Result<Self, String> {
        let unshare = find("unshare").ok_or("unshare is not installed (Debian package util-linux)")?;
        let cat = find("cat").ok_or("cat is not installed (Debian package coreutils)")?;
        // TMPDIR is ignored: under sudo it may point to a directory of another user.
        let lock =
            tempfile::tempdir_in("/tmp").map_err(|e| format!("the rehearsal's lock file cannot be created: {e}"))?;
        let holder = command(&unshare)
            .arg("--net")
            .arg(cat)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot create a network namespace: {e}"))?;
        let mut nested = Self { holder, lock };
        let ours = fs::metadata("/proc/self/ns/net").map(|m| m.ino()).map_err(|e| e.to_string())?;
        for _ in 0..250 {
            if nested.holder.try_wait().is_ok_and(|s| s.is_some()) {
                break;
            }
            let theirs = fs::metadata(nested.path()).map(|m| m.ino());
            if theirs.is_ok_and(|t| t != ours) {
                return Ok(nested);
            }
            pause(Duration::from_millis(10));
        }
        Err("cannot create a network namespace here".to_owned())
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }
}

impl Tools for Nested {
    fn run(&self, cmd: &Cmd) -> Result<Output, ToolError> {
        let tool = find(&cmd.tool).ok_or_else(|| ToolError::Missing { tool: cmd.tool.clone() })?;
        let mut args = vec![format!("--net={}", self.path()), "--".to_owned(), tool.to_string_lossy().into_owned()];
        args.extend(cmd.args.iter().cloned());
        let inside = Cmd { tool: "nsenter".to_owned(), args, ..cmd.clone() };
        child::run(&inside.with_env("XTABLES_LOCKFILE", &self.lock.path().join("lock").to_string_lossy()))
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
