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

/// The most frames that wait to be handed over shard by shard: 16 MiB of them, in lists that may have
/// room for twice as many. Measured on forged captures (20,000 to a
/// million flows under way) with 1,024 to 1,048,576: up to this many, the more, the less time; a million gain nothing more
/// but where flows are very many and short.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::source::Record;
    use crate::packet::dissect::Undissected;
    use crate::packet::frame::{FrameNumber, LinkType};
    use crate::time::Timestamp;

    fn frame(number: u64) -> Assigned {
        Assigned {
            record: Record {
                number: FrameNumber::new(0, number),
                at: Timestamp::EPOCH,
                offset: 0,
                captured: 0,
                wire_len: 0,
                link: LinkType::ETHERNET,
                interface: 0,
            },
            peeled: Err(Undissected::CutShort),
        }
    }

    fn mapped() -> Bytes {
        Bytes::from(vec![0; MAPPED])
    }

    /// Gives `hand_over` a batch of so many frames in `memory`; what it hands over then: frames of each task, or the end.
    fn batch(hand_over: &mut HandOver, memory: &Bytes, numbers: std::ops::Range<u64>) -> Vec<Vec<u64>> {
        let mut handed = Vec::new();
        let mut hand = |_: usize, task: Task| handed.push(numbers_in(&task));
        hand_over.begin_batch(memory, &mut hand);
        for number in numbers {
            hand_over.take(frame(number), &mut hand);
        }
        hand_over.end_batch(&mut hand);
        handed
    }

    fn numbers_in(task: &Task) -> Vec<u64> {
        match task {
            Task::Frames(_, frames) => frames.iter().map(|frame| frame.record.number.in_file()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn frames_of_a_mapped_capture_wait_for_more_or_for_other_memory() {
        let (one, two) = (mapped(), mapped());
        let mut hand_over = HandOver::of_captures(2);
        assert_eq!(batch(&mut hand_over, &one, 0..10), [[0_u64; 0]; 0]);
        assert_eq!(batch(&mut hand_over, &one, 10..20), [[0_u64; 0]; 0]);
        let all: Vec<u64> = (0..20).collect();
        assert_eq!(batch(&mut hand_over, &two, 20..30), [all], "they lie in other memory");
        let enough = FIRST_WAITING as u64 * 2;
        let handed = batch(&mut hand_over, &two, 30..30 + enough);
        assert_eq!(
            handed,
            [(20..30 + enough).collect::<Vec<_>>()],
            "in the order they came"
        );
        assert_eq!(
            batch(&mut hand_over, &two, 0..enough),
            [[0_u64; 0]; 0],
            "twice as many may wait"
        );
    }

    #[test]
    fn blocks_of_a_stream_and_live_frames_go_on_at_once() {
        let few: Vec<u64> = (0..3).collect();
        let block = Bytes::from(vec![0; 1 << 18]);
        assert_eq!(batch(&mut HandOver::of_captures(2), &block, 0..3), [&few[..]]);
        assert_eq!(batch(&mut HandOver::of_live_frames(2), &mapped(), 0..3), [&few[..]]);
        let handed = batch(&mut HandOver::of_captures(1), &block, 0..1000);
        assert_eq!(handed.iter().map(Vec::len).collect::<Vec<_>>(), [512, 488]);
    }

    #[test]
    fn all_workers_are_told_of_the_end_and_after_all_frames() {
        let mut hand_over = HandOver::of_captures(3);
        batch(&mut hand_over, &mapped(), 0..5);
        let mut handed = Vec::new();
        hand_over.end_capture(&mut |worker, task| handed.push((worker, numbers_in(&task))));
        assert_eq!(handed[0].1, [0, 1, 2, 3, 4]);
        assert_eq!(handed[1..], [(0, vec![]), (1, vec![]), (2, vec![])]);
    }

    #[test]
    fn a_list_that_was_emptied_is_filled_again() {
        let block = Bytes::from(vec![0; 1 << 18]);
        let mut hand_over = HandOver::of_captures(1);
        let empties = hand_over.empties();
        let mut places = Vec::new();
        let mut hand = |_: usize, task: Task| {
            if let Task::Frames(_, frames) = &task {
                places.push(frames.as_ptr());
            }
            empties.take_back(task);
        };
        for _ in 0..4 {
            hand_over.begin_batch(&block, &mut hand);
            hand_over.take(frame(0), &mut hand);
            hand_over.end_batch(&mut hand);
        }
        // One is filled while the other is on its way.
        assert_eq!((places[0], places[1]), (places[2], places[3]));
    }
}
