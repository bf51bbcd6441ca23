//! The tools of the built-in host: what they print, and what `iptables-restore` does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::host::{Cmd, Output};
use crate::model::{Family, Ruleset, Table};
use crate::syntax::iptables_save;

/// The tools installed on the host.
pub const NAMES: &[&str] = &[
    "iptables",
    "ip6tables",
    "iptables-save",
    "ip6tables-save",
    "iptables-restore",
    "ip6tables-restore",
    "rpcinfo",
    "ss",
    "ip",
    "ipset",
    "docker",
    "systemctl",
];

const VERSION: &str = "v1.8.9 (nf_tables)";

/// Runs a tool; `None` when it is not installed. `wall` is the wall clock in seconds since 1970 UTC.
pub fn answer(cmd: &Cmd, rules: &mut [Ruleset; 2], wall: i64) -> Option<Output> {
    let args: Vec<&str> = cmd.args.iter().map(String::as_str).collect();
    let family = if cmd.tool.starts_with("ip6") { Family::V6 } else { Family::V4 };
    let set = &mut rules[family.index()];
    Some(match cmd.tool.as_str() {
        tool @ ("iptables" | "ip6tables") if matches!(args[..], ["--version" | "-V"]) => {
            printed(&format!("{tool} {VERSION}\n"))
        }
        tool @ ("iptables" | "ip6tables") if args.first() == Some(&"-S") => {
            chain(tool, args.get(1).copied().unwrap_or_default(), set)
        }
        tool @ ("iptables-save" | "ip6tables-save") => save(tool, &args, set, wall),
        tool @ ("iptables-restore" | "ip6tables-restore") => {
            restore(tool, &args, set, &String::from_utf8_lossy(cmd.stdin.as_deref().unwrap_or_default()))
        }
        "rpcinfo" => printed(if args.contains(&"-p") {
            include_str!("../../../assets/demo/rpcinfo-p.txt")
        } else {
            include_str!("../../../assets/demo/rpcinfo.txt")
        }),
        "ss" => ss(&args),
        "ip" if args.contains(&"-j") => ip(&args),
        "ipset" if args.contains(&"save") => printed(""),
        "docker" if args.contains(&"ps") => printed(include_str!("../../../assets/demo/docker-ps.txt")),
        tool if NAMES.contains(&tool) => {
            failed(&format!("{tool}: the demo host does not know these arguments: {}", args.join(" ")), 2)
        }
        _ => return None,
    })
}

/// `systemctl [--quiet] enable UNIT...` links a unit where its `[Install]` section says; the other verbs (start,
/// reload) change no file.
pub fn systemctl(cmd: &Cmd, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Output {
    let mut words = cmd.args.iter().map(String::as_str).filter(|a| !a.starts_with('-'));
    match words.next() {
        Some("daemon-reload" | "start") => printed(""),
        Some("enable") => {
            for unit in words {
                let dirs = ["/etc/systemd/system", "/usr/lib/systemd/system"];
                let Some(text) = dirs.iter().find_map(|d| files.get(&Path::new(d).join(unit)).cloned()) else {
                    return failed(&format!("Failed to enable unit: Unit file {unit} does not exist."), 1);
                };
                let by: Vec<String> = String::from_utf8_lossy(&text)
                    .lines()
                    .filter_map(|l| l.strip_prefix("WantedBy="))
                    .flat_map(str::split_whitespace)
                    .map(str::to_owned)
                    .collect();
                for other in by {
                    files.insert(Path::new(dirs[0]).join(format!("{other}.wants")).join(unit), text.clone());
                }
            }
            printed("")
        }
        _ => failed(&format!("systemctl: the demo host does not know these arguments: {}", cmd.args.join(" ")), 1),
    }
}

fn printed(text: &str) -> Output {
    Output { status: 0, stdout: text.as_bytes().to_vec(), stderr: Vec::new() }
}

/// The output of a tool that failed with a message.
pub fn failed(message: &str, status: i32) -> Output {
    Output { status, stdout: Vec::new(), stderr: format!("{message}\n").into_bytes() }
}

/// `iptables -S CHAIN`.
fn chain(tool: &str, name: &str, set: &Ruleset) -> Output {
    let pristine = Table::pristine("filter");
    let Some(chain) = set.chain("filter", name).or_else(|| pristine.chain(name)) else {
        return failed(
            &format!("{tool} {VERSION}: chain `{name}' in table `filter' is incompatible, use 'nft' tool."),
            1,
        );
    };
    let head = chain.policy.map_or_else(|| format!("-N {name}\n"), |policy| format!("-P {name} {policy}\n"));
    printed(&chain.rules.iter().fold(head, |all, r| all + &r.line_in(name) + "\n"))
}

/// `iptables-save [-c] [-t TABLE]`, with its comment lines.
fn save(tool: &str, args: &[&str], set: &Ruleset, wall: i64) -> Output {
    let counters = args.iter().any(|a| matches!(*a, "-c" | "--counters"));
    let only = value_of(args, &["-t", "--table"]);
    let time =
        jiff::Timestamp::from_second(wall).map(|t| t.strftime("%a %b %e %H:%M:%S %Y").to_string()).unwrap_or_default();
    let mut out = String::new();
    let mut tables: Vec<Table> = set.tables.iter().filter(|t| only.is_none_or(|o| o == t.name)).cloned().collect();
    // With the nft variant a table that is named is shown even if nothing has used it yet.
    if let (Some(name), true) = (only, tables.is_empty()) {
        if Table::builtin_chains(name).is_empty() {
            return failed(&format!("{tool} {VERSION}: cannot open table {name}"), 1);
        }
        tables.push(Table::pristine(name));
    }
    for table in tables {
        let mut one = Ruleset::new(set.family);
        one.tables.push(table);
        let body = iptables_save::write(&one, counters);
        let _ = write!(out, "# Generated by {tool} {VERSION} on {time}\n{body}# Completed on {time}\n");
    }
    printed(&out)
}

/// `iptables-restore [--noflush] [--test] [-w N]`: one transaction per table; tables before a bad one stay loaded.
fn restore(tool: &str, args: &[&str], set: &mut Ruleset, script: &str) -> Output {
    let keep = args.iter().any(|a| matches!(*a, "-n" | "--noflush"));
    let test = args.iter().any(|a| matches!(*a, "-t" | "--test"));
    let mut done = set.clone();
    let mut chunk = String::new();
    let mut outcome = printed("");
    for (i, line) in script.lines().enumerate() {
        // `[packets:bytes]` before a rule sets its counters; here they start at zero.
        let bare = line
            .trim_start()
            .strip_prefix('[')
            .and_then(|l| l.split_once(']'))
            .map_or(line, |(_, rest)| rest.trim_start());
        // Empty lines are kept so that line numbers stay right.
        if chunk.is_empty() {
            chunk = "\n".repeat(i);
        }
        chunk.push_str(bare);
        chunk.push('\n');
        if bare.trim() != "COMMIT" {
            continue;
        }
        let mut next = done.clone();
        if let Some(name) = chunk
            .lines()
            .find_map(|l| l.trim().strip_prefix('*'))
            .filter(|n| !keep && !Table::builtin_chains(n).is_empty())
        {
            *next.table_or_new(name) = Table::pristine(name);
        }
        if let Err(e) = next.apply(&chunk) {
            outcome = failed(&format!("{tool} {VERSION}: line {} failed: {}", e.line, e.message), 1);
            break;
        }
        done = next;
        chunk.clear();
    }
    if outcome.status == 0 && !chunk.trim().is_empty() && chunk.lines().any(|l| l.starts_with('*')) {
        outcome = failed(&format!("{tool}: COMMIT expected at line {}", script.lines().count() + 1), 1);
    }
    if !test {
        *set = done;
    }
    outcome
}

/// `ss` for TCP and UDP: listening sockets with `-l`, else established ones; `-H`, `-t`, `-u`, `-p`, `-e` as in ss(8).
fn ss(args: &[&str]) -> Output {
    let flag = |c: char| args.iter().any(|a| a.starts_with('-') && !a.starts_with("--") && a.contains(c));
    let (tcp, udp) = (flag('t'), flag('u'));
    let text = if flag('l') {
        include_str!("../../../assets/demo/ss-listening.txt")
    } else {
        include_str!("../../../assets/demo/ss-established.txt")
    };
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        let shown = match i {
            0 => !flag('H'),
            _ => tcp == udp || line.starts_with(if tcp { "tcp" } else { "udp" }),
        };
        if !shown {
            continue;
        }
        let mut line = if flag('p') { line } else { line.split_once(" users:").map_or(line, |(l, _)| l) }.to_owned();
        // An IPv6 socket that also takes IPv4 would be shown as `*`; with -e these are marked as IPv6 only.
        if flag('e') && line.contains("[::]:*") {
            line.push_str(" v6only:1 <->");
        }
        // ss leaves out columns that the filter has fixed.
        if args.contains(&"state") {
            line = without_column(&line, 1);
        }
        if tcp != udp {
            line = without_column(&line, 0);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    printed(&out)
}

/// The line without its n-th word and the spaces after it.
fn without_column(line: &str, n: usize) -> String {
    let start = line.split_whitespace().nth(n).map_or(line.len(), |w| w.as_ptr() as usize - line.as_ptr() as usize);
    let rest = line[start..].trim_start_matches(|c: char| !c.is_whitespace()).trim_start();
    format!("{}{rest}", &line[..start])
}

/// `ip [-4|-6] -j addr|route`.
fn ip(args: &[&str]) -> Output {
    let what = args.iter().find(|a| !a.starts_with('-')).copied().unwrap_or_default();
    match what {
        "a" | "addr" | "address" => printed(include_str!("../../../assets/demo/ip-addr.json")),
        "r" | "route" if args.contains(&"-6") => printed(include_str!("../../../assets/demo/ip-route6.json")),
        "r" | "route" => printed(include_str!("../../../assets/demo/ip-route4.json")),
        _ => failed(&format!("Object \"{what}\" is unknown, try \"ip help\"."), 255),
    }
}

fn value_of<'a>(args: &[&'a str], names: &[&str]) -> Option<&'a str> {
    let at = args.iter().position(|a| names.contains(a))?;
    args.get(at + 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tool: &str, args: &[&str]) -> String {
        let mut rules = [Ruleset::new(Family::V4), Ruleset::new(Family::V6)];
        answer(&Cmd::new(tool, args), &mut rules, 0).unwrap().text()
    }

    #[test]
    fn sockets_by_protocol_and_state() {
        let all = run("ss", &["-Htulnp"]);
        assert!(all.lines().all(|l| l.starts_with("tcp") || l.starts_with("udp")), "{all}");
        assert!(all.contains("rpcbind") && all.contains("docker-proxy"));
        let tcp = run("ss", &["-H", "-t", "-l", "-n"]);
        assert!(tcp.lines().all(|l| l.starts_with("LISTEN ") && !l.contains("users:")), "{tcp}");
        let peers = run("ss", &["-Htn", "state", "established"]);
        assert!(peers.lines().all(|l| l.starts_with("0 ")) && peers.contains("10.0.0.5:51834"), "{peers}");
    }

    #[test]
    fn an_untouched_table_is_shown_only_by_name() {
        assert_eq!(run("iptables-save", &["-c"]), "");
        assert!(run("iptables-save", &["-t", "filter"]).contains(":INPUT ACCEPT [0:0]"));
    }

    #[test]
    fn addresses_and_routes_are_json() {
        for args in [&["-j", "addr"][..], &["-4", "-j", "route"], &["-6", "-j", "route"]] {
            let v: serde_json::Value = serde_json::from_str(&run("ip", args)).unwrap();
            assert!(v.as_array().unwrap().len() > 2, "{args:?}");
        }
    }

    #[test]
    fn a_script_without_commit_changes_nothing() {
        let mut rules = [Ruleset::new(Family::V4), Ruleset::new(Family::V6)];
        let cmd = Cmd::new("iptables-restore", &["-n"]).input("*filter\n-A INPUT -j DROP\n");
        assert_eq!(answer(&cmd, &mut rules, 0).unwrap().status, 1);
        assert!(rules[0].tables.is_empty());
    }
}
