//! How much is kept of what goes on at once.

use std::num::NonZeroUsize;

use blockscope::engine::run::flows_within;
use clap::Args;

/// The most flows, or the memory for them.
#[derive(Args, Debug)]
pub(super) struct Room {
    /// The most flows held at once [default: 262144, in watch 98304]
    #[arg(long, value_name = "N")]
    flows: Option<NonZeroUsize>,

    /// As many flows as find room in so many MiB, the capture itself and 64 MiB for everything else not counted
    #[arg(long, value_name = "MIB", conflicts_with = "flows")]
    memory: Option<NonZeroUsize>,
}

impl Room {
    /// The most flows held at once, `usual` unless told otherwise.
    pub(super) fn flows(&self, usual: usize) -> usize {
        match (self.flows, self.memory) {
            (Some(flows), _) => flows.get(),
            (None, Some(mib)) => flows_within(mib.get() << 20),
            (None, None) => usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use blockscope::engine::run::{FLOWS, FLOWS_WATCHED};
    use clap::Command;

    use super::*;

    #[test]
    fn the_help_tells_what_is_usual() {
        let help = Room::augment_args(Command::new("x")).render_long_help().to_string();
        for usual in [FLOWS, FLOWS_WATCHED] {
            assert!(help.contains(&usual.to_string()), "{usual}: {help}");
        }
    }
}
