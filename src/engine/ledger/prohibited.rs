//! Whose rule it is that forbids a flow by ICMP: what the same client gets elsewhere, and who else is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::baselines::Baselines;
use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{Evidence, IcmpObservation, Observation};
use crate::finding::finding::{Finding, Kind};
use crate::packet::endpoint::Endpoint;
use crate::packet::path_marks::PathMarks;
use crate::time::Timestamp;

/// Flows this close in time share the state of the network (wire-facts 7.2 (a) asks for 5 minutes).
const MEANWHILE: Duration = Duration::from_secs(300);

/// Refused at so many addresses and ports, a client scans, or its network lets nobody out.
const MANY: usize = 8;

/// The most flows of one client looked at for one finding.
const MOST_COMPARED: usize = 4096;

/// The refused flows of a capture, and what else their clients did.
#[derive(Debug)]
pub(super) struct Prohibited<'a> {
    /// Who was refused where.
    places: BTreeMap<IpAddr, BTreeSet<Endpoint>>,
    /// Refused flows by address: how many, of whom, at which ports.
    by_server: BTreeMap<IpAddr, (u32, BTreeSet<IpAddr>, BTreeSet<u16>)>,
    by_client: BTreeMap<IpAddr, Vec<&'a FlowTrace>>,
}

impl<'a> Prohibited<'a> {
    /// `traces` are in capture order.
    pub(super) fn of(findings: &[Finding], traces: &'a [FlowTrace]) -> Self {
        let mut prohibited = Self {
            places: BTreeMap::new(),
            by_server: BTreeMap::new(),
            by_client: BTreeMap::new(),
        };
        for finding in findings.iter().filter(|finding| finding.kind == Kind::IcmpProhibited) {
            let (client, server) = (finding.conversation.client.ip, finding.conversation.server);
            prohibited.places.entry(client).or_default().insert(server);
            let (flows, clients, ports) = prohibited.by_server.entry(server.ip).or_default();
            *flows += 1;
            clients.insert(client);
            ports.insert(server.port);
        }
        // Only what can be asked for is kept.
        for trace in traces {
            if prohibited.places.contains_key(&trace.client.ip) {
                prohibited.by_client.entry(trace.client.ip).or_default().push(trace);
            }
        }
        prohibited
    }

    /// Compares a refused flow with the others.
    pub(super) fn compare(&self, finding: &mut Finding, baselines: &Baselines) {
        if finding.kind != Kind::IcmpProhibited {
            return;
        }
        let (client, server) = (finding.conversation.client.ip, finding.conversation.server);
        self.measure_the_way(finding, baselines);
        let places = self.places.get(&client).map_or(0, BTreeSet::len);
        if places >= MANY {
            let many = IcmpObservation::RefusedManyTimes { places: places as u32 };
            finding.evidence.push(Evidence::at(Observation::Icmp(many), &[]));
            return;
        }
        let near = around(self.by_client.get(&client).map_or(&[][..], Vec::as_slice), finding.at);
        let served = || near.iter().filter(|trace| trace.fate == Fate::Served);
        let others: BTreeSet<_> = served()
            .filter(|trace| trace.server.ip != server.ip)
            .map(|trace| trace.server.ip)
            .collect();
        let here = served().filter(|trace| trace.server.ip == server.ip).count() as u32;
        let by_name = finding
            .evidence
            .iter()
            .any(|item| matches!(item.observation, Observation::Icmp(IcmpObservation::RefusesTheName)));
        let hops = finding.injector.as_ref().and_then(|injector| injector.hops_from_tap);
        let mut add = |observation| {
            finding.evidence.push(Evidence::at(Observation::Icmp(observation), &[]));
        };
        // Where names decide, other names of the same server are compared.
        if by_name {
            return;
        }
        if here > 0 {
            add(IcmpObservation::ServedOtherwise { flows: here });
        } else if others.is_empty() {
            add(IcmpObservation::NothingElsePasses);
        } else if let Some((refused, clients, ports)) = self.by_server.get(&server.ip) {
            add(IcmpObservation::OthersPass {
                refused: *refused,
                ways: (clients.len() + ports.len()) as u32,
                others: others.len() as u32,
            });
        }
        if let (Some((hops, _)), Some(others)) = (hops, distance(&others, baselines)) {
            add(if u16::from(hops) * 2 <= u16::from(others) {
                IcmpObservation::NearTheClient { hops, others }
            } else {
                IcmpObservation::FarFromTheClient { hops, others }
            });
        }
    }

    /// A SYN that is refused says nothing of how far its destination is; the host's other flows do.
    fn measure_the_way(&self, finding: &mut Finding, baselines: &Baselines) {
        let known = finding.evidence.iter().any(|item| {
            matches!(
                item.observation,
                Observation::Icmp(IcmpObservation::AtTheDestinationsDoor { .. })
            )
        });
        let ttl = baselines
            .host(finding.conversation.server.ip)
            .and_then(|host| host.usual_ttl());
        let hops = finding.injector.as_ref().and_then(|injector| injector.hops_from_tap);
        if let (false, Some(ttl), Some((hops, _))) = (known, ttl, hops) {
            let destination = hops_of(ttl);
            if hops + 1 >= destination {
                let door = IcmpObservation::AtTheDestinationsDoor { hops, destination };
                finding
                    .evidence
                    .push(Evidence::at(Observation::Icmp(door), &[finding.decided_by]));
            }
        }
    }
}

/// How many routers a packet that arrived with `ttl` has passed.
fn hops_of(ttl: u8) -> u8 {
    let marks = PathMarks {
        ttl,
        ..PathMarks::default()
    };
    marks.hops()
}

/// How far away `hosts` are, in the middle.
fn distance(hosts: &BTreeSet<IpAddr>, baselines: &Baselines) -> Option<u8> {
    let usual = |host: &IpAddr| baselines.host(*host)?.usual_ttl().map(hops_of);
    let mut hops: Vec<u8> = hosts.iter().filter_map(usual).collect();
    hops.sort_unstable();
    hops.get(hops.len() / 2).copied()
}

/// The flows, sorted by their beginning, that began close to `at`; the first [`MOST_COMPARED`] of them.
fn around<'t, 'a>(traces: &'t [&'a FlowTrace], at: Timestamp) -> &'t [&'a FlowTrace] {
    let first = traces.partition_point(|trace| at.since(trace.began) > MEANWHILE);
    let near = traces[first..].partition_point(|trace| trace.began.since(at) <= MEANWHILE);
    &traces[first..first + near.min(MOST_COMPARED)]
}
