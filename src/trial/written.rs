//! Whether somebody wrote to the files that boot loads while a trial ran (`netfilter-persistent save`, an upgrade,
//! another administrator). They are compared with their content when it began, and searched for the trial's rules.

use super::boot::Place;
use super::evidence::dated;
use super::record::{Mark, Record};
use crate::host::Host;
use crate::model::{BootFile, BootHolds, Family};
use crate::syntax::iptables_save;

/// FNV-1a: a hash that is the same in every version of this program.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// The current content of the files that boot loads, as hashes.
pub(super) fn marks(host: &dyn Host) -> Vec<Mark> {
    Place::look(host)
        .files(host)
        .into_iter()
        .map(|(family, path)| Mark {
            v6: family == Family::V6,
            digest: host.read(&path).ok().map(|b| digest(&b)),
            path,
        })
        .collect()
}

/// The files loaded by boot that contain a trial, or that changed since the pending trial `trial` began.
pub fn look(host: &dyn Host, trial: Option<&Record>) -> Vec<BootFile> {
    // The files that boot loads are determined once per trial: while it runs, this is called every second.
    let known = trial.map(|t| &t.boot_files).filter(|marks| !marks.is_empty());
    let files = known.map_or_else(
        || Place::look(host).files(host),
        |marks| marks.iter().map(|m| (if m.v6 { Family::V6 } else { Family::V4 }, m.path.clone())).collect(),
    );
    files
        .into_iter()
        .filter_map(|(family, path)| {
            let bytes = host.read(&path).ok();
            let before = trial.and_then(|t| t.boot_files.iter().find(|m| m.path == path));
            let changed = before.is_some_and(|m| m.digest != bytes.as_deref().map(digest));
            let holds = bytes.and_then(|b| holds(family, &String::from_utf8_lossy(&b), trial.filter(|_| changed)));
            let holds = holds.or_else(|| changed.then_some(BootHolds::Other))?;
            Some(BootFile { path: path.display().to_string(), holds })
        })
        .collect()
}

/// What a listing contains of a trial; `trial`: also look for the plan of this one.
fn holds(family: Family, text: &str, trial: Option<&Record>) -> Option<BootHolds> {
    // Most files contain nothing of ours, and some are long.
    if !text.contains("PORTCULLIS") {
        return None;
    }
    let set = iptables_save::read(text, family).0;
    if dated(&set).is_some() {
        return Some(BootHolds::Trial);
    }
    let planned = trial?.families.iter().find(|c| c.family() == family)?;
    (planned.doors.iter().any(|d| d.new.is_some()) && planned.is_kept_in(&set)).then_some(BootHolds::Plan)
}

/// The remarks about these files when a trial ends.
pub(super) fn remarks(host: &dyn Host, trial: &Record) -> Vec<String> {
    let bad: Vec<BootFile> = look(host, Some(trial)).into_iter().filter(|f| f.holds.is_bad()).collect();
    BootFile::say(&bad).into_iter().map(|(_, said)| said).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use std::path::Path;

    use super::*;
    use crate::host::Host;
    use crate::host::demo::Demo;
    use crate::model::SaveMode;
    use crate::model::trial::Allowed;
    use crate::trial::crash::{cure, machine, options};
    use crate::trial::{Options, Reverted, apply, enforced, keep, record, revert, save};

    const V4: &str = "/etc/iptables/rules.v4";

    /// As `netfilter-persistent save` does.
    fn somebody_saves(host: &Demo) {
        host.write(Path::new(V4), iptables_save::write(&host.loaded(Family::V4), true).as_bytes(), 0o640).unwrap();
    }

    fn found(host: &Demo) -> Vec<(String, BootHolds)> {
        enforced(host).1.boot_files.into_iter().map(|f| (f.path, f.holds)).collect()
    }

    #[test]
    fn what_somebody_saves_during_a_trial_is_reported_until_it_is_saved_again() {
        let host = machine(false, 0, false);
        somebody_saves(&host);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        assert_eq!(found(&host), [], "saved before");
        somebody_saves(&host);
        assert_eq!(found(&host), [(V4.to_owned(), BootHolds::Trial)]);
        let Reverted::Trial(ended) = revert(&host).unwrap() else { panic!("it ran") };
        assert!(
            !record::load(&host).unwrap().remarks.iter().any(|r| r.contains("rules.v4")),
            "it may be mended in a minute"
        );
        assert!(
            ended
                .remarks
                .iter()
                .any(|r| r.contains("rules.v4 holds rules of a trial")
                    && r.contains("`portcullis save` writes it again")),
            "{:?}",
            ended.remarks
        );
        // Also at the next boot.
        host.remove(&host.paths().run.join("trial.json")).unwrap();
        assert_eq!(found(&host), [(V4.to_owned(), BootHolds::Trial)]);
        let findings = enforced(&host).1.findings();
        assert_eq!(findings.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), ["trial-in-boot-file"]);
        save::save(&host, &save::preview(&host, SaveMode::All).unwrap()).unwrap();
        assert_eq!(found(&host), []);
    }

    #[test]
    fn a_file_saved_during_a_trial_still_has_its_dates_after_a_keep() {
        let host = machine(false, 0, false);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        somebody_saves(&host);
        let kept = keep(&host, true).unwrap();
        assert!(kept.remarks.iter().any(|r| r.contains("rules.v4 holds rules of a trial")), "{:?}", kept.remarks);
        assert_eq!(found(&host), [(V4.to_owned(), BootHolds::Trial)]);
    }

    #[test]
    fn a_trial_without_dates_is_known_by_its_rules_and_a_change_of_others_by_its_content() {
        let host = machine(false, 0, false);
        apply(
            &host,
            &cure("192.0.2.11"),
            &Options { allowed: Allowed { without_fuse: true, ..options().allowed }, ..options() },
            &mut |_| {},
        )
        .unwrap();
        somebody_saves(&host);
        assert_eq!(found(&host), [(V4.to_owned(), BootHolds::Plan)]);
        host.write(Path::new(V4), b"*filter\n:INPUT DROP [0:0]\nCOMMIT\n", 0o640).unwrap();
        assert_eq!(found(&host), [(V4.to_owned(), BootHolds::Other)]);
        host.remove(Path::new(V4)).unwrap();
        assert_eq!(found(&host), []);
        revert(&host).unwrap();
        assert_eq!(found(&host), []);
    }

    #[test]
    fn a_state_file_of_an_earlier_version_has_no_marks() {
        let host = machine(false, 0, false);
        apply(&host, &cure("192.0.2.11"), &options(), &mut |_| {}).unwrap();
        let mut old: serde_json::Value = serde_json::to_value(record::load(&host).unwrap()).unwrap();
        assert!(old.as_object_mut().unwrap().remove("boot_files").is_some());
        host.write(&host.paths().run.join("trial.json"), old.to_string().as_bytes(), 0o600).unwrap();
        host.write(Path::new(V4), b"*filter\n:INPUT DROP [0:0]\nCOMMIT\n", 0o640).unwrap();
        assert_eq!(found(&host), [], "what it held before is not known");
        somebody_saves(&host);
        assert_eq!(found(&host), [(V4.to_owned(), BootHolds::Trial)]);
        revert(&host).unwrap();
    }
}
