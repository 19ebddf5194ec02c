//! `payload_injection`: data put into a TCP stream that its sender did not write.
//!
//! # What it sees
//! The first 16 KiB of both directions, and every segment that repeats a part of them.
//!
//! # How it tells
//! Two segments of one sender hold different bytes for the same place in the stream. A sender repeats what it sent; it
//! does not change it. Which of the two is forged is told by their headers; where these say nothing, the one that came
//! first is named, because a forgery must win the race to matter.
//!
//! # What it mistakes
//! Broken stacks and captures of segmentation offload that show other bytes than the wire carried: without a header
//! mark on one of the two packets the finding stays below `likely`.
//!
//! # References
//! Haagsma, "Deep dive into QUANTUM INSERT", fox-it 2015. HoneyBadger's taxonomy of injections. wire-facts 6.1, 6.2.

use arrayvec::ArrayVec;

use super::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use super::provenance::{odd_marks, oddness};
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, Observation};
use crate::finding::finding::{Finding, Injector, Kind, Particulars, Party, Position, Stage, Trigger, TriggerKind};
use crate::finding::verdict::Prior;
use crate::flow::flow_table::Recycle;
use crate::flow::heads::Conflict;
use crate::flow::side::Note;

/// How many data segments of a side are remembered for a later conflict.
const REMEMBERED: usize = 8;

/// How many pairs of rivals of one flow are remembered.
const RIVALS: usize = 4;

/// Finds data that was put into a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct PayloadInjection;

/// Two copies of one place in the stream.
#[derive(Clone, Copy, Debug)]
struct Rivals {
    sender: Party,
    earlier: Note,
    later: Note,
    conflict: Conflict,
    stage: Stage,
}

/// What is kept of one flow.
#[derive(Debug, Default)]
pub struct Memory {
    first_data: [ArrayVec<(Note, Stage), REMEMBERED>; 2],
    /// At most [`RIVALS`]; most flows have none, so that there is no room for them in every slot.
    rivals: Vec<Rivals>,
    filed: bool,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        self.first_data.iter_mut().for_each(ArrayVec::clear);
        self.rivals.clear();
        self.filed = false;
    }
}

impl Detector for PayloadInjection {
    const KIND: Kind = Kind::PayloadInjection;
    type Memory = Memory;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, (): &mut ()) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        if segment.payload.is_empty() || segment.flags.rst() {
            return Attention::Idle;
        }
        let note = Note::of(sighting.packet, segment);
        let seen = &mut memory.first_data[sighting.sender as usize];
        let mut attention = Attention::Idle;
        if let Some(conflict) = sighting.conflict
            && let Some((earlier, stage)) = seen.iter().find(|(seen, _)| seen.frame == conflict.earlier)
            && memory.rivals.len() < RIVALS
        {
            memory.rivals.push(Rivals {
                sender: sighting.sender,
                earlier: *earlier,
                later: note,
                conflict,
                stage: *stage,
            });
            attention = Attention::Suspicious;
        }
        let _ = seen.try_push((note, sighting.flow.stage()));
        attention
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, (): &mut (), docket: &mut Docket) {
        let Some(first) = memory.rivals.first().copied() else {
            return;
        };
        if memory.filed {
            return;
        }
        let finding = weigh(&first, &memory.rivals, conclusion);
        let enough = match conclusion.ending {
            Ending::SuspicionDue => finding.verdict().is_some(),
            Ending::Over | Ending::Evicted | Ending::CaptureEnded => true,
        };
        if enough {
            memory.filed = true;
            docket.file(finding);
        }
    }
}

fn weigh(first: &Rivals, rivals: &[Rivals], conclusion: &Conclusion<'_>) -> Finding {
    let flow = conclusion.flow;
    let side = flow.side(first.sender);
    let asked = flow.asked.as_ref().filter(|_| first.sender == Party::Server);
    let marks_of = |note: &Note| odd_marks(note, &[], side, asked);
    let (earlier, later) = (marks_of(&first.earlier), marks_of(&first.later));
    let (forged, genuine, marks) = if oddness(&later) > oddness(&earlier) {
        (first.later, first.earlier, later)
    } else {
        (first.earlier, first.later, earlier)
    };
    let mut evidence = vec![Evidence::at(
        Observation::ConflictingOverlap {
            bytes: first.conflict.differing,
        },
        &[first.earlier.frame, first.later.frame],
    )];
    evidence.extend(marks);
    if let Some(asked) = asked
        && (1..=1 << 20).contains(&asked.end.ahead_of(forged.ack))
        && forged.ack.ahead_of(asked.seq) <= 0
        && forged.at >= asked.at
    {
        let by = asked.end.ahead_of(forged.ack) as u32;
        evidence.push(Evidence::at(
            Observation::AnswerWithoutAcknowledging { by },
            &[asked.frame, forged.frame],
        ));
    }
    // Other conflicts of the same sender that name the same side of the rivalry.
    let same_side = |rival: &Rivals| {
        if forged.frame == first.earlier.frame {
            (rival.earlier, rival.later)
        } else {
            (rival.later, rival.earlier)
        }
    };
    let mut forged_frames: Vec<_> = rivals
        .iter()
        .filter(|rival| rival.sender == first.sender)
        .map(|rival| same_side(rival).0.frame)
        .collect();
    let mut genuine_frames: Vec<_> = rivals
        .iter()
        .filter(|rival| rival.sender == first.sender)
        .map(|rival| same_side(rival).1.frame)
        .collect();
    for frames in [&mut forged_frames, &mut genuine_frames] {
        frames.sort_unstable();
        frames.dedup();
    }
    genuine_frames.retain(|frame| !forged_frames.contains(frame));
    let odd_ttl = evidence
        .iter()
        .any(|item| matches!(item.observation, Observation::TtlDiffers { .. }));
    Finding {
        kind: Kind::PayloadInjection,
        conversation: flow.conversation(),
        decided_by: forged.frame,
        at: forged.at,
        stage: Some(first.stage),
        signature: None,
        claimed_sender: Some(first.sender),
        position: if genuine.at >= forged.at {
            Position::OnPath
        } else {
            Position::Unknown
        },
        trigger: asked.map_or_else(
            || {
                let peer = flow
                    .side(first.sender.peer())
                    .notes()
                    .filter(|note| note.at <= forged.at)
                    .map(|note| note.frame);
                peer.max().map(|frame| Trigger {
                    kind: TriggerKind::Packet,
                    name: None,
                    frame,
                })
            },
            |asked| Some(asked.trigger()),
        ),
        forged: forged_frames,
        genuine: genuine_frames,
        dropped: Vec::new(),
        prior: Prior::Abnormal,
        evidence,
        injector: Some(Injector::from_marks(&forged.marks, odd_ttl)),
        particulars: Particulars::default(),
    }
}
