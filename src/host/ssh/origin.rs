//! Where the operator sits, judged by the ancestors of our process.

use super::procs::{Processes, Stat, Tcp};
use super::session::{self, Session};
use std::net::IpAddr;

/// Where a process is used from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From this address, over an SSH connection to this local port.
    Ssh(IpAddr, u16),
    /// A real terminal of the machine.
    Console,
    /// No terminal and no SSH.
    Unattended,
    /// A pseudo-terminal without an SSH server above it.
    Unknown,
}

/// How many connections of this host to itself are followed to their origin.
const HOPS: u32 = 8;

/// Where a process is used from. The nearest ancestor that tells decides: a real terminal, or the session of
/// an SSH server.
pub fn origin(p: &dyn Processes, pid: i32) -> Origin {
    walk(p, pid, HOPS)
}

fn walk(p: &dyn Processes, from: i32, hops: u32) -> Origin {
    // Every process descends from PID 1, so its terminal proves nothing.
    let first = p.stat(1).map_or(0, |s| s.tty);
    let above = above(p, from);
    let listeners = session::listeners(p);
    let servers = || above.iter().filter(|s| session::is_server(&s.comm));
    let mut silent = false;
    for s in &above {
        if is_real(s.tty) && s.tty != first {
            return Origin::Console;
        }
        if session::is_server(&s.comm) && !session::listens(p, s.pid, &listeners) {
            if let Some(connection) = session::accepted(p, s.pid, &listeners) {
                return through(p, &connection, hops);
            }
            silent = true;
        }
    }
    // Nothing listens on that port any more: the server has been restarted on another one.
    let oldest = servers().filter(|s| !session::listens(p, s.pid, &listeners)).find_map(|s| session::oldest(p, s.pid));
    if let Some(connection) = oldest {
        return through(p, &connection, hops);
    }
    if !above.iter().any(|s| is_pseudo(s.tty)) && !silent {
        return Origin::Unattended;
    }
    // Not for mosh, which outlives its SSH session whoever else is logged in, and not for a process without a terminal,
    // which nobody can have typed into a multiplexer.
    let behind_multiplexer =
        !silent && above.first().is_some_and(|s| is_pseudo(s.tty)) && !above.iter().any(|s| s.comm == "mosh-server");
    let by_terminal = if behind_multiplexer { used_last(p) } else { None };
    let by_word = || p.in_environment().filter(|c| !p.is_own(c.remote.ip()));
    by_terminal.or_else(by_word).map_or(Origin::Unknown, |c| Origin::Ssh(c.remote.ip(), c.local.port()))
}

/// The process and its ancestors, without PID 1.
fn above(p: &dyn Processes, from: i32) -> Vec<Stat> {
    let mut out: Vec<Stat> = Vec::new();
    let mut pid = from;
    // An ancestor may exit while we read, and its process id may be reused.
    while pid > 1 && !out.iter().any(|s| s.pid == pid) {
        let Some(s) = p.stat(pid) else { break };
        pid = s.ppid;
        out.push(s);
    }
    out
}

/// A connection of this host to itself comes from wherever its other end is used from.
fn through(p: &dyn Processes, connection: &Tcp, hops: u32) -> Origin {
    let peer = connection.remote.ip();
    if !p.is_own(peer) {
        return Origin::Ssh(peer, connection.local.port());
    }
    match p.holder(connection) {
        Some(other) if hops > 0 => walk(p, other, hops - 1),
        _ => Origin::Unknown,
    }
}

/// Programs on the operator's own terminal while they work on one that no SSH server made.
const CLIENTS: [&str; 11] = [
    "tmux: client",
    "screen",
    "zellij",
    "dtach",
    "abduco",
    "machinectl",
    "run0",
    "systemd-run",
    "docker",
    "podman",
    "nsenter",
];

/// In tmux or screen there is no SSH server above us. Among the sessions whose terminal runs a client of such a program
/// (among all, if none does), the one whose terminal was used last is the operator's. The kernel rounds that time to
/// eight seconds.
fn used_last(p: &dyn Processes) -> Option<Tcp> {
    let stats = p.all().into_iter().filter_map(|pid| p.stat(pid));
    let attached: Vec<i32> = stats.filter(|s| CLIENTS.contains(&s.comm.as_str())).map(|s| s.tty).collect();
    let used = |s: &Session| {
        let terminal = s.terminal.as_deref()?;
        Some((attached.contains(&pts(terminal)?), p.used(s.pid, terminal)?))
    };
    let sessions = session::all(p).into_iter().filter(|s| !p.is_own(s.connection.remote.ip()));
    sessions.filter_map(|s| Some((used(&s)?, s.connection))).max_by_key(|(used, _)| *used).map(|(_, c)| c)
}

/// The kernel's device number of `pts/3`: devices.txt, with minor numbers above 255 in the upper bits (proc(5)).
fn pts(terminal: &str) -> Option<i32> {
    let n: i32 = terminal.strip_prefix("pts/")?.parse().ok()?;
    Some(136 << 8 | n & 0xff | (n >> 8) << 20)
}

/// Major numbers 136 to 143 are pseudo-terminals (devices.txt); bits 8 to 19 of the number hold the major (proc(5)).
fn is_pseudo(tty: i32) -> bool {
    (136..=143).contains(&((tty >> 8) & 0xfff))
}

fn is_real(tty: i32) -> bool {
    tty != 0 && !is_pseudo(tty)
}
