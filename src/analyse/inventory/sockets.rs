//! What listens on the host: RPC services and other sockets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::analyse::inventory::endpoint::{Endpoint, EndpointKind};
use crate::analyse::inventory::ownership::owner;
use crate::model::{Proto, Socket, View};

/// RPC ports that are fixed by convention or registered with IANA: rpcbind, NFS, and mountd's 20048.
const FIXED: &[u16] = &[111, 2049, 20048];

/// Programs that get a new port at each start unless it is pinned: mountd, nlockmgr, status, rquotad, ypbind and the
/// rest of the NIS family.
const MOVING: &[u32] = &[100_005, 100_021, 100_024, 100_011, 100_004, 100_007, 100_009, 100_069];

/// The RPC services.
pub fn rpc(view: &View) -> Vec<Endpoint> {
    let services = view.rpc.as_deref().unwrap_or_default();
    services
        .iter()
        .filter(|s| s.port != 0 && s.proto.has_ports())
        .map(|s| {
            let mut e = Endpoint::new(EndpointKind::Rpc, &s.name, s.proto, s.port);
            e.program = Some(s.program);
            e.versions.clone_from(&s.versions);
            let pinned = view.rpc_pins.iter().any(|p| p.is_of(s.program, s.proto, s.port));
            e.moves = MOVING.contains(&s.program) && !FIXED.contains(&s.port) && s.port >= 1024 && !pinned;
            if let Some(all) = &view.sockets {
                let mine: Vec<&Socket> = all.iter().filter(|k| k.proto == s.proto && k.port == s.port).collect();
                // lockd and nfsd listen inside the kernel; ss lists those sockets too, without a process.
                e.listening = !mine.is_empty();
                listen_on(&mut e, &mine);
            }
            e
        })
        .collect()
}

/// The other listening sockets.
pub fn sockets(view: &View) -> Vec<Endpoint> {
    let mut groups: BTreeMap<(u16, Proto), Vec<&Socket>> = BTreeMap::new();
    for s in view.sockets.as_deref().unwrap_or_default().iter().filter(|s| s.port != 0) {
        groups.entry((s.port, s.proto)).or_default().push(s);
    }
    groups
        .into_iter()
        .map(|((port, proto), group)| {
            let process = group.iter().find_map(|s| s.process.clone());
            let proxy = process.as_deref().is_some_and(|p| p.starts_with("docker-proxy"));
            let name = if proxy { name_of(view, port, proto) } else { None };
            let name = name.or_else(|| process.clone()).unwrap_or_else(|| "socket".to_owned());
            let kind = if proxy { EndpointKind::Published } else { EndpointKind::Socket };
            let mut e = Endpoint::new(kind, &name, proto, port);
            if proxy {
                e.owner = owner("DOCKER");
            }
            listen_on(&mut e, &group);
            e
        })
        .collect()
}

fn listen_on(e: &mut Endpoint, sockets: &[&Socket]) {
    for s in sockets {
        if !e.listens.contains(&s.local) {
            e.listens.push(s.local);
        }
        // A dual-stack socket also accepts IPv4 (ipv6(7), IPV6_V6ONLY).
        let any4 = IpAddr::from([0, 0, 0, 0]);
        if s.local.is_ipv6() && s.local.is_unspecified() && s.v6only == Some(false) && !e.listens.contains(&any4) {
            e.listens.push(any4);
        }
        if e.process.is_none() {
            e.process.clone_from(&s.process);
        }
    }
    e.listens.sort();
    if sockets.iter().all(|s| s.device.is_some()) {
        e.devices.extend(sockets.iter().filter_map(|s| s.device.clone()));
        e.devices.sort();
        e.devices.dedup();
    }
}

/// Adds the sockets of its user-space proxy to a published endpoint: a second way in.
pub fn add_doors(view: &View, e: &mut Endpoint) {
    let all = view.sockets.as_deref().unwrap_or_default();
    let mine: Vec<&Socket> = all.iter().filter(|k| k.proto == e.proto && k.port == e.port).collect();
    listen_on(e, &mine);
}
/// The container's name, from `docker ps`.
pub fn name_of(view: &View, port: u16, proto: Proto) -> Option<String> {
    view.published_names.iter().find(|n| n.proto == proto && n.host_port == port).map(|n| n.name.clone())
}
