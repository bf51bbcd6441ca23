//! Findings, and the endpoints they are about.

use crate::analyse::answers::reach::Exposure;
use crate::analyse::inventory::endpoint::Endpoint;

/// An endpoint with its exposure in IPv4 and IPv6.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// By [`crate::model::Family::index`]; `None` if the family is not known or not in use.
    pub exposure: [Option<Exposure>; 2],
}

/// The kinds of findings, for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingCode {
    /// Services are decided by IPVS, not by these rules.
    Ipvs,
    /// Services are decided in eBPF, not by these rules.
    Ebpf,
    /// A table that matters is not in the text.
    MissingTable,
    /// Rules use sets whose entries are not in the text.
    UnknownIpsets,
    /// An iptables table contains a native nft rule.
    UnreadableTable,
    /// A table is only partly shown.
    PartialTable,
    /// The text does not show which ports lead to containers.
    PublishedUnknown,
    /// Another firewall filters too.
    OtherFilter,
    /// The IPv4 rules are not known.
    Ipv4Unknown,
    /// The IPv6 rules are not known.
    Ipv6Unknown,
    /// A port filtered on IPv4 is open on IPv6.
    Ipv6Open,
    /// An RPC service is open to anyone.
    RpcOpen,
    /// A published port does not pass INPUT.
    BypassesInput,
    /// The port of a service will change at its next start.
    Moves,
    /// A service is filtered on TCP but not on UDP.
    UdpOpen,
    /// A service is filtered on UDP but not on TCP.
    TcpOpen,
    /// A rule can never match.
    NeverMatches,
    /// A container can be reached without a published port.
    DirectContainer,
    /// A kept plan is not in force.
    NotInForce,
    /// Boot would load rules of a trial.
    TrialInBootFile,
}

impl FindingCode {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipvs => "ipvs",
            Self::Ebpf => "ebpf",
            Self::MissingTable => "missing-table",
            Self::UnknownIpsets => "unknown-ipsets",
            Self::UnreadableTable => "unreadable-table",
            Self::PartialTable => "partial-table",
            Self::PublishedUnknown => "published-unknown",
            Self::OtherFilter => "other-filter",
            Self::Ipv4Unknown => "ipv4-unknown",
            Self::Ipv6Unknown => "ipv6-unknown",
            Self::Ipv6Open => "ipv6-open",
            Self::RpcOpen => "rpc-open",
            Self::BypassesInput => "bypasses-input",
            Self::Moves => "moves",
            Self::UdpOpen => "udp-open",
            Self::TcpOpen => "tcp-open",
            Self::NeverMatches => "never-matches",
            Self::DirectContainer => "direct-container",
            Self::NotInForce => "not-in-force",
            Self::TrialInBootFile => "trial-in-boot-file",
        }
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind, for programs.
    pub code: FindingCode,
    /// The endpoint concerned, e.g. `portmapper 111/tcp`.
    pub endpoint: Option<String>,
    /// The problem and what to do about it.
    pub message: String,
}

/// Number of rules to name one by one; the others are only counted.
pub const MAX_NAMED: usize = 10;
