//! The words of the command line: clap types only.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Shows who can reach what on a Linux host, from captured `iptables-save` and `rpcinfo` output.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a captured listing as iptables-save text or JSON
    Convert {
        /// A file with iptables-save output; `-` is standard input
        file: PathBuf,
        /// Format of the output
        #[arg(long)]
        to: Format,
    },
}

/// What `convert` writes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// iptables-save text
    Save,
    /// JSON
    Json,
}
