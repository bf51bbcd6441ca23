//! How large a text may be: `iptables-save` output of 100,000 and 1,000,000 rules, read into memory in comparison with
//! the tool that prints it; and the time from the start of the program to a full screen, to the answer to a key, and to
//! a rule that is searched for.
//!
//! `cargo bench --bench read`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench prints figures, measures time and runs programs"
)]

#[path = "../common/pty.rs"]
mod pty;
#[path = "tool.rs"]
mod tool;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use portcullis::model::Family;
use portcullis::syntax::iptables_save;
use pty::Pty;

/// The variable that makes this program only read a file and print how much memory that took.
const READER: &str = "PORTCULLIS_BENCH_READ";

/// About 103 bytes per rule, like the rules of a host with many networks.
fn flat(rules: usize) -> String {
    let mut text = String::from("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    for i in 0..rules {
        let (a, b, c) = (i / 65_536 % 200 + 20, i / 256 % 256, i % 256);
        let port = [22, 80, 111, 443, 2049, 9100, 20_048, 3003][i % 8];
        writeln!(
            text,
            "-A INPUT -s {a}.{b}.{c}.0/24 -p tcp -m tcp --dport {port} -m comment --comment \"rack {b} node \
            {i:07}\" -j ACCEPT"
        )
        .unwrap();
    }
    text.push_str("COMMIT\n");
    text
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A field of /proc/self/status, in bytes.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(field)).unwrap().to_owned();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn reader(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let before = memory("VmRSS");
    let (set, _) = iptables_save::read(&text, Family::V4);
    println!("{:.2}", (memory("VmRSS") - before) / text.len() as f64);
    assert!(set.rule_count() > 0);
}

/// The time from the start of the program to the list of services, to the answer to a key, and to a rule that was
/// searched for.
fn screen(file: &Path, last: &str) -> [Duration; 3] {
    let begun = Instant::now();
    let mut p = Pty::start(&[&file.display().to_string()], &[]);
    p.see("20048/tcp");
    let listed = begun.elapsed();
    let pressed = Instant::now();
    p.press("?");
    p.see("One line up");
    let answered = pressed.elapsed();
    p.press(pty::ESC);
    p.gone("One line up");
    p.press("2");
    p.see("policy DROP");
    p.press("/");
    p.press(last);
    let searched = Instant::now();
    p.press("\r");
    p.see("rules not shown)");
    [listed, answered, searched.elapsed()]
}

/// The median of each over several runs.
fn median(runs: usize, mut run: impl FnMut() -> [Duration; 3]) -> [Duration; 3] {
    let all: Vec<[Duration; 3]> = (0..runs).map(|_| run()).collect();
    [0, 1, 2].map(|i| {
        let mut one: Vec<Duration> = all.iter().map(|a| a[i]).collect();
        one.sort();
        one[runs / 2]
    })
}

fn main() {
    if let Some(file) = std::env::var_os(READER) {
        return reader(Path::new(&file));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut few = Duration::ZERO;
    for rules in [10, 100_000, 1_000_000] {
        let text = flat(rules);
        let file = dir.path().join(format!("{rules}.save"));
        std::fs::write(&file, &text).unwrap();
        println!("{rules} rules, {:.1} MB", text.len() as f64 / 1e6);
        let read = (0..3)
            .map(|_| {
                let begun = Instant::now();
                let got = iptables_save::read(&text, Family::V4);
                let took = begun.elapsed();
                assert_eq!(got.0.rule_count(), rules);
                took
            })
            .min()
            .unwrap();
        println!("  read in {:.1} ms", ms(read));
        if rules == 100_000 {
            for backend in ["nft", "legacy"] {
                match tool::save_time(&text, backend) {
                    Some(t) => println!(
                        "  iptables-{backend}-save prints them in {:.1} ms: {:.1} times as long",
                        ms(t),
                        t.as_secs_f64() / read.as_secs_f64()
                    ),
                    None => println!("NOT RUN: iptables-{backend}-save (needs root and the tool)"),
                }
            }
        }
        if rules > 10 {
            let out = Command::new(std::env::current_exe().unwrap()).env(READER, &file).output().unwrap();
            println!("  in memory: {} times the text", String::from_utf8_lossy(&out.stdout).trim());
        }
        let [first, key, search] = median(5, || screen(&file, &format!("node {:07}", rules - 1)));
        println!(
            "  full screen after {:.1} ms; help {:.1} ms after its key; the last rule found in {:.1} ms",
            ms(first),
            ms(key),
            ms(search)
        );
        if rules == 10 {
            few = first;
        } else {
            println!("  the first full screen comes {:.1} ms later than with 10 rules", ms(first.saturating_sub(few)));
        }
    }
}
