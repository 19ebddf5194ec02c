//! `read/…`: a whole run over a capture in memory, from the first record to the summary.

use std::io;
use std::num::NonZeroUsize;

use blockscope::capture::source::Progress;
use blockscope::engine::run::{Control, Settings, run};
use blockscope::finding::summary::Summary;
use blockscope::report::sink::{Reported, Sink};
use criterion::Criterion;

use crate::frames;
use crate::traffic::{Traffic, dns, mix, web};

/// Watches nothing and keeps nothing.
pub(crate) struct Nobody;

impl Control for Nobody {
    fn progress(&mut self, _: Progress, _: u64) {}

    fn stop(&self) -> bool {
        false
    }
}

impl Sink for Nobody {
    fn finding(&mut self, _: &Reported<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: &Summary) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let captures: [(&str, Traffic); 3] = [
        ("mix", mix(60).crowd(4)),
        ("web", web(6).crowd(2)),
        ("dns", dns(100).crowd(8)),
    ];
    let mut group = criterion.benchmark_group("read");
    for (name, capture) in &captures {
        group.throughput(frames(capture.records.len() as u64, capture.frame_bytes()));
        for threads in [1, 2] {
            let settings = Settings {
                threads: NonZeroUsize::new(threads).expect("a thread"),
                flows: 1 << 20,
                ..Settings::default()
            };
            group.bench_function(format!("{name}/{threads}"), |bencher| {
                bencher.iter(|| run(&mut capture.source(), &settings, &mut Nobody, &mut Nobody));
            });
        }
    }
    group.finish();
}
