//! What is known of a trial, as values: all modules pass its state, end and phase as these types; only the edges (JSON,
//! screen, state file) turn them into words.

mod allowed;
mod by;
mod phase;
mod state;
mod time;

pub use allowed::Allowed;
pub use by::By;
pub use phase::{KEEP_MARGIN, TrialPhase, clock};
pub use state::State;
pub use time::{TRIAL_LIMITS, trial_time};
