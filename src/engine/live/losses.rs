//! When frames were lost, and which flows that may have hit.
//!
//! Nobody says which frames were lost, only how many since the last time somebody asked. They would have come after
//! those that are being read, as the ring is full of these, and before the moment of asking; every flow that was open
//! in that span may have been hit.

use std::collections::VecDeque;

use crate::capture::source::FileNote;
use crate::finding::evidence::{Evidence, Observation};
use crate::finding::finding::Finding;
use crate::time::Timestamp;

/// The most spans remembered; the two oldest become one to make room.
const MOST_SPANS: usize = 1024;

/// Where one frame in so many was lost, nothing is concluded from frames that did not come. With fewer, a silence would
/// take several losses of the one flow in a row: one in a million, and rarer than a server that fails.
const FEW: u64 = 1000;

/// A span in which frames were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Timestamp,
    lost: u64,
    read: u64,
}

/// The losses of a live run.
#[derive(Debug, Default)]
pub(super) struct LossLog {
    spans: VecDeque<Span>,
    /// Frames lost and read, and the time of the frames, when this was last asked for.
    before: (u64, u64),
    asked: Timestamp,
}

/// How losses may have hit a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hit {
    /// Not at all.
    Spared,
    /// A few frames were lost while it was open.
    Grazed,
    /// So many were lost that frames of it which did not come may well be among them.
    Struck,
}

impl LossLog {
    /// Takes note of what `files` say was lost, when the frames being read are as old as `clock` and the time is `now`.
    pub(super) fn note(&mut self, files: &[FileNote], clock: Timestamp, now: Timestamp) {
        let lost = files.iter().map(|file| file.lost.total()).sum::<u64>();
        let read = files.iter().map(|file| file.frames).sum::<u64>();
        let from = self.asked.min(clock);
        let (new, frames) = (lost.saturating_sub(self.before.0), read.saturating_sub(self.before.1));
        (self.before, self.asked) = ((lost, read), clock);
        if new == 0 {
            return;
        }
        self.spans.push_back(Span {
            from,
            to: now.max(clock),
            lost: new,
            read: frames,
        });
        if self.spans.len() > MOST_SPANS
            && let (Some(older), Some(old)) = (self.spans.pop_front(), self.spans.front_mut())
        {
            old.from = older.from.min(old.from);
            old.to = older.to.max(old.to);
            // Of the two shares the larger one stays.
            if u128::from(older.lost) * u128::from(old.read) > u128::from(old.lost) * u128::from(older.read) {
                (old.lost, old.read) = (older.lost, older.read);
            }
        }
    }

    /// Forgets losses that were over `before`.
    pub(super) fn forget(&mut self, before: Timestamp) {
        self.spans.retain(|span| span.to >= before);
    }

    /// What losses did to a flow that has been open since `started` and is concluded at `at`.
    pub(super) fn hit(&self, started: Timestamp, at: Timestamp) -> Hit {
        let during = self.spans.iter().filter(|span| span.to >= started && span.from <= at);
        during
            .map(|span| {
                if span.lost.saturating_mul(FEW) >= span.lost.saturating_add(span.read) {
                    Hit::Struck
                } else {
                    Hit::Grazed
                }
            })
            .max()
            .unwrap_or(Hit::Spared)
    }

    /// Puts what losses did to its flow among the evidence of a finding concluded at `at`.
    pub(super) fn caution(&self, finding: &mut Finding, at: Timestamp) {
        let told = |item: &Evidence| matches!(item.observation, Observation::CaptureLoss);
        match self.hit(finding.conversation.started, at) {
            Hit::Spared => {}
            Hit::Grazed | Hit::Struck if finding.evidence.iter().any(told) => {}
            Hit::Grazed | Hit::Struck => finding.evidence.push(Evidence::at(Observation::CaptureLoss, &[])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::source::Losses;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn files(frames: u64, kernel: u64) -> [FileNote; 1] {
        [FileNote {
            frames,
            lost: Losses { kernel, interface: 0 },
            ..FileNote::default()
        }]
    }

    #[test]
    fn a_flow_is_hit_by_what_was_lost_while_it_was_open() {
        let mut log = LossLog::default();
        log.note(&files(1000, 0), at(10), at(10));
        log.note(&files(2000, 0), at(20), at(20));
        assert_eq!(log.hit(at(0), at(20)), Hit::Spared);
        // What is read now is two seconds old: the ring is full.
        log.note(&files(3000, 500), at(28), at(30));
        log.note(&files(4000, 500), at(38), at(40));
        assert_eq!(log.hit(at(5), at(35)), Hit::Struck);
        assert_eq!(
            log.hit(at(29), at(31)),
            Hit::Struck,
            "it began after what is read, before what was lost"
        );
        assert_eq!(log.hit(at(31), at(39)), Hit::Spared, "it began afterwards");
        assert_eq!(log.hit(at(5), at(19)), Hit::Spared, "it was over before");
        log.note(&files(1_000_000, 501), at(48), at(48));
        assert_eq!(log.hit(at(41), at(49)), Hit::Grazed);
        log.forget(at(41));
        assert_eq!(log.hit(at(5), at(35)), Hit::Spared);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_stays_true() {
        let mut log = LossLog::default();
        for second in 0..3 * MOST_SPANS as u64 {
            log.note(&files(1000 * second, second), at(2 * second), at(2 * second));
        }
        assert_eq!(log.spans.len(), MOST_SPANS);
        assert_ne!(log.hit(at(3), at(4)), Hit::Spared);
    }
}
