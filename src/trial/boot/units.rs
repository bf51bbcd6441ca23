//! What the next boot starts, from the links that decide it: systemd units, OpenRC runlevels, SysV links.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::host::{Host, Stands};
use crate::model::Family;

/// Unit directories, the administrator's first. Units in /run are gone at the next boot.
const DIRS: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Targets that a normal boot does not reach.
const NOT_AT_START: [&str; 9] =
    ["rescue", "emergency", "shutdown", "reboot", "poweroff", "halt", "kexec", "sleep", "suspend"];

/// The unit of Debian's netfilter-persistent(8).
pub(super) const PERSISTENT: &str = "netfilter-persistent.service";

/// Its plugins, which run in order.
const PLUGINS: &str = "/usr/share/netfilter-persistent/plugins.d";

/// Larger files are taken for binaries.
const LARGEST_SCRIPT: u64 = 64 << 10;

/// The OpenRC runlevels of a normal boot.
const RUNLEVELS: [&str; 3] = ["sysinit", "boot", "default"];

/// A file as text; empty if it cannot be read.
pub(super) fn text(host: &dyn Host, path: &Path) -> String {
    host.read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

/// Whether there is something that can be read as a file.
pub(super) fn is_file(host: &dyn Host, path: &Path) -> bool {
    matches!(host.stands(path), Ok(Stands::File { .. }))
}

/// The plugins that netfilter-persistent runs; files that are not executable are skipped (run-parts(8)).
pub(super) fn plugins(host: &dyn Host) -> Vec<PathBuf> {
    host.list(Path::new(PLUGINS))
        .iter()
        .map(|n| Path::new(PLUGINS).join(n))
        .filter(|p| matches!(host.stands(p), Ok(Stands::File { runs: true, .. })))
        .collect()
}

/// The value of a shell variable in a settings file; `None` if it is not set, or not set to plain words.
pub(super) fn setting(host: &dyn Host, path: &str, name: &str) -> Option<String> {
    let text = text(host, Path::new(path));
    let value = text.lines().filter_map(|l| l.trim().strip_prefix(name)?.strip_prefix('=')).next_back()?;
    let value = value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    (!value.is_empty() && !value.contains(['$', '`'])).then(|| value.to_owned())
}

/// The systemd units that the next boot starts.
pub(super) struct Units(BTreeMap<String, Unit>);

struct Unit {
    /// Where it is defined.
    path: PathBuf,
    /// Its text, drop-ins included.
    text: String,
    /// What it runs.
    commands: Vec<String>,
}

impl Units {
    /// Reads the links and the units that they point to.
    pub(super) fn read(host: &dyn Host) -> Self {
        let mut out = BTreeMap::new();
        for dir in DIRS.map(Path::new) {
            for wants in host.list(dir).iter().filter(|d| at_start(d)) {
                for name in host.list(&dir.join(wants)) {
                    if !out.contains_key(&name)
                        && let Some(path) = defined(host, &name, &dir.join(wants).join(&name))
                    {
                        let text = whole(host, &name, &path);
                        let mut commands = commands(host, &name, &text);
                        if name == PERSISTENT {
                            // Third-party plugins may load files of their own.
                            commands.extend(plugins(host).iter().flat_map(|p| lines(&script(host, p))));
                        }
                        out.insert(name, Unit { path, text, commands });
                    }
                }
            }
        }
        Self(out)
    }

    /// Whether the next boot starts this unit.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The unit that loads a family's rules from this file.
    pub(super) fn loader(&self, family: Family, file: &Path) -> Option<&str> {
        self.restores(family).find(|(_, path)| path == file).map(|(unit, _)| unit)
    }

    /// Every unit that loads a family's rules, with the files named by its command.
    pub(super) fn restores(&self, family: Family) -> impl Iterator<Item = (&str, PathBuf)> {
        self.commands().filter(move |(_, line)| words(line).any(|w| restores(family, w))).flat_map(
            move |(unit, line)| {
                words(line).filter(move |w| w.starts_with('/') && !restores(family, w)).map(move |w| (unit, w.into()))
            },
        )
    }

    /// Every command line of every unit, with the unit's name.
    pub(super) fn commands(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, unit)| unit.commands.iter().map(|line| (name.as_str(), line.as_str())))
    }

    /// Whether a command of the unit contains this text.
    pub(super) fn runs(&self, name: &str, part: &str) -> bool {
        self.0.get(name).is_some_and(|u| u.commands.iter().any(|l| l.contains(part)))
    }

    /// Another unit that conflicts with this one: systemd starts only one of the two.
    pub(super) fn excluded_by(&self, host: &dyn Host, name: &str) -> Option<&str> {
        let unit = self.0.get(name)?;
        let real = host.real(&unit.path);
        let alias = |n: &str| n == name || host.real(&Path::new(DIRS[0]).join(n)) == real;
        let excluded = |text: &str| -> Vec<String> { values(text, "Conflicts").map(str::to_owned).collect() };
        let ours = excluded(&unit.text);
        self.0
            .iter()
            .filter(|(other, _)| *other != name)
            .find(|(other, u)| ours.contains(other) || excluded(&u.text).iter().any(|n| alias(n)))
            .map(|(other, _)| other.as_str())
    }

    /// Whether `first` is certain to run before `then`.
    pub(super) fn in_order(&self, first: &str, then: &str) -> bool {
        let says = |unit: &str, key: &str, other: &str| {
            self.0.get(unit).is_some_and(|u| values(&u.text, key).any(|n| n == other))
        };
        says(first, "Before", then) || says(then, "After", first)
    }
}

/// Whether links in this directory are followed at a normal boot.
fn at_start(dir: &str) -> bool {
    matches!(dir.rsplit_once('.'), Some((of, "wants" | "requires"))
        if !NOT_AT_START.iter().any(|t| of.strip_suffix(".target") == Some(t)))
}

/// Where a unit is defined; `None` if it is masked or missing. `link`: the link that wants it.
fn defined(host: &dyn Host, name: &str, link: &Path) -> Option<PathBuf> {
    let template = name.split_once('@').and_then(|(base, rest)| Some(format!("{base}@.{}", rest.rsplit_once('.')?.1)));
    let places = [Some(name.to_owned()), template]
        .into_iter()
        .flatten()
        .flat_map(|n| DIRS.map(|d| Path::new(d).join(&n)))
        .chain([link.to_owned()]);
    // The first one found counts, even if it masks the others: a link to /dev/null, or an empty file.
    let path = places.into_iter().find(|p| !matches!(host.stands(p), Ok(Stands::Nothing)))?;
    (is_file(host, &path) && !text(host, &path).trim().is_empty()).then_some(path)
}

/// The text of an installed unit, whether or not boot starts it.
pub(super) fn installed(host: &dyn Host, name: &str) -> Option<String> {
    defined(host, name, Path::new("/nowhere")).map(|path| whole(host, name, &path))
}

fn whole(host: &dyn Host, name: &str, path: &Path) -> String {
    let mut out = text(host, path);
    for dir in DIRS.iter().rev().map(|d| Path::new(d).join(format!("{name}.d"))) {
        for conf in host.list(&dir).iter().filter(|n| Path::new(n).extension().is_some_and(|e| e == "conf")) {
            out.push('\n');
            out.push_str(&text(host, &dir.join(conf)));
        }
    }
    out
}

/// The lines of a unit or a script without comments, continued lines joined.
fn lines(text: &str) -> Vec<String> {
    text.replace("\\\r\n", " ")
        .replace("\\\n", " ")
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with(['#', ';']))
        .map(str::to_owned)
        .collect()
}

/// The values of a setting that may occur several times in a unit.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |l| l.trim().strip_prefix(key)?.trim_start().strip_prefix('='))
        .flat_map(str::split_whitespace)
}

/// What a unit runs when it is started: its commands, and the lines of the scripts that they name.
fn commands(host: &dyn Host, name: &str, text: &str) -> Vec<String> {
    let instance = name.split_once('@').and_then(|(_, rest)| rest.rsplit_once('.')).map_or("", |(i, _)| i);
    let mut out: Vec<(&str, String)> = Vec::new();
    let all = lines(text);
    for (key, value) in all.iter().filter_map(|l| l.split_once('=')) {
        let key = key.trim();
        if matches!(key, "ExecStart" | "ExecStartPre" | "ExecStartPost") {
            if value.trim().is_empty() {
                out.retain(|(k, _)| *k != key);
            } else {
                out.push((
                    key,
                    value
                        .trim()
                        .trim_start_matches(['-', '@', ':', '+', '!'])
                        .replace("%i", instance)
                        .replace("%I", instance),
                ));
            }
        }
    }
    let scripts: Vec<String> = out
        .iter()
        .flat_map(|(_, line)| words(line))
        .filter(|w| w.starts_with('/'))
        .map(|w| script(host, Path::new(w)))
        .flat_map(|t| lines(&t))
        .collect();
    out.into_iter().map(|(_, line)| line).chain(scripts).collect()
}

/// A script as text; empty if the file is not a script. Binaries are large and not read.
fn script(host: &dyn Host, path: &Path) -> String {
    match host.stands(path) {
        Ok(Stands::File { size, .. }) if size <= LARGEST_SCRIPT => {
            Some(text(host, path)).filter(|t| t.starts_with("#!")).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// The words of a command, without quotes and redirections.
pub(super) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || "<>\"'|&;()=".contains(c)).filter(|w| !w.is_empty())
}

/// Whether a word is the tool that loads a family's rules.
fn restores(family: Family, word: &str) -> bool {
    let tool = word.rsplit('/').next().unwrap_or(word);
    let rest = tool.strip_prefix(if family == Family::V4 { "iptables" } else { "ip6tables" });
    matches!(rest, Some("-restore" | "-nft-restore" | "-legacy-restore"))
}

/// Whether OpenRC starts a service, and whether it is installed.
pub(super) fn openrc(host: &dyn Host, service: &str) -> (bool, bool) {
    let wanted = RUNLEVELS.iter().any(|r| host.list(&Path::new("/etc/runlevels").join(r)).iter().any(|n| n == service));
    (wanted, is_file(host, &Path::new("/etc/init.d").join(service)))
}

/// Whether SysV init starts a service, on a host without systemd.
pub(super) fn sysv(host: &dyn Host, service: &str) -> bool {
    DIRS[2..].iter().all(|d| host.list(Path::new(d)).is_empty())
        && ["/etc/rcS.d", "/etc/rc2.d"]
            .iter()
            .any(|d| host.list(Path::new(d)).iter().any(|n| n.starts_with('S') && n.ends_with(service)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::demo::Demo;

    fn host(files: &[(&str, &str)]) -> Demo {
        let host = Demo::new();
        for (path, text) in files {
            host.write(Path::new(path), text.as_bytes(), 0o644).unwrap();
        }
        host
    }

    const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

    #[test]
    fn a_unit_of_the_administrator_is_known_by_the_file_that_it_loads() {
        let loader = |unit: &str, text: &str, more: &[(&str, &str)], family, file: &str| {
            let host = host(&[&[(&*format!("{WANTS}/{unit}"), text)], more].concat());
            Units::read(&host).loader(family, Path::new(file)).map(str::to_owned)
        };
        let fw = "[Service]\nExecStart=-/bin/sh -c \"/sbin/iptables-restore -w < /etc/fw.rules\"\n";
        assert_eq!(loader("fw.service", fw, &[], Family::V4, "/etc/fw.rules").as_deref(), Some("fw.service"));
        assert_eq!(
            loader("fw.service", fw, &[], Family::V6, "/etc/fw.rules"),
            None,
            "it is the tool of the other family"
        );
        assert_eq!(loader("fw.service", fw, &[], Family::V4, "/etc/fw"), None);
        let script = "[Service]\nExecStart=/usr/local/sbin/fw start\n";
        let runs = |line: &str| {
            loader(
                "fw.service",
                script,
                &[("/usr/local/sbin/fw", &format!("#!/bin/sh\n{line}\n"))],
                Family::V6,
                "/etc/fw6",
            )
        };
        assert_eq!(runs("ip6tables-restore < '/etc/fw6'").as_deref(), Some("fw.service"));
        assert_eq!((runs("# ip6tables-restore < /etc/fw6"), runs("ip6tables-save > /etc/fw6")), (None, None));
        let template = [(
            "/etc/systemd/system/restore@.service",
            "[Service]\nExecStart=/usr/bin/iptables-restore \\\n  /etc/iptables/%i.rules\n",
        )];
        assert_eq!(
            loader("restore@lan.service", "x", &template, Family::V4, "/etc/iptables/lan.rules").as_deref(),
            Some("restore@lan.service")
        );
        // A drop-in removes the command.
        let reset = [("/etc/systemd/system/fw.service.d/no.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n")];
        assert_eq!(loader("fw.service", fw, &reset, Family::V4, "/etc/fw.rules"), None);
    }

    #[test]
    fn only_what_the_next_start_reaches_counts() {
        let has = |files: &[(&str, &str)]| Units::read(&host(files)).has("fw.service");
        let unit = "[Service]\nExecStart=/bin/true\n";
        let wanted = format!("{WANTS}/fw.service");
        assert!(has(&[(&wanted, unit)]));
        assert!(!has(&[(&wanted, unit), ("/etc/systemd/system/fw.service", "")]), "masked");
        assert!(!has(&[("/etc/systemd/system/rescue.target.wants/fw.service", unit)]));
        assert!(!has(&[("/run/systemd/system/multi-user.target.wants/fw.service", unit)]), "gone at the next start");
    }

    #[test]
    fn settings_are_plain_words() {
        let host = host(&[("/etc/conf.d/x", "A=\"/one\"\n A='/two' # why\n#A=/three\nB=$A\nAB=/four\n")]);
        assert_eq!(setting(&host, "/etc/conf.d/x", "A").as_deref(), Some("/two"));
        assert_eq!((setting(&host, "/etc/conf.d/x", "B"), setting(&host, "/none", "A")), (None, None));
    }
}
