//! DNS messages (RFC 1035, EDNS of RFC 6891) as the story's clients, resolvers and forgers write and read them.

use std::net::IpAddr;

/// Record types the stories use.
pub(crate) mod rr {
    pub(crate) const A: u16 = 1;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const OPT: u16 = 41;
}

/// Header flags.
pub(crate) mod bits {
    /// Response, recursion desired and available: the usual 0x8180.
    pub(crate) const ANSWER: u16 = 0x8180;
    pub(crate) const AUTHORITATIVE: u16 = 0x0400;
    pub(crate) const RECURSION_DESIRED: u16 = 0x0100;
}

/// What a query asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) name: String,
    pub(crate) kind: u16,
    /// Whether an OPT record came along.
    pub(crate) edns: bool,
    /// Where the question ends in the message.
    pub(crate) end: usize,
}

/// A resource record of an answer section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Owner; the question's name is written as the pointer c0 0c.
    pub(crate) owner: String,
    pub(crate) ttl: u32,
    pub(crate) data: RecordData,
}

/// A record's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordData {
    /// A or AAAA, by the version.
    Address(IpAddr),
    /// CNAME.
    Alias(String),
}

/// What follows the answer section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing: no EDNS.
    Bare,
    /// An OPT record offering this UDP size.
    Opt(u16),
    /// The same with an extended error (RFC 8914) of this code.
    Explained(u16, u16),
}

/// Builds a query with recursion desired.
pub(crate) fn query(id: u16, name: &str, kind: u16, edns: bool) -> Vec<u8> {
    let mut out = header(id, bits::RECURSION_DESIRED, [1, 0, 0, u16::from(edns)]);
    put_name(&mut out, name);
    put_words(&mut out, &[kind, 1]);
    if edns {
        put_opt(&mut out, 1232);
    }
    out
}

/// Builds an answer that repeats the question of `query` byte for byte.
pub(crate) fn answer(
    query: &[u8],
    question: &Question,
    flags: u16,
    records: &[Record],
    soa: bool,
    tail: Tail,
) -> Vec<u8> {
    let additional = u16::from(tail != Tail::Bare);
    let mut out = header(
        question.id,
        flags,
        [1, records.len() as u16, u16::from(soa), additional],
    );
    out.extend_from_slice(&query[12..question.end]);
    for record in records {
        put_record(&mut out, &question.name, record);
    }
    if soa {
        put_soa(&mut out);
    }
    match tail {
        Tail::Bare => {}
        Tail::Opt(size) => put_opt(&mut out, size),
        Tail::Explained(size, code) => {
            out.push(0);
            // Option 15 of two bytes: the code, and no text.
            put_words(&mut out, &[rr::OPT, size, 0, 0, 6, 15, 2, code]);
        }
    }
    out
}

/// Appends one record.
pub(crate) fn put_record(out: &mut Vec<u8>, question_name: &str, record: &Record) {
    if record.owner.eq_ignore_ascii_case(question_name) {
        out.extend_from_slice(&[0xC0, 0x0C]);
    } else {
        put_name(out, &record.owner);
    }
    let (kind, data) = match &record.data {
        RecordData::Address(IpAddr::V4(address)) => (rr::A, address.octets().to_vec()),
        RecordData::Address(IpAddr::V6(address)) => (rr::AAAA, address.octets().to_vec()),
        RecordData::Alias(name) => {
            let mut data = Vec::new();
            put_name(&mut data, name);
            (rr::CNAME, data)
        }
    };
    put_words(out, &[kind, 1]);
    out.extend_from_slice(&record.ttl.to_be_bytes());
    put_words(out, &[data.len() as u16]);
    out.extend_from_slice(&data);
}

/// Builds a twelve-byte header.
pub(crate) fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    put_words(&mut out, &[id, flags]);
    put_words(&mut out, &counts);
    out
}

/// Reads the question of a query or an answer; `None` if it is no well-formed message with one question.
pub(crate) fn read_question(message: &[u8]) -> Option<Question> {
    let word = |at: usize| {
        message
            .get(at..at + 2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    if word(4)? != 1 {
        return None;
    }
    let (name, at) = read_name(message, 12)?;
    let kind = word(at)?;
    word(at + 2)?;
    let end = at + 4;
    Some(Question {
        id: word(0)?,
        flags: word(2)?,
        name,
        kind,
        edns: word(10)? > 0
            && message
                .get(end..)
                .is_some_and(|rest| rest.starts_with(&[0, 0, rr::OPT as u8])),
        end,
    })
}

/// Whether the message is an answer.
pub(crate) fn is_answer(message: &[u8]) -> bool {
    message.get(2).is_some_and(|byte| byte & 0x80 != 0)
}

/// The response code.
pub(crate) fn rcode(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |byte| byte & 0x0F)
}

/// The addresses an answer gives; stops at what it cannot read.
pub(crate) fn read_addresses(message: &[u8]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let Some(question) = read_question(message) else {
        return addresses;
    };
    let count = u16::from_be_bytes([message[6], message[7]]);
    let mut at = question.end;
    for _ in 0..count {
        let Some((_, after)) = read_name(message, at) else {
            break;
        };
        let Some(fixed) = message.get(after..after + 10) else {
            break;
        };
        let len = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let Some(data) = message.get(after + 10..after + 10 + len) else {
            break;
        };
        if let Ok(octets) = <[u8; 4]>::try_from(data) {
            addresses.push(octets.into());
        } else if let (Ok(octets), true) = (<[u8; 16]>::try_from(data), fixed[1] == rr::AAAA as u8) {
            addresses.push(octets.into());
        }
        at = after + 10 + len;
    }
    addresses
}

fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut after = None;
    for _ in 0..64 {
        let len = usize::from(*message.get(at)?);
        match len {
            0 => return Some((name, after.unwrap_or(at + 1))),
            1..=63 => {
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(&String::from_utf8_lossy(message.get(at + 1..at + 1 + len)?));
                at += 1 + len;
            }
            _ => {
                after.get_or_insert(at + 2);
                at = (len & 0x3F) << 8 | usize::from(*message.get(at + 1)?);
            }
        }
    }
    None
}

/// Appends a name, uncompressed.
pub(crate) fn put_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len().min(63) as u8);
        out.extend_from_slice(&label.as_bytes()[..label.len().min(63)]);
    }
    out.push(0);
}

fn put_words(out: &mut Vec<u8>, words: &[u16]) {
    for word in words {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

fn put_opt(out: &mut Vec<u8>, size: u16) {
    out.push(0);
    put_words(out, &[rr::OPT, size, 0, 0, 0]);
}

/// The authority section of a negative answer: the SOA of the `example` zone.
fn put_soa(out: &mut Vec<u8>) {
    put_name(out, "example");
    put_words(out, &[rr::SOA, 1, 0, 900]);
    let mut data = Vec::new();
    put_name(&mut data, "ns.example");
    put_name(&mut data, "hostmaster.example");
    for number in [2_026_010_101u32, 7200, 900, 1_209_600, 900] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    put_words(out, &[data.len() as u16]);
    out.extend_from_slice(&data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_back_what_was_asked_and_given() {
        let asked = query(7, "News.example", rr::A, true);
        let question = read_question(&asked).unwrap();
        assert_eq!(
            (question.id, question.name.as_str(), question.kind, question.edns),
            (7, "News.example", rr::A, true)
        );
        let records = [
            Record {
                owner: "news.example".into(),
                ttl: 60,
                data: RecordData::Alias("cdn.example".into()),
            },
            Record {
                owner: "cdn.example".into(),
                ttl: 60,
                data: RecordData::Address([45, 140, 1, 2].into()),
            },
        ];
        let given = answer(&asked, &question, bits::ANSWER, &records, false, Tail::Opt(1232));
        assert!(is_answer(&given) && !is_answer(&asked));
        assert_eq!(read_addresses(&given), [IpAddr::from([45, 140, 1, 2])]);
    }

    #[test]
    fn a_pointer_that_loops_is_refused() {
        let mut message = header(1, 0, [1, 0, 0, 0]);
        message.extend_from_slice(&[0xC0, 0x0C, 0, 1, 0, 1]);
        assert_eq!(read_question(&message), None);
    }
}
