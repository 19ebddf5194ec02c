//! Warnings about what was lost, no more than one a minute.

use std::time::{Duration, Instant};

use blockscope::engine::live::Status;
use blockscope::report::figures::counted;
use tracing::warn;

/// The least time between two warnings: who reads a log wants to know that it goes on, not every second of it.
const REST: Duration = Duration::from_secs(60);

/// What was complained of so far.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    lost: u64,
    evicted: u64,
    dropped: u64,
    told: Option<Instant>,
}

impl Complaints {
    /// Warns of what was lost since the last warning, if it is time for another.
    pub(super) fn hear(&mut self, status: &Status<'_>, now: Instant) {
        if let Some(complaint) = self.complaint(status, now) {
            warn!("{complaint}");
        }
    }

    fn complaint(&mut self, status: &Status<'_>, now: Instant) -> Option<String> {
        let coverage = &status.summary.coverage;
        let lost = status.summary.files.iter().map(|file| file.lost.total()).sum::<u64>();
        let (evicted, dropped) = (coverage.evicted, coverage.findings_dropped);
        let parts = [
            (
                lost.saturating_sub(self.lost),
                "packet",
                "lost before they could be read (--buffer, --filter)",
            ),
            (
                evicted.saturating_sub(self.evicted),
                "flow",
                "given up for want of room (--flows)",
            ),
            (
                dropped.saturating_sub(self.dropped),
                "finding",
                "dropped for want of room",
            ),
        ];
        let rested = self.told.is_none_or(|told| now.duration_since(told) >= REST);
        if !rested || parts.iter().all(|(count, ..)| *count == 0) {
            return None;
        }
        *self = Self {
            lost,
            evicted,
            dropped,
            told: Some(now),
        };
        let parts = parts.iter().filter(|(count, ..)| *count > 0);
        let parts: Vec<_> = parts
            .map(|(count, what, how)| format!("{} {how}", counted(*count, what)))
            .collect();
        Some(format!(
            "{}, {:.1} s behind",
            parts.join("; "),
            status.lag.as_secs_f64()
        ))
    }
}

#[cfg(test)]
mod tests {
    use blockscope::capture::source::{FileNote, Losses};
    use blockscope::finding::summary::Summary;

    use super::*;

    #[test]
    fn a_loss_is_told_at_once_and_what_follows_once_a_minute() {
        let mut complaints = Complaints::default();
        let mut summary = Summary {
            files: vec![FileNote::default()],
            ..Summary::default()
        };
        #[allow(clippy::disallowed_methods, reason = "an instant can only be had from the machine")]
        let start = Instant::now();
        let mut heard = |kernel, evicted, seconds| {
            summary.files[0].lost = Losses { kernel, interface: 0 };
            summary.coverage.evicted = evicted;
            let status = Status {
                summary: &summary,
                lag: Duration::from_millis(1500),
                flows: 0,
                waits: 0,
            };
            complaints.complaint(&status, start + Duration::from_secs(seconds))
        };
        assert_eq!(heard(0, 0, 0), None);
        let first = heard(7, 0, 1).unwrap();
        assert!(
            first.starts_with("7 packets lost") && first.ends_with("1.5 s behind"),
            "{first}"
        );
        assert_eq!(heard(9, 1, 30), None);
        let second = heard(10, 2, 61).unwrap();
        assert!(
            second.starts_with("3 packets lost") && second.contains("2 flows given up"),
            "{second}"
        );
        assert_eq!(heard(10, 2, 200), None);
    }
}
