//! The values everything else speaks in. No I/O, no clock.

mod addr;
mod addr_set;
mod apply;
mod boot_file;
mod clean;
mod diagnostic;
mod file_origin;
pub mod names;
mod operator;
mod plan;
mod ports;
mod rule;
mod ruleset;
mod save_mode;
mod service;
mod spec;
pub mod trial;
mod view;

pub use addr::{Family, Net};
pub use addr_set::AddrSet;
pub use apply::ApplyError;
pub use boot_file::{BootFile, BootHolds};
pub use clean::{clean, clean_lines};
pub use diagnostic::Diagnostic;
pub use file_origin::{FileOrigin, Whose};
pub use operator::{Login, LoginSource, Logins, Operator};
pub use plan::{Action, Goal, Node, Plan, PlanRule};
pub use ports::{PortSet, Proto};
pub use rule::{Hidden, Rule, RuleOption, Words, options, quote, words};
pub use ruleset::{Chain, Policy, Ruleset, Table};
pub use save_mode::SaveMode;
pub use service::{Peer, PublishedName, RpcService, Socket};
pub use spec::{BitOp, End, IfaceLimit, IfaceMatch, MarkMasks, Match, NatTo, Spec, Target};
pub use trial::{KEEP_MARGIN, TRIAL_LIMITS, TrialPhase, clock, trial_time};
pub use view::{Backend, IpSet, LocalAddr, OtherFilter, Route, Source, View};
