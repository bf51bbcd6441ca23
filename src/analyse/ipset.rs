//! ipsets with their real contents (ipset(8)): which packets a `--match-set` takes.

use super::cell::Test;
use super::compile::Meaning;
use super::world::World;
use crate::model::{AddrSet, End, Family, IpSet, Net, PortSet, Proto};

/// Sets of sets deeper than this are a loop.
const MAX_DEPTH: usize = 8;

/// The meaning of `--match-set NAME ENDS`.
pub(super) fn meaning(world: &World, not: bool, name: &str, ends: &[End], proto: Proto) -> Meaning {
    let Some(sets) = &world.view.ipsets else { return Meaning::Unsure(format!("the contents of ipset {name} are not known")) };
    match groups(world, sets, name, ends, proto, 0) {
        Ok(groups) => Meaning::Sure(simplest(not, groups)),
        Err(why) => Meaning::Unsure(why),
    }
}

/// Groups that all concern the same end's address become one test, which is faster and joins its parts.
fn simplest(not: bool, groups: Vec<Vec<Test>>) -> Test {
    let Some([first]) = groups.first().map(Vec::as_slice) else { return Test::OneOf(not, groups) };
    let mut all = match first {
        Test::Src(s) | Test::Dst(s) => AddrSet::empty(s.family()),
        _ => return Test::OneOf(not, groups),
    };
    let src = matches!(first, Test::Src(_));
    for g in &groups {
        match g.as_slice() {
            [Test::Src(s)] if src => all = all.or(s),
            [Test::Dst(s)] if !src => all = all.or(s),
            _ => return Test::OneOf(not, groups),
        }
    }
    let all = super::compile::addrs(all, not);
    if src { Test::Src(all) } else { Test::Dst(all) }
}

type Groups = Vec<Vec<Test>>;

fn groups(world: &World, sets: &[IpSet], name: &str, ends: &[End], proto: Proto, depth: usize) -> Result<Groups, String> {
    let set = sets.iter().find(|s| s.name == name).ok_or_else(|| format!("ipset {name} is not there"))?;
    if depth > MAX_DEPTH {
        return Err(format!("ipset {name} holds itself"));
    }
    let (_, parts) = set.kind.split_once(':').unwrap_or(("", ""));
    if set.kind == "list:set" {
        let mut out = Vec::new();
        for e in &set.entries {
            let inner = e.split_whitespace().next().unwrap_or_default();
            out.extend(groups(world, sets, inner, ends, proto, depth + 1)?);
        }
        return Ok(out);
    }
    // A set of the other family never matches (ip_set_test: the family is compared first).
    if set.family.is_some_and(|f| f != world.family) {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = parts.split(',').collect();
    let mut out = Vec::new();
    let mut exceptions = Vec::new();
    for entry in &set.entries {
        let mut words = entry.split_whitespace();
        let key = words.next().unwrap_or_default();
        let options: Vec<&str> = words.collect();
        if options.contains(&"timeout") {
            return Err(format!("entries of ipset {name} expire"));
        }
        let group = one(world, &parts, key, ends, proto).ok_or_else(|| format!("the entry {key} of ipset {name} is not understood"))?;
        let Some(group) = group else { continue };
        if options.contains(&"nomatch") { exceptions.push(group) } else { out.push(group) }
    }
    if exceptions.is_empty() {
        return Ok(out);
    }
    except(out, &exceptions).ok_or_else(|| format!("the exceptions in ipset {name} are not judged"))
}

/// `nomatch` entries: the more specific network wins. Exact for sets of one address; else not judged.
fn except(groups: Groups, exceptions: &[Vec<Test>]) -> Option<Groups> {
    let nets = |list: &[Vec<Test>]| -> Option<Vec<(bool, AddrSet)>> {
        list.iter().map(|g| match g.as_slice() {
            [Test::Src(s)] => Some((true, s.clone())),
            [Test::Dst(s)] => Some((false, s.clone())),
            _ => None,
        }).collect()
    };
    let (yes, no) = (nets(&groups)?, nets(exceptions)?);
    let src = yes.first()?.0;
    // Wider networks first, then the narrower ones overrule them.
    let mut all: Vec<(u8, bool, AddrSet)> = yes.into_iter().map(|(_, s)| (true, s)).chain(no.into_iter().map(|(_, s)| (false, s)))
        .map(|(y, s)| (s.cidrs().first().and_then(Net::prefix).unwrap_or(0), y, s)).collect();
    all.sort_by_key(|(prefix, _, _)| *prefix);
    let mut set = AddrSet::empty(all.first()?.2.family());
    for (_, y, s) in all {
        set = if y { set.or(&s) } else { set.minus(&s) };
    }
    Some(vec![vec![if src { Test::Src(set) } else { Test::Dst(set) }]])
}

/// One entry: `Some(None)` when it can never match this protocol.
#[expect(clippy::option_option, reason = "not understood, never, and a group are three answers")]
fn one(world: &World, parts: &[&str], key: &str, ends: &[End], proto: Proto) -> Option<Option<Vec<Test>>> {
    let values = fields(key, parts.len())?;
    let mut group = Vec::new();
    for ((part, value), end) in parts.iter().zip(values).zip(ends) {
        match *part {
            "ip" | "net" => {
                let set = addr(value, world.family)?;
                group.push(if *end == End::Src { Test::Src(set) } else { Test::Dst(set) });
            }
            "port" => {
                let Some(set) = port(value, proto)? else { return Some(None) };
                group.push(if *end == End::Src { Test::Sport(set) } else { Test::Dport(set) });
            }
            "iface" => {
                let name = value.strip_prefix("physdev:").map_or(Some(value), |_| None)?;
                let set = world.ifaces.named(name);
                group.push(if *end == End::Src { Test::In(set) } else { Test::Out(set, false) });
            }
            // mark and mac are not known of a new packet from afar.
            _ => return None,
        }
    }
    (ends.len() >= parts.len()).then_some(Some(group))
}

/// The comma-separated fields of an entry.
fn fields(key: &str, n: usize) -> Option<Vec<&str>> {
    let v: Vec<&str> = key.split(',').collect();
    (v.len() == n).then_some(v)
}

fn addr(text: &str, family: Family) -> Option<AddrSet> {
    if let Some((a, b)) = text.split_once('-') {
        return Some(AddrSet::range(Net::parse(a, family)?.ip(), Net::parse(b, family)?.ip()));
    }
    AddrSet::from_net(Net::parse(text, family)?)
}

/// `80`, `tcp:80`, `tcp:80-90`: inside `None` for another protocol.
#[expect(clippy::option_option, reason = "not understood, another protocol, and ports are three answers")]
fn port(text: &str, proto: Proto) -> Option<Option<PortSet>> {
    let (p, range) = match text.split_once(':') {
        Some((p, r)) => (Proto::parse(p)?, r),
        // bitmap:port names none and takes any protocol with ports.
        None => (proto, text),
    };
    let (a, b) = range.split_once('-').unwrap_or((range, range));
    let set = PortSet::from_iter([a.parse::<u16>().ok()?..=b.parse::<u16>().ok()?]);
    Some((p == proto && proto.has_ports()).then_some(set))
}
