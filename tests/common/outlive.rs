//! A trial that locks the operator out, as the scenarios in `tests/trial/` need it: a lab with sshd, a session that
//! applies, what was there before, and the judgement at the end; with the guard in either of its homes.

use std::io::Write;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::net::tcp_connects_within;
use super::ssh::{Terminal, login_works, start_sshd};
use super::{Backend, Lab, PORTCULLIS, full, holds_within, systemd};

/// Seconds after the deadline with a live guard, and with only the fuse.
pub const GUARD: f64 = 2.0;
pub const FUSE: f64 = 7.0;

pub const LOCK_OUT: &str = "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"22/tcp\"]\n";
pub const SOON: Duration = Duration::from_secs(15);

/// Rules loaded by others: Docker's, and an administrator's.
pub const THEIRS: &str = include_str!("../../assets/demo/iptables-save.txt");
pub const THEIRS6: &str = "*filter\n:INPUT ACCEPT [0:0]\n:theirs - [0:0]\n-A INPUT -j theirs\n-A theirs -s \
    2001:db8:ffff::/48 -j DROP\nCOMMIT\n";

/// Where the guard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A detached process.
    Detached,
    /// A service of a real systemd.
    Service,
}

impl Home {
    /// The word in `status --json`.
    fn word(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Service => "service",
        }
    }
}

/// One run: a lab with sshd, a session, and what was there before.
pub struct Run {
    pub lab: Lab,
    pub name: &'static str,
    home: Home,
    pub before: String,
    /// What boot would load.
    pub saved: [String; 2],
    pub session: Option<Terminal>,
}

/// Duration of a trial in seconds.
pub fn trial() -> u64 {
    if full() { 15 } else { 10 }
}

/// Milliseconds of CLOCK_BOOTTIME.
pub fn boot_millis() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    t.tv_sec * 1000 + t.tv_nsec / 1_000_000
}

impl Run {
    fn new(name: &'static str, home: Home, backend: Backend, rules: bool) -> Option<Self> {
        let lab = match home {
            Home::Detached => Lab::new(backend, 2, &["sshd", "ssh", "ssh-keygen"]).inspect(start_sshd)?,
            Home::Service => systemd::lab(backend, 2)?,
        };
        if rules {
            lab.server.restore("", THEIRS);
            lab.server.restore("6", THEIRS6);
        }
        let saved = ["rules.v4", "rules.v6"].map(|f| {
            lab.file(f, "# what boot loads\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n");
            std::fs::read_to_string(lab.dir.path().join(f)).unwrap()
        });
        lab.file("plan.toml", LOCK_OUT);
        let before = lab.server.rules();
        Some(Self { lab, name, home, before, saved, session: None })
    }

    /// Makes the cockpit's trials as short as those of the commands.
    pub fn short_trials(&self) {
        let config = self.lab.dir.path().join("config/portcullis");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("config.toml"), format!("trial = \"{}s\"\n", trial())).unwrap();
    }

    pub fn apply_command(&self) -> String {
        format!(
            "{PORTCULLIS} apply {}/plan.toml --yes --allow-lockout --confirm-within {}s",
            self.lab.dir.path().display(),
            trial()
        )
    }

    /// The operator applies the plan in an ssh session and stays in it; the client is then locked out.
    pub fn apply(&mut self) {
        let session = Terminal::ssh(&self.lab, 0, Lab::server4(0), &format!("{}; exec cat", self.apply_command()));
        let applied = holds_within(SOON, || session.shows().contains("the old rules come back"));
        assert!(applied, "{}: nothing was applied on\n{}\n{}", self.name, session.shows(), self.journal());
        self.session = Some(session);
        self.is_on_trial();
    }

    /// Checks that the plan locks the client out, and that the guard runs where it should.
    pub fn is_on_trial(&self) {
        assert!(!self.connects(), "{}: the plan locks the client out", self.name);
        let out = self.lab.portcullis(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(status["trial"]["guard"]["home"], self.home.word(), "{}: {status}", self.name);
    }

    pub fn connects(&self) -> bool {
        tcp_connects_within(&self.lab.clients[0], Lab::server4(0), 22, Duration::from_millis(200))
    }

    /// The deadline in the state file, in milliseconds of the boot clock.
    pub fn deadline(&self) -> i64 {
        let file = std::fs::read(self.lab.dir.path().join("run/trial.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&file).unwrap()["deadline"].as_i64().unwrap()
    }

    pub fn until_deadline(&self, less: i64) {
        let left = self.deadline() - less - boot_millis();
        std::thread::sleep(Duration::from_millis(left.max(0).cast_unsigned()));
    }

    /// Waits for the first new login of each family; it must come after the deadline, and in time.
    pub fn login_comes_back(&self, deadline: i64, limit: f64) {
        let patience =
            Duration::from_millis((deadline - boot_millis()).max(0).cast_unsigned()) + Duration::from_secs(20);
        let back = holds_within(patience, || self.connects() && login_works(&self.lab, 0, Lab::server4(0)));
        let after = (boot_millis() - deadline) as f64 / 1000.0;
        let six = login_works(&self.lab, 0, Lab::server6(0));
        let word = if back && six {
            format!("login {after:+.1} s after the deadline (limit {limit})")
        } else {
            "LOCKED OUT".to_owned()
        };
        // Written directly, so that the table is visible even when the test passes.
        let _ = std::io::stderr().lock().write_all(
            format!("outlives {} {} {:?}: {word}\n", self.name, self.home.word(), self.lab.backend).as_bytes(),
        );
        // A busy machine may be slow; where the times matter, nothing else runs.
        let slack = if full() || std::env::var_os("CI").is_some() { 0.0 } else { 3.0 };
        assert!(
            back && six && (0.0..=limit + slack).contains(&after),
            "{} {:?}: {word}\n{}\n{}",
            self.name,
            self.lab.backend,
            self.lab.server.rules(),
            self.journal()
        );
    }

    /// The messages of systemd and its services, where it runs.
    fn journal(&self) -> String {
        if self.home == Home::Service {
            self.lab.server.sh("journalctl --no-pager --output=short-monotonic")
        } else {
            String::new()
        }
    }

    /// Checks that the rules end up like this, and that what boot loads is unchanged.
    pub fn rules_come_to(&self, expected: &str) {
        if !holds_within(SOON, || self.lab.server.rules() == *expected) {
            pretty(&self.lab.server.rules(), expected, self.name);
        }
        let now = ["rules.v4", "rules.v6"].map(|f| std::fs::read_to_string(self.lab.dir.path().join(f)).unwrap());
        assert_eq!(now, self.saved, "{}: what boot loads", self.name);
    }

    /// The usual checks at the end.
    pub fn comes_back(&self, limit: f64) {
        self.login_comes_back(self.deadline(), limit);
        self.rules_come_to(&self.before);
    }

    /// Processes of the program except the guard, by their pids on the server.
    pub fn ours(&self) -> Vec<u32> {
        let guards = self.lab.server.pids("portcullis guard");
        self.lab.server.pids(PORTCULLIS).into_iter().filter(|p| !guards.contains(p)).collect()
    }
}

fn pretty(now: &str, expected: &str, name: &'static str) {
    let lines = |a: &str, b: &str| a.lines().filter(|l| !b.lines().any(|m| m == *l)).collect::<Vec<_>>().join("\n");
    panic!(
        "{name}: the rules are not what they were\nleft over:\n{}\nlost:\n{}\nnow:\n{now}",
        lines(now, expected),
        lines(expected, now)
    );
}

/// Limits what runs at once: more would measure the machine, not the program.
pub struct Limit(u32, Mutex<u32>, Condvar);

impl Limit {
    pub const fn new(at_once: u32) -> Self {
        Self(at_once, Mutex::new(0), Condvar::new())
    }

    /// Waits for a turn, which ends when it is dropped.
    pub fn turn(&'static self) -> Turn {
        let mut running = self.1.lock().unwrap();
        while *running >= self.0 {
            running = self.2.wait(running).unwrap();
        }
        *running += 1;
        Turn(self)
    }
}

/// One of those that run now.
pub struct Turn(&'static Limit);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.1.lock().unwrap() -= 1;
        self.0.2.notify_one();
    }
}

/// Scenarios, each on both variants, and labs of other tests of trials: their deadlines count, also beside each other.
pub static TRIALS: Limit = Limit::new(3);

/// Runs a scenario with the guard in both homes.
pub fn everywhere(name: &'static str, rules: bool, scenario: impl Fn(&mut Run) + Sync) {
    for home in [Home::Detached, Home::Service] {
        on_both(name, home, rules, &scenario);
    }
}

/// Runs a scenario on both variants at once.
pub fn on_both(name: &'static str, home: Home, rules: bool, scenario: impl Fn(&mut Run) + Sync) {
    let _turn = TRIALS.turn();
    std::thread::scope(|s| {
        for backend in Backend::BOTH {
            let scenario = &scenario;
            s.spawn(move || {
                if let Some(mut run) = Run::new(name, home, backend, rules) {
                    scenario(&mut run);
                }
            });
        }
    });
}
