//! Records of earlier logins: files, and tools for databases. Each is read within limits of size and time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::super::{Cmd, Tools};
use super::procs::Processes;
use crate::model::{Login, LoginSource};
use crate::syntax::logins::{WIDE, journal, lastlog, lastlog2, utmp, wtmpdb};

/// At most this many records of wtmp are read, the latest ones.
const RECORDS: usize = 4096;

/// The last login of at most this many users is looked up.
const USERS: usize = 2000;

/// Timeout of one tool.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Who is logged in according to `/run/utmp` (mosh appears only there), and whether it could be read. Entries whose
/// process is gone were left by a crash and are skipped.
pub fn present(p: &dyn Processes) -> (bool, Vec<Login>) {
    let Ok(bytes) = tail("/run/utmp", utmp::size(WIDE) * RECORDS, utmp::size(WIDE)) else { return (false, Vec::new()) };
    let entries = utmp::read(&bytes, WIDE, LoginSource::Utmp).0;
    (true, entries.into_iter().filter(|e| p.stat(e.pid).is_some()).map(|e| e.login).collect())
}

/// Past logins, and which sources could be read.
pub fn last(tools: &dyn Tools) -> (Vec<Login>, Vec<LoginSource>) {
    let mut logins = Vec::new();
    let mut read = Vec::new();
    let mut add = |source, found: Option<Vec<Login>>| {
        if let Some(found) = found {
            logins.extend(found);
            read.push(source);
        }
    };
    add(LoginSource::Wtmp, wtmp());
    add(LoginSource::Lastlog, of_users());
    add(
        LoginSource::Wtmpdb,
        ask(tools, "wtmpdb", &["last", "--fullnames", "--time-format", "iso"]).map(|t| wtmpdb::read(&t).0),
    );
    add(LoginSource::Lastlog2, ask(tools, "lastlog2", &[]).map(|t| lastlog2::read(&t).0));
    add(LoginSource::Journal, in_journal(tools));
    (logins, read)
}

/// The end of wtmp, or at the beginning of a month of the previous one.
fn wtmp() -> Option<Vec<Login>> {
    let size = utmp::size(WIDE);
    let read = |path: &str| Some(utmp::read(&tail(path, size * RECORDS, size).ok()?, WIDE, LoginSource::Wtmp).0);
    let this = read("/var/log/wtmp");
    let entries =
        this.filter(|e| !e.is_empty()).or_else(|| read("/var/log/wtmp.1")).or_else(|| read("/var/log/wtmp"))?;
    Some(entries.into_iter().map(|e| e.login).collect())
}

/// lastlog has a slot for every user id up to the largest; only the slots of existing users are read.
fn of_users() -> Option<Vec<Login>> {
    let size = lastlog::size(WIDE);
    let mut file = open("/var/log/lastlog").ok()?;
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let users = users.lines().filter_map(|l| {
        let mut fields = l.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse::<u64>().ok()?))
    });
    let mut record = |uid: u64| {
        let mut bytes = vec![0; size];
        file.seek(SeekFrom::Start(uid * size as u64)).and_then(|_| file.read_exact(&mut bytes)).ok().map(|()| bytes)
    };
    Some(users.take(USERS).filter_map(|(user, uid)| lastlog::read(&record(uid)?, WIDE, &user).0).collect())
}

/// The latest logins that sshd logged. A journal without `--grep` is read back as far as the timeout allows. Only
/// messages from root count: anybody can log under sshd's name.
fn in_journal(tools: &dyn Tools) -> Option<Vec<Login>> {
    const COMMON: [&str; 8] =
        ["--no-pager", "--output=short-unix", "--reverse", "-t", "sshd", "-t", "sshd-session", "_UID=0"];
    let run = |more: &[&str]| tools.run(&Cmd::new("journalctl", &[&COMMON, more].concat()).within(TIMEOUT)).ok();
    let found = run(&["--lines=50", "--grep=^Accepted ", "--case-sensitive=yes"])?;
    if found.complaint().starts_with("No journal files") {
        return None;
    }
    // With --grep it fails if nothing matches.
    let is_answer = found.status == 0 || found.stderr.is_empty();
    let answer = if is_answer { found } else { run(&["--lines=5000"]).filter(|o| o.status == 0)? };
    Some(journal::read(&answer.text()).0)
}

/// The ports of sockets that systemd holds for SSH servers, from lines such as `Listen=[::]:22 (Stream)`.
pub fn socket_units(tools: &dyn Tools) -> Vec<u16> {
    let text = ask(tools, "systemctl", &["show", "--property=Listen", "ssh.socket", "sshd.socket", "dropbear.socket"])
        .unwrap_or_default();
    text.lines()
        .filter_map(|l| l.strip_prefix("Listen=")?.split_whitespace().next()?.rsplit(':').next()?.parse().ok())
        .collect()
}

fn ask(tools: &dyn Tools, tool: &str, args: &[&str]) -> Option<String> {
    tools.run(&Cmd::new(tool, args).within(TIMEOUT)).ok().filter(|o| o.status == 0).map(|o| o.text())
}

/// Whole records from the end of a file.
fn tail(path: &str, most: usize, record: usize) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let whole = file.metadata()?.len() / record as u64 * record as u64;
    file.seek(SeekFrom::Start(whole.saturating_sub(most as u64)))?;
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file; opening anything else could block.
fn open(path: &str) -> io::Result<File> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(nonblock).open(Path::new(path))?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::from(io::ErrorKind::InvalidInput)) }
}
