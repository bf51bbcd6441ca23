//! portcullis: a terminal cockpit for the firewall of one Linux host. It says who can reach what, and changes the
//! firewall on trial: the old rules come back automatically unless somebody keeps the new ones.
//!
//! # The map
//!
//! Data flows one way, through these modules, in reading order:
//!
//! - [`model`]: values: addresses, ports, rules, rulesets; what a restore script does to a ruleset
//! - [`syntax`]: text to values and back, one file per format
//! - [`host`]: the only door to the outside: processes, files, clocks; live, or the demo in memory
//! - [`observe`]: looks at the host once, and turns its output through `syntax` into one [`model::View`]
//! - [`analyse`]: pure answers behind one handle, [`analyse::Analysis`]: what becomes of a packet, who gets in, which
//!   rules can never match
//! - [`plan`]: staged rules to a candidate ruleset, restore scripts, shell commands, a diff
//! - [`trial`]: arm, apply, keep, revert, save; the only one that changes the firewall
//! - [`tui`]: the cockpit; in it only `worker` touches `trial`, `observe` and `host`
//! - [`commands`]: one file per subcommand; [`cli`]: the command line
//!
//! Dependencies, downwards only: `commands -> tui -> trial -> plan -> analyse -> model`;
//! `trial -> observe, host`; `observe -> host, syntax, model`; `plan -> syntax`; `host -> syntax, model`;
//! `syntax -> model`. `tests/house.rs` checks this, and the order of the modules inside `analyse`.
//!
//! # Two walks
//!
//! A rule, from text to screen: [`host::Tools::run`] runs `iptables-save` for [`observe::live`], which hands the bytes
//! to [`syntax::iptables_save`]. A [`model::Rule`] keeps its text word for word; [`model::Spec`] is its meaning.
//! The [`model::View`] goes to [`analyse::Analysis`], whose walk sends sets of packets through the chains; its report
//! is what the screens in [`tui`] draw and `portcullis report` prints.
//!
//! A staged node, from key to kernel: `tui::keymap` turns the key into an action, the popup adds a
//! [`model::PlanRule`] to the draft, [`plan::build`] makes a [`plan::Change`] of it: our own chains, refilled.
//! [`trial::apply`] rehearses it in a throw-away network namespace, arms the guard, and gives one script per family to
//! `iptables-restore --noflush`. [`trial::keep`] and [`trial::revert`] do the same with other contents.
//!
//! # Where do I change ...
//!
//! | what | where |
//! |---|---|
//! | a match | `model/spec/`, then as `.github/CONTRIBUTING.md` says; `tests/kernel/` judges it |
//! | how a listing is read | `syntax/`, one file per format |
//! | a finding | `analyse/review/findings.rs` |
//! | what is known of a service | `analyse/inventory/known.rs` |
//! | what goes into the kernel | `plan/slots.rs` |
//! | a check of a plan | `plan/checks.rs`; the facts that it needs from the host: `trial/checks.rs` |
//! | what ends a trial, and when | `trial/machine.rs` (pure), `trial/guard.rs` |
//! | what boot loads | `trial/boot.rs`, `trial/save.rs` |
//! | a key | the one table in `tui/keymap/table.rs` |
//! | a screen | its file in `tui/screens/` or `tui/popups/` |
//! | what a screen can have done | `tui/wishes.rs`; by the worker: `tui/protocol.rs` |
//! | a command | `cli.rs`, and a file in `commands/` |
//!
//! # Example
//!
//! ```
//! use portcullis::analyse::Analysis;
//! use portcullis::model::Family;
//! use portcullis::observe::capture::{Input, captured};
//!
//! let text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 192.0.2.11/32 -p tcp -m tcp --dport 111 -j ACCEPT\n\
//!     -A INPUT -p tcp -m tcp --dport 111 -j DROP\nCOMMIT\n";
//! let view = captured(&[Input { name: "rules".into(), text: text.into(), family: None }]);
//! let analysis = Analysis::new(&view);
//! let endpoint = &analysis.endpoints()[0];
//! let exposure = analysis.exposure(endpoint, Family::V4).expect("the IPv4 rules are known");
//! assert_eq!(exposure.reach.accepted.cidrs()[0].to_string(), "192.0.2.11/32");
//! ```
//!
//! # Promises, in this order when they conflict
//!
//! 1. Never locked out: a trial that nobody keeps ends on its own, whatever dies.
//! 2. Nothing that belongs to others is touched: we own the chains `PORTCULLIS*` and the jump to each.
//! 3. Both families or neither.
//! 4. Never a false "closed", never a false "open": what we cannot know is *depends*.
//! 5. Nothing is lost: a rule that we do not understand is kept word for word.
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
