//! What can be reached on a host, and which programs own the chains of its firewall.

use std::collections::HashSet;

use crate::analyse::inventory::endpoint::Endpoint;
use crate::model::{Proto, View};

pub mod endpoint;
pub mod known;
pub mod named;
pub mod ownership;
pub mod published;
pub mod sockets;

/// Everything that can be reached, RPC services first, then published ports, then the rest; each group by port.
pub fn endpoints(view: &View) -> Vec<Endpoint> {
    let mut out = sockets::rpc(view);
    let mut known: HashSet<(Proto, u16)> = out.iter().filter(|e| e.listening).map(|e| (e.proto, e.port)).collect();
    let published = published::endpoints(view);
    out.extend(published.into_iter().filter(|e| !known.contains(&(e.proto, e.port))));
    known.extend(out.iter().map(|e| (e.proto, e.port)));
    out.extend(sockets::sockets(view).into_iter().filter(|e| known.insert((e.proto, e.port))));
    if view.rpc.is_none() && view.sockets.is_none() {
        out.extend(named::named_by_rules(view).into_iter().filter(|e| known.insert((e.proto, e.port))));
    }
    out.sort_by(|a, b| (a.kind, a.port, a.proto, &a.name).cmp(&(b.kind, b.port, b.proto, &b.name)));
    out
}
