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
//! flows to compare with, the verdict stays below `likely`. A flow that the capture left too early is not judged, nor is
//! one of which only one direction was seen. A server that hangs acknowledges and says nothing: silence after an
//! acknowledgement counts only where the server serves other names. A large request counts only where as large ones
//! pass. A box that lets a few packets pass before it drops is found by the side that repeats itself in vain
//! ([`super::volume_freeze`] takes over where kilobytes had passed). A box that drops one way only is found by the server
//! that closes without having heard the request. Flows that hide the name are compared as such: a server that serves
//! others and no hidden name may itself be unable to, but then it would answer. A name that may have another hidden under it
//! (ECH) and dies, and is served in between where it has not, is told; that such hellos are served elsewhere, or here, speaks
//! against.
//!
//! # References
//! wire-facts 7.1, 7.2, 8. Bock et al., "Your Censor is My Censor", WOOT 2021 (residual drops). OONI, "Kazakhstan: TLS
//! MITM attacks and blocking", 2024 (sessions that time out after the ClientHello). Niaki et al., ICLab, 2020 (how rarely
//! one flow suffices). Bock et al., "Exposing and Circumventing China's Censorship of ESNI", 2020 (one-way drops).

use std::time::Duration;

use arrayvec::ArrayVec;

use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::stall::Stall;
use super::volume_freeze::{is_volume, volume};
use crate::finding::docket::Docket;
use crate::finding::evidence::{DropsObservation, Evidence, Hiding, Observation};
use crate::finding::finding::{Finding, Kind, Particulars, Party, Position, Stage, Volume};
use crate::finding::verdict::Prior;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::flow::side::Side;
use crate::packet::frame::FrameNumber;
use crate::payload::tls_client_hello::{ClientHello, EncryptedName};
use crate::payload::tls_handshake::HelloRead;
use crate::time::Timestamp;

/// Repetitions of a request that are named.
const NAMED: usize = 8;

/// The client must have waited this long for an answer, in packets it went on sending: three repetitions of Linux and
/// Windows lie within it (RFC 6298: 1 s at the most at first, then doubling).
const WAITED: Duration = Duration::from_secs(2);

/// A request larger than this may have been lost for its size (an Ethernet path without room for a tunnel's headers).
const LARGE: u16 = 1200;

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
    /// How often the server closed without having heard the request.
    deaf: u16,
    /// A silence that began after the server had answered.
    late: Option<Box<Stall>>,
    volume: Volume,
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
        let Some(asked) = sighting.flow.asked.as_ref() else {
            return Attention::Idle;
        };
        if memory.answered {
            let had = memory.late.is_some();
            Stall::watch(&mut memory.late, sighting, segment);
            if !had && memory.late.is_some() {
                memory.volume = volume(sighting.flow);
            }
            return Attention::Idle;
        }
        if memory.request.is_none() {
            // Only the first request of a flow: a server that has answered one is reachable.
            memory.answered = sighting.flow.side(Party::Server).data_packets > 0;
            memory.request = Some(asked.frame);
        }
        match sighting.sender {
            Party::Server if segment.flags.syn() => {}
            // A server that is tired of waiting closes, and acknowledges nothing of the request: it has not heard it.
            Party::Server
                if segment.flags.fin() && segment.payload_len == 0 && asked.seq.ahead_of(segment.ack) >= 0 =>
            {
                memory.deaf = memory.deaf.saturating_add(1);
            }
            Party::Server if segment.payload_len > 0 || segment.flags.fin() || segment.flags.rst() => {
                memory.answered = true;
            }
            Party::Server => {
                memory.acknowledged |= segment.flags.ack() && segment.ack.ahead_of(asked.end) >= 0;
                // It closed before it heard the request, and heard it after all: it, or the way, had been down.
                memory.answered |= memory.acknowledged && memory.deaf > 0;
            }
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

    fn rests(&self, flow: &Flow, memory: &Self::Memory) -> bool {
        flow.asked.is_none() || (memory.answered && memory.late.is_none())
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, (): &mut (), docket: &mut Docket) {
        let flow = conclusion.flow;
        // The client may go on trying, and other flows tell more than this one.
        let enough = conclusion.ending.is_over();
        if enough && memory.answered && !memory.filed {
            memory.filed = late_drop(conclusion, memory, docket);
        }
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
        let bytes = flow.side(Party::Client).largest;
        if bytes > LARGE && !memory.acknowledged {
            evidence.push(Evidence::at(Observation::LargeRequest { bytes }, &[asked.frame]));
        }
        evidence.extend(notes(conclusion));
        if is_server_repeating_itself(flow.side(Party::Server)) {
            evidence.push(Evidence::at(Observation::ServerStillWaits, &[]));
        }
        if memory.deaf > 0 && !memory.acknowledged {
            let observation = DropsObservation::ServerDeaf { closes: memory.deaf };
            evidence.push(Evidence::at(Observation::Drops(observation), &[]));
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

/// Files a silence that began a few packets after the request; says whether it did.
fn late_drop(conclusion: &Conclusion<'_>, memory: &Memory, docket: &mut Docket) -> bool {
    let flow = conclusion.flow;
    let (Some(asked), Some(stall)) = (&flow.asked, memory.late.as_deref().filter(|stall| stall.is_silence())) else {
        return false;
    };
    let Some(first) = stall.frames.first().copied() else {
        return false;
    };
    let closed = |party| flow.side(party).fin.is_some() || flow.side(party).reset.is_some();
    if is_volume(memory.volume) || !flow.saw_handshake() || flow.requests > 1 || closed(stall.party.peer()) {
        return false;
    }
    let silence = DropsObservation::SilenceMidStream {
        packets: memory.volume.packets,
        tries: stall.tries,
    };
    let mut evidence = vec![Evidence::at(Observation::Drops(silence), &stall.frames)];
    evidence.extend(notes(conclusion));
    docket.file(Finding {
        kind: Kind::SilentDrop,
        conversation: flow.conversation(),
        decided_by: first,
        at: stall.first,
        stage: Some(Stage::LaterInFlow),
        signature: None,
        claimed_sender: None,
        position: Position::InPath,
        trigger: Some(asked.trigger()),
        forged: Vec::new(),
        genuine: Vec::new(),
        dropped: stall.frames.to_vec(),
        prior: Prior::Abnormal,
        evidence,
        injector: None,
        particulars: Particulars::default(),
    });
    true
}

/// Names under which public resolvers answer DNS over HTTPS, as their operators publish them.
const RESOLVERS: [&str; 8] = [
    "dns.google",
    "cloudflare-dns.com",
    "mozilla.cloudflare-dns.com",
    "one.one.one.one",
    "dns.quad9.net",
    "doh.opendns.com",
    "dns.adguard-dns.com",
    "dns.nextdns.io",
];

/// DNS over TLS (RFC 7858 section 3.1).
const DNS_OVER_TLS: u16 = 853;

/// What a reader should know of a flow whose purpose the packets hide.
pub(super) fn notes(conclusion: &Conclusion<'_>) -> impl Iterator<Item = Evidence> {
    let flow = conclusion.flow;
    let hello = ClientHello::read(flow.head(Party::Client, conclusion.heads));
    let by = match &hello {
        HelloRead::Hello(hello) => match hello.encrypted_name {
            EncryptedName::No => None,
            EncryptedName::Esni => Some(Hiding::Esni),
            EncryptedName::Ech => Some(Hiding::Ech),
        },
        HelloRead::Incomplete { .. } | HelloRead::NotHello => None,
    };
    let name = flow.asked.as_ref().map_or("", |asked| asked.name.as_str());
    let resolver = flow.conversation().server.port == DNS_OVER_TLS || RESOLVERS.contains(&name);
    let frames: Vec<_> = flow.asked.iter().map(|asked| asked.frame).collect();
    [
        by.map(|by| DropsObservation::HiddenName { by }),
        resolver.then_some(DropsObservation::EncryptedDns),
    ]
    .into_iter()
    .flatten()
    .map(move |observation| Evidence::at(Observation::Drops(observation), &frames))
}

/// A server that repeats its SYN-ACK is alive and hears nothing of what the client sends.
fn is_server_repeating_itself(server: &Side) -> bool {
    let last = server.last_opening_at();
    server.opening.is_some_and(|first| last > Some(first.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::detector::Ending;
    use crate::detect::trial::Trial;
    use crate::flow::talk::{A, S, Sent, client, hello, opened, server};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const ASKED: u32 = 1 + REQUEST.len() as u32;

    fn keys(port: u16, request: &[u8], rest: &[(u64, Sent<'_>)]) -> Vec<&'static str> {
        let mut trial = Trial::of(SilentDrop, port);
        trial.show(&opened(&[client(A, 1, 1, request)]));
        for (at, sent) in rest {
            trial.show_at(*at, sent);
        }
        let last = client(A, 1, 1, request);
        for at in [3000, 4000, 5000] {
            trial.show_at(at, &last);
        }
        let found = trial.conclude(Ending::Over);
        assert!(found.len() <= 1);
        let evidence = found.iter().flat_map(|finding| &finding.evidence);
        evidence.map(|item| item.observation.key()).collect()
    }

    #[test]
    fn a_large_request_may_be_lost_for_its_size() {
        let request = |len: usize| {
            let mut request = b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: ".to_vec();
            request.resize(len - 4, b'x');
            request.extend(b"\r\n\r\n");
            request
        };
        assert_eq!(keys(80, &request(1200), &[]), ["request_unanswered"]);
        assert_eq!(keys(80, &request(1201), &[]), ["request_unanswered", "large_request"]);
        let heard = (100, server(A, 1, 1202, b""));
        assert_eq!(keys(80, &request(1201), &[heard]), ["acknowledged_then_silence"]);
    }

    #[test]
    fn a_server_that_repeats_its_syn_ack_hears_nothing() {
        let again = (1000, server(S | A, 0, 1, b""));
        assert_eq!(
            keys(80, REQUEST, &[again]),
            ["request_unanswered", "server_still_waits"]
        );
        assert_eq!(keys(80, REQUEST, &[]), ["request_unanswered"]);
    }

    #[test]
    fn a_resolver_is_known_by_its_port_or_its_name() {
        assert_eq!(keys(853, REQUEST, &[]), ["request_unanswered", "encrypted_dns"]);
        let google = b"GET / HTTP/1.1\r\nHost: dns.google\r\n\r\n";
        assert_eq!(keys(443, google, &[]), ["request_unanswered", "encrypted_dns"]);
        assert_eq!(keys(443, &hello(), &[]), ["request_unanswered"]);
    }

    #[test]
    fn it_rests_where_nothing_was_asked_or_all_was_answered() {
        let mut trial = Trial::of(SilentDrop, 80);
        trial.show(&opened(&[client(A, 1, 1, b"hello, whoever you are")]));
        assert!(trial.rests());
        let mut trial = Trial::of(SilentDrop, 80);
        trial.show(&opened(&[client(A, 1, 1, REQUEST)]));
        assert!(!trial.rests());
        assert_eq!(trial.show(&[client(A, 1, 1, REQUEST)]), [Attention::Idle]);
        assert_eq!(trial.show(&[client(A, 1, 1, REQUEST)]), [Attention::Suspicious]);
        assert_eq!(trial.show(&[client(A, 1, 1, REQUEST)]), [Attention::Idle]);
        trial.show(&[server(A, 1, ASKED, b"answer")]);
        assert!(trial.rests());
        trial.show(&[client(A, ASKED, 7, b"more"), client(A, ASKED, 7, b"more")]);
        assert!(!trial.rests(), "it repeats itself");
    }
}
