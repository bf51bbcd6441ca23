//! `portcullis trace FILE --proto P --src A ...`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Failure, input};
use crate::analyse::{Packet, Trace, trace};
use crate::cli::TraceArgs;
use crate::model::{Family, Proto, Source, View};

/// Answers about one packet.
pub fn run(args: &TraceArgs) -> Result<(), Failure> {
    let proto = Proto::parse(&args.proto)
        .ok_or_else(|| Failure::failed(format!("{} is not a protocol", args.proto), "say tcp, udp, icmp or a number from 1 to 255"))?;
    let at = args.at.as_deref().map(instant).transpose()?;
    let (set, _) = input::rules(&args.file)?;
    if Family::of(args.src) != set.family || args.dst.is_some_and(|d| Family::of(d) != set.family) {
        return Err(Failure::failed(
            format!("the rules are {}, an address of the packet is not", set.family.label()),
            "give the rules of the packet's family (iptables-save for IPv4, ip6tables-save for IPv6)",
        ));
    }
    let packet = Packet {
        src: args.src, dst: args.dst, proto, sport: args.sport, dport: args.dport,
        interface: args.in_interface.clone(), at,
    };
    let mut view = View::empty(Source::Capture, &args.file.display().to_string());
    match set.family {
        Family::V4 => view.v4 = Some(set),
        Family::V6 => view.v6 = Some(set),
    }
    let answer = trace(&view, &packet);
    super::print(&if args.json { format!("{}\n", as_json(&answer)) } else { as_text(&answer) })
}

fn instant(text: &str) -> Result<i64, Failure> {
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second)
        .map_err(|e| Failure::failed(format!("--at {text}: {e}"), "write it like 2026-11-24T08:00:00Z"))
}

fn as_text(t: &Trace) -> String {
    let mut out = format!("{}: {}\n", t.verdict, t.why);
    for s in &t.path {
        let _ = writeln!(out, "  {:9} {:8} {}", s.result, s.table, s.text);
    }
    out
}

fn as_json(t: &Trace) -> Value {
    let path: Vec<Value> = t.path.iter()
        .map(|s| json!({"table": s.table, "chain": s.chain, "rule": s.rule, "text": s.text, "result": s.result.to_string()}))
        .collect();
    json!({"verdict": t.verdict.to_string(), "why": t.why, "path": path})
}
