//! Servers with their own root, where other tests run firewall managers that are not installed in this machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::time::Duration;

use common::{Backend, layer, systemd, wait_for};

#[test]
fn ufw_runs_in_a_root_of_its_own() {
    let Some(lab) = layer::lab(Backend::Nft, 1, &["ufw"]) else { return };
    lab.server.sh("ufw allow 22/tcp; ufw --force enable");
    assert!(lab.server.sh("ufw status; iptables -S INPUT").contains("-A INPUT -j ufw-before-input"));
    assert!(common::find("ufw").is_none(), "it must not be in the machine itself");
}

#[test]
fn a_boot_of_systemd_starts_the_firewall_of_its_layer() {
    let prepare = "ufw allow 22/tcp; sed -i s/ENABLED=no/ENABLED=yes/ /etc/ufw/ufw.conf; systemctl enable ufw.service";
    let Some(lab) = systemd::lab_with(Backend::Nft, 1, &["ufw"], prepare) else { return };
    wait_for("ufw has loaded its rules", Duration::from_secs(10), || {
        lab.server.sh("iptables -S INPUT").contains("-A INPUT -j ufw-before-input")
    });
    assert_eq!(lab.server.run(&["systemctl", "is-active", "ufw.service"]).trim(), "active");
}
