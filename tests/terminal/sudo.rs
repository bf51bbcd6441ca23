//! Settings and drafts under a real sudo that leaves HOME as it was: files in the user's home are not trusted as
//! root's, nothing in it can block the program, and nothing of root's is created in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::process::Output;

use common::outlive::SOON;
use common::ssh::Terminal;
use common::{Backend, Lab, PORTCULLIS, layer};

/// Drops everybody on one port.
fn plan(port: u16) -> String {
    format!("version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"{port}/tcp\"]\n")
}

/// A machine with sudo, and with alice, who may do everything through it.
fn lab() -> Option<Lab> {
    let lab = layer::lab(Backend::Nft, 0, &["sudo"])?;
    lab.server.sh("echo alice:x:4321:4321::/srv/alice:/bin/bash >> /etc/passwd; echo alice:x:4321: >> /etc/group\n\
        echo 'alice:*:19000::::::' >> /etc/shadow; install -d -o alice -g alice /srv/alice\n\
        echo 'alice ALL=(ALL) NOPASSWD:SETENV: ALL' > /etc/sudoers.d/alice; chmod 440 /etc/sudoers.d/alice");
    Some(lab)
}

/// The command by which alice runs the program with sudo.
fn sudo<'a>(options: &[&'a str], args: &[&'a str]) -> Vec<&'a str> {
    let alice = [
        "setpriv",
        "--reuid=alice",
        "--regid=alice",
        "--init-groups",
        "env",
        "-u",
        "XDG_DATA_HOME",
        "-u",
        "XDG_CONFIG_HOME",
        "HOME=/srv/alice",
        "sudo",
        "-n",
    ];
    [&alice, options, &[PORTCULLIS], args].concat()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Puts a file of alice's into her home.
fn hers(lab: &Lab, path: &str, text: &str) {
    let file = lab.file("hers", text);
    lab.server
        .sh(&format!("install -D -o alice -g alice -m 644 {file} /srv/alice/{path}; chown -R alice:alice /srv/alice"));
}

/// The path of the draft for this host, below a home.
fn draft(lab: &Lab) -> String {
    format!(".local/share/portcullis/draft-host-{}.toml", lab.server.run(&["hostname"]).trim())
}

/// Files of root's in alice's home.
fn roots_at_hers(lab: &Lab) -> String {
    lab.server.sh("find /srv/alice -uid 0")
}

#[test]
fn a_draft_in_the_users_home_is_told_apart_and_nothing_is_made_there() {
    let Some(lab) = lab() else { return };
    let draft = draft(&lab);
    hers(&lab, &draft, &plan(4711));
    let begin = || {
        let t = Terminal::start(&lab.server, &sudo(&["-E"], &[]));
        t.wait("Services", SOON);
        t
    };
    let mut t = begin();
    t.wait("A draft that is not your own", SOON);
    t.wait("alice, just now", SOON);
    // The first answer leaves it alone.
    t.send("\r");
    t.wait("not staged", SOON);
    t.send("3");
    t.wait("The plan is empty.", SOON);
    t.send("q");
    assert_eq!(t.end(SOON), (0, true));
    assert_eq!(lab.server.sh("find /root -name 'draft-*'"), "", "nothing was staged");
    // Once taken up it becomes root's own draft, which is offered first from then on.
    let mut t = begin();
    t.wait("A draft that is not your own", SOON);
    t.send("\x1b[B");
    t.wait("▸ Stage it", SOON);
    t.send("\r");
    t.wait("any → 4711/tcp", SOON);
    t.send("q");
    assert_eq!(t.end(SOON), (0, true));
    assert!(lab.server.sh(&format!("cat /root/{draft}")).contains("4711"));
    hers(&lab, &draft, &plan(4712));
    let mut t = begin();
    t.wait("A draft from an earlier session", SOON);
    t.wait("/root/.local/share", SOON);
    t.send("\r");
    t.wait("any → 4711/tcp", SOON);
    t.send("q");
    assert_eq!(t.end(SOON), (0, true));
    assert_eq!(roots_at_hers(&lab), "");
    assert_eq!(lab.server.sh("stat -c %a /root/.local/share/portcullis").trim(), "700");
    // Without -E her home does not matter.
    lab.server.sh("rm -r /root/.local");
    let mut t = Terminal::start(&lab.server, &sudo(&[], &[]));
    t.wait("Services", SOON);
    t.send("3");
    t.wait("The plan is empty.", SOON);
    t.send("q");
    assert_eq!(t.end(SOON), (0, true));
}

#[test]
fn a_pipe_as_draft_or_settings_does_not_block() {
    let Some(lab) = lab() else { return };
    let draft = draft(&lab);
    lab.server.sh(&format!(
        "su alice -c 'mkdir -p /srv/alice/.config/portcullis $(dirname /srv/alice/{draft}); \
        mkfifo /srv/alice/.config/portcullis/config.toml /srv/alice/{draft}'"
    ));
    for options in [&["-E"][..], &["XDG_CONFIG_HOME=/srv/alice/.config", "XDG_DATA_HOME=/srv/alice/.local/share"]] {
        let mut t = Terminal::start(&lab.server, &sudo(options, &[]));
        t.wait("Not understood in your configuration", SOON);
        t.wait("named pipe", SOON);
        t.send("\r");
        t.wait("a draft cannot be offered", SOON);
        t.send("q");
        assert_eq!(t.end(SOON), (0, true));
    }
    // Nor does it block a command that reads its settings.
    let plan = lab.file("plan.toml", &plan(4711));
    let out = lab.server.output(&sudo(&["-E"], &["apply", &plan, "--yes"]));
    assert!(out.status.success() && said(&out).contains("was not read: it is a named pipe"), "{}", said(&out));
    assert!(lab.server.output(&sudo(&["-E"], &["revert"])).status.success());
    assert_eq!(roots_at_hers(&lab), "");
}

#[test]
fn the_length_of_a_trial_is_the_machines_or_the_operators_also_for_commands() {
    let Some(lab) = lab() else { return };
    let plan = lab.file("plan.toml", &plan(4711));
    let begins = |argv: &[&str], seconds: u32, from: Option<&str>| {
        let out = lab.server.output(argv);
        let text = said(&out);
        assert!(out.status.success(), "{argv:?}: {text}");
        let runs =
            [0, 1, 2].iter().any(|late| text.contains(&format!("the old rules come back in {} s", seconds - late)));
        assert!(runs, "{argv:?}, {seconds} s: {text}");
        match from {
            Some(file) => assert!(text.contains(&format!("the trial lasts {seconds} s, as {file} says")), "{text}"),
            None => assert!(!text.contains("the trial lasts"), "{text}"),
        }
        text
    };
    let revert = || assert!(lab.server.output(&[PORTCULLIS, "revert"]).status.success());
    begins(&[PORTCULLIS, "apply", &plan, "--yes"], 60, None);
    revert();
    lab.server.sh("mkdir -p /etc/portcullis; echo 'trial = \"2m\"' > /etc/portcullis/config.toml");
    begins(&[PORTCULLIS, "apply", &plan, "--yes"], 120, Some("/etc/portcullis/config.toml"));
    assert!(lab.server.output(&[PORTCULLIS, "keep", "--without-proof"]).status.success());
    begins(&[PORTCULLIS, "remove", "--yes"], 120, Some("/etc/portcullis/config.toml"));
    revert();
    begins(&[PORTCULLIS, "remove", "--yes", "--confirm-within", "30s"], 30, None);
    revert();
    // The user's settings override the machine's, and their origin is shown unless it is root's.
    hers(&lab, ".config/portcullis/config.toml", "trial = \"5m\"\n");
    let text = begins(&sudo(&["-E"], &["remove", "--yes"]), 300, Some("/srv/alice/.config/portcullis/config.toml"));
    assert!(
        text.contains("settings are read from: /srv/alice/.config/portcullis/config.toml, a file of alice"),
        "{text}"
    );
    revert();
    lab.server.sh("mkdir -p /root/.config/portcullis; echo 'trial = \"4m\"' > /root/.config/portcullis/config.toml");
    let text = begins(&sudo(&["-E"], &["remove", "--yes"]), 240, Some("/root/.config/portcullis/config.toml"));
    assert!(!text.contains("settings are read from"), "{text}");
    revert();
    // A file that alice cannot have made: it belongs to somebody else, in her home.
    lab.server.sh("rm -r /root/.config; chown nobody /srv/alice/.config/portcullis/config.toml");
    let text = begins(&sudo(&["-E"], &["remove", "--yes"]), 120, Some("/etc/portcullis/config.toml"));
    assert!(text.contains("belongs to nobody, who is neither root nor the user who called sudo"), "{text}");
    revert();
}
