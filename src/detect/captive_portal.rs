//! `captive_portal`: a network that answers everything itself until one logs in.
//!
//! # What it sees
//! The requests by which operating systems and browsers ask whether the network is open, and what they get. The answers
//! of resolvers are looked at by `dns_block_answer`.
//!
//! # How it tells
//! These requests are made to names kept for that, and their answer is known: an empty one, or one word. A redirect to
//! elsewhere, a page in place of an empty answer, or status 511 is the portal's. It is no censorship, and so are block pages and
//! strange DNS answers of the same client at that time (the ledger leaves them out).
//!
//! # What it mistakes
//! A filter that answers every HTTP request alike, and happens to be seen at such a probe first.
//!
//! # References
//! RFC 6585 section 6, RFC 8910, RFC 8952. wire-facts 4.3, 8. Chromium's and Android's `generate_204`, Microsoft's NCSI,
//! Apple's `hotspot-detect`, Firefox's `detectportal`, NetworkManager's `nmcheck` as their makers document them.

use super::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use crate::finding::docket::Docket;
use crate::finding::evidence::{CaptivePortalObservation, Evidence, Observation};
use crate::finding::finding::{Application, Finding, Injector, Kind, Particulars, Party, Position};
use crate::finding::verdict::Prior;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::flow::heads::Heads;
use crate::packet::frame::FrameNumber;
use crate::packet::path_marks::PathMarks;
use crate::payload::http_head::{RequestHead, ResponseHead};
use crate::payload::public_suffix::registrable;
use crate::time::Timestamp;

/// Names kept for such requests.
const PROBES: [&str; 14] = [
    "connectivitycheck.gstatic.com",
    "connectivitycheck.android.com",
    "clients1.google.com",
    "clients3.google.com",
    "www.gstatic.com",
    "captive.apple.com",
    "www.msftncsi.com",
    "www.msftconnecttest.com",
    "ipv6.msftconnecttest.com",
    "detectportal.firefox.com",
    "nmcheck.gnome.org",
    "network-test.debian.org",
    "connectivity-check.ubuntu.com",
    "fedoraproject.org",
];

/// Their paths, and whether the answer is to be empty (status 204).
const PATHS: [(&str, bool); 12] = [
    ("/generate_204", true),
    ("/gen_204", true),
    ("/hotspot-detect.html", false),
    ("/ncsi.txt", false),
    ("/connecttest.txt", false),
    ("/redirect", false),
    ("/success.txt", false),
    ("/canonical.html", false),
    ("/check_network_status.txt", false),
    ("/nm", false),
    ("/static/hotspot.txt", false),
    ("/", false),
];

/// Microsoft's own redirect, which is made to be redirected by Microsoft.
const REDIRECTED_BY_ITSELF: &str = "/redirect";

/// Finds captive portals.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaptivePortal;

/// What is kept of one flow: the first packet of the answer to such a request.
#[derive(Debug, Default)]
pub struct Memory {
    answer: Option<(FrameNumber, Timestamp, PathMarks)>,
    filed: bool,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

/// Whether the flow asks for what systems ask for to find out whether they are online.
fn probes(flow: &Flow) -> bool {
    flow.asked
        .as_ref()
        .is_some_and(|asked| PROBES.contains(&asked.name.as_str()))
}

impl Detector for CaptivePortal {
    const KIND: Kind = Kind::CaptivePortal;
    type Memory = Memory;
    type Habits = ();

    fn habits(&self) {}

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, (): &mut ()) -> Attention {
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        if sighting.sender != Party::Server
            || segment.payload.is_empty()
            || memory.answer.is_some()
            || sighting.flow.application != Application::Http
            || sighting.flow.requests != 1
        {
            return Attention::Idle;
        }
        let probes = probes(sighting.flow);
        let refused = segment.payload.starts_with(b"HTTP/1.1 511") || segment.payload.starts_with(b"HTTP/1.0 511");
        if !probes && !refused {
            return Attention::Idle;
        }
        let packet = sighting.packet;
        memory.answer = Some((packet.frame.number, packet.frame.at, packet.marks));
        Attention::Suspicious
    }

    fn rests(&self, flow: &Flow, memory: &Memory) -> bool {
        memory.answer.is_some() || flow.application != Application::Http || flow.requests != 1 || !probes(flow)
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, (): &mut (), docket: &mut Docket) {
        match conclusion.ending {
            Ending::SuspicionDue | Ending::Over | Ending::Evicted | Ending::CaptureEnded => {}
        }
        let flow = conclusion.flow;
        let Some((frame, at, marks)) = memory.answer.filter(|_| !memory.filed) else {
            return;
        };
        let Some(seen) = judge(flow, conclusion.heads) else {
            return;
        };
        memory.filed = true;
        let mut evidence = vec![Evidence::at(Observation::CaptivePortal(seen.what), &[frame])];
        if seen.status == 511 && seen.what != CaptivePortalObservation::LoginRequired {
            let refused = Observation::CaptivePortal(CaptivePortalObservation::LoginRequired);
            evidence.push(Evidence::at(refused, &[frame]));
        }
        docket.file(Finding {
            kind: Kind::CaptivePortal,
            conversation: flow.conversation(),
            decided_by: frame,
            at,
            stage: None,
            signature: None,
            claimed_sender: Some(Party::Server),
            position: Position::InPath,
            trigger: flow.asked.as_ref().map(|asked| asked.trigger()),
            forged: vec![frame],
            genuine: Vec::new(),
            dropped: Vec::new(),
            prior: Prior::Abnormal,
            evidence,
            injector: Some(Injector::from_marks(&marks, true)),
            particulars: Particulars {
                http_status: Some(seen.status),
                location: seen.location,
                ..Particulars::default()
            },
        });
    }
}

/// What a portal said.
struct Seen {
    what: CaptivePortalObservation,
    status: u16,
    location: Option<String>,
}

fn judge(flow: &Flow, heads: &Heads) -> Option<Seen> {
    let request = RequestHead::read(flow.head(Party::Client, heads)).head()?;
    let answer = ResponseHead::read(flow.head(Party::Server, heads)).head()?;
    let status = answer.status;
    let seen = |what| Seen {
        what,
        status,
        location: answer
            .location()
            .map(|location| String::from_utf8_lossy(location).into_owned()),
    };
    if status == 511 {
        return Some(seen(CaptivePortalObservation::LoginRequired));
    }
    let host = request.host()?.to_ascii_lowercase();
    let path = std::str::from_utf8(request.target).ok()?.split('?').next()?;
    let (_, empty) = *PATHS.iter().find(|(known, _)| *known == path)?;
    if !PROBES.contains(&host.as_str()) {
        return None;
    }
    // The bare path says something only at names that serve nothing else.
    if path == "/"
        && !matches!(
            host.as_str(),
            "captive.apple.com" | "detectportal.firefox.com" | "connectivity-check.ubuntu.com"
        )
    {
        return None;
    }
    match status {
        301 | 302 | 303 | 307 | 308 => {
            let own = registrable(&host).map(str::to_owned);
            let there = answer
                .location_host()
                .map(|there| registrable(there).unwrap_or(there).to_ascii_lowercase());
            // A server may send its visitors to its own encrypted self.
            let elsewhere = there.is_some() && there != own && path != REDIRECTED_BY_ITSELF;
            elsewhere.then(|| seen(CaptivePortalObservation::ProbeRedirected))
        }
        200 if empty && answer.content_length().is_none_or(|length| length > 0) => {
            Some(seen(CaptivePortalObservation::ProbeAnsweredOtherwise))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use etherparse::PacketBuilder;

    use super::CaptivePortal;
    use crate::detect::detector::Attention;
    use crate::detect::trial::Trial;
    use crate::engine::baselines::Baselines;
    use crate::engine::shard::Shard;
    use crate::finding::finding::{Finding, Kind};
    use crate::finding::verdict::Verdict;
    use crate::flow::talk::{A, client, opened, server};
    use crate::packet::frame::{Frame, FrameNumber, LinkType};
    use crate::time::Timestamp;

    const CLIENT: [u8; 4] = [192, 0, 2, 10];
    const SERVER: [u8; 4] = [198, 51, 100, 7];

    /// What is found in a connection with one request and one answer.
    fn told(request: &str, answer: &str) -> Vec<Finding> {
        let mut shard = Shard::new(100, Arc::new(Baselines::default()));
        let mut number = 0;
        let mut send = |from_client: bool, syn: bool, seq: u32, ack: u32, payload: &[u8]| {
            number += 1;
            let (from, to, ports) = if from_client {
                (CLIENT, SERVER, (40_000, 80))
            } else {
                (SERVER, CLIENT, (80, 40_000))
            };
            let builder = PacketBuilder::ethernet2([1; 6], [2; 6])
                .ipv4(from, to, 64)
                .tcp(ports.0, ports.1, seq, 65_000);
            let builder = if syn { builder.syn() } else { builder.psh() };
            let builder = if syn && from_client { builder } else { builder.ack(ack) };
            let mut bytes = Vec::new();
            builder.write(&mut bytes, payload).unwrap();
            shard.judge(Frame {
                number: FrameNumber::new(0, number),
                at: Timestamp::from_nanos(1_700_000_000_000_000_000 + number * 20_000_000),
                bytes: &bytes,
                wire_len: bytes.len() as u32,
                link: LinkType::ETHERNET,
            });
        };
        send(true, true, 100, 0, b"");
        send(false, true, 500, 101, b"");
        send(true, false, 101, 501, b"");
        send(true, false, 101, 501, request.as_bytes());
        send(false, false, 501, 101 + request.len() as u32, answer.as_bytes());
        shard.end_capture();
        let mut findings = shard.take_findings();
        findings.retain(|finding| finding.kind == Kind::CaptivePortal && finding.verdict().is_some());
        findings
    }

    const PROBE: &str = "GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\n\r\n";

    #[test]
    fn a_probe_sent_to_a_login_page_shows_a_portal() {
        let found = told(
            PROBE,
            "HTTP/1.1 302 Found\r\nLocation: http://login.example.net/\r\nContent-Length: 0\r\n\r\n",
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].verdict(), Some(Verdict::Likely));
        assert_eq!(
            found[0].particulars.location.as_deref(),
            Some("http://login.example.net/")
        );
    }

    #[test]
    fn status_511_shows_a_portal_whatever_was_asked() {
        let request = "GET /news HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
        let found = told(
            request,
            "HTTP/1.1 511 Network Authentication Required\r\nContent-Length: 0\r\n\r\n",
        );
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_page_in_place_of_an_empty_answer_shows_a_portal() {
        assert_eq!(
            told(PROBE, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlogin").len(),
            1
        );
    }

    #[test]
    fn it_rests_but_in_a_probe_that_was_not_answered() {
        let request = |host: &str| format!("GET /generate_204 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let asked = |request: &str| {
            let mut trial = Trial::of(CaptivePortal, 80);
            trial.show(&opened(&[client(A, 1, 1, request.as_bytes())]));
            trial
        };
        let probe = request("connectivitycheck.gstatic.com");
        let mut trial = asked(&probe);
        assert!(!trial.rests());
        let asked_to = 1 + probe.len() as u32;
        let answer = server(A, 1, asked_to, b"HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(trial.show(&[answer]), [Attention::Suspicious]);
        assert!(trial.rests());
        assert!(asked(&request("www.example.org")).rests());
        assert!(asked("hello, whoever you are").rests());
        let mut trial = asked(&probe);
        trial.show(&[client(A, asked_to, 1, probe.as_bytes())]);
        assert!(
            trial.rests(),
            "an answer to the second request is not told from one to the first"
        );
        assert_eq!(trial.show(&[answer]), [Attention::Idle]);
    }

    #[test]
    fn an_open_network_shows_none() {
        assert_eq!(told(PROBE, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), []);
        let apple = "GET /hotspot-detect.html HTTP/1.1\r\nHost: captive.apple.com\r\n\r\n";
        assert_eq!(told(apple, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nSuccess"), []);
    }

    #[test]
    fn a_site_that_sends_its_visitors_on_is_no_portal() {
        let request = "GET /generate_204 HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
        assert_eq!(
            told(
                request,
                "HTTP/1.1 302 Found\r\nLocation: http://cdn.example.net/\r\n\r\n"
            ),
            []
        );
        let own = "HTTP/1.1 301 Moved\r\nLocation: https://connectivitycheck.gstatic.com/generate_204\r\n\r\n";
        assert_eq!(told(PROBE, own), []);
    }
}
