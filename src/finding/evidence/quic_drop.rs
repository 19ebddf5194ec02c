//! What shows that a QUIC handshake was swallowed on the way.

use std::fmt;

use super::row::{Row, row};
use crate::finding::weight::Group;

/// Something about a QUIC handshake that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum QuicDropObservation {
    /// The client's Initials, sent again and again, drew nothing.
    InitialsUnanswered {
        /// How often it tried; datagrams sent at once count as one try.
        tries: u16,
    },
    /// The same server served the same client other names over QUIC, and never this one.
    OnlyThisName {
        /// Handshakes for the name that failed there.
        failed: u32,
        /// Handshakes of the client there that came through.
        others_served: u32,
    },
    /// The client and the server do talk over TCP.
    TcpWorks,
    /// No QUIC handshake of this client came through anywhere.
    NoHandshakeWorks,
    /// The server answered at first, and then nothing came any more.
    AnsweredThenSilence {
        /// How often the client tried after the server's last packet.
        tries: u16,
    },
}

impl QuicDropObservation {
    pub(super) const fn row(self) -> Row {
        const JUDGED: &str =
            "as request_unanswered; UDP is more often closed than TCP; p0 checked: docs/calibration.md";
        const OTHERS: &str = "wire-facts 5.4 and 7.2 (a); p0 checked: docs/calibration.md";
        match self {
            Self::InitialsUnanswered { tries: 4.. } => row("initials_unanswered", Group::Aftermath, 0.95, 0.08, JUDGED),
            Self::InitialsUnanswered { .. } => row("initials_unanswered", Group::Aftermath, 0.90, 0.15, JUDGED),
            // A server that speaks QUIC answers a name it does not have, if only to close.
            Self::OnlyThisName { failed, others_served } => match (failed, others_served) {
                (2.., 2..) => row("only_this_name_fails", Group::CrossFlow, 0.90, 0.005, OTHERS),
                (_, 2..) => row("only_this_name_fails", Group::CrossFlow, 0.90, 0.01, OTHERS),
                _ => row("only_this_name_fails", Group::CrossFlow, 0.90, 0.06, OTHERS),
            },
            Self::TcpWorks => row("tcp_works", Group::Header, 0.60, 0.40, OTHERS),
            Self::NoHandshakeWorks => row("no_handshake_works", Group::CrossFlow, 0.10, 0.60, OTHERS),
            Self::AnsweredThenSilence { .. } => row("answered_then_silence", Group::Aftermath, 0.80, 0.10, JUDGED),
        }
    }
}

impl fmt::Display for QuicDropObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InitialsUnanswered { tries } => {
                write!(
                    f,
                    "the client began the QUIC handshake {tries} times, and nothing came back"
                )
            }
            Self::OnlyThisName { failed, others_served } => write!(
                f,
                "{failed} handshakes for this name failed at a server that served the client other names over QUIC in {others_served}"
            ),
            Self::TcpWorks => f.write_str("the same client and server do talk over TCP"),
            Self::NoHandshakeWorks => f.write_str("no QUIC handshake of this client came through anywhere"),
            Self::AnsweredThenSilence { tries } => write!(
                f,
                "the server answered the QUIC handshake at first, then nothing came, though the client tried {tries} times"
            ),
        }
    }
}
