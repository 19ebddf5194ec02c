//! The questions and answers of one flow, as far as they must be remembered.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use arrayvec::{ArrayString, ArrayVec};
use foldhash::fast::FixedState;

use crate::flow::flow_table::Recycle;
use crate::flow::name_text::NameText;
use crate::flow::spare::Spare;
use crate::packet::frame::FrameNumber;
use crate::packet::path_marks::PathMarks;
use crate::payload::address_class::{AddressClass, embedded_v4};
use crate::payload::dns_message::{
    AcknowledgedBlocking, AnswerHash, DnsMessage, Malformed, RecordData, RecordType, Section, Shape, rcode,
};
use crate::payload::dns_name::Name;
use crate::prefetch::{prefetch, prefetch_span};
use crate::time::Timestamp;

/// How many questions of one flow are remembered: a resolver that asks from one port may have many open.
const MOST_QUESTIONS: usize = 32;

/// How many answers to one question are remembered. The Great Firewall gives up to three before the genuine one
/// (wire-facts 3.1), and some forgers repeat themselves.
const MOST_ANSWERS: usize = 8;

/// How long a question is kept after its last packet (wire-facts 4.2).
const KEPT: Duration = Duration::from_secs(10);

/// A question or answer seen again within this time with the same IP id is the same packet, seen once more by a mirror
/// or forwarded by a router on the same segment. Bridges of virtual machines take several milliseconds [E].
const MIRROR: Duration = Duration::from_millis(50);

/// The same without IP ids to compare (IPv6, or id 0): wire-facts 8.
const MIRROR_WITHOUT_ID: Duration = Duration::from_millis(5);

/// Names a question within its flow.
pub(super) type QuestionId = u32;

/// A question, with the packet that asked it if that was seen.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) id: QuestionId,
    pub(super) transaction: u16,
    pub(super) name_hash: u64,
    pub(super) qtype: RecordType,
    pub(super) name: NameText,
    /// The packet that asked first; none if only answers were seen.
    pub(super) asked: Option<AskedBy>,
    /// How often it was asked, copies left out.
    pub(super) times_asked: u16,
    pub(super) last: Timestamp,
    /// A finding about it has been filed.
    pub(super) filed: bool,
    /// Something about its answers is out of the ordinary.
    pub(super) suspicious: bool,
}

/// What a query packet looked like.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedBy {
    pub(super) frame: FrameNumber,
    pub(super) at: Timestamp,
    pub(super) marks: PathMarks,
    pub(super) edns: bool,
    pub(super) recursion_desired: bool,
    pub(super) mixes_case: bool,
    pub(super) case_hash: u64,
}

/// What is odd about an answer by itself, told on arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oddness {
    /// What it says or how it is written cannot be right, or its marks are those of a forger.
    pub(super) intrinsic: bool,
    /// It is unlike the server's other answers.
    pub(super) unlike_others: bool,
}

impl Oddness {
    pub(super) const fn any(self) -> bool {
        self.intrinsic || self.unlike_others
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) question: QuestionId,
    pub(super) frame: FrameNumber,
    pub(super) at: Timestamp,
    pub(super) marks: PathMarks,
    /// A hash of the whole message.
    pub(super) bytes: u64,
    pub(super) content: AnswerHash,
    pub(super) rcode: u16,
    pub(super) flags: u16,
    pub(super) edns: bool,
    pub(super) acknowledged: Option<AcknowledgedBlocking>,
    pub(super) shape: Shape,
    pub(super) fault: Option<Malformed>,
    /// Cut by the capture's snap length: what it says is not known to the end.
    pub(super) snapped: bool,
    /// How many answers its header declares.
    pub(super) declared: u16,
    /// A records answer an AAAA question, or the reverse, and no alias explains it.
    pub(super) type_mismatch: bool,
    pub(super) case_hash: u64,
    /// Says no without the SOA record that RFC 2308 section 3 wants with it.
    pub(super) bare_negative: bool,
    pub(super) addresses: ArrayVec<IpAddr, 4>,
    pub(super) record_ttl: u32,
    pub(super) alias: ArrayString<80>,
    /// Further frames that show the same packet.
    pub(super) copies: ArrayVec<FrameNumber, 3>,
    /// Whether its IP id fitted the server's counter on arrival.
    pub(super) fits_counter: Option<bool>,
    /// Time since the latest query before it.
    pub(super) round_trip: Option<Duration>,
    /// How many bytes of an earlier copy of the stream it contradicts (TCP), and the frame of that copy.
    pub(super) overlap: Option<(u32, FrameNumber)>,
    pub(super) oddness: Oddness,
}

impl Answer {
    /// Reads what must be remembered of `message`. `snapped` tells that the capture cut it.
    pub(super) fn read(
        message: &DnsMessage<'_>,
        frame: FrameNumber,
        at: Timestamp,
        marks: PathMarks,
        snapped: bool,
    ) -> Self {
        let survey = message.survey();
        let mut addresses = ArrayVec::new();
        let mut alias = ArrayString::new();
        let mut record_ttl = 0;
        let (mut v4, mut v6, mut aliased, mut soa) = (false, false, false, false);
        for (index, record) in message.records().enumerate() {
            if index == 0 && record.section == Section::Answer {
                record_ttl = record.ttl;
            }
            if record.section == Section::Authority {
                soa |= matches!(record.kind, RecordType::SOA | RecordType::NS);
            }
            if record.section != Section::Answer {
                continue;
            }
            match record.data() {
                RecordData::A(address) => {
                    v4 = true;
                    _ = addresses.try_push(address.into());
                }
                RecordData::Aaaa(address) => {
                    v6 = true;
                    _ = addresses.try_push(address.into());
                }
                RecordData::Cname(name) => {
                    aliased = true;
                    if alias.is_empty() {
                        _ = name.write_lower(&mut alias);
                    }
                }
                RecordData::Opt(_) | RecordData::Other(_) | RecordData::Unreadable => {}
            }
        }
        let qtype = message.question().map(|question| question.qtype);
        let type_mismatch = !aliased
            && match qtype {
                Some(RecordType::A) => v6 && !v4,
                Some(RecordType::AAAA) => v4 && !v6,
                _ => false,
            };
        let negative = survey.rcode == rcode::NXDOMAIN || (survey.rcode == rcode::NOERROR && survey.answers == 0);
        Self {
            question: 0,
            frame,
            at,
            marks,
            bytes: hash_bytes(message.bytes()),
            content: survey.content,
            rcode: survey.rcode,
            flags: message.flags(),
            edns: survey.opt.is_some(),
            acknowledged: survey
                .opt
                .and_then(|opt| opt.extended_error())
                .and_then(|error| error.acknowledged_blocking()),
            shape: survey.shape,
            fault: survey.faults.first().copied().filter(|_| !snapped),
            snapped,
            declared: message.answer_count(),
            type_mismatch,
            case_hash: message.question().map_or(0, |question| case_hash(question.name)),
            bare_negative: negative && !soa && !snapped && message.answer_count() == 0,
            addresses,
            record_ttl,
            alias,
            copies: ArrayVec::new(),
            fits_counter: None,
            round_trip: None,
            overlap: None,
            oddness: Oddness::default(),
        }
    }

    /// AA: it claims to be authoritative.
    pub(super) const fn is_authoritative(&self) -> bool {
        self.flags & 0x0400 != 0
    }

    /// RA: its sender recurses.
    pub(super) const fn recursion_available(&self) -> bool {
        self.flags & 0x0080 != 0
    }

    /// TC: its sender cut it short, and the rest is to be had over TCP.
    pub(super) const fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// Whether the two say different things, beyond the order and the TTL of records. Of answers that the capture cut
    /// only the header is compared; one its sender cut differs from nothing.
    pub(super) fn differs_from(&self, other: &Self) -> bool {
        if self.is_truncated() || other.is_truncated() {
            return false;
        }
        if self.snapped || other.snapped {
            return (self.flags & 0xf, self.declared) != (other.flags & 0xf, other.declared);
        }
        self.content != other.content
    }

    /// Whether every address it gives is one no public name can honestly have.
    pub(super) fn is_bogon(&self) -> bool {
        !self.addresses.is_empty() && self.addresses.iter().all(|address| is_bogon(*address))
    }

    /// Whether it says the server failed or would not: something a retry may mend.
    pub(super) const fn is_failure(&self) -> bool {
        matches!(
            self.rcode,
            rcode::SERVFAIL | rcode::REFUSED | rcode::FORMERR | rcode::NOTIMP
        )
    }

    /// Whether `later` is this packet seen again.
    fn is_copied_by(&self, later: &Self) -> bool {
        let span = match (self.marks.ip_id, later.marks.ip_id) {
            (Some(id), Some(other)) if id == other && id > 1 => MIRROR,
            // A forger that numbers all its packets alike makes copies of its own; whoever made them, they say the same.
            (Some(id), Some(other)) if id == other => MIRROR_WITHOUT_ID,
            (None, None) => MIRROR_WITHOUT_ID,
            _ => return false,
        };
        self.bytes == later.bytes && later.at.since(self.at) <= span
    }

    /// Its frame and those of its copies.
    pub(super) fn frames(&self) -> impl Iterator<Item = FrameNumber> + '_ {
        std::iter::once(self.frame).chain(self.copies.iter().copied())
    }

    /// As a finding names it: `A 10.10.34.34`, `CNAME x.example`, `NXDOMAIN`.
    pub(super) fn describe(&self, into: &mut Vec<String>) {
        let mut add = |text: String| {
            if !into.contains(&text) {
                into.push(text);
            }
        };
        if !self.alias.is_empty() {
            add(format!("CNAME {}", self.alias));
        }
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => add(format!("A {address}")),
                IpAddr::V6(address) => add(format!("AAAA {address}")),
            }
        }
        if self.rcode != rcode::NOERROR {
            add(match self.rcode {
                rcode::FORMERR => "FORMERR".into(),
                rcode::SERVFAIL => "SERVFAIL".into(),
                rcode::NXDOMAIN => "NXDOMAIN".into(),
                rcode::NOTIMP => "NOTIMP".into(),
                rcode::REFUSED => "REFUSED".into(),
                other => format!("RCODE {other}"),
            });
        } else if self.addresses.is_empty() && self.alias.is_empty() {
            add(match self.declared {
                0 => "no records".into(),
                1 => "1 record".into(),
                records => format!("{records} records"),
            });
        }
    }
}

/// Whether `address`, or the one it carries inside, is one no public name can honestly have.
pub(super) fn is_bogon(address: IpAddr) -> bool {
    match address {
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(inner) => AddressClass::of_v4(inner).is_bogon(),
            None => AddressClass::of_v6(v6).is_bogon(),
        },
        IpAddr::V4(v4) => AddressClass::of_v4(v4).is_bogon(),
    }
}

/// A hash of a name in the case it came with.
pub(super) fn case_hash(name: Name<'_>) -> u64 {
    name.labels().fold(0xcbf2_9ce4_8422_2325, |hash, label| {
        label
            .iter()
            .fold(hash ^ label.len() as u64, |hash, octet| fnv(hash, *octet))
    })
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    FixedState::with_seed(0x646e_735f_6861_6269).hash_one(bytes)
}

/// One step of FNV-1a.
const fn fnv(hash: u64, octet: u8) -> u64 {
    (hash ^ octet as u64).wrapping_mul(0x0100_0000_01b3)
}

/// What is remembered of one flow: its latest questions and their answers.
#[derive(Debug, Default)]
pub struct Exchanges {
    pub(super) questions: Vec<Question>,
    pub(super) answers: Vec<Answer>,
    next_id: QuestionId,
}

impl Recycle for Exchanges {
    fn recycle(&mut self) {
        self.questions.clear();
        self.answers.clear();
        self.next_id = 0;
    }
}

/// Lists for the flows to come.
#[derive(Debug, Default)]
pub(super) struct SpareLists {
    questions: Spare<Question>,
    answers: Spare<Answer>,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It is kept, the newest of [`Exchanges::answers`].
    New,
    /// It is a packet that was seen before.
    Copy,
    /// There are too many answers to this question already.
    Crowded,
}

impl Exchanges {
    /// Fetches what the next message, or the end of the flow, will touch of the usual one exchange.
    pub(in crate::detect) fn fetch(&self) {
        if let Some(question) = self.questions.first() {
            prefetch_span(question, 0..size_of::<Question>());
        }
        if let Some(answer) = self.answers.first() {
            prefetch(answer);
        }
    }

    /// The question that `message` asks or answers, `qtype` aside if no question has it.
    fn find(&self, message: &DnsMessage<'_>, now: Timestamp) -> Option<usize> {
        let fresh = |question: &&(usize, &Question)| {
            question.1.transaction == message.id() && now.since(question.1.last) <= KEPT
        };
        if self.questions.is_empty() {
            return None;
        }
        let candidates = || self.questions.iter().enumerate().filter(|pair| fresh(&pair));
        let Some(asked) = message.question() else {
            // An answer without its question belongs to the only one it can belong to.
            return candidates().max_by_key(|(_, question)| question.last).map(|(at, _)| at);
        };
        let hash = asked.name.stable_hash();
        let named = || candidates().filter(|(_, question)| question.name_hash == hash);
        let exact = named().find(|(_, question)| question.qtype == asked.qtype);
        exact
            .or_else(|| named().next().filter(|_| message.is_response()))
            .map(|(at, _)| at)
    }

    fn open(
        &mut self,
        message: &DnsMessage<'_>,
        at: Timestamp,
        asked: Option<AskedBy>,
        spare: &mut SpareLists,
    ) -> usize {
        let (name, name_hash, qtype) = match message.question() {
            Some(asked) => (NameText::of_dns(asked.name), asked.name.stable_hash(), asked.qtype),
            None => (NameText::new(), 0, RecordType(0)),
        };
        let question = Question {
            id: self.next_id,
            transaction: message.id(),
            name_hash,
            qtype,
            name,
            asked,
            times_asked: u16::from(asked.is_some()),
            last: at,
            filed: false,
            suspicious: false,
        };
        self.next_id = self.next_id.wrapping_add(1);
        if self.questions.len() < MOST_QUESTIONS {
            spare.questions.push(&mut self.questions, question);
            return self.questions.len() - 1;
        }
        // The oldest leaves, one whose suspicion is still open last.
        let leaving = self
            .questions
            .iter()
            .enumerate()
            .min_by_key(|(_, question)| (question.suspicious && !question.filed, question.id))
            .map_or(0, |(at, _)| at);
        let gone = std::mem::replace(&mut self.questions[leaving], question).id;
        self.answers.retain(|answer| answer.question != gone);
        leaving
    }

    /// Notes a query.
    pub(super) fn ask(&mut self, message: &DnsMessage<'_>, asked: AskedBy, spare: &mut SpareLists) {
        let Some(at) = self.find(message, asked.at) else {
            self.open(message, asked.at, Some(asked), spare);
            return;
        };
        let answered = self.answers_to(self.questions[at].id).next().is_some();
        let question = &mut self.questions[at];
        let copy = question.asked.is_some_and(|first| {
            first.marks.ip_id == asked.marks.ip_id && asked.at.since(question.last) <= MIRROR && !answered
        });
        if copy {
            return;
        }
        question.asked.get_or_insert(asked);
        question.times_asked = question.times_asked.saturating_add(1);
        question.last = asked.at;
    }

    /// Notes an answer. Returns the index of its question and what became of it.
    pub(super) fn answer(
        &mut self,
        message: &DnsMessage<'_>,
        mut answer: Answer,
        spare: &mut SpareLists,
    ) -> (usize, Noted) {
        let at = self
            .find(message, answer.at)
            .unwrap_or_else(|| self.open(message, answer.at, None, spare));
        let question = &mut self.questions[at];
        question.last = answer.at;
        answer.question = question.id;
        answer.round_trip = question.asked.map(|asked| answer.at.since(asked.at));
        let id = question.id;
        if let Some(earlier) = self
            .answers
            .iter_mut()
            .find(|earlier| earlier.question == id && earlier.is_copied_by(&answer))
        {
            _ = earlier.copies.try_push(answer.frame);
            return (at, Noted::Copy);
        }
        if self.answers_to(id).count() >= MOST_ANSWERS {
            return (at, Noted::Crowded);
        }
        spare.answers.push(&mut self.answers, answer);
        (at, Noted::New)
    }

    /// Leaves the lists to the flows after it: the flow is over.
    pub(super) fn bequeath(&mut self, spare: &mut SpareLists) {
        spare.questions.give_back(std::mem::take(&mut self.questions));
        spare.answers.give_back(std::mem::take(&mut self.answers));
    }

    /// The answers to a question, in the order they came.
    pub(super) fn answers_to(&self, id: QuestionId) -> impl Iterator<Item = &Answer> + Clone {
        self.answers.iter().filter(move |answer| answer.question == id)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A question for `name`, asked once.
    pub(in super::super) fn question(name: &str) -> Question {
        Question {
            id: 0,
            transaction: 7,
            name_hash: 1,
            qtype: RecordType::A,
            name: NameText::lower(name),
            asked: None,
            times_asked: 1,
            last: Timestamp::EPOCH,
            filed: false,
            suspicious: false,
        }
    }

    /// An answer of `flags` to the question for `name` and `qtype`, with records of type and data, at so many
    /// milliseconds.
    pub(in super::super) fn answer(
        flags: u16,
        name: &str,
        qtype: u8,
        records: &[(u8, &[u8])],
        (ttl, ip_id, millis): (u8, u16, u64),
    ) -> Answer {
        let mut bytes = vec![0, 7];
        bytes.extend((flags | 0x8000).to_be_bytes());
        bytes.extend([0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, qtype, 0, 1]);
        for (kind, data) in records {
            bytes.extend([0xc0, 12, 0, *kind, 0, 1, 0, 0, 1, 44, 0, data.len() as u8]);
            bytes.extend(*data);
        }
        let marks = PathMarks {
            ttl,
            ip_id: Some(ip_id),
            ..PathMarks::default()
        };
        let at = Timestamp::EPOCH.plus(Duration::from_millis(millis));
        Answer::read(
            &DnsMessage::read(&bytes).unwrap(),
            FrameNumber::new(0, 1),
            at,
            marks,
            false,
        )
    }

    const V4: &[u8] = &[93, 184, 216, 34];
    const V6: &[u8] = &[
        0x26, 6, 0x28, 0, 2, 0x20, 0, 1, 2, 0x48, 0x18, 0x93, 0x25, 0xc8, 0x19, 0x46,
    ];
    const ALIAS: &[u8] = &[1, b'x', 0xc0, 12];

    fn plain(records: &[(u8, &[u8])]) -> Answer {
        answer(0x0180, "a.example", 1, records, (60, 9, 0))
    }

    fn described(answer: &Answer) -> Vec<String> {
        let mut told = Vec::new();
        answer.describe(&mut told);
        told
    }

    #[test]
    fn what_an_answer_says_is_kept() {
        let both = plain(&[(1, V4), (5, ALIAS)]);
        assert_eq!(described(&both), ["CNAME x.a.example", "A 93.184.216.34"]);
        assert_eq!((both.record_ttl, both.declared), (300, 2));
        for (qtype, records, mismatch) in [
            (1, &[(28, V6)][..], true),
            (28, &[(1, V4)], true),
            (28, &[(28, V6)], false),
            (1, &[(1, V4)], false),
            // Both kinds, an alias, or another question: nothing is amiss.
            (1, &[(28, V6), (1, V4)], false),
            (28, &[(28, V6), (1, V4)], false),
            (1, &[(5, ALIAS), (28, V6)], false),
            (16, &[(1, V4)], false),
        ] {
            let answer = answer(0x0180, "a.example", qtype, records, (60, 9, 0));
            assert_eq!(answer.type_mismatch, mismatch, "{qtype} {records:?}");
        }
        for (rcode, told) in [
            (1, "FORMERR"),
            (2, "SERVFAIL"),
            (3, "NXDOMAIN"),
            (4, "NOTIMP"),
            (5, "REFUSED"),
            (9, "RCODE 9"),
        ] {
            let failed = answer(0x0180 | rcode, "a.example", 1, &[], (60, 9, 0));
            assert_eq!(described(&failed), [told]);
            assert_eq!(failed.is_failure(), ![3, 9].contains(&rcode), "{told}");
        }
        assert_eq!(described(&plain(&[])), ["no records"]);
        assert_eq!(described(&plain(&[(16, b"\x01x")])), ["1 record"]);
        assert_eq!(described(&plain(&[(16, b"\x01x"), (16, b"\x01y")])), ["2 records"]);
    }

    #[test]
    fn a_no_without_its_zone_is_bare() {
        for (flags, records, bare) in [
            (0x0183, &[][..], true),
            (0x0180, &[], true),
            (0x0182, &[], false),
            (0x0180, &[(1, V4)], false),
        ] {
            let answer = answer(flags, "a.example", 1, records, (60, 9, 0));
            assert_eq!(answer.bare_negative, bare, "{flags:x} {records:?}");
        }
    }

    #[test]
    fn flags_are_read_where_they_stand() {
        let flagged = |flags| answer(flags, "a.example", 1, &[(1, V4)], (60, 9, 0));
        for (flags, expected) in [
            (0x0400, [true, false, false]),
            (0x0080, [false, true, false]),
            (0x0200, [false, false, true]),
            (0x0101, [false, false, false]),
        ] {
            let answer = flagged(flags);
            let read = [
                answer.is_authoritative(),
                answer.recursion_available(),
                answer.is_truncated(),
            ];
            assert_eq!(read, expected, "{flags:x}");
        }
    }

    #[test]
    fn answers_differ_by_what_they_say() {
        let (one, other) = (plain(&[(1, V4)]), plain(&[(1, &[10, 0, 0, 1])]));
        assert!(one.differs_from(&other) && !one.differs_from(&one));
        // One its sender cut differs from nothing.
        let cut = answer(0x0380, "a.example", 1, &[], (60, 9, 0));
        assert!(!one.differs_from(&cut) && !cut.differs_from(&one));
        // Of one the capture cut the header counts.
        let snapped = |answer: &Answer| Answer {
            snapped: true,
            ..answer.clone()
        };
        assert!(!one.differs_from(&snapped(&other)) && !snapped(&one).differs_from(&other));
        let none = answer(0x0183, "a.example", 1, &[], (60, 9, 0));
        assert!(one.differs_from(&snapped(&none)));
        assert!(one.differs_from(&snapped(&plain(&[]))));
    }

    #[test]
    fn an_address_is_a_bogon_only_if_all_are() {
        assert!(plain(&[(1, &[10, 0, 0, 1])]).is_bogon());
        assert!(!plain(&[(1, &[10, 0, 0, 1]), (1, V4)]).is_bogon());
        assert!(!plain(&[]).is_bogon());
        // The address within counts: 64:ff9b::10.0.0.1, and one that is public.
        for (inner, bogon) in [([10, 0, 0, 1], true), ([93, 184, 216, 34], false)] {
            let address = [&[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0][..], &inner].concat();
            let address: [u8; 16] = address.try_into().unwrap();
            assert_eq!(is_bogon(address.into()), bogon);
        }
        assert!(is_bogon("::1".parse().unwrap()) && !is_bogon("2606:2800:220:1::1".parse().unwrap()));
    }

    #[test]
    fn the_same_packet_again_is_a_copy_for_as_long_as_mirrors_take() {
        let seen = |ip_id, millis| answer(0x0180, "a.example", 1, &[(1, V4)], (60, ip_id, millis));
        for (ip_id, other, after, copied) in [
            (9, 9, 50, true),
            (9, 9, 51, false),
            (9, 10, 0, false),
            // Ids that many packets have.
            (0, 0, 5, true),
            (0, 0, 6, false),
            (1, 1, 6, false),
            (2, 2, 6, true),
        ] {
            let is_copied = seen(ip_id, 0).is_copied_by(&seen(other, after));
            assert_eq!(is_copied, copied, "{ip_id} {other} after {after} ms");
        }
        let without = |millis| {
            let mut answer = seen(9, millis);
            answer.marks.ip_id = None;
            answer
        };
        assert!(without(0).is_copied_by(&without(5)) && !without(0).is_copied_by(&without(6)));
        assert!(!without(0).is_copied_by(&seen(9, 0)));
        let other = answer(0x0180, "a.example", 1, &[(1, &[10, 0, 0, 1])], (60, 9, 0));
        assert!(!seen(9, 0).is_copied_by(&other));
    }

    #[test]
    fn the_case_of_a_name_is_told_apart() {
        let of = |name| answer(0x0180, name, 1, &[], (60, 9, 0)).case_hash;
        let names = ["a.example", "A.example", "a.exampLe", "aexample", "ae.xample"];
        for (index, one) in names.iter().enumerate() {
            assert_eq!(of(one), of(one));
            assert!(names[..index].iter().all(|other| of(other) != of(one)), "{one}");
        }
    }

    #[test]
    fn messages_that_differ_in_an_octet_have_other_hashes() {
        let mut seen = std::collections::BTreeSet::new();
        let mut count = 0;
        // A DNS header has twelve octets.
        for len in 12..24 {
            for at in 0..len {
                for octet in 0..=u8::MAX {
                    let mut message = vec![0x55; len];
                    message[at] = octet;
                    // The same message comes up once at each place.
                    count += usize::from(octet != 0x55);
                    seen.insert(hash_bytes(&message));
                }
            }
            count += 1;
            seen.insert(hash_bytes(&vec![0x55; len]));
        }
        assert_eq!(seen.len(), count);
    }
}
