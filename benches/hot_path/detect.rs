//! `detect/<kind>/…`: one shard judging the traffic of a fixture, with and without the equipment that attacks it.

use std::sync::Arc;
use std::time::Duration;

use blockscope::engine::baselines::Baselines;
use blockscope::engine::shard::Shard;
use blockscope::finding::finding::{Finding, Kind};
use criterion::Criterion;

use crate::frames;
use crate::traffic::Traffic;

/// Between two rounds of the same traffic: longer than any flow is waited for.
const PAUSE: Duration = Duration::from_secs(1000);

pub(crate) fn bench(criterion: &mut Criterion) {
    for (kind, name, fixture) in [
        (Kind::RstInjection, "rst_injection", "gfw-rst-triple-stepped"),
        (Kind::DnsInjection, "dns_injection", "gfw-dns-triplet"),
        (Kind::BlockPage, "block_page", "iran-http-403-iframe"),
        (Kind::PayloadInjection, "payload_injection", "redirect-on-path-race"),
    ] {
        let mut group = criterion.benchmark_group(format!("detect/{name}"));
        for (how, without_equipment) in [("clean", true), ("attacked", false)] {
            let traffic = Traffic::fixture(fixture, without_equipment);
            let mut rounds = Rounds::new(&traffic);
            let found = rounds.judge().iter().any(|finding| finding.kind == kind);
            assert_eq!(found, !without_equipment, "{name} {how}");
            group.throughput(frames(traffic.records.len() as u64, traffic.frame_bytes()));
            group.bench_function(how, |bencher| bencher.iter(|| rounds.judge()));
        }
        group.finish();
    }
}

/// The same traffic over and over, each time later.
struct Rounds<'a> {
    traffic: &'a Traffic,
    shard: Shard,
    later: Duration,
}

impl<'a> Rounds<'a> {
    fn new(traffic: &'a Traffic) -> Self {
        Self {
            traffic,
            shard: Shard::new(1 << 12, Arc::new(Baselines::default())),
            later: Duration::ZERO,
        }
    }

    fn judge(&mut self) -> Vec<Finding> {
        self.traffic
            .frames(self.later)
            .for_each(|frame| self.shard.judge(frame));
        self.later += self.traffic.span() + PAUSE;
        let last = self.traffic.frames(self.later).next();
        if let Some(next) = last {
            self.shard.settle(next.at);
        }
        self.shard.take_findings()
    }
}
