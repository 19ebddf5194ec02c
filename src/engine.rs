//! What moves the frames: reads batches, stamps the one clock, spreads frames over workers by host pair, and puts what
//! they find in capture order.
//!
//! [`run::run`] reads; a [`worker::Worker`] owns some of the [`shard::SHARDS`] [`shard::Shard`]s and judges their
//! frames; what all flows of a host show together is added up in [`baselines::Baselines`], which only the
//! [`ledger::Ledger`] reads, and only when no worker writes any more. The result does not depend on the number of
//! threads or the size of batches, because a shard sees the same frames in the same order either way.
//!
//! A run over many captures can be made in [`part::Part`]s that a [`journal::Journal`] keeps.

pub mod arrival;
pub mod baselines;
pub mod evidence;
mod hand_over;
pub mod journal;
pub mod ledger;
pub mod live;
pub mod part;
pub mod processors;
pub mod run;
pub mod shard;
pub mod trace;
pub mod worker;
