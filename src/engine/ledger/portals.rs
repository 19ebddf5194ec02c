//! What a captive portal makes of a client's names and pages is no censorship.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::finding::evidence::Observation;
use crate::finding::finding::{Finding, Kind};
use crate::finding::verdict::Verdict;
use crate::time::Timestamp;

/// How long before and after a portal shows itself the same client's strange answers are taken for the portal's [E].
const REACHES: Duration = Duration::from_secs(120);

/// Leaves out the answers a portal gave. A contradiction (two answers that differ) stays: a portal answers alone.
pub(super) fn leave_out_what_a_portal_does(findings: &mut Vec<Finding>) {
    let mut portals: BTreeMap<IpAddr, Vec<Timestamp>> = BTreeMap::new();
    for finding in findings.iter() {
        if finding.kind == Kind::CaptivePortal && finding.verdict() >= Some(Verdict::Likely) {
            portals
                .entry(finding.conversation.client.ip)
                .or_default()
                .push(finding.at);
        }
    }
    portals.values_mut().for_each(|shown| shown.sort_unstable());
    findings.retain(|finding| {
        let answers = matches!(
            finding.kind,
            Kind::BlockPage | Kind::DnsInjection | Kind::DnsBlockAnswer
        );
        let contradicted = finding
            .evidence
            .iter()
            .any(|item| matches!(item.observation, Observation::DifferingAnswers));
        let is_near = |shown: &Vec<Timestamp>| {
            let first = shown.partition_point(|shown| finding.at.since(*shown) > REACHES);
            shown.get(first).is_some_and(|shown| shown.since(finding.at) <= REACHES)
        };
        !answers || contradicted || !portals.get(&finding.conversation.client.ip).is_some_and(is_near)
    });
}
