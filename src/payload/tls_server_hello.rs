//! A TLS ServerHello (RFC 8446 4.1.3): which version and cipher the answering side chose.
//!
//! It travels in clear in every version, so a box that answers in a server's place shows here what it can do: falling
//! back to TLS 1.2 without the mark that a 1.3 server owes means that the answerer knows no 1.3 (wire-facts 5.3).

use super::tls_handshake::{Cursor, HelloExtent, HelloRead, Stop};

/// The handshake type of a ServerHello (RFC 8446 4).
const SERVER_HELLO: u8 = 2;

/// The random of a ServerHello that is a HelloRetryRequest: SHA-256 of that word (RFC 8446 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A ServerHello, as far as it could be read.
#[derive(Clone, Debug)]
pub struct ServerHello {
    /// The version field, `0x0303` for TLS 1.2 and 1.3.
    pub legacy_version: u16,
    /// The server's random.
    pub random: [u8; 32],
    /// The length of the session id, in octets: 0 to 32.
    pub session_id_length: u8,
    /// The cipher suite chosen; 0 if the hello is cut before it.
    pub cipher_suite: u16,
    /// The version chosen by `supported_versions`, if that extension is there.
    pub supported_version: Option<u16>,
    /// How much of the hello is there.
    pub extent: HelloExtent,
}

impl ServerHello {
    /// Reads the ServerHello that a stream of TLS records begins with.
    #[must_use]
    pub fn read(bytes: &[u8]) -> HelloRead<Self> {
        match Cursor::open(bytes, SERVER_HELLO) {
            HelloRead::Hello((mut cursor, _)) => {
                let mut hello = Self {
                    legacy_version: 0,
                    random: [0; 32],
                    session_id_length: 0,
                    cipher_suite: 0,
                    supported_version: None,
                    extent: HelloExtent::Damaged,
                };
                let result = hello.read_fields(&mut cursor);
                hello.extent = cursor.extent(result);
                HelloRead::Hello(hello)
            }
            HelloRead::Incomplete { need } => HelloRead::Incomplete { need },
            HelloRead::NotHello => HelloRead::NotHello,
        }
    }

    fn read_fields(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        self.legacy_version = cursor.u16()?;
        self.random = cursor.array()?;
        self.session_id_length = cursor.u8()?;
        cursor.skip(self.session_id_length.into())?;
        self.cipher_suite = cursor.u16()?;
        cursor.skip(1)?; // the compression
        cursor.extensions(|cursor, kind| {
            if kind == 43 {
                self.supported_version = Some(cursor.u16()?);
            }
            Ok(())
        })
    }

    /// The version chosen: `0x0304` for TLS 1.3.
    #[must_use]
    pub const fn version(&self) -> u16 {
        match self.supported_version {
            Some(version) => version,
            None => self.legacy_version,
        }
    }

    /// Whether this asks the client to try again with other parameters.
    #[must_use]
    pub fn is_retry_request(&self) -> bool {
        self.random == RETRY
    }

    /// What the random's end says about versions passed over.
    #[must_use]
    pub fn downgrade(&self) -> Downgrade {
        match self.random.last_chunk() {
            Some(b"DOWNGRD\x01") => Downgrade::ToTls12,
            Some(b"DOWNGRD\x00") => Downgrade::ToTls11,
            _ => Downgrade::Unmarked,
        }
    }
}

/// The mark that a server puts into its random when it could do better than it agreed to (RFC 8446 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Downgrade {
    /// No mark.
    Unmarked,
    /// A TLS 1.3 server agreed to TLS 1.2.
    ToTls12,
    /// A server agreed to TLS 1.1 or older though it knows newer.
    ToTls11,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(random: &[u8; 32], extensions: &[u8]) -> Vec<u8> {
        let mut body = b"\x03\x03".to_vec();
        body.extend(random);
        body.extend(b"\x00\x13\x01\x00");
        body.extend_from_slice(extensions);
        let message = [&[2, 0], &(body.len() as u16).to_be_bytes()[..], &body].concat();
        [b"\x16\x03\x03", &(message.len() as u16).to_be_bytes()[..], &message].concat()
    }

    #[test]
    fn the_version_chosen_is_that_of_the_extension() {
        let bytes = hello(&[7; 32], b"\x00\x06\x00\x2b\x00\x02\x03\x04");
        let hello = ServerHello::read(&bytes).hello().unwrap();
        assert_eq!(
            (hello.legacy_version, hello.version(), hello.cipher_suite),
            (0x0303, 0x0304, 0x1301)
        );
        assert_eq!(hello.extent, HelloExtent::Whole { end: bytes.len() });
        assert_eq!(hello.downgrade(), Downgrade::Unmarked);
        assert!(!hello.is_retry_request());
    }

    #[test]
    fn a_server_that_could_do_better_says_so() {
        let mut random = [7; 32];
        random[24..].copy_from_slice(b"DOWNGRD\x01");
        let bytes = hello(&random, b"");
        let hello = ServerHello::read(&bytes).hello().unwrap();
        assert_eq!((hello.version(), hello.downgrade()), (0x0303, Downgrade::ToTls12));
    }

    #[test]
    fn a_retry_request_is_known_by_its_random() {
        assert!(
            ServerHello::read(&hello(&RETRY, b""))
                .hello()
                .unwrap()
                .is_retry_request()
        );
    }

    #[test]
    fn a_cut_hello_gives_what_it_has() {
        let bytes = hello(&[7; 32], b"");
        let cut = ServerHello::read(&bytes[..bytes.len() - 2]).hello().unwrap();
        assert_eq!(
            (cut.random, cut.cipher_suite, cut.extent),
            ([7; 32], 0, HelloExtent::Cut { need: 2 })
        );
    }
}
