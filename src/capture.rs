//! Where frames come from: saved captures, pipes, compressed files.
//!
//! A [`source::Source`] supplies [`source::RecordBatch`]es: runs of records whose bytes lie in one piece of shared
//! memory (a mapped file, or a block a stream was read into), so that nothing is copied on the way to the detectors.

pub mod error;
pub mod source;
