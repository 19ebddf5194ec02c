//! How many flows died at which server, in all and by name: one death is an accident.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::domain;
use crate::engine::baselines::{Baselines, DomainId};
use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{DropsObservation, Evidence, Hiding, Observation};
use crate::finding::finding::{Finding, Kind};
use crate::payload::tls_client_hello::EncryptedName;
use crate::time::Timestamp;

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
    served: BTreeMap<(IpAddr, IpAddr, DomainId), Served>,
    /// Flows that may hide another name under the one they show and died, by client, server and name.
    died_hidden: BTreeMap<(IpAddr, IpAddr, DomainId), Died>,
    /// The same of flows that hide nothing.
    died_in_the_clear: BTreeSet<(IpAddr, IpAddr, DomainId)>,
    /// Flows that hide the name and were served, by client, how, the name they show, and server.
    served_hidden: BTreeMap<(IpAddr, EncryptedName, Option<DomainId>), BTreeMap<IpAddr, u32>>,
}

/// How many flows for a name were served.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    all: u32,
    /// Those whose ClientHello is known to hide nothing.
    clear: u32,
    /// Of these, those that began between deaths of flows that hide.
    between: u32,
}

/// Flows of a client for a name at a server that died.
#[derive(Clone, Copy, Debug)]
struct Died {
    flows: u32,
    first: Timestamp,
    last: Timestamp,
}

impl Deaths {
    pub(super) fn of(findings: &[Finding], traces: &[FlowTrace], baselines: &Baselines) -> Self {
        let mut deaths = Self::default();
        for finding in findings.iter().filter(|finding| finding.kind == Kind::SilentDrop) {
            let Some(domain) = domain(finding) else { continue };
            let (client, server) = (finding.conversation.client.ip, finding.conversation.server.ip);
            if hiding(finding).is_none() {
                deaths.died_in_the_clear.insert((client, server, domain));
                continue;
            }
            let died = deaths.died_hidden.entry((client, server, domain)).or_insert(Died {
                flows: 0,
                first: finding.at,
                last: finding.at,
            });
            died.flows += 1;
            died.first = died.first.min(finding.at);
            died.last = died.last.max(finding.at);
        }
        for trace in traces.iter().filter(|trace| trace.fate == Fate::Served) {
            let (client, server) = (trace.client.ip, trace.server.ip);
            if let Some(domain) = trace.domain {
                let served = deaths.served.entry((client, server, domain)).or_default();
                served.all += 1;
                let clear = trace.hides == Some(EncryptedName::No);
                let died = deaths.died_hidden.get(&(client, server, domain));
                let between = died.is_some_and(|died| (died.first..died.last).contains(&trace.began));
                served.clear += u32::from(clear);
                served.between += u32::from(clear && between);
            }
            if let Some(by @ (EncryptedName::Esni | EncryptedName::Ech)) = trace.hides {
                let shown = (client, by, trace.domain);
                *deaths
                    .served_hidden
                    .entry(shown)
                    .or_default()
                    .entry(server)
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
            } else if hiding(finding).is_some() {
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
        let hides = hiding(finding).is_some();
        let Served { all, clear, between } = self.served.get(&(client, server, domain)).copied().unwrap_or_default();
        // What hides is compared with what hides.
        let served = if hides { all - clear } else { all };
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
        if hides {
            self.compare_elsewhere(finding, Some(domain));
            if clear > 0 {
                // A server that is down for a while serves nothing meanwhile.
                let key = (client, server, domain);
                let flows = self.died_hidden.get(&key).map_or(0, |died| died.flows);
                let only_hidden = !self.died_in_the_clear.contains(&key);
                if between > 0 && flows >= 2 && only_hidden && !self.size_may_decide(finding, baselines) {
                    let clear = DropsObservation::ServedInTheClear { flows, served: between };
                    finding.evidence.push(Evidence::at(Observation::Drops(clear), &[]));
                }
                return;
            }
        }
        let mut add = |observation| finding.evidence.push(Evidence::at(observation, &[]));
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
        let Some(by) = hiding(finding) else { return };
        let alike = self
            .served_hidden
            .iter()
            .filter(|((_, how, shown), _)| *how == by && shown.is_none());
        let hidden_served: u32 = alike.filter_map(|(_, servers)| servers.get(&server)).sum();
        if hidden_served > 0 {
            if hidden_served >= flows {
                let too = Observation::Drops(DropsObservation::HiddenServedToo { served: hidden_served });
                finding.evidence.push(Evidence::at(too, &[]));
            }
            return;
        }
        self.compare_elsewhere(finding, None);
        if served > 0 && !self.size_may_decide(finding, baselines) {
            let hidden = Observation::Drops(DropsObservation::HiddenNamesDie { flows, served });
            finding.evidence.push(Evidence::at(hidden, &[]));
        }
    }

    /// A box that drops what hides does so wherever it goes, as far as the way leads past it.
    fn compare_elsewhere(&self, finding: &mut Finding, shown: Option<DomainId>) {
        let (client, server) = (finding.conversation.client.ip, finding.conversation.server.ip);
        let Some(servers) = hiding(finding).and_then(|by| self.served_hidden.get(&(client, by, shown))) else {
            return;
        };
        let others = servers.iter().filter(|(other, _)| **other != server);
        let served: u32 = others.map(|(_, flows)| flows).sum();
        if served > 0 {
            let elsewhere = DropsObservation::HiddenServedElsewhere { served };
            finding.evidence.push(Evidence::at(Observation::Drops(elsewhere), &[]));
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

/// How the flow's ClientHello hides its name.
fn hiding(finding: &Finding) -> Option<EncryptedName> {
    finding.evidence.iter().find_map(|item| match item.observation {
        Observation::Drops(DropsObservation::HiddenName { by: Hiding::Esni }) => Some(EncryptedName::Esni),
        Observation::Drops(DropsObservation::HiddenName { by: Hiding::Ech }) => Some(EncryptedName::Ech),
        _ => None,
    })
}

/// Whether the flow's ClientHello hides its name.
pub(super) fn hides_the_name(finding: &Finding) -> bool {
    hiding(finding).is_some()
}

/// The size of the request, if it is large.
pub(super) fn large_request(finding: &Finding) -> Option<u16> {
    finding.evidence.iter().find_map(|item| match item.observation {
        Observation::LargeRequest { bytes } => Some(bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::baselines::{CameTo, FlowOutcome};
    use crate::finding::finding::Protocol;
    use crate::packet::endpoint::Endpoint;
    use crate::packet::frame::FrameNumber;
    use crate::report::sample;

    const CLIENT: [u8; 4] = [10, 20, 0, 5];
    const SITE: [u8; 4] = [45, 140, 16, 10];
    const OTHER: [u8; 4] = [103, 224, 9, 80];
    const NAME: &str = "outer.example";

    fn seconds(at: u64) -> Timestamp {
        Timestamp::from_nanos(at * 1_000_000_000)
    }

    /// A flow for `name`, empty for none, that died at second `at`, and how it hid.
    fn died(at: u64, name: &str, by: Option<Hiding>) -> Finding {
        let mut finding = sample::reset();
        finding.kind = Kind::SilentDrop;
        finding.conversation.client.ip = CLIENT.into();
        finding.conversation.server.ip = SITE.into();
        finding.at = seconds(at);
        finding.trigger.as_mut().unwrap().name = (!name.is_empty()).then(|| name.to_owned());
        let hidden = by.map(|by| Observation::Drops(DropsObservation::HiddenName { by }));
        finding.evidence = hidden.into_iter().map(|hidden| Evidence::at(hidden, &[])).collect();
        finding
    }

    /// A flow that was served from second `at` on.
    fn served(at: u64, server: [u8; 4], name: &str, hides: EncryptedName) -> FlowTrace {
        FlowTrace {
            protocol: Protocol::Tcp,
            client: Endpoint::new(CLIENT.into(), at as u16),
            server: Endpoint::new(server.into(), 443),
            first_frame: FrameNumber::new(0, at),
            began: seconds(at),
            ended: seconds(at),
            fate: Fate::Served,
            heard: seconds(at),
            carried: 2000,
            took: Duration::ZERO,
            silence: Duration::ZERO,
            domain: (!name.is_empty()).then(|| DomainId::of(name)),
            hides: Some(hides),
        }
    }

    /// What other flows add to the first finding.
    fn added(mut findings: Vec<Finding>, traces: &[FlowTrace]) -> Vec<&'static str> {
        let baselines = Baselines::default();
        for trace in traces {
            baselines.add(&FlowOutcome {
                client: trace.client.ip,
                largest: 500,
                server: trace.server.ip,
                ttl: None,
                round_trip: None,
                domain: trace.domain,
                reacted: true,
                came_to: CameTo::Served,
            });
        }
        let deaths = Deaths::of(&findings, traces, &baselines);
        let finding = &mut findings[0];
        let before = finding.evidence.len();
        deaths.compare(finding, &baselines);
        finding.evidence[before..]
            .iter()
            .map(|item| item.observation.key())
            .collect()
    }

    fn ech(at: u64) -> Finding {
        died(at, NAME, Some(Hiding::Ech))
    }

    #[test]
    fn a_name_that_dies_only_where_another_may_be_hidden_is_told() {
        use EncryptedName::{Ech, No};
        let clear = |at| served(at, SITE, NAME, No);
        let twice = || vec![ech(10), ech(30)];
        assert_eq!(added(twice(), &[clear(20)]), ["served_in_the_clear"]);
        let nothing: [&str; 0] = [];
        assert_eq!(added(vec![ech(10)], &[clear(20)]), nothing, "one death is an accident");
        assert_eq!(added(twice(), &[clear(5), clear(35)]), nothing, "it may have been down");
        let with_another = vec![ech(10), ech(30), died(25, NAME, None)];
        assert_eq!(added(with_another, &[clear(20)]), nothing, "the clear dies too");
        let hidden = served(40, SITE, NAME, Ech);
        assert_eq!(added(twice(), &[clear(20), hidden]), nothing, "it does not always die");
        assert_eq!(added(twice(), &[hidden, hidden]), ["name_served_too"]);
        // A flow of which it is not known what it hides is no comparison, and counts as if it hid.
        let mut unknown = clear(20);
        unknown.hides = None;
        assert_eq!(added(twice(), &[unknown]), nothing);
        // One that hides nothing is compared with all.
        let plain = vec![died(10, NAME, None), died(30, NAME, None)];
        assert_eq!(added(plain, &[hidden, hidden]), ["name_served_too"]);
    }

    #[test]
    fn what_hides_and_is_served_elsewhere_is_held_against_it() {
        use EncryptedName::{Ech, Esni, No};
        let clear = served(20, SITE, NAME, No);
        let of = |elsewhere| added(vec![ech(10), ech(30)], &[clear, elsewhere]);
        let twin = served(15, OTHER, NAME, Ech);
        assert_eq!(of(twin), ["hidden_served_elsewhere", "served_in_the_clear"]);
        // Browsers send the extension without meaning, under all names.
        assert_eq!(of(served(15, OTHER, "news.example", Ech)), ["served_in_the_clear"]);
        assert_eq!(of(served(15, OTHER, NAME, Esni)), ["served_in_the_clear"]);
        let mut anothers = twin;
        anothers.client.ip = [10, 20, 0, 6].into();
        assert_eq!(of(anothers), ["served_in_the_clear"]);
    }

    #[test]
    fn a_name_nobody_shows_is_compared_with_others_that_are_hidden() {
        use EncryptedName::{Esni, No};
        let hidden = || vec![died(10, "", Some(Hiding::Esni)), died(30, "", Some(Hiding::Esni))];
        let clear = served(20, SITE, "news.example", No);
        assert_eq!(added(hidden(), &[clear]), ["hidden_names_die"]);
        let too = served(20, SITE, "", Esni);
        assert_eq!(added(hidden(), &[clear, too, too]), ["hidden_served_too"]);
        let nothing: [&str; 0] = [];
        assert_eq!(added(hidden(), &[clear, too]), nothing, "more die than are served");
        let elsewhere = served(20, OTHER, "", Esni);
        assert_eq!(
            added(hidden(), &[clear, elsewhere]),
            ["hidden_served_elsewhere", "hidden_names_die"]
        );
    }
}
