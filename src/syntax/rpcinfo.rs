//! `rpcinfo -p` and plain `rpcinfo` (rpcinfo(8)).

use crate::model::{Diagnostic, DiagnosticKind, Proto, RpcService};

/// Names of programs that NFS servers register (`/etc/rpc`), for listings without names.
const PROGRAMS: &[(u32, &str)] = &[
    (100_000, "portmapper"),
    (100_003, "nfs"),
    (100_004, "ypserv"),
    (100_005, "mountd"),
    (100_007, "ypbind"),
    (100_009, "yppasswdd"),
    (100_011, "rquotad"),
    (100_021, "nlockmgr"),
    (100_024, "status"),
    (100_227, "nfs_acl"),
];

/// Reads the table; versions of one program on one (protocol, port) are merged. An error message of `rpcinfo` is a
/// diagnostic, never "no services": the value is then `None`. `rpcinfo -s` is refused, since it has no ports.
pub fn read(text: &str) -> (Option<Vec<RpcService>>, Vec<Diagnostic>) {
    let mut found: Vec<RpcService> = Vec::new();
    let mut diags = Vec::new();
    let (mut table, mut short) = (false, false);
    for (n, line) in text.lines().enumerate() {
        let line = line.replace("&nbsp;", " ");
        let words: Vec<&str> = line.split_whitespace().collect();
        let heading = words.iter().position(|w| *w == "program");
        if heading.is_some_and(|i| words.get(i + 1) == Some(&"version(s)")) {
            short = true;
            diags.push(Diagnostic::at(n + 1, SHORT).of(DiagnosticKind::NoServices));
            continue;
        }
        table |= heading.is_some() && !short;
        if line.contains("No remote programs registered") {
            table = true;
            diags.push(Diagnostic::at(n + 1, "rpcinfo says: no remote programs registered"));
            continue;
        }
        if words.is_empty() {
            continue;
        }
        let rows = if short { Vec::new() } else { rows(&words) };
        if !rows.is_empty() {
            table = true;
        } else if heading.is_none() {
            diags.push(Diagnostic { line: n + 1, ..remark(&words, short) });
        }
        for row in rows {
            match row {
                Row::Service(service) => gather(&mut found, service),
                Row::Local => {}
                Row::Bad(why) => diags.push(Diagnostic::at(n + 1, why)),
            }
        }
    }
    found.sort_by_key(|s| (s.program, s.proto, s.port));
    (table.then_some(found), diags)
}

/// Why `rpcinfo -s` cannot be used.
const SHORT: &str = "rpcinfo -s lists no ports, so nothing can be said about the firewall; use rpcinfo -p";

/// The diagnostic for a line without a row.
fn remark(words: &[&str], short: bool) -> Diagnostic {
    if words[0] == "rpcinfo:" {
        return Diagnostic::whole(words.join(" ")).of(DiagnosticKind::NoServices);
    }
    if short && words.len() >= 3 {
        return Diagnostic::whole(format!("program {} of rpcinfo -s, without a port; left out", words[0]));
    }
    let line = words.join(" ");
    Diagnostic::whole(if super::iptables_list::is_gap(&line) {
        "lines are missing here: the list of services is incomplete".to_owned()
    } else {
        format!("not a row of rpcinfo -p; left out: {line}")
    })
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

/// One row of either layout.
enum Row {
    Service(RpcService),
    /// A transport without an IP port.
    Local,
    Bad(String),
}

/// The rows of a line: nearly always one, but all of them if a web page lost the newlines. Line numbers and `grep -n`
/// prefixes are skipped.
fn rows(words: &[&str]) -> Vec<Row> {
    let mut out = Vec::new();
    let mut at = 0;
    while at + 2 < words.len() {
        match row(&words[at..]) {
            Some((row, used)) => {
                out.push(row);
                at += used;
            }
            None => at += 1,
        }
    }
    out
}

const LOCAL: &[&str] = &["local", "ticlts", "ticots", "ticotsord", "unix"];

/// Reads `program version netid port-or-address [name [owner]]`, and returns how many words it took.
fn row(words: &[&str]) -> Option<(Row, usize)> {
    let first = words[0].rsplit_once(':').map_or(words[0], |(_, w)| w);
    let program: u32 = first.parse().ok()?;
    let version: u32 = words[1].parse().ok().filter(|v| *v < 1000)?;
    let netid = words[2];
    if LOCAL.contains(&netid) {
        return Some((Row::Local, words.len().min(4)));
    }
    let named = matches!(netid, "tcp" | "udp" | "tcp6" | "udp6" | "sctp" | "sctp6");
    // An unknown transport is listed by its number.
    if !named && (netid.parse::<u8>().is_err() || words.len() > 5 || program < 1000) {
        return None;
    }
    let proto = Proto::parse(netid.trim_end_matches('6')).or_else(|| Proto::parse(netid))?;
    let cut = || Row::Bad(format!("the row of program {program} is truncated; left out"));
    let Some(place) = words.get(3) else { return Some((cut(), 3)) };
    // Plain rpcinfo prints a universal address (RFC 5665): its last two numbers are the port.
    let Some(port) = place.parse::<u16>().ok().or_else(|| universal_port(place)) else { return Some((cut(), 4)) };
    let name = words.get(4).filter(|w| !w.starts_with(|c: char| c.is_ascii_digit() || c == '<'));
    let listed = name.filter(|n| **n != "-").map(|n| n.trim_matches(['(', ')']).to_owned());
    let known = || PROGRAMS.iter().find(|(p, _)| *p == program).map(|(_, n)| (*n).to_owned());
    let name_words = usize::from(name.is_some());
    let name = listed.or_else(known).unwrap_or_else(|| program.to_string());
    Some((Row::Service(RpcService { program, versions: vec![version], proto, port, name }), 4 + name_words))
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
        100000    3   tcp    111  portmapper\n    100000    2   tcp    111  portmapper\n    100000    4   udp    111  \
        portmapper\n";

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
        let (services, _) = read(
            "   program version netid     address                service    owner\n    100003    4    tcp6      \
                ::.8.1                 -          superuser\n",
        );
        assert_eq!(services.unwrap()[0].port, 2049);
        assert_eq!(universal_port("0.0.0.0.204.34"), Some(52258));
    }

    #[test]
    fn an_error_text_is_not_an_empty_table() {
        let (services, diags) =
            read("rpcinfo: can't contact portmapper: RPC: Remote system error - Connection refused\n");
        assert_eq!(services, None);
        assert_eq!(diags.len(), 1);
    }

    #[test]
    fn the_short_form_is_refused_with_a_sentence() {
        let text = "   program version(s) netid(s)                         service     owner\n    100000  2,3,4     \
            local,udp,tcp,udp6,tcp6          portmapper  superuser\n";
        let (services, diags) = read(text);
        assert_eq!(services, None);
        assert_eq!((diags[0].message.as_str(), diags.len()), (SHORT, 2));
    }

    #[test]
    fn a_table_on_one_line_and_numbered_rows() {
        let (services, _) = read(
            "program vers proto port 100000 2 tcp 111 portmapper 100000 2 udp 111 portmapper 100003 3 tcp 2049 nfs \
            100227 3 tcp 2049\n",
        );
        assert_eq!(
            services.unwrap().iter().map(|s| (s.program, s.port, s.name.as_str())).collect::<Vec<_>>(),
            [
                (100_000, 111, "portmapper"),
                (100_000, 111, "portmapper"),
                (100_003, 2049, "nfs"),
                (100_227, 2049, "nfs_acl")
            ]
        );
        let (services, diags) = read(
            "16     100000    2   tcp    111  portmapper\n8:    100024    1   udp  36310  (status)\n9:100021 0 7 5 x\n",
        );
        assert_eq!(services.unwrap().len(), 3);
        assert_eq!(diags, []);
    }

    #[test]
    fn gaps_and_truncated_rows_are_reported() {
        let (services, diags) =
            read("    100000    2   tcp    111  portmapper\n...\n    100024    1   udp\nsome prose\n");
        assert_eq!(services.unwrap().len(), 1);
        assert_eq!(diags.iter().map(|d| d.line).collect::<Vec<_>>(), [2, 3, 4]);
    }
}
