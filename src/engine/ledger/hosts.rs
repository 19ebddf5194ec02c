//! What other flows of the same host and other names at it say of a finding.

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
    let Some(usual) = baselines
        .host(finding.conversation.server.ip)
        .and_then(|host| host.usual_ttl())
    else {
        return;
    };
    let Some(reset) = finding.injector.as_ref().and_then(|injector| injector.arrival_ttl) else {
        return;
    };
    let already = finding
        .evidence
        .iter()
        .any(|item| matches!(item.observation, Observation::ResetTtlDiffers { .. }));
    if usual.abs_diff(reset) >= 2 && !already {
        finding.evidence.push(Evidence::at(
            Observation::ResetTtlDiffers { reset, usual },
            &[finding.decided_by],
        ));
    }
}

/// Served flows for other names that a server must show before a name's failing there means anything.
const OTHERS_SERVED: u32 = 2;

/// A name that always fails at a server that serves others is filtered by name.
pub(super) fn compare_with_other_names(finding: &mut Finding, baselines: &Baselines) {
    let by_name = matches!(
        finding.kind,
        Kind::RstInjection | Kind::SilentDrop | Kind::FinInjection | Kind::TlsAlertInjection
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
