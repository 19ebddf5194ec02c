//! What shows that a resolver itself gave an answer that blocks the name.

use std::fmt;

use super::row::{Row, proof, row};
use crate::finding::weight::Group;
use crate::payload::dns_message::AcknowledgedBlocking;

/// Something about an answer that is, for all its marks tell, the resolver's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BlockAnswerObservation {
    /// The answer says itself, by an extended error, that the name is blocked (RFC 8914 sections 4.5 and 4.16 to 4.18).
    SaysSo(AcknowledgedBlocking),
    /// A search engine's name was given the address or the alias of its locked safe search.
    ForcedSafeSearch,
    /// A public name was answered with an address no public server can have.
    Sinkhole,
    /// A name that cannot exist was given an address: its top-level domain is none, or browsers make such names up to
    /// find exactly this out.
    ImpossibleName,
    /// A name that looks made up at random was given an address.
    ImprobableName,
    /// The packet is as this resolver's others are.
    OwnMarks,
    /// The resolver sits in a private network: whoever runs it decides what it says.
    LocalPolicy,
    /// A private address, given for the names of one domain only: houses and companies answer their own names so.
    SplitHorizon,
    /// The resolver filters because its users want it to.
    ChosenFilter,
}

impl BlockAnswerObservation {
    pub(super) fn row(self) -> Row {
        use Group::{Aftermath, Content, Fingerprint, Header};
        const JUDGED: &str = "[E]";
        match self {
            Self::SaysSo(_) => proof(
                "resolver_says_so",
                Content,
                0.95,
                1e-5,
                "RFC 8914: nobody says so by accident [E]",
            ),
            Self::ForcedSafeSearch => proof(
                "forced_safe_search",
                Fingerprint,
                0.95,
                1e-4,
                "names and addresses as the search engines publish them; margin [E]",
            ),
            Self::Sinkhole => row("sinkhole", Content, 0.90, 0.005, "as bogon_answer [E]"),
            Self::ImpossibleName => row(
                "impossible_name",
                Content,
                0.90,
                0.006,
                "public suffix list; alternative roots are rare [E]",
            ),
            Self::ImprobableName => row("improbable_name", Content, 0.60, 0.004, JUDGED),
            Self::OwnMarks => row("resolvers_own_marks", Header, 0.90, 0.25, JUDGED),
            Self::LocalPolicy => row("local_policy", Aftermath, 0.03, 0.60, "wire-facts 4.3 [E]"),
            Self::SplitHorizon => row("split_horizon", Content, 0.10, 0.80, "wire-facts 4.3 [E]"),
            Self::ChosenFilter => row("chosen_filter", Aftermath, 0.10, 0.50, "wire-facts 4.3 [E]"),
        }
    }
}

impl fmt::Display for BlockAnswerObservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SaysSo(AcknowledgedBlocking::Forged) => {
                "acknowledged blocking: the answer itself says it is made up for policy reasons (RFC 8914, Forged Answer)"
            }
            Self::SaysSo(AcknowledgedBlocking::Blocked) => {
                "acknowledged blocking: the answer itself says its operator blocks the name (RFC 8914, Blocked)"
            }
            Self::SaysSo(AcknowledgedBlocking::Censored) => {
                "acknowledged blocking: the answer itself says the name is blocked by an outside order (RFC 8914, Censored)"
            }
            Self::SaysSo(AcknowledgedBlocking::Filtered) => {
                "acknowledged blocking: the answer itself says the client asked for this filter (RFC 8914, Filtered)"
            }
            Self::ForcedSafeSearch => "the name was given the address of the search engine's locked safe search",
            Self::Sinkhole => "a public name was given an address no public server can have",
            Self::ImpossibleName => "a name that cannot exist was given an address",
            Self::ImprobableName => "a name that looks made up at random was given an address",
            Self::OwnMarks => "the packet is as this resolver's others are: the answer is its own",
            Self::LocalPolicy => "the local resolver's own policy: whoever runs this network decides what it answers",
            Self::SplitHorizon => "a private address, given for no other domain's names: companies answer their own names so",
            Self::ChosenFilter => "this resolver filters because its users want it to",
        })
    }
}
