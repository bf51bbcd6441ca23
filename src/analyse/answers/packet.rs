//! The packet that a question is about.

use std::net::IpAddr;

use crate::model::{Family, Proto};

/// A hypothetical new packet (conntrack NEW, TCP SYN, ICMP echo request) to the host; `None` means *any*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sender.
    pub src: IpAddr,
    /// Destination; absent: one of the host's addresses.
    pub dst: Option<IpAddr>,
    /// Protocol.
    pub proto: Proto,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// Interface it arrives on; any but `lo` when not given.
    pub interface: Option<String>,
    /// The instant, seconds since 1970 UTC; that of the view when not given.
    pub at: Option<i64>,
    /// Flags of TCP; a SYN alone when not given.
    pub flags: Option<u8>,
}

impl Packet {
    /// A new packet from an address to a port.
    pub fn new(src: IpAddr, proto: Proto, dport: Option<u16>) -> Self {
        Self { src, dst: None, proto, sport: None, dport, interface: None, at: None, flags: None }
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        Family::of(self.src)
    }
}
