//! A DNS message (RFC 1035), read where it lies: header and first question at once, records one by one on demand.
//!
//! ```text
//! bytes ──► DnsMessage::read ──► id, flags, counts, question()      a few tens of nanoseconds, for every message
//!                          └──► records() ──► Record ──► data()     lazily, over all three sections
//!                          └──► survey() ──► Survey                 one walk: faults, shape, OPT, hash of the answers
//! ```
//!
//! Censors forge messages by hand-made programs, and it shows: a question without its class, records behind an OPT,
//! bytes behind the end (wire-facts 4.2 MALFORMED, RR_SHAPE). Such faults are named and never keep the rest from being
//! read. Whether the capture cut a message short is the caller's knowledge: a snapped message looks
//! [`Malformed::RecordCut`].

use std::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::dns_name::{Name, NameFault};

/// Octets of a message's header (RFC 1035 4.1.1).
const HEADER: usize = 12;

/// Octets of a record's type, class, TTL and data length (RFC 1035 4.1.3).
const RECORD_FIXED: usize = 10;

/// How many faults of one message are kept.
const MAX_FAULTS: usize = 4;

/// A record's or question's type: the number of IANA's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address (RFC 1035).
    pub const A: Self = Self(1);
    /// A name server (RFC 1035).
    pub const NS: Self = Self(2);
    /// The canonical name of an alias (RFC 1035).
    pub const CNAME: Self = Self(5);
    /// Start of authority (RFC 1035).
    pub const SOA: Self = Self(6);
    /// A reverse pointer (RFC 1035).
    pub const PTR: Self = Self(12);
    /// A mail exchanger (RFC 1035).
    pub const MX: Self = Self(15);
    /// Text (RFC 1035).
    pub const TXT: Self = Self(16);
    /// An IPv6 address (RFC 3596).
    pub const AAAA: Self = Self(28);
    /// A service's place (RFC 2782).
    pub const SRV: Self = Self(33);
    /// A subtree's alias (RFC 6672).
    pub const DNAME: Self = Self(39);
    /// EDNS (RFC 6891): a pseudo-record that says what the sender can do.
    pub const OPT: Self = Self(41);
    /// A DNSSEC signature (RFC 4034).
    pub const RRSIG: Self = Self(46);
    /// Service binding (RFC 9460).
    pub const SVCB: Self = Self(64);
    /// Service binding for HTTPS (RFC 9460).
    pub const HTTPS: Self = Self(65);
    /// All types, in questions (RFC 1035, RFC 8482).
    pub const ANY: Self = Self(255);
}

/// Response codes (IANA; RFC 1035 4.1.1, RFC 6895).
pub mod rcode {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The query could not be understood.
    pub const FORMERR: u16 = 1;
    /// The server failed.
    pub const SERVFAIL: u16 = 2;
    /// The name does not exist.
    pub const NXDOMAIN: u16 = 3;
    /// The server cannot do this.
    pub const NOTIMP: u16 = 4;
    /// The server will not do this.
    pub const REFUSED: u16 = 5;
}

/// One of the three sections that hold records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Answers to the question.
    Answer,
    /// Who is authoritative.
    Authority,
    /// What may be of use besides; OPT's place.
    Additional,
}

impl Section {
    const ALL: [Self; 3] = [Self::Answer, Self::Authority, Self::Additional];
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Malformed {
    /// The question's name cannot be read.
    QuestionName(NameFault),
    /// The message ends inside the question.
    QuestionCut,
    /// The question has no class: where it should stand, a record already begins (Iran over TCP, wire-facts 3.2).
    MissingQclass,
    /// A record's name cannot be read; the records behind it are lost.
    RecordName(Section, NameFault),
    /// The message ends inside a record.
    RecordCut(Section),
    /// The header declares more records than the message holds.
    CountsWrong {
        /// Records that the header declares, all three sections together.
        declared: u32,
        /// Records that are there.
        found: u32,
    },
    /// An A or AAAA record whose data is not 4 or 16 octets, or a CNAME whose data is no name.
    RecordData(RecordType),
    /// An OPT record outside the additional section (RFC 6891 6.1.1), as when an injector appends its record to a query
    /// that had one (Turkmenistan before 2022, wire-facts 3.5).
    OptMisplaced,
    /// Octets behind the last declared record.
    TrailingBytes {
        /// How many.
        count: u16,
    },
}

/// A message: its header has been read, and its first question as far as it can be.
#[derive(Clone, Copy, Debug)]
pub struct DnsMessage<'a> {
    bytes: &'a [u8],
    question: Option<Question<'a>>,
    /// Where the records begin, if the questions could be passed.
    records_at: Result<usize, Malformed>,
    missing_qclass: bool,
}

impl<'a> DnsMessage<'a> {
    /// Reads the header and the first question of a message, without any framing.
    ///
    /// `None` if there are fewer than the header's 12 octets. What else is wrong shows in [`Self::question`],
    /// [`Self::records`] and [`Self::survey`]. Only the first 65 535 octets, the longest message there can be, are read.
    #[inline]
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
        if bytes.len() < HEADER {
            return None;
        }
        let mut message = Self {
            bytes,
            question: None,
            records_at: Ok(HEADER),
            missing_qclass: false,
        };
        if message.question_count() > 0 {
            message.read_questions();
        }
        Some(message)
    }

    #[inline]
    fn read_questions(&mut self) {
        let (name, at) = match Name::read(self.bytes, HEADER) {
            Ok(read) => read,
            Err(fault) => {
                self.records_at = Err(Malformed::QuestionName(fault));
                return;
            }
        };
        let (Some(qtype), qclass) = (be16(self.bytes, at), be16(self.bytes, at + 2)) else {
            self.records_at = Err(Malformed::QuestionCut);
            return;
        };
        self.question = Some(Question {
            name,
            qtype: RecordType(qtype),
            qclass,
        });
        if self.question_count() == 1 && self.is_response() && self.answer_count() > 0 {
            // A class that is really a compression pointer, and from there a record reads well: the class was left out.
            let pointer = qclass.is_some_and(|class| class >= 0xc000);
            if pointer && Record::read(self.bytes, at + 2, Section::Answer).is_ok() {
                self.question = Some(Question {
                    name,
                    qtype: RecordType(qtype),
                    qclass: None,
                });
                self.records_at = Ok(at + 2);
                self.missing_qclass = true;
                return;
            }
        }
        self.records_at = if qclass.is_none() {
            Err(Malformed::QuestionCut)
        } else {
            self.pass_questions(at + 4)
        };
    }

    /// Where the records begin, `at` being the end of the first question. More than one question is hardly ever asked.
    fn pass_questions(&self, mut at: usize) -> Result<usize, Malformed> {
        for _ in 1..self.question_count() {
            let (_, end) = Name::read(self.bytes, at).map_err(Malformed::QuestionName)?;
            at = end + 4;
            if at > self.bytes.len() {
                return Err(Malformed::QuestionCut);
            }
        }
        Ok(at)
    }

    /// The octets the message was read from.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn header(&self, at: usize) -> u16 {
        be16(self.bytes, at).unwrap_or_default() // `read` has proved that the header is there
    }

    /// The transaction id.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.header(0)
    }

    /// The second 16 bits of the header, flags, opcode and response code, as they stand: `0x8180` is an ordinary answer.
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.header(2)
    }

    /// QR: whether this is a response.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.flags() & 0x8000 != 0
    }

    /// The opcode, 0 to 15: 0 is an ordinary query.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        (self.flags() >> 11 & 0xf) as u8
    }

    /// AA: whether the answer claims authority.
    #[must_use]
    pub fn is_authoritative(&self) -> bool {
        self.flags() & 0x0400 != 0
    }

    /// TC: whether the answer did not fit and should be asked for again over TCP.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.flags() & 0x0200 != 0
    }

    /// RD: whether recursion is desired.
    #[must_use]
    pub fn recursion_desired(&self) -> bool {
        self.flags() & 0x0100 != 0
    }

    /// RA: whether the server recurses.
    #[must_use]
    pub fn recursion_available(&self) -> bool {
        self.flags() & 0x0080 != 0
    }

    /// AD: whether the server vouches for DNSSEC (RFC 4035 3.2.3).
    #[must_use]
    pub fn authentic_data(&self) -> bool {
        self.flags() & 0x0020 != 0
    }

    /// CD: whether the client checks DNSSEC itself (RFC 4035 3.2.2).
    #[must_use]
    pub fn checking_disabled(&self) -> bool {
        self.flags() & 0x0010 != 0
    }

    /// The response code of the header, 0 to 15. OPT may extend it: see [`Survey::rcode`].
    #[must_use]
    pub fn header_rcode(&self) -> u16 {
        self.flags() & 0xf
    }

    /// How many questions the header declares.
    #[must_use]
    pub fn question_count(&self) -> u16 {
        self.header(4)
    }

    /// How many answers the header declares.
    #[must_use]
    pub fn answer_count(&self) -> u16 {
        self.header(6)
    }

    /// How many records of a section the header declares.
    #[must_use]
    pub fn count(&self, section: Section) -> u16 {
        match section {
            Section::Answer => self.header(6),
            Section::Authority => self.header(8),
            Section::Additional => self.header(10),
        }
    }

    /// The first question, if its name and type could be read.
    #[must_use]
    pub const fn question(&self) -> Option<Question<'a>> {
        self.question
    }

    /// The records of all three sections, in order. Stops at the first that cannot be read; [`Records::fault`] says why.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        let (at, fault) = match self.records_at {
            Ok(at) => (at, None),
            Err(fault) => (self.bytes.len(), Some(fault)),
        };
        Records {
            bytes: self.bytes,
            at,
            section: 0,
            left: Section::ALL.map(|section| self.count(section)),
            found: 0,
            fault,
        }
    }

    /// The records of the answer section.
    pub fn answers(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        self.records().take_while(|record| record.section == Section::Answer)
    }

    /// Walks all records once and sums up what can be said of the message.
    #[must_use]
    pub fn survey(&self) -> Survey<'a> {
        let mut survey = Survey {
            rcode: self.header_rcode(),
            opt: None,
            answers: 0,
            content: AnswerHash::new(self.header_rcode()),
            shape: Shape::Other,
            faults: ArrayVec::new(),
        };
        let mut fault = |fault: Malformed| _ = survey.faults.try_push(fault);
        if self.missing_qclass {
            fault(Malformed::MissingQclass);
        }
        let mut records = self.records();
        let mut lone_answer = None;
        for record in &mut records {
            let data = record.data();
            if let RecordData::Unreadable = data {
                fault(Malformed::RecordData(record.kind));
            }
            if let RecordData::Opt(opt) = data {
                if record.section != Section::Additional {
                    fault(Malformed::OptMisplaced);
                }
                survey.rcode |= u16::from(opt.extended_rcode()) << 4;
                survey.opt.get_or_insert(opt);
            }
            if record.section == Section::Answer {
                survey.answers += 1;
                survey.content.add(record.kind, &data);
                lone_answer = (survey.answers == 1).then_some(record);
            }
        }
        if let Some(found) = records.fault {
            fault(found);
        } else if records.at < self.bytes.len() {
            fault(Malformed::TrailingBytes {
                count: (self.bytes.len() - records.at) as u16,
            });
        }
        survey.content.rcode = survey.rcode;
        if let Some(answer) = lone_answer
            && answer.name_is_question_pointer()
            && answer.end == self.bytes.len()
            && self.question_count() == 1
        {
            survey.shape = Shape::BareAnswer;
        }
        survey
    }
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name asked for, in the case it was asked in.
    pub name: Name<'a>,
    /// The type asked for.
    pub qtype: RecordType,
    /// The class, 1 being the Internet; `None` if it is missing.
    pub qclass: Option<u16>,
}

impl Question<'_> {
    /// Whether both ask the same, the case of the name aside.
    #[must_use]
    pub fn asks_the_same(&self, other: &Question<'_>) -> bool {
        self.qtype == other.qtype && self.name.eq_ignore_case(other.name)
    }
}

/// The records of a message.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    section: usize,
    left: [u16; 3],
    found: u32,
    fault: Option<Malformed>,
}

impl Records<'_> {
    /// Why the walk stopped before the declared end, once it has.
    #[must_use]
    pub const fn fault(&self) -> Option<Malformed> {
        self.fault
    }

    /// The offset in the message of what has not been walked yet.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.fault.is_some() {
            return None;
        }
        let section = loop {
            let section = *Section::ALL.get(self.section)?;
            if self.left[self.section] > 0 {
                break section;
            }
            self.section += 1;
        };
        if self.at == self.bytes.len() {
            let left = self.left.iter().map(|&left| u32::from(left)).sum::<u32>();
            self.fault = Some(Malformed::CountsWrong {
                declared: self.found + left,
                found: self.found,
            });
            return None;
        }
        match Record::read(self.bytes, self.at, section) {
            Ok(record) => {
                self.left[self.section] -= 1;
                self.found += 1;
                self.at = record.end;
                Some(record)
            }
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }
}

/// A resource record (RFC 1035 4.1.3).
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The section it stands in.
    pub section: Section,
    /// Whose record it is.
    pub name: Name<'a>,
    /// The record's type.
    pub kind: RecordType,
    /// The class, 1 being the Internet; OPT's UDP payload size.
    pub class: u16,
    /// How many seconds it may be kept; OPT's extended response code and flags.
    pub ttl: u32,
    /// The data as it stands. Names in it may point into the message.
    pub rdata: &'a [u8],
    bytes: &'a [u8],
    rdata_at: usize,
    end: usize,
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8], at: usize, section: Section) -> Result<Self, Malformed> {
        let (name, at) = Name::read(bytes, at).map_err(|fault| Malformed::RecordName(section, fault))?;
        let cut = Malformed::RecordCut(section);
        let fixed: &[u8; RECORD_FIXED] = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(cut)?;
        let [t0, t1, c0, c1, s0, s1, s2, s3, l0, l1] = *fixed;
        let rdata_at = at + RECORD_FIXED;
        let end = rdata_at + usize::from(u16::from_be_bytes([l0, l1]));
        Ok(Self {
            section,
            name,
            kind: RecordType(u16::from_be_bytes([t0, t1])),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([s0, s1, s2, s3]),
            rdata: bytes.get(rdata_at..end).ok_or(cut)?,
            bytes,
            rdata_at,
            end,
        })
    }

    /// The data, read by the record's type.
    ///
    /// Outside the Internet's class data may take other forms: dynamic updates, for one, name what to delete by records
    /// without data (RFC 2136 2.5). What does not fit there is [`RecordData::Other`], not a fault.
    #[must_use]
    pub fn data(&self) -> RecordData<'a> {
        let read = match self.kind {
            RecordType::A => <[u8; 4]>::try_from(self.rdata)
                .ok()
                .map(|octets| RecordData::A(octets.into())),
            RecordType::AAAA => <[u8; 16]>::try_from(self.rdata)
                .ok()
                .map(|octets| RecordData::Aaaa(octets.into())),
            RecordType::CNAME => Name::read(&self.bytes[..self.end], self.rdata_at)
                .ok()
                .map(|(name, _)| RecordData::Cname(name)),
            RecordType::OPT => Some(RecordData::Opt(Opt {
                class: self.class,
                ttl: self.ttl,
                options: self.rdata,
            })),
            _ => Some(RecordData::Other(self.rdata)),
        };
        // The class's uppermost bit has another use in multicast DNS (RFC 6762 10.2).
        let elsewhere = self.class & 0x7fff != 1;
        read.unwrap_or(if elsewhere {
            RecordData::Other(self.rdata)
        } else {
            RecordData::Unreadable
        })
    }

    /// Whether the record's name is nothing but a pointer to the question's, `c0 0c`.
    #[must_use]
    pub fn name_is_question_pointer(&self) -> bool {
        self.bytes
            .get(self.name.offset()..)
            .is_some_and(|name| name.starts_with(b"\xc0\x0c"))
    }

    /// Where in the message the record ends.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }
}

/// A record's data.
#[derive(Clone, Copy, Debug)]
pub enum RecordData<'a> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name that the record's name stands for.
    Cname(Name<'a>),
    /// EDNS.
    Opt(Opt<'a>),
    /// Data of any other type.
    Other(&'a [u8]),
    /// Data that does not fit its type.
    Unreadable,
}

/// The OPT pseudo-record (RFC 6891 6.1).
#[derive(Clone, Copy, Debug)]
pub struct Opt<'a> {
    class: u16,
    ttl: u32,
    options: &'a [u8],
}

impl<'a> Opt<'a> {
    /// The longest UDP payload the sender can take, in octets.
    #[must_use]
    pub const fn udp_size(&self) -> u16 {
        self.class
    }

    /// The upper 8 of the response code's 12 bits.
    #[must_use]
    pub const fn extended_rcode(&self) -> u8 {
        (self.ttl >> 24) as u8
    }

    /// The version of EDNS, 0 so far.
    #[must_use]
    pub const fn version(&self) -> u8 {
        (self.ttl >> 16) as u8
    }

    /// DO: whether DNSSEC records are wanted (RFC 3225).
    #[must_use]
    pub const fn dnssec_ok(&self) -> bool {
        self.ttl & 0x8000 != 0
    }

    /// The options as code and data. Ends early where an option is cut.
    pub fn options(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = self.options;
        std::iter::from_fn(move || {
            let (&[c0, c1, l0, l1], after) = rest.split_first_chunk()?;
            let (data, after) = after.split_at_checked(u16::from_be_bytes([l0, l1]).into())?;
            rest = after;
            Some((u16::from_be_bytes([c0, c1]), data))
        })
    }

    /// The first extended error (RFC 8914), if there is one.
    #[must_use]
    pub fn extended_error(&self) -> Option<ExtendedError<'a>> {
        const EDE: u16 = 15; // RFC 8914 2
        self.options().find_map(|(code, data)| {
            let (&info_code, text) = data.split_first_chunk()?;
            (code == EDE).then_some(ExtendedError {
                info_code: u16::from_be_bytes(info_code),
                text,
            })
        })
    }
}

/// An extended DNS error (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError<'a> {
    /// The INFO-CODE.
    pub info_code: u16,
    /// EXTRA-TEXT, UTF-8 if the server keeps to the standard; may be empty.
    pub text: &'a [u8],
}

impl ExtendedError<'_> {
    /// What kind of blocking the server owns up to, if any (RFC 8914 4.5, 4.16 to 4.18).
    #[must_use]
    pub const fn acknowledged_blocking(&self) -> Option<AcknowledgedBlocking> {
        Some(match self.info_code {
            4 => AcknowledgedBlocking::Forged,
            15 => AcknowledgedBlocking::Blocked,
            16 => AcknowledgedBlocking::Censored,
            17 => AcknowledgedBlocking::Filtered,
            _ => return None,
        })
    }
}

/// Blocking that a name server says itself it does (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum AcknowledgedBlocking {
    /// The answer is made up, for policy reasons (code 4).
    Forged,
    /// The operator blocks the name by its own choice (code 15).
    Blocked,
    /// The operator blocks the name because somebody else demands it (code 16).
    Censored,
    /// The client asked for the name to be filtered (code 17).
    Filtered,
}

/// What one walk over a message's records tells.
#[derive(Clone, Debug)]
pub struct Survey<'a> {
    /// The response code with OPT's upper bits, 0 to 4095; see [`rcode`].
    pub rcode: u16,
    /// EDNS, if spoken: the first OPT.
    pub opt: Option<Opt<'a>>,
    /// Answer records that could be read.
    pub answers: u16,
    /// What the message answers, to compare with other answers.
    pub content: AnswerHash,
    /// How the answers are laid out.
    pub shape: Shape,
    /// What is wrong, in the order it was met; at most four faults are kept.
    pub faults: ArrayVec<Malformed, MAX_FAULTS>,
}

impl Survey<'_> {
    /// How many octets stand behind the last declared record.
    #[must_use]
    pub fn trailing_bytes(&self) -> u16 {
        let count = |fault: &Malformed| match fault {
            Malformed::TrailingBytes { count } => Some(*count),
            _ => None,
        };
        self.faults.iter().find_map(count).unwrap_or(0)
    }
}

/// How a message's answers are laid out (wire-facts 4.2 RR_SHAPE).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// One question, one answer whose name is the pointer `c0 0c`, and the message ends with the answer's data: what a
    /// forger writes behind the query it copies. Small honest answers without EDNS look so, too.
    BareAnswer,
    /// Any other layout.
    Other,
}

/// What an answer says, in 64 bits and without regard to the order of its records: the response code, and the types and
/// data of A, AAAA and CNAME answers. TTLs do not count.
///
/// Equal content gives equal hashes in every run; different content gives different ones but for bad luck or ill will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerHash {
    rcode: u16,
    /// A sum, so that the order of records does not matter, while a record that stands twice does.
    records: u64,
}

impl AnswerHash {
    const fn new(rcode: u16) -> Self {
        Self { rcode, records: 0 }
    }

    fn add(&mut self, kind: RecordType, data: &RecordData<'_>) {
        let data = match data {
            RecordData::A(address) => spread(u64::from(u32::from(*address)), 1),
            RecordData::Aaaa(address) => {
                let bits = u128::from(*address);
                spread(spread(bits as u64, (bits >> 64) as u64), 28)
            }
            RecordData::Cname(name) => spread(name.stable_hash(), 5),
            RecordData::Opt(_) | RecordData::Other(_) => return,
            RecordData::Unreadable => spread(kind.0.into(), 0),
        };
        self.records = self.records.wrapping_add(data);
    }
}

/// Mixes two words well enough to be summed up (the finaliser of `SplitMix64`).
const fn spread(a: u64, b: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Walks the messages of a DNS-over-TCP stream, each behind two octets of length (RFC 1035 4.2.2).
///
/// `bytes` must begin where a message does. The walk ends with [`Framed::Incomplete`] unless a message ends with the
/// bytes.
pub fn framed(bytes: &[u8]) -> impl Iterator<Item = Framed<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let Some((&length, body)) = rest.split_first_chunk() else {
            let start = std::mem::replace(&mut at, bytes.len());
            return Some(Framed::Incomplete {
                at: start,
                part: &[],
                need: 1,
            });
        };
        let length = usize::from(u16::from_be_bytes(length));
        let start = at;
        at += 2 + length;
        Some(match body.get(..length) {
            Some(message) => Framed::Message {
                at: start,
                bytes: message,
            },
            None => Framed::Incomplete {
                at: start,
                part: body,
                need: length - body.len(),
            },
        })
    })
}

/// A piece of a DNS-over-TCP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A whole message.
    Message {
        /// Where in the stream its length octets stand.
        at: usize,
        /// The message, without its length.
        bytes: &'a [u8],
    },
    /// The beginning of a message whose rest is yet to come.
    Incomplete {
        /// Where in the stream its length octets stand.
        at: usize,
        /// What is there of the message.
        part: &'a [u8],
        /// How many octets are wanting; at least so many where not even the length is whole.
        need: usize,
    },
}

/// Whether `bytes` may well be a DNS message: a cheap look for payloads on unknown ports.
///
/// On port 53 do not ask it: what a forger broke may fail here and is read all the same.
#[must_use]
pub fn looks_like_dns(bytes: &[u8]) -> bool {
    let Some(&[_, _, high, low, q0, q1, n0, n1, u0, u1, d0, d1]) = bytes.first_chunk::<HEADER>() else {
        return false;
    };
    let opcode = high >> 3 & 0xf;
    let zero = low & 0x40; // RFC 1035 4.1.1: must be zero
    let questions = u16::from_be_bytes([q0, q1]);
    let records = [[n0, n1], [u0, u1], [d0, d1]]
        .iter()
        .map(|&count| usize::from(u16::from_be_bytes(count)))
        .sum::<usize>();
    // Opcode 3 was never assigned, above 6 none is (RFC 8490). A question takes 5 octets at least, a record 11.
    matches!(opcode, 0..=2 | 4..=6)
        && zero == 0
        && questions <= 1
        && (questions == 1 || high & 0x80 != 0)
        && HEADER + 5 * usize::from(questions) + 11 * records <= bytes.len()
        && (questions == 0 || Name::read(bytes, HEADER).is_ok())
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map(|octets| u16::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUESTION: &[u8] = b"\x03www\x07example\x03com\x00\x00\x01\x00\x01";
    const A: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x08\x07\xc6\x2d";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

    fn message(flags: u16, counts: [u16; 4], parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34];
        bytes.extend(flags.to_be_bytes());
        counts.iter().for_each(|count| bytes.extend(count.to_be_bytes()));
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    fn faults(bytes: &[u8]) -> Vec<Malformed> {
        DnsMessage::read(bytes).unwrap().survey().faults.to_vec()
    }

    #[test]
    fn a_query_tells_its_header_and_question() {
        let bytes = message(0x0110, [1, 0, 0, 1], &[QUESTION, OPT]);
        let query = DnsMessage::read(&bytes).unwrap();
        assert_eq!((query.id(), query.opcode(), query.question_count()), (0x1234, 0, 1));
        assert!(!query.is_response() && query.recursion_desired() && query.checking_disabled());
        let question = query.question().unwrap();
        assert_eq!(question.name.to_string(), "www.example.com");
        assert_eq!((question.qtype, question.qclass), (RecordType::A, Some(1)));
        let survey = query.survey();
        let opt = survey.opt.unwrap();
        assert_eq!((opt.udp_size(), opt.dnssec_ok(), opt.version()), (1232, true, 0));
        assert!(survey.faults.is_empty());
        assert!(looks_like_dns(&bytes));
    }

    #[test]
    fn an_answer_is_read_by_type() {
        let cname = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01a\xc0\x10";
        let aaaa = b"\x01a\xc0\x10\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
        let bytes = message(0x8180, [1, 3, 0, 0], &[QUESTION, cname, A, aaaa]);
        let answer = DnsMessage::read(&bytes).unwrap();
        let texts: Vec<String> = answer
            .answers()
            .map(|record| match record.data() {
                RecordData::A(address) => address.to_string(),
                RecordData::Aaaa(address) => address.to_string(),
                RecordData::Cname(name) => name.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(texts, ["a.example.com", "8.7.198.45", "2001:db8::1"]);
        assert_eq!(answer.survey().shape, Shape::Other);
    }

    #[test]
    fn a_question_without_class_is_told_and_its_answer_still_read() {
        let bytes = message(0x81a0, [1, 1, 0, 0], &[&QUESTION[..QUESTION.len() - 2], A]);
        let answer = DnsMessage::read(&bytes).unwrap();
        assert_eq!(answer.question().unwrap().qclass, None);
        assert_eq!(answer.answers().count(), 1);
        assert_eq!(faults(&bytes), [Malformed::MissingQclass]);
    }

    #[test]
    fn an_odd_class_alone_is_not_a_missing_one() {
        let mut question = QUESTION.to_vec();
        let class = question.len() - 2;
        question[class..].copy_from_slice(b"\xc0\x0c");
        let bytes = message(0x8180, [1, 1, 0, 0], &[&question, A]);
        assert_eq!(faults(&bytes), []);
    }

    #[test]
    fn bytes_behind_the_last_record_are_counted() {
        let bytes = message(0x8180, [1, 1, 0, 0], &[QUESTION, A, b"abc"]);
        assert_eq!(faults(&bytes), [Malformed::TrailingBytes { count: 3 }]);
        assert_eq!(DnsMessage::read(&bytes).unwrap().survey().trailing_bytes(), 3);
    }

    #[test]
    fn an_answer_behind_the_queries_opt_is_told() {
        let bytes = message(0x8180, [1, 1, 0, 1], &[QUESTION, OPT, A]);
        assert_eq!(faults(&bytes), [Malformed::OptMisplaced]);
    }

    #[test]
    fn counts_beyond_the_records_are_told_from_a_cut() {
        let short = message(0x8180, [1, 2, 0, 1], &[QUESTION, A]);
        assert_eq!(faults(&short), [Malformed::CountsWrong { declared: 3, found: 1 }]);
        let cut = message(0x8180, [1, 1, 0, 0], &[QUESTION, &A[..A.len() - 1]]);
        assert_eq!(faults(&cut), [Malformed::RecordCut(Section::Answer)]);
        let mut looping = A.to_vec();
        looping[1] = 0x21;
        let looping = message(0x8180, [1, 1, 0, 0], &[QUESTION, &looping]);
        assert_eq!(
            faults(&looping),
            [Malformed::RecordName(Section::Answer, NameFault::PointerLoop)]
        );
    }

    #[test]
    fn an_address_of_the_wrong_length_is_told() {
        let odd = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x03\x08\x07\xc6";
        assert_eq!(
            faults(&message(0x8180, [1, 1, 0, 0], &[QUESTION, odd])),
            [Malformed::RecordData(RecordType::A)]
        );
    }

    #[test]
    fn an_update_deletes_by_records_without_data() {
        let delete = b"\xc0\x0c\x00\x01\x00\xff\x00\x00\x00\x00\x00\x00";
        assert_eq!(faults(&message(0x2800, [1, 0, 1, 0], &[QUESTION, delete])), []);
    }

    #[test]
    fn a_cut_question_keeps_what_stands_before_the_cut() {
        let bytes = message(0x0100, [1, 0, 0, 0], &[&QUESTION[..QUESTION.len() - 1]]);
        let query = DnsMessage::read(&bytes).unwrap();
        assert_eq!(query.question().unwrap().qtype, RecordType::A);
        assert_eq!(query.question().unwrap().qclass, None);
        assert_eq!(faults(&bytes), [Malformed::QuestionCut]);
        assert!(DnsMessage::read(&bytes[..20]).unwrap().question().is_none());
        assert!(DnsMessage::read(&bytes[..11]).is_none());
    }

    #[test]
    fn several_questions_are_passed() {
        let bytes = message(0x8180, [2, 1, 0, 0], &[QUESTION, b"\xc0\x0c\x00\x1c\x00\x01", A]);
        assert_eq!(DnsMessage::read(&bytes).unwrap().answers().count(), 1);
        assert_eq!(faults(&bytes), []);
    }

    #[test]
    fn the_bare_shape_needs_all_its_marks() {
        let shape = |bytes: &[u8]| DnsMessage::read(bytes).unwrap().survey().shape;
        assert_eq!(shape(&message(0x8400, [1, 1, 0, 0], &[QUESTION, A])), Shape::BareAnswer);
        assert_eq!(shape(&message(0x8180, [1, 1, 0, 1], &[QUESTION, A, OPT])), Shape::Other);
        assert_eq!(shape(&message(0x8180, [1, 2, 0, 0], &[QUESTION, A, A])), Shape::Other);
        let named = [&QUESTION[..17], &A[2..]].concat();
        assert_eq!(shape(&message(0x8180, [1, 1, 0, 0], &[QUESTION, &named])), Shape::Other);
    }

    #[test]
    fn the_content_hash_minds_data_and_rcode_but_neither_order_nor_ttl() {
        let other = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3d\x00\x04\x01\x02\x03\x04";
        let mut aged = A.to_vec();
        aged[9] = 0x01;
        let content = |flags, parts: &[&[u8]]| {
            let parts = [&[QUESTION], parts].concat();
            let bytes = message(flags, [1, parts.len() as u16 - 1, 0, 0], &parts);
            DnsMessage::read(&bytes).unwrap().survey().content
        };
        assert_eq!(content(0x8180, &[A, other]), content(0x8580, &[other, &aged]));
        assert_ne!(content(0x8180, &[A]), content(0x8180, &[other]));
        assert_ne!(content(0x8180, &[A]), content(0x8180, &[A, other]));
        assert_ne!(content(0x8180, &[]), content(0x8183, &[]));
    }

    #[test]
    fn opt_extends_the_rcode_and_owns_up_to_censorship() {
        let opt = b"\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x0c\x00\x0a\x00\x00\x00\x0f\x00\x04\x00\x10no";
        let bytes = message(0x8180, [1, 0, 0, 1], &[QUESTION, opt]);
        let survey = DnsMessage::read(&bytes).unwrap().survey();
        assert_eq!(survey.rcode, 16);
        let error = survey.opt.unwrap().extended_error().unwrap();
        assert_eq!((error.info_code, error.text), (16, b"no".as_slice()));
        assert_eq!(error.acknowledged_blocking(), Some(AcknowledgedBlocking::Censored));
    }

    #[test]
    fn a_stream_is_cut_into_messages_and_says_what_is_wanting() {
        let pieces: Vec<_> = framed(b"\x00\x02ab\x00\x00\x00\x05cd").collect();
        assert_eq!(
            pieces,
            [
                Framed::Message { at: 0, bytes: b"ab" },
                Framed::Message { at: 4, bytes: b"" },
                Framed::Incomplete {
                    at: 6,
                    part: b"cd",
                    need: 3
                },
            ]
        );
        assert_eq!(
            framed(b"\x00").collect::<Vec<_>>(),
            [Framed::Incomplete {
                at: 0,
                part: b"",
                need: 1
            }]
        );
        assert_eq!(framed(b"").count(), 0);
    }

    #[test]
    fn text_and_tls_do_not_look_like_dns() {
        assert!(!looks_like_dns(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"));
        assert!(!looks_like_dns(
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ));
        assert!(looks_like_dns(&message(0x8180, [1, 1, 0, 0], &[QUESTION, A])));
    }

    fn use_everything(bytes: &[u8]) {
        _ = looks_like_dns(bytes);
        assert!(framed(bytes).count() <= bytes.len() / 2 + 1);
        let Some(message) = DnsMessage::read(bytes) else { return };
        if let Some(question) = message.question() {
            assert!(question.name.labels().count() <= 127);
            assert_eq!(
                super::super::dns_name::NameBuf::from(question.name)
                    .as_name()
                    .wire_len(),
                question.name.wire_len()
            );
        }
        let mut records = 0;
        for record in message.records() {
            records += 1;
            assert!(record.end() <= bytes.len());
            _ = format!("{:?}", record.data());
        }
        assert!(records * 11 <= bytes.len());
        _ = format!("{:?}", message.survey());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_or_loop(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            use_everything(&bytes);
        }

        #[test]
        fn a_mutated_answer_never_panics_or_loops(
            changes in proptest::collection::vec((0usize..120, any::<u8>()), 0..8), cut in 0usize..120,
        ) {
            let mut bytes = message(0x8180, [1, 2, 0, 1], &[QUESTION, A, b"\x01a\xc0\x10\x00\x05\x00\x01\0\0\0\0\x00\x02\xc0\x2d", OPT]);
            for (at, octet) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = octet;
                }
            }
            bytes.truncate(cut.max(12));
            use_everything(&bytes);
        }
    }
}
