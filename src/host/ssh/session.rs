//! The sessions of SSH servers, and what only looks like one.
//!
//! sshd changes the title of its process once the user is authenticated (`sshd: root`), and adds the terminal when a
//! session begins (`sshd: root@pts/0`); before that the title ends in `[priv]`, `[net]`, `[accepted]` or `[preauth]`.
//! Since OpenSSH 9.8 the process is `sshd-session`. With privilege separation root's monitor (`[priv]`) accepted the
//! connection and lives as long as it; the user's process is forked after authentication. Any process can take such a
//! title, so the kernel is asked what it runs, who started it and what it listens on.

use std::net::SocketAddr;

use super::procs::{Processes, Stat, Tcp};

/// Programs that let users in over SSH.
const SERVERS: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "dropbear"];

/// Programs that accept connections on behalf of other servers.
const SUPER_SERVERS: [&str; 3] = ["systemd", "inetd", "xinetd"];

/// An authenticated session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Process id.
    pub pid: i32,
    /// The user.
    pub user: String,
    /// `pts/0`, `notty`; `None` for a connection without a session.
    pub terminal: Option<String>,
    /// The SSH connection.
    pub connection: Tcp,
    /// Whether an SSH server listens on its local port.
    pub listened: bool,
    /// When the connection was accepted, in clock ticks since boot; a second channel of a connection does
    /// not change it.
    pub began: u64,
}

impl Session {
    /// Whether it proves that a way in is open: an authenticated session, from another host, to a port on which a
    /// server listens. A connection of this host to itself came through lo, which our rules do not filter.
    pub fn proves(&self, p: &dyn Processes) -> bool {
        self.terminal.is_some() && self.listened && !p.is_own(self.connection.remote.ip())
    }
}

/// Whether a process may belong to an SSH server, judged by its name.
pub fn is_server(comm: &str) -> bool {
    SERVERS.contains(&comm)
}

/// Whether a process runs one of these programs, from a place where only root can have put it.
fn runs(p: &dyn Processes, pid: i32, names: &[&str]) -> bool {
    p.program(pid).is_some_and(|program| program.of_root && names.contains(&program.name.as_str()))
}

/// What listens for SSH here: sockets of the servers, and of programs that may hand connections on to them.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// Sockets of SSH servers.
    pub servers: Vec<SocketAddr>,
    /// Sockets of PID 1 and the like: only some of them lead to an SSH server.
    pub others: Vec<SocketAddr>,
}

impl Listeners {
    fn take(&self, local: SocketAddr) -> bool {
        self.servers.iter().chain(&self.others).any(|l| covers(*l, local))
    }
}

/// Whether a connection to `local` goes to the socket that listens there.
fn covers(listens: SocketAddr, local: SocketAddr) -> bool {
    listens.port() == local.port() && (listens.ip().is_unspecified() || listens.ip() == local.ip())
}

/// Collects what listens for SSH here.
pub fn listeners(p: &dyn Processes) -> Listeners {
    let mut found = Listeners::default();
    for s in p.all().into_iter().filter_map(|pid| p.stat(pid)) {
        let server = is_server(&s.comm);
        let handed_on = s.pid == 1 || SUPER_SERVERS.contains(&s.comm.as_str());
        if !(server || handed_on) || !p.is_root(s.pid) {
            continue;
        }
        // Listening sockets of a session were asked for by its user (`ssh -R`).
        let forked = || s.comm == "dropbear" && p.stat(s.ppid).is_some_and(|q| q.comm == s.comm);
        if server && (name(&p.title(s.pid)).is_some() || forked() || !runs(p, s.pid, &SERVERS)) {
            continue;
        }
        let out = if server { &mut found.servers } else { &mut found.others };
        out.extend(p.sockets(s.pid).into_iter().filter(|t| t.listens).map(|t| t.local));
    }
    found
}

/// Whether a process is itself a listener.
pub fn listens(p: &dyn Processes, pid: i32, listeners: &Listeners) -> bool {
    p.sockets(pid).iter().any(|t| t.listens && listeners.servers.contains(&t.local))
}

/// The connection that a server process was started for. Connections that it opened for its user (`ssh -L`) are to
/// ports on which no server listens, and so are those that came in on a forwarded socket (`ssh -R`).
pub fn accepted(p: &dyn Processes, pid: i32, listeners: &Listeners) -> Option<Tcp> {
    let mine = p.sockets(pid);
    let own = |t: &Tcp| mine.iter().any(|l| l.listens && covers(l.local, t.local));
    mine.iter().find(|t| !t.listens && !own(t) && listeners.take(t.local)).copied()
}

/// The same if no server listens on that port any more: the first connection of the process.
pub fn oldest(p: &dyn Processes, pid: i32) -> Option<Tcp> {
    let mine = p.sockets(pid);
    let own = |t: &Tcp| mine.iter().any(|l| l.listens && covers(l.local, t.local));
    mine.iter().find(|t| !t.listens && !own(t)).copied()
}

/// The name in the title of an sshd process: `root@pts/0`, `ann [priv]`, `/usr/sbin/sshd -D [listener] 0 of 10-100`.
fn named(title: &str) -> Option<&str> {
    title
        .split_once(": ")
        .filter(|(program, _)| matches!(*program, "sshd" | "sshd-session" | "sshd-auth"))
        .map(|(_, rest)| rest)
}

/// The same, unless the process is the listener.
fn name(title: &str) -> Option<&str> {
    named(title).filter(|n| !n.contains("[listener]"))
}

/// User and terminal from the title of a process that serves an authenticated user.
pub fn user(title: &str) -> Option<(String, Option<String>)> {
    let name = name(title).filter(|n| !n.ends_with(']') && !n.is_empty())?;
    let known = |t: &str| t.starts_with("pts/") || matches!(t, "notty" | "internal-sftp") || t.starts_with("tty");
    match name.rsplit_once('@') {
        Some((user, tty)) if tty.split(',').all(known) => {
            (!user.is_empty()).then(|| (user.to_owned(), tty.split(',').next().map(str::to_owned)))
        }
        _ => (!name.contains(' ')).then(|| (name.to_owned(), None)),
    }
}

/// All sessions that are open now in our network namespace.
pub fn all(p: &dyn Processes) -> Vec<Session> {
    let listeners = listeners(p);
    let stats: Vec<Stat> = p.all().into_iter().filter_map(|pid| p.stat(pid)).collect();
    stats
        .iter()
        .filter(|s| is_server(&s.comm))
        .filter_map(|s| session(p, s, &listeners).or_else(|| dropbear(p, s, &listeners, &stats)))
        .collect()
}

/// The session of an sshd process, if it has one.
pub fn session(p: &dyn Processes, s: &Stat, listeners: &Listeners) -> Option<Session> {
    let (user, terminal) = user(&p.title(s.pid))?;
    if !runs(p, s.pid, &SERVERS) {
        return None;
    }
    let parent = p.stat(s.ppid).filter(|q| q.started <= s.started)?;
    let monitor = p.is_root(parent.pid)
        && runs(p, parent.pid, &SERVERS)
        && name(&p.title(parent.pid)).is_some_and(|n| n.ends_with("[priv]"));
    // A session of root has no monitor; anybody else who runs sshd's program let nobody in.
    let of_root = || p.is_root(s.pid) && p.is_root(parent.pid);
    if !monitor && !of_root() {
        return None;
    }
    let holders = [s.pid, parent.pid];
    let holders = &holders[..if monitor { 2 } else { 1 }];
    let by_port = holders.iter().find_map(|pid| accepted(p, *pid, listeners));
    let connection = by_port.or_else(|| holders.iter().find_map(|pid| oldest(p, *pid)))?;
    // Its process id may have been reused meanwhile.
    p.stat(s.pid).filter(|now| now.started == s.started)?;
    let began = if monitor { parent.started } else { s.started };
    Some(Session { pid: s.pid, user, terminal, connection, listened: by_port.is_some(), began })
}

/// dropbear does not show whom it let in: a connection counts once a process has been started for it.
fn dropbear(p: &dyn Processes, s: &Stat, listeners: &Listeners, all: &[Stat]) -> Option<Session> {
    let works = s.comm == "dropbear"
        && p.is_root(s.pid)
        && runs(p, s.pid, &SERVERS)
        && all.iter().any(|c| c.ppid == s.pid && c.comm != "dropbear");
    let connection = accepted(p, s.pid, listeners).filter(|_| works)?;
    Some(Session {
        pid: s.pid,
        user: "somebody".to_owned(),
        terminal: None,
        connection,
        listened: true,
        began: s.started,
    })
}
