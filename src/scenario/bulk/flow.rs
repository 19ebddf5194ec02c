//! One flow and its script.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pool::Pool;
use crate::scenario::chance::Chance;
use crate::scenario::datagram::{Body, Datagram, IpHeader, Segment, TcpOption, UdpMessage, flag};
use crate::scenario::dns::{self, Record, RecordData, Tail, bits};

/// What a flow carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// TLS 1.3 to port 443.
    Tls,
    /// HTTP/1.1 to port 80.
    Http,
    /// One DNS question and its answer.
    Dns,
    /// QUIC to UDP port 443.
    Quic,
    /// Small messages both ways that never end.
    Chat,
}

/// What equipment does to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing.
    Untouched,
    /// A forged answer comes first: a reset, or a DNS answer.
    Forged,
    /// The request is swallowed, however often it is repeated.
    Swallowed,
}

/// Whether a flow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Yes,
    No,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

/// What the next packet of a TCP flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Syn,
    SynAck,
    HandshakeAck,
    Request,
    /// Repetitions of a request nobody answers.
    Again(u8),
    ForgedReset,
    /// What a genuine server goes on to send after a reset in its name, so many packets.
    Contradiction(u8),
    RequestAck,
    Answer,
    /// Bulk: data until none is left, acknowledged every second packet.
    Data {
        acknowledge: bool,
    },
    Fin(End),
    LastAck,
}

/// Client hosts; every flow of a client has a port of its own.
const CLIENTS: u64 = 8192;
/// Server hosts.
const SERVERS: u64 = 4096;
/// TCP segment of a full packet with timestamps.
const FULL: usize = 1448;
/// How much further away the box's packets seem to come from than the server's.
const BOX_TTL: u8 = 113;

/// One flow.
pub(super) struct Flow {
    pub(super) number: u64,
    role: Role,
    fate: Fate,
    ipv6: bool,
    step: Step,
    /// How many of 16 data packets are full ones.
    full: u64,
    /// Packets of bulk data left.
    left: u16,
    /// Next sequence number of either end.
    next: [u32; 2],
    /// Next IP identification of either end.
    ids: [u16; 2],
}

impl Flow {
    pub(super) fn new(number: u64, role: Role, full: u64, ipv6: bool, attacked: bool, chance: &mut Chance) -> Self {
        let fate = match (attacked, role, chance.below(3)) {
            (false, ..) | (true, Role::Chat | Role::Quic, _) => Fate::Untouched,
            (true, Role::Dns, _) | (true, Role::Tls | Role::Http, 0 | 1) => Fate::Forged,
            (true, Role::Tls | Role::Http, _) => Fate::Swallowed,
        };
        // Most visits are short; a few are most of the traffic.
        let left = match (role, chance.below(16)) {
            (Role::Tls | Role::Http, _) if full > 8 => 60 + chance.below(400) as u16,
            (Role::Chat, _) => u16::MAX,
            (Role::Quic, _) => 4 + chance.below(30) as u16,
            (_, 0) => 40 + chance.below(160) as u16,
            (_, _) => 2 + chance.below(14) as u16,
        };
        Self {
            number,
            role,
            fate,
            ipv6,
            step: Step::Syn,
            full,
            left,
            next: [chance.word(), chance.word()],
            ids: [chance.half(), chance.half()],
        }
    }

    /// The same, long after its handshake.
    pub(super) fn under_way(mut self) -> Self {
        self.step = Step::Data { acknowledge: false };
        self
    }

    /// The flow's next packet, sent at `now` (nanoseconds).
    pub(super) fn next(&mut self, pool: &Pool, now: u64, chance: &mut Chance) -> (Datagram, Ended) {
        match self.role {
            Role::Tls | Role::Http => self.web(pool, now, chance),
            Role::Chat => self.chat(pool, now, chance),
            Role::Dns => self.dns(pool, chance),
            Role::Quic => self.quic(pool, chance),
        }
    }

    fn web(&mut self, pool: &Pool, now: u64, chance: &mut Chance) -> (Datagram, Ended) {
        let name = self.number as usize % pool.names.len();
        let (from, flags, payload, then): (End, u8, &[u8], Option<Step>) = match self.step {
            Step::Syn => (End::Client, flag::SYN, &[], Some(Step::SynAck)),
            Step::SynAck => (End::Server, flag::SYN | flag::ACK, &[], Some(Step::HandshakeAck)),
            Step::HandshakeAck => (End::Client, flag::ACK, &[], Some(Step::Request)),
            Step::Request => {
                let then = match self.fate {
                    Fate::Untouched => Step::RequestAck,
                    Fate::Forged => Step::ForgedReset,
                    Fate::Swallowed => Step::Again(4),
                };
                (End::Client, flag::PSH | flag::ACK, self.request(pool, name), Some(then))
            }
            Step::Again(left) => {
                let request = self.request(pool, name);
                self.next[0] = self.next[0].wrapping_sub(request.len() as u32);
                let then = (left > 0).then(|| Step::Again(left - 1));
                (End::Client, flag::PSH | flag::ACK, request, then)
            }
            Step::ForgedReset => {
                self.step = Step::Contradiction(3);
                let mut reset = self.segment(End::Server, flag::RST | flag::ACK, &[], now, chance);
                reset.ip.ttl = BOX_TTL;
                reset.ip.id = chance.half();
                if let Body::Tcp(segment) = &mut reset.body {
                    segment.options.clear();
                }
                return (reset, Ended::No);
            }
            Step::Contradiction(left) => {
                let then = (left > 0).then(|| Step::Contradiction(left - 1));
                (End::Server, flag::ACK, pool.noise(FULL, chance), then)
            }
            Step::RequestAck => (End::Server, flag::ACK, &[], Some(Step::Answer)),
            Step::Answer => {
                let answer = match self.role {
                    Role::Http => &pool.answer[..],
                    Role::Tls | Role::Dns | Role::Quic | Role::Chat => &pool.flights[name % pool.flights.len()][..FULL],
                };
                let then = Step::Data { acknowledge: true };
                (End::Server, flag::PSH | flag::ACK, answer, Some(then))
            }
            Step::Data { acknowledge: true } => (End::Client, flag::ACK, &[], Some(self.go_on(false))),
            Step::Data { acknowledge: false } => {
                self.left -= 1;
                let then = self.go_on(self.left.is_multiple_of(2));
                let len = match chance.below(16) {
                    lot if lot < self.full => FULL,
                    lot if lot % 2 == 0 => 100 + chance.below(400) as usize,
                    _ => 40 + chance.below(60) as usize,
                };
                (End::Server, flag::ACK, pool.noise(len, chance), Some(then))
            }
            Step::Fin(End::Server) => (End::Server, flag::FIN | flag::ACK, &[], Some(Step::Fin(End::Client))),
            Step::Fin(End::Client) => (End::Client, flag::FIN | flag::ACK, &[], Some(Step::LastAck)),
            Step::LastAck => (End::Server, flag::ACK, &[], None),
        };
        let packet = self.segment(from, flags, payload, now, chance);
        match then {
            Some(step) => {
                self.step = step;
                (packet, Ended::No)
            }
            None => (packet, Ended::Yes),
        }
    }

    fn go_on(&self, acknowledge: bool) -> Step {
        match (self.left, acknowledge) {
            (0, false) => Step::Fin(End::Server),
            (_, acknowledge) => Step::Data { acknowledge },
        }
    }

    fn request<'p>(&self, pool: &'p Pool, name: usize) -> &'p [u8] {
        match self.role {
            Role::Http => &pool.requests[name],
            Role::Tls | Role::Dns | Role::Quic | Role::Chat => &pool.hellos[name],
        }
    }

    fn chat(&mut self, pool: &Pool, now: u64, chance: &mut Chance) -> (Datagram, Ended) {
        let from = if chance.below(2) == 0 { End::Client } else { End::Server };
        let len = chance.below(26) as usize;
        let packet = self.segment(from, flag::PSH | flag::ACK, pool.noise(len, chance), now, chance);
        (packet, Ended::No)
    }

    fn dns(&mut self, pool: &Pool, chance: &mut Chance) -> (Datagram, Ended) {
        let (query, question) = &pool.questions[self.number as usize % pool.questions.len()];
        let answer = |address: [u8; 4], tail| {
            let record = Record {
                owner: question.name.clone(),
                ttl: 300,
                data: RecordData::Address(IpAddr::from(address)),
            };
            dns::answer(query, question, bits::ANSWER, &[record], false, tail)
        };
        let genuine = [93, 184, (question.id >> 8) as u8, question.id as u8 | 1];
        let (from, mut payload, then) = match (self.step, self.fate) {
            (Step::Syn, Fate::Forged) => (End::Client, query.clone(), Some(Step::ForgedReset)),
            (Step::Syn, Fate::Untouched | Fate::Swallowed) => (End::Client, query.clone(), Some(Step::Answer)),
            (Step::ForgedReset, _) => (End::Server, answer([203, 98, 7, 65], Tail::Bare), Some(Step::Answer)),
            _ => (End::Server, answer(genuine, Tail::Opt(1232)), None),
        };
        // Every flow asks with an id of its own.
        payload[..2].copy_from_slice(&(self.next[0] as u16).to_be_bytes());
        let mut packet = self.datagram(from, 53, payload);
        if self.step == Step::ForgedReset {
            packet.ip.ttl = BOX_TTL;
            packet.ip.id = chance.half();
        }
        self.step = then.unwrap_or(self.step);
        (packet, if then.is_some() { Ended::No } else { Ended::Yes })
    }

    fn quic(&mut self, pool: &Pool, chance: &mut Chance) -> (Datagram, Ended) {
        let opening = &pool.openings[self.number as usize % pool.openings.len()];
        let (from, payload) = match self.step {
            Step::Syn => {
                self.step = Step::Answer;
                (End::Client, opening.client.clone())
            }
            Step::Answer => {
                self.step = Step::Data { acknowledge: false };
                (End::Server, opening.server.clone())
            }
            _ => {
                self.left -= 1;
                let (from, id, len) = if chance.below(3) == 0 {
                    (End::Client, &opening.server_id, 30)
                } else {
                    (End::Server, &opening.client_id, 1200)
                };
                let mut payload = vec![0x40 | chance.below(64) as u8];
                payload.extend_from_slice(id);
                payload.extend_from_slice(pool.noise(len, chance));
                (from, payload)
            }
        };
        let ended = if self.left == 0 { Ended::Yes } else { Ended::No };
        (self.datagram(from, 443, payload), ended)
    }

    fn segment(&mut self, from: End, flags: u8, payload: &[u8], now: u64, _: &mut Chance) -> Datagram {
        let (src_port, dst_port) = self.ports(from, if self.role == Role::Http { 80 } else { 443 });
        let (own, peer) = (from as usize, 1 - from as usize);
        let stamp = (now / 1_000_000) as u32;
        let options = if flags & flag::SYN == 0 {
            vec![
                TcpOption::Nop,
                TcpOption::Nop,
                TcpOption::Timestamps(stamp, stamp.wrapping_sub(20)),
            ]
        } else {
            vec![
                TcpOption::Mss(1460),
                TcpOption::SackPermitted,
                TcpOption::Timestamps(
                    stamp,
                    if flags & flag::ACK == 0 {
                        0
                    } else {
                        stamp.wrapping_sub(20)
                    },
                ),
                TcpOption::Nop,
                TcpOption::WindowScale(7),
            ]
        };
        let segment = Segment {
            src_port,
            dst_port,
            seq: self.next[own],
            ack: if flags & flag::ACK == 0 { 0 } else { self.next[peer] },
            flags,
            window: if flags & flag::SYN == 0 { 502 } else { 64_240 },
            options,
            payload: payload.to_vec(),
            ..Segment::default()
        };
        if flags & flag::RST == 0 {
            self.next[own] = self.next[own].wrapping_add(segment.sequence_len());
        }
        Datagram {
            ip: self.ip(from),
            body: Body::Tcp(segment),
        }
    }

    fn datagram(&mut self, from: End, port: u16, payload: Vec<u8>) -> Datagram {
        let (src_port, dst_port) = self.ports(from, port);
        Datagram {
            ip: self.ip(from),
            body: Body::Udp(UdpMessage {
                src_port,
                dst_port,
                payload,
            }),
        }
    }

    fn ports(&self, from: End, service: u16) -> (u16, u16) {
        let client = 1024 + (self.number / CLIENTS % 64_000) as u16;
        match from {
            End::Client => (client, service),
            End::Server => (service, client),
        }
    }

    fn ip(&mut self, from: End) -> IpHeader {
        let client = (self.number % CLIENTS) as u32;
        // Spread over the servers so that neighbours in number do not meet again.
        let server = (self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32 % SERVERS as u32;
        let (client, server): (IpAddr, IpAddr) = if self.ipv6 {
            let of = |net: u16, host: u32| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, (host >> 16) as u16, host as u16);
            (of(1, client + 1).into(), of(2, server + 1).into())
        } else {
            let of = |net: u32, host: u32| Ipv4Addr::from(net + host + 1);
            (of(0x0A00_0000, client).into(), of(0x5DB8_0000, server).into())
        };
        let own = from as usize;
        self.ids[own] = self.ids[own].wrapping_add(1);
        let (src, dst, ttl) = match from {
            End::Client => (client, server, 64),
            // Servers are some way off, each always as far.
            End::Server => (server, client, 40 + (self.number % 17) as u8),
        };
        IpHeader {
            src,
            dst,
            ttl,
            id: self.ids[own],
            df: true,
            tos: 0,
            flow_label: 0,
        }
    }
}
