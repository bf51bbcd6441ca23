//! Everything known about the machine, in one look that changes nothing.

use std::path::Path;
use std::time::Duration;

use super::{firewall, others};
use crate::host::{Cmd, Host, Rights, ToolError};
use crate::model::{Diagnostic, Family, Operator, Peer, RpcPin, View};
use crate::syntax::{docker_ps, exports, ip, ipset, rpc_pins, rpcinfo, sockets};

/// Looks at the host. What cannot be read becomes a diagnostic; the rest is complete.
pub fn observe(host: &dyn Host) -> View {
    look(host, false).0
}

/// The loaded rules of both families, verbatim.
pub type Texts = [Option<String>; 2];

/// The same before a change, requesting `filter` by name even if that loads it; with the rules verbatim.
pub fn observe_to_change(host: &dyn Host) -> (View, Texts) {
    look(host, true)
}

fn look(host: &dyn Host, to_change: bool) -> (View, Texts) {
    let mut view = View::empty(host.source(), &host.name());
    view.at = host.now().wall;
    (view.iptables, view.backend) = firewall::version(host);
    let texts = Family::BOTH.map(|family| read_rules(host, family, to_change, &mut view));
    if host.is_root() {
        others::look(host, &mut view);
    }
    sockets(host, &mut view);
    rpc(host, &mut view);
    names(host, &mut view);
    places(host, &mut view);
    view.ssh_peer = host.ssh_peer();
    let operator = view.ssh_peer.map_or_else(|| host.operator(), |(peer, _)| Operator::Ssh(peer));
    // Only root can see which processes own a connection.
    view.logins =
        (matches!(operator, Operator::Unattended | Operator::Unknown) && host.is_root()).then(|| host.logins());
    view.operator = Some(operator);
    (view, texts)
}

/// What affects the rules' verdicts besides the rules themselves: addresses, routes, forwarding, ipsets.
pub fn surroundings(host: &dyn Host, view: &mut View) {
    sets(host, view);
    places(host, view);
}

fn places(host: &dyn Host, view: &mut View) {
    if let Some(text) = ask(host, view, Cmd::new("ip", &["-j", "addr"]), "the host's addresses are not known") {
        let (addrs, diags) = ip::addresses(&text);
        note(view, diags, "ip -j addr");
        view.addrs = Some(addrs);
    }
    let mut routes = Vec::new();
    for (family, flag) in [(Family::V4, "-4"), (Family::V6, "-6")] {
        if let Some(text) = ask(host, view, Cmd::new("ip", &[flag, "-j", "route"]), "the routes are not known") {
            let (found, diags) = ip::routes(&text, family);
            note(view, diags, "ip -j route");
            routes.extend(found);
        }
    }
    view.routes = Some(routes);
    let forwarding = |path: &str| host.read(Path::new(path)).ok().map(|b| b.first() == Some(&b'1'));
    view.forwarding =
        [forwarding("/proc/sys/net/ipv4/ip_forward"), forwarding("/proc/sys/net/ipv6/conf/all/forwarding")];
    view.route_localnet = Some(route_localnet(host, view));
}

/// The port of the portmapper (RFC 1833), or of systemd on its behalf.
const PORTMAPPER: u16 = 111;

/// RPC services. `rpcinfo -p` uses version 2 of the protocol, which knows only IPv4 (RFC 1833): a service with a
/// different IPv6 port would stay open there when it is protected by name. Plain `rpcinfo` lists both; `-p` is the
/// fallback.
fn rpc(host: &dyn Host, view: &mut View) {
    let limit = Duration::from_secs(3);
    let plain =
        host.run(&Cmd::new("rpcinfo", &[]).within(limit)).map(|o| (o.status == 0).then(|| rpcinfo::read(&o.text())));
    if let Ok(Some((Some(services), diags))) = plain {
        view.rpc = Some(services);
        return note(view, diags, "rpcinfo");
    }
    if view.sockets.as_ref().is_some_and(|s| s.iter().all(|s| s.port != PORTMAPPER)) {
        // Nobody listens on the portmapper's port, so no service is registered; that answers the question.
        view.rpc = Some(Vec::new());
        return;
    }
    let without = "the RPC services are not shown";
    if let Err(e) = plain {
        view.diagnostics.push(Diagnostic::whole(format!("{without}: {e}")));
    } else if let Some(text) = ask(host, view, Cmd::new("rpcinfo", &["-p"]).within(limit), without) {
        let (services, diags) = rpcinfo::read(&text);
        view.rpc = services;
        note(view, diags, "rpcinfo -p");
    }
}

/// Interfaces on which packets from outside can reach 127/8 (`IN_DEV_ROUTE_LOCALNET`: set for the interface or for
/// all).
fn route_localnet(host: &dyn Host, view: &View) -> Vec<String> {
    let mut names = vec!["all"];
    for a in view.addrs.iter().flatten() {
        if !names.contains(&a.interface.as_str()) {
            names.push(&a.interface);
        }
    }
    let set = |name: &&str| {
        host.read(Path::new(&format!("/proc/sys/net/ipv4/conf/{name}/route_localnet")))
            .is_ok_and(|b| b.first() == Some(&b'1'))
    };
    names.into_iter().filter(set).map(str::to_owned).collect()
}

/// What listens, and who is connected to it.
fn sockets(host: &dyn Host, view: &mut View) {
    if let Some(text) = ask(host, view, Cmd::new("ss", &["-H", "-lntup"]), "the listening sockets are not shown") {
        let (found, diags) = sockets::listening(&text);
        note(view, diags, "ss -lntup");
        view.sockets = Some(found);
    }
    if let Some(text) =
        ask(host, view, Cmd::new("ss", &["-H", "-tn", "state", "established"]), "who is connected is not known")
    {
        let (found, diags) = sockets::established(&text);
        note(view, diags, "ss -tn");
        let ports: Vec<u16> = view.sockets.iter().flatten().map(|s| s.port).collect();
        view.peers = found
            .into_iter()
            .filter(|c| ports.contains(&c.local.1) && !c.peer.0.is_loopback())
            .map(|c| Peer { addr: c.peer.0, port: c.local.1, proto: c.proto })
            .collect();
    }
}

/// Names that rules use without defining them, and who is meant to get in. All optional: nothing is reported if it is
/// missing.
fn names(host: &dyn Host, view: &mut View) {
    sets(host, view);
    if let Some(text) =
        quiet(host, &Cmd::new("docker", &["ps", "--format", "{{.Names}}\t{{.Ports}}"]).within(Duration::from_secs(2)))
    {
        view.published_names = docker_ps::read(&text).0;
    }
    if let Ok(bytes) = host.read(Path::new("/etc/exports")) {
        let (clients, diags) = exports::nodes(&String::from_utf8_lossy(&bytes));
        note(view, diags, "/etc/exports");
        view.exports = clients;
    }
    view.rpc_pins = rpc_pins(host);
}

/// The ports to which the RPC services of NFS are pinned, wherever distributions keep that.
fn rpc_pins(host: &dyn Host) -> Vec<RpcPin> {
    let read = |path: &Path| host.read(path).ok().map(|b| String::from_utf8_lossy(&b).into_owned());
    let parts = |dir: &str| -> Vec<String> {
        let names =
            host.list(Path::new(dir)).into_iter().filter(|n| Path::new(n).extension().is_some_and(|e| e == "conf"));
        names.filter_map(|n| read(&Path::new(dir).join(n))).collect()
    };
    let mut out = Vec::new();
    for text in read(Path::new("/etc/nfs.conf")).into_iter().chain(parts("/etc/nfs.conf.d")) {
        out.extend(rpc_pins::nfs_conf(&text));
    }
    for file in ["/etc/default/nfs-kernel-server", "/etc/default/nfs-common", "/etc/sysconfig/nfs"] {
        out.extend(read(Path::new(file)).iter().flat_map(|text| rpc_pins::defaults(text)));
    }
    out.extend(parts("/etc/modprobe.d").iter().flat_map(|text| rpc_pins::module_options(text)));
    for parameter in ["nlm_tcpport", "nlm_udpport"] {
        let value = read(&Path::new("/sys/module/lockd/parameters").join(parameter));
        out.extend(value.and_then(|v| rpc_pins::lockd_port(parameter, &v)));
    }
    out
}

fn quiet(host: &dyn Host, cmd: &Cmd) -> Option<String> {
    host.run(cmd).ok().filter(|o| o.status == 0).map(|o| o.text())
}

fn sets(host: &dyn Host, view: &mut View) {
    if let Some(text) = quiet(host, &Cmd::new("ipset", &["save"])) {
        let (sets, diags) = ipset::read(&text);
        note(view, diags, "ipset save");
        view.ipsets = Some(sets);
    }
}

/// Whether the kernel has IPv6 at all.
pub fn has_ipv6(host: &dyn Host) -> bool {
    host.read(Path::new("/proc/net/if_inet6")).is_ok()
}

fn read_rules(host: &dyn Host, family: Family, to_change: bool, view: &mut View) -> Option<String> {
    if family == Family::V6 && !has_ipv6(host) {
        view.diagnostics.push(Diagnostic::whole("IPv6 is off on this host: no IPv6 rules are read"));
        return None;
    }
    match firewall::rules_checked(host, family, view.backend, to_change) {
        Ok((text, set, diags)) => {
            view.diagnostics.extend(diags);
            match family {
                Family::V4 => view.v4 = Some(set),
                Family::V6 => view.v6 = Some(set),
            }
            Some(text)
        }
        Err(why) => {
            let hint = match host.rights() {
                Rights::Root => "",
                Rights::RootElsewhere => "; root has no CAP_NET_ADMIN here: run it as root of the host itself",
                Rights::User => "; the firewall is readable for root only: run with sudo",
            };
            view.unread[family.index()] = Some(format!("{why}{hint}"));
            view.diagnostics
                .push(Diagnostic::whole(format!("the {} rules could not be read: {why}{hint}", family.label())));
            None
        }
    }
}

fn note(view: &mut View, diags: Vec<Diagnostic>, origin: &str) {
    view.diagnostics.extend(diags.into_iter().map(|d| d.in_file(origin)));
}

/// Runs a read-only tool. `without` says what is missing from the screen if it fails.
fn ask(host: &dyn Host, view: &mut View, cmd: Cmd, without: &str) -> Option<String> {
    let answer = host.run(&cmd);
    let why = match answer {
        Ok(out) if out.status == 0 => return Some(out.text()),
        // rpcinfo reports on standard error what is wrong with the portmapper.
        Ok(out) => format!("{} failed: {}", cmd.tool, out.complaint()),
        Err(e @ (ToolError::Missing { .. } | ToolError::TimedOut { .. } | ToolError::Broken { .. })) => e.to_string(),
    };
    view.diagnostics.push(Diagnostic::whole(format!("{without}: {why}")));
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::host::demo::Demo;
    use crate::model::Proto;

    #[test]
    fn services_are_read_with_their_ports_of_ipv6() {
        let rpc = observe(&Demo::new()).rpc.unwrap_or_default();
        let ports: Vec<u16> =
            rpc.iter().filter(|s| s.name == "mountd" && s.proto == Proto::TCP).map(|s| s.port).collect();
        assert_eq!(ports, [52961, 57203], "0.0.0.0.206.225 and ::.223.115");
    }

    #[test]
    fn ports_that_are_pinned_are_found_where_distributions_keep_them() {
        let host = Demo::new();
        assert_eq!(observe(&host).rpc_pins, []);
        for (path, text) in [
            ("/etc/nfs.conf", "[mountd]\nport=892\n"),
            ("/etc/nfs.conf.d/local.conf", "[statd]\nport=4000\n"),
            ("/etc/nfs.conf.d/local.conf.bak", "[statd]\nport=4001\n"),
            ("/etc/default/nfs-common", "STATDOPTS=\"-p 662\"\n"),
            ("/etc/modprobe.d/lockd.conf", "options lockd nlm_tcpport=32803\n"),
            ("/sys/module/lockd/parameters/nlm_udpport", "32769\n"),
        ] {
            host.write(Path::new(path), text.as_bytes(), 0o644).unwrap();
        }
        let ports: Vec<u16> = observe(&host).rpc_pins.iter().map(|p| p.port).collect();
        assert_eq!(ports, [892, 4000, 662, 32803, 32769]);
    }
}
