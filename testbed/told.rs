//! What blockscope told: its records.

use std::path::Path;

use serde_json::Value;

/// An address and a port.
pub(crate) type End = (String, u64);

/// Kind, verdict, name, and both ends.
pub(crate) type Same = (String, u8, Option<String>, End, End);

/// A finding as far as the testbed looks at it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) kind: String,
    /// 1 possible, 2 likely, 3 confirmed.
    pub(crate) verdict: u8,
    pub(crate) trigger: Option<String>,
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) forged: Vec<u64>,
    pub(crate) dropped: Vec<u64>,
    /// The keys of its evidence.
    pub(crate) evidence: Vec<String>,
    /// Hops from the tap, if it is one number.
    pub(crate) hops: Option<u64>,
}

impl Told {
    /// What must be the same live and from the file.
    pub(crate) fn same(&self) -> Same {
        (
            self.kind.clone(),
            self.verdict,
            self.trigger.clone(),
            self.client.clone(),
            self.server.clone(),
        )
    }
}

fn numbers(list: &Value) -> Vec<u64> {
    let numbers = |list: &Vec<Value>| list.iter().filter_map(Value::as_u64).collect();
    list.as_array().map(numbers).unwrap_or_default()
}

/// The findings of EVE records, of those told twice the later one.
pub(crate) fn findings(eve: &str) -> Result<Vec<Told>, String> {
    let mut all: Vec<Told> = Vec::new();
    for line in eve.lines() {
        let record: Value = serde_json::from_str(line).map_err(|error| format!("a record is no JSON: {error}"))?;
        if record["event_type"] != "block" {
            continue;
        }
        let block = &record["block"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = Told {
            kind: text(&block["kind"]),
            verdict: match block["verdict"].as_str() {
                Some("confirmed") => 3,
                Some("likely") => 2,
                Some("possible") => 1,
                _ => 0,
            },
            trigger: block["trigger"]["value"].as_str().map(str::to_owned),
            client: (text(&record["src_ip"]), record["src_port"].as_u64().unwrap_or(0)),
            server: (text(&record["dest_ip"]), record["dest_port"].as_u64().unwrap_or(0)),
            forged: numbers(&block["forged"]),
            dropped: numbers(&block["dropped"]),
            evidence: block["evidence"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|item| text(&item["what"]))
                .collect(),
            hops: block["injector"]["hops_from_tap"].as_u64(),
        };
        let again = all.iter_mut().find(|before| {
            before.kind == told.kind
                && before.trigger == told.trigger
                && before.client == told.client
                && before.server == told.server
        });
        match again {
            Some(before) => *before = told,
            None => all.push(told),
        }
    }
    all.sort();
    Ok(all)
}

/// The time of the last packet a watch saw, in microseconds since 1970, as its last record tells.
pub(crate) fn last_seen(file: &Path) -> Result<i64, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let record: Value =
        serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|error| error.to_string())?;
    let told = record["stats"]["last"].as_str().unwrap_or_default();
    // 2026-11-21T18:18:11.480738+0000
    let output = std::process::Command::new("date")
        .args(["-d", told, "+%s%6N"])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("no time: {told:?}"))
}

/// The findings in a file of records.
pub(crate) fn read(file: &Path) -> Result<Vec<Told>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    findings(&text)
}
