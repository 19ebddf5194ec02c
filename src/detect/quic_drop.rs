//! `quic_drop`: a QUIC handshake that is swallowed on the way.
//!
//! # What it sees
//! The first packets of UDP flows on port 443: the client's Initials, which anybody on the way can open, with the server name
//! in them, and whether the server answers. Once the server has begun to send under its own keys, nothing more is read.
//!
//! # How it tells
//! The client begins again and again and nothing comes; or the server's first packets arrive and then nothing. One such
//! flow proves little: many servers and many networks do not let QUIC through. That the same server, in the same capture,
//! serves the same client other names over QUIC while this one fails is what decides; or that the name fails at several
//! servers of which this is true.
//!
//! # What it mistakes
//! Servers without QUIC and networks without UDP give the same picture as a block of the address; the verdict then stays below
//! `likely`. Where the client changes to TCP after one try, too little is seen. A hello of more than 4 KiB is not read.
//!
//! # References
//! RFC 9000, 9001, 9369. Zohaib et al., "Exposing and Circumventing SNI-based QUIC Censorship of the Great Firewall of
//! China", USENIX Security 2025. Elmenhorst et al., "Web Censorship Measurements of HTTP/3 over QUIC", IMC 2021.
//! wire-facts 3.1, 5.4, 7.1, 7.2.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, Observation, QuicDropObservation};
use crate::finding::finding::{Finding, Kind, Particulars, Party, Position, Stage, Trigger, TriggerKind};
use crate::finding::verdict::Prior;
use crate::flow::boxes::Boxes;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::flow::name_text::NameText;
use crate::packet::endpoint::Endpoint;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::Datagram;
use crate::payload::quic_initial::{
    ClientKeys, HelloPieces, LongKind, LongPacket, MOST_OPENED, QuicVersion, hello_frames,
};
use crate::payload::tls_client_hello::ClientHello;
use crate::time::Timestamp;

/// QUIC for HTTP/3 (RFC 9114 section 3.1.2).
const PORT: u16 = 443;

/// Handshakes of one shard that are watched at one time.
const MOST_CASES: usize = 32;

/// Handshakes of one shard that are remembered for comparison; later ones are not compared.
const MOST_HANDSHAKES: usize = 4096;

/// Initials of one flow that are opened: a hello takes two, and its repetitions add nothing.
const MOST_OPENINGS: u8 = 4;

/// Datagrams of one client closer together than this are one try: a hello may take several [E].
const ONE_TRY: Duration = Duration::from_millis(50);

/// The client must have tried for as long as this (RFC 9002 section 6.2.2: about 1 s at first, then doubling).
const WAITED: Duration = Duration::from_secs(2);

/// And as often as this.
const TRIES: u16 = 3;

/// As many packets under the server's own keys show that the handshake came through.
const SERVED: u8 = 2;

/// Finds QUIC handshakes that are swallowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuicDrop;

/// What is kept of one flow.
#[derive(Debug, Default)]
pub enum Memory {
    /// Nothing of it was seen yet.
    #[default]
    New,
    /// Its handshake is watched, in this place.
    Watched(u8),
    /// It is none of ours, or the handshake came through.
    Done,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

/// One handshake.
#[derive(Debug)]
struct Case {
    client: Endpoint,
    server: Endpoint,
    /// Handshakes are numbered; the oldest gives way.
    number: u64,
    version: QuicVersion,
    /// The connection id of the client's first Initial, which decides the keys.
    first_id: ArrayVec<u8, 20>,
    /// What was read of a hello that names nobody yet.
    pieces: Option<Box<HelloPieces>>,
    openings: u8,
    name: NameText,
    first_frame: FrameNumber,
    /// The packet that completed the name, or the first one.
    trigger: FrameNumber,
    begun: Timestamp,
    /// The client's packets since the server's last one.
    in_vain: ArrayVec<FrameNumber, 8>,
    tries: u16,
    first_try: Timestamp,
    last_try: Timestamp,
    server_packets: u16,
    own_keys: u8,
}

/// What became of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client tried again and again, and nothing came.
    Unanswered,
    /// The server began to answer, and then nothing came.
    Stopped,
    /// It came through.
    Served,
}

/// One handshake of which it is known what became of it.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Who began it.
    pub client: Endpoint,
    /// The other end.
    pub server: Endpoint,
    /// Its first frame.
    pub first_frame: FrameNumber,
    /// When it began.
    pub began: Timestamp,
    /// When the client last tried, or the server served.
    pub ended: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// The server name; empty if it could not be read.
    pub name: NameText,
}

/// What one shard remembers.
#[derive(Debug, Default)]
pub struct Habits {
    cases: Vec<Case>,
    rooms: Boxes<HelloPieces>,
    handshakes: Vec<Handshake>,
    number: u64,
}

impl Recycle for HelloPieces {
    fn recycle(&mut self) {
        self.clear();
    }
}

impl Habits {
    fn case(&mut self, slot: u8, client: Endpoint, server: Endpoint) -> Option<&mut Case> {
        self.case_and_rooms(slot, client, server).map(|(case, _)| case)
    }

    /// The same, and the rooms hellos are put together in.
    fn case_and_rooms(
        &mut self,
        slot: u8,
        client: Endpoint,
        server: Endpoint,
    ) -> Option<(&mut Case, &mut Boxes<HelloPieces>)> {
        let case = self.cases.get_mut(usize::from(slot))?;
        ((case.client, case.server) == (client, server)).then_some((case, &mut self.rooms))
    }

    fn remember(&mut self, handshake: Handshake) {
        if self.handshakes.len() < MOST_HANDSHAKES {
            self.handshakes.push(handshake);
        }
    }

    /// Takes out the handshakes of which it is known what became of them.
    pub fn take_handshakes(&mut self) -> Vec<Handshake> {
        std::mem::take(&mut self.handshakes)
    }
}

impl Detector for QuicDrop {
    const KIND: Kind = Kind::QuicDrop;
    type Memory = Memory;
    type Habits = Habits;

    fn habits(&self) -> Habits {
        Habits {
            // Pages that are never written to cost nothing.
            handshakes: Vec::with_capacity(MOST_HANDSHAKES),
            ..Habits::default()
        }
    }

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, habits: &mut Habits) -> Attention {
        let Carried::Datagram(datagram) = sighting.carried else {
            return Attention::Idle;
        };
        let packet = sighting.packet;
        match *memory {
            Memory::Done => {}
            Memory::New => {
                *memory = match (sighting.sender, packet.to.port) {
                    (Party::Client, PORT) => begin(sighting, datagram, habits).map_or(Memory::Done, Memory::Watched),
                    _ => Memory::Done,
                };
            }
            Memory::Watched(slot) => {
                let (client, server) = match sighting.sender {
                    Party::Client => (packet.from, packet.to),
                    Party::Server => (packet.to, packet.from),
                };
                let Some((case, rooms)) = habits.case_and_rooms(slot, client, server) else {
                    *memory = Memory::Done;
                    return Attention::Idle;
                };
                match sighting.sender {
                    Party::Client => case.tried(packet.frame.number, packet.frame.at, datagram.payload, rooms),
                    Party::Server => {
                        case.answered(datagram.payload);
                        if case.own_keys >= SERVED {
                            *memory = Memory::Done;
                            let handshake = case.handshake(Outcome::Served, packet.frame.at);
                            habits.remember(handshake);
                        }
                    }
                }
            }
        }
        Attention::Idle
    }

    fn rests(&self, _flow: &Flow, _memory: &Self::Memory) -> bool {
        true
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, habits: &mut Habits, docket: &mut Docket) {
        let Memory::Watched(slot) = *memory else { return };
        match conclusion.ending {
            Ending::SuspicionDue => return,
            Ending::Over | Ending::Evicted | Ending::CaptureEnded => *memory = Memory::Done,
        }
        let conversation = conclusion.flow.conversation();
        let (client, server) = (conversation.client, conversation.server);
        let Some(case) = habits.case(slot, client, server) else {
            return;
        };
        if case.tries < TRIES || case.last_try.since(case.first_try) < WAITED {
            return;
        }
        let name = case.name.clone();
        let tries = case.tries;
        let (trigger, begun) = (case.trigger, case.begun);
        let unanswered = case.server_packets == 0;
        let outcome = if unanswered {
            Outcome::Unanswered
        } else {
            Outcome::Stopped
        };
        let handshake = case.handshake(outcome, case.last_try);
        let dropped: Vec<FrameNumber> = case.in_vain.to_vec();
        let evidence = vec![Evidence::at(
            Observation::QuicDrop(if unanswered {
                QuicDropObservation::InitialsUnanswered { tries }
            } else {
                QuicDropObservation::AnsweredThenSilence { tries }
            }),
            &dropped,
        )];
        habits.remember(handshake);
        docket.file(Finding {
            kind: Kind::QuicDrop,
            conversation,
            decided_by: trigger,
            at: begun,
            stage: Some(if unanswered { Stage::PostAck } else { Stage::LaterInFlow }),
            signature: None,
            claimed_sender: None,
            position: Position::InPath,
            trigger: Some(Trigger {
                kind: if name.is_empty() {
                    TriggerKind::Packet
                } else {
                    TriggerKind::Sni
                },
                name: (!name.is_empty()).then(|| name.to_string()),
                frame: trigger,
            }),
            forged: Vec::new(),
            genuine: Vec::new(),
            dropped,
            prior: Prior::Abnormal,
            evidence,
            injector: None,
            particulars: Particulars::default(),
        });
    }
}

/// Begins to watch a flow whose first packet is a client's Initial; where.
fn begin(sighting: &Sighting<'_>, datagram: &Datagram<'_>, habits: &mut Habits) -> Option<u8> {
    let (initial, _) = LongPacket::read(datagram.payload)?;
    // A client pads its Initials to 1 200 octets (RFC 9000 section 14.1): others are not begun with.
    if initial.kind != LongKind::Initial || datagram.payload_len < 1200 {
        return None;
    }
    let packet = sighting.packet;
    habits.number += 1;
    let mut case = Case {
        client: packet.from,
        server: packet.to,
        number: habits.number,
        version: initial.version,
        first_id: initial.to.iter().copied().collect(),
        pieces: None,
        openings: 0,
        name: NameText::new(),
        first_frame: packet.frame.number,
        trigger: packet.frame.number,
        begun: packet.frame.at,
        in_vain: ArrayVec::new(),
        tries: 0,
        first_try: packet.frame.at,
        last_try: packet.frame.at,
        server_packets: 0,
        own_keys: 0,
    };
    case.tried(
        packet.frame.number,
        packet.frame.at,
        datagram.payload,
        &mut habits.rooms,
    );
    let at = if habits.cases.len() < MOST_CASES {
        habits.cases.push(case);
        habits.cases.len() - 1
    } else {
        // One that came through leaves first, then the oldest.
        let (at, _) = habits
            .cases
            .iter()
            .enumerate()
            .min_by_key(|(_, case)| (case.own_keys < SERVED, case.number))?;
        let gone = std::mem::replace(&mut habits.cases[at], case);
        if let Some(pieces) = gone.pieces {
            habits.rooms.give_back(pieces);
        }
        at
    };
    u8::try_from(at).ok()
}

impl Case {
    /// The client sent `payload`.
    fn tried(&mut self, frame: FrameNumber, at: Timestamp, payload: &[u8], rooms: &mut Boxes<HelloPieces>) {
        if self.tries == 0 {
            self.first_try = at;
        }
        if self.tries == 0 || at.since(self.last_try) >= ONE_TRY {
            self.tries = self.tries.saturating_add(1);
            self.last_try = at;
        }
        // What the client first says after the server answered may have come through; its repetitions tell that none does.
        if self.server_packets == 0 || self.tries > 1 {
            _ = self.in_vain.try_push(frame);
        }
        if self.name.is_empty() && self.openings < MOST_OPENINGS {
            self.read(frame, payload, rooms);
        }
    }

    /// What is kept of it once it is known what became of it.
    fn handshake(&self, outcome: Outcome, ended: Timestamp) -> Handshake {
        Handshake {
            client: self.client,
            server: self.server,
            first_frame: self.first_frame,
            began: self.begun,
            ended,
            outcome,
            name: self.name.clone(),
        }
    }

    /// The server sent `payload`.
    fn answered(&mut self, payload: &[u8]) {
        self.server_packets = self.server_packets.saturating_add(1);
        self.tries = 0;
        self.in_vain.clear();
        if payload.first().is_some_and(|first| first & 0x80 == 0) {
            self.own_keys = self.own_keys.saturating_add(1);
        }
        // After a Retry the client begins anew, under the connection id the server chose (RFC 9001 section 5.2).
        if let Some((packet, _)) = LongPacket::read(payload)
            && packet.kind == LongKind::Retry
        {
            self.first_id = packet.from.iter().copied().collect();
            if let Some(pieces) = &mut self.pieces {
                pieces.clear();
            }
            self.openings = 0;
        }
    }

    /// Opens the Initials in `payload` and puts the name together.
    fn read(&mut self, frame: FrameNumber, payload: &[u8], rooms: &mut Boxes<HelloPieces>) {
        let Some(keys) = ClientKeys::new(self.version, &self.first_id) else {
            return;
        };
        self.openings += 1;
        let mut pieces = self.pieces.take().unwrap_or_else(|| rooms.take());
        let mut rest = payload;
        while let Some((packet, behind)) = LongPacket::read(rest) {
            rest = behind;
            let mut room = [0; MOST_OPENED];
            let Some(frames) = packet.open(&keys, &mut room) else {
                continue;
            };
            for (offset, piece) in hello_frames(frames) {
                pieces.add(offset, piece);
            }
        }
        let hello = ClientHello::read_bare(pieces.beginning()).hello();
        let name = hello.as_ref().and_then(|hello| hello.server_name.as_ref()?.as_str());
        if let Some(name) = name {
            self.name = NameText::lower(name);
            self.trigger = frame;
        }
        if self.name.is_empty() {
            self.pieces = Some(pieces);
        } else {
            rooms.give_back(pieces);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use etherparse::PacketBuilder;

    use super::*;
    use crate::engine::baselines::Baselines;
    use crate::engine::shard::Shard;
    use crate::engine::trace::Fate;
    use crate::finding::verdict::Verdict;
    use crate::packet::frame::{Frame, LinkType};
    use crate::payload::quic_initial::tests::sealed;

    const CLIENT: [u8; 4] = [192, 0, 2, 10];
    const SERVER: [u8; 4] = [198, 51, 100, 7];

    /// A bare ClientHello with nothing but a server name.
    fn hello(name: &str) -> Vec<u8> {
        let len = name.len() as u16;
        let mut extension = vec![0, 0];
        extension.extend((len + 5).to_be_bytes());
        extension.extend((len + 3).to_be_bytes());
        extension.push(0);
        extension.extend(len.to_be_bytes());
        extension.extend(name.as_bytes());
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend((extension.len() as u16).to_be_bytes());
        body.extend(extension);
        let mut message = vec![1, 0];
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        message
    }

    fn crypto(offset: u16, piece: &[u8]) -> Vec<u8> {
        let mut frame = vec![6];
        frame.extend((0x4000 | offset).to_be_bytes());
        frame.extend((0x4000 | piece.len() as u16).to_be_bytes());
        frame.extend(piece);
        frame
    }

    struct Tap {
        shard: Shard,
        millis: u64,
        frame: u64,
        port: u16,
    }

    impl Tap {
        fn new() -> Self {
            Self {
                shard: Shard::new(100, Arc::new(Baselines::default())),
                millis: 1_700_000_000_000,
                frame: 0,
                port: 50_000,
            }
        }

        fn send(&mut self, from_client: bool, payload: &[u8]) {
            self.frame += 1;
            let (from, to, ports) = if from_client {
                (CLIENT, SERVER, (self.port, 443))
            } else {
                (SERVER, CLIENT, (443, self.port))
            };
            let mut bytes = Vec::new();
            PacketBuilder::ethernet2([1; 6], [2; 6])
                .ipv4(from, to, 60)
                .udp(ports.0, ports.1)
                .write(&mut bytes, payload)
                .unwrap();
            self.shard.judge(Frame {
                number: FrameNumber::new(0, self.frame),
                at: Timestamp::from_nanos(self.millis * 1_000_000),
                bytes: &bytes,
                wire_len: bytes.len() as u32,
                link: LinkType::ETHERNET,
            });
        }

        /// A client's attempt: the same hello at 0, 1, 3 and 7 s. `answer` comes after each.
        fn attempt(&mut self, name: &str, answer: &[&[u8]]) {
            self.port += 1;
            let hello = hello(name);
            let (first, second) = hello.split_at(hello.len() - 6);
            let frames = [crypto(first.len() as u16, second), crypto(0, first)].concat();
            for wait in [1000, 2000, 4000, 100] {
                self.send(true, &sealed(QuicVersion::V1, b"8 octets", &frames));
                for packet in answer {
                    self.millis += 30;
                    self.send(false, packet);
                }
                if !answer.is_empty() {
                    break;
                }
                self.millis += wait;
            }
            self.millis += 5_000;
        }

        fn served(&mut self, name: &str) {
            self.attempt(name, &[&[0xc0, 0, 0, 0, 1], &[0x40; 40], &[0x41; 40]]);
        }

        fn found(&mut self) -> Vec<Finding> {
            self.shard.end_capture();
            let mut found = self.shard.take_findings();
            found.retain(|finding| finding.kind == Kind::QuicDrop);
            found
        }
    }

    #[test]
    fn a_name_that_fails_where_others_are_served_is_named() {
        let mut tap = Tap::new();
        tap.served("www.example.org");
        tap.served("www.example.net");
        tap.attempt("blocked.example.com", &[]);
        let found = tap.found();
        assert_eq!(found.len(), 1, "{found:#?}");
        let trigger = found[0].trigger.as_ref().unwrap();
        assert_eq!(trigger.name.as_deref(), Some("blocked.example.com"));
        assert_eq!(found[0].dropped.len(), 4);
        let outcomes: Vec<_> = tap.shard.take_traces().iter().map(|trace| trace.fate).collect();
        assert_eq!(
            outcomes,
            [Fate::Served, Fate::Served, Fate::Unanswered],
            "for the ledger to compare"
        );
    }

    #[test]
    fn a_name_spread_over_two_datagrams_is_read() {
        let mut tap = Tap::new();
        let hello = hello("blocked.example.com");
        let (first, second) = hello.split_at(60);
        for wait in [1_000, 2_000, 4_000] {
            tap.send(true, &sealed(QuicVersion::V2, b"8 octets", &crypto(60, second)));
            tap.send(true, &sealed(QuicVersion::V2, b"8 octets", &crypto(0, first)));
            tap.millis += wait;
        }
        let found = tap.found();
        assert_eq!(found.len(), 1);
        let trigger = found[0].trigger.as_ref().unwrap();
        assert_eq!(trigger.name.as_deref(), Some("blocked.example.com"));
        assert_eq!(
            trigger.frame,
            FrameNumber::new(0, 2),
            "the datagram that completes the name"
        );
    }

    #[test]
    fn a_server_without_quic_accuses_nobody() {
        let mut tap = Tap::new();
        for name in ["www.example.org", "www.example.net", "www.example.com"] {
            tap.attempt(name, &[]);
        }
        let found = tap.found();
        assert!(
            found.iter().all(|finding| finding.verdict() < Some(Verdict::Possible)),
            "{found:#?}"
        );
    }

    #[test]
    fn a_handshake_that_comes_through_is_ordinary_however_long_the_silence_after() {
        let mut tap = Tap::new();
        tap.served("www.example.org");
        for _ in 0..5 {
            tap.millis += 2_000;
            tap.send(true, &[0x40; 1200]);
        }
        assert_eq!(tap.found(), []);
    }

    #[test]
    fn silence_after_the_servers_first_packets_is_seen() {
        let mut tap = Tap::new();
        tap.attempt("blocked.example.com", &[&[0xc0, 0, 0, 0, 1]]);
        for _ in 0..4 {
            tap.millis += 1_000;
            tap.send(true, &[0xe0; 1200]);
        }
        let found = tap.found();
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .evidence
                .iter()
                .any(|item| item.observation.key() == "answered_then_silence")
        );
    }

    #[test]
    fn no_more_handshakes_are_remembered_than_there_is_room_for() {
        let mut habits = QuicDrop.habits();
        let end = |port| Endpoint::new(CLIENT.into(), port);
        for port in 0..=MOST_HANDSHAKES as u16 {
            habits.remember(Handshake {
                client: end(port),
                server: end(443),
                first_frame: FrameNumber::new(0, 1),
                began: Timestamp::EPOCH,
                ended: Timestamp::EPOCH,
                outcome: Outcome::Served,
                name: NameText::new(),
            });
        }
        let kept = habits.take_handshakes();
        assert_eq!((kept.len(), kept[0].client.port), (MOST_HANDSHAKES, 0));
        assert!(habits.take_handshakes().is_empty());
    }

    /// A client's Initial of the handshake from `port`.
    fn initial(tap: &mut Tap, port: u16) {
        tap.port = port;
        let packet = sealed(QuicVersion::V1, b"8 octets", &crypto(0, &hello("www.example.org")));
        tap.send(true, &packet);
        tap.millis += 1;
    }

    #[test]
    fn a_handshake_that_came_through_makes_room_first_and_then_the_oldest() {
        let found = |served: Option<u16>, more: u16| {
            let mut tap = Tap::new();
            (1..=32).for_each(|port| initial(&mut tap, port));
            if let Some(port) = served {
                tap.port = port;
                (0..2).for_each(|_| tap.send(false, &[0x40; 40]));
            }
            (0..more).for_each(|port| initial(&mut tap, 100 + port));
            // All go on in vain.
            for _ in 0..2 {
                tap.millis += 1_500;
                (1..=32).for_each(|port| initial(&mut tap, port));
            }
            let found = tap.found();
            let mut ports: Vec<_> = found.iter().map(|finding| finding.conversation.client.port).collect();
            ports.sort_unstable();
            ports
        };
        let all_but = |gone: &[u16]| -> Vec<u16> { (1..=32).filter(|port| !gone.contains(port)).collect() };
        assert_eq!(found(None, 0), all_but(&[]));
        assert_eq!(found(None, 1), all_but(&[1]));
        assert_eq!(found(Some(7), 0), all_but(&[7]));
        assert_eq!(found(Some(7), 1), all_but(&[7]));
        assert_eq!(found(Some(7), 2), all_but(&[1, 7]));
    }

    #[test]
    fn a_try_is_fifty_milliseconds_after_the_one_before_and_three_take_two_seconds() {
        let tried = |waits: &[u64]| {
            let mut tap = Tap::new();
            initial(&mut tap, 7);
            for wait in waits {
                tap.millis += wait - 1;
                initial(&mut tap, 7);
            }
            let found = tap.found();
            found
                .first()
                .map(|finding| (finding.dropped.len(), finding.evidence[0].observation.key()))
        };
        let unanswered = |packets| Some((packets, "initials_unanswered"));
        assert_eq!(tried(&[1000, 1000]), unanswered(3));
        assert_eq!(tried(&[1000, 999]), None);
        assert_eq!(tried(&[2000]), None);
        assert_eq!(tried(&[1950, 49]), None);
        assert_eq!(tried(&[1950, 50]), unanswered(3));
        assert_eq!(
            tried(&[100, 100, 100, 100, 100, 100, 100, 100, 1200]),
            unanswered(8),
            "no more are named"
        );
    }

    #[test]
    fn what_begins_with_no_whole_initial_is_not_watched() {
        let packet = sealed(QuicVersion::V1, b"8 octets", &crypto(0, &hello("www.example.org")));
        let found = |packet: &[u8]| {
            let mut tap = Tap::new();
            tap.port = 7;
            for _ in 0..3 {
                tap.send(true, packet);
                tap.millis += 1_500;
            }
            tap.found().len()
        };
        assert!(packet.len() >= 1200);
        assert_eq!(found(&packet), 1);
        assert_eq!(found(&packet[..1200]), 1);
        assert_eq!(found(&packet[..1199]), 0);
        assert_eq!(found(&[0x40; 1200]), 0);
    }

    #[test]
    fn a_client_that_gives_up_at_once_proves_nothing() {
        let mut tap = Tap::new();
        tap.port += 1;
        let packet = sealed(QuicVersion::V1, b"8 octets", &crypto(0, &hello("www.example.org")));
        tap.send(true, &packet);
        tap.millis += 300;
        tap.send(true, &packet);
        assert_eq!(tap.found(), []);
    }
}
