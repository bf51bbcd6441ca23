//! The real program in a real pseudo-terminal, driven by keys; each wait is for something on the screen.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and has a clock"
)]

use crate::pty;

use std::time::{Duration, Instant};

use pty::{ESC, Pty};

/// Presses a key until a text is on the screen; a key that works now and then not is pressed again by people, too.
fn press_until(p: &mut Pty, key: &str, text: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while !p.screen().contains(text) {
        assert!(Instant::now() < end, "{text:?} does not come up; the screen:\n{}", p.screen());
        p.press(key);
        let pause = Instant::now() + Duration::from_secs(3);
        while !p.screen().contains(text) && Instant::now() < pause {
            p.take(Duration::from_millis(100));
        }
    }
}

#[test]
fn keys_alone_lead_to_a_kept_trial_and_a_saved_file() {
    let mut p = Pty::start(&["demo"], &[]);
    p.see("portmapper");
    p.see("nothing real is touched");
    p.press("p");
    p.see("Who may use portmapper");
    p.press("node1 nosuch.example\r");
    p.see("does not resolve");
    // Only the wrong word is removed; the rest of the input stays.
    p.press("\x17\r");
    p.see("staged: 1 node");
    p.press("3");
    p.see("allow node1");
    p.see("a new login still gets in");
    p.press("v");
    p.see("portmapper, 2 ports");
    p.press("\t");
    p.see("-A PORTCULLIS-A");
    p.press("y");
    p.see("Apply on trial for 60 s");
    p.press("\r");
    p.see("The old rules come back in");
    p.press("+");
    p.see("1 min");
    // An extension requires a new login; the demo's operator tries one.
    p.see("proof of access: root logged in from 10.0.0.5");
    p.press("k");
    p.see("This trial has ended: kept");
    p.press(ESC);
    p.see("this plan is kept");
    p.press("s");
    p.see("rules.v4");
    p.press("\r");
    p.see("saved all but what managers rebuild: wrote /etc/iptables/rules.v4");
    p.press("1");
    p.see("1 address");
    p.press("q");
    assert_eq!(p.end(), 0);
    assert!(
        !p.emulator.screen().alternate_screen() && !p.emulator.screen().hide_cursor(),
        "the terminal was not given back"
    );
}

#[test]
fn the_guide_leads_a_beginner_who_errs_and_recovers() {
    let mut p = Pty::start(&["demo"], &[]);
    p.see("portmapper");
    p.press("g");
    p.see("What is open now?");
    p.press("\r");
    p.see("[x] portmapper");
    p.press("\r");
    p.see("Nobody yet");
    p.press("\r");
    p.see("Who may use");
    p.press("\r");
    p.see("enter at least one node");
    p.press("10.0.0.5 192.0.2.0/24\r");
    p.see("adds nodes");
    p.press("\r");
    p.see("What will change?");
    p.see("your SSH session");
    p.press("\r");
    p.see("Apply on trial for 60 s");
    p.press("\r");
    p.see("The old rules come back in");
    // A mistake: reverted, and tried again.
    p.press("r");
    p.see("This trial has ended: reverted");
    p.press(ESC);
    p.see("Guided hardening: step 5");
    p.see("The old rules are back.");
    p.press("\r");
    p.see("your SSH session");
    // The plan is worked out anew for the rules after the revert; until then the key says so.
    press_until(&mut p, "\r", "Apply on trial for 60 s");
    p.press("\r");
    p.see("unless you keep the new ones");
    p.see("proof of access");
    p.press("k");
    p.see("This trial has ended: kept");
    p.press(ESC);
    p.see("Guided hardening: step 5");
    p.see("Kept.");
    p.press("\r");
    p.see("Save for the next boot?");
    p.press("\r");
    p.see("loads these files at boot");
    p.press("\r");
    p.see("Done.");
    p.press("\x03");
    assert_eq!(p.end(), 0);
}

#[test]
fn a_dropped_session_leaves_the_draft_and_a_whole_terminal() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_owned();
    let mut p = Pty::start_in(&["demo"], &[("XDG_DATA_HOME", path.to_str().unwrap())], data);
    p.see("portmapper");
    p.press("p");
    p.see("Who may use");
    p.press("192.0.2.11\r");
    p.see("staged: 1 node");
    let draft = path.join("portcullis/draft-demo-nfs1.toml");
    let end = Instant::now() + Duration::from_secs(10);
    while !draft.exists() {
        assert!(Instant::now() < end, "no draft at {}", draft.display());
        p.take(Duration::from_millis(20));
    }
    p.signal(rustix::process::Signal::HUP);
    p.end();
    let mut again = Pty::start(&["demo"], &[("XDG_DATA_HOME", path.to_str().unwrap())]);
    again.see("A draft from an earlier session");
    again.press("\r");
    again.see("allow 192.0.2.11");
    again.signal(rustix::process::Signal::TERM);
    again.end();
    assert!(!again.emulator.screen().alternate_screen(), "the terminal was not given back");
}

#[test]
fn what_was_staged_just_before_leaving_is_in_the_draft() {
    let data = tempfile::tempdir().unwrap();
    let draft = data.path().join("portcullis/draft-demo-nfs1.toml");
    for keys in ["dq", "d\x03"] {
        let path = data.path().to_str().unwrap();
        let mut p = Pty::start(&["demo"], &[("XDG_DATA_HOME", path)]);
        p.see("portmapper");
        // All keys arrive in one read, so nothing is drawn or handed over between them.
        p.press(keys);
        assert_eq!(p.end(), 0);
        assert!(std::fs::read_to_string(&draft).unwrap_or_default().contains("drop"), "{keys:?}: no draft");
        std::fs::remove_file(&draft).unwrap();
    }
}

#[test]
fn stop_and_go_on_draws_everything_again() {
    let mut p = Pty::start(&["demo"], &[]);
    p.see("portmapper");
    p.resize(120, 40);
    p.see("iptables v1.8.9");
    p.signal(rustix::process::Signal::CONT);
    p.see("portmapper");
    p.press("q");
    assert_eq!(p.end(), 0);
}

#[test]
fn few_bytes_and_quick_answers() {
    let mut p = Pty::start(&["demo"], &[]);
    p.see("portmapper");
    p.quiet(Duration::from_millis(80));
    let (mut bytes, mut times, steps) = (0, Vec::new(), 40);
    for i in 0..steps {
        let begun = Instant::now();
        p.press(if i % 16 < 8 { "\x1b[B" } else { "\x1b[A" });
        let had = p.received;
        assert!(p.take(Duration::from_secs(5)), "no answer to a cursor key");
        times.push(begun.elapsed());
        bytes += p.received - had + p.quiet(Duration::from_millis(80));
    }
    times.sort();
    let each = bytes / steps;
    println!("bytes a cursor step: {each}; first byte after a key, median: {:?}", times[steps / 2]);
    assert!(each <= 300, "{each} bytes a cursor step");
    // Idle: no output and no wake-ups.
    let before = p.switches();
    let had = p.received;
    assert!(!p.take(Duration::from_secs(2)), "bytes while idle");
    assert_eq!((p.received, p.switches()), (had, before), "it woke up while idle");
    p.press("q");
    p.end();
}
