//! Sets of packets, and what splits them: the matches of rules as tests.

pub mod addrtype;
pub mod cell;
pub mod compile;
pub mod ipset;
pub mod plain;
pub mod prefilter;
pub mod test;
