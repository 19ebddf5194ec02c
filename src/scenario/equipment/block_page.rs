//! Block pages and redirects: a forged HTTP answer in the server's name.
//!
//! | style | what is known |
//! |---|---|
//! | `plain` | the story's status, location and text; FIN+PSH+ACK, identification 0, DF clear, TTL 64 |
//! | `airtel` | 200 with an iframe of `http://www.airtel.in/dot/`, FIN+PSH+ACK, identification 242 (wire-facts 3.6) |
//! | `iran` | 403 with an iframe of `http://10.10.34.36/?type=...&policy=MainPolicy`, FIN+PSH+ACK of 402-405 bytes, then RST+PSH+ACK (3.2) |
//! | `packet_logic` | 307 redirect, identification 0x3412, FIN+ACK without PSH |
//! | `surf_safely` | FIN+ACK without PSH with 553 bytes of HTML, window 16384, DSCP 10, DF clear; a RST 0.1 ms later with an identification one above and another TTL (3.7) |

use std::collections::BTreeMap;
use std::time::Duration;

use super::header_law::answering;
use crate::scenario::chance::Chance;
use crate::scenario::datagram::{Body, Datagram, Segment, flag};
use crate::scenario::filtering_equipment::{
    Acts, Carried, Fate, FilteringEquipment, FlowName, Heard, ParcelId, Reaction, Trigger,
};
use crate::scenario::http;
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{LengthStory, Manner, PageStory, PageStyle, RestStory};

const FIN_ACK: u8 = flag::FIN | flag::ACK;

/// Length of the Iranian page (wire-facts 3.2: 402 to 405 bytes).
const IRAN_PAGE_LEN: usize = 403;
/// DSCP 10 in the type-of-service octet.
const DSCP_10: u8 = 10 << 2;

/// What has been done to a flow.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// The server's next data is to be rewritten.
    Awaited(ParcelId),
    /// Nothing passes any more.
    Cut,
}

/// Equipment that answers in the server's place.
#[derive(Debug)]
pub(crate) struct BlockPage {
    story: PageStory,
    trigger: Trigger,
    reaction: Reaction,
    chance: Chance,
    marks: BTreeMap<FlowName, Mark>,
}

impl BlockPage {
    /// Equipment as the story describes it.
    pub(crate) fn new(story: &PageStory, trigger: Trigger, reaction: Reaction, chance: Chance) -> Self {
        Self {
            story: story.clone(),
            trigger,
            reaction,
            chance,
            marks: BTreeMap::new(),
        }
    }

    fn page(&self, asked: &str) -> Vec<u8> {
        match self.story.style {
            PageStyle::Plain => self.plain(0),
            PageStyle::Airtel => {
                let body = "<html><head><meta name=\"viewport\" content=\"width=device-width,initial-scale=1.0,\
                            maximum-scale=1.0\"/><style>body{margin:0px;padding:0px;}iframe{width:100%;height:100%}\
                            </style></head><body><iframe src=\"http://www.airtel.in/dot/\" width=\"100%\" \
                            height=\"100%\" frameborder=0></iframe></body></html>";
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
                .into_bytes()
            }
            PageStyle::Iran => {
                let mut page =
                    "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n<html><head><meta http-equiv=\"Content-Type\" \
                                content=\"text/html; charset=windows-1256\"><title>M2-6\n</title></head><body><iframe \
                                src=\"http://10.10.34.36/?type=Invalid Site&policy=MainPolicy \" style=\"width: 100%; \
                                height: 100%\" scrolling=\"no\" marginwidth=\"0\" marginheight=\"0\" frameborder=\"0\" \
                                vspace=\"0\" hspace=\"0\"></iframe></body></html>\r\n\r\n"
                        .to_owned();
                // The segments seen held 402 to 405 bytes.
                while page.len() < IRAN_PAGE_LEN {
                    page.push(' ');
                }
                page.into_bytes()
            }
            PageStyle::PacketLogic => {
                let location = self.story.location.as_deref().unwrap_or("http://warning.example/");
                format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nConnection: close\r\n\r\n")
                    .into_bytes()
            }
            PageStyle::SurfSafely => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n";
                let mut body = format!(
                    "<html><head><title>Surf Safely</title></head><body><center><h1>Surf Safely!</h1><p>This website \
                     is not accessible. The site you are trying to access ({asked}) contains content that is \
                     prohibited for viewership from within Pakistan.</p></center>"
                );
                let tail = "</body></html>";
                while head.len() + body.len() + tail.len() < 553 {
                    body.push(' ');
                }
                format!("{head}{body}{tail}").into_bytes()
            }
        }
    }

    /// The story's own page, its body made longer by `padding` spaces.
    fn plain(&self, padding: usize) -> Vec<u8> {
        let status = self
            .story
            .status
            .unwrap_or(if self.story.location.is_some() { 302 } else { 200 });
        let mut body = self.story.text.clone().unwrap_or_default();
        body.extend(std::iter::repeat_n(' ', padding));
        let mut head = format!("HTTP/1.1 {status} {}\r\n", http::reason(status));
        if let Some(location) = &self.story.location {
            head.push_str(&format!("Location: {location}\r\n"));
        }
        if !body.is_empty() {
            head.push_str("Content-Type: text/html; charset=utf-8\r\n");
        }
        head.push_str(&format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
        head.into_bytes()
    }

    /// What is put into a packet of `room` bytes of payload.
    fn page_for(&self, room: usize) -> Vec<u8> {
        let page = self.page("");
        if self.story.length == LengthStory::AsItComes || self.story.style != PageStyle::Plain {
            return page;
        }
        // With the first byte of padding come the type and more digits.
        (0..=room.saturating_sub(page.len()))
            .rev()
            .map(|padding| self.plain(padding))
            .find(|padded| padded.len() <= room)
            .unwrap_or(page)
    }

    fn answer(&mut self, packet: &Carried<'_>, segment: &Segment, act: &mut Acts) {
        let asked = http::host_of(&segment.payload).unwrap_or_default();
        let page = self.page(&asked);
        let (flags, id, window, tos, ttl) = match self.story.style {
            PageStyle::Plain => (FIN_ACK | flag::PSH, 0, 8192, 0, 64),
            PageStyle::Airtel => (FIN_ACK | flag::PSH, 242, 8192, 0, 64),
            PageStyle::Iran => (FIN_ACK | flag::PSH, self.chance.half(), 8192, 0, 64),
            PageStyle::PacketLogic => (FIN_ACK, 0x3412, 8192, 0, 64),
            PageStyle::SurfSafely => (FIN_ACK, self.chance.half(), 16_384, DSCP_10, 85),
        };
        let ttl = self.story.ttl.unwrap_or(ttl);
        let end = segment.seq.wrapping_add(segment.payload.len() as u32);
        let after_page = segment.ack.wrapping_add(page.len() as u32 + 1);
        let build = |ttl: u8, id: u16, flags: u8, seq: u32, payload: Vec<u8>| Datagram {
            ip: answering(packet.datagram, ttl, id, false, tos),
            body: Body::Tcp(Segment {
                src_port: segment.dst_port,
                dst_port: segment.src_port,
                seq,
                ack: if flags & flag::ACK == 0 { 0 } else { end },
                flags,
                window: if flags & flag::RST == 0 { window } else { 0 },
                payload,
                ..Segment::default()
            }),
        };
        let after = self.reaction.draw(&mut self.chance);
        act.inject(after, build(ttl, id, flags, segment.ack, page), packet.id);
        let soon = after + Duration::from_micros(100);
        match self.story.style {
            PageStyle::Iran => {
                let flags = flag::RST | flag::PSH | flag::ACK;
                act.inject(
                    soon,
                    build(ttl, id.wrapping_add(1), flags, after_page, Vec::new()),
                    packet.id,
                );
            }
            // The page arrived with TTL 83, the reset with 47 (wire-facts 3.7): 36 apart, here seen two hops away.
            PageStyle::SurfSafely => {
                let reset = build(
                    ttl.saturating_sub(36),
                    id.wrapping_add(1),
                    flag::RST,
                    after_page,
                    Vec::new(),
                );
                act.inject(soon, reset, packet.id);
            }
            PageStyle::Plain | PageStyle::Airtel | PageStyle::PacketLogic => {}
        }
    }

    /// The way of a TSPU: the server's own packet comes through, with another content.
    fn rewrite(&self, packet: &Carried<'_>, segment: &Segment, because: ParcelId, act: &mut Acts) {
        act.because = Some(because);
        let mut datagram = packet.datagram.clone();
        let flags = match self.story.rest {
            RestStory::Swallowed => FIN_ACK | flag::PSH,
            // Whoever lets the server go on leaves it to the server to close.
            RestStory::Passes => segment.flags,
        };
        datagram.body = Body::Tcp(Segment {
            flags,
            payload: self.page_for(segment.payload.len()),
            ..segment.clone()
        });
        act.fate = Fate::Rewrite(Box::new(datagram));
    }
}

impl FilteringEquipment for BlockPage {
    fn on_packet(&mut self, packet: &Carried<'_>, _at: SimTime, act: &mut Acts) {
        let Some(segment) = packet.datagram.tcp() else { return };
        let (from_client, from_server) = (
            FlowName::from_client(packet.datagram, segment),
            FlowName::from_server(packet.datagram, segment),
        );
        match (self.marks.get(&from_client), self.marks.get(&from_server)) {
            (Some(Mark::Cut), _) | (_, Some(Mark::Cut)) => {
                act.drop_it();
                return;
            }
            (_, Some(Mark::Awaited(because))) if !segment.payload.is_empty() => {
                self.rewrite(packet, segment, *because, act);
                match self.story.rest {
                    RestStory::Swallowed => self.marks.insert(from_server, Mark::Cut),
                    RestStory::Passes => self.marks.remove(&from_server),
                };
                return;
            }
            _ => {}
        }
        if self.trigger.hears(packet.datagram) != Some(Heard::Host) {
            return;
        }
        match self.story.manner {
            Manner::Race => self.answer(packet, segment, act),
            Manner::Swallow => {
                self.answer(packet, segment, act);
                act.drop_it();
                self.marks.insert(from_client, Mark::Cut);
            }
            Manner::Rewrite => {
                self.marks.insert(from_client, Mark::Awaited(packet.id));
            }
        }
    }
}
