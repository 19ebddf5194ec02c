//! TAP, version 14 (<https://testanything.org/tap-version-14-specification.html>): what many test harnesses read.

use std::fmt::Write as _;

use super::{seconds, shown};
use crate::check::outcome::{Checked, Outcome};
use crate::report::escape::quoted;

/// What comes before the cases.
#[must_use]
pub fn head(cases: usize) -> String {
    format!("TAP version 14\n1..{cases}\n")
}

/// The `number`th case, from 1.
#[must_use]
pub fn case(number: usize, checked: &Checked) -> String {
    let ok = match checked.outcome {
        Outcome::Passed { .. } | Outcome::Accepted { .. } => "ok",
        Outcome::Failed(_) | Outcome::Unreadable(_) => "not ok",
    };
    // A # would begin a directive.
    let name = checked.name.replace('\\', "\\\\").replace('#', "\\#");
    let mut text = format!("{ok} {number} - {name}\n  ---\n  seconds: {}\n", seconds(checked.took));
    // Writing to a string cannot fail.
    let mut said = |rule: &str, at: String, expected: Option<&str>, found: &str, evidence: &[String]| {
        let _ = writeln!(text, "    - rule: {rule}\n      at: {}", quoted(&at));
        if let Some(expected) = expected {
            let _ = writeln!(text, "      expected: {}", quoted(expected));
        }
        let _ = writeln!(text, "      found: {}", quoted(found));
        for (index, line) in evidence.iter().enumerate() {
            let key = if index == 0 { "      evidence:\n" } else { "" };
            let _ = writeln!(text, "{key}        - {}", quoted(line));
        }
    };
    match &checked.outcome {
        Outcome::Passed { .. } | Outcome::Accepted { .. } => {}
        Outcome::Failed(failures) => {
            for failure in failures {
                let at = format!("{}:{}", shown(&failure.file), failure.line);
                said(
                    failure.rule.key(),
                    at,
                    Some(&failure.expected),
                    &failure.found,
                    &failure.evidence,
                );
            }
        }
        Outcome::Unreadable(trouble) => {
            let at = format!("{}:{}", shown(&trouble.file), trouble.line);
            said("unreadable", at, None, &trouble.why, &[]);
        }
    }
    if let Some(at) = text.find("    - rule: ") {
        text.insert_str(at, "  failures:\n");
    }
    text.push_str("  ...\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::sample;

    #[test]
    fn the_plan_comes_first_and_every_case_has_its_number() {
        assert_eq!(head(4), "TAP version 14\n1..4\n");
        let cases: Vec<String> = (1..)
            .zip(sample::checked())
            .map(|(number, one)| case(number, &one))
            .collect();
        assert_eq!(cases[0], "ok 1 - fixtures/a\n  ---\n  seconds: 0.012\n  ...\n");
        assert!(cases[1].starts_with("ok 2 - fixtures/b\n"));
        assert!(
            cases[2].starts_with("not ok 3 - fixtures/c \\# 1\n  ---\n"),
            "{}",
            cases[2]
        );
        assert!(cases[3].starts_with("not ok 4 - fixtures/d\n"));
    }

    #[test]
    fn a_string_shows_no_terminal_what_it_would_obey() {
        assert_eq!(
            quoted("\u{1b}\u{9b}\u{202e}\\u{e}"),
            r#""\u001b\U0000009B\U0000202E\\u{e}""#
        );
    }

    #[test]
    fn a_failure_is_told_in_yaml_that_nothing_breaks_out_of() {
        let told = case(3, &sample::checked()[2]);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(
            lines[3..],
            [
                "  failures:",
                "    - rule: not-found",
                "      at: \"fixtures/c # 1/case.toml:7\"",
                "      expected: \"at least one rst_injection, <blocked.example>\"",
                "      found: \"none & \\u001b[2Jnothing\\n::error::x, 100%\"",
                "      evidence:",
                "        - \"nearest: frame 3 \\\"x\\\"\"",
                "        - \"]]> for +1.1\"",
                "  ...",
            ]
        );
    }
}
