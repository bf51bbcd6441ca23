//! The systemd units that load our part at boot: after everything that builds the rest of the firewall, before the
//! network. If no package has installed them, `save --ours` writes and enables them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{Cmd, Host, Stands};

/// The unit that loads our part.
pub(super) const RULES: &str = "portcullis-rules.service";

/// The units as a package ships them, each with the link that shows that it is enabled.
const UNITS: [(&str, &str, &str); 3] = [
    (RULES, include_str!("../../assets/portcullis-rules.service"), "multi-user.target.wants"),
    (
        "portcullis-rules-firewalld.service",
        include_str!("../../assets/portcullis-rules-firewalld.service"),
        "firewalld.service.wants",
    ),
    (
        "portcullis-rules-docker.service",
        include_str!("../../assets/portcullis-rules-docker.service"),
        "docker.service.wants",
    ),
];

/// The path of the program in them.
const PROGRAM: &str = "/usr/bin/portcullis";

/// The administrator's own units, then those of packages (systemd.unit(5)); the first of a name counts.
const ADMIN: &str = "/etc/systemd/system";
const DIRS: [&str; 4] = [ADMIN, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// How long systemd may take to read or start units.
const SYSTEMD_WAITS: Duration = Duration::from_secs(30);

/// How boot can be made to load our part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It does already.
    Enabled,
    /// These units have to be written, and then all of them enabled.
    Install(Vec<(PathBuf, String)>),
    /// What the operator has to do, a sentence.
    ByHand(String),
}

/// Looks at what is installed.
pub(super) fn way(host: &dyn Host) -> Way {
    let systemd =
        host.list(Path::new("/run/systemd")).iter().any(|n| n == "system") && host.find("systemctl").is_some();
    if !systemd {
        return Way::ByHand(
            "Nothing loads these files at boot, because systemd is not running here: have the boot run \
            `portcullis load` after the firewall's own start."
                .to_owned(),
        );
    }
    if let Some((name, ..)) = UNITS.iter().find(|(name, ..)| is_masked(host, name)) {
        return Way::ByHand(format!("{name} is masked: `systemctl unmask {name}`, then save again."));
    }
    let mut files = Vec::new();
    for (name, text, _) in UNITS {
        match there(host, name) {
            Some((path, old))
                if !path.starts_with(ADMIN)
                    || !is_ours(&old, text)
                    || program_of(&old).is_some_and(|p| stands(host, Path::new(&p))) => {}
            _ => {
                let Some(program) = host.program() else {
                    return Way::ByHand(
                        "Nothing loads these files at boot: portcullis is no longer where it was \
                        started from. Install it, then save again."
                            .to_owned(),
                    );
                };
                files.push((Path::new(ADMIN).join(name), text.replace(PROGRAM, &program.to_string_lossy())));
            }
        }
    }
    if files.is_empty()
        && UNITS.iter().all(|(name, _, by)| host.list(&Path::new(ADMIN).join(by)).iter().any(|n| n == name))
    {
        Way::Enabled
    } else {
        Way::Install(files)
    }
}

/// Writes, enables and starts the units. The error is one sentence.
pub(super) fn install(host: &dyn Host, files: &[(PathBuf, String)]) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    for (path, text) in files {
        host.write(path, text.as_bytes(), 0o644)
            .map_err(|e| format!("{} could not be written: {e}", path.display()))?;
        done.push(format!("wrote {}", path.display()));
    }
    let names = UNITS.map(|(name, ..)| name);
    systemctl(host, &["daemon-reload"])?;
    systemctl(host, &[&["--quiet", "enable"][..], &names].concat())?;
    done.push(format!("enabled {}", names.join(", ")));
    Ok(done)
}

/// Starts the unit now, so that it follows the managers from now on; what it does now is what boot will do.
pub(super) fn start(host: &dyn Host) -> Result<String, String> {
    systemctl(host, &["start", RULES])?;
    Ok(format!("{RULES} ran: it does the same at boot"))
}

fn systemctl(host: &dyn Host, args: &[&str]) -> Result<(), String> {
    let said = format!("`systemctl {}`", args.join(" "));
    match host.run(&Cmd::new("systemctl", args).within(SYSTEMD_WAITS)) {
        Ok(out) if out.status == 0 => Ok(()),
        Ok(out) => Err(format!("{said} failed: {}", out.complaint())),
        Err(e) => Err(format!("{said} failed: {e}")),
    }
}

fn stands(host: &dyn Host, path: &Path) -> bool {
    matches!(host.stands(path), Ok(Stands::File { .. }))
}

/// A masked unit is a link to /dev/null, or an empty file.
fn is_masked(host: &dyn Host, name: &str) -> bool {
    let path = Path::new(ADMIN).join(name);
    host.real(&path) == Path::new("/dev/null") || host.read(&path).is_ok_and(|text| text.is_empty())
}

/// The installed unit and its path.
fn there(host: &dyn Host, name: &str) -> Option<(PathBuf, String)> {
    DIRS.iter().map(|d| Path::new(d).join(name)).find_map(|path| {
        let text = host.read(&path).ok()?;
        Some((path, String::from_utf8_lossy(&text).into_owned()))
    })
}

/// Whether we wrote it: its first line is ours.
fn is_ours(old: &str, text: &str) -> bool {
    old.lines().next() == text.lines().next()
}

/// The program that a unit starts.
fn program_of(text: &str) -> Option<String> {
    text.lines().find_map(|l| l.strip_prefix("ExecStart=")?.split(' ').next().map(str::to_owned))
}
