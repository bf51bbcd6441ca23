//! Addresses: families, networks with any mask.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Address width in bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The highest address as a number; also the mask of a single host.
    pub fn max(self) -> u128 {
        match self {
            Self::V4 => u128::from(u32::MAX),
            Self::V6 => u128::MAX,
        }
    }

    /// `IPv4` or `IPv6`, as on the screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The name of an iptables tool for this family: `tool("-save")` is `iptables-save` or `ip6tables-save`.
    pub fn tool(self, what: &str) -> String {
        match self {
            Self::V4 => format!("iptables{what}"),
            Self::V6 => format!("ip6tables{what}"),
        }
    }

    /// `v4` or `v6`, as in the names of rules files.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }

    /// 0 for IPv4, 1 for IPv6.
    pub fn index(self) -> usize {
        self as usize
    }

    pub(super) fn show(self, n: u128) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(n).unwrap_or(u32::MAX))),
            Self::V6 => IpAddr::V6(Ipv6Addr::from(n)),
        }
    }
}

/// An address as a number (IPv4 in the low 32 bits).
pub(super) fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

/// A network with any mask, contiguous or not (ip_tables compares `addr & mask`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    /// Family.
    pub family: Family,
    /// Address with the host bits cleared.
    pub addr: u128,
    /// Mask.
    pub mask: u128,
}

impl Net {
    /// All addresses of the family.
    pub fn any(family: Family) -> Self {
        Self { family, addr: 0, mask: 0 }
    }

    /// One address.
    pub fn host(addr: IpAddr) -> Self {
        let family = Family::of(addr);
        Self { family, addr: number(addr), mask: family.max() }
    }

    /// A network from an address and a prefix length; longer prefixes than the family allows are cut to its width.
    pub fn new(addr: IpAddr, prefix: u8) -> Self {
        let family = Family::of(addr);
        let mask = prefix_mask(family, prefix);
        Self { family, addr: number(addr) & mask, mask }
    }

    /// Reads `A`, `A/len` or `A/mask`. `None` for a name, a wrong family or a bad mask.
    pub fn parse(text: &str, family: Family) -> Option<Self> {
        let (host, mask) = match text.split_once('/') {
            Some((h, m)) => (h, Some(m)),
            None => (text, None),
        };
        let addr: IpAddr = match family {
            Family::V4 => IpAddr::V4(host.parse().ok()?),
            Family::V6 => IpAddr::V6(host.parse().ok()?),
        };
        let mask = match mask {
            None => family.max(),
            Some(m) => match m.parse::<u8>() {
                Ok(len) if len <= family.bits() => prefix_mask(family, len),
                Ok(_) => return None,
                Err(_) => number(match family {
                    Family::V4 => IpAddr::V4(m.parse().ok()?),
                    Family::V6 => IpAddr::V6(m.parse().ok()?),
                }),
            },
        };
        Some(Self { family, addr: number(addr) & mask, mask })
    }

    /// Reads an address or a network of either family.
    pub fn parse_any(text: &str) -> Option<Self> {
        Self::parse(text, Family::V4).or_else(|| Self::parse(text, Family::V6))
    }

    /// Whether the address is inside.
    pub fn contains(&self, addr: IpAddr) -> bool {
        Family::of(addr) == self.family && number(addr) & self.mask == self.addr
    }

    /// Prefix length; `None` for a mask with holes.
    pub fn prefix(&self) -> Option<u8> {
        let len = self.mask.count_ones() as u8;
        (prefix_mask(self.family, len) == self.mask).then_some(len)
    }

    /// This network's bits where the other network's mask has none, the other's address elsewhere (NETMAP).
    pub fn within(&self, other: Self) -> IpAddr {
        self.family.show(other.addr | (self.addr & !other.mask & self.family.max()))
    }

    /// The address after the network's first one, by custom the gateway's.
    pub fn first_host(&self) -> IpAddr {
        self.family.show((self.addr | 1) & self.family.max())
    }

    /// The network's first address.
    pub fn ip(&self) -> IpAddr {
        self.family.show(self.addr)
    }
}

pub(super) fn prefix_mask(family: Family, len: u8) -> u128 {
    let bits = family.bits();
    let len = len.min(bits);
    if len == 0 { 0 } else { (family.max() >> (bits - len)) << (bits - len) }
}

impl fmt::Display for Net {
    /// As `iptables-save` prints it, always with a mask.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix() {
            Some(len) => write!(f, "{}/{len}", self.ip()),
            None => write!(f, "{}/{}", self.ip(), self.family.show(self.mask)),
        }
    }
}
