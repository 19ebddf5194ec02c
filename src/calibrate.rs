//! Measures the evidence: how often each observation is made where nothing was blocked, and how often a verdict of a
//! given probability is right.
//!
//! Captures whose truth is known are judged one by one ([`truth`] says what is known of each); every case a detector
//! opened is counted, also those that came to nothing ([`tally`]); the figures carry their 95 % bounds ([`bound`]).

pub mod bound;
pub mod tally;
pub mod truth;
