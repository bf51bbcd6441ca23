//! Questions about packets and senders, each answered by the one walk.

pub mod engine;
pub mod explain;
pub mod exposure;
pub mod gets_in;
pub mod lockout;
pub mod packet;
pub mod reach;
pub mod reasons;
pub mod remarks;
pub mod trace;
