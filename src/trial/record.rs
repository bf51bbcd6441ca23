//! The state file of a trial: everything that ending it needs, in one file that is written whole.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::machine::{Event, OutOfTurn, step};
use crate::host::{Held, Holder, Home, Host, Identity};
use crate::model::Operator;
use crate::model::trial::{By, State};
use crate::plan::FamilyChange;

/// A process by its id and its start time, so that a reused id is not taken for it.
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
    pub fn is_from(&self, operator: Operator) -> bool {
        operator.peer() == Some(self.peer)
    }
}

/// What a file that boot loads held when a trial began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// It holds rules of IPv6; else of IPv4.
    pub v6: bool,
    /// The file.
    pub path: PathBuf,
    /// What tells its content from another; `None`: it could not be read, as when it is not there.
    pub digest: Option<u64>,
}

/// One trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this file.
    pub version: u32,
    /// Name of the trial.
    pub id: String,
    /// Where it stands.
    state: State,
    /// Who ended it.
    pub by: Option<By>,
    /// Why it ended, or why that was begun.
    #[serde(default)]
    pub why: Option<String>,
    /// Where it was started.
    pub home: Identity,
    /// Wall clock at the start, seconds since 1970 UTC.
    pub began: i64,
    /// Wall clock at the end.
    pub ended: Option<i64>,
    /// Deadline on CLOCK_BOOTTIME, milliseconds.
    pub deadline: u64,
    /// When the plan was read back live, or the time was extended last: CLOCK_BOOTTIME, milliseconds.
    #[serde(default)]
    pub applied: u64,
    /// The latest deadline that extensions may reach.
    pub latest: u64,
    /// The fuse's last second on the wall clock; `None` with `--without-fuse`.
    pub fuse: Option<i64>,
    /// Wall clock minus boot clock when the fuse was set, seconds: a step of the wall clock shows here.
    pub offset: i64,
    /// The change, per family.
    pub families: Vec<FamilyChange>,
    /// The scripts that put the old rules back, in the order of `families`.
    pub revert: Vec<String>,
    /// The plan, as TOML.
    pub plan: String,
    /// Who began it.
    pub operator: Operator,
    /// Process that is changing the kernel now or did last.
    pub holder: Option<Who>,
    /// The guard, when it is ready.
    pub guard: Option<Who>,
    /// Where that guard lives.
    #[serde(default)]
    pub guard_home: Option<Home>,
    /// The login that showed that the way in is open, when it was kept with one.
    #[serde(default)]
    pub proof: Option<Proof>,
    /// Wall clock when what was kept was written for the next boot.
    #[serde(default)]
    pub saved: Option<i64>,
    /// Why the old rules could not be read back after a revert had put them in; `None`: they were, or there was no
    /// revert.
    #[serde(default)]
    pub unverified: Option<String>,
    /// A revert put our old rules back, but somebody had taken out the jump to them: they decide nothing.
    #[serde(default)]
    pub jumpless: bool,
    /// What the files that boot loads held when it began.
    #[serde(default)]
    pub boot_files: Vec<Mark>,
    /// What went wrong, or what else an end touched.
    pub remarks: Vec<String>,
}

impl Record {
    /// A trial that begins now: armed, with nothing in the kernel yet, and without an end of its own.
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

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The only way from one state to the next: what does not fit changes nothing.
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

    /// Seconds that are left on the boot clock.
    pub fn left(&self, boot: Duration) -> u64 {
        self.deadline.saturating_sub(u64::try_from(boot.as_millis()).unwrap_or(u64::MAX)).div_ceil(1000)
    }

    /// The deadline on the wall clock, seconds since 1970 UTC, as long as that is not set.
    pub fn deadline_on_the_wall(&self) -> i64 {
        self.offset + i64::try_from(self.deadline / 1000).unwrap_or(0)
    }

    /// What a revert came to, half a sentence.
    pub fn reverted(&self) -> &'static str {
        if self.jumpless {
            "reverted: its rules are out, but what was kept before is not in force"
        } else {
            "reverted: the old rules are back"
        }
    }

    /// Whether it was started here: the same boot and network namespace.
    pub fn is_here(&self, host: &dyn Host) -> bool {
        self.home == host.identity()
    }
}

fn file(host: &dyn Host) -> PathBuf {
    host.paths().run.join("trial.json")
}

/// The trial that was begun last since boot, if there was one.
pub fn load(host: &dyn Host) -> Option<Record> {
    serde_json::from_slice(&host.read(&file(host)).ok()?).ok()
}

/// Writes the state file and reads it back. A trial that has ended stays so: somebody who was stopped half-way must not
/// write over what others did meanwhile.
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

/// What the state file says of the end of this trial, if it has ended.
pub fn ended(host: &dyn Host, record: &Record) -> Option<Record> {
    load(host).filter(|last| last.id == record.id && !last.state.is_pending())
}

/// Both locks of whoever may put a plan in or keep it.
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

/// Takes the lock of whoever only puts the old rules back: that of the directory, for which nothing is written. Who
/// holds this one alone cannot make a plan stay.
pub fn lock_to_go_back(host: &dyn Host, wait: Duration) -> Result<Option<Box<dyn Held>>, String> {
    let run = &host.paths().run;
    host.make_dir(run).map_err(|e| format!("{} cannot be used: {e}", run.display()))?;
    host.lock(run, wait).map_err(|e| format!("the lock of {} cannot be taken: {e}", run.display()))
}

/// Who may be putting a plan in or keeping it now.
pub fn plan_holders(host: &dyn Host) -> Vec<Holder> {
    host.lock_holders(&lock_file(host))
}

/// Who is changing the kernel now.
pub fn holder(host: &dyn Host) -> Option<Holder> {
    host.lock_holders(&host.paths().run).into_iter().next()
}

fn lock_file(host: &dyn Host) -> PathBuf {
    host.paths().run.join("lock")
}
