//! A real dockerd with real containers: who reaches their published ports must agree with `report` on the live host.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and runs tools from outside"
)]

use crate::common;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use common::{Backend, Lab, net::within, wait_for};
use portcullis::model::Net;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// Starts dockerd and containers with four kinds of published ports: on all addresses, on loopback only, from a second
/// network, and over UDP.
const SETUP: &str = r#"
mount -t tmpfs docker /mnt
mkdir -p /run/lock /mnt/root/bin
export DOCKER_HOST=unix:///run/docker.sock
nohup dockerd --storage-driver vfs --data-root /mnt/data --exec-root /run/docker-exec \
    -H $DOCKER_HOST -p /run/docker.pid >/run/dockerd.log 2>&1 &
for _ in $(seq 300); do docker info >/dev/null 2>&1 && break; sleep 0.1; done
cp "$(command -v busybox)" /mnt/root/bin/busybox
tar -C /mnt/root -c . | docker import - box >/dev/null
docker run -d --name web -p 8080:80 -p 127.0.0.1:8081:80 box /bin/busybox httpd -f -p 80 -h / >/dev/null
docker network create second >/dev/null
docker run -d --name other --network second -p 8082:80 box /bin/busybox httpd -f -p 80 -h / >/dev/null
docker run -d --name names -p 5353:53/udp box /bin/busybox sleep 1000 >/dev/null
"#;

/// DOCKER-USER shuts out one source of each kind; rules in INPUT must not matter for what NAT forwards.
const RULES: &str = "*filter
-I DOCKER-USER -s 192.0.2.3/32 -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 8080 -j DROP
-I DOCKER-USER -s 192.0.2.4/32 -p udp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 5353 -j DROP
-I DOCKER-USER -s 192.0.2.4/31 -p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport 8082 -j DROP
-A INPUT -s 192.0.2.5/32 -p tcp -m tcp --dport 8080 -j DROP
COMMIT
";

fn answers(lab: &Lab, udp: bool, from: IpAddr, to: SocketAddr) -> bool {
    within(&lab.clients[0], || {
        let s = Socket::new(Domain::for_address(to), if udp { Type::DGRAM } else { Type::STREAM }, None).unwrap();
        s.bind(&SocketAddr::new(from, 0).into()).unwrap();
        s.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        if udp {
            s.connect(&to.into()).unwrap();
            s.send(b"?").unwrap();
            std::io::Read::read(&mut &s, &mut [0; 16]).is_ok()
        } else {
            // A user-space proxy accepts before its container does: only an answer counts.
            s.connect_timeout(&to.into(), Duration::from_millis(700)).is_ok()
                && std::io::Write::write_all(&mut &s, b"GET / HTTP/1.0\r\n\r\n").is_ok()
                && std::io::Read::read(&mut &s, &mut [0; 16]).is_ok_and(|n| n > 0)
        }
    })
}

/// Answers datagrams in the network of the container `names`: busybox has no UDP server, so the test is one.
fn serve_names(lab: &Lab) {
    let pid = lab.server.sh("DOCKER_HOST=unix:///run/docker.sock docker inspect -f '{{.State.Pid}}' names");
    let ns = std::fs::File::open(format!("/proc/{}/root/proc/{}/ns/net", lab.server.pid(), pid.trim())).unwrap();
    std::thread::spawn(move || {
        move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let socket = UdpSocket::bind(("0.0.0.0", 53)).unwrap();
        drop(ns);
        let mut bytes = [0; 64];
        while let Ok((n, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..n], from);
        }
    });
}

#[test]
fn published_ports_are_reached_as_the_report_says() {
    let Some(lab) = Lab::new(Backend::Nft, 1, &["dockerd", "docker", "docker-proxy", "busybox"]) else { return };
    lab.server.sh(SETUP);
    serve_names(&lab);
    lab.server.restore("", RULES);
    lab.server.restore("6", "*filter\n-A INPUT -s 2001:db8::3/128 -p tcp -m tcp --dport 8080 -j DROP\nCOMMIT\n");
    lab.clients[0].sh(
        "for i in 3 4 5 6; do ip addr add 192.0.2.$i/28 dev eth0; ip addr add 2001:db8::$i/64 dev eth0 nodad; done",
    );
    let (to4, to6) = (Lab::server4(0), Lab::server6(0));
    wait_for("the containers answer", Duration::from_secs(20), || {
        answers(&lab, false, Lab::client4(0), SocketAddr::new(to4, 8080))
            && answers(&lab, false, Lab::client4(0), SocketAddr::new(to4, 8082))
            && answers(&lab, true, Lab::client4(0), SocketAddr::new(to4, 5353))
    });
    let out = lab.portcullis(&["report", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut asked = 0;
    for (port, udp, name) in [(8080, false, "web"), (8081, false, "web"), (8082, false, "other"), (5353, true, "names")]
    {
        let proto = if udp { "udp" } else { "tcp" };
        let endpoint = report["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["port"] == port && e["proto"] == proto)
            .unwrap_or_else(|| panic!("{port}/{proto} is not in {report:#}"));
        assert_eq!(endpoint["kind"], "published", "{endpoint:#}");
        assert_eq!(endpoint["name"], name, "{endpoint:#}");
        for last in 2..=6u8 {
            for (family, from, to) in [
                ("ipv4", IpAddr::from([192, 0, 2, last]), to4),
                ("ipv6", IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)]), to6),
            ] {
                // Over UDP the proxy answers from an address that it chooses itself; that has nothing to do with rules.
                if udp && family == "ipv6" {
                    continue;
                }
                let came = answers(&lab, udp, from, SocketAddr::new(to, port));
                let x = &endpoint["exposure"][family];
                let reach = x["by_interface"].get("lan0").unwrap_or(x);
                let within = |part: &str| {
                    reach[part]
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|n| Net::parse_any(n.as_str().unwrap()).unwrap().contains(from))
                };
                assert!(
                    within(if came { "accepted" } else { "blocked" }),
                    "{from} to {port}/{proto}: the kernel says {came}\n{endpoint:#}"
                );
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 35);
    // A source that DOCKER-USER shuts out of the published port still reaches the container by its own address; the
    // report says so, and how to close it.
    let web = lab
        .server
        .sh("DOCKER_HOST=unix:///run/docker.sock docker inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' \
            web")
        .trim()
        .to_owned();
    let directly = || answers(&lab, false, IpAddr::from([192, 0, 2, 3]), SocketAddr::new(web.parse().unwrap(), 80));
    assert!(directly());
    let warnings = || {
        let out = lab.portcullis(&["report", "--json"]);
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        report["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| w["message"].as_str().unwrap().to_owned())
            .filter(|m| m.contains(&format!("reach {web} port 80/tcp directly")))
            .collect::<Vec<_>>()
    };
    let said = warnings();
    assert!(said.len() == 1 && said[0].contains("lets anyone"), "{said:?}");
    lab.server.sh(said[0].split('`').nth(1).unwrap());
    let open = directly();
    assert!(!open && warnings().is_empty(), "{open} {:?} {said:?}\n{}", warnings(), lab.server.rules());
}

/// Both paths to the published port: NAT and DOCKER-USER over IPv4, the user-space proxy and INPUT over IPv6.
const GUARDED: &str = "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.2\", \"2001:db8::2\"]\n\
    to = [\"published:8080/tcp\"]\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"published:8080/tcp\"]\n";

/// The rules without ours, one per line, to compare before and after.
fn without_ours(rules: &str) -> Vec<&str> {
    rules.lines().filter(|l| !l.contains("PORTCULLIS")).collect()
}

#[test]
fn a_published_port_on_trial_while_docker_works_on() {
    Backend::BOTH.into_iter().for_each(on_trial_while_docker_works_on);
}

fn on_trial_while_docker_works_on(backend: Backend) {
    let Some(lab) = Lab::new(backend, 1, &["dockerd", "docker", "docker-proxy", "busybox"]) else { return };
    lab.server.sh(SETUP);
    lab.clients[0]
        .sh("for i in 3; do ip addr add 192.0.2.$i/28 dev eth0; ip addr add 2001:db8::$i/64 dev eth0 nodad; done");
    let (to4, to6) = (Lab::server4(0), Lab::server6(0));
    let node =
        |last: u8| [IpAddr::from([192, 0, 2, last]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)])];
    let reach = |last: u8, port: u16| {
        [to4, to6].map(|to| answers(&lab, false, node(last)[usize::from(to.is_ipv6())], SocketAddr::new(to, port)))
    };
    wait_for("the container answers", Duration::from_secs(20), || {
        reach(2, 8080) == [true; 2] && reach(3, 8080) == [true; 2]
    });
    // The same port on another host, for the container to call.
    let elsewhere = common::net::Echo::start(&lab.clients[0], 8080);
    let calls_out = || {
        lab.server
            .sh(&format!(
                "export DOCKER_HOST=unix:///run/docker.sock; echo x | docker exec -i web /bin/busybox nc -w \
            2 {} {} || true",
                Lab::client4(0),
                elsewhere.port
            ))
            .starts_with('!')
    };
    assert!(calls_out(), "the container reaches the port elsewhere");
    let before = lab.server.rules();
    let plan = lab.file("plan.toml", GUARDED);
    let apply = |time: &str| {
        let out = lab.portcullis(&["apply", &plan, "--yes", "--confirm-within", time]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    apply("5m");
    assert_eq!((reach(2, 8080), reach(3, 8080)), ([true; 2], [false; 2]), "{}", lab.server.rules());
    assert!(calls_out(), "the container still reaches the port elsewhere");
    // While the trial runs, Docker starts a container and is itself restarted.
    lab.server
        .sh("export DOCKER_HOST=unix:///run/docker.sock; docker run -d --name late -p 8083:80 box /bin/busybox httpd \
        -f -p 80 -h / >/dev/null");
    wait_for("the new container answers", Duration::from_secs(20), || reach(3, 8083) == [true; 2]);
    let during = lab.server.rules();
    assert_ne!(without_ours(&during), without_ours(&before));
    assert!(lab.portcullis(&["revert"]).status.success());
    let after = lab.server.rules();
    assert!(!after.contains("PORTCULLIS"), "{after}");
    assert_eq!(without_ours(&after), without_ours(&during), "what Docker added stays, in its order");
    assert_eq!((reach(3, 8080), reach(3, 8083)), ([true; 2], [true; 2]));
    // A kept plan survives a restart of the daemon, and can be removed without a trace.
    apply("5m");
    assert!(lab.portcullis(&["keep", "--without-proof"]).status.success());
    lab.server.sh("kill $(cat /run/docker.pid); while [ -e /run/docker.pid ]; do sleep 0.1; done; nohup dockerd \
        --live-restore --storage-driver vfs --data-root /mnt/data --exec-root /run/docker-exec -H \
        unix:///run/docker.sock -p /run/docker.pid >/run/dockerd.log 2>&1 & export \
        DOCKER_HOST=unix:///run/docker.sock; for _ in $(seq 300); do docker info >/dev/null 2>&1 && break; sleep 0.1; \
        done; docker start web >/dev/null");
    wait_for("the container answers the node", Duration::from_secs(20), || reach(2, 8080) == [true; 2]);
    assert_eq!(reach(3, 8080), [false; 2], "{}", lab.server.rules());
    assert!(lab.portcullis(&["remove", "--yes"]).status.success());
    assert!(lab.portcullis(&["keep", "--without-proof"]).status.success());
    assert!(!lab.server.rules().contains("PORTCULLIS"));
    assert_eq!(reach(3, 8080), [true; 2]);
}
