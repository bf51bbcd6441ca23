//! Finds who holds a lock. A process's locks are listed in `/proc/PID/fdinfo/FD` (proc(5)), also when the process that
//! took the lock has exited and left the open file to a child. `/proc/locks` names only who took it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Holder;
use super::process::started;
use crate::model::clean;

/// Characters of a command line that are shown.
const COMMAND: usize = 60;

/// The processes that hold the lock (flock(2)) of a file or directory, by process id.
pub(super) fn holders(path: &Path) -> Vec<Holder> {
    let Ok(meta) = fs::metadata(path) else { return Vec::new() };
    let device = format!("{:02x}:{:02x}", rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|&p| p != std::process::id())
        .collect();
    pids.sort_unstable();
    pids.into_iter()
        .filter(|pid| holds(*pid, path, &device, meta.ino()))
        .filter_map(|pid| Some(Holder { pid, started: started(pid)?, command: command(pid) }))
        .collect()
}

fn holds(pid: u32, path: &Path, device: &str, inode: u64) -> bool {
    fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten().any(|fd| {
        let info = fs::read_to_string(fd.path()).unwrap_or_default();
        info.lines().filter_map(locked).any(|(dev, ino)| {
            ino == inode
                && (dev == device
            // On layered file systems stat(2) returns another device number.
            || fs::read_link(format!("/proc/{pid}/fd/{}", fd.file_name().to_string_lossy())).is_ok_and(|to| to == path))
        })
    })
}

/// Device and inode from a line such as `lock: 1: FLOCK ADVISORY WRITE 4567 00:1b:123 0 EOF`.
fn locked(line: &str) -> Option<(&str, u64)> {
    let mut words = line.strip_prefix("lock:")?.split_whitespace();
    let kind = words.nth(1)?;
    let (device, inode) = words.nth(3)?.rsplit_once(':')?;
    (kind == "FLOCK").then_some((device, inode.parse().ok()?))
}

fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&line).split('\0').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
    let words =
        if words.is_empty() { fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default() } else { words };
    let words = clean(words.trim()).into_owned();
    let cut: String = words.chars().take(COMMAND).collect();
    if cut.len() < words.len() { format!("{cut}...") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::live::Live;
    use crate::host::{Cmd, Tools};

    #[test]
    fn who_holds_a_lock_is_found_also_when_its_taker_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        fs::write(&path, "").unwrap();
        assert_eq!(holders(&path), []);
        let shell =
            format!("exec 9>{}; flock 9; cat /dev/null; echo $$; exec sleep 98765 >/dev/null 2>&1", path.display());
        let live = Live::default();
        std::thread::scope(|s| {
            let held =
                s.spawn(|| live.run(&Cmd::new("bash", &["-c", &shell]).within(std::time::Duration::from_secs(2))));
            let found = (0..400).find_map(|_| {
                crate::host::Host::pause(&live, std::time::Duration::from_millis(10));
                holders(&path).into_iter().find(|h| h.command.starts_with("sleep"))
            });
            assert!(found.is_some_and(|h| h.to_string().ends_with("(`sleep 98765`)") && h.started > 0));
            let _ = held.join().unwrap();
        });
        assert_eq!(holders(&path), []);
        assert_eq!(locked("lock:\t1: FLOCK  ADVISORY  WRITE 4567 00:1b:123 0 EOF"), Some(("00:1b", 123)));
        assert_eq!(locked("lock:\t1: POSIX  ADVISORY  WRITE 4567 00:1b:123 0 EOF"), None);
        assert_eq!(locked("flags:\t0100002"), None);
    }
}
