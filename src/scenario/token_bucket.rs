//! A rate limit: tokens fill a bucket at a steady rate, packets take theirs out of it. What finds none waits in a queue
//! or, where there is no queue, is dropped: shaping and policing (wire-facts 7.3).

use std::time::Duration;

use super::sim_time::SimTime;

/// A bucket of tokens with a queue before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    /// Kilobits per second.
    rate: u32,
    /// What may go at once after a pause, as the time it takes to fill.
    burst: Duration,
    /// How long a packet may wait.
    queue: Duration,
    /// When all that went so far will be paid for.
    paid: SimTime,
}

impl TokenBucket {
    /// A full bucket. `rate` in kbit/s, at least 1; `burst` in bytes.
    pub(crate) fn new(rate: u32, burst: usize, queue: Duration) -> Self {
        let rate = rate.max(1);
        Self {
            rate,
            burst: cost(rate, burst),
            queue,
            paid: SimTime::ZERO,
        }
    }

    /// Lets a packet of so many bytes through: how long it has to wait, or `None` if there is no room for it.
    pub(crate) fn take(&mut self, bytes: usize, now: SimTime) -> Option<Duration> {
        let due = self.paid.since(now) + cost(self.rate, bytes);
        if due > self.burst + self.queue {
            return None;
        }
        self.paid = now + due;
        Some(due.saturating_sub(self.burst))
    }
}

/// How long so many bytes take.
fn cost(rate: u32, bytes: usize) -> Duration {
    Duration::from_nanos(bytes as u64 * 8_000_000 / u64::from(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_rate_is_dropped_without_a_queue_and_waits_in_one() {
        let mut police = TokenBucket::new(80, 1000, Duration::ZERO);
        assert_eq!(police.take(1000, SimTime::ZERO), Some(Duration::ZERO));
        assert_eq!(police.take(1000, SimTime::ZERO), None);
        // 80 kbit/s are ten bytes a millisecond.
        let later = SimTime::ZERO + Duration::from_millis(100);
        assert_eq!(police.take(1000, later), Some(Duration::ZERO));
        let mut shape = TokenBucket::new(80, 1000, Duration::from_secs(1));
        assert_eq!(shape.take(1000, SimTime::ZERO), Some(Duration::ZERO));
        assert_eq!(shape.take(500, SimTime::ZERO), Some(Duration::from_millis(50)));
    }
}
