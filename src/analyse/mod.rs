//! Pure answers about rules: no I/O, no clock.

mod walk;

pub use walk::{Packet, Result as StepResult, Step, Trace, Verdict, trace};
