//! Crash tests: apply, extend, keep and revert are killed before and after each thing that they do to the machine, and
//! so is the guard. What is left must come to its end: kept completely, or exactly as it was before.

use crate::model::Code;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::{Options, apply, extend, guard, half_saved, keep, pending, record, revert, save};
use crate::analyse::{Analysis, Packet};
use crate::host::demo::Demo;
use crate::host::{
    Cmd, Held, Holder, Home, Host, Identity, Now, Output, Paths, Rights, SshSession, Stands, Stop, ToolError, Tools,
};
use crate::model::trial::{Allowed, State};
use crate::model::{Family, Logins, Operator, Plan, Proto, Source};
use crate::observe::live::observe;
use crate::syntax::{iptables_save, plan};

/// A process that is killed at one of its steps.
pub(super) struct Dying {
    host: Demo,
    /// Steps until it dies; 0: it lives.
    left: AtomicU32,
    /// Killed after the step; otherwise before it.
    after: bool,
    /// Steps done.
    done: AtomicU32,
    /// Its boot and namespace.
    home: Identity,
    /// It pauses before this step until the flag is set.
    stops: Option<(u32, Arc<AtomicBool>)>,
}

impl Dying {
    pub(super) fn new(host: &Demo, dies_at: u32, after: bool) -> Self {
        Self {
            host: host.fork(),
            left: AtomicU32::new(dies_at),
            after,
            done: AtomicU32::new(0),
            home: host.identity(),
            stops: None,
        }
    }

    /// One that is stopped (SIGSTOP) before a step until `go` is set.
    pub(super) fn stopped(host: &Demo, before: u32, go: &Arc<AtomicBool>) -> Self {
        Self { stops: Some((before, Arc::clone(go))), ..Self::new(host, 0, false) }
    }

    /// Steps done so far.
    pub(super) fn steps(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }

    /// One that lives elsewhere: after another boot, or in another namespace.
    pub(super) fn at_home(self, home: Identity) -> Self {
        Self { home, ..self }
    }

    fn step<T>(&self, work: impl FnOnce() -> T) -> T {
        self.step_or(|| (), work)
    }

    /// A step that leaves something half done if its process dies in it.
    fn step_or<T>(&self, half: impl FnOnce(), work: impl FnOnce() -> T) -> T {
        let nth = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        while self.stops.as_ref().is_some_and(|(n, go)| *n == nth && !go.load(Ordering::Relaxed)) {
            self.host.pause(Duration::from_millis(5));
        }
        let (pid, started) = self.me();
        if self.stops.is_some() && !self.host.alive(pid, started) {
            // A signal that ends the process comes first.
            self.die();
        }
        let dies = self.left.load(Ordering::Relaxed) > 0 && self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        if dies && !self.after {
            half();
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
        // Without a message: this is not a test failure.
        std::panic::resume_unwind(Box::new("killed"))
    }
}

impl Tools for Dying {
    fn run(&self, cmd: &Cmd) -> Result<Output, ToolError> {
        if cmd.tool.ends_with("-restore") { self.step(|| self.host.run(cmd)) } else { self.host.run(cmd) }
    }
    fn lock_holders(&self, path: &Path) -> Vec<Holder> {
        self.host.lock_holders(path)
    }
}

impl Host for Dying {
    fn source(&self) -> Source {
        self.host.source()
    }
    fn name(&self) -> String {
        self.host.name()
    }
    fn rights(&self) -> Rights {
        self.host.rights()
    }
    fn paths(&self) -> &Paths {
        self.host.paths()
    }
    fn identity(&self) -> Identity {
        self.home.clone()
    }
    fn now(&self) -> Now {
        self.host.now()
    }
    fn pause(&self, time: Duration) {
        self.host.pause(time);
    }
    fn throwaway(&self) -> Result<Box<dyn Tools>, String> {
        self.host.throwaway()
    }
    fn find(&self, tool: &str) -> Option<PathBuf> {
        self.host.find(tool)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.host.read(path)
    }
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        // Like the live host: writes a temporary file first, with the process id in its name.
        let (pid, started) = self.me();
        let temporary = path.with_file_name(format!(".portcullis-{pid}-{started}-aB3xYz"));
        let half = || self.host.write(&temporary, &bytes[..bytes.len() / 2], mode).unwrap();
        self.step_or(half, || self.host.write(path, bytes, mode))
    }
    fn stands(&self, path: &Path) -> io::Result<Stands> {
        self.host.stands(path)
    }
    fn sweep(&self, dir: &Path) -> Vec<PathBuf> {
        self.host.sweep(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| self.host.remove(path))
    }
    fn list(&self, dir: &Path) -> Vec<String> {
        self.host.list(dir)
    }
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.host.make_dir(dir)
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn Held>>> {
        self.step(|| self.host.lock(path, wait))
    }
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.host.resolve(name)
    }
    fn ssh_peer(&self) -> Option<(IpAddr, u16)> {
        self.host.ssh_peer()
    }
    fn operator(&self) -> Operator {
        self.host.operator()
    }
    fn logins(&self) -> Logins {
        self.host.logins()
    }
    fn ssh_sessions(&self) -> Vec<SshSession> {
        self.host.ssh_sessions()
    }
    fn guard_homes(&self) -> Vec<Home> {
        self.host.guard_homes()
    }
    fn start_guard(&self, id: &str, home: Home) -> io::Result<Stop> {
        self.step(|| self.host.start_guard(id, home))
    }
    fn alive(&self, pid: u32, started: u64) -> bool {
        self.host.alive(pid, started)
    }
    fn me(&self) -> (u32, u64) {
        self.host.me()
    }
    fn end_leftovers(&self, trial: &str, holders: &[(u32, u64)]) {
        self.host.end_leftovers(trial, holders);
    }
    fn announce(&self, text: &str) {
        self.host.announce(text);
    }
    fn log(&self, text: &str) {
        self.host.log(text);
    }
}

pub(super) fn cure(node: &str) -> Plan {
    plan::read(&format!(
        "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{node}\", \"2001:db8::11\"]\nto = [\"portmapper\"]\n\
        [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\", \"published:9042/tcp\"]\n"
    ))
    .unwrap()
}

/// The operation that dies.
#[derive(Clone, Copy, Debug)]
enum Op {
    Apply,
    Extend,
    Keep,
    Revert,
}

pub(super) fn options() -> Options {
    let allowed = Allowed { replace: true, without_rehearsal: true, ..Allowed::default() };
    Options { allowed, ..Options::default() }
}

/// A machine with a guard for each trial, and with an earlier plan kept if `second`.
pub(super) fn machine(second: bool, guard_dies_at: u32, after: bool) -> Demo {
    let host = Demo::new().with_guard(move |host, id| {
        let dying = Dying::new(&host, guard_dies_at, after);
        let _ = catch_unwind(AssertUnwindSafe(|| guard::watch(&dying, id, &AtomicBool::new(false))));
        dying.host.end();
    });
    if second {
        // The guard of this trial must not die: it is not the one under test.
        let first = host.clone().with_guard(|host, id| {
            let _ = guard::watch(&host, id, &AtomicBool::new(false));
        });
        apply(&first, &cure("192.0.2.99"), &options(), &mut |_| {}).unwrap();
        keep(&first, true).unwrap();
        settled(&first);
    }
    host
}

pub(super) fn rules(host: &Demo) -> String {
    let text = Family::BOTH.map(|f| iptables_save::write(&host.loaded(f), false)).concat();
    text.lines()
        .map(|l| if l.starts_with(':') { l.split(" [").next().unwrap() } else { l })
        .flat_map(|l| [l, "\n"])
        .collect()
}

/// Waits until no guard lives, letting a second pass every few milliseconds.
pub(super) fn settled(host: &Demo) {
    for _ in 0..3000 {
        let Some(trial) = record::load(host) else { return };
        if pending::ready(host, &trial.id).is_none_or(|w| !host.alive(w.pid, w.started)) {
            return;
        }
        host.pause(Duration::from_millis(10));
        host.pass(Duration::from_millis(500));
    }
    panic!("the guard does not come to an end: {:?}", record::load(host).map(|r| (r.state(), r.remarks)));
}

/// Waits until a guard has gone.
pub(super) fn gone(host: &Demo, guard: Option<record::Who>) {
    let who = guard.unwrap();
    let end = host.now().boot + Duration::from_secs(30);
    while host.alive(who.pid, who.started) {
        assert!(host.now().boot < end, "the guard does not go: {:?}", record::load(host));
        host.pause(Duration::from_millis(5));
    }
}

/// Runs one operation that dies at one step; returns how many steps it takes if it lives.
fn one(op: Op, second: bool, dies_at: u32, after: bool) -> u32 {
    let host = machine(second, 0, false);
    let before = rules(&host);
    let earlier = record::load(&host).map(|r| r.id);
    let begin = |host: &dyn Host| apply(host, &cure("192.0.2.11"), &options(), &mut |_| {});
    if !matches!(op, Op::Apply) {
        begin(&host).unwrap();
    }
    let dying = Dying::new(&host, dies_at, after);
    let outcome = catch_unwind(AssertUnwindSafe(|| match op {
        Op::Apply => begin(&dying).map(|_| ()),
        Op::Extend => extend(&dying).map(|_| ()),
        Op::Keep => keep(&dying, true).map(|_| ()),
        Op::Revert => revert(&dying).map(|_| ()),
    }));
    let steps = dying.done.load(Ordering::Relaxed);
    dying.host.end();
    settled(&host);
    let what = format!("{op:?} {} step {dies_at} of {steps}, second: {second}", if after { "after" } else { "before" });
    // The state file may still describe the trial before.
    let trial = record::load(&host).filter(|r| Some(&r.id) != earlier.as_ref());
    let state = trial.map(|r| r.state());
    let now = rules(&host);
    match state {
        Some(State::Kept) => {
            assert!(
                matches!(op, Op::Keep) && !now.contains("--date") && now.contains("192.0.2.11/32"),
                "{what}: {now}"
            );
        }
        // A revert that died after changing the kernel but before recording it leaves nothing to do either.
        Some(State::Reverted | State::Failed) | None => assert_eq!(now, before, "{what}: {state:?}"),
        other => {
            // No guard existed yet, so the kernel was not touched.
            assert!(matches!(other, Some(State::Armed)) && now == before, "{what}: {other:?}\n{now}");
            // A guard that was just started may still have to find out that there is nothing to do: the next one waits
            // until then.
            let begun = (0..500).find_map(|_| match begin(&host) {
                Err(e) if e.code == Code::Pending => {
                    host.pause(Duration::from_millis(10));
                    None
                }
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
    in_parallel(&cases, |&(op, second, n, after)| {
        one(op, second, n, after);
    });
}

/// The guard dies as soon as the trial runs, and whatever ends the trial dies at one step; returns the number of steps.
fn both_die(op: Op, dies_at: u32, after: bool, late: bool, finish: Op) -> u32 {
    let host = Demo::new().with_guard(|host, id| {
        let (pid, started) = host.me();
        let word = serde_json::to_vec(&record::Who { pid, started }).unwrap();
        host.write(&host.paths().run.join(format!("guard-{id}.json")), &word, 0o600).unwrap();
        while record::load(&host).is_some_and(|r| r.state() == State::Armed) {
            host.pause(Duration::from_millis(5));
        }
    });
    let before = rules(&host);
    let trial = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
    gone(&host, trial.guard);
    let dying = Dying::new(&host, dies_at, after);
    let _ = catch_unwind(AssertUnwindSafe(|| match op {
        Op::Keep => keep(&dying, true).map(|_| ()),
        _ => revert(&dying).map(|_| ()),
    }));
    dying.host.end();
    if late {
        host.pass(Duration::from_secs(70));
    }
    let what =
        format!("{op:?} {} step {dies_at}, then {finish:?}, late: {late}", if after { "after" } else { "before" });
    let seen = super::status(&host);
    let found = seen.trial.unwrap();
    assert_eq!(seen.cut_short, matches!(found.state(), State::Keeping | State::Reverting), "{what}");
    assert_eq!(seen.cut_short, found.remarks.iter().any(|r| r.contains("was cut short")), "{what}");
    if !found.state().is_pending() {
        return dying.done.load(Ordering::Relaxed);
    }
    if matches!(finish, Op::Keep) {
        let kept = keep(&host, true);
        if found.state() == State::Keeping || (found.state() == State::Running && !late) {
            assert_eq!(kept.unwrap().state(), State::Kept, "{what}");
            assert!(!rules(&host).contains("--date") && rules(&host).contains("192.0.2.11/32"), "{what}");
            return 0;
        }
        assert_eq!(kept.unwrap_err().code, Code::TooLate, "{what}");
    }
    revert(&host).unwrap();
    assert_eq!((record::load(&host).unwrap().state(), rules(&host)), (State::Reverted, before), "{what}");
    0
}

#[test]
fn when_the_guard_and_whoever_ends_the_trial_die_either_end_can_still_be_had() {
    let mut cases = Vec::new();
    for op in [Op::Keep, Op::Revert] {
        let steps = both_die(op, 0, false, false, op);
        assert!(steps > 4, "{op:?} does {steps} things");
        for n in 1..=steps {
            cases.extend(
                [Op::Keep, Op::Revert]
                    .into_iter()
                    .flat_map(|f| [(op, n, false, false, f), (op, n, true, false, f), (op, n, true, true, f)]),
            );
        }
    }
    in_parallel(&cases, |&(op, n, after, late, finish)| {
        both_die(op, n, after, late, finish);
    });
}

fn in_parallel<T: Sync>(cases: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicU32::new(0);
    thread::scope(|s| {
        for _ in 0..16 {
            s.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    work(case);
                }
            });
        }
    });
}

/// The guard dies at one of its steps. The kernel's dates alone bring the old behaviour back; a restarted guard or an
/// operator brings the old rules back.
fn guard_dies(second: bool, dies_at: u32, after: bool) {
    let host = machine(second, dies_at, after);
    let before = rules(&host);
    let verdicts = |host: &Demo| -> Vec<String> {
        let view = observe(host);
        ["192.0.2.11", "192.0.2.99", "203.0.113.9", "2001:db8::11", "2001:db8:ffff::9"]
            .iter()
            .flat_map(|src| {
                [(Proto::TCP, 111), (Proto::UDP, 111), (Proto::TCP, 9042)].map(|(proto, port)| {
                    Analysis::new(&view)
                        .trace(&Packet::new(src.parse().unwrap(), proto, Some(port)))
                        .verdict
                        .to_string()
                })
            })
            .collect()
    };
    let usual = verdicts(&host);
    let begun = apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {});
    settled(&host);
    let what = format!("guard {} step {dies_at}, second: {second}", if after { "after" } else { "before" });
    let Ok(trial) = begun else {
        // It died before it reported that it was ready: nothing was applied.
        assert_eq!(rules(&host), before, "{what}");
        return;
    };
    host.pass(Duration::from_secs(70));
    assert_eq!(verdicts(&host), usual, "{what}: the kernel by itself");
    if record::load(&host).is_some_and(|r| r.state().is_pending()) {
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
    let cases: Vec<(bool, u32, bool)> = [false, true]
        .into_iter()
        .flat_map(|second| (1..=24).flat_map(move |n| [(second, n, false), (second, n, true)]))
        .collect();
    in_parallel(&cases, |&(second, n, after)| guard_dies(second, n, after));
}

/// Two files as they are before a save, and what they contain in the end.
const RULES: [&str; 2] = ["/etc/iptables/rules.v4", "/etc/iptables/rules.v6"];

fn file(host: &Demo, path: &str) -> Option<String> {
    host.read(Path::new(path)).ok().map(|b| String::from_utf8(b).unwrap())
}

/// Everything in the directories where a save writes.
fn lying_about(host: &Demo) -> Vec<String> {
    ["/etc/iptables", "/var/lib/portcullis"]
        .iter()
        .flat_map(|d| host.list(Path::new(d)))
        .filter(|n| n.starts_with(".portcullis-") || n == "saving.json")
        .collect()
}

/// A save that dies at one step, then a command that dies at one of its own, if any, then one that lives. Returns how
/// many steps the first two take.
fn save_dies(there: bool, dies_at: u32, after: bool, again_at: u32, next: Op) -> (u32, u32) {
    let host = machine(true, 0, false);
    let olds: Vec<Option<String>> = RULES.iter().map(|p| there.then(|| format!("# the old {p}\n"))).collect();
    for (path, old) in RULES.iter().zip(&olds).filter_map(|(p, o)| Some((p, o.as_ref()?))) {
        host.write(Path::new(path), old.as_bytes(), 0o640).unwrap();
    }
    let shown = save::preview(&host, save::Mode::All).unwrap();
    let news: Vec<Option<String>> = shown.files.iter().map(|f| Some(f.text.clone())).collect();
    let first = Dying::new(&host, dies_at, after);
    let saved = catch_unwind(AssertUnwindSafe(|| save::save(&first, &shown).map(|_| ())));
    let steps = first.done.load(Ordering::Relaxed);
    first.host.end();
    let what = format!(
        "save {} step {dies_at} of {steps}, files there before: {there}, then {next:?} {again_at}",
        if after { "after" } else { "before" }
    );
    let now = || RULES.iter().map(|p| file(&host, p)).collect::<Vec<_>>();
    assert!(
        dies_at != 0 || (saved.is_ok_and(|s| s.is_ok()) && now() == news && lying_about(&host).is_empty()),
        "{what}"
    );
    // Only files that do not belong together are reported, and the report does not stay for ever.
    let mixed = now() != news && now() != olds;
    assert_eq!(half_saved(&host).is_some(), mixed, "{what}");
    assert!(
        !mixed
            || save::preview(&host, save::Mode::All)
                .unwrap()
                .to_do()
                .is_some_and(|t| t.contains("a save was cut short")),
        "{what}"
    );
    let goes_on = |host: &dyn Host| match next {
        Op::Keep => apply(host, &cure("192.0.2.11"), &options(), &mut |_| {})
            .map(|_| ())
            .and_then(|()| keep(host, true).map(|_| ())),
        Op::Revert => apply(host, &cure("192.0.2.11"), &options(), &mut |_| {})
            .map(|_| ())
            .and_then(|()| revert(host).map(|_| ())),
        _ => save::prepare(host, save::Mode::All).map(|_| ()),
    };
    let second = Dying::new(&host, again_at, after);
    let _ = catch_unwind(AssertUnwindSafe(|| goes_on(&second)));
    let again = second.done.load(Ordering::Relaxed);
    second.host.end();
    if again_at > 0 {
        settled(&host);
        // What is left of the trial does not matter here.
        let _ = revert(&host);
        let _ = save::prepare(&host, save::Mode::All).unwrap();
    }
    let end = now();
    assert!(end == news || end == olds, "{what}: {end:?}");
    assert_eq!((lying_about(&host), half_saved(&host)), (Vec::new(), None), "{what}");
    // The old file is kept beside the new one, and not beside itself.
    let beside = host.list(Path::new("/etc/iptables")).iter().filter(|n| n.contains(".before-portcullis")).count();
    assert_eq!(beside, if end == news && there { 2 } else { 0 }, "{what}: {:?}", host.list(Path::new("/etc/iptables")));
    (steps, again)
}

#[test]
fn a_save_that_dies_at_whatever_step_leaves_both_families_new_or_both_old() {
    let mut cases = Vec::new();
    for there in [false, true] {
        let (steps, _) = save_dies(there, 0, false, 0, Op::Apply);
        assert!(steps > 4, "a save does {steps} things");
        for n in 1..=steps {
            for after in [false, true] {
                cases.extend([Op::Apply, Op::Keep, Op::Revert].map(|next| (there, n, after, 0, next)));
                let (_, again) = save_dies(there, n, after, 0, Op::Apply);
                cases.extend((1..=again).map(|m| (there, n, after, m, Op::Apply)));
            }
        }
    }
    in_parallel(&cases, |&(there, n, after, m, next)| {
        save_dies(there, n, after, m, next);
    });
}
