//! Keeps the packets of a live run for a while, and lets through those of flows that were convicted.
//!
//! A flow is convicted after its packets have gone by, and a capture is only worth reading in the order of time. So all
//! frames wait, for a span and in a store that are both bounded, and when a frame's time is up it is written if by then
//! its flow has been convicted, and dropped otherwise:
//!
//! ```text
//!   frames ─► waiting (a bounded span, a bounded store) ─► written if the flow was convicted meanwhile
//!                 ▲
//!   findings ─► the flows convicted: the finding's own, and those of all frames it rests on;
//!               and the client's other flows, which these are compared with
//! ```
//!
//! So every frame is written once, in order, and what is written reads as the live run saw it. Frames of several sources
//! come in order of each, and are put in order of all when they go. A fragment without ports is written if a flow between
//! its hosts is convicted.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::capture::source::{Record, RecordBatch};
use crate::finding::finding::{Finding, Protocol};
use crate::finding::verdict::Verdict;
use crate::flow::flow_key::{End, FlowKey};
use crate::packet::dissect::{Undissected, dissect};
use crate::packet::frame::{Frame, FrameNumber};
use crate::packet::host_pair::HostPair;
use crate::packet::link::Peeled;
use crate::packet::packet::Transport;
use crate::time::Timestamp;

/// The most flows convicted at a time, and frames of which it is known what they are.
const MOST_FLOWS: usize = 1 << 15;
const MOST_ROLES: usize = 1 << 16;

/// The most clients whose other flows are written.
const MOST_CLIENTS: usize = 1 << 12;

/// The most that is written of a convicted flow, and of another of its client, in bytes: what tells a throttled
/// download from one that is not, and no more.
const MOST_OF_A_FLOW: u64 = 32 << 20;
const MOST_OF_ANOTHER: u64 = 8 << 20;

/// A convicted flow of which no more came for so long is over (the longest that any flow is waited for).
const OVER: Duration = Duration::from_secs(900);

/// How much older frames of a batch may be than those of one that came before it from another source.
const APART: Duration = Duration::from_secs(2);

/// Batches smaller than this are copied: their memory is mostly room for more.
const SMALL: usize = 1 << 15;

/// How long and in how much memory frames wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long.
    pub span: Duration,
    /// In how many bytes, about.
    pub bytes: usize,
}

/// Takes the frames of convicted flows, in order.
pub trait Takes {
    /// Takes one, with what is known of it.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn take(&mut self, frame: &Frame<'_>, comment: Option<&str>) -> io::Result<()>;
}

/// What was kept and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Frames written.
    pub frames: u64,
    /// Findings of which some frames had been dropped before they were convicted.
    pub incomplete: u64,
    /// Frames of convicted flows not written because there was too much of the flow.
    pub cut: u64,
}

/// The packets that wait.
#[derive(Debug)]
pub struct Evidence {
    patience: Patience,
    waiting: VecDeque<RecordBatch>,
    bytes: usize,
    clock: Timestamp,
    flows: HashMap<FlowKey, Convicted>,
    /// The hosts of these, with what was written of fragments between them.
    pairs: HashMap<HostPair, Convicted>,
    /// The clients of convicted flows, and when they were last seen or convicted.
    clients: HashMap<IpAddr, Timestamp>,
    roles: HashMap<FrameNumber, String>,
    kept: Kept,
}

/// A flow whose frames are written.
#[derive(Clone, Copy, Debug)]
struct Convicted {
    last: Timestamp,
    written: u64,
    most: u64,
}

impl Evidence {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            waiting: VecDeque::new(),
            bytes: 0,
            clock: Timestamp::EPOCH,
            flows: HashMap::new(),
            pairs: HashMap::new(),
            clients: HashMap::new(),
            roles: HashMap::new(),
            kept: Kept::default(),
        }
    }

    /// What was kept so far.
    #[must_use]
    pub const fn kept(&self) -> Kept {
        self.kept
    }

    /// Lets the frames of `batch` wait, and those whose time is up go, to `taker` if their flow was convicted.
    ///
    /// # Errors
    /// When the taker cannot keep one; it is lost then, and those after it are still tried.
    pub fn wait(&mut self, batch: &RecordBatch, taker: &mut dyn Takes) -> io::Result<()> {
        let Some(last) = batch.records.last() else {
            return Ok(());
        };
        self.clock = self.clock.max(last.at);
        let bytes = if batch.bytes.len() < SMALL {
            Bytes::copy_from_slice(&batch.bytes)
        } else {
            batch.bytes.clone()
        };
        self.bytes += size(&bytes, &batch.records);
        self.waiting.push_back(RecordBatch {
            bytes,
            records: batch.records.clone(),
        });
        let mut outcome = Ok(());
        while let Some(oldest) = self.waiting.front() {
            let since = oldest
                .records
                .last()
                .map_or(Duration::MAX, |last| self.clock.since(last.at));
            if since <= self.patience.span && self.bytes <= self.patience.bytes {
                break;
            }
            outcome = outcome.and(self.release(taker));
        }
        outcome
    }

    /// The time may have come so far without a frame.
    ///
    /// # Errors
    /// As for [`Self::wait`].
    pub fn pass(&mut self, now: Timestamp, taker: &mut dyn Takes) -> io::Result<()> {
        self.clock = self.clock.max(now);
        let mut outcome = Ok(());
        while let Some(last) = self.waiting.front().and_then(|oldest| oldest.records.last()) {
            if self.clock.since(last.at) <= self.patience.span {
                break;
            }
            outcome = outcome.and(self.release(taker));
        }
        outcome
    }

    /// Lets all frames go.
    ///
    /// # Errors
    /// As for [`Self::wait`].
    pub fn finish(&mut self, taker: &mut dyn Takes) -> io::Result<()> {
        let mut outcome = Ok(());
        while !self.waiting.is_empty() {
            outcome = outcome.and(self.release(taker));
        }
        outcome
    }

    /// Convicts the flow of `finding`, and those of the frames it rests on.
    pub fn convict(&mut self, finding: &Finding, verdict: Option<Verdict>) {
        let conversation = &finding.conversation;
        let (key, _) = FlowKey::new(conversation.protocol, conversation.client, conversation.server);
        self.enter(key, MOST_OF_A_FLOW);
        self.enter_client(conversation.client.ip);
        let mut gone = !self.holds(conversation.first_frame);
        let roles = [
            ("forged", &finding.forged),
            ("contradicts what is forged", &finding.genuine),
            ("swallowed", &finding.dropped),
        ];
        let verdict = verdict.map_or("no verdict", Verdict::key);
        for (role, frames) in roles {
            for frame in frames {
                let told = format!(
                    "{role}: {} ({verdict}), frame {} of the live run",
                    finding.kind.key(),
                    frame.in_file()
                );
                gone |= !self.enter_flow_of(*frame);
                if self.roles.len() < MOST_ROLES {
                    self.roles.insert(*frame, told);
                }
            }
        }
        let others = finding.evidence.iter().flat_map(|item| item.frames.iter());
        for frame in others.chain(finding.trigger.iter().map(|trigger| &trigger.frame)) {
            gone |= !self.enter_flow_of(*frame);
        }
        self.kept.incomplete += u64::from(gone);
    }

    /// Convicts the flow of a frame that waits; false if it waits no more.
    fn enter_flow_of(&mut self, number: FrameNumber) -> bool {
        let Some(batch) = self.batch_of(number) else {
            return false;
        };
        let found = batch.records.iter().find(|record| record.number == number);
        if let Some(PartOf::Flow(flow)) = found.and_then(|record| part_of(batch.frame(record))) {
            self.enter(flow.key, MOST_OF_A_FLOW);
        }
        true
    }

    fn holds(&self, number: FrameNumber) -> bool {
        self.batch_of(number).is_some()
    }

    /// The batch a frame waits in: each is of one interface, and its frames have numbers one after the other.
    fn batch_of(&self, number: FrameNumber) -> Option<&RecordBatch> {
        self.waiting.iter().find(|batch| {
            let ends = batch.records.first().zip(batch.records.last());
            ends.is_some_and(|(first, last)| first.number <= number && number <= last.number)
        })
    }

    /// Takes the oldest batch out, and of the others what is no younger than it, in the order of time.
    fn take_oldest(&mut self) -> Vec<(Record, Bytes)> {
        let Some(oldest) = self.waiting.pop_front() else {
            return Vec::new();
        };
        self.bytes -= size(&oldest.bytes, &oldest.records);
        let until = oldest.records.iter().map(|record| record.at).max().unwrap_or_default();
        let mut taken: Vec<_> = oldest
            .records
            .into_iter()
            .map(|record| (record, oldest.bytes.clone()))
            .collect();
        let mut emptied = false;
        for batch in &mut self.waiting {
            let Some(first) = batch.records.first() else { continue };
            if first.at.since(until) > APART {
                break;
            }
            let old = batch.records.partition_point(|record| record.at <= until);
            if old == 0 {
                continue;
            }
            self.bytes -= size_of_val(&batch.records[..old]);
            taken.extend(batch.records.drain(..old).map(|record| (record, batch.bytes.clone())));
            emptied |= batch.records.is_empty();
        }
        if emptied {
            let bytes = &mut self.bytes;
            self.waiting.retain(|batch| {
                if batch.records.is_empty() {
                    *bytes -= batch.bytes.len();
                }
                !batch.records.is_empty()
            });
        }
        // Those of one source are in order, and stay in the order they came in where times are the same.
        taken.sort_by_key(|(record, _)| record.at);
        taken
    }

    /// Has so much of a flow written at the most.
    fn enter(&mut self, key: FlowKey, most: u64) {
        let (clock, over) = (self.clock, OVER.max(self.patience.span));
        let pair = HostPair::of(key.endpoint(End::Low).ip, key.endpoint(End::High).ip);
        enter(&mut self.flows, key, most, clock, over);
        enter(&mut self.pairs, pair, most, clock, over);
    }

    /// Has the other flows of a client written as well.
    fn enter_client(&mut self, ip: IpAddr) {
        let clock = self.clock;
        let over = OVER.max(self.patience.span);
        if self.clients.len() >= MOST_CLIENTS {
            self.clients.retain(|_, last| clock.since(*last) <= over);
        }
        if self.clients.len() < MOST_CLIENTS {
            self.clients.insert(ip, clock);
        }
    }

    /// Lets the oldest batch go.
    fn release(&mut self, taker: &mut dyn Takes) -> io::Result<()> {
        let taken = self.take_oldest();
        if self.flows.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        for (record, bytes) in &taken {
            let frame = record.frame(bytes);
            let convicted = match part_of(frame) {
                Some(PartOf::Flow(of)) => {
                    if !self.flows.contains_key(&of.key) && of.ends.iter().any(|ip| self.clients.contains_key(ip)) {
                        self.enter(of.key, MOST_OF_ANOTHER);
                    }
                    self.flows.get_mut(&of.key)
                }
                Some(PartOf::Pair(pair)) => self.pairs.get_mut(&pair),
                None => None,
            };
            let Some(convicted) = convicted else { continue };
            convicted.last = convicted.last.max(record.at);
            let role = self.roles.remove(&record.number);
            if convicted.written >= convicted.most && role.is_none() {
                self.kept.cut += 1;
                continue;
            }
            convicted.written += u64::from(record.captured);
            match taker.take(&frame, role.as_deref()) {
                Ok(()) => self.kept.frames += 1,
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }
}

/// Has so much written of what `key` stands for at the most; at `clock`, what is older than `over` makes room.
fn enter<K: Eq + Hash>(among: &mut HashMap<K, Convicted>, key: K, most: u64, clock: Timestamp, over: Duration) {
    if among.len() >= MOST_FLOWS {
        among.retain(|_, convicted| clock.since(convicted.last) <= over);
    }
    if let Some(convicted) = among.get_mut(&key) {
        convicted.most = convicted.most.max(most);
    } else if among.len() < MOST_FLOWS {
        let (last, written) = (clock, 0);
        among.insert(key, Convicted { last, written, most });
    }
}

/// The memory a batch takes, about.
fn size(bytes: &Bytes, records: &[Record]) -> usize {
    bytes.len() + size_of_val(records)
}

/// What a frame is a part of.
enum PartOf {
    Flow(FlowOf),
    /// Whichever flow it belongs to, it is between these hosts.
    Pair(HostPair),
}

/// A flow and its ends.
struct FlowOf {
    key: FlowKey,
    ends: [IpAddr; 2],
}

/// The flow a frame belongs to, or that an ICMP error in it is about; of a fragment without ports the hosts.
fn part_of(frame: Frame<'_>) -> Option<PartOf> {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let packet = match dissect(frame) {
        Ok(packet) => packet,
        Err(Undissected::LaterFragment) => {
            let pair = Peeled::of(frame.link, frame.bytes).ok()?.pair;
            return Some(PartOf::Pair(pair));
        }
        Err(_) => return None,
    };
    let (protocol, from, to) = match packet.transport {
        Transport::Tcp(_) => (Protocol::Tcp, packet.from, packet.to),
        Transport::Udp(_) => (Protocol::Udp, packet.from, packet.to),
        Transport::IcmpError(error) => {
            let protocol = match error.quoted_protocol {
                TCP => Protocol::Tcp,
                UDP => Protocol::Udp,
                _ => return None,
            };
            (protocol, error.quoted_from, error.quoted_to)
        }
        Transport::Other(_) => return None,
    };
    Some(PartOf::Flow(FlowOf {
        key: FlowKey::new(protocol, from, to).0,
        ends: [from.ip, to.ip],
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::capture::capture_set::CaptureSet;
    use crate::capture::pcapng_writer::PcapngWriter;
    use crate::capture::source::{Source, Supply};
    use crate::engine::run::{self, Control, Settings};
    use crate::finding::finding::Kind;
    use crate::finding::summary::Summary;
    use crate::fixture::fixture::Fixture;
    use crate::packet::frame::LinkType;
    use crate::report::sink::{Reported, Sink};

    #[derive(Default)]
    struct Findings(Vec<(Finding, Option<Verdict>)>);

    impl Sink for Findings {
        fn finding(&mut self, reported: &Reported<'_>) -> io::Result<()> {
            self.0.push((reported.finding.clone(), reported.judgement.verdict));
            Ok(())
        }

        fn finish(&mut self, _: &Summary) -> io::Result<()> {
            Ok(())
        }
    }

    struct ToTheEnd;

    impl Control for ToTheEnd {
        fn progress(&mut self, _: crate::capture::source::Progress, _: u64) {}

        fn stop(&self) -> bool {
            false
        }
    }

    fn read(path: &Path) -> Vec<(Finding, Option<Verdict>)> {
        let mut findings = Findings::default();
        let mut source = CaptureSet::open(&[path.to_owned()]);
        run::run(&mut source, &Settings::default(), &mut findings, &mut ToTheEnd);
        findings.0
    }

    /// Writes into memory.
    #[derive(Default)]
    struct Written {
        writer: PcapngWriter,
        bytes: Vec<u8>,
        frames: Vec<FrameNumber>,
    }

    impl Takes for Written {
        fn take(&mut self, frame: &Frame<'_>, comment: Option<&str>) -> io::Result<()> {
            if self.bytes.is_empty() {
                self.writer.begin(&mut self.bytes);
            }
            self.writer.frame(&mut self.bytes, frame, "eth0", comment);
            self.frames.push(frame.number);
            Ok(())
        }
    }

    const LONG: Patience = Patience {
        span: Duration::from_secs(3600),
        bytes: 1 << 30,
    };

    fn wait_for_all(path: &Path, evidence: &mut Evidence, written: &mut Written) {
        let mut source = CaptureSet::open(&[path.to_owned()]).with_batch_len(64);
        let mut batch = RecordBatch::default();
        while source.supply(&mut batch).unwrap() == Supply::Records {
            evidence.wait(&batch, written).unwrap();
        }
    }

    #[test]
    fn what_is_written_tells_the_same_findings() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        let mut compared = 0;
        let mut differing = Vec::new();
        for fixture in Fixture::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap() {
            let path = fixture.trace_path();
            let findings = read(&path);
            let (mut evidence, mut written) = (Evidence::new(LONG), Written::default());
            wait_for_all(&path, &mut evidence, &mut written);
            for (finding, verdict) in &findings {
                evidence.convict(finding, *verdict);
            }
            evidence.finish(&mut written).unwrap();
            assert_eq!(written.bytes.is_empty(), findings.is_empty(), "{}", path.display());
            if findings.is_empty() {
                continue;
            }
            fs::write(&kept, &written.bytes).unwrap();
            // A shutdown rests on all flows there are, which are not evidence against anybody.
            let of = |findings: &[(Finding, Option<Verdict>)]| -> Vec<(Kind, Timestamp, Option<Verdict>)> {
                let told = findings.iter().filter(|(finding, _)| finding.kind != Kind::Shutdown);
                told.map(|(finding, verdict)| (finding.kind, finding.at, *verdict))
                    .collect()
            };
            let (expected, again) = (of(&findings), of(&read(&kept)));
            compared += expected.len();
            if expected != again {
                let kinds = |told: &[(Kind, Timestamp, Option<Verdict>)]| -> Vec<_> {
                    told.iter().map(|(kind, at, _)| (*kind, *at)).collect()
                };
                assert_eq!(kinds(&expected), kinds(&again), "{}", path.display());
                differing.push(fixture.name.to_owned());
            }
        }
        assert!(compared > 100, "{compared}");
        // Its verdicts rest on flows of other clients, whose packets are nobody else's business.
        assert_eq!(differing, ["kz-livejournal-2008"]);
    }

    /// All frames of a capture, as batches of so many.
    fn batches(path: &Path, len: usize) -> Vec<RecordBatch> {
        let mut source = CaptureSet::open(&[path.to_owned()]).with_batch_len(len);
        let (mut batches, mut batch) = (Vec::new(), RecordBatch::default());
        while source.supply(&mut batch).unwrap() == Supply::Records {
            batches.push(batch.clone());
        }
        batches
    }

    #[test]
    fn what_comes_from_several_sources_is_written_in_order() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gfw-rst-triple-same-seq/trace.pcap");
        let findings = read(&path);
        let mut written = [Written::default(), Written::default(), Written::default()];
        // One source; two that take turns at every frame, and are read in turn; the same with little room.
        for (index, written) in written.iter_mut().enumerate() {
            let room = if index == 2 { 20_000 } else { LONG.bytes };
            let mut evidence = Evidence::new(Patience { bytes: room, ..LONG });
            // The first finding is known from the beginning.
            evidence.convict(&findings[0].0, findings[0].1);
            for (number, all) in (0..).zip(batches(&path, if index == 0 { 1 } else { 32 })) {
                let parts: Vec<Vec<Record>> = (0..2)
                    .map(|part| all.records.iter().copied().skip(part).step_by(2).collect())
                    .collect();
                let ordered: &[usize] = if number % 3 == 0 { &[1, 0] } else { &[0, 1] };
                for part in ordered {
                    let batch = RecordBatch {
                        bytes: all.bytes.clone(),
                        records: parts[*part].clone(),
                    };
                    evidence.wait(&batch, written).unwrap();
                    let held = evidence.waiting.iter().map(|batch| size(&batch.bytes, &batch.records));
                    assert_eq!(evidence.bytes, held.sum::<usize>());
                }
            }
            evidence.finish(written).unwrap();
            assert_eq!(evidence.bytes, 0);
        }
        assert!(written[0].frames.len() > 10);
        assert!(written[0].frames.is_sorted());
        assert_eq!(written[0].frames, written[1].frames);
        assert_eq!(written[0].frames.len(), written[2].frames.len());
    }

    #[test]
    fn fragments_between_the_hosts_of_a_convicted_flow_are_written() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gfw-rst-triple-same-seq/trace.pcap");
        let (finding, verdict) = read(&path).remove(0);
        let batches = batches(&path, 1);
        let of = |number| {
            let mut all = batches.iter().filter_map(|batch| Some((batch, batch.records.first()?)));
            all.find(|(_, record)| record.number == number).unwrap()
        };
        let (batch, record) = of(finding.conversation.first_frame);
        let frame = batch.frame(record);
        assert_eq!(frame.link, LinkType::ETHERNET);
        let mut fragment = frame.bytes.to_vec();
        fragment[21] = 5;
        let mut elsewhere = fragment.clone();
        elsewhere[29] ^= 1;
        let (mut evidence, mut written) = (Evidence::new(LONG), Written::default());
        evidence.wait(batch, &mut written).unwrap();
        for (number, bytes) in (900..).zip([fragment, elsewhere]) {
            let record = Record {
                number: FrameNumber::new(0, number),
                offset: 0,
                ..*record
            };
            let batch = RecordBatch {
                bytes: bytes.into(),
                records: vec![record],
            };
            evidence.wait(&batch, &mut written).unwrap();
        }
        evidence.convict(&finding, verdict);
        evidence.finish(&mut written).unwrap();
        assert_eq!(written.frames, [record.number, FrameNumber::new(0, 900)]);
    }

    #[test]
    fn frames_of_other_flows_are_dropped_and_what_waits_is_bounded() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gfw-rst-triple-same-seq/trace.pcap");
        let (mut evidence, mut written) = (Evidence::new(LONG), Written::default());
        wait_for_all(&path, &mut evidence, &mut written);
        evidence.finish(&mut written).unwrap();
        assert!(written.frames.is_empty());
        // With little patience most has gone when the finding is told, which is counted.
        let mut hasty = Evidence::new(Patience {
            span: Duration::from_secs(3600),
            bytes: 4096,
        });
        wait_for_all(&path, &mut hasty, &mut written);
        assert!(hasty.bytes <= 4096 && hasty.waiting.len() < 3);
        for (finding, verdict) in read(&path) {
            hasty.convict(&finding, verdict);
        }
        assert!(hasty.kept().incomplete > 0);
    }
}
