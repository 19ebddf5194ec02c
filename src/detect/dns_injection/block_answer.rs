//! `dns_block_answer`: a resolver that itself gives an answer to block, divert or filter a name.
//!
//! # What it sees
//! The same questions and answers as `dns_injection`, which hands over what it does not take for forged.
//!
//! # How it tells
//! The answer says so (extended errors of RFC 8914); it is an address known to be given for blocked names, or one no
//! public server can have; a search engine's name got the address or alias of its locked safe search; or a name that
//! cannot exist (browsers make some up to find this out) got an address at all, or another name the same one. The packet
//! looks as the resolver's others: where it does not, somebody else gave the answer (`dns_injection`).
//!
//! # What it mistakes
//! Who runs a resolver may decide what it says: an advertisement blocker in the house, a filter its users chose, a company
//! that answers its own names with private addresses. These stay at `possible` or below, and the finding says why. Names
//! that carry their private address in themselves are honest, and so may be top-level domains that few resolvers know. A
//! network that answers every name alike from the start asks to log in: that is told as `captive_portal`. An address made
//! from another (DNS64) is read as the other. One made-up name with an address stays at `possible`; that other made-up
//! names got the same address, or that it leads to a search page about the name, says more.
//!
//! # References
//! RFC 8914, 6147, 8020. wire-facts 4.2, 4.3, 8. Google, "Lock SafeSearch for accounts, devices & networks you manage";
//! YouTube Help, "Restrict YouTube content on managed networks"; Bing Help, "Block adult content with SafeSearch";
//! DuckDuckGo Help, "Safe Search". Chromium, `intranet_redirect_detector` (names made up to find rewriting resolvers).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memrchr;

use super::case::{Circumstances, Dossier, background};
use super::exchange::{Answer, Exchanges, Question};
use super::resolver_habits::Resolver;
use super::weigh::{against, block_address, carries_its_address, is_private, is_public_host};
use crate::detect::packs::row::Scope;
use crate::finding::evidence::{BlockAnswerObservation, CaptivePortalObservation, Evidence, Observation};
use crate::finding::finding::{Finding, Injector, Kind, Position};
use crate::finding::verdict::{Prior, Verdict};
use crate::finding::weight::Group;
use crate::payload::address_class::AddressClass;
use crate::payload::dns_message::{RecordType, rcode};
use crate::payload::dns_name::hash_dotted;
use crate::payload::public_suffix::{has_known_suffix, registrable};

/// As many names in a row given one private address, from the first on, are a captive portal's doing [E].
const PORTAL: u16 = 4;

/// Findings weaker than this, in nats of log-odds, are not filed: other flows could not lift them to a verdict.
const WORTH_FILING: f64 = -1.0;

/// Names of locked safe search, as the search engines publish them (module docs).
const SAFE_NAMES: [&str; 7] = [
    "forcesafesearch.google.com",
    "restrict.youtube.com",
    "restrictmoderate.youtube.com",
    "strict.bing.com",
    "safe.duckduckgo.com",
    "safesearch.pixabay.com",
    "familysearch.yandex.ru",
];

/// Their addresses, where published: Google (216.239.38.120, 2001:4860:4802:32::78), YouTube (.119 and .120, ::77 and
/// ::78), Bing (204.79.197.220), Yandex (213.180.193.56).
const SAFE_V4: [[u8; 4]; 4] = [
    [216, 239, 38, 119],
    [216, 239, 38, 120],
    [204, 79, 197, 220],
    [213, 180, 193, 56],
];
const SAFE_V6: [u128; 2] = [
    0x2001_4860_4802_0032_0000_0000_0000_0077,
    0x2001_4860_4802_0032_0000_0000_0000_0078,
];

/// Whether an answer may be of this kind though nothing else about it is odd, and its name is not made up
/// ([`improbable`]). Allocates nothing.
pub(super) fn may_block(question: &Question, answer: &Answer) -> bool {
    answer.acknowledged.is_some() || is_safe_search(question, answer)
}

/// Whether this resolver gave the answer's address for names that cannot exist.
pub(super) fn is_of_made_up_names(answer: &Answer, resolver: Option<&Resolver>) -> bool {
    let given = |address: &IpAddr| resolver.is_some_and(|resolver| resolver.is_shared_sink(*address));
    answer.alias.is_empty() && answer.addresses.first().is_some_and(given) && !answer.is_bogon()
}

/// The registrable domain of `name`, or the name itself, as a digest.
pub(super) fn domain_hash(name: &str) -> u64 {
    hash_dotted(registrable(name).unwrap_or(name))
}

/// Which of two readings of one question holds: that an answer is forged, or that it is the resolver's own.
pub(super) fn choose(injected: Option<Finding>, own: Option<Finding>) -> Option<Finding> {
    let (injected, own) = match (injected, own) {
        (Some(injected), Some(own)) => (injected, own),
        (injected, own) => return injected.or(own),
    };
    let foreign = injected.evidence.iter().any(|evidence| match evidence.observation {
        Observation::KnownDevice(_) | Observation::ProbableDevice(_) | Observation::SameAnswerOtherTtl { .. } => true,
        _ => matches!(evidence.group(), Group::Header | Group::Timing | Group::Sequence) && evidence.llr() > 1.0,
    });
    if foreign || injected.verdict() >= Some(Verdict::Likely) {
        Some(injected)
    } else {
        Some(own)
    }
}

/// The finding on `question`, if its answer is the resolver's own and blocks.
pub(super) fn investigate(
    question: &Question,
    exchanges: &Exchanges,
    circumstances: &Circumstances<'_>,
) -> Option<Finding> {
    let answer = exchanges.answers_to(question.id).next()?;
    if exchanges
        .answers_to(question.id)
        .any(|other| other.differs_from(answer))
        || answer.fault.is_some()
        || answer.snapped
    {
        return None;
    }
    // Who else may have sent it, the resolver did not.
    let foreign = |resolver: &Resolver| resolver.is_foreign_ttl(answer.marks.ttl);
    if circumstances.resolver.is_some_and(foreign) {
        return None;
    }
    let server = circumstances.conversation.server.ip;
    let frames = [answer.frame];
    let mut case = Dossier::new(question);
    if let Some(names) = portal(question, answer, circumstances) {
        let alike = CaptivePortalObservation::SameAddressForAllNames { names };
        case.add(Observation::CaptivePortal(alike), &frames);
        case.add(
            Observation::CaptivePortal(CaptivePortalObservation::PrivateAddress),
            &frames,
        );
        return Some(close(case, Kind::CaptivePortal, answer, circumstances));
    }
    let shared = answer.addresses.first().is_some_and(|address| {
        circumstances
            .resolver
            .is_some_and(|resolver| resolver.is_shared_sink(*address))
    }) && !is_random(question, answer);
    let mut see = |observation| case.add(Observation::BlockAnswer(observation), &frames);
    for observation in says(question, answer) {
        see(observation);
    }
    if !shared && leads_into_a_private_network(answer) {
        see(BlockAnswerObservation::SplitHorizon);
    }
    let of_made_up_names = is_of_made_up_names(answer, circumstances.resolver) && !is_impossible(question, answer);
    if of_made_up_names {
        see(BlockAnswerObservation::AddressOfMadeUpNames);
    }
    if filters_by_choice(server) {
        see(BlockAnswerObservation::ChosenFilter);
    } else if is_private(server) && !is_improbable(question, answer) && !of_made_up_names {
        // A household filters, but it does not rewrite names that do not exist.
        see(match answer.acknowledged {
            None => BlockAnswerObservation::LocalPolicy,
            Some(_) => BlockAnswerObservation::ChosenFilter,
        });
    }
    for observation in against(answer, &background(exchanges, answer, circumstances)) {
        match observation {
            Observation::MarksAsUsual | Observation::TtlAsUsual if !is_private(server) => {
                case.add(Observation::BlockAnswer(BlockAnswerObservation::OwnMarks), &frames);
            }
            Observation::OneAddressForAllNames { .. } if leads_into_a_private_network(answer) => {
                case.add(observation, &frames)
            }
            _ => {}
        }
    }
    let explicit = answer.acknowledged.is_some() || is_safe_search(question, answer) || is_improbable(question, answer);
    let own = |item: &Evidence| item.observation == Observation::BlockAnswer(BlockAnswerObservation::OwnMarks);
    if !explicit && !case.evidence.iter().any(own) {
        case.add(Observation::BlockAnswer(BlockAnswerObservation::MarksUnknown), &frames);
    }
    if let Some(row) = block_address(question, answer, circumstances.pack) {
        case.add(
            match row.scope {
                Scope::FalsePositive => Observation::KnownFalsePositive,
                // As for forged answers: a product's notice is what somebody chose to be shown.
                Scope::Product => Observation::KnownBlockAddress {
                    confidence: row.confidence.min(6),
                },
                Scope::National | Scope::Isp | Scope::Institution | Scope::Vague => Observation::KnownBlockAddress {
                    confidence: row.confidence,
                },
            },
            &frames,
        );
    }
    if shared {
        case.add(Observation::AddressForUnrelatedNames { names: 2 }, &frames);
    }
    let finding = close(case, Kind::DnsBlockAnswer, answer, circumstances);
    (finding.judgement().log_odds >= WORTH_FILING).then_some(finding)
}

/// What the answer says that blocks.
fn says(question: &Question, answer: &Answer) -> impl Iterator<Item = BlockAnswerObservation> {
    let acknowledged = answer.acknowledged.map(BlockAnswerObservation::SaysSo);
    let safe = is_safe_search(question, answer).then_some(BlockAnswerObservation::ForcedSafeSearch);
    let sink = (answer.is_bogon() && is_public_host(question) && !carries_its_address(question, answer))
        .then_some(BlockAnswerObservation::Sinkhole);
    [acknowledged, safe, sink, improbable(question, answer)]
        .into_iter()
        .flatten()
}

fn close<'a>(mut case: Dossier<'a>, kind: Kind, answer: &'a Answer, circumstances: &Circumstances<'_>) -> Finding {
    case.forged = vec![answer];
    Finding {
        kind,
        // The resolver is no box on the way, and its distance is known from all its packets.
        position: Position::Unknown,
        claimed_sender: None,
        injector: Some(Injector::from_marks(&answer.marks, true)),
        ..case.close(circumstances, Prior::Abnormal)
    }
}

/// For how many names in a row from the start this address was given, if a captive portal does so. A sinkhole gives
/// addresses nobody answers at; a portal must be reached.
fn portal(question: &Question, answer: &Answer, circumstances: &Circumstances<'_>) -> Option<u16> {
    if !is_public_host(question) || !leads_into_a_private_network(answer) {
        return None;
    }
    let address = answer.addresses.first()?;
    let resolver = circumstances.resolver?;
    let names = resolver.names_sharing_from_the_start(*address);
    // A company's own names may all lead to one machine; those of others do not.
    (names >= PORTAL && resolver.is_shared_sink(*address)).then_some(names)
}

fn leads_into_a_private_network(answer: &Answer) -> bool {
    !answer.addresses.is_empty()
        && answer.addresses.iter().all(|address| match address {
            IpAddr::V4(v4) => v4.is_private() || matches!(v4.octets(), [100, 64..128, ..]),
            IpAddr::V6(v6) => v6.is_unique_local(),
        })
}

fn is_safe_search(question: &Question, answer: &Answer) -> bool {
    let engine = |name: &str| {
        let domain = registrable(name).unwrap_or(name);
        domain.split('.').next().is_some_and(|label| {
            matches!(
                label,
                "google"
                    | "youtube"
                    | "youtube-nocookie"
                    | "googleapis"
                    | "bing"
                    | "duckduckgo"
                    | "pixabay"
                    | "yandex"
                    | "ya"
            )
        })
    };
    let safe_address = |address: &IpAddr| match address {
        IpAddr::V4(v4) => SAFE_V4.map(Ipv4Addr::from).contains(v4),
        IpAddr::V6(v6) => SAFE_V6.map(Ipv6Addr::from_bits).contains(v6),
    };
    (SAFE_NAMES.contains(&answer.alias.as_str()) || answer.addresses.iter().any(safe_address))
        && !SAFE_NAMES.contains(&question.name.as_str())
        && engine(&question.name)
}

/// Top-level names that are in no list of public suffixes and yet are used (RFC 6761, 6762, 7686, 9476, and IANA's
/// special-use names).
const SPECIAL: [&str; 9] = [
    "alt",
    "example",
    "internal",
    "invalid",
    "local",
    "localhost",
    "onion",
    "test",
    "arpa",
];

/// Whether [`improbable`] says anything.
fn is_improbable(question: &Question, answer: &Answer) -> bool {
    improbable(question, answer).is_some()
}

/// Whether the name only looks made up: whoever registers one such name often registers many.
fn is_random(question: &Question, answer: &Answer) -> bool {
    improbable(question, answer) == Some(BlockAnswerObservation::ImprobableName)
}

/// Whether an address was given to a name that cannot exist.
fn is_impossible(question: &Question, answer: &Answer) -> bool {
    improbable(question, answer) == Some(BlockAnswerObservation::ImpossibleName)
}

/// Whether a name was given a public address that cannot exist, or hardly.
pub(super) fn improbable(question: &Question, answer: &Answer) -> Option<BlockAnswerObservation> {
    let public = |address: &IpAddr| AddressClass::of(*address) == AddressClass::Public;
    let name = question.name.as_str();
    if !matches!(question.qtype, RecordType::A | RecordType::AAAA)
        || answer.rcode != rcode::NOERROR
        || answer.addresses.is_empty()
        || !answer.alias.is_empty()
        || name.is_empty()
        || !answer.addresses.iter().all(public)
    {
        return None;
    }
    let letters = |label: &str| !label.is_empty() && label.bytes().all(|octet| octet.is_ascii_lowercase());
    let Some(last_dot) = memrchr(b'.', name.as_bytes()) else {
        // Chromium makes up three names of 7 to 15 letters each; a host of the house is not at a public address.
        let made_up = letters(name) && (7..=15).contains(&name.len());
        return made_up.then_some(BlockAnswerObservation::ImpossibleName);
    };
    let top = &name[last_dot + 1..];
    if letters(top)
        && top.len() > 2
        // In the list, and what most names end in.
        && !matches!(top, "com" | "net" | "org")
        && !SPECIAL.contains(&top)
        && !has_known_suffix(name)
    {
        return Some(BlockAnswerObservation::ImpossibleName);
    }
    if name.len() < SHORTEST_RANDOM || !name.split('.').any(looks_random) {
        return None;
    }
    let domain = registrable(name)?;
    let label = domain.split('.').next()?;
    let alone = name.len() == domain.len() || name.strip_suffix(domain) == Some("www.");
    (alone && looks_random(label)).then_some(BlockAnswerObservation::ImprobableName)
}

/// The shortest label that looks as if nobody had chosen it, in octets [E].
const SHORTEST_RANDOM: usize = 12;

/// Whether a label looks as if nobody had chosen it: long, and back and forth between letters and digits [E].
fn looks_random(label: &str) -> bool {
    let octets = label.as_bytes();
    if octets.len() < SHORTEST_RANDOM {
        return false;
    }
    let turns = octets
        .windows(2)
        .filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
        .count();
    turns >= 4 && octets.iter().all(u8::is_ascii_alphanumeric)
}

/// Whether `address` is a public resolver that filters because its users choose it for that: OpenDNS, Quad9,
/// CleanBrowsing, AdGuard DNS, Cloudflare for Families (each operator's own documentation).
const fn filters_by_choice(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(
            v4.octets(),
            [208, 67, 220 | 222, _]
                | [9, 9, 9, 9 | 11]
                | [149, 112, 112, 112 | 11]
                | [185, 228, 168 | 169, _]
                | [94, 140, 14 | 15, _]
                | [1, 1, 1, 2 | 3]
                | [1, 0, 0, 2 | 3]
        ),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_labels_do_not_look_random() {
        for label in [
            "example",
            "doubleclick",
            "r4s0ur1",
            "office365cdn",
            "googlevideo",
            "win10update2019",
        ] {
            assert!(!looks_random(label), "{label}");
        }
        assert!(looks_random("8f3kq72mz0pw4l"));
    }

    #[test]
    fn seven_to_fifteen_letters_are_a_browsers_made_up_name() {
        use crate::detect::dns_injection::exchange::tests::{answer, question};
        let impossible = |name: &str, address: &[u8]| {
            let answer = answer(0x0180, name, 1, &[(1, address)], (60, 9, 0));
            improbable(&question(name), &answer) == Some(BlockAnswerObservation::ImpossibleName)
        };
        const PUBLIC: &[u8] = &[151, 101, 1, 140];
        for (name, told) in [
            ("qwertz", false),
            ("qwertzu", true),
            ("qwertzuiopasdfg", true),
            ("qwertzuiopasdfgh", false),
            ("qwertz1u", false),
            ("printer-3", false),
        ] {
            assert_eq!(impossible(name, PUBLIC), told, "{name}");
            assert!(!impossible(name, &[192, 168, 1, 5]), "{name}");
        }
    }
}
