//! The one clock: a capture's time, in nanoseconds since 1970-01-01T00:00:00Z.
//!
//! Nothing here asks the machine what time it is. A [`Timestamp`] is read from a capture and passed in.

use std::fmt;
use std::time::Duration;

/// A moment on the capture's clock, in nanoseconds since the Unix epoch (range: 1970 to 2554).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// Later than every packet.
    pub const END_OF_TIME: Self = Self(u64::MAX);

    /// A moment given in nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved on by `span`; stops at the end of time.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        let nanos = span.as_nanos();
        if nanos > u64::MAX as u128 {
            return Self::END_OF_TIME;
        }
        Self(self.0.saturating_add(nanos as u64))
    }
}

/// Year, month and day of a count of days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Printed as EVE does: `2026-01-02T03:04:05.678901+0000` (UTC, microseconds).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let micros = self.0 % 1_000_000_000 / 1000;
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let of_day = seconds % 86_400;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}+0000",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_printed_as_eve_prints_it() {
        assert_eq!(
            Timestamp::from_nanos(1_767_323_045_678_901_234).to_string(),
            "2026-01-02T03:04:05.678901+0000"
        );
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000000+0000");
        assert_eq!(
            Timestamp::from_nanos(951_782_400_000_000_000).to_string(),
            "2000-02-29T00:00:00.000000+0000"
        );
        assert_eq!(
            Timestamp::from_nanos(4_294_967_295_000_000_000).to_string(),
            "2106-02-07T06:28:15.000000+0000"
        );
    }

    #[test]
    fn time_never_underflows() {
        let early = Timestamp::from_nanos(5);
        assert_eq!(early.since(Timestamp::from_nanos(9)), Duration::ZERO);
        assert_eq!(
            Timestamp::END_OF_TIME.plus(Duration::from_secs(1)),
            Timestamp::END_OF_TIME
        );
    }
}
