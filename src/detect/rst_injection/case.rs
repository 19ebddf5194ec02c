//! What is remembered of the resets of one claimed sender.

use std::time::Duration;

use arrayvec::ArrayVec;

use crate::detect::detector::Sighting;
use crate::finding::finding::{Party, Stage};
use crate::flow::asked::Asked;
use crate::flow::path_profile::PathProfile;
use crate::flow::side::{Note, Side};
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{Segment, SequenceNumber};
use crate::time::Timestamp;

/// How many resets of one sender are looked at one by one; the rest are only named.
pub(super) const RESETS: usize = 8;

/// How many further forged frames are named.
pub(super) const NAMED: usize = 24;

/// A reset, with what only its packet could tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset {
    pub(super) note: Note,
    /// Packets the peer sent since the reset before.
    pub(super) peer_packets_between: u32,
    /// The first bytes of its payload; resets rarely have one.
    pub(super) payload: [u8; 10],
    pub(super) payload_len: u32,
}

impl Reset {
    pub(super) fn new(note: Note, segment: &Segment<'_>, peer_packets_between: u32) -> Self {
        let mut payload = [0; 10];
        let len = segment.payload.len().min(10);
        payload[..len].copy_from_slice(&segment.payload[..len]);
        Self {
            note,
            peer_packets_between,
            payload,
            payload_len: segment.payload_len,
        }
    }
}

/// How the stream stood when the first reset came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) stage: Stage,
    /// After the highest byte the claimed sender had sent.
    pub(super) sender_end: Option<SequenceNumber>,
    /// When it had last sent data.
    pub(super) sender_last_data: Option<Note>,
    /// The highest acknowledgement the peer had sent.
    pub(super) peer_acked: Option<SequenceNumber>,
    /// After the highest byte the peer had sent.
    pub(super) peer_end: Option<SequenceNumber>,
    /// The peer's last packet: what the reset may answer.
    pub(super) peer_last: Option<Note>,
    /// Packets the peer sent within the last round trip and a half: each may draw one reset.
    pub(super) peer_in_flight: u32,
    /// A FIN that explains the reset: of either side, unless its own marks betray it.
    pub(super) fin: Option<Note>,
    /// A FIN whose marks are not its sender's: forged itself.
    pub(super) odd_fin: Option<Note>,
    /// A reset of the peer.
    pub(super) peer_reset: Option<Note>,
    /// Time since the last packet of either side, or how long nothing had come before what the peer just sent, if that
    /// is long enough for the flow to have been forgotten.
    pub(super) idle: Duration,
    /// Data packets of the client.
    pub(super) client_data: u32,
    /// When the server last sent data.
    pub(super) server_last_data: Option<Note>,
    pub(super) round_trip: Option<Duration>,
    /// What the claimed sender's packets had looked like.
    pub(super) profile: PathProfile,
    pub(super) two_sided: bool,
    /// Whether either side used the ECN bits in its opening packet (then NS means something else).
    pub(super) ecn: bool,
}

/// What contradicted the resets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contradiction {
    /// The sender sent data at or above the reset.
    Data(Duration),
    /// The server accepted the SYN it had refused.
    SynAck(Duration),
}

/// The resets that claim to come from one side, and what came after them.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) before: Before,
    pub(super) asked: Option<Asked>,
    pub(super) resets: ArrayVec<Reset, RESETS>,
    pub(super) further: ArrayVec<Note, NAMED>,
    pub(super) contradiction: Option<Contradiction>,
    pub(super) genuine: ArrayVec<FrameNumber, 8>,
    /// SYNs the client sent after the first reset.
    pub(super) syns_after: u16,
    pub(super) filed: bool,
}

impl Case {
    /// Opens a case with its first reset.
    pub(super) fn open(sighting: &Sighting<'_>, segment: &Segment<'_>) -> Self {
        let flow = sighting.flow;
        let (sender, peer) = (flow.side(sighting.sender), flow.side(sighting.sender.peer()));
        let at = sighting.packet.frame.at;
        let round_trip = flow.round_trip(sighting.sender);
        let horizon = round_trip.unwrap_or(Duration::from_millis(200)).mul_f64(1.5) + Duration::from_millis(10);
        let fins = [
            (Party::Client, flow.side(Party::Client)),
            (Party::Server, flow.side(Party::Server)),
        ]
        .into_iter()
        .filter_map(|(_, side)| side.fin.map(|fin| (fin, is_odd(&fin, &side.profile))));
        let (mut fin, mut odd_fin) = (None, None);
        for (note, odd) in fins {
            *(if odd { &mut odd_fin } else { &mut fin }) = Some(note);
        }
        let last = [sender.last_at, peer.last_at].into_iter().flatten().max();
        let ecn = |side: &Side| side.opening.is_some_and(|opening| opening.flags.any(0x1c0));
        let before = Before {
            stage: flow.stage(),
            sender_end: sender.end,
            sender_last_data: sender.last_data().copied(),
            peer_acked: peer.acked,
            peer_end: peer.end,
            peer_last: peer.notes().next().copied(),
            peer_in_flight: peer.notes().filter(|note| at.since(note.at) <= horizon).count() as u32,
            fin,
            odd_fin,
            peer_reset: peer.reset,
            idle: last
                .map_or(Duration::ZERO, |last| at.since(last))
                .max(forgotten_for(sender, peer)),
            client_data: flow.side(Party::Client).data_packets,
            server_last_data: flow.side(Party::Server).last_data().copied(),
            round_trip,
            profile: sender.profile,
            two_sided: flow.is_two_sided() && peer.packets > 0,
            ecn: ecn(sender) || ecn(peer),
        };
        let mut case = Self {
            before,
            asked: flow.asked.clone(),
            resets: ArrayVec::new(),
            further: ArrayVec::new(),
            contradiction: None,
            genuine: ArrayVec::new(),
            syns_after: 0,
            filed: false,
        };
        case.resets
            .push(Reset::new(Note::of(sighting.packet, segment), segment, 0));
        case
    }

    /// Notes a further reset of the same claimed sender.
    pub(super) fn add(&mut self, sighting: &Sighting<'_>, segment: &Segment<'_>) {
        let note = Note::of(sighting.packet, segment);
        let since = self.resets.last().map_or(note.at, |last| last.note.at);
        let peer = sighting.flow.side(sighting.sender.peer());
        let between = peer.notes().filter(|earlier| earlier.at > since).count() as u32;
        let reset = Reset::new(note, segment, between);
        if self.resets.try_push(reset).is_err() {
            let _ = self.further.try_push(note);
        }
    }

    /// The resets that belong to the first one: of its burst, or with its marks. One that looks like its claimed sender
    /// does not belong to one that does not.
    pub(super) fn alike(&self) -> impl Iterator<Item = &Note> {
        let first = self.resets[0].note;
        let usual = self.before.profile.usual_ttl();
        let odd = move |note: &Note| usual.is_some_and(|usual| usual.abs_diff(note.marks.ttl) >= 2);
        let first_is_odd = odd(&first);
        self.resets
            .iter()
            .map(|reset| &reset.note)
            .chain(&self.further)
            .filter(move |note| {
                let in_burst = note.at.since(first.at) <= BURST;
                let same_marks = note.marks.ttl == first.marks.ttl
                    && note.marks.dont_fragment == first.marks.dont_fragment
                    && (first_is_odd || note.flags == first.flags);
                odd(note) == first_is_odd && (in_burst || same_marks)
            })
    }

    /// The resets within [`BURST`] of the first.
    pub(super) fn burst(&self) -> impl Iterator<Item = &Reset> {
        let first = self.resets[0].note.at;
        self.resets
            .iter()
            .filter(move |reset| reset.note.at.since(first) <= BURST)
    }
}

/// Balancers and NATs forget flows after a minute or more (AWS balancers: 60 s; RFC 5382 wants two hours); some
/// firewalls sooner [E].
const FORGOTTEN: Duration = Duration::from_secs(30);

/// How long nothing had come when the peer spoke again, to which the sender has not answered yet: whoever has forgotten
/// the flow in between resets it now.
fn forgotten_for(sender: &Side, peer: &Side) -> Duration {
    let Some(silent_since) = sender.last_at else {
        return Duration::ZERO;
    };
    let mut longest = Duration::ZERO;
    let mut later: Option<Timestamp> = None;
    // Newest first.
    let since = peer.notes().map(|note| note.at).take_while(|at| *at > silent_since);
    for at in since.chain([silent_since]) {
        if let Some(later) = later {
            longest = longest.max(later.since(at));
        }
        later = Some(at);
    }
    if longest >= FORGOTTEN { longest } else { Duration::ZERO }
}

/// Resets that come this close together are one burst (wire-facts 6.4: two resets in 50 ms).
pub(super) const BURST: Duration = Duration::from_millis(50);

/// Whether a packet's TTL is not its sender's: two or more away from all the others (wire-facts 6.3: one may be a
/// parallel path).
pub(super) fn is_odd(note: &Note, profile: &PathProfile) -> bool {
    profile
        .usual_ttl_without(&[note.marks.ttl])
        .is_some_and(|usual| usual.abs_diff(note.marks.ttl) >= 2)
        && profile.count_of(note.marks.ttl) <= 2
}
