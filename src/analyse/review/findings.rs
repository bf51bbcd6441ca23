//! Findings about a host, as plain sentences, each with what to do.

use std::net::IpAddr;

use crate::analyse::Analysis;
use crate::analyse::answers::reach::Exposure;
use crate::analyse::inventory::endpoint::EndpointKind;
use crate::analyse::review::direct::direct;
use crate::analyse::review::finding::{Finding, FindingCode, Judged, MAX_NAMED};
use crate::analyse::review::gaps::gaps;
use crate::analyse::review::shadowed::Shadow;
use crate::analyse::surroundings::addresses::bound;
use crate::analyse::walk::verdict::Verdict;
use crate::model::names::chains::is_ours;
use crate::model::{AddrSet, Family, Proto, Source, Table, View};

/// All findings; `shadowed`: the rules of both families that can never match.
pub fn findings(analysis: &Analysis, judged: &[Judged], shadowed: &[Shadow]) -> Vec<Finding> {
    let view = analysis.view();
    let mut out = Vec::new();
    tables(view, &mut out);
    gaps(view, &mut out);
    let host = Host::of(view);
    for j in judged {
        one(&host, j, &mut out);
    }
    direct(analysis, judged, &mut out);
    transports(judged, &mut out);
    for family in Family::BOTH {
        shadows(view, family, shadowed, &mut out);
    }
    out
}

fn tables(view: &View, out: &mut Vec<Finding>) {
    let mut say = |code, message| out.push(Finding { code, endpoint: None, message });
    for family in Family::BOTH {
        for t in view.rules(family).map(|r| r.tables.as_slice()).unwrap_or_default() {
            let (name, label) = (&t.name, family.label());
            if t.unreadable {
                say(
                    FindingCode::UnreadableTable,
                    format!(
                        "iptables cannot read the {label} table {name}: a native nftables rule is in it. Look at it \
                        with `nft list ruleset`; nothing that it decides is known here."
                    ),
                );
            } else if t.partial {
                say(
                    FindingCode::PartialTable,
                    format!(
                        "The {label} table {name} is not shown whole. Capture it with `{} -t {name}`.",
                        family.tool("-save")
                    ),
                );
            }
        }
    }
    for family in Family::BOTH {
        let Some(rules) = view.rules(family) else { continue };
        let containers = rules.table("filter").and_then(|t| t.chain("DOCKER")).map_or(0, |c| c.rules.len());
        if view.source == Source::Capture && containers > 0 && rules.table("nat").is_none() {
            say(
                FindingCode::PublishedUnknown,
                format!(
                    "Docker lets packets in to containers ({containers} {} in {} filter DOCKER), but the table nat is \
                    not in the text: which ports of the host lead there is not known. Give the output of {} too.",
                    if containers == 1 { "rule" } else { "rules" },
                    family.label(),
                    family.tool("-save")
                ),
            );
        }
    }
    for o in &view.other_filters {
        let more =
            if o.rewrites { " and may rewrite packets: what these rules block may get in elsewhere, and" } else { ":" };
        say(
            FindingCode::OtherFilter,
            format!(
                "{} also filters {}{more} what these rules let through may be blocked there. It is not judged; look \
                at it with `{}`.",
                o.what,
                o.family.label(),
                o.see
            ),
        );
    }
    for family in Family::BOTH.into_iter().filter(|f| view.rules(*f).is_none()) {
        let (code, label) =
            (if family == Family::V4 { FindingCode::Ipv4Unknown } else { FindingCode::Ipv6Unknown }, family.label());
        match &view.unread[family.index()] {
            Some(why) => {
                say(code, format!("The {label} rules could not be read: {why}. What is open there cannot be said."));
            }
            // If the host has no address of a family, there is nothing to know about it.
            None if view.local_addrs(family).is_some_and(|own| own.is_empty()) => {}
            None if view.source == Source::Capture => {
                say(code, format!("The {label} rules are not known. Give the output of {} too.", family.tool("-save")));
            }
            None => say(code, format!("The {label} rules are not known. What is open there cannot be said.")),
        }
    }
}

/// Facts needed for every endpoint, worked out once.
struct Host<'a> {
    view: &'a View,
    /// Addresses that are known to be the host's.
    own: [AddrSet; 2],
}

impl<'a> Host<'a> {
    fn of(view: &'a View) -> Self {
        let own = Family::BOTH.map(|f| view.local_addrs(f).unwrap_or_else(|| bound(view, f)));
        Self { view, own }
    }

    /// Whether the address is known to be the host's: packets that NAT sends there pass INPUT.
    fn is_own(&self, addr: IpAddr) -> bool {
        addr.is_loopback() || self.own[Family::of(addr).index()].contains(addr)
    }
}

fn one(host: &Host, j: &Judged, out: &mut Vec<Finding>) {
    let label = j.endpoint.label();
    let mut say = |code, message| out.push(Finding { code, endpoint: Some(label.clone()), message });
    let [v4, v6] = &j.exposure;
    if let (Some(a), Some(b)) = (v4, v6)
        && filtered(a)
        && !a.lets_all_in()
        && b.lets_all_in()
    {
        say(
            FindingCode::Ipv6Open,
            format!("IPv4 is filtered, IPv6 is open to everybody{}. Add the same rules with ip6tables.", only_on(&[b])),
        );
    }
    let anyone = [v4, v6].into_iter().flatten().any(Exposure::lets_all_in);
    // The other family may have another way in, e.g. Docker's proxy, which is guarded by INPUT.
    let past = |f: &Family| {
        j.endpoint.dnat_to.iter().any(|(to, _)| Family::of(*to) == *f && !host.is_own(*to))
            && j.exposure[f.index()].as_ref().is_some_and(Exposure::lets_all_in)
    };
    let bypassed: Vec<&str> = Family::BOTH.iter().filter(|f| past(f)).map(|f| f.label()).collect();
    match j.endpoint.kind {
        EndpointKind::Rpc if anyone => {
            let more = if j.endpoint.program == Some(100_000) {
                " It lists every RPC service to strangers, and over UDP answers with several times the bytes."
            } else {
                ""
            };
            let by = only_on(&[v4, v6].into_iter().flatten().filter(|e| e.lets_all_in()).collect::<Vec<_>>());
            say(
                FindingCode::RpcOpen,
                format!("Anyone can reach this RPC service{by}.{more} Allow the nodes that need it and drop the rest."),
            );
        }
        EndpointKind::Published if !bypassed.is_empty() => {
            let docker = Family::BOTH
                .iter()
                .any(|f| host.view.rules(*f).is_some_and(|r| r.chain("filter", "DOCKER-USER").is_some()));
            let place = if docker { "DOCKER-USER" } else { "FORWARD" };
            let only = match bypassed.as_slice() {
                [one] if [v4, v6].into_iter().flatten().all(Exposure::lets_all_in) => format!(" ({one})"),
                _ => String::new(),
            };
            say(
                FindingCode::BypassesInput,
                format!(
                    "NAT sends this published port past INPUT{only}: rules there do not protect it. Filter it in \
                    {place} by its original port."
                ),
            );
        }
        _ => {}
    }
    if j.endpoint.moves {
        say(
            FindingCode::Moves,
            "This port is assigned anew at each restart: a rule for it will miss the service then. Pin it in \
            /etc/nfs.conf (mountd port=, statd port=) or as lockd's nlm_tcpport and nlm_udpport."
                .to_owned(),
        );
    }
}

/// The interfaces on which it is open, if not on all: a trusted network is not the Internet.
fn only_on(open: &[&Exposure]) -> String {
    let by = open.iter().map(|e| e.anyone_by_in_words()).collect::<Option<Vec<String>>>();
    by.and_then(|b| b.into_iter().next()).map_or_else(String::new, |names| format!(" on {names}"))
}

/// Whether rules keep strangers out.
fn kept(e: &Exposure) -> bool {
    filtered(e) && !e.lets_all_in()
}

/// Whether rules or a policy keep somebody out, as opposed to nobody listening.
fn filtered(e: &Exposure) -> bool {
    e.because.iter().any(|b| matches!(b.outcome, Verdict::Drop | Verdict::Reject) && b.rule.is_some())
}

/// RPC services filtered on TCP but not on UDP, or vice versa.
fn transports(judged: &[Judged], out: &mut Vec<Finding>) {
    for a in judged.iter().filter(|j| j.endpoint.kind == EndpointKind::Rpc && j.endpoint.proto == Proto::TCP) {
        let b = judged.iter().find(|b| {
            b.endpoint.proto == Proto::UDP && b.endpoint.program == a.endpoint.program && b.endpoint.program.is_some()
        });
        let Some(b) = b else { continue };
        for family in Family::BOTH {
            let (Some(x), Some(y)) = (&a.exposure[family.index()], &b.exposure[family.index()]) else { continue };
            let (code, label, message) = match (kept(x) && y.lets_all_in(), kept(y) && x.lets_all_in()) {
                (true, _) => (FindingCode::UdpOpen, b.endpoint.label(), "is filtered on TCP but not on UDP"),
                (_, true) => (FindingCode::TcpOpen, a.endpoint.label(), "is filtered on UDP but not on TCP"),
                _ => continue,
            };
            let message = format!(
                "{} {message} ({}). Add the same rules for the other protocol.",
                a.endpoint.name,
                family.label()
            );
            out.push(Finding { code, endpoint: Some(label), message });
        }
    }
}

fn shadows(view: &View, family: Family, shadowed: &[Shadow], out: &mut Vec<Finding>) {
    let Some(rules) = view.rules(family) else { return };
    let all: Vec<&Shadow> = shadowed.iter().filter(|s| s.at.family == family).collect();
    for s in all.iter().take(MAX_NAMED) {
        let text = rules
            .table(&s.at.table)
            .and_then(|t: &Table| t.chain(&s.at.chain))
            .and_then(|c| c.rules.get(s.at.rule? - 1));
        let by: Vec<String> = s.by.iter().take(4).filter_map(|r| r.rule).map(|n| n.to_string()).collect();
        // Our own chains are generated from the plan; nobody should edit them.
        let advice = if is_ours(&s.at.chain) { "" } else { " Move it up or delete it." };
        let (which, them) = if by.len() == 1 { ("rule", "takes") } else { ("rules", "take") };
        out.push(Finding {
            code: FindingCode::NeverMatches,
            endpoint: None,
            message: format!(
                "{} {} {} rule {} can never match: {which} {} before it {them} all its packets ({}).{advice}",
                family.label(),
                s.at.table,
                s.at.chain,
                s.at.rule.unwrap_or_default(),
                by.join(", "),
                text.map_or_else(String::new, |r| r.line_in(&s.at.chain)),
            ),
        });
    }
    if all.len() > MAX_NAMED {
        let message = format!("{} more {} rules can never match.", all.len() - MAX_NAMED, family.label());
        out.push(Finding { code: FindingCode::NeverMatches, endpoint: None, message });
    }
}
