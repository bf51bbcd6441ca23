//! The whole change that a plan makes on one host: in both families, or in the only one that it has.

use super::content::{PlanError, REPLIES, content};
use super::slots::{FamilyChange, family_change, standing};
use crate::analyse::Analysis;
use crate::model::{Family, Plan, View};

/// A plan turned into scripts for the host described by `before`.
#[derive(Clone, Debug)]
pub struct Change {
    /// The host as it was read.
    pub before: View,
    /// The host once the plan is kept.
    pub after: View,
    /// IPv4 first; a family that the host does not have is left out.
    pub families: Vec<FamilyChange>,
    /// Kept rules that the plan removes, in `iptables -S` style.
    pub taken_away: Vec<String>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

impl Change {
    /// Whether none of our rules would change; a lost jump is a change.
    pub fn is_nothing(&self) -> bool {
        self.families
            .iter()
            .all(|f| f.doors.iter().all(|d| d.rules == d.old_rules && (d.new.is_none() || d.jump_was_there)))
    }
}

/// Builds the change; an empty plan removes all our rules.
pub fn build(view: &View, plan: &Plan) -> Result<Change, PlanError> {
    let analysis = Analysis::new(view);
    let mut after = view.clone();
    let (mut families, mut taken_away, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for family in Family::BOTH {
        let Some(rules) = view.rules(family) else {
            notes.push(format!("{} is not there or could not be read: nothing is changed in it", family.label()));
            continue;
        };
        let new = content(&analysis, plan, family)?;
        if !new.input.is_empty() && !new.input.iter().any(|r| r == REPLIES) {
            notes.push(format!(
                "{}: connection tracking is not in use, so replies to this host's own sockets are not let \
                through ahead of the rules",
                family.label()
            ));
        }
        for forwarded in [false, true] {
            let planned = if forwarded { &new.forward } else { &new.input };
            let gone = standing(rules, forwarded).rules.into_iter().filter(|r| !planned.contains(r) && r != REPLIES);
            taken_away.extend(gone.map(|r| format!("{}: {r}", family.label())));
        }
        let change = family_change(rules, new.input, new.forward);
        if let Some(set) = match family {
            Family::V4 => after.v4.as_mut(),
            Family::V6 => after.v6.as_mut(),
        } {
            for script in [change.apply_script(None), change.keep_script()] {
                set.apply(&script).map_err(|e| PlanError {
                    what: format!("the change does not fit the rules that are loaded: {}", e.message),
                    hint: "read the firewall again (`portcullis report`) and make the plan again".into(),
                })?;
            }
            for script in change.cleanup_scripts(&set.clone()) {
                // As on the live host: what cannot be removed stays, empty.
                let _ = set.apply(&script);
            }
        }
        families.push(change);
    }
    if families.is_empty() {
        return Err(PlanError {
            what: "no firewall was read, neither IPv4 nor IPv6".into(),
            hint: "install iptables (Debian package iptables), or run as root".into(),
        });
    }
    Ok(Change { before: view.clone(), after, families, taken_away, notes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Proto, RpcService, Rule, Ruleset, Socket, Source};
    use crate::syntax::{iptables_save, plan};

    fn host(v4: &str) -> View {
        let mut v = View::empty(Source::Capture, "test");
        v.v4 = Some(iptables_save::read(v4, Family::V4).0);
        v.v6 = Some(Ruleset::new(Family::V6));
        v.rpc = Some(
            [Proto::TCP, Proto::UDP]
                .map(|proto| RpcService {
                    program: 100_000,
                    versions: vec![2, 3, 4],
                    proto,
                    port: 111,
                    name: "portmapper".into(),
                })
                .to_vec(),
        );
        v
    }

    const CURE: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.11\", \"2001:db8::11\"]\n\
        to = [\"portmapper\"]\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\"]\n";
    const LOADED: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n\
        -A PREROUTING -p tcp -m tcp --dport 9042 -j DNAT --to-destination 172.17.0.2:9042\nCOMMIT\n*filter\n\
        :INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n\
        -A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\nCOMMIT\n";

    fn texts(set: &Ruleset, chain: &str) -> Vec<String> {
        set.chain("filter", chain)
            .map(|c| c.rules.iter().map(|r: &Rule| r.text.to_string()).collect())
            .unwrap_or_default()
    }

    #[test]
    fn the_cure_in_both_families() {
        let view = host(LOADED);
        let change = build(&view, &plan::read(CURE).unwrap()).unwrap();
        let v4 = change.after.v4.as_ref().unwrap();
        assert_eq!(texts(v4, "INPUT"), ["! -i lo -j PORTCULLIS"]);
        assert_eq!(texts(v4, "PORTCULLIS"), ["-j PORTCULLIS-A"]);
        assert_eq!(
            texts(v4, "PORTCULLIS-A"),
            [
                "-m conntrack --ctdir REPLY -j RETURN",
                "-s 192.0.2.11/32 -p tcp -m tcp --dport 111 -m comment --comment \"portcullis: allow portmapper\" -j \
                    ACCEPT",
                "-s 192.0.2.11/32 -p udp -m udp --dport 111 -m comment --comment \"portcullis: allow portmapper\" -j \
                    ACCEPT",
                "-p tcp -m tcp --dport 111 -m comment --comment \"portcullis: drop portmapper\" -j DROP",
                "-p udp -m udp --dport 111 -m comment --comment \"portcullis: drop portmapper\" -j DROP",
            ]
        );
        assert_eq!(texts(change.after.v6.as_ref().unwrap(), "PORTCULLIS-A").len(), 5);
    }

    #[test]
    fn ports_that_nat_sends_to_the_host_itself_are_guarded_in_input() {
        let mut view = host(
            "*nat\n:PREROUTING ACCEPT [0:0]\n\
            -A PREROUTING -p tcp -m tcp --dport 30643 -j DNAT --to-destination 192.168.50.10:6443\nCOMMIT\n*filter\n\
            :INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n",
        );
        let socket = |local: &str, port| Socket {
            proto: Proto::TCP,
            local: local.parse().unwrap(),
            port,
            device: None,
            v6only: Some(false),
            process: None,
        };
        // etcd listens on the host's address.
        view.sockets = Some(vec![socket("192.168.50.10", 2379), socket("::", 6443)]);
        let plan = plan::read(&CURE.replace("portmapper", "published:30643/tcp")).unwrap();
        let after = build(&view, &plan).unwrap().after;
        let e = Analysis::new(&after).endpoints().into_iter().find(|e| e.port == 30643).unwrap();
        let x = Analysis::new(&after).exposure(&e, Family::V4).unwrap();
        assert_eq!(x.reach.accepted.only().map(|a| a.to_string()).as_deref(), Some("192.0.2.11"), "{x:#?}");
        assert!(x.because.iter().all(|b| b.rule.as_ref().is_some_and(|r| r.chain == "PORTCULLIS-A")), "{x:#?}");
        // The port that NAT leads to stays as it was for others.
        let real = Analysis::new(&after).endpoints().into_iter().find(|e| e.port == 6443).unwrap();
        assert!(Analysis::new(&after).exposure(&real, Family::V4).unwrap().reach.accepted.is_full());
    }

    /// Applies, reverts and cleans up on a model; what was kept before comes back.
    fn there_and_back(before: &Ruleset, change: &FamilyChange, meanwhile: &str) -> Ruleset {
        let mut now = before.clone();
        now.apply(&change.apply_script(Some(1_800_000_000))).unwrap();
        let during = standing(&now, false);
        assert_eq!((during.fuse, during.kept), (Some(1_800_000_000), change.doors[0].old));
        now.apply(&change.extend_script(Some(1_800_000_060))).unwrap();
        now.apply(meanwhile).unwrap();
        now.apply(&change.revert_script()).unwrap();
        for s in change.cleanup_scripts(&now.clone()) {
            now.apply(&s).unwrap();
        }
        now
    }

    #[test]
    fn a_revert_changes_only_our_rules() {
        let view = host(LOADED);
        let first = build(
            &view,
            &plan::read(&CURE.replace(
                "\"portmapper\"]\n[[rule]]\naction = \"drop\"",
                "\"portmapper\", \"published:9042\"]\n[[rule]]\naction = \"drop\"",
            ))
            .unwrap(),
        )
        .unwrap();
        assert_eq!(first.families[0].doors.len(), 2);
        let foreign =
            "*filter\n-A INPUT -s 203.0.113.9/32 -j DROP\n-I DOCKER-USER 1 -s 203.0.113.9/32 -j DROP\nCOMMIT\n";
        let mut expected = view.v4.clone().unwrap();
        let back = there_and_back(&expected, &first.families[0], "");
        assert!(back.same_rules(&expected), "{back:#?}");
        expected.apply(foreign).unwrap();
        let back = there_and_back(view.v4.as_ref().unwrap(), &first.families[0], foreign);
        assert!(back.same_rules(&expected));
        // If a plan was kept before, it comes back, even if its slot was flushed meanwhile.
        let mut other = plan::read(CURE).unwrap();
        other.rules.pop();
        let second = build(&first.after, &other).unwrap();
        // One more in INPUT over IPv4: nothing shows that 172.17.0.2 is not the host's.
        assert_eq!(second.taken_away.len(), 4 + 4 + 4 + 1, "{:?}", second.taken_away);
        let back =
            there_and_back(first.after.v4.as_ref().unwrap(), &second.families[0], "*filter\n-F PORTCULLIS-A\nCOMMIT\n");
        assert!(back.same_rules(first.after.v4.as_ref().unwrap()), "{back:#?}");
        // Everything is removed again.
        let none = build(&first.after, &Plan::default()).unwrap();
        assert!(none.after.v4.as_ref().unwrap().same_rules(view.v4.as_ref().unwrap()));
    }
}
