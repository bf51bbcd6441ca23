//! `portcullis report [FILE...]`: what can be reached, and by whom.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{input, json_line, note, print, print_exact};
use crate::analyse::{Analysis, Because, Exposure, Judged, Reach, Report};
use crate::cli::ReportArgs;
use crate::host::{Host, live::Live};
use crate::model::{AddrSet, Diagnostic, Family, Source, View};
use crate::trial;

/// At most this many reasons are printed per endpoint and family; the rest are counted.
const MAX_REASONS: usize = 40;

/// Reports everything that can be reached.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let host = Live::default();
    let begun = host.now().boot;
    let view = input::any(&args.input)?;
    let read = host.now().boot;
    let mut answer = Analysis::new(&view).report();
    let judged = host.now().boot;
    if view.source == Source::Live {
        // A kept plan that is not in force comes first.
        answer.warnings.splice(0..0, trial::enforced_by(&host, &view).findings());
    }
    let diagnostics: Vec<Diagnostic> = view.diagnostics.iter().chain(&answer.assumptions).cloned().collect();
    if args.json {
        print_exact(&json_line(&as_json(&view, &answer, &diagnostics)))?;
    } else {
        print(&as_text(&view, &answer, &diagnostics))?;
    }
    if args.timings {
        let rules: usize = [&view.v4, &view.v6].into_iter().flatten().map(crate::model::Ruleset::rule_count).sum();
        note(format!(
            "timings: read {:.1} ms, judge {:.1} ms ({rules} rules, {} endpoints)",
            read.saturating_sub(begun).as_secs_f64() * 1000.0,
            judged.saturating_sub(read).as_secs_f64() * 1000.0,
            answer.endpoints.len()
        ));
    }
    input::require_rules(&view)
}

fn networks(set: &AddrSet) -> Vec<String> {
    set.cidrs().iter().map(ToString::to_string).collect()
}

fn as_json(view: &View, r: &Report, diagnostics: &[Diagnostic]) -> Value {
    let source = match view.source {
        Source::Live => "live",
        Source::Capture => "capture",
        Source::Demo => "demo",
    };
    let endpoints: Vec<Value> = r.endpoints.iter().map(endpoint).collect();
    let warnings: Vec<Value> = r
        .warnings
        .iter()
        .map(|w| json!({"code": w.code.as_str(), "endpoint": w.endpoint, "message": w.message}))
        .collect();
    json!({"version": 1, "source": source, "endpoints": endpoints, "warnings": warnings,
        "diagnostics": diagnostics, "not_judged": r.not_judged})
}

fn endpoint(j: &Judged) -> Value {
    let e = &j.endpoint;
    let listens: Vec<String> = e.listens.iter().map(ToString::to_string).collect();
    let nat: Vec<String> = e.dnat_to.iter().map(|(a, p)| std::net::SocketAddr::new(*a, *p).to_string()).collect();
    json!({
        "kind": e.kind.label(), "name": e.name, "program": e.program, "versions": e.versions,
        "proto": e.proto.to_string(),
        "port": e.port, "listens": listens, "devices": e.devices, "listening": e.listening,
        "owner": e.owner.map(crate::analyse::Manager::label),
        "process": e.process, "nat_to": nat, "moves": e.moves,
        "open_to_anyone": j.exposure.iter().flatten().any(Exposure::lets_all_in),
        "exposure": {"ipv4": exposure(j.exposure[0].as_ref()), "ipv6": exposure(j.exposure[1].as_ref())},
    })
}

fn exposure(x: Option<&Exposure>) -> Value {
    let Some(x) = x else { return Value::Null };
    let mut v = reach(&x.reach);
    let by: Map<String, Value> =
        x.by_interface.iter().map(|(name, r)| (name.clone(), Value::Object(reach(r)))).collect();
    v.insert("why".to_owned(), json!(reasons(&x.because)));
    v.insert("by_interface".to_owned(), Value::Object(by));
    v.insert("open_to_anyone".to_owned(), json!(x.lets_all_in()));
    Value::Object(v)
}

fn reach(r: &Reach) -> Map<String, Value> {
    let mut v = Map::new();
    v.insert("accepted".to_owned(), json!(networks(&r.accepted)));
    v.insert("blocked".to_owned(), json!(networks(&r.blocked)));
    v.insert("depends".to_owned(), json!(networks(&r.depends)));
    v
}

/// `192.0.2.0/24 accept: INPUT rule 4: ACCEPT`
fn reasons(because: &[Because]) -> Vec<String> {
    let mut out: Vec<String> =
        because.iter().take(MAX_REASONS).map(|b| format!("{} {}: {}", short(&b.set), b.outcome, b.text)).collect();
    if because.len() > MAX_REASONS {
        out.push(format!("and {} more", because.len() - MAX_REASONS));
    }
    out
}

/// A set of addresses in a few words.
fn short(set: &AddrSet) -> String {
    let all = set.cidrs();
    match all.len() {
        0 => "nobody".to_owned(),
        1..=3 => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        n if set.complement().cidrs().len() <= 3 => {
            let _ = n;
            format!("all but {}", networks(&set.complement()).join(", "))
        }
        n => format!("{n} networks from {}", all[0]),
    }
}

/// Why an endpoint has no answer for a family.
fn why_unknown(view: &View, family: Family) -> &'static str {
    match view.local_addrs(family) {
        Some(own) if own.is_empty() => "none: the host has no address of this family",
        _ if view.rules(family).is_none() => "not known: the rules were not read",
        _ => "none: the host has only a loopback address of this family",
    }
}

fn as_text(view: &View, r: &Report, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for j in &r.endpoints {
        let _ = writeln!(out, "{} ({})", j.endpoint.label(), j.endpoint.kind.label());
        for (x, family) in j.exposure.iter().zip(Family::BOTH) {
            let label = family.label();
            let Some(x) = x else {
                let _ = writeln!(out, "  {label}  {}", why_unknown(view, family));
                continue;
            };
            for b in x.because.iter().take(MAX_REASONS) {
                let _ = writeln!(out, "  {label}  {:8} {}  {}", x.at_best(b), short(&b.set), b.text);
            }
            for (ifaces, reach) in x.ways() {
                let _ = writeln!(
                    out,
                    "  {label}  by {ifaces}: accepted {}, blocked {}, depends {}",
                    short(&reach.accepted),
                    short(&reach.blocked),
                    short(&reach.depends)
                );
            }
        }
    }
    let open: Vec<String> = r
        .endpoints
        .iter()
        .filter(|j| j.exposure.iter().flatten().any(Exposure::lets_all_in))
        .map(|j| format!("{}/{}", j.endpoint.port, j.endpoint.proto))
        .collect();
    if !r.endpoints.is_empty() {
        let not = if r.left_out > 0 { format!(", {} more are not judged", r.left_out) } else { String::new() };
        let which = if open.is_empty() { String::new() } else { format!(": {}", open.join(", ")) };
        let _ = writeln!(out, "open to anyone: {} of {}{not}{which}", open.len(), r.endpoints.len());
    }
    if r.endpoints.is_empty() {
        out.push_str("no endpoint is known: no RPC service, no socket, no port that a rule names\n");
    }
    for (title, lines) in [
        (
            "warnings",
            r.warnings
                .iter()
                .map(|w| w.endpoint.as_ref().map_or_else(|| w.message.clone(), |e| format!("{e}: {}", w.message)))
                .collect::<Vec<_>>(),
        ),
        ("notes", diagnostics.iter().map(Diagnostic::placed).collect()),
    ] {
        if !lines.is_empty() {
            let _ = writeln!(out, "{title}:");
            for l in lines {
                let _ = writeln!(out, "  {l}");
            }
        }
    }
    let _ = writeln!(out, "not judged: {}", r.not_judged.join(", "));
    out
}
