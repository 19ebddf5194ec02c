//! What shows that a resolver itself gave an answer that blocks the name.

use std::fmt;

use super::row::{Row, proof, row};
use crate::finding::weight::Group;
use crate::payload::dns_message::AcknowledgedBlocking;

/// Something about an answer that is, for all its marks tell, the resolver's own.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
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
    /// The resolver gave the same address to names that cannot exist.
    AddressOfMadeUpNames,
    /// The page at the address leads to another site's search page about this very name.
    LeadsToSearchGuide,
    /// An HTTP answer leads to another site's search page about the very name asked for.
    SearchGuide,
    /// An HTTP answer leads back to the asker's own machine.
    LeadsBackToAsker,
    /// The address answered at was given by a resolver that lied about this name.
    AddressFromLie,
    /// The packet is as this resolver's others are.
    OwnMarks,
    /// Too little is known of this resolver's packets to tell whether this is one.
    MarksUnknown,
    /// The resolver sits in a private network: whoever runs it decides what it says.
    LocalPolicy,
    /// A private address, given for the names of one domain only: houses and companies answer their own names so.
    SplitHorizon,
    /// The resolver filters because its users want it to.
    ChosenFilter,
}

impl BlockAnswerObservation {
    pub(super) fn row(self) -> Row {
        use Group::{Aftermath, Content, CrossFlow, Fingerprint, Header};
        const JUDGED: &str = "judged; p0 checked: docs/calibration.md";
        match self {
            Self::SaysSo(_) => proof(
                "resolver_says_so",
                Content,
                0.95,
                1e-5,
                "RFC 8914: nobody says so by accident; p0 checked: docs/calibration.md",
            ),
            Self::ForcedSafeSearch => proof(
                "forced_safe_search",
                Fingerprint,
                0.95,
                1e-4,
                "names and addresses as the search engines publish them; margin checked: docs/calibration.md",
            ),
            Self::Sinkhole => row(
                "sinkhole",
                Content,
                0.90,
                0.005,
                "as bogon_answer; p0 checked: docs/calibration.md",
            ),
            Self::ImpossibleName => row(
                "impossible_name",
                Content,
                0.90,
                0.006,
                "public suffix list; alternative roots are rare; p0 checked: docs/calibration.md",
            ),
            Self::ImprobableName => row("improbable_name", Content, 0.60, 0.004, JUDGED),
            Self::AddressOfMadeUpNames => row("address_of_made_up_names", Content, 0.80, 0.005, JUDGED),
            Self::LeadsToSearchGuide => row("leads_to_search_guide", CrossFlow, 0.60, 0.01, JUDGED),
            Self::SearchGuide => row(
                "search_guide",
                Content,
                0.70,
                0.01,
                "parked names lead to such pages, too; p0 checked: docs/calibration.md",
            ),
            Self::LeadsBackToAsker => row("leads_back_to_asker", Content, 0.30, 0.005, JUDGED),
            Self::AddressFromLie => row("address_from_lie", CrossFlow, 0.90, 0.01, JUDGED),
            Self::OwnMarks => row("resolvers_own_marks", Header, 0.90, 0.25, JUDGED),
            Self::MarksUnknown => row("resolvers_marks_unknown", Header, 0.20, 0.60, JUDGED),
            Self::LocalPolicy => row(
                "local_policy",
                CrossFlow,
                0.005,
                0.60,
                "wire-facts 4.3; p0 checked: docs/calibration.md",
            ),
            Self::SplitHorizon => row(
                "split_horizon",
                Content,
                0.10,
                0.80,
                "wire-facts 4.3; p0 checked: docs/calibration.md",
            ),
            Self::ChosenFilter => row(
                "chosen_filter",
                Aftermath,
                0.10,
                0.50,
                "wire-facts 4.3; p0 checked: docs/calibration.md",
            ),
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
            Self::AddressOfMadeUpNames => "the resolver gave the same address to names that cannot exist",
            Self::LeadsToSearchGuide => "the page at that address leads to a search page about this very name",
            Self::SearchGuide => "the answer leads to another site's search page about the very name asked for",
            Self::LeadsBackToAsker => "the answer leads back to the asker's own machine",
            Self::AddressFromLie => {
                "the resolver gave this server's address to a name it rewrites or blocks: the page is not the site's"
            }
            Self::OwnMarks => "the packet is as this resolver's others are: the answer is its own",
            Self::MarksUnknown => "too little is known of this resolver's packets to tell whether this is one",
            Self::LocalPolicy => "the local resolver's own policy: whoever runs this network decides what it answers",
            Self::SplitHorizon => "a private address, given for no other domain's names: companies answer their own names so",
            Self::ChosenFilter => "this resolver filters because its users want it to",
        })
    }
}
