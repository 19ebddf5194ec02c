//! What other QUIC handshakes say of one that came to nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::domain;
use crate::engine::baselines::DomainId;
use crate::finding::evidence::{Evidence, Observation};
use crate::finding::finding::{Finding, Kind};

/// Where a QUIC server that serves other names fails for one, all flows that failed for it are counted together.
pub(super) fn count_quic_failures(findings: &mut [Finding]) {
    let place = |finding: &Finding| {
        (finding.kind == Kind::QuicDrop)
            .then(|| Some((finding.conversation.server.ip, domain(finding)?)))
            .flatten()
    };
    let others = |finding: &Finding| {
        finding.evidence.iter().find_map(|item| match item.observation {
            Observation::OnlyThisName { others_served, .. } => Some(others_served),
            _ => None,
        })
    };
    let mut counted: BTreeMap<(IpAddr, DomainId), (u32, u32)> = BTreeMap::new();
    for finding in findings.iter() {
        let Some(place) = place(finding) else { continue };
        let (failed, most) = counted.entry(place).or_default();
        *failed += 1;
        *most = others(finding).unwrap_or(0).max(*most);
    }
    for finding in findings {
        let Some((failed, others_served)) = place(finding).and_then(|place| counted.get(&place).copied()) else {
            continue;
        };
        finding
            .evidence
            .retain(|item| !matches!(item.observation, Observation::OnlyThisName { .. }));
        if others_served > 0 {
            let observation = Observation::OnlyThisName { failed, others_served };
            finding.evidence.push(Evidence::at(observation, &[]));
        }
    }
}
