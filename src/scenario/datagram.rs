//! Packets as the simulation handles them: an IP header and a TCP segment, UDP datagram or ICMP message, kept as fields
//! so that hosts and equipment can set each of them as they like (reserved bits, odd acknowledgements, an identification
//! copied from elsewhere), and turned into bytes with correct lengths and checksums only where a tap looks.

use std::net::{IpAddr, Ipv4Addr};

/// TCP flag bits (RFC 9293 section 3.1).
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
}

/// An IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// The IP header's fields.
    pub(crate) ip: IpHeader,
    /// What it carries.
    pub(crate) body: Body,
}

/// The fields of an IPv4 or IPv6 header that somebody chooses; the version follows from the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpHeader {
    /// Source address.
    pub(crate) src: IpAddr,
    /// Destination address, of the same version.
    pub(crate) dst: IpAddr,
    /// Time to live or hop limit.
    pub(crate) ttl: u8,
    /// IPv4 identification; unused by IPv6.
    pub(crate) id: u16,
    /// IPv4 "don't fragment"; unused by IPv6.
    pub(crate) df: bool,
    /// The type-of-service or traffic-class octet (DSCP in the upper six bits).
    pub(crate) tos: u8,
    /// IPv6 flow label, 20 bits; unused by IPv4.
    pub(crate) flow_label: u32,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram.
    Udp(UdpMessage),
    /// An ICMP or ICMPv6 message.
    Icmp(IcmpMessage),
}

/// A TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Source port.
    pub(crate) src_port: u16,
    /// Destination port.
    pub(crate) dst_port: u16,
    /// Sequence number.
    pub(crate) seq: u32,
    /// Acknowledgement field, written as it is whether or not the ACK flag is set.
    pub(crate) ack: u32,
    /// The eight flag bits CWR to FIN.
    pub(crate) flags: u8,
    /// The four bits between data offset and CWR: three reserved ones and the former NS bit (lowest).
    pub(crate) reserved: u8,
    /// Window field as written, unscaled.
    pub(crate) window: u16,
    /// Options in their order.
    pub(crate) options: Vec<TcpOption>,
    /// Payload.
    pub(crate) payload: Vec<u8>,
}

/// A TCP option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TcpOption {
    /// One byte of padding (kind 1).
    Nop,
    /// Maximum segment size (kind 2).
    Mss(u16),
    /// Window scale (kind 3).
    WindowScale(u8),
    /// Selective acknowledgement permitted (kind 4).
    SackPermitted,
    /// Selective acknowledgement blocks (kind 5).
    Sack(Vec<(u32, u32)>),
    /// Timestamp value and echo (kind 8).
    Timestamps(u32, u32),
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UdpMessage {
    /// Source port.
    pub(crate) src_port: u16,
    /// Destination port.
    pub(crate) dst_port: u16,
    /// Payload.
    pub(crate) payload: Vec<u8>,
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IcmpMessage {
    /// Type in the numbering of the packet's IP version.
    pub(crate) kind: u8,
    /// Code.
    pub(crate) code: u8,
    /// The four bytes after the checksum.
    pub(crate) rest: [u8; 4],
    /// What follows, e.g. the quoted packet.
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    /// Whether all these flags are set.
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// What it occupies in sequence space: payload plus one each for SYN and FIN.
    pub(crate) fn sequence_len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN))
    }

    /// The timestamps it carries.
    pub(crate) fn timestamps(&self) -> Option<(u32, u32)> {
        self.options.iter().find_map(|option| match option {
            TcpOption::Timestamps(value, echo) => Some((*value, *echo)),
            _ => None,
        })
    }

    /// Its header's length in bytes.
    pub(crate) fn header_len(&self) -> usize {
        20 + self
            .options
            .iter()
            .map(TcpOption::len)
            .sum::<usize>()
            .next_multiple_of(4)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let header_len = self.header_len();
        let start = out.len();
        out.extend_from_slice(&self.src_port.to_be_bytes());
        out.extend_from_slice(&self.dst_port.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.ack.to_be_bytes());
        out.push(((header_len / 4) as u8) << 4 | (self.reserved & 0x0F));
        out.push(self.flags);
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        for option in &self.options {
            option.write(out);
        }
        // End-of-list bytes fill the last word.
        out.resize(start + header_len, 0);
        out.extend_from_slice(&self.payload);
    }
}

impl TcpOption {
    fn len(&self) -> usize {
        match self {
            Self::Nop => 1,
            Self::Mss(_) => 4,
            Self::WindowScale(_) => 3,
            Self::SackPermitted => 2,
            Self::Sack(blocks) => 2 + 8 * blocks.len(),
            Self::Timestamps(..) => 10,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nop => out.push(1),
            Self::Mss(mss) => {
                out.extend_from_slice(&[2, 4]);
                out.extend_from_slice(&mss.to_be_bytes());
            }
            Self::WindowScale(shift) => out.extend_from_slice(&[3, 3, *shift]),
            Self::SackPermitted => out.extend_from_slice(&[4, 2]),
            Self::Sack(blocks) => {
                out.extend_from_slice(&[5, self.len() as u8]);
                for (from, to) in blocks {
                    out.extend_from_slice(&from.to_be_bytes());
                    out.extend_from_slice(&to.to_be_bytes());
                }
            }
            Self::Timestamps(value, echo) => {
                out.extend_from_slice(&[8, 10]);
                out.extend_from_slice(&value.to_be_bytes());
                out.extend_from_slice(&echo.to_be_bytes());
            }
        }
    }
}

impl Datagram {
    /// The packet as it lies on the wire, from the IP header on, lengths and checksums filled in.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        let (protocol, checksum_at) = match &self.body {
            Body::Tcp(segment) => {
                segment.write(&mut body);
                (6, 16)
            }
            Body::Udp(message) => {
                body.extend_from_slice(&message.src_port.to_be_bytes());
                body.extend_from_slice(&message.dst_port.to_be_bytes());
                body.extend_from_slice(&((8 + message.payload.len()) as u16).to_be_bytes());
                body.extend_from_slice(&[0; 2]);
                body.extend_from_slice(&message.payload);
                (17, 6)
            }
            Body::Icmp(message) => {
                body.extend_from_slice(&[message.kind, message.code, 0, 0]);
                body.extend_from_slice(&message.rest);
                body.extend_from_slice(&message.payload);
                (if self.ip.src.is_ipv4() { 1 } else { 58 }, 2)
            }
        };
        let pseudo = match (self.ip.src, self.ip.dst) {
            // ICMP over IPv4 is the only one without a pseudo header.
            (IpAddr::V4(_), IpAddr::V4(_)) if protocol == 1 => 0,
            (IpAddr::V4(src), IpAddr::V4(dst)) => pseudo_sum(&src.octets(), &dst.octets(), protocol, body.len()),
            (IpAddr::V6(src), IpAddr::V6(dst)) => pseudo_sum(&src.octets(), &dst.octets(), protocol, body.len()),
            // A story cannot mix versions; if code ever does, the checksum is the least of its troubles.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
        };
        let sum = match checksum(pseudo, &body) {
            // RFC 768: a computed zero is sent as all ones.
            0 if protocol == 17 => 0xFFFF,
            sum => sum,
        };
        body[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        let mut out = self.ip_header(protocol, body.len());
        out.extend_from_slice(&body);
        out
    }

    fn ip_header(&self, protocol: u8, body_len: usize) -> Vec<u8> {
        let ip = &self.ip;
        let mut out = Vec::with_capacity(40 + body_len);
        match (ip.src, ip.dst) {
            (IpAddr::V6(src), dst) => {
                let first = 0x6000_0000 | u32::from(ip.tos) << 20 | (ip.flow_label & 0xF_FFFF);
                out.extend_from_slice(&first.to_be_bytes());
                out.extend_from_slice(&(body_len as u16).to_be_bytes());
                out.extend_from_slice(&[protocol, ip.ttl]);
                out.extend_from_slice(&src.octets());
                let dst = match dst {
                    IpAddr::V6(dst) => dst,
                    IpAddr::V4(dst) => dst.to_ipv6_mapped(),
                };
                out.extend_from_slice(&dst.octets());
            }
            (IpAddr::V4(src), dst) => {
                let dst = match dst {
                    IpAddr::V4(dst) => dst,
                    IpAddr::V6(dst) => dst.to_ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED),
                };
                out.extend_from_slice(&[0x45, ip.tos]);
                out.extend_from_slice(&((20 + body_len) as u16).to_be_bytes());
                out.extend_from_slice(&ip.id.to_be_bytes());
                out.extend_from_slice(&[if ip.df { 0x40 } else { 0 }, 0, ip.ttl, protocol, 0, 0]);
                out.extend_from_slice(&src.octets());
                out.extend_from_slice(&dst.octets());
                let sum = checksum(0, &out);
                out[10..12].copy_from_slice(&sum.to_be_bytes());
            }
        }
        out
    }

    /// Source and destination port, if it has ports.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        match &self.body {
            Body::Tcp(segment) => Some((segment.src_port, segment.dst_port)),
            Body::Udp(message) => Some((message.src_port, message.dst_port)),
            Body::Icmp(_) => None,
        }
    }

    /// The TCP segment, if it carries one.
    pub(crate) fn tcp(&self) -> Option<&Segment> {
        match &self.body {
            Body::Tcp(segment) => Some(segment),
            Body::Udp(_) | Body::Icmp(_) => None,
        }
    }
}

fn pseudo_sum(src: &[u8], dst: &[u8], protocol: u8, len: usize) -> u32 {
    word_sum(src) + word_sum(dst) + u32::from(protocol) + len as u32
}

fn word_sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

/// The Internet checksum (RFC 1071).
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = start + word_sum(bytes);
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reset(src: &str, dst: &str) -> Datagram {
        Datagram {
            ip: IpHeader {
                src: src.parse().unwrap(),
                dst: dst.parse().unwrap(),
                ttl: 64,
                id: 1,
                df: false,
                tos: 0,
                flow_label: 0,
            },
            body: Body::Tcp(Segment {
                flags: flag::RST,
                reserved: 0xF,
                ..Segment::default()
            }),
        }
    }

    #[test]
    fn a_header_sums_to_zero_with_its_checksum() {
        let bytes = reset("192.0.2.1", "192.0.2.2").to_bytes();
        assert_eq!(checksum(0, &bytes[..20]), 0);
        let pseudo = pseudo_sum(&bytes[12..16], &bytes[16..20], 6, 20);
        assert_eq!(checksum(pseudo, &bytes[20..]), 0);
    }

    #[test]
    fn reserved_bits_are_written_as_told() {
        let bytes = reset("2001:db8::1", "2001:db8::2").to_bytes();
        assert_eq!(bytes[0] >> 4, 6);
        // The two bytes seen on the wire at an injector: 5f 04 (wire-facts 2.2).
        assert_eq!(&bytes[52..54], &[0x5F, 0x04]);
    }

    #[test]
    fn options_are_padded_to_whole_words() {
        let mut datagram = reset("192.0.2.1", "192.0.2.2");
        if let Body::Tcp(segment) = &mut datagram.body {
            segment.options = vec![TcpOption::Mss(1460), TcpOption::WindowScale(7)];
        }
        let bytes = datagram.to_bytes();
        assert_eq!(bytes[32] >> 4, 7);
        assert_eq!(bytes.len(), 20 + 28);
    }
}
