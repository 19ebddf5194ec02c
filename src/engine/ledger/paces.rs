//! Whether the flows of one name run slower than others of the same server.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::baselines::DomainId;
use crate::engine::trace::FlowTrace;
use crate::finding::evidence::{Evidence, Observation, PaceObservation};
use crate::finding::finding::{Finding, Kind};

/// Flows this close in time share the state of the network (wire-facts 7.2 (a)).
const MEANWHILE: Duration = Duration::from_secs(300);

/// The most flows looked at for one finding.
const MOST_COMPARED: usize = 4096;

/// Flows that carried less, in bytes, are over before they show how fast they could be.
const LEAST_CARRIED: u64 = 16_000;

/// So many times as fast is another pace [E].
const TIMES: u64 = 3;

/// The slow flows of a capture, by name: how many, and from when to when.
#[derive(Debug, Default)]
pub(super) struct Paces {
    slow: BTreeMap<DomainId, Vec<usize>>,
}

impl Paces {
    /// `traces` are in capture order.
    pub(super) fn of(findings: &[Finding], traces: &[FlowTrace]) -> Self {
        let mut slow = BTreeMap::<_, Vec<_>>::new();
        for finding in findings.iter().filter(|finding| finding.kind == Kind::Throttling) {
            if let Some((place, domain)) = place(finding, traces) {
                slow.entry(domain).or_default().push(place);
            }
        }
        Self { slow }
    }

    /// A slow flow proves nothing; that one name is slow where others are fast does.
    pub(super) fn compare(&self, finding: &mut Finding, traces: &[FlowTrace]) {
        if finding.kind != Kind::Throttling {
            return;
        }
        let Some((place, domain)) = place(finding, traces) else {
            return;
        };
        let own = &traces[place];
        let Some(pace) = goodput(own) else { return };
        let near = |trace: &&FlowTrace| {
            trace.began.since(own.began).max(own.began.since(trace.began)) <= MEANWHILE
                && trace.carried * 2 >= own.carried
        };
        let start = traces.partition_point(|trace| own.began.since(trace.began) > MEANWHILE);
        let compared = || traces[start..].iter().take(MOST_COMPARED).filter(near);
        let is_fast = |trace: &&FlowTrace| goodput(trace).is_some_and(|other| other >= pace.saturating_mul(TIMES));
        let of_server = || compared().filter(|trace| trace.server.ip == own.server.ip);
        let of_others = || of_server().filter(|trace| trace.domain != Some(domain) && goodput(trace).is_some());
        let own_fast = of_server()
            .filter(|trace| trace.domain == Some(domain))
            .filter(is_fast)
            .count();
        let fast = of_others().filter(is_fast).count();
        let alike = of_others().count() - fast;
        let mut add = |observation| {
            finding.evidence.push(Evidence::at(Observation::Pace(observation), &[]));
        };
        if own_fast > 0 {
            add(PaceObservation::NameFastToo { fast: own_fast as u32 });
            return;
        }
        if alike >= fast.max(1) {
            add(PaceObservation::OthersSlowToo { slow: alike as u32 });
            return;
        }
        let slow = self.slow.get(&domain).map_or(&[][..], Vec::as_slice);
        let (Some(first), Some(last)) = (slow.first(), slow.last()) else {
            return;
        };
        // The line may have been busy while the slow ones ran, unless fast ones ran in between.
        let between = of_others().filter(is_fast).any(|trace| {
            trace.client.ip == own.client.ip
                && trace.began >= traces[*first].began
                && trace.began <= traces[*last].ended
        });
        let between_others = of_others()
            .filter(is_fast)
            .any(|trace| trace.began >= traces[*first].began && trace.began <= traces[*last].ended);
        let same_client = of_others()
            .filter(is_fast)
            .any(|trace| trace.client.ip == own.client.ip);
        if between || (between_others && same_client) {
            add(PaceObservation::OnlyThisNameSlow {
                slow: slow.len() as u32,
                fast: fast as u32,
            });
        }
    }
}

/// Where the trace of the finding's flow is, and the name it asked for.
fn place(finding: &Finding, traces: &[FlowTrace]) -> Option<(usize, DomainId)> {
    let first_frame = finding.conversation.first_frame;
    let place = traces
        .binary_search_by_key(&first_frame, |trace| trace.first_frame)
        .ok()?;
    Some((place, traces[place].domain?))
}

/// How fast the flow was, in bytes a second, if it carried enough to tell.
fn goodput(trace: &FlowTrace) -> Option<u64> {
    let took = trace.took.as_millis().max(1);
    (trace.carried >= LEAST_CARRIED).then(|| (u128::from(trace.carried) * 1000 / took) as u64)
}
