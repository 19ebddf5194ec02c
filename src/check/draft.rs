//! Drafts the manifest of a new case from what is found in its capture.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::examine::{Records, flow_of};
use crate::report::escape::quoted;

/// Manifest of a capture called `capture`, in which `lines` (EVE) are found: a true one, for its owner to judge.
///
/// A finding that is the only one of its kind and name is told with its flow and packets, others by their count.
#[must_use]
pub fn draft(capture: &str, lines: &str) -> String {
    let records = Records::of(lines);
    let mut groups: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
    for record in &records.blocks {
        let block = &record["block"];
        let name = block["trigger"]["value"].as_str().unwrap_or_default();
        let kind = block["kind"].as_str().unwrap_or_default();
        groups.entry((kind, name)).or_default().push(record);
    }
    let mut text = String::from(
        "# Drafted from what is found in the capture. Judge it: an expectation says what is right, not what came out.\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, "capture = {}", quoted(capture));
    text.push_str("nothing_else = true\n");
    if records.stats.pointer("/stats/files/0/damage").is_some() {
        text.push_str("damaged = true\n");
    }
    if groups.is_empty() {
        text.push_str("# Nothing is found here, and nothing may be.\n");
    }
    for ((kind, name), records) in groups {
        let _ = write!(
            text,
            "\n[[find]]\nkind = {}\nverdict = {}\n",
            quoted(kind),
            quoted(least(&records))
        );
        if !name.is_empty() {
            let _ = writeln!(text, "name = {}", quoted(name));
        }
        if let [record] = records[..] {
            let block = &record["block"];
            let _ = writeln!(text, "flow = {}", quoted(&flow_of(record)));
            if let Some(trigger) = block["trigger"]["pcap_cnt"].as_u64() {
                let _ = writeln!(text, "trigger = {trigger}");
            }
            for list in ["forged", "dropped"] {
                if block[list].as_array().is_some_and(|list| !list.is_empty()) {
                    let _ = writeln!(text, "{list} = {}", block[list]);
                }
            }
        }
        let _ = writeln!(text, "count = {}", records.len());
    }
    text
}

/// The least verdict of some records.
fn least<'a>(records: &[&'a Value]) -> &'a str {
    let verdicts = records.iter().filter_map(|record| record["block"]["verdict"].as_str());
    let rank = |verdict: &str| {
        ["possible", "likely", "confirmed"]
            .iter()
            .position(|one| *one == verdict)
    };
    verdicts.min_by_key(|verdict| rank(verdict)).unwrap_or("possible")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::manifest::Manifest;

    fn record(name: &str, verdict: &str, frame: u64) -> String {
        let record = json!({
            "event_type": "block", "pcap_cnt": frame, "src_ip": "2001:db8::1", "src_port": 4000, "dest_ip": "45.0.0.1",
            "dest_port": 443, "block": {"kind": "rst_injection", "verdict": verdict, "forged": [frame],
            "trigger": {"value": name, "pcap_cnt": frame - 1}}
        });
        format!("{record}\n")
    }

    #[test]
    fn a_draft_can_be_read_and_says_what_was_found() {
        let lines = [
            record("one.\"example", "likely", 9),
            record("two.example", "confirmed", 19),
            record("two.example", "possible", 29),
        ];
        let text = draft("a \"b\".pcap", &lines.concat());
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!(manifest.capture.as_deref(), Some(std::path::Path::new("a \"b\".pcap")));
        assert!(manifest.nothing_else && !manifest.damaged);
        let [one, two] = &manifest.find[..] else {
            panic!("{text}")
        };
        let (one, two) = (one.get_ref(), two.get_ref());
        assert_eq!(one.name.as_deref(), Some("one.\"example"));
        assert_eq!(
            (one.trigger, one.forged.as_deref(), one.count),
            (Some(8), Some(&[9][..]), Some(1))
        );
        assert_eq!(one.flow.unwrap().to_string(), "[2001:db8::1]:4000 > 45.0.0.1:443");
        assert_eq!((two.trigger, two.flow, two.count), (None, None, Some(2)));
        assert_eq!(two.verdict.map(|verdict| verdict.key()), Some("possible"));
    }

    #[test]
    fn a_silent_capture_gives_a_case_that_demands_silence() {
        let manifest = Manifest::parse(&draft("x.pcap", "")).unwrap();
        assert!(manifest.nothing_else && manifest.find.is_empty());
    }
}
