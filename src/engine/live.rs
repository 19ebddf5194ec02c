//! A run without an end: findings are told as they are concluded.
//!
//! The same reader, workers and judges as for a saved capture. What differs is that the clock also moves while nothing
//! arrives, and that at short intervals the workers hand over what they found since the last time. That is kept for a
//! while, and judged as the ledger judges a whole capture, with what is known by then; whatever reaches a verdict is
//! told, once.
//!
//! Several sources that share the packets out among them by pairs of hosts are read side by side, each by the thread
//! that judges what it supplies ([`watch_side_by_side`]).
//!
//! ```text
//!   Source ─► records ─► clock = max(clock, record)      ─► workers          every TICK of the clock:
//!          └► quiet   ─► clock = max(clock, now - LAG)                       Settle, Tell ─► Recent ─► ledger ─► Sink
//! ```
//!
//! What is known later may change a verdict. A finding is told again only if its verdict rose; one that was told and
//! would be judged milder with what came after is not taken back. What is kept is bounded in number and in age, so a
//! comparison looks back no further than [`HORIZON`].
//!
//! What the capture itself lost counts against findings about flows that were open then; those that rest on packets
//! which did not come are kept back where too many were lost, and counted.

mod losses;
mod recent;
mod side_by_side;
mod telling;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{TrySendError, bounded};

pub use self::recent::HORIZON;
pub use self::side_by_side::watch_side_by_side;
use self::telling::{Standing, Telling};
use super::baselines::Baselines;
use super::hand_over::{Hand, HandOver};
use super::run::{ANOTHER_CAPTURE, Outcome, Reading, Settings, TASKS_WAITING};
use super::shard::SHARDS;
use super::worker::{Extent, Report, Task, Worker};
use crate::capture::source::{RecordBatch, Source, Supply};
use crate::detect::packs::facts::Facts;
use crate::finding::summary::Summary;
use crate::report::sink::{Reported, Sink};
use crate::time::Timestamp;

/// How often findings are asked for. With the suspicion held open for 2.5 s and [`LAG`] they are out within 3 s.
const TICK: Duration = Duration::from_millis(150);

/// On a quiet link the clock stays so far behind the machine's: packets may still be on their way through the ring.
const LAG: Duration = Duration::from_millis(100);

/// How often what was looked at is added up, and what was found before is judged anew in the light of other flows.
const REVIEW: Duration = Duration::from_secs(1);

/// Judging takes at most one part in so many of the time.
const SHARE: u32 = 4;

/// Hosts and names the baselines may hold; then they begin anew. Some hundred bytes each.
const MOST_BASELINES: usize = 1 << 18;

/// Batches read after the end was asked for: what lies in the ring.
const LAST_BATCHES: usize = 4096;

/// Whoever steers a live run.
pub trait Steering {
    /// What time it is.
    fn now(&mut self) -> Timestamp;

    /// Whether to stop, conclude and report what is known.
    fn stop(&self) -> bool;

    /// Told about once a second how things stand.
    fn status(&mut self, status: &Status<'_>);

    /// Shown what is judged next. Packets cross it: be quick.
    fn frames(&mut self, _: &RecordBatch) {}

    /// Whether [`Self::frames`] does anything.
    fn wants_frames(&self) -> bool {
        false
    }

    /// Shown what was told.
    fn told(&mut self, _: &Reported<'_>) {}

    /// What is known of block pages from now on, if that has changed.
    fn new_facts(&mut self) -> Option<Facts> {
        None
    }
}

/// How a live run stands.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    /// What was looked at and found so far.
    pub summary: &'a Summary,
    /// How far behind the packets that are read are, beyond the time a block of the ring takes to fill.
    pub lag: Duration,
    /// Flows held.
    pub flows: u64,
    /// How often the reader waited for a worker whose channel was full.
    pub waits: u64,
}

/// Judges what `source` supplies until `steering` says to stop, and tells `sink` findings as they are concluded.
pub fn watch(
    source: &mut dyn Source,
    settings: &Settings,
    sink: &mut dyn Sink,
    steering: &mut dyn Steering,
) -> Outcome {
    let baselines = Arc::new(Baselines::default());
    let workers = settings.threads.get().min(SHARDS);
    let new_worker = |index| Worker::new(index, workers, settings, &baselines);
    if workers == 1 {
        let mut worker = new_worker(0);
        let mut hand = |_: usize, task: Task| worker.work(&task);
        return Watch::new(source, settings, sink, steering, &baselines, &Cell::new(0)).run(&mut hand);
    }
    let waits = Cell::new(0);
    thread::scope(|scope| {
        let senders: Vec<_> = (0..workers)
            .map(|index| {
                let (sender, receiver) = bounded::<Task>(TASKS_WAITING);
                let mut worker = new_worker(index);
                scope.spawn(move || {
                    settings.placing.take(index);
                    receiver.iter().for_each(|task| worker.work(&task));
                });
                sender
            })
            .collect();
        // A full channel makes the reader wait; then the kernel's ring fills, and the kernel counts what it drops.
        let mut hand = |index: usize, task: Task| {
            let outcome = senders[index].try_send(task);
            if let Err(TrySendError::Full(task)) = outcome {
                waits.set(waits.get() + 1);
                // A worker that is gone has panicked; asking it for its report says so.
                drop(senders[index].send(task));
            }
        };
        Watch::new(source, settings, sink, steering, &baselines, &waits).run(&mut hand)
    })
}

/// A live run under way, of which one thread reads everything.
struct Watch<'a> {
    source: &'a mut dyn Source,
    workers: usize,
    waits: &'a Cell<u64>,
    reading: Reading,
    telling: Telling<'a>,
}

impl<'a> Watch<'a> {
    fn new(
        source: &'a mut dyn Source,
        settings: &Settings,
        sink: &'a mut dyn Sink,
        steering: &'a mut dyn Steering,
        baselines: &'a Baselines,
        waits: &'a Cell<u64>,
    ) -> Self {
        Self {
            source,
            workers: settings.threads.get().min(SHARDS),
            waits,
            reading: Reading::default(),
            telling: Telling::new(sink, steering, baselines, settings.table()),
        }
    }

    fn run(mut self, hand: &mut Hand<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        if let Err(error) = self.follow(hand, &mut outcome) {
            outcome.output = Some(error);
        }
        self.stand();
        self.all(hand, &Task::EndCapture);
        let ended = self
            .collect(Extent::Everything, hand)
            .and_then(|()| self.telling.conclude());
        outcome.summary = self.telling.summary();
        outcome.output = outcome.output.or(ended.err());
        outcome
    }

    /// Follows the source until it ends or the run is stopped.
    fn follow(&mut self, hand: &mut Hand<'_>, outcome: &mut Outcome) -> io::Result<()> {
        let mut batch = RecordBatch::default();
        let mut last = None;
        let mut hand_over = HandOver::of_live_frames(self.workers);
        loop {
            match self.source.supply(&mut batch) {
                Ok(Supply::Records) => {
                    self.notice_step(batch.records[0].at, hand);
                    self.telling.steering.frames(&batch);
                    self.reading.spread(&batch, &mut hand_over, hand);
                }
                Ok(Supply::Quiet) => {
                    if last.is_some() {
                        return Ok(());
                    }
                    let now = self.telling.steering.now();
                    self.notice_step(now, hand);
                    self.reading.clock = self.reading.clock.max(behind(now));
                }
                Ok(Supply::End) => return Ok(()),
                Err(error) => outcome.unreadable.push(error),
            }
            if let Some(extent) = self.telling.is_due(self.reading.clock) {
                self.tick(extent, hand)?;
            }
            if last.is_none() && self.telling.steering.stop() {
                last = Some(LAST_BATCHES);
            }
            match &mut last {
                Some(0) => return Ok(()),
                Some(left) => *left -= 1,
                None => {}
            }
        }
    }

    /// A clock that was set back far begins another capture: flows are concluded, and nothing waits for hours.
    fn notice_step(&mut self, at: Timestamp, hand: &mut Hand<'_>) {
        if self.reading.clock.since(at) >= ANOTHER_CAPTURE {
            tracing::warn!(
                "the clock was set back from {} to {at}; all flows are concluded",
                self.reading.clock
            );
            self.all(hand, &Task::EndCapture);
            self.reading.clock = at;
            self.telling.begin_again(at);
        }
    }

    /// Sees how far behind the reader is, and what was lost in front of it.
    fn stand(&mut self) {
        self.telling.stand(Standing {
            files: self.source.files(),
            oldest: self.reading.clock,
            latest: self.reading.clock,
            first: self.reading.first,
            last: self.reading.last,
            waits: self.waits.get(),
        });
    }

    fn tick(&mut self, extent: Extent, hand: &mut Hand<'_>) -> io::Result<()> {
        self.stand();
        if let Some(facts) = self.telling.steering.new_facts() {
            self.all(hand, &Task::Learn(facts));
        }
        self.all(hand, &Task::Settle(self.reading.clock));
        self.collect(extent, hand)?;
        self.telling.tick(extent, self.reading.clock)?;
        if extent == Extent::Everything {
            if self.telling.baselines.size() > MOST_BASELINES {
                // The workers are waiting for tasks: all have told.
                self.telling.baselines.clear();
                self.all(hand, &Task::ForgetHosts);
            }
            self.telling.review(self.reading.clock);
        }
        Ok(())
    }

    fn all(&self, hand: &mut Hand<'_>, task: &Task) {
        (0..self.workers).for_each(|index| hand(index, task.clone()));
    }

    /// Waits for all workers to have done what they were handed, and takes what they found.
    fn collect(&mut self, extent: Extent, hand: &mut Hand<'_>) -> io::Result<()> {
        let (to, reports) = bounded(self.workers);
        self.all(hand, &Task::Tell(extent, to));
        let mut whole = Report::default();
        for _ in 0..self.workers {
            let report = reports.recv().map_err(|_| io::Error::other("a worker is gone"))?;
            whole.absorb(report);
        }
        self.telling.enter(whole, extent);
        Ok(())
    }
}

/// Where the clock stands on a quiet link when the machine's says `now`.
fn behind(now: Timestamp) -> Timestamp {
    Timestamp::from_nanos(now.as_nanos().saturating_sub(LAG.as_nanos() as u64))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::num::NonZeroUsize;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::capture::capture_set::CaptureSet;
    use crate::capture::error::CaptureError;
    use crate::capture::source::{FileNote, Progress};
    use crate::engine::run::{self, Control};
    use crate::finding::finding::{Finding, Kind};
    use crate::finding::verdict::Verdict;
    use crate::fixture::fixture::Fixture;
    use crate::packet::frame::FrameNumber;
    use crate::packet::link::Peeled;

    /// A capture supplied frame by frame, then silence.
    struct ThenSilence(CaptureSet);

    impl Source for ThenSilence {
        fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
            match self.0.supply(batch)? {
                Supply::End => Ok(Supply::Quiet),
                other => Ok(other),
            }
        }

        fn progress(&self) -> Progress {
            self.0.progress()
        }

        fn files(&self) -> &[FileNote] {
            self.0.files()
        }
    }

    /// A machine whose clock moves by 100 ms whenever it is asked.
    struct Machine {
        now: Timestamp,
        until: Timestamp,
    }

    impl Steering for Machine {
        fn now(&mut self) -> Timestamp {
            self.now = self.now.plus(Duration::from_millis(100));
            self.now
        }

        fn stop(&self) -> bool {
            self.now >= self.until
        }

        fn status(&mut self, _: &Status<'_>) {}
    }

    struct ToTheEnd;

    impl Control for ToTheEnd {
        fn progress(&mut self, _: Progress, _: u64) {}

        fn stop(&self) -> bool {
            false
        }
    }

    /// What was told, in order, and whether the summary came.
    #[derive(Default)]
    struct Told {
        findings: Vec<(Finding, Option<Verdict>)>,
        over: bool,
    }

    impl Sink for Told {
        fn finding(&mut self, reported: &Reported<'_>) -> io::Result<()> {
            self.findings
                .push((reported.finding.clone(), reported.judgement.verdict));
            Ok(())
        }

        fn finish(&mut self, _: &Summary) -> io::Result<()> {
            self.over = true;
            Ok(())
        }
    }

    type Said = BTreeSet<(Kind, FrameNumber, Option<Verdict>)>;

    fn source(path: &Path, batch_len: usize) -> CaptureSet {
        CaptureSet::open(&[path.to_owned()]).with_batch_len(batch_len)
    }

    fn read(path: &Path) -> (Said, Summary) {
        let mut told = Told::default();
        let outcome = run::run(&mut source(path, 512), &Settings::default(), &mut told, &mut ToTheEnd);
        (said(&told), outcome.summary)
    }

    /// The last that was said of each finding.
    fn said(told: &Told) -> Said {
        let mut last = BTreeMap::new();
        for (finding, verdict) in &told.findings {
            last.insert((finding.kind, finding.decided_by), *verdict);
        }
        last.into_iter()
            .map(|((kind, frame), verdict)| (kind, frame, verdict))
            .collect()
    }

    fn watched(path: &Path, batch_len: usize, threads: usize, after: Duration) -> (Told, Outcome) {
        let last = read(path).1.last.unwrap_or_default();
        let mut machine = Machine {
            now: last,
            until: last.plus(after),
        };
        let settings = Settings {
            threads: NonZeroUsize::new(threads).unwrap(),
            ..Settings::default()
        };
        let mut told = Told::default();
        let outcome = watch(
            &mut ThenSilence(source(path, batch_len)),
            &settings,
            &mut told,
            &mut machine,
        );
        (told, outcome)
    }

    /// The frames of a capture that are between pairs of hosts of one sort, then silence.
    struct OfSomeHosts {
        all: ThenSilence,
        index: u64,
        of: u64,
    }

    impl Source for OfSomeHosts {
        fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
            loop {
                let supply = self.all.supply(batch)?;
                let bytes = batch.bytes.clone();
                batch.records.retain(|record| {
                    let frame = &bytes[record.offset..record.offset + record.captured as usize];
                    let pair = Peeled::of(record.link, frame).map_or(0, |peeled| peeled.pair.0);
                    pair % self.of == self.index
                });
                if supply != Supply::Records || !batch.records.is_empty() {
                    return Ok(supply);
                }
            }
        }

        fn progress(&self) -> Progress {
            self.all.progress()
        }

        fn files(&self) -> &[FileNote] {
            self.all.files()
        }
    }

    fn watched_side_by_side(path: &Path, readers: u64, steering: &mut dyn Steering) -> (Told, Outcome) {
        let mut sources: Vec<_> = (0..readers)
            .map(|index| -> Box<dyn Source + Send> {
                Box::new(OfSomeHosts {
                    all: ThenSilence(source(path, 64)),
                    index,
                    of: readers,
                })
            })
            .collect();
        let mut told = Told::default();
        let outcome = watch_side_by_side(&mut sources, &Settings::default(), &mut told, steering);
        (told, outcome)
    }

    fn fixtures() -> Vec<PathBuf> {
        let all = Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap();
        assert!(all.len() > 50);
        all.iter().map(Fixture::trace_path).collect()
    }

    #[test]
    fn in_the_end_a_live_run_has_told_what_reading_the_capture_tells() {
        for path in fixtures() {
            let (expected, summary) = read(&path);
            // Stopped at once: what silence would conclude is concluded by the end, as in a file.
            let (told, outcome) = watched(&path, 64, 1, Duration::ZERO);
            let said = said(&told);
            assert_eq!(said, expected, "{}", path.display());
            assert!(told.over);
            assert_eq!(outcome.summary.coverage, summary.coverage);
        }
    }

    #[test]
    fn on_a_quiet_link_a_finding_is_out_within_three_seconds() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gfw-rst-triple-same-seq/trace.pcap");
        let last = read(&path).1.last.unwrap();
        /// Notes what time it is when a finding comes.
        struct Stopwatch(Machine, Option<Timestamp>);
        impl Steering for Stopwatch {
            fn now(&mut self) -> Timestamp {
                self.0.now()
            }
            fn stop(&self) -> bool {
                self.0.stop()
            }
            fn status(&mut self, status: &Status<'_>) {
                let all: u64 = status.summary.findings.values().sum();
                if all == 5 && self.1.is_none() {
                    self.1 = Some(self.0.now);
                }
            }
        }
        let machine = Machine {
            now: last,
            until: last.plus(Duration::from_secs(8)),
        };
        let mut watch_it = Stopwatch(machine, None);
        let mut told = Told::default();
        watch(
            &mut ThenSilence(source(&path, 16)),
            &Settings::default(),
            &mut told,
            &mut watch_it,
        );
        assert_eq!(told.findings.len(), 5);
        // The status comes once a second.
        let seen = watch_it.1.expect("told before the end");
        assert!(seen.since(last) <= Duration::from_secs(4), "{:?}", seen.since(last));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hold_findings_up() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gfw-rst-triple-same-seq/trace.pcap");
        let last = read(&path).1.last.unwrap();
        // After the last packet the machine believes it is an hour ago.
        let now = Timestamp::from_nanos(last.as_nanos() - 3_600_000_000_000);
        let until = now.plus(Duration::from_secs(5));
        let mut machine = Told5 {
            machine: Machine { now, until },
            before_the_end: false,
        };
        let mut told = Told::default();
        watch(
            &mut ThenSilence(source(&path, 16)),
            &Settings::default(),
            &mut told,
            &mut machine,
        );
        assert!(machine.before_the_end);
        assert_eq!(told.findings.len(), 5);
    }

    /// Whether five findings were told before the run ended.
    struct Told5 {
        machine: Machine,
        before_the_end: bool,
    }

    impl Steering for Told5 {
        fn now(&mut self) -> Timestamp {
            self.machine.now()
        }

        fn stop(&self) -> bool {
            self.machine.stop()
        }

        fn status(&mut self, status: &Status<'_>) {
            self.before_the_end |= status.summary.findings.values().sum::<u64>() == 5;
        }
    }

    #[test]
    fn several_readers_side_by_side_tell_what_one_tells() {
        for (index, path) in fixtures().into_iter().enumerate() {
            // Also more than there are shards.
            let readers = if index % 40 == 0 { 70 } else { 3 };
            let (expected, summary) = read(&path);
            let now = summary.last.unwrap_or_default();
            let (told, outcome) = watched_side_by_side(&path, readers, &mut Machine { now, until: now });
            assert_eq!(said(&told), expected, "{}", path.display());
            assert!(told.over);
            assert_eq!(outcome.summary.coverage, summary.coverage, "{}", path.display());
            assert_eq!(outcome.summary.findings, summary.findings, "{}", path.display());
            assert_eq!(
                (outcome.summary.first, outcome.summary.last),
                (summary.first, summary.last)
            );
        }
    }

    #[test]
    fn readers_side_by_side_tell_while_it_lasts_and_show_all_frames() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gfw-rst-triple-same-seq/trace.pcap");
        let (_, summary) = read(&path);
        let now = summary.last.unwrap();
        /// Counts the frames it is shown.
        struct Keeper(Told5, BTreeSet<FrameNumber>);
        impl Steering for Keeper {
            fn now(&mut self) -> Timestamp {
                self.0.now()
            }
            fn stop(&self) -> bool {
                self.0.stop()
            }
            fn status(&mut self, status: &Status<'_>) {
                self.0.status(status);
            }
            fn frames(&mut self, batch: &RecordBatch) {
                self.1.extend(batch.records.iter().map(|record| record.number));
            }
            fn wants_frames(&self) -> bool {
                true
            }
        }
        let until = now.plus(Duration::from_secs(30));
        let machine = Machine { now, until };
        let mut keeper = Keeper(
            Told5 {
                machine,
                before_the_end: false,
            },
            BTreeSet::new(),
        );
        let (told, outcome) = watched_side_by_side(&path, 2, &mut keeper);
        assert!(keeper.0.before_the_end);
        assert_eq!(told.findings.len(), 5);
        assert_eq!(keeper.1.len() as u64, outcome.summary.coverage.frames);
        assert_eq!(outcome.summary.coverage.frames, summary.coverage.frames);
    }

    /// A capture, and then another one that claims to have begun before the first one ended, by so much.
    struct SteppingBack {
        first: CaptureSet,
        then: ThenSilence,
        /// Subtracted from the time of the second.
        shift: u64,
        read: u64,
        over: bool,
    }

    impl SteppingBack {
        fn new(first: &Path, then: &Path, step: Duration) -> Self {
            let ends = |path| {
                let summary = read(path).1;
                (summary.first.unwrap().as_nanos(), summary.last.unwrap().as_nanos())
            };
            let (ended, begins) = (ends(first).1, ends(then).0);
            Self {
                first: source(first, 64),
                then: ThenSilence(source(then, 64)),
                shift: begins.wrapping_sub(ended - step.as_nanos() as u64),
                read: 0,
                over: false,
            }
        }
    }

    impl Source for SteppingBack {
        fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
            if !self.over {
                match self.first.supply(batch)? {
                    Supply::End => self.over = true,
                    other => {
                        self.read += batch.records.len() as u64;
                        return Ok(other);
                    }
                }
            }
            let supply = self.then.supply(batch)?;
            for record in &mut batch.records {
                record.at = Timestamp::from_nanos(record.at.as_nanos().wrapping_sub(self.shift));
                record.number = FrameNumber::new(0, self.read + record.number.in_file());
            }
            Ok(supply)
        }

        fn progress(&self) -> Progress {
            self.first.progress()
        }

        fn files(&self) -> &[FileNote] {
            self.first.files()
        }
    }

    #[test]
    fn packets_whose_time_steps_back_are_judged_and_findings_kept() {
        let fixture = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
            path.join("trace.pcap")
        };
        let (first, then) = (
            fixture("gfw-rst-triple-same-seq"),
            fixture("quic-silence-after-server-initial"),
        );
        let of = |said: &Said| -> Vec<_> {
            let mut all: Vec<_> = said.iter().map(|(kind, _, verdict)| (*kind, *verdict)).collect();
            all.sort_unstable();
            all
        };
        let (before, after) = (read(&first), read(&then));
        let both = [of(&before.0), of(&after.0)].concat();
        let frames = before.1.coverage.frames + after.1.coverage.frames;
        for step in [10, 3600] {
            for threads in [1, 2] {
                let step = Duration::from_secs(step);
                let settings = Settings {
                    threads: NonZeroUsize::new(threads).unwrap(),
                    ..Settings::default()
                };
                let now = before.1.last.unwrap();
                let mut source = SteppingBack::new(&first, &then, step);
                let mut told = Told::default();
                let mut machine = Machine { now, until: now };
                let outcome = watch(&mut source, &settings, &mut told, &mut machine);
                assert_eq!(outcome.summary.coverage.frames, frames);
                let said = of(&said(&told));
                // A step of a minute or more begins anew; within a lesser one the clock stands still until it is made up
                // for, and silences are shorter.
                if step > ANOTHER_CAPTURE {
                    let mut both = both.clone();
                    both.sort_unstable();
                    assert_eq!(said, both, "{step:?}, {threads}");
                } else {
                    for finding in of(&before.0) {
                        assert!(said.contains(&finding), "{finding:?}, {threads}: {said:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn readers_side_by_side_survive_a_clock_that_is_set_back() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gfw-rst-triple-same-seq/trace.pcap");
        let last = read(&path).1.last.unwrap();
        for back in [30, 3600] {
            let now = Timestamp::from_nanos(last.as_nanos() - back * 1_000_000_000);
            let until = now.plus(Duration::from_secs(back.min(60) + 5));
            let mut machine = Told5 {
                machine: Machine { now, until },
                before_the_end: false,
            };
            let (told, _) = watched_side_by_side(&path, 2, &mut machine);
            assert!(machine.before_the_end, "{back}");
            assert_eq!(told.findings.len(), 5, "{back}");
        }
    }

    #[test]
    fn the_number_of_workers_does_not_matter() {
        for path in fixtures().iter().step_by(9) {
            let alone = said(&watched(path, 64, 1, Duration::ZERO).0);
            let three = said(&watched(path, 64, 3, Duration::ZERO).0);
            assert_eq!(alone, three, "{}", path.display());
        }
    }
}
