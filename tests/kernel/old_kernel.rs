//! The program on a kernel that lacks newer system calls, imitated by a real seccomp filter; and as the child of a
//! program that ignores SIGCHLD.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and has a clock"
)]

use crate::common;

use std::process::Output;
use std::time::{Duration, Instant};

use common::{Backend, Lab, PORTCULLIS, find, not_run, wait_for};

const PLAN: &str = "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n";

/// Starts a program under a filter that answers `pidfd_open` (434 on every architecture) with an error number: ENOSYS
/// as before Linux 5.3, EPERM as sandboxes do. All processes started from there inherit the filter.
const FILTER: &str = r#"
use strict;
my ($errno, @argv) = @ARGV;
my $prctl = {'x86_64' => 157, 'aarch64' => 167}->{(split ' ', `uname -m`)[0]} or die "unknown machine";
my $filter = pack('SCCL' x 4, 0x20, 0, 0, 0, 0x15, 0, 1, 434, 0x06, 0, 0, 0x00050000 | $errno, 0x06, 0, 0, 0x7fff0000);
my $program = pack('Sx![8]P', 4, $filter);
syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall($prctl, 22, 2, $program) == 0 or die "seccomp: $!";
exec @argv;
"#;

/// Starts a program with SIGCHLD ignored.
const IGNORES: &str = "my (undef, @argv) = @ARGV; $SIG{CHLD} = 'IGNORE'; exec @argv;";

/// How the program is started: a Perl program and its first argument.
const WAYS: [(&str, &str); 3] = [(FILTER, "38"), (FILTER, "1"), (IGNORES, "-")];

fn run(lab: &Lab, way: (&str, &str), args: &[&str]) -> Output {
    lab.server.output(&[&["setsid", "--wait", "perl", "-e", way.0, way.1, PORTCULLIS], args].concat())
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[track_caller]
fn good(lab: &Lab, way: (&str, &str), args: &[&str]) -> String {
    let out = run(lab, way, args);
    assert!(out.status.success(), "{:?} {} {args:?}: {}", lab.backend, way.1, said(&out));
    said(&out)
}

#[test]
fn a_whole_trial_without_pidfd_open_and_with_children_ignored() {
    if find("perl").is_none() {
        return not_run("perl is not installed");
    }
    std::thread::scope(|s| {
        for (backend, way) in Backend::BOTH.into_iter().flat_map(|b| WAYS.map(|w| (b, w))) {
            s.spawn(move || whole_trial(backend, way));
        }
    });
}

fn whole_trial(backend: Backend, way: (&str, &str)) {
    let Some(lab) = Lab::new(backend, 0, &[]) else { return };
    let plan = lab.file("plan.toml", PLAN);
    let before = lab.server.rules();
    let report = good(&lab, way, &["report", "--json"]);
    assert!(!report.contains("could not be run"), "{report}");
    // Kept, then removed again by a revert.
    good(&lab, way, &["apply", &plan, "--yes"]);
    good(&lab, way, &["keep", "--without-proof"]);
    let kept = lab.server.rules();
    assert!(kept.contains("-A PORTCULLIS-A -p tcp -m tcp --dport 111"), "{kept}");
    good(&lab, way, &["remove", "--yes"]);
    good(&lab, way, &["revert"]);
    assert_eq!(lab.server.rules(), kept, "{backend:?} {}", way.1);
    good(&lab, way, &["remove", "--yes"]);
    good(&lab, way, &["keep", "--without-proof"]);
    // Nobody keeps it: the guard, which runs under the same filter, reverts it at the deadline.
    good(&lab, way, &["apply", &plan, "--yes", "--confirm-within", "10s"]);
    wait_for("the guard reverts", Duration::from_mins(1), || lab.server.rules() == before);
    wait_for("the guard ends", Duration::from_secs(20), || lab.server.pids("portcullis guard").is_empty());
    assert!(good(&lab, way, &["status"]).contains("was reverted by the guard"), "{backend:?} {}", way.1);
}

#[test]
fn a_tool_that_hangs_is_killed_without_pidfd_open() {
    if find("perl").is_none() {
        return not_run("perl is not installed");
    }
    let Some(lab) = Lab::new(Backend::Nft, 0, &["rpcinfo"]) else { return };
    common::net::Echo::start(&lab.server, 111);
    lab.server.sh("printf '#!/bin/sh\\nsleep 600 &\\nexec sleep 601\\n' > /run/hangs; chmod 755 /run/hangs; mount \
        --bind /run/hangs /usr/bin/rpcinfo");
    for way in WAYS {
        let begun = Instant::now();
        let report = good(&lab, way, &["report"]);
        assert!(report.contains("rpcinfo did not answer within 3 s"), "{report}");
        assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(lab.server.pids("sleep 60").is_empty(), "{}: what hung was ended, with what it had started", way.1);
    }
}
