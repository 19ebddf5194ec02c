//! A TLS ClientHello (RFC 8446 4.1.2): whom the client wants to reach, and what it offers.
//!
//! Read over the beginning of the client's stream, which may be one segment or several put together: a hello that is not
//! all there gives what it has and says how many octets it still wants. Records may part it anywhere.

use super::tls_handshake::{Cursor, HelloExtent, HelloRead, Octets, Stop};

/// The handshake type of a ClientHello (RFC 8446 4).
const CLIENT_HELLO: u8 = 1;

/// A ClientHello, as far as it could be read.
#[derive(Clone, Debug)]
pub struct ClientHello<'a> {
    /// The version of the record it came in, usually `0x0301`; 0 for a hello without records, as in QUIC.
    pub record_version: u16,
    /// The version field, `0x0303` for TLS 1.2 and 1.3.
    pub legacy_version: u16,
    /// How long a session id is offered, in octets: 0 to 32.
    pub session_id_length: u8,
    /// How many cipher suites are offered, GREASE included.
    pub cipher_suites: u16,
    /// The name of the server wanted, SNI (RFC 6066 3), in the case it was sent in. With [`EncryptedName::Ech`] it may
    /// be the name of a front.
    pub server_name: Option<Octets<'a>>,
    /// The protocol the client would like best, the first of ALPN (RFC 7301): `h2`, `http/1.1`.
    pub first_protocol: Option<Octets<'a>>,
    /// The newest version offered, GREASE aside: `0x0304` for TLS 1.3. 0 if the hello is cut too early.
    pub newest_version: u16,
    /// Whether and how the true name is hidden.
    pub encrypted_name: EncryptedName,
    /// How much of the hello is there.
    pub extent: HelloExtent,
}

/// Whether and how a hello hides the server's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum EncryptedName {
    /// Not at all.
    No,
    /// By the early ESNI extension, `0xffce`, which China drops (wire-facts 3.1).
    Esni,
    /// An ECH extension, `0xfe0d` (RFC 9849), is there; browsers also send one without meaning ("GREASE").
    Ech,
}

impl<'a> ClientHello<'a> {
    /// Reads the ClientHello that a stream of TLS records begins with.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> HelloRead<Self> {
        match Cursor::open(bytes, CLIENT_HELLO) {
            HelloRead::Hello((cursor, version)) => HelloRead::Hello(Self::read_body(cursor, version)),
            HelloRead::Incomplete { need } => HelloRead::Incomplete { need },
            HelloRead::NotHello => HelloRead::NotHello,
        }
    }

    /// Reads a ClientHello that is not wrapped in records, as the CRYPTO frames of QUIC carry it (RFC 9001 4).
    #[must_use]
    pub fn read_bare(bytes: &'a [u8]) -> HelloRead<Self> {
        match Cursor::open_bare(bytes, CLIENT_HELLO) {
            HelloRead::Hello(cursor) => HelloRead::Hello(Self::read_body(cursor, 0)),
            HelloRead::Incomplete { need } => HelloRead::Incomplete { need },
            HelloRead::NotHello => HelloRead::NotHello,
        }
    }

    fn read_body(mut cursor: Cursor<'a>, record_version: u16) -> Self {
        let mut hello = Self {
            record_version,
            legacy_version: 0,
            session_id_length: 0,
            cipher_suites: 0,
            server_name: None,
            first_protocol: None,
            newest_version: 0,
            encrypted_name: EncryptedName::No,
            extent: HelloExtent::Damaged,
        };
        let result = hello.read_fields(&mut cursor);
        hello.extent = cursor.extent(result);
        hello
    }

    fn read_fields(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Stop> {
        self.legacy_version = cursor.u16()?;
        self.newest_version = self.legacy_version;
        cursor.skip(32)?; // the random
        self.session_id_length = cursor.u8()?;
        cursor.skip(self.session_id_length.into())?;
        let suites = cursor.u16()?;
        self.cipher_suites = suites / 2;
        cursor.skip(suites.into())?;
        let compressions = cursor.u8()?;
        cursor.skip(compressions.into())?;
        cursor.extensions(|cursor, kind| self.read_extension(cursor, kind))
    }

    fn read_extension(&mut self, cursor: &mut Cursor<'a>, kind: u16) -> Result<(), Stop> {
        match kind {
            0 if self.server_name.is_none() => {
                cursor.skip(2)?; // the list's length: it holds one name
                let host_name = cursor.u8()? == 0;
                let length = cursor.u16()?;
                let name = cursor.octets(length.into())?;
                if host_name && length > 0 {
                    self.server_name = name;
                }
            }
            16 if self.first_protocol.is_none() => {
                cursor.skip(2)?;
                let length = cursor.u8()?;
                self.first_protocol = cursor.octets(length.into())?;
            }
            43 => {
                for _ in 0..cursor.u8()? / 2 {
                    let version = cursor.u16()?;
                    // GREASE is 0x?a?a with both halves alike (RFC 8701 2).
                    let grease = version & 0x0f0f == 0x0a0a && version >> 8 == version & 0xff;
                    if !grease {
                        self.newest_version = self.newest_version.max(version);
                    }
                }
            }
            0xfe0d => self.encrypted_name = EncryptedName::Ech,
            0xffce => self.encrypted_name = EncryptedName::Esni,
            _ => {}
        }
        Ok(())
    }

    /// Whether and how it hides a name; none if a part of it that may is still to come.
    #[must_use]
    pub const fn hides(&self) -> Option<EncryptedName> {
        match (self.encrypted_name, &self.extent) {
            (EncryptedName::No, HelloExtent::Cut { .. }) => None,
            (by, _) => Some(by),
        }
    }

    /// Whether TLS 1.3 is offered, so that the server's certificate may travel encrypted.
    #[must_use]
    pub const fn offers_tls_1_3(&self) -> bool {
        self.newest_version >= 0x0304
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes(), &(body.len() as u16).to_be_bytes(), body].concat()
    }

    fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
        let extensions = extensions.concat();
        let mut body = b"\x03\x03".to_vec();
        body.extend([0xaa; 32]);
        body.extend(b"\x20");
        body.extend([0xbb; 32]);
        body.extend(b"\x00\x04\x13\x01\x13\x02\x01\x00");
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        [&[1, 0], &(body.len() as u16).to_be_bytes()[..], &body].concat()
    }

    fn in_records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| [b"\x16\x03\x01", &(part.len() as u16).to_be_bytes()[..], part].concat();
        message.chunks(size).flat_map(record).collect()
    }

    fn usual() -> Vec<u8> {
        message(&[
            extension(0x0a0a, b""),
            extension(0, b"\x00\x12\x00\x00\x0fblocked.example"),
            extension(16, b"\x00\x0c\x02h2\x08http/1.1"),
            extension(43, b"\x06\xfa\xfa\x03\x04\x03\x03"),
            extension(0xfe0d, &[0; 20]),
        ])
    }

    fn check_usual(hello: &ClientHello<'_>) {
        assert_eq!(hello.server_name.as_ref().unwrap().as_str(), Some("blocked.example"));
        assert_eq!(hello.first_protocol.as_ref().unwrap().as_bytes(), b"h2");
        assert_eq!((hello.legacy_version, hello.newest_version), (0x0303, 0x0304));
        assert_eq!((hello.session_id_length, hello.cipher_suites), (32, 2));
        assert_eq!(hello.encrypted_name, EncryptedName::Ech);
        assert!(hello.offers_tls_1_3());
    }

    #[test]
    fn a_hello_in_one_record_is_lent_out_where_it_lies() {
        let bytes = in_records(&usual(), 4096);
        let hello = ClientHello::read(&bytes).hello().unwrap();
        check_usual(&hello);
        assert_eq!(
            (hello.record_version, hello.extent),
            (0x0301, HelloExtent::Whole { end: bytes.len() })
        );
        assert!(matches!(hello.server_name, Some(Octets::Whole(_))));
    }

    #[test]
    fn a_hello_parted_at_every_octet_reads_the_same() {
        for size in 1..40 {
            let bytes = in_records(&usual(), size);
            let hello = ClientHello::read(&bytes).hello().unwrap();
            check_usual(&hello);
            assert_eq!(hello.extent, HelloExtent::Whole { end: bytes.len() });
        }
    }

    #[test]
    fn a_hello_without_records_reads_the_same() {
        let bytes = usual();
        let hello = ClientHello::read_bare(&bytes).hello().unwrap();
        check_usual(&hello);
        assert_eq!(hello.extent, HelloExtent::Whole { end: bytes.len() });
    }

    #[test]
    fn a_cut_hello_asks_for_no_more_than_there_is_and_comes_to_its_end() {
        for size in [7, 4096] {
            let bytes = in_records(&usual(), size);
            for cut in 1..bytes.len() {
                let need = match ClientHello::read(&bytes[..cut]) {
                    HelloRead::Hello(ClientHello {
                        extent: HelloExtent::Cut { need },
                        ..
                    }) => need,
                    HelloRead::Incomplete { need } => need,
                    other => panic!("{cut}: {other:?}"),
                };
                assert!(
                    need > 0 && cut + need <= bytes.len(),
                    "{cut} needs {need} of {}",
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn a_cut_hello_gives_the_name_if_that_is_whole() {
        let bytes = in_records(&usual(), 4096);
        let name_end = bytes
            .windows(15)
            .position(|window| window == b"blocked.example")
            .unwrap()
            + 15;
        let name = |end: usize| ClientHello::read(&bytes[..end]).hello().unwrap().server_name.is_some();
        assert!(name(name_end));
        assert!(!name(name_end - 1));
    }

    #[test]
    fn a_hello_in_one_record_asks_for_all_the_rest_at_once() {
        let bytes = in_records(&usual(), 4096);
        for cut in [20, 60, 100, bytes.len() - 1] {
            let HelloExtent::Cut { need } = ClientHello::read(&bytes[..cut]).hello().unwrap().extent else {
                panic!()
            };
            assert_eq!(cut + need, bytes.len());
        }
    }

    #[test]
    fn an_old_hello_without_extensions_has_no_name() {
        let mut bytes = message(&[]);
        bytes.truncate(bytes.len() - 2);
        bytes[3] -= 2;
        let bytes = in_records(&bytes, 4096);
        let hello = ClientHello::read(&bytes).hello().unwrap();
        assert!(hello.server_name.is_none() && !hello.offers_tls_1_3());
        assert_eq!(hello.extent, HelloExtent::Whole { end: bytes.len() });
    }

    #[test]
    fn a_broken_extension_does_not_spoil_the_next() {
        let bytes = in_records(
            &message(&[
                extension(16, b"\x00\x0c\xffh2"),
                extension(0, b"\x00\x04\x00\x00\x01a"),
                extension(0xffce, b""),
            ]),
            4096,
        );
        let hello = ClientHello::read(&bytes).hello().unwrap();
        assert_eq!(hello.server_name.unwrap().as_bytes(), b"a");
        assert_eq!(hello.encrypted_name, EncryptedName::Esni);
    }

    #[test]
    fn a_length_beyond_the_message_is_damage() {
        let mut bytes = in_records(&usual(), 4096);
        bytes[5 + 4 + 34] = 0xff; // the session id's length
        assert_eq!(ClientHello::read(&bytes).hello().unwrap().extent, HelloExtent::Damaged);
    }

    #[test]
    fn other_things_are_no_hello() {
        assert!(matches!(
            ClientHello::read(b"GET / HTTP/1.1\r\n\r\n"),
            HelloRead::NotHello
        ));
        assert!(matches!(
            ClientHello::read(b"\x17\x03\x03\x00\x10aaaaaaaaaaaaaaaa"),
            HelloRead::NotHello
        ));
        assert!(matches!(
            ClientHello::read(b"\x16\x03\x03\x00\x10\x02\x00\x00\x0caaaaaaaaaaaa"),
            HelloRead::NotHello
        ));
        assert!(matches!(ClientHello::read(b""), HelloRead::NotHello));
        assert!(matches!(
            ClientHello::read(b"\x16\x03"),
            HelloRead::Incomplete { need: 7 }
        ));
    }

    proptest! {
        #[test]
        fn random_and_mutated_hellos_never_panic_or_loop(
            size in 1usize..300,
            changes in proptest::collection::vec((0usize..400, any::<u8>()), 0..8), cut in 0usize..400,
            random in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut bytes = in_records(&usual(), size);
            for (at, octet) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = octet;
                }
            }
            bytes.truncate(cut);
            for bytes in [&bytes, &random] {
                _ = format!("{:?} {:?}", ClientHello::read(bytes), ClientHello::read_bare(bytes));
                assert!(super::super::tls_record::records(bytes).count() <= bytes.len() / 5 + 1);
            }
        }
    }
}
