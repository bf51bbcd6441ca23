//! `utmp` and `wtmp` (utmp(5)): records of fixed size, the latest last.

use super::{address, number, text};
use crate::model::{Diagnostic, Login, LoginSource};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A login, and its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// User and source.
    pub login: Login,
    /// The session leader's process id.
    pub pid: i32,
}

/// `USER_PROCESS`.
const USER: i16 = 7;

/// Size of a record in bytes.
pub const fn size(wide: bool) -> usize {
    if wide { 400 } else { 384 }
}

/// Logins from other hosts whose address is known, in file order. `wide`: times have 64 bits.
pub fn read(bytes: &[u8], wide: bool, seen: LoginSource) -> (Vec<Entry>, Vec<Diagnostic>) {
    let records = bytes.chunks_exact(size(wide));
    let rest = records.remainder().len();
    let diags = (rest > 0)
        .then(|| Diagnostic::whole(format!("{} ends with {rest} bytes of an incomplete record", seen.label())));
    (records.filter_map(|r| entry(r, wide, seen)).collect(), diags.into_iter().collect())
}

fn entry(record: &[u8], wide: bool, seen: LoginSource) -> Option<Entry> {
    let kind = i16::from_ne_bytes(record.get(..2)?.try_into().ok()?);
    let pid = number(record, 4, false)?;
    let (user, host) = (text(record.get(44..76)?), text(record.get(76..332)?));
    let (time, addr) = if wide { (344, 360) } else { (340, 348) };
    let at = number(record, time, wide)?;
    let addr: [u8; 16] = record.get(addr..addr + 16)?.try_into().ok()?;
    // mosh writes its client's current address into the host field and leaves `ut_addr_v6` as it was.
    let peer = address(&host).or_else(|| numeric(addr))?;
    (kind == USER)
        .then_some(Entry { login: Login { user, peer, port: None, at: Some(at), seen }, pid: i32::try_from(pid).ok()? })
}

/// `ut_addr_v6`: for IPv4 only the first four bytes are used.
fn numeric(bytes: [u8; 16]) -> Option<IpAddr> {
    let four: [u8; 4] = bytes[..4].try_into().ok()?;
    if bytes[4..].iter().all(|&b| b == 0) {
        return (four != [0; 4]).then(|| Ipv4Addr::from(four).into());
    }
    Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(wide: bool, kind: i16, user: &str, host: &str, addr: &[u8], at: i32) -> Vec<u8> {
        let mut r = vec![0; size(wide)];
        let mut put = |at: usize, bytes: &[u8]| r[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &kind.to_ne_bytes());
        put(4, &42_i32.to_ne_bytes());
        put(8, b"pts/0");
        put(44, user.as_bytes());
        put(76, host.as_bytes());
        if wide {
            put(344, &i64::from(at).to_ne_bytes());
        } else {
            put(340, &at.to_ne_bytes());
        }
        put(if wide { 360 } else { 348 }, addr);
        r
    }

    #[test]
    fn logins_from_elsewhere_have_an_address() {
        for wide in [false, true] {
            let r = |kind, user, host, addr: &[u8], at| record(wide, kind, user, host, addr, at);
            let file = [
                r(2, "reboot", "6.18.0", &[], 1),
                r(7, "root", "", &[], 2),
                r(7, "ann", ":0", &[], 3),
                r(7, "bob", "tmux(12).%0", &[], 4),
                r(7, "root", "192.0.2.2", &[192, 0, 2, 2], 5),
                r(8, "root", "192.0.2.2", &[192, 0, 2, 2], 6),
                r(7, "ann", "host.example", &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], 7),
                r(7, "bob", "192.0.2.18 via mosh [42]", &[192, 0, 2, 2], 8),
                vec![1, 2, 3],
            ]
            .concat();
            let (found, diags) = read(&file, wide, LoginSource::Wtmp);
            let said: Vec<String> =
                found.iter().map(|e| format!("{} {} {:?} {}", e.login.user, e.login.peer, e.login.at, e.pid)).collect();
            assert_eq!(said, ["root 192.0.2.2 Some(5) 42", "ann 2001:db8::2 Some(7) 42", "bob 192.0.2.18 Some(8) 42"]);
            assert_eq!(diags.len(), 1);
        }
    }
}
