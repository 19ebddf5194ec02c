//! One detector and one conversation, for tests of what the detector makes of each packet.

use super::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use crate::finding::docket::Docket;
use crate::finding::finding::Finding;
use crate::flow::talk::{Sent, Talk};
use crate::time::Timestamp;

/// A conversation as `detector` sees it.
pub(crate) struct Trial<D: Detector> {
    pub(crate) detector: D,
    pub(crate) talk: Talk,
    pub(crate) memory: D::Memory,
    pub(crate) habits: D::Habits,
    docket: Docket,
    now: u64,
}

impl<D: Detector> Trial<D> {
    /// A conversation with `port` of the server that has not begun.
    pub(crate) fn of(detector: D, port: u16) -> Self {
        Self {
            memory: D::Memory::default(),
            habits: detector.habits(),
            detector,
            talk: Talk::with(port),
            docket: Docket::default(),
            now: 0,
        }
    }

    /// Shows the detector `packets`, 10 ms apart, and what it thinks of each.
    pub(crate) fn show(&mut self, packets: &[Sent<'_>]) -> Vec<Attention> {
        packets
            .iter()
            .map(|packet| {
                self.now += 10;
                self.show_at(self.now, packet)
            })
            .collect()
    }

    /// Shows the detector a packet that comes at so many milliseconds.
    pub(crate) fn show_at(&mut self, millis: u64, packet: &Sent<'_>) -> Attention {
        self.now = millis;
        let mut attention = Attention::Idle;
        self.talk.say_at(millis, packet, |shown| {
            let sighting = Sighting {
                packet: shown.packet,
                carried: Carried::Segment(shown.segment),
                sender: shown.sender,
                flow: shown.flow,
                heads: shown.heads,
                conflict: shown.conflict,
            };
            attention = self.detector.observe(&sighting, &mut self.memory, &mut self.habits);
        });
        attention
    }

    /// Whether ordinary packets show it nothing now.
    pub(crate) fn rests(&self) -> bool {
        self.detector.rests(self.talk.flow(), &self.memory)
    }

    /// The flow, concluded as of now.
    pub(crate) fn conclusion(&self, ending: Ending) -> Conclusion<'_> {
        conclusion(&self.talk, self.now, ending)
    }

    /// What it files as of now.
    pub(crate) fn conclude(&mut self, ending: Ending) -> Vec<Finding> {
        let conclusion = conclusion(&self.talk, self.now, ending);
        self.detector
            .conclude(&conclusion, &mut self.memory, &mut self.habits, &mut self.docket);
        self.docket.take()
    }
}

fn conclusion(talk: &Talk, millis: u64, ending: Ending) -> Conclusion<'_> {
    Conclusion {
        flow: talk.flow(),
        heads: &talk.stores.heads,
        ending,
        at: Timestamp::from_nanos(millis * 1_000_000),
    }
}
