//! What the flows of all shards show of a host: facts no single host pair can tell.
//!
//! Add-only while workers run, and only sums and sets, so that the order of additions does not matter; read by the
//! ledger alone, after the last worker has finished. Which hosts are admitted is each shard's own decision, so that it
//! does not depend on how threads take turns.

use std::net::IpAddr;
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::payload::dns_name::hash_dotted;
use crate::payload::public_suffix::registrable;

/// What is known of one registrable domain at one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NameRecord {
    /// Flows that asked for it and were served.
    pub served: u32,
    /// Flows that asked for it and were not.
    pub failed: u32,
}

/// What is known of one host as a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostRecord {
    /// How many of its TCP flows arrived mostly with each TTL, resets left out.
    pub ttls: Vec<(u8, u32)>,
    /// The shortest time from a SYN to its SYN-ACK, as seen from the tap, and in how many flows it could be measured.
    pub round_trip: Option<(Duration, u32)>,
    /// Its flows in which it sent more than a SYN-ACK or a reset.
    pub reacted: u32,
    /// Its flows in which it sent data.
    pub served: u32,
    /// Of these, flows that asked for a name.
    pub served_by_name: u32,
    /// The largest segment a client sent in a flow that was served, with this host at either end, in bytes.
    pub largest_served: u16,
}

impl HostRecord {
    fn absorb(&mut self, other: &Self) {
        for (ttl, flows) in &other.ttls {
            match self.ttls.iter_mut().find(|(seen, _)| seen == ttl) {
                Some((_, counted)) => *counted = counted.saturating_add(*flows),
                None => self.ttls.push((*ttl, *flows)),
            }
        }
        self.round_trip = match (self.round_trip, other.round_trip) {
            (Some((one, flows)), Some((two, more))) => Some((one.min(two), flows.saturating_add(more))),
            (one, two) => one.or(two),
        };
        self.reacted = self.reacted.saturating_add(other.reacted);
        self.served = self.served.saturating_add(other.served);
        self.served_by_name = self.served_by_name.saturating_add(other.served_by_name);
        self.largest_served = self.largest_served.max(other.largest_served);
    }

    /// The TTL most of its flows arrived with; the higher one on a tie.
    #[must_use]
    pub fn usual_ttl(&self) -> Option<u8> {
        self.ttls
            .iter()
            .max_by_key(|(ttl, flows)| (*flows, *ttl))
            .map(|(ttl, _)| *ttl)
    }
}

/// What one flow shows of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowOutcome {
    /// The client.
    pub client: IpAddr,
    /// The largest segment the client sent, in bytes of payload.
    pub largest: u16,
    /// The server.
    pub server: IpAddr,
    /// The TTL its packets arrived with, resets left out.
    pub ttl: Option<u8>,
    /// The time from its SYN to its SYN-ACK, where that is unambiguous.
    pub round_trip: Option<Duration>,
    /// The registrable domain the client asked for.
    pub domain: Option<DomainId>,
    /// Whether the server sent more than a SYN-ACK or a reset.
    pub reacted: bool,
    /// What came of the flow.
    pub came_to: CameTo,
}

/// What came of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameTo {
    /// The client got data of the server.
    Served,
    /// It asked and got none.
    Failed,
    /// It never asked.
    Nothing,
}

/// A registrable domain, as a digest that is the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct DomainId(u64);

impl DomainId {
    /// The registrable domain of `name` (by the public suffix list), or `name` itself where there is none.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(hash_dotted(registrable(name).unwrap_or(name)))
    }
}

/// The hosts of the whole capture.
#[derive(Debug, Default)]
pub struct Baselines {
    hosts: DashMap<IpAddr, HostRecord, RandomState>,
    names: DashMap<(IpAddr, DomainId), NameRecord, RandomState>,
}

impl Baselines {
    /// Adds what one flow showed.
    pub fn add(&self, outcome: &FlowOutcome) {
        let mut record = self.hosts.entry(outcome.server).or_default();
        if let Some(ttl) = outcome.ttl {
            match record.ttls.iter_mut().find(|(seen, _)| *seen == ttl) {
                Some((_, flows)) => *flows = flows.saturating_add(1),
                // 256 at most: a TTL is a byte.
                None => record.ttls.push((ttl, 1)),
            }
        }
        if let Some(measured) = outcome.round_trip {
            let (shortest, flows) = record.round_trip.unwrap_or((measured, 0));
            record.round_trip = Some((shortest.min(measured), flows.saturating_add(1)));
        }
        record.reacted = record.reacted.saturating_add(u32::from(outcome.reacted));
        let served = outcome.came_to == CameTo::Served;
        record.served = record.served.saturating_add(u32::from(served));
        record.served_by_name = record
            .served_by_name
            .saturating_add(u32::from(served && outcome.domain.is_some()));
        if served {
            record.largest_served = record.largest_served.max(outcome.largest);
        }
        drop(record);
        if served {
            let mut client = self.hosts.entry(outcome.client).or_default();
            client.largest_served = client.largest_served.max(outcome.largest);
        }
        let Some(domain) = outcome.domain else { return };
        let mut name = self.names.entry((outcome.server, domain)).or_default();
        match outcome.came_to {
            CameTo::Served => name.served = name.served.saturating_add(1),
            CameTo::Failed => name.failed = name.failed.saturating_add(1),
            CameTo::Nothing => {}
        }
    }

    /// How many hosts and names it holds: what its memory grows with.
    #[must_use]
    pub fn size(&self) -> usize {
        self.hosts.len() + self.names.len()
    }

    /// Forgets everything. Only while no worker adds.
    pub fn clear(&self) {
        self.hosts.clear();
        self.names.clear();
    }

    /// Adds what another part of the run showed, as long as there are fewer than `most` hosts and names.
    pub(super) fn absorb(&self, other: Self, most: usize) {
        // In order, so that what there is room for does not depend on how maps are laid out.
        let (hosts, names) = other.into_lists();
        for (host, shown) in hosts {
            if self.size() >= most && !self.hosts.contains_key(&host) {
                continue;
            }
            self.hosts.entry(host).or_default().absorb(&shown);
        }
        for (name, shown) in names {
            if self.size() >= most && !self.names.contains_key(&name) {
                continue;
            }
            let mut record = self.names.entry(name).or_default();
            record.served = record.served.saturating_add(shown.served);
            record.failed = record.failed.saturating_add(shown.failed);
        }
    }

    fn into_lists(self) -> Lists {
        in_order(self.hosts.into_iter(), self.names.into_iter())
    }

    /// What is known of `domain` at `server`.
    #[must_use]
    pub fn name(&self, server: IpAddr, domain: DomainId) -> Option<NameRecord> {
        self.names.get(&(server, domain)).map(|record| *record)
    }

    /// What is known of `host`.
    #[must_use]
    pub fn host(&self, host: IpAddr) -> Option<HostRecord> {
        self.hosts.get(&host).map(|record| record.clone())
    }
}

/// Hosts, then names, each in order: the same baselines give the same bytes.
type Lists = (Vec<(IpAddr, HostRecord)>, Vec<((IpAddr, DomainId), NameRecord)>);

fn in_order(
    hosts: impl Iterator<Item = (IpAddr, HostRecord)>,
    names: impl Iterator<Item = ((IpAddr, DomainId), NameRecord)>,
) -> Lists {
    let (mut hosts, mut names): Lists = (hosts.collect(), names.collect());
    hosts.sort_by_key(|(host, _)| *host);
    names.sort_by_key(|(name, _)| *name);
    (hosts, names)
}

impl Serialize for Baselines {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        let hosts = self.hosts.iter().map(|entry| (*entry.key(), entry.value().clone()));
        let names = self.names.iter().map(|entry| (*entry.key(), *entry.value()));
        in_order(hosts, names).serialize(target)
    }
}

impl<'de> Deserialize<'de> for Baselines {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let (hosts, names): Lists = Deserialize::deserialize(source)?;
        Ok(Self {
            hosts: hosts.into_iter().collect(),
            names: names.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_additions_does_not_matter() {
        let server = IpAddr::from([192, 0, 2, 1]);
        let domain = Some(DomainId::of("www.example.org"));
        let outcome = |ttl, came_to| FlowOutcome {
            client: IpAddr::from([198, 51, 100, 1]),
            largest: 517,
            server,
            ttl: Some(ttl),
            round_trip: None,
            domain,
            reacted: true,
            came_to,
        };
        let outcomes = [
            outcome(50, CameTo::Served),
            outcome(60, CameTo::Failed),
            outcome(60, CameTo::Nothing),
        ];
        let there = Baselines::default();
        outcomes.iter().for_each(|outcome| there.add(outcome));
        let back = Baselines::default();
        outcomes.iter().rev().for_each(|outcome| back.add(outcome));
        let parts = Baselines::default();
        for outcome in &outcomes {
            let part = Baselines::default();
            part.add(outcome);
            parts.absorb(part, 100);
        }
        for baselines in [there, back, parts] {
            let host = baselines.host(server).unwrap();
            assert_eq!((host.served, host.served_by_name, host.usual_ttl()), (1, 1, Some(60)));
            let name = baselines.name(server, DomainId::of("example.org")).unwrap();
            assert_eq!(name, NameRecord { served: 1, failed: 1 });
        }
    }
}
