//! What listens: RPC services, sockets, and who is connected.

use std::net::IpAddr;

use super::Proto;

/// One RPC program on one (protocol, port), as `rpcinfo -p` lists it, versions gathered.
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
    /// Name as listed, else from the table of known programs, else the number.
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
    /// An IPv6 socket that takes IPv6 only (IPV6_V6ONLY); `None` when the source cannot tell.
    pub v6only: Option<bool>,
    /// Name of the process, where known.
    pub process: Option<String>,
}

/// An established connection of somebody to one of our ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other side.
    pub addr: IpAddr,
    /// Our port.
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
