//! One look: reads the host, or captured texts, through `syntax` into one [`crate::model::View`].

pub mod capture;
pub mod firewall;
pub mod live;
pub mod others;
pub mod ours;
