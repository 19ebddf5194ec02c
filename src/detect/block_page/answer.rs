//! One HTTP answer, reduced to what it is judged by.

use std::sync::Arc;

use arrayvec::{ArrayString, ArrayVec};

use crate::detect::packs::pack::{Pack, ResponseFacts};
use crate::detect::packs::row::Row;
use crate::finding::finding::Stage;
use crate::flow::flow::Flow;
use crate::flow::heads::Conflict;
use crate::flow::name_text::NameText;
use crate::flow::side::Note;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{Segment, SequenceNumber};
use crate::payload::html_facts::HtmlFacts;
use crate::payload::http_body::{DecodingRoom, decode_body};
use crate::payload::http_head::{HttpRead, ResponseHead, authority_of_url, host_of_authority, looks_like_response};
use crate::payload::public_suffix::registrable;
use crate::time::Timestamp;

/// The request an answer answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) frame: FrameNumber,
    pub(super) at: Timestamp,
    pub(super) seq: SequenceNumber,
    pub(super) end: SequenceNumber,
}

/// What its server sent besides it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contradiction {
    /// Other bytes for the same place in the stream.
    Rival { other: Note, conflict: Conflict },
    /// Data after the FIN it came with.
    AfterFin { other: Note },
}

impl Contradiction {
    pub(super) const fn other(&self) -> &Note {
        match self {
            Self::Rival { other, .. } | Self::AfterFin { other } => other,
        }
    }
}

/// What its server sent behind an answer that says it is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunOn {
    /// The first packet of it.
    pub(super) first: Note,
    /// How many bytes lie between the end of the answer's packet and this one.
    pub(super) hole: u32,
    /// When the first byte behind the answer came, if there was a hole.
    pub(super) filled: Option<Timestamp>,
    /// Where the furthest of it ends.
    pub(super) end: SequenceNumber,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) note: Note,
    pub(super) request: Option<Request>,
    /// How far the flow had come before it.
    pub(super) stage: Stage,
    /// The status code; none for a page without a status line.
    pub(super) status: Option<u16>,
    pub(super) location: Option<ArrayString<160>>,
    pub(super) leads_elsewhere: bool,
    /// Neither Date nor Server.
    pub(super) bare: bool,
    /// What of a pack its first packet matches.
    pub(super) row: Option<Arc<Row>>,
    /// Where it leads, if that is odd by itself.
    pub(super) leads: Leads,
    /// How long its first packet is, in bytes of payload.
    pub(super) first_len: usize,
    /// Whether what follows its first packet may show that it is a page.
    pub(super) may_be_page: bool,
    pub(super) contradictions: ArrayVec<Contradiction, 4>,
    /// Whether it is a bare refusal that by its Content-Length ends in its first packet, which does not close.
    pub(super) complete: bool,
    /// Where it ends then, by its own account.
    pub(super) end: SequenceNumber,
    pub(super) run_on: Option<RunOn>,
}

/// More bytes than this between two packets of one flight are a mistake of ours.
const FAR: i32 = 1 << 24;

impl Answer {
    /// Reads the answer that begins with `segment`.
    pub(super) fn read(
        note: Note,
        segment: &Segment<'_>,
        flow: &Flow,
        pack: &Pack,
        room: &mut DecodingRoom,
    ) -> Option<Self> {
        let asked = flow.asked.as_ref();
        let mut answer = Self {
            note,
            request: asked.map(|asked| Request {
                frame: asked.frame,
                at: asked.at,
                seq: asked.seq,
                end: asked.end,
            }),
            stage: flow.stage(),
            status: None,
            location: None,
            leads_elsewhere: false,
            bare: false,
            row: None,
            leads: Leads::Nowhere,
            may_be_page: true,
            first_len: segment.payload.len(),
            contradictions: ArrayVec::new(),
            complete: false,
            end: note.end(),
            run_on: None,
        };
        match ResponseHead::read(segment.payload) {
            HttpRead::Head(head) => {
                let location = head.location();
                answer.status = Some(head.status);
                answer.location = location.map(printable);
                answer.leads_elsewhere =
                    location.is_some_and(|location| leads_elsewhere(location, asked.map(|asked| &asked.name)));
                // A head that is cut may yet name them.
                answer.bare = head.date().is_none() && head.server().is_none() && head.extent.body_at().is_some();
                answer.row = known(&head, segment.payload, pack, room);
                if let Some(len) = own_len(&head).filter(|len| *len <= segment.payload.len())
                    && answer.refuses_bare()
                    && !note.flags.fin()
                {
                    answer.complete = true;
                    answer.end = note.seq.plus(len as u32);
                    answer.see_what_is_glued_to_it(&segment.payload[len..]);
                }
                answer.may_be_page = head.extent.body_at().is_none() || may_be_read(&head);
                if let Some(asked) = asked.filter(|asked| !asked.name.is_empty() && head.status < 400) {
                    answer.leads = leads(&head, segment.payload, &asked.name, room);
                }
            }
            HttpRead::NotHttp if is_page(segment.payload) => answer.row = known_page(segment.payload, pack),
            HttpRead::NotHttp | HttpRead::Incomplete => return None,
        }
        Some(answer)
    }

    /// Whether it is what block pages are: a redirect, a refusal, or something that closes at once.
    pub(super) const fn looks_like_a_notice(&self) -> bool {
        matches!(self.status, None | Some(300..=599)) || self.note.flags.fin()
    }

    /// Whether it redirects to another site or refuses, without Date and Server, and closes the stream with the same packet.
    pub(super) const fn closes_bare(&self) -> bool {
        self.note.flags.fin() && self.refuses_bare()
    }

    /// Whether it redirects to another site or refuses, without Date and Server.
    const fn refuses_bare(&self) -> bool {
        let refuses = match self.status {
            Some(300..=399) => self.leads_elsewhere,
            Some(400..=499) => true,
            _ => false,
        };
        self.bare && refuses
    }

    /// Whether it should be weighed soon.
    pub(super) fn deserves_a_look(&self) -> bool {
        self.looks_like_a_notice()
            || self.row.is_some()
            || self.leads != Leads::Nowhere
            || !self.contradictions.is_empty()
    }

    /// Notes a later packet of the same server if it contradicts this answer.
    pub(super) fn is_contradicted_by(&mut self, later: &Note, conflict: Option<Conflict>) -> bool {
        if let Some(conflict) = conflict.filter(|conflict| conflict.earlier == self.note.frame) {
            let _ = self.contradictions.try_push(Contradiction::Rival {
                other: *later,
                conflict,
            });
            return true;
        }
        // Beyond the FIN's own number there is nothing for an honest sender to send.
        let beyond = later.end().ahead_of(self.note.end());
        if self.note.flags.fin() && later.frame != self.note.frame && (1..1 << 24).contains(&beyond) {
            let _ = self.contradictions.try_push(Contradiction::AfterFin { other: *later });
            return true;
        }
        false
    }

    /// Notes what follows it in its own packet: segmentation offload glues what came in several into one.
    fn see_what_is_glued_to_it(&mut self, rest: &[u8]) {
        // Some servers end a body with an empty line that they do not count.
        let says_something = rest.iter().any(|octet| *octet != 0 && !octet.is_ascii_whitespace());
        if !says_something {
            return;
        }
        if looks_like_response(rest) {
            self.complete = false;
            return;
        }
        self.run_on = Some(RunOn {
            first: self.note,
            hole: 0,
            filled: None,
            end: self.note.end(),
        });
    }

    /// Notes a later packet of the same server if it goes on behind this answer though that is complete, and no other
    /// request has reached the server. `payload` is the packet's; a FIN tells by its number alone.
    pub(super) fn is_gone_beyond_by(&mut self, later: &Note, payload: &[u8]) {
        let Some(request) = self.request.filter(|_| self.complete) else {
            return;
        };
        let heard_more = |note: &Note| note.ack.ahead_of(request.end) > 1;
        let beyond = later.seq.ahead_of(self.note.end());
        if later.frame == self.note.frame
            || !(0..FAR).contains(&beyond)
            || (beyond == 0 && payload.is_empty())
            || heard_more(&self.note)
            || heard_more(later)
        {
            return;
        }
        if beyond == 0 && looks_like_response(payload) {
            // Two answers to one request: a server that tells a waiting client that it closes does so (408).
            self.complete = false;
            self.run_on = None;
            return;
        }
        let run_on = self.run_on.get_or_insert(RunOn {
            first: *later,
            hole: beyond as u32,
            filled: None,
            end: later.end(),
        });
        if later.end().is_after(run_on.end) {
            run_on.end = later.end();
        }
        if beyond == 0 && run_on.hole > 0 && run_on.filled.is_none() {
            run_on.filled = Some(later.at);
        }
    }

    /// Notes that an earlier packet of the same server holds other bytes for the same place.
    pub(super) fn contradict_with(&mut self, other: Note, conflict: Option<Conflict>) {
        if let Some(conflict) = conflict {
            let _ = self.contradictions.try_push(Contradiction::Rival { other, conflict });
        }
    }
}

/// What of `pack` an answer matches, from as much of it as `bytes` holds.
pub(super) fn known(head: &ResponseHead<'_>, bytes: &[u8], pack: &Pack, room: &mut DecodingRoom) -> Option<Arc<Row>> {
    let (first, raw) = bytes.split_at(head.extent.body_at().unwrap_or(bytes.len()).min(bytes.len()));
    let body = if may_be_read(head) {
        decode_body(head, raw, room).bytes
    } else {
        &[]
    };
    let page = HtmlFacts::read(body);
    let targets: ArrayVec<&[u8], 4> = page.targets().take(4).collect();
    let facts = ResponseFacts {
        location: head.location(),
        page_targets: &targets,
        headers: head.headers.as_slice(),
        head: first,
        body,
    };
    pack.match_response(&facts).map(|hit| Arc::clone(hit.row))
}

/// Whether a browser would show the body as a page: images, films and archives are no notices, and most of the traffic.
fn may_be_read(head: &ResponseHead<'_>) -> bool {
    let Some(kind) = head.content_type() else { return true };
    let kind = kind.trim_ascii_start();
    ![
        &b"image/"[..],
        b"video/",
        b"audio/",
        b"font/",
        b"application/octet-stream",
        b"application/zip",
    ]
    .iter()
    .any(|opaque| {
        kind.get(..opaque.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(opaque))
    })
}

/// How long the answer is that begins with `head`, in bytes, as it says itself.
fn own_len(head: &ResponseHead<'_>) -> Option<usize> {
    let body = head.content_length().filter(|_| !head.is_chunked())?;
    head.extent.body_at()?.checked_add(usize::try_from(body).ok()?)
}

/// A place an answer leads to that is odd by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// None.
    Nowhere,
    /// A search page of another site, about the very name asked for.
    ToSearchGuide,
    /// The asker's own machine.
    BackToAsker,
}

/// A page larger than this does more than lead elsewhere [E].
const SMALL_PAGE: usize = 2048;

/// Where an answer leads by its head, or by a page too small for anything else.
fn leads(head: &ResponseHead<'_>, bytes: &[u8], asked: &str, room: &mut DecodingRoom) -> Leads {
    if let Some(location) = head.location() {
        return leads_to(location, asked);
    }
    let raw = head.extent.body_at().and_then(|at| bytes.get(at..)).unwrap_or_default();
    if head.status != 200 || raw.is_empty() || raw.len() > SMALL_PAGE {
        return Leads::Nowhere;
    }
    let page = HtmlFacts::read(decode_body(head, raw, room).bytes);
    page.meta_refresh
        .map_or(Leads::Nowhere, |target| leads_to(target, asked))
}

fn leads_to(target: &[u8], asked: &str) -> Leads {
    let Some(authority) = authority_of_url(target) else {
        return Leads::Nowhere;
    };
    let Some(host) = host_of_authority(authority) else {
        return Leads::Nowhere;
    };
    // Programs on the asker's machine that wait for a browser's call give a port.
    if authority == host.as_bytes() && ["localhost", "127.0.0.1", "0.0.0.0"].contains(&host) {
        return Leads::BackToAsker;
    }
    let Some(query) = memchr::memchr(b'?', target) else {
        return Leads::Nowhere;
    };
    let (place, query) = target.split_at(query);
    let holds = |text: &[u8], word: &str| {
        text.windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    let searches = holds(place, "search") || holds(place, "guide");
    if searches && holds(query, asked) && domain(&NameText::lower(host)) != domain(asked) {
        Leads::ToSearchGuide
    } else {
        Leads::Nowhere
    }
}

/// Whether `bytes` are an HTML page without a status line, as some boxes send it.
pub(super) fn is_page(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    [&b"<html"[..], b"<!doctype html", b"<head", b"<body"]
        .iter()
        .any(|tag| {
            start
                .get(..tag.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(tag))
        })
}

/// What of `pack` a page without a status line matches.
fn known_page(body: &[u8], pack: &Pack) -> Option<Arc<Row>> {
    let page = HtmlFacts::read(body);
    let targets: ArrayVec<&[u8], 4> = page.targets().take(4).collect();
    pack.match_response(&ResponseFacts {
        page_targets: &targets,
        body,
        ..ResponseFacts::default()
    })
    .map(|hit| Arc::clone(hit.row))
}

/// Whether a redirect leads to another registrable domain, or from a name to a bare address.
fn leads_elsewhere(location: &[u8], asked: Option<&NameText>) -> bool {
    let Some(target) = authority_of_url(location).and_then(host_of_authority) else {
        return false;
    };
    let Some(asked) = asked.filter(|name| !name.is_empty()) else {
        return false;
    };
    domain(&NameText::lower(target)) != domain(asked)
}

fn domain(name: &str) -> &str {
    registrable(name).unwrap_or(name)
}

/// `bytes` as text for a reader, cut to what fits.
fn printable(bytes: &[u8]) -> ArrayString<160> {
    let mut text = ArrayString::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        if text.try_push(character).is_err() {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::talk::{A, F, Sent, Talk, client, opened, server};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
    const ASKED: u32 = 1 + REQUEST.len() as u32;

    /// What is read of an answer to a request for `www.example.org`.
    fn read(answer: Sent<'_>) -> Option<Answer> {
        let mut talk = Talk::of(80, &opened(&[client(A, 1, 1, REQUEST)]));
        let mut read = None;
        talk.say_at(50, &answer, |shown| {
            let note = Note::of(shown.packet, shown.segment);
            let mut room = DecodingRoom::default();
            read = Answer::read(note, shown.segment, shown.flow, Pack::builtin(), &mut room);
        });
        read
    }

    /// The same of an answer that begins so and ends its head.
    fn says(flags: u16, head: &str) -> Answer {
        let bytes = format!("HTTP/1.1 {head}\r\n\r\n");
        read(server(flags, 1, ASKED, bytes.as_bytes())).unwrap()
    }

    #[test]
    fn redirects_refusals_and_ends_look_like_notices() {
        for (head, notice) in [
            ("200 OK", false),
            ("299 OK", false),
            ("300 Choose", true),
            ("403 Forbidden", true),
            ("599 Other", true),
            ("600 Other", false),
            ("100 Go on", false),
        ] {
            assert_eq!(says(A, head).looks_like_a_notice(), notice, "{head}");
            assert_eq!(says(A, head).deserves_a_look(), notice, "{head}");
            assert!(says(F | A, head).looks_like_a_notice(), "{head}");
        }
        let page = read(server(A, 1, ASKED, b" <HTML><body>Sorry</body>")).unwrap();
        assert!(page.status.is_none() && page.looks_like_a_notice());
        assert!(read(server(A, 1, ASKED, b"some words")).is_none());
        assert!(read(server(A, 1, ASKED, b"HTTP/1.1 20")).is_none());
        assert!(
            says(A, "200 OK\r\nLocation: http://localhost/").deserves_a_look(),
            "it leads back"
        );
    }

    #[test]
    fn a_refusal_without_date_and_server_that_ends_at_once_closes_bare() {
        for (flags, head, closes) in [
            (F | A, "403 Forbidden", true),
            (A, "403 Forbidden", false),
            (F | A, "403 Forbidden\r\nServer: nginx", false),
            (F | A, "403 Forbidden\r\nDate: Sat, 10 Jan 2026 08:00:00 GMT", false),
            (F | A, "500 Broken", false),
            (F | A, "200 OK", false),
            (F | A, "302 Found\r\nLocation: http://notice.example.net/", true),
            (F | A, "302 Found\r\nLocation: http://example.org/", false),
            (F | A, "302 Found\r\nLocation: /other", false),
        ] {
            assert_eq!(says(flags, head).closes_bare(), closes, "{flags:x} {head}");
        }
        // A head that is cut may yet name them.
        let cut = read(server(
            F | A,
            1,
            ASKED,
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n",
        ))
        .unwrap();
        assert!(!cut.bare);
    }

    #[test]
    fn data_behind_an_answer_with_a_fin_contradict_it() {
        let contradicts = |flags: u16, seq: u32, payload: &[u8]| {
            let mut answer = says(flags, "403 Forbidden");
            let end = answer.note.end();
            let mut later = answer.note;
            later.frame = FrameNumber::new(0, 9);
            later.seq = end.plus(seq);
            later.span = payload.len() as u32;
            let told = answer.is_contradicted_by(&later, None);
            assert_eq!(
                (told, answer.deserves_a_look()),
                (answer.contradictions.len() == 1, true)
            );
            told
        };
        assert!(contradicts(F | A, 0, b"x"));
        assert!(!contradicts(F | A, 0, b""));
        assert!(!contradicts(F | A, 0_u32.wrapping_sub(1), b"x"));
        assert!(contradicts(F | A, (1 << 24) - 2, b"x"));
        assert!(!contradicts(F | A, (1 << 24) - 1, b"x"));
        assert!(!contradicts(A, 0, b"x"));
        let mut answer = says(F | A, "403 Forbidden");
        let same = answer.note;
        assert!(!answer.is_contradicted_by(&same, None));
        let conflict = |earlier| Conflict {
            earlier,
            earlier_offset: 0,
            shared: 9,
            differing: 3,
        };
        assert!(!answer.is_contradicted_by(&same, Some(conflict(FrameNumber::new(0, 77)))));
        assert!(answer.is_contradicted_by(&same, Some(conflict(same.frame))));
    }

    #[test]
    fn pictures_and_films_are_no_pages() {
        for (kind, page) in [
            ("text/html", true),
            ("application/json", true),
            ("IMAGE/png", false),
            (" video/mp4", false),
            ("audio/ogg", false),
            ("font/woff2", false),
            ("application/octet-stream", false),
            ("application/zip", false),
            ("imag", true),
        ] {
            assert_eq!(
                says(A, &format!("200 OK\r\nContent-Type: {kind}")).may_be_page,
                page,
                "{kind}"
            );
        }
        assert!(says(A, "200 OK").may_be_page);
    }

    #[test]
    fn a_small_page_may_lead_elsewhere_by_itself() {
        const REFRESH: &str = "<meta http-equiv=\"refresh\" content=\"0; url=http://localhost/\">";
        let leads = |status: &str, len: usize| {
            let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\n\r\n{REFRESH}").into_bytes();
            let body = bytes.len() - REFRESH.len();
            bytes.resize(body + len, b' ');
            read(server(A, 1, ASKED, &bytes)).unwrap().leads
        };
        assert_eq!(leads("200 OK", SMALL_PAGE), Leads::BackToAsker);
        assert_eq!(leads("200 OK", SMALL_PAGE + 1), Leads::Nowhere);
        assert_eq!(leads("201 Made", 500), Leads::Nowhere);
        assert_eq!(
            says(A, "302 Found\r\nLocation: http://127.0.0.1/").leads,
            Leads::BackToAsker
        );
        assert_eq!(says(A, "403 No\r\nLocation: http://127.0.0.1/").leads, Leads::Nowhere);
    }

    #[test]
    fn a_search_page_about_the_name_is_told_from_other_places_that_carry_it() {
        let to = |target: &str| leads_to(target.as_bytes(), "absent.example.org");
        let guide = "http://searchguide.example.net/search/?q=http://Absent.Example.org/&t=0";
        assert_eq!(to(guide), Leads::ToSearchGuide);
        for ordinary in [
            "https://login.example.net/?continue=http://absent.example.org/",
            "http://www.example.org/search?q=absent.example.org",
            "http://search.example.net/?q=other.example.org",
            "http://localhost:8080/callback",
            "/search?q=absent.example.org",
        ] {
            assert_eq!(to(ordinary), Leads::Nowhere, "{ordinary}");
        }
        assert_eq!(to("http://localhost/favicon.ico"), Leads::BackToAsker);
    }
}
