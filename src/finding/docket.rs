//! Where detectors file what they found, and what only the ledger can make something of.

use super::finding::Finding;
use super::tls_shown::TlsShown;

/// TLS handshakes kept for comparison; later ones are not compared.
const MOST_SHOWN: usize = 2048;

/// Takes findings in the order they are filed. The ledger sorts and judges them.
#[derive(Debug)]
pub struct Docket {
    filed: Vec<Finding>,
    shown: Vec<TlsShown>,
}

impl Default for Docket {
    fn default() -> Self {
        Self {
            filed: Vec::new(),
            // Pages that are never written to cost nothing; growing would copy in the middle of a capture.
            shown: Vec::with_capacity(MOST_SHOWN),
        }
    }
}

impl Docket {
    /// Files a finding. One whose evidence does not reach `possible` may still be lifted by other flows.
    pub fn file(&mut self, finding: Finding) {
        self.filed.push(finding);
    }

    /// Notes what a TLS handshake showed, while there is room.
    pub fn note(&mut self, shown: TlsShown) {
        if self.shown.len() < MOST_SHOWN {
            self.shown.push(shown);
        }
    }

    /// Takes out what has been filed since the last call.
    pub fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.filed)
    }

    /// Takes out what TLS handshakes have shown since the last call.
    pub fn take_shown(&mut self) -> Vec<TlsShown> {
        std::mem::take(&mut self.shown)
    }

    /// How much has been filed since the last [`Self::take`].
    #[must_use]
    pub const fn len(&self) -> usize {
        self.filed.len()
    }

    /// Whether nothing has been filed since the last [`Self::take`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filed.is_empty()
    }
}
