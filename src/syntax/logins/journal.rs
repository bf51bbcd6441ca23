//! What sshd logs about a login (sshd(8), `auth_log`), as `journalctl -o short-unix` prints it: `1700000000.123456 host
//! sshd[42]: Accepted publickey for root from 192.0.2.2 port 51234 ssh2: ED25519 SHA256:...`.

use super::address;
use crate::model::{Diagnostic, Login, LoginSource};

/// The logins, in the order of the text.
pub fn read(text: &str) -> (Vec<Login>, Vec<Diagnostic>) {
    (text.lines().filter_map(login).collect(), Vec::new())
}

fn login(line: &str) -> Option<Login> {
    let (head, message) = line.split_once("]: ")?;
    // The message begins with sshd's own words; the user's name, which is not trusted, comes later.
    let rest = message.strip_prefix("Accepted ")?.split_once(" for ")?.1;
    let (user, from) = rest.split_once(" from ")?;
    let at = head.split('.').next()?.parse().ok();
    Some(Login { user: user.to_owned(), peer: address(from)?, port: None, at, seen: LoginSource::Journal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_let_in_is_a_login() {
        let text = "1700000003.5 nfs1 sshd[7]: Accepted publickey for root from 192.0.2.2 port 51234 ssh2: RSA \
            SHA256:x\n\
            1700000002.5 nfs1 sshd-session[8]: Accepted keyboard-interactive/pam for ann from fe80::2%eth0 port 5 \
            ssh2\n\
            1700000001.5 nfs1 sshd[9]: Failed password for invalid user Accepted x for root from 192.0.2.9 port 1 \
            from 192.0.2.9 port 5 ssh2\n\
            1700000000.5 nfs1 sshd[9]: Connection from 192.0.2.9 port 5 on 192.0.2.1 port 22\n-- No entries --\n\
            1700000000.5 nfs1 sshd[9]: Accepted password for bob from UNKNOWN port 5 ssh2\n";
        let said: Vec<String> = read(text).0.iter().map(|l| format!("{} {} {:?}", l.user, l.peer, l.at)).collect();
        assert_eq!(said, ["root 192.0.2.2 Some(1700000003)", "ann fe80::2 Some(1700000002)"]);
    }
}
