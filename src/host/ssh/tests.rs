//! Who counts as what, judged on recorded hosts: what proc(5) shows there for each process.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::origin::{Origin, origin};
use super::procs::{Processes, Program, Stat, Tcp};
use super::session::{self, Session};

#[derive(Clone, Debug)]
struct Recorded {
    stat: Stat,
    title: String,
    root: bool,
    program: Program,
    sockets: Vec<Tcp>,
    used: i64,
}

/// A host: 10.0.0.1, with PID 1, sshd (100) on port 22, and what the test adds.
#[derive(Clone, Debug)]
struct Machine {
    processes: BTreeMap<i32, Recorded>,
    environment: Option<Tcp>,
}

const NONE: i32 = 0;
const VT: i32 = 4 << 8 | 1;
const SERIAL: i32 = 4 << 8 | 64;
const HVC: i32 = 229 << 8;
const HOST: &str = "10.0.0.1:22";
const A: &str = "192.0.2.2:5000";
const B: &str = "192.0.2.18:6000";

fn pts(n: i32) -> i32 {
    136 << 8 | n
}

fn tcp(local: &str, remote: &str) -> Tcp {
    Tcp { local: local.parse().unwrap(), remote: remote.parse().unwrap(), listens: false }
}

fn listening(local: &str) -> Tcp {
    Tcp { listens: true, ..tcp(local, "0.0.0.0:0") }
}

impl Machine {
    fn new() -> Self {
        let mut m = Self { processes: BTreeMap::new(), environment: None };
        m.add(1, 0, "systemd", NONE);
        m.add(100, 1, "sshd", NONE)
            .title("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups")
            .has(listening("0.0.0.0:22"))
            .has(listening("[::]:22"));
        m
    }

    /// Adds a process of root's; its executable has the same name.
    fn add(&mut self, pid: i32, ppid: i32, comm: &str, tty: i32) -> &mut Recorded {
        let started = u64::try_from(pid).unwrap();
        let stat = Stat { pid, ppid, comm: comm.into(), tty, started };
        let program = Program { name: comm.into(), of_root: true };
        self.processes
            .insert(pid, Recorded { stat, title: comm.into(), root: true, program, sockets: Vec::new(), used: 0 });
        self.processes.get_mut(&pid).unwrap()
    }

    /// Ann logs in: root's monitor, her process (pid + 1), her shell (pid + 2).
    fn ann(&mut self, pid: i32, from: &str, terminal: i32) -> &mut Self {
        let connection = tcp(HOST, from);
        self.add(pid, 100, "sshd", NONE).title("sshd: ann [priv]").has(connection);
        let tty = if terminal == NONE { "notty".to_owned() } else { format!("pts/{}", terminal & 0xff) };
        self.add(pid + 1, pid, "sshd", NONE).title(&format!("sshd: ann@{tty}")).has(connection).by_a_user();
        self.add(pid + 2, pid + 1, "bash", terminal).by_a_user();
        self
    }

    /// A line of descendants, starting below `ppid`.
    fn line(&mut self, pid: i32, ppid: i32, processes: &[(&str, i32)]) -> &mut Self {
        for (n, (comm, tty)) in processes.iter().enumerate() {
            let n = i32::try_from(n).unwrap();
            self.add(pid + n, if n == 0 { ppid } else { pid + n - 1 }, comm, *tty);
        }
        self
    }
}

impl Recorded {
    fn title(&mut self, title: &str) -> &mut Self {
        self.title = title.into();
        self
    }

    fn has(&mut self, socket: Tcp) -> &mut Self {
        self.sockets.push(socket);
        self
    }

    fn by_a_user(&mut self) -> &mut Self {
        self.root = false;
        self
    }

    fn runs(&mut self, name: &str, of_root: bool) -> &mut Self {
        self.program = Program { name: name.into(), of_root };
        self
    }
}

impl Processes for Machine {
    fn all(&self) -> Vec<i32> {
        self.processes.keys().copied().collect()
    }
    fn stat(&self, pid: i32) -> Option<Stat> {
        self.processes.get(&pid).map(|p| p.stat.clone())
    }
    fn title(&self, pid: i32) -> String {
        self.processes.get(&pid).map(|p| p.title.clone()).unwrap_or_default()
    }
    fn is_root(&self, pid: i32) -> bool {
        self.processes.get(&pid).is_some_and(|p| p.root)
    }
    fn program(&self, pid: i32) -> Option<Program> {
        self.processes.get(&pid).map(|p| p.program.clone())
    }
    fn sockets(&self, pid: i32) -> Vec<Tcp> {
        self.processes.get(&pid).map(|p| p.sockets.clone()).unwrap_or_default()
    }
    fn holder(&self, c: &Tcp) -> Option<i32> {
        self.processes
            .values()
            .find(|p| p.sockets.iter().any(|s| (s.local, s.remote) == (c.remote, c.local)))
            .map(|p| p.stat.pid)
    }
    fn is_own(&self, addr: IpAddr) -> bool {
        addr.is_loopback() || addr == HOST.parse::<SocketAddr>().unwrap().ip()
    }
    fn used(&self, pid: i32, terminal: &str) -> Option<(i64, i64)> {
        self.processes.get(&pid).filter(|_| terminal.starts_with("pts/")).map(|p| (p.used, 0))
    }
    fn in_environment(&self) -> Option<Tcp> {
        self.environment
    }
}

fn from(peer: &str) -> Origin {
    Origin::Ssh(peer.parse::<SocketAddr>().unwrap().ip(), 22)
}

/// Each host, and the process that asks there.
#[test]
#[allow(clippy::type_complexity, reason = "a table")]
fn who_counts_as_what() {
    let table: &[(&str, Origin, fn(&mut Machine) -> i32)] = &[
        ("an SSH session", from(A), |m| {
            m.ann(200, A, pts(0));
            202
        }),
        ("a command over SSH, without a terminal", from(A), |m| {
            m.ann(200, A, NONE);
            202
        }),
        ("root's own session has no monitor", from(A), |m| {
            m.add(200, 100, "sshd", NONE).title("sshd: root@pts/0").has(tcp(HOST, A));
            m.line(201, 200, &[("bash", pts(0))]);
            201
        }),
        ("OpenSSH 9.8 and later", from(A), |m| {
            m.add(200, 100, "sshd-session", NONE).title("sshd-session: root@pts/0").has(tcp(HOST, A));
            m.line(201, 200, &[("bash", pts(0))]);
            201
        }),
        ("sudo -E", from(A), |m| {
            m.environment = Some(tcp(HOST, A));
            m.ann(200, A, pts(0)).line(210, 202, &[("sudo", pts(0)), ("portcullis", pts(0))]);
            211
        }),
        ("sudo with use_pty", from(A), |m| {
            m.ann(200, A, pts(0)).line(210, 202, &[("sudo", pts(0)), ("sudo", pts(1)), ("portcullis", pts(1))]);
            212
        }),
        ("su -", from(A), |m| {
            m.ann(200, A, pts(0)).line(210, 202, &[("su", pts(0)), ("bash", pts(0)), ("portcullis", pts(0))]);
            212
        }),
        ("sudo setsid, below its shell still", from(A), |m| {
            m.ann(200, A, pts(0)).line(210, 202, &[("sudo", pts(0)), ("portcullis", NONE)]);
            211
        }),
        ("sudo setsid, left by its shell", Origin::Unattended, |m| {
            m.ann(200, A, pts(0)).line(210, 1, &[("portcullis", NONE)]);
            210
        }),
        ("Ansible async: its wrapper has left the session", Origin::Unattended, |m| {
            m.environment = Some(tcp(HOST, A));
            m.ann(200, A, NONE).line(210, 1, &[("python3", NONE), ("sh", NONE), ("portcullis", NONE)]);
            212
        }),
        ("cron", Origin::Unattended, |m| {
            m.line(300, 1, &[("cron", NONE), ("cron", NONE), ("sh", NONE), ("portcullis", NONE)]);
            303
        }),
        ("at", Origin::Unattended, |m| {
            m.line(300, 1, &[("atd", NONE), ("sh", NONE), ("portcullis", NONE)]);
            302
        }),
        ("systemd-run, a configuration manager's agent", Origin::Unattended, |m| {
            m.line(300, 1, &[("portcullis", NONE)]);
            300
        }),
        ("the first process's own terminal", Origin::Unattended, |m| {
            m.add(1, 0, "init", 5 << 8 | 1);
            m.line(300, 1, &[("salt-minion", 5 << 8 | 1), ("portcullis", 5 << 8 | 1)]);
            301
        }),
        ("a screen and a keyboard", Origin::Console, |m| {
            m.line(300, 1, &[("login", NONE), ("bash", VT), ("portcullis", VT)]);
            302
        }),
        ("a serial line, while others use SSH", Origin::Console, |m| {
            m.ann(200, A, pts(0)).line(300, 1, &[("login", SERIAL), ("bash", SERIAL), ("portcullis", SERIAL)]);
            302
        }),
        ("a hypervisor's console, with sudo's pseudo-terminal", Origin::Console, |m| {
            m.line(300, 1, &[("bash", HVC), ("sudo", HVC), ("sudo", pts(5)), ("portcullis", pts(5))]);
            303
        }),
        ("a console's job in the background", Origin::Console, |m| {
            m.line(300, 1, &[("bash", VT), ("portcullis", NONE)]);
            301
        }),
        ("a graphical session's terminal", Origin::Unknown, |m| {
            m.line(300, 1, &[("xterm", NONE), ("bash", pts(0)), ("portcullis", pts(0))]);
            302
        }),
        ("tmux re-attached from another address: the terminal used last", from(B), |m| {
            m.environment = Some(tcp(HOST, A));
            m.ann(200, A, pts(0)).ann(210, B, pts(1)).line(
                300,
                1,
                &[("tmux: server", NONE), ("bash", pts(2)), ("portcullis", pts(2))],
            );
            m.processes.get_mut(&211).unwrap().used = 9;
            302
        }),
        ("tmux, while another types at the next desk", from(A), |m| {
            m.ann(200, A, pts(0)).ann(210, B, pts(1)).line(
                300,
                1,
                &[("tmux: server", NONE), ("bash", pts(2)), ("portcullis", pts(2))],
            );
            m.add(220, 202, "tmux: client", pts(0));
            m.processes.get_mut(&211).unwrap().used = 9;
            302
        }),
        ("screen, its first connection gone", from(B), |m| {
            m.ann(210, B, pts(1)).line(300, 1, &[("screen", NONE), ("bash", pts(2)), ("portcullis", pts(2))]);
            302
        }),
        ("tmux, nobody there over SSH", Origin::Unknown, |m| {
            m.line(300, 1, &[("tmux: server", NONE), ("bash", pts(2)), ("portcullis", pts(2))]);
            302
        }),
        ("a job below tmux without a terminal: nobody typed it into one", Origin::Unknown, |m| {
            m.ann(200, A, pts(0)).line(300, 1, &[("bash", pts(2)), ("portcullis", NONE)]);
            301
        }),
        ("mosh, while another uses SSH", Origin::Unknown, |m| {
            m.ann(200, A, pts(0)).line(300, 1, &[("mosh-server", NONE), ("bash", pts(2)), ("portcullis", pts(2))]);
            302
        }),
        ("machinectl shell, run0", from(A), |m| {
            m.ann(200, A, pts(0)).line(300, 1, &[("bash", pts(2)), ("portcullis", pts(2))]);
            301
        }),
        ("docker exec without a terminal", Origin::Unattended, |m| {
            m.ann(200, A, pts(0)).line(300, 1, &[("containerd-shim", NONE), ("sh", NONE), ("portcullis", NONE)]);
            302
        }),
        ("docker exec -t", from(A), |m| {
            m.ann(200, A, pts(0)).line(300, 1, &[("containerd-shim", NONE), ("sh", pts(0)), ("portcullis", pts(0))]);
            302
        }),
        ("ssh from the host to itself", from(A), |m| {
            m.ann(200, A, pts(0)).add(210, 202, "ssh", pts(0)).has(tcp("127.0.0.1:7000", "127.0.0.1:22"));
            m.add(220, 100, "sshd", NONE).title("sshd: root@pts/1").has(tcp("127.0.0.1:22", "127.0.0.1:7000"));
            m.line(221, 220, &[("portcullis", pts(1))]);
            221
        }),
        ("ssh from a console to the host itself", Origin::Console, |m| {
            m.add(210, 1, "ssh", VT).has(tcp("10.0.0.1:7000", HOST));
            m.add(220, 100, "sshd", NONE).title("sshd: root@pts/1").has(tcp(HOST, "10.0.0.1:7000"));
            m.line(221, 220, &[("portcullis", pts(1))]);
            221
        }),
        ("cron's ssh to the host itself", Origin::Unattended, |m| {
            m.add(210, 1, "ssh", NONE).has(tcp("127.0.0.1:7000", "127.0.0.1:22"));
            m.add(220, 100, "sshd", NONE).title("sshd: root@notty").has(tcp("127.0.0.1:22", "127.0.0.1:7000"));
            m.line(221, 220, &[("portcullis", NONE)]);
            221
        }),
        ("from the host to itself, by whom is not to be seen", Origin::Unknown, |m| {
            m.add(220, 100, "sshd", NONE).title("sshd: root@pts/1").has(tcp("127.0.0.1:22", "127.0.0.1:7000"));
            m.line(221, 220, &[("portcullis", pts(1))]);
            221
        }),
        ("ProxyJump through another host", from(B), |m| {
            m.ann(200, B, pts(0));
            202
        }),
        ("ProxyJump through this host to itself", from(A), |m| {
            m.ann(200, A, NONE).processes.get_mut(&201).unwrap().has(tcp("127.0.0.1:7000", "127.0.0.1:22"));
            m.add(220, 100, "sshd", NONE).title("sshd: root@pts/1").has(tcp("127.0.0.1:22", "127.0.0.1:7000"));
            m.line(221, 220, &[("portcullis", pts(1))]);
            221
        }),
        ("ControlMaster: one connection, a second session", from(A), |m| {
            m.ann(200, A, pts(0)).line(210, 201, &[("bash", pts(1)), ("portcullis", pts(1))]);
            m.processes.get_mut(&201).unwrap().title("sshd: ann@pts/0,pts/1");
            211
        }),
        ("ssh -L: what sshd opened comes before its own connection", from(A), |m| {
            m.ann(200, A, pts(0));
            let ours = &mut m.processes.get_mut(&201).unwrap().sockets;
            ours.insert(0, tcp("10.0.0.1:41000", "198.51.100.7:443"));
            202
        }),
        ("ssh -R: what came in by her own socket is not her connection", from(A), |m| {
            m.ann(200, A, pts(0));
            let ours = &mut m.processes.get_mut(&201).unwrap().sockets;
            ours.splice(0..0, [listening("0.0.0.0:8080"), tcp("10.0.0.1:8080", "198.51.100.7:5")]);
            202
        }),
        ("sshd listens on another port since, ssh -L", from(A), |m| {
            m.ann(200, A, pts(0));
            m.processes.get_mut(&100).unwrap().sockets = vec![listening("0.0.0.0:2222")];
            m.processes.get_mut(&201).unwrap().has(tcp("10.0.0.1:41000", "198.51.100.7:443"));
            202
        }),
        ("systemd listens for sshd", from(A), |m| {
            m.processes.remove(&100);
            m.processes.get_mut(&1).unwrap().has(listening("[::]:22"));
            m.add(200, 1, "sshd", NONE)
                .title("sshd: root@pts/0")
                .has(tcp("10.0.0.1:41000", "198.51.100.7:443"))
                .has(tcp(HOST, A));
            m.line(201, 200, &[("portcullis", pts(0))]);
            201
        }),
        ("dropbear", from(A), |m| {
            m.add(400, 1, "dropbear", NONE).has(listening("0.0.0.0:22"));
            m.add(401, 400, "dropbear", NONE).has(tcp("10.0.0.1:41000", "198.51.100.7:443")).has(tcp(HOST, A));
            m.line(402, 401, &[("ash", pts(0)), ("portcullis", pts(0))]);
            403
        }),
        ("the variable alone, where no server can be seen: tmux below dropbear", from(A), |m| {
            m.processes.remove(&100);
            m.environment = Some(tcp(HOST, A));
            m.line(300, 1, &[("tmux: server", NONE), ("portcullis", pts(2))]);
            301
        }),
    ];
    let mut wrong = Vec::new();
    for (what, expected, set) in table {
        let mut m = Machine::new();
        let pid = set(&mut m);
        let found = origin(&m, pid);
        if found != *expected {
            wrong.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The sessions that prove access, on a host where Ann is logged in.
fn proofs(set: impl FnOnce(&mut Machine)) -> Vec<String> {
    let mut m = Machine::new();
    m.ann(200, A, pts(0));
    set(&mut m);
    let proves = |s: &Session| s.proves(&m);
    session::all(&m)
        .iter()
        .filter(|s| proves(s))
        .map(|s| format!("{} from {} at {}", s.user, s.connection.remote, s.began))
        .collect()
}

#[test]
fn a_session_that_sshd_let_in_proves_access() {
    assert_eq!(proofs(|_| {}), ["ann from 192.0.2.2:5000 at 200"]);
    // An upgrade removed the executable, which the kernel marks in its name; OpenSSH 9.8.
    let new = |m: &mut Machine| {
        for pid in [200, 201] {
            let p = m.processes.get_mut(&pid).unwrap();
            p.stat.comm = "sshd-session".into();
            p.runs("sshd-session", true);
            p.title = p.title.replace("sshd:", "sshd-session:");
        }
    };
    assert_eq!(proofs(new), ["ann from 192.0.2.2:5000 at 200"]);
    let root = |m: &mut Machine| {
        m.add(300, 100, "sshd", NONE).title("sshd: root@notty").has(tcp(HOST, B));
    };
    assert_eq!(proofs(root), ["ann from 192.0.2.2:5000 at 200", "root from 192.0.2.18:6000 at 300"]);
}

#[test]
#[allow(clippy::type_complexity, reason = "a table")]
fn what_only_looks_like_a_session_proves_nothing() {
    let table: &[(&str, fn(&mut Machine))] = &[
        ("a link to su, root's by its set-user-id bit", |m| {
            m.add(300, 202, "sshd", pts(0)).title("sshd: root@pts/0").has(tcp(HOST, B)).by_a_user().runs("su", true);
        }),
        ("a program that root runs under sshd's name", |m| {
            m.add(300, 100, "sshd", pts(0)).title("sshd: root@pts/0").has(tcp(HOST, B)).runs("bash", true);
        }),
        ("a copy of sshd in her own folder", |m| {
            m.add(300, 100, "sshd", pts(0)).title("sshd: root@pts/0").has(tcp(HOST, B)).runs("sshd", false);
        }),
        ("sshd's program, run by her below her session", |m| {
            m.add(300, 201, "sshd", NONE).title("sshd: ann@pts/7").has(tcp(HOST, B)).by_a_user();
        }),
        ("her own sshd, which listens, too", |m| {
            m.add(300, 202, "sshd", NONE).title("sshd: ann [priv]").has(listening("0.0.0.0:2222")).by_a_user();
            m.add(301, 300, "sshd", NONE).title("sshd: ann@pts/7").has(tcp("10.0.0.1:2222", B)).by_a_user();
        }),
        ("a forwarded connection is no login", |m| {
            m.add(300, 100, "sshd", NONE).title("sshd: root@notty").has(tcp("10.0.0.1:41000", B));
        }),
        ("one that came in by ssh -R", |m| {
            m.add(300, 100, "sshd", NONE)
                .title("sshd: root@notty")
                .has(listening("0.0.0.0:8080"))
                .has(tcp("10.0.0.1:8080", B));
        }),
        ("a parent that is younger: its number was another's", |m| {
            m.add(300, 100, "sshd", NONE).title("sshd: root@notty").has(tcp(HOST, B)).stat.started = 90;
        }),
        ("the host with itself", |m| {
            m.add(300, 100, "sshd", NONE).title("sshd: root@notty").has(tcp("127.0.0.1:22", "127.0.0.1:9"));
        }),
        ("not let in yet", |m| {
            for (pid, title) in [
                (300, "sshd: root [priv]"),
                (301, "sshd: [accepted]"),
                (302, "sshd: unknown [net]"),
                (303, "sshd: ann [preauth]"),
            ] {
                m.add(pid, 100, "sshd", NONE).title(title).has(tcp(HOST, B));
            }
        }),
        ("forwarding only: no session", |m| {
            m.add(300, 100, "sshd", NONE).title("sshd: root").has(tcp(HOST, B));
        }),
    ];
    for (what, set) in table {
        assert_eq!(proofs(set), ["ann from 192.0.2.2:5000 at 200"], "{what}");
    }
}

#[test]
fn who_is_logged_in_counts_without_a_terminal_too() {
    let mut m = Machine::new();
    m.ann(200, A, pts(0)).add(300, 100, "sshd", NONE).title("sshd: tunnel").has(tcp(HOST, B));
    m.add(400, 1, "dropbear", NONE).has(listening("0.0.0.0:222"));
    m.add(401, 400, "dropbear", NONE).has(tcp("10.0.0.1:222", "198.51.100.1:1"));
    m.add(402, 400, "dropbear", NONE).has(tcp("10.0.0.1:222", "198.51.100.2:1"));
    m.add(403, 402, "ash", pts(4));
    let there: Vec<String> =
        session::all(&m).iter().map(|s| format!("{} {}", s.user, s.connection.remote.ip())).collect();
    assert_eq!(there, ["ann 192.0.2.2", "tunnel 192.0.2.18", "somebody 198.51.100.2"]);
}

#[test]
fn only_an_authenticated_session_has_a_session_title() {
    let user = |t: &str| session::user(t);
    let at = |user: &str, tty: Option<&str>| Some((user.to_owned(), tty.map(str::to_owned)));
    assert_eq!(user("sshd: root@pts/0"), at("root", Some("pts/0")));
    assert_eq!(user("sshd-session: alice@notty"), at("alice", Some("notty")));
    assert_eq!(user("sshd: alice@example.org@pts/3,pts/4"), at("alice@example.org", Some("pts/3")));
    assert_eq!(user("sshd: alice@example.org"), at("alice@example.org", None));
    for none in [
        "sshd: root [priv]",
        "sshd: alice@example.org [priv]",
        "sshd: [accepted]",
        "sshd: unknown [net]",
        "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
        "/usr/sbin/sshd -D",
        "sshd: @pts/0",
        "vi sshd: x@pts/0",
        "",
    ] {
        assert_eq!(user(none), None, "{none}");
    }
}
