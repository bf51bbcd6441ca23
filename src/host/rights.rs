//! Whether this process may change the firewall. Being root is not enough if the network namespace belongs to another
//! user namespace, as under `unshare -Ur`, in rootless containers and in containers without `CAP_NET_ADMIN`.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};

/// What we may do on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read and change the firewall.
    Root,
    /// We are root, but without `CAP_NET_ADMIN` over our network namespace.
    RootElsewhere,
    /// We are an ordinary user.
    User,
}

/// The rights of this process.
pub(super) fn ours() -> Rights {
    if !rustix::process::geteuid().is_root() {
        Rights::User
    } else if is_refused() {
        Rights::RootElsewhere
    } else {
        Rights::Root
    }
}

/// Asks the kernel. `TCP_REPAIR` needs `CAP_NET_ADMIN` in the user namespace that owns the socket's network namespace
/// (net/ipv4/tcp.c, tcp_can_repair_sock), and switching it off on a new socket changes nothing. The capabilities in
/// /proc do not help: under `unshare -Ur` the set is full. If no such socket can be made, we do not know, and leave it
/// to the tools to fail.
fn is_refused() -> bool {
    [AddressFamily::Inet, AddressFamily::Inet6]
        .into_iter()
        .find_map(|family| socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).ok())
        .is_some_and(|fd| setsockopt(&fd, sockopt::TcpRepair, &0) == Err(Errno::EPERM))
}
