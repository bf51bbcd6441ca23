//! Whether this process may change the firewall: being root is not enough where the network namespace belongs to
//! somebody else, as under `unshare -Ur`, in rootless containers and in containers without `CAP_NET_ADMIN`.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};

/// What we may do on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read and change the firewall.
    Root,
    /// We are root, but without `CAP_NET_ADMIN` over the network namespace that we are in.
    RootElsewhere,
    /// We are a user.
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

/// Asks the kernel. `TCP_REPAIR` wants `CAP_NET_ADMIN` in the user namespace that owns the socket's network namespace
/// (net/ipv4/tcp.c, tcp_can_repair_sock), and switching it off on a new socket changes nothing. The capabilities in
/// /proc do not tell: under `unshare -Ur` the set is full. Where there is no such socket nothing is known, and the
/// tools will say it.
fn is_refused() -> bool {
    [AddressFamily::Inet, AddressFamily::Inet6]
        .into_iter()
        .find_map(|family| socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).ok())
        .is_some_and(|fd| setsockopt(&fd, sockopt::TcpRepair, &0) == Err(Errno::EPERM))
}
