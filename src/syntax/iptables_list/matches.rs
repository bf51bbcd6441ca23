//! The match texts of `iptables -L`, turned into the options that `iptables-save` prints
//! (the `print` and `save` functions in iptables' extensions/).

use std::fmt::Write as _;

use super::targets;
use super::text::Text;
use crate::model::{Family, Proto, quote};
use crate::syntax::{icmp_names, services};

/// What the text behind the addresses says.
#[derive(Default)]
pub(super) struct Found {
    /// ` -m tcp --dport 22 ...`
    pub matches: String,
    /// ` --reject-with ...`
    pub target_options: String,
    /// The name that the target has in `iptables-save`, when it differs.
    pub rename: Option<&'static str>,
    /// `[goto]`
    pub goto: bool,
    /// The words that were not understood.
    pub unread: Option<String>,
}

/// Reads the text behind the addresses.
pub(super) fn read(text: &str, family: Family, target: &str) -> Found {
    // iptables before 1.4.11 glues the target's text to that of tcpmss.
    let unglued = text.replace("TCPMSS ", " TCPMSS ");
    let text = if text.contains("TCPMSS ") && !text.contains(" TCPMSS ") { unglued.as_str() } else { text };
    let mut reader = Reader { text: Text::new(text), family, found: Found::default(), last: "" };
    reader.run(target);
    reader.found
}

/// Modules whose text is fixed words and one value: words, module, option.
const SIMPLE: &[(&str, &str, &str)] = &[
    ("mark match", "mark", "--mark"), ("MARK match", "mark", "--mark"),
    ("connmark match", "connmark", "--mark"), ("CONNMARK match", "connmark", "--mark"),
    ("length", "length", "--length"), ("tcpmss match", "tcpmss", "--mss"), ("DSCP match", "dscp", "--dscp"),
    ("tos match", "tos", "--tos"), ("TOS match", "tos", "--tos"), ("cpu", "cpu", "--cpu"), ("realm", "realm", "--realm"), ("cgroup", "cgroup", "--cgroup"),
    ("src-group", "devgroup", "--src-group"), ("dst-group", "devgroup", "--dst-group"),
    ("esp spi:", "esp", "--espspi"), ("ah spi:", "ah", "--ahspi"), ("rt type:", "rt", "--rt-type"),
    ("MAC", "mac", "--mac-source"), ("source IP range", "iprange", "--src-range"), ("destination IP range", "iprange", "--dst-range"),
    ("nfacct-name", "nfacct", "--nfacct-name"), ("OS fingerprint match", "osf", "--genre"),
];

struct Reader<'a> {
    text: Text<'a>,
    family: Family,
    found: Found,
    /// The module named last: its further options need no second `-m`.
    last: &'static str,
}

impl Reader<'_> {
    fn run(&mut self, target: &str) {
        while !self.text.is_empty() {
            if self.text.eat("[goto]") {
                self.found.goto = true;
                continue;
            }
            let before = self.text;
            if self.comment(target) {
                continue;
            }
            let mark = self.found.matches.len();
            let not = self.text.eat("!");
            if self.one(not).is_some() {
                continue;
            }
            self.text = before;
            self.found.matches.truncate(mark);
            if let Some(done) = targets::read(target, &mut self.text) {
                if self.text.is_empty() {
                    self.found.target_options = done.options;
                    self.found.rename = done.rename;
                    return;
                }
            }
            // A comment may stand behind the words that are not known; they all stay.
            let rest = before.rest.trim();
            let _ = write!(self.found.matches, " -m unlisted --text {}", quote(rest));
            self.found.unread = Some(rest.to_owned());
            return;
        }
    }

    /// `/* text */`. Where the text holds `*/` itself, the first end behind which all is understood counts.
    fn comment(&mut self, target: &str) -> bool {
        let Some(inner) = self.text.rest.trim_start().strip_prefix("/*") else { return false };
        let ends: Vec<usize> = inner.match_indices("*/").map(|(i, _)| i).take(8).collect();
        let understood = |at: &usize| {
            ends.len() == 1 || read(&inner[at + 2..], self.family, target).unread.is_none()
        };
        let Some(at) = ends.iter().find(|at| understood(at)).or(ends.first()).copied() else { return false };
        let body = inner[..at].strip_prefix(' ').unwrap_or(&inner[..at]);
        let body = body.strip_suffix(' ').unwrap_or(body);
        let _ = write!(self.found.matches, " -m comment --comment {}", quote(body));
        self.text.rest = &inner[at + 2..];
        self.last = "comment";
        true
    }

    fn module(&mut self, name: &'static str) {
        if self.last != name || matches!(name, "recent" | "statistic" | "limit" | "hashlimit") {
            let _ = write!(self.found.matches, " -m {name}");
            self.last = name;
        }
    }

    fn option(&mut self, not: bool, option: &str, value: &str) {
        let out = &mut self.found.matches;
        let _ = write!(out, "{} {option}", if not { " !" } else { "" });
        if !value.is_empty() {
            let _ = write!(out, " {value}");
        }
    }

    /// One module's text; `None` when it is not one that is known.
    fn one(&mut self, not: bool) -> Option<()> {
        match self.text.peek() {
            "limit:" => return self.limit(),
            "recent:" => return self.recent(not),
            "multiport" => return self.multiport(),
            "ADDRTYPE" => return self.addrtype(),
            "PHYSDEV" => return self.physdev(),
            "owner" | "OWNER" => return self.owner(not),
            "match-set" => return self.set(not),
            "statistic" => return self.statistic(),
            "TIME" => return self.time(),
            "STRING" => return self.string(),
            "policy" => return self.policy(),
            "#conn" => return self.connlimit(),
            "rpfilter" | "socket" => return self.flags(),
            "state" => {
                self.text.word();
                let states = self.text.word();
                self.module("state");
                return Some(self.option(not, "--state", some(states)?));
            }
            w if w.starts_with("ct") => return self.conntrack(not),
            _ => {}
        }
        self.transport().or_else(|| self.icmp()).or_else(|| self.simple(not)).or_else(|| self.rest(not))
    }

    fn simple(&mut self, outer: bool) -> Option<()> {
        for (words, module, option) in SIMPLE {
            let mut ahead = self.text;
            // Only `spi:` and the old `tos match0x10` have their value glued on.
            let glued = words.ends_with([':', 'h']) && ahead.eat_glued(words);
            if glued || ahead.eat(words) {
                let (not, value) = ahead.value()?;
                self.text = ahead;
                self.module(module);
                return Some(self.option(not || outer, option, value));
            }
        }
        None
    }

    /// `tcp dpt:22 flags:0x17/0x02`, also the old `tcp dpt:22flags: 0x17/0x02`.
    fn transport(&mut self) -> Option<()> {
        let module = ["tcp", "udplite", "udp", "sctp", "dccp"].into_iter().find(|m| {
            self.text.rest.trim_start().strip_prefix(m).is_some_and(|r| r.is_empty() || r.starts_with(char::is_whitespace) || r.starts_with("flags:"))
        })?;
        self.text.eat_glued(module);
        self.module(module);
        loop {
            let word = self.text.peek();
            let ports = [("spts:", "--sport"), ("spt:", "--sport"), ("dpts:", "--dport"), ("dpt:", "--dport")]
                .into_iter().find(|(p, _)| word.starts_with(p));
            if let Some((prefix, option)) = ports {
                self.text.eat_glued(prefix);
                let mut ahead = self.text;
                let mut value = ahead.word();
                match value.find("flags:") {
                    Some(at) => {
                        value = &value[..at];
                        self.text.eat_glued(value);
                    }
                    None => self.text = ahead,
                }
                let (not, value) = value.strip_prefix('!').map_or((false, value), |v| (true, v));
                self.option(not, option, &services::ports_as_numbers(some(value)?));
            } else if self.text.eat_glued("flags:") {
                let (not, value) = self.text.value()?;
                let (mask, comp) = value.split_once('/')?;
                let value = format!("{} {}", tcp_flags(mask)?, tcp_flags(comp)?);
                self.option(not, "--tcp-flags", &value);
            } else if self.text.eat_glued("option=") {
                let (not, value) = self.text.value()?;
                self.option(not, "--tcp-option", value);
            } else if module == "sctp" && matches!(word, "any" | "all" | "only") {
                self.text.word();
                let chunks = self.text.word();
                self.option(false, "--chunk-types", &format!("{word} {chunks}"));
            } else {
                return Some(());
            }
        }
    }

    /// `icmptype 3 code 4`, `icmp echo-request`, `icmp !type 8`, `icmp type 3 code 1`, and the same for IPv6.
    fn icmp(&mut self) -> Option<()> {
        let v6 = self.text.eat_glued("ipv6-icmp") || (self.family == Family::V6 && self.text.eat_glued("icmpv6"));
        if !v6 && !self.text.eat_glued("icmp") {
            return None;
        }
        let (module, option) = if v6 { ("icmp6", "--icmpv6-type") } else { ("icmp", "--icmp-type") };
        let not = self.text.eat_glued("!");
        let value = if self.text.eat("type") {
            let kind = self.text.word();
            kind.parse::<u8>().ok()?;
            if self.text.eat("code") {
                format!("{kind}/{}", self.text.word())
            } else if kind == "255" && !v6 {
                "any".to_owned()
            } else {
                kind.to_owned()
            }
        } else {
            let name = self.text.word();
            icmp_names::number(name, v6).map_or_else(|| some(name).map(str::to_owned), |n| Some(n.to_owned()))?
        };
        self.module(module);
        Some(self.option(not, option, &value))
    }

    fn conntrack(&mut self, not: bool) -> Option<()> {
        const WORDS: &[&str] = &[
            "ctstate", "ctproto", "ctorigsrc", "ctorigdst", "ctreplsrc", "ctrepldst", "ctorigsrcport", "ctorigdstport",
            "ctreplsrcport", "ctrepldstport", "ctstatus", "ctexpire", "ctdir",
        ];
        let word = WORDS.iter().find(|w| **w == self.text.peek())?;
        self.text.word();
        let value = self.text.word();
        self.module("conntrack");
        Some(self.option(not, &format!("--{word}"), some(value)?))
    }

    fn multiport(&mut self) -> Option<()> {
        self.text.word();
        let which = self.text.word();
        let (not, list) = self.text.value()?;
        let option = match which {
            "dports" => "--dports",
            "sports" => "--sports",
            "ports" => "--ports",
            _ => return None,
        };
        self.module("multiport");
        let list: Vec<String> = list.split(',').map(services::ports_as_numbers).collect();
        Some(self.option(not, option, &list.join(",")))
    }

    /// `limit: avg 3/min burst 5` is limit; with `mode` it is hashlimit, whose name the listing does not show.
    fn limit(&mut self) -> Option<()> {
        self.text.word();
        let above = self.text.eat("above");
        let upto = above || self.text.eat("up to") || self.text.eat("avg");
        let rate = self.text.word();
        let burst = if self.text.eat("burst") { self.text.word() } else { "5" };
        if !upto || rate.is_empty() {
            return None;
        }
        if self.text.peek() != "mode" {
            self.module("limit");
            self.option(false, "--limit", rate);
            if burst != "5" {
                self.option(false, "--limit-burst", burst);
            }
            return Some(());
        }
        self.module("hashlimit");
        self.option(false, if above { "--hashlimit-above" } else { "--hashlimit-upto" }, rate);
        self.option(false, "--hashlimit-burst", burst);
        loop {
            let word = self.text.peek();
            match word {
                "mode" | "htable-size" | "htable-max" | "htable-gcinterval" | "htable-expire" | "srcmask" | "dstmask" | "rate-interval" => {
                    self.text.word();
                    let value = self.text.word().replace('-', ",");
                    self.option(false, &format!("--hashlimit-{word}"), &value);
                }
                _ => return Some(()),
            }
        }
    }

    fn recent(&mut self, not: bool) -> Option<()> {
        self.text.word();
        let command = match self.text.word() {
            "SET" => "--set",
            "UPDATE" => "--update",
            "CHECK" => "--rcheck",
            "REMOVE" => "--remove",
            _ => return None,
        };
        self.module("recent");
        self.option(not, command, "");
        let mut side = "";
        loop {
            let (option, value) = match self.text.peek() {
                "seconds:" => ("--seconds", true),
                "reap" => ("--reap", false),
                "hit_count:" => ("--hitcount", true),
                "TTL-Match" => ("--rttl", false),
                "name:" => ("--name", true),
                "mask:" => ("--mask", true),
                "side:" => {
                    self.text.word();
                    side = if self.text.word() == "source" { "--rsource" } else { "--rdest" };
                    continue;
                }
                _ => break,
            };
            self.text.word();
            let value = if value { self.text.word() } else { "" };
            self.option(false, option, value);
        }
        if !side.is_empty() {
            self.option(false, side, "");
        }
        Some(())
    }

    fn addrtype(&mut self) -> Option<()> {
        self.text.eat("ADDRTYPE match").then_some(())?;
        self.module("addrtype");
        loop {
            let option = match self.text.peek() {
                "src-type" => "--src-type",
                "dst-type" => "--dst-type",
                "limit-in" | "limit-out" => {
                    let option = if self.text.word() == "limit-in" { "--limit-iface-in" } else { "--limit-iface-out" };
                    self.option(false, option, "");
                    continue;
                }
                _ => return Some(()),
            };
            self.text.word();
            let (not, value) = self.text.value()?;
            self.option(not, option, value);
        }
    }

    fn physdev(&mut self) -> Option<()> {
        self.text.eat("PHYSDEV match").then_some(())?;
        self.module("physdev");
        loop {
            let mut ahead = self.text;
            let not = ahead.eat("!");
            let option = ahead.word();
            let value = match option {
                "--physdev-in" | "--physdev-out" => ahead.word(),
                "--physdev-is-in" | "--physdev-is-out" | "--physdev-is-bridged" => "",
                _ => return Some(()),
            };
            self.text = ahead;
            self.option(not, option, value);
        }
    }

    fn owner(&mut self, not: bool) -> Option<()> {
        self.text.word();
        let (option, value) = if self.text.eat("socket exists") {
            ("--socket-exists", "")
        } else {
            let option = match self.text.word() {
                "UID" => "--uid-owner",
                "GID" => "--gid-owner",
                "PID" => "--pid-owner",
                "SID" => "--sid-owner",
                "CMD" => "--cmd-owner",
                _ => return None,
            };
            self.text.eat("match").then_some(())?;
            (option, self.text.word())
        };
        self.module("owner");
        Some(self.option(not, option, value))
    }

    fn set(&mut self, not: bool) -> Option<()> {
        self.text.word();
        let (name, dirs) = (self.text.word(), self.text.word());
        self.module("set");
        self.option(not, "--match-set", &format!("{name} {}", some(dirs)?));
        loop {
            let mut ahead = self.text;
            let not = ahead.eat("!");
            let option = ahead.word();
            let value = match option {
                "return-nomatch" | "update-counters" | "update-subcounters" => "",
                "packets-eq" | "packets-lt" | "packets-gt" | "bytes-eq" | "bytes-lt" | "bytes-gt" => ahead.word(),
                _ => return Some(()),
            };
            self.text = ahead;
            self.option(not, &format!("--{option}"), value);
        }
    }

    fn statistic(&mut self) -> Option<()> {
        self.text.eat("statistic mode").then_some(())?;
        let mode = self.text.word();
        self.module("statistic");
        self.option(false, "--mode", mode);
        let not = self.text.eat("!");
        match mode {
            "random" if self.text.eat("probability") => {
                let p = self.text.word();
                Some(self.option(not, "--probability", p))
            }
            "nth" if self.text.eat("every") => {
                let n = self.text.word();
                self.option(not, "--every", n);
                let packet = if self.text.eat("packet") { self.text.word() } else { "0" };
                Some(self.option(false, "--packet", packet))
            }
            _ => None,
        }
    }

    fn time(&mut self) -> Option<()> {
        self.text.word();
        self.module("time");
        let (mut dates, mut utc, mut contiguous) = (String::new(), false, false);
        loop {
            if self.text.eat("from") {
                let from = self.text.word();
                self.text.eat("to").then_some(())?;
                let to = self.text.word();
                self.option(false, "--timestart", from);
                self.option(false, "--timestop", to);
            } else if self.text.eat("on") {
                let days = self.text.word();
                if days.starts_with(|c: char| c.is_ascii_digit()) {
                    let plain: Vec<&str> = days.split(',').map(|d| d.trim_end_matches(|c: char| c.is_ascii_alphabetic())).collect();
                    self.option(false, "--monthdays", &plain.join(","));
                } else {
                    self.option(false, "--weekdays", days);
                }
            } else if self.text.eat("starting from") {
                let _ = write!(dates, " --datestart {}T{}", self.text.word(), self.text.word());
            } else if self.text.eat("until date") {
                let _ = write!(dates, " --datestop {}T{}", self.text.word(), self.text.word());
            } else if self.text.eat("UTC") {
                utc = true;
            } else if self.text.eat("contiguous") {
                contiguous = true;
            } else {
                break;
            }
        }
        self.found.matches.push_str(&dates);
        if !utc {
            self.option(false, "--kerneltz", "");
        }
        if contiguous {
            self.option(false, "--contiguous", "");
        }
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        self.text.eat("STRING match").then_some(())?;
        let not = self.text.eat_glued("!");
        let value = self.text.quoted(" ALGO name ")?;
        self.text.eat("ALGO name").then_some(())?;
        let algo = self.text.word();
        self.module("string");
        let hex = value.starts_with('|') && value.ends_with('|') && value.len() > 1;
        self.option(not, if hex { "--hex-string" } else { "--string" }, &quoted(value));
        self.option(false, "--algo", algo);
        for (word, option) in [("FROM", "--from"), ("TO", "--to")] {
            if self.text.eat(word) {
                let n = self.text.word();
                self.option(false, option, n);
            }
        }
        if self.text.eat("ICASE") {
            self.option(false, "--icase", "");
        }
        Some(())
    }

    fn policy(&mut self) -> Option<()> {
        self.text.eat("policy match").then_some(())?;
        self.module("policy");
        loop {
            let mut ahead = self.text;
            let not = ahead.eat("!");
            let word = ahead.word();
            match word {
                "strict" => self.option(false, "--strict", ""),
                "dir" | "pol" | "reqid" | "spi" | "mode" | "tunnel-src" | "tunnel-dst" => {
                    let value = ahead.word();
                    self.option(not, &format!("--{word}"), value);
                }
                "proto" => {
                    let value = ahead.word();
                    let name = Proto::parse(value).map_or_else(|| value.to_owned(), |p| p.to_string());
                    self.option(not, "--proto", &name);
                }
                "[0]" => {}
                w if w.starts_with('[') => self.option(false, "--next", ""),
                _ => return Some(()),
            }
            self.text = ahead;
        }
    }

    /// `#conn src/32 > 10`
    fn connlimit(&mut self) -> Option<()> {
        self.text.word();
        let (side, mask) = self.text.word().split_once('/')?;
        let option = match self.text.word() {
            ">" | "!<=" => "--connlimit-above",
            "<=" => "--connlimit-upto",
            _ => return None,
        };
        let n = self.text.word();
        self.module("connlimit");
        self.option(false, option, some(n)?);
        self.option(false, "--connlimit-mask", mask);
        Some(self.option(false, if side == "dst" { "--connlimit-daddr" } else { "--connlimit-saddr" }, ""))
    }

    /// Modules whose text is only their flags.
    fn flags(&mut self) -> Option<()> {
        let module = if self.text.word() == "socket" { "socket" } else { "rpfilter" };
        self.module(module);
        loop {
            let word = self.text.peek();
            let flag = word.trim_start_matches('-');
            if !matches!(flag, "loose" | "validmark" | "accept-local" | "invert" | "transparent" | "nowildcard" | "restore-skmark") {
                return Some(());
            }
            self.text.word();
            self.option(false, &format!("--{flag}"), "");
        }
    }

    fn rest(&mut self, not: bool) -> Option<()> {
        let first = self.text.word();
        match first {
            "PKTTYPE" => {
                let not = match self.text.word() {
                    "=" => false,
                    "!=" => true,
                    _ => return None,
                };
                let kind = self.text.word();
                self.module("pkttype");
                Some(self.option(not, "--pkt-type", kind))
            }
            "TTL" | "HL" => {
                self.text.eat(&format!("match {first}")).then_some(())?;
                let lower = first.to_ascii_lowercase();
                let (not, what) = match self.text.word() {
                    "==" => (false, "eq"),
                    "!=" => (true, "eq"),
                    "<" => (false, "lt"),
                    ">" => (false, "gt"),
                    _ => return None,
                };
                let value = self.text.word();
                self.module(if first == "TTL" { "ttl" } else { "hl" });
                Some(self.option(not, &format!("--{lower}-{what}"), value))
            }
            "helper" if self.text.eat("match") => {
                let helper = self.text.word().trim_matches('"');
                self.module("helper");
                Some(self.option(not, "--helper", helper))
            }
            "quota:" => {
                let n = self.text.word();
                self.text.eat("bytes").then_some(())?;
                self.module("quota");
                Some(self.option(not, "--quota", n))
            }
            "connbytes" => {
                let range = self.text.word();
                self.text.eat("connbytes mode").then_some(())?;
                let mode = self.text.word();
                self.text.eat("connbytes direction").then_some(())?;
                let dir = self.text.word();
                self.module("connbytes");
                self.option(not, "--connbytes", range);
                self.option(false, "--connbytes-mode", mode);
                Some(self.option(false, "--connbytes-dir", some(dir)?))
            }
            "u32" => {
                let program = self.text.word().trim_matches('"').to_owned();
                self.module("u32");
                Some(self.option(not, "--u32", &quoted(&program)))
            }
            "ECN" if self.text.eat("match") => {
                let neg = self.text.eat_glued("!");
                let what = self.text.word();
                self.module("ecn");
                match what {
                    "CWR" => Some(self.option(neg, "--ecn-tcp-cwr", "")),
                    "ECE" => Some(self.option(neg, "--ecn-tcp-ece", "")),
                    w => Some(self.option(neg, "--ecn-ip-ect", w.strip_prefix("ECT=")?)),
                }
            }
            _ => None,
        }
    }
}

/// A value that `iptables-save` always puts in quotes.
fn quoted(value: &str) -> String {
    let quoted = quote(value);
    if quoted.starts_with('"') { quoted } else { format!("\"{quoted}\"") }
}

/// The word, if there is one.
fn some(word: &str) -> Option<&str> {
    (!word.is_empty()).then_some(word)
}

/// `0x17`, or names: `FIN,SYN,RST,ACK`, in the order that `iptables-save` prints.
fn tcp_flags(text: &str) -> Option<String> {
    const NAMES: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    let bits = match text {
        "NONE" => 0,
        "ALL" => 63,
        t if t.starts_with("0x") => u8::from_str_radix(&t[2..], 16).ok().filter(|b| *b < 64)?,
        t => t.split(',').try_fold(0u8, |acc, w| NAMES.iter().position(|n| *n == w).map(|i| acc | 1 << i))?,
    };
    if bits == 0 {
        return Some("NONE".to_owned());
    }
    let names: Vec<&str> = NAMES.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, n)| *n).collect();
    Some(names.join(","))
}
