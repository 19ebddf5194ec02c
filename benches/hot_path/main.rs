//! The hot path, operation by operation: `cargo bench --bench hot_path`, or `… -- detect/` for some of it.
//!
//! Throughput is given in frames and in captured bytes. Read ratios between runs on one machine, not figures.

use std::time::Duration;

use criterion::{Criterion, Throughput};

mod detect;
mod dissect;
mod flow_table;
mod read;
mod reader;
mod traffic;

/// Frames and their captured bytes.
const fn frames(elements: u64, bytes: u64) -> Throughput {
    Throughput::ElementsAndBytes { elements, bytes }
}

fn main() {
    // Half a second an operation: the differences worth knowing are larger than the noise that leaves.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .sample_size(20)
        .configure_from_args();
    reader::bench(&mut criterion);
    dissect::bench(&mut criterion);
    flow_table::bench(&mut criterion);
    detect::bench(&mut criterion);
    read::bench(&mut criterion);
    criterion.final_summary();
}
