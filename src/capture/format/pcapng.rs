//! The pcapng format: blocks, each with its type, its length, a body, and its length again.
//!
//! A section header block sets the byte order and forgets the interfaces; interface description blocks add interfaces,
//! each with a link type and a clock of its own; packet blocks (enhanced, simple, and the obsolete one) hold frames.
//! All else is passed over without being held, whatever its length (draft-ietf-opsawg-pcapng).
//!
//! Frames are numbered as Wireshark numbers them: it shows journal entries, sysdig events and custom blocks as frames
//! too, so these take a number though they give no record.

use super::{ByteOrder, Part, Place, Step, Tail, largest_frame};
use crate::capture::source::Record;
use crate::packet::frame::LinkType;
use crate::time::Timestamp;

/// The type of a section header block, the first of every file; it reads the same in both byte orders.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The shortest block: type, length, length.
const SMALLEST_BLOCK: usize = 12;
/// The largest block that is read as a whole (Wireshark's `MAX_BLOCK_SIZE`) beside the largest frame.
const LARGEST_BLOCK: u64 = 16 * 1024 * 1024 + 64 * 1024;
/// An interface's number is 16 bits wide in a [`Record`].
const MOST_INTERFACES: usize = 1 << 16;

/// Block types (draft-ietf-opsawg-pcapng, section 10.1).
mod block_type {
    pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
    pub(super) const OBSOLETE_PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
    pub(super) const SYSTEMD_JOURNAL: u32 = 9;
    pub(super) const SYSDIG_EVENT: u32 = 0x204;
    pub(super) const SYSDIG_EVENT_V2: u32 = 0x216;
    pub(super) const SYSDIG_EVENT_V2_LARGE: u32 = 0x221;
    pub(super) const CUSTOM: u32 = 0x0000_0bad;
    pub(super) const CUSTOM_NO_COPY: u32 = 0x4000_0bad;
}

/// Decodes one pcapng file.
#[derive(Debug)]
pub struct Decoder {
    pub(super) place: Place,
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// The time of the last record that had one; simple packets have none of their own.
    latest: Timestamp,
    skipping: Option<Skipping>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// No frame holds more bytes; 0 for no limit.
    snap_len: u32,
    clock: Clock,
}

/// A block that is being passed over.
#[derive(Clone, Copy, Debug)]
struct Skipping {
    /// Where the block starts.
    start: u64,
    /// Its length as its head gives it.
    len: u32,
    /// Bytes to go to the length at its end.
    left: u64,
}

impl Decoder {
    /// A decoder at the start of a file.
    #[must_use]
    pub const fn new(file: u32) -> Self {
        Self {
            place: Place::start_of(file),
            order: ByteOrder::Little,
            interfaces: Vec::new(),
            latest: Timestamp::EPOCH,
            skipping: None,
        }
    }

    /// Takes one step; see [`super::Decoder::next`].
    pub fn next(&mut self, window: &[u8], at: &mut usize, tail: Tail) -> Step {
        if let Some(skipping) = self.skipping {
            return self.skip(skipping, window, at, tail);
        }
        let rest = &window[*at..];
        if rest.len() < SMALLEST_BLOCK {
            return match (rest.len(), tail, self.place.offset) {
                (0, Tail::Final, 1..) => Step::End,
                (_, _, 0) => self.place.short(tail, SMALLEST_BLOCK, Part::FileHeader),
                _ => self.place.short(tail, SMALLEST_BLOCK, Part::Block),
            };
        }
        let kind = self.order.u32(rest, 0);
        if kind == block_type::SECTION_HEADER {
            self.order = match rest[8..12] {
                [0x4d, 0x3c, 0x2b, 0x1a] => ByteOrder::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => ByteOrder::Big,
                _ => {
                    return self
                        .place
                        .damaged(format_args!("a section header without a byte-order magic"));
                }
            };
        }
        let claimed = self.order.u32(rest, 4);
        let len = padded(claimed);
        if len < SMALLEST_BLOCK as u64 {
            return self.place.damaged(format_args!(
                "a block claims to be {claimed} bytes long, less than any block is"
            ));
        }
        let (part, smallest) = match kind {
            block_type::SECTION_HEADER if self.place.offset == 0 => (Part::FileHeader, 28),
            block_type::SECTION_HEADER => (Part::Block, 28),
            block_type::INTERFACE_DESCRIPTION => (Part::Block, 20),
            block_type::ENHANCED_PACKET | block_type::OBSOLETE_PACKET => (Part::Frame, 32),
            block_type::SIMPLE_PACKET => (Part::Frame, 16),
            _ => return self.pass_over(kind, claimed, at),
        };
        if !(smallest..=LARGEST_BLOCK).contains(&len) {
            return self.place.damaged(format_args!(
                "a block of type {kind:#x} claims to be {claimed} bytes long"
            ));
        }
        let len = len as usize;
        if rest.len() < len {
            return self.place.short(tail, len, part);
        }
        let block = &rest[..len];
        if let Some(damage) = compare_lengths(&self.place, claimed, self.order.u32(block, len - 4)) {
            return damage;
        }
        let step = match kind {
            block_type::SECTION_HEADER => self.section_header(block),
            block_type::INTERFACE_DESCRIPTION => self.interface_description(block),
            block_type::ENHANCED_PACKET => self.timed_packet(block, *at, self.order.u32(block, 8)),
            block_type::OBSOLETE_PACKET => self.timed_packet(block, *at, u32::from(self.order.u16(block, 8))),
            _ => self.simple_packet(block, *at),
        };
        if !matches!(step, Step::Damaged(_)) {
            self.place.advance(at, len);
        }
        step
    }

    fn section_header(&mut self, block: &[u8]) -> Step {
        let (major, minor) = (self.order.u16(block, 12), self.order.u16(block, 14));
        // 1.2 was written by some tools and is 1.0 (draft-ietf-opsawg-pcapng, section 4.1).
        if !matches!((major, minor), (1, 0 | 2)) {
            return self
                .place
                .damaged(format_args!("pcapng version {major}.{minor} is not known"));
        }
        self.interfaces.clear();
        Step::Skip
    }

    fn interface_description(&mut self, block: &[u8]) -> Step {
        if self.interfaces.len() == MOST_INTERFACES {
            return self.place.damaged(format_args!(
                "a section describes more than {MOST_INTERFACES} interfaces"
            ));
        }
        let Some(clock) = Clock::of(self.order, &block[16..block.len() - 4]) else {
            return self.place.damaged(format_args!(
                "an interface's timestamps have a resolution nobody can count in"
            ));
        };
        self.interfaces.push(Interface {
            link: LinkType(self.order.u16(block, 8)),
            snap_len: self.order.u32(block, 12),
            clock,
        });
        Step::Skip
    }

    /// An enhanced or an obsolete packet block: they differ only in how wide the interface's number is.
    fn timed_packet(&mut self, block: &[u8], start: usize, interface: u32) -> Step {
        const BEFORE_FRAME: usize = 28;
        let order = self.order;
        let captured = order.u32(block, 20);
        let room = block.len() - BEFORE_FRAME - 4;
        let number = self.place.frames + 1;
        let Some(&described) = self.interfaces.get(interface as usize) else {
            return self.no_such_interface(interface);
        };
        if captured as usize > room || captured > largest_frame(described.link) {
            return self.place.damaged(format_args!(
                "frame {number} claims {captured} captured bytes in a block with room for {room}"
            ));
        }
        let ticks = u64::from(order.u32(block, 12)) << 32 | u64::from(order.u32(block, 16));
        self.latest = described.clock.moment(ticks);
        Step::Record(Record {
            number: self.place.number(),
            at: self.latest,
            offset: start + BEFORE_FRAME,
            captured,
            wire_len: order.u32(block, 24).max(captured),
            link: described.link,
            interface: interface as u16,
        })
    }

    /// A simple packet block: interface 0, no time, and the captured length follows from the snap length.
    fn simple_packet(&mut self, block: &[u8], start: usize) -> Step {
        const BEFORE_FRAME: usize = 12;
        let Some(&described) = self.interfaces.first() else {
            return self.no_such_interface(0);
        };
        let wire_len = self.order.u32(block, 8);
        let snap_len = match described.snap_len {
            0 => u32::MAX,
            limit => limit,
        };
        let room = (block.len() - BEFORE_FRAME - 4) as u32;
        let captured = wire_len.min(snap_len).min(room);
        if captured > largest_frame(described.link) {
            let number = self.place.frames + 1;
            return self.place.damaged(format_args!(
                "frame {number} claims {captured} captured bytes, more than any frame has"
            ));
        }
        Step::Record(Record {
            number: self.place.number(),
            at: self.latest,
            offset: start + BEFORE_FRAME,
            captured,
            wire_len,
            link: described.link,
            interface: 0,
        })
    }

    fn no_such_interface(&self, interface: u32) -> Step {
        let number = self.place.frames + 1;
        let described = self.interfaces.len();
        self.place.damaged(format_args!(
            "frame {number} is of interface {interface}, but only {described} are described"
        ))
    }

    fn pass_over(&mut self, kind: u32, len: u32, at: &mut usize) -> Step {
        self.skipping = Some(Skipping {
            start: self.place.offset,
            len,
            left: padded(len) - SMALLEST_BLOCK as u64,
        });
        // Type and length were read; what is left is the body and the length at its end.
        self.place.advance(at, 8);
        match kind {
            block_type::SYSTEMD_JOURNAL
            | block_type::SYSDIG_EVENT
            | block_type::SYSDIG_EVENT_V2
            | block_type::SYSDIG_EVENT_V2_LARGE
            | block_type::CUSTOM
            | block_type::CUSTOM_NO_COPY => self.place.frames += 1,
            _ => {}
        }
        Step::Skip
    }

    fn skip(&mut self, mut skipping: Skipping, window: &[u8], at: &mut usize, tail: Tail) -> Step {
        let there = (window.len() - *at) as u64;
        let taken = skipping.left.min(there);
        self.place.advance(at, taken as usize);
        skipping.left -= taken;
        self.skipping = Some(skipping);
        let rest = &window[*at..];
        let from_the_start = Place {
            offset: skipping.start,
            ..self.place
        };
        if skipping.left > 0 || rest.len() < 4 {
            return from_the_start.short(tail, 4, Part::Block);
        }
        if let Some(damage) = compare_lengths(&from_the_start, skipping.len, self.order.u32(rest, 0)) {
            return damage;
        }
        self.skipping = None;
        self.place.advance(at, 4);
        Step::Skip
    }
}

/// The damage of a block at `place` whose length at its end is not that of its head.
fn compare_lengths(place: &Place, head: u32, trailer: u32) -> Option<Step> {
    (padded(head) != padded(trailer)).then(|| {
        place.damaged(format_args!(
            "a block's two lengths differ: {head} at its head, {trailer} at its end"
        ))
    })
}

/// Some writers give a block's length without its padding; Wireshark rounds it up too.
fn padded(len: u32) -> u64 {
    u64::from(len).next_multiple_of(4)
}

/// How an interface counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clock {
    tick: Tick,
    /// Seconds to add (`if_tsoffset`).
    offset: i64,
}

/// How long a tick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    /// This many nanoseconds.
    Nanos(u64),
    /// One nanosecond is this many ticks.
    PerNano(u64),
    /// One second is two to this many ticks.
    SecondOverTwoTo(u8),
}

impl Clock {
    const IF_TSRESOL: u16 = 9;
    const IF_TSOFFSET: u16 = 14;

    /// The clock an interface's `options` describe; none if its resolution is beyond 10^-19 or 2^-63 seconds.
    fn of(order: ByteOrder, mut options: &[u8]) -> Option<Self> {
        // Microseconds unless an option says otherwise.
        let mut clock = Self {
            tick: Tick::Nanos(1000),
            offset: 0,
        };
        while options.len() >= 4 {
            let (code, len) = (order.u16(options, 0), usize::from(order.u16(options, 2)));
            let Some(value) = options.get(4..4 + len) else { break };
            match (code, value) {
                (0, _) => break,
                (Self::IF_TSRESOL, [resolution, ..]) => clock.tick = Tick::of(*resolution)?,
                (Self::IF_TSOFFSET, [_, _, _, _, _, _, _, _, ..]) => {
                    let (first, second) = (u64::from(order.u32(value, 0)), u64::from(order.u32(value, 4)));
                    clock.offset = match order {
                        ByteOrder::Little => second << 32 | first,
                        ByteOrder::Big => first << 32 | second,
                    } as i64;
                }
                _ => {}
            }
            options = options.get(4 + len.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Some(clock)
    }

    /// The moment `ticks` stands for. What lies before 1970 or after 2554 (mostly a negative time, written by a host
    /// whose clock was not set) becomes 1970: a clock that never runs back is then left where it is.
    fn moment(self, ticks: u64) -> Timestamp {
        if let (Tick::Nanos(nanos), 0) = (self.tick, self.offset) {
            return Timestamp::from_nanos(ticks.checked_mul(nanos).unwrap_or(0));
        }
        let nanos = match self.tick {
            Tick::Nanos(nanos) => u128::from(ticks) * u128::from(nanos),
            Tick::PerNano(ticks_per_nano) => u128::from(ticks / ticks_per_nano),
            Tick::SecondOverTwoTo(power) => (u128::from(ticks) * 1_000_000_000) >> power,
        };
        // At most 2^64 * 10^9 < 2^94 on either side.
        let moved = nanos as i128 + i128::from(self.offset) * 1_000_000_000;
        Timestamp::from_nanos(u64::try_from(moved).unwrap_or(0))
    }
}

impl Tick {
    const fn of(resolution: u8) -> Option<Self> {
        let power = resolution & 0x7f;
        match (resolution & 0x80 != 0, power) {
            (true, 0..=63) => Some(Self::SecondOverTwoTo(power)),
            (false, 0..=9) => Some(Self::Nanos(10u64.pow(9 - power as u32))),
            (false, 10..=19) => Some(Self::PerNano(10u64.pow(power as u32 - 9))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::capture::sample::{Order, Pcapng, from_disk};
    use crate::packet::frame::LinkType;

    const SECOND: u64 = 1_000_000_000;

    fn nanos_with(order: Order, options: &[(u16, Vec<u8>)], ticks: u64) -> u64 {
        let capture = Pcapng::new(order)
            .interface_with(1, 0, options)
            .enhanced(0, ticks, b"x");
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!(damage, None);
        supplied[0].0.at.as_nanos()
    }

    #[test]
    fn time_is_counted_in_the_interface_s_own_ticks() {
        for order in Order::BOTH {
            let resolved = |resolution: u8, ticks| nanos_with(order, &[(9, vec![resolution])], ticks);
            assert_eq!(nanos_with(order, &[], 1_500_000), SECOND * 3 / 2);
            assert_eq!(resolved(6, 1_500_000), SECOND * 3 / 2);
            assert_eq!(resolved(0, 7), 7 * SECOND);
            assert_eq!(resolved(9, SECOND + 1), SECOND + 1);
            assert_eq!(resolved(12, 1_234_567_890), 1_234_567);
            assert_eq!(resolved(19, u64::MAX), u64::MAX / 10_000_000_000);
            assert_eq!(resolved(0x80, 7), 7 * SECOND);
            assert_eq!(resolved(0x80 | 10, 1536), SECOND * 3 / 2);
            assert_eq!(resolved(0x80 | 32, 3 << 31), SECOND * 3 / 2);
            assert_eq!(resolved(0x80 | 63, 3 << 62), SECOND * 3 / 2);
        }
    }

    #[test]
    fn an_offset_is_added_and_a_time_out_of_range_is_the_epoch() {
        for order in Order::BOTH {
            let moved = |offset: i64, ticks| nanos_with(order, &[(14, order.u64(offset as u64).to_vec())], ticks);
            assert_eq!(moved(1_700_000_000, 5), 1_700_000_000 * SECOND + 5_000);
            assert_eq!(moved(-1, 3_000_000), 2 * SECOND);
            assert_eq!(moved(-10, 3_000_000), 0);
            assert_eq!(moved(i64::MAX, u64::MAX), 0);
            assert_eq!(moved(i64::MIN, 0), 0);
            assert_eq!(nanos_with(order, &[], u64::MAX - 505_425_287), 0);
        }
    }

    #[test]
    fn a_resolution_nobody_can_count_in_is_damage() {
        for resolution in [20, 0x80 | 64, 0xff] {
            let capture = Pcapng::new(Order::Little)
                .interface_with(1, 0, &[(9, vec![resolution])])
                .enhanced(0, 1, b"x");
            let (supplied, damage) = from_disk(&capture.bytes);
            assert_eq!((supplied.len(), damage.is_some()), (0, true), "{resolution:#x}");
        }
    }

    #[test]
    fn a_section_has_its_own_byte_order_and_interfaces() {
        let capture = Pcapng::new(Order::Little)
            .interface(1, 0)
            .interface(101, 0)
            .enhanced(1, 1, b"raw")
            .enhanced(0, 2, b"ethernet")
            .section(Order::Big)
            .interface(113, 0)
            .enhanced(0, 3, b"cooked");
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!(damage, None);
        let seen: Vec<_> = supplied
            .iter()
            .map(|(record, bytes)| (record.number.in_file(), record.link, record.interface, &bytes[..]))
            .collect();
        assert_eq!(
            seen,
            [
                (1, LinkType::RAW, 1, &b"raw"[..]),
                (2, LinkType::ETHERNET, 0, &b"ethernet"[..]),
                (3, LinkType::LINUX_SLL, 0, &b"cooked"[..]),
            ]
        );
    }

    #[test]
    fn an_interface_of_the_section_before_is_gone() {
        let capture = Pcapng::new(Order::Little)
            .interface(1, 0)
            .enhanced(0, 1, b"x")
            .section(Order::Little)
            .enhanced(0, 2, b"y");
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!(supplied.len(), 1);
        assert!(damage.expect("damage").why.contains("frame 2 is of interface 0"));
    }

    #[test]
    fn simple_packets_are_cut_to_the_snap_length_and_keep_the_last_time() {
        let capture = Pcapng::new(Order::Big)
            .interface(1, 4)
            .enhanced(0, 9, b"x")
            .simple(60, b"snap")
            .simple(3, b"all");
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!(damage, None);
        assert_eq!(&supplied[1].1[..], b"snap");
        assert_eq!((supplied[1].0.captured, supplied[1].0.wire_len), (4, 60));
        assert_eq!(supplied[1].0.at, supplied[0].0.at);
        assert_eq!(&supplied[2].1[..], b"all");
    }

    #[test]
    fn obsolete_packet_blocks_are_read() {
        let capture = Pcapng::new(Order::Little)
            .interface(1, 0)
            .interface(228, 0)
            .obsolete(1, 1_000_001, b"old");
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!(damage, None);
        assert_eq!(&supplied[0].1[..], b"old");
        assert_eq!(supplied[0].0.at.as_nanos(), 1_000_001_000);
        assert_eq!((supplied[0].0.link, supplied[0].0.interface), (LinkType::IPV4, 1));
    }

    #[test]
    fn what_wireshark_shows_as_a_frame_takes_a_number() {
        let shown = [9, 0x204, 0x216, 0x221, 0xbad, 0x4000_0bad];
        let hidden = [4, 5, 10, 0x201, 0x208, 0x77, 0x8000_0001];
        for (kinds, second) in [(&shown[..], 3), (&hidden[..], 2)] {
            for kind in kinds {
                let capture = Pcapng::new(Order::Little)
                    .interface(1, 0)
                    .enhanced(0, 1, b"x")
                    .block(*kind, &[0; 24])
                    .enhanced(0, 2, b"y");
                let (supplied, damage) = from_disk(&capture.bytes);
                assert_eq!(damage, None);
                assert_eq!(supplied[1].0.number.in_file(), second, "{kind:#x}");
            }
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_damage_and_what_came_before_stays() {
        let good = || Pcapng::new(Order::Little).interface(1, 0).enhanced(0, 1, b"x");
        let offset = good().bytes.len() as u64;
        let mut too_short = good();
        too_short.bytes.extend([0x77, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0]);
        let mut too_long = good();
        too_long.bytes.extend([6, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0]);
        let mut endless = good();
        endless
            .bytes
            .extend([0x77, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let mut two_lengths = good().block(0x77, b"abcd");
        *two_lengths.bytes.last_mut().expect("a byte") = 1;
        for (name, capture) in [
            ("too short", too_short),
            ("too long", too_long),
            ("endless", endless),
            ("two lengths", two_lengths),
            (
                "more than the block",
                good().enhanced_claiming(0, 2, (9, 9), b"12345678"),
            ),
            (
                "more than a frame",
                good().enhanced_claiming(0, 2, (300_000, 0), &vec![0; 300_000]),
            ),
            ("no packet", good().block(6, b"1234")),
            ("no such interface", good().enhanced(1, 2, b"y")),
        ] {
            let (supplied, damage) = from_disk(&capture.bytes);
            assert_eq!(supplied.len(), 1, "{name}");
            assert_eq!(damage.expect(name).offset, offset, "{name}");
        }
    }

    #[test]
    fn a_length_without_its_padding_is_taken_for_the_padded_one() {
        let mut capture = Pcapng::new(Order::Little).interface(1, 0);
        let start = capture.bytes.len();
        capture = capture.enhanced(0, 1, b"abcde");
        let end = capture.bytes.len();
        for at in [start + 4, end - 4] {
            capture.bytes[at] -= 3;
        }
        let (supplied, damage) = from_disk(&capture.enhanced(0, 2, b"y").bytes);
        assert_eq!((supplied.len(), damage), (2, None));
    }

    #[test]
    fn a_huge_unknown_block_is_passed_over() {
        let capture = Pcapng::new(Order::Big)
            .interface(1, 0)
            .block(0x77, &vec![1; 17 << 20])
            .enhanced(0, 1, b"x");
        let (supplied, damage) = from_disk(&capture.bytes);
        assert_eq!((supplied.len(), damage), (1, None));
    }
}
