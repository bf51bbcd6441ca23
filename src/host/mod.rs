//! The only door to the outside: processes, files, clocks, names. Everything above asks a [`Host`], so that the
//! built-in demo host runs the same code as the live one.

mod chains;
mod child;
mod clock;
pub mod demo;
mod files;
pub mod home;
pub mod live;
mod locks;
mod nested;
pub mod personal;
mod process;
mod rights;
mod ssh;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use rights::Rights;
pub use ssh::SshSession;

use crate::model::{Family, Logins, Operator, Source};

/// One run of a tool: an argument vector and standard input, never a shell string.
#[derive(Clone, Debug)]
pub struct Cmd {
    /// Name of the tool, e.g. `iptables-save`; looked up in fixed directories.
    pub tool: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Standard input; empty when `None`.
    pub stdin: Option<Vec<u8>>,
    /// After this time the tool and everything it started are killed. Processes that keep its pipes open after it has
    /// exited are killed a little later.
    pub timeout: Duration,
    /// Additional environment; otherwise tools get only `PATH` and `LC_ALL=C`.
    pub env: Vec<(String, String)>,
}

impl Cmd {
    /// A tool with arguments, a timeout of five seconds and no input.
    pub fn new(tool: &str, args: &[&str]) -> Self {
        Self {
            tool: tool.to_owned(),
            args: args.iter().map(|&a| a.to_owned()).collect(),
            stdin: None,
            timeout: Duration::from_secs(5),
            env: Vec::new(),
        }
    }

    /// The same with standard input.
    #[must_use]
    pub fn input(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// The same with another timeout.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same with one more environment variable.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What a tool answered.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Exit status; 128 + the signal number if a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Whether standard error contains these words.
    pub fn says(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.stderr).contains(words)
    }

    /// The first non-empty line of standard error, for a message.
    pub fn complaint(&self) -> String {
        let err = String::from_utf8_lossy(&self.stderr);
        err.lines().find(|l| !l.trim().is_empty()).unwrap_or("no message").trim().to_owned()
    }
}

/// Why a tool gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// It is in none of the fixed directories.
    #[error("{tool} is not installed{}", in_package(tool))]
    Missing {
        /// Tool.
        tool: String,
    },
    /// It did not exit in time and was killed.
    #[error("{tool} did not answer within {} s", after.as_secs())]
    TimedOut {
        /// Tool.
        tool: String,
        /// The timeout.
        after: Duration,
    },
    /// It could not be started or read.
    #[error("{tool} could not be run: {why}")]
    Broken {
        /// Tool.
        tool: String,
        /// What the system said.
        why: String,
    },
}

fn in_package(tool: &str) -> String {
    package_of(tool).map_or_else(String::new, |p| format!(" (Debian package {p})"))
}

/// The Debian package of a tool that we use.
fn package_of(tool: &str) -> Option<&'static str> {
    Some(match tool {
        t if t.starts_with("iptables") || t.starts_with("ip6tables") => "iptables",
        "ip" | "ss" => "iproute2",
        "rpcinfo" => "rpcbind",
        "ipset" => "ipset",
        "nft" => "nftables",
        "unshare" => "util-linux",
        _ => return None,
    })
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock in whole seconds since 1970 UTC: what xt_time compares.
    pub wall: i64,
    /// Time since boot, including suspend (CLOCK_BOOTTIME): what deadlines are kept in.
    pub boot: Duration,
}

/// The machine and namespace that we are in; a trial is only touched from where it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The kernel's random id of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Network namespace (inode of `/proc/self/ns/net`).
    pub netns: u64,
}

/// Directories and files that may be elsewhere on unusual hosts and in tests.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Lock and pending trial; cleared at reboot. `PORTCULLIS_RUN_DIR`.
    pub run: PathBuf,
    /// Snapshots and history. `PORTCULLIS_STATE_DIR`.
    pub state: PathBuf,
    /// The rules that boot loads, IPv4 and IPv6, if the operator names the files (`PORTCULLIS_RULES_V4`,
    /// `PORTCULLIS_RULES_V6`); `None`: where the distribution keeps them.
    pub rules: [Option<PathBuf>; 2],
    /// Our own rules, loaded by our unit: always `/etc/portcullis`, the only place that the unit knows.
    pub etc: PathBuf,
}

/// What kind of file a path leads to, following links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// There is no file.
    Nothing,
    /// A regular file.
    File {
        /// Number of hard links.
        names: u64,
        /// Size in bytes.
        size: u64,
        /// Whether it is executable (any x bit).
        runs: bool,
    },
    /// Anything else, in words: `a directory`, `a device`, `a dangling link`.
    Other(&'static str),
}

/// Holds a lock until it is dropped.
pub trait Held: Send {}

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub started: u64,
    /// Its command line, truncated.
    pub command: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} (`{}`)", self.pid, self.command)
    }
}

/// Where a guard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Home {
    /// A systemd service, restarted however it ends.
    Service,
    /// A process with its own session.
    Detached,
}

/// Stops a guard that did not become ready.
pub type Stop = Box<dyn FnOnce() + Send>;

/// Where tools run: a machine, or a throw-away network namespace on it.
pub trait Tools: Send + Sync {
    /// Runs a tool and waits until it exits.
    fn run(&self, cmd: &Cmd) -> Result<Output, ToolError>;
    /// Runs `iptables -S CHAIN`, which is cheap however many rules other chains have. Only for iptables-nft: the legacy
    /// variant would wait for its lock, and read the whole table anyway.
    fn nft_chain(&self, family: Family, chain: &str, limit: Duration) -> Result<Output, ToolError> {
        self.run(&Cmd::new(&family.tool(""), &["-S", chain]).within(limit))
    }
    /// Who holds the lock of a file or directory (flock(2)), except ourselves; empty if nobody is found.
    fn lock_holders(&self, path: &Path) -> Vec<Holder> {
        let _ = path;
        Vec::new()
    }
}

/// A machine: the live one, or one that exists only in memory.
pub trait Host: Tools {
    /// Live or demo.
    fn source(&self) -> Source;
    /// Name of the machine.
    fn name(&self) -> String;
    /// What we may do there.
    fn rights(&self) -> Rights;
    /// Whether we may read and change the firewall.
    fn is_root(&self) -> bool {
        self.rights() == Rights::Root
    }
    /// Where our files are.
    fn paths(&self) -> &Paths;
    /// The machine and namespace that we are in.
    fn identity(&self) -> Identity;
    /// Both clocks.
    fn now(&self) -> Now;
    /// Sleeps.
    fn pause(&self, time: Duration);
    /// A network namespace without any rules, removed when it is dropped; the error is one sentence.
    fn throwaway(&self) -> Result<Box<dyn Tools>, String>;
    /// The path of a tool; `None` when it is missing.
    fn find(&self, tool: &str) -> Option<PathBuf>;
    /// The path of our executable, for a unit that starts it later; `None` if the file is gone or systemd could not use
    /// its path.
    fn program(&self) -> Option<PathBuf> {
        None
    }
    /// Reads a regular file without blocking; in our own directories only a file of ours, not through a link.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Writes a file of ours whole or not at all, synced to disk, with `mode`, replacing whatever was there.
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;
    /// The same for a file of the administrator's: an existing one keeps its mode, owner and extended attributes.
    fn rewrite(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.write(path, bytes, mode)
    }
    /// The file that a path leads to through symbolic links; the path itself if there is none.
    fn real(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
    /// What kind of file a path leads to, following links.
    fn stands(&self, path: &Path) -> io::Result<Stands>;
    /// Removes temporary files of ours whose writer is gone, and returns their paths.
    fn sweep(&self, dir: &Path) -> Vec<PathBuf>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted; empty if it does not exist.
    fn list(&self, dir: &Path) -> Vec<String>;
    /// Creates our own directory (0700) or makes an existing one private; refuses a link or a directory
    /// of another user.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Locks a file or directory exclusively; `None` if another process holds the lock for longer than `wait`.
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn Held>>>;
    /// Resolves a name.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
    /// The peer address and the local port of the SSH connection that we are used through, if any.
    fn ssh_peer(&self) -> Option<(IpAddr, u16)>;
    /// Who uses us.
    fn operator(&self) -> Operator;
    /// The logins among which the operator is, when not known, and where we looked for them.
    fn logins(&self) -> Logins;
    /// The authenticated SSH sessions from other hosts that are open now.
    fn ssh_sessions(&self) -> Vec<SshSession>;
    /// The homes that a guard can have here, the best one first; never empty.
    fn guard_homes(&self) -> Vec<Home>;
    /// Starts the guard of a trial, detached from us; the guard itself reports when it is ready.
    fn start_guard(&self, id: &str, home: Home) -> io::Result<Stop>;
    /// Whether the process is still the same one (pid and start time in clock ticks).
    fn alive(&self, pid: u32, started: u64) -> bool;
    /// Our own process: pid and start time.
    fn me(&self) -> (u32, u64);
    /// Kills what is left of an apply: these processes (pid and start time), and every process whose environment names
    /// the trial.
    fn end_leftovers(&self, trial: &str, holders: &[(u32, u64)]);
    /// Writes to the log, without waiting for it.
    fn log(&self, text: &str);
    /// Writes to the log and to the terminal of every logged-in user.
    fn announce(&self, text: &str);
}
