//! What a detector says when it has seen enough, and how sure that makes us.
//!
//! An [`evidence::Evidence`] is one observation with the frames it rests on and a [`weight::Weight`], for or against.
//! [`verdict::judge`] adds the strongest of each group to the prior and names the [`verdict::Verdict`]; a
//! [`docket::Docket`] takes the finished [`finding::Finding`]s. Nothing here knows how a finding is printed.

pub mod docket;
pub mod evidence;
#[allow(clippy::module_inception, reason = "the noun of this file is the finding")]
pub mod finding;
pub mod fixed_text;
pub mod habits;
pub mod summary;
pub mod tls_shown;
pub mod verdict;
pub mod weight;
