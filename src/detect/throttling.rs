//! `throttling`: a flow slowed down on purpose, but not cut.
//!
//! # What it sees
//! How many bytes the client acknowledged in each of a few intervals, how many segments came late or again, and how long
//! acknowledgements took. A flow is watched from its sixteenth kilobyte on.
//!
//! # How it tells
//! Policing drops what exceeds a rate: the flow runs at a constant rate, loses segments all along, and its round trips do
//! not grow. Shaping makes packets wait: a constant rate, hardly a loss, and round trips of many times the handshake's.
//! Both are sold as tariffs, and neither proves anything alone. Told as blocking it is where the flows of one name run so,
//! again and again, while other names of the same server run several times as fast in between. Rate and burst are
//! reported.
//!
//! # What it mistakes
//! Tariffs, bad radio links, busy lines and slow servers slow everything alike, and then nothing is told. A server that
//! paces one site's downloads and not another's looks like a shaper, so shaping is told only where acknowledgements are
//! seen to take longer: where the tap is on the server's side of the queue. Flows of a few kilobytes, of several
//! requests, or without a name are not judged; nor is QUIC.
//!
//! # References
//! wire-facts 7.3 and 7.4. Flach et al., "An Internet-Wide Analysis of Traffic Policing", SIGCOMM 2016. Xue et al.,
//! "Throttling Twitter", IMC 2021 (130 to 150 kbit/s).

use std::time::Duration;

use arrayvec::ArrayVec;

use super::detector::{Attention, Carried, Conclusion, Detector, Ending, Sighting};
use crate::finding::docket::Docket;
use crate::finding::evidence::{Evidence, Observation, PaceObservation};
use crate::finding::finding::{Finding, Kind, Manner, Particulars, Party, Position, Stage, Throttle};
use crate::finding::verdict::Prior;
use crate::flow::flow::Flow;
use crate::flow::flow_table::Recycle;
use crate::flow::spare::Spare;
use crate::packet::frame::FrameNumber;
use crate::packet::packet::{Segment, SequenceNumber};
use crate::time::Timestamp;

/// A flow is watched once its server has sent so much, in bytes: nothing less tells a rate.
const LEAST_WATCHED: u64 = 16_000;

/// So much must have been acknowledged while it was watched, in bytes, and so long must that have taken [E].
const LEAST_BYTES: u64 = 24_000;
const LEAST_SPAN: Duration = Duration::from_millis(1_500);

/// Intervals a flow is cut into, and how long they are at first. When all are used, two and two become one.
const INTERVALS: usize = 24;
const FIRST_WIDTH: Duration = Duration::from_millis(125);

/// Intervals that must be used before the rate is held to be constant.
const LEAST_INTERVALS: usize = 6;

/// Late segments that make policing, and the intervals they must be spread over (wire-facts 7.4: 15 losses in 3 slices).
const LEAST_LATE: u32 = 15;
const LEAST_SLICES: usize = 3;

/// One late segment in so many at least: policed flows lose six times as much as others (Flach et al. 2016) [E].
const ONE_LATE_IN: u32 = 20;

/// A round trip has grown if it takes so many times the handshake's, and so much longer [E].
const GROWN_TIMES: u32 = 3;
const GROWN_BY: Duration = Duration::from_millis(100);

/// Segments that are timed at once, and the time between two of them.
const TIMED: usize = 8;
const TIMED_APART: Duration = Duration::from_millis(50);

/// Round trips that must have been measured.
const LEAST_SAMPLES: u16 = 5;

/// Rates at which boxes are known to throttle, in kbit/s of payload (wire-facts 7.4: 128 to 150 on the wire; 0.6 to
/// 0.7 kB/s).
const KNOWN_RATES: [std::ops::RangeInclusive<u64>; 2] = [118..=150, 4..=6];

/// Finds flows that are slowed down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttling;

/// What is kept of one flow: nothing, or one pace in a list that flows which are over have left behind.
#[derive(Debug, Default)]
pub struct Memory {
    pace: Vec<Pace>,
}

impl Recycle for Memory {
    fn recycle(&mut self) {
        self.pace.clear();
    }
}

/// How a flow went on, in intervals.
#[derive(Debug)]
pub struct Pace {
    /// When it was watched first, and what had been acknowledged by then.
    started: Timestamp,
    before: u64,
    width: Duration,
    /// The end of the interval that is being filled, and which it is.
    until: Timestamp,
    filling: usize,
    delivered: [u32; INTERVALS],
    late: [u16; INTERVALS],
    segments: u32,
    late_frames: ArrayVec<FrameNumber, 8>,
    /// Segments whose acknowledgement is waited for, in order.
    timed: ArrayVec<(SequenceNumber, Timestamp), TIMED>,
    samples: u16,
    grown: u16,
    longest: Duration,
}

impl Detector for Throttling {
    const KIND: Kind = Kind::Throttling;
    type Memory = Memory;
    type Habits = Spare<Pace>;

    fn habits(&self) -> Spare<Pace> {
        Spare::default()
    }

    fn observe(&self, sighting: &Sighting<'_>, memory: &mut Memory, spare: &mut Spare<Pace>) -> Attention {
        if sighting.flow.side(Party::Server).bytes < LEAST_WATCHED {
            return Attention::Idle;
        }
        let Carried::Segment(segment) = sighting.carried else {
            return Attention::Idle;
        };
        if memory.pace.is_empty() {
            if !is_judged(sighting.flow) {
                return Attention::Idle;
            }
            spare.push(&mut memory.pace, Pace::new(sighting));
        }
        if let Some(pace) = memory.pace.first_mut() {
            pace.see(sighting, segment);
        }
        Attention::Idle
    }

    fn rests(&self, _flow: &Flow, _memory: &Self::Memory) -> bool {
        true
    }

    fn pass(&self, sighting: &Sighting<'_>, memory: &mut Memory, spare: &mut Spare<Pace>) {
        self.observe(sighting, memory, spare);
    }

    fn conclude(&self, conclusion: &Conclusion<'_>, memory: &mut Memory, spare: &mut Spare<Pace>, docket: &mut Docket) {
        match conclusion.ending {
            Ending::SuspicionDue => return,
            Ending::Over | Ending::Evicted | Ending::CaptureEnded => {}
        }
        if let Some(finding) = memory.pace.first().and_then(|pace| finding(conclusion.flow, pace)) {
            docket.file(finding);
        }
        if !memory.pace.is_empty() {
            spare.give_back(std::mem::take(&mut memory.pace));
        }
    }
}

/// What the flow amounts to, now that it is over.
fn finding(flow: &Flow, pace: &Pace) -> Option<Finding> {
    let asked = flow.asked.as_ref().filter(|_| is_judged(flow))?;
    let (manner, observation) = pace.manner()?;
    let (rate, burst) = pace.fit(asked.at)?;
    let mut evidence = vec![Evidence::at(Observation::Pace(observation), &pace.late_frames)];
    let kbit_s = rate * 8 / 1000;
    if KNOWN_RATES.iter().any(|known| known.contains(&kbit_s)) {
        let known = PaceObservation::KnownRate { kbit_s };
        evidence.push(Evidence::at(Observation::Pace(known), &[]));
    }
    Some(Finding {
        kind: Kind::Throttling,
        conversation: flow.conversation(),
        decided_by: asked.frame,
        at: asked.at,
        stage: Some(Stage::LaterInFlow),
        signature: None,
        claimed_sender: None,
        position: Position::InPath,
        trigger: Some(asked.trigger()),
        forged: Vec::new(),
        genuine: Vec::new(),
        dropped: Vec::new(),
        prior: Prior::Abnormal,
        evidence,
        injector: None,
        particulars: Particulars {
            throttle: Some(Throttle { manner, kbit_s, burst }),
            ..Particulars::default()
        },
    })
}

/// Whether the flow is one request for a name, seen from its opening on.
fn is_judged(flow: &Flow) -> bool {
    let named = flow.asked.as_ref().is_some_and(|asked| !asked.name.is_empty());
    named && flow.requests == 1 && flow.saw_handshake() && flow.is_two_sided()
}

/// What `party`'s peer has acknowledged, in bytes.
fn delivered(flow: &Flow, party: Party) -> u64 {
    let acked = flow.side(party.peer()).acked.zip(flow.first_byte(party));
    acked.map_or(0, |(acked, first)| u64::try_from(acked.ahead_of(first)).unwrap_or(0))
}

impl Pace {
    fn new(sighting: &Sighting<'_>) -> Self {
        let at = sighting.packet.frame.at;
        Self {
            started: at,
            before: delivered(sighting.flow, Party::Server),
            width: FIRST_WIDTH,
            until: at.plus(FIRST_WIDTH),
            filling: 0,
            delivered: [0; INTERVALS],
            late: [0; INTERVALS],
            segments: 0,
            late_frames: ArrayVec::new(),
            timed: ArrayVec::new(),
            samples: 0,
            grown: 0,
            longest: Duration::ZERO,
        }
    }

    /// Sees a segment before the flow learns it.
    fn see(&mut self, sighting: &Sighting<'_>, segment: &Segment<'_>) {
        let flow = sighting.flow;
        let at = sighting.packet.frame.at;
        while at >= self.until {
            self.next_interval();
        }
        match sighting.sender {
            Party::Server if segment.payload_len > 0 => {
                self.segments = self.segments.saturating_add(1);
                let end = flow.side(Party::Server).end;
                if end.is_none_or(|end| segment.end().is_after(end)) {
                    let next = self.timed.last().is_none_or(|(_, sent)| at.since(*sent) >= TIMED_APART);
                    if next {
                        let _ = self.timed.try_push((segment.end(), at));
                    }
                } else {
                    let late = &mut self.late[self.filling];
                    *late = late.saturating_add(1);
                    let _ = self.late_frames.try_push(sighting.packet.frame.number);
                    // Which of the two is acknowledged is not known (Karn).
                    self.timed.clear();
                }
            }
            Party::Client if segment.flags.ack() && !segment.flags.rst() => {
                let acked = flow.side(Party::Client).acked;
                let more = acked.map_or(0, |acked| segment.ack.ahead_of(acked));
                let delivered = &mut self.delivered[self.filling];
                *delivered = delivered.saturating_add(u32::try_from(more).unwrap_or(0));
                while let Some((_, sent)) = self
                    .timed
                    .first()
                    .copied()
                    .filter(|(end, _)| segment.ack.ahead_of(*end) >= 0)
                {
                    self.timed.remove(0);
                    self.sample(at.since(sent), flow.round_trip(Party::Client));
                }
            }
            Party::Server | Party::Client => {}
        }
    }

    fn sample(&mut self, took: Duration, usual: Option<Duration>) {
        let Some(usual) = usual else { return };
        self.samples = self.samples.saturating_add(1);
        self.longest = self.longest.max(took);
        let grown = took >= usual * GROWN_TIMES && took >= usual + GROWN_BY;
        self.grown = self.grown.saturating_add(u16::from(grown));
    }

    fn next_interval(&mut self) {
        self.filling += 1;
        if self.filling == INTERVALS {
            for at in 0..INTERVALS / 2 {
                self.delivered[at] = self.delivered[2 * at].saturating_add(self.delivered[2 * at + 1]);
                self.late[at] = self.late[2 * at].saturating_add(self.late[2 * at + 1]);
            }
            self.delivered[INTERVALS / 2..].fill(0);
            self.late[INTERVALS / 2..].fill(0);
            self.filling = INTERVALS / 2;
            self.width *= 2;
        }
        self.until = self.started.plus(self.width * (self.filling as u32 + 1));
    }

    /// Whether the flow is policed or shaped, as far as losses and round trips tell.
    fn manner(&self) -> Option<(Manner, PaceObservation)> {
        let late: u32 = self.late.iter().map(|late| u32::from(*late)).sum();
        let slices = self.late.iter().filter(|late| **late > 0).count();
        let waits = self.samples >= LEAST_SAMPLES && self.grown * 2 >= self.samples;
        if late >= LEAST_LATE && slices >= LEAST_SLICES && late * ONE_LATE_IN >= self.segments && !waits {
            let segments = self.segments;
            return Some((Manner::Policing, PaceObservation::Policed { late, segments }));
        }
        let longest = self.longest;
        (waits && late * ONE_LATE_IN < self.segments)
            .then_some((Manner::Shaping, PaceObservation::QueueGrows { longest }))
    }

    /// The rate, in bytes a second, and the burst before it, in bytes, of a flow that ran at a constant rate. `asked` is
    /// when the client asked.
    fn fit(&self, asked: Timestamp) -> Option<(u64, u64)> {
        let last = self.delivered.iter().rposition(|bytes| *bytes > 0)?;
        // The last interval is cut off by the end of the answer.
        let whole = &self.delivered[..last];
        let total: u64 = whole.iter().map(|bytes| u64::from(*bytes)).sum();
        let span = self.width * whole.len() as u32;
        if whole.len() < LEAST_INTERVALS || total < LEAST_BYTES || span < LEAST_SPAN {
            return None;
        }
        let rate = (u128::from(total) * 1_000_000_000 / span.as_nanos()) as u64;
        let of = |time: Duration| (u128::from(rate) * time.as_nanos() / 1_000_000_000) as u64;
        // Each third of the time carries its third, give or take half.
        let third = whole.len().div_ceil(3);
        let is_constant = whole.chunks(third).all(|part| {
            let carried: u64 = part.iter().map(|bytes| u64::from(*bytes)).sum();
            let fair = of(self.width * part.len() as u32);
            carried * 2 >= fair && carried * 2 <= fair * 3
        });
        let mut burst = self.before.saturating_sub(of(self.started.since(asked)));
        let mut sum = self.before;
        for (index, bytes) in whole.iter().enumerate() {
            sum += u64::from(*bytes);
            let by_rate = of(self.started.since(asked) + self.width * (index as u32 + 1));
            burst = burst.max(sum.saturating_sub(by_rate));
        }
        is_constant.then_some((rate, burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::trial::Trial;
    use crate::flow::talk::{A, R, S, Sent, Talk, client, opened, server};

    /// A pace of so many bytes in each eighth of a second.
    fn pace(delivered: &[u32]) -> Pace {
        let start = Timestamp::from_nanos(1_000_000_000);
        let mut pace = Pace {
            started: start,
            before: 9_000,
            width: FIRST_WIDTH,
            until: start.plus(FIRST_WIDTH),
            filling: 0,
            delivered: [0; INTERVALS],
            late: [0; INTERVALS],
            segments: 0,
            late_frames: ArrayVec::new(),
            timed: ArrayVec::new(),
            samples: 0,
            grown: 0,
            longest: Duration::ZERO,
        };
        for (index, bytes) in delivered.iter().enumerate() {
            while start.plus(FIRST_WIDTH * index as u32) >= pace.until {
                pace.next_interval();
            }
            pace.delivered[pace.filling] += bytes;
        }
        pace
    }

    #[test]
    fn the_rate_is_the_same_however_often_intervals_were_joined() {
        let start = Timestamp::from_nanos(1_000_000_000);
        for intervals in [20, 100, 1000] {
            let (rate, burst) = pace(&vec![2_500; intervals]).fit(start).unwrap();
            assert_eq!((rate, burst), (20_000, 9_000), "{intervals}");
        }
    }

    #[test]
    fn what_is_judged_is_one_request_for_a_name_seen_from_its_opening_on() {
        const NAMELESS: &[u8] = b"GET / HTTP/1.1\r\nAccept: all-of-them\r\n\r\n";
        let judged = |packets: &[Sent<'_>]| is_judged(Talk::of(80, packets).flow());
        let (len, answer) = (REQUEST.len() as u32, server(A, 1, 1 + REQUEST.len() as u32, b"answer"));
        assert!(judged(&opened(&[client(A, 1, 1, REQUEST), answer])));
        assert!(!judged(&opened(&[client(A, 1, 1, NAMELESS), answer])));
        let again = client(A, 1 + len, 7, REQUEST);
        assert!(!judged(&opened(&[client(A, 1, 1, REQUEST), answer, again])));
        assert!(!judged(&opened(&[client(A, 1, 1, REQUEST), answer])[2..]));
        assert!(!judged(&[client(S, 0, 0, b""), client(A, 1, 1, REQUEST)]));
    }

    /// A pace of which so many segments came late in each of its first intervals.
    fn late(late: &[u16], segments: u32, (samples, grown): (u16, u16)) -> Option<Manner> {
        let mut pace = pace(&[2_500; 20]);
        pace.late[..late.len()].copy_from_slice(late);
        (pace.segments, pace.samples, pace.grown) = (segments, samples, grown);
        pace.manner().map(|(manner, _)| manner)
    }

    #[test]
    fn policing_loses_segments_all_along_and_shaping_makes_them_wait() {
        let policing = Some(Manner::Policing);
        assert_eq!(late(&[5, 5, 5], 300, (0, 0)), policing);
        assert_eq!(late(&[5, 5, 4], 280, (0, 0)), None, "too few");
        assert_eq!(late(&[8, 7], 300, (0, 0)), None, "all at once");
        assert_eq!(late(&[5, 5, 5], 301, (0, 0)), None, "no more than others lose");
        // Where acknowledgements wait, losses are the queue's overflow.
        assert_eq!(late(&[5, 5, 5], 300, (5, 2)), policing);
        assert_eq!(late(&[5, 5, 5], 300, (4, 4)), policing, "too few were timed");
        assert_eq!(late(&[5, 5, 5], 300, (5, 3)), None);
        let shaping = Some(Manner::Shaping);
        assert_eq!(late(&[5, 5, 5], 301, (5, 3)), shaping);
        assert_eq!(late(&[], 40, (6, 3)), shaping);
        assert_eq!(late(&[2], 40, (6, 3)), None);
        assert_eq!(late(&[], 40, (6, 2)), None);
    }

    #[test]
    fn a_round_trip_has_grown_if_it_takes_thrice_as_long_and_a_tenth_of_a_second_more() {
        let millis = Duration::from_millis;
        for (took, usual, grown) in [
            (150, 50, 1),
            (149, 50, 0),
            (149, 49, 1),
            (180, 60, 1),
            (179, 60, 0),
            (101, 1, 1),
            (100, 1, 0),
        ] {
            let mut pace = pace(&[]);
            pace.sample(millis(took), Some(millis(usual)));
            assert_eq!(
                (pace.samples, pace.grown, pace.longest),
                (1, grown, millis(took)),
                "{took} of {usual}"
            );
            pace.sample(millis(900), None);
            assert_eq!(pace.samples, 1, "without a handshake nothing is known");
            pace.sample(millis(1), Some(millis(usual)));
            assert_eq!((pace.samples, pace.grown, pace.longest), (2, grown, millis(took)));
        }
    }

    #[test]
    fn a_rate_is_told_from_24_kilobytes_and_a_second_and_a_half_on() {
        let start = Timestamp::from_nanos(1_000_000_000);
        let told = |intervals: usize, bytes: u32| pace(&vec![bytes; intervals]).fit(start).is_some();
        // The last interval does not count: 12 of an eighth of a second are left of 13.
        assert!(told(13, 2_000));
        assert!(!told(13, 1_999));
        assert!(!told(12, 9_000));
        // Each third carries between half and one and a half of its share.
        let thirds = |first: u32, second: u32, third: u32| {
            let parts = [[first; 5], [second; 5], [third; 5]].concat();
            pace(&[&parts[..], &[1]].concat()).fit(start).is_some()
        };
        assert!(thirds(3_000, 3_000, 3_000));
        assert!(thirds(1_500, 4_500, 3_000));
        assert!(!thirds(1_499, 4_501, 3_000));
        assert!(!thirds(1_400, 3_800, 3_800));
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const ASKED: u32 = 1 + REQUEST.len() as u32;
    const DATA: &[u8] = &[7; 1000];

    fn data(number: u32) -> Sent<'static> {
        server(A, 1 + number * 1000, ASKED, DATA)
    }

    fn heard(number: u32) -> Sent<'static> {
        client(A, ASKED, 1 + number * 1000, b"")
    }

    /// A download of which so many segments have come and been acknowledged, 10 ms each.
    fn downloading(segments: u32) -> Trial<Throttling> {
        let mut trial = Trial::of(Throttling, 80);
        trial.show(&opened(&[client(A, 1, 1, REQUEST)]));
        for number in 0..segments {
            trial.show(&[data(number), heard(number + 1)]);
        }
        trial
    }

    #[test]
    fn a_flow_is_watched_from_its_sixteenth_kilobyte_on() {
        assert!(downloading(15).memory.pace.is_empty());
        let mut trial = downloading(16);
        let pace = &trial.memory.pace[0];
        assert_eq!((pace.before, pace.delivered[0], pace.segments), (15_000, 1000, 0));
        assert!(trial.rests());
        // What comes late is counted, and not timed.
        trial.show(&[data(16), data(16), heard(17)]);
        let pace = &trial.memory.pace[0];
        assert_eq!(
            (pace.delivered[0], pace.segments, pace.late[0], pace.samples),
            (2000, 2, 1, 0)
        );
        assert_eq!(pace.late_frames.len(), 1);
        trial.show(&[data(17), heard(17), heard(18), heard(18)]);
        let pace = &trial.memory.pace[0];
        assert_eq!(
            (pace.delivered[0], pace.segments, pace.late[0], pace.samples),
            (3000, 3, 1, 1)
        );
        assert_eq!(pace.longest, Duration::from_millis(20));
        // A reset, a segment without ACK and one of the server's acknowledge nothing.
        trial.show(&[
            client(R | A, ASKED, 20_001, b""),
            client(0, ASKED, 20_001, b""),
            server(A, 18_001, ASKED, b""),
        ]);
        let pace = &trial.memory.pace[0];
        assert_eq!((pace.delivered[0], pace.segments, pace.late[0]), (3000, 3, 1));
    }

    #[test]
    fn segments_are_timed_fifty_milliseconds_apart() {
        let mut trial = downloading(16);
        let start = 1_000;
        for (number, at) in (16..).zip([0, 49, 50, 99, 100]) {
            trial.show_at(start + at, &data(number));
        }
        let timed: Vec<_> = trial.memory.pace[0].timed.iter().map(|(end, _)| end.0).collect();
        assert_eq!(timed, [17_001, 19_001, 21_001]);
        trial.show_at(start + 130, &client(A, ASKED, 19_001, b""));
        let pace = &trial.memory.pace[0];
        assert_eq!((pace.samples, pace.timed.len()), (2, 1));
        assert_eq!(pace.longest, Duration::from_millis(130));
    }

    #[test]
    fn what_was_delivered_lies_in_its_interval() {
        let mut trial = downloading(16);
        // It was watched first at 360 ms: the first interval ends at 485.
        assert_eq!(
            trial.memory.pace[0].started.since(Timestamp::EPOCH),
            Duration::from_millis(360)
        );
        trial.show_at(484, &data(16));
        trial.show_at(484, &heard(17));
        assert_eq!(trial.memory.pace[0].filling, 0);
        trial.show_at(485, &data(17));
        trial.show_at(485, &heard(18));
        let pace = &trial.memory.pace[0];
        assert_eq!((pace.filling, &pace.delivered[..3]), (1, &[2000, 1000, 0][..]));
        // When all 24 are used, two and two become one.
        trial.show_at(360 + 125 * 23, &data(18));
        assert_eq!(
            (trial.memory.pace[0].filling, trial.memory.pace[0].width),
            (23, FIRST_WIDTH)
        );
        trial.show_at(360 + 125 * 24, &heard(19));
        let pace = &trial.memory.pace[0];
        assert_eq!((pace.filling, pace.width), (12, FIRST_WIDTH * 2));
        assert_eq!(
            (pace.delivered[0], pace.delivered[1], pace.delivered[12]),
            (3000, 0, 1000)
        );
        assert_eq!(pace.delivered.iter().sum::<u32>(), 4000);
    }

    #[test]
    fn a_policed_flow_is_told_with_its_rate() {
        let told = |bytes: u32| {
            let mut trial = downloading(16);
            for step in 0..40 {
                trial.memory.pace[0].delivered[0] = 0;
                trial.show_at(500 + step, &data(16));
            }
            let pace = &mut trial.memory.pace[0];
            pace.delivered[..20].fill(bytes);
            pace.late[..3].fill(9);
            pace.filling = 20;
            assert_eq!(trial.conclude(Ending::SuspicionDue).len(), 0);
            let found = trial.conclude(Ending::Over);
            assert_eq!(trial.conclude(Ending::Over).len(), 0);
            let finding = found.into_iter().next()?;
            let throttle = finding.particulars.throttle?;
            Some((throttle.manner, throttle.kbit_s, finding.evidence.len()))
        };
        let policing = Manner::Policing;
        // In an eighth of a second: 2 500 bytes are 160 kbit/s. Rates that boxes are known for are told.
        assert_eq!(told(2_500), Some((policing, 160, 1)));
        assert_eq!(told(2_344), Some((policing, 150, 2)));
        assert_eq!(told(2_360), Some((policing, 151, 1)));
        assert_eq!(told(1_844), Some((policing, 118, 2)));
        assert_eq!(told(1_835), Some((policing, 117, 1)));
        assert_eq!(told(1_000), None, "too little");
    }

    #[test]
    fn a_flow_that_is_not_constant_has_no_rate() {
        let start = Timestamp::from_nanos(1_000_000_000);
        let mut growing = vec![500; 10];
        growing.extend([9_000; 10]);
        assert_eq!(pace(&growing).fit(start), None);
        let mut pausing = vec![5_000; 8];
        pausing.extend([0; 8]);
        pausing.extend([5_000; 8]);
        assert_eq!(pace(&pausing).fit(start), None);
    }
}
