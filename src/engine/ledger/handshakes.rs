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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::finding::finding::{Application, Conversation, Particulars, Position, Protocol, Trigger, TriggerKind};
    use crate::finding::verdict::{Prior, Verdict};
    use crate::packet::endpoint::Endpoint;
    use crate::packet::frame::FrameNumber;
    use crate::time::Timestamp;

    fn ends(server: u8) -> (Endpoint, Endpoint) {
        let client = Endpoint {
            ip: IpAddr::from([192, 0, 2, 10]),
            port: 50_000,
        };
        let server = Endpoint {
            ip: IpAddr::from([198, 51, 100, server]),
            port: 443,
        };
        (client, server)
    }

    fn trace(server: u8, name: &str, fate: Fate) -> FlowTrace {
        let (client, server) = ends(server);
        FlowTrace {
            heard: Timestamp::EPOCH,
            carried: 0,
            silence: Duration::ZERO,
            took: Duration::ZERO,
            protocol: Protocol::Udp,
            client,
            server,
            first_frame: FrameNumber::new(0, 1),
            began: Timestamp::EPOCH,
            ended: Timestamp::EPOCH,
            fate,
            domain: Some(DomainId::of(name)),
            hides: None,
        }
    }

    /// What becomes of a handshake for `blocked.example.com` at server 1 that was begun in vain, among these others.
    fn verdict(others: &[FlowTrace]) -> Option<Verdict> {
        let (client, server) = ends(1);
        let frame = FrameNumber::new(0, 1);
        let in_vain = Observation::QuicDrop(QuicDropObservation::InitialsUnanswered { tries: 4 });
        let mut finding = Finding {
            kind: Kind::QuicDrop,
            conversation: Conversation {
                client,
                server,
                protocol: Protocol::Udp,
                application: Application::Unknown,
                vlan: None,
                first_frame: frame,
                started: Timestamp::EPOCH,
            },
            decided_by: frame,
            at: Timestamp::EPOCH,
            stage: None,
            signature: None,
            claimed_sender: None,
            position: Position::InPath,
            trigger: Some(Trigger {
                kind: TriggerKind::Sni,
                name: Some("blocked.example.com".into()),
                frame,
            }),
            forged: Vec::new(),
            genuine: Vec::new(),
            dropped: Vec::new(),
            prior: Prior::Abnormal,
            evidence: vec![Evidence::at(in_vain, &[])],
            injector: None,
            particulars: Particulars::default(),
        };
        let mut all = vec![trace(1, "blocked.example.com", Fate::Unanswered)];
        all.extend_from_slice(others);
        Handshakes::of(&all, &[]).compare(&mut finding);
        finding.verdict()
    }

    #[test]
    fn only_what_works_besides_shows_that_a_name_is_blocked() {
        let served = |server, name| trace(server, name, Fate::Served);
        assert_eq!(verdict(&[]), None, "a network without QUIC");
        assert_eq!(verdict(&[served(2, "www.example.org")]), None, "a server without QUIC");
        let others = [served(1, "www.example.org"), served(1, "www.example.net")];
        assert_eq!(verdict(&others), Some(Verdict::Likely));
        let own = [&others[..], &[served(1, "blocked.example.com")]].concat();
        assert_eq!(verdict(&own), None, "the name works, too");
    }
}
