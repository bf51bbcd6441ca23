//! Turns the target texts of `iptables -L` into the options that `iptables-save` prints (the `print` and `save`
//! functions of the targets in iptables' extensions/).

use std::fmt::Write as _;

use super::text::{Text, some, tos_number};
use crate::model::quote;

/// The options of a target.
#[derive(Default)]
pub(super) struct Options {
    /// ` --reject-with ...`, with a leading space.
    pub options: String,
    /// The target's name in `iptables-save`, if the listing uses another.
    pub rename: Option<&'static str>,
}

/// Reads the text of the target named in the first column. `None` if it is not understood.
pub(super) fn read(target: &str, text: &mut Text) -> Option<Options> {
    let mut out = Options::default();
    match target {
        "REJECT" => one(&mut out, text, "reject-with", "--reject-with")?,
        "LOG" => log(&mut out, text)?,
        "DNAT" => nat(&mut out, text, "to:", "--to-destination")?,
        "SNAT" => nat(&mut out, text, "to:", "--to-source")?,
        "MASQUERADE" => nat(&mut out, text, "masq ports: ", "--to-ports")?,
        "REDIRECT" => nat(&mut out, text, "redir ports ", "--to-ports")?,
        "NETMAP" => {
            text.eat_glued("to:");
            add(&mut out, "--to", text.word());
        }
        "MARK" => mark(&mut out, text, "MARK")?,
        "CONNMARK" => mark(&mut out, text, "CONNMARK")?,
        "TCPMSS" if text.eat("TCPMSS clamp to PMTU") => add(&mut out, "--clamp-mss-to-pmtu", ""),
        "TCPMSS" => one(&mut out, text, "TCPMSS set", "--set-mss")?,
        "CT" if text.eat("NOTRACK") => out.rename = Some("NOTRACK"),
        "CT" => words(
            &mut out,
            text,
            "CT",
            &[
                ("notrack", "--notrack", false),
                ("helper", "--helper", true),
                ("timeout", "--timeout", true),
                ("zone", "--zone", true),
                ("zone-orig", "--zone-orig", true),
                ("zone-reply", "--zone-reply", true),
                ("ctevents", "--ctevents", true),
                ("expevents", "--expevents", true),
            ],
        )?,
        "NFLOG" => nflog(&mut out, text)?,
        "NFQUEUE" => words(
            &mut out,
            text,
            "NFQUEUE",
            &[
                ("num", "--queue-num", true),
                ("balance", "--queue-balance", true),
                ("bypass", "--queue-bypass", false),
                ("cpu-fanout", "--queue-cpu-fanout", false),
            ],
        )?,
        "TPROXY" => tproxy(&mut out, text)?,
        "DSCP" => one(&mut out, text, "DSCP set", "--set-dscp")?,
        "TOS" => tos(&mut out, text)?,
        "CLASSIFY" => {
            text.eat("CLASSIFY set").then_some(())?;
            let (major, minor) = text.word().split_once(':')?;
            add(&mut out, "--set-class", &format!("{major:0>4}:{minor:0>4}"));
        }
        "TTL" | "HL" => hop_limit(&mut out, text, target)?,
        "CHECKSUM" if text.eat("CHECKSUM fill") => add(&mut out, "--checksum-fill", ""),
        "SYNPROXY" => words(
            &mut out,
            text,
            "SYNPROXY",
            &[
                ("sack-perm", "--sack-perm", false),
                ("timestamp", "--timestamp", false),
                ("wscale", "--wscale", true),
                ("mss", "--mss", true),
                ("ecn", "--ecn", false),
            ],
        )?,
        "AUDIT" => one(&mut out, text, "AUDIT", "--type")?,
        "TEE" => {
            text.eat("TEE");
            text.eat_glued("gw:").then_some(())?;
            add(&mut out, "--gateway", text.word());
        }
        "SET" => set(&mut out, text)?,
        "RATEEST" => {
            for (word, option) in
                [("name", "--rateest-name"), ("interval", "--rateest-interval"), ("ewmalog", "--rateest-ewmalog")]
            {
                one(&mut out, text, word, option)?;
            }
        }
        "TCPOPTSTRIP" => {
            text.eat("TCPOPTSTRIP options").then_some(())?;
            let numbers: Vec<&str> = text.word().split(',').map(tcp_option).collect();
            add(&mut out, "--strip-options", &numbers.join(","));
        }
        "DNPT" | "SNPT" => {
            words(&mut out, text, target, &[("src-pfx", "--src-pfx", true), ("dst-pfx", "--dst-pfx", true)])?;
        }
        "IDLETIMER" => {
            for (key, option) in [("timeout:", "--timeout"), ("label:", "--label")] {
                text.eat_glued(key).then_some(())?;
                add(&mut out, option, text.word());
            }
            if text.eat("alarm") {
                add(&mut out, "--alarm", "");
            }
        }
        "LED" => led(&mut out, text)?,
        "CLUSTERIP" => cluster_ip(&mut out, text)?,
        "HMARK" => hmark(&mut out, text)?,
        "ECN" if text.eat("ECN TCP remove") => add(&mut out, "--ecn-tcp-remove", ""),
        "CONNSECMARK" => {
            words(&mut out, text, "CONNSECMARK", &[("save", "--save", false), ("restore", "--restore", false)])?;
        }
        "SECMARK" => one(&mut out, text, "SECMARK selctx", "--selctx")?,
        "ULOG" => words(
            &mut out,
            text,
            "ULOG",
            &[
                ("copy_range", "--ulog-cprange", true),
                ("nlgroup", "--ulog-nlgroup", true),
                ("queue_threshold", "--ulog-qthreshold", true),
            ],
        )?,
        _ => return None,
    }
    Some(out)
}

fn add(out: &mut Options, option: &str, value: &str) {
    let _ = write!(out.options, " {option}");
    if !value.is_empty() {
        let _ = write!(out.options, " {value}");
    }
}

/// A fixed phrase, then one value.
fn one(out: &mut Options, text: &mut Text, words: &str, option: &str) -> Option<()> {
    text.eat(words).then_some(())?;
    let value = text.word();
    (!value.is_empty()).then(|| add(out, option, value))
}

/// A name, then any of these words, some with a value.
fn words(out: &mut Options, text: &mut Text, name: &str, known: &[(&str, &str, bool)]) -> Option<()> {
    text.eat(name).then_some(())?;
    while !text.is_empty() {
        let word = text.word();
        let (_, option, has_value) = known.iter().find(|(w, ..)| *w == word)?;
        let value = if *has_value { text.word() } else { "" };
        add(out, option, value);
    }
    Some(())
}

/// Log levels (syslog(3)), which the listing shows by name without `-n`.
const LEVELS: &[&[&str]] = &[
    &["emerg", "panic"],
    &["alert"],
    &["crit"],
    &["err", "error"],
    &["warning", "warn"],
    &["notice"],
    &["info"],
    &["debug"],
];

/// Bits of the LOG flags and their options.
const LOG_FLAGS: &[(u32, &str, &str)] = &[
    (1, "tcp-sequence", "--log-tcp-sequence"),
    (2, "tcp-options", "--log-tcp-options"),
    (4, "ip-options", "--log-ip-options"),
    (8, "uid", "--log-uid"),
    (32, "macdecode", "--log-macdecode"),
];

fn log(out: &mut Options, text: &mut Text) -> Option<()> {
    text.eat("LOG").then_some(())?;
    let (mut flags, mut level, mut prefix, mut old) = (0u32, 4usize, None, false);
    while !text.is_empty() {
        match text.word() {
            "flags" => flags = text.word().parse().ok()?,
            "level" => {
                let word = text.word();
                level = word.parse().ok().or_else(|| LEVELS.iter().position(|names| names.contains(&word)))?;
            }
            "prefix" => {
                let rest = text.rest.trim();
                old = rest.starts_with('`');
                let inner = rest.strip_prefix(['"', '`'])?;
                prefix = Some(inner.strip_suffix(['"', '\''])?.to_owned());
                text.rest = "";
            }
            word => flags |= LOG_FLAGS.iter().find(|(_, name, _)| *name == word)?.0,
        }
    }
    if let Some(prefix) = prefix {
        let quoted = quote(&prefix);
        // Versions that list it as `x' always save it in quotes, later ones only if needed.
        add(out, "--log-prefix", &if old && !quoted.starts_with('"') { format!("\"{prefix}\"") } else { quoted });
    }
    if level != 4 {
        add(out, "--log-level", &level.to_string());
    }
    for (bit, _, option) in LOG_FLAGS {
        if flags & bit != 0 {
            add(out, option, "");
        }
    }
    Some(())
}

fn nat(out: &mut Options, text: &mut Text, lead: &str, option: &str) -> Option<()> {
    if text.eat_glued(lead) {
        let value = text.word();
        (!value.is_empty()).then_some(())?;
        // A remark added after ideographic spaces is not part of the address.
        add(out, option, value);
    }
    while !text.is_empty() {
        match text.word() {
            "random" => add(out, "--random", ""),
            "random-fully" => add(out, "--random-fully", ""),
            "persistent" => add(out, "--persistent", ""),
            _ => return None,
        }
    }
    Some(())
}

fn hex(word: &str) -> Option<u32> {
    word.strip_prefix("0x").map_or_else(|| word.parse().ok(), |h| u32::from_str_radix(h, 16).ok())
}

fn mark(out: &mut Options, text: &mut Text, name: &str) -> Option<()> {
    text.eat(name).then_some(())?;
    match text.word() {
        which @ ("restore" | "save") => {
            let mut masks = (u32::MAX, u32::MAX);
            while !text.is_empty() {
                match text.word() {
                    "mask" => {
                        let m = hex(text.word())?;
                        masks = (m, m);
                    }
                    // A negated mask has a leading `~` (libxt_CONNMARK.c).
                    "nfmask" => masks.0 = hex(text.word().trim_start_matches('~'))?,
                    "ctmask" => masks.1 = hex(text.word().trim_start_matches('~'))?,
                    _ => return None,
                }
            }
            let _ = write!(out.options, " --{which}-mark --nfmask {:#x} --ctmask {:#x}", masks.0, masks.1);
        }
        how => {
            let value = text.word();
            let (value, mask) = value.split_once('/').map_or((value, None), |(v, m)| (v, Some(m)));
            let v = hex(value)?;
            let (v, m) = match how {
                "set" => (v, mask.map_or(Some(u32::MAX), hex)?),
                "xset" => (v, hex(mask?)?),
                "or" => (v, v),
                "and" => (0, !v),
                "xor" => (v, 0),
                _ => return None,
            };
            let _ = write!(out.options, " --set-xmark {v:#x}/{m:#x}");
        }
    }
    Some(())
}

/// `TOS set 0x10/0x3f`; without `-n` a name, or `and`, `or`, `xor` with a value, is glued on (libxt_TOS.c).
fn tos(out: &mut Options, text: &mut Text) -> Option<()> {
    text.eat("TOS").then_some(())?;
    let how = text.word();
    if let Some(name) = how.strip_prefix("set").filter(|n| !n.is_empty()) {
        add(out, "--set-tos", tos_number(name).unwrap_or(name));
        return Some(());
    }
    let value = text.word();
    if how == "set" {
        add(out, "--set-tos", some(value)?);
        return Some(());
    }
    let bits = u8::try_from(hex(value)?).ok()?;
    let (value, mask) = match how {
        "and" => (0, !bits),
        "or" => (bits, bits),
        "xor" => (bits, 0),
        _ => return None,
    };
    add(out, "--set-tos", &format!("{value:#04x}/{mask:#04x}"));
    Some(())
}

/// The number of a TCP option, whose name TCPOPTSTRIP shows without `-n`.
fn tcp_option(name: &str) -> &str {
    match name {
        "mss" => "2",
        "wscale" => "3",
        "sack-permitted" => "4",
        "sack" => "5",
        "timestamp" => "8",
        "md5" => "19",
        other => other,
    }
}

fn led(out: &mut Options, text: &mut Text) -> Option<()> {
    text.eat_glued("led-trigger-id:").then_some(())?;
    let id = text.quoted(" led-delay:")?;
    add(out, "--led-trigger-id", &format!("\"{id}\""));
    text.eat_glued("led-delay:").then_some(())?;
    match text.word() {
        "0ms" => {}
        delay => add(out, "--led-delay", delay.trim_end_matches("ms")),
    }
    if text.eat("led-always-blink") {
        add(out, "--led-always-blink", "");
    }
    Some(())
}

fn cluster_ip(out: &mut Options, text: &mut Text) -> Option<()> {
    text.eat("CLUSTERIP").then_some(())?;
    if text.is_empty() {
        return Some(());
    }
    add(out, "--new", "");
    let keys = [
        ("hashmode=", "--hashmode"),
        ("clustermac=", "--clustermac"),
        ("total_nodes=", "--total-nodes"),
        ("local_node=", "--local-node"),
        ("hash_init=", "--hash-init"),
    ];
    for (key, option) in keys {
        text.eat_glued(key).then_some(())?;
        add(out, option, text.word());
    }
    Some(())
}

/// `HMARK mod 42 + 0x1 ct, src-prefix 32 ... rnd 0x4`; the modulus comes last in `iptables-save`.
fn hmark(out: &mut Options, text: &mut Text) -> Option<()> {
    text.eat("HMARK").then_some(())?;
    let mut last = Options::default();
    while !text.is_empty() {
        let word = text.word();
        if word == "ct," {
            add(&mut last, "--hmark-tuple", "ct");
            continue;
        }
        let value = some(text.word())?;
        match word {
            "mod" => add(&mut last, "--hmark-mod", value),
            "+" => add(&mut last, "--hmark-offset", &hex(value)?.to_string()),
            "src-prefix" | "dst-prefix" => add(out, &format!("--hmark-{word}"), value),
            "sport-mask" | "dport-mask" | "sport" | "dport" => {
                add(out, &format!("--hmark-{word}"), &format!("{:#06x}", hex(value)?));
            }
            "proto-mask" => add(out, "--hmark-proto-mask", &format!("{:#04x}", hex(value)?)),
            "spi-mask" | "spi" | "rnd" => add(out, &format!("--hmark-{word}"), &format!("{:#010x}", hex(value)?)),
            _ => return None,
        }
    }
    out.options.push_str(&last.options);
    Some(())
}

fn nflog(out: &mut Options, text: &mut Text) -> Option<()> {
    while !text.is_empty() {
        let option = text.word();
        match option {
            "nflog-prefix" => match text.quoted(" nflog-") {
                Some(prefix) => add(out, "--nflog-prefix", &quote(prefix)),
                None => match text.quoted("") {
                    Some(prefix) => add(out, "--nflog-prefix", &quote(prefix)),
                    None => add(out, "--nflog-prefix", text.word()),
                },
            },
            "nflog-group" | "nflog-range" | "nflog-size" | "nflog-threshold" => {
                let value = text.word();
                add(out, &format!("--{option}"), value);
            }
            _ => return None,
        }
    }
    Some(())
}

fn tproxy(out: &mut Options, text: &mut Text) -> Option<()> {
    text.eat("TPROXY redirect").then_some(())?;
    let (ip, port) = text.word().rsplit_once(':')?;
    text.eat("mark").then_some(())?;
    let mark = text.word();
    let _ = write!(out.options, " --on-port {port} --on-ip {} --tproxy-mark {mark}", ip.trim_matches(['[', ']']));
    Some(())
}

fn hop_limit(out: &mut Options, text: &mut Text, target: &str) -> Option<()> {
    let lower = target.to_ascii_lowercase();
    for (words, how) in [("set to", "set"), ("increment by", "inc"), ("decrement by", "dec")] {
        if text.eat(&format!("{target} {words}")) {
            add(out, &format!("--{lower}-{how}"), text.word());
            return Some(());
        }
    }
    None
}

fn set(out: &mut Options, text: &mut Text) -> Option<()> {
    while !text.is_empty() {
        match text.word() {
            which @ ("add-set" | "del-set" | "map-set") => {
                let (name, dirs) = (text.word(), text.word());
                add(out, &format!("--{which}"), &format!("{name} {dirs}"));
            }
            "exist" => add(out, "--exist", ""),
            "timeout" => add(out, "--timeout", text.word()),
            _ => return None,
        }
    }
    Some(())
}
