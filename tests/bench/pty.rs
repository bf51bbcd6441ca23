//! What an operator on a slow line feels, in a pseudo-terminal of 80x24, compared in the same run with programs that
//! they know: delay of the first byte after a cursor key, bytes per cursor step, bytes per scrolled line, bytes and
//! wake-ups while idle, and the bytes that a trial's clock costs.
//!
//! `cargo bench --bench pty`

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

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use pty::Pty;

/// After this much silence the program is done with a key.
const SILENCE: Duration = Duration::from_millis(25);
const DOWN: &str = "\x1b[B";
const UP: &str = "\x1b[A";

/// What one program costs. `None`: it has no such function.
#[derive(Default)]
struct Cost {
    name: &'static str,
    /// Delay of the first byte after a cursor key in microseconds: median and 95th of 100.
    first: (u128, u128),
    step: usize,
    scrolled: Option<usize>,
    idle_bytes: usize,
    wakes: u64,
}

/// Presses a key, and waits for the first byte and then for silence.
fn press(p: &mut Pty, key: &str) -> (Duration, usize) {
    let (before, begun) = (p.received, Instant::now());
    p.press(key);
    if !p.take(Duration::from_millis(300)) {
        // At the end of a list the key changes nothing.
        return (Duration::ZERO, 0);
    }
    let first = p.last.saturating_duration_since(begun);
    p.quiet(SILENCE);
    (first, p.received - before)
}

/// Cursor steps inside the window: six up and six down in turn.
fn steps(p: &mut Pty, cost: &mut Cost, n: usize) {
    let mut times = Vec::new();
    let mut bytes = 0;
    for i in 0..n {
        let (time, b) = press(p, if i % 12 < 6 { DOWN } else { UP });
        if b > 0 {
            times.push(time.as_micros());
        }
        bytes += b;
    }
    times.sort_unstable();
    cost.first = (times[times.len() / 2], times[times.len() * 95 / 100]);
    cost.step = bytes / n;
}

/// Scrolls down a long list.
fn scroll(p: &mut Pty, n: usize) -> usize {
    for _ in 0..30 {
        press(p, DOWN);
    }
    (0..n).map(|_| press(p, DOWN).1).sum::<usize>() / n
}

fn idle(p: &mut Pty, cost: &mut Cost) {
    p.quiet(Duration::from_millis(400));
    let (bytes, wakes, end) = (p.received, p.switches(), Instant::now() + Duration::from_secs(5));
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        p.take(left);
    }
    cost.idle_bytes = p.received - bytes;
    cost.wakes = p.switches() - wakes;
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A chain of 10,000 rules of mixed length.
fn long_rules(to: &Path) {
    let mut text = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n".to_owned();
    for i in 0..10_000 {
        let from = format!("192.{}.{}.0/24", i / 250 % 200, i % 250);
        match i % 3 {
            0 => writeln!(text, "-A INPUT -s {from} -p tcp -m tcp --dport {} -j ACCEPT", 1 + i % 6000),
            1 => writeln!(
                text,
                "-A INPUT -s {from} -i eth{} -p udp -m udp --dport {} -m comment --comment \"site {i}\" -j DROP",
                i % 4,
                1 + i % 6000
            ),
            _ => writeln!(
                text,
                "-A INPUT -s {from} -m conntrack --ctstate NEW -j REJECT --reject-with icmp-port-unreachable"
            ),
        }
        .unwrap();
    }
    text.push_str("COMMIT\n");
    std::fs::write(to, text).unwrap();
}

fn ours(place: &Path) -> Vec<Cost> {
    let mut p = Pty::start(&["demo"], &[]);
    p.see("portmapper");
    p.quiet(Duration::from_millis(400));
    let mut services = Cost { name: "portcullis Services", ..Cost::default() };
    press(&mut p, UP);
    steps(&mut p, &mut services, 120);
    idle(&mut p, &mut services);
    let long = place.join("long.save");
    long_rules(&long);
    let mut p = Pty::start(&[long.to_str().unwrap()], &[]);
    p.see("Ports that rules name");
    p.gone("being worked out");
    p.press("2");
    p.see("policy DROP");
    p.press("\r");
    p.quiet(Duration::from_millis(400));
    let mut chains = Cost { name: "portcullis Chains, 10,000 rules", ..Cost::default() };
    steps(&mut p, &mut chains, 120);
    chains.scrolled = Some(scroll(&mut p, 200));
    idle(&mut p, &mut chains);
    vec![services, chains]
}

/// Bytes per second that the trial's clock costs, and how many presses of a held key are still drawn after its release.
fn trial_clock() -> usize {
    let mut p = Pty::start(&["demo"], &[]);
    p.see("portmapper");
    for (key, then) in [
        ("p", "Who may use"),
        ("192.0.2.11\r", "staged: 1 node"),
        ("3", "a new login still gets in"),
        ("y", "Apply on trial for 60 s"),
        ("\r", "The old rules come back in"),
    ] {
        p.press(key);
        p.see(then);
    }
    // The proof appears once; the clock goes on.
    p.see("proof of access");
    p.quiet(Duration::from_millis(400));
    let before = p.received;
    let end = Instant::now() + Duration::from_secs(10);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        p.take(left);
    }
    (p.received - before) / 10
}

/// Holds a key: 300 presses as fast as the line takes them. Returns how long after the last one the screen is
/// up to date.
fn held(place: &Path) -> Duration {
    let mut p = Pty::start(&[place.join("long.save").to_str().unwrap()], &[]);
    p.see("Ports that rules name");
    p.gone("being worked out");
    p.press("2");
    p.see("policy DROP");
    p.press("\r");
    p.quiet(Duration::from_millis(400));
    for _ in 0..299 {
        p.press(DOWN);
    }
    let end = Instant::now();
    p.press(DOWN);
    p.see("INPUT rule 301");
    p.last.saturating_duration_since(end)
}

fn other(name: &'static str, program: &str, args: &[&str], ready: &str, scrolls: bool) -> Option<Cost> {
    if !Path::new(program).exists() {
        println!("NOT RUN: {program} is not installed");
        return None;
    }
    let mut p = Pty::run(program, args, &[], (80, 24), dir());
    p.see(ready);
    p.quiet(Duration::from_millis(600));
    let mut cost = Cost { name, ..Cost::default() };
    steps(&mut p, &mut cost, 120);
    cost.scrolled = scrolls.then(|| scroll(&mut p, 200));
    idle(&mut p, &mut cost);
    Some(cost)
}

fn main() {
    let place = dir();
    let mut costs = ours(place.path());
    let clock = trial_clock();
    let held = held(place.path());
    let long = place.path().join("long.save");
    costs.extend(other("less", "/usr/bin/less", &[long.to_str().unwrap()], "filter", true));
    let files = place.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for i in 0..1000 {
        std::fs::write(files.join(format!("file-{i:04}-{}", "x".repeat(i % 17))), "x").unwrap();
    }
    costs.extend(other(
        "mc",
        "/usr/bin/mc",
        &["-u", files.to_str().unwrap(), files.to_str().unwrap()],
        "file-0001",
        true,
    ));
    costs.extend(other("htop", "/usr/bin/htop", &[], "Load average", false));

    println!(
        "{:32} {:>12} {:>10} {:>8} {:>8} {:>10} {:>10}",
        "at 80x24", "first byte", "95 of 100", "a step", "a line", "idle 5 s", "wake-ups"
    );
    for c in &costs {
        let line = c.scrolled.map_or_else(|| "-".to_owned(), |n| format!("{n} B"));
        println!(
            "{:32} {:>9} us {:>7} us {:>6} B {line:>8} {:>8} B {:>10}",
            c.name, c.first.0, c.first.1, c.step, c.idle_bytes, c.wakes
        );
    }
    println!(
        "the clock of a trial: {clock} B a second; the screen is current {} us after the last of 300 held keys",
        held.as_micros()
    );
    let over: Vec<String> = costs
        .iter()
        .filter(|c| c.name.starts_with("portcullis"))
        .flat_map(|c| {
            let bytes = [
                ("a cursor step", c.step, 300),
                ("a scrolled line", c.scrolled.unwrap_or(0), 600),
                ("idle", c.idle_bytes, 0),
                ("wake-ups", c.wakes as usize, 0),
            ];
            bytes
                .into_iter()
                .filter(|(_, n, max)| n > max)
                .map(|(what, n, max)| format!("{}: {what}: {n}, {max} at most", c.name))
                .collect::<Vec<_>>()
        })
        .chain((clock > 60).then(|| format!("the clock of a trial: {clock} B a second, 60 at most")))
        .collect();
    if !over.is_empty() {
        println!("OVER: {}", over.join("\nOVER: "));
        std::process::exit(1);
    }
}
