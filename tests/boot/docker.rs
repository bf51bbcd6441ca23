//! A real dockerd as a service of a real systemd: strangers are kept out from the first packet that a
//! container could answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs tools"
)]

use crate::common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::net::{tcp_connects, tcp_connects_within};
use common::{Backend, Lab, find, not_run, systemd, wait_for};

const SOON: Duration = Duration::from_mins(1);

/// The port that the container publishes.
const PORT: u16 = 9042;

/// Docker's own unit needs containerd's, and writes below /var; of /proc/sys only the network part is writable.
const PREPARE: &str = "mount -t tmpfs docker /mnt; mkdir -p /mnt/root/bin; cp \"$(command -v busybox)\" \
    /mnt/root/bin/busybox
cat > /etc/systemd/system/docker.service <<'X'
[Service]
Type=notify
Delegate=yes
KillMode=process
TimeoutStartSec=60
ExecStartPre=/bin/sh -c 'mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net'
ExecStart=/usr/sbin/dockerd --storage-driver vfs --data-root /mnt/data --exec-root /run/docker-exec \
    -H unix:///run/docker.sock
X";

#[test]
fn published_ports_are_guarded_before_a_container_answers() {
    if let Some(missing) = ["dockerd", "docker", "docker-proxy", "busybox"].into_iter().find(|t| find(t).is_none()) {
        not_run(&format!("{missing} is not installed"));
        return;
    }
    for backend in Backend::BOTH {
        let Some(lab) = systemd::lab_with(backend, 2, &["iptables-persistent"], PREPARE) else { return };
        lab.server.sh("systemctl start docker; tar -C /mnt/root -c . | docker import - box; docker run -d --name web \
            --restart always --stop-signal KILL -p 9042:80 box /bin/busybox httpd -f -p 80 -h /");
        let answers = |client: usize| tcp_connects(&lab.clients[client], Lab::server4(client), PORT);
        wait_for("the container answers", SOON, || answers(0) && answers(1));
        let plan = format!(
            "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{}\", \"{}\"]\nto = [\"published:{PORT}/tcp\"]\n\
            [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"published:{PORT}/tcp\"]\n",
            Lab::client4(0),
            Lab::client6(0)
        );
        let file = lab.file("plan.toml", &plan);
        for args in [
            &["apply", &file, "--yes", "--confirm-within", "60s"][..],
            &["keep", "--without-proof"],
            &["save", "--ours", "--yes", "--must-load"],
        ] {
            let out = lab.portcullis(args);
            assert!(
                out.status.success(),
                "{args:?}: {}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
        }
        assert!(answers(0) && !answers(1), "{}", lab.server.rules());
        for start in 0..2 {
            // As at boot: no rules are loaded, and Docker is not running.
            lab.server.sh(
                "systemctl stop docker.service portcullis-rules.service; for f in '' 6; do for t in filter nat; do \
                ip${f}tables -t $t -F; ip${f}tables -t $t -X; done; ip${f}tables -P FORWARD ACCEPT; done",
            );
            assert!(!lab.server.rules().contains("PORTCULLIS"));
            lab.server.sh("systemctl start portcullis-rules");
            let jump = |chain: &str| {
                lab.server.sh(&format!("iptables -w 5 -S {chain} | grep -m1 ^-A || true")).trim().to_owned()
            };
            assert_eq!(jump("FORWARD"), "-A FORWARD -j PORTCULLIS-FWD");
            let over = AtomicBool::new(false);
            std::thread::scope(|s| {
                let stranger = s.spawn(|| {
                    let mut got_in = 0;
                    while !over.load(Ordering::Relaxed) {
                        got_in += u32::from(tcp_connects_within(
                            &lab.clients[1],
                            Lab::server4(1),
                            PORT,
                            Duration::from_millis(60),
                        ));
                    }
                    got_in
                });
                lab.server.sh("systemctl start docker");
                wait_for("the container answers again", SOON, || answers(0));
                over.store(true, Ordering::Relaxed);
                assert_eq!(
                    stranger.join().unwrap(),
                    0,
                    "{backend:?}, start {start}: a stranger got in while Docker started"
                );
            });
            wait_for("the jump is in Docker's chain", SOON, || {
                jump("DOCKER-USER") == "-A DOCKER-USER -j PORTCULLIS-FWD"
            });
            assert!(!lab.server.sh("iptables -w 5 -S FORWARD").contains("PORTCULLIS"), "{}", lab.server.rules());
            assert!(!answers(1));
        }
        // A restart of Docker alone keeps everything.
        lab.server.sh("systemctl restart docker");
        wait_for("the container answers after a restart", SOON, || answers(0));
        assert!(!answers(1), "{}", lab.server.rules());
    }
}
