//! `payload_injection`: data put into a TCP stream that its sender did not write.
//!
//! # What it sees
//! The first 16 KiB of both directions, every segment that repeats a part of them, the first and the last few data
//! segments of both directions wherever they lie, and what both ends do afterwards.
//!
//! # How it tells
//! Two segments of one sender hold different bytes for the same place in the stream: a sender repeats what it sent; it
//! does not change it. Or the sender's own later packets show that it never wrote the bytes: it closes its stream before
//! them, or goes on from before them although its peer has acknowledged them. Or a single segment has marks of its own
//! and leaves the two ends unable to talk to each other. Which packet is forged is told by its header (time stamps
//! missing, an IP id copied from the packet before, another TTL); where headers say nothing, the one that came first is
//! named, because a forgery must win the race to matter.
//!
//! # What it mistakes
//! Broken stacks and captures of segmentation offload that show other bytes than the wire carried: without a second
//! sign the finding stays below `likely`, and where both packets take their place in the sender's own count of packets,
//! nothing is said. Keep-alives and the padding of short Ethernet frames are left out.
//!
//! # References
//! Haagsma, "Deep dive into QUANTUM INSERT", fox-it 2015. HoneyBadger's taxonomy of injections. wire-facts 6.1, 6.2.

mod case;
mod weigh;

use std::time::Duration;

use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::filing::{Early, Filing};
use crate::finding::docket::Docket;
use crate::finding::finding::{Kind, Stage};
use crate::finding::verdict::Verdict;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::flow::side::{Note, Side};
use crate::flow::spare::Spare;
use crate::packet::packet::{Packet, Segment, SequenceNumber};
use case::{Case, Rivals, Step};

/// The first data segments of a side, which stay: they are forged most often (wire-facts 6.1).
const FIRST: usize = 3;

/// The last data segments of a side. With the first ones 10, as Zeek and Snort keep (wire-facts 6.1).
const LAST: usize = 7;

/// How many bytes of a segment are kept beyond the head, to compare a repetition with.
const PREFIX: usize = 16;

/// A FIN is compared with data up to so far ahead of it, in bytes; what lies further is another connection.
const NEAR: i32 = 1 << 20;

/// The shortest Ethernet frame, in bytes, with its checksum: shorter packets are padded with zeros.
const SHORTEST_FRAME: u32 = 64;

/// The largest step of an IP id that counts as in step: a host that counts for all its flows skips a few.
const SMALL_STEP: u16 = 16;

/// Two taps of one capture show a packet within this time (as [`Note::is_copied_by`]).
const MIRROR: Duration = Duration::from_millis(5);

/// Finds data that was put into a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct PayloadInjection;

/// A data segment that later ones are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    note: Note,
    stage: Stage,
    prefix: [u8; PREFIX],
    prefix_len: u8,
    /// Its IP id is that of the sender's packet before.
    repeats_id: bool,
    /// Its IP id is right above that of the sender's packet before.
    in_step: bool,
    /// How often the sender's IP ids had not been in step so far.
    breaks: u32,
}

impl Seen {
    // In line, so that it is made where it stays.
    #[inline(always)]
    fn new(sighting: &Sighting<'_>, segment: &Segment<'_>, (repeats_id, in_step): (bool, bool), breaks: u32) -> Self {
        let prefix_len = segment.payload.len().min(PREFIX);
        let prefix = match segment.payload.first_chunk() {
            Some(first) => *first,
            None => std::array::from_fn(|at| segment.payload.get(at).copied().unwrap_or(0)),
        };
        Self {
            note: Note::of(sighting.packet, segment),
            stage: sighting.flow.stage(),
            prefix,
            prefix_len: prefix_len as u8,
            repeats_id,
            in_step,
            breaks,
        }
    }

    /// Whether the two hold different bytes for the place both start at, as far as the prefixes tell.
    fn differs_from(&self, other: &Self) -> bool {
        let shared = usize::from(self.prefix_len.min(other.prefix_len));
        self.note.seq == other.note.seq && shared >= 4 && self.prefix[..shared] != other.prefix[..shared]
    }

    /// Whether `other` is this very packet, altered on its way between two taps of one capture.
    fn is_altered_to(&self, other: &Self) -> bool {
        self.note.marks.ip_id.is_some_and(|id| id != 0)
            && self.note.marks.ip_id == other.note.marks.ip_id
            && self.note.seq == other.note.seq
            && other.note.at.since(self.note.at) <= MIRROR
    }

    /// By how many bytes `other` repeats the whole of this one at another place it overlaps.
    fn is_shifted_to(&self, other: &Self) -> Option<u32> {
        let shift = other.note.seq.ahead_of(self.note.seq).unsigned_abs();
        let shared = usize::from(self.prefix_len);
        let varied = self.prefix[..shared].iter().any(|byte| *byte != self.prefix[0]);
        (self.note.span == other.note.span
            && shift > 0
            && shift < self.note.span
            && shared >= 4
            && varied
            && self.prefix == other.prefix)
            .then_some(shift)
    }
}

/// What is kept of one direction.
#[derive(Debug, Default)]
struct Stream {
    /// The first [`FIRST`] segments with data, then a ring of the last [`LAST`]. A list of the shard's: flows without
    /// data need none.
    kept: Vec<Seen>,
    next: u8,
    breaks: u32,
    /// The sequence number after the highest byte, the padding of short frames left out.
    end: Option<SequenceNumber>,
}

impl Stream {
    fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.kept.iter()
    }

    /// Keeps what `seen` makes of `segment`.
    #[inline(always)]
    fn remember(&mut self, segment: &Segment<'_>, seen: impl FnOnce() -> Seen, spare: &mut Spare<Seen>) {
        let end = segment.seq.plus(segment.span() - u32::from(segment.flags.fin()));
        if self.end.is_none_or(|before| end.is_after(before)) {
            self.end = Some(end);
        }
        if self.kept.len() < FIRST + LAST {
            spare.make_room(&mut self.kept);
            self.kept.push(seen());
            return;
        }
        self.kept[FIRST + usize::from(self.next)] = seen();
        self.next = (self.next + 1) % LAST as u8;
    }
}

/// What is kept of one flow.
#[derive(Debug, Default)]
pub struct Memory {
    streams: [Stream; 2],
    filing: Filing<Case>,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        for stream in &mut self.streams {
            stream.kept.clear();
            stream.next = 0;
            stream.breaks = 0;
            stream.end = None;
        }
        self.filing.recycle();
    }
}

impl Detector for PayloadInjection {
    const KIND: Kind = Kind::PayloadInjection;
    type Memory = Memory;
    type Habits = Spare<Seen>;

    fn habits(&self) -> Spare<Seen> {
        Spare::of(&[1, FIRST, 6, FIRST + LAST])
    }

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, spare: &mut Spare<Seen>) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        if segment.flags.rst() || memory.filing.is_filed() {
            return Attention::Idle;
        }
        let (packet, sender) = (sighting.packet, sighting.sender);
        let side = sighting.flow.side(sender);
        let peer = sighting.flow.side(sender.peer());
        let stream = &mut memory.streams[sender as usize];
        let (repeats_id, in_step) = step(side, packet);
        stream.breaks = stream.breaks.saturating_add(u32::from(!in_step));
        let is_data = !segment.payload.is_empty() && !is_padding(packet, segment) && !keeps_alive(segment, side, peer);
        let mut attention = Attention::Idle;
        if let Some(case) = memory.filing.case() {
            let odd = repeats_id || lacks_timestamp(side, segment);
            attention = case.follow(sender, packet, segment, [side, peer], Step { odd, in_step });
        }
        if !is_data && !segment.flags.fin() {
            return attention;
        }
        let note = Note::of(packet, segment);
        if segment.flags.fin()
            && sighting.flow.saw_handshake()
            && let Some(end) = stream.end
            && let closes_at = note.end().plus(u32::MAX)
            && (1..NEAR).contains(&end.ahead_of(closes_at))
        {
            let case = memory.filing.case_or(Case::default);
            let beyond = stream.seen().filter(|seen| seen.note.end().is_after(closes_at));
            case.closed_before(sender, &note, end, beyond, stream.breaks);
            attention = Attention::Suspicious;
        }
        if !is_data {
            return attention;
        }
        let seen = Seen::new(sighting, segment, (repeats_id, in_step), stream.breaks);
        let earlier = match sighting.conflict {
            Some(conflict) => stream
                .seen()
                .find(|earlier| earlier.note.frame == conflict.earlier)
                .map(|earlier| (*earlier, conflict.differing)),
            // Beyond the head only what begins at the same place can be compared.
            None if side.end.is_some_and(|end| end.is_after(note.seq)) => stream
                .seen()
                .find(|earlier| earlier.differs_from(&seen))
                .map(|earlier| (*earlier, u32::from(seen.prefix_len))),
            None => None,
        };
        if let Some((earlier, differing)) = earlier
            && !earlier.is_altered_to(&seen)
        {
            memory.filing.case_or(Case::default).add_rivals(Rivals {
                sender,
                earlier,
                later: seen,
                differing,
            });
            attention = Attention::Suspicious;
        } else if stands_out(side, packet, segment) {
            memory.filing.case_or(Case::default).add_suspect(sender, seen);
            attention = Attention::Suspicious;
        }
        if let Some(case) = memory.filing.case() {
            case.notice_spray(stream.seen(), &seen);
        }
        stream.remember(segment, || seen, spare);
        attention
    }

    fn rests(&self, _flow: &Flow, memory: &Self::Memory) -> bool {
        memory.filing.is_empty()
    }

    fn pass(&self, sighting: &Sighting<'_>, memory: &mut Memory, spare: &mut Spare<Seen>) {
        let Carried::Segment(segment) = sighting.carried else {
            return;
        };
        if memory.filing.is_filed() {
            return;
        }
        let stream = &mut memory.streams[sighting.sender as usize];
        let (repeats_id, in_step) = step(sighting.flow.side(sighting.sender), sighting.packet);
        stream.breaks = stream.breaks.saturating_add(u32::from(!in_step));
        if !segment.payload.is_empty() {
            let breaks = stream.breaks;
            let seen = || Seen::new(sighting, segment, (repeats_id, in_step), breaks);
            stream.remember(segment, seen, spare);
        }
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, spare: &mut Spare<Seen>, docket: &mut Docket) {
        // What both ends do afterwards may say more.
        let early = Early::From(Verdict::Likely);
        let Memory { streams, filing } = memory;
        filing.conclude(conclusion, early, docket, |case| {
            weigh::weigh(case, streams, conclusion)
        });
        if conclusion.ending.is_over() {
            for stream in &mut memory.streams {
                spare.give_back(std::mem::take(&mut stream.kept));
            }
        }
    }
}

/// Whether the packet's IP id is that of its sender's packet before, and whether it is right above it.
fn step(side: &Side, packet: &Packet<'_>) -> (bool, bool) {
    match (side.profile.last().and_then(|last| last.ip_id), packet.marks.ip_id) {
        (Some(last), Some(id)) if last != 0 && id != 0 => {
            (last == id, (1..=SMALL_STEP).contains(&id.wrapping_sub(last)))
        }
        _ => (false, false),
    }
}

/// Zeros at the end of a frame that Ethernet filled up, counted as payload by whoever wrote the IP length.
fn is_padding(packet: &Packet<'_>, segment: &Segment<'_>) -> bool {
    segment.payload_len <= 6 && packet.frame.wire_len <= SHORTEST_FRAME && segment.payload.iter().all(|byte| *byte == 0)
}

/// A keep-alive repeats a byte the peer has acknowledged, with whatever comes to hand (RFC 9293 section 3.8.4).
fn keeps_alive(segment: &Segment<'_>, side: &Side, peer: &Side) -> bool {
    segment.payload_len == 1
        && (side.end == Some(segment.end()) || peer.acked.is_some_and(|acked| acked.ahead_of(segment.end()) >= 0))
}

/// RFC 7323 section 3.2: once agreed on, every segment carries a timestamp.
fn lacks_timestamp(side: &Side, segment: &Segment<'_>) -> bool {
    side.stamped >= 3 && side.stamped == side.profile.packets() && segment.timestamp().is_none()
}

/// Whether a data segment has marks that none of its sender's packets had.
fn stands_out(side: &Side, packet: &Packet<'_>, segment: &Segment<'_>) -> bool {
    lacks_timestamp(side, segment)
        || (side.profile.packets() >= 3
            && side.profile.count_of(packet.marks.ttl) == 0
            && side
                .profile
                .usual_ttl()
                .is_some_and(|usual| usual.abs_diff(packet.marks.ttl) >= 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::talk::{A, Talk, client, opened, server};

    #[test]
    fn a_keep_alive_is_one_byte_that_was_sent_or_heard() {
        let mut talk = Talk::of(
            443,
            &opened(&[
                client(A, 1, 1, b"hello"),
                server(A, 1, 6, b"ok"),
                client(A, 6, 3, b"more"),
            ]),
        );
        for (seq, payload, expected) in [
            (4, &b"x"[..], true),
            (5, b"x", true),
            (6, b"x", false),
            (8, b"x", false),
            (9, b"x", true),
            (10, b"x", false),
            (4, b"xy", false),
            (8, b"xy", false),
        ] {
            talk.say_at(100, &client(A, seq, 3, payload), |shown| {
                let side = |party| shown.flow.side(party);
                let (own, peer) = (side(shown.sender), side(shown.sender.peer()));
                assert_eq!(keeps_alive(shown.segment, own, peer), expected, "{seq} {payload:?}");
            });
            if seq == 10 {
                return;
            }
        }
    }

    #[test]
    fn an_id_repeats_or_steps_on_from_one_that_is_not_zero() {
        let mut talk = Talk::of(443, &opened(&[server(A, 1, 1, b"hello").id(65_530)]));
        for (id, expected) in [
            (Some(65_530), (true, false)),
            (Some(65_531), (false, true)),
            (Some(65_529), (false, false)),
            (Some(0), (false, false)),
            (Some(1), (false, true)),
            (Some(10), (false, true)),
            (Some(11), (false, false)),
            (None, (false, false)),
        ] {
            talk.say_at(100, &client(A, 1, 6, b""), |shown| {
                let mut packet = *shown.packet;
                packet.marks.ip_id = id;
                assert_eq!(step(shown.flow.side(shown.sender.peer()), &packet), expected, "{id:?}");
            });
        }
    }
}
