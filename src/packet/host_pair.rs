//! Which two hosts a frame is between: what decides the shard that judges it.
//!
//! Both directions of a flow, fragments without ports, and ICMP errors that quote a packet of the two all come to the
//! same shard, because only the unordered pair of addresses counts.

use super::frame::Frame;
use super::link::network_header;

/// A digest of an unordered pair of hosts; the same for both directions and for any run of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostPair(pub u64);

/// The digest of the hosts `frame` is between; all frames without two hosts share one.
#[must_use]
pub fn host_pair(frame: Frame<'_>) -> HostPair {
    let Ok(header) = network_header(frame.link, frame.bytes) else {
        return HostPair::default();
    };
    pair_of(header.bytes, 0).unwrap_or_default()
}

/// The pair of an IP packet, or of the packet an ICMP error in it quotes.
fn pair_of(ip: &[u8], depth: u8) -> Option<HostPair> {
    let (a, b, protocol, payload) = match ip.first()? >> 4 {
        4 => {
            let header = ip.first_chunk::<20>()?;
            (
                word(&header[12..16]),
                word(&header[16..20]),
                header[9],
                usize::from(header[0] & 0x0f) * 4,
            )
        }
        6 => {
            let header = ip.first_chunk::<40>()?;
            (
                mix(word(&header[8..16]), word(&header[16..24])),
                mix(word(&header[24..32]), word(&header[32..40])),
                header[6],
                40,
            )
        }
        _ => return None,
    };
    let quotes = match protocol {
        1 => matches!(ip.get(payload), Some(3 | 4 | 5 | 11 | 12)),
        58 => matches!(ip.get(payload), Some(0..128)),
        _ => false,
    };
    if quotes
        && depth == 0
        && let Some(pair) = ip.get(payload + 8..).and_then(|quoted| pair_of(quoted, depth + 1))
    {
        return Some(pair);
    }
    Some(HostPair(mix(mix(a.min(b), 0x9e37_79b9_7f4a_7c15), a.max(b))))
}

/// Up to 8 bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Folds two words into one: a 64 by 64 bit multiplication with both halves kept (the step of wyhash and foldhash).
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x2d35_8dcc_aa6c_78a5) * u128::from(b ^ 0x8bb8_4b93_962e_acc9);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::packet::frame::{FrameNumber, LinkType};
    use crate::time::Timestamp;

    fn pair(bytes: &[u8]) -> HostPair {
        host_pair(Frame {
            number: FrameNumber::new(0, 1),
            at: Timestamp::EPOCH,
            bytes,
            wire_len: bytes.len() as u32,
            link: LinkType::RAW,
        })
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
}
