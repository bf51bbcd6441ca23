//! What the operator wants our chains to contain: everything, not an increment.

use std::fmt;
use std::net::IpAddr;

use super::{Family, Net, Proto};

/// What a rule of a plan does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `ACCEPT`
    Allow,
    /// `DROP`
    Drop,
    /// `REJECT`
    Reject,
}

impl Action {
    /// The word in a plan file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }

    /// Reads the word of a plan file.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Allow, Self::Drop, Self::Reject].into_iter().find(|a| a.word() == word)
    }
}

/// The senders of a rule: a host or network named by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Everybody, both families.
    Any,
    /// An address or a CIDR.
    Net(Net),
    /// A host name with the addresses it had when the plan was made; empty if it is not resolved yet.
    Name(String, Vec<IpAddr>),
}

impl Node {
    /// Reads `any`, an address, a CIDR or a host name. The error is one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("any") || text.eq_ignore_ascii_case("anyone") {
            return Ok(Self::Any);
        }
        if let Some(net) = Net::parse_any(text) {
            if net.prefix().is_none() {
                return Err(format!("{text} has a mask with holes; write it as a CIDR like 192.0.2.0/24"));
            }
            return Ok(Self::Net(net));
        }
        let labels = text.trim_end_matches('.').split('.');
        let good = |l: &str| {
            !l.is_empty() && l.len() <= 63 && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        let numeric = text.chars().all(|c| c.is_ascii_digit() || ".:/".contains(c));
        if text.is_empty() {
            Err("a node is missing: an address, a CIDR like 192.0.2.0/24, or a host name".to_owned())
        } else if numeric || text.contains('/') || text.contains(':') || !labels.clone().all(good) || text.len() > 253 {
            Err(format!("{text} is neither an address, a CIDR like 192.0.2.0/24, nor a host name"))
        } else {
            Ok(Self::Name(text.to_owned(), Vec::new()))
        }
    }

    /// The networks of one family; `None` means everybody.
    pub fn nets(&self, family: Family) -> Option<Vec<Net>> {
        match self {
            Self::Any => None,
            Self::Net(n) => Some(if n.family == family { vec![*n] } else { Vec::new() }),
            Self::Name(_, addrs) => {
                Some(addrs.iter().filter(|&&a| Family::of(a) == family).map(|&a| Net::host(a)).collect())
            }
        }
    }
}

impl fmt::Display for Node {
    /// As the operator would write it: an address without `/32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Net(n) if n.prefix() == Some(n.family.bits()) => write!(f, "{}", n.ip()),
            Self::Net(n) => write!(f, "{n}"),
            Self::Name(name, _) => f.write_str(name),
        }
    }
}

/// The destination of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// An RPC service with all its ports, resolved at apply.
    Service(String),
    /// A port of the host; without a protocol, TCP and UDP.
    Port(Option<Proto>, u16),
    /// A published container port, given by the host's port.
    Published(Option<Proto>, u16),
}

impl Goal {
    /// Reads `portmapper`, `111/tcp`, `111`, `published:9042/tcp`, `docker:9042`. The error is one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (published, rest) = match text.split_once(':') {
            Some(("published" | "docker", rest)) => (true, rest),
            Some((word, _)) => {
                return Err(format!(
                    "the prefix {word}: is not known; write published:9042/tcp for a container's port"
                ));
            }
            None => (false, text),
        };
        let (port, proto) = match rest.split_once('/') {
            None => (rest, None),
            Some((port, proto)) => match Proto::parse(proto).filter(|p| p.has_ports()) {
                Some(p) => (port, Some(p)),
                None => return Err(format!("{proto} has no ports; write {port}/tcp or {port}/udp")),
            },
        };
        match port.parse::<u16>() {
            Ok(n) if n > 0 && published => Ok(Self::Published(proto, n)),
            Ok(n) if n > 0 => Ok(Self::Port(proto, n)),
            _ if !published && proto.is_none() && port.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                Ok(Self::Service(text.to_owned()))
            }
            _ => Err(format!("{port} is not a port; ports are 1 to 65535")),
        }
    }

    /// The protocol, or TCP and UDP if there is none.
    pub fn protos(proto: Option<Proto>) -> Vec<Proto> {
        proto.map_or_else(|| vec![Proto::TCP, Proto::UDP], |p| vec![p])
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, proto, port) = match self {
            Self::Service(name) => return f.write_str(name),
            Self::Port(proto, port) => ("", proto, port),
            Self::Published(proto, port) => ("published:", proto, port),
        };
        match proto {
            Some(p) => write!(f, "{word}{port}/{p}"),
            None => write!(f, "{word}{port}"),
        }
    }
}

/// One rule of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRule {
    /// What it does.
    pub action: Action,
    /// The senders.
    pub from: Vec<Node>,
    /// The destinations.
    pub to: Vec<Goal>,
}

/// The ordered rules that our chains are to contain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order; the first match decides.
    pub rules: Vec<PlanRule>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_goals_come_back_as_written() {
        for n in ["any", "192.0.2.11", "192.0.2.0/24", "2001:db8::/32", "nfs1.example.org"] {
            assert_eq!(Node::parse(n).unwrap().to_string(), n);
        }
        for g in ["portmapper", "111/tcp", "111", "published:9042/tcp"] {
            assert_eq!(Goal::parse(g).unwrap().to_string(), g);
        }
        assert_eq!(Goal::parse("docker:9042").unwrap(), Goal::Published(None, 9042));
    }

    #[test]
    fn mistakes_get_a_sentence() {
        for n in ["", "192.0.2.300", "192.0.2.0/33", "a b", "10.0.0.0/255.0.255.0", "nfs..x"] {
            assert!(Node::parse(n).is_err(), "{n}");
        }
        for g in ["", "0", "70000/tcp", "111/icmp", "udp:111", "published:x", "111/sctpp"] {
            assert!(Goal::parse(g).is_err(), "{g}");
        }
    }
}
