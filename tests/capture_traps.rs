//! What happens to captures on their way to us: mirrors that show every packet twice, captures of every interface at
//! once, buffers that mix up directions, offloading that glues segments together, taps that see one direction only.
//!
//! Every fixture's trace is put through each of these. What is benign must stay silent, and what is blocked must be found
//! under the same names; where only one direction is left, nothing may be claimed that needs the other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::LazyLock;

use blockscope::fixture::fixture::Fixture;
use blockscope::fixture::reading::{Manner, read_stream};
use blockscope::packet::dissect::dissect;
use blockscope::packet::endpoint::Endpoint;
use blockscope::packet::frame::{Frame, FrameNumber, LinkType};
use blockscope::packet::packet::Transport;
use blockscope::time::Timestamp;
use serde_json::Value;

static FIXTURES: LazyLock<Vec<Fixture>> =
    LazyLock::new(|| Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap());

const ETHERNET: u32 = 1;
const COOKED: u32 = 113;

/// A frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    /// Microseconds.
    at: u64,
    bytes: Vec<u8>,
    wire_len: u32,
}

/// A capture: its link type and its frames.
#[derive(Clone, Debug)]
struct Capture {
    link: u32,
    records: Vec<Record>,
}

impl Capture {
    /// The forge's classic little-endian pcap with microseconds.
    fn of(fixture: &Fixture) -> Self {
        let bytes = fs::read(fixture.trace_path()).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(word(0), 0xa1b2_c3d4);
        let mut records = Vec::new();
        let mut at = 24;
        while at < bytes.len() {
            let end = at + 16 + word(at + 8) as usize;
            records.push(Record {
                at: u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4)),
                bytes: bytes[at + 16..end].to_vec(),
                wire_len: word(at + 12),
            });
            at = end;
        }
        Self {
            link: word(20),
            records,
        }
    }

    fn pcap(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, self.link] {
            out.extend(word.to_le_bytes());
        }
        for record in &self.records {
            let (seconds, micros) = (record.at / 1_000_000, record.at % 1_000_000);
            for word in [
                seconds as u32,
                micros as u32,
                record.bytes.len() as u32,
                record.wire_len,
            ] {
                out.extend(word.to_le_bytes());
            }
            out.extend(&record.bytes);
        }
        out
    }

    /// Kinds found, with their verdicts.
    fn found(&self) -> Vec<Value> {
        let lines = read_stream(Cursor::new(self.pcap()), Manner::default()).unwrap();
        let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["event_type"] == "block").collect()
    }

    /// Where the IP packet begins in a frame.
    fn network(&self, bytes: &[u8]) -> usize {
        match self.link {
            ETHERNET if bytes.get(12..14) == Some(&[0x81, 0][..]) => 18,
            ETHERNET => 14,
            COOKED => 16,
            _ => 0,
        }
    }

    /// Who sent a frame to whom, if it is TCP or UDP.
    fn ends(&self, record: &Record) -> Option<(Endpoint, Endpoint)> {
        let packet = dissect(Frame {
            number: FrameNumber::new(0, 1),
            at: Timestamp::EPOCH,
            bytes: &record.bytes,
            wire_len: record.wire_len,
            link: LinkType(self.link as u16),
        });
        let packet = packet.ok()?;
        matches!(packet.transport, Transport::Tcp(_) | Transport::Udp(_)).then_some((packet.from, packet.to))
    }

    /// Whether a frame goes to a server, by the ports.
    fn is_outward(&self, record: &Record) -> bool {
        self.ends(record).is_some_and(|(from, to)| from.port > to.port)
    }

    fn with(&self, records: Vec<Record>) -> Self {
        Self {
            link: self.link,
            records,
        }
    }

    fn in_order_of_time(mut self) -> Self {
        self.records.sort_by_key(|record| record.at);
        self
    }

    /// The record as a router passes it on: the TTL one lower, other link addresses.
    fn routed(&self, record: &Record) -> Record {
        let mut copy = record.clone();
        let network = self.network(&copy.bytes);
        let ttl = network
            + if copy.bytes.get(network).is_some_and(|first| first >> 4 == 6) {
                7
            } else {
                8
            };
        if let Some(ttl) = copy.bytes.get_mut(ttl) {
            *ttl = ttl.saturating_sub(1);
        }
        if self.link == ETHERNET {
            copy.bytes[..12].copy_from_slice(&[2, 0, 0, 0, 0x77, 1, 2, 0, 0, 0, 0x77, 2]);
        }
        copy
    }

    /// The record with `tag` between the link addresses and the rest (Ethernet), as trunks carry it.
    fn tagged(&self, record: &Record, tag: &[u8]) -> Record {
        let mut copy = record.clone();
        if self.link == ETHERNET {
            copy.bytes.splice(12..12, tag.iter().copied());
            copy.wire_len += tag.len() as u32;
        }
        copy
    }

    /// The record with an MPLS label in place of the type (Ethernet).
    fn labelled(&self, record: &Record) -> Record {
        let mut copy = record.clone();
        if self.link == ETHERNET && copy.bytes.get(12..14) != Some(&[0x81, 0][..]) {
            copy.bytes.splice(12..14, [0x88, 0x47, 0, 1, 0x11, 0x40]);
            copy.wire_len += 4;
        }
        copy
    }

    /// Every frame, and `copy` of it `delay` microseconds later.
    fn twice(&self, delay: u64, copy: impl Fn(&Record) -> Record) -> Self {
        let records = self.records.iter().flat_map(|record| {
            let mut copy = copy(record);
            copy.at += delay;
            [record.clone(), copy]
        });
        self.with(records.collect()).in_order_of_time()
    }

    /// As Linux's "any" device shows a forwarding machine: cooked, every packet where it comes in and where it goes out.
    fn cooked(&self) -> Self {
        let cooked = |record: &Record, outgoing: bool| {
            let network = self.network(&record.bytes);
            let six = record.bytes.get(network).is_some_and(|first| first >> 4 == 6);
            let mut bytes = vec![
                0,
                if outgoing { 4 } else { 0 },
                0,
                1,
                0,
                6,
                2,
                0,
                0,
                0,
                0,
                u8::from(outgoing),
                0,
                0,
            ];
            bytes.extend(if six { [0x86, 0xdd] } else { [8, 0] });
            bytes.extend(&record.bytes[network..]);
            Record {
                at: record.at + u64::from(outgoing) * 30,
                wire_len: record.wire_len + 16 - network as u32,
                bytes,
            }
        };
        let records = self
            .records
            .iter()
            .flat_map(|record| [cooked(record, false), cooked(&self.routed(record), true)]);
        Self {
            link: COOKED,
            records: records.collect(),
        }
        .in_order_of_time()
    }

    /// Two interfaces whose buffers are written in turns: what servers send is written up to 300 µs late, with the time
    /// it came.
    fn mixed_up(&self) -> Self {
        let mut order: Vec<(u64, Record)> = self
            .records
            .iter()
            .map(|record| (record.at + u64::from(!self.is_outward(record)) * 300, record.clone()))
            .collect();
        order.sort_by_key(|(written, _)| *written);
        self.with(order.into_iter().map(|(_, record)| record).collect())
    }

    /// As receive offloading shows it: runs of full segments of one sender are one frame (IPv4, no longer than 60 kB).
    fn coalesced(&self) -> Self {
        let mut records: Vec<Record> = Vec::new();
        let mut last: Option<Piece> = None;
        for record in &self.records {
            let piece = self.piece(record);
            let joined = match (last, piece, records.last_mut()) {
                (Some(before), Some(now), Some(open)) if before.goes_on_in(&now) => {
                    open.bytes.extend(&record.bytes[now.payload_at..now.end]);
                    open.wire_len = open.bytes.len() as u32;
                    let total = (open.bytes.len() - before.network) as u16;
                    open.bytes[before.network + 2..before.network + 4].copy_from_slice(&total.to_be_bytes());
                    let flags = record.bytes[now.tcp + 13];
                    open.bytes[before.tcp + 13] |= flags;
                    let ack: Vec<u8> = record.bytes[now.tcp + 8..now.tcp + 12].to_vec();
                    open.bytes[before.tcp + 8..before.tcp + 12].copy_from_slice(&ack);
                    last = Some(Piece {
                        len: before.len + now.len,
                        may_go_on: now.may_go_on,
                        end: open.bytes.len(),
                        ..before
                    });
                    true
                }
                _ => false,
            };
            if !joined {
                records.push(record.clone());
                last = piece;
            }
        }
        self.with(records)
    }

    /// A whole TCP segment with data over IPv4.
    fn piece(&self, record: &Record) -> Option<Piece> {
        let bytes = &record.bytes;
        let network = self.network(bytes);
        let header = bytes.get(network..network + 20)?;
        if header[0] >> 4 != 4 || header[9] != 6 || header[6] & 0x3f != 0 || header[7] != 0 {
            return None;
        }
        let tcp = network + usize::from(header[0] & 15) * 4;
        let end = network + usize::from(u16::from_be_bytes([header[2], header[3]]));
        let payload_at = tcp + usize::from(bytes.get(tcp + 12)? >> 4) * 4;
        let flags = *bytes.get(tcp + 13)?;
        let whole = record.wire_len as usize == bytes.len() && end <= bytes.len() && payload_at < end;
        (whole && flags & 0x07 == 0).then(|| Piece {
            network,
            tcp,
            payload_at,
            end,
            addresses: bytes[network + 12..network + 20].try_into().unwrap(),
            ports: bytes[tcp..tcp + 4].try_into().unwrap(),
            marks: (header[8], header[6]),
            seq: u32::from_be_bytes(bytes[tcp + 4..tcp + 8].try_into().unwrap()),
            len: (end - payload_at) as u32,
            // Offloading ends a run at a pushed segment.
            may_go_on: flags & 0x08 == 0,
        })
    }
}

/// What decides whether two segments are glued together.
#[derive(Clone, Copy, Debug)]
struct Piece {
    network: usize,
    tcp: usize,
    payload_at: usize,
    end: usize,
    addresses: [u8; 8],
    ports: [u8; 4],
    marks: (u8, u8),
    seq: u32,
    len: u32,
    may_go_on: bool,
}

impl Piece {
    fn goes_on_in(&self, next: &Self) -> bool {
        self.may_go_on
            && (self.addresses, self.ports, self.marks) == (next.addresses, next.ports, next.marks)
            && self.seq.wrapping_add(self.len) == next.seq
            && self.len + next.len < 60_000
    }
}

fn text<'a>(record: &'a Value, pointer: &str) -> &'a str {
    record.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Each kind, with the verdicts of its findings.
fn verdicts(found: &[Value]) -> BTreeMap<String, BTreeMap<String, u32>> {
    let mut verdicts: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for record in found {
        let (kind, verdict) = (text(record, "/block/kind"), text(record, "/block/verdict"));
        let of_kind = verdicts.entry(kind.to_owned()).or_default();
        *of_kind.entry(verdict.to_owned()).or_default() += 1;
    }
    verdicts
}

fn in_short(record: &Value) -> String {
    let (verdict, kind) = (text(record, "/block/verdict"), text(record, "/block/kind"));
    let what = |side: &str| -> Vec<String> {
        let items = record["block"][side].as_array().unwrap().iter();
        items
            .map(|item| format!("{} {}", item["what"].as_str().unwrap(), item["llr"]))
            .collect()
    };
    format!(
        "frame {}: {verdict} {kind} {:?} {:?}",
        record["pcap_cnt"],
        what("evidence"),
        what("against")
    )
}

/// Puts all traces through `trap`; what is benign must stay silent, and what is blocked must be found as before.
#[track_caller]
fn the_same_is_found(trap: impl Fn(&Capture) -> Capture) {
    alike(trap, verdicts);
}

/// The same, for a trap that takes packets away: fewer may be enough for a lesser verdict only.
#[track_caller]
fn the_same_kinds_are_found(trap: impl Fn(&Capture) -> Capture) {
    alike(trap, |found| verdicts(found).into_keys().collect::<Vec<_>>());
}

#[track_caller]
fn alike<T: PartialEq + std::fmt::Debug>(trap: impl Fn(&Capture) -> Capture, told_as: impl Fn(&[Value]) -> T) {
    let mut told = String::new();
    for fixture in FIXTURES.iter() {
        let capture = Capture::of(fixture);
        let before = told_as(&capture.found());
        let found = trap(&capture).found();
        let after = told_as(&found);
        if before != after {
            writeln!(told, "\n{}: {before:?} became {after:?}", fixture.name).unwrap();
            found
                .iter()
                .for_each(|record| writeln!(told, "  {}", in_short(record)).unwrap());
        }
    }
    assert!(told.is_empty(), "{told}");
}

#[test]
fn a_mirror_that_shows_every_packet_before_and_after_a_router_changes_nothing() {
    the_same_is_found(|capture| capture.twice(20, |record| capture.routed(record)));
}

#[test]
fn a_mirror_whose_copies_come_late_and_among_other_packets_changes_nothing() {
    // A burst of more packets than are remembered of a sender hides its copies among them: a pace cannot be told then.
    alike(
        |capture| capture.twice(700, |record| capture.routed(record)),
        |found| {
            let mut told = verdicts(found);
            told.remove("throttling");
            told
        },
    );
}

#[test]
fn a_mirror_of_a_trunk_with_tags_changes_nothing() {
    the_same_is_found(|capture| capture.twice(5, |record| capture.tagged(record, &[0x81, 0, 0, 0x2a])));
}

#[test]
fn a_mirror_with_labels_changes_nothing() {
    the_same_is_found(|capture| capture.twice(5, |record| capture.labelled(record)));
}

#[test]
fn a_capture_of_any_interface_changes_nothing() {
    the_same_is_found(Capture::cooked);
}

#[test]
fn buffers_that_mix_up_the_directions_change_nothing() {
    the_same_is_found(Capture::mixed_up);
}

#[test]
fn segments_glued_together_by_offloading_change_nothing() {
    the_same_kinds_are_found(Capture::coalesced);
}

/// Kinds that are told by what a side did not do, which only a capture of both sides shows.
const NEED_BOTH_SIDES: [&str; 7] = [
    "silent_drop",
    "ip_blackhole",
    "residual_block",
    "quic_drop",
    "throttling",
    "volume_freeze",
    "shutdown",
];

#[test]
fn where_one_direction_is_missing_nothing_is_claimed_that_needs_it() {
    let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for fixture in FIXTURES.iter() {
        let capture = Capture::of(fixture);
        for outward in [true, false] {
            let one_way = |record: &&Record| capture.is_outward(record) == outward;
            let left = capture.records.iter().filter(one_way).cloned().collect();
            for record in capture.with(left).found() {
                let unfounded = NEED_BOTH_SIDES.contains(&text(&record, "/block/kind"))
                    && text(&record, "/block/verdict") != "possible";
                if fixture.is_benign() || unfounded {
                    let direction = if outward { "outward" } else { "inward" };
                    let failures = failures.entry(fixture.name.clone()).or_default();
                    failures.push(format!("{direction}: {}", in_short(&record)));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
