use super::*;

/// The rules of a listing with this heading and these rows, as `-A` arguments.
fn rules(header: &str, rows: &str) -> Vec<String> {
    let text = format!("Chain INPUT (policy ACCEPT)\n{header}\n{rows}");
    let (set, _) = read(&text, Family::V4);
    set.chain("filter", "INPUT").unwrap().rules.iter().map(|r| r.text.to_string()).collect()
}

const PLAIN: &str = "target     prot opt source               destination         ";
const VERBOSE: &str = " pkts bytes target     prot opt in     out     source               destination         ";

#[test]
fn the_story_reads_as_its_administrator_meant_it() {
    let rows = "ACCEPT     tcp  --  anywhere             172.17.0.2           tcp dpt:9042\n\
        ACCEPT     tcp  --  anywhere             172.17.0.2           tcp dpt:afs3-callback\n\
        ACCEPT     all  --  anywhere             anywhere             ctstate RELATED,ESTABLISHED\n\
        RETURN     all  --  anywhere             anywhere\n";
    assert_eq!(
        rules(PLAIN, rows),
        [
            "-d 172.17.0.2/32 -p tcp -m tcp --dport 9042 -j ACCEPT",
            "-d 172.17.0.2/32 -p tcp -m tcp --dport 7001 -j ACCEPT",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-j RETURN",
        ]
    );
}

#[test]
fn columns_of_verbose_listings() {
    let rows = "    0     0 DROP       all  --  !eth+  *       192.0.2.0/24        !198.51.100.1        \n\
        5255M   24T ufw-long-chain-name  all  --  *      any     0.0.0.0/0            0.0.0.0             \n\
        0     0            6    --  *      *       0.0.0.0/0            0.0.0.0/0            tcp dpt:111\n\
        0     0 DROP      !tcp  --  *      eth0    0.0.0.0/0            0.0.0.0/0\n\
        0     0 LSI        all  -f  *      *       0.0.0.0/0            0.0.0.0/0           limit: avg 10/min burst \
        5 \n";
    assert_eq!(
        rules(VERBOSE, rows),
        [
            "-s 192.0.2.0/24 ! -d 198.51.100.1/32 ! -i eth+ -j DROP",
            "-d 0.0.0.0/32 -j ufw-long-chain-name",
            "-p tcp -m tcp --dport 111",
            "-o eth0 ! -p tcp -j DROP",
            "-f -m limit --limit 10/min -j LSI",
        ]
    );
}

#[test]
fn old_and_glued_texts() {
    let rows = "ACCEPT tcp -- 0.0.0.0/0 0.0.0.0/0 state NEW tcp dpt:22flags: 0x17/0x02\n\
        ACCEPT tcp -- 0.0.0.0/0 0.0.0.0/0 tcpflags: 0x17/0x02 multiport dports 22,http\n\
        FWDI_public  all  --  0.0.0.0/0            0.0.0.0/0           [goto] \n\
        LOG all -- 0.0.0.0/0 0.0.0.0/0 LOG flags 0 level 6 prefix `a DROP: dpt:22 ' \n\
        TCPMSS tcp -- 0.0.0.0/0 0.0.0.0/0 tcpmss match 1452:1536TCPMSS set 1452\n\
        ACCEPT icmp -- 0.0.0.0/0 0.0.0.0/0 icmp type 3 code 1 \n";
    assert_eq!(
        rules(PLAIN, rows),
        [
            "-p tcp -m state --state NEW -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT",
            "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m multiport --dports 22,80 -j ACCEPT",
            "-g FWDI_public",
            "-j LOG --log-prefix \"a DROP: dpt:22 \" --log-level 6",
            "-p tcp -m tcpmss --mss 1452:1536 -j TCPMSS --set-mss 1452",
            "-p icmp -m icmp --icmp-type 3/1 -j ACCEPT",
        ]
    );
}

#[test]
fn modules_that_few_kernels_have() {
    let rows = "           all  --  anywhere             anywhere             vproto 6 vaddr 1.2.3.4 ! vport 22 vdir \
        ORIGINAL vmethod GATE\n\
        DROP       all  --  anywhere             anywhere             ! ipvs\n\
        ACCEPT     all  --  anywhere             anywhere             match bpf pinned /sys/fs/bpf/x tcp dpt:22\n\
        ACCEPT     all  --  anywhere             anywhere            match bpf 6 0 0 1\0 limit: avg 1/sec burst 5\n\
        ACCEPT     all  --  anywhere             anywhere             cgroup ! /user.slice\n\
        ACCEPT     all  --  anywhere             anywhere             ! owner UID match root incl. suppl. groups\n\
        LED        all  --  anywhere             anywhere             led-trigger-id:\"foo\" led-delay:42ms \
        led-always-blink\n\
        CLUSTERIP  all  --  anywhere             anywhere             CLUSTERIP hashmode=sourceip \
        clustermac=01:00:5E:00:00:01 total_nodes=2 local_node=1 hash_init=0\n\
        TOS        all  --  anywhere             anywhere             TOS setMinimize-Delay\n\
        TOS        all  --  anywhere             anywhere             TOS and 0x12\n\
        ACCEPT     all  --  default/8            loopback/8           tos match!Minimize-Cost\n";
    assert_eq!(
        rules(PLAIN, rows),
        [
            "-m ipvs --vproto 6 --vaddr 1.2.3.4 ! --vport 22 --vdir ORIGINAL --vmethod GATE",
            "-m ipvs ! --ipvs -j DROP",
            "-m bpf --object-pinned /sys/fs/bpf/x -m tcp --dport 22 -j ACCEPT",
            "-m bpf --bytecode \"1,6 0 0 1\" -m limit --limit 1/sec -j ACCEPT",
            "-m cgroup ! --path \"/user.slice\" -j ACCEPT",
            "-m owner ! --uid-owner 0 --suppl-groups -j ACCEPT",
            "-j LED --led-trigger-id \"foo\" --led-delay 42 --led-always-blink",
            "-j CLUSTERIP --new --hashmode sourceip --clustermac 01:00:5E:00:00:01 --total-nodes 2 --local-node 1 \
                --hash-init 0",
            "-j TOS --set-tos 0x10/0x3f",
            "-j TOS --set-tos 0x00/0xed",
            "-s 0.0.0.0/8 -d 127.0.0.0/8 -m tos ! --tos 0x02/0x3f -j ACCEPT",
        ]
    );
}

#[test]
fn anywhere_of_ip6tables_may_be_a_network() {
    let (set, _) = read(
        &format!("Chain INPUT (policy ACCEPT)\n{PLAIN}\nDROP all -- !anywhere anywhere ah spi:5length:!7 reserved\n"),
        Family::V6,
    );
    let rule = &set.chain("filter", "INPUT").unwrap().rules[0];
    assert_eq!(&*rule.text, "! -s anywhere -m ah --ahspi 5 ! --ahlen 7 --ahres -j DROP");
    assert!(rule.spec(Family::V6).matches.iter().any(|m| matches!(m, crate::model::Match::Unknown(_))));
}

#[test]
fn old_ip6tables_leaves_the_opt_column_empty() {
    let text = "Chain INPUT (policy DROP)\nnum  target     prot opt source               destination         \n\
        1    ACCEPT     icmpv6    ::/0                 ::/0                \n\
        2    ACCEPT     tcp      ::/0                 ::/0                state NEW tcp dpt:22 \n\
        3               tcp      fe80::/10            ::/0                tcp dpt:25\n";
    let (set, _) = read(text, Family::V6);
    let chain = set.chain("filter", "INPUT").unwrap();
    let texts: Vec<&str> = chain.rules.iter().map(|r| &*r.text).collect();
    assert_eq!(
        texts,
        [
            "-p ipv6-icmp -j ACCEPT",
            "-p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT",
            "-s fe80::/10 -p tcp -m tcp --dport 25",
        ]
    );
    assert!(!chain.partial);
}

#[test]
fn unknown_words_are_kept_and_decide_nothing() {
    let rows = "ACCEPT tcp -- hotspot.lan anywhere weird match 1 2 /* x */\n";
    assert_eq!(rules(PLAIN, rows), ["-s hotspot.lan -p tcp -m unlisted --text \"weird match 1 2 /* x */\" -j ACCEPT"]);
    let spec = crate::model::Rule::new(&rules(PLAIN, rows)[0]).spec(Family::V4);
    assert!(spec.matches.iter().filter(|m| matches!(m, crate::model::Match::Unknown(_))).count() >= 2);
}

#[test]
fn counters_policies_and_hidden_interfaces() {
    let text = "Chain INPUT (policy DROP 19072 packets, 6599K bytes)\n pkts bytes target     prot opt \
        source               destination\n\
        118K  154M ACCEPT     all  --  0.0.0.0/0            0.0.0.0/0\n\nChain DOCKER (2 references)\n";
    let (set, diags) = read(text, Family::V4);
    let chain = set.chain("filter", "INPUT").unwrap();
    assert_eq!((chain.policy, chain.counters), (Some(Policy::Drop), (19072, 6_599_000)));
    assert_eq!(
        (chain.rules[0].packets, chain.rules[0].bytes, chain.rules[0].hidden.interfaces),
        (118_000, 154_000_000, true)
    );
    assert_eq!(set.chain("filter", "DOCKER").unwrap().policy, None);
    assert!(diags.iter().any(|d| d.message.starts_with(NO_INTERFACES)));
}

#[test]
fn listings_with_gaps_or_cut_rows_are_partial() {
    for (rows, why) in [
        ("ACCEPT all -- 0.0.0.0/0 0.0.0.0/0\n...\n", "missing here"),
        ("ACCEPT all -- 0.0.0.0/0 0.0.0.0/0\nREJECT     ", "truncated"),
        (
            "DROP       all  --  10.0.0.1             0.0.0.0/0           \nDROP       all  --  0.0.0.0/0            \
                0.0.0",
            "end inside",
        ),
    ] {
        let (set, diags) = read(&format!("Chain INPUT (policy ACCEPT)\n{PLAIN}\n{rows}"), Family::V4);
        assert!(set.chain("filter", "INPUT").unwrap().partial, "{rows}");
        assert!(diags.iter().any(|d| d.message.contains(why)), "{rows}: {diags:?}");
    }
    let (set, _) =
        read(&format!("Chain INPUT (policy ACCEPT)\nnum  {PLAIN}\n7    DROP all -- 0.0.0.0/0 0.0.0.0/0\n"), Family::V4);
    assert!(set.chain("filter", "INPUT").unwrap().partial);
}

#[test]
fn rows_without_any_heading() {
    let (set, diags) = read(
        "ACCEPT     icmp --  anywhere             hotspot\n7        0     0 DROP       all  --  wlan0  *       \
            0.0.0.0/0            255.255.255.255\n",
        Family::V4,
    );
    let chain = set.chain("filter", "INPUT").unwrap();
    assert!(chain.partial && chain.policy == Some(Policy::Unknown));
    assert!(!diags.is_empty());
    let (set, _) =
        read("7        0     0 DROP       all  --  wlan0  *       0.0.0.0/0            255.255.255.255\n", Family::V4);
    assert_eq!(&*set.chain("filter", "INPUT").unwrap().rules[0].text, "-d 255.255.255.255/32 -i wlan0 -j DROP");
}

#[test]
fn a_comment_may_hold_its_own_end() {
    let rows = "ACCEPT tcp -- anywhere anywhere /* a */ tcp dpt:22; x */ tcp dpt:80 /* again */\n";
    assert_eq!(
        rules(PLAIN, rows),
        ["-p tcp -m comment --comment \"a */ tcp dpt:22; x\" -m tcp --dport 80 -m comment --comment again -j ACCEPT"]
    );
}
