//! Which flow a packet belongs to, whichever way it goes.

use crate::finding::finding::Protocol;
use crate::packet::endpoint::Endpoint;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    low: Endpoint,
    high: Endpoint,
    protocol: Protocol,
}

impl FlowKey {
    /// The key of a packet from `from` to `to`, and which end sent it.
    #[must_use]
    pub fn new(protocol: Protocol, from: Endpoint, to: Endpoint) -> (Self, End) {
        if from <= to {
            (
                Self {
                    low: from,
                    high: to,
                    protocol,
                },
                End::Low,
            )
        } else {
            (
                Self {
                    low: to,
                    high: from,
                    protocol,
                },
                End::High,
            )
        }
    }

    /// The endpoint at `end`.
    #[must_use]
    pub const fn endpoint(&self, end: End) -> Endpoint {
        match end {
            End::Low => self.low,
            End::High => self.high,
        }
    }

    /// TCP or UDP.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }
}
