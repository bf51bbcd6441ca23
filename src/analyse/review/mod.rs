//! What stands out on a host: everything that can be reached, findings, rules that can never match.

pub mod area;
pub mod direct;
pub mod finding;
pub mod findings;
#[cfg(test)]
mod findings_tests;
pub mod gaps;
pub mod nearby;
pub mod report;
pub mod shadowed;
