//! The SSH connection that we are used through. `sudo` clears SSH_CONNECTION, so the ancestors' sockets
//! are asked when it is not there (proc(5)).

use std::net::IpAddr;

use procfs::process::{FDTarget, Process};
use procfs::net::TcpState;

/// Peer address and local port of the nearest ancestor that holds an established TCP connection as sshd does.
pub fn peer_of_this_session() -> Option<(IpAddr, u16)> {
    from_environment().or_else(from_ancestors)
}

/// `SSH_CONNECTION`: client address, client port, server address, server port (ssh(1)).
fn from_environment() -> Option<(IpAddr, u16)> {
    let text = std::env::var("SSH_CONNECTION").ok()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    Some((plain(words.first()?.parse().ok()?), words.get(3)?.parse().ok()?))
}

fn from_ancestors() -> Option<(IpAddr, u16)> {
    let mut process = Process::myself().ok()?;
    loop {
        let stat = process.stat().ok()?;
        if stat.comm.starts_with("sshd")
            && let Some(found) = connection_of(&process)
        {
            return Some(found);
        }
        if stat.ppid <= 1 {
            return None;
        }
        process = Process::new(stat.ppid).ok()?;
    }
}

fn connection_of(process: &Process) -> Option<(IpAddr, u16)> {
    let inodes: Vec<u64> = process.fd().ok()?.flatten()
        .filter_map(|fd| if let FDTarget::Socket(inode) = fd.target { Some(inode) } else { None })
        .collect();
    let tables = [process.tcp().ok(), process.tcp6().ok()];
    tables.into_iter().flatten().flatten()
        .find(|e| e.state == TcpState::Established && inodes.contains(&e.inode))
        .map(|e| (plain(e.remote_address.ip()), e.local_address.port()))
}

/// An IPv4 address that an IPv6 socket shows (`::ffff:192.0.2.1`) is an IPv4 address to the firewall.
fn plain(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}
