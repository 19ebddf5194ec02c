//! What speaks for and against a flow being slowed down on purpose.

use std::fmt;
use std::time::Duration;

use super::row::{Row, row};
use crate::finding::weight::Group;
use crate::packet::packet::readable;

/// Something seen of how fast a flow runs.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum PaceObservation {
    /// A constant rate with losses all along, and no growing delay.
    Policed {
        /// Segments that came late or again.
        late: u32,
        /// Of so many.
        segments: u32,
    },
    /// A constant rate, and acknowledgements that take longer and longer.
    QueueGrows {
        /// The longest one took.
        longest: Duration,
    },
    /// The rate is one at which boxes are known to throttle.
    KnownRate {
        /// In kbit/s of payload.
        kbit_s: u64,
    },
    /// The flows of this name are slow, those of other names at the same server fast.
    OnlyThisNameSlow {
        /// Slow flows of this name.
        slow: u32,
        /// Flows of other names several times as fast.
        fast: u32,
    },
    /// Flows of other names at the same server are slow too.
    OthersSlowToo {
        /// How many.
        slow: u32,
    },
    /// The same name ran several times as fast as well.
    NameFastToo {
        /// In how many flows.
        fast: u32,
    },
}

impl PaceObservation {
    pub(super) fn row(&self) -> Row {
        use Group::{CrossFlow, Header, Timing};
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        match self {
            Self::Policed { .. } => row(
                "policed",
                Timing,
                0.90,
                0.07,
                "7 % of lossy transfers are policed: Flach et al. 2016",
            ),
            Self::QueueGrows { .. } => row(
                "queue_grows",
                Timing,
                0.80,
                0.06,
                "wire-facts 7.3; p0 checked: docs/calibration.md",
            ),
            Self::KnownRate { .. } => row(
                "known_rate",
                Header,
                0.40,
                0.15,
                "wire-facts 7.4; tariffs after a quota run so too; p0 checked: docs/calibration.md",
            ),
            Self::OnlyThisNameSlow { slow, fast } => match (slow, fast) {
                (3.., 2..) => row(
                    "only_this_name_slow",
                    CrossFlow,
                    0.80,
                    0.005,
                    "wire-facts 7.4; p0 checked: docs/calibration.md",
                ),
                (2, 2..) => row(
                    "only_this_name_slow",
                    CrossFlow,
                    0.80,
                    0.01,
                    "wire-facts 7.4; p0 checked: docs/calibration.md",
                ),
                (_, _) => row("only_this_name_slow", CrossFlow, 0.80, 0.08, JUDGED),
            },
            Self::OthersSlowToo { .. } => row("others_slow_too", CrossFlow, 0.03, 0.60, JUDGED),
            Self::NameFastToo { .. } => row("name_fast_too", CrossFlow, 0.05, 0.60, JUDGED),
        }
    }
}

impl fmt::Display for PaceObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policed { late, segments } => write!(
                f,
                "the flow runs at a constant rate, and {late} of {segments} segments were lost on the way, while round trips stayed short"
            ),
            Self::QueueGrows { longest } => write!(
                f,
                "the flow runs at a constant rate, and acknowledgements take many times as long as in the handshake, up to {}",
                readable(*longest)
            ),
            Self::KnownRate { kbit_s } => write!(f, "{kbit_s} kbit/s is a rate at which boxes are known to throttle"),
            Self::OnlyThisNameSlow { slow, fast } => write!(
                f,
                "{slow} flows of this name are slow, while {fast} of other names at the same server run at least three times as fast"
            ),
            Self::OthersSlowToo { slow } => write!(f, "{slow} flows of other names at the same server are slow too"),
            Self::NameFastToo { fast } => write!(f, "{fast} flows of the same name run at least three times as fast"),
        }
    }
}
