//! What is known of a conversation before the next packet is looked at.
//!
//! A [`flow_table::FlowTable`] holds a fixed number of [`flow::Flow`]s, each with a detector-defined memory beside it.
//! A flow has two [`side::Side`]s; a side knows its place in sequence space, the [`landmarks::Landmarks`] of its segments, and the
//! [`path_profile::PathProfile`] of its sender; the first bytes of both directions lie in [`heads::Heads`]. This folder
//! knows no detector: a packet is first shown to them, and only then learnt here.

pub mod asked;
pub mod boxes;
#[allow(clippy::module_inception, reason = "the noun of this file is the flow")]
pub mod flow;
pub mod flow_key;
pub mod flow_table;
pub mod heads;
pub mod index;
pub mod landmarks;
pub mod mirror;
pub mod name_text;
pub mod path_profile;
pub mod side;
pub mod spare;
#[cfg(test)]
pub(crate) mod talk;
pub mod waiting;
