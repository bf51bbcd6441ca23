//! What can be reached on a host: RPC services, published ports, other listening sockets, or, when neither
//! sockets nor rpcinfo are known, the ports that rules name.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::ownership::{Manager, owner};
use super::published;
use crate::model::{Family, Proto, Socket, View};

/// What an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// An RPC program on a port.
    Rpc,
    /// A container's port that NAT or a proxy makes reachable on the host.
    Published,
    /// Another listening socket.
    Socket,
    /// A port that only rules name.
    Rule,
}

impl EndpointKind {
    /// The word in JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rpc => "rpc",
            Self::Published => "published",
            Self::Socket => "socket",
            Self::Rule => "rule",
        }
    }
}

/// Something that can be reached on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is.
    pub kind: EndpointKind,
    /// Name: of the RPC program, the container, or the process.
    pub name: String,
    /// RPC program number.
    pub program: Option<u32>,
    /// RPC versions, ascending.
    pub versions: Vec<u32>,
    /// Transport.
    pub proto: Proto,
    /// Port on the host.
    pub port: u16,
    /// The addresses it listens on; empty when not known.
    pub listens: Vec<IpAddr>,
    /// The interfaces that all its sockets are bound to (SO_BINDTODEVICE, socket(7)); empty for any.
    pub devices: Vec<String>,
    /// Whether something listens, or NAT leads on; `true` when not known.
    pub listening: bool,
    /// The manager that publishes it.
    pub owner: Option<Manager>,
    /// The process that listens.
    pub process: Option<String>,
    /// Where NAT sends it.
    pub dnat_to: Vec<(IpAddr, u16)>,
    /// An RPC port assigned anew at each restart (rpc.statd, rpc.mountd, lockd unless pinned).
    pub moves: bool,
}

impl Endpoint {
    /// An endpoint that listens, with nothing else known.
    pub fn new(kind: EndpointKind, name: &str, proto: Proto, port: u16) -> Self {
        Self {
            kind, name: name.to_owned(), program: None, versions: Vec::new(), proto, port, listens: Vec::new(), devices: Vec::new(),
            listening: true, owner: None, process: None, dnat_to: Vec::new(), moves: false,
        }
    }

    /// e.g. `portmapper 111/tcp`.
    pub fn label(&self) -> String {
        format!("{} {}/{}", self.name, self.port, self.proto)
    }

    /// Whether the socket takes packets of a family as far as its listening addresses tell.
    pub fn takes(&self, family: Family) -> bool {
        self.listens.is_empty() || !self.dnat_to.is_empty() || self.listens.iter().any(|a| Family::of(*a) == family)
    }
}

/// Everything that can be reached, RPC services first, then published ports, then the rest; each group by port.
pub fn endpoints(view: &View) -> Vec<Endpoint> {
    let mut out = rpc(view);
    let mut known: HashSet<(Proto, u16)> = out.iter().filter(|e| e.listening).map(|e| (e.proto, e.port)).collect();
    let published = published::endpoints(view);
    out.extend(published.into_iter().filter(|e| !known.contains(&(e.proto, e.port))));
    known.extend(out.iter().map(|e| (e.proto, e.port)));
    out.extend(sockets(view).into_iter().filter(|e| known.insert((e.proto, e.port))));
    if view.rpc.is_none() && view.sockets.is_none() {
        out.extend(published::named_by_rules(view).into_iter().filter(|e| known.insert((e.proto, e.port))));
    }
    out.sort_by(|a, b| (a.kind, a.port, a.proto, &a.name).cmp(&(b.kind, b.port, b.proto, &b.name)));
    out
}

/// RPC ports that are fixed by convention or registered with IANA: rpcbind, NFS, and mountd's 20048.
const FIXED: &[u16] = &[111, 2049, 20048];

/// Programs whose port the portmapper hands out anew at each start unless it is pinned:
/// mountd, nlockmgr, status, rquotad, ypbind and the rest of the NIS family.
const MOVING: &[u32] = &[100_005, 100_021, 100_024, 100_011, 100_004, 100_007, 100_009, 100_069];

fn rpc(view: &View) -> Vec<Endpoint> {
    let services = view.rpc.as_deref().unwrap_or_default();
    services.iter().filter(|s| s.port != 0 && s.proto.has_ports()).map(|s| {
        let mut e = Endpoint::new(EndpointKind::Rpc, &s.name, s.proto, s.port);
        e.program = Some(s.program);
        e.versions.clone_from(&s.versions);
        e.moves = MOVING.contains(&s.program) && !FIXED.contains(&s.port) && s.port >= 1024;
        if let Some(all) = &view.sockets {
            let mine: Vec<&Socket> = all.iter().filter(|k| k.proto == s.proto && k.port == s.port).collect();
            // lockd and nfsd listen inside the kernel; ss lists those sockets too, without a process.
            e.listening = !mine.is_empty();
            listen_on(&mut e, &mine);
        }
        e
    }).collect()
}

fn listen_on(e: &mut Endpoint, sockets: &[&Socket]) {
    for s in sockets {
        if !e.listens.contains(&s.local) {
            e.listens.push(s.local);
        }
        // A dual-stack socket takes IPv4 too (ipv6(7), IPV6_V6ONLY).
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

fn sockets(view: &View) -> Vec<Endpoint> {
    let mut groups: BTreeMap<(u16, Proto), Vec<&Socket>> = BTreeMap::new();
    for s in view.sockets.as_deref().unwrap_or_default().iter().filter(|s| s.port != 0) {
        groups.entry((s.port, s.proto)).or_default().push(s);
    }
    groups.into_iter().map(|((port, proto), group)| {
        let process = group.iter().find_map(|s| s.process.clone());
        let proxy = process.as_deref().is_some_and(|p| p.starts_with("docker-proxy"));
        let name = if proxy { published::name_of(view, port, proto) } else { None };
        let name = name.or_else(|| process.clone()).unwrap_or_else(|| "socket".to_owned());
        let kind = if proxy { EndpointKind::Published } else { EndpointKind::Socket };
        let mut e = Endpoint::new(kind, &name, proto, port);
        if proxy {
            e.owner = owner("DOCKER");
        }
        listen_on(&mut e, &group);
        e
    }).collect()
}

/// Adds to a published endpoint the sockets of its user-space proxy, the second door.
pub(super) fn add_doors(view: &View, e: &mut Endpoint) {
    let all = view.sockets.as_deref().unwrap_or_default();
    let mine: Vec<&Socket> = all.iter().filter(|k| k.proto == e.proto && k.port == e.port).collect();
    listen_on(e, &mine);
}
