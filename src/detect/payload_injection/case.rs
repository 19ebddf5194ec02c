//! What speaks for forged data in one flow, kept from the first suspicion on.

use arrayvec::ArrayVec;

use super::super::detector::Attention;
use super::Seen;
use crate::finding::finding::Party;
use crate::flow::side::{Note, Side};
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{Packet, Segment, SequenceNumber};

/// Rivals and suspects that are kept.
const KEPT: usize = 4;

/// Two copies of one place in the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rivals {
    pub(super) sender: Party,
    pub(super) earlier: Seen,
    pub(super) later: Seen,
    /// How many bytes differ.
    pub(super) differing: u32,
}

/// The sender closed its stream before data that carry its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClosedBefore {
    pub(super) fin: FrameNumber,
    pub(super) by: u32,
}

/// What a packet's own marks say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// It is suspect itself.
    pub(super) odd: bool,
    /// Its IP id is right above that of the sender's packet before.
    pub(super) in_step: bool,
}

/// A suspicion, and what both ends did since.
#[derive(Debug, Default)]
pub(super) struct Case {
    /// Whose stream was tampered with.
    pub(super) sender: Option<Party>,
    pub(super) rivals: ArrayVec<Rivals, KEPT>,
    pub(super) suspects: ArrayVec<Seen, KEPT>,
    pub(super) closed: Option<ClosedBefore>,
    /// The same bytes at two places: which frames, and how far apart.
    pub(super) spray: Option<(FrameNumber, FrameNumber, u32)>,
    /// Whether the sender's next packet after the first suspect was in step with its IP id.
    next_in_step: Option<bool>,
    /// The sequence number after the bytes in question.
    until: Option<SequenceNumber>,
    /// The sender's packets that lie before the end of bytes its peer had acknowledged.
    pub(super) behind: ArrayVec<FrameNumber, KEPT>,
    /// The sender's packets that go on from behind the bytes in question.
    pub(super) went_on: u16,
    /// The peer's repetitions that the sender did not acknowledge.
    pub(super) unheard: u16,
}

impl Case {
    fn concerns(&mut self, sender: Party, end: SequenceNumber) -> bool {
        if *self.sender.get_or_insert(sender) != sender {
            return false;
        }
        if self.until.is_none_or(|until| end.is_after(until)) {
            self.until = Some(end);
        }
        true
    }

    pub(super) fn add_rivals(&mut self, rivals: Rivals) {
        let end = match rivals.later.note.end() {
            later if later.is_after(rivals.earlier.note.end()) => later,
            _ => rivals.earlier.note.end(),
        };
        if self.concerns(rivals.sender, end) {
            let _ = self.rivals.try_push(rivals);
        }
    }

    pub(super) fn add_suspect(&mut self, sender: Party, seen: Seen) {
        if self.concerns(sender, seen.note.end()) {
            let _ = self.suspects.try_push(seen);
        }
    }

    /// `fin` closes the stream of `sender` before `end`, and `beyond` are the segments that lie there.
    pub(super) fn closed_before<'s>(
        &mut self,
        sender: Party,
        fin: &Note,
        end: SequenceNumber,
        beyond: impl Iterator<Item = &'s Seen>,
        breaks: u32,
    ) {
        if self.closed.is_some() || !self.concerns(sender, end) {
            return;
        }
        self.closed = Some(ClosedBefore {
            fin: fin.frame,
            by: end.plus(1).ahead_of(fin.end()).unsigned_abs(),
        });
        for seen in beyond {
            if self.suspects.is_empty() {
                self.next_in_step = Some(seen.breaks == breaks);
            }
            if !self.suspects.iter().any(|known| known.note.frame == seen.note.frame) {
                let _ = self.suspects.try_push(*seen);
            }
        }
    }

    /// An injector that does not know the place in the stream tries several.
    pub(super) fn notice_spray<'s>(&mut self, earlier: impl Iterator<Item = &'s Seen>, seen: &Seen) {
        if self.spray.is_some() || self.rivals.is_empty() {
            return;
        }
        self.spray = earlier
            .filter_map(|other| Some((other.note.frame, seen.note.frame, other.is_shifted_to(seen)?)))
            .next();
    }

    /// Whether the first suspect takes a place in the sender's IP id counter that nothing else takes: it sent it.
    pub(super) fn takes_its_place(&self) -> bool {
        self.suspects.first().is_some_and(|seen| seen.in_step) && self.next_in_step == Some(true)
    }

    /// Sees a packet after the suspicion arose; `sides` are its sender's and the other one.
    pub(super) fn follow(
        &mut self,
        from: Party,
        packet: &Packet<'_>,
        segment: &Segment<'_>,
        [side, peer]: [&Side; 2],
        step: Step,
    ) -> Attention {
        let (Some(sender), Some(until)) = (self.sender, self.until) else {
            return Attention::Idle;
        };
        if from != sender {
            // Here `peer` is the sender of the bytes in question.
            let repeats = segment.payload_len > 1
                && side.end.is_some_and(|end| end.ahead_of(segment.end()) >= 0)
                && peer.acked.is_none_or(|acked| segment.end().is_after(acked));
            self.unheard = self.unheard.saturating_add(u16::from(repeats));
            return match self.unheard {
                3 if repeats => Attention::Suspicious,
                _ => Attention::Idle,
            };
        }
        if !self.suspects.is_empty() {
            self.next_in_step.get_or_insert(step.in_step);
        }
        if step.odd {
            return Attention::Idle;
        }
        if segment.seq.ahead_of(until) >= 0 {
            self.went_on = self.went_on.saturating_add(1);
            return Attention::Idle;
        }
        // A keep-alive lies one byte before the end; a repetition carries data.
        let is_behind = segment.payload_len == 0
            && until.ahead_of(segment.end()) > 1
            && peer.acked.is_some_and(|acked| acked.ahead_of(until) >= 0);
        if is_behind && self.behind.try_push(packet.frame.number).is_ok() {
            return Attention::Suspicious;
        }
        Attention::Idle
    }
}
