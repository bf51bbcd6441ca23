//! Exact sets of addresses, as ranges.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::addr::{number, prefix_mask};
use super::{Family, Net};

/// An exact set of addresses of one family. Removing one range from a set of many costs no more than finding it, so
/// that a chain of a hundred thousand rules is walked in linear time.
#[derive(Clone, PartialEq, Eq)]
pub struct AddrSet {
    family: Family,
    /// First and last of each range; ranges neither touch nor overlap.
    ranges: BTreeMap<u128, u128>,
}

/// Masks with more free bits above the holes than this are not expanded into ranges.
const MAX_FREE_HIGH_BITS: u32 = 16;

impl AddrSet {
    /// No address.
    pub fn empty(family: Family) -> Self {
        Self { family, ranges: BTreeMap::new() }
    }

    /// Every address of the family.
    pub fn full(family: Family) -> Self {
        Self { family, ranges: BTreeMap::from([(0, family.max())]) }
    }

    /// The addresses of a network; `None` when the mask has so many holes that it makes more than 2^16 separate ranges.
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
            ranges.push((start, start | low_mask));
            if sub == high {
                break;
            }
            sub = (sub.wrapping_sub(high)) & high;
        }
        Some(Self { family: net.family, ranges: ranges.into_iter().collect() })
    }

    /// A set from ranges of numbers, ascending and disjoint.
    pub(crate) fn from_spans(family: Family, spans: impl IntoIterator<Item = (u128, u128)>) -> Self {
        Self { family, ranges: joined(spans.into_iter().collect()) }
    }

    /// The ranges as numbers, ascending.
    pub(crate) fn spans(&self) -> impl ExactSizeIterator<Item = (u128, u128)> + '_ {
        self.ranges.iter().map(|(a, b)| (*a, *b))
    }

    /// One range, both ends inclusive.
    pub fn range(from: IpAddr, to: IpAddr) -> Self {
        let family = Family::of(from);
        if Family::of(to) != family || number(from) > number(to) {
            return Self::empty(family);
        }
        Self { family, ranges: BTreeMap::from([(number(from), number(to))]) }
    }

    /// One address.
    pub fn single(addr: IpAddr) -> Self {
        Self::range(addr, addr)
    }

    /// Adds a network; one with too many holes to expand is left out.
    pub fn insert_net(&mut self, net: Net) {
        if let Some(more) = Self::from_net(net) {
            for (a, b) in more.ranges {
                self.put(a, b);
            }
        }
    }

    /// Adds all addresses of another set.
    pub fn add(&mut self, other: &Self) {
        if alike(self, other) {
            let mut all: Vec<(u128, u128)> = self.spans().chain(other.spans()).collect();
            #[expect(clippy::stable_sort_primitive, reason = "two sorted runs: the stable sort merges them")]
            all.sort();
            self.ranges = joined(all);
            return;
        }
        for (a, b) in &other.ranges {
            self.put(*a, *b);
        }
    }

    /// Adds all addresses of another set, which may be the larger one.
    pub fn unite(&mut self, mut other: Self) {
        if other.ranges.len() > self.ranges.len() {
            std::mem::swap(self, &mut other);
        }
        self.add(&other);
    }

    fn put(&mut self, mut from: u128, mut to: u128) {
        // The previous range may overlap or touch this one.
        if let Some((a, b)) = self.ranges.range(..=from).next_back().map(|(a, b)| (*a, *b)) {
            if b >= to {
                return;
            }
            if b.saturating_add(1) >= from {
                from = a;
            }
        }
        while let Some((a, b)) = self.ranges.range(from..).next().map(|(a, b)| (*a, *b)) {
            if a > to.saturating_add(1) {
                break;
            }
            self.ranges.remove(&a);
            to = to.max(b);
        }
        self.ranges.insert(from, to);
    }

    fn take(&mut self, from: u128, to: u128) {
        if let Some((a, b)) = self.ranges.range(..from).next_back().map(|(a, b)| (*a, *b)).filter(|(_, b)| *b >= from) {
            self.ranges.insert(a, from - 1);
            if b > to {
                self.ranges.insert(to + 1, b);
                return;
            }
        }
        while let Some((a, b)) = self.ranges.range(from..=to).next().map(|(a, b)| (*a, *b)) {
            self.ranges.remove(&a);
            if b > to {
                self.ranges.insert(to + 1, b);
            }
        }
    }

    /// The ranges that overlap `from..=to`, ascending.
    fn touching(&self, from: u128, to: u128) -> impl Iterator<Item = (u128, u128)> + '_ {
        let before = self.ranges.range(..from).next_back().filter(|(_, b)| **b >= from);
        before.into_iter().chain(self.ranges.range(from..=to)).map(|(a, b)| (*a, *b))
    }

    /// Family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether it contains no address.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether it contains every address of the family.
    pub fn is_full(&self) -> bool {
        self.ranges.get(&0) == Some(&self.family.max())
    }

    /// Whether it contains the address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let n = number(addr);
        Family::of(addr) == self.family && self.touching(n, n).next().is_some()
    }

    /// Its only address, if it contains exactly one.
    pub fn only(&self) -> Option<IpAddr> {
        let (a, b) = self.ranges.first_key_value()?;
        (a == b && self.ranges.len() == 1).then(|| self.family.show(*a))
    }

    /// Its lowest address.
    pub fn first(&self) -> Option<IpAddr> {
        self.ranges.keys().next().map(|n| self.family.show(*n))
    }

    /// Addresses in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (few, many) = if self.ranges.len() <= other.ranges.len() { (self, other) } else { (other, self) };
        if alike(few, many) {
            let (mut x, mut y) = (few.spans().peekable(), many.spans().peekable());
            let mut out = Vec::new();
            while let (Some((a, b)), Some((from, to))) = (x.peek().copied(), y.peek().copied()) {
                if a.max(from) <= b.min(to) {
                    out.push((a.max(from), b.min(to)));
                }
                if b < to {
                    x.next()
                } else {
                    y.next()
                };
            }
            return Self { family: self.family, ranges: out.into_iter().collect() };
        }
        let mut out = Vec::new();
        for (from, to) in &few.ranges {
            out.extend(many.touching(*from, *to).map(|(a, b)| (a.max(*from), b.min(*to))));
        }
        Self { family: self.family, ranges: out.into_iter().collect() }
    }

    /// Addresses in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let (few, many) = if self.ranges.len() <= other.ranges.len() { (self, other) } else { (other, self) };
        let mut out = many.clone();
        out.add(few);
        out
    }

    /// Addresses in this set but not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        if alike(self, other) {
            return self.and(&other.complement());
        }
        if other.ranges.len() <= self.ranges.len() {
            let mut out = self.clone();
            out.remove(other);
            return out;
        }
        let mut out = Vec::new();
        for (from, to) in &self.ranges {
            let mut at = Some(*from);
            for (a, b) in other.touching(*from, *to) {
                let Some(start) = at else { break };
                if a > start {
                    out.push((start, a - 1));
                }
                at = b.checked_add(1).filter(|n| n <= to);
            }
            out.extend(at.map(|start| (start, *to)));
        }
        Self { family: self.family, ranges: out.into_iter().collect() }
    }

    /// Removes all addresses of another set.
    pub fn remove(&mut self, other: &Self) {
        if other.ranges.len() > self.ranges.len() || alike(self, other) {
            *self = self.minus(other);
            return;
        }
        for (a, b) in &other.ranges {
            self.take(*a, *b);
        }
    }

    /// All other addresses of the family.
    #[must_use]
    pub fn complement(&self) -> Self {
        let mut out = Vec::with_capacity(self.ranges.len() + 1);
        let mut at = Some(0);
        for (a, b) in &self.ranges {
            if let Some(start) = at.filter(|s| s < a) {
                out.push((start, a - 1));
            }
            at = b.checked_add(1).filter(|n| *n <= self.family.max());
        }
        out.extend(at.map(|start| (start, self.family.max())));
        Self { family: self.family, ranges: out.into_iter().collect() }
    }

    /// Whether the two sets share an address.
    pub fn meets(&self, other: &Self) -> bool {
        let (few, many) = if self.ranges.len() <= other.ranges.len() { (self, other) } else { (other, self) };
        few.ranges.iter().any(|(a, b)| many.touching(*a, *b).next().is_some())
    }

    /// Whether it may share an address with a network: always `true` for masks with holes.
    pub fn may_meet(&self, net: Net) -> bool {
        net.prefix().is_none() || self.touching(net.addr, net.addr | (!net.mask & net.family.max())).next().is_some()
    }

    /// The ranges, both ends inclusive, ascending.
    pub fn ranges(&self) -> Vec<(IpAddr, IpAddr)> {
        self.ranges.iter().map(|(a, b)| (self.family.show(*a), self.family.show(*b))).collect()
    }

    /// The fewest networks that cover exactly this set, ascending.
    pub fn cidrs(&self) -> Vec<Net> {
        let mut out = Vec::new();
        let bits = u32::from(self.family.bits());
        for (start, end) in &self.ranges {
            let (mut at, end) = (*start, *end);
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

/// Whether two sets have about as many ranges, and more than a few: merging them is then cheaper than looking up each
/// range of one in the other.
fn alike(x: &AddrSet, y: &AddrSet) -> bool {
    let (few, many) = (x.ranges.len().min(y.ranges.len()), x.ranges.len().max(y.ranges.len()));
    few > 2 && few * 8 > many
}

/// Merges sorted ranges that may touch or overlap.
fn joined(sorted: Vec<(u128, u128)>) -> BTreeMap<u128, u128> {
    let mut out: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
    for (from, to) in sorted {
        match out.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
            _ => out.push((from, to)),
        }
    }
    out.into_iter().collect()
}

impl fmt::Debug for AddrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.cidrs().iter().take(16).map(ToString::to_string)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    /// A set of small addresses, and the same as a bit map.
    fn small(list: &[(u8, u8)]) -> (AddrSet, [bool; 256]) {
        let (mut set, mut bits) = (AddrSet::empty(Family::V4), [false; 256]);
        for (a, b) in list {
            let (a, b) = ((*a).min(*b), (*a).max(*b));
            set.add(&AddrSet::range(IpAddr::from([0, 0, 0, a]), IpAddr::from([0, 0, 0, b])));
            bits[usize::from(a)..=usize::from(b)].fill(true);
        }
        (set, bits)
    }

    proptest! {
        #[test]
        fn sets_are_as_bits(
            x in prop::collection::vec((0u8.., 0u8..), 0..6),
            y in prop::collection::vec((0u8.., 0u8..), 0..6),
        ) {
            let ((a, p), (b, q)) = (small(&x), small(&y));
            prop_assert_eq!(a.meets(&b), (0..256).any(|i| p[i] && q[i]));
            for n in 0..=255u8 {
                let i = usize::from(n);
                let at = IpAddr::from([0, 0, 0, n]);
                prop_assert_eq!(a.and(&b).contains(at), p[i] && q[i]);
                prop_assert_eq!(a.or(&b).contains(at), p[i] || q[i]);
                prop_assert_eq!(a.minus(&b).contains(at), p[i] && !q[i]);
                prop_assert_eq!(a.complement().contains(at), !p[i]);
            }
            prop_assert_eq!(a.minus(&b).or(&a.and(&b)), a.clone());
            prop_assert_eq!(a.complement().complement(), a);
        }
    }
}
