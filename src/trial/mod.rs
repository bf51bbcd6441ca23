//! A plan live on the host with the clock running. Reading order: [`machine`] (the transitions), [`record`] (the state
//! file), [`rehearse`], [`begin`], [`guard`], [`mod@proof`], [`end`], [`back`], [`evidence`], [`history`]; besides them
//! [`force`] (whether what was kept is in force) and [`written`] (what was saved meanwhile). Only this module changes
//! the firewall or the saved rules.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod adversity_tests;
mod at_boot;
mod back;
mod begin;
mod boot;
mod checks;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod crash;
mod end;
mod evidence;
mod force;
pub mod guard;
mod half_saved;
pub mod history;
mod kernel;
pub mod load;
mod loaded;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod lost_file_tests;
mod machine;
mod moved;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod operators;
mod ours;
mod pending;
mod proof;
mod record;
mod refusal;
mod rehearse;
pub mod save;
mod saved;
mod status;
mod undoers;
mod unit;
mod written;

pub use begin::{Options, apply, apply_telling, resolve};
pub use checks::{all_checks, checks};
pub use end::{Reverted, extend, keep, revert, revert_telling};
pub use force::{enforced, enforced_by};
pub use half_saved::half_saved;
pub use ours::usual_mode;
pub use proof::proof;
pub use record::{Proof, Record, Who};
pub use refusal::Refusal;
pub use status::{Status, status};
pub use undoers::undoers;
