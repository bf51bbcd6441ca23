//! portcullis: a terminal cockpit for the firewall of one Linux host.
//!
//! Reading order: [`model`] (the values everything else speaks in), [`syntax`] (text to values and back).

pub mod cli;
pub mod commands;
pub mod model;
pub mod syntax;
