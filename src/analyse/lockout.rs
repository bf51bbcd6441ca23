//! Whether a change keeps a new SSH connection from the operator's address as it was.

use std::borrow::Cow;
use std::net::IpAddr;

use super::trace::{Packet, Verdict, trace};
use crate::model::{Proto, Ruleset, Table, View};

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

/// The view without what is not known of the host, other filters and tables that cannot be read: that is the same before
/// and after, and must not hide what a change does.
pub fn alone(view: &View) -> Cow<'_, View> {
    let unreadable = |set: &Ruleset| set.tables.iter().any(|t| t.unreadable);
    if view.other_filters.is_empty() && ![&view.v4, &view.v6].into_iter().flatten().any(unreadable) {
        return Cow::Borrowed(view);
    }
    let mut known = View { other_filters: Vec::new(), ..view.clone() };
    for table in [&mut known.v4, &mut known.v6].into_iter().flatten().flat_map(|set| &mut set.tables).filter(|t| t.unreadable) {
        *table = Table::pristine(&table.name);
    }
    Cow::Owned(known)
}

/// Compares a new TCP connection from `peer` to `port` before and after a change.
pub fn lockout(before: &View, after: &View, peer: IpAddr, port: u16) -> Access {
    // An IPv4 client of a dual-stack socket shows as ::ffff:a.b.c.d, but IPv4 rules decide about it.
    let packet = Packet::new(peer.to_canonical(), Proto::TCP, Some(port));
    let (before, after) = (alone(before), alone(after));
    let overall = fares(&before, &after, &packet);
    // Where the interface decides, the reasons name rules of both kinds, and a new rule moves their numbers.
    let same_on = |name: &&str| fares(&before, &after, &Packet { interface: Some((*name).to_owned()), ..packet.clone() }) == Access::Same;
    let mut names: Vec<&str> = before.addrs.iter().flatten().map(|a| a.interface.as_str()).filter(|n| *n != "lo").collect();
    names.sort_unstable();
    names.dedup();
    if matches!(overall, Access::Unknown { .. }) && !names.is_empty() && names.iter().all(same_on) {
        return Access::Same;
    }
    overall
}

fn fares(before: &View, after: &View, packet: &Packet) -> Access {
    let (old, new) = (trace(before, packet), trace(after, packet));
    match (old.verdict, new.verdict) {
        (_, Verdict::Accept) | (Verdict::Drop | Verdict::Reject, _) => Access::Same,
        (_, Verdict::Drop | Verdict::Reject) => Access::Worse { why: new.why },
        (_, Verdict::Depends) if old.why == new.why => Access::Same,
        (_, Verdict::Depends) => Access::Unknown { why: new.why },
    }
}
