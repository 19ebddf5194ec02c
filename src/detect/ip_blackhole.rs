//! `ip_blackhole`: an address to which nothing gets through.
//!
//! # What it sees
//! Every SYN of a flow, and whether anything at all came back.
//!
//! # How it tells
//! SYN after SYN is not answered, to the end or for a time. That alone is a host that is off. What the other flows show
//! decides: the same client reaches other hosts in the same minutes, several flows, clients and ports die at this address
//! alone, and, before or after, the address answers. Above `possible` it takes more: an address that several unrelated
//! sites share, half a minute of silence for several clients at once, and neighbours in the same network that answer.
//!
//! # What it mistakes
//! A host that is off looks the same as one that is black-holed, so without a time at which the address answered the
//! verdict stays at `possible`. A server of many sites that fails for a while amid neighbours that go on may be taken for
//! a block that was lifted: who cut it is not written on the wire. A scan is told by the many addresses that are silent.
//!
//! # References
//! wire-facts 7.1 and 7.2. Ensafi et al., PETS 2015.

use std::time::Duration;

use std::net::IpAddr;

use arrayvec::ArrayVec;

use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::icmp_prohibited::says_prohibited;
use crate::finding::docket::Docket;
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind, Particulars, Party, Position, Stage, Trigger, TriggerKind};
use crate::finding::verdict::Prior;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::packet::frame::FrameNumber;
use crate::payload::address_class::AddressClass;
use crate::time::Timestamp;

/// SYNs that must be unanswered, and the time they must span (RFC 6298: 1 s, then doubling; two gaps are 3 s).
const TRIES: usize = 3;
const WAITED: Duration = Duration::from_millis(2_500);

/// Finds addresses that nothing gets through to.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpBlackhole;

/// What is kept of one flow.
#[derive(Debug, Default)]
pub struct Memory {
    syns: ArrayVec<FrameNumber, 7>,
    /// How many there were, and when the last two of them came.
    count: u16,
    last: Option<Timestamp>,
    before_last: Option<Timestamp>,
    /// Somebody said by ICMP whose rule it is: [`super::icmp_prohibited`] tells, or it is the address's own.
    refused: bool,
    filed: bool,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

impl Detector for IpBlackhole {
    const KIND: Kind = Kind::IpBlackhole;
    type Memory = Memory;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, (): &mut ()) -> Attention {
        if let Carried::Segment(segment) = sighting.carried
            && segment.flags.syn()
            && !segment.flags.ack()
            && sighting.sender == Party::Client
            && sighting.flow.side(Party::Server).packets == 0
        {
            memory.count = memory.count.saturating_add(1);
            memory.before_last = memory.last.replace(sighting.packet.frame.at);
            let _ = memory.syns.try_push(sighting.packet.frame.number);
        } else if let Carried::IcmpError(error) = sighting.carried {
            let speaker = sighting.packet.from.ip;
            memory.refused |= says_prohibited(error, speaker) || speaker == error.quoted_to.ip;
        }
        Attention::Idle
    }

    fn rests(&self, _flow: &Flow, _memory: &Self::Memory) -> bool {
        true
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, (): &mut (), docket: &mut Docket) {
        let over = conclusion.ending.is_over();
        let flow = conclusion.flow;
        let (client, server) = (flow.side(Party::Client), flow.side(Party::Server));
        let Some(first) = &client.opening else { return };
        // Who is answered in the end was not heard until then; the answered SYN was not in vain.
        let (silent, last, count) = match &server.opening {
            None => (
                server.packets == 0 && client.data_packets == 0,
                memory.last,
                memory.count,
            ),
            Some(_) => (true, memory.before_last, memory.count.saturating_sub(1)),
        };
        let Some(last) = last else { return };
        memory.syns.truncate(usize::from(count));
        // What answers nobody from outside, or nobody at all, is no address to block.
        let public = is_reachable(flow.conversation().server.ip);
        let enough = memory.syns.len() >= TRIES && last.since(first.at) >= WAITED;
        if memory.filed || memory.refused || !over || !silent || !public || !enough {
            return;
        }
        memory.filed = true;
        let tries = memory.syns.len() as u16;
        docket.file(Finding {
            kind: Kind::IpBlackhole,
            conversation: flow.conversation(),
            decided_by: first.frame,
            at: first.at,
            stage: Some(Stage::PostSyn),
            signature: Some("SYN -> ∅"),
            claimed_sender: None,
            position: Position::InPath,
            trigger: Some(Trigger {
                kind: TriggerKind::Packet,
                name: None,
                frame: first.frame,
            }),
            forged: Vec::new(),
            genuine: Vec::new(),
            dropped: memory.syns.to_vec(),
            prior: Prior::Abnormal,
            evidence: vec![Evidence::at(
                Observation::Drops(DropsObservation::SynsUnanswered { tries }),
                &memory.syns,
            )],
            injector: None,
            particulars: Particulars::default(),
        });
    }
}

/// Whether the address is one a network on the way could be asked to block: not of the client's own network, not a group.
#[must_use]
pub fn is_reachable(address: IpAddr) -> bool {
    match AddressClass::of(address) {
        AddressClass::Public
        | AddressClass::Nat64
        | AddressClass::SixToFour
        | AddressClass::MappedV4
        | AddressClass::Documentation
        | AddressClass::Benchmarking
        | AddressClass::Teredo => true,
        AddressClass::Unspecified
        | AddressClass::ThisNetwork
        | AddressClass::Loopback
        | AddressClass::Private
        | AddressClass::Shared
        | AddressClass::LinkLocal
        | AddressClass::ProtocolAssignment
        | AddressClass::Multicast
        | AddressClass::Reserved
        | AddressClass::Broadcast
        | AddressClass::Deprecated
        | AddressClass::UniqueLocal
        | AddressClass::Orchid
        | AddressClass::Discard => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::detector::Ending;
    use crate::detect::trial::Trial;
    use crate::flow::talk::{A, R, S, Sent, client, server};

    /// The frames said to be swallowed after SYNs at so many milliseconds, and what else came.
    fn swallowed(syns: &[u64], rest: &[(u64, Sent<'_>)]) -> Option<Vec<u64>> {
        let mut trial = Trial::of(IpBlackhole, 443);
        for at in syns {
            trial.show_at(*at, &client(S, 0, 0, b""));
        }
        for (at, sent) in rest {
            trial.show_at(*at, sent);
        }
        assert!(trial.rests());
        assert_eq!(trial.conclude(Ending::SuspicionDue).len(), 0);
        let found = trial.conclude(Ending::CaptureEnded);
        assert_eq!(trial.conclude(Ending::CaptureEnded).len(), 0, "once");
        let finding = found.first()?;
        Some(finding.dropped.iter().map(|frame| frame.in_file()).collect())
    }

    #[test]
    fn three_syns_in_two_and_a_half_seconds_are_swallowed() {
        assert_eq!(swallowed(&[0, 1000, 2500], &[]), Some(vec![1, 2, 3]));
        assert_eq!(swallowed(&[0, 1000, 2499], &[]), None);
        assert_eq!(swallowed(&[0, 2500], &[]), None);
        let many: Vec<_> = (0..9).map(|number| number * 1000).collect();
        assert_eq!(swallowed(&many, &[]), Some((1..=7).collect()), "no more are named");
        // The one that was answered was not in vain.
        let answer = (3100, server(S | A, 0, 1, b""));
        assert_eq!(swallowed(&[0, 1000, 2500, 3000], &[answer]), Some(vec![1, 2, 3]));
        assert_eq!(swallowed(&[0, 1000, 3000], &[answer]), None);
        assert_eq!(swallowed(&[0, 1000, 2499, 3000], &[answer]), None);
        // Nor is anything swallowed where other words were heard, or data went out.
        assert_eq!(swallowed(&[0, 1000, 2500], &[(3000, server(R | A, 0, 1, b""))]), None);
        assert_eq!(swallowed(&[0, 1000, 2500], &[(3000, client(A, 1, 1, b"data"))]), None);
        // A SYN after that is none of them.
        let syn = (3200, client(S, 0, 0, b""));
        assert_eq!(
            swallowed(&[0, 1000, 2400], &[(3100, server(R | A, 0, 1, b"")), syn]),
            None
        );
    }

    #[test]
    fn addresses_of_the_world_can_be_blocked() {
        for (address, reachable) in [
            ("151.101.1.140", true),
            ("203.0.113.7", true),
            ("198.18.0.1", true),
            ("2002:808:808::1", true),
            ("64:ff9b::808:808", true),
            ("10.1.2.3", false),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("100.64.0.1", false),
            ("224.0.0.251", false),
            ("255.255.255.255", false),
            ("0.0.0.0", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_reachable(address.parse().unwrap()), reachable, "{address}");
        }
    }
}
