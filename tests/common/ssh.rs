//! A real sshd on the server of a lab, and its clients.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use super::{Lab, PORTCULLIS, Space, holds_within, wait_for};

/// Starts sshd with its own keys on port 22 of the server, and waits until it listens.
pub fn start_sshd(lab: &Lab) {
    let config = configure_sshd(lab, "UsePAM no");
    lab.server.sh(&format!("mkdir -p /run/sshd; /usr/sbin/sshd -f {config} -E {}/sshd.log", lab.dir.path().display()));
    wait_for_sshd(lab);
}

/// Makes keys and writes the configuration; returns its path.
pub fn configure_sshd(lab: &Lab, more: &str) -> String {
    let dir = lab.dir.path().display();
    for key in ["host_key", "user_key"] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f", &format!("{dir}/{key}")])
            .status()
            .unwrap();
        assert!(made.success());
    }
    let env: String = lab.server.env().iter().fold(String::new(), |all, (k, v)| format!("{all} {k}={v}"));
    let env = if env.is_empty() { env } else { format!("SetEnv{env}") };
    let config = format!(
        "Port 22\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/user_key.pub\nPidFile none\nStrictModes no\n\
        UseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
        PrintMotd no\nMaxStartups 100\n{env}\n{more}\n"
    );
    lab.file("sshd_config", &config)
}

/// Waits until the first client can log in.
pub fn wait_for_sshd(lab: &Lab) {
    if !lab.clients.is_empty() {
        wait_for("sshd lets the first client in", Duration::from_secs(10), || login_works(lab, 0, Lab::server4(0)));
    }
}

/// The ssh command in a client's namespace, up to the remote command.
fn ssh(lab: &Lab, to: IpAddr) -> Vec<String> {
    ssh_as(lab, "root", to, &[])
}

/// The same for another user, with more options.
pub fn ssh_as(lab: &Lab, user: &str, to: IpAddr, options: &[&str]) -> Vec<String> {
    let dir = lab.dir.path().display();
    let mut words: Vec<String> = [
        "ssh",
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=1",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "ControlPath=none",
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend(options.iter().map(|&o| o.to_owned()));
    words.extend(["-i".into(), format!("{dir}/user_key"), format!("{user}@{to}")]);
    words
}

/// Whether a new login works now.
pub fn login_works(lab: &Lab, client: usize, to: IpAddr) -> bool {
    let mut words = ssh(lab, to);
    words.push("true".into());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    lab.clients[client].output(&words).status.success()
}

/// Runs a command by ssh; returns its standard output and whether it succeeded.
pub fn remote(lab: &Lab, client: usize, to: IpAddr, command: &str) -> (bool, String) {
    let mut words = ssh(lab, to);
    words.push(command.into());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let out = lab.clients[client].output(&words);
    (out.status.success(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

impl Lab {
    /// Opens a connection that others may share; returns the client that holds it.
    pub fn master(&self, client: usize, to: IpAddr, control: &Path) -> std::process::Child {
        let mut words = ssh(self, to);
        words.splice(1..1, ["-M", "-N", "-S", &control.display().to_string()].map(str::to_owned));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let child = self.clients[client].command(&words).spawn().unwrap();
        wait_for("the shared connection is open", Duration::from_secs(10), || control.exists());
        child
    }

    /// Runs a command through a shared connection; returns whether it succeeded, and its output.
    pub fn through(&self, control: &Path, client: usize, to: IpAddr, command: &str) -> (bool, String) {
        let control = control.display().to_string();
        let out = self.clients[client].output(&["ssh", "-F", "none", "-S", &control, &format!("root@{to}"), command]);
        (
            out.status.success(),
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)),
        )
    }
}

/// A program in a terminal of the test; its output is kept as a screen.
pub struct Terminal {
    pub child: Box<dyn portable_pty::Child + Send + Sync>,
    writer: Option<Box<dyn Write + Send>>,
    master: Option<Box<dyn portable_pty::MasterPty + Send>>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Starts a command in a namespace in an 80x24 terminal.
    pub fn start(space: &Space, argv: &[&str]) -> Self {
        let pair =
            native_pty_system().openpty(PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 }).unwrap();
        let enter = space.enter();
        let mut command = CommandBuilder::new(&enter[0]);
        command.args(&enter[1..]);
        command.args(argv);
        command.cwd("/");
        command.env("TERM", "xterm-256color");
        for (k, v) in space.env() {
            command.env(k, v);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24.try_into().unwrap(), 80.try_into().unwrap(), 0)));
        let shared = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                shared.lock().unwrap().process(&bytes[..n]);
            }
        });
        let writer = pair.master.take_writer().unwrap();
        Self { child, writer: Some(writer), master: Some(pair.master), screen }
    }

    /// An ssh session with a terminal from a client to the server, running a command there.
    pub fn ssh(lab: &Lab, client: usize, to: IpAddr, command: &str) -> Self {
        Self::ssh_to_port(lab, client, to, 22, command)
    }

    /// The same to another port.
    pub fn ssh_to_port(lab: &Lab, client: usize, to: IpAddr, port: u16, command: &str) -> Self {
        let mut words = ssh(lab, to);
        words.splice(1..1, ["-tt".to_owned(), "-p".to_owned(), port.to_string()]);
        words.push(command.into());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Self::start(&lab.clients[client], &words)
    }

    /// The cockpit in an ssh session, with data and configuration directories that the test can see;
    /// `args` follow `portcullis`.
    pub fn cockpit(lab: &Lab, client: usize, to: IpAddr, args: &str) -> Self {
        let dir = lab.dir.path().display();
        // The output of stty before and after is stored: the terminal's modes must be the shell's again.
        Self::ssh(
            lab,
            client,
            to,
            &format!(
                "stty -g > {dir}/stty.before; LANG=C.UTF-8 XDG_DATA_HOME={dir}/data XDG_CONFIG_HOME={dir}/config \
            {PORTCULLIS} {args}; c=$?; stty -g > {dir}/stty.after; exit $c"
            ),
        )
    }

    /// Types keys.
    pub fn send(&mut self, keys: &str) {
        let writer = self.writer.as_mut().expect("the terminal was hung up");
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// The content of the screen.
    pub fn shows(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen shows the words.
    #[track_caller]
    pub fn wait(&self, words: &str, limit: Duration) {
        let begun = std::time::Instant::now();
        while !self.shows().contains(words) {
            assert!(begun.elapsed() < limit, "waited {limit:?} in vain for {words:?} on\n{}", self.shows());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the screen no longer shows the words.
    #[track_caller]
    pub fn gone(&self, words: &str, limit: Duration) {
        let begun = std::time::Instant::now();
        while self.shows().contains(words) {
            assert!(begun.elapsed() < limit, "waited {limit:?} in vain for {words:?} to go from\n{}", self.shows());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the program exits; returns its exit code and whether the terminal's modes were restored.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> (u32, bool) {
        let mut status = None;
        wait_for("the program ends", limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let whole = || {
            let screen = self.screen.lock().unwrap();
            !screen.screen().alternate_screen() && !screen.screen().hide_cursor()
        };
        (status.unwrap().exit_code(), holds_within(Duration::from_secs(2), whole))
    }

    /// Closes the terminal, as a lost connection would: the program gets SIGHUP.
    pub fn hang_up(&mut self) {
        self.writer = None;
        self.master = None;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
