//! How managers name their bridges.

/// Prefixes of the names of bridges for containers or virtual machines.
const BRIDGES: &[&str] = &["docker", "br-", "cni", "podman", "virbr", "lxcbr", "lxdbr", "incusbr", "flannel"];

/// Whether an interface is a bridge for containers or virtual machines, by its name.
pub fn is_bridge(name: &str) -> bool {
    BRIDGES.iter().any(|b| name.starts_with(b))
}

/// Whether an interface is Docker's: its own bridges, and those of its networks, named `br-` and twelve hex digits.
pub fn is_dockers(name: &str) -> bool {
    let id = |n: &str| n.len() == 12 && n.bytes().all(|b| b.is_ascii_hexdigit());
    matches!(name, "docker0" | "docker_gwbridge") || name.strip_prefix("br-").is_some_and(id)
}

/// Whether an interface is a libvirt bridge.
pub fn is_libvirts(name: &str) -> bool {
    name.starts_with("virbr")
}
