//! A worker owns some shards and judges the frames of their host pairs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use bytes::Bytes;
use crossbeam_channel::Sender;

use super::arrival::Arrival;
use super::baselines::Baselines;
use super::run::Settings;
use super::shard::{SHARDS, Shard};
use super::trace::FlowTrace;
use crate::capture::source::Record;
use crate::detect::packs::facts::Facts;
use crate::finding::finding::Finding;
use crate::finding::summary::Coverage;
use crate::finding::tls_shown::TlsShown;
use crate::packet::dissect::Undissected;
use crate::packet::host_pair::HostPair;
use crate::packet::link::Peeled;
use crate::prefetch::prefetch_bytes;
use crate::time::Timestamp;

/// Frames that are looked up together: enough to hide the wait for memory, few enough for the first-level cache.
/// 16, 32 and 64 do alike.
const AT_ONCE: usize = 32;

/// Headers and the first bytes after them, in bytes: Ethernet 14, IPv6 40, TCP with time stamps 32, and what a detector looks
/// at first.
const HEADERS: usize = 128;

/// A frame on its way to a shard.
#[derive(Clone, Copy, Debug)]
pub struct Assigned {
    /// Where the frame is; its time is the engine's clock.
    pub record: Record,
    /// What its link layer said; the shard that judges it follows from its hosts.
    pub peeled: Result<Peeled, Undissected>,
}

impl Assigned {
    /// The shard that judges the frame.
    #[must_use]
    pub fn shard(&self) -> usize {
        let pair = self.peeled.map_or(HostPair::default(), |peeled| peeled.pair);
        (pair.0 >> 32) as usize % SHARDS
    }
}

/// What a worker is sent.
#[derive(Clone, Debug)]
pub enum Task {
    /// Frames in capture order, over one piece of memory.
    Frames(Bytes, Vec<Assigned>),
    /// The capture ends: conclude all flows.
    EndCapture,
    /// The clock has come so far without a frame: conclude what is due.
    Settle(Timestamp),
    /// Send what was found since the last time; what was looked at as well if asked.
    Tell(Extent, Sender<Report>),
    /// Flows begin to be reported anew to baselines that were emptied.
    ForgetHosts,
    /// Other facts are consulted from now on; flows stay.
    Learn(Facts),
}

/// How much of a [`Report`] is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What was found and what flows came to since the last report.
    News,
    /// Also what was looked at since the beginning, and which addresses names were answered with.
    Everything,
}

/// What a worker has to say in the end.
#[derive(Debug, Default)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
    /// What the flows came to.
    pub traces: Vec<FlowTrace>,
    /// What the TLS handshakes showed.
    pub shown: Vec<TlsShown>,
    /// The addresses that names were answered with.
    pub named: BTreeSet<IpAddr>,
    /// What was looked at.
    pub coverage: Coverage,
    /// Flows held just now.
    pub held: u64,
}

impl Report {
    /// Adds what another worker has to say.
    pub fn absorb(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.traces.extend(other.traces);
        self.shown.extend(other.shown);
        self.named.extend(other.named);
        self.coverage.add(&other.coverage);
        self.held += other.held;
    }
}

/// Judges the frames of every `workers`-th shard.
#[derive(Debug)]
pub struct Worker {
    shards: Vec<Shard>,
    workers: usize,
}

/// Fetches the headers of `batch`, which is judged next, and the first bytes after them.
fn fetch_headers(bytes: &[u8], batch: &[Assigned]) {
    for assigned in batch {
        let (at, captured) = (assigned.record.offset, assigned.record.captured as usize);
        prefetch_bytes(&bytes[at..at + captured.min(HEADERS)]);
    }
}

/// Which of `workers` workers owns `shard`.
#[must_use]
pub const fn owner(shard: usize, workers: usize) -> usize {
    shard % workers
}

impl Worker {
    /// Worker number `index` of `workers`, as `settings` have it.
    #[must_use]
    pub fn new(index: usize, workers: usize, settings: &Settings, baselines: &Arc<Baselines>) -> Self {
        let flows = settings.flows.div_ceil(SHARDS);
        let shards = (0..SHARDS)
            .filter(|shard| owner(*shard, workers) == index)
            .map(|_| Shard::knowing(flows, Arc::clone(baselines), &settings.facts).with_ordinary(settings.ordinary))
            .collect();
        Self { shards, workers }
    }

    /// One of `workers` workers, each of which is shown all frames of the host pairs it has, whichever shards they hash
    /// to: it has its part of the shards, and pairs of several shards share one.
    #[must_use]
    pub fn one_of(workers: usize, settings: &Settings, baselines: &Arc<Baselines>) -> Self {
        let flows = settings.flows.div_ceil(SHARDS);
        let shards = (0..SHARDS.div_ceil(workers))
            .map(|_| Shard::knowing(flows, Arc::clone(baselines), &settings.facts).with_ordinary(settings.ordinary))
            .collect();
        Self { shards, workers }
    }

    /// Does one task.
    pub fn work(&mut self, task: &Task) {
        match task {
            Task::Frames(bytes, frames) => {
                let mut batches = frames.chunks(AT_ONCE).peekable();
                if let Some(first) = batches.peek() {
                    fetch_headers(bytes, first);
                }
                while let Some(batch) = batches.next() {
                    if let Some(next) = batches.peek() {
                        fetch_headers(bytes, next);
                    }
                    self.judge(bytes, batch);
                }
            }
            Task::EndCapture => self.shards.iter_mut().for_each(Shard::end_capture),
            Task::Settle(at) => self.shards.iter_mut().for_each(|shard| shard.settle(*at)),
            // Whoever asked is gone: nobody to tell.
            Task::Tell(extent, to) => drop(to.send(self.tell(*extent))),
            Task::Learn(facts) => self.shards.iter_mut().for_each(|shard| shard.learn(facts)),
            Task::ForgetHosts => self.shards.iter_mut().for_each(Shard::forget_hosts),
        }
    }

    /// Judges some frames, no more than [`AT_ONCE`], in order. First all are dissected, then all their flows fetched:
    /// while one packet waits for memory, so do the others, and when its turn comes its flow is there.
    fn judge(&mut self, bytes: &[u8], batch: &[Assigned]) {
        let mut arrivals = ArrayVec::<(usize, Arrival<'_>), AT_ONCE>::new();
        for assigned in batch.iter().take(AT_ONCE) {
            let record = &assigned.record;
            let frame = record.frame(bytes);
            let shard = assigned.shard() / self.workers;
            let arrival = Arrival::of(frame, assigned.peeled);
            self.shards[shard].announce(&arrival);
            arrivals.push((shard, arrival));
        }
        for (shard, arrival) in &arrivals {
            self.shards[*shard].expect(arrival);
        }
        for (shard, arrival) in &arrivals {
            self.shards[*shard].greet(arrival);
        }
        for (shard, arrival) in &arrivals {
            self.shards[*shard].judge_arrival(arrival);
        }
    }

    /// What was found and looked at.
    #[must_use]
    pub fn report(mut self) -> Report {
        self.tell(Extent::Everything)
    }

    /// What was found since the last time, and what was looked at as well if asked.
    pub fn tell(&mut self, extent: Extent) -> Report {
        let mut report = Report::default();
        for shard in &mut self.shards {
            report.findings.append(&mut shard.take_findings());
            report.traces.append(&mut shard.take_traces());
            report.shown.append(&mut shard.take_shown());
            if extent == Extent::Everything {
                report.named.extend(shard.named());
                report.coverage.add(&shard.coverage());
                report.held += shard.held();
            }
        }
        report
    }
}
