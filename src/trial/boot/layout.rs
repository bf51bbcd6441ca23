//! The table of distributions: where each keeps the rules that boot loads, who loads them, and how to enable that.

use std::path::{Path, PathBuf};

use super::units::{PERSISTENT, Units, installed, is_file, openrc, plugins, setting, sysv};
use crate::host::Host;
use crate::model::Family;

/// The distribution, from /etc/os-release (os-release(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distro {
    Debian,
    RedHat,
    Arch,
    Alpine,
    Gentoo,
    Suse,
    Other,
}

/// The words in ID and ID_LIKE that identify it.
const WORDS: &[(&str, Distro)] = &[
    ("debian", Distro::Debian),
    ("ubuntu", Distro::Debian),
    ("fedora", Distro::RedHat),
    ("rhel", Distro::RedHat),
    ("centos", Distro::RedHat),
    ("arch", Distro::Arch),
    ("archlinux", Distro::Arch),
    ("alpine", Distro::Alpine),
    ("gentoo", Distro::Gentoo),
    ("suse", Distro::Suse),
    ("opensuse", Distro::Suse),
    ("sles", Distro::Suse),
];

impl Distro {
    /// Reads /etc/os-release: ID first, then ID_LIKE.
    pub(super) fn of(host: &dyn Host) -> Self {
        let file = ["/etc/os-release", "/usr/lib/os-release"]
            .into_iter()
            .find(|f| is_file(host, Path::new(f)))
            .unwrap_or_default();
        let words = ["ID", "ID_LIKE"].map(|name| setting(host, file, name).unwrap_or_default()).join(" ");
        words
            .split_whitespace()
            .find_map(|w| WORDS.iter().find(|(word, _)| *word == w))
            .map_or(Self::Other, |(_, d)| *d)
    }

    /// The command that installs packages on it.
    pub(super) fn install(self, host: &dyn Host, packages: &str) -> String {
        let command = match self {
            Self::Debian => "apt install",
            Self::RedHat if host.find("dnf").is_none() && host.find("yum").is_some() => "yum install",
            Self::RedHat => "dnf install",
            Self::Arch => "pacman -S",
            Self::Alpine => "apk add",
            Self::Gentoo => "emerge",
            Self::Suse => "zypper install",
            Self::Other => return format!("install {packages}"),
        };
        format!("`{command} {packages}`")
    }
}

/// Who loads the rules of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// A plugin of Debian's netfilter-persistent(8), by the end of its file name.
    Plugin(&'static str),
    /// A systemd unit, and a word that its command contains: unrelated units may have the same name.
    Unit(&'static str, &'static str),
    /// An OpenRC service.
    OpenRc(&'static str),
}

/// What a service does at the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It is started.
    Runs,
    /// It is installed but not started.
    Off,
    /// It is not installed.
    Missing,
}

impl Service {
    pub(super) fn start(self, host: &dyn Host, units: &Units) -> Start {
        let off_or = |runs: bool| if runs { Start::Runs } else { Start::Off };
        match self {
            Self::Plugin(name) if !has_plugin(host, name) => Start::Missing,
            Self::Plugin(_) => off_or(units.has(PERSISTENT) || sysv(host, "netfilter-persistent")),
            Self::Unit(unit, part) if units.has(unit) => {
                if units.runs(unit, part) {
                    Start::Runs
                } else {
                    Start::Missing
                }
            }
            Self::Unit(unit, part) => {
                if installed(host, unit).is_some_and(|t| t.contains(part)) {
                    Start::Off
                } else {
                    Start::Missing
                }
            }
            Self::OpenRc(name) => match openrc(host, name) {
                (_, false) => Start::Missing,
                (wanted, true) => off_or(wanted),
            },
        }
    }

    /// Whether anything shows that the host was set up for it, even halfway.
    fn has_trace(self, host: &dyn Host, units: &Units) -> bool {
        self.start(host, units) != Start::Missing || matches!(self, Self::OpenRc(name) if openrc(host, name).0)
    }

    /// Its name in a sentence.
    pub(super) fn name(self) -> String {
        match self {
            Self::Plugin(_) => "netfilter-persistent".to_owned(),
            Self::Unit(unit, _) => unit.to_owned(),
            Self::OpenRc(name) => format!("OpenRC's {name}"),
        }
    }

    /// The systemd unit that runs it.
    pub(super) fn unit(self) -> Option<&'static str> {
        match self {
            Self::Plugin(_) => Some(PERSISTENT),
            Self::Unit(unit, _) => Some(unit),
            Self::OpenRc(_) => None,
        }
    }

    /// The command that enables these services at boot.
    pub(super) fn enable(services: &[Self]) -> String {
        let of = |openrc: bool| {
            let mut names: Vec<&str> = services
                .iter()
                .filter_map(|s| match s {
                    Self::OpenRc(name) => openrc.then_some(*name),
                    _ => s.unit().filter(|_| !openrc).map(|u| u.trim_end_matches(".service")),
                })
                .collect();
            names.dedup();
            names
        };
        let units = of(false);
        let units = (!units.is_empty()).then(|| format!("`systemctl enable {}`", units.join(" ")));
        let commands: Vec<String> =
            units.into_iter().chain(of(true).into_iter().map(|n| format!("`rc-update add {n}`"))).collect();
        commands.join(" and ")
    }
}

fn has_plugin(host: &dyn Host, name: &str) -> bool {
    plugins(host).iter().any(|p| p.to_string_lossy().ends_with(name))
}

/// Where a service finds the sets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    /// One file in the format of `ipset save`.
    File(&'static str),
    /// The same, unless a variable in a settings file names another one.
    Named(&'static str, &'static str, &'static str),
    /// A directory with one such file per set, then a file written by older versions.
    Files(&'static str, &'static str),
    /// A directory with one file per set, named after it: type and options, then the entries.
    Bare(&'static str),
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) of: Distro,
    /// IPv4 and IPv6.
    files: [&'static str; 2],
    /// Where the administrator may name other files: a settings file and its variable.
    named: Option<[(&'static str, &'static str); 2]>,
    pub(super) services: [Service; 2],
    /// The packages that provide the services.
    pub(super) packages: &'static str,
    /// Where the sets used by the rules are kept, and who makes them before the rules are loaded.
    pub(super) sets: (Kept, Service),
    /// The packages that provide that service.
    pub(super) set_packages: &'static str,
    /// Settings that make the service overwrite these files with the loaded rules when it stops.
    pub(super) saved_at_stop: [(&'static str, &'static str); 2],
}

pub(super) const LAYOUTS: &[Layout] = &[
    Layout {
        of: Distro::Debian,
        files: ["/etc/iptables/rules.v4", "/etc/iptables/rules.v6"],
        named: None,
        services: [Service::Plugin("ip4tables"), Service::Plugin("ip6tables")],
        packages: "iptables-persistent",
        sets: (Kept::File("/etc/iptables/ipsets"), Service::Plugin("ipset")),
        set_packages: "ipset-persistent",
        saved_at_stop: [("", ""); 2],
    },
    Layout {
        of: Distro::RedHat,
        files: ["/etc/sysconfig/iptables", "/etc/sysconfig/ip6tables"],
        named: None,
        services: [Service::Unit("iptables.service", "tables.init"), Service::Unit("ip6tables.service", "tables.init")],
        packages: "iptables-services",
        sets: (
            Kept::Files("/etc/sysconfig/ipset.d", "/etc/sysconfig/ipset"),
            Service::Unit("ipset.service", "ipset.start-stop"),
        ),
        set_packages: "ipset-service",
        saved_at_stop: [
            ("/etc/sysconfig/iptables-config", "IPTABLES_SAVE_ON_STOP"),
            ("/etc/sysconfig/ip6tables-config", "IP6TABLES_SAVE_ON_STOP"),
        ],
    },
    Layout {
        of: Distro::Arch,
        files: ["/etc/iptables/iptables.rules", "/etc/iptables/ip6tables.rules"],
        named: None,
        services: [
            Service::Unit("iptables.service", "/etc/iptables/iptables.rules"),
            Service::Unit("ip6tables.service", "/etc/iptables/ip6tables.rules"),
        ],
        packages: "iptables",
        sets: (Kept::File("/etc/ipset.conf"), Service::Unit("ipset.service", "/etc/ipset.conf")),
        set_packages: "ipset",
        saved_at_stop: [("", ""); 2],
    },
    Layout {
        of: Distro::Alpine,
        files: ["/etc/iptables/rules-save", "/etc/iptables/rules6-save"],
        named: Some(OPENRC_NAMES),
        services: [Service::OpenRc("iptables"), Service::OpenRc("ip6tables")],
        packages: "iptables iptables-openrc",
        sets: (Kept::Bare("/etc/ipset.d"), Service::OpenRc("ipset")),
        set_packages: "ipset ipset-openrc",
        saved_at_stop: OPENRC_STOP,
    },
    Layout {
        of: Distro::Gentoo,
        files: ["/var/lib/iptables/rules-save", "/var/lib/ip6tables/rules-save"],
        named: Some(OPENRC_NAMES),
        services: [Service::OpenRc("iptables"), Service::OpenRc("ip6tables")],
        packages: "net-firewall/iptables",
        sets: (Kept::Named("/var/lib/ipset/rules-save", "/etc/conf.d/ipset", "IPSET_SAVE"), Service::OpenRc("ipset")),
        set_packages: "net-firewall/ipset",
        saved_at_stop: OPENRC_STOP,
    },
];

const OPENRC_NAMES: [(&str, &str); 2] =
    [("/etc/conf.d/iptables", "IPTABLES_SAVE"), ("/etc/conf.d/ip6tables", "IP6TABLES_SAVE")];
const OPENRC_STOP: [(&str, &str); 2] =
    [("/etc/conf.d/iptables", "SAVE_ON_STOP"), ("/etc/conf.d/ip6tables", "SAVE_ON_STOP")];

impl Layout {
    /// Its files on this host.
    pub(super) fn files(&self, host: &dyn Host) -> [PathBuf; 2] {
        let named = self
            .named
            .map_or([None, None], |n| n.map(|(file, name)| setting(host, file, name).filter(|v| v.starts_with('/'))));
        let [v4, v6] = named;
        [v4.map_or_else(|| self.files[0].into(), PathBuf::from), v6.map_or_else(|| self.files[1].into(), PathBuf::from)]
    }

    /// Whether a unit of the administrator's loads one of its files.
    fn is_loaded_by_hand(&self, host: &dyn Host, units: &Units) -> bool {
        Family::BOTH.into_iter().zip(self.files(host)).any(|(family, file)| units.loader(family, &file).is_some())
    }

    /// Chooses the layout of this host. The distribution's own comes first, as long as anything shows that
    /// it is in use.
    pub(super) fn choose(host: &dyn Host, distro: Distro, units: &Units) -> Option<&'static Self> {
        let native = LAYOUTS.iter().find(|l| l.of == distro);
        let in_use =
            |l: &&Self| l.services.iter().any(|s| s.has_trace(host, units)) || l.is_loaded_by_hand(host, units);
        let running = |l: &&Self| l.services[0].start(host, units) == Start::Runs;
        native
            .filter(in_use)
            .or_else(|| LAYOUTS.iter().find(running))
            .or(native)
            .or_else(|| LAYOUTS.iter().find(in_use))
    }
}
