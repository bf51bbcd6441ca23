//! Sets of packets: a cell is a box of sources, destinations, ports and interfaces, with what the way so far
//! has written on the packets (marks, tracking, NAT). Splitting a cell by a test is exact.

use crate::analyse::packets::test::{Place, Test, addrs, states};
use crate::analyse::surroundings::interfaces::InterfaceSet;
use crate::model::{AddrSet, Net, PortSet, Proto};

/// What connection tracking says of the packet (`nf_ct_get`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Not looked at yet (raw): state INVALID.
    Before,
    /// `CT` has given it what the connection will have (zone, helper): state NEW, everything else zero.
    Template,
    /// A new connection.
    New,
    /// NOTRACK.
    Untracked,
}

/// Packets that went the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Senders.
    pub src: AddrSet,
    /// Everything but the senders.
    pub rest: Rest,
}

/// What a cell holds beside its senders.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// Destinations.
    pub dst: AddrSet,
    /// Source ports.
    pub sport: PortSet,
    /// Destination ports.
    pub dport: PortSet,
    /// Interfaces of arrival.
    pub iif: InterfaceSet,
    /// Interfaces of departure; `None` for packets to the host.
    pub oif: Option<InterfaceSet>,
    /// The mark; `None` when not known.
    pub mark: Option<u32>,
    /// The connection's mark; `None` when not known.
    pub connmark: Option<u32>,
    /// Tracking.
    pub track: Track,
    /// Destination and ports before NAT.
    pub orig: Option<Box<(AddrSet, PortSet)>>,
    /// What is assumed of where the destination is.
    pub place: Place,
    /// Flags of TCP (RFC 9293 section 3.1).
    pub flags: u8,
    /// Why it is not certain that these packets come this way.
    pub doubt: Doubt,
}

/// The flag of a packet that opens a TCP connection.
pub const SYN: u8 = 2;
/// The flag of one that belongs to a connection.
pub const ACK: u8 = 16;

impl Rest {
    /// A new packet as it arrives from outside, on any of these interfaces.
    pub fn arriving(dst: AddrSet, sport: PortSet, dport: PortSet, iif: InterfaceSet) -> Self {
        Self {
            dst,
            sport,
            dport,
            iif,
            oif: None,
            mark: Some(0),
            connmark: Some(0),
            track: Track::Before,
            orig: None,
            place: Place::Told,
            flags: SYN,
            doubt: Doubt::default(),
        }
    }
}

/// Why it is not certain that packets come some way. Which reason it is keeps no packets apart: cells that differ in
/// nothing else are joined, and fare alike in chains.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doubt {
    /// A number of the walk's reasons: the last rule on the way that nobody can be sure of.
    pub why: Option<u32>,
    /// Whether it held.
    pub held: bool,
    /// Whether any such rule has to hold for them to come this way, as none does for ordinary packets.
    pub chance: bool,
}

impl Doubt {
    /// Behind one more reason, on the way of what holds or of what does not.
    pub fn behind(self, why: u32, held: bool) -> Self {
        Self { why: Some(why), held, chance: self.chance }
    }
}

impl PartialEq for Doubt {
    fn eq(&self, other: &Self) -> bool {
        self.why.is_some() == other.why.is_some()
    }
}

/// What a test makes of a cell.
pub struct Split {
    /// For these the test holds.
    pub hit: Vec<Cell>,
    /// For these it does not.
    pub miss: Vec<Cell>,
    /// Why it is not certain for the hits.
    pub unsure: Option<&'static str>,
}

impl Split {
    /// Both sides.
    pub fn parts(self) -> impl Iterator<Item = Cell> {
        self.hit.into_iter().chain(self.miss)
    }
}

impl Cell {
    fn whole(self, hit: bool) -> Split {
        if hit {
            Split { hit: vec![self], miss: Vec::new(), unsure: None }
        } else {
            Split { hit: Vec::new(), miss: vec![self], unsure: None }
        }
    }

    /// Cuts the cell along one of its sides.
    fn cut<T: Clone>(self, side: (T, T), empty: impl Fn(&T) -> bool, put: impl Fn(&mut Self, T)) -> Split {
        let (inside, outside) = side;
        match (empty(&inside), empty(&outside)) {
            (true, _) => self.whole(false),
            (_, true) => self.whole(true),
            _ => {
                let mut hit = self.clone();
                let mut miss = self;
                put(&mut hit, inside);
                put(&mut miss, outside);
                Split { hit: vec![hit], miss: vec![miss], unsure: None }
            }
        }
    }

    fn cut_ports(self, of: &PortSet, set: &PortSet, put: impl Fn(&mut Self, PortSet)) -> Split {
        let side = (of & set, of - set);
        self.cut(side, PortSet::is_empty, put)
    }

    fn cut_addrs(self, of: &AddrSet, set: &AddrSet, put: impl Fn(&mut Self, AddrSet)) -> Split {
        let side = (of.and(set), of.minus(set));
        self.cut(side, AddrSet::is_empty, put)
    }

    /// Whether the test certainly holds for none of these packets; cheap, and `false` when in doubt.
    pub fn fails(&self, test: &Test) -> bool {
        match test {
            Test::Src(set) => !self.src.meets(set),
            Test::Dst(set) => !self.rest.dst.meets(set),
            Test::Sport(set) => self.rest.sport.is_disjoint(set),
            Test::Dport(set) => self.rest.dport.is_disjoint(set),
            Test::In(set) => self.rest.iif.is_disjoint(set),
            Test::Placed(place) => self.rest.place != *place,
            Test::Always(yes) => !*yes,
            _ => false,
        }
    }

    /// Splits the cell by a test.
    pub fn split(self, test: &Test) -> Split {
        match test {
            Test::Always(yes) => self.whole(*yes),
            Test::Src(set) => {
                let inside = self.src.and(set);
                if inside.is_empty() {
                    return self.whole(false);
                }
                let hit = Self { src: inside, rest: self.rest.clone() };
                let mut miss = self;
                // In place: long lists of senders stay linear.
                miss.src.remove(set);
                let miss = if miss.src.is_empty() { Vec::new() } else { vec![miss] };
                Split { hit: vec![hit], miss, unsure: None }
            }
            Test::Dst(set) => {
                let of = self.rest.dst.clone();
                self.cut_addrs(&of, set, |c, v| c.rest.dst = v)
            }
            Test::SrcMask(not, net) => match of_mask(&self.src, *not, *net) {
                Some(set) => self.split(&Test::Src(set)),
                None => Split { unsure: Some(HOLES), ..self.whole(true) },
            },
            Test::DstMask(not, net) => match of_mask(&self.rest.dst, *not, *net) {
                Some(set) => self.split(&Test::Dst(set)),
                None => Split { unsure: Some(HOLES), ..self.whole(true) },
            },
            Test::Sport(set) => {
                let of = self.rest.sport.clone();
                self.cut_ports(&of, set, |c, v| c.rest.sport = v)
            }
            Test::Dport(set) => {
                let of = self.rest.dport.clone();
                self.cut_ports(&of, set, |c, v| c.rest.dport = v)
            }
            Test::In(set) => {
                let of = self.rest.iif.clone();
                self.cut_ports(&of, set, |c, v| c.rest.iif = v)
            }
            Test::Out(set, without) => match self.rest.oif.clone() {
                None => self.whole(*without),
                Some(of) => self.cut_ports(&of, set, |c, v| c.rest.oif = Some(v)),
            },
            Test::OrigDst(set) => match self.rest.orig.clone() {
                None => self.split(&Test::Dst(set.clone())),
                Some(orig) => self.cut_addrs(&orig.0, set, |c, v| {
                    if let Some(o) = &mut c.rest.orig {
                        o.0 = v;
                    }
                }),
            },
            Test::OrigDport(set) => match self.rest.orig.clone() {
                None => self.split(&Test::Dport(set.clone())),
                Some(orig) => self.cut_ports(&orig.1, set, |c, v| {
                    if let Some(o) = &mut c.rest.orig {
                        o.1 = v;
                    }
                }),
            },
            Test::Mark { not, value, mask, conn } => {
                let mark = if *conn && self.rest.track == Track::Template {
                    None
                } else if *conn && self.rest.track != Track::New {
                    Some(None)
                } else {
                    (if *conn { self.rest.connmark } else { self.rest.mark }).map(Some)
                };
                match mark {
                    // Without a connection the connmark match never holds (xt_connmark).
                    Some(None) => self.whole(false),
                    Some(Some(m)) => self.whole((m & mask == *value) != *not),
                    None => Split { unsure: Some("the mark is not known"), ..self.whole(true) },
                }
            }
            Test::Placed(place) => {
                let hit = self.rest.place == *place;
                self.whole(hit)
            }
            Test::Flags(not, mask, comp) => {
                let hit = self.rest.flags & mask == *comp;
                self.whole(hit != *not)
            }
            Test::State(not, wanted) => {
                let have = match self.rest.track {
                    Track::Before => states::INVALID,
                    Track::Template => states::NEW | states::TEMPLATE,
                    Track::Untracked => states::UNTRACKED,
                    Track::New if self.rest.orig.is_some() => states::NEW | states::DNAT,
                    Track::New => states::NEW,
                };
                self.whole((have & wanted != 0) != *not)
            }
            Test::OneOf(not, groups) => {
                let mut out = Split { hit: Vec::new(), miss: vec![self], unsure: None };
                for group in groups {
                    if out.miss.iter().all(|c| group.iter().any(|t| c.fails(t))) {
                        continue;
                    }
                    let Split { hit, miss, unsure } = split_all(std::mem::take(&mut out.miss), group);
                    out.hit.extend(hit);
                    out.miss = miss;
                    out.unsure = out.unsure.or(unsure);
                }
                if *not {
                    std::mem::swap(&mut out.hit, &mut out.miss);
                }
                out
            }
            Test::Ordered(not, groups) => {
                let mut out = Split { hit: Vec::new(), miss: Vec::new(), unsure: None };
                let mut left = vec![self];
                for (yes, group) in groups {
                    if left.iter().all(|c| group.iter().any(|t| c.fails(t))) {
                        continue;
                    }
                    let Split { hit, miss, unsure } = split_all(std::mem::take(&mut left), group);
                    if *yes {
                        out.hit.extend(hit);
                    } else {
                        out.miss.extend(hit);
                    }
                    left = miss;
                    out.unsure = out.unsure.or(unsure);
                }
                out.miss.extend(left);
                if *not {
                    std::mem::swap(&mut out.hit, &mut out.miss);
                }
                out
            }
        }
    }
}

/// Why a network is not a set.
const HOLES: &str = "the mask of its network has too many holes for an exact set";

/// What a network under a mask with holes holds of some addresses, or a set that says so; `None` when they are many
/// and the holes too many for ranges.
fn of_mask(of: &AddrSet, not: bool, net: Net) -> Option<AddrSet> {
    let few = of.spans().len() <= 4096 && of.spans().all(|(a, b)| a == b);
    if !few {
        return AddrSet::from_net(net).map(|set| addrs(set, not));
    }
    Some(AddrSet::from_spans(of.family(), of.spans().filter(|(a, _)| (a & net.mask == net.addr) != not)))
}

/// Splits cells by tests that must all hold.
pub fn split_all(cells: Vec<Cell>, tests: &[Test]) -> Split {
    let mut out = Split { hit: cells, miss: Vec::new(), unsure: None };
    for test in tests {
        let mut hits = Vec::new();
        for cell in std::mem::take(&mut out.hit) {
            let Split { hit, miss, unsure } = cell.split(test);
            hits.extend(hit);
            out.miss.extend(miss);
            out.unsure = out.unsure.or(unsure);
        }
        out.hit = hits;
        if out.hit.is_empty() {
            break;
        }
    }
    out
}

/// Adds a cell to others: one that differs in its senders only is joined.
pub fn join(cells: &mut Vec<Cell>, cell: Cell) {
    if cell.src.is_empty() {
        return;
    }
    // Only the last few are compared: rules that split one cell leave its parts side by side.
    for known in cells.iter_mut().rev().take(16) {
        if known.rest == cell.rest {
            known.src.unite(cell.src);
            known.rest.doubt.chance &= cell.rest.doubt.chance;
            return;
        }
    }
    cells.push(cell);
}

/// One port, or all; protocols without ports have one that never matters.
pub fn port(proto: Proto, port: Option<u16>) -> PortSet {
    match port {
        _ if !proto.has_ports() => PortSet::from_iter([0]),
        Some(p) => PortSet::from_iter([p]),
        None => PortSet::from_iter([0..=u16::MAX]),
    }
}
