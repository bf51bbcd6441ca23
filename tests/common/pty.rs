//! A program in a terminal emulator, driven by keys; each wait is for something on the screen or for silence.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and has a clock"
)]

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// The escape key.
pub const ESC: &str = "\x1b";

/// The program and its terminal emulator.
pub struct Pty {
    pub master: Box<dyn MasterPty + Send>,
    pub child: Box<dyn Child + Send + Sync>,
    pub emulator: vt100::Parser,
    /// Bytes received so far.
    pub received: usize,
    /// When the last bytes were received.
    pub last: Instant,
    keys: Box<dyn Write + Send>,
    bytes: Receiver<(Instant, Vec<u8>)>,
    _data: tempfile::TempDir,
}

impl Pty {
    /// The program under test at 80x24 in 256 colours, with its own data and configuration directories.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_in(args, env, tempfile::tempdir().unwrap())
    }

    /// The same with a given data directory.
    pub fn start_in(args: &[&str], env: &[(&str, &str)], data: tempfile::TempDir) -> Self {
        Self::run(env!("CARGO_BIN_EXE_portcullis"), args, env, (80, 24), data)
    }

    /// Any program.
    pub fn run(program: &str, args: &[&str], env: &[(&str, &str)], size: (u16, u16), data: tempfile::TempDir) -> Self {
        let pair = native_pty_system()
            .openpty(PtySize { rows: size.1, cols: size.0, pixel_width: 0, pixel_height: 0 })
            .unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env("HOME", data.path());
        command.env("XDG_DATA_HOME", data.path());
        command.env("XDG_CONFIG_HOME", data.path());
        for (k, v) in env {
            command.env(k, v);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (send, bytes) = channel();
        std::thread::spawn(move || {
            let mut buf = vec![0u8; 65536];
            while let Ok(n) = reader.read(&mut buf) {
                if n == 0 || send.send((Instant::now(), buf[..n].to_vec())).is_err() {
                    return;
                }
            }
        });
        let keys = pair.master.take_writer().unwrap();
        let emulator = vt100::Parser::new(size.1.try_into().unwrap(), size.0.try_into().unwrap(), 0);
        Self { master: pair.master, child, emulator, received: 0, last: Instant::now(), keys, bytes, _data: data }
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.emulator.screen().contents()
    }

    /// Presses keys: the bytes that a terminal sends.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Reads what arrives within a time.
    pub fn take(&mut self, wait: Duration) -> bool {
        match self.bytes.recv_timeout(wait) {
            Ok((at, b)) => {
                self.received += b.len();
                self.last = at;
                self.emulator.process(&b);
                true
            }
            Err(_) => false,
        }
    }

    /// Waits until a text is on the screen; on time-out the test shows what is there instead.
    #[track_caller]
    pub fn see(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.screen().contains(text) {
            assert!(Instant::now() < end, "{text:?} does not come up; the screen:\n{}", self.screen());
            self.take(Duration::from_millis(100));
        }
    }

    /// Waits until a text is gone.
    #[track_caller]
    pub fn gone(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.screen().contains(text) {
            assert!(Instant::now() < end, "{text:?} does not go; the screen:\n{}", self.screen());
            self.take(Duration::from_millis(100));
        }
    }

    /// Changes the size of the terminal.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.master.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        self.emulator.screen_mut().set_size(rows.try_into().unwrap(), cols.try_into().unwrap());
    }

    /// The number of bytes until there is silence.
    pub fn quiet(&mut self, silence: Duration) -> usize {
        let before = self.received;
        while self.take(silence) {}
        self.received - before
    }

    /// How often all threads of the program have slept and woken up so far (proc(5)).
    pub fn switches(&self) -> u64 {
        let pid = self.child.process_id().unwrap();
        std::fs::read_dir(format!("/proc/{pid}/task"))
            .unwrap()
            .flatten()
            .map(|t| {
                let status = std::fs::read_to_string(t.path().join("status")).unwrap_or_default();
                status
                    .lines()
                    .find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))
                    .map_or(0, |n| n.trim().parse::<u64>().unwrap())
            })
            .sum()
    }

    /// Waits until the program exits; returns its exit code.
    #[track_caller]
    pub fn end(&mut self) -> u32 {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            self.take(Duration::from_millis(20));
            if let Some(s) = self.child.try_wait().unwrap() {
                while self.take(Duration::from_millis(50)) {}
                return s.exit_code();
            }
            assert!(Instant::now() < end, "the program does not end; the screen:\n{}", self.screen());
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.process_id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
