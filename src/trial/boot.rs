//! Who loads the saved rules when the machine starts, told from the files that decide it. Nothing is asked of a running
//! service: what matters is the next start.

use std::path::Path;

use crate::host::Host;
use crate::model::{Match, Ruleset};

/// Where units are enabled (systemd.unit(5)), the administrator's first.
const UNIT_DIRS: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];

/// Debian's netfilter-persistent(8) runs what lies here, in order.
const PLUGINS: &str = "/usr/share/netfilter-persistent/plugins.d";

/// The files that netfilter-persistent's plugins of iptables-persistent load.
const DEBIAN: [&str; 2] = ["/etc/iptables/rules.v4", "/etc/iptables/rules.v6"];

/// What is said where all is done.
const LOADED: &str = "netfilter-persistent loads these files at boot.";

/// What is said in any case, for later.
const LATER: &str = "Reloading these files by hand later wipes the chains of Docker and others that are not in them; restart those then.";

/// What a statement leaves to be done before the next start; `None`: nothing.
pub fn to_do(statement: &str) -> Option<String> {
    let lines: Vec<&str> = statement.lines().filter(|l| ![LOADED, LATER].contains(l)).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

/// What is to be said about the next start, one sentence a line. `saved`: what the files hold then.
pub fn statement(host: &dyn Host, saved: &[Ruleset]) -> String {
    let mut out = vec![loader(host)];
    out.extend(sets(host, saved));
    out.extend(others(host));
    out.push(LATER.to_owned());
    out.join("\n")
}

fn enabled(host: &dyn Host, unit: &str) -> bool {
    UNIT_DIRS.iter().any(|dir| {
        host.list(Path::new(dir)).iter().filter(|d| matches!(d.rsplit_once('.'), Some((_, "wants" | "requires"))))
            .any(|d| host.list(&Path::new(dir).join(d)).iter().any(|name| name == unit))
    }) && !masked(host, unit)
}

/// A masked unit is a link to /dev/null, or an empty file.
fn masked(host: &dyn Host, unit: &str) -> bool {
    let path = Path::new(UNIT_DIRS[0]).join(unit);
    host.real(&path) == Path::new("/dev/null") || host.read(&path).is_ok_and(|text| text.is_empty())
}

fn loader(host: &dyn Host) -> String {
    let paths = &host.paths().rules;
    let [v4, v6] = [paths[0].display(), paths[1].display()];
    let by_hand = "or enable a unit that runs iptables-restore and ip6tables-restore on them before the network is up";
    if paths.iter().zip(DEBIAN).any(|(ours, debian)| ours != Path::new(debian)) {
        return format!("Nothing that portcullis knows loads {v4} and {v6} at boot: enable a unit that runs iptables-restore and ip6tables-restore on them before the network is up.");
    }
    let plugins = host.list(Path::new(PLUGINS));
    let has = |name: &str| plugins.iter().any(|p| p.ends_with(name));
    if !has("ip4tables") || !has("ip6tables") {
        return format!("Nothing loads these files at boot: install iptables-persistent (Debian: `apt install iptables-persistent`, and say no when it asks to save the rules), {by_hand}.");
    }
    let systemd = enabled(host, "netfilter-persistent.service");
    let init = host.list(Path::new("/etc/rcS.d")).iter().any(|n| n.starts_with('S') && n.ends_with("netfilter-persistent"));
    if host.list(Path::new("/lib/systemd/system")).is_empty() && init || systemd {
        return LOADED.to_owned();
    }
    "netfilter-persistent is installed but will not run at boot: `systemctl enable netfilter-persistent` makes it load these files.".to_owned()
}

/// One missing set, and iptables-restore refuses the whole table.
fn sets(host: &dyn Host, saved: &[Ruleset]) -> Option<String> {
    let name = saved.iter().find_map(|set| {
        let mut rules = set.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules).filter(|r| r.has("--match-set"));
        rules.find_map(|r| r.spec(set.family).matches.iter().find_map(|m| if let Match::Set(_, name, _) = m { Some(name.clone()) } else { None }))
    })?;
    let loads = host.list(Path::new(PLUGINS)).iter().any(|p| p.ends_with("ipset"));
    (!loads).then(|| format!("The rules name the ipset {name}: boot has to make it before, or none of them is loaded (Debian: ipset-persistent)."))
}

/// Managers that load rules of their own at boot, before or after these.
fn others(host: &dyn Host) -> Vec<String> {
    let text = |p: &str| host.read(Path::new(p)).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let mut out = Vec::new();
    if text("/etc/ufw/ufw.conf").lines().any(|l| l.trim().eq_ignore_ascii_case("enabled=yes")) {
        out.push("ufw is enabled and loads rules of its own at boot, perhaps over these: put the rules into /etc/ufw/before.rules, or use one of the two only.".to_owned());
    }
    if enabled(host, "firewalld.service") {
        out.push("firewalld is enabled and loads rules of its own at boot: what it does not know may be gone then. Use one of the two only.".to_owned());
    }
    if enabled(host, "nftables.service") && text("/etc/nftables.conf").lines().any(|l| l.trim() == "flush ruleset") {
        out.push("nftables.service is enabled and /etc/nftables.conf begins with `flush ruleset`: it wipes these rules when it runs after them.".to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::demo::Demo;
    use crate::model::Family;
    use crate::syntax::iptables_save;

    fn said(change: impl Fn(&Demo)) -> String {
        let host = Demo::new();
        change(&host);
        statement(&host, &[])
    }

    fn put(host: &Demo, path: &str, text: &str) {
        host.write(Path::new(path), text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn who_loads_the_files_at_boot() {
        let wants = "/etc/systemd/system/multi-user.target.wants/";
        assert!(said(|_| ()).starts_with(LOADED));
        assert_eq!(to_do(&said(|_| ())), None);
        let disabled = said(|h| h.remove(Path::new(&format!("{wants}netfilter-persistent.service"))).unwrap());
        assert!(disabled.contains("systemctl enable netfilter-persistent"), "{disabled}");
        let masked = said(|h| put(h, "/etc/systemd/system/netfilter-persistent.service", ""));
        assert!(masked.contains("will not run at boot"), "{masked}");
        let missing = said(|h| h.remove(Path::new("/usr/share/netfilter-persistent/plugins.d/25-ip6tables")).unwrap());
        assert!(missing.contains("install iptables-persistent"), "{missing}");
        assert_eq!(to_do(&missing).as_deref(), missing.lines().next());
        let ufw = said(|h| put(h, "/etc/ufw/ufw.conf", "LOGLEVEL=low\nENABLED=yes\n"));
        assert!(ufw.contains("ufw is enabled"), "{ufw}");
        let others = said(|h| {
            put(h, &format!("{wants}firewalld.service"), "x");
            put(h, "/etc/systemd/system/sysinit.target.wants/nftables.service", "x");
            put(h, "/etc/nftables.conf", "#!/usr/sbin/nft -f\nflush ruleset\n");
        });
        assert!(others.contains("firewalld is enabled") && others.contains("it wipes these rules"), "{others}");
    }

    #[test]
    fn rules_with_sets_need_them_at_boot() {
        let set = iptables_save::read("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m set --match-set bad src -j DROP\nCOMMIT\n", Family::V4).0;
        let host = Demo::new();
        assert!(statement(&host, std::slice::from_ref(&set)).contains("name the ipset bad"));
        put(&host, "/usr/share/netfilter-persistent/plugins.d/10-ipset", "x");
        assert!(!statement(&host, &[set]).contains("ipset bad"));
    }
}
