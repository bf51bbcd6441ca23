//! SSH as the host sees it: the connection that we are used through, and the sessions that sshd let in.
//!
//! `sudo` clears SSH_CONNECTION and a terminal multiplexer keeps an old one, so the ancestors' sockets and the
//! processes of sshd are asked (proc(5)). After authentication sshd names its process after the session, e.g.
//! `sshd: root@pts/0`; before, the title ends in `[priv]`, `[net]`, `[accepted]` or `[preauth]` (sshd's
//! `session_proctitle`). From OpenSSH 9.8 on the process is called `sshd-session`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process, Stat};

/// An SSH session that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshSession {
    /// Whose.
    pub user: String,
    /// From where.
    pub peer: IpAddr,
    /// The port of ours that it came to.
    pub port: u16,
    /// When sshd took the connection, on CLOCK_BOOTTIME; a second channel of a connection does not begin anew.
    pub began: Duration,
}

/// The connection of the session that this process runs in: peer address and local port.
pub fn peer_of_this_session(sessions: &mut Sessions) -> Option<(IpAddr, u16)> {
    let me = Process::myself().ok()?;
    let tcp = connections(&me);
    from_environment(&tcp).or_else(|| from_ancestors(&me)).or_else(|| behind_multiplexer(sessions))
}

/// `SSH_CONNECTION`: client address, client port, server address, server port (ssh(1)); only while it is established.
fn from_environment(tcp: &[TcpNetEntry]) -> Option<(IpAddr, u16)> {
    let text = std::env::var("SSH_CONNECTION").ok()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let (peer, port) = (plain(words.first()?.parse().ok()?), words.get(3)?.parse().ok()?);
    let from: u16 = words.get(1)?.parse().ok()?;
    let lives = |e: &TcpNetEntry| e.local_address.port() == port && e.remote_address.port() == from && plain(e.remote_address.ip()) == peer;
    // Where the connections cannot be read at all, the word counts.
    (tcp.is_empty() || tcp.iter().any(lives)).then_some((peer, port))
}

fn from_ancestors(me: &Process) -> Option<(IpAddr, u16)> {
    let mut stat = me.stat().ok()?;
    while stat.ppid > 1 {
        let process = Process::new(stat.ppid).ok()?;
        stat = process.stat().ok()?;
        if stat.comm.starts_with("sshd")
            && let Some(e) = connection_of(&process)
        {
            return Some((plain(e.remote_address.ip()), e.local_address.port()));
        }
    }
    None
}

/// In tmux or screen sshd is no ancestor: the session whose terminal was used last is the operator's.
fn behind_multiplexer(sessions: &mut Sessions) -> Option<(IpAddr, u16)> {
    // A console is not reached through SSH.
    if !is_behind_pseudo_terminal() {
        return None;
    }
    let used = |s: &(SshSession, Option<String>)| {
        let tty = s.1.as_ref().filter(|t| t.starts_with("pts/"))?;
        std::fs::metadata(format!("/dev/{tty}")).ok().map(|m| (m.atime(), m.atime_nsec()))
    };
    sessions.look_with_terminals().into_iter().filter(|s| used(s).is_some()).max_by_key(used).map(|(s, _)| (s.peer, s.port))
}

/// Whether somebody may sit behind this process of whom nothing else tells where he comes from: it has a
/// pseudo-terminal (mosh, a multiplexer, a container's shell). A console or a script has none.
pub fn is_behind_pseudo_terminal() -> bool {
    let above = std::iter::successors(Process::myself().and_then(|me| me.stat()).ok(), |s| Process::new(s.ppid).and_then(|p| p.stat()).ok());
    only_pseudo(above.map(|s| s.tty_nr))
}

/// Whether a process has a pseudo-terminal, and none of those above it a real one: `sudo` at a console gives its command
/// a pseudo-terminal (`use_pty`, sudoers(5)). The first terminal is the process's own.
fn only_pseudo(mut terminals: impl Iterator<Item = i32>) -> bool {
    terminals.next().is_some_and(is_pseudo) && terminals.all(|t| t == 0 || is_pseudo(t))
}

/// Major numbers 136 to 143 are pseudo-terminals (devices.txt); bits 8 to 19 of the number hold the major (proc(5)).
fn is_pseudo(tty_nr: i32) -> bool {
    (136..=143).contains(&((tty_nr >> 8) & 0xfff))
}

/// The sessions of sshd on this host. It remembers which processes are not sshd's, so that looking often costs little.
#[derive(Debug, Default)]
pub struct Sessions {
    /// How often a process was seen that is none of sshd's, by its number.
    others: HashMap<i32, u8>,
}

/// Looks after which a process without sshd's name is left alone: one may be seen between its fork and its exec.
const LOOKS: u8 = 5;

impl Sessions {
    /// All sessions that are open now in our network namespace, from another host.
    pub fn look(&mut self) -> Vec<SshSession> {
        self.look_with_terminals().into_iter().map(|(s, _)| s).collect()
    }

    fn look_with_terminals(&mut self) -> Vec<(SshSession, Option<String>)> {
        let pids: Vec<i32> = std::fs::read_dir("/proc").into_iter().flatten().flatten()
            .filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        let there: HashSet<i32> = pids.iter().copied().collect();
        self.others.retain(|p, _| there.contains(p));
        let Some(here) = netns("self") else { return Vec::new() };
        let mut found = Vec::new();
        for pid in pids {
            let looks = self.others.entry(pid).or_default();
            if *looks >= LOOKS {
                continue;
            }
            let Some(process) = Process::new(pid).ok().filter(|_| netns(&pid.to_string()) == Some(here)) else {
                *looks += 1;
                continue;
            };
            let Some(stat) = process.stat().ok().filter(|s| s.comm.starts_with("sshd")) else {
                *looks += 1;
                continue;
            };
            *looks = 0;
            found.extend(session(&process, &stat));
        }
        found
    }
}

fn netns(pid: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|m| m.ino())
}

/// The session of an sshd process, with its terminal, if it was let in and comes from another host.
fn session(process: &Process, stat: &Stat) -> Option<(SshSession, Option<String>)> {
    let (user, tty) = title(&process.cmdline().ok()?.join(" "))?;
    // Root's own sshd: anybody can name a process like this, but not start it under root's.
    let parent = Process::new(stat.ppid).ok();
    let of_root = process.uid().ok()? == 0
        || parent.as_ref().is_some_and(|p| p.uid().is_ok_and(|u| u == 0) && p.stat().is_ok_and(|s| s.comm.starts_with("sshd")));
    if !of_root {
        return None;
    }
    // With privilege separation the monitor took the connection; the user's process is forked after authentication.
    let monitor = parent.filter(|p| p.cmdline().is_ok_and(|c| c.join(" ").trim_end().ends_with("[priv]")));
    let born = monitor.as_ref().and_then(|p| p.stat().ok()).map_or(stat.starttime, |s| s.starttime);
    let e = connection_of(process).or_else(|| monitor.as_ref().and_then(connection_of))?;
    let peer = plain(e.remote_address.ip());
    // From this host to itself it came through lo, where our rules do not stand.
    let own = peer.is_loopback() || is_ours(peer);
    let ticks = procfs::ticks_per_second();
    let began = Duration::from_millis(born.saturating_mul(1000) / ticks.max(1));
    (!own).then(|| (SshSession { user, peer, port: e.local_address.port(), began }, tty))
}

/// User and terminal from the title of a process that authenticated: `sshd: alice@pts/0`, `sshd-session: root@notty`.
fn title(text: &str) -> Option<(String, Option<String>)> {
    let text = text.trim_matches(['\0', ' ']);
    let (name, rest) = text.split_once(": ")?;
    if !matches!(name, "sshd" | "sshd-session") || rest.ends_with(']') {
        return None;
    }
    let (user, tty) = rest.rsplit_once('@')?;
    let known = |t: &str| t.starts_with("pts/") || matches!(t, "notty" | "internal-sftp") || t.starts_with("tty");
    (!user.is_empty() && tty.split(',').all(known)).then(|| (user.to_owned(), tty.split(',').next().map(str::to_owned)))
}

/// Whether the address is one of this host's: only those can be bound (ip(7)), unless `ip_nonlocal_bind` is set.
fn is_ours(addr: IpAddr) -> bool {
    let family = if addr.is_ipv4() { "ipv4" } else { "ipv6" };
    let any = std::fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind")).is_ok_and(|t| t.trim() == "1");
    !any && std::net::UdpSocket::bind((addr, 0)).is_ok()
}

fn connections(process: &Process) -> Vec<TcpNetEntry> {
    [process.tcp().ok(), process.tcp6().ok()].into_iter().flatten().flatten().filter(|e| e.state == TcpState::Established).collect()
}

fn connection_of(process: &Process) -> Option<TcpNetEntry> {
    let inodes: Vec<u64> = process.fd().ok()?.flatten()
        .filter_map(|fd| if let FDTarget::Socket(inode) = fd.target { Some(inode) } else { None })
        .collect();
    connections(process).into_iter().find(|e| inodes.contains(&e.inode))
}

/// An IPv4 address that an IPv6 socket shows (`::ffff:192.0.2.1`) is an IPv4 address to the firewall.
fn plain(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::{is_pseudo, only_pseudo, title};

    #[test]
    fn a_console_and_a_script_have_no_pseudo_terminal() {
        let device = |major: i32, minor: i32| major << 8 | minor & 0xff | (minor >> 8) << 20;
        // None, /dev/tty1, /dev/ttyS0, /dev/console, /dev/hvc0, /dev/ttyUSB0.
        for console in [0, device(4, 1), device(4, 64), device(5, 1), device(229, 0), device(188, 0)] {
            assert!(!is_pseudo(console), "{console}");
        }
        assert!(is_pseudo(device(136, 0)) && is_pseudo(device(136, 700)) && is_pseudo(device(143, 255)));
        let pts = device(136, 3);
        // ssh, mosh or a multiplexer; sudo's pseudo-terminal on a console; a console; a script.
        assert!(only_pseudo([pts, pts, 0, 0].into_iter()));
        assert!(!only_pseudo([pts, pts, device(4, 1), device(4, 1), 0].into_iter()));
        assert!(!only_pseudo([device(4, 64), 0].into_iter()) && !only_pseudo([0, pts].into_iter()));
    }

    #[test]
    fn only_an_authenticated_session_has_a_session_title() {
        let user = |t: &str| title(t).map(|(u, _)| u);
        assert_eq!(user("sshd: root@pts/0"), Some("root".into()));
        assert_eq!(user("sshd-session: alice@notty\0\0"), Some("alice".into()));
        assert_eq!(user("sshd: alice@example.org@pts/3,pts/4"), Some("alice@example.org".into()));
        for none in ["sshd: root [priv]", "sshd: alice@example.org [priv]", "sshd: [accepted]", "sshd: unknown [net]", "sshd: alice", "sshd: alice@example.org",
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "/usr/sbin/sshd -D", "sshd: @pts/0", "vi sshd: x@pts/0", ""] {
            assert_eq!(user(none), None, "{none}");
        }
    }
}
