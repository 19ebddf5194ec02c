//! How much is kept of what goes on at once.

use std::num::NonZeroUsize;

use blockscope::engine::run::{FLOWS, flows_within};
use clap::Args;

/// The most flows, or the memory for them.
#[derive(Args, Debug)]
pub(super) struct Room {
    /// The most flows held at once
    #[arg(long, value_name = "N", default_value_t = most_flows())]
    flows: NonZeroUsize,

    /// As many flows as find room in so many MiB, the capture itself and 64 MiB for everything else not counted
    #[arg(long, value_name = "MIB", conflicts_with = "flows")]
    memory: Option<NonZeroUsize>,
}

impl Room {
    /// The most flows held at once.
    pub(super) fn flows(&self) -> usize {
        self.memory
            .map_or(self.flows.get(), |mib| flows_within(mib.get() << 20))
    }
}

fn most_flows() -> NonZeroUsize {
    NonZeroUsize::new(FLOWS).unwrap_or(NonZeroUsize::MIN)
}
