//! Names of ICMP types (iptables' extensions/libxt_icmp.h).

use std::ops::RangeInclusive;

use crate::model::Family;

/// Name, type, codes.
type Named = (&'static str, u8, RangeInclusive<u8>);

const ICMP4: &[Named] = &[
    ("echo-reply", 0, 0..=255),
    ("pong", 0, 0..=255),
    ("destination-unreachable", 3, 0..=255),
    ("network-unreachable", 3, 0..=0),
    ("host-unreachable", 3, 1..=1),
    ("protocol-unreachable", 3, 2..=2),
    ("port-unreachable", 3, 3..=3),
    ("fragmentation-needed", 3, 4..=4),
    ("source-route-failed", 3, 5..=5),
    ("network-unknown", 3, 6..=6),
    ("host-unknown", 3, 7..=7),
    ("network-prohibited", 3, 9..=9),
    ("host-prohibited", 3, 10..=10),
    ("TOS-network-unreachable", 3, 11..=11),
    ("TOS-host-unreachable", 3, 12..=12),
    ("communication-prohibited", 3, 13..=13),
    ("host-precedence-violation", 3, 14..=14),
    ("precedence-cutoff", 3, 15..=15),
    ("source-quench", 4, 0..=255),
    ("redirect", 5, 0..=255),
    ("network-redirect", 5, 0..=0),
    ("host-redirect", 5, 1..=1),
    ("TOS-network-redirect", 5, 2..=2),
    ("TOS-host-redirect", 5, 3..=3),
    ("ip-header-bad", 12, 0..=0),
    ("required-option-missing", 12, 1..=1),
    ("echo-request", 8, 0..=255),
    ("ping", 8, 0..=255),
    ("router-advertisement", 9, 0..=255),
    ("router-solicitation", 10, 0..=255),
    ("time-exceeded", 11, 0..=255),
    ("ttl-exceeded", 11, 0..=255),
    ("ttl-zero-during-transit", 11, 0..=0),
    ("ttl-zero-during-reassembly", 11, 1..=1),
    ("parameter-problem", 12, 0..=255),
    ("timestamp-request", 13, 0..=255),
    ("timestamp-reply", 14, 0..=255),
    ("address-mask-request", 17, 0..=255),
    ("address-mask-reply", 18, 0..=255),
];

const ICMP6: &[Named] = &[
    ("destination-unreachable", 1, 0..=255),
    ("no-route", 1, 0..=0),
    ("communication-prohibited", 1, 1..=1),
    ("beyond-scope", 1, 2..=2),
    ("address-unreachable", 1, 3..=3),
    ("port-unreachable", 1, 4..=4),
    ("failed-policy", 1, 5..=5),
    ("reject-route", 1, 6..=6),
    ("bad-header", 4, 0..=0),
    ("unknown-header-type", 4, 1..=1),
    ("unknown-option", 4, 2..=2),
    ("mld-listener-query", 130, 0..=255),
    ("mld-listener-report", 131, 0..=255),
    ("mld-listener-done", 132, 0..=255),
    ("mld-listener-reduction", 132, 0..=255),
    ("mld2-listener-report", 143, 0..=255),
    ("packet-too-big", 2, 0..=255),
    ("time-exceeded", 3, 0..=255),
    ("ttl-exceeded", 3, 0..=255),
    ("ttl-zero-during-transit", 3, 0..=0),
    ("ttl-zero-during-reassembly", 3, 1..=1),
    ("parameter-problem", 4, 0..=255),
    ("echo-request", 128, 0..=255),
    ("ping", 128, 0..=255),
    ("echo-reply", 129, 0..=255),
    ("pong", 129, 0..=255),
    ("router-solicitation", 133, 0..=255),
    ("router-advertisement", 134, 0..=255),
    ("neighbour-solicitation", 135, 0..=255),
    ("neighbor-solicitation", 135, 0..=255),
    ("neighbour-advertisement", 136, 0..=255),
    ("neighbor-advertisement", 136, 0..=255),
    ("redirect", 137, 0..=255),
];

fn table(family: Family) -> &'static [Named] {
    match family {
        Family::V4 => ICMP4,
        Family::V6 => ICMP6,
    }
}

/// Type and codes of `8`, `8/0`, `echo-request` or `any`; type 255 means any in IPv4.
pub fn numbers(text: &str, family: Family) -> Option<(u8, RangeInclusive<u8>)> {
    if text == "any" {
        return Some((255, 0..=255));
    }
    if let Some((_, kind, codes)) = table(family).iter().find(|(n, _, _)| *n == text) {
        return Some((*kind, codes.clone()));
    }
    match text.split_once('/') {
        None => Some((text.parse().ok()?, 0..=255)),
        Some((t, c)) => {
            let c: u8 = c.parse().ok()?;
            Some((t.parse().ok()?, c..=c))
        }
    }
}

/// `type` or `type/code`, as `iptables-save` prints what a listing shows by name.
pub fn as_saved(name: &str, family: Family) -> Option<String> {
    if name == "any" && family == Family::V4 {
        return Some(name.to_owned());
    }
    let (_, kind, codes) = table(family).iter().find(|(n, _, _)| *n == name)?;
    Some(if codes.start() == codes.end() { format!("{kind}/{}", codes.start()) } else { kind.to_string() })
}
