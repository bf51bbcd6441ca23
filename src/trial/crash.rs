//! Killed between any two steps: apply, extend, keep and revert die at each thing that they do to the machine, before
//! and after it, and so does the guard. What is left must come to its end: kept whole, or exactly as it was before.

use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::machine::State;
use super::{By, Options, apply, extend, guard, history, keep, record, revert};
use crate::analyse::{Packet, trace};
use crate::host::demo::Demo;
use crate::host::{Cmd, Held, Home, Host, Identity, Now, Output, Paths, SshSession, Stop, ToolError, Tools};
use crate::model::{Family, Plan, Proto, Ruleset, Source};
use crate::observe::live::observe;
use crate::syntax::{iptables_save, plan};

/// A process that is killed at one of its steps.
struct Mortal {
    host: Demo,
    /// Steps until the end; 0: it lives.
    left: AtomicU32,
    /// Killed when the step is done; else before.
    after: bool,
    /// Steps done.
    done: AtomicU32,
    /// Where it lives.
    home: Identity,
}

impl Mortal {
    fn new(host: &Demo, dies_at: u32, after: bool) -> Self {
        Self { host: host.fork(), left: AtomicU32::new(dies_at), after, done: AtomicU32::new(0), home: host.identity() }
    }

    fn step<T>(&self, work: impl FnOnce() -> T) -> T {
        self.done.fetch_add(1, Ordering::Relaxed);
        let dies = self.left.load(Ordering::Relaxed) > 0 && self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        if dies && !self.after {
            self.die();
        }
        let out = work();
        if dies {
            self.die();
        }
        out
    }

    fn die(&self) -> ! {
        self.host.end();
        // Without a message: it is no failure of the test.
        std::panic::resume_unwind(Box::new("killed"))
    }
}

impl Tools for Mortal {
    fn run(&self, cmd: &Cmd) -> Result<Output, ToolError> {
        if cmd.tool.ends_with("-restore") { self.step(|| self.host.run(cmd)) } else { self.host.run(cmd) }
    }
}

impl Host for Mortal {
    fn source(&self) -> Source { self.host.source() }
    fn name(&self) -> String { self.host.name() }
    fn is_root(&self) -> bool { true }
    fn paths(&self) -> &Paths { self.host.paths() }
    fn identity(&self) -> Identity { self.home.clone() }
    fn now(&self) -> Now { self.host.now() }
    fn pause(&self, time: Duration) { self.host.pause(time); }
    fn throwaway(&self) -> Result<Box<dyn Tools>, String> { self.host.throwaway() }
    fn find(&self, tool: &str) -> Option<PathBuf> { self.host.find(tool) }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> { self.host.read(path) }
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> { self.step(|| self.host.write(path, bytes, mode)) }
    fn remove(&self, path: &Path) -> io::Result<()> { self.step(|| self.host.remove(path)) }
    fn list(&self, dir: &Path) -> Vec<String> { self.host.list(dir) }
    fn make_dir(&self, dir: &Path) -> io::Result<()> { self.host.make_dir(dir) }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn Held>>> { self.step(|| self.host.lock(path, wait)) }
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> { self.host.resolve(name) }
    fn ssh_peer(&self) -> Option<(IpAddr, u16)> { self.host.ssh_peer() }
    fn ssh_sessions(&self) -> Vec<SshSession> { self.host.ssh_sessions() }
    fn guard_homes(&self) -> Vec<Home> { self.host.guard_homes() }
    fn start_guard(&self, id: &str, home: Home) -> io::Result<Stop> { self.step(|| self.host.start_guard(id, home)) }
    fn alive(&self, pid: u32, started: u64) -> bool { self.host.alive(pid, started) }
    fn me(&self) -> (u32, u64) { self.host.me() }
    fn end_leftovers(&self, trial: &str, holder: Option<(u32, u64)>) { self.host.end_leftovers(trial, holder); }
    fn announce(&self, text: &str) { self.host.announce(text); }
    fn log(&self, text: &str) { self.host.log(text); }
}

fn cure(node: &str) -> Plan {
    plan::read(&format!("version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{node}\", \"2001:db8::11\"]\nto = [\"portmapper\"]\n\
        [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\", \"published:9042/tcp\"]\n")).unwrap()
}

/// The operation that dies.
#[derive(Clone, Copy, Debug)]
enum Op {
    Apply,
    Extend,
    Keep,
    Revert,
}

fn options() -> Options {
    Options { replace: true, without_rehearsal: true, ..Options::default() }
}

/// A machine with a guard for each trial, and with an earlier plan kept if `second`.
fn machine(second: bool, guard_dies_at: u32, after: bool) -> Demo {
    let host = Demo::new().with_guard(move |host, id| {
        let mortal = Mortal::new(&host, guard_dies_at, after);
        let _ = catch_unwind(AssertUnwindSafe(|| guard::watch(&mortal, id, &AtomicBool::new(false))));
        mortal.host.end();
    });
    if second {
        // Its guard must not die: it is another one's trial.
        let first = host.clone().with_guard(|host, id| {
            let _ = guard::watch(&host, id, &AtomicBool::new(false));
        });
        apply(&first, &cure("192.0.2.99"), &options(), &mut |_| {}).unwrap();
        keep(&first, true).unwrap();
        settled(&first);
    }
    host
}

fn rules(host: &Demo) -> String {
    let text = Family::BOTH.map(|f| iptables_save::write(&host.loaded(f), false)).concat();
    text.lines().map(|l| if l.starts_with(':') { l.split(" [").next().unwrap() } else { l }).flat_map(|l| [l, "\n"]).collect()
}

/// Waits until no guard lives, letting a second pass every few milliseconds.
fn settled(host: &Demo) {
    for _ in 0..3000 {
        let Some(trial) = record::load(host) else { return };
        if guard::ready(host, &trial.id).is_none_or(|w| !host.alive(w.pid, w.started)) {
            return;
        }
        host.pause(Duration::from_millis(10));
        host.pass(Duration::from_millis(500));
    }
    panic!("the guard does not come to an end: {:?}", record::load(host).map(|r| (r.state, r.remarks)));
}

/// One operation that dies at one step; how many steps it has when it lives.
fn one(op: Op, second: bool, dies_at: u32, after: bool) -> u32 {
    let host = machine(second, 0, false);
    let before = rules(&host);
    let earlier = record::load(&host).map(|r| r.id);
    let begin = |host: &dyn Host| apply(host, &cure("192.0.2.11"), &options(), &mut |_| {});
    if !matches!(op, Op::Apply) {
        begin(&host).unwrap();
    }
    let mortal = Mortal::new(&host, dies_at, after);
    let outcome = catch_unwind(AssertUnwindSafe(|| match op {
        Op::Apply => begin(&mortal).map(|_| ()),
        Op::Extend => extend(&mortal).map(|_| ()),
        Op::Keep => keep(&mortal, true).map(|_| ()),
        Op::Revert => revert(&mortal).map(|_| ()),
    }));
    let steps = mortal.done.load(Ordering::Relaxed);
    mortal.host.end();
    settled(&host);
    let what = format!("{op:?} {} step {dies_at} of {steps}, second: {second}", if after { "after" } else { "before" });
    // The state file may still tell of the trial before.
    let trial = record::load(&host).filter(|r| Some(&r.id) != earlier.as_ref());
    let state = trial.map(|r| r.state);
    let now = rules(&host);
    match state {
        Some(State::Kept) => {
            assert!(matches!(op, Op::Keep) && !now.contains("--date") && now.contains("192.0.2.11/32"), "{what}: {now}");
        }
        // A revert that died after the kernel was done and before that was written leaves nothing to do either.
        Some(State::Reverted | State::Failed) | None => assert_eq!(now, before, "{what}: {state:?}"),
        other => {
            // No guard was there yet: then the kernel was not touched.
            assert!(matches!(other, Some(State::Armed)) && now == before, "{what}: {other:?}\n{now}");
            // A guard that was just started may still find that it has nothing to do: until then the next one waits.
            let begun = (0..500).find_map(|_| match begin(&host) {
                Err(e) if e.code == "pending" => { host.pause(Duration::from_millis(10)); None }
                done => Some(done),
            });
            assert!(matches!(begun, Some(Ok(_))), "{what}: {begun:?}");
        }
    }
    assert!(dies_at != 0 || outcome.is_ok_and(|r| r.is_ok()), "{what}");
    steps
}

#[test]
fn whoever_dies_at_whatever_step_the_trial_comes_to_its_end() {
    let mut cases = Vec::new();
    for op in [Op::Apply, Op::Extend, Op::Keep, Op::Revert] {
        for second in [false, true] {
            let steps = one(op, second, 0, false);
            assert!(steps > 4, "{op:?} does {steps} things");
            cases.extend((1..=steps).flat_map(|n| [(op, second, n, false), (op, second, n, true)]));
        }
    }
    in_parallel(&cases, |&(op, second, n, after)| { one(op, second, n, after); });
}

/// The guard dies as soon as the trial runs, and whoever ends the trial dies at one step; how many steps that has.
fn both_die(op: Op, dies_at: u32, after: bool, late: bool, finish: Op) -> u32 {
    let host = Demo::new().with_guard(|host, id| {
        let (pid, started) = host.me();
        let word = serde_json::to_vec(&record::Who { pid, started }).unwrap();
        host.write(&host.paths().run.join(format!("guard-{id}.json")), &word, 0o600).unwrap();
        while record::load(&host).is_some_and(|r| r.state == State::Armed) {
            host.pause(Duration::from_millis(5));
        }
    });
    let before = rules(&host);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    gone(&host, trial.guard);
    let mortal = Mortal::new(&host, dies_at, after);
    let _ = catch_unwind(AssertUnwindSafe(|| match op {
        Op::Keep => keep(&mortal, true).map(|_| ()),
        _ => revert(&mortal).map(|_| ()),
    }));
    mortal.host.end();
    if late {
        host.pass(Duration::from_secs(70));
    }
    let what = format!("{op:?} {} step {dies_at}, then {finish:?}, late: {late}", if after { "after" } else { "before" });
    let seen = super::status(&host);
    let found = seen.trial.unwrap();
    assert_eq!(seen.cut_short, matches!(found.state, State::Keeping | State::Reverting), "{what}");
    assert_eq!(seen.cut_short, found.remarks.iter().any(|r| r.contains("was cut short")), "{what}");
    if !found.state.is_pending() {
        return mortal.done.load(Ordering::Relaxed);
    }
    if matches!(finish, Op::Keep) {
        let kept = keep(&host, true);
        if found.state == State::Keeping || (found.state == State::Running && !late) {
            assert_eq!(kept.unwrap().state, State::Kept, "{what}");
            assert!(!rules(&host).contains("--date") && rules(&host).contains("192.0.2.11/32"), "{what}");
            return 0;
        }
        assert_eq!(kept.unwrap_err().code, "too-late", "{what}");
    }
    revert(&host).unwrap();
    assert_eq!((record::load(&host).unwrap().state, rules(&host)), (State::Reverted, before), "{what}");
    0
}

#[test]
fn when_the_guard_and_whoever_ends_the_trial_die_either_end_can_still_be_had() {
    let mut cases = Vec::new();
    for op in [Op::Keep, Op::Revert] {
        let steps = both_die(op, 0, false, false, op);
        assert!(steps > 4, "{op:?} does {steps} things");
        for n in 1..=steps {
            cases.extend([Op::Keep, Op::Revert].into_iter().flat_map(|f| [(op, n, false, false, f), (op, n, true, false, f), (op, n, true, true, f)]));
        }
    }
    in_parallel(&cases, |&(op, n, after, late, finish)| { both_die(op, n, after, late, finish); });
}

fn in_parallel<T: Sync>(cases: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicU32::new(0);
    thread::scope(|s| {
        for _ in 0..16 {
            s.spawn(|| while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed) as usize) { work(case) });
        }
    });
}

/// The guard dies at one of its steps. The kernel's dates alone bring the old behaviour back; a guard that is started
/// again, or an operator, brings the old rules back.
fn guard_dies(second: bool, dies_at: u32, after: bool) {
    let host = machine(second, dies_at, after);
    let before = rules(&host);
    let verdicts = |host: &Demo| -> Vec<String> {
        let view = observe(host);
        ["192.0.2.11", "192.0.2.99", "203.0.113.9", "2001:db8::11", "2001:db8:ffff::9"].iter().flat_map(|src| [(Proto::TCP, 111), (Proto::UDP, 111), (Proto::TCP, 9042)]
            .map(|(proto, port)| trace(&view, &Packet::new(src.parse().unwrap(), proto, Some(port))).verdict.to_string())).collect()
    };
    let usual = verdicts(&host);
    let begun = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {});
    settled(&host);
    let what = format!("guard {} step {dies_at}, second: {second}", if after { "after" } else { "before" });
    let Ok(trial) = begun else {
        // It died before it said that it was ready: nothing was applied.
        assert_eq!(rules(&host), before, "{what}");
        return;
    };
    host.pass(Duration::from_secs(70));
    assert_eq!(verdicts(&host), usual, "{what}: the kernel by itself");
    if record::load(&host).is_some_and(|r| r.state.is_pending()) {
        if after {
            let again = host.fork();
            guard::watch(&again, &trial.id, &AtomicBool::new(false)).unwrap();
        } else {
            revert(&host).unwrap();
        }
    }
    assert_eq!(rules(&host), before, "{what}: {:?}", record::load(&host));
}

#[test]
fn when_the_guard_dies_the_kernel_switches_and_the_next_one_cleans_up() {
    let cases: Vec<(bool, u32, bool)> = [false, true].into_iter()
        .flat_map(|second| (1..=24).flat_map(move |n| [(second, n, false), (second, n, true)])).collect();
    in_parallel(&cases, |&(second, n, after)| guard_dies(second, n, after));
}

#[test]
fn an_extension_asks_for_a_new_login_and_ends_at_an_hour() {
    let host = machine(false, 0, false).with_second_login(|_| true);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    assert_eq!(keep(&host, false).unwrap_err().code, "no-proof");
    host.pass(Duration::from_secs(5));
    assert!(super::proof(&host, &record::load(&host).unwrap()).is_some());
    let longer = extend(&host).unwrap();
    assert_eq!(longer.deadline, trial.deadline + 60_000);
    assert_eq!(longer.fuse.unwrap() - trial.fuse.unwrap(), 60);
    assert_eq!(keep(&host, false).unwrap_err().code, "no-proof");
    while extend(&host).is_ok() {}
    assert_eq!(extend(&host).unwrap_err().code, "too-long");
    assert!(record::load(&host).unwrap().left(host.now().boot) <= 3600);
    host.pass(Duration::from_secs(5));
    assert_eq!(keep(&host, false).unwrap().proof.unwrap().peer, IpAddr::from([10, 0, 0, 5]));
}

#[test]
fn the_fuse_follows_the_wall_clock_and_a_passed_one_is_never_shown_as_running() {
    for step in [3600, -3600, 5, -5] {
        let host = machine(false, 0, false);
        let before = rules(&host);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        let set = record::load(&host).unwrap().fuse.unwrap();
        host.step_wall(step);
        let end = host.now().boot + Duration::from_secs(20);
        while record::load(&host).unwrap().fuse != Some(set + step) {
            // In between a fuse that has passed is no running trial.
            let shown = super::status(&host).trial.unwrap();
            assert!(shown.state == State::Expired || host.now().wall <= shown.fuse.unwrap());
            assert!(host.now().boot < end, "{step}: {:?}", record::load(&host));
            host.pause(Duration::from_millis(5));
        }
        assert_eq!(super::status(&host).trial.unwrap().state, State::Running);
        settled(&host);
        assert_eq!(rules(&host), before, "{step}");
    }
}

#[test]
fn a_fuse_that_cannot_follow_the_clock_ends_the_trial() {
    let host = machine(false, 0, false);
    let before = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.break_tool("iptables-restore", 1);
    host.step_wall(-3600);
    let end = host.now().boot + Duration::from_secs(20);
    while record::load(&host).unwrap().state != State::Reverted {
        assert!(host.now().boot < end, "{:?}", record::load(&host));
        host.pause(Duration::from_millis(5));
    }
    assert_eq!(rules(&host), before);
}

#[test]
fn the_last_resort_is_the_snapshot_and_what_it_touched_is_said() {
    let host = machine(false, 0, false);
    let before = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.run(&Cmd::new("iptables-restore", &["--noflush"]).input("*filter\n-A INPUT -s 203.0.113.9/32 -j DROP\nCOMMIT\n")).unwrap();
    host.break_tool("iptables-restore --noflush", u32::MAX);
    settled(&host);
    let ended = record::load(&host).unwrap();
    assert_eq!((ended.state, rules(&host)), (State::Reverted, before));
    assert!(ended.remarks.iter().any(|r| r == "lost with it: -A INPUT -s 203.0.113.9/32 -j DROP"), "{:?}", ended.remarks);
}

#[test]
fn what_only_the_kernel_tells_of_is_a_trial() {
    let host = machine(false, 0, false);
    let before = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.remove(&host.paths().run.join("trial.json")).unwrap();
    let seen = super::status(&host);
    assert_eq!((seen.trial.as_ref().unwrap().state, seen.trial.unwrap().id.as_str()), (State::Running, "unrecorded"));
    assert!(seen.left > 50 && seen.left <= 66, "{}", seen.left);
    assert_eq!(apply(&host, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap_err().code, "pending");
    assert_eq!(keep(&host, true).unwrap_err().code, "no-trial");
    assert!(history::all(&host).is_empty());
    assert!(matches!(revert(&host), Ok(super::Reverted::Unrecorded)));
    assert_eq!(rules(&host), before);
    let past = history::all(&host);
    assert_eq!((past[0].state, past[0].by), (State::Reverted, Some(By::Operator)), "{:?}", past[0].remarks);
}

/// The machine loses its power: the run directory and what was loaded are gone, boot loads what was there before.
fn boot(host: &Demo, before: &[Ruleset; 2]) -> Mortal {
    let run = &host.paths().run;
    for name in host.list(run) {
        host.remove(&run.join(name)).unwrap();
    }
    for (tool, rules) in ["iptables-restore", "ip6tables-restore"].iter().zip(before) {
        host.run(&Cmd::new(tool, &[]).input(iptables_save::write(rules, true))).unwrap();
    }
    Mortal { home: Identity { boot_id: "later".to_owned(), ..host.identity() }, ..Mortal::new(host, 0, false) }
}

#[test]
fn a_trial_that_ran_when_the_power_went_is_known_at_the_next_start() {
    let host = machine(false, 0, false);
    let loaded = Family::BOTH.map(|f| host.loaded(f));
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    assert!(history::all(&host).is_empty(), "it still runs");
    let later = boot(&host, &loaded);
    let last = super::status(&later).trial.unwrap();
    for r in [&last, &history::all(&later)[0]] {
        assert_eq!((&r.id, r.state, r.by), (&trial.id, State::Reverted, Some(By::Boot)));
        assert!(r.why.as_ref().unwrap().starts_with("the machine went down before the deadline (2"), "{:?}", r.why);
    }
}

#[test]
fn a_trial_of_another_namespace_that_shares_our_files_is_left_alone() {
    let host = machine(false, 0, false);
    let loaded = Family::BOTH.map(|f| host.loaded(f));
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let other = Demo::new();
    let copy = |name: &str| other.write(&host.paths().run.join(name), &host.read(&host.paths().run.join(name)).unwrap(), 0o600).unwrap();
    for name in host.list(&host.paths().run).iter().filter(|n| *n != "lock") {
        copy(name);
    }
    let there = Mortal { home: Identity { netns: 2, ..host.identity() }, ..Mortal::new(&other, 0, false) };
    let refused = [
        apply(&there, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap_err(), keep(&there, true).unwrap_err(), revert(&there).unwrap_err(),
    ];
    for e in refused {
        assert!(e.code == "pending" && e.what.starts_with("a trial is pending in another network namespace"), "{e:?}");
    }
    assert_eq!((record::load(&there).unwrap().id, Family::BOTH.map(|f| other.loaded(f))), (trial.id, loaded));
    other.pass(Duration::from_secs(70));
    assert_eq!(keep(&there, true).unwrap_err().code, "no-trial", "its guard is dead and its clock has run out");
}

#[test]
fn a_kept_trial_stays_kept_over_a_boot() {
    let host = machine(true, 0, false);
    let later = boot(&host, &Family::BOTH.map(|f| host.loaded(f)));
    let last = super::status(&later).trial.unwrap();
    assert_eq!((last.state, last.by), (State::Kept, Some(By::Operator)));
}

/// Waits until a guard has gone.
fn gone(host: &Demo, guard: Option<record::Who>) {
    let who = guard.unwrap();
    let end = host.now().boot + Duration::from_secs(30);
    while host.alive(who.pid, who.started) {
        assert!(host.now().boot < end, "the guard does not go: {:?}", record::load(host));
        host.pause(Duration::from_millis(5));
    }
}

#[test]
fn a_guard_whose_trial_was_ended_without_it_leaves_a_later_plan_alone() {
    let host = machine(false, 0, false);
    let first = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.remove(&host.paths().run.join("trial.json")).unwrap();
    assert!(matches!(revert(&host), Ok(super::Reverted::Unrecorded)));
    let second = apply(&host, &cure("192.0.2.12"), &options(), &mut |_| {}).unwrap();
    let running = rules(&host);
    // One that slept until now, with the second trial running and kept, at its own deadline.
    super::end::revert_by_guard(&host, &mut first.clone(), 0, Some("late")).unwrap();
    assert_eq!(rules(&host), running);
    keep(&host, true).unwrap();
    let kept = rules(&host);
    host.pass(Duration::from_secs(70));
    gone(&host, first.guard);
    super::end::revert_by_guard(&host, &mut first.clone(), 0, Some("late")).unwrap();
    let last = record::load(&host).unwrap();
    assert_eq!((last.id, last.state, rules(&host)), (second.id, State::Kept, kept));
}

#[test]
fn a_guard_without_its_file_reverts_at_the_deadline_unless_that_was_done() {
    for done in [false, true] {
        let host = machine(false, 0, false);
        let before = rules(&host);
        let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        host.remove(&host.paths().run.join("trial.json")).unwrap();
        if done {
            assert!(matches!(revert(&host), Ok(super::Reverted::Unrecorded)));
            host.step_wall(3600);
        } else {
            assert_ne!(rules(&host), before);
        }
        host.pass(Duration::from_secs(61));
        gone(&host, trial.guard);
        assert_eq!(rules(&host), before, "{done}");
        assert_eq!(record::load(&host).is_none(), done);
    }
}

#[test]
fn an_extension_that_fails_in_one_family_leaves_both_with_the_first_deadline() {
    for tool in ["iptables-restore", "ip6tables-restore"] {
        let host = machine(false, 0, false);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        let (before, first) = (rules(&host), record::load(&host).unwrap());
        host.break_tool(tool, 1);
        assert_eq!(extend(&host).unwrap_err().code, "extend-failed");
        let still = record::load(&host).unwrap();
        assert_eq!((rules(&host), still.deadline, still.fuse), (before, first.deadline, first.fuse), "{tool}");
        // A tool that goes on failing leaves the earlier family longer: that is said.
        host.break_tool(tool, u32::MAX);
        let why = extend(&host).unwrap_err().what;
        assert!(why.contains("may have dates a minute later than the guard's deadline"), "{why}");
        host.break_tool(tool, 0);
        extend(&host).unwrap();
    }
}

#[test]
fn why_a_trial_ended_is_written_down() {
    let ended = |end: &dyn Fn(&Demo)| {
        let host = machine(false, 0, false);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        end(&host);
        settled(&host);
        let last = history::all(&host).remove(0);
        assert!(last.ended.is_some());
        last.why.unwrap()
    };
    assert_eq!(ended(&|h| h.pass(Duration::from_secs(61))), "nobody kept it before the deadline");
    assert_eq!(ended(&|h| { keep(h, true).unwrap(); }), "somebody kept it without proof of access");
    assert_eq!(ended(&|h| { revert(h).unwrap(); }), "somebody asked for the old rules");
    let dies = |h: &Demo| {
        // After the lock and the holder: the state.
        let mortal = Mortal::new(h, 3, true);
        assert!(catch_unwind(AssertUnwindSafe(|| keep(&mortal, true))).is_err());
    };
    assert_eq!(ended(&dies), "whoever was changing the rules for it died half-way");
    let steps = |h: &Demo| {
        h.break_tool("iptables-restore", 1);
        h.step_wall(-3600);
    };
    assert_eq!(ended(&steps), "the clock was set, and the kernel's dates could not follow");
}

#[test]
fn a_revert_that_fails_is_gone_on_with_at_once_by_the_guard() {
    let host = machine(true, 0, false);
    let kept = rules(&host);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    // Refill and emptying of one family; whoever asked for it lives on, as a cockpit does.
    host.break_tool("ip6tables-restore", 2);
    assert_eq!(revert(&host).unwrap_err().code, "revert-failed");
    let end = host.now().boot + Duration::from_secs(20);
    while record::load(&host).unwrap().state != State::Reverted {
        assert!(host.now().boot < end, "{:?}", record::load(&host));
        host.pause(Duration::from_millis(5));
    }
    assert_eq!(rules(&host), kept);
    assert!(record::load(&host).unwrap().left(host.now().boot) > 30, "long before the deadline");
}

#[test]
fn more_time_that_comes_while_the_guard_waits_for_the_lock_counts() {
    let host = machine(false, 0, false);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    let live = rules(&host);
    let mut late = trial.clone();
    let lock = record::lock(&host, Duration::ZERO).unwrap().unwrap();
    host.pass(Duration::from_secs(61));
    thread::scope(|s| {
        let guard = s.spawn(|| super::end::revert_by_guard(&host, &mut late, 0, None));
        record::store(&host, &record::Record { deadline: trial.deadline + 60_000, ..trial.clone() }).unwrap();
        drop(lock);
        assert_eq!(guard.join().unwrap().unwrap(), super::end::ByGuard::Extended);
    });
    let now = record::load(&host).unwrap();
    assert_eq!((now.state, rules(&host)), (State::Running, live));
    settled(&host);
    assert_eq!(record::load(&host).unwrap().state, State::Reverted);
}

#[test]
fn a_passed_fuse_gets_no_more_time() {
    let host = machine(false, 0, false);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    // The lock keeps the guard from following the clock.
    let lock = record::lock(&host, Duration::ZERO).unwrap();
    host.step_wall(3600);
    assert_eq!(super::status(&host).trial.unwrap().state, State::Expired);
    drop(lock);
    host.end_process(trial.guard.unwrap().pid);
    assert_eq!(extend(&host).unwrap_err().code, "too-late");
    revert(&host).unwrap();
}

#[test]
fn too_late_is_too_late() {
    let host = machine(false, 0, false);
    apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    host.pass(Duration::from_millis(57_500));
    assert_eq!(keep(&host, true).unwrap_err().code, "too-late");
    settled(&host);
    assert_eq!(keep(&host, true).unwrap_err().code, "no-trial");
}
