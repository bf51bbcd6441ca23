//! Real packets: built byte by byte, sent from raw sockets of the client, seen by raw sockets of the
//! server and of the host behind it. A raw socket gets the packets that passed INPUT (`raw_local_deliver`
//! comes after `NF_INET_LOCAL_IN`).

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portcullis::analyse::Packet;
use portcullis::model::{Family, Proto};
use socket2::{Domain, Protocol, Socket, Type};

use super::net::{INNER, Nets, SERVER, Space};

/// The protocol of the packets that mark the end of a volley (for experiments, RFC 3692).
const MARK: u8 = 253;

/// A protocol with ports.
const SCTP: u8 = 132;
/// Any private encryption scheme (IANA): a protocol without ports.
const OTHER: u8 = 99;

/// Sockets of all three hosts for one family.
pub struct Range {
    f: Family,
    senders: [Socket; 2],
    receivers: Vec<(Socket, u8)>,
    marks: u16,
}

fn domain(f: Family) -> Domain {
    if f == Family::V4 { Domain::IPV4 } else { Domain::IPV6 }
}

fn receiver(space: &Space, f: Family, proto: u8) -> Socket {
    space.within(move || {
        let s = Socket::new(domain(f), Type::RAW, Some(Protocol::from(i32::from(proto)))).unwrap();
        s.set_recv_buffer_size(8 << 20).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        s
    })
}

impl Range {
    pub fn new(nets: &Nets, f: Family) -> Self {
        let senders = ["c0", "c1"].map(|device| {
            nets.client.within(move || {
                let s = Socket::new(domain(f), Type::RAW, Some(Protocol::from(255))).unwrap();
                s.bind_device(Some(device.as_bytes())).unwrap();
                s.set_broadcast(true).unwrap();
                s
            })
        });
        let icmp = if f == Family::V4 { Proto::ICMP } else { Proto::ICMP6 };
        let mut receivers = Vec::new();
        for space in [&nets.server, &nets.inner] {
            for proto in [Proto::TCP.0, Proto::UDP.0, icmp.0, SCTP, OTHER, MARK] {
                receivers.push((receiver(space, f, proto), proto));
            }
        }
        Self { f, senders, receivers, marks: 0 }
    }

    fn send(&self, p: &Packet, proto: u8, payload: &[u8]) {
        let bytes = whole(p.src, p.dst.unwrap(), proto, payload);
        let sender = &self.senders[usize::from(p.interface.as_deref() == Some("s1"))];
        let to = SocketAddr::new(p.dst.unwrap(), 0);
        sender.send_to(&bytes, &to.into()).unwrap_or_else(|e| panic!("{p:?}: {e}"));
    }

    /// Sends packets; returns the numbers of those that arrived anywhere.
    pub fn fire(&mut self, packets: &[Packet]) -> BTreeSet<u16> {
        let mut arrived = BTreeSet::new();
        let first = self.marks;
        // Packets left over from an earlier volley do not count.
        self.collect(&mut BTreeSet::new());
        for (chunk_at, chunk) in packets.chunks(40).enumerate() {
            for (i, p) in chunk.iter().enumerate() {
                let number = u16::try_from(chunk_at * 40 + i).unwrap();
                self.send(p, p.proto.0, &transport(p, number));
            }
            self.end_of_volley();
            self.collect(&mut arrived);
        }
        assert!(self.marks > first);
        arrived
    }

    /// Sends two marks through each interface: once they have arrived, so has everything sent before them, or
    /// it never will.
    fn end_of_volley(&mut self) {
        self.marks += 1;
        let i = self.f.index();
        let mut waiting = BTreeSet::new();
        for (interface, side) in [("s0", 0u16), ("s1", 1)] {
            for (dst, place) in [(SERVER[i][usize::from(side)], 0u16), (INNER[i][0], 1)] {
                let mut p = Packet::new(SERVER[i][usize::from(side)].parse().unwrap(), Proto(MARK), None);
                p.src = if self.f == Family::V4 { [192, 0, 2, 200].into() } else { "2001:db8::200".parse().unwrap() };
                p.dst = Some(dst.parse().unwrap());
                p.interface = Some(interface.to_owned());
                let id = self.marks * 4 + side * 2 + place;
                waiting.insert(id);
                self.send(&p, MARK, &id.to_be_bytes());
            }
        }
        for (s, _) in self.receivers.iter().filter(|r| r.1 == MARK) {
            let mine = waiting.len() - 2;
            while waiting.len() > mine {
                let data = next(s, self.f)
                    .unwrap_or_else(|| panic!("{:?}: marks {waiting:?} at the end of a volley did not arrive", self.f));
                waiting.remove(&u16::from_be_bytes([data[0], data[1]]));
            }
        }
    }

    fn collect(&self, arrived: &mut BTreeSet<u16>) {
        for (s, proto) in self.receivers.iter().filter(|r| r.1 != MARK) {
            s.set_nonblocking(true).unwrap();
            while let Some(data) = next(s, self.f) {
                let at = match Proto(*proto) {
                    Proto::TCP => 6,
                    Proto::UDP => 8,
                    Proto(SCTP) => 18,
                    Proto(OTHER) => 0,
                    // Only echo requests are ours.
                    _ if matches!(data.first(), Some(8 | 128)) => 6,
                    _ => continue,
                };
                if let Some(n) = data.get(at..at + 2) {
                    arrived.insert(u16::from_be_bytes([n[0], n[1]]));
                }
            }
            s.set_nonblocking(false).unwrap();
        }
    }
}

/// The part after the IP header of the next packet.
fn next(s: &Socket, f: Family) -> Option<Vec<u8>> {
    let mut buffer = [0u8; 2048];
    let mut socket = s;
    let n = socket.read(&mut buffer).ok()?;
    // IPv4 raw sockets also get the header, IPv6 ones do not (raw(7), ipv6(7)).
    let head = if f == Family::V4 { usize::from(buffer[0] & 15) * 4 } else { 0 };
    buffer.get(head..n).map(<[u8]>::to_vec)
}

fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            total += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !u16::try_from(total).unwrap()
}

/// The checksum of SCTP (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { (c >> 1) ^ 0x82f6_3b78 } else { c >> 1 })
    })
}

fn octets(a: IpAddr) -> Vec<u8> {
    match a {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// A TCP SYN, a UDP datagram or an echo request that carries its number.
fn transport(p: &Packet, number: u16) -> Vec<u8> {
    let n = number.to_be_bytes();
    let (sport, dport) = (p.sport.unwrap_or(0).to_be_bytes(), p.dport.unwrap_or(0).to_be_bytes());
    let (mut out, at) = match p.proto {
        Proto::TCP => {
            // The number is the lower half of the sequence number.
            let mut h = vec![
                sport[0], sport[1], dport[0], dport[1], 0, 0, n[0], n[1], 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0,
                0,
            ];
            h.truncate(20);
            (h, 16)
        }
        Proto::UDP => (vec![sport[0], sport[1], dport[0], dport[1], 0, 10, 0, 0, n[0], n[1]], 6),
        Proto(OTHER) => return n.to_vec(),
        Proto(SCTP) => {
            // An INIT chunk with the number in its initiate tag (RFC 9260, 3.3.2).
            let mut h =
                vec![sport[0], sport[1], dport[0], dport[1], 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 1, 0, n[0], n[1]];
            h.extend([0, 0, 0x20, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
            let crc = crc32c(&h).to_le_bytes();
            h[8..12].copy_from_slice(&crc);
            return h;
        }
        Proto::ICMP => (vec![8, 0, 0, 0, n[0], n[1], n[0], n[1]], 2),
        _ => (vec![128, 0, 0, 0, n[0], n[1], n[0], n[1]], 2),
    };
    let (src, dst) = (octets(p.src), octets(p.dst.unwrap()));
    let len = u16::try_from(out.len()).unwrap().to_be_bytes();
    let pseudo = [0, p.proto.0, len[0], len[1]];
    let check = if p.proto == Proto::ICMP { sum(&[&out]) } else { sum(&[&src, &dst, &pseudo, &out]) };
    out[at..at + 2].copy_from_slice(&check.to_be_bytes());
    out
}

fn whole(src: IpAddr, dst: IpAddr, proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = if src.is_ipv4() {
        let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        // The kernel fills in the header checksum (raw(7)).
        vec![0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, proto, 0, 0]
    } else {
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        vec![0x60, 0, 0, 0, len[0], len[1], proto, 64]
    };
    out.extend(octets(src));
    out.extend(octets(dst));
    out.extend(payload);
    out
}
