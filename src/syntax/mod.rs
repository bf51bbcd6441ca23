//! Text to values and back, one file per format. Readers are total: a value and diagnostics, never an error.

pub mod detect;
pub mod docker_ps;
pub mod exports;
pub mod family;
mod frame;
pub mod ip;
pub mod ipset;
pub mod iptables_list;
pub mod iptables_save;
mod listing;
pub mod logins;
pub mod nft;
pub mod plan;
pub mod rpc_pins;
pub mod rpcinfo;
pub mod sockets;
pub mod table_guess;
