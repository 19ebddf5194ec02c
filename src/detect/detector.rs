//! The seam every detector fits.

use std::time::Duration;

use crate::finding::docket::Docket;
use crate::finding::finding::{Kind, Party};
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::flow::heads::{Conflict, Heads};
use crate::packet::packet::{Datagram, IcmpError, Packet, Segment};
use crate::time::Timestamp;

/// What a packet carries, as far as detectors care.
#[derive(Clone, Copy, Debug)]
pub enum Carried<'a> {
    /// A TCP segment.
    Segment(&'a Segment<'a>),
    /// A UDP datagram.
    Datagram(&'a Datagram<'a>),
    /// An ICMP error that quotes a packet of the flow, without being part of it: the flow does not learn it.
    IcmpError(&'a IcmpError),
}

/// A packet, and what was known of its flow before it.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// The packet.
    pub packet: &'a Packet<'a>,
    /// What it carries.
    pub carried: Carried<'a>,
    /// Who claims to have sent it; for an ICMP error, who sent what it quotes.
    pub sender: Party,
    /// Its flow, as it was before this packet.
    pub flow: &'a Flow,
    /// The first bytes of both directions, as they were before this packet.
    pub heads: &'a Heads,
    /// How its payload contradicts what its sender sent before, if it does.
    pub conflict: Option<Conflict>,
}

/// How long a suspicion is kept open for what else arrives (2 s as Weaver et al. keep it, and some for a slow link);
/// live, a finding is out within 3 s of the packet that decided it.
pub const HELD_OPEN: Duration = Duration::from_millis(2_500);

/// Whether a detector wants to be asked again soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attention {
    /// Nothing out of the ordinary.
    Idle,
    /// A suspicion: [`Detector::conclude`] is called [`HELD_OPEN`] later with [`Ending::SuspicionDue`].
    Suspicious,
}

/// Why a flow is concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is not over, but a suspicion has been open for [`HELD_OPEN`]. May come several times.
    SuspicionDue,
    /// It was silent until its deadline, or another flow began on the same ports.
    Over,
    /// It was given up because the flow table was full.
    Evicted,
    /// The capture ended.
    CaptureEnded,
}

impl Ending {
    /// Whether nothing more of the flow will be seen.
    #[must_use]
    pub const fn is_over(self) -> bool {
        match self {
            Self::SuspicionDue => false,
            Self::Over | Self::Evicted | Self::CaptureEnded => true,
        }
    }
}

/// A flow to be concluded.
#[derive(Clone, Copy, Debug)]
pub struct Conclusion<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// The first bytes of both directions.
    pub heads: &'a Heads,
    /// Why.
    pub ending: Ending,
    /// The moment it is concluded as of: a deadline, not the time of the sweep.
    pub at: Timestamp,
}

/// Judges one kind of blocking. It holds settings only: what it has seen of a flow lies in [`Self::Memory`], what it has
/// learnt of the hosts of its shard in [`Self::Habits`]; both are bounded.
pub trait Detector {
    /// What it finds.
    const KIND: Kind;
    /// What it keeps of one flow.
    type Memory: Recycle;
    /// What it keeps of the hosts of one shard; both directions of a host pair always meet in the same shard.
    type Habits;

    /// Nothing learnt yet.
    fn habits(&self) -> Self::Habits;

    /// Sees a packet.
    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Self::Memory, habits: &mut Self::Habits) -> Attention;

    /// Whether ordinary packets ([`Flow::is_ordinary`]) of this flow, as it is now, show it nothing but what
    /// [`Self::pass`] takes in. As long as all detectors say so, the flow's ordinary packets are not observed.
    fn rests(&self, flow: &Flow, memory: &Self::Memory) -> bool;

    /// Whether it may still look into the first bytes of either direction, in a flow it rests in. Bytes that no detector
    /// asks for are not kept.
    fn reads_on(&self, _memory: &Self::Memory) -> bool {
        false
    }

    /// Sees an ordinary packet of a flow it rests in.
    fn pass(&self, _sighting: &Sighting<'_>, _memory: &mut Self::Memory, _habits: &mut Self::Habits) {}

    /// Says what was found, once: a finding that has been filed is not filed again.
    fn conclude(
        &self,
        conclusion: &Conclusion<'_>,
        memory: &mut Self::Memory,
        habits: &mut Self::Habits,
        docket: &mut Docket,
    );
}
