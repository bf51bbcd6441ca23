//! The guard as a service of a real systemd: a server with systemd as its first process, journal, a logind that kills
//! what a session leaves behind, and a real sshd; a plan that locks the client out. Whatever is killed or stopped, a
//! *new* login works within two seconds after the deadline, and no unit of ours is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and keeps its own time"
)]

use crate::common;

use std::io::Write;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use common::net::tcp_connects_within;
use common::ssh::{Terminal, login_works, remote};
use common::{Backend, Lab, PORTCULLIS, full, holds_within, not_run_here, systemd, wait_for};

const LOCK_OUT: &str = "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"22/tcp\"]\n";
const SOON: Duration = Duration::from_secs(20);

/// A new login works at most this many seconds after the deadline.
const LIMIT: f64 = 2.0;

/// Rules loaded by others.
const THEIRS: &str = include_str!("../../assets/demo/iptables-save.txt");

struct Run {
    lab: Lab,
    name: &'static str,
    before: String,
    session: Option<Terminal>,
    /// How long the trial lasts: much longer than the test if something other than the deadline must end it.
    time: &'static str,
}

/// Milliseconds of CLOCK_BOOTTIME.
fn boot_millis() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    t.tv_sec * 1000 + t.tv_nsec / 1_000_000
}

impl Run {
    fn apply_command(&self) -> String {
        format!(
            "{PORTCULLIS} apply {}/plan.toml --yes --allow-lockout --confirm-within {}",
            self.lab.dir.path().display(),
            self.time
        )
    }

    /// The operator applies the plan in an ssh session and stays in it; the client is then locked out.
    fn apply(&mut self) {
        self.apply_after("true");
    }

    fn apply_after(&mut self, first: &str) {
        let session =
            Terminal::ssh(&self.lab, 0, Lab::server4(0), &format!("{first}; {}; exec cat", self.apply_command()));
        session.wait("the old rules come back", SOON);
        self.session = Some(session);
        assert!(!self.connects(), "{}: the plan locks the client out", self.name);
    }

    fn connects(&self) -> bool {
        tcp_connects_within(&self.lab.clients[0], Lab::server4(0), 22, Duration::from_millis(200))
    }

    fn trial(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.lab.dir.path().join("run/trial.json")).unwrap()).unwrap()
    }

    fn deadline(&self) -> i64 {
        self.trial()["deadline"].as_i64().unwrap()
    }

    fn unit(&self) -> String {
        format!("portcullis-guard-{}.service", self.trial()["id"].as_str().unwrap())
    }

    /// The trial in `portcullis status --json`.
    fn status(&self) -> serde_json::Value {
        let out = self.lab.portcullis(&["status", "--json"]);
        serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap()["trial"].clone()
    }

    /// The guard's pid according to `status`.
    fn guard(&self) -> Option<u32> {
        self.status()["guard"]["pid"].as_u64().map(|p| p as u32)
    }

    fn shows(&self, property: &str) -> String {
        self.lab.server.run(&["systemctl", "show", "--property", property, "--value", &self.unit()]).trim().to_owned()
    }

    fn journal(&self) -> String {
        self.lab.server.sh("journalctl --no-pager --output=cat")
    }

    /// Waits for the first new login; it must come soon enough after that moment.
    fn login_comes_back(&self, moment: i64) {
        let patience = Duration::from_millis((moment - boot_millis()).max(0).cast_unsigned()) + SOON;
        let back = holds_within(patience, || self.connects() && login_works(&self.lab, 0, Lab::server4(0)));
        let after = (boot_millis() - moment) as f64 / 1000.0;
        let six = login_works(&self.lab, 0, Lab::server6(0));
        let word = if back && six {
            format!("login {after:+.1} s after it was due (limit {LIMIT})")
        } else {
            "LOCKED OUT".to_owned()
        };
        // Written directly, so that the table is visible even when the test passes.
        let _ = std::io::stderr()
            .lock()
            .write_all(format!("systemd {} {:?}: {word}\n", self.name, self.lab.backend).as_bytes());
        // A busy machine may be slow; where the times matter, nothing else runs.
        let slack = if full() || std::env::var_os("CI").is_some() { 0.0 } else { 3.0 };
        assert!(
            back && six && (0.0..=LIMIT + slack).contains(&after),
            "{} {:?}: {word}\n{}\n{}",
            self.name,
            self.lab.backend,
            self.lab.server.rules(),
            self.journal()
        );
    }

    /// Checks that nothing of ours is left: the unit is unloaded, no guard runs, the rules are those of before.
    fn nothing_is_left(&self) {
        self.unit_is_gone();
        let now = self.lab.server.rules();
        assert_eq!(now, self.before, "{}", self.name);
    }

    fn unit_is_gone(&self) {
        let gone = holds_within(SOON, || {
            self.shows("LoadState") == "not-found" && self.lab.server.pids("portcullis guard").is_empty()
        });
        assert!(gone, "{}: the unit is left over: {}\n{}", self.name, self.shows("ActiveState"), self.journal());
        let left: Vec<String> = std::fs::read_dir(self.lab.dir.path().join("run"))
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|n| n.starts_with("guard-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Checks that the out-of-memory killer spares the guard.
    fn is_spared(&self, pid: u32) {
        if self.lab.server.output(&["bash", "-c", "echo -1000 > /proc/self/oom_score_adj"]).status.success() {
            assert_eq!(self.lab.server.run(&["cat", &format!("/proc/{pid}/oom_score_adj")]).trim(), "-1000");
        } else {
            not_run_here("no process here may lower its oom_score_adj (CAP_SYS_RESOURCE)");
        }
    }

    /// Makes a tool of the change wait, in the server's own network namespace, until [`Run::go_on`].
    fn hold_up(&self, tool: &str) {
        self.lab.server.sh(&format!(
            "real=$(readlink -f /usr/sbin/{tool}); touch /run/held; printf '#!/bin/bash\nif [ \"$(readlink \
            /proc/self/ns/net)\" = \"%s\" ]; then while [ -e /run/held ]; do sleep 0.05; done; fi\nexec -a {tool} %s \
            \"$@\"\n' \"$(readlink /proc/self/ns/net)\" \"$real\" > /run/{tool}.held; chmod 755 /run/{tool}.held; ln \
            -sfn /run/{tool}.held /etc/alternatives/{tool}"
        ));
    }

    fn go_on(&self) {
        self.lab.server.sh("rm /run/held");
    }
}

/// Limits the scenarios that run at once: more would measure the machine, not the program.
static RUNNING: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());
const AT_ONCE: u32 = 2;

struct Turn;

impl Turn {
    fn take() -> Self {
        let mut running = RUNNING.0.lock().unwrap();
        while *running >= AT_ONCE {
            running = RUNNING.1.wait(running).unwrap();
        }
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap() -= 1;
        RUNNING.1.notify_one();
    }
}

/// Runs a scenario on both variants at once.
fn on_both(name: &'static str, scenario: impl Fn(&mut Run) + Sync) {
    let _turn = Turn::take();
    std::thread::scope(|s| {
        for backend in Backend::BOTH {
            let scenario = &scenario;
            s.spawn(move || {
                let Some(lab) = systemd::lab(backend, 1) else { return };
                lab.server.restore("", THEIRS);
                lab.file("plan.toml", LOCK_OUT);
                let before = lab.server.rules();
                scenario(&mut Run { lab, name, before, session: None, time: "10s" });
            });
        }
    });
}

#[test]
fn nobody_answers_and_the_service_reverts() {
    on_both("nobody answers", |run| {
        run.apply();
        let status = run.status();
        assert_eq!(status["guard"]["home"], "service", "{status}");
        let pid = run.guard().unwrap();
        assert_eq!(run.shows("MainPID"), pid.to_string());
        run.is_spared(pid);
        assert_eq!(run.shows("OOMScoreAdjust"), "-1000");
        assert!(
            run.lab.server.run(&["cat", &format!("/proc/{pid}/cgroup")]).contains("system.slice/portcullis-guard-")
        );
        let said = String::from_utf8_lossy(&run.lab.portcullis(&["status"]).stdout).into_owned();
        assert!(said.contains(&format!("guard: process {pid}, a systemd service")), "{said}");
        run.login_comes_back(run.deadline());
        run.nothing_is_left();
        assert!(run.journal().contains("portcullis: the old firewall rules are back"), "{}", run.journal());
        assert_eq!(run.status()["by"], "guard");
    });
}

#[test]
fn a_killed_guard_is_started_again_and_reverts_on_time() {
    on_both("guard killed thrice", |run| {
        run.time = "20s";
        run.apply();
        for _ in 0..3 {
            let old = run.guard().unwrap();
            run.lab.server.signal("-KILL", &[old]);
            wait_for("another guard", SOON, || run.guard().is_some_and(|new| new != old));
        }
        // What a stray signal does to a program that does not expect it.
        let old = run.guard().unwrap();
        run.lab.server.signal("-HUP", &[old]);
        run.lab.server.signal("-ABRT", &[old]);
        wait_for("another guard", SOON, || run.guard().is_some_and(|new| new != old));
        assert!(boot_millis() < run.deadline(), "the machine is too busy for this test");
        assert!(!run.connects());
        run.login_comes_back(run.deadline());
        run.nothing_is_left();
        assert!(run.journal().contains("was started again"), "{}", run.journal());
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn everything_of_ours_is_killed_and_the_service_comes_back() {
    on_both("all of ours killed", |run| {
        run.apply();
        let all = run.lab.server.pids(PORTCULLIS);
        assert!(!all.is_empty());
        run.lab.server.signal("-KILL", &[all, run.lab.server.pids("sshd: root")].concat());
        run.login_comes_back(run.deadline());
        run.nothing_is_left();
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn logind_kills_what_the_session_leaves() {
    on_both("session killed by logind", |run| {
        run.apply_after("setsid -f sleep 98765 </dev/null >/dev/null 2>&1");
        assert!(!run.lab.server.pids("sleep 98765").is_empty());
        run.session.as_mut().unwrap().hang_up();
        run.lab.server.signal("-KILL", &run.lab.server.pids("sshd: root"));
        wait_for("logind kills what was detached", SOON, || run.lab.server.pids("sleep 98765").is_empty());
        assert!(run.guard().is_some(), "{}", run.journal());
        run.login_comes_back(run.deadline());
        run.nothing_is_left();
    });
}

#[test]
fn stopping_the_unit_reverts_now() {
    on_both("systemctl stop", |run| {
        run.time = "5m";
        run.apply();
        let now = boot_millis();
        run.lab.server.run(&["systemctl", "stop", &run.unit()]);
        run.login_comes_back(now);
        run.nothing_is_left();
        assert_eq!(run.status()["by"], "guard");
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn told_to_end_while_an_apply_waits_for_its_tool() {
    on_both("stopped during apply", |run| {
        run.hold_up("ip6tables-restore");
        let session = Terminal::ssh(&run.lab, 0, Lab::server4(0), &format!("{}; exec cat", run.apply_command()));
        wait_for("the apply waits for the second family", SOON, || {
            !run.lab.server.pids("/run/ip6tables-restore.held").is_empty()
                || !run.lab.server.pids("ip6tables-restore --noflush").is_empty()
        });
        wait_for("the first family is live", SOON, || !run.connects());
        run.lab.server.run(&["systemctl", "stop", "--no-block", &run.unit()]);
        wait_for("the apply is ended", SOON, || {
            run.lab.server.pids("portcullis apply").iter().all(|&p| {
                !run.lab
                    .server
                    .run(&["ps", "-eo", "pid=,comm="])
                    .lines()
                    .any(|l| l.split_whitespace().eq([p.to_string().as_str(), "portcullis"]))
            })
        });
        let now = boot_millis();
        run.go_on();
        run.login_comes_back(now);
        run.nothing_is_left();
        drop(session);
    });
}

#[test]
fn a_shutdown_reverts_before_the_rules_are_saved() {
    on_both("poweroff", |run| {
        let dir = run.lab.dir.path().display().to_string();
        // Like netfilter-persistent with IPTABLES_SAVE on stop, and Fedora's iptables-services.
        let save = run.lab.file("save", &format!("for f in '' 6; do ip${{f}}tables-save -t filter; done > {dir}/$1\n"));
        run.lab.file(
            "unit",
            &format!(
                "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=bash {save} expected\n\
                ExecStop=bash {save} saved\n"
            ),
        );
        run.lab.server.sh(&format!(
            "cp {dir}/unit /etc/systemd/system/netfilter-persistent.service; systemctl \
            daemon-reload; systemctl start netfilter-persistent"
        ));
        run.time = "5m";
        run.apply();
        run.lab.server.run(&["systemctl", "poweroff"]);
        let saved = run.lab.dir.path().join("saved");
        let rules = |file: &str| -> Vec<String> {
            std::fs::read_to_string(run.lab.dir.path().join(file))
                .unwrap_or_default()
                .lines()
                .filter(|l| !l.starts_with('#'))
                .map(|l| l.split(" [").next().unwrap().to_owned())
                .collect()
        };
        wait_for("the rules are saved", SOON, || {
            std::fs::read_to_string(&saved).is_ok_and(|t| t.matches("COMMIT").count() == 2)
        });
        assert!(rules("expected").len() > 20);
        assert_eq!(rules("saved"), rules("expected"));
        wait_for("the machine is off", SOON, || run.lab.server.has_ended());
        let trial = run.trial();
        assert_eq!((trial["state"].as_str(), trial["by"].as_str()), (Some("reverted"), Some("guard")), "{trial}");
        assert!(boot_millis() < run.deadline(), "the machine is too busy for this test");
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn a_kept_trial_leaves_no_unit() {
    on_both("kept", |run| {
        run.apply();
        let out = run.lab.portcullis(&["keep", "--without-proof"]);
        assert!(out.status.success(), "{out:?}");
        run.unit_is_gone();
        assert!(!run.connects() && run.lab.server.rules().contains("PORTCULLIS"), "what was kept stays");
        assert!(!run.journal().contains("Scheduled restart job"), "{}", run.journal());
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn where_systemd_does_not_help_the_guard_is_a_process_of_its_own() {
    on_both("systemd refuses", |run| {
        // systemd-run reports that it has started the guard, but has started something else.
        run.lab.server.sh(
            "mv /usr/bin/systemd-run /usr/bin/systemd-run.real; printf '#!/bin/bash\nargs=(); for a; do \
            [ \"$a\" != -- ] || break; args+=(\"$a\"); done\nexec systemd-run.real \"${args[@]}\" -- /bin/sleep \
            98765\n' > /usr/bin/systemd-run; chmod 755 /usr/bin/systemd-run",
        );
        // The guard must not hold a lock of the calling script.
        run.apply_after("exec 9> /run/script.lock; flock 9");
        let status = run.status();
        assert_eq!(status["guard"]["home"], "detached", "{status}");
        assert!(status["remarks"][0].as_str().unwrap().contains("did not report that it is ready"), "{status}");
        assert_eq!(run.shows("LoadState"), "not-found");
        assert!(run.lab.server.pids("sleep 98765").is_empty());
        let pid = run.guard().unwrap();
        let open = run.lab.server.run(&["ls", "-l", &format!("/proc/{pid}/fd")]);
        assert!(
            !open.contains("script.lock") && !open.contains("pts") && open.matches("/dev/null").count() == 3,
            "{open}"
        );
        run.is_spared(pid);
        assert_eq!(run.lab.server.run(&["ps", "-o", "sid=", "-p", &pid.to_string()]).trim(), pid.to_string());
        run.login_comes_back(run.deadline());
        run.nothing_is_left();
    });
}

#[test]
#[ignore = "long, run by tests/run"]
fn where_there_is_no_systemd_run_it_is_not_asked() {
    on_both("no systemd-run", |run| {
        run.lab.server.sh("rm /usr/bin/systemd-run");
        run.apply();
        assert_eq!(run.status()["guard"]["home"], "detached");
        assert_eq!(run.status()["remarks"], serde_json::json!([]));
        run.login_comes_back(run.deadline());
        let (_, said) = remote(&run.lab, 0, Lab::server4(0), &format!("{PORTCULLIS} status"));
        assert!(said.contains("reverted by the guard"), "{said}");
    });
}
