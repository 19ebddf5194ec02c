//! What speaks for and against one answer, by itself and beside the server's other answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::devices::known_device;
use super::exchange::{Answer, Question};
use super::resolver_habits::{Resolver, copied_id};
use crate::detect::packs::pack::Pack;
use crate::detect::packs::row::{Row, Scope};
use crate::finding::evidence::Observation;
use crate::finding::weight::Group;
use crate::payload::address_class::AddressClass;
use crate::payload::dns_message::RecordType;

/// Observations on one answer.
pub(super) type Observations = ArrayVec<Observation, 16>;

/// Who answered, and what is known of it besides this answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Background<'a> {
    /// What is known of forged answers.
    pub(super) pack: &'a Pack,
    /// The claimed server.
    pub(super) server: IpAddr,
    /// How it usually answers this client, if that is known.
    pub(super) resolver: Option<&'a Resolver>,
    /// The TTL of what else it sent in this flow: other answers, or its SYN-ACK.
    pub(super) flow_ttl: Option<u8>,
    /// Whether the answer has been learnt into `resolver`.
    pub(super) learnt: bool,
}

/// The fastest a public server is believed to be; below, clocks and scheduling decide [E].
const NOT_LOCAL: Duration = Duration::from_millis(4);

/// A pack's confidence from which its address says more than that it is no public one.
pub(super) const SURE: u8 = 4;

/// What is wrong with an answer whoever gave it.
pub(super) fn intrinsic(question: &Question, answer: &Answer, background: &Background<'_>) -> Observations {
    let mut seen = Observations::new();
    let mut see = |observation| _ = seen.try_push(observation);
    let asked = question.asked.as_ref();
    let bogon = answer.is_bogon() && is_public_host(question) && !carries_its_address(question, answer);
    let row = block_address(question, answer, background.pack);
    // An address that leads nowhere and is in the pack says the same twice: what says more is heard.
    let telling = row.filter(|row| !bogon || row.confidence >= SURE);
    if let Some(row) = telling {
        see(match row.scope {
            Scope::FalsePositive => Observation::KnownFalsePositive,
            // A product's notice is what a resolver gives that somebody chose for its filtering: not so telling.
            Scope::Product => Observation::KnownBlockAddress {
                confidence: row.confidence.min(6),
            },
            Scope::National | Scope::Isp | Scope::Institution | Scope::Vague => Observation::KnownBlockAddress {
                confidence: row.confidence,
            },
        });
        if row.scope != Scope::FalsePositive && row.confidence >= SURE && is_unfiltering(background.server) {
            see(Observation::ResolverDoesNotFilter);
        }
    } else if bogon {
        see(Observation::BogonAnswer);
    }
    if answer.type_mismatch {
        see(Observation::AnswerTypeMismatch);
    }
    if answer.fault.is_some() {
        see(Observation::MalformedAnswer);
    }
    if let Some(device) = known_device(asked, answer) {
        see(device);
    }
    if let Some(asked) = asked
        && let Some((ip_id, offset)) = copied_id(asked, answer)
        && !background.resolver.is_some_and(Resolver::copies_ids)
        // Over loopback one host's one counter numbers both packets.
        && AddressClass::of(background.server) != AddressClass::Loopback
        && answer.fits_counter != Some(true)
    {
        see(Observation::IpIdCopiedFromTrigger { ip_id, offset });
    }
    seen
}

/// What is unlike the server's other answers.
pub(super) fn unlike_others(question: &Question, answer: &Answer, background: &Background<'_>) -> Observations {
    let mut seen = Observations::new();
    let mut see = |observation| _ = seen.try_push(observation);
    let ttl = answer.marks.ttl;
    let unlike = |usual: &u8| usual.abs_diff(ttl) > 1;
    let usual = background.flow_ttl.filter(unlike).or_else(|| {
        // What the same flow shows is fresher than any habit.
        let flow_agrees = background.flow_ttl.is_some();
        background
            .resolver
            .filter(|_| !flow_agrees)
            .and_then(|resolver| resolver.usual_ttl_unlike(ttl, background.learnt))
    });
    if let Some(usual) = usual {
        see(Observation::TtlDiffers { packet: ttl, usual });
    }
    let Some(resolver) = background.resolver else {
        return seen;
    };
    if answer.fits_counter == Some(false)
        && let Some((packet, last)) = answer
            .marks
            .ip_id
            .zip(resolver.profile.last().and_then(|last| last.ip_id))
    {
        see(Observation::IpIdOutOfSequence { packet, last });
    }
    if resolver.profile.packets() >= 5 && resolver.profile.only_exception(answer.marks.dont_fragment, 0) {
        see(Observation::DontFragmentDiffers);
    }
    if resolver.link_source_unlike(answer.marks.link_source).is_some() {
        see(Observation::LinkSourceDiffers);
    }
    if answer.is_authoritative() && resolver.never_authoritative() {
        see(Observation::AuthoritativeUnlikeOthers);
    }
    if let Some(asked) = &question.asked {
        if asked.edns
            && !answer.edns
            && !answer.is_failure()
            && !answer.snapped
            && !answer.is_truncated()
            && resolver.always_speaks_edns()
        {
            see(Observation::EdnsMissing);
        }
        if asked.mixes_case && asked.case_hash != answer.case_hash && resolver.keeps_case() {
            see(Observation::CaseChanged);
        }
    }
    // A server in a private network answers from its cache or asks elsewhere: its times say nothing.
    // A resolver is fast, too, where it is the authority itself.
    if question.times_asked <= 1
        && !is_private(background.server)
        && !answer.is_authoritative()
        && let Some(after) = answer.round_trip
        && let Some(floor) = resolver.floor_without(Some(after).filter(|_| background.learnt))
        && floor >= NOT_LOCAL
        && after * 2 < floor
    {
        see(Observation::TooFast { after, floor });
    }
    seen
}

/// What speaks against a forgery.
pub(super) fn against(answer: &Answer, background: &Background<'_>) -> Observations {
    let mut seen = Observations::new();
    let mut see = |observation| _ = seen.try_push(observation);
    if answer.acknowledged.is_some() {
        see(Observation::AcknowledgedBlocking);
    }
    let ttl_fits = match (background.flow_ttl, background.resolver) {
        (Some(usual), _) => usual.abs_diff(answer.marks.ttl) <= 1,
        (None, Some(resolver)) => resolver.is_usual_ttl(answer.marks.ttl),
        (None, None) => false,
    };
    if ttl_fits {
        see(if answer.fits_counter == Some(true) {
            Observation::MarksAsUsual
        } else {
            Observation::TtlAsUsual
        });
    }
    if let Some(resolver) = background.resolver
        && let Some(address) = answer.addresses.first()
    {
        let names = resolver.names_sharing(*address);
        if names >= 3 {
            see(Observation::OneAddressForAllNames { names });
        }
    }
    seen
}

/// How much `observations` weigh, the heaviest of each group counted.
pub(super) fn weight_of(observations: &[Observation]) -> f64 {
    Group::ALL
        .iter()
        .map(|group| {
            observations
                .iter()
                .filter(|observation| observation.group() == *group)
                .map(|observation| observation.weight().llr())
                .fold(0.0, f64::max)
                .min(group.cap())
        })
        .sum()
}

/// Whether the name spells the private address it was given, as `192-168-1-5.example.direct` does.
pub(super) fn carries_its_address(question: &Question, answer: &Answer) -> bool {
    answer.addresses.iter().any(|address| match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            question.name.contains(&format!("{a}-{b}-{c}-{d}"))
                || question.name.contains(&format!("{a}.{b}.{c}.{d}"))
                || question.name.contains(&format!("{a:02x}{b:02x}{c:02x}{d:02x}"))
        }
        IpAddr::V6(_) => false,
    })
}

/// The pack's row for one of the answered addresses, or for the alias.
pub(super) fn block_address<'p>(question: &Question, answer: &Answer, pack: &'p Pack) -> Option<&'p Arc<Row>> {
    block_address_of(&question.name, answer, pack)
}

fn block_address_of<'p>(name: &str, answer: &Answer, pack: &'p Pack) -> Option<&'p Arc<Row>> {
    let rows = answer.addresses.iter().filter_map(|address| pack.dns_address(*address));
    let alias = Some(&answer.alias).filter(|alias| !alias.is_empty());
    let rows = rows.chain(alias.and_then(|alias| pack.dns_alias(alias)));
    rows.max_by_key(|row| (row.scope == Scope::FalsePositive, row.confidence))
        // Forgers borrow a well-known company's addresses; for its own names they are right (wire-facts 4.2 FORGED_IP).
        .filter(|_| !is_facebook(name) || !answer.addresses.iter().any(|address| in_facebook(*address)))
}

fn is_facebook(name: &str) -> bool {
    const OWN: [&str; 12] = [
        "facebook.com",
        "facebook.net",
        "fbcdn.net",
        "fb.com",
        "fbsbx.com",
        "instagram.com",
        "cdninstagram.com",
        "whatsapp.com",
        "whatsapp.net",
        "messenger.com",
        "threads.net",
        "meta.com",
    ];
    OWN.iter().any(|own| {
        name.strip_suffix(own)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// Facebook's IPv6 space, 2a03:2880::/32 (RIPE).
const fn in_facebook(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => matches!(v6.segments(), [0x2a03, 0x2880, ..]),
    }
}

/// Whether `address` is one of the public resolvers whose operators say that they do not filter: Google Public DNS
/// (developers.google.com/speed/public-dns/faq), Cloudflare's 1.1.1.1 (developers.cloudflare.com/1.1.1.1/faq).
fn is_unfiltering(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [8, 8, 8, 8] | [8, 8, 4, 4] | [1, 1, 1, 1] | [1, 0, 0, 1]),
        IpAddr::V6(v6) => matches!(
            v6.segments(),
            [0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888 | 0x8844]
                | [0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111 | 0x1001]
        ),
    }
}

/// Whether `address` is in no public network: a forwarder, or a server of the house.
pub(super) fn is_private(address: IpAddr) -> bool {
    !matches!(
        AddressClass::of(address),
        AddressClass::Public | AddressClass::SixToFour | AddressClass::Nat64
    )
}

/// Whether the question is for the address of a host that all the world may know. Private answers for other names are
/// ordinary: names of a house (RFC 6762 appendix G, RFC 8375, RFC 6761), and lists that answer in 127/8 (RFC 5782).
pub(super) fn is_public_host(question: &Question) -> bool {
    const HOUSE: [&str; 16] = [
        "local",
        "localhost",
        "localdomain",
        "lan",
        "internal",
        "intranet",
        "private",
        "corp",
        "home",
        "arpa",
        "test",
        "invalid",
        "onion",
        "alt",
        "domain",
        "workgroup",
    ];
    let name = question.name.as_str();
    let Some((rest, top)) = name.rsplit_once('.') else {
        return false;
    };
    let listed = rest
        .split('.')
        .next()
        .is_some_and(|label| label.bytes().all(|octet| octet.is_ascii_digit()));
    matches!(question.qtype, RecordType::A | RecordType::AAAA) && !HOUSE.contains(&top) && !listed
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::detect::dns_injection::exchange::tests::{answer, question};

    #[test]
    fn an_address_of_a_companys_own_is_no_sign_for_its_own_names() {
        const FACEBOOK: &str = "2a03:2880:f107:83:face:b00c:0:25de";
        let found = |name: &str, address: &str| {
            let data = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
            let answer = answer(0x0180, name, 28, &[(28, &data)], (60, 9, 0));
            block_address_of(name, &answer, Pack::builtin()).map(|row| row.id.clone())
        };
        let row = Some("dns-cn-facebook".to_owned());
        assert_eq!(found("blocked.example", FACEBOOK), row);
        for own in [
            "facebook.com",
            "www.facebook.com",
            "x.fbcdn.net",
            "threads.net",
            "www.meta.com",
        ] {
            assert_eq!(found(own, FACEBOOK), None, "{own}");
            assert_eq!(found(own, "d0::11").as_deref(), Some("dns-ir-d0::11"), "{own}");
        }
        for other in ["notfacebook.com", "facebook.com.example", "facebook.co"] {
            assert_eq!(found(other, FACEBOOK), row, "{other}");
        }
    }

    #[test]
    fn a_resolver_that_does_not_filter_gave_no_forged_address() {
        let says = |server: &str, address: [u8; 4]| {
            let name = "blocked.example";
            let answer = answer(0x0180, name, 1, &[(1, &address)], (60, 9, 0));
            let background = Background {
                pack: Pack::builtin(),
                server: server.parse().unwrap(),
                resolver: None,
                flow_ttl: None,
                learnt: false,
            };
            let seen = intrinsic(&question(name), &answer, &background);
            seen.iter().map(Observation::key).collect::<Vec<_>>()
        };
        let forged = [10, 10, 34, 34];
        assert_eq!(says("9.9.9.9", forged), ["known_block_address"]);
        assert_eq!(
            says("8.8.8.8", forged),
            ["known_block_address", "resolver_does_not_filter"]
        );
        assert_eq!(says("8.8.8.8", [151, 101, 1, 140]), [""; 0]);
        assert_eq!(says("9.9.9.9", [192, 168, 7, 7]), ["bogon_answer"]);
    }

    #[test]
    fn an_alias_may_be_known_too() {
        let text = "[[row]]\nid = \"stop\"\nkind = \"dns_text\"\npattern = \"x.a.example\"\nmatch = \"full\"\n\
                    scope = \"isp\"\nconfidence = 5\nsource = \"a test\"\ndate = \"2026\"\n";
        let pack = Pack::from_toml(text).unwrap();
        let alias: &[u8] = &[1, b'x', 0xc0, 12];
        let found = |records: &[(u8, &[u8])]| {
            let answer = answer(0x0180, "a.example", 1, records, (60, 9, 0));
            block_address_of("a.example", &answer, &pack).is_some()
        };
        assert!(found(&[(5, alias)]));
        assert!(!found(&[(1, &[151, 101, 1, 140])]));
    }

    #[test]
    fn a_name_may_spell_the_address_it_is_given() {
        let spells = |name: &str, records: &[(u8, &[u8])]| {
            let answer = answer(0x0180, name, 1, records, (60, 9, 0));
            carries_its_address(&question(name), &answer)
        };
        const PRIVATE: &[u8] = &[192, 168, 1, 5];
        for name in [
            "192-168-1-5.example.direct",
            "192.168.1.5.example",
            "x-c0a80105.example",
        ] {
            assert!(spells(name, &[(1, PRIVATE)]), "{name}");
            assert!(spells(name, &[(1, &[1, 2, 3, 4]), (1, PRIVATE)]), "{name}");
            assert!(!spells(name, &[(1, &[192, 168, 1, 6])]), "{name}");
        }
        assert!(!spells("www.example", &[(1, PRIVATE)]));
        assert!(!spells("www.example", &[(28, &[0; 16])]));
    }

    #[test]
    fn addresses_of_a_kind_are_known() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, facebook, unfiltering, private) in [
            ("8.8.8.8", false, true, false),
            ("8.8.4.4", false, true, false),
            ("1.1.1.1", false, true, false),
            ("1.0.0.1", false, true, false),
            ("9.9.9.9", false, false, false),
            ("8.8.8.4", false, false, false),
            ("192.168.1.1", false, false, true),
            ("127.0.0.1", false, false, true),
            ("2a03:2880::1", true, false, false),
            ("2a03:2881::1", false, false, false),
            ("2001:4860:4860::8888", false, true, false),
            ("2001:4860:4860::8844", false, true, false),
            ("2606:4700:4700::1111", false, true, false),
            ("2606:4700:4700::1001", false, true, false),
            ("2606:4700:4700::1112", false, false, false),
            ("fe80::1", false, false, true),
        ] {
            let of = ip(text);
            assert_eq!(
                (in_facebook(of), is_unfiltering(of), is_private(of)),
                (facebook, unfiltering, private),
                "{text}"
            );
        }
    }
}
