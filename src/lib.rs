//! portcullis: a terminal cockpit for the firewall of one Linux host.
//!
//! Reading order: [`model`] (the values everything else speaks in), [`syntax`] (text to values and back),
//! [`analyse`] (what becomes of a packet), [`commands`] (one file per subcommand), [`cli`] (the words).

pub mod analyse;
pub mod cli;
pub mod commands;
pub mod host;
pub mod model;
pub mod syntax;
