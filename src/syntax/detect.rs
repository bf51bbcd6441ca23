//! Recognises formats by content and splits one text into listings: several commands in one paste, mail quotes,
//! commented-out blocks, two hosts. Every line belongs to exactly one section.

use std::borrow::Cow;
use std::collections::HashSet;

use super::frame::{self, Frame};
pub use super::listing::{Context, Kind};

/// One listing inside a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// Its format.
    pub kind: Kind,
    /// Number of its first line in the whole text, counted from 1.
    pub line: usize,
    /// Its lines, without mail quotes and comment marks.
    pub text: Cow<'a, str>,
    /// What the lines before it say about it.
    pub context: Context,
}

/// Splits a text into its listings, in order. A text without a listing is one section of kind `Unknown`.
pub fn sections(text: &str) -> Vec<Section<'_>> {
    let commented = text.lines().take(2000).any(frame::is_commented_chain);
    let mut split = Splitter { text, commented, done: Vec::new(), open: Open::at(0, 1, Context::default()) };
    let mut at = 0;
    for (n, raw) in text.split_inclusive('\n').enumerate() {
        split.line(raw, at, n + 1);
        at += raw.len();
    }
    split.close(at, 0, 0, Context::default());
    split.done
}

/// The section being collected.
struct Open {
    kind: Kind,
    start: usize,
    line: usize,
    /// The lines so far, once one of them had to be cleaned.
    cleaned: Option<String>,
    context: Context,
    /// Chains or tables that have begun in it: if one begins again, it is another listing.
    seen: HashSet<String>,
    /// Whether it has a `*table` or `:CHAIN` line and so is not `iptables -S`.
    save_frame: bool,
}

impl Open {
    fn at(start: usize, line: usize, context: Context) -> Self {
        Self { kind: Kind::Unknown, start, line, cleaned: None, context, seen: HashSet::new(), save_frame: false }
    }
}

struct Splitter<'a> {
    text: &'a str,
    commented: bool,
    done: Vec<Section<'a>>,
    open: Open,
}

impl Splitter<'_> {
    fn line(&mut self, raw: &str, at: usize, n: usize) {
        let line = raw.trim_end_matches(['\n', '\r']);
        let clean = self.clean(line);
        let frame = frame::classify(clean, self.open.kind);
        match frame {
            Frame::Context(context) => {
                self.close(at, at, n, Context::default());
                let host = context.host.clone().or_else(|| self.last_host());
                self.open = Open::at(at + raw.len(), n + 1, Context { host, ..context });
                return;
            }
            Frame::Begin(kind, key) => self.begin(kind, key, at, n),
            Frame::Header(family) => {
                let other = self.open.context.family.is_some_and(|f| Some(f) != family && family.is_some());
                if other || !matches!(self.open.kind, Kind::Save | Kind::Unknown) {
                    self.close(at, at, n, Context { host: self.open.context.host.clone(), ..Context::default() });
                }
                self.open.kind = Kind::Save;
                self.open.save_frame = true;
                self.open.context.family = family.or(self.open.context.family);
            }
            Frame::Part(kind) => self.part(kind, at, n),
            Frame::Other => {}
        }
        if clean.len() != line.len() && self.open.cleaned.is_none() {
            self.open.cleaned = Some(self.text[self.open.start..at].to_owned());
        }
        if let Some(text) = &mut self.open.cleaned {
            text.push_str(clean);
            text.push('\n');
        }
    }

    fn last_host(&self) -> Option<String> {
        self.done.last().and_then(|s| s.context.host.clone())
    }

    /// A line that can start a listing: the same key again starts a second one.
    fn begin(&mut self, kind: Kind, key: Option<String>, at: usize, n: usize) {
        let again = key.as_ref().is_some_and(|k| self.open.seen.contains(k));
        let rpc_again = matches!(kind, Kind::Rpcinfo | Kind::RpcinfoShort) && self.open.kind == kind;
        if again || rpc_again {
            let context = Context { host: self.open.context.host.clone(), ..Context::default() };
            self.close(at, at, n, context);
        }
        self.part(kind, at, n);
        if kind == Kind::Save {
            self.open.save_frame = true;
            // Each table has chains of its own.
            self.open.seen.retain(|k| k.starts_with('*'));
        }
        self.open.seen.extend(key);
    }

    /// A line inside a listing: starts a section if another kind is open.
    fn part(&mut self, kind: Kind, at: usize, n: usize) {
        let rules = |k| matches!(k, Kind::Save | Kind::Spec);
        if self.open.kind == kind || (rules(kind) && rules(self.open.kind)) {
            return;
        }
        if self.open.kind != Kind::Unknown {
            let context = Context { host: self.open.context.host.clone(), ..Context::default() };
            self.close(at, at, n, context);
        }
        self.open.kind = kind;
    }

    /// Ends the open section before byte `end` and opens the next one.
    fn close(&mut self, end: usize, next: usize, line: usize, context: Context) {
        let open = std::mem::replace(&mut self.open, Open::at(next, line, context));
        let kind = match open.kind {
            Kind::Save | Kind::Spec => {
                if open.save_frame {
                    Kind::Save
                } else {
                    Kind::Spec
                }
            }
            k => k,
        };
        let text = match open.cleaned {
            Some(text) => Cow::Owned(text),
            None => Cow::Borrowed(self.text.get(open.start..end).unwrap_or_default()),
        };
        if kind != Kind::Unknown || !text.trim().is_empty() {
            self.done.push(Section { kind, line: open.line, text, context: open.context });
        }
    }

    /// The line without mail quotes, and without comment marks if the whole listing is commented out.
    fn clean<'l>(&self, line: &'l str) -> &'l str {
        let mut line = line;
        while let Some(rest) = line.trim_start().strip_prefix('>') {
            line = rest.strip_prefix(' ').unwrap_or(rest);
        }
        if let Some(rest) = line.strip_prefix('#').filter(|_| self.commented) {
            line = rest.strip_prefix(' ').unwrap_or(rest);
        }
        frame::without_bullet(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    fn kinds(text: &str) -> Vec<(Kind, usize)> {
        sections(text).iter().map(|s| (s.kind, s.line)).collect()
    }

    #[test]
    fn one_paste_with_several_commands() {
        let text = "root@nfs1:~# iptables -L -n\nChain INPUT (policy ACCEPT)\ntarget     prot opt source               \
            destination\n\n\
            root@nfs1:~# rpcinfo -p\n   program vers proto   port  service\n    100000    4   tcp    111  portmapper\n\
            $ sudo ss -lntup\nNetid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\ntcp   LISTEN \
            0      128          0.0.0.0:22        0.0.0.0:*\n";
        assert_eq!(kinds(text), [(Kind::List, 2), (Kind::Rpcinfo, 6), (Kind::Sockets, 9)]);
        assert_eq!(sections(text)[0].context.host.as_deref(), Some("nfs1"));
        assert_eq!(sections(text)[0].context.family, Some(Family::V4));
    }

    #[test]
    fn two_hosts_are_kept_apart() {
        let dump = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        assert_eq!(kinds(&format!("{dump}{dump}")), [(Kind::Save, 1), (Kind::Save, 4)]);
        let rpc = "   program vers proto   port\n    100000    2   tcp    111  portmapper\n";
        assert_eq!(kinds(&format!("{rpc}{rpc}")), [(Kind::Rpcinfo, 1), (Kind::Rpcinfo, 3)]);
        let list = "Chain INPUT (policy ACCEPT)\ntarget prot opt source destination\n";
        assert_eq!(kinds(&format!("{list}{list}")), [(Kind::List, 1), (Kind::List, 3)]);
    }

    #[test]
    fn each_table_declares_its_chains_anew() {
        let text = "*nat\n-N X\nCOMMIT\n*mangle\n-N X\n-A PREROUTING -j X\nCOMMIT\n";
        assert_eq!(kinds(text), [(Kind::Save, 1)]);
        assert_eq!(kinds("-P INPUT DROP\n-N X\n-N X\n").len(), 2);
    }

    #[test]
    fn headings_and_bullets_of_markdown_are_no_rules() {
        let found =
            sections("**nat**\n-P PREROUTING ACCEPT\n## filter table\n-P INPUT DROP\n### IPv6\n-P INPUT DROP\n");
        let told: Vec<_> = found.iter().map(|s| (s.context.table.as_deref(), s.context.family)).collect();
        assert_eq!(told, [(Some("nat"), None), (Some("filter"), None), (None, Some(Family::V6))]);
        let s = &sections("* -P INPUT ACCEPT\n- `-A INPUT -j DROP`\n1. -A INPUT -j ACCEPT\n* a remark\n")[0];
        assert_eq!(s.text.as_ref(), "-P INPUT ACCEPT\n-A INPUT -j DROP\n-A INPUT -j ACCEPT\n* a remark\n");
        // A remark between rules begins no other listing.
        assert_eq!(kinds("*filter\n:INPUT ACCEPT [0:0]\n# nat\n-A INPUT -j DROP\nCOMMIT\n"), [(Kind::Save, 1)]);
    }

    #[test]
    fn quotes_and_comment_marks_go() {
        let s = &sections("> *filter\r\n> :INPUT ACCEPT [0:0]\n>> -A INPUT -j DROP\n> COMMIT\n")[0];
        assert_eq!((s.kind, s.text.as_ref()), (Kind::Save, "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n"));
        let s = &sections("# Chain INPUT (policy ACCEPT)\n# target     prot opt source               destination\n")[0];
        assert_eq!((s.kind, s.line), (Kind::List, 1));
        assert!(s.text.starts_with("Chain INPUT"));
    }

    #[test]
    fn every_format_is_recognised() {
        for (text, kind) in [
            ("-P INPUT DROP\n-A INPUT -j ACCEPT\n", Kind::Spec),
            ("# Generated by iptables-save v1.8.9 on x\n*filter\nCOMMIT\n", Kind::Save),
            (
                "   program version(s) netid(s)                         service     owner\n    100000  2         \
                    udp,tcp                          portmapper  unknown\n",
                Kind::RpcinfoShort,
            ),
            ("rpcinfo: can't contact portmapper: RPC: Timed out\n", Kind::Rpcinfo),
            ("100005    1   udp  20048  mountd\n", Kind::Rpcinfo),
            (
                "create blocked hash:net family inet hashsize 1024 maxelem 65536\nadd blocked 192.0.2.0/24\n",
                Kind::Ipset,
            ),
            ("tcp   LISTEN 0  4096  *:111  *:*  users:((\"rpcbind\",pid=1,fd=4))\n", Kind::Sockets),
            ("# nfs\n/srv 192.168.100.0/24(rw,no_subtree_check)\n", Kind::Exports),
            ("/srv/nfs\t@cluster(rw) *.example.org(ro)\n", Kind::Exports),
            ("CONTAINER ID   IMAGE   COMMAND   CREATED   STATUS   PORTS   NAMES\n", Kind::DockerPs),
            (
                "2: eth0: <BROADCAST,UP> mtu 1500\n    link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff\n    inet \
                    192.0.2.1/24 scope global eth0\n",
                Kind::IpAddr,
            ),
            ("eth0   UP   192.0.2.1/24 fe80::1/64\nifb0   DOWN\n", Kind::IpAddr),
            (
                "default via 192.0.2.254 dev eth0\n192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1\n",
                Kind::IpRoute,
            ),
            ("[{\"ifname\":\"lo\",\"addr_info\":[]}]\n", Kind::IpJson),
            ("[ {\n    \"dst\": \"default\",\n    \"dev\": \"eth0\"\n} ]\n", Kind::IpJson),
            ("hello\nworld\n", Kind::Unknown),
        ] {
            assert_eq!(sections(text).iter().map(|s| s.kind).collect::<Vec<_>>(), [kind], "{text}");
        }
        assert_eq!(sections("\n  \n"), []);
    }
}
