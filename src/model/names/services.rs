//! Service names and port numbers, both ways, as found in `/etc/services` (`assets/services.txt`: the IANA registry and
//! Debian's file).

use std::collections::HashMap;
use std::sync::OnceLock;

static TEXT: &str = include_str!("../../../assets/services.txt");

/// Lines of the table: port, names.
fn lines() -> impl Iterator<Item = (u16, &'static str)> {
    TEXT.lines().filter_map(|l| {
        let (port, names) = l.split_once(' ')?;
        Some((port.parse().ok()?, names))
    })
}

fn by_name() -> &'static HashMap<&'static str, u16> {
    static TABLE: OnceLock<HashMap<&'static str, u16>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = HashMap::new();
        for (port, names) in lines() {
            for name in names.split(' ') {
                table.entry(name.split('/').next().unwrap_or(name)).or_insert(port);
            }
        }
        table
    })
}

/// The port of a service name.
pub fn port(name: &str) -> Option<u16> {
    by_name().get(name).copied()
}

/// The name closest to a misspelt one, if any is close enough.
pub fn closest(name: &str) -> Option<&'static str> {
    crate::model::closest(name, by_name().keys().copied())
}

/// The name that a listing prints for a port, if any. `proto` is `tcp`, `udp`, `sctp` or `dccp`.
pub fn name(port: u16, proto: &str) -> Option<&'static str> {
    let mark = proto.chars().next()?;
    let (_, names) = lines().find(|(p, _)| *p == port)?;
    names.split(' ').find_map(|n| match n.split_once('/') {
        Some((name, protos)) => protos.contains(mark).then_some(name),
        None => Some(n),
    })
}

/// A port, or a range of ports, with names turned into numbers: `ssh`, `bootps:bootpc`, `http-alt`. A name that is not
/// in the table is kept.
pub fn ports_as_numbers(text: &str) -> String {
    let number = |part: &str| port(part).map_or_else(|| part.to_owned(), |p| p.to_string());
    if text.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return text.to_owned();
    }
    match text.split_once(':') {
        Some((from, to)) => format!("{}:{}", number(from), number(to)),
        None => number(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_both_ways() {
        for (n, p) in [
            ("sunrpc", 111),
            ("nfs", 2049),
            ("afs3-callback", 7001),
            ("ssh", 22),
            ("domain", 53),
            ("http-alt", 8080),
            ("bootps", 67),
            ("bootpc", 68),
            ("cadlock2", 1000),
            ("italk", 12345),
            ("microsoft-ds", 445),
            ("postgresql", 5432),
        ] {
            assert_eq!(port(n), Some(p), "{n}");
        }
        assert_eq!(name(111, "udp"), Some("sunrpc"));
        assert_eq!(name(7001, "tcp"), Some("afs3-callback"));
        assert_eq!(name(514, "tcp"), Some("shell"));
        assert_eq!(name(514, "udp"), Some("syslog"));
        assert_eq!(port("no-such-service"), None);
    }

    #[test]
    fn ranges_of_names() {
        assert_eq!(ports_as_numbers("bootps:bootpc"), "67:68");
        assert_eq!(ports_as_numbers("cadlock2:1024"), "1000:1024");
        assert_eq!(ports_as_numbers("mystery:1024"), "mystery:1024");
    }
}
