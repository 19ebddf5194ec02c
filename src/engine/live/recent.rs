//! What a live run found lately, and what of it has been told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::losses::{Hit, LossLog};
use crate::engine::baselines::Baselines;
use crate::engine::ledger::Ledger;
use crate::engine::trace::FlowTrace;
use crate::engine::worker::Report;
use crate::finding::finding::{Finding, Kind, Party};
use crate::finding::tls_shown::TlsShown;
use crate::finding::verdict::{Judgement, Verdict};
use crate::packet::frame::FrameNumber;
use crate::time::Timestamp;

/// How far back flows are compared: twice what the slowest comparison (a shutdown's onset) looks at.
pub const HORIZON: Duration = Duration::from_secs(1800);

/// The most findings, flows and TLS handshakes compared; the oldest make room. A judgement takes some milliseconds
/// with all of them.
const MOST_FINDINGS: usize = 1024;
const MOST_TRACES: usize = 16_384;
const MOST_SHOWN: usize = 4096;

/// The most findings of which it is remembered that they were told.
const MOST_TOLD: usize = 1 << 16;

/// The longest that is waited for packets before their absence means something (a handshake that is not answered).
const SILENCE: Duration = Duration::from_secs(75);

/// Tells one finding from another, also after more has become known of it.
type Identity = (Kind, FrameNumber, Option<Party>, FrameNumber);

/// A finding that is to be told.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) finding: Finding,
    pub(super) judgement: Judgement,
    pub(super) verdict: Verdict,
    /// The verdict it was told with before.
    pub(super) before: Option<Verdict>,
}

/// What was found lately.
#[derive(Debug, Default)]
pub(super) struct Recent {
    findings: VecDeque<Finding>,
    traces: VecDeque<FlowTrace>,
    shown: VecDeque<TlsShown>,
    /// The addresses that names were answered with.
    pub(super) named: BTreeSet<IpAddr>,
    told: BTreeMap<Identity, (Verdict, Timestamp)>,
    /// In the order they were first told.
    order: VecDeque<Identity>,
    /// Findings that came since the last judgement.
    new_findings: usize,
    /// Whether flows were concluded since the last judgement.
    new_flows: bool,
    dropped: u64,
    /// Findings not told because what they rest on may have been lost by the capture.
    withheld: BTreeSet<Identity>,
    forgotten_withheld: u64,
}

impl Recent {
    /// Enters what the workers found by `now`, with what was lost meanwhile.
    pub(super) fn enter(&mut self, mut report: Report, losses: &LossLog, now: Timestamp) {
        for finding in &mut report.findings {
            losses.caution(finding, now);
        }
        self.new_flows |= !report.traces.is_empty() || !report.shown.is_empty();
        self.new_findings += report.findings.len();
        self.findings.extend(report.findings);
        self.traces.extend(report.traces);
        self.shown.extend(report.shown);
        let surplus = self.findings.len().saturating_sub(MOST_FINDINGS);
        // Findings that were never judged are lost if they are too many at once.
        let unjudged = self.new_findings.saturating_sub(MOST_FINDINGS);
        self.dropped += unjudged as u64;
        self.new_findings -= unjudged;
        self.findings.drain(..surplus);
        let surplus = self.traces.len().saturating_sub(MOST_TRACES);
        self.traces.drain(..surplus);
        let surplus = self.shown.len().saturating_sub(MOST_SHOWN);
        self.shown.drain(..surplus);
    }

    /// Findings that were lost before they could be judged.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Findings that are not told because what they rest on may have been lost by the capture.
    pub(super) fn withheld(&self) -> u64 {
        self.forgotten_withheld + self.withheld.len() as u64
    }

    /// Whether something was found since the last judgement.
    pub(super) const fn has_new_findings(&self) -> bool {
        self.new_findings > 0
    }

    /// Whether flows that ended since the last judgement may change it: they may lift a finding, and silences together
    /// may be one.
    pub(super) fn may_rise(&self) -> bool {
        self.new_flows && !self.findings.is_empty()
    }

    /// Forgets what lies further back than [`HORIZON`].
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        self.findings.retain(|finding| now.since(finding.at) <= HORIZON);
        self.traces.retain(|trace| now.since(trace.ended) <= HORIZON);
        while let Some(oldest) = self.order.front().copied() {
            let old = self
                .told
                .get(&oldest)
                .is_none_or(|(_, at)| now.since(*at) > HORIZON * 2);
            if !old && self.order.len() <= MOST_TOLD {
                break;
            }
            self.order.pop_front();
            self.told.remove(&oldest);
        }
        if self.withheld.len() > MOST_TOLD {
            self.forgotten_withheld += self.withheld.len() as u64;
            self.withheld.clear();
        }
    }

    /// Judges everything anew, and gives what was not told before, or with a lower verdict, in capture order. What rests on
    /// packets that did not come is kept back where the capture lost too many itself.
    pub(super) fn judge(&mut self, baselines: &Baselines, losses: &LossLog, now: Timestamp) -> Vec<News> {
        (self.new_findings, self.new_flows) = (0, false);
        let mut ledger = Ledger::default();
        ledger.enter(Report {
            findings: self.findings.iter().cloned().collect(),
            traces: self.traces.iter().copied().collect(),
            shown: self.shown.iter().cloned().collect(),
            named: self.named.clone(),
            ..Report::default()
        });
        let (judged, _) = ledger.close(baselines);
        let mut news = Vec::new();
        for (mut finding, mut judgement) in judged {
            if judgement.verdict.is_none() {
                continue;
            }
            let identity = identity(&finding);
            if finding.kind.rests_on_absence() {
                // Some are only made from what several flows came to, and have not been cautioned yet.
                let silent_until = now.min(finding.at.plus(SILENCE));
                losses.caution(&mut finding, silent_until);
                judgement = finding.judgement();
                if losses.hit(finding.conversation.started, silent_until) == Hit::Struck {
                    if !self.told.contains_key(&identity) {
                        self.withheld.insert(identity);
                    }
                    continue;
                }
            }
            let Some(verdict) = judgement.verdict else { continue };
            let before = self.told.get(&identity).map(|(verdict, _)| *verdict);
            if before.is_some_and(|before| before >= verdict) {
                continue;
            }
            if before.is_none() {
                self.order.push_back(identity);
            }
            self.told.insert(identity, (verdict, now));
            news.push(News {
                finding,
                judgement,
                verdict,
                before,
            });
        }
        news
    }
}

fn identity(finding: &Finding) -> Identity {
    match finding.kind {
        // Which flow names it changes as more become silent.
        Kind::Shutdown => (finding.kind, FrameNumber::default(), None, FrameNumber::default()),
        _ => (
            finding.kind,
            finding.conversation.first_frame,
            finding.claimed_sender,
            finding.decided_by,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::source::{FileNote, Losses};
    use crate::report::sample;

    fn found(findings: Vec<Finding>) -> Report {
        Report {
            findings,
            ..Report::default()
        }
    }

    #[test]
    fn a_finding_is_told_once_and_again_only_if_its_verdict_rises() {
        let baselines = Baselines::default();
        let (mut recent, losses) = (Recent::default(), LossLog::default());
        let sure = sample::reset();
        let mut unsure = sure.clone();
        unsure
            .evidence
            .retain(|item| item.observation.key() != "data_after_reset");
        recent.enter(found(vec![unsure]), &losses, sample::AT);
        let first = recent.judge(&baselines, &losses, sample::AT);
        assert_eq!((first.len(), first[0].before), (1, None));
        assert!(recent.judge(&baselines, &losses, sample::AT).is_empty());
        recent.enter(found(vec![sure]), &losses, sample::AT);
        let risen = recent.judge(&baselines, &losses, sample::AT);
        assert_eq!((risen.len(), risen[0].before), (1, Some(first[0].verdict)));
        assert!(risen[0].verdict > first[0].verdict);
        assert!(recent.judge(&baselines, &losses, sample::AT).is_empty());
    }

    #[test]
    fn what_rests_on_absence_is_kept_back_where_frames_were_lost() {
        let file = |frames, kernel| {
            [FileNote {
                frames,
                lost: Losses { kernel, interface: 0 },
                ..FileNote::default()
            }]
        };
        let later = sample::AT.plus(Duration::from_secs(1));
        for (lost, told) in [(0, 2), (1, 2), (50, 1)] {
            let (mut recent, mut losses) = (Recent::default(), LossLog::default());
            losses.note(&file(0, 0), sample::AT, sample::AT);
            losses.note(&file(10_000, lost), later, later);
            let mut forged = sample::reset();
            forged.evidence.retain(|item| item.observation.key() != "capture_loss");
            let mut silence = forged.clone();
            silence.kind = Kind::VolumeFreeze;
            recent.enter(found(vec![forged, silence]), &losses, later);
            let news = recent.judge(&Baselines::default(), &losses, later);
            assert_eq!((news.len(), recent.withheld()), (told, 2 - told as u64), "{lost}");
            let cautioned = |news: &News| {
                let mut observations = news.finding.evidence.iter().map(|item| item.observation.key());
                observations.any(|key| key == "capture_loss")
            };
            assert!(news.iter().all(|news| cautioned(news) == (lost > 0)), "{lost}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_age() {
        let (mut recent, losses) = (Recent::default(), LossLog::default());
        recent.enter(found(vec![sample::reset(); MOST_FINDINGS + 3]), &losses, sample::AT);
        assert_eq!((recent.findings.len(), recent.dropped()), (MOST_FINDINGS, 3));
        recent.judge(&Baselines::default(), &losses, sample::AT);
        recent.enter(found(vec![sample::reset()]), &losses, sample::AT);
        assert_eq!((recent.findings.len(), recent.dropped()), (MOST_FINDINGS, 3));
        recent.forget_old(sample::AT.plus(HORIZON * 3));
        assert!(recent.findings.is_empty() && recent.told.is_empty() && recent.order.is_empty());
    }
}
