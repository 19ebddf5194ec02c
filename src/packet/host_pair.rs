//! Which two hosts a frame is between: what decides the shard that judges it.
//!
//! Both directions of a flow, fragments without ports, and ICMP errors that quote a packet of the two all come to the
//! same shard, because only the unordered pair of addresses counts.

use std::net::IpAddr;

/// A digest of an unordered pair of hosts; the same for both directions and for any run of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostPair(pub u64);

impl HostPair {
    /// The digest of the hosts a packet is between, by its IP header and what follows; all packets without two hosts
    /// share one.
    #[must_use]
    pub fn of_packet(ip: &[u8]) -> Self {
        pair_of(ip, Nesting::Outer).unwrap_or_default()
    }

    /// The digest of these two hosts.
    #[must_use]
    pub fn of(one: IpAddr, other: IpAddr) -> Self {
        match (one, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => between(u64::from(one.to_bits()), u64::from(other.to_bits())),
            _ => {
                let fold = |host: IpAddr| match host {
                    IpAddr::V4(host) => u64::from(host.to_bits()),
                    IpAddr::V6(host) => fold_v6(host.octets()),
                };
                between(fold(one), fold(other))
            }
        }
    }

    /// This pair's digest with that of two ports (the lower one first) and a protocol folded in.
    #[must_use]
    pub const fn with_ports(self, low: u16, high: u16, protocol: u8) -> u64 {
        mix(self.0, (protocol as u64) << 32 | (low as u64) << 16 | high as u64)
    }
}

/// Whether a packet is one of its frame or one that an error in it quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    Outer,
    Quoted,
}

/// The pair of an IP packet, or of the packet an ICMP error in it quotes.
#[inline]
fn pair_of(ip: &[u8], nesting: Nesting) -> Option<HostPair> {
    let (a, b, protocol, payload) = match ip.first()? >> 4 {
        4 => {
            let header = ip.first_chunk::<20>()?;
            let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            (
                u64::from(word(12)),
                u64::from(word(16)),
                header[9],
                usize::from(header[0] & 0x0f) * 4,
            )
        }
        6 => {
            let header = ip.first_chunk::<40>()?;
            let (_, addresses) = header.split_first_chunk::<8>()?;
            let (from, rest) = addresses.split_first_chunk::<16>()?;
            (fold_v6(*from), fold_v6(*rest.first_chunk::<16>()?), header[6], 40)
        }
        _ => return None,
    };
    if matches!(protocol, 1 | 58)
        && nesting == Nesting::Outer
        && let Some(pair) = ip.get(payload..).and_then(|message| quoted_pair(protocol, message))
    {
        return Some(pair);
    }
    Some(between(a, b))
}

/// The pair of the packet that an ICMP message quotes, if it is an error.
#[cold]
fn quoted_pair(protocol: u8, message: &[u8]) -> Option<HostPair> {
    let quotes = match (protocol, message.first()?) {
        (1, kind) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (_, kind) => *kind < 128,
    };
    message
        .get(8..)
        .filter(|_| quotes)
        .and_then(|quoted| pair_of(quoted, Nesting::Quoted))
}

const fn fold_v6(address: [u8; 16]) -> u64 {
    let number = u128::from_be_bytes(address);
    mix((number >> 64) as u64, number as u64)
}

/// The same whichever comes first.
const fn between(a: u64, b: u64) -> HostPair {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    HostPair(mix(mix(low, 0x9e37_79b9_7f4a_7c15), high))
}

/// Folds two words into one: a 64 by 64 bit multiplication with both halves kept (the step of wyhash and foldhash).
const fn mix(a: u64, b: u64) -> u64 {
    let product = (a ^ 0x2d35_8dcc_aa6c_78a5) as u128 * (b ^ 0x8bb8_4b93_962e_acc9) as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn pair(bytes: &[u8]) -> HostPair {
        HostPair::of_packet(bytes)
    }

    fn udp(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4(from, to, 64)
            .udp(1, 2)
            .write(&mut bytes, b"x")
            .unwrap();
        bytes
    }

    #[test]
    fn both_directions_and_the_errors_about_them_meet() {
        let there = udp([192, 0, 2, 1], [192, 0, 2, 2]);
        let back = udp([192, 0, 2, 2], [192, 0, 2, 1]);
        assert_eq!(pair(&there), pair(&back));
        assert_ne!(pair(&there), pair(&udp([192, 0, 2, 1], [192, 0, 2, 3])));
        let mut error = Vec::new();
        PacketBuilder::ipv4([198, 51, 100, 1], [192, 0, 2, 1], 64)
            .icmpv4_raw(3, 3, [0; 4])
            .write(&mut error, &there)
            .unwrap();
        assert_eq!(pair(&error), pair(&there));
    }

    #[test]
    fn a_pair_is_the_same_read_from_a_packet_and_made_of_addresses() {
        let v4 = udp([192, 0, 2, 1], [192, 0, 2, 2]);
        assert_eq!(pair(&v4), HostPair::of([192, 0, 2, 2].into(), [192, 0, 2, 1].into()));
        let mut v6 = Vec::new();
        PacketBuilder::ipv6([1; 16], [2; 16], 64)
            .udp(1, 2)
            .write(&mut v6, b"x")
            .unwrap();
        assert_eq!(pair(&v6), HostPair::of([2; 16].into(), [1; 16].into()));
    }
}
