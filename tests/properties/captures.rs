//! Captures taken badly: packets lost, shown twice, out of order, and with clocks that run back. Nobody is blocked in
//! the fixtures that begin with `benign-`, and no such mishap may make a certainty of that.

use std::io::Cursor;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use blockscope::capture::capture_file::CaptureFile;
use blockscope::capture::source::{RecordBatch, Supply};
use blockscope::fixture::fixture::Fixture;
use blockscope::fixture::reading::{Manner, read_stream};
use blockscope::packet::dissect::dissect;
use blockscope::packet::packet::Transport;
use proptest::prelude::*;

use crate::trials;

/// A frame: nanoseconds, length on the wire, bytes.
type Taken = (u64, u32, Vec<u8>);

struct Capture {
    name: String,
    link: u16,
    frames: Vec<Taken>,
}

static CAPTURES: LazyLock<Vec<Capture>> = LazyLock::new(|| {
    let fixtures = Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap();
    fixtures
        .iter()
        .map(|fixture| open(&fixture.name, &fixture.trace_path()))
        .collect()
});

/// Of the benign ones those that are quickly read.
static BENIGN: LazyLock<Vec<&Capture>> = LazyLock::new(|| {
    let benign = CAPTURES.iter().filter(|capture| capture.name.starts_with("benign-"));
    benign.filter(|capture| capture.frames.len() < 400).collect()
});

fn open(name: &str, path: &Path) -> Capture {
    let mut file = CaptureFile::open(path, 0).unwrap();
    let mut capture = Capture {
        name: name.to_owned(),
        link: 1,
        frames: Vec::new(),
    };
    let mut batch = RecordBatch::default();
    while file.supply(&mut batch, 1000) == Supply::Records {
        for record in &batch.records {
            capture.link = record.link.0;
            let bytes = batch.frame(record).bytes.to_vec();
            capture.frames.push((record.at.as_nanos(), record.wire_len, bytes));
        }
    }
    capture
}

fn payloads(wanted: impl Fn(&Transport<'_>) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for fixture in Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap() {
        let mut file = CaptureFile::open(&fixture.trace_path(), 0).unwrap();
        let mut batch = RecordBatch::default();
        while file.supply(&mut batch, 1000) == Supply::Records {
            let packets = batch
                .records
                .iter()
                .filter_map(|record| dissect(batch.frame(record)).ok());
            found.extend(packets.filter_map(|packet| wanted(&packet.transport)));
        }
    }
    found
}

/// The payloads of all TCP segments of all fixtures.
pub(crate) fn segments() -> Vec<Vec<u8>> {
    payloads(|transport| match transport {
        Transport::Tcp(segment) => Some(segment.payload.to_vec()),
        Transport::Udp(_) | Transport::IcmpError(_) | Transport::Other(_) => None,
    })
}

/// The payloads of all UDP datagrams of all fixtures that begin as QUIC's first packets do.
pub(crate) fn datagrams() -> Vec<Vec<u8>> {
    let mut found = payloads(|transport| match transport {
        Transport::Udp(datagram) => Some(datagram.payload.to_vec()),
        Transport::Tcp(_) | Transport::IcmpError(_) | Transport::Other(_) => None,
    });
    found.retain(|datagram| datagram.first().is_some_and(|first| first & 0xc0 == 0xc0) && datagram.len() > 100);
    found
}

/// The verdicts in a capture, with their kinds.
fn verdicts(link: u16, frames: &[Taken]) -> Vec<String> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, u32::from(link)] {
        bytes.extend_from_slice(&u32::to_le_bytes(word));
    }
    for (at, wire_len, frame) in frames {
        let (seconds, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
        for word in [seconds as u32, nanos as u32, frame.len() as u32, *wire_len] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(frame);
    }
    let told = read_stream(Cursor::new(bytes), Manner::default()).unwrap();
    let records = told
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records
        .filter(|record| record["event_type"] == "block")
        .map(|record| format!("{} {}", record["block"]["verdict"], record["block"]["kind"]).replace('"', ""))
        .collect()
}

/// What happens to a frame on its way into a file.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Lost,
    ShownTwice,
    /// Moved so many places on.
    Late(usize),
    /// Its clock is behind by so many milliseconds; so is that of all frames after it.
    ClockBack(u64),
    /// Cut to so many bytes.
    Snapped(usize),
}

fn mishaps() -> impl Strategy<Value = Vec<(prop::sample::Index, Mishap)>> {
    let mishap = prop_oneof![
        3 => Just(Mishap::Lost),
        2 => Just(Mishap::ShownTwice),
        2 => (1_usize..4).prop_map(Mishap::Late),
        1 => (1_u64..5000).prop_map(Mishap::ClockBack),
        1 => (14_usize..100).prop_map(Mishap::Snapped),
    ];
    proptest::collection::vec((any::<prop::sample::Index>(), mishap), 1..12)
}

fn suffer(frames: &mut Vec<Taken>, mishaps: &[(prop::sample::Index, Mishap)]) {
    for (index, mishap) in mishaps {
        if frames.is_empty() {
            return;
        }
        let at = index.index(frames.len());
        match *mishap {
            Mishap::Lost => _ = frames.remove(at),
            Mishap::ShownTwice => {
                let (seen, wire_len, bytes) = frames[at].clone();
                frames.insert(at + 1, (seen + 20_000, wire_len, bytes));
            }
            Mishap::Late(places) => {
                let frame = frames.remove(at);
                let to = (at + places).min(frames.len());
                // It is seen when it comes.
                let seen = frames.get(to.saturating_sub(1)).map_or(frame.0, |before| before.0);
                frames.insert(to, (seen.max(frame.0), frame.1, frame.2));
            }
            Mishap::ClockBack(by) => {
                let by = Duration::from_millis(by).as_nanos() as u64;
                frames[at..]
                    .iter_mut()
                    .for_each(|frame| frame.0 = frame.0.saturating_sub(by));
            }
            Mishap::Snapped(len) => frames[at].2.truncate(len),
        }
    }
}

proptest! {
    #![proptest_config(trials(300))]

    #[test]
    fn a_capture_taken_badly_is_no_proof(which in any::<prop::sample::Index>(), mishaps in mishaps()) {
        let capture = which.get(&BENIGN);
        let mut frames = capture.frames.clone();
        suffer(&mut frames, &mishaps);
        let verdicts = verdicts(capture.link, &frames);
        let sure = verdicts.iter().find(|verdict| verdict.starts_with("confirmed"));
        prop_assert!(sure.is_none(), "{}: {:?}", capture.name, sure);
        if std::env::var_os("PROPERTIES_TELL").is_some() && !verdicts.is_empty() {
            eprintln!("{}: {verdicts:?} after {mishaps:?}", capture.name);
        }
    }

    /// Where the time of a capture lies says nothing.
    #[test]
    fn when_it_was_is_of_no_consequence(which in any::<prop::sample::Index>(), shift in 0_u64..1 << 61) {
        let capture = which.get(&CAPTURES);
        if capture.frames.len() > 600 {
            return Ok(());
        }
        let first = capture.frames.iter().map(|frame| frame.0).min().unwrap_or(0);
        // pcap counts seconds in 32 bits.
        let shift = shift % ((u64::from(u32::MAX) - 86_400) * 1_000_000_000);
        let moved: Vec<Taken> = capture.frames.iter().map(|(at, len, bytes)| (at - first + shift, *len, bytes.clone())).collect();
        prop_assert_eq!(verdicts(capture.link, &moved), verdicts(capture.link, &capture.frames), "{}", capture.name);
    }
}

#[test]
fn what_is_compared_is_there() {
    assert!(BENIGN.len() >= 30, "{}", BENIGN.len());
    let attacked = CAPTURES
        .iter()
        .find(|capture| capture.name == "gfw-rst-triple-stepped")
        .unwrap();
    let verdicts = verdicts(attacked.link, &attacked.frames);
    assert!(verdicts.contains(&"confirmed rst_injection".to_owned()), "{verdicts:?}");
}
