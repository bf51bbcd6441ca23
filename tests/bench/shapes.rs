//! Rulesets that would be slow if the walk followed every path separately: many flat rules, large ipsets, chains that
//! branch at each level, rules without a certain answer.

use std::fmt::Write as _;

/// Name of each shape, and its two texts.
pub(crate) fn all() -> Vec<(&'static str, String, String)> {
    let plain = |name, input: String, chains: String| (name, filter(&chains, &input), String::new());
    vec![
        plain(
            "10,000 flat: sources, ports negated",
            flat(10_000, |i| {
                format!(
                    "-s 10.{}.{}.0/25 -p tcp -m tcp ! --dport {} -j {}",
                    i / 256,
                    i % 256,
                    1 + i % 5000,
                    if i % 3 == 0 { "DROP" } else { "ACCEPT" },
                )
            }),
            String::new(),
        ),
        plain(
            "10,000 flat: both ends and source ports",
            flat(10_000, |i| {
                format!(
                    "-s 10.{}.{}.0/25 -d 192.0.2.{} -p tcp -m tcp --sport {} -j {}",
                    i / 256,
                    i % 256,
                    i % 32,
                    1 + i,
                    if i % 3 == 0 { "DROP" } else { "ACCEPT" },
                )
            }),
            String::new(),
        ),
        plain(
            "10,000 flat: limits, no source",
            flat(10_000, |i| format!("-p tcp -m limit --limit {}/min -j ACCEPT", 1 + i)),
            String::new(),
        ),
        plain(
            "10,000 flat: limits by source",
            flat(10_000, |i| {
                format!("-s 10.{}.{}.0/25 -p tcp -m limit --limit {}/min -j ACCEPT", i / 256, i % 256, 1 + i)
            }),
            String::new(),
        ),
        plain(
            "5,000 flat: marks",
            flat(5_000, |i| format!("-s 10.{}.{}.0/25 -j MARK --set-xmark {i:#x}/0xffffffff", i / 256, i % 256)),
            String::new(),
        ),
        plain(
            "30 levels, two jumps each",
            "-A INPUT -j L0\n".to_owned(),
            levels(30, |_| [String::new(), String::new()]),
        ),
        plain(
            "30 levels, two jumps each, by source",
            "-A INPUT -j L0\n".to_owned(),
            levels(30, |i| [format!("-s {}.0.0.0/9 ", 10 + i), format!("-s {}.128.0.0/9 ", 10 + i)]),
        ),
        plain(
            "30 levels, two jumps each, maybe",
            "-A INPUT -j L0\n".to_owned(),
            levels(30, |_| ["-m limit --limit 5/min ".to_owned(), "-m limit --limit 9/min ".to_owned()]),
        ),
        plain(
            "10 levels, two jumps each, masks with holes",
            "-A INPUT -j L0\n".to_owned(),
            levels(10, |i| [format!("-s 0.0.0.{}/0.0.0.255 ", i * 3), format!("-s 0.0.{}.0/0.0.255.0 ", i * 5)]),
        ),
        (
            "50 ipsets of 10,000 networks",
            filter(
                "",
                &flat(50, |i| format!("-m set --match-set s{i} src -j {}", if i % 2 == 0 { "DROP" } else { "ACCEPT" })),
            ),
            sets(50, "hash:net", |s, i| format!("{}.{}.{}.0/24", 20 + s, i / 256, i % 256)),
        ),
        (
            "1 ipset of 50,000 addresses and ports",
            filter("", "-A INPUT -m set --match-set s0 src,dst -j ACCEPT\n"),
            sets(1, "hash:ip,port", |_, i| {
                format!("20.{}.{}.{},tcp:{}", i / 65_536, i / 256 % 256, i % 256, 1 + i % 30_000)
            }),
        ),
        (
            "1 ipset of 50,000 networks by pairs",
            filter("", "-A INPUT -m set --match-set s0 src,dst -j ACCEPT\n"),
            sets(1, "hash:net,net", |_, i| format!("20.{}.{}.0/25,192.0.2.{}", i / 256 % 256, i % 256, i % 64)),
        ),
    ]
}

fn filter(chains: &str, input: &str) -> String {
    let declared: String = chains
        .lines()
        .filter_map(|l| l.split(' ').nth(1))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .map(|c| format!(":{c} - [0:0]\n"))
        .collect();
    format!("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{declared}{input}{chains}COMMIT\n")
}

fn flat(count: usize, rule: impl Fn(usize) -> String) -> String {
    (0..count).map(|i| format!("-A INPUT {}\n", rule(i))).collect()
}

/// Each level jumps to the next one twice: 2^levels paths.
fn levels(count: usize, matches: impl Fn(usize) -> [String; 2]) -> String {
    let mut out = String::new();
    for i in 0..count {
        for m in matches(i) {
            writeln!(out, "-A L{i} {m}-j L{}", i + 1).unwrap();
        }
    }
    writeln!(out, "-A L{count} -p tcp -m tcp --dport 22 -j ACCEPT").unwrap();
    out
}

fn sets(count: usize, kind: &str, entry: impl Fn(usize, usize) -> String) -> String {
    let mut out = String::new();
    for s in 0..count {
        writeln!(out, "create s{s} {kind} family inet hashsize 1024 maxelem 65536").unwrap();
        for i in 0..(if count == 1 { 50_000 } else { 10_000 }) {
            writeln!(out, "add s{s} {}", entry(s, i)).unwrap();
        }
    }
    out
}
