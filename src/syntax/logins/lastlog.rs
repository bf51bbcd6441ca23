//! `lastlog` (lastlog(8)): one record per user, indexed by user id.

use super::{address, number, text};
use crate::model::{Diagnostic, Login, LoginSource};

/// Size of a record in bytes.
pub const fn size(wide: bool) -> usize {
    if wide { 296 } else { 292 }
}

/// The last login of a user, if it came from an address. `wide`: times have 64 bits.
pub fn read(record: &[u8], wide: bool, user: &str) -> (Option<Login>, Vec<Diagnostic>) {
    let line = if wide { 8 } else { 4 };
    let Some((at, host)) = number(record, 0, wide).zip(record.get(line + 32..size(wide))) else {
        return (None, Vec::new());
    };
    let login = |peer| Login { user: user.to_owned(), peer, port: None, at: Some(at), seen: LoginSource::Lastlog };
    (address(&text(host)).filter(|_| at != 0).map(login), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_time_terminal_and_host() {
        for wide in [false, true] {
            let time = if wide { 7_i64.to_ne_bytes().to_vec() } else { 7_i32.to_ne_bytes().to_vec() };
            let mut r = [time, b"pts/0".to_vec()].concat();
            r.resize(if wide { 40 } else { 36 }, 0);
            r.extend(b"192.0.2.2");
            r.resize(size(wide), 0);
            let login = read(&r, wide, "ann").0.unwrap();
            assert_eq!((login.peer.to_string().as_str(), login.at, login.user.as_str()), ("192.0.2.2", Some(7), "ann"));
            assert_eq!(read(&vec![0; size(wide)], wide, "bob").0, None);
            assert_eq!(read(&r[..20], wide, "ann").0, None);
        }
    }
}
