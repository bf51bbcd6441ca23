//! The state file of a trial: everything needed to end it, in one file that is written atomically.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::machine::{Event, OutOfTurn, step};
use crate::host::{Held, Holder, Home, Host, Identity};
use crate::model::Operator;
use crate::model::trial::{By, State};
use crate::plan::FamilyChange;

/// A process, by its id and its start time, so that a reused id is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

/// A new login that got in under the trial's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The user of the session.
    pub user: String,
    /// The address that it came from.
    pub peer: IpAddr,
    /// Our port that it connected to.
    pub port: u16,
    /// When its connection began, milliseconds on CLOCK_BOOTTIME.
    pub began: u64,
}

impl Proof {
    /// Whether it came from the operator's address; a login from elsewhere proves the way in for that address only.
    pub fn is_from(&self, operator: Operator) -> bool {
        operator.peer() == Some(self.peer)
    }
}

/// The content of a file that boot loads, when a trial began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whether it holds IPv6 rules; otherwise IPv4.
    pub v6: bool,
    /// The file.
    pub path: PathBuf,
    /// A hash of its content; `None` if it could not be read, e.g. because it does not exist.
    pub digest: Option<u64>,
}

/// One trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this file.
    pub version: u32,
    /// The trial's id.
    pub id: String,
    /// Its state.
    state: State,
    /// Who ended it.
    pub by: Option<By>,
    /// Why it ended, or why ending it was begun.
    #[serde(default)]
    pub why: Option<String>,
    /// The boot and network namespace in which it was started.
    pub home: Identity,
    /// Wall clock at the start, seconds since 1970 UTC.
    pub began: i64,
    /// Wall clock at the end.
    pub ended: Option<i64>,
    /// Deadline on CLOCK_BOOTTIME, milliseconds.
    pub deadline: u64,
    /// When the plan was read back live, or the time was last extended: CLOCK_BOOTTIME, milliseconds.
    #[serde(default)]
    pub applied: u64,
    /// The latest deadline that extensions may reach.
    pub latest: u64,
    /// The fuse's last second on the wall clock; `None` with `--without-fuse`.
    pub fuse: Option<i64>,
    /// Wall clock minus boot clock when the fuse was set, in seconds: shows if the wall clock was set since.
    pub offset: i64,
    /// The change, per family.
    pub families: Vec<FamilyChange>,
    /// The scripts that put the old rules back, in the order of `families`.
    pub revert: Vec<String>,
    /// The plan, as TOML.
    pub plan: String,
    /// Who began it.
    pub operator: Operator,
    /// The process that is changing the kernel now, or was the last to do so.
    pub holder: Option<Who>,
    /// The guard, once it is ready.
    pub guard: Option<Who>,
    /// How that guard runs.
    #[serde(default)]
    pub guard_home: Option<Home>,
    /// The login with which it was kept, which proved that the way in is open.
    #[serde(default)]
    pub proof: Option<Proof>,
    /// Wall clock when the kept plan was saved for the next boot.
    #[serde(default)]
    pub saved: Option<i64>,
    /// Why the old rules could not be read back after a revert; `None`: they could, or there was no revert.
    #[serde(default)]
    pub unverified: Option<String>,
    /// Whether the old rules that a revert put back have no effect, because somebody had removed the jump to them.
    #[serde(default)]
    pub jumpless: bool,
    /// What the files that boot loads held when the trial began.
    #[serde(default)]
    pub boot_files: Vec<Mark>,
    /// What went wrong, or what else its end affected.
    pub remarks: Vec<String>,
}

impl Record {
    /// A new trial: armed, with nothing in the kernel yet, and not ended.
    pub fn armed(host: &dyn Host, id: &str, families: Vec<FamilyChange>) -> Self {
        let now = host.now();
        Self {
            version: 1,
            id: id.to_owned(),
            state: State::Armed,
            by: None,
            why: None,
            home: host.identity(),
            began: now.wall,
            ended: None,
            deadline: 0,
            applied: u64::MAX,
            latest: 0,
            fuse: None,
            offset: now.wall - i64::try_from(now.boot.as_secs()).unwrap_or(0),
            revert: families.iter().map(FamilyChange::revert_script).collect(),
            families,
            plan: String::new(),
            operator: Operator::Unknown,
            holder: None,
            guard: None,
            guard_home: None,
            proof: None,
            saved: None,
            unverified: None,
            jumpless: false,
            boot_files: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The only way from one state to the next: an event that does not fit changes nothing.
    pub fn advance(&mut self, event: Event) -> Result<(), OutOfTurn> {
        self.state = step(self.state, event)?;
        Ok(())
    }

    /// The same trial in any state.
    #[cfg(test)]
    #[must_use]
    pub fn in_state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Seconds left on the boot clock.
    pub fn left(&self, boot: Duration) -> u64 {
        self.deadline.saturating_sub(u64::try_from(boot.as_millis()).unwrap_or(u64::MAX)).div_ceil(1000)
    }

    /// The deadline on the wall clock, seconds since 1970 UTC, unless that clock is set.
    pub fn deadline_on_the_wall(&self) -> i64 {
        self.offset + i64::try_from(self.deadline / 1000).unwrap_or(0)
    }

    /// The outcome of a revert, half a sentence.
    pub fn reverted(&self) -> &'static str {
        if self.jumpless {
            "reverted: its rules are removed, but what was kept before is not in force"
        } else {
            "reverted: the old rules are back"
        }
    }

    /// Whether it was started here: in the same boot and network namespace.
    pub fn is_here(&self, host: &dyn Host) -> bool {
        self.home == host.identity()
    }
}

fn file(host: &dyn Host) -> PathBuf {
    host.paths().run.join("trial.json")
}

/// The last trial begun since boot, if there was one.
pub fn load(host: &dyn Host) -> Option<Record> {
    serde_json::from_slice(&host.read(&file(host)).ok()?).ok()
}

/// Writes the state file and reads it back. An ended trial stays ended: a process that was stopped half-way must not
/// overwrite what others have done meanwhile.
pub fn store(host: &dyn Host, record: &Record) -> Result<(), String> {
    if let Some(last) = ended(host, record)
        .filter(|last| record.state.is_pending() || record.state == State::Kept && last.state != State::Kept)
    {
        return Err(format!("trial {} was ended meanwhile: it is {}", last.id, last.state.word()));
    }
    let path = file(host);
    let bytes = serde_json::to_vec(record).map_err(|e| e.to_string())?;
    let done = host.write(&path, &bytes, 0o600).and_then(|()| host.read(&path));
    match done {
        Ok(back) if back == bytes => Ok(()),
        Ok(_) => Err(format!("{} reads back differently", path.display())),
        Err(e) => Err(format!("{} could not be written: {e}", path.display())),
    }
}

/// The ended trial from the state file, if this trial has ended.
pub fn ended(host: &dyn Host, record: &Record) -> Option<Record> {
    load(host).filter(|last| last.id == record.id && !last.state.is_pending())
}

/// Both locks, for a process that may put a plan in or keep it.
struct Both {
    _directory: Box<dyn Held>,
    _file: Box<dyn Held>,
}

impl Held for Both {}

/// Makes our directories and takes the locks; only their holder changes the kernel.
pub fn lock(host: &dyn Host, wait: Duration) -> Result<Option<Box<dyn Held>>, String> {
    let Some(directory) = lock_to_go_back(host, wait)? else { return Ok(None) };
    let path = lock_file(host);
    let file = host.lock(&path, wait).map_err(|e| format!("the lock {} cannot be taken: {e}", path.display()))?;
    Ok(file.map(|file| -> Box<dyn Held> { Box::new(Both { _directory: directory, _file: file }) }))
}

/// Takes the lock for putting the old rules back only: that of the directory, which needs no write. Its holder alone
/// cannot make a plan stay.
pub fn lock_to_go_back(host: &dyn Host, wait: Duration) -> Result<Option<Box<dyn Held>>, String> {
    let run = &host.paths().run;
    host.make_dir(run).map_err(|e| format!("{} cannot be used: {e}", run.display()))?;
    host.lock(run, wait).map_err(|e| format!("the lock of {} cannot be taken: {e}", run.display()))
}

/// Processes that may be putting a plan in or keeping it now.
pub fn plan_holders(host: &dyn Host) -> Vec<Holder> {
    host.lock_holders(&lock_file(host))
}

/// The process that is changing the kernel now.
pub fn holder(host: &dyn Host) -> Option<Holder> {
    host.lock_holders(&host.paths().run).into_iter().next()
}

fn lock_file(host: &dyn Host) -> PathBuf {
    host.paths().run.join("lock")
}
