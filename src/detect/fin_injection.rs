//! `fin_injection`: an end of a stream its sender did not send.
//!
//! # What it sees
//! The first FIN of both directions, and the data their senders send after it.
//!
//! # How it tells
//! A FIN ends the data of its sender: what lies beyond it and comes later was never to exist. The sender that goes on
//! did not close. A FIN that lies below data sent before counts only with marks of its own: probing tools without a
//! real stack close wherever they like.
//!
//! # What it mistakes
//! A port used anew whose SYN the capture lost: only data close behind the FIN count.
//!
//! # References
//! RFC 9293 section 3.6. HoneyBadger, closing-sequence overlap (wire-facts 6.2).

use arrayvec::ArrayVec;

use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::filing::{Early, Filing};
use super::provenance::{has_odd_ttl, odd_marks, oddness};
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, StreamObservation};
use crate::finding::finding::{Finding, Injector, Kind, Particulars, Party, Position, Stage};
use crate::finding::verdict::{Prior, Verdict};
use crate::flow::flow::Flow;
use crate::flow::side::Note;
use crate::packet::frame::FrameNumber;

/// How far behind a FIN data may lie to contradict it, in bytes: a large window.
const NEAR: i32 = 1 << 20;

/// How odd a FIN below data must be, in nats: another TTL or a missing timestamp, but no weaker mark.
const STRANGER: f64 = 3.0;

/// Contradicting packets that are named.
const NAMED: usize = 4;

/// Finds forged FINs.
#[derive(Clone, Copy, Debug, Default)]
pub struct FinInjection;

/// A FIN that its sender contradicts.
#[derive(Clone, Debug)]
pub struct Case {
    sender: Party,
    fin: Note,
    stage: Stage,
    /// By how many bytes it lies below what its sender had sent.
    below: u32,
    /// Data beyond it that came later.
    beyond: ArrayVec<FrameNumber, NAMED>,
}

impl Detector for FinInjection {
    const KIND: Kind = Kind::FinInjection;
    type Memory = Filing<Case>;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, filing: &mut Filing<Case>, (): &mut ()) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        if filing.is_filed() || segment.flags.rst() || segment.flags.syn() || !sighting.flow.saw_handshake() {
            return Attention::Idle;
        }
        let sender = sighting.sender;
        let side = sighting.flow.side(sender);
        if let Some(fin) = &side.fin {
            // A keep-alive after a close carries a byte of its own.
            let ahead = segment.end().ahead_of(fin.end());
            if segment.payload_len > 1 && (1..NEAR).contains(&ahead) {
                let case = filing.case_or(|| Case {
                    sender,
                    fin: *fin,
                    stage: sighting.flow.stage(),
                    below: 0,
                    beyond: ArrayVec::new(),
                });
                if case.sender == sender && case.beyond.try_push(sighting.packet.frame.number).is_ok() {
                    return Attention::Suspicious;
                }
            }
            return Attention::Idle;
        }
        // The padding of short frames may have been counted as six bytes of data.
        if segment.flags.fin()
            && let Some(end) = side.end
            && (7..NEAR).contains(&end.plus(1).ahead_of(segment.end()))
            && filing.case().is_none()
        {
            filing.case_or(|| Case {
                sender,
                fin: Note::of(sighting.packet, segment),
                stage: sighting.flow.stage(),
                below: end.plus(1).ahead_of(segment.end()).unsigned_abs(),
                beyond: ArrayVec::new(),
            });
            return Attention::Suspicious;
        }
        Attention::Idle
    }

    fn rests(&self, _flow: &Flow, filing: &Self::Memory) -> bool {
        filing.is_empty()
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, filing: &mut Filing<Case>, (): &mut (), docket: &mut Docket) {
        filing.conclude(conclusion, Early::From(Verdict::Possible), docket, |case| {
            weigh(case, conclusion)
        });
    }
}

fn weigh(case: &Case, conclusion: &Conclusion<'_>) -> Option<Finding> {
    let flow = conclusion.flow;
    let side = flow.side(case.sender);
    let asked = flow.asked.as_ref().filter(|_| case.sender == Party::Server);
    let mut evidence = odd_marks(&case.fin, &[], side, asked);
    if case.beyond.is_empty() && oddness(&evidence) < STRANGER {
        return None;
    }
    if case.below > 0 {
        let observation = StreamObservation::FinBelowData { by: case.below };
        evidence.push(Evidence::in_stream(observation, &[case.fin.frame]));
    }
    if !case.beyond.is_empty() {
        let packets = case.beyond.len() as u16;
        let frames: Vec<_> = [case.fin.frame]
            .into_iter()
            .chain(case.beyond.iter().copied())
            .collect();
        evidence.push(Evidence::in_stream(
            StreamObservation::SentAfterFin { packets },
            &frames,
        ));
    }
    let odd_ttl = has_odd_ttl(&evidence);
    Some(Finding {
        kind: Kind::FinInjection,
        conversation: flow.conversation(),
        decided_by: case.fin.frame,
        at: case.fin.at,
        stage: Some(case.stage),
        signature: None,
        claimed_sender: Some(case.sender),
        position: if case.beyond.is_empty() {
            Position::Unknown
        } else {
            Position::OnPath
        },
        trigger: asked
            .filter(|asked| asked.at <= case.fin.at)
            .map(crate::flow::asked::Asked::trigger),
        forged: vec![case.fin.frame],
        genuine: case.beyond.to_vec(),
        dropped: Vec::new(),
        prior: Prior::Abnormal,
        evidence,
        injector: Some(Injector::from_marks(&case.fin.marks, odd_ttl).with_window(case.fin.window)),
        particulars: Particulars::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::detector::Ending;
    use crate::detect::trial::Trial;
    use crate::flow::talk::{A, F, R, Sent, client, opened, server};

    /// What is told after the client's request and `rest`.
    fn told(rest: &[Sent<'_>]) -> Option<(Vec<&'static str>, Vec<u64>)> {
        let mut trial = Trial::of(FinInjection, 80);
        trial.show(&opened(&[
            client(A, 1, 1, b"hello"),
            server(A, 1, 6, b"twenty bytes of data"),
        ]));
        assert!(trial.rests());
        trial.show(rest);
        let found = trial.conclude(Ending::Over);
        let finding = found.first()?;
        let keys = finding.evidence.iter().map(|item| item.observation.key()).collect();
        Some((keys, finding.genuine.iter().map(|frame| frame.in_file()).collect()))
    }

    fn says(key: &str, rest: &[Sent<'_>]) -> bool {
        told(rest).is_some_and(|(keys, _)| keys.contains(&key))
    }

    #[test]
    fn data_behind_a_fin_contradict_it() {
        let fin = server(F | A, 21, 6, b"");
        let after = |seq, payload| [fin, server(A, seq, 6, payload)];
        assert_eq!(told(&after(21, b"more")).unwrap().1, [7]);
        assert!(says("sent_after_fin", &after(21, b"more")));
        assert!(
            !says("sent_after_fin", &after(18, b"more")),
            "it ends where the FIN does"
        );
        assert!(says("sent_after_fin", &after(19, b"more")));
        assert!(!says("sent_after_fin", &after(22, b"x")), "a keep-alive");
        assert!(says("sent_after_fin", &after(22, b"xy")));
        // What lies a megabyte behind is of another connection.
        assert!(says("sent_after_fin", &after(22 + (1 << 20) - 5, b"more")));
        assert!(!says("sent_after_fin", &after(22 + (1 << 20) - 4, b"more")));
        let mut many = vec![fin];
        many.extend((0..6).map(|number| server(A, 21 + number * 4, 6, b"more")));
        assert_eq!(told(&many).unwrap().1, [7, 8, 9, 10], "no more are named");
        assert!(told(&[fin, client(A, 6, 22, b"more")]).is_none());
        assert!(told(&[fin, server(R | A, 22, 6, b"more")]).is_none());
    }

    #[test]
    fn a_strange_fin_below_data_is_told() {
        let below = |seq| server(F | A, seq, 6, b"").ttl(44);
        let by = |seq| says("fin_below_data", &[below(seq), server(A, 21, 6, b"")]);
        assert!(by(14));
        assert!(!by(15), "padding may have been counted");
        assert!(!by(21));
        assert!(
            !says("fin_below_data", &[server(F | A, 14, 6, b""), server(A, 21, 6, b"")]),
            "its own"
        );
        let mut trial = Trial::of(FinInjection, 80);
        trial.show(&opened(&[server(A, 1, 1, b"twenty bytes of data")]));
        assert_eq!(trial.show(&[below(14)]), [Attention::Suspicious]);
        assert!(!trial.rests());
        // Nobody saw the connection open.
        let mut trial = Trial::of(FinInjection, 80);
        trial.show(&[server(A, 1, 1, b"twenty bytes of data")]);
        assert_eq!(trial.show(&[below(14)]), [Attention::Idle]);
    }
}
