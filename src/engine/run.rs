//! One run from the first frame to the summary.

use std::io;
use std::num::NonZeroUsize;

use crate::capture::error::CaptureError;
use crate::capture::source::{Progress, Source};
use crate::finding::summary::Summary;
use crate::report::sink::Sink;

/// What a run may use.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Worker threads; the result does not depend on it.
    pub threads: NonZeroUsize,
    /// The most flows held at once, over all workers.
    pub flows: usize,
}

/// Whoever watches a run and may stop it.
pub trait Control {
    /// Told now and then how far the run has come. Called between batches, never per packet.
    fn progress(&mut self, progress: Progress, frames: u64);

    /// Whether to stop, conclude and report what is known so far.
    fn stop(&self) -> bool;
}

/// How a run ended. Nothing found is lost when it ended badly.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was looked at and found.
    pub summary: Summary,
    /// Inputs that could not be read at all.
    pub unreadable: Vec<CaptureError>,
    /// Why the output could not be written, if it could not.
    pub output: Option<io::Error>,
}

/// Judges all frames of `source` and tells `sink` the findings in capture order.
pub fn run(
    _source: &mut dyn Source,
    _settings: &Settings,
    _sink: &mut dyn Sink,
    _control: &mut dyn Control,
) -> Outcome {
    Outcome::default()
}
