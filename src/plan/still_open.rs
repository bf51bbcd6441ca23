//! Whether a change achieves the purpose of its plan.

use super::change::Change;
use super::content::{Target, ports, targets};
use crate::analyse::Analysis;
use crate::model::{Action, AddrSet, Family, Goal, Plan, Proto};

/// The ports that stay open to senders whom the plan drops or rejects, one sentence each: other rules come before ours,
/// or NAT leads around them.
pub fn still_open(change: &Change, plan: &Plan) -> Vec<String> {
    let goals: Vec<&Goal> = plan.rules.iter().filter(|r| r.action != Action::Allow).flat_map(|r| &r.to).collect();
    let analysis = Analysis::new(&change.after);
    let mut out = Vec::new();
    for family in Family::BOTH {
        let mut asked: Vec<(Proto, u16, AddrSet)> = Vec::new();
        let mut published: Vec<bool> = Vec::new();
        // A goal without ports on this host has already stopped the plan.
        for t in goals.iter().flat_map(|g| targets(&change.before, g).unwrap_or_default()) {
            if !asked.iter().any(|(proto, port, _)| (*proto, *port) == (t.proto, t.port)) {
                asked.push((t.proto, t.port, unwanted(change, plan, &t, family)));
                published.push(t.published);
            }
        }
        for (((proto, port, unwanted), published), open) in
            asked.iter().zip(published).zip(analysis.gets_in(family, &asked))
        {
            let Some(open) = open else { continue };
            let on = open.on.as_ref().map_or_else(String::new, |names| format!(" on {names}"));
            let who = match open.who.cidrs().first() {
                Some(first) if open.who != *unwanted => {
                    format!("some whom this plan drops still get in{on}, e.g. {first}")
                }
                _ if open.on.is_some() => format!("those whom this plan drops still get in{on}"),
                _ => "everybody whom this plan drops still gets in".to_owned(),
            };
            let cure = if open.translated && !published {
                format!("; NAT sends it another way: name it published:{port}/{proto}")
            } else {
                String::new()
            };
            out.push(format!("{port}/{proto} stays open over {}: {who} ({}){cure}", family.label(), open.by));
        }
    }
    out
}

/// The senders whom the first matching rule of the plan drops or rejects at a port.
fn unwanted(change: &Change, plan: &Plan, port: &Target, family: Family) -> AddrSet {
    let (mut left, mut out) = (AddrSet::full(family), AddrSet::empty(family));
    for rule in &plan.rules {
        let about = |g: &Goal| ports(&change.before, g).contains(&(port.proto, port.port));
        if !rule.to.iter().any(about) {
            continue;
        }
        let mut from = AddrSet::empty(family);
        for node in &rule.from {
            match node.nets(family) {
                None => from = AddrSet::full(family),
                Some(nets) => nets.into_iter().for_each(|n| from.insert_net(n)),
            }
        }
        if rule.action != Action::Allow {
            out.add(&left.and(&from));
        }
        left = left.minus(&from);
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::model::{Source, View};
    use crate::plan::build;
    use crate::syntax::{iptables_save, plan};

    use super::*;

    fn open(nat: &str, filter: &str, goal: &str) -> Vec<String> {
        let mut v = View::empty(Source::Live, "test");
        let text = format!(
            "*nat\n:PREROUTING ACCEPT [0:0]\n{nat}COMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n\
            {filter}COMMIT\n"
        );
        v.v4 = Some(iptables_save::read(&text, Family::V4).0);
        let text = format!(
            "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\"]\nto = [\"{goal}\"]\n[[rule]]\naction \
                = \"drop\"\nfrom = [\"any\"]\nto = [\"{goal}\"]\n"
        );
        let plan = plan::read(&text).unwrap();
        still_open(&build(&v, &plan).unwrap(), &plan)
    }

    #[test]
    fn a_plan_that_misses_its_purpose_is_reported() {
        assert_eq!(open("", "", "443/tcp"), [""; 0]);
        let redirect = "-A PREROUTING -p tcp -m tcp --dport 443 -j REDIRECT --to-ports 8443\n";
        assert_eq!(
            open(redirect, "", "443/tcp"),
            ["443/tcp stays open over IPv4: everybody whom this plan drops still gets in \
            (INPUT policy ACCEPT, no rule matched); NAT sends it another way: name it published:443/tcp"]
        );
        assert_eq!(open(redirect, "", "published:443/tcp"), [""; 0]);
        // Only UDP is translated.
        assert_eq!(open(&redirect.replace("tcp", "udp"), "", "443").len(), 1);
        // Somebody put a rule before our jump, for one network on one interface.
        let before =
            ":PORTCULLIS - [0:0]\n-A INPUT -s 198.51.100.0/24 -i eth0 -j ACCEPT\n-A INPUT ! -i lo -j PORTCULLIS\n";
        assert_eq!(
            open("", before, "443/tcp"),
            ["443/tcp stays open over IPv4: some whom this plan drops still get in on eth0, e.g. 198.51.100.0/24 \
                    (INPUT rule 1: ACCEPT)"]
        );
        assert_eq!(open("", &before.replace("198.51.100.0/24", "192.0.2.11/32"), "443/tcp"), [""; 0]);
        // One interface is not all of them.
        let tunnel = before.replace("-s 198.51.100.0/24 -i eth0", "-i wg0");
        assert_eq!(
            open("", &tunnel, "443/tcp"),
            ["443/tcp stays open over IPv4: those whom this plan drops still get in on wg0 (INPUT rule 1: ACCEPT)"]
        );
        assert_eq!(
            open("", &tunnel.replace("wg0", "eth0 -j ACCEPT\n-A INPUT ! -i eth0"), "443/tcp"),
            ["443/tcp stays open over IPv4: everybody whom this plan drops still gets in (INPUT rule 2: ACCEPT)"]
        );
    }
}
