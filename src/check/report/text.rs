//! For a person: a line a case, below a failed one what was expected and what was found, and a summary.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::shown;
use crate::check::outcome::{Checked, Failure, Outcome, Tally};
use crate::report::escape::escaped;
use crate::report::figures::{counted, span};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();

/// Failures of a case that are told; how many more there are is told too.
const FAILURES: usize = 12;
/// Cases named as the slowest.
const SLOWEST: usize = 3;

/// A case, with its failures; `width` is that of the longest name.
#[must_use]
pub fn case(checked: &Checked, width: usize) -> String {
    let (style, word) = match &checked.outcome {
        Outcome::Passed { .. } => (GOOD, "ok"),
        Outcome::Accepted { .. } => (NOTE, "accepted"),
        Outcome::Failed(_) => (BAD, "FAILED"),
        Outcome::Unreadable(_) => (BAD, "UNREAD"),
    };
    let mut text = String::new();
    let rest = match &checked.outcome {
        Outcome::Passed { findings } | Outcome::Accepted { findings } => counted(*findings as u64, "finding"),
        Outcome::Failed(failures) => counted(failures.len() as u64, "failure"),
        Outcome::Unreadable(_) => String::new(),
    };
    let took = span(checked.took);
    let line = format!(
        "{style}{word:8}{style:#} {:width$}  {FAINT}{took:>8}  {rest}",
        checked.name
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}{FAINT:#}", line.trim_end());
    match &checked.outcome {
        Outcome::Passed { .. } | Outcome::Accepted { .. } => {}
        Outcome::Failed(failures) => {
            failures
                .iter()
                .take(FAILURES)
                .for_each(|failure| told(failure, &mut text));
            if failures.len() > FAILURES {
                let _ = writeln!(text, "\n  and {} more", failures.len() - FAILURES);
            }
            text.push('\n');
        }
        Outcome::Unreadable(trouble) => {
            let _ = writeln!(
                text,
                "\n  {}:{}\n    {}\n",
                shown(&trouble.file),
                trouble.line,
                escaped(&trouble.why)
            );
        }
    }
    text
}

fn told(failure: &Failure, text: &mut String) {
    let _ = writeln!(text, "\n  {}:{}", shown(&failure.file), failure.line);
    let _ = writeln!(text, "    {GOOD}- expected  {}{GOOD:#}", escaped(&failure.expected));
    let _ = writeln!(text, "    {BAD}+ found     {}{BAD:#}", escaped(&failure.found));
    for line in &failure.evidence {
        let _ = writeln!(text, "                {FAINT}{}{FAINT:#}", escaped(line));
    }
}

/// How all of them ended, which were slow, and which captures no case speaks of. `took` is the whole run.
#[must_use]
pub fn summary(checked: &[Checked], unguarded: &[PathBuf], took: Duration) -> String {
    let tally = Tally::of(checked);
    let mut text = format!("{}: {} passed", counted(tally.all() as u64, "case"), tally.passed);
    for (count, word, style) in [
        (tally.accepted, "accepted", NOTE),
        (tally.failed, "failed", BAD),
        (tally.unreadable, "unreadable", BAD),
    ] {
        if count > 0 {
            let _ = write!(text, ", {style}{count} {word}{style:#}");
        }
    }
    let _ = write!(text, ", in {}", span(took));
    let mut slowest: Vec<&Checked> = checked.iter().collect();
    slowest.sort_by(|one, other| other.took.cmp(&one.took).then_with(|| one.name.cmp(&other.name)));
    if checked.len() > SLOWEST {
        let named = slowest.iter().take(SLOWEST);
        let named: Vec<String> = named.map(|one| format!("{} {}", one.name, span(one.took))).collect();
        let _ = write!(text, " {FAINT}(slowest: {}){FAINT:#}", named.join(", "));
    }
    text.push('\n');
    if let Some(first) = unguarded.first() {
        let _ = writeln!(
            text,
            "{NOTE}{} in no case{NOTE:#}, such as {} (blockscope check --new drafts one)",
            counted(unguarded.len() as u64, "capture"),
            shown(first),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::sample;

    #[test]
    fn a_failure_says_where_what_and_why_and_gives_no_orders() {
        let told: String = sample::checked().iter().map(|one| case(one, 14)).collect();
        let plain = anstream::adapter::strip_str(&told).to_string();
        for part in [
            "ok       fixtures/a",
            "2 findings",
            "accepted fixtures/b",
            "FAILED   fixtures/c # 1",
            "\n  fixtures/c # 1/case.toml:7\n    - expected  at least one rst_injection, <blocked.example>\n",
            "    + found     none & \\u{1b}[2Jnothing\\u{a}\\u{3a}:error::x, 100%\n",
            "                nearest: frame 3 \"x\"\n",
            "UNREAD   fixtures/d",
            "\n  fixtures/d/case.toml:2\n    unknown field `kid`; did you mean `kind`?\n",
        ] {
            assert!(plain.contains(part), "{part:?} in {plain}");
        }
    }

    #[test]
    fn the_summary_counts_every_outcome_and_names_what_is_unguarded() {
        let text = summary(&sample::checked(), &["x/y.pcap".into()], Duration::from_millis(50));
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(
            plain.starts_with("4 cases: 1 passed, 1 accepted, 1 failed, 1 unreadable, in "),
            "{plain}"
        );
        assert!(plain.contains("slowest: fixtures/a "), "{plain}");
        assert!(plain.contains("1 capture in no case, such as x/y.pcap"), "{plain}");
    }
}
