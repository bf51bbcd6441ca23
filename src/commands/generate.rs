//! `portcullis man` and `portcullis completions SHELL`: generated from the definitions.

use clap::CommandFactory;

use super::{Failure, print};
use crate::cli::Cli;

/// Writes the manual page.
pub fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)
        .map_err(|e| Failure::failed(format!("the manual page was not written: {e}"), "check the disk or the pipe"))?;
    print(&String::from_utf8_lossy(&page))
}

/// Writes the completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "portcullis", &mut out);
    print(&String::from_utf8_lossy(&out))
}
