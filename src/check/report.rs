//! How checked cases are told: to a person, or to what runs the check. One file a format; each takes what was checked
//! and gives text. Names and values may come from the wire: each format escapes what it could mistake for its own.

pub mod github;
pub mod junit;
pub mod sarif;
pub mod tap;
pub mod text;

use std::path::Path;
use std::time::Duration;

/// A file in a report, with `/` between the parts.
fn shown(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path);
    crate::report::escape::escaped_path(path)
}

/// A span in seconds, as reports want it.
fn seconds(span: Duration) -> String {
    format!("{:.3}", span.as_secs_f64())
}

#[cfg(test)]
pub(crate) mod sample {
    //! One case of every outcome.

    use super::*;
    use crate::check::outcome::{Checked, Failure, Outcome, Rule, Trouble};

    pub(crate) fn checked() -> Vec<Checked> {
        let one = |name: &str, outcome| Checked {
            name: name.to_owned(),
            outcome,
            took: Duration::from_micros(12_345),
        };
        vec![
            one("fixtures/a", Outcome::Passed { findings: 2 }),
            one("fixtures/b", Outcome::Accepted { findings: 1 }),
            one(
                "fixtures/c # 1",
                Outcome::Failed(vec![Failure {
                    rule: Rule::NotFound,
                    file: "fixtures/c # 1/case.toml".into(),
                    line: 7,
                    expected: "at least one rst_injection, <blocked.example>".to_owned(),
                    found: "none & \u{1b}[2Jnothing\n::error::x, 100%".to_owned(),
                    evidence: vec!["nearest: frame 3 \"x\"".to_owned(), "]]> for +1.1".to_owned()],
                }]),
            ),
            one(
                "fixtures/d",
                Outcome::Unreadable(Trouble {
                    file: "fixtures/d/case.toml".into(),
                    line: 2,
                    why: "unknown field `kid`; did you mean `kind`?".to_owned(),
                }),
            ),
        ]
    }
}
