//! TLS 1.3 as it looks from outside: a ClientHello with a server name, a flight of records that look encrypted, alerts,
//! application data. Inside, a toy cipher both ends can compute from the client's random hides the bytes; it secures
//! nothing and need not.

use super::chance::Chance;
use super::story::HelloStory;

/// Which end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// What came out of the records received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The server has read a ClientHello with this name.
    Hello(String),
    /// The client has read the server's flight: it may talk.
    Ready,
    /// TLS 1.2: it is this side's turn to send key exchange, ChangeCipherSpec and Finished.
    KeyExchange,
    /// Application bytes.
    Plain(Vec<u8>),
    /// A plaintext alert with this description.
    Alert(u8),
}

/// One end of a TLS connection.
#[derive(Clone, Debug)]
pub(crate) struct TlsSide {
    role: Role,
    key: u64,
    written: u64,
    read: u64,
    encrypted_read: u32,
    buffer: Vec<u8>,
    /// TLS 1.2 was agreed on.
    old: bool,
    /// TLS 1.2: the other side's ChangeCipherSpec has come.
    changed: bool,
}

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION: u8 = 23;
/// EncryptedExtensions, Certificate, CertificateVerify and Finished, each in a record of its own.
const SERVER_FLIGHT: u32 = 4;
const LARGEST_RECORD: usize = 16_384;

impl TlsSide {
    /// A side that has said nothing yet.
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            key: 0,
            written: 0,
            read: 0,
            encrypted_read: 0,
            buffer: Vec::new(),
            old: false,
            changed: false,
        }
    }

    /// The client's first flight: a ClientHello of 517 bytes and its record header.
    pub(crate) fn client_hello(&mut self, name: &str, form: HelloStory, chance: &mut Chance) -> Vec<u8> {
        let random = chance.bytes(32);
        self.key = key_of(&random);
        let hello = client_hello(name, form, &random, chance);
        record(HANDSHAKE, 0x0301, &hello)
    }

    /// The server's answer to a ClientHello: ServerHello and four encrypted records, the certificate of this size.
    pub(crate) fn server_flight(&mut self, certificate: usize, chance: &mut Chance) -> Vec<u8> {
        let mut hello = vec![3, 3];
        hello.extend(chance.bytes(32));
        hello.push(32);
        hello.extend(chance.bytes(32));
        // TLS_AES_128_GCM_SHA256, no compression; supported_versions 1.3 and an x25519 share.
        hello.extend_from_slice(&[0x13, 0x01, 0, 0, 46, 0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 29, 0, 32]);
        hello.extend(chance.bytes(32));
        let mut out = record(HANDSHAKE, 0x0303, &handshake(2, &hello));
        out.extend(record(CHANGE_CIPHER_SPEC, 0x0303, &[1]));
        for len in [10, certificate, 264, 36] {
            let inside = chance.bytes(len);
            out.extend(self.protect(&inside));
        }
        out
    }

    /// The server's answer in TLS 1.2: everything up to ServerHelloDone can be read, the chain is given in DER.
    pub(crate) fn server_flight_in_the_clear(&mut self, chain: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
        self.old = true;
        old_flight(chain, chance)
    }

    /// TLS 1.2: this side's key exchange (the client's only), ChangeCipherSpec and Finished.
    pub(crate) fn key_exchange(&mut self, chance: &mut Chance) -> Vec<u8> {
        let mut out = Vec::new();
        if self.role == Role::Client {
            let mut point = vec![32];
            point.extend(chance.bytes(32));
            out.extend(record(HANDSHAKE, 0x0303, &handshake(16, &point)));
        }
        out.extend(record(CHANGE_CIPHER_SPEC, 0x0303, &[1]));
        out.extend(record(HANDSHAKE, 0x0303, &chance.bytes(40)));
        out
    }

    /// The client's second flight, sent once the server's has been read.
    pub(crate) fn client_finished(&mut self, chance: &mut Chance) -> Vec<u8> {
        if self.old {
            return Vec::new();
        }
        let mut out = record(CHANGE_CIPHER_SPEC, 0x0303, &[1]);
        let inside = chance.bytes(36);
        out.extend(self.protect(&inside));
        out
    }

    /// Application bytes as records.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes
            .chunks(LARGEST_RECORD)
            .flat_map(|chunk| self.protect(chunk))
            .collect()
    }

    /// A fatal alert in the clear.
    pub(crate) fn alert(description: u8) -> Vec<u8> {
        record(ALERT, 0x0303, &[2, description])
    }

    /// Takes received bytes in and says what they were.
    pub(crate) fn take_in(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while self.buffer.len() >= 5 {
            let len = usize::from(u16::from_be_bytes([self.buffer[3], self.buffer[4]]));
            if self.buffer.len() < 5 + len {
                break;
            }
            let whole: Vec<u8> = self.buffer.drain(..5 + len).collect();
            let body = &whole[5..];
            match (whole[0], self.role) {
                (CHANGE_CIPHER_SPEC, _) => self.changed = true,
                (HANDSHAKE, Role::Server) if self.old && self.changed => events.push(Event::KeyExchange),
                (HANDSHAKE, Role::Server) if self.old => {}
                (HANDSHAKE, Role::Client) => {
                    if self.changed {
                        if self.old {
                            events.push(Event::Ready);
                        }
                    } else if body.first() == Some(&2) {
                        self.old = !offers_13(body);
                    } else if body.first() == Some(&14) {
                        events.push(Event::KeyExchange);
                    }
                }
                (HANDSHAKE, Role::Server) => {
                    self.key = key_of(body.get(6..38).unwrap_or_default());
                    events.push(Event::Hello(server_name(&whole).unwrap_or_default()));
                }
                (ALERT, _) => events.push(Event::Alert(body.get(1).copied().unwrap_or(0))),
                (APPLICATION, _) if self.old => {
                    let plain = self.unprotect(body);
                    events.push(Event::Plain(plain));
                }
                (APPLICATION, role) => {
                    self.encrypted_read += 1;
                    let handshake_records = if role == Role::Client { SERVER_FLIGHT } else { 1 };
                    let plain = self.unprotect(body);
                    if self.encrypted_read > handshake_records {
                        events.push(Event::Plain(plain));
                    } else if role == Role::Client && self.encrypted_read == SERVER_FLIGHT {
                        events.push(Event::Ready);
                    }
                }
                _ => {}
            }
        }
        events
    }

    /// Content, content type and a 16-byte tag under the toy cipher.
    fn protect(&mut self, inside: &[u8]) -> Vec<u8> {
        let mut stream = self.stream(self.role, self.written);
        self.written += 1;
        let mut body: Vec<u8> = inside.to_vec();
        body.push(APPLICATION);
        let veil = stream.bytes(body.len());
        body.iter_mut().zip(veil).for_each(|(byte, veil)| *byte ^= veil);
        body.extend(stream.bytes(16));
        record(APPLICATION, 0x0303, &body)
    }

    fn unprotect(&mut self, body: &[u8]) -> Vec<u8> {
        let other = if self.role == Role::Client {
            Role::Server
        } else {
            Role::Client
        };
        let mut stream = self.stream(other, self.read);
        self.read += 1;
        let len = body.len().saturating_sub(16);
        let veil = stream.bytes(len);
        body[..len.saturating_sub(1)]
            .iter()
            .zip(veil)
            .map(|(byte, veil)| byte ^ veil)
            .collect()
    }

    fn stream(&self, writer: Role, number: u64) -> Chance {
        let side = if writer == Role::Client { 1 } else { 2 };
        Chance::new(self.key.wrapping_add(number.wrapping_mul(4) + side))
    }
}

/// A TLS 1.2 server's flight up to ServerHelloDone, each message in a record of its own.
fn old_flight(chain: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend(chance.bytes(32));
    hello.push(32);
    hello.extend(chance.bytes(32));
    // ECDHE_RSA_WITH_AES_128_GCM_SHA256; renegotiation_info, extended master secret, point formats.
    hello.extend_from_slice(&[0xC0, 0x2F, 0, 0, 15, 0xFF, 1, 0, 1, 0, 0, 23, 0, 0, 0, 11, 0, 2, 1, 0]);
    let mut exchange = vec![3, 0, 29, 32];
    exchange.extend(chance.bytes(32));
    exchange.extend_from_slice(&[8, 4, 1, 0]);
    exchange.extend(chance.bytes(256));
    [
        record(HANDSHAKE, 0x0303, &handshake(2, &hello)),
        certificate_record(chain),
        record(HANDSHAKE, 0x0303, &handshake(12, &exchange)),
        record(HANDSHAKE, 0x0303, &handshake(14, &[])),
    ]
    .concat()
}

/// A Certificate message of TLS 1.2 in a record of its own.
pub(crate) fn certificate_record(chain: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Vec::new();
    for certificate in chain {
        list.push(0);
        list.extend_from_slice(&(certificate.len() as u16).to_be_bytes());
        list.extend_from_slice(certificate);
    }
    let mut certificates = vec![0];
    certificates.extend_from_slice(&(list.len() as u16).to_be_bytes());
    certificates.extend(list);
    record(HANDSHAKE, 0x0303, &handshake(11, &certificates))
}

/// Whether a ServerHello agrees on TLS 1.3: it ends in the extensions our servers write.
fn offers_13(hello: &[u8]) -> bool {
    hello.windows(6).any(|window| window == [0, 43, 0, 2, 3, 4])
}

/// Whether a packet's payload begins with a ClientHello that encrypts its server name (extension 0xffce).
pub(crate) fn is_esni_hello(payload: &[u8]) -> bool {
    extension_of(payload, 0xFFCE).is_some()
}

/// Whether a packet's payload begins with a ClientHello that carries another, encrypted one (extension 0xfe0d).
pub(crate) fn is_ech_hello(payload: &[u8]) -> bool {
    extension_of(payload, 0xFE0D).is_some()
}

fn key_of(random: &[u8]) -> u64 {
    random.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

fn record(kind: u8, version: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0];
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn extension(out: &mut Vec<u8>, kind: u16, body: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
}

/// A ClientHello as a current browser sends it, padded to 512 bytes of handshake message (RFC 7685).
pub(crate) fn client_hello(name: &str, form: HelloStory, random: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(random);
    hello.push(32);
    hello.extend(chance.bytes(32));
    let suites: [u16; 15] = [
        0x1301, 0x1303, 0x1302, 0xC02B, 0xC02F, 0xCCA9, 0xCCA8, 0xC02C, 0xC030, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F,
        0x0035,
    ];
    hello.extend_from_slice(&(2 * suites.len() as u16).to_be_bytes());
    suites
        .iter()
        .for_each(|suite| hello.extend_from_slice(&suite.to_be_bytes()));
    hello.extend_from_slice(&[1, 0]);
    let mut extensions = Vec::new();
    let mut server_name = Vec::new();
    server_name.extend_from_slice(&(name.len() as u16 + 3).to_be_bytes());
    server_name.push(0);
    server_name.extend_from_slice(&(name.len() as u16).to_be_bytes());
    server_name.extend_from_slice(name.as_bytes());
    match form {
        HelloStory::Usual | HelloStory::Large => extension(&mut extensions, 0, &server_name),
        // Cipher suite, key share, record digest and 292 encrypted bytes (draft-ietf-tls-esni-02): 366 in all.
        HelloStory::Esni => {
            let mut esni = vec![0x13, 0x01, 0, 29, 0, 32];
            esni.extend(chance.bytes(32));
            esni.extend_from_slice(&[0, 32]);
            esni.extend(chance.bytes(32));
            esni.extend_from_slice(&[1, 36]);
            esni.extend(chance.bytes(292));
            extension(&mut extensions, 0xFFCE, &esni);
        }
        // Outer, cipher suite, configuration, key share and 240 encrypted bytes (RFC 9849 section 5).
        HelloStory::Ech => {
            extension(&mut extensions, 0, &server_name);
            let mut ech = vec![0, 0, 1, 0, 1, 42, 0, 32];
            ech.extend(chance.bytes(32));
            ech.extend_from_slice(&[0, 240]);
            ech.extend(chance.bytes(240));
            extension(&mut extensions, 0xFE0D, &ech);
        }
    }
    extension(&mut extensions, 23, &[]);
    extension(&mut extensions, 0xFF01, &[0]);
    extension(&mut extensions, 10, &[0, 8, 0, 29, 0, 23, 0, 24, 0, 25]);
    extension(&mut extensions, 11, &[1, 0]);
    extension(&mut extensions, 35, &[]);
    extension(&mut extensions, 16, b"\x00\x0c\x02h2\x08http/1.1");
    extension(&mut extensions, 5, &[1, 0, 0, 0, 0]);
    let mut share = Vec::new();
    if form == HelloStory::Large {
        // X25519MLKEM768: 1216 bytes.
        share.extend_from_slice(&[0x11, 0xEC, 4, 0xC0]);
        share.extend(chance.bytes(1216));
    }
    share.extend_from_slice(&[0, 29, 0, 32]);
    share.extend(chance.bytes(32));
    let len = share.len() as u16;
    share.splice(0..0, len.to_be_bytes());
    extension(&mut extensions, 51, &share);
    extension(&mut extensions, 43, &[4, 3, 4, 3, 3]);
    let algorithms = [4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 4, 1, 5, 1, 6, 1, 2, 3, 2, 1];
    let mut signatures = vec![0, algorithms.len() as u8];
    signatures.extend_from_slice(&algorithms);
    extension(&mut extensions, 13, &signatures);
    extension(&mut extensions, 45, &[1, 1]);
    let padding = 508usize.saturating_sub(hello.len() + 2 + extensions.len() + 4);
    extension(&mut extensions, 21, &vec![0; padding]);
    hello.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    hello.extend_from_slice(&extensions);
    handshake(1, &hello)
}

/// The server name a packet's payload carries, if it begins with a ClientHello record: one packet, no reassembly.
pub(crate) fn server_name(payload: &[u8]) -> Option<String> {
    let list = extension_of(payload, 0)?;
    let len = usize::from(u16::from_be_bytes([*list.get(3)?, *list.get(4)?]));
    let name = list.get(5..5 + len)?;
    Some(String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// The body of an extension of the ClientHello a packet's payload begins with.
fn extension_of(payload: &[u8], wanted: u16) -> Option<&[u8]> {
    if payload.first() != Some(&HANDSHAKE) || payload.get(5) != Some(&1) {
        return None;
    }
    let word = |at: usize| {
        payload
            .get(at..at + 2)
            .map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]])))
    };
    let mut at = 43;
    at += 1 + usize::from(*payload.get(at)?);
    at += 2 + word(at)?;
    at += 1 + usize::from(*payload.get(at)?);
    let end = at + 2 + word(at)?;
    at += 2;
    while at + 4 <= end {
        let (kind, len) = (word(at)?, word(at + 2)?);
        if kind == usize::from(wanted) {
            return payload.get(at + 4..at + 4 + len);
        }
        at += 4 + len;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_understand_each_other() {
        let mut chance = Chance::new(5);
        let (mut client, mut server) = (TlsSide::new(Role::Client), TlsSide::new(Role::Server));
        let hello = client.client_hello("blocked.example", HelloStory::Usual, &mut chance);
        assert_eq!(hello.len(), 517);
        assert_eq!(server.take_in(&hello), [Event::Hello("blocked.example".into())]);
        let flight = server.server_flight(2800, &mut chance);
        assert_eq!(client.take_in(&flight), [Event::Ready]);
        let mut second = client.client_finished(&mut chance);
        second.extend(client.seal(b"GET / HTTP/1.1\r\n\r\n"));
        assert_eq!(
            server.take_in(&second),
            [Event::Plain(b"GET / HTTP/1.1\r\n\r\n".to_vec())]
        );
        let answer = server.seal(&[9; 20_000]);
        let plain: Vec<u8> = client
            .take_in(&answer)
            .into_iter()
            .flat_map(|event| match event {
                Event::Plain(bytes) => bytes,
                _ => Vec::new(),
            })
            .collect();
        assert_eq!(plain, [9; 20_000]);
    }

    #[test]
    fn a_hello_cut_short_names_nobody() {
        let hello = TlsSide::new(Role::Client).client_hello("blocked.example", HelloStory::Usual, &mut Chance::new(1));
        assert_eq!(server_name(&hello).as_deref(), Some("blocked.example"));
        assert_eq!(server_name(&hello[..60]), None);
    }
}
