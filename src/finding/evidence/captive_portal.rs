//! What shows that a network answers everything itself until one logs in.

use std::fmt;

use super::row::{Row, proof, row};
use crate::finding::weight::Group;

/// Something a captive portal does.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum CaptivePortalObservation {
    /// The answer's status is 511 (RFC 6585 section 6).
    LoginRequired,
    /// A request that only asks whether the network is open was redirected.
    ProbeRedirected,
    /// A request that only asks whether the network is open got a page instead of the answer it is known to get.
    ProbeAnsweredOtherwise,
    /// The same address was given for every name asked.
    SameAddressForAllNames {
        /// For how many names in a row.
        names: u16,
    },
    /// The address so given is one of a private network.
    PrivateAddress,
}

impl CaptivePortalObservation {
    pub(super) fn row(self) -> Row {
        use Group::{Content, CrossFlow, Fingerprint};
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        match self {
            Self::LoginRequired => proof(
                "login_required",
                Content,
                0.95,
                1e-4,
                "RFC 6585 section 6; p0 checked: docs/calibration.md",
            ),
            Self::ProbeRedirected => proof(
                "probe_redirected",
                Fingerprint,
                0.95,
                1e-4,
                "the probes' operators never redirect them elsewhere; margin checked: docs/calibration.md",
            ),
            Self::ProbeAnsweredOtherwise => row("probe_answered_otherwise", Fingerprint, 0.90, 0.0005, JUDGED),
            Self::SameAddressForAllNames { .. } => row("same_address_for_all_names", CrossFlow, 0.90, 0.003, JUDGED),
            Self::PrivateAddress => row("private_address", Content, 0.80, 0.05, JUDGED),
        }
    }
}

impl fmt::Display for CaptivePortalObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoginRequired => f.write_str("status 511: the network asks to log in (RFC 6585)"),
            Self::ProbeRedirected => {
                f.write_str("a request that only asks whether the network is open was redirected elsewhere")
            }
            Self::ProbeAnsweredOtherwise => f.write_str(
                "a request that only asks whether the network is open got a page instead of its known answer",
            ),
            Self::SameAddressForAllNames { names } => {
                write!(f, "the resolver gave one address for all of {names} names in a row")
            }
            Self::PrivateAddress => f.write_str("that address belongs to a private network"),
        }
    }
}
