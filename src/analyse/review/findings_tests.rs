//! Tests of when each finding is reported, and when it must not be.

use crate::analyse::{Analysis, FindingCode};
use crate::model::{
    AddrSet, Chain, Family, IpSet, LocalAddr, Net, OtherFilter, Policy, Proto, Route, RpcPin, RpcService, Rule,
    Ruleset, Socket, Source, View,
};

/// A host with both families; `rules` are lines of the filter table's INPUT, or `TABLE CHAIN | ARGS`.
fn host(v4: &[&str], v6: &[&str]) -> View {
    let set = |family, rules: &[&str]| {
        let mut set = Ruleset::new(family);
        set.table_or_new("filter");
        for r in rules {
            let (place, args) = r.split_once(" | ").unwrap_or(("filter INPUT", r));
            let (table, chain) = place.split_once(' ').unwrap();
            set.table_or_new(table).chain_or_new(chain).rules.push(Rule::new(args));
        }
        set
    };
    let mut v = View::empty(Source::Live, "case");
    (v.v4, v.v6) = (Some(set(Family::V4, v4)), Some(set(Family::V6, v6)));
    let at = |a: &str, prefix| LocalAddr { addr: a.parse().unwrap(), prefix, interface: "eth0".into() };
    v.addrs = Some(vec![
        at("10.0.0.1", 24),
        at("2001:db8::1", 64),
        LocalAddr { interface: "virbr0".into(), ..at("192.168.122.1", 24) },
    ]);
    v.routes = Some(
        ["0.0.0.0/0", "::/0"].map(|n| Route { net: Net::parse_any(n).unwrap(), interface: "eth0".into() }).to_vec(),
    );
    v.forwarding = [Some(true), Some(true)];
    v.rpc = Some(Vec::new());
    v.sockets = Some(Vec::new());
    v
}

/// Adds a socket, and the RPC service behind it when it has a program number.
fn listen(v: &mut View, proto: Proto, local: &str, port: u16, program: Option<u32>) {
    v.sockets.as_mut().unwrap().push(Socket {
        proto,
        local: local.parse().unwrap(),
        port,
        device: None,
        v6only: Some(true),
        process: None,
    });
    if let Some(program) = program {
        v.rpc.as_mut().unwrap().push(RpcService { program, versions: vec![3], proto, port, name: "service".into() });
    }
}

fn codes(v: &View) -> Vec<&'static str> {
    Analysis::new(v).report().warnings.iter().map(|w| w.code.as_str()).collect()
}

#[track_caller]
fn check(v: &View, code: &str, said: bool) {
    assert_eq!(codes(v).contains(&code), said, "{:#?}", Analysis::new(v).report().warnings);
}

#[test]
fn open_on_ipv6_while_closed_on_ipv4() {
    let both = |v4: &[&str], v6: &[&str], socket4: &str| {
        let mut v = host(v4, v6);
        listen(&mut v, Proto::TCP, socket4, 80, None);
        listen(&mut v, Proto::TCP, "::", 80, None);
        v
    };
    let drop = "-p tcp --dport 80 -j DROP";
    check(&both(&[drop], &[], "0.0.0.0"), "ipv6-open", true);
    check(&both(&[drop], &[drop], "0.0.0.0"), "ipv6-open", false);
    check(&both(&[], &[], "0.0.0.0"), "ipv6-open", false);
    // Nothing filters IPv4: the service does not listen there.
    check(&both(&[], &[], "127.0.0.1"), "ipv6-open", false);
    // It is not certain who gets in on IPv6, so it does not count as everybody.
    check(&both(&[drop], &["-m limit --limit 1/min -j ACCEPT", "-j DROP"], "0.0.0.0"), "ipv6-open", false);
}

#[test]
fn protected_on_one_transport_only() {
    let both = |rules: &[&str], tcp: &str| {
        let mut v = host(rules, &[]);
        listen(&mut v, Proto::TCP, tcp, 111, Some(100_000));
        listen(&mut v, Proto::UDP, "0.0.0.0", 111, Some(100_000));
        v
    };
    check(&both(&["-p tcp --dport 111 -j DROP"], "0.0.0.0"), "udp-open", true);
    check(&both(&["-p udp --dport 111 -j DROP"], "0.0.0.0"), "tcp-open", true);
    check(&both(&["-p tcp --dport 111 -j DROP"], "0.0.0.0"), "tcp-open", false);
    check(&both(&["-p tcp --dport 111 -j DROP", "-p udp --dport 111 -j DROP"], "0.0.0.0"), "udp-open", false);
    check(&both(&[], "127.0.0.1"), "udp-open", false);
}

#[test]
fn anyone_reaches_an_rpc_service() {
    let one = |rules: &[&str], port| {
        let mut v = host(rules, &[]);
        listen(&mut v, Proto::TCP, "0.0.0.0", port, Some(100_005));
        v
    };
    check(&one(&[], 20048), "rpc-open", true);
    check(&one(&["-s 10.0.0.0/8 -j ACCEPT", "-j DROP"], 20048), "rpc-open", false);
    // If only a trusted network is open, the finding says so.
    let said = |v: &View| {
        Analysis::new(v).report().warnings.into_iter().find(|w| w.code == FindingCode::RpcOpen).unwrap().message
    };
    assert!(
        said(&one(&["-i eth0 -j ACCEPT", "-j DROP"], 20048)).starts_with("Anyone can reach this RPC service on eth0.")
    );
    // Guests on their own bridge are not anyone.
    check(&one(&["-i virbr0 -j ACCEPT", "-j DROP"], 20048), "rpc-open", false);
    // All but one who is banned are.
    check(&one(&["-s 198.51.100.66 -j DROP"], 20048), "rpc-open", true);
    assert!(said(&one(&[], 20048)).starts_with("Anyone can reach this RPC service."));
    // Two interfaces together let everybody in, but neither does alone.
    let halves = ["-i virbr0 -s 0.0.0.0/1 -j ACCEPT", "-i virbr0 -j DROP", "-i eth0 -s 0.0.0.0/1 -j DROP"];
    check(&one(&halves, 20048), "rpc-open", false);
    check(&one(&[], 20048), "moves", false);
    check(&one(&[], 43211), "moves", true);
    let mut pinned = one(&[], 43211);
    let program = pinned.rpc.as_ref().unwrap()[0].program;
    pinned.rpc_pins.push(RpcPin { program, proto: Some(Proto::TCP), port: 43211 });
    check(&pinned, "moves", false);
    // That of another service, or of another port, pins nothing here.
    for other in [RpcPin { program: program + 1, ..pinned.rpc_pins[0] }, RpcPin { port: 892, ..pinned.rpc_pins[0] }] {
        pinned.rpc_pins = vec![other];
        check(&pinned, "moves", true);
    }
}

#[test]
fn published_ports_that_bypass_input() {
    let to = |to: &str, forward: &str| {
        host(
            &[
                &format!("nat PREROUTING | -p tcp -m tcp --dport 9042 -j DNAT --to-destination {to}"),
                &format!("filter FORWARD | {forward}"),
            ],
            &[],
        )
    };
    check(&to("172.17.0.2:9042", "-j ACCEPT"), "bypasses-input", true);
    check(&to("172.17.0.2:9042", "-s 10.0.0.0/8 -j DROP"), "bypasses-input", true);
    check(&to("172.17.0.2:9042", "! -s 10.0.0.0/8 -j DROP"), "bypasses-input", false);
    // Open on one interface counts as open, even if a bridge is closed.
    check(&to("172.17.0.2:9042", "-i virbr0 -j DROP"), "bypasses-input", true);
    // Guarded as advised: packets of containers are not translated, and pass INPUT to Docker's proxy.
    let guarded = |guard: &[&str]| {
        let mut rules = vec![
            "nat PREROUTING | ! -i virbr0 -p tcp -m tcp --dport 9042 -j DNAT --to-destination 172.17.0.2:9042",
            "filter FORWARD | -j DOCKER-USER",
        ];
        rules.extend_from_slice(guard);
        let mut v = host(&rules, &[]);
        listen(&mut v, Proto::TCP, "0.0.0.0", 9042, None);
        v
    };
    check(
        &guarded(&["filter DOCKER-USER | -p tcp -m conntrack --ctorigdstport 9042 --ctdir ORIGINAL -j DROP"]),
        "bypasses-input",
        false,
    );
    check(
        &guarded(&["filter DOCKER-USER | -p tcp -m conntrack --ctorigdstport 9043 --ctdir ORIGINAL -j DROP"]),
        "bypasses-input",
        true,
    );
    // The NAT is IPv4 only, and lets nobody through; IPv6 goes to Docker's proxy, guarded by INPUT.
    let mut v = to("172.17.0.2:9042", "-j DROP");
    listen(&mut v, Proto::TCP, "::", 9042, None);
    check(&v, "bypasses-input", false);
    // Packets to an address of the host go through INPUT.
    let mut v = to("10.0.0.1:80", "-j ACCEPT");
    listen(&mut v, Proto::TCP, "0.0.0.0", 80, None);
    check(&v, "bypasses-input", false);
}

#[test]
fn in_a_text_an_address_that_a_socket_is_bound_to_is_the_hosts() {
    let mut v = host(
        &[
            "nat PREROUTING | -p tcp -m tcp --dport 30643 -j DNAT --to-destination 192.168.50.10:6443",
            "filter FORWARD | -j ACCEPT",
        ],
        &[],
    );
    (v.source, v.addrs, v.routes) = (Source::Capture, None, None);
    for chain in ["INPUT", "FORWARD"] {
        v.v4.as_mut().unwrap().table_or_new("filter").chain_or_new(chain).policy = Some(Policy::Accept);
    }
    listen(&mut v, Proto::TCP, "0.0.0.0", 6443, None);
    check(&v, "bypasses-input", true);
    listen(&mut v, Proto::TCP, "192.168.50.10", 2379, None);
    check(&v, "bypasses-input", false);
}

#[test]
fn containers_that_are_reached_past_their_published_ports() {
    let docker = |nat: &str, more: &[&str]| {
        let mut rules = vec![
            "filter FORWARD | -j DOCKER-USER",
            "filter FORWARD | -o docker0 -j DOCKER",
            "nat PREROUTING | -j DOCKER",
            "filter DOCKER-USER | -p 255 -j RETURN",
            "filter DOCKER | -d 172.17.0.4/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 443 -j ACCEPT",
            "filter DOCKER | ! -i docker0 -o docker0 -j DROP",
        ];
        rules.extend_from_slice(more);
        let nat = format!(
            "nat DOCKER | {nat} ! -i docker0 -p tcp -m tcp --dport 8443 -j DNAT --to-destination 172.17.0.4:443"
        );
        rules.push(&nat);
        let mut v = host(&rules, &[]);
        let built_in = |c: &&mut Chain| ["PREROUTING", "FORWARD", "INPUT"].contains(&c.name.as_str());
        v.v4.as_mut()
            .unwrap()
            .tables
            .iter_mut()
            .flat_map(|t| &mut t.chains)
            .filter(built_in)
            .for_each(|c| c.policy = Some(Policy::Accept));
        v.routes
            .as_mut()
            .unwrap()
            .push(Route { net: Net::parse_any("172.17.0.0/16").unwrap(), interface: "docker0".into() });
        v
    };
    let said = |v: &View| {
        Analysis::new(v)
            .report()
            .warnings
            .into_iter()
            .filter(|w| w.code == FindingCode::DirectContainer)
            .collect::<Vec<_>>()
    };
    // What everybody reaches by its published port is not reported again.
    assert_eq!(said(&docker("", &[])), []);
    // Published on loopback only, guarded by its original port, or not published at all.
    let guarded = docker(
        "",
        &["filter DOCKER-USER | -p tcp -m conntrack --ctstate DNAT --ctorigdstport 8443 --ctdir ORIGINAL -j DROP"],
    );
    for v in [docker("-d 127.0.0.1/32", &[]), guarded] {
        let all = said(&v);
        assert!(
            all.len() == 1
                && all[0].message.contains(
                    "IPv4 DOCKER rule 1 lets anyone reach 172.17.0.4 port 443/tcp directly, past what guards"
                ),
            "{all:#?}"
        );
        assert_eq!(all[0].endpoint.as_deref(), Some("172.17.0.4:443 8443/tcp"));
    }
    let routed = |more: &[&str]| {
        let mut v = docker("", more);
        v.v4.as_mut().unwrap().table_or_new("nat").chain_or_new("DOCKER").rules.clear();
        v
    };
    assert!(said(&routed(&[]))[0].message.contains("without a published port"));
    // A text may not show the table in which Docker 28 guards.
    let mut v = docker("-d 127.0.0.1/32", &[]);
    let unsure =
        |v: &View| said(v)[0].message.contains("port, unless the table raw, which is not known, drops it: a neighbour");
    assert!(!unsure(&v));
    v.source = Source::Capture;
    assert!(unsure(&v));
    v.v4.as_mut().unwrap().table_or_new("raw");
    assert!(!unsure(&v));
    // The advice closes it, and a rule about some senders closes it for those.
    assert_eq!(said(&docker("-d 127.0.0.1/32", &["raw PREROUTING | -d 172.17.0.4/32 ! -i docker0 -j DROP"])), []);
    assert!(
        said(&routed(&["filter DOCKER-USER | ! -s 10.9.0.0/16 -d 172.17.0.4/32 -j DROP"]))[0]
            .message
            .contains("lets 10.9.0.0/16 reach")
    );
    // Another filter may close it.
    let mut v = routed(&[]);
    v.other_filters.push(OtherFilter {
        family: Family::V4,
        what: "table inet firewalld".into(),
        see: "nft list ruleset".into(),
        rewrites: false,
    });
    assert_eq!(said(&v), []);
}

#[test]
fn tables_and_other_filters() {
    let mut v = host(&[], &[]);
    for code in ["unreadable-table", "partial-table", "other-filter", "ipv4-unknown", "ipv6-unknown", "never-matches"] {
        check(&v, code, false);
    }
    v.other_filters.push(OtherFilter {
        family: Family::V4,
        what: "table inet firewalld".into(),
        see: "nft list ruleset".into(),
        rewrites: false,
    });
    check(&v, "other-filter", true);
    v.v4.as_mut().unwrap().table_mut("filter").unwrap().unreadable = true;
    check(&v, "unreadable-table", true);
    v.v6 = None;
    check(&v, "ipv6-unknown", true);
    v.v4 = None;
    v.unread[0] = Some("iptables-save failed: for the test".into());
    check(&v, "ipv4-unknown", true);
    assert!(
        Analysis::new(&v).report().warnings.iter().any(|w| w.message.contains("iptables-save failed: for the test"))
    );
    // On a host with only one family nothing is missing of the other.
    v.unread[0] = None;
    v.addrs = Some(vec![LocalAddr { addr: "::1".parse().unwrap(), prefix: 128, interface: "lo".into() }]);
    check(&v, "ipv4-unknown", false);
    let v = host(&["-j DROP", "-p tcp --dport 80 -j ACCEPT"], &[]);
    check(&v, "never-matches", true);
}

#[test]
fn what_decides_elsewhere_and_what_is_not_in_the_text() {
    let all = ["ipvs", "ebpf", "missing-table", "unknown-ipsets"];
    let said = |v: &View| codes(v).into_iter().filter(|c| all.contains(c)).collect::<Vec<_>>();
    let set = |name: &str| IpSet {
        name: name.into(),
        kind: "hash:ip".into(),
        family: Some(Family::V4),
        options: String::new(),
        entries: Vec::new(),
    };
    let mut v = host(
        &["-m set --match-set bad src -j DROP"],
        &["-m set ! --match-set bad6 src -m set --match-set bad src,dst -j DROP"],
    );
    assert_eq!(said(&v), [""; 0]);
    v.source = Source::Capture;
    assert_eq!(said(&v), ["missing-table", "unknown-ipsets"]);
    v.ipsets = Some(vec![set("bad")]);
    let message = |v: &View, code: FindingCode| {
        Analysis::new(v).report().warnings.into_iter().find(|w| w.code == code).unwrap().message
    };
    assert!(
        message(&v, FindingCode::UnknownIpsets).contains("in the text: bad6. "),
        "{}",
        message(&v, FindingCode::UnknownIpsets)
    );
    assert!(message(&v, FindingCode::MissingTable).contains("`iptables-save` and `ip6tables-save`"));
    v.v4.as_mut().unwrap().table_or_new("nat");
    assert_eq!(said(&v), ["unknown-ipsets"]);
    v.v4.as_mut().unwrap().tables.retain(|t| t.name == "nat");
    assert!(message(&v, FindingCode::MissingTable).contains("`iptables-save -t filter`"));
    // kube-proxy in its iptables mode can be read from its rules.
    let v = host(&["nat KUBE-NODEPORTS | -p tcp --dport 30080 -j DNAT --to-destination 10.244.1.7:80"], &[]);
    assert_eq!(said(&v), [""; 0]);
    assert_eq!(said(&host(&["nat KUBE-NODE-PORT | -j ACCEPT"], &[])), ["ipvs"]);
    assert_eq!(said(&host(&["raw CILIUM_PRE_raw | -j ACCEPT"], &[])), ["ebpf"]);
    let mut v = host(&[], &[]);
    v.ipsets = Some(vec![set("KUBE-CLUSTER-IP")]);
    assert_eq!(said(&v), ["ipvs"]);
}

#[test]
fn a_socket_bound_to_an_interface_hears_no_other() {
    let mut v = host(&[], &[]);
    listen(&mut v, Proto::UDP, "0.0.0.0", 67, None);
    let bind = |v: &mut View, device: Option<&str>| v.sockets.as_mut().unwrap()[0].device = device.map(str::to_owned);
    let reach = |v: &View| Analysis::new(v).report().endpoints[0].exposure[0].clone().unwrap();
    assert!(reach(&v).reach.accepted.is_full());
    bind(&mut v, Some("lo"));
    assert!(reach(&v).reach.blocked.is_full());
    bind(&mut v, Some("virbr0"));
    let x = reach(&v);
    assert!(x.reach.depends.is_full(), "{x:?}");
    let by = |name: &str| x.by_interface[name].accepted.clone();
    assert_eq!((by("virbr0"), by("eth0")), (AddrSet::full(Family::V4), AddrSet::empty(Family::V4)));
}

#[test]
fn nat_to_a_socket_that_is_bound_to_an_interface_is_open_there_only() {
    let mut v = host(&["nat PREROUTING | -p udp -m udp --dport 6003 -j DNAT --to-destination 10.0.0.1:67"], &[]);
    listen(&mut v, Proto::UDP, "0.0.0.0", 67, None);
    v.sockets.as_mut().unwrap()[0].device = Some("eth0".into());
    let published = Analysis::new(&v).report().endpoints.into_iter().find(|j| j.endpoint.port == 6003).unwrap();
    let x = published.exposure[0].clone().unwrap();
    assert!(
        x.reach.depends.is_full()
            && x.by_interface["eth0"].accepted.is_full()
            && x.by_interface["virbr0"].blocked.is_full(),
        "{x:?}"
    );
}
