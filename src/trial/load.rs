//! Loads our part alone, as written by `save --ours`: our chains by one restore per family, then each jump that a fresh
//! reading shows to be missing. Boot runs it after everything that builds the rest of the firewall; running
//! it twice is harmless.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use super::evidence::dated;
use super::kernel::{self, Failed};
use super::pending::{self, elsewhere};
use super::refusal::Refusal;
use super::status::{UNRECORDED, status};
use super::{history, record};
use crate::host::{Cmd, Host, Tools};
use crate::model::names::chains::DOCKER_USER;
use crate::model::{Code, Family, Ruleset};
use crate::observe::live;
use crate::plan::{BadPart, FamilyChange, Part};

/// The mark of our processes that load.
const MARK: &str = "load";

/// How long Docker may take to start and to make its chain, and how often we look for it. Docker makes the chain before
/// it starts containers, whose ports are open until our jump is in it.
const DOCKER_WAIT: Duration = Duration::from_mins(15);
const DOCKER_LOOK: Duration = Duration::from_millis(100);

/// How long we look for the chain once Docker is up: Docker may be configured to make none, or be making it, e.g. after
/// a reload of firewalld.
const DOCKER_IS_UP: Duration = Duration::from_secs(5);

/// How long firewalld may take to load its own rules. Its unit counts as started before that.
const FIREWALLD_WAIT: Duration = Duration::from_secs(30);

/// How often a restore is tried while another process holds the xtables lock.
const TRIES: u32 = 6;

/// Where a family's part is saved.
pub fn path(host: &dyn Host, family: Family) -> PathBuf {
    host.paths().etc.join(["rules.v4", "rules.v6"][family.index()])
}

/// The saved parts, IPv4 first; a family that was missing at the save has none.
pub(super) fn saved(host: &dyn Host) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::new();
    for family in Family::BOTH {
        let path = path(host, family);
        let text = match host.read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => {
                return Err(Refusal::new(
                    Code::Unreadable,
                    format!("{} cannot be read: {e}", path.display()),
                    "nothing was loaded; see what is there",
                ));
            }
        };
        let hint = "nothing was loaded; `portcullis save --ours` writes it again";
        parts.push(Part::read(&text, family).map_err(|bad| match bad {
            BadPart::Dated => Refusal::new(
                Code::Dated,
                format!("{} holds the dates of a trial, which nobody kept", path.display()),
                hint,
            ),
            BadPart::Foreign(what) => Refusal::new(
                Code::Foreign,
                format!("{} holds something that portcullis did not write: {what}", path.display()),
                hint,
            ),
        })?);
    }
    if parts.is_empty() {
        return Err(Refusal::new(
            Code::NothingSaved,
            format!("there is nothing to load in {}", host.paths().etc.display()),
            "`portcullis save --ours` writes it",
        ));
    }
    Ok(parts)
}

/// Loads what is saved; returns one sentence for each thing done.
pub fn load(host: &dyn Host) -> Result<Vec<String>, Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()));
    }
    let parts = saved(host)?;
    wait_for_firewalld(host);
    let lock = locked(host)?;
    let mut said = refuse_pending(host, true)?;
    let mut failed = Vec::new();
    let later = kept_later(host, &parts);
    said.extend(later.iter().cloned());
    // A family that fails does not stop the other one: at boot there are no rules of ours to go back to, and half the
    // protection is better than none. The unit then fails and says so.
    for part in &parts {
        let label = part.family.label();
        if part.family == Family::V6 && !live::has_ipv6(host) {
            said.push("IPv6 is not there: its rules were not loaded".to_owned());
            continue;
        }
        let pause = &mut |time| host.pause(time);
        match if later.is_some() { jump_to_what_stands(host, part.family, pause) } else { put_in(host, part, pause) } {
            Ok(done) => said.extend(done.into_iter().map(|what| format!("{label}: {what}"))),
            Err(why) => failed.push(format!("{label}: {why}")),
        }
    }
    // It takes the lock itself: Docker may be making its chain.
    drop(lock);
    if docker(host) == Docker::Up {
        said.extend(to_dockers_chain(host, &parts)?);
    }
    if failed.is_empty() {
        return Ok(said);
    }
    Err(Refusal::new(
        Code::LoadFailed,
        format!("not loaded: {}", failed.join("; ")),
        "what could be loaded is in force; `portcullis load` tries again",
    ))
}

/// Puts in the jump from Docker's own chain as soon as that exists.
pub fn published(host: &dyn Host) -> Result<Vec<String>, Refusal> {
    if !host.is_root() {
        return Err(Refusal::not_root(host.rights()));
    }
    to_dockers_chain(host, &saved(host)?)
}

/// How far Docker's start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Docker {
    /// It is starting, or may still start.
    Starts,
    /// It is up.
    Up,
    /// It did not come up.
    Failed,
}

fn docker(host: &dyn Host) -> Docker {
    let asked = host.run(&Cmd::new("systemctl", &["show", "--property=ActiveState", "--value", "docker.service"]));
    match asked.map(|o| o.text().trim().to_owned()).as_deref() {
        Ok("active" | "reloading") => Docker::Up,
        Ok("failed") => Docker::Failed,
        _ => Docker::Starts,
    }
}

/// Waits until Docker has made its chain in each family whose published ports were guarded from it, and
/// puts the jump in.
fn to_dockers_chain(host: &dyn Host, parts: &[Part]) -> Result<Vec<String>, Refusal> {
    let begun = host.now().boot;
    let mut up = None;
    let failed = |family: Family, why: String| {
        Refusal::new(Code::LoadFailed, format!("{}: {why}", family.label()), "`portcullis load` tries again")
    };
    let mut said = Vec::new();
    for family in parts
        .iter()
        .filter(|p| !p.forward.is_empty() && (p.family == Family::V4 || live::has_ipv6(host)))
        .map(|p| p.family)
    {
        let awaited = parts.iter().any(|p| p.family == family && p.docker);
        // Each reading is a fresh one.
        while awaited
            && kernel::read(host, family, None)
                .map_err(|why| failed(family, why))?
                .chain("filter", DOCKER_USER)
                .is_none()
        {
            let (state, now) = (docker(host), host.now().boot);
            up = up.filter(|_| state == Docker::Up).or_else(|| (state == Docker::Up).then_some(now));
            if state == Docker::Failed
                || now >= begun + DOCKER_WAIT
                || up.is_some_and(|since| now >= since + DOCKER_IS_UP)
            {
                said.push(format!(
                    "{}: Docker has not made {DOCKER_USER}: published ports are guarded from FORWARD",
                    family.label()
                ));
                break;
            }
            host.pause(DOCKER_LOOK);
        }
        let _lock = locked(host)?;
        refuse_pending(host, false)?;
        // Another plan may have been kept since the save: what counts is what our chains hold now.
        let done =
            jump_to_what_stands(host, family, &mut |time| host.pause(time)).map_err(|why| failed(family, why))?;
        said.extend(done.into_iter().map(|what| format!("{}: {what}", family.label())));
    }
    Ok(said)
}

fn locked(host: &dyn Host) -> Result<Box<dyn crate::host::Held>, Refusal> {
    record::lock(host, Duration::from_secs(10))
        .map_err(|e| Refusal::new(Code::RunDir, e, "nothing was loaded; see that the directory belongs to root"))?
        .ok_or_else(|| Refusal::busy(host))
}

/// Whether our saved part is the plan of these changes: then our unit restores it.
pub(super) fn holds(host: &dyn Host, families: &[FamilyChange]) -> bool {
    let holds = |parts: &[Part], change: &FamilyChange| {
        let rules =
            |forwarded| change.doors.iter().find(|d| d.is_forwarded() == forwarded).map_or(&[][..], |d| &d.rules);
        rules(false).is_empty() && rules(true).is_empty()
            || parts.iter().any(|p| p.family == change.family() && p.input == rules(false) && p.forward == rules(true))
    };
    saved(host).is_ok_and(|parts| families.iter().all(|c| holds(&parts, c)))
}

/// Nothing is loaded during a trial. If only dates in the kernel show one, e.g. because boot loaded a listing saved
/// during a trial, loading everything (`whole`) ends it, with a remark.
fn refuse_pending(host: &dyn Host, whole: bool) -> Result<Vec<String>, Refusal> {
    if let Some(other) = elsewhere(host) {
        return Err(Refusal::elsewhere(other.state()));
    }
    match status(host).trial.filter(|t| t.state().is_pending()) {
        None => Ok(Vec::new()),
        Some(t) if whole && t.id == UNRECORDED && !guarded(host) => {
            Ok(vec!["the dates of a trial that no file describes were in the kernel: this load ends it".to_owned()])
        }
        Some(t) => Err(Refusal::new(
            Code::Pending,
            format!("a trial is pending ({})", t.state().word()),
            "nothing was loaded; `portcullis keep` or `portcullis revert` ends it",
        )),
    }
}

/// Whether the guard of some trial is alive: it may be even if its state file is gone.
fn guarded(host: &dyn Host) -> bool {
    host.list(&host.paths().run)
        .iter()
        .filter_map(|name| name.strip_prefix("guard-")?.strip_suffix(".json"))
        .any(|id| pending::ready(host, id).is_some_and(|w| host.alive(w.pid, w.started)))
}

/// If a plan was kept after the save, it stays: restarting a manager is not a request for the older plan. A plan that
/// is no longer loaded does not count.
fn kept_later(host: &dyn Host, parts: &[Part]) -> Option<String> {
    let now: Vec<Ruleset> = Family::BOTH.into_iter().filter_map(|f| kernel::read(host, f, None).ok()).collect();
    let of = |f: Family| now.iter().find(|set| set.family == f);
    let other = |part: &Part| of(part.family).is_some_and(|set| !Part::of(set).same_rules(part));
    if now.iter().all(|set| Part::of(set).is_empty())
        || now.iter().any(|set| dated(set).is_some())
        || !parts.iter().any(other)
    {
        return None;
    }
    let kept = history::kept(host, Family::BOTH.map(of));
    let trial = kept.trial.filter(|_| kept.lost.is_none())?;
    Some(format!(
        "trial {}, kept later than what is saved, is loaded and stays; `portcullis save --ours` saves it",
        trial.id
    ))
}

/// While firewalld starts, it flushes what others have loaded, and its unit counts as started before that. It answers
/// once it has finished.
fn wait_for_firewalld(host: &dyn Host) {
    if host.find("firewall-cmd").is_some() {
        let _ = host.run(&Cmd::new("firewall-cmd", &["--state"]).within(FIREWALLD_WAIT));
    }
}

/// Makes our chains of one family hold this part, and puts in each missing jump.
pub(super) fn put_in(tools: &dyn Tools, part: &Part, pause: &mut dyn FnMut(Duration)) -> Result<Vec<String>, String> {
    let mut now = kernel::read(tools, part.family, None)?;
    if now.table("filter").is_some_and(|t| t.unreadable) {
        return Err(
            "iptables cannot read the filter table: somebody put a native nft rule into it (`nft list ruleset`)"
                .to_owned(),
        );
    }
    let mut said = Vec::new();
    if !part.stands(&now) {
        let change = part.change(&now);
        let script = change.whole_script();
        patiently(pause, || kernel::restore(tools, MARK, part.family, &script))?;
        now = kernel::read(tools, part.family, None)?;
        let rules = part.input.len() + part.forward.len();
        said.push(if rules == 1 { "1 rule was loaded".to_owned() } else { format!("{rules} rules were loaded") });
        if !change.holds(&now, &script) {
            // They are in force: another version of the tool may only print them differently.
            said.push("the rules read back are not word for word what is saved".to_owned());
        }
        said.extend(kernel::clean_up(tools, MARK, &change, &now));
        now = kernel::read(tools, part.family, None)?;
    }
    said.extend(jump(tools, part, &now, pause)?);
    if said.is_empty() {
        said.push("everything was loaded already".to_owned());
    }
    Ok(said)
}

/// Puts in each missing jump to what our chains hold now.
fn jump_to_what_stands(
    tools: &dyn Tools,
    family: Family,
    pause: &mut dyn FnMut(Duration),
) -> Result<Vec<String>, String> {
    let now = kernel::read(tools, family, None)?;
    jump(tools, &Part::of(&now), &now, pause)
}

/// Puts in each jump that this fresh reading does not show.
fn jump(tools: &dyn Tools, part: &Part, now: &Ruleset, pause: &mut dyn FnMut(Duration)) -> Result<Vec<String>, String> {
    let mut said = Vec::new();
    for script in part.jumps(now) {
        patiently(pause, || kernel::restore(tools, MARK, part.family, &script))?;
        said.extend(
            script
                .lines()
                .filter_map(|l| l.strip_prefix("-I "))
                .map(|l| format!("put in the jump {}", l.replacen(" 1 ", " ", 1))),
        );
    }
    if !said.is_empty() {
        let after = kernel::read(tools, part.family, None)?;
        if let Some(still) = part.jumps(&after).first() {
            return Err(format!(
                "the jump is not there although it was put in: {}",
                still.lines().nth(1).unwrap_or_default()
            ));
        }
    }
    Ok(said)
}

/// Tries again while another process holds the xtables lock: many load their rules at boot.
fn patiently(pause: &mut dyn FnMut(Duration), mut act: impl FnMut() -> Result<(), Failed>) -> Result<(), String> {
    for _ in 1..TRIES {
        match act() {
            Err(Failed::Locked(_)) => pause(Duration::from_millis(500)),
            done => return done.map_err(String::from),
        }
    }
    act().map_err(String::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::host::demo::Demo;
    use crate::model::trial::Allowed;
    use crate::syntax::{iptables_save, plan};
    use crate::trial::{Options, apply, guard, keep, revert};

    fn host() -> Demo {
        Demo::new().with_guard(|host, id| {
            let _ = guard::watch(&host, id, &AtomicBool::new(false));
        })
    }

    fn begin(host: &Demo, node: &str) {
        let text = format!(
            "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{node}\", \"2001:db8::11\"]\nto = [\"portmapper\"]\n\
            [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\", \"published:9042/tcp\"]\n"
        );
        apply(
            host,
            &plan::read(&text).unwrap(),
            &Options { allowed: Allowed { replace: true, ..Allowed::default() }, ..Options::default() },
            &mut |_| {},
        )
        .unwrap();
    }

    fn keeps(host: &Demo, node: &str) {
        begin(host, node);
        keep(host, true).unwrap();
    }

    /// As `save --ours` does.
    fn store(host: &Demo) {
        for family in Family::BOTH {
            host.write(&path(host, family), Part::of(&host.loaded(family)).write().as_bytes(), 0o640).unwrap();
        }
    }

    /// The next boot: what is loaded first, and none of our rules in the kernel.
    fn boot(host: &Demo, rules: &[Ruleset; 2]) {
        for set in rules {
            kernel::replace_tables(host, "boot", set.family, &iptables_save::write(set, false)).unwrap();
        }
    }

    fn all(host: &Demo) -> [Ruleset; 2] {
        Family::BOTH.map(|f| host.loaded(f))
    }

    fn same(a: &[Ruleset; 2], b: &[Ruleset; 2]) -> bool {
        a.iter().zip(b).all(|(a, b)| a.same_rules(b))
    }

    #[test]
    fn a_boot_restores_what_was_saved_and_loading_twice_changes_nothing() {
        let host = host();
        let bare = all(&host);
        assert_eq!(load(&host).unwrap_err().code, Code::NothingSaved);
        keeps(&host, "192.0.2.11");
        store(&host);
        let kept = all(&host);
        boot(&host, &bare);
        let said = load(&host).unwrap().join("\n");
        assert!(said.contains("IPv4: put in the jump DOCKER-USER -j PORTCULLIS-FWD"), "{said}");
        assert!(same(&all(&host), &kept));
        let once = all(&host);
        assert_eq!(
            load(&host).unwrap(),
            ["IPv4: everything was loaded already", "IPv6: everything was loaded already"]
        );
        assert_eq!(all(&host), once);
        // Somebody removed a jump, or flushed a chain.
        for odd in ["-D INPUT ! -i lo -j PORTCULLIS", "-F PORTCULLIS-A", "-F PORTCULLIS-FWD"] {
            kernel::restore(&host, "test", Family::V4, &format!("*filter\n{odd}\nCOMMIT\n")).unwrap();
            load(&host).unwrap();
            assert_eq!(Part::of(&host.loaded(Family::V4)), Part::of(&kept[0]), "{odd}");
            assert!(
                Part::of(&kept[0]).stands(&host.loaded(Family::V4))
                    && Part::of(&kept[0]).jumps(&host.loaded(Family::V4)).is_empty(),
                "{odd}"
            );
        }
    }

    #[test]
    fn the_last_kept_plan_wins() {
        let host = host();
        let bare = all(&host);
        keeps(&host, "192.0.2.11");
        store(&host);
        let saved = all(&host);
        keeps(&host, "192.0.2.12");
        let later = all(&host);
        // A manager is restarted and removes our jump: nobody asked for the older plan.
        kernel::restore(&host, "test", Family::V4, "*filter\n-D INPUT ! -i lo -j PORTCULLIS\nCOMMIT\n").unwrap();
        let said = load(&host).unwrap();
        assert!(
            said[0].contains("kept later than what is saved")
                && said[1..] == ["IPv4: put in the jump INPUT ! -i lo -j PORTCULLIS"],
            "{said:?}"
        );
        assert!(same(&all(&host), &later));
        // The later plan is gone: the saved one is next best.
        boot(&host, &bare);
        load(&host).unwrap();
        assert!(Part::of(&host.loaded(Family::V4)).same_rules(&Part::of(&saved[0])));
        // Another service has loaded a file with an older plan before us.
        keeps(&host, "192.0.2.13");
        store(&host);
        let newest = all(&host);
        boot(&host, &saved);
        load(&host).unwrap();
        assert!(Family::BOTH.iter().all(|f| Part::of(&host.loaded(*f)).same_rules(&Part::of(&newest[f.index()]))));
    }

    #[test]
    fn nothing_is_loaded_during_a_trial_or_from_one() {
        let host = host();
        keeps(&host, "192.0.2.11");
        store(&host);
        let kept = all(&host);
        begin(&host, "192.0.2.12");
        let during = all(&host);
        assert_eq!(load(&host).unwrap_err().code, Code::Pending);
        // Its state file is gone, but its guard is alive.
        let state = host.paths().run.join("trial.json");
        let text = host.read(&state).unwrap();
        host.remove(&state).unwrap();
        assert_eq!(load(&host).unwrap_err().code, Code::Pending);
        assert!(same(&all(&host), &during));
        host.write(&state, &text, 0o600).unwrap();
        revert(&host).unwrap();
        let limit = host.now().boot + Duration::from_secs(10);
        while guarded(&host) {
            assert!(host.now().boot < limit, "the guard does not end");
            host.pause(Duration::from_millis(5));
        }
        // Somebody saved a listing during a trial, and boot loaded it.
        boot(&host, &during);
        let said = load(&host).unwrap().join("\n");
        assert!(said.contains("the dates of a trial"), "{said}");
        assert!(Part::of(&host.loaded(Family::V4)).same_rules(&Part::of(&kept[0])));
        // The same listing in our own file.
        let dated = iptables_save::write(&during[0], false);
        host.write(&path(&host, Family::V4), dated.as_bytes(), 0o640).unwrap();
        let refused = load(&host).unwrap_err();
        assert_eq!(refused.code, Code::Dated);
        host.write(&path(&host, Family::V4), b"*filter\n:INPUT DROP [0:0]\n-A INPUT -j DROP\nCOMMIT\n", 0o640).unwrap();
        assert_eq!(load(&host).unwrap_err().code, Code::Foreign);
    }

    #[test]
    fn a_family_that_fails_does_not_take_the_other_with_it() {
        let host = host();
        let bare = all(&host);
        keeps(&host, "192.0.2.11");
        store(&host);
        let kept = all(&host);
        boot(&host, &bare);
        host.break_tool("ip6tables-restore", 1);
        let refused = load(&host).unwrap_err();
        assert_eq!(refused.code, Code::LoadFailed);
        assert!(refused.what.starts_with("not loaded: IPv6"), "{}", refused.what);
        assert!(host.loaded(Family::V4).same_rules(&kept[0]) && host.loaded(Family::V6).same_rules(&bare[1]));
        load(&host).unwrap();
        assert!(same(&all(&host), &kept));
    }

    #[test]
    fn published_ports_are_guarded_from_dockers_chain_once_it_exists() {
        let host = host();
        keeps(&host, "192.0.2.11");
        store(&host);
        let mut early = all(&host);
        let filter = early[0].table_mut("filter").unwrap();
        for chain in [
            "DOCKER-USER",
            "PORTCULLIS",
            "PORTCULLIS-A",
            "PORTCULLIS-B",
            "PORTCULLIS-FWD",
            "PORTCULLIS-FWD-A",
            "PORTCULLIS-FWD-B",
        ] {
            filter.remove(chain);
        }
        for chain in &mut filter.chains {
            chain.rules.retain(|r| !r.text.contains("DOCKER-USER") && !r.text.contains("PORTCULLIS"));
        }
        boot(&host, &early);
        let said = load(&host).unwrap().join("\n");
        assert!(said.contains("IPv4: put in the jump FORWARD -j PORTCULLIS-FWD"), "{said}");
        // Docker starts while we wait.
        let docker = host.fork();
        let starts = std::thread::spawn(move || {
            docker.pause(Duration::from_millis(300));
            kernel::restore(
                &docker,
                "docker",
                Family::V4,
                "*filter\n:DOCKER-USER - [0:0]\n-A DOCKER-USER -j RETURN\n-I FORWARD 1 -j DOCKER-USER\nCOMMIT\n",
            )
            .unwrap();
        });
        let said = published(&host).unwrap();
        starts.join().unwrap();
        assert_eq!(said, ["IPv4: put in the jump DOCKER-USER -j PORTCULLIS-FWD"]);
        let texts = |chain: &str| {
            host.loaded(Family::V4)
                .chain("filter", chain)
                .unwrap()
                .rules
                .iter()
                .map(|r| r.text.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts("DOCKER-USER"), ["-j PORTCULLIS-FWD", "-j RETURN"]);
        assert!(!texts("FORWARD").contains(&"-j PORTCULLIS-FWD".to_owned()));
        assert!(published(&host).unwrap().is_empty());
        assert_eq!(load(&host).unwrap()[0], "IPv4: everything was loaded already");
    }
}
