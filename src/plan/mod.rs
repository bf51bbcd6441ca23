//! From a plan to the change that puts it into the kernel: rules, restore scripts, commands, diff.
//! Reading order: [`content`] (what our chains are to hold), [`slots`] (how it is switched), [`change`] (all of it
//! for one host), [`goals`] (whether it does what it is for), [`force`] (whether it is in force later on), [`part`]
//! (our part as a file), [`preview`] (for the operator's eyes), [`script`] (for others to run).

mod change;
mod content;
mod force;
mod goals;
mod part;
mod preview;
mod renamed;
mod script;
mod slots;

pub use change::{Change, build};
pub use content::{PlanError, closing_is_better, ports};
pub use force::{Door, Enforced, Extent, Fault, Force, InForce, Way, judge, something_before};
pub use goals::still_open;
pub use part::{BadPart, Part};
pub use preview::{commands, diff, difference};
pub use renamed::named;
pub use script::{restore_texts, shell_script};
pub use slots::{DoorChange, FamilyChange, Slot, Standing, standing};
