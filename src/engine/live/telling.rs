//! The half of a live run that is the same however it is read: what was found is kept, judged and told.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::losses::LossLog;
use super::recent::{HORIZON, Recent};
use super::{LAG, REVIEW, SHARE, Status, Steering, TICK};
use crate::capture::source::FileNote;
use crate::engine::baselines::Baselines;
use crate::engine::worker::{Extent, Report};
use crate::finding::finding::Kind;
use crate::finding::habits::InjectorId;
use crate::finding::summary::{Coverage, Summary, Table};
use crate::finding::verdict::Verdict;
use crate::report::sink::{Reported, Sink};
use crate::time::Timestamp;

/// Tells what is found.
pub(super) struct Telling<'a> {
    sink: &'a mut dyn Sink,
    pub(super) steering: &'a mut dyn Steering,
    pub(super) baselines: &'a Baselines,
    table: Table,
    recent: Recent,
    losses: LossLog,
    files: Vec<FileNote>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// The time of the youngest frame judged.
    clock: Timestamp,
    waits: u64,
    lag: Duration,
    flows: u64,
    coverage: Coverage,
    found: BTreeMap<(Kind, Verdict), u64>,
    injectors: BTreeMap<InjectorId, u64>,
    ticked: Timestamp,
    reviewed: Timestamp,
    /// Not to judge before this moment of the machine's clock.
    rested: Timestamp,
}

/// How far reading has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'f> {
    /// What was read and lost.
    pub(super) files: &'f [FileNote],
    /// The time of the frames being read; of several readers, that of the one furthest behind.
    pub(super) oldest: Timestamp,
    /// The same of the one furthest ahead.
    pub(super) latest: Timestamp,
    /// The time of the first frame, and of the last.
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    /// How often a reader waited for a worker.
    pub(super) waits: u64,
}

impl<'a> Telling<'a> {
    pub(super) fn new(
        sink: &'a mut dyn Sink,
        steering: &'a mut dyn Steering,
        baselines: &'a Baselines,
        table: Table,
    ) -> Self {
        Self {
            sink,
            steering,
            baselines,
            table,
            recent: Recent::default(),
            losses: LossLog::default(),
            files: Vec::new(),
            first: None,
            last: None,
            clock: Timestamp::EPOCH,
            waits: 0,
            lag: Duration::ZERO,
            flows: 0,
            coverage: Coverage::default(),
            found: BTreeMap::new(),
            injectors: BTreeMap::new(),
            ticked: Timestamp::EPOCH,
            reviewed: Timestamp::EPOCH,
            rested: Timestamp::EPOCH,
        }
    }

    /// How much the workers are to be asked for at `clock`, if it is time to.
    pub(super) fn is_due(&self, clock: Timestamp) -> Option<Extent> {
        // A clock that was set back a little must not put it off.
        let apart = |before: Timestamp| clock.since(before).max(before.since(clock));
        if apart(self.ticked) < TICK {
            return None;
        }
        let review = apart(self.reviewed) >= REVIEW;
        Some(if review { Extent::Everything } else { Extent::News })
    }

    /// The clock was set back to `at`.
    pub(super) fn begin_again(&mut self, at: Timestamp) {
        (self.ticked, self.reviewed) = (at, at);
    }

    /// Takes note of how far reading has come, before what was found is entered.
    pub(super) fn stand(&mut self, standing: Standing<'_>) {
        let now = self.steering.now();
        self.lag = now.since(standing.oldest).saturating_sub(LAG);
        self.losses.note(standing.files, standing.oldest, now);
        self.files = standing.files.to_vec();
        (self.first, self.last) = (standing.first, standing.last);
        (self.clock, self.waits) = (standing.latest, standing.waits);
    }

    /// Enters what all workers together found.
    pub(super) fn enter(&mut self, mut whole: Report, extent: Extent) {
        if extent == Extent::Everything {
            self.flows = whole.held;
            self.coverage = std::mem::take(&mut whole.coverage);
            self.recent.named = std::mem::take(&mut whole.named);
        }
        self.recent.enter(whole, &self.losses, self.clock);
    }

    /// Judges what was entered at `clock`, unless that took too much of the time lately.
    pub(super) fn tick(&mut self, extent: Extent, clock: Timestamp) -> io::Result<()> {
        self.ticked = clock;
        let review = extent == Extent::Everything;
        let before = self.steering.now();
        // A clock that was set back must not put judging off for long.
        let rested = before >= self.rested || self.rested.since(before) >= REVIEW * SHARE;
        if rested && (self.recent.has_new_findings() || (review && self.recent.may_rise())) {
            self.judge()?;
            let after = self.steering.now();
            self.rested = after.plus(after.since(before) * SHARE);
        }
        Ok(())
    }

    /// Forgets what is too old to matter, and says how things stand at `clock`.
    pub(super) fn review(&mut self, clock: Timestamp) {
        self.reviewed = clock;
        self.recent.forget_old(self.clock);
        self.losses.forget(before_horizon(self.clock));
        let summary = self.summary();
        self.steering.status(&Status {
            summary: &summary,
            lag: self.lag,
            flows: self.flows,
            waits: self.waits,
        });
    }

    /// Judges what is known in the end, and tells the summary.
    pub(super) fn conclude(&mut self) -> io::Result<()> {
        self.judge()?;
        let summary = self.summary();
        self.sink.finish(&summary)
    }

    /// Judges what is known, and tells what is new.
    fn judge(&mut self) -> io::Result<()> {
        for news in self.recent.judge(self.baselines, &self.losses, self.clock) {
            if let Some(before) = news.before
                && let Some(count) = self.found.get_mut(&(news.finding.kind, before))
            {
                *count -= 1;
                if *count == 0 {
                    self.found.remove(&(news.finding.kind, before));
                }
            }
            *self.found.entry((news.finding.kind, news.verdict)).or_default() += 1;
            let id = news.finding.injector.as_ref().and_then(|injector| injector.id);
            if let (None, Some(id)) = (news.before, id) {
                *self.injectors.entry(id).or_default() += 1;
            }
            let reported = Reported {
                finding: &news.finding,
                judgement: news.judgement,
                files: &self.files,
            };
            self.steering.told(&reported);
            self.sink.finding(&reported)?;
        }
        Ok(())
    }

    /// What was looked at and found so far.
    pub(super) fn summary(&self) -> Summary {
        let mut coverage = self.coverage.clone();
        coverage.findings_dropped += self.recent.dropped();
        Summary {
            files: self.files.clone(),
            first: self.first,
            last: self.last,
            coverage,
            findings: self.found.clone(),
            injectors: self.injectors.clone(),
            withheld: self.recent.withheld(),
            table: self.table,
            interrupted: false,
        }
    }
}

/// How far back losses matter: to flows that are compared, and to the oldest flow there can be.
fn before_horizon(now: Timestamp) -> Timestamp {
    Timestamp::from_nanos(now.as_nanos().saturating_sub((HORIZON * 2).as_nanos() as u64))
}
