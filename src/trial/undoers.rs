//! What on this host will undo a plan: managers and services that load their own rules over ours, found in their files
//! and in the rules that they left. Reported when a plan is applied and when it is kept.

use std::path::{Path, PathBuf};

use super::boot::{self, Place};
use super::load;
use super::unit::RULES;
use crate::analyse::{Manager, owner};
use crate::host::Host;
use crate::model::{Backend, Family, View};
use crate::observe::others;
use crate::plan::FamilyChange;
use crate::syntax::iptables_save;

/// Something that removes our rules when it is reloaded, restarted or started.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Undoer {
    /// firewalld: a reload flushes every table of iptables.
    Firewalld {
        /// Whether it runs now; otherwise it starts at boot.
        runs: bool,
    },
    /// ufw with `MANAGE_BUILTINS=yes`: a reload flushes the built-in chains.
    UfwBuiltins,
    /// A file of ufw that empties a chain which holds our jump, or leads to it.
    UfwFile {
        /// The file.
        file: &'static str,
        /// The chain.
        chain: String,
    },
    /// nftables.service with a `flush ruleset`.
    Nftables {
        /// The file with that command.
        file: String,
    },
    /// Files that do not contain the plan, and who loads them.
    OldFiles {
        /// The services.
        by: Vec<String>,
        /// The files.
        files: Vec<PathBuf>,
    },
}

impl Undoer {
    /// One sentence, without its full stop. `saved`: our own unit can load the plan.
    fn says(&self, saved: bool) -> String {
        let again =
            if saved { "`systemctl restart portcullis-rules` puts it in again" } else { "apply it again after each" };
        match self {
            Self::Firewalld { runs } => format!(
                "firewalld {}: `firewall-cmd --reload` and its restart remove every rule of iptables, including \
                this plan's; {again}",
                if *runs { "runs here" } else { "starts at boot" }
            ),
            Self::UfwBuiltins => format!(
                "ufw is enabled with MANAGE_BUILTINS=yes: each `ufw reload` empties INPUT and FORWARD, and removes \
                this plan; set it to no in /etc/default/ufw, or {again}"
            ),
            Self::UfwFile { file, chain } => {
                format!("{file} empties the chain {chain} at each `ufw reload`, and our jump goes with it: {again}")
            }
            Self::Nftables { file } => format!(
                "nftables.service is enabled and {file} flushes the ruleset: its start, reload and stop remove \
                every rule, including this plan's"
            ),
            Self::OldFiles { by, files } => {
                let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
                let load = if by.len() > 1 { "load" } else { "loads" };
                let by = by.join(" and ");
                format!(
                    "{by} {load} {}, without this plan, at each restart: `portcullis save` sees to that once it is \
                        kept",
                    names.join(" and ")
                )
            }
        }
    }

    /// Whether our own unit, which follows the services that build the firewall, restores our rules by itself.
    fn is_followed(&self) -> bool {
        matches!(self, Self::Nftables { .. } | Self::OldFiles { .. })
    }
}

fn text(host: &dyn Host, path: &str) -> String {
    host.read(Path::new(path)).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

/// What will undo the plan of these changes, one sentence each without its full stop; `view` is the host
/// as it was seen.
pub fn undoers(host: &dyn Host, view: &View, families: &[FamilyChange]) -> Vec<String> {
    // A plan that leaves no rules cannot be undone.
    if !families.iter().any(|c| c.doors.iter().any(|d| d.new.is_some())) {
        return Vec::new();
    }
    let mut out = Vec::new();
    let place = Place::look(host);
    let runs = firewalld_runs(host, view);
    if runs || place.runs("firewalld.service") {
        out.push(Undoer::Firewalld { runs });
    }
    out.extend(ufw(host, families));
    // What flushes nft's rules does not touch those of iptables-legacy.
    out.extend(
        place.wiped_by(host).filter(|_| view.backend != Some(Backend::Legacy)).map(|file| Undoer::Nftables { file }),
    );
    out.extend(old_files(host, &place, families));
    let saved = load::holds(host, families) && place.runs(RULES);
    out.retain(|u| !(saved && u.is_followed()));
    out.iter().map(|u| u.says(saved)).collect()
}

/// firewalld removes its rules when it stops: if they are loaded, it runs.
fn firewalld_runs(host: &dyn Host, view: &View) -> bool {
    let chains =
        || Family::BOTH.into_iter().filter_map(|f| view.rules(f)).flat_map(|r| &r.tables).flat_map(|t| &t.chains);
    chains().any(|c| owner(&c.name) == Some(Manager::Firewalld))
        || others::native_tables(host).iter().any(|t| t == "inet firewalld")
}

/// ufw's files that iptables-restore reads (ufw-framework(8)).
const UFW_FILES: [(&str, Family); 6] = [
    ("/etc/ufw/before.rules", Family::V4),
    ("/etc/ufw/user.rules", Family::V4),
    ("/etc/ufw/after.rules", Family::V4),
    ("/etc/ufw/before6.rules", Family::V6),
    ("/etc/ufw/user6.rules", Family::V6),
    ("/etc/ufw/after6.rules", Family::V6),
];

fn ufw(host: &dyn Host, families: &[FamilyChange]) -> Vec<Undoer> {
    if !boot::is_yes(host, "/etc/ufw/ufw.conf", "ENABLED") {
        return Vec::new();
    }
    let mut out = Vec::new();
    if boot::is_yes(host, "/etc/default/ufw", "MANAGE_BUILTINS") {
        out.push(Undoer::UfwBuiltins);
    }
    for (file, family) in UFW_FILES {
        let Some(change) = families.iter().find(|c| c.family() == family) else { continue };
        let rules = text(host, file);
        let mut chains: Vec<&str> = change
            .doors
            .iter()
            .filter(|d| d.new.is_some())
            .flat_map(|d| [d.parent.as_str(), if d.is_forwarded() { "FORWARD" } else { "INPUT" }, d.switch.as_str()])
            .collect();
        chains.sort_unstable();
        chains.dedup();
        out.extend(
            chains.into_iter().filter(|c| empties(&rules, c)).map(|c| Undoer::UfwFile { file, chain: c.to_owned() }),
        );
    }
    out
}

/// Whether a text for `iptables-restore --noflush` empties a chain: declaring a user-defined chain empties it.
fn empties(rules: &str, chain: &str) -> bool {
    let built_in = matches!(chain, "INPUT" | "FORWARD" | "OUTPUT");
    rules.lines().any(|l| {
        let mut words = l.split_whitespace();
        match words.next() {
            Some(first) if !built_in && first.strip_prefix(':') == Some(chain) => true,
            Some("-F" | "--flush") => words.next().is_none_or(|c| c == chain),
            _ => false,
        }
    })
}

/// Files that are loaded again at boot and at a restart, and that do not contain the plan.
fn old_files(host: &dyn Host, place: &Place, families: &[FamilyChange]) -> Option<Undoer> {
    let old: Vec<(Family, PathBuf, String)> = place
        .reloaded(host)
        .into_iter()
        .filter(|(family, path, _)| {
            let change = families.iter().find(|c| c.family() == *family);
            let set = host.read(path).ok().map(|b| iptables_save::read(&String::from_utf8_lossy(&b), *family).0);
            change.zip(set).is_some_and(|(c, set)| !c.is_kept_in(&set) || !c.without_jump(&set, false).is_empty())
        })
        .collect();
    let mut by: Vec<String> = old.iter().map(|(.., by)| by.clone()).collect();
    by.dedup();
    (!old.is_empty()).then(|| Undoer::OldFiles { by, files: old.iter().map(|(_, file, _)| file.clone()).collect() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::host::demo::Demo;
    use crate::observe::live::observe;
    use crate::plan;
    use crate::syntax::plan as plan_file;

    const PLAN: &str =
        "version = 1\n[[rule]]\naction = \"drop\"\nfrom = [\"any\"]\nto = [\"portmapper\", \"published:9042/tcp\"]\n";

    fn said(change: impl Fn(&Demo)) -> Vec<String> {
        let host = Demo::new();
        change(&host);
        let view = observe(&host);
        let made = plan::build(&view, &plan_file::read(PLAN).unwrap()).unwrap();
        undoers(&host, &view, &made.families)
    }

    fn put(host: &Demo, path: &str, text: &str) {
        host.write(Path::new(path), text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn what_undoes_a_plan_is_named() {
        assert_eq!(said(|_| ()), [""; 0]);
        let wants =
            |h: &Demo, unit: &str| put(h, &format!("/etc/systemd/system/multi-user.target.wants/{unit}"), "[Unit]\n");
        assert!(
            said(|h| wants(h, "firewalld.service"))[0].starts_with("firewalld starts at boot: `firewall-cmd --reload`")
        );
        let nft = |h: &Demo| put(h, "/etc/nftables.conf", "#!/usr/sbin/nft -f\n\nflush ruleset\n");
        assert_eq!(said(nft), [""; 0], "nothing loads it");
        assert!(
            said(|h| {
                nft(h);
                wants(h, "nftables.service");
            })[0]
                .contains("/etc/nftables.conf flushes the ruleset")
        );
        assert_eq!(
            said(|h| {
                put(h, "/etc/nftables.conf", "# flush ruleset\n");
                wants(h, "nftables.service");
            }),
            [""; 0]
        );
        let old = said(|h| put(h, "/etc/iptables/rules.v4", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"));
        // Its rules without a jump to them are not the plan.
        let made = plan::build(&observe(&Demo::new()), &plan_file::read(PLAN).unwrap()).unwrap();
        let v4 = made.families.iter().find(|f| f.family() == Family::V4).unwrap();
        let whole =
            v4.apply_script(None).replace("-I INPUT 1 ", "-A INPUT ").replace("-I DOCKER-USER 1 ", "-A DOCKER-USER ");
        assert_eq!(said(|h| put(h, "/etc/iptables/rules.v4", &whole)), [""; 0], "{whole}");
        let jumpless: String = whole
            .lines()
            .filter(|l| !l.contains(" -j PORTCULLIS-FWD") && !l.ends_with(" -j PORTCULLIS"))
            .flat_map(|l| [l, "\n"])
            .collect();
        assert_eq!(said(|h| put(h, "/etc/iptables/rules.v4", &jumpless)), old, "{jumpless}");
        assert_eq!(
            old,
            ["netfilter-persistent loads /etc/iptables/rules.v4, without this plan, at each restart: \
            `portcullis save` sees to that once it is kept"]
        );
    }

    #[test]
    fn ufw_undoes_a_plan_by_its_files_and_its_settings() {
        let ufw = |enabled: &str, file: &str, text: &str| {
            said(|h| {
                put(h, "/etc/ufw/ufw.conf", &format!("# ENABLED=yes\nENABLED={enabled}\nLOGLEVEL=low\n"));
                put(h, file, text);
            })
        };
        let docker = "# BEGIN UFW AND DOCKER\n*filter\n:ufw-user-forward - [0:0]\n:DOCKER-USER - [0:0]\n-A \
            DOCKER-USER -j ufw-user-forward\nCOMMIT\n";
        assert_eq!(
            ufw("yes", "/etc/ufw/after.rules", docker),
            ["/etc/ufw/after.rules empties the chain DOCKER-USER at each `ufw reload`, and our jump goes with it: \
                apply it again after each"]
        );
        assert_eq!(ufw("no", "/etc/ufw/after.rules", docker), [""; 0]);
        // In the other family, no such chain leads to our rules.
        assert_eq!(ufw("yes", "/etc/ufw/after6.rules", docker), [""; 0]);
        // A built-in chain keeps its rules when it is declared (seen with iptables 1.8.9, nft and legacy).
        assert_eq!(ufw("yes", "/etc/ufw/before.rules", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"), [""; 0]);
        assert!(
            ufw("yes", "/etc/ufw/before.rules", "*filter\n-F INPUT\nCOMMIT\n")[0].contains("empties the chain INPUT")
        );
        assert!(
            ufw("yes", "/etc/default/ufw", "MANAGE_BUILTINS=\"yes\"\n")[0]
                .starts_with("ufw is enabled with MANAGE_BUILTINS=yes")
        );
        assert_eq!(ufw("yes", "/etc/default/ufw", "MANAGE_BUILTINS=no\n"), [""; 0]);
    }

    #[test]
    fn what_our_own_unit_restores_is_not_reported() {
        let host = Demo::new();
        let view = observe(&host);
        let families = plan::build(&view, &plan_file::read(PLAN).unwrap()).unwrap().families;
        let wants = |unit: &str| put(&host, &format!("/etc/systemd/system/multi-user.target.wants/{unit}"), "[Unit]\n");
        put(&host, "/etc/iptables/rules.v4", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n");
        wants("firewalld.service");
        let before = undoers(&host, &view, &families);
        assert!(
            before.len() == 2
                && before[0].ends_with("apply it again after each")
                && before[1].contains("netfilter-persistent loads"),
            "{before:?}"
        );
        for change in &families {
            let rules = |forwarded| {
                change.doors.iter().find(|d| d.is_forwarded() == forwarded).map(|d| d.rules.clone()).unwrap_or_default()
            };
            let part = plan::Part { family: change.family(), input: rules(false), forward: rules(true), docker: true };
            put(&host, load::path(&host, change.family()).to_str().unwrap(), &part.write());
        }
        assert_eq!(undoers(&host, &view, &families), before, "nothing loads it");
        wants(RULES);
        let saved = undoers(&host, &view, &families);
        assert!(
            saved.len() == 1 && saved[0].ends_with("`systemctl restart portcullis-rules` puts it in again"),
            "{saved:?}"
        );
    }
}
