//! A conversation in the making, for tests: packets are built, dissected and learnt by a flow as any others.

use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::{IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, PacketBuilder, TcpOptionElement};

use super::boxes::Boxes;
use super::flow::{Flow, Stores};
use super::flow_key::{End, FlowKey};
use super::heads::{Conflict, Heads};
use crate::finding::finding::{Party, Protocol};
use crate::packet::dissect::dissect;
use crate::packet::frame::{Frame, FrameNumber, LinkType};
use crate::packet::packet::{Packet, Segment, TcpFlags, Transport};
use crate::time::Timestamp;

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(151, 101, 1, 140);
pub(crate) const S: u16 = TcpFlags::SYN;
pub(crate) const A: u16 = TcpFlags::ACK;
pub(crate) const F: u16 = TcpFlags::FIN;
pub(crate) const R: u16 = TcpFlags::RST;
pub(crate) const P: u16 = TcpFlags::PSH;

/// A packet in the making; sequence numbers count from the sender's opening.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'p> {
    pub(crate) from_client: bool,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) payload: &'p [u8],
    pub(crate) ttl: u8,
    /// 0 to be filled in from the sender's counter.
    pub(crate) id: u16,
    pub(crate) stamped: bool,
    pub(crate) window: u16,
    pub(crate) dont_fragment: bool,
    /// The last octet of the sender's link address.
    pub(crate) link: u8,
}

/// The counters both ends take their IP ids from.
pub(crate) struct Counters([u16; 2]);

impl Default for Counters {
    fn default() -> Self {
        Self([7000, 100])
    }
}

impl Sent<'_> {
    pub(crate) const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }
    pub(crate) const fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }
    pub(crate) const fn unstamped(mut self) -> Self {
        self.stamped = false;
        self
    }
    pub(crate) const fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }
    pub(crate) const fn link(mut self, link: u8) -> Self {
        self.link = link;
        self
    }
    pub(crate) const fn unfragmented(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// The frame of a packet that goes to or comes from `port` of the server. `clock` goes into its timestamp.
    pub(crate) fn bytes(&self, port: u16, clock: u32, counters: &mut Counters) -> Vec<u8> {
        let counter = &mut counters.0[usize::from(self.from_client)];
        let id = if self.id == 0 {
            *counter += 1;
            *counter
        } else {
            self.id
        };
        let (from, to) = match self.from_client {
            true => (CLIENT, SERVER),
            false => (SERVER, CLIENT),
        };
        let mut ip = Ipv4Header::new(0, self.ttl, IpNumber::TCP, from.octets(), to.octets()).unwrap();
        ip.identification = id;
        ip.dont_fragment = self.dont_fragment;
        let (from_port, to_port) = if self.from_client {
            (40_000, port)
        } else {
            (port, 40_000)
        };
        let mut tcp = PacketBuilder::ethernet2([2, 2, 2, 2, 2, self.link], [4; 6])
            .ip(IpHeaders::Ipv4(ip, Ipv4Extensions::default()))
            .tcp(from_port, to_port, self.seq, self.window);
        if self.stamped {
            tcp = tcp.options(&[TcpOptionElement::Timestamp(clock, 1)]).unwrap();
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, self.payload).unwrap();
        // Whatever the builder does not write. Sums are not looked at.
        let header = 14 + 20;
        bytes[header + 8..header + 12].copy_from_slice(&self.ack.to_be_bytes());
        bytes[header + 12] |= (self.flags >> 8) as u8;
        bytes[header + 13] |= self.flags as u8;
        bytes
    }

    /// The frame of number `number`, of which all was captured at so many milliseconds.
    pub(crate) fn frame<'f>(&self, bytes: &'f [u8], number: u64, millis: u64) -> Frame<'f> {
        Frame {
            number: FrameNumber::new(0, number),
            at: Timestamp::EPOCH.plus(Duration::from_millis(millis)),
            bytes,
            wire_len: bytes.len() as u32,
            link: LinkType::ETHERNET,
        }
    }
}

pub(crate) fn client(flags: u16, seq: u32, ack: u32, payload: &[u8]) -> Sent<'_> {
    Sent {
        from_client: true,
        flags,
        seq,
        ack,
        payload,
        ttl: 64,
        id: 0,
        stamped: true,
        window: 500,
        dont_fragment: false,
        link: 2,
    }
}

pub(crate) fn server(flags: u16, seq: u32, ack: u32, payload: &[u8]) -> Sent<'_> {
    Sent {
        ttl: 50,
        from_client: false,
        ..client(flags, seq, ack, payload)
    }
}

/// A connection is made, and goes on with `rest`.
pub(crate) fn opened<'p>(rest: &[Sent<'p>]) -> Vec<Sent<'p>> {
    let mut packets = vec![client(S, 0, 0, b""), server(S | A, 0, 1, b""), client(A, 1, 1, b"")];
    packets.extend(rest);
    packets
}

/// A ClientHello for `example.org` that offers TLS 1.3 too.
pub(crate) fn newer_hello() -> Vec<u8> {
    let mut record = hello();
    let versions = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    record.extend(versions);
    // The lengths of the record, of the message and of the extensions, which begin behind 41 bytes of the body.
    for at in [4, 8, 9 + 42] {
        record[at] += versions.len() as u8;
    }
    record
}

/// A ServerHello of TLS 1.2, whose random ends so, and with it the version TLS 1.3 is agreed on by.
pub(crate) fn server_hello(end_of_random: &[u8; 8], newer: Option<u16>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 24]);
    body.extend(end_of_random);
    body.extend([0, 0x13, 1, 0]);
    match newer {
        Some(version) => {
            body.extend([0, 6, 0, 43, 0, 2]);
            body.extend(version.to_be_bytes());
        }
        None => body.extend([0, 0]),
    }
    let mut record = vec![22, 3, 3, 0, body.len() as u8 + 4, 2, 0, 0, body.len() as u8];
    record.extend(body);
    record
}

/// A ClientHello for `example.org`.
pub(crate) fn hello() -> Vec<u8> {
    let name = b"example.org";
    let mut extension = vec![
        0,
        0,
        0,
        name.len() as u8 + 5,
        0,
        name.len() as u8 + 3,
        0,
        0,
        name.len() as u8,
    ];
    extension.extend(name);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0, 0, extension.len() as u8]);
    body.extend(extension);
    let mut record = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    record.extend(body);
    record
}

/// What a packet is shown with, before the flow learns it.
pub(crate) struct Shown<'a> {
    pub(crate) packet: &'a Packet<'a>,
    pub(crate) segment: &'a Segment<'a>,
    pub(crate) end: End,
    pub(crate) sender: Party,
    pub(crate) flow: &'a Flow,
    pub(crate) heads: &'a Heads,
    pub(crate) conflict: Option<Conflict>,
}

/// One conversation with a port of the server, as a flow knows it.
pub(crate) struct Talk {
    port: u16,
    flow: Option<Flow>,
    pub(crate) stores: Stores,
    counters: Counters,
    packets: u64,
}

impl Talk {
    pub(crate) fn with(port: u16) -> Self {
        Self {
            port,
            flow: None,
            stores: Stores {
                heads: Heads::new(4, 1 << 20),
                landmarks: Boxes::default(),
            },
            counters: Counters::default(),
            packets: 0,
        }
    }

    /// A conversation that consists of `packets`, 10 ms apart.
    pub(crate) fn of(port: u16, packets: &[Sent<'_>]) -> Self {
        let mut talk = Self::with(port);
        for packet in packets {
            talk.say(packet);
        }
        talk
    }

    /// The flow as it is now.
    pub(crate) fn flow(&self) -> &Flow {
        self.flow.as_ref().expect("a packet was sent")
    }

    /// Sends a packet 10 ms after the one before.
    pub(crate) fn say(&mut self, sent: &Sent<'_>) {
        self.say_at(self.packets * 10, sent, |_| ());
    }

    /// Whether the flow, as it is now, takes `sent` for ordinary. It does not learn it.
    pub(crate) fn takes_for_ordinary(&mut self, sent: &Sent<'_>) -> bool {
        let mut counters = Counters(self.counters.0);
        let bytes = sent.bytes(self.port, self.packets as u32, &mut counters);
        let packet = dissect(sent.frame(&bytes, self.packets + 1, self.packets * 10)).unwrap();
        let Transport::Tcp(segment) = &packet.transport else {
            panic!("a segment was sent")
        };
        let (_, end) = FlowKey::new(Protocol::Tcp, packet.from, packet.to);
        self.flow().is_ordinary(end, &packet, segment)
    }

    /// Sends an ordinary packet, whose payload is kept if the flow is read on.
    pub(crate) fn pass(&mut self, sent: &Sent<'_>, reads_on: bool) {
        let bytes = sent.bytes(self.port, self.packets as u32, &mut self.counters);
        self.packets += 1;
        let packet = dissect(sent.frame(&bytes, self.packets, self.packets * 10)).unwrap();
        let Transport::Tcp(segment) = &packet.transport else {
            panic!("a segment was sent")
        };
        let (_, end) = FlowKey::new(Protocol::Tcp, packet.from, packet.to);
        let heads = reads_on.then_some(&mut self.stores.heads);
        self.flow
            .as_mut()
            .expect("a packet was sent")
            .learn_ordinary(end, &packet, segment, heads);
    }

    /// Gives back what is kept of the first bytes of `party`.
    pub(crate) fn release(&mut self, party: Party) {
        let flow = self.flow.as_mut().expect("a packet was sent");
        flow.release(party, &mut self.stores.heads);
    }

    /// What `party` sent first.
    pub(crate) fn head(&self, party: Party) -> &[u8] {
        self.flow().head(party, &self.stores.heads)
    }

    /// Sends a packet at so many milliseconds, and shows it to `see` before the flow learns it.
    pub(crate) fn say_at(&mut self, millis: u64, sent: &Sent<'_>, see: impl FnOnce(&Shown<'_>)) {
        let bytes = sent.bytes(self.port, self.packets as u32, &mut self.counters);
        self.packets += 1;
        let packet = dissect(sent.frame(&bytes, self.packets, millis)).unwrap();
        let Transport::Tcp(segment) = &packet.transport else {
            panic!("a segment was sent")
        };
        let (key, end) = FlowKey::new(Protocol::Tcp, packet.from, packet.to);
        let flow = self
            .flow
            .get_or_insert_with(|| Flow::new(key, end, &packet, Some(segment)));
        let sender = flow.party(end);
        let head = flow.side(sender).head.filter(|_| !segment.payload.is_empty());
        let conflict = head.and_then(|head| self.stores.heads.conflict(head, segment));
        see(&Shown {
            packet: &packet,
            segment,
            end,
            sender,
            flow,
            heads: &self.stores.heads,
            conflict,
        });
        flow.learn_segment(end, &packet, segment, &mut self.stores);
    }
}
