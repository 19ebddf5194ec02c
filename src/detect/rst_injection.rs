//! `rst_injection`: a TCP reset its claimed sender did not send.
//!
//! # What it sees
//! Resets of both sides, what the stream looked like before them, and what the same sender does afterwards.
//!
//! # How it tells
//! A sender that resets has nothing more to say: data at or above its reset, a reset below data already sent, a second
//! reset ahead of everything, or a SYN-ACK for the SYN just refused contradict it (Weaver, Sommer, Paxson, NDSS 2009).
//! Marks of the packet (IP id copied from the trigger, TTL, link address), its timing after a request, bursts, and exact
//! constants of known devices speak for a forger; each is weighed, and the same marks as the sender's speak against.
//!
//! # What it mistakes
//! Firewalls and balancers reset in a server's name with their own TTL: a TTL alone never convicts. A box that rewrites
//! the server's own packet into a reset leaves no mark: such a flow alone stays below `likely`. Resets after a FIN, after
//! the peer's reset, after long silence, of a closed port or by a client that has got its answer are ordinary.
//!
//! # References
//! Weaver et al., "Detecting Forged TCP Reset Packets", NDSS 2009. Sundara Raman et al., "Global, Passive Detection of
//! Connection Tampering", SIGCOMM 2023. wire-facts sections 2, 3 and 6.

use crate::detect::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use crate::finding::docket::Docket;
use crate::finding::finding::{Kind, Party};
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::packet::packet::Segment;

mod case;
mod devices;
#[cfg(test)]
mod stories;
mod weigh;

use case::{Case, Contradiction};

/// How long after a reset its sender's data contradicts it (Weaver et al.: 2 s).
const CONTRADICTS_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// A stray reset of another connection lies anywhere; one that is meant to be accepted lies within a window of the
/// stream (RFC 7323: at most 2^30; here 2^24, more than any window that is not filled within 2 s).
const NEAR: i32 = 1 << 24;

/// Finds forged resets.
#[derive(Clone, Copy, Debug, Default)]
pub struct RstInjection;

/// What is kept of one flow: a case for each claimed sender, once there is a reset.
#[derive(Debug, Default)]
pub struct Memory {
    client: Option<Box<Case>>,
    server: Option<Box<Case>>,
}

impl Memory {
    const fn case(&mut self, sender: Party) -> &mut Option<Box<Case>> {
        match sender {
            Party::Client => &mut self.client,
            Party::Server => &mut self.server,
        }
    }
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

impl Detector for RstInjection {
    const KIND: Kind = Kind::RstInjection;
    type Memory = Memory;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, (): &mut ()) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        if segment.flags.rst() {
            return match memory.case(sighting.sender) {
                Some(case) => {
                    case.add(sighting, segment);
                    Attention::Idle
                }
                none => {
                    *none = Some(Box::new(Case::open(sighting, segment)));
                    Attention::Suspicious
                }
            };
        }
        if let Some(case) = memory.case(sighting.sender) {
            contradict(case, sighting, segment);
        }
        if segment.flags.syn()
            && !segment.flags.ack()
            && let Some(case) = memory.case(sighting.sender.peer())
        {
            case.syns_after = case.syns_after.saturating_add(1);
        }
        Attention::Idle
    }

    fn rests(&self, _flow: &Flow, memory: &Self::Memory) -> bool {
        memory.client.is_none() && memory.server.is_none()
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, (): &mut (), docket: &mut Docket) {
        for sender in [Party::Client, Party::Server] {
            let Some(case) = memory.case(sender) else { continue };
            if case.filed {
                continue;
            }
            let finding = weigh::weigh(case, sender, conclusion);
            let judgement = finding.judgement();
            // A suspicion that is due but not proven may still gain from what comes later.
            let enough = match conclusion.ending {
                Ending::SuspicionDue => judgement.verdict.is_some(),
                Ending::Over | Ending::Evicted | Ending::CaptureEnded => judgement.log_odds >= WORTH_FILING,
            };
            if enough {
                case.filed = true;
                docket.file(finding);
            }
        }
    }
}

/// Log-odds from which evidence of other flows may still lift a finding to `possible` (the cap of that group is 6).
const WORTH_FILING: f64 = -3.0;

/// Notes what a packet after a reset of the same claimed sender says about that reset.
fn contradict(case: &mut Case, sighting: &Sighting<'_>, segment: &Segment<'_>) {
    let first = case.resets[0].note;
    let frame = sighting.packet.frame;
    let after = frame.at.since(first.at);
    if after > CONTRADICTS_WITHIN || case.before.fin.is_some() || case.before.peer_reset.is_some() {
        return;
    }
    let accepts_refused_syn = segment.flags.syn()
        && segment.flags.ack()
        && sighting.sender == Party::Server
        && case.syns_after == 0
        && case.before.sender_end.is_none()
        && case.before.peer_end == Some(segment.ack);
    let ahead = segment.end().ahead_of(first.seq);
    let sends_on = segment.payload_len > 0 && !segment.flags.syn() && (1..NEAR).contains(&ahead);
    let contradiction = if accepts_refused_syn {
        Contradiction::SynAck(after)
    } else if sends_on {
        Contradiction::Data(after)
    } else {
        return;
    };
    case.contradiction.get_or_insert(contradiction);
    let _ = case.genuine.try_push(frame.number);
}
