//! Text to values and back, one file per format. Readers are total: a value and diagnostics, never an error.

pub mod detect;
pub mod family;
mod frame;
mod icmp_names;
pub mod iptables_list;
pub mod iptables_save;
pub mod rpcinfo;
pub mod plan;
pub mod ip;
pub mod services;
pub mod table_guess;
