//! The worker threads, the only part of the cockpit that touches the host. One thread looks at the host and works out
//! what the screen asks for, in order, except that a newer plan replaces an older one. Another changes the host. Names
//! are resolved in threads of their own, so that a slow resolver blocks nothing. While a trial runs, one more reads its
//! clock once a second; otherwise nothing wakes up.

mod change;
mod rates;
mod told;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::facts::{Planned, Seen, TrialSeen};
use super::planned;
use super::protocol::{Change, Draft, Reply, Request, Task};
use crate::analyse::{Analysis, Packet, Verdict};
use crate::host::Host;
use crate::host::demo::Demo;
use crate::host::live::Live;
use crate::host::personal::Personal;
use crate::model::{Code, Diagnostic, Family, Plan, Proto, Ruleset, Source, View};
use crate::observe::capture::{Input, captured};
use crate::observe::live::observe;
use crate::plan::{Enforced, checks, difference};
use crate::syntax::{iptables_save, plan as plan_file};
use crate::trial::{self, Refusal, history::Kept};
use told::{Machine, Teller};

/// A host with more rules than this is shown before it is judged, because judging takes noticeable time.
const LARGE: usize = 1_000;

/// What the cockpit looks at.
#[derive(Clone)]
pub enum Subject {
    /// The machine that portcullis runs on.
    Live,
    /// The built-in host.
    Demo,
    /// Captured text, already read; read-only.
    Captured(Box<View>),
    /// Long captured text that the worker still has to read.
    Texts(Vec<Input>),
}

/// The host of a subject; captured text has none.
fn host_of(subject: &Subject) -> Option<Machine> {
    match subject {
        Subject::Live => Some(Arc::new(Live::default())),
        Subject::Demo => Some(Arc::new(Demo::new().with_second_login(login_works).with_guard(|host, id| {
            let never = AtomicBool::new(false);
            // The demo's guard has no log; its failures are read from the state file.
            let _ = trial::guard::watch(&host, id, &never);
        }))),
        Subject::Captured(_) | Subject::Texts(_) => None,
    }
}

/// Whether the demo host's rules still let its operator log in again.
fn login_works(host: &Demo) -> bool {
    let Some((peer, port)) = host.ssh_peer() else { return false };
    Analysis::new(&observe(host)).trace(&Packet::new(peer, Proto::TCP, Some(port))).verdict == Verdict::Accept
}

/// Accompanies work that must finish before the cockpit exits; dropped when the work is done.
type Token = Option<Sender<Infallible>>;

struct Looker<E> {
    subject: Subject,
    host: Option<Machine>,
    teller: Teller<E>,
    seen: Option<Arc<Seen>>,
    counting: Arc<AtomicBool>,
    /// Where drafts are stored, and the name of this host's draft.
    draft: Option<(Personal, String)>,
}

/// Runs until it is told to stop or the screen is gone.
fn look<E: From<Reply> + Send + 'static>(mut w: Looker<E>, requests: &Receiver<(Request, Token)>) {
    let mut queue = VecDeque::from([(Request::Look, None)]);
    let mut first = true;
    loop {
        if queue.is_empty() {
            let Ok(r) = requests.recv() else { return };
            queue.push_back(r);
        }
        queue.extend(requests.try_iter());
        if queue.iter().any(|(r, _)| matches!(r, Request::Stop)) {
            // Without a screen only requests that write something matter.
            queue.retain(|(r, token)| token.is_some() || matches!(r, Request::Stop));
        }
        let Some((next, _token)) = queue.pop_front() else { continue };
        // Only the newest plan and the latest look matter.
        let overtaken = |(r, _): &(Request, Token)| std::mem::discriminant(r) == std::mem::discriminant(&next);
        if matches!(next, Request::Work(_) | Request::StoreDraft(_) | Request::Look) && queue.iter().any(overtaken) {
            continue;
        }
        if matches!(next, Request::Stop) {
            return;
        }
        if !survives(|| w.serve(next)) {
            let d = defect();
            w.fail(d.what, d.hint, Task::Defect);
        }
        if std::mem::take(&mut first) {
            w.offer_draft();
        }
    }
}

/// Whether the work ended normally: a panic becomes a message on the screen.
fn survives(work: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok()
}

fn defect() -> Refusal {
    Refusal::new(
        Code::Defect,
        "this did not work: a defect in portcullis",
        "nothing else is affected; what you did just now makes a good report",
    )
}

impl<E: From<Reply> + Send + 'static> Looker<E> {
    fn tell(&self, reply: Reply) {
        self.teller.tell(reply);
    }

    fn fail(&self, what: impl Into<String>, hint: impl Into<String>, of: Task) {
        self.tell(Reply::Failed { what: what.into(), hint: hint.into(), of });
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Look => self.look(),
            Request::Work(plan) => {
                if let Some(seen) = &self.seen {
                    self.tell(Reply::Planned(Arc::new(self.work(seen, &plan))));
                }
            }
            Request::Trace(packet) => {
                if let Some(seen) = &self.seen {
                    self.tell(Reply::Traced(Arc::new(Analysis::new(&seen.view).trace(&packet))));
                }
            }
            Request::Resolve(name) => self.resolve(name),
            Request::Rates(on) => self.count(on),
            Request::Snapshot(id) => self.compare(id),
            Request::StoreDraft(plan) => self.store_draft(&plan),
            Request::Export { path, text } => self.export(&path, &text),
            // `Worker::send` passes changes to their own thread; the loop handles the stop itself.
            Request::Change(_) | Request::Stop => {}
        }
    }

    /// Works out a plan, including what on this host may undo it.
    fn work(&self, seen: &Seen, plan: &Plan) -> Planned {
        planned::work(seen, plan, |change, ways| match &self.host {
            Some(host) => trial::checks(host.as_ref(), plan, change, ways),
            None => checks(plan, change, ways),
        })
    }

    fn look(&mut self) {
        if let (None, Some(seen)) = (&self.host, &self.seen) {
            // Captured text does not change, so it is not read again.
            self.tell(Reply::Seen(seen.clone()));
            return;
        }
        let (view, kept, enforced) = match &self.host {
            Some(host) => {
                self.tell(Reply::Progress("looking at the host".into()));
                let mut view = observe(host.as_ref());
                view.diagnostics.extend(trial::half_saved(host.as_ref()).map(Diagnostic::whole));
                let kept = trial::history::kept(host.as_ref(), Family::BOTH.map(|f| view.rules(f)));
                let enforced = trial::enforced_by(host.as_ref(), &view);
                (view, kept, enforced)
            }
            None => (self.read(), Kept::default(), Enforced::default()),
        };
        let rules: usize = Family::BOTH.into_iter().filter_map(|f| view.rules(f)).map(Ruleset::rule_count).sum();
        let view = Arc::new(view);
        let by = |seen| Seen { kept_by: kept.trial.as_ref().map(|t| t.id.clone()), ..seen };
        self.tell(Reply::Enforced(enforced));
        if rules > LARGE {
            if self.seen.is_none() {
                self.tell(Reply::Seen(Arc::new(by(planned::outlined(view.clone(), kept.plan())))));
            }
            self.tell(Reply::Progress(format!("{rules} rules are read; working out who gets in")));
        }
        self.drop_kept_draft(&kept.plan());
        let seen = Arc::new(by(planned::seen(view, kept.plan())));
        self.seen = Some(seen.clone());
        self.tell(Reply::Seen(seen));
        if let Some(host) = &self.host {
            self.teller.tell_trial(host);
        }
    }

    /// Takes the captured text, which is not needed again once it is read.
    fn read(&mut self) -> View {
        match std::mem::replace(&mut self.subject, Subject::Texts(Vec::new())) {
            Subject::Captured(view) => *view,
            Subject::Texts(inputs) => {
                let bytes: usize = inputs.iter().map(|i| i.text.len()).sum();
                self.tell(Reply::Progress(format!("reading {:.1} MB", bytes as f64 / 1e6)));
                let mut view = captured(&inputs);
                // Dates in rules are judged by the current time.
                view.at = Live::default().now().wall;
                view
            }
            Subject::Live | Subject::Demo => View::empty(Source::Capture, ""),
        }
    }

    /// Starts or stops reading the counters.
    fn count(&mut self, on: bool) {
        self.counting.store(false, Ordering::SeqCst);
        let Some(host) = self.host.clone().filter(|_| on) else { return };
        // Each watch has its own flag: the previous one may still be asleep.
        self.counting = Arc::new(AtomicBool::new(true));
        let (teller, backend) = (self.teller.clone(), self.seen.as_ref().and_then(|s| s.view.backend));
        rates::watch(host, backend, self.counting.clone(), move |r| {
            let reply = match r {
                Ok(r) => Reply::Rates(Arc::new(r)),
                Err(what) => Reply::Failed { what, hint: "R looks at the host once".into(), of: Task::Rates },
            };
            teller.say(reply)
        });
    }

    /// Compares the rules from before a trial with those of the last look.
    fn compare(&self, id: String) {
        let (Some(host), Some(seen)) = (&self.host, &self.seen) else { return };
        let (mut diff, mut whole) = (String::new(), String::new());
        for (family, suffix) in [(Family::V4, "v4"), (Family::V6, "v6")] {
            let Some(text) = trial::history::snapshot(host.as_ref(), &id, suffix) else { continue };
            let then = iptables_save::write(&iptables_save::read(&text, family).0, false);
            let now = seen.view.rules(family).map(|r| iptables_save::write(r, false)).unwrap_or_default();
            diff.push_str(&difference(
                (&format!("{} before the trial", family.label()), &then),
                (&format!("{} now", family.label()), &now),
            ));
            whole.push_str(&format!("# {} as loaded before trial {id}\n{text}", family.label()));
        }
        if whole.is_empty() {
            self.fail(
                format!("there is no snapshot of trial {id}"),
                "it was removed, or the trial failed before it was written",
                Task::Snapshot,
            );
        } else {
            self.tell(Reply::Snapshot { id, diff, whole });
        }
    }

    fn resolve(&self, name: String) {
        let (teller, host) = (self.teller.clone(), self.host.clone());
        thread::spawn(move || {
            let looked = match &host {
                Some(h) => h.resolve(&name),
                None => Live::default().resolve(&name),
            };
            let addrs = match looked {
                Ok(a) if !a.is_empty() => Ok(a),
                _ => Err(format!(
                    "{name} does not resolve to an address; check the spelling, or write the address itself"
                )),
            };
            teller.tell(Reply::Resolved { name, addrs });
        });
    }

    fn export(&self, path: &str, text: &str) {
        // Exports also work for captured text and the demo: the file belongs to the operator.
        let full = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        match Live::default().export(&full, text) {
            Ok(()) => self.tell(Reply::Written(format!("written: {}", full.display()))),
            Err(e) => self.fail(format!("{path} was not written: {e}"), "name another file", Task::Export),
        }
    }

    fn store_draft(&self, plan: &Plan) {
        let Some((personal, name)) = &self.draft else { return };
        let as_kept = self.seen.as_ref().is_some_and(|s| s.kept == *plan);
        let done =
            if as_kept { personal.drop_draft(name) } else { personal.store_draft(name, &plan_file::write(plan)) };
        if let Err(e) = done {
            self.fail(
                format!("the draft of the plan is not stored: {e}"),
                "it is lost if this session ends",
                Task::Draft,
            );
        }
    }

    /// The stored draft, if there is one; the error is a message.
    fn stored_draft(&self) -> Option<Result<Draft, String>> {
        let (personal, name) = self.draft.as_ref()?;
        Some(personal.draft(name)?.and_then(|found| {
            let plan = plan_file::read(&found.text)
                .map_err(|d| format!("{} is not read: {}", found.origin.path, d.message))?;
            let age = u64::try_from(Live::default().now().wall - found.origin.changed).unwrap_or(0);
            Ok(Draft { plan, origin: found.origin, age })
        }))
    }

    /// Removes the draft once it is kept, so that it is not offered again later.
    fn drop_kept_draft(&self, kept: &Plan) {
        if let Some((personal, name)) = &self.draft
            && let Some(Ok(draft)) = self.stored_draft()
            && draft.plan == *kept
        {
            // If removal fails it is merely offered again. Another user's draft is left alone.
            let _ = personal.drop_draft(name);
        }
    }

    fn offer_draft(&self) {
        let kept = self.seen.as_ref().map(|s| &s.kept);
        match self.stored_draft() {
            Some(Ok(draft)) if Some(&draft.plan) != kept && !draft.plan.rules.is_empty() => {
                self.tell(Reply::Draft(draft));
            }
            Some(Err(why)) => {
                self.fail(format!("a draft cannot be offered: {why}"), "look at that file and remove it", Task::Draft);
            }
            _ => {}
        }
    }
}

/// The name of the draft for a host's plan. The demo has a draft of its own.
fn draft_name(subject: &Subject, host: Option<&(dyn Host + Send + Sync)>) -> Option<String> {
    if matches!(subject, Subject::Captured(_) | Subject::Texts(_)) {
        return None;
    }
    let host = host?;
    let name: String =
        host.name().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' }).collect();
    let kind = if host.source() == Source::Demo { "demo" } else { "host" };
    Some(format!("draft-{kind}-{name}.toml"))
}

/// The channels to the threads.
pub struct Worker {
    looks: Sender<(Request, Token)>,
    changes: Sender<(Change, Token)>,
    changing: (Sender<Infallible>, Receiver<Infallible>),
    writing: (Sender<Infallible>, Receiver<Infallible>),
    host: Option<Machine>,
}

impl Worker {
    /// Starts the threads for a subject; answers arrive as events.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub fn start<E: From<Reply> + Send + 'static>(subject: Subject, out: Sender<E>) -> io::Result<Self> {
        let host = host_of(&subject);
        Self::spawn(subject, host, out, true)
    }

    /// Starts threads that do not touch the operator's drafts.
    #[cfg(test)]
    pub fn start_without_drafts<E: From<Reply> + Send + 'static>(subject: Subject, out: Sender<E>) -> io::Result<Self> {
        let host = host_of(&subject);
        Self::spawn(subject, host, out, false)
    }

    /// Starts threads for a test host.
    #[cfg(test)]
    pub fn start_on<E: From<Reply> + Send + 'static>(host: Machine, out: Sender<E>) -> io::Result<Self> {
        Self::spawn(Subject::Demo, Some(host), out, false)
    }

    fn spawn<E: From<Reply> + Send + 'static>(
        subject: Subject,
        host: Option<Machine>,
        out: Sender<E>,
        drafts: bool,
    ) -> io::Result<Self> {
        let draft = draft_name(&subject, host.as_deref()).filter(|_| drafts).map(|name| (Personal::here(), name));
        let teller = Teller::new(out);
        let (looks, requests) = channel();
        let (changes, changed) = channel();
        let (to_looks, machine, to_screen) = (looks.clone(), host.clone(), teller.clone());
        thread::Builder::new()
            .name("changes".into())
            .spawn(move || change::run(machine, &changed, to_looks, to_screen))?;
        let looker = Looker { subject, host: host.clone(), teller, seen: None, counting: Arc::default(), draft };
        thread::Builder::new().name("looks".into()).spawn(move || look(looker, &requests))?;
        Ok(Self { looks, changes, changing: channel(), writing: channel(), host })
    }

    /// Sends a request to the thread that handles it; `false` when that thread is gone.
    pub fn send(&self, request: Request) -> bool {
        match request {
            Request::Change(change) => {
                let token = (!matches!(change, Change::SavePreview { .. })).then(|| self.changing.0.clone());
                self.changes.send((change, token)).is_ok()
            }
            request => {
                let token =
                    matches!(request, Request::StoreDraft(_) | Request::Export { .. }).then(|| self.writing.0.clone());
                self.looks.send((request, token)).is_ok()
            }
        }
    }

    /// Lets the threads finish what must not be cut off.
    pub fn leave(self) -> Ending {
        // A thread that is gone has nothing left to do.
        let _ = self.looks.send((Request::Stop, None));
        Ending { changing: self.changing.1, writing: self.writing.1, host: self.host }
    }
}

/// Work still in progress when the cockpit exits.
pub struct Ending {
    changing: Receiver<Infallible>,
    writing: Receiver<Infallible>,
    host: Option<Machine>,
}

impl Ending {
    /// Whether all requested changes finish within the time.
    pub fn changed(&self, within: Duration) -> bool {
        self.changing.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }

    /// Whether drafts and exports are written within the time.
    pub fn written(&self, within: Duration) -> bool {
        self.writing.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }

    /// The current state of the pending or last trial.
    pub fn trial(&self) -> Option<TrialSeen> {
        let status = trial::status(self.host.as_deref()?);
        status.trial.as_ref().map(|r| told::shown(r, &status))
    }
}
