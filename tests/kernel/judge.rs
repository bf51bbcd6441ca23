//! The kernel is the judge: random rulesets are loaded into a real kernel (nft and legacy, IPv4 and IPv6), real packets
//! with spoofed senders are sent through them, and each fate is compared with `trace` and with the exposure of its
//! port. No accept and no drop may be wrong, and since all matches used are judged exactly, nothing may be *depends*.
//!
//! `PORTCULLIS_FULL=1` judges 200 rulesets with 400 packets each; `PORTCULLIS_SEED=N` repeats a run.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and runs tools from outside"
)]

mod net;
mod rules;
mod volley;

use std::collections::HashSet;
use std::fmt::Write as _;

use portcullis::analyse::{Analysis, Endpoint, EndpointKind, Exposure, Packet, Verdict};
use portcullis::model::{Family, Proto, Source, View};
use portcullis::syntax::{ipset, iptables_save};

/// Reports that nothing was judged; fails in CI.
fn not_run(why: &str) {
    println!("NOT RUN: kernel_judge: {why}");
    assert!(std::env::var_os("CI").is_none(), "in CI everything has to run");
}

#[test]
fn every_fate_is_as_the_kernel_decides() {
    if !rustix::process::geteuid().is_root() {
        return not_run("it needs root");
    }
    for tool in ["iptables-nft", "iptables-legacy", "ipset", "ip", "nsenter"] {
        if !["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| std::path::Path::new(d).join(tool).exists()) {
            return not_run(&format!("{tool} is not installed"));
        }
    }
    let number =
        |name: &str, otherwise: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise);
    let full = std::env::var_os("PORTCULLIS_FULL").is_some();
    let (count, shots) = if full { (200, 400) } else { (24, 200) };
    let (count, shots) = (number("PORTCULLIS_RULESETS", count), number("PORTCULLIS_PACKETS", shots));
    let seed = number("PORTCULLIS_SEED", u64::from(std::process::id()));
    println!("seed {seed}: {count} rulesets, {shots} packets each (PORTCULLIS_SEED={seed} repeats it)");
    pin();
    let nets = net::Nets::new();
    let mut ranges = Family::BOTH.map(|f| volley::Range::new(&nets, f));
    let mut total = Tally::default();
    let first = number("PORTCULLIS_FIRST", 0);
    // Chance may leave out a kind of fate: more rulesets are made until each has been seen.
    for n in first..first + 5 * count {
        if n >= first + count && total.has_every_fate() {
            break;
        }
        println!("ruleset {n}");
        let mut dice = rules::Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(n));
        let family = if dice.roll(3) == 0 { Family::V6 } else { Family::V4 };
        let backend = if dice.roll(2) == 0 { "nft" } else { "legacy" };
        judge(
            &nets,
            &mut ranges[family.index()],
            &mut dice,
            family,
            backend,
            u16::try_from(shots).unwrap(),
            &mut total,
        );
    }
    println!("{total:?}");
    assert!(total.has_every_fate(), "the rulesets are too plain: {total:?}");
}

/// Pins the sender to one processor: veth queues are per processor, and only within one can a packet not overtake the
/// mark sent after it.
fn pin() {
    let mut set = rustix::thread::CpuSet::new();
    let first = rustix::thread::sched_getaffinity(None).unwrap();
    let cpu = (0..rustix::thread::CpuSet::MAX_CPU).find(|c| first.is_set(*c)).unwrap();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).unwrap();
}

#[derive(Debug, Default)]
struct Tally {
    rulesets: usize,
    packets: usize,
    accepted: usize,
    blocked: usize,
    forwarded_nat: usize,
    partly: usize,
    on_paper: usize,
    forwarded: usize,
    to_many: usize,
    memberships: usize,
    depends: usize,
}

impl Tally {
    fn has_every_fate(&self) -> bool {
        self.accepted > 0 && self.blocked > 0 && self.forwarded_nat > 0 && self.forwarded > 0 && self.to_many > 0
    }
}

fn judge(
    nets: &net::Nets,
    range: &mut volley::Range,
    dice: &mut rules::Dice,
    family: Family,
    backend: &str,
    shots: u16,
    total: &mut Tally,
) {
    let sets = rules::sets_script(dice, family);
    let script = rules::ruleset(dice, family);
    let ip = if family == Family::V4 { "iptables" } else { "ip6tables" };
    let tool = |what: &str| format!("{ip}-{backend}{what}");
    let loaded = nets.server.run(&["sh", "-c", "ipset -exist restore"], &sets);
    assert_eq!(loaded, "");
    let (sets, diags) = ipset::read(&nets.server.run(&["ipset", "save"], ""));
    assert!(diags.is_empty(), "{diags:?}");
    nets.server.run(&[&tool("-restore")], &script);
    let saved = nets.server.run(&[&tool("-save")], "");
    let (set, diags) = iptables_save::read(&saved, family);
    assert!(diags.is_empty(), "{diags:?}\n{saved}");
    let mut view = View::empty(Source::Live, "judge");
    if family == Family::V4 {
        view.v4 = Some(set);
    } else {
        view.v6 = Some(set);
    }
    view.addrs = Some(net::addrs());
    view.routes = Some(net::routes());
    view.forwarding = [Some(true), Some(true)];
    view.ipsets = Some(sets);
    view.route_localnet = Some(Vec::new());
    // Which of several destinations is taken is up to the kernel.
    let several = script.contains("0-2000")
        || script
            .lines()
            .any(|l| l.ends_with(&format!("{}-{}", net::INNER[family.index()][0], net::INNER[family.index()][1])));
    let mut captured = view.clone();
    captured.source = Source::Capture;
    (captured.addrs, captured.routes, captured.forwarding, captured.route_localnet) = (None, None, [None, None], None);
    view.at = jiff::Timestamp::now().as_second();

    let mut seen = HashSet::new();
    let mut packets: Vec<Packet> = Vec::new();
    while packets.len() < usize::from(shots) {
        let p = rules::packet(dice, family, view.at, u16::try_from(packets.len()).unwrap());
        // Every packet needs a connection of its own: neither a repetition nor, after NAT, the reply to another one.
        if p.proto == Proto::ICMP || p.proto == Proto::ICMP6 || seen.insert((p.src, p.sport, p.proto)) {
            packets.push(p);
        }
        if seen.len() > 3_000 {
            break;
        }
    }
    let arrived = range.fire(&packets);
    let analysis = Analysis::new(&view);
    let on_paper = Analysis::new(&captured);
    let with_addresses = View { addrs: Some(net::addrs()), ..captured.clone() };
    let with_addresses = Analysis::new(&with_addresses);
    let mut exposures: Vec<((Proto, u16), Option<Exposure>)> = Vec::new();
    for (i, p) in packets.iter().enumerate() {
        let came = arrived.contains(&u16::try_from(i).unwrap());
        let answer = analysis.trace(p);
        let wrong = match answer.verdict {
            Verdict::Accept => !came,
            Verdict::Drop | Verdict::Reject => came,
            Verdict::Depends => !several && !answer.why.contains("where REDIRECT sends multicast"),
        };
        assert!(
            !wrong,
            "{family:?} {backend}: the kernel {} packet {i} {p:?}\ntrace says {answer:#?}\n{saved}\n{:?}",
            if came { "accepts" } else { "blocks" },
            view.ipsets
        );
        total.packets += 1;
        if came {
            total.accepted += 1;
        } else {
            total.blocked += 1;
        }
        total.depends += usize::from(answer.verdict == Verdict::Depends);
        let local = net::SERVER[family.index()].iter().any(|a| p.dst == a.parse().ok());
        total.forwarded_nat += usize::from(local && answer.path.iter().any(|s| s.chain == "FORWARD"));
        // Leaving out a part of the question may only turn the answer into *depends*.
        for less in [
            Packet { interface: None, ..p.clone() },
            Packet { sport: None, ..p.clone() },
            Packet { dport: None, ..p.clone() },
            Packet { dst: p.dst.filter(|_| !local), ..p.clone() },
            Packet { dst: p.dst.filter(|_| !local), sport: None, interface: None, ..p.clone() },
        ] {
            let said = analysis.trace(&less);
            let bad = if came {
                matches!(said.verdict, Verdict::Drop | Verdict::Reject)
            } else {
                said.verdict == Verdict::Accept
            };
            assert!(
                !bad,
                "{family:?} {backend}: the kernel {} {p:?}\nbut of {less:?} trace says {said:#?}\n{saved}",
                if came { "accepts" } else { "blocks" }
            );
            total.partly += 1;
        }
        let many = net::MANY[family.index()].iter().flatten().any(|a| p.dst == a.parse().ok());
        total.to_many += usize::from(many);
        total.forwarded += usize::from(!local && !many);
        if !script.contains("*nat") {
            // The text alone does not tell whose the destination is: that may leave it open, and never turn it round.
            for (said, sure) in [(on_paper.trace(p), false), (with_addresses.trace(p), local)] {
                let bad = if came {
                    matches!(said.verdict, Verdict::Drop | Verdict::Reject)
                } else {
                    said.verdict == Verdict::Accept
                };
                // Rules that dice throw name addresses where no administrator does.
                let taken = said.assumed.iter().any(|a| a.contains(" is taken as ") && !a.contains("forwarding"));
                let unsure = said.verdict == Verdict::Depends && sure && !script.contains("--limit-iface-in");
                assert!(
                    (!bad || taken) && !unsure,
                    "{family:?} {backend}: the kernel {} {p:?}\nbut from the text trace says {said:#?}\n{saved}",
                    if came { "accepts" } else { "blocks" }
                );
            }
            total.on_paper += 1;
        }
        let (Some(port), true) = (p.dport, local) else { continue };
        let at = exposures.iter().position(|(k, _)| *k == (p.proto, port)).unwrap_or_else(|| {
            let e = Endpoint::new(EndpointKind::Rule, "port", p.proto, port);
            exposures.push(((p.proto, port), analysis.exposure(&e, family)));
            exposures.len() - 1
        });
        let x = exposures[at].1.as_ref().unwrap();
        let by = p.interface.as_ref().and_then(|i| x.by_interface.get(i));
        for reach in [Some(&x.reach), by].into_iter().flatten() {
            let bad = if came { reach.blocked.contains(p.src) } else { reach.accepted.contains(p.src) };
            assert!(
                !bad,
                "{family:?} {backend}: the kernel {} {p:?}\nexposure says {x:#?}\n{saved}",
                if came { "accepts" } else { "blocks" }
            );
            assert!(reach.accepted.contains(p.src) || reach.blocked.contains(p.src) || reach.depends.contains(p.src));
            total.memberships += 1;
        }
    }
    total.rulesets += 1;
    clear(nets, &tool(""), &script);
}

/// Removes the rules, sets and connections again.
fn clear(nets: &net::Nets, tool: &str, script: &str) {
    let mut lines = String::new();
    for table in script.lines().filter_map(|l| l.strip_prefix('*')) {
        writeln!(lines, "{tool} -w -t {table} -F\n{tool} -w -t {table} -X").unwrap();
        for chain in portcullis::model::Table::builtin_chains(table) {
            writeln!(lines, "{tool} -w -t {table} -P {chain} ACCEPT").unwrap();
        }
    }
    lines.push_str("ipset flush\nipset destroy both\nipset destroy\n");
    nets.server.run(&["sh", "-e"], &lines);
    let flushed = nets.server.try_run(&["conntrack", "-F"], "");
    assert!(flushed.status.success(), "conntrack -F: {}", String::from_utf8_lossy(&flushed.stderr));
}
