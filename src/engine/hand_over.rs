//! From the reader to the workers: frames wait here until it pays to hand them over.
//!
//! What a capture holds of one moment is spread over all shards, and what a shard keeps of its flows is small enough for
//! the caches only as long as no other comes in between. As shards know nothing of each other, the frames of a mapped
//! capture are handed over shard by shard, many of each at once. Blocks of a stream are wanted back, and live frames are
//! to be judged at once: these go on as they came.

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::shard::SHARDS;
use super::worker::{Assigned, Task, owner};

/// Frames that are handed to a worker at once as they came. Any size gives the same result; this one keeps the channel
/// cheap and the frames in the second-level cache.
const FRAMES_PER_TASK: usize = 512;

/// The most frames that wait to be handed over shard by shard, 16 MiB of them. Measured on forged captures (20,000 to a
/// million flows under way) with 1,024 to 1,048,576: the more, the less time, down to two thirds; beyond this little is
/// gained.
const MOST_WAITING: usize = 1 << 18;

/// So many wait the first time, and each time twice as many, so that workers have something to do from the beginning on.
const FIRST_WAITING: usize = 1 << 13;

/// Memory as large as this, in bytes, is a mapped capture's: blocks of a stream are smaller, but for those of a single
/// enormous record.
const MAPPED: usize = 4 << 20;

/// In which order frames are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    AsTheyCame,
    ByShard,
}

/// Lists that wait to be filled again: as many as are filled at once, and as many again on their way.
const MOST_EMPTIES: usize = 2 * SHARDS;

/// Where workers leave the lists they have emptied.
#[derive(Clone, Debug)]
pub(super) struct Empties(Sender<Vec<Assigned>>);

impl Empties {
    /// Takes back what `task`, which is done, has room for.
    pub(super) fn take_back(&self, task: Task) {
        if let Task::Frames(_, mut frames) = task {
            frames.clear();
            // There are enough.
            let _ = self.0.try_send(frames);
        }
    }
}

/// Frames on their way to workers, all over one piece of memory. Each shard gets its own in the order they came.
#[derive(Debug)]
pub(super) struct HandOver {
    workers: usize,
    /// Memory of so many bytes is a mapped capture's.
    mapped: usize,
    memory: Bytes,
    order: Order,
    /// By shard or by worker.
    waiting: Vec<Vec<Assigned>>,
    in_all: usize,
    /// How many may wait in all.
    most: usize,
    empties: (Sender<Vec<Assigned>>, Receiver<Vec<Assigned>>),
}

/// Hands a task to a worker.
pub(super) type Hand<'h> = dyn FnMut(usize, Task) + 'h;

impl HandOver {
    /// To `workers` workers, of saved captures.
    pub(super) fn of_captures(workers: usize) -> Self {
        Self::sorting(workers, MAPPED)
    }

    /// To `workers` workers, of live frames.
    pub(super) fn of_live_frames(workers: usize) -> Self {
        Self::sorting(workers, usize::MAX)
    }

    fn sorting(workers: usize, mapped: usize) -> Self {
        Self {
            workers,
            mapped,
            memory: Bytes::new(),
            order: Order::AsTheyCame,
            waiting: vec![Vec::new(); SHARDS],
            in_all: 0,
            most: FIRST_WAITING,
            empties: bounded(MOST_EMPTIES),
        }
    }

    /// Where workers may leave lists.
    pub(super) fn empties(&self) -> Empties {
        Empties(self.empties.0.clone())
    }

    /// What comes next lies in `memory`. Frames of other memory that still wait are handed over.
    pub(super) fn begin_batch(&mut self, memory: &Bytes, hand: &mut Hand<'_>) {
        if self.memory.as_ptr_range() == memory.as_ptr_range() {
            return;
        }
        self.finish(hand);
        self.memory = memory.clone();
        self.order = if memory.len() < self.mapped {
            Order::AsTheyCame
        } else {
            Order::ByShard
        };
    }

    /// Takes the next frame of the batch.
    #[inline]
    pub(super) fn take(&mut self, frame: Assigned, hand: &mut Hand<'_>) {
        match self.order {
            Order::ByShard => {
                self.waiting[frame.shard()].push(frame);
                self.in_all += 1;
            }
            Order::AsTheyCame => {
                let worker = owner(frame.shard(), self.workers);
                let waiting = &mut self.waiting[worker];
                waiting.push(frame);
                if waiting.len() >= FRAMES_PER_TASK {
                    self.pass_on(worker, worker, hand);
                }
            }
        }
    }

    /// The batch is over. What came as it came is handed over: nobody knows when more will come.
    pub(super) fn end_batch(&mut self, hand: &mut Hand<'_>) {
        match self.order {
            Order::ByShard if self.in_all < self.most => {}
            Order::ByShard | Order::AsTheyCame => self.finish(hand),
        }
    }

    /// Hands over all that waits.
    fn finish(&mut self, hand: &mut Hand<'_>) {
        for place in 0..self.waiting.len() {
            let worker = match self.order {
                Order::ByShard => owner(place, self.workers),
                Order::AsTheyCame => place,
            };
            self.pass_on(place, worker, hand);
        }
        if self.in_all > 0 {
            self.in_all = 0;
            self.most = MOST_WAITING.min(self.most * 2);
        }
    }

    /// Hands over all that waits, and tells all workers that the capture ends there.
    pub(super) fn end_capture(&mut self, hand: &mut Hand<'_>) {
        self.finish(hand);
        (0..self.workers).for_each(|worker| hand(worker, Task::EndCapture));
    }

    fn pass_on(&mut self, place: usize, worker: usize, hand: &mut Hand<'_>) {
        let waiting = &mut self.waiting[place];
        if waiting.is_empty() {
            return;
        }
        let empty = self.empties.1.try_recv();
        let empty = empty.unwrap_or_else(|_| Vec::with_capacity(waiting.len()));
        let frames = std::mem::replace(waiting, empty);
        hand(worker, Task::Frames(self.memory.clone(), frames));
    }
}
