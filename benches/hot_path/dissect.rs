//! `dissect/…`: from a frame to a packet.

use std::hint::black_box;

use blockscope::packet::dissect::dissect;
use blockscope::packet::frame::{Frame, FrameNumber, LinkType};
use blockscope::packet::link::Peeled;
use blockscope::time::Timestamp;
use criterion::Criterion;
use etherparse::{PacketBuilder, PacketBuilderStep};

use crate::frames;

const V6: [[u8; 16]; 2] = [[0x2a; 16], [0x2b; 16]];
const V4: [[u8; 4]; 2] = [[45, 140, 16, 10], [10, 20, 0, 5]];

/// Frames dissected in one go, so that the clock is not what is measured.
const FRAMES: u64 = 64;

pub(crate) fn bench(criterion: &mut Criterion) {
    let ethernet = || PacketBuilder::ethernet2([2; 6], [3; 6]);
    let tagged = || ethernet().single_vlan(120.try_into().expect("a VLAN id"));
    let cases = [
        ("tcp_v4", tcp(ethernet().ipv4(V4[0], V4[1], 57))),
        ("tcp_v6", tcp(ethernet().ipv6(V6[0], V6[1], 57))),
        ("tcp_vlan", tcp(tagged().ipv4(V4[0], V4[1], 57))),
        ("udp_dns", udp(ethernet().ipv4(V4[0], V4[1], 57))),
    ];
    let mut group = criterion.benchmark_group("dissect");
    for (name, bytes) in &cases {
        let frame = Frame {
            number: FrameNumber::new(0, 1),
            at: Timestamp::EPOCH,
            bytes,
            wire_len: bytes.len() as u32,
            link: LinkType::ETHERNET,
        };
        assert!(dissect(frame).is_ok(), "{name}");
        group.throughput(frames(FRAMES, FRAMES * bytes.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| (0..FRAMES).filter(|_| dissect(black_box(frame)).is_ok()).count());
        });
        if *name == "tcp_v4" {
            group.bench_function("peel", |bencher| {
                let peel = || Peeled::of(black_box(frame).link, frame.bytes).map_or(0, |peeled| peeled.pair.0);
                bencher.iter(|| (0..FRAMES).fold(0, |sum, _| sum ^ peel()));
            });
        }
    }
    group.finish();
}

fn tcp(below: PacketBuilderStep<etherparse::IpHeaders>) -> Vec<u8> {
    let mut bytes = Vec::new();
    below
        .tcp(443, 50_000, 1, 64_000)
        .ack(2)
        .options_raw(&[1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6])
        .expect("options")
        .write(&mut bytes, &[0x17; 1400])
        .expect("a frame");
    bytes
}

fn udp(below: PacketBuilderStep<etherparse::IpHeaders>) -> Vec<u8> {
    let mut bytes = Vec::new();
    below.udp(53, 50_000).write(&mut bytes, &[0x17; 60]).expect("a frame");
    bytes
}
