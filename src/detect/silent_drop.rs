//! `silent_drop`: a request that is swallowed on the way.
//!
//! # What it sees
//! The handshake, the packet with the name, its repetitions, and whether the server ever reacted.
//!
//! # How it tells
//! The handshake works, the request is repeated and never acknowledged, or acknowledged and followed by nothing, and so
//! is all else the client sends. One such flow proves little: networks lose packets and servers die. What the other flows
//! show decides: the same name fails again and again at the very packet that carries it, while the same server, in the
//! same capture, serves other names.
//!
//! # What it mistakes
//! A server that dies, a path that loses large packets (path MTU), a firewall between the tap and the client: without
//! flows to compare with, the verdict stays below `likely`. A flow that the capture left too early is not judged.
//!
//! # References
//! wire-facts 7.1, 7.2, 8. Bock et al., "Your Censor is My Censor", WOOT 2021 (residual drops). OONI, "Kazakhstan: TLS
//! MITM attacks and blocking", 2024 (sessions that time out after the ClientHello). Niaki et al., ICLab, 2020 (how rarely
//! one flow suffices).

use std::time::Duration;

use arrayvec::ArrayVec;

use super::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, Observation};
use crate::finding::finding::{Finding, Kind, Particulars, Party, Position, Stage};
use crate::finding::verdict::Prior;
use crate::flow::flow_table::Recycle;
use crate::flow::side::Side;
use crate::packet::frame::FrameNumber;
use crate::time::Timestamp;

/// Repetitions of a request that are named.
const NAMED: usize = 8;

/// The client must have waited this long for an answer, in packets it went on sending: three repetitions of Linux and
/// Windows lie within it (RFC 6298: 1 s at the most at first, then doubling).
const WAITED: Duration = Duration::from_secs(2);

/// A request larger than this may have been lost for its size (an Ethernet path without room for a tunnel's headers).
const LARGE: u32 = 1200;

/// Finds requests that are swallowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentDrop;

/// What is kept of one flow.
#[derive(Debug, Default)]
pub struct Memory {
    /// The request, once it is known.
    request: Option<FrameNumber>,
    /// Its repetitions, and what else the client sent in vain.
    in_vain: ArrayVec<FrameNumber, NAMED>,
    repeated: u16,
    last_in_vain: Option<Timestamp>,
    /// The server acknowledged the request.
    acknowledged: bool,
    /// The server sent data or closed: nothing was swallowed.
    answered: bool,
    filed: bool,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

impl Detector for SilentDrop {
    const KIND: Kind = Kind::SilentDrop;
    type Memory = Memory;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, (): &mut ()) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        let Some(asked) = sighting.flow.asked.as_ref().filter(|_| !memory.answered) else {
            return Attention::Idle;
        };
        if memory.request.is_none() {
            // Only the first request of a flow: a server that has answered one is reachable.
            memory.answered = sighting.flow.side(Party::Server).data_packets > 0;
            memory.request = Some(asked.frame);
        }
        match sighting.sender {
            Party::Server if segment.flags.syn() => {}
            Party::Server if segment.payload_len > 0 || segment.flags.fin() || segment.flags.rst() => {
                memory.answered = true;
            }
            Party::Server => memory.acknowledged |= segment.flags.ack() && segment.ack.ahead_of(asked.end) >= 0,
            Party::Client if segment.span() > 0 && !segment.flags.rst() => {
                memory.repeated = memory.repeated.saturating_add(u16::from(segment.seq == asked.seq));
                let _ = memory.in_vain.try_push(sighting.packet.frame.number);
                memory.last_in_vain = Some(sighting.packet.frame.at);
                if memory.in_vain.len() == 2 {
                    return Attention::Suspicious;
                }
            }
            Party::Client => {}
        }
        Attention::Idle
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, (): &mut (), docket: &mut Docket) {
        let flow = conclusion.flow;
        let enough = match conclusion.ending {
            // The client may go on trying, and other flows tell more than this one.
            Ending::SuspicionDue => false,
            Ending::Over | Ending::Evicted | Ending::CaptureEnded => true,
        };
        let (Some(asked), Some(last)) = (&flow.asked, memory.last_in_vain) else {
            return;
        };
        let handshake = flow.side(Party::Server).opening.is_some() && flow.side(Party::Client).opening.is_some();
        if memory.filed || memory.answered || !enough || !handshake || last.since(asked.at) < WAITED {
            return;
        }
        memory.filed = true;
        let mut swallowed = vec![asked.frame];
        swallowed.extend(memory.in_vain.iter().copied());
        let tries = memory.in_vain.len() as u16 + 1;
        let mut evidence = vec![Evidence::at(
            if memory.acknowledged {
                Observation::AcknowledgedThenSilence { tries }
            } else {
                Observation::RequestUnanswered { tries }
            },
            &swallowed,
        )];
        if asked.end.ahead_of(asked.seq) as u32 > LARGE && !memory.acknowledged {
            evidence.push(Evidence::at(Observation::LargeRequest, &[asked.frame]));
        }
        if is_server_repeating_itself(flow.side(Party::Server)) {
            evidence.push(Evidence::at(Observation::ServerStillWaits, &[]));
        }
        docket.file(Finding {
            kind: Kind::SilentDrop,
            conversation: flow.conversation(),
            decided_by: asked.frame,
            at: asked.at,
            stage: Some(if memory.acknowledged {
                Stage::PostPsh
            } else {
                Stage::PostAck
            }),
            signature: Some(if memory.acknowledged {
                "PSH+ACK -> ∅"
            } else {
                "SYN;ACK -> ∅"
            }),
            claimed_sender: None,
            position: Position::InPath,
            trigger: Some(asked.trigger()),
            forged: Vec::new(),
            genuine: Vec::new(),
            dropped: swallowed,
            prior: Prior::Abnormal,
            evidence,
            injector: None,
            particulars: Particulars::default(),
        });
    }
}

/// A server that repeats its SYN-ACK is alive and hears nothing of what the client sends.
fn is_server_repeating_itself(server: &Side) -> bool {
    match (&server.opening, &server.last_opening) {
        (Some(first), Some(last)) => last.at > first.at,
        _ => false,
    }
}
