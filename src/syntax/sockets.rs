//! `ss -H -lntup` (listening) and `ss -Htn state established` (ss(8)); header lines are allowed.

use std::net::{IpAddr, Ipv6Addr};

use crate::model::{Diagnostic, Proto, Socket};

/// One connection: our end and the other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Transport.
    pub proto: Proto,
    /// Our address and port.
    pub local: (IpAddr, u16),
    /// The other's address and port.
    pub peer: (IpAddr, u16),
}

/// One end as `ss` writes it: `0.0.0.0:111`, `[::1]%lo:53`, `*:22`, `127.0.0.53%lo:53`.
struct End {
    addr: IpAddr,
    port: Option<u16>,
    device: Option<String>,
    /// `*`: an IPv6 socket that takes IPv4 as well.
    dual: bool,
}

fn end(word: &str) -> Option<End> {
    let (host, port) = word.rsplit_once(':')?;
    let port = if port == "*" { None } else { Some(port.parse().ok()?) };
    let (host, device) = match host.split_once('%') {
        Some((h, d)) => (h.to_owned(), Some(d.trim_end_matches(']').to_owned())),
        None => (host.to_owned(), None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let (addr, dual) = if bare == "*" { (IpAddr::V6(Ipv6Addr::UNSPECIFIED), true) } else { (bare.parse().ok()?, false) };
    Some(End { addr, port, device, dual })
}

/// A line's protocol (TCP where the columns leave it out), its two ends, and what stands behind them.
fn row(line: &str) -> Option<(Proto, End, End, &str)> {
    let mut ends = Vec::new();
    let mut rest = line;
    for word in line.split_whitespace() {
        if let Some(e) = end(word) {
            ends.push(e);
            rest = &line[word.as_ptr() as usize - line.as_ptr() as usize + word.len()..];
            if ends.len() == 2 {
                break;
            }
        }
    }
    let first = line.split_whitespace().next()?;
    let proto = if first == "udp" { Proto::UDP } else { Proto::TCP };
    let [local, peer] = <[End; 2]>::try_from(ends).ok()?;
    Some((proto, local, peer, rest))
}

fn is_header(line: &str) -> bool {
    line.contains("Local Address") || line.contains("Recv-Q")
}

/// Reads listening sockets. Lines of other families (unix, netlink, ...) are left out.
pub fn listening(text: &str) -> (Vec<Socket>, Vec<Diagnostic>) {
    each(text, |proto, local, _, rest| {
        let process = rest.split_once("((\"").and_then(|(_, r)| r.split_once('"')).map(|(name, _)| name.to_owned());
        let v6only = local.addr.is_ipv6().then(|| !local.dual || rest.contains("v6only:1"));
        Some(Socket { proto, local: local.addr, port: local.port?, device: local.device, v6only, process })
    })
}

/// Reads established connections. IPv4 addresses on IPv6 sockets are given as IPv4.
pub fn established(text: &str) -> (Vec<Connection>, Vec<Diagnostic>) {
    each(text, |proto, local, peer, _| {
        Some(Connection { proto, local: (local.addr.to_canonical(), local.port?), peer: (peer.addr.to_canonical(), peer.port?) })
    })
}

fn each<T>(text: &str, mut take: impl FnMut(Proto, End, End, &str) -> Option<T>) -> (Vec<T>, Vec<Diagnostic>) {
    let (mut out, mut diags) = (Vec::new(), Vec::new());
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !is_header(l)) {
        match row(line).and_then(|(proto, local, peer, rest)| take(proto, local, peer, rest)) {
            Some(t) => out.push(t),
            None => diags.push(Diagnostic::at(i + 1, format!("not a socket as ss prints it: {}", line.trim()))),
        }
    }
    (out, diags)
}


#[cfg(test)]
mod tests {
    use super::*;

    const LISTENING: &str = r#"Netid State  Recv-Q Send-Q    Local Address:Port        Peer Address:Port Process
udp   UNCONN 0      0                0.0.0.0:111          0.0.0.0:*    users:(("rpcbind",pid=611,fd=5),("systemd",pid=1,fd=95))
tcp   LISTEN 0      4096                   *:2049               *:*
tcp   LISTEN 0      128              [::]:22              [::]:*    users:(("sshd",pid=7,fd=4))
udp   UNCONN 0      0      127.0.0.53%lo:53          0.0.0.0:*
"#;

    #[test]
    fn listening_sockets() {
        let (s, d) = listening(LISTENING);
        assert!(d.is_empty(), "{d:?}");
        assert_eq!((s[0].proto, s[0].port, s[0].process.as_deref(), s[0].v6only), (Proto::UDP, 111, Some("rpcbind"), None));
        assert_eq!((s[1].local, s[1].v6only), ("::".parse().unwrap(), Some(false)));
        assert_eq!(s[2].v6only, Some(true));
        assert_eq!((s[3].device.as_deref(), s[3].local), (Some("lo"), "127.0.0.53".parse().unwrap()));
        assert_eq!(listening("garbage").1.len(), 1);
    }

    #[test]
    fn connections_with_and_without_columns() {
        let (c, d) = established("0 0 10.0.0.10:22 10.0.0.5:51834\ntcp ESTAB 0 0 [::ffff:192.0.2.10]:2049 [::ffff:192.0.2.11]:871\n");
        assert!(d.is_empty());
        assert_eq!(c[0].peer, ("10.0.0.5".parse().unwrap(), 51834));
        assert_eq!(c[1].local, ("192.0.2.10".parse().unwrap(), 2049));
    }
}
