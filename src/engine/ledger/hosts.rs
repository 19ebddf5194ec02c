//! What other flows of the same host and other names at it say of a finding.

use std::time::Duration;

use super::deaths::large_request;
use crate::engine::baselines::{Baselines, DomainId};
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind, Party, Stage};

/// A reset that answers a SYN has nothing in its own flow to compare its TTL with; the host's other flows do.
pub(super) fn compare_with_host(finding: &mut Finding, baselines: &Baselines) {
    let answers_syn = finding.stage == Some(Stage::PostSyn) && finding.claimed_sender == Some(Party::Server);
    if finding.kind != Kind::RstInjection || !answers_syn {
        return;
    }
    let Some(host) = baselines.host(finding.conversation.server.ip) else {
        return;
    };
    let Some(injector) = finding.injector.as_ref() else {
        return;
    };
    let frames = [finding.decided_by];
    let mut found = Vec::new();
    if let (Some(usual), Some(reset)) = (host.usual_ttl(), injector.arrival_ttl)
        && usual.abs_diff(reset) >= 2
        && !finding
            .evidence
            .iter()
            .any(|item| matches!(item.observation, Observation::ResetTtlDiffers { .. }))
    {
        found.push(Evidence::at(Observation::ResetTtlDiffers { reset, usual }, &frames));
    }
    if let (Some((floor, flows)), Some(after)) = (host.round_trip, injector.refused_after)
        && flows >= MEASURED
        && floor >= MEASURABLE
        && after < floor / 2
    {
        found.push(Evidence::at(Observation::TooFast { after, floor }, &frames));
        // A host that is farther away than the refusal did not refuse.
        finding
            .evidence
            .retain(|item| item.observation != Observation::RefusedConnection);
    }
    finding.evidence.append(&mut found);
}

/// Handshakes that must have been timed before a host's distance is held to be known (Hold-On asks for five samples).
const MEASURED: u32 = 5;

/// Below this, a round trip is too short to tell "too fast" from scheduling noise.
const MEASURABLE: Duration = Duration::from_millis(4);

/// Served flows for other names that a server must show before a name's failing there means anything.
const OTHERS_SERVED: u32 = 2;

/// A name that always fails at a server that serves others is filtered by name.
pub(super) fn compare_with_other_names(finding: &mut Finding, baselines: &Baselines) {
    let by_name = matches!(
        finding.kind,
        Kind::RstInjection | Kind::SilentDrop | Kind::FinInjection | Kind::TlsAlertInjection | Kind::IcmpProhibited
    );
    let name = finding.trigger.as_ref().and_then(|trigger| trigger.name.as_deref());
    let (true, Some(name)) = (by_name, name) else { return };
    let server = finding.conversation.server.ip;
    let (Some(host), Some(record)) = (baselines.host(server), baselines.name(server, DomainId::of(name))) else {
        return;
    };
    let others_served = host.served_by_name.saturating_sub(record.served);
    if let Some(bytes) = large_request(finding)
        && others_served > 0
    {
        if host.largest_served < bytes {
            let largest = host.largest_served;
            let observation = Observation::Drops(DropsObservation::OnlySmallerPass { largest });
            finding.evidence.push(Evidence::at(observation, &[]));
            return;
        }
        // As large ones pass, so it is not the size.
        finding
            .evidence
            .retain(|item| !matches!(item.observation, Observation::LargeRequest { .. }));
    }
    if record.served == 0 && record.failed > 0 && others_served >= OTHERS_SERVED {
        let observation = Observation::OnlyThisName {
            failed: record.failed,
            others_served,
        };
        finding.evidence.push(Evidence::at(observation, &[]));
    }
}
