//! Modules that match packet headers, most of them IPv6 headers: fixed keys, each with its option.

use std::fmt::Write as _;

use super::matches::Reader;
use super::text::some;

/// A module, the word that its text begins with, and its keys. The value is glued to a key that ends in `:` or `=` and
/// follows a key that ends in a space; all other keys are flags.
type Module = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const MODULES: &[Module] = &[
    ("ah", "ah", &[("spi:", "--ahspi"), ("spis:", "--ahspi"), ("length:", "--ahlen"), ("reserved", "--ahres")]),
    ("esp", "esp", &[("spi:", "--espspi"), ("spis:", "--espspi")]),
    ("comp", "ipcomp", &[("spi:", "--ipcompspi"), ("spis:", "--ipcompspi"), ("reserved", "--compres")]),
    (
        "frag",
        "frag",
        &[
            ("id:", "--fragid"),
            ("ids:", "--fragid"),
            ("length:", "--fraglen"),
            ("reserved", "--fragres"),
            ("first", "--fragfirst"),
            ("more", "--fragmore"),
            ("last", "--fraglast"),
        ],
    ),
    (
        "rt",
        "rt",
        &[
            ("type:", "--rt-type"),
            ("segsleft:", "--rt-segsleft"),
            ("segslefts:", "--rt-segsleft"),
            ("length:", "--rt-len"),
            ("reserved", "--rt-0-res"),
            ("0-addrs ", "--rt-0-addrs"),
            ("0-not-strict", "--rt-0-not-strict"),
        ],
    ),
    ("hbh", "hbh", &[("length:", "--hbh-len"), ("opts ", "--hbh-opts")]),
    ("dst", "dst", &[("length:", "--dst-len"), ("opts ", "--dst-opts")]),
    (
        "srh",
        "srh",
        &[
            ("next-hdr:", "--srh-next-hdr"),
            ("hdr-len-eq:", "--srh-hdr-len-eq"),
            ("hdr-len-gt:", "--srh-hdr-len-gt"),
            ("hdr-len-lt:", "--srh-hdr-len-lt"),
            ("segs-left-eq:", "--srh-segs-left-eq"),
            ("segs-left-gt:", "--srh-segs-left-gt"),
            ("segs-left-lt:", "--srh-segs-left-lt"),
            ("last-entry-eq:", "--srh-last-entry-eq"),
            ("last-entry-gt:", "--srh-last-entry-gt"),
            ("last-entry-lt:", "--srh-last-entry-lt"),
            ("tag:", "--srh-tag"),
            ("psid ", "--srh-psid"),
            ("nsid ", "--srh-nsid"),
            ("lsid ", "--srh-lsid"),
        ],
    ),
    (
        "cluster",
        "cluster",
        &[
            ("node_mask=", "--cluster-local-nodemask"),
            ("total_nodes=", "--cluster-total-nodes"),
            ("hash_seed=", "--cluster-hash-seed"),
        ],
    ),
    ("eui64", "eui64", &[]),
    ("ECN match", "ecn", &[("ECE", "--ecn-tcp-ece"), ("CWR", "--ecn-tcp-cwr"), ("ECT=", "--ecn-ip-ect")]),
];

/// Flags of `ipv6header flags:0x80`, with the names that `iptables-save` prints (libip6t_ipv6header.c).
const IPV6_HEADERS: [(u8, &str); 8] = [
    (0x80, "hop-by-hop"),
    (0x40, "ipv6-opts"),
    (0x20, "ipv6-route"),
    (0x10, "ipv6-frag"),
    (0x08, "ah"),
    (0x04, "esp"),
    (0x02, "ipv6-nonxt"),
    (0x01, "proto"),
];

/// Mobility header types (libip6t_mh.c), indexed by number.
const MOBILITY: [&str; 8] = [
    "binding-refresh-request",
    "home-test-init",
    "careof-test-init",
    "home-test",
    "careof-test",
    "binding-update",
    "binding-acknowledgement",
    "binding-error",
];

const DCCP: [&str; 11] =
    ["REQUEST", "RESPONSE", "DATA", "ACK", "DATAACK", "CLOSEREQ", "CLOSE", "RESET", "SYNC", "SYNCACK", "INVALID"];

/// Chunk types of SCTP (libxt_sctp.c).
const SCTP: &[(u8, &str)] = &[
    (0, "DATA"),
    (1, "INIT"),
    (2, "INIT_ACK"),
    (3, "SACK"),
    (4, "HEARTBEAT"),
    (5, "HEARTBEAT_ACK"),
    (6, "ABORT"),
    (7, "SHUTDOWN"),
    (8, "SHUTDOWN_ACK"),
    (9, "ERROR"),
    (10, "COOKIE_ECHO"),
    (11, "COOKIE_ACK"),
    (12, "ECN_ECNE"),
    (13, "ECN_CWR"),
    (14, "SHUTDOWN_COMPLETE"),
    (64, "I_DATA"),
    (128, "ASCONF_ACK"),
    (130, "RE_CONFIG"),
    (132, "PAD"),
    (192, "FORWARD_TSN"),
    (193, "ASCONF"),
    (194, "I_FORWARD_TSN"),
];

impl Reader<'_> {
    /// Reads one of the modules above; `None` if it is none of them.
    pub(super) fn header(&mut self) -> Option<()> {
        match self.text.peek() {
            "ipv6header" => return self.ipv6header(),
            "mh" => {
                self.mobility();
                return Some(());
            }
            _ => {}
        }
        let (_, module, keys) = MODULES.iter().find(|(words, ..)| self.text.eat(words))?;
        self.module(module);
        while self.key(keys).is_some() {}
        Some(())
    }

    /// One `key:value`, `!key`, `key: !value` of a module.
    fn key(&mut self, keys: &[(&str, &str)]) -> Option<()> {
        let mut ahead = self.text;
        let mut not = ahead.eat_glued("!");
        let (key, option) = keys.iter().find(|(key, _)| {
            let glued = key.ends_with([':', '=']);
            if glued { ahead.eat_glued(key) } else { ahead.eat(key.trim_end()) }
        })?;
        let mut value = "";
        if key.ends_with([':', '=', ' ']) {
            not |= ahead.eat_glued("!");
            // ip6tables prints `ah spi:1length:5` without a space.
            value = some(ahead.word_until("length:"))?;
        }
        self.text = ahead;
        self.option(not, option, value)
    }

    /// `ipv6header flags:0x80 soft`, or names without `-n`.
    fn ipv6header(&mut self) -> Option<()> {
        self.text.word();
        self.text.eat_glued("flags:").then_some(())?;
        let (not, value) = self.text.value()?;
        let names = match value.strip_prefix("0x") {
            Some(hex) => {
                let bits = u8::from_str_radix(hex, 16).ok()?;
                IPV6_HEADERS.iter().filter(|(b, _)| bits & b != 0).map(|(_, n)| *n).collect::<Vec<_>>().join(",")
            }
            None => value.to_owned(),
        };
        self.module("ipv6header");
        self.option(not, "--header", &names);
        if self.text.eat("soft") {
            self.option(false, "--soft", "");
        }
        Some(())
    }

    /// `mh`, `mh !4:123`, `mh home-test`.
    fn mobility(&mut self) {
        self.text.word();
        self.module("mh");
        let mut ahead = self.text;
        let Some((not, value)) = ahead.value() else { return };
        let number = |w: &str| w.parse::<u8>().ok().map(usize::from).or_else(|| MOBILITY.iter().position(|n| *n == w));
        let numbers: Option<Vec<String>> = value.split(':').map(|w| Some(number(w)?.to_string())).collect();
        if let Some(numbers) = numbers {
            self.text = ahead;
            self.option(not, "--mh-type", &numbers.join(":"));
        }
    }

    /// `0,1,2` or names after `dccp`; 10 to 15 are all INVALID.
    pub(super) fn dccp_types(&mut self) -> Option<()> {
        let mut ahead = self.text;
        let (not, list) = ahead.value()?;
        let mut names: Vec<&str> = list
            .split(',')
            .map(|w| {
                w.parse::<usize>().map_or_else(|_| DCCP.iter().find(|n| **n == w), |n| DCCP.get(n.min(10))).copied()
            })
            .collect::<Option<_>>()?;
        names.dedup();
        self.text = ahead;
        self.option(not, "--dccp-types", &names.join(","))
    }

    /// `any 0x0000:Be,0x0006:T`, or names without `-n`.
    pub(super) fn sctp_chunks(&mut self) -> Option<()> {
        let mut ahead = self.text;
        let not = ahead.eat("!");
        let which = ahead.word();
        if !matches!(which, "any" | "all" | "only") {
            return None;
        }
        let mut out = String::new();
        for chunk in ahead.word().split(',') {
            let (kind, flags) = chunk.split_once(':').map_or((chunk, None), |(k, f)| (k, Some(f)));
            let name = match kind.strip_prefix("0x") {
                Some(hex) => {
                    let number = u8::try_from(u16::from_str_radix(hex, 16).ok()?).ok()?;
                    SCTP.iter().find(|(n, _)| *n == number)?.1
                }
                None => kind,
            };
            let _ = write!(out, "{}{name}", if out.is_empty() { "" } else { "," });
            if let Some(flags) = flags {
                let _ = write!(out, ":{flags}");
            }
        }
        self.text = ahead;
        self.option(not, "--chunk-types", &format!("{which} {out}"))
    }
}
