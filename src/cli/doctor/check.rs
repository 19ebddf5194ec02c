//! One thing that was looked at, and what to do about it.

use serde::Serialize;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Good,
    /// It may matter, and may well be meant.
    Notice,
    /// Findings will be missed, or be wrong.
    Problem,
    /// It could not be found out.
    Unknown,
}

impl State {
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Notice => "notice",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

/// What was looked at, how it stands, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at: `permission`, `interface`, `offloads`, `packets`, `drops`, `duplicates`, `directions`,
    /// `merged`, `clock` or `bypass_tools`.
    pub(super) what: &'static str,
    /// How it stands.
    pub(super) state: State,
    /// How it stands, in words.
    pub(super) says: String,
    /// What to do; nothing where there is nothing to be done.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

impl Check {
    pub(super) fn good(what: &'static str, says: impl Into<String>) -> Self {
        Self {
            what,
            state: State::Good,
            says: says.into(),
            advice: None,
        }
    }

    pub(super) fn bad(what: &'static str, state: State, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            what,
            state,
            says: says.into(),
            advice: Some(advice.into()),
        }
    }

    pub(super) fn unknown(what: &'static str, says: impl Into<String>) -> Self {
        Self {
            what,
            state: State::Unknown,
            says: says.into(),
            advice: None,
        }
    }
}
