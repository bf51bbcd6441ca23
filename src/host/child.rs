//! Runs one tool, from start to exit. Nothing here waits longer than the tool's timeout: a revert may be
//! waiting for it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};

use super::process::{TOOL_DIRS, command, find};
use super::{Cmd, Output, ToolError};

/// How long we wait for the pipes of a tool that has exited: a background process that it started may hold them open.
const PIPE_GRACE: Duration = Duration::from_secs(1);

/// The shortest and the longest pause between two polls for a tool's exit, on kernels that do not notify us.
const POLL_PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];

/// Runs a tool by name.
pub(super) fn run(cmd: &Cmd) -> Result<Output, ToolError> {
    let path = find(&cmd.tool).ok_or_else(|| ToolError::Missing { tool: cmd.tool.clone() })?;
    run_file(&path, cmd)
}

/// Runs an executable until it exits or times out; then kills whatever it started.
fn run_file(path: &Path, cmd: &Cmd) -> Result<Output, ToolError> {
    run_watched(path, cmd, Watch::of)
}

fn run_watched(path: &Path, cmd: &Cmd, watch: impl FnOnce(Pid) -> Watch) -> Result<Output, ToolError> {
    let broken = |e: io::Error| ToolError::Broken { tool: cmd.tool.clone(), why: e.to_string() };
    children_are_ours_to_collect();
    let mut child = spawn(path, cmd).map_err(broken)?;
    let mut pipes = Pipes::default();
    let outcome = pid(&child).ok_or_else(|| io::Error::other("it has no process id")).and_then(|pid| {
        pipes.of(&mut child, cmd.stdin.as_deref()).and_then(|()| pipes.follow(&watch(pid), cmd.timeout))
    });
    if !matches!(outcome, Ok(Outcome::Closed))
        && let Some(group) = pid(&child)
    {
        // The child has not been reaped yet, so its process group id cannot have been reused.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().map_err(broken)?;
    if matches!(outcome.map_err(broken)?, Outcome::TimedOut) {
        return Err(ToolError::TimedOut { tool: cmd.tool.clone(), after: cmd.timeout });
    }
    // What the tool wrote before it exited is still in the pipes, whoever holds their other ends.
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

/// If our parent made us ignore SIGCHLD, the kernel reaps our children itself and their exit status is lost (wait(2)).
/// Installing a handler that does nothing prevents that.
fn children_are_ours_to_collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if ignores(&status, signal_hook::consts::SIGCHLD) {
            // If even that fails, each run reports that the tool could not be run.
            let _ = signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::new(AtomicBool::new(false)));
        }
    });
}

/// Whether a signal is ignored, according to `/proc/PID/status` (proc(5)).
fn ignores(status: &str, signal: i32) -> bool {
    let mask =
        status.lines().find_map(|l| u64::from_str_radix(l.strip_prefix("SigIgn:")?.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// How we learn that a tool has exited. Neither way reaps it.
enum Watch {
    /// By a descriptor that becomes readable (pidfd_open(2)).
    Pidfd(OwnedFd),
    /// By polling: kernels before Linux 5.3 have no pidfd_open, and some sandboxes refuse it.
    Poll(Pid),
}

impl Watch {
    fn of(pid: Pid) -> Self {
        pidfd_open(pid, PidfdFlags::empty()).map_or(Self::Poll(pid), Self::Pidfd)
    }

    /// Whether the tool has exited; `told`: the pidfd is readable.
    fn ended(&self, told: bool) -> io::Result<bool> {
        match self {
            Self::Pidfd(_) => Ok(told),
            Self::Poll(pid) => {
                // Not reaped, so that neither its process id nor its group id can be reused.
                let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
                match waitid(WaitId::Pid(*pid), how) {
                    Ok(end) => Ok(end.is_some()),
                    Err(rustix::io::Errno::INTR) => Ok(false),
                    Err(e) => Err(e.into()),
                }
            }
        }
    }
}

/// How the conversation with a tool ended.
enum Outcome {
    /// The tool exited and all its pipes are closed.
    Closed,
    /// The tool exited, but something that it started still holds its pipes.
    Held,
    /// The tool timed out.
    TimedOut,
}

/// Our ends of a tool's pipes.
#[derive(Default)]
struct Pipes<'a> {
    input: Option<(File, &'a [u8])>,
    out: Stream,
    err: Stream,
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

    /// Reads and writes until the child has exited and its pipes are closed, or until the timeout.
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn follow(&mut self, child: &Watch, limit: Duration) -> io::Result<Outcome> {
        let (mut ended, mut end) = (false, Instant::now() + limit);
        let [mut nap, longest] = POLL_PAUSES;
        while !ended || self.out.pipe.is_some() || self.err.pipe.is_some() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(if ended { Outcome::Held } else { Outcome::TimedOut });
            }
            let mut fds = Vec::new();
            let mut time = left;
            match child {
                Watch::Pidfd(process) if !ended => fds.push(PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)),
                Watch::Poll(_) if !ended => {
                    time = time.min(nap);
                    nap = (nap * 2).min(longest);
                }
                _ => {}
            }
            fds.extend(
                [&self.out, &self.err]
                    .into_iter()
                    .filter_map(|h| h.pipe.as_ref())
                    .map(|p| PollFd::new(p, PollFlags::IN)),
            );
            fds.extend(self.input.iter().map(|(p, _)| PollFd::new(p, PollFlags::OUT)));
            let time = Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(time.subsec_nanos()),
            };
            match poll(&mut fds, Some(&time)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            let told = fds.first().is_some_and(|f| f.revents().contains(PollFlags::IN));
            // Checked before the pipes are read, so that everything the tool wrote before its exit is read below.
            let ends = !ended && child.ended(told)?;
            self.give();
            self.out.take();
            self.err.take();
            if ends {
                ended = true;
                self.input = None;
                end = end.min(Instant::now() + PIPE_GRACE);
            }
        }
        Ok(Outcome::Closed)
    }

    /// Writes as much as the pipe takes without blocking.
    fn give(&mut self) {
        let Some((pipe, bytes)) = &mut self.input else { return };
        let left = match pipe.write(bytes) {
            Ok(n) => bytes.get(n..).unwrap_or_default(),
            Err(e) if would_block(&e) => return,
            // A tool that stops reading explains itself on standard error.
            Err(_) => &[],
        };
        *bytes = left;
        if left.is_empty() {
            self.input = None;
        }
    }
}

/// What a tool has written so far; `pipe` is `None` once it is closed.
#[derive(Default)]
struct Stream {
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Stream {
    /// Reads what is in the pipe now.
    fn take(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        // The capacity of a pipe (pipe(7)).
        let mut part = vec![0; 1 << 16];
        match pipe.read(&mut part) {
            Ok(n) if n > 0 => self.bytes.extend_from_slice(part.get(..n).unwrap_or_default()),
            Err(e) if would_block(&e) => {}
            _ => self.pipe = None,
        }
    }
}

/// Whether the call would only have blocked.
fn would_block(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::host::live::Live;
    use crate::host::process::started;

    fn sh(script: &str) -> Cmd {
        Cmd::new("sh", &["-c", script])
    }

    /// Whether a process exists and is not a zombie.
    fn lives(pid: u32) -> bool {
        started(pid).is_some()
            && !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "))
    }

    /// Runs a tool as on a kernel with `pidfd_open`, and as on one without it.
    fn on_both_kernels(cmd: &Cmd, check: impl Fn(Result<Output, ToolError>)) {
        let path = Live::default().find(&cmd.tool).unwrap();
        for watch in [Watch::of, Watch::Poll] {
            check(run_watched(&path, cmd, watch));
        }
    }

    #[test]
    fn processes_left_by_a_tool_do_not_block() {
        on_both_kernels(&sh("sleep 98765 & echo $!; echo hi >&2").within(Duration::from_mins(10)), |out| {
            let out = out.unwrap();
            let sleeper: u32 = out.text().trim().parse().unwrap();
            assert_eq!((out.status, out.complaint().as_str()), (0, "hi"));
            for _ in 0..500 {
                if !lives(sleeper) {
                    break;
                }
                Live::default().pause(Duration::from_millis(10));
            }
            assert!(!lives(sleeper));
        });
        // A process that left the process group is not killed with it, and we do not wait for it either.
        on_both_kernels(&sh("setsid sleep 98765 & echo $!").within(Duration::from_mins(10)), |out| {
            let sleeper = out.unwrap().text().trim().parse().ok().and_then(Pid::from_raw).unwrap();
            let _ = rustix::process::kill_process(sleeper, Signal::KILL);
        });
    }

    #[test]
    fn much_goes_in_and_comes_out_at_once() {
        let much = "a line of rules\n".repeat(200_000);
        on_both_kernels(&sh("tee /dev/stderr").input(much.as_str()).within(Duration::from_mins(1)), |out| {
            let out = out.unwrap();
            assert!(out.stdout == much.as_bytes() && out.stderr == much.as_bytes());
        });
        // A tool that never reads its input keeps its own exit status.
        on_both_kernels(&sh("exit 7").input(much.as_str()), |out| assert_eq!(out.unwrap().status, 7));
        // The last words of a tool are read even if it exits at once.
        for _ in 0..50 {
            on_both_kernels(&sh("echo last"), |out| assert_eq!(out.unwrap().text(), "last\n"));
        }
    }

    #[test]
    fn a_tool_that_does_not_end_is_killed() {
        on_both_kernels(&sh("sleep 98765").input("x").within(Duration::from_millis(200)), |out| {
            let e = out.unwrap_err();
            assert!(matches!(e, ToolError::TimedOut { .. }), "{e}");
        });
        // Its pipes are closed: only its exit can wake us up.
        on_both_kernels(&sh("exec >&- 2>&-; sleep 98765").within(Duration::from_millis(200)), |out| {
            assert!(out.is_err());
        });
        on_both_kernels(&sh("exec >&- 2>&-; sleep 0.1; exit 3"), |out| assert_eq!(out.unwrap().status, 3));
        on_both_kernels(&sh("kill -9 $$"), |out| assert_eq!(out.unwrap().status, 137));
    }

    #[test]
    fn a_signal_that_is_ignored_is_seen() {
        let status = "Name:\tx\nSigIgn:\t0000000000011000\nSigCgt:\t0000000000000000\n";
        assert!(ignores(status, 17) && ignores(status, 13) && !ignores(status, 18) && !ignores("", 17));
    }
}
