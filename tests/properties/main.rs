//! Properties that hold for any input, not for chosen ones: streams put together from pieces in any order, readers held
//! against other people's decoders, and captures that were taken badly.
//!
//! What is tried is the same in every run, so that a failure means a change; `PROPTEST_CASES=100000` tries more, and
//! `PROPTEST_RNG_SEED=N` others.

mod captures;
mod dns;
mod http;
mod quic;
mod tcp;
mod tls;

use proptest::test_runner::{Config, RngSeed};

/// `cases` trials, or as many as `PROPTEST_CASES` says, always the same unless `PROPTEST_RNG_SEED` says otherwise.
fn trials(cases: u32) -> Config {
    let told = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    Config {
        cases: told("PROPTEST_CASES").map_or(cases, |cases: u64| cases as u32),
        rng_seed: RngSeed::Fixed(told("PROPTEST_RNG_SEED").unwrap_or(1)),
        failure_persistence: None,
        ..Config::default()
    }
}
