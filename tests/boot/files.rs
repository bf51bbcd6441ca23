//! What boot loads, on the real kernel with real files: what a save replaces, and what it does not touch.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs tools"
)]

use crate::common;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Output;

use common::{Backend, Lab, layer, not_run};

/// The lab with one rule per family, so that there is something to save.
fn lab(tools: &[&str]) -> Option<Lab> {
    let lab = Lab::new(Backend::Nft, 0, tools)?;
    for (family, from) in [("", "198.51.100.7"), ("6", "2001:db8:7::7")] {
        lab.server.restore(family, &format!("*filter\n-A INPUT -s {from} -j DROP\nCOMMIT\n"));
    }
    Some(lab)
}

fn both(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// A save that must not wait for anything.
fn save(lab: &Lab, more: &[&str]) -> (i32, String) {
    let argv: Vec<&str> = ["timeout", "60", "setsid", "--wait", common::PORTCULLIS, "save", "--all", "--yes"]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    let out = lab.server.output(&argv);
    (out.status.code().unwrap_or(-1), both(&out))
}

#[test]
fn what_is_no_regular_file_is_refused_and_stays() {
    let Some(lab) = lab(&["timeout"]) else { return };
    let (v4, v6, kept) =
        (lab.dir.path().join("rules.v4"), lab.dir.path().join("rules.v6"), lab.dir.path().join("kept.v4"));
    let makes: [(&str, &str); 6] = [
        ("ln -s /dev/null $f", "leads to /dev/null, a device"),
        ("mkfifo $f", "is a named pipe"),
        ("mknod $f c 1 7", "is a device"),
        ("mkdir $f", "is a directory"),
        ("ln -s /nowhere/at/all $f", "is a dangling link"),
        ("mkfifo $f.pipe; ln -s $f.pipe $f", "rules.v4.pipe, a named pipe"),
    ];
    for (make, said) in makes {
        lab.server.sh(&format!("f={}; {make}", v4.display()));
        let before = fs::symlink_metadata(&v4).unwrap();
        let (status, text) = save(&lab, &[]);
        assert_eq!(status, 3, "{make}: {text}");
        let error: Vec<&str> = text.lines().filter(|l| l.starts_with("error: ")).collect();
        assert!(matches!(error[..], [one] if one.contains(said)), "{make}: {text}");
        let after = fs::symlink_metadata(&v4).unwrap();
        assert_eq!((before.ino(), before.mode(), before.mtime()), (after.ino(), after.mode(), after.mtime()), "{make}");
        assert!(!v6.exists(), "{make}: both families or neither");
        lab.server.sh(&format!("rm -rf {0} {0}.pipe", v4.display()));
    }
    // A link to a regular file is followed: an administrator may keep /etc in a repository.
    fs::write(&kept, "# mine\n").unwrap();
    symlink(&kept, &v4).unwrap();
    let (status, text) = save(&lab, &[]);
    assert_eq!(status, 0, "{text}");
    assert!(
        fs::symlink_metadata(&v4).unwrap().is_symlink() && fs::read_to_string(&kept).unwrap().contains("198.51.100.7"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(lab.dir.path().join("kept.v4.before-portcullis")).unwrap(), "# mine\n");
}

#[test]
fn attributes_are_kept_and_hard_links_are_reported() {
    let Some(lab) = lab(&[]) else { return };
    let v4 = lab.dir.path().join("rules.v4");
    let other = lab.dir.path().join("other-name");
    fs::write(&v4, "# mine\n").unwrap();
    fs::hard_link(&v4, &other).unwrap();
    let set = |name: &str, value: &[u8]| rustix::fs::setxattr(&v4, name, value, rustix::fs::XattrFlags::empty());
    let get = |name: &str| {
        let mut value = [0; 256];
        rustix::fs::getxattr(&v4, name, &mut value).map(|n| value[..n].to_vec())
    };
    // With SELinux labels are validated; without it root may set any.
    let label = b"system_u:object_r:system_conf_t:s0\0";
    if let Err(e) = set("user.portcullis", b"kept").and_then(|()| set("security.selinux", label)) {
        not_run(&format!("the file system of the tests takes no extended attributes: {e}"));
        return;
    }
    let (status, text) = save(&lab, &[]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("rules.v4 has another name (a hard link): the old rules stay there"), "{text}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "# mine\n");
    assert!(fs::read_to_string(&v4).unwrap().contains("198.51.100.7"));
    assert_eq!((get("user.portcullis").unwrap(), get("security.selinux").unwrap()), (b"kept".to_vec(), label.to_vec()));
    // Now it has only one name, so no warning is needed.
    lab.server.sh("iptables -A INPUT -s 198.51.100.8 -j DROP");
    let (status, text) = save(&lab, &[]);
    assert!(status == 0 && !text.contains("hard link"), "{text}");
}

/// A server with Debian's iptables-persistent and ipset-persistent, and one rule per family.
fn persistent() -> Option<Lab> {
    let lab = layer::lab(Backend::Nft, 0, &["iptables-persistent", "ipset-persistent"])?;
    for (family, from) in [("", "198.51.100.7"), ("6", "2001:db8:7::7")] {
        lab.server.restore(family, &format!("*filter\n-A INPUT -s {from} -j DROP\nCOMMIT\n"));
    }
    Some(lab)
}

/// The JSON answer of a save.
fn json(lab: &Lab, more: &[&str]) -> (i32, serde_json::Value) {
    let argv: Vec<&str> =
        ["setsid", "--wait", common::PORTCULLIS, "save", "--json"].into_iter().chain(more.iter().copied()).collect();
    let out = lab.server.output(&argv);
    let said = if out.status.success() { &out.stdout } else { &out.stderr };
    (out.status.code().unwrap_or(-1), serde_json::from_slice(said).unwrap_or_else(|e| panic!("{e}: {}", both(&out))))
}

#[test]
fn each_distribution_gets_the_files_that_its_boot_loads() {
    let Some(lab) = persistent() else { return };
    let wants = "/etc/systemd/system/multi-user.target.wants";
    lab.server.sh(&format!("mkdir -p {wants}; ln -sf /lib/systemd/system/netfilter-persistent.service {wants}/"));
    let (status, said) = json(&lab, &["--all", "--yes", "--must-load"]);
    assert_eq!(
        (status, &said["loaded_at_boot"], &said["files"][0]["path"]),
        (0, &true.into(), &"/etc/iptables/rules.v4".into()),
        "{said}"
    );
    // What the real service loads is the reference.
    let booted =
        "unshare -n bash -c 'netfilter-persistent start >/dev/null 2>&1; iptables -S INPUT; ip6tables -S INPUT'";
    let loaded = lab.server.sh(booted);
    assert!(
        loaded.contains("-s 198.51.100.7/32 -j DROP") && loaded.contains("-s 2001:db8:7::7/128 -j DROP"),
        "{loaded}"
    );

    // The same server made to look like other distributions, with nothing of Debian's.
    lab.server.sh(&format!(
        "rm -rf {wants}/*.service /usr/share/netfilter-persistent /etc/iptables \
        /etc/systemd/system/ip*tables.service /etc/systemd/system/ipset.service"
    ));
    let rhel = "[Service]\\nExecStart=/usr/libexec/iptables/iptables.init start\\n";
    let dress = |id: &str, files: &str, units: &[&str]| {
        lab.server.sh(&format!("rm -f {wants}/*; printf '{id}' > /etc/os-release; {files}"));
        for unit in units {
            lab.server.sh(&format!("ln -sf /lib/systemd/system/{unit} {wants}/"));
        }
    };
    let old = "*filter\\n:INPUT ACCEPT [0:0]\\nCOMMIT\\n";
    let rhel = format!(
        "mkdir -p /etc/sysconfig; for f in ip ip6; do printf '{old}' > /etc/sysconfig/${{f}}tables; printf '{rhel}' > \
            /lib/systemd/system/${{f}}tables.service; done"
    );
    let arch = format!(
        "mkdir -p /etc/iptables; for f in ip ip6; do printf '{old}' > /etc/iptables/${{f}}tables.rules; printf \
        \"[Service]\\nExecStart=/usr/bin/${{f}}tables-restore /etc/iptables/${{f}}tables.rules\\n\" > \
        /lib/systemd/system/${{f}}tables.service; done"
    );
    let alpine = "mkdir -p /etc/iptables /etc/init.d /etc/conf.d /etc/runlevels/default; printf \
        'IPTABLES_SAVE=\"/etc/iptables/rules-save\"\\n' > /etc/conf.d/iptables; for f in ip ip6; do printf \
        '#!/sbin/openrc-run\\n' > /etc/init.d/${f}tables; ln -s /etc/init.d/${f}tables /etc/runlevels/default/; done";
    let rocky = "ID=\"rocky\"\\nID_LIKE=\"rhel centos fedora\"\\n";
    for (id, files, units, v4, v6) in [
        (
            rocky,
            &*rhel,
            &["iptables.service", "ip6tables.service"][..],
            "/etc/sysconfig/iptables",
            "/etc/sysconfig/ip6tables",
        ),
        (
            "ID=arch\\n",
            &*arch,
            &["iptables.service", "ip6tables.service"],
            "/etc/iptables/iptables.rules",
            "/etc/iptables/ip6tables.rules",
        ),
        ("ID=alpine\\n", alpine, &[], "/etc/iptables/rules-save", "/etc/iptables/rules6-save"),
    ] {
        dress(id, files, units);
        let (status, said) = json(&lab, &["--all", "--yes", "--must-load"]);
        assert_eq!(
            (status, &said["loaded_at_boot"], &said["to_do"]),
            (0, &true.into(), &serde_json::Value::Null),
            "{id}: {said}"
        );
        let loaded = lab.server.sh(&format!(
            "unshare -n bash -ec 'iptables-restore < {v4}; ip6tables-restore < {v6}; iptables -S INPUT; ip6tables -S \
                INPUT'"
        ));
        assert!(
            loaded.contains("-s 198.51.100.7/32 -j DROP") && loaded.contains("-s 2001:db8:7::7/128 -j DROP"),
            "{id}: {loaded}"
        );
        assert!(lab.server.sh("ls /etc/iptables/rules.v* 2>/dev/null || true").is_empty(), "{id}");
    }
    // A save that nothing would load is refused before anything is written; without the option there is a warning.
    dress(rocky, &rhel, &[]);
    let (status, said) = json(&lab, &["--all", "--yes", "--must-load"]);
    assert_eq!((status, &said["error"]["code"]), (3, &"not-loaded".into()), "{said}");
    assert!(said["error"]["hint"].as_str().unwrap().contains("`systemctl enable iptables ip6tables`"), "{said}");
    assert!(!lab.server.sh("cat /etc/sysconfig/iptables").contains("198.51.100.7"), "nothing was written");
    let out = both(&lab.portcullis(&["save", "--all", "--dry-run"]));
    assert!(
        out.contains("note: iptables.service and ip6tables.service are installed but will not run at boot")
            && out.contains("loaded_at_boot: false"),
        "{out}"
    );
    // A file named by the operator, and the operator's own unit that loads it.
    lab.server.sh("printf '[Service]\\nExecStart=/bin/sh -c \"iptables-restore < /srv/fw4 && ip6tables-restore < \
        /srv/fw6\"\\n' > /etc/systemd/system/fw.service");
    let named = |more: &str| {
        both(&lab.server.output(&[
            "bash",
            "-c",
            &format!(
                "{more}; PORTCULLIS_RULES_V4=/srv/fw4 PORTCULLIS_RULES_V6=/srv/fw6 {} save --all --yes",
                common::PORTCULLIS
            ),
        ]))
    };
    let before = named(":");
    assert!(
        before.contains("loads /srv/fw4 and /srv/fw6 at boot: enable a unit")
            && before.contains("loaded_at_boot: false"),
        "{before}"
    );
    let after = named(&format!("ln -s /etc/systemd/system/fw.service {wants}/"));
    assert!(
        after.contains("note: fw.service loads these files at boot.") && after.contains("loaded_at_boot: true"),
        "{after}"
    );
}

#[test]
fn rules_with_sets_are_saved_only_when_boot_makes_the_sets_before() {
    let Some(lab) = persistent() else { return };
    lab.server.sh(
        "ipset create crowdsec-blacklists hash:ip timeout 3600; ipset create crowdsec6-blacklists hash:ip family \
        inet6 timeout 3600; ipset add crowdsec-blacklists 198.51.100.9; ipset create both list:set; ipset create lan \
        hash:net; ipset add both lan; iptables -A INPUT -m set --match-set crowdsec-blacklists src -j DROP; iptables \
        -A INPUT -m set --match-set both src -j ACCEPT; ip6tables -A INPUT -m set --match-set crowdsec6-blacklists \
        src -j DROP",
    );
    let booted = "unshare -n bash -c 'netfilter-persistent start >/run/said 2>&1; echo rc=$?; iptables -S INPUT; \
        ip6tables -S INPUT; ipset list -n'; cat /run/said";
    let (status, said) = json(&lab, &["--all", "--yes"]);
    let (what, hint) = (said["error"]["message"].as_str().unwrap(), said["error"]["hint"].as_str().unwrap());
    assert_eq!((status, &said["error"]["code"]), (3, &"sets".into()), "{said}");
    assert!(
        what.starts_with(
            "netfilter-persistent would load none of the IPv4 rules at boot: they name \
        crowdsec-blacklists, lan, both, which"
        ),
        "{what}"
    );
    assert!(!lab.server.sh("cat /etc/iptables/*").contains("crowdsec"), "nothing was written");
    // Proved by the real service: it loads nothing, and succeeds.
    lab.server
        .sh("rm -f /etc/iptables/*; iptables-save > /etc/iptables/rules.v4; ip6tables-save > /etc/iptables/rules.v6");
    let truth = lab.server.sh(booted);
    assert!(
        truth.contains("rc=0") && truth.contains("New rules NOT loaded") && !truth.contains("198.51.100.7/32"),
        "{truth}"
    );
    lab.server.sh("rm /etc/iptables/*");
    // The commands in the hint work word for word: then the save succeeds, and boot loads it.
    for command in hint.split('`').skip(1).step_by(2) {
        lab.server.sh(command);
    }
    let (status, said) = json(&lab, &["--all", "--yes", "--must-load"]);
    assert_eq!((status, &said["loaded_at_boot"]), (0, &true.into()), "{said}");
    let truth = lab.server.sh(booted);
    for part in [
        "-s 198.51.100.7/32 -j DROP",
        "--match-set both src -j ACCEPT",
        "--match-set crowdsec6-blacklists src -j DROP",
        "crowdsec-blacklists\n",
    ] {
        assert!(truth.contains(part), "{part}: {truth}");
    }
    // The set's name alone is not enough: boot stops at an unreadable line and never creates the set after it.
    lab.server
        .sh("iptables -A INPUT -s 198.51.100.8 -j DROP; sed -i '1i create strange hash:nothing' /etc/iptables/ipsets");
    let (status, said) = json(&lab, &["--all", "--yes"]);
    assert_eq!((status, &said["error"]["code"]), (1, &"unproven".into()), "{said}");
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains("a fresh namespace refuses -A INPUT -m set --match-set crowdsec-blacklists src -j DROP"),
        "{said}"
    );
    assert!(!lab.server.sh("cat /etc/iptables/rules.v4").contains("198.51.100.8"), "nothing was written");
}

#[test]
fn rules_of_the_other_variant_are_reported_as_left_out() {
    if common::find("xtables-legacy-multi").is_none() {
        not_run("iptables-legacy is not installed");
        return;
    }
    for backend in Backend::BOTH {
        let Some(lab) = Lab::new(backend, 0, &["nft"]) else { return };
        let other = if backend == Backend::Nft { "legacy" } else { "nft" };
        lab.server.sh("iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
        let (status, text) = save(&lab, &[]);
        assert!(status == 0 && !text.contains("loaded as well"), "{backend:?}: {text}");
        lab.server.sh(&format!(
            "iptables-{other} -A INPUT -s 198.51.100.3 -p tcp --dport 111 -j DROP; iptables-{other} -A INPUT -p udp \
            --dport 111 -j DROP; nft add table inet mine; nft 'add chain inet mine input {{ type filter hook input \
            priority 0; }}'"
        ));
        lab.server.sh("iptables -A INPUT -p tcp --dport 80 -j ACCEPT");
        let (status, text) = save(&lab, &[]);
        let said = format!(
            "note: 2 IPv4 rules of iptables-{other} are loaded as well and not in the files, and nothing that \
                portcullis knows loads them at boot"
        );
        assert!(
            status == 0 && text.contains(&said) && text.contains(&format!("have a unit run iptables-{other}-restore")),
            "{backend:?}: {text}"
        );
        assert!(!text.contains(&format!("IPv6 rules of iptables-{other}")), "{backend:?}: {text}");
        assert!(text.contains("Not in these files: the native nft tables inet mine."), "{backend:?}: {text}");
        // This is what the file really contains.
        let loaded = lab.server.sh(&format!(
            "unshare -n bash -ec 'iptables-restore < {}/rules.v4; iptables-{other} -S INPUT'",
            lab.dir.path().display()
        ));
        assert!(!loaded.contains("DROP"), "{backend:?}: {loaded}");
    }
}

#[test]
fn a_save_killed_between_its_files_is_reported_and_undone() {
    let Some(lab) = lab(&["prlimit"]) else { return };
    let dir = lab.dir.path().to_owned();
    let names = |dir: &std::path::Path| {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|n| n != "run" && n != "state")
            .collect();
        names.sort();
        names
    };
    let old = |f: &str| format!("# the old {f}\n");
    for f in ["rules.v4", "rules.v6"] {
        lab.file(f, &old(f));
    }
    // The kernel kills a process that writes more than it may (SIGXFSZ): here in the middle of the IPv6 file, after the
    // IPv4 file has been replaced.
    let many: String = (0..400).map(|n| format!("-A INPUT -s 2001:db8:{n:x}::/48 -j DROP\n")).collect();
    lab.server.restore("6", &format!("*filter\n{many}COMMIT\n"));
    let died =
        lab.server.output(&["prlimit", "--fsize=8192", "--core=0", common::PORTCULLIS, "save", "--all", "--yes"]);
    assert!(!died.status.success(), "{}", both(&died));
    let text = |f: &str| fs::read_to_string(dir.join(f)).unwrap();
    assert!(text("rules.v4").contains("198.51.100.7") && text("rules.v6") == old("rules.v6"));
    assert!(names(&dir).iter().any(|n| n.starts_with(".portcullis-")), "{:?}", names(&dir));
    let said = both(&lab.portcullis(&["status"]));
    assert!(
        said.contains("warning: a save was cut short")
            && said.contains("rules.v4 new")
            && said.contains("rules.v6 old"),
        "{said}"
    );
    let said: serde_json::Value = serde_json::from_slice(&lab.portcullis(&["report", "--json"]).stdout).unwrap();
    assert!(said["diagnostics"].to_string().contains("a save was cut short"), "{}", said["diagnostics"]);
    // Commands that only look report it.
    assert!(
        both(&lab.portcullis(&["save", "--all", "--dry-run"])).contains("a save was cut short")
            && text("rules.v4").contains("198.51.100.7")
    );
    // The next command that changes something undoes it: here a save whose question is not answered.
    let asked = both(&lab.portcullis(&["save", "--all"]));
    assert!(
        asked.contains("rules.v4 holds its old rules again; save once more") && asked.contains("no terminal"),
        "{asked}"
    );
    assert_eq!((text("rules.v4"), names(&dir)), (old("rules.v4"), vec!["rules.v4".to_owned(), "rules.v6".to_owned()]));
    let (status, said) = save(&lab, &[]);
    assert!(status == 0 && !said.contains("cut short") && text("rules.v6").contains("2001:db8:18f::/48"), "{said}");
    assert_eq!(names(&dir), ["rules.v4", "rules.v4.before-portcullis", "rules.v6", "rules.v6.before-portcullis"]);
    assert!(names(&dir.join("state")).is_empty() || !names(&dir.join("state")).contains(&"saving.json".to_owned()));
    // A failure while the program is alive is undone at once.
    lab.server.sh("iptables -A INPUT -s 198.51.100.8 -j DROP");
    let out = lab.server.output(&[
        "env",
        "PORTCULLIS_RULES_V6=/proc/none/rules.v6",
        common::PORTCULLIS,
        "save",
        "--all",
        "--yes",
    ]);
    assert_eq!(out.status.code(), Some(1), "{}", both(&out));
    assert!(
        both(&out).contains("/proc/none could not be made") && !text("rules.v4").contains("198.51.100.8"),
        "{}",
        both(&out)
    );
    assert_eq!(names(&dir).len(), 4, "{:?}", names(&dir));
    assert!(!both(&lab.portcullis(&["status"])).contains("cut short"));
}

#[test]
fn a_set_that_boot_fills_otherwise_must_not_lock_the_operator_out() {
    let Some(lab) = layer::lab(Backend::Nft, 1, &["iptables-persistent", "ipset-persistent"]) else { return };
    common::ssh::start_sshd(&lab);
    let (client, server) = (Lab::client4(0), Lab::server4(0));
    lab.server.sh(&format!(
        "ipset create admins hash:ip; echo 'create admins hash:ip' > /etc/iptables/ipsets; ipset add admins {client}; \
        iptables -A INPUT -p tcp --dport 22 -m set --match-set admins src -j ACCEPT; iptables -A INPUT -p tcp --dport \
        22 -j DROP"
    ));
    assert!(common::ssh::login_works(&lab, 0, server));
    let save = |more: &str| {
        common::ssh::remote(&lab, 0, server, &format!("{} save --all --yes --json{more} 2>&1", common::PORTCULLIS))
    };
    let (done, said) = save("");
    assert!(
        !done && said.contains("\"lockout\"") && said.contains("an ipset that boot fills with other entries"),
        "{said}"
    );
    assert!(!save(" --dry-run").0, "it is refused before anybody is asked");
    assert!(!lab.server.sh("cat /etc/iptables/rules.v4").contains("admins"), "nothing was written");
    lab.server.sh("ipset save admins > /etc/iptables/ipsets");
    let (done, said) = save("");
    assert!(done && said.contains("\"loaded_at_boot\":true"), "{said}");
}

#[test]
fn a_plugin_that_may_not_be_run_loads_nothing() {
    let Some(lab) = persistent() else { return };
    assert_eq!(json(&lab, &["--all", "--dry-run"]).1["loaded_at_boot"], true);
    lab.server.sh("chmod -x /usr/share/netfilter-persistent/plugins.d/25-ip6tables");
    let (status, said) = json(&lab, &["--all", "--yes", "--must-load"]);
    assert_eq!((status, &said["error"]["code"]), (3, &"not-loaded".into()), "{said}");
    lab.server.sh("iptables-save > /etc/iptables/rules.v4; ip6tables-save > /etc/iptables/rules.v6");
    let truth = lab
        .server
        .sh("unshare -n bash -c 'netfilter-persistent start >/dev/null 2>&1; iptables -S INPUT; ip6tables -S INPUT'");
    assert!(truth.contains("198.51.100.7") && !truth.contains("2001:db8:7::7"), "{truth}");
}
