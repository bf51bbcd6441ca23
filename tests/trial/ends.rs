//! The end of a trial when something is broken, on the real kernel: tools that cannot read, files that cannot be
//! written, locks held by others, renamed chains.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and keeps its own time"
)]

use crate::common;

use std::process::Output;
use std::time::Duration;

use common::outlive::{THEIRS, THEIRS6, TRIALS, boot_millis};
use common::{Backend, Lab, PORTCULLIS, holds_within, wait_for};

const SOON: Duration = Duration::from_secs(40);

fn plan(ports: &str) -> String {
    format!("version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [{ports}]\n")
}

/// A server with rules of others and a kept plan.
fn lab(backend: Backend) -> Option<Lab> {
    let lab = Lab::new(backend, 1, &[])?;
    lab.server.restore("", THEIRS);
    lab.server.restore("6", THEIRS6);
    let kept = lab.file("kept.toml", &plan("\"7000/udp\""));
    does(&lab, &["apply", &kept, "--yes"]);
    does(&lab, &["keep", "--without-proof"]);
    lab.file("trial.toml", &plan("\"7000/udp\", \"7001/tcp\""));
    Some(lab)
}

/// Runs a scenario on both variants, for each of its kinds, all at once.
fn everywhere<T: Copy + Send>(kinds: &[T], scenario: impl Fn(&Lab, T) + Sync) {
    std::thread::scope(|s| {
        for backend in Backend::BOTH {
            for &kind in kinds {
                let scenario = &scenario;
                s.spawn(move || {
                    let _turn = TRIALS.turn();
                    lab(backend).inspect(|lab| scenario(lab, kind))
                });
            }
        }
    });
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[track_caller]
fn does(lab: &Lab, args: &[&str]) -> String {
    let out = lab.portcullis(args);
    assert!(out.status.success(), "{:?} {args:?}: {}", lab.backend, said(&out));
    said(&out)
}

/// Applies the second plan.
#[track_caller]
fn begin(lab: &Lab, time: &str) {
    let file = lab.dir.path().join("trial.toml").display().to_string();
    does(lab, &["apply", &file, "--yes", "--confirm-within", time]);
}

fn state(lab: &Lab) -> serde_json::Value {
    let out = lab.portcullis(&["status", "--json"]);
    serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&out)))["trial"]
        .take()
}

fn file(lab: &Lab) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(lab.dir.path().join("run/trial.json")).unwrap()).unwrap()
}

/// Replaces a tool of both families (`-save`, or "" for the plain one) by a bash script, in the server's own namespace;
/// `$real "$@"` runs the tool.
fn instead(lab: &Lab, what: &str, script: &str) {
    let word = lab.backend.word();
    for family in ["ip", "ip6"] {
        lab.server.sh(&format!(
            "cat > /run/{family}{what}.instead <<'END'\n#!/bin/bash\nreal=/usr/sbin/{family}tables-{word}{what}\n\
             if [ \"$(readlink /proc/self/ns/net)\" = \"$(cat /run/home)\" ]; then\n{script}\nfi\nexec \
             $real \"$@\"\nEND\n\
             readlink /proc/self/ns/net > /run/home; chmod 755 /run/{family}{what}.instead\n\
             ln -sfn /run/{family}{what}.instead /etc/alternatives/{family}tables{what}"
        ));
    }
}

fn mend(lab: &Lab, what: &str) {
    for family in ["ip", "ip6"] {
        lab.mend(&format!("{family}tables{what}"));
    }
}

/// Our rules as printed by the tool itself, whatever has replaced it.
fn ours(lab: &Lab) -> String {
    let word = lab.backend.word();
    let all = lab.server.sh(&format!("for f in ip ip6; do /usr/sbin/${{f}}tables-{word}-save -t filter; done"));
    all.lines().filter(|l| l.starts_with("-A") && l.contains("PORTCULLIS")).flat_map(|l| [l, "\n"]).collect()
}

/// How reading the rules goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blind {
    Fails,
    PrintsNothing,
    Hangs,
}

#[test]
fn a_kept_plan_stays_when_only_the_reading_back_of_a_revert_fails() {
    let kinds: Vec<(Blind, bool)> =
        [Blind::Fails, Blind::PrintsNothing, Blind::Hangs].into_iter().flat_map(|b| [(b, true), (b, false)]).collect();
    everywhere(&kinds, |lab, (blind, by_guard)| {
        let what = format!("{:?} {blind:?}, guard: {by_guard}", lab.backend);
        let (before, kept) = (lab.server.rules(), ours(lab));
        begin(lab, if by_guard { "10s" } else { "60s" });
        let script = match blind {
            Blind::Fails => "echo 'cannot read' >&2; exit 1",
            Blind::PrintsNothing => "exit 0",
            Blind::Hangs => "exec sleep 1000",
        };
        instead(lab, "-save", script);
        // Our own chains are asked for as well.
        instead(lab, "", &format!("case \"$*\" in *-S*) {script};; esac"));
        assert_ne!(ours(lab), kept, "{what}");
        if by_guard {
            let deadline = file(lab)["deadline"].as_i64().unwrap();
            wait_for("the kept plan is back", SOON, || ours(lab) == kept);
            let late = boot_millis() - deadline;
            assert!((0..9000).contains(&late), "{what}: {late} ms after the deadline");
            wait_for("the guard ends", SOON, || lab.server.pids("portcullis guard").is_empty());
        } else {
            let out = lab.portcullis(&["revert"]);
            assert!(
                out.status.code() == Some(1) && said(&out).contains("were put back, but could not be read back"),
                "{what}: {}",
                said(&out)
            );
        }
        assert_eq!(ours(lab), kept, "{what}: nothing was emptied");
        assert!(file(lab)["state"] == "reverted" && file(lab)["unverified"].is_string(), "{what}: {}", file(lab));
        if blind != Blind::Hangs {
            assert_eq!(state(lab)["verified"], false, "{what}");
            let status = lab.portcullis(&["status"]);
            // Rules that cannot be read are a failure; rules that read as empty are not in force.
            let code = if blind == Blind::Fails { 1 } else { 6 };
            assert!(
                status.status.code() == Some(code) && said(&status).contains("put back, but not verified"),
                "{what}: {}",
                said(&status)
            );
            assert_eq!(lab.portcullis(&["revert"]).status.code(), Some(1), "{what}");
        }
        for what in ["-save", ""] {
            mend(lab, what);
        }
        assert!(does(lab, &["revert"]).contains("the old rules are back"), "{what}");
        assert_eq!((lab.server.rules(), state(lab)["verified"].as_bool()), (before, Some(true)), "{what}");
        assert!(does(lab, &["revert"]).contains("no trial is pending"), "{what}");
    });
}

/// Why one of our files cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unwritable {
    ReadOnly,
    Full,
    /// The directory is gone, and no new one can be created.
    Gone,
}

/// Puts the run directory on a file system of its own, which can be made read-only and writable again.
fn on_tmpfs(lab: &Lab) -> String {
    let run = lab.dir.path().join("run").display().to_string();
    lab.server.sh(&format!(
        "cp -a {run} {run}.old; mount -t tmpfs -o size=64k,mode=700 small {run}; cp -a {run}.old/. {run}/"
    ));
    run
}

/// Waits until the guard has read that the trial runs: each round of its loop writes its own file anew if it is gone.
/// A guard that has only read of an armed trial would revert at once when the state file goes. The first round may
/// have begun before.
fn guard_has_looked(lab: &Lab, run: &str) {
    for _ in 0..2 {
        lab.server.sh(&format!("rm {run}/guard-*.json"));
        wait_for("the guard looks", SOON, || {
            lab.server.output(&["sh", "-c", &format!("ls {run}/guard-*.json")]).status.success()
        });
    }
}

#[test]
fn a_revert_needs_no_file_and_status_tells_what_the_kernel_shows() {
    let kinds: Vec<(Unwritable, bool)> = [Unwritable::ReadOnly, Unwritable::Full, Unwritable::Gone]
        .into_iter()
        .flat_map(|u| [(u, true), (u, false)])
        .collect();
    everywhere(&kinds, |lab, (unwritable, by_guard)| {
        let what = format!("{:?} {unwritable:?}, guard: {by_guard}", lab.backend);
        let before = lab.server.rules();
        let run = on_tmpfs(lab);
        begin(lab, if by_guard { "10s" } else { "60s" });
        guard_has_looked(lab, &run);
        lab.server.sh(&match unwritable {
            Unwritable::ReadOnly => format!("mount -o remount,ro {run}"),
            Unwritable::Full => {
                format!(
                    "head -c 1M /dev/zero > {run}/fills 2>/dev/null || true; ! echo x > {run}/more 2>/dev/null || true"
                )
            }
            Unwritable::Gone => format!("mount -t tmpfs -o ro none {}", lab.dir.path().display()),
        });
        if unwritable != Unwritable::Gone {
            assert_eq!(state(lab)["state"], "running", "{what}");
            let kept = lab.portcullis(&["keep", "--without-proof"]);
            assert!(!kept.status.success() && ours(lab).contains("--datestop"), "{what}: {}", said(&kept));
        }
        if by_guard {
            wait_for("the guard reverts", SOON, || lab.server.pids("portcullis guard").is_empty());
        } else {
            let said = does(lab, &["revert"]);
            assert!(
                said.contains("the old rules are back") || unwritable == Unwritable::Gone && said.contains("reverted"),
                "{what}: {said}"
            );
        }
        assert_eq!(lab.server.rules(), before, "{what}");
        if unwritable == Unwritable::Gone {
            assert_ne!(state(lab)["state"], "running", "{what}");
        } else {
            let now = state(lab);
            assert!(
                now["state"] == "reverted"
                    && now["by"].is_null()
                    && now["why"].as_str().unwrap().contains("though the state file says running"),
                "{what}: {now}"
            );
            assert_eq!(does(lab, &["status"]).matches("running").count(), 1, "{what}: only as what the file says");
        }
        lab.server.sh(&match unwritable {
            Unwritable::ReadOnly => format!("mount -o remount,rw {run}"),
            Unwritable::Full => format!("rm {run}/fills"),
            Unwritable::Gone => format!("umount {}", lab.dir.path().display()),
        });
        let refused = lab.portcullis(&["keep", "--without-proof"]);
        assert!(!refused.status.success() && lab.server.rules() == before, "{what}: {}", said(&refused));
        begin(lab, "60s");
        does(lab, &["revert"]);
        assert_eq!((lab.server.rules(), state(lab)["by"].as_str()), (before, Some("operator")), "{what}");
    });
}

/// Holds the lock of iptables-legacy for some seconds; iptables-nft has none.
fn hold_lock(lab: &Lab, seconds: u32) {
    lab.server.sh(&format!(
        "flock /run/xtables.lock sleep {seconds} >/dev/null 2>&1 &\nsleep 0.1; ! flock -n /run/xtables.lock true"
    ));
}

/// Starts a revert; its output goes to a file, with its exit status on the last line.
fn revert_in_background(lab: &Lab) -> std::path::PathBuf {
    let said = lab.dir.path().join("revert.out");
    lab.server.sh(&format!(
        "( setsid --wait {PORTCULLIS} revert && echo exit 0 || echo \"exit $?\" ) > {} 2>&1 </dev/null &",
        said.display()
    ));
    said
}

fn text(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_revert_that_waits_for_the_lock_says_for_whom_and_is_not_killed() {
    /// When the lock is released.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Lock {
        Soon,
        AfterTheDeadline,
        TooLate,
    }
    std::thread::scope(|s| {
        for kind in [Lock::Soon, Lock::AfterTheDeadline, Lock::TooLate] {
            s.spawn(move || {
                lab(Backend::Legacy).inspect(|lab| {
                    let before = lab.server.rules();
                    begin(lab, if kind == Lock::AfterTheDeadline { "10s" } else { "2m" });
                    let deadline = file(lab)["deadline"].as_i64().unwrap();
                    if kind == Lock::AfterTheDeadline {
                        wait_for("the deadline is near", SOON, || boot_millis() > deadline - 4000);
                    }
                    hold_lock(
                        lab,
                        match kind {
                            Lock::Soon => 6,
                            Lock::AfterTheDeadline => 12,
                            Lock::TooLate => 30,
                        },
                    );
                    let out = revert_in_background(lab);
                    wait_for("it says who holds the lock", Duration::from_secs(5), || {
                        text(&out).contains("(`flock /run/xtables.lock sleep ")
                    });
                    assert!(
                        text(&out).contains("holds the xtables lock; waiting for it up to 1")
                            && text(&out).contains("the kernel itself goes back to the old rules in"),
                        "{kind:?}: {}",
                        text(&out)
                    );
                    let ended = holds_within(SOON, || text(&out).contains("exit "));
                    let said = text(&out);
                    assert!(ended, "{kind:?}: {said}\n{}", lab.server.run(&["ps", "-eo", "pid,args"]));
                    if kind == Lock::TooLate {
                        assert!(
                            said.contains("exit 1")
                                && said.contains("error: the old rules are not back yet")
                                && said.contains("hint: the guard keeps trying"),
                            "{said}"
                        );
                    } else {
                        assert!(
                            said.contains("exit 0") && said.contains("reverted: the old rules are back"),
                            "{kind:?}: {said}"
                        );
                    }
                    if kind == Lock::AfterTheDeadline {
                        assert!(boot_millis() > deadline + 6000, "the lock was held beyond the deadline");
                    }
                    wait_for("the guard ends", SOON, || lab.server.pids("portcullis guard").is_empty());
                    assert_eq!(
                        (lab.server.rules(), state(lab)["state"].as_str()),
                        (before, Some("reverted")),
                        "{kind:?}: {said}"
                    );
                })
            });
        }
    });
}

#[test]
fn a_renamed_chain_of_ours_is_removed_by_the_revert() {
    /// What ends the trial.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum By {
        Guard,
        Command,
        /// The kernel: the state file is gone, and the guard with it.
        Kernel,
    }
    let ways = ["PORTCULLIS x", "PORTCULLIS-B y", "PORTCULLIS x; PORTCULLIS-B y"];
    let kinds: Vec<(By, &str)> =
        [By::Guard, By::Command, By::Kernel].into_iter().flat_map(|by| ways.map(|w| (by, w))).collect();
    everywhere(&kinds, |lab, (by, way)| {
        let what = format!("{:?} {way}, by {by:?}", lab.backend);
        let before = lab.server.rules();
        begin(lab, if by == By::Guard { "10s" } else { "60s" });
        assert!(lab.server.rules().contains("-j PORTCULLIS-B"), "{what}: the trial's slot");
        for rename in way.split("; ") {
            lab.server.sh(&format!("iptables -w 5 -E {rename}; ip6tables -w 5 -E {rename}"));
        }
        let now = state(lab);
        assert_eq!(now["state"], "running", "{what}: {now}");
        if way.contains(" x") {
            assert!(
                now["remarks"].to_string().contains("somebody renamed our IPv4 chain PORTCULLIS to x"),
                "{what}: {now}"
            );
        }
        let kept = lab.portcullis(&["keep", "--without-proof"]);
        assert!(
            kept.status.code() == Some(3) && said(&kept).contains("somebody renamed our"),
            "{what}: {}",
            said(&kept)
        );
        match by {
            By::Guard => {
                wait_for("the guard reverts", SOON, || lab.server.pids("portcullis guard").is_empty());
            }
            By::Command => assert!(does(lab, &["revert"]).contains("somebody had renamed a chain of ours"), "{what}"),
            By::Kernel => {
                lab.server.signal("-KILL", &lab.server.pids("portcullis guard"));
                std::fs::remove_file(lab.dir.path().join("run/trial.json")).unwrap();
                assert_eq!(
                    (state(lab)["id"].as_str(), state(lab)["state"].as_str()),
                    (Some("unrecorded"), Some("running")),
                    "{what}"
                );
                assert!(does(lab, &["revert"]).contains("was found in the kernel and reverted"), "{what}");
            }
        }
        assert_eq!(lab.server.rules(), before, "{what}");
        assert_eq!(state(lab)["state"], "reverted", "{what}");
    });
}

/// Runs the program inside another time namespace, whose boot clock is some days ahead.
fn shifted(lab: &Lab, args: &[&str]) -> Output {
    let argv: Vec<&str> = ["setsid", "--wait", "unshare", "-T", "--boottime", "500000", PORTCULLIS]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    lab.server.output(&argv)
}

#[test]
fn a_trial_is_the_same_from_every_time_namespace() {
    everywhere(&[true, false], |lab, begun_inside| {
        let what = format!("{:?}, begun inside: {begun_inside}", lab.backend);
        let file = lab.dir.path().join("trial.toml").display().to_string();
        let (inside, outside) = (|args: &[&str]| shifted(lab, args), |args: &[&str]| lab.portcullis(args));
        let run = |first: bool, args: &[&str]| if first == begun_inside { inside(args) } else { outside(args) };
        let before = lab.server.rules();
        let out = run(true, &["apply", &file, "--yes", "--confirm-within", "60s"]);
        assert!(out.status.success(), "{what}: {}", said(&out));
        for first in [true, false] {
            let out = run(first, &["status", "--json"]);
            let now: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
            let left = now["trial"]["seconds_left"].as_u64().unwrap();
            let (state, guarded) = (now["trial"]["state"].as_str(), now["trial"]["guarded"].as_bool());
            assert_eq!((state, guarded), (Some("running"), Some(true)), "{what}: {now}");
            assert!((20..=60).contains(&left), "{what}: {now}");
        }
        let out = run(false, &["revert"]);
        assert!(out.status.success() && lab.server.rules() == before, "{what}: {}", said(&out));
        // The guard ends it in time, whichever home it has.
        let out = run(true, &["apply", &file, "--yes", "--confirm-within", "10s"]);
        assert!(out.status.success(), "{what}: {}", said(&out));
        wait_for("the guard reverts", SOON, || lab.server.pids("portcullis guard").is_empty());
        let out = run(false, &["status", "--json"]);
        let now: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((now["trial"]["state"].as_str(), now["trial"]["by"].as_str()), (Some("reverted"), Some("guard")));
        assert_eq!(lab.server.rules(), before, "{what}");
    });
}

#[test]
fn root_without_a_say_over_the_network_namespace_is_told_so() {
    let Some(lab) = Lab::new(Backend::Nft, 0, &["setpriv"]) else { return };
    let file = lab.file("plan.toml", &plan("\"7000/udp\""));
    let before = lab.server.rules();
    // A user in the role of root, root in the same, and root in a container without the capability.
    let ways: [&[&str]; 3] = [
        &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare", "-Ur"],
        &["unshare", "-Ur"],
        &["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"],
    ];
    for way in ways {
        for args in [&["report"][..], &["status"], &["apply", &file, "--yes"], &["save", "--yes"]] {
            let argv = [way, &[PORTCULLIS], args].concat();
            let out = lab.server.output(&argv);
            assert_eq!(out.status.code(), Some(3), "{argv:?}: {}", said(&out));
            assert!(said(&out).contains("CAP_NET_ADMIN is missing"), "{argv:?}: {}", said(&out));
        }
    }
    // A network namespace of one's own may be changed.
    let out = lab.server.output(&["unshare", "-Urn", PORTCULLIS, "report"]);
    assert!(!said(&out).contains("CAP_NET_ADMIN"), "{}", said(&out));
    assert_eq!(lab.server.rules(), before);
}
