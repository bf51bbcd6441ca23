//! Whether the addresses in a listing are IPv4 or IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::Family;

/// The family of the first address in a listing of rules; `None` if there is none.
pub fn of_text(text: &str) -> Option<Family> {
    text.lines().filter(|l| !l.trim_start().starts_with('#')).find_map(of_line)
}

fn of_line(line: &str) -> Option<Family> {
    // Quoted words and comments are free text, not addresses.
    let bare = line.find(['"', '`']).map_or(line, |at| &line[..at]);
    let bare = bare.find("/*").map_or(bare, |at| &bare[..at]);
    bare.split_whitespace().find_map(of_word)
}

fn of_word(word: &str) -> Option<Family> {
    let word = word.trim_start_matches('!');
    if matches!(word, "icmpv6" | "ipv6-icmp" | "icmp6" | "ipv6-icmptype") || word.starts_with("icmp6-") {
        return Some(Family::V6);
    }
    if matches!(word, "icmp" | "icmptype") || word.starts_with("icmp-") {
        return Some(Family::V4);
    }
    let colons = word.bytes().filter(|b| *b == b':').count();
    let dots = word.bytes().filter(|b| *b == b'.').count();
    if colons < 2 && dots < 3 {
        return None;
    }
    let host = word.split('/').next().unwrap_or(word);
    let host = host.strip_prefix("to:").unwrap_or(host);
    // `[fd00::1]:80`, `fd00::1-fd00::9`.
    let v6 = host.strip_prefix('[').and_then(|h| h.split(']').next()).unwrap_or(host).split('-').next().unwrap_or(host);
    if colons >= 2 && v6.parse::<Ipv6Addr>().is_ok() {
        return Some(Family::V6);
    }
    let v4 = host.split([':', '-']).next().unwrap_or(host);
    v4.parse::<Ipv4Addr>().is_ok().then_some(Family::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_tells() {
        assert_eq!(of_text("ACCEPT     all      ::/0                 ::/0\n"), Some(Family::V6));
        assert_eq!(of_text("ACCEPT     all  --  0.0.0.0/0            0.0.0.0/0\n"), Some(Family::V4));
        assert_eq!(of_text("-A INPUT -j ACCEPT\n-A INPUT -p ipv6-icmp -j ACCEPT\n"), Some(Family::V6));
        assert_eq!(
            of_text(":INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment \"::1 and 10.0.0.1\" -j ACCEPT\n"),
            None
        );
        assert_eq!(of_text("DNAT all -- anywhere anywhere to:[fd00::1]:80-90\n"), Some(Family::V6));
        assert_eq!(of_text("-A X -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT\n"), None);
        assert_eq!(of_text("-A X -s 10.137.2.0/255.255.255.0 -j ACCEPT\n"), Some(Family::V4));
    }
}
