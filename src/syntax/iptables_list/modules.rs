//! Texts of more match modules, one function each.

use std::fmt::Write as _;

use super::matches::Reader;
use super::text::{some, tos_number};
use crate::model::{Proto, quote};

impl Reader<'_> {
    /// `limit: avg 3/min burst 5` is limit; `up to`, `above` and a `mode` mean hashlimit, whose name the listing does
    /// not show.
    pub(super) fn limit(&mut self) -> Option<()> {
        self.text.word();
        let above = self.text.eat("above");
        let upto = !above && self.text.eat("up to");
        (above || upto || self.text.eat("avg")).then_some(())?;
        let rate = some(self.text.word())?;
        let burst = if self.text.eat("burst") { self.text.word() } else { "" };
        if !above && !upto && self.text.peek() != "mode" {
            self.module("limit");
            self.option(false, "--limit", rate);
            if !matches!(burst, "" | "5") {
                self.option(false, "--limit-burst", burst);
            }
            return Some(());
        }
        self.module("hashlimit");
        self.option(false, if above { "--hashlimit-above" } else { "--hashlimit-upto" }, rate);
        if !burst.is_empty() {
            self.option(false, "--hashlimit-burst", burst);
        }
        loop {
            let word = self.text.peek();
            let value = match word {
                "mode" | "htable-size" | "htable-max" | "htable-gcinterval" | "htable-expire" | "srcmask"
                | "dstmask" | "rate-interval" => {
                    self.text.word();
                    some(self.text.word())?.replace('-', ",")
                }
                "rate-match" => {
                    self.text.word();
                    String::new()
                }
                _ => return Some(()),
            };
            self.option(false, &format!("--hashlimit-{word}"), &value);
        }
    }

    pub(super) fn recent(&mut self, not: bool) -> Option<()> {
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

    pub(super) fn addrtype(&mut self) -> Option<()> {
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

    pub(super) fn physdev(&mut self) -> Option<()> {
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

    pub(super) fn owner(&mut self, not: bool) -> Option<()> {
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
            // Without -n numbers are shown as names; only one name is the same everywhere.
            (
                option,
                match some(self.text.word())? {
                    "root" => "0",
                    who => who,
                },
            )
        };
        self.module("owner");
        self.option(not, option, value);
        if self.text.eat("incl. suppl. groups") {
            self.option(false, "--suppl-groups", "");
        }
        Some(())
    }

    pub(super) fn set(&mut self, not: bool) -> Option<()> {
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

    pub(super) fn statistic(&mut self) -> Option<()> {
        self.text.eat("statistic mode").then_some(())?;
        let mode = self.text.word();
        self.module("statistic");
        self.option(false, "--mode", mode);
        let not = self.text.eat("!");
        match mode {
            "random" if self.text.eat("probability") => {
                let p = self.text.word();
                self.option(not, "--probability", p)
            }
            "nth" if self.text.eat("every") => {
                let n = self.text.word();
                self.option(not, "--every", n);
                let packet = if self.text.eat("packet") { self.text.word() } else { "0" };
                self.option(false, "--packet", packet)
            }
            _ => None,
        }
    }

    pub(super) fn time(&mut self) -> Option<()> {
        self.text.word();
        self.module("time");
        // iptables-save prints the days of the month first, iptables -L the days of the week.
        let (mut days, mut dates, mut utc, mut contiguous) = (String::new(), String::new(), false, false);
        loop {
            if self.text.eat("from") {
                let from = self.text.word();
                self.text.eat("to").then_some(())?;
                let to = self.text.word();
                self.option(false, "--timestart", from);
                self.option(false, "--timestop", to);
            } else if self.text.eat("on") {
                let list = some(self.text.word())?;
                if list.starts_with(|c: char| c.is_ascii_digit()) {
                    let plain: Vec<&str> =
                        list.split(',').map(|d| d.trim_end_matches(|c: char| c.is_ascii_alphabetic())).collect();
                    days.insert_str(0, &format!(" --monthdays {}", plain.join(",")));
                } else {
                    let _ = write!(days, " --weekdays {list}");
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
        if !dates.contains("--datestop") {
            // The kernel's last instant: left out by the listing, printed by iptables-save.
            dates.push_str(" --datestop 2038-01-19T03:14:07");
        }
        self.found.matches.push_str(&days);
        self.found.matches.push_str(&dates);
        if !utc {
            self.option(false, "--kerneltz", "");
        }
        if contiguous {
            self.option(false, "--contiguous", "");
        }
        Some(())
    }

    pub(super) fn string(&mut self) -> Option<()> {
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

    pub(super) fn policy(&mut self) -> Option<()> {
        self.text.eat("policy match").then_some(())?;
        self.module("policy");
        loop {
            let mut ahead = self.text;
            let not = ahead.eat("!");
            let word = ahead.word();
            match word {
                "strict" => _ = self.option(false, "--strict", ""),
                "dir" | "pol" | "reqid" | "spi" | "mode" | "tunnel-src" | "tunnel-dst" => {
                    let value = ahead.word();
                    self.option(not, &format!("--{word}"), value)?;
                }
                "proto" => {
                    let value = ahead.word();
                    let name = Proto::parse(value).map_or_else(|| value.to_owned(), |p| p.to_string());
                    self.option(not, "--proto", &name)?;
                }
                "[0]" => {}
                w if w.starts_with('[') => _ = self.option(false, "--next", ""),
                _ => return Some(()),
            }
            self.text = ahead;
        }
    }

    /// `#conn src/32 > 10`
    pub(super) fn connlimit(&mut self) -> Option<()> {
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
        self.option(false, if side == "dst" { "--connlimit-daddr" } else { "--connlimit-saddr" }, "")
    }

    /// Modules whose text consists of flags only.
    pub(super) fn flags(&mut self) -> Option<()> {
        let module = if self.text.word() == "socket" { "socket" } else { "rpfilter" };
        self.module(module);
        loop {
            let word = self.text.peek();
            let flag = word.trim_start_matches('-');
            if !matches!(
                flag,
                "loose" | "validmark" | "accept-local" | "invert" | "transparent" | "nowildcard" | "restore-skmark"
            ) {
                return Some(());
            }
            self.text.word();
            self.option(false, &format!("--{flag}"), "");
        }
    }

    /// `rateest match RE1 bps 625 gt`, `... delta pps 8 lt 9`, `... lt RE2 bps`; with `-n` rates are in
    /// bytes per second.
    pub(super) fn rateest(&mut self) -> Option<()> {
        self.text.eat("rateest match").then_some(())?;
        let first = some(self.text.word())?;
        let delta = self.text.eat("delta");
        let (mut what, mut one, mut two, mut how, mut second) = ("", "", "", "", "");
        let mut not = false;
        loop {
            match self.text.peek() {
                "bps" | "pps" => what = self.text.word(),
                "!" => {
                    self.text.word();
                    not = true;
                }
                "eq" | "lt" | "gt" => how = self.text.word(),
                w if w.starts_with(|c: char| c.is_ascii_digit()) && !what.is_empty() => {
                    let slot = if one.is_empty() { &mut one } else { &mut two };
                    *slot = self.text.word();
                }
                "" => break,
                _ if second.is_empty() && !how.is_empty() && what.is_empty() => second = self.text.word(),
                _ => break,
            }
        }
        (!what.is_empty() && !how.is_empty()).then_some(())?;
        let unit = |v: &str| match v.parse::<u64>() {
            Ok(bytes) if what == "bps" => rate(bytes.saturating_mul(8)),
            _ => v.to_owned(),
        };
        self.module("rateest");
        if delta {
            self.option(false, "--rateest-delta", "");
        }
        self.option(false, if second.is_empty() { "--rateest" } else { "--rateest1" }, first);
        if delta {
            self.option(false, &format!("--rateest-{what}1"), &unit(some(one)?));
        }
        self.option(not, &format!("--rateest-{how}"), "");
        let last = if delta { two } else { one };
        self.option(false, &format!("--rateest-{what}{}", if delta { "2" } else { "" }), &unit(last));
        if !second.is_empty() {
            self.option(false, "--rateest2", second);
        }
        Some(())
    }

    /// `match bpf 48 0 0 9,21 0 1 6,6 0 0 1` or `match bpf pinned /path`.
    pub(super) fn bpf(&mut self) -> Option<()> {
        self.text.eat("match bpf").then_some(())?;
        if self.text.eat("pinned") {
            let path = some(self.text.word())?;
            self.module("bpf");
            return self.option(false, "--object-pinned", path);
        }
        let code = self.text.rest.trim_start();
        let end = code.find(|c: char| !(c.is_ascii_digit() || c == ' ' || c == ',')).unwrap_or(code.len());
        // Four numbers per instruction; a number after the last one belongs to the next module.
        let mut program: Vec<&str> = code[..end].trim_end().split(',').collect();
        let count = program.len();
        let last = program.last_mut()?;
        let used = last.split(' ').take(4).map(|w| w.len() + 1).sum::<usize>().saturating_sub(1);
        *last = last.get(..used)?;
        program.iter().all(|i| i.split(' ').count() == 4).then_some(())?;
        let program = program.join(",");
        self.text.rest = &code[program.len()..];
        self.module("bpf");
        self.option(false, "--bytecode", &format!("\"{count},{program}\""))
    }

    /// `vaddr 10.0.0.1 vport 80 vdir ORIGINAL`, or `ipvs` alone.
    pub(super) fn ipvs(&mut self, not: bool) -> Option<()> {
        let word = self.text.word();
        let value = if word == "ipvs" { "" } else { some(self.text.word())? };
        self.module("ipvs");
        self.option(not, &format!("--{word}"), value)
    }

    pub(super) fn rest(&mut self, not: bool) -> Option<()> {
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
                self.option(not, "--pkt-type", kind)
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
                self.option(not, &format!("--{lower}-{what}"), value)
            }
            "helper" if self.text.eat("match") => {
                let helper = self.text.word().trim_matches('"');
                self.module("helper");
                self.option(not, "--helper", helper)
            }
            "quota:" => {
                let n = self.text.word();
                self.text.eat("bytes").then_some(())?;
                self.module("quota");
                self.option(not, "--quota", n)
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
                self.option(false, "--connbytes-dir", some(dir)?)
            }
            "u32" => {
                let program = self.text.word().trim_matches('"').to_owned();
                self.module("u32");
                self.option(not, "--u32", &quoted(&program))
            }
            "tos" | "TOS" => {
                let value = self.text.word().strip_prefix("match")?;
                let value = if value.is_empty() { self.text.word() } else { value };
                let (neg, value) = value.strip_prefix('!').map_or((not, value), |v| (!not, v));
                let value = tos_number(value).map_or_else(|| some(value).map(str::to_owned), |n| Some(n.to_owned()))?;
                self.module("tos");
                self.option(neg, "--tos", &value)
            }
            "cgroup" => {
                let (neg, value) = self.text.value()?;
                self.module("cgroup");
                if value.bytes().all(|b| b.is_ascii_digit()) {
                    self.option(neg, "--cgroup", value)
                } else {
                    self.option(neg, "--path", &quoted(value))
                }
            }
            "connlabel" => {
                let neg = self.text.eat("!");
                let label = some(self.text.word().trim_matches('\''))?;
                self.module("connlabel");
                self.option(neg, "--label", &quoted(label));
                if self.text.eat("set") {
                    self.option(false, "--set", "");
                }
                Some(())
            }
            _ => None,
        }
    }
}

/// A rate in bits per second as `iptables-save` prints it (libxt_rateest.c).
fn rate(bits: u64) -> String {
    match bits {
        1_000_000_000.. => format!("{}Mbit", bits / 1_000_000),
        1_000_000.. => format!("{}Kbit", bits / 1000),
        _ => format!("{bits}bit"),
    }
}

/// A value that `iptables-save` always puts in quotes.
pub(super) fn quoted(value: &str) -> String {
    let quoted = quote(value);
    if quoted.starts_with('"') { quoted } else { format!("\"{quoted}\"") }
}
