//! How many flows died at which server, in all and by name: one death is an accident.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::domain;
use crate::engine::baselines::{Baselines, DomainId};
use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind};

/// The dead flows of a capture.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    by_server: BTreeMap<IpAddr, u32>,
    by_name: BTreeMap<(IpAddr, DomainId), u32>,
    /// At how many servers, of those at which the name died, others work and it never does.
    serving_others: BTreeMap<DomainId, u32>,
    /// Flows that hide the name and show no other.
    hidden: BTreeMap<IpAddr, u32>,
    /// Flows in which a client was served by a server under a name.
    served: BTreeMap<(IpAddr, IpAddr, DomainId), u32>,
}

impl Deaths {
    pub(super) fn of(findings: &[Finding], traces: &[FlowTrace], baselines: &Baselines) -> Self {
        let mut deaths = Self::default();
        for trace in traces.iter().filter(|trace| trace.fate == Fate::Served) {
            if let Some(domain) = trace.domain {
                *deaths
                    .served
                    .entry((trace.client.ip, trace.server.ip, domain))
                    .or_default() += 1;
            }
        }
        let mut servers = BTreeMap::<DomainId, BTreeSet<IpAddr>>::new();
        for finding in findings.iter().filter(|finding| finding.kind == Kind::SilentDrop) {
            let server = finding.conversation.server.ip;
            *deaths.by_server.entry(server).or_default() += 1;
            if let Some(domain) = domain(finding) {
                *deaths.by_name.entry((server, domain)).or_default() += 1;
                servers.entry(domain).or_default().insert(server);
            } else if hides_the_name(finding) {
                *deaths.hidden.entry(server).or_default() += 1;
            }
        }
        for (domain, servers) in &servers {
            let others = servers_that_serve_others(*domain, servers, baselines);
            deaths.serving_others.insert(*domain, others);
        }
        deaths
    }

    /// One flow that dies is an accident; that the same name dies again and again is not, unless everything does.
    pub(super) fn compare(&self, finding: &mut Finding, baselines: &Baselines) {
        let server = finding.conversation.server.ip;
        if finding.kind != Kind::SilentDrop {
            return;
        }
        let Some(domain) = domain(finding) else {
            self.compare_hidden(finding, baselines);
            return;
        };
        let flows = self.by_name.get(&(server, domain)).copied().unwrap_or(0);
        let others = self.by_server.get(&server).copied().unwrap_or(0).saturating_sub(flows);
        let host = baselines.host(server).unwrap_or_default();
        // Others may come another way: what this client gets counts.
        let client = finding.conversation.client.ip;
        let served = self.served.get(&(client, server, domain)).copied().unwrap_or(0);
        let mut add = |observation| finding.evidence.push(Evidence::at(observation, &[]));
        if others > 0 && host.served == 0 {
            add(Observation::OtherNamesDieToo { flows: others });
            return;
        }
        if served > 0 {
            // Loss is random over flows, a filter is not: a name that works as often as it fails is not filtered.
            if served >= flows {
                add(Observation::Drops(DropsObservation::NameServedToo { served }));
            }
            return;
        }
        let servers = self.serving_others.get(&domain).copied().unwrap_or(0);
        if servers >= 2 {
            add(Observation::Drops(DropsObservation::DiesAtSeveralServers { servers }));
        }
        let acknowledged = finding
            .evidence
            .iter()
            .any(|item| matches!(item.observation, Observation::AcknowledgedThenSilence { .. }));
        // A server that acknowledges and says nothing may hang, however often it is asked.
        if flows >= 2 && (!acknowledged || host.served > 0) && !self.size_may_decide(finding, baselines) {
            // A machine that only shakes hands may stand in front of a dead one: then no number of deaths tells much.
            let flows = if host.served > 0 || host.reacted > 0 {
                flows
            } else {
                flows.min(2)
            };
            finding
                .evidence
                .push(Evidence::at(Observation::DiesAtTheName { flows }, &[]));
        }
    }

    /// A name that is hidden cannot be compared, but hiding it can: others are served by the same server.
    fn compare_hidden(&self, finding: &mut Finding, baselines: &Baselines) {
        let server = finding.conversation.server.ip;
        let served = baselines.host(server).map_or(0, |host| host.served_by_name);
        let flows = self.hidden.get(&server).copied().unwrap_or(0);
        if hides_the_name(finding) && served > 0 && !self.size_may_decide(finding, baselines) {
            let hidden = Observation::Drops(DropsObservation::HiddenNamesDie { flows, served });
            finding.evidence.push(Evidence::at(hidden, &[]));
        }
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

/// How many of the servers at which flows with the name died never serve it although they serve others (wire-facts 7.2
/// (b)).
fn servers_that_serve_others(domain: DomainId, servers: &BTreeSet<IpAddr>, baselines: &Baselines) -> u32 {
    let serves_others = |server: &&IpAddr| {
        let served = baselines.host(**server).map_or(0, |host| host.served_by_name);
        let own = baselines.name(**server, domain).map_or(0, |record| record.served);
        own == 0 && served > 0
    };
    servers.iter().filter(serves_others).count() as u32
}

/// Whether the flow's ClientHello hides its name.
pub(super) fn hides_the_name(finding: &Finding) -> bool {
    finding.evidence.iter().any(|item| {
        let Observation::Drops(observation) = item.observation else {
            return false;
        };
        matches!(observation, DropsObservation::HiddenName { .. })
    })
}

/// The size of the request, if it is large.
pub(super) fn large_request(finding: &Finding) -> Option<u16> {
    finding.evidence.iter().find_map(|item| match item.observation {
        Observation::LargeRequest { bytes } => Some(bytes),
        _ => None,
    })
}
