//! What shows that a QUIC handshake was swallowed on the way.

use std::fmt;

use super::row::{Row, row};
use crate::finding::weight::Group;

/// Something about a QUIC handshake that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QuicDropObservation {
    /// The client's Initials, sent again and again, drew nothing.
    InitialsUnanswered {
        /// How often it tried; datagrams sent at once count as one try.
        tries: u16,
    },
    /// The server answered at first, and then nothing came any more.
    AnsweredThenSilence {
        /// How often the client tried after the server's last packet.
        tries: u16,
    },
}

impl QuicDropObservation {
    pub(super) const fn row(self) -> Row {
        const JUDGED: &str = "as request_unanswered; UDP is more often closed than TCP [E]";
        match self {
            Self::InitialsUnanswered { tries: 4.. } => row("initials_unanswered", Group::Aftermath, 0.95, 0.08, JUDGED),
            Self::InitialsUnanswered { .. } => row("initials_unanswered", Group::Aftermath, 0.90, 0.15, JUDGED),
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
            Self::AnsweredThenSilence { tries } => write!(
                f,
                "the server answered the QUIC handshake at first, then nothing came, though the client tried {tries} times"
            ),
        }
    }
}
