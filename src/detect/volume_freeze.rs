//! `volume_freeze`: a flow that is healthy until so many bytes or packets, and then freezes.
//!
//! # What it sees
//! How much had been acknowledged both ways when one side began to repeat itself in vain: its data, its FIN or its
//! keep-alives.
//!
//! # How it tells
//! The flow carried kilobytes, broke off in the middle of a transfer, and then nothing got through any more: no new data,
//! no acknowledgement, no reset, no FIN. One such flow proves little. That flow after flow freezes at the same volume does:
//! a flow counts only if its server answered it after the one before had frozen, so that an outage counts once however
//! many flows it cuts. Others that carry far more meanwhile show that the line is well.
//!
//! # What it mistakes
//! Radio links that break, hosts that go to sleep, servers that die, address translation that forgets: each freezes flows
//! at one moment, at any volume. A flow that the capture left before two seconds of repetitions is not judged, nor is one
//! that had been idle for a minute before, nor one whose opening was not seen. A client that waits for a frozen download
//! and then resets, or says nothing until the capture ends, looks as if its server were slow and is not told. Where the
//! tap sits between the box and the server, the volume is what was acknowledged, a little less than what passed.
//!
//! # References
//! wire-facts 3.3 and 7.4; net4people/bbs 490.

use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::stall::{Stall, Trying, Vain};
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

/// What of both sides of a flow has been acknowledged so far, and the packets that took.
pub(super) fn volume(flow: &Flow) -> Volume {
    let delivered = |party: Party| {
        let acked = flow.side(party.peer()).acked;
        let ahead = acked
            .zip(flow.first_byte(party))
            .map_or(0, |(acked, first)| acked.ahead_of(first));
        u64::try_from(ahead).unwrap_or(0)
    };
    let (client, server) = (flow.side(Party::Client), flow.side(Party::Server));
    Volume {
        bytes: delivered(Party::Client) + delivered(Party::Server),
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
        let few =
            || sighting.flow.side(Party::Client).packets + sighting.flow.side(Party::Server).packets < LEAST_PACKETS;
        if !had && few() {
            return Attention::Idle;
        }
        Stall::watch_for(Vain::Anything, &mut memory.stall, sighting, segment);
        if !had && memory.stall.is_some() {
            memory.volume = volume(sighting.flow);
        }
        Attention::Idle
    }

    fn rests(&self, _flow: &Flow, memory: &Self::Memory) -> bool {
        memory.stall.is_none()
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, (): &mut (), docket: &mut Docket) {
        let over = conclusion.ending.is_over();
        let flow = conclusion.flow;
        let Some(stall) = memory.stall.as_deref().filter(|stall| stall.is_silence()) else {
            return;
        };
        let closed_before = flow.side(stall.party).fin.is_some_and(|fin| fin.at < stall.first);
        if memory.filed || !over || !is_volume(memory.volume) || closed_before || !breaks_off(flow, stall) {
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

/// Whether the flow stopped in the middle of a transfer. A server that repeats itself does so by itself; a client that
/// does may only be asking again, or leaving: then it is the server's last segment that tells, as long as its largest
/// where an answer's end would be shorter.
fn breaks_off(flow: &Flow, stall: &Stall) -> bool {
    let (client, server) = (flow.side(Party::Client), flow.side(Party::Server));
    match stall.party {
        Party::Server => stall.trying == Trying::Data,
        Party::Client => {
            let cut = server
                .last_data()
                .is_some_and(|last| last.span == u32::from(server.largest));
            cut || (stall.trying == Trying::Data && client.bytes >= LEAST_BYTES)
        }
    }
}
