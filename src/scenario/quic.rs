//! QUIC version 1 as far as an onlooker can read it: Initial packets with a real encrypted ClientHello (RFC 9001 section
//! 5: keys from the client's first connection id), and behind them handshake and data packets that are noise of the
//! right form.

use aes_gcm::aead::Aead;
use aes_gcm::aead::Payload;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use aes_gcm::aes::{Aes128, Block};
use aes_gcm::{Aes128Gcm, KeyInit, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;

use super::chance::Chance;
use super::story::HelloStory;
use super::tls;

/// RFC 9001 section 5.2.
const SALT: [u8; 20] = [
    0x38, 0x76, 0x2C, 0xF7, 0xF5, 0x59, 0x34, 0xB3, 0x4D, 0x17, 0x9A, 0xE6, 0xA4, 0xC8, 0x0C, 0xAD, 0xCC, 0xBB, 0x7F,
    0x0A,
];
const VERSION_1: [u8; 4] = [0, 0, 0, 1];
/// RFC 9000 section 14.1: datagrams with Initials are at least this large.
const SMALLEST: usize = 1200;
const TAG: usize = 16;
/// First bytes: long header, fixed bit, type, packet numbers of four bytes.
const INITIAL: u8 = 0xC3;
const HANDSHAKE: u8 = 0xE3;

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

/// The keys of one end's Initials.
struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    mask: [u8; 16],
}

impl Keys {
    fn of(client_id: &[u8], end: End) -> Self {
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&SALT), client_id);
        let label: &[u8] = match end {
            End::Client => b"client in",
            End::Server => b"server in",
        };
        let mut secret = [0; 32];
        expand(&initial, label, &mut secret);
        let mut keys = Self {
            key: [0; 16],
            iv: [0; 12],
            mask: [0; 16],
        };
        if let Ok(secret) = Hkdf::<Sha256>::from_prk(&secret) {
            expand(&secret, b"quic key", &mut keys.key);
            expand(&secret, b"quic iv", &mut keys.iv);
            expand(&secret, b"quic hp", &mut keys.mask);
        }
        keys
    }

    fn cipher(&self) -> Aes128Gcm {
        Aes128Gcm::new(&self.key.into())
    }

    fn nonce(&self, number: u32) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, part) in nonce[8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        nonce
    }

    /// The five bytes that hide the first byte's low bits and the packet number.
    fn veil(&self, sample: &[u8]) -> [u8; 5] {
        let mut block = [0; 16];
        block.copy_from_slice(sample);
        let mut block = Block::from(block);
        Aes128::new(&self.mask.into()).encrypt_block(&mut block);
        [block[0], block[1], block[2], block[3], block[4]]
    }
}

/// HKDF-Expand-Label of TLS 1.3 with an empty context.
fn expand(secret: &Hkdf<Sha256>, label: &[u8], out: &mut [u8]) {
    let mut info = Vec::new();
    info.extend_from_slice(&(out.len() as u16).to_be_bytes());
    info.push(6 + label.len() as u8);
    info.extend_from_slice(b"tls13 ");
    info.extend_from_slice(label);
    info.push(0);
    // Fails only for outputs of more than 255 hashes.
    let _ = secret.expand(&info, out);
}

/// A variable-length integer of two bytes (RFC 9000 section 16), below 16384.
fn word(value: usize) -> [u8; 2] {
    (value as u16 | 0x4000).to_be_bytes()
}

/// A CRYPTO frame at offset 0.
fn crypto(message: &[u8]) -> Vec<u8> {
    let mut out = vec![6, 0];
    out.extend_from_slice(&word(message.len()));
    out.extend_from_slice(message);
    out
}

/// A protected Initial with these frames, padded so that the datagram reaches `size`.
fn initial(end: End, client_id: &[u8], ids: (&[u8], &[u8]), number: u32, frames: &[u8], size: usize) -> Vec<u8> {
    let keys = Keys::of(client_id, end);
    let mut header = vec![INITIAL];
    header.extend_from_slice(&VERSION_1);
    for id in [ids.0, ids.1] {
        header.push(id.len() as u8);
        header.extend_from_slice(id);
    }
    header.push(0);
    let before = header.len() + 2 + 4;
    let mut inside = frames.to_vec();
    inside.resize(inside.len().max(size.saturating_sub(before + TAG)), 0);
    header.extend_from_slice(&word(4 + inside.len() + TAG));
    let number_at = header.len();
    header.extend_from_slice(&number.to_be_bytes());
    let payload = Payload {
        msg: &inside,
        aad: &header,
    };
    let sealed = keys
        .cipher()
        .encrypt(&Nonce::from(keys.nonce(number)), payload)
        .unwrap_or_default();
    let mut out = header;
    out.extend_from_slice(&sealed);
    let veil = keys.veil(&out[number_at + 4..number_at + 20]);
    out[0] ^= veil[0] & 0x0F;
    for (byte, veil) in out[number_at..number_at + 4].iter_mut().zip(&veil[1..]) {
        *byte ^= veil;
    }
    out
}

/// A client's first datagram: its `number`-th Initial with the ClientHello.
pub(crate) fn client_initial(ids: (&[u8], &[u8]), number: u32, hello: &[u8]) -> Vec<u8> {
    initial(End::Client, ids.0, ids, number, &crypto(hello), SMALLEST)
}

/// A ClientHello as a browser sends it over QUIC.
pub(crate) fn hello(name: &str, chance: &mut Chance) -> Vec<u8> {
    let random = chance.bytes(32);
    tls::client_hello(name, HelloStory::Usual, &random, chance)
}

/// A server's first datagram: an Initial with ACK and ServerHello, and a Handshake packet that fills it.
pub(crate) fn server_first(client_id: &[u8], ids: (&[u8], &[u8]), chance: &mut Chance) -> Vec<u8> {
    let mut hello = vec![2, 0, 0, 86, 3, 3];
    hello.extend(chance.bytes(32));
    hello.extend_from_slice(&[0, 0x13, 0x01, 0, 0, 46, 0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 29, 0, 32]);
    hello.extend(chance.bytes(32));
    let mut frames = vec![2, 0, 0, 0, 0];
    frames.extend(crypto(&hello));
    let mut out = initial(End::Server, client_id, ids, 0, &frames, 0);
    let room = SMALLEST.saturating_sub(out.len());
    out.extend(noise_handshake(ids, room, chance));
    out
}

/// A Handshake packet of this size whose inside nobody can read.
pub(crate) fn noise_handshake(ids: (&[u8], &[u8]), size: usize, chance: &mut Chance) -> Vec<u8> {
    let mut out = vec![HANDSHAKE & 0xF0 | chance.below(16) as u8];
    out.extend_from_slice(&VERSION_1);
    for id in [ids.0, ids.1] {
        out.push(id.len() as u8);
        out.extend_from_slice(id);
    }
    let rest = size.saturating_sub(out.len() + 2).max(40);
    out.extend_from_slice(&word(rest));
    out.extend(chance.bytes(rest));
    out
}

/// A packet with a short header whose inside nobody can read.
pub(crate) fn noise_data(id: &[u8], size: usize, chance: &mut Chance) -> Vec<u8> {
    let mut out = vec![0x40 | chance.below(64) as u8];
    out.extend_from_slice(id);
    out.extend(chance.bytes(size.saturating_sub(out.len()).max(20)));
    out
}

/// The connection ids of a long header: destination and source.
pub(crate) fn ids(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    if packet.first()? & 0x80 == 0 {
        return None;
    }
    let len = usize::from(*packet.get(5)?);
    let destination = packet.get(6..6 + len)?;
    let at = 6 + len;
    let len = usize::from(*packet.get(at)?);
    Some((destination, packet.get(at + 1..at + 1 + len)?))
}

/// Whether a datagram begins with an Initial of version 1.
pub(crate) fn is_initial(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0xF0 == 0xC0) && packet.get(1..5) == Some(&VERSION_1)
}

/// The server name in a client's Initial that holds its whole ClientHello.
pub(crate) fn server_name(packet: &[u8]) -> Option<String> {
    if !is_initial(packet) {
        return None;
    }
    let (destination, source) = ids(packet)?;
    let keys = Keys::of(destination, End::Client);
    // No token, a length of two bytes: what our clients send.
    let number_at = 7 + destination.len() + source.len() + 1 + 2;
    let veil = keys.veil(packet.get(number_at + 4..number_at + 20)?);
    let mut header = packet.get(..number_at + 4)?.to_vec();
    header[0] ^= veil[0] & 0x0F;
    for (byte, veil) in header[number_at..].iter_mut().zip(&veil[1..]) {
        *byte ^= veil;
    }
    let number = u32::from_be_bytes(*header[number_at..].first_chunk()?);
    let len = usize::from(u16::from_be_bytes([
        packet[number_at - 2] & 0x3F,
        packet[number_at - 1],
    ]));
    let payload = Payload {
        msg: packet.get(number_at + 4..number_at + len)?,
        aad: &header,
    };
    let inside = keys.cipher().decrypt(&Nonce::from(keys.nonce(number)), payload).ok()?;
    // One CRYPTO frame with a length of two bytes comes first; the name is read as from a TLS record.
    let mut record = vec![22, 3, 1, 0, 0];
    record.extend_from_slice(inside.get(4..)?);
    tls::server_name(&record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_an_initial_reads_back() {
        let mut chance = Chance::new(3);
        let hello = hello("blocked.example", &mut chance);
        let packet = client_initial((&[1, 2, 3, 4, 5, 6, 7, 8], &[]), 2, &hello);
        assert_eq!(packet.len(), 1200);
        assert_eq!(server_name(&packet).as_deref(), Some("blocked.example"));
        assert_eq!(server_name(&packet[..1000]), None);
    }

    #[test]
    fn the_keys_are_those_of_the_rfc() {
        // RFC 9001 appendix A.1.
        let keys = Keys::of(&[0x83, 0x94, 0xC8, 0xF0, 0x3E, 0x51, 0x57, 0x08], End::Client);
        assert_eq!(keys.key[..4], [0x1F, 0x36, 0x96, 0x13]);
        assert_eq!(keys.iv[..4], [0xFA, 0x04, 0x4B, 0x2F]);
        assert_eq!(keys.mask[..4], [0x9F, 0x50, 0x44, 0x9E]);
    }
}
