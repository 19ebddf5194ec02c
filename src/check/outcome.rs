//! How a case ended.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What kind of expectation was not met. `key` is the name in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Something that must be found was not, or not often enough.
    NotFound,
    /// Something was found more often than it may.
    TooMany,
    /// Something was found that nothing asks for.
    NotExpected,
    /// The EVE lines are not those expected.
    Differs,
    /// A value in the closing record is another.
    Stats,
    /// The capture breaks off.
    Damaged,
    /// Nothing in the capture could be judged, so that finding nothing says nothing.
    NothingInspected,
    /// Reading the capture crashed.
    Crashed,
    /// The case cannot be used: its manifest, its capture or its expectation cannot be read.
    Unreadable,
}

impl Rule {
    /// All of them, in the order they are listed.
    pub const ALL: [Self; 9] = [
        Self::NotFound,
        Self::TooMany,
        Self::NotExpected,
        Self::Differs,
        Self::Stats,
        Self::Damaged,
        Self::NothingInspected,
        Self::Crashed,
        Self::Unreadable,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::TooMany => "too-many",
            Self::NotExpected => "not-expected",
            Self::Differs => "differs",
            Self::Stats => "stats",
            Self::Damaged => "damaged",
            Self::NothingInspected => "nothing-inspected",
            Self::Crashed => "crashed",
            Self::Unreadable => "unreadable",
        }
    }

    /// What it means, in a sentence.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::NotFound => "Something that must be found in the capture is not found, or not often enough.",
            Self::TooMany => "Something is found in the capture more often than it may be.",
            Self::NotExpected => "Something is found in the capture that no expectation asks for.",
            Self::Differs => "What is found in the capture differs from the expected EVE lines.",
            Self::Stats => "A value in the closing record is not the expected one.",
            Self::Damaged => "The capture is damaged or cut off.",
            Self::NothingInspected => "Nothing in the capture could be judged: finding nothing there says nothing.",
            Self::Crashed => "Reading the capture crashed.",
            Self::Unreadable => "The case, its capture or its expectation cannot be read.",
        }
    }
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of expectation.
    pub rule: Rule,
    /// The file that says it.
    pub file: PathBuf,
    /// The line there, from 1.
    pub line: usize,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// What is behind what was found, or why it does not fit; a line each.
    pub evidence: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}; found {}", self.expected, self.found)
    }
}

/// Why a case could not be examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The file that cannot be used.
    pub file: PathBuf,
    /// The line there, from 1.
    pub line: usize,
    /// What is wrong, and what to do about it.
    pub why: String,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything as expected.
    Passed {
        /// Findings in its capture.
        findings: usize,
    },
    /// What was found was taken as the new expectation.
    Accepted {
        /// Findings in its capture.
        findings: usize,
    },
    /// Some expectation was not met; never empty.
    Failed(Vec<Failure>),
    /// It could not be examined.
    Unreadable(Trouble),
}

/// A case that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The case's name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Everything as expected.
    pub passed: usize,
    /// Taken as the new expectation.
    pub accepted: usize,
    /// Not as expected.
    pub failed: usize,
    /// Not examined.
    pub unreadable: usize,
}

impl Tally {
    /// Of these.
    #[must_use]
    pub fn of(checked: &[Checked]) -> Self {
        let mut tally = Self::default();
        for one in checked {
            match one.outcome {
                Outcome::Passed { .. } => tally.passed += 1,
                Outcome::Accepted { .. } => tally.accepted += 1,
                Outcome::Failed(_) => tally.failed += 1,
                Outcome::Unreadable(_) => tally.unreadable += 1,
            }
        }
        tally
    }

    /// All of them.
    #[must_use]
    pub const fn all(self) -> usize {
        self.passed + self.accepted + self.failed + self.unreadable
    }
}
