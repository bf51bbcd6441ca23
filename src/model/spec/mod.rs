//! What a rule means: its matches and its target, read from the argument text (iptables(8), iptables-extensions(8)).
//! What is not understood becomes [`Match::Unknown`].

mod read;
mod target;
mod words;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Family, Net, PortSet, Proto};

pub(super) use target::is_extension;
pub use target::{BitOp, MarkMasks, NatTo, Target};
pub use words::flags as tcp_flags;

/// An interface name; a trailing `+` matches every name with that prefix (iptables(8), `-i`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IfaceMatch(pub String);

impl IfaceMatch {
    /// Whether it matches an interface of this name.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('+') {
            Some(stem) => name.starts_with(stem),
            None => name == self.0,
        }
    }
}

/// The end of a packet that an address match looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Source.
    Src,
    /// Destination.
    Dst,
}

/// Which interface's addresses count as local for an addrtype match (`--limit-iface-in`, `--limit-iface-out`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IfaceLimit {
    /// Those of all interfaces.
    None,
    /// Those of the interface on which the packet arrives.
    In,
    /// Those of the interface through which it leaves.
    Out,
}

/// One condition; the first field of each is whether it is negated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// `-s`
    Source(bool, Net),
    /// `-d`
    Destination(bool, Net),
    /// `-i`
    InInterface(bool, IfaceMatch),
    /// `-o`
    OutInterface(bool, IfaceMatch),
    /// `-p`
    Protocol(bool, Proto),
    /// `--sport`, multiport `--sports`
    SourcePorts(bool, PortSet),
    /// `--dport`, multiport `--dports`
    DestinationPorts(bool, PortSet),
    /// multiport `--ports`: either end
    EitherPorts(bool, PortSet),
    /// `--tcp-flags MASK COMP`, `--syn`
    TcpFlags(bool, u8, u8),
    /// `--tcp-option`: whether the header has an option with that number
    TcpOption(bool, u8),
    /// `--icmp-type`, `--icmpv6-type`: type and codes
    IcmpType(bool, u8, RangeInclusive<u8>),
    /// iprange `--src-range`, `--dst-range`
    Range(bool, End, IpAddr, IpAddr),
    /// addrtype `--src-type`, `--dst-type`: names in upper case
    AddrType(bool, End, Vec<String>, IfaceLimit),
    /// `--pkt-type`, in lower case
    PktType(bool, String),
    /// `--match-set NAME src,dst`
    Set(bool, String, Vec<End>),
    /// `-m length --length`: bytes of the whole packet, IP header included (xt_length.c; iptables-extensions(8) says
    /// otherwise)
    Length(bool, RangeInclusive<u16>),
    /// `-m mark --mark VALUE/MASK`
    Mark(bool, u32, u32),
    /// `-m connmark --mark VALUE/MASK`
    ConnMark(bool, u32, u32),
    /// `--state` / `--ctstate`, the names in upper case
    CtState(bool, Vec<String>),
    /// `--ctdir ORIGINAL` is `true`
    CtDirOriginal(bool),
    /// `-m conntrack` without `--ctstate` also requires that there is a connection. The options themselves also match
    /// packets without one.
    CtTracked,
    /// `--ctorigsrc`
    CtOrigSrc(bool, Net),
    /// `--ctorigdst`
    CtOrigDst(bool, Net),
    /// `--ctorigsrcport`
    CtOrigSrcPort(bool, RangeInclusive<u16>),
    /// `--ctorigdstport`
    CtOrigDstPort(bool, RangeInclusive<u16>),
    /// `--ctproto`
    CtProto(bool, Proto),
    /// `-f`: second and further fragments
    Fragment(bool),
    /// `--comment`: never decides
    Comment(String),
    /// `--datestart`/`--datestop` alone, seconds since 1970 UTC (xt_time)
    Dates(Option<i64>, Option<i64>),
    /// Anything else, word for word
    Unknown(String),
}

/// The meaning of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// All of them must match.
    pub matches: Vec<Match>,
    /// What happens then.
    pub target: Target,
}

impl Spec {
    /// Reads the arguments of a rule. Never fails: unknown words become [`Match::Unknown`].
    pub fn parse(text: &str, family: Family) -> Self {
        read::spec(text, family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Spec {
        Spec::parse(text, Family::V4)
    }

    #[test]
    fn reads_the_rules_of_the_story() {
        let s = parse("-s 192.0.2.11/32 -p tcp -m tcp --dport 111 -j ACCEPT");
        assert_eq!(s.target, Target::Accept);
        assert_eq!(s.matches.len(), 3);
        assert_eq!(s.matches[2], Match::DestinationPorts(false, PortSet::from_iter([111])));
    }

    #[test]
    fn ports_by_any_name_of_the_registry() {
        let ports = |text: &str| {
            parse(text)
                .matches
                .iter()
                .find_map(|m| if let Match::DestinationPorts(_, p) = m { p.first() } else { None })
        };
        assert_eq!(ports("-p tcp -m tcp --dport zabbix-agent -j ACCEPT"), Some(10050));
        assert_eq!(ports("-p tcp -m multiport --dports sunrpc,nfs -j ACCEPT"), Some(111));
        assert_eq!(
            parse("-p tcp -m tcp --dport no-such-name -j DROP").matches[1],
            Match::Unknown("--dport no-such-name".into())
        );
    }

    #[test]
    fn a_comment_is_never_taken_for_options() {
        let s = parse(r#"-m comment --comment "-j DROP --dport 22" -j ACCEPT"#);
        assert_eq!(s.target, Target::Accept);
        assert_eq!(s.matches, [Match::Comment("-j DROP --dport 22".into())]);
    }

    #[test]
    fn negation_in_both_styles() {
        assert_eq!(parse("-d ! 10.0.0.0/8 -j DROP"), parse("! -d 10.0.0.0/8 -j DROP"));
        assert_eq!(parse("! -i lo -j X").matches, [Match::InInterface(true, IfaceMatch("lo".into()))]);
    }

    #[test]
    fn unknown_modules_are_kept() {
        let s = parse("-m hashlimit --hashlimit-above 5/min --hashlimit-name x -j DROP");
        assert_eq!(s.matches, [Match::Unknown("--hashlimit-above 5/min --hashlimit-name x".into())]);
    }

    #[test]
    fn a_module_without_options_of_ours_is_a_condition_too() {
        assert_eq!(parse("-m socket -j DROP").matches, [Match::Unknown("-m socket".into())]);
        assert_eq!(parse("-m rpfilter --invert -j DROP").matches, [Match::Unknown("-m rpfilter --invert".into())]);
        // Options are reported with their module, separately from those of the next one.
        let of_each = ["-m recent --set --name x", "-m socket --transparent"].map(|w| Match::Unknown(w.into()));
        assert_eq!(parse("-m recent --set --name x -m socket --transparent -j DROP").matches, of_each);
        assert_eq!(
            parse("-m mark --mark 0x1 -m addrtype ! --foo 1 --bar").matches[1..],
            [Match::Unknown("-m addrtype ! --foo 1 --bar".into())]
        );
    }

    #[test]
    fn a_length_is_a_number_or_a_range_of_them() {
        let of = |value: &str| parse(&format!("-m length --length {value} -j DROP")).matches;
        assert_eq!(of("1500"), [Match::Length(false, 1500..=1500)]);
        assert_eq!(of("40:1500"), [Match::Length(false, 40..=1500)]);
        assert_eq!(
            (of(":0x28"), of("40:")),
            (vec![Match::Length(false, 0..=40)], vec![Match::Length(false, 40..=65535)])
        );
        assert_eq!(parse("-m length ! --length 40 -j DROP").matches, [Match::Length(true, 40..=40)]);
        for unread in ["70000", "ssh", "40-1500", "1:2:3"] {
            assert_eq!(of(unread), [Match::Unknown(format!("--length {unread}"))]);
        }
        // That of xtables-addons may measure another layer.
        assert_eq!(
            parse("-m length2 --length 40 --layer4 -j DROP").matches,
            [Match::Unknown("-m length2 --length 40 --layer4".into())]
        );
    }

    #[test]
    fn dates_are_utc() {
        let s = parse("-m time --datestop 1970-01-01T00:01:00 -j X");
        assert_eq!(s.matches, [Match::Dates(None, Some(60))]);
        assert!(matches!(&parse("-m time --weekdays Mon -j X").matches[..], [Match::Unknown(_)]));
    }

    #[test]
    fn nat_targets_tell_where_to() {
        let to = |text: &str| match parse(text).target {
            Target::Dnat(Some(to)) => to,
            other => panic!("{other:?}"),
        };
        let t = to("-p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:8080");
        assert_eq!(t.addrs.map(|a| a.0.to_string()), Some("172.17.0.2".into()));
        assert_eq!(t.ports, Some(8080..=8080));
        assert_eq!(to("-j DNAT --to-destination 10.0.0.1-10.0.0.3").ports, None);
        let v6 = Spec::parse("-p tcp -j DNAT --to-destination [fd00::2]:80-90", Family::V6);
        assert!(matches!(v6.target, Target::Dnat(Some(NatTo { ports: Some(p), .. })) if p == (80..=90)));
        assert_eq!(parse("-p tcp -j REDIRECT --to-ports 22").target, Target::Redirect(Some(22..=22)));
        // A port map with a base (1:2-3/5) is more than a range.
        assert!(matches!(parse("-p tcp -j DNAT --to-destination 10.0.0.1:5000-5010/6000").target, Target::Dnat(None)));
    }

    #[test]
    fn words_that_look_like_options_stay_values() {
        assert_eq!(parse("-j NFLOG --nflog-prefix -j").target, Target::Continue("NFLOG --nflog-prefix -j".into()));
        let s = parse("-m string --string -j --algo bm -j DROP");
        assert_eq!(s.target, Target::Drop);
        assert_eq!(s.matches, [Match::Unknown("--string -j --algo bm".into())]);
    }

    #[test]
    fn options_of_a_set_match() {
        let set = Match::Set(false, "s".into(), vec![End::Src]);
        assert_eq!(
            parse("-m set --match-set s src ! --update-counters ! --update-subcounters").matches,
            std::slice::from_ref(&set)
        );
        assert_eq!(
            parse("-m set --match-set s src ! --update-counters --packets-gt 5").matches,
            [set, Match::Unknown("-m set --packets-gt 5".into())]
        );
        // It inverts the answer for members of the set.
        assert_eq!(
            parse("-m set --match-set s src --return-nomatch").matches,
            [Match::Unknown("--match-set s --return-nomatch".into())]
        );
    }

    #[test]
    fn a_limit_is_of_its_own_module() {
        let types = |l| Match::AddrType(false, End::Dst, vec!["LOCAL".into()], l);
        let s = parse("-m addrtype --dst-type LOCAL -m addrtype --dst-type LOCAL --limit-iface-in -j DROP");
        assert_eq!(s.matches, [types(IfaceLimit::None), types(IfaceLimit::In)]);
    }

    #[test]
    fn dates_narrow_each_other() {
        let s = parse(
            "-m time --datestop 1970-01-01T00:01:00 -m time --datestart 1970-01-01T00:00:10 --datestop \
                1970-01-01T00:00:50",
        );
        assert_eq!(s.matches, [Match::Dates(Some(10), Some(50))]);
        let s = parse("-m time --timestart 10:00:00 --weekdays Mon --datestart 2020-01-01T00:00:00");
        assert!(matches!(&s.matches[..], [Match::Unknown(_), Match::Dates(Some(_), None)]));
        assert!(matches!(
            &parse("-m time --datestart 2020-01-01T00:00:00 --kerneltz").matches[..],
            [Match::Unknown(_)]
        ));
    }

    #[test]
    fn the_masks_of_connmark() {
        let masks = |p, c| MarkMasks { packet: p, connection: c };
        assert_eq!(parse("-j CONNMARK --save-mark").target, Target::SaveMark(masks(u32::MAX, u32::MAX)));
        assert_eq!(
            parse("-j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xff").target,
            Target::RestoreMark(masks(15, 255))
        );
        assert!(matches!(parse("-j CONNMARK --save-mark --left-shift-mark 3").target, Target::Continue(_)));
        assert_eq!(
            parse("-j NETMAP --to 10.0.0.0/24").target,
            Target::Netmap(Net::parse("10.0.0.0/24", Family::V4).unwrap())
        );
    }

    #[test]
    fn marks_sets_ranges_and_types() {
        let s = parse(
            "-m mark --mark 0x4000/0x4000 -m iprange --src-range 10.0.0.1-10.0.0.9 -m set ! --match-set bad src,dst -m \
                addrtype --dst-type LOCAL -j MARK --set-xmark 0x1/0xff",
        );
        assert_eq!(s.matches[0], Match::Mark(false, 0x4000, 0x4000));
        assert!(matches!(s.matches[1], Match::Range(false, End::Src, _, _)));
        assert_eq!(s.matches[2], Match::Set(true, "bad".into(), vec![End::Src, End::Dst]));
        assert_eq!(s.matches[3], Match::AddrType(false, End::Dst, vec!["LOCAL".into()], IfaceLimit::None));
        assert_eq!(s.target, Target::Mark(BitOp { keep: !0xff, flip: 1 }));
    }
}
