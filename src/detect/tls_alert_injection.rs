//! `tls_alert_injection`: a fatal TLS alert the server did not send.
//!
//! # What it sees
//! The first thing a server says after the ClientHello, if it is a fatal alert in the clear, and what comes after it.
//!
//! # How it tells
//! A fatal alert ends the connection: a server that sends its ServerHello all the same did not send the alert, nor one
//! that sends other bytes for the same place. Otherwise the alert's header marks tell.
//!
//! # What it mistakes
//! Servers refuse names with the same alerts; their marks are their own, and nothing is said. A box in front of the
//! server that refuses for it, with a TTL of its own, stays at `possible`.
//!
//! # References
//! RFC 8446 section 6.2. wire-facts 5.3, 8.

use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::filing::{Early, Filing};
use super::provenance::{has_odd_ttl, odd_marks, oddness};
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, Observation, StreamObservation};
use crate::finding::finding::{Application, Finding, Injector, Kind, Particulars, Party, Position, Stage};
use crate::finding::verdict::{Prior, Verdict};
use crate::flow::flow::Flow;
use crate::flow::side::Note;
use crate::payload::tls_record::{AlertLevel, ContentType, TlsRecord};

/// Finds forged TLS alerts.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsAlertInjection;

/// A fatal alert after the ClientHello, or the ServerHello that came before it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    alert: Note,
    stage: Stage,
    /// The ServerHello that came as well.
    hello: Option<Note>,
}

impl Detector for TlsAlertInjection {
    const KIND: Kind = Kind::TlsAlertInjection;
    type Memory = Filing<Case>;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, filing: &mut Filing<Case>, (): &mut ()) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        let flow = sighting.flow;
        if filing.is_filed()
            || sighting.sender != Party::Server
            || flow.application != Application::Tls
            || segment.payload.is_empty()
            || segment.flags.rst()
        {
            return Attention::Idle;
        }
        let side = flow.side(Party::Server);
        match filing.case() {
            Some(case) if case.hello.is_none() => {
                let says_hello = TlsRecord::read(segment.payload).is_ok_and(|record| {
                    record.content_type == ContentType::Handshake && record.fragment.first() == Some(&2)
                });
                if says_hello {
                    case.hello = Some(Note::of(sighting.packet, segment));
                    return Attention::Suspicious;
                }
                Attention::Idle
            }
            Some(_) => Attention::Idle,
            None if side.data_packets == 0 => {
                let is_fatal = TlsRecord::read(segment.payload)
                    .ok()
                    .and_then(|record| record.alert())
                    .is_some_and(|alert| alert.level == AlertLevel::Fatal);
                if is_fatal {
                    filing.case_or(|| Case {
                        alert: Note::of(sighting.packet, segment),
                        stage: flow.stage(),
                        hello: None,
                    });
                    return Attention::Suspicious;
                }
                Attention::Idle
            }
            None => Attention::Idle,
        }
    }

    fn rests(&self, flow: &Flow, filing: &Self::Memory) -> bool {
        filing.is_empty() && (flow.application != Application::Tls || flow.side(Party::Server).data_packets > 0)
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, filing: &mut Filing<Case>, (): &mut (), docket: &mut Docket) {
        filing.conclude(conclusion, Early::From(Verdict::Possible), docket, |case| {
            weigh(case, conclusion)
        });
    }
}

fn weigh(case: &Case, conclusion: &Conclusion<'_>) -> Option<Finding> {
    let flow = conclusion.flow;
    let asked = flow.asked.as_ref()?;
    let mut evidence = odd_marks(&case.alert, &[], flow.side(Party::Server), Some(asked));
    // A server that refuses with its own marks does what servers do.
    if case.hello.is_none() && oddness(&evidence) <= 0.0 {
        return None;
    }
    if let Some(hello) = &case.hello {
        let frames = [case.alert.frame, hello.frame];
        evidence.push(Evidence::in_stream(
            if hello.seq == case.alert.seq {
                StreamObservation::AlertOverwritten
            } else {
                StreamObservation::HelloAfterAlert {
                    after: hello.at.since(case.alert.at),
                }
            },
            &frames,
        ));
    }
    let after = case.alert.at.since(asked.at);
    if let Some(round_trip) = flow.round_trip(Party::Server)
        && case.alert.at >= asked.at
        && after * 2 < round_trip
    {
        evidence.push(Evidence::at(
            Observation::FasterThanHandshake { after, round_trip },
            &[asked.frame, case.alert.frame],
        ));
    }
    let odd_ttl = has_odd_ttl(&evidence);
    Some(Finding {
        kind: Kind::TlsAlertInjection,
        conversation: flow.conversation(),
        decided_by: case.alert.frame,
        at: case.alert.at,
        stage: Some(case.stage),
        signature: None,
        claimed_sender: Some(Party::Server),
        position: if case.hello.is_some() {
            Position::OnPath
        } else {
            Position::Unknown
        },
        trigger: Some(asked.trigger()),
        forged: vec![case.alert.frame],
        genuine: case.hello.iter().map(|hello| hello.frame).collect(),
        dropped: Vec::new(),
        prior: Prior::Abnormal,
        evidence,
        injector: Some(Injector::from_marks(&case.alert.marks, odd_ttl).with_window(case.alert.window)),
        particulars: Particulars::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::detector::Ending;
    use crate::detect::trial::Trial;
    use crate::flow::talk::{A, Sent, client, hello, opened, server, server_hello};

    const FATAL: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
    const WARNING: &[u8] = &[21, 3, 3, 0, 2, 1, 112];

    /// What is told of `rest` after the client's hello, which goes out at 40 ms; a round trip takes 10 ms.
    fn told(rest: &[(u64, Sent<'_>)]) -> Option<Vec<&'static str>> {
        let hello = hello();
        let mut trial = Trial::of(TlsAlertInjection, 443);
        trial.show(&opened(&[client(A, 1, 1, &hello)]));
        assert!(!trial.rests());
        for (at, sent) in rest {
            trial.show_at(*at, sent);
        }
        let found = trial.conclude(Ending::Over);
        let keys = |finding: &Finding| finding.evidence.iter().map(|item| item.observation.key()).collect();
        found.first().map(keys)
    }

    fn from_server(payload: &[u8], seq: u32) -> Sent<'_> {
        server(A, seq, 1 + hello().len() as u32, payload)
    }

    #[test]
    fn an_alert_is_forged_if_a_hello_comes_as_well() {
        let hello = server_hello(&[7; 8], None);
        let alert = |payload| (60, from_server(payload, 1));
        assert!(
            told(&[alert(FATAL), (70, from_server(&hello, 1))])
                .unwrap()
                .contains(&"alert_overwritten")
        );
        assert!(
            told(&[alert(FATAL), (70, from_server(&hello, 8))])
                .unwrap()
                .contains(&"hello_after_alert")
        );
        assert_eq!(told(&[alert(FATAL)]), None, "servers refuse");
        assert!(told(&[(60, from_server(FATAL, 1).ttl(40)), (70, from_server(b"", 8))]).is_some());
        assert_eq!(told(&[alert(WARNING), (70, from_server(&hello, 8))]), None);
        assert_eq!(
            told(&[
                (50, from_server(b"data", 1)),
                (60, from_server(FATAL, 5)),
                (70, from_server(&hello, 12))
            ]),
            None
        );
        assert_eq!(told(&[alert(FATAL), (70, from_server(b"other", 8))]), None);
    }

    #[test]
    fn an_alert_in_less_than_half_a_round_trip_is_too_soon() {
        let soon = |at| {
            let rest = [(at, from_server(FATAL, 1).ttl(40)), (90, from_server(b"", 8))];
            told(&rest).unwrap().contains(&"faster_than_handshake")
        };
        assert!(soon(44));
        assert!(!soon(45));
    }

    #[test]
    fn it_rests_once_the_server_has_said_anything_else() {
        let mut trial = Trial::of(TlsAlertInjection, 443);
        trial.show(&opened(&[client(
            A,
            1,
            1,
            b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        )]));
        assert!(trial.rests());
        for (payload, rests) in [(FATAL, false), (&b"anything"[..], true)] {
            let mut trial = Trial::of(TlsAlertInjection, 443);
            trial.show(&opened(&[client(A, 1, 1, &hello()), from_server(payload, 1)]));
            assert_eq!(trial.rests(), rests);
        }
    }
}
