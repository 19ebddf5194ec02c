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
