//! Reset injectors: on a forbidden name they send TCP RSTs in the name of the server, of the client, or of both.
//!
//! | style | what is known |
//! |---|---|
//! | `rst`, `rst_ack` | one packet, plain: TTL 64, random identification, DF clear |
//! | `gfw_type1` | one RST, random TTL and window, DF clear (wire-facts 3.1) |
//! | `gfw_stepped` | three RST+ACK at +0, +1460, +4380; TTL and window climb together, window - TTL = 4164 (3.1) |
//! | `gfw_same` | three equal RST+ACK 0.1-0.2 ms apart: same identification, TTL, window, DF set; window - TTL = 1375 (3.1) |
//! | `gfw_syn` | three RST+ACK to each SYN with sequence number 0; window - TTL = 4164, TTL climbs (3.1, 1.1.1.1:443) |
//! | `sandvine` | two RST, the second at +12 503; a counter that advances by 4, then by 1 (2.2) |
//! | `turkmenistan` | RST, identification 30000, TTL 128, DF clear, window 0 (3.5) |
//! | `henan` | RST+ACK with payload 01..09 00, identification 1, only to the client, only if the trigger's TCP header has exactly 20 bytes (3.1) |
//! | `reflecting` | RST with the trigger's window and mirrored TTL, identification one above the trigger's, DF clear, acknowledgement field = trigger's sequence number though ACK is clear (3.7) |
//! | `reflecting_reserved` | all reserved bits set, identification equal to the trigger's, window 65535, acknowledgement field = end of the request, DF clear (2.2) |
//! | `iran` | RST+ACK, single (3.2); TTL 64, DF clear and identification 0 are this forge's choice |

use std::collections::BTreeMap;
use std::time::Duration;

use super::header_law::{IpIdLaw, TtlLaw, WindowLaw, answering, following};
use crate::scenario::chance::Chance;
use crate::scenario::datagram::{Body, Datagram, Segment, flag};
use crate::scenario::filtering_equipment::{
    Acquaintances, Acts, Carried, Fate, FilteringEquipment, FlowName, Heard, ParcelId, Reaction, Trigger,
};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{Manner, ResetStory, ResetStyle, Towards};

/// The Henan firewall's payload (wire-facts 3.1).
const HENAN_PAYLOAD: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0];
const RST: u8 = flag::RST;
const RST_ACK: u8 = flag::RST | flag::ACK;

/// What the acknowledgement field of a forged reset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckField {
    /// The end of the trigger, if the ACK flag is set; else 0.
    Proper,
    /// The trigger's sequence number, whatever the flags.
    TriggerSeq,
    /// The end of the trigger, whatever the flags.
    TriggerEnd,
}

/// How a kind of injector builds its resets.
#[derive(Clone, Debug)]
struct Habit {
    /// For each packet of a burst: flags and the step added to the sequence number.
    copies: &'static [(u8, u32)],
    ttl: TtlLaw,
    ip_id: IpIdLaw,
    window: WindowLaw,
    df: bool,
    reserved: u8,
    ack: AckField,
    payload: &'static [u8],
    bare_header_only: bool,
    towards: Towards,
}

impl Habit {
    fn plain(copies: &'static [(u8, u32)]) -> Self {
        Self {
            copies,
            ttl: TtlLaw::Fixed(64),
            ip_id: IpIdLaw::Random,
            window: WindowLaw::Fixed(0),
            df: false,
            reserved: 0,
            ack: AckField::Proper,
            payload: &[],
            bare_header_only: false,
            towards: Towards::Client,
        }
    }

    fn of(style: ResetStyle, chance: &mut Chance) -> Self {
        match style {
            ResetStyle::Rst => Self::plain(&[(RST, 0)]),
            ResetStyle::RstAck => Self::plain(&[(RST_ACK, 0)]),
            ResetStyle::Iran => Self {
                ip_id: IpIdLaw::Fixed(0),
                ..Self::plain(&[(RST_ACK, 0)])
            },
            ResetStyle::GfwType1 => Self {
                ttl: TtlLaw::Random,
                window: WindowLaw::Random,
                towards: Towards::Both,
                ..Self::plain(&[(RST, 0)])
            },
            ResetStyle::GfwStepped => Self {
                ttl: TtlLaw::Climbing {
                    next: 68,
                    from: 60,
                    to: 110,
                },
                window: WindowLaw::TtlPlus(4164),
                towards: Towards::Both,
                ..Self::plain(&[(RST_ACK, 0), (RST_ACK, 1460), (RST_ACK, 4380)])
            },
            ResetStyle::GfwSyn => Self {
                ttl: TtlLaw::Climbing {
                    next: 70,
                    from: 66,
                    to: 74,
                },
                window: WindowLaw::TtlPlus(4164),
                ..Self::plain(&[(RST_ACK, 0), (RST_ACK, 0), (RST_ACK, 0)])
            },
            ResetStyle::GfwSame => Self {
                ttl: TtlLaw::ClimbingByBurst {
                    next: 128,
                    from: 128,
                    to: 210,
                    step: 9,
                },
                ip_id: IpIdLaw::RandomByBurst(0),
                window: WindowLaw::TtlPlus(1375),
                df: true,
                ..Self::plain(&[(RST_ACK, 0), (RST_ACK, 0), (RST_ACK, 0)])
            },
            ResetStyle::Sandvine => Self {
                ip_id: IpIdLaw::Counter {
                    next: chance.half(),
                    steps: &[4, 1],
                    turn: 0,
                },
                towards: Towards::Both,
                ..Self::plain(&[(RST, 0), (RST, 12_503)])
            },
            ResetStyle::Turkmenistan => Self {
                ttl: TtlLaw::Fixed(128),
                ip_id: IpIdLaw::Fixed(30_000),
                towards: Towards::Both,
                ..Self::plain(&[(RST, 0)])
            },
            ResetStyle::Henan => Self {
                ip_id: IpIdLaw::Fixed(1),
                payload: &HENAN_PAYLOAD,
                bare_header_only: true,
                ..Self::plain(&[(RST_ACK, 0)])
            },
            ResetStyle::Reflecting => Self {
                ttl: TtlLaw::Mirror,
                ip_id: IpIdLaw::TriggerPlus(1),
                window: WindowLaw::Trigger,
                ack: AckField::TriggerSeq,
                ..Self::plain(&[(RST, 0)])
            },
            ResetStyle::ReflectingReserved => Self {
                ip_id: IpIdLaw::TriggerPlus(0),
                window: WindowLaw::Fixed(65_535),
                reserved: 0xF,
                ack: AckField::TriggerEnd,
                ..Self::plain(&[(RST, 0)])
            },
        }
    }
}

/// A reset injector.
#[derive(Debug)]
pub(crate) struct ResetInjector {
    habit: Habit,
    manner: Manner,
    trigger: Trigger,
    reaction: Reaction,
    chance: Chance,
    known: Acquaintances,
    condemned: BTreeMap<FlowName, ParcelId>,
}

impl ResetInjector {
    /// An injector as the story describes it.
    pub(crate) fn new(story: &ResetStory, trigger: Trigger, reaction: Reaction, mut chance: Chance) -> Self {
        let mut habit = Habit::of(story.style, &mut chance);
        if let Some(towards) = story.towards {
            habit.towards = towards;
        }
        if let Some(ttl) = story.ttl {
            habit.ttl = TtlLaw::from_story(ttl);
        }
        if let Some(ip_id) = story.ip_id {
            habit.ip_id = IpIdLaw::from_story(ip_id, &mut chance);
        }
        Self {
            habit,
            manner: story.manner,
            trigger,
            reaction,
            chance,
            known: Acquaintances::default(),
            condemned: BTreeMap::new(),
        }
    }

    fn burst(&mut self, packet: &Carried<'_>, segment: &Segment, heard: Heard, to_client: bool, act: &mut Acts) {
        let trigger = packet.datagram;
        let end = segment.seq.wrapping_add(segment.sequence_len());
        let flow = FlowName::from_client(trigger, segment);
        let sender = if to_client {
            self.known.ttl(flow.server, flow.client)
        } else {
            self.known.ttl(flow.client, flow.server)
        };
        let mut after = self.reaction.draw(&mut self.chance);
        for (copy, (flags, step)) in self.habit.copies.iter().enumerate() {
            let ttl = self.habit.ttl.draw(trigger, sender, copy, &mut self.chance);
            let id = self.habit.ip_id.draw(trigger, copy, &mut self.chance);
            // In the server's name: its next byte is what the client last acknowledged. In the client's: its own end.
            let (seq, ack) = match (to_client, heard) {
                (true, Heard::Syn) => (0, end),
                (true, _) => (segment.ack, end),
                (false, _) => (end, segment.ack),
            };
            let ack = match self.habit.ack {
                AckField::Proper if flags & flag::ACK == 0 => 0,
                AckField::Proper => ack,
                AckField::TriggerSeq => segment.seq,
                AckField::TriggerEnd => end,
            };
            let ports = (segment.src_port, segment.dst_port);
            let (src_port, dst_port) = if to_client { (ports.1, ports.0) } else { ports };
            let build = if to_client { answering } else { following };
            let datagram = Datagram {
                ip: build(trigger, ttl, id, self.habit.df, 0),
                body: Body::Tcp(Segment {
                    src_port,
                    dst_port,
                    seq: seq.wrapping_add(*step),
                    ack,
                    flags: *flags,
                    reserved: self.habit.reserved,
                    window: self.habit.window.draw(segment.window, ttl, &mut self.chance),
                    options: Vec::new(),
                    payload: self.habit.payload.to_vec(),
                }),
            };
            act.inject(after, datagram, packet.id);
            // Copies follow each other within 0.1-0.2 ms (wire-facts 3.1).
            after += Duration::from_micros(100 + self.chance.below(100));
        }
    }

    /// The way of a TSPU: the server's answer comes through with its own IP header, but as a RST+ACK.
    fn rewrite(&mut self, packet: &Carried<'_>, segment: &Segment, act: &mut Acts) {
        let Some(trigger) = self.condemned.get(&FlowName::from_server(packet.datagram, segment)) else {
            return;
        };
        if segment.payload.is_empty() {
            return;
        }
        act.because = Some(*trigger);
        let mut datagram = packet.datagram.clone();
        datagram.body = Body::Tcp(Segment {
            flags: RST_ACK,
            payload: Vec::new(),
            ..segment.clone()
        });
        act.fate = Fate::Rewrite(Box::new(datagram));
    }
}

impl FilteringEquipment for ResetInjector {
    fn on_packet(&mut self, packet: &Carried<'_>, _at: SimTime, act: &mut Acts) {
        self.known.notice(packet.datagram);
        let Some(segment) = packet.datagram.tcp() else { return };
        if self.manner == Manner::Rewrite {
            self.rewrite(packet, segment, act);
        }
        let Some(heard) = self.trigger.hears(packet.datagram) else {
            return;
        };
        if self.habit.bare_header_only && segment.header_len() != 20 {
            return;
        }
        match self.manner {
            Manner::Rewrite => {
                self.condemned
                    .insert(FlowName::from_client(packet.datagram, segment), packet.id);
                return;
            }
            Manner::Swallow => act.drop_it(),
            Manner::Race => {}
        }
        match self.habit.towards {
            Towards::Client => self.burst(packet, segment, heard, true, act),
            Towards::Server => self.burst(packet, segment, heard, false, act),
            Towards::Both => {
                self.burst(packet, segment, heard, true, act);
                self.burst(packet, segment, heard, false, act);
            }
        }
    }
}
