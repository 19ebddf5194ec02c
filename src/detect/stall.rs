//! Whether one side of a flow repeats itself and is not heard any more. Shared by the judges of swallowed packets.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::detector::Sighting;
use crate::finding::finding::Party;
use crate::flow::side::{Note, Side};
use crate::packet::frame::FrameNumber;
use crate::packet::packet::Segment;
use crate::time::Timestamp;

/// Packets sent in vain that are named.
const NAMED: usize = 8;

/// Packets sent in vain that make a silence, and the time they must span: three repetitions of Linux and Windows lie
/// within it (RFC 6298: 1 s at the most at first, then doubling).
const TRIES: u16 = 3;
const WAITED: Duration = Duration::from_secs(2);

/// A silence longer than this before the first repetition is told by timeouts of address translation (RFC 5382 asks for
/// more than 2 hours, many boxes forget after 5 minutes; wire-facts 8).
const IDLE: Duration = Duration::from_secs(60);

/// What, repeated, makes a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vain {
    /// Data.
    Data,
    /// A FIN or a keep-alive as well: all that a client sends which only waits for an answer.
    Anything,
}

/// What a stall began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trying {
    /// Data that is not acknowledged.
    Data,
    /// A FIN that is not acknowledged.
    End,
    /// A keep-alive that is not answered.
    Probe,
}

/// A side that repeats itself since the other one was last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stall {
    /// Who repeats itself.
    pub(super) party: Party,
    /// What it began with.
    pub(super) trying: Trying,
    /// Its first packets in vain.
    pub(super) frames: ArrayVec<FrameNumber, NAMED>,
    /// How many there were.
    pub(super) tries: u16,
    /// When the first of them came.
    pub(super) first: Timestamp,
    /// When the last of them came.
    pub(super) last: Timestamp,
    /// How long both sides had been silent before.
    pub(super) idle: Duration,
    /// Packets of the other side that bring nothing new: it is alive and does not hear either.
    pub(super) echoes: u16,
}

impl Stall {
    /// Whether it lasted long enough to say that nothing got through.
    #[must_use]
    pub(super) fn is_silence(&self) -> bool {
        self.tries >= TRIES && self.last.since(self.first) >= WAITED && self.idle < IDLE
    }

    /// Sees a segment before the flow learns it. Nothing is allocated before a side repeats itself.
    pub(super) fn watch(stall: &mut Option<Box<Self>>, sighting: &Sighting<'_>, segment: &Segment<'_>) {
        Self::watch_for(Vain::Data, stall, sighting, segment);
    }

    /// As [`Self::watch`], for the repetitions `vain` names.
    pub(super) fn watch_for(vain: Vain, stall: &mut Option<Box<Self>>, sighting: &Sighting<'_>, segment: &Segment<'_>) {
        let flow = sighting.flow;
        let sender = sighting.sender;
        let (side, peer) = (flow.side(sender), flow.side(sender.peer()));
        let is_new = segment.span() > 0 && side.end.is_none_or(|end| segment.end().is_after(end));
        let hears = segment.flags.ack() && side.acked.is_none_or(|acked| segment.ack.is_after(acked));
        if let Some(open) = stall.as_deref_mut() {
            if open.party == sender {
                if (segment.span() > 0 || open.trying == Trying::Probe) && !segment.flags.rst() {
                    open.add(sighting);
                }
            } else if is_new || hears || segment.flags.rst() || segment.flags.fin() || open.trying == Trying::Probe {
                *stall = None;
            } else {
                open.echoes = open.echoes.saturating_add(1);
            }
            return;
        }
        if is_new || segment.flags.syn() || segment.flags.rst() || peer.packets == 0 {
            return;
        }
        let Some((trying, before)) = Self::repeated(vain, segment, side, peer) else {
            return;
        };
        if peer.fin.is_some() || peer.reset.is_some() {
            return;
        }
        let sent = before.as_ref().or(side.last_data());
        let mut open = Box::new(Self {
            party: sender,
            trying,
            frames: before.iter().map(|note| note.frame).collect(),
            tries: u16::from(before.is_some()),
            first: before.map_or(sighting.packet.frame.at, |note| note.at),
            last: sighting.packet.frame.at,
            idle: sent.map_or(Duration::ZERO, |sent| sent.at.since(peer.last_at.unwrap_or(sent.at))),
            echoes: 0,
        });
        open.add(sighting);
        *stall = Some(open);
    }

    /// What a segment that brings nothing new repeats in vain, if it does, and the packet that was already in vain.
    fn repeated(vain: Vain, segment: &Segment<'_>, side: &Side, peer: &Side) -> Option<(Trying, Option<Note>)> {
        let unheard = peer.acked.is_none_or(|acked| segment.end().is_after(acked));
        // A keep-alive repeats one byte at most (RFC 1122 section 4.2.3.6).
        if segment.payload_len > 1 {
            return unheard.then_some((Trying::Data, None));
        }
        match vain {
            Vain::Data => None,
            Vain::Anything if segment.flags.fin() => (unheard && side.fin.is_some()).then_some((Trying::End, side.fin)),
            Vain::Anything => {
                let probed = side.notes().next().filter(|note| {
                    note.seq == segment.seq && note.span == segment.span() && note.at >= peer.last_at.unwrap_or(note.at)
                });
                (side.end == Some(segment.seq.plus(1)))
                    .then_some((Trying::Probe, probed.copied()))
                    .filter(|(_, probed)| probed.is_some())
            }
        }
    }

    fn add(&mut self, sighting: &Sighting<'_>) {
        self.tries = self.tries.saturating_add(1);
        self.last = sighting.packet.frame.at;
        let _ = self.frames.try_push(sighting.packet.frame.number);
    }
}
