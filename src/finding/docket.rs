//! Where detectors file what they found.

use super::finding::Finding;

/// Takes findings in the order they are filed. The ledger sorts and judges them.
#[derive(Debug, Default)]
pub struct Docket {
    filed: Vec<Finding>,
}

impl Docket {
    /// Files a finding. One whose evidence does not reach `possible` may still be lifted by other flows.
    pub fn file(&mut self, finding: Finding) {
        self.filed.push(finding);
    }

    /// Takes out what has been filed since the last call.
    pub fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.filed)
    }

    /// Whether nothing has been filed since the last [`Self::take`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filed.is_empty()
    }
}
