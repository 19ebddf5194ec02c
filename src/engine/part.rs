//! What a part of a run came to: findings before they are compared, and what they are compared with.

use serde::{Deserialize, Serialize};

use super::baselines::Baselines;
use super::ledger::Ledger;
use crate::capture::source::FileNote;
use crate::time::Timestamp;

/// What the flows of all parts came to is kept of so many, and so many TLS handshakes, as of a run in one part.
const MOST_TRACES: usize = 1 << 18;

/// Hosts and names are kept up to so many, some of which every run in one part has room for.
const MOST_HOSTS: usize = 1 << 19;

/// What the captures of a part came to. Parts are put together in the order of their captures.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Part {
    pub(super) ledger: Ledger,
    pub(super) baselines: Baselines,
    pub(super) files: Vec<FileNote>,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
}

impl Part {
    /// Adds the part that comes after this one. Its frames must bear the numbers of the files behind those of this one.
    pub fn append(&mut self, next: Self) {
        self.ledger.absorb(next.ledger, MOST_TRACES);
        self.baselines.absorb(next.baselines, MOST_HOSTS);
        self.files.extend(next.files);
        self.first = self.first.into_iter().chain(next.first).min();
        self.last = self.last.max(next.last);
    }

    /// The captures it was read from; none if none could be read.
    #[must_use]
    pub fn files(&self) -> &[FileNote] {
        &self.files
    }
}
