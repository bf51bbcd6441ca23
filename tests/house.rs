//! Checks of the code base: dependencies between modules, sizes, the one door to the outside, and what lies at the top.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, and what each may use besides itself. `tui` has its own table below.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("syntax", &["model"]),
    ("host", &["syntax", "model"]),
    ("observe", &["host", "syntax", "model"]),
    ("analyse", &["model"]),
    ("plan", &["analyse", "syntax", "model"]),
    ("trial", &["plan", "analyse", "observe", "host", "syntax", "model"]),
    ("tui", &["trial", "plan", "analyse", "observe", "host", "syntax", "model"]),
    ("commands", &["cli", "tui", "trial", "plan", "analyse", "observe", "host", "syntax", "model"]),
    ("cli", &["model"]),
];

/// The modules of `analyse`, in the order of its map: each may use those before it. The facade, `Analysis`, may be used
/// by those that answer questions.
const ROOMS: &[&str] = &["surroundings", "packets", "walk", "inventory", "answers", "review"];

/// Modules that only `tui::worker` may use in the cockpit.
const WORKER_ONLY: &[&str] = &["trial", "observe", "host"];

/// Maximum number of code lines in a file.
const MAX_CODE_LINES: usize = 500;

/// What may be at the top, apart from dotfiles.
const TOP: &[&str] =
    &["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "CHANGELOG.md", "src", "assets", "tests", "target"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() { files_under(&path, out) } else { out.push(path) }
    }
}

/// Every source file: its path below `src`, and its code without comments and the test module.
fn sources() -> Vec<(String, Vec<(usize, String)>)> {
    let src = root().join("src");
    let mut paths = Vec::new();
    files_under(&src, &mut paths);
    paths.sort();
    let out: Vec<_> = paths
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .map(|p| (p.strip_prefix(&src).unwrap().display().to_string(), code(&fs::read_to_string(p).unwrap())))
        .collect();
    assert!(out.len() > 10, "the sources were not found");
    out
}

/// Code lines, numbered from 1. The test module is the last thing in a file; a file that contains only tests (`mod
/// tests;`) is named `tests.rs` and does not count as code.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let bare = line.trim();
        let next = || text.lines().skip(i + 1).find(|l| !l.trim_start().starts_with("#["));
        if bare == "#[cfg(test)]" && next().is_some_and(|l| l.trim_start().starts_with("mod ") && l.ends_with('{')) {
            break;
        }
        if !bare.is_empty() && !bare.starts_with("//") {
            out.push((i + 1, line.to_owned()));
        }
    }
    out
}

fn is_tests(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// `src/a/b.rs` belongs to module `a`, `src/cli.rs` to `cli`.
fn station(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The modules that a line of code names by `crate::X`, or inside `use crate::{X, ...}`.
fn names(line: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let words: Vec<&str> = match rest.strip_prefix('{') {
            // Only the first word of each part counts: `{model::{Net, Rule}, syntax}`.
            Some(group) => {
                let mut depth = 0;
                group
                    .split_inclusive([',', '{', '}'])
                    .filter(|part| {
                        let outer = depth == 0;
                        match part.chars().last() {
                            Some('{') => depth += 1,
                            Some('}') => depth -= 1,
                            _ => {}
                        }
                        outer
                    })
                    .collect()
            }
            None => vec![rest],
        };
        for word in words {
            let name: String = word.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                found.insert(name);
            }
        }
    }
    found
}

/// Joins `use` statements that span several lines, up to the `;`.
fn statements(code: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (n, line) in code {
        if open {
            out.last_mut().unwrap().1.push_str(line.trim());
        } else {
            out.push((*n, line.clone()));
        }
        let starts = line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub use ");
        open = (open || starts) && !line.contains(';');
    }
    out
}

#[test]
fn stations_use_only_what_lies_downstream() {
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(s, _)| *s).collect();
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let from = station(&path);
        if from == "lib" || from == "main" || is_tests(&path) {
            continue;
        }
        let allowed = MAY_USE
            .iter()
            .find(|(s, _)| *s == from)
            .unwrap_or_else(|| {
                panic!("src/{path} belongs to no station: name it in the table of this test and in lib.rs")
            })
            .1;
        for (n, line) in statements(&code) {
            for to in names(&line) {
                let worker_only =
                    from == "tui" && WORKER_ONLY.contains(&to.as_str()) && !path.starts_with("tui/worker");
                if known.contains(to.as_str()) && to != from && (!allowed.contains(&to.as_str()) || worker_only) {
                    wrong.push(format!("src/{path}:{n}: {from} must not use {to}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_of_analyse_use_only_those_before_them() {
    let order = |room: &str| ROOMS.iter().position(|r| *r == room);
    let mut wrong = Vec::new();
    for (path, code) in sources()
        .iter()
        .filter(|(path, _)| path.starts_with("analyse/") && path.matches('/').count() == 2 && !is_tests(path))
    {
        let from = path.split('/').nth(1).unwrap();
        let here = order(from).unwrap_or_else(|| {
            panic!("src/{path} is in no room: name it in the table of this test and in analyse/mod.rs")
        });
        for (n, line) in statements(code) {
            for (at, _) in line.match_indices("crate::analyse::") {
                let to: String = line[at + "crate::analyse::".len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let facade = to == "Analysis" && here >= order("answers").unwrap();
                if to != from && !facade && order(&to).is_none_or(|there| there > here) {
                    wrong.push(format!("src/{path}:{n}: {from} must not use {to}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The module that a file holds, below `src`: `trial/boot/units.rs` is `trial::boot::units`, `tui/mod.rs` is `tui`.
fn module(path: &str) -> Vec<String> {
    let bare = path.trim_end_matches(".rs");
    bare.strip_suffix("/mod").unwrap_or(bare).split('/').map(str::to_owned).collect()
}

/// The paths that a statement names, groups unfolded: `super::{a::B, c}` names `super::a::B` and `super::c`.
fn paths_in(statement: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in statement.match_indices(root) {
            let before = statement[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':')) {
                unfold(&statement[at..], &[], &mut out);
            }
        }
    }
    out
}

/// Reads one path; what lies behind it.
fn unfold<'a>(text: &'a str, prefix: &[String], out: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = unfold(group, &path, out).trim_start();
                // `x as y`
                group = group.find([',', '}']).map_or("", |at| &group[at..]);
                match group.strip_prefix(',') {
                    Some(next) if !next.trim_start().starts_with('}') => group = next,
                    Some(next) => return next.trim_start().trim_start_matches('}'),
                    None => return group.strip_prefix('}').unwrap_or(""),
                }
            }
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            path.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) if end > 0 => rest = next,
            _ => break,
        }
    }
    out.push(path);
    rest
}

/// The module that a path leads to from another one: as much of it as is a file.
fn leads_to(path: &[String], from: &[String], modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let ups = path.iter().take_while(|w| *w == "super").count();
    let mut full = match first.as_str() {
        "crate" => rest.to_vec(),
        "self" => [from, rest].concat(),
        _ => [&from[..from.len().checked_sub(ups)?], &path[ups..]].concat(),
    };
    while !full.is_empty() && !modules.contains(&full) {
        full.pop();
    }
    (!full.is_empty()).then_some(full)
}

/// A ring of modules each of which uses the next one, if there is any. A module and those below it count as one house:
/// a facade may use its rooms, and they what it holds for them.
fn ring(uses: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Option<Vec<Vec<String>>> {
    let mut left: BTreeMap<_, _> = uses.clone();
    // Whatever uses nothing that is left is in no ring.
    loop {
        let done: Vec<Vec<String>> =
            left.iter().filter(|(_, to)| !to.iter().any(|t| left.contains_key(t))).map(|(m, _)| m.clone()).collect();
        if done.is_empty() {
            break;
        }
        for module in done {
            left.remove(&module);
        }
    }
    let mut way = vec![left.keys().next()?.clone()];
    loop {
        let next = left[way.last().unwrap()].iter().find(|t| left.contains_key(*t)).unwrap().clone();
        if let Some(at) = way.iter().position(|m| *m == next) {
            return Some(way.split_off(at));
        }
        way.push(next);
    }
}

#[test]
fn files_of_a_station_do_not_use_each_other_in_circles() {
    let sources = sources();
    let all: Vec<_> = sources.iter().filter(|(path, _)| !is_tests(path)).collect();
    let modules: BTreeSet<Vec<String>> = all.iter().map(|(path, _)| module(path)).collect();
    let mut uses: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (path, code) in &all {
        let from = module(path);
        let to = uses.entry(from.clone()).or_default();
        for (_, line) in statements(code) {
            let named = paths_in(&line).into_iter().filter_map(|p| leads_to(&p, &from, &modules));
            to.extend(named.filter(|t| !t.starts_with(&from) && !from.starts_with(t)));
        }
    }
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 300, "who uses whom was not found");
    if let Some(ring) = ring(&uses) {
        let names: Vec<String> = ring.iter().map(|m| m.join("::")).collect();
        panic!("each of these files uses the next one, and the last the first: {}", names.join(" -> "));
    }
}

#[test]
fn circles_are_found() {
    let list = |text: &str| -> Vec<Vec<String>> {
        text.split(' ').map(|p| p.split("::").map(str::to_owned).collect()).collect()
    };
    let names = |text: &str| {
        let mut found: Vec<String> = paths_in(text).iter().map(|p| p.join("::")).collect();
        found.sort();
        found.join(" ")
    };
    assert_eq!(names("use super::{a::{self, B}, c as d, e};"), "super::a::B super::a::self super::c super::e");
    assert_eq!(names("let x = super::super::f(crate::x::Y::new());"), "crate::x::Y::new super::super::f");
    let modules: BTreeSet<Vec<String>> = list("t t::a t::a::x t::b").into_iter().collect();
    let to = |path: &str, from: &str| {
        leads_to(&list(path)[0], &list(from)[0], &modules).map(|m| m.join("::")).unwrap_or_default()
    };
    assert_eq!((to("super::b::F", "t::a"), to("super::super::b", "t::a::x")), ("t::b".into(), "t::b".into()));
    assert_eq!((to("self::x::y", "t::a"), to("crate::t::b", "t::a")), ("t::a::x".into(), "t::b".into()));
    let graph = |edges: &str| {
        let mut out: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
        for edge in edges.split(' ') {
            let (from, to) = edge.split_once('>').unwrap();
            out.entry(list(from)[0].clone()).or_default().insert(list(to)[0].clone());
            out.entry(list(to)[0].clone()).or_default();
        }
        ring(&out).map_or(0, |r| r.len())
    };
    assert_eq!((graph("a>b b>c a>c"), graph("a>b b>c c>a d>a"), graph("a>b b>a b>c")), (0, 3, 2));
}

#[test]
fn the_reader_of_use_statements_sees_groups_and_paths() {
    let all = |line| names(line).into_iter().collect::<Vec<_>>();
    assert_eq!(all("use crate::model::{Net, host};"), ["model"]);
    assert_eq!(all("use crate::{host::Cmd, model::{self, Net}, syntax};"), ["host", "model", "syntax"]);
    assert_eq!(all("    let x = crate::trial::keep(crate::host::live());"), ["host", "trial"]);
    let split = code("use crate::{\n    host::Cmd,\n};\nfn f() {}\n");
    assert_eq!(statements(&split)[0].1, "use crate::{host::Cmd,};");
}

#[test]
fn files_stay_small() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(path, code)| !is_tests(path) && code.len() > MAX_CODE_LINES)
        .map(|(path, code)| format!("src/{path}: {} lines of code, {MAX_CODE_LINES} at most", code.len()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
    assert!(
        fs::read_to_string(root().join("src/main.rs")).unwrap().lines().count() < 20,
        "main.rs has 20 lines or more"
    );
}

#[test]
fn no_line_is_wider_than_the_format() {
    // rustfmt gives up on long strings and ignores comments.
    let config = fs::read_to_string(root().join(".rustfmt.toml")).unwrap();
    let max: usize = config.lines().find_map(|l| l.strip_prefix("max_width = ")).unwrap().parse().unwrap();
    let mut paths = Vec::new();
    for dir in ["src", "tests"] {
        files_under(&root().join(dir), &mut paths);
    }
    let mut wide = Vec::new();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().enumerate().filter(|(_, l)| l.chars().count() > max);
        wide.extend(lines.map(|(n, _)| format!("{}:{}", path.display(), n + 1)));
    }
    assert!(wide.is_empty(), "over {max} columns:\n{}", wide.join("\n"));
}

#[test]
fn only_host_starts_processes_waits_and_reads_clocks() {
    // clippy's disallowed-methods catches these too; this also finds what an `allow` would hide.
    const OUTSIDE: &[&str] =
        &["Command::new", "thread::sleep", "Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"];
    const PURE: &[&str] =
        &["std::fs", "std::net::Tcp", "std::net::Udp", "std::env", "std::process", "std::thread", "File::open"];
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let station = station(&path);
        let pure = ["model", "syntax", "analyse", "plan"].contains(&station) || path == "trial/machine.rs";
        for (n, line) in &code {
            for word in OUTSIDE.iter().filter(|w| station != "host" && line.contains(**w)) {
                wrong.push(format!("src/{path}:{n}: {word} outside host/"));
            }
            for word in PURE.iter().filter(|w| pure && !is_tests(&path) && line.contains(**w)) {
                wrong.push(format!("src/{path}:{n}: {word} where no I/O belongs"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files that may look at the text of a rule: the reader of its words, and the search of the screens.
const READS_RULES: &[&str] = &["model/rule/mod.rs", "model/ruleset.rs", "tui/search.rs"];

#[test]
fn the_text_of_a_rule_is_read_by_its_one_reader() {
    // The text of a comment must not be mistaken for options: `Rule::option` and its siblings respect quotes.
    const LOOKS: &[&str] = &[
        "contains(",
        "split",
        "find(",
        "rfind(",
        "starts_with(",
        "ends_with(",
        "match_indices(",
        "strip_prefix(",
        "rsplit",
    ];
    const RULES: &[&str] = &["rule", "r"];
    let mut wrong = Vec::new();
    for (path, code) in sources().iter().filter(|(path, _)| !READS_RULES.contains(&path.as_str()) && !is_tests(path)) {
        for (n, line) in code {
            for (at, _) in line.match_indices(".text.") {
                let before: String =
                    line[..at].chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let before: String = before.chars().rev().collect();
                let behind = &line[at + ".text.".len()..];
                if RULES.contains(&before.as_str()) && LOOKS.iter().any(|l| behind.starts_with(l)) {
                    wrong.push(format!(
                        "src/{path}:{n}: the text of a rule is read here: ask Rule::option, Rule::has, \
                        Rule::jumps_to or Rule::spec"
                    ));
                }
            }
            let imports = line.trim_start().starts_with("use crate::model")
                && line.split([',', '{', '}', ';', ':']).any(|w| w.trim() == "words");
            if imports && !["model", "plan"].contains(&station(path)) && path != "analyse/packets/ipset.rs" {
                wrong.push(format!("src/{path}:{n}: a rule is split into words here: ask Rule::options"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names of the packages in one table of Cargo.toml.
fn declared(table: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let head = format!("[{table}]");
    let names: Vec<String> = text
        .lines()
        .skip_while(|l| l.trim() != head)
        .skip(1)
        .take_while(|l| !l.starts_with('['))
        .filter_map(|l| Some(l.split_once('=')?.0.trim().to_owned()))
        .filter(|name| !name.starts_with('#'))
        .collect();
    assert!(!names.is_empty(), "no package was found in {head}");
    names
}

/// Whether a line of code names a package: `name::`, or `use name;`.
fn uses(line: &str, package: &str) -> bool {
    let name = package.replace('-', "_");
    line.match_indices(&name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':')) && after.starts_with("::")
            || line.trim().trim_end_matches(';') == format!("use {name}")
    })
}

#[test]
fn every_declared_dependency_is_used() {
    let src: Vec<String> = sources().into_iter().flat_map(|(_, code)| code).map(|(_, line)| line).collect();
    let mut unused: Vec<String> =
        declared("dependencies").into_iter().filter(|p| !src.iter().any(|l| uses(l, p))).collect();
    // Test modules are in src as well.
    let mut paths = Vec::new();
    for dir in ["src", "tests"] {
        files_under(&root().join(dir), &mut paths);
    }
    let tests: Vec<String> = paths
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .flat_map(|p| fs::read_to_string(p).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect();
    unused.extend(declared("dev-dependencies").into_iter().filter(|p| !tests.iter().any(|l| uses(l, p))));
    assert!(unused.is_empty(), "declared in Cargo.toml and used by no line: {}", unused.join(", "));
}

#[test]
fn the_reader_of_dependencies_sees_paths_and_no_likeness() {
    assert!(uses("use iptables::IPTables;", "iptables") && uses("    x: serde_json::Value,", "serde-json"));
    assert!(uses("use regex;", "regex") && !uses("use crate::iptables::x;", "iptables"));
    assert!(!uses("let ip6tables = 1; my_regex::x()", "regex") && !uses("iptables-save", "iptables"));
    assert!(declared("dependencies").contains(&"iptables".to_owned()));
}

#[test]
fn nothing_is_left_to_do_in_place() {
    // Spelled in parts, so that this file does not match itself.
    let marks =
        [["todo", "!("].concat(), ["unimplemented", "!("].concat(), ["FIX", "ME"].concat(), ["un", "safe {"].concat()];
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        for (n, line) in &code {
            wrong.extend(marks.iter().filter(|m| line.contains(m.as_str())).map(|m| format!("src/{path}:{n}: {m}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_path_of_a_developers_machine() {
    // Spelled in parts, so that this file does not match itself.
    let marks = [["/wo", "rk/"].concat(), ["/tmp", "/wt"].concat(), ["/ho", "me/"].concat()];
    let mut paths = Vec::new();
    for top in ["src", "assets", "tests", ".ci"] {
        let dir = root().join(top);
        if dir.is_dir() {
            files_under(&dir, &mut paths);
        }
    }
    paths.extend(["Cargo.toml", "README.md", "CHANGELOG.md"].map(|f| root().join(f)));
    let mut wrong = Vec::new();
    for path in &paths {
        // Pictures are skipped.
        let Ok(text) = fs::read_to_string(path) else { continue };
        for (i, line) in text.lines().enumerate() {
            wrong.extend(
                marks
                    .iter()
                    .filter(|m| line.contains(m.as_str()))
                    .map(|m| format!("{}:{}: {m}", path.display(), i + 1)),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_top_holds_only_what_belongs_there() {
    let strange: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "not allowed at the top: {}", strange.join(", "));
}

#[test]
fn the_map_names_every_station() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let map: String = map.lines().filter(|l| l.starts_with("//!")).collect();
    let there = sources();
    let missing: Vec<&str> = MAY_USE
        .iter()
        .map(|(s, _)| *s)
        .filter(|s| there.iter().any(|(path, _)| station(path) == *s) && !map.contains(&format!("[`{s}`]")))
        .collect();
    assert!(missing.is_empty(), "lib.rs does not say what these are for: {}", missing.join(", "));
}

#[test]
fn what_contributors_are_sent_to_is_there() {
    let guide = fs::read_to_string(root().join(".github/CONTRIBUTING.md")).unwrap();
    let named = || guide.split('`').skip(1).step_by(2).filter(|w| w.starts_with("src/") || w.starts_with("tests/"));
    let missing: Vec<&str> =
        named().filter(|w| w.split(' ').next().is_some_and(|path| !root().join(path).exists())).collect();
    assert!(missing.is_empty(), "CONTRIBUTING names what is not there: {}", missing.join(", "));
    assert!(named().count() > 10, "the names were not found");
}

#[test]
fn every_test_file_is_listed() {
    // `autotests` is off: a file that is not listed would never run. One binary per kind: `tests/KIND/main.rs` lists
    // its files.
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut unlisted = Vec::new();
    for entry in fs::read_dir(root().join("tests")).unwrap().map(|e| e.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        let main = entry.join("main.rs");
        if entry.extension().is_some_and(|e| e == "rs") && !manifest.contains(&format!("path = \"tests/{name}\"")) {
            unlisted.push(format!("tests/{name} in Cargo.toml"));
        }
        let Ok(listed) = fs::read_to_string(&main) else { continue };
        if !manifest.contains(&format!("path = \"tests/{name}/main.rs\"")) {
            unlisted.push(format!("tests/{name}/main.rs in Cargo.toml"));
        }
        for file in fs::read_dir(&entry)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|f| f.extension().is_some_and(|e| e == "rs") && *f != main)
        {
            let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
            if !listed.contains(&format!("\nmod {stem};")) {
                unlisted.push(format!("{} in {}", file.display(), main.display()));
            }
        }
    }
    assert!(unlisted.is_empty(), "not listed: {}", unlisted.join(", "));
}
