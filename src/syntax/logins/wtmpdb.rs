//! `wtmpdb last --fullnames --time-format iso` (wtmpdb(8)): one login per line, the latest first.

use jiff::Timestamp;

use super::address;
use crate::model::{Diagnostic, Login, LoginSource};

/// Logins that came from an address.
pub fn read(text: &str) -> (Vec<Login>, Vec<Diagnostic>) {
    (text.lines().filter_map(login).collect(), Vec::new())
}

/// User, terminal, host, `2023-03-16T21:06:01+0100`, ` - `, the end; the host may be empty and the
/// terminal `system boot`.
fn login(line: &str) -> Option<Login> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let time = |w: &str| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", w).ok();
    let (n, at) = words.iter().enumerate().skip(2).find_map(|(n, w)| Some((n, time(w)?.as_second())))?;
    let [user, .., host] = &words[..n] else { return None };
    Some(Login { user: (*user).to_owned(), peer: address(host)?, port: None, at: Some(at), seen: LoginSource::Wtmpdb })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_from_elsewhere_have_an_address() {
        let text = "root     pts/0        192.0.2.2        2023-03-16T21:06:01+0100 - still logged in\n\
            ann      ssh          2001:db8:1:2:3:4:5:6 2023-03-15T20:00:00+0000 - 2023-03-15T20:30:00+0000  (00:30)\n\
            bob      tty1                          2023-03-14T20:00:00+0000 - crash\n\
            reboot   system boot  6.18.0           2023-03-14T19:59:00+0000 - still running\n\
            \n/var/lib/wtmpdb/wtmp.db begins 2023-03-14T19:59:00+0000\n";
        let said: Vec<String> = read(text).0.iter().map(|l| format!("{} {} {:?}", l.user, l.peer, l.at)).collect();
        assert_eq!(said, ["root 192.0.2.2 Some(1678997161)", "ann 2001:db8:1:2:3:4:5:6 Some(1678910400)"]);
    }
}
