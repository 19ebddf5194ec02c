//! Stories with a known end: what the forge tells, the detectors must find, and nothing else.
//!
//! A [`fixture::Fixture`] is a directory with a story, the capture the forge made of it, and what is to be found in
//! that capture. [`reading`] judges a capture from end to end and gives what was found as EVE lines that do not say
//! where the capture lay; [`difference`] tells what two such readings do not have in common. This is the one place that
//! knows both the forge and the detectors; they know nothing of each other.
//!
//! ```text
//!   story.toml ─► forge ─► trace.pcap ─► reading ─┐
//!                                                 ├─► difference
//!   expected.eve.jsonl ───────────────────────────┘
//! ```

pub mod difference;
#[allow(clippy::module_inception, reason = "the noun of this file is the fixture")]
pub mod fixture;
pub mod reading;
