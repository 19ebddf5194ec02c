//! What is put into a TCP stream in its sender's name, short of a reset or a whole block page. All of it races the
//! genuine packets (HoneyBadger's taxonomy, wire-facts 6.2):
//!
//! | style | what it does |
//! |---|---|
//! | `veto` | one segment where the server's answer will lie; the genuine bytes come second and are dropped as old |
//! | `spray` | six overlapping segments around that place, as somebody sends who does not know it exactly |
//! | `coalesce` | one segment a little ahead of it: it waits in the receiver's queue and wins over what comes later |
//! | `hijack` | a rival SYN-ACK before the server's, then the answer to the request on that connection |
//! | `reflect` | a SYN-ACK made of the SYN itself (TTL, identification, window), so that no connection comes about |
//! | `fin` | FIN+ACK at the server's next byte |
//! | `alert` | a fatal TLS alert with FIN at the server's next byte |

use std::collections::BTreeMap;
use std::time::Duration;

use super::header_law::{IpIdLaw, TtlLaw, answering};
use crate::scenario::chance::Chance;
use crate::scenario::datagram::{Body, Datagram, Segment, TcpOption, flag};
use crate::scenario::filtering_equipment::{
    Acquaintances, Acts, Carried, FilteringEquipment, FlowName, Heard, Reaction, Trigger,
};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{InjectStory, InjectStyle};
use crate::scenario::tls::TlsSide;

const DATA: u8 = flag::PSH | flag::ACK;
const SYN_ACK: u8 = flag::SYN | flag::ACK;
const FIN_ACK: u8 = flag::FIN | flag::ACK;

/// How many segments a spray has, and how far apart they begin.
const SPRAY: u32 = 6;
const SPRAY_STEP: u32 = 180;
/// How far ahead of the stream a coalescing segment lies.
const AHEAD: u32 = 500;

/// Equipment that writes into streams.
#[derive(Debug)]
pub(crate) struct StreamInjector {
    story: InjectStory,
    ttl: TtlLaw,
    ip_id: IpIdLaw,
    trigger: Trigger,
    reaction: Reaction,
    chance: Chance,
    known: Acquaintances,
    /// Hijacked flows, and where the forged stream stands.
    hijacked: BTreeMap<FlowName, u32>,
}

impl StreamInjector {
    /// Equipment as the story describes it.
    pub(crate) fn new(story: &InjectStory, trigger: Trigger, reaction: Reaction, mut chance: Chance) -> Self {
        let reflecting = story.style == InjectStyle::Reflect;
        let ttl = match story.ttl {
            Some(ttl) => TtlLaw::from_story(ttl),
            None if reflecting => TtlLaw::Mirror,
            None => TtlLaw::Fixed(64),
        };
        let ip_id = match story.ip_id {
            Some(ip_id) => IpIdLaw::from_story(ip_id, &mut chance),
            None if reflecting => IpIdLaw::TriggerPlus(0),
            None => IpIdLaw::Random,
        };
        Self {
            story: story.clone(),
            ttl,
            ip_id,
            trigger,
            reaction,
            chance,
            known: Acquaintances::default(),
            hijacked: BTreeMap::new(),
        }
    }

    fn text(&self) -> Vec<u8> {
        let body = "<html><head><script src=\"http://counter.example/c.js\"></script></head><body></body></html>";
        match &self.story.text {
            Some(text) => text.clone().into_bytes(),
            None => format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        }
    }

    /// A segment in the server's name.
    fn forge(&mut self, packet: &Carried<'_>, segment: &Segment, copy: usize, made: Made) -> Datagram {
        let trigger = packet.datagram;
        let flow = FlowName::from_client(trigger, segment);
        let sender = self.known.ttl(flow.server, flow.client);
        let ttl = self.ttl.draw(trigger, sender, copy, &mut self.chance);
        let id = self.ip_id.draw(trigger, copy, &mut self.chance);
        Datagram {
            ip: answering(trigger, ttl, id, false, 0),
            body: Body::Tcp(Segment {
                src_port: segment.dst_port,
                dst_port: segment.src_port,
                seq: made.seq,
                ack: segment.seq.wrapping_add(segment.sequence_len()),
                flags: made.flags,
                window: made.window,
                options: made.options,
                payload: made.payload,
                ..Segment::default()
            }),
        }
    }

    fn all(&mut self, packet: &Carried<'_>, segment: &Segment) -> Vec<Datagram> {
        let at = segment.ack;
        let text = self.text();
        let data = |seq: u32, payload: Vec<u8>| Made::new(seq, DATA, payload);
        let made: Vec<Made> = match self.story.style {
            InjectStyle::Veto => vec![data(at, text)],
            InjectStyle::Spray => (0..SPRAY)
                .map(|turn| data(at.wrapping_add(turn * SPRAY_STEP), text.clone()))
                .collect(),
            InjectStyle::Coalesce => vec![data(at.wrapping_add(AHEAD), text)],
            InjectStyle::Fin => vec![Made::new(at, FIN_ACK, Vec::new())],
            InjectStyle::Alert => {
                let alert = TlsSide::alert(self.story.alert.unwrap_or(40));
                vec![Made::new(at, FIN_ACK | flag::PSH, alert)]
            }
            InjectStyle::Hijack => {
                let seq = self.chance.word();
                let flow = FlowName::from_client(packet.datagram, segment);
                self.hijacked.insert(flow, seq.wrapping_add(1));
                vec![Made {
                    options: vec![TcpOption::Mss(1460)],
                    ..Made::new(seq, SYN_ACK, Vec::new())
                }]
            }
            InjectStyle::Reflect => vec![Made {
                window: segment.window,
                ..Made::new(self.chance.word(), SYN_ACK, Vec::new())
            }],
        };
        (0..)
            .zip(made)
            .map(|(copy, made)| self.forge(packet, segment, copy, made))
            .collect()
    }
}

/// What the styles choose of a forged segment.
struct Made {
    seq: u32,
    flags: u8,
    window: u16,
    options: Vec<TcpOption>,
    payload: Vec<u8>,
}

impl Made {
    fn new(seq: u32, flags: u8, payload: Vec<u8>) -> Self {
        Self {
            seq,
            flags,
            window: 8192,
            options: Vec::new(),
            payload,
        }
    }
}

impl FilteringEquipment for StreamInjector {
    fn on_packet(&mut self, packet: &Carried<'_>, _at: SimTime, act: &mut Acts) {
        self.known.notice(packet.datagram);
        let Some(segment) = packet.datagram.tcp() else { return };
        let flow = FlowName::from_client(packet.datagram, segment);
        let forged = if let Some(next) = self.hijacked.get(&flow).copied()
            && !segment.payload.is_empty()
            && segment.ack == next
        {
            let made = Made::new(next, FIN_ACK | flag::PSH, self.text());
            vec![self.forge(packet, segment, 0, made)]
        } else {
            let on_syn = matches!(self.story.style, InjectStyle::Hijack | InjectStyle::Reflect);
            match self.trigger.hears(packet.datagram) {
                Some(heard) if (heard == Heard::Syn) == on_syn => self.all(packet, segment),
                Some(_) | None => return,
            }
        };
        let mut after = self.reaction.draw(&mut self.chance);
        for datagram in forged {
            act.inject(after, datagram, packet.id);
            after += Duration::from_micros(80 + self.chance.below(60));
        }
    }
}
