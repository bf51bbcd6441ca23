//! Who is at the other end of a trial, and the logins that may be his.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Who uses the program, as far as the host can tell. A trial's state file holds the word: an address, `console`,
/// `unattended` or `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Operator {
    /// Somebody who is logged in over SSH from this address.
    Ssh(IpAddr),
    /// Somebody at a real terminal of the machine: a screen with a keyboard, a serial line.
    Console,
    /// Nobody: a job without a terminal and without SSH, as of cron, at, systemd or a configuration manager.
    Unattended,
    /// Somebody behind a pseudo-terminal, with no SSH server behind it.
    Unknown,
}

impl Operator {
    /// Whether what he sees tells that the way in is open: only a console works without the network.
    pub fn needs_proof(self) -> bool {
        self != Self::Console
    }

    /// Where he comes from over SSH.
    pub fn peer(self) -> Option<IpAddr> {
        if let Self::Ssh(peer) = self { Some(peer) } else { None }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh(peer) => peer.fmt(f),
            Self::Console => f.write_str("console"),
            Self::Unattended => f.write_str("unattended"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl From<Operator> for String {
    fn from(operator: Operator) -> Self {
        operator.to_string()
    }
}

impl From<String> for Operator {
    /// A word of another version says nothing: such an operator is not known.
    fn from(word: String) -> Self {
        match word.as_str() {
            "console" => Self::Console,
            "unattended" => Self::Unattended,
            other => other.parse().map_or(Self::Unknown, Self::Ssh),
        }
    }
}

/// Where a login was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoginSource {
    /// The connections of the SSH servers.
    Sessions,
    /// `/run/utmp`: who is logged in.
    Utmp,
    /// `/var/log/wtmp`: the logins of the last months.
    Wtmp,
    /// The tool `wtmpdb`.
    Wtmpdb,
    /// `/var/log/lastlog`: the last login of each user.
    Lastlog,
    /// The tool `lastlog2`.
    Lastlog2,
    /// What sshd wrote into the journal.
    Journal,
}

impl LoginSource {
    /// Its name in a sentence.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sessions => "sshd's connections",
            Self::Utmp => "utmp",
            Self::Wtmp => "wtmp",
            Self::Wtmpdb => "wtmpdb",
            Self::Lastlog => "lastlog",
            Self::Lastlog2 => "lastlog2",
            Self::Journal => "the journal",
        }
    }

    /// Whether it tells who is logged in now, not who was.
    pub fn is_now(self) -> bool {
        matches!(self, Self::Sessions | Self::Utmp)
    }
}

/// A login from another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Whose.
    pub user: String,
    /// From where.
    pub peer: IpAddr,
    /// The port of ours that it came to; `None` where that was not written down.
    pub port: Option<u16>,
    /// When, seconds since 1970 UTC; `None` where that is not known.
    pub at: Option<i64>,
    /// Where it was seen.
    pub seen: LoginSource,
}

impl Login {
    /// Which one it is, in brackets behind its address.
    pub fn which(&self) -> String {
        if self.seen.is_now() {
            format!("{}, logged in now", self.user)
        } else {
            format!("{}, the last login: {}", self.user, self.seen.label())
        }
    }
}

/// The logins among which an operator is who is not known himself, and where they were looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    /// Everybody who is logged in now, and the last who was.
    pub found: Vec<Login>,
    /// What could be read.
    pub read: Vec<LoginSource>,
    /// The ports on which SSH servers of this host listen, ascending.
    pub ports: Vec<u16>,
}

impl Logins {
    /// Of all that were seen those that count: who is logged in now, and of the others the last. One without a time may
    /// be that.
    pub fn new(seen: Vec<Login>, read: Vec<LoginSource>, ports: Vec<u16>) -> Self {
        let last = seen.iter().filter(|l| !l.seen.is_now()).filter_map(|l| l.at).max();
        let mut found: Vec<Login> = Vec::new();
        for login in seen.into_iter().filter(|l| l.seen.is_now() || l.at.is_none() || l.at == last) {
            let known = |f: &Login| f.peer == login.peer && (login.port.is_none() || f.port == login.port);
            if !found.iter().any(known) {
                found.push(login);
            }
        }
        Self { found, read, ports }
    }

    /// What was read, for a sentence.
    pub fn sources(&self) -> String {
        self.read.iter().map(|s| s.label()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_a_word_in_a_file() {
        for (operator, word) in [
            (Operator::Ssh([192, 0, 2, 2].into()), "\"192.0.2.2\""),
            (Operator::Console, "\"console\""),
            (Operator::Unattended, "\"unattended\""),
            (Operator::Unknown, "\"unknown\""),
        ] {
            assert_eq!(serde_json::to_string(&operator).unwrap(), word);
            assert_eq!(serde_json::from_str::<Operator>(word).unwrap(), operator);
        }
        assert_eq!(serde_json::from_str::<Operator>("\"a later version's word\"").unwrap(), Operator::Unknown);
    }

    #[test]
    fn who_is_logged_in_counts_and_of_the_others_the_last() {
        let login =
            |peer: u8, at, seen| Login { user: "u".into(), peer: [192, 0, 2, peer].into(), port: None, at, seen };
        let logins = Logins::new(
            vec![
                login(1, Some(5), LoginSource::Sessions),
                login(2, Some(3), LoginSource::Utmp),
                login(3, Some(10), LoginSource::Wtmp),
                login(4, Some(20), LoginSource::Journal),
                login(5, None, LoginSource::Lastlog),
                login(1, Some(20), LoginSource::Wtmp),
            ],
            Vec::new(),
            Vec::new(),
        );
        let peers: Vec<String> = logins.found.iter().map(|l| l.peer.to_string()).collect();
        assert_eq!(peers, ["192.0.2.1", "192.0.2.2", "192.0.2.4", "192.0.2.5"]);
    }
}
