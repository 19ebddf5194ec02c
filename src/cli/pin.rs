//! Whether worker threads are kept on processors of their own.

use anyhow::Context;
use blockscope::engine::processors::{Placing, Processors};
use clap::Args;

/// Where worker threads run.
#[derive(Args, Debug)]
pub(super) struct Pin {
    /// Keep each of several worker threads on a processor of its own, of those the process may use (Linux)
    #[arg(long)]
    pin: bool,
}

impl Pin {
    /// Where worker threads run.
    ///
    /// # Errors
    /// The system does not tell which processors there are.
    pub(super) fn placing(&self) -> anyhow::Result<Placing> {
        if !self.pin {
            return Ok(Placing::Anywhere);
        }
        let processors = Processors::allowed().context("--pin cannot be had on this system; leave it out")?;
        Ok(Placing::Pinned(processors))
    }
}
