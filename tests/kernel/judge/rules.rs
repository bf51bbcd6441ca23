//! Random rulesets made only of exact matches, as restore scripts, and random packets that they concern.

use std::fmt::Write as _;
use std::net::IpAddr;

use portcullis::analyse::Packet;
use portcullis::model::{Family, Proto};

use super::net::{INNER, MANY, SERVER};

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
    &[
        "10.0.0.2",
        "10.0.0.77",
        "10.0.1.9",
        "10.1.0.2",
        "192.0.2.1",
        "192.0.2.11",
        "192.0.2.129",
        "198.51.100.7",
        "198.51.100.200",
        "203.0.113.5",
        "172.20.0.9",
        "8.8.8.8",
    ],
    &[
        "fd00::2",
        "fd00::77",
        "fd01::2",
        "2001:db8::1",
        "2001:db8::11",
        "2001:db8:1::5",
        "2001:db8:2::9",
        "fd20::9",
        "2600::1",
        "fe80::99",
    ],
];
const NETS: [&[&str]; 2] = [
    &[
        "10.0.0.0/8",
        "10.0.0.0/24",
        "10.0.0.2/32",
        "192.0.2.0/24",
        "192.0.2.0/25",
        "192.0.2.11/32",
        "198.51.100.0/24",
        "0.0.0.0/1",
        "172.20.0.0/16",
        "10.0.0.2/255.255.0.255",
        "192.0.2.0/255.0.255.0",
        "0.0.0.1/0.0.0.1",
        "192.0.0.1/255.0.0.127",
        "8.8.8.8/32",
    ],
    &[
        "fd00::/16",
        "fd00::/64",
        "fd00::2/128",
        "2001:db8::/32",
        "2001:db8::/48",
        "2001:db8::11/128",
        "8000::/1",
        "fd20::/64",
        "::1/::1",
        "2001::1/ffff::f",
        "2001:d00:1::/ffff:ff00:ffff::",
    ],
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

/// The script for `ipset restore`: sets of all types.
pub fn sets_script(dice: &mut Dice, f: Family) -> String {
    let nets = NETS[family(f)]
        .iter()
        .filter(|n| n.split('/').nth(1).is_some_and(|m| m.parse::<u8>().is_ok_and(|m| m > 1)))
        .copied()
        .collect::<Vec<_>>();
    let inet = if f == Family::V4 { "family inet" } else { "family inet6" };
    let mut out = String::new();
    let mut set = |name: &str, kind: &str, entries: Vec<String>| {
        let _ = writeln!(out, "create {name} {}", kind.replace("INET", inet));
        for e in entries {
            let _ = writeln!(out, "add {name} {e}");
        }
    };
    let mut some = |list: &[&str], n| {
        let mut v: Vec<String> = (0..n).map(|_| (*dice.pick(list)).to_owned()).collect();
        v.sort();
        v.dedup();
        v
    };
    let hosts = some(SOURCES[family(f)], 3);
    let wide = some(&nets, 3);
    let pairs =
        some(SOURCES[family(f)], 2).iter().zip(["tcp:80", "udp:111"]).map(|(a, p)| format!("{a},{p}")).collect();
    let masked = some(SOURCES[family(f)], 2);
    let narrow = some(SOURCES[family(f)], 2).into_iter().map(|a| format!("{a} nomatch"));
    let holes = wide.iter().cloned().chain(narrow).collect();
    let echo = if f == Family::V4 { "icmp:echo-request" } else { "icmpv6:echo-request" };
    let netport = wide
        .iter()
        .zip(["tcp:80", "udp:7", "tcp:2049"])
        .map(|(n, p)| format!("{n},{p}"))
        .chain(hosts.iter().zip(["tcp:80 nomatch", "sctp:80"]).map(|(a, p)| format!("{a},{p}")))
        .collect();
    let triples = hosts.iter().map(|a| format!("{a},tcp:80,{}", SERVER[family(f)][0])).collect();
    let fading = wide.iter().map(|n| format!("{n} timeout 3000 comment \"a nomatch b\"")).collect();
    set("hosts", "hash:ip INET", hosts.iter().cloned().chain([SERVER[family(f)][0].to_owned()]).collect());
    set("nets", "hash:net INET", wide.clone());
    set("holes", "hash:net INET", holes);
    set("fading", "hash:net INET timeout 600 counters comment", fading);
    set("pairs", "hash:ip,port INET", pairs);
    set("pings", "hash:ip,port INET", hosts.iter().map(|a| format!("{a},{echo}")).collect());
    set("netport", "hash:net,port INET", netport);
    set("triples", "hash:ip,port,net INET", triples);
    set("masked", if f == Family::V4 { "hash:ip INET netmask 25" } else { "hash:ip INET netmask 48" }, masked);
    set("ports", "bitmap:port range 0-65535", vec!["80".into(), "2000-2100".into()]);
    set("range", "bitmap:ip range 10.0.0.0-10.0.0.255", vec!["10.0.0.1".into(), "10.0.0.70-10.0.0.99".into()]);
    set("wholes", "bitmap:ip range 10.0.0.0-10.0.255.255 netmask 24", vec!["10.0.1.0".into()]);
    set(
        "netiface",
        "hash:net,iface INET",
        wide.iter()
            .zip(["s0", "s1", "b0"])
            .map(|(n, i)| format!("{n},{i}"))
            .chain(hosts.iter().take(1).map(|a| format!("{a},s0 nomatch")))
            .collect(),
    );
    set(
        "ipportip",
        "hash:ip,port,ip INET",
        hosts.iter().map(|a| format!("{a},udp:111,{}", SERVER[family(f)][0])).collect(),
    );
    set("both", "list:set", vec!["hosts".into(), "holes".into(), "ports".into(), "netport".into()]);
    out
}

/// The place of a rule, which decides what it may match.
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
            let p = dice.pick(&[
                "tcp",
                "tcp",
                "tcp",
                "udp",
                "udp",
                "17",
                "sctp",
                "udplite",
                "99",
                "all",
                if f == 0 { "icmp" } else { "ipv6-icmp" },
            ]);
            proto = Some(match p {
                "tcp" => "tcp",
                "udp" => "udp",
                "icmp" => "icmp",
                "sctp" => "sctp",
                _ => "other",
            });
            let _ = write!(out, "-p {p} ");
            let p = if p == "17" { "udp" } else { p };
            match p {
                "udplite" if dice.one_in(2) => {
                    let n = not(dice);
                    let _ = write!(out, "-m multiport {n}--dports 80,1000:3000 ");
                }
                "tcp" | "udp" | "sctp" if dice.one_in(2) => {
                    let n = not(dice);
                    let which = dice.pick(&["dport", "dport", "sport"]);
                    let _ = write!(out, "-m {p} {n}--{which} {} ", dice.pick(PORTS));
                }
                "tcp" | "udp" | "sctp" if dice.one_in(3) => {
                    let n = not(dice);
                    let which = dice.pick(&["dports", "sports", "ports"]);
                    let _ = write!(
                        out,
                        "-m multiport {n}--{which} {} ",
                        dice.pick(&["80,111", "7,1000:2000,9", "53,2049,8080:8090"])
                    );
                }
                "tcp" if dice.one_in(4) => {
                    let n = not(dice);
                    let _ = write!(
                        out,
                        "-m tcp {n}--tcp-flags {} ",
                        dice.pick(&[
                            "FIN,SYN,RST,ACK SYN",
                            "SYN,ACK SYN,ACK",
                            "ALL NONE",
                            "SYN NONE",
                            "ALL SYN",
                            "PSH,URG NONE",
                            "SYN,PSH SYN",
                            "RST,URG RST",
                            "ALL ALL"
                        ])
                    );
                }
                "icmp" if dice.one_in(2) => {
                    let n = not(dice);
                    let _ = write!(
                        out,
                        "-m icmp {n}--icmp-type {} ",
                        dice.pick(&["8", "8/0", "8/1", "echo-request", "0/0", "0", "3/1", "any"])
                    );
                }
                "ipv6-icmp" if dice.one_in(2) => {
                    let n = not(dice);
                    let _ = write!(
                        out,
                        "-m icmp6 {n}--icmpv6-type {} ",
                        dice.pick(&["128", "128/0", "128/1", "echo-request", "echo-reply", "1/4"])
                    );
                }
                _ => {}
            }
        } else if dice.one_in(10) {
            let _ = write!(out, "! -p {} ", dice.pick(&["udp", "tcp", "132", "99"]));
        }
        if dice.one_in(2) {
            let n = not(dice);
            let _ = write!(out, "{n}-s {} ", dice.pick(NETS[f]));
        }
        if dice.one_in(5) {
            let n = not(dice);
            let all: Vec<&str> = SERVER[f]
                .iter()
                .chain(&INNER[f])
                .copied()
                .chain([
                    ["172.20.0.0/24", "fd20::/64"][f],
                    ["10.0.0.0/9", "fd00::/15"][f],
                    ["0.0.0.1/0.0.0.255", "::1/::ffff"][f],
                    ["10.0.0.1/255.0.255.255", "fd00::1/ffef::1"][f],
                ])
                .collect();
            let _ = write!(out, "{n}-d {} ", dice.pick(&all));
        }
        if dice.one_in(5) && self.chain != "POSTROUTING" {
            // Never `! -i +`: iptables-save (legacy) does not print it, so it cannot be known from the text.
            let n = not(dice);
            let _ = write!(out, "{n}-i {} ", dice.pick(&["s0", "s1", "s+", "b0", "b+", "lo", "s0+", "zz+"]));
        }
        if dice.one_in(6) && !matches!(self.chain, "PREROUTING" | "INPUT") && self.table != "raw" && self.table != "nat"
        {
            let n = not(dice);
            let _ = write!(out, "{n}-o {} ", dice.pick(&["s0", "s1", "s+", "b0", "b+"]));
        }
        if f == 0 && dice.one_in(16) {
            out.push_str(dice.pick(&["-f ", "! -f "]));
        }
        for _ in 0..3 {
            if dice.one_in(4) {
                self.extension(dice, &mut out);
            }
        }
        (out, proto)
    }

    fn extension(&self, dice: &mut Dice, out: &mut String) {
        let f = family(self.f);
        let n = if dice.one_in(4) { "! " } else { "" };
        let local = dice.pick(&SERVER[f]);
        match dice.roll(26) {
            19 => {
                let m = if dice.one_in(3) { "! " } else { "" };
                let _ = write!(
                    out,
                    "-m iprange {n}--src-range {} {m}--dst-range {} ",
                    dice.pick(RANGES[f]),
                    dice.pick(
                        &[["10.0.0.0-10.1.0.0", "172.20.0.2-172.20.0.9"], ["fd00::-fd01::1", "fd20::2-fd20::9"]][f]
                    )
                );
            }
            // In an echo request this field is the packet's number, which `trace` is not given.
            20 if out.starts_with("-p tcp ") || out.starts_with("-p udp ") => {
                let _ =
                    write!(out, "-m conntrack {n}--ctorigsrcport {} ", dice.pick(&["53", "1024:1500", "20000:65535"]));
            }
            21 => {
                let _ = write!(
                    out,
                    "-m conntrack {n}--ctstate {} --ctproto {} ",
                    dice.pick(&["INVALID", "NEW", "DNAT"]),
                    dice.pick(&["6", "17", "132"])
                );
            }
            22 => {
                let _ = write!(
                    out,
                    "-m conntrack --ctdir ORIGINAL {n}--ctorigdstport {} --ctorigdst {} ",
                    dice.pick(&["80", "2049"]),
                    dice.pick(&[["10.0.0.0/8", "172.20.0.0/24", "10.0.0.1"], ["fd00::/15", "fd20::/64", "fd00::1"]][f])
                );
            }
            23 => {
                let _ = write!(
                    out,
                    "-m addrtype {n}--src-type {} --dst-type {} ",
                    dice.pick(&["UNICAST", "LOCAL"]),
                    dice.pick(&["LOCAL", "UNICAST"])
                );
            }
            24 => {
                if matches!(self.chain, "FORWARD" | "POSTROUTING") && self.f == Family::V4 {
                    let _ = write!(
                        out,
                        "-m addrtype {n}--{} {} --limit-iface-out ",
                        dice.pick(&["src-type", "dst-type"]),
                        dice.pick(&["LOCAL", "UNICAST", "UNICAST,BROADCAST"])
                    );
                }
            }
            // Only what holds of all packets or of none has a certain answer: no question tells the length.
            25 => {
                let ranges: &[&str] = match out.split(' ').nth(1).filter(|_| out.starts_with("-p ")) {
                    _ if f == 1 => &["100:50"],
                    Some("tcp") => &["0:65535", "40:65535", "0:39"],
                    Some("udp" | "icmp") => &["0:65535", "28:65535", "0:27"],
                    _ => &["0:65535", "20:65535", "0:19", "100:50"],
                };
                let _ = write!(out, "-m length {n}--length {} ", dice.pick(ranges));
            }
            12 => {
                let _ = write!(out, "-m addrtype {n}--src-type {} ", dice.pick(&["LOCAL", "UNICAST", "UNICAST,LOCAL"]));
            }
            13 => {
                let types = dice.pick(if f == 0 {
                    &["LOCAL", "UNICAST", "UNICAST,LOCAL", "BROADCAST", "BLACKHOLE,UNSPEC"]
                } else {
                    &["LOCAL", "UNICAST", "UNICAST,LOCAL", "MULTICAST,LOCAL", "UNSPEC"]
                });
                let limit = if self.f == Family::V4
                    && matches!(self.chain, "PREROUTING" | "INPUT" | "FORWARD")
                    && dice.one_in(2)
                {
                    "--limit-iface-in "
                } else {
                    ""
                };
                let _ = write!(out, "-m addrtype {n}--dst-type {types} {limit}");
            }
            14 => {
                let _ = write!(out, "-m connmark {n}--mark {} ", dice.pick(&["0x1", "0x10/0x10", "0x0/0xff"]));
            }
            15 => {
                let _ = write!(
                    out,
                    "-m conntrack {n}--ctproto {} --ctorigsrc {} ",
                    dice.pick(&["6", "17", "1"]),
                    dice.pick(&NETS[f][..4])
                );
            }
            16 => {
                let _ = write!(out, "-m iprange {n}--dst-range {local}-{local} --src-range {} ", dice.pick(RANGES[f]));
            }
            17 => {
                let _ = write!(out, "-m conntrack --ctstate NEW,DNAT --ctdir ORIGINAL {n}--ctorigdst {local} ");
            }
            18 => {
                out.push_str("-m time --datestart 2020-01-01T00:00:00 -m time --datestop 2037-01-01T00:00:00 ");
            }
            0 => {
                let _ = write!(out, "-m iprange {n}--src-range {} ", dice.pick(RANGES[f]));
            }
            1 => {
                let _ = write!(
                    out,
                    "-m conntrack {n}--ctstate {} ",
                    dice.pick(&["NEW", "RELATED,ESTABLISHED", "UNTRACKED", "DNAT", "INVALID", "NEW,UNTRACKED"])
                );
            }
            2 => {
                let _ = write!(out, "-m state --state {} ", dice.pick(&["NEW", "ESTABLISHED", "INVALID", "UNTRACKED"]));
            }
            3 => {
                let _ = write!(out, "-m conntrack --ctdir {} ", dice.pick(&["ORIGINAL", "REPLY"]));
            }
            4 => {
                let _ = write!(out, "-m conntrack {n}--ctorigdst {} ", dice.pick(&SERVER[f]));
            }
            5 => {
                let _ = write!(out, "-m conntrack {n}--ctorigdstport {} ", dice.pick(&["80", "1000:2000", "8080"]));
            }
            6 => {
                let _ = write!(out, "-m addrtype {n}--dst-type {} ", dice.pick(&["LOCAL", "UNICAST", "MULTICAST"]));
            }
            7 => {
                let _ = write!(out, "-m mark {n}--mark {} ", dice.pick(&["0x1", "0x1/0x3", "0x0/0xff", "0x10/0x10"]));
            }
            8 if dice.one_in(2) => out.push_str(dice.pick(&[
                "-m recent --set --name judge ",
                "-m statistic --mode random --probability 1 ",
                "-m statistic --mode random ! --probability 1 ",
                "-m length --length 0:65535 ",
                "-m conntrack --ctstatus SEEN_REPLY,ASSURED ",
                "-m conntrack ! --ctstatus CONFIRMED ",
            ])),
            8 => {
                let _ = write!(out, "-m pkttype {n}--pkt-type {} ", dice.pick(&["unicast", "broadcast"]));
            }
            9 => {
                let _ = write!(
                    out,
                    "-m set {n}--match-set {} ",
                    dice.pick(&[
                        "hosts src",
                        "nets src",
                        "pairs src,dst",
                        "ports dst",
                        "ports src",
                        "both src",
                        "both src,dst",
                        "both dst,dst",
                        "hosts dst",
                        "holes src",
                        "holes src",
                        "fading src",
                        "pings src,dst",
                        "netport src,dst",
                        "netport src,dst",
                        "netport dst,dst",
                        "netport src",
                        "triples src,dst,dst",
                        "masked src",
                        ["range src", "nets src"][f],
                        ["range dst", "hosts dst"][f],
                        ["wholes src", "hosts src,dst"][f],
                        "triples src,dst",
                        "netiface src,src",
                        "netiface src,src",
                        "netiface src,dst",
                        "ipportip src,dst,dst",
                    ])
                );
            }
            10 => {
                let _ = write!(
                    out,
                    "-m time {} ",
                    dice.pick(&[
                        "--datestop 2037-01-01T00:00:00",
                        "--datestart 2037-01-01T00:00:00",
                        "--datestop 2020-01-01T00:00:00",
                        "--datestart 2020-01-01T00:00:00",
                        "--datestart 2020-02-29 --datestop 2037-01-01",
                        "--datestart 2020-01-01T00:00:00 --datestop 2020-06-01T12:00:00"
                    ])
                );
            }
            _ => {
                let _ = write!(
                    out,
                    "-m comment --comment {} ",
                    dice.pick(&["plain", "\"-j DROP --dport 80\"", "\"it's -p udp \\\" -s 8.8.8.8\"", "-j"])
                );
            }
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
                if dice.one_in(4) {
                    return format!(
                        "-j NETMAP --to {}",
                        dice.pick(&[["172.20.0.0/24", "172.20.0.2/31"], ["fd20::/64", "fd20::2/127"]][f])
                    );
                }
                return format!(
                    "-j DNAT --to-destination {}{}",
                    dice.pick(&[INNER[f][0], INNER[f][1], SERVER[f][0], SERVER[f][1]]),
                    if dice.one_in(4) { " --random" } else { "" }
                );
            }
            if dice.one_in(3) {
                return format!(
                    "-j REDIRECT {}",
                    dice.pick(&[
                        "--to-ports 8080",
                        "--to-ports 111",
                        "--to-ports 7",
                        "",
                        "--to-ports 1000-2000 --random",
                        "--random"
                    ])
                );
            }
            if dice.one_in(6) {
                let (a, b) = (INNER[f][0], INNER[f][1]);
                return match dice.roll(3) {
                    0 => format!("-j DNAT --to-destination {a}-{b}"),
                    1 => "-j DNAT --to-destination :8080".to_owned(),
                    _ if f == 0 => format!("-j DNAT --to-destination {a}:1000-2000 --random --persistent"),
                    _ => format!("-j DNAT --to-destination [{a}]:1000-2000 --persistent"),
                };
            }
            let a = dice.pick(&[INNER[f][0], INNER[f][1], SERVER[f][0]]);
            let p = dice.pick(&["80", "9", "111"]);
            if f == 0 {
                format!("-j DNAT --to-destination {a}:{p}")
            } else {
                format!("-j DNAT --to-destination [{a}]:{p}")
            }
        };
        match self.table {
            "raw" | "filter" | "security" | "nat" if dice.one_in(8) => {
                format!("-j MARK {}", dice.pick(&["--set-xmark 0x1/0xffffffff", "--set-xmark 0x10/0x10"]))
            }
            "mangle" if dice.one_in(8) => format!(
                "-j {}",
                dice.pick(&[
                    "TOS --set-tos 0x10",
                    "DSCP --set-dscp 0x0a",
                    if f == 0 { "TTL --ttl-set 60" } else { "HL --hl-set 60" }
                ])
            ),
            "raw" if dice.one_in(3) => {
                dice.pick(&["-j CT --notrack", "-j CT --notrack", "-j CT --zone 3", "-j CT --ctevents new"]).to_owned()
            }
            "mangle" if dice.one_in(2) => format!(
                "-j MARK {}",
                dice.pick(&[
                    "--set-xmark 0x1/0xffffffff",
                    "--set-xmark 0x10/0x10",
                    "--or-mark 0x2",
                    "--and-mark 0xfe",
                    "--xor-mark 0x11"
                ])
            ),
            "mangle" if dice.one_in(2) => format!(
                "-j CONNMARK {}",
                dice.pick(&[
                    "--save-mark",
                    "--restore-mark",
                    "--save-mark --mask 0x11",
                    "--restore-mark --nfmask 0x3 --ctmask 0xff",
                    "--set-mark 0x10/0x30",
                    "--set-xmark 0x1/0x0",
                ])
            ),
            "nat" => match dice.roll(4) {
                0 => "-j ACCEPT".to_owned(),
                1 => "-j RETURN".to_owned(),
                _ if self.chain == "INPUT" && matches!(proto, Some("tcp" | "udp")) => {
                    format!("-j SNAT --to-source {}", INNER[f][1])
                }
                _ if self.chain == "INPUT" => "-j ACCEPT".to_owned(),
                // Without ports two senders cannot share an address: the kernel drops the second one.
                _ if self.chain == "POSTROUTING" && !matches!(proto, Some("tcp" | "udp")) => "-j ACCEPT".to_owned(),
                _ if self.chain == "POSTROUTING" => dice
                    .pick(&[
                        "-j MASQUERADE",
                        "-j ACCEPT",
                        ["-j SNAT --to-source 172.20.0.1", "-j SNAT --to-source fd20::1"][f],
                    ])
                    .to_owned(),
                _ => nat(dice, conditions),
            },
            "filter" if dice.one_in(6) => match (conditions.starts_with("-p tcp "), dice.one_in(2)) {
                (true, true) => "-j REJECT --reject-with tcp-reset".to_owned(),
                _ => format!(
                    "-j REJECT --reject-with {}",
                    dice.pick(
                        &[
                            ["icmp-admin-prohibited", "icmp-proto-unreachable", "icmp-net-prohibited"],
                            ["icmp6-adm-prohibited", "icmp6-addr-unreachable", "icmp6-no-route"]
                        ][f]
                    )
                ),
            },
            "filter" => dice
                .pick(&["-j ACCEPT", "-j ACCEPT", "-j DROP", "-j DROP", "-j REJECT", "-j RETURN", "", "-j NFLOG"])
                .to_owned(),
            _ => dice.pick(&["-j ACCEPT", "-j DROP", "-j RETURN", "-j RETURN", ""]).to_owned(),
        }
    }
}

/// A random ruleset for `iptables-restore`. Packets of protocol 253 always pass: they mark the end of a volley.
pub fn ruleset(dice: &mut Dice, f: Family) -> String {
    let mut out = String::new();
    for (table, bases) in [
        ("raw", &["PREROUTING"][..]),
        ("mangle", &["PREROUTING", "INPUT", "FORWARD", "POSTROUTING"]),
        ("nat", &["PREROUTING", "INPUT", "POSTROUTING"]),
        ("filter", &["INPUT", "FORWARD"]),
        ("security", &["INPUT", "FORWARD"]),
    ] {
        if table != "filter" && dice.one_in(if table == "security" { 4 } else { 2 }) == (table != "security") {
            continue;
        }
        let _ = writeln!(out, "*{table}");
        for b in bases {
            let policy = if table == "filter" && dice.one_in(2) || table != "nat" && dice.one_in(12) {
                "DROP"
            } else {
                "ACCEPT"
            };
            let _ = writeln!(out, ":{b} {policy} [0:0]");
        }
        // Separate chains for each base chain of nat, because their targets differ.
        let users: Vec<String> =
            (0..dice.roll(5)).map(|i| format!("{}{i}", if table == "nat" { "N" } else { "U" })).collect();
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
            let below: &[String] = if table == "nat" && *b != "PREROUTING" { &[] } else { &users };
            write(dice, b, below);
        }
        for (i, u) in users.iter().enumerate() {
            write(dice, u, &users[i + 1..]);
        }
        out.push_str("COMMIT\n");
    }
    out
}

/// A random packet; within a volley no two have the same addresses, ports and protocol.
pub fn packet(dice: &mut Dice, f: Family, at: i64, number: u16) -> Packet {
    let proto = match dice.roll(24) {
        20 => Proto(132),
        // No UDP-Lite: IPv4 conntrack verifies its checksum without the pseudo header and calls
        // it INVALID (nf_ip_checksum).
        21..=23 => Proto(99),
        0..=2 => {
            if f == Family::V4 {
                Proto::ICMP
            } else {
                Proto::ICMP6
            }
        }
        3..=8 => Proto::UDP,
        _ => Proto::TCP,
    };
    let i = family(f);
    let interface = usize::try_from(dice.roll(2)).unwrap();
    let all: Vec<&str> =
        SERVER[i].iter().chain(&SERVER[i][..2]).chain(&INNER[i]).chain(&MANY[i][interface]).copied().collect();
    let dst: IpAddr = dice.pick(&all).parse().unwrap();
    let ports = proto.has_ports();
    // Most source ports are different; some are among the few that rules name.
    let sport =
        if dice.one_in(2) { SPORTS[usize::try_from(dice.roll(SPORTS.len() as u64)).unwrap()] } else { 20_000 + number };
    Packet {
        src: dice.pick(SOURCES[i]).parse().unwrap(),
        dst: Some(dst),
        proto,
        sport: ports.then_some(sport),
        dport: ports.then(|| DPORTS[usize::try_from(dice.roll(DPORTS.len() as u64)).unwrap()]),
        interface: Some(["s0", "s1"][interface].to_owned()),
        at: Some(at),
        flags: None,
    }
}
