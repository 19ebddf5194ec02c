//! One sixty-fourth of the traffic: the frames of the host pairs that hash to it, judged in capture order.

use std::mem::offset_of;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;

use super::arrival::Arrival;
use super::baselines::{Baselines, CameTo, DomainId, FlowOutcome};
use super::trace::FlowTrace;
use crate::detect::detector::{Attention, Carried, Conclusion, Ending, HELD_OPEN, Sighting};
use crate::detect::detector_set::{AllHabits, DetectorSet, Memories, StreamMemories};
use crate::detect::packs::facts::Facts;
use crate::finding::docket::Docket;
use crate::finding::finding::{Application, Finding, Party};
use crate::finding::summary::Coverage;
use crate::finding::tls_shown::TlsShown;
use crate::flow::boxes::Boxes;
use crate::flow::flow::{Flow, Stores};
use crate::flow::flow_key::{End, FlowKey};
use crate::flow::flow_table::{FlowTable, Patience, Recycle, SlotId, Tenant};
use crate::flow::heads::Heads;
use crate::flow::landmarks::Landmarks;
use crate::flow::mirror::Mirror;
use crate::flow::side::Note;
use crate::flow::waiting::Waiting;
use crate::packet::frame::Frame;
use crate::packet::link::Peeled;
use crate::packet::packet::{Datagram, IcmpError, Packet, Segment, Transport};
use crate::prefetch::{prefetch, prefetch_span};
use crate::time::Timestamp;

/// How many shards there are, whatever the number of threads: threads own ranges of them, so that even what is given
/// up under pressure is the same for any number.
pub const SHARDS: usize = 64;

/// The most hosts one shard reports to the baselines.
const MOST_HOSTS: usize = 4096;

/// The most flows one shard keeps a trace of; later ones are not compared in time.
const MOST_TRACES: usize = 4096;

/// What a shard keeps of first bytes: one head a flow it may hold, with so many bytes on average, and at least so many
/// bytes. A ClientHello takes 1 KiB, half of all flows have none (DNS), and a server's TLS hello is given back.
const HEAD_BYTES_PER_FLOW: usize = 1024;
const LEAST_HEAD_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
// In this order what every packet touches lies together.
#[repr(C)]
struct Held {
    standing: Standing,
    suspicion_queued: bool,
    /// Something was found in it. Given up, it would be found again in what comes after.
    told: bool,
    flow: Option<Flow>,
    memories: Memories,
}

/// How much of a flow's packets is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// All: its opening, or a flow in which a detector has a matter open.
    #[default]
    Open,
    /// Ordinary packets are passed, and their payload is kept for who may look into it.
    Reading,
    /// Ordinary packets are passed.
    Settled,
}

/// What becomes of ordinary packets of flows that are settled: see [`Flow::is_ordinary`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordinary {
    /// They are passed: only what later packets are compared with is learnt from them.
    #[default]
    Passed,
    /// They are shown to all detectors, as all other packets are. It costs more, and must find the same.
    Observed,
}

impl Recycle for Held {
    /// The memories have been emptied before: what lies in boxes goes back to the shard.
    fn recycle(&mut self) {
        self.flow = None;
        self.suspicion_queued = false;
        self.told = false;
        self.standing = Standing::Open;
    }
}

impl Tenant for Held {
    #[inline]
    fn key(&self) -> Option<&FlowKey> {
        self.flow.as_ref().map(Flow::key)
    }

    #[inline]
    fn fetch(&self, sender: End) {
        // Whether there is a flow cannot be asked before it is there; where it lies is known.
        let flow = offset_of!(Self, flow);
        prefetch_span(self, 0..flow + Flow::TOP);
        for span in Flow::sides_touched(sender) {
            prefetch_span(self, flow + span.start..flow + span.end);
        }
        prefetch(&self.memories);
    }

    fn fetch_apart(&self) {
        if let Some(flow) = &self.flow {
            flow.fetch_all();
        }
        self.memories.fetch_all();
    }

    fn stays(&self) -> bool {
        self.suspicion_queued || self.told
    }
}

/// The flows of some host pairs, and the detectors' view of them.
#[derive(Debug)]
pub struct Shard {
    detectors: DetectorSet,
    habits: AllHabits,
    table: FlowTable<Held>,
    stores: Stores,
    stream_memories: Boxes<StreamMemories>,
    ordinary: Ordinary,
    suspicions: Waiting<(Timestamp, SlotId)>,
    docket: Docket,
    coverage: Coverage,
    baselines: Arc<Baselines>,
    hosts: HashSet<IpAddr>,
    traces: Vec<FlowTrace>,
    /// Whether the capture shows packets more than once, as far as this shard's flows tell.
    mirror: Mirror,
    now: Timestamp,
    /// Nothing is to be concluded before.
    due: Timestamp,
}

/// What is kept of a flow of TCP beside its slot, in bytes: the landmarks of both sides, what detectors keep, and of the
/// segments they compare (72 bytes each, ten a direction at most) what most flows fill. A flow of DNS has a question and
/// its answer instead, 550 bytes.
const KEPT_PER_FLOW: usize = 2 * size_of::<Landmarks>() + size_of::<StreamMemories>() + 720;

impl Shard {
    /// About how much memory a flow takes, in bytes: its slot and its place in the index, its first bytes, and what detectors
    /// keep of it.
    pub const BYTES_PER_FLOW: usize = FlowTable::<Held>::BYTES_PER_FLOW + HEAD_BYTES_PER_FLOW + KEPT_PER_FLOW;

    /// A shard that holds at most `flows` flows and reports to `baselines`.
    #[must_use]
    pub fn new(flows: usize, baselines: Arc<Baselines>) -> Self {
        Self::knowing(flows, baselines, &Facts::default())
    }

    /// The same, whose detectors look things up in `facts`.
    #[must_use]
    pub fn knowing(flows: usize, baselines: Arc<Baselines>, facts: &Facts) -> Self {
        let detectors = DetectorSet::knowing(facts);
        Self {
            habits: detectors.habits(),
            detectors,
            table: FlowTable::new(flows),
            stores: Stores {
                heads: Heads::new(flows * 2, (flows * HEAD_BYTES_PER_FLOW).max(LEAST_HEAD_BYTES)),
                landmarks: Boxes::default(),
            },
            stream_memories: Boxes::default(),
            ordinary: Ordinary::default(),
            suspicions: Waiting::new(),
            docket: Docket::default(),
            coverage: Coverage::default(),
            baselines,
            hosts: HashSet::new(),
            traces: Vec::new(),
            mirror: Mirror::default(),
            now: Timestamp::EPOCH,
            due: Timestamp::EPOCH,
        }
    }

    /// The same, that does so with ordinary packets.
    #[must_use]
    pub fn with_ordinary(mut self, ordinary: Ordinary) -> Self {
        self.ordinary = ordinary;
        self
    }

    /// Fetches what is needed to look up the flow of `arrival`, some time before it is judged; see [`Self::expect`].
    pub fn announce(&self, arrival: &Arrival<'_>) {
        if let Some((key, _)) = &arrival.flow {
            self.table.announce(key);
        }
    }

    /// Fetches the announced flow, some time before its packet is judged.
    pub fn expect(&self, arrival: &Arrival<'_>) {
        if let Some((key, end)) = &arrival.flow {
            self.table.expect(key, *end);
        }
    }

    /// Fetches what lies apart from the flow, once that is there.
    pub fn greet(&self, arrival: &Arrival<'_>) {
        if let Some((key, end)) = &arrival.flow
            && let Some(held) = self.table.look(key)
            && let Some(flow) = &held.flow
        {
            flow.fetch(*end);
            held.memories.fetch();
        }
    }

    /// Judges the next frame. Frames come in capture order, with a clock that never runs back.
    pub fn judge(&mut self, frame: Frame<'_>) {
        self.judge_arrival(&Arrival::of(frame, Peeled::of(frame.link, frame.bytes)));
    }

    /// Judges the next frame, dissected.
    pub fn judge_arrival(&mut self, arrival: &Arrival<'_>) {
        let frame = match &arrival.packet {
            Ok(packet) => &packet.frame,
            Err((frame, _)) => frame,
        };
        self.settle(frame.at);
        self.coverage.frames += 1;
        self.coverage.bytes += frame.bytes.len() as u64;
        let packet = match &arrival.packet {
            Ok(packet) => packet,
            Err((_, reason)) => {
                *self.coverage.undissected.entry(*reason).or_default() += 1;
                return;
            }
        };
        match (&packet.transport, &arrival.flow) {
            (Transport::Tcp(segment), Some((key, end))) => self.segment(packet, segment, key, *end),
            (Transport::Udp(datagram), Some((key, end))) => self.datagram(packet, datagram, key, *end),
            (Transport::IcmpError(error), flow) => {
                self.coverage.icmp_errors += 1;
                if let Some((key, end)) = flow {
                    self.icmp_error(packet, error, key, *end);
                }
            }
            (Transport::Tcp(_) | Transport::Udp(_), None) | (Transport::Other(_), _) => {
                self.coverage.other_protocols += 1;
            }
        }
    }

    fn segment(&mut self, packet: &Packet<'_>, segment: &Segment<'_>, key: &FlowKey, end: End) {
        let at = packet.frame.at;
        let mut found = self.table.find(key);
        if let Some(id) = found
            && self.pass(id, end, packet, segment)
        {
            return;
        }
        if let Some(old) = found
            && self
                .table
                .get_mut(old)
                .flow
                .as_ref()
                .is_some_and(|flow| flow.is_succeeded_by(end, segment))
        {
            // A new connection on the same ports: the old one is over.
            self.end_flow(old, Ending::Over, at);
            found = None;
        }
        let id = found.unwrap_or_else(|| {
            self.coverage.tcp_flows += 1;
            self.begin_flow(*key, end, packet, Some(segment))
        });
        if segment.payload.len() < segment.payload_len as usize {
            self.coverage.snapped += 1;
        }
        let held = self.table.get_mut(id);
        let Some(flow) = &mut held.flow else { return };
        let note = Note::of(packet, segment);
        if flow.is_copy(end, &note, &mut self.mirror) {
            self.coverage.duplicates += 1;
            return;
        }
        let sender = flow.party(end);
        let side = flow.side(sender);
        // A keep-alive repeats the last byte with whatever comes to hand (RFC 1122 section 4.2.3.6).
        let keeps_alive = segment.payload_len == 1 && side.end == Some(segment.end());
        let conflict = side
            .head
            .filter(|_| !segment.payload.is_empty() && !keeps_alive)
            .and_then(|head| self.stores.heads.conflict(head, segment));
        let sighting = Sighting {
            packet,
            carried: Carried::Segment(segment),
            sender,
            flow,
            heads: &self.stores.heads,
            conflict,
        };
        let attention = self.detectors.observe(&sighting, &mut held.memories, &mut self.habits);
        flow.learn_segment(end, packet, segment, &mut self.stores);
        let rests = self.ordinary == Ordinary::Passed && flow.is_settled() && self.detectors.rest(flow, &held.memories);
        held.standing = match rests {
            false => Standing::Open,
            true if self.detectors.read_on(&held.memories) => Standing::Reading,
            true => Standing::Settled,
        };
        if held.standing == Standing::Settled && flow.application == Application::Tls {
            // What follows the hellos is encrypted. The client's still tells what the flow was about.
            flow.release(Party::Server, &mut self.stores.heads);
        }
        let closed = |party| flow.side(party).fin.is_some();
        let was_reset = |party| flow.side(party).reset.is_some();
        let patience =
            if was_reset(Party::Client) || was_reset(Party::Server) || (closed(Party::Client) && closed(Party::Server))
            {
                Patience::Closed
            } else if flow.is_two_sided() && flow.side(Party::Client).packets > 1 {
                Patience::Established
            } else {
                Patience::Opening
            };
        self.table.touch(id, at, patience);
        self.due = self.due.min(self.table.soonest());
        self.heed(id, attention, at);
    }

    /// Learns an ordinary packet of a settled flow, which is most of a capture, and tells whether it was one. What it
    /// could show a detector is looked at; all else a detector would only pass over.
    #[inline]
    fn pass(&mut self, id: SlotId, end: End, packet: &Packet<'_>, segment: &Segment<'_>) -> bool {
        let held = self.table.get_mut(id);
        let Some(flow) = held.flow.as_mut().filter(|_| held.standing != Standing::Open) else {
            return false;
        };
        if !flow.is_ordinary(end, packet, segment) {
            return false;
        }
        self.coverage.snapped += u64::from(segment.payload.len() < segment.payload_len as usize);
        let sighting = Sighting {
            packet,
            carried: Carried::Segment(segment),
            sender: flow.party(end),
            flow,
            heads: &self.stores.heads,
            conflict: None,
        };
        self.detectors.pass(&sighting, &mut held.memories, &mut self.habits);
        let heads = (held.standing == Standing::Reading).then_some(&mut self.stores.heads);
        flow.learn_ordinary(end, packet, segment, heads);
        self.mirror.count_packet();
        self.table.touch_again(id, packet.frame.at);
        true
    }

    fn datagram(&mut self, packet: &Packet<'_>, datagram: &Datagram<'_>, key: &FlowKey, end: End) {
        let at = packet.frame.at;
        let id = self.table.find(key).unwrap_or_else(|| {
            self.coverage.udp_flows += 1;
            self.begin_flow(*key, end, packet, None)
        });
        if datagram.payload.len() < datagram.payload_len as usize {
            self.coverage.snapped += 1;
        }
        let held = self.table.get_mut(id);
        let Some(flow) = &mut held.flow else { return };
        let sender = flow.party(end);
        let sighting = Sighting {
            packet,
            carried: Carried::Datagram(datagram),
            sender,
            flow,
            heads: &self.stores.heads,
            conflict: None,
        };
        let attention = self.detectors.observe(&sighting, &mut held.memories, &mut self.habits);
        flow.learn_datagram(end, packet, datagram);
        self.table.touch(id, at, Patience::Datagrams);
        self.heed(id, attention, at);
    }

    /// Shows an error to the detectors beside the flow it quotes. The flow itself learns nothing, and does not live longer.
    fn icmp_error(&mut self, packet: &Packet<'_>, error: &IcmpError, key: &FlowKey, end: End) {
        let Some(id) = self.table.find(key) else { return };
        let held = self.table.get_mut(id);
        let Some(flow) = &held.flow else { return };
        let sighting = Sighting {
            packet,
            carried: Carried::IcmpError(error),
            sender: flow.party(end),
            flow,
            heads: &self.stores.heads,
            conflict: None,
        };
        let attention = self.detectors.observe(&sighting, &mut held.memories, &mut self.habits);
        held.standing = Standing::Open;
        self.heed(id, attention, packet.frame.at);
    }

    fn begin_flow(&mut self, key: FlowKey, end: End, packet: &Packet<'_>, segment: Option<&Segment<'_>>) -> SlotId {
        let at = packet.frame.at;
        if self.table.is_full()
            && let Some(victim) = self.table.next_victim()
        {
            self.coverage.evicted += 1;
            self.end_flow(victim, Ending::Evicted, at);
        }
        let patience = if segment.is_some() {
            Patience::Opening
        } else {
            Patience::Datagrams
        };
        let id = self.table.insert(&key, at, patience, |held| {
            held.flow = Some(Flow::new(key, end, packet, segment));
            if segment.is_some() {
                held.memories.open_streams(&mut self.stream_memories);
            }
        });
        self.due = self.due.min(self.table.soonest());
        id
    }

    fn heed(&mut self, id: SlotId, attention: Attention, at: Timestamp) {
        match attention {
            Attention::Idle => {}
            Attention::Suspicious => {
                let held = self.table.get_mut(id);
                if !held.suspicion_queued {
                    held.suspicion_queued = true;
                    let (table, due) = (&self.table, at.plus(HELD_OPEN));
                    self.suspicions.push((due, id), |(_, id)| table.holds(*id));
                    self.due = self.due.min(due);
                }
            }
        }
    }

    /// Concludes what is due by `now`: suspicions first, then flows silent past their deadline.
    #[inline]
    pub fn settle(&mut self, now: Timestamp) {
        self.now = now;
        if now >= self.due {
            self.settle_due(now);
        }
    }

    fn settle_due(&mut self, now: Timestamp) {
        while let Some((due, id)) = self.suspicions.first().copied() {
            if due > now {
                break;
            }
            self.suspicions.take_first();
            if self.table.holds(id) {
                self.table.get_mut(id).suspicion_queued = false;
                self.conclude(id, Ending::SuspicionDue, due);
            }
        }
        while let Some((id, deadline)) = self.table.next_expired(now) {
            self.end_flow(id, Ending::Over, deadline);
        }
        let suspicion = self.suspicions.first().map(|(due, _)| *due);
        self.due = self.table.soonest().min(suspicion.unwrap_or(Timestamp::END_OF_TIME));
    }

    fn conclude(&mut self, id: SlotId, ending: Ending, at: Timestamp) {
        let held = self.table.get_mut(id);
        let Some(flow) = &held.flow else { return };
        let conclusion = Conclusion {
            flow,
            heads: &self.stores.heads,
            ending,
            at,
        };
        let before = self.docket.len();
        self.detectors
            .conclude(&conclusion, &mut held.memories, &mut self.habits, &mut self.docket);
        held.told |= self.docket.len() > before;
    }

    fn end_flow(&mut self, id: SlotId, ending: Ending, at: Timestamp) {
        if !self.table.holds(id) {
            return;
        }
        self.conclude(id, ending, at);
        let held = self.table.get_mut(id);
        held.memories.recycle(&mut self.stream_memories);
        if let Some(flow) = &mut held.flow {
            if flow.is_tcp() {
                self.coverage.one_sided += u64::from(!flow.is_two_sided());
                self.coverage.no_handshake += u64::from(!flow.saw_handshake());
                let outcome = outcome(flow);
                if self.traces.len() < MOST_TRACES {
                    if self.traces.capacity() == 0 {
                        // Pages that are never written to cost nothing; growing would copy in the middle of a capture.
                        self.traces.reserve_exact(MOST_TRACES);
                    }
                    self.traces.push(FlowTrace::of(flow, &self.stores.heads, &outcome));
                } else {
                    self.coverage.not_compared += 1;
                }
                let admitted = [outcome.server, outcome.client].iter().all(|host| {
                    self.hosts.contains(host) || (self.hosts.len() < MOST_HOSTS && self.hosts.insert(*host))
                });
                if admitted {
                    self.baselines.add(&outcome);
                }
            }
            flow.dissolve(&mut self.stores);
        }
        self.table.remove(id);
    }

    /// Concludes all flows: the capture ends here, or another one begins.
    pub fn end_capture(&mut self) {
        let now = self.now;
        self.settle(now);
        let mut at = 0;
        while let Some(id) = self.table.next_of_all(&mut at) {
            self.end_flow(id, Ending::CaptureEnded, now);
        }
        self.suspicions.clear();
        self.mirror = Mirror::default();
        self.now = Timestamp::EPOCH;
        self.due = Timestamp::EPOCH;
    }

    /// Begins to report hosts anew, to baselines that were emptied.
    pub fn forget_hosts(&mut self) {
        self.hosts.clear();
    }

    /// Looks things up in `facts` from now on.
    pub fn learn(&mut self, facts: &Facts) {
        self.detectors = DetectorSet::knowing(facts);
    }

    /// Flows held just now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.table.len() as u64
    }

    /// Takes out what was found since the last call.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        self.docket.take()
    }

    /// Takes out what the flows concluded since the last call came to.
    pub fn take_traces(&mut self) -> Vec<FlowTrace> {
        let mut traces = std::mem::take(&mut self.traces);
        let handshakes = self.habits.take_handshakes();
        traces.extend(handshakes.iter().map(FlowTrace::of_handshake));
        traces
    }

    /// Takes out what TLS handshakes concluded since the last call showed.
    pub fn take_shown(&mut self) -> Vec<TlsShown> {
        self.docket.take_shown()
    }

    /// The addresses that names were answered with, in no order.
    pub fn named(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.habits.named()
    }

    /// What was looked at.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage.clone();
        coverage.heads_refused = self.stores.heads.refused();
        self.habits.count(&mut coverage);
        coverage
    }
}

/// So much of a flow, in packets of both sides, is its opening: TSPU lets five to eight packets pass after the ClientHello
/// (wire-facts 3.3), and a handshake takes as many.
const OPENING: u32 = 24;

/// Packets sent in vain that make a flow dead, and the time it must have been silent.
const IN_VAIN: usize = 3;
const SILENT: Duration = Duration::from_secs(2);

/// Whether the server fell silent in the flow's opening, while the client repeated itself in vain: what had come until
/// then is no service.
fn died_early(flow: &Flow) -> bool {
    let (client, server) = (flow.side(Party::Client), flow.side(Party::Server));
    let (Some(acked), Some(heard)) = (server.acked, server.last_at) else {
        return false;
    };
    if flow.requests > 1 || server.fin.is_some() || server.reset.is_some() || client.packets + server.packets > OPENING
    {
        return false;
    }
    let in_vain = client
        .notes()
        .filter(|note| note.at > heard && note.span > 0 && note.end().is_after(acked));
    in_vain.count() >= IN_VAIN && client.last_at.is_some_and(|last| last.since(heard) >= SILENT)
}

/// What `flow` shows of its server.
fn outcome(flow: &Flow) -> FlowOutcome {
    let (client, server) = (flow.side(Party::Client), flow.side(Party::Server));
    let asked = client.data_packets > 0;
    // What the server sent and the client, reset in between, never took in is no service.
    let taken_in = client.reset.is_none()
        || match (flow.first_byte(Party::Server), client.acked) {
            (Some(first), Some(acked)) => acked.is_after(first),
            _ => true,
        };
    FlowOutcome {
        client: flow.conversation().client.ip,
        largest: client.largest,
        server: flow.conversation().server.ip,
        ttl: server.profile.usual_ttl(),
        round_trip: flow.round_trip(Party::Server),
        domain: flow
            .asked
            .as_ref()
            .filter(|asked| !asked.name.is_empty())
            .map(|asked| DomainId::of(&asked.name)),
        reacted: server.notes().any(|note| !note.flags.syn()),
        came_to: match (asked, server.data_packets > 0 && taken_in) {
            (true, true) if died_early(flow) => CameTo::Failed,
            (_, true) => CameTo::Served,
            (true, false) => CameTo::Failed,
            (false, false) => CameTo::Nothing,
        },
    }
}
