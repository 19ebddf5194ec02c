//! `index/…`, `hash/…` and `hand_over/…`: what the reading thread does for each frame.
//!
//! The reader of a run walks the records, looks at each frame's two hosts, and hands it to the worker that has them. How many
//! workers one reader can keep busy is told by the processor time of its thread alone, also on a machine with fewer cores:
//! `hand_over/N` is that of a whole run with `N` workers, over frames no worker has anything to do with but count them.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Duration;

use blockscope::capture::capture_set::DEFAULT_BATCH_LEN;
use blockscope::capture::format::{Decoder, Stop, Tail};
use blockscope::capture::pcapng_writer::PcapngWriter;
use blockscope::engine::run::{Settings, run};
use blockscope::finding::finding::Protocol;
use blockscope::flow::flow_key::FlowKey;
use blockscope::packet::endpoint::Endpoint;
use criterion::Criterion;
use etherparse::{IpNumber, PacketBuilder};
use rustix::time::{ClockId, clock_gettime};

use crate::frames;
use crate::read::Nobody;
use crate::traffic::Traffic;

/// Frames of the capture: 25 MB, more than the second-level cache holds.
const FRAMES: u32 = 64_000;

/// Numbers of workers.
const WORKERS: [usize; 4] = [1, 2, 4, 8];

pub(crate) fn bench(criterion: &mut Criterion) {
    let traffic = Traffic::read(tunnels());
    index(criterion, &traffic);
    hash(criterion);
    hand_over(criterion, &traffic);
}

/// ESP (IP protocol 50) between many hosts: no flow begins.
fn tunnels() -> Vec<u8> {
    let mut pcap = Vec::new();
    for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 1 << 16, 1] {
        pcap.extend(word.to_le_bytes());
    }
    for number in 0..FRAMES {
        let [_, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [3; 6])
            .ipv4([10, b, c, d], [45, 140, 16, d], 57)
            .write(&mut frame, IpNumber::ENCAPSULATING_SECURITY_PAYLOAD, &[0x17; 340])
            .expect("a frame");
        for word in [1_700_000_000, number, frame.len() as u32, frame.len() as u32] {
            pcap.extend(word.to_le_bytes());
        }
        pcap.extend(frame);
    }
    pcap
}

fn index(criterion: &mut Criterion, traffic: &Traffic) {
    let mut pcapng = Vec::new();
    let mut writer = PcapngWriter::default();
    writer.begin(&mut pcapng);
    for frame in traffic.frames(Duration::ZERO) {
        writer.frame(&mut pcapng, &frame, "bench", None);
    }
    let mut group = criterion.benchmark_group("index");
    group.throughput(frames(traffic.records.len() as u64, traffic.frame_bytes()));
    for (name, bytes) in [("pcap", &traffic.bytes[..]), ("pcapng", &pcapng[..])] {
        let mut records = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut decoder = Decoder::of(bytes, 0).expect("a capture");
                let (mut at, mut found) = (0, 0);
                loop {
                    records.clear();
                    let stop = decoder.fill(bytes, &mut at, Tail::Final, DEFAULT_BATCH_LEN, &mut records);
                    found += records.len();
                    if stop != Stop::Full {
                        break;
                    }
                }
                assert_eq!(found, traffic.records.len(), "{name}");
            });
        });
    }
    group.finish();
}

fn hash(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    let (client, server) = (
        Endpoint::new([10, 20, 0, 5].into(), 50_000),
        Endpoint::new([45, 140, 16, 10].into(), 443),
    );
    group.bench_function("flow_key", |bencher| {
        bencher.iter(|| {
            FlowKey::new(Protocol::Tcp, black_box(client), black_box(server))
                .0
                .digest()
        });
    });
    group.finish();
}

fn hand_over(criterion: &mut Criterion, traffic: &Traffic) {
    let mut group = criterion.benchmark_group("hand_over");
    group.throughput(frames(traffic.records.len() as u64, traffic.frame_bytes()));
    for workers in WORKERS {
        let settings = Settings {
            threads: NonZeroUsize::new(workers).expect("a worker"),
            ..Settings::default()
        };
        group.bench_function(workers.to_string(), |bencher| {
            bencher.iter_custom(|rounds| {
                let began = processor_time();
                for _ in 0..rounds {
                    run(&mut traffic.source(), &settings, &mut Nobody, &mut Nobody);
                }
                processor_time() - began
            });
        });
    }
    group.finish();
}

/// What this thread has taken so far.
fn processor_time() -> Duration {
    let taken = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(taken.tv_sec.unsigned_abs(), taken.tv_nsec as u32)
}
