//! Logins from other hosts, as the machine recorded them: one file per format.

pub mod journal;
pub mod lastlog;
pub mod lastlog2;
pub mod utmp;
pub mod wtmpdb;

use std::net::IpAddr;

/// The address in the host field of a login: mosh writes `192.0.2.1 via mosh [42]`, link-local addresses have a zone.
/// An IPv4-mapped address is IPv4 on the wire.
fn address(host: &str) -> Option<IpAddr> {
    let word = host.split_whitespace().next()?;
    let word = word.split_once('%').map_or(word, |(a, _)| a);
    word.parse().ok().map(|a: IpAddr| a.to_canonical())
}

/// Text up to the first zero byte.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number in the machine's byte order at an offset.
fn number(record: &[u8], at: usize, wide: bool) -> Option<i64> {
    if wide {
        record.get(at..at + 8)?.try_into().ok().map(i64::from_ne_bytes)
    } else {
        record.get(at..at + 4)?.try_into().ok().map(|b| i64::from(i32::from_ne_bytes(b)))
    }
}

/// Whether this machine's records have 64-bit times: glibc keeps the old layout with 32 bits on architectures that once
/// had 32-bit programs (`__WORDSIZE_TIME64_COMPAT32`).
pub const WIDE: bool = cfg!(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64"));
