//! `flow_table/…`: finding, missing, making, concluding and giving up flows, in tables of a thousand to four million.

use std::hint::black_box;

use blockscope::finding::finding::Protocol;
use blockscope::flow::flow_key::{End, FlowKey};
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

    fn fetch(&self, _: End) {}

    fn fetch_apart(&self) {}
}

fn insert(table: &mut FlowTable<Held>, key: FlowKey, at: Timestamp, patience: Patience) -> SlotId {
    table.insert(&key, at, patience, |held| held.key = Some(key))
}

/// Sizes of tables, in flows: what fits a cache, an uplink, and what fits none.
const SIZES: [u32; 4] = [1_000, 100_000, 1_000_000, 4_000_000];

/// Flows looked up, made or given up at once; a worker takes as many frames.
const AT_ONCE: usize = 32;

/// Operations measured together.
const LOOKUPS: u32 = 1 << 14;

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

fn full(flows: u32) -> FlowTable<Held> {
    let mut table = FlowTable::new(flows as usize);
    (0..flows).for_each(|number| _ = insert(&mut table, key(number), at(0), Patience::Datagrams));
    table
}

/// Looks `keys` up as a worker does: some at once, fetched beforehand.
fn look_up(table: &mut FlowTable<Held>, keys: &[FlowKey], mut then: impl FnMut(&mut FlowTable<Held>, &FlowKey)) {
    for batch in keys.chunks(AT_ONCE) {
        batch.iter().for_each(|key| table.announce(key));
        batch.iter().for_each(|key| table.expect(key, End::Low));
        batch.iter().for_each(|key| then(table, black_box(key)));
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow_table");
    group.throughput(Throughput::Elements(u64::from(LOOKUPS)));
    for flows in SIZES {
        let mut table = full(flows);
        let scattered = |from: u32| -> Vec<_> {
            let number = |turn: u32| from + (u64::from(turn) * 0x9e37_79b1 % u64::from(flows)) as u32;
            (0..LOOKUPS).map(|turn| key(number(turn))).collect()
        };
        let keys = scattered(0);
        group.bench_function(format!("hit/{flows}"), |bencher| {
            bencher.iter(|| {
                look_up(&mut table, &keys, |table, key| {
                    let id = table.find(key).expect("the flow");
                    table.touch(id, at(1), Patience::Datagrams);
                    table.get_mut(id).rest[0] += 1;
                });
            });
        });
        let strangers = scattered(flows);
        group.bench_function(format!("miss/{flows}"), |bencher| {
            bencher.iter(|| look_up(&mut table, &strangers, |table, key| _ = black_box(table.find(key))));
        });
        let mut number = flows;
        group.bench_function(format!("evict_insert/{flows}"), |bencher| {
            bencher.iter(|| {
                for _ in 0..LOOKUPS {
                    let victim = table.next_victim().expect("a full table");
                    table.remove(victim);
                    insert(&mut table, key(number), at(1), Patience::Datagrams);
                    number = number.wrapping_add(1);
                }
            });
        });
    }
    group.bench_function("insert", |bencher| {
        // Slots and index as large as they will be: what is measured is a flow's beginning, not the table's.
        let emptied = || {
            let mut table = full(LOOKUPS);
            let mut at = 0;
            while let Some(id) = table.next_of_all(&mut at) {
                table.remove(id);
            }
            table
        };
        bencher.iter_batched_ref(
            emptied,
            |table| (0..LOOKUPS).for_each(|number| _ = insert(table, key(number), at(0), Patience::Opening)),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("expire", |bencher| {
        bencher.iter_batched_ref(
            || full(LOOKUPS),
            |table| {
                while let Some((id, _)) = table.next_expired(at(60_000)) {
                    table.remove(id);
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}
