//! One view of a host from captured texts, told apart by content. What a text cannot tell becomes a
//! plain sentence among the diagnostics; nothing that is left out is left out silently.

use crate::model::{Backend, Diagnostic, Family, LocalAddr, OtherFilter, Peer, Route, Ruleset, Source, Table, View};
use crate::syntax::detect::{Context, Kind, Section, sections};
use crate::syntax::{
    docker_ps, exports, family, ip, ipset, iptables_list, iptables_save, rpcinfo, sockets, table_guess,
};

/// One captured text.
#[derive(Clone, Debug)]
pub struct Input {
    /// File name, or `-` for standard input.
    pub name: String,
    /// The text.
    pub text: String,
    /// The family that the operator names (`--ipv4`, `--ipv6`); it wins over what the text says.
    pub family: Option<Family>,
}

/// Reads all texts into one view. Never fails: a view without anything has diagnostics that say why.
pub fn captured(inputs: &[Input]) -> View {
    let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
    let mut gather =
        Gather { view: View::empty(Source::Capture, &names.join(", ")), hosts: [None, None], rpc_host: None };
    for input in inputs {
        gather.input(input);
        gather.refused(input);
    }
    let host = gather.hosts.iter().flatten().next().or(gather.rpc_host.as_ref());
    if let Some(host) = host {
        gather.view.title.clone_from(host);
    }
    gather.view
}

/// Whether the head of a text holds a listing of rules, services or sockets.
pub fn begins_like_a_listing(text: &str) -> bool {
    let end = (0..=text.len().min(16 * 1024)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    sections(&text[..end]).iter().any(|s| s.kind != Kind::Unknown)
}

/// One listing on its way into the view.
struct Part<'a> {
    input: &'a Input,
    section: &'a Section<'a>,
}

impl Part<'_> {
    /// A reader's remark, with the file's name and the line in the whole text.
    fn place(&self, d: Diagnostic) -> Diagnostic {
        let line = if d.line == 0 { 0 } else { d.line + self.section.line - 1 };
        Diagnostic { line, ..d }.in_file(&self.input.name)
    }

    /// A remark about the listing as a whole, at its first line.
    fn note(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.section.line, message).in_file(&self.input.name)
    }
}

struct Gather {
    view: View,
    /// The host in the prompt before the rules of each family.
    hosts: [Option<String>; 2],
    rpc_host: Option<String>,
}

impl Gather {
    fn input(&mut self, input: &Input) {
        let found = sections(&input.text);
        if found.is_empty() {
            self.view.diagnostics.push(Diagnostic::whole("the text is empty").in_file(&input.name));
        }
        for section in &found {
            let part = Part { input, section };
            match section.kind {
                Kind::Save | Kind::Spec => self.rules(&part, |family| iptables_save::read(&section.text, family)),
                Kind::List => self.rules(&part, |family| iptables_list::read(&section.text, family)),
                Kind::Rpcinfo | Kind::RpcinfoShort => self.rpcinfo(&part),
                Kind::Sockets => {
                    let (sockets, peers, diags) = sockets::read(&section.text);
                    self.say(&part, diags);
                    // A listing of connections alone says nothing about what listens.
                    if !sockets.is_empty() || peers.is_empty() {
                        self.view.sockets.get_or_insert_default().extend(sockets);
                    }
                    for p in peers {
                        let peer = Peer { addr: p.peer.0, port: p.local.1, proto: p.proto };
                        if !self.view.peers.contains(&peer) {
                            self.view.peers.push(peer);
                        }
                    }
                }
                Kind::Ipset => {
                    let (sets, diags) = ipset::read(&section.text);
                    self.say(&part, diags);
                    self.view.ipsets.get_or_insert_default().extend(sets);
                }
                Kind::Exports => {
                    let (nodes, diags) = exports::nodes(&section.text);
                    self.say(&part, diags);
                    for node in nodes {
                        if !self.view.exports.contains(&node) {
                            self.view.exports.push(node);
                        }
                    }
                }
                Kind::DockerPs => {
                    let (names, diags) = docker_ps::read(&section.text);
                    self.say(&part, diags);
                    self.view.published_names.extend(names);
                }
                Kind::IpAddr => self.addresses(&part, ip::address_text(&section.text)),
                Kind::IpRoute => self.routes(&part, ip::route_text(&section.text, section.context.family)),
                Kind::IpJson if section.text.contains("\"addr_info\"") => {
                    let (addrs, diags) = ip::addresses(&section.text);
                    self.say(&part, diags);
                    self.addresses(&part, addrs);
                }
                Kind::IpJson if section.text.contains("\"dst\"") => {
                    let (routes, diags) = ip::routes(&section.text, ip::json_family(&section.text));
                    self.say(&part, diags);
                    self.routes(&part, routes);
                }
                Kind::IpJson => self
                    .view
                    .diagnostics
                    .push(part.note("JSON that is neither of `ip -j addr` nor of `ip -j route`; left out")),
                Kind::Unknown => self.foreign(&part),
            }
        }
    }

    /// What `iptables -S` and `-L` complain of where `iptables-save` prints a remark: a table that they cannot read.
    /// Nothing of it is in the text, so that without this it would look empty.
    fn refused(&mut self, input: &Input) {
        const COMPLAINT: &str = "' is incompatible, use 'nft' tool";
        if !input.text.contains(COMPLAINT) {
            return;
        }
        for (n, line) in input.text.lines().enumerate() {
            // `iptables v1.8.9 (nf_tables): table `filter' is incompatible, use 'nft' tool.`
            let Some((tool, name)) = line.split_once(COMPLAINT).and_then(|(before, _)| before.rsplit_once(": table `"))
            else {
                continue;
            };
            let family = if tool.contains("ip6tables") { Family::V6 } else { Family::V4 };
            let set = match family {
                Family::V4 => &mut self.view.v4,
                Family::V6 => &mut self.view.v6,
            }
            .get_or_insert_with(|| Ruleset::new(family));
            let mut table = Table::new(name);
            table.unreadable = true;
            match set.table_mut(name) {
                Some(have) => *have = table,
                None => set.tables.push(table),
            }
            self.view.diagnostics.push(
                Diagnostic::at(n + 1, format!("table {name} could not be read by iptables; it holds native nft rules"))
                    .in_file(&input.name),
            );
        }
    }

    /// What the text only says to be there.
    fn other(&mut self, family: Family, what: &str, see: String) {
        self.view.other_filters.push(OtherFilter { family, what: what.to_owned(), see, rewrites: false });
    }

    /// A listing of rules of one family.
    fn rules(&mut self, part: &Part, read: impl FnOnce(Family) -> (Ruleset, Vec<Diagnostic>)) {
        let context = &part.section.context;
        let told = part.input.family.or(context.family).or_else(|| family::of_text(&part.section.text));
        let family = told.unwrap_or_else(|| self.untold_family(part));
        let (mut set, diags) = read(family);
        self.versions(&part.section.text);
        for d in diags {
            if d.message.starts_with(iptables_save::LEGACY_WARNING) {
                self.other(
                    family,
                    "the rules of iptables-legacy, which the text does not show,",
                    family.tool("-legacy-save"),
                );
            } else if d.message.ends_with(iptables_save::FOREIGN_CHAINS) {
                let table = d.message.split(' ').nth(1).unwrap_or_default();
                self.other(
                    family,
                    &format!("a native base chain of table {table}, which the text does not show,"),
                    "nft list ruleset".to_owned(),
                );
            }
            // The table of `iptables -S` is named below, or guessed.
            if d.message != iptables_save::NO_TABLE {
                self.view.diagnostics.push(part.place(d));
            }
        }
        if part.section.kind != Kind::Save {
            self.name_table(part, &mut set, context);
        }
        let shift = u32::try_from(part.section.line - 1).unwrap_or(u32::MAX);
        if shift > 0 {
            let rules = set.tables.iter_mut().flat_map(|t| &mut t.chains).flat_map(|c| &mut c.rules);
            rules.for_each(|r| r.line = r.line.saturating_add(shift));
        }
        self.join(part, family, set);
    }

    /// No header, no address: what the file is called, else IPv4. A second listing without either is another host or
    /// another moment as likely as the other family.
    fn untold_family(&mut self, part: &Part) -> Family {
        let name = part.input.name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let (family, by, option) = if ["v6", "ip6"].iter().any(|w| name.contains(w)) {
            (Family::V6, " by the name of the file", "--ipv4")
        } else {
            (Family::V4, "", "--ipv6")
        };
        self.view.diagnostics.push(part.note(format!(
            "neither a header nor an address tells the family; taken as {}{by} (else say {option} FILE)",
            family.label()
        )));
        family
    }

    /// `iptables -S` and `-L` do not name their table: the command line does, or the chains.
    fn name_table(&mut self, part: &Part, set: &mut Ruleset, context: &Context) {
        let Some(table) = set.tables.first_mut().filter(|t| t.name == "filter") else { return };
        let (name, sure) = match &context.table {
            Some(name) => (name.clone(), true),
            None => table_guess::of(table),
        };
        if !sure {
            self.view.diagnostics.push(part.note(format!("the text does not name its table; taken as table {name}")));
        }
        table_guess::rename(table, &name);
        let missing: Vec<&str> = table_guess::missing_chains(table);
        if !missing.is_empty() {
            table.partial = true;
            self.view.diagnostics.push(part.note(format!(
                "only part of table {name} is listed: what {} does is not shown and not known",
                missing.join(", ")
            )));
        }
    }

    /// Adds the tables to what is known of the family; a second set of the same table is left out, and said.
    fn join(&mut self, part: &Part, family: Family, set: Ruleset) {
        let host = part.section.context.host.clone();
        // The families of two hosts are not those of one, either.
        let first = self.hosts[family.index()].as_ref().or_else(|| self.hosts.iter().flatten().next());
        let other_host = match (first, &host) {
            (Some(a), Some(b)) if a != b => Some(b.clone()),
            _ => None,
        };
        let slot = match family {
            Family::V4 => &mut self.view.v4,
            Family::V6 => &mut self.view.v6,
        };
        let known = slot.as_ref();
        let twice = |t: &&Table| known.and_then(|k| k.table(&t.name)).is_some_and(|k| !joinable(k, t));
        let again = other_host.map(|host| format!("the rules of another host ({host})")).or_else(|| {
            let table = set.tables.iter().find(twice)?;
            Some(format!("table {} of {} again", table.name, family.label()))
        });
        if let Some(what) = again {
            self.view.diagnostics.push(part.note(format!(
                "here begin {what}: a second ruleset is not mixed with the first; left out, read it from a file of its \
                    own"
            )));
            return;
        }
        let Some(known) = slot else {
            *slot = Some(set);
            self.hosts[family.index()] = host;
            return;
        };
        for table in set.tables {
            match known.table_mut(&table.name) {
                Some(have) => join_chains(have, table),
                None => known.tables.push(table),
            }
        }
    }

    fn rpcinfo(&mut self, part: &Part) {
        let (services, diags) = rpcinfo::read(&part.section.text);
        self.say(part, diags);
        let Some(services) = services else { return };
        let host = part.section.context.host.clone();
        if self.view.rpc.is_some() {
            self.view.diagnostics.push(part.note(
                "a second rpcinfo listing begins here: another host or another moment; left out, read it from a file \
                of its own",
            ));
            return;
        }
        self.view.rpc = Some(services);
        self.rpc_host = host;
    }

    fn addresses(&mut self, part: &Part, addrs: Vec<LocalAddr>) {
        if addrs.is_empty() {
            self.view.diagnostics.push(part.note("no address is in this listing; `ip addr` shows them"));
            return;
        }
        let known = self.view.addrs.get_or_insert_default();
        let new: Vec<LocalAddr> = addrs.into_iter().filter(|a| !known.contains(a)).collect();
        known.extend(new);
    }

    /// Routes, if they are all: without those to the host's own networks the way out of a packet would be another.
    fn routes(&mut self, part: &Part, routes: Vec<Route>) {
        let own =
            ["proto kernel", "scope link", "\"kernel\"", "\"link\""].iter().any(|w| part.section.text.contains(w));
        if !own || routes.is_empty() {
            self.view.diagnostics.push(
                part.note(
                    "the routes to the host's own networks are not in this listing; left out, `ip route` shows all",
                ),
            );
            return;
        }
        self.view.routes.get_or_insert_default().extend(routes);
        let sources = ip::route_sources(&part.section.text);
        if !sources.is_empty() {
            self.addresses(part, sources);
        }
    }

    fn say(&mut self, part: &Part, diags: Vec<Diagnostic>) {
        self.view.diagnostics.extend(diags.into_iter().map(|d| part.place(d)));
    }

    fn foreign(&mut self, part: &Part) {
        let mut run: Option<(usize, usize)> = None;
        let mut runs = Vec::new();
        for (n, _) in part.section.text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            match &mut run {
                Some((_, to)) if *to + 1 == n => *to = n,
                _ => runs.extend(run.replace((n, n))),
            }
        }
        runs.extend(run);
        for (from, to) in runs {
            let message = if from == to {
                "not part of a listing that this program reads; left out".to_owned()
            } else {
                let first = part.section.line;
                format!(
                    "lines {} to {} are not part of a listing that this program reads; left out",
                    from + first,
                    to + first
                )
            };
            self.view.diagnostics.push(part.place(Diagnostic::at(from + 1, message)));
        }
    }

    /// `# Generated by iptables-save v1.8.9 (nf_tables) on ...`.
    fn versions(&mut self, text: &str) {
        if self.view.iptables.is_some() {
            return;
        }
        let Some(line) = text.lines().take(50).find_map(|l| l.trim_start().strip_prefix("# Generated by ")) else {
            return;
        };
        let mut words = line.split_whitespace();
        let (Some(tool), Some(version)) = (words.next(), words.next().filter(|w| w.starts_with('v'))) else { return };
        let backend = words.next().filter(|w| w.starts_with('('));
        self.view.iptables =
            Some(format!("iptables {version}{}", backend.map(|b| format!(" {b}")).unwrap_or_default()));
        // Before 1.8 there was only x_tables; from 1.8.3 on the nft variant says so.
        self.view.backend = match backend {
            Some("(nf_tables)") => Some(Backend::Nft),
            None if tool.contains("nft") || tool.starts_with("xtables") => Some(Backend::Nft),
            _ => Some(Backend::Legacy),
        };
    }
}

/// Two listings of single chains of one table can stand together when no chain is in both.
fn joinable(known: &Table, more: &Table) -> bool {
    (known.partial || more.partial) && more.chains.iter().all(|c| known.chain(&c.name).is_none())
}

fn join_chains(known: &mut Table, more: Table) {
    for chain in more.chains {
        known.add(chain);
    }
    known.partial = !table_guess::missing_chains(known).is_empty();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(text: &str) -> View {
        captured(&[Input { name: "paste".into(), text: text.into(), family: None }])
    }

    #[test]
    fn several_listings_make_one_view() {
        let v = view(
            "$ iptables-save\n*filter\n:INPUT DROP [0:0]\n-A INPUT -s 192.0.2.1/32 -j ACCEPT\nCOMMIT\n\
            $ ip6tables-save\n*filter\n:INPUT DROP [0:0]\nCOMMIT\n$ rpcinfo -p\n    100000    2   tcp    111  \
            portmapper\n",
        );
        assert_eq!(v.v4.as_ref().unwrap().chain("filter", "INPUT").unwrap().rules[0].line, 4);
        assert!(v.v6.is_some());
        assert_eq!(v.rpc.as_ref().unwrap().len(), 1);
        assert_eq!(v.diagnostics, []);
    }

    #[test]
    fn a_second_host_is_left_out_and_said() {
        let dump = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 192.0.2.1/32 -j DROP\nCOMMIT\n";
        let v = view(&format!("{dump}{dump}"));
        assert_eq!(v.v4.as_ref().unwrap().rule_count(), 1);
        assert_eq!(v.diagnostics.iter().map(|d| d.line).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn the_family_comes_from_option_header_or_addresses() {
        let dump = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        let said = captured(&[Input { name: "x".into(), text: dump.into(), family: Some(Family::V6) }]);
        assert!(said.v6.is_some() && said.v4.is_none() && said.diagnostics.is_empty());
        let guessed = view(dump);
        assert!(guessed.v4.is_some());
        assert_eq!(guessed.diagnostics.len(), 1);
        assert!(view("*filter\n-A INPUT -s fe80::/10 -j ACCEPT\nCOMMIT\n").v6.is_some());
    }

    #[test]
    fn two_hosts_are_not_the_two_families_of_one() {
        let dump = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n";
        let both = view(&format!("{dump}{dump}"));
        assert!(both.v4.is_some() && both.v6.is_none());
        assert!(both.diagnostics.iter().any(|d| d.line == 4 && d.message.contains("again")), "{:?}", both.diagnostics);
        let headed = view("**web**\n-P INPUT DROP\n**db**\n-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n");
        assert!(headed.v6.is_none() && headed.v4.is_some_and(|r| r.tables.len() == 1));
        // Prompts tell as well.
        let text = "root@web:~# iptables -S\n-P INPUT DROP\nroot@db:~# ip6tables -S\n-P INPUT DROP\n";
        let prompts = view(text);
        assert!(prompts.v4.is_some() && prompts.v6.is_none(), "{:?}", prompts.diagnostics);
        assert!(prompts.diagnostics.iter().any(|d| d.message.contains("another host (db)")));
        // What a file is called tells its family.
        let named = |name: &str| Input { name: name.into(), text: dump.into(), family: None };
        let files = captured(&[named("etc/rules.v4"), named("etc/rules.v6")]);
        assert!(files.v4.is_some() && files.v6.is_some());
    }

    #[test]
    fn spec_of_another_table_is_not_taken_for_filter() {
        let v = view(
            "$ iptables -t nat -S\n-P PREROUTING ACCEPT\n-P INPUT ACCEPT\n-P OUTPUT ACCEPT\n-P POSTROUTING ACCEPT\n",
        );
        assert_eq!(v.v4.unwrap().tables[0].name, "nat");
        let v = view("-P PREROUTING ACCEPT\n-P OUTPUT ACCEPT\n-A PREROUTING -d 192.0.2.1/32 -j DROP\n");
        assert_eq!(v.v4.unwrap().tables[0].name, "raw");
    }

    #[test]
    fn addresses_and_routes_are_taken() {
        let link = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN\n    link/loopback \
            00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever \
            preferred_lft forever\n";
        let eth = "2: eth0: <BROADCAST,MULTICAST,UP> mtu 1500\n    inet 192.168.50.10/24 scope global eth0\n";
        let routes =
            "default via 192.168.50.1 dev eth0 \n192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.10 \n";
        let v = view(&format!("{link}{eth}{routes}"));
        assert_eq!(v.diagnostics, []);
        assert!(v.local_addrs(Family::V4).unwrap().contains([192, 168, 50, 10].into()));
        assert_eq!(v.routes(Family::V4).unwrap().len(), 2);
        // `ip -4 addr` and `ip route` say nothing of IPv6.
        assert!(v.local_addrs(Family::V6).is_none() && v.routes(Family::V6).is_none());
        // One interface is not all.
        let v = view(eth);
        assert!(v.addrs.is_some() && v.local_addrs(Family::V4).is_none());
        let v = view(
            "[{\"ifname\":\"lo\",\"addr_info\":[{\"local\":\"::1\",\"prefixlen\":128}]}]\n\
             [{\"dst\":\"fe80::/64\",\"dev\":\"eth0\",\"protocol\":\"kernel\"},\
             {\"dst\":\"default\",\"dev\":\"eth0\"}]\n",
        );
        assert_eq!(v.diagnostics, []);
        assert!(v.local_addrs(Family::V6).is_some() && v.routes(Family::V6).unwrap().len() == 2);
        // Routes without those to the host's own networks lead astray.
        let v = view("$ ip route show default\ndefault via 192.168.50.1 dev eth0 \n");
        assert!(v.routes.is_none() && v.diagnostics.len() == 1, "{:?}", v.diagnostics);
        let v = view(
            "2: eth0: <BROADCAST,MULTICAST,UP> mtu 1500\n    link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff\n",
        );
        assert!(v.addrs.is_none() && v.diagnostics.len() == 1, "{:?}", v.diagnostics);
    }

    #[test]
    fn nothing_readable_is_said_line_by_line() {
        let v = view("hello\nworld\n\nagain\n");
        assert!(v.v4.is_none());
        assert_eq!(v.diagnostics.iter().map(|d| d.line).collect::<Vec<_>>(), [1, 4]);
    }
}
