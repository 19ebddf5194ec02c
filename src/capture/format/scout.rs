//! Walks ahead in a mapped capture, so that the records to come are in the processor's cache when their turn comes.
//!
//! Where the next record lies is written in the one before: a walk from record to record waits for memory at every step
//! that is longer than a cache line or two. The scout cuts the stretch ahead into lanes, guesses where in each a record
//! begins, and walks all lanes in turn, so that their waits overlap. Nothing rests on its guesses: it hands out no
//! record, and a wrong guess costs time, never a packet.

use crate::prefetch::prefetch;

/// How far ahead it goes at once, in bytes: what it fetched is to be in the second-level cache still (2 MiB and more on
/// server processors, 256 KiB at least) when it is used; of a stretch only the headers are fetched.
const STRETCH: usize = 1 << 20;

/// How many lanes it walks. Each has a wait for memory of its own; processors have ten and more at a time.
const LANES: usize = 8;

/// So many records in a row must look right where a lane is to begin.
const CONVINCING: usize = 4;

/// A guess is looked for so far into a lane, in bytes.
const MOST_LOOKED_THROUGH: usize = 16 << 10;

/// Records shorter than this on average come in by the processor's own prefetching, in bytes.
const SHORT: usize = 200;

/// How far ahead a capture has been walked.
#[derive(Debug, Default)]
pub(super) struct Scout {
    /// Where the last stretch ended.
    until: usize,
    /// Where the stretch before began, and with how many records read: tells how long records are.
    began: (usize, u64),
}

impl Scout {
    /// Whether it is time to walk ahead again from `at`.
    #[inline]
    pub(super) const fn is_due(&self, at: usize) -> bool {
        at >= self.until
    }

    /// Walks ahead from the record at `at`, the capture's number `number`. `next` tells where the record after the one
    /// at a place begins, if there seems to be a record at that place.
    pub(super) fn walk(&mut self, window: &[u8], at: usize, number: u64, next: impl Fn(usize) -> Option<usize>) {
        let end = window.len().min(at + STRETCH);
        let (records, bytes) = (number.saturating_sub(self.began.1), at.saturating_sub(self.began.0));
        self.began = (at, number);
        self.until = end;
        if records > 0 && bytes as u64 / records < SHORT as u64 {
            return;
        }
        let width = (end - at) / LANES;
        let mut lanes = [end; LANES];
        for (index, lane) in lanes.iter_mut().enumerate() {
            let from = at + index * width;
            *lane = if index == 0 {
                at
            } else {
                guess(from, end, &next).unwrap_or(end)
            };
        }
        let mut walking = true;
        while walking {
            walking = false;
            for (index, lane) in lanes.iter_mut().enumerate() {
                let ends = at + (index + 1) * width;
                if *lane >= ends {
                    continue;
                }
                // The packet's own headers lie in the line after.
                if let Some(behind) = window.get(*lane + 64) {
                    prefetch(behind);
                }
                *lane = next(*lane).filter(|after| *after > *lane).unwrap_or(end);
                walking = true;
            }
        }
    }
}

/// Where from `from` on a record seems to begin.
fn guess(from: usize, end: usize, next: impl Fn(usize) -> Option<usize>) -> Option<usize> {
    (from..end.min(from + MOST_LOOKED_THROUGH)).find(|start| {
        let mut at = *start;
        (0..CONVINCING).all(|_| match next(at) {
            Some(after) if after > at => {
                at = after;
                true
            }
            _ => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    /// Records of `len` bytes, 4 of them the length, one after another.
    fn capture(len: u32, records: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..records {
            bytes.extend(len.to_le_bytes());
            bytes.resize(bytes.len() + len as usize - 4, 0xff);
        }
        bytes
    }

    #[test]
    fn it_meets_every_record_of_a_stretch_and_ends() {
        let window = capture(1000, 3000);
        let met = RefCell::new(BTreeSet::new());
        let next = |at: usize| {
            let raw = window.get(at..at + 4)?.try_into().ok()?;
            let len = u32::from_le_bytes(raw);
            (len == 1000).then(|| {
                met.borrow_mut().insert(at);
                at + len as usize
            })
        };
        let mut scout = Scout::default();
        assert!(scout.is_due(0));
        scout.walk(&window, 0, 0, next);
        assert!(!scout.is_due(0) && scout.is_due(STRETCH));
        let records = STRETCH / 1000;
        let missed = (0..records).filter(|index| !met.borrow().contains(&(index * 1000)));
        assert!(
            missed.count() <= LANES,
            "those before a lane's first guess belong to the lane before"
        );
    }

    #[test]
    fn nonsense_ends_it() {
        let window = vec![0; 3 << 20];
        let mut scout = Scout::default();
        scout.walk(&window, 0, 0, |_| None);
        scout.walk(&window, STRETCH, 9, Some);
        scout.walk(&window, 2 * STRETCH, 10, |at| Some(at + 1));
        assert!(scout.is_due(3 << 20));
    }
}
