//! The way of packets: hooks in order, chains, and what targets write on packets.

pub mod chains;
pub mod hooks;
pub mod outcomes;
pub mod rewrite;
pub mod verdict;
