//! From a case to a finding: every test, with its conditions.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::NEAR;
use super::case::{BURST, Case, Contradiction, RESETS, Reset, is_odd};
use super::devices::{Recognised, TtlHabit, recognise};
use crate::detect::detector::Conclusion;
use crate::detect::signature::{ResetShape, reset_signature};
use crate::detect::silent_drop::notes;
use crate::finding::evidence::{Evidence, Observation};
use crate::finding::finding::{Finding, Injector, Kind, Particulars, Party, Position, Stage, Trigger, TriggerKind};
use crate::finding::habits::{Burst, Habits, Varying};
use crate::finding::verdict::Prior;
use crate::flow::side::Note;
use crate::packet::frame::FrameNumber;

/// Two bytes of slack: SYN and FIN take one each (Weaver et al., the appendix's conditions).
const SLACK: i32 = 2;

/// Back-to-back resets lie within this (Weaver et al.: 2.0 s).
const BACK_TO_BACK: Duration = Duration::from_secs(2);

/// Idle this long, a flow may have been forgotten by a NAT or ended by a server's keep-alive timer: servers commonly
/// close after 5 to 75 s (defaults of Apache and nginx).
const LONG_IDLE: Duration = Duration::from_secs(5);

/// Below this, a handshake's round trip is too short to tell "too fast" from scheduling noise.
const MEASURABLE: Duration = Duration::from_millis(4);

/// Repetitions of a reset, and the least of their pauses, that can be a stack's own: Linux repeats after 200 ms at the
/// least (RFC 6298 section 2.4 asks for a second).
const REPEATED: usize = 3;
const LEAST_PAUSE: Duration = Duration::from_millis(150);

/// Weighs the resets of `sender` (as they claim).
pub(super) fn weigh(case: &Case, sender: Party, conclusion: &Conclusion<'_>) -> Finding {
    let first = &case.resets[0];
    let mut evidence = Vec::new();
    let ordinary = benign_terminators(case, sender, &mut evidence);
    if !ordinary {
        sequence(case, &mut evidence);
    }
    header(case, sender, &mut evidence);
    timing(case, sender, ordinary, &mut evidence);
    aftermath(case, sender, &mut evidence);
    evidence.extend(notes(conclusion));
    let device = recognise(case);
    evidence.extend(device.map(|device| Evidence::at(device.observation, &[first.note.frame])));

    let mut forged: Vec<FrameNumber> = case.alike().map(|note| note.frame).collect();
    forged.sort_unstable();
    let shapes: Vec<_> = case
        .resets
        .iter()
        .map(|reset| ResetShape {
            flags: reset.note.flags,
            ack: reset.note.ack,
        })
        .collect();
    let stage = case.before.stage;
    Finding {
        kind: Kind::RstInjection,
        conversation: conclusion.flow.conversation(),
        decided_by: first.note.frame,
        at: first.note.at,
        stage: Some(stage),
        signature: reset_signature(stage, &shapes),
        claimed_sender: Some(sender),
        position: if case.contradiction.is_some() {
            Position::OnPath
        } else {
            Position::Unknown
        },
        trigger: trigger(case),
        forged,
        genuine: case.genuine.to_vec(),
        dropped: Vec::new(),
        prior: Prior::Abnormal,
        injector: Some(Injector {
            refused_after: refused_after(case, sender),
            ..injector(case, device)
        }),
        evidence,
        particulars: Particulars::default(),
    }
}

/// The request before the reset, or else the packet it answers.
fn trigger(case: &Case) -> Option<Trigger> {
    match &case.asked {
        Some(asked) => Some(asked.trigger()),
        None => case.before.peer_last.map(|note| Trigger {
            kind: TriggerKind::Packet,
            name: None,
            frame: note.frame,
        }),
    }
}

/// What ends flows without anybody's interference (wire-facts 2.3 and 8). True if the reset is thereby ordinary.
fn benign_terminators(case: &Case, sender: Party, evidence: &mut Vec<Evidence>) -> bool {
    let before = &case.before;
    if let Some(fin) = before.fin {
        evidence.push(Evidence::at(Observation::AfterFin, &[fin.frame]));
    }
    if let Some(reset) = before.peer_reset {
        evidence.push(Evidence::at(Observation::PeerResetFirst, &[reset.frame]));
    }
    if before.idle >= LONG_IDLE {
        evidence.push(Evidence::at(Observation::IdleBefore { idle: before.idle }, &[]));
    }
    let answered = match (&case.asked, before.server_last_data) {
        (Some(asked), Some(data)) => data.at >= asked.at,
        (None, Some(_)) => before.client_data > 0,
        (_, None) => false,
    };
    // A sender that went on was not ended by its own reset: then these explain nothing.
    if answered && case.before.odd_fin.is_none() && case.contradiction.is_none() {
        let observation = match sender {
            Party::Client => Observation::ClientAbort,
            Party::Server => Observation::ExchangeComplete,
        };
        evidence.push(Evidence::at(observation, &[]));
    }
    before.fin.is_some() || before.peer_reset.is_some()
}

/// Contradictions in sequence space (wire-facts 2.1).
fn sequence(case: &Case, evidence: &mut Vec<Evidence>) {
    let before = &case.before;
    let first = case.resets[0].note;
    let with_genuine = |frame: FrameNumber| {
        let mut frames = vec![frame];
        frames.extend(case.genuine.iter().copied());
        frames
    };
    match case.contradiction {
        Some(Contradiction::Data(after)) if case.genuine.len() >= 2 => {
            let packets = case.genuine.len() as u16;
            evidence.push(Evidence::at(
                Observation::SenderWentOn { packets, after },
                &with_genuine(first.frame),
            ));
        }
        Some(Contradiction::Data(after)) => {
            evidence.push(Evidence::at(
                Observation::DataAfterReset { after },
                &with_genuine(first.frame),
            ));
        }
        Some(Contradiction::SynAck(after)) => {
            evidence.push(Evidence::at(
                Observation::SynAckAfterReset { after },
                &with_genuine(first.frame),
            ));
        }
        None => {}
    }
    if let (Some(end), Some(data)) = (before.sender_end, before.sender_last_data) {
        let below = end.ahead_of(first.seq);
        // The data above must be fresh: a stack that went back to retransmit may abort at the lower number.
        let fresh = data.end() == end && first.at.since(data.at) <= BACK_TO_BACK;
        if (1..NEAR).contains(&below) && fresh {
            evidence.push(Evidence::at(
                Observation::ResetBelowData { by: below as u32 },
                &[data.frame, first.frame],
            ));
        }
        let above = match before.peer_acked {
            Some(acked) if acked.is_after(end) => first.seq.ahead_of(acked),
            _ => first.seq.ahead_of(end),
        };
        if before.two_sided && (SLACK + 1..NEAR).contains(&above) {
            evidence.push(Evidence::at(
                Observation::ResetAheadOfStream { by: above as u32 },
                &[first.frame],
            ));
        }
    }
    retransmitted(case, evidence);
    for pair in case.resets.windows(2) {
        sequence_jump(case, &pair[0], &pair[1], evidence);
        ack_change(case, &pair[0], &pair[1], evidence);
    }
}

/// A reset made of the packets of a sender that is not heard any more: it is repeated as they are, in the pauses in which
/// a stack repeats data (RFC 6298 section 5.5), and the peer sends nothing that it could answer.
fn retransmitted(case: &Case, evidence: &mut Vec<Evidence>) {
    let first = case.resets[0].note;
    let alike: ArrayVec<Note, RESETS> = case.resets[1..]
        .iter()
        .take_while(|reset| {
            let note = reset.note;
            reset.peer_packets_between == 0
                && note.seq == first.seq
                && note.ack == first.ack
                && note.flags == first.flags
        })
        .map(|reset| reset.note)
        .collect();
    let mut pauses: ArrayVec<Duration, RESETS> = ArrayVec::new();
    let mut before = first.at;
    for note in &alike {
        pauses.push(note.at.since(before));
        before = note.at;
    }
    let doubles = pauses
        .windows(2)
        .filter(|pair| pair[0] >= LEAST_PAUSE && pair[1] >= pair[0].mul_f64(1.7) && pair[1] <= pair[0].mul_f64(2.4))
        .count();
    let settled = pauses.windows(2).all(|pair| pair[1] >= pair[0].mul_f64(0.9));
    if case.before.two_sided && alike.len() >= REPEATED && doubles >= 1 && settled {
        let mut frames = vec![first.frame];
        frames.extend(alike.iter().map(|note| note.frame));
        let times = frames.len() as u16;
        evidence.push(Evidence::at(Observation::ResetRetransmitted { times }, &frames));
    }
}

/// RST_SEQ_CHANGE with all seven conditions of Weaver et al. (5 and 6 are checked before the sequence tests).
fn sequence_jump(case: &Case, one: &Reset, two: &Reset, evidence: &mut Vec<Evidence>) {
    let before = &case.before;
    let by = two.note.seq.ahead_of(one.note.seq);
    let near = (SLACK + 1..NEAR).contains(&by);
    let back_to_back = two.note.at.since(one.note.at) < BACK_TO_BACK;
    let past_all_sent = before.sender_end.is_none_or(|end| two.note.seq.is_after(end));
    let past_all_acked = before
        .peer_acked
        .is_some_and(|acked| two.note.seq.ahead_of(acked) > SLACK);
    if near && back_to_back && past_all_sent && past_all_acked && before.two_sided {
        evidence.push(Evidence::at(
            Observation::ResetSequenceJump { by: by as u32 },
            &[one.note.frame, two.note.frame],
        ));
    }
}

/// RST_ACK_CHANGE: acknowledgements that differ, within one burst, and that no packet of the peer explains.
fn ack_change(case: &Case, one: &Reset, two: &Reset, evidence: &mut Vec<Evidence>) {
    let before = &case.before;
    if !one.note.flags.ack() || !two.note.flags.ack() || one.note.ack == two.note.ack || two.peer_packets_between > 0 {
        return;
    }
    let explained = |note: &Note| {
        before.peer_end.is_none_or(|end| note.ack == end)
            || before
                .peer_last
                .is_some_and(|last| note.ack == last.seq || note.ack == last.end())
            || case
                .asked
                .as_ref()
                .is_some_and(|asked| note.ack == asked.seq || note.ack == asked.end)
    };
    if two.note.at.since(one.note.at) < BACK_TO_BACK && before.two_sided && !explained(&two.note) {
        evidence.push(Evidence::at(
            Observation::ResetAckChange,
            &[one.note.frame, two.note.frame],
        ));
    }
}

/// Marks in the headers (wire-facts 6.3).
fn header(case: &Case, sender: Party, evidence: &mut Vec<Evidence>) {
    let before = &case.before;
    let first = case.resets[0].note;
    let profile = &before.profile;
    let at_first = |observation| Evidence::at(observation, &[first.frame]);
    if let Some(usual) = profile.usual_ttl() {
        let reset = first.marks.ttl;
        if usual.abs_diff(reset) >= 2 {
            evidence.push(at_first(Observation::ResetTtlDiffers { reset, usual }));
        } else if profile.packets() >= 2 {
            let fits_counter = first
                .marks
                .ip_id
                .is_some_and(|id| profile.continues_counter(id) == Some(true));
            evidence.push(at_first(if fits_counter {
                Observation::MarksAsUsual
            } else {
                Observation::TtlAsUsual
            }));
        }
    }
    if let Some(usual) = profile.usual_ttl()
        && usual.abs_diff(first.marks.ttl) >= 2
        && let Some(ordinary) = case
            .resets
            .iter()
            .find(|reset| reset.note.marks.ttl.abs_diff(usual) <= 1)
    {
        let observation = Observation::TwoKindsOfReset {
            strange: first.marks.ttl,
            usual,
        };
        evidence.push(Evidence::at(observation, &[first.frame, ordinary.note.frame]));
    }
    if let Some(observation) = copied_ip_id(case, &first) {
        evidence.push(at_first(observation));
    }
    if let (Some(id), Some(fin)) = (first.marks.ip_id, before.odd_fin)
        && fin
            .marks
            .ip_id
            .is_some_and(|earlier| (1..=2).contains(&id.wrapping_sub(earlier)))
    {
        evidence.push(Evidence::at(
            Observation::IpIdFollowsForgery { ip_id: id },
            &[fin.frame, first.frame],
        ));
    }
    if first.marks.link_source != 0
        && profile.packets() >= 3
        && profile
            .last()
            .is_some_and(|last| last.link_source != 0 && last.link_source != first.marks.link_source)
        && profile
            .opening()
            .is_none_or(|opening| opening.link_source != first.marks.link_source)
    {
        evidence.push(at_first(Observation::LinkSourceDiffers));
    }
    if !first.flags.ack() && first.ack.0 != 0 && sender == Party::Server {
        evidence.push(at_first(Observation::AckWithoutFlag));
    }
    if first.flags.any(crate::packet::packet::TcpFlags::RESERVED) {
        evidence.push(at_first(Observation::ReservedBits));
    }
}

/// Whether the IP id is the trigger's, or one above, and nothing more ordinary explains it.
fn copied_ip_id(case: &Case, first: &Note) -> Option<Observation> {
    let id = first.marks.ip_id.filter(|id| *id != 0)?;
    let profile = &case.before.profile;
    // A sender whose packets all carry one id copies nobody.
    if profile.continues_counter(id) == Some(true) || profile.last().is_some_and(|last| last.ip_id == Some(id)) {
        return None;
    }
    let triggers = [
        case.before.peer_last.map(|note| note.marks.ip_id),
        case.asked.as_ref().map(|asked| asked.marks.ip_id),
    ];
    triggers
        .into_iter()
        .flatten()
        .flatten()
        .filter(|trigger| *trigger != 0)
        .find_map(|trigger| {
            let offset = id.wrapping_sub(trigger);
            (offset <= 1).then_some(Observation::IpIdCopiedFromTrigger { ip_id: id, offset })
        })
}

fn timing(case: &Case, sender: Party, ordinary: bool, evidence: &mut Vec<Evidence>) {
    let before = &case.before;
    let first = &case.resets[0].note;
    if let (Some(asked), Some(round_trip), false) = (&case.asked, before.round_trip, ordinary) {
        let after = first.at.since(asked.at);
        let untouched = before
            .server_last_data
            .is_none_or(|data| data.at < asked.at || before.odd_fin.is_some());
        let frames = [asked.frame, first.frame];
        // Seen from the server's side: the client cannot have got any answer yet.
        let unanswered = before
            .peer_end
            .is_none_or(|end| case.resets[0].note.ack.ahead_of(end) < 0 || before.server_last_data.is_none());
        if sender == Party::Client && round_trip >= MEASURABLE && after < round_trip / 2 && unanswered {
            evidence.push(Evidence::at(
                Observation::AbortBeforeAnswer { after, round_trip },
                &frames,
            ));
        }
        if sender == Party::Server && untouched {
            if after <= round_trip.mul_f64(1.2) + Duration::from_millis(5) {
                evidence.push(Evidence::at(
                    Observation::ResetRightAfterTrigger { after, round_trip },
                    &frames,
                ));
            }
            if round_trip >= MEASURABLE && after < round_trip / 2 {
                evidence.push(Evidence::at(
                    Observation::TooFast {
                        after,
                        floor: round_trip,
                    },
                    &frames,
                ));
            }
        }
    }
    let burst: Vec<_> = case.burst().collect();
    let between: u32 = burst.iter().skip(1).map(|reset| reset.peer_packets_between).sum();
    if burst.len() >= 2 && between == 0 && burst.len() as u32 > before.peer_in_flight.max(1) && !ordinary {
        let within = burst.last().map_or(BURST, |last| last.note.at.since(first.at));
        let frames: Vec<_> = burst.iter().map(|reset| reset.note.frame).collect();
        evidence.push(Evidence::at(
            Observation::Burst {
                count: burst.len() as u16,
                within,
            },
            &frames,
        ));
    }
}

fn aftermath(case: &Case, sender: Party, evidence: &mut Vec<Evidence>) {
    let refused = case.before.stage == Stage::PostSyn && sender == Party::Server && case.contradiction.is_none();
    if refused {
        evidence.push(Evidence::at(
            Observation::RefusedConnection,
            &[case.resets[0].note.frame],
        ));
    }
}

/// How long a refused SYN waited for its reset: the ledger knows how far away the host is.
fn refused_after(case: &Case, sender: Party) -> Option<Duration> {
    let syn = case
        .before
        .peer_last
        .filter(|note| note.flags.syn() && !note.flags.ack())?;
    (case.before.stage == Stage::PostSyn && sender == Party::Server).then(|| case.resets[0].note.at.since(syn.at))
}

/// What the resets say about where the box is.
fn injector(case: &Case, recognised: Option<Recognised>) -> Injector {
    let first = case.resets[0].note;
    let ttl = recognised.map_or(TtlHabit::Own, |recognised| recognised.ttl);
    let ttl_varies = case.burst().any(|reset| reset.note.marks.ttl != first.marks.ttl);
    let ttl_is_its_own = ttl == TtlHabit::Own && !ttl_varies && (is_odd_reset(case) || case.contradiction.is_some());
    Injector {
        mirrors_ttl: ttl == TtlHabit::Mirrors,
        device: match recognised.map(|recognised| recognised.observation) {
            Some(Observation::KnownDevice(device)) => Some(device),
            _ => None,
        },
        habits: habits(case),
        ..Injector::from_marks(&first.marks, ttl_is_its_own)
    }
}

/// What the resets of the first burst have in common.
fn habits(case: &Case) -> Habits {
    let first = case.resets[0].note;
    let burst = || case.burst().map(|reset| reset.note);
    let several = burst().count() > 1;
    let stays = |same: &dyn Fn(&Note) -> bool| burst().all(|note| same(&note));
    let copied = case
        .asked
        .as_ref()
        .is_some_and(|asked| first.window != 0 && asked.window == first.window);
    Habits {
        ip_id_stays: several && stays(&|note| note.marks.ip_id == first.marks.ip_id),
        window: if copied {
            Some(Varying::Copied)
        } else {
            Varying::of(burst().map(|note| note.window))
        },
        burst: Some(match (several, stays(&|note| note.seq == first.seq)) {
            (false, _) => Burst::Single,
            (true, true) => Burst::Repeated,
            (true, false) => Burst::Stepped,
        }),
        ..Habits::of_marks(&first.marks)
    }
}

/// Whether the reset's own TTL tells anything: it is not that of its claimed sender.
fn is_odd_reset(case: &Case) -> bool {
    is_odd(&case.resets[0].note, &case.before.profile)
}
