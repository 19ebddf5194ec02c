//! Whether flows freeze at the same volume again and again, and what else the network showed meanwhile.

use std::time::Duration;

use crate::engine::baselines::DomainId;
use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind, Volume};
use crate::packet::endpoint::Endpoint;
use crate::packet::frame::FrameNumber;
use crate::time::Timestamp;

/// The most frozen flows compared, and the most other flows each is compared with.
const MOST_FROZEN: usize = 1024;
const MOST_COMPARED: usize = 4096;

/// Flows this close in time share the state of the network.
const MEANWHILE: Duration = Duration::from_secs(120);

/// Flows that freeze within so long of each other freeze together.
const TOGETHER: Duration = Duration::from_secs(1);

/// SYNs repeated for so long say that the server was not there.
const WAITED: Duration = Duration::from_millis(2_500);

/// A flow that froze.
#[derive(Clone, Copy, Debug)]
struct Frozen {
    first_frame: FrameNumber,
    volume: Volume,
    server: Endpoint,
    /// When it began.
    began: Timestamp,
    /// When the last packet of the side that fell silent came.
    froze: Timestamp,
    domain: Option<DomainId>,
}

/// The frozen flows of a capture, by the time they froze.
#[derive(Debug, Default)]
pub(super) struct Freezes {
    frozen: Vec<Frozen>,
}

impl Freezes {
    /// `traces` are in capture order.
    pub(super) fn of(findings: &[Finding], traces: &[FlowTrace]) -> Self {
        let mut frozen: Vec<_> = findings
            .iter()
            .filter(|finding| finding.kind == Kind::VolumeFreeze)
            .filter_map(|finding| {
                let first_frame = finding.conversation.first_frame;
                let place = traces
                    .binary_search_by_key(&first_frame, |trace| trace.first_frame)
                    .ok()?;
                Some(Frozen {
                    first_frame,
                    volume: finding.particulars.volume?,
                    server: finding.conversation.server,
                    began: traces[place].began,
                    froze: traces[place].heard,
                    domain: traces[place].domain,
                })
            })
            .take(MOST_FROZEN)
            .collect();
        frozen.sort_by_key(|flow| (flow.froze, flow.first_frame));
        Self { frozen }
    }

    /// One flow that freezes is an accident; that several freeze at the same volume, each while its server was well, is
    /// not.
    pub(super) fn compare(&self, finding: &mut Finding, traces: &[FlowTrace]) {
        if finding.kind != Kind::VolumeFreeze {
            return;
        }
        let first_frame = finding.conversation.first_frame;
        let Some(own) = self.frozen.iter().find(|flow| flow.first_frame == first_frame) else {
            return;
        };
        let near = around(traces, own.froze);
        let far_more = |trace: &&FlowTrace| trace.fate == Fate::Served && trace.carried >= own.volume.bytes * 2;
        let same_client = |trace: &&FlowTrace| trace.client.ip == finding.conversation.client.ip;
        let mut add = |observation| {
            finding
                .evidence
                .push(Evidence::at(Observation::Drops(observation), &[]));
        };
        let of_the_name = near
            .iter()
            .filter(far_more)
            .filter(|trace| trace.server.ip == own.server.ip && trace.domain == own.domain)
            .count();
        if of_the_name > 0 {
            add(DropsObservation::OthersCarryMore {
                flows: of_the_name as u32,
            });
        }
        let together = self.frozen.iter().filter(|other| {
            other.server.ip == own.server.ip
                && other.froze.since(own.froze).max(own.froze.since(other.froze)) <= TOGETHER
                && !are_alike(own.volume, other.volume)
        });
        let together = together.count();
        let gone = near
            .iter()
            .filter(|trace| trace.server == own.server && trace.began > own.froze)
            .take_while(|trace| trace.fate == Fate::Unanswered || trace.silence >= WAITED)
            .count();
        if together > 0 || gone > 0 {
            add(DropsObservation::ServerFellSilent {
                flows: (together + gone) as u32,
            });
            return;
        }
        let flows = self.moments(own.volume);
        if flows >= 2 {
            let others = near.iter().filter(same_client).filter(far_more).count() as u32;
            add(DropsObservation::FrozenAtTheSameVolume { flows, others });
        }
    }

    /// How many flows froze at about `volume`, those that an outage may have cut together counted once: each began, and
    /// was answered, after the one before had frozen.
    fn moments(&self, volume: Volume) -> u32 {
        let alike = self.frozen.iter().filter(|flow| are_alike(volume, flow.volume));
        let mut last = None;
        let mut moments = 0;
        for flow in alike {
            if last.is_none_or(|last| flow.began > last) {
                moments += 1;
                last = Some(flow.froze);
            }
        }
        moments
    }
}

/// The flows, sorted by their beginning, that began close to `at`; the first [`MOST_COMPARED`] of them.
fn around(traces: &[FlowTrace], at: Timestamp) -> &[FlowTrace] {
    let first = traces.partition_point(|trace| at.since(trace.began) > MEANWHILE);
    let near = traces[first..].partition_point(|trace| trace.began.since(at) <= MEANWHILE);
    &traces[first..first + near.min(MOST_COMPARED)]
}

/// Within a tenth in bytes, or two packets: a box counts one or the other, and what is in flight is lost with it.
fn are_alike(one: Volume, other: Volume) -> bool {
    one.bytes.abs_diff(other.bytes) * 10 <= one.bytes.max(other.bytes) || one.packets.abs_diff(other.packets) <= 2
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn frozen(began: u64, froze: u64, bytes: u64) -> Frozen {
        Frozen {
            first_frame: FrameNumber::new(0, began),
            volume: Volume {
                bytes,
                packets: (bytes / 500) as u32,
            },
            server: Endpoint {
                ip: IpAddr::from([45, 140, 16, 10]),
                port: 443,
            },
            began: Timestamp::from_nanos(began * 1_000_000_000),
            froze: Timestamp::from_nanos(froze * 1_000_000_000),
            domain: None,
        }
    }

    #[test]
    fn flows_that_one_outage_may_have_cut_count_once() {
        let volume = frozen(0, 0, 16_000).volume;
        let outage = Freezes {
            frozen: vec![frozen(1, 9, 16_000), frozen(5, 9, 16_500), frozen(8, 10, 15_800)],
        };
        assert_eq!(outage.moments(volume), 1);
        let one_by_one = Freezes {
            frozen: vec![frozen(1, 2, 16_000), frozen(5, 6, 40_000), frozen(8, 10, 15_800)],
        };
        assert_eq!(one_by_one.moments(volume), 2);
    }
}
