//! How long a user waits for "who can get in" on a large host: 100,000 rules shaped like kube-proxy's (services, their
//! endpoints, 5,000 flat filter rules) and 30 endpoints, compared with the time that `iptables-save` needs to print
//! those rules.
//!
//! `cargo bench --bench analyse`, or `cargo bench --bench analyse -- WORDS` for the lines that contain these words.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench prints figures, measures time and runs tools"
)]

#[path = "tool.rs"]
mod tool;

mod shapes;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use portcullis::analyse::{Analysis, shadowed};
use portcullis::model::{Family, LocalAddr, Net, Route, Source, View};
use portcullis::syntax::iptables_save;
use tool::save_time;

/// About this many rules: 5,000 flat ones in the filter table, and eleven for each service.
fn kube(rules: usize) -> String {
    let services = (rules - 5_000) / 11;
    let (mut first, mut svc, mut sep) = (String::new(), String::new(), String::new());
    let mut chains = String::new();
    for s in 0..services {
        let ip = format!("10.{}.{}.{}", 96 + s / 65_536, s / 256 % 256, s % 256);
        let name = format!("ns{}/service-{s}:http", s % 50);
        writeln!(
            first,
            "-A KUBE-SERVICES -d {ip}/32 -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport {} \
            -j KUBE-SVC-{s:016}",
            80 + s % 7
        )
        .unwrap();
        writeln!(chains, ":KUBE-SVC-{s:016} - [0:0]").unwrap();
        writeln!(
            svc,
            "-A KUBE-SVC-{s:016} ! -s 10.244.0.0/16 -d {ip}/32 -p tcp -m comment --comment \"{name} cluster IP\" \
            -m tcp --dport {} -j KUBE-MARK-MASQ",
            80 + s % 7
        )
        .unwrap();
        for e in 0..3 {
            let pod = format!("10.244.{}.{}", s / 250 % 250, (s + e * 83) % 250 + 1);
            let n = s * 3 + e;
            writeln!(chains, ":KUBE-SEP-{n:016} - [0:0]").unwrap();
            if e < 2 {
                writeln!(
                    svc,
                    "-A KUBE-SVC-{s:016} -m comment --comment {name} -m statistic --mode random --probability \
                    0.{}000000000 -j KUBE-SEP-{n:016}",
                    3 + e * 2
                )
                .unwrap();
            } else {
                writeln!(svc, "-A KUBE-SVC-{s:016} -m comment --comment {name} -j KUBE-SEP-{n:016}").unwrap();
            }
            writeln!(sep, "-A KUBE-SEP-{n:016} -s {pod}/32 -m comment --comment {name} -j KUBE-MARK-MASQ").unwrap();
            writeln!(
                sep,
                "-A KUBE-SEP-{n:016} -p tcp -m comment --comment {name} -m tcp -j DNAT --to-destination {pod}:8080"
            )
            .unwrap();
        }
    }
    let mut nodeports = String::new();
    for p in 0..10 {
        writeln!(
            nodeports,
            "-A KUBE-NODEPORTS -p tcp -m comment --comment ns/node-{p} -m tcp --dport {} -j KUBE-SVC-{:016}",
            30_000 + p,
            p * 7
        )
        .unwrap();
    }
    let mut flat = String::new();
    for i in 0..5_000 {
        let to = if i % 3 == 0 { "DROP" } else { "ACCEPT" };
        let port = [22, 80, 111, 443, 2049, 9100, 20048, 30_003][i % 8];
        writeln!(
            flat,
            "-A INPUT -s {}.{}.{}.0/24 -p tcp -m tcp --dport {port} -j {to}",
            20 + i % 180,
            i / 256 % 256,
            i % 256
        )
        .unwrap();
    }
    format!(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\n\
        {flat}COMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        :POSTROUTING ACCEPT [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-SERVICES - [0:0]\n\
        {chains}-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
        -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n\
        {nodeports}{first}-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports\" -m addrtype \
        --dst-type LOCAL -j KUBE-NODEPORTS\n{svc}{sep}COMMIT\n"
    )
}

/// The host: live addresses, 20 listening sockets and 10 node ports.
fn host(text: &str, captured: bool) -> View {
    let (set, _) = iptables_save::read(text, Family::V4);
    let mut v = View::empty(if captured { Source::Capture } else { Source::Live }, "bench");
    v.v4 = Some(set);
    let socket = |port| portcullis::model::Socket {
        proto: portcullis::model::Proto::TCP,
        local: [0, 0, 0, 0].into(),
        port,
        device: None,
        v6only: None,
        process: None,
    };
    v.sockets = Some([22, 80, 111, 443, 2049, 9100, 20048].into_iter().chain(40_000..40_013).map(socket).collect());
    if !captured {
        let at = |a: [u8; 4], prefix, i: &str| LocalAddr { addr: a.into(), prefix, interface: i.to_owned() };
        v.addrs =
            Some(vec![at([127, 0, 0, 1], 8, "lo"), at([192, 0, 2, 10], 24, "eth0"), at([10, 244, 0, 1], 24, "cni0")]);
        let to = |n: &str, i: &str| Route { net: Net::parse(n, Family::V4).unwrap(), interface: i.to_owned() };
        v.routes = Some(vec![to("0.0.0.0/0", "eth0"), to("10.244.0.0/16", "cni0")]);
        v.forwarding = [Some(true), None];
    }
    v
}

fn best(mut work: impl FnMut()) -> Duration {
    (0..3)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .min()
        .unwrap()
}

/// The peak memory of a process that reads and judges the rules of a file, in bytes.
fn peak(text: &str) -> Option<usize> {
    let mut file = tempfile::NamedTempFile::new().ok()?;
    file.write_all(text.as_bytes()).ok()?;
    let out = Command::new(std::env::current_exe().ok()?).env(JUDGE, file.path()).output().ok()?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

/// The variable that turns this program into such a process.
const JUDGE: &str = "PORTCULLIS_BENCH_JUDGE";

fn judge_only(file: &std::path::Path) {
    let view = host(&std::fs::read_to_string(file).unwrap(), false);
    assert!(!Analysis::new(&view).report().endpoints.is_empty());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib: usize = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.trim_end_matches("kB").trim().parse().ok())
        .unwrap();
    println!("{}", kib * 1024);
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Prints one line: the time for the exposure of all endpoints, and for the whole report.
fn time(name: &str, view: &View) {
    let count = Analysis::new(view).report().endpoints.len();
    let all = best(|| assert_eq!(Analysis::new(view).report().endpoints.len(), count));
    println!("{name}: {count} endpoints judged in {:.1} ms", ms(all));
}

fn main() {
    if let Some(file) = std::env::var_os(JUDGE) {
        return judge_only(file.as_ref());
    }
    // cargo adds `--bench`.
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| only.as_ref().is_none_or(|o| name.contains(o.as_str()));
    println!("rulesets in kube-proxy's shape");
    for rules in [50_000, 100_000, 200_000, 400_000].into_iter().filter(|r| wanted(&format!("{r} rules"))) {
        let text = kube(rules);
        let begun = Instant::now();
        let live = host(&text, false);
        let read = begun.elapsed();
        time(&format!("{rules} rules, {} MB, live", text.len() / 1_000_000), &live);
        time(&format!("{rules} rules, {} MB, captured", text.len() / 1_000_000), &host(&text, true));
        println!("  reading the text: {:.1} ms", ms(read));
        let begun = Instant::now();
        let found: usize = live.v4.iter().map(|set| shadowed(set).len()).sum();
        println!("  rules that can never match: {found}, found in {:.1} ms", ms(begun.elapsed()));
        drop(live);
        match peak(&text) {
            Some(bytes) => {
                println!("  reading and judging took {:.1} times the text", bytes as f64 / text.len() as f64);
            }
            None => println!("NOT RUN: peak of memory (needs /proc)"),
        }
        if rules == 100_000 {
            for backend in ["nft", "legacy"] {
                match save_time(&text, backend) {
                    Some(t) => println!("  iptables-{backend}-save: {:.1} ms", ms(t)),
                    None => println!("NOT RUN: iptables-{backend}-save (needs root and the tool)"),
                }
            }
        }
    }
    println!("shapes that hurt");
    for (name, rules, sets) in shapes::all().into_iter().filter(|s| wanted(s.0)) {
        let mut view = host(&rules, false);
        view.ipsets = Some(portcullis::syntax::ipset::read(&sets).0);
        let begun = Instant::now();
        let judged = Analysis::new(&view).report();
        println!("{name}: {} endpoints judged in {:.1} ms", judged.endpoints.len(), ms(begun.elapsed()));
    }
}
