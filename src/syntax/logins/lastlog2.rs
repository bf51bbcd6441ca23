//! `lastlog2` (lastlog2(8), util-linux): a table of each user's last login.

use jiff::Timestamp;

use super::address;
use crate::model::{Diagnostic, Login, LoginSource};

/// Number of words in a date, `Thu Mar 16 21:06:01 +0100 2023`.
const DATE: usize = 6;

/// Logins that came from an address.
pub fn read(text: &str) -> (Vec<Login>, Vec<Diagnostic>) {
    (text.lines().filter_map(login).collect(), Vec::new())
}

/// User, terminal, host, date; terminal and host may be empty.
fn login(line: &str) -> Option<Login> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (before, date) = words.split_at_checked(words.len().checked_sub(DATE)?)?;
    let at = Timestamp::strptime("%a %b %d %H:%M:%S %z %Y", date.join(" ")).ok()?.as_second();
    let [user, .., host] = before else { return None };
    Some(Login {
        user: (*user).to_owned(),
        peer: address(host)?,
        port: None,
        at: Some(at),
        seen: LoginSource::Lastlog2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_login_of_each_user() {
        let text = "Username         Port     From                                       Latest\n\
            root             pts/0    192.0.2.2                                  Thu Mar 16 21:06:01 +0100 2023\n\
            ann              ssh      2001:db8::2                                Fri Mar 17 21:06:01 +0000 2023\n\
            bob              tty1                                                Fri Mar 17 21:06:01 +0000 2023\n\
            daemon                                                               **Never logged in**\n";
        let said: Vec<String> = read(text).0.iter().map(|l| format!("{} {} {:?}", l.user, l.peer, l.at)).collect();
        assert_eq!(said, ["root 192.0.2.2 Some(1678997161)", "ann 2001:db8::2 Some(1679087161)"]);
    }
}
