//! The first part of a response's body as a browser would see it: out of its chunks and out of its compression.
//!
//! Only as much is decoded as the buffer holds, however long or cunningly compressed the body is; a block page is short.
//! A body that is neither chunked nor compressed is lent out where it lies.

use flate2::{Decompress, FlushDecompress, Status};

use super::http_head::{ContentCoding, ResponseHead};

/// How many octets of a body are decoded at most (wire-facts 5.2, rule 1).
pub const MAX_BODY: usize = 16 * 1024;

/// A decoded body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body<'b> {
    /// The decoded octets, at most [`MAX_BODY`].
    pub bytes: &'b [u8],
    /// Why there are no more.
    pub end: BodyEnd,
}

/// Why a decoded body ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyEnd {
    /// It is all there is.
    Whole,
    /// There may be more: the input is cut, or its length was not declared.
    Cut,
    /// There is more than the buffer holds.
    Full,
    /// Chunks or compression are broken behind it.
    Damaged,
    /// The coding cannot be undone here: no octets are given.
    UnknownCoding,
}

/// Room to decode bodies in, one after another.
#[derive(Debug, Default)]
pub struct DecodingRoom {
    /// [`MAX_BODY`] bytes once a body has been decoded.
    buffer: Vec<u8>,
    /// Kept from body to body: its window is about 40 KiB.
    inflater: Option<Decompress>,
}

/// Decodes the beginning of a response's body, `raw` being what follows the head, in `room` where that is needed.
#[must_use]
pub fn decode_body<'b>(head: &ResponseHead<'_>, raw: &'b [u8], room: &'b mut DecodingRoom) -> Body<'b> {
    let coding = (head.is_chunked(), head.content_coding());
    if !matches!(coding, (_, ContentCoding::Other) | (false, ContentCoding::Identity)) {
        room.buffer.resize(MAX_BODY, 0);
    }
    let DecodingRoom { buffer, inflater } = room;
    match coding {
        (_, ContentCoding::Other) => Body {
            bytes: &[],
            end: BodyEnd::UnknownCoding,
        },
        (true, ContentCoding::Identity) => {
            let mut chunks = Chunks {
                rest: raw,
                left: 0,
                state: ChunkState::Size,
            };
            let mut length = 0;
            for part in &mut chunks {
                let taken = part.len().min(MAX_BODY - length);
                buffer[length..length + taken].copy_from_slice(&part[..taken]);
                length += taken;
                if taken < part.len() {
                    return Body {
                        bytes: &buffer[..length],
                        end: BodyEnd::Full,
                    };
                }
            }
            Body {
                bytes: &buffer[..length],
                end: chunks.end(),
            }
        }
        (true, coding @ (ContentCoding::Gzip | ContentCoding::Deflate)) => {
            let mut chunks = Chunks {
                rest: raw,
                left: 0,
                state: ChunkState::Size,
            };
            let (length, end) = inflate(coding, &mut chunks, inflater, buffer);
            Body {
                bytes: &buffer[..length],
                end: end.unwrap_or_else(|| chunks.end()),
            }
        }
        (false, coding) => {
            let declared = head.content_length();
            let length = declared.map_or(raw.len(), |length| {
                raw.len().min(usize::try_from(length).unwrap_or(usize::MAX))
            });
            let end = if declared.is_some_and(|declared| declared <= raw.len() as u64) {
                BodyEnd::Whole
            } else {
                BodyEnd::Cut
            };
            let raw = &raw[..length];
            if coding == ContentCoding::Identity {
                return if length > MAX_BODY {
                    Body {
                        bytes: &raw[..MAX_BODY],
                        end: BodyEnd::Full,
                    }
                } else {
                    Body { bytes: raw, end }
                };
            }
            let (length, inflated) = inflate(coding, &mut std::iter::once(raw), inflater, buffer);
            Body {
                bytes: &buffer[..length],
                end: inflated.unwrap_or(end),
            }
        }
    }
}

/// Inflates parts into `buffer`; gives the length and, unless the parts just ended, why it stopped.
fn inflate(
    coding: ContentCoding,
    parts: &mut dyn Iterator<Item = &[u8]>,
    kept: &mut Option<Decompress>,
    buffer: &mut [u8],
) -> (usize, Option<BodyEnd>) {
    const WINDOW_BITS: u8 = 15; // the widest window of RFC 1951
    let mut stream: Option<&mut Decompress> = None;
    let mut unusual = None;
    let mut length = 0;
    for mut part in parts {
        let Some(&first) = part.first() else { continue };
        if stream.is_none() {
            // zlib's first octet is x8 with a window of at most 32 KiB (RFC 1950 2.2); bare deflate's hardly ever is.
            let with_header = coding != ContentCoding::Gzip && first & 0x8f == 0x08;
            stream = Some(match (coding, part.strip_prefix(PLAIN_GZIP)) {
                // What is in the other six octets of a plain header (RFC 1952 2.3) changes nothing.
                (ContentCoding::Gzip, Some([_, _, _, _, _, _, bare @ ..])) => {
                    part = bare;
                    reset(kept, false)
                }
                (ContentCoding::Gzip, _) => unusual.insert(Decompress::new_gzip(WINDOW_BITS)),
                _ => reset(kept, with_header),
            });
        }
        let Some(stream) = &mut stream else { continue };
        while !part.is_empty() {
            let (read, written) = (stream.total_in(), stream.total_out());
            let status = stream.decompress(part, &mut buffer[length..], FlushDecompress::None);
            // Octets written before an error are good ones.
            let (read, written) = (
                (stream.total_in() - read) as usize,
                (stream.total_out() - written) as usize,
            );
            length += written;
            part = &part[read.min(part.len())..];
            match status {
                Ok(Status::StreamEnd) => return (length, Some(BodyEnd::Whole)),
                Err(_) => return (length, Some(BodyEnd::Damaged)),
                Ok(_) if length == MAX_BODY => return (length, Some(BodyEnd::Full)),
                Ok(_) if read == 0 && written == 0 => return (length, Some(BodyEnd::Damaged)),
                Ok(_) => {}
            }
        }
    }
    (length, None)
}

/// How gzip begins without a name, a comment or an extra field (RFC 1952 2.3), as servers write it. An inflater that has
/// read such a header cannot be used again; one for what follows the header can.
const PLAIN_GZIP: &[u8] = &[0x1f, 0x8b, 8, 0];

fn reset(kept: &mut Option<Decompress>, with_header: bool) -> &mut Decompress {
    let inflater = kept.get_or_insert_with(|| Decompress::new(with_header));
    inflater.reset(with_header);
    inflater
}

/// The chunks of a chunked body (RFC 9112 7.1), as far as they go.
struct Chunks<'r> {
    rest: &'r [u8],
    /// Octets of the present chunk still to come.
    left: u64,
    state: ChunkState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Size,
    Data,
    Last,
    Cut,
    Damaged,
}

impl Chunks<'_> {
    fn end(&self) -> BodyEnd {
        match self.state {
            ChunkState::Last => BodyEnd::Whole,
            ChunkState::Size | ChunkState::Data | ChunkState::Cut => BodyEnd::Cut,
            ChunkState::Damaged => BodyEnd::Damaged,
        }
    }
}

impl<'r> Iterator for Chunks<'r> {
    type Item = &'r [u8];

    fn next(&mut self) -> Option<&'r [u8]> {
        if self.state == ChunkState::Size {
            self.state = match httparse::parse_chunk_size(self.rest) {
                Ok(httparse::Status::Complete((_, 0))) => ChunkState::Last,
                Ok(httparse::Status::Complete((line, size))) => {
                    self.rest = &self.rest[line..];
                    self.left = size;
                    ChunkState::Data
                }
                Ok(httparse::Status::Partial) => ChunkState::Cut,
                Err(_) => ChunkState::Damaged,
            };
        }
        if self.state != ChunkState::Data {
            return None;
        }
        let taken = self.rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let (part, rest) = self.rest.split_at(taken);
        self.left -= taken as u64;
        (self.rest, self.state) = if self.left > 0 {
            (rest, ChunkState::Cut)
        } else if let Some(after) = rest.strip_prefix(b"\r\n") {
            (after, ChunkState::Size)
        } else if rest.len() < 2 {
            (rest, ChunkState::Cut)
        } else {
            (rest, ChunkState::Damaged)
        };
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn decode(headers: &str, raw: &[u8]) -> (Vec<u8>, BodyEnd) {
        let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
        let head = ResponseHead::read(head.as_bytes()).head().unwrap();
        let mut room = DecodingRoom::default();
        let body = decode_body(&head, raw, &mut room);
        let first = (body.bytes.to_vec(), body.end);
        let again = decode_body(&head, raw, &mut room);
        assert_eq!(
            (again.bytes, again.end),
            (&first.0[..], first.1),
            "the room was used before"
        );
        first
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn chunked(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend(format!("{:x}\r\n", part.len()).bytes());
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }

    const GZIP: &str = "Content-Encoding: gzip\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

    #[test]
    fn a_plain_body_ends_with_its_declared_length() {
        assert_eq!(
            decode("Content-Length: 3\r\n", b"abcdef"),
            (b"abc".to_vec(), BodyEnd::Whole)
        );
        assert_eq!(decode("Content-Length: 9\r\n", b"abc"), (b"abc".to_vec(), BodyEnd::Cut));
        assert_eq!(decode("", b"abc"), (b"abc".to_vec(), BodyEnd::Cut));
        assert_eq!(decode("", &[b'x'; MAX_BODY + 1]).1, BodyEnd::Full);
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(
            decode(CHUNKED, &chunked(&[b"ab", b"cde"])),
            (b"abcde".to_vec(), BodyEnd::Whole)
        );
        assert_eq!(decode(CHUNKED, b"5\r\nabc"), (b"abc".to_vec(), BodyEnd::Cut));
        assert_eq!(
            decode(CHUNKED, b"2\r\nabXX3\r\ncde"),
            (b"ab".to_vec(), BodyEnd::Damaged)
        );
        assert_eq!(
            decode(CHUNKED, b"2\r\nab\r\nzz\r\n"),
            (b"ab".to_vec(), BodyEnd::Damaged)
        );
        assert_eq!(decode(CHUNKED, &chunked(&[&[b'x'; MAX_BODY], b"y"])).1, BodyEnd::Full);
    }

    #[test]
    fn gzip_is_undone_also_in_chunks_and_where_it_is_cut() {
        let page = "<title>blocked</title> ".repeat(200).into_bytes();
        let packed = gzip(&page);
        assert_eq!(decode(GZIP, &packed), (page.clone(), BodyEnd::Whole));
        let (front, back) = packed.split_at(20);
        assert_eq!(
            decode(&format!("{GZIP}{CHUNKED}"), &chunked(&[front, back])),
            (page.clone(), BodyEnd::Whole)
        );
        let (start, end) = decode(GZIP, &packed[..packed.len() - 12]);
        assert!(end == BodyEnd::Cut && !start.is_empty() && page.starts_with(&start));
        assert_eq!(decode(GZIP, b"no gzip at all"), (vec![], BodyEnd::Damaged));
    }

    #[test]
    fn deflate_is_undone_with_and_without_its_wrapper() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(b"hello hello").unwrap();
        let wrapped = encoder.finish().unwrap();
        let bare = &wrapped[2..wrapped.len() - 4];
        for raw in [&wrapped, bare] {
            assert_eq!(
                decode("Content-Encoding: deflate\r\n", raw),
                (b"hello hello".to_vec(), BodyEnd::Whole)
            );
        }
    }

    #[test]
    fn a_bomb_fills_the_buffer_and_no_more() {
        let (bytes, end) = decode(GZIP, &gzip(&vec![0; 10_000_000]));
        assert_eq!((bytes.len(), end), (MAX_BODY, BodyEnd::Full));
    }

    #[test]
    fn an_unknown_coding_gives_nothing() {
        assert_eq!(
            decode("Content-Encoding: br\r\n", b"abc"),
            (vec![], BodyEnd::UnknownCoding)
        );
    }

    proptest! {
        #[test]
        fn random_and_mutated_bodies_never_panic_or_loop(
            mut packed in Just(chunked(&[&gzip(b"hello hello hello hello")])),
            changes in proptest::collection::vec((0usize..60, any::<u8>()), 0..5),
            random in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            for (at, octet) in changes {
                if let Some(place) = packed.get_mut(at) {
                    *place = octet;
                }
            }
            for headers in [GZIP, CHUNKED, "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n", "Content-Encoding: deflate\r\n"] {
                decode(headers, &packed);
                decode(headers, &random);
            }
        }
    }
}
