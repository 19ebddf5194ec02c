//! A queue whose entries may lose their meaning while they wait.
//!
//! Taking an entry out of the middle would cost; here it stays until it comes up, and is then passed over by whoever
//! asks. So that entries without meaning cannot pile up, all are looked through when there have come to be twice as
//! many as were left the last time: a constant cost an entry, and room for a bounded multiple of what means something.

use std::collections::VecDeque;

/// A queue no shorter than this is looked through.
const SHORT: usize = 64;

/// See the module's documentation.
#[derive(Debug)]
pub struct Waiting<T> {
    queue: VecDeque<T>,
    sweep_at: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Waiting<T> {
    /// Nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            sweep_at: SHORT,
        }
    }

    /// Puts `entry` last. `means` tells of an entry whether it still means something.
    pub fn push(&mut self, entry: T, means: impl FnMut(&T) -> bool) {
        if self.queue.len() >= self.sweep_at {
            self.queue.retain(means);
            self.sweep_at = self.queue.len() * 2 + SHORT;
        }
        self.queue.push_back(entry);
    }

    /// The entry that has waited longest.
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.queue.front()
    }

    /// The entry that will be first when `before` others have been taken out.
    #[must_use]
    pub fn nth(&self, before: usize) -> Option<&T> {
        self.queue.get(before)
    }

    /// Takes the first entry out.
    pub fn take_first(&mut self) -> Option<T> {
        self.queue.pop_front()
    }

    /// How many wait, those without meaning included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends all away.
    pub fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_without_meaning_do_not_pile_up_and_the_others_keep_their_order() {
        let mut waiting = Waiting::new();
        for entry in 0..100_000 {
            waiting.push(entry, |entry| entry % 1000 == 0);
            assert!(waiting.len() <= 2 * (100_000 / 1000) + 2 * SHORT);
        }
        let left: Vec<_> = std::iter::from_fn(|| waiting.take_first())
            .filter(|entry| entry % 1000 == 0)
            .collect();
        assert_eq!(left.len(), 100);
        assert!(left.is_sorted());
    }

    #[test]
    fn looking_through_costs_a_constant_an_entry() {
        let mut waiting = Waiting::new();
        let mut looked_at = 0;
        for entry in 0..10_000 {
            waiting.push(entry, |_| {
                looked_at += 1;
                true
            });
        }
        assert!(looked_at <= 2 * 10_000, "{looked_at}");
    }

    #[test]
    fn whoever_waits_is_counted_and_can_be_sent_away() {
        let mut waiting = Waiting::new();
        assert!(waiting.is_empty());
        (0..3).for_each(|entry| waiting.push(entry, |_| true));
        assert_eq!(
            (waiting.first(), waiting.len(), waiting.is_empty()),
            (Some(&0), 3, false)
        );
        waiting.clear();
        assert_eq!((waiting.first(), waiting.len(), waiting.is_empty()), (None, 0, true));
    }

    #[test]
    fn all_are_looked_through_when_there_are_twice_as_many_as_were_left_and_some() {
        let mut waiting = Waiting::new();
        let mut sweeps = Vec::new();
        for entry in 0..500 {
            let before = waiting.len();
            let mut asked = 0;
            waiting.push(entry, |_| {
                asked += 1;
                true
            });
            if asked > 0 {
                assert_eq!(asked, before);
                sweeps.push(asked);
            }
        }
        assert_eq!(sweeps, [SHORT, SHORT * 2 + SHORT, (SHORT * 2 + SHORT) * 2 + SHORT]);
    }
}
