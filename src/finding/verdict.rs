//! From evidence to a verdict: naive Bayes between groups, the heaviest within a group (wire-facts 6.4).

use std::fmt;

use super::evidence::Evidence;
use super::weight::Group;

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Posterior of .50 or more.
    Possible,
    /// Posterior of .90 or more.
    Likely,
    /// Posterior of .99 or more, with at least one observation that convicts by itself: a contradiction no honest
    /// endpoint can produce, or an exact fingerprint.
    Confirmed,
}

impl Verdict {
    /// The verdict's name in records.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Confirmed => "confirmed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// What is believed before any evidence is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Prior {
    /// A flow that ended abnormally early, or a question that was answered twice: 1 % (-4.6 nats). Of the 20-25 % of
    /// connections that end so, only a minority is interference (Cloudflare 2024, wire-facts 1.1 and 6.4).
    Abnormal,
    /// Nothing unusual but the evidence itself: .1 % (-7 nats).
    Ordinary,
}

impl Prior {
    /// The prior log-odds in nats.
    #[must_use]
    pub const fn log_odds(self) -> f64 {
        match self {
            Self::Abnormal => -4.6,
            Self::Ordinary => -7.0,
        }
    }
}

/// What a body of evidence amounts to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Log-odds of interference after all evidence, in nats.
    pub log_odds: f64,
    /// The verdict, if the posterior reaches one half.
    pub verdict: Option<Verdict>,
}

impl Judgement {
    /// The posterior probability, 0 to 1.
    #[must_use]
    pub fn probability(self) -> f64 {
        1.0 / (1.0 + (-self.log_odds).exp())
    }
}

/// ln(.99/.01), ln(.90/.10) and ln(.50/.50).
const CONFIRMED: f64 = 4.595;
const LIKELY: f64 = 2.197;
const POSSIBLE: f64 = 0.0;

/// Weighs `evidence` against `prior`: in each group the heaviest for and the heaviest against, capped, count.
#[must_use]
pub fn judge(prior: Prior, evidence: &[Evidence]) -> Judgement {
    let mut log_odds = prior.log_odds();
    for group in Group::ALL {
        let weights = || evidence.iter().filter(|item| item.group() == group).map(Evidence::llr);
        log_odds += weights().fold(0.0, f64::max).min(group.cap());
        log_odds += weights().fold(0.0, f64::min).max(-group.cap());
    }
    let verdict = if log_odds >= CONFIRMED && evidence.iter().any(Evidence::convicts) {
        Some(Verdict::Confirmed)
    } else if log_odds >= LIKELY {
        Some(Verdict::Likely)
    } else if log_odds >= POSSIBLE {
        Some(Verdict::Possible)
    } else {
        None
    };
    Judgement { log_odds, verdict }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::finding::evidence::{FrameList, Observation};

    fn with(observations: &[Observation]) -> Judgement {
        let evidence: Vec<_> = observations
            .iter()
            .map(|observation| Evidence::new(*observation, FrameList::new()))
            .collect();
        judge(Prior::Abnormal, &evidence)
    }

    #[test]
    fn a_ttl_change_on_a_reset_alone_never_convicts() {
        assert_eq!(
            with(&[Observation::ResetTtlDiffers { reset: 60, usual: 47 }]).verdict,
            None
        );
    }

    #[test]
    fn only_the_heaviest_of_a_group_counts() {
        let data = Observation::DataAfterReset {
            after: Duration::from_millis(3),
        };
        let once = with(&[data]);
        let twice = with(&[data, data, Observation::ResetBelowData { by: 3 }]);
        assert!((once.log_odds - twice.log_odds).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_confirmed_without_an_observation_that_convicts() {
        let early = Observation::ResetRightAfterTrigger {
            after: Duration::ZERO,
            round_trip: Duration::ZERO,
        };
        let copied = Observation::IpIdCopiedFromTrigger { ip_id: 7, offset: 0 };
        let convincing = with(&[early, copied, Observation::SilentAfterReset]);
        assert!(convincing.log_odds < CONFIRMED || convincing.verdict == Some(Verdict::Likely));
        let contradiction = Observation::DataAfterReset {
            after: Duration::from_millis(3),
        };
        assert_eq!(with(&[early, copied, contradiction]).verdict, Some(Verdict::Confirmed));
    }
}
