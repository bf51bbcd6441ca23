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
    /// Says who can reach what: endpoints, the addresses that get in, warnings
    Report(ReportArgs),
    /// Follows one packet through the rules: the verdict, and every rule on its way
    Trace(TraceArgs),
}

/// Captured output; without any, the live host.
#[derive(Debug, Args)]
pub struct Input {
    /// Captured output of iptables-save, rpcinfo and others, told apart by content; `-` is standard input
    pub files: Vec<PathBuf>,
    /// A file with IPv4 rules
    #[arg(long, value_name = "FILE")]
    pub ipv4: Vec<PathBuf>,
    /// A file with IPv6 rules
    #[arg(long, value_name = "FILE")]
    pub ipv6: Vec<PathBuf>,
}

/// What `report` answers about.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What to read
    #[command(flatten)]
    pub input: Input,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Say on standard error how long reading and judging took
    #[arg(long)]
    pub timings: bool,
}

/// The packet that `trace` asks about. What is absent is *any*; where that matters the verdict is depends.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// What to read
    #[command(flatten)]
    pub input: Input,
    /// A file with one packet a line, as JSON objects with the names of these options; answers likewise
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proto", "src", "dport", "dst", "in_interface", "sport"])]
    pub packets: Option<PathBuf>,
    /// Protocol, e.g. tcp or udp
    #[arg(long, required_unless_present = "packets")]
    pub proto: Option<String>,
    /// Source address
    #[arg(long, required_unless_present = "packets")]
    pub src: Option<IpAddr>,
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
