//! What both worker threads send to the screen: answers, and the state of a trial, once a second while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::host::Host;
use crate::syntax::plan as plan_file;
use crate::trial::{self, Record, Status};
use crate::tui::facts::TrialSeen;
use crate::tui::protocol::Reply;
use crate::tui::sentence::utc;

/// While a trial runs the rules are read again, for at most this fraction of the time: a host with very many rules has
/// other work to do.
const SHARE: u32 = 20;

/// The host, shared between threads.
pub type Machine = Arc<dyn Host + Send + Sync>;

/// The channel to the screen.
pub struct Teller<E> {
    out: Sender<E>,
    /// Whether a thread is reading the clock of a trial.
    clock: Arc<AtomicBool>,
}

impl<E> Clone for Teller<E> {
    fn clone(&self) -> Self {
        Self { out: self.out.clone(), clock: self.clock.clone() }
    }
}

impl<E: From<Reply> + Send + 'static> Teller<E> {
    /// Sends answers to `out`.
    pub fn new(out: Sender<E>) -> Self {
        Self { out, clock: Arc::default() }
    }

    /// Sends an answer; `false` when the screen is gone.
    pub fn say(&self, reply: Reply) -> bool {
        self.out.send(E::from(reply)).is_ok()
    }

    /// Sends an answer; without a screen it is not needed.
    pub fn tell(&self, reply: Reply) {
        self.say(reply);
    }

    /// Sends the state of the last trial and the history; while a trial runs, again every second.
    pub fn tell_trial(&self, host: &Machine) {
        let pending = self.tell_clock(host.as_ref()).1;
        self.tell(Reply::Past(past(host.as_ref())));
        if pending {
            self.watch_clock(host.clone());
        }
    }

    /// Whether the message was delivered, and whether a trial runs.
    fn tell_clock(&self, host: &dyn Host) -> (bool, bool) {
        let status = trial::status(host);
        let pending = status.trial.as_ref().is_some_and(|t| t.state().is_pending());
        (self.say(Reply::Trial(status.trial.as_ref().map(|r| shown(r, &status)))), pending)
    }

    /// One message a second while a trial runs; at its end the history too.
    fn watch_clock(&self, host: Machine) {
        if self.clock.swap(true, Ordering::SeqCst) {
            return;
        }
        let me = self.clone();
        let mut next = Duration::ZERO;
        thread::spawn(move || {
            loop {
                host.pause(Duration::from_secs(1));
                let (told, pending) = me.tell_clock(host.as_ref());
                let begun = host.now().boot;
                if told && pending && begun >= next {
                    me.tell(Reply::Enforced(trial::enforced(host.as_ref()).1));
                    next = begun + host.now().boot.saturating_sub(begun) * SHARE;
                }
                if !told || !pending {
                    me.clock.store(false, Ordering::SeqCst);
                    me.tell(Reply::Past(past(host.as_ref())));
                    return;
                }
            }
        });
    }
}

fn past(host: &dyn Host) -> Vec<TrialSeen> {
    trial::history::all(host).iter().map(|r| shown(r, &Status::default())).collect()
}

/// A trial in the form that the screens show.
pub fn shown(r: &Record, status: &Status) -> TrialSeen {
    TrialSeen {
        id: r.id.clone(),
        state: r.state(),
        pending: r.state().is_pending(),
        phase: status.phase(),
        guarded: status.guard.is_some(),
        needs_proof: r.operator.needs_proof(),
        proof: status.proof.as_ref().or(r.proof.as_ref()).map(|p| (p.user.clone(), p.peer)),
        operator: r.operator,
        began: utc(r.began),
        ended: r.ended.map(utc),
        saved: r.saved.map(utc),
        why: r.why.clone(),
        by: r.by,
        plan: plan_file::read(&r.plan),
        remarks: r.remarks.clone(),
        fuse: r.fuse.is_some(),
    }
}
