//! The ipsets that boot makes before it loads the rules. If one is missing, iptables-restore refuses the whole table: a
//! distribution's service then logs that, exits successfully, and the host has no rules.

use std::path::Path;

use super::layout::{Kept, Layout, Service, Start};
use super::units::{Units, is_file, setting, text, words};
use crate::host::{Cmd, Host};
use crate::model::{IpSet, Ruleset};
use crate::syntax::ipset;

/// Rule options that name a set: of `-m set` and `-j SET`.
const NAMED_BY: [&str; 4] = ["--match-set", "--add-set", "--del-set", "--map-set"];

impl Kept {
    /// What the service feeds to `ipset restore`.
    fn text(self, host: &dyn Host) -> String {
        match self {
            Self::File(path) => text(host, Path::new(path)),
            Self::Named(usual, file, name) => {
                text(host, Path::new(&setting(host, file, name).unwrap_or_else(|| usual.to_owned())))
            }
            Self::Files(dir, old) => {
                let files: Vec<String> = names(host, dir).iter().map(|n| text(host, &Path::new(dir).join(n))).collect();
                let first: String = files.iter().filter_map(|t| t.lines().next()).flat_map(|l| [l, "\n"]).collect();
                let rest: String = files.iter().flat_map(|t| t.lines().skip(1)).flat_map(|l| [l, "\n"]).collect();
                first + &rest + &text(host, Path::new(old))
            }
            Self::Bare(dir) => {
                let of = |name: &String| -> Vec<String> {
                    text(host, &Path::new(dir).join(name))
                        .lines()
                        .filter(|l| !l.starts_with('#'))
                        .map(str::to_owned)
                        .collect()
                };
                let files: Vec<(String, Vec<String>)> = names(host, dir)
                    .into_iter()
                    .map(|n| {
                        let lines = of(&n);
                        (n, lines)
                    })
                    .collect();
                let first = files.iter().filter_map(|(n, lines)| Some(format!("create {n} {}\n", lines.first()?)));
                let rest =
                    files.iter().flat_map(|(n, lines)| lines.iter().skip(1).map(move |l| format!("add {n} {l}\n")));
                first.chain(rest).collect()
            }
        }
    }

    /// The commands that store these sets for boot; they are loaded now.
    fn put(self, host: &dyn Host, names: &[String]) -> String {
        let each = |to: &dyn Fn(&str) -> String| {
            names.iter().map(|n| format!("`ipset save {n} {}`", to(n))).collect::<Vec<_>>().join(" and ")
        };
        match self {
            Self::File(path) => each(&|_| format!(">> {path}")),
            Self::Named(usual, file, name) => {
                each(&|_| format!(">> {}", setting(host, file, name).unwrap_or_else(|| usual.to_owned())))
            }
            Self::Files(dir, _) => each(&|n| format!("> {dir}/{n}.set")),
            Self::Bare(_) => "`rc-service ipset save`".to_owned(),
        }
    }
}

fn names(host: &dyn Host, dir: &str) -> Vec<String> {
    host.list(Path::new(dir))
        .into_iter()
        .filter(|n| !n.starts_with('.') && is_file(host, &Path::new(dir).join(n)))
        .collect()
}

/// The sets that the rules name, and the members of such sets, in the order in which they have to be made.
pub(super) fn named(saved: &Ruleset, live: &[IpSet]) -> Vec<String> {
    let rules = saved.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules);
    let mut out: Vec<String> = Vec::new();
    for name in rules.flat_map(|r| NAMED_BY.iter().filter_map(|o| r.value(o)).map(String::from).collect::<Vec<_>>()) {
        let members = live.iter().filter(|s| s.name == name && s.kind == "list:set").flat_map(|s| &s.entries);
        let members = members.filter_map(|e| e.split_whitespace().next()).map(str::to_owned);
        for name in members.chain([name.clone()]).collect::<Vec<_>>() {
            if !out.contains(&name) {
                out.push(name);
            }
        }
    }
    out
}

/// The sets that are loaded now.
pub(super) fn live(host: &dyn Host) -> Vec<IpSet> {
    host.run(&Cmd::new("ipset", &["save"]))
        .ok()
        .filter(|o| o.status == 0)
        .map(|o| ipset::read(&o.text()).0)
        .unwrap_or_default()
}

/// The sets that boot makes before it loads the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtBoot {
    /// Input for `ipset restore -exist`.
    pub script: String,
    /// Sets made by a unit's commands; their entries are unknown.
    made: Vec<String>,
}

impl AtBoot {
    /// What the distribution's services and the administrator's units make before `loader` runs.
    pub(super) fn of(host: &dyn Host, layout: Option<&Layout>, units: &Units, loader: Option<&str>) -> Self {
        let mut out = Self::default();
        if let Some((kept, _)) = layout.map(|l| l.sets).filter(|(_, s)| s.start(host, units) == Start::Runs) {
            out.script = kept.text(host);
        }
        // The distribution's units are known; anybody may add plugins.
        let own = layout.filter(|_| !out.script.is_empty()).and_then(|l| l.sets.1.unit());
        for (unit, line) in units.commands().filter(|(unit, _)| Some(*unit) != own) {
            let before = loader.is_none_or(|l| l == unit || units.in_order(unit, l));
            let all: Vec<&str> = words(line).collect();
            if !before || !all.iter().any(|w| *w == "ipset" || w.ends_with("/ipset")) {
                continue;
            }
            if all.iter().any(|w| matches!(*w, "restore" | "-R" | "--restore")) {
                let files = all.iter().filter(|w| w.starts_with('/') && !w.ends_with("/ipset"));
                out.script.extend(files.map(|f| text(host, Path::new(f))));
            }
            let made = all.windows(2).filter(|w| matches!(w[0], "create" | "-N" | "--create")).map(|w| w[1].to_owned());
            out.made.extend(made);
        }
        out
    }

    /// Which of these sets boot does not make.
    pub(super) fn lacks(&self, named: &[String]) -> Vec<String> {
        // A script that only adds entries to a set does not make it.
        let made: Vec<&str> = self
            .script
            .lines()
            .filter_map(|l| {
                let mut words = l.split_whitespace();
                matches!(words.next()?, "create" | "-N" | "--create")
                    .then(|| words.next().map(|n| n.trim_matches('"')))
                    .flatten()
            })
            .collect();
        named.iter().filter(|n| !made.contains(&n.as_str()) && !self.made.contains(n)).cloned().collect()
    }

    /// The sets as boot fills them. For those that commands make, and those that nothing makes, the current entries are
    /// the best guess.
    pub(in crate::trial) fn filled(&self, live: &[IpSet]) -> Vec<IpSet> {
        let (mut out, _) = ipset::read(&self.script);
        out.retain(|s| !self.made.contains(&s.name));
        let others: Vec<IpSet> = live.iter().filter(|s| out.iter().all(|o| o.name != s.name)).cloned().collect();
        out.extend(others);
        out
    }

    /// The script, and the sets that commands make, with their current type and no entries.
    pub(super) fn with_made(mut self, live: &[IpSet]) -> Self {
        let made =
            live.iter().filter(|s| self.made.contains(&s.name)).map(|s| IpSet { entries: Vec::new(), ..s.clone() });
        self.script.push_str(&ipset::write(&made.collect::<Vec<_>>()));
        self
    }
}

/// How to make boot create these sets.
pub(super) fn remedy(host: &dyn Host, layout: &Layout, units: &Units, lacking: &[String]) -> String {
    let (kept, service): (Kept, Service) = layout.sets;
    let put = kept.put(host, lacking);
    match service.start(host, units) {
        Start::Runs => put,
        Start::Off => format!("{}, and {put}", Service::enable(&[service])),
        // A plugin needs nothing more; it runs with the others.
        Start::Missing if matches!(service, Service::Plugin(_)) => {
            format!("{}, and {put}", layout.of.install(host, layout.set_packages))
        }
        Start::Missing => {
            format!("{}, {}, and {put}", layout.of.install(host, layout.set_packages), Service::enable(&[service]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::demo::Demo;
    use crate::model::Family;
    use crate::syntax::iptables_save;
    use crate::trial::boot::layout::LAYOUTS;

    fn host(files: &[(&str, &str)]) -> Demo {
        let host = Demo::new();
        for (path, text) in files {
            host.write(Path::new(path), text.as_bytes(), 0o644).unwrap();
        }
        host
    }

    #[test]
    fn sets_are_found_where_each_distribution_keeps_them() {
        let made = |of: usize, files: &[(&str, &str)]| {
            let host = host(files);
            AtBoot::of(&host, Some(&LAYOUTS[of]), &Units::read(&host), None).script
        };
        let plugin = (
            "/usr/share/netfilter-persistent/plugins.d/10-ipset",
            "#!/bin/sh\nipset restore -exist < /etc/iptables/ipsets\n",
        );
        let two = "create a hash:ip\nadd a 192.0.2.1\n";
        assert_eq!(made(0, &[plugin, ("/etc/iptables/ipsets", two)]), two);
        assert_eq!(made(0, &[("/etc/iptables/ipsets", two)]), "", "nothing loads it");
        assert_eq!(
            made(0, &[(plugin.0, "ipset restore -exist < /etc/iptables/ipsets\n"), ("/etc/iptables/ipsets", two)]),
            "",
            "it may not be run"
        );
        let theirs = (plugin.0, "#!/bin/sh\ngrep ^create /etc/iptables/rules.ipset | ipset restore\n");
        assert_eq!(made(0, &[theirs, ("/etc/iptables/rules.ipset", two)]), two, "a plugin of others");
        let wants = "/etc/systemd/system/multi-user.target.wants/ipset.service";
        let red_hat = (wants, "[Service]\nExecStart=/usr/libexec/ipset/ipset.start-stop start\n");
        let files = [
            red_hat,
            ("/etc/sysconfig/ipset.d/l.set", "create l list:set\nadd l a\n"),
            ("/etc/sysconfig/ipset.d/m.set", "create a hash:ip\nadd a 192.0.2.1\n"),
        ];
        assert_eq!(
            made(1, &files),
            "create l list:set\ncreate a hash:ip\nadd l a\nadd a 192.0.2.1\n",
            "lists after what they are made of"
        );
        assert_eq!(made(1, &[red_hat, ("/etc/sysconfig/ipset", two)]), two);
        assert_eq!(
            made(
                2,
                &[
                    (wants, "[Service]\nExecStart=/usr/bin/ipset -f /etc/ipset.conf restore\n"),
                    ("/etc/ipset.conf", two)
                ]
            ),
            two
        );
        let openrc = [("/etc/init.d/ipset", "#!/sbin/openrc-run\n"), ("/etc/runlevels/boot/ipset", "")];
        let alpine = [openrc[0], openrc[1], ("/etc/ipset.d/a", "# mine\nhash:ip family inet\n192.0.2.1\n")];
        assert_eq!(made(3, &alpine), "create a hash:ip family inet\nadd a 192.0.2.1\n");
        assert_eq!(
            made(4, &[openrc[0], openrc[1], ("/etc/conf.d/ipset", "IPSET_SAVE=/srv/sets\n"), ("/srv/sets", two)]),
            two
        );
    }

    #[test]
    fn a_unit_of_the_administrator_counts_when_it_runs_before_the_rules() {
        let lacks = |unit: &str| {
            let host = host(&[
                ("/etc/systemd/system/multi-user.target.wants/sets.service", unit),
                ("/srv/sets", "create a hash:ip\n"),
                ("/srv/make", "#!/bin/sh\n/usr/sbin/ipset -exist create b hash:net\n"),
            ]);
            AtBoot::of(&host, Some(&LAYOUTS[0]), &Units::read(&host), Some("netfilter-persistent.service"))
                .lacks(&["a".to_owned(), "b".to_owned()])
        };
        let before = "[Unit]\nBefore=netfilter-persistent.service\n[Service]\n";
        assert!(
            lacks(&format!("{before}ExecStart=/sbin/ipset restore -f /srv/sets\nExecStartPost=/srv/make\n")).is_empty()
        );
        assert_eq!(lacks(&format!("{before}ExecStart=/srv/make\n")), ["a"]);
        assert_eq!(
            lacks("[Service]\nExecStart=/sbin/ipset restore -f /srv/sets\n"),
            ["a", "b"],
            "nothing orders it before"
        );
    }

    #[test]
    fn a_set_is_filled_as_boot_fills_it_where_that_is_known() {
        let live = ipset::read("create a hash:ip\nadd a 192.0.2.1\ncreate b hash:ip\nadd b 192.0.2.2\n").0;
        let at = AtBoot { script: "create a hash:ip\n".into(), made: Vec::new() };
        assert_eq!(
            at.filled(&live).iter().map(|s| (s.name.as_str(), s.entries.len())).collect::<Vec<_>>(),
            [("a", 0), ("b", 1)]
        );
    }

    #[test]
    fn every_way_to_name_a_set_is_found_and_lists_include_their_members() {
        let rules = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m set --match-set l src -j DROP\n\
            -A INPUT -m set ! --match-set b src --return-nomatch -j DROP\n-A INPUT -j SET --add-set c src --exist\n\
            COMMIT\n*mangle\n-A PREROUTING -j SET --map-set d dst --map-mark\nCOMMIT\n";
        let set = iptables_save::read(rules, Family::V4).0;
        let live = ipset::read("create a hash:ip\ncreate l list:set size 8\nadd l a\n").0;
        assert_eq!(named(&set, &live), ["a", "l", "b", "c", "d"]);
        // Adding entries to a set does not make it.
        let at = AtBoot { script: "create a hash:ip\nadd l a\n".into(), made: Vec::new() };
        assert_eq!(at.lacks(&named(&set, &live)), ["l", "b", "c", "d"]);
    }
}
