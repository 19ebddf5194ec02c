//! What a TLS handshake shows of who answered it.

use std::fmt;
use std::time::Duration;

use super::row::{Row, proof, row};
use crate::finding::weight::Group::{Content, CrossFlow, Fingerprint, Header, Timing};
use crate::packet::packet::readable;

/// Something seen in TLS handshakes that makes interception more or less likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TlsObservation {
    /// The certificate was issued by an authority known to intercept.
    KnownInterceptor {
        /// The row's confidence that it is no false positive, 0 to 10.
        confidence: u8,
    },
    /// The certificate was issued by what a product calls its authority.
    ProductIssuer,
    /// The certificate was issued by an authority that is none for the public, or by its owner.
    UnlistedIssuer,
    /// A state's authority vouches for a name outside that state's own domain.
    OutsideItsCountry,
    /// The certificate does not cover the name asked for.
    NameNotCovered,
    /// The same client got a public authority's certificate for the same name.
    IssuerChanges {
        /// In how many flows.
        flows: u32,
        /// How the two came about.
        how: IssuerChange,
    },
    /// The same server showed the same client public certificates for other names.
    OthersKeepTheirs {
        /// In how many flows.
        flows: u32,
    },
    /// The client offered TLS 1.3, this name speaks it with this server, and here an older version came about without the
    /// mark a TLS 1.3 server owes.
    VersionFell {
        /// Flows with TLS 1.3.
        flows: u32,
    },
    /// The ServerHello, and all after it, came from another distance than the SYN-ACK.
    HelloFromElsewhere {
        /// The ServerHello's TTL.
        hello: u8,
        /// The SYN-ACK's.
        opening: u8,
    },
    /// The ServerHellos of other names at the same server come from where the SYN-ACK comes from.
    OthersFromTheServer {
        /// In how many flows.
        flows: u32,
    },
    /// The ServerHello took longer than the handshake explains: somebody may have asked the server first.
    LateHello {
        /// Time from the ClientHello.
        after: Duration,
        /// The handshake's round trip as seen from the tap.
        round_trip: Duration,
    },
}

/// How one name came to have two issuers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum IssuerChange {
    /// At different addresses: sites have more than one place, and their owners more than one authority.
    OtherAddress,
    /// At one address, from one to the other: as with a renewal.
    Once,
    /// At one address, back and forth.
    BackAndForth,
}

impl TlsObservation {
    pub(super) const fn row(&self) -> Row {
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        const FACTS: &str = "wire-facts 5.3; p0 checked: docs/calibration.md";
        match self {
            Self::KnownInterceptor { confidence } => match confidence {
                9.. => proof(
                    "known_interceptor",
                    Fingerprint,
                    0.99,
                    1e-6,
                    "exact issuers as published; wire-facts 6.4",
                ),
                7 | 8 => proof("known_interceptor", Fingerprint, 0.95, 1e-4, JUDGED),
                0..=6 => row("known_interceptor", Fingerprint, 0.95, 1e-3, JUDGED),
            },
            Self::ProductIssuer => row(
                "product_issuer",
                Fingerprint,
                0.50,
                0.01,
                "wire-facts 5.5, 8: companies and virus scanners inspect; p0 checked: docs/calibration.md",
            ),
            Self::UnlistedIssuer => row("unlisted_issuer", Fingerprint, 0.50, 0.05, JUDGED),
            Self::OutsideItsCountry => row("outside_its_country", Content, 0.80, 0.02, JUDGED),
            Self::NameNotCovered => row("name_not_covered", Content, 0.05, 0.30, JUDGED),
            Self::IssuerChanges { how, .. } => match how {
                IssuerChange::OtherAddress => row("issuer_changes", CrossFlow, 0.40, 0.15, FACTS),
                IssuerChange::Once => row("issuer_changes", CrossFlow, 0.60, 0.05, FACTS),
                IssuerChange::BackAndForth => row("issuer_changes", CrossFlow, 0.60, 0.003, FACTS),
            },
            Self::OthersKeepTheirs { .. } => row("others_keep_theirs", CrossFlow, 0.80, 0.05, JUDGED),
            Self::VersionFell { .. } => row(
                "version_fell",
                Content,
                0.40,
                0.02,
                "RFC 8446 section 4.1.3; margin checked: docs/calibration.md",
            ),
            Self::HelloFromElsewhere { .. } => row(
                "hello_from_elsewhere",
                Header,
                0.40,
                0.01,
                "0 of 610 packets of controls; raised for proxies in front of servers; p0 checked: docs/calibration.md",
            ),
            Self::OthersFromTheServer { .. } => row("others_from_the_server", CrossFlow, 0.60, 0.01, JUDGED),
            Self::LateHello { .. } => row("late_hello", Timing, 0.50, 0.20, FACTS),
        }
    }
}

impl fmt::Display for TlsObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KnownInterceptor { confidence } => write!(
                f,
                "the certificate was issued by an authority known to intercept (confidence {confidence} of 10)"
            ),
            Self::ProductIssuer => {
                f.write_str("the certificate was issued by a product that inspects TLS, most often for a company")
            }
            Self::UnlistedIssuer => f.write_str("the certificate was issued by nobody the public relies on"),
            Self::OutsideItsCountry => {
                f.write_str("a state's authority vouches for a name outside that state's own domain")
            }
            Self::NameNotCovered => f.write_str("the certificate does not cover the name asked for"),
            Self::IssuerChanges { flows, how } => write!(
                f,
                "the same client got a public authority's certificate for this name in {flows} flows, {}",
                match how {
                    IssuerChange::OtherAddress => "at another address",
                    IssuerChange::Once => "at the same address, before or after",
                    IssuerChange::BackAndForth => "at the same address, in between",
                }
            ),
            Self::OthersKeepTheirs { flows } => write!(
                f,
                "the same server showed this client public certificates for other names in {flows} flows"
            ),
            Self::VersionFell { flows } => write!(
                f,
                "this name speaks TLS 1.3 with this server in {flows} flows; here an older version came about without the mark a server owes"
            ),
            Self::HelloFromElsewhere { hello, opening } => write!(
                f,
                "the ServerHello and all after it arrived with TTL {hello}, the SYN-ACK with {opening}"
            ),
            Self::OthersFromTheServer { flows } => write!(
                f,
                "for other names the same server's hello comes from where its SYN-ACK comes from, in {flows} flows"
            ),
            Self::LateHello { after, round_trip } => write!(
                f,
                "the ServerHello came after {}, though the handshake took {}: somebody may have asked the server first",
                readable(*after),
                readable(*round_trip)
            ),
        }
    }
}
