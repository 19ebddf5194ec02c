//! What other QUIC handshakes say of one that came to nothing: many servers and networks do not let QUIC through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::domain;
use crate::engine::baselines::DomainId;
use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{DropsObservation, Evidence, Observation, QuicDropObservation};
use crate::finding::finding::{Finding, Kind};

/// What came of the QUIC handshakes of a capture.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Handshakes of a client with a server that came through.
    served: BTreeMap<(IpAddr, IpAddr), u32>,
    /// The same by name.
    served_by_name: BTreeMap<(IpAddr, IpAddr, DomainId), u32>,
    /// Handshakes for a name that failed at a server, whoever began them.
    failed: BTreeMap<(IpAddr, DomainId), u32>,
    /// Servers at which a client failed with a name.
    servers: BTreeMap<(IpAddr, DomainId), BTreeSet<IpAddr>>,
    /// Clients whose handshakes came through anywhere.
    clients: BTreeSet<IpAddr>,
    /// Pairs of client and server that work over TCP.
    tcp: BTreeSet<(IpAddr, IpAddr)>,
}

impl Handshakes {
    pub(super) fn of(handshakes: &[FlowTrace], tcp: &[FlowTrace]) -> Self {
        let mut all = Self::default();
        for trace in handshakes {
            let (client, server) = (trace.client.ip, trace.server.ip);
            if trace.fate == Fate::Served {
                *all.served.entry((client, server)).or_default() += 1;
                all.clients.insert(client);
                if let Some(name) = trace.domain {
                    *all.served_by_name.entry((client, server, name)).or_default() += 1;
                }
            } else if let Some(name) = trace.domain {
                *all.failed.entry((server, name)).or_default() += 1;
                all.servers.entry((client, name)).or_default().insert(server);
            }
        }
        let working = tcp.iter().filter(|trace| trace.fate == Fate::Served);
        all.tcp = working.map(|trace| (trace.client.ip, trace.server.ip)).collect();
        all
    }

    /// Compares a handshake that came to nothing with the others.
    pub(super) fn compare(&self, finding: &mut Finding) {
        if finding.kind != Kind::QuicDrop {
            return;
        }
        let (client, server) = (finding.conversation.client.ip, finding.conversation.server.ip);
        let name = domain(finding);
        let mut add = |observation| finding.evidence.push(Evidence::at(observation, &[]));
        if !self.clients.contains(&client) {
            add(Observation::QuicDrop(QuicDropObservation::NoHandshakeWorks));
            return;
        }
        if self.tcp.contains(&(client, server)) {
            add(Observation::QuicDrop(QuicDropObservation::TcpWorks));
        }
        let Some(name) = name else { return };
        let own = self.served_by_name.get(&(client, server, name)).copied().unwrap_or(0);
        if own > 0 {
            add(Observation::Drops(DropsObservation::NameServedToo { served: own }));
            return;
        }
        let others_served = self.served.get(&(client, server)).copied().unwrap_or(0);
        if others_served > 0 {
            let failed = self.failed.get(&(server, name)).copied().unwrap_or(1);
            let only = QuicDropObservation::OnlyThisName { failed, others_served };
            add(Observation::QuicDrop(only));
        }
        let at = self.servers.get(&(client, name)).into_iter().flatten();
        let servers = at
            .filter(|server| self.served.contains_key(&(client, **server)))
            .count() as u32;
        if servers >= 2 {
            add(Observation::Drops(DropsObservation::DiesAtSeveralServers { servers }));
        }
    }
}
