//! ipsets with their real contents (ipset(8)): which packets a `--match-set` takes.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::analyse::packets::test::{Meaning, Test};
use crate::analyse::surroundings::Surroundings;
use crate::model::{AddrSet, End, Family, IpSet, Net, PortSet, Proto, words};

/// Sets of sets deeper than this are a loop.
const MAX_DEPTH: usize = 8;

/// The meaning of `--match-set NAME ENDS`.
pub fn meaning(world: &Surroundings, not: bool, name: &str, ends: &[End], proto: Proto) -> Meaning {
    let Some(sets) = &world.view.ipsets else {
        return Meaning::Unsure(format!("the contents of ipset {name} are not known"));
    };
    match test(world, sets, name, ends, proto, 0) {
        Ok(Test::OneOf(_, groups)) => Meaning::Sure(Test::OneOf(not, groups)),
        Ok(Test::Ordered(_, groups)) => Meaning::Sure(Test::Ordered(not, groups)),
        Ok(Test::Src(set)) => Meaning::Sure(Test::Src(super::test::addrs(set, not))),
        Ok(Test::Dst(set)) => Meaning::Sure(Test::Dst(super::test::addrs(set, not))),
        Ok(other) => Meaning::Sure(if not { Test::OneOf(true, vec![vec![other]]) } else { other }),
        Err(why) => Meaning::Unsure(why),
    }
}

/// One entry: what it asks, how narrow its networks are, and whether it is an exception.
struct Entry {
    tests: Vec<Test>,
    prefixes: Vec<u8>,
    except: bool,
}

fn test(
    world: &Surroundings,
    sets: &[IpSet],
    name: &str,
    ends: &[End],
    proto: Proto,
    depth: usize,
) -> Result<Test, String> {
    let set = sets.iter().find(|s| s.name == name).ok_or_else(|| format!("ipset {name} is not there"))?;
    if depth > MAX_DEPTH {
        return Err(format!("ipset {name} holds itself"));
    }
    if world.changed_sets.contains(name) {
        return Err(format!("rules change ipset {name} as packets pass (-j SET)"));
    }
    if set.kind == "list:set" {
        let members: Result<Vec<Vec<Test>>, String> = set
            .entries
            .iter()
            .map(|e| {
                Ok(vec![test(world, sets, e.split_whitespace().next().unwrap_or_default(), ends, proto, depth + 1)?])
            })
            .collect();
        return Ok(joined(members?));
    }
    let parts: Vec<&str> = set
        .kind
        .split_once(':')
        .map(|(_, p)| p.split(',').collect())
        .ok_or_else(|| format!("the type of ipset {name} is not known"))?;
    // A set of the other family, or of more dimensions than are asked, never matches (ip_set_test).
    if set.family.is_some_and(|f| f != world.family) || ends.len() < parts.len() {
        return Ok(Test::Always(false));
    }
    let shape = Shape { world, parts: &parts, ends, proto, mask: mask(set)? };
    let mut entries = Vec::new();
    for text in &set.entries {
        entries.extend(shape.entry(text).ok_or_else(|| format!("the entry {text} of ipset {name} is not understood"))?);
    }
    if parts.contains(&"iface") {
        return Ok(by_interface(entries));
    }
    if !entries.iter().any(|e| e.except) {
        return Ok(joined(entries.into_iter().map(|e| e.tests).collect()));
    }
    // The narrower network decides (ip_set_hash_gen.h, mtype_test_cidrs).
    entries.sort_by_key(|e| Reverse(e.prefixes.clone()));
    if let Some(whole) = of_one_address(world.family, &entries) {
        return Ok(whole);
    }
    Ok(Test::Ordered(false, entries.into_iter().map(|e| (!e.except, cheap_first(e.tests))).collect()))
}

/// Tests that must all hold, so ordered that an entry of another port does not cut packets by its address.
fn cheap_first(mut tests: Vec<Test>) -> Vec<Test> {
    tests.sort_by_key(super::test::cost);
    tests
}

/// hash:net,iface: the narrowest network that holds the address decides, whatever interface it is listed with
/// (ip_set_hash_gen.h, mtype_test_cidrs: the search ends once a network matched without its interface).
fn by_interface(mut entries: Vec<Entry>) -> Test {
    entries.sort_by_key(|e| Reverse(e.prefixes.clone()));
    let mut groups = Vec::new();
    for alike in entries.chunk_by(|a, b| a.prefixes == b.prefixes) {
        groups.extend(alike.iter().map(|e| (!e.except, e.tests.clone())));
        groups.extend(alike.iter().map(|e| (false, e.tests.iter().take(1).cloned().collect())));
    }
    Test::Ordered(false, groups)
}

/// Entries, the narrow ones first, that all concern the address of one end: one set of addresses.
fn of_one_address(family: Family, entries: &[Entry]) -> Option<Test> {
    let src = matches!(entries.first()?.tests.as_slice(), [Test::Src(_)]);
    let mut all = AddrSet::empty(family);
    for e in entries.iter().rev() {
        let (([Test::Src(set)], true) | ([Test::Dst(set)], false)) = (e.tests.as_slice(), src) else { return None };
        if e.except { all.remove(set) } else { all.add(set) }
    }
    Some(if src { Test::Src(all) } else { Test::Dst(all) })
}

/// Groups as one test. What differs in the address of one end only becomes one set of addresses: faster, and it does
/// not cut packets into parts.
fn joined(groups: Vec<Vec<Test>>) -> Test {
    let mut sets: BTreeMap<String, (AddrSet, bool, Vec<Test>)> = BTreeMap::new();
    let mut rest = Vec::new();
    for mut g in groups {
        let (Some(Test::Src(set) | Test::Dst(set)), src) = (g.first(), matches!(g.first(), Some(Test::Src(_)))) else {
            if !matches!(g.as_slice(), [Test::Always(false)]) {
                rest.push(g);
            }
            continue;
        };
        let set = set.clone();
        let tail = g.split_off(1);
        match sets.get_mut(&format!("{src} {tail:?}")) {
            Some((known, _, _)) => known.unite(set),
            None => {
                sets.insert(format!("{src} {tail:?}"), (set, src, tail));
            }
        }
    }
    for (set, src, mut g) in sets.into_values() {
        g.push(if src { Test::Src(set) } else { Test::Dst(set) });
        rest.push(cheap_first(g));
    }
    match rest.as_mut_slice() {
        [] => Test::Always(false),
        [only] if only.len() == 1 => only.pop().unwrap_or(Test::Always(false)),
        _ => Test::OneOf(false, rest),
    }
}

/// The word behind an option of `create`.
fn option<'s>(set: &'s IpSet, name: &str) -> Option<&'s str> {
    set.options.split_whitespace().skip_while(|w| *w != name).nth(1)
}

/// `netmask 24` or `bitmask A`: packets are compared under this mask (hash:ip, bitmap:ip, hash:ip,port).
fn mask(set: &IpSet) -> Result<Option<Net>, String> {
    let family = set.family.unwrap_or(Family::V4);
    let zero = Net::any(family).ip();
    let read = |text: &str| {
        Net::parse(&format!("{zero}/{text}"), family)
            .ok_or_else(|| format!("the mask {text} of ipset {} is not understood", set.name))
    };
    option(set, "netmask").or_else(|| option(set, "bitmask")).map(read).transpose()
}

/// What all entries of a set share.
struct Shape<'a> {
    world: &'a Surroundings<'a>,
    parts: &'a [&'a str],
    ends: &'a [End],
    proto: Proto,
    mask: Option<Net>,
}

impl Shape<'_> {
    /// `None` when it is not understood; an empty list when it can never match packets of the protocol.
    fn entry(&self, text: &str) -> Option<Vec<Entry>> {
        let quoted = text.contains('"');
        let words: Vec<String> = if quoted {
            words(text).map(Cow::into_owned).collect()
        } else {
            text.split_whitespace().map(str::to_owned).collect()
        };
        let mut words = words.into_iter();
        let key = words.next()?;
        let mut except = false;
        while let Some(w) = words.next() {
            match w.as_str() {
                "nomatch" => except = true,
                // What was there when the set was read is taken as there; the rest does not decide.
                "timeout" | "comment" | "packets" | "bytes" | "skbmark" | "skbprio" | "skbqueue" | "before"
                | "after" => {
                    words.next();
                }
                _ => return None,
            }
        }
        let values: Vec<&str> = key.split(',').collect();
        if values.len() != self.parts.len() {
            return None;
        }
        let (mut tests, mut prefixes) = (Vec::new(), Vec::new());
        for ((part, value), end) in self.parts.iter().zip(values).zip(self.ends) {
            let src = *end == End::Src;
            match *part {
                "ip" | "net" => {
                    let set = self.addrs(value)?;
                    if *part == "net" {
                        prefixes.push(Net::parse(value, self.world.family)?.prefix()?);
                    }
                    tests.push(if src { Test::Src(set) } else { Test::Dst(set) });
                }
                "port" => match self.ports(value)? {
                    Ok(set) => tests.push(if src { Test::Sport(set) } else { Test::Dport(set) }),
                    Err(true) => {}
                    Err(false) => return Some(Vec::new()),
                },
                "iface" => {
                    let name = value.strip_prefix("physdev:").map_or(Some(value), |_| None)?;
                    let set = self.world.ifaces.named(name);
                    tests.push(if src { Test::In(set) } else { Test::Out(set, false) });
                }
                // mark and mac are not part of the question.
                _ => return None,
            }
        }
        // The address first, so that groups can be joined by it.
        tests.sort_by_key(|t| !matches!(t, Test::Src(_) | Test::Dst(_)));
        Some(vec![Entry { tests, prefixes, except }])
    }

    fn addrs(&self, text: &str) -> Option<AddrSet> {
        let family = self.world.family;
        let net = match (text.split_once('-'), self.mask) {
            (Some((a, b)), None) => {
                return Some(AddrSet::range(Net::parse(a, family)?.ip(), Net::parse(b, family)?.ip()));
            }
            (Some(_), Some(_)) => return None,
            (None, None) => Net::parse(text, family)?,
            (None, Some(mask)) => {
                let at = Net::parse(text, family)?;
                Net { addr: at.addr & mask.mask, mask: mask.mask, family }
            }
        };
        AddrSet::from_net(net)
    }

    /// `tcp:80`, `icmp:echo-request`, `gre:0`, and in a bitmap `80`: the ports of a protocol that has them, else
    /// whether it matches every packet of the question's protocol, or none (`ip_set_get_ip4_port`).
    fn ports(&self, text: &str) -> Option<Result<PortSet, bool>> {
        let proto = self.proto;
        let Some((p, value)) = text.split_once(':') else {
            // bitmap:port knows TCP and UDP only.
            let set = range(text)?;
            return Some(if matches!(proto, Proto::TCP | Proto::UDP) { Ok(set) } else { Err(false) });
        };
        let p = Proto::parse(p)?;
        if p != proto {
            return Some(Err(false));
        }
        Some(match proto {
            Proto::ICMP | Proto::ICMP6 => {
                let echo = if proto == Proto::ICMP { "8/0" } else { "128/0" };
                Err(matches!(value, "echo-request" | "ping") || value == echo)
            }
            // What has no ports that ipset reads is taken as port 0.
            Proto(6 | 17 | 132 | 136) => Ok(range(value)?),
            _ => Err(range(value)?.contains(0)),
        })
    }
}

fn range(text: &str) -> Option<PortSet> {
    let (a, b) = text.split_once('-').unwrap_or((text, text));
    Some(PortSet::from_iter([a.parse::<u16>().ok()?..=b.parse::<u16>().ok()?]))
}
