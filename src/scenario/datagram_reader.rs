//! Packets off a real wire as the forge's equipment handles them: the way back from bytes to fields.
//!
//! Equipment looks at whole packets only: a fragment, a header with IP options or extension headers, a truncated packet
//! is not read, and passes unseen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::datagram::{Body, Datagram, IcmpMessage, IpHeader, Segment, TcpOption, UdpMessage};

/// Reads a packet from its IP header on; bytes behind its end (Ethernet's padding) are left out.
pub(crate) fn read(bytes: &[u8]) -> Option<Datagram> {
    let (ip, protocol, body) = match bytes.first()? >> 4 {
        4 => read_v4(bytes)?,
        6 => read_v6(bytes)?,
        _ => return None,
    };
    let body = match protocol {
        6 => Body::Tcp(segment(body)?),
        17 => Body::Udp(message(body)?),
        1 | 58 => Body::Icmp(icmp(body)?),
        _ => return None,
    };
    Some(Datagram { ip, body })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

fn read_v4(bytes: &[u8]) -> Option<(IpHeader, u8, &[u8])> {
    let total = usize::from(half(bytes, 2)?);
    let fragment = half(bytes, 6)?;
    // More fragments, or not the first; "don't fragment" is bit 14.
    if bytes[0] != 0x45 || fragment & 0x3FFF != 0 {
        return None;
    }
    let ip = IpHeader {
        src: IpAddr::V4(Ipv4Addr::from_bits(word(bytes, 12)?)),
        dst: IpAddr::V4(Ipv4Addr::from_bits(word(bytes, 16)?)),
        ttl: bytes[8],
        id: half(bytes, 4)?,
        df: fragment & 0x4000 != 0,
        tos: bytes[1],
        flow_label: 0,
    };
    Some((ip, bytes[9], bytes.get(20..total)?))
}

fn read_v6(bytes: &[u8]) -> Option<(IpHeader, u8, &[u8])> {
    let first = word(bytes, 0)?;
    let len = usize::from(half(bytes, 4)?);
    let address = |at: usize| -> Option<IpAddr> {
        let octets: &[u8; 16] = bytes.get(at..)?.first_chunk()?;
        Some(IpAddr::V6(Ipv6Addr::from_octets(*octets)))
    };
    let ip = IpHeader {
        src: address(8)?,
        dst: address(24)?,
        ttl: *bytes.get(7)?,
        id: 0,
        df: false,
        tos: (first >> 20) as u8,
        flow_label: first & 0xF_FFFF,
    };
    Some((ip, bytes[6], bytes.get(40..40 + len)?))
}

fn segment(bytes: &[u8]) -> Option<Segment> {
    let header_len = usize::from(bytes.get(12)? >> 4) * 4;
    Some(Segment {
        src_port: half(bytes, 0)?,
        dst_port: half(bytes, 2)?,
        seq: word(bytes, 4)?,
        ack: word(bytes, 8)?,
        flags: *bytes.get(13)?,
        reserved: bytes[12] & 0x0F,
        window: half(bytes, 14)?,
        options: options(bytes.get(20..header_len)?),
        payload: bytes.get(header_len..)?.to_vec(),
    })
}

/// The options that are known, in their order.
fn options(mut bytes: &[u8]) -> Vec<TcpOption> {
    let mut found = Vec::new();
    while let Some(kind) = bytes.first() {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(bytes.get(1).copied().unwrap_or(0)).max(2),
        };
        let Some(body) = bytes.get(..len) else { break };
        let option = match kind {
            1 => Some(TcpOption::Nop),
            2 => half(body, 2).map(TcpOption::Mss),
            3 => body.get(2).copied().map(TcpOption::WindowScale),
            4 => Some(TcpOption::SackPermitted),
            5 => body[2..]
                .chunks_exact(8)
                .map(|pair| Some((word(pair, 0)?, word(pair, 4)?)))
                .collect::<Option<_>>()
                .map(TcpOption::Sack),
            8 => word(body, 2)
                .zip(word(body, 6))
                .map(|(value, echo)| TcpOption::Timestamps(value, echo)),
            _ => None,
        };
        found.extend(option);
        bytes = &bytes[len..];
    }
    found
}

fn message(bytes: &[u8]) -> Option<UdpMessage> {
    let len = usize::from(half(bytes, 4)?);
    Some(UdpMessage {
        src_port: half(bytes, 0)?,
        dst_port: half(bytes, 2)?,
        payload: bytes.get(8..len)?.to_vec(),
    })
}

fn icmp(bytes: &[u8]) -> Option<IcmpMessage> {
    Some(IcmpMessage {
        kind: *bytes.first()?,
        code: *bytes.get(1)?,
        rest: *bytes.get(4..)?.first_chunk()?,
        payload: bytes.get(8..)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::datagram::flag;
    use super::*;

    fn packet(src: &str, dst: &str, body: Body) -> Datagram {
        let v6 = src.contains(':');
        Datagram {
            ip: IpHeader {
                src: src.parse().unwrap(),
                dst: dst.parse().unwrap(),
                ttl: 61,
                id: if v6 { 0 } else { 4711 },
                df: !v6,
                tos: 40,
                flow_label: if v6 { 0x5_1234 } else { 0 },
            },
            body,
        }
    }

    fn a_segment() -> Body {
        Body::Tcp(Segment {
            src_port: 40_000,
            dst_port: 443,
            seq: 0xFFFF_FFF0,
            ack: 7,
            flags: flag::PSH | flag::ACK,
            reserved: 3,
            window: 502,
            options: vec![
                TcpOption::Mss(1460),
                TcpOption::SackPermitted,
                TcpOption::Timestamps(9, 8),
                TcpOption::Nop,
                TcpOption::WindowScale(7),
                TcpOption::Nop,
                TcpOption::Nop,
                TcpOption::Sack(vec![(1, 2)]),
            ],
            payload: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        })
    }

    #[test]
    fn what_was_written_is_read_again() {
        let bodies = [
            a_segment(),
            Body::Udp(UdpMessage {
                src_port: 53,
                dst_port: 4000,
                payload: vec![1; 33],
            }),
            Body::Icmp(IcmpMessage {
                kind: 3,
                code: 13,
                rest: [0, 1, 2, 3],
                payload: vec![5; 28],
            }),
        ];
        for (turn, body) in bodies.into_iter().enumerate() {
            for (src, dst) in [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")] {
                let sent = packet(src, dst, body.clone());
                let mut bytes = sent.to_bytes();
                // Ethernet's padding.
                bytes.resize(bytes.len() + 6, 0);
                assert_eq!(read(&bytes), Some(sent), "{turn}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_or_in_pieces_is_not_read() {
        let bytes = packet("192.0.2.1", "198.51.100.2", a_segment()).to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len]), None, "{len}");
        }
        let mut fragment = bytes;
        fragment[6] = 0x20;
        assert_eq!(read(&fragment), None);
    }
}
