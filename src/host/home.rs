//! Where a guard runs on the live machine: as a systemd service, or as a detached process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use rustix::process::{Pid, Signal, kill_process};

use super::process::{TOOL_DIRS, alive, command, find, started};
use super::{Cmd, Home, Stop, child};

/// How long systemd may take to start or stop a unit.
const SYSTEMD_WAITS: Duration = Duration::from_secs(5);

/// Services that save or remove the loaded rules when they stop. Units stop in the reverse order of their start, so a
/// guard ordered after them has reverted before they run.
const SAVES_AT_SHUTDOWN: &str = "After=netfilter-persistent.service iptables.service ip6tables.service ipset.service \
    nftables.service firewalld.service ufw.service shorewall.service shorewall6.service ferm.service";

/// The homes available here, the better one first.
pub(super) fn homes() -> Vec<Home> {
    if under_systemd() { vec![Home::Service, Home::Detached] } else { vec![Home::Detached] }
}

/// Whether systemd is PID 1, a service of it would share our namespaces, and it could find our executable.
fn under_systemd() -> bool {
    let same = |ns: &str| {
        let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/{ns}")).ok();
        of("self").is_some_and(|ours| of("1") == Some(ours))
    };
    Path::new("/run/systemd/system").is_dir()
        && fs::read_to_string("/proc/1/comm").is_ok_and(|c| c.trim_end() == "systemd")
        && ["net", "mnt", "pid"].into_iter().all(same)
        && find("systemd-run").is_some()
        && find("systemctl").is_some()
        && executable().is_some()
}

/// The path of our executable, if that file is still the one running: an upgrade may have replaced it. `None` also when
/// the path has a `$` or `%`, which systemd would expand.
pub(super) fn executable() -> Option<PathBuf> {
    let path = fs::read_link("/proc/self/exe").ok()?;
    let (runs, there) = (fs::metadata("/proc/self/exe").ok()?, fs::metadata(&path).ok()?);
    let plain = path.to_str().is_some_and(|p| !p.contains(['$', '%']));
    (plain && (runs.dev(), runs.ino()) == (there.dev(), there.ino())).then_some(path)
}

/// The environment variables that say where our files are.
fn places() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .filter(|(k, _)| k.starts_with("PORTCULLIS_"))
        .collect()
}

pub(super) fn start(id: &str, home: Home) -> io::Result<Stop> {
    match home {
        Home::Service => start_service(id),
        Home::Detached => start_detached(id),
    }
}

/// Starts a transient service (systemd-run(1)). systemd restarts it however it ends, until the guard's exit status says
/// that the trial has ended (0) or that there is no trial for it here (3).
fn start_service(id: &str) -> io::Result<Stop> {
    let exe = executable().ok_or_else(|| io::Error::other("the executable has been moved or replaced"))?;
    let unit = format!("portcullis-guard-{id}.service");
    let mut args: Vec<String> = ["--collect", "--quiet", "--service-type=exec"].map(str::to_owned).to_vec();
    args.push(format!("--unit={unit}"));
    args.push(format!("--description=portcullis: puts the old firewall rules back unless trial {id} is kept"));
    for property in [
        "Restart=always",
        "RestartSec=100ms",
        "StartLimitIntervalSec=0",
        "RestartPreventExitStatus=0 3",
        "OOMScoreAdjust=-1000",
        "OOMPolicy=continue",
        // Only the guard is told to stop; the tools with which it reverts go on.
        "KillMode=mixed",
        "TimeoutStopSec=90s",
        SAVES_AT_SHUTDOWN,
    ] {
        args.push(format!("--property={property}"));
    }
    args.extend(places().iter().map(|(k, v)| format!("--setenv={k}={v}")));
    args.extend(["--".to_owned(), exe.to_string_lossy().into_owned(), "guard".to_owned(), id.to_owned()]);
    let mut cmd = Cmd::new("systemd-run", &[]).within(SYSTEMD_WAITS);
    cmd.args = args;
    let started = child::run(&cmd);
    let stop: Stop = Box::new(move || {
        for act in ["stop", "reset-failed"] {
            // If the unit is gone already, that is fine.
            let _ = child::run(&Cmd::new("systemctl", &[act, "--quiet", &unit]).within(SYSTEMD_WAITS));
        }
    });
    let why = match started {
        Ok(out) if out.status == 0 => return Ok(stop),
        Ok(out) => out.complaint(),
        Err(e) => e.to_string(),
    };
    stop();
    Err(io::Error::other(why))
}

/// Starts a process that [`detach`]es itself. It runs the same executable as we do, even if the file
/// was replaced since.
fn start_detached(id: &str) -> io::Result<Stop> {
    keep_descriptors()?;
    let mut child = command(Path::new("/proc/self/exe"))
        .arg0(fs::read_link("/proc/self/exe")?)
        .args(["guard", id])
        .env_clear()
        .envs(places())
        .env("PATH", TOOL_DIRS.join(":"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = child.id();
    let since = started(pid).unwrap_or(0);
    // The guard outlives us; while we live, we must reap it when it exits.
    thread::spawn(move || {
        let _ = child.wait();
    });
    Ok(Box::new(move || {
        if alive(pid, since)
            && let Some(p) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(p, Signal::KILL);
        }
    }))
}

/// Keeps descriptors that we inherited (a lock of the calling script, a pipe that somebody waits on) from our children.
fn keep_descriptors() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2)
        .collect();
    for fd in open {
        // The descriptor that listed the directory is closed by now.
        let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
    Ok(())
}

/// Makes this process the leader of its own session and exempts it from the out-of-memory killer.
pub fn detach() {
    // Fails for a systemd service, which is a session leader already.
    let _ = rustix::process::setsid();
    // Needs root; without it the kernel's fuse still works.
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
}
