//! The words of the command line: clap types only.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Follows one packet through captured rules: the verdict, and every rule on its way
    Trace(TraceArgs),
}

/// The packet that `trace` asks about. What is absent is *any*; where that matters the verdict is depends.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// A file with iptables-save output; `-` is standard input
    pub file: PathBuf,
    /// Protocol, e.g. tcp or udp
    #[arg(long)]
    pub proto: String,
    /// Source address
    #[arg(long)]
    pub src: IpAddr,
    /// Destination port
    #[arg(long)]
    pub dport: Option<u16>,
    /// Destination address; absent: any address of the host
    #[arg(long)]
    pub dst: Option<IpAddr>,
    /// Interface it arrives on; absent: any but lo
    #[arg(long)]
    pub in_interface: Option<String>,
    /// Source port
    #[arg(long)]
    pub sport: Option<u16>,
    /// The instant, e.g. 2026-11-24T08:00:00Z, for rules with dates
    #[arg(long)]
    pub at: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// What `convert` writes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// iptables-save text
    Save,
    /// JSON
    Json,
}
