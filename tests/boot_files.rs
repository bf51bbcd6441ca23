//! What boot loads, on the real kernel and real files: what a save replaces, and what it leaves alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs tools")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Output;

use common::{Backend, Lab, not_run};

/// The lab with one rule of each family, so that there is something to save.
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

/// A save that must not wait for anybody.
fn save(lab: &Lab, more: &[&str]) -> (i32, String) {
    let argv: Vec<&str> = ["timeout", "60", "setsid", "--wait", common::PORTCULLIS, "save", "--all", "--yes"].into_iter().chain(more.iter().copied()).collect();
    let out = lab.server.output(&argv);
    (out.status.code().unwrap_or(-1), both(&out))
}

#[test]
fn what_is_no_regular_file_is_refused_and_stays() {
    let Some(lab) = lab(&["timeout"]) else { return };
    let (v4, v6, kept) = (lab.dir.path().join("rules.v4"), lab.dir.path().join("rules.v6"), lab.dir.path().join("kept.v4"));
    let makes: [(&str, &str); 6] = [
        ("ln -s /dev/null $f", "leads to /dev/null, a device"), ("mkfifo $f", "is a named pipe"), ("mknod $f c 1 7", "is a device"),
        ("mkdir $f", "is a directory"), ("ln -s /nowhere/at/all $f", "is a link that leads nowhere"), ("mkfifo $f.pipe; ln -s $f.pipe $f", "rules.v4.pipe, a named pipe"),
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
    // A link to a regular file is followed, as an administrator who keeps /etc in a repository has it.
    fs::write(&kept, "# mine\n").unwrap();
    symlink(&kept, &v4).unwrap();
    let (status, text) = save(&lab, &[]);
    assert_eq!(status, 0, "{text}");
    assert!(fs::symlink_metadata(&v4).unwrap().is_symlink() && fs::read_to_string(&kept).unwrap().contains("198.51.100.7"), "{text}");
    assert_eq!(fs::read_to_string(lab.dir.path().join("kept.v4.before-portcullis")).unwrap(), "# mine\n");
}

#[test]
fn attributes_are_kept_and_hard_links_are_said() {
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
    // With SELinux a label is checked, without it root may set any.
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
    // Now it has one name, and nothing is said.
    lab.server.sh("iptables -A INPUT -s 198.51.100.8 -j DROP");
    let (status, text) = save(&lab, &[]);
    assert!(status == 0 && !text.contains("hard link"), "{text}");
}
