//! The threads behind the screen, and the only file of the cockpit that touches the host. One thread does what the
//! screen asks, in order, newest plan first; names are looked up in threads of their own, so that a slow
//! resolver stops nothing; while a trial runs another reads its clock once a second, else nothing wakes up.

mod rates;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::planned;
use super::sentence::utc;
use super::widgets::wrap;
use super::shared::{Reply, Request, Seen, TrialSeen};
use crate::analyse::{Packet, Verdict, trace};
use crate::host::Host;
use crate::host::demo::Demo;
use crate::host::live::Live;
use crate::model::{Family, Plan, Proto, Ruleset, Source, View};
use crate::observe::capture::{Input, captured};
use crate::observe::live::observe;
use crate::plan::difference;
use crate::syntax::{iptables_save, plan as plan_file};
use crate::trial::{self, By, Options, Record, Refusal, Status, save};

/// Sentences in the save popup are broken at this width, for 80 columns.
const BOOT_WIDTH: usize = 74;

/// A host with more rules is shown before it is judged: that may take longer than one likes to wait at an empty screen.
const LARGE: usize = 1_000;

/// What the cockpit looks at.
#[derive(Clone)]
pub enum Subject {
    /// This machine.
    Live,
    /// The built-in host.
    Demo,
    /// Captured text that was read: nothing can be changed.
    Captured(Box<View>),
    /// Captured text that is long: the worker reads it.
    Texts(Vec<Input>),
}

/// The host of a subject, if it has one.
fn host_of(subject: &Subject) -> Option<Arc<dyn Host + Send + Sync>> {
    match subject {
        Subject::Live => Some(Arc::new(Live::default())),
        Subject::Demo => Some(Arc::new(Demo::new().with_second_login(login_works).with_guard(|host, id| {
            let never = AtomicBool::new(false);
            // The demo's guard has no log: what it could not do, the screen reads from the state file.
            let _ = trial::guard::watch(&host, id, &never);
        }))),
        Subject::Captured(_) | Subject::Texts(_) => None,
    }
}

/// Whether the rules of the demo host let a new login of its operator in.
fn login_works(host: &Demo) -> bool {
    let Some((peer, port)) = host.ssh_peer() else { return false };
    trace(&observe(host), &Packet::new(peer, Proto::TCP, Some(port))).verdict == Verdict::Accept
}

struct Worker<E> {
    subject: Subject,
    host: Option<Arc<dyn Host + Send + Sync>>,
    out: Sender<E>,
    seen: Option<Arc<Seen>>,
    clock: Arc<AtomicBool>,
    counting: Arc<AtomicBool>,
    draft: Option<PathBuf>,
    /// What the save popup shows.
    save_shown: Option<save::Preview>,
}

/// Runs until it is told to stop, or the screen is gone. A panic becomes a sentence on the screen.
pub fn run<E: From<Reply> + Send + 'static>(subject: Subject, requests: &Receiver<Request>, out: Sender<E>, drafts: bool) {
    let host = host_of(&subject);
    let draft = draft_path(&subject, host.as_deref()).filter(|_| drafts);
    let mut w = Worker {
        subject, host, out, seen: None, clock: Arc::new(AtomicBool::new(false)), counting: Arc::default(), save_shown: None, draft,
    };
    let mut queue: std::collections::VecDeque<Request> = std::collections::VecDeque::from([Request::Look]);
    let mut first = true;
    loop {
        let next = match queue.pop_front() {
            Some(r) => r,
            None => match requests.recv() {
                Ok(r) => r,
                Err(_) => return,
            },
        };
        queue.push_back(next);
        while let Ok(r) = requests.try_recv() {
            queue.push_back(r);
        }
        let Some(next) = queue.pop_front() else { continue };
        // Only the newest plan matters.
        let overtaken = |r: &Request| std::mem::discriminant(r) == std::mem::discriminant(&next);
        if matches!(next, Request::Work(_) | Request::StoreDraft(_)) && queue.iter().any(overtaken) {
            continue;
        }
        if matches!(next, Request::Stop) {
            return;
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| w.serve(next)));
        if done.is_err() {
            w.tell(Reply::Failed {
                what: "this did not work: a defect in portcullis".into(),
                hint: "nothing else is affected; what you did just now makes a good report".into(), code: "defect",
            });
        }
        if std::mem::take(&mut first) {
            w.offer_draft();
        }
    }
}

impl<E: From<Reply> + Send + 'static> Worker<E> {
    fn tell(&self, reply: Reply) {
        // Without a screen nobody needs the answer.
        let _ = self.out.send(E::from(reply));
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Look => self.look(),
            Request::Work(plan) => if let Some(seen) = &self.seen {
                self.tell(Reply::Planned(Arc::new(planned::work(seen, &plan))));
            },
            Request::Trace(packet) => if let Some(seen) = &self.seen {
                self.tell(Reply::Traced(Arc::new(trace(&seen.view, &packet))));
            },
            Request::Resolve(name) => self.resolve(name),
            Request::Rates(on) => self.count(on),
            Request::Snapshot(id) => self.compare(id),
            Request::StoreDraft(plan) => self.store_draft(&plan),
            Request::Export { path, text } => self.export(&path, &text),
            Request::Stop => {}
            other => match self.host.clone() {
                Some(host) => self.change(host.as_ref(), other),
                None => self.tell(Reply::Failed {
                    what: "this is captured text, not a host".into(), hint: "run portcullis on the host itself, as root".into(), code: "capture",
                }),
            },
        }
    }

    fn look(&mut self) {
        if let (None, Some(seen)) = (&self.host, &self.seen) {
            // A text does not change.
            self.tell(Reply::Seen(seen.clone()));
            return;
        }
        let (view, kept) = match &self.host {
            Some(host) => {
                self.tell(Reply::Progress("looking at the host".into()));
                (observe(host.as_ref()), trial::history::kept_plan(host.as_ref()))
            }
            None => (self.read(), Plan::default()),
        };
        let rules: usize = Family::BOTH.into_iter().filter_map(|f| view.rules(f)).map(Ruleset::rule_count).sum();
        let view = Arc::new(view);
        if rules > LARGE {
            if self.seen.is_none() {
                self.tell(Reply::Seen(Arc::new(planned::outlined(view.clone(), kept.clone()))));
            }
            self.tell(Reply::Progress(format!("{rules} rules are read; working out who gets in")));
        }
        self.drop_kept_draft(&kept);
        let seen = Arc::new(planned::seen(view, kept));
        self.seen = Some(seen.clone());
        self.tell(Reply::Seen(seen));
        self.tell_trial();
    }

    /// Takes the captured text: when it is read, nobody needs it any more.
    fn read(&mut self) -> View {
        match std::mem::replace(&mut self.subject, Subject::Texts(Vec::new())) {
            Subject::Captured(view) => *view,
            Subject::Texts(inputs) => {
                let bytes: usize = inputs.iter().map(|i| i.text.len()).sum();
                self.tell(Reply::Progress(format!("reading {:.1} MB", bytes as f64 / 1e6)));
                let mut view = captured(&inputs);
                // Dates are judged now.
                view.at = Live::default().now().wall;
                view
            }
            Subject::Live | Subject::Demo => View::empty(Source::Capture, ""),
        }
    }

    fn tell_trial(&self) {
        let Some(host) = self.host.clone() else { return };
        let status = trial::status(host.as_ref());
        let pending = status.trial.as_ref().is_some_and(|t| t.state.is_pending());
        self.tell(Reply::Trial(status.trial.as_ref().map(|r| shown(r, &status))));
        self.tell(Reply::Past(trial::history::all(host.as_ref()).iter().map(|r| shown(r, &Status::default())).collect()));
        if pending {
            self.watch_clock(host);
        }
    }

    /// One message a second while a trial runs; then one more look.
    fn watch_clock(&self, host: Arc<dyn Host + Send + Sync>) {
        if self.clock.swap(true, Ordering::SeqCst) {
            return;
        }
        let (out, flag) = (self.out.clone(), self.clock.clone());
        thread::spawn(move || {
            loop {
                host.pause(Duration::from_secs(1));
                let status = trial::status(host.as_ref());
                let pending = status.trial.as_ref().is_some_and(|t| t.state.is_pending());
                let sent = out.send(E::from(Reply::Trial(status.trial.as_ref().map(|r| shown(r, &status)))));
                if sent.is_err() || !pending {
                    flag.store(false, Ordering::SeqCst);
                    let _ = out.send(E::from(Reply::Past(trial::history::all(host.as_ref()).iter().map(|r| shown(r, &Status::default())).collect())));
                    return;
                }
            }
        });
    }

    /// Begins or ends the reading of counters.
    fn count(&mut self, on: bool) {
        self.counting.store(false, Ordering::SeqCst);
        let Some(host) = self.host.clone().filter(|_| on) else { return };
        // A flag of its own for each watch: the one before may still be asleep.
        self.counting = Arc::new(AtomicBool::new(true));
        let (out, backend) = (self.out.clone(), self.seen.as_ref().and_then(|s| s.view.backend));
        rates::watch(host, backend, self.counting.clone(), move |r| {
            let reply = match r {
                Ok(r) => Reply::Rates(Arc::new(r)),
                Err(what) => Reply::Failed { what, hint: "R looks at the host once".into(), code: "rates" },
            };
            out.send(E::from(reply)).is_ok()
        });
    }

    /// What was loaded before a trial beside what was seen last.
    fn compare(&self, id: String) {
        let (Some(host), Some(seen)) = (&self.host, &self.seen) else { return };
        let (mut diff, mut whole) = (String::new(), String::new());
        for (family, suffix) in [(Family::V4, "v4"), (Family::V6, "v6")] {
            let Some(text) = trial::history::snapshot(host.as_ref(), &id, suffix) else { continue };
            let then = iptables_save::write(&iptables_save::read(&text, family).0, false);
            let now = seen.view.rules(family).map(|r| iptables_save::write(r, false)).unwrap_or_default();
            diff.push_str(&difference((&format!("{} before the trial", family.label()), &then), (&format!("{} now", family.label()), &now)));
            whole.push_str(&format!("# {} as loaded before trial {id}\n{text}", family.label()));
        }
        if whole.is_empty() {
            self.tell(Reply::Failed { what: format!("there is no snapshot of trial {id}"), hint: "it was removed, or the trial failed before it was written".into(), code: "snapshot" });
        } else {
            self.tell(Reply::Snapshot { id, diff, whole });
        }
    }

    fn resolve(&self, name: String) {
        let (out, host) = (self.out.clone(), self.host.clone());
        thread::spawn(move || {
            let looked = match &host {
                Some(h) => h.resolve(&name),
                None => Live::default().resolve(&name),
            };
            let addrs = match looked {
                Ok(a) if !a.is_empty() => Ok(a),
                _ => Err(format!("{name} does not resolve to an address; check the spelling, or write the address itself")),
            };
            let _ = out.send(E::from(Reply::Resolved { name, addrs }));
        });
    }

    fn change(&mut self, host: &dyn Host, request: Request) {
        let done = match request {
            Request::Apply { plan, within, allowed } => {
                let seen = self.seen.as_ref().map(|s| trial::fingerprint(&s.view));
                let options = Options {
                    confirm_within: within,
                    replace: allowed.replace, allow_lockout: allowed.lockout, without_fuse: allowed.without_fuse,
                    without_rehearsal: allowed.without_rehearsal, seen,
                };
                let out = self.out.clone();
                let mut progress = |what: &str| { let _ = out.send(E::from(Reply::Progress(what.to_owned()))); };
                trial::apply(host, &plan, &options, &mut progress).map(|r| Reply::Began(shown(&r, &trial::status(host))))
            }
            Request::Keep { without_proof } => keep(host, without_proof),
            Request::Revert => trial::revert(host).map(|_| Reply::Done("reverted: the old rules are back".into())),
            Request::Extend => trial::extend(host).map(|r| Reply::Trial(Some(shown(&r, &trial::status(host))))),
            Request::SavePreview { all } => save::preview(host, mode(all)).map(|p| {
                let text = preview_text(&p);
                self.save_shown = Some(p);
                Reply::SavePreview { all, text }
            }),
            // What was shown is what is written: save compares.
            Request::Save { all } => self.save_shown.take().filter(|p| p.mode == mode(all)).map_or_else(|| save::preview(host, mode(all)), Ok)
                .and_then(|p| save::save(host, &p)).map(|done| Reply::Done(format!("saved: {}", done.join("; ")))),
            _ => return,
        };
        match done {
            Ok(reply) => {
                let looks = matches!(reply, Reply::Began(_) | Reply::Done(_));
                self.tell(reply);
                if looks {
                    self.look();
                }
            }
            Err(r) => {
                let moved = r.code == "moved";
                self.tell(Reply::Failed { what: r.what, hint: r.hint, code: r.code });
                if moved {
                    self.look();
                }
                self.tell_trial();
            }
        }
    }

    fn export(&self, path: &str, text: &str) {
        // Captured text and the demo may be exported too: the file is the operator's own.
        let full = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        match Live::default().write(&full, text.as_bytes(), 0o700) {
            Ok(()) => self.tell(Reply::Done(format!("written: {}", full.display()))),
            Err(e) => self.tell(Reply::Failed { what: format!("{path} was not written: {e}"), hint: "name another file".into(), code: "export" }),
        }
    }

    fn store_draft(&self, plan: &Plan) {
        let Some(path) = &self.draft else { return };
        let live = Live::default();
        let as_kept = self.seen.as_ref().is_some_and(|s| s.kept == *plan);
        let done = if as_kept {
            live.remove(path).or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        } else {
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| live.write(path, plan_file::write(plan).as_bytes(), 0o600))
        };
        if let Err(e) = done {
            self.tell(Reply::Failed { what: format!("the draft of the plan is not stored: {e}"), hint: "it is lost if this session ends".into(), code: "draft" });
        }
    }

    /// The draft of before, if there is one.
    fn stored_draft(&self) -> Option<Plan> {
        let text = self.draft.as_ref().and_then(|p| Live::default().read(p).ok())?;
        plan_file::read(&String::from_utf8_lossy(&text)).ok()
    }

    /// What is kept is no draft any more: else it would be offered again when something else is kept one day.
    fn drop_kept_draft(&self, kept: &Plan) {
        if let Some(path) = &self.draft && self.stored_draft().as_ref() == Some(kept) {
            // Left there it would only be offered once more.
            let _ = Live::default().remove(path);
        }
    }

    fn offer_draft(&self) {
        let kept = self.seen.as_ref().map(|s| &s.kept);
        if let Some(plan) = self.stored_draft() && Some(&plan) != kept && !plan.rules.is_empty() {
            self.tell(Reply::Draft(plan));
        }
    }
}

fn mode(all: bool) -> save::Mode {
    if all { save::Mode::All } else { save::Mode::Unmanaged }
}

/// What the next start does with the files, then what they gain and lose.
fn preview_text(p: &save::Preview) -> String {
    let mut out: String = p.boot.lines().flat_map(|l| wrap(l, BOOT_WIDTH)).flat_map(|l| [l, "\n".into()]).collect();
    for f in &p.files {
        if f.diff.is_empty() {
            out.push_str(&format!("{}: no difference\n", f.path.display()));
        } else {
            out.push_str(&f.diff);
        }
    }
    out
}

fn keep(host: &dyn Host, without_proof: bool) -> Result<Reply, Refusal> {
    trial::keep(host, without_proof).map(|_| Reply::Done("kept: the plan stays; s on the Plan screen saves it for the next boot".into()))
}

fn shown(r: &Record, status: &Status) -> TrialSeen {
    TrialSeen {
        id: r.id.clone(),
        state: r.state.word().to_owned(),
        pending: r.state.is_pending(),
        left: status.left,
        guarded: status.guard.is_some(),
        needs_proof: r.operator != trial::CONSOLE,
        proof: status.proof.as_ref().or(r.proof.as_ref()).map(|p| (p.user.clone(), p.peer.to_string())),
        operator: r.operator.clone(),
        began: utc(r.began),
        by: r.by.map(By::word),
        plan: r.plan.clone(),
        remarks: r.remarks.clone(),
        fuse: r.fuse.is_some(),
    }
}

/// Where the draft of a host's plan lies: the operator's own data directory. The demo's draft is another one.
fn draft_path(subject: &Subject, host: Option<&(dyn Host + Send + Sync)>) -> Option<PathBuf> {
    if matches!(subject, Subject::Captured(_) | Subject::Texts(_)) {
        return None;
    }
    let host = host?;
    let name: String = host.name().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' }).collect();
    let kind = if host.source() == Source::Demo { "demo" } else { "host" };
    let dirs = directories::ProjectDirs::from("", "", "portcullis")?;
    Some(dirs.data_dir().join(format!("draft-{kind}-{name}.toml")))
}

/// A worker on a thread; the answers are sent as events.
pub fn start<E: From<Reply> + Send + 'static>(subject: Subject, out: Sender<E>) -> std::io::Result<Sender<Request>> {
    spawn(subject, out, true)
}

/// A worker that leaves the operator's drafts alone.
#[cfg(test)]
pub fn start_without_drafts<E: From<Reply> + Send + 'static>(subject: Subject, out: Sender<E>) -> std::io::Result<Sender<Request>> {
    spawn(subject, out, false)
}

fn spawn<E: From<Reply> + Send + 'static>(subject: Subject, out: Sender<E>, drafts: bool) -> std::io::Result<Sender<Request>> {
    let (to, from) = std::sync::mpsc::channel();
    thread::Builder::new().name("worker".into()).spawn(move || run(subject, &from, out, drafts))?;
    Ok(to)
}
