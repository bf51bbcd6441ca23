//! The built-in host: a Docker host and NFS server whose rpcbind is open to the world. It exists in memory only and
//! answers the same tools as the live host, so that everything above `host/` runs on it unchanged. It starts no
//! process, touches no file and sends no packet.

mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{
    Cmd, Held, Holder, Home, Host, Identity, Now, Output, Paths, Rights, SshSession, Stands, Stop, ToolError, Tools,
    files,
};
use crate::model::{Family, Login, LoginSource, Logins, Operator, Ruleset, Source};
use crate::syntax::iptables_save;

/// The initial files of the host.
const FILES: &[(&str, &str)] = &[
    ("/etc/exports", include_str!("../../assets/demo/exports.txt")),
    ("/etc/hostname", "nfs1\n"),
    ("/proc/sys/net/ipv4/ip_forward", "1\n"),
    ("/proc/sys/net/ipv6/conf/all/forwarding", "0\n"),
    ("/proc/net/if_inet6", "20010db8000000000000000000000010 02 40 00 80     eth0\n"),
    ("/proc/net/ip_tables_names", ""),
    ("/proc/net/ip6_tables_names", ""),
    // Debian's iptables-persistent, enabled.
    ("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
    ("/usr/share/netfilter-persistent/plugins.d/15-ip4tables", "#!/bin/sh\n"),
    ("/usr/share/netfilter-persistent/plugins.d/25-ip6tables", "#!/bin/sh\n"),
    ("/etc/systemd/system/multi-user.target.wants/netfilter-persistent.service", "[Unit]\n"),
    // The host runs systemd.
    ("/run/systemd/system/.keep", ""),
    ("/usr/bin/portcullis", ""),
];

/// Names that resolve on the host, as if from its `/etc/hosts`.
const NAMES: &[(&str, &[&str])] = &[
    ("localhost", &["127.0.0.1", "::1"]),
    ("nfs1", &["192.0.2.10", "2001:db8::10"]),
    ("node1", &["192.0.2.11", "2001:db8::11"]),
    ("node2", &["192.0.2.12"]),
    ("admin", &["10.0.0.5"]),
];

/// Runs the guard of a trial, by the trial's id. Injected, because `host/` must not depend on the guard.
pub type RunGuard = Arc<dyn Fn(Demo, &str) + Send + Sync>;

/// Whether the loaded rules accept a new SSH login of the operator. Injected, because the judge lives above `host/`.
pub type LetsIn = Arc<dyn Fn(&Demo) -> bool + Send + Sync>;

/// How a tool is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// It exits with a message and an error status.
    Fails,
    /// It succeeds and prints nothing.
    PrintsNothing,
    /// It hangs until its timeout, which passes on the host's clocks.
    Hangs,
    /// Another process holds the xtables lock for longer than the tool waits; that time passes too.
    Locked,
}

/// The operator opens a second login this long after the last change of the rules.
const SECOND_LOGIN: Duration = Duration::from_secs(4);

/// The operator's own address.
const OPERATOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5));

/// The host in memory. Clones are other processes on the same machine.
#[derive(Clone)]
pub struct Demo {
    paths: Paths,
    machine: Arc<Mutex<Machine>>,
    /// The process that this handle represents.
    pid: u32,
    booted: Instant,
    guard: Option<RunGuard>,
    lets_in: Option<LetsIn>,
}

/// State shared by all processes on the machine.
struct Machine {
    rules: [Ruleset; 2],
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Process id of each lock's holder.
    locks: BTreeMap<PathBuf, u32>,
    processes: BTreeSet<u32>,
    /// The last process id given out; none is reused.
    last_pid: u32,
    announced: Vec<String>,
    /// Wall clock at boot, seconds since 1970 UTC.
    wall_at_boot: i64,
    /// Tools that fail, and how many more calls will fail.
    broken: BTreeMap<String, (u32, Breakage)>,
    /// When the rules last changed (time since boot), and whether the operator has tried a second login since.
    changed: Option<(Duration, bool)>,
    operator: Operator,
    logins: Logins,
    sessions: Vec<SshSession>,
    /// Time added by tests to the time since boot.
    skipped: Duration,
    /// The directory whose file system is read-only now.
    read_only: Option<PathBuf>,
}

impl Default for Demo {
    fn default() -> Self {
        Self::new()
    }
}

impl Demo {
    /// The host in its initial state.
    #[allow(clippy::disallowed_methods, reason = "this is the host's clock")]
    pub fn new() -> Self {
        let read = |text, family| iptables_save::read(text, family).0;
        let pid = 2200;
        Self {
            paths: Paths {
                run: "/run/portcullis".into(),
                state: "/var/lib/portcullis".into(),
                rules: [None, None],
                etc: "/etc/portcullis".into(),
            },
            machine: Arc::new(Mutex::new(Machine {
                rules: [
                    read(include_str!("../../assets/demo/iptables-save.txt"), Family::V4),
                    read(include_str!("../../assets/demo/ip6tables-save.txt"), Family::V6),
                ],
                files: FILES.iter().map(|(p, text)| (PathBuf::from(p), text.as_bytes().to_vec())).collect(),
                locks: BTreeMap::new(),
                processes: BTreeSet::from([pid]),
                last_pid: pid,
                announced: Vec::new(),
                wall_at_boot: jiff::Timestamp::now().as_second(),
                broken: BTreeMap::new(),
                changed: None,
                operator: Operator::Ssh(OPERATOR),
                logins: Logins { found: Vec::new(), read: vec![LoginSource::Sessions], ports: vec![22] },
                sessions: vec![SshSession { user: "root".to_owned(), peer: OPERATOR, port: 22, began: Duration::ZERO }],
                skipped: Duration::ZERO,
                read_only: None,
            })),
            pid,
            booted: Instant::now(),
            guard: None,
            lets_in: None,
        }
    }

    /// The same host with a guard: `guard` runs in a thread of its own.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Fn(Self, &str) + Send + Sync + 'static) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    /// The same host, with an operator who tries a second login after each change; `lets_in` decides
    /// whether it succeeds.
    #[must_use]
    pub fn with_second_login(mut self, lets_in: impl Fn(&Self) -> bool + Send + Sync + 'static) -> Self {
        self.lets_in = Some(Arc::new(lets_in));
        self
    }

    /// The same host used by another operator, who may be one of these logins.
    #[must_use]
    pub fn used_by(self, operator: Operator, logins: Vec<Login>) -> Self {
        {
            let mut machine = self.machine();
            machine.operator = operator;
            machine.logins.found = logins;
        }
        self
    }

    /// Somebody logs in from another host now.
    pub fn log_in(&self, user: &str, peer: IpAddr) {
        let began = self.now().boot;
        self.machine().sessions.push(SshSession { user: user.to_owned(), peer, port: 22, began });
    }

    /// Another process on the same machine.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut other = self.clone();
        let mut machine = self.machine();
        machine.last_pid += 7;
        other.pid = machine.last_pid;
        machine.processes.insert(other.pid);
        drop(machine);
        other
    }

    /// This process exits.
    pub fn end(&self) {
        self.end_process(self.pid);
    }

    /// Ends another process.
    pub fn end_process(&self, pid: u32) {
        self.machine().processes.remove(&pid);
    }

    /// Lets time pass on both clocks.
    pub fn pass(&self, time: Duration) {
        self.machine().skipped += time;
    }

    /// Steps the wall clock, as an administrator or NTP may; the boot clock, which deadlines use, is not affected.
    pub fn step_wall(&self, seconds: i64) {
        self.machine().wall_at_boot += seconds;
    }

    /// Makes a tool, or a tool with this first argument, fail on its next `times` calls.
    pub fn break_tool(&self, tool: &str, times: u32) {
        self.break_tool_so(tool, times, Breakage::Fails);
    }

    /// Makes the next `times` readings of a family fail: those of one chain, and those of everything loaded.
    pub fn break_reading(&self, family: Family, times: u32, how: Breakage) {
        self.break_tool_so(&family.tool(" -S"), times, how);
        self.break_tool_so(&family.tool("-save"), times, how);
    }

    /// The same as [`Self::break_tool`], failing in the given way.
    pub fn break_tool_so(&self, tool: &str, times: u32, how: Breakage) {
        self.machine().broken.insert(tool.to_owned(), (times, how));
    }

    /// Makes a directory's file system read-only, or with `None` everything writable again.
    pub fn read_only(&self, dir: Option<&Path>) {
        self.machine().read_only = dir.map(Path::to_owned);
    }

    fn written(&self, path: &Path) -> io::Result<()> {
        let stops = self.machine().read_only.as_ref().is_some_and(|dir| path.starts_with(dir));
        if stops { Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "Read-only file system")) } else { Ok(()) }
    }

    /// What has been sent to the log and the terminals so far.
    pub fn announced(&self) -> Vec<String> {
        self.machine().announced.clone()
    }

    /// The rules loaded now.
    pub fn loaded(&self, family: Family) -> Ruleset {
        self.machine().rules[family.index()].clone()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        // Each change is a single step, so the machine is consistent even after a panic elsewhere.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock of the host in memory.
struct Lock {
    machine: Arc<Mutex<Machine>>,
    path: PathBuf,
}

impl Held for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner).locks.remove(&self.path);
    }
}

/// A process that exits when this is dropped, also during a panic.
struct Process(Demo);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn not_there(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

impl Tools for Demo {
    fn run(&self, cmd: &Cmd) -> Result<Output, ToolError> {
        let Now { wall, boot } = self.now();
        let mut machine = self.machine();
        if cmd.tool.ends_with("tables-restore") {
            machine.changed = Some((boot, false));
        }
        let named = cmd.args.first().map_or_else(|| cmd.tool.clone(), |a| format!("{} {a}", cmd.tool));
        let broken = [&cmd.tool, &named]
            .into_iter()
            .find(|n| machine.broken.get(*n).is_some_and(|(left, _)| *left > 0))
            .and_then(|n| machine.broken.get_mut(n));
        if let Some((left, how)) = broken {
            *left -= 1;
            return match how {
                Breakage::Fails => Ok(tools::failed(&format!("{}: Resource temporarily unavailable.", cmd.tool), 4)),
                Breakage::PrintsNothing => Ok(Output::default()),
                Breakage::Locked => {
                    let waits =
                        cmd.args.iter().skip_while(|a| *a != "-w").nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
                    machine.skipped += Duration::from_secs(waits);
                    Ok(tools::failed("Another app is currently holding the xtables lock. Stopped waiting.", 4))
                }
                Breakage::Hangs => {
                    machine.skipped += cmd.timeout;
                    Err(ToolError::TimedOut { tool: cmd.tool.clone(), after: cmd.timeout })
                }
            };
        }
        if cmd.tool == "systemctl" {
            return Ok(tools::systemctl(cmd, &mut machine.files));
        }
        tools::answer(cmd, &mut machine.rules, wall).ok_or_else(|| ToolError::Missing { tool: cmd.tool.clone() })
    }

    fn lock_holders(&self, path: &Path) -> Vec<Holder> {
        let holder = |&pid: &u32| Holder { pid, started: u64::from(pid), command: "portcullis".to_owned() };
        self.machine().locks.get(path).filter(|pid| **pid != self.pid).map(holder).into_iter().collect()
    }
}

impl Host for Demo {
    fn source(&self) -> Source {
        Source::Demo
    }

    fn name(&self) -> String {
        "nfs1".to_owned()
    }

    fn rights(&self) -> Rights {
        Rights::Root
    }

    fn paths(&self) -> &Paths {
        &self.paths
    }

    fn identity(&self) -> Identity {
        Identity { boot_id: "demo".to_owned(), netns: 1 }
    }

    fn now(&self) -> Now {
        let machine = self.machine();
        let boot = self.booted.elapsed() + machine.skipped;
        Now { wall: machine.wall_at_boot + i64::try_from(boot.as_secs()).unwrap_or(0), boot }
    }

    #[allow(clippy::disallowed_methods, reason = "this is the host's clock")]
    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }

    fn throwaway(&self) -> Result<Box<dyn Tools>, String> {
        let other = Self::new();
        other.machine().rules = [Ruleset::new(Family::V4), Ruleset::new(Family::V6)];
        Ok(Box::new(other))
    }

    fn find(&self, tool: &str) -> Option<PathBuf> {
        tools::NAMES.contains(&tool).then(|| Path::new("/usr/sbin").join(tool))
    }

    fn program(&self) -> Option<PathBuf> {
        Some("/usr/bin/portcullis".into())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.machine().files.get(path).cloned().ok_or_else(|| not_there(path))
    }

    fn write(&self, path: &Path, bytes: &[u8], _mode: u32) -> io::Result<()> {
        self.written(path)?;
        self.machine().files.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn stands(&self, path: &Path) -> io::Result<Stands> {
        Ok(match self.machine().files.iter().find(|(p, _)| p.starts_with(path)) {
            None => Stands::Nothing,
            Some((p, bytes)) if p == path => {
                Stands::File { names: 1, size: bytes.len() as u64, runs: bytes.starts_with(b"#!") }
            }
            Some(_) => Stands::Other("a directory"),
        })
    }

    fn sweep(&self, dir: &Path) -> Vec<PathBuf> {
        let mut machine = self.machine();
        let left: Vec<PathBuf> = machine
            .files
            .keys()
            .filter(|p| p.parent() == Some(dir))
            .filter(|p| {
                p.file_name()
                    .and_then(|n| n.to_str())
                    .and_then(files::writer_of)
                    .is_some_and(|(pid, _)| !machine.processes.contains(&pid))
            })
            .cloned()
            .collect();
        for path in &left {
            machine.files.remove(path);
        }
        left
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.written(path)?;
        self.machine().files.remove(path).map(|_| ()).ok_or_else(|| not_there(path))
    }

    fn list(&self, dir: &Path) -> Vec<String> {
        let machine = self.machine();
        let names: BTreeSet<String> = machine
            .files
            .keys()
            .filter_map(|p| p.strip_prefix(dir).ok()?.components().next())
            .map(|c| c.as_os_str().to_string_lossy().into_owned())
            .collect();
        names.into_iter().collect()
    }

    fn make_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn Held>>> {
        // A directory can be locked on a read-only file system; a lock file that does not exist yet cannot
        // be created there.
        if path != self.paths.run {
            self.written(path)?;
        }
        let end = self.booted.elapsed() + wait;
        loop {
            let mut machine = self.machine();
            if !machine.locks.contains_key(path) {
                machine.locks.insert(path.to_owned(), self.pid);
                return Ok(Some(Box::new(Lock { machine: Arc::clone(&self.machine), path: path.to_owned() })));
            }
            drop(machine);
            if self.booted.elapsed() >= end {
                return Ok(None);
            }
            self.pause(Duration::from_millis(10));
        }
    }

    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(addr) = name.parse() {
            return Ok(vec![addr]);
        }
        NAMES
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, addrs)| addrs.iter().filter_map(|a| a.parse().ok()).collect())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("the demo host does not know the name {name}"))
            })
    }

    fn ssh_peer(&self) -> Option<(IpAddr, u16)> {
        self.operator().peer().map(|peer| (peer, 22))
    }

    fn operator(&self) -> Operator {
        self.machine().operator
    }

    fn logins(&self) -> Logins {
        self.machine().logins.clone()
    }

    fn ssh_sessions(&self) -> Vec<SshSession> {
        let now = self.now().boot;
        let due = {
            let mut machine = self.machine();
            match &mut machine.changed {
                Some((at, tried)) if !*tried && now >= *at + SECOND_LOGIN => {
                    *tried = true;
                    true
                }
                _ => false,
            }
        };
        if due && self.lets_in.as_ref().is_some_and(|f| f(self)) {
            self.machine().sessions.push(SshSession { user: "root".to_owned(), peer: OPERATOR, port: 22, began: now });
        }
        self.machine().sessions.clone()
    }

    fn guard_homes(&self) -> Vec<Home> {
        vec![Home::Detached]
    }

    fn start_guard(&self, id: &str, _home: Home) -> io::Result<Stop> {
        let run = self.guard.clone().ok_or_else(|| io::Error::other("this demo host cannot run guards"))?;
        let other = self.fork();
        let id = id.to_owned();
        thread::Builder::new().name("demo guard".into()).spawn(move || {
            let process = Process(other);
            run(process.0.clone(), &id);
        })?;
        // A thread cannot be killed; the guard returns when its trial is over.
        Ok(Box::new(|| ()))
    }

    fn alive(&self, pid: u32, started: u64) -> bool {
        started == u64::from(pid) && self.machine().processes.contains(&pid)
    }

    fn me(&self) -> (u32, u64) {
        (self.pid, u64::from(self.pid))
    }

    fn end_leftovers(&self, _trial: &str, holders: &[(u32, u64)]) {
        // Tools here finish before they return, so none is ever left over.
        for &(pid, _) in holders {
            self.end_process(pid);
        }
    }

    fn log(&self, _text: &str) {
        // There is no log to read.
    }

    fn announce(&self, text: &str) {
        self.machine().announced.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(host: &Demo, tool: &str, args: &[&str]) -> String {
        host.run(&Cmd::new(tool, args)).unwrap().text()
    }

    #[test]
    fn a_change_is_applied_and_read_back_in_one_transaction_per_table() {
        let host = Demo::new();
        let before = save(&host, "iptables-save", &["-c"]);
        assert!(before.contains("\n[388104:204718337] -A FORWARD -j DOCKER-USER\n"), "{before}");
        let restore =
            |text: &str| host.run(&Cmd::new("iptables-restore", &["--noflush", "-w", "5"]).input(text)).unwrap();
        assert_eq!(restore("*filter\n:PORTCULLIS - [0:0]\n-A PORTCULLIS -s 192.0.2.1/32 -j DROP\nCOMMIT\n").status, 0);
        let with = save(&host, "iptables-save", &["-t", "filter"]);
        assert!(
            with.contains("\n-A PORTCULLIS -s 192.0.2.1/32 -j DROP\n") && with.contains("-A DOCKER-USER -j RETURN"),
            "{with}"
        );
        let bad = restore("*filter\n-A INPUT -j DROP\n-A NOWHERE -j DROP\nCOMMIT\n");
        assert_ne!(bad.status, 0);
        assert!(bad.complaint().contains("line 3"), "{}", bad.complaint());
        assert!(!save(&host, "iptables-save", &[]).contains("-A INPUT -j DROP"));
        assert_eq!(restore("*filter\n-F PORTCULLIS\n-X PORTCULLIS\nCOMMIT\n").status, 0);
        let rules = |text: &str| text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(rules(&save(&host, "iptables-save", &["-c"])), rules(&before));
    }

    #[test]
    fn without_noflush_a_named_table_is_replaced_whole() {
        let host = Demo::new();
        let text = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n";
        assert_eq!(host.run(&Cmd::new("iptables-restore", &["--test"]).input(text)).unwrap().status, 0);
        assert!(host.loaded(Family::V4).chain("filter", "DOCKER").is_some(), "--test changes nothing");
        host.run(&Cmd::new("iptables-restore", &[]).input(text)).unwrap();
        assert!(host.loaded(Family::V4).chain("filter", "DOCKER").is_none());
        assert!(host.loaded(Family::V4).chain("nat", "DOCKER").is_some());
    }

    #[test]
    fn files_and_locks_are_shared_by_the_processes_of_the_machine() {
        let host = Demo::new();
        let other = host.clone();
        let path = Path::new("/run/portcullis/lock");
        let held = host.lock(path, Duration::ZERO).unwrap().unwrap();
        assert!(other.lock(path, Duration::ZERO).unwrap().is_none());
        drop(held);
        assert!(other.lock(path, Duration::ZERO).unwrap().is_some());
        host.write(Path::new("/run/portcullis/a/b"), b"x", 0o600).unwrap();
        assert_eq!(other.read(Path::new("/run/portcullis/a/b")).unwrap(), b"x");
        assert_eq!(other.list(Path::new("/run/portcullis")), ["a"]);
        assert_eq!(other.remove(Path::new("/none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_guard_is_a_process_of_its_own() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Mutex::new(ended);
        let host = Demo::new().with_guard(move |host, id| {
            tell.send((host.me(), id.to_owned())).unwrap();
            let _ = ended.lock().unwrap().recv();
        });
        let _stop = host.start_guard("t1", Home::Detached).unwrap();
        let ((pid, started), id) = told.recv().unwrap();
        assert_eq!(id, "t1");
        assert_ne!(pid, host.me().0);
        assert!(host.alive(pid, started) && !host.alive(pid, started + 1));
        end.send(()).unwrap();
        let limit = Duration::from_secs(10);
        while host.alive(pid, started) {
            assert!(host.now().boot < limit, "the guard ended, its process did not");
            host.pause(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_wall_clock_may_step_and_tools_may_fail() {
        let host = Demo::new();
        let before = host.now();
        host.step_wall(3600);
        assert!(host.now().wall >= before.wall + 3600 && host.now().boot < before.boot + Duration::from_mins(1));
        host.break_tool("ip6tables-restore", 1);
        let run =
            || host.run(&Cmd::new("ip6tables-restore", &["--noflush"]).input("*filter\nCOMMIT\n")).unwrap().status;
        assert_eq!([run(), run()], [4, 0]);
        assert_eq!(
            host.run(&Cmd::new("firewall-cmd", &[])).unwrap_err(),
            ToolError::Missing { tool: "firewall-cmd".into() }
        );
    }
}
