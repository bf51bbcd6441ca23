//! Proof of access: an authenticated SSH session whose connection began after the last apply or extension, seen while
//! our rules were read back live. A scanner's handshake has no session, a second channel of an old connection is not a
//! new connection, and a session of the host with itself comes through `lo`: none of them proves anything. Nor does a
//! session from where these very rules let nobody in: its connection was made before them, and sshd accepted it late.

use std::path::PathBuf;
use std::time::Duration;

use super::kernel;
use super::record::{Proof, Record};
use crate::analyse::{Analysis, Packet, Verdict};
use crate::host::Host;
use crate::model::names::chains::is_ours;
use crate::model::trial::State;
use crate::model::{Family, Proto, View};
use crate::observe::firewall::READING;
use crate::plan::standing;

fn file(host: &dyn Host, id: &str) -> PathBuf {
    host.paths().run.join(format!("proof-{id}.json"))
}

/// The proof that was found before, if it is still valid: after an extension a new one is needed.
fn known(host: &dyn Host, trial: &Record) -> Option<Proof> {
    let proof: Proof = serde_json::from_slice(&host.read(&file(host, &trial.id)).ok()?).ok()?;
    (proof.began > trial.applied).then_some(proof)
}

/// The proof of a trial: if it has ended, the one with which it was kept; if it is running, the best so far.
pub fn proof(host: &dyn Host, trial: &Record) -> Option<Proof> {
    if trial.state() != State::Running {
        return trial.proof.clone();
    }
    let known = known(host, trial);
    if known.as_ref().is_some_and(|p| p.is_from(trial.operator)) {
        return known;
    }
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let mut new: Vec<Proof> = host
        .ssh_sessions()
        .into_iter()
        .map(|s| Proof { user: s.user, peer: s.peer, port: s.port, began: millis(s.began) })
        .filter(|p| p.began > trial.applied && Some(p) != known.as_ref())
        // The operator's own login is preferred; among others the first stays.
        .filter(|p| known.is_none() || p.is_from(trial.operator))
        .collect();
    if new.is_empty() {
        return known;
    }
    new.sort_by_key(|p| (!p.is_from(trial.operator), p.began));
    let Some(live) = live(host, trial) else { return known };
    let Some(new) = new.into_iter().find(|p| !is_shut_out(&live, p)) else { return known };
    if let Ok(bytes) = serde_json::to_vec(&new) {
        // If the file cannot be written, the next caller looks for the session again.
        let _ = host.write(&file(host, &trial.id), &bytes, 0o600);
    }
    Some(new)
}

/// Removes the file of an ended trial.
pub(super) fn forget(host: &dyn Host, id: &str) {
    let _ = host.remove(&file(host, id));
}

/// A fresh reading, if it shows the trial's rules in force in every family, with our jump to them.
fn live(host: &dyn Host, trial: &Record) -> Option<View> {
    let mut view = View { at: host.now().wall, ..View::empty(host.source(), &host.name()) };
    // The guard asks too: no reading may last beyond the deadline.
    let limit = || READING.min(Duration::from_millis(trial.deadline).saturating_sub(host.now().boot));
    for change in &trial.families {
        let now = kernel::read_within(host, change.family(), limit()).ok()?;
        let jumps = change.doors.iter().all(|d| d.new.is_none() || standing(&now, d.is_forwarded()).jump.is_some());
        if !jumps || !change.holds(&now, &change.apply_script(trial.fuse)) {
            return None;
        }
        match change.family() {
            Family::V4 => view.v4 = Some(now),
            Family::V6 => view.v6 = Some(now),
        }
    }
    Some(view)
}

/// Whether the trial's own rules certainly stop a new connection of the login. Other rules would have stopped it
/// before: it got around them, by NAT.
fn is_shut_out(live: &View, login: &Proof) -> bool {
    let new = Analysis::new(live).trace(&Packet::new(login.peer, Proto::TCP, Some(login.port)));
    matches!(new.verdict, Verdict::Drop | Verdict::Reject) && new.rule.is_some_and(|r| is_ours(&r.chain))
}
