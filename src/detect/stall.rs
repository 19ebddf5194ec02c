//! Whether one side of a flow repeats itself and is not heard any more. Shared by the judges of swallowed packets.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::detector::Sighting;
use crate::finding::finding::Party;
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

/// A side that repeats itself since the other one was last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stall {
    /// Who repeats itself.
    pub(super) party: Party,
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
        let flow = sighting.flow;
        let sender = sighting.sender;
        let (side, peer) = (flow.side(sender), flow.side(sender.peer()));
        let is_new = segment.span() > 0 && side.end.is_none_or(|end| segment.end().is_after(end));
        let hears = segment.flags.ack() && side.acked.is_none_or(|acked| segment.ack.is_after(acked));
        if let Some(open) = stall.as_deref_mut() {
            if open.party == sender {
                if segment.span() > 0 && !segment.flags.rst() {
                    open.add(sighting);
                }
            } else if is_new || hears || segment.flags.rst() || segment.flags.fin() {
                *stall = None;
            } else {
                open.echoes = open.echoes.saturating_add(1);
            }
            return;
        }
        // A keep-alive repeats one byte at most (RFC 1122 section 4.2.3.6).
        let repeats = segment.payload_len > 1
            && !is_new
            && !segment.flags.syn()
            && !segment.flags.rst()
            && peer.acked.is_none_or(|acked| segment.end().is_after(acked));
        if repeats && peer.fin.is_none() && peer.reset.is_none() && peer.packets > 0 {
            let mut open = Box::new(Self {
                party: sender,
                frames: ArrayVec::new(),
                tries: 0,
                first: sighting.packet.frame.at,
                last: sighting.packet.frame.at,
                idle: side.last_data.map_or(Duration::ZERO, |sent| {
                    let before = peer.last_at.unwrap_or(sent.at);
                    sent.at.since(before)
                }),
                echoes: 0,
            });
            open.add(sighting);
            *stall = Some(open);
        }
    }

    fn add(&mut self, sighting: &Sighting<'_>) {
        self.tries = self.tries.saturating_add(1);
        self.last = sighting.packet.frame.at;
        let _ = self.frames.try_push(sighting.packet.frame.number);
    }
}
