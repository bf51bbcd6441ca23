//! The texts of further match modules, one function each.

use std::fmt::Write as _;

use super::matches::{Reader, some};
use crate::model::{Proto, quote};

impl Reader<'_> {
    /// `limit: avg 3/min burst 5` is limit; with `mode` it is hashlimit, whose name the listing does not show.
    pub(super) fn limit(&mut self) -> Option<()> {
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
            (option, self.text.word())
        };
        self.module("owner");
        self.option(not, option, value)
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
        if !dates.contains("--datestop") {
            // The kernel's last instant: the listing leaves it out, iptables-save prints it.
            dates.push_str(" --datestop 2038-01-19T03:14:07");
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

    /// Modules whose text is only their flags.
    pub(super) fn flags(&mut self) -> Option<()> {
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
            "ECN" if self.text.eat("match") => {
                let neg = self.text.eat_glued("!");
                let what = self.text.word();
                self.module("ecn");
                match what {
                    "CWR" => self.option(neg, "--ecn-tcp-cwr", ""),
                    "ECE" => self.option(neg, "--ecn-tcp-ece", ""),
                    w => self.option(neg, "--ecn-ip-ect", w.strip_prefix("ECT=")?),
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
