//! Values of options: ports, flags, dates, numbers.

use std::ops::RangeInclusive;

use crate::model::PortSet;
use crate::model::names::services;

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

fn port(text: &str) -> Option<u16> {
    text.parse().ok().or_else(|| services::port(text))
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

/// `22`, `1:1024`, `:1024`, `1024:`, and comma-separated lists of them.
pub(super) fn ports(text: &str) -> Option<PortSet> {
    let ranges: Option<Vec<_>> = text.split(',').map(port_range).collect();
    Some(PortSet::from_iter(ranges?))
}

/// `1500`, `40:1500`, `40:`, `:1500`: numbers only (XTTYPE_UINT16RC of libxtables).
pub(super) fn length_range(text: &str) -> Option<RangeInclusive<u16>> {
    let end = |v: &str, missing| if v.is_empty() { Some(missing) } else { u16::try_from(number(v)?).ok() };
    match text.split_once(':') {
        None => u16::try_from(number(text)?).ok().map(|n| n..=n),
        Some((a, b)) => Some(end(a, 0)?..=end(b, u16::MAX)?),
    }
}

/// Bits of the TCP flags byte (RFC 9293 section 3.1).
pub fn flags(text: &str) -> Option<u8> {
    if let Some(n) = text.strip_prefix("0x") {
        return u8::from_str_radix(n, 16).ok();
    }
    text.split(',').try_fold(0, |acc, name| {
        Some(
            acc | match name {
                "FIN" => 1,
                "SYN" => 2,
                "RST" => 4,
                "PSH" => 8,
                "ACK" => 16,
                "URG" => 32,
                "ALL" => 63,
                "NONE" => 0,
                _ => return None,
            },
        )
    })
}

/// An xt_time date, always UTC: `2026-11-23T22:18:34`, possibly truncated after any field.
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
