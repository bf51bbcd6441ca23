//! The doors of a port: FORWARD for what NAT sends on, INPUT for the rest, also for what NAT sends to the host itself.

use crate::analyse::answers::engine::Engine;
use crate::analyse::packets::cell::{self, Cell, Rest};
use crate::analyse::surroundings::Surroundings;
use crate::analyse::walk::chains::Walk;
use crate::analyse::walk::hooks::{self, Bound};
use crate::analyse::walk::verdict::Verdict;
use crate::model::{AddrSet, Net, Proto, View};

/// Those of the ports for which NAT sends packets to an address of the host itself, or may: they pass INPUT then, with
/// the port that NAT gave them.
pub fn nat_leads_here(engine: &Engine, mut asked: Vec<(Proto, u16)>) -> Vec<(Proto, u16)> {
    let world = &engine.world;
    if world.rules.table("nat").is_none() {
        return Vec::new();
    }
    asked.retain(|(proto, port)| {
        walked(engine, *proto, *port, AddrSet::full(world.family)).out.ends.iter().any(|e| {
            let r = &e.cell.rest;
            match (&r.orig, &r.oif) {
                (Some(_), None) => true,
                (Some(_), Some(_)) => world.local.is_none() && r.dst.meets(&world.beyond),
                // What ends in a doubt might have been translated.
                (None, _) => e.verdict == Verdict::Depends,
            }
        })
    });
    asked
}

/// Senders that certainly get in through some door of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetsIn {
    /// Who of those asked about.
    pub who: AddrSet,
    /// By which interfaces, in words, unless by all but those of containers.
    pub on: Option<String>,
    /// What lets them.
    pub by: String,
    /// NAT sends them on.
    pub translated: bool,
}

/// Who of these senders certainly gets in to a port, by whatever interface, address and source port; one answer for
/// each question. What else filters on the host is left out: this is about these rules.
pub fn gets_in(engine: &Engine, asked: &[(Proto, u16, AddrSet)]) -> Vec<Option<GetsIn>> {
    let world = &engine.world;
    asked
        .iter()
        .map(|(proto, port, senders)| {
            let walk = walked(engine, *proto, *port, senders.clone());
            let mut through = walk.out.ends.iter().filter(|e| {
                e.verdict == Verdict::Accept
                    && e.cell.rest.doubt.why.is_none()
                    && heard(world.view, *proto, &e.cell.rest)
            });
            let first = through.next()?;
            let (mut who, mut iif) = (first.cell.src.clone(), first.cell.rest.iif.clone());
            through.for_each(|e| {
                who.add(&e.cell.src);
                iif |= &e.cell.rest.iif;
            });
            let on = (!world.not_containers().is_subset(&iif))
                .then(|| world.ifaces.in_words(&iif, &(world.ifaces.outside() - &iif)));
            let by = walk.out.passes.iter().rfind(|p| p.src.meets(&first.cell.src)).map_or(&first.text, |p| &p.text);
            Some(GetsIn { who, on, by: by.clone(), translated: first.cell.rest.orig.is_some() })
        })
        .collect()
}

/// Who certainly reaches a port of another address by this host, from each network but those of containers; one answer
/// for each question.
pub fn reaches(engine: &Engine, asked: &[(Proto, u16, Net)]) -> Vec<AddrSet> {
    let (world, family) = (&engine.world, engine.world.family);
    let nobody = AddrSet::empty(family);
    let iif = world.not_containers();
    if iif.is_empty() {
        return vec![nobody; asked.len()];
    }
    asked
        .iter()
        .map(|(proto, port, to)| {
            let mut walk = Walk::new(world, &engine.compiled, *proto, false);
            let rest = Rest { iif: iif.clone(), ..packet(world, AddrSet::single(to.ip()), *proto, *port) };
            hooks::run(&mut walk, vec![Cell { src: AddrSet::full(family), rest }], Bound::Anywhere);
            let (mut in_, mut out) = (nobody.clone(), nobody.clone());
            for e in &walk.out.ends {
                let forwarded = e.verdict == Verdict::Accept && e.cell.rest.oif.is_some();
                if forwarded { in_.add(&e.cell.src) } else { out.add(&e.cell.src) }
            }
            in_.minus(&out)
        })
        .collect()
}

/// New packets of these senders to a port of the host, on all their ways.
fn walked<'w, 'a>(engine: &'w Engine<'a>, proto: Proto, port: u16, src: AddrSet) -> Walk<'w, 'a> {
    let world = &engine.world;
    let (Ok(dst) | Err(dst)) = world.reachable_local();
    let mut walk = Walk::new(world, &engine.compiled, proto, false);
    let rest = packet(world, dst, proto, port);
    if !rest.dst.is_empty() && !src.is_empty() {
        hooks::run(&mut walk, vec![Cell { src, rest }], Bound::Local);
    }
    walk
}

/// A new packet from outside.
fn packet(world: &Surroundings, dst: AddrSet, proto: Proto, port: u16) -> Rest {
    Rest::arriving(dst, cell::port(proto, None), cell::port(proto, Some(port)), world.ifaces.outside())
}

/// Whether something waits for packets where they arrive, as far as the sockets are known.
fn heard(view: &View, proto: Proto, at: &Rest) -> bool {
    let Some(sockets) = view.sockets.as_ref().filter(|_| at.oif.is_none()) else { return true };
    sockets.iter().any(|s| {
        s.proto == proto && at.dport.contains(s.port) && (s.local.is_unspecified() || at.dst.contains(s.local))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::{Analysis, Packet};
    use crate::model::{Family, LocalAddr, Socket, Source};
    use crate::syntax::iptables_save;

    fn host(nat: &str) -> View {
        let mut v = View::empty(Source::Capture, "test");
        v.v4 = Some(
            iptables_save::read(
                &format!(
                    "*nat\n:PREROUTING ACCEPT [0:0]\n{nat}\nCOMMIT\n*filter\n:INPUT ACCEPT \
            [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
                ),
                Family::V4,
            )
            .0,
        );
        v
    }

    #[test]
    fn a_door_of_the_host_itself_is_found() {
        let leads = |v: &View| !Analysis::new(v).nat_leads_here(Family::V4, vec![(Proto::TCP, 30643)]).is_empty();
        let dnat = "-A PREROUTING -p tcp -m tcp --dport 30643 -j DNAT --to-destination 192.168.50.10:6443";
        assert!(leads(&host("-A PREROUTING -p tcp -m tcp --dport 30643 -j REDIRECT --to-ports 6443")));
        assert!(!leads(&host("-A PREROUTING -p tcp -m tcp --dport 30644 -j REDIRECT --to-ports 6443")));
        assert!(!leads(&host("")));
        // Nothing tells whose address it is: it may be the host's.
        assert!(leads(&host(dnat)));
        let docker = "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 30643 -j DNAT --to-destination 172.17.0.2:9042\n\
            -A PREROUTING -j DOCKER\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE";
        assert!(!leads(&host(docker)));
        // The host's addresses are known, and it is none of them.
        let mut v = host(dnat);
        v.addrs = Some(vec![
            LocalAddr { addr: [127, 0, 0, 1].into(), prefix: 8, interface: "lo".into() },
            LocalAddr { addr: [192, 168, 50, 11].into(), prefix: 24, interface: "eth0".into() },
        ]);
        assert!(!leads(&v));
        // Through a walk that a socket's address turns to the host.
        let mut v = host(dnat);
        v.sockets = Some(vec![Socket {
            proto: Proto::TCP,
            local: [192, 168, 50, 10].into(),
            port: 2379,
            device: None,
            process: None,
            v6only: None,
        }]);
        assert!(leads(&v));
        assert!(
            Analysis::new(&v)
                .trace(&Packet::new([192, 0, 2, 1].into(), Proto::TCP, Some(30643)))
                .path
                .iter()
                .any(|s| s.chain == "INPUT")
        );
    }
}
