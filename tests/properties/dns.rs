//! DNS messages against `simple-dns`: what it writes is read, and what both can read is read alike.

use blockscope::payload::dns_message::{DnsMessage, RecordData, RecordType};
use proptest::prelude::*;
use simple_dns::rdata::{A, AAAA, RData, TXT};
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

use crate::trials;

/// A record as either side has it: name in lower case, type, time to live, data as text.
type Told = (String, u16, u32, String);

fn label() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9-]{1,12}", "[a-z_]{1,63}"]
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(label(), 1..5).prop_map(|labels| labels.join("."))
}

#[derive(Clone, Debug)]
enum Data {
    A(u32),
    Aaaa(u128),
    Cname(String),
    Text(String),
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        any::<u32>().prop_map(Data::A),
        any::<u128>().prop_map(Data::Aaaa),
        name().prop_map(Data::Cname),
        "[ -~]{0,60}".prop_map(Data::Text),
    ]
}

/// An answer, and whether names are to be compressed.
fn message() -> impl Strategy<Value = (u16, String, Vec<(String, u32, Data)>, bool)> {
    let record = (name(), 0_u32..1 << 31, data());
    (
        any::<u16>(),
        name(),
        proptest::collection::vec(record, 0..6),
        any::<bool>(),
    )
}

fn written((id, asked, answers, compressed): &(u16, String, Vec<(String, u32, Data)>, bool)) -> Vec<u8> {
    let mut packet = Packet::new_reply(*id);
    let name = |text: &str| Name::new(text).unwrap().into_owned();
    let question = Question::new(name(asked), QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false);
    packet.questions.push(question);
    for (owner, ttl, data) in answers {
        let data = match data {
            Data::A(address) => RData::A(A { address: *address }),
            Data::Aaaa(address) => RData::AAAA(AAAA { address: *address }),
            Data::Cname(alias) => RData::CNAME(name(alias).into()),
            Data::Text(text) => RData::TXT(TXT::new().with_string(text).unwrap().into_owned()),
        };
        packet
            .answers
            .push(ResourceRecord::new(name(owner), CLASS::IN, *ttl, data));
    }
    if *compressed {
        packet.build_bytes_vec_compressed().unwrap()
    } else {
        packet.build_bytes_vec().unwrap()
    }
}

fn by_them(bytes: &[u8]) -> Option<(String, Vec<Told>)> {
    let packet = Packet::parse(bytes).ok()?;
    let question = packet.questions.first()?.qname.to_string().to_ascii_lowercase();
    let told = packet.answers.iter().map(|record| {
        let (kind, data) = match &record.rdata {
            RData::A(A { address }) => (1, std::net::Ipv4Addr::from(*address).to_string()),
            RData::AAAA(AAAA { address }) => (28, std::net::Ipv6Addr::from(*address).to_string()),
            RData::CNAME(alias) => (5, alias.0.to_string().to_ascii_lowercase()),
            other => (u16::from(other.type_code()), String::new()),
        };
        (record.name.to_string().to_ascii_lowercase(), kind, record.ttl, data)
    });
    Some((question, told.collect()))
}

/// Nothing where the message is not in order to the end.
fn by_us(bytes: &[u8]) -> Option<(String, Vec<Told>)> {
    let message = DnsMessage::read(bytes)?;
    if !message.survey().faults.is_empty() {
        return None;
    }
    let told = message.answers().map(|record| {
        let data = match record.data() {
            RecordData::A(address) => address.to_string(),
            RecordData::Aaaa(address) => address.to_string(),
            RecordData::Cname(alias) => alias.to_string(),
            RecordData::Opt(_) | RecordData::Other(_) | RecordData::Unreadable => String::new(),
        };
        let RecordType(kind) = record.kind;
        (record.name.to_string(), kind, record.ttl, data)
    });
    Some((message.question()?.name.to_string(), told.collect()))
}

proptest! {
    #![proptest_config(trials(512))]

    #[test]
    fn what_another_writes_is_read_in_full(message in message()) {
        let bytes = written(&message);
        let (id, asked, answers, _) = message;
        let ours = by_us(&bytes);
        prop_assert_eq!(DnsMessage::read(&bytes).map(|read| read.id()), Some(id));
        let (question, told) = ours.clone().expect("in order to the end");
        prop_assert_eq!(question, asked.to_ascii_lowercase());
        prop_assert_eq!(told.len(), answers.len());
        prop_assert_eq!(ours, by_them(&bytes));
    }

    #[test]
    fn what_both_can_read_is_read_alike(
        message in message(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = written(&message);
        for (at, octet) in changes {
            // The counts and flags decide what is a message at all; what matters is inside.
            let at = 12 + at.index(bytes.len() - 12);
            bytes[at] = octet;
        }
        // It takes names that hold a dot or other octets for text as they are.
        let printable = |told: &(String, Vec<Told>)| {
            let texts = told.1.iter().flat_map(|record| [&record.0, &record.3]).chain([&told.0]);
            texts.into_iter().all(|text| !text.contains('\\') && text != ".")
        };
        if let (Some(ours), Some(theirs)) = (by_us(&bytes).filter(printable), by_them(&bytes)) {
            prop_assert_eq!(ours, theirs);
        }
    }
}
