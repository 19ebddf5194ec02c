//! From a suspicion to a finding.

use super::super::detector::Conclusion;
use super::super::provenance::{has_odd_ttl, odd_marks, oddness};
use super::case::Case;
use super::{Seen, Stream};
use crate::finding::evidence::{Evidence, Observation, StreamObservation};
use crate::finding::finding::{Finding, Injector, Kind, Particulars, Party, Position, Trigger, TriggerKind};
use crate::finding::verdict::Prior;
use crate::flow::path_profile::IpIdLaw;
use crate::flow::side::Note;
use crate::packet::frame::FrameNumber;

/// The peer's repetitions that show that the two ends lost each other.
const LOST_EACH_OTHER: u16 = 3;

/// What the case amounts to; none if the sender itself went on from the bytes in question.
pub(super) fn weigh(case: &Case, streams: &[Stream; 2], conclusion: &Conclusion<'_>) -> Option<Finding> {
    let flow = conclusion.flow;
    let sender = case.sender?;
    let side = flow.side(sender);
    let asked = flow.asked.as_ref().filter(|_| sender == Party::Server);
    let counts = side.profile.ip_id_law() == IpIdLaw::Counter;
    let repeats_id = |seen: &Seen| counts && seen.repeats_id;
    let together: Vec<Note> = case
        .suspects
        .iter()
        .chain(streams[sender as usize].seen().filter(|seen| repeats_id(seen)))
        .map(|seen| seen.note)
        .collect();
    let marks_of = |seen: &Seen| {
        let mut marks = odd_marks(&seen.note, &together, side, asked);
        if let Some(ip_id) = seen.note.marks.ip_id.filter(|_| repeats_id(seen)) {
            marks.push(Evidence::in_stream(
                StreamObservation::IpIdRepeated { ip_id },
                &[seen.note.frame],
            ));
        }
        marks
    };
    let mut evidence = Vec::new();
    let (forged, genuine, marks) = if let Some(first) = case.rivals.first() {
        evidence.push(Evidence::at(
            Observation::ConflictingOverlap { bytes: first.differing },
            &[first.earlier.note.frame, first.later.note.frame],
        ));
        if first.earlier.in_step && first.later.in_step && first.earlier.breaks == first.later.breaks {
            evidence.push(Evidence::in_stream(
                StreamObservation::TakesItsPlace,
                &[first.earlier.note.frame, first.later.note.frame],
            ));
        }
        let (earlier, later) = (marks_of(&first.earlier), marks_of(&first.later));
        if oddness(&later) > oddness(&earlier) {
            (first.later, Some(first.earlier), later)
        } else {
            (first.earlier, Some(first.later), earlier)
        }
    } else {
        let first = *case.suspects.first()?;
        // What the sender goes on from, it wrote.
        if case.went_on > 0 || case.takes_its_place() {
            return None;
        }
        let marks = marks_of(&first);
        // A sender that goes back behind its own bytes may be no real stack but a probing tool.
        if oddness(&marks) <= 0.0 {
            return None;
        }
        (first, None, marks)
    };
    evidence.extend(marks);
    if case.went_on == 0 {
        if !case.behind.is_empty() {
            let packets = case.behind.len() as u16;
            evidence.push(Evidence::in_stream(
                StreamObservation::NeverWrote { packets },
                &case.behind,
            ));
        }
        if let Some(closed) = case.closed {
            let observation = StreamObservation::BeyondItsEnd { by: closed.by };
            evidence.push(Evidence::in_stream(observation, &[forged.note.frame, closed.fin]));
        }
    }
    if let Some((one, two, shift)) = case.spray {
        evidence.push(Evidence::in_stream(StreamObservation::Sprayed { shift }, &[one, two]));
    }
    let lost_each_other = case.unheard >= LOST_EACH_OTHER && case.went_on == 0;
    if lost_each_other {
        let repeats = case.unheard;
        evidence.push(Evidence::in_stream(StreamObservation::PeerUnheard { repeats }, &[]));
    }
    if let Some(asked) = asked
        && (1..=1 << 20).contains(&asked.end.ahead_of(forged.note.ack))
        && forged.note.ack.ahead_of(asked.seq) <= 0
        && forged.note.at >= asked.at
    {
        let by = asked.end.ahead_of(forged.note.ack) as u32;
        evidence.push(Evidence::at(
            Observation::AnswerWithoutAcknowledging { by },
            &[asked.frame, forged.note.frame],
        ));
    }
    // One strange segment is nothing unusual where the two ends go on talking.
    let abnormal = !case.rivals.is_empty() || case.closed.is_some() || lost_each_other;
    let (forged_frames, genuine_frames) = sort_out(case, &forged, streams, counts);
    let odd_ttl = has_odd_ttl(&evidence);
    Some(Finding {
        kind: Kind::PayloadInjection,
        conversation: flow.conversation(),
        decided_by: forged.note.frame,
        at: forged.note.at,
        stage: Some(forged.stage),
        signature: None,
        claimed_sender: Some(sender),
        position: if genuine.is_none_or(|genuine| genuine.note.at >= forged.note.at) && !case.rivals.is_empty() {
            Position::OnPath
        } else {
            Position::Unknown
        },
        trigger: asked.map_or_else(
            || {
                let peer = flow
                    .side(sender.peer())
                    .notes()
                    .filter(|note| note.at <= forged.note.at && note.frame < forged.note.frame)
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
        prior: if abnormal { Prior::Abnormal } else { Prior::Ordinary },
        evidence,
        injector: Some(Injector::from_marks(&forged.note.marks, odd_ttl).with_window(forged.note.window)),
        particulars: Particulars::default(),
    })
}

/// The forged packets and the genuine ones: other conflicts name the same side of the rivalry.
fn sort_out(case: &Case, forged: &Seen, streams: &[Stream; 2], counts: bool) -> (Vec<FrameNumber>, Vec<FrameNumber>) {
    let came_first = case
        .rivals
        .first()
        .is_some_and(|first| first.earlier.note.frame == forged.note.frame);
    let mut forged_frames: Vec<_> = case.suspects.iter().map(|seen| seen.note.frame).collect();
    let mut genuine_frames: Vec<_> = case.closed.iter().map(|closed| closed.fin).collect();
    for rivals in &case.rivals {
        let (bad, good) = if came_first {
            (rivals.earlier, rivals.later)
        } else {
            (rivals.later, rivals.earlier)
        };
        forged_frames.push(bad.note.frame);
        genuine_frames.push(good.note.frame);
    }
    forged_frames.extend(case.spray.iter().flat_map(|(one, two, _)| [*one, *two]));
    let own = case.sender.map(|sender| &streams[sender as usize]);
    forged_frames.extend(
        own.into_iter()
            .flat_map(Stream::seen)
            .filter(|seen| counts && seen.repeats_id)
            .map(|seen| seen.note.frame),
    );
    for frames in [&mut forged_frames, &mut genuine_frames] {
        frames.sort_unstable();
        frames.dedup();
    }
    genuine_frames.retain(|frame| !forged_frames.contains(frame));
    (forged_frames, genuine_frames)
}
