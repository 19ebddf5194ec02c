//! `tls_interception`: somebody between the client and the server answers TLS, under a certificate of their own.
//!
//! # What it sees
//! The ServerHello of every handshake and, up to TLS 1.2, the chain of certificates behind it.
//!
//! # How it tells
//! By who issued the certificate. Authorities known to intercept are known by name, as those of Kazakhstan since 2015; a
//! name outside that state's own domain, or other names of the same server with certificates of the public's
//! authorities, make it certain. A private authority alone says nothing: it is compared with what the same client gets
//! for the same name otherwise, with the TLS version the name speaks otherwise, and with where the packets come from.
//!
//! TLS 1.3 encrypts the certificate. All there is to see then is where the ServerHello comes from, that is its TTL
//! against that of the SYN-ACK and of other names' hellos, and how long it took; that never suffices for more than
//! `possible`. An interceptor that shakes hands itself and leaves no such trace is not seen.
//!
//! # What it mistakes
//! Companies and virus scanners inspect TLS with the same products as states. What a product issued is told only where
//! the same client got the genuine certificate as well, and as `possible`, unless more speaks for it. A server that
//! moves from a certificate of its own making to a public one looks like half an interception, and stays there. Public
//! authorities are known by a list, and by the marks they owe (transparency stamps, policies): an interceptor that
//! copies those is not seen. Names of a state's own government are left to its own authority.
//!
//! # References
//! wire-facts 3.4, 5.3, 5.5, 8. Raman et al., "Investigating Large Scale HTTPS Interception in Kazakhstan", IMC 2020.
//! OONI, "Kazakhstan: TLS MITM attacks and blocking", 2024. RFC 5246 section 7.4.2; RFC 8446 section 4.1.3.

mod certificate;

use std::net::IpAddr;
use std::time::Duration;

use self::certificate::{Certificate, Covers};
use super::detector::{Attention, Carried, Conclusion, Detector, Sighting};
use super::packs::row::Row;
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, Observation, TlsObservation};
use crate::finding::finding::{Application, Finding, Injector, Kind, Particulars, Party, Position, Stage, TlsFacts};
use crate::finding::tls_shown::{Agreed, Origin, Standing, TlsShown};
use crate::finding::verdict::Prior;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::flow::heads::{HEAD_BYTES, Heads};
use crate::flow::side::Note;
use crate::packet::frame::FrameNumber;
use crate::packet::path_marks::PathMarks;
use crate::payload::address_class::AddressClass;
use crate::payload::dns_name::hash_dotted;
use crate::payload::tls_certificate::{Chain, ChainRead};
use crate::payload::tls_client_hello::ClientHello;
use crate::payload::tls_handshake::{HelloExtent, HelloRead};
use crate::payload::tls_server_hello::{Downgrade, ServerHello};
use crate::time::Timestamp;

/// Finds TLS interception.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsInterception;

/// How far the server's flight has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    /// Not to its end.
    #[default]
    Open,
    /// There is nothing more to read; a handshake was seen.
    Done,
    /// There is nothing more to read; it is no handshake, or what it showed has been told.
    Closed,
}

/// A packet of the server's flight.
#[derive(Clone, Copy, Debug)]
struct Seen {
    frame: FrameNumber,
    at: Timestamp,
    marks: PathMarks,
}

impl Seen {
    const fn of(note: &Note) -> Self {
        Self {
            frame: note.frame,
            at: note.at,
            marks: note.marks,
        }
    }
}

/// A certificate that is none of the public's authorities', or a hello that came from elsewhere.
#[derive(Debug)]
struct Case {
    certificate: Option<Certificate>,
    /// The packets that carry the certificate; without one, the ServerHello.
    frames: Vec<FrameNumber>,
    /// The first of them.
    first: Seen,
    /// The packet with the ServerHello.
    hello: Seen,
    stage: Stage,
    version: &'static str,
}

/// What is kept of one flow.
#[derive(Debug, Default)]
pub struct Memory {
    case: Option<Box<Case>>,
    /// The packet with the ServerHello, once it has been seen.
    hello: Option<Seen>,
    /// How much of the server's first bytes has been looked at.
    read: u16,
    reading: Reading,
    agreed: Agreed,
    standing: Standing,
    origin: Origin,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

/// What is kept for all flows of a shard: room for the joined messages of one flight.
#[derive(Debug, Default)]
pub struct Habits {
    room: Vec<u8>,
}

/// How much of a flight is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The whole chain.
    All,
    /// What is there: no more will come.
    WhatIsThere,
}

impl Detector for TlsInterception {
    const KIND: Kind = Kind::TlsInterception;
    type Memory = Memory;
    type Habits = Habits;

    fn habits(&self) -> Habits {
        Habits {
            // All that can ever be joined, so that it never grows; pages that are never written to cost nothing.
            room: Vec::with_capacity(HEAD_BYTES),
        }
    }

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, habits: &mut Habits) -> Attention {
        if memory.reading != Reading::Open || sighting.flow.application != Application::Tls {
            return Attention::Idle;
        }
        let Carried::Segment(_) = sighting.carried else {
            return Attention::Idle;
        };
        look(sighting.flow, sighting.heads, memory, habits, Wanted::All);
        if memory.case.is_some() {
            Attention::Suspicious
        } else {
            Attention::Idle
        }
    }

    fn rests(&self, flow: &Flow, memory: &Self::Memory) -> bool {
        flow.application != Application::Tls || memory.reading != Reading::Open
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, habits: &mut Habits, docket: &mut Docket) {
        let flow = conclusion.flow;
        if flow.application != Application::Tls {
            return;
        }
        let over = conclusion.ending.is_over();
        if over && memory.reading == Reading::Open {
            memory.read = 0;
            look(flow, conclusion.heads, memory, habits, Wanted::WhatIsThere);
        }
        // A hello from elsewhere shows only once more packets have come.
        if memory.reading != Reading::Done || !(over || memory.case.is_some()) {
            return;
        }
        memory.reading = Reading::Closed;
        let conversation = flow.conversation();
        docket.note(TlsShown {
            flow: flow.first_frame,
            client: conversation.client.ip,
            server: conversation.server.ip,
            name: name(flow).map_or(0, hash_dotted),
            agreed: memory.agreed,
            standing: memory.standing,
            origin: memory.origin,
        });
        if let Some(finding) = memory.case.take().and_then(|case| weigh(*case, memory, flow)) {
            docket.file(finding);
        }
    }
}

fn name(flow: &Flow) -> Option<&str> {
    let name = flow.asked.as_ref()?.name.as_str();
    (!name.is_empty()).then_some(name)
}

/// Reads the server's flight, if more of it is there than when it was last looked at.
fn look(flow: &Flow, heads: &Heads, memory: &mut Memory, habits: &mut Habits, wanted: Wanted) {
    let Some(head) = flow.side(Party::Server).head else {
        return;
    };
    let bytes = heads.whole(head);
    let wanted = if bytes.len() >= HEAD_BYTES {
        Wanted::WhatIsThere
    } else {
        wanted
    };
    if bytes.len() <= usize::from(memory.read) {
        return;
    }
    memory.read = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let hello = match ServerHello::read(bytes) {
        HelloRead::Hello(hello) if matches!(hello.extent, HelloExtent::Whole { .. }) => hello,
        HelloRead::Hello(_) | HelloRead::Incomplete { .. } => return,
        HelloRead::NotHello => {
            memory.reading = Reading::Closed;
            return;
        }
    };
    let note = |frame: FrameNumber| flow.side(Party::Server).notes().find(|note| note.frame == frame);
    let seen = match memory.hello {
        Some(seen) => seen,
        None => {
            let Some(seen) = heads.frame_of(head, 0).and_then(note).map(Seen::of) else {
                memory.reading = Reading::Closed;
                return;
            };
            memory.hello = Some(seen);
            memory.agreed = agreed(&hello, flow, heads);
            memory.origin = origin(flow, &seen);
            seen
        }
    };
    let case = |certificate, first, frames| {
        Box::new(Case {
            certificate,
            frames,
            first,
            hello: seen,
            stage: Stage::PostPsh,
            version: version_text(hello.version()),
        })
    };
    let chain = match memory.agreed {
        Agreed::Tls13 => ChainRead::None,
        Agreed::Older | Agreed::Fell => Chain::read(bytes, &mut habits.room),
    };
    match chain {
        ChainRead::Incomplete if wanted == Wanted::All => return,
        ChainRead::Chain(chain) if !chain.is_whole && wanted == Wanted::All => return,
        ChainRead::Chain(chain) => {
            if let Some(certificate) = Certificate::judge(&chain, name(flow)) {
                memory.standing = certificate.standing;
                if certificate.standing > Standing::Public {
                    let covered = |offset: u32, len: u32| {
                        (offset as usize) < chain.end && (offset as usize + len as usize) > chain.start
                    };
                    let mut frames: Vec<FrameNumber> = heads
                        .pieces(head)
                        .iter()
                        .filter(|piece| covered(piece.offset, piece.len))
                        .map(|piece| piece.frame)
                        .collect();
                    frames.sort_unstable();
                    frames.dedup();
                    // A long chain takes more packets than are remembered; the first is near the hello in any case.
                    let first = match frames.first().copied() {
                        Some(frame) => note(frame).map_or(Seen { frame, ..seen }, Seen::of),
                        None => seen,
                    };
                    memory.case = Some(case(Some(certificate), first, frames));
                }
            }
        }
        ChainRead::Incomplete | ChainRead::None => {}
    }
    if memory.case.is_none() && memory.origin == Origin::Elsewhere {
        memory.case = Some(case(None, seen, vec![seen.frame]));
    }
    memory.reading = Reading::Done;
}

fn agreed(hello: &ServerHello, flow: &Flow, heads: &Heads) -> Agreed {
    const TLS13: u16 = 0x0304;
    if hello.version() >= TLS13 || hello.is_retry_request() {
        return Agreed::Tls13;
    }
    let offers = ClientHello::read(flow.head(Party::Client, heads))
        .hello()
        .is_some_and(|client| client.newest_version >= TLS13);
    match hello.downgrade() {
        Downgrade::Unmarked if offers => Agreed::Fell,
        Downgrade::Unmarked | Downgrade::ToTls12 | Downgrade::ToTls11 => Agreed::Older,
    }
}

/// Whether the hello came from where the SYN-ACK came from.
fn origin(flow: &Flow, hello: &Seen) -> Origin {
    let server = flow.side(Party::Server);
    let Some(opening) = server.opening.filter(|_| flow.saw_handshake()) else {
        return Origin::Unknown;
    };
    // Two apart at least: routes of one length more or less change (wire-facts 8).
    if opening.marks.ttl.abs_diff(hello.marks.ttl) < 2 {
        return Origin::AsTheHandshake;
    }
    // A proxy that hands the flow over shows once; the server's own ACK before tells whose TTL is whose.
    if server.profile.count_of(opening.marks.ttl) > 1 {
        return Origin::Unknown;
    }
    Origin::Elsewhere
}

const fn version_text(version: u16) -> &'static str {
    match version {
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        _ => "TLS",
    }
}

/// An answer later than this many round trips, and [`LATE`], is late.
const LATE_ROUND_TRIPS: u32 = 3;

/// Servers think for some time, too.
const LATE: Duration = Duration::from_millis(150);

fn weigh(case: Case, memory: &Memory, flow: &Flow) -> Option<Finding> {
    let asked = flow.asked.as_ref()?;
    let server = flow.conversation().server.ip;
    let mut evidence = Vec::new();
    let mut add = |observation, frames: &[FrameNumber]| {
        evidence.push(Evidence::at(Observation::Tls(observation), frames));
    };
    let mut prior = Prior::Ordinary;
    let mut row = None;
    match &case.certificate {
        Some(certificate) => {
            row = certificate.row;
            match certificate.standing {
                Standing::Unseen | Standing::Public => return None,
                Standing::Interceptor => {
                    if is_own_government(asked.name.as_str(), row) {
                        return None;
                    }
                    prior = Prior::Abnormal;
                    let confidence = row.map_or(0, |row| row.confidence);
                    add(TlsObservation::KnownInterceptor { confidence }, &case.frames);
                    if is_outside(asked.name.as_str(), row) {
                        add(TlsObservation::OutsideItsCountry, &[asked.frame]);
                    }
                }
                // What a private authority does in a private network is nobody's business.
                Standing::Product | Standing::Unlisted if asked.name.is_empty() || is_private(server) => return None,
                Standing::Product => add(TlsObservation::ProductIssuer, &case.frames),
                Standing::Unlisted => add(TlsObservation::UnlistedIssuer, &case.frames),
            }
            if certificate.covers == Covers::Others && certificate.standing != Standing::Interceptor {
                add(TlsObservation::NameNotCovered, &case.frames);
            }
        }
        None if asked.name.is_empty() || is_private(server) => return None,
        None => {}
    }
    let opening = flow.side(Party::Server).opening.map(|opening| opening.marks.ttl);
    let elsewhere = memory.origin == Origin::Elsewhere;
    if let (true, Some(opening)) = (elsewhere, opening) {
        let hello = case.hello.marks.ttl;
        add(
            TlsObservation::HelloFromElsewhere { hello, opening },
            &[case.hello.frame],
        );
    }
    let after = case.hello.at.since(asked.at);
    if let Some(round_trip) = flow.round_trip(Party::Server)
        && case.hello.at > asked.at
        && after > round_trip * LATE_ROUND_TRIPS + LATE
    {
        add(
            TlsObservation::LateHello { after, round_trip },
            &[asked.frame, case.hello.frame],
        );
    }
    let text = |name: fn(&Certificate) -> &str| {
        case.certificate
            .as_ref()
            .map(|certificate| name(certificate).to_owned())
    };
    Some(Finding {
        kind: Kind::TlsInterception,
        conversation: flow.conversation(),
        decided_by: case.first.frame,
        at: case.first.at,
        stage: Some(case.stage),
        signature: None,
        claimed_sender: Some(Party::Server),
        position: Position::InPath,
        trigger: Some(asked.trigger()),
        particulars: Particulars {
            fingerprint: row.map(Row::matched),
            tls: Some(TlsFacts {
                version: case.version,
                issuer: text(|certificate| &certificate.issuer),
                subject: text(|certificate| &certificate.subject),
            }),
            ..Particulars::default()
        },
        forged: case.frames,
        genuine: Vec::new(),
        dropped: Vec::new(),
        prior,
        evidence,
        injector: Some(Injector::from_marks(&case.first.marks, elsewhere)),
    })
}

fn is_private(server: IpAddr) -> bool {
    AddressClass::of(server) != AddressClass::Public
}

/// The top-level domains of the row's countries, as far as they are their ISO 3166-1 codes.
fn countries(row: Option<&Row>) -> impl Iterator<Item = &str> {
    row.into_iter().flat_map(|row| row.countries.iter().map(String::as_str))
}

/// Whether `name` lies outside the domains of the countries the row is known from.
fn is_outside(name: &str, row: Option<&Row>) -> bool {
    let top = name.rsplit('.').next().unwrap_or_default();
    // A single label is a machine's name, not the world's.
    name.contains('.')
        && countries(row).next().is_some()
        && !countries(row).any(|country| country.eq_ignore_ascii_case(top))
}

/// Whether `name` is one of the government whose authority this is.
fn is_own_government(name: &str, row: Option<&Row>) -> bool {
    let mut labels = name.rsplit('.');
    let (top, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    matches!(second, "gov" | "mil") && countries(row).any(|country| country.eq_ignore_ascii_case(top))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::detector::Ending;
    use crate::detect::packs::pack::Pack;
    use crate::detect::trial::Trial;
    use crate::flow::talk::{A, Talk, client, hello, newer_hello, opened, server, server_hello};

    /// The flow after the hellos, and what they agreed on.
    fn agreed_on(client_hello: &[u8], hello: &[u8]) -> Agreed {
        let asked = 1 + client_hello.len() as u32;
        let talk = Talk::of(
            443,
            &opened(&[client(A, 1, 1, client_hello), server(A, 1, asked, hello)]),
        );
        let hello = ServerHello::read(hello).hello().unwrap();
        agreed(&hello, talk.flow(), &talk.stores.heads)
    }

    #[test]
    fn a_version_that_fell_bears_no_mark_though_both_were_offered_better() {
        let (old, new) = (hello(), newer_hello());
        let plain = server_hello(&[7; 8], None);
        assert_eq!(agreed_on(&old, &plain), Agreed::Older);
        assert_eq!(agreed_on(&new, &plain), Agreed::Fell);
        assert_eq!(agreed_on(&new, &server_hello(b"DOWNGRD\x01", None)), Agreed::Older);
        assert_eq!(agreed_on(&new, &server_hello(b"DOWNGRD\x00", None)), Agreed::Older);
        for version in [0x0304, 0x0305] {
            assert_eq!(agreed_on(&new, &server_hello(&[7; 8], Some(version))), Agreed::Tls13);
        }
        assert_eq!(agreed_on(&new, &server_hello(&[7; 8], Some(0x0303))), Agreed::Fell);
    }

    #[test]
    fn a_hello_from_two_hops_off_is_from_elsewhere() {
        let client_hello = hello();
        let asked = 1 + client_hello.len() as u32;
        let hello = server_hello(&[7; 8], Some(0x0304));
        let from = |ttl: u8, heard: bool| {
            let mut packets = opened(&[client(A, 1, 1, &client_hello)]);
            if heard {
                packets.push(server(A, 1, asked, b""));
            }
            packets.push(server(A, 1, asked, &hello).ttl(ttl));
            let talk = Talk::of(443, &packets);
            let seen = Seen::of(talk.flow().side(Party::Server).notes().next().unwrap());
            origin(talk.flow(), &seen)
        };
        for (ttl, heard, expected) in [
            (50, false, Origin::AsTheHandshake),
            (51, false, Origin::AsTheHandshake),
            (49, true, Origin::AsTheHandshake),
            (52, false, Origin::Elsewhere),
            (48, false, Origin::Elsewhere),
            (48, true, Origin::Unknown),
        ] {
            assert_eq!(from(ttl, heard), expected, "{ttl} {heard}");
        }
        let talk = Talk::of(443, &[client(A, 1, 1, &client_hello), server(A, 1, asked, &hello)]);
        let seen = Seen::of(talk.flow().side(Party::Server).notes().next().unwrap());
        assert_eq!(origin(talk.flow(), &seen), Origin::Unknown);
    }

    /// What is told of a hello that comes from elsewhere, so many milliseconds after the client's.
    fn told_after(millis: u64) -> Finding {
        let client_hello = hello();
        let asked = 1 + client_hello.len() as u32;
        let hello = server_hello(&[7; 8], Some(0x0304));
        let mut trial = Trial::of(TlsInterception, 443);
        trial.show(&opened(&[client(A, 1, 1, &client_hello)]));
        trial.show_at(40 + millis, &server(A, 1, asked, &hello).ttl(40));
        assert_eq!(
            trial.memory.hello.map(|seen| seen.frame),
            None,
            "it is learnt after it was shown"
        );
        assert_eq!(
            trial.show(&[client(A, asked, 1 + hello.len() as u32, b"")]),
            [Attention::Suspicious]
        );
        assert_eq!(trial.memory.hello.map(|seen| seen.frame.in_file()), Some(5));
        assert!(trial.rests());
        let mut found = trial.conclude(Ending::SuspicionDue);
        assert_eq!(trial.conclude(Ending::Over).len(), 0, "once");
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    #[test]
    fn a_late_hello_takes_three_round_trips_and_more() {
        let keys = |finding: &Finding| -> Vec<_> {
            let evidence = finding.evidence.iter();
            evidence
                .map(|item| (item.observation.key(), item.frames.len()))
                .collect()
        };
        let soon = told_after(180);
        assert_eq!(keys(&soon), [("hello_from_elsewhere", 1)]);
        assert_eq!((soon.decided_by.in_file(), soon.forged.len()), (5, 1));
        let late = told_after(181);
        assert_eq!(keys(&late), [("hello_from_elsewhere", 1), ("late_hello", 2)]);
        assert_eq!(soon.verdict().max(late.verdict()), late.verdict());
        assert_eq!(late.particulars.tls.unwrap().version, "TLS 1.3");
    }

    #[test]
    fn a_chain_that_is_still_coming_is_waited_for() {
        let client_hello = hello();
        let asked = 1 + client_hello.len() as u32;
        for (hello, waits) in [
            (server_hello(&[7; 8], None), true),
            (server_hello(&[7; 8], Some(0x0304)), false),
        ] {
            let mut trial = Trial::of(TlsInterception, 443);
            let answer = server(A, 1, asked, &hello);
            let heard = client(A, asked, 1 + hello.len() as u32, b"");
            trial.show(&opened(&[client(A, 1, 1, &client_hello), answer, heard]));
            assert_eq!(trial.memory.reading == Reading::Open, waits);
            trial.conclude(Ending::Over);
            assert_eq!(trial.memory.reading, Reading::Closed);
        }
    }

    #[test]
    fn a_flow_that_is_no_tls_is_not_looked_at() {
        let mut trial = Trial::of(TlsInterception, 443);
        let words = client(A, 1, 1, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        trial.show(&opened(&[words, server(A, 1, 1, b"\x16\x03\x03\0\0")]));
        assert!(trial.rests());
        assert_eq!(trial.conclude(Ending::Over).len(), 0);
        let mut trial = Trial::of(TlsInterception, 443);
        trial.show(&opened(&[client(A, 1, 1, &hello())]));
        assert!(!trial.rests());
        let answer = server(A, 1, 1 + hello().len() as u32, b"no hello at all");
        trial.show(&[answer, client(A, 1 + hello().len() as u32, 16, b"")]);
        assert_eq!(trial.memory.reading, Reading::Closed);
        assert!(trial.rests());
    }

    #[test]
    fn a_name_lies_outside_a_country_by_its_last_label() {
        let row = Pack::builtin().rows().iter().find(|row| row.countries == ["KZ"]);
        let row = row.map(AsRef::as_ref);
        for (name, outside, own) in [
            ("www.example.org", true, false),
            ("www.example.kz", false, false),
            ("WWW.EXAMPLE.KZ", false, false),
            ("www.gov.kz", false, true),
            ("a.mil.kz", false, true),
            ("gov.kz", false, true),
            ("www.gov.org", true, false),
            ("printer", false, false),
            ("gov", false, false),
        ] {
            assert_eq!(
                (is_outside(name, row), is_own_government(name, row)),
                (outside, own),
                "{name}"
            );
            assert!(!is_outside(name, None) && !is_own_government(name, None), "{name}");
        }
    }

    #[test]
    fn versions_have_names() {
        let names = [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0305].map(version_text);
        assert_eq!(names, ["SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3", "TLS"]);
    }
}
