//! A lab for tests on the real kernel: private namespaces for one server and its clients, connected by veth pairs.
//!
//! Nothing here touches the machine on which the tests run: every firewall, `/run`, `/var/lib/nfs` and process is in
//! namespaces that end with the test process (their first process reads a pipe that only the test holds).

#![allow(clippy::print_stdout, dead_code, reason = "each test uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, runs tools and waits for conditions"
)]

pub mod layer;
pub mod net;
pub mod outlive;
pub mod ssh;
pub mod systemd;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");

/// The variant behind the plain names (`iptables`, ...) inside the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Nft,
    Legacy,
}

impl Backend {
    pub const BOTH: [Self; 2] = [Self::Nft, Self::Legacy];

    pub fn word(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }
}

/// Prints that a test cannot run here; in CI that is a failure.
pub fn not_run(why: &str) {
    // Written directly: `eprintln!` would be swallowed when the test passes.
    let _ = std::io::stderr().lock().write_all(format!("NOT RUN: {why}\n").as_bytes());
    let ci = std::env::var("CI").is_ok_and(|v| !v.is_empty() && v != "false");
    assert!(!ci, "NOT RUN in CI: {why}");
}

/// Prints what cannot be tested on such a machine; never a failure, not even in CI.
pub fn not_run_here(why: &str) {
    let _ = std::io::stderr().lock().write_all(format!("NOT RUN, optional: {why}\n").as_bytes());
}

/// Whether the long judges were requested (`tests/run --full`).
pub fn full() -> bool {
    std::env::var_os("PORTCULLIS_FULL").is_some_and(|v| !v.is_empty())
}

/// Waits until the condition holds; panics after the limit.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// Whether the condition becomes true within the limit.
pub fn holds_within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begun.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A network, mount and process namespace.
pub struct Space {
    holder: Child,
    pid: u32,
    env: Vec<(String, String)>,
}

impl Space {
    /// Creates the namespaces and runs `setup` (bash) in them.
    fn new(setup: &str) -> Self {
        let script = format!(
            "set -e\nmount -t tmpfs -o mode=755 run /run\nip link set lo up\n{setup}\necho ready\nread -r _ || true"
        );
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let mut out = BufReader::new(holder.stdout.take().unwrap());
        while line.trim() != "ready" {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "the namespace was not set up:\n{setup}");
        }
        Self { pid: holder.id(), holder, env: Vec::new() }
    }

    /// The process that holds the namespaces, by its pid outside.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process that holds the namespaces has ended. Checked from outside: a process that enters a
    /// machine which is shutting down is stopped with it (systemd stops all processes before it kills them),
    /// and nsenter(1) too.
    pub fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
    }

    /// The argument vector that runs a command in here, for a caller that starts it itself (a pty).
    pub fn enter(&self) -> Vec<String> {
        let pid = self.pid();
        [
            "nsenter".to_owned(),
            format!("--target={pid}"),
            "--net".into(),
            "--mount".into(),
            format!("--pid=/proc/{pid}/ns/pid_for_children"),
            "--".into(),
        ]
        .to_vec()
    }

    /// The environment of commands in here.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// A command in here.
    pub fn command(&self, argv: &[&str]) -> Command {
        let enter = self.enter();
        let mut c = Command::new(&enter[0]);
        c.args(&enter[1..]).args(argv).current_dir("/").stdin(Stdio::null());
        c.envs(self.env.iter().map(|(k, v)| (k, v)));
        c
    }

    /// Runs a command and waits until it exits.
    pub fn output(&self, argv: &[&str]) -> Output {
        self.command(argv).output().unwrap_or_else(|e| panic!("{argv:?}: {e}"))
    }

    /// Runs a command with standard input.
    pub fn with_input(&self, argv: &[&str], input: &str) -> Output {
        let mut child =
            self.command(argv).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed; returns its standard output.
    #[track_caller]
    pub fn run(&self, argv: &[&str]) -> String {
        text(argv, self.output(argv))
    }

    /// Runs a bash script that must succeed; returns its standard output.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.run(&["bash", "-ec", script])
    }

    /// Adds rules to what is loaded (`family` is "" or "6").
    #[track_caller]
    pub fn restore(&self, family: &str, script: &str) {
        let tool = format!("ip{family}tables-restore");
        text(&[&tool], self.with_input(&[&tool, "--noflush", "-w", "5"], script));
    }

    /// What is loaded in both families: the tables that are in use, by name, without comments and counters.
    #[track_caller]
    pub fn rules(&self) -> String {
        let text = self.sh("for f in '' 6; do echo \"# family $f\"; ip${f}tables-save -t filter; for t in \
            $(ip${f}tables-save | sed -n 's/^\\*//p' | grep -vx filter); do ip${f}tables-save -t $t; done; done");
        text.lines()
            .filter(|l| !l.starts_with("# Generated") && !l.starts_with("# Completed"))
            .map(|l| if l.starts_with(':') { l.split(" [").next().unwrap() } else { l })
            .fold(String::new(), |all, l| all + l + "\n")
    }

    /// Processes in here whose command line contains `part`, by their pids in here.
    pub fn pids(&self, part: &str) -> Vec<u32> {
        self.run(&["ps", "-eo", "pid=,args="])
            .lines()
            .filter(|l| l.contains(part))
            .filter_map(|l| l.split_whitespace().next()?.parse().ok())
            .collect()
    }

    /// Sends a signal to processes, by their pids in here.
    pub fn signal(&self, signal: &str, pids: &[u32]) {
        for pid in pids {
            // A process may have exited meanwhile.
            let _ = self.output(&["kill", signal, &pid.to_string()]);
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // When its input ends, the first process exits, and all others with it.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

#[track_caller]
fn text(argv: &[&str], out: Output) -> String {
    assert!(
        out.status.success(),
        "{argv:?}: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// One server and its clients.
pub struct Lab {
    pub backend: Backend,
    pub server: Space,
    pub clients: Vec<Space>,
    /// Files of the test, at the same path in every namespace.
    pub dir: tempfile::TempDir,
}

impl Lab {
    /// A lab, or `None` with a NOT RUN message if it is not possible here. `tools` are needed in addition to those of
    /// the lab itself.
    pub fn new(backend: Backend, clients: usize, tools: &[&str]) -> Option<Self> {
        Self::with(backend, clients, tools, |_| Some(Space::new(&server_setup(backend))))
    }

    /// The same with a server made differently, from the test's directory.
    fn with(
        backend: Backend,
        clients: usize,
        tools: &[&str],
        server: impl FnOnce(&Path) -> Option<Space>,
    ) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            not_run("private firewalls need root");
            return None;
        }
        let legacy = ["xtables-legacy-multi"];
        let own = ["unshare", "nsenter", "ip", "iptables-save", "ip6tables-restore", "ps"];
        let needed = own.iter().chain(tools).chain(legacy.iter().filter(|_| backend == Backend::Legacy));
        if let Some(missing) = needed.copied().find(|t| find(t).is_none()) {
            not_run(&format!("{missing} is not installed"));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("portcullis-lab-").tempdir().unwrap();
        for sub in ["run", "state"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
            fs::set_permissions(dir.path().join(sub), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        let mut server = server(dir.path())?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        server.env = [("RUN_DIR", "run"), ("STATE_DIR", "state"), ("RULES_V4", "rules.v4"), ("RULES_V6", "rules.v6")]
            .map(|(var, name)| (format!("PORTCULLIS_{var}"), path(name)))
            .to_vec();
        let clients: Vec<Space> = (0..clients).map(|_| Space::new("")).collect();
        let lab = Self { backend, server, clients, dir };
        let version = lab.server.run(&["iptables", "--version"]);
        assert!(
            version.contains(if backend == Backend::Nft { "nf_tables" } else { "legacy" }),
            "{backend:?}: {version}"
        );
        for i in 0..lab.clients.len() {
            lab.join(i);
        }
        Some(lab)
    }

    /// Connects a client to the server by a veth pair with addresses of both families.
    fn join(&self, i: usize) {
        let (s, c) = (self.server.pid().to_string(), self.clients[i].pid().to_string());
        // Only the network namespace is entered here, so the client is named by its outside pid.
        let out = Command::new("nsenter")
            .args([
                "--target",
                &s,
                "--net",
                "--",
                "ip",
                "link",
                "add",
                &format!("lan{i}"),
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                &c,
            ])
            .output()
            .unwrap();
        text(&["ip link add"], out);
        let (v4, v6) = (Self::server4(i), Self::server6(i));
        self.server.sh(&format!(
            "ip addr add {v4}/28 dev lan{i}; ip addr add {v6}/64 dev lan{i} nodad; ip link set lan{i} up"
        ));
        let (own4, own6) = (Self::client4(i), Self::client6(i));
        self.clients[i].sh(&format!(
            "ip addr add {own4}/28 dev eth0; ip addr add {own6}/64 dev eth0 nodad; ip link set eth0 up; \
             ip route add default via {v4}; ip -6 route add default via {v6}"
        ));
    }

    /// The server's IPv4 address facing a client.
    pub fn server4(client: usize) -> IpAddr {
        IpAddr::from([192, 0, 2, 16 * client as u8 + 1])
    }

    /// A client's IPv4 address.
    pub fn client4(client: usize) -> IpAddr {
        IpAddr::from([192, 0, 2, 16 * client as u8 + 2])
    }

    /// The server's IPv6 address facing a client.
    pub fn server6(client: usize) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, client as u16, 0, 0, 0, 0, 1])
    }

    /// A client's IPv6 address.
    pub fn client6(client: usize) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, client as u16, 0, 0, 0, 0, 2])
    }

    /// Makes a tool fail with a given argument, in the server's own network namespace only (not in a throw-away one).
    pub fn break_here(&self, tool: &str, argument: &str) {
        self.server.sh(&format!(
            "real=$(readlink -f /usr/sbin/{tool}); printf '#!/bin/bash\n\
            if [ \"$(readlink /proc/self/ns/net)\" = \"%s\" ]; then for a; do [ \"$a\" != \"%s\" ] || {{ echo \
            \"{tool}: line 2 failed: broken for the test\" >&2; exit 1; }}; done; fi\nexec -a {tool} %s \"$@\"\n\
            ' \"$(readlink /proc/self/ns/net)\" '{argument}' \"$real\" > /run/{tool}.broken; chmod 755 \
            /run/{tool}.broken; ln -sfn /run/{tool}.broken /etc/alternatives/{tool}"
        ));
    }

    /// Undoes [`Lab::break_here`].
    pub fn mend(&self, tool: &str) {
        let (family, what) = tool.split_once("tables").unwrap();
        self.server
            .sh(&format!("ln -sfn /usr/sbin/{family}tables-{}{what} /etc/alternatives/{tool}", self.backend.word()));
    }

    /// Runs the program on the server as a script would, without the terminal of the test run.
    pub fn portcullis(&self, args: &[&str]) -> Output {
        let argv: Vec<&str> = ["setsid", "--wait", PORTCULLIS].into_iter().chain(args.iter().copied()).collect();
        self.server.output(&argv)
    }

    /// The rules that result when boot loads the saved files: alone, in a fresh namespace.
    #[track_caller]
    pub fn loaded_afresh(&self) -> String {
        let dir = self.dir.path().display();
        self.server.sh(&format!(
            "unshare -n sh -ec 'iptables-restore < {dir}/rules.v4; ip6tables-restore < {dir}/rules.v6; \
            iptables-save; ip6tables-save'"
        ))
    }

    /// Writes a file of the test and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Starts a real rpcbind with a real statd, and waits for both.
    pub fn start_rpcbind(&self) {
        self.server
            .sh("mkdir -p /run/rpcbind /run/sendsigs.omit.d; mount -t tmpfs nfs /var/lib/nfs; mkdir /var/lib/nfs/sm \
            /var/lib/nfs/sm.bak; : > /var/lib/nfs/state; rpcbind -w; rpc.statd --no-notify");
        wait_for("rpcbind lists statd", Duration::from_secs(10), || {
            String::from_utf8_lossy(&self.server.output(&["rpcinfo", "-p"]).stdout).contains("status")
        });
    }
}

/// Our rules in a listing.
pub fn ours(text: &str) -> Vec<String> {
    text.lines().filter(|l| l.contains("PORTCULLIS") && l.starts_with("-A")).map(str::to_owned).collect()
}

/// Selects the variant as an administrator would (update-alternatives), in a private copy. Root's shell ignores this
/// machine's start-up files, and the lab has login records of its own.
fn server_setup(backend: Backend) -> String {
    let word = backend.word();
    format!(
        "cp -a /etc/alternatives /run/alternatives\n\
        for f in ip ip6; do for t in '' -save -restore; do ln -sfn /usr/sbin/${{f}}tables-{word}$t \
        /run/alternatives/${{f}}tables$t; done; done\nmount --bind /run/alternatives /etc/alternatives\n\
        for f in .bashrc .bash_profile .bash_login .profile; do [ ! -e /root/$f ] || mount --bind /dev/null /root/$f; \
        done\n\
        sed 's/^root:[^:]*:/root:*:/' /etc/shadow > /run/shadow; chmod 600 /run/shadow; mount --bind /run/shadow \
        /etc/shadow\n\
        for f in wtmp wtmp.1 lastlog; do [ ! -e /var/log/$f ] || {{ install -m 664 -g utmp /dev/null /run/$f; mount \
        --bind /run/$f /var/log/$f; }}; done\n\
        [ ! -e /var/log/journal ] || mount -t tmpfs -o mode=2755 journal /var/log/journal\n\
        for c in all default; do echo 0 > /proc/sys/net/ipv4/conf/$c/rp_filter; done"
    )
}

/// The path of a tool.
pub fn find(tool: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().map(|d| Path::new(d).join(tool)).find(|p| p.exists())
}
