//! How many flows died at which server, in all and by name: one death is an accident.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::domain;
use crate::engine::baselines::{Baselines, DomainId};
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind};

/// The dead flows of a capture.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    by_server: BTreeMap<IpAddr, u32>,
    by_name: BTreeMap<(IpAddr, DomainId), u32>,
    servers: BTreeMap<DomainId, BTreeSet<IpAddr>>,
}

impl Deaths {
    pub(super) fn of(findings: &[Finding]) -> Self {
        let mut deaths = Self::default();
        for finding in findings.iter().filter(|finding| finding.kind == Kind::SilentDrop) {
            let server = finding.conversation.server.ip;
            *deaths.by_server.entry(server).or_default() += 1;
            if let Some(domain) = domain(finding) {
                *deaths.by_name.entry((server, domain)).or_default() += 1;
                deaths.servers.entry(domain).or_default().insert(server);
            }
        }
        deaths
    }

    /// One flow that dies is an accident; that the same name dies again and again is not, unless everything does.
    pub(super) fn compare(&self, finding: &mut Finding, baselines: &Baselines) {
        let server = finding.conversation.server.ip;
        let (Kind::SilentDrop, Some(domain)) = (finding.kind, domain(finding)) else {
            return;
        };
        let flows = self.by_name.get(&(server, domain)).copied().unwrap_or(0);
        let others = self.by_server.get(&server).copied().unwrap_or(0).saturating_sub(flows);
        let host = baselines.host(server).unwrap_or_default();
        let record = baselines.name(server, domain).unwrap_or_default();
        let mut add = |observation| finding.evidence.push(Evidence::at(observation, &[]));
        if others > 0 && host.served == 0 {
            add(Observation::OtherNamesDieToo { flows: others });
            return;
        }
        if record.served > 0 {
            // Loss is random over flows, a filter is not: a name that works as often as it fails is not filtered.
            if record.served >= flows {
                add(Observation::Drops(DropsObservation::NameServedToo {
                    served: record.served,
                }));
            }
            return;
        }
        let servers = self.servers_that_serve_others(domain, baselines);
        if servers >= 2 {
            add(Observation::Drops(DropsObservation::DiesAtSeveralServers { servers }));
        }
        let acknowledged = finding
            .evidence
            .iter()
            .any(|item| matches!(item.observation, Observation::AcknowledgedThenSilence { .. }));
        // A server that acknowledges and says nothing may hang, however often it is asked.
        if flows >= 2 && (!acknowledged || host.served > 0) && !self.size_may_decide(finding, baselines) {
            finding
                .evidence
                .push(Evidence::at(Observation::DiesAtTheName { flows }, &[]));
        }
    }

    /// Servers at which the name never works although others do (wire-facts 7.2 (b)).
    fn servers_that_serve_others(&self, domain: DomainId, baselines: &Baselines) -> u32 {
        let servers = self.servers.get(&domain).into_iter().flatten();
        servers
            .filter(|server| {
                let served = baselines.host(**server).map_or(0, |host| host.served_by_name);
                let own = baselines.name(**server, domain).map_or(0, |record| record.served);
                own == 0 && served > 0
            })
            .count() as u32
    }

    /// Whether the request is large and nothing as large is known to pass between client and server, or from the client
    /// to anywhere: a path that loses large packets swallows it whatever it names (wire-facts 8).
    fn size_may_decide(&self, finding: &Finding, baselines: &Baselines) -> bool {
        large_request(finding).is_some_and(|bytes| {
            let largest = |host| baselines.host(host).map_or(0, |host| host.largest_served);
            largest(finding.conversation.server.ip) < bytes && largest(finding.conversation.client.ip) < bytes
        })
    }
}

/// The size of the request, if it is large.
pub(super) fn large_request(finding: &Finding) -> Option<u16> {
    finding.evidence.iter().find_map(|item| match item.observation {
        Observation::LargeRequest { bytes } => Some(bytes),
        _ => None,
    })
}
