//! What a count of rare events says about their probability.

use statrs::distribution::{Beta, ContinuousCDF};

/// How sure the bounds are.
const CONFIDENCE: f64 = 0.95;

/// The probability of an event seen `hits` times in `trials`, smoothed as Jeffreys has it: (k + 1/2) / (n + 1). Never 0
/// and never 1, so that its logarithm can be taken (wire-facts 6.4).
#[must_use]
pub fn estimate(hits: u64, trials: u64) -> f64 {
    (hits.min(trials) as f64 + 0.5) / (trials as f64 + 1.0)
}

/// The probability that with 95 % confidence is not exceeded, after `hits` in `trials` (Clopper and Pearson 1934,
/// one-sided). For no hits it is close to 3 / n, the rule of three.
#[must_use]
pub fn at_most(hits: u64, trials: u64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    quantile(hits + 1, trials - hits, CONFIDENCE)
}

/// The probability that with 95 % confidence is reached, after `hits` in `trials` (Clopper and Pearson 1934, one-sided).
#[must_use]
pub fn at_least(hits: u64, trials: u64) -> f64 {
    let hits = hits.min(trials);
    if hits == 0 {
        return 0.0;
    }
    quantile(hits, trials - hits + 1, 1.0 - CONFIDENCE)
}

/// The quantile of a Beta distribution with whole parameters of at least 1.
fn quantile(one: u64, two: u64, at: f64) -> f64 {
    // It can fail for parameters below zero only.
    Beta::new(one as f64, two as f64).map_or(1.0, |beta| beta.inverse_cdf(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, two: f64) -> bool {
        (one - two).abs() <= two.abs() * 0.005
    }

    #[test]
    fn no_hits_give_the_rule_of_three() {
        assert!(near(at_most(0, 1000), 0.002_991), "{}", at_most(0, 1000));
        assert!(at_least(0, 1000).abs() < f64::EPSILON);
        assert!(near(estimate(0, 999), 0.000_5));
    }

    #[test]
    fn bounds_are_those_of_the_tables() {
        // Binomial, 5 of 50: one-sided 95 % limits 0.0402 and 0.1988.
        assert!(near(at_most(5, 50), 0.1988), "{}", at_most(5, 50));
        assert!(near(at_least(5, 50), 0.0402), "{}", at_least(5, 50));
    }

    #[test]
    fn nothing_tried_says_nothing() {
        assert!(near(at_most(0, 0), 1.0));
        assert!(at_least(0, 0).abs() < f64::EPSILON);
        assert!(near(at_most(7, 7), 1.0));
    }
}
