//! `flow_table/…`: finding, making, concluding and giving up flows.

use std::hint::black_box;

use blockscope::finding::finding::Protocol;
use blockscope::flow::flow_key::FlowKey;
use blockscope::flow::flow_table::{FlowTable, Patience, Recycle, SlotId, Tenant};
use blockscope::packet::endpoint::Endpoint;
use blockscope::time::Timestamp;
use criterion::{BatchSize, Criterion, Throughput};

/// About as much as is kept of a flow beside its slot.
#[derive(Debug)]
struct Held {
    key: Option<FlowKey>,
    rest: [u64; 64],
}

impl Default for Held {
    fn default() -> Self {
        Self {
            key: None,
            rest: [0; 64],
        }
    }
}

impl Recycle for Held {
    fn recycle(&mut self) {
        self.key = None;
    }
}

impl Tenant for Held {
    fn key(&self) -> Option<&FlowKey> {
        self.key.as_ref()
    }

    fn fetch(&self) {}
}

fn insert(table: &mut FlowTable<Held>, key: FlowKey, at: Timestamp, patience: Patience) -> SlotId {
    table.insert(&key, at, patience, |held| held.key = Some(key))
}

const FLOWS: u32 = 1 << 14;

/// Any flow, spread over clients and ports so that neighbours in the list are none in the table.
fn key(number: u32) -> FlowKey {
    let mixed = number.wrapping_mul(0x9e37_79b1);
    let [a, b, c, d] = mixed.to_be_bytes();
    let client = Endpoint::new([10, a, b, c].into(), 1024 + u16::from(d));
    let server = Endpoint::new([45, 140, 16, 10].into(), 443);
    FlowKey::new(Protocol::Tcp, client, server).0
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

fn full() -> FlowTable<Held> {
    let mut table = FlowTable::new(FLOWS as usize);
    (0..FLOWS).for_each(|number| _ = insert(&mut table, key(number), at(0), Patience::Datagrams));
    table
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow_table");
    group.throughput(Throughput::Elements(u64::from(FLOWS)));
    let keys: Vec<_> = (0..FLOWS)
        .map(|number| key(number.wrapping_mul(7919) % FLOWS))
        .collect();
    let mut table = full();
    group.bench_function("hit", |bencher| {
        bencher.iter(|| {
            for key in &keys {
                let id = table.find(black_box(key)).expect("the flow");
                table.touch(id, at(1), Patience::Datagrams);
                table.get_mut(id).rest[0] += 1;
            }
        });
    });
    group.bench_function("miss_insert", |bencher| {
        // Slots and index as large as they will be: what is measured is a flow's beginning, not the table's.
        let emptied = || {
            let mut table = full();
            table.any().for_each(|id| table.remove(id));
            table
        };
        bencher.iter_batched_ref(
            emptied,
            |table| {
                for key in &keys {
                    if table.find(black_box(key)).is_none() {
                        insert(table, *key, at(0), Patience::Opening);
                    }
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("expire", |bencher| {
        bencher.iter_batched_ref(
            full,
            |table| {
                while let Some((id, _)) = table.next_expired(at(60_000)) {
                    table.remove(id);
                }
            },
            BatchSize::LargeInput,
        );
    });
    let mut number = FLOWS;
    group.bench_function("evict", |bencher| {
        bencher.iter(|| {
            for _ in 0..FLOWS {
                let victim = table.next_victim().expect("a full table");
                table.remove(victim);
                insert(&mut table, key(number), at(1), Patience::Datagrams);
                number = number.wrapping_add(1);
            }
        });
    });
    group.finish();
}
