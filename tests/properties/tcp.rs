//! The first bytes of a stream and what a side is known by, against models that keep everything and count from zero.

use std::collections::BTreeMap;

use blockscope::flow::heads::{HEAD_BYTES, Heads};
use blockscope::flow::landmarks::NOTES;
use blockscope::flow::side::Side;
use blockscope::packet::endpoint::Endpoint;
use blockscope::packet::frame::{Frame, FrameNumber, LinkType};
use blockscope::packet::packet::{Packet, Segment, SequenceNumber, TcpFlags, Transport};
use blockscope::packet::path_marks::PathMarks;
use blockscope::time::Timestamp;
use proptest::prelude::*;

use crate::trials;

fn segment(first: u32, offset: usize, payload: &[u8]) -> Segment<'_> {
    Segment {
        seq: SequenceNumber(first.wrapping_add(offset as u32)),
        ack: SequenceNumber(0),
        flags: TcpFlags(TcpFlags::ACK),
        window: 0,
        options: &[],
        payload,
        payload_len: payload.len() as u32,
    }
}

/// Where a stream begins: anywhere, and often just below the wrap.
fn first() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), (0_u32..3000).prop_map(|below| u32::MAX - below)]
}

/// Parts of a stream of up to 20 000 bytes, in the order they arrive: lost, repeated, overlapping, out of order.
fn parts(most: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    proptest::collection::vec((0_usize..20_000, 1_usize..3000), 1..most)
}

/// Byte `at` of the stream everybody agrees on.
fn byte(at: usize) -> u8 {
    (at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]
}

fn honest(part: (usize, usize)) -> Vec<u8> {
    (part.0..part.0 + part.1).map(byte).collect()
}

/// What a head knows: for each byte the frame and the value that came first.
#[derive(Default)]
struct Model(BTreeMap<usize, (u64, u8)>);

impl Model {
    fn learn(&mut self, offset: usize, payload: &[u8], frame: u64) {
        for (at, byte) in (offset..HEAD_BYTES).zip(payload) {
            self.0.entry(at).or_insert((frame, *byte));
        }
    }

    fn whole(&self) -> Vec<u8> {
        let run = self.0.iter().enumerate().take_while(|(index, (at, _))| index == *at);
        run.map(|(_, (_, (_, byte)))| *byte).collect()
    }

    fn contradicts(&self, offset: usize, payload: &[u8]) -> bool {
        let differs = |(at, byte): (usize, &u8)| self.0.get(&at).is_some_and(|(_, kept)| kept != byte);
        (offset..).zip(payload).any(differs)
    }
}

proptest! {
    #![proptest_config(trials(256))]

    /// Few enough parts that each can be told apart: exactly what arrived is there, by the frame that brought it first.
    #[test]
    fn a_head_is_what_arrived_whatever_the_order(first in first(), parts in parts(9)) {
        let mut heads = Heads::new(2, 1 << 20);
        let id = heads.open(SequenceNumber(first));
        let mut model = Model::default();
        for (index, part) in parts.iter().enumerate() {
            let payload = honest(*part);
            let segment = segment(first, part.0, &payload);
            prop_assert_eq!(heads.conflict(id, &segment), None);
            heads.learn(id, &segment, FrameNumber::new(0, index as u64 + 1));
            model.learn(part.0, &payload, index as u64 + 1);
        }
        prop_assert_eq!(heads.whole(id), model.whole());
        for (at, (frame, _)) in &model.0 {
            prop_assert_eq!(heads.frame_of(id, *at).map(FrameNumber::in_file), Some(*frame), "byte {}", at);
        }
    }

    /// More parts than can be told apart: nothing is there that was not sent, and honest repetitions contradict nothing.
    #[test]
    fn a_head_in_many_parts_holds_nothing_that_was_not_sent(first in first(), parts in parts(120)) {
        let mut heads = Heads::new(2, 1 << 20);
        let id = heads.open(SequenceNumber(first));
        for (index, part) in parts.iter().enumerate() {
            let payload = honest(*part);
            let segment = segment(first, part.0, &payload);
            prop_assert_eq!(heads.conflict(id, &segment), None);
            heads.learn(id, &segment, FrameNumber::new(0, index as u64 + 1));
        }
        let whole = heads.whole(id);
        prop_assert!(whole.len() <= HEAD_BYTES);
        prop_assert_eq!(whole, honest((0, whole.len())));
    }

    /// A part with other bytes is a contradiction exactly where something else was there before, and the first copy stays.
    #[test]
    fn other_bytes_contradict_what_was_there_and_nothing_else(
        first in first(), parts in parts(8), forged in (0_usize..20_000, 1_usize..3000),
    ) {
        let mut heads = Heads::new(2, 1 << 20);
        let id = heads.open(SequenceNumber(first));
        let mut model = Model::default();
        for part in &parts {
            let payload = honest(*part);
            heads.learn(id, &segment(first, part.0, &payload), FrameNumber::new(0, 1));
            model.learn(part.0, &payload, 1);
        }
        let payload: Vec<u8> = honest(forged).iter().map(|byte| !byte).collect();
        let segment = segment(first, forged.0, &payload);
        let conflict = heads.conflict(id, &segment);
        prop_assert_eq!(conflict.is_some(), model.contradicts(forged.0, &payload));
        if let Some(conflict) = conflict {
            prop_assert_eq!(conflict.earlier.in_file(), 1);
            prop_assert_eq!(conflict.differing, conflict.shared);
        }
        heads.learn(id, &segment, FrameNumber::new(0, 2));
        model.learn(forged.0, &payload, 2);
        prop_assert_eq!(heads.whole(id), model.whole());
    }

    /// Heads are never mixed up, however many come and go.
    #[test]
    fn a_store_of_heads_never_shows_one_stream_the_bytes_of_another(
        moves in proptest::collection::vec((0_usize..12, any::<bool>()), 1..200),
    ) {
        let mut heads = Heads::new(4, 1 << 20);
        let mut open = BTreeMap::new();
        for (stream, closes) in moves {
            if closes {
                if let Some(id) = open.remove(&stream) {
                    heads.close(id);
                    prop_assert_eq!(heads.whole(id), b"");
                }
                continue;
            }
            let id = *open.entry(stream).or_insert_with(|| heads.open(SequenceNumber(0)));
            let payload = [stream as u8; 3];
            let at = heads.whole(id).len();
            heads.learn(id, &segment(0, at, &payload), FrameNumber::new(0, 1));
            for (stream, id) in &open {
                prop_assert!(heads.whole(*id).iter().all(|byte| usize::from(*byte) == *stream));
            }
        }
    }

    /// What a side has sent and heard is the most of it in serial order, whatever came in whichever order.
    #[test]
    fn a_side_knows_the_highest_of_what_it_saw(
        first in first(), heard in first(),
        seen in proptest::collection::vec(
            (0_u32..1 << 20, 0_u32..1 << 20, prop_oneof![4 => Just(0), 1 => 1_u32..3000], 0_u8..16, 0_u64..1 << 40),
            1..60,
        ),
    ) {
        let mut side = Side::default();
        let (mut end, mut acked, mut data, mut bytes) = (None, None, 0, 0);
        let (mut fin, mut reset, mut last_data) = (None, None, None);
        for (index, (ahead, ack, len, kind, at)) in seen.iter().enumerate() {
            let frame = FrameNumber::new(0, index as u64 + 1);
            let payload = vec![0; *len as usize];
            let flags = match kind {
                0 => TcpFlags::RST,
                1 => TcpFlags::FIN | TcpFlags::ACK,
                2 => 0,
                _ => TcpFlags::ACK,
            };
            let segment = Segment {
                ack: SequenceNumber(heard.wrapping_add(*ack)),
                flags: TcpFlags(flags),
                ..segment(first, *ahead as usize, &payload)
            };
            let end_point = Endpoint::new([192, 0, 2, 1].into(), 443);
            let packet = Packet {
                frame: Frame {
                    number: frame,
                    at: Timestamp::from_nanos(*at),
                    bytes: &[],
                    wire_len: 0,
                    link: LinkType::RAW,
                },
                from: end_point,
                to: end_point,
                marks: PathMarks::default(),
                vlan: None,
                transport: Transport::Tcp(segment),
            };
            side.learn(&packet, &segment);
            if flags & TcpFlags::RST != 0 {
                reset = reset.or(Some(frame));
                continue;
            }
            end = end.max(Some(ahead + segment.span()));
            if flags & TcpFlags::ACK != 0 {
                acked = acked.max(Some(*ack));
            }
            if flags & TcpFlags::FIN != 0 {
                fin = fin.or(Some(frame));
            }
            if *len > 0 {
                last_data = Some(frame);
            }
            data += u32::from(*len > 0);
            bytes += u64::from(*len);
        }
        let number = |from: u32, ahead: u32| SequenceNumber(from.wrapping_add(ahead));
        prop_assert_eq!(side.end, end.map(|ahead| number(first, ahead)));
        prop_assert_eq!(side.acked, acked.map(|ahead| number(heard, ahead)));
        prop_assert_eq!((side.packets as usize, side.data_packets, side.bytes), (seen.len(), data, bytes));
        prop_assert_eq!(side.fin.map(|note| note.frame), fin);
        prop_assert_eq!(side.last_data().map(|note| note.frame), last_data);
        prop_assert_eq!(side.reset.map(|note| note.frame), reset);
        let others = seen.iter().enumerate().rev().filter(|(_, seen)| seen.3 != 0);
        let newest: Vec<u64> = others.map(|(index, _)| index as u64 + 1).take(NOTES).collect();
        prop_assert_eq!(side.notes().map(|note| note.frame.in_file()).collect::<Vec<_>>(), newest);
    }
}
