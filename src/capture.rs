//! Where frames come from: saved captures, pipes, compressed files, live interfaces.
//!
//! A [`source::Source`] supplies [`source::RecordBatch`]es: runs of records whose bytes lie in one piece of shared
//! memory (a mapped file, or a block a stream was read into), so that nothing is copied on the way to the detectors.
//!
//! ```text
//!   FILE ──► mapped ─────────────────────────┐
//!   FILE.zst ─► compression ─► stream ───────┼─► format (pcap, pcapng) ─► capture_file ─┐
//!   -, FIFO ──────────────────► stream ──────┘                                          ├─► capture_set ─► filter
//!   DIR ──► its captures in order of time ──────────────────────────────────────────────┘
//!   interface ──► live
//!   frames of findings ──► pcapng_writer ──► a file of evidence
//! ```

mod ahead;
pub mod capture_file;
pub mod capture_set;
pub mod compression;
pub mod error;
pub mod filter;
pub mod format;
pub mod live;
#[cfg(target_os = "linux")]
pub mod netdevice;
pub mod pcapng_writer;
#[cfg(test)]
mod sample;
pub mod source;
pub mod stream;
