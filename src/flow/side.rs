//! One end of a flow, as its own packets show it.

use std::time::Duration;

use super::heads::HeadId;
use super::path_profile::PathProfile;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{Packet, Segment, SequenceNumber, TcpFlags};
use crate::packet::path_marks::PathMarks;
use crate::time::Timestamp;

/// How many of a side's last segments are remembered (Weaver et al. keep 10; wire-facts 2.1).
pub const NOTES: usize = 8;

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
    /// The note of `segment`, carried by `packet`.
    #[must_use]
    pub fn of(packet: &Packet<'_>, segment: &Segment<'_>) -> Self {
        Self {
            frame: packet.frame.number,
            at: packet.frame.at,
            seq: segment.seq,
            span: segment.span(),
            ack: segment.ack,
            flags: segment.flags,
            window: segment.window,
            stamped: segment.timestamp().is_some(),
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

/// One end of a TCP flow. (A UDP flow uses the counters and the profile.)
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Packets seen from this side, resets included, copies left out.
    pub packets: u32,
    /// Of these, packets with payload.
    pub data_packets: u32,
    /// Payload bytes, as they were on the wire.
    pub bytes: u64,
    /// Its largest segment, in bytes of payload.
    pub largest: u16,
    /// Its first SYN or SYN-ACK.
    pub opening: Option<Note>,
    /// Its last SYN or SYN-ACK (a retransmission, if not the first).
    pub last_opening: Option<Note>,
    /// The sequence number after the highest it sent, resets left out.
    pub end: Option<SequenceNumber>,
    /// The highest acknowledgement number it sent, resets left out.
    pub acked: Option<SequenceNumber>,
    /// Its first FIN.
    pub fin: Option<Note>,
    /// Its first reset.
    pub reset: Option<Note>,
    /// Its last packet with payload.
    pub last_data: Option<Note>,
    /// When its last packet came, resets included.
    pub last_at: Option<Timestamp>,
    /// Whether its SYN or SYN-ACK carried a timestamp option.
    pub timestamps: bool,
    /// What its packets, resets left out, look like on arrival.
    pub profile: PathProfile,
    /// Of its packets, resets left out, those that carried a timestamp option.
    pub stamped: u32,
    /// Its first bytes.
    pub head: Option<HeadId>,
    /// Whether these are all that is kept.
    pub head_done: bool,
    notes: [Option<Note>; NOTES],
    next_note: u8,
}

impl Side {
    /// Its last segments, resets left out, newest first.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        let next = usize::from(self.next_note);
        (1..=NOTES).filter_map(move |back| self.notes[(next + NOTES - back) % NOTES].as_ref())
    }

    /// Whether it has neither closed nor reset.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.fin.is_none() && self.reset.is_none()
    }

    /// Whether a segment looks on arrival as the one before, as far as only its sender or another way could change it.
    #[inline]
    #[must_use]
    pub fn continues_as(&self, marks: &PathMarks, segment: &Segment<'_>) -> bool {
        self.notes().next().is_some_and(|last| {
            last.marks.ttl == marks.ttl
                && last.marks.link_source == marks.link_source
                && last.marks.dont_fragment == marks.dont_fragment
                && last.marks.ip_id.is_some() == marks.ip_id.is_some()
                && last.stamped == segment.timestamp().is_some()
        })
    }

    /// Learns a TCP segment of this side.
    pub fn learn(&mut self, note: &Note, segment: &Segment<'_>) {
        self.packets = self.packets.saturating_add(1);
        self.last_at = Some(note.at);
        if note.flags.rst() {
            self.reset.get_or_insert(*note);
            return;
        }
        if segment.payload_len > 0 {
            self.data_packets = self.data_packets.saturating_add(1);
            self.bytes = self.bytes.saturating_add(u64::from(segment.payload_len));
            self.largest = self.largest.max(u16::try_from(segment.payload_len).unwrap_or(u16::MAX));
            self.last_data = Some(*note);
        }
        if note.flags.syn() {
            self.opening.get_or_insert(*note);
            self.last_opening = Some(*note);
            self.timestamps = note.stamped;
        }
        if note.flags.fin() {
            self.fin.get_or_insert(*note);
        }
        if self.end.is_none_or(|end| note.end().is_after(end)) {
            self.end = Some(note.end());
        }
        if note.flags.ack() && self.acked.is_none_or(|acked| note.ack.is_after(acked)) {
            self.acked = Some(note.ack);
        }
        self.stamped = self.stamped.saturating_add(u32::from(note.stamped));
        self.profile.learn(&note.marks, note.frame, note.flags.syn());
        self.notes[usize::from(self.next_note)] = Some(*note);
        self.next_note = (self.next_note + 1) % NOTES as u8;
    }
}
