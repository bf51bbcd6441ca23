//! What boot loads next to a manager that builds the firewall: real ufw, firewalld and netfilter-persistent, units
//! ordered by a real systemd, real packets. Client 0 is the operator and an allowed node, client 1 a stranger.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs tools"
)]

use crate::common;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::Output;
use std::time::Duration;

use common::net::{portmapper_answers_udp, tcp_connects};
use common::ssh::login_works;
use common::{Backend, Lab, Space, layer, systemd, wait_for};

const SOON: Duration = Duration::from_secs(20);

const UFW: &str = "ufw allow 22/tcp; ufw allow 111; sed -i s/ENABLED=no/ENABLED=yes/ /etc/ufw/ufw.conf; systemctl -q \
    enable ufw.service";
const FIREWALLD: &str =
    "firewall-offline-cmd -q --add-service=rpc-bind; systemctl -q enable dbus.socket dbus.service firewalld.service";

fn both(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

fn plan(node: usize) -> String {
    format!(
        "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{}\", \"{}\"]\nto = [\"111\"]\n[[rule]]\naction \
            = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n",
        Lab::client4(node),
        Lab::client6(node)
    )
}

/// Applies a plan and keeps it.
#[track_caller]
fn keep(lab: &Lab, plan: &str) {
    let file = lab.file("plan.toml", plan);
    for args in [&["apply", &file, "--yes", "--replace", "--confirm-within", "60s"][..], &["keep", "--without-proof"]] {
        let out = lab.portcullis(args);
        assert!(out.status.success(), "{args:?}: {}", both(&out));
    }
}

#[track_caller]
fn save(lab: &Lab, args: &[&str]) -> String {
    let out = lab.portcullis(&[&["save", "--yes"], args].concat());
    assert!(out.status.success(), "{}", both(&out));
    both(&out)
}

/// Checks with packets who gets in: the operator can log in, the node reaches the portmapper, the stranger does not; in
/// both families.
#[track_caller]
fn guarded(lab: &Lab, when: &str) {
    let reaches = |client: usize, to: IpAddr| {
        (tcp_connects(&lab.clients[client], to, 111), portmapper_answers_udp(&lab.clients[client], to))
    };
    for (mine, theirs) in [(Lab::server4(0), Lab::server4(1)), (Lab::server6(0), Lab::server6(1))] {
        let rules = || lab.server.rules();
        assert!(login_works(lab, 0, mine), "{when}: the operator is locked out at {mine}\n{}", rules());
        assert_eq!(reaches(0, mine), (true, true), "{when}: the node at {mine}\n{}", rules());
        assert_eq!(reaches(1, theirs), (false, false), "{when}: the stranger at {theirs}\n{}", rules());
    }
}

/// Whether the jump to our rules is the first rule of INPUT, for each family.
fn jumps(space: &Space) -> [bool; 2] {
    ["iptables", "ip6tables"].map(|tool| {
        let said = space.output(&[tool, "-w", "5", "-S", "INPUT"]);
        String::from_utf8_lossy(&said.stdout).lines().find(|l| l.starts_with("-A"))
            == Some("-A INPUT ! -i lo -j PORTCULLIS")
    })
}

/// Everything of ours that survives a reboot, as a bash script for the next machine.
fn disk(lab: &Lab) -> String {
    let files = "etc/portcullis var/lib/portcullis $(cd /; find etc/systemd/system -name 'portcullis*') $(cd /; ls -d \
        etc/iptables/rules.* 2>/dev/null || true)";
    let text = lab.server.sh(&format!("tar -C / -cf - {files} | base64"));
    format!("base64 -d <<'DISK' | tar -C / -xf -\n{text}DISK\n")
}

/// Boots a machine with the same packages and settings and the saved disk, but nothing of the old one's memory.
fn reboot(lab: Lab, packages: &[&str], prepare: &str) -> Option<Lab> {
    let (backend, disk) = (lab.backend, disk(&lab));
    drop(lab);
    let lab = systemd::lab_with(backend, 2, packages, &format!("{prepare}\n{disk}"))?;
    lab.start_rpcbind();
    Some(lab)
}

/// When a unit was started and when it was up, in microseconds of the monotonic clock.
fn times(lab: &Lab, unit: &str) -> (u64, u64) {
    let of = |what: &str| {
        lab.server.run(&["systemctl", "show", "--property", what, "--value", unit]).trim().parse().unwrap()
    };
    (of("InactiveExitTimestampMonotonic"), of("ActiveEnterTimestampMonotonic"))
}

/// A machine with a manager, our plan kept and saved in the mode that fits it, then rebooted.
fn saved_and_rebooted(backend: Backend, packages: &[&str], prepare: &str, manager: &str) -> Option<Lab> {
    let lab = systemd::lab_with(backend, 2, packages, prepare)?;
    lab.start_rpcbind();
    keep(&lab, &plan(0));
    guarded(&lab, "kept");
    let said = save(&lab, &["--ours", "--must-load"]);
    assert!(said.contains("loaded_at_boot: true") && said.contains("portcullis-rules.service ran"), "{said}");
    let lab = reboot(lab, packages, prepare)?;
    wait_for("the unit has run", SOON, || {
        lab.server.run(&["systemctl", "show", "--property=ActiveState", "--value", "portcullis-rules.service"]).trim()
            == "active"
    });
    let (ours, theirs, network) =
        (times(&lab, "portcullis-rules.service"), times(&lab, manager), times(&lab, "network-pre.target"));
    assert!(ours.0 >= theirs.1 && ours.1 <= network.1, "ours {ours:?}, {manager} {theirs:?}, network {network:?}");
    guarded(&lab, "after the boot");
    Some(lab)
}

#[test]
fn with_ufw_our_rules_are_loaded_after_it_and_stay() {
    for backend in Backend::BOTH {
        let Some(lab) = saved_and_rebooted(backend, &["ufw"], UFW, "ufw.service") else { return };
        for what in [
            "ufw reload",
            "ufw disable",
            "ufw --force enable",
            "systemctl restart ufw",
            "systemctl stop ufw; systemctl start ufw",
            "systemctl restart portcullis-rules",
        ] {
            lab.server.sh(what);
            wait_for(what, SOON, || jumps(&lab.server) == [true; 2]);
        }
        guarded(&lab, "after all that ufw does");
        assert!(lab.server.sh("iptables -S INPUT").contains("-A INPUT -j ufw-before-input"));
        // The warning that this wipes our rules is true; so is the way back.
        lab.server.sh("sed -i s/MANAGE_BUILTINS=no/MANAGE_BUILTINS=yes/ /etc/default/ufw");
        let said = save(&lab, &["--ours"]);
        assert!(
            said.contains("MANAGE_BUILTINS=yes in /etc/default/ufw: each `ufw reload`")
                && said.contains("`systemctl restart portcullis-rules`"),
            "{said}"
        );
        lab.server.sh("ufw reload");
        assert_eq!(jumps(&lab.server), [false; 2]);
        lab.server.sh("systemctl restart portcullis-rules");
        guarded(&lab, "put in again");
        lab.server.sh("systemctl restart ufw");
        wait_for("a restart of the service brings it back", SOON, || jumps(&lab.server) == [true; 2]);
    }
}

#[test]
fn with_firewalld_our_rules_come_back_with_its_service() {
    for back_end in ["nftables", "iptables"] {
        let prepare = format!(
            "sed -i s/^FirewallBackend=.*/FirewallBackend={back_end}/ /etc/firewalld/firewalld.conf; {FIREWALLD}"
        );
        let Some(lab) = saved_and_rebooted(Backend::Nft, &["firewalld"], &prepare, "firewalld.service") else { return };
        for what in ["systemctl reload firewalld", "systemctl restart firewalld"] {
            // Packets sent while it reloads are lost; its own tool tells when it is done.
            lab.server.sh(&format!("{what}; firewall-cmd --state"));
            wait_for(what, SOON, || jumps(&lab.server) == [true; 2]);
            guarded(&lab, what);
        }
        if back_end == "iptables" {
            // What remains of its rules without its zones rejects everybody.
            let out = lab.portcullis(&["save", "--unmanaged", "--yes"]);
            let said = both(&out);
            assert!(
                out.status.code() == Some(3)
                    && said.contains("what lets it in is firewalld's")
                    && said.contains("`portcullis save --ours`"),
                "{said}"
            );
            assert!(!said.contains("apt install"), "{said}");
            lab.server.sh("! test -e /etc/iptables/rules.v4");
        }
        let said = save(&lab, &["--ours"]);
        assert!(
            said.contains(
                "`firewall-cmd --reload` removes all rules that are not its own: `systemctl restart portcullis-rules`"
            ),
            "{said}"
        );
        lab.server.sh("firewall-cmd --reload");
        assert_eq!(jumps(&lab.server), [false; 2], "{back_end}");
        lab.server.sh("systemctl restart portcullis-rules");
        guarded(&lab, "put in again");
        assert!(lab.server.run(&["systemctl", "is-active", "firewalld"]).contains("active"));
    }
}

#[test]
fn what_flushes_everything_brings_our_part_back() {
    // Debian's nftables.service with `flush ruleset`, and an older plan in what netfilter-persistent loads.
    let prepare = "systemctl -q enable nftables.service netfilter-persistent.service";
    let packages = ["iptables-persistent"];
    let Some(lab) = systemd::lab_with(Backend::Nft, 2, &packages, prepare) else { return };
    lab.start_rpcbind();
    keep(&lab, &plan(1));
    let said = save(&lab, &["--all"]);
    assert!(said.contains("wrote /etc/iptables/rules.v4"), "{said}");
    keep(&lab, &plan(0));
    save(&lab, &["--ours", "--must-load"]);
    let Some(lab) = reboot(lab, &packages, prepare) else { return };
    wait_for("the unit has run", SOON, || jumps(&lab.server) == [true; 2]);
    guarded(&lab, "the later plan wins");
    for what in [
        "systemctl reload nftables",
        "systemctl restart nftables",
        "systemctl stop nftables; systemctl start nftables",
        "systemctl restart netfilter-persistent",
    ] {
        lab.server
            .sh(&format!("{what}; while systemctl list-jobs --no-legend | grep -q portcullis; do sleep 0.05; done"));
        wait_for(what, SOON, || jumps(&lab.server) == [true; 2]);
        guarded(&lab, what);
    }
    lab.server.sh("nft flush ruleset");
    assert_eq!(jumps(&lab.server), [false; 2]);
    lab.server.sh("systemctl reload portcullis-rules");
    guarded(&lab, "after a flush by hand");
    // A plan that was kept after the save is not undone by a restart of the service.
    keep(&lab, &plan(1));
    lab.server.sh("systemctl restart portcullis-rules");
    let journal = lab.server.sh("journalctl -b -u portcullis-rules -o cat");
    assert!(journal.contains("kept later than what is saved, is loaded and stays"), "{journal}");
    assert!(
        tcp_connects(&lab.clients[1], Lab::server4(1), 111) && !tcp_connects(&lab.clients[0], Lab::server4(0), 111)
    );
}

#[test]
fn nothing_is_loaded_under_a_trial_and_the_manager_goes_on() {
    let Some(lab) = systemd::lab_with(Backend::Nft, 2, &["ufw"], UFW) else { return };
    lab.start_rpcbind();
    keep(&lab, &plan(1));
    save(&lab, &["--ours"]);
    let file = lab.file("plan.toml", &plan(0));
    let out = lab.portcullis(&["apply", &file, "--yes", "--replace", "--confirm-within", "60s"]);
    assert!(out.status.success(), "{}", both(&out));
    let before = lab.server.rules();
    let out = lab.portcullis(&["load"]);
    assert!(out.status.code() == Some(3) && both(&out).contains("a trial is pending"), "{}", both(&out));
    lab.server.sh("systemctl restart ufw");
    wait_for("ours was refused", SOON, || {
        lab.server.sh("journalctl -b -u portcullis-rules -o cat").contains("error: a trial is pending")
    });
    assert_eq!(lab.server.rules(), before);
    guarded(&lab, "the trial goes on");
    assert!(lab.portcullis(&["revert"]).status.success());
    assert!(lab.portcullis(&["load"]).status.success());
}

/// A host as found in a support question: ufw denies incoming packets and allows ssh, the portmapper and, for
/// the LAN, NFS.
#[test]
fn a_save_that_ufw_alone_would_make_harmless_is_refused() {
    let Some(lab) = layer::lab(Backend::Nft, 2, &["ufw"]) else { return };
    common::ssh::start_sshd(&lab);
    lab.start_rpcbind();
    lab.server
        .sh("ufw allow 22/tcp; ufw allow from 192.0.2.0/24 to any port 2049 proto tcp; ufw allow 111; ufw --force \
            enable");
    keep(&lab, &plan(0));
    guarded(&lab, "kept");
    let out = lab.portcullis(&["save", "--unmanaged", "--yes"]);
    let said = both(&out);
    assert_eq!(out.status.code(), Some(3), "{said}");
    for part in [
        "error: boot would cut ",
        "what lets it in is ufw's",
        "`portcullis save --ours`",
        "Until ufw has built its own, these rules alone close what is open now",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // apt would remove ufw for it.
    assert!(!said.contains("iptables-persistent") && !said.contains("apt"), "{said}");
    lab.server.sh("! test -e /etc/iptables/rules.v4");
    // Proved by loading only what the preview showed.
    let mut file = String::new();
    for line in said
        .lines()
        .skip_while(|l| !l.starts_with("--- /etc/iptables/rules.v4"))
        .skip(3)
        .take_while(|l| l.starts_with('+'))
    {
        writeln!(file, "{}", &line[1..]).unwrap();
    }
    let path = lab.file("refused.v4", &file);
    lab.server.sh(&format!("iptables-save > /run/kept; iptables-restore < {path}"));
    assert!(!login_works(&lab, 0, Lab::server4(0)), "{file}");
    lab.server.sh("iptables-restore < /run/kept");
    // Without systemd nothing loads our rules; the message says what boot has to run, and that works.
    let said = save(&lab, &["--ours"]);
    assert!(
        said.contains("have the boot run `portcullis load` after the firewall's own start")
            && said.contains("loaded_at_boot: false"),
        "{said}"
    );
    let out = lab.portcullis(&["save", "--ours", "--yes", "--must-load"]);
    assert_eq!(out.status.code(), Some(3), "{}", both(&out));
    let boot = |script: &str| lab.server.sh(&format!("unshare -n bash -ec '{script}; iptables-save; ip6tables-save'"));
    let load = format!("{} load 2>/dev/null", common::PORTCULLIS);
    let ufw = "/lib/ufw/ufw-init start quiet";
    let rules = |text: &str| text.lines().filter(|l| l.starts_with(['-', '*'])).map(str::to_owned).collect::<Vec<_>>();
    let after = boot(&format!("{ufw}; {load}"));
    assert_eq!(after.matches("-A INPUT ! -i lo -j PORTCULLIS\n").count(), 2, "{after}");
    assert_eq!(rules(&boot(&format!("{ufw}; {load}; {load}"))), rules(&after), "twice is once");
    let theirs: Vec<String> = rules(&after).into_iter().filter(|l| !l.contains("PORTCULLIS")).collect();
    assert_eq!(theirs, rules(&boot(ufw)), "nothing of ufw's is touched");
    // Nothing in the separate namespace has reached the server.
    guarded(&lab, "at the end");
}
