//! What is known about a capture before it is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::finding::finding::{Conversation, Finding};
use crate::fixture::fixture::{Fixture, FixtureError};
use crate::packet::endpoint::Endpoint;

/// What is known about a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Nothing in it was blocked.
    Innocent,
    /// In it these kinds of blocking are at work, by their names in records, and no others.
    Kinds(BTreeSet<String>),
    /// In it these flows were interfered with; what else was, nobody has said.
    Flows(Vec<Blocked>),
}

/// A flow that was interfered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Its two ends, in order.
    ends: [Endpoint; 2],
    /// The frames that were made up, or not answered; empty where nobody said which.
    frames: Vec<u64>,
}

impl Truth {
    /// Whether `finding` is right; none where nobody knows.
    #[must_use]
    pub fn of(&self, finding: &Finding) -> Option<bool> {
        match self {
            Self::Innocent => Some(false),
            Self::Kinds(kinds) => Some(kinds.contains(finding.kind.key())),
            Self::Flows(flows) => {
                let ends = ends_of(&finding.conversation);
                let mut labels = flows.iter().filter(|blocked| blocked.ends == ends).peekable();
                labels.peek()?;
                Some(labels.any(|blocked| blocked.frames.is_empty() || names_any(finding, &blocked.frames)))
            }
        }
    }

    /// What the story of a fixture says, if `capture` lies in a fixture.
    ///
    /// # Errors
    /// A story that cannot be read.
    pub fn of_fixture(capture: &Path) -> Result<Option<Self>, FixtureError> {
        let Some(directory) = capture.parent() else {
            return Ok(None);
        };
        match Fixture::open(directory) {
            Ok(fixture) if fixture.is_benign() => Ok(Some(Self::Innocent)),
            // A story that does not say is one about whose capture nobody knows.
            Ok(fixture) if fixture.story.blocking().is_empty() => Ok(Some(Self::Flows(Vec::new()))),
            Ok(fixture) => Ok(Some(Self::Kinds(fixture.story.blocking().iter().cloned().collect()))),
            Err(FixtureError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn ends_of(conversation: &Conversation) -> [Endpoint; 2] {
    let mut ends = [conversation.client, conversation.server];
    ends.sort_unstable();
    ends
}

/// Whether `finding` names any of `frames` as forged, as not answered, or as what set the box off.
fn names_any(finding: &Finding, frames: &[u64]) -> bool {
    let trigger = finding.trigger.as_ref().map(|trigger| trigger.frame);
    finding
        .forged
        .iter()
        .chain(&finding.dropped)
        .copied()
        .chain(trigger)
        .any(|frame| frames.contains(&frame.in_file()))
}

/// Labels: a JSON array of `{"file": …, "flow": "ip:port>ip:port", "packet_numbers": […]}`, files relative to the
/// labels' own directory; other members are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    flows: BTreeMap<PathBuf, Vec<Blocked>>,
}

#[derive(Debug, Deserialize)]
struct Label {
    file: PathBuf,
    flow: String,
    #[serde(default)]
    packet_numbers: Vec<u64>,
}

impl Labels {
    /// The labels in `text`, for captures below `directory`.
    ///
    /// # Errors
    /// With what is wrong and where: no JSON, a member missing, or a flow that is none.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let labels: Vec<Label> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut flows: BTreeMap<PathBuf, Vec<Blocked>> = BTreeMap::new();
        for (index, label) in labels.into_iter().enumerate() {
            let ends = flow(&label.flow).ok_or_else(|| {
                let number = index + 1;
                format!(
                    "label {number}: {:?} is no flow; write 192.0.2.1:1025>198.51.100.1:80",
                    label.flow
                )
            })?;
            flows.entry(directory.join(label.file)).or_default().push(Blocked {
                ends,
                frames: label.packet_numbers,
            });
        }
        Ok(Self { flows })
    }

    /// What the labels say about `capture`, if anything.
    #[must_use]
    pub fn of(&self, capture: &Path) -> Option<Truth> {
        self.flows.get(capture).cloned().map(Truth::Flows)
    }
}

/// `ip:port>ip:port`; an IPv6 address with or without brackets.
fn flow(text: &str) -> Option<[Endpoint; 2]> {
    let (one, two) = text.split_once('>')?;
    let mut ends = [end(one.trim())?, end(two.trim())?];
    ends.sort_unstable();
    Some(ends)
}

fn end(text: &str) -> Option<Endpoint> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Endpoint::new(address.ip(), address.port()));
    }
    let (ip, port) = text.rsplit_once(':')?;
    Some(Endpoint::new(ip.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn labels_name_flows_in_either_direction_and_with_or_without_brackets() {
        assert_eq!(
            flow("192.0.2.1:1025>198.51.100.1:80"),
            flow("198.51.100.1:80 > 192.0.2.1:1025")
        );
        assert_eq!(flow("[2001:db8::1]:80>192.0.2.1:9"), flow("2001:db8::1:80>192.0.2.1:9"));
        assert_eq!(flow("192.0.2.1:1025"), None);
        let wrong = Labels::parse(r#"[{"file":"a","flow":"nowhere"}]"#, Path::new("")).unwrap_err();
        assert!(wrong.starts_with("label 1: "), "{wrong}");
    }

    #[test]
    fn a_finding_is_right_where_the_label_has_its_flow_and_a_frame_of_it() {
        let finding = sample::reset();
        let ends = ends_of(&finding.conversation);
        let frame = finding.forged[0].in_file();
        let label = |frames: &[u64]| {
            Truth::Flows(vec![Blocked {
                ends,
                frames: frames.to_vec(),
            }])
        };
        assert_eq!(label(&[frame]).of(&finding), Some(true));
        assert_eq!(label(&[]).of(&finding), Some(true));
        assert_eq!(label(&[frame + 100_000]).of(&finding), Some(false));
        assert_eq!(Truth::Flows(Vec::new()).of(&finding), None);
        assert_eq!(Truth::Innocent.of(&finding), Some(false));
        assert_eq!(
            Truth::Kinds([finding.kind.key().to_owned()].into()).of(&finding),
            Some(true)
        );
        assert_eq!(Truth::Kinds(BTreeSet::new()).of(&finding), Some(false));
    }
}
