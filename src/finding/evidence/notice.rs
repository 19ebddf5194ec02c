//! What other flows say of a server that answers with a notice and falls silent.

use std::fmt;

use super::row::{Row, row};
use crate::finding::weight::Group;

/// Something about a notice that only other flows tell.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum NoticeObservation {
    /// The server falls silent after its notice whenever this name is asked for, and goes on speaking to the same client
    /// where others are.
    SilentForThisName {
        /// Flows that asked for this registrable domain and ended so.
        flows: u32,
        /// Flows of the same client to the same server that asked for other domains and ended in order.
        others: u32,
    },
    /// Servers in unrelated networks, asked for unrelated names, give the same redirect to another site and fall silent.
    SameFromStrangers {
        /// In how many networks, for how many registrable domains at least.
        servers: u32,
    },
}

impl NoticeObservation {
    pub(super) fn row(self) -> Row {
        use Group::CrossFlow;
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        match self {
            Self::SilentForThisName { flows, .. } => match flows {
                3.. => row(
                    "silent_for_this_name",
                    CrossFlow,
                    0.80,
                    0.01,
                    "as dies_at_the_name: one TCP serves all names of a server; p0 checked: docs/calibration.md",
                ),
                0..=2 => row("silent_for_this_name", CrossFlow, 0.80, 0.12, JUDGED),
            },
            Self::SameFromStrangers { servers } => match servers {
                3.. => row("same_from_strangers", CrossFlow, 0.60, 0.02, JUDGED),
                // Two sites of one owner may stand in two networks.
                0..=2 => row("same_from_strangers", CrossFlow, 0.60, 0.10, JUDGED),
            },
        }
    }
}

impl fmt::Display for NoticeObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SilentForThisName { flows, others } => write!(
                f,
                "in {flows} flows for this name the server fell silent after its notice; {others} of this client's flows for other \
                 names ended there as they should"
            ),
            Self::SameFromStrangers { servers } => write!(
                f,
                "the same redirect came in the name of {servers} servers in unrelated networks, and all fell silent after it"
            ),
        }
    }
}
