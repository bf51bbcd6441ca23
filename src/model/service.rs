//! What listens: RPC services and sockets; and who is connected.

use std::net::IpAddr;

use super::Proto;

/// One RPC program on one (protocol, port), as `rpcinfo -p` lists it, with all its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcService {
    /// RPC program number; 100000 is the portmapper (`/etc/rpc`).
    pub program: u32,
    /// Versions registered on this port, ascending.
    pub versions: Vec<u32>,
    /// Transport.
    pub proto: Proto,
    /// Port.
    pub port: u16,
    /// Name as listed; otherwise from the table of known programs, otherwise the number.
    pub name: String,
}

/// One listening or connected socket, as `ss` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Transport.
    pub proto: Proto,
    /// Local address; `0.0.0.0` or `::` for any.
    pub local: IpAddr,
    /// Local port.
    pub port: u16,
    /// Interface it is bound to (`%lo` in `ss`), if any.
    pub device: Option<String>,
    /// Whether an IPv6 socket takes only IPv6 (IPV6_V6ONLY); `None` if the source does not show it.
    pub v6only: Option<bool>,
    /// Name of the process, if known.
    pub process: Option<String>,
}

/// An established connection to one of our ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Remote address.
    pub addr: IpAddr,
    /// Local port.
    pub port: u16,
    /// Transport.
    pub proto: Proto,
}

/// A container name for a published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedName {
    /// Container address, if known.
    pub addr: Option<IpAddr>,
    /// Port on the host.
    pub host_port: u16,
    /// Transport.
    pub proto: Proto,
    /// Container name.
    pub name: String,
}

/// A port to which the configuration pins an RPC service, so that it does not change at a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcPin {
    /// Program number.
    pub program: u32,
    /// Over this protocol; `None`: over all.
    pub proto: Option<Proto>,
    /// The port.
    pub port: u16,
}

impl RpcPin {
    /// Whether it pins this program over this protocol to this port.
    pub fn is_of(&self, program: u32, proto: Proto, port: u16) -> bool {
        self.program == program && self.port == port && self.proto.is_none_or(|p| p == proto)
    }
}
