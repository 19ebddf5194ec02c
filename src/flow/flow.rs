//! One conversation, and what is known of it before the next packet.

use std::mem::offset_of;
use std::ops::Range;
use std::time::Duration;

use super::asked::Asked;
use super::boxes::Boxes;
use super::flow_key::{End, FlowKey};
use super::heads::{Heads, Room};
use super::landmarks::Landmarks;
use super::mirror::{Disguise, Mirror};
use super::name_text::NameText;
use super::side::{COPIED_WITHIN, Note, Side};
use crate::finding::finding::{Application, Conversation, Party, Protocol, Stage, TriggerKind};
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{Datagram, Packet, Segment, SequenceNumber, TcpFlags};
use crate::payload::http_head::{HttpRead, RequestHead, looks_like_request};
use crate::payload::tls_client_hello::ClientHello;
use crate::payload::tls_handshake::{HelloExtent, HelloRead};
use crate::time::Timestamp;

/// How it is known which end opened the flow, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientKnownBy {
    /// It sent a SYN, or was sent a SYN-ACK.
    Handshake,
    /// It sent a request.
    Request,
    /// The other end's port is the lower one, and below 1024 or well known.
    Port,
    /// It spoke first.
    First,
}

/// What flows keep outside their slots.
#[derive(Debug)]
pub struct Stores {
    /// Their first bytes.
    pub heads: Heads,
    /// The segments that later ones are compared with.
    pub landmarks: Boxes<Landmarks>,
}

/// How often an unfinished request is read anew, so that many tiny segments cost a bounded number of readings.
const MOST_READINGS: u8 = 12;

/// A flow.
#[derive(Clone, Debug)]
// In this order what every packet touches lies together.
#[repr(C)]
pub struct Flow {
    key: FlowKey,
    /// Its first frame.
    pub first_frame: FrameNumber,
    /// When its last packet came.
    pub last: Timestamp,
    client: End,
    client_known_by: ClientKnownBy,
    /// What it carries, as far as that is known.
    pub application: Application,
    readings: u8,
    /// The outermost VLAN id of its first packet.
    pub vlan: Option<u16>,
    /// How many requests were seen.
    pub requests: u16,
    /// Packets whose payload was cut by the snap length.
    pub snapped: u16,
    /// Whether and how the capture shows its packets more than once.
    mirror: Mirror,
    handshake_done: Option<Timestamp>,
    sides: [Side; 2],
    /// When it began.
    pub started: Timestamp,
    /// How many resets of each end repeated its first.
    repeated_resets: [u32; 2],
    /// What the client asked for last.
    pub asked: Option<Asked>,
}

/// Ordinary data are longer than this, in bytes: an Ethernet frame is padded with at most 6 beyond a TCP header.
const SHORTEST_DATA: u32 = 6;

/// Whether `payload` may begin a request, an answer or a page in clear text.
fn begins_message(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|first| matches!(first, b'A'..=b'Z' | b'<' | b' ' | b'\t' | b'\r' | b'\n' | 0x0c))
}

/// So many packets show no habit of the capture by themselves.
const SHORT: u32 = 3;

/// Ports at which servers listen although they are above 1023.
const fn is_service_port(port: u16) -> bool {
    matches!(port, 1..1024 | 1080 | 3128 | 5060 | 5222 | 5223 | 8000 | 8008 | 8080..=8090 | 8443 | 8888)
}

impl Flow {
    /// A flow whose first packet is `packet`, sent by `sender`.
    #[must_use]
    pub fn new(key: FlowKey, sender: End, packet: &Packet<'_>, segment: Option<&Segment<'_>>) -> Self {
        let (client, client_known_by) = match segment {
            Some(segment) if segment.flags.syn() && segment.flags.ack() => (sender.other(), ClientKnownBy::Handshake),
            Some(segment) if segment.flags.syn() => (sender, ClientKnownBy::Handshake),
            _ => match (is_service_port(packet.from.port), is_service_port(packet.to.port)) {
                (true, false) => (sender.other(), ClientKnownBy::Port),
                (false, true) => (sender, ClientKnownBy::Port),
                _ => (sender, ClientKnownBy::First),
            },
        };
        Self {
            key,
            client,
            client_known_by,
            first_frame: packet.frame.number,
            started: packet.frame.at,
            last: packet.frame.at,
            vlan: packet.vlan,
            application: Application::Unknown,
            asked: None,
            requests: 0,
            mirror: Mirror::default(),
            repeated_resets: [0; 2],
            snapped: 0,
            sides: [Side::default(), Side::default()],
            handshake_done: None,
            readings: 0,
        }
    }

    /// So many of its first bytes every packet touches.
    pub const TOP: usize = offset_of!(Self, sides);

    /// Where an ordinary packet of `sender` touches the sides.
    #[must_use]
    pub const fn sides_touched(sender: End) -> [Range<usize>; 2] {
        let own = Self::TOP + sender.index() * size_of::<Side>();
        let peer = Self::TOP + sender.other().index() * size_of::<Side>();
        [own..own + Side::TOUCHED, peer..peer + Side::TOUCHED_BY_PEER]
    }

    /// The endpoints and the protocol.
    #[must_use]
    pub const fn key(&self) -> &FlowKey {
        &self.key
    }

    /// How the client is known to be the client.
    #[must_use]
    pub const fn client_known_by(&self) -> ClientKnownBy {
        self.client_known_by
    }

    /// Which party sits at `end`.
    #[must_use]
    pub fn party(&self, end: End) -> Party {
        if end == self.client {
            Party::Client
        } else {
            Party::Server
        }
    }

    const fn end_of(&self, party: Party) -> End {
        match party {
            Party::Client => self.client,
            Party::Server => self.client.other(),
        }
    }

    /// What is known of `party`.
    #[must_use]
    pub const fn side(&self, party: Party) -> &Side {
        &self.sides[self.end_of(party).index()]
    }

    /// Whether both sides have spoken.
    #[must_use]
    pub const fn is_two_sided(&self) -> bool {
        self.sides[0].packets > 0 && self.sides[1].packets > 0
    }

    /// Whether a SYN or a SYN-ACK was seen.
    #[must_use]
    pub fn saw_handshake(&self) -> bool {
        self.sides[0].opening.is_some() || self.sides[1].opening.is_some()
    }

    /// The shortest time in which `party` can answer what passes the tap, as the handshake showed: SYN to SYN-ACK for
    /// the server, SYN-ACK to its ACK for the client. None where a retransmission makes that ambiguous (Karn).
    #[must_use]
    pub fn round_trip(&self, party: Party) -> Option<Duration> {
        let syn = self.side(Party::Client).opening?;
        let syn_ack = self.side(Party::Server).opening?;
        match party {
            Party::Server => {
                let last = self.side(Party::Client).last_opening_at()?;
                (last == syn.at && syn_ack.at >= syn.at).then(|| syn_ack.at.since(syn.at))
            }
            Party::Client => {
                let last = self.side(Party::Server).last_opening_at()?;
                let done = self.handshake_done?;
                (last == syn_ack.at).then(|| done.since(syn_ack.at))
            }
        }
    }

    /// How far the flow has come, by what both sides have sent so far.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let client = self.side(Party::Client);
        let server = self.side(Party::Server);
        match client.data_packets + server.data_packets {
            0 if self.handshake_done.is_some() || client.opening.is_none() => Stage::PostAck,
            0 => Stage::PostSyn,
            1 => Stage::PostPsh,
            _ if server.data_packets == 0 && self.requests <= 1 && client.data_packets <= 3 => Stage::PostPsh,
            _ => Stage::LaterInFlow,
        }
    }

    /// As a finding names it.
    #[must_use]
    pub fn conversation(&self) -> Conversation {
        Conversation {
            client: self.key.endpoint(self.client),
            server: self.key.endpoint(self.client.other()),
            protocol: self.key.protocol(),
            application: self.application,
            vlan: self.vlan,
            first_frame: self.first_frame,
            started: self.started,
        }
    }

    /// Whether `note` is a copy of one of `sender`'s last packets that the capture made; `capture` is what is known of
    /// its habits by other flows.
    pub fn is_copy(&mut self, sender: End, note: &Note, capture: &mut Mirror) -> bool {
        let side = &self.sides[sender.index()];
        let recent = side
            .notes()
            .take_while(|earlier| note.at.since(earlier.at) <= COPIED_WITHIN);
        let mut earlier = recent.chain(side.reset.as_ref());
        let Some(earlier) = earlier.find(|earlier| earlier.is_copied_by(note)) else {
            self.mirror.count_packet();
            capture.count_packet();
            return false;
        };
        let worn = Disguise::between(&earlier.marks, &note.marks);
        if !note.flags.rst() {
            self.mirror.count_copy(worn);
            capture.count_copy(worn);
            return true;
        }
        let repeated = &mut self.repeated_resets[sender.index()];
        *repeated = repeated.saturating_add(1);
        let shows_habit = self.sides[0].packets + self.sides[1].packets > SHORT;
        let habit = if self.mirror.doubles() {
            &self.mirror
        } else if !shows_habit && capture.surely_doubles() {
            capture
        } else {
            return false;
        };
        habit.made(worn, *repeated)
    }

    /// Whether `segment`, sent by `sender`, cannot belong to this flow: a new SYN on the same ports.
    #[must_use]
    pub fn is_succeeded_by(&self, sender: End, segment: &Segment<'_>) -> bool {
        if !segment.flags.syn() || segment.flags.ack() || segment.flags.rst() {
            return false;
        }
        match &self.sides[sender.index()].opening {
            Some(opening) => opening.seq != segment.seq && !opening.flags.ack(),
            None => true,
        }
    }

    /// Learns a TCP segment, after the detectors have seen it.
    pub fn learn_segment(&mut self, sender: End, packet: &Packet<'_>, segment: &Segment<'_>, stores: &mut Stores) {
        self.last = packet.frame.at;
        let note = Note::of(packet, segment);
        if segment.payload.len() < segment.payload_len as usize {
            self.snapped = self.snapped.saturating_add(1);
        }
        if segment.flags.syn() && !segment.flags.rst() && self.client_known_by != ClientKnownBy::Handshake {
            self.client = if segment.flags.ack() { sender.other() } else { sender };
            self.client_known_by = ClientKnownBy::Handshake;
        }
        let side = &mut self.sides[sender.index()];
        let is_new = side.end.is_none_or(|end| note.end().is_after(end));
        side.make_room(&mut stores.landmarks);
        side.learn(packet, segment);
        if self.handshake_done.is_none()
            && self.party(sender) == Party::Client
            && !segment.flags.syn()
            && !segment.flags.rst()
            && segment.flags.ack()
            && self.side(Party::Server).opening.is_some()
        {
            self.handshake_done = Some(packet.frame.at);
        }
        if segment.payload_len > 0 && !segment.flags.rst() {
            self.learn_payload(sender, &note, segment, &mut stores.heads, is_new);
        }
    }

    fn learn_payload(&mut self, sender: End, note: &Note, segment: &Segment<'_>, heads: &mut Heads, is_new: bool) {
        let side = &mut self.sides[sender.index()];
        if side.head.is_none() && side.data_packets == 1 {
            let first = side.opening.map_or(segment.seq, |opening| opening.seq.plus(1));
            side.head = Some(heads.open(first));
        }
        let Some(head) = side.head else { return };
        side.head_done = heads.learn(head, segment, note.frame) == Room::None;
        // A request that is repeated is not asked anew, but one that came in the wrong order may be complete now.
        if is_new || self.requests == 0 {
            self.read_request(sender, note, segment, heads.whole(head));
        }
    }

    fn read_request(&mut self, sender: End, note: &Note, segment: &Segment<'_>, whole: &[u8]) {
        if self.party(sender) == Party::Server
            && (self.client_known_by <= ClientKnownBy::Request || !looks_like_request(segment.payload))
        {
            return;
        }
        let first = self.requests == 0;
        // Later requests of a kept connection are told by their first line alone.
        let asks_again = self.application == Application::Http && looks_like_request(segment.payload);
        if !first && !asks_again {
            return;
        }
        if first && self.readings >= MOST_READINGS {
            return;
        }
        self.readings = self.readings.saturating_add(1);
        let bytes = if first && !whole.is_empty() {
            whole
        } else {
            segment.payload
        };
        let Some((kind, application, name)) = read_name(bytes) else {
            return;
        };
        if self.client_known_by > ClientKnownBy::Request {
            self.client = sender;
            self.client_known_by = ClientKnownBy::Request;
        }
        self.application = application;
        self.requests = self.requests.saturating_add(1);
        self.asked = Some(Asked {
            kind,
            name,
            application,
            frame: note.frame,
            at: note.at,
            seq: note.seq,
            end: note.end(),
            window: note.window,
            marks: note.marks,
        });
    }

    /// Whether its opening is over: it is known what it carries and who asked, or that no request will be read.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let server = self.side(Party::Server);
        (self.requests > 0 || self.readings >= MOST_READINGS)
            && (self.handshake_done.is_some() || server.opening.is_none())
            && self.is_two_sided()
            && self.side(Party::Client).packets > 1
            && self.sides[0].is_open()
            && self.sides[1].is_open()
    }

    /// Whether `segment`, sent by `sender`, is what its sender was to send next, with nothing out of the ordinary in its
    /// headers: new data in order or a new acknowledgement, with flags, TTL, link address, fragmentation bit and
    /// timestamp option as the packet before. It cannot be a copy of another packet, nor contradict one, and it begins
    /// no message that is looked into (those of TLS are looked into before a flow is settled).
    #[inline]
    #[must_use]
    pub fn is_ordinary(&self, sender: End, packet: &Packet<'_>, segment: &Segment<'_>) -> bool {
        const FLAGS: u16 = !TcpFlags::PSH;
        let side = &self.sides[sender.index()];
        let peer = &self.sides[sender.other().index()];
        let is_in_order = side.end == Some(segment.seq)
            && match segment.payload_len {
                0 => side.acked.is_some_and(|acked| segment.ack.is_after(acked)),
                // Less may be the padding of a short frame, or a keep-alive.
                len => len > SHORTEST_DATA && !segment.payload.is_empty(),
            };
        is_in_order
            && segment.flags.0 & FLAGS == TcpFlags::ACK
            && peer.end.is_none_or(|end| !segment.ack.is_after(end))
            && side.continues_as(&packet.marks, segment)
            && (self.application == Application::Tls || !begins_message(segment.payload))
    }

    /// Learns an ordinary segment of a settled flow; its payload goes into `heads`, if given.
    #[inline]
    pub fn learn_ordinary(
        &mut self,
        sender: End,
        packet: &Packet<'_>,
        segment: &Segment<'_>,
        heads: Option<&mut Heads>,
    ) {
        self.last = packet.frame.at;
        self.mirror.count_packet();
        if segment.payload.len() < segment.payload_len as usize {
            self.snapped = self.snapped.saturating_add(1);
        }
        let side = &mut self.sides[sender.index()];
        side.learn(packet, segment);
        if segment.payload_len > 0
            && !side.head_done
            && let (Some(head), Some(heads)) = (side.head, heads)
        {
            side.head_done = heads.learn(head, segment, packet.frame.number) == Room::None;
        }
    }

    /// Learns a UDP datagram, after the detectors have seen it.
    pub fn learn_datagram(&mut self, sender: End, packet: &Packet<'_>, datagram: &Datagram<'_>) {
        self.last = packet.frame.at;
        if datagram.payload.len() < datagram.payload_len as usize {
            self.snapped = self.snapped.saturating_add(1);
        }
        let side = &mut self.sides[sender.index()];
        side.packets = side.packets.saturating_add(1);
        side.data_packets = side.data_packets.saturating_add(1);
        side.bytes = side.bytes.saturating_add(u64::from(datagram.payload_len));
        side.last_at = Some(packet.frame.at);
        side.profile.learn(&packet.marks, packet.frame.number, false);
    }

    /// Gives back what was kept of the first bytes of `party`.
    pub fn release(&mut self, party: Party, heads: &mut Heads) {
        let end = self.end_of(party);
        if let Some(head) = self.sides[end.index()].head.take() {
            heads.close(head);
        }
    }

    /// Gives back all it holds of `stores`: it is over.
    pub fn dissolve(&mut self, stores: &mut Stores) {
        for side in &mut self.sides {
            if let Some(head) = side.head.take() {
                stores.heads.close(head);
            }
            side.give_back(&mut stores.landmarks);
        }
    }

    /// Fetches what the next packet of `sender` will touch beyond the flow itself.
    #[inline]
    pub fn fetch(&self, sender: End) {
        self.sides[sender.index()].fetch();
    }

    /// Fetches what concluding the flow will touch beyond the flow itself.
    pub fn fetch_all(&self) {
        self.sides.iter().for_each(Side::fetch_all);
    }

    /// The bytes `party` sent first, up to the first gap.
    #[must_use]
    pub fn head<'h>(&self, party: Party, heads: &'h Heads) -> &'h [u8] {
        self.side(party).head.map_or(&[], |head| heads.whole(head))
    }

    /// The sequence number of the first byte `party` sent, if it is known.
    #[must_use]
    pub fn first_byte(&self, party: Party) -> Option<SequenceNumber> {
        self.side(party).opening.map(|opening| opening.seq.plus(1))
    }

    /// Whether this is a TCP flow.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.key.protocol() == Protocol::Tcp
    }
}

/// The name a client's first bytes ask for, if they are a whole request.
fn read_name(bytes: &[u8]) -> Option<(TriggerKind, Application, NameText)> {
    if looks_like_request(bytes) {
        return match RequestHead::read(bytes) {
            HttpRead::Head(head) => {
                let host = head.host();
                // A head that is still coming may yet name its host.
                if host.is_none() && head.extent.body_at().is_none() {
                    return None;
                }
                Some((
                    TriggerKind::Host,
                    Application::Http,
                    NameText::lower(host.unwrap_or_default()),
                ))
            }
            HttpRead::Incomplete | HttpRead::NotHttp => None,
        };
    }
    match ClientHello::read(bytes) {
        HelloRead::Hello(hello) => {
            let name = hello.server_name.as_ref().and_then(|name| name.as_str());
            // A hello that is still coming may yet name its server.
            if name.is_none() && matches!(hello.extent, HelloExtent::Cut { .. }) {
                return None;
            }
            Some((
                TriggerKind::Sni,
                Application::Tls,
                NameText::lower(name.unwrap_or_default()),
            ))
        }
        HelloRead::Incomplete { .. } | HelloRead::NotHello => None,
    }
}
