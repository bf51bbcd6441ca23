//! What can be reached on a host: RPC services, published ports, other listening sockets, or, when neither
//! sockets nor rpcinfo are known, the ports that rules name.

use std::net::IpAddr;

use crate::analyse::inventory::ownership::Manager;
use crate::model::{Family, Proto};

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// An RPC program on a port.
    Rpc,
    /// A container's port that NAT or a proxy makes reachable on the host.
    Published,
    /// Another listening socket.
    Socket,
    /// A port known only from rules.
    Rule,
}

impl EndpointKind {
    /// The word in JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rpc => "rpc",
            Self::Published => "published",
            Self::Socket => "socket",
            Self::Rule => "rule",
        }
    }
}

/// Something that can be reached on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is.
    pub kind: EndpointKind,
    /// Name of the RPC program, the container or the process.
    pub name: String,
    /// RPC program number.
    pub program: Option<u32>,
    /// RPC versions, ascending.
    pub versions: Vec<u32>,
    /// Transport.
    pub proto: Proto,
    /// Port on the host.
    pub port: u16,
    /// The addresses it listens on; empty if not known.
    pub listens: Vec<IpAddr>,
    /// The interfaces that all its sockets are bound to (SO_BINDTODEVICE, socket(7)); empty for any.
    pub devices: Vec<String>,
    /// Whether something listens, or NAT forwards the port; `true` if not known.
    pub listening: bool,
    /// The manager that publishes it.
    pub owner: Option<Manager>,
    /// The process that listens.
    pub process: Option<String>,
    /// Where NAT sends it.
    pub dnat_to: Vec<(IpAddr, u16)>,
    /// An RPC port that changes at each restart (rpc.statd, rpc.mountd, lockd unless pinned).
    pub moves: bool,
}

impl Endpoint {
    /// A listening endpoint with nothing else known.
    pub fn new(kind: EndpointKind, name: &str, proto: Proto, port: u16) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            program: None,
            versions: Vec::new(),
            proto,
            port,
            listens: Vec::new(),
            devices: Vec::new(),
            listening: true,
            owner: None,
            process: None,
            dnat_to: Vec::new(),
            moves: false,
        }
    }

    /// e.g. `portmapper 111/tcp`.
    pub fn label(&self) -> String {
        format!("{} {}/{}", self.name, self.port, self.proto)
    }

    /// Whether the socket accepts packets of a family, judging by its listening addresses.
    pub fn takes(&self, family: Family) -> bool {
        self.listens.is_empty() || !self.dnat_to.is_empty() || self.listens.iter().any(|a| Family::of(*a) == family)
    }
}
