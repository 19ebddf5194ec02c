//! What the flows of all shards show of a host: facts no single host pair can tell.
//!
//! Add-only while workers run, and only sums and sets, so that the order of additions does not matter; read by the
//! ledger alone, after the last worker has finished. Which hosts are admitted is each shard's own decision, so that it
//! does not depend on how threads take turns.

use std::net::IpAddr;

use dashmap::DashMap;

/// What is known of one host as a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRecord {
    /// How many of its TCP flows arrived mostly with each TTL, resets left out.
    pub ttls: Vec<(u8, u32)>,
    /// Its flows in which it sent data.
    pub served: u32,
    /// Its flows that were reset in its name before it sent any data.
    pub reset: u32,
}

impl HostRecord {
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
    /// The server.
    pub server: IpAddr,
    /// The TTL its packets arrived with, resets left out.
    pub ttl: Option<u8>,
    /// What came of the flow.
    pub came_to: CameTo,
}

/// What came of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameTo {
    /// The server sent data.
    Served,
    /// It was reset in the server's name before that.
    Reset,
    /// Neither.
    Nothing,
}

/// The hosts of the whole capture.
#[derive(Debug, Default)]
pub struct Baselines {
    hosts: DashMap<IpAddr, HostRecord>,
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
        match outcome.came_to {
            CameTo::Served => record.served = record.served.saturating_add(1),
            CameTo::Reset => record.reset = record.reset.saturating_add(1),
            CameTo::Nothing => {}
        }
    }

    /// What is known of `host`.
    #[must_use]
    pub fn host(&self, host: IpAddr) -> Option<HostRecord> {
        self.hosts.get(&host).map(|record| record.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_additions_does_not_matter() {
        let server = IpAddr::from([192, 0, 2, 1]);
        let outcome = |ttl, came_to| FlowOutcome {
            server,
            ttl: Some(ttl),
            came_to,
        };
        let outcomes = [
            outcome(50, CameTo::Served),
            outcome(60, CameTo::Reset),
            outcome(60, CameTo::Nothing),
        ];
        let there = Baselines::default();
        outcomes.iter().for_each(|outcome| there.add(outcome));
        let back = Baselines::default();
        outcomes.iter().rev().for_each(|outcome| back.add(outcome));
        let (there, back) = (there.host(server).unwrap(), back.host(server).unwrap());
        assert_eq!((there.served, there.reset, there.usual_ttl()), (1, 1, Some(60)));
        assert_eq!((back.served, back.reset, back.usual_ttl()), (1, 1, Some(60)));
    }
}
