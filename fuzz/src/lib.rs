//! What is fuzzed: one function a reader of foreign bytes, and the whole way from a capture to its findings.
//!
//! Not to fall over is the least. Where a reader promises more (the same in pieces as whole, the same for any number of
//! threads, names that compare as they hash), the promise is held against every input.

pub mod mutation;

use std::io::{Cursor, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use blockscope::capture::capture_file::CaptureFile;
use blockscope::capture::error::CaptureError;
use blockscope::capture::filter::Filter;
use blockscope::capture::source::{Damage, FileNote, Progress, Record, RecordBatch, Source, Supply};
use blockscope::check::manifest::Manifest;
use blockscope::detect::packs::list;
use blockscope::engine::run::{Control, Settings, run};
use blockscope::packet::dissect::dissect as dissect_frame;
use blockscope::packet::frame::{Frame, FrameNumber, LinkType};
use blockscope::packet::host_pair::HostPair;
use blockscope::packet::link::Peeled;
use blockscope::payload::dns_message::{DnsMessage, Framed, RecordData, framed, looks_like_dns};
use blockscope::payload::dns_name::{Name, NameBuf, hash_dotted};
use blockscope::payload::html_facts::HtmlFacts;
use blockscope::payload::http_body::{DecodingRoom, MAX_BODY, decode_body};
use blockscope::payload::http_head::{RequestHead, ResponseHead, authority_of_url, host_of_authority};
use blockscope::payload::quic_initial::{ClientKeys, HelloPieces, LongPacket, MOST_OPENED, hello_frames};
use blockscope::payload::tls_certificate::{Chain, ChainRead};
use blockscope::payload::tls_client_hello::ClientHello;
use blockscope::payload::tls_record::records;
use blockscope::payload::tls_server_hello::ServerHello;
use blockscope::report::eve::Eve;
use blockscope::scenario::story::Story;
use blockscope::time::Timestamp;

/// A reader that gives a few bytes at a time, as pipes do.
struct InPieces(Cursor<Vec<u8>>, usize);

impl Read for InPieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(self.1);
        self.0.read(&mut buffer[..len])
    }
}

/// All frames of a capture with their bytes, and how it ended.
fn drain(bytes: &[u8], piece: usize, limit: usize) -> Option<(Vec<(Record, Vec<u8>)>, Option<Damage>)> {
    let reader = InPieces(Cursor::new(bytes.to_vec()), piece);
    let mut file = CaptureFile::from_reader(Path::new("x"), reader, 0).ok()?;
    let mut frames = Vec::new();
    let mut batch = RecordBatch::default();
    while file.supply(&mut batch, limit) == Supply::Records {
        frames.extend(batch.records.iter().map(|record| {
            // The place in the batch depends on how it is read, what lies there does not.
            (Record { offset: 0, ..*record }, batch.frame(record).bytes.to_vec())
        }));
        // A bomb may go on for long; its beginning is like its end.
        if frames.len() > 1 << 14 {
            return None;
        }
    }
    Some((frames, file.damage()))
}

fn same_in_pieces(bytes: &[u8]) {
    let whole = drain(bytes, usize::MAX, 1000);
    let piece = 1 + bytes.len() % 61;
    let pieces = drain(bytes, piece, 3);
    assert_eq!(whole, pieces, "in pieces of {piece}");
}

/// Classic captures, in all their variants: the first octet chooses one where the magic number is none.
pub fn pcap(bytes: &[u8]) {
    const MAGICS: [[u8; 4]; 4] = [
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0x4d, 0x3c, 0xb2, 0xa1],
        [0x34, 0xcd, 0xb2, 0xa1],
    ];
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
        return same_in_pieces(bytes);
    };
    if blockscope::capture::format::Decoder::of(head, 0).is_some() {
        return same_in_pieces(bytes);
    }
    same_in_pieces(&[&MAGICS[usize::from(head[0]) % MAGICS.len()], rest].concat());
}

/// Blocks behind a section header of either byte order.
pub fn pcapng(bytes: &[u8]) {
    if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        return same_in_pieces(bytes);
    }
    let header: &[u8] = if bytes.first().is_some_and(|first| first & 1 == 1) {
        b"\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b\x3c\x4d\0\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x1c"
    } else {
        b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0"
    };
    same_in_pieces(&[header, bytes].concat());
}

/// Compressed captures, told by their contents. Decompressors drop what they had of a call when they come upon damage, so
/// that how far a damaged one is read, and whether to its first frame, depends on the pieces it comes in; what is read is
/// the same.
pub fn compressed(bytes: &[u8]) {
    let piece = 1 + bytes.len() % 61;
    match (drain(bytes, usize::MAX, 1000), drain(bytes, piece, 3)) {
        (Some((whole, Some(_))), Some((pieces, Some(_)))) => {
            assert!(
                whole.iter().zip(&pieces).all(|(one, two)| one == two),
                "in pieces of {piece}"
            );
        }
        (Some((_, Some(_))), None) | (None, Some((_, Some(_)))) => {}
        (whole, pieces) => assert_eq!(whole, pieces, "in pieces of {piece}"),
    }
}

/// Frames of every link type: the first octet chooses one.
pub fn dissect(bytes: &[u8]) {
    const LINKS: [u16; 16] = [0, 1, 9, 12, 14, 50, 51, 101, 104, 108, 113, 204, 228, 229, 276, 999];
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let frame = Frame {
        number: FrameNumber::new(0, 1),
        at: Timestamp::EPOCH,
        bytes,
        wire_len: bytes.len() as u32 + u32::from(choice >> 4),
        link: LinkType(LINKS[usize::from(choice & 15)]),
    };
    let pair = Peeled::of(frame.link, frame.bytes).map_or(HostPair::default(), |peeled| peeled.pair);
    let _ = format!("{pair:?}");
    if let Ok(packet) = dissect_frame(frame) {
        let _ = format!("{packet:?}");
        // Snapped frames have the pair of whole ones: the header that names the hosts is there.
        assert_ne!(pair, HostPair::default(), "{packet:?}");
    }
}

fn read_dns(bytes: &[u8]) {
    let Some(message) = DnsMessage::read(bytes) else {
        assert!(bytes.len() < 12);
        return;
    };
    let survey = message.survey();
    let mut found = 0;
    for record in message.records() {
        found += 1;
        let _ = format!("{record:?} {}", record.name_is_question_pointer());
        match record.data() {
            RecordData::Opt(opt) => {
                let _ = format!("{:?} {:?}", opt.options().count(), opt.extended_error());
            }
            data => _ = format!("{data:?}"),
        }
    }
    let counts = [2, 3, 4].map(|index| usize::from(u16::from_be_bytes([bytes[index * 2 + 2], bytes[index * 2 + 3]])));
    assert!(found <= counts.iter().sum::<usize>());
    assert!(usize::from(survey.answers) <= counts[0]);
    assert_eq!(message.answers().count(), usize::from(survey.answers));
    if let Some(question) = message.question() {
        assert!(question.asks_the_same(&question));
    }
}

/// DNS messages, alone and as a stream carries them.
pub fn dns_message(bytes: &[u8]) {
    let _ = looks_like_dns(bytes);
    read_dns(bytes);
    let mut passed = 0;
    for piece in framed(bytes) {
        match piece {
            Framed::Message { at, bytes } => {
                assert_eq!(at, passed);
                passed += 2 + bytes.len();
                read_dns(bytes);
            }
            Framed::Incomplete { at, need, .. } => assert!(at >= passed && need > 0),
        }
    }
}

/// Names at every place of a message.
pub fn dns_name(bytes: &[u8]) {
    let mut before: Option<Name<'_>> = None;
    for at in 0..bytes.len().min(600) {
        let Ok((name, end)) = Name::read(bytes, at) else {
            continue;
        };
        assert!(end > at && end <= bytes.len());
        let labels: usize = name.labels().map(|label| label.len() + 1).sum();
        assert_eq!(labels + 1, name.wire_len());
        let kept = NameBuf::from(name);
        assert!(kept.as_name().eq_with_case(name));
        assert_eq!(kept.as_name().stable_hash(), name.stable_hash());
        let text = name.to_string();
        assert!(text.bytes().all(|octet| (0x21..0x7f).contains(&octet)), "{text}");
        if !text.contains('\\') {
            assert_eq!(hash_dotted(&text), name.stable_hash(), "{text}");
            assert!(name.is_root() || name.eq_dotted(&text), "{text}");
        }
        if let Some(other) = before.filter(|other| other.eq_ignore_case(name)) {
            assert_eq!(other.stable_hash(), name.stable_hash());
        }
        before = Some(name);
    }
}

/// Heads of requests and responses, and what is asked of them.
pub fn http_head(bytes: &[u8]) {
    if let Some(head) = RequestHead::read(bytes).head() {
        let _ = format!("{head:?} {:?} {:?}", head.host(), head.authority());
    }
    if let Some(head) = ResponseHead::read(bytes).head() {
        let _ = format!("{head:?} {:?} {:?}", head.location_host(), head.content_length());
        let _ = format!("{:?} {} {}", head.content_coding(), head.is_chunked(), head.closes());
    }
    if let Some(host) = authority_of_url(bytes).and_then(host_of_authority) {
        assert!(!host.is_empty());
    }
}

/// Bodies behind a head of their own.
pub fn http_body(bytes: &[u8]) {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return;
    };
    let (head, raw) = bytes.split_at(end + 4);
    let Some(head) = ResponseHead::read(head).head() else {
        return;
    };
    let mut room = DecodingRoom::default();
    let first = decode_body(&head, raw, &mut room).bytes.to_vec();
    assert!(first.len() <= MAX_BODY.max(raw.len()));
    // What one body leaves behind does not show in the next.
    assert_eq!(decode_body(&head, raw, &mut room).bytes, first);
}

/// Pages.
pub fn html_facts(bytes: &[u8]) {
    let facts = HtmlFacts::read(bytes);
    let _ = format!("{facts:?}");
    for target in facts.targets() {
        let _ = authority_of_url(target).and_then(host_of_authority);
    }
}

/// Hellos of both sides, in records and bare.
pub fn tls_hello(bytes: &[u8]) {
    for record in records(bytes) {
        let _ = format!("{:?} {}", record.alert(), record.wanting());
    }
    let _ = format!("{:?}", ClientHello::read(bytes));
    let _ = format!("{:?}", ClientHello::read_bare(bytes));
    if let Some(hello) = ServerHello::read(bytes).hello() {
        let _ = format!("{hello:?} {:?} {}", hello.downgrade(), hello.is_retry_request());
    }
}

/// Chains of certificates in a flight.
pub fn tls_certificate(bytes: &[u8]) {
    let mut room = Vec::new();
    let read = Chain::read(bytes, &mut room);
    if let ChainRead::Chain(chain) = read {
        assert!(chain.start <= chain.end && chain.end <= bytes.len(), "{chain:?}");
        assert!(chain.certificates().map(<[u8]>::len).sum::<usize>() <= bytes.len());
    }
}

/// QUIC datagrams and the frames within.
pub fn quic_initial(bytes: &[u8]) {
    let mut pieces = HelloPieces::default();
    let mut rest = bytes;
    let mut room = [0; MOST_OPENED];
    while let Some((packet, behind)) = LongPacket::read(rest) {
        assert!(behind.len() < rest.len());
        if let Some(opened) = ClientKeys::new(packet.version, packet.to).and_then(|keys| packet.open(&keys, &mut room))
        {
            hello_frames(opened).for_each(|(offset, piece)| pieces.add(offset, piece));
        }
        rest = behind;
    }
    // What a valid tag would guard.
    hello_frames(bytes).for_each(|(offset, piece)| pieces.add(offset, piece));
    let _ = format!("{:?}", ClientHello::read_bare(pieces.beginning()));
}

/// Lists of fingerprints in all forms.
pub fn packs(bytes: &[u8]) {
    for name in ["fingerprints_http.csv", "signatures.json", "pack.toml"] {
        if let Err(error) = list::read(name, bytes) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// `case.toml`.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Manifest::parse(text) {
        Ok(manifest) => _ = manifest.expects(),
        Err(error) => assert!(error.line >= 1 && error.line <= text.lines().count() + 1),
    }
}

/// Filter expressions, and a frame to hold against them.
pub fn filter(bytes: &[u8]) {
    let (expression, frame) = bytes.split_at(bytes.iter().position(|octet| *octet == 0).unwrap_or(bytes.len()));
    let Ok(expression) = std::str::from_utf8(expression) else {
        return;
    };
    if let Ok(mut filter) = Filter::new(expression) {
        for link in [LinkType::ETHERNET, LinkType::RAW, LinkType::LINUX_SLL] {
            let _ = filter.matches(link, frame);
        }
    }
}

/// Stories of the forge.
pub fn story(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Story::parse(text) {
        assert!(!error.to_string().is_empty());
    }
}

/// A capture read from one end to the other.
struct OneCapture {
    file: CaptureFile,
    note: FileNote,
    batch: usize,
}

impl Source for OneCapture {
    fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
        let supply = self.file.supply(batch, self.batch);
        self.note.frames += batch.records.len() as u64;
        if supply == Supply::End {
            self.note.damage = self.file.damage();
        }
        Ok(supply)
    }

    fn progress(&self) -> Progress {
        Progress {
            bytes_read: 0,
            bytes_total: None,
        }
    }

    fn files(&self) -> &[FileNote] {
        std::slice::from_ref(&self.note)
    }
}

struct Unwatched;

impl Control for Unwatched {
    fn progress(&mut self, _: Progress, _: u64) {}

    fn stop(&self) -> bool {
        false
    }
}

/// So few that the table is full before long; 64 shards share them.
const FLOWS: usize = 256;

fn eve(bytes: &[u8], threads: usize, batch: usize) -> Option<String> {
    let file = CaptureFile::from_reader(Path::new("x"), Cursor::new(bytes.to_vec()), 0).ok()?;
    let note = FileNote::default();
    let mut source = OneCapture { file, note, batch };
    let settings = Settings {
        threads: NonZeroUsize::new(threads)?,
        flows: FLOWS,
        ..Settings::default()
    };
    let mut eve = Eve::new(Vec::new());
    let outcome = run(&mut source, &settings, &mut eve, &mut Unwatched);
    assert!(outcome.output.is_none());
    let told = String::from_utf8(eve.into_inner()).expect("records are text");
    assert!(told.lines().all(|line| is_record(line)), "{told}");
    Some(told)
}

/// One line, one object, nothing that a terminal would obey.
fn is_record(line: &str) -> bool {
    line.starts_with('{') && line.ends_with('}') && !line.chars().any(char::is_control)
}

/// A whole reading. Now and then a second one, with other threads and batches, must tell the same.
pub fn read(bytes: &[u8]) {
    let told = eve(bytes, 1, 1000);
    let sum = bytes
        .iter()
        .fold(0_u8, |sum, octet| sum.wrapping_mul(31).wrapping_add(*octet));
    if sum.is_multiple_of(16) {
        assert_eq!(told, eve(bytes, 2, 5), "depends on threads or batches");
    }
}
