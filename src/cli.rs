//! The words of the command line: clap types only.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::names::services;
use crate::model::trial_time;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// A terminal cockpit for the firewall of one Linux host: who can reach what, changes on trial, automatic revert.
///
/// Without a command it opens on the live host (as root), or read-only on the captured output that is named.
///
/// Exit codes: 0 done; 1 failed; 2 bad usage; 3 refused by a safety check; 6 (status) what is kept is not in force.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to look at.
    #[command(flatten)]
    pub input: Input,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Opens the cockpit on a built-in host; touches nothing
    Demo,
    /// Opens the cockpit on the guided steps
    Harden,
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
    /// Puts a plan on trial: the old rules come back by themselves unless it is kept
    ///
    /// The checks of the cockpit's Plan screen are said first: a line `warning:` or `note:` each, and one line
    /// `checked:` for what is as it should be.
    Apply {
        /// The plan, a TOML file
        plan: PathBuf,
        /// How
        #[command(flatten)]
        trial: TrialArgs,
    },
    /// Takes everything of ours out of the firewall, as a trial
    Remove(TrialArgs),
    /// Shows the pending trial or how the last one ended, and whether what is kept is in force (exit code 6: it is not)
    Status {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Keeps the pending trial
    Keep {
        /// Keep although no new SSH login has shown that the way in is open
        #[arg(long)]
        without_proof: bool,
    },
    /// Puts the old rules back, now
    Revert,
    /// Writes the rules that boot loads; only what was kept
    Save(SaveArgs),
    /// Writes the change of a plan as a script
    Export {
        /// The plan, a TOML file
        plan: PathBuf,
        /// Kind of script
        #[arg(long)]
        to: Script,
    },
    /// Writes the manual page
    Man,
    /// Writes the completions for a shell
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Loads our part alone, as `save --ours` wrote it; what portcullis-rules.service runs at boot
    #[command(hide = true)]
    Load {
        /// Wait until Docker has made its chain, then put in the jump from there, and nothing else
        #[arg(long)]
        published: bool,
    },
    /// The process that reverts a trial which nobody keeps
    #[command(hide = true)]
    Guard {
        /// The trial
        id: String,
    },
}

impl Command {
    /// Whether answers, and errors, are wanted as JSON.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Report(a) => a.json,
            Self::Trace(a) => a.json,
            Self::Status { json } => *json,
            Self::Save(a) => a.json,
            _ => false,
        }
    }
}

/// How a trial is wanted.
#[derive(Clone, Copy, Debug, Args)]
pub struct TrialArgs {
    /// The old rules come back after this time, 10s to 1h; without it what `trial` in config.toml says, else 60s
    #[arg(long, value_name = "TIME", value_parser = trial_time)]
    pub confirm_within: Option<Duration>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// The plan may take kept rules away
    #[arg(long)]
    pub replace: bool,
    /// Go on although a new SSH login of yours, or one that may be yours, would be cut
    #[arg(long)]
    pub allow_lockout: bool,
    /// Go on without the kernel's own end of the trial
    #[arg(long)]
    pub without_fuse: bool,
    /// Go on although no throw-away namespace can be had to rehearse in
    #[arg(long)]
    pub without_rehearsal: bool,
}

/// What `save` writes.
#[derive(Clone, Copy, Debug, Args)]
pub struct SaveArgs {
    /// Everything that is loaded
    #[arg(long, conflicts_with_all = ["unmanaged", "ours"])]
    pub all: bool,
    /// Everything but what Docker and other managers make anew themselves
    #[arg(long, conflicts_with = "ours")]
    pub unmanaged: bool,
    /// The chains of portcullis alone, which a unit of its own loads after ufw, firewalld or whoever builds the rest
    #[arg(long)]
    pub ours: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Show the difference only
    #[arg(long)]
    pub dry_run: bool,
    /// Refuse when boot would not load what is written
    #[arg(long)]
    pub must_load: bool,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// What `export` writes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Script {
    /// A shell script
    Shell,
    /// Text for iptables-restore --noflush
    Restore,
}

/// Captured output; without any, the live host.
#[derive(Debug, Args)]
pub struct Input {
    /// Captured output of iptables-save, iptables -S or -L, rpcinfo -p, ss, ipset save, ip addr, ip route, docker ps,
    /// or /etc/exports, told apart by content; `-` is standard input
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
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["proto", "src", "dport", "dst", "in_interface", "sport", "tcp_flags"])]
    pub packets: Option<PathBuf>,
    /// Protocol, e.g. tcp or udp
    #[arg(long, required_unless_present = "packets")]
    pub proto: Option<String>,
    /// Source address
    #[arg(long, required_unless_present = "packets")]
    pub src: Option<IpAddr>,
    /// Destination port, a number or the name of a service
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub dport: Option<u16>,
    /// Destination address; absent: any address of the host
    #[arg(long)]
    pub dst: Option<IpAddr>,
    /// Interface it arrives on; absent: any but lo
    #[arg(long)]
    pub in_interface: Option<String>,
    /// Source port, a number or the name of a service
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub sport: Option<u16>,
    /// Flags of TCP, e.g. ACK or SYN,ACK; absent: a SYN alone, which opens a connection
    #[arg(long)]
    pub tcp_flags: Option<String>,
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

/// A port: a number, or the name of a service as in services(5).
fn port(text: &str) -> Result<u16, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| "a port is a number from 0 to 65535".to_owned());
    }
    services::port(text).ok_or_else(|| match services::closest(text) {
        Some(name) => format!("{text} is not a port; did you mean {name}?"),
        None => format!("{text} is not a port; give a number, or the name of a service"),
    })
}
