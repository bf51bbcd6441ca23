//! Our part saved separately: who loads it at boot, what this host may do to it later, and whether it can be loaded.

use super::boot::{Boot, Place};
use super::load::{path, put_in};
use super::refusal::Refusal;
use super::saved::{File, leave_managed_out};
use super::unit::{self, RULES, Way};
use crate::analyse::{Manager, owner};
use crate::host::{Host, Stands};
use crate::model::{Code, Family, Ruleset, SaveMode, Target};
use crate::plan::Part;

/// The mode offered first on a host: our part alone, if a manager builds the firewall or nothing loads whole files.
pub fn usual_mode(host: &dyn Host) -> SaveMode {
    let place = Place::look(host);
    let whole = || place.boot(host, &Family::BOTH.map(Ruleset::new), None).loads();
    match unit::way(host) {
        Way::Enabled => SaveMode::Ours,
        _ if place.in_charge(host).is_some() => SaveMode::Ours,
        Way::Install(_) if !whole() => SaveMode::Ours,
        _ => SaveMode::Unmanaged,
    }
}

/// Whether our part is saved already. If so, every save writes it, because boot loads it last.
pub(super) fn is_saved(host: &dyn Host) -> bool {
    Family::BOTH.iter().any(|f| !matches!(host.stands(&path(host, *f)), Ok(Stands::Nothing)))
}

/// What the next boot does with our part. `loaded`: what is loaded now.
pub(super) fn boot(host: &dyn Host, place: &Place, loaded: &[Ruleset]) -> Boot {
    let way = unit::way(host);
    let program = (!matches!(way, Way::ByHand(_))).then_some(RULES);
    let mut out = Boot::loaded_by(program, loaded.iter().map(|s| s.family));
    let after = place.in_charge(host).map_or_else(String::new, |m| format!(", after {}", m.label()));
    match way {
        Way::Enabled => out.says(format!("{RULES} loads these files at boot{after}.")),
        Way::Install(files) => {
            let what = if files.is_empty() { "enabled" } else { "written to /etc/systemd/system and enabled" };
            out.says(format!("{RULES} will be {what} with them: it loads these files at boot{after}."));
        }
        Way::ByHand(what) => out.asks(what),
    }
    if loaded.iter().all(|set| Part::of(set).is_empty()) {
        out.says("Nothing of portcullis is kept now: boot will remove what an older file puts in.");
    }
    place.say_later(host, &mut out);
    let left = left_out(loaded);
    if let Some(first) = left.first().filter(|_| !place.boot(host, &Family::BOTH.map(Ruleset::new), None).loads()) {
        let (rules, are) =
            if left.len() == 1 { ("1 rule".to_owned(), "is") } else { (format!("{} rules", left.len()), "are") };
        out.asks(format!(
            "{rules} that neither portcullis nor a manager made {are} not in these files, the first is \
            {first}: whatever loads them today has to do so at boot as well."
        ));
    }
    out
}

/// The rules that are neither ours nor a manager's, each with its family.
fn left_out(loaded: &[Ruleset]) -> Vec<String> {
    let mut out = Vec::new();
    for set in loaded {
        // The rules that firewalld writes into the built-in chains with its iptables back-end look like anybody's.
        let firewalld = set.tables.iter().flat_map(|t| &t.chains).any(|c| owner(&c.name) == Some(Manager::Firewalld));
        let mut rest = set.clone();
        leave_managed_out(&mut rest);
        for chain in
            rest.tables.iter().flat_map(|t| &t.chains).filter(|c| c.name != "DOCKER-USER" && owner(&c.name).is_none())
        {
            let ours = |to: &str| owner(to).is_some();
            if firewalld && chain.policy.is_some() {
                continue;
            }
            let rules = chain.rules.iter().filter(
                |r| !matches!(r.spec(set.family).target, Target::Jump(ref to, _) | Target::Goto(ref to) if ours(to)),
            );
            out.extend(rules.map(|r| format!("{} `{}`", set.family.label(), r.line_in(&chain.name))));
        }
    }
    out
}

/// Loads our file into a fresh namespace as boot would, twice, and reads it back.
pub(super) fn proven(host: &dyn Host, file: &File) -> Result<String, Refusal> {
    let path = file.path.display();
    let refused = |why: String| {
        Refusal::new(
            Code::Unproven,
            format!("{path} would not load at boot: {why}"),
            "nothing was written; apply the plan again",
        )
    };
    let part = Part::read(&file.text, file.family).map_err(|e| refused(format!("{e:?}")))?;
    let stage = match host.throwaway() {
        Ok(stage) => stage,
        Err(why) => return Ok(format!("not proven by loading {path} into a fresh namespace: {why}")),
    };
    for _ in 0..2 {
        put_in(&*stage, &part, &mut |time| host.pause(time)).map_err(refused)?;
    }
    let back = super::kernel::read(&*stage, file.family, None).map_err(refused)?;
    if part.stands(&back) && part.jumps(&back).is_empty() {
        return Ok(format!("{path} was loaded into a fresh namespace and read back"));
    }
    Err(refused(format!("the {} rules read back from a fresh namespace differ", file.family.label())))
}

/// Runs the unit now, if there is one: what it does now is what boot will do.
pub(super) fn start(host: &dyn Host) -> Option<String> {
    (unit::way(host) == Way::Enabled).then(|| unit::start(host).unwrap_or_else(|why| why))
}

/// Makes boot load our part, unless it does already; returns what was done.
pub(super) fn install(host: &dyn Host) -> Result<Vec<String>, Refusal> {
    match unit::way(host) {
        Way::Install(files) => unit::install(host, &files).map_err(|why| {
            Refusal::new(
                Code::Unit,
                format!("the files are written, but boot does not load them: {why}"),
                "see to that, then save again",
            )
        }),
        Way::Enabled | Way::ByHand(_) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::host::demo::Demo;
    use crate::model::trial::Allowed;
    use crate::syntax::plan;
    use crate::trial::save::{Preview, preview, save};
    use crate::trial::{Options, apply, guard, keep, kernel, load};

    const UFW: &str = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        :ufw-before-input - [0:0]\n:ufw-user-input - [0:0]\n-A INPUT -j ufw-before-input\n\
        -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        -A ufw-before-input -j ufw-user-input\n-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT\n\
        -A ufw-user-input -p tcp -m tcp --dport 111 -j ACCEPT\nCOMMIT\n";
    const FIREWALLD: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:INPUT_ZONES - \
        [0:0]\n:IN_public_allow - [0:0]\n\
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT\n-A INPUT -j INPUT_ZONES\n-A INPUT -j \
        REJECT --reject-with icmp-host-prohibited\n\
        -A INPUT_ZONES -j IN_public_allow\n-A IN_public_allow -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n";

    /// A host with these rules and a kept plan, but without a service that loads whole files.
    fn host(rules: &str, files: &[(&str, &str)]) -> Demo {
        let host = Demo::new().with_guard(|host, id| {
            let _ = guard::watch(&host, id, &AtomicBool::new(false));
        });
        host.remove(Path::new("/etc/systemd/system/multi-user.target.wants/netfilter-persistent.service")).unwrap();
        for plugin in ["15-ip4tables", "25-ip6tables"] {
            host.remove(&Path::new("/usr/share/netfilter-persistent/plugins.d").join(plugin)).unwrap();
        }
        for (path, text) in files {
            host.write(Path::new(path), text.as_bytes(), 0o644).unwrap();
        }
        for family in Family::BOTH {
            kernel::replace_tables(
                &host,
                "test",
                family,
                &rules.replace(
                    "icmp-host-prohibited",
                    if family == Family::V4 { "icmp-host-prohibited" } else { "icmp6-adm-prohibited" },
                ),
            )
            .unwrap();
        }
        keeps(&host, "192.0.2.11");
        host
    }

    fn keeps(host: &Demo, node: &str) {
        let text = format!(
            "version = 1\n[[rule]]\naction = \"allow\"\nfrom = [\"{node}\", \"2001:db8::11\"]\nto = [\"111\"]\n\
            [[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"111\"]\n"
        );
        apply(
            host,
            &plan::read(&text).unwrap(),
            &Options { allowed: Allowed { replace: true, ..Allowed::default() }, ..Options::default() },
            &mut |_| {},
        )
        .unwrap();
        keep(host, true).unwrap();
    }

    fn lines(shown: &Preview) -> String {
        shown.boot.lines().collect::<Vec<_>>().join("\n")
    }

    const UFW_ON: (&str, &str) = ("/etc/ufw/ufw.conf", "ENABLED=yes\n");
    const FIREWALLD_ON: (&str, &str) =
        ("/etc/systemd/system/multi-user.target.wants/firewalld.service", "[Unit]\nBefore=network-pre.target\n");

    #[test]
    fn files_without_the_managers_accepts_are_refused_and_our_part_is_offered() {
        for (rules, on, manager) in [(UFW, UFW_ON, "ufw"), (FIREWALLD, FIREWALLD_ON, "firewalld")] {
            let host = host(rules, &[on]);
            assert_eq!(usual_mode(&host), SaveMode::Ours);
            let shown = preview(&host, SaveMode::Unmanaged).unwrap();
            let refused = save(&host, &shown).unwrap_err();
            assert_eq!((refused.code, Some(&refused)), (Code::Lockout, shown.refused.as_ref()), "{manager}");
            assert!(refused.what.contains("would cut a new SSH login from 10.0.0.5 to port 22"), "{}", refused.what);
            assert!(
                refused.hint.contains(&format!(
                    "`portcullis save --ours` saves portcullis' own chains alone, loaded after {manager}"
                )),
                "{}",
                refused.hint
            );
            assert!(host.read(Path::new("/etc/iptables/rules.v4")).is_err());
            // No package that would replace the manager is suggested, and the difference is reported.
            let said = lines(&shown);
            assert!(!said.contains("install"), "{said}");
            assert!(
                said.contains(&format!(
                    "Until {manager} has built its own, these rules alone close what is open now: sshd 22/tcp (IPv4, \
                        IPv6)"
                )) || said.contains(&format!(
                    "Until {manager} has built its own, these rules alone close what is open now: portmapper"
                )),
                "{said}"
            );
        }
    }

    #[test]
    fn our_part_is_saved_with_the_units_that_load_it() {
        let host = host(UFW, &[UFW_ON]);
        let shown = preview(&host, SaveMode::Ours).unwrap();
        assert_eq!(
            (shown.boot.loads(), shown.to_do(), shown.refused.as_ref()),
            (true, None, None),
            "{}",
            lines(&shown)
        );
        assert!(
            lines(&shown).contains(
                "portcullis-rules.service will be written to /etc/systemd/system and enabled with \
            them: it loads these files at boot, after ufw."
            ),
            "{}",
            lines(&shown)
        );
        let done = save(&host, &shown).unwrap().join("\n");
        for part in [
            "wrote /etc/portcullis/rules.v4",
            "/etc/portcullis/rules.v6 was loaded into a fresh namespace",
            "enabled portcullis-rules.service",
            "portcullis-rules.service ran",
        ] {
            assert!(done.contains(part), "{part}: {done}");
        }
        let unit =
            |name: &str| String::from_utf8(host.read(&Path::new("/etc/systemd/system").join(name)).unwrap()).unwrap();
        assert!(unit("portcullis-rules.service").contains("ExecStart=/usr/bin/portcullis load\n"));
        assert!(unit("docker.service.wants/portcullis-rules-docker.service").contains("load --published"));
        assert!(load::load(&host).unwrap().iter().all(|l| l.ends_with("everything was loaded already")));
        let again = preview(&host, SaveMode::Ours).unwrap();
        assert_eq!(lines(&again), "portcullis-rules.service loads these files at boot, after ufw.");
        assert_eq!(save(&host, &again).unwrap()[0], "the files hold exactly this already");
        // A later plan: in every mode, what boot loads last is not the older one.
        keeps(&host, "192.0.2.12");
        let all = preview(&host, SaveMode::All).unwrap();
        assert_eq!(all.files.iter().map(|f| f.part).collect::<Vec<_>>(), [false, false, true, true]);
        save(&host, &all).unwrap();
        let part = String::from_utf8(host.read(&path(&host, Family::V4)).unwrap()).unwrap();
        assert!(part.contains("-s 192.0.2.12/32") && !part.contains("192.0.2.11"), "{part}");
    }

    #[test]
    fn what_this_host_does_to_our_part_is_reported() {
        let said = |rules: &str, files: &[(&str, &str)]| {
            let host = host(rules, files);
            let shown = preview(&host, SaveMode::Ours).unwrap();
            (lines(&shown), shown.to_do().unwrap_or_default())
        };
        let (_, to_do) = said(UFW, &[UFW_ON, ("/etc/default/ufw", "IPV6=yes\nMANAGE_BUILTINS=yes\n")]);
        assert!(to_do.contains("MANAGE_BUILTINS=yes in /etc/default/ufw: each `ufw reload`"), "{to_do}");
        let (lines, to_do) = said(FIREWALLD, &[FIREWALLD_ON]);
        assert!(lines.contains("`firewall-cmd --reload` removes all rules") && to_do.is_empty(), "{lines}\n{to_do}");
        let (_, to_do) = said(&UFW.replace("COMMIT", "-A INPUT -s 198.51.100.0/24 -j DROP\nCOMMIT"), &[UFW_ON]);
        assert!(
            to_do.contains(
                "2 rules that neither portcullis nor a manager made are not in these files, the first is \
            IPv4 `-A INPUT -s 198.51.100.0/24 -j DROP`"
            ),
            "{to_do}"
        );
        // Nothing runs the unit.
        let host = host(UFW, &[UFW_ON]);
        host.remove(Path::new("/run/systemd/system/.keep")).unwrap();
        let shown = preview(&host, SaveMode::Ours).unwrap();
        assert!(!shown.boot.loads() && shown.to_do().unwrap().contains("have the boot run `portcullis load`"));
        assert!(
            save(&host, &shown).unwrap().iter().all(|l| !l.contains("enabled"))
                && host.read(Path::new("/etc/systemd/system/portcullis-rules.service")).is_err()
        );
        host.write(Path::new("/run/systemd/system/.keep"), b"", 0o644).unwrap();
        host.write(Path::new("/etc/systemd/system/portcullis-rules.service"), b"", 0o644).unwrap();
        assert!(preview(&host, SaveMode::Ours).unwrap().to_do().unwrap().contains("is masked"));
    }

    #[test]
    fn a_unit_of_a_package_is_enabled_and_one_of_ours_follows_the_program() {
        let host = host(
            UFW,
            &[
                UFW_ON,
                (
                    "/usr/lib/systemd/system/portcullis-rules.service",
                    "# theirs\n[Service]\nExecStart=/usr/bin/portcullis load\n[Install]\nWantedBy=multi-user.target\n",
                ),
            ],
        );
        save(&host, &preview(&host, SaveMode::Ours).unwrap()).unwrap();
        assert!(host.read(Path::new("/etc/systemd/system/portcullis-rules.service")).is_err());
        assert!(host.read(Path::new("/etc/systemd/system/multi-user.target.wants/portcullis-rules.service")).is_ok());
        assert_eq!(unit::way(&host), Way::Enabled);
        // A unit that we wrote starts a program that has moved since.
        let docker = Path::new("/etc/systemd/system/portcullis-rules-docker.service");
        let old = String::from_utf8(host.read(docker).unwrap()).unwrap().replace("/usr/bin/", "/usr/local/bin/");
        host.write(docker, old.as_bytes(), 0o644).unwrap();
        assert!(matches!(unit::way(&host), Way::Install(files) if files.len() == 1 && files[0].0 == docker));
    }

    #[test]
    fn a_plan_that_locks_out_its_operator_by_itself_is_not_saved() {
        // The operator gets in by a rule before ours that is not saved with ours.
        let host = host(UFW, &[UFW_ON]);
        let plan =
            plan::read("version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"22/tcp\"]\n").unwrap();
        apply(
            &host,
            &plan,
            &Options { allowed: Allowed { replace: true, lockout: true, ..Allowed::default() }, ..Options::default() },
            &mut |_| {},
        )
        .unwrap();
        keep(&host, true).unwrap();
        kernel::restore(
            &host,
            "test",
            Family::V4,
            "*filter\n-I INPUT 1 -s 10.0.0.5/32 -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n",
        )
        .unwrap();
        let refused = save(&host, &preview(&host, SaveMode::Ours).unwrap()).unwrap_err();
        assert!(refused.code == Code::Lockout && refused.hint.contains("into the plan"), "{refused:?}");
    }
}
