//! From a frame to a [`Packet`], in place.
//!
//! etherparse's header slices check each length once at the door; after that the accessors cannot fail. A frame that
//! gives no packet gives an [`Undissected`], which is counted and shown, never hidden.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, TcpHeaderSlice,
    UdpHeaderSlice,
};

use super::endpoint::Endpoint;
use super::frame::Frame;
use super::link::{NetworkHeader, network_header};
use super::packet::{Datagram, IcmpError, Packet, Segment, SequenceNumber, TcpFlags, Transport};
use super::path_marks::PathMarks;

/// Why a frame was not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Undissected {
    /// The link type is not one that is read.
    UnknownLinkType,
    /// The link layer carries something else than IPv4 or IPv6.
    NotIp,
    /// A later fragment: only the first carries ports. (The first is judged.)
    LaterFragment,
    /// Too few bytes were captured to reach the ports.
    CutShort,
    /// A header contradicts itself.
    Malformed,
}

impl Undissected {
    /// All reasons, in the order they are reported.
    pub const ALL: [Self; 5] = [
        Self::UnknownLinkType,
        Self::NotIp,
        Self::LaterFragment,
        Self::CutShort,
        Self::Malformed,
    ];

    /// The reason as a key of the `stats` record.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::UnknownLinkType => "unknown_link_type",
            Self::NotIp => "not_ip",
            Self::LaterFragment => "later_fragment",
            Self::CutShort => "cut_short",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for Undissected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownLinkType => "of a link type that is not read",
            Self::NotIp => "not IP",
            Self::LaterFragment => "later fragments, which carry no ports",
            Self::CutShort => "cut before their ports by the snap length",
            Self::Malformed => "with headers that contradict themselves",
        })
    }
}

/// What the IP layer said, before its payload is read.
struct Network<'a> {
    from: IpAddr,
    to: IpAddr,
    protocol: IpNumber,
    marks: PathMarks,
    /// The IP payload as far as captured.
    payload: &'a [u8],
    /// The IP payload's length by its header.
    payload_len: u32,
}

/// Dissects `frame`.
///
/// # Errors
/// Why it gives no packet.
pub fn dissect(frame: Frame<'_>) -> Result<Packet<'_>, Undissected> {
    dissect_peeled(frame, &network_header(frame.link, frame.bytes)?)
}

/// Dissects `frame`, of which it is known where its IP header lies.
///
/// # Errors
/// Why it gives no packet.
// In line, so that a packet is written where it stays.
#[inline(always)]
pub fn dissect_peeled<'a>(frame: Frame<'a>, header: &NetworkHeader<'a>) -> Result<Packet<'a>, Undissected> {
    let below_ip = frame.bytes.len() - header.bytes.len();
    let on_wire = (frame.wire_len as usize).saturating_sub(below_ip);
    let network = network(header, on_wire)?;
    let (transport, ports) = transport(&network)?;
    Ok(Packet {
        frame,
        from: Endpoint::new(network.from, ports.0),
        to: Endpoint::new(network.to, ports.1),
        marks: network.marks,
        vlan: header.vlan,
        transport,
    })
}

#[inline(always)]
fn network<'a>(header: &NetworkHeader<'a>, on_wire: usize) -> Result<Network<'a>, Undissected> {
    match header.bytes.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(header.bytes, header.link_source, on_wire),
        Some(6) => ipv6(header.bytes, header.link_source, on_wire),
        Some(_) => Err(Undissected::Malformed),
        None => Err(Undissected::CutShort),
    }
}

#[inline(always)]
fn ipv4(bytes: &[u8], link_source: u32, on_wire: usize) -> Result<Network<'_>, Undissected> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => Undissected::CutShort,
        etherparse::err::ipv4::HeaderSliceError::Content(_) => Undissected::Malformed,
    })?;
    if header.fragments_offset().value() != 0 {
        return Err(Undissected::LaterFragment);
    }
    let header_len = header.slice().len();
    // Segmentation offload leaves the total length 0 in captures of the sending host: the frame's own length holds.
    let total_len = match usize::from(header.total_len()) {
        0 => on_wire.max(bytes.len()),
        len if len < header_len => return Err(Undissected::Malformed),
        len => len,
    };
    Ok(Network {
        from: IpAddr::V4(header.source_addr()),
        to: IpAddr::V4(header.destination_addr()),
        protocol: header.protocol(),
        marks: PathMarks {
            ttl: header.ttl(),
            ip_id: Some(header.identification()),
            dont_fragment: header.dont_fragment(),
            traffic_class: bytes[1],
            link_source,
        },
        payload: &bytes[header_len..total_len.min(bytes.len())],
        payload_len: (total_len - header_len) as u32,
    })
}

/// The longest chain of IPv6 extension headers that is followed.
const MOST_EXTENSIONS: usize = 8;

fn ipv6(bytes: &[u8], link_source: u32, on_wire: usize) -> Result<Network<'_>, Undissected> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => Undissected::CutShort,
        etherparse::err::ipv6::HeaderSliceError::Content(_) => Undissected::Malformed,
    })?;
    let header_len = header.slice().len();
    // 0 means a jumbogram or segmentation offload: the frame's own length holds.
    let total_len = match usize::from(header.payload_length()) {
        0 => on_wire.max(bytes.len()),
        len => header_len + len,
    };
    let mut rest = &bytes[header_len..total_len.min(bytes.len())];
    let mut rest_len = total_len - header_len;
    let mut protocol = header.next_header();
    for _ in 0..MOST_EXTENSIONS {
        let (next, len) = match protocol {
            IpNumber::IPV6_FRAGMENTATION_HEADER => {
                let fragment = Ipv6FragmentHeaderSlice::from_slice(rest).map_err(|_| Undissected::CutShort)?;
                if fragment.fragment_offset().value() != 0 {
                    return Err(Undissected::LaterFragment);
                }
                (fragment.next_header(), fragment.slice().len())
            }
            IpNumber::AUTHENTICATION_HEADER => match rest {
                [next, length, ..] => (IpNumber(*next), (usize::from(*length) + 2) * 4),
                _ => return Err(Undissected::CutShort),
            },
            _ if Ipv6RawExtHeaderSlice::header_type_supported(protocol) => {
                let extension = Ipv6RawExtHeaderSlice::from_slice(rest).map_err(|_| Undissected::CutShort)?;
                (extension.next_header(), extension.slice().len())
            }
            _ => break,
        };
        rest = rest.get(len..).ok_or(Undissected::CutShort)?;
        rest_len = rest_len.saturating_sub(len);
        protocol = next;
    }
    Ok(Network {
        from: IpAddr::V6(header.source_addr()),
        to: IpAddr::V6(header.destination_addr()),
        protocol,
        marks: PathMarks {
            ttl: header.hop_limit(),
            ip_id: None,
            dont_fragment: true,
            traffic_class: header.traffic_class(),
            link_source,
        },
        payload: rest,
        payload_len: rest_len as u32,
    })
}

#[inline(always)]
fn transport<'a>(network: &Network<'a>) -> Result<(Transport<'a>, (u16, u16)), Undissected> {
    let (bytes, len) = (network.payload, network.payload_len);
    match network.protocol {
        IpNumber::TCP => tcp(bytes, len),
        IpNumber::UDP => udp(bytes, len),
        IpNumber::ICMP | IpNumber::IPV6_ICMP => Ok((
            icmp_error(network.protocol, bytes).map_or(Transport::Other(network.protocol.0), Transport::IcmpError),
            (0, 0),
        )),
        other => Ok((Transport::Other(other.0), (0, 0))),
    }
}

#[inline(always)]
fn tcp(bytes: &[u8], len: u32) -> Result<(Transport<'_>, (u16, u16)), Undissected> {
    let fixed = bytes.first_chunk::<20>().ok_or(Undissected::CutShort)?;
    let header_len = usize::from(fixed[12] >> 4) * 4;
    if header_len < 20 || header_len > len as usize {
        return Err(Undissected::Malformed);
    }
    // Options the snap length cut away are options not seen: the fixed part is read for itself.
    let mut without_options = *fixed;
    without_options[12] = 0x50 | (fixed[12] & 0x0f);
    let header = TcpHeaderSlice::from_slice(if bytes.len() < header_len {
        &without_options
    } else {
        bytes
    })
    .map_err(|_| Undissected::Malformed)?;
    let captured = header_len.min(bytes.len());
    let segment = Segment {
        seq: SequenceNumber(header.sequence_number()),
        ack: SequenceNumber(header.acknowledgment_number()),
        flags: TcpFlags(u16::from_be_bytes([fixed[12] & 0x0f, fixed[13]])),
        window: header.window_size(),
        options: &bytes[20..captured],
        payload: &bytes[captured..],
        payload_len: len - header_len as u32,
    };
    Ok((
        Transport::Tcp(segment),
        (header.source_port(), header.destination_port()),
    ))
}

#[inline(always)]
fn udp(bytes: &[u8], len: u32) -> Result<(Transport<'_>, (u16, u16)), Undissected> {
    let header = UdpHeaderSlice::from_slice(bytes).map_err(|_| Undissected::CutShort)?;
    // A length of 0 is offload or a jumbogram (RFC 2675); one beyond the IP payload is a fragmented datagram.
    let payload_len = match u32::from(header.length()) {
        0 => len.saturating_sub(8),
        short if short < 8 => return Err(Undissected::Malformed),
        declared => declared - 8,
    };
    let payload = &bytes[8..];
    let payload = &payload[..payload.len().min(payload_len as usize)];
    Ok((
        Transport::Udp(Datagram { payload, payload_len }),
        (header.source_port(), header.destination_port()),
    ))
}

/// The error and what it quotes, if this ICMP message is an error that quotes at least the ports.
#[cold]
fn icmp_error(protocol: IpNumber, bytes: &[u8]) -> Option<IcmpError> {
    let (head, quoted) = bytes.split_first_chunk::<8>()?;
    let is_error = match protocol {
        IpNumber::ICMP => matches!(head[0], 3 | 4 | 5 | 11 | 12),
        _ => head[0] < 128,
    };
    if !is_error {
        return None;
    }
    // The quoted packet is cut: only its addresses, protocol and first four bytes are relied on.
    let (from, to, quoted_protocol, quoted_ttl, ports): (IpAddr, IpAddr, u8, u8, &[u8]) = match quoted.first()? >> 4 {
        4 => {
            let fixed = quoted.first_chunk::<20>()?;
            let header_len = usize::from(fixed[0] & 0x0f) * 4;
            let from: [u8; 4] = fixed[12..16].try_into().ok()?;
            let to: [u8; 4] = fixed[16..20].try_into().ok()?;
            (
                Ipv4Addr::from(from).into(),
                Ipv4Addr::from(to).into(),
                fixed[9],
                fixed[8],
                quoted.get(header_len..)?,
            )
        }
        6 => {
            let fixed = quoted.first_chunk::<40>()?;
            let from: [u8; 16] = fixed[8..24].try_into().ok()?;
            let to: [u8; 16] = fixed[24..40].try_into().ok()?;
            (
                Ipv6Addr::from(from).into(),
                Ipv6Addr::from(to).into(),
                fixed[6],
                fixed[7],
                &quoted[40..],
            )
        }
        _ => return None,
    };
    let (from_port, to_port) = match (quoted_protocol, ports) {
        (6 | 17, [a, b, c, d, ..]) => (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
        _ => (0, 0),
    };
    let quoted_seq = match (quoted_protocol, ports) {
        (6, [_, _, _, _, a, b, c, d, ..]) => Some(SequenceNumber(u32::from_be_bytes([*a, *b, *c, *d]))),
        _ => None,
    };
    Some(IcmpError {
        icmp_type: head[0],
        code: head[1],
        quoted_from: Endpoint::new(from, from_port),
        quoted_to: Endpoint::new(to, to_port),
        quoted_protocol,
        quoted_ttl,
        quoted_seq,
    })
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::packet::frame::{FrameNumber, LinkType};
    use crate::time::Timestamp;

    fn frame(bytes: &[u8]) -> Frame<'_> {
        Frame {
            number: FrameNumber::new(0, 1),
            at: Timestamp::EPOCH,
            bytes,
            wire_len: bytes.len() as u32,
            link: LinkType::ETHERNET,
        }
    }

    fn tcp_frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 57)
            .tcp(1234, 443, 0xdead_beef, 4128)
            .ack(77)
            .psh()
            .options_raw(&[1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6])
            .unwrap()
            .write(&mut bytes, payload)
            .unwrap();
        bytes
    }

    #[test]
    fn a_tcp_segment_is_read_in_place() {
        let bytes = tcp_frame(b"hello");
        let packet = dissect(frame(&bytes)).unwrap();
        assert_eq!(packet.from.to_string(), "192.0.2.1:1234");
        assert_eq!(packet.marks.ttl, 57);
        let Transport::Tcp(segment) = packet.transport else {
            panic!("not TCP")
        };
        assert_eq!((segment.seq.0, segment.ack.0, segment.window), (0xdead_beef, 77, 4128));
        assert!(segment.flags.psh() && segment.flags.ack() && !segment.flags.rst());
        assert_eq!((segment.payload, segment.payload_len), (&b"hello"[..], 5));
        assert_eq!(segment.timestamp().map(|stamp| stamp.value), Some(5));
    }

    #[test]
    fn a_snapped_packet_keeps_its_length_on_the_wire() {
        let whole = tcp_frame(&[7; 1000]);
        for cut in 0..whole.len() {
            let snapped = Frame {
                bytes: &whole[..cut],
                wire_len: whole.len() as u32,
                ..frame(&whole)
            };
            match dissect(snapped) {
                Ok(packet) => {
                    let Transport::Tcp(segment) = packet.transport else {
                        panic!("not TCP at {cut}")
                    };
                    assert_eq!(segment.payload_len, 1000);
                    assert_eq!(segment.payload.len(), cut.saturating_sub(66));
                }
                Err(reason) => assert!(cut < 54 && reason == Undissected::CutShort, "{cut}: {reason:?}"),
            }
        }
    }

    #[test]
    fn ethernet_padding_is_no_payload() {
        let mut bytes = tcp_frame(b"");
        bytes.extend([0; 9]);
        let Transport::Tcp(segment) = dissect(frame(&bytes)).unwrap().transport else {
            panic!("not TCP")
        };
        assert_eq!(segment.payload_len, 0);
        assert!(segment.payload.is_empty());
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        let mut bytes = tcp_frame(b"hello");
        bytes[20] = 0x20;
        assert!(dissect(frame(&bytes)).is_ok());
        bytes[21] = 5;
        assert_eq!(dissect(frame(&bytes)).unwrap_err(), Undissected::LaterFragment);
    }

    #[test]
    fn an_icmp_error_tells_whom_it_quotes() {
        let quoted = &tcp_frame(b"")[14..];
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([198, 51, 100, 9], [192, 0, 2, 1], 250)
            .icmpv4_raw(3, 13, [0; 4])
            .write(&mut bytes, quoted)
            .unwrap();
        let Transport::IcmpError(error) = dissect(frame(&bytes)).unwrap().transport else {
            panic!("no error")
        };
        assert_eq!((error.icmp_type, error.code), (3, 13));
        assert_eq!(error.quoted_to.to_string(), "192.0.2.2:443");
        assert_eq!(
            (error.quoted_ttl, error.quoted_seq),
            (57, Some(SequenceNumber(0xdead_beef)))
        );
    }

    #[test]
    fn ipv6_extension_headers_are_walked() {
        let mut bytes = vec![0; 14];
        bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
        let mut ip = vec![0x60, 0, 0, 0, 0, 32, 0, 61];
        ip.extend([1; 16]);
        ip.extend([2; 16]);
        ip.extend([44, 0, 1, 4, 0, 0, 0, 0]); // hop by hop, then
        ip.extend([17, 0, 0, 1, 0, 0, 0, 9]); // a first fragment, then
        ip.extend([0, 53, 0, 99, 0, 16, 0, 0]); // UDP
        ip.extend([9; 8]);
        bytes.extend(&ip);
        let packet = dissect(frame(&bytes)).unwrap();
        assert_eq!((packet.marks.ttl, packet.from.port, packet.to.port), (61, 53, 99));
        let Transport::Udp(datagram) = packet.transport else {
            panic!("not UDP")
        };
        assert_eq!(datagram.payload, &[9; 8]);
    }
}
