//! Counts what is found in captures whose truth is known.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::truth::Truth;
use crate::capture::capture_set::CaptureSet;
use crate::capture::error::CaptureError;
use crate::engine::run::{Cases, Control, Settings, run};
use crate::finding::finding::Kind;
use crate::finding::summary::{Coverage, Summary};
use crate::finding::verdict::Verdict;
use crate::finding::weight::Weight;
use crate::report::sink::{Reported, Sink};

/// The lower ends of the classes of probability a reliability table has; the last class ends at 1. A verdict begins at
/// .5, .9 and .99.
pub const CLASSES: [f64; 8] = [0.0, 0.01, 0.1, 0.5, 0.7, 0.9, 0.99, 0.999];

/// How often one observation was made in innocent captures.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Cases that rest on it.
    pub cases: u64,
    /// The weight it has now.
    pub weight: Weight,
}

/// How many were right, and how many not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// What was claimed is so.
    pub right: u64,
    /// What was claimed is not so.
    pub wrong: u64,
}

impl Score {
    fn count(&mut self, right: bool) {
        *if right { &mut self.right } else { &mut self.wrong } += 1;
    }

    /// Right and wrong together.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.right + self.wrong
    }
}

/// The cases of one class of probability.
#[derive(Clone, Copy, Debug, Default)]
pub struct Class {
    /// How many were right.
    pub score: Score,
    /// The sum of the probabilities that were given.
    pub promised: f64,
}

/// All counts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Innocent captures read.
    pub innocent: u64,
    /// Captures read in which something was blocked.
    pub blocked: u64,
    /// What the innocent captures hold.
    pub coverage: Coverage,
    /// Cases opened in innocent captures, by kind.
    pub cases: BTreeMap<Kind, u64>,
    /// Observations made in innocent captures, by kind of the case and name.
    pub made: BTreeMap<(Kind, &'static str), Made>,
    /// Findings by kind and verdict, of all captures.
    pub verdicts: BTreeMap<(Kind, Verdict), Score>,
    /// Cases by class of probability, of all captures.
    pub classes: [Class; CLASSES.len()],
    /// The sum of the squared differences between the probability given and what was so.
    pub squares: f64,
    /// Findings about flows of which nobody knows the truth.
    pub unknown: u64,
}

impl Tally {
    /// Judges `capture`, of which `truth` is known, and counts.
    ///
    /// # Errors
    /// The capture cannot be read at all; nothing is counted then.
    pub fn count(&mut self, capture: &Path, truth: &Truth) -> Result<(), CaptureError> {
        let mut counting = Counting { truth, tally: self };
        let settings = Settings {
            threads: NonZeroUsize::MIN,
            cases: Cases::All,
            ..Settings::default()
        };
        let mut source = CaptureSet::open(&[PathBuf::from(capture)]);
        let outcome = run(&mut source, &settings, &mut counting, &mut Unwatched);
        if let Some(error) = outcome.unreadable.into_iter().next() {
            return Err(error);
        }
        if *truth == Truth::Innocent {
            self.innocent += 1;
            self.coverage.add(&outcome.summary.coverage);
        } else {
            self.blocked += 1;
        }
        Ok(())
    }

    /// How many chances there were in innocent captures to make an observation of `kind`: flows, or DNS questions.
    #[must_use]
    pub const fn chances(&self, kind: Kind) -> u64 {
        match kind {
            Kind::DnsInjection | Kind::DnsBlockAnswer | Kind::CaptivePortal => {
                self.coverage.dns_answered + self.coverage.dns_unanswered
            }
            Kind::QuicDrop => self.coverage.udp_flows,
            Kind::IcmpProhibited => self.coverage.tcp_flows + self.coverage.udp_flows,
            Kind::RstInjection
            | Kind::BlockPage
            | Kind::PayloadInjection
            | Kind::SilentDrop
            | Kind::FinInjection
            | Kind::SynAckInjection
            | Kind::TlsAlertInjection
            | Kind::TlsInterception
            | Kind::IpBlackhole
            | Kind::ResidualBlock
            | Kind::Throttling
            | Kind::VolumeFreeze
            | Kind::Shutdown => self.coverage.tcp_flows,
        }
    }

    /// The mean squared difference between the probability given and what was so (Brier 1950): 0 is best, 0.25 is a
    /// coin's. None before anything was counted.
    #[must_use]
    pub fn brier(&self) -> Option<f64> {
        let all: u64 = self.classes.iter().map(|class| class.score.all()).sum();
        (all > 0).then(|| self.squares / all as f64)
    }
}

struct Counting<'a> {
    truth: &'a Truth,
    tally: &'a mut Tally,
}

impl Sink for Counting<'_> {
    fn finding(&mut self, reported: &Reported<'_>) -> io::Result<()> {
        let Self { truth, tally } = self;
        let kind = reported.finding.kind;
        if **truth == Truth::Innocent {
            *tally.cases.entry(kind).or_default() += 1;
            let mut told = Vec::new();
            for evidence in &reported.finding.evidence {
                let key = evidence.observation.key();
                if told.contains(&key) {
                    continue;
                }
                told.push(key);
                let weight = evidence.observation.weight();
                tally.made.entry((kind, key)).or_insert(Made { cases: 0, weight }).cases += 1;
            }
        }
        let Some(right) = truth.of(reported.finding) else {
            tally.unknown += u64::from(reported.judgement.verdict.is_some());
            return Ok(());
        };
        let probability = reported.judgement.probability();
        let class = CLASSES.iter().rposition(|least| probability >= *least).unwrap_or(0);
        tally.classes[class].score.count(right);
        tally.classes[class].promised += probability;
        tally.squares += (probability - f64::from(u8::from(right))).powi(2);
        if let Some(verdict) = reported.judgement.verdict {
            tally.verdicts.entry((kind, verdict)).or_default().count(right);
        }
        Ok(())
    }

    fn finish(&mut self, _: &Summary) -> io::Result<()> {
        Ok(())
    }
}

/// Nobody looks on, and nobody stops the run.
struct Unwatched;

impl Control for Unwatched {
    fn progress(&mut self, _: crate::capture::source::Progress, _: u64) {}

    fn stop(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn counted(truth: &Truth) -> Tally {
        let mut tally = Tally::default();
        let finding = sample::reset();
        let judgement = finding.judgement();
        let reported = Reported {
            finding: &finding,
            judgement,
            files: &[],
        };
        Counting {
            truth,
            tally: &mut tally,
        }
        .finding(&reported)
        .unwrap();
        tally
    }

    #[test]
    fn an_accusation_of_the_innocent_counts_its_evidence_and_as_wrong() {
        let tally = counted(&Truth::Innocent);
        let finding = sample::reset();
        assert_eq!(tally.cases[&finding.kind], 1);
        let keys: Vec<_> = tally.made.keys().map(|(_, key)| *key).collect();
        assert!(keys.contains(&finding.evidence[0].observation.key()));
        let verdict = finding.verdict().unwrap();
        assert_eq!(tally.verdicts[&(finding.kind, verdict)], Score { right: 0, wrong: 1 });
        assert!(tally.brier().unwrap() > 0.9);
    }

    #[test]
    fn a_right_finding_is_no_evidence_about_innocence() {
        let kind = sample::reset().kind;
        let tally = counted(&Truth::Kinds([kind.key().to_owned()].into()));
        assert!(tally.cases.is_empty() && tally.made.is_empty());
        let likely = CLASSES.iter().position(|least| *least >= 0.9).unwrap();
        let right: u64 = tally.classes[likely..].iter().map(|class| class.score.right).sum();
        assert_eq!((right, tally.brier().unwrap() < 0.01), (1, true), "{tally:?}");
    }

    #[test]
    fn what_nobody_labelled_counts_neither_way() {
        let tally = counted(&Truth::Flows(Vec::new()));
        assert_eq!((tally.unknown, tally.brier()), (1, None));
    }
}
