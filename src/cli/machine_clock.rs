//! The machine's own clock: the one place that asks it.
//!
//! All that is judged goes by the capture's time. Only a live interface needs another clock, for when it is quiet and for
//! how long the user wants to watch.

#![allow(
    clippy::disallowed_methods,
    reason = "this is what the rest of the program is kept from doing"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use blockscope::time::Timestamp;

/// What time it is.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A moment to measure a span from, whatever happens to the time of day.
pub(super) fn ticks() -> Instant {
    Instant::now()
}
