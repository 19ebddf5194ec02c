//! What the packets of a TCP stream show of data, ends and openings its sender never sent.

use std::fmt;
use std::time::Duration;

use super::row::{Row, proof, row};
use crate::finding::weight::Group::{Aftermath, Content, Header, Sequence};
use crate::packet::packet::readable;

/// Something seen in a TCP stream that makes interference more or less likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum StreamObservation {
    /// The sender went on as if it had never written these bytes, though its peer had acknowledged them.
    NeverWrote {
        /// Packets of the sender that lie before the end of the bytes.
        packets: u16,
    },
    /// The sender closed its stream before the place these bytes lie at.
    BeyondItsEnd {
        /// By how many bytes they reach beyond the end.
        by: u32,
    },
    /// The same bytes were sent at a place shifted by less than their length: an injector that guesses the place.
    Sprayed {
        /// By how many bytes.
        shift: u32,
    },
    /// The peer repeated itself in vain afterwards: the two ends no longer agree on the place in the stream.
    PeerUnheard {
        /// How often.
        repeats: u16,
    },
    /// The IP id is that of the sender's packet before, though the sender counts its packets.
    IpIdRepeated {
        /// The IP id.
        ip_id: u16,
    },
    /// Both packets take their place in the sender's IP id counter, without a gap: the sender sent both.
    TakesItsPlace,
    /// A second SYN-ACK answers the same SYN with another sequence number.
    RivalSynAck {
        /// Time between the two.
        after: Duration,
    },
    /// The SYN-ACK carries the IP id of the SYN it answers.
    SynAckReflects {
        /// The IP id.
        ip_id: u16,
    },
    /// Data of the server goes on from the other SYN-ACK's sequence number.
    GoesOnFromTheOther,
    /// The same sender sent on after its FIN.
    SentAfterFin {
        /// How many packets.
        packets: u16,
    },
    /// A FIN lies below data its sender had already sent.
    FinBelowData {
        /// By how many bytes.
        by: u32,
    },
    /// The alert's sender sent its ServerHello all the same.
    HelloAfterAlert {
        /// Time between the two.
        after: Duration,
    },
    /// The alert's sender sent on, at the very place of the alert.
    AlertOverwritten,
}

impl StreamObservation {
    pub(super) const fn row(&self) -> Row {
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        match self {
            Self::NeverWrote { .. } => proof(
                "never_wrote",
                Sequence,
                0.50,
                0.002,
                "RFC 9293 section 3.4: a sender does not go back behind what was acknowledged; margin checked: docs/calibration.md",
            ),
            Self::BeyondItsEnd { .. } => proof(
                "beyond_its_end",
                Sequence,
                0.50,
                0.002,
                "RFC 9293 section 3.6: a FIN ends the data; margin checked: docs/calibration.md",
            ),
            Self::Sprayed { .. } => row(
                "sprayed",
                Content,
                0.30,
                0.001,
                "HoneyBadger, sloppy injection; margin checked: docs/calibration.md",
            ),
            Self::PeerUnheard { .. } => row("peer_unheard", Aftermath, 0.60, 0.03, JUDGED),
            Self::IpIdRepeated { .. } => row(
                "ip_id_repeated",
                Header,
                0.30,
                0.003,
                "RFC 6864 section 4.1; margin checked: docs/calibration.md",
            ),
            Self::TakesItsPlace => row(
                "takes_its_place",
                Header,
                0.001,
                0.50,
                "an injector does not move the sender's counter; p0 checked: docs/calibration.md",
            ),
            Self::RivalSynAck { .. } => proof(
                "rival_syn_ack",
                Sequence,
                0.50,
                0.001,
                "HoneyBadger, handshake hijack; wire-facts 6.4; p0 checked: docs/calibration.md",
            ),
            Self::SynAckReflects { .. } => row("syn_ack_reflects", Header, 0.25, 1e-4, "2 in 65 536 by chance; margin"),
            Self::GoesOnFromTheOther => row("goes_on_from_the_other", Aftermath, 0.60, 0.05, JUDGED),
            Self::SentAfterFin { .. } => proof(
                "sent_after_fin",
                Sequence,
                0.50,
                0.002,
                "RFC 9293 section 3.6: a FIN ends the data; margin checked: docs/calibration.md",
            ),
            Self::FinBelowData { .. } => row(
                "fin_below_data",
                Sequence,
                0.50,
                0.005,
                "as a reset below data, Weaver et al. NDSS 2009; margin checked: docs/calibration.md",
            ),
            Self::HelloAfterAlert { .. } => proof(
                "hello_after_alert",
                Sequence,
                0.50,
                0.001,
                "RFC 8446 section 6.2: a fatal alert ends the connection; margin checked: docs/calibration.md",
            ),
            Self::AlertOverwritten => proof(
                "alert_overwritten",
                Sequence,
                0.80,
                0.001,
                "RFC 8446 section 6.2; wire-facts 6.1",
            ),
        }
    }
}

impl fmt::Display for StreamObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverWrote { packets } => write!(
                f,
                "its sender never wrote these bytes: {packets} later packets of it lie before their end, though the peer had acknowledged them"
            ),
            Self::BeyondItsEnd { by } => write!(
                f,
                "these bytes reach {by} bytes beyond the end of their sender's stream"
            ),
            Self::Sprayed { shift } => write!(
                f,
                "the same bytes came again, shifted by {shift}: an injector that guesses the place in the stream"
            ),
            Self::PeerUnheard { repeats } => write!(
                f,
                "afterwards the peer repeated itself {repeats} times in vain: the two ends lost each other"
            ),
            Self::IpIdRepeated { ip_id } => write!(
                f,
                "the IP id {ip_id:#06x} is that of the sender's packet before, though the sender counts its packets"
            ),
            Self::TakesItsPlace => {
                f.write_str("both packets take their place in the sender's IP id counter: it sent both")
            }
            Self::RivalSynAck { after } => write!(
                f,
                "two SYN-ACKs with different sequence numbers answer the same SYN, {} apart",
                readable(*after)
            ),
            Self::SynAckReflects { ip_id } => {
                write!(f, "the SYN-ACK carries the IP id {ip_id:#06x} of the SYN it answers")
            }
            Self::GoesOnFromTheOther => f.write_str("the server goes on from the other SYN-ACK's sequence number"),
            Self::SentAfterFin { packets } => {
                write!(
                    f,
                    "its sender sent {packets} more packets of data after closing the stream"
                )
            }
            Self::FinBelowData { by } => {
                write!(f, "the FIN lies {by} bytes behind data its sender had already sent")
            }
            Self::HelloAfterAlert { after } => write!(
                f,
                "{} after its fatal alert the server sent its ServerHello all the same",
                readable(*after)
            ),
            Self::AlertOverwritten => f.write_str("the server sent other data at the very place of its fatal alert"),
        }
    }
}
