//! QUIC Initial packets: long headers, the keys anybody on the way can derive, and the pieces of the ClientHello inside.
//!
//! The first packets of a QUIC connection are encrypted with keys made from the connection id that the client's very first one
//! carries in clear (RFC 9001 section 5.2), so a box on the way can read the server name, and so can we. A hello may be
//! cut into pieces, shuffled, and spread over several datagrams: [`HelloPieces`] puts them together, up to a bound.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut;
use arrayvec::ArrayVec;
use hkdf::Hkdf;
use sha2::Sha256;

/// The longest connection id of these versions (RFC 9000 section 17.2).
const MAX_ID: usize = 20;

/// The tag behind the ciphertext (AES-128-GCM, RFC 9001 section 5.3).
const TAG: usize = 16;

/// The longest Initial that is opened: what fits an Ethernet frame.
pub const MOST_OPENED: usize = 1500;

/// The longest hello that is put together: those with post-quantum key shares take about 1 800 octets.
const MOST_HELLO: usize = 4096;

/// Pieces that are apart at one time.
const MOST_PIECES: usize = 16;

/// A version whose Initials can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuicVersion {
    /// RFC 9000.
    V1,
    /// RFC 9369.
    V2,
    /// draft-ietf-quic-transport-29.
    Draft29,
}

impl QuicVersion {
    /// The version with the number `number`.
    #[must_use]
    pub const fn of(number: u32) -> Option<Self> {
        match number {
            0x0000_0001 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            0xff00_001d => Some(Self::Draft29),
            _ => None,
        }
    }

    /// The salt of the initial secret: RFC 9001 section 5.2, RFC 9369 section 3.3.1, draft-ietf-quic-tls-29 section 5.2.
    const fn salt(self) -> [u8; 20] {
        match self {
            Self::V1 => *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a",
            Self::V2 => *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9",
            Self::Draft29 => *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99",
        }
    }

    /// The labels of key, iv and header protection key (RFC 9001 section 5.1, RFC 9369 section 3.3.2).
    const fn labels(self) -> [&'static str; 3] {
        match self {
            Self::V1 | Self::Draft29 => ["quic key", "quic iv", "quic hp"],
            Self::V2 => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
        }
    }

    /// What a packet whose first octet is `first` carries: the numbers differ (RFC 9369 section 3.2).
    const fn kind(self, first: u8) -> LongKind {
        let bits = first >> 4 & 3;
        match (self, bits) {
            (Self::V1 | Self::Draft29, 0) | (Self::V2, 1) => LongKind::Initial,
            (Self::V1 | Self::Draft29, 1) | (Self::V2, 2) => LongKind::ZeroRtt,
            (Self::V1 | Self::Draft29, 2) | (Self::V2, 3) => LongKind::Handshake,
            _ => LongKind::Retry,
        }
    }
}

/// What a long-header packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongKind {
    /// The first flight.
    Initial,
    /// Early data.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
    /// The server wants the client to begin anew, under another connection id.
    Retry,
}

/// A packet with a long header.
#[derive(Clone, Copy, Debug)]
pub struct LongPacket<'a> {
    /// Its version.
    pub version: QuicVersion,
    /// What it carries.
    pub kind: LongKind,
    /// The connection id it is sent to.
    pub to: &'a [u8],
    /// The connection id it is sent from.
    pub from: &'a [u8],
    /// The packet from its first octet to its end.
    bytes: &'a [u8],
    /// Where the protected packet number begins.
    number_at: usize,
}

impl<'a> LongPacket<'a> {
    /// Reads the packet that `bytes` begins with, and what of the datagram lies behind it. Nothing if it is another version, a
    /// short header, cut short, or no QUIC.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&first, rest) = bytes.split_first()?;
        // Long header, and the fixed bit (RFC 9000 section 17.2).
        if first & 0xc0 != 0xc0 {
            return None;
        }
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let version = QuicVersion::of(u32::from_be_bytes(*number))?;
        let (to, rest) = connection_id(rest)?;
        let (from, rest) = connection_id(rest)?;
        let kind = version.kind(first);
        let rest = match kind {
            LongKind::Initial => {
                let (token, rest) = varint(rest)?;
                rest.get(usize::try_from(token).ok()?..)?
            }
            LongKind::ZeroRtt | LongKind::Handshake => rest,
            // It has no length: it ends with the datagram.
            LongKind::Retry => {
                let packet = Self {
                    version,
                    kind,
                    to,
                    from,
                    bytes,
                    number_at: bytes.len(),
                };
                return Some((packet, &[]));
            }
        };
        let (length, rest) = varint(rest)?;
        let number_at = bytes.len() - rest.len();
        let end = number_at.checked_add(usize::try_from(length).ok()?)?;
        let packet = Self {
            version,
            kind,
            to,
            from,
            bytes: bytes.get(..end)?,
            number_at,
        };
        Some((packet, &bytes[end..]))
    }

    /// Opens a client's Initial with `keys` into `room`. Nothing if it is no Initial, too long, or the keys do not fit.
    #[must_use]
    pub fn open<'r>(&self, keys: &ClientKeys, room: &'r mut [u8; MOST_OPENED]) -> Option<&'r [u8]> {
        if self.kind != LongKind::Initial {
            return None;
        }
        let sample: [u8; 16] = *self.bytes.get(self.number_at + 4..)?.first_chunk()?;
        let room = room.get_mut(..self.bytes.len())?;
        room.copy_from_slice(self.bytes);
        let mut mask = sample.into();
        keys.header.encrypt_block(&mut mask);
        room[0] ^= mask[0] & 0x0f;
        let number_len = usize::from(room[0] & 3) + 1;
        let body_at = self.number_at + number_len;
        let mut nonce = keys.iv;
        for index in 0..number_len {
            room[self.number_at + index] ^= mask[index + 1];
            nonce[12 - number_len + index] ^= room[self.number_at + index];
        }
        let (header, body) = room.split_at_mut_checked(body_at)?;
        let (text, tag) = body.split_at_mut_checked(body.len().checked_sub(TAG)?)?;
        let tag: [u8; TAG] = tag.first_chunk().copied()?;
        keys.body
            .decrypt_inout_detached(&nonce.into(), header, (&mut *text).into(), &tag.into())
            .ok()?;
        Some(text)
    }
}

/// A connection id and what follows it.
fn connection_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    if usize::from(len) > MAX_ID {
        return None;
    }
    rest.split_at_checked(usize::from(len))
}

/// A variable-length integer (RFC 9000 section 16) and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, _) = bytes.split_first()?;
    let (octets, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = octets[1..]
        .iter()
        .fold(u64::from(first & 0x3f), |value, octet| value << 8 | u64::from(*octet));
    Some((value, rest))
}

/// The keys of a client's Initials.
pub struct ClientKeys {
    body: Aes128Gcm,
    iv: [u8; 12],
    header: Aes128,
}

impl ClientKeys {
    /// The keys that follow from the connection id the client's first Initial is sent to.
    #[must_use]
    pub fn new(version: QuicVersion, first_id: &[u8]) -> Option<Self> {
        let initial = Hkdf::<Sha256>::new(Some(&version.salt()), first_id);
        let mut secret = [0; 32];
        expand(&initial, "client in", &mut secret)?;
        let client = Hkdf::<Sha256>::from_prk(&secret).ok()?;
        let (mut key, mut iv, mut header) = ([0; 16], [0; 12], [0; 16]);
        let [key_label, iv_label, header_label] = version.labels();
        expand(&client, key_label, &mut key)?;
        expand(&client, iv_label, &mut iv)?;
        expand(&client, header_label, &mut header)?;
        Some(Self {
            body: Aes128Gcm::new(&key.into()),
            iv,
            header: Aes128::new(&header.into()),
        })
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand(secret: &Hkdf<Sha256>, label: &str, out: &mut [u8]) -> Option<()> {
    let mut info = ArrayVec::<u8, 32>::new();
    info.try_extend_from_slice(&(out.len() as u16).to_be_bytes()).ok()?;
    info.try_push(6 + label.len() as u8).ok()?;
    info.try_extend_from_slice(b"tls13 ").ok()?;
    info.try_extend_from_slice(label.as_bytes()).ok()?;
    info.try_push(0).ok()?;
    secret.expand(&info, out).ok()
}

/// The pieces of a hello in the frames of an opened Initial: offset and octets. Ends at a frame no Initial may hold
/// (RFC 9000 section 12.4).
pub fn hello_frames(mut frames: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let (&kind, rest) = frames.split_first()?;
            frames = match kind {
                // PADDING and PING.
                0 | 1 => rest,
                // ACK, with its ranges and perhaps ECN counts.
                2 | 3 => {
                    let (_, rest) = varint(rest)?;
                    let (_, rest) = varint(rest)?;
                    let (ranges, rest) = varint(rest)?;
                    let (_, mut rest) = varint(rest)?;
                    for _ in 0..ranges {
                        rest = varint(rest)?.1;
                        rest = varint(rest)?.1;
                    }
                    for _ in 0..if kind == 3 { 3 } else { 0 } {
                        rest = varint(rest)?.1;
                    }
                    rest
                }
                // CRYPTO.
                6 => {
                    let (offset, rest) = varint(rest)?;
                    let (len, rest) = varint(rest)?;
                    let (piece, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
                    frames = rest;
                    return Some((offset, piece));
                }
                _ => return None,
            };
        }
    })
}

/// A hello that is put together from pieces in any order, up to 4 KiB; what lies beyond is left out.
#[derive(Clone, Debug)]
pub struct HelloPieces {
    bytes: [u8; MOST_HELLO],
    /// What is there, as ranges in order that do not touch.
    there: ArrayVec<(u16, u16), MOST_PIECES>,
}

impl Default for HelloPieces {
    fn default() -> Self {
        Self {
            bytes: [0; MOST_HELLO],
            there: ArrayVec::new(),
        }
    }
}

impl HelloPieces {
    /// Forgets all pieces.
    pub fn clear(&mut self) {
        self.there.clear();
    }

    /// Adds a piece. Of pieces that overlap the later one is kept.
    pub fn add(&mut self, offset: u64, piece: &[u8]) {
        let Some(start) = usize::try_from(offset).ok().filter(|start| *start < MOST_HELLO) else {
            return;
        };
        let len = piece.len().min(MOST_HELLO - start);
        let (mut from, mut to) = (start as u16, (start + len) as u16);
        if len == 0 || self.there.is_full() {
            return;
        }
        self.bytes[start..start + len].copy_from_slice(&piece[..len]);
        self.there.retain(|(other_from, other_to)| {
            let apart = *other_to < from || *other_from > to;
            if !apart {
                from = from.min(*other_from);
                to = to.max(*other_to);
            }
            apart
        });
        let at = self.there.partition_point(|(other, _)| *other < from);
        self.there.insert(at, (from, to));
    }

    /// The hello up to the first gap, as a bare handshake message.
    #[must_use]
    pub fn beginning(&self) -> &[u8] {
        match self.there.first() {
            Some((0, to)) => &self.bytes[..usize::from(*to)],
            _ => &[],
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::payload::tls_client_hello::ClientHello;

    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The connection id of RFC 9001 appendix A and RFC 9369 appendix A.
    const ID: &str = "8394c8f03e515708";

    fn derived(version: QuicVersion) -> [Vec<u8>; 4] {
        let initial = Hkdf::<Sha256>::new(Some(&version.salt()), &hex(ID));
        let mut secret = [0; 32];
        expand(&initial, "client in", &mut secret).unwrap();
        let client = Hkdf::<Sha256>::from_prk(&secret).unwrap();
        let [key, iv, header] = version.labels().map(|label| {
            let mut out = vec![0; if label.ends_with("iv") { 12 } else { 16 }];
            expand(&client, label, &mut out).unwrap();
            out
        });
        [secret.to_vec(), key, iv, header]
    }

    #[test]
    fn the_keys_of_rfc_9001_appendix_a_1_are_derived() {
        let expected = [
            "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea",
            "1f369613dd76d5467730efcbe3b1a22d",
            "fa044b2f42a3fd3b46fb255c",
            "9f50449e04a0e810283a1e9933adedd2",
        ];
        assert_eq!(derived(QuicVersion::V1), expected.map(hex));
    }

    #[test]
    fn the_keys_of_rfc_9369_appendix_a_1_are_derived() {
        let expected = [
            "14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b",
            "8b1a0bc121284290a29e0971b5cd045d",
            "91f73e2351d8fa91660e909f",
            "45b95e15235d6f45a6b19cbcb0294ba9",
        ];
        assert_eq!(derived(QuicVersion::V2), expected.map(hex));
    }

    /// An Initial as a client makes it: the inverse of [`LongPacket::open`], with a packet number of four octets.
    pub(crate) fn sealed(version: QuicVersion, id: &[u8], frames: &[u8]) -> Vec<u8> {
        let keys = ClientKeys::new(version, id).unwrap();
        let (number, first) = match version {
            QuicVersion::V1 => (1_u32, 0xc3),
            QuicVersion::V2 => (0x6b33_43cf, 0xd3),
            QuicVersion::Draft29 => (0xff00_001d, 0xc3),
        };
        let mut body = frames.to_vec();
        body.resize(1162, 0);
        let mut packet = vec![first];
        packet.extend(number.to_be_bytes());
        packet.push(id.len() as u8);
        packet.extend(id);
        packet.extend([0, 0]);
        packet.extend((0x4000 | (4 + body.len() + TAG) as u16).to_be_bytes());
        let number_at = packet.len();
        packet.extend([0, 0, 0, 2]);
        let mut nonce = keys.iv;
        nonce[11] ^= 2;
        let tag = keys
            .body
            .encrypt_inout_detached(&nonce.into(), &packet, body.as_mut_slice().into())
            .unwrap();
        packet.extend(&body);
        packet.extend(tag);
        let sample: [u8; 16] = packet[number_at + 4..number_at + 20].try_into().unwrap();
        let mut mask = sample.into();
        keys.header.encrypt_block(&mut mask);
        packet[0] ^= mask[0] & 0x0f;
        for index in 0..4 {
            packet[number_at + index] ^= mask[index + 1];
        }
        packet
    }

    /// The frames of RFC 9001 appendix A.2: a ClientHello for example.com.
    const FRAMES: &str = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c0\
        000000 10000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000\
        00330026 0024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403\
        05030603 0203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075\
        300901100f088394c8f03e51570806048000ffff";

    #[test]
    fn the_initial_of_rfc_9001_appendix_a_2_is_opened() {
        let packet = sealed(QuicVersion::V1, &hex(ID), &hex(FRAMES));
        // As printed in the RFC: the protected header, and the sample it was made with.
        assert_eq!(packet[..22], hex("c000000001088394c8f03e5157080000449e7b9aec34"));
        assert_eq!(packet[22..38], hex("d1b1c98dd7689fb8ec11d242b123dc9b"));
        let (initial, rest) = LongPacket::read(&packet).unwrap();
        assert!(rest.is_empty());
        assert_eq!(
            (initial.kind, initial.to, initial.from),
            (LongKind::Initial, &hex(ID)[..], &[][..])
        );
        let keys = ClientKeys::new(QuicVersion::V1, initial.to).unwrap();
        let mut room = [0; MOST_OPENED];
        let frames = initial.open(&keys, &mut room).unwrap();
        let mut pieces = HelloPieces::default();
        hello_frames(frames).for_each(|(offset, piece)| pieces.add(offset, piece));
        let hello = ClientHello::read_bare(pieces.beginning()).hello().unwrap();
        assert_eq!(hello.server_name.unwrap().as_str(), Some("example.com"));
    }

    #[test]
    fn the_initial_of_rfc_9369_appendix_a_2_is_made_and_opened() {
        let packet = sealed(QuicVersion::V2, &hex(ID), &hex(FRAMES));
        assert_eq!(packet[..22], hex("d76b3343cf088394c8f03e5157080000449ea0c95e82"));
        assert_eq!(packet[22..38], hex("ffe67b6abcdb4298b485dd04de806071"));
    }

    #[test]
    fn the_header_of_draft_29_appendix_a_2_is_unmasked() {
        let keys = ClientKeys::new(QuicVersion::Draft29, &hex(ID)).unwrap();
        let sample: [u8; 16] = hex("fb66bc5f93032b7ddd89fe0ff15d9c4f").try_into().unwrap();
        let mut mask = sample.into();
        keys.header.encrypt_block(&mut mask);
        assert_eq!(mask[..5], hex("d64a952459"));
    }

    #[test]
    fn version_2_and_draft_29_are_opened_and_the_wrong_id_opens_nothing() {
        for version in [QuicVersion::V2, QuicVersion::Draft29] {
            let packet = sealed(version, &hex(ID), &hex(FRAMES));
            let (initial, _) = LongPacket::read(&packet).unwrap();
            assert_eq!((initial.version, initial.kind), (version, LongKind::Initial));
            let mut room = [0; MOST_OPENED];
            let right = ClientKeys::new(version, &hex(ID)).unwrap();
            assert_eq!(hello_frames(initial.open(&right, &mut room).unwrap()).count(), 1);
            let wrong = ClientKeys::new(version, b"other").unwrap();
            assert!(initial.open(&wrong, &mut room).is_none());
        }
    }

    #[test]
    fn pieces_are_put_together_in_any_order() {
        let mut pieces = HelloPieces::default();
        for (offset, piece) in [(6, "gh"), (0, "ab"), (4, "ef"), (2, "cd"), (1, "bc")] {
            pieces.add(offset, piece.as_bytes());
        }
        assert_eq!(pieces.beginning(), b"abcdefgh");
        pieces.add(u64::MAX, b"x");
        pieces.add(4090, &[1; 100]);
        assert_eq!(pieces.beginning().len(), 8);
    }

    #[test]
    fn no_cut_of_an_initial_is_mistaken_or_panics() {
        let packet = sealed(QuicVersion::V1, &hex(ID), &hex(FRAMES));
        for len in 0..packet.len() {
            assert!(LongPacket::read(&packet[..len]).is_none(), "{len}");
        }
        for at in 0..40 {
            let mut damaged = packet.clone();
            damaged[at] ^= 0x5a;
            if let Some((initial, _)) = LongPacket::read(&damaged) {
                let mut room = [0; MOST_OPENED];
                let keys = ClientKeys::new(QuicVersion::V1, &hex(ID)).unwrap();
                assert!(initial.open(&keys, &mut room).is_none(), "{at}");
            }
        }
    }
}
