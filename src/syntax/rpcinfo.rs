//! `rpcinfo -p` and plain `rpcinfo` (rpcinfo(8)).

use crate::model::{Diagnostic, Proto, RpcService};

/// Names of programs that NFS servers register (`/etc/rpc`), for listings that leave the name out.
const PROGRAMS: &[(u32, &str)] = &[
    (100_000, "portmapper"), (100_003, "nfs"), (100_004, "ypserv"), (100_005, "mountd"), (100_007, "ypbind"),
    (100_009, "yppasswdd"), (100_011, "rquotad"), (100_021, "nlockmgr"), (100_024, "status"), (100_227, "nfs_acl"),
];

/// Reads the table; versions of one program on one (protocol, port) are gathered. An error text of
/// `rpcinfo` is a diagnostic, never "no services": then the value is `None`.
pub fn read(text: &str) -> (Option<Vec<RpcService>>, Vec<Diagnostic>) {
    let mut found: Vec<RpcService> = Vec::new();
    let mut diags = Vec::new();
    let mut table = false;
    for (n, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        if words[0] == "program" {
            table = true;
            if words.get(1) == Some(&"version(s)") {
                diags.push(Diagnostic::at(n + 1, "`rpcinfo -s` lists no ports; use `rpcinfo -p`"));
            }
            continue;
        }
        if line.contains("No remote programs registered") {
            table = true;
            diags.push(Diagnostic::at(n + 1, "rpcinfo says: no remote programs registered"));
            continue;
        }
        match row(&words) {
            Ok(Some(service)) => {
                table = true;
                gather(&mut found, service);
            }
            Ok(None) => {}
            Err(why) => diags.push(Diagnostic::at(n + 1, why)),
        }
    }
    found.sort_by_key(|s| (s.program, s.proto, s.port));
    (table.then_some(found), diags)
}

fn gather(found: &mut Vec<RpcService>, service: RpcService) {
    let same = |s: &&mut RpcService| (s.program, s.proto, s.port) == (service.program, service.proto, service.port);
    match found.iter_mut().find(same) {
        Some(known) => {
            known.versions.extend(service.versions);
            known.versions.sort_unstable();
            known.versions.dedup();
        }
        None => found.push(service),
    }
}

/// A row of either layout; `Ok(None)` is a row without an IP port (`local`).
fn row(words: &[&str]) -> Result<Option<RpcService>, String> {
    const NOT: &str = "not a row of rpcinfo -p; left out";
    let program: u32 = words[0].parse().map_err(|_| if words[0] == "rpcinfo:" { words.join(" ") } else { NOT.to_owned() })?;
    let version: u32 = words.get(1).and_then(|w| w.parse().ok()).ok_or(NOT)?;
    let netid = *words.get(2).ok_or(NOT)?;
    let place = *words.get(3).ok_or(NOT)?;
    if netid == "local" {
        return Ok(None);
    }
    let proto = Proto::parse(netid.trim_end_matches('6')).ok_or(NOT)?;
    // A plain row has a universal address (RFC 5665): the port is in its last two numbers.
    let (port, name) = match place.parse::<u16>() {
        Ok(port) => (port, words.get(4)),
        Err(_) => (universal_port(place).ok_or(NOT)?, words.get(4)),
    };
    let listed = name.filter(|n| **n != "-").map(|n| n.trim_matches(['(', ')']).to_owned());
    let known = || PROGRAMS.iter().find(|(p, _)| *p == program).map(|(_, n)| (*n).to_owned());
    let name = listed.or_else(known).unwrap_or_else(|| program.to_string());
    Ok(Some(RpcService { program, versions: vec![version], proto, port, name }))
}

fn universal_port(addr: &str) -> Option<u16> {
    let mut parts = addr.rsplit('.');
    let low: u8 = parts.next()?.parse().ok()?;
    let high: u8 = parts.next()?.parse().ok()?;
    parts.next()?;
    Some(u16::from(high) << 8 | u16::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str = "   program vers proto   port  service\n    100000    4   tcp    111  portmapper\n    \
        100000    3   tcp    111  portmapper\n    100000    2   tcp    111  portmapper\n    100000    4   udp    111  portmapper\n";

    #[test]
    fn versions_are_gathered() {
        let (services, diags) = read(STORY);
        let services = services.unwrap();
        assert_eq!(diags, []);
        assert_eq!(services.len(), 2);
        assert_eq!(services[0].versions, [2, 3, 4]);
    }

    #[test]
    fn universal_addresses_give_ports() {
        let (services, _) = read("   program version netid     address                service    owner\n    100003    4    tcp6      ::.8.1                 -          superuser\n");
        assert_eq!(services.unwrap()[0].port, 2049);
        assert_eq!(universal_port("0.0.0.0.204.34"), Some(52258));
    }

    #[test]
    fn an_error_text_is_not_an_empty_table() {
        let (services, diags) = read("rpcinfo: can't contact portmapper: RPC: Remote system error - Connection refused\n");
        assert_eq!(services, None);
        assert_eq!(diags.len(), 1);
    }
}
