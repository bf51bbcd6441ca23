//! The way of one new packet through tables and chains, in hook order
//! (`nf_ip_hook_priorities` in the kernel's `netfilter_ipv4.h`): raw, mangle and nat PREROUTING, then
//! mangle, filter and security INPUT, then nat INPUT.
//!
//! Where the rules alone do not decide, both ways are followed and the verdict is *depends*.

use std::fmt;
use std::net::IpAddr;

use crate::model::{Chain, Family, IfaceMatch, Match, Policy, PortSet, Proto, Rule, Ruleset, Table, Target};

/// A hypothetical new packet (conntrack NEW, TCP SYN) to the host; `None` means *any*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sender.
    pub src: IpAddr,
    /// One of the host's addresses.
    pub dst: Option<IpAddr>,
    /// Protocol.
    pub proto: Proto,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// Interface it arrives on; any but `lo` when not given.
    pub interface: Option<String>,
    /// The instant, seconds since 1970 UTC; dates are *depends* without it.
    pub at: Option<i64>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The loaded rules let it through.
    Accept,
    /// It is certainly dropped.
    Drop,
    /// It is certainly refused with an answer.
    Reject,
    /// The rules alone do not decide.
    Depends,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Depends => "depends",
        })
    }
}

/// How one rule fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// All matches hold.
    Matched,
    /// A match certainly does not hold.
    Passed,
    /// It may match.
    MayMatch,
    /// The policy of a built-in chain.
    Policy,
}

impl fmt::Display for Result {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Matched => "matched",
            Self::Passed => "passed",
            Self::MayMatch => "may match",
            Self::Policy => "policy",
        })
    }
}

/// One rule or policy on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// Number in the chain from 1; `None` for the policy.
    pub rule: Option<usize>,
    /// The rule's `-A` text or the policy's `-P` text.
    pub text: String,
    /// How it fared.
    pub result: Result,
}

/// Verdict and way of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Verdict.
    pub verdict: Verdict,
    /// One sentence: what decided.
    pub why: String,
    /// Every rule on the way.
    pub path: Vec<Step>,
}

/// The hooks of a packet to the host itself.
const LOCAL_IN: &[(&str, &str)] = &[
    ("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("nat", "PREROUTING"),
    ("mangle", "INPUT"), ("filter", "INPUT"), ("security", "INPUT"), ("nat", "INPUT"),
];

/// Nested calls deeper than this are a loop that the kernel would have refused.
const MAX_DEPTH: usize = 64;
/// A way longer than this is given up as *depends* (chains that call each other from may-match rules).
const MAX_STEPS: usize = 2_000_000;

/// Follows a packet through the rules.
pub fn trace(rules: &Ruleset, packet: &Packet) -> Trace {
    let mut walk = Walk { rules, packet, path: Vec::new(), outcomes: Vec::new(), doubt: None, stopped: false };
    for (table, chain) in LOCAL_IN {
        walk.hook(table, chain);
        if walk.stopped {
            break;
        }
    }
    walk.finish()
}

/// How a chain was left: which ways on are possible.
#[derive(Clone, Copy, Default)]
struct Exit {
    /// Fell off the end, or RETURN.
    back: bool,
    /// ACCEPT: this table is done, the next one goes on.
    accepted: bool,
}

struct Walk<'a> {
    rules: &'a Ruleset,
    packet: &'a Packet,
    path: Vec<Step>,
    /// Final ends that are possible, with what decided each.
    outcomes: Vec<(Verdict, String)>,
    /// The first reason why the rules alone do not decide.
    doubt: Option<String>,
    /// No way leads on.
    stopped: bool,
}

impl<'a> Walk<'a> {
    fn hook(&mut self, table_name: &str, chain_name: &str) {
        let Some(table) = self.rules.table(table_name) else { return };
        if table.unreadable {
            self.unsure(format!("table {table_name} cannot be read by iptables"));
            return;
        }
        let Some(chain) = table.chain(chain_name) else {
            if table.partial || table_name == "filter" {
                self.unsure(format!("chain {chain_name} of table {table_name} is not shown"));
            }
            return;
        };
        let exit = self.chain(table, chain, 0);
        let mut on = exit.accepted;
        if exit.back {
            on |= self.policy(table, chain);
        }
        self.stopped = !on;
    }

    /// The policy; whether the packet goes on.
    fn policy(&mut self, table: &Table, chain: &Chain) -> bool {
        let policy = chain.policy.unwrap_or(Policy::Unknown);
        let text = format!("-P {} {policy}", chain.name);
        self.path.push(Step { table: table.name.clone(), chain: chain.name.clone(), rule: None, text, result: Result::Policy });
        match policy {
            Policy::Accept => true,
            Policy::Drop => {
                self.outcomes.push((Verdict::Drop, format!("{} policy DROP, no rule matched", chain.name)));
                false
            }
            Policy::Unknown => {
                self.unsure(format!("the policy of {} is not in the text", chain.name));
                true
            }
        }
    }

    fn unsure(&mut self, why: String) {
        self.doubt.get_or_insert(why);
        self.outcomes.push((Verdict::Depends, String::new()));
    }

    fn chain(&mut self, table: &'a Table, chain: &'a Chain, depth: usize) -> Exit {
        let mut exit = Exit::default();
        if depth > MAX_DEPTH || self.path.len() > MAX_STEPS {
            self.unsure(format!("chain {} is called in a loop", chain.name));
            exit.back = true;
            return exit;
        }
        if chain.partial {
            self.unsure(format!("the rules of chain {} are not all shown", chain.name));
        }
        for (i, rule) in chain.rules.iter().enumerate() {
            let spec = rule.spec(self.rules.family);
            let (result, why) = self.judge(rule, &spec.matches);
            self.path.push(Step {
                table: table.name.clone(), chain: chain.name.clone(), rule: Some(i + 1),
                text: rule.line_in(&chain.name), result,
            });
            if result == Result::Passed {
                continue;
            }
            if result == Result::MayMatch && !matters_not(&spec.target) {
                self.doubt.get_or_insert_with(|| format!("{} rule {}: {why}", chain.name, i + 1));
            }
            let ends = self.target(table, chain, i, &spec.target, depth, &mut exit);
            if ends && result == Result::Matched {
                return exit;
            }
        }
        exit.back = true;
        exit
    }

    /// Acts on a target; whether the chain ends here for the packets that matched.
    fn target(&mut self, table: &'a Table, chain: &Chain, i: usize, target: &Target, depth: usize, exit: &mut Exit) -> bool {
        let decided = |what: &str| format!("{} rule {}: {what}", chain.name, i + 1);
        match target {
            Target::Continue(words) if words.starts_with("CT") || words.starts_with("NOTRACK") => {
                // The connection state that later rules see is no longer that of a tracked new packet.
                self.unsure(decided("changes connection tracking"));
                false
            }
            Target::None | Target::Continue(_) => false,
            Target::Accept => {
                exit.accepted = true;
                true
            }
            Target::Drop => {
                self.outcomes.push((Verdict::Drop, decided("DROP")));
                true
            }
            Target::Reject => {
                self.outcomes.push((Verdict::Reject, decided("REJECT")));
                true
            }
            Target::Return => {
                exit.back = true;
                true
            }
            Target::Jump(name, words) => if let Some(next) = table.chain(name) {
                let sub = self.chain(table, next, depth + 1);
                exit.accepted |= sub.accepted;
                !sub.back
            } else {
                self.unsure(decided(&format!("what {name} {words} does is not judged")));
                false
            },
            Target::Goto(name) => {
                match table.chain(name) {
                    Some(next) => {
                        let sub = self.chain(table, next, depth + 1);
                        exit.accepted |= sub.accepted;
                        exit.back |= sub.back;
                    }
                    None => self.unsure(decided(&format!("chain {name} is not shown"))),
                }
                true
            }
        }
    }

    fn judge(&self, rule: &Rule, matches: &[Match]) -> (Result, String) {
        let mut may = None;
        if rule.hidden.interfaces {
            may = Some("the listing hides interfaces".to_owned());
        }
        if rule.hidden.cut {
            may = Some("the line is cut".to_owned());
        }
        for m in matches {
            match self.holds(m) {
                Some(true) => {}
                Some(false) => return (Result::Passed, String::new()),
                None => may = may.or_else(|| Some(format!("whether {} holds is not known", name_of(m)))),
            }
        }
        may.map_or((Result::Matched, String::new()), |why| (Result::MayMatch, why))
    }

    /// Whether a match holds for every packet meant (`Some(true)`), for none, or *depends*.
    fn holds(&self, m: &Match) -> Option<bool> {
        let p = self.packet;
        match m {
            Match::Source(not, net) => Some(net.contains(p.src) != *not),
            Match::Destination(not, net) => {
                if net.mask == 0 {
                    return Some(!*not);
                }
                p.dst.map(|d| net.contains(d) != *not)
            }
            Match::Protocol(not, proto) => Some((*proto == p.proto) != *not),
            Match::InInterface(not, iface) => self.arrives(iface).map(|y| y != *not),
            // Input has no output interface: the name compared is empty (ip_packet_match).
            Match::OutInterface(not, iface) => Some(iface.matches("") != *not),
            Match::SourcePorts(not, set) => within(p.sport, set).map(|y| y != *not),
            Match::DestinationPorts(not, set) => within(p.dport, set).map(|y| y != *not),
            Match::EitherPorts(not, set) => match (within(p.sport, set), within(p.dport, set)) {
                (Some(true), _) | (_, Some(true)) => Some(!*not),
                (Some(false), Some(false)) => Some(*not),
                _ => None,
            },
            Match::TcpFlags(not, mask, comp) => Some((0x02 & mask == *comp) != *not),
            Match::CtState(not, states) => {
                if states.iter().any(|s| s == "DNAT" || s == "SNAT") {
                    return None;
                }
                Some(states.iter().any(|s| s == "NEW") != *not)
            }
            Match::CtDirOriginal(original) => Some(*original),
            Match::Fragment(not) => Some(*not),
            Match::Comment(_) => Some(true),
            Match::Dates(from, to) => {
                let at = p.at?;
                Some(from.is_none_or(|f| at >= f) && to.is_none_or(|t| at <= t))
            }
            Match::Unknown(_) => None,
        }
    }

    fn arrives(&self, iface: &IfaceMatch) -> Option<bool> {
        match &self.packet.interface {
            Some(name) => Some(iface.matches(name)),
            None if iface.0 == "lo" => Some(false),
            None if iface.0 == "+" => Some(true),
            None => None,
        }
    }

    fn finish(mut self) -> Trace {
        if !self.stopped {
            let why = self.path.iter().rev().find(|s| s.table == "filter" && s.result != Result::Passed)
                .map_or_else(|| "no rule concerns it".to_owned(), |s| match s.rule {
                    Some(n) => format!("{} rule {n}", s.chain),
                    None => format!("{} policy ACCEPT, no rule matched", s.chain),
                });
            self.outcomes.push((Verdict::Accept, why));
        }
        let first = self.outcomes.first().cloned().unwrap_or((Verdict::Depends, String::new()));
        let all_same = self.outcomes.iter().all(|o| o.0 == first.0);
        let blocked = self.outcomes.iter().all(|o| matches!(o.0, Verdict::Drop | Verdict::Reject));
        let (verdict, why) = if all_same && first.0 != Verdict::Depends {
            first
        } else if blocked {
            // Dropped or rejected, either way it does not get in.
            (Verdict::Drop, first.1)
        } else {
            (Verdict::Depends, self.doubt.unwrap_or_else(|| "the rules alone do not decide".to_owned()))
        };
        Trace { verdict, why, path: self.path }
    }
}

/// Whether a rule that may match changes nothing either way.
fn matters_not(target: &Target) -> bool {
    matches!(target, Target::None | Target::Continue(_))
}

fn within(port: Option<u16>, set: &PortSet) -> Option<bool> {
    match port {
        Some(p) => Some(set.contains(p)),
        None if set.len() == 65_536 => Some(true),
        None => None,
    }
}

fn name_of(m: &Match) -> String {
    match m {
        Match::Destination(_, net) => format!("-d {net}"),
        Match::InInterface(_, i) => format!("-i {}", i.0),
        Match::SourcePorts(..) => "the source port".to_owned(),
        Match::DestinationPorts(..) | Match::EitherPorts(..) => "the port".to_owned(),
        Match::CtState(_, s) => format!("state {}", s.join(",")),
        Match::Dates(..) => "a date".to_owned(),
        Match::Unknown(words) => words.clone(),
        other => format!("{other:?}"),
    }
}

impl Packet {
    /// A new packet from an address to a port.
    pub fn new(src: IpAddr, proto: Proto, dport: Option<u16>) -> Self {
        Self { src, dst: None, proto, sport: None, dport, interface: None, at: None }
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        Family::of(self.src)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `packet` is `SRC PORT`, over TCP.
    fn check(rules: &str, packet: &str, expected: Verdict) -> Trace {
        let (src, port) = packet.split_once(' ').unwrap();
        let text: String = rules.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let mut set = Ruleset::new(Family::V4);
        let table = set.table_or_new("filter");
        for line in text.lines().filter(|l| !l.is_empty()) {
            let mut w = line.splitn(3, ' ');
            let (cmd, chain, args) = (w.next().unwrap(), w.next().unwrap(), w.next().unwrap_or_default());
            match cmd {
                "-P" => table.chain_or_new(chain).policy = Some(if args == "DROP" { Policy::Drop } else { Policy::Accept }),
                _ => table.chain_or_new(chain).rules.push(Rule::new(args)),
            }
        }
        let got = trace(&set, &Packet::new(src.parse().unwrap(), Proto::TCP, port.parse().ok()));
        assert_eq!(got.verdict, expected, "{got:#?}");
        got
    }

    const CURE: &str = "-A INPUT -s 192.0.2.11/32 -p tcp -m tcp --dport 111 -j ACCEPT
        -A INPUT -p tcp -m tcp --dport 111 -j DROP";

    #[test]
    fn the_cure_of_the_story() {
        check(CURE, "192.0.2.11 111", Verdict::Accept);
        check(CURE, "192.0.2.12 111", Verdict::Drop);
        check(CURE, "192.0.2.12 22", Verdict::Accept);
    }

    #[test]
    fn a_drop_behind_an_accept_does_nothing() {
        check("-A INPUT -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 111 -j DROP", "198.51.100.1 111", Verdict::Accept);
    }

    #[test]
    fn what_is_not_known_depends_only_where_it_matters() {
        let limit = "-A INPUT -m limit --limit 5/min -j ACCEPT\n";
        check(&format!("{limit}-A INPUT -j DROP"), "198.51.100.1 111", Verdict::Depends);
        check(limit, "198.51.100.1 111", Verdict::Accept);
        check("-A INPUT -i eth0 -j DROP", "198.51.100.1 111", Verdict::Depends);
        check("-A INPUT -i lo -j DROP", "198.51.100.1 111", Verdict::Accept);
    }

    #[test]
    fn chains_return_and_goto_leaves_for_good() {
        check("-P INPUT DROP\n-A INPUT -j A\n-A INPUT -j ACCEPT\n-A A -j RETURN\n-A A -j DROP", "198.51.100.1 1", Verdict::Accept);
        check("-P INPUT DROP\n-A INPUT -g A\n-A INPUT -j ACCEPT\n-A A -p udp -j ACCEPT", "198.51.100.1 1", Verdict::Drop);
    }

    #[test]
    fn a_chain_that_is_not_shown_depends() {
        check("-A INPUT -j ELSEWHERE", "198.51.100.1 1", Verdict::Depends);
    }

    #[test]
    fn a_loop_ends() {
        check("-A INPUT -j A\n-A A -j B\n-A B -j A", "198.51.100.1 1", Verdict::Depends);
    }
}
