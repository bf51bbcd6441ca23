//! Who is using the program, and the logins that may be theirs.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Who uses the program, as far as the host can tell. A trial's state file stores it as a word: an address, `console`,
/// `unattended` or `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Operator {
    /// Logged in over SSH from this address.
    Ssh(IpAddr),
    /// At a real terminal of the machine: a screen with a keyboard, a serial line.
    Console,
    /// Nobody: a job without a terminal and without SSH, started by cron, at, systemd or a configuration manager.
    Unattended,
    /// Somebody at a pseudo-terminal without an SSH server above it.
    Unknown,
}

impl Operator {
    /// Whether keeping a trial needs a proof of access: only a console works without the network.
    pub fn needs_proof(self) -> bool {
        self != Self::Console
    }

    /// The address of the SSH client.
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
    /// A word written by another version is treated as unknown.
    fn from(word: String) -> Self {
        match word.as_str() {
            "console" => Self::Console,
            "unattended" => Self::Unattended,
            other => other.parse().map_or(Self::Unknown, Self::Ssh),
        }
    }
}

/// Where a login was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoginSource {
    /// The connections of the SSH servers.
    Sessions,
    /// `/run/utmp`: who is logged in.
    Utmp,
    /// `/var/log/wtmp`: logins of the last months.
    Wtmp,
    /// The tool `wtmpdb`.
    Wtmpdb,
    /// `/var/log/lastlog`: the last login of each user.
    Lastlog,
    /// The tool `lastlog2`.
    Lastlog2,
    /// The messages of sshd in the journal.
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

    /// Whether it lists current logins, not past ones.
    pub fn is_now(self) -> bool {
        matches!(self, Self::Sessions | Self::Utmp)
    }
}

/// A login from another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The address it came from.
    pub peer: IpAddr,
    /// The local port of the connection; `None` if the source does not record it.
    pub port: Option<u16>,
    /// When, in seconds since 1970 UTC; `None` if not known.
    pub at: Option<i64>,
    /// Where it was found.
    pub seen: LoginSource,
}

impl Login {
    /// What identifies the login, for the parentheses after its address.
    pub fn which(&self) -> String {
        if self.seen.is_now() {
            format!("{}, logged in now", self.user)
        } else {
            format!("{}, the last login: {}", self.user, self.seen.label())
        }
    }
}

/// The logins among which the operator is, when not known, and where we looked for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    /// Everybody who is logged in now, and the last past login.
    pub found: Vec<Login>,
    /// The sources that could be read.
    pub read: Vec<LoginSource>,
    /// The ports on which SSH servers of this host listen, ascending.
    pub ports: Vec<u16>,
}

impl Logins {
    /// Keeps the logins that matter: all current ones, and the last past one. A login without a time may be the last.
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

    /// The sources that could be read, for a sentence.
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
