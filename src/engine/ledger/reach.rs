//! Which addresses answered whom, and when: tells a black hole from a host that is off, a scan, or an outage.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind};
use crate::finding::verdict::Prior;
use crate::time::Timestamp;

/// Flows this close in time share the state of the network: wire-facts 7.2 (a) asks for 5 minutes, a block of minutes
/// for less.
const MEANWHILE: Duration = Duration::from_secs(120);

/// So many silent addresses are no matter of one address.
const MANY: usize = 8;

/// The most flows of one client looked at for one finding.
const MOST_COMPARED: usize = 4096;

/// Networks that must fall silent together to speak of a shutdown, and for how long (wire-facts 7.5).
const LEAST_NETWORKS: usize = 8;
const LEAST_SPAN: Duration = Duration::from_secs(60);

/// Ports below this are those of services (RFC 6335 section 6: system ports).
const SERVICES: u16 = 1024;

/// The flows of a capture, by who opened them and to whom.
#[derive(Debug)]
pub(super) struct Reach<'a> {
    traces: &'a [FlowTrace],
    by_client: BTreeMap<IpAddr, Vec<&'a FlowTrace>>,
    by_server: BTreeMap<IpAddr, Vec<&'a FlowTrace>>,
}

impl<'a> Reach<'a> {
    /// `traces` are in capture order.
    pub(super) fn of(traces: &'a [FlowTrace]) -> Self {
        let mut by_client = BTreeMap::<_, Vec<_>>::new();
        let mut by_server = BTreeMap::<_, Vec<_>>::new();
        for trace in traces {
            by_client.entry(trace.client.ip).or_default().push(trace);
            by_server.entry(trace.server.ip).or_default().push(trace);
        }
        Self {
            traces,
            by_client,
            by_server,
        }
    }

    /// Compares a flow that found no way to its address with the others.
    pub(super) fn compare(&self, finding: &mut Finding) {
        if finding.kind != Kind::IpBlackhole {
            return;
        }
        let (client, server) = (finding.conversation.client.ip, finding.conversation.server);
        let mut silent = BTreeSet::new();
        let mut answered = BTreeSet::new();
        let mut same_address_answered = false;
        let client_flows = self.by_client.get(&client).map_or(&[][..], Vec::as_slice);
        // Addresses of the other family go another way.
        let comparable = |trace: &&&FlowTrace| trace.server.ip.is_ipv4() == server.ip.is_ipv4();
        for trace in around(client_flows, finding.at).iter().filter(comparable) {
            match trace.fate {
                Fate::Unanswered => drop(silent.insert(trace.server.ip)),
                Fate::Served if trace.server.ip == server.ip => same_address_answered = true,
                Fate::Served => drop(answered.insert(trace.server.ip)),
                Fate::Refused | Fate::Reached | Fate::Died => {}
            }
        }
        let mut add = |observation| {
            finding
                .evidence
                .push(Evidence::at(Observation::Drops(observation), &[]))
        };
        if silent.len() >= MANY && silent.len() > answered.len() {
            add(DropsObservation::ManyAddressesSilent {
                addresses: silent.len() as u32,
            });
            return;
        }
        if answered.is_empty() {
            add(DropsObservation::NothingElseWorks);
            return;
        }
        // An address that answers on another port meanwhile has a closed port.
        if same_address_answered {
            return;
        }
        let to_server = self.by_server.get(&server.ip).map_or(&[][..], Vec::as_slice);
        let dead: Vec<_> = to_server
            .iter()
            .filter(|trace| trace.fate == Fate::Unanswered)
            .take(MOST_COMPARED)
            .collect();
        let (Some(first), Some(last)) = (dead.first(), dead.last()) else {
            return;
        };
        let clients: BTreeSet<_> = dead.iter().map(|trace| trace.client.ip).collect();
        let ports: BTreeSet<_> = dead.iter().map(|trace| trace.server.port).collect();
        add(DropsObservation::OnlyThisAddress {
            flows: dead.len() as u32,
            ways: (clients.len() + ports.len()) as u32,
            others: answered.len() as u32,
        });
        let (began, ended) = (first.began, last.ended);
        let serves = |trace: &&&FlowTrace| trace.fate == Fate::Served && trace.server.port == server.port;
        let at_other_times = to_server.iter().filter(serves).count();
        let meanwhile = to_server
            .iter()
            .filter(serves)
            .any(|trace| trace.began <= ended && trace.began >= began);
        if at_other_times > 0 && !meanwhile {
            add(DropsObservation::OnlyForATime {
                flows: dead.len() as u32,
                span: ended.since(began),
            });
        }
    }

    /// Turns the black holes of a shutdown into one finding.
    pub(super) fn tell_shutdown(&self, findings: &mut Vec<Finding>) {
        // Peers come and go; services stay.
        let services = || self.traces.iter().filter(|trace| trace.server.port < SERVICES);
        let dead = || services().filter(|trace| trace.fate == Fate::Unanswered);
        let (Some(began), Some(ended)) = (
            dead().map(|trace| trace.began).min(),
            dead().map(|trace| trace.ended).max(),
        ) else {
            return;
        };
        let within = |at: Timestamp| at >= began && at <= ended;
        let served = || services().filter(|trace| trace.fate == Fate::Served);
        let silent: BTreeSet<_> = dead().map(|trace| Network::of(trace.server.ip)).collect();
        let working: BTreeSet<_> = served()
            .filter(|trace| within(trace.began))
            .map(|trace| Network::of(trace.server.ip))
            .collect();
        let at_other_times: BTreeSet<_> = served()
            .filter(|trace| !within(trace.began))
            .map(|trace| Network::of(trace.server.ip))
            .collect();
        // A scan finds silence where nothing ever answered; what works at other times was cut.
        let cut = silent
            .difference(&working)
            .filter(|network| at_other_times.contains(network))
            .count();
        let enough = cut >= LEAST_NETWORKS
            && cut * 4 >= silent.len() * 3
            && cut >= working.len() * 3
            && !working.is_empty()
            && ended.since(began) >= LEAST_SPAN;
        if !enough {
            return;
        }
        let is_part = |finding: &Finding| {
            matches!(finding.kind, Kind::IpBlackhole | Kind::SilentDrop | Kind::QuicDrop) && within(finding.at)
        };
        let Some(mut shutdown) = findings
            .iter()
            .find(|finding| finding.kind == Kind::IpBlackhole && within(finding.at))
            .cloned()
        else {
            return;
        };
        shutdown.dropped = findings
            .iter()
            .filter(|finding| finding.kind == Kind::IpBlackhole && is_part(finding))
            .map(|finding| finding.decided_by)
            .collect();
        shutdown.kind = Kind::Shutdown;
        shutdown.prior = Prior::Abnormal;
        shutdown.evidence.retain(|item| {
            matches!(
                item.observation,
                Observation::Drops(DropsObservation::SynsUnanswered { .. })
            )
        });
        let fell_silent = DropsObservation::NetworksFellSilent {
            silent: cut as u32,
            working: working.len() as u32,
        };
        shutdown
            .evidence
            .push(Evidence::at(Observation::Drops(fell_silent), &shutdown.dropped));
        let place = findings.iter().position(is_part).unwrap_or(0);
        findings.retain(|finding| !is_part(finding));
        findings.insert(place.min(findings.len()), shutdown);
    }
}

/// A network as routes are announced: the /16 of an IPv4 address, the /32 of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Network(bool, u32);

impl Network {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(true, u32::from(address) >> 16),
            IpAddr::V6(address) => Self(false, (u128::from(address) >> 96) as u32),
        }
    }
}

/// The flows, sorted by their beginning, that began close to `at`; the first [`MOST_COMPARED`] of them.
fn around<'t, 'a>(traces: &'t [&'a FlowTrace], at: Timestamp) -> &'t [&'a FlowTrace] {
    let first = traces.partition_point(|trace| at.since(trace.began) > MEANWHILE);
    let near = traces[first..].partition_point(|trace| trace.began.since(at) <= MEANWHILE);
    &traces[first..first + near.min(MOST_COMPARED)]
}
