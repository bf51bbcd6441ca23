//! Targets: what happens to a packet that matches.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::words::number;
use crate::model::{Family, Net};

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
    /// `DNAT`; `None` if the destination is not understood
    Dnat(Option<NatTo>),
    /// `REDIRECT`: to this host, on the same port or one of these
    Redirect(Option<RangeInclusive<u16>>),
    /// `NETMAP`: replaces the network bits of the destination, keeps the host bits
    Netmap(Net),
    /// `SNAT`, `MASQUERADE`: the source changes after everything has been decided
    Snat,
    /// `MARK`
    Mark(BitOp),
    /// `CONNMARK --set-mark` and its variants
    ConnMark(BitOp),
    /// `CONNMARK --save-mark`
    SaveMark(MarkMasks),
    /// `CONNMARK --restore-mark`
    RestoreMark(MarkMasks),
    /// `NOTRACK`, `CT --notrack`
    NoTrack,
    /// A target after which the packet goes on to the next rule (LOG, ...): its words
    Continue(String),
    /// A chain, or an extension that this program does not know: its words
    Jump(String, String),
    /// `-g CHAIN`
    Goto(String),
}

/// The new value of a mark: `(old & keep) ^ flip` (xt_mark).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitOp {
    /// Bits that are kept.
    pub keep: u32,
    /// Bits that are flipped.
    pub flip: u32,
}

impl BitOp {
    /// The mark after the operation.
    pub fn on(self, mark: u32) -> u32 {
        (mark & self.keep) ^ self.flip
    }
}

/// The bits that CONNMARK copies, of the packet's mark and of the connection's (xt_connmark).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkMasks {
    /// `--nfmask`
    pub packet: u32,
    /// `--ctmask`
    pub connection: u32,
}

/// Where DNAT sends a packet: to one of these addresses and one of these ports (`None`: unchanged).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatTo {
    /// First and last address.
    pub addrs: Option<(IpAddr, IpAddr)>,
    /// First to last port.
    pub ports: Option<RangeInclusive<u16>>,
}

/// Targets after which the next rule is evaluated (iptables-extensions(8)).
const CONTINUE: &[&str] = &[
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "CLASSIFY",
    "TOS",
    "DSCP",
    "TTL",
    "HL",
    "TCPMSS",
    "TCPOPTSTRIP",
    "CHECKSUM",
    "SECMARK",
    "CONNSECMARK",
    "SET",
    "TRACE",
    "AUDIT",
    "LED",
    "RATEEST",
    "IDLETIMER",
    "TEE",
    "CT",
    "NOTRACK",
    "ECN",
];

/// Extension targets that end the chain (iptables-extensions(8)).
const FINAL: &[&str] = &[
    "ACCEPT",
    "DROP",
    "REJECT",
    "RETURN",
    "QUEUE",
    "NFQUEUE",
    "DNAT",
    "SNAT",
    "REDIRECT",
    "MASQUERADE",
    "NETMAP",
    "TPROXY",
    "SYNPROXY",
    "DNPT",
    "SNPT",
    "MIRROR",
    "CLUSTERIP",
];

/// Whether a name after `-j` is a target of iptables, not a chain.
pub fn is_extension(name: &str) -> bool {
    FINAL.contains(&name) || CONTINUE.contains(&name)
}

/// The target of `-j NAME ARGS`.
pub(super) fn jump(name: &str, args: &[String], family: Family) -> Target {
    let value = |option: &[&str]| args.iter().position(|w| option.contains(&w.as_str())).and_then(|i| args.get(i + 1));
    let words = || if args.is_empty() { name.to_owned() } else { format!("{name} {}", args.join(" ")) };
    let has = |w: &str| args.iter().any(|a| a == w);
    match name {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "REJECT" => Target::Reject,
        "RETURN" => Target::Return,
        "SNAT" | "MASQUERADE" => Target::Snat,
        "DNAT" => {
            // The same option twice is a list of destinations (before 2.6.11): not supported here.
            let once = args.iter().filter(|a| *a == "--to-destination").count() == 1;
            Target::Dnat(value(&["--to-destination"]).filter(|_| once).and_then(|v| nat_to(v, family)))
        }
        "REDIRECT" => match value(&["--to-ports", "--to-port"]) {
            None => Target::Redirect(None),
            Some(v) => ports(v).map_or_else(|| Target::Dnat(None), |p| Target::Redirect(Some(p))),
        },
        "MARK" => mark(&value).map_or_else(|| unknown_mark(&words()), Target::Mark),
        "CONNMARK" if has("--save-mark") || has("--restore-mark") => match masks(args) {
            Some(m) if has("--save-mark") => Target::SaveMark(m),
            Some(m) => Target::RestoreMark(m),
            None => unknown_mark(&words()),
        },
        "NETMAP" => value(&["--to"]).and_then(|v| Net::parse(v, family)).map_or(Target::Dnat(None), Target::Netmap),
        "CONNMARK" => mark(&value).map_or_else(|| unknown_mark(&words()), Target::ConnMark),
        "NOTRACK" => Target::NoTrack,
        "CT" if has("--notrack") => Target::NoTrack,
        n if CONTINUE.contains(&n) => Target::Continue(words()),
        _ => Target::Jump(name.to_owned(), args.join(" ")),
    }
}

/// An operation on a mark that is not understood: the mark is unknown afterwards.
fn unknown_mark(words: &str) -> Target {
    Target::Continue(words.to_owned())
}

/// `--nfmask N --ctmask N`, or `--mask N` for both; all bits by default.
fn masks(args: &[String]) -> Option<MarkMasks> {
    let mut m = MarkMasks { packet: u32::MAX, connection: u32::MAX };
    let mut words = args.iter();
    while let Some(w) = words.next() {
        match w.as_str() {
            "--save-mark" | "--restore-mark" => {}
            "--nfmask" => m.packet = number(words.next()?)?,
            "--ctmask" => m.connection = number(words.next()?)?,
            "--mask" => {
                m.packet = number(words.next()?)?;
                m.connection = m.packet;
            }
            // It also shifts bits.
            _ => return None,
        }
    }
    Some(m)
}

fn mark<'a>(value: &dyn Fn(&[&str]) -> Option<&'a String>) -> Option<BitOp> {
    let pair = |text: &str| -> Option<(u32, u32)> {
        match text.split_once('/') {
            Some((v, m)) => Some((number(v)?, number(m)?)),
            None => Some((number(text)?, u32::MAX)),
        }
    };
    if let Some(v) = value(&["--set-xmark"]) {
        let (v, m) = pair(v)?;
        return Some(BitOp { keep: !m, flip: v });
    }
    if let Some(v) = value(&["--set-mark"]) {
        let (v, m) = pair(v)?;
        // xt_mark: `--set-mark value/mask` clears the bits of both and ORs the value.
        return Some(BitOp { keep: !(v | m), flip: v });
    }
    if let Some(v) = value(&["--and-mark"]) {
        return Some(BitOp { keep: number(v)?, flip: 0 });
    }
    if let Some(v) = value(&["--or-mark"]) {
        let v = number(v)?;
        return Some(BitOp { keep: !v, flip: v });
    }
    if let Some(v) = value(&["--xor-mark"]) {
        return Some(BitOp { keep: u32::MAX, flip: number(v)? });
    }
    None
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (a, b) = text.split_once('-').unwrap_or((text, text));
    let (a, b) = (a.parse().ok()?, b.parse().ok()?);
    (a <= b).then_some(a..=b)
}

/// `A`, `A-B`, `A:P`, `A-B:P-Q`, `:P`, with brackets in IPv6.
fn nat_to(text: &str, family: Family) -> Option<NatTo> {
    let (host, port) = match family {
        Family::V4 => text.split_once(':').map_or((text, None), |(h, p)| (h, Some(p))),
        Family::V6 => match text.strip_prefix('[') {
            Some(rest) => {
                let (h, p) = rest.rsplit_once(']')?;
                (h, p.strip_prefix(':'))
            }
            None => match text.strip_prefix(':').filter(|p| ports(p).is_some()) {
                Some(p) if text.parse::<Ipv6Addr>().is_err() => ("", Some(p)),
                _ => (text, None),
            },
        },
    };
    let addr = |t: &str| -> Option<IpAddr> {
        let t = t.trim_matches(['[', ']']);
        match family {
            Family::V4 => t.parse().ok().map(IpAddr::V4),
            Family::V6 => t.parse().ok().map(IpAddr::V6),
        }
    };
    let addrs = if host.is_empty() {
        None
    } else {
        let (a, b) = host.split_once('-').unwrap_or((host, host));
        Some((addr(a)?, addr(b)?))
    };
    let ports = match port {
        None => None,
        Some(p) => Some(ports(p)?),
    };
    Some(NatTo { addrs, ports })
}
