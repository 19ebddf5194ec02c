//! The Certificate message of TLS up to 1.2 (RFC 5246 7.4.2), in which a server shows its chain in clear.
//!
//! It follows the ServerHello and is long: as a rule it is spread over several segments, and records may part it
//! anywhere. The handshake messages of the server's first flight are joined, without the record headers, in room that
//! the caller keeps; what lies where in the stream is not lost. (TLS 1.3 encrypts the message: there is none to read.)

use arrayvec::ArrayVec;

use super::tls_record::{ContentType, HEADER, RecordsEnd, TlsRecord};

/// The handshake types (RFC 5246 7.4).
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const SERVER_HELLO_DONE: u8 = 14;
const FINISHED: u8 = 20;

/// Records looked at: a server that puts each message, or each kilobyte, into a record of its own needs fewer.
const MOST_RECORDS: usize = 64;

/// What reading a chain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainRead<'r> {
    /// The message, whole or in part.
    Chain(Chain<'r>),
    /// The bytes end before the message begins.
    Incomplete,
    /// The flight has none: a session is resumed, or this is no such flight.
    None,
}

/// A chain of certificates as it stood in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'r> {
    list: &'r [u8],
    /// Where the message begins, in octets from the first of the stream.
    pub start: usize,
    /// The offset behind its last octet that is there.
    pub end: usize,
    /// Whether all of it is there.
    pub is_whole: bool,
}

impl<'r> Chain<'r> {
    /// Reads the chain in the flight that `bytes`, a server's stream from its first octet, begin with. `room` is for
    /// the joined messages; what it held is lost.
    #[must_use]
    pub fn read(bytes: &[u8], room: &'r mut Vec<u8>) -> ChainRead<'r> {
        room.clear();
        let mut pieces = ArrayVec::<(usize, usize), MOST_RECORDS>::new();
        let mut at = 0;
        let mut goes_on = false;
        while !pieces.is_full() {
            match TlsRecord::read(&bytes[at..]) {
                Ok(record) if record.content_type == ContentType::Handshake => {
                    pieces.push((room.len(), at + HEADER));
                    room.extend_from_slice(record.fragment);
                    at += HEADER + record.fragment.len();
                    goes_on = true;
                    if record.wanting() > 0 {
                        break;
                    }
                }
                Err(RecordsEnd::NotTls) if at < bytes.len() => {
                    goes_on = false;
                    break;
                }
                Err(_) => break,
                Ok(_) => {
                    goes_on = false;
                    break;
                }
            }
        }
        let room: &'r [u8] = room;
        let mut from = 0;
        while let Some([kind, l0, l1, l2]) = room.get(from..).and_then(<[u8]>::first_chunk) {
            let length = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
            let to = from + 4 + length;
            match *kind {
                CERTIFICATE => {
                    let body = &room[from + 4..to.min(room.len())];
                    let is_whole = to <= room.len();
                    if !is_whole && !goes_on {
                        return ChainRead::None;
                    }
                    return ChainRead::Chain(Chain {
                        // The list's own length is that of the message, less three.
                        list: body.get(3..).unwrap_or_default(),
                        start: in_stream(&pieces, from),
                        end: in_stream(&pieces, to.min(room.len()).saturating_sub(1)) + 1,
                        is_whole,
                    });
                }
                SERVER_KEY_EXCHANGE | SERVER_HELLO_DONE | FINISHED => return ChainRead::None,
                _ => from = to,
            }
        }
        if goes_on {
            ChainRead::Incomplete
        } else {
            ChainRead::None
        }
    }

    /// The certificates in DER, the server's own first; one that is cut is left out, and all behind it.
    pub fn certificates(&self) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        let mut rest = self.list;
        std::iter::from_fn(move || {
            let ([l0, l1, l2], behind) = rest.split_first_chunk()?;
            let (certificate, left) = behind.split_at_checked(u32::from_be_bytes([0, *l0, *l1, *l2]) as usize)?;
            rest = left;
            Some(certificate)
        })
    }
}

/// Where the octet at `joined` of the joined messages stood.
fn in_stream(pieces: &[(usize, usize)], joined: usize) -> usize {
    let piece = pieces.partition_point(|(start, _)| *start <= joined).saturating_sub(1);
    pieces.get(piece).map_or(0, |(start, stream)| stream + joined - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
    }

    fn vector(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat()
    }

    fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
        [&[kind, 3, 3][..], &(fragment.len() as u16).to_be_bytes(), fragment].concat()
    }

    fn flight() -> Vec<u8> {
        let list = [vector(b"leaf-leaf"), vector(b"root")].concat();
        [
            message(2, b"hello"),
            message(CERTIFICATE, &vector(&list)),
            message(SERVER_HELLO_DONE, b""),
        ]
        .concat()
    }

    #[test]
    fn a_chain_is_read_however_records_part_it() {
        let flight = flight();
        for size in 1..=flight.len() {
            let bytes: Vec<u8> = flight.chunks(size).flat_map(|part| record(22, part)).collect();
            let mut room = Vec::new();
            let records = flight.len().div_ceil(size);
            let read = Chain::read(&bytes, &mut room);
            if records > MOST_RECORDS {
                continue;
            }
            let ChainRead::Chain(chain) = read else {
                panic!("{size}: {read:?}")
            };
            assert!(chain.is_whole);
            assert_eq!(
                chain.certificates().collect::<Vec<_>>(),
                [&b"leaf-leaf"[..], b"root"],
                "{size}"
            );
            // The stream offsets lead to the first and the last octet of the message.
            assert_eq!(bytes[chain.start], CERTIFICATE);
            assert_eq!(&bytes[chain.end - 1..chain.end], b"t");
        }
    }

    #[test]
    fn a_cut_chain_gives_what_is_whole_and_a_beginning_asks_for_more() {
        let bytes = record(22, &flight());
        let mut room = Vec::new();
        for cut in 0..bytes.len() {
            match Chain::read(&bytes[..cut], &mut room) {
                ChainRead::Incomplete => assert!(cut < 5 + 9 + 4, "{cut}"),
                ChainRead::Chain(chain) => {
                    let whole = chain.certificates().count();
                    assert_eq!(whole, usize::from(cut >= 33) + usize::from(cut >= 40), "{cut}");
                    assert_eq!(chain.is_whole, cut >= 40, "{cut}");
                }
                ChainRead::None => assert!(cut < 5, "{cut}"),
            }
        }
    }

    #[test]
    fn a_resumed_session_shows_no_chain() {
        let mut room = Vec::new();
        let bytes = [record(22, &message(2, b"hello")), record(20, &[1])].concat();
        assert_eq!(Chain::read(&bytes, &mut room), ChainRead::None);
        assert_eq!(Chain::read(b"HTTP/1.1 200 OK", &mut room), ChainRead::None);
    }

    #[test]
    fn lengths_that_lie_are_harmless() {
        let mut room = Vec::new();
        let bytes = record(22, &[2, 0xff, 0xff, 0xff, 11, 0, 0]);
        assert_eq!(Chain::read(&bytes, &mut room), ChainRead::Incomplete);
        let bytes = record(22, &[11, 0, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let ChainRead::Chain(chain) = Chain::read(&bytes, &mut room) else {
            panic!("no chain")
        };
        assert_eq!(chain.certificates().count(), 0);
    }
}
