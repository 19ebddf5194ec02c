//! Which flow a packet belongs to, whichever way it goes.

use std::hash::{Hash, Hasher};

use crate::finding::finding::Protocol;
use crate::packet::endpoint::Endpoint;
use crate::packet::host_pair::HostPair;

/// One of the two ends of a flow, by the order of their addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The end with the lower address (then port).
    Low,
    /// The other.
    High,
}

impl End {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }

    /// 0 for the low end, 1 for the high one.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Low => 0,
            Self::High => 1,
        }
    }
}

/// The unordered pair of endpoints and the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    digest: u64,
    low: Endpoint,
    high: Endpoint,
    protocol: Protocol,
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

impl FlowKey {
    /// The key of a packet from `from` to `to`, and which end sent it.
    #[must_use]
    pub fn new(protocol: Protocol, from: Endpoint, to: Endpoint) -> (Self, End) {
        Self::within(HostPair::of(from.ip, to.ip), protocol, from, to)
    }

    /// The same, where the digest of the two hosts is known.
    #[inline]
    #[must_use]
    pub fn within(pair: HostPair, protocol: Protocol, from: Endpoint, to: Endpoint) -> (Self, End) {
        let (low, high, end) = if from.is_low_end_with(&to) {
            (from, to, End::Low)
        } else {
            (to, from, End::High)
        };
        let key = Self {
            digest: pair.with_ports(low.port, high.port, protocol as u8),
            low,
            high,
            protocol,
        };
        (key, end)
    }

    /// A digest of the key: the same in every run, on every machine.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The endpoint at `end`.
    #[must_use]
    pub const fn endpoint(&self, end: End) -> Endpoint {
        match end {
            End::Low => self.low,
            End::High => self.high,
        }
    }

    /// Whether either end uses `port`.
    #[must_use]
    pub const fn has_port(&self, port: u16) -> bool {
        self.low.port == port || self.high.port == port
    }

    /// TCP or UDP.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_one_flow_and_no_other_one() {
        let end = |host: u8, port| Endpoint::new([192, 0, 2, host].into(), port);
        let (one, two) = (end(1, 40_000), end(2, 443));
        let (key, sender) = FlowKey::new(Protocol::Tcp, one, two);
        let (back, receiver) = FlowKey::new(Protocol::Tcp, two, one);
        assert_eq!((key, key.digest(), sender), (back, back.digest(), receiver.other()));
        assert_eq!((key.endpoint(sender), key.endpoint(receiver)), (one, two));
        assert_eq!((End::Low.index(), End::High.index()), (0, 1));
        assert_eq!((End::Low.other(), End::High.other()), (End::High, End::Low));
        for (protocol, one, two) in [
            (Protocol::Udp, one, two),
            (Protocol::Tcp, end(1, 40_001), two),
            (Protocol::Tcp, end(3, 40_000), two),
            (Protocol::Tcp, one, end(2, 80)),
            (Protocol::Tcp, one, end(4, 443)),
        ] {
            let (other, _) = FlowKey::new(protocol, one, two);
            assert!(other != key && other.digest() != key.digest(), "{other:?}");
            assert_eq!(other.protocol(), protocol);
        }
    }
}
