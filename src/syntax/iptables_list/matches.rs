//! Turns the match texts of `iptables -L` into the options that `iptables-save` prints (the `print` and `save`
//! functions in iptables' extensions/).

use std::fmt::Write as _;

use super::targets;
use super::text::{Text, some};
use crate::model::names::{icmp, services};
use crate::model::{Family, quote};

/// What the text after the addresses says.
#[derive(Default)]
pub(super) struct Found {
    /// ` -m tcp --dport 22 ...`
    pub matches: String,
    /// ` --reject-with ...`
    pub target_options: String,
    /// The target's name in `iptables-save`, if it differs.
    pub rename: Option<&'static str>,
    /// `[goto]`
    pub goto: bool,
    /// The words that were not understood, if any.
    pub unread: Option<String>,
}

/// Reads the text after the addresses.
pub(super) fn read(text: &str, family: Family, target: &str) -> Found {
    // A remark that somebody added after the rule, separated by ideographic spaces.
    let text =
        text.split_once("\u{3000}").filter(|(rule, _)| !rule.contains(['"', '`'])).map_or(text, |(rule, _)| rule);
    let unglued = unglue(text);
    let text = unglued.as_deref().unwrap_or(text);
    whole(text, family, target, false)
}

/// Adds the space that iptables leaves out before the TCPMSS target (before 1.4.11) and before a bpf match, whose text
/// ends in NUL.
fn unglue(text: &str) -> Option<String> {
    let words = ["TCPMSS ", "match bpf "].into_iter().filter(|w| text.contains(w) && !text.contains(&format!(" {w}")));
    let fixed = words.fold(text.replace('\0', " "), |t, w| t.replace(w, &format!(" {w}")));
    (fixed != text && !text.contains(['"', '`']) && !text.contains("/*")).then_some(fixed)
}

/// `inner`: we are trying the text after a possible end of a comment. Comments then end at their first `*/`, so that a
/// row full of comment marks does not need every combination to be tried.
fn whole(text: &str, family: Family, target: &str, inner: bool) -> Found {
    let mut reader = Reader { text: Text::new(text), family, found: Found::default(), last: "", inner };
    reader.run(target);
    reader.found
}

/// Modules whose text is a fixed phrase and one value: phrase, module, option.
const SIMPLE: &[(&str, &str, &str)] = &[
    ("mark match", "mark", "--mark"),
    ("MARK match", "mark", "--mark"),
    ("connmark match", "connmark", "--mark"),
    ("CONNMARK match", "connmark", "--mark"),
    ("length", "length", "--length"),
    ("tcpmss match", "tcpmss", "--mss"),
    ("DSCP match", "dscp", "--dscp"),
    ("cpu", "cpu", "--cpu"),
    ("realm", "realm", "--realm"),
    ("src-group", "devgroup", "--src-group"),
    ("dst-group", "devgroup", "--dst-group"),
    ("MAC", "mac", "--mac-source"),
    ("source IP range", "iprange", "--src-range"),
    ("destination IP range", "iprange", "--dst-range"),
    ("nfacct-name", "nfacct", "--nfacct-name"),
    ("OS fingerprint match", "osf", "--genre"),
];

pub(super) struct Reader<'a> {
    pub(super) text: Text<'a>,
    family: Family,
    pub(super) found: Found,
    /// The last module written: its further options need no second `-m`.
    last: &'static str,
    inner: bool,
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
            if let Some(done) = targets::read(target, &mut self.text).filter(|_| self.text.is_empty()) {
                self.found.target_options = done.options;
                self.found.rename = done.rename;
                return;
            }
            // A comment may follow the unknown words; all of it is kept.
            let rest = before.rest.trim();
            let _ = write!(self.found.matches, " -m unlisted --text {}", quote(rest));
            self.found.unread = Some(rest.to_owned());
            return;
        }
    }

    /// `/* text */`. If the text itself contains `*/`, the comment ends at the first one after which
    /// everything is understood.
    fn comment(&mut self, target: &str) -> bool {
        let Some(inner) = self.text.rest.trim_start().strip_prefix("/*") else { return false };
        let ends: Vec<usize> = inner.match_indices("*/").map(|(i, _)| i).take(8).collect();
        let understood = |at: &usize| {
            ends.len() == 1 || self.inner || whole(&inner[at + 2..], self.family, target, true).unread.is_none()
        };
        let Some(at) = ends.iter().find(|at| understood(at)).or(ends.first()).copied() else { return false };
        let body = inner[..at].strip_prefix(' ').unwrap_or(&inner[..at]);
        let body = body.strip_suffix(' ').unwrap_or(body);
        let _ = write!(self.found.matches, " -m comment --comment {}", quote(body));
        self.text.rest = &inner[at + 2..];
        self.last = "comment";
        true
    }

    pub(super) fn module(&mut self, name: &'static str) {
        if self.last != name || matches!(name, "recent" | "statistic" | "limit" | "hashlimit") {
            let _ = write!(self.found.matches, " -m {name}");
            self.last = name;
        }
    }

    /// Writes one option; returns `Some`, so that a module's function can end with it.
    #[expect(clippy::unnecessary_wraps, reason = "the last option of a module is the module's answer")]
    pub(super) fn option(&mut self, not: bool, option: &str, value: &str) -> Option<()> {
        let out = &mut self.found.matches;
        let _ = write!(out, "{} {option}", if not { " !" } else { "" });
        if !value.is_empty() {
            let _ = write!(out, " {value}");
        }
        Some(())
    }

    /// Reads one module's text; `None` if the module is not known.
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
            "rateest" => return self.rateest(),
            "bpf" | "match" => return self.bpf(),
            w if w.starts_with("vproto")
                || matches!(w, "ipvs" | "vaddr" | "vport" | "vdir" | "vmethod" | "vportctl") =>
            {
                return self.ipvs(not);
            }
            "state" => {
                self.text.word();
                let states = self.text.word();
                self.module("state");
                return self.option(not, "--state", some(states)?);
            }
            w if w.starts_with("ct") => return self.conntrack(not),
            _ => {}
        }
        self.transport()
            .or_else(|| self.icmp())
            .or_else(|| self.header())
            .or_else(|| self.simple(not))
            .or_else(|| self.rest(not))
    }

    fn simple(&mut self, outer: bool) -> Option<()> {
        for (words, module, option) in SIMPLE {
            let mut ahead = self.text;
            if ahead.eat(words) {
                let (not, value) = ahead.value()?;
                self.text = ahead;
                self.module(module);
                return self.option(not || outer, option, value);
            }
        }
        None
    }

    /// `tcp dpt:22 flags:0x17/0x02`, also the old `tcp dpt:22flags: 0x17/0x02`.
    fn transport(&mut self) -> Option<()> {
        let module = ["tcp", "udplite", "udp", "sctp", "dccp"].into_iter().find(|m| {
            self.text
                .rest
                .trim_start()
                .strip_prefix(m)
                .is_some_and(|r| r.is_empty() || r.starts_with(char::is_whitespace) || r.starts_with("flags:"))
        })?;
        self.text.eat_glued(module);
        // If it is named twice, it is written twice.
        self.last = "";
        self.module(module);
        loop {
            let word = self.text.peek();
            let ports = [("spts:", "--sport"), ("spt:", "--sport"), ("dpts:", "--dport"), ("dpt:", "--dport")]
                .into_iter()
                .find(|(p, _)| word.starts_with(p));
            if let Some((prefix, option)) = ports {
                self.text.eat_glued(prefix);
                let value = self.text.word_until("flags:");
                let (not, value) = value.strip_prefix('!').map_or((false, value), |v| (true, v));
                self.option(not, option, &services::ports_as_numbers(some(value)?));
            } else if self.text.eat_glued("flags:") {
                let (not, value) = self.text.value()?;
                let (mask, comp) = value.split_once('/')?;
                let value = format!("{} {}", tcp_flags(mask)?, tcp_flags(comp)?);
                self.option(not, "--tcp-flags", &value);
            } else if self.text.eat_glued("option=") {
                let (not, value) = self.text.value()?;
                self.option(not, if module == "dccp" { "--dccp-option" } else { "--tcp-option" }, value);
            } else if !(module == "sctp" && self.sctp_chunks().is_some()
                || module == "dccp" && self.dccp_types().is_some())
            {
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
            icmp::as_saved(name, if v6 { Family::V6 } else { Family::V4 }).or_else(|| some(name).map(str::to_owned))?
        };
        self.module(module);
        self.option(not, option, &value)
    }

    fn conntrack(&mut self, not: bool) -> Option<()> {
        const WORDS: &[&str] = &[
            "ctstate",
            "ctproto",
            "ctorigsrc",
            "ctorigdst",
            "ctreplsrc",
            "ctrepldst",
            "ctorigsrcport",
            "ctorigdstport",
            "ctreplsrcport",
            "ctrepldstport",
            "ctstatus",
            "ctexpire",
            "ctdir",
        ];
        let word = WORDS.iter().find(|w| **w == self.text.peek())?;
        self.text.word();
        let value = self.text.word();
        self.module("conntrack");
        self.option(not, &format!("--{word}"), some(value)?)
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
        self.option(not, option, &list.join(","))
    }
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
