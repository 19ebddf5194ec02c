//! A case kept beside a flow, and its way to the docket: once, and when enough is known.

use super::detector::Conclusion;
use crate::finding::docket::Docket;
use crate::finding::finding::Finding;
use crate::finding::verdict::Verdict;
use crate::flow::flow_table::Recycle;

/// What of a case is worth telling while its flow goes on. When the flow is over, all is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// What has reached this verdict.
    From(Verdict),
    /// Nothing: the flow may yet go on, and other flows tell more than this one.
    Nothing,
}

impl Early {
    /// Whether `finding` may be filed now.
    #[must_use]
    pub(super) fn permits(self, finding: &Finding, conclusion: &Conclusion<'_>) -> bool {
        conclusion.ending.is_over()
            || match self {
                Self::From(verdict) => finding.verdict() >= Some(verdict),
                Self::Nothing => false,
            }
    }
}

/// A case, once there is one, and whether it has been filed.
#[derive(Debug)]
pub struct Filing<C> {
    case: Option<Box<C>>,
    filed: bool,
}

impl<C> Default for Filing<C> {
    fn default() -> Self {
        Self {
            case: None,
            filed: false,
        }
    }
}

impl<C> Recycle for Filing<C> {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

impl<C> Filing<C> {
    /// Whether it has been filed: nothing that comes now changes what was said.
    #[must_use]
    pub(super) const fn is_filed(&self) -> bool {
        self.filed
    }

    /// Whether there is no case.
    #[must_use]
    pub(super) const fn is_empty(&self) -> bool {
        self.case.is_none()
    }

    /// The case, if there is one.
    pub(super) fn case(&mut self) -> Option<&mut C> {
        self.case.as_deref_mut()
    }

    /// The case, opened by `open` if there was none.
    pub(super) fn case_or(&mut self, open: impl FnOnce() -> C) -> &mut C {
        self.case.get_or_insert_with(|| Box::new(open()))
    }

    /// Files what `weigh` makes of the case, unless there is none, it has been filed, or `early` wants to wait.
    pub(super) fn conclude(
        &mut self,
        conclusion: &Conclusion<'_>,
        early: Early,
        docket: &mut Docket,
        weigh: impl FnOnce(&C) -> Option<Finding>,
    ) {
        if self.filed || (early == Early::Nothing && !conclusion.ending.is_over()) {
            return;
        }
        let Some(finding) = self.case.as_deref().and_then(weigh) else {
            return;
        };
        if early.permits(&finding, conclusion) {
            self.filed = true;
            docket.file(finding);
        }
    }
}
