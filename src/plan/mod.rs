//! From a plan to the change that puts it into the kernel: rules, restore scripts, commands, diff.
//! Reading order: [`content`] (what our chains are to hold), [`slots`] (how it is switched), [`change`] (all of it
//! for one host), [`preview`] (for the operator's eyes).

mod change;
mod content;
mod preview;
mod slots;

pub use change::{Change, build};
pub use content::{PlanError, closing_is_better};
pub use preview::{commands, diff, difference, restore_scripts, shell_script};
pub use slots::{DoorChange, FamilyChange, Slot, Standing, standing};
