//! A published port that NAT sends to the host itself (a pod in the host's network, REDIRECT) enters through INPUT,
//! where the packet no longer has the port that the plan names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use common::net::Echo;
use common::{Backend, Lab};

/// The port on which something listens, the one that DNAT redirects to it, and the one that REDIRECT does.
const REAL: u16 = 6443;
const PUBLISHED: u16 = 30643;
const REDIRECTED: u16 = 30644;

#[test]
fn ports_that_nat_sends_to_the_host_itself_are_guarded_in_input() {
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 2, &[]) else { return };
        Echo::start(&lab.server, REAL);
        for (family, to) in
            [("", format!("{}:{REAL}", Lab::server4(0))), ("6", format!("[{}]:{REAL}", Lab::server6(0)))]
        {
            let rules: String = ["tcp", "udp"]
                .iter()
                .map(|p| {
                    format!(
                        "-A PREROUTING -p {p} -m {p} --dport {PUBLISHED} -j DNAT --to-destination {to}\n\
                 -A PREROUTING -p {p} -m {p} --dport {REDIRECTED} -j REDIRECT --to-ports {REAL}\n"
                    )
                })
                .collect();
            lab.server.restore(family, &format!("*nat\n{rules}COMMIT\n"));
        }
        // TCP and UDP over IPv4, then over IPv6, from each client to the server's address on its link.
        let reach = |client: usize, port: u16| {
            let echo = Echo { port };
            [Lab::server4(client), Lab::server6(client)]
                .map(|to| [echo.tcp(&lab.clients[client], to), echo.udp(&lab.clients[client], to)])
        };
        let all = || [0, 1].map(|client| [PUBLISHED, REDIRECTED, REAL].map(|port| reach(client, port)));
        let (open, shut) = ([[true; 2]; 2], [[false; 2]; 2]);
        assert_eq!(all(), [[open; 3]; 2], "{backend:?}: before");
        let goals = format!("to = [\"published:{PUBLISHED}\", \"published:{REDIRECTED}\"]");
        let plan = lab.file(
            "plan.toml",
            &format!(
                "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{}\", \"{}\"]\n{goals}\n\
            [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\n{goals}\n",
                Lab::client4(0),
                Lab::client6(0)
            ),
        );
        let out = lab.portcullis(&["apply", &plan, "--yes"]);
        assert!(out.status.success(), "{backend:?}: {}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(all(), [[open; 3], [shut, shut, open]], "{backend:?}: on trial\n{}", lab.server.rules());
        assert!(lab.portcullis(&["revert"]).status.success());
        assert_eq!(all(), [[open; 3]; 2], "{backend:?}: reverted");
        // Named as a port of the host it is not protected: the warning says so, and that is true.
        let plan = lab.file("plan.toml", &std::fs::read_to_string(&plan).unwrap().replace("published:", ""));
        for args in [&["export", &plan, "--to", "shell"][..], &["apply", &plan, "--yes"]] {
            let said = lab.portcullis(args);
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            for port in [PUBLISHED, REDIRECTED] {
                assert!(
                    said.contains(&format!("{port}/udp stays open over IPv6: everybody whom this plan drops")),
                    "{backend:?} {args:?}: {said}"
                );
            }
        }
        assert_eq!(all(), [[open; 3]; 2], "{backend:?}: on trial");
    }
}
