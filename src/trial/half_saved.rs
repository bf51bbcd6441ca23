//! The mark of a save in progress. A save that dies between two files leaves IPv4 new and IPv6 old: the mark tells the
//! next start, which takes the half-done save back. If every file was written, the save was done; if none was, there is
//! nothing to take back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{self, Who};
use crate::host::{Host, Identity, Stands};

/// What was written, and what the files are to contain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    version: u32,
    /// The boot and network namespace of the save.
    home: Identity,
    holder: Who,
    files: Vec<Marked>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Marked {
    path: PathBuf,
    /// The old file; `None`: there was none.
    old: Option<Old>,
    new: Sum,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Old {
    /// Where it is kept.
    beside: PathBuf,
    /// Whether it was put there for this save.
    made: bool,
    sum: Sum,
}

/// Distinguishes contents; nobody has a reason to forge one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    length: usize,
    hash: u64,
}

impl Sum {
    /// FNV-1a, the same in every version.
    fn of(bytes: &[u8]) -> Self {
        let hash =
            bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
        Self { length: bytes.len(), hash }
    }
}

/// What a marked file contains now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Old,
    New,
    Other,
}

/// A file to be written: its real path, its old and its new content.
pub(super) struct Change<'a> {
    pub(super) path: PathBuf,
    pub(super) old: Option<Vec<u8>>,
    pub(super) text: &'a str,
}

fn place(host: &dyn Host) -> PathBuf {
    host.paths().state.join("saving.json")
}

fn load(host: &dyn Host) -> Option<Mark> {
    serde_json::from_slice(&host.read(&place(host)).ok()?).ok()
}

/// Writes these files, all or none, and keeps each old one. Returns one sentence for each thing done; the
/// error is one sentence.
pub(super) fn write(host: &dyn Host, changes: &[Change]) -> Result<Vec<String>, String> {
    let (pid, started) = host.me();
    let files = changes
        .iter()
        .map(|c| {
            let old = c.old.as_ref().map(|old| beside(host, &c.path, old)).transpose()?;
            Ok(Marked { path: c.path.clone(), old, new: Sum::of(c.text.as_bytes()) })
        })
        .collect::<Result<Vec<_>, String>>()?;
    let mark = Mark { version: 1, home: host.identity(), holder: Who { pid, started }, files };
    put_mark(host, &mark)?;
    let mut done = Vec::new();
    for (change, file) in changes.iter().zip(&mark.files) {
        match put(host, change, file) {
            Ok(said) => done.push(said),
            Err(e) => return Err(std::iter::once(e).chain(take_back(host, &mark)).collect::<Vec<_>>().join("; ")),
        }
    }
    // All files are written: even a mark that stays shows that.
    done.extend(forget(host).err());
    Ok(done)
}

fn put_mark(host: &dyn Host, mark: &Mark) -> Result<(), String> {
    let state = host.paths().state.clone();
    let bytes = serde_json::to_vec(mark).map_err(|e| e.to_string())?;
    host.make_dir(&state)
        .and_then(|()| host.write(&place(host), &bytes, 0o600))
        .map_err(|e| format!("the start of the save could not be recorded in {}: {e}", state.display()))
}

/// Removes the mark: the files belong together again.
pub(super) fn forget(host: &dyn Host) -> Result<(), String> {
    match host.remove(&place(host)) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(format!("{} could not be removed: {e}", place(host).display()))
        }
        _ => Ok(()),
    }
}

fn put(host: &dyn Host, change: &Change, file: &Marked) -> Result<String, String> {
    let path = &change.path;
    if let Some(dir) = path.parent().filter(|d| host.stands(d).is_ok_and(|s| s == Stands::Nothing)) {
        host.make_dir(dir).map_err(|e| format!("{} could not be made: {e}", dir.display()))?;
    }
    let mut kept = String::new();
    if let (Some(old), Some(bytes)) = (&file.old, &change.old) {
        if old.made {
            host.write(&old.beside, bytes, 0o600)
                .map_err(|e| format!("the old {} could not be kept: {e}", path.display()))?;
        }
        kept = format!("; the old one is {}", old.beside.display());
    }
    host.rewrite(path, change.text.as_bytes(), 0o640)
        .map_err(|e| format!("{} could not be written: {e}", path.display()))?;
    Ok(format!("wrote {}{kept}", path.display()))
}

/// Where an old file is kept: next to it, under the first name that is free or has the same content already. Earlier
/// copies are never overwritten.
fn beside(host: &dyn Host, path: &Path, old: &[u8]) -> Result<Old, String> {
    for n in 0..1000_u32 {
        let mut name = path.to_owned().into_os_string();
        name.push(".before-portcullis");
        if n > 0 {
            name.push(format!(".{n}"));
        }
        let beside = PathBuf::from(name);
        let made = match host.read(&beside) {
            Ok(bytes) if bytes == old => false,
            Ok(_) => continue,
            Err(e) if e.kind() == ErrorKind::NotFound => true,
            Err(e) => return Err(format!("the old {} could not be kept: {e}", path.display())),
        };
        return Ok(Old { beside, made, sum: Sum::of(old) });
    }
    Err(format!("there are a thousand old files next to {}: move them away", path.display()))
}

fn holds(host: &dyn Host, file: &Marked) -> Holds {
    let now = match host.read(&file.path) {
        Ok(bytes) => Some(Sum::of(&bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(_) => return Holds::Other,
    };
    if now == Some(file.new) {
        Holds::New
    } else if now == file.old.as_ref().map(|o| o.sum) {
        Holds::Old
    } else {
        Holds::Other
    }
}

/// Puts the old files back where the new ones are, and removes copies that were made only for this save. Returns one
/// sentence for each failure; without one the mark is removed, too.
fn take_back(host: &dyn Host, mark: &Mark) -> Vec<String> {
    let mut failed = Vec::new();
    for file in &mark.files {
        let at = file.path.display();
        if holds(host, file) == Holds::New {
            let done = match &file.old {
                None => host.remove(&file.path).map_err(|e| e.to_string()),
                Some(old) => host
                    .read(&old.beside)
                    .map_err(|e| e.to_string())
                    .and_then(|bytes| {
                        if Sum::of(&bytes) == old.sum {
                            Ok(bytes)
                        } else {
                            Err(format!("{} holds something else", old.beside.display()))
                        }
                    })
                    .and_then(|bytes| host.rewrite(&file.path, &bytes, 0o640).map_err(|e| e.to_string())),
            };
            if let Err(e) = done {
                failed.push(format!("{at} could not be put back: {e}"));
                continue;
            }
        }
        if let Some(old) =
            file.old.as_ref().filter(|o| o.made && holds(host, file) == Holds::Old && host.read(&o.beside).is_ok())
        {
            // The same content is back in its place: nothing is lost.
            failed.extend(
                host.remove(&old.beside).err().map(|e| format!("{} could not be removed: {e}", old.beside.display())),
            );
        }
    }
    if failed.is_empty() {
        failed.extend(forget(host).err());
    }
    failed
}

/// What an interrupted save left: `None` if there was none, or if its files belong together.
pub fn half_saved(host: &dyn Host) -> Option<String> {
    let mark = load(host)?;
    // A save in progress is not an interrupted one.
    if mark.home == host.identity() && host.alive(mark.holder.pid, mark.holder.started) {
        return None;
    }
    let found: Vec<(Holds, String)> =
        mark.files.iter().map(|f| (holds(host, f), f.path.display().to_string())).collect();
    if found.iter().all(|(h, _)| *h == Holds::New) || found.iter().all(|(h, _)| *h == Holds::Old) {
        return None;
    }
    let of = |what: Holds, verb: &str| {
        let files: Vec<&str> = found.iter().filter(|(h, _)| *h == what).map(|(_, p)| p.as_str()).collect();
        (!files.is_empty()).then(|| format!("{} {verb}", files.join(" and ")))
    };
    let now: Vec<String> =
        [of(Holds::New, "new"), of(Holds::Old, "old"), of(Holds::Other, "changed by somebody since")]
            .into_iter()
            .flatten()
            .collect();
    let next = if found.iter().any(|(h, _)| *h == Holds::Other) {
        "`portcullis save` writes them again"
    } else {
        "the next command that changes something puts the old ones back"
    };
    Some(format!(
        "a save was cut short, so the files that boot loads do not belong together ({}); {next}",
        now.join(", ")
    ))
}

/// Takes back a half-done save and removes temporary files of interrupted writes; returns what was
/// done. Needs our lock.
pub(super) fn recover(host: &dyn Host) -> Vec<String> {
    let (state, run) = (host.paths().state.clone(), host.paths().run.clone());
    for dir in [state.join("history"), state.join("snapshots"), state, run] {
        host.sweep(&dir);
    }
    let Some(mark) = load(host) else { return Vec::new() };
    for dir in mark.files.iter().filter_map(|f| f.path.parent()) {
        host.sweep(dir);
    }
    let found: Vec<Holds> = mark.files.iter().map(|f| holds(host, f)).collect();
    if found.iter().all(|h| *h == Holds::New) {
        // Only the mark was left to be removed.
        return forget(host).err().into_iter().collect();
    }
    if found.contains(&Holds::Other) {
        // Somebody changed a file since: which content counts is not for us to decide.
        return half_saved(host).into_iter().collect();
    }
    let back: Vec<String> = mark
        .files
        .iter()
        .zip(&found)
        .filter(|(_, h)| **h == Holds::New)
        .map(|(f, _)| f.path.display().to_string())
        .collect();
    let failed = take_back(host, &mark);
    let mut said = Vec::new();
    if !back.is_empty() {
        let what = if failed.is_empty() {
            format!("{} holds its old rules again; save once more", back.join(" and "))
        } else {
            failed.join("; ")
        };
        said.push(format!("an earlier save was cut short before all its files were written: {what}"));
    }
    said
}

/// The same without holding the lock: if another of our processes holds it, that one has done this already.
pub(super) fn take_back_half_saved(host: &dyn Host) -> Vec<String> {
    if !host.is_root() {
        return Vec::new();
    }
    match record::lock(host, Duration::from_secs(2)) {
        Ok(Some(_lock)) => recover(host),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::host::demo::Demo;
    use crate::trial::save::{Mode, preview, save};

    const V4: &str = "/etc/iptables/rules.v4";
    const V6: &str = "/etc/iptables/rules.v6";

    fn text(host: &Demo, path: &str) -> String {
        String::from_utf8(host.read(Path::new(path)).unwrap()).unwrap()
    }

    /// A host whose IPv4 file is new and whose IPv6 file is old, as after a power cut.
    fn half() -> Demo {
        let host = Demo::new();
        for path in [V4, V6] {
            host.write(Path::new(path), b"# old\n", 0o640).unwrap();
        }
        let changes = [V4, V6].map(|p| Change { path: p.into(), old: Some(b"# old\n".to_vec()), text: "# new\n" });
        let died = host.fork();
        let files = changes
            .iter()
            .map(|c| Marked {
                path: c.path.clone(),
                old: Some(beside(&host, &c.path, b"# old\n").unwrap()),
                new: Sum::of(b"# new\n"),
            })
            .collect();
        put_mark(
            &died,
            &Mark { version: 1, home: died.identity(), holder: Who { pid: died.me().0, started: died.me().1 }, files },
        )
        .unwrap();
        let mark = load(&host).unwrap();
        put(&died, &changes[0], &mark.files[0]).unwrap();
        assert_eq!(half_saved(&host), None, "it is under way");
        died.end();
        host
    }

    #[test]
    fn what_was_half_done_is_said_and_taken_back() {
        let host = half();
        let said = half_saved(&host).unwrap();
        assert!(said.contains("(/etc/iptables/rules.v4 new, /etc/iptables/rules.v6 old); the next command"), "{said}");
        assert!(preview(&host, Mode::All).unwrap().boot.to_do().is_some_and(|t| t.contains("a save was cut short")));
        assert_eq!(
            take_back_half_saved(&host),
            ["an earlier save was cut short before all its files were written: /etc/iptables/rules.v4 holds its old \
                    rules again; save once more"]
        );
        assert_eq!(
            (text(&host, V4).as_str(), half_saved(&host), host.list(Path::new("/etc/iptables"))),
            ("# old\n", None, ["rules.v4", "rules.v6"].map(str::to_owned).to_vec())
        );
        assert!(take_back_half_saved(&host).is_empty());
    }

    #[test]
    fn what_somebody_changed_since_is_left_alone_until_the_next_save() {
        let host = half();
        host.write(Path::new(V6), b"# mine\n", 0o640).unwrap();
        assert!(
            take_back_half_saved(&host)[0]
                .contains("/etc/iptables/rules.v6 changed by somebody since); `portcullis save` writes them again")
        );
        assert_eq!((text(&host, V4).as_str(), text(&host, V6).as_str()), ("# new\n", "# mine\n"));
        save(&host, &preview(&host, Mode::All).unwrap()).unwrap();
        assert_eq!((half_saved(&host), load(&host).is_none()), (None, true));
    }
}
