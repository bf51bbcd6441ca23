//! Sessions of an operator in a real `ssh -tt` on a real firewall: the main task, the guide, a mistake and its
//! recovery. Keys go in, screens and real packets come out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and keeps its own time"
)]

use crate::common;

use std::fs;

use common::net::{portmapper_answers_udp, tcp_connects};
use common::outlive::{GUARD, Home, Run, SOON, on_both};
use common::ssh::Terminal;
use common::{Lab, find, not_run, ours};
use portcullis::model::Proto;
use portcullis::syntax::rpcinfo;

const ESC: &str = "\x1b";
/// The listed node, from which the operator comes; and somebody else.
const NODE: usize = 0;
const STRANGER: usize = 1;

/// Runs a story on a host with rpcbind, with both variants.
fn story(name: &'static str, told: impl Fn(&mut Run) + Sync) {
    if let Some(missing) = ["rpcbind", "rpcinfo", "rpc.statd"].into_iter().find(|t| find(t).is_none()) {
        return not_run(&format!("{missing} is not installed"));
    }
    on_both(name, Home::Detached, true, |run| {
        run.lab.start_rpcbind();
        told(run);
    });
}

/// Whether rpcbind answers: TCP and UDP over IPv4, then over IPv6.
fn answers(lab: &Lab, client: usize) -> [bool; 4] {
    let from = &lab.clients[client];
    let (four, six) = (Lab::server4(client), Lab::server6(client));
    [
        tcp_connects(from, four, 111),
        portmapper_answers_udp(from, four),
        tcp_connects(from, six, 111),
        portmapper_answers_udp(from, six),
    ]
}

/// The listed node is served, a stranger is not.
#[track_caller]
fn only_the_node_is_served(lab: &Lab) {
    assert_eq!(
        (answers(lab, NODE), answers(lab, STRANGER)),
        ([true; 4], [false; 4]),
        "{:?}\n{}",
        lab.backend,
        lab.server.rules()
    );
}

/// The same for rpc.statd, whose IPv6 port differs from its IPv4 port.
#[track_caller]
fn only_the_node_reaches_statd(lab: &Lab) {
    let (services, _) = rpcinfo::read(&lab.server.run(&["rpcinfo"]));
    let ports: Vec<u16> =
        services.unwrap().iter().filter(|s| s.name == "status" && s.proto == Proto::TCP).map(|s| s.port).collect();
    let reached = |client: usize| {
        let to = [Lab::server4(client), Lab::server6(client)];
        let all = to.iter().flat_map(|t| ports.iter().map(|p| (*t, *p)));
        all.filter(|(to, port)| tcp_connects(&lab.clients[client], *to, *port)).count()
    };
    assert_eq!((ports.len(), reached(NODE), reached(STRANGER)), (2, 2, 0), "{ports:?}\n{}", lab.server.rules());
}

/// Opens a new login, which the screen takes as the proof of access; then keeps the trial.
fn prove_and_keep(lab: &Lab, s: &mut Terminal) {
    s.wait("Now log in from another terminal", SOON);
    // Like an operator: the other login stays open until the screen has seen it.
    let other = Terminal::ssh(lab, NODE, Lab::server4(NODE), "echo here I am; exec cat");
    other.wait("here I am", SOON);
    s.wait("proof of access: root logged in from 192.0.2.2", SOON);
    s.send("k");
    s.wait("This trial has ended: kept", SOON);
}

/// The files that boot loads contain what is live, and load on their own.
fn saved_is_what_is_live(lab: &Lab) {
    let live = ours(&lab.server.rules());
    assert!(
        live.iter().any(|l| l.contains("192.0.2.2/32")) && live.iter().any(|l| l.contains("2001:db8::2/128")),
        "{live:#?}"
    );
    assert_eq!(ours(&lab.loaded_afresh()), live, "{:?}", lab.backend);
    let old = fs::read_to_string(lab.dir.path().join("rules.v4.before-portcullis")).unwrap();
    assert!(old.starts_with("# what boot loads"), "{old}");
}

#[test]
fn the_main_job_from_the_first_look_to_the_saved_file() {
    story("the main job from the first look to the saved file", |run| {
        let lab = &run.lab;
        assert_eq!(
            (answers(lab, NODE), answers(lab, STRANGER)),
            ([true; 4], [true; 4]),
            "rpcbind is open to begin with"
        );
        let mut s = Terminal::cockpit(lab, NODE, Lab::server4(NODE), "");
        s.wait("111/tcp", SOON);
        s.wait("● anyone", SOON);
        s.wait("SSH from 192.0.2.2", SOON);
        s.send("p");
        s.wait("Who may use portmapper", SOON);
        // A wrong node: the field shows an error, and nothing that was entered is lost.
        s.send("192.0.2.2 2001:db8::/129\r");
        s.wait("2001:db8::/129 is neither an address", SOON);
        s.wait("Nodes: 192.0.2.2 2001:db8::/129", SOON);
        s.send("\x172001:db8::2\r");
        s.wait("staged: 2 nodes may use portmapper", SOON);
        assert_eq!(lab.server.rules(), run.before, "staging changes nothing");
        s.send("3");
        s.wait("allow 192.0.2.2, 2001:db8::2", SOON);
        s.wait("a new login still gets in", SOON);
        s.send("v");
        s.wait("● anyone       → ◐ 1 address", SOON);
        s.send("\t");
        s.wait("+-A PORTCULLIS-A", SOON);
        s.send("\t\t");
        s.wait("iptables", SOON);
        s.send("y");
        s.wait("Apply on trial for 60 s", SOON);
        s.send("\r");
        s.wait("rehearsing in a throw-away namespace", SOON);
        s.wait("The old rules come back in 5", SOON);
        only_the_node_is_served(lab);
        prove_and_keep(lab, &mut s);
        s.send(ESC);
        s.wait("this plan is kept", SOON);
        only_the_node_is_served(lab);
        s.send("s");
        s.wait("rules.v4", SOON);
        s.send("\r");
        s.wait("wrote", SOON);
        saved_is_what_is_live(lab);
        s.send("1");
        s.wait("◐ 1 address      ◐ 1 address", SOON);
        s.send("q");
        assert_eq!(s.end(SOON), (0, true));
        let [before, after] =
            ["stty.before", "stty.after"].map(|f| fs::read_to_string(lab.dir.path().join(f)).unwrap());
        assert_eq!(before, after, "the modes of the terminal");
        only_the_node_is_served(lab);
        // A kept plan is no longer a draft.
        assert!(
            !lab.dir.path().join("data/portcullis").read_dir().unwrap().any(|f| f
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("draft"))
        );
        assert!(run.ours().is_empty() && lab.server.pids("portcullis guard").is_empty());
    });
}

#[test]
fn the_guide_from_start_to_saved_with_a_break_in_the_middle() {
    story("the guide from start to saved with a break in the middle", |run| {
        let lab = &run.lab;
        let mut s = Terminal::cockpit(lab, NODE, Lab::server4(NODE), "harden");
        s.wait("What is open now?", SOON);
        s.send("\r");
        s.wait("[x] portmapper", SOON);
        s.send("\r");
        s.wait("Nobody yet", SOON);
        s.send("\r");
        s.wait("Who may use", SOON);
        s.send("192.0.2.2 2001:db8::2\r");
        s.wait("adds nodes", SOON);
        // Interrupted in the middle: out of the guide, and out of the program.
        s.send(ESC);
        s.gone("adds nodes", SOON);
        s.send("q");
        assert_eq!(s.end(SOON), (0, true));
        assert_eq!(lab.server.rules(), run.before, "nothing was changed so far");
        let mut s = Terminal::cockpit(lab, NODE, Lab::server4(NODE), "harden");
        s.wait("A draft from an earlier session", SOON);
        s.send("\r");
        s.wait("What will change?", SOON);
        s.wait("your SSH session", SOON);
        s.send("\r");
        s.wait("Apply on trial for 60 s", SOON);
        s.send("\r");
        s.wait("The old rules come back in", SOON);
        only_the_node_is_served(lab);
        only_the_node_reaches_statd(lab);
        // Out and back in while the clock runs.
        s.send(ESC);
        s.wait("The trial runs", SOON);
        s.send(ESC);
        s.wait("TRIAL: the old rules come back in", SOON);
        s.send("g");
        s.wait("The trial runs", SOON);
        s.send("\r");
        prove_and_keep(lab, &mut s);
        s.send(ESC);
        s.wait("Kept.", SOON);
        s.send("\r");
        s.wait("Save for the next boot?", SOON);
        s.send("\r");
        s.wait("what boot does with them", SOON);
        s.wait("+++ ", SOON);
        s.send("\r");
        s.wait("step 7 of 7", SOON);
        s.wait("Before the next boot:", SOON);
        saved_is_what_is_live(lab);
        s.send(ESC);
        s.gone("step 7 of 7", SOON);
        s.send("q");
        assert_eq!(s.end(SOON), (0, true));
        only_the_node_is_served(lab);
    });
}

#[test]
fn a_mistake_locks_the_operator_out_and_comes_back_and_the_next_start_says_so() {
    story("a mistake locks the operator out and comes back and the next start says so", |run| {
        let lab = &run.lab;
        run.short_trials();
        let mut s = Terminal::cockpit(lab, NODE, Lab::server4(NODE), "");
        s.wait("111/tcp", SOON);
        // The mistake: port 22 is dropped for everybody.
        s.send("/sshd\r");
        s.wait("1 found", SOON);
        s.send("d");
        s.wait("Plan (1 staged)", SOON);
        s.send("3");
        s.wait("a new login would be blocked", SOON);
        s.send("y");
        s.wait("This would cut you off", SOON);
        s.wait("Better: esc goes back; a on the Plan screen allows your own", SOON);
        s.wait("type the words", SOON);
        s.send("\r");
        s.wait("or esc to go back", SOON);
        s.send(ESC);
        s.gone("This would cut you off", SOON);
        assert_eq!(lab.server.rules(), run.before, "refused: nothing is changed");
        // Applied anyway: the session freezes, no login gets in, the old rules come back.
        s.send("y");
        s.wait("type the words", SOON);
        s.send("lock me out\r");
        s.wait("The old rules come back in", SOON);
        assert!(!run.connects(), "locked out");
        // A key that does not arrive keeps nothing.
        s.send("k");
        run.comes_back(GUARD);
        // The session thaws when its packets are retransmitted, and says what has happened meanwhile.
        s.wait("This trial has ended: reverted by the guard", 4 * SOON);
        drop(s);
        let mut s = Terminal::cockpit(lab, NODE, Lab::server4(NODE), "");
        s.wait("A draft from an earlier session", SOON);
        s.wait("ended: reverted by the guard;", SOON);
        s.wait("4 shows it", SOON);
        // The recovery: the draft again, with the operator's own node allowed before the drop.
        s.send("\r");
        s.wait("the draft is staged again", SOON);
        s.send("4");
        s.wait("drop any → 22/tcp", SOON);
        s.wait("reverted", SOON);
        s.wait("guard", SOON);
        s.send("3a");
        s.wait("this SSH session", SOON);
        s.send("\t\r");
        s.wait("1 allow 192.0.2.2 → 22/tcp", SOON);
        s.wait("a new login still gets in", SOON);
        s.send("y");
        s.wait("Apply on trial for", SOON);
        s.send("\r");
        s.wait("The old rules come back in", SOON);
        // Ten seconds are too short for a person.
        s.send("+");
        s.wait("come back in 6", SOON);
        prove_and_keep(lab, &mut s);
        assert!(run.connects() && !tcp_connects(&lab.clients[STRANGER], Lab::server4(STRANGER), 22));
        s.send("\x03");
        assert_eq!(s.end(SOON), (0, true));
    });
}

/// When others change a plan while somebody looks at it, the trial's screen says so on its own, and every screen does
/// after the next look.
#[test]
fn the_screens_report_what_others_remove() {
    story("what others take out is said on the screens", |run| {
        let lab = &run.lab;
        let plan = lab.file(
            "plan.toml",
            "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"192.0.2.2\", \"2001:db8::2\"]\nto = [\"111\"]\n\
            [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n",
        );
        let out = lab.portcullis(&["apply", &plan, "--yes", "--confirm-within", "10m"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut s = Terminal::cockpit(lab, NODE, Lab::server4(NODE), "");
        s.wait("✓ nothing was written to the boot-time rules", SOON);
        lab.server.sh("iptables -D INPUT ! -i lo -j PORTCULLIS");
        s.wait("✗ the plan is only partly in force: the IPv4 rules have no effect", SOON);
        assert!(tcp_connects(&lab.clients[STRANGER], Lab::server4(STRANGER), 111));
        lab.server.sh("iptables -I INPUT 1 ! -i lo -j PORTCULLIS");
        s.gone("the IPv4 rules have no effect", SOON);
        // Somebody saves in the middle of it.
        let file = lab.dir.path().join("rules.v4");
        lab.server.sh(&format!("iptables-save > {}", file.display()));
        s.wait("rules.v4 holds rules of a trial", SOON);
        s.gone("✓ nothing was written", SOON);
        let out = lab.portcullis(&["keep", "--without-proof"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        s.wait("This trial has ended: kept", SOON);
        // The line below the tabs, on every screen, after the next look.
        lab.server.sh("iptables -I INPUT 1 -p tcp --dport 111 -j ACCEPT");
        assert!(tcp_connects(&lab.clients[STRANGER], Lab::server4(STRANGER), 111));
        s.send(ESC);
        s.gone("This trial has ended", SOON);
        s.send("R");
        s.wait("KEPT, BUT ONLY PARTLY IN FORCE: before our IPv4", SOON);
        s.send("3");
        s.wait("✗ what was kept is only partly in force", SOON);
        s.wait("kept, but only partly in force", SOON);
        lab.server.sh("iptables -D INPUT 1");
        s.send("R");
        s.wait("✓ what was kept is in force", SOON);
        s.gone("KEPT, BUT", SOON);
        only_the_node_is_served(lab);
        s.send("\x03");
        assert_eq!(s.end(SOON), (0, true));
    });
}
