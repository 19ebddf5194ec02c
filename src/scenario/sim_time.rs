//! The simulation's own clock: nanoseconds since the story began. It never looks at the machine's clock.

use std::ops::Add;
use std::time::Duration;

/// A moment of the simulation, in nanoseconds since the story's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SimTime(u64);

impl SimTime {
    /// The moment the story starts.
    pub(crate) const ZERO: Self = Self(0);

    /// Nanoseconds since the story's start.
    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    /// The time passed since `earlier`, or nothing if that lies ahead.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for SimTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_adds_up_and_never_runs_below_zero() {
        let later = SimTime::ZERO + Duration::from_millis(3);
        assert_eq!(later.nanos(), 3_000_000);
        assert_eq!(later.since(SimTime::ZERO), Duration::from_millis(3));
        assert_eq!(SimTime::ZERO.since(later), Duration::ZERO);
    }
}
