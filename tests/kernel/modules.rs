//! Every match and target module of this kernel: what `iptables -L` prints of a rule, with any flags, is read as the
//! rule that `iptables-save` prints; and what is written loads again as the same rules.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use crate::common;

use common::{Backend, Lab};
use portcullis::model::{Family, Hidden, Ruleset};
use portcullis::observe::capture::{Input, captured};
use portcullis::syntax::iptables_save;

/// Rules of the filter table, INPUT, of either family.
const BOTH: &[&str] = &[
    "-p tcp -m tcp --sport 1024:65535 ! --dport 22 ! --tcp-flags SYN,RST SYN -m state --state NEW,UNTRACKED -j ACCEPT",
    "-p tcp -m tcp --dport 7001 --tcp-option 5 -j DROP",
    "-p tcp -m tcp --dport 111 -m tcp --sport 7001",
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j DROP",
    "-p udp -m udp --sport 67:68 --dport 53 -j ACCEPT",
    "-p udplite -j ACCEPT",
    "-p sctp -m sctp --sport 5 --dport 9 --chunk-types any DATA:Be,ABORT:T -j ACCEPT",
    "-p sctp -m sctp --chunk-types only INIT,SHUTDOWN_COMPLETE -j DROP",
    "-p dccp -m dccp --sport 1:9 ! --dport 5 --dccp-types REQUEST,DATA,INVALID -j ACCEPT",
    "-p esp -m esp --espspi 1:32 -j ACCEPT",
    "-p esp -m esp ! --espspi 500 -j ACCEPT",
    "-p ipcomp -m ipcomp --ipcompspi 18 -j DROP",
    "! -p tcp -j ACCEPT",
    "-p gre -j ACCEPT",
    "-p vrrp -j ACCEPT",
    "-p 253 -j ACCEPT",
    "-i eth+ -m comment --comment \"a b; /* c */ tcp dpt:22\" -j ACCEPT",
    "! -i lo -m comment --comment \"it's \\\"quoted\\\" \\\\ back\" -j DROP",
    "-m comment --comment x -m comment --comment \"-j DROP\" -j ACCEPT",
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-m conntrack --ctstate DNAT --ctproto 6 --ctorigdstport 80:90 --ctdir ORIGINAL -j ACCEPT",
    "-m conntrack ! --ctstate INVALID,SNAT ! --ctstatus ASSURED --ctexpire 10:20 -j ACCEPT",
    "-p tcp -m multiport ! --dports 22,80,8000:8080 -j DROP",
    "-p udp -m multiport --ports 53,5353 -j ACCEPT",
    "-p udp -m multiport --sports 53,67:68 -j ACCEPT",
    "-m limit --limit 7/min --limit-burst 99 -j RETURN",
    "-m limit --limit 1/sec -j ACCEPT",
    "-p tcp -m tcp --dport 22 -m hashlimit --hashlimit-above 3/min --hashlimit-burst 3 --hashlimit-mode srcip,dstport \
        --hashlimit-name ssh --hashlimit-htable-size 1024 --hashlimit-srcmask 24 -j DROP",
    "-m hashlimit --hashlimit-upto 10mb/s --hashlimit-name bytes -j ACCEPT",
    "-m recent --set --name DEFAULT --mask MASK --rsource",
    "-m recent --rcheck --seconds 60 --reap --hitcount 4 --rttl --name SSH --mask MASK --rsource -j DROP",
    "-m recent ! --update --seconds 5 --name X --mask MASK --rdest -j DROP",
    "-m mac --mac-source 00:11:22:33:44:55 -j ACCEPT",
    "-m mac ! --mac-source 00:11:22:33:44:55 -j ACCEPT",
    "-m mark ! --mark 0x0 -j DROP",
    "-m mark --mark 0x1/0xff -j ACCEPT",
    "-m connmark ! --mark 0x10/0xf0 -j ACCEPT",
    "-m connlimit --connlimit-upto 3 --connlimit-mask 24 --connlimit-saddr -j ACCEPT",
    "-m connlimit --connlimit-above 9 --connlimit-mask 32 --connlimit-daddr -j DROP",
    "-m connlabel ! --label \"41\" --set",
    "-m connbytes --connbytes 1000:2000 --connbytes-mode bytes --connbytes-dir both -j ACCEPT",
    "-m physdev --physdev-in vif+ ! --physdev-out eth0 --physdev-is-bridged -j ACCEPT",
    "-m pkttype ! --pkt-type unicast -j DROP",
    "-m length --length 0:1500 -j ACCEPT",
    "-m length ! --length 40 -j DROP",
    "-m helper --helper \"ftp-21\" -j ACCEPT",
    "-m quota --quota 1000000 -j ACCEPT",
    "-m u32 --u32 \"0x0=0x0:0xff&&0x4&0xff=0x1,0x2\" -j DROP",
    "-m policy --dir in --pol none -j ACCEPT",
    "-m policy --dir in --pol ipsec --strict --reqid 1 --proto esp --mode tunnel -j ACCEPT",
    "-m statistic --mode random --probability 0.33333333349 -j DROP",
    "-m statistic --mode nth --every 3 --packet 1 -j DROP",
    "-m string --string \"GET /x y\" --algo bm --from 40 --to 500 -j DROP",
    "-m string --hex-string \"|0d0a|\" --algo kmp --icase -j DROP",
    "-m time --timestart 22:00:00 --timestop 06:00:00 --monthdays 1,2 --weekdays Sat,Sun --datestop \
    2031-01-01T00:00:00 -j DROP",
    "-m time --timestart 22:00:00 --timestop 06:00:00 --datestart 2031-01-01T00:00:01 --datestop 2038-01-19T03:14:07 \
        --kerneltz --contiguous -j DROP",
    "-m cpu ! --cpu 1 -j ACCEPT",
    "-m cgroup --cgroup 5 -j ACCEPT",
    "-m devgroup ! --src-group 0x0/0x1 -j ACCEPT",
    "-m socket --nowildcard --transparent -j ACCEPT",
    "-m dscp --dscp 0x2e -j ACCEPT",
    "-m tos --tos 0x10/0x3f -j ACCEPT",
    "-m tos ! --tos 0x04/0xff -j ACCEPT",
    "-p tcp -m ecn ! --ecn-tcp-ece --ecn-tcp-cwr --ecn-ip-ect 2 -j ACCEPT",
    "-p tcp -m tcpmss --mss 0:500 -j DROP",
    "-m cluster --cluster-local-nodemask 0x00000002 --cluster-total-nodes 2 --cluster-hash-seed 0xfeedcafe",
    "-m bpf --bytecode \"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0\" -j ACCEPT",
    "-p udp -m udp --dport 53 -m bpf --bytecode \"1,6 0 0 1\" -m limit --limit 1/sec -j ACCEPT",
    "-j RATEEST --rateest-name RE1 --rateest-interval 250.0ms --rateest-ewmalog 500.0ms",
    "-m rateest --rateest RE1 --rateest-gt --rateest-bps 5000bit -j DROP",
    "-m rateest --rateest-delta --rateest RE1 --rateest-pps1 8 --rateest-lt --rateest-pps2 9 -j DROP",
    "-j LOG",
    "-j LOG --log-prefix \"a DROP: dpt:22 \" --log-level 7 --log-tcp-sequence --log-tcp-options --log-ip-options \
    --log-uid --log-macdecode",
    "-j NFLOG --nflog-prefix \"a b\" --nflog-group 30 --nflog-threshold 5",
    "-j NFQUEUE --queue-balance 0:3 --queue-bypass --queue-cpu-fanout",
    "-j AUDIT --type drop",
    "-j REJECT --reject-with REJECT",
    "-p tcp -j REJECT --reject-with tcp-reset",
    "-j HMARK --hmark-src-prefix 32 --hmark-rnd 0x00000004 --hmark-mod 42 --hmark-offset 1 --hmark-tuple ct",
    "-j IDLETIMER --timeout 42 --label foo --alarm",
    "-p tcp -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460",
    "-m set --match-set SET src -j DROP",
    "-m set ! --match-set SET dst --return-nomatch --packets-gt 5 -j ACCEPT",
    "-j SET --add-set SET src --exist --timeout 60",
    "-g U~s+e_r.chain-of-28-chars-x",
];

/// Rules of one family's filter table, INPUT.
const ONLY: [&[&str]; 2] = [
    &[
        "-p icmp -m icmp --icmp-type any -j ACCEPT",
        "-p icmp -m icmp --icmp-type 3/4 -j ACCEPT",
        "-p icmp -m icmp ! --icmp-type 8 -j ACCEPT",
        "-s 10.0.0.0/255.0.255.0 -j ACCEPT",
        "! -s 10.0.0.1/32 ! -d 10.1.0.0/16 -j ACCEPT",
        "-f -j DROP",
        "! -f -j DROP",
        "-m iprange --src-range 10.0.0.1-10.0.0.9 ! --dst-range 10.1.0.1-10.1.0.9 -j ACCEPT",
        "-m ttl --ttl-lt 5 -j DROP",
        "-m ttl ! --ttl-eq 64 -j DROP",
        "-m realm --realm 0x1/0xff -j ACCEPT",
        "-p ah -m ah --ahspi 5:9 -j ACCEPT",
        "-m addrtype ! --src-type LOCAL --dst-type BROADCAST,MULTICAST --limit-iface-in -j DROP",
        "-p tcp -m osf --genre Linux -j DROP",
    ],
    &[
        "-p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT",
        "-p ipv6-icmp -m icmp6 ! --icmpv6-type 1/4 -j ACCEPT",
        "! -s fd00::1/128 ! -d fd00::/16 -j ACCEPT",
        "-m iprange --src-range fd00::1-fd00::9 -j ACCEPT",
        "-m hl --hl-gt 5 -j DROP",
        "-m hl ! --hl-eq 64 -j DROP",
        "-m ah --ahspi 5 ! --ahlen 7 --ahres -j ACCEPT",
        "-m frag ! --fragid 1 --fraglen 42 --fragres --fragfirst --fragmore -j DROP",
        "-m frag --fragid 1:42 --fraglast -j DROP",
        "-m hbh ! --hbh-len 42 --hbh-opts 1:2,23:42,4 -j DROP",
        "-m dst --dst-len 42 --dst-opts 149:92,12 -j DROP",
        "-m rt ! --rt-type 0 --rt-segsleft 1:23 --rt-len 42 -j DROP",
        "-m rt --rt-type 0 --rt-0-res -j DROP",
        "-m ipv6header --header hop-by-hop,ipv6-frag --soft -j DROP",
        "-p mobility-header -m mh ! --mh-type 4:7 -j DROP",
        "-m srh ! --srh-next-hdr 17 --srh-segs-left-eq 1 --srh-tag 0 -j DROP",
        "-m srh --srh-psid a::/64 ! --srh-nsid b::/128 -j DROP",
        "-m addrtype --dst-type ANYCAST -j DROP",
    ],
];

/// Table and chain, then rules of one family or both.
type Place = (&'static str, &'static str, [&'static [&'static str]; 2], &'static [&'static str]);

const ELSEWHERE: &[Place] = &[
    (
        "raw",
        "PREROUTING",
        [&[], &[]],
        &[
            "-j CT --notrack",
            "-j CT --zone 5",
            "-j CT --zone-orig mark",
            "-j CT --ctevents new,destroy --zone-reply 7",
            "-j TRACE",
            "-m rpfilter --loose --validmark --invert -j DROP",
            "-p tcp -m tcp --dport 21 -j CT --helper ftp",
        ],
    ),
    (
        "mangle",
        "PREROUTING",
        [
            &[
                "-j TTL --ttl-set 64",
                "-j TTL --ttl-dec 1",
                "-p udp -j TPROXY --on-port 12345 --on-ip 10.0.0.1 --tproxy-mark 0x23/0xff",
            ],
            &[
                "-j HL --hl-set 64",
                "-j HL --hl-inc 1",
                "-p udp -j TPROXY --on-port 12345 --on-ip fd00::1 --tproxy-mark 0x23/0xff",
                "-j DNPT --src-pfx dead::/64 --dst-pfx 1c3::/64",
            ],
        ],
        &[
            "-p tcp -m tcp --tcp-flags SYN,RST SYN -m tcpmss --mss 1452:1536 -j TCPMSS --set-mss 1452",
            "-p tcp -j TCPOPTSTRIP --strip-options 2,3,4,5,8,19,77",
            "-j MARK --set-xmark 0x1/0xff",
            "-j MARK --set-xmark 0x10/0x10",
            "-j MARK --set-xmark 0x0/0xffffffef",
            "-j MARK --set-xmark 0x5/0x0",
            "-j MARK --set-xmark 0x5/0xffffffff",
            "-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff",
            "-j CONNMARK --save-mark --nfmask 0xffff --ctmask 0xffffffff",
            "-j CONNMARK --set-xmark 0x5/0xf",
            "-j TOS --set-tos 0x10/0x3f",
            "-j TOS --set-tos 0x1f/0x1f",
            "-j TOS --set-tos 0x12/0x00",
            "-j DSCP --set-dscp 0x2e",
        ],
    ),
    (
        "mangle",
        "POSTROUTING",
        [&["-j TEE --gateway 10.0.0.1", "-p tcp -j ECN --ecn-tcp-remove"], &["-j TEE --gateway fd00::1"]],
        &[
            "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
            "-j CLASSIFY --set-class 0001:0020",
            "-o eth1 -j CHECKSUM --checksum-fill",
            "-m owner --uid-owner 0 -j ACCEPT",
            "-m owner ! --gid-owner 60000-60010 --suppl-groups -j ACCEPT",
            "-m owner ! --socket-exists -j ACCEPT",
        ],
    ),
    (
        "nat",
        "PREROUTING",
        [
            &[
                "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1-10.0.0.9:80-90 --random --persistent",
                "-d 10.0.0.0/24 -j NETMAP --to 10.1.0.0/24",
            ],
            &[
                "-p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00::1]:8080",
                "-j DNAT --to-destination fd00::1-fd00::9",
            ],
        ],
        &[
            "-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080-8090 --random",
            "-j REDIRECT",
            "-p tcp -j DNAT --to-destination :8080",
        ],
    ),
    (
        "nat",
        "POSTROUTING",
        [
            &[
                "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
                "-j SNAT --to-source 10.0.0.1-10.0.0.9 --random-fully --persistent",
            ],
            &["-j SNAT --to-source fd00::1"],
        ],
        &["-p tcp -j MASQUERADE --to-ports 1024-31000 --random-fully"],
    ),
    ("security", "INPUT", [&[], &[]], &["-j CONNSECMARK --save", "-j CONNSECMARK --restore"]),
];

/// Loads the rules that this kernel accepts, and returns those that it refuses.
fn load(lab: &Lab, backend: Backend, family: Family) -> Vec<String> {
    let (tool, mask, reject, set) = match family {
        Family::V4 => ("iptables", "255.255.255.255", "icmp-port-unreachable", "four"),
        Family::V6 => ("ip6tables", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "icmp6-adm-prohibited", "six"),
    };
    lab.server.run(&[tool, "-N", "U~s+e_r.chain-of-28-chars-x"]);
    let mut refused = Vec::new();
    let input = BOTH.iter().chain(ONLY[family.index()]).map(|r| ("filter", "INPUT", *r));
    let elsewhere = ELSEWHERE
        .iter()
        .flat_map(|(t, c, only, both)| only[family.index()].iter().chain(*both).map(move |r| (*t, *c, *r)));
    for (table, chain, rule) in input.chain(elsewhere) {
        let rule = rule
            .replace("MASK ", &format!("{mask} "))
            .replace("--reject-with REJECT", &format!("--reject-with {reject}"))
            .replace(" SET ", &format!(" {set} "))
            .replace(&format!("-j {set} "), "-j SET ");
        let out = lab
            .server
            .with_input(&[&format!("{tool}-restore"), "--noflush"], &format!("*{table}\n-A {chain} {rule}\nCOMMIT\n"));
        if !out.status.success() {
            let why = String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or_default().to_owned();
            refused.push(format!("{backend:?} {tool} -t {table}: {rule} ({why})"));
        }
    }
    refused
}

/// A rule without what listings cannot show: the name of a hashlimit and, without `-v`, the interfaces.
fn shown(text: &str, verbose: bool) -> String {
    let hidden: &[&str] = if verbose { &["--hashlimit-name"] } else { &["--hashlimit-name", "-i", "-o"] };
    let mut out: Vec<&str> = Vec::new();
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        if hidden.contains(&word) {
            words.next();
            if out.last() == Some(&"!") {
                out.pop();
            }
        } else {
            out.push(word);
        }
    }
    out.join(" ")
}

fn rules(set: &Ruleset, verbose: bool) -> Vec<(String, String, Vec<String>)> {
    set.tables
        .iter()
        .flat_map(|t| {
            t.chains.iter().map(move |c| {
                (t.name.clone(), c.name.clone(), c.rules.iter().map(|r| shown(&r.text, verbose)).collect())
            })
        })
        .collect()
}

#[test]
fn a_listing_of_every_module_is_read_as_the_rule_that_was_loaded() {
    for backend in Backend::BOTH {
        for (family, tool) in [(Family::V4, "iptables"), (Family::V6, "ip6tables")] {
            let Some(lab) = Lab::new(backend, 0, &["ipset"]) else { return };
            lab.server.run(&["ipset", "create", "four", "hash:ip", "timeout", "0"]);
            lab.server.run(&["ipset", "create", "six", "hash:ip", "family", "inet6", "timeout", "0"]);
            let refused = load(&lab, backend, family);
            let printed = lab.server.run(&[&format!("{tool}-save")]);
            let (set, diags) = iptables_save::read(&printed, family);
            assert_eq!(diags, []);
            let mut compared = 0;
            for table in ["filter", "raw", "mangle", "nat", "security"] {
                let mut saved = Ruleset::new(family);
                saved.tables.extend(set.table(table).cloned());
                for flags in [
                    &["-S"][..],
                    &["-L"],
                    &["-L", "-v"],
                    &["-L", "-n"],
                    &["-L", "-n", "-v"],
                    &["-L", "-n", "-v", "-x", "--line-numbers"],
                ] {
                    let argv: Vec<&str> = [tool, "-t", table].into_iter().chain(flags.iter().copied()).collect();
                    let text = lab.server.run(&argv);
                    // The command line before it names family and table, as in a paste.
                    let view = captured(&[Input {
                        name: "x".into(),
                        text: format!("$ {}\n{text}", argv.join(" ")),
                        family: None,
                    }]);
                    let verbose = flags.contains(&"-v") || flags.contains(&"-S");
                    let read = view.rules(family).unwrap_or_else(|| panic!("{argv:?}\n{text}"));
                    for (ours, theirs) in rules(read, verbose).iter().zip(rules(&saved, verbose)) {
                        assert_eq!(
                            (&ours.0, &ours.1, ours.2.len()),
                            (&theirs.0, &theirs.1, theirs.2.len()),
                            "{backend:?} {argv:?}"
                        );
                        for (a, b) in ours.2.iter().zip(theirs.2) {
                            assert_eq!(*a, b, "{backend:?} {argv:?}");
                            compared += 1;
                        }
                    }
                    let hidden = Hidden { interfaces: !verbose, cut: false };
                    assert!(
                        read.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules).all(|r| r.hidden == hidden),
                        "{argv:?}"
                    );
                }
            }
            // The writer loses nothing of all this.
            let written = iptables_save::write(&set, false);
            let out = lab.server.with_input(&[&format!("{tool}-restore")], &written);
            assert!(out.status.success(), "{out:?}\n{written}");
            let again = lab.server.run(&[&format!("{tool}-save")]);
            assert!(iptables_save::read(&again, family).0.same_rules(&set), "{backend:?} {tool}");
            println!(
                "{backend:?} {tool}: {} rules loaded, {compared} rows compared; refused by this kernel: {refused:#?}",
                set.rule_count()
            );
            assert!(set.rule_count() > 100 && refused.len() < 15, "{refused:#?}");
        }
    }
}
