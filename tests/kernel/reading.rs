//! Everything that the real tools print in a private namespace is understood, and loads back into the kernel unchanged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use common::net::{portmapper_answers_udp, tcp_connects};
use common::{Backend, Lab};
use portcullis::model::{Family, Proto};
use portcullis::syntax::{iptables_save, rpcinfo};

#[test]
fn a_real_rpcbind_is_read_in_both_layouts() {
    let Some(lab) = Lab::new(Backend::Nft, 1, &["rpcbind", "rpcinfo", "rpc.statd"]) else { return };
    lab.start_rpcbind();
    let (short, diags) = rpcinfo::read(&lab.server.run(&["rpcinfo", "-p"]));
    assert_eq!(diags, []);
    let short = short.unwrap();
    let of = |program, proto| {
        short
            .iter()
            .find(|s| s.program == program && s.proto == proto)
            .unwrap_or_else(|| panic!("{program} in {short:?}"))
    };
    for proto in [Proto::TCP, Proto::UDP] {
        let (mapper, status) = (of(100_000, proto), of(100_024, proto));
        assert_eq!((mapper.port, &mapper.versions[..], mapper.name.as_str()), (111, &[2, 3, 4][..], "portmapper"));
        assert!(status.port > 0 && status.name == "status");
    }
    // Plain rpcinfo also lists IPv6, and every port of the short list.
    let (long, diags) = rpcinfo::read(&lab.server.run(&["rpcinfo"]));
    assert_eq!(diags, []);
    let long = long.unwrap();
    for s in &short {
        assert!(long.iter().any(|l| (l.program, l.proto, l.port) == (s.program, s.proto, s.port)), "{s:?} in {long:?}");
    }
    // The lab carries real packets: the client reaches the server over both families.
    for to in [Lab::server4(0), Lab::server6(0)] {
        assert!(tcp_connects(&lab.clients[0], to, 111) && portmapper_answers_udp(&lab.clients[0], to), "{to}");
    }
    lab.server.restore("", "*filter\n-A INPUT -p udp -m udp --dport 111 -j DROP\nCOMMIT\n");
    assert!(!portmapper_answers_udp(&lab.clients[0], Lab::server4(0)));
    assert!(portmapper_answers_udp(&lab.clients[0], Lab::server6(0)));
}

#[test]
fn without_rpcbind_there_is_an_error_and_no_empty_list() {
    let Some(lab) = Lab::new(Backend::Nft, 0, &["rpcinfo"]) else { return };
    let out = lab.server.output(&["rpcinfo", "-p"]);
    let (services, diags) = rpcinfo::read(&String::from_utf8_lossy(&out.stderr));
    assert!(!out.status.success() && services.is_none() && !diags.is_empty(), "{out:?} {diags:?}");
}

/// The built-in host's rules, and what else is found on real hosts; every match and target here is really loaded.
const STRANGE: &str = "*filter\n:INPUT DROP [0:0]\n:f2b-sshd - [0:0]\n\
    -A INPUT -p tcp -m multiport --dports 22,80:90 -m comment --comment \"a \\\"quoted\\\" -j DROP\" -j f2b-sshd\n\
    -A INPUT ! -s 192.0.2.0/24 -i eth+ -p udp -m udp --sport 1024:65535 --dport 53 -m limit --limit 5/min -j LOG \
    --log-prefix \"in: \"\n\
    -A INPUT -s 10.0.0.0/255.0.255.0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
    -A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -g f2b-sshd\n\
    -A INPUT -m time --datestop 2031-01-01T00:00:00 -j RETURN\n\
    -A f2b-sshd -p icmp -m icmp --icmp-type 8\n\
    -A f2b-sshd -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n";
const STRANGE6: &str = "*filter\n:INPUT ACCEPT [0:0]\n\
    -A INPUT -s 2001:db8::/32 -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT\n\
    -A INPUT ! -s fe80::/10 -p tcp -m tcp --dport 111 -j REJECT --reject-with icmp6-adm-prohibited\nCOMMIT\n";

#[test]
fn live_rules_are_read_whole_and_written_back_as_the_kernel_prints_them() {
    let demo4 = include_str!("../../assets/demo/iptables-save.txt");
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &[]) else { return };
        for (family, f, text) in [(Family::V4, "", demo4), (Family::V4, "", STRANGE), (Family::V6, "6", STRANGE6)] {
            lab.server.restore(f, text);
            let tool = format!("ip{f}tables-save");
            for (args, counters) in [(&[tool.as_str()][..], false), (&[tool.as_str(), "-c"], true)] {
                let printed = lab.server.run(args);
                let (set, diags) = iptables_save::read(&printed, family);
                assert_eq!(diags, [], "{backend:?}\n{printed}");
                let bare: String =
                    printed.lines().filter(|l| !l.starts_with('#')).fold(String::new(), |all, l| all + l + "\n");
                assert_eq!(iptables_save::write(&set, counters), bare, "{backend:?}");
                if !counters {
                    // And what we write loads again, as the same rules.
                    let written = iptables_save::write(&set, false);
                    let restored = lab.server.with_input(&[&format!("ip{f}tables-restore")], &written);
                    assert!(restored.status.success(), "{restored:?}");
                    assert!(iptables_save::read(&lab.server.run(args), family).0.same_rules(&set));
                }
            }
        }
    }
}

#[test]
fn the_demo_host_prints_what_the_kernel_would() {
    let Some(lab) = Lab::new(Backend::Nft, 0, &[]) else { return };
    for (f, text) in [
        ("", include_str!("../../assets/demo/iptables-save.txt")),
        ("6", include_str!("../../assets/demo/ip6tables-save.txt")),
    ] {
        let out = lab.server.with_input(&[&format!("ip{f}tables-restore"), "-c"], text);
        assert!(out.status.success(), "{out:?}");
        let printed = lab.server.run(&[&format!("ip{f}tables-save"), "-c"]);
        let tables = |t: &str| {
            let mut all: Vec<String> = t
                .split("COMMIT\n")
                .map(|p| p.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n"))
                .filter(|p| !p.is_empty())
                .collect();
            all.sort();
            all
        };
        assert_eq!(tables(&printed), tables(text));
    }
}
