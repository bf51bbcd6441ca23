//! A plan live on the host with the clock running. Reading order: [`machine`] (what may follow what), [`record`] (the
//! state file), [`rehearse`], [`begin`], [`guard`], [`end`], [`history`]. Only this station changes the firewall or the saved rules.

mod begin;
mod end;
pub mod guard;
pub mod history;
mod kernel;
mod machine;
mod record;
mod refusal;
mod rehearse;
pub mod save;
mod status;

pub use begin::{Options, apply, fingerprint, resolve};
pub use end::{Reverted, extend, keep, revert};
pub use machine::State;
pub use record::{By, Record, load};
pub use refusal::Refusal;
pub use status::{Status, status};
