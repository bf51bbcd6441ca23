//! `ip -j addr` and `ip -j route` (ip-address(8), ip-route(8)).

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
    dev: Option<String>,
}

/// Reads `ip -j addr`.
pub fn addresses(text: &str) -> (Vec<LocalAddr>, Vec<Diagnostic>) {
    let (links, diags) = read::<Link>(text, "ip -j addr");
    let addrs = links.into_iter()
        .flat_map(|l| l.addr_info.into_iter().filter_map(move |i| Some(LocalAddr { addr: i.local?, prefix: i.prefixlen, interface: l.ifname.clone() })))
        .collect();
    (addrs, diags)
}

/// Reads `ip -j route` of one family.
pub fn routes(text: &str, family: Family) -> (Vec<Route>, Vec<Diagnostic>) {
    let (routes, diags) = read::<RouteIn>(text, "ip -j route");
    let routes = routes.into_iter()
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
    serde_json::from_str(text)
        .map_or_else(|e| (Vec::new(), vec![Diagnostic::at(e.line(), format!("{what} answered something else than its JSON: {e}"))]), |v| (v, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ip_prints() {
        let (a, d) = addresses(r#"[{"ifindex":1,"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}]},{},{"ifname":"eth0","addr_info":[]}]"#);
        assert!(d.is_empty());
        assert_eq!(a, [LocalAddr { addr: "127.0.0.1".parse().unwrap(), prefix: 8, interface: "lo".into() }]);
        let (r, _) = routes(r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"},{"dst":"172.17.0.0/16","dev":"docker0"},{"type":"blackhole","dst":"10.0.0.0/8"}]"#, Family::V4);
        assert_eq!(r.len(), 2);
        assert_eq!(routes("no json", Family::V4).1.len(), 1);
    }
}
