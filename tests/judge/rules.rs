//! Random rulesets of exact matches only, as restore scripts, and random packets that concern them.

use std::fmt::Write as _;
use std::net::IpAddr;

use portcullis::analyse::Packet;
use portcullis::model::{Family, IpSet, Proto};

use super::net::{INNER, SERVER};

/// xorshift64*: small, and the same on every machine.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[usize::try_from(self.roll(list.len() as u64)).unwrap()]
    }
}

const SOURCES: [&[&str]; 2] = [
    &["10.0.0.2", "10.0.0.77", "10.0.1.9", "10.1.0.2", "192.0.2.1", "192.0.2.11", "192.0.2.129", "198.51.100.7", "198.51.100.200", "203.0.113.5", "172.20.0.9", "8.8.8.8"],
    &["fd00::2", "fd00::77", "fd01::2", "2001:db8::1", "2001:db8::11", "2001:db8:1::5", "2001:db8:2::9", "fd20::9", "2600::1"],
];
const NETS: [&[&str]; 2] = [
    &["10.0.0.0/8", "10.0.0.0/24", "10.0.0.2/32", "192.0.2.0/24", "192.0.2.0/25", "192.0.2.11/32", "198.51.100.0/24", "0.0.0.0/1", "172.20.0.0/16", "0.0.0.1/0.0.0.1", "192.0.0.1/255.0.0.127", "8.8.8.8/32"],
    &["fd00::/16", "fd00::/64", "fd00::2/128", "2001:db8::/32", "2001:db8::/48", "2001:db8::11/128", "8000::/1", "fd20::/64", "::1/::1", "2001::1/ffff::f"],
];
const PORTS: &[&str] = &["7", "9", "80", "111", "1000:2000", "2049", "8080", ":100", "60000:"];
const RANGES: [&[&str]; 2] = [
    &["10.0.0.1-10.0.0.80", "192.0.2.10-192.0.2.130", "198.51.100.0-203.0.113.255"],
    &["fd00::1-fd00::50", "2001:db8::2-2001:db8:1::5"],
];
const DPORTS: &[u16] = &[7, 9, 80, 111, 1500, 2049, 8080];
const SPORTS: &[u16] = &[53, 111, 1024, 1500, 40000, 65000];

fn family(f: Family) -> usize {
    f.index()
}

/// A name of a set, and its contents as `ipset save` prints them.
pub fn sets(dice: &mut Dice, f: Family) -> Vec<IpSet> {
    let nets = NETS[family(f)].iter().filter(|n| n.split('/').nth(1).is_some_and(|m| m.parse::<u8>().is_ok_and(|m| m > 1))).copied().collect::<Vec<_>>();
    let set = |name: &str, kind: &str, entries: Vec<String>| IpSet {
        name: name.to_owned(), kind: kind.to_owned(), family: (kind != "list:set" && kind != "bitmap:port").then_some(f), entries,
    };
    let mut some = |list: &[&str], n| {
        let mut v: Vec<String> = (0..n).map(|_| (*dice.pick(list)).to_owned()).collect();
        v.sort();
        v.dedup();
        v
    };
    let hosts = some(SOURCES[family(f)], 3);
    let wide = some(&nets, 3);
    let pairs = some(SOURCES[family(f)], 2).iter().zip(["tcp:80", "udp:111"]).map(|(a, p)| format!("{a},{p}")).collect();
    vec![
        set("hosts", "hash:ip", hosts), set("nets", "hash:net", wide), set("pairs", "hash:ip,port", pairs),
        set("ports", "bitmap:port", vec!["80".into(), "2000-2100".into()]),
        set("both", "list:set", vec!["hosts".into(), "nets".into()]),
    ]
}

/// The script for `ipset restore`.
pub fn sets_script(sets: &[IpSet]) -> String {
    let mut out = String::new();
    for s in sets {
        let more = match (s.kind.as_str(), s.family) {
            ("bitmap:port", _) => " range 0-65535",
            ("list:set", _) => "",
            (_, Some(Family::V6)) => " family inet6",
            _ => " family inet",
        };
        let _ = writeln!(out, "create {} {}{more}", s.name, s.kind);
        for e in &s.entries {
            let _ = writeln!(out, "add {} {e}", s.name);
        }
    }
    out
}

/// Where a rule stands: what may be asked there.
#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'a str,
    chain: &'a str,
    f: Family,
}

impl Place<'_> {
    fn conditions(&self, dice: &mut Dice) -> (String, Option<&'static str>) {
        let f = family(self.f);
        let mut out = String::new();
        let mut proto = None;
        let not = |dice: &mut Dice| if dice.one_in(4) { "! " } else { "" };
        if dice.one_in(2) {
            let p = dice.pick(&["tcp", "tcp", "udp", if f == 0 { "icmp" } else { "ipv6-icmp" }]);
            proto = Some(match p { "tcp" => "tcp", "udp" => "udp", "icmp" => "icmp", _ => "ipv6-icmp" });
            let _ = write!(out, "-p {p} ");
            match p {
                "tcp" | "udp" if dice.one_in(2) => {
                    let n = not(dice);
                    let which = dice.pick(&["dport", "dport", "sport"]);
                    let _ = write!(out, "-m {p} {n}--{which} {} ", dice.pick(PORTS));
                }
                "tcp" | "udp" if dice.one_in(3) => {
                    let n = not(dice);
                    let which = dice.pick(&["dports", "sports", "ports"]);
                    let _ = write!(out, "-m multiport {n}--{which} {} ", dice.pick(&["80,111", "7,1000:2000,9", "53,2049,8080:8090"]));
                }
                "tcp" if dice.one_in(4) => {
                    let n = not(dice);
                    let _ = write!(out, "-m tcp {n}--tcp-flags {} ", dice.pick(&["FIN,SYN,RST,ACK SYN", "SYN,ACK SYN,ACK", "ALL NONE", "SYN NONE"]));
                }
                "icmp" if dice.one_in(2) => {
                    let n = not(dice);
                    let _ = write!(out, "-m icmp {n}--icmp-type {} ", dice.pick(&["8", "0", "3/1", "any"]));
                }
                "ipv6-icmp" if dice.one_in(2) => {
                    let n = not(dice);
                    let _ = write!(out, "-m icmp6 {n}--icmpv6-type {} ", dice.pick(&["128", "129", "1/4"]));
                }
                _ => {}
            }
        } else if dice.one_in(10) {
            out.push_str("! -p udp ");
        }
        if dice.one_in(2) {
            let n = not(dice);
            let _ = write!(out, "{n}-s {} ", dice.pick(NETS[f]));
        }
        if dice.one_in(5) {
            let n = not(dice);
            let all: Vec<&str> = SERVER[f].iter().chain(&INNER[f]).copied().chain(["172.20.0.0/24", "10.0.0.0/9"].into_iter().filter(|_| f == 0)).collect();
            let _ = write!(out, "{n}-d {} ", dice.pick(&all));
        }
        if dice.one_in(5) && self.chain != "POSTROUTING" {
            // Never `! -i +`: iptables-save does not print it (legacy), so nobody can know it from the text.
            let n = not(dice);
            let _ = write!(out, "{n}-i {} ", dice.pick(&["s0", "s1", "s+", "b0", "b+"]));
        }
        if dice.one_in(6) && !matches!(self.chain, "PREROUTING" | "INPUT") && self.table != "raw" && self.table != "nat" {
            let n = not(dice);
            let _ = write!(out, "{n}-o {} ", dice.pick(&["s0", "b0", "b+"]));
        }
        for _ in 0..2 {
            if dice.one_in(3) {
                self.extension(dice, &mut out);
            }
        }
        (out, proto)
    }

    fn extension(&self, dice: &mut Dice, out: &mut String) {
        let f = family(self.f);
        let n = if dice.one_in(4) { "! " } else { "" };
        match dice.roll(12) {
            0 => { let _ = write!(out, "-m iprange {n}--src-range {} ", dice.pick(RANGES[f])); }
            1 => { let _ = write!(out, "-m conntrack {n}--ctstate {} ", dice.pick(&["NEW", "RELATED,ESTABLISHED", "UNTRACKED", "DNAT", "INVALID", "NEW,UNTRACKED"])); }
            2 => { let _ = write!(out, "-m state --state {} ", dice.pick(&["NEW", "ESTABLISHED", "INVALID", "UNTRACKED"])); }
            3 => { let _ = write!(out, "-m conntrack --ctdir {} ", dice.pick(&["ORIGINAL", "REPLY"])); }
            4 => { let _ = write!(out, "-m conntrack {n}--ctorigdst {} ", dice.pick(&SERVER[f])); }
            5 => { let _ = write!(out, "-m conntrack {n}--ctorigdstport {} ", dice.pick(&["80", "1000:2000", "8080"])); }
            6 => { let _ = write!(out, "-m addrtype {n}--dst-type {} ", dice.pick(&["LOCAL", "UNICAST", "MULTICAST"])); }
            7 => { let _ = write!(out, "-m mark {n}--mark {} ", dice.pick(&["0x1", "0x1/0x3", "0x0/0xff", "0x10/0x10"])); }
            8 => { let _ = write!(out, "-m pkttype {n}--pkt-type {} ", dice.pick(&["unicast", "broadcast"])); }
            9 => { let _ = write!(out, "-m set {n}--match-set {} ", dice.pick(&["hosts src", "nets src", "pairs src,dst", "ports dst", "both src", "hosts dst"])); }
            10 => { let _ = write!(out, "-m time {} ", dice.pick(&["--datestop 2037-01-01T00:00:00", "--datestart 2037-01-01T00:00:00", "--datestop 2020-01-01T00:00:00", "--datestart 2020-01-01T00:00:00"])); }
            _ => { let _ = write!(out, "-m comment --comment {} ", dice.pick(&["plain", "\"-j DROP --dport 80\""])); }
        }
    }

    fn target(&self, dice: &mut Dice, below: &[String], proto: Option<&str>, conditions: &mut String) -> String {
        if !below.is_empty() && dice.one_in(3) {
            let to = &below[usize::try_from(dice.roll(below.len() as u64)).unwrap()];
            return format!("{} {to}", if dice.one_in(4) { "-g" } else { "-j" });
        }
        let f = family(self.f);
        let nat = |dice: &mut Dice, conditions: &mut String| {
            let ports = matches!(proto, Some("tcp" | "udp"));
            if proto.is_none() && !conditions.contains("-p ") {
                conditions.insert_str(0, "-p tcp ");
            }
            let ports = ports || conditions.starts_with("-p tcp ");
            if !ports || dice.one_in(4) {
                return format!("-j DNAT --to-destination {}", dice.pick(&[INNER[f][0], INNER[f][1], SERVER[f][0], SERVER[f][1]]));
            }
            if dice.one_in(3) {
                return format!("-j REDIRECT --to-ports {}", dice.pick(&["8080", "111", "7"]));
            }
            let a = dice.pick(&[INNER[f][0], INNER[f][1], SERVER[f][0]]);
            let p = dice.pick(&["80", "9", "111"]);
            if f == 0 { format!("-j DNAT --to-destination {a}:{p}") } else { format!("-j DNAT --to-destination [{a}]:{p}") }
        };
        match self.table {
            "raw" if dice.one_in(3) => "-j CT --notrack".to_owned(),
            "mangle" if dice.one_in(2) => format!("-j MARK {}", dice.pick(&["--set-xmark 0x1/0xffffffff", "--set-xmark 0x10/0x10", "--or-mark 0x2", "--and-mark 0xfe"])),
            "nat" => match dice.roll(4) {
                0 => "-j ACCEPT".to_owned(),
                1 => "-j RETURN".to_owned(),
                _ if self.chain == "INPUT" => "-j ACCEPT".to_owned(),
                _ => nat(dice, conditions),
            },
            "filter" => dice.pick(&["-j ACCEPT", "-j ACCEPT", "-j DROP", "-j DROP", "-j REJECT", "-j RETURN", "", "-j NFLOG"]).to_owned(),
            _ => dice.pick(&["-j ACCEPT", "-j DROP", "-j RETURN", "-j RETURN", ""]).to_owned(),
        }
    }
}

/// A random ruleset for `iptables-restore`. Packets of protocol 253 always pass: they mark the end of a volley.
pub fn ruleset(dice: &mut Dice, f: Family) -> String {
    let mut out = String::new();
    for (table, bases) in [("raw", &["PREROUTING"][..]), ("mangle", &["PREROUTING", "INPUT", "FORWARD"]), ("nat", &["PREROUTING", "INPUT"]), ("filter", &["INPUT", "FORWARD"])] {
        if table != "filter" && dice.one_in(2) {
            continue;
        }
        let _ = writeln!(out, "*{table}");
        for b in bases {
            let policy = if table == "filter" && dice.one_in(2) { "DROP" } else { "ACCEPT" };
            let _ = writeln!(out, ":{b} {policy} [0:0]");
        }
        // Chains of their own for each base of nat, whose targets differ.
        let users: Vec<String> = (0..dice.roll(5)).map(|i| format!("{}{i}", if table == "nat" { "N" } else { "U" })).collect();
        for u in &users {
            let _ = writeln!(out, ":{u} - [0:0]");
        }
        for b in bases {
            let _ = writeln!(out, "-A {b} -p 253 -j ACCEPT");
        }
        let mut write = |dice: &mut Dice, chain: &str, below: &[String]| {
            let place = Place { table, chain, f };
            for _ in 0..=dice.roll(5) {
                let (mut conditions, proto) = place.conditions(dice);
                let target = place.target(dice, below, proto, &mut conditions);
                let _ = writeln!(out, "{}", format!("-A {chain} {conditions}{target}").trim_end());
            }
        };
        for b in bases {
            let below: &[String] = if table == "nat" && *b == "INPUT" { &[] } else { &users };
            write(dice, b, below);
        }
        for (i, u) in users.iter().enumerate() {
            write(dice, u, &users[i + 1..]);
        }
        out.push_str("COMMIT\n");
    }
    out
}

/// A random packet; no two of one volley have the same addresses, ports and protocol.
pub fn packet(dice: &mut Dice, f: Family, at: i64, number: u16) -> Packet {
    let proto = match dice.roll(8) {
        0 => if f == Family::V4 { Proto::ICMP } else { Proto::ICMP6 },
        1..=3 => Proto::UDP,
        _ => Proto::TCP,
    };
    let i = family(f);
    let all: Vec<&str> = SERVER[i].iter().chain(&SERVER[i][..2]).chain(&INNER[i]).copied().collect();
    let dst: IpAddr = dice.pick(&all).parse().unwrap();
    let ports = proto.has_ports();
    // Most source ports are all different; some are of the few that rules name.
    let sport = if dice.one_in(2) { SPORTS[usize::try_from(dice.roll(SPORTS.len() as u64)).unwrap()] } else { 20_000 + number };
    Packet {
        src: dice.pick(SOURCES[i]).parse().unwrap(), dst: Some(dst), proto, sport: ports.then_some(sport),
        dport: ports.then(|| DPORTS[usize::try_from(dice.roll(DPORTS.len() as u64)).unwrap()]),
        interface: Some(dice.pick(&["s0", "s1"]).to_owned()), at: Some(at),
    }
}
