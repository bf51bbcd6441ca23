//! Real packets between the namespaces of a lab.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Space;

/// How long a packet that is let through may take.
const ANSWER: Duration = Duration::from_millis(600);

/// Runs `work` in the network of the namespace; sockets opened there stay there.
pub fn within<T: Send>(space: &Space, work: impl FnOnce() -> T + Send) -> T {
    let pid = space.pid();
    std::thread::scope(|s| {
        s.spawn(move || {
            let ns = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
            move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
        .join()
        .unwrap()
    })
}

/// Whether a TCP connection can be opened.
pub fn tcp_connects(from: &Space, to: IpAddr, port: u16) -> bool {
    tcp_connects_within(from, to, port, ANSWER)
}

/// The same with another time limit.
pub fn tcp_connects_within(from: &Space, to: IpAddr, port: u16, time: Duration) -> bool {
    within(from, || TcpStream::connect_timeout(&SocketAddr::new(to, port), time).is_ok())
}

/// Whether a portmapper answers a null call over UDP (RFC 5531, RFC 1833).
pub fn portmapper_answers_udp(from: &Space, to: IpAddr) -> bool {
    within(from, || {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = UdpSocket::bind((any, 0)).unwrap();
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        // xid, CALL, RPC version 2, portmapper, version 3 (over IPv6 there is no 2), procedure 0, no
        // credentials, no verifier.
        let call: Vec<u8> =
            [0x706f_7274u32, 0, 2, 100_000, 3, 0, 0, 0, 0, 0].iter().flat_map(|w| w.to_be_bytes()).collect();
        if socket.send_to(&call, (to, 111)).is_err() {
            return false;
        }
        let mut answer = [0; 64];
        socket.recv(&mut answer).is_ok_and(|n| n >= 24 && answer[..4] == call[..4])
    })
}

/// A test server: answers every TCP connection with one byte and echoes every datagram.
pub struct Echo {
    pub port: u16,
}

impl Echo {
    /// Listens on a port of the namespace in both families until the test process exits.
    pub fn start(on: &Space, port: u16) -> Self {
        let (tcp, udp) =
            within(on, || (TcpListener::bind(("::", port)).unwrap(), UdpSocket::bind(("::", port)).unwrap()));
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let _ = stream.write_all(b"!");
            }
        });
        std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((n, from)) = udp.recv_from(&mut bytes) {
                let _ = udp.send_to(&bytes[..n], from);
            }
        });
        Self { port }
    }

    /// Whether it answers over TCP.
    pub fn tcp(&self, from: &Space, to: IpAddr) -> bool {
        within(from, || {
            let Ok(mut stream) = TcpStream::connect_timeout(&SocketAddr::new(to, self.port), ANSWER) else {
                return false;
            };
            stream.set_read_timeout(Some(ANSWER)).unwrap();
            stream.read_exact(&mut [0]).is_ok()
        })
    }

    /// Whether it answers over UDP.
    pub fn udp(&self, from: &Space, to: IpAddr) -> bool {
        within(from, || {
            let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.set_read_timeout(Some(ANSWER)).unwrap();
            match socket.send_to(b"?", (to, self.port)) {
                Ok(_) => socket.recv(&mut [0; 8]).is_ok(),
                Err(e) => panic!("the probe was not sent: {e}"),
            }
        })
    }
}
