//! The only door to the outside: processes, files, clocks, names. Everything above asks a [`Host`], so that
//! the built-in demo host runs the same code as the live one.

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
    /// Name of the tool, e.g. `iptables-save`; found on a fixed path.
    pub tool: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Standard input; empty when `None`.
    pub stdin: Option<Vec<u8>>,
    /// After this time the tool and what it started are killed; what still holds its pipes after its end, a little
    /// later.
    pub timeout: Duration,
    /// Additional environment (the tools otherwise get `PATH` and `LC_ALL=C` only).
    pub env: Vec<(String, String)>,
}

impl Cmd {
    /// A tool with arguments, five seconds of time and no input.
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

    /// The same with another limit.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same with one more variable.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What a tool answered.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Exit status; 128 + the signal when a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Whether the words stand in what the tool wrote to standard error.
    pub fn says(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.stderr).contains(words)
    }

    /// The first line that the tool wrote to standard error, for a message.
    pub fn complaint(&self) -> String {
        let err = String::from_utf8_lossy(&self.stderr);
        err.lines().find(|l| !l.trim().is_empty()).unwrap_or("no message").trim().to_owned()
    }
}

/// Why a tool gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolError {
    /// It is not on the fixed path.
    Missing {
        /// Tool.
        tool: String,
    },
    /// It did not end in time and was killed.
    TimedOut {
        /// Tool.
        tool: String,
        /// The limit.
        after: Duration,
    },
    /// It could not be started or read.
    Broken {
        /// Tool.
        tool: String,
        /// What the system said.
        why: String,
    },
}

impl std::fmt::Display for ToolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { tool } => match package_of(tool) {
                Some(p) => write!(f, "{tool} is not installed (Debian package {p})"),
                None => write!(f, "{tool} is not installed"),
            },
            Self::TimedOut { tool, after } => write!(f, "{tool} did not answer within {} s", after.as_secs()),
            Self::Broken { tool, why } => write!(f, "{tool} could not be run: {why}"),
        }
    }
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

/// Two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, whole seconds since 1970 UTC: what xt_time reads.
    pub wall: i64,
    /// Time since boot, sleep included (CLOCK_BOOTTIME): what deadlines are kept in.
    pub boot: Duration,
}

/// Who and where we are; a trial is only touched from where it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Kernel's random id of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Network namespace (inode of `/proc/self/ns/net`).
    pub netns: u64,
}

/// Places that may be elsewhere on unusual hosts and in tests.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Lock and pending trial; gone at reboot. `PORTCULLIS_RUN_DIR`.
    pub run: PathBuf,
    /// Snapshots and history. `PORTCULLIS_STATE_DIR`.
    pub state: PathBuf,
    /// What boot loads, IPv4 and IPv6, where the operator names it (`PORTCULLIS_RULES_V4`, `PORTCULLIS_RULES_V6`);
    /// `None`: where the distribution keeps it.
    pub rules: [Option<PathBuf>; 2],
    /// Our part alone, which a unit of ours loads: always `/etc/portcullis`, for that unit knows no other place.
    pub etc: PathBuf,
}

/// What stands at a path, its links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nothing.
    Nothing,
    /// A regular file.
    File {
        /// How many names (hard links) it has.
        names: u64,
        /// How many bytes.
        size: u64,
        /// Whether it may be run (a mode with an x in it).
        runs: bool,
    },
    /// Something else, in words: `a directory`, `a device`, `a link that leads nowhere`.
    Other(&'static str),
}

/// Something that holds the lock of a directory until it is dropped.
pub trait Held: Send {}

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub started: u64,
    /// Its command line, cut.
    pub command: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} (`{}`)", self.pid, self.command)
    }
}

/// Where a guard lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Home {
    /// A service of systemd, which starts it again whatever ends it.
    Service,
    /// A process and session of its own.
    Detached,
}

/// Ends a guard that did not get ready.
pub type Stop = Box<dyn FnOnce() + Send>;

/// Where tools run: a machine, or a throw-away network namespace on it.
pub trait Tools: Send + Sync {
    /// Runs a tool and waits for its end.
    fn run(&self, cmd: &Cmd) -> Result<Output, ToolError>;
    /// Runs `iptables -S CHAIN`, which costs little however many rules other chains have. On iptables-nft only: the
    /// other variant would wait for its lock, and read the whole table all the same.
    fn nft_chain(&self, family: Family, chain: &str, limit: Duration) -> Result<Output, ToolError> {
        self.run(&Cmd::new(&family.tool(""), &["-S", chain]).within(limit))
    }
    /// Who holds the lock of a file or directory (flock(2)), ourselves aside; empty when nobody is found.
    fn lock_holders(&self, path: &Path) -> Vec<Holder> {
        let _ = path;
        Vec::new()
    }
}

/// A machine: the live one, or one that only exists in memory.
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
    /// Places of our files.
    fn paths(&self) -> &Paths;
    /// Where we are.
    fn identity(&self) -> Identity;
    /// Both clocks.
    fn now(&self) -> Now;
    /// Waits.
    fn pause(&self, time: Duration);
    /// A network namespace without any rules, gone when it is dropped; the error is one sentence.
    fn throwaway(&self) -> Result<Box<dyn Tools>, String>;
    /// Where a tool is; `None` when it is missing.
    fn find(&self, tool: &str) -> Option<PathBuf>;
    /// Our own executable, for a unit that starts it later; `None` when the file is not there any more, or systemd
    /// could not name it.
    fn program(&self) -> Option<PathBuf> {
        None
    }
    /// Reads a regular file, without waiting for anybody; in our own directories only one of ours, not through a link.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Writes a file of ours whole or not at all, synced to disk, with `mode`; whatever stood there is replaced.
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;
    /// The same for a file of the administrator's: one that is there keeps its mode, owner and extended attributes.
    fn rewrite(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.write(path, bytes, mode)
    }
    /// The file that a path leads to by its symbolic links; the path itself where there is none.
    fn real(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
    /// What stands at a path, its links followed.
    fn stands(&self, path: &Path) -> io::Result<Stands>;
    /// Removes what is left in a directory of writes of ours whose process died; what was removed.
    fn sweep(&self, dir: &Path) -> Vec<PathBuf>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted; empty when it is not there.
    fn list(&self, dir: &Path) -> Vec<String>;
    /// Makes our own directory (0700), closes one that was open to others, and refuses one that is another's or a link.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes a lock file, or a directory, for us alone; `None` when another holds it for longer than `wait`.
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn Held>>>;
    /// Addresses of a name.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
    /// The address and the local port of the SSH connection that we are used through, if any.
    fn ssh_peer(&self) -> Option<(IpAddr, u16)>;
    /// Who uses us.
    fn operator(&self) -> Operator;
    /// The logins among which an operator is who is not known himself, and where they were looked for.
    fn logins(&self) -> Logins;
    /// The SSH sessions that sshd let in from other hosts and that are open now.
    fn ssh_sessions(&self) -> Vec<SshSession>;
    /// Where a guard can live here, the best one first; never empty.
    fn guard_homes(&self) -> Vec<Home>;
    /// Starts the guard of a trial, detached from us; it says itself when it is ready.
    fn start_guard(&self, id: &str, home: Home) -> io::Result<Stop>;
    /// Whether the process is still the one that it was (pid and its start time in clock ticks).
    fn alive(&self, pid: u32, started: u64) -> bool;
    /// Our own process: pid and start time.
    fn me(&self) -> (u32, u64);
    /// Ends what is left of an apply: the processes (pid and start time), and every one whose environment names the
    /// trial.
    fn end_leftovers(&self, trial: &str, holders: &[(u32, u64)]);
    /// Tells the log, without waiting for it.
    fn log(&self, text: &str);
    /// Tells the log and every logged-in terminal.
    fn announce(&self, text: &str);
}
