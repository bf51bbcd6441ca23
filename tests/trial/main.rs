//! Trials on real kernels: how they begin, what ends them, and who may keep them.

#[path = "../common/mod.rs"]
mod common;

mod cockpit;
mod ends;
mod hard;
mod in_force;
mod kernel;
mod operator;
mod outlives;
mod systemd;
