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
use crate::payload::tls_client_hello::{ClientHello, EncryptedName};
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
        let Some(request) = read_request(bytes) else {
            return;
        };
        if self.client_known_by > ClientKnownBy::Request {
            self.client = sender;
            self.client_known_by = ClientKnownBy::Request;
        }
        self.application = request.application;
        self.requests = self.requests.saturating_add(1);
        self.asked = Some(Asked {
            kind: request.kind,
            name: request.name,
            hides: request.hides,
            application: request.application,
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

/// What a client's first bytes ask for.
struct Request {
    kind: TriggerKind,
    application: Application,
    name: NameText,
    hides: Option<EncryptedName>,
}

/// What a client's first bytes ask for, if they are a whole request.
fn read_request(bytes: &[u8]) -> Option<Request> {
    if looks_like_request(bytes) {
        return match RequestHead::read(bytes) {
            HttpRead::Head(head) => {
                let host = head.host();
                // A head that is still coming may yet name its host.
                if host.is_none() && head.extent.body_at().is_none() {
                    return None;
                }
                Some(Request {
                    kind: TriggerKind::Host,
                    application: Application::Http,
                    name: NameText::lower(host.unwrap_or_default()),
                    hides: None,
                })
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
            Some(Request {
                kind: TriggerKind::Sni,
                application: Application::Tls,
                name: NameText::lower(name.unwrap_or_default()),
                hides: hello.hides(),
            })
        }
        HelloRead::Incomplete { .. } | HelloRead::NotHello => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::talk::{A, F, P, R, S, Sent, Talk, client, hello, opened, server};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const ASKED: u32 = 1 + REQUEST.len() as u32;

    /// A connection on which `REQUEST` was answered.
    fn answered() -> Talk {
        let answer = server(A, 1, ASKED, b"some kind of answer");
        Talk::of(
            80,
            &opened(&[client(A, 1, 1, REQUEST), answer, client(A, ASKED, 20, b"")]),
        )
    }

    #[test]
    fn what_its_sender_was_to_send_next_is_ordinary() {
        let mut talk = answered();
        let data = server(A, 20, ASKED, b"0123456");
        for (sent, ordinary) in [
            (data, true),
            (server(A | P, 20, ASKED, b"0123456"), true),
            // Six bytes may be padding.
            (server(A, 20, ASKED, b"012345"), false),
            (server(A, 20, ASKED, b""), false),
            (server(A, 19, ASKED, b"0123456"), false),
            (server(A, 21, ASKED, b"0123456"), false),
            (server(A, 20, ASKED + 1, b"0123456"), false),
            (server(A, 20, ASKED - 1, b"0123456"), true),
            (server(A | F, 20, ASKED, b"0123456"), false),
            (server(A | S, 20, ASKED, b"0123456"), false),
            (server(A | R, 20, ASKED, b"0123456"), false),
            (server(0, 20, ASKED, b"0123456"), false),
            (data.ttl(49), false),
            (data.unstamped(), false),
            (data.link(3), false),
            (data.unfragmented(), false),
            (data.id(9), true),
            (data.window(7), true),
            // Each of these may begin a request, an answer or a page.
            (server(A, 20, ASKED, b"HTTP/1.1"), false),
            (server(A, 20, ASKED, b"<html>\n"), false),
            (server(A, 20, ASKED, b" <html>"), false),
            (server(A, 20, ASKED, b"\n<html>"), false),
            (client(A, ASKED, 20, b"GET / H"), false),
            (client(A, ASKED, 20, b"0123456"), true),
            (client(A, ASKED, 20, b""), false),
            (client(A, ASKED, 21, b""), false),
        ] {
            assert_eq!(
                talk.takes_for_ordinary(&sent),
                ordinary,
                "{:x} {} {:?}",
                sent.flags,
                sent.seq,
                sent.payload
            );
        }
        talk.say(&data);
        assert!(
            talk.takes_for_ordinary(&client(A, ASKED, 27, b"")),
            "an acknowledgement that says something new"
        );
        assert!(talk.takes_for_ordinary(&client(A, ASKED, 21, b"")));
        assert!(!talk.takes_for_ordinary(&client(A, ASKED, 28, b"")));
    }

    #[test]
    fn in_tls_no_message_begins_in_clear_text() {
        let hello = hello();
        let asked = 1 + hello.len() as u32;
        let mut talk = Talk::of(
            443,
            &opened(&[client(A, 1, 1, &hello), server(A, 1, asked, b"answered")]),
        );
        assert!(talk.takes_for_ordinary(&server(A, 9, asked, b"GET / HTTP")));
    }

    #[test]
    fn a_flow_is_settled_once_it_is_known_what_it_carries() {
        let settled = |packets: &[Sent<'_>]| Talk::of(80, packets).flow().is_settled();
        let ask = client(A, 1, 1, REQUEST);
        let answer = server(A, 1, ASKED, b"some kind of answer");
        assert!(settled(&opened(&[ask, answer])));
        assert!(!settled(&opened(&[answer])), "nothing was asked");
        assert!(
            !settled(&[client(S, 0, 0, b""), client(A, 1, 1, REQUEST)]),
            "one side alone"
        );
        // Without an opening no handshake is waited for.
        assert!(settled(&[ask, answer, client(A, ASKED, 20, b"")]));
        assert!(!settled(&[ask, answer]), "the client has said one thing only");
        assert!(!settled(&[
            client(S, 0, 0, b""),
            server(S | A, 0, 1, b""),
            server(A, 1, 1, b"banner")
        ]));
        for end in [
            client(F | A, ASKED, 20, b""),
            server(F | A, 20, ASKED, b""),
            client(R, ASKED, 20, b""),
            server(R, 20, ASKED, b""),
        ] {
            assert!(!settled(&opened(&[ask, answer, end])));
        }
        // After twelve readings no request is waited for any more.
        let words: Vec<_> = (0..12)
            .map(|number| client(A, 1 + number * 8, 1, b"whatever"))
            .collect();
        let after = |count: usize| {
            let mut packets = opened(&words[..count]);
            packets.push(server(A, 1, 1, b""));
            settled(&packets)
        };
        assert!(!after(11));
        assert!(after(12));
    }

    #[test]
    fn only_a_client_asks() {
        let asked = |packets: &[Sent<'_>]| {
            let talk = Talk::of(443, packets);
            talk.flow().asked.as_ref().map(|asked| asked.name.to_string())
        };
        let name = Some("a.example".to_owned());
        assert_eq!(asked(&opened(&[client(A, 1, 1, REQUEST)])), name);
        assert_eq!(asked(&opened(&[server(A, 1, 1, REQUEST)])), None, "it was sent a SYN");
        // Where nobody saw the opening, who asks is the client, whatever its port.
        assert_eq!(asked(&[server(A, 1, 1, REQUEST)]), name);
        let talk = Talk::of(443, &[server(A, 1, 1, REQUEST)]);
        assert_eq!(talk.flow().client_known_by(), ClientKnownBy::Request);
        assert_eq!(
            asked(&[server(A, 1, 1, &hello())]),
            None,
            "a hello alone does not turn a flow round"
        );
    }

    #[test]
    fn a_request_in_pieces_is_read_once_it_is_whole() {
        let (first, second) = REQUEST.split_at(20);
        let packets = opened(&[client(A, 1, 1, first), client(A, 21, 1, second)]);
        let asked = |packets: &[Sent<'_>]| {
            let talk = Talk::of(80, packets);
            let flow = talk.flow();
            (flow.requests, flow.asked.as_ref().map(|asked| asked.frame.in_file()))
        };
        assert_eq!(asked(&packets[..4]), (0, None));
        assert_eq!(asked(&packets), (1, Some(5)));
        // The pieces came in the wrong order.
        let mut turned = packets.clone();
        turned.swap(3, 4);
        assert_eq!(asked(&turned), (1, Some(5)));
        // What is repeated is not asked again, what comes after it is.
        let mut again = packets.clone();
        again.push(client(A, 1, 1, REQUEST));
        assert_eq!(asked(&again), (1, Some(5)));
        again.push(client(A, ASKED, 1, REQUEST));
        assert_eq!(asked(&again), (2, Some(7)));
    }

    #[test]
    fn first_bytes_that_were_given_back_are_not_kept_anew() {
        let mut talk = answered();
        assert_eq!(talk.head(Party::Server), b"some kind of answer");
        talk.release(Party::Server);
        talk.say(&server(A, 20, ASKED, b"and more"));
        assert_eq!(talk.head(Party::Server), b"");
        assert_eq!(talk.flow().side(Party::Server).head, None);
        assert_eq!(talk.head(Party::Client), REQUEST);
    }

    #[test]
    fn an_ordinary_packet_is_kept_for_who_reads_on() {
        for (reads_on, expected) in [
            (true, &b"some kind of answerand more"[..]),
            (false, b"some kind of answer"),
        ] {
            let mut talk = answered();
            talk.pass(&client(A, ASKED, 20, b""), reads_on);
            talk.pass(&server(A, 20, ASKED, b"and more"), reads_on);
            assert_eq!(talk.head(Party::Server), expected);
            let side = talk.flow().side(Party::Server);
            assert_eq!((side.packets, side.data_packets, side.bytes), (3, 2, 27));
            assert_eq!(side.end, Some(SequenceNumber(28)));
        }
    }

    #[test]
    fn a_stage_is_told_by_what_was_sent() {
        let stage = |packets: &[Sent<'_>]| Talk::of(80, packets).flow().stage();
        let whole = opened(&[
            client(A, 1, 1, REQUEST),
            client(A, 1, 1, REQUEST),
            client(A, 1, 1, REQUEST),
            client(A, 1, 1, REQUEST),
        ]);
        assert_eq!(stage(&whole[..1]), Stage::PostSyn);
        assert_eq!(stage(&whole[..2]), Stage::PostSyn);
        assert_eq!(stage(&whole[..3]), Stage::PostAck);
        assert_eq!(stage(&whole[..4]), Stage::PostPsh);
        assert_eq!(stage(&whole[..6]), Stage::PostPsh, "three tries");
        assert_eq!(stage(&whole), Stage::LaterInFlow);
        assert_eq!(
            stage(&[server(A, 1, 1, b"")]),
            Stage::PostAck,
            "an opening nobody saw is over"
        );
        let answer = server(A, 1, ASKED, b"some kind of answer");
        assert_eq!(stage(&opened(&[client(A, 1, 1, REQUEST), answer])), Stage::LaterInFlow);
        let asked_twice = [client(A, 1, 1, REQUEST), client(A, ASKED, 1, REQUEST)];
        assert_eq!(stage(&opened(&asked_twice)), Stage::LaterInFlow);
    }

    #[test]
    fn a_round_trip_is_known_where_nothing_was_repeated() {
        let (syn, syn_ack) = (client(S, 0, 0, b""), server(S | A, 0, 1, b""));
        let trips = |packets: &[(u64, Sent<'_>)]| {
            let mut talk = Talk::with(80);
            packets.iter().for_each(|(at, sent)| talk.say_at(*at, sent, |_| ()));
            let of = |party| talk.flow().round_trip(party).map(|trip| trip.as_millis());
            (of(Party::Server), of(Party::Client))
        };
        let ack = client(A, 1, 1, b"");
        assert_eq!(trips(&[(0, syn), (30, syn_ack), (37, ack)]), (Some(30), Some(7)));
        assert_eq!(trips(&[(0, syn), (10, syn), (30, syn_ack), (37, ack)]), (None, Some(7)));
        assert_eq!(
            trips(&[(0, syn), (30, syn_ack), (40, syn_ack), (47, ack)]),
            (Some(30), None)
        );
        assert_eq!(trips(&[(0, syn), (30, syn_ack)]), (Some(30), None));
        assert_eq!(
            trips(&[(0, syn_ack), (5, syn), (9, ack)]),
            (None, Some(9)),
            "in the wrong order"
        );
        assert_eq!(trips(&[(0, syn), (9, ack)]), (None, None));
        // A reset, a repeated SYN and a packet without ACK do not end the handshake.
        for word in [client(R | A, 1, 1, b""), syn, client(0, 1, 1, b"")] {
            assert_eq!(
                trips(&[(0, syn), (30, syn_ack), (33, word)]).1,
                None,
                "{:x}",
                word.flags
            );
        }
    }

    #[test]
    fn a_syn_of_another_number_begins_another_flow() {
        let mut talk = Talk::of(80, &[client(S, 5, 0, b""), server(S | A, 0, 6, b"")]);
        let mut succeeded = |sent: &Sent<'_>| {
            let mut by = false;
            talk.say_at(50, sent, |shown| {
                by = shown.flow.is_succeeded_by(shown.end, shown.segment)
            });
            by
        };
        assert!(!succeeded(&client(S, 5, 0, b"")));
        assert!(succeeded(&client(S, 6, 0, b"")));
        assert!(!succeeded(&client(S | A, 6, 0, b"")));
        assert!(!succeeded(&client(S | R, 6, 0, b"")));
        assert!(!succeeded(&client(A, 6, 0, b"")));
        assert!(
            !succeeded(&server(S, 9, 0, b"")),
            "who answered a SYN may open from its own side"
        );
        let mut talk = Talk::of(80, &[client(A, 5, 1, b"")]);
        talk.say_at(50, &client(S, 5, 0, b""), |shown| {
            assert!(
                shown.flow.is_succeeded_by(shown.end, shown.segment),
                "nobody saw the old one open"
            );
        });
    }

    #[test]
    fn who_opened_a_flow_is_told_by_its_ports_at_last() {
        for port in [
            1, 443, 1023, 1080, 3128, 5060, 5222, 5223, 8000, 8008, 8080, 8085, 8090, 8443, 8888,
        ] {
            assert!(is_service_port(port), "{port}");
            let talk = Talk::of(port, &[server(A, 1, 1, b"")]);
            assert_eq!(talk.flow().client_known_by(), ClientKnownBy::Port);
            assert_eq!(talk.flow().side(Party::Server).packets, 1, "{port}");
            let talk = Talk::of(port, &[client(A, 1, 1, b"")]);
            assert_eq!(talk.flow().client_known_by(), ClientKnownBy::Port);
            assert_eq!(talk.flow().side(Party::Client).packets, 1, "{port}");
        }
        for port in [0, 1024, 1079, 1081, 8001, 8079, 8091, 40_001] {
            assert!(!is_service_port(port), "{port}");
            let talk = Talk::of(port, &[server(A, 1, 1, b"")]);
            assert_eq!(talk.flow().client_known_by(), ClientKnownBy::First);
            assert_eq!(talk.flow().side(Party::Client).packets, 1, "{port}");
        }
        for (first, packets) in [(client(S, 0, 0, b""), 1), (server(S | A, 0, 1, b""), 0)] {
            let talk = Talk::of(40_001, &[first]);
            assert_eq!(talk.flow().client_known_by(), ClientKnownBy::Handshake);
            assert_eq!(talk.flow().side(Party::Client).packets, packets);
        }
        // A SYN-ACK tells what a port had told wrong, a reset does not.
        let talk = Talk::of(443, &[server(A, 1, 1, b""), client(S | A, 0, 1, b"")]);
        assert_eq!(talk.flow().side(Party::Client).packets, 1);
        assert!(talk.flow().side(Party::Client).opening.is_none());
        let talk = Talk::of(443, &[server(A, 1, 1, b""), client(S | A | R, 0, 1, b"")]);
        assert_eq!(talk.flow().client_known_by(), ClientKnownBy::Port);
    }
}
