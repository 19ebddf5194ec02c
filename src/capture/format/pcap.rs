//! The classic pcap format: a file header, then records, each a header and the captured bytes.
//!
//! The magic number tells the byte order, the unit of the timestamps and the length of a record header
//! (draft-ietf-opsawg-pcap, libpcap `sf-pcap.c`; the Ixia variants as Wireshark reads them). Link type, snap length and
//! version are in the file header; the version only matters for files older than 1998, which have two lengths swapped.

use super::scout::Scout;
use super::{ByteOrder, MAGIC_LEN, Part, Place, Step, Tail, largest_frame};
use crate::capture::source::Record;
use crate::packet::frame::LinkType;
use crate::time::Timestamp;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// The record header of A. Kuznetzov's patched libpcap ends in interface index, protocol and packet type.
const MODIFIED_RECORD_HEADER: usize = 24;

/// What a magic number says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    order: ByteOrder,
    /// Nanoseconds in one unit of a timestamp's fraction.
    unit: u32,
    file_header: usize,
    record_header: usize,
}

const fn variant(order: ByteOrder, unit: u32, file_header: usize, record_header: usize) -> Variant {
    Variant {
        order,
        unit,
        file_header,
        record_header,
    }
}

/// The magic numbers as they lie in a file.
pub(super) const MAGICS: [([u8; MAGIC_LEN], Variant); 10] = {
    use ByteOrder::{Big, Little};
    [
        (
            [0xd4, 0xc3, 0xb2, 0xa1],
            variant(Little, 1000, FILE_HEADER, RECORD_HEADER),
        ),
        ([0xa1, 0xb2, 0xc3, 0xd4], variant(Big, 1000, FILE_HEADER, RECORD_HEADER)),
        ([0x4d, 0x3c, 0xb2, 0xa1], variant(Little, 1, FILE_HEADER, RECORD_HEADER)),
        ([0xa1, 0xb2, 0x3c, 0x4d], variant(Big, 1, FILE_HEADER, RECORD_HEADER)),
        (
            [0x34, 0xcd, 0xb2, 0xa1],
            variant(Little, 1000, FILE_HEADER, MODIFIED_RECORD_HEADER),
        ),
        (
            [0xa1, 0xb2, 0xcd, 0x34],
            variant(Big, 1000, FILE_HEADER, MODIFIED_RECORD_HEADER),
        ),
        // Ixia "lcap", written by hardware and by software: the file header is followed by the length of the rest.
        (
            [0xac, 0x01, 0x00, 0x1c],
            variant(Little, 1, FILE_HEADER + 4, RECORD_HEADER),
        ),
        (
            [0x1c, 0x00, 0x01, 0xac],
            variant(Big, 1, FILE_HEADER + 4, RECORD_HEADER),
        ),
        (
            [0xab, 0x01, 0x00, 0x1c],
            variant(Little, 1000, FILE_HEADER + 4, RECORD_HEADER),
        ),
        (
            [0x1c, 0x00, 0x01, 0xab],
            variant(Big, 1000, FILE_HEADER + 4, RECORD_HEADER),
        ),
    ]
};

/// Which of a record header's two lengths comes first.
#[derive(Clone, Copy, Debug)]
enum Lengths {
    /// Captured, then on the wire: version 2.4, all that is written today.
    CapturedFirst,
    /// On the wire, then captured: before version 2.3, and DG/UX's 543.0.
    WireFirst,
    /// Version 2.3 was written both ways; the captured length is the smaller.
    SmallerIsCaptured,
}

/// Decodes one pcap file.
#[derive(Debug)]
pub struct Decoder {
    pub(super) place: Place,
    variant: Variant,
    lengths: Lengths,
    link: LinkType,
    largest: u32,
    reading: Reading,
    scout: Scout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    FileHeader,
    Records,
}

impl Decoder {
    /// The decoder for a file that begins with `magic`; none if that is not a pcap file's.
    #[must_use]
    pub fn of(magic: [u8; MAGIC_LEN], file: u32) -> Option<Self> {
        let (_, variant) = MAGICS.iter().find(|(known, _)| *known == magic)?;
        Some(Self {
            place: Place::start_of(file),
            variant: *variant,
            lengths: Lengths::CapturedFirst,
            link: LinkType(0),
            largest: 0,
            reading: Reading::FileHeader,
            scout: Scout::default(),
        })
    }

    /// Takes one step; see [`super::Decoder::next`].
    pub fn next(&mut self, window: &[u8], at: &mut usize, tail: Tail) -> Step {
        match self.reading {
            Reading::Records => self.record(window, at, tail),
            Reading::FileHeader => self.file_header(window, at, tail),
        }
    }

    /// Takes all whole records from `*at` on that `records` has room for, up to `limit` in it; what is not an ordinary
    /// record is left to [`Self::next`], which says what it is. The same records, in a third of the time.
    pub fn records(&mut self, window: &[u8], at: &mut usize, limit: usize, records: &mut Vec<Record>) {
        match (self.reading, self.lengths, self.variant.order) {
            (Reading::Records, Lengths::CapturedFirst, ByteOrder::Little) => {
                self.run(window, at, limit, records, u32::from_le_bytes);
            }
            (Reading::Records, Lengths::CapturedFirst, ByteOrder::Big) => {
                self.run(window, at, limit, records, u32::from_be_bytes);
            }
            (Reading::FileHeader, ..) | (_, Lengths::WireFirst | Lengths::SmallerIsCaptured, _) => {}
        }
    }

    #[inline]
    fn run(
        &mut self,
        window: &[u8],
        at: &mut usize,
        limit: usize,
        records: &mut Vec<Record>,
        number: impl Fn([u8; 4]) -> u32,
    ) {
        let (unit, header_len) = (u64::from(self.variant.unit), self.variant.record_header);
        let start = *at;
        records.reserve(limit.saturating_sub(records.len()));
        while records.len() < limit {
            if self.scout.is_due(*at) {
                let largest = self.largest;
                self.scout.walk(window, *at, self.place.frames, |at| {
                    let lengths = window.get(at + 8..at + RECORD_HEADER)?;
                    let [i, j, k, l, m, n, o, p] = *lengths.first_chunk::<8>()?;
                    let (captured, wire_len) = (number([i, j, k, l]), number([m, n, o, p]));
                    let plausible = captured <= largest && captured > 0 && captured <= wire_len && wire_len <= largest;
                    plausible.then(|| at + header_len + captured as usize)
                });
            }
            let rest = &window[*at..];
            let Some([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]) = rest.first_chunk::<RECORD_HEADER>() else {
                break;
            };
            let captured = number([*i, *j, *k, *l]);
            let len = header_len + captured as usize;
            if captured > self.largest || rest.len() < len {
                break;
            }
            let seconds = u64::from(number([*a, *b, *c, *d]));
            let nanos = seconds * 1_000_000_000 + u64::from(number([*e, *f, *g, *h])) * unit;
            records.push(Record {
                number: self.place.number(),
                at: Timestamp::from_nanos(nanos),
                offset: *at + header_len,
                captured,
                wire_len: number([*m, *n, *o, *p]).max(captured),
                link: self.link,
                interface: 0,
            });
            *at += len;
        }
        self.place.offset += (*at - start) as u64;
    }

    fn file_header(&mut self, window: &[u8], at: &mut usize, tail: Tail) -> Step {
        let head = &window[*at..];
        let needed = self.variant.file_header;
        if head.len() < needed {
            return self.place.short(tail, needed, Part::FileHeader);
        }
        let order = self.variant.order;
        let (major, minor) = (order.u16(head, 4), order.u16(head, 6));
        self.lengths = match (major, minor) {
            (0 | 1, _) => {
                return self
                    .place
                    .damaged(format_args!("pcap version {major}.{minor} is not known"));
            }
            (2, 0..=2) | (543, _) => Lengths::WireFirst,
            (2, 3) => Lengths::SmallerIsCaptured,
            _ => Lengths::CapturedFirst,
        };
        self.link = link_type(order.u32(head, 20));
        self.largest = largest_frame(self.link);
        self.reading = Reading::Records;
        self.place.advance(at, needed);
        Step::Skip
    }

    #[inline]
    fn record(&mut self, window: &[u8], at: &mut usize, tail: Tail) -> Step {
        let Variant {
            order,
            unit,
            record_header,
            ..
        } = self.variant;
        let rest = &window[*at..];
        if rest.len() < record_header {
            return match (rest.len(), tail) {
                (0, Tail::Final) => Step::End,
                _ => self.place.short(tail, record_header, Part::Frame),
            };
        }
        let (first, second) = (order.u32(rest, 8), order.u32(rest, 12));
        let (captured, wire_len) = match self.lengths {
            Lengths::CapturedFirst => (first, second),
            Lengths::WireFirst => (second, first),
            Lengths::SmallerIsCaptured => (first.min(second), first.max(second)),
        };
        if captured > self.largest {
            let number = self.place.frames + 1;
            return self.place.damaged(format_args!(
                "frame {number} claims {captured} captured bytes, more than any frame has"
            ));
        }
        let len = record_header + captured as usize;
        if rest.len() < len {
            return self.place.short(tail, len, Part::Frame);
        }
        let nanos = u64::from(order.u32(rest, 0)) * 1_000_000_000 + u64::from(order.u32(rest, 4)) * u64::from(unit);
        let record = Record {
            number: self.place.number(),
            at: Timestamp::from_nanos(nanos),
            offset: *at + record_header,
            captured,
            // Some writers leave the length on the wire zero: it is at least what was captured.
            wire_len: wire_len.max(captured),
            link: self.link,
            interface: 0,
        };
        self.place.advance(at, len);
        Step::Record(record)
    }
}

/// The link type in a file header's last field. Its upper bits hold the length of a frame check sequence (28 to 31)
/// and whether that is known (26); the others must be zero, else the type is one nobody has registered.
fn link_type(field: u32) -> LinkType {
    LinkType(u16::try_from(field & 0x03ff_ffff).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use crate::capture::sample::{Order, Pcap, from_disk};
    use crate::packet::frame::LinkType;

    #[test]
    fn every_variant_is_read_in_both_byte_orders() {
        for order in Order::BOTH {
            for (magic, nanos) in [
                (Pcap::MICROS, 2_000),
                (Pcap::MODIFIED, 2_000),
                (Pcap::IXIA_SOFTWARE, 2_000),
                (Pcap::NANOS, 2),
                (Pcap::IXIA_HARDWARE, 2),
            ] {
                let capture = Pcap::new(order, magic, 113).record(1, 2, b"abc").record(3, 4, b"de");
                let (supplied, damage) = from_disk(&capture.bytes);
                assert_eq!(damage, None);
                let [(first, abc), (second, de)] = &supplied[..] else {
                    panic!("{order:?} {magic:x}: {supplied:?}");
                };
                assert_eq!((&abc[..], &de[..]), (&b"abc"[..], &b"de"[..]));
                assert_eq!(first.at.as_nanos(), 1_000_000_000 + nanos);
                assert_eq!((first.number.in_file(), second.number.in_file()), (1, 2));
                assert_eq!((first.captured, first.wire_len), (3, 3));
                assert_eq!(first.link, LinkType::LINUX_SLL);
            }
        }
    }

    #[test]
    fn the_check_sequence_bits_are_no_part_of_the_link_type() {
        for (field, link) in [(0x5400_0001, 1), (0x0000_0114, 276), (0x0224_0001, u16::MAX)] {
            let capture = Pcap::new(Order::Little, Pcap::MICROS, field).record(0, 0, b"x");
            assert_eq!(from_disk(&capture.bytes).0[0].0.link, LinkType(link));
        }
    }

    #[test]
    fn old_versions_have_their_lengths_the_other_way_round() {
        for (version, first, second) in [
            ((2, 2), 9, 3),
            ((2, 3), 9, 3),
            ((2, 3), 3, 9),
            ((2, 4), 3, 9),
            ((543, 0), 9, 3),
        ] {
            let mut capture = Pcap::with_version(Order::Big, Pcap::MICROS, 1, version);
            capture.push(0, 0, first, second, b"abc");
            let (supplied, damage) = from_disk(&capture.bytes);
            assert_eq!(damage, None, "{version:?}");
            assert_eq!((supplied[0].0.captured, supplied[0].0.wire_len), (3, 9), "{version:?}");
        }
    }

    #[test]
    fn a_version_nobody_knows_is_damage_at_the_start() {
        let capture = Pcap::with_version(Order::Little, Pcap::MICROS, 1, (1, 0)).record(0, 0, b"x");
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!(supplied, []);
        assert!(damage.expect("damage").why.contains("1.0"));
    }

    #[test]
    fn the_ends_of_time_are_ordinary() {
        let capture = Pcap::new(Order::Little, Pcap::NANOS, 1)
            .record(0, 0, b"x")
            .record(u32::MAX, 999_999_999, b"y");
        let (supplied, _) = from_disk(&capture.bytes);
        assert_eq!(supplied[0].0.at.to_string(), "1970-01-01T00:00:00.000000+0000");
        assert_eq!(supplied[1].0.at.to_string(), "2106-02-07T06:28:15.999999+0000");
    }

    #[test]
    fn a_snapped_frame_keeps_both_lengths_and_the_wire_is_never_shorter() {
        let mut capture = Pcap::new(Order::Little, Pcap::MICROS, 1);
        capture.push(0, 0, 3, 1500, b"abc");
        capture.push(0, 0, 3, 0, b"def");
        let (supplied, _) = from_disk(&capture.bytes);
        assert_eq!((supplied[0].0.captured, supplied[0].0.wire_len), (3, 1500));
        assert_eq!((supplied[1].0.captured, supplied[1].0.wire_len), (3, 3));
    }

    #[test]
    fn a_length_no_frame_has_is_damage_and_what_came_before_stays() {
        let mut capture = Pcap::new(Order::Little, Pcap::MICROS, 1).record(0, 0, b"good");
        let offset = capture.bytes.len() as u64;
        capture.push(0, 0, 256 * 1024 + 1, 0, &vec![0; 300_000]);
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!(supplied.len(), 1);
        let damage = damage.expect("damage");
        assert_eq!(damage.offset, offset);
        assert!(damage.why.contains("frame 2"), "{}", damage.why);
    }

    #[test]
    fn the_largest_frame_is_read() {
        let frame = vec![0xab; 256 * 1024];
        let capture = Pcap::new(Order::Little, Pcap::MICROS, 1).record(0, 0, &frame);
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!((supplied[0].1.len(), damage), (frame.len(), None));
    }

    #[test]
    fn a_file_header_alone_is_an_empty_capture_and_no_damage() {
        let (supplied, damage) = from_disk(&Pcap::new(Order::Big, Pcap::NANOS, 1).bytes);
        assert_eq!((supplied.len(), damage), (0, None));
    }
}
