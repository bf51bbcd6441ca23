//! Names of published ports: `docker ps --format '{{.Names}}\t{{.Ports}}'`, or the table of plain `docker ps`.

use std::collections::HashSet;

use crate::model::{Diagnostic, Proto, PublishedName};

/// Reads names and published ports. Containers without ports are skipped.
pub fn read(text: &str) -> (Vec<PublishedName>, Vec<Diagnostic>) {
    let mut out = Vec::<PublishedName>::new();
    // A published range can have thousands of ports: a set avoids searching a list.
    let mut seen = HashSet::new();
    for line in text.lines().filter(|l| !l.starts_with("CONTAINER ID")) {
        let Some(name) = name_of(line) else { continue };
        for part in line.split([' ', '\t', ',']).filter(|w| w.contains("->")) {
            for (proto, port) in ports(part) {
                if seen.insert((proto, port, name)) {
                    out.push(PublishedName { addr: None, host_port: port, proto, name: name.to_owned() });
                }
            }
        }
    }
    (out, Vec::new())
}

/// The container's name: the first word in our format, the last one in docker's table.
fn name_of(line: &str) -> Option<&str> {
    if let Some((name, _)) = line.split_once('\t') {
        return Some(name.trim()).filter(|n| !n.is_empty());
    }
    let mut words = line.split_whitespace();
    let (first, last) = (words.next()?, words.next_back()?);
    Some(if last.contains("->") || last.contains('/') { first } else { last })
}

/// `0.0.0.0:9042->9042/tcp`, `:::7000-7001->7000-7001/tcp`.
fn ports(part: &str) -> Vec<(Proto, u16)> {
    let Some((host, inner)) = part.split_once("->") else { return Vec::new() };
    let proto = inner.rsplit_once('/').and_then(|(_, p)| Proto::parse(p)).unwrap_or(Proto::TCP);
    let range = host.rsplit_once(':').map_or(host, |(_, p)| p);
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(a), Ok(b)) if a <= b => (a..=b).map(|p| (proto, p)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts() {
        let (p, _) = read("cassandra\t0.0.0.0:7000-7001->7000-7001/tcp, :::9042->9042/tcp\nidle\t9000/tcp\n");
        assert_eq!(p.iter().map(|p| p.host_port).collect::<Vec<_>>(), [7000, 7001, 9042]);
        let (p, _) = read(
            "CONTAINER ID   IMAGE   COMMAND   CREATED   STATUS   PORTS   NAMES\nabc   dns   \"x\"   2 days ago   Up 2 \
                days   0.0.0.0:53->53/udp   resolver\n",
        );
        assert_eq!((p[0].name.as_str(), p[0].proto, p[0].host_port), ("resolver", Proto::UDP, 53));
    }
}
