//! `ip addr` and `ip route`, as JSON (`-j`) and as text, also `-o` and `-br` (ip-address(8), ip-route(8)).

use std::net::IpAddr;

use serde::Deserialize;

use crate::model::{Diagnostic, Family, LocalAddr, Net, Route};

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    local: Option<IpAddr>,
    #[serde(default)]
    prefixlen: u8,
}

#[derive(Deserialize)]
struct RouteIn {
    #[serde(default)]
    dst: String,
    gateway: Option<IpAddr>,
    dev: Option<String>,
}

/// Reads `ip -j addr`.
pub fn addresses(text: &str) -> (Vec<LocalAddr>, Vec<Diagnostic>) {
    let (links, diags) = read::<Link>(text, "ip -j addr");
    let addrs = links
        .into_iter()
        .flat_map(|l| {
            l.addr_info.into_iter().filter_map(move |i| {
                Some(LocalAddr { addr: i.local?, prefix: i.prefixlen, interface: l.ifname.clone() })
            })
        })
        .collect();
    (addrs, diags)
}

/// Reads `ip -j route` of one family.
pub fn routes(text: &str, family: Family) -> (Vec<Route>, Vec<Diagnostic>) {
    let (routes, diags) = read::<RouteIn>(text, "ip -j route");
    let routes = routes
        .into_iter()
        .filter_map(|r| {
            let net = if r.dst == "default" { Net::any(family) } else { Net::parse(&r.dst, family)? };
            Some(Route { net, interface: r.dev? })
        })
        .collect();
    (routes, diags)
}

fn read<T: for<'a> Deserialize<'a>>(text: &str, what: &str) -> (Vec<T>, Vec<Diagnostic>) {
    if text.trim().is_empty() {
        return (Vec::new(), Vec::new());
    }
    serde_json::from_str(text).map_or_else(
        |e| (Vec::new(), vec![Diagnostic::at(e.line(), format!("{what} did not print the expected JSON: {e}"))]),
        |v| (v, Vec::new()),
    )
}

/// The family of captured `ip -j route` output, which does not name it.
pub fn json_family(text: &str) -> Family {
    let routes = serde_json::from_str::<Vec<RouteIn>>(text).unwrap_or_default();
    let v6 = |r: &RouteIn| r.dst.contains(':') || r.gateway.is_some_and(|g| g.is_ipv6());
    if routes.iter().any(v6) { Family::V6 } else { Family::V4 }
}

/// Reads `ip addr`, `ip -o addr` or `ip -br addr`.
pub fn address_text(text: &str) -> Vec<LocalAddr> {
    let mut out: Vec<LocalAddr> = Vec::new();
    let mut open: Option<&str> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(name) = link_name(&words) {
            open = Some(name);
        }
        let mut add = |interface: &str, words: &[&str]| {
            let taken = address(words)?;
            // The name of an alias follows a colon.
            let interface = interface.split([':', '@']).next().unwrap_or(interface).to_owned();
            out.push(LocalAddr { addr: taken.0, prefix: taken.1, interface });
            Some(())
        };
        match words.as_slice() {
            ["inet" | "inet6", rest @ ..] => {
                // Without its interface line (`ip addr | grep inet`), only an IPv4 line ends in the interface name.
                if let Some(name) = open.or(rest.last().copied().filter(|_| words[0] == "inet")) {
                    add(name, rest);
                }
            }
            [n, name, "inet" | "inet6", rest @ ..] if is_index(n) => {
                add(name.trim_end_matches(':'), rest);
            }
            [name, state, rest @ ..] if BRIEF.contains(state) => {
                (0..rest.len()).filter(|i| *i == 0 || !matches!(rest[i - 1], "peer")).for_each(|i| {
                    add(name, &rest[i..]);
                });
            }
            _ => {}
        }
    }
    out
}

/// Reads `ip route` or `ip -6 route`; `told`: the family named on the command line.
pub fn route_text(text: &str, told: Option<Family>) -> Vec<Route> {
    let mut out = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |what: &str| words.iter().position(|w| *w == what).and_then(|at| words.get(at + 1)).copied();
        // Routes of other tables are for policy routing; an indented line is one of several next hops.
        let (Some(first), Some(dev)) = (words.first(), after("dev")) else { continue };
        if after("table").is_some_and(|t| t != "main") || line.starts_with(char::is_whitespace) {
            continue;
        }
        let net = if *first == "default" {
            // Only IPv6 lines end in a preference.
            let v6 = after("via").is_some_and(|via| via.contains(':')) || words.contains(&"pref");
            Some(Net::any(told.unwrap_or(if v6 { Family::V6 } else { Family::V4 })))
        } else {
            Net::parse_any(first)
        };
        out.extend(net.map(|net| Route { net, interface: dev.to_owned() }));
    }
    out
}

/// The host's own addresses that `ip route` names: `192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1`.
pub fn route_sources(text: &str) -> Vec<LocalAddr> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let behind = |what: &str| words.iter().position(|w| *w == what).and_then(|at| words.get(at + 1)).copied();
            let net = Net::parse_any(words.first()?)?;
            let addr: IpAddr = behind("src")?.parse().ok()?;
            let own = net.contains(addr) && behind("via").is_none();
            own.then(|| Some(LocalAddr { addr, prefix: net.prefix()?, interface: behind("dev")?.to_owned() }))?
        })
        .collect()
}

/// States in the second column of `ip -br addr` (RFC 2863).
const BRIEF: &[&str] = &["UP", "DOWN", "UNKNOWN", "LOWERLAYERDOWN", "DORMANT", "TESTING", "NOTPRESENT"];

fn is_index(word: &str) -> bool {
    word.strip_suffix(':').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// `2: eth0@if7: <BROADCAST,UP> mtu 1500 ...`
fn link_name<'l>(words: &[&'l str]) -> Option<&'l str> {
    match words {
        [n, name, flags, ..] if is_index(n) && flags.starts_with('<') => name.strip_suffix(':'),
        _ => None,
    }
}

/// `192.0.2.1/24`, or `10.8.0.2 peer 10.8.0.1/32` of a tunnel.
fn address(words: &[&str]) -> Option<(IpAddr, u8)> {
    let first = words.first()?;
    let (addr, prefix) = match (first.split_once('/'), words.get(1), words.get(2)) {
        (Some((addr, prefix)), ..) => (addr, prefix),
        (None, Some(&"peer"), Some(peer)) => (*first, peer.split_once('/').map_or("", |p| p.1)),
        _ => return None,
    };
    let addr: IpAddr = addr.parse().ok()?;
    Some((addr, prefix.parse().ok().filter(|p| *p <= Family::of(addr).bits())?))
}

/// The interface whose entry begins on this line of `ip addr`.
pub(super) fn link_line(line: &str) -> Option<&str> {
    link_name(&line.split_whitespace().take(3).collect::<Vec<_>>())
}

/// Whether a line contains an address as `ip addr` prints it.
pub(super) fn is_address_line(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().take(8).collect();
    match words.as_slice() {
        ["inet" | "inet6", rest @ ..] => address(rest).is_some(),
        [n, _, "inet" | "inet6", rest @ ..] if is_index(n) => address(rest).is_some(),
        [_, state, rest @ ..] if BRIEF.contains(state) => address(rest).is_some(),
        _ => false,
    }
}

/// Whether a line looks like a route.
pub(super) fn is_route_line(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().take(8).collect();
    let of_type = |w: &str| {
        matches!(
            w,
            "unreachable" | "blackhole" | "prohibit" | "throw" | "local" | "broadcast" | "multicast" | "anycast"
        )
    };
    match words.as_slice() {
        [kind, dst, ..] if of_type(kind) => *dst == "default" || Net::parse_any(dst).is_some(),
        [dst, "via" | "dev" | "proto" | "nhid", _, ..] => *dst == "default" || Net::parse_any(dst).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_an_address_of_the_host() {
        let text = "default via 192.0.2.254 dev eth0 src 192.0.2.1\n10.8.0.0/24 via 192.0.2.9 dev eth0 src 192.0.2.1\n\
            192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1\n";
        let own = LocalAddr { addr: [192, 0, 2, 1].into(), prefix: 24, interface: "eth0".into() };
        assert_eq!(route_sources(text), [own]);
    }

    #[test]
    fn reads_what_ip_prints() {
        let (a, d) = addresses(
            r#"[{"ifindex":1,"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}]},
            {},{"ifname":"eth0","addr_info":[]}]"#,
        );
        assert!(d.is_empty());
        assert_eq!(a, [LocalAddr { addr: "127.0.0.1".parse().unwrap(), prefix: 8, interface: "lo".into() }]);
        let (r, _) = routes(
            r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"},{"dst":"172.17.0.0/16","dev":"docker0"},
            {"type":"blackhole","dst":"10.0.0.0/8"}]"#,
            Family::V4,
        );
        assert_eq!(r.len(), 2);
        assert_eq!(routes("no json", Family::V4).1.len(), 1);
        assert_eq!(json_family(r#"[{"dst":"default","gateway":"fe80::1","dev":"eth0"}]"#), Family::V6);
    }

    fn shown(text: &str) -> Vec<String> {
        address_text(text).iter().map(|a| format!("{} {}/{}", a.interface, a.addr, a.prefix)).collect()
    }

    #[test]
    fn addresses_in_each_form_of_text() {
        let long = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    \
            link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n\
            \u{20}   inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n    inet6 ::1/128 \
            scope host\n2: eth0@if7: <BROADCAST,UP> mtu 1500\n\
            \u{20}   inet 192.0.2.1/24 brd 192.0.2.255 scope global dynamic eth0:1\n3: tun0: <POINTOPOINT,UP> mtu \
            1500\n    inet 10.8.0.2 peer 10.8.0.1/32 scope global tun0\n";
        let all = ["lo 127.0.0.1/8", "lo ::1/128", "eth0 192.0.2.1/24", "tun0 10.8.0.2/32"];
        assert_eq!(shown(long), all);
        assert_eq!(
            shown(
                "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n1: lo    inet6 ::1/128 scope \
                    host \\\n2: eth0    inet 192.0.2.1/24 brd 192.0.2.255 scope global eth0\\\n\
            3: tun0    inet 10.8.0.2 peer 10.8.0.1/32 scope global tun0\n"
            ),
            all
        );
        assert_eq!(
            shown(
                "lo               UNKNOWN        127.0.0.1/8 ::1/128 \neth0@if7         UP             \
                    192.0.2.1/24 \nifb0             DOWN           \n\
            tun0             UNKNOWN        10.8.0.2 peer 10.8.0.1/32 \n"
            ),
            all
        );
        assert_eq!(
            shown(
                "    inet 127.0.0.1/8 scope host lo\n    inet6 ::1/128 scope host\n    inet 192.0.2.1/24 brd \
                192.0.2.255 scope global eth0:1\n"
            ),
            [all[0], all[2]]
        );
    }

    #[test]
    fn routes_in_text() {
        let shown = |text: &str, told| {
            route_text(text, told).iter().map(|r| format!("{} {}", r.net, r.interface)).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(
                "default via 192.168.50.1 dev eth0 \n172.17.0.0/16 dev docker0 proto kernel scope link src \
                172.17.0.1 \n10.1.2.3 dev cali1 scope link\n\
                blackhole 10.0.0.0/8 proto bird\n10.9.0.0/16 dev wg0 table 100\n10.10.0.0/16 \n\tnexthop via 10.0.0.1 \
                dev eth0 weight 1\n",
                None
            ),
            ["0.0.0.0/0 eth0", "172.17.0.0/16 docker0", "10.1.2.3/32 cali1"]
        );
        assert_eq!(
            shown(
                "fe80::/64 dev eth0 proto kernel metric 256 pref medium\ndefault dev wg0 metric 1024 pref medium\n",
                None
            ),
            ["fe80::/64 eth0", "::/0 wg0"]
        );
        assert_eq!(shown("default dev wg0 scope link\n", Some(Family::V4)), ["0.0.0.0/0 wg0"]);
    }
}
