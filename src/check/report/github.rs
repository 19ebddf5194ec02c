//! Workflow commands of GitHub Actions: an annotation beside the line of the expectation that was not met
//! (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).

use super::shown;
use crate::check::outcome::{Checked, Outcome};

/// Annotations of a case; none if it passed.
#[must_use]
pub fn case(checked: &Checked) -> String {
    let line = |file: &std::path::Path, line: usize, message: &str| {
        let (file, title) = (
            property(&shown(file)),
            property(&format!("blockscope check: {}", checked.name)),
        );
        format!("::error file={file},line={line},title={title}::{}\n", data(message))
    };
    match &checked.outcome {
        Outcome::Passed { .. } | Outcome::Accepted { .. } => String::new(),
        Outcome::Failed(failures) => {
            let lines = failures.iter().map(|failure| {
                let evidence: String = failure.evidence.iter().map(|one| format!("\n{one}")).collect();
                line(&failure.file, failure.line, &format!("{failure}{evidence}"))
            });
            lines.collect()
        }
        Outcome::Unreadable(trouble) => line(&trouble.file, trouble.line, &trouble.why),
    }
}

/// A message: a line break would end the command.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    crate::report::escape::escaped(&text).into_owned()
}

/// A property: commas and colons part them.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::sample;

    #[test]
    fn every_failure_is_one_line_whatever_is_in_it() {
        let told: Vec<String> = sample::checked().iter().map(case).collect();
        assert_eq!((told[0].as_str(), told[1].as_str()), ("", ""));
        assert_eq!(
            told[2],
            "::error file=fixtures/c # 1/case.toml,line=7,title=blockscope check%3A fixtures/c # 1::expected at least \
             one rst_injection, <blocked.example>; found none & \\u{1b}[2Jnothing%0A::error::x, 100%25%0Anearest: frame \
             3 \"x\"%0A]]> for +1.1\n"
        );
        assert!(told[3].starts_with("::error file=fixtures/d/case.toml,line=2,"));
    }
}
