//! What is known of a trial, as values: every station names a trial's state, end and phase by these, and only the edge
//! (JSON, screen, state file) turns them into words.

mod by;
mod phase;
mod state;
mod time;

pub use by::By;
pub use phase::{KEEP_MARGIN, TrialPhase, clock};
pub use state::State;
pub use time::{TRIAL_LIMITS, trial_time};
