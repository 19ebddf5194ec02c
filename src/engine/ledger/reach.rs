//! Which addresses answered whom, and when: tells a black hole from a host that is off, a scan, or an outage.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::trace::{Fate, FlowTrace};
use crate::finding::evidence::{DropsObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Kind};
use crate::time::Timestamp;

/// Flows this close in time share the state of the network: wire-facts 7.2 (a) asks for 5 minutes, a block of minutes
/// for less.
const MEANWHILE: Duration = Duration::from_secs(120);

/// So many silent addresses are no matter of one address.
const MANY: usize = 8;

/// SYNs must be repeated for so long to say that nobody answers.
const WAITED: Duration = Duration::from_millis(2_500);

/// The most neighbours of one address looked at.
const MOST_NEIGHBOURS: usize = 256;

/// The most flows of one client looked at for one finding.
const MOST_COMPARED: usize = 4096;

/// The most flows to one address looked at for one finding: more of them say no more.
const MOST_AT_SERVER: usize = 1 << 14;

/// The flows of a capture, by who opened them and to whom.
#[derive(Debug)]
pub(super) struct Reach<'a> {
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
        Self { by_client, by_server }
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
        let own_silence = client_flows
            .binary_search_by_key(&finding.conversation.first_frame, |trace| trace.first_frame)
            .map_or(Duration::ZERO, |place| client_flows[place].silence);
        let (began, ended) = (finding.at, finding.at.plus(own_silence));
        let to_server = self.by_server.get(&server.ip).map_or(&[][..], Vec::as_slice);
        let to_server = &to_server[..to_server.len().min(MOST_AT_SERVER)];
        let ever_served = to_server
            .iter()
            .any(|trace| trace.fate == Fate::Served && trace.server.port == server.port);
        // Addresses of the other family go another way.
        let comparable = |trace: &&&FlowTrace| trace.server.ip.is_ipv4() == server.ip.is_ipv4();
        for trace in around(client_flows, finding.at).iter().filter(comparable) {
            match trace.fate {
                _ if trace.silence >= WAITED => drop(silent.insert(trace.server.ip)),
                Fate::Unanswered => drop(silent.insert(trace.server.ip)),
                Fate::Served if trace.server.ip == server.ip => {
                    let during = trace.began >= began && trace.began <= ended;
                    same_address_answered |= during || (trace.server.port != server.port && !ever_served);
                }
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
        let dead: Vec<_> = to_server
            .iter()
            .filter(|trace| is_dead(trace))
            .take(MOST_COMPARED)
            .collect();
        let Some(first) = dead.first() else { return };
        let until = |trace: &FlowTrace| trace.began.plus(trace.silence);
        let began = first.began;
        let ended = dead.iter().map(|trace| until(trace)).max().unwrap_or(began);
        let clients: BTreeSet<_> = dead.iter().map(|trace| trace.client.ip).collect();
        let ports: BTreeSet<_> = dead.iter().map(|trace| trace.server.port).collect();
        add(DropsObservation::OnlyThisAddress {
            flows: dead.len() as u32,
            ways: (clients.len() + ports.len()) as u32,
            others: answered.len() as u32,
        });
        let serves = |trace: &&&FlowTrace| trace.fate == Fate::Served;
        let at_other_times = to_server
            .iter()
            .filter(serves)
            .any(|trace| is_dead(trace) || trace.server.port == server.port);
        let meanwhile = to_server
            .iter()
            .filter(serves)
            .any(|trace| !is_dead(trace) && trace.began <= ended && trace.began >= began);
        if at_other_times && !meanwhile {
            let sites: BTreeSet<_> = to_server
                .iter()
                .filter(serves)
                .filter_map(|trace| trace.domain)
                .collect();
            add(DropsObservation::OnlyForATime {
                flows: dead.len() as u32,
                span: ended.since(began),
                clients: clients.len() as u32,
                sites: sites.len() as u32,
                neighbours: self.neighbours(server.ip, began, ended),
            });
        }
    }

    /// How many other addresses of the same network served somebody between the two moments.
    fn neighbours(&self, address: IpAddr, from: Timestamp, until: Timestamp) -> u32 {
        let (low, high) = block(address);
        let served = |traces: &&Vec<&FlowTrace>| {
            traces
                .iter()
                .any(|trace| trace.fate == Fate::Served && trace.began >= from && trace.began <= until)
        };
        self.by_server
            .range(low..=high)
            .filter(|(other, _)| **other != address)
            .map(|(_, traces)| traces)
            .take(MOST_NEIGHBOURS)
            .filter(served)
            .count() as u32
    }
}

/// Whether the flow's SYNs were not answered, to the end or for a time.
fn is_dead(trace: &FlowTrace) -> bool {
    trace.fate == Fate::Unanswered || trace.silence >= WAITED
}

/// The first and the last address of the network one operator has at least: 256 addresses, or 64 bits.
fn block(address: IpAddr) -> (IpAddr, IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            let low = v4.to_bits() & 0xffff_ff00;
            (IpAddr::V4(low.into()), IpAddr::V4((low | 0xff).into()))
        }
        IpAddr::V6(v6) => {
            let low = v6.to_bits() >> 64 << 64;
            (IpAddr::V6(low.into()), IpAddr::V6((low | u128::from(u64::MAX)).into()))
        }
    }
}

/// The flows, sorted by their beginning, that began close to `at`; the first [`MOST_COMPARED`] of them.
fn around<'t, 'a>(traces: &'t [&'a FlowTrace], at: Timestamp) -> &'t [&'a FlowTrace] {
    let first = traces.partition_point(|trace| at.since(trace.began) > MEANWHILE);
    let near = traces[first..].partition_point(|trace| trace.began.since(at) <= MEANWHILE);
    &traces[first..first + near.min(MOST_COMPARED)]
}
