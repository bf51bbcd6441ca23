//! The command line: clap types only.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::names::services;
use crate::model::trial_time;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// A terminal cockpit for the firewall of one Linux host: who can reach what, changes on trial, automatic revert.
///
/// Without a command it opens on the live host (as root), or read-only on the named files of captured output.
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
    /// Opens the cockpit on the guided hardening steps
    Harden,
    /// Writes a captured listing as iptables-save text or JSON
    Convert {
        /// A file with iptables-save output; `-` is standard input
        file: PathBuf,
        /// Format of the output
        #[arg(long)]
        to: Format,
    },
    /// Reports who can reach what: endpoints, the addresses that get in, warnings
    Report(ReportArgs),
    /// Follows one packet through the rules: the verdict, and every rule on its way
    Trace(TraceArgs),
    /// Puts a plan on trial: the old rules come back automatically unless it is kept
    ///
    /// First come the checks of the cockpit's Plan screen: a `warning:` or `note:` line each, and one `checked:` line
    /// for those that passed.
    Apply {
        /// The plan, a TOML file
        plan: PathBuf,
        /// Options of the trial
        #[command(flatten)]
        trial: TrialArgs,
    },
    /// Removes everything of portcullis from the firewall, as a trial
    Remove(TrialArgs),
    /// Shows the pending trial or how the last one ended, and whether the kept plan is in force (exit code 6 if not)
    Status {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Keeps the pending trial
    Keep {
        /// Keep even if no new SSH login has proved that the way in is open
        #[arg(long)]
        without_proof: bool,
    },
    /// Puts the old rules back now
    Revert,
    /// Writes the rules that boot loads; only what has been kept
    Save(SaveArgs),
    /// Writes the change that a plan makes as a script
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
    /// Loads our own rules, as `save --ours` wrote them; portcullis-rules.service runs it at boot
    #[command(hide = true)]
    Load {
        /// Wait until Docker has created its chain, then add only the jump from there
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
    /// Whether to print answers and errors as JSON.
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

/// How to run a trial.
#[derive(Clone, Copy, Debug, Args)]
pub struct TrialArgs {
    /// The old rules come back after this time, 10s to 1h; by default the `trial` setting in config.toml, else 60s
    #[arg(long, value_name = "TIME", value_parser = trial_time)]
    pub confirm_within: Option<Duration>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Allow the plan to remove kept rules
    #[arg(long)]
    pub replace: bool,
    /// Go on even if a new SSH login of yours, or one that may be yours, would be locked out
    #[arg(long)]
    pub allow_lockout: bool,
    /// Go on even if the kernel cannot end the trial on its own
    #[arg(long)]
    pub without_fuse: bool,
    /// Go on even if the change cannot be rehearsed in a throw-away namespace
    #[arg(long)]
    pub without_rehearsal: bool,
}

/// What `save` writes.
#[derive(Clone, Copy, Debug, Args)]
pub struct SaveArgs {
    /// Everything that is loaded
    #[arg(long, conflicts_with_all = ["unmanaged", "ours"])]
    pub all: bool,
    /// Everything but what Docker and other managers rebuild themselves
    #[arg(long, conflicts_with = "ours")]
    pub unmanaged: bool,
    /// Only portcullis' own chains; its own unit loads them after ufw, firewalld or whatever builds the rest
    #[arg(long)]
    pub ours: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Only show the difference
    #[arg(long)]
    pub dry_run: bool,
    /// Refuse if boot would not load the written files
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
    /// Print on standard error how long reading and judging took
    #[arg(long)]
    pub timings: bool,
}

/// The packet that `trace` asks about. An absent field means *any*; where that matters, the verdict is *depends*.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// What to read
    #[command(flatten)]
    pub input: Input,
    /// A file with one packet per line: JSON objects with the names of these options; so are the answers
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
    /// Destination address; by default any address of the host
    #[arg(long)]
    pub dst: Option<IpAddr>,
    /// Interface on which it arrives; by default any but lo
    #[arg(long)]
    pub in_interface: Option<String>,
    /// Source port, a number or the name of a service
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub sport: Option<u16>,
    /// TCP flags, e.g. ACK or SYN,ACK; by default SYN alone, which opens a connection
    #[arg(long)]
    pub tcp_flags: Option<String>,
    /// When it arrives, e.g. 2026-11-24T08:00:00Z, for rules with dates
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
