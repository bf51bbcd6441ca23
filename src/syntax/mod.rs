//! Text to values and back, one file per format. Readers are total: a value and diagnostics, never an error.

pub mod detect;
pub mod family;
mod frame;
pub mod iptables_save;
pub mod rpcinfo;
pub mod plan;
pub mod ip;
pub mod table_guess;
