//! Addresses: families, networks with any mask, exact sets of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use range_set_blaze::RangeSetBlaze;

/// IPv4 or IPv6.
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

    /// The greatest address as a number; also the mask of a single host.
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

    /// 0 for IPv4, 1 for IPv6.
    pub fn index(self) -> usize {
        self as usize
    }

    fn show(self, n: u128) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(n).unwrap_or(u32::MAX))),
            Self::V6 => IpAddr::V6(Ipv6Addr::from(n)),
        }
    }
}

/// An address as a number (IPv4 in the low 32 bits).
fn number(addr: IpAddr) -> u128 {
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
    /// The whole family.
    pub fn any(family: Family) -> Self {
        Self { family, addr: 0, mask: 0 }
    }

    /// One address.
    pub fn host(addr: IpAddr) -> Self {
        let family = Family::of(addr);
        Self { family, addr: number(addr), mask: family.max() }
    }

    /// A network from an address and a prefix length; longer prefixes than the family has are cut.
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

    /// Reads an address or network of either family.
    pub fn parse_any(text: &str) -> Option<Self> {
        Self::parse(text, Family::V4).or_else(|| Self::parse(text, Family::V6))
    }

    /// Whether the address is inside.
    pub fn contains(&self, addr: IpAddr) -> bool {
        Family::of(addr) == self.family && number(addr) & self.mask == self.addr
    }

    /// Prefix length, `None` for a mask with holes.
    pub fn prefix(&self) -> Option<u8> {
        let len = self.mask.count_ones() as u8;
        (prefix_mask(self.family, len) == self.mask).then_some(len)
    }

    /// The network's first address.
    pub fn ip(&self) -> IpAddr {
        self.family.show(self.addr)
    }
}

fn prefix_mask(family: Family, len: u8) -> u128 {
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

/// An exact set of addresses of one family.
#[derive(Clone, PartialEq, Eq)]
pub struct AddrSet {
    family: Family,
    ranges: RangeSetBlaze<u128>,
}

/// A mask with more holes than this cannot be unfolded into ranges.
const MAX_FREE_HIGH_BITS: u32 = 16;

impl AddrSet {
    /// No address.
    pub fn empty(family: Family) -> Self {
        Self { family, ranges: RangeSetBlaze::new() }
    }

    /// Every address of the family.
    pub fn full(family: Family) -> Self {
        Self { family, ranges: RangeSetBlaze::from_iter([0..=family.max()]) }
    }

    /// The addresses of a network; `None` when the mask has too many holes to unfold
    /// (more than 2^16 separate ranges).
    pub fn from_net(net: Net) -> Option<Self> {
        let free = !net.mask & net.family.max();
        let low = free.trailing_ones().min(u32::from(net.family.bits()));
        let low_mask = if low >= 128 { u128::MAX } else { (1u128 << low) - 1 };
        let high = free & !low_mask;
        if high.count_ones() > MAX_FREE_HIGH_BITS {
            return None;
        }
        let mut ranges = Vec::new();
        let mut sub = 0u128;
        loop {
            let start = net.addr | sub;
            ranges.push(start..=(start | low_mask));
            if sub == high {
                break;
            }
            sub = (sub.wrapping_sub(high)) & high;
        }
        Some(Self { family: net.family, ranges: ranges.into_iter().collect() })
    }

    /// One range, both ends included.
    pub fn range(from: IpAddr, to: IpAddr) -> Self {
        let family = Family::of(from);
        if Family::of(to) != family || number(from) > number(to) {
            return Self::empty(family);
        }
        Self { family, ranges: RangeSetBlaze::from_iter([number(from)..=number(to)]) }
    }

    /// One address.
    pub fn single(addr: IpAddr) -> Self {
        Self::range(addr, addr)
    }

    /// Adds a contiguous network (networks with holes add what can be unfolded).
    pub fn insert_net(&mut self, net: Net) {
        if let Some(more) = Self::from_net(net) {
            self.ranges |= &more.ranges;
        }
    }

    /// Family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether it holds no address.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether it holds every address of the family.
    pub fn is_full(&self) -> bool {
        *self == Self::full(self.family)
    }

    /// Whether the address is in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        Family::of(addr) == self.family && self.ranges.contains(number(addr))
    }

    /// The only address in it, if it holds exactly one.
    pub fn only(&self) -> Option<IpAddr> {
        let first = self.ranges.first()?;
        (self.ranges.last() == Some(first)).then(|| self.family.show(first))
    }

    /// Any one address in it.
    pub fn first(&self) -> Option<IpAddr> {
        self.ranges.first().map(|n| self.family.show(n))
    }

    /// Addresses in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self { family: self.family, ranges: &self.ranges & &other.ranges }
    }

    /// Addresses in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self { family: self.family, ranges: &self.ranges | &other.ranges }
    }

    /// Addresses in this one only.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self { family: self.family, ranges: &self.ranges - &other.ranges }
    }

    /// Every other address of the family.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self::full(self.family).minus(self)
    }

    /// Whether the two share an address.
    pub fn meets(&self, other: &Self) -> bool {
        !self.and(other).is_empty()
    }

    /// The ranges, both ends included, ascending.
    pub fn ranges(&self) -> Vec<(IpAddr, IpAddr)> {
        self.ranges.ranges().map(|r| (self.family.show(*r.start()), self.family.show(*r.end()))).collect()
    }

    /// The fewest networks that cover exactly this set, ascending.
    pub fn cidrs(&self) -> Vec<Net> {
        let mut out = Vec::new();
        let bits = u32::from(self.family.bits());
        for r in self.ranges.ranges() {
            let (mut at, end) = (*r.start(), *r.end());
            loop {
                let align = if at == 0 { bits } else { at.trailing_zeros().min(bits) };
                let mut size = align;
                while size > 0 {
                    let last = if size >= 128 { u128::MAX } else { at + ((1u128 << size) - 1) };
                    if last <= end {
                        break;
                    }
                    size -= 1;
                }
                let mask = prefix_mask(self.family, (bits - size) as u8);
                out.push(Net { family: self.family, addr: at, mask });
                let last = if size >= 128 { u128::MAX } else { at + ((1u128 << size) - 1) };
                if last >= end {
                    break;
                }
                at = last + 1;
            }
        }
        out
    }
}

impl fmt::Debug for AddrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.cidrs().iter().take(16).map(ToString::to_string)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(set: &AddrSet) -> Vec<String> {
        set.cidrs().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn complement_of_one_host_is_thirty_two_networks() {
        let set = AddrSet::single("192.0.2.1".parse().unwrap()).complement();
        assert_eq!(set.cidrs().len(), 32);
        assert!(!set.contains("192.0.2.1".parse().unwrap()));
        assert!(set.contains("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn whole_families_are_one_network() {
        assert_eq!(cidrs(&AddrSet::full(Family::V4)), ["0.0.0.0/0"]);
        assert_eq!(cidrs(&AddrSet::full(Family::V6)), ["::/0"]);
    }

    #[test]
    fn masks_with_holes_unfold() {
        let net = Net::parse("10.0.3.7/255.0.255.0", Family::V4).unwrap();
        let set = AddrSet::from_net(net).unwrap();
        assert!(set.contains("10.77.3.200".parse().unwrap()));
        assert!(!set.contains("10.77.4.200".parse().unwrap()));
        assert_eq!(net.to_string(), "10.0.3.0/255.0.255.0");
    }
}
