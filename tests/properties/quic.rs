//! QUIC long headers against `quinn-proto`: what both can read is read alike, and what one can the other can.

use std::io::Cursor;

use blockscope::payload::quic_initial::{LongKind, LongPacket, QuicVersion};
use bytes::BytesMut;
use proptest::prelude::*;
use quinn_proto::{FixedLengthConnectionIdParser, LongType, PartialDecode, ProtectedHeader};

use crate::captures::datagrams;
use crate::trials;

/// The versions both know, whose types have the same numbers.
const VERSIONS: [u32; 2] = [1, 0xff00_001d];

/// Kind, connection ids, and the length of the packet, of each packet of a datagram.
type Told = Vec<(LongKind, Vec<u8>, Vec<u8>, usize)>;

fn by_us(bytes: &[u8]) -> Told {
    let mut told = Vec::new();
    let mut rest = bytes;
    while let Some((packet, behind)) = LongPacket::read(rest) {
        if packet.version == QuicVersion::V2 || packet.kind == LongKind::Retry {
            break;
        }
        told.push((
            packet.kind,
            packet.to.to_vec(),
            packet.from.to_vec(),
            rest.len() - behind.len(),
        ));
        rest = behind;
    }
    told
}

fn by_them(bytes: &[u8]) -> Told {
    let mut told = Vec::new();
    let mut rest = Some(BytesMut::from(bytes));
    let parser = FixedLengthConnectionIdParser::new(8);
    while let Some(bytes) = rest.take() {
        let Ok(header) = ProtectedHeader::decode(&mut Cursor::new(bytes.clone()), &parser, &VERSIONS, false) else {
            break;
        };
        let (kind, to, from) = match header {
            ProtectedHeader::Initial(header) => (LongKind::Initial, header.dst_cid, header.src_cid),
            ProtectedHeader::Long {
                ty, dst_cid, src_cid, ..
            } => match ty {
                LongType::Handshake => (LongKind::Handshake, dst_cid, src_cid),
                LongType::ZeroRtt => (LongKind::ZeroRtt, dst_cid, src_cid),
            },
            ProtectedHeader::Retry { .. }
            | ProtectedHeader::Short { .. }
            | ProtectedHeader::VersionNegotiate { .. } => {
                break;
            }
        };
        let Ok((packet, behind)) = PartialDecode::new(bytes, &parser, &VERSIONS, false) else {
            break;
        };
        told.push((kind, to.to_vec(), from.to_vec(), packet.len()));
        rest = behind;
    }
    told
}

#[test]
fn datagrams_of_the_fixtures_are_read_alike() {
    let mut packets = 0;
    for datagram in datagrams() {
        let ours = by_us(&datagram);
        packets += ours.len();
        assert_eq!(ours, by_them(&datagram));
    }
    assert!(packets >= 20, "{packets} packets");
}

proptest! {
    #![proptest_config(trials(1024))]

    #[test]
    fn headers_are_read_alike(
        kind in 0_u8..4, low in 0_u8..16, version in prop::sample::select(VERSIONS.to_vec()),
        to in proptest::collection::vec(any::<u8>(), 0..23), from in proptest::collection::vec(any::<u8>(), 0..23),
        token in proptest::collection::vec(any::<u8>(), 0..80), length in 0_u16..300, wide in any::<bool>(),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    ) {
        let mut bytes = vec![0xc0 | kind << 4 | low];
        bytes.extend(version.to_be_bytes());
        for id in [&to, &from] {
            bytes.push(id.len() as u8);
            bytes.extend(id);
        }
        if kind == 0 {
            bytes.extend((0x4000 | token.len() as u16).to_be_bytes());
            bytes.extend(&token);
        }
        if wide {
            bytes.extend((0x8000_0000 | u32::from(length)).to_be_bytes());
        } else {
            bytes.extend((0x4000 | length).to_be_bytes());
        }
        bytes.extend(&body);
        for (at, octet) in changes {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        prop_assert_eq!(by_us(&bytes), by_them(&bytes));
    }
}
