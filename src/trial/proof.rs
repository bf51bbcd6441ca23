//! Proof of access: an authenticated SSH session whose connection began after the last apply or extension, seen while
//! our rules were read back live. A handshake of a scanner has no session, a second channel of an old connection did
//! not begin anew, and a session of the host with itself comes through `lo`: none of them proves anything.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kernel;
use super::machine::State;
use super::record::Record;
use crate::host::Host;
use crate::observe::firewall::READING;
use crate::plan::standing;

/// A new login that got in under the trial's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Whose session.
    pub user: String,
    /// From where.
    pub peer: IpAddr,
    /// The port of ours that it came to.
    pub port: u16,
    /// When its connection began, milliseconds on CLOCK_BOOTTIME.
    pub began: u64,
}

impl Proof {
    /// Whether it came from where the operator is; another peer shows that the way in is open for that one.
    pub fn is_from(&self, operator: &str) -> bool {
        self.peer.to_string() == operator
    }
}

fn file(host: &dyn Host, id: &str) -> PathBuf {
    host.paths().run.join(format!("proof-{id}.json"))
}

/// The proof that was found before, if it still holds: an extension asks for a new one.
fn known(host: &dyn Host, trial: &Record) -> Option<Proof> {
    let proof: Proof = serde_json::from_slice(&host.read(&file(host, &trial.id)).ok()?).ok()?;
    (proof.began > trial.applied).then_some(proof)
}

/// The proof of a trial: of one that has ended the one that it was kept with, of a running one the best so far.
pub fn proof(host: &dyn Host, trial: &Record) -> Option<Proof> {
    if trial.state != State::Running {
        return trial.proof.clone();
    }
    let known = known(host, trial);
    if known.as_ref().is_some_and(|p| p.is_from(&trial.operator)) {
        return known;
    }
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let new = host.ssh_sessions().into_iter()
        .map(|s| Proof { user: s.user, peer: s.peer, port: s.port, began: millis(s.began) })
        .filter(|p| p.began > trial.applied && Some(p) != known.as_ref())
        .min_by_key(|p| (!p.is_from(&trial.operator), p.began))
        // One of the operator's own is better than another's; among others the first stays.
        .filter(|p| known.is_none() || p.is_from(&trial.operator));
    let Some(new) = new.filter(|_| is_live(host, trial)) else { return known };
    if let Ok(bytes) = serde_json::to_vec(&new) {
        // Without the file the next one who asks looks for the session again.
        let _ = host.write(&file(host, &trial.id), &bytes, 0o600);
    }
    Some(new)
}

/// Takes the file away when the trial has ended.
pub(super) fn forget(host: &dyn Host, id: &str) {
    let _ = host.remove(&file(host, id));
}

/// Whether a fresh reading shows the trial's rules in force in every family, with our jump to them.
fn is_live(host: &dyn Host, trial: &Record) -> bool {
    // The guard asks too: no reading may last beyond the deadline.
    let limit = || READING.min(Duration::from_millis(trial.deadline).saturating_sub(host.now().boot));
    trial.families.iter().all(|change| kernel::read_within(host, change.family(), limit()).is_ok_and(|now| {
        let jumps = change.doors.iter().all(|d| d.new.is_none() || standing(&now, d.is_forwarded()).jump.is_some());
        jumps && change.holds(&now, &change.apply_script(trial.fuse))
    }))
}
