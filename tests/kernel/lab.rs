//! The lab itself: it can tell a login from a lock-out, and everything in it ends with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::time::Duration;

use common::net::Echo;
use common::ssh::{Terminal, login_works, remote, start_sshd};
use common::{Backend, Lab, wait_for};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_lock_out_is_seen_and_an_open_session_outlives_it() {
    let Some(lab) = Lab::new(Backend::Nft, 2, &["sshd", "ssh", "ssh-keygen"]) else { return };
    start_sshd(&lab);
    assert!(login_works(&lab, 1, Lab::server6(1)));
    let (ok, said) = remote(&lab, 0, Lab::server4(0), "echo $PORTCULLIS_RUN_DIR; echo $SSH_CONNECTION");
    assert!(ok && said.contains("/run\n") && said.contains(&Lab::client4(0).to_string()), "{said}");
    // Connection tracking must have seen the session from its beginning.
    lab.server.restore("", "*filter\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n");
    let mut session = Terminal::ssh(&lab, 0, Lab::server4(0), "echo in; cat");
    session.wait("in", LIMIT);
    lab.server.restore("", "*filter\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n");
    assert!(!login_works(&lab, 0, Lab::server4(0)) && !login_works(&lab, 1, Lab::server4(1)));
    assert!(login_works(&lab, 1, Lab::server6(1)), "only IPv4 is closed");
    session.send("still here\r");
    session.wait("still here", LIMIT);
    session.hang_up();
    wait_for("cat is gone with its session", LIMIT, || lab.server.pids("cat").is_empty());
}

#[test]
fn probes_tell_open_from_closed() {
    let Some(lab) = Lab::new(Backend::Nft, 1, &[]) else { return };
    let echo = Echo::start(&lab.server, 4000);
    let client = &lab.clients[0];
    let all = || [Lab::server4(0), Lab::server6(0)].map(|to| (echo.tcp(client, to), echo.udp(client, to)));
    assert_eq!(all(), [(true, true); 2]);
    lab.server.restore("6", "*filter\n-A INPUT -p udp -m udp --dport 4000 -j DROP\nCOMMIT\n");
    assert_eq!(all(), [(true, true), (true, false)]);
    lab.server.restore("", "*filter\n-A INPUT -s 192.0.2.2/32 -p tcp -m tcp --dport 4000 -j REJECT\nCOMMIT\n");
    assert_eq!(all(), [(false, true), (true, false)]);
}

#[test]
fn everything_ends_with_the_lab() {
    let Some(lab) = Lab::new(Backend::Nft, 0, &[]) else { return };
    // A process that would outlive its parent, its session and every polite signal.
    let file = lab.file("alive", "");
    lab.server.sh(&format!(
        "setsid bash -c 'trap \"\" HUP INT TERM; while :; do date +%s%N > {file}; sleep 0.05; done' >/dev/null 2>&1 &"
    ));
    let read = || std::fs::read_to_string(&file).unwrap();
    wait_for("it runs", LIMIT, || !read().is_empty());
    let Lab { server, dir, .. } = lab;
    drop(server);
    // The first process in there is gone, and the kernel killed all others before reporting that.
    let last = read();
    let mut same = 0;
    wait_for("it writes no more", LIMIT, || {
        same = if read() == last { same + 1 } else { 0 };
        same > 10
    });
    drop(dir);
}
