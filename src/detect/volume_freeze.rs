//! `volume_freeze`: a flow that is healthy until so many bytes or packets, and then freezes.
//!
//! # What it sees
//! How much both sides had sent when one of them began to repeat itself in vain.
//!
//! # How it tells
//! The flow carried kilobytes, then nothing got through any more: no new data, no acknowledgement, no reset, no FIN, only
//! repetitions. One such flow proves little. That flow after flow freezes at the same volume does.
//!
//! # What it mistakes
//! Radio links that break, hosts that go to sleep, address translation that forgets. A flow that the capture left before
//! two seconds of repetitions is not judged; nor is one that had been idle before. Where the capture sees the client's
//! side alone and the client has nothing to send, a frozen download looks like a slow server and is not told.
//!
//! # References
//! wire-facts 3.3 and 7.4; net4people/bbs 490.

use super::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use super::stall::Stall;
use crate::finding::docket::Docket;
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind, Particulars, Party, Position, Stage, Volume};
use crate::finding::verdict::Prior;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;

/// Less is no volume: silence then is a matter of the request (bytes of payload, and packets, of both sides).
pub(super) const LEAST_BYTES: u64 = 10_000;
const LEAST_PACKETS: u32 = 20;

/// The volumes at which boxes are known to freeze, in bytes and packets, with a margin for headers and handshakes
/// (net4people/bbs 490: 14-32 KB, about 25 packets).
const TYPICAL_BYTES: std::ops::RangeInclusive<u64> = 14_000..=34_000;
const TYPICAL_PACKETS: std::ops::RangeInclusive<u32> = 20..=32;

/// Finds flows that freeze.
#[derive(Clone, Copy, Debug, Default)]
pub struct VolumeFreeze;

/// What is kept of one flow.
#[derive(Debug, Default)]
pub struct Memory {
    stall: Option<Box<Stall>>,
    volume: Volume,
    filed: bool,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

/// What both sides of a flow have sent so far.
pub(super) fn volume(flow: &Flow) -> Volume {
    let (client, server) = (flow.side(Party::Client), flow.side(Party::Server));
    Volume {
        bytes: client.bytes + server.bytes,
        packets: client.packets.saturating_add(server.packets),
    }
}

/// Whether so much has passed that silence is a matter of volume.
pub(super) const fn is_volume(volume: Volume) -> bool {
    volume.bytes >= LEAST_BYTES && volume.packets >= LEAST_PACKETS
}

impl Detector for VolumeFreeze {
    const KIND: Kind = Kind::VolumeFreeze;
    type Memory = Memory;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, (): &mut ()) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        let had = memory.stall.is_some();
        Stall::watch(&mut memory.stall, sighting, segment);
        if !had && memory.stall.is_some() {
            memory.volume = volume(sighting.flow);
        }
        Attention::Idle
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, (): &mut (), docket: &mut Docket) {
        let over = match conclusion.ending {
            Ending::SuspicionDue => false,
            Ending::Over | Ending::Evicted | Ending::CaptureEnded => true,
        };
        let flow = conclusion.flow;
        let Some(stall) = memory.stall.as_deref().filter(|stall| stall.is_silence()) else {
            return;
        };
        if memory.filed || !over || !is_volume(memory.volume) || flow.side(stall.party).fin.is_some() {
            return;
        }
        let Some(first) = stall.frames.first().copied() else {
            return;
        };
        memory.filed = true;
        let Volume { bytes, packets } = memory.volume;
        let frozen = DropsObservation::FrozenAfter {
            bytes,
            packets,
            tries: stall.tries,
        };
        let mut evidence = vec![Evidence::at(Observation::Drops(frozen), &stall.frames)];
        if TYPICAL_BYTES.contains(&bytes) || TYPICAL_PACKETS.contains(&packets) {
            evidence.push(Evidence::at(
                Observation::Drops(DropsObservation::FreezeTypicalVolume),
                &[],
            ));
        }
        docket.file(Finding {
            kind: Kind::VolumeFreeze,
            conversation: flow.conversation(),
            decided_by: first,
            at: stall.first,
            stage: Some(Stage::LaterInFlow),
            signature: None,
            claimed_sender: None,
            position: Position::InPath,
            trigger: flow.asked.as_ref().map(crate::flow::asked::Asked::trigger),
            forged: Vec::new(),
            genuine: Vec::new(),
            dropped: stall.frames.to_vec(),
            prior: Prior::Abnormal,
            evidence,
            injector: None,
            particulars: Particulars {
                volume: Some(memory.volume),
                ..Particulars::default()
            },
        });
    }
}
