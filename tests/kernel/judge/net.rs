//! Three network namespaces: a client, the server whose rules are judged, and a host behind it. Everything happens
//! inside them; they end with the processes that hold them.
//!
//! ```text
//!  client c0 10.0.0.2 ── s0 10.0.0.1 server b0 172.20.0.1 ── i0 172.20.0.2, .3 inner
//!         c1 10.1.0.2 ── s1 10.1.0.1
//! ```

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::process::{Child, Command, Output, Stdio};

use portcullis::model::{Family, LocalAddr, Net, Route};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace, held by a process that only waits.
pub struct Space {
    holder: Child,
}

impl Space {
    #[expect(clippy::zombie_processes, reason = "dropping the space ends and awaits it")]
    fn new() -> Self {
        // `cat` waits until we close its input, so nothing outlives the test.
        let holder =
            Command::new("unshare").args(["-n", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = holder.id();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        for _ in 0..2000 {
            if std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|ns| ns != own) {
                return Self { holder };
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("no network namespace was made");
    }

    /// Runs a tool inside; panics if it fails.
    pub fn run(&self, argv: &[&str], stdin: &str) -> String {
        let out = self.try_run(argv, stdin);
        assert!(out.status.success(), "{argv:?}: {}\n{stdin}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    pub fn try_run(&self, argv: &[&str], stdin: &str) -> Output {
        let pid = self.holder.id().to_string();
        let mut child = Command::new("nsenter")
            .args(["-t", &pid, "-n"])
            .args(argv)
            .env("XTABLES_LOCKFILE", format!("/tmp/portcullis-judge-{}.lock", std::process::id()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs `work` in a thread that has entered the namespace; sockets opened there stay there.
    pub fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let ns = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        std::thread::spawn(move || {
            move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
        .join()
        .unwrap()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The three hosts.
pub struct Nets {
    pub client: Space,
    pub server: Space,
    pub inner: Space,
}

/// Addresses of the server, for both families.
pub const SERVER: [[&str; 3]; 2] = [["10.0.0.1", "10.1.0.1", "172.20.0.1"], ["fd00::1", "fd01::1", "fd20::1"]];
/// Addresses behind the server.
pub const INNER: [[&str; 2]; 2] = [["172.20.0.2", "172.20.0.3"], ["fd20::2", "fd20::3"]];

/// Addresses of many hosts, the server among them, by the interface that they are sent to.
pub const MANY: [[[&str; 2]; 2]; 2] = [
    [["10.0.0.255", "255.255.255.255"], ["10.1.0.255", "224.0.0.1"]],
    [["ff02::1", "ff05::2"], ["ff02::1", "ff02::2"]],
];

impl Nets {
    pub fn new() -> Self {
        let (client, server, inner) = (Space::new(), Space::new(), Space::new());
        let s = server.holder.id().to_string();
        client.run(&["ip", "link", "add", "c0", "type", "veth", "peer", "name", "s0", "netns", &s], "");
        client.run(&["ip", "link", "add", "c1", "type", "veth", "peer", "name", "s1", "netns", &s], "");
        inner.run(&["ip", "link", "add", "i0", "type", "veth", "peer", "name", "b0", "netns", &s], "");
        let setup = |space: &Space, addrs: &[(&str, &str)], routes: &[&str]| {
            let mut script = String::new();
            for (i, _) in addrs {
                writeln!(
                    script,
                    "echo 0 > /proc/sys/net/ipv4/conf/{i}/rp_filter; echo 0 > /proc/sys/net/ipv6/conf/{i}/accept_dad"
                )
                .unwrap();
            }
            script.push_str("echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; ip link set lo up\n");
            for (i, a) in addrs {
                let nodad = if a.contains(':') { " nodad" } else { "" };
                writeln!(script, "ip addr add {a} dev {i}{nodad}; ip link set {i} up").unwrap();
            }
            for r in routes {
                writeln!(script, "ip {r}").unwrap();
            }
            let out = space.run(&["sh", "-e"], &script);
            assert_eq!(out, "", "{out}");
        };
        setup(
            &server,
            &[
                ("s0", "10.0.0.1/24"),
                ("s1", "10.1.0.1/24"),
                ("b0", "172.20.0.1/24"),
                ("s0", "fd00::1/64"),
                ("s1", "fd01::1/64"),
                ("b0", "fd20::1/64"),
            ],
            &["route add default via 10.0.0.2", "-6 route add default via fd00::2"],
        );
        setup(
            &client,
            &[("c0", "10.0.0.2/24"), ("c1", "10.1.0.2/24"), ("c0", "fd00::2/64"), ("c1", "fd01::2/64")],
            &[
                "route add default via 10.0.0.1 dev c0",
                "route add default via 10.1.0.1 dev c1 metric 10",
                "-6 route add default via fd00::1 dev c0",
                "-6 route add default via fd01::1 dev c1 metric 2000",
            ],
        );
        setup(
            &inner,
            &[("i0", "172.20.0.2/24"), ("i0", "172.20.0.3/24"), ("i0", "fd20::2/64"), ("i0", "fd20::3/64")],
            &["route add default via 172.20.0.1", "-6 route add default via fd20::1"],
        );
        // Rules may drop neighbour discovery, which is ICMPv6, so the neighbours are configured.
        for (near, device, far, peer, addrs) in [
            (&client, "c0", &server, "s0", &["fd00::1"][..]),
            (&client, "c1", &server, "s1", &["fd01::1"]),
            (&server, "s0", &client, "c0", &["fd00::2"]),
            (&server, "b0", &inner, "i0", &["fd20::2", "fd20::3"]),
            (&inner, "i0", &server, "b0", &["fd20::1"]),
        ] {
            let shown = far.run(&["ip", "-o", "link", "show", "dev", peer], "");
            let mac = shown.split_whitespace().skip_while(|w| *w != "link/ether").nth(1).unwrap();
            for a in addrs {
                near.run(&["ip", "neigh", "replace", a, "lladdr", mac, "dev", device, "nud", "permanent"], "");
            }
        }
        server.run(
            &["sh", "-e"],
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n",
        );
        Self { client, server, inner }
    }
}

/// The server's addresses as `ip addr` would show them.
pub fn addrs() -> Vec<LocalAddr> {
    let at = |i: &str, a: &str, prefix| LocalAddr { addr: a.parse().unwrap(), prefix, interface: i.to_owned() };
    let mut out = vec![at("lo", "127.0.0.1", 8), at("lo", "::1", 128)];
    for (n, i) in ["s0", "s1", "b0"].iter().enumerate() {
        out.push(at(i, SERVER[0][n], 24));
        out.push(at(i, SERVER[1][n], 64));
    }
    out
}

/// The server's routes as `ip route` would show them.
pub fn routes() -> Vec<Route> {
    let to = |n: &str, f, i: &str| Route { net: Net::parse(n, f).unwrap(), interface: i.to_owned() };
    vec![
        to("0.0.0.0/0", Family::V4, "s0"),
        to("10.0.0.0/24", Family::V4, "s0"),
        to("10.1.0.0/24", Family::V4, "s1"),
        to("172.20.0.0/24", Family::V4, "b0"),
        to("::/0", Family::V6, "s0"),
        to("fd00::/64", Family::V6, "s0"),
        to("fd01::/64", Family::V6, "s1"),
        to("fd20::/64", Family::V6, "b0"),
    ]
}
