//! One line of the table of observations.

use crate::finding::weight::{Group, Weight};

/// One line of the table of observations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) key: &'static str,
    pub(super) group: Group,
    pub(super) weight: Weight,
    pub(super) convicts: bool,
}

pub(super) const fn row(key: &'static str, group: Group, p1: f64, p0: f64, source: &'static str) -> Row {
    Row {
        key,
        group,
        weight: Weight::new(p1, p0, source),
        convicts: false,
    }
}

/// A row that convicts by itself: a contradiction, or an exact fingerprint (architecture: "Evidence and verdict").
pub(super) const fn proof(key: &'static str, group: Group, p1: f64, p0: f64, source: &'static str) -> Row {
    Row {
        convicts: true,
        ..row(key, group, p1, p0, source)
    }
}
