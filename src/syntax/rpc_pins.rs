//! Ports to which the RPC services of NFS are pinned: `nfs.conf` (nfs.conf(5)), module options (modprobe.d(5)), and the
//! options of the daemons in the files that distributions' units read.

use crate::model::{Proto, RpcPin};

/// The program numbers of RFC 1833's registry.
const MOUNTD: u32 = 100_005;
const NLOCKMGR: u32 = 100_021;
const STATUS: u32 = 100_024;

/// Reads `nfs.conf`: sections in brackets, `key = value`, comments after `#` or `;`.
pub fn nfs_conf(text: &str) -> Vec<RpcPin> {
    let mut section = String::new();
    let mut out = Vec::new();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            // A section may have an argument: `[environment "x"]`.
            section = name.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (program, proto) = match (section.as_str(), key.trim().to_ascii_lowercase().as_str()) {
            ("mountd", "port") => (MOUNTD, None),
            ("statd", "port") => (STATUS, None),
            ("lockd", "port") => (NLOCKMGR, Some(Proto::TCP)),
            ("lockd", "udp-port") => (NLOCKMGR, Some(Proto::UDP)),
            _ => continue,
        };
        out.extend(pin(program, proto, value.trim().trim_matches('"')));
    }
    out
}

/// Reads `options lockd nlm_tcpport=32803 nlm_udpport=32769` of modprobe.d(5).
pub fn module_options(text: &str) -> Vec<RpcPin> {
    let lockd = text.lines().filter_map(|l| l.trim().strip_prefix("options ")?.trim_start().strip_prefix("lockd "));
    lockd
        .flat_map(str::split_whitespace)
        .filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            lockd_port(key, value)
        })
        .collect()
}

/// A parameter of the loaded module `lockd`; 0 is no pin.
pub fn lockd_port(parameter: &str, value: &str) -> Option<RpcPin> {
    let proto = match parameter {
        "nlm_tcpport" => Proto::TCP,
        "nlm_udpport" => Proto::UDP,
        _ => return None,
    };
    pin(NLOCKMGR, Some(proto), value.trim())
}

/// Reads the variables of `/etc/default/nfs-*` (Debian) and `/etc/sysconfig/nfs` (RHEL): options of the daemons, or the
/// ports themselves.
pub fn defaults(text: &str) -> Vec<RpcPin> {
    let mut out = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with('#')) {
        let Some((variable, value)) = line.split_once('=') else { continue };
        let value = value.trim().trim_matches(['"', '\'']);
        let (program, proto) = match variable.trim() {
            "RPCMOUNTDOPTS" | "RPCMOUNTDARGS" | "MOUNTD_PORT" => (MOUNTD, None),
            "STATDOPTS" | "STATDARGS" | "STATDARG" | "STATD_PORT" => (STATUS, None),
            "LOCKD_TCPPORT" => (NLOCKMGR, Some(Proto::TCP)),
            "LOCKD_UDPPORT" => (NLOCKMGR, Some(Proto::UDP)),
            _ => continue,
        };
        let port = if variable.contains("PORT") { Some(value) } else { option(value) };
        out.extend(port.and_then(|p| pin(program, proto, p)));
    }
    out
}

/// The port of `-p 892`, `-p892`, `--port 892` or `--port=892` (rpc.mountd(8), rpc.statd(8)).
fn option(options: &str) -> Option<&str> {
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "-p" | "--port" => return words.next(),
            _ => {
                if let Some(port) = word.strip_prefix("--port=").or_else(|| word.strip_prefix("-p")) {
                    return Some(port);
                }
            }
        }
    }
    None
}

fn pin(program: u32, proto: Option<Proto>, port: &str) -> Option<RpcPin> {
    let port = port.parse().ok().filter(|p| *p != 0)?;
    Some(RpcPin { program, proto, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(found: &[RpcPin]) -> Vec<(u32, Option<&str>, u16)> {
        let word = |p: Proto| if p == Proto::TCP { "tcp" } else { "udp" };
        found.iter().map(|p| (p.program, p.proto.map(word), p.port)).collect()
    }

    #[test]
    fn pins_of_nfs_conf_count_in_their_section() {
        let text = "[general]\nport=1\n# [mountd]\n[mountd]\nport = 892 ; pinned\n[statd]\nPort=4000\noutgoing-port=7\n\
            [lockd]\nport=32803\nudp-port=32769\n[nfsd]\nport=2049\n";
        let all = [(MOUNTD, None, 892), (STATUS, None, 4000)];
        let lockd = [(NLOCKMGR, Some("tcp"), 32803), (NLOCKMGR, Some("udp"), 32769)];
        assert_eq!(pins(&nfs_conf(text)), [&all[..], &lockd[..]].concat());
        assert!(nfs_conf("[mountd]\nport=0\n[statd]\nport=x\nport\n]\n[").is_empty());
    }

    #[test]
    fn pins_of_options_and_variables() {
        let text = "RPCMOUNTDOPTS=\"--manage-gids -p 892\"\nSTATDOPTS='--port=32765 --outgoing-port 32766'\n\
            #MOUNTD_PORT=1\nLOCKD_UDPPORT=32769\nRPCNFSDCOUNT=8\n";
        assert_eq!(pins(&defaults(text)), [(MOUNTD, None, 892), (STATUS, None, 32765), (NLOCKMGR, Some("udp"), 32769)]);
        let module =
            "# options lockd nlm_tcpport=1\noptions lockd nlm_tcpport=32803 nlm_grace_period=90\noptions nfs x=1\n";
        assert_eq!(pins(&module_options(module)), [(NLOCKMGR, Some("tcp"), 32803)]);
        assert_eq!(lockd_port("nlm_udpport", "0\n"), None);
    }
}
