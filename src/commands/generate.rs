//! `portcullis man` and `portcullis completions SHELL`: generated from the definitions in the code.

use std::fmt::Write as _;

use clap::CommandFactory;

use anyhow::Context as _;

use super::{Failure, print_exact};
use crate::cli::Cli;
use crate::tui::keymap::{Keymap, Place, place_name};

/// Writes the manual page.
pub fn man() -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .context(Failure::failed("the manual page could not be written", "check the disk or the pipe"))?;
    page.extend_from_slice(keys().as_bytes());
    print_exact(&String::from_utf8_lossy(&page))
}

/// The keys of the cockpit, from the keymap table, in roff.
fn keys() -> String {
    let escape = |s: &str| s.replace('\\', "\\\\").replace('-', "\\-");
    let keys = Keymap::default();
    let mut out =
        String::from(".SH KEYS\nEach key is followed by the name of its action for the [keys] table of config.toml.\n");
    for place in [Place::Services, Place::Chains, Place::Plan, Place::History, Place::Preview, Place::Trial] {
        let _ = writeln!(out, ".SS {}", place_name(place));
        for b in keys.rows(place) {
            let _ = writeln!(
                out,
                ".TP\n\\fB{}\\fR \\(em {}\n{}",
                escape(&b.keys),
                escape(&b.action.name()),
                escape(b.help)
            );
        }
    }
    out
}

/// Writes the completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "portcullis", &mut out);
    print_exact(&String::from_utf8_lossy(&out))
}
