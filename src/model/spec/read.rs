//! Reads the meaning of a rule from its argument text.

use std::borrow::Cow;

use super::target::jump;
use super::words::{date, flags, length_range, port_range, ports, value_mask};
use super::{End, IfaceLimit, IfaceMatch, Match, Spec, Target};
use crate::model::names::icmp;
use crate::model::rule::{canonical, takes_any_text, words};
use crate::model::{Family, Net, Proto};

/// Reads the arguments of a rule.
pub(super) fn spec(text: &str, family: Family) -> Spec {
    Reader {
        words: words(text).collect(),
        at: 0,
        family,
        module: String::new(),
        pending: None,
        module_from: 0,
        matches: Vec::new(),
        conntrack: (false, false),
    }
    .run()
}

/// Modules that only add options: without any, they match everything (`-m tcp`).
const PLAIN: &[&str] = &[
    "tcp",
    "udp",
    "sctp",
    "dccp",
    "udplite",
    "icmp",
    "icmp6",
    "ipv6-icmp",
    "icmpv6",
    "multiport",
    "state",
    "conntrack",
    "comment",
    "iprange",
    "addrtype",
    "pkttype",
    "set",
    "mark",
    "connmark",
    "time",
    "standard",
];

struct Reader<'a> {
    words: Vec<Cow<'a, str>>,
    at: usize,
    family: Family,
    /// The module that the last `-m` named.
    module: String,
    /// A module whose options have not been seen yet: without any, it is a condition itself (`-m socket`).
    pending: Option<String>,
    /// Index of the first match of that module.
    module_from: usize,
    matches: Vec<Match>,
    /// Whether this `-m conntrack` asks for the state, and whether it asks for anything else.
    conntrack: (bool, bool),
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<Cow<'a, str>> {
        let w = self.words.get_mut(self.at).map(std::mem::take);
        self.at += 1;
        w
    }

    /// The option's value; the old style has the `!` after the option (iptables before 1.4.3).
    fn value(&mut self, not: &mut bool) -> Cow<'a, str> {
        let mut v = self.next().unwrap_or_default();
        if v == "!" {
            *not = !*not;
            v = self.next().unwrap_or_default();
        }
        v
    }

    /// Takes the words up to the next match or basic option: they belong to the target.
    fn target_words(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(w) = self.words.get(self.at) {
            if matches!(canonical(w), "-m" | "-s" | "-d" | "-p" | "-i" | "-o" | "-f" | "!" | "-j" | "-g") {
                break;
            }
            let takes = takes_any_text(w);
            out.push(w.clone().into_owned());
            self.at += 1;
            if takes && let Some(v) = self.next() {
                out.push(v.into_owned());
            }
        }
        out
    }

    fn run(mut self) -> Spec {
        let mut target = Target::None;
        let mut not = false;
        let (mut from, mut to) = (None, None);
        let (mut loose_time, mut other_zone) = (false, false);
        while let Some(word) = self.next() {
            if word == "!" {
                not = true;
                continue;
            }
            let n = &mut std::mem::take(&mut not);
            match canonical(&word) {
                "-m" => {
                    self.flush_module();
                    self.module = self.next().unwrap_or_default().into_owned();
                    self.module_from = self.matches.len();
                    self.pending = Some(self.module.clone()).filter(|m| !PLAIN.contains(&m.as_str()));
                }
                "-j" => {
                    self.flush_module();
                    let name = self.next().unwrap_or_default();
                    let args = self.target_words();
                    target = jump(&name, &args, self.family);
                }
                "-g" => {
                    self.flush_module();
                    target = Target::Goto(self.next().unwrap_or_default().into_owned());
                }
                "--datestart" | "--datestop" => {
                    let v = self.next().unwrap_or_default();
                    match date(&v) {
                        // All time modules of a rule must match.
                        Some(d) if word == "--datestart" => from = Some(from.map_or(d, |f: i64| f.max(d))),
                        Some(d) => to = Some(to.map_or(d, |t: i64| t.min(d))),
                        None => self.matches.push(Match::Unknown(format!("{word} {v}"))),
                    }
                }
                "--timestart" | "--timestop" | "--weekdays" | "--monthdays" => {
                    loose_time = true;
                    self.next();
                }
                "--utc" => {}
                "--contiguous" => loose_time = true,
                // The dates are then in another time zone too.
                "--kerneltz" | "--localtz" => (loose_time, other_zone) = (true, true),
                _ => {
                    self.pending = None;
                    if let Some(m) = self.condition(&word, n) {
                        self.matches.push(m);
                    }
                }
            }
        }
        self.flush_module();
        if loose_time {
            self.matches.push(Match::Unknown("time of day or week".into()));
        }
        if !other_zone && (from.is_some() || to.is_some()) {
            self.matches.push(Match::Dates(from, to));
        }
        Spec { matches: self.matches, target }
    }

    fn flush_module(&mut self) {
        if let Some(m) = self.pending.take() {
            self.matches.push(Match::Unknown(format!("-m {m}")));
        }
        // xt_conntrack: for a packet without a connection only --ctstate counts; without that option it does not match.
        if let (false, true) = std::mem::take(&mut self.conntrack) {
            self.matches.push(Match::CtTracked);
        }
    }

    /// An option that is not understood. All options of one module make one condition, named after the module (several
    /// modules have a `--set`) unless the option already contains its name (`--limit`).
    fn unknown(&mut self, not: bool, option: &str) -> Option<Match> {
        let mut words = if not { format!("! {option}") } else { option.to_owned() };
        if takes_any_text(option)
            && let Some(v) = self.next()
        {
            words.push(' ');
            words.push_str(&v);
        }
        while let Some(w) = self.words.get(self.at).filter(|w| !w.starts_with('-') && *w != "!") {
            words.push(' ');
            words.push_str(w);
            self.at += 1;
        }
        let prefix = format!("-m {} ", self.module);
        let says =
            |words: &str| self.module.is_empty() || words.trim_start_matches(['!', ' ', '-']).starts_with(&self.module);
        match self.matches.get_mut(self.module_from..).and_then(<[Match]>::last_mut) {
            Some(Match::Unknown(before)) if before.starts_with(&prefix) || says(before) => {
                before.push(' ');
                before.push_str(&words);
                None
            }
            _ if says(&words) => Some(Match::Unknown(words)),
            _ => Some(Match::Unknown(prefix + &words)),
        }
    }

    /// Turns one value into a match; a value that cannot be read is kept as its words.
    fn one(&mut self, not: &mut bool, option: &str, make: impl FnOnce(bool, &str) -> Option<Match>) -> Match {
        let v = self.value(not);
        make(*not, &v).unwrap_or_else(|| Match::Unknown(format!("{}{option} {v}", if *not { "! " } else { "" })))
    }

    fn condition(&mut self, option: &str, not: &mut bool) -> Option<Match> {
        let family = self.family;
        if option.starts_with("--ct") {
            let state = option == "--ctstate";
            self.conntrack = (self.conntrack.0 || state, self.conntrack.1 || !state);
        }
        let net = |v: &str| Net::parse(v, family);
        Some(match canonical(option) {
            "-s" => self.one(not, option, |n, v| net(v).map(|a| Match::Source(n, a))),
            "-d" => self.one(not, option, |n, v| net(v).map(|a| Match::Destination(n, a))),
            "-i" => self.one(not, option, |n, v| Some(Match::InInterface(n, IfaceMatch(v.to_owned())))),
            "-o" => self.one(not, option, |n, v| Some(Match::OutInterface(n, IfaceMatch(v.to_owned())))),
            "-p" => {
                let v = self.value(not);
                if v == "all" || v == "0" {
                    return None;
                }
                Proto::parse(&v).map_or_else(|| Match::Unknown(format!("-p {v}")), |p| Match::Protocol(*not, p))
            }
            "--sport" | "--sports" => self.one(not, option, |n, v| ports(v).map(|p| Match::SourcePorts(n, p))),
            "--dport" | "--dports" => self.one(not, option, |n, v| ports(v).map(|p| Match::DestinationPorts(n, p))),
            "--ports" => self.one(not, option, |n, v| ports(v).map(|p| Match::EitherPorts(n, p))),
            "--syn" => Match::TcpFlags(*not, 0x17, 0x02),
            "--tcp-flags" => {
                let mask = self.value(not);
                let comp = self.next().unwrap_or_default();
                match (flags(&mask), flags(&comp)) {
                    (Some(m), Some(c)) => Match::TcpFlags(*not, m, c),
                    _ => Match::Unknown(format!("{option} {mask} {comp}")),
                }
            }
            "--tcp-option" => self.one(not, option, |n, v| v.parse().ok().map(|o| Match::TcpOption(n, o))),
            "--icmp-type" => {
                self.one(not, option, |n, v| icmp::numbers(v, family).map(|(t, c)| Match::IcmpType(n, t, c)))
            }
            "--src-range" | "--dst-range" => {
                let end = if option == "--src-range" { End::Src } else { End::Dst };
                self.one(not, option, |n, v| range(v, family).map(|(a, b)| Match::Range(n, end, a, b)))
            }
            "--src-type" | "--dst-type" => {
                let end = if option == "--src-type" { End::Src } else { End::Dst };
                self.one(not, option, |n, v| Some(Match::AddrType(n, end, upper(v), IfaceLimit::None)))
            }
            "--limit-iface-in" | "--limit-iface-out" => {
                let limit = if option == "--limit-iface-in" { IfaceLimit::In } else { IfaceLimit::Out };
                // It applies only to the types of this module.
                for m in self.matches.iter_mut().skip(self.module_from) {
                    if let Match::AddrType(_, _, _, l) = m {
                        *l = limit;
                    }
                }
                return None;
            }
            "--pkt-type" => self.one(not, option, |n, v| Some(Match::PktType(n, v.to_ascii_lowercase()))),
            "--update-counters" | "--update-subcounters" => return None,
            "--return-nomatch" => match self.matches.pop() {
                Some(Match::Set(not, name, _)) => {
                    Match::Unknown(format!("{}--match-set {name} --return-nomatch", if not { "! " } else { "" }))
                }
                other => {
                    self.matches.extend(other);
                    Match::Unknown(option.to_owned())
                }
            },
            "--match-set" | "--set" if self.module == "set" => {
                let name = self.value(not);
                let dirs = self.next().unwrap_or_default();
                let ends = dirs
                    .split(',')
                    .map(|d| match d {
                        "src" => Some(End::Src),
                        "dst" => Some(End::Dst),
                        _ => None,
                    })
                    .collect::<Option<Vec<_>>>();
                match ends {
                    Some(ends) => Match::Set(*not, name.into_owned(), ends),
                    None => Match::Unknown(format!("{option} {name} {dirs}")),
                }
            }
            // `length2` of xtables-addons has an option of that name, which measures other layers too.
            "--length" if self.module == "length" => {
                self.one(not, option, |n, v| length_range(v).map(|r| Match::Length(n, r)))
            }
            "--mark" if self.module == "mark" => {
                self.one(not, option, |n, v| value_mask(v).map(|(a, m)| Match::Mark(n, a, m)))
            }
            "--mark" if self.module == "connmark" => {
                self.one(not, option, |n, v| value_mask(v).map(|(a, m)| Match::ConnMark(n, a, m)))
            }
            "--state" | "--ctstate" => self.one(not, option, |n, v| Some(Match::CtState(n, upper(v)))),
            "--ctdir" => self.one(not, option, |n, v| Some(Match::CtDirOriginal((v == "ORIGINAL") != n))),
            "--ctorigsrc" => self.one(not, option, |n, v| net(v).map(|a| Match::CtOrigSrc(n, a))),
            "--ctorigdst" => self.one(not, option, |n, v| net(v).map(|a| Match::CtOrigDst(n, a))),
            "--ctorigsrcport" => self.one(not, option, |n, v| port_range(v).map(|p| Match::CtOrigSrcPort(n, p))),
            "--ctorigdstport" => self.one(not, option, |n, v| port_range(v).map(|p| Match::CtOrigDstPort(n, p))),
            "--ctproto" => self.one(not, option, |n, v| Proto::parse(v).map(|p| Match::CtProto(n, p))),
            "-f" => Match::Fragment(*not),
            "--comment" => Match::Comment(self.next().unwrap_or_default().into_owned()),
            _ => return self.unknown(*not, option),
        })
    }
}

fn upper(text: &str) -> Vec<String> {
    text.split(',').map(str::to_ascii_uppercase).collect()
}

fn range(text: &str, family: Family) -> Option<(std::net::IpAddr, std::net::IpAddr)> {
    let (a, b) = text.split_once('-').unwrap_or((text, text));
    Some((Net::parse(a, family)?.ip(), Net::parse(b, family)?.ip()))
}
