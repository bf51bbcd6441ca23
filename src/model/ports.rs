//! Transport protocols and port sets.

use std::fmt;

use range_set_blaze::RangeSetBlaze;

/// A set of TCP, UDP, SCTP or DCCP ports.
pub type PortSet = RangeSetBlaze<u16>;

/// An IP protocol, by its IANA number (`/etc/protocols`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proto(pub u8);

const NAMES: &[(u8, &str)] = &[
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (6, "tcp"),
    (8, "egp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (88, "eigrp"),
    (89, "ospf"),
    (94, "ipip"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (135, "mobility-header"),
    (136, "udplite"),
];

impl Proto {
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// ICMP for IPv6.
    pub const ICMP6: Self = Self(58);

    /// Reads a protocol name or number; `None` for unknown ones and for `all`/`0`.
    pub fn parse(text: &str) -> Option<Self> {
        let low = text.to_ascii_lowercase();
        if let Ok(n) = low.parse::<u8>() {
            return (n != 0).then_some(Self(n));
        }
        match low.as_str() {
            "icmpv6" => Some(Self::ICMP6),
            "ipv4" => Some(Self(4)),
            "mh" | "ipv6-mh" => Some(Self(135)),
            name => NAMES.iter().find(|(_, n)| *n == name).map(|(num, _)| Self(*num)),
        }
    }

    /// Whether the protocol has ports that iptables can match.
    pub fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17 | 33 | 132 | 136)
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(n, _)| *n == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}
