//! The progress bar: bytes, packets a second and what is left, on a terminal, for work that takes a while.

use std::time::{Duration, Instant};

use blockscope::capture::source::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the bar is brought up to date.
const REFRESH: Duration = Duration::from_millis(100);

/// Whether there may be a bar at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Showing {
    /// On standard error, once the work takes long.
    WhenLong,
    /// Never.
    Never,
}

/// A bar that appears when the work turns out to be long.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    showing: Showing,
    started: Instant,
    updated: Duration,
}

impl Bar {
    pub(super) fn new(showing: Showing) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            showing,
            started: now(),
            updated: Duration::ZERO,
        }
    }

    /// The bar itself, for those who write around it.
    pub(super) const fn handle(&self) -> &ProgressBar {
        &self.bar
    }

    /// Takes note of how far the work has come.
    pub(super) fn update(&mut self, progress: Progress, frames: u64) {
        if self.showing == Showing::Never {
            return;
        }
        let elapsed = now() - self.started;
        if elapsed < PATIENCE || elapsed < self.updated + REFRESH {
            return;
        }
        self.bar.set_message(rate(frames, elapsed));
        self.bar.set_position(progress.bytes_read);
        if self.updated.is_zero() {
            self.appear(progress);
        }
        self.updated = elapsed;
    }

    fn appear(&self, progress: Progress) {
        let template = match progress.bytes_total {
            Some(total) => {
                self.bar.set_length(total);
                "{bar:30} {decimal_bytes} of {decimal_total_bytes}, {msg}, {eta} left"
            }
            None => "{spinner} {decimal_bytes}, {msg}",
        };
        self.bar.set_style(style(template));
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; were one wrong, the plain style does.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn rate(frames: u64, elapsed: Duration) -> String {
    let rate = frames as f64 / elapsed.as_secs_f64();
    match rate {
        1e6.. => format!("{:.1} M packets/s", rate / 1e6),
        1e3.. => format!("{:.0} k packets/s", rate / 1e3),
        _ => format!("{rate:.0} packets/s"),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long the user waits is told by the user's clock"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        let bar = Bar::new(Showing::WhenLong);
        for bytes_total in [None, Some(9)] {
            let progress = Progress {
                bytes_read: 1,
                bytes_total,
            };
            bar.appear(progress);
            bar.finish();
        }
        assert!(
            ProgressStyle::with_template("{bar:30} {decimal_bytes} of {decimal_total_bytes}, {msg}, {eta} left")
                .is_ok()
        );
    }

    #[test]
    fn the_rate_is_readable() {
        assert_eq!(rate(2_500_000, Duration::from_secs(1)), "2.5 M packets/s");
        assert_eq!(rate(2_500, Duration::from_secs(1)), "2 k packets/s");
        assert_eq!(rate(25, Duration::from_secs(2)), "12 packets/s");
    }
}
