//! `case.toml`: what must be found in a capture, and what must not.
//!
//! ```toml
//! about = "The ISP resets connections to blocked.example and leaves all others alone"
//! capture = "uplink.pcap.zst"       # the only capture in the directory, if not given; or: story = "story.toml"
//! expected = "expected.eve.jsonl"   # also compare with these lines exactly (done anyway if the file is there)
//! nothing_else = true               # no finding but those of [[find]]
//! damaged = false                   # true: the capture may break off
//! nothing_inspected = false         # true: it may hold nothing that can be judged
//!
//! [[find]]                          # every key that is given must fit
//! kind = "rst_injection"
//! verdict = "likely"                # at least
//! name = "blocked.example"          # of the trigger; "*.example" for all names below
//! flow = "10.20.0.5:36866 > 45.140.16.10:443"
//! trigger = 23                      # the packet that set the box off
//! forged = [24]                     # exactly these packets are called forged
//! dropped = []                      # exactly these are called swallowed
//! evidence = ["reset_ttl_differs"]  # these observations are among the evidence
//! fields = { "/block/stage" = "post_psh" }
//! count = 1                         # so many; at least one, if not given
//!
//! [[find]]                          # and what must not be found:
//! name = "news.example"
//! count = 0
//!
//! [stats]                           # of the closing record
//! "/stats/coverage/tcp_flows" = 8
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use thiserror::Error;
use toml::Spanned;

use super::flow_pattern::FlowPattern;
use super::suggestion::nearest;
use crate::finding::finding::Kind;
use crate::finding::verdict::Verdict;

/// What a case expects. The module's documentation has an example of every key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// What it is about, for a reader.
    pub about: Option<String>,
    /// The capture, relative to the case's directory.
    pub capture: Option<PathBuf>,
    /// The story to forge instead of a capture.
    pub story: Option<PathBuf>,
    /// EVE lines to compare with.
    pub expected: Option<PathBuf>,
    /// Whether a finding no entry asks for is a failure.
    pub nothing_else: bool,
    /// Whether the capture may break off.
    pub damaged: bool,
    /// Whether the capture may hold nothing that can be judged.
    pub nothing_inspected: bool,
    /// What must be found, and how often.
    pub find: Vec<Spanned<Find>>,
    /// Values in the closing record.
    pub stats: Fields,
}

/// Values by where they are in a record.
pub type Fields = BTreeMap<Pointer, Value>;

/// Findings that must be there, or must not. What is not given fits any finding.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Find {
    /// How the blocking was done.
    #[serde(deserialize_with = "kind")]
    pub kind: Option<Kind>,
    /// The least verdict.
    #[serde(deserialize_with = "verdict")]
    pub verdict: Option<Verdict>,
    /// The name the trigger carried; `*.` before it stands for all names below it.
    pub name: Option<String>,
    /// Of which flow.
    pub flow: Option<FlowPattern>,
    /// The number of the packet that set the box off.
    pub trigger: Option<u64>,
    /// The numbers of the packets forged: these and no others.
    pub forged: Option<Vec<u64>>,
    /// The numbers of the packets swallowed: these and no others.
    pub dropped: Option<Vec<u64>>,
    /// Observations among the evidence.
    pub evidence: Vec<String>,
    /// Values in the finding's record.
    pub fields: Fields,
    /// How many such findings there must be; at least one if not given.
    pub count: Option<u64>,
}

/// A JSON pointer (RFC 6901) from a record's root, as in `/block/stage`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(String);

impl Pointer {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with('/') {
            Ok(Self(text))
        } else {
            Err(de::Error::custom(format!(
                "\"{text}\" is no JSON pointer: it begins with /, as in \"/block/stage\""
            )))
        }
    }
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ManifestError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
    /// The word that was probably meant.
    pub meant: Option<String>,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)?;
        match &self.meant {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// With the line, when the text is no TOML, a key is unknown, a value has the wrong form, or keys contradict each
    /// other.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let problem = error.message().replace('\n', " ");
            ManifestError {
                line: error.span().map_or(1, |span| line_of(text, span.start)),
                meant: meant(&problem),
                problem,
            }
        })?;
        if manifest.capture.is_some() && manifest.story.is_some() {
            return Err(ManifestError {
                line: 1,
                problem: "it names a capture and a story: give one of them".to_owned(),
                meant: None,
            });
        }
        Ok(manifest)
    }

    /// Whether it says anything about what is to be found.
    #[must_use]
    pub fn expects(&self) -> bool {
        self.nothing_else || !self.find.is_empty() || !self.stats.is_empty()
    }
}

/// The line of `text` at a byte, from 1.
#[must_use]
pub fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

/// The word that was meant, of those serde's message lists: "unknown field `kid`, expected one of `kind`, `name`".
fn meant(problem: &str) -> Option<String> {
    if !problem.starts_with("unknown ") {
        return None;
    }
    let mut words = problem.split('`').skip(1).step_by(2);
    let wrong = words.next()?;
    nearest(wrong, words).map(str::to_owned)
}

/// One of `all`, by its key.
fn named<'de, D: Deserializer<'de>, T: Copy>(
    deserializer: D,
    what: &str,
    all: &[T],
    key: fn(T) -> &'static str,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let found = all.iter().copied().find(|one| key(*one) == text);
    match found {
        Some(found) => Ok(Some(found)),
        None => {
            let keys: Vec<String> = all.iter().map(|one| format!("`{}`", key(*one))).collect();
            let keys = keys.join(", ");
            Err(de::Error::custom(format!(
                "unknown {what} `{text}`, expected one of {keys}"
            )))
        }
    }
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Kind>, D::Error> {
    named(deserializer, "kind", &Kind::ALL, Kind::key)
}

fn verdict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Verdict>, D::Error> {
    const ALL: [Verdict; 3] = [Verdict::Possible, Verdict::Likely, Verdict::Confirmed];
    named(deserializer, "verdict", &ALL, Verdict::key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_in_the_documentation_is_one() {
        let page = include_str!("manifest.rs")
            .lines()
            .map_while(|line| line.strip_prefix("//!"));
        let example: Vec<&str> = page
            .skip_while(|line| line.trim() != "```toml")
            .skip(1)
            .take_while(|line| line.trim() != "```")
            .collect();
        let manifest = Manifest::parse(&example.join("\n")).unwrap();
        assert_eq!(manifest.find.len(), 2);
        let first = manifest.find[0].get_ref();
        assert_eq!(first.kind, Some(Kind::RstInjection));
        assert_eq!(first.verdict, Some(Verdict::Likely));
        assert_eq!(first.forged.as_deref(), Some(&[24][..]));
        assert_eq!(manifest.find[1].get_ref().count, Some(0));
        assert_eq!(manifest.stats.len(), 1);
        assert!(manifest.expects());
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_one() {
        for (text, line, word) in [
            ("about = \"x\"\nnothing_els = true\n", 2, "nothing_else"),
            (
                "[[find]]\nkind = \"rst_injection\"\n\nverdit = \"likely\"\n",
                4,
                "verdict",
            ),
            ("[[find]]\nkind = \"rst_injektion\"\n", 2, "rst_injection"),
            ("[[find]]\nname = \"x\"\nverdict = \"likly\"\n", 3, "likely"),
        ] {
            let error = Manifest::parse(text).unwrap_err();
            assert_eq!((error.line, error.meant.as_deref()), (line, Some(word)), "{error}");
            let said = error.to_string();
            assert!(said.starts_with(&format!("line {line}: unknown ")), "{said}");
            assert!(said.ends_with(&format!("did you mean `{word}`?")), "{said}");
        }
    }

    #[test]
    fn wrong_values_are_told_with_their_line() {
        for (text, line, part) in [
            ("[[find]]\ncount = -1\n", 2, "invalid value"),
            ("[[find]]\n\nflow = \"blocked.example\"\n", 3, "no end of a flow"),
            ("[stats]\n\"coverage\" = 1\n", 2, "no JSON pointer"),
            ("capture = \"a\"\nstory = \"b\"\n", 1, "a capture and a story"),
            ("find = [\n", 1, ""),
        ] {
            let error = Manifest::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.problem.contains(part), "{error}");
        }
    }

    #[test]
    fn an_empty_one_expects_nothing_at_all() {
        assert!(!Manifest::parse("about = \"x\"\n").unwrap().expects());
        assert!(Manifest::parse("nothing_else = true\n").unwrap().expects());
    }
}
