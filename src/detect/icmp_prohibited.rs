//! `icmp_prohibited`: a box on the way says by ICMP that a flow is administratively prohibited.
//!
//! # What it sees
//! ICMP type 3 code 9, 10 or 13 and ICMPv6 type 1 code 1, 5 or 6 that quote a packet of a flow in the capture, who sent
//! them, what they quote, and what becomes of the flow.
//!
//! # How it tells
//! The quote must fit: a packet its sender has sent, to an end of the flow, by one that is not the destination. That the
//! handshake passed and the packet with a name was refused is the work of a box that reads names. A refused SYN is the
//! work of a rule for addresses, and whose rule it is takes the other flows to tell: that the same client reaches others
//! meanwhile, that several clients and ports are concerned, how far away the box and the destination are.
//!
//! # What it mistakes
//! Firewalls of destinations, and of networks around them, refuse with the same errors; one of those in a host's own
//! name is its own, one from a stranger near the host is held to be its network's. Rules of the client's own network look
//! like a censor's. An error that is forged from afar is recognised by what it quotes, or by the flow that goes on.
//!
//! # References
//! RFC 1812 section 5.2.7.1, RFC 4443 section 3.1, RFC 5927 (what a forged error would have to know). wire-facts 7.6.

use std::net::IpAddr;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::filing::{Early, Filing};
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, IcmpObservation, Observation};
use crate::finding::finding::{Finding, Injector, Kind, Particulars, Party, Position, Stage, Trigger, TriggerKind};
use crate::finding::verdict::Prior;
use crate::flow::flow::Flow;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{IcmpError, Packet, Segment, SequenceNumber};
use crate::packet::path_marks::PathMarks;
use crate::payload::address_class::AddressClass;
use crate::time::Timestamp;

/// Errors, and refused packets, that are named.
const NAMED: usize = 8;

/// An error comes this soon after what it quotes; later ones quote what has been forgotten.
const PROMPT: Duration = Duration::from_secs(10);

/// Finds flows that are forbidden by ICMP.
#[derive(Clone, Copy, Debug, Default)]
pub struct IcmpProhibited;

/// The errors of one flow.
#[derive(Debug)]
pub struct Case {
    code: u8,
    speaker: IpAddr,
    marks: PathMarks,
    first: FrameNumber,
    at: Timestamp,
    stage: Stage,
    /// Whose packets are refused.
    refused: Party,
    /// The first refused packet's place in its sender's stream; none for datagrams.
    seq: Option<SequenceNumber>,
    /// Its TTL where the tap is, and where it was refused.
    ttl_at_tap: Option<u8>,
    quoted_ttl: u8,
    errors: ArrayVec<FrameNumber, NAMED>,
    packets: ArrayVec<FrameNumber, NAMED>,
    /// Packets sent in vain, from the first refused one on.
    tries: u16,
    arrived: bool,
}

/// Whether the error says "prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
pub(super) const fn says_prohibited(error: &IcmpError, speaker: IpAddr) -> bool {
    match speaker {
        IpAddr::V4(_) => error.icmp_type == 3 && matches!(error.code, 9 | 10 | 13),
        IpAddr::V6(_) => error.icmp_type == 1 && matches!(error.code, 1 | 5 | 6),
    }
}

impl Detector for IcmpProhibited {
    const KIND: Kind = Kind::IcmpProhibited;
    type Memory = Filing<Case>;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, filing: &mut Filing<Case>, (): &mut ()) -> Attention {
        match sighting.carried {
            Carried::IcmpError(error) => {
                if says_prohibited(error, sighting.packet.from.ip) {
                    return error_seen(sighting, error, filing);
                }
            }
            Carried::Segment(segment) => {
                if let Some(case) = filing.case() {
                    case.segment(sighting, segment);
                }
            }
            Carried::Datagram(_) => {
                if let Some(case) = filing.case() {
                    case.arrived |= sighting.sender != case.refused;
                    case.tries = case.tries.saturating_add(u16::from(sighting.sender == case.refused));
                }
            }
        }
        Attention::Idle
    }

    fn rests(&self, _flow: &Flow, filing: &Self::Memory) -> bool {
        filing.is_empty()
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, filing: &mut Filing<Case>, (): &mut (), docket: &mut Docket) {
        filing.conclude(conclusion, Early::Nothing, docket, |case| Some(weigh(case, conclusion)));
    }
}

/// An error that forbids this flow; `sighting.sender` sent what it quotes.
fn error_seen(sighting: &Sighting<'_>, error: &IcmpError, filing: &mut Filing<Case>) -> Attention {
    let flow = sighting.flow;
    let packet: &Packet<'_> = sighting.packet;
    let side = flow.side(sighting.sender);
    let is_for_its_sender = packet.to.ip == error.quoted_from.ip;
    let prompt = side.last_at.is_some_and(|last| packet.frame.at.since(last) <= PROMPT);
    // What goes to a private address is refused by those who run it.
    let public = AddressClass::of(error.quoted_to.ip) == AddressClass::Public;
    if !is_for_its_sender || !prompt || !public {
        return Attention::Idle;
    }
    let quoted = error
        .quoted_seq
        .filter(|_| flow.is_tcp())
        .map(|seq| side.notes().find(|note| note.seq == seq));
    let quoted = match quoted {
        // It quotes what was not sent: made up by someone who does not see the flow.
        Some(None) => return Attention::Idle,
        Some(Some(note)) => Some(note),
        None if flow.is_tcp() => return Attention::Idle,
        None => None,
    };
    let case = filing.case_or(|| Case {
        code: error.code,
        speaker: packet.from.ip,
        marks: packet.marks,
        first: packet.frame.number,
        at: packet.frame.at,
        stage: match quoted {
            Some(note) if note.flags.syn() => Stage::PostSyn,
            Some(_) => flow.stage(),
            None => Stage::PostSyn,
        },
        refused: sighting.sender,
        seq: quoted.map(|note| note.seq),
        ttl_at_tap: quoted
            .map(|note| note.marks.ttl)
            .or_else(|| side.profile.last().map(|marks| marks.ttl)),
        quoted_ttl: error.quoted_ttl,
        errors: ArrayVec::new(),
        packets: ArrayVec::new(),
        tries: 1,
        arrived: false,
    });
    let _ = case.errors.try_push(packet.frame.number);
    if let Some(note) = quoted
        && !case.packets.contains(&note.frame)
    {
        let _ = case.packets.try_push(note.frame);
    }
    Attention::Idle
}

impl Case {
    fn segment(&mut self, sighting: &Sighting<'_>, segment: &Segment<'_>) {
        let Some(seq) = self.seq else { return };
        if sighting.sender == self.refused {
            self.tries = self
                .tries
                .saturating_add(u16::from(segment.span() > 0 && !segment.flags.rst()));
        } else {
            self.arrived |= segment.flags.ack() && !segment.flags.rst() && segment.ack.is_after(seq);
        }
    }

    /// Hops from the tap to where the packet was refused: by the TTL it had there or, where the quote cannot be right, by
    /// the TTL the error came with.
    fn hops(&self) -> u8 {
        self.ttl_at_tap
            .and_then(|ttl| ttl.checked_sub(self.quoted_ttl))
            .filter(|hops| *hops <= 40)
            .unwrap_or_else(|| self.marks.hops())
    }
}

fn weigh(case: &Case, conclusion: &Conclusion<'_>) -> Finding {
    let flow = conclusion.flow;
    let mut evidence = Vec::new();
    let mut add = |observation, frames: &[FrameNumber]| {
        evidence.push(Evidence::at(Observation::Icmp(observation), frames));
    };
    let code = case.code;
    add(
        if matches!((case.speaker, code), (IpAddr::V6(_), 5 | 6)) {
            IcmpObservation::SaysUnroutable { code }
        } else {
            IcmpObservation::SaysProhibited { code }
        },
        &case.errors,
    );
    // A name may be spread over several packets; each of them carries the request.
    let asked = flow
        .asked
        .as_ref()
        .filter(|asked| match (case.seq, flow.first_byte(Party::Client)) {
            (Some(seq), Some(first)) => {
                case.refused == Party::Client && seq.ahead_of(first) >= 0 && asked.end.is_after(seq)
            }
            _ => false,
        });
    let far_end = flow.conversation();
    let (destination, destination_side) = match case.refused {
        Party::Client => (far_end.server, flow.side(Party::Server)),
        Party::Server => (far_end.client, flow.side(Party::Client)),
    };
    if let Some(asked) = asked
        && flow.side(Party::Server).opening.is_some()
        && !asked.name.is_empty()
    {
        add(IcmpObservation::RefusesTheName, &[asked.frame, case.first]);
    }
    if case.arrived {
        add(IcmpObservation::ArrivedAllTheSame, &[]);
    } else {
        add(IcmpObservation::FlowDied { tries: case.tries }, &case.packets);
    }
    if case.speaker == destination.ip {
        add(IcmpObservation::SaidByTheDestination, &[case.first]);
    } else if AddressClass::of(case.speaker) != AddressClass::Public {
        add(IcmpObservation::SaidNextDoor, &[case.first]);
    }
    if let Some(marks) = destination_side.profile.last() {
        let hops = case.hops();
        let destination = marks.hops();
        if hops + 1 >= destination {
            add(
                IcmpObservation::AtTheDestinationsDoor { hops, destination },
                &[case.first],
            );
        }
    }
    let trigger = match asked {
        Some(asked) => Some(asked.trigger()),
        None => case.packets.first().map(|frame| Trigger {
            kind: TriggerKind::Packet,
            name: None,
            frame: *frame,
        }),
    };
    let hops = case.hops();
    let mut injector = Injector::from_marks(&case.marks, true);
    injector.hops_from_tap = Some((hops, hops));
    Finding {
        kind: Kind::IcmpProhibited,
        conversation: flow.conversation(),
        decided_by: case.first,
        at: case.at,
        stage: Some(case.stage),
        signature: None,
        claimed_sender: None,
        position: Position::InPath,
        trigger,
        forged: case.errors.to_vec(),
        genuine: Vec::new(),
        dropped: if case.arrived {
            Vec::new()
        } else {
            case.packets.to_vec()
        },
        prior: Prior::Abnormal,
        evidence,
        injector: Some(injector),
        particulars: Particulars::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use etherparse::PacketBuilder;

    use super::*;
    use crate::engine::baselines::Baselines;
    use crate::engine::shard::Shard;
    use crate::finding::verdict::Verdict;
    use crate::packet::frame::{Frame, LinkType};

    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 5);
    const SERVER: Ipv4Addr = Ipv4Addr::new(45, 140, 16, 10);
    const BOX: Ipv4Addr = Ipv4Addr::new(45, 140, 0, 1);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n";

    fn tcp(from_client: bool, flags: &str, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
        let ((from, to, ttl), ports) = if from_client {
            ((CLIENT, SERVER, 64), (40_000, 80))
        } else {
            ((SERVER, CLIENT, 50), (80, 40_000))
        };
        let mut packet = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(from.octets(), to.octets(), ttl)
            .tcp(ports.0, ports.1, seq, 500);
        if flags.contains('S') {
            packet = packet.syn();
        }
        if flags.contains('A') {
            packet = packet.ack(ack);
        }
        let mut bytes = Vec::new();
        packet.write(&mut bytes, payload).unwrap();
        bytes
    }

    /// What `speaker` says of `quoted`, which had passed three routers by then.
    fn icmp(speaker: Ipv4Addr, code: u8, quoted: &[u8]) -> Vec<u8> {
        let mut quote = quoted[14..42].to_vec();
        quote[8] -= 3;
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(speaker.octets(), CLIENT.octets(), 252)
            .icmpv4_raw(3, code, [0; 4])
            .write(&mut bytes, &quote)
            .unwrap();
        bytes
    }

    /// The findings in these packets after a handshake, 20 ms apart.
    fn findings(packets: &[Vec<u8>]) -> Vec<Finding> {
        let handshake = [
            tcp(true, "S", 100, 0, b""),
            tcp(false, "SA", 500, 101, b""),
            tcp(true, "A", 101, 501, b""),
        ];
        let mut shard = Shard::new(64, Arc::new(Baselines::default()));
        for (index, bytes) in handshake.iter().chain(packets).enumerate() {
            shard.judge(Frame {
                number: FrameNumber::new(0, index as u64 + 1),
                at: Timestamp::EPOCH.plus(Duration::from_millis(index as u64 * 20)),
                bytes,
                wire_len: bytes.len() as u32,
                link: LinkType::ETHERNET,
            });
        }
        shard.end_capture();
        let mut findings = shard.take_findings();
        findings.retain(|finding| finding.kind == Kind::IcmpProhibited);
        findings
    }

    fn request() -> Vec<u8> {
        tcp(true, "A", 101, 501, REQUEST)
    }

    #[test]
    fn a_request_refused_in_between_is_told_with_its_name_and_the_boxs_distance() {
        let found = findings(&[request(), icmp(BOX, 10, &request()), request()]);
        let [finding] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.verdict(), Some(Verdict::Likely));
        let trigger = finding.trigger.as_ref().unwrap();
        assert_eq!(trigger.name.as_deref(), Some("blocked.example"));
        assert_eq!((finding.forged[0].in_file(), finding.dropped[0].in_file()), (5, 4));
        assert_eq!(finding.injector.as_ref().unwrap().hops_from_tap, Some((3, 3)));
    }

    #[test]
    fn a_flow_that_goes_on_was_not_refused() {
        let answer = tcp(false, "A", 501, 101 + REQUEST.len() as u32, b"HTTP/1.1 200 OK\r\n\r\n");
        let found = findings(&[request(), icmp(BOX, 10, &request()), answer]);
        assert_eq!(found[0].verdict(), None);
        assert!(found[0].dropped.is_empty());
    }

    #[test]
    fn a_quote_of_what_was_never_sent_is_not_believed() {
        let never = tcp(true, "A", 9_101, 501, REQUEST);
        assert!(findings(&[request(), icmp(BOX, 10, &never)]).is_empty());
    }

    #[test]
    fn a_datagram_may_be_refused_too() {
        let mut datagram = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(CLIENT.octets(), SERVER.octets(), 64)
            .udp(40_000, 443)
            .write(&mut datagram, b"hello")
            .unwrap();
        let found = findings(&[datagram.clone(), icmp(BOX, 10, &datagram)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].forged[0].in_file(), 5);
    }

    #[test]
    fn other_codes_say_nothing_of_rules() {
        assert!(findings(&[request(), icmp(BOX, 1, &request())]).is_empty());
        assert!(findings(&[request(), icmp(BOX, 3, &request())]).is_empty());
    }

    #[test]
    fn a_host_that_refuses_a_connection_itself_is_not_accused() {
        let syn = tcp(true, "S", 100, 0, b"");
        let found = findings(&[icmp(SERVER, 10, &syn)]);
        assert_eq!(found[0].verdict(), None);
    }
}
