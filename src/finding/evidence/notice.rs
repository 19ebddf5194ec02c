//! What becomes of a server after a notice in its name: it falls silent, or goes on as if it had sent something else.

use std::fmt;

use super::row::{Row, row};
use crate::finding::weight::Group;

/// Something about a notice that its server's later packets or other flows tell.
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
    /// Servers in unrelated networks, asked for unrelated names, give the same redirect to another site, and fall silent or
    /// go on behind a hole.
    SameFromStrangers {
        /// In how many networks, for how many registrable domains at least.
        servers: u32,
    },
    /// The answer is complete by its own Content-Length, and its sender goes on behind it without another request.
    RunsOn {
        /// By how many bytes, what is missing included.
        by: u32,
    },
    /// What lies behind the answer does not begin where the answer's packet ends.
    HoleBehind {
        /// How many bytes are missing.
        bytes: u32,
    },
    /// The same hole lies behind every answer for this name.
    HoleEveryTime {
        /// Flows that asked for this registrable domain and have it.
        flows: u32,
    },
    /// The server runs on behind its answers for this name, and not where others are asked for. That is a matter of the
    /// program behind a name as a rule.
    RunsOnForThisName {
        /// Flows that asked for this registrable domain, behind whose answer it ran on.
        flows: u32,
        /// Flows that asked for domains for which it never did.
        others: u32,
    },
}

impl NoticeObservation {
    pub(super) fn row(self) -> Row {
        use Group::{Aftermath, CrossFlow, Sequence};
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
            // Programs that count wrong are rare, and most name their server.
            Self::RunsOn { .. } => row("runs_on", Aftermath, 0.60, 0.15, JUDGED),
            // A packet lost before the tap leaves the same; once it says little.
            Self::HoleBehind { .. } => row("hole_behind", Sequence, 0.60, 0.20, JUDGED),
            Self::HoleEveryTime { flows } => match flows {
                3.. => row("hole_every_time", CrossFlow, 0.80, 0.02, JUDGED),
                0..=2 => row("hole_every_time", CrossFlow, 0.80, 0.05, JUDGED),
            },
            Self::RunsOnForThisName { .. } => row("runs_on_for_this_name", CrossFlow, 0.70, 0.20, JUDGED),
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
                "the same redirect came in the name of {servers} servers in unrelated networks, none of which went on as if it had \
                 sent it"
            ),
            Self::RunsOn { by } => write!(
                f,
                "the answer is complete by its own Content-Length, yet its sender goes on for {by} bytes behind it, unasked"
            ),
            Self::HoleBehind { bytes } => write!(
                f,
                "{bytes} bytes are missing between the answer and what its sender sends next: it counts as if it had sent more"
            ),
            Self::HoleEveryTime { flows } => {
                write!(
                    f,
                    "the same hole lies behind the answer in all {flows} flows for this name"
                )
            }
            Self::RunsOnForThisName { flows, others } => write!(
                f,
                "the server went on behind its answer in {flows} flows for this name, and in none of {others} for other names"
            ),
        }
    }
}
