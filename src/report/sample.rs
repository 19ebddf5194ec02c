//! Findings made by hand, for the tests of the formats.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::sink::{Reported, Sink};
use crate::capture::source::{Damage, FileNote, Losses};
use crate::finding::evidence::{Evidence, Observation};
use crate::finding::finding::{
    Application, Conversation, Device, Finding, FingerprintMatch, Injector, Kind, ListPlace, Particulars, Party,
    Position, Protocol, Stage, Trigger, TriggerKind,
};
use crate::finding::habits::{Habits, InjectorId};
use crate::finding::summary::{Summary, Table};
use crate::finding::verdict::{Prior, Verdict};
use crate::packet::dissect::Undissected;
use crate::packet::endpoint::Endpoint;
use crate::packet::frame::FrameNumber;
use crate::time::Timestamp;

/// Frame `number` of the first file.
pub(crate) const fn frame(number: u64) -> FrameNumber {
    FrameNumber::new(0, number)
}

/// 2026-01-02T03:04:05.678901Z.
pub(crate) const AT: Timestamp = Timestamp::from_nanos(1_767_323_045_678_901_000);

/// A run of one file.
pub(crate) fn one_file() -> Vec<FileNote> {
    vec![FileNote {
        path: PathBuf::from("x.pcap"),
        frames: 12,
        ..FileNote::default()
    }]
}

fn conversation(application: Application, protocol: Protocol, port: u16) -> Conversation {
    Conversation {
        client: Endpoint::new(Ipv4Addr::new(10, 0, 0, 5).into(), 40_312),
        server: Endpoint::new(Ipv4Addr::new(203, 0, 113, 7).into(), port),
        protocol,
        application,
        vlan: None,
        first_frame: frame(5),
        started: AT,
    }
}

/// Two resets after a ClientHello, and the server goes on.
pub(crate) fn reset() -> Finding {
    Finding {
        kind: Kind::RstInjection,
        conversation: conversation(Application::Tls, Protocol::Tcp, 443),
        decided_by: frame(9),
        at: AT,
        stage: Some(Stage::PostPsh),
        signature: Some("PSH+ACK -> RST+ACK;RST+ACK"),
        claimed_sender: Some(Party::Server),
        position: Position::OnPath,
        trigger: Some(Trigger {
            kind: TriggerKind::Sni,
            name: Some("blocked.example".to_owned()),
            frame: frame(8),
        }),
        forged: vec![frame(9), frame(10)],
        genuine: vec![frame(12)],
        dropped: Vec::new(),
        prior: Prior::Abnormal,
        evidence: vec![
            Evidence::at(
                Observation::DataAfterReset {
                    after: Duration::from_millis(41),
                },
                &[frame(12)],
            ),
            Evidence::at(
                Observation::ResetRightAfterTrigger {
                    after: Duration::from_millis(2),
                    round_trip: Duration::from_millis(43),
                },
                &[frame(8), frame(9)],
            ),
            Evidence::at(
                Observation::ResetTtlDiffers { reset: 61, usual: 50 },
                &[frame(9), frame(7)],
            ),
            Evidence::at(Observation::DontFragmentDiffers, &[frame(9)]),
            Evidence::at(Observation::CaptureLoss, &[]),
        ],
        injector: Some(Injector {
            refused_after: None,
            arrival_ttl: None,
            hops_from_tap: Some((3, 3)),
            initial_ttl: Some(64),
            mirrors_ttl: false,
            device: None,
            habits: Habits::default(),
            id: Some(InjectorId::short(0x3fa2_0000)),
        }),
        particulars: Particulars::default(),
    }
}

/// A forged DNS answer and the genuine one, which lies in the run's second file.
pub(crate) fn dns() -> Finding {
    let late = FrameNumber::new(1, 1);
    Finding {
        kind: Kind::DnsInjection,
        conversation: Conversation {
            vlan: Some(7),
            ..conversation(Application::Dns, Protocol::Udp, 53)
        },
        decided_by: frame(3),
        at: AT,
        stage: None,
        signature: None,
        claimed_sender: Some(Party::Server),
        position: Position::OnPath,
        trigger: Some(Trigger {
            kind: TriggerKind::Qname,
            name: Some("blocked.example".to_owned()),
            frame: frame(2),
        }),
        forged: vec![frame(3)],
        genuine: vec![late],
        dropped: Vec::new(),
        prior: Prior::Abnormal,
        evidence: vec![
            Evidence::at(Observation::DifferingAnswers, &[frame(3), late]),
            Evidence::at(
                Observation::GenuineAnswerToo {
                    after: Duration::from_millis(12),
                },
                &[late],
            ),
        ],
        injector: Some(Injector {
            refused_after: None,
            arrival_ttl: None,
            hops_from_tap: Some((2, 5)),
            initial_ttl: None,
            mirrors_ttl: false,
            device: Some(Device {
                name: "some family",
                source: "some paper",
            }),
            ..Injector::default()
        }),
        particulars: Particulars {
            forged_answers: vec!["10.10.34.35".to_owned()],
            genuine_answers: vec!["198.51.100.7".to_owned()],
            ..Particulars::default()
        },
    }
}

/// A block page with everything hostile in it that a wire can carry.
pub(crate) fn page() -> Finding {
    Finding {
        kind: Kind::BlockPage,
        conversation: conversation(Application::Http, Protocol::Tcp, 80),
        position: Position::InPath,
        signature: None,
        trigger: Some(Trigger {
            kind: TriggerKind::Host,
            name: Some("evil\x1b[2J\u{202e}.example".to_owned()),
            frame: frame(8),
        }),
        genuine: Vec::new(),
        dropped: vec![frame(11)],
        evidence: vec![Evidence::at(
            Observation::KnownBlockPage { confidence: 10 },
            &[frame(9)],
        )],
        injector: Some(Injector {
            refused_after: None,
            arrival_ttl: None,
            mirrors_ttl: true,
            ..Injector::default()
        }),
        particulars: Particulars {
            http_status: Some(302),
            location: Some("http://block.example/\u{9b}31m".to_owned()),
            fingerprint: Some(FingerprintMatch {
                id: "row-1".to_owned(),
                known_from: Some("XX".to_owned()),
                source: "a list".to_owned(),
                url: Some("https://example.org/m".to_owned()),
                place: Some(ListPlace {
                    file: "list.csv".to_owned(),
                    line: 7,
                }),
            }),
            ..Particulars::default()
        },
        ..reset()
    }
}

/// A summary in which every counter is set.
pub(crate) fn full_summary() -> Summary {
    let mut summary = Summary {
        files: vec![
            FileNote {
                path: PathBuf::from("x.pcap"),
                frames: 1200,
                filtered: 40,
                damage: Some(Damage {
                    offset: 98_304,
                    why: "a record of 4 GB".to_owned(),
                }),
                lost: Losses {
                    kernel: 17,
                    interface: 18,
                },
                ..FileNote::default()
            },
            FileNote {
                path: PathBuf::from("y.pcap"),
                frames: 34,
                ..FileNote::default()
            },
        ],
        first: Some(AT),
        last: Some(AT.plus(Duration::from_secs(306))),
        interrupted: true,
        ..Summary::default()
    };
    let coverage = &mut summary.coverage;
    coverage.frames = 1234;
    coverage.bytes = 1_250_000;
    coverage.undissected = Undissected::ALL.into_iter().zip(1..).collect();
    coverage.other_protocols = 6;
    coverage.icmp_errors = 7;
    coverage.snapped = 8;
    coverage.duplicates = 9;
    coverage.tcp_flows = 120;
    coverage.udp_flows = 14;
    coverage.one_sided = 10;
    coverage.no_handshake = 11;
    coverage.dns_answered = 33;
    coverage.dns_unanswered = 12;
    coverage.evicted = 13;
    coverage.heads_refused = 15;
    coverage.not_compared = 17;
    coverage.findings_dropped = 16;
    summary.findings.insert((Kind::RstInjection, Verdict::Confirmed), 3);
    summary.findings.insert((Kind::RstInjection, Verdict::Possible), 1);
    summary.findings.insert((Kind::DnsInjection, Verdict::Likely), 2);
    summary.injectors.insert(InjectorId::short(0x3fa2_0000), 4);
    summary.injectors.insert(InjectorId::short(0x0b1c_0000), 1);
    summary.withheld = 3;
    summary.table = Table {
        flows: 131_072,
        bytes: 480_000_000,
    };
    summary
}

/// `finding` told to `sink`, with `files`.
pub(crate) fn tell(sink: &mut dyn Sink, finding: &Finding, files: &[FileNote]) {
    sink.finding(&Reported {
        finding,
        judgement: finding.judgement(),
        files,
    })
    .unwrap();
}
