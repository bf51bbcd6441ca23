//! What one rule means: its matches and its target, read from the argument text
//! (iptables(8), iptables-extensions(8)). What is not understood stays as [`Match::Unknown`].

use super::ports::range;
use super::{Family, Net, PortSet, Proto, split_args};

/// An interface name; a trailing `+` matches every name that begins so (iptables(8), `-i`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IfaceMatch(pub String);

impl IfaceMatch {
    /// Whether an interface of this name is matched.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('+') {
            Some(stem) => name.starts_with(stem),
            None => name == self.0,
        }
    }
}

/// One condition; the flag in front of each is whether it is negated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// `-s`
    Source(bool, Net),
    /// `-d`
    Destination(bool, Net),
    /// `-i`
    InInterface(bool, IfaceMatch),
    /// `-o`
    OutInterface(bool, IfaceMatch),
    /// `-p`
    Protocol(bool, Proto),
    /// `--sport`, multiport `--sports`
    SourcePorts(bool, PortSet),
    /// `--dport`, multiport `--dports`
    DestinationPorts(bool, PortSet),
    /// multiport `--ports`: either end
    EitherPorts(bool, PortSet),
    /// `--tcp-flags MASK COMP`, `--syn`
    TcpFlags(bool, u8, u8),
    /// `--state` / `--ctstate`, the names in upper case
    CtState(bool, Vec<String>),
    /// `--ctdir ORIGINAL` is `true`
    CtDirOriginal(bool),
    /// `-f`: second and further fragments
    Fragment(bool),
    /// `--comment`: never decides anything
    Comment(String),
    /// `--datestart`/`--datestop` alone, seconds since 1970 UTC (xt_time)
    Dates(Option<i64>, Option<i64>),
    /// Anything else: its words, as they stand
    Unknown(String),
}

/// What happens to a packet that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// No `-j`: the rule only counts.
    None,
    /// `ACCEPT`
    Accept,
    /// `DROP`
    Drop,
    /// `REJECT`, also with `--reject-with`
    Reject,
    /// `RETURN`
    Return,
    /// A target that lets the packet go on to the next rule (LOG, MARK, ...): its words.
    Continue(String),
    /// A chain, or an extension that this program does not know: its words.
    Jump(String, String),
    /// `-g CHAIN`
    Goto(String),
}

/// The meaning of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// All must hold.
    pub matches: Vec<Match>,
    /// What then happens.
    pub target: Target,
}

/// Targets after which the next rule is looked at (iptables-extensions(8)).
const CONTINUE: &[&str] = &[
    "LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "CLASSIFY", "TOS", "DSCP", "TTL", "HL", "TCPMSS", "TCPOPTSTRIP",
    "CHECKSUM", "SECMARK", "CONNSECMARK", "SET", "TRACE", "AUDIT", "LED", "RATEEST", "IDLETIMER", "TEE", "CT", "NOTRACK",
    "ECN",
];

/// Targets of the extensions that end the chain (iptables-extensions(8)).
const FINAL: &[&str] = &[
    "ACCEPT", "DROP", "REJECT", "RETURN", "QUEUE", "NFQUEUE", "DNAT", "SNAT", "REDIRECT", "MASQUERADE", "NETMAP", "TPROXY",
    "SYNPROXY", "DNPT", "SNPT", "MIRROR", "CLUSTERIP",
];

/// Whether a name behind `-j` is a target of iptables itself, not a chain.
pub(super) fn is_extension(name: &str) -> bool {
    FINAL.contains(&name) || CONTINUE.contains(&name)
}

impl Spec {
    /// Reads the arguments of a rule. Never fails: unknown words become [`Match::Unknown`].
    pub fn parse(text: &str, family: Family) -> Self {
        Reader { words: split_args(text), at: 0, family, matches: Vec::new() }.run()
    }
}

struct Reader {
    words: Vec<String>,
    at: usize,
    family: Family,
    matches: Vec<Match>,
}

impl Reader {
    fn next(&mut self) -> Option<String> {
        let w = self.words.get(self.at).cloned();
        self.at += 1;
        w
    }

    /// The option's value; the old style puts the `!` behind the option (iptables before 1.4.3).
    fn value(&mut self, not: &mut bool) -> String {
        let mut v = self.next().unwrap_or_default();
        if v == "!" {
            *not = !*not;
            v = self.next().unwrap_or_default();
        }
        v
    }

    fn run(mut self) -> Spec {
        let mut target = Target::None;
        let mut not = false;
        let (mut from, mut to) = (None, None);
        let mut loose_time = false;
        while let Some(word) = self.next() {
            if word == "!" {
                not = true;
                continue;
            }
            let n = &mut std::mem::take(&mut not);
            match word.as_str() {
                "-m" | "--match" => {
                    self.next();
                }
                "-j" | "--jump" => {
                    let name = self.next().unwrap_or_default();
                    let rest = self.words.get(self.at..).unwrap_or_default().join(" ");
                    target = jump(name, rest);
                    if matches!(target, Target::Jump(..) | Target::Continue(_) | Target::Reject) {
                        self.skip_target_options();
                    }
                }
                "-g" | "--goto" => target = Target::Goto(self.next().unwrap_or_default()),
                "--datestart" => from = self.next().and_then(|v| date(&v)),
                "--datestop" => to = self.next().and_then(|v| date(&v)),
                "--timestart" | "--timestop" | "--weekdays" | "--monthdays" | "--kerneltz" | "--contiguous" => loose_time = true,
                other => {
                    let other = other.to_owned();
                    if let Some(m) = self.condition(&other, n) {
                        self.matches.push(m);
                    }
                }
            }
        }
        if loose_time {
            self.matches.push(Match::Unknown("time of day or week".into()));
        } else if from.is_some() || to.is_some() {
            self.matches.push(Match::Dates(from, to));
        }
        Spec { matches: self.matches, target }
    }

    /// Options behind `-j X` belong to the target, up to the next match or basic option.
    fn skip_target_options(&mut self) {
        while let Some(w) = self.words.get(self.at) {
            if matches!(w.as_str(), "-m" | "-s" | "-d" | "-p" | "-i" | "-o" | "!") {
                break;
            }
            self.at += 1;
        }
    }

    fn unknown(&mut self, not: bool, option: &str) -> Match {
        let mut words = if not { format!("! {option}") } else { option.to_owned() };
        while let Some(w) = self.words.get(self.at).filter(|w| !w.starts_with('-') && *w != "!") {
            words.push(' ');
            words.push_str(w);
            self.at += 1;
        }
        Match::Unknown(words)
    }

    fn condition(&mut self, option: &str, not: &mut bool) -> Option<Match> {
        Some(match option {
            "-s" | "--source" | "--src" | "-d" | "--destination" | "--dst" => {
                let v = self.value(not);
                match (Net::parse(&v, self.family), option.starts_with("-s") || option.starts_with("--s")) {
                    (Some(net), true) => Match::Source(*not, net),
                    (Some(net), false) => Match::Destination(*not, net),
                    (None, _) => Match::Unknown(format!("{option} {v}")),
                }
            }
            "-i" | "--in-interface" => Match::InInterface(*not, IfaceMatch(self.value(not))).negate(*not),
            "-o" | "--out-interface" => Match::OutInterface(*not, IfaceMatch(self.value(not))).negate(*not),
            "-p" | "--protocol" | "--proto" => {
                let v = self.value(not);
                if v == "all" || v == "0" {
                    return None;
                }
                Proto::parse(&v).map_or_else(|| Match::Unknown(format!("-p {v}")), |p| Match::Protocol(*not, p))
            }
            "--sport" | "--source-port" | "--sports" | "--source-ports" => {
                let v = self.value(not);
                ports(&v).map_or_else(|| Match::Unknown(format!("{option} {v}")), |p| Match::SourcePorts(*not, p))
            }
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
                let v = self.value(not);
                ports(&v).map_or_else(|| Match::Unknown(format!("{option} {v}")), |p| Match::DestinationPorts(*not, p))
            }
            "--ports" => {
                let v = self.value(not);
                ports(&v).map_or_else(|| Match::Unknown(format!("{option} {v}")), |p| Match::EitherPorts(*not, p))
            }
            "--syn" => Match::TcpFlags(*not, 0x17, 0x02),
            "--tcp-flags" => {
                let (mask, comp) = (self.value(not), self.next().unwrap_or_default());
                match (flags(&mask), flags(&comp)) {
                    (Some(m), Some(c)) => Match::TcpFlags(*not, m, c),
                    _ => Match::Unknown(format!("{option} {mask} {comp}")),
                }
            }
            "--state" | "--ctstate" => {
                let v = self.value(not);
                Match::CtState(*not, v.split(',').map(str::to_ascii_uppercase).collect())
            }
            "--ctdir" => {
                let v = self.value(not);
                Match::CtDirOriginal((v == "ORIGINAL") != *not)
            }
            "-f" | "--fragment" => Match::Fragment(*not),
            "--comment" => Match::Comment(self.next().unwrap_or_default()),
            _ => self.unknown(*not, option),
        })
    }
}

impl Match {
    fn negate(self, not: bool) -> Self {
        match self {
            Self::InInterface(_, i) => Self::InInterface(not, i),
            Self::OutInterface(_, i) => Self::OutInterface(not, i),
            m => m,
        }
    }
}

fn jump(name: String, rest: String) -> Target {
    match name.as_str() {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "REJECT" => Target::Reject,
        "RETURN" => Target::Return,
        n if CONTINUE.contains(&n) => Target::Continue(format!("{n} {rest}").trim().to_owned()),
        _ => Target::Jump(name, rest),
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok()
}

/// `22`, `1:1024`, `:1024`, `1024:`, and comma lists of them.
fn ports(text: &str) -> Option<PortSet> {
    let mut set = PortSet::new();
    for part in text.split(',') {
        let r = match part.split_once(':') {
            None => {
                let p = port(part)?;
                p..=p
            }
            Some((a, b)) => {
                let a = if a.is_empty() { 0 } else { port(a)? };
                let b = if b.is_empty() { u16::MAX } else { port(b)? };
                a..=b
            }
        };
        set |= &range(r);
    }
    Some(set)
}

/// Bits of the TCP flags byte (RFC 9293 section 3.1).
fn flags(text: &str) -> Option<u8> {
    text.split(',').try_fold(0, |acc, name| {
        Some(acc | match name {
            "FIN" => 1,
            "SYN" => 2,
            "RST" => 4,
            "PSH" => 8,
            "ACK" => 16,
            "URG" => 32,
            "ALL" => 63,
            "NONE" => 0,
            _ => return None,
        })
    })
}

/// An xt_time date, always UTC: `2026-11-23T22:18:34`.
fn date(text: &str) -> Option<i64> {
    let d: jiff::civil::DateTime = text.parse().ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(d).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_rules_of_the_story() {
        let s = Spec::parse("-s 192.0.2.11/32 -p tcp -m tcp --dport 111 -j ACCEPT", Family::V4);
        assert_eq!(s.target, Target::Accept);
        assert_eq!(s.matches.len(), 3);
        assert_eq!(s.matches[2], Match::DestinationPorts(false, ports("111").unwrap()));
    }

    #[test]
    fn a_comment_is_never_taken_for_options() {
        let s = Spec::parse(r#"-m comment --comment "-j DROP --dport 22" -j ACCEPT"#, Family::V4);
        assert_eq!(s.target, Target::Accept);
        assert_eq!(s.matches, [Match::Comment("-j DROP --dport 22".into())]);
    }

    #[test]
    fn negation_in_both_styles() {
        let old = Spec::parse("-d ! 10.0.0.0/8 -j DROP", Family::V4);
        let new = Spec::parse("! -d 10.0.0.0/8 -j DROP", Family::V4);
        assert_eq!(old, new);
        let i = Spec::parse("! -i lo -j X", Family::V4);
        assert_eq!(i.matches, [Match::InInterface(true, IfaceMatch("lo".into()))]);
    }

    #[test]
    fn unknown_modules_are_kept() {
        let s = Spec::parse("-m hashlimit --hashlimit-above 5/min --hashlimit-name x -j DROP", Family::V4);
        assert!(s.matches.iter().all(|m| matches!(m, Match::Unknown(_))));
        assert_eq!(s.matches.len(), 2);
    }

    #[test]
    fn dates_are_utc() {
        let s = Spec::parse("-m time --datestop 1970-01-01T00:01:00 -j X", Family::V4);
        assert_eq!(s.matches, [Match::Dates(None, Some(60))]);
    }
}
