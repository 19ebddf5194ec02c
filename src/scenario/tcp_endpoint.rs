//! One end of a TCP connection, as a common kernel plays it: handshake, segmentation, cumulative and selective
//! acknowledgement, retransmission with doubling timeouts, an out-of-order queue, orderly and abortive close.
//!
//! It is a plain state machine: segments and the time go in, segments come out through an outbox, and a deadline says
//! when it wants to be ticked. It knows no addresses and no network. What it leaves out: Nagle, zero windows, pacing,
//! urgent data, PAWS, keep-alive probes and everything about ECN.

use std::collections::VecDeque;
use std::time::Duration;

use super::datagram::{Segment, TcpOption, flag};
use super::sim_time::SimTime;

/// How an operating system's TCP shows itself.
#[derive(Clone, Debug)]
pub(crate) struct TcpHabits {
    /// The segment size it offers.
    pub(crate) mss: u16,
    /// The window field of its SYN or SYN-ACK.
    pub(crate) syn_window: u16,
    /// The window it offers afterwards, in bytes.
    pub(crate) window: u32,
    /// Its window scale shift, if it scales.
    pub(crate) scale: Option<u8>,
    /// Whether it uses timestamps.
    pub(crate) timestamps: bool,
    /// In which order it writes the options of a SYN.
    pub(crate) order: OptionOrder,
}

/// The layout of a SYN's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionOrder {
    /// MSS, SACK permitted, timestamps, NOP, window scale.
    Linux,
    /// MSS, NOP, window scale, NOP, NOP, SACK permitted (and no timestamps).
    Windows,
    /// MSS, NOP, window scale, NOP, NOP, timestamps, SACK permitted, end.
    Mac,
}

/// The states of RFC 9293 section 3.3.2; LISTEN belongs to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// How a connection ended, as its application learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A RST arrived.
    Reset,
    /// Retransmission was given up.
    TimedOut,
    /// This side aborted.
    Aborted,
    /// Both sides closed in good order.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    None,
    Queued,
    Sent,
}

const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Linux's smallest retransmission timeout.
const SMALLEST_TIMEOUT: Duration = Duration::from_millis(200);
const LARGEST_TIMEOUT: Duration = Duration::from_secs(120);
const DELAYED_ACK: Duration = Duration::from_millis(40);
/// Linux answers out-of-window segments without data at most twice a second (`tcp_invalid_ratelimit`).
const CHALLENGE_GAP: Duration = Duration::from_millis(500);
const TIME_WAIT: Duration = Duration::from_secs(60);
const INITIAL_SEGMENTS: u32 = 10;
/// How many data segments are acknowledged at once before acknowledgements are delayed.
const QUICK_ACKS: u32 = 16;
const SYN_TRIES: u32 = 6;
const DATA_TRIES: u32 = 15;

/// One end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct TcpEndpoint {
    habits: TcpHabits,
    local_port: u16,
    remote_port: u16,
    state: State,
    ending: Option<Ending>,
    // Sending.
    iss: u32,
    snd_una: u32,
    snd_nxt: u32,
    snd_window: u32,
    snd_scale: u8,
    peer_mss: u16,
    congestion_window: u32,
    slow_start_until: u32,
    duplicate_acks: u32,
    recover: Option<u32>,
    peer_sack: Vec<(u32, u32)>,
    buffer: VecDeque<u8>,
    fin: Fin,
    // Receiving.
    rcv_nxt: u32,
    rcv_scale: u8,
    received: Vec<u8>,
    queue: Vec<(u32, Vec<u8>)>,
    fin_at: Option<u32>,
    peer_finished: bool,
    reading: bool,
    duplicate_block: Option<(u32, u32)>,
    // Options in use.
    sack: bool,
    timestamps: bool,
    clock_base: u32,
    recent_stamp: u32,
    // Time.
    smoothed_rtt: Option<(Duration, Duration)>,
    timeout: Duration,
    probe: Option<(u32, SimTime)>,
    retransmit_at: Option<SimTime>,
    tries: u32,
    ack_at: Option<SimTime>,
    unacked_segments: u32,
    quick_acks: u32,
    last_challenge: Option<SimTime>,
    time_wait_until: Option<SimTime>,
    out: Vec<Segment>,
}

fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn at_or_before(a: u32, b: u32) -> bool {
    !before(b, a)
}

impl TcpEndpoint {
    fn new(habits: TcpHabits, local_port: u16, remote_port: u16, iss: u32, clock_base: u32, state: State) -> Self {
        Self {
            local_port,
            remote_port,
            state,
            ending: None,
            iss,
            snd_una: iss,
            snd_nxt: iss,
            snd_window: 0,
            snd_scale: 0,
            peer_mss: 536,
            congestion_window: 0,
            slow_start_until: u32::MAX,
            duplicate_acks: 0,
            recover: None,
            peer_sack: Vec::new(),
            buffer: VecDeque::new(),
            fin: Fin::None,
            rcv_nxt: 0,
            rcv_scale: 0,
            received: Vec::new(),
            queue: Vec::new(),
            fin_at: None,
            peer_finished: false,
            reading: true,
            duplicate_block: None,
            sack: false,
            timestamps: false,
            clock_base,
            recent_stamp: 0,
            smoothed_rtt: None,
            timeout: INITIAL_TIMEOUT,
            probe: None,
            retransmit_at: None,
            tries: 0,
            ack_at: None,
            unacked_segments: 0,
            quick_acks: QUICK_ACKS,
            last_challenge: None,
            time_wait_until: None,
            out: Vec::new(),
            habits,
        }
    }

    /// Opens a connection: a SYN lies in the outbox.
    pub(crate) fn connect(habits: TcpHabits, ports: (u16, u16), iss: u32, clock_base: u32, now: SimTime) -> Self {
        let mut end = Self::new(habits, ports.0, ports.1, iss, clock_base, State::SynSent);
        end.snd_nxt = iss.wrapping_add(1);
        end.send_syn(now);
        end.arm(now);
        end
    }

    /// Answers a SYN: a SYN-ACK lies in the outbox.
    pub(crate) fn accept(habits: TcpHabits, syn: &Segment, iss: u32, clock_base: u32, now: SimTime) -> Self {
        let mut end = Self::new(habits, syn.dst_port, syn.src_port, iss, clock_base, State::SynReceived);
        end.learn_options(syn);
        end.rcv_nxt = syn.seq.wrapping_add(1);
        end.snd_window = u32::from(syn.window);
        end.snd_nxt = iss.wrapping_add(1);
        end.send_syn(now);
        end.arm(now);
        end
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// How it ended, once it has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Whether the handshake is done and the application may talk.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(
            self.state,
            State::SynSent | State::SynReceived | State::Closed | State::TimeWait
        )
    }

    /// Whether the other side has said that nothing more will come, and all of it has been received.
    pub(crate) fn peer_finished(&self) -> bool {
        self.peer_finished
    }

    /// Whether everything written has been acknowledged.
    #[cfg(test)]
    pub(crate) fn all_acknowledged(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The sequence number it would send next and the one it expects next.
    pub(crate) fn edges(&self) -> (u32, u32) {
        (self.snd_nxt, self.rcv_nxt)
    }

    /// Takes what has been received in order since the last call.
    pub(crate) fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Takes the segments that are to be sent.
    pub(crate) fn take_outbox(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.out)
    }

    /// When it wants to be ticked.
    pub(crate) fn deadline(&self) -> Option<SimTime> {
        [self.retransmit_at, self.ack_at, self.time_wait_until]
            .into_iter()
            .flatten()
            .min()
    }

    /// Writes bytes into the stream. Each write is pushed out in segments of its own.
    pub(crate) fn write(&mut self, bytes: &[u8], now: SimTime) {
        if matches!(self.state, State::Closed) || self.fin != Fin::None {
            return;
        }
        self.buffer.extend(bytes);
        self.output(now);
    }

    /// Writes what is the last: the FIN goes with the end of it.
    pub(crate) fn write_last(&mut self, bytes: &[u8], now: SimTime) {
        if matches!(self.state, State::Established | State::CloseWait) && self.fin == Fin::None {
            self.buffer.extend(bytes);
            self.finish(now);
        }
    }

    /// Says that nothing more will be written; reading goes on.
    pub(crate) fn finish(&mut self, now: SimTime) {
        if self.fin != Fin::None {
            return;
        }
        match self.state {
            State::SynSent => self.end(Ending::Aborted),
            State::SynReceived | State::Established | State::CloseWait => {
                self.fin = Fin::Queued;
                self.output(now);
            }
            State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck | State::TimeWait | State::Closed => {}
        }
    }

    /// Closes both ways, like `close(2)`: unread data turns it into an abort, later data is answered with a RST.
    pub(crate) fn close(&mut self, now: SimTime) {
        if !self.received.is_empty() {
            self.abort(now);
            return;
        }
        self.reading = false;
        self.finish(now);
    }

    /// Asks an idle connection's other end for a sign of life: the byte before the next one again, with any value (RFC
    /// 9293 section 3.8.4).
    pub(crate) fn probe_peer(&mut self, now: SimTime) {
        if self.state == State::Established && self.snd_una == self.snd_nxt {
            let mut probe = self.segment(flag::ACK, self.snd_nxt.wrapping_sub(1), now);
            probe.payload = vec![0];
            self.out.push(probe);
        }
    }

    /// Aborts, like `close(2)` with a linger time of zero: RST+ACK at the next sequence number.
    pub(crate) fn abort(&mut self, now: SimTime) {
        if !matches!(self.state, State::SynSent | State::TimeWait | State::Closed) {
            let mut reset = self.segment(flag::RST | flag::ACK, self.snd_nxt, now);
            reset.window = 0;
            reset.options.clear();
            self.out.push(reset);
        }
        self.end(Ending::Aborted);
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: SimTime) {
        if self.time_wait_until.is_some_and(|at| at <= now) {
            self.end(Ending::Closed);
            return;
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            self.send_ack(now);
        }
        if self.retransmit_at.is_some_and(|at| at <= now) {
            self.time_out(now);
        }
    }

    /// Takes in a segment addressed to this end.
    pub(crate) fn receive(&mut self, segment: &Segment, now: SimTime) {
        match self.state {
            State::Closed => {}
            State::SynSent => self.receive_in_syn_sent(segment, now),
            State::TimeWait => self.receive_in_time_wait(segment, now),
            State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => self.receive_synchronized(segment, now),
        }
    }

    fn receive_in_syn_sent(&mut self, segment: &Segment, now: SimTime) {
        let acceptable = segment.has(flag::ACK) && segment.ack == self.snd_nxt;
        if segment.has(flag::ACK) && !acceptable {
            if !segment.has(flag::RST) {
                self.out.push(Segment {
                    src_port: self.local_port,
                    dst_port: self.remote_port,
                    seq: segment.ack,
                    flags: flag::RST,
                    ..Segment::default()
                });
            }
            return;
        }
        if segment.has(flag::RST) {
            if acceptable {
                self.end(Ending::Reset);
            }
            return;
        }
        if !(segment.has(flag::SYN) && acceptable) {
            return;
        }
        self.learn_options(segment);
        self.rcv_nxt = segment.seq.wrapping_add(1);
        self.snd_una = segment.ack;
        self.snd_window = u32::from(segment.window);
        self.measure(segment.ack, now);
        self.tries = 0;
        self.retransmit_at = None;
        self.open();
        if self.buffer.is_empty() {
            self.send_ack(now);
        } else {
            self.output(now);
        }
    }

    fn receive_in_time_wait(&mut self, segment: &Segment, now: SimTime) {
        if segment.has(flag::RST) {
            if segment.seq == self.rcv_nxt {
                self.end(Ending::Closed);
            }
        } else if segment.has(flag::SYN) || segment.sequence_len() > 0 {
            // An old duplicate, or a SYN that reuses the ports too early: the acknowledgement of the old connection.
            if segment.has(flag::FIN) {
                self.time_wait_until = Some(now + TIME_WAIT);
            }
            self.send_ack(now);
        }
    }

    /// Whether a SYN may take over this connection's ports: it is waiting out its time and the SYN is newer (RFC 6191).
    pub(crate) fn yields_to(&self, syn: &Segment) -> bool {
        self.state == State::TimeWait
            && match (syn.timestamps(), self.timestamps) {
                (Some((value, _)), true) => before(self.recent_stamp, value),
                (Some(_), false) | (None, _) => before(self.rcv_nxt, syn.seq),
            }
    }

    fn receive_synchronized(&mut self, segment: &Segment, now: SimTime) {
        if segment.has(flag::RST) {
            // RFC 5961: exactly in place resets, elsewhere in the window is questioned.
            let offset = segment.seq.wrapping_sub(self.rcv_nxt);
            if offset == 0 {
                self.end(Ending::Reset);
            } else if offset < self.habits.window {
                self.challenge(now);
            }
            return;
        }
        if segment.has(flag::SYN) {
            if self.state == State::SynReceived && segment.seq.wrapping_add(1) == self.rcv_nxt {
                self.send_syn(now);
            } else {
                self.challenge(now);
            }
            return;
        }
        let end = segment.seq.wrapping_add(segment.sequence_len());
        let beyond = before(self.rcv_nxt.wrapping_add(self.habits.window), segment.seq);
        if beyond || before(end, self.rcv_nxt) || (segment.sequence_len() > 0 && end == self.rcv_nxt) {
            if segment.payload.is_empty() && !segment.has(flag::FIN) {
                self.challenge(now);
            } else {
                if !beyond && !segment.payload.is_empty() {
                    self.duplicate_block = Some((segment.seq, segment.seq.wrapping_add(segment.payload.len() as u32)));
                }
                self.send_ack(now);
            }
            return;
        }
        if !segment.has(flag::ACK) {
            return;
        }
        if self.state == State::SynReceived && segment.ack != self.snd_nxt {
            // RFC 9293 section 3.10.7.4: not the handshake this end began.
            self.out.push(Segment {
                src_port: self.local_port,
                dst_port: self.remote_port,
                seq: segment.ack,
                flags: flag::RST,
                ..Segment::default()
            });
            return;
        }
        if before(self.snd_nxt, segment.ack) {
            // It acknowledges what was never sent.
            self.challenge(now);
            return;
        }
        if let Some((value, _)) = segment.timestamps()
            && at_or_before(segment.seq, self.rcv_nxt)
        {
            self.recent_stamp = value;
        }
        if self.state == State::SynReceived {
            self.open();
            self.tries = 0;
        }
        self.take_acknowledgement(segment, now);
        if self.state == State::Closed {
            return;
        }
        self.take_data(segment, now);
        self.output(now);
    }

    fn open(&mut self) {
        self.state = State::Established;
        self.congestion_window = INITIAL_SEGMENTS * self.segment_size();
        if self.buffer.is_empty() && self.fin == Fin::None {
            self.retransmit_at = None;
        }
    }

    fn take_acknowledgement(&mut self, segment: &Segment, now: SimTime) {
        self.peer_sack = segment
            .options
            .iter()
            .find_map(|option| match option {
                TcpOption::Sack(blocks) => Some(blocks.clone()),
                _ => None,
            })
            .unwrap_or_default();
        self.snd_window = u32::from(segment.window) << self.snd_scale;
        let advance = segment.ack.wrapping_sub(self.snd_una);
        if before(self.snd_una, segment.ack) {
            self.measure(segment.ack, now);
            let mut bytes = advance;
            if before(self.snd_una, self.iss.wrapping_add(1)) {
                bytes -= 1;
            }
            let fin_acknowledged = self.fin == Fin::Sent && segment.ack == self.snd_nxt;
            let data = (bytes as usize).min(self.buffer.len());
            self.buffer.drain(..data);
            self.snd_una = segment.ack;
            self.tries = 0;
            self.duplicate_acks = 0;
            self.refresh_timeout();
            if self.congestion_window < self.slow_start_until {
                self.congestion_window += (data as u32).min(2 * self.segment_size());
            } else {
                self.congestion_window += self.segment_size() * self.segment_size() / self.congestion_window.max(1);
            }
            match self.recover {
                Some(recover) if before(self.snd_una, recover) => self.retransmit_hole(now),
                Some(_) | None => self.recover = None,
            }
            self.retransmit_at = None;
            self.arm(now);
            if fin_acknowledged {
                self.fin_acknowledged(now);
            }
        } else if advance == 0 && segment.payload.is_empty() && !segment.has(flag::FIN) && self.snd_una != self.snd_nxt
        {
            self.duplicate_acks += 1;
            if self.duplicate_acks == 3 && self.recover.is_none() {
                self.recover = Some(self.snd_nxt);
                self.slow_start_until = (self.congestion_window / 2).max(2 * self.segment_size());
                self.congestion_window = self.slow_start_until;
                self.retransmit_hole(now);
            }
        }
    }

    fn fin_acknowledged(&mut self, now: SimTime) {
        match self.state {
            State::FinWait1 => self.state = State::FinWait2,
            State::Closing => self.wait_out(now),
            State::LastAck => self.end(Ending::Closed),
            State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait2
            | State::CloseWait
            | State::TimeWait
            | State::Closed => {}
        }
    }

    fn take_data(&mut self, segment: &Segment, now: SimTime) {
        if segment.sequence_len() == 0 {
            return;
        }
        let end_of_data = segment.seq.wrapping_add(segment.payload.len() as u32);
        if segment.has(flag::FIN) {
            self.fin_at = Some(end_of_data);
        }
        if !self.reading && !segment.payload.is_empty() {
            // The application has gone: Linux answers with a bare RST and forgets the connection.
            self.out.push(Segment {
                src_port: self.local_port,
                dst_port: self.remote_port,
                seq: segment.ack,
                flags: flag::RST,
                ..Segment::default()
            });
            self.end(Ending::Aborted);
            return;
        }
        let in_order = at_or_before(segment.seq, self.rcv_nxt);
        let had_gap = !self.queue.is_empty();
        if in_order {
            let skip = self.rcv_nxt.wrapping_sub(segment.seq) as usize;
            if skip < segment.payload.len() {
                self.deliver(&segment.payload[skip..]);
            }
            self.drain_queue();
        } else if !segment.payload.is_empty() {
            self.queue.push((segment.seq, segment.payload.clone()));
            let base = self.rcv_nxt;
            self.queue.sort_by_key(|(seq, _)| seq.wrapping_sub(base));
        }
        if self.fin_at == Some(self.rcv_nxt) && !self.peer_finished {
            self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
            self.peer_finished = true;
            match self.state {
                State::Established => self.state = State::CloseWait,
                State::FinWait1 => self.state = State::Closing,
                State::FinWait2 => self.wait_out(now),
                State::SynSent
                | State::SynReceived
                | State::CloseWait
                | State::Closing
                | State::LastAck
                | State::TimeWait
                | State::Closed => {}
            }
            self.send_ack(now);
            return;
        }
        self.unacked_segments += 1;
        if !in_order || had_gap || self.unacked_segments >= 2 || self.quick_acks > 0 {
            self.quick_acks = self.quick_acks.saturating_sub(1);
            self.send_ack(now);
        } else if self.ack_at.is_none() {
            self.ack_at = Some(now + DELAYED_ACK);
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        self.rcv_nxt = self.rcv_nxt.wrapping_add(bytes.len() as u32);
        self.received.extend_from_slice(bytes);
    }

    fn drain_queue(&mut self) {
        let mut rest = std::mem::take(&mut self.queue);
        rest.retain(|(seq, bytes)| {
            if before(self.rcv_nxt, *seq) {
                return true;
            }
            // What came first stays: only the part not yet received is new.
            let skip = self.rcv_nxt.wrapping_sub(*seq) as usize;
            if skip < bytes.len() {
                self.deliver(&bytes[skip..]);
            }
            false
        });
        self.queue = rest;
    }

    fn wait_out(&mut self, now: SimTime) {
        self.state = State::TimeWait;
        self.retransmit_at = None;
        self.time_wait_until = Some(now + TIME_WAIT);
    }

    fn end(&mut self, ending: Ending) {
        self.state = State::Closed;
        self.ending.get_or_insert(ending);
        self.retransmit_at = None;
        self.ack_at = None;
        self.time_wait_until = None;
    }

    fn challenge(&mut self, now: SimTime) {
        if self.last_challenge.is_none_or(|last| now.since(last) >= CHALLENGE_GAP) {
            self.last_challenge = Some(now);
            self.send_ack(now);
        }
    }

    fn segment_size(&self) -> u32 {
        u32::from(self.habits.mss.min(self.peer_mss)) - if self.timestamps { 12 } else { 0 }
    }

    /// Where the buffer's first byte lies in sequence space.
    fn buffer_seq(&self) -> u32 {
        if self.snd_una == self.iss {
            self.iss.wrapping_add(1)
        } else {
            self.snd_una
        }
    }

    fn output(&mut self, now: SimTime) {
        if !matches!(self.state, State::Established | State::CloseWait) {
            return;
        }
        loop {
            let sent = self.snd_nxt.wrapping_sub(self.buffer_seq()) as usize;
            let unsent = self.buffer.len() - sent;
            let room = self.congestion_window.min(self.snd_window) as usize;
            let len = unsent.min(self.segment_size() as usize).min(room.saturating_sub(sent));
            let last = len == unsent;
            let with_fin = last && self.fin == Fin::Queued;
            if len == 0 && !with_fin {
                return;
            }
            // Kernels count the congestion window in whole segments: no small one just to fill it.
            if !last && len < self.segment_size() as usize && sent > 0 {
                return;
            }
            let mut flags = flag::ACK;
            if last && len > 0 {
                flags |= flag::PSH;
            }
            if with_fin {
                flags |= flag::FIN;
            }
            let mut segment = self.segment(flags, self.snd_nxt, now);
            segment.payload = self.buffer.range(sent..sent + len).copied().collect();
            self.snd_nxt = self.snd_nxt.wrapping_add(segment.sequence_len());
            if self.probe.is_none() {
                self.probe = Some((self.snd_nxt, now));
            }
            self.out.push(segment);
            self.acknowledged();
            self.arm(now);
            if with_fin {
                self.fin = Fin::Sent;
                self.state = if self.state == State::CloseWait {
                    State::LastAck
                } else {
                    State::FinWait1
                };
                return;
            }
        }
    }

    /// Sends again what lies first in line and was not reported as received, in segments as large as now fit.
    fn retransmit_hole(&mut self, now: SimTime) {
        let sent = self.snd_nxt.wrapping_sub(self.buffer_seq()) as usize;
        let data = sent.min(self.buffer.len());
        let hole = self
            .peer_sack
            .iter()
            .filter(|(from, _)| before(self.snd_una, *from))
            .map(|(from, _)| from.wrapping_sub(self.snd_una) as usize)
            .min()
            .unwrap_or(usize::MAX);
        let len = data.min(self.segment_size() as usize).min(hole);
        let with_fin = self.fin == Fin::Sent && len == self.buffer.len();
        if len == 0 && !with_fin {
            return;
        }
        let mut flags = flag::ACK;
        if len == data && len > 0 {
            flags |= flag::PSH;
        }
        if with_fin {
            flags |= flag::FIN;
        }
        let mut segment = self.segment(flags, self.buffer_seq(), now);
        segment.payload = self.buffer.range(..len).copied().collect();
        self.probe = None;
        self.out.push(segment);
        self.acknowledged();
    }

    fn time_out(&mut self, now: SimTime) {
        self.tries += 1;
        let handshaking = matches!(self.state, State::SynSent | State::SynReceived);
        if self.tries > if handshaking { SYN_TRIES } else { DATA_TRIES } {
            self.end(Ending::TimedOut);
            return;
        }
        self.timeout = (self.timeout * 2).min(LARGEST_TIMEOUT);
        self.probe = None;
        if handshaking {
            self.send_syn(now);
        } else {
            self.recover = Some(self.snd_nxt);
            self.slow_start_until = (self.congestion_window / 2).max(2 * self.segment_size());
            self.congestion_window = self.segment_size();
            self.retransmit_hole(now);
        }
        self.retransmit_at = Some(now + self.timeout);
    }

    fn arm(&mut self, now: SimTime) {
        if self.snd_una != self.snd_nxt && self.retransmit_at.is_none() && self.state != State::TimeWait {
            self.retransmit_at = Some(now + self.timeout);
        }
    }

    /// RFC 6298, from one timed segment at a time and never from a retransmitted one.
    fn measure(&mut self, ack: u32, now: SimTime) {
        let Some((seq, at)) = self.probe else { return };
        if before(ack, seq) {
            return;
        }
        self.probe = None;
        let sample = now.since(at);
        let (smoothed, variation) = match self.smoothed_rtt {
            None => (sample, sample / 2),
            Some((smoothed, variation)) => (
                smoothed * 7 / 8 + sample / 8,
                variation * 3 / 4 + smoothed.abs_diff(sample) / 4,
            ),
        };
        self.smoothed_rtt = Some((smoothed, variation));
        self.refresh_timeout();
    }

    fn refresh_timeout(&mut self) {
        if let Some((smoothed, variation)) = self.smoothed_rtt {
            self.timeout = smoothed + (variation * 4).max(SMALLEST_TIMEOUT);
        }
    }

    fn learn_options(&mut self, syn: &Segment) {
        let mut scale = None;
        let mut stamps = false;
        for option in &syn.options {
            match option {
                TcpOption::Mss(mss) => self.peer_mss = (*mss).max(88),
                TcpOption::WindowScale(shift) => scale = Some(*shift),
                TcpOption::SackPermitted => self.sack = true,
                TcpOption::Timestamps(value, _) => {
                    stamps = true;
                    self.recent_stamp = *value;
                }
                TcpOption::Nop | TcpOption::Sack(_) => {}
            }
        }
        self.timestamps = stamps && self.habits.timestamps;
        if let (Some(theirs), Some(ours)) = (scale, self.habits.scale) {
            self.snd_scale = theirs;
            self.rcv_scale = ours;
        }
    }

    fn stamp(&self, now: SimTime) -> u32 {
        // Milliseconds, as current kernels count.
        self.clock_base.wrapping_add((now.nanos() / 1_000_000) as u32)
    }

    fn send_syn(&mut self, now: SimTime) {
        let answering = self.state == State::SynReceived;
        let mss = TcpOption::Mss(self.habits.mss);
        let scale = self
            .habits
            .scale
            .filter(|_| !answering || self.rcv_scale != 0 || self.snd_scale != 0);
        let stamps = if answering {
            self.timestamps
        } else {
            self.habits.timestamps
        };
        let stamps =
            stamps.then(|| TcpOption::Timestamps(self.stamp(now), if answering { self.recent_stamp } else { 0 }));
        let sack = (!answering || self.sack).then_some(TcpOption::SackPermitted);
        let scale = scale.map(TcpOption::WindowScale);
        let nop = || TcpOption::Nop;
        let mut options = vec![mss];
        match self.habits.order {
            OptionOrder::Linux => {
                match (sack, stamps) {
                    (Some(sack), Some(stamps)) => options.extend([sack, stamps]),
                    (None, Some(stamps)) => options.extend([nop(), nop(), stamps]),
                    (Some(sack), None) => options.extend([nop(), nop(), sack]),
                    (None, None) => {}
                }
                if let Some(scale) = scale {
                    options.extend([nop(), scale]);
                }
            }
            OptionOrder::Windows => {
                if let Some(scale) = scale {
                    options.extend([nop(), scale]);
                }
                if let Some(sack) = sack {
                    options.extend([nop(), nop(), sack]);
                }
            }
            OptionOrder::Mac => {
                if let Some(scale) = scale {
                    options.extend([nop(), scale]);
                }
                if let Some(stamps) = stamps {
                    options.extend([nop(), nop(), stamps]);
                }
                // Two end-of-list bytes follow from padding.
                options.extend(sack);
            }
        }
        let mut segment = Segment {
            src_port: self.local_port,
            dst_port: self.remote_port,
            seq: self.iss,
            flags: flag::SYN,
            window: self.habits.syn_window,
            options,
            ..Segment::default()
        };
        if answering {
            segment.flags |= flag::ACK;
            segment.ack = self.rcv_nxt;
        }
        if self.tries == 0 {
            self.probe = Some((self.iss.wrapping_add(1), now));
        }
        self.out.push(segment);
    }

    fn segment(&self, flags: u8, seq: u32, now: SimTime) -> Segment {
        let mut options = Vec::new();
        if self.timestamps {
            options.extend([
                TcpOption::Nop,
                TcpOption::Nop,
                TcpOption::Timestamps(self.stamp(now), self.recent_stamp),
            ]);
        }
        Segment {
            src_port: self.local_port,
            dst_port: self.remote_port,
            seq,
            ack: self.rcv_nxt,
            flags,
            window: (self.habits.window >> self.rcv_scale).min(0xFFFF) as u16,
            options,
            ..Segment::default()
        }
    }

    fn send_ack(&mut self, now: SimTime) {
        let mut ack = self.segment(flag::ACK, self.snd_nxt, now);
        let mut blocks: Vec<(u32, u32)> = self.duplicate_block.take().into_iter().collect();
        for (seq, bytes) in &self.queue {
            let end = seq.wrapping_add(bytes.len() as u32);
            match blocks.last_mut() {
                Some(last) if last.1 == *seq => last.1 = end,
                _ => blocks.push((*seq, end)),
            }
        }
        if self.sack && !blocks.is_empty() {
            blocks.truncate(3);
            ack.options
                .extend([TcpOption::Nop, TcpOption::Nop, TcpOption::Sack(blocks)]);
        }
        self.out.push(ack);
        self.acknowledged();
    }

    fn acknowledged(&mut self) {
        self.ack_at = None;
        self.unacked_segments = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Chance;

    fn habits() -> TcpHabits {
        TcpHabits {
            mss: 1460,
            syn_window: 64240,
            window: 64256,
            scale: Some(7),
            timestamps: true,
            order: OptionOrder::Linux,
        }
    }

    struct Pair {
        now: SimTime,
        ends: [TcpEndpoint; 2],
        wire: Vec<(SimTime, u64, usize, Segment)>,
        count: u64,
        got: [Vec<u8>; 2],
        sent: Vec<(usize, Segment)>,
    }

    impl Pair {
        /// Two ends, connected over a path that treats each segment as `path` says: none is lost, else delays in ms.
        fn connect(iss: [u32; 2]) -> Self {
            let client = TcpEndpoint::connect(habits(), (40000, 80), iss[0], 1, SimTime::ZERO);
            let syn = client.out[0].clone();
            let server = TcpEndpoint::accept(habits(), &syn, iss[1], 2, SimTime::ZERO);
            let mut pair = Self {
                now: SimTime::ZERO,
                ends: [client, server],
                wire: Vec::new(),
                count: 0,
                got: [Vec::new(), Vec::new()],
                sent: Vec::new(),
            };
            pair.ends[0].take_outbox();
            pair
        }

        fn run(&mut self, path: &mut dyn FnMut(usize, &Segment) -> Option<u64>, until: Duration) {
            let end = SimTime::ZERO + until;
            loop {
                for side in 0..2 {
                    for segment in self.ends[side].take_outbox() {
                        self.sent.push((side, segment.clone()));
                        if let Some(delay) = path(side, &segment) {
                            self.count += 1;
                            self.wire
                                .push((self.now + Duration::from_millis(delay), self.count, 1 - side, segment));
                        }
                    }
                    let bytes = self.ends[side].take_received();
                    self.got[side].extend(bytes);
                }
                self.wire.sort_by_key(|(at, count, ..)| (*at, *count));
                let arrival = self.wire.first().map(|(at, ..)| *at);
                let deadline = self.ends.iter().filter_map(TcpEndpoint::deadline).min();
                let Some(next) = arrival.into_iter().chain(deadline).min() else {
                    return;
                };
                if next > end {
                    return;
                }
                self.now = next;
                if arrival == Some(next) {
                    let (_, _, to, segment) = self.wire.remove(0);
                    self.ends[to].receive(&segment, next);
                } else {
                    self.ends.iter_mut().for_each(|end| end.tick(next));
                }
            }
        }
    }

    #[test]
    fn a_stream_survives_loss_and_reordering() {
        let mut chance = Chance::new(3);
        let mut pair = Pair::connect([1000, 2000]);
        let mut path = |_: usize, _: &Segment| {
            let lost = chance.hit(0.08);
            let delay = 20 + chance.below(15);
            (!lost).then_some(delay)
        };
        let page: Vec<u8> = (0..200_000u32).map(|i| ((i * 31) >> 3) as u8).collect();
        pair.ends[1].write(&page, SimTime::ZERO);
        pair.run(&mut path, Duration::from_secs(5));
        pair.ends[1].finish(pair.now);
        pair.run(&mut path, Duration::from_secs(600));
        assert_eq!(pair.got[0].len(), page.len());
        assert!(pair.got[0] == page, "every byte arrives in its place");
        assert!(pair.ends[0].peer_finished());
    }

    #[test]
    fn sequence_numbers_wrap_without_notice() {
        let mut pair = Pair::connect([u32::MAX - 5, u32::MAX - 3000]);
        let page = vec![7u8; 20_000];
        pair.ends[1].write(&page, SimTime::ZERO);
        pair.run(&mut |_, _| Some(10), Duration::from_secs(2));
        assert_eq!(pair.got[0], page);
        assert!(pair.ends[1].all_acknowledged());
        pair.ends[0].close(pair.now);
        pair.ends[1].close(pair.now);
        pair.run(&mut |_, _| Some(10), Duration::from_secs(100));
        assert_eq!(pair.ends[1].state(), State::Closed);
        assert_eq!(pair.ends[0].ending(), Some(Ending::Closed));
    }

    #[test]
    fn timeouts_double() {
        let mut pair = Pair::connect([1, 2]);
        pair.run(&mut |_, _| Some(50), Duration::from_millis(500));
        pair.sent.clear();
        pair.ends[0].write(b"GET / HTTP/1.1\r\n\r\n", pair.now);
        let mut times = Vec::new();
        for end in 1..40 {
            let before = pair.sent.len();
            pair.run(
                &mut |side, _| (side == 1).then_some(50),
                Duration::from_millis(500 + 100 * end),
            );
            times.extend(std::iter::repeat_n(end, pair.sent.len() - before));
        }
        assert!(times.len() >= 4, "sent and retransmitted: {times:?}");
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.windows(2).skip(1).all(|pair| pair[1] + 1 >= 2 * pair[0] - 1),
            "each gap doubles: {gaps:?}"
        );
    }

    #[test]
    fn only_a_reset_in_place_ends_a_connection() {
        let mut pair = Pair::connect([1, 2]);
        pair.run(&mut |_, _| Some(5), Duration::from_secs(1));
        let mut reset = Segment {
            flags: flag::RST,
            seq: pair.ends[0].rcv_nxt.wrapping_add(1460),
            ..Segment::default()
        };
        pair.ends[0].receive(&reset, pair.now);
        assert_eq!(pair.ends[0].state(), State::Established);
        assert_eq!(pair.ends[0].take_outbox().len(), 1, "it is challenged");
        reset.seq = pair.ends[0].rcv_nxt.wrapping_sub(1);
        pair.ends[0].receive(&reset, pair.now);
        assert_eq!(pair.ends[0].state(), State::Established);
        reset.seq = pair.ends[0].rcv_nxt;
        pair.ends[0].receive(&reset, pair.now);
        assert_eq!(pair.ends[0].ending(), Some(Ending::Reset));
    }

    #[test]
    fn closing_with_unread_data_aborts() {
        let mut pair = Pair::connect([1, 2]);
        pair.run(&mut |_, _| Some(5), Duration::from_secs(1));
        pair.ends[1].write(b"unread", pair.now);
        let segment = pair.ends[1].take_outbox().remove(0);
        pair.ends[0].receive(&segment, pair.now);
        pair.ends[0].take_outbox();
        let next = pair.ends[0].snd_nxt;
        pair.ends[0].close(pair.now);
        let reset = pair.ends[0].take_outbox().remove(0);
        assert_eq!((reset.flags, reset.seq), (flag::RST | flag::ACK, next));
    }
}
