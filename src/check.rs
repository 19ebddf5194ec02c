//! Guarding captures: a directory says what must be found in a capture and what must not, and this room says whether it
//! still is.
//!
//! A [`case::Case`] is a directory with a capture (or a story to forge) and what is expected of it: a
//! [`manifest::Manifest`] (`case.toml`), or exact EVE lines (`expected.eve.jsonl`), or both. [`examine::examine`] reads
//! the capture from end to end as `blockscope read` does, and holds what it finds against what is expected; what does
//! not fit is an [`outcome::Failure`], with the expectation's line, what was found instead, and the evidence for it.
//! [`report`] tells the outcomes: to a person, or to what runs the check.
//!
//! ```text
//!   case.toml ───────────► manifest ─┐
//!   expected.eve.jsonl ──────────────┼─► examine ─► outcome ─► report: text, TAP, JUnit, SARIF, GitHub
//!   a capture, or a story ─► reading ┘
//! ```
//!
//! Nothing here reads the clock: how long a case took is told by whoever ran it.

pub mod case;
pub mod draft;
pub mod examine;
pub mod flow_pattern;
pub mod manifest;
pub mod outcome;
pub mod report;
pub mod suggestion;
