//! Everything known about a host at one moment.

use std::net::IpAddr;

use super::{
    AddrSet, Diagnostic, Family, Logins, Net, Operator, Peer, PublishedName, RpcPin, RpcService, Ruleset, Socket,
};

/// Where a view came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The running kernel.
    Live,
    /// Files or pasted text.
    Capture,
    /// The built-in host.
    Demo,
}

/// Which kernel interface `iptables` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// nf_tables.
    Nft,
    /// x_tables.
    Legacy,
}

/// An address of the host on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddr {
    /// The address.
    pub addr: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Interface.
    pub interface: String,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub net: Net,
    /// Output interface.
    pub interface: String,
}

/// An ipset, as far as the source shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpSet {
    /// Name.
    pub name: String,
    /// Type, e.g. `hash:net`.
    pub kind: String,
    /// `inet` or `inet6`; `None` for lists.
    pub family: Option<Family>,
    /// How it was created: the words after the type, e.g. `family inet hashsize 1024 netmask 24`.
    pub options: String,
    /// Entries as `ipset save` prints them (the words after the name).
    pub entries: Vec<String>,
}

/// Everything known about a host at one moment. `None` means *not known*, never *empty*.
#[derive(Clone, Debug)]
pub struct View {
    /// Where it came from.
    pub source: Source,
    /// Host name, or the file names.
    pub title: String,
    /// The version line, e.g. `iptables v1.8.9 (nf_tables)`.
    pub iptables: Option<String>,
    /// The variant in use.
    pub backend: Option<Backend>,
    /// IPv4 rules.
    pub v4: Option<Ruleset>,
    /// IPv6 rules.
    pub v6: Option<Ruleset>,
    /// RPC services; `None` when no rpcinfo was read.
    pub rpc: Option<Vec<RpcService>>,
    /// Listening sockets.
    pub sockets: Option<Vec<Socket>>,
    /// Established connections from other hosts.
    pub peers: Vec<Peer>,
    /// The peer address and the local port of this SSH session.
    pub ssh_peer: Option<(IpAddr, u16)>,
    /// Who is looking; `None` for a capture.
    pub operator: Option<Operator>,
    /// The logins among which the operator is, when not known.
    pub logins: Option<Logins>,
    /// Clients named in /etc/exports.
    pub exports: Vec<String>,
    /// Ports to which RPC services are pinned.
    pub rpc_pins: Vec<RpcPin>,
    /// Addresses of the host; `None` when unknown (capture).
    pub addrs: Option<Vec<LocalAddr>>,
    /// Routes of the main table.
    pub routes: Option<Vec<Route>>,
    /// ipsets; `None` when not read.
    pub ipsets: Option<Vec<IpSet>>,
    /// Container names.
    pub published_names: Vec<PublishedName>,
    /// `net.ipv4.ip_forward` / `net.ipv6.conf.all.forwarding`.
    pub forwarding: [Option<bool>; 2],
    /// The interfaces with `net.ipv4.conf.*.route_localnet`, which lets packets from outside reach 127/8; `all` for
    /// every one. `None` if not known.
    pub route_localnet: Option<Vec<String>>,
    /// Other filters on this host (native nft chains, the other variant): accept becomes depends.
    pub other_filters: Vec<OtherFilter>,
    /// Why the rules of a family could not be read, if that was tried (by [`Family::index`]).
    pub unread: [Option<String>; 2],
    /// What could not be read or used.
    pub diagnostics: Vec<Diagnostic>,
    /// Wall clock of the view, in seconds since 1970 UTC.
    pub at: i64,
}

/// A filter that packets of a family also have to pass and that is not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherFilter {
    /// The family of the packets.
    pub family: Family,
    /// What it is, as the subject of a sentence.
    pub what: String,
    /// The command that shows it.
    pub see: String,
    /// Whether it may also rewrite packets (NAT, TPROXY, notrack, marks), so that drop is not certain either.
    pub rewrites: bool,
}

impl View {
    /// Filters on this host that are not judged, one sentence each: other filters, and tables that
    /// iptables cannot read.
    pub fn unknown_filters(&self) -> Vec<String> {
        let tables = Family::BOTH
            .into_iter()
            .filter_map(|f| Some((f, self.rules(f)?)))
            .flat_map(|(f, rules)| rules.tables.iter().filter(|t| t.unreadable).map(move |t| (f, t)))
            .map(|(f, t)| {
                format!(
                    "iptables cannot read the {} table {}, which holds native nft rules: it is not judged",
                    f.label(),
                    t.name
                )
            });
        let others = self
            .other_filters
            .iter()
            .map(|o| format!("{} is also filtered by {}", o.family.label(), o.what.trim_end_matches(',')));
        tables.chain(others).collect()
    }

    /// A view in which nothing is known.
    pub fn empty(source: Source, title: &str) -> Self {
        Self {
            source,
            title: title.to_owned(),
            iptables: None,
            backend: None,
            v4: None,
            v6: None,
            rpc: None,
            sockets: None,
            peers: Vec::new(),
            ssh_peer: None,
            operator: None,
            logins: None,
            exports: Vec::new(),
            rpc_pins: Vec::new(),
            addrs: None,
            routes: None,
            ipsets: None,
            published_names: Vec::new(),
            forwarding: [None, None],
            route_localnet: None,
            other_filters: Vec::new(),
            unread: [None, None],
            diagnostics: Vec::new(),
            at: 0,
        }
    }

    /// The rules of a family.
    pub fn rules(&self, family: Family) -> Option<&Ruleset> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// The host's own addresses of a family, loopback included; `None` when unknown. A capture without the loopback
    /// address may lack other addresses too (`ip -4 addr`, `ip addr show eth0`).
    pub fn local_addrs(&self, family: Family) -> Option<AddrSet> {
        let addrs = self.addrs.as_ref()?;
        let mine = addrs.iter().map(|a| a.addr).filter(|a| Family::of(*a) == family);
        if self.source == Source::Capture && !mine.clone().any(|a| a.is_loopback()) {
            return None;
        }
        Some(mine.fold(AddrSet::empty(family), |mut set, a| {
            set.insert_net(Net::host(a));
            set
        }))
    }

    /// The routes of a family; `None` when unknown: a capture may contain only those of the other family.
    pub fn routes(&self, family: Family) -> Option<Vec<&Route>> {
        let all: Vec<&Route> = self.routes.as_ref()?.iter().filter(|r| r.net.family == family).collect();
        (self.source != Source::Capture || !all.is_empty()).then_some(all)
    }
}
