//! What the kernel says about processes (proc(5)), as a trait: the judging code does no I/O, so tests can run it on
//! recorded hosts.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process};

use crate::host::clock;

/// A process: its name, its parent, its terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: i32,
    /// Process id of the parent.
    pub ppid: i32,
    /// Name, at most 15 bytes.
    pub comm: String,
    /// Device number of the controlling terminal; 0 for none.
    pub tty: i32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

/// The executable of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// File name when the process was started: an upgrade may have removed the file since.
    pub name: String,
    /// Whether the file and all directories above it belong to root and nobody else can write there.
    pub of_root: bool,
}

/// A TCP socket of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Local address; an IPv4-mapped one is given as IPv4.
    pub local: SocketAddr,
    /// Remote address.
    pub remote: SocketAddr,
    /// Whether it is listening.
    pub listens: bool,
}

/// The processes of a host.
pub trait Processes {
    /// All process ids.
    fn all(&self) -> Vec<i32>;
    /// Name, parent, terminal.
    fn stat(&self, pid: i32) -> Option<Stat>;
    /// Its command line as one string; processes can change it.
    fn title(&self, pid: i32) -> String;
    /// Whether it runs as root and was not started by another user (set-user-id).
    fn is_root(&self, pid: i32) -> bool;
    /// Its executable.
    fn program(&self, pid: i32) -> Option<Program>;
    /// Its established and listening TCP sockets in our network namespace, in descriptor order.
    fn sockets(&self, pid: i32) -> Vec<Tcp>;
    /// The process at the other end of a connection of this host to itself.
    fn holder(&self, connection: &Tcp) -> Option<i32>;
    /// Whether an address is this host's own.
    fn is_own(&self, addr: IpAddr) -> bool;
    /// When a terminal, e.g. `pts/3`, was last used; the name is resolved in the process's own root directory.
    fn used(&self, pid: i32, terminal: &str) -> Option<(i64, i64)>;
    /// The connection that `SSH_CONNECTION` names (ssh(1)), if it is still established.
    fn in_environment(&self) -> Option<Tcp>;
}

/// The running machine at one moment: the table of connections is read once.
#[derive(Default)]
pub struct Proc {
    tcp: OnceCell<HashMap<u64, Tcp>>,
}

impl Proc {
    fn tcp(&self) -> &HashMap<u64, Tcp> {
        self.tcp.get_or_init(|| {
            let wanted = |e: &TcpNetEntry| matches!(e.state, TcpState::Established | TcpState::Listen);
            [procfs::net::tcp().ok(), procfs::net::tcp6().ok()]
                .into_iter()
                .flatten()
                .flatten()
                .filter(wanted)
                .map(|e| {
                    (
                        e.inode,
                        Tcp {
                            local: plain(e.local_address),
                            remote: plain(e.remote_address),
                            listens: e.state == TcpState::Listen,
                        },
                    )
                })
                .collect()
        })
    }
}

/// Socket inodes of a process, in descriptor order.
fn inodes(pid: i32) -> Vec<u64> {
    let Some(fds) = Process::new(pid).ok().and_then(|p| p.fd().ok()) else { return Vec::new() };
    let mut found: Vec<(i32, u64)> = fds
        .flatten()
        .filter_map(|f| if let FDTarget::Socket(inode) = f.target { Some((f.fd, inode)) } else { None })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, inode)| inode).collect()
}

/// Turns an IPv4-mapped address (`::ffff:192.0.2.1`) into IPv4: to the firewall it is IPv4.
fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

impl Processes for Proc {
    fn all(&self) -> Vec<i32> {
        std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.parse().ok())
            .collect()
    }

    fn stat(&self, pid: i32) -> Option<Stat> {
        let s = Process::new(pid).and_then(|p| p.stat()).ok()?;
        Some(Stat { pid: s.pid, ppid: s.ppid, comm: s.comm, tty: s.tty_nr, started: clock::shared_ticks(s.starttime) })
    }

    fn title(&self, pid: i32) -> String {
        let words = Process::new(pid).and_then(|p| p.cmdline()).unwrap_or_default();
        words.join(" ").trim_matches(['\0', ' ']).to_owned()
    }

    fn is_root(&self, pid: i32) -> bool {
        // Not the owner of /proc/PID, which is root for every process that may not be traced (proc(5)).
        Process::new(pid).and_then(|p| p.status()).is_ok_and(|s| [s.ruid, s.euid, s.suid] == [0; 3])
    }

    fn program(&self, pid: i32) -> Option<Program> {
        let exe = format!("/proc/{pid}/exe");
        let path = std::fs::read_link(&exe).ok()?;
        let file = std::fs::metadata(&exe).ok()?;
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(" (deleted)").unwrap_or(name).to_owned();
        let only_root =
            |m: &std::fs::Metadata| m.uid() == 0 && m.mode() & 0o002 == 0 && (m.mode() & 0o020 == 0 || m.gid() == 0);
        let folders = path
            .ancestors()
            .skip(1)
            .all(|d: &Path| std::fs::symlink_metadata(d).is_ok_and(|m| m.is_dir() && only_root(&m)));
        Some(Program { name, of_root: file.is_file() && only_root(&file) && folders })
    }

    fn sockets(&self, pid: i32) -> Vec<Tcp> {
        inodes(pid).iter().filter_map(|i| self.tcp().get(i).copied()).collect()
    }

    fn holder(&self, connection: &Tcp) -> Option<i32> {
        let inode = self.tcp().iter().find(|(_, t)| (t.local, t.remote) == (connection.remote, connection.local))?.0;
        self.all().into_iter().find(|pid| inodes(*pid).contains(inode))
    }

    fn is_own(&self, addr: IpAddr) -> bool {
        // Only addresses of this host can be bound (ip(7)), unless `ip_nonlocal_bind` is set.
        let family = if addr.is_ipv4() { "ipv4" } else { "ipv6" };
        let any = || {
            std::fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind")).is_ok_and(|t| t.trim() == "1")
        };
        addr.is_loopback() || !any() && std::net::UdpSocket::bind((addr, 0)).is_ok()
    }

    fn used(&self, pid: i32, terminal: &str) -> Option<(i64, i64)> {
        // Below the process's own root: a container has terminals of its own under the same names.
        std::fs::metadata(format!("/proc/{pid}/root/dev/{terminal}")).ok().map(|m| (m.atime(), m.atime_nsec()))
    }

    fn in_environment(&self) -> Option<Tcp> {
        let text = std::env::var("SSH_CONNECTION").ok()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let end = |n: usize| Some(plain(SocketAddr::new(words.get(n)?.parse().ok()?, words.get(n + 1)?.parse().ok()?)));
        let named = Tcp { local: end(2)?, remote: end(0)?, listens: false };
        // If the connections cannot be read at all, the variable is believed.
        (self.tcp().is_empty() || self.tcp().values().any(|t| *t == named)).then_some(named)
    }
}
