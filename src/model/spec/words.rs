//! Values of options: ports, flags, dates, numbers, ICMP names.

use std::ops::RangeInclusive;

use crate::model::{Family, PortSet};

/// A number in decimal, hexadecimal or octal, as strtoul(3) with base 0 reads it.
pub(super) fn number(text: &str) -> Option<u32> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// `VALUE` or `VALUE/MASK`.
pub(super) fn value_mask(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((v, m)) => Some((number(v)?, number(m)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// Service names that hand-written rules use for ports (IANA, `/etc/services`).
const SERVICES: &[(&str, u16)] = &[
    ("ftp-data", 20), ("ftp", 21), ("ssh", 22), ("telnet", 23), ("smtp", 25), ("domain", 53), ("bootps", 67),
    ("bootpc", 68), ("tftp", 69), ("http", 80), ("www", 80), ("kerberos", 88), ("pop3", 110), ("sunrpc", 111),
    ("ntp", 123), ("netbios-ns", 137), ("netbios-dgm", 138), ("netbios-ssn", 139), ("imap", 143), ("imap2", 143),
    ("snmp", 161), ("ldap", 389), ("https", 443), ("microsoft-ds", 445), ("submission", 587), ("ipp", 631),
    ("ldaps", 636), ("imaps", 993), ("pop3s", 995), ("openvpn", 1194), ("nfs", 2049), ("mysql", 3306), ("postgresql", 5432),
    ("mdns", 5353), ("http-alt", 8080),
];

fn port(text: &str) -> Option<u16> {
    text.parse().ok().or_else(|| SERVICES.iter().find(|(n, _)| *n == text).map(|s| s.1))
}

/// `22` or `1000:2000`.
pub(super) fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    match text.split_once(':') {
        None => port(text).map(|p| p..=p),
        Some((a, b)) => {
            let a = if a.is_empty() { 0 } else { port(a)? };
            let b = if b.is_empty() { u16::MAX } else { port(b)? };
            Some(a..=b)
        }
    }
}

/// `22`, `1:1024`, `:1024`, `1024:`, and comma lists of them.
pub(super) fn ports(text: &str) -> Option<PortSet> {
    let ranges: Option<Vec<_>> = text.split(',').map(port_range).collect();
    Some(PortSet::from_iter(ranges?))
}

/// Bits of the TCP flags byte (RFC 9293 section 3.1).
pub(super) fn flags(text: &str) -> Option<u8> {
    if let Some(n) = text.strip_prefix("0x") {
        return u8::from_str_radix(n, 16).ok();
    }
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

/// An xt_time date, always UTC: `2026-11-23T22:18:34`, also cut behind any field.
pub(super) fn date(text: &str) -> Option<i64> {
    let full = match text.len() {
        4 => format!("{text}-01-01T00:00:00"),
        7 => format!("{text}-01T00:00:00"),
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let d: jiff::civil::DateTime = full.parse().ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(d).ok()?.as_second())
}

/// ICMP names (iptables `libxt_icmp.h`): name, type, codes.
const ICMP4: &[(&str, u8, RangeInclusive<u8>)] = &[
    ("echo-reply", 0, 0..=255), ("pong", 0, 0..=255), ("destination-unreachable", 3, 0..=255),
    ("network-unreachable", 3, 0..=0), ("host-unreachable", 3, 1..=1), ("protocol-unreachable", 3, 2..=2),
    ("port-unreachable", 3, 3..=3), ("fragmentation-needed", 3, 4..=4), ("source-route-failed", 3, 5..=5),
    ("network-unknown", 3, 6..=6), ("host-unknown", 3, 7..=7), ("network-prohibited", 3, 9..=9),
    ("host-prohibited", 3, 10..=10), ("TOS-network-unreachable", 3, 11..=11), ("TOS-host-unreachable", 3, 12..=12),
    ("communication-prohibited", 3, 13..=13), ("host-precedence-violation", 3, 14..=14), ("precedence-cutoff", 3, 15..=15),
    ("source-quench", 4, 0..=255), ("redirect", 5, 0..=255), ("network-redirect", 5, 0..=0), ("host-redirect", 5, 1..=1),
    ("TOS-network-redirect", 5, 2..=2), ("TOS-host-redirect", 5, 3..=3), ("ip-header-bad", 12, 0..=0), ("required-option-missing", 12, 1..=1), ("echo-request", 8, 0..=255), ("ping", 8, 0..=255), ("router-advertisement", 9, 0..=255),
    ("router-solicitation", 10, 0..=255), ("time-exceeded", 11, 0..=255), ("ttl-exceeded", 11, 0..=255),
    ("ttl-zero-during-transit", 11, 0..=0), ("ttl-zero-during-reassembly", 11, 1..=1), ("parameter-problem", 12, 0..=255),
    ("timestamp-request", 13, 0..=255), ("timestamp-reply", 14, 0..=255), ("address-mask-request", 17, 0..=255),
    ("address-mask-reply", 18, 0..=255),
];

/// ICMPv6 names.
const ICMP6: &[(&str, u8, RangeInclusive<u8>)] = &[
    ("destination-unreachable", 1, 0..=255), ("no-route", 1, 0..=0), ("communication-prohibited", 1, 1..=1),
    ("beyond-scope", 1, 2..=2), ("address-unreachable", 1, 3..=3), ("port-unreachable", 1, 4..=4),
    ("failed-policy", 1, 5..=5), ("reject-route", 1, 6..=6), ("bad-header", 4, 0..=0), ("unknown-header-type", 4, 1..=1),
    ("unknown-option", 4, 2..=2), ("mld-listener-query", 130, 0..=255), ("mld-listener-report", 131, 0..=255),
    ("mld-listener-done", 132, 0..=255), ("mld-listener-reduction", 132, 0..=255), ("mld2-listener-report", 143, 0..=255),
    ("packet-too-big", 2, 0..=255), ("time-exceeded", 3, 0..=255), ("ttl-exceeded", 3, 0..=255),
    ("ttl-zero-during-transit", 3, 0..=0), ("ttl-zero-during-reassembly", 3, 1..=1), ("parameter-problem", 4, 0..=255),
    ("echo-request", 128, 0..=255), ("ping", 128, 0..=255), ("echo-reply", 129, 0..=255), ("pong", 129, 0..=255),
    ("router-solicitation", 133, 0..=255), ("router-advertisement", 134, 0..=255), ("neighbour-solicitation", 135, 0..=255),
    ("neighbor-solicitation", 135, 0..=255), ("neighbour-advertisement", 136, 0..=255),
    ("neighbor-advertisement", 136, 0..=255), ("redirect", 137, 0..=255),
];

/// `8`, `8/0`, `echo-request`, `any`: type and codes; the type 255 means any in IPv4.
pub(super) fn icmp(text: &str, family: Family) -> Option<(u8, RangeInclusive<u8>)> {
    if text == "any" {
        return Some((255, 0..=255));
    }
    let names = if family == Family::V4 { ICMP4 } else { ICMP6 };
    if let Some((_, kind, codes)) = names.iter().find(|(n, _, _)| *n == text) {
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
