//! What the real kernel does: packets, listings, other filters.

#[path = "../common/mod.rs"]
mod common;

mod docker;
mod doors;
mod exports;
mod judge;
mod lab;
mod layers;
mod modules;
mod old_kernel;
mod others;
mod reading;
mod road;
