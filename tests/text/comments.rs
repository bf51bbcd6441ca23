//! A comment is free text: whatever it contains, it changes no answer of the program except the comment itself.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use portcullis::analyse::{Analysis, Packet, owner, rule_owner};
use portcullis::model::{Family, Proto, Rule, View, quote};
use portcullis::observe::capture::{Input, captured};
use portcullis::plan;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// Pieces of comments that look like everything else in a rule.
fn comment() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "-d 172.17.0.2/32",
        "-s 10.0.0.0/8",
        "! -i lo",
        "-i docker0",
        "-o br-0123456789ab",
        "-i virbr0",
        "-j DNAT",
        "-j REDIRECT",
        "-j MASQUERADE",
        "-j ACCEPT",
        "-g X",
        "--jump DROP",
        "--dport 22",
        "--dports 1:9",
        "-p tcp -m tcp --dport 9042",
        "--match-set bad src",
        "--add-set bad src",
        "--mark 0x1",
        "-m mark",
        "-m conntrack --ctstate NEW",
        "--ctdir REPLY",
        "-m state",
        "--datestop 2030-01-01T00:00:00",
        "-j PORTCULLIS",
        "-j DOCKER-USER",
        "-j KUBE-SVC",
        "CONNMARK",
        "DNAT",
        "dport",
        "port",
        "-set SET",
        "\"",
        "\\",
        "'",
        "!",
        "-m",
        "-j",
        "--comment",
        "",
        " ",
    ]);
    prop::collection::vec(pieces, 0..6).prop_map(|p| p.join(" "))
}

/// Rulesets as dumps: the demo's, a small one with rules of several kinds, and the corpus if it is there (it is not
/// part of the project).
fn dumps() -> Vec<(String, String)> {
    let mut out = vec![
        ("demo".to_owned(), include_str!("../../assets/demo/iptables-save.txt").to_owned()),
        ("kinds".to_owned(), include_str!("../data/kinds.save").to_owned()),
    ];
    let corpus = std::env::var_os("PORTCULLIS_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), PathBuf::from);
    let mut files: Vec<PathBuf> = ["save", "save6"]
        .iter()
        .flat_map(|d| std::fs::read_dir(corpus.join(d)).into_iter().flatten())
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    if files.is_empty() {
        common::not_run_here("the corpus of real listings is not here (PORTCULLIS_CORPUS)");
    }
    // The largest take minutes, and have no other kinds of rules.
    out.extend(
        files
            .iter()
            .map(|f| (f.display().to_string(), String::from_utf8_lossy(&std::fs::read(f).unwrap()).into_owned()))
            .filter(|(_, t)| t.len() < 60_000),
    );
    out
}

fn view(text: &str) -> View {
    captured(&[Input { name: "f".to_owned(), text: text.to_owned(), family: None }])
}

/// The same rules with this comment in each that has none, at the front or at the end.
fn commented(view: &View, comment: &str, behind: bool) -> View {
    let words = format!("-m comment --comment {}", quote(comment));
    let mut out = view.clone();
    for rule in [&mut out.v4, &mut out.v6]
        .into_iter()
        .flatten()
        .flat_map(|s| &mut s.tables)
        .flat_map(|t| &mut t.chains)
        .flat_map(|c| &mut c.rules)
    {
        if rule.comment().is_none() {
            let text = if behind { format!("{} {words}", rule.text) } else { format!("{words} {}", rule.text) };
            *rule = Rule { text: text.trim().into(), ..rule.clone() };
        }
    }
    out
}

/// Everything that the program says about the rules, without names of endpoints, which a comment may provide.
fn answers(view: &View) -> String {
    let mut out = String::new();
    let analysis = Analysis::new(view);
    let mut said = analysis.report();
    for j in &mut said.endpoints {
        j.endpoint.name.clear();
    }
    for w in &mut said.warnings {
        w.endpoint = None;
        w.message.clear();
    }
    let _ = writeln!(out, "{said:#?}");
    for (src, dport) in [("192.0.2.99", 111), ("172.17.0.9", 22), ("10.1.2.3", 9042)] {
        for family in Family::BOTH {
            let src = if family == Family::V4 { src.parse().unwrap() } else { "2001:db8::9".parse().unwrap() };
            let packet = Packet {
                src,
                dst: None,
                proto: Proto::TCP,
                sport: None,
                dport: Some(dport),
                interface: None,
                at: None,
                flags: None,
            };
            if view.rules(family).is_some() {
                let _ = writeln!(out, "{:#?}", analysis.trace(&packet));
            }
        }
    }
    for set in Family::BOTH.iter().filter_map(|f| view.rules(*f)) {
        for chain in set.tables.iter().flat_map(|t| &t.chains) {
            for rule in &chain.rules {
                let _ = writeln!(out, "{:?} {:?}", owner(&chain.name), rule_owner(&chain.name, rule));
            }
        }
        for forwarded in [false, true] {
            let standing = plan::standing(set, forwarded);
            let _ = writeln!(out, "{:?} {:?} {:?}", standing.kept, standing.fuse, standing.rules);
        }
    }
    let wanted = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\"]\nto = [\"111\"]\n[[rule]]\naction \
        = \"drop\"\nfrom = [\"any\"]\nto = [\"111\", \"published:9042/tcp\"]\n";
    let wanted = portcullis::syntax::plan::read(wanted).unwrap();
    match plan::build(view, &wanted) {
        Ok(change) => {
            let _ = writeln!(out, "{:?} {:?} {:?}", plan::commands(&change), change.notes, change.taken_away);
        }
        Err(e) => out.push_str(&e.what),
    }
    out
}

/// The answers without the comment, as it appears in a rule and in debug output.
fn without(answers: &str, comment: &str) -> String {
    let words = format!("-m comment --comment {}", quote(comment));
    let shown = format!("{words:?}");
    let shown = &shown[1..shown.len() - 1];
    let mut out = answers.to_owned();
    for part in [format!("{shown} "), format!(" {shown}"), shown.to_owned()] {
        out = out.replace(&part, "");
    }
    out
}

#[test]
fn a_comment_changes_no_answer() {
    let cases: usize = if common::full() { 12 } else { 2 };
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut compared = 0;
    for (name, text) in dumps() {
        let view = view(&text);
        let before = answers(&view);
        for n in 0..cases {
            let comment = comment().new_tree(&mut runner).unwrap().current();
            let after = without(&answers(&commented(&view, &comment, n % 2 == 1)), &comment);
            if before != after {
                let odd = before.lines().zip(after.lines()).find(|(a, b)| a != b);
                panic!("{name}, comment {comment:?}: {odd:#?}");
            }
            compared += 1;
        }
    }
    println!("{compared} rulesets with a comment in every rule say the same as without");
}
