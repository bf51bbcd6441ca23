//! Finds out who loads the saved rules at boot, from the files that decide it. Running services are not asked: what
//! matters is the next boot. [`layout`] is the table of the distributions.

mod layout;
mod manager;
mod sets;
mod units;

use std::path::{Path, PathBuf};

use self::layout::{Distro, Layout, Service, Start};
use self::units::{Units, setting, text, words};
use crate::analyse::Manager;
use crate::host::Host;
use crate::model::{Backend, Family, Ruleset};
use crate::observe::others;

pub use self::sets::AtBoot;

/// Always added: what a later reload by hand does.
const LATER: &str = "Reloading these files by hand later wipes the chains of Docker and others that are not in them; \
    restart those then.";

/// What works on a host whose firewall is built by a manager.
const OURS: &str = "`portcullis save --ours` saves and loads portcullis' own chains alone";

/// What the next boot does with the saved files.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Sentences, each with whether it asks for something to be done before the next boot.
    said: Vec<(bool, String)>,
    /// Who loads the file of each saved family.
    loaders: Vec<(Family, Option<String>)>,
    /// Whether something else keeps the files from being loaded.
    in_the_way: bool,
    /// The sets that are made before each family's file is loaded, and those that its rules name but nothing makes.
    sets: Vec<(Family, AtBoot, Vec<String>)>,
    /// How to make boot create the missing sets.
    sets_remedy: String,
}

impl Boot {
    /// Files that are loaded by one program, or by none.
    pub(super) fn loaded_by(program: Option<&str>, families: impl Iterator<Item = Family>) -> Self {
        Self { loaders: families.map(|f| (f, program.map(str::to_owned))).collect(), ..Self::default() }
    }

    /// Whether the next boot loads every file.
    pub fn loads(&self) -> bool {
        !self.in_the_way && self.loaders.iter().all(|(_, by)| by.is_some())
    }

    /// The name of the program or service that loads a family's file.
    pub fn loader(&self, family: Family) -> Option<&str> {
        self.loaders.iter().find(|(f, _)| *f == family)?.1.as_deref()
    }

    /// All sentences, one per line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.said.iter().map(|(_, line)| line.as_str())
    }

    /// What remains to be done before the next boot; `None` if nothing does.
    pub fn to_do(&self) -> Option<String> {
        let lines: Vec<&str> = self.said.iter().filter(|(to_do, _)| *to_do).map(|(_, l)| l.as_str()).collect();
        (!lines.is_empty()).then(|| lines.join(" "))
    }

    /// The sets that boot makes before it loads a family's file; `None` if nothing is known to load that file.
    pub(super) fn sets(&self, family: Family) -> Option<&AtBoot> {
        self.loader(family)?;
        self.sets.iter().find(|(f, ..)| *f == family).map(|(_, sets, _)| sets)
    }

    /// The sets that a family's rules name but boot does not make, and how to make boot create them.
    pub(super) fn lacks(&self, family: Family) -> Option<(&[String], &str)> {
        self.sets
            .iter()
            .find(|(f, _, lacking)| *f == family && !lacking.is_empty())
            .map(|(.., lacking)| (&lacking[..], self.sets_remedy.as_str()))
    }

    /// Adds a sentence for information.
    pub(super) fn says(&mut self, line: impl Into<String>) {
        self.said.push((false, line.into()));
    }

    /// Adds a sentence about something to be done before the next boot.
    pub(super) fn asks(&mut self, line: impl Into<String>) {
        self.said.push((true, line.into()));
    }

    /// Adds a sentence about something that keeps the files from being loaded.
    fn stops(&mut self, line: impl Into<String>) {
        self.in_the_way = true;
        self.asks(line);
    }
}

/// Where this host keeps the rules that boot loads.
pub struct Place {
    distro: Distro,
    layout: Option<&'static Layout>,
    units: Units,
    /// IPv4 and IPv6.
    files: [PathBuf; 2],
}

impl Place {
    /// Inspects the host. Files named by the operator take precedence over those of the distribution.
    pub fn look(host: &dyn Host) -> Self {
        let (distro, units) = (Distro::of(host), Units::read(host));
        let layout = Layout::choose(host, distro, &units);
        let usual = layout.unwrap_or(&layout::LAYOUTS[0]).files(host);
        let mut files = host.paths().rules.clone().into_iter().zip(usual).map(|(named, usual)| named.unwrap_or(usual));
        let files = [files.next().unwrap_or_default(), files.next().unwrap_or_default()];
        Self { distro, layout, units, files }
    }

    /// The manager that builds the firewall at the next boot and does not work together with a service
    /// that loads whole files.
    pub(super) fn in_charge(&self, host: &dyn Host) -> Option<Manager> {
        manager::in_charge(host, &self.units)
    }

    /// Adds what the manager in charge will do to other rules later.
    pub(super) fn say_later(&self, host: &dyn Host, out: &mut Boot) {
        match self.in_charge(host).and_then(|m| manager::later(host, m)) {
            Some((true, line)) => out.asks(line),
            Some((false, line)) => out.says(line),
            None => {}
        }
    }

    /// The file of a family.
    pub fn file(&self, family: Family) -> &Path {
        &self.files[family.index()]
    }

    /// Every rules file that the next boot loads, as far as we can tell, and those that a save writes.
    pub fn files(&self, host: &dyn Host) -> Vec<(Family, PathBuf)> {
        let mut out: Vec<(Family, PathBuf)> = Vec::new();
        for family in Family::BOTH {
            let of = family.index();
            let running = layout::LAYOUTS
                .iter()
                .filter(|l| l.services[of].start(host, &self.units) == Start::Runs)
                .map(|l| l.files(host)[of].clone());
            // A command's words include paths of programs.
            let by_hand = self
                .units
                .restores(family)
                .map(|(_, file)| file)
                .filter(|f| !f.iter().any(|part| part == "bin" || part == "sbin"));
            for file in [self.file(family).to_owned(), super::load::path(host, family)]
                .into_iter()
                .chain(running)
                .chain(by_hand)
            {
                if !out.iter().any(|(_, known)| *known == file) {
                    out.push((family, file));
                }
            }
        }
        out
    }

    /// Each family's file that is loaded again at a restart, with the service that loads it, whether or not
    /// it runs at boot.
    pub fn reloaded(&self, host: &dyn Host) -> Vec<(Family, PathBuf, String)> {
        Family::BOTH
            .into_iter()
            .filter_map(|family| {
                let found = self.found(host, family);
                Some((family, self.file(family).to_owned(), found.by.or_else(|| found.off.map(Service::name))?))
            })
            .collect()
    }

    /// Whether the next boot starts a systemd unit.
    pub fn runs(&self, unit: &str) -> bool {
        self.units.has(unit)
    }

    /// What the next boot does with the files. `saved`: what they will hold, one entry per family.
    pub fn boot(&self, host: &dyn Host, saved: &[Ruleset], backend: Option<Backend>) -> Boot {
        let mut out = Boot::default();
        let families: Vec<Family> = saved.iter().map(|s| s.family).collect();
        let found: Vec<Found> = families.iter().map(|f| self.found(host, *f)).collect();
        out.loaders = families.iter().copied().zip(found.iter().map(|f| f.by.clone())).collect();
        self.say_at_stop(host, &families, &mut out);
        self.say_exclusions(host, &found, &mut out);
        self.say_sets(host, saved, &found, &mut out);
        self.say_others(host, backend, &found, &mut out);
        self.say_left_out(host, backend, &mut out);
        out.says(LATER);
        // The sentence about the loader comes first but is made last, when we know whether anything is in the way.
        let mut first = Boot { in_the_way: out.in_the_way, ..Boot::default() };
        self.say_who(host, &families, &found, &mut first);
        out.said.splice(0..0, first.said);
        out
    }

    /// Finds who loads a family's file.
    fn found(&self, host: &dyn Host, family: Family) -> Found {
        let file = self.file(family);
        let services = layout::LAYOUTS
            .iter()
            .filter(|l| l.files(host)[family.index()] == file)
            .map(|l| (l, l.services[family.index()]));
        // Two lines of the table may name the same file and service: the host's own comes first.
        let mut services: Vec<(&Layout, Service)> = services.collect();
        services.sort_by_key(|(l, _)| self.layout.is_none_or(|own| own.of != l.of));
        let starts: Vec<(&Layout, Service, Start)> =
            services.into_iter().map(|(l, s)| (l, s, s.start(host, &self.units))).collect();
        if let Some((_, service, _)) = starts.iter().find(|(.., start)| *start == Start::Runs) {
            return Found { by: Some(service.name()), unit: service.unit().map(str::to_owned), off: None };
        }
        if let Some(unit) = self.units.loader(family, file) {
            return Found { by: Some(unit.to_owned()), unit: Some(unit.to_owned()), off: None };
        }
        let off = starts
            .iter()
            .find(|(l, _, start)| *start == Start::Off && self.layout.is_some_and(|own| own.of == l.of))
            .map(|(_, s, _)| *s);
        Found { by: None, unit: None, off }
    }

    fn say_who(&self, host: &dyn Host, families: &[Family], found: &[Found], out: &mut Boot) {
        let loaded: Vec<(Family, &str)> =
            families.iter().zip(found).filter_map(|(f, l)| Some((*f, l.by.as_deref()?))).collect();
        let left: Vec<(Family, Option<Service>)> =
            families.iter().zip(found).filter(|(_, l)| l.by.is_none()).map(|(f, l)| (*f, l.off)).collect();
        let mut who: Vec<&str> = loaded.iter().map(|(_, by)| *by).collect();
        who.dedup();
        let verb = if who.len() == 1 { "loads" } else { "load" };
        if left.is_empty() {
            let but = if out.in_the_way { ", but something is in the way" } else { "" };
            return out.says(format!("{} {verb} these files at boot{but}.", who.join(" and ")));
        }
        if let [(family, by)] = loaded[..] {
            out.says(format!("{by} loads {} at boot.", self.file(family).display()));
        }
        let files = if loaded.is_empty() && self.is_usual(host) {
            "these files".to_owned()
        } else {
            left.iter().map(|(f, _)| self.file(*f).display().to_string()).collect::<Vec<_>>().join(" and ")
        };
        let tools = left
            .iter()
            .map(|(f, _)| if *f == Family::V4 { "iptables-restore" } else { "ip6tables-restore" })
            .collect::<Vec<_>>()
            .join(" and ");
        let by_hand = format!(
            "enable a unit that runs {tools} on {} before the network is up",
            if left.len() == 1 { "it" } else { "them" }
        );
        let off: Vec<Service> = left.iter().filter_map(|(_, off)| *off).collect();
        if !off.is_empty() {
            let mut names: Vec<String> = off.iter().map(|s| s.name()).collect();
            names.dedup();
            let (is, them) = if names.len() == 1 { ("is", "it") } else { ("are", "them") };
            out.asks(format!(
                "{} {is} installed but will not run at boot: {} makes {them} load {files}.",
                names.join(" and "),
                Service::enable(&off)
            ));
            if off.len() == left.len() {
                return;
            }
        }
        let ours = self
            .layout
            .filter(|l| l.of == self.distro && left.iter().all(|(f, _)| l.files(host)[f.index()] == self.file(*f)));
        out.asks(match ours {
            // Nothing that would replace the manager of the firewall.
            _ if self.in_charge(host).is_some() => format!(
                "Nothing loads {files} at boot, and no service that does works together with {}: {OURS}.",
                self.in_charge(host).map_or("it", Manager::label)
            ),
            Some(l) if self.distro == Distro::Debian && has_ufw(host) => format!(
                "Nothing loads {files} at boot, and {} cannot be installed with ufw: apt would remove ufw for it. \
                    {OURS}, or {by_hand}.",
                l.packages
            ),
            Some(l) if self.distro == Distro::Debian => format!(
                "Nothing loads {files} at boot: install {} ({}, and say no when it asks to save the rules), or \
                {by_hand}; {OURS} without a package.",
                l.packages,
                self.distro.install(host, l.packages)
            ),
            Some(l) => {
                let services: Vec<Service> = left.iter().map(|(f, _)| l.services[f.index()]).collect();
                format!(
                    "Nothing loads {files} at boot: {} and {}, or {by_hand}.",
                    self.distro.install(host, l.packages),
                    Service::enable(&services)
                )
            }
            None if self.distro == Distro::Suse => format!(
                "Nothing loads {files} at boot: SUSE has no service for iptables rules of its own, only firewalld \
                    (SuSEfirewall2 before Leap 15); {by_hand}."
            ),
            None => format!("Nothing known to portcullis loads {files} at boot: {by_hand}."),
        });
        self.say_elsewhere(host, families, out);
    }

    /// Whether the files are those of the layout and not others named by the operator.
    fn is_usual(&self, host: &dyn Host) -> bool {
        self.layout.unwrap_or(&layout::LAYOUTS[0]).files(host) == self.files
    }

    /// Adds files that are loaded instead of these.
    fn say_elsewhere(&self, host: &dyn Host, families: &[Family], out: &mut Boot) {
        let mut said = Vec::new();
        for family in families {
            let service = self.layout.map(|l| (l.services[family.index()], l.files(host)[family.index()].clone()));
            let mut loaded: Vec<(String, PathBuf)> =
                self.units.restores(*family).map(|(unit, file)| (unit.to_owned(), file)).collect();
            loaded.extend(
                service.filter(|(s, _)| s.start(host, &self.units) == Start::Runs).map(|(s, file)| (s.name(), file)),
            );
            let other = loaded.into_iter().find(|(_, file)| file != self.file(*family) && units::is_file(host, file));
            said.extend(other.map(|(by, file)| {
                format!(
                    "{by} loads {0}: PORTCULLIS_RULES_{1}={0} would write there.",
                    file.display(),
                    if *family == Family::V4 { "V4" } else { "V6" }
                )
            }));
        }
        for line in said {
            out.says(line);
        }
    }

    /// Adds services that overwrite the files with the loaded rules when they stop.
    fn say_at_stop(&self, host: &dyn Host, families: &[Family], out: &mut Boot) {
        let Some(layout) = self.layout.filter(|_| self.is_usual(host)) else { return };
        let mut set: Vec<(&str, &str)> = families
            .iter()
            .map(|f| layout.saved_at_stop[f.index()])
            .filter(|(file, name)| is_yes(host, file, name))
            .collect();
        set.dedup();
        if !set.is_empty() {
            let where_set: Vec<String> = set.iter().map(|(file, name)| format!("{name} in {file}")).collect();
            out.says(format!(
                "At each shutdown these files are overwritten with what is loaded then ({}).",
                where_set.join(", ")
            ));
        }
    }

    /// Adds units that conflict with the loader: systemd would start only one of the two.
    fn say_exclusions(&self, host: &dyn Host, found: &[Found], out: &mut Boot) {
        let mut pairs: Vec<(&str, &str)> = found
            .iter()
            .filter_map(|f| f.unit.as_deref())
            .filter_map(|u| Some((u, self.units.excluded_by(host, u)?)))
            .collect();
        pairs.dedup();
        for (unit, other) in pairs {
            out.stops(format!(
                "{unit} and {other} exclude each other, and both are enabled: only one of them runs at boot. \
                Disable the other."
            ));
        }
    }

    /// Adds sets that the rules name but that are not made before the rules are loaded.
    fn say_sets(&self, host: &dyn Host, saved: &[Ruleset], found: &[Found], out: &mut Boot) {
        let live = sets::live(host);
        let layout = self.layout.unwrap_or(&layout::LAYOUTS[0]);
        for (set, found) in saved.iter().zip(found) {
            let at_boot = AtBoot::of(host, self.layout, &self.units, found.unit.as_deref());
            let lacking = at_boot.lacks(&sets::named(set, &live));
            out.sets.push((set.family, at_boot.with_made(&live), lacking));
        }
        // In this order: a list comes after its members.
        let mut lacking: Vec<String> = Vec::new();
        for name in out.sets.iter().flat_map(|(.., lacking)| lacking) {
            if !lacking.contains(name) {
                lacking.push(name.clone());
            }
        }
        if lacking.is_empty() {
            return;
        }
        out.sets_remedy = sets::remedy(host, layout, &self.units, &lacking);
        let families: Vec<&str> = out.sets.iter().filter(|(.., l)| !l.is_empty()).map(|(f, ..)| f.label()).collect();
        let sets = if lacking.len() == 1 { "the ipset" } else { "the ipsets" };
        out.stops(format!(
            "Boot loads none of the {} rules unless {sets} {} {} there before: {}.",
            families.join(" and "),
            lacking.join(", "),
            if lacking.len() == 1 { "is" } else { "are" },
            out.sets_remedy
        ));
    }

    /// Adds managers that load their own rules at boot, before or after these.
    fn say_others(&self, host: &dyn Host, backend: Option<Backend>, found: &[Found], out: &mut Boot) {
        if let Some(manager) = self.in_charge(host).filter(|_| found.iter().any(|f| f.by.is_some())) {
            out.asks(format!(
                "{0} is enabled and builds its own rules at boot, over these or wiping them: {OURS}, after {0}.",
                manager.label()
            ));
        }
        // What flushes nft's rules does not touch those of iptables-legacy.
        if let Some(file) = self.wiped_by(host).filter(|_| backend != Some(Backend::Legacy)) {
            let line = format!(
                "nftables.service is enabled and {file} has `flush ruleset`: it wipes these rules when it runs after \
                    them"
            );
            let ordered = |f: &Found| f.unit.as_ref().is_some_and(|u| self.units.in_order("nftables.service", u));
            if found.iter().all(ordered) {
                out.says(format!("{line}; it runs before."));
            } else {
                out.stops(format!("{line}, and nothing orders the two. Use one of them only."));
            }
        }
    }

    /// Adds loaded rules that are in none of the files: those of the other iptables variant, and native ones.
    fn say_left_out(&self, host: &dyn Host, backend: Option<Backend>, out: &mut Boot) {
        for other in others::beside(host, backend) {
            let whose = if other.backend == Backend::Legacy { "iptables-legacy" } else { "iptables-nft" };
            let (label, save) = (other.family.label(), &other.see);
            let what = match other.rules {
                None => format!("{label} rules of {whose} are loaded as well, cannot be read"),
                Some(0) => format!("{label} policies of {whose} other than ACCEPT are in force as well"),
                Some(1) => format!("1 {label} rule of {whose} is loaded as well"),
                Some(n) => format!("{n} {label} rules of {whose} are loaded as well"),
            };
            let restore = save.replace("-save", "-restore");
            let by = self
                .units
                .commands()
                .find(|(_, line)| words(line).any(|w| w.rsplit('/').next() == Some(&restore)))
                .map(|(unit, _)| unit.to_owned());
            match by {
                Some(unit) => out
                    .says(format!("{what} and not in the files: {unit} runs {restore} at boot (`{save}` shows them).")),
                None => out.asks(format!(
                    "{what} and not in the files, and nothing that portcullis knows loads them at boot: take over \
                    what you need (`{save}` shows them), or have a unit run {restore} on what `{save}` prints now."
                )),
            }
        }
        let native = others::native_tables(host);
        if !native.is_empty() {
            out.says(format!(
                "Not in these files: the native nft tables {}. What made them has to make them at boot.",
                native.join(", ")
            ));
        }
    }

    /// The file that makes nftables.service flush everything.
    pub fn wiped_by(&self, host: &dyn Host) -> Option<String> {
        let lines = self
            .units
            .commands()
            .filter(|(unit, _)| *unit == "nftables.service")
            .map(|(_, line)| line)
            .collect::<Vec<_>>();
        let files = lines.iter().flat_map(|l| words(l)).filter(|w| w.starts_with('/')).chain(["/etc/nftables.conf"]);
        let wipes = |file: &&str| {
            text(host, Path::new(file)).lines().any(|l| l.trim().trim_end_matches(';') == "flush ruleset")
        };
        files.map(str::to_owned).find(|f| wipes(&f.as_str())).filter(|_| self.units.has("nftables.service"))
    }
}

/// Whether a shell-style settings file sets a variable to `yes`.
pub(super) fn is_yes(host: &dyn Host, file: &str, name: &str) -> bool {
    setting(host, file, name).is_some_and(|v| v.eq_ignore_ascii_case("yes"))
}

/// What we know about the loading of one family's file.
struct Found {
    /// The program or service that loads it.
    by: Option<String>,
    /// The systemd unit of that service.
    unit: Option<String>,
    /// An installed service that would load it but is not enabled.
    off: Option<Service>,
}

/// Whether ufw is installed.
fn has_ufw(host: &dyn Host) -> bool {
    host.find("ufw").is_some() || units::is_file(host, Path::new("/etc/ufw/ufw.conf"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::demo::Demo;
    use crate::model::Family;
    use crate::syntax::iptables_save;

    fn put(host: &Demo, path: &str, text: &str) {
        host.write(Path::new(path), text.as_bytes(), 0o644).unwrap();
    }

    /// The sentences of the demo host after a change.
    fn said(change: impl Fn(&Demo)) -> Boot {
        let host = Demo::new();
        change(&host);
        let saved = Family::BOTH.map(Ruleset::new);
        Place::look(&host).boot(&host, &saved, Some(Backend::Nft))
    }

    fn text_of(boot: &Boot) -> String {
        boot.lines().collect::<Vec<_>>().join("\n")
    }

    const WANTS: &str = "/etc/systemd/system/multi-user.target.wants/";

    #[test]
    fn who_loads_the_files_at_boot() {
        let usual = said(|_| ());
        assert_eq!(
            (usual.loads(), usual.to_do(), usual.lines().next()),
            (true, None, Some("netfilter-persistent loads these files at boot."))
        );
        let disabled = said(|h| h.remove(Path::new(&format!("{WANTS}netfilter-persistent.service"))).unwrap());
        assert!(
            !disabled.loads()
                && text_of(&disabled).contains("`systemctl enable netfilter-persistent` makes it load these files"),
            "{disabled:?}"
        );
        let masked = said(|h| put(h, "/etc/systemd/system/netfilter-persistent.service", ""));
        assert!(!masked.loads() && text_of(&masked).contains("will not run at boot"), "{masked:?}");
        let missing = said(|h| {
            h.remove(Path::new("/usr/share/netfilter-persistent/plugins.d/15-ip4tables")).unwrap();
            h.remove(Path::new("/usr/share/netfilter-persistent/plugins.d/25-ip6tables")).unwrap();
        });
        assert!(
            !missing.loads() && text_of(&missing).contains("(`apt install iptables-persistent`, and say no"),
            "{missing:?}"
        );
        assert_eq!(missing.to_do().as_deref(), missing.lines().next());
        let half = said(|h| h.remove(Path::new("/usr/share/netfilter-persistent/plugins.d/25-ip6tables")).unwrap());
        assert_eq!(
            (half.loads(), half.loader(Family::V4), half.loader(Family::V6)),
            (false, Some("netfilter-persistent"), None)
        );
        assert!(
            text_of(&half).starts_with(
                "netfilter-persistent loads /etc/iptables/rules.v4 at boot.\nNothing loads /etc/iptables/rules.v6"
            ),
            "{half:?}"
        );
        let ufw = said(|h| put(h, "/etc/ufw/ufw.conf", "LOGLEVEL=low\nENABLED=yes\n"));
        assert!(text_of(&ufw).contains("ufw is enabled"), "{ufw:?}");
        let firewalld = said(|h| put(h, &format!("{WANTS}firewalld.service"), "x"));
        assert!(text_of(&firewalld).contains("firewalld is enabled"), "{firewalld:?}");
    }

    #[test]
    fn services_that_flush_or_exclude_the_loader_are_reported() {
        let nft = |unit: &str, loader: &str| {
            said(|h| {
                put(h, "/etc/systemd/system/sysinit.target.wants/nftables.service", unit);
                put(h, &format!("{WANTS}netfilter-persistent.service"), loader);
                put(h, "/etc/nftables.conf", "#!/usr/sbin/nft -f\nflush ruleset\n");
            })
        };
        let wiped = nft("[Unit]\nBefore=network-pre.target\n", "[Unit]\nBefore=network-pre.target\n");
        assert!(
            !wiped.loads()
                && text_of(&wiped).contains("it wipes these rules when it runs after them, and nothing orders the two"),
            "{wiped:?}"
        );
        assert!(nft("[Unit]\n", "[Unit]\nAfter=local-fs.target nftables.service\n").loads());
        let excluded = said(|h| {
            put(
                h,
                &format!("{WANTS}firewalld.service"),
                "[Unit]\nConflicts=iptables.service netfilter-persistent.service\n",
            );
        });
        assert!(
            !excluded.loads()
                && text_of(&excluded).contains("netfilter-persistent.service and firewalld.service exclude each other"),
            "{excluded:?}"
        );
    }

    #[test]
    fn rules_with_sets_need_them_at_boot() {
        let set = iptables_save::read(
            "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m set --match-set bad src -j DROP\nCOMMIT\n",
            Family::V4,
        )
        .0;
        let host = Demo::new();
        let said = |h: &Demo| Place::look(h).boot(h, &[set.clone(), Ruleset::new(Family::V6)], None);
        let without = said(&host);
        assert!(
            !without.loads()
                && text_of(&without).contains(
                    "none of the IPv4 rules unless the ipset bad is there \
            before: `apt install ipset-persistent`, and `ipset save bad >> /etc/iptables/ipsets`."
                ),
            "{without:?}"
        );
        assert!(without.lacks(Family::V4).is_some() && without.lacks(Family::V6).is_none());
        put(&host, "/usr/share/netfilter-persistent/plugins.d/10-ipset", "#!/bin/sh\n");
        // Loading some sets is not enough: each set is looked for by name.
        put(&host, "/etc/iptables/ipsets", "create good hash:ip\nadd bad 192.0.2.1\n");
        assert!(
            text_of(&said(&host)).contains("the ipset bad is there before: `ipset save bad >> /etc/iptables/ipsets`.")
        );
        put(&host, "/etc/iptables/ipsets", "create bad hash:ip family inet\n");
        assert!(said(&host).loads() && said(&host).to_do().is_none());
    }

    /// A host of another distribution: without Debian's files, with these instead.
    fn dressed(files: &[(&str, &str)]) -> Demo {
        let host = Demo::new();
        for gone in [
            "/usr/share/netfilter-persistent/plugins.d/15-ip4tables",
            "/usr/share/netfilter-persistent/plugins.d/25-ip6tables",
            "/etc/systemd/system/multi-user.target.wants/netfilter-persistent.service",
            "/etc/os-release",
        ] {
            host.remove(Path::new(gone)).unwrap();
        }
        for (path, text) in files {
            put(&host, path, text);
        }
        host
    }

    fn of(files: &[(&str, &str)]) -> ([String; 2], Boot) {
        let host = dressed(files);
        let place = Place::look(&host);
        let boot = place.boot(&host, &Family::BOTH.map(Ruleset::new), Some(Backend::Nft));
        (Family::BOTH.map(|f| place.file(f).display().to_string()), boot)
    }

    const ROCKY: (&str, &str) = ("/etc/os-release", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n");
    const ARCH: (&str, &str) = ("/etc/os-release", "ID=arch\n");
    const ALPINE: (&str, &str) = ("/etc/os-release", "ID=alpine\n");
    const INIT: &str = "[Service]\nExecStart=/usr/libexec/iptables/iptables.init start\n";
    const RESTORE4: &str = "[Service]\nExecStart=/usr/bin/iptables-restore /etc/iptables/iptables.rules\n";
    const RESTORE6: &str = "[Service]\nExecStart=/usr/bin/ip6tables-restore /etc/iptables/ip6tables.rules\n";

    #[test]
    fn each_distribution_has_its_files_and_its_service() {
        let red_hat = ["/etc/sysconfig/iptables", "/etc/sysconfig/ip6tables"].map(str::to_owned);
        let (files, boot) =
            of(&[ROCKY, (&format!("{WANTS}iptables.service"), INIT), (&format!("{WANTS}ip6tables.service"), INIT)]);
        assert_eq!(
            (files, boot.loads(), boot.lines().next()),
            (red_hat.clone(), true, Some("iptables.service and ip6tables.service load these files at boot."))
        );
        let (files, boot) = of(&[
            ROCKY,
            ("/usr/lib/systemd/system/iptables.service", INIT),
            ("/usr/lib/systemd/system/ip6tables.service", INIT),
        ]);
        assert!(
            files == red_hat
                && !boot.loads()
                && text_of(&boot).contains("`systemctl enable iptables ip6tables` makes them load"),
            "{boot:?}"
        );
        let (files, boot) = of(&[ROCKY]);
        assert!(
            files == red_hat
                && !boot.loads()
                && text_of(&boot).contains("`dnf install iptables-services` and `systemctl enable iptables ip6tables`"),
            "{boot:?}"
        );

        let arch = ["/etc/iptables/iptables.rules", "/etc/iptables/ip6tables.rules"].map(str::to_owned);
        let units = [
            ("/usr/lib/systemd/system/iptables.service", RESTORE4),
            ("/usr/lib/systemd/system/ip6tables.service", RESTORE6),
        ];
        let (files, boot) = of(&[
            ARCH,
            units[0],
            units[1],
            (&format!("{WANTS}iptables.service"), RESTORE4),
            (&format!("{WANTS}ip6tables.service"), RESTORE6),
        ]);
        assert!(files == arch && boot.loads(), "{boot:?}");
        let (files, boot) = of(&[ARCH, units[0], units[1]]);
        assert!(files == arch && !boot.loads() && text_of(&boot).contains("systemctl enable iptables"), "{boot:?}");
        assert!(text_of(&of(&[ARCH]).1).contains("`pacman -S iptables`"));

        let level = |name: &str| format!("/etc/runlevels/default/{name}");
        let (v4, v6) = (level("iptables"), level("ip6tables"));
        let scripts =
            [("/etc/init.d/iptables", "#!/sbin/openrc-run\n"), ("/etc/init.d/ip6tables", "#!/sbin/openrc-run\n")];
        let stop = ("/etc/conf.d/iptables", "IPTABLES_SAVE=\"/etc/iptables/rules-save\"\nSAVE_ON_STOP=\"yes\"\n");
        let (files, boot) = of(&[ALPINE, scripts[0], scripts[1], (&v4, ""), (&v6, ""), stop]);
        assert_eq!(
            (files, boot.loads()),
            (["/etc/iptables/rules-save", "/etc/iptables/rules6-save"].map(str::to_owned), true)
        );
        assert!(
            text_of(&boot).contains(
                "At each shutdown these files are overwritten with what is loaded then (SAVE_ON_STOP in \
                    /etc/conf.d/iptables)"
            ),
            "{boot:?}"
        );
        let (_, boot) = of(&[ALPINE, scripts[0], scripts[1], (&v4, "")]);
        assert!(
            boot.loader(Family::V4) == Some("OpenRC's iptables")
                && !boot.loads()
                && text_of(&boot).contains("`rc-update add ip6tables` makes it load /etc/iptables/rules6-save"),
            "{boot:?}"
        );
        // Links left by a removed package lead nowhere.
        let (files, boot) = of(&[ALPINE, (&v4, "")]);
        assert!(
            files[0] == "/etc/iptables/rules-save"
                && !boot.loads()
                && text_of(&boot).contains("`apk add iptables iptables-openrc`"),
            "{boot:?}"
        );
        let named = [
            ("/etc/conf.d/iptables", "IPTABLES_SAVE=/srv/rules4\n"),
            ("/etc/conf.d/ip6tables", "IP6TABLES_SAVE='/srv/rules6'\n"),
        ];
        let (files, boot) =
            of(&[("/etc/os-release", "ID=gentoo\n"), scripts[0], scripts[1], (&v4, ""), (&v6, ""), named[0], named[1]]);
        assert_eq!((files, boot.loads()), (["/srv/rules4", "/srv/rules6"].map(str::to_owned), true));

        let (_, boot) = of(&[("/etc/os-release", "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n")]);
        assert!(
            !boot.loads() && text_of(&boot).contains("SUSE has no service for iptables rules of its own"),
            "{boot:?}"
        );
        let (files, boot) = of(&[("/etc/os-release", "ID=strange\n")]);
        assert!(
            files[0] == "/etc/iptables/rules.v4"
                && !boot.loads()
                && text_of(&boot).contains("Nothing known to portcullis loads these files"),
            "{boot:?}"
        );
    }

    #[test]
    fn installed_services_count_if_the_distribution_has_none() {
        // The files of Arch on a Debian without its own; a unit's name alone proves nothing, since netfilter-persistent
        // is also called iptables.service.
        let debian = ("/etc/os-release", "ID=debian\n");
        let (files, boot) = of(&[
            debian,
            (&format!("{WANTS}iptables.service"), RESTORE4),
            (&format!("{WANTS}ip6tables.service"), RESTORE6),
        ]);
        assert!(files[0] == "/etc/iptables/iptables.rules" && boot.loads(), "{boot:?}");
        let (files, boot) = of(&[debian, (&format!("{WANTS}iptables.service"), "[Service]\nExecStart=/bin/true\n")]);
        assert!(files[0] == "/etc/iptables/rules.v4" && !boot.loads(), "{boot:?}");
        // One unit of the administrator's for the usual files, and one for others.
        let by = |tool: &str, file: &str| format!("[Service]\nExecStart=/usr/sbin/{tool} {file}\n");
        let fw = (
            format!("{WANTS}fw.service"),
            by("iptables-restore", "/etc/iptables/rules.v4")
                + "ExecStart=/usr/sbin/ip6tables-restore /etc/iptables/rules.v6\n",
        );
        let (_, boot) = of(&[debian, (&fw.0, &fw.1)]);
        assert_eq!((boot.loads(), boot.lines().next()), (true, Some("fw.service loads these files at boot.")));
        let other = (format!("{WANTS}fw.service"), by("iptables-restore", "/etc/fw"));
        let (_, boot) = of(&[debian, (&other.0, &other.1), ("/etc/fw", "*filter\nCOMMIT\n")]);
        assert!(
            text_of(&boot).contains("fw.service loads /etc/fw: PORTCULLIS_RULES_V4=/etc/fw would write there."),
            "{boot:?}"
        );
    }

    #[test]
    fn ufw_is_not_removed_for_a_hint() {
        let (_, boot) =
            of(&[("/etc/os-release", "ID=ubuntu\nID_LIKE=debian\n"), ("/etc/ufw/ufw.conf", "ENABLED=no\n")]);
        assert!(!text_of(&boot).contains("apt install") && text_of(&boot).contains("apt would remove ufw"), "{boot:?}");
    }
}
