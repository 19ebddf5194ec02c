//! From an answer to a finding.

use std::sync::Arc;

use arrayvec::ArrayVec;

use super::answer::{Answer, Contradiction, Leads, RunOn, known};
use crate::detect::detector::Conclusion;
use crate::detect::packs::pack::Pack;
use crate::detect::packs::row::{Row, Scope};
use crate::detect::provenance::{has_odd_ttl, odd_marks, oddness};
use crate::finding::evidence::{BlockAnswerObservation, Evidence, NoticeObservation, Observation};
use crate::finding::finding::{Device, Finding, Injector, Kind, Particulars, Party, Position, Trigger, TriggerKind};
use crate::finding::verdict::Prior;
use crate::flow::side::Note;
use crate::packet::packet::SequenceNumber;
use crate::payload::http_body::DecodingRoom;
use crate::payload::http_head::{HttpRead, ResponseHead};

/// Header evidence below this many nats does not make an answer suspect by itself (a window alone is 2.1).
const SUSPECT: f64 = 2.5;

/// Weighs one answer of a flow; none if nothing about it is suspect.
pub(super) fn weigh(
    answer: &Answer,
    answers: &[Answer],
    conclusion: &Conclusion<'_>,
    pack: &Pack,
    room: &mut DecodingRoom,
) -> Option<Finding> {
    let flow = conclusion.flow;
    let side = flow.side(Party::Server);
    let frame = answer.note.frame;
    let row = whole_page_row(answer, conclusion, pack, room).or_else(|| answer.row.clone());
    let row = row.as_deref();
    let marks = odd_marks(&answer.note, &[], side, flow.asked.as_ref());
    let device = device(answer, row);
    let rivals: Vec<&Note> = answer.contradictions.iter().map(Contradiction::other).collect();
    let silent = answer.closes_bare() && repeated_in_vain(answer, conclusion) >= IN_VAIN;
    let leads = answer.leads != Leads::Nowhere;
    let runs_on = answer.run_on.as_ref();
    let marked = oddness(&marks) >= SUSPECT || device.is_some() || row.is_some();
    if rivals.is_empty() && !marked && !silent && !leads && runs_on.is_none() {
        return None;
    }
    // Of two rivals the odder one is forged, and the first where they are equally odd.
    let rival_is_odder = answer
        .contradictions
        .iter()
        .filter(|contradiction| matches!(contradiction, Contradiction::Rival { .. }))
        .map(|contradiction| {
            let other = contradiction.other();
            let theirs = oddness(&odd_marks(other, &[], side, flow.asked.as_ref()));
            (theirs, other.at < answer.note.at)
        })
        .any(|(theirs, first)| theirs > oddness(&marks) || (theirs >= oddness(&marks) && first && device.is_none()));
    if rival_is_odder || !(answer.looks_like_a_notice() || row.is_some() || leads) {
        return None;
    }

    let mut evidence = marks;
    evidence.extend(device.map(|observation| Evidence::at(observation, &[frame])));
    contradictions(answer, &mut evidence);
    timing(answer, conclusion, &mut evidence);
    content(answer, row, &mut evidence);

    let odd_ttl = has_odd_ttl(&evidence);
    let mut injector = Injector::from_marks(&answer.note.marks, odd_ttl).with_window(answer.note.window);
    if let Some(Observation::KnownDevice(device)) = device {
        injector.device = Some(device);
    }
    let mut forged: Vec<_> = answers
        .iter()
        .filter(|other| other.note.marks.ip_id == answer.note.marks.ip_id && other.note.seq == answer.note.seq)
        .map(|other| other.note.frame)
        .collect();
    forged.sort_unstable();
    let mut genuine: Vec<_> = rivals.iter().map(|note| note.frame).collect();
    let behind = runs_on.map(|run_on| run_on.first.frame);
    genuine.extend(behind.filter(|frame| *frame != answer.note.frame));
    genuine.sort_unstable();
    genuine.dedup();
    let contradicted = !answer.contradictions.is_empty();
    let repeated = repeated_in_vain(answer, conclusion);
    let silent = repeated >= IN_VAIN;
    if silent {
        evidence.push(Evidence::at(Observation::SilentAfterAnswer { repeated }, &[frame]));
    }
    evidence.extend(
        runs_on
            .into_iter()
            .flat_map(|run_on| going_on(answer, run_on, conclusion)),
    );
    Some(Finding {
        kind: Kind::BlockPage,
        conversation: flow.conversation(),
        decided_by: frame,
        at: answer.note.at,
        stage: Some(answer.stage),
        signature: None,
        claimed_sender: Some(Party::Server),
        position: if contradicted {
            Position::OnPath
        } else {
            Position::Unknown
        },
        trigger: match &flow.asked {
            Some(asked) => Some(asked.trigger()),
            None => answer.request.map(|request| Trigger {
                kind: TriggerKind::Packet,
                name: None,
                frame: request.frame,
            }),
        },
        forged,
        genuine,
        dropped: Vec::new(),
        prior: if contradicted || silent || leads || runs_on.is_some() {
            Prior::Abnormal
        } else {
            Prior::Ordinary
        },
        evidence,
        injector: Some(injector),
        particulars: Particulars {
            http_status: answer.status,
            location: answer.location.map(|location| location.to_string()),
            fingerprint: row.map(Row::matched),
            ..Particulars::default()
        },
    })
}

/// What the whole page matches, where several segments of it are kept and they are this answer's.
fn whole_page_row(
    answer: &Answer,
    conclusion: &Conclusion<'_>,
    pack: &Pack,
    room: &mut DecodingRoom,
) -> Option<Arc<Row>> {
    let head = conclusion.flow.side(Party::Server).head?;
    let bytes = conclusion.heads.whole_from(head, answer.note.seq);
    if bytes.len() <= answer.first_len && answer.contradictions.is_empty() {
        // The first packet was all of it, or all that was kept, and has been looked through.
        return answer.row.clone();
    }
    match ResponseHead::read(bytes) {
        HttpRead::Head(head) if Some(head.status) == answer.status => known(&head, bytes, pack, room),
        HttpRead::Head(_) | HttpRead::Incomplete | HttpRead::NotHttp => None,
    }
}

fn contradictions(answer: &Answer, evidence: &mut Vec<Evidence>) {
    for contradiction in &answer.contradictions {
        let frames = [answer.note.frame, contradiction.other().frame];
        let after = contradiction.other().at.since(answer.note.at);
        match contradiction {
            Contradiction::Rival { conflict, .. } => {
                evidence.push(Evidence::at(
                    Observation::ConflictingOverlap {
                        bytes: conflict.differing,
                    },
                    &frames,
                ));
                evidence.push(Evidence::at(Observation::GenuineAnswerToo { after }, &frames));
            }
            Contradiction::AfterFin { .. } => evidence.push(Evidence::at(Observation::DataAfterFin { after }, &frames)),
        }
    }
}

/// What a server shows that goes on behind an answer which says it is complete.
fn going_on(answer: &Answer, run_on: &RunOn, conclusion: &Conclusion<'_>) -> impl Iterator<Item = Evidence> {
    let mut frames = ArrayVec::from([answer.note.frame, run_on.first.frame]);
    if frames[0] == frames[1] {
        frames.truncate(1);
    }
    let by = run_on.end.ahead_of(answer.end).unsigned_abs();
    let hole = is_hole(answer, run_on, conclusion).then_some(NoticeObservation::HoleBehind { bytes: run_on.hole });
    [Some(NoticeObservation::RunsOn { by }), hole]
        .into_iter()
        .flatten()
        .map(move |observation| Evidence::at(Observation::Notice(observation), &frames))
}

/// Packets of one flight that overtake each other arrive closer together [judged]; the round trip of a handshake may be far
/// longer than that of a repetition, where hosts are busy.
const OVERTAKEN: std::time::Duration = std::time::Duration::from_millis(10);

/// Whether bytes behind the answer were missing on the wire: not merely late, as packets that overtake each other are,
/// and not missed by the capture alone.
fn is_hole(answer: &Answer, run_on: &RunOn, conclusion: &Conclusion<'_>) -> bool {
    let client = conclusion.flow.side(Party::Client);
    let heard = |acked: SequenceNumber| acked.ahead_of(answer.note.end()) > 0;
    match (run_on.filled, conclusion.flow.round_trip(Party::Server)) {
        _ if run_on.hole == 0 => false,
        (Some(filled), Some(round_trip)) => filled.since(run_on.first.at) >= OVERTAKEN.min(round_trip / 2),
        (Some(_), None) => false,
        (None, _) => !client.acked.is_some_and(heard),
    }
}

/// So many repetitions no server that is still there leaves unanswered (Linux clients repeat a FIN after 1, 2, 4 … round
/// trips; three in a row are lost in 1 of 1 000 cases at 10 % loss).
const IN_VAIN: u16 = 3;

/// How often the client repeated itself after the answer without any reaction of the server.
fn repeated_in_vain(answer: &Answer, conclusion: &Conclusion<'_>) -> u16 {
    let flow = conclusion.flow;
    if flow
        .side(Party::Server)
        .last_at
        .is_some_and(|last| last > answer.note.at)
    {
        return 0;
    }
    let client = flow.side(Party::Client);
    client
        .notes()
        .filter(|note| note.at > answer.note.at && note.span > 0)
        .count() as u16
}

fn timing(answer: &Answer, conclusion: &Conclusion<'_>, evidence: &mut Vec<Evidence>) {
    let Some(request) = answer.request else { return };
    let frames = [request.frame, answer.note.frame];
    if let Some(floor) = conclusion.flow.round_trip(Party::Server) {
        let after = answer.note.at.since(request.at);
        if floor >= MEASURABLE && after < floor / 2 {
            evidence.push(Evidence::at(
                Observation::FasterThanHandshake {
                    after,
                    round_trip: floor,
                },
                &frames,
            ));
        }
    }
    let missing = request.end.ahead_of(answer.note.ack);
    if (1..1 << 20).contains(&missing) && answer.note.ack.ahead_of(request.seq) <= 0 {
        evidence.push(Evidence::at(
            Observation::AnswerWithoutAcknowledging { by: missing as u32 },
            &frames,
        ));
    }
}

/// Below this, a handshake's round trip is too short to tell "too fast" from scheduling noise.
const MEASURABLE: std::time::Duration = std::time::Duration::from_millis(4);

fn content(answer: &Answer, row: Option<&Row>, evidence: &mut Vec<Evidence>) {
    let mut add = |observation| evidence.push(Evidence::at(observation, &[answer.note.frame]));
    if answer.leads_elsewhere {
        add(Observation::ForeignRedirect);
    }
    if answer.status.is_none() {
        add(Observation::NoStatusLine);
    }
    if answer.bare && answer.looks_like_a_notice() {
        add(Observation::BareAnswer);
    }
    if answer.note.flags.fin() {
        add(Observation::FinWithAnswer);
    }
    if answer.status == Some(451) {
        add(Observation::LegalNotice);
    }
    match answer.leads {
        Leads::Nowhere => {}
        Leads::ToSearchGuide => add(Observation::BlockAnswer(BlockAnswerObservation::SearchGuide)),
        Leads::BackToAsker => add(Observation::BlockAnswer(BlockAnswerObservation::LeadsBackToAsker)),
    }
    if let Some(row) = row {
        add(match row.scope {
            Scope::FalsePositive => Observation::KnownFalsePositive,
            // A vague pattern says little, whatever its list thinks of it (wire-facts 5.1).
            Scope::Vague => Observation::KnownBlockPage {
                confidence: row.confidence.min(3),
            },
            _ => Observation::KnownBlockPage {
                confidence: row.confidence,
            },
        });
    }
}

/// Boxes known by the packet their page comes in.
fn device(answer: &Answer, row: Option<&Row>) -> Option<Observation> {
    let marks = answer.note.marks;
    let flags = answer.note.flags;
    match marks.ip_id {
        Some(0x3412) if flags.fin() && !flags.psh() && matches!(answer.status, Some(300..=399)) => {
            Some(Observation::KnownDevice(Device {
                name: "Sandvine PacketLogic",
                source: "Citizen Lab, Bad Traffic, 2018: IP id 13330, FIN without PSH, redirect",
            }))
        }
        Some(242) if flags.fin() => Some(Observation::ProbableDevice(Device {
            name: "Airtel's notice (IP id 242)",
            source: "Yadav et al., IMC 2018",
        })),
        Some(0 | 1) if !marks.dont_fragment && row.is_some() => Some(Observation::ProbableDevice(Device {
            name: "passive DPI that answers with IP id 0 or 1",
            source: "GoodbyeDPI filters IP ids 0x0 to 0xF",
        })),
        _ => None,
    }
}
