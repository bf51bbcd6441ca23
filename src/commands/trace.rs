//! `portcullis trace [FILE...] --proto P --src A ...`, and `--packets FILE` for many.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{Failure, input, json_line, print, print_exact};
use crate::analyse::{Analysis, Packet, Trace};
use crate::cli::TraceArgs;
use crate::model::{Family, Proto, View, tcp_flags};

/// Answers about one packet, or about one per line.
pub fn run(args: &TraceArgs) -> anyhow::Result<()> {
    let at = args
        .at
        .as_deref()
        .map(instant)
        .transpose()
        .map_err(|e| Failure::failed(format!("--at: {e}"), "write it like 2026-11-24T08:00:00Z"))?;
    let mut view = input::any(&args.input)?;
    if let Some(at) = at {
        view.at = at;
    }
    let analysis = Analysis::new(&view);
    if let Some(file) = &args.packets {
        input::remarks(&view);
        return many(&analysis, &view, file);
    }
    let (Some(proto), Some(src)) = (&args.proto, args.src) else {
        return Err(Failure::failed("no packet was given", "say --proto and --src, or --packets FILE").into());
    };
    let proto = Proto::parse(proto).ok_or_else(|| {
        Failure::failed(format!("{proto} is not a protocol"), "say tcp, udp, icmp or a number from 1 to 255")
    })?;
    if !proto.has_ports() && (args.dport.is_some() || args.sport.is_some()) {
        return Err(Failure::failed(format!("{proto} has no ports"), "leave --dport and --sport out").into());
    }
    let packet = Packet {
        src,
        dst: args.dst,
        proto: in_family(proto, src),
        sport: args.sport,
        dport: args.dport,
        interface: args.in_interface.clone(),
        at,
        flags: args.tcp_flags.as_deref().map(flags).transpose().map_err(bad_flags)?,
    };
    let other = args.dst.is_some_and(|d| Family::of(d) != packet.family());
    if other {
        return Err(Failure::failed(
            "the packet's addresses belong to different families",
            "give two IPv4 or two IPv6 addresses",
        )
        .into());
    }
    if let Some(failure) = without_rules(&view, packet.family()) {
        return Err(failure.into());
    }
    let answer = analysis.trace(&packet);
    if args.json {
        let mut answer = as_json(&answer);
        // What was left out of the text belongs to the answer.
        answer["diagnostics"] = json!(view.diagnostics);
        return print_exact(&json_line(&answer));
    }
    input::remarks(&view);
    print(&as_text(&answer))
}

/// The failure for a packet of a family whose rules are not known.
fn without_rules(view: &View, family: Family) -> Option<Failure> {
    let label = family.label();
    match &view.unread[family.index()] {
        _ if view.rules(family).is_some() => None,
        Some(why) => Some(Failure::failed(
            format!("the {label} rules could not be read: {why}"),
            "the fate of the packet is not known; check that iptables-save and ip6tables-save work for root here",
        )),
        None => Some(Failure::failed(
            format!("there are no {label} rules, but the packet has an {label} address"),
            "give the rules of the packet's family (iptables-save for IPv4, ip6tables-save for IPv6)",
        )),
    }
}

/// Reads one JSON object per line and prints one per line, in order. A bad line gets an answer too, and makes the
/// command fail at the end, as does a packet of a family whose rules are not known.
fn many(analysis: &Analysis, view: &View, file: &Path) -> anyhow::Result<()> {
    let text = input::text_of(file)?;
    let mut out = String::new();
    let mut bad = Vec::new();
    let mut unknown = None;
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let answer = match packet(line) {
            Ok(p) => {
                unknown = unknown.or_else(|| without_rules(view, p.family()));
                as_json(&analysis.trace(&p))
            }
            Err(e) => {
                bad.push(i + 1);
                json!({"error": e, "line": i + 1})
            }
        };
        out.push_str(&json_line(&answer));
    }
    print_exact(&out)?;
    match bad.as_slice() {
        [] => unknown.map_or(Ok(()), |f| Err(f.into())),
        [line, ..] => Err(Failure::failed(
            format!("{} of the packets could not be read, the first on line {line}", bad.len()),
            "a line is a JSON object like {\"proto\":\"tcp\",\"src\":\"192.0.2.1\",\"dport\":111}",
        )
        .into()),
    }
}

/// `icmp` means ICMPv6 for an IPv6 packet.
fn in_family(proto: Proto, src: IpAddr) -> Proto {
    if proto == Proto::ICMP && src.is_ipv6() { Proto::ICMP6 } else { proto }
}

/// The names of the fields: those of the options, with `-` or `_`.
const KEYS: &[&str] = &[
    "proto",
    "src",
    "dst",
    "sport",
    "dport",
    "in_interface",
    "in-interface",
    "interface",
    "at",
    "tcp_flags",
    "tcp-flags",
];

fn packet(line: &str) -> Result<Packet, String> {
    let v: Value = serde_json::from_str(line).map_err(|e| format!("not JSON: {e}"))?;
    let object = v.as_object().ok_or("not a JSON object")?;
    if let Some(key) = object.keys().find(|k| !KEYS.contains(&k.as_str())) {
        return Err(format!("{key} is not a field of a packet ({})", KEYS.join(", ")));
    }
    let get = |key: &str| object.get(key).filter(|v| !v.is_null());
    let text = |key: &str| {
        get(key).map(|v| v.as_str().map(str::to_owned).ok_or_else(|| format!("{key} is not a string"))).transpose()
    };
    let port = |key: &str| {
        get(key)
            .map(|v| {
                let n = v.as_u64().or_else(|| v.as_str().and_then(|s| s.parse().ok()));
                n.and_then(|n| u16::try_from(n).ok()).ok_or_else(|| format!("{key} is not a port from 0 to 65535"))
            })
            .transpose()
    };
    let addr =
        |key: &str| text(key)?.map(|t| t.parse().map_err(|_| format!("{key} {t} is not an address"))).transpose();
    let proto = match get("proto") {
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::String(s)) => s.clone(),
        _ => return Err("proto is missing".to_owned()),
    };
    let at = match get("at") {
        None => None,
        Some(Value::Number(n)) => Some(n.as_i64().ok_or("at is not a whole number of seconds")?),
        Some(v) => Some(instant(v.as_str().unwrap_or_default())?),
    };
    let interface = match text("in_interface")? {
        Some(i) => Some(i),
        None => text("in-interface")?.or(text("interface")?),
    };
    let src = addr("src")?.ok_or("src is missing")?;
    let proto = Proto::parse(&proto).ok_or_else(|| format!("{proto} is not a protocol"))?;
    let p = Packet {
        src,
        dst: addr("dst")?,
        proto: in_family(proto, src),
        sport: port("sport")?,
        dport: port("dport")?,
        interface,
        at,
        flags: text("tcp_flags")?.or(text("tcp-flags")?).map(|f| flags(&f)).transpose()?,
    };
    if p.dst.is_some_and(|d| Family::of(d) != p.family()) {
        return Err("src and dst belong to different families".to_owned());
    }
    Ok(p)
}

/// Flags as rules write them (`SYN,ACK`; iptables-extensions(8)), in any case.
fn flags(text: &str) -> Result<u8, String> {
    tcp_flags(&text.to_ascii_uppercase()).ok_or_else(|| format!("{text} are no flags of TCP"))
}

fn bad_flags(what: String) -> Failure {
    Failure::failed(what, "name them like SYN,ACK; known are FIN, SYN, RST, PSH, ACK, URG, ALL and NONE")
}

fn instant(text: &str) -> Result<i64, String> {
    text.parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_second)
        .map_err(|e| format!("{text} is not an instant: {e}"))
}

fn as_text(t: &Trace) -> String {
    let mut out = format!("{}: {}\n", t.verdict, t.why);
    for (word, lines) in [("not judged", &t.not_judged), ("assumed", &t.assumed)] {
        for line in lines {
            let _ = writeln!(out, "  {word}: {line}");
        }
    }
    for s in &t.path {
        let _ = writeln!(out, "  {:9} {:8} {}", s.result, s.table, s.text);
    }
    out
}

fn as_json(t: &Trace) -> Value {
    let path: Vec<Value> = t
        .path
        .iter()
        .map(|s| {
            json!({"table": s.table, "chain": s.chain, "rule": s.rule, "text": s.text,
                "result": s.result.to_string()})
        })
        .collect();
    json!({"verdict": t.verdict.to_string(), "why": t.why, "path": path, "assumed": t.assumed,
        "not_judged": t.not_judged})
}
