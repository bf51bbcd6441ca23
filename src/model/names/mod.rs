//! The usual names of numbers, interfaces and chains, each table once.

pub mod chains;
pub mod icmp;
pub mod interfaces;
pub mod services;
