//! The capture formats, told apart by their first bytes and decoded in place.
//!
//! A [`Decoder`] is shown a window of the capture and a place in it. It takes one step: a record (which is a place in
//! the window, nothing is copied), something to pass over, the end, damage, or a request for more bytes. A mapped file
//! is one window from end to end; a stream is a row of windows, each beginning where the decoder stopped in the last.
//! The records are the same however the bytes are cut into windows.

use std::fmt;

use super::source::{Damage, Record};
use crate::packet::frame::{FrameNumber, LinkType};

pub mod pcap;
pub mod pcapng;
mod scout;

/// How many bytes tell every format and every compression from every other.
pub const MAGIC_LEN: usize = 4;

/// The most captured bytes a record may claim: libpcap's `MAXIMUM_SNAPLEN`, Wireshark's
/// `WTAP_MAX_PACKET_SIZE_STANDARD`.
const LARGEST_FRAME: u32 = 256 * 1024;

/// The same for D-Bus messages and USB transfers, which are larger by nature (libpcap's `max_snaplen_for_dlt`). They
/// are never judged, but an Ethernet interface may lie in the same file. Kept at a size a stream can hold.
const LARGEST_BUS_FRAME: u32 = 16 * 1024 * 1024;

/// Whether bytes may follow the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The window is a part; more may come.
    Open,
    /// The window ends where the capture ends.
    Final,
}

/// What one step through a window brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record, placed in the window.
    Record(Record),
    /// Something that is no record was passed over.
    Skip,
    /// The window must hold this many bytes from the current place on before another step can be taken. Only with
    /// [`Tail::Open`].
    NeedMore(usize),
    /// The capture ended where it may end.
    End,
    /// The capture broke; no further step makes sense.
    Damaged(Damage),
}

/// Why [`Decoder::fill`] stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As many records as asked for are there.
    Full,
    /// See [`Step::NeedMore`].
    NeedMore(usize),
    /// See [`Step::End`].
    End,
    /// See [`Step::Damaged`].
    Damaged(Damage),
}

/// The decoder of one capture.
#[derive(Debug)]
pub enum Decoder {
    /// The classic format and its variants.
    Pcap(pcap::Decoder),
    /// The block format.
    Pcapng(pcapng::Decoder),
}

impl Decoder {
    /// The decoder for a capture that begins with `head`, whose frames belong to the run's file `file`; none if that
    /// is no capture. Four bytes ([`MAGIC_LEN`]) are enough.
    #[must_use]
    pub fn of(head: &[u8], file: u32) -> Option<Self> {
        let magic: [u8; MAGIC_LEN] = head.first_chunk().copied()?;
        if magic == pcapng::MAGIC {
            return Some(Self::Pcapng(pcapng::Decoder::new(file)));
        }
        pcap::Decoder::of(magic, file).map(Self::Pcap)
    }

    /// Whether `head`, shorter than [`MAGIC_LEN`], is how a capture may begin.
    #[must_use]
    pub fn may_begin_with(head: &[u8]) -> bool {
        pcapng::MAGIC.starts_with(head) || pcap::MAGICS.iter().any(|(magic, _)| magic.starts_with(head))
    }

    /// Takes one step from `*at`, and moves `*at` past what was taken.
    pub fn next(&mut self, window: &[u8], at: &mut usize, tail: Tail) -> Step {
        match self {
            Self::Pcap(decoder) => decoder.next(window, at, tail),
            Self::Pcapng(decoder) => decoder.next(window, at, tail),
        }
    }

    /// Steps until `records` holds `limit` records or no step can be taken.
    pub fn fill(&mut self, window: &[u8], at: &mut usize, tail: Tail, limit: usize, records: &mut Vec<Record>) -> Stop {
        // One loop a format, so that the format is not asked for once a record.
        match self {
            Self::Pcap(decoder) => {
                decoder.records(window, at, limit, records);
                let next = |at: &mut usize| decoder.next(window, at, tail);
                fill(next, at, limit, records)
            }
            Self::Pcapng(decoder) => fill(|at| decoder.next(window, at, tail), at, limit, records),
        }
    }

    /// Bytes from the start of the capture to the end of the last complete step.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Pcap(decoder) => decoder.place.offset,
            Self::Pcapng(decoder) => decoder.place.offset,
        }
    }

    /// The number the next frame would have, 1-based.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        match self {
            Self::Pcap(decoder) => decoder.place.frames + 1,
            Self::Pcapng(decoder) => decoder.place.frames + 1,
        }
    }
}

fn fill(mut step: impl FnMut(&mut usize) -> Step, at: &mut usize, limit: usize, records: &mut Vec<Record>) -> Stop {
    while records.len() < limit {
        match step(at) {
            Step::Record(record) => records.push(record),
            Step::Skip => {}
            Step::NeedMore(bytes) => return Stop::NeedMore(bytes),
            Step::End => return Stop::End,
            Step::Damaged(damage) => return Stop::Damaged(damage),
        }
    }
    Stop::Full
}

/// How far a decoder has come in its capture.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: u32,
    frames: u64,
    offset: u64,
}

impl Place {
    const fn start_of(file: u32) -> Self {
        Self {
            file,
            frames: 0,
            offset: 0,
        }
    }

    /// Moves past `len` bytes.
    const fn advance(&mut self, at: &mut usize, len: usize) {
        *at += len;
        self.offset += len as u64;
    }

    /// Counts one more frame and gives its number.
    const fn number(&mut self) -> FrameNumber {
        self.frames += 1;
        FrameNumber::new(self.file, self.frames)
    }

    /// What to say when `part` takes `needed` bytes and the window holds fewer.
    fn short(&self, tail: Tail, needed: usize, part: Part) -> Step {
        match tail {
            Tail::Open => Step::NeedMore(needed),
            Tail::Final => self.damaged(format_args!("the capture ends in the middle of {}", part.named(self))),
        }
    }

    fn damaged(&self, why: fmt::Arguments<'_>) -> Step {
        Step::Damaged(Damage {
            offset: self.offset,
            why: why.to_string(),
        })
    }
}

/// What a capture can end in the middle of.
#[derive(Clone, Copy, Debug)]
enum Part {
    FileHeader,
    Frame,
    Block,
}

impl Part {
    fn named(self, place: &Place) -> String {
        match self {
            Self::FileHeader => "its file header".to_owned(),
            Self::Frame => format!("frame {}", place.frames + 1),
            Self::Block => format!("a block after frame {}", place.frames),
        }
    }
}

/// The order of the bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// The 16-bit number at `at`, which must lie in `bytes`.
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let raw = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(raw),
            Self::Big => u16::from_be_bytes(raw),
        }
    }

    /// The 32-bit number at `at`, which must lie in `bytes`.
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let raw = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            Self::Little => u32::from_le_bytes(raw),
            Self::Big => u32::from_be_bytes(raw),
        }
    }
}

/// The most captured bytes a frame of this link type may claim before the claim counts as damage.
const fn largest_frame(link: LinkType) -> u32 {
    match link.0 {
        // LINKTYPE_USB_LINUX_MMAPPED, LINKTYPE_DBUS, LINKTYPE_USBPCAP, LINKTYPE_EBHSCR
        220 | 231 | 249 | 279 => LARGEST_BUS_FRAME,
        _ => LARGEST_FRAME,
    }
}

/// What a file that is no capture looks like, by its first bytes, with what to do about it where that is known.
#[must_use]
pub fn describe_foreign(head: &[u8]) -> String {
    const KNOWN: &[(&[u8], &str)] = &[
        (
            b"snoop\0\0\0",
            "it is a snoop file; `editcap IN OUT.pcapng` converts it",
        ),
        (b"\x02\xb0\xc1\xd0", "it is a Microsoft ETL or Network Monitor trace"),
        (
            b"GMBU",
            "it is a Network Monitor capture; `editcap IN OUT.pcapng` converts it",
        ),
        (
            b"RTSS",
            "it is a Network Monitor capture; `editcap IN OUT.pcapng` converts it",
        ),
        (
            b"TRSNIFF data",
            "it is a Sniffer capture; `editcap IN OUT.pcapng` converts it",
        ),
        (b"XCP\0", "it is a NetXRay capture; `editcap IN OUT.pcapng` converts it"),
        (b"BZh", "it is compressed with bzip2; decompress it first"),
        (b"PK\x03\x04", "it is a zip archive; extract it first"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7-zip archive; extract it first"),
        (b"Rar!", "it is a RAR archive; extract it first"),
        (b"\x7fELF", "it is a program"),
        (b"%PDF", "it is a PDF"),
    ];
    // A stream is told by four bytes; no two of these begin with the same.
    let known = |(magic, _): &&(&[u8], &str)| {
        let len = magic.len().min(head.len());
        len >= magic.len().min(MAGIC_LEN) && magic[..len] == head[..len]
    };
    if let Some((_, what)) = KNOWN.iter().find(known) {
        return (*what).to_owned();
    }
    if head.is_empty() {
        return "it is empty".to_owned();
    }
    if head
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
    {
        return "it looks like text".to_owned();
    }
    let mut what = String::from("its first bytes are");
    for byte in head.iter().take(MAGIC_LEN) {
        what.push_str(&format!(" {byte:02x}"));
    }
    what
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::sample::{from_disk, one_of_every_kind};

    #[test]
    fn a_capture_cut_anywhere_keeps_what_is_whole_and_names_the_place() {
        for (name, capture) in one_of_every_kind() {
            let (whole, damage) = from_disk(&capture);
            assert_eq!(damage, None, "{name}");
            let mut ends = Vec::new();
            for len in 0..capture.len() {
                let (supplied, damage) = from_disk(&capture[..len]);
                assert_eq!(supplied, whole[..supplied.len()], "{name} cut at {len}");
                match damage {
                    None => ends.push(supplied.len()),
                    Some(damage) => assert!(damage.offset <= len as u64, "{name} cut at {len}: {damage:?}"),
                }
            }
            // Between two records a capture may end; it has fewer records then, and each number of them occurs.
            ends.dedup();
            assert_eq!(ends, (0..whole.len()).collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn the_damage_of_a_cut_frame_names_it() {
        let (_, capture) = one_of_every_kind().swap_remove(0);
        let (_, damage) = from_disk(&capture[..capture.len() - 1]);
        let damage = damage.expect("damage");
        assert_eq!(damage.why, "the capture ends in the middle of frame 3");
        assert_eq!(damage.offset, capture.len() as u64 - 76);
    }

    #[test]
    fn foreign_files_are_told_by_name() {
        for (head, what) in [
            (&b"snoop\0\0\0\0\0\0\x02"[..], "snoop"),
            (b"snoo", "snoop"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"hello, world\n", "text"),
            (b"\x01\x02\x03\x04\x05", "01 02 03 04"),
            (b"", "empty"),
        ] {
            assert!(describe_foreign(head).contains(what), "{head:?}");
        }
    }
}
