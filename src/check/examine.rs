//! Holds what is found in a case's capture against what is expected of it.

use std::io::Cursor;
use std::path::Path;

use serde_json::Value;

use super::case::{Case, Material, Opened};
use super::manifest::{Fields, Find, line_of};
use super::outcome::{Failure, Outcome, Rule, Trouble};
use crate::finding::verdict::Verdict;
use crate::fixture::difference::{Difference, differences, told};
use crate::fixture::reading::{Manner, read_file_as, read_stream};
use crate::report::replacement::replace;
use crate::scenario::{ForgeOptions, Story, forge};

/// How many findings that nearly fit are told of an expectation that is not met.
const NEARLY: usize = 3;

/// What to do when exact lines are not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Say so.
    Compare,
    /// Take what is found as the new expectation.
    Accept,
}

/// Reads a case's capture, and says whether what is found there is as expected.
#[must_use]
pub fn examine(case: &Case, policy: Policy) -> Outcome {
    match examined(case, policy) {
        Ok(outcome) => outcome,
        Err(trouble) => Outcome::Unreadable(trouble),
    }
}

fn examined(case: &Case, policy: Policy) -> Result<Outcome, Trouble> {
    let opened = case.open()?;
    if opened.expected.is_none() && policy == Policy::Compare {
        let named = opened.manifest.expected.is_some();
        if named || !opened.manifest.expects() {
            return Err(Trouble {
                file: if named {
                    opened.expected_path
                } else {
                    opened.manifest_path
                },
                line: 1,
                why: "nothing says what is to be found: blockscope check --accept writes down what is".to_owned(),
            });
        }
    }
    let lines = reading(&opened.material)?;
    let records = Records::of(&lines);
    let findings = records.blocks.len();
    let mut failures = Vec::new();
    soundness(&opened, &records, &mut failures);
    for find in &opened.manifest.find {
        let line = line_of(&opened.manifest_text, find.span().start);
        occurrences(&opened, line, find.get_ref(), &records, &mut failures);
    }
    if opened.manifest.nothing_else {
        nothing_else(&opened, &records, &mut failures);
    }
    values(&opened, &records, &mut failures);

    let exact = opened.expected.is_some() || opened.manifest.expected.is_some() || !opened.manifest.expects();
    let mut accepted = false;
    if exact {
        let (path, expected) = match &opened.expected {
            Some((path, text)) => (path, text.as_str()),
            None => (&opened.expected_path, ""),
        };
        if policy == Policy::Accept && (expected != lines || opened.expected.is_none()) {
            replace(path, lines.as_bytes()).map_err(|error| Trouble {
                file: path.clone(),
                line: 1,
                why: format!("cannot be written: {error}"),
            })?;
            accepted = true;
        } else {
            compare(path, expected, &lines, &records, &mut failures);
        }
    }
    Ok(match (failures.is_empty(), accepted) {
        (false, _) => Outcome::Failed(failures),
        (true, true) => Outcome::Accepted { findings },
        (true, false) => Outcome::Passed { findings },
    })
}

/// What is found in a capture or a story, as EVE lines. A capture goes by its file name, so that the lines are those
/// `blockscope read` prints beside it.
///
/// # Errors
/// When the capture cannot be read, or the story not be told.
pub fn reading(material: &Material) -> Result<String, Trouble> {
    let unreadable = |file: &Path, line: usize, why: String| Trouble {
        file: file.to_owned(),
        line,
        why,
    };
    match material {
        Material::Capture(path) => {
            let name = Path::new(path.file_name().unwrap_or(path.as_os_str()));
            // The message begins with the file's name, which the trouble has already.
            let prefix = format!("{}: ", path.display());
            let why = |said: String| said.strip_prefix(&prefix).map_or(said.clone(), str::to_owned);
            read_file_as(path, name, Manner::default()).map_err(|error| unreadable(path, 1, why(error.to_string())))
        }
        Material::Story(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, 1, error.to_string()))?;
            let told = Story::parse(&text).and_then(|story| forge(&story, &ForgeOptions::default()));
            let pcap = told
                .map_err(|error| unreadable(path, error.line.max(1), format!("{}; {}", error.problem, error.advice)))?;
            read_stream(Cursor::new(pcap), Manner::default()).map_err(|error| unreadable(path, 1, error.to_string()))
        }
    }
}

/// What a reading says.
#[derive(Debug)]
pub struct Records {
    /// The findings, in capture order.
    pub blocks: Vec<Value>,
    /// The closing record.
    pub stats: Value,
}

impl Records {
    /// Of some EVE lines.
    #[must_use]
    pub fn of(lines: &str) -> Self {
        let mut blocks = Vec::new();
        let mut stats = Value::Null;
        for line in lines.lines() {
            let record: Value = serde_json::from_str(line).unwrap_or_default();
            match record["event_type"].as_str() {
                Some("block") => blocks.push(record),
                Some(_) | None => stats = record,
            }
        }
        Self { blocks, stats }
    }
}

/// A capture that breaks off, or in which nothing can be judged, proves nothing by its silence.
fn soundness(opened: &Opened, records: &Records, failures: &mut Vec<Failure>) {
    let mut fail = |rule, expected: &str, found: String, evidence: Vec<String>| {
        failures.push(Failure {
            rule,
            file: opened.manifest_path.clone(),
            line: 1,
            expected: expected.to_owned(),
            found,
            evidence,
        });
    };
    // Exact lines say themselves how much was read, and whether it broke off.
    if opened.expected.is_some() {
        return;
    }
    if let Some(damage) = records.stats.pointer("/stats/files/0/damage")
        && !opened.manifest.damaged
    {
        let found = format!(
            "damage at byte {}: {}",
            damage["offset"],
            damage["why"].as_str().unwrap_or("?")
        );
        let hint = "damaged = true in case.toml lets it pass".to_owned();
        fail(Rule::Damaged, "a whole capture", found, vec![hint]);
    }
    let coverage = &records.stats["stats"]["coverage"];
    let count = |key: &str| coverage[key].as_u64().unwrap_or_default();
    let judged = count("tcp_flows") + count("udp_flows") + count("dns_answered") + count("dns_unanswered");
    if judged == 0 && records.blocks.is_empty() && !opened.manifest.nothing_inspected {
        let hint = "nothing_inspected = true in case.toml lets it pass".to_owned();
        let counters = format!("coverage: {coverage}");
        let found = format!("none in {} frames", count("frames"));
        fail(
            Rule::NothingInspected,
            "flows that can be judged",
            found,
            vec![counters, hint],
        );
    }
}

/// Whether as many findings fit as must.
fn occurrences(opened: &Opened, line: usize, find: &Find, records: &Records, failures: &mut Vec<Failure>) {
    let fitting: Vec<&Value> = records
        .blocks
        .iter()
        .filter(|record| misfits(find, record).is_empty())
        .collect();
    let found = fitting.len() as u64;
    let (rule, evidence) = match find.count {
        Some(count) if found > count => (Rule::TooMany, fitting.iter().flat_map(|record| shown(record)).collect()),
        Some(count) if found < count => (Rule::NotFound, nearly(find, records)),
        None if found == 0 => (Rule::NotFound, nearly(find, records)),
        Some(_) | None => return,
    };
    failures.push(Failure {
        rule,
        file: opened.manifest_path.clone(),
        line,
        expected: wanted(find),
        found: match found {
            0 => "none".to_owned(),
            _ => found.to_string(),
        },
        evidence,
    });
}

/// No finding but those an entry asks for.
fn nothing_else(opened: &Opened, records: &Records, failures: &mut Vec<Failure>) {
    for record in &records.blocks {
        let asked = |find: &Find| find.count != Some(0) && misfits(find, record).is_empty();
        if opened.manifest.find.iter().any(|find| asked(find.get_ref())) {
            continue;
        }
        let line = opened
            .manifest_text
            .lines()
            .position(|line| line.trim_start().starts_with("nothing_else"));
        let mut evidence = shown(record);
        evidence.remove(0);
        failures.push(Failure {
            rule: Rule::NotExpected,
            file: opened.manifest_path.clone(),
            line: line.map_or(1, |index| index + 1),
            expected: "nothing else".to_owned(),
            found: in_short(record),
            evidence,
        });
    }
}

/// The values asked for in the closing record.
fn values(opened: &Opened, records: &Records, failures: &mut Vec<Failure>) {
    let lines = &opened.manifest_text;
    for (place, expected, found) in different(&opened.manifest.stats, &records.stats) {
        let line = lines.lines().position(|line| line.contains(&format!("\"{place}\"")));
        failures.push(Failure {
            rule: Rule::Stats,
            file: opened.manifest_path.clone(),
            line: line.map_or(1, |index| index + 1),
            expected: format!("{place} to be {expected}"),
            found: found.map_or_else(|| "no such value".to_owned(), Value::to_string),
            evidence: Vec::new(),
        });
    }
}

/// Line by line against what is expected.
fn compare(path: &Path, expected: &str, lines: &str, records: &Records, failures: &mut Vec<Failure>) {
    for difference in differences(expected, lines) {
        let (rule, wanted, found, evidence) = match &difference {
            Difference::Missing { record } => (Rule::NotFound, record.clone(), "none".to_owned(), Vec::new()),
            Difference::Unexpected { record } => {
                let of = records.blocks.iter().find(|block| told(block) == *record);
                let mut evidence = of.map(shown).unwrap_or_default();
                if !evidence.is_empty() {
                    evidence.remove(0);
                }
                (Rule::NotExpected, "nothing else".to_owned(), record.clone(), evidence)
            }
            Difference::Differs {
                record,
                place,
                expected,
                found,
            } => {
                let said =
                    |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
                (
                    Rule::Differs,
                    format!("{place} of {record} to be {}", said(expected)),
                    said(found),
                    Vec::new(),
                )
            }
            Difference::Form => {
                let said = difference.to_string();
                (
                    Rule::Differs,
                    "the same lines, byte for byte".to_owned(),
                    said,
                    Vec::new(),
                )
            }
        };
        let line = match &difference {
            Difference::Missing { record: of } | Difference::Differs { record: of, .. } => line_about(expected, of),
            Difference::Unexpected { .. } | Difference::Form => 1,
        };
        failures.push(Failure {
            rule,
            file: path.to_owned(),
            line,
            expected: wanted,
            found,
            evidence,
        });
    }
}

/// The line of the expected record that is told as `of`.
fn line_about(expected: &str, of: &str) -> usize {
    let about = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        let told = told(&record);
        told.starts_with(of) || of.starts_with(&told)
    };
    expected.lines().position(about).map_or(1, |index| index + 1)
}

/// Why a record does not fit an entry; nothing if it does.
fn misfits(find: &Find, record: &Value) -> Vec<String> {
    let block = &record["block"];
    let mut why = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    if let Some(kind) = find.kind
        && block["kind"] != kind.key()
    {
        why.push(format!("kind is {}", text(&block["kind"])));
    }
    if let Some(least) = find.verdict {
        const ALL: [Verdict; 3] = [Verdict::Possible, Verdict::Likely, Verdict::Confirmed];
        let verdict = ALL.into_iter().find(|verdict| block["verdict"] == verdict.key());
        if verdict.is_none_or(|verdict| verdict < least) {
            why.push(format!("verdict is {}", text(&block["verdict"])));
        }
    }
    if let Some(name) = &find.name {
        let value = &block["trigger"]["value"];
        if !value.as_str().is_some_and(|value| is_name(name, value)) {
            why.push(format!("name is {}", text(value)));
        }
    }
    if let Some(flow) = &find.flow
        && !flow.matches(record)
    {
        why.push(format!("flow is {}", flow_of(record)));
    }
    if let Some(trigger) = find.trigger {
        let is = &block["trigger"]["pcap_cnt"];
        if is.as_u64() != Some(trigger) {
            why.push(format!("trigger is {is}"));
        }
    }
    for (wanted, key) in [(&find.forged, "forged"), (&find.dropped, "dropped")] {
        let Some(wanted) = wanted else { continue };
        let list = block[key].as_array().into_iter().flatten();
        let mut is: Vec<u64> = list.filter_map(Value::as_u64).collect();
        let mut wanted = wanted.clone();
        is.sort_unstable();
        wanted.sort_unstable();
        if is != wanted {
            why.push(format!("{key} are {is:?}"));
        }
    }
    for what in &find.evidence {
        let list = block["evidence"].as_array().into_iter().flatten();
        if !list.into_iter().any(|one| one["what"] == what.as_str()) {
            why.push(format!("{what} is not among the evidence"));
        }
    }
    for (place, _, is) in different(&find.fields, record) {
        why.push(match is {
            Some(is) => format!("{place} is {is}"),
            None => format!("there is no {place}"),
        });
    }
    why
}

/// The values that are not as asked for: where, what was asked for, and what is there.
fn different<'a>(fields: &'a Fields, record: &'a Value) -> Vec<(&'a str, &'a Value, Option<&'a Value>)> {
    let told = fields
        .iter()
        .map(|(place, value)| (place.as_str(), value, record.pointer(place.as_str())));
    told.filter(|(_, value, is)| !is.is_some_and(|is| same(value, is)))
        .collect()
}

/// Whether two values are the same, however their numbers are written.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        _ => one == other,
    }
}

/// Whether `name` is the one wanted, or below it where `*.` was asked for.
fn is_name(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    match wanted.strip_prefix('*') {
        Some(below) if below.starts_with('.') => name.ends_with(below),
        Some(_) | None => name == wanted,
    }
}

/// An entry in words.
fn wanted(find: &Find) -> String {
    let mut words = vec![match find.count {
        None => "at least one".to_owned(),
        Some(0) => "no".to_owned(),
        Some(count) => format!("{count}"),
    }];
    words.push(find.kind.map_or("finding", |kind| kind.key()).to_owned());
    let mut more = Vec::new();
    more.extend(find.verdict.map(|verdict| format!("{verdict} at least")));
    more.extend(find.name.clone());
    more.extend(find.flow.map(|flow| flow.to_string()));
    more.extend(find.trigger.map(|trigger| format!("trigger {trigger}")));
    more.extend(find.forged.as_ref().map(|forged| format!("forged {forged:?}")));
    more.extend(find.dropped.as_ref().map(|dropped| format!("dropped {dropped:?}")));
    more.extend(find.evidence.iter().map(|what| format!("with {what}")));
    more.extend(
        find.fields
            .iter()
            .map(|(place, value)| format!("{} = {value}", place.as_str())),
    );
    let said = words.join(" ");
    [vec![said], more].concat().join(", ")
}

/// The findings that come nearest to an entry, why they do not fit, and what is behind them.
fn nearly(find: &Find, records: &Records) -> Vec<String> {
    let mut others: Vec<(Vec<String>, &Value)> = records
        .blocks
        .iter()
        .map(|record| (misfits(find, record), record))
        .filter(|(why, _)| !why.is_empty())
        .collect();
    if others.is_empty() {
        return match records.blocks.len() {
            0 => vec!["nothing at all is found in this capture".to_owned()],
            _ => Vec::new(),
        };
    }
    others.sort_by_key(|(why, _)| why.len());
    let more = others.len().saturating_sub(NEARLY);
    let mut told: Vec<String> = Vec::new();
    for (why, record) in others.into_iter().take(NEARLY) {
        told.push(format!("nearest: {} ({})", in_short(record), why.join(", ")));
        told.extend(shown(record).into_iter().skip(1));
    }
    if more > 0 {
        told.push(format!("and {more} findings less like it"));
    }
    told
}

/// The flow of a record, as expectations write it.
pub(super) fn flow_of(record: &Value) -> String {
    let end = |ip: &str, port: &str| {
        let ip = record[ip].as_str().unwrap_or("?");
        match record[port].as_u64() {
            Some(port) if ip.contains(':') => format!("[{ip}]:{port}"),
            Some(port) => format!("{ip}:{port}"),
            None => ip.to_owned(),
        }
    };
    format!("{} > {}", end("src_ip", "src_port"), end("dest_ip", "dest_port"))
}

/// A finding in a line.
fn in_short(record: &Value) -> String {
    let block = &record["block"];
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let mut words = vec![
        format!("frame {}", record["pcap_cnt"]),
        format!("{} {}", text(&block["verdict"]), text(&block["kind"])),
    ];
    words.extend(block["trigger"]["value"].as_str().map(str::to_owned));
    words.push(flow_of(record));
    words.join(", ")
}

/// A finding in a line, and then its evidence for and against, a line each.
fn shown(record: &Value) -> Vec<String> {
    let mut lines = vec![in_short(record)];
    for (list, sign) in [("evidence", "for"), ("against", "against")] {
        for one in record["block"][list].as_array().into_iter().flatten() {
            let says = one["says"].as_str().unwrap_or("?");
            let llr = one["llr"].as_f64().unwrap_or_default();
            let frames = one["pcap_cnt"].as_array().filter(|frames| !frames.is_empty());
            let frames = frames.map_or_else(String::new, |_| format!(" [frames {}]", numbers(&one["pcap_cnt"])));
            lines.push(format!("  {sign:7} {llr:+5.1}  {says}{frames}"));
        }
    }
    lines
}

fn numbers(list: &Value) -> String {
    let list = list.as_array().into_iter().flatten().map(Value::to_string);
    list.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::manifest::Manifest;

    fn record() -> Value {
        json!({
            "event_type": "block", "pcap_cnt": 24, "src_ip": "10.0.0.1", "src_port": 4000,
            "dest_ip": "45.0.0.1", "dest_port": 443,
            "block": {
                "kind": "rst_injection", "verdict": "likely", "probability": 0.998, "stage": "post_psh",
                "trigger": {"type": "sni", "value": "www.blocked.example", "pcap_cnt": 23},
                "forged": [24, 25], "evidence": [{"what": "reset_ttl_differs", "pcap_cnt": [24], "llr": 1.1, "says": "so"}]
            }
        })
    }

    fn why(entry: &str) -> Vec<String> {
        let manifest = Manifest::parse(&format!("[[find]]\n{entry}")).unwrap();
        misfits(manifest.find[0].get_ref(), &record())
    }

    #[test]
    fn an_entry_fits_when_every_key_of_it_does() {
        for entry in [
            "",
            "kind = \"rst_injection\"",
            "verdict = \"possible\"",
            "verdict = \"likely\"",
            "name = \"WWW.blocked.example\"",
            "name = \"*.blocked.example\"",
            "flow = \"10.0.0.1 > 45.0.0.1:443\"",
            "trigger = 23",
            "forged = [25, 24]",
            "dropped = []",
            "evidence = [\"reset_ttl_differs\"]",
            "fields = { \"/block/stage\" = \"post_psh\", \"/dest_port\" = 443.0, \"/block/forged\" = [24, 25] }",
        ] {
            assert_eq!(why(entry), Vec::<String>::new(), "{entry}");
        }
    }

    #[test]
    fn every_key_that_does_not_fit_is_told() {
        for (entry, told) in [
            ("kind = \"dns_injection\"", "kind is rst_injection"),
            ("verdict = \"confirmed\"", "verdict is likely"),
            ("name = \"blocked.example\"", "name is www.blocked.example"),
            ("name = \"*.www.blocked.example\"", "name is www.blocked.example"),
            ("flow = \"45.0.0.1 > 10.0.0.1\"", "flow is 10.0.0.1:4000 > 45.0.0.1:443"),
            ("trigger = 24", "trigger is 23"),
            ("forged = [24]", "forged are [24, 25]"),
            ("dropped = [1]", "dropped are []"),
            (
                "evidence = [\"mirrored_ttl\"]",
                "mirrored_ttl is not among the evidence",
            ),
            (
                "fields = { \"/block/stage\" = \"post_syn\" }",
                "/block/stage is \"post_psh\"",
            ),
            ("fields = { \"/block/throttle\" = 1 }", "there is no /block/throttle"),
        ] {
            assert_eq!(why(entry), [told], "{entry}");
        }
        assert_eq!(why("kind = \"dns_injection\"\ntrigger = 1").len(), 2);
    }

    #[test]
    fn what_is_wanted_is_told_in_words() {
        let manifest = Manifest::parse(
            "[[find]]\nkind = \"rst_injection\"\nverdict = \"likely\"\nname = \"a.example\"\ncount = 2\n[[find]]\ncount = 0\n",
        )
        .unwrap();
        assert_eq!(
            wanted(manifest.find[0].get_ref()),
            "2 rst_injection, likely at least, a.example"
        );
        assert_eq!(wanted(manifest.find[1].get_ref()), "no finding");
    }
}
