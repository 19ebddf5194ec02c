//! A live run of which several threads each read a source of their own and judge what it supplies.
//!
//! ```text
//!   Source 0 ─► worker 0 ─┐ every TICK of the machine's clock: what was found, how far reading has come
//!   Source 1 ─► worker 1 ─┼──────────────────────────────► Recent ─► ledger ─► Sink
//!   …                     └─ frames, if somebody keeps them ─► Steering
//! ```
//!
//! All packets between two hosts come from one source, so nothing is handed from one worker to another, and each worker's
//! clock is that of its own packets: what becomes of a flow does not depend on the other workers. They report to the same
//! baselines, which are read while they go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use std::{io, mem};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};

use super::telling::{Standing, Telling};
use super::{LAST_BATCHES, MOST_BASELINES, Steering, behind};
use crate::capture::error::CaptureError;
use crate::capture::source::{FileNote, RecordBatch, Source, Supply};
use crate::engine::baselines::Baselines;
use crate::engine::hand_over::HandOver;
use crate::engine::run::{ANOTHER_CAPTURE, Outcome, Reading, Settings, TASKS_WAITING};
use crate::engine::worker::{Extent, Report, Task, Worker};
use crate::report::sink::Sink;
use crate::time::Timestamp;

/// How long frames are waited for before the clock is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// What a reader is asked to do.
enum Order {
    /// What a worker can do.
    Work(Task),
    /// To say what was found, and how far it has come.
    Tell(Extent, Sender<Answer>),
    /// The same after reading what has arrived, and concluding all flows.
    Conclude(Sender<Answer>),
    /// To say that it does nothing, and to do nothing until the receiver hears of it.
    Rest(Sender<Answer>, Receiver<()>),
}

/// What a reader has to say.
#[derive(Default)]
struct Answer {
    report: Report,
    files: Vec<FileNote>,
    clock: Timestamp,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    unreadable: Vec<CaptureError>,
    over: bool,
}

/// Judges what `sources` supply until `steering` says to stop, and tells `sink` findings as they are concluded. All packets
/// between two hosts, fragments and ICMP errors about them included, come from one source. There are as
/// many threads as sources.
pub fn watch_side_by_side(
    sources: &mut [Box<dyn Source + Send>],
    settings: &Settings,
    sink: &mut dyn Sink,
    steering: &mut dyn Steering,
) -> Outcome {
    let baselines = Arc::new(Baselines::default());
    let now = AtomicU64::new(steering.now().as_nanos());
    // Each is read, however many there are: a source that nobody reads would lose its packets.
    let readers = sources.len();
    let wants_frames = steering.wants_frames();
    thread::scope(|scope| {
        let (to_frames, frames) = bounded(TASKS_WAITING);
        let orders = sources.iter_mut().enumerate().map(|(index, source)| {
            let (sender, orders) = bounded(TASKS_WAITING);
            let reader = Reader {
                source: &mut **source,
                worker: Worker::one_of(readers, settings, &baselines),
                reading: Reading::default(),
                now: &now,
                frames: wants_frames.then(|| to_frames.clone()),
                unreadable: Vec::new(),
                over: false,
            };
            scope.spawn(move || {
                settings.placing.take(index);
                reader.run(&orders);
            });
            sender
        });
        let orders = orders.collect();
        drop(to_frames);
        Together {
            orders,
            frames,
            wants_frames,
            now: &now,
            over: false,
            unreadable: Vec::new(),
            telling: Telling::new(sink, steering, &baselines, settings.table()),
        }
        .run()
    })
}

/// A thread that reads a source and judges what it supplies.
struct Reader<'a> {
    source: &'a mut (dyn Source + Send),
    worker: Worker,
    reading: Reading,
    now: &'a AtomicU64,
    frames: Option<Sender<RecordBatch>>,
    unreadable: Vec<CaptureError>,
    over: bool,
}

impl Reader<'_> {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut batch = RecordBatch::default();
        let mut hand_over = HandOver::of_live_frames(1);
        loop {
            let order = if self.over {
                orders.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                orders.try_recv()
            };
            match order {
                Ok(Order::Work(task)) => self.worker.work(&task),
                Ok(Order::Tell(extent, to)) => {
                    self.worker.work(&Task::Settle(self.reading.clock));
                    drop(to.send(self.answer(extent)));
                }
                Ok(Order::Conclude(to)) => {
                    for _ in 0..LAST_BATCHES {
                        if self.over || self.read(&mut batch, &mut hand_over) == Supply::Quiet {
                            break;
                        }
                    }
                    self.worker.work(&Task::EndCapture);
                    drop(to.send(self.answer(Extent::Everything)));
                    self.over = true;
                }
                Ok(Order::Rest(to, until)) => {
                    drop(to.send(Answer::default()));
                    // Nobody sends anything: it ends when whoever holds the sender lets it go.
                    let _ = until.recv();
                }
                Err(TryRecvError::Empty) => {
                    self.read(&mut batch, &mut hand_over);
                }
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn read(&mut self, batch: &mut RecordBatch, hand_over: &mut HandOver) -> Supply {
        match self.source.supply(batch) {
            Ok(Supply::Records) => {
                self.notice_step(batch.records[0].at);
                if let Some(frames) = &self.frames {
                    // Nobody who wants them is left: then the run is over.
                    drop(frames.send(batch.clone()));
                }
                let worker = &mut self.worker;
                self.reading.spread(batch, hand_over, &mut |_, task| worker.work(&task));
                Supply::Records
            }
            Ok(Supply::Quiet) => {
                let now = Timestamp::from_nanos(self.now.load(Ordering::Relaxed));
                self.notice_step(now);
                self.reading.clock = self.reading.clock.max(behind(now));
                Supply::Quiet
            }
            Ok(Supply::End) => {
                self.over = true;
                Supply::End
            }
            Err(error) => {
                self.unreadable.push(error);
                Supply::Records
            }
        }
    }

    /// A clock that was set back far begins another capture: flows are concluded, and nothing waits for hours.
    fn notice_step(&mut self, at: Timestamp) {
        if self.reading.clock.since(at) >= ANOTHER_CAPTURE {
            self.worker.work(&Task::EndCapture);
            self.reading.clock = at;
        }
    }

    fn answer(&mut self, extent: Extent) -> Answer {
        Answer {
            report: self.worker.tell(extent),
            files: self.source.files().to_vec(),
            clock: self.reading.clock,
            first: self.reading.first,
            last: self.reading.last,
            unreadable: mem::take(&mut self.unreadable),
            over: self.over,
        }
    }
}

/// Who asks the readers, and tells.
struct Together<'a> {
    orders: Vec<Sender<Order>>,
    frames: Receiver<RecordBatch>,
    wants_frames: bool,
    now: &'a AtomicU64,
    over: bool,
    unreadable: Vec<CaptureError>,
    telling: Telling<'a>,
}

impl Together<'_> {
    fn run(mut self) -> Outcome {
        let followed = self.follow();
        let ended = self
            .ask(Order::Conclude)
            .map(|answers| self.enter(answers, Extent::Everything))
            .and_then(|_| self.telling.conclude());
        Outcome {
            summary: self.telling.summary(),
            unreadable: self.unreadable,
            output: followed.err().or(ended.err()),
        }
    }

    fn follow(&mut self) -> io::Result<()> {
        let mut latest = Timestamp::EPOCH;
        while !self.over && !self.telling.steering.stop() {
            let now = self.telling.steering.now();
            if latest.since(now) >= ANOTHER_CAPTURE {
                tracing::warn!("the clock was set back from {latest} to {now}; all flows are concluded");
                self.telling.begin_again(now);
            }
            latest = now;
            self.now.store(now.as_nanos(), Ordering::Relaxed);
            if let Some(extent) = self.telling.is_due(now) {
                self.tick(extent, now)?;
            }
            self.glance();
        }
        Ok(())
    }

    /// Passes on frames until the clock is to be looked at again.
    fn glance(&mut self) {
        if !self.wants_frames {
            thread::sleep(GLANCE);
            return;
        }
        // So many wait at the most; then time has passed.
        for _ in 0..TASKS_WAITING {
            match self.frames.recv_timeout(GLANCE) {
                Ok(batch) => self.telling.steering.frames(&batch),
                Err(_) => return,
            }
        }
    }

    fn tick(&mut self, extent: Extent, now: Timestamp) -> io::Result<()> {
        if let Some(facts) = self.telling.steering.new_facts() {
            self.all(|| Order::Work(Task::Learn(facts.clone())));
        }
        let answers = self.ask(|to| Order::Tell(extent, to))?;
        self.enter(answers, extent);
        self.telling.tick(extent, now)?;
        if extent == Extent::Everything {
            if self.telling.baselines.size() > MOST_BASELINES {
                let (until, rest) = bounded(0);
                self.ask(|to| Order::Rest(to, rest.clone()))?;
                self.telling.baselines.clear();
                self.all(|| Order::Work(Task::ForgetHosts));
                drop(until);
            }
            self.telling.review(now);
        }
        Ok(())
    }

    fn all(&self, order: impl Fn() -> Order) {
        for orders in &self.orders {
            // A reader that is gone has panicked; asking it for its report says so.
            drop(orders.send(order()));
        }
    }

    /// Has all readers do something, and takes what they say. What they read meanwhile is passed on.
    fn ask(&mut self, order: impl Fn(Sender<Answer>) -> Order) -> io::Result<Vec<Answer>> {
        let (to, from) = bounded(self.orders.len());
        self.all(|| order(to.clone()));
        drop(to);
        let mut answers = Vec::new();
        while answers.len() < self.orders.len() {
            select! {
                recv(from) -> answer => answers.push(answer.map_err(|_| io::Error::other("a worker is gone"))?),
                recv(self.frames) -> batch => match batch {
                    Ok(batch) => self.telling.steering.frames(&batch),
                    Err(_) => {
                        answers.push(from.recv().map_err(|_| io::Error::other("a worker is gone"))?);
                    }
                },
            }
        }
        // What was sent before the last answer belongs to it.
        while let Ok(batch) = self.frames.try_recv() {
            self.telling.steering.frames(&batch);
        }
        Ok(answers)
    }

    /// Puts together what all said.
    fn enter(&mut self, answers: Vec<Answer>, extent: Extent) {
        let mut files: Vec<FileNote> = Vec::new();
        let mut whole = Report::default();
        let (mut oldest, mut latest) = (None::<Timestamp>, Timestamp::EPOCH);
        let (mut first, mut last) = (None::<Timestamp>, None);
        self.over = answers.iter().all(|answer| answer.over);
        for answer in answers {
            whole.absorb(answer.report);
            oldest = Some(oldest.map_or(answer.clock, |oldest| oldest.min(answer.clock)));
            latest = latest.max(answer.clock);
            first = match (first, answer.first) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            last = last.max(answer.last);
            add(&mut files, answer.files);
            for error in answer.unreadable {
                // All readers of an interface find the same.
                if !self.unreadable.iter().any(|told| told.to_string() == error.to_string()) {
                    self.unreadable.push(error);
                }
            }
        }
        self.telling.stand(Standing {
            files: &files,
            oldest: oldest.unwrap_or_default(),
            latest,
            first,
            last,
            waits: 0,
        });
        self.telling.enter(whole, extent);
    }
}

/// Adds what one reader read of the same files to what others did.
fn add(files: &mut Vec<FileNote>, more: Vec<FileNote>) {
    if files.is_empty() {
        *files = more;
        return;
    }
    for (file, more) in files.iter_mut().zip(more) {
        file.frames += more.frames;
        file.filtered += more.filtered;
        file.lost.kernel += more.lost.kernel;
        file.lost.interface += more.lost.interface;
    }
}
