//! One end of a flow, as its own packets show it.

use std::mem::offset_of;
use std::ops::Deref;
use std::time::Duration;

use super::boxes::Boxes;
use super::heads::HeadId;
use super::landmarks::{Landmarks, Ring};
use super::path_profile::PathProfile;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{Packet, Segment, SequenceNumber, TcpFlags};
use crate::packet::path_marks::PathMarks;
use crate::prefetch::{prefetch, prefetch_span};
use crate::time::Timestamp;

/// A packet seen again within this time with the same headers is the same packet (wire-facts 8).
pub const COPIED_WITHIN: Duration = Duration::from_millis(5);

/// A segment, reduced to what later packets are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The frame.
    pub frame: FrameNumber,
    /// When it came.
    pub at: Timestamp,
    /// Its sequence number.
    pub seq: SequenceNumber,
    /// The sequence space it takes.
    pub span: u32,
    /// Its acknowledgement number field.
    pub ack: SequenceNumber,
    /// Its flags.
    pub flags: TcpFlags,
    /// Its window field.
    pub window: u16,
    /// Whether it carries a timestamp option.
    pub stamped: bool,
    /// Its path marks.
    pub marks: PathMarks,
}

impl Note {
    /// No segment at all.
    pub(super) const NONE: Self = Self {
        frame: FrameNumber::new(0, 0),
        at: Timestamp::EPOCH,
        seq: SequenceNumber(0),
        span: 0,
        ack: SequenceNumber(0),
        flags: TcpFlags(0),
        window: 0,
        stamped: false,
        marks: PathMarks {
            ttl: 0,
            ip_id: None,
            dont_fragment: false,
            traffic_class: 0,
            link_source: 0,
        },
    };

    /// The note of `segment`, carried by `packet`.
    #[must_use]
    pub fn of(packet: &Packet<'_>, segment: &Segment<'_>) -> Self {
        Self::with(packet, segment, segment.timestamp().is_some())
    }

    /// The same, where it is known whether it carries a timestamp option.
    #[inline(always)]
    const fn with(packet: &Packet<'_>, segment: &Segment<'_>, stamped: bool) -> Self {
        Self {
            frame: packet.frame.number,
            at: packet.frame.at,
            seq: segment.seq,
            span: segment.span(),
            ack: segment.ack,
            flags: segment.flags,
            window: segment.window,
            stamped,
            marks: packet.marks,
        }
    }

    /// The sequence number after it.
    #[must_use]
    pub const fn end(&self) -> SequenceNumber {
        self.seq.plus(self.span)
    }

    /// Whether `other` is this very packet seen once more by a mirror: the same headers within 5 ms, the TTL at most
    /// one apart (wire-facts 8; zeek#2206 for the TTL).
    #[must_use]
    pub fn is_copied_by(&self, other: &Self) -> bool {
        self.seq == other.seq
            && self.span == other.span
            && self.ack == other.ack
            && self.flags == other.flags
            && self.window == other.window
            && self.marks.ip_id == other.marks.ip_id
            && self.marks.ttl.abs_diff(other.marks.ttl) <= 1
            && other.at.since(self.at) <= COPIED_WITHIN
    }
}

/// One end of a flow. What only TCP has lies apart, so that flows of UDP are small; it is read as if it lay here, and
/// nothing is there until a segment came.
#[derive(Clone, Debug, Default)]
// In this order what every packet touches lies together.
#[repr(C)]
pub struct Side {
    /// The sequence number after the highest it sent, resets left out.
    pub end: Option<SequenceNumber>,
    /// The highest acknowledgement number it sent, resets left out.
    pub acked: Option<SequenceNumber>,
    /// Packets seen from this side, resets included, copies left out.
    pub packets: u32,
    /// Of these, packets with payload.
    pub data_packets: u32,
    /// Payload bytes, as they were on the wire.
    pub bytes: u64,
    /// When its last packet came, resets included.
    pub last_at: Option<Timestamp>,
    landmarks: Option<Box<Landmarks>>,
    ring: Ring,
    /// Whether its last segment, resets left out, carried a timestamp option.
    last_stamped: bool,
    /// Of its packets, resets left out, those that carried a timestamp option.
    pub stamped: u32,
    /// Its largest segment, in bytes of payload.
    pub largest: u16,
    /// Whether its SYN or SYN-ACK carried a timestamp option.
    pub timestamps: bool,
    /// Whether what is kept of its first bytes is all that will be.
    pub head_done: bool,
    /// What its packets, resets left out, look like on arrival.
    pub profile: PathProfile,
    /// Its first bytes.
    pub head: Option<HeadId>,
}

impl Deref for Side {
    type Target = Landmarks;

    #[inline]
    fn deref(&self) -> &Landmarks {
        static NONE: Landmarks = Landmarks::NONE;
        self.landmarks.as_deref().unwrap_or(&NONE)
    }
}

impl Side {
    /// So many of its first bytes an ordinary packet touches.
    pub(super) const TOUCHED: usize = offset_of!(Self, profile) + PathProfile::TOUCHED;

    /// The same for an ordinary packet of the other side.
    pub(super) const TOUCHED_BY_PEER: usize = offset_of!(Self, packets);

    /// Its last segments, resets left out, newest first.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.ring.places().map(|place| &self.notes[place])
    }

    /// Its last packet with payload.
    #[must_use]
    pub fn last_data(&self) -> Option<&Note> {
        Deref::deref(self).last_data(self.ring)
    }

    /// Whether a segment looks on arrival as the one before, as far as only its sender or another way could change it.
    #[inline]
    #[must_use]
    pub fn continues_as(&self, marks: &PathMarks, segment: &Segment<'_>) -> bool {
        self.profile.last().is_some_and(|last| {
            last.ttl == marks.ttl
                && last.link_source == marks.link_source
                && last.dont_fragment == marks.dont_fragment
                && last.ip_id.is_some() == marks.ip_id.is_some()
        }) && self.last_stamped == segment.timestamp().is_some()
    }

    /// Makes sure there is room for what a segment leaves behind.
    pub(super) fn make_room(&mut self, boxes: &mut Boxes<Landmarks>) {
        self.landmarks.get_or_insert_with(|| boxes.take());
    }

    /// Gives that room back.
    pub(super) fn give_back(&mut self, boxes: &mut Boxes<Landmarks>) {
        if let Some(landmarks) = self.landmarks.take() {
            boxes.give_back(landmarks);
        }
    }

    /// Learns a TCP segment of this side.
    // Notes are made where they stay: a copy of what was just written field by field waits for all of it.
    #[inline]
    pub fn learn(&mut self, packet: &Packet<'_>, segment: &Segment<'_>) {
        let landmarks = self.landmarks.get_or_insert_default();
        let stamped = segment.timestamp().is_some();
        let note = || Note::with(packet, segment, stamped);
        let (flags, end) = (segment.flags, segment.end());
        self.packets = self.packets.saturating_add(1);
        self.last_at = Some(packet.frame.at);
        if flags.rst() {
            landmarks.reset.get_or_insert_with(note);
            return;
        }
        if segment.payload_len > 0 {
            self.data_packets = self.data_packets.saturating_add(1);
            self.bytes = self.bytes.saturating_add(u64::from(segment.payload_len));
            self.largest = self.largest.max(u16::try_from(segment.payload_len).unwrap_or(u16::MAX));
        }
        if flags.syn() {
            landmarks.learn_opening(&note());
            self.timestamps = stamped;
        }
        if flags.fin() {
            landmarks.fin.get_or_insert_with(note);
        }
        landmarks.keep(&mut self.ring, segment.payload_len > 0, note);
        if self.end.is_none_or(|before| end.is_after(before)) {
            self.end = Some(end);
        }
        if flags.ack() && self.acked.is_none_or(|acked| segment.ack.is_after(acked)) {
            self.acked = Some(segment.ack);
        }
        self.stamped = self.stamped.saturating_add(u32::from(stamped));
        self.last_stamped = stamped;
        self.profile.learn(&packet.marks, packet.frame.number, flags.syn());
    }

    /// Fetches what learning a segment will touch beyond the side itself.
    #[inline]
    pub(super) fn fetch(&self) {
        if let Some(landmarks) = &self.landmarks {
            prefetch(&landmarks.notes[self.ring.next()]);
        }
    }

    /// Fetches what concluding the flow will touch beyond the side itself: its last note, and the others that stand alone.
    pub(super) fn fetch_all(&self) {
        if let Some(landmarks) = &self.landmarks {
            self.ring
                .places()
                .take(1)
                .for_each(|place| prefetch(&landmarks.notes[place]));
            prefetch_span(&**landmarks, Landmarks::ALONE..size_of::<Landmarks>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::finding::Party;
    use crate::flow::talk::{A, F, R, S, Sent, Talk, opened, server};

    /// The server's side after `packets`.
    fn side(packets: &[Sent<'_>]) -> Side {
        Talk::of(443, packets).flow().side(Party::Server).clone()
    }

    #[test]
    fn a_packet_seen_again_with_the_same_headers_within_five_milliseconds_is_a_copy() {
        let (mut one, mut two) = (Note::NONE, Note::NONE);
        one.marks.ttl = 60;
        let is_copy = |two: Note, ttl: u8, micros: u64| {
            let mut copy = two;
            copy.marks.ttl = ttl;
            copy.at = one.at.plus(Duration::from_micros(micros));
            one.is_copied_by(&copy)
        };
        assert!(is_copy(two, 60, 5_000) && !is_copy(two, 60, 5_001));
        assert!(is_copy(two, 61, 0) && is_copy(two, 59, 0));
        assert!(!is_copy(two, 62, 0) && !is_copy(two, 58, 0));
        for change in [
            (|note: &mut Note| note.seq = SequenceNumber(1)) as fn(&mut Note),
            |note| note.span = 1,
            |note| note.ack = SequenceNumber(1),
            |note| note.flags = TcpFlags(TcpFlags::ACK),
            |note| note.window = 1,
            |note| note.marks.ip_id = Some(1),
        ] {
            two = Note::NONE;
            change(&mut two);
            assert!(!is_copy(two, 60, 0), "{two:?}");
        }
    }

    #[test]
    fn a_side_counts_what_it_sent() {
        let packets = opened(&[
            server(A, 1, 1, b"some"),
            server(A, 5, 1, b"words").unstamped(),
            server(A, 1, 9, b"some"),
            server(F | A, 10, 5, b""),
            server(F | A, 10, 5, b""),
            server(R, 11, 70, b"").ttl(9),
            server(R, 12, 80, b"").ttl(9),
        ]);
        let side = side(&packets);
        assert_eq!(
            (side.packets, side.data_packets, side.bytes, side.largest),
            (8, 3, 13, 5)
        );
        assert_eq!(
            (side.end, side.acked),
            (Some(SequenceNumber(11)), Some(SequenceNumber(9)))
        );
        assert_eq!(side.stamped, 5, "resets left out");
        assert_eq!(side.profile.packets(), 6);
        assert!(side.timestamps);
        let frame = |note: Option<Note>| note.map(|note| note.frame.in_file());
        assert_eq!(
            [side.opening, side.last_data().copied(), side.fin, side.reset].map(frame),
            [Some(2), Some(6), Some(7), Some(9)]
        );
        assert_eq!(side.last_at.map(|at| at.since(Timestamp::EPOCH).as_millis()), Some(90));
        let notes: Vec<_> = side.notes().map(|note| note.frame.in_file()).collect();
        assert_eq!(notes, [8, 7, 6, 5, 4, 2]);
        assert!(!side.is_open());
    }

    #[test]
    fn the_last_eight_segments_are_kept() {
        let words = [server(A, 1, 1, b"x"); 12];
        let side = side(&opened(&words));
        let notes: Vec<_> = side.notes().map(|note| note.frame.in_file()).collect();
        assert_eq!(notes, [15, 14, 13, 12, 11, 10, 9, 8]);
        assert_eq!(Side::default().notes().count(), 0);
    }

    #[test]
    fn an_opening_that_is_repeated_is_known() {
        let opening = server(S | A, 0, 1, b"");
        let once = side(&opened(&[]));
        assert!(!once.has_opened_again() && once.is_open());
        assert_eq!(once.last_opening_at(), once.opening.map(|note| note.at));
        let twice = side(&opened(&[opening, opening]));
        assert!(twice.has_opened_again());
        assert_eq!(twice.opening.unwrap().frame.in_file(), 2);
        assert_eq!(twice.last_opening_at().unwrap().since(Timestamp::EPOCH).as_millis(), 40);
        assert_eq!(Side::default().last_opening_at(), None);
        assert!(!side(&opened(&[server(R, 1, 0, b"")])).is_open());
        assert!(!side(&opened(&[server(F | A, 1, 1, b"")])).is_open());
    }
}
