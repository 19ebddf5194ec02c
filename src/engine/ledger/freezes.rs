//! Whether flows freeze at the same volume again and again.

use crate::engine::trace::FlowTrace;
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind, Volume};

/// The frozen flows of a capture, by volume.
#[derive(Debug, Default)]
pub(super) struct Freezes {
    volumes: Vec<Volume>,
}

impl Freezes {
    pub(super) fn of(findings: &[Finding]) -> Self {
        Self {
            volumes: findings
                .iter()
                .filter(|finding| finding.kind == Kind::VolumeFreeze)
                .filter_map(|finding| finding.particulars.volume)
                .collect(),
        }
    }

    /// One flow that freezes is an accident; that several freeze at the same volume is not.
    pub(super) fn compare(&self, finding: &mut Finding, _traces: &[FlowTrace]) {
        let (Kind::VolumeFreeze, Some(own)) = (finding.kind, finding.particulars.volume) else {
            return;
        };
        let flows = self.volumes.iter().filter(|other| are_alike(own, **other)).count() as u32;
        if flows >= 2 {
            finding.evidence.push(Evidence::at(
                Observation::Drops(DropsObservation::FrozenAtTheSameVolume { flows }),
                &[],
            ));
        }
    }
}

/// Within a tenth in bytes, or two packets: a box counts one or the other, and what is in flight is lost with it.
fn are_alike(one: Volume, other: Volume) -> bool {
    one.bytes.abs_diff(other.bytes) * 10 <= one.bytes.max(other.bytes) || one.packets.abs_diff(other.packets) <= 2
}
