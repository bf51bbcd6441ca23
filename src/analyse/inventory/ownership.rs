//! Which program owns a chain or a rule, by the names that managers give their chains and by what they put into
//! built-in chains.

use crate::model::Rule;
use crate::model::names::interfaces;

/// A program that owns chains of the firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manager {
    /// Docker (moby).
    Docker,
    /// kube-proxy and kubelet.
    Kubernetes,
    /// Podman's netavark.
    Netavark,
    /// CNI plugins (portmap, bridge, flannel, weave).
    Cni,
    /// Calico.
    Calico,
    /// Cilium.
    Cilium,
    /// Istio.
    Istio,
    /// ufw.
    Ufw,
    /// firewalld.
    Firewalld,
    /// fail2ban.
    Fail2ban,
    /// sshguard.
    Sshguard,
    /// CrowdSec.
    Crowdsec,
    /// libvirt.
    Libvirt,
    /// LXD or Incus.
    Lxd,
    /// Tailscale.
    Tailscale,
    /// Shorewall.
    Shorewall,
    /// OpenStack Neutron.
    Neutron,
    /// This program.
    Portcullis,
}

/// Prefix or whole name of a chain, and its manager, in the order they are tried.
const NAMES: &[(&str, bool, Manager)] = &[
    ("PORTCULLIS", true, Manager::Portcullis),
    ("DOCKER", true, Manager::Docker),
    ("KUBE-", true, Manager::Kubernetes),
    ("NETAVARK", true, Manager::Netavark),
    ("CNI-", true, Manager::Cni),
    ("CNI_", true, Manager::Cni),
    ("FLANNEL", true, Manager::Cni),
    ("WEAVE", true, Manager::Cni),
    ("cali-", true, Manager::Calico),
    ("CILIUM_", true, Manager::Cilium),
    ("OLD_CILIUM_", true, Manager::Cilium),
    ("ISTIO_", true, Manager::Istio),
    ("ufw-", true, Manager::Ufw),
    ("ufw6-", true, Manager::Ufw),
    ("ufw-user", true, Manager::Ufw),
    ("IN_", true, Manager::Firewalld),
    ("FWDI_", true, Manager::Firewalld),
    ("FWDO_", true, Manager::Firewalld),
    ("FWD_", true, Manager::Firewalld),
    ("PRE_", true, Manager::Firewalld),
    ("POST_", true, Manager::Firewalld),
    ("INPUT_ZONES", true, Manager::Firewalld),
    ("INPUT_direct", false, Manager::Firewalld),
    ("FORWARD_IN_ZONES", true, Manager::Firewalld),
    ("FORWARD_OUT_ZONES", true, Manager::Firewalld),
    ("FORWARD_POLICIES", true, Manager::Firewalld),
    ("FORWARD_direct", false, Manager::Firewalld),
    ("OUTPUT_direct", false, Manager::Firewalld),
    ("PREROUTING_ZONES", true, Manager::Firewalld),
    ("PREROUTING_POLICIES", true, Manager::Firewalld),
    ("PREROUTING_direct", false, Manager::Firewalld),
    ("POSTROUTING_ZONES", true, Manager::Firewalld),
    ("POSTROUTING_direct", false, Manager::Firewalld),
    ("f2b-", true, Manager::Fail2ban),
    ("fail2ban-", true, Manager::Fail2ban),
    ("sshguard", true, Manager::Sshguard),
    ("CROWDSEC", true, Manager::Crowdsec),
    ("LIBVIRT_", true, Manager::Libvirt),
    ("lxd_", true, Manager::Lxd),
    ("ts-", true, Manager::Tailscale),
    ("shorewall", true, Manager::Shorewall),
    ("neutron-", true, Manager::Neutron),
];

/// How managers' comments on their rules in built-in chains begin. A rule whose comment merely mentions a manager ("for
/// the kubernetes nodes") belongs to the administrator.
const COMMENTS: &[(&str, Manager)] = &[
    ("cali:", Manager::Calico),
    ("flanneld", Manager::Cni),
    ("CNI portfwd", Manager::Cni),
    ("kubernetes ", Manager::Kubernetes),
];

/// The comment that LXD and Incus write; the name of what the rule is for follows.
const LXD_COMMENT: &str = "generated for LXD";

impl Manager {
    /// The name on the screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
            Self::Netavark => "podman",
            Self::Cni => "CNI",
            Self::Calico => "calico",
            Self::Cilium => "cilium",
            Self::Istio => "istio",
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
            Self::Fail2ban => "fail2ban",
            Self::Sshguard => "sshguard",
            Self::Crowdsec => "crowdsec",
            Self::Libvirt => "libvirt",
            Self::Lxd => "lxd",
            Self::Tailscale => "tailscale",
            Self::Shorewall => "shorewall",
            Self::Neutron => "neutron",
            Self::Portcullis => "portcullis",
        }
    }

    /// Whether the manager restores its rules by itself, so that saving them is needless or harmful.
    pub fn rebuilds(self) -> bool {
        !matches!(self, Self::Portcullis)
    }
}

/// The manager that owns a chain; `None` for built-in chains and the administrator's own.
pub fn owner(chain: &str) -> Option<Manager> {
    NAMES.iter().find(|(name, prefix, _)| if *prefix { chain.starts_with(name) } else { chain == *name }).map(|n| n.2)
}

/// The manager that added a rule: the owner of its chain, of the chain that it jumps to, or of its comment or
/// interface.
pub fn rule_owner(chain: &str, rule: &Rule) -> Option<Manager> {
    owner(chain)
        .or_else(|| owner(&rule.jumps_to()?))
        .or_else(|| rule.all(&["-i", "-o"]).filter_map(|o| o.value).find_map(|name| bridge_owner(&name)))
        .or_else(|| {
            let comment = rule.comment()?;
            let marked = COMMENTS.iter().find(|(mark, _)| comment.starts_with(mark)).map(|(_, whose)| *whose);
            marked.or_else(|| comment.contains(LXD_COMMENT).then_some(Manager::Lxd))
        })
}

/// The manager that creates bridges with this name, if there is only one.
fn bridge_owner(interface: &str) -> Option<Manager> {
    if interfaces::is_dockers(interface) {
        Some(Manager::Docker)
    } else {
        interfaces::is_libvirts(interface).then_some(Manager::Libvirt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_tell_their_manager() {
        assert_eq!(owner("DOCKER-USER"), Some(Manager::Docker));
        assert_eq!(owner("KUBE-SVC-ABCDEF"), Some(Manager::Kubernetes));
        assert_eq!(owner("ufw-before-input"), Some(Manager::Ufw));
        assert_eq!(owner("PORTCULLIS-A"), Some(Manager::Portcullis));
        assert_eq!(owner("INPUT"), None);
        assert_eq!(owner("my-chain"), None);
    }

    #[test]
    fn rules_in_built_in_chains_tell_it_too() {
        let of = |text: &str| rule_owner("FORWARD", &Rule::new(text));
        assert_eq!(of("-j DOCKER-USER"), Some(Manager::Docker));
        assert_eq!(of("-i br-0123456789ab ! -o br-0123456789ab -j ACCEPT"), Some(Manager::Docker));
        assert_eq!(of("-m comment --comment \"cali:abc\" -j cali-FORWARD"), Some(Manager::Calico));
        assert_eq!(of("-i eth0 -j ACCEPT"), None);
        assert_eq!(of("-m comment --comment \"kubernetes forwarding rules\" -j ACCEPT"), Some(Manager::Kubernetes));
        assert_eq!(of("-m comment --comment \"for the kubernetes nodes\" -j ACCEPT"), None);
        assert_eq!(
            of("-i lxdbr0 -m comment --comment \"generated for LXD network lxdbr0\" -j ACCEPT"),
            Some(Manager::Lxd)
        );
        assert_eq!(of("-m comment --comment \"-i docker0, see cali:x\" -j ACCEPT"), None);
    }
}
