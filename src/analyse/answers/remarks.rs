//! What an answer about one packet leaves open: what was taken for so, and what the kernel decides beside the rules.

use std::net::IpAddr;

use crate::analyse::answers::packet::Packet;
use crate::analyse::packets::cell::SYN;
use crate::analyse::surroundings::addresses::net_set;
use crate::analyse::surroundings::place::multicast;
use crate::analyse::surroundings::{Surroundings, WAY_BACK};
use crate::analyse::walk::chains::Walk;
use crate::model::{Family, Proto};

/// What was taken for so on the ways that the packet can go.
pub fn assumed(walk: &Walk, out: &mut Vec<String>) {
    let world = walk.world;
    let forwarded = || walk.out.ends.iter().map(|e| &e.cell.rest).filter(|r| r.oif.is_some());
    if world.view.forwarding[world.family.index()].is_none() && forwarded().next().is_some() {
        out.push("forwarding is taken as switched on".to_owned());
    }
    if world.local.is_none() && forwarded().any(|r| r.orig.is_some() && r.dst.meets(&world.beyond)) {
        out.push("what NAT sends to an address that no rule calls the host's is taken as sent on".to_owned());
    }
    if world.way_back.get() {
        out.push(WAY_BACK.to_owned());
    }
    if let Some(at) = world.at.filter(|_| world.dated) {
        let at = jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |t| t.to_string());
        out.push(format!("dates are judged as of {at}"));
    }
}

/// What the kernel does with the packet that the rules do not decide (RFC 1812 section 5.3.7, `ip_route_input_slow`,
/// `ipv6_rcv`).
pub fn not_judged(world: &Surroundings, packet: &Packet) -> Vec<String> {
    let mut out = Vec::new();
    let (family, src) = (world.family, packet.src);
    let in_ = |nets: &[&str], a: IpAddr| nets.iter().any(|n| net_set(n, family).contains(a));
    if packet.interface.as_deref() != Some("lo") {
        let never: &[&str] = match family {
            Family::V4 => &["0.0.0.0/8", "127.0.0.0/8"],
            Family::V6 => &["::/127"],
        };
        let routed = world.view.route_localnet.as_ref().is_some_and(|names| !names.is_empty());
        let inner = in_(&["127.0.0.0/8"], src) && routed;
        let mine = family == Family::V4 && world.local.as_ref().is_some_and(|l| l.contains(src));
        // A host without an address asks for one.
        let asks = in_(&["0.0.0.0/32"], src) && packet.dst.is_some_and(|d| in_(&["255.255.255.255/32"], d));
        if (in_(never, src) && !inner && !asks) || world.spread.contains(src) || mine {
            out.push(format!(
                "a packet from outside with the sender {src} is a martian, which the kernel drops itself"
            ));
        }
        if let Some(dst) = packet.dst.filter(|d| in_(&["0.0.0.0/8", "::/128"], *d)) {
            out.push(format!("{dst} is no destination of a packet: the kernel drops it itself"));
        }
    }
    out
}

/// What the answer means for a packet of this kind: not wrong, but less than it seems.
pub fn meant(world: &Surroundings, packet: &Packet) -> Vec<String> {
    let mut out = Vec::new();
    if matches!(packet.proto, Proto::ICMP | Proto::ICMP6) {
        out.push("ICMP is judged as an echo request: other types are not judged".to_owned());
    }
    if packet.flags.is_some_and(|f| f & 0x17 != SYN) && packet.proto == Proto::TCP {
        out.push(
            "a TCP packet without a SYN alone is judged as one of a connection that is not tracked yet".to_owned(),
        );
    }
    if let Some(dst) = packet.dst.filter(|d| world.spread.contains(*d)) {
        if packet.proto == Proto::TCP {
            out.push(format!("{dst} is not one host: TCP does not answer there, whatever the rules say"));
        } else if world.local.is_none() && world.nets_end_in(dst) {
            out.push(format!("{dst} is taken as the broadcast address of a network of this host"));
        } else if multicast(world.family).contains(dst) {
            out.push(format!("that the host has joined the group {dst} is taken for so"));
        }
    }
    out
}
