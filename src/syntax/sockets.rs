//! `ss` (ss(8), iproute2): listening sockets (`ss -H -lntup`) and connections (`ss -Htn state established`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::names::services;
use crate::model::{Diagnostic, Proto, Socket};

/// One connection. IPv4-mapped addresses are given as IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Transport.
    pub proto: Proto,
    /// Local address and port.
    pub local: (IpAddr, u16),
    /// Remote address and port.
    pub peer: (IpAddr, u16),
}

/// Reads listening sockets only.
pub fn listening(text: &str) -> (Vec<Socket>, Vec<Diagnostic>) {
    let (sockets, _, diags) = read(text);
    (sockets, diags)
}

/// Reads established connections only.
pub fn established(text: &str) -> (Vec<Connection>, Vec<Diagnostic>) {
    let (_, connections, diags) = read(text);
    (connections, diags)
}

/// Reads listening sockets and connections, with or without the heading; lines that cannot be used become diagnostics.
pub fn read(text: &str) -> (Vec<Socket>, Vec<Connection>, Vec<Diagnostic>) {
    // Before iproute2 4.14, `*` was the IPv4 wildcard address and `:::22` the IPv6 one.
    let old = text.split_whitespace().any(|w| w.starts_with(":::"));
    let (mut sockets, mut peers, mut diags) = (Vec::new(), Vec::new(), Vec::new());
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.contains("Recv-Q") {
            continue;
        }
        match row(line, old) {
            Some(Row::Listens(s)) => {
                if !sockets.contains(&s) {
                    sockets.push(s);
                }
            }
            Some(Row::Connected(p)) => peers.push(p),
            Some(Row::Other) => {}
            None => diags
                .push(Diagnostic::at(n + 1, format!("not a socket that this program understands; left out: {line}"))),
        }
    }
    (sockets, peers, diags)
}

enum Row {
    Listens(Socket),
    Connected(Connection),
    /// A connection that is being opened or closed.
    Other,
}

fn row(line: &str, old: bool) -> Option<Row> {
    let mut words: &[&str] = &line.split_whitespace().collect::<Vec<_>>();
    let netid = words.first().and_then(|w| match *w {
        "tcp" => Some(Proto::TCP),
        "udp" => Some(Proto::UDP),
        "sctp" => Some(Proto(132)),
        "dccp" => Some(Proto(33)),
        _ => None,
    });
    if netid.is_some() {
        words = &words[1..];
    }
    // `ss -H ... state established` omits the state.
    let state = words.first().filter(|w| !w.starts_with(|c: char| c.is_ascii_digit())).copied();
    if state.is_some() {
        words = &words[1..];
    }
    let [queued, room, local, peer, rest @ ..] = words else { return None };
    queued.parse::<u64>().ok()?;
    room.parse::<u64>().ok()?;
    let (local, device, port) = end(local, old)?;
    match state.unwrap_or("ESTAB") {
        state @ ("LISTEN" | "UNCONN") => {
            let proto = netid.unwrap_or(if state == "LISTEN" { Proto::TCP } else { Proto::UDP });
            let star = local.is_none();
            let addr = local.unwrap_or(if old {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            } else {
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            });
            let v6only = match addr {
                IpAddr::V4(_) => None,
                IpAddr::V6(a) if old && a.is_unspecified() => None,
                // `*:111` takes both families, `[::]:111` only IPv6.
                IpAddr::V6(_) => Some(!star || rest.contains(&"v6only:1")),
            };
            Some(Row::Listens(Socket { proto, local: addr, port: port?, device, v6only, process: process(rest) }))
        }
        "ESTAB" => {
            let (addr, _, far) = end(peer, old)?;
            Some(Row::Connected(Connection {
                proto: netid.unwrap_or(Proto::TCP),
                local: (local?, port?),
                peer: (addr?, far?),
            }))
        }
        state if state.contains('-') || state == "CLOSING" || state == "CLOSED" => Some(Row::Other),
        _ => None,
    }
}

/// `0.0.0.0:22`, `[::]:22`, `*:22`, `127.0.0.53%lo:53`, `[fe80::1]%eth0:546`, `:::22`; the address is `None` for `*`.
fn end(word: &str, old: bool) -> Option<(Option<IpAddr>, Option<String>, Option<u16>)> {
    let (host, port) = word.rsplit_once(':')?;
    let port = port.parse().ok().or_else(|| services::port(port));
    let (host, device) = match host.split_once('%') {
        Some((h, d)) => (h, Some(d.trim_end_matches(']').to_owned())),
        None => (host, None),
    };
    let host = host.trim_matches(['[', ']']);
    let addr = match host {
        "*" => None,
        // `:::22` of old versions: the wildcard address, then the port.
        "::" | ":" if old => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        h => Some(mapped(h.parse().ok()?)),
    };
    Some((addr, device, port))
}

/// An IPv4-mapped address (`::ffff:192.0.2.1`) is IPv4 on the wire.
fn mapped(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V6(a) => a.to_ipv4_mapped().map_or(addr, IpAddr::V4),
        IpAddr::V4(_) => addr,
    }
}

/// `users:(("rpcbind",pid=1,fd=4),("systemd",pid=1,fd=35))`: the first process name.
fn process(words: &[&str]) -> Option<String> {
    let users = words.iter().find_map(|w| w.strip_prefix("users:((\""))?;
    users.split('"').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_with_and_without_heading() {
        let text = "Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n\
            udp   UNCONN 0      0      127.0.0.53%lo:53        0.0.0.0:*    users:((\"systemd-resolve\",pid=5,fd=13))\n\
            tcp   LISTEN 0      4096         0.0.0.0:111       0.0.0.0:*    \
            users:((\"rpcbind\",pid=1,fd=4),(\"systemd\",pid=1,fd=35))\n\
            tcp   LISTEN 0      128             [::]:22           [::]:*\n\
            tcp   LISTEN 0      511                *:80              *:*\n\
            tcp   LISTEN 0      5   [::ffff:10.0.0.1]:8080           *:*\n";
        let (sockets, peers, diags) = read(text);
        assert_eq!((peers, diags), (vec![], vec![]));
        assert_eq!(sockets[0].device.as_deref(), Some("lo"));
        assert_eq!(sockets[1].process.as_deref(), Some("rpcbind"));
        assert_eq!((sockets[2].v6only, sockets[3].v6only), (Some(true), Some(false)));
        assert_eq!(sockets[3].local.to_string(), "::");
        assert_eq!(sockets[4].local.to_string(), "10.0.0.1");
    }

    #[test]
    fn old_versions_write_stars_for_ipv4() {
        let (sockets, ..) = read(
            "LISTEN     0      128                       *:22                       *:*\nLISTEN     0      \
                128                      :::sunrpc                    :::*\n",
        );
        assert_eq!((sockets[0].local.to_string(), sockets[0].port), ("0.0.0.0".to_owned(), 22));
        assert_eq!((sockets[1].local.to_string(), sockets[1].port, sockets[1].v6only), ("::".to_owned(), 111, None));
    }

    #[test]
    fn connections_give_peers() {
        let (_, peers, diags) = read(
            "0      0      192.0.2.1:22   10.0.0.5:51234\nESTAB 0 0 [2001:db8::1]:2049 [2001:db8::9]:800\ntcp ESTAB 0 \
            0 [::ffff:192.0.2.1]:111 [::ffff:192.0.2.7]:5000\n",
        );
        assert_eq!(diags, []);
        let seen: Vec<_> = peers.iter().map(|p| (p.peer.0.to_string(), p.local.1)).collect();
        assert_eq!(
            seen,
            [("10.0.0.5".to_owned(), 22), ("2001:db8::9".to_owned(), 2049), ("192.0.2.7".to_owned(), 111)]
        );
    }

    #[test]
    fn strange_lines_are_reported() {
        let (sockets, _, diags) = read("u_str LISTEN 0 4096 /run/x.sock 123 * 0\nnonsense\n");
        assert!(sockets.is_empty());
        assert_eq!(diags.len(), 2);
    }
}
