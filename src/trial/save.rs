//! The rules that boot loads: written only when no trial is pending, completely or not at all, and the
//! old file is kept.

use std::path::Path;
use std::time::Duration;

use similar::TextDiff;

use super::boot::{AtBoot, Boot, Place};
use super::half_saved::{self, Change};
use super::refusal::Refusal;
use super::saved::{File, leave_managed_out};
use super::status::status;
use super::{at_boot, force, history, kernel, load, moved, ours, record, rehearse};
use crate::host::{Host, Stands, Tools};
use crate::model::{Code, Family, Ruleset};
use crate::observe::{firewall, live};
use crate::plan::Part;
use crate::syntax::iptables_save;

pub use crate::model::SaveMode as Mode;

/// What a save would write, and how boot comes to load it.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What was asked for.
    pub mode: Mode,
    /// One file per family; also our part, if that is saved separately.
    pub files: Vec<File>,
    /// Who loads the files at boot, or how to set that up.
    pub boot: Boot,
    /// Why none of it may be written.
    pub refused: Option<Refusal>,
    /// What is loaded, per family, word for word.
    loaded: Vec<(Family, String)>,
}

impl Preview {
    /// The rules that the files will contain.
    fn rules(&self) -> Vec<Ruleset> {
        self.files.iter().map(|f| iptables_save::read(&f.text, f.family).0).collect()
    }

    /// Refuses files that boot would not load.
    pub fn must_load(&self) -> Result<(), Refusal> {
        if self.boot.loads() {
            return Ok(());
        }
        let files: Vec<String> = self.files.iter().map(|f| f.path.display().to_string()).collect();
        Err(Refusal::new(
            Code::NotLoaded,
            format!("boot would not load {}", files.join(" and ")),
            format!("nothing was written. {}", self.to_do().unwrap_or_default()),
        ))
    }

    /// What remains to be done so that boot loads the files; `None` if nothing does.
    pub fn to_do(&self) -> Option<String> {
        self.boot.to_do()
    }
}

/// Shows what a save would write, after taking back what an interrupted save left half done.
pub fn prepare(host: &dyn Host, mode: Mode) -> Result<Preview, Refusal> {
    let taken_back = half_saved::take_back_half_saved(host);
    let mut shown = preview(host, mode)?;
    for said in taken_back {
        shown.boot.says(said);
    }
    Ok(shown)
}

/// Shows what a save would write. Nothing is written or loaded.
pub fn preview(host: &dyn Host, mode: Mode) -> Result<Preview, Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()));
    }
    let now = status(host);
    if now.trial.as_ref().is_some_and(|t| t.state().is_pending()) {
        return Err(Refusal::new(
            Code::Pending,
            "a trial is pending; only what was kept is saved",
            "`portcullis keep` or `portcullis revert` ends the trial",
        ));
    }
    let backend = firewall::version(host).1;
    let (mut loaded, mut sets) = (Vec::new(), Vec::new());
    for family in Family::BOTH {
        if family == Family::V6 && !live::has_ipv6(host) {
            continue;
        }
        let (text, set, _) = firewall::rules_checked(host, family, backend, false).map_err(|e| {
            Refusal::new(
                Code::Unreadable,
                format!("the {} rules could not be read: {e}", family.label()),
                "nothing was written; both families are saved or neither",
            )
        })?;
        if set.tables.iter().any(|t| t.unreadable) {
            return Err(Refusal::new(
                Code::UnreadableRules,
                format!("iptables cannot read a {} table whole, so the file would lack rules", family.label()),
                "see `nft list ruleset`; nothing was written",
            ));
        }
        loaded.push((family, text));
        sets.push(set);
    }
    let place = Place::look(host);
    let mut files = Vec::new();
    let mut boot = if mode == Mode::Ours {
        ours::boot(host, &place, &sets)
    } else {
        let mut whole = sets.clone();
        for set in &mut whole {
            if mode == Mode::Unmanaged {
                leave_managed_out(set);
            }
            // Counters are not part of the rules; with them no two saves would be equal.
            set.tables.iter_mut().flat_map(|t| &mut t.chains).for_each(|c| c.counters = (0, 0));
            files.push(file(host, set.family, place.file(set.family), iptables_save::write(set, false), false)?);
        }
        place.boot(host, &whole, backend)
    };
    // Boot loads our part last: an older one would undo what is saved now.
    if mode == Mode::Ours || ours::is_saved(host) {
        for set in &sets {
            files.push(file(host, set.family, &load::path(host, set.family), Part::of(set).write(), true)?);
        }
    }
    say_other_names(host, &files, &mut boot);
    if let Some(said) = half_saved::half_saved(host) {
        boot.asks(format!("Now {said}."));
    }
    let cut = at_boot::check(host, mode, &sets, &place, &files, &mut boot);
    let refused = without_the_plan(host, mode, sets).or_else(|| without_sets(&files, &boot)).or(cut);
    Ok(Preview { mode, files, boot, refused, loaded })
}

/// Refuses files without the plan that was kept last, or with its rules but without a jump to them: the plan would not
/// be in force after the next boot although it was kept and saved. Our part brings its own jumps.
fn without_the_plan(host: &dyn Host, mode: Mode, sets: Vec<Ruleset>) -> Option<Refusal> {
    let kept = history::kept_last(host)?;
    let mut rules = [None, None];
    for set in sets {
        let at = set.family.index();
        rules[at] = Some(set);
    }
    let force = force::of_rules(host, &force::there(host, &kept), false, rules);
    (!force.would_hold(mode == Mode::Ours)).then(|| {
        let what =
            format!("the kept plan ({}) would not be in force after a boot: {}", kept.id, force.says().join("; "));
        let hint = format!("nothing was written; {}", force.cure(false).unwrap_or_default());
        Refusal::new(Code::NotInForce, what, hint)
    })
}

/// Refuses a file that boot could not load because a set is missing.
fn without_sets(files: &[File], boot: &Boot) -> Option<Refusal> {
    files.iter().filter(|f| !f.part && !f.diff.is_empty()).find_map(|f| {
        let ((lacking, remedy), by) = (boot.lacks(f.family)?, boot.loader(f.family)?);
        let what = format!(
            "{by} would load none of the {} rules at boot: they name {}, which nothing makes before",
            f.family.label(),
            lacking.join(", ")
        );
        Some(Refusal::new(Code::Sets, what, format!("nothing was written; {remedy}, then save again")))
    })
}

/// One file as it would be, and its difference to the current one.
fn file(host: &dyn Host, family: Family, path: &Path, text: String, part: bool) -> Result<File, Refusal> {
    let old = old_text(host, path)?.map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let header = path.display().to_string();
    let diff = if old == text {
        String::new()
    } else {
        TextDiff::from_lines(old.as_str(), text.as_str())
            .unified_diff()
            .context_radius(2)
            .header(&header, &format!("{header} after saving"))
            .to_string()
    };
    Ok(File { family, path: path.to_owned(), text, diff, part })
}

/// The current content of a file; `None` if it does not exist. Only a regular file is ever replaced, or a link to one.
fn old_text(host: &dyn Host, path: &Path) -> Result<Option<Vec<u8>>, Refusal> {
    let unreadable = |e| {
        Refusal::new(
            Code::Save,
            format!("{} cannot be read: {e}", path.display()),
            "nothing was written; see what is there",
        )
    };
    match host.stands(path).map_err(unreadable)? {
        Stands::Nothing => Ok(None),
        Stands::File { .. } => host.read(path).map(Some).map_err(unreadable),
        Stands::Other(what) => {
            let end = host.real(path);
            let leads = if end == path { format!("is {what}") } else { format!("leads to {}, {what}", end.display()) };
            Err(Refusal::new(
                Code::NoFile,
                format!("{} {leads}: rules are written to a regular file only", path.display()),
                "nothing was written; put a regular file there, or name another place by PORTCULLIS_RULES_V4 and \
                    PORTCULLIS_RULES_V6",
            ))
        }
    }
}

/// Warns about a file with other names (hard links), which would keep the old rules.
fn say_other_names(host: &dyn Host, files: &[File], boot: &mut Boot) {
    for f in files.iter().filter(|f| !f.diff.is_empty()) {
        if let Ok(Stands::File { names, .. }) = host.stands(&f.path)
            && names > 1
        {
            let others = if names == 2 {
                "another name (a hard link)".to_owned()
            } else {
                format!("{} other names (hard links)", names - 1)
            };
            boot.says(format!(
                "{} has {others}: the old rules stay there, the new ones are a file of their own.",
                f.path.display()
            ));
        }
    }
}

/// Writes what was shown, both families or neither, and keeps the old files. Returns what was done.
pub fn save(host: &dyn Host, shown: &Preview) -> Result<Vec<String>, Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()));
    }
    // Nobody can begin a trial while we write.
    let lock = record::lock(host, Duration::from_secs(5))
        .map_err(|e| {
            Refusal::new(
                Code::RunDir,
                e,
                "nothing was written; see that the disk is not full and the directory belongs to root",
            )
        })?
        .ok_or_else(|| Refusal::busy(host))?;
    let mut remarks = half_saved::recover(host);
    let now = preview(host, shown.mode)?;
    if now.files != shown.files {
        let what = match now.files.iter().zip(&shown.files).find(|(a, b)| a.text == b.text && a.diff != b.diff) {
            Some((f, _)) => format!(": {} holds something else", f.path.display()),
            None => moved::what(&shown.rules(), &now.rules()),
        };
        return Err(Refusal::new(
            Code::Moved,
            format!("the firewall or the files changed since you looked at the difference{what}"),
            "nothing was written; look at it again",
        ));
    }
    if shown.boot.loads() {
        // The service may have been disabled meanwhile.
        now.must_load()?;
    }
    if let Some(refused) = now.refused {
        return Err(refused);
    }
    for file in now.files.iter().filter(|f| !f.diff.is_empty()) {
        if file.part {
            remarks.push(ours::proven(host, file)?);
            continue;
        }
        let hint = if now.mode == Mode::All {
            "nothing was written; the rules are loaded here, so boot lacks something that they need"
        } else {
            "nothing was written; `portcullis save --all` leaves nothing out"
        };
        let loaded = now.loaded.iter().find(|(f, _)| *f == file.family).map_or("", |(_, text)| text);
        remarks.extend(proven(host, file, loaded, now.boot.sets(file.family), hint)?);
    }
    let changed: Vec<&File> = now.files.iter().filter(|f| !f.diff.is_empty()).collect();
    let changes = changed
        .iter()
        .map(|f| {
            let path = host.real(&f.path);
            Ok(Change { old: old_text(host, &path)?, path, text: &f.text })
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    let mut done = Vec::new();
    if changes.is_empty() {
        // The files are right as they are, so an earlier interrupted save needs no mending.
        remarks.extend(half_saved::forget(host).err());
    } else {
        done = half_saved::write(host, &changes).map_err(|e| {
            Refusal::new(
                Code::Save,
                e,
                "the files hold what they held before, unless another file is named; check the disk and the directory",
            )
        })?;
    }
    done.extend(remarks);
    if done.is_empty() {
        done.push("the files hold exactly this already".to_owned());
    }
    done.extend(history::saved(host, &now.rules()).err());
    if now.mode == Mode::Ours {
        done.extend(ours::install(host)?);
        // The unit takes our lock itself.
        drop(lock);
        done.extend(ours::start(host));
    }
    Ok(done)
}

/// A file that cannot be loaded would leave the host without a firewall at boot. So it is loaded into a fresh namespace
/// that has only what boot has before (`sets`), and read back. Lines that cannot be loaded there but are loaded here (a
/// cgroup, a pinned program) are returned as remarks.
fn proven(
    host: &dyn Host,
    file: &File,
    loaded: &str,
    sets: Option<&AtBoot>,
    hint: &str,
) -> Result<Vec<String>, Refusal> {
    let label = file.family.label();
    let refused = |why: String| {
        Refusal::new(Code::Unproven, format!("{} would not load at boot: {why}", file.path.display()), hint)
    };
    let as_now = |stage: &dyn Tools| rehearse::load_sets(host, stage);
    let as_boot = |stage: &dyn Tools| match sets {
        Some(sets) => rehearse::make_sets(stage, sets.script.as_str()),
        // No known program loads the file: whatever will has to make the sets.
        None => as_now(stage),
    };
    let (stage, control) =
        match (host.throwaway().inspect(|s| as_boot(&**s)), host.throwaway().inspect(|s| as_now(&**s))) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(why), _) | (_, Err(why)) => {
                kernel::test(host, file.family, &file.text).map_err(refused)?;
                return Ok(vec![format!(
                    "not proven by loading {} into a fresh namespace: {why}",
                    file.path.display()
                )]);
            }
        };
    let left_out = rehearse::load(&*stage, file.family, &file.text);
    let mut excused = if left_out.is_empty() { Vec::new() } else { rehearse::load(&*control, file.family, loaded) };
    for line in &left_out {
        // The loaded rules fail at the same line, there with counters before it: the cause is the namespace.
        match excused.iter().position(|e| e == line || e.ends_with(&format!("] {line}"))) {
            Some(at) => {
                excused.swap_remove(at);
            }
            None => return Err(refused(format!("a fresh namespace refuses {line}"))),
        }
    }
    if left_out.is_empty() {
        let back = kernel::read(&*stage, file.family, None).map_err(refused)?;
        if !back.same_rules(&iptables_save::read(&file.text, file.family).0) {
            return Err(refused(format!("the {label} rules read back from a fresh namespace differ")));
        }
        return Ok(vec![format!("{} was loaded into a fresh namespace and read back", file.path.display())]);
    }
    Ok(left_out.iter().map(|l| format!("not proven, a fresh namespace cannot hold it: {l}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::demo::Demo;

    fn text(host: &Demo, path: &str) -> String {
        String::from_utf8(host.read(Path::new(path)).unwrap()).unwrap()
    }

    #[test]
    fn no_old_file_is_ever_lost() {
        let host = Demo::new();
        host.write(Path::new("/etc/iptables/rules.v4"), b"# the first\n", 0o640).unwrap();
        for mode in [Mode::All, Mode::Unmanaged, Mode::All] {
            let shown = preview(&host, mode).unwrap();
            assert!(!shown.files[0].diff.is_empty() && shown.boot.loads());
            let done = save(&host, &shown).unwrap().join("\n");
            assert!(done.contains("rules.v4 was loaded into a fresh namespace"), "{done}");
            assert!(save(&host, &preview(&host, mode).unwrap()).unwrap()[0].contains("exactly this already"));
        }
        assert_eq!(text(&host, "/etc/iptables/rules.v4.before-portcullis"), "# the first\n");
        assert!(text(&host, "/etc/iptables/rules.v4.before-portcullis.1").contains(":DOCKER "));
        assert!(!text(&host, "/etc/iptables/rules.v4.before-portcullis.2").contains(":DOCKER "));
    }

    #[test]
    fn only_what_was_shown_is_written() {
        let host = Demo::new();
        let shown = preview(&host, Mode::All).unwrap();
        kernel::restore(&host, "test", Family::V6, "*filter\n-A INPUT -s 2001:db8::/32 -j DROP\nCOMMIT\n").unwrap();
        let refused = save(&host, &shown).unwrap_err();
        assert_eq!(refused.code, Code::Moved);
        assert!(refused.what.ends_with(": new is IPv6 filter: -A INPUT -s 2001:db8::/32 -j DROP"), "{}", refused.what);
        assert!(host.read(Path::new("/etc/iptables/rules.v4")).is_err());
    }

    #[test]
    fn only_rules_that_managers_recreate_are_left_out() {
        let mut set = iptables_save::read(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n:mine - [0:0]\n\
            -A INPUT -m comment --comment DOCKER -j ACCEPT\n-A INPUT -i docker0 -p tcp -m tcp --dport 111 -j \
            ACCEPT\n-A FORWARD -j DOCKER-USER\n\
            -A FORWARD -o docker0 -j DOCKER\n-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n-A FORWARD -i docker0 -d \
            192.0.2.0/24 -j DROP\n\
            -A DOCKER -d 172.17.0.2/32 -j ACCEPT\n-A DOCKER-USER -j mine\n-A mine -j RETURN\nCOMMIT\n\
            *nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport \
            80 -j MASQUERADE\n\
            -A POSTROUTING -m comment --comment \"-s 172.17.0.2/32 -d 172.17.0.2/32\" -j MASQUERADE\n\
            -A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE\nCOMMIT\n",
            Family::V4,
        )
        .0;
        leave_managed_out(&mut set);
        let left: Vec<String> =
            iptables_save::write(&set, false).lines().filter(|l| l.starts_with("-A")).map(str::to_owned).collect();
        assert_eq!(
            left,
            [
                "-A INPUT -m comment --comment DOCKER -j ACCEPT",
                "-A INPUT -i docker0 -p tcp -m tcp --dport 111 -j ACCEPT",
                "-A FORWARD -j DOCKER-USER",
                "-A FORWARD -i docker0 -d 192.0.2.0/24 -j DROP",
                "-A DOCKER-USER -j mine",
                "-A mine -j RETURN",
                "-A POSTROUTING -m comment --comment \"-s 172.17.0.2/32 -d 172.17.0.2/32\" -j MASQUERADE",
                "-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE",
            ]
        );
    }
}
