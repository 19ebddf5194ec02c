//! DNS forgers: they answer a forbidden query in the resolver's name, racing it or in its place.
//!
//! | style | what is known |
//! |---|---|
//! | `plain` | one answer: the pool in turn, or an rcode; flags 0x8180, no OPT, TTL 64, DF clear |
//! | `gfw_triplet` | three answers within 0.2 ms (wire-facts 3.1): 1) DF clear, climbing TTL, AA set, RR TTL 60; 2) DF set, random TTL; 3) DF clear, identification 0, mirrored TTL. Flags 0x8180 (0x8580 with AA), one answer, no OPT, RR name c00c at the end; A from the nine classic addresses, AAAA in 2001::/32 |
//! | `iran` | A 10.10.34.34/.35/.36, AAAA d0::11; over TCP the question lacks its class, flags 0x81a0, one additional record (3.2) |
//! | `turkmenistan` | A 127.0.0.1, RR TTL 300, flags 0x8180, identification 30000, TTL 128, DF clear (3.5) |
//! | `turkmenistan_old` | the same, but appended after the query's OPT record, as until 2022 (3.5) |

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::header_law::{IpIdLaw, TtlLaw, answering};
use crate::scenario::chance::Chance;
use crate::scenario::datagram::{Body, Datagram, Segment, UdpMessage, flag};
use crate::scenario::dns::{self, Question, Record, RecordData, Tail, bits, rr};
use crate::scenario::filtering_equipment::{
    Acquaintances, Acts, Carried, FilteringEquipment, FlowName, Heard, Reaction, Trigger,
};
use crate::scenario::sim_time::SimTime;
use crate::scenario::story::{DnsForgerStory, DnsStyle, Manner, Over};

/// The nine classics of the Chinese pool (wire-facts 3.1).
const CLASSICS: [[u8; 4]; 9] = [
    [8, 7, 198, 45],
    [37, 61, 54, 158],
    [46, 82, 174, 68],
    [78, 16, 49, 15],
    [93, 46, 8, 89],
    [159, 106, 121, 75],
    [203, 98, 7, 65],
    [59, 24, 3, 173],
    [243, 185, 187, 39],
];
/// Iran's block hosts; .36 serves most names (wire-facts 3.2).
const IRAN_POOL: [[u8; 4]; 3] = [[10, 10, 34, 36], [10, 10, 34, 34], [10, 10, 34, 35]];
/// A static RR TTL seen in Iran (wire-facts 4.2, STATIC_TTL).
const IRAN_RR_TTL: u32 = 418;
/// RR TTL of the Chinese injector 1 (wire-facts 3.1, table 3).
const GFW_FIRST_RR_TTL: u32 = 60;
/// RR TTLs seen from the later injectors (wire-facts 3.1).
const GFW_RR_TTLS: [u32; 3] = [92, 185, 234];

/// A DNS forger.
#[derive(Debug)]
pub(crate) struct DnsForger {
    story: DnsForgerStory,
    trigger: Trigger,
    reaction: Reaction,
    chance: Chance,
    known: Acquaintances,
    turn: usize,
    climbing: TtlLaw,
    plain_ids: IpIdLaw,
    cut: BTreeMap<FlowName, ()>,
}

/// One forged answer before it is put into a packet.
struct Forgery {
    message: Vec<u8>,
    ttl: u8,
    id: u16,
    df: bool,
    after: Duration,
}

impl DnsForger {
    /// A forger as the story describes it.
    pub(crate) fn new(story: &DnsForgerStory, trigger: Trigger, reaction: Reaction, mut chance: Chance) -> Self {
        Self {
            story: story.clone(),
            trigger,
            reaction,
            known: Acquaintances::default(),
            turn: 0,
            climbing: TtlLaw::Climbing {
                next: 44,
                from: 40,
                to: 60,
            },
            plain_ids: IpIdLaw::Counter {
                next: chance.half(),
                steps: &[1],
                turn: 0,
            },
            cut: BTreeMap::new(),
            chance,
        }
    }

    fn forge(&mut self, trigger: &Datagram, query: &[u8], question: &Question, over: Over) -> Vec<Forgery> {
        let after = self.reaction.draw(&mut self.chance);
        let ttl = self.story.ttl;
        match self.story.style {
            DnsStyle::Plain => {
                let message = if let Some(rcode) = self.story.rcode {
                    dns::answer(query, question, bits::ANSWER | u16::from(rcode), &[], false, Tail::Bare)
                } else {
                    let pool = self.story.answers.clone();
                    self.answer(query, question, bits::ANSWER, self.story.rr_ttl, &pool)
                };
                let id = self.plain_ids.draw(trigger, 0, &mut self.chance);
                vec![Forgery {
                    message,
                    ttl: ttl.unwrap_or(64),
                    id,
                    df: false,
                    after,
                }]
            }
            DnsStyle::Iran => {
                let pool: Vec<IpAddr> = if question.kind == rr::AAAA {
                    vec![Ipv6Addr::new(0xD0, 0, 0, 0, 0, 0, 0, 0x11).into()]
                } else {
                    IRAN_POOL.map(IpAddr::from).to_vec()
                };
                let pool = if self.story.answers.is_empty() {
                    pool
                } else {
                    self.story.answers.clone()
                };
                let mut message = self.answer(query, question, bits::ANSWER, IRAN_RR_TTL, &pool);
                // .35 mirrors the query's TTL; the others have one of their own.
                let mirrored = message.ends_with(&[10, 10, 34, 35]);
                let ttl = if mirrored { trigger.ip.ttl } else { ttl.unwrap_or(64) };
                if over == Over::Tcp {
                    message[2..4].copy_from_slice(&[0x81, 0xA0]);
                    message[11] = 1;
                    message.drain(question.end - 2..question.end);
                }
                let id = self.plain_ids.draw(trigger, 0, &mut self.chance);
                vec![Forgery {
                    message,
                    ttl,
                    id,
                    df: false,
                    after,
                }]
            }
            DnsStyle::Turkmenistan | DnsStyle::TurkmenistanOld => {
                let pool = [IpAddr::from([127, 0, 0, 1])];
                let mut message = self.answer(query, question, bits::ANSWER, 300, &pool);
                if self.story.style == DnsStyle::TurkmenistanOld && query.len() > question.end {
                    // The query as it was, its OPT included, and the answer's record behind it.
                    let record = message.split_off(question.end);
                    message.extend_from_slice(&query[question.end..]);
                    message[10..12].copy_from_slice(&query[10..12]);
                    message.extend(record);
                }
                vec![Forgery {
                    message,
                    ttl: 128,
                    id: 30_000,
                    df: false,
                    after,
                }]
            }
            DnsStyle::GfwTriplet => self.triplet(trigger, query, question, after),
        }
    }

    fn triplet(&mut self, trigger: &Datagram, query: &[u8], question: &Question, after: Duration) -> Vec<Forgery> {
        let pool: Vec<IpAddr> = if question.kind == rr::AAAA {
            (0..9)
                .map(|_| {
                    let low = self.chance.next();
                    let words = [low >> 48, low >> 32, low >> 16, low].map(|word| word as u16);
                    Ipv6Addr::new(0x2001, 0, 0, 0, words[0], words[1], words[2], words[3]).into()
                })
                .collect()
        } else if self.story.answers.is_empty() {
            CLASSICS.map(IpAddr::from).to_vec()
        } else {
            self.story.answers.clone()
        };
        let first_ttl = self.climbing.draw(trigger, None, 0, &mut self.chance);
        let authoritative = bits::ANSWER | bits::AUTHORITATIVE;
        let mut forged = vec![Forgery {
            message: self.answer(query, question, authoritative, GFW_FIRST_RR_TTL, &pool),
            ttl: first_ttl,
            id: self.chance.half(),
            df: false,
            after,
        }];
        for (ttl, id, df) in [
            (60 + self.chance.below(180) as u8, self.chance.half(), true),
            (trigger.ip.ttl, 0, false),
        ] {
            let rr_ttl = GFW_RR_TTLS[self.chance.below(3) as usize];
            let message = self.answer(query, question, bits::ANSWER, rr_ttl, &pool);
            // All three within 0.2 ms.
            let after = after + Duration::from_micros(30 + self.chance.below(150));
            forged.push(Forgery {
                message,
                ttl,
                id,
                df,
                after,
            });
        }
        forged
    }

    /// One answer record, the next of the pool that fits the question; an AAAA query gets what there is.
    fn answer(&mut self, query: &[u8], question: &Question, flags: u16, rr_ttl: u32, pool: &[IpAddr]) -> Vec<u8> {
        let fitting: Vec<IpAddr> = pool
            .iter()
            .copied()
            .filter(|address| address.is_ipv6() == (question.kind == rr::AAAA))
            .collect();
        let pool = if fitting.is_empty() { pool } else { &fitting };
        let records: Vec<Record> = pool
            .get(self.turn % pool.len().max(1))
            .map(|address| Record {
                owner: question.name.clone(),
                ttl: rr_ttl,
                data: RecordData::Address(*address),
            })
            .into_iter()
            .collect();
        self.turn += 1;
        dns::answer(query, question, flags, &records, false, Tail::Bare)
    }

    fn over_udp(&mut self, packet: &Carried<'_>, query: &UdpMessage, act: &mut Acts) {
        let Some(question) = dns::read_question(&query.payload) else {
            return;
        };
        for forgery in self.forge(packet.datagram, &query.payload, &question, Over::Udp) {
            let datagram = Datagram {
                ip: answering(packet.datagram, forgery.ttl, forgery.id, forgery.df, 0),
                body: Body::Udp(UdpMessage {
                    src_port: query.dst_port,
                    dst_port: query.src_port,
                    payload: forgery.message,
                }),
            };
            act.inject(forgery.after, datagram, packet.id);
        }
        if self.story.manner != Manner::Race {
            act.drop_it();
        }
    }

    fn over_tcp(&mut self, packet: &Carried<'_>, segment: &Segment, act: &mut Acts) {
        let Some(message) = segment.payload.get(2..) else {
            return;
        };
        let Some(question) = dns::read_question(message) else {
            return;
        };
        let flow = FlowName::from_client(packet.datagram, segment);
        let mut seq = segment.ack;
        for forgery in self.forge(packet.datagram, message, &question, Over::Tcp) {
            let mut payload = (forgery.message.len() as u16).to_be_bytes().to_vec();
            payload.extend(forgery.message);
            let len = payload.len() as u32;
            let datagram = Datagram {
                ip: answering(packet.datagram, forgery.ttl, forgery.id, forgery.df, 0),
                body: Body::Tcp(Segment {
                    src_port: segment.dst_port,
                    dst_port: segment.src_port,
                    seq,
                    ack: segment.seq.wrapping_add(segment.payload.len() as u32),
                    flags: flag::PSH | flag::ACK,
                    window: 8192,
                    payload,
                    ..Segment::default()
                }),
            };
            act.inject(forgery.after, datagram, packet.id);
            seq = seq.wrapping_add(len);
        }
        if self.story.manner != Manner::Race {
            act.drop_it();
            self.cut.insert(flow, ());
        }
    }
}

impl FilteringEquipment for DnsForger {
    fn on_packet(&mut self, packet: &Carried<'_>, _at: SimTime, act: &mut Acts) {
        self.known.notice(packet.datagram);
        if let Some(segment) = packet.datagram.tcp()
            && (self.cut.contains_key(&FlowName::from_client(packet.datagram, segment))
                || self.cut.contains_key(&FlowName::from_server(packet.datagram, segment)))
        {
            act.drop_it();
            return;
        }
        if self.trigger.hears(packet.datagram) != Some(Heard::Query) {
            return;
        }
        match &packet.datagram.body {
            Body::Udp(query) if self.story.over.contains(&Over::Udp) => self.over_udp(packet, query, act),
            Body::Tcp(segment) if self.story.over.contains(&Over::Tcp) => self.over_tcp(packet, segment, act),
            Body::Udp(_) | Body::Tcp(_) | Body::Icmp(_) => {}
        }
    }
}
