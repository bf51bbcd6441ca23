//! What the review says, and what it says it of.

use crate::analyse::answers::reach::Exposure;
use crate::analyse::inventory::endpoint::Endpoint;

/// An endpoint with its exposure in IPv4 and IPv6.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// By [`crate::model::Family::index`]; `None` when the family is not known or not there.
    pub exposure: [Option<Exposure>; 2],
}

/// What stands out, as other programs know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingCode {
    /// Services are decided by IPVS, not by these rules.
    Ipvs,
    /// Services are decided in eBPF, not by these rules.
    Ebpf,
    /// A table that decides is not in the text.
    MissingTable,
    /// Rules ask for sets whose entries are not in the text.
    UnknownIpsets,
    /// A native rule stands in a table of iptables.
    UnreadableTable,
    /// A table is not shown whole.
    PartialTable,
    /// Which ports lead to containers is not in the text.
    PublishedUnknown,
    /// Somebody else filters too.
    OtherFilter,
    /// The IPv4 rules are not known.
    Ipv4Unknown,
    /// The IPv6 rules are not known.
    Ipv6Unknown,
    /// What is filtered on IPv4 is open on IPv6.
    Ipv6Open,
    /// An RPC service is open to anybody.
    RpcOpen,
    /// A published port does not pass INPUT.
    BypassesInput,
    /// The port of a service moves at its next start.
    Moves,
    /// A service is filtered on TCP but not on UDP.
    UdpOpen,
    /// A service is filtered on UDP but not on TCP.
    TcpOpen,
    /// A rule can never match.
    NeverMatches,
    /// A container is reached without a published port.
    DirectContainer,
    /// What was kept is not in force.
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

/// Something that stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, for programs.
    pub code: FindingCode,
    /// The endpoint concerned, e.g. `portmapper 111/tcp`.
    pub endpoint: Option<String>,
    /// What it is and what to do.
    pub message: String,
}

/// Rules named one by one; more are only counted.
pub const MAX_NAMED: usize = 10;
