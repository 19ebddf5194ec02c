//! The seam every report format fits.

use std::io;

use crate::capture::source::FileNote;
use crate::finding::finding::Finding;
use crate::finding::summary::Summary;
use crate::finding::verdict::Judgement;

/// A finding with its verdict and the files its frame numbers refer to.
#[derive(Clone, Copy, Debug)]
pub struct Reported<'a> {
    /// The finding.
    pub finding: &'a Finding,
    /// What its evidence amounts to. The verdict is absent only where a run tells all cases.
    pub judgement: Judgement,
    /// The run's files: `FrameNumber::file` is an index into them.
    pub files: &'a [FileNote],
}

/// Takes findings in capture order, then the summary.
pub trait Sink {
    /// Writes one finding.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn finding(&mut self, reported: &Reported<'_>) -> io::Result<()>;

    /// Writes the summary and flushes.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn finish(&mut self, summary: &Summary) -> io::Result<()>;
}
