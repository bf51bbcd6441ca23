//! The machine that we run on.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::ssh::Sessions;
use super::{
    Cmd, Held, Holder, Home, Host, Identity, Now, Output, Paths, Rights, SshSession, Stands, Stop, ToolError, Tools,
    chains, child, clock, files, process,
};
use crate::model::{Family, Logins, Operator, Source, clean};

/// The environment variable that marks the processes of a trial.
const TRIAL_MARK: &str = "PORTCULLIS_TRIAL";

/// The running machine.
#[derive(Clone, Debug)]
pub struct Live {
    paths: Paths,
    sessions: Arc<Mutex<Sessions>>,
}

impl Default for Live {
    fn default() -> Self {
        let place = |var: &str, usual: &str| std::env::var_os(var).map_or_else(|| PathBuf::from(usual), PathBuf::from);
        Self {
            paths: Paths {
                run: place("PORTCULLIS_RUN_DIR", "/run/portcullis"),
                state: place("PORTCULLIS_STATE_DIR", "/var/lib/portcullis"),
                rules: ["PORTCULLIS_RULES_V4", "PORTCULLIS_RULES_V6"]
                    .map(|var| std::env::var_os(var).map(PathBuf::from)),
                etc: "/etc/portcullis".into(),
            },
            sessions: Arc::default(),
        }
    }
}

/// The environment variables that say where our files are.
const PLACES: [&str; 4] = ["PORTCULLIS_RUN_DIR", "PORTCULLIS_STATE_DIR", "PORTCULLIS_RULES_V4", "PORTCULLIS_RULES_V6"];

/// The first of these variables whose value is not an absolute path, with that value: the guard has another working
/// directory and would look elsewhere.
pub fn misplaced() -> Option<(&'static str, PathBuf)> {
    let set = PLACES.iter().filter_map(|var| Some((*var, PathBuf::from(std::env::var_os(var)?))));
    set.into_iter().find(|(_, path)| !path.is_absolute())
}

impl Held for File {}

impl Tools for Live {
    fn run(&self, cmd: &Cmd) -> Result<Output, ToolError> {
        child::run(cmd)
    }

    fn nft_chain(&self, family: Family, chain: &str, limit: Duration) -> Result<Output, ToolError> {
        match chains::list(family, chain, limit) {
            chains::Answer::Lines(lines) => {
                Ok(Output { stdout: (lines.join("\n") + "\n").into_bytes(), ..Output::default() })
            }
            chains::Answer::Late => Err(ToolError::TimedOut { tool: family.tool(""), after: limit }),
            chains::Answer::Nothing => child::run(&Cmd::new(&family.tool(""), &["-S", chain]).within(limit)),
        }
    }

    fn lock_holders(&self, path: &Path) -> Vec<Holder> {
        super::locks::holders(path)
    }
}

impl Host for Live {
    fn source(&self) -> Source {
        Source::Live
    }

    fn name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    fn rights(&self) -> Rights {
        super::rights::ours()
    }

    fn paths(&self) -> &Paths {
        &self.paths
    }

    fn identity(&self) -> Identity {
        Identity {
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            netns: fs::metadata("/proc/self/ns/net").map_or(0, |m| m.ino()),
        }
    }

    fn now(&self) -> Now {
        clock::now()
    }

    fn pause(&self, time: Duration) {
        clock::pause(time);
    }

    fn find(&self, tool: &str) -> Option<PathBuf> {
        process::find(tool)
    }

    fn program(&self) -> Option<PathBuf> {
        super::home::executable()
    }

    fn throwaway(&self) -> Result<Box<dyn Tools>, String> {
        super::nested::Nested::new().map(|n| -> Box<dyn Tools> { Box::new(n) })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let ours = [&self.paths.run, &self.paths.state].into_iter().any(|d| path.starts_with(d));
        if ours { files::read(path) } else { files::read_any(path) }
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        files::write(path, bytes, mode, None)
    }

    fn rewrite(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let old = fs::symlink_metadata(path).is_ok_and(|m| m.is_file());
        files::write(path, bytes, mode, old.then_some(path))
    }

    fn stands(&self, path: &Path) -> io::Result<Stands> {
        files::stands(path)
    }

    fn sweep(&self, dir: &Path) -> Vec<PathBuf> {
        files::sweep(dir, |pid, started| self.alive(pid, started))
    }

    fn real(&self, path: &Path) -> PathBuf {
        fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .map(|d| d.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        files::make_dir(dir)
    }

    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn Held>>> {
        let file = files::lockable(path)?;
        let end = clock::monotonic() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Box::new(file))),
                Err(fs::TryLockError::WouldBlock) if clock::monotonic() < end => {
                    self.pause(Duration::from_millis(20));
                }
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(e)) => return Err(e),
            }
        }
    }

    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut addrs: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|a| a.ip()).collect();
        addrs.sort();
        addrs.dedup();
        Ok(addrs)
    }

    fn ssh_peer(&self) -> Option<(IpAddr, u16)> {
        let (operator, port) = super::ssh::operator();
        operator.peer().zip(port)
    }

    fn operator(&self) -> Operator {
        super::ssh::operator().0
    }

    fn logins(&self) -> Logins {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).logins(self)
    }

    fn ssh_sessions(&self) -> Vec<SshSession> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).look()
    }

    fn guard_homes(&self) -> Vec<Home> {
        super::home::homes()
    }

    fn start_guard(&self, id: &str, home: Home) -> io::Result<Stop> {
        super::home::start(id, home)
    }

    fn alive(&self, pid: u32, start: u64) -> bool {
        process::alive(pid, start)
    }

    fn me(&self) -> (u32, u64) {
        process::this_process()
    }

    fn end_leftovers(&self, trial: &str, holders: &[(u32, u64)]) {
        let mark = format!("{TRIAL_MARK}={trial}");
        let me = std::process::id();
        let mut ended: Vec<(u32, u64)> =
            holders.iter().copied().filter(|&(p, s)| p != me && self.alive(p, s)).collect();
        for pid in self.list(Path::new("/proc")).iter().filter_map(|n| n.parse::<u32>().ok()).filter(|&p| p != me) {
            let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if env.split(|&b| b == 0).any(|v| v == mark.as_bytes())
                && let Some(start) = process::started(pid)
            {
                ended.push((pid, start));
            }
        }
        for &(pid, _) in &ended {
            if let Some(p) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(p, Signal::KILL);
            }
        }
        // A killed process may take a moment to leave the kernel.
        for _ in 0..50 {
            if !ended.iter().any(|&(p, s)| self.alive(p, s)) {
                return;
            }
            self.pause(Duration::from_millis(20));
        }
    }

    fn log(&self, text: &str) {
        // A log that does not answer must not block anyone.
        let (live, text) = (self.clone(), text.to_owned());
        thread::spawn(move || live.write_log(&text));
    }

    fn announce(&self, text: &str) {
        self.write_log(text);
        // If nobody can be told, a revert must still go on.
        let _ = self.run(&told("wall", &[], text));
    }
}

impl Live {
    /// Writes a file that the operator named: a new one or one of the operator's own, never through a link. A script
    /// (`#!`) gets mode 0700, any other text 0600.
    ///
    /// # Errors
    ///
    /// The file belongs to another user, is a link or a directory, or cannot be written.
    pub fn export(&self, path: &Path, text: &str) -> io::Result<()> {
        files::export(path, text)
    }

    /// The machine, with its files in another directory.
    #[cfg(test)]
    pub(super) fn in_dir(dir: &Path) -> Self {
        let mut live = Self::default();
        live.paths.run = dir.join("run");
        live.paths.state = dir.join("state");
        live
    }

    /// Writes to syslog or the journal, whichever listens.
    fn write_log(&self, text: &str) {
        let _ = self.run(&told("logger", &["-t", "portcullis", "-p", "auth.notice", "--"], text));
    }
}

/// A command that shows a text to others. The text may quote what tools printed, so control characters are removed.
fn told(tool: &str, options: &[&str], text: &str) -> Cmd {
    let text = clean(text);
    Cmd::new(tool, &[options, &[&*text]].concat()).within(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_have_no_control_characters() {
        let cmd =
            told("logger", &["-t", "portcullis", "--"], "tool: \u{1b}]0;t\u{7}bad\u{9b}2J \u{202e}x\n\u{7f}\u{0}end");
        assert_eq!(cmd.args, ["-t", "portcullis", "--", "tool: ]0;tbad2J xend"]);
    }
}
