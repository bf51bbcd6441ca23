//! Finds the earlier rules of a long chain that may match a rule's packets, by source network and port, so that a chain
//! of a hundred thousand rules is not compared pair by pair.

use std::collections::{BTreeMap, BTreeSet};

use crate::analyse::review::area::Area;
use crate::model::AddrSet;

/// How many rules with the same source and port (they differ in interface, destination, source port) are compared.
const MAX_SAME: usize = 16;
/// How many networks inside a rule's own are compared: more would exceed the number of parts allowed anyway.
const MAX_INSIDE: usize = 256;
/// How many rules are compared whose source is not a single network.
const MAX_ODD: usize = 64;

/// Source network, first and last address, and the port if it is a single one.
type Key = (u128, u128, Option<u16>);

/// Rules that end their chain, by what they match on.
#[derive(Default)]
pub struct Nearby {
    places: BTreeMap<Key, Vec<u32>>,
    /// Host masks of the networks, e.g. 255 for a /24.
    masks: BTreeSet<u128>,
    odd: Vec<u32>,
}

impl Nearby {
    /// Adds a rule with its position.
    pub fn add(&mut self, at: usize, area: &Area) {
        let Ok(at) = u32::try_from(at) else { return };
        let list = match span(&area.src).filter(|(from, to)| is_network(*from, *to)) {
            Some((from, to)) => {
                self.masks.insert(to - from);
                self.places.entry((from, to, port(area))).or_default()
            }
            None => &mut self.odd,
        };
        if list.len() < MAX_ODD {
            list.push(at);
        }
    }

    /// Positions of rules that may match a rule's packets, ascending.
    pub fn near(&self, area: &Area) -> Vec<usize> {
        // For a rule whose source is several networks: rules that cover the span of all of them.
        let Some((from, to)) = area.src.spans().next().map(|(a, _)| a).zip(area.src.spans().last().map(|(_, b)| b))
        else {
            return Vec::new();
        };
        let port = port(area);
        let mut out: BTreeSet<u32> = self.odd.iter().copied().collect();
        let mut ports = vec![None];
        ports.extend(port.map(Some));
        for mask in &self.masks {
            let net = (from & !mask, from | mask);
            for p in &ports {
                out.extend(self.places.get(&(net.0, net.1, *p)).into_iter().flatten().take(MAX_SAME));
            }
        }
        let inside = self.places.range((from, 0, None)..=(to, u128::MAX, Some(u16::MAX))).take(MAX_INSIDE);
        for ((_, _, p), list) in inside {
            if p.is_none() || port.is_none() || *p == port {
                out.extend(list.iter().take(MAX_SAME));
            }
        }
        out.into_iter().map(|i| i as usize).collect()
    }
}

/// The range of a set that has only one.
fn span(set: &AddrSet) -> Option<(u128, u128)> {
    let mut spans = set.spans();
    spans.next().filter(|_| spans.len() == 0)
}

fn is_network(from: u128, to: u128) -> bool {
    let mask = to - from;
    mask & mask.wrapping_add(1) == 0 && from & mask == 0
}

fn port(area: &Area) -> Option<u16> {
    area.dport.first().filter(|_| area.dport.len() == 1)
}
