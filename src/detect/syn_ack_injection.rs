//! `syn_ack_injection`: an opening the server did not send.
//!
//! # What it sees
//! All SYN-ACKs of a connection, and from which of them the server's later packets go on.
//!
//! # How it tells
//! Two SYN-ACKs answer one SYN with different sequence numbers: a listener chooses one and keeps to it. Which of the two
//! is forged is told by their headers (an IP id copied from the SYN, another TTL), and by which one the server goes on
//! from; where these say nothing, the one that came first is named.
//!
//! # What it mistakes
//! A SYN that was repeated may reach another machine behind a balancer, or a server that answers with cookies and keeps
//! nothing: then two SYN-ACKs alone do not suffice. A tap on both sides of a box that rewrites sequence numbers shows
//! the same packet twice; the same IP id within a few milliseconds is taken for that.
//!
//! # References
//! HoneyBadger, handshake hijack (wire-facts 6.2). RFC 9293 section 3.10.7.4. wire-facts 8 (SYN proxies).

use std::time::Duration;

use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::filing::{Early, Filing};
use super::provenance::{has_odd_ttl, odd_marks, oddness};
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, Observation, StreamObservation};
use crate::finding::finding::{Finding, Injector, Kind, Particulars, Party, Position, Stage, Trigger, TriggerKind};
use crate::finding::habits::Varying;
use crate::finding::verdict::{Prior, Verdict};
use crate::flow::flow::Flow;
use crate::flow::side::Note;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::SequenceNumber;

/// Packets of either side within which a rival is looked for (HoneyBadger: the first 12 of both).
const EARLY: u32 = 12;

/// How far ahead of its opening a packet of a young stream lies at most, in bytes.
const NEAR: i32 = 1 << 24;

/// Two taps of one capture show a packet within this time.
const MIRROR: Duration = Duration::from_millis(5);

/// Finds forged SYN-ACKs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SynAckInjection;

/// Two SYN-ACKs, and what followed.
#[derive(Clone, Copy, Debug)]
pub struct Rivals {
    /// The earlier and the later one.
    notes: [Note; 2],
    /// The SYN had been repeated before the later one.
    asked_again: bool,
    /// Packets of the server that go on from each.
    went_on: [u16; 2],
    /// The first of them.
    next: [Option<FrameNumber>; 2],
}

fn follows(seq: SequenceNumber, opening: &Note) -> bool {
    (1..NEAR).contains(&seq.ahead_of(opening.seq))
}

impl Detector for SynAckInjection {
    const KIND: Kind = Kind::SynAckInjection;
    type Memory = Filing<Rivals>;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, filing: &mut Filing<Rivals>, (): &mut ()) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        if sighting.sender != Party::Server || segment.flags.rst() {
            return Attention::Idle;
        }
        let flow = sighting.flow;
        if !segment.flags.syn() {
            if let Some(rivals) = filing.case() {
                let [first, second] = rivals.notes;
                let which = match (follows(segment.seq, &first), follows(segment.seq, &second)) {
                    (true, false) => 0,
                    (false, true) => 1,
                    _ => return Attention::Idle,
                };
                rivals.went_on[which] = rivals.went_on[which].saturating_add(1);
                rivals.next[which].get_or_insert(sighting.packet.frame.number);
            }
            return Attention::Idle;
        }
        let client = flow.side(Party::Client);
        let (Some(first), None) = (&flow.side(Party::Server).opening, filing.case()) else {
            return Attention::Idle;
        };
        let note = Note::of(sighting.packet, segment);
        let is_mirrored = first.marks.ip_id == note.marks.ip_id
            && note.marks.ip_id.is_some_and(|id| id != 0)
            && note.at.since(first.at) <= MIRROR;
        if !note.flags.ack()
            || !first.flags.ack()
            || first.seq == note.seq
            || first.ack != note.ack
            || is_mirrored
            || client.packets > EARLY
        {
            return Attention::Idle;
        }
        let asked_again = client.opening.is_none() || client.has_opened_again();
        filing.case_or(|| Rivals {
            notes: [*first, note],
            asked_again,
            went_on: [0; 2],
            next: [None; 2],
        });
        Attention::Suspicious
    }

    fn rests(&self, _flow: &Flow, filing: &Self::Memory) -> bool {
        filing.is_empty()
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, filing: &mut Filing<Rivals>, (): &mut (), docket: &mut Docket) {
        filing.conclude(conclusion, Early::From(Verdict::Possible), docket, |rivals| {
            weigh(rivals, conclusion)
        });
    }
}

fn weigh(rivals: &Rivals, conclusion: &Conclusion<'_>) -> Option<Finding> {
    let flow = conclusion.flow;
    let side = flow.side(Party::Server);
    let syn = flow.side(Party::Client).opening;
    let marks_of = |note: &Note, other: &Note| {
        let mut marks = odd_marks(note, &[], side, None);
        let copied = syn.and_then(|syn| syn.marks.ip_id).filter(|id| *id != 0);
        // A sender whose SYN-ACKs all carry one id copies nobody.
        if let (Some(syn), Some(ip_id)) = (syn, copied.filter(|id| note.marks.ip_id == Some(*id)))
            && other.marks.ip_id != Some(ip_id)
        {
            let frames = [syn.frame, note.frame];
            marks.push(Evidence::in_stream(
                StreamObservation::SynAckReflects { ip_id },
                &frames,
            ));
        }
        marks
    };
    let [first, second] = &rivals.notes;
    let marks = [marks_of(first, second), marks_of(second, first)];
    let reflects = marks
        .iter()
        .flatten()
        .any(|item| matches!(item.observation, Observation::Stream(_)));
    // A proxy that keeps nothing answers every SYN anew.
    if rivals.asked_again && !reflects && first.marks.ttl.abs_diff(second.marks.ttl) < 2 {
        return None;
    }
    let heavier = oddness(&marks[1]) - oddness(&marks[0]);
    let only_first = rivals.went_on[0] > 0 && rivals.went_on[1] == 0;
    let bad = usize::from(heavier > 0.0 || (heavier >= 0.0 && only_first));
    let good = 1 - bad;
    let (forged, genuine) = (rivals.notes[bad], rivals.notes[good]);
    let observation = StreamObservation::RivalSynAck {
        after: second.at.since(first.at),
    };
    let mut evidence = vec![Evidence::in_stream(observation, &[first.frame, second.frame])];
    evidence.extend(marks.into_iter().nth(bad).unwrap_or_default());
    if rivals.went_on[good] > 0 && rivals.went_on[bad] == 0 {
        let frames: Vec<_> = rivals.next[good].into_iter().collect();
        evidence.push(Evidence::in_stream(StreamObservation::GoesOnFromTheOther, &frames));
    }
    let odd_ttl = has_odd_ttl(&evidence);
    Some(Finding {
        kind: Kind::SynAckInjection,
        conversation: flow.conversation(),
        decided_by: forged.frame,
        at: forged.at,
        stage: Some(Stage::PostSyn),
        signature: None,
        claimed_sender: Some(Party::Server),
        position: Position::OnPath,
        trigger: syn.map(|syn| Trigger {
            kind: TriggerKind::Packet,
            name: None,
            frame: syn.frame,
        }),
        forged: vec![forged.frame],
        genuine: vec![genuine.frame],
        dropped: Vec::new(),
        prior: if rivals.asked_again {
            Prior::Ordinary
        } else {
            Prior::Abnormal
        },
        evidence,
        injector: Some(injector(&forged, syn.as_ref(), reflects, odd_ttl)),
        particulars: Particulars::default(),
    })
}

/// What the forged SYN-ACK tells of the box. One that turns the SYN's own header round copies its TTL as well: then how
/// far the box is cannot be read from it.
fn injector(forged: &Note, syn: Option<&Note>, reflects: bool, odd_ttl: bool) -> Injector {
    let turned = syn.filter(|syn| reflects && syn.marks.ip_id == forged.marks.ip_id);
    let mirrors_ttl = turned.is_some_and(|syn| syn.marks.initial_ttl() == forged.marks.initial_ttl());
    let mut injector = Injector::from_marks(&forged.marks, odd_ttl && !mirrors_ttl).with_window(forged.window);
    injector.mirrors_ttl = mirrors_ttl;
    if turned.is_some_and(|syn| syn.window == forged.window) {
        injector.habits.window = Some(Varying::Copied);
    }
    injector
}
