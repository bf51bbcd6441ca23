//! A tool from its start to its last word. Nothing here waits longer than the tool's time: a revert stands behind it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::live::{TOOL_DIRS, command};
use super::{Cmd, Output, ToolError};

/// How long the pipes of a tool that has ended may stay open: something that it started in the background holds them.
const LINGERS: Duration = Duration::from_secs(1);

/// Runs the file of a tool until it ends or its time is over; then what it started is killed too.
pub(super) fn run(path: &Path, cmd: &Cmd) -> Result<Output, ToolError> {
    let broken = |e: io::Error| ToolError::Broken { tool: cmd.tool.clone(), why: e.to_string() };
    let mut child = spawn(path, cmd).map_err(broken)?;
    let mut pipes = Pipes::default();
    let heard = pipes.of(&mut child, cmd.stdin.as_deref()).and_then(|()| pipes.follow(&child, cmd.timeout));
    if !matches!(heard, Ok(End::Silent)) && let Some(group) = pid(&child) {
        // The child is not collected yet, so the number of its group cannot be another's.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().map_err(broken)?;
    if matches!(heard.map_err(broken)?, End::TimedOut) {
        return Err(ToolError::TimedOut { tool: cmd.tool.clone(), after: cmd.timeout });
    }
    // What it wrote before it ended lies in the pipes, whoever still holds them.
    pipes.out.take();
    pipes.err.take();
    Ok(Output {
        status: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: pipes.out.bytes,
        stderr: pipes.err.bytes,
    })
}

fn spawn(path: &Path, cmd: &Cmd) -> io::Result<Child> {
    command(path)
        .args(&cmd.args)
        .env_clear()
        .env("PATH", TOOL_DIRS.join(":"))
        .env("LC_ALL", "C")
        .envs(cmd.env.iter().map(|(k, v)| (k, v)))
        .process_group(0)
        .stdin(if cmd.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// How the talk with a tool ended.
enum End {
    /// The tool ended and nobody holds its pipes.
    Silent,
    /// The tool ended; something that it started holds its pipes.
    Held,
    /// Its time is over.
    TimedOut,
}

/// Our ends of a tool's pipes.
#[derive(Default)]
struct Pipes<'a> {
    input: Option<(File, &'a [u8])>,
    out: Heard,
    err: Heard,
}

impl<'a> Pipes<'a> {
    fn of(&mut self, child: &mut Child, input: Option<&'a [u8]>) -> io::Result<()> {
        let ours = |fd: OwnedFd| rustix::io::ioctl_fionbio(&fd, true).map(|()| File::from(fd));
        if let Some(p) = child.stdout.take() {
            self.out.pipe = Some(ours(p.into())?);
        }
        if let Some(p) = child.stderr.take() {
            self.err.pipe = Some(ours(p.into())?);
        }
        if let (Some(p), Some(bytes)) = (child.stdin.take(), input) {
            self.input = Some((ours(p.into())?, bytes));
        }
        Ok(())
    }

    /// Writes and reads until the child has ended (pidfd_open(2)) and its pipes are closed, or the time is over.
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn follow(&mut self, child: &Child, limit: Duration) -> io::Result<End> {
        let pid = pid(child).ok_or_else(|| io::Error::other("it has no number"))?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let (mut ended, mut end) = (false, Instant::now() + limit);
        while !ended || self.out.pipe.is_some() || self.err.pipe.is_some() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(if ended { End::Held } else { End::TimedOut });
            }
            let mut fds = Vec::new();
            if !ended {
                fds.push(PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN));
            }
            fds.extend([&self.out, &self.err].into_iter().filter_map(|h| h.pipe.as_ref()).map(|p| PollFd::new(p, PollFlags::IN)));
            fds.extend(self.input.iter().map(|(p, _)| PollFd::new(p, PollFlags::OUT)));
            let time = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut fds, Some(&time)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            let ends = !ended && fds.first().is_some_and(|f| f.revents().contains(PollFlags::IN));
            self.give();
            self.out.take();
            self.err.take();
            if ends {
                ended = true;
                self.input = None;
                end = end.min(Instant::now() + LINGERS);
            }
        }
        Ok(End::Silent)
    }

    /// Writes what the pipe takes now.
    fn give(&mut self) {
        let Some((pipe, bytes)) = &mut self.input else { return };
        let left = match pipe.write(bytes) {
            Ok(n) => bytes.get(n..).unwrap_or_default(),
            Err(e) if wait(&e) => return,
            // A tool that stops reading says why on its standard error.
            Err(_) => &[],
        };
        *bytes = left;
        if left.is_empty() {
            self.input = None;
        }
    }
}

/// What a tool wrote so far; the pipe is gone when it was closed.
#[derive(Default)]
struct Heard {
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Heard {
    /// Reads what lies in the pipe now.
    fn take(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        // As much as a pipe holds (pipe(7)).
        let mut part = vec![0; 1 << 16];
        match pipe.read(&mut part) {
            Ok(n) if n > 0 => self.bytes.extend_from_slice(part.get(..n).unwrap_or_default()),
            Err(e) if wait(&e) => {}
            _ => self.pipe = None,
        }
    }
}

/// Whether it only did not work now.
fn wait(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Tools;
    use crate::host::live::{Live, started};

    fn sh(script: &str) -> Cmd {
        Cmd::new("sh", &["-c", script])
    }

    /// Whether a process still does something.
    fn lives(pid: u32) -> bool {
        started(pid).is_some() && !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "))
    }

    #[test]
    fn what_a_tool_leaves_behind_holds_nobody_up() {
        let live = Live::default();
        let out = live.run(&sh("sleep 98765 & echo $!; echo hi >&2").within(Duration::from_mins(10))).unwrap();
        let sleeper: u32 = out.text().trim().parse().unwrap();
        assert_eq!((out.status, out.complaint().as_str()), (0, "hi"));
        for _ in 0..500 {
            if !lives(sleeper) {
                break;
            }
            crate::host::Host::pause(&live, Duration::from_millis(10));
        }
        assert!(!lives(sleeper));
        // One that left the process group cannot be killed by it, and is not waited for either.
        let out = live.run(&sh("setsid sleep 98765 & echo $!").within(Duration::from_mins(10))).unwrap();
        let sleeper = out.text().trim().parse().ok().and_then(Pid::from_raw).unwrap();
        let _ = rustix::process::kill_process(sleeper, Signal::KILL);
    }

    #[test]
    fn much_goes_in_and_comes_out_at_once() {
        let much = "a line of rules\n".repeat(200_000);
        let out = Live::default().run(&sh("tee /dev/stderr").input(much.as_str()).within(Duration::from_mins(1))).unwrap();
        assert!(out.stdout == much.as_bytes() && out.stderr == much.as_bytes());
        // It does not read at all, and ends with a status of its own.
        assert_eq!(Live::default().run(&sh("exit 7").input(much)).unwrap().status, 7);
    }

    #[test]
    fn a_tool_that_does_not_end_is_killed() {
        let e = Live::default().run(&sh("sleep 98765").input("x").within(Duration::from_millis(200))).unwrap_err();
        assert!(matches!(e, ToolError::TimedOut { .. }), "{e}");
        assert_eq!(Live::default().run(&sh("kill -9 $$")).unwrap().status, 137);
    }
}
