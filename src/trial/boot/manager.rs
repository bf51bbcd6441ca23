//! The manager that builds a host's firewall at boot. With such a manager, a service that loads whole files does harm
//! or cannot be installed.

use std::path::Path;

use super::units::{Units, setting, text};
use crate::analyse::Manager;
use crate::host::Host;

/// The manager that builds the firewall at the next boot.
pub(super) fn in_charge(host: &dyn Host, units: &Units) -> Option<Manager> {
    let ufw = text(host, Path::new("/etc/ufw/ufw.conf")).lines().any(|l| l.trim().eq_ignore_ascii_case("enabled=yes"));
    if ufw {
        Some(Manager::Ufw)
    } else if units.has("firewalld.service") {
        Some(Manager::Firewalld)
    } else {
        None
    }
}

/// What a manager later does to rules that are not its own, and whether that needs action first.
pub(super) fn later(host: &dyn Host, manager: Manager) -> Option<(bool, String)> {
    match manager {
        Manager::Ufw => {
            let wipes = setting(host, "/etc/default/ufw", "MANAGE_BUILTINS")?.eq_ignore_ascii_case("yes");
            let said = "MANAGE_BUILTINS=yes in /etc/default/ufw: each `ufw reload`, `ufw enable` and `ufw disable` \
                wipes these rules. Set it to no, or run `systemctl restart portcullis-rules` after each.";
            wipes.then(|| (true, said.to_owned()))
        }
        Manager::Firewalld => {
            let said = "`firewall-cmd --reload` removes all rules that are not its own: `systemctl restart \
                portcullis-rules` puts these in again.";
            Some((false, said.to_owned()))
        }
        _ => None,
    }
}
