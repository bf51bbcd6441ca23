//! Conditions with a certain answer for each packet: what matches of rules are compiled to, and cells are split by.

use crate::analyse::surroundings::interfaces::InterfaceSet;
use crate::model::{AddrSet, Net, PortSet};

/// What is assumed of a destination that nothing tells the place of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nothing: the surroundings tell.
    #[default]
    Told,
    /// It is the host's own, also where REDIRECT has sent packets to an address that is not known.
    Here,
    /// It is another host's.
    Away,
    /// It is the broadcast address of a network of the host.
    Many,
}

/// A condition with a certain answer for each packet.
#[derive(Clone, Debug)]
pub enum Test {
    /// Sender in the set.
    Src(AddrSet),
    /// Destination in the set.
    Dst(AddrSet),
    /// Sender in a network whose mask has holes; negated when the first is set.
    SrcMask(bool, Net),
    /// Destination likewise.
    DstMask(bool, Net),
    /// Source port.
    Sport(PortSet),
    /// Destination port.
    Dport(PortSet),
    /// Interface of arrival.
    In(InterfaceSet),
    /// Interface of departure, and the answer where there is none.
    Out(InterfaceSet, bool),
    /// Destination before NAT.
    OrigDst(AddrSet),
    /// Port before NAT.
    OrigDport(PortSet),
    /// `(mark & mask) == value`, of the connection when the last is set.
    Mark { not: bool, value: u32, mask: u32, conn: bool },
    /// What is assumed of where the destination is.
    Placed(Place),
    /// `flags & mask == comp` of TCP, negated when the first is set.
    Flags(bool, u8, u8),
    /// Tracking state; bits of [`states`], negated when the first is set.
    State(bool, u8),
    /// One of these groups holds; negated when the first is set.
    OneOf(bool, Vec<Vec<Test>>),
    /// The first of these groups that holds gives the answer (the flag), none of them means no; negated when the
    /// first is set.
    Ordered(bool, Vec<(bool, Vec<Test>)>),
    /// The same answer for every packet.
    Always(bool),
}

impl Test {
    /// How many ranges of addresses it holds.
    pub fn weight(&self) -> usize {
        match self {
            Self::Src(set) | Self::Dst(set) | Self::OrigDst(set) => set.spans().len(),
            Self::SrcMask(..) | Self::DstMask(..) => HOLES_WEIGHT,
            Self::OneOf(_, groups) => groups.iter().flatten().map(Self::weight).sum(),
            Self::Ordered(_, groups) => groups.iter().flat_map(|g| &g.1).map(Self::weight).sum(),
            _ => 0,
        }
    }
}

/// Bits of [`Test::State`].
pub mod states {
    pub const NEW: u8 = 1;
    pub const UNTRACKED: u8 = 2;
    pub const INVALID: u8 = 4;
    pub const DNAT: u8 = 8;
    pub const TEMPLATE: u8 = 16;
}

/// A mask with holes may make so many ranges.
const HOLES_WEIGHT: usize = 1 << 12;

/// A match as a test, or why it has no certain answer.
pub enum Meaning {
    /// It has a certain answer.
    Sure(Test),
    /// It has none: the reason.
    Unsure(String),
}

/// What a test costs, beside others.
pub fn cost(test: &Test) -> u8 {
    match test {
        Test::Always(_) => 0,
        Test::Dport(_) | Test::State(..) | Test::Mark { .. } | Test::Placed(_) | Test::Flags(..) => 1,
        Test::In(_) | Test::Out(..) => 2,
        Test::Dst(_) | Test::Sport(_) => 3,
        Test::OrigDst(_) | Test::OrigDport(_) => 4,
        Test::Src(_) | Test::SrcMask(..) | Test::DstMask(..) => 5,
        Test::OneOf(..) | Test::Ordered(..) => 6,
    }
}

/// A set or its complement.
pub fn addrs(set: AddrSet, not: bool) -> AddrSet {
    if not { set.complement() } else { set }
}
