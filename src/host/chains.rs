//! Lists one chain of iptables-nft's filter table through the crate `iptables`. The crate finds its tool by `PATH`, has
//! no timeout, and cannot tell an empty answer from a failure. So it is used only if `PATH` leads to the tool that we
//! would run ourselves, in a thread of its own, and never while an earlier call is pending. Whatever it does not settle
//! is asked again by our own runner.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use iptables::IPTables;

use super::process::find;
use crate::model::Family;

/// The table of our chains.
const TABLE: &str = "filter";

/// Whether a call is still pending.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The lines of `iptables -S CHAIN`, at least one.
    Lines(Vec<String>),
    /// No usable answer: our own runner has to ask.
    Nothing,
    /// It did not answer in time.
    Late,
}

/// Lists a chain as `iptables -S CHAIN` prints it. Only for iptables-nft: with legacy the crate would wait for
/// the lock indefinitely.
pub(super) fn list(family: Family, chain: &str, limit: Duration) -> Answer {
    let Some(tool) = tool(family) else { return Answer::Nothing };
    let chain = chain.to_owned();
    asked(&ASKED, limit, move || tool.list(TABLE, &chain).ok())
}

/// The crate's handle for a family's tool, if `PATH` leads to ours.
fn tool(family: Family) -> Option<&'static IPTables> {
    static TOOLS: [OnceLock<Option<IPTables>>; 2] = [const { OnceLock::new() }; 2];
    let name = family.tool("");
    let path = std::env::var_os("PATH")?;
    let by_path = first_in(std::env::split_paths(&path), &name)?;
    if !is_same(&by_path, &find(&name)?) {
        return None;
    }
    TOOLS[family.index()].get_or_init(|| iptables::new(family == Family::V6).ok()).as_ref()
}

/// The file that execvp(3) would find for a name.
fn first_in(mut dirs: impl Iterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    dirs.find_map(|d| Some(d.join(name)).filter(|p| p.is_file()))
}

/// Whether both paths lead to the same file. The tools of both variants are links with the same name.
fn is_same(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// Calls in a thread of its own, unless an earlier call is pending.
fn asked(
    open: &'static AtomicBool,
    limit: Duration,
    question: impl FnOnce() -> Option<Vec<String>> + Send + 'static,
) -> Answer {
    if open.swap(true, Ordering::AcqRel) {
        return Answer::Nothing;
    }
    let (tell, told) = channel();
    let started = thread::Builder::new().spawn(move || {
        let answer = question();
        open.store(false, Ordering::Release);
        let _ = tell.send(answer);
    });
    if started.is_err() {
        open.store(false, Ordering::Release);
        return Answer::Nothing;
    }
    match told.recv_timeout(limit) {
        // An answer without a line means a failure or a missing chain: the crate does not say which.
        Ok(Some(lines)) if lines.iter().any(|l| !l.is_empty()) => Answer::Lines(lines),
        Ok(_) | Err(RecvTimeoutError::Disconnected) => Answer::Nothing,
        Err(RecvTimeoutError::Timeout) => Answer::Late,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_call_stops_the_next_one_and_nothing_blocks() {
        static OPEN: AtomicBool = AtomicBool::new(false);
        let (go, gone) = channel::<()>();
        let (ended, end) = channel::<()>();
        let slow = move || {
            let _ = gone.recv();
            // Dropped when this thread no longer needs it.
            drop(ended);
            None
        };
        assert_eq!(asked(&OPEN, Duration::from_millis(10), slow), Answer::Late);
        let lines = || Some(vec!["-N PORTCULLIS".to_owned()]);
        assert_eq!(asked(&OPEN, Duration::from_secs(5), lines), Answer::Nothing);
        go.send(()).unwrap();
        let _ = end.recv();
        while OPEN.load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert_eq!(asked(&OPEN, Duration::from_secs(5), lines), Answer::Lines(vec!["-N PORTCULLIS".to_owned()]));
        // What the crate returns for a tool that failed.
        assert_eq!(asked(&OPEN, Duration::from_secs(5), || Some(vec![String::new()])), Answer::Nothing);
    }

    #[test]
    fn path_counts_as_it_would_for_the_crate() {
        let dir = tempfile::tempdir().unwrap();
        let [near, far] = ["near", "far"].map(|d| dir.path().join(d));
        for d in [&near, &far] {
            fs::create_dir(d).unwrap();
        }
        fs::write(far.join("iptables"), "").unwrap();
        let found = |dirs: [&PathBuf; 2]| first_in(dirs.into_iter().cloned(), "iptables");
        assert_eq!(found([&near, &far]), Some(far.join("iptables")));
        std::os::unix::fs::symlink(far.join("iptables"), near.join("iptables")).unwrap();
        assert!(is_same(&found([&near, &far]).unwrap(), &far.join("iptables")));
        fs::remove_file(near.join("iptables")).unwrap();
        fs::write(near.join("iptables"), "").unwrap();
        assert!(!is_same(&found([&near, &far]).unwrap(), &far.join("iptables")));
    }
}
