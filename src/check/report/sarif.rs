//! SARIF 2.1.0 (OASIS), as code scanning reads it: one run, a result for every expectation that is not met.

use std::path::Path;

use serde::Serialize;

use super::shown;
use crate::check::outcome::{Checked, Outcome, Rule};

/// Where the format is defined.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    invocations: [Invocation; 1],
    results: Vec<Outcoming>,
    column_kind: &'static str,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Message,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
}

/// A `result`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcoming {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Message,
    locations: [Location; 1],
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
}

/// The whole file.
///
/// # Errors
/// None that memory does not give.
pub fn file(checked: &[Checked]) -> serde_json::Result<Vec<u8>> {
    let mut results = Vec::new();
    for one in checked {
        match &one.outcome {
            Outcome::Passed { .. } | Outcome::Accepted { .. } => {}
            Outcome::Failed(failures) => results.extend(failures.iter().map(|failure| {
                let evidence: String = failure.evidence.iter().map(|line| format!("\n{line}")).collect();
                let text = format!("{}: {failure}{evidence}", one.name);
                result(failure.rule, text, &failure.file, failure.line)
            })),
            Outcome::Unreadable(trouble) => {
                let text = format!("{}: {}", one.name, trouble.why);
                results.push(result(Rule::Unreadable, text, &trouble.file, trouble.line));
            }
        }
    }
    let read = checked.iter().all(|one| !matches!(one.outcome, Outcome::Unreadable(_)));
    let rules = Rule::ALL.map(|rule| Descriptor {
        id: rule.key(),
        short_description: Message {
            text: rule.says().to_owned(),
        },
    });
    let log = Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "blockscope check",
                    semantic_version: env!("CARGO_PKG_VERSION"),
                    rules: rules.into(),
                },
            },
            invocations: [Invocation {
                execution_successful: read,
            }],
            results,
            column_kind: "unicodeCodePoints",
        }],
    };
    let mut bytes = serde_json::to_vec_pretty(&log)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn result(rule: Rule, text: String, file: &Path, line: usize) -> Outcoming {
    let text = text
        .lines()
        .map(|line| crate::report::escape::escaped(line).into_owned());
    Outcoming {
        rule_id: rule.key(),
        rule_index: Rule::ALL.iter().position(|one| *one == rule).unwrap_or_default(),
        level: "error",
        message: Message {
            text: text.collect::<Vec<_>>().join("\n"),
        },
        locations: [Location {
            physical_location: PhysicalLocation {
                artifact_location: ArtifactLocation { uri: uri(file) },
                region: Region { start_line: line },
            },
        }],
    }
}

/// A file as a URI reference (RFC 3986): relative as it was given, absolute with its scheme.
fn uri(path: &Path) -> String {
    let text = shown(path);
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "" });
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::check::report::sample;

    #[test]
    fn every_expectation_that_is_not_met_is_a_result_with_its_rule_and_place() {
        let log: Value = serde_json::from_slice(&file(&sample::checked()).unwrap()).unwrap();
        let run = &log["runs"][0];
        assert_eq!(run["results"].as_array().unwrap().len(), 2);
        assert_eq!(run["invocations"][0]["executionSuccessful"], false);
        let result = &run["results"][0];
        let rules = &run["tool"]["driver"]["rules"];
        assert_eq!(result["ruleId"], "not-found");
        assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], "not-found");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "fixtures/c%20%23%201/case.toml");
        assert_eq!(place["region"]["startLine"], 7);
        let text = result["message"]["text"].as_str().unwrap();
        assert!(
            text.starts_with("fixtures/c # 1: expected at least one rst_injection"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(run["results"][1]["ruleId"], "unreadable");
    }

    #[test]
    fn a_file_is_a_uri_reference_whatever_its_name() {
        assert_eq!(uri(Path::new("./a b/ü.toml")), "a%20b/%C3%BC.toml");
        assert_eq!(uri(Path::new("/a:b")), "file:///a%3Ab");
    }
}
