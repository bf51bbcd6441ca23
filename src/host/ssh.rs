//! SSH as the host sees it: where we are used from, which sessions SSH servers have let in, and who may be the operator
//! when that is not known. `sudo` clears SSH_CONNECTION and a terminal multiplexer keeps an old one, so the kernel is
//! asked: [`procs`] reads, [`mod@origin`] and [`session`] judge, [`past`] reads records of earlier logins.

mod origin;
mod past;
mod procs;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use self::origin::origin;
use self::procs::{Proc, Processes};
use super::Tools;
use crate::model::{Login, LoginSource, Logins, Operator};

/// An authenticated SSH session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshSession {
    /// The user.
    pub user: String,
    /// The address it came from.
    pub peer: IpAddr,
    /// The local port of its connection.
    pub port: u16,
    /// When sshd accepted the connection, on CLOCK_BOOTTIME; a second channel of a connection does not change it.
    pub began: Duration,
}

/// Who uses this process, and the local port of their SSH connection.
pub fn operator() -> (Operator, Option<u16>) {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    match origin(&Proc::default(), me) {
        origin::Origin::Ssh(peer, port) => (Operator::Ssh(peer), Some(port)),
        origin::Origin::Console => (Operator::Console, None),
        origin::Origin::Unattended => (Operator::Unattended, None),
        origin::Origin::Unknown => (Operator::Unknown, None),
    }
}

/// The sessions of sshd on this host. It remembers what it found, so that looking often is cheap.
#[derive(Debug, Default)]
pub struct Sessions {
    /// How often a process that is not sshd's has been looked at, by process id.
    others: HashMap<i32, u8>,
    /// Sessions by process id and start time.
    known: HashMap<(i32, u64), SshSession>,
    /// Past logins, and when they were read.
    past: Option<(Instant, Vec<Login>, Vec<LoginSource>)>,
}

/// After this many looks a process without sshd's name is ignored: one may be seen between its fork and its exec.
const LOOKS: u8 = 5;

/// How long the list of past logins is cached.
const PAST_CACHED_FOR: Duration = Duration::from_mins(1);

impl Sessions {
    /// All sessions that are open now in our network namespace, from another host, to a port on which sshd listens.
    pub fn look(&mut self) -> Vec<SshSession> {
        let p = Proc::default();
        let pids = p.all();
        let there: HashSet<i32> = pids.iter().copied().collect();
        self.others.retain(|pid, _| there.contains(pid));
        self.known.retain(|(pid, _), _| there.contains(pid));
        let Some(here) = netns("self") else { return Vec::new() };
        let mut listeners = None;
        let mut found = Vec::new();
        for pid in pids {
            let looks = self.others.entry(pid).or_default();
            if *looks >= LOOKS {
                continue;
            }
            let server = (netns(&pid.to_string()) == Some(here))
                .then(|| p.stat(pid))
                .flatten()
                .filter(|s| session::is_server(&s.comm));
            let Some(stat) = server else {
                *looks += 1;
                continue;
            };
            *looks = 0;
            if let Some(known) = self.known.get(&(pid, stat.started)) {
                found.push(known.clone());
                continue;
            }
            if session::user(&p.title(pid)).is_none() {
                continue;
            }
            let listeners = listeners.get_or_insert_with(|| session::listeners(&p));
            if let Some(s) = session::session(&p, &stat, listeners).filter(|s| s.proves(&p)) {
                let began = Duration::from_millis(s.began.saturating_mul(1000) / procfs::ticks_per_second().max(1));
                let (peer, port) = (s.connection.remote.ip(), s.connection.local.port());
                let seen = SshSession { user: s.user, peer, port, began };
                self.known.insert((pid, stat.started), seen.clone());
                found.push(seen);
            }
        }
        found
    }

    /// Everybody who may be the operator when that is not known: who is logged in from another host now, and
    /// the last login.
    #[allow(clippy::disallowed_methods, reason = "how old an answer is")]
    pub fn logins(&mut self, tools: &dyn Tools) -> Logins {
        let p = Proc::default();
        let mut seen: Vec<Login> = session::all(&p)
            .into_iter()
            .map(|s| Login {
                user: s.user,
                peer: s.connection.remote.ip(),
                port: Some(s.connection.local.port()),
                at: None,
                seen: LoginSource::Sessions,
            })
            .collect();
        let (utmp, present) = past::present(&p);
        seen.extend(present);
        if self.past.as_ref().is_none_or(|(at, ..)| at.elapsed() >= PAST_CACHED_FOR) {
            let (logins, read) = past::last(tools);
            self.past = Some((Instant::now(), logins, read));
        }
        let mut read = vec![LoginSource::Sessions];
        read.extend(utmp.then_some(LoginSource::Utmp));
        if let Some((_, logins, sources)) = &self.past {
            seen.extend(logins.iter().cloned());
            read.extend(sources);
        }
        // Connections of the host to itself come through lo.
        seen.retain(|l| !p.is_own(l.peer));
        Logins::new(seen, read, ports(&p, tools))
    }
}

fn netns(pid: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|m| m.ino())
}

/// sshd's own port (RFC 4253).
const SSH: u16 = 22;

/// The ports on which SSH servers listen, ascending. A port on which PID 1 listens for others counts if it is the SSH
/// port, or if it is the socket of a unit that starts an SSH server.
fn ports(p: &dyn Processes, tools: &dyn Tools) -> Vec<u16> {
    let listeners = session::listeners(p);
    let outside =
        |all: &[SocketAddr]| all.iter().filter(|l| !l.ip().is_loopback()).map(SocketAddr::port).collect::<Vec<_>>();
    let handed_on = outside(&listeners.others);
    let units = if handed_on.is_empty() { Vec::new() } else { past::socket_units(tools) };
    let mut ports: Vec<u16> = outside(&listeners.servers)
        .into_iter()
        .chain(handed_on.into_iter().filter(|port| *port == SSH || units.contains(port)))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
