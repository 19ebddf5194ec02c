//! What an ICMP error that forbids a flow shows of who says so, and whether it is so.

use std::fmt;

use super::row::{Row, proof, row};
use crate::finding::weight::Group::{Aftermath, Content, CrossFlow, Fingerprint, Header};

/// Something seen of an ICMP error that says "administratively prohibited".
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum IcmpObservation {
    /// A box says that it was told to refuse this flow, and quotes a packet of it.
    SaysProhibited {
        /// The ICMP or ICMPv6 code.
        code: u8,
    },
    /// An ICMPv6 error that speaks of the source address or of routes, which may be the network's plan (codes 5 and 6).
    SaysUnroutable {
        /// The ICMPv6 code.
        code: u8,
    },
    /// The handshake was let through, and the packet with the name was refused.
    RefusesTheName,
    /// The quoted packet arrived all the same.
    ArrivedAllTheSame,
    /// After the error nothing came of the flow.
    FlowDied {
        /// Packets the other side was sent in vain, from the refused one on.
        tries: u16,
    },
    /// The error is the destination's own: its host or its firewall refuses.
    SaidByTheDestination,
    /// The error's sender stands at the destination's door, by its distance.
    AtTheDestinationsDoor {
        /// Hops from the tap to the error's sender.
        hops: u8,
        /// Hops from the tap to the destination.
        destination: u8,
    },
    /// The error's sender is nearer to the client than halfway to where others are.
    NearTheClient {
        /// Hops from the tap to the error's sender.
        hops: u8,
        /// Hops from the tap to the other hosts the client reached, in the middle.
        others: u8,
    },
    /// The error's sender is farther from the client than halfway to where others are.
    FarFromTheClient {
        /// Hops from the tap to the error's sender.
        hops: u8,
        /// Hops from the tap to the other hosts the client reached, in the middle.
        others: u8,
    },
    /// The error comes from a private address: the client's own network may have rules of its own.
    SaidNextDoor,
    /// The same client reached others in the same minutes.
    OthersPass {
        /// Flows to this address that were refused.
        refused: u32,
        /// Clients and ports that are concerned, together.
        ways: u32,
        /// Other hosts that answered the client in the same minutes.
        others: u32,
    },
    /// The same address serves the same client on another port, or at other times.
    ServedOtherwise {
        /// In how many flows.
        flows: u32,
    },
    /// The client was refused at many places: a scan, or a network that lets nobody out.
    RefusedManyTimes {
        /// At how many addresses and ports.
        places: u32,
    },
    /// Nothing else worked for this client in the same minutes.
    NothingElsePasses,
}

impl IcmpObservation {
    pub(super) const fn row(&self) -> Row {
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        const FACTS: &str = "wire-facts 7.6; p0 checked: docs/calibration.md";
        match self {
            Self::SaysProhibited { .. } => row("says_prohibited", Fingerprint, 0.90, 0.05, FACTS),
            Self::SaysUnroutable { .. } => row("says_unroutable", Fingerprint, 0.40, 0.10, FACTS),
            Self::RefusesTheName => proof(
                "refuses_the_name",
                Content,
                0.60,
                0.01,
                "rules for addresses refuse the SYN, RFC 1812 section 5.3.9; margin checked: docs/calibration.md",
            ),
            Self::ArrivedAllTheSame => row("arrived_all_the_same", Aftermath, 0.02, 0.60, JUDGED),
            Self::FlowDied { .. } => row("flow_died", Aftermath, 0.90, 0.50, JUDGED),
            Self::SaidByTheDestination => row(
                "said_by_the_destination",
                Header,
                0.02,
                0.60,
                "wire-facts 7.6: host firewalls reject; p0 checked: docs/calibration.md",
            ),
            Self::AtTheDestinationsDoor { .. } => row("at_the_destinations_door", Header, 0.05, 0.50, JUDGED),
            Self::NearTheClient { .. } => row("near_the_client", Header, 0.70, 0.30, JUDGED),
            Self::FarFromTheClient { .. } => row("far_from_the_client", Header, 0.10, 0.70, JUDGED),
            Self::SaidNextDoor => row("said_next_door", Header, 0.10, 0.50, JUDGED),
            Self::OthersPass { refused, ways, .. } => match (*refused, *ways) {
                (3.., 3..) => row("others_pass", CrossFlow, 0.90, 0.03, JUDGED),
                (2.., _) => row("others_pass", CrossFlow, 0.90, 0.10, JUDGED),
                (0 | 1, _) => row("others_pass", CrossFlow, 0.90, 0.20, JUDGED),
            },
            Self::ServedOtherwise { .. } => row(
                "served_otherwise",
                CrossFlow,
                0.10,
                0.50,
                "rules for single ports are the destination's, as a rule; p0 checked: docs/calibration.md",
            ),
            Self::RefusedManyTimes { .. } => row("refused_many_times", CrossFlow, 0.01, 0.60, JUDGED),
            Self::NothingElsePasses => row("nothing_else_passes", CrossFlow, 0.03, 0.60, JUDGED),
        }
    }
}

impl fmt::Display for IcmpObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SaysProhibited { code } => write!(
                f,
                "an ICMP error quotes a packet of this flow and says that it is administratively prohibited (code {code})"
            ),
            Self::SaysUnroutable { code } => write!(
                f,
                "an ICMPv6 error quotes a packet of this flow and says that its addresses have no way here (code {code})"
            ),
            Self::RefusesTheName => {
                f.write_str("the handshake was let through; refused was the very packet that carries the name")
            }
            Self::ArrivedAllTheSame => f.write_str("the refused packet arrived all the same: the flow went on"),
            Self::FlowDied { tries } => write!(
                f,
                "after the error nothing came of the flow, though the packet and what follows it were sent {tries} times"
            ),
            Self::SaidByTheDestination => f.write_str("the destination itself says so: a firewall of its own"),
            Self::AtTheDestinationsDoor { hops, destination } => write!(
                f,
                "who says so is {hops} hops away and the destination {destination}: a rule of the destination's network"
            ),
            Self::NearTheClient { hops, others } => write!(
                f,
                "who says so is {hops} hops away, and the hosts the client reaches are {others}: it stands on the client's half of the way"
            ),
            Self::FarFromTheClient { hops, others } => write!(
                f,
                "who says so is {hops} hops away, and the hosts the client reaches are {others}: it may belong to the destination's network"
            ),
            Self::SaidNextDoor => {
                f.write_str("who says so has a private address: the client's own network may have rules")
            }
            Self::OthersPass { refused, ways, others } => write!(
                f,
                "{refused} flows to this address are refused ({ways} clients and ports), while {others} other hosts answered the client in the same minutes"
            ),
            Self::ServedOtherwise { flows } => write!(
                f,
                "the same address served the same client in {flows} flows on other ports or at other times"
            ),
            Self::RefusedManyTimes { places } => write!(
                f,
                "the client was refused at {places} addresses and ports: a scan, or a network that lets nobody out"
            ),
            Self::NothingElsePasses => f.write_str("nothing else worked for this client in the same minutes"),
        }
    }
}
