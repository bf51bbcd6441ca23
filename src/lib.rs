//! portcullis: a terminal cockpit for the firewall of one Linux host.
//!
//! # The map
//!
//! Data flows one way; the modules are its stations, in the reading order:
//!
//! - `model`: values: addresses, ports, rules, rulesets; what a restore script does to a ruleset
//! - `syntax`: text to values and back, one file per format
//! - `host`: the only door to the outside: processes, files, clocks; live, or the demo in memory
//! - `observe`: looks once: the host's bytes through `syntax` into one `model::View`
//! - `analyse`: pure answers: what becomes of a packet, who gets in, which rules can never match
//! - `plan`: staged rules to a candidate ruleset, restore scripts, shell commands, a diff
//! - `trial`: arm, apply, keep, revert, save; the only one that changes the firewall
//! - `tui`: the cockpit; in it only `worker` touches `trial`, `observe` and `host`
//! - `commands`: one file per subcommand; `cli`: the words of the command line
//!
//! Who may use whom, downwards only: `commands -> tui -> trial -> plan -> analyse -> model`;
//! `trial -> observe, host`; `observe -> host, syntax, model`; `plan -> syntax`; `host -> syntax, model`;
//! `syntax -> model`. `tests/house.rs` holds this.
//!
//! # Promises, in this order when they conflict
//!
//! 1. Never locked out: a trial that nobody keeps ends by itself, whatever dies.
//! 2. Nothing of anybody else's is touched: we own the chains `PORTCULLIS*` and the jump to each.
//! 3. Both families or neither.
//! 4. Never a false "closed", never a false "open": what we cannot know is *depends*.
//! 5. Nothing lost: a rule that we do not understand is kept word for word.
//! 6. Never blocked: the screen answers while tools run.

pub mod analyse;
pub mod cli;
pub mod commands;
pub mod host;
pub mod model;
pub mod observe;
pub mod plan;
pub mod syntax;
pub mod trial;
pub mod tui;
