//! The first bytes each direction of a TCP flow sent, put in order.
//!
//! Memory is bounded thrice: a head holds at most [`HEAD_BYTES`], and a store at most a fixed number of heads and of bytes
//! in all of them; when all are taken, the head held longest gives way. The first copy of a byte is kept; a later copy that
//! differs is told as a [`Conflict`], the strongest contradiction there is (wire-facts 6.1).

use super::spare::Spare;
use super::waiting::Waiting;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{Segment, SequenceNumber};

/// How much of a direction is kept, in bytes: an HTTP head and the 16 KiB of body that block pages are told by.
pub const HEAD_BYTES: usize = 16 * 1024;

/// How many separate pieces of a head are told apart.
const PIECES: usize = 24;

/// Names a head in a store; a head that was handed on is no longer found by its old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadId {
    slot: u32,
    generation: u32,
}

/// One segment's part of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it starts, in bytes from the first byte of the stream.
    pub offset: u32,
    /// How long it is, in bytes.
    pub len: u32,
    /// The frame that brought it.
    pub frame: FrameNumber,
}

/// Whether more of a direction can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Nothing more.
    None,
    /// Some.
    Some,
}

/// Two copies of the same bytes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The frame that brought the first copy.
    pub earlier: FrameNumber,
    /// Where the earlier frame's data start, in bytes from the first byte of the stream.
    pub earlier_offset: u32,
    /// How many bytes both copies cover.
    pub shared: u32,
    /// How many of those differ.
    pub differing: u32,
}

/// The sizes of memory that heads take, in bytes: a request or a ClientHello padded to 512 bytes (RFC 7685) fits the
/// first, a redirect the second, a hello with post-quantum keys the third, a chain of certificates the fourth.
const ROOMS: [usize; 5] = [576, 1024, 2048, 4096, HEAD_BYTES];

/// Memory that heads which are closed have left for others.
#[derive(Debug, Default)]
struct Rooms {
    spare: [Vec<Vec<u8>>; ROOMS.len()],
    /// Bytes in use, and at most.
    used: usize,
    most: usize,
}

impl Rooms {
    /// The size of the room that holds `len` bytes, of [`HEAD_BYTES`] at most.
    fn class(len: usize) -> usize {
        ROOMS.iter().position(|room| *room >= len).unwrap_or(ROOMS.len() - 1)
    }

    /// Whether a room for `len` bytes may be had in exchange for `bytes`.
    fn has_room(&self, bytes: &Vec<u8>, len: usize) -> bool {
        self.used - bytes.capacity() + ROOMS[Self::class(len)] <= self.most
    }

    /// Makes `bytes` hold at least `len`.
    fn make_room(&mut self, bytes: &mut Vec<u8>, len: usize) {
        let class = Self::class(len);
        let mut larger = self.spare[class]
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(ROOMS[class]));
        self.used += larger.capacity();
        larger.clear();
        larger.extend_from_slice(bytes);
        self.give_back(std::mem::replace(bytes, larger));
    }

    fn give_back(&mut self, bytes: Vec<u8>) {
        self.used -= bytes.capacity();
        if let Some(class) = ROOMS.iter().rposition(|room| *room <= bytes.capacity()) {
            self.spare[class].push(bytes);
        }
    }
}

#[derive(Debug, Default)]
struct Head {
    generation: u32,
    first: SequenceNumber,
    bytes: Vec<u8>,
    /// At most [`PIECES`].
    pieces: Vec<Piece>,
    /// How many bytes from the start are there without a gap.
    whole: usize,
}

/// A bounded store of heads.
#[derive(Debug)]
pub struct Heads {
    heads: Vec<Head>,
    rooms: Rooms,
    lists: Spare<Piece>,
    free: Vec<u32>,
    held: Waiting<HeadId>,
    most: usize,
    refused: u64,
}

impl Heads {
    /// A store of at most `most` heads, with `bytes` bytes in all of them (no fewer than [`HEAD_BYTES`]).
    #[must_use]
    pub fn new(most: usize, bytes: usize) -> Self {
        Self {
            heads: Vec::new(),
            rooms: Rooms {
                most: bytes.max(HEAD_BYTES),
                ..Rooms::default()
            },
            lists: Spare::of(&[2, 6, PIECES]),
            free: Vec::new(),
            held: Waiting::new(),
            most,
            refused: 0,
        }
    }

    /// How many heads were taken from flows that still had a use for them.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// A new head for a stream whose first byte is `first`.
    pub fn open(&mut self, first: SequenceNumber) -> HeadId {
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else if self.heads.len() < self.most {
            if self.heads.capacity() == 0 {
                // Pages that are never written to cost nothing, growing would cost copies.
                self.heads.reserve_exact(self.most);
            }
            self.heads.push(Head::default());
            (self.heads.len() - 1) as u32
        } else {
            self.take_oldest()
        };
        let head = &mut self.heads[slot as usize];
        head.generation = head.generation.wrapping_add(1);
        head.first = first;
        head.bytes.clear();
        head.pieces.clear();
        head.whole = 0;
        let id = HeadId {
            slot,
            generation: head.generation,
        };
        // Names of heads that were closed stay queued until they come up.
        let heads = &self.heads;
        self.held
            .push(id, |id| heads[id.slot as usize].generation == id.generation);
        id
    }

    fn take_oldest(&mut self) -> u32 {
        loop {
            let Some(id) = self.held.take_first() else { return 0 };
            if self.heads[id.slot as usize].generation == id.generation {
                self.refused += 1;
                return id.slot;
            }
        }
    }

    /// Lets the heads held longest give way until there are bytes for `segment`; tells whether there are.
    fn clear_the_way(&mut self, id: HeadId, segment: &Segment<'_>) -> bool {
        loop {
            let Some(head) = self.get(id) else { return false };
            let start = usize::try_from(segment.seq.ahead_of(head.first)).unwrap_or(0);
            let end = (start + segment.payload.len() + 1).min(HEAD_BYTES);
            if end <= head.bytes.capacity() || self.rooms.has_room(&head.bytes, end) {
                return true;
            }
            let Some(oldest) = self.held.take_first() else {
                return false;
            };
            if oldest != id && self.get(oldest).is_some() {
                self.refused += 1;
                self.close(oldest);
            } else if oldest == id {
                // It is the only one left that may go, and stays.
                let heads = &self.heads;
                self.held
                    .push(id, |id| heads[id.slot as usize].generation == id.generation);
                if self.held.len() == 1 {
                    return false;
                }
            }
        }
    }

    /// Gives a head back.
    pub fn close(&mut self, id: HeadId) {
        let head = &mut self.heads[id.slot as usize];
        if head.generation == id.generation {
            head.generation = head.generation.wrapping_add(1);
            self.rooms.give_back(std::mem::take(&mut head.bytes));
            self.lists.give_back(std::mem::take(&mut head.pieces));
            self.free.push(id.slot);
        }
    }

    fn get(&self, id: HeadId) -> Option<&Head> {
        self.heads
            .get(id.slot as usize)
            .filter(|head| head.generation == id.generation)
    }

    /// The bytes from the start of the stream up to the first gap.
    #[must_use]
    pub fn whole(&self, id: HeadId) -> &[u8] {
        self.get(id).map_or(&[], |head| &head.bytes[..head.whole])
    }

    /// The bytes from sequence number `from` up to the first gap; none if it lies outside what is kept.
    #[must_use]
    pub fn whole_from(&self, id: HeadId, from: SequenceNumber) -> &[u8] {
        let Some(head) = self.get(id) else { return &[] };
        usize::try_from(from.ahead_of(head.first))
            .ok()
            .and_then(|at| head.bytes[..head.whole].get(at..))
            .unwrap_or(&[])
    }

    /// The pieces so far, in the order they came.
    #[must_use]
    pub fn pieces(&self, id: HeadId) -> &[Piece] {
        self.get(id).map_or(&[], |head| &head.pieces)
    }

    /// The frame that brought the byte at `offset`.
    #[must_use]
    pub fn frame_of(&self, id: HeadId, offset: usize) -> Option<FrameNumber> {
        self.pieces(id)
            .iter()
            .find(|piece| (piece.offset as usize..piece.offset as usize + piece.len as usize).contains(&offset))
            .map(|piece| piece.frame)
    }

    /// How `segment`'s payload contradicts what is already there, if it does; the heaviest conflict, if several.
    #[must_use]
    pub fn conflict(&self, id: HeadId, segment: &Segment<'_>) -> Option<Conflict> {
        let head = self.get(id)?;
        let start = segment.seq.plus(u32::from(segment.flags.syn())).ahead_of(head.first);
        let (mine, start) = match usize::try_from(start) {
            Ok(start) => (segment.payload, start),
            // It begins before the head: only what lies inside can be compared.
            Err(_) => (segment.payload.get(start.unsigned_abs() as usize..)?, 0),
        };
        let end = (start + mine.len()).min(head.bytes.len());
        head.pieces
            .iter()
            .filter_map(|piece| {
                let from = start.max(piece.offset as usize);
                let to = end.min(piece.offset as usize + piece.len as usize);
                if from >= to {
                    return None;
                }
                let (old, new) = (&head.bytes[from..to], &mine[from - start..to - start]);
                if old == new {
                    return None;
                }
                let differing = old.iter().zip(new).filter(|(old, new)| old != new).count();
                Some(Conflict {
                    earlier: piece.frame,
                    earlier_offset: piece.offset,
                    shared: (to - from) as u32,
                    differing: differing as u32,
                })
            })
            .max_by_key(|conflict| (conflict.differing, std::cmp::Reverse(conflict.earlier)))
    }

    /// Learns `segment`'s payload: bytes not yet there are kept, as far as they fit. Tells whether there is room for more.
    pub fn learn(&mut self, id: HeadId, segment: &Segment<'_>, frame: FrameNumber) -> Room {
        if !self.clear_the_way(id, segment) {
            return Room::None;
        }
        let Some(head) = self
            .heads
            .get_mut(id.slot as usize)
            .filter(|head| head.generation == id.generation)
        else {
            return Room::None;
        };
        let Ok(start) = usize::try_from(segment.seq.plus(u32::from(segment.flags.syn())).ahead_of(head.first)) else {
            return Room::Some;
        };
        let end = (start + segment.payload.len()).min(HEAD_BYTES);
        let mut at = start;
        while at < end && head.pieces.len() < PIECES {
            // The gap that begins at `at`, or the piece that covers it.
            if let Some(piece) = head
                .pieces
                .iter()
                .find(|piece| (piece.offset as usize..piece.offset as usize + piece.len as usize).contains(&at))
            {
                at = piece.offset as usize + piece.len as usize;
                continue;
            }
            let stop = head
                .pieces
                .iter()
                .map(|piece| piece.offset as usize)
                .filter(|offset| *offset > at)
                .fold(end, usize::min);
            let piece = &segment.payload[at - start..stop - start];
            if stop > head.bytes.capacity() {
                self.rooms.make_room(&mut head.bytes, stop);
            }
            if head.bytes.len() == at {
                head.bytes.extend_from_slice(piece);
            } else {
                let len = head.bytes.len().max(stop);
                head.bytes.resize(len, 0);
                head.bytes[at..stop].copy_from_slice(piece);
            }
            let kept = Piece {
                offset: at as u32,
                len: (stop - at) as u32,
                frame,
            };
            self.lists.push(&mut head.pieces, kept);
            at = stop;
        }
        while let Some(piece) = head
            .pieces
            .iter()
            .find(|piece| piece.offset as usize == head.whole && piece.len > 0)
        {
            head.whole += piece.len as usize;
        }
        if head.whole >= HEAD_BYTES || head.pieces.len() >= PIECES {
            Room::None
        } else {
            Room::Some
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::packet::TcpFlags;

    fn segment(seq: u32, payload: &[u8]) -> Segment<'_> {
        Segment {
            seq: SequenceNumber(seq),
            ack: SequenceNumber(0),
            flags: TcpFlags(TcpFlags::ACK),
            window: 0,
            options: &[],
            payload,
            payload_len: payload.len() as u32,
        }
    }

    fn frame(number: u64) -> FrameNumber {
        FrameNumber::new(0, number)
    }

    #[test]
    fn pieces_come_in_any_order_and_the_first_copy_stays() {
        let mut heads = Heads::new(4, 1 << 20);
        let id = heads.open(SequenceNumber(u32::MAX));
        heads.learn(id, &segment(2, b"defg"), frame(2));
        assert_eq!(heads.whole(id), b"");
        heads.learn(id, &segment(u32::MAX, b"abcXYZ"), frame(1));
        assert_eq!(heads.whole(id), b"abcdefg");
        assert_eq!(heads.frame_of(id, 4), Some(frame(2)));
        assert_eq!(heads.frame_of(id, 1), Some(frame(1)));
    }

    #[test]
    fn a_copy_that_differs_is_a_conflict_and_one_that_agrees_is_not() {
        let mut heads = Heads::new(4, 1 << 20);
        let id = heads.open(SequenceNumber(100));
        heads.learn(id, &segment(100, b"HTTP/1.1 302"), frame(1));
        assert_eq!(heads.conflict(id, &segment(105, b"1.1 302 and more")), None);
        assert_eq!(heads.conflict(id, &segment(98, b"??HTTP")), None);
        let conflict = heads.conflict(id, &segment(100, b"HTTP/1.1 200")).unwrap();
        assert_eq!(
            (conflict.earlier, conflict.shared, conflict.differing),
            (frame(1), 12, 2)
        );
    }

    #[test]
    fn a_full_store_hands_on_the_head_held_longest() {
        let mut heads = Heads::new(2, 1 << 20);
        let ids: Vec<_> = (0..3).map(|_| heads.open(SequenceNumber(0))).collect();
        heads.learn(ids[0], &segment(0, b"lost"), frame(1));
        heads.learn(ids[1], &segment(0, b"kept"), frame(2));
        assert_eq!((heads.whole(ids[0]), heads.whole(ids[1])), (&b""[..], &b"kept"[..]));
        assert_eq!(heads.refused(), 1);
        heads.close(ids[1]);
        heads.close(ids[1]);
        let (fourth, fifth) = (heads.open(SequenceNumber(0)), heads.open(SequenceNumber(0)));
        assert_ne!(fourth.slot, fifth.slot);
    }

    #[test]
    fn a_head_is_bounded() {
        let mut heads = Heads::new(1, 1 << 20);
        let id = heads.open(SequenceNumber(0));
        for index in 0..64_u32 {
            heads.learn(id, &segment(index * 1000, &[7; 1000]), frame(1));
        }
        assert!(heads.whole(id).len() <= HEAD_BYTES);
        assert!(heads.conflict(id, &segment(HEAD_BYTES as u32 - 1, &[8; 5])).is_some());
    }

    #[test]
    fn a_store_is_bounded_in_bytes_and_the_head_held_longest_gives_way() {
        let mut heads = Heads::new(100, 2 * HEAD_BYTES);
        let ids: Vec<_> = (0..40)
            .map(|_| {
                let id = heads.open(SequenceNumber(0));
                heads.learn(id, &segment(0, &[7; 1000]), frame(1));
                id
            })
            .collect();
        assert_eq!((heads.refused(), heads.rooms.used), (8, 2 * HEAD_BYTES));
        assert_eq!((heads.whole(ids[7]), heads.whole(ids[8]).len()), (&b""[..], 1000));
        // One that grows takes from the others, and is never its own victim.
        heads.learn(ids[8], &segment(1000, &[8; 15_000]), frame(2));
        assert_eq!(heads.whole(ids[8]).len(), 16_000);
        assert!(heads.rooms.used <= 2 * HEAD_BYTES && heads.refused() > 20);
        assert_eq!(heads.whole(ids[39]).len(), 1000);
    }
}
