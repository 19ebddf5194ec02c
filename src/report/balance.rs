//! A finding's evidence as it is printed: for and against, heaviest first, and what of it counted.

use crate::finding::evidence::Evidence;
use crate::finding::finding::Finding;

/// One observation on the scales.
#[derive(Clone, Copy, Debug)]
pub struct Weighed<'a> {
    /// The observation.
    pub evidence: &'a Evidence,
    /// Whether it is in the sum. It is not when a heavier one of its group is: the two are not independent.
    pub counts: bool,
}

/// A finding's evidence, for and against.
#[derive(Clone, Debug)]
pub struct Balance<'a> {
    /// What speaks for interference, heaviest first.
    pub supporting: Vec<Weighed<'a>>,
    /// What speaks against, heaviest first.
    pub opposing: Vec<Weighed<'a>>,
}

impl<'a> Balance<'a> {
    /// Puts the evidence of `finding` on the scales.
    #[must_use]
    pub fn of(finding: &'a Finding) -> Self {
        let (supporting, opposing) = finding.evidence.iter().partition(|item| item.llr() >= 0.0);
        Self {
            supporting: side(supporting),
            opposing: side(opposing),
        }
    }
}

fn side(mut items: Vec<&Evidence>) -> Vec<Weighed<'_>> {
    items.sort_by(|a, b| b.llr().abs().total_cmp(&a.llr().abs()));
    let mut seen = Vec::new();
    let weigh = |evidence: &'_ Evidence| {
        let counts = !seen.contains(&evidence.group());
        seen.push(evidence.group());
        counts
    };
    let counts: Vec<_> = items.iter().copied().map(weigh).collect();
    items
        .into_iter()
        .zip(counts)
        .map(|(evidence, counts)| Weighed { evidence, counts })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_counts_adds_up_to_the_judgement() {
        for finding in [sample::reset(), sample::dns(), sample::page()] {
            let balance = Balance::of(&finding);
            let both = balance.supporting.iter().chain(&balance.opposing);
            let sum: f64 = both.filter(|item| item.counts).map(|item| item.evidence.llr()).sum();
            assert!((finding.prior.log_odds() + sum - finding.judgement().log_odds).abs() < 1e-9);
        }
    }

    #[test]
    fn the_heaviest_comes_first_and_alone_counts_in_its_group() {
        let finding = sample::reset();
        let balance = Balance::of(&finding);
        let rows: Vec<_> = balance
            .supporting
            .iter()
            .map(|item| (item.evidence.observation.key(), item.counts))
            .collect();
        assert_eq!(
            rows,
            [
                ("data_after_reset", true),
                ("reset_right_after_trigger", true),
                ("dont_fragment_differs", true),
                ("reset_ttl_differs", false)
            ]
        );
        assert_eq!(balance.opposing.len(), 1);
    }
}
