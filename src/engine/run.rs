//! One run from the first frame to the summary.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::baselines::Baselines;
use super::hand_over::{Hand, HandOver};
use super::ledger::Ledger;
use super::part::Part;
use super::processors::Placing;
use super::shard::{Ordinary, SHARDS, Shard};
use super::worker::{Assigned, Task, Worker};
use crate::capture::error::CaptureError;
use crate::capture::source::{Progress, Record, RecordBatch, Source, Supply};
use crate::detect::packs::facts::Facts;
use crate::finding::finding::Finding;
use crate::finding::summary::{Summary, Table};
use crate::finding::verdict::Judgement;
use crate::packet::link::Peeled;
use crate::report::sink::{Reported, Sink};
use crate::time::Timestamp;

/// What a run may use, and what it tells.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads; the result does not depend on it.
    pub threads: NonZeroUsize,
    /// The most flows held at once, over all workers.
    pub flows: usize,
    /// What is known of block pages and forged answers.
    pub facts: Facts,
    /// Which cases the sink is told.
    pub cases: Cases,
    /// What becomes of ordinary packets; the result does not depend on it.
    pub ordinary: Ordinary,
    /// Where the worker threads run; the result does not depend on it.
    pub placing: Placing,
}

/// The most flows held at once unless told otherwise.
pub const FLOWS: usize = 1 << 18;

/// The same for who watches an interface, day and night: so many flows of TCP take some 320 MiB. With the ring and all else
/// an uplink can be watched within 512 MiB, whatever goes over it.
pub const FLOWS_WATCHED: usize = 96 << 10;

/// How many flows find room in `bytes` bytes, at least one for each shard.
#[must_use]
pub fn flows_within(bytes: usize) -> usize {
    (bytes / Shard::BYTES_PER_FLOW).max(SHARDS)
}

impl Settings {
    /// The room these settings make for flows.
    #[must_use]
    pub const fn table(&self) -> Table {
        let flows = self.flows.div_ceil(SHARDS) * SHARDS;
        Table {
            flows: flows as u64,
            bytes: (flows * Shard::BYTES_PER_FLOW) as u64,
        }
    }
}

impl Default for Settings {
    /// One thread, [`FLOWS`] flows, the built-in facts, and findings only.
    fn default() -> Self {
        Self {
            threads: NonZeroUsize::MIN,
            flows: FLOWS,
            facts: Facts::default(),
            cases: Cases::Judged,
            ordinary: Ordinary::Passed,
            placing: Placing::Anywhere,
        }
    }
}

/// Which cases a sink is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cases {
    /// Findings: cases that reach a verdict.
    Judged,
    /// All a detector opened, also those that came to nothing: to measure evidence with.
    All,
}

/// Whoever watches a run and may stop it.
pub trait Control {
    /// Told now and then how far the run has come. Called between batches, never per packet.
    fn progress(&mut self, progress: Progress, frames: u64);

    /// Whether to stop, conclude and report what is known so far.
    fn stop(&self) -> bool;
}

/// How a run ended. Nothing found is lost when it ended badly.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was looked at and found.
    pub summary: Summary,
    /// Inputs that could not be read at all.
    pub unreadable: Vec<CaptureError>,
    /// Why the output could not be written, if it could not.
    pub output: Option<io::Error>,
}

/// Tasks that may wait for one worker; a full channel makes the reader wait.
pub(super) const TASKS_WAITING: usize = 32;

/// A capture whose time falls back this far behind the one before it is another capture, not a late packet.
pub(super) const ANOTHER_CAPTURE: Duration = Duration::from_secs(60);

/// Judges all frames of `source` and tells `sink` the findings in capture order.
pub fn run(source: &mut dyn Source, settings: &Settings, sink: &mut dyn Sink, control: &mut dyn Control) -> Outcome {
    let mut outcome = Outcome::default();
    let part = judge(source, settings, control, &mut outcome);
    conclude(part, settings, sink, outcome)
}

/// Judges all frames of `source`, as far as they can be judged without those of other parts of the run. What could not
/// be read, and whether it was stopped, goes into `outcome`.
pub fn judge(source: &mut dyn Source, settings: &Settings, control: &mut dyn Control, outcome: &mut Outcome) -> Part {
    let baselines = Arc::new(Baselines::default());
    let workers = settings.threads.get().min(SHARDS);
    let mut ledger = Ledger::default();
    let mut reading = Reading::default();
    let mut hand_over = HandOver::of_captures(workers);
    let empties = hand_over.empties();
    let new_worker = |index| Worker::new(index, workers, settings, &baselines);
    if workers == 1 {
        let mut worker = new_worker(0);
        let mut hand = |_: usize, task: Task| {
            worker.work(&task);
            empties.take_back(task);
        };
        reading.read(source, &mut hand_over, &mut hand, control, outcome);
        ledger.enter(worker.report());
    } else {
        thread::scope(|scope| {
            let (senders, handles): (Vec<_>, Vec<_>) = (0..workers)
                .map(|index| {
                    let (sender, receiver) = crossbeam_channel::bounded::<Task>(TASKS_WAITING);
                    let mut worker = new_worker(index);
                    let empties = empties.clone();
                    let handle = scope.spawn(move || {
                        settings.placing.take(index);
                        for task in &receiver {
                            worker.work(&task);
                            empties.take_back(task);
                        }
                        worker.report()
                    });
                    (sender, handle)
                })
                .unzip();
            // A worker that is gone has panicked; joining it below says so.
            let mut hand = |index: usize, task: Task| drop(senders[index].send(task));
            reading.read(source, &mut hand_over, &mut hand, control, outcome);
            drop(senders);
            for handle in handles {
                match handle.join() {
                    Ok(report) => ledger.enter(report),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
    }
    Part {
        ledger,
        // The workers are gone, and with them their shares.
        baselines: Arc::into_inner(baselines).unwrap_or_default(),
        files: source.files().to_vec(),
        first: reading.first,
        last: reading.last,
    }
}

/// Compares everything in `part`, which is the whole run, and tells `sink` the findings in capture order.
pub fn conclude(part: Part, settings: &Settings, sink: &mut dyn Sink, mut outcome: Outcome) -> Outcome {
    let (findings, coverage) = part.ledger.close(&part.baselines);
    outcome.summary.files = part.files;
    outcome.summary.first = part.first;
    outcome.summary.last = part.last;
    outcome.summary.coverage = coverage;
    outcome.summary.table = settings.table();
    outcome.output = tell(&findings, settings.cases, &mut outcome.summary, sink).err();
    outcome
}

/// Tells the findings, then the summary.
fn tell(findings: &[(Finding, Judgement)], cases: Cases, summary: &mut Summary, sink: &mut dyn Sink) -> io::Result<()> {
    for (finding, judgement) in findings {
        if let Some(verdict) = judgement.verdict {
            *summary.findings.entry((finding.kind, verdict)).or_default() += 1;
            if let Some(id) = finding.injector.as_ref().and_then(|injector| injector.id) {
                *summary.injectors.entry(id).or_default() += 1;
            }
        }
    }
    for (finding, judgement) in findings {
        if judgement.verdict.is_none() && cases == Cases::Judged {
            continue;
        }
        sink.finding(&Reported {
            finding,
            judgement: *judgement,
            files: &summary.files,
        })?;
    }
    sink.finish(summary)
}

/// The reader's side of a run: the clock, and who gets which frame.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) clock: Timestamp,
    file: Option<u32>,
    frames: u64,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
}

impl Reading {
    fn read(
        &mut self,
        source: &mut dyn Source,
        hand_over: &mut HandOver,
        hand: &mut Hand<'_>,
        control: &mut dyn Control,
        outcome: &mut Outcome,
    ) {
        let mut batch = RecordBatch::default();
        loop {
            match source.supply(&mut batch) {
                Ok(Supply::Records) => {}
                Ok(Supply::Quiet) => {
                    if control.stop() {
                        outcome.summary.interrupted = true;
                        break;
                    }
                    continue;
                }
                Ok(Supply::End) => break,
                Err(error) => {
                    outcome.unreadable.push(error);
                    continue;
                }
            }
            self.spread(&batch, hand_over, hand);
            control.progress(source.progress(), self.frames);
            if control.stop() {
                outcome.summary.interrupted = true;
                break;
            }
        }
        hand_over.end_capture(hand);
    }

    /// Gives the frames of one batch to `hand_over`, on their way to the workers that own their host pairs.
    pub(super) fn spread(&mut self, batch: &RecordBatch, hand_over: &mut HandOver, hand: &mut Hand<'_>) {
        hand_over.begin_batch(&batch.bytes, hand);
        if let Some(record) = batch.records.first()
            && self.file != Some(record.number.file())
        {
            let another = self.file.is_some() && self.clock.since(record.at) >= ANOTHER_CAPTURE;
            self.file = Some(record.number.file());
            if another {
                hand_over.end_capture(hand);
                self.clock = Timestamp::EPOCH;
            }
        }
        let bytes: &[u8] = &batch.bytes;
        for record in &batch.records {
            self.clock = self.clock.max(record.at);
            self.frames += 1;
            self.first = Some(self.first.map_or(self.clock, |first| first.min(self.clock)));
            self.last = Some(self.last.map_or(self.clock, |last| last.max(self.clock)));
            let frame = &bytes[record.offset..record.offset + record.captured as usize];
            let assigned = Assigned {
                record: Record {
                    at: self.clock,
                    ..*record
                },
                peeled: Peeled::of(record.link, frame),
            };
            hand_over.take(assigned, hand);
        }
        hand_over.end_batch(hand);
    }
}
