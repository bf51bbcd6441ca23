//! Real listings from the field are read completely: no panic, no line vanishes, pairs agree, the kernel accepts them
//! again. The corpus is not part of the project: `PORTCULLIS_CORPUS`, or `../shared/corpus` next to it.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use crate::common;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use common::{Backend, Lab, not_run_here};
use portcullis::model::{Family, Ruleset, View};
use portcullis::observe::capture::{Input, captured};
use portcullis::syntax::iptables_save;

fn corpus() -> Option<PathBuf> {
    let dir = std::env::var_os("PORTCULLIS_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    // Not part of the project, so a fresh checkout never has it: reported, but not a failure in CI.
    not_run_here("the corpus of real listings is not here (PORTCULLIS_CORPUS)");
    None
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = ["list", "save", "save6", "spec", "rpcinfo", "exports"]
        .iter()
        .flat_map(|sub| std::fs::read_dir(dir.join(sub)).unwrap())
        .map(|f| f.unwrap().path())
        .collect();
    out.sort();
    out
}

fn read(path: &Path) -> (String, View) {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let view = captured(&[Input { name: "f".to_owned(), text: text.clone(), family: None }]);
    (text, view)
}

/// Lines that a diagnostic is about: its own, or "lines N to M".
fn remarked(view: &View) -> HashSet<usize> {
    view.diagnostics
        .iter()
        .flat_map(|d| {
            let range = d.message.strip_prefix("lines ").and_then(|r| {
                let mut words = r.split(' ');
                Some((words.next()?.parse::<usize>().ok()?, words.nth(1)?.parse::<usize>().ok()?))
            });
            range.map_or(d.line..=d.line, |(a, b)| a..=b)
        })
        .collect()
}

/// Headings, frames and command lines: they describe the lines around them.
fn is_frame(line: &str) -> bool {
    let bare = line.trim_start_matches(['#', ' ', '>', '\t']);
    line.starts_with(['#', ':', '*'])
        || bare == "COMMIT"
        || bare.starts_with("-P ")
        || bare.starts_with("-N ")
        || bare.starts_with("Chain ")
        || bare.contains("prot opt")
        || bare.starts_with("program")
        || line.contains("tables")
        || line.contains("rpcinfo")
        || ["Table:", "Tabelle:", "IPV4", "IPV6", "NAT:"].iter().any(|h| line.starts_with(h))
}

#[test]
fn no_line_vanishes() {
    let Some(dir) = corpus() else { return };
    let mut sums = BTreeMap::<String, [usize; 4]>::new();
    for path in files(&dir) {
        let (text, view) = read(&path);
        let rules: HashSet<usize> = [&view.v4, &view.v6]
            .into_iter()
            .flatten()
            .flat_map(|s| &s.tables)
            .flat_map(|t| &t.chains)
            .flat_map(|c| &c.rules)
            .map(|r| r.line as usize)
            .collect();
        let said = remarked(&view);
        let programs: HashSet<String> = view.rpc.iter().flatten().map(|s| s.program.to_string()).collect();
        let exports = path.extension().is_some_and(|e| e == "exports");
        let sum = sums.entry(path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned()).or_default();
        for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let line = line.trim();
            let service = line.split_whitespace().any(|w| programs.contains(w)) || line.contains("local");
            let client = exports
                && view
                    .exports
                    .iter()
                    .any(|c| line.contains(c.split('/').next().unwrap()) || line.contains("192.168.0.10/24"));
            // Only the addresses of `ip addr` are kept; the other lines say whose they are.
            let link = view.addrs.is_some()
                && ["inet ", " mtu ", "valid_lft", "group default"].iter().any(|w| line.contains(w));
            let slot = if rules.contains(&(n + 1)) || service || client || link {
                1
            } else if said.contains(&(n + 1)) {
                2
            } else if is_frame(line) {
                3
            } else {
                panic!("{}:{} vanished: {line}", path.display(), n + 1);
            };
            sum[0] += 1;
            sum[slot] += 1;
        }
    }
    for (kind, [all, kept, said, frame]) in sums {
        println!("{kind}: {all} lines: {kept} in the model, {said} in remarks, {frame} headings and frames");
    }
}

#[test]
fn a_listing_says_the_same_as_the_dump_of_the_same_moment() {
    let Some(dir) = corpus() else { return };
    let pairs = std::fs::read_to_string(dir.join("PAIRS.tsv")).unwrap();
    let mut rules = 0;
    for line in pairs.lines().skip(1) {
        let mut columns = line.split('\t');
        let [save, list] = [(); 2].map(|()| read(&dir.join(columns.next().unwrap())).1.v4.unwrap());
        let (save, list) = (save.table("filter").unwrap(), list.table("filter").unwrap());
        assert_eq!(save.chains.len(), list.chains.len(), "{line}");
        for chain in &save.chains {
            let other = list.chain(&chain.name).unwrap_or_else(|| panic!("{line}: {}", chain.name));
            assert_eq!(chain.policy, other.policy, "{line}: {}", chain.name);
            let texts = |c: &portcullis::model::Chain| c.rules.iter().map(|r| r.text.to_string()).collect::<Vec<_>>();
            assert_eq!(texts(chain), texts(other), "{line}: {}", chain.name);
            rules += chain.rules.len();
        }
    }
    assert!(rules > 600);
    println!("pairs: {rules} rules, word for word the same");
}

/// What iptables prints after loading a dump, without comments and counters; `None` if iptables does not accept it.
fn through_the_kernel(lab: &Lab, family: Family, text: &str) -> Option<Vec<String>> {
    let six = if family == Family::V6 { "ip6" } else { "ip" };
    for table in ["raw", "mangle", "nat", "filter", "security"] {
        lab.server.with_input(&[&format!("{six}tables-restore")], &format!("*{table}\nCOMMIT\n"));
    }
    // From a file: iptables-restore may give up before it has read all of a pipe.
    let file = lab.file("dump", text);
    let out = lab.server.output(&["sh", "-c", &format!("{six}tables-restore < {file}")]);
    out.status.success().then(|| {
        let saved = lab.server.run(&[&format!("{six}tables-save")]);
        saved.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(" [").next().unwrap().to_owned()).collect()
    })
}

#[test]
fn iptables_takes_back_what_the_writer_writes() {
    let Some(dir) = corpus() else { return };
    let Some(lab) = Lab::new(Backend::Nft, 0, &["iptables-restore"]) else { return };
    let (mut taken, mut refused) = (0, 0);
    for path in files(&dir).iter().filter(|p| p.extension().is_some_and(|e| e == "save")) {
        let (text, view) = read(path);
        let sets: Vec<&Ruleset> = [&view.v4, &view.v6].into_iter().flatten().collect();
        let [set] = sets[..] else { continue };
        let Some(original) = through_the_kernel(&lab, set.family, &text.replace('\r', "")) else {
            refused += 1;
            continue;
        };
        let ours = iptables_save::write(set, false);
        let back = through_the_kernel(&lab, set.family, &ours)
            .unwrap_or_else(|| panic!("{}: iptables refuses\n{ours}", path.display()));
        assert_eq!(original, back, "{}", path.display());
        taken += 1;
    }
    println!(
        "dumps: {taken} went through the kernel and came back the same, {refused} are not taken by this iptables as \
        they are"
    );
    assert!(taken > 20);
}
