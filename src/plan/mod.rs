//! From a plan to the change that puts it into the kernel: rules, restore scripts, commands, diff. Reading order:
//! [`content`] (the rules in our chains), [`slots`] (how they are switched), [`change`] (all of it for one host),
//! [`goals`] (what plans are about, and how nodes are allowed in), [`mod@still_open`] (whether a change achieves its
//! purpose), [`mod@fares`] (who gets in before and after), [`mod@checks`] (what to know before it is applied),
//! [`force`] (whether it is in force later on), [`part`] (our part as a file), [`preview`] (what the operator sees),
//! [`script`] (scripts for others to run).

mod change;
mod checks;
mod content;
mod fares;
mod force;
mod goals;
mod part;
mod preview;
mod renamed;
mod script;
mod slots;
mod still_open;

pub use change::{Change, build};
pub use checks::{Check, CheckKind, Grade, checks, in_force_checks};
pub use content::PlanError;
pub use fares::{Fare, fares};
pub use force::{Door, Enforced, Extent, Fault, Force, InForce, Way, judge, something_before};
pub use goals::{concerns, covers, goal_of, merged, protect_all, shuts_out};
pub use part::{BadPart, Part};
pub use preview::{commands, diff, difference};
pub use renamed::named;
pub use script::{restore_texts, shell_script};
pub use slots::{DoorChange, FamilyChange, Slot, Standing, standing};
pub use still_open::still_open;
