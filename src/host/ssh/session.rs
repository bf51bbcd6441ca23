//! The sessions of SSH servers, told from what only looks like one.
//!
//! sshd names its process after the user when it has let him in (`sshd: root`), and after his terminal when a session
//! begins (`sshd: root@pts/0`); before, the title ends in `[priv]`, `[net]`, `[accepted]` or `[preauth]`. From OpenSSH
//! 9.8 on the process is `sshd-session`. With privilege separation root's monitor (`[priv]`) took the connection and
//! lives as long as it does; the user's process is forked after authentication. Anybody can name a process like that:
//! what it runs, who started it and what it listens on is asked of the kernel.

use std::net::SocketAddr;

use super::procs::{Processes, Stat, Tcp};

/// Programs that let somebody in by SSH.
const SERVERS: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "dropbear"];

/// Programs that listen for others and hand connections on.
const SUPER_SERVERS: [&str; 3] = ["systemd", "inetd", "xinetd"];

/// Somebody whom an SSH server let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The process.
    pub pid: i32,
    /// Whose.
    pub user: String,
    /// `pts/0`, `notty`; `None` where nothing but a connection was asked for.
    pub terminal: Option<String>,
    /// His connection.
    pub connection: Tcp,
    /// The port is one on which an SSH server listens.
    pub listened: bool,
    /// When it was taken, in clock ticks since boot; a second channel of a connection does not begin anew.
    pub began: u64,
}

impl Session {
    /// Whether it shows that a way in is open: a login with a session, from another host, to a port on which a server
    /// listens. From this host to itself it came through lo, where our rules do not stand.
    pub fn proves(&self, p: &dyn Processes) -> bool {
        self.terminal.is_some() && self.listened && !p.is_own(self.connection.remote.ip())
    }
}

/// Whether a process may be one of an SSH server, by its name.
pub fn is_server(comm: &str) -> bool {
    SERVERS.contains(&comm)
}

/// Whether a process runs a program of this name that only root can have put there.
fn runs(p: &dyn Processes, pid: i32, names: &[&str]) -> bool {
    p.program(pid).is_some_and(|program| program.of_root && names.contains(&program.name.as_str()))
}

/// What listens for SSH servers here, or may: the servers' own sockets, and those of programs that hand connections on.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// Of SSH servers.
    pub servers: Vec<SocketAddr>,
    /// Of the first process and its like: only some of them lead to an SSH server.
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

/// What listens for SSH servers here.
pub fn listeners(p: &dyn Processes) -> Listeners {
    let mut found = Listeners::default();
    for s in p.all().into_iter().filter_map(|pid| p.stat(pid)) {
        let server = is_server(&s.comm);
        let handed_on = s.pid == 1 || SUPER_SERVERS.contains(&s.comm.as_str());
        if !(server || handed_on) || !p.is_root(s.pid) {
            continue;
        }
        // A session's own sockets that listen are its user's wish (`ssh -R`).
        let forked = || s.comm == "dropbear" && p.stat(s.ppid).is_some_and(|q| q.comm == s.comm);
        if server && (name(&p.title(s.pid)).is_some() || forked() || !runs(p, s.pid, &SERVERS)) {
            continue;
        }
        let out = if server { &mut found.servers } else { &mut found.others };
        out.extend(p.sockets(s.pid).into_iter().filter(|t| t.listens).map(|t| t.local));
    }
    found
}

/// Whether a process waits for connections itself.
pub fn listens(p: &dyn Processes, pid: i32, listeners: &Listeners) -> bool {
    p.sockets(pid).iter().any(|t| t.listens && listeners.servers.contains(&t.local))
}

/// The connection that a server's process was started for. What it opened itself for its user (`ssh -L`) has a port on
/// which no server listens, and so has what came in by a socket of its own (`ssh -R`).
pub fn accepted(p: &dyn Processes, pid: i32, listeners: &Listeners) -> Option<Tcp> {
    let mine = p.sockets(pid);
    let own = |t: &Tcp| mine.iter().any(|l| l.listens && covers(l.local, t.local));
    mine.iter().find(|t| !t.listens && !own(t) && listeners.take(t.local)).copied()
}

/// The same where no server listens on its port any more: the first that the process had.
pub fn oldest(p: &dyn Processes, pid: i32) -> Option<Tcp> {
    let mine = p.sockets(pid);
    let own = |t: &Tcp| mine.iter().any(|l| l.listens && covers(l.local, t.local));
    mine.iter().find(|t| !t.listens && !own(t)).copied()
}

/// The name in the title of a process of sshd: `root@pts/0`, `ann [priv]`, `/usr/sbin/sshd -D [listener] 0 of 10-100`.
fn named(title: &str) -> Option<&str> {
    title
        .split_once(": ")
        .filter(|(program, _)| matches!(*program, "sshd" | "sshd-session" | "sshd-auth"))
        .map(|(_, rest)| rest)
}

/// The same, if it is of one connection: not of the process that waits for all.
fn name(title: &str) -> Option<&str> {
    named(title).filter(|n| !n.contains("[listener]"))
}

/// User and terminal from the title of a process that has let somebody in.
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

/// All that are open now in our network namespace.
pub fn all(p: &dyn Processes) -> Vec<Session> {
    let listeners = listeners(p);
    let stats: Vec<Stat> = p.all().into_iter().filter_map(|pid| p.stat(pid)).collect();
    stats
        .iter()
        .filter(|s| is_server(&s.comm))
        .filter_map(|s| session(p, s, &listeners).or_else(|| dropbear(p, s, &listeners, &stats)))
        .collect()
}

/// The session of a process of sshd, if it is one.
pub fn session(p: &dyn Processes, s: &Stat, listeners: &Listeners) -> Option<Session> {
    let (user, terminal) = user(&p.title(s.pid))?;
    if !runs(p, s.pid, &SERVERS) {
        return None;
    }
    let parent = p.stat(s.ppid).filter(|q| q.started <= s.started)?;
    let monitor = p.is_root(parent.pid)
        && runs(p, parent.pid, &SERVERS)
        && name(&p.title(parent.pid)).is_some_and(|n| n.ends_with("[priv]"));
    // Root's own session has no monitor; whoever else runs sshd's program did not let anybody in.
    let of_root = || p.is_root(s.pid) && p.is_root(parent.pid);
    if !monitor && !of_root() {
        return None;
    }
    let holders = [s.pid, parent.pid];
    let holders = &holders[..if monitor { 2 } else { 1 }];
    let by_port = holders.iter().find_map(|pid| accepted(p, *pid, listeners));
    let connection = by_port.or_else(|| holders.iter().find_map(|pid| oldest(p, *pid)))?;
    // Its number may be another's meanwhile.
    p.stat(s.pid).filter(|now| now.started == s.started)?;
    let began = if monitor { parent.started } else { s.started };
    Some(Session { pid: s.pid, user, terminal, connection, listened: by_port.is_some(), began })
}

/// dropbear says nothing of whom it let in: a connection for which it has started something.
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
