//! Whether a change keeps a new SSH connection as it was: from the operator's address, or, where that is not known,
//! from everybody who may be he.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::analyse::Analysis;
use crate::analyse::answers::packet::Packet;
use crate::analyse::answers::reach::{Exposure, Reach};
use crate::analyse::inventory::endpoint::{Endpoint, EndpointKind};
use crate::analyse::walk::verdict::Verdict;
use crate::model::{AddrSet, Family, Login, Proto, Ruleset, Table, View};

/// How a new connection fares after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As before, or better.
    Same,
    /// It worked or may have worked, and will not any more.
    Worse {
        /// What stops it.
        why: String,
    },
    /// The rules alone do not tell.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// Whose way in is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrant {
    /// The operator, who came over SSH from this address.
    Operator(IpAddr),
    /// A login that may be the operator's.
    Login(Login),
    /// Whoever gets in: no login is known.
    Anyone(Family),
}

/// How somebody's way in fares in a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayIn {
    /// Whose.
    pub who: Entrant,
    /// The port of the SSH server.
    pub port: u16,
    /// What becomes of it.
    pub access: Access,
}

impl WayIn {
    /// What a change keeps or cuts, for a sentence.
    pub fn what(&self) -> String {
        let port = self.port;
        match &self.who {
            Entrant::Operator(peer) => format!("a new SSH login from {peer} to port {port}"),
            Entrant::Login(l) => format!("a new SSH login from {} ({}) to port {port}", l.peer, l.which()),
            Entrant::Anyone(family) => format!("who may log in to the SSH port {port} over {}", family.label()),
        }
    }

    /// The address that an allow rule has to name.
    pub fn peer(&self) -> Option<IpAddr> {
        match &self.who {
            Entrant::Operator(peer) => Some(*peer),
            Entrant::Login(l) => Some(l.peer),
            Entrant::Anyone(_) => None,
        }
    }
}

/// How a change fares with all whose way in has to stay: the operator's own; where he is not known, that of every login
/// that may be his and gets in now; where there is none, that of every sender of the ports on which SSH servers listen.
/// The worst comes first. Empty: he sits at a console, or nothing is known of SSH here.
pub fn ways_in(before: &View, after: &View) -> Vec<WayIn> {
    let (known, changed) = (alone(before), alone(after));
    let (old, new) = (Analysis::new(&known), Analysis::new(&changed));
    let of = |who, peer, port| WayIn { who, port, access: compare(&old, &new, peer, port) };
    if let Some((peer, port)) = before.ssh_peer {
        return vec![of(Entrant::Operator(peer), peer, port)];
    }
    let Some(logins) = before.logins.as_ref() else { return Vec::new() };
    let gets_in = |peer: IpAddr, port| {
        let now = old.trace(&Packet::new(peer.to_canonical(), Proto::TCP, Some(port))).verdict;
        matches!(now, Verdict::Accept | Verdict::Depends)
    };
    let mut ways: Vec<WayIn> = Vec::new();
    for login in &logins.found {
        // Which port he came to is not always written down.
        let all = || if logins.ports.is_empty() { vec![SSH] } else { logins.ports.clone() };
        let ports =
            login.port.map_or_else(all, |port| vec![port]).into_iter().filter(|port| gets_in(login.peer, *port));
        ways.extend(ports.map(|port| of(Entrant::Login(login.clone()), login.peer, port)));
    }
    if ways.is_empty() {
        ways = logins
            .ports
            .iter()
            .flat_map(|port| Family::BOTH.map(|f| (*port, f)))
            .filter_map(|(port, family)| {
                Some(WayIn { who: Entrant::Anyone(family), port, access: senders(&old, &new, family, port)? })
            })
            .collect();
    }
    ways.sort_by_key(|w| match w.access {
        Access::Worse { .. } => 0,
        Access::Unknown { .. } => 1,
        Access::Same => 2,
    });
    ways
}

/// The port of SSH (RFC 4253).
const SSH: u16 = 22;

/// Whether a port keeps every sender that it accepts, by every interface. What depends may have been accepted before,
/// and may be blocked after.
fn senders(before: &Analysis, after: &Analysis, family: Family, port: u16) -> Option<Access> {
    let all = before.endpoints();
    let here = |e: &&Endpoint| e.proto == Proto::TCP && e.port == port && e.kind != EndpointKind::Published;
    let unseen = || Endpoint::new(EndpointKind::Socket, "ssh", Proto::TCP, port);
    let endpoint = all.into_iter().find(|e| here(&e)).unwrap_or_else(unseen);
    let (old, new) = (before.exposure(&endpoint, family)?, after.exposure(&endpoint, family)?);
    let mut lost = AddrSet::empty(family);
    let mut take = |old: &Reach, new: &Reach| {
        lost.add(&old.accepted.minus(&new.accepted).or(&old.depends.and(&new.blocked)));
    };
    let by = |e: &Exposure, name: &String| e.by_interface.get(name).unwrap_or(&e.reach).clone();
    let names: Vec<&String> = old.by_interface.keys().chain(new.by_interface.keys()).collect();
    if names.is_empty() {
        take(&old.reach, &new.reach);
    }
    for name in names {
        take(&by(&old, name), &by(&new, name));
    }
    let cut = lost.cidrs();
    let Some(first) = cut.first() else { return Some(Access::Same) };
    let more = if cut.len() > 1 { format!(" and {} more networks", cut.len() - 1) } else { String::new() };
    Some(Access::Worse { why: format!("{first}{more} would no longer surely get in") })
}

/// The view without what is not known of the host, other filters and tables that cannot be read: that is the same
/// before and after, and must not hide what a change does.
pub fn alone(view: &View) -> Cow<'_, View> {
    let unreadable = |set: &Ruleset| set.tables.iter().any(|t| t.unreadable);
    if view.other_filters.is_empty() && ![&view.v4, &view.v6].into_iter().flatten().any(unreadable) {
        return Cow::Borrowed(view);
    }
    let mut known = View { other_filters: Vec::new(), ..view.clone() };
    for table in
        [&mut known.v4, &mut known.v6].into_iter().flatten().flat_map(|set| &mut set.tables).filter(|t| t.unreadable)
    {
        *table = Table::pristine(&table.name);
    }
    Cow::Owned(known)
}

/// Compares a new TCP connection from `peer` to `port` before and after a change.
fn compare(old: &Analysis, new: &Analysis, peer: IpAddr, port: u16) -> Access {
    // An IPv4 client of a dual-stack socket shows as ::ffff:a.b.c.d, but IPv4 rules decide about it.
    let packet = Packet::new(peer.to_canonical(), Proto::TCP, Some(port));
    let overall = fares(old, new, &packet);
    // Where the interface decides, the reasons name rules of both kinds, and a new rule moves their numbers.
    let same_on = |name: &&str| {
        fares(old, new, &Packet { interface: Some((*name).to_owned()), ..packet.clone() }) == Access::Same
    };
    let mut names: Vec<&str> =
        old.view().addrs.iter().flatten().map(|a| a.interface.as_str()).filter(|n| *n != "lo").collect();
    names.sort_unstable();
    names.dedup();
    if matches!(overall, Access::Unknown { .. }) && !names.is_empty() && names.iter().all(same_on) {
        return Access::Same;
    }
    overall
}

fn fares(before: &Analysis, after: &Analysis, packet: &Packet) -> Access {
    let (old, new) = (before.trace(packet), after.trace(packet));
    match (old.verdict, new.verdict) {
        (_, Verdict::Accept) | (Verdict::Drop | Verdict::Reject, _) => Access::Same,
        (_, Verdict::Drop | Verdict::Reject) => Access::Worse { why: new.why },
        (_, Verdict::Depends) if old.why == new.why => Access::Same,
        (_, Verdict::Depends) => Access::Unknown { why: new.why },
    }
}
